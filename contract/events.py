"""Shop events: their columns, their kinds, and what makes an id acceptable."""

from typing import Final, NamedTuple

VIEW: Final = "view"
ADD_TO_CART: Final = "add_to_cart"
PURCHASE: Final = "purchase"

KNOWN_EVENT_TYPES: Final = (VIEW, ADD_TO_CART, PURCHASE)
"""Any other kind is kept, too: its weight is learned or set."""

TARGET_EVENT_TYPES: Final = (ADD_TO_CART, PURCHASE)
"""What recommendations are judged by."""

EVENT_COLUMNS: Final = ("user_id", "item_id", "event_type", "timestamp")
"""Three strings and `timestamp`, an int64: milliseconds since 1970-01-01 UTC."""

MAX_ID_LENGTH: Final = 256
MAX_EVENT_TYPE_LENGTH: Final = 64


class Event(NamedTuple):
    """One thing that one visitor did to one item, without the visitor."""

    item_id: str
    event_type: str
    timestamp: int


def id_problem(value: str) -> str | None:
    """Why `value` cannot be the id of a user or an item, or None where it can.

    Ids are opaque: anything that UTF-8 can carry, except NUL, which Postgres cannot store.
    """
    return _text_problem(value, MAX_ID_LENGTH)


def event_type_problem(value: str) -> str | None:
    """Why `value` cannot be the name of a kind of event, or None where it can."""
    return _text_problem(value, MAX_EVENT_TYPE_LENGTH)


def _text_problem(value: str, max_length: int) -> str | None:
    if not value:
        return "is empty"
    if len(value) > max_length:
        return f"has {len(value)} characters, at most {max_length} are allowed"
    if "\x00" in value:
        return "contains a NUL character"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "contains half of a surrogate pair, which is no character"
    return None

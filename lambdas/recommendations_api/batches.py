"""Bodies that hold a list: good entries are taken, even where others are reported one by one."""

import difflib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from lambdas.recommendations_api.errors import FieldError, InvalidRequestError, MalformedRequestError

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class RejectedEntry:
    """Which entry of a batch is not taken, and why."""

    index: int
    field: str
    message: str


class SortedEntries(NamedTuple, Generic[Entry]):
    """A batch after it was looked at."""

    accepted: list[Entry]
    rejected: list[RejectedEntry]


class BadFieldError(Exception):
    """What an entry is not taken for; an empty field stands for the entry itself."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def sort_entries(body: bytes, name: str, read: Callable[[Any], Entry], *, most: int) -> SortedEntries[Entry]:
    """Sort the entries of a body: an object whose one field, `name`, lists up to `most` of them.

    `read` makes something of an entry, or raises BadFieldError.
    Raises MalformedRequestError or InvalidRequestError where there is no batch to begin with, or not one
    entry of it is acceptable.
    """
    accepted: list[Entry] = []
    rejected: list[RejectedEntry] = []
    for index, document in enumerate(_batch(body, name, most)):
        try:
            accepted.append(read(document))
        except BadFieldError as error:
            rejected.append(RejectedEntry(index, error.field, str(error)))
    if not accepted:
        raise InvalidRequestError(
            f"None of the {name} is acceptable; nothing was stored.",
            [FieldError(_path(name, each), each.message) for each in rejected],
        )
    return SortedEntries(accepted, rejected)


def fields_of(document: Any, *, required: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
    """An entry that is an object, has what is required, and nothing unknown. Raises BadFieldError."""
    if not isinstance(document, dict):
        raise BadFieldError("", "is not an object")
    for name in document:
        if name not in known:
            raise BadFieldError(name, f"is not known; {nearest(name, known)}")
    for name in required:
        if document.get(name) is None:
            raise BadFieldError(name, "is missing")
    return document


def text_of(document: dict[str, Any], name: str, problem_of: Callable[[str], str | None]) -> str:
    """A field's text, in which `problem_of` finds no problem. Raises BadFieldError."""
    value = document[name]
    if not isinstance(value, str):
        raise BadFieldError(name, "is not a string")
    problem = problem_of(value)
    if problem is not None:
        raise BadFieldError(name, problem)
    return value


def nearest(name: str, known: Collection[str]) -> str:
    """A hint at the known name that a misspelt one is nearest to, or at all of them."""
    found = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {found[0]}?" if found else f"known are: {', '.join(known) or 'none'}"


def _batch(body: bytes, name: str, most: int) -> list[Any]:
    try:
        document = json.loads(body)
    except RecursionError:
        raise MalformedRequestError("The body is nested too deep.") from None
    except ValueError as error:
        raise MalformedRequestError(f"The body is not JSON: {error}") from error
    if not isinstance(document, dict) or name not in document:
        raise _invalid(name, f"is missing: the body is an object with a list of {name}")
    for other in document:
        if other != name:
            raise _invalid(other, f"is not known; the body has but the field {name}")
    entries = document[name]
    if not isinstance(entries, list):
        raise _invalid(name, "is not a list")
    if not 1 <= len(entries) <= most:
        raise _invalid(name, f"has {len(entries)} {name}, 1 to {most} are allowed")
    return entries


def _invalid(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field} {message}.", [FieldError(field, message)])


def _path(name: str, rejected: RejectedEntry) -> str:
    return f"{name}[{rejected.index}]" + (f".{rejected.field}" if rejected.field else "")

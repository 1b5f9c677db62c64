"""What may be an id, and what may name a kind of event."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.events import (
    EVENT_COLUMNS,
    KNOWN_EVENT_TYPES,
    MAX_EVENT_TYPE_LENGTH,
    MAX_ID_LENGTH,
    TARGET_EVENT_TYPES,
    event_type_problem,
    id_problem,
)

sendable = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")


@given(value=st.text(sendable, min_size=1, max_size=MAX_ID_LENGTH))
def test_any_text_that_can_be_sent_and_stored_is_an_id(value: str) -> None:
    assert id_problem(value) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty"),
        ("a" * 257, "has 257 characters, at most 256 are allowed"),
        ("🛒" * 257, "has 257 characters, at most 256 are allowed"),
        ("a\x00", "contains a NUL character"),
        ("\ud83d", "contains half of a surrogate pair, which is no character"),
    ],
)
def test_what_is_no_id_says_why(value: str, problem: str) -> None:
    assert id_problem(value) == problem


@pytest.mark.parametrize(
    ("check", "length"), [(id_problem, MAX_ID_LENGTH), (event_type_problem, MAX_EVENT_TYPE_LENGTH)]
)
def test_length_is_counted_in_characters(check: Callable[[str], str | None], length: int) -> None:
    assert check("🛒" * length) is None
    assert check("a" * (length + 1)) is not None


def test_known_kinds_are_acceptable_and_the_targets_are_among_them() -> None:
    assert {event_type_problem(kind) for kind in KNOWN_EVENT_TYPES} == {None}
    assert set(TARGET_EVENT_TYPES) < set(KNOWN_EVENT_TYPES)
    assert EVENT_COLUMNS == ("user_id", "item_id", "event_type", "timestamp")

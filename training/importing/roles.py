"""Which file is taken for what, and by which of its columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from contract.events import EVENT_COLUMNS
from training.errors import BadInputError
from training.importing.batches import Column, OpenedFile
from training.importing.columns import KINDS, check_found, choose_columns, names_of
from training.importing.readers import open_file
from training.importing.sources import find_files


class Role(StrEnum):
    """What a file of a source is."""

    EVENTS = "events"
    PROPERTIES = "item properties"
    """A row for each time that one property of an item changed."""
    ITEMS = "items"
    TREE = "category tree"
    USERS = "users"
    ELSEWHERE = "no part of a catalogue"
    """Events in a folder that was named as a catalogue."""


ImportFormat = Literal["auto", "native", "retailrocket", "personalize"]

IMPORT_FORMATS: Final[tuple[ImportFormat, ...]] = get_args(ImportFormat)

_ROLES: Final[dict[ImportFormat, tuple[Role, ...]]] = {
    "auto": (Role.EVENTS, Role.PROPERTIES, Role.ITEMS, Role.TREE, Role.USERS),
    "native": (Role.EVENTS, Role.ITEMS, Role.TREE, Role.USERS),
    "retailrocket": (Role.EVENTS, Role.PROPERTIES, Role.TREE),
    "personalize": (Role.EVENTS, Role.ITEMS, Role.USERS),
}


_TOLD: Final = 5


class _Needs(NamedTuple):
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


_COLUMNS: Final[dict[Role, _Needs]] = {
    Role.EVENTS: _Needs(EVENT_COLUMNS),
    Role.PROPERTIES: _Needs(("item_id", "property", "value", "timestamp")),
    Role.ITEMS: _Needs(("item_id",), ("category_id", "available")),
    Role.TREE: _Needs(("category_id", "parent_id")),
    Role.USERS: _Needs(("user_id",)),
    Role.ELSEWHERE: _Needs(()),
}


class _Sign(NamedTuple):
    """What tells a role: columns that are there, and others that are not."""

    role: Role
    there: tuple[str, ...]
    not_there: tuple[str, ...] = ()


_SIGNS: Final = (
    _Sign(Role.PROPERTIES, ("item_id", "property", "value", "timestamp"), ("user_id",)),
    _Sign(Role.EVENTS, ("user_id", "item_id")),
    _Sign(Role.ELSEWHERE, EVENT_COLUMNS),
    _Sign(Role.TREE, ("category_id", "parent_id"), ("item_id", "user_id")),
    # These only lack their users: the error about that is more help than a catalogue of them.
    _Sign(Role.EVENTS, ("item_id", "event_type", "timestamp"), ("category_id", "available")),
    _Sign(Role.ITEMS, ("item_id",)),
    _Sign(Role.USERS, ("user_id",)),
)
"""The first that fits counts."""


@dataclass(frozen=True)
class Taken:
    """A file, and what it was taken for."""

    opened: OpenedFile
    role: Role
    signs: tuple[str, ...]
    """Those of its columns, as it names them, that told so; none where `--format` left no choice."""
    columns: Mapping[str, str]
    """Theirs for each of ours."""

    @property
    def wanted(self) -> dict[str, Column]:
        """The columns to read."""
        return {ours: Column(theirs, KINDS[ours]) for ours, theirs in self.columns.items()}


def take_files(
    sources: Sequence[str | Path],
    catalogue: Sequence[str | Path],
    columns: Mapping[str, str],
    file_format: ImportFormat,
) -> list[Taken]:
    """All files of `sources`, and those of `catalogue`, which are never taken for events.

    `columns` leads from theirs to ours and wins over usual names. Raises BadInputError where a source
    can't be read, or a file lacks a column.
    """
    roles = _ROLES[file_format]
    opened = [(open_file(file), roles) for file in find_files(sources)]
    without_events = (Role.ELSEWHERE, *(role for role in roles if role != Role.EVENTS))
    opened += [(open_file(file), without_events) for file in find_files(catalogue)]
    check_found({file.file.where: file.names for file, _ in opened}, columns)
    return [_take(file, columns, allowed) for file, allowed in opened]


def of_role(taken: Iterable[Taken], *roles: Role) -> list[Taken]:
    """Those files that were taken for one of these."""
    return [file for file in taken if file.role in roles]


def _take(opened: OpenedFile, explicit: Mapping[str, str], allowed: Sequence[Role]) -> Taken:
    role, signs = _role(opened, explicit, allowed)
    needed, optional = _COLUMNS[role]
    where = opened.file.where if role == Role.EVENTS else f"{opened.file.where} (taken for {role})"
    columns = choose_columns(where, opened.names, explicit, needed, optional)
    taken = Taken(opened, role, signs, columns)
    opened.check_types(taken.wanted)
    return taken


def _role(
    opened: OpenedFile, explicit: Mapping[str, str], allowed: Sequence[Role]
) -> tuple[Role, tuple[str, ...]]:
    found = {ours: names for ours in KINDS if (names := names_of(ours, opened.names, explicit))}
    for role, there, not_there in _SIGNS:
        if role in allowed and found.keys() >= set(there) and found.keys().isdisjoint(not_there):
            return role, tuple(found[ours][0] for ours in there)
    # What it lacks is told when its columns are chosen.
    return next(role for role in (Role.EVENTS, Role.ITEMS, Role.TREE) if role in allowed), ()


def no_items(taken: Sequence[Taken]) -> BadInputError:
    """The error where not one file tells of items."""
    names = ", ".join(f"{file.opened.file.where} (taken for {file.role})" for file in taken[:_TOLD])
    return BadInputError(f"{names}: no items; a catalogue needs a file of them, with an item_id")


def no_events(taken: Sequence[Taken]) -> BadInputError:
    """The error where not one file holds events."""
    told = "; ".join(
        f"{file.opened.file.where} was taken for {file.role} (it has {', '.join(file.signs)})"
        for file in taken[:_TOLD]
    )
    return BadInputError(
        f"no file of events: they need columns for {', '.join(EVENT_COLUMNS)}. {told}. "
        f"To bring in a catalogue alone: python -m training.catalogue import"
    )

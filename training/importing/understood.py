"""What was taken for what, and why, for people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from training.importing.rejects import listed
from training.importing.roles import Role, Taken

_FILES_TOLD: Final = 3


@dataclass(frozen=True)
class Understood:
    """What was taken for what."""

    files: tuple[str, ...]
    role: str
    """See `import_roles.Role`."""
    signs: tuple[str, ...]
    """Theirs of the columns that told so; none where there was no choice."""
    columns: Mapping[str, str]
    """Theirs for each of ours, in these files."""
    explicit: tuple[str, ...]
    """Those of ours that `--column` named."""


def understand(taken: Sequence[Taken], explicit: Mapping[str, str]) -> tuple[Understood, ...]:
    """What was taken for what, one entry for all files that are alike; `explicit` are `--column`'s."""
    alike: dict[tuple[Role, tuple[str, ...], tuple[tuple[str, str], ...]], list[str]] = {}
    for file in taken:
        key = (file.role, file.signs, tuple(file.columns.items()))
        alike.setdefault(key, []).append(file.opened.file.name)
    return tuple(
        Understood(
            files=tuple(names),
            role=str(role),
            signs=signs,
            columns=dict(columns),
            explicit=tuple(ours for ours, theirs in columns if explicit.get(theirs) == ours),
        )
        for (role, signs, columns), names in alike.items()
    )


def describe_understood(understood: Sequence[Understood], time_forms: Sequence[str] = ()) -> Iterator[str]:
    """What was taken for what, and why; a line a file or so, and one a column."""
    for entry in understood:
        why = f", because there is {', '.join(map(repr, entry.signs))}" if entry.signs else ""
        yield f"{listed(entry.files, most=_FILES_TOLD)}: {entry.role}{why}:"
        for ours, theirs in entry.columns.items():
            reason = "--column" if ours in entry.explicit else "its usual name"
            is_event_time = ours == "timestamp" and entry.role == Role.EVENTS
            form = f"; {', '.join(time_forms)}" if is_event_time and time_forms else ""
            yield f"  {ours:<11} is {theirs!r} ({reason}{form})"

"""When deletions reached the bucket, and which of its files need no second look."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from contract.s3_layout import DELETIONS_KEY
from contract.tombstones import Tombstones
from training.errors import BadInputError
from training.storage import Folder

User = tuple[str, bytes]
"""As `Tombstones.deleted_at` names users."""

_SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Reached:
    """How far one deletion has come; moments in ms UTC."""

    deleted_at: int
    unread_at: int
    """Since when no file that anybody reads holds the user."""
    gone_at: int | None = None
    """Since when none does that was replaced, either; None while one is left."""


@dataclass
class DeletionsRecord:
    """Lies beside the events, and is written after what it tells of."""

    reached: dict[User, Reached] = field(default_factory=dict)
    deletions: str = ""
    """The digest of those tombstones that `clean` is about."""
    clean: dict[str, str] = field(default_factory=dict)
    """Keys of what holds nobody that these tombstones name, and a digest of what it was then."""

    def begin(self, tombstones: Tombstones) -> None:
        """From now on `clean` is about these; with others than before nothing is known to be clean."""
        digest = hashlib.sha256(tombstones.to_json().encode()).hexdigest()
        if digest != self.deletions:
            self.deletions, self.clean = digest, {}

    def is_clean(self, key: str, content: str) -> bool:
        """Whether that is known of a file, or of all that a manifest lists."""
        return self.clean.get(key) == content

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget about what is no longer there."""
        there = set(keys)
        self.clean = {key: content for key, content in self.clean.items() if key in there}

    def all_unread(self, tombstones: Tombstones, now_ms: int) -> None:
        """Nothing that is read holds any of these users any more."""
        for user, deleted_at in tombstones.deleted_at.items():
            known = self.reached.get(user)
            if known is None or known.deleted_at != deleted_at:
                self.reached[user] = Reached(deleted_at, now_ms)

    def all_gone(self, now_ms: int) -> None:
        """No replaced file is left either."""
        for user, known in self.reached.items():
            if known.gone_at is None:
                self.reached[user] = Reached(known.deleted_at, known.unread_at, now_ms)

    def write(self, folder: Folder) -> None:
        """Put it beside the events; the same record gives the same bytes."""
        deletions = [
            {
                "key": name,
                "user": digest.hex(),
                "deleted_at": known.deleted_at,
                "unread_at": known.unread_at,
                "gone_at": known.gone_at,
            }
            for (name, digest), known in sorted(self.reached.items())
        ]
        document = {
            "schema_version": _SCHEMA_VERSION,
            "deletions": deletions,
            "clean": {"of": self.deletions, "files": dict(sorted(self.clean.items()))},
        }
        folder.write(DELETIONS_KEY, json.dumps(document, indent=1).encode())


def read_record(folder: Folder) -> DeletionsRecord:
    """That of a bucket; an empty one where there is none yet. Raises BadInputError where it can't be read."""
    where = folder.uri_of(DELETIONS_KEY)
    try:
        document = json.loads(folder.read(DELETIONS_KEY))
        return _record(document)
    except FileNotFoundError:
        return DeletionsRecord()
    except OSError as error:
        raise BadInputError(f"{where}: cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{where}: isn't a record of deletions ({error!r}): delete it, and the next run reads all anew"
        ) from error


def _record(document: dict[str, Any]) -> DeletionsRecord:
    if document["schema_version"] != _SCHEMA_VERSION:
        raise ValueError(f"schema version {document['schema_version']!r}, this code reads {_SCHEMA_VERSION}")
    reached = {
        (str(each["key"]), bytes.fromhex(each["user"])): Reached(
            int(each["deleted_at"]),
            int(each["unread_at"]),
            None if each["gone_at"] is None else int(each["gone_at"]),
        )
        for each in document["deletions"]
    }
    return DeletionsRecord(reached, str(document["clean"]["of"]), dict(document["clean"]["files"]))

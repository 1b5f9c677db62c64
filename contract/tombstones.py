"""Whom to forget: a keyed hash of each deleted user, and the moment up to which they are forgotten.

Postgres keeps them (`keys`, `deleted_users`); a copy lies beside the events in S3, where imports and the
training read it, and where a new database finds it again. The key lies with them: whoever may read that
folder reads the events themselves, and the hashes keep a list of names out of all other places.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, Final

KEY_PURPOSE: Final = "tombstones"
"""Of the secrets in the table `keys`."""

_SCHEMA_VERSION: Final = 1


class TombstonesError(ValueError):
    """A document of tombstones that this code cannot read."""


def user_hash(secret: bytes, user_id: str) -> bytes:
    """HMAC-SHA256 (RFC 2104); the migration's SQL computes the same."""
    return hmac.digest(secret, user_id.encode(), "sha256")


def key_id(secret: bytes) -> str:
    """The name of a secret, which doesn't tell it."""
    return hashlib.sha256(secret).hexdigest()[:16]


@dataclass(frozen=True)
class Tombstones:
    """Deleted users; false where there are none."""

    keys: dict[str, bytes] = field(default_factory=dict)
    """Secrets by their `key_id`."""
    deleted_at: dict[tuple[str, bytes], int] = field(default_factory=dict)
    """The moment of deletion, ms UTC, by `key_id` and `user_hash`."""

    def __bool__(self) -> bool:
        return bool(self.deleted_at)

    def deleted_until(self, user_id: str) -> int | None:
        """The moment up to which, itself included, this user is forgotten; ms UTC."""
        moments = [
            moment
            for name, secret in self.keys.items()
            if (moment := self.deleted_at.get((name, user_hash(secret, user_id)))) is not None
        ]
        return max(moments, default=None)

    def united(self, other: "Tombstones") -> "Tombstones":
        """Those of both; of two deletions of one user the later."""
        moments = dict(self.deleted_at)
        for user, moment in other.deleted_at.items():
            moments[user] = max(moment, moments.get(user, moment))
        return Tombstones({**self.keys, **other.keys}, moments)

    def to_json(self) -> str:
        """As it lies in S3; the same tombstones give the same text."""
        users = [
            {"key": name, "user": digest.hex(), "deleted_at": moment}
            for (name, digest), moment in sorted(self.deleted_at.items())
        ]
        keys = {name: secret.hex() for name, secret in sorted(self.keys.items())}
        return json.dumps({"schema_version": _SCHEMA_VERSION, "keys": keys, "users": users}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Tombstones":
        """Read them back. Raises TombstonesError where the text isn't what `to_json` writes."""
        try:
            document: Any = json.loads(text)
        except ValueError as error:
            raise TombstonesError(f"are not JSON: {error}") from error
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != _SCHEMA_VERSION:
            raise TombstonesError(f"have schema version {version!r}, this code reads {_SCHEMA_VERSION}")
        try:
            keys = {name: bytes.fromhex(secret) for name, secret in document["keys"].items()}
            users = [(each["key"], each["user"], each["deleted_at"]) for each in document["users"]]
            return cls(keys, {(name, bytes.fromhex(user)): int(moment) for name, user, moment in users})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TombstonesError(f"are not as expected: {error!r}") from error

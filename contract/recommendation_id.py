"""The id of an answer: a signed token that says itself which answer it was, so that nobody has to store it.

    bytes                  what
    1                      the format, 1
    8                      the id of the key
    6                      the moment, ms UTC
    6                      random: no two answers have the same id
    8                      who it was for: HMAC-SHA256, under the key, of the random part and the user; zeros
                           where the answer was for nobody in particular
    1                      the source, by its place in SOURCES
    1 + n, 1 + n           version and variant, each after its length, UTF-8
    16                     HMAC-SHA256, under the key, of all before, cut as RFC 2104 allows

All of it in URL-safe Base64 without padding. Errors:

    TooLongError           version and variant have too long names to fit
    RecommendationIdError
    ├── MalformedIdError   not of this form
    ├── UnknownKeyError    under a key that is not among those given
    └── ForgedIdError      not signed with the key that it names
"""

import base64
import binascii
import hmac
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

KEY_PURPOSE: Final = "recommendation_ids"
"""Of the secrets in the table `keys`."""

MAX_LENGTH: Final = 256
"""Of a token, in characters."""

SOURCES: Final = ("personalized", "session", "similar", "bought_together", "popular")
"""Append only: tokens hold the place."""

_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">B8s6s6s8sB")
_MAC_BYTES: Final = 16
_NOBODY: Final = bytes(8)


class TooLongError(ValueError):
    """What an id would have to say does not fit into one."""


class RecommendationIdError(ValueError):
    """A text that is not the id of an answer of ours."""


class MalformedIdError(RecommendationIdError):
    """A text that is no token of a format known here."""


class UnknownKeyError(RecommendationIdError):
    """A token under a key that is not known (any more, or yet)."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"the recommendation_id is signed with the key {key_id}, which is not known here")
        self.key_id = key_id


class ForgedIdError(RecommendationIdError):
    """A token that was not made with the key that it names, or was changed afterwards."""


class Key(NamedTuple):
    """A secret and its name, 16 hexadecimal digits."""

    id: str
    secret: bytes


@dataclass(frozen=True, kw_only=True)
class RecommendationId:
    """What a token says of its answer."""

    version: str
    variant: str
    source: str
    made_at: int
    """Milliseconds UTC."""
    key_id: str
    user_hash: bytes | None
    """Another one in each token, so that two of them don't tell that they were for the same user. None where
    the answer was for nobody in particular."""
    random: bytes
    secret: bytes = field(repr=False, compare=False)

    def is_of(self, user_id: str) -> bool:
        """Whether the answer was for this user."""
        expected = _user_hash(self.secret, self.random, user_id)
        return self.user_hash is not None and hmac.compare_digest(expected, self.user_hash)


def make(key: Key, *, version: str, variant: str, source: str, user_id: str | None, now: int) -> str:
    """A new id; `now` is in ms UTC, `user_id` is None where the answer is for nobody in particular.

    Raises TooLongError where it would have more than MAX_LENGTH characters, ValueError for a source that
    SOURCES lacks.
    """
    if source not in SOURCES:
        raise ValueError(f"{source!r} is no source of an answer")
    random = os.urandom(6)
    content = b"".join(
        (
            _HEAD.pack(
                _FORMAT,
                bytes.fromhex(key.id),
                now.to_bytes(6, "big"),
                random,
                _NOBODY if user_id is None else _user_hash(key.secret, random, user_id),
                SOURCES.index(source),
            ),
            _text(version),
            _text(variant),
        )
    )
    token = _encode(content + _mac(key.secret, content))
    if len(token) > MAX_LENGTH:
        raise TooLongError(f"version {version!r}, variant {variant!r}: too long for a recommendation_id")
    return token


def read(token: str, keys: Mapping[str, bytes]) -> RecommendationId:
    """What a token says; `keys` are secrets by their ids. Raises RecommendationIdError."""
    raw = _decode(token)
    if len(raw) < _HEAD.size + 2 + _MAC_BYTES:
        raise MalformedIdError("the recommendation_id is too short")
    if raw[0] != _FORMAT:
        raise MalformedIdError(f"the recommendation_id has format {raw[0]}, this code reads {_FORMAT}")
    content, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    _, key_id, made_at, random, user_hash, source = _HEAD.unpack_from(content)
    secret = keys.get(key_id.hex())
    if secret is None:
        raise UnknownKeyError(key_id.hex())
    if not hmac.compare_digest(_mac(secret, content), mac):
        raise ForgedIdError("the recommendation_id is forged: its signature is not that of its content")
    version, variant = _texts(content[_HEAD.size :])
    if source >= len(SOURCES):
        raise MalformedIdError(f"the recommendation_id names source {source}, which this code does not know")
    return RecommendationId(
        version=version,
        variant=variant,
        source=SOURCES[source],
        made_at=int.from_bytes(made_at, "big"),
        key_id=key_id.hex(),
        user_hash=None if user_hash == _NOBODY else user_hash,
        random=random,
        secret=secret,
    )


# The first byte keeps both uses of a key apart: a token begins with its format, never with 0.
def _user_hash(secret: bytes, random: bytes, user_id: str) -> bytes:
    user = user_id.encode(errors="surrogatepass")
    return hmac.digest(secret, b"\x00" + random + user, "sha256")[: len(_NOBODY)]


def _mac(secret: bytes, content: bytes) -> bytes:
    return hmac.digest(secret, content, "sha256")[:_MAC_BYTES]


def _text(value: str) -> bytes:
    encoded = value.encode()
    if len(encoded) > 255:
        raise TooLongError(f"{value!r} is too long for a recommendation_id")
    return bytes((len(encoded),)) + encoded


def _texts(content: bytes) -> tuple[str, str]:
    middle = 1 + content[0]
    version, variant = content[1:middle], content[middle + 1 :]
    if len(content) <= middle or content[middle] != len(variant):
        raise MalformedIdError("the recommendation_id does not end where it says")
    try:
        return version.decode(), variant.decode()
    except UnicodeDecodeError:
        raise MalformedIdError("the recommendation_id has a version or a variant that is no text") from None


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(token: str) -> bytes:
    if len(token) > MAX_LENGTH:
        raise MalformedIdError(f"the recommendation_id is longer than {MAX_LENGTH} characters")
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise MalformedIdError("the recommendation_id is not URL-safe Base64") from None
    # Decoding passes over what is no Base64, and over bits that the last character has too many.
    if _encode(raw) != token:
        raise MalformedIdError("the recommendation_id is not URL-safe Base64")
    return raw

import base64
import dataclasses
import hashlib
import hmac
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from contract.events import MAX_ID_LENGTH
from contract.metrics import SOURCES as ANSWERED_SOURCES
from contract.recommendation_id import (
    MAX_LENGTH,
    SOURCES,
    ForgedIdError,
    Key,
    MalformedIdError,
    RecommendationId,
    RecommendationIdError,
    TooLongError,
    UnknownKeyError,
    make,
    read,
)
from contract.tombstones import key_id

ALPHABET = string.ascii_letters + string.digits + "-_"
VERSION = "20260131T020000Z-3f2a91c0"
NOW = 1_769_860_800_000
SECRETS = st.binary(min_size=32, max_size=32)
KEYS = SECRETS.map(lambda secret: Key(key_id(secret), secret))
USERS = st.text(min_size=1, max_size=MAX_ID_LENGTH)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MOMENTS = st.integers(0, 2**48 - 1)
KEY = Key(key_id(b"k" * 32), b"k" * 32)


def token(user_id: str | None = "u", key: Key = KEY, source: str = "personalized") -> str:
    return make(key, version=VERSION, variant="default", source=source, user_id=user_id, now=NOW)


@given(KEYS, st.tuples(NAMES, NAMES, st.sampled_from(SOURCES)), st.none() | USERS, MOMENTS)
def test_what_was_made_is_read_back(
    key: Key, names: tuple[str, str, str], user: str | None, now: int
) -> None:
    version, variant, source = names
    made = make(key, version=version, variant=variant, source=source, user_id=user, now=now)
    told = read(made, {key.id: key.secret})
    assert (told.version, told.variant, told.source, told.made_at) == (version, variant, source, now)
    assert told.key_id == key.id
    assert (told.user_hash is None) == (user is None)
    assert user is None or told.is_of(user)


@given(KEYS, USERS, USERS)
def test_another_user_is_told_from_the_one_it_was_for(key: Key, user: str, other: str) -> None:
    assume(user != other)
    keys = {key.id: key.secret}
    assert not read(token(user, key), keys).is_of(other)
    assert not read(token(None, key), keys).is_of(user)


@given(st.data())
def test_any_changed_character_is_refused(data: st.DataObject) -> None:
    made = token()
    place = data.draw(st.integers(0, len(made) - 1))
    other = data.draw(st.characters() | st.sampled_from(ALPHABET))
    assume(other != made[place])
    with pytest.raises(RecommendationIdError):
        read(made[:place] + other + made[place + 1 :], {KEY.id: KEY.secret})


def test_no_character_of_the_alphabet_can_take_the_place_of_another() -> None:
    for source in SOURCES:
        # With and without bits that the last character has too many.
        for variant in ("a", "ab", "abc"):
            made = make(KEY, version=VERSION, variant=variant, source=source, user_id="u", now=NOW)
            for place in range(len(made)):
                for other in ALPHABET.replace(made[place], ""):
                    with pytest.raises(RecommendationIdError):
                        read(made[:place] + other + made[place + 1 :], {KEY.id: KEY.secret})


@given(st.integers(0, 300), st.text(max_size=5))
def test_what_is_cut_or_goes_on_is_refused(length: int, more: str) -> None:
    made = token()
    changed = made[:length] + more
    assume(changed != made)
    with pytest.raises(RecommendationIdError):
        read(changed, {KEY.id: KEY.secret})


@given(KEYS, SECRETS)
def test_another_key_is_refused(key: Key, secret: bytes) -> None:
    assume(secret != key.secret)
    with pytest.raises(UnknownKeyError) as unknown:
        read(token(key=key), {key_id(secret): secret})
    assert unknown.value.key_id == key.id
    with pytest.raises(ForgedIdError):
        read(token(key=key), {key.id: secret})
    with pytest.raises(UnknownKeyError):
        read(token(key=key), {})


@given(st.text(max_size=400) | st.text(ALPHABET, max_size=200) | st.text(ALPHABET + "=\n ", max_size=200))
def test_garbage_raises_nothing_but_its_own_error(garbage: str) -> None:
    with pytest.raises(RecommendationIdError):
        read(garbage, {KEY.id: KEY.secret})


@given(st.binary(max_size=150))
def test_garbage_that_begins_like_a_token_raises_nothing_but_its_own_error(rest: bytes) -> None:
    raw = b"\x01" + bytes.fromhex(KEY.id) + rest
    with pytest.raises(RecommendationIdError):
        read(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), {KEY.id: KEY.secret})


@given(st.binary(max_size=100), st.integers(0, 255))
@example(b"\x01v\x01", 0)  # ends too early
@example(b"\x01v\x01de", 0)  # goes on
@example(b"\x05v\x01d", 0)  # no variant is left
@example(b"\x01\xff\x01d", 0)  # no text
@example(b"\x01v\x01d", 0)
@example(b"\x01v\x01d", len(SOURCES))
def test_what_was_signed_but_says_nonsense_raises_nothing_but_its_own_error(rest: bytes, source: int) -> None:
    """By a later code that shares key and format."""
    raw = b"\x01" + bytes.fromhex(KEY.id) + bytes(20) + bytes([source]) + rest
    signed = base64.urlsafe_b64encode(raw + signature(raw)).rstrip(b"=").decode()
    try:
        told = read(signed, {KEY.id: KEY.secret})
    except MalformedIdError:
        return
    version, variant = told.version.encode(), told.variant.encode()
    assert rest == bytes([len(version)]) + version + bytes([len(variant)]) + variant


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("", "too short"),
        ("abc", "too short"),
        ("a", "Base64"),
        ("=" * 80, "Base64"),
        ("ü" * 80, "Base64"),
        ("A" * 257, "longer than 256"),
        ("A" * 80, "format 0"),
    ],
)
def test_the_error_says_what_is_wrong(bad: str, problem: str) -> None:
    with pytest.raises(MalformedIdError, match=problem):
        read(bad, {KEY.id: KEY.secret})


def test_each_id_is_another_one_and_none_tells_that_two_are_for_one_user() -> None:
    told = [read(token(), {KEY.id: KEY.secret}) for _ in range(200)]
    assert len({each.random for each in told}) == len({each.user_hash for each in told}) == 200
    assert all(each.is_of("u") for each in told)


def test_it_is_short_and_safe_in_a_url() -> None:
    for source in SOURCES:
        made = token("u" * 256, source=source)
        assert len(made) < 120
        assert set(made) <= set(ALPHABET)


def test_it_fits_into_a_posted_event_or_is_not_made() -> None:
    assert MAX_LENGTH == MAX_ID_LENGTH
    longest = make(KEY, version="v" * 128, variant="v" * 16, source="popular", user_id="u", now=NOW)
    assert len(longest) == MAX_LENGTH
    assert read(longest, {KEY.id: KEY.secret}).version == "v" * 128
    for version, variant in (("v" * 128, "v" * 17), ("v" * 256, "v"), ("v", "v" * 256)):
        with pytest.raises(TooLongError):
            make(KEY, version=version, variant=variant, source="popular", user_id="u", now=NOW)


def test_every_source_of_an_answer_has_a_place() -> None:
    assert set(ANSWERED_SOURCES) <= set(SOURCES)
    with pytest.raises(ValueError, match="guess"):
        token(source="guess")


def test_what_is_printed_does_not_tell_the_secret() -> None:
    told = read(token(), {KEY.id: KEY.secret})
    assert str(KEY.secret) not in repr(told)
    assert {field.name for field in dataclasses.fields(RecommendationId) if not field.repr} == {"secret"}


def signature(content: bytes) -> bytes:
    return hmac.new(KEY.secret, content, hashlib.sha256).digest()[:16]

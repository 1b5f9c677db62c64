import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.tombstones import Tombstones, TombstonesError, key_id, user_hash

SECRETS = st.binary(min_size=32, max_size=32)
USERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20)


@st.composite
def tombstones(draw: st.DrawFn) -> Tombstones:
    keys = {key_id(secret): secret for secret in draw(st.lists(SECRETS, max_size=3))}
    deleted = {
        (draw(st.sampled_from(sorted(keys))), draw(SECRETS)): draw(st.integers(0, 2**52))
        for _ in range(draw(st.integers(0, 5)) if keys else 0)
    }
    return Tombstones(keys, deleted)


@given(SECRETS, USERS)
def test_the_hash_is_the_usual_one(secret: bytes, user: str) -> None:
    assert user_hash(secret, user) == hmac.new(secret, user.encode(), hashlib.sha256).digest()


@given(tombstones())
def test_what_was_written_is_read_back(written: Tombstones) -> None:
    assert Tombstones.from_json(written.to_json()) == written
    assert Tombstones.from_json(written.to_json()).to_json() == written.to_json()


@given(tombstones(), tombstones())
def test_a_union_holds_both_and_the_later_moment(one: Tombstones, other: Tombstones) -> None:
    united = one.united(other)
    assert united == other.united(one)
    assert united.united(one) == united
    assert united.keys == {**one.keys, **other.keys}
    for user in united.deleted_at:
        assert united.deleted_at[user] == max(
            each.deleted_at[user] for each in (one, other) if user in each.deleted_at
        )


@given(USERS, st.lists(st.tuples(SECRETS, st.integers(0, 2**52)), min_size=1, max_size=3), USERS)
def test_a_user_is_forgotten_up_to_the_latest_deletion(
    user: str, deletions: list[tuple[bytes, int]], other: str
) -> None:
    united = Tombstones()
    for secret, moment in deletions:
        name = key_id(secret)
        united = united.united(Tombstones({name: secret}, {(name, user_hash(secret, user)): moment}))
    assert united.deleted_until(user) == max(moment for _, moment in deletions)
    assert other == user or united.deleted_until(other) is None
    assert bool(united)
    assert not Tombstones()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[]", "schema version None"),
        ("{}", "schema version None"),
        ('{"schema_version": 2}', "schema version 2"),
        ('{"schema_version": 1, "keys": [], "users": []}', "not as expected"),
        ('{"schema_version": 1, "keys": {}, "users": [{"key": "k"}]}', "not as expected"),
        ('{"schema_version": 1, "keys": {"k": "no hex"}, "users": []}', "not as expected"),
    ],
)
def test_another_document_is_refused(text: str, problem: str) -> None:
    with pytest.raises(TombstonesError, match=problem):
        Tombstones.from_json(text)

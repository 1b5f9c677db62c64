"""Keys of recommendation ids: made once, shared by all environments, rotated without refusing anybody."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from contract.recommendation_id import Key, RecommendationId, UnknownKeyError, make, read
from contract.tombstones import key_id, user_hash
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.signing import Signer
from tests.lambdas.callers import Api
from tests.lambdas.conftest import MakeApi
from tests.lambdas.servers import Proxy
from tests.lambdas.versions import NOW_MS, execute

MakeSigner = Callable[..., Signer]


@pytest.fixture
def make_signer(database: str) -> Iterator[MakeSigner]:
    """What signs in one environment, over a connection of its own."""
    databases: list[Database] = []

    def make_one(
        url: str = database, *, refresh: float = 3600, pause: float = 0, timeout: float = 10
    ) -> Signer:
        databases.append(Database(url, connect_timeout=5, pause=pause, statement_timeout=10))
        return Signer(databases[-1], timeout=timeout, refresh=refresh, pause=pause)

    yield make_one
    for each in databases:
        each.close()


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    where = conninfo_to_dict(database)
    proxy = Proxy(cast(str, where["host"]), int(cast(str, where["port"])))
    yield proxy
    proxy.close()


def signed(signer: Signer, user_id: str | None = "u") -> str | None:
    return signer.sign(version="v", variant="default", source="popular", user_id=user_id, now=NOW_MS)


def made(signer: Signer, user_id: str | None = "u") -> str:
    token = signed(signer, user_id)
    assert token is not None
    return token


def rotate(database: str, *more: str) -> str:
    [(name,)] = execute(database, f"SELECT rotate_key({', '.join(['%s', *more])})", "recommendation_ids")
    return str(name)


def keys(database: str) -> list[tuple[Any, ...]]:
    return execute(database, "SELECT id, secret FROM recommendation_keys()")


def test_an_id_of_one_environment_is_read_by_another(make_signer: MakeSigner) -> None:
    one, other = make_signer(), make_signer()
    told = other.read(made(one))
    assert (told.version, told.variant, told.source, told.made_at) == ("v", "default", "popular", NOW_MS)
    assert told.is_of("u")
    assert not told.is_of("v")
    assert one.read(made(other, None)).user_hash is None


def test_after_a_rotation_both_keys_are_good_and_after_two_the_oldest_is_not(
    make_signer: MakeSigner, database: str
) -> None:
    one, other = make_signer(), make_signer()
    oldest = made(one)
    rotate(database)
    newer = made(other)
    assert one.read(newer).key_id != one.read(oldest).key_id
    assert other.read(oldest).is_of("u")
    rotate(database)
    newest = made(make_signer())
    for signer in (one, other):
        assert signer.read(newest).is_of("u")
        assert signer.read(newer).is_of("u")
        with pytest.raises(UnknownKeyError):
            signer.read(oldest)


def test_an_environment_that_missed_a_rotation_signs_what_others_read(
    make_signer: MakeSigner, database: str
) -> None:
    behind = make_signer()
    made(behind)
    rotate(database)
    assert make_signer().read(made(behind)).key_id == behind.read(made(behind)).key_id


def test_keys_are_read_once_and_again_when_their_time_is_over(make_signer: MakeSigner, database: str) -> None:
    lasting, short = make_signer(), make_signer(refresh=1e-9)
    first = [lasting.read(made(lasting)).key_id, short.read(made(short)).key_id]
    rotate(database)
    assert lasting.read(made(lasting)).key_id == first[0]
    assert short.read(made(short)).key_id != first[1]


def test_an_unknown_key_is_looked_for_but_not_more_often_than_the_pause_allows(
    make_signer: MakeSigner, database: str
) -> None:
    waiting, asking = make_signer(pause=3600), make_signer()
    made(waiting), made(asking)
    rotate(database)
    newer = made(make_signer())
    assert asking.read(newer).is_of("u")
    with pytest.raises(UnknownKeyError):
        waiting.read(newer)


def test_without_a_database_known_keys_are_good_and_unknown_ones_cost_the_id_alone(
    make_signer: MakeSigner, proxy: Proxy, database: str
) -> None:
    url = make_conninfo(database, host="127.0.0.1", port=proxy.port)
    knowing, ignorant = make_signer(url, refresh=1e-9), make_signer(url)
    made(knowing)
    proxy.cut()
    assert make_signer().read(made(knowing)).is_of("u")
    assert signed(ignorant) is None
    proxy.restore()
    assert make_signer().read(made(ignorant)).is_of("u")


def test_an_answer_whose_names_are_too_long_has_no_id(make_signer: MakeSigner) -> None:
    signer = make_signer()
    assert signer.sign(version="v" * 128, variant="v" * 40, source="popular", user_id="u", now=NOW_MS) is None


def test_an_environment_signs_by_its_service_and_reads_no_key_before(
    api: Api, make_api: MakeApi, database: str, stored: str
) -> None:
    signers = []
    for each in (api, make_api()):
        assert each.get("/health").status == 200
        assert execute(database, "SELECT 1 FROM keys") == []
        parts = each.environment._parts
        assert parts is not None
        signers.append(parts.service.signer)
    one, other = signers
    assert other.read(made(one)).is_of("u")


# The table of keys


def test_the_first_key_is_made_once_however_many_ask_at_once(database: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(keys, [database] * 16))
    assert found == [found[0]] * 16
    ((name, secret),) = found[0]
    assert (name, len(secret)) == (key_id(secret), 32)


def test_rotations_at_once_are_one_where_an_age_is_asked_for(database: str) -> None:
    ((first, _),) = keys(database)
    execute(database, "UPDATE keys SET made_at = made_at - interval '31 days'")
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: rotate(database, "interval '30 days'"), range(8)))
    (newest,) = names
    assert [name for name, _ in keys(database)] == [newest, first]


def test_a_key_that_is_young_is_left_alone(database: str) -> None:
    ((first, _),) = keys(database)
    assert rotate(database, "interval '30 days'") == first
    assert rotate(database) != first


def test_the_newest_key_is_the_current_one_even_where_the_clock_was_set_back(database: str) -> None:
    keys(database)
    execute(database, "UPDATE keys SET made_at = now() + interval '1 year'")
    newest = rotate(database)
    assert keys(database)[0][0] == newest


def test_older_keys_are_kept_for_who_judges_late_events_and_then_dropped(database: str) -> None:
    names = [keys(database)[0][0], *(rotate(database) for _ in range(3))]
    assert stored_names(database) == names
    assert [name for name, _ in keys(database)] == [names[3], names[2]]
    # The first was accepted until the third was made.
    execute(database, "UPDATE keys SET made_at = made_at - interval '89 days'")
    names.append(rotate(database))
    assert stored_names(database) == names
    execute(database, "UPDATE keys SET made_at = made_at - interval '2 days' WHERE id <> %s", names[4])
    names.append(rotate(database))
    assert stored_names(database) == names[2:]


def stored_names(database: str) -> list[str]:
    return [name for (name,) in execute(database, "SELECT id FROM keys ORDER BY made_at")]


@pytest.mark.parametrize("purpose", ["tombstones", "else", None])
def test_keys_of_another_purpose_are_not_rotated(database: str, purpose: str | None) -> None:
    execute(database, "SELECT delete_user('u')")
    before = execute(database, "SELECT * FROM keys")
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        execute(database, "SELECT rotate_key(%s)", purpose)
    assert execute(database, "SELECT * FROM keys") == before


def test_keys_of_ids_and_of_tombstones_leave_each_other_alone(database: str) -> None:
    (signing, _), *_ = keys(database)
    execute(database, "SELECT delete_user('u')")
    rotate(database)
    rotate(database)
    [(name, secret)] = execute(database, "SELECT id, secret FROM keys WHERE purpose = 'tombstones'")
    assert execute(database, "SELECT key_id, user_hash FROM deleted_users") == [
        (name, user_hash(secret, "u"))
    ]
    assert execute(database, "SELECT tombstone_key_id()") == [(name,)]
    assert name not in [each for each, _ in keys(database)]
    assert name != signing


def test_whoever_may_sign_need_not_read_the_table(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE ROLE signer")
        connection.execute("SET ROLE signer")
        assert len(connection.execute("SELECT * FROM recommendation_keys()").fetchall()) == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("SELECT * FROM keys")
        connection.rollback()


def test_the_database_makes_keys_that_the_contract_can_use(database: str) -> None:
    (row,) = keys(database)
    token = make(Key(*row), version="v", variant="d", source="session", user_id="u", now=NOW_MS)
    told = read(token, dict([row]))
    assert isinstance(told, RecommendationId)
    assert told.is_of("u")

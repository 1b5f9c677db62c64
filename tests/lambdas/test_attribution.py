"""What visitors did with answers, counted in a real Postgres: known answers, and a slow count that is obvious."""

import base64
import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from psycopg.types.json import Jsonb
from pydantic import SecretStr
from twin.postgres import create_database, drop_database

from contract import recommendation_id
from contract.metrics import (
    ATTRIBUTION_ANSWERS,
    HOUSEKEEPING_PARTS,
    ID_VERDICTS,
    OTHER,
    VERSIONS_ATTRIBUTED,
)
from contract.recommendation_id import (
    ForgedIdError,
    Key,
    MalformedIdError,
    RecommendationIdError,
    UnknownKeyError,
)
from lambdas.housekeeping.attribution import attributed, catch_up
from lambdas.housekeeping.measured import registry_of
from lambdas.housekeeping.run import Run
from lambdas.housekeeping.settings import Settings
from lambdas.migrate_database.migrate import migrate
from tests.lambdas.conftest import name_of_module
from tests.lambdas.versions import execute, load_first
from tests.pushed_metrics import require_contract

DAY = dt.date(2026, 1, 10)
"""The day of receipt that times count from; partitions are there for a week from it on."""
START = int(dt.datetime.combine(DAY, dt.time(), dt.UTC).timestamp() * 1000)
HOUR = 3_600_000
WINDOW = dt.timedelta(hours=24)
SKEW = 5 * 60_000
VERDICTS: dict[type[RecommendationIdError], str] = {
    MalformedIdError: "malformed",
    UnknownKeyError: "unknown_key",
    ForgedIdError: "forged",
}
UNKNOWN_KEY = Key("00" * 8, b"x" * 32)

Counts = dict[tuple[int, str, str, str], int]
"""By hour after START, outcome, version and variant."""


@dataclass(frozen=True)
class Posted:
    """An event as it comes in."""

    user_id: str
    item_id: str
    event_type: str
    ms: int
    """After START."""
    token: str | None = None
    event_id: str = ""
    days_late: int = 0

    @property
    def received_on(self) -> dt.date:
        return DAY + dt.timedelta(days=self.ms // (24 * HOUR) + self.days_late)


@pytest.fixture(scope="module")
def shop(postgres_server: str, request: pytest.FixtureRequest) -> Iterator["Shop"]:
    name = name_of_module(request)
    url = create_database(postgres_server, name)
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        yield Shop(url, connection)
    drop_database(postgres_server, name)


class Shop:
    """A database with partitions and keys, for one test after the other."""

    def __init__(self, url: str, connection: psycopg.Connection[Any]) -> None:
        self.url = url
        self.connection = connection
        for number in range(-3, 12):
            connection.execute("SELECT ensure_events_partition(%s)", (DAY + dt.timedelta(days=number),))
        connection.execute("SELECT rotate_key('recommendation_ids')")
        connection.execute("SELECT rotate_key('recommendation_ids')")
        self.keys = [
            Key(*row) for row in connection.execute("SELECT id, secret FROM recommendation_keys()").fetchall()
        ]

    def empty(self) -> "Shop":
        self.connection.execute("DELETE FROM events")
        self.connection.execute("DELETE FROM attributed")
        self.connection.execute(
            "UPDATE attribution_progress SET counted_to = pg_snapshot_xmin(pg_current_snapshot()),"
            " touch_window = %s, last_day = NULL, caught_up_at = NULL, counted_until = NULL",
            (WINDOW,),
        )
        return self

    def token(
        self, user_id: str | None, ms: int, *, version: str = "v1", variant: str = "default", key: int = 0
    ) -> str:
        return recommendation_id.make(
            self.keys[key],
            version=version,
            variant=variant,
            source="popular",
            user_id=user_id,
            now=START + ms,
        )

    def post(self, *posted: Posted) -> None:
        """In one transaction, as the API does."""
        with self.connection.transaction():
            for each in posted:
                self.connection.execute(
                    'INSERT INTO events (received_on, user_id, event_id, item_id, event_type, "timestamp",'
                    " recommendation_id) VALUES (%s, %s, coalesce(%s, gen_random_uuid()::text), %s, %s, %s, %s)"
                    " ON CONFLICT DO NOTHING",
                    (
                        each.received_on,
                        each.user_id,
                        each.event_id or None,
                        each.item_id,
                        each.event_type,
                        START + each.ms,
                        each.token,
                    ),
                )

    def count(self, most_events: int = 1000, window: dt.timedelta = WINDOW) -> int:
        return catch_up(self.connection, touch_window=window, most_events=most_events, seconds=600)

    @property
    def counts(self) -> Counts:
        rows = self.connection.execute(
            "SELECT extract(epoch FROM hour)::bigint, outcome, version, variant, number FROM attributed"
            " WHERE number <> 0"
        ).fetchall()
        return {((hour * 1000 - START) // HOUR, *names): number for hour, *names, number in rows}


def count_slowly(events: Sequence[Posted], keys: dict[str, bytes], window: dt.timedelta = WINDOW) -> Counts:
    """The definition, word by word: every event is compared with every other one."""
    window_ms = window // dt.timedelta(milliseconds=1)
    counts: Counter[tuple[int, str, str, str]] = Counter()
    first: dict[tuple[str, str, str, str, str], int] = {}
    kept = without_copies(events, window_ms)
    judged = [(each, *judge(each, keys, window_ms)) for each in kept]
    touches = [
        (each, read.version, read.variant)
        for each, verdict, read in judged
        if verdict == "own" and read is not None
    ]

    def note(outcome: str, each: Posted, touch: tuple[Posted, str, str]) -> None:
        name = (outcome, each.user_id, touch[0].token or "", touch[1], touch[2])
        first[name] = min(each.ms, first.get(name, each.ms))

    for each, verdict, _ in judged:
        if verdict is not None:
            counts[each.ms // HOUR, verdict, "", ""] += 1
        before = [
            touch
            for touch in touches
            if touch[0].user_id == each.user_id
            and touch[0].item_id == each.item_id
            and each.ms - window_ms <= touch[0].ms <= each.ms
        ]
        own = [touch for touch in touches if touch[0] is each]
        last = own[0] if own else max(before, key=lambda it: (it[0].ms, it[0].event_id), default=None)
        if own:
            note("clicked", each, own[0])
        if each.event_type in {"add_to_cart", "purchase"}:
            began = ("", "") if last is None else last[1:]
            counts[each.ms // HOUR, each.event_type, *began] += 1
            if last is not None:
                note("carted" if each.event_type == "add_to_cart" else "bought", each, last)
    for (outcome, _, _, version, variant), ms in first.items():
        counts[ms // HOUR, outcome, version, variant] += 1
    return dict(counts)


def without_copies(events: Sequence[Posted], window_ms: int) -> list[Posted]:
    """Each that matters, but those that were committed before and happened at most a window apart."""
    stored: list[Posted] = []
    kept: list[Posted] = []
    for each in events:
        copies = [it for it in stored if (it.user_id, it.event_id) == (each.user_id, each.event_id)]
        # What comes twice on one day is not even stored.
        if any(it.received_on == each.received_on for it in copies):
            continue
        stored.append(each)
        if matters(each) and not any(matters(it) and abs(it.ms - each.ms) <= window_ms for it in copies):
            kept.append(each)
    return kept


def matters(each: Posted) -> bool:
    return each.token is not None or each.event_type in {"add_to_cart", "purchase"}


def judge(
    each: Posted, keys: dict[str, bytes], window_ms: int
) -> tuple[str | None, recommendation_id.RecommendationId | None]:
    if each.token is None:
        return None, None
    try:
        read = recommendation_id.read(each.token, keys)
    except RecommendationIdError as error:
        return VERDICTS[type(error)], None
    if read.user_hash is not None and not read.is_of(each.user_id):
        return "foreign", None
    is_in_time = read.made_at - SKEW <= START + each.ms <= read.made_at + window_ms
    return "own" if is_in_time else "out_of_time", read


USERS = ("u", "ü/日本")
ITEMS = ("a", "b")
MOMENTS = st.one_of(
    st.integers(0, 12).map(lambda number: number * 8 * HOUR),
    st.integers(0, 100 * HOUR),
    st.integers(0, 40).map(lambda number: 30 * HOUR + number * 60_000),
)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[Posted, dict[str, Any]]]:
    """Events in the order of their coming in, each with what its token is to be."""
    answers = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "user_id": st.sampled_from([*USERS, None]),
                    "ms": MOMENTS,
                    "version": st.sampled_from(["v1", "v2"]),
                    "variant": st.sampled_from(["default", "b"]),
                    "key": st.sampled_from([0, 1]),
                    "flaw": st.sampled_from([None] * 8 + ["forged", "unknown_key", "malformed"]),
                }
            ),
            min_size=1,
            max_size=4,
        )
    )
    posted = []
    for number in range(draw(st.integers(1, 14))):
        answer = draw(st.sampled_from([None, *answers]))
        # Mostly near what was answered: else little would begin with it.
        ms = draw(MOMENTS)
        if answer is not None and draw(st.integers(0, 3)):
            offsets = [0, 1, 60_000, HOUR, 20 * HOUR, 24 * HOUR, 24 * HOUR + 1, -SKEW, -SKEW - 1]
            ms = max(0, answer["ms"] + draw(st.sampled_from(offsets)))
        user_id = draw(st.sampled_from(USERS))
        if answer is not None and answer["user_id"] is not None and draw(st.integers(0, 5)):
            user_id = answer["user_id"]
        each = Posted(
            user_id,
            draw(st.sampled_from(ITEMS)),
            draw(st.sampled_from(["view", "view", "add_to_cart", "purchase", "wish"])),
            ms,
            event_id=draw(st.sampled_from([f"e{number}"] * 4 + ["copy"])),
            days_late=draw(st.sampled_from([0, 0, 0, 1, 3])),
        )
        posted.append((each, {"answer": answer}))
    return posted


def with_tokens(stream: list[tuple[Posted, dict[str, Any]]], shop: Shop) -> list[Posted]:
    made: dict[int, str] = {}
    posted = []
    for each, told in stream:
        answer = told["answer"]
        if answer is None:
            posted.append(each)
            continue
        if id(answer) not in made:
            made[id(answer)] = token_of(answer, shop)
        posted.append(replace(each, token=made[id(answer)]))
    return posted


def token_of(answer: dict[str, Any], shop: Shop) -> str:
    flaw = answer["flaw"]
    names = {name: answer[name] for name in ("version", "variant", "user_id")}
    key = UNKNOWN_KEY if flaw == "unknown_key" else shop.keys[answer["key"]]
    token = recommendation_id.make(key, **names, source="popular", now=START + answer["ms"])
    if flaw == "forged":
        raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        raw[32] ^= 1
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return token[:-1] if flaw == "malformed" else token


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.data())
def test_counting_in_any_steps_is_what_a_slow_count_of_everything_gives(
    shop: Shop, stream: list[tuple[Posted, dict[str, Any]]], data: st.DataObject
) -> None:
    shop.empty()
    posted = with_tokens(stream, shop)
    rest = list(posted)
    while rest:
        # A transaction has one day of receipt, so that it holds no two copies.
        together = [each for each in rest[: data.draw(st.integers(1, 3))] if each.event_id != "copy"] or rest[
            :1
        ]
        shop.post(*together)
        rest = [each for each in rest if not any(each is it for it in together)]
        if data.draw(st.booleans()):
            shop.count(most_events=data.draw(st.integers(1, 4)))
    shop.count(most_events=data.draw(st.integers(1, 20)))
    expected = count_slowly(posted, dict(shop.keys))
    event(f"attributed: {any(outcome == 'carted' for _, outcome, *_ in expected)}")
    assert shop.counts == expected


def test_a_click_a_cart_and_a_purchase_belong_to_the_answer_that_they_began_with(shop: Shop) -> None:
    shop.empty()
    token = shop.token("u", 0)
    shop.post(
        Posted("u", "a", "view", 1000, token),
        Posted("u", "a", "add_to_cart", HOUR),
        Posted("u", "a", "purchase", 2 * HOUR),
        Posted("u", "b", "add_to_cart", HOUR),
    )
    assert shop.count() == 4
    assert shop.counts == {
        (0, "clicked", "v1", "default"): 1,
        (1, "carted", "v1", "default"): 1,
        (2, "bought", "v1", "default"): 1,
        (1, "add_to_cart", "v1", "default"): 1,
        (1, "add_to_cart", "", ""): 1,
        (2, "purchase", "v1", "default"): 1,
        (0, "own", "", ""): 1,
    }
    assert shop.count() == 0, "nothing is counted twice"


def test_the_last_touch_counts_and_a_late_one_takes_the_cart_from_the_one_before(shop: Shop) -> None:
    shop.empty()
    shop.post(
        Posted("u", "a", "view", 0, shop.token("u", 0, version="old")),
        Posted("u", "a", "add_to_cart", 3 * HOUR),
    )
    shop.count()
    assert shop.counts[3, "carted", "old", "default"] == 1
    late = Posted("u", "a", "view", 2 * HOUR, shop.token("u", 2 * HOUR, version="new"), days_late=3)
    shop.post(late)
    shop.count()
    assert shop.counts[3, "carted", "new", "default"] == 1
    assert (3, "carted", "old", "default") not in shop.counts
    assert shop.counts[0, "clicked", "old", "default"] == 1


def test_an_answer_that_is_clicked_often_is_one_that_was_clicked(shop: Shop) -> None:
    shop.empty()
    token = shop.token("u", 0)
    shop.post(*(Posted("u", item, "view", 1000 + n, token) for n, item in enumerate("aabc")))
    shop.post(*(Posted("u", "a", "add_to_cart", HOUR + n) for n in range(3)))
    shop.count()
    assert shop.counts[0, "clicked", "v1", "default"] == 1
    assert shop.counts[1, "carted", "v1", "default"] == 1
    assert shop.counts[1, "add_to_cart", "v1", "default"] == 3
    assert shop.counts[0, "own", "", ""] == 4


@pytest.mark.parametrize(("apart", "is_begun"), [(24 * HOUR, True), (24 * HOUR + 1, False), (-1, False)])
def test_a_cart_begins_with_a_touch_that_was_at_most_a_day_before(
    shop: Shop, apart: int, is_begun: bool
) -> None:
    shop.empty()
    at = 30 * HOUR
    shop.post(Posted("u", "a", "view", at, shop.token("u", at)), Posted("u", "a", "add_to_cart", at + apart))
    shop.count()
    carts = {version: n for (_, outcome, version, _), n in shop.counts.items() if outcome == "add_to_cart"}
    assert carts == {"v1" if is_begun else "": 1}


@pytest.mark.parametrize(
    ("behind", "verdict"),
    [(0, "own"), (4 * 60_000, "own"), (SKEW, "own"), (SKEW + 1, "out_of_time"), (-25 * HOUR, "out_of_time")],
)
def test_clocks_of_environments_may_differ_by_minutes(shop: Shop, behind: int, verdict: str) -> None:
    """One answered, another one, whose clock is behind, dated the click."""
    shop.empty()
    at = 30 * HOUR
    shop.post(Posted("u", "a", "view", at - behind, shop.token("u", at)))
    shop.count()
    assert {outcome for _, outcome, *_ in shop.counts} - {"clicked"} == {verdict}


def test_ids_that_are_not_the_visitors_own_count_apart_and_begin_nothing(shop: Shop) -> None:
    shop.empty()
    own = shop.token("u", 0)
    foreign = shop.token("another", 0)
    unknown = recommendation_id.make(
        UNKNOWN_KEY, version="v1", variant="default", source="popular", user_id="u", now=START
    )
    bad = {
        "malformed": "not an id",
        "forged": own[:60] + "AAAA" + own[64:],
        "foreign": foreign,
        "unknown_key": unknown,
    }
    for verdict, token in bad.items():
        shop.post(Posted("u", verdict, "view", 0, token), Posted("u", verdict, "add_to_cart", HOUR))
    shop.count()
    assert shop.counts == {(0, verdict, "", ""): 1 for verdict in bad} | {(1, "add_to_cart", "", ""): 4}


def test_an_answer_for_nobody_may_be_clicked_by_anybody(shop: Shop) -> None:
    shop.empty()
    token = shop.token(None, 0)
    shop.post(*(Posted(user, "a", "view", 1, token) for user in ("u", "w")))
    shop.count()
    assert shop.counts == {(0, "clicked", "v1", "default"): 2, (0, "own", "", ""): 2}


def hostile_tokens() -> st.SearchStrategy[tuple[str, list[tuple[int, int]]]]:
    changes = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=3)
    return st.tuples(st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=80), changes)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile_tokens(), st.sampled_from(["text", "bytes", "cut", "longer"]))
def test_postgres_reads_ids_as_the_contract_does(
    shop: Shop, hostile: tuple[str, list[tuple[int, int]]], kind: str
) -> None:
    shop.empty()
    text, changes = hostile
    raw = bytearray(base64.urlsafe_b64decode(shop.token("u", 0, version="v" * 7) + "=="))
    for place, value in changes:
        raw[place % len(raw)] = value
    token = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    token = {"text": text or "-", "bytes": token, "cut": token[: len(text)] or "A", "longer": token + text}[
        kind
    ]
    each = Posted("u", "a", "view", 0, token)
    shop.post(each)
    shop.count()
    (verdict,) = {outcome for _, outcome, *_ in shop.counts} - {"clicked"}
    assert verdict == judge(each, dict(shop.keys), 24 * HOUR)[0]


def test_a_transaction_that_is_still_open_is_not_passed_over(shop: Shop) -> None:
    shop.empty()
    with psycopg.connect(shop.url) as slow:
        slow.execute(
            'INSERT INTO events (received_on, user_id, item_id, event_type, "timestamp")'
            " VALUES (%s, 'slow', 'a', 'add_to_cart', %s)",
            (DAY, START),
        )
        shop.post(Posted("u", "a", "add_to_cart", 0))
        shop.count()
        assert shop.counts == {}, "what began later waits, too"
        slow.commit()
    shop.count()
    assert shop.counts == {(0, "add_to_cart", "", ""): 2}


def test_a_deleted_visitor_is_named_nowhere_and_their_counts_stay(shop: Shop) -> None:
    shop.empty()
    shop.post(Posted("u", "a", "view", 0, shop.token("u", 0)), Posted("u", "a", "add_to_cart", HOUR))
    shop.count()
    before = shop.counts
    shop.connection.execute("SELECT delete_user('u')")
    shop.post(Posted("w", "a", "view", 0))
    shop.count()
    assert shop.counts == before


def test_days_that_are_gone_keep_their_counts(shop: Shop) -> None:
    shop.empty()
    shop.post(Posted("u", "a", "view", 0, shop.token("u", 0)), Posted("u", "a", "add_to_cart", HOUR))
    shop.count()
    before = shop.counts
    shop.connection.execute("DELETE FROM events WHERE received_on = %s", (DAY,))
    shop.post(Posted("u", "a", "purchase", 30 * HOUR))
    shop.count()
    assert shop.counts == before | {(30, "purchase", "", ""): 1}


def test_another_window_counts_all_that_is_there_anew(shop: Shop) -> None:
    shop.empty()
    posted = [
        Posted("u", "a", "view", 0, shop.token("u", 0), "e1"),
        Posted("u", "a", "add_to_cart", 3 * HOUR, None, "e2"),
    ]
    shop.post(*posted)
    shop.count()
    assert shop.counts == count_slowly(posted, dict(shop.keys))
    shorter = dt.timedelta(hours=2)
    shop.count(window=shorter)
    assert shop.counts == count_slowly(posted, dict(shop.keys), shorter)
    assert shop.counts[3, "add_to_cart", "", ""] == 1


def test_a_database_that_was_restored_from_a_dump_says_what_to_do(shop: Shop) -> None:
    shop.empty()
    posted = [
        Posted("u", "a", "view", 0, shop.token("u", 0), "e1"),
        Posted("u", "a", "add_to_cart", HOUR, None, "e2"),
    ]
    shop.post(*posted)
    shop.count()
    # As the dump of a database that has come further than this one.
    shop.connection.execute("UPDATE events SET xid = (xid::text::bigint + 1000000)::text::xid8")
    shop.connection.execute("UPDATE attribution_progress SET counted_to = (SELECT max(xid) FROM events)")
    with pytest.raises(psycopg.errors.RaiseException, match="restored from a dump.*restart_attribution"):
        shop.count()
    shop.connection.execute("SELECT restart_attribution()")
    posted.append(Posted("u", "b", "add_to_cart", HOUR, None, "e3"))
    shop.post(posted[-1])
    shop.count()
    expected = count_slowly(posted, dict(shop.keys))
    assert shop.counts == expected


def test_what_a_run_has_no_time_for_is_left_for_the_next(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.empty()
    for number in range(5):
        shop.post(Posted("u", f"{number}", "add_to_cart", 0))
    assert catch_up(shop.connection, touch_window=WINDOW, most_events=2, seconds=0) == 0
    assert "left for the next run" in caplog.text
    assert shop.count(most_events=2) == 5
    assert shop.counts == {(0, "add_to_cart", "", ""): 5}


def test_housekeeping_attributes_by_the_hour_and_tells_windows(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    load_first(database)
    execute(database, "UPDATE versions SET manifest = manifest || %s", Jsonb({"mlflow": {"run_id": "abc"}}))
    shop = Shop(database, psycopg.connect(database, autocommit=True))
    now = dt.datetime.fromtimestamp((START + 100 * HOUR) / 1000, dt.UTC)
    for hours_ago, version in ((100, "old"), (30, "old"), (2, "new")):
        at = (100 - hours_ago) * HOUR
        shop.post(Posted("u", f"{at}", "view", at, shop.token("u", at, version=version)))
    shop.post(Posted("u", f"{98 * HOUR}", "add_to_cart", 99 * HOUR), Posted("u", "c", "purchase", 99 * HOUR))
    report = Run(Settings(database_url=SecretStr(database), as_of=now))()
    assert (report.failed, report.attributed) == ([], 5)
    measures = report.document()["measures"]
    answers = "shop_attribution_answers"
    assert measures[f"{answers}{{clicked,new,default,1d}}"] == 1
    assert measures[f"{answers}{{carted,new,default,1d}}"] == 1
    assert measures[f"{answers}{{bought,new,default,1d}}"] == 0
    assert f"{answers}{{clicked,old,default,1d}}" not in measures
    assert measures[f"{answers}{{clicked,old,default,7d}}"] == 2
    assert measures["shop_attribution_events{add_to_cart,recommendation,1d}"] == 1
    assert measures["shop_attribution_events{purchase,otherwise,1d}"] == 1
    assert measures["shop_attribution_ids{own,1d}"] == 1
    assert measures["shop_attribution_ids{own,7d}"] == 3
    assert measures["shop_version_live_since_timestamp_seconds{default,first,abc}"] > START / 1000
    require_contract(generate_latest(registry_of(report.measures)).decode())

    shop.post(Posted("u", "d", "add_to_cart", 99 * HOUR))
    assert Run(Settings(database_url=SecretStr(database), as_of=now))().attributed == 0, "an hour isn't over"
    soon = Settings(database_url=SecretStr(database), as_of=now, attribution_minutes=0)
    assert Run(soon)().attributed == 1
    shop.connection.close()


def test_a_run_has_the_parts_of_the_contract(database: str) -> None:
    run = Run(Settings(database_url=SecretStr(database), pushgateway_url="http://127.0.0.1:1"))
    assert tuple(name for name, _ in run._parts()) == HOUSEKEEPING_PARTS


def test_only_the_latest_versions_are_told_apart(shop: Shop) -> None:
    shop.empty()
    for number in range(VERSIONS_ATTRIBUTED + 5):
        at = number * HOUR
        shop.post(Posted("u", "a", "view", at, shop.token("u", at, version=f"v{number:02}")))
    shop.count()
    now = dt.datetime.fromtimestamp(START / 1000, dt.UTC) + dt.timedelta(hours=VERSIONS_ATTRIBUTED + 5)
    clicked = {
        labels[1]: value
        for metric, value, labels in attributed(shop.connection, now=now)
        if metric is ATTRIBUTION_ANSWERS and labels[0] == "clicked" and labels[-1] == "7d"
    }
    assert len(clicked) == VERSIONS_ATTRIBUTED + 1
    assert (clicked[OTHER], clicked[f"v{VERSIONS_ATTRIBUTED + 4:02}"]) == (5, 1)
    assert set(ID_VERDICTS) == {
        labels[0]
        for metric, _, labels in attributed(shop.connection, now=now)
        if metric.name.endswith("_ids")
    }

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from contract.s3_layout import TOMBSTONES_KEY, events_key, events_manifest_key
from contract.tombstones import Tombstones, key_id, user_hash
from training.catalogue import write_catalogue
from training.data_report.bots import BotRules, pseudonym
from training.data_report.changes import NO_CATEGORY
from training.data_report.profile import DataProfile, profile_events
from training.data_report.window import day_of
from training.errors import BadInputError, TooLittleDataError
from training.events import EVENTS_SCHEMA, POSTED_EVENTS_SCHEMA, read_events
from training.import_events import import_events
from training.moments import parse_moment
from training.shop.simulation import ShopSettings, simulate
from training.storage import Folder

DAY = 86_400_000
MONDAY = parse_moment("2026-01-05T00:00:00Z")

Row = tuple[str, str, str, int]


def table(rows: Iterable[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, EVENTS_SCHEMA, strict=True)],
        schema=EVENTS_SCHEMA,
    )


def stored(tmp_path: Path, events: pa.Table) -> Folder:
    tmp_path.mkdir(exist_ok=True)
    pq.write_table(events, tmp_path / "events.parquet")
    folder = Folder(tmp_path / "bucket")
    import_events([tmp_path / "events.parquet"], folder, allow_empty_days=True, allow_no_targets=True)
    return folder


@cache
def shop(days: int = 56, users: int = 400, seed: int = 3) -> pa.Table:
    return pa.concat_tables(simulate(ShopSettings(users=users, items=60, days=days, seed=seed)))


def text(profile: DataProfile) -> str:
    return json.dumps(asdict(profile), default=str)


def days_with(profile: DataProfile, verdict: str) -> list[date]:
    return [day.day for day in profile.days if day.verdict == verdict]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cy", "d'é"]),
        st.sampled_from(["i1", "i2", "i3"]),
        st.sampled_from([VIEW, VIEW, ADD_TO_CART, PURCHASE, "wish"]),
        st.integers(MONDAY, MONDAY + 8 * DAY - 1)
        | st.sampled_from([MONDAY, MONDAY + DAY, MONDAY + 4 * DAY - 1]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=12, deadline=None)
@given(EVENTS, st.integers(1, 5))
def test_figures_are_those_of_a_slow_obvious_computation(rows: list[Row], n_days: int) -> None:
    as_of = MONDAY + 8 * DAY - 1
    # So that the last day is never empty.
    rows = [*rows, ("ann", "i1", VIEW, as_of - 5)]
    with TemporaryDirectory() as temporary:
        profile = profile_events(stored(Path(temporary), table(rows)), as_of_ms=as_of, days=n_days)
    distinct = set(rows)
    first = date(2026, 1, 12) - timedelta(days=n_days - 1)
    first = max(first, day_of(min(row[3] for row in distinct)))
    now = [row for row in distinct if day_of(row[3]) >= first]
    before = [row for row in distinct if first - timedelta(days=n_days) <= day_of(row[3]) < first]

    assert profile.window.first_day == first
    assert (profile.totals.events, profile.totals.users, profile.totals.items) == (
        len(now),
        len({row[0] for row in now}),
        len({row[1] for row in now}),
    )
    known = Counter(row[2] for row in now)
    assert {kind: count for kind, count in profile.event_types.items() if count} == known
    assert {day.day: day.events for day in profile.days if day.events} == Counter(
        day_of(row[3]) for row in now
    )
    for day in profile.days:
        there = [row for row in now if day_of(row[3]) == day.day]
        assert day.users == len({row[0] for row in there})
        assert {kind: count for kind, count in day.by_type.items() if count} == Counter(
            row[2] for row in there
        )
    if profile.before:
        assert profile.new_users == len({row[0] for row in now} - {row[0] for row in before})
        assert profile.new_items == len({row[1] for row in now} - {row[1] for row in before})
    assert [as_counts(funnel) for funnel in profile.funnels] == [
        slow_funnel([[row for row in now if row[0] == user] for user in {row[0] for row in now}]),
        slow_funnel(slow_sessions(now)),
    ]
    by_name = {change.name: change for change in profile.drifts}
    if before:
        kinds = sorted({row[2] for row in [*now, *before]})
        assert by_name["event types"].psi == pytest.approx(
            slow_psi([[sum(row[2] == kind for row in side) for kind in kinds] for side in (before, now)])
        )
        hours = [
            [sum(row[3] // 3_600_000 % 24 == hour for row in side) for hour in range(24)]
            for side in (before, now)
        ]
        assert by_name["hours of the day (UTC)"].psi == pytest.approx(slow_psi(hours))
        items = sorted({row[1] for row in [*now, *before]})
        assert by_name["most frequent items"].psi == pytest.approx(
            slow_psi([[sum(row[1] == item for row in side) for item in items] for side in (before, now)])
        )


def as_counts(funnel: object) -> tuple[int, ...]:
    names = ("total", "viewed", "carted", "bought", "carted_unseen", "bought_uncarted")
    return tuple(getattr(funnel, name) for name in names)


def slow_funnel(visits: list[list[Row]]) -> tuple[int, ...]:
    kinds = [{row[2] for row in visit} for visit in visits]
    return (
        len(kinds),
        sum(VIEW in visit for visit in kinds),
        sum({VIEW, ADD_TO_CART} <= visit for visit in kinds),
        sum({VIEW, ADD_TO_CART, PURCHASE} <= visit for visit in kinds),
        sum(ADD_TO_CART in visit and VIEW not in visit for visit in kinds),
        sum(PURCHASE in visit and ADD_TO_CART not in visit for visit in kinds),
    )


def slow_sessions(rows: list[Row]) -> list[list[Row]]:
    by_user: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row[3]):
        by_user[row[0]].append(row)
    sessions = []
    for history in by_user.values():
        sessions.append([history[0]])
        for earlier, later in pairwise(history):
            if later[3] - earlier[3] > 1_800_000:
                sessions.append([])
            sessions[-1].append(later)
    return sessions


def slow_psi(counts: list[list[int]]) -> float:
    p, q = ([(count + 0.5) / (sum(side) + 0.5 * len(side)) for count in side] for side in counts)
    return sum((after - earlier) * math.log(after / earlier) for earlier, after in zip(p, q, strict=True))


def test_a_funnel_with_known_figures_is_told(tmp_path: Path) -> None:
    hour = 3_600_000
    rows = [(f"u{number}", "i1", VIEW, MONDAY) for number in range(10)]
    rows += [(f"u{number}", "i1", ADD_TO_CART, MONDAY + 5) for number in range(4)]
    rows += [("u0", "i1", PURCHASE, MONDAY + 10), ("u1", "i1", PURCHASE, MONDAY + 5 * hour)]
    rows += [("u8", "i1", PURCHASE, MONDAY + 10), ("late", "i1", ADD_TO_CART, MONDAY)]
    users, sessions = profile_events(stored(tmp_path, table(rows))).funnels
    assert (users.total, users.viewed, users.carted, users.bought) == (11, 10, 4, 2)
    assert (users.cart_rate, users.purchase_rate) == (0.4, 0.5)
    assert (users.carted_unseen, users.bought_uncarted) == (1, 1)
    # u1 came back to buy, in a visit of its own.
    assert (sessions.total, sessions.viewed, sessions.carted, sessions.bought) == (12, 10, 4, 1)
    assert sessions.bought_uncarted == 2


def test_a_missing_day_and_a_low_day_are_found_and_no_other(tmp_path: Path) -> None:
    events = shop()
    days = [day_of(moment) for moment in events["timestamp"].to_pylist()]
    last = max(days)
    missing, low = last - timedelta(days=9), last - timedelta(days=4)
    keep = [day != missing and (day != low or number % 10 == 0) for number, day in enumerate(days)]
    profile = profile_events(stored(tmp_path, events.filter(pa.array(keep))))
    assert days_with(profile, "empty") == [missing]
    assert days_with(profile, "low") == [low]


def test_bots_are_found_by_pace_by_hours_and_by_breadth(tmp_path: Path) -> None:
    events = shop()
    end = int(np.max(events["timestamp"].to_numpy())) // DAY * DAY
    # At most 120 clicks, each 1.5 s after the one before; one click in every hour; 600 items in 20 days.
    fast = [("fast", f"item-{number % 7}", VIEW, end - 3 * DAY + number * 1_500) for number in range(120)]
    awake = [("awake", "item-1", VIEW, end - 5 * DAY + hour * 3_600_000) for hour in range(24)]
    broad = [("broad", f"thing-{number}", VIEW, end - DAY - number * 2_900_000) for number in range(600)]
    # A wholesaler buys a hundred things at once, and a person looks at two pages a minute for an hour.
    basket = [("basket", f"thing-{number}", PURCHASE, end - DAY) for number in range(150)]
    person = [("person", f"thing-{number}", VIEW, end - DAY + number * 30_000) for number in range(120)]
    planted = table([*fast, *awake, *broad, *basket, *person])
    profile = profile_events(stored(tmp_path, pa.concat_tables([events, planted])))
    crowd = profile.concentration
    flagged = {user.pseudonym: user for user in crowd.flagged}
    assert set(flagged) == {pseudonym(user) for user in ("fast", "awake", "broad")}
    assert "120 clicks on one day, half of them within 1.5 s" in flagged[pseudonym("fast")].reasons[0]
    assert flagged[pseudonym("awake")].reasons == ("active in 24 of 24 hours, on 1 day",)
    assert "600 different items" in flagged[pseudonym("broad")].reasons[-1]
    assert flagged[pseudonym("fast")].events == 120
    assert crowd.flagged_events == 120 + 24 + 600
    assert crowd.flagged_share == pytest.approx(crowd.flagged_events / profile.totals.events)
    assert crowd.flagged_users == 3


def test_rules_about_bots_can_be_set(tmp_path: Path) -> None:
    rows = [("ann", "i1", VIEW, MONDAY + number * 10_000) for number in range(20)]
    folder = stored(tmp_path, table(rows))
    assert profile_events(folder).concentration.flagged == ()
    rules = BotRules(fast_moments=20, fast_gap_ms=10_000)
    assert [user.pseudonym for user in profile_events(folder, bot_rules=rules).concentration.flagged] == [
        pseudonym("ann")
    ]


def test_the_share_of_the_most_active_users_is_told(tmp_path: Path) -> None:
    rows = [(f"u{number}", "i1", VIEW, MONDAY + number) for number in range(199)]
    rows += [("busy", "i1", VIEW, MONDAY + 1000 + number) for number in range(100)]
    crowd = profile_events(stored(tmp_path, table(rows))).concentration
    assert (crowd.top_users, crowd.top_share) == (2, pytest.approx(101 / 299))


def test_a_week_that_drifted_is_found_and_a_shop_that_goes_on_is_not(tmp_path: Path) -> None:
    events = shop(days=28, users=900)
    quiet = profile_events(stored(tmp_path / "quiet", events), days=14)
    # What is in fashion changes in a simulated shop.
    assert {change.name for change in quiet.drifts if change.exceeds(0.25)} <= {"most frequent items"}
    start = int(np.max(events["timestamp"].to_numpy())) // DAY * DAY - 6 * DAY
    rows = events.to_pylist()
    for row in rows:
        if row["timestamp"] >= start:  # all of this week's clicks come in the morning, and are wishes
            row["timestamp"] = row["timestamp"] // DAY * DAY + row["timestamp"] % (3 * 3_600_000)
            row["event_type"] = "wish" if row["event_type"] == VIEW else row["event_type"]
    drifted = profile_events(stored(tmp_path / "drifted", pa.Table.from_pylist(rows, EVENTS_SCHEMA)), days=7)
    found = {change.name for change in drifted.drifts if change.exceeds(0.25)}
    assert {"event types", "hours of the day (UTC)"} <= found
    assert "weekdays" not in found


def test_categories_are_compared_where_the_shop_has_a_catalogue(tmp_path: Path) -> None:
    rows = [(f"u{number}", f"i{number % 2}", VIEW, MONDAY + number) for number in range(100)]
    rows += [(f"u{number}", "i1", VIEW, MONDAY + DAY + number) for number in range(100)]
    rows += [("u", "i2", VIEW, MONDAY + DAY), ("u", "unknown", VIEW, MONDAY + DAY)]
    folder = stored(tmp_path, table(rows))
    items = pa.table(
        {"item_id": ["i0", "i1", "i2"], "category_id": ["shoes", "hats", None], "available": [True] * 3}
    )
    tree = pa.table({"category_id": ["hats", "shoes"], "parent_id": pa.nulls(2, pa.string())})
    for as_of in (MONDAY, MONDAY + 9 * DAY):
        write_catalogue(folder, items.to_batches(), items.schema, tree, as_of)
        items = items.set_column(1, "category_id", pa.array(["later"] * 3))
    profile = profile_events(folder, days=1)
    (change,) = (change for change in profile.drifts if change.name == "most frequent categories")
    assert change.labels == ("hats", "shoes", NO_CATEGORY)
    assert (change.before, change.now) == ((50, 50, 0), (100, 0, 2))


def test_nothing_after_as_of_is_looked_at(tmp_path: Path) -> None:
    rows = [(f"u{number}", f"i{number % 3}", VIEW, MONDAY + number * 3_600_000) for number in range(200)]
    as_of = MONDAY + 5 * DAY + 7
    at_once = stored(tmp_path / "all", table(rows))
    only = stored(tmp_path / "only", table(row for row in rows if row[3] <= as_of))
    seen, alone = (profile_events(folder, as_of_ms=as_of, days=3) for folder in (at_once, only))
    assert asdict(seen) | {"sources": ()} == asdict(alone) | {"sources": ()}
    assert seen.last_event == "2026-01-10T00:00:00.000Z"
    assert days_with(seen, "cut off") == [date(2026, 1, 10)]


def test_a_midnight_ends_the_day_before_it(tmp_path: Path) -> None:
    folder = stored(tmp_path, table(("u", "i", VIEW, MONDAY + day * DAY) for day in range(5)))
    profile = profile_events(folder, as_of_ms=MONDAY + 3 * DAY, days=2)
    assert [day.day for day in profile.days] == [date(2026, 1, 6), date(2026, 1, 7)]
    assert days_with(profile, "cut off") == []
    assert profile_events(folder, days=2).totals.events == 2


def test_a_window_that_the_events_cannot_fill_shrinks_and_says_so(tmp_path: Path) -> None:
    folder = stored(tmp_path, table(("u", "i", VIEW, MONDAY + day * DAY + 5) for day in range(5)))
    whole = profile_events(folder, days=28)
    assert len(whole.days) == 5
    assert whole.before is None
    assert whole.new_users is None
    assert whole.drifts == ()
    assert "5 of 28 days" in whole.notes[0]
    most = profile_events(folder, days=3)
    assert most.before
    assert (len(most.days), len(most.before.days)) == (3, 2)
    assert "2 of 3 days" in most.notes[0]
    assert profile_events(folder, days=2).notes == ()


def test_repeats_and_deleted_users_count_as_the_training_counts_them(tmp_path: Path) -> None:
    posted = [
        ("ann", "i1", VIEW, MONDAY + 1, "e1"),
        ("ann", "i1", VIEW, MONDAY + 900, "e1"),
        ("ann", "i2", VIEW, MONDAY + 2, "e2"),
        ("bob", "i2", VIEW, MONDAY + 3, "e1"),
        ("gone", "i2", PURCHASE, MONDAY + 4, "e5"),
        ("gone", "i2", PURCHASE, MONDAY + 450, "e5"),
        ("gone", "i1", VIEW, MONDAY + 500, "e6"),
    ]
    folder = stored(
        tmp_path,
        table(
            [("ann", "i1", VIEW, MONDAY + 1), ("cy", "i1", VIEW, MONDAY + 7), ("gone", "i9", VIEW, MONDAY)]
        ),
    )
    export(folder, "export-1", posted)
    secret = b"s" * 32
    tombstones = Tombstones(
        {key_id(secret): secret}, {(key_id(secret), user_hash(secret, "gone")): MONDAY + 400}
    )
    folder.write(TOMBSTONES_KEY, tombstones.to_json().encode())
    trained = read_events(Folder(folder.uri_of("events")))
    profile = profile_events(folder)
    assert profile.totals.events == trained.num_rows == 5
    assert profile.totals.users == len(set(trained["user_id"].to_pylist()))
    assert profile.event_types == {VIEW: 5}
    assert next((source.name, source.rows, dict(source.rejected)) for source in profile.sources) == (
        "export-1",
        7,
        {},
    )


def export(folder: Folder, source: str, rows: list[tuple[str, str, str, int, str]]) -> None:
    columns = [pa.array(values) for values in zip(*rows, strict=True)]
    nothing = [pa.nulls(len(rows), field.type) for field in list(POSTED_EVENTS_SCHEMA)[5:]]
    events = pa.table([*columns, *nothing], schema=POSTED_EVENTS_SCHEMA)
    key = events_key("2026-01-05", source)
    with folder.filesystem.open_output_stream(folder.path(key)) as stream:
        pq.write_table(events, stream)
    manifest = {"rows": len(rows), "files": [{"key": key, "rows": len(rows)}]}
    folder.write(events_manifest_key(source), json.dumps(manifest).encode())


def test_little_memory_is_enough_and_gives_the_same(tmp_path: Path) -> None:
    folder = stored(tmp_path, shop(days=30, users=900))
    assert text(profile_events(folder, memory_limit="40MB")) == text(profile_events(folder))


def test_sources_without_events_in_the_window_do_not_count(tmp_path: Path) -> None:
    stored(tmp_path, table([("u", "i", VIEW, MONDAY)]))
    folder = stored(tmp_path, table([("u", "i", VIEW, MONDAY + 20 * DAY)]))
    assert len(profile_events(folder, days=2).sources) == 1
    assert len(profile_events(folder).sources) == 2


def test_many_types_are_summed_up(tmp_path: Path) -> None:
    rows = [("u", "i", f"type-{number:02}", MONDAY + number) for number in range(30)]
    profile = profile_events(stored(tmp_path, table([*rows, ("u", "i", PURCHASE, MONDAY)])))
    assert list(profile.event_types)[:2] == [PURCHASE, "type-00"]
    assert list(profile.event_types.items())[-1] == ("(all others)", 21)


def test_what_cannot_be_profiled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLittleDataError, match=r"holds no events; `python -m training.import_events`"):
        profile_events(Folder(tmp_path / "nowhere"))
    folder = stored(tmp_path, table([("u", "i", VIEW, MONDAY)]))
    with pytest.raises(BadInputError, match="days: 0; expected 1 to 366"):
        profile_events(folder, days=0)
    with pytest.raises(TooLittleDataError, match="came after 2026-01-04"):
        profile_events(folder, as_of_ms=MONDAY - DAY)
    with pytest.raises(TooLittleDataError, match="no events from 2026-03-.*they reach from 2026-01-05"):
        profile_events(folder, as_of_ms=MONDAY + 60 * DAY, days=5)
    folder.write(events_manifest_key("odd"), b'{"files": [], "rows": "many"}')
    with pytest.raises(BadInputError, match=r"odd.json: expected `rows`"):
        profile_events(folder)


def test_a_missing_value_is_refused(tmp_path: Path) -> None:
    folder = stored(tmp_path, table([("u", "i", VIEW, MONDAY)]))
    export(folder, "export-1", [("u", "i", VIEW, MONDAY, "e1"), ("u", None, VIEW, MONDAY, "e2")])  # type: ignore[list-item]
    with pytest.raises(BadInputError, match="1 events have no item_id"):
        profile_events(folder)

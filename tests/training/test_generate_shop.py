import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.events import ADD_TO_CART, EVENT_COLUMNS, KNOWN_EVENT_TYPES, PURCHASE, VIEW, id_problem
from training.errors import BadInputError
from training.events import dataset_fingerprint, read_events
from training.generate_shop import generate_shop, main
from training.import_events import import_events
from training.moments import MILLISECONDS_A_DAY
from training.shop.simulation import ShopSettings, simulate

SMALL = ShopSettings(users=60, items=40, days=12, seed=3)


@pytest.fixture(scope="module")
def shop() -> pa.Table:
    """The shop of the defaults."""
    return pa.concat_tables(simulate(ShopSettings()))


def histories(events: pa.Table) -> dict[str, list[tuple[str, str, int]]]:
    """For each user (item, kind, time), oldest first."""
    users: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for user, item, kind, moment in zip(*(events[name].to_pylist() for name in EVENT_COLUMNS), strict=True):
        users[user].append((item, kind, moment))
    return users


def test_the_same_seed_gives_the_same_shop_and_another_seed_another_one() -> None:
    def fingerprint(seed: int) -> str:
        settings = ShopSettings(users=60, items=40, days=12, seed=seed)
        return dataset_fingerprint(pa.concat_tables(simulate(settings)))

    assert fingerprint(3) == fingerprint(3) != fingerprint(4)


def test_the_shop_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    contents = set()
    for threads in ("1", "4"):
        out = tmp_path / f"{threads}.parquet"
        arguments = ["--users", "60", "--items", "40", "--days", "9", "--out", str(out)]
        subprocess.run(
            [sys.executable, "-m", "training.generate_shop", *arguments],
            check=True,
            capture_output=True,
            env={"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "ARROW_NUM_THREADS": threads},
            cwd=Path(__file__).parents[2],
        )
        contents.add(out.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 3, 5), (50, 1, 3), (3, 700, 2)])
def test_a_shop_of_any_size_can_be_generated(size: tuple[int, int, int]) -> None:
    users, items, days = size
    tables = list(simulate(ShopSettings(users=users, items=items, days=days)))
    assert len(tables) == days


def test_events_keep_the_contract(shop: pa.Table) -> None:
    assert set(shop["event_type"].to_pylist()) == set(KNOWN_EVENT_TYPES)
    users, items = set(shop["user_id"].to_pylist()), set(shop["item_id"].to_pylist())
    assert not any(map(id_problem, users | items))
    assert {len(user) for user in users} == {len("user-000123")}
    assert {len(item) for item in items} == {len("item-00042")}
    settings = ShopSettings()
    times = shop["timestamp"].to_numpy()
    assert settings.start_ms <= times.min() < settings.start_ms + MILLISECONDS_A_DAY
    assert settings.end_ms - MILLISECONDS_A_DAY < times.max() < settings.end_ms
    assert (np.diff(times) >= 0).all()


def test_the_shop_of_the_defaults_has_the_size_of_a_demo(shop: pa.Table) -> None:
    assert 50_000 < len(shop) < 100_000
    kinds = Counter(shop["event_type"].to_pylist())
    assert 15 < kinds[VIEW] / kinds[ADD_TO_CART] < 40
    assert 1.2 < kinds[ADD_TO_CART] / kinds[PURCHASE] < 3


def test_few_users_do_much_and_few_items_are_seen_much(shop: pa.Table) -> None:
    for column, least in (("user_id", 0.3), ("item_id", 0.3)):
        counts = np.sort([count for _, count in Counter(shop[column].to_pylist()).most_common()])[::-1]
        assert counts[: len(counts) // 10].sum() / counts.sum() > least


def test_purchases_come_after_carts_and_carts_mostly_after_several_views(shop: pa.Table) -> None:
    carts, several = 0, 0
    for history in histories(shop).values():
        seen: Counter[tuple[str, str]] = Counter()
        for item, kind, _ in history:
            if kind == PURCHASE:
                assert seen[item, ADD_TO_CART] > seen[item, PURCHASE]
            if kind == ADD_TO_CART:
                carts += 1
                several += seen[item, VIEW] > 1
            seen[item, kind] += 1
    assert several / carts > 0.5


def test_some_buy_again_what_they_bought_long_ago(shop: pa.Table) -> None:
    again, days = 0, 10 * MILLISECONDS_A_DAY
    for history in histories(shop).values():
        bought: dict[str, int] = {}
        for item, kind, moment in history:
            if kind == PURCHASE:
                again += moment - bought.get(item, moment) > days - MILLISECONDS_A_DAY
                bought[item] = moment
    assert again > 20


def test_new_items_come_in_and_popularity_drifts(shop: pa.Table) -> None:
    first: dict[str, int] = {}
    halves: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    middle = ShopSettings().start_ms + ShopSettings().days * MILLISECONDS_A_DAY // 2
    for item, moment in zip(shop["item_id"].to_pylist(), shop["timestamp"].to_pylist(), strict=True):
        first.setdefault(item, moment)
        halves[moment > middle][item] += 1
    assert sum(moment > middle for moment in first.values()) > 25
    early, late = ({item for item, _ in half.most_common(20)} for half in halves)
    assert 2 < len(early & late) < 18


def test_evenings_and_weekends_are_busier(shop: pa.Table) -> None:
    times = shop["timestamp"].to_numpy()
    hours = np.bincount(times // 3_600_000 % 24, minlength=24)
    assert hours[18:22].sum() > 5 * hours[1:5].sum()
    per_day = Counter((times // MILLISECONDS_A_DAY).tolist())
    sundays = [count for day, count in per_day.items() if (day + 3) % 7 == 6]
    wednesdays = [count for day, count in per_day.items() if (day + 3) % 7 == 2]
    assert np.mean(sundays) > 1.1 * np.mean(wednesdays)


def test_own_recent_items_and_similar_items_tell_far_more_than_popularity(shop: pa.Table) -> None:
    start = ShopSettings().end_ms - 14 * MILLISECONDS_A_DAY
    users = histories(shop)
    seen = Counter(item for history in users.values() for item, _, moment in history if moment < start)
    popular = [item for item, _ in seen.most_common(10)]
    together: dict[str, Counter[str]] = defaultdict(Counter)
    for history in users.values():
        past = [(item, moment) for item, _, moment in history if moment < start]
        for (one, moment), (other, later) in pairwise(past):
            if one != other and later - moment < 1_800_000:
                together[one][other] += 1
                together[other][one] += 1
    recalls: dict[str, list[float]] = defaultdict(list)
    for history in users.values():
        targets = [event for event in history if event[2] >= start and event[1] != VIEW]
        if not targets:
            continue
        truth = {item for item, _, _ in targets}
        own = list(dict.fromkeys(item for item, _, moment in reversed(history) if moment < targets[0][2]))[
            :10
        ]
        similar: Counter[str] = Counter()
        for rank, item in enumerate(own):
            for other, count in together[item].items():
                similar[other] += count / together[item].total() / (1 + rank)
        near = [item for item, _ in similar.most_common(10)]
        for name, answer in (("popular", popular), ("own", own), ("similar", near)):
            recalls[name].append(len(truth & set(answer)) / len(truth))
    recall = {name: np.mean(values) for name, values in recalls.items()}
    assert recall["own"] > 4 * recall["popular"]
    assert recall["similar"] > 2 * recall["popular"]


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "folder"])
def test_every_format_holds_the_same_shop_and_can_be_imported(tmp_path: Path, name: str) -> None:
    shop = generate_shop(SMALL, tmp_path / "deep" / name)
    report = import_events([shop.out], tmp_path / "out")
    assert (report.rows, report.rejected_rows) == (shop.events, 0)
    assert report.events + report.duplicates == shop.events
    expected = pa.concat_tables(simulate(SMALL))
    assert read_events(tmp_path / "out" / "events").equals(
        pa.Table.from_pylist(sorted_and_distinct(expected), schema=expected.schema)
    )
    first = (tmp_path / "deep" / name).read_bytes() if shop.out.is_file() else b""
    generate_shop(SMALL, shop.out)
    assert not first or shop.out.read_bytes() == first


def sorted_and_distinct(events: pa.Table) -> list[dict[str, object]]:
    rows = {tuple(row.values()) for row in events.to_pylist()}
    ordered = sorted(rows, key=lambda row: (row[3], *row[:3]))
    return [dict(zip(EVENT_COLUMNS, row, strict=True)) for row in ordered]


def test_a_folder_gets_a_file_for_each_day(tmp_path: Path) -> None:
    generate_shop(SMALL, tmp_path / "shop")
    names = sorted(path.parent.name for path in (tmp_path / "shop").glob("*/events.parquet"))
    assert (names[0], names[-1], len(names)) == ("dt=2025-12-20", "dt=2025-12-31", 12)


def test_days_of_another_shop_in_the_folder_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    generate_shop(SMALL, out)
    with pytest.raises(BadInputError, match="shop: holds dt=2025-12-20, which is no day of this shop"):
        generate_shop(replace(SMALL, days=11), out)
    assert generate_shop(replace(SMALL, days=13), out).events == pq.read_table(out).num_rows


def test_the_program_writes_the_shop_and_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.parquet"
    sizes = [
        "--users",
        "60",
        "--items",
        "40",
        "--days",
        "3",
        "--seed",
        "1",
        "--as-of",
        "2020-06-04T12:00:00Z",
    ]
    beside = ["--truth", str(tmp_path / "truth"), "--catalogue", str(tmp_path / "c.csv"), "--threads", "2"]
    assert main([*sizes, *beside, "--out", str(out)]) == 0
    assert pq.read_metadata(tmp_path / "truth" / "users.parquet").num_rows == 60
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 40 + 1
    events = pq.read_table(out)
    assert f"{len(events):,} events of 60 users" in capsys.readouterr().out
    assert np.datetime64(int(events["timestamp"].to_numpy().max()), "ms") < np.datetime64("2020-06-04")


def test_what_cannot_be_generated_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "a.xlsx")]) == 1
    assert "a.xlsx: expected a name that ends with .parquet" in capsys.readouterr().err
    with pytest.raises(BadInputError, match="users: 0 is too few"):
        generate_shop(ShopSettings(users=0), tmp_path / "a.csv")
    with pytest.raises(BadInputError, match="threads: 0 is too few"):
        generate_shop(SMALL, tmp_path / "a.csv", threads=0)
    with pytest.raises(BadInputError, match="seed: -1 is negative"):
        generate_shop(replace(SMALL, seed=-1), tmp_path / "a.csv")
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be written"):
        generate_shop(SMALL, tmp_path / "file" / "a.csv")

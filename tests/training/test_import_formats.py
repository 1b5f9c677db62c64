"""Whose files an import understands, and what it tells about them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.tombstones import Tombstones, key_id, user_hash
from training.catalogue import latest_catalogue, list_catalogues, read_catalogue
from training.errors import BadInputError, TooLittleDataError
from training.events import read_events
from training.import_events import ImportReport, describe, import_events, main
from training.importing.catalogue import import_catalogue
from training.storage import Folder

HOUR = 3_600_000
T0 = 1_420_070_400_000  # 2015-01-01

RETAILROCKET = {
    "events.csv": f"""timestamp,visitorid,event,itemid,transactionid
{T0},1,view,10,
{T0 + HOUR},1,addtocart,10,
{T0 + 2 * HOUR},1,transaction,10,7
""",
    "item_properties_part1.csv": f"""timestamp,itemid,property,value
{T0 - HOUR},10,categoryid,100
{T0 - HOUR},10,888,n277.200 1116713
{T0 - HOUR},10,available,1
{T0 + 3 * HOUR},10,available,0
""",
    "item_properties_part2.csv": f"""timestamp,itemid,property,value
{T0},10,categoryid,101
{T0},11,available,0
""",
    "category_tree.csv": "categoryid,parentid\n100,1\n101,1\n1,\n",
}
PERSONALIZE = {
    "interactions.csv": f"""USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE
u1,i1,{T0 // 1000},View,
u1,i1,{T0 // 1000 + 1},AddToCart,
u2,i2,{T0 // 1000 + 2},Purchase,3.5
""",
    "items.csv": f"""ITEM_ID,CREATION_TIMESTAMP,CATEGORY_L1,CATEGORY_L2,PRICE
i1,{T0 // 1000},Books,Crime,3.5
i2,{T0 // 1000},Toys,,4
i3,{T0 // 1000},Books,Books,
""",
    "users.csv": "USER_ID,AGE\nu1,40\nu2,30\nu3,20\n",
}
NATIVE_EVENTS = f"user_id,item_id,event_type,timestamp\nu1,i1,view,{T0}\nu1,i1,purchase,{T0 + 1}\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def items_of(out: Path | str) -> dict[str, dict[str, Any]]:
    folder = Folder(out)
    (info,) = list_catalogues(folder)
    rows = read_catalogue(folder, info.version).items.to_pylist()
    return {row.pop("item_id"): row for row in rows}


def tree_of(out: Path | str) -> dict[str, str | None]:
    folder = Folder(out)
    (info,) = list_catalogues(folder)
    rows = read_catalogue(folder, info.version).categories.to_pylist()
    return {row["category_id"]: row["parent_id"] for row in rows}


def roles(report: ImportReport) -> dict[str, str]:
    return {name: entry.role for entry in report.understood for name in entry.files}


# RetailRocket
@pytest.mark.parametrize("file_format", ["auto", "retailrocket"])
def test_a_folder_of_retailrocket_becomes_events_and_a_catalogue(tmp_path: Path, file_format: Any) -> None:
    report = import_events([write(tmp_path / "in", RETAILROCKET)], tmp_path / "out", file_format=file_format)
    assert report.event_types == {"add_to_cart": 1, "purchase": 1, "view": 1}
    assert roles(report) == {
        "events.csv": "events",
        "item_properties_part1.csv": "item properties",
        "item_properties_part2.csv": "item properties",
        "category_tree.csv": "category tree",
    }
    assert items_of(tmp_path / "out") == {
        "10": {"category_id": "101", "available": True},
        "11": {"category_id": None, "available": False},
    }
    assert tree_of(tmp_path / "out") == {"100": "1", "101": "1", "1": None}
    assert report.catalogue
    assert report.catalogue.info.as_of_ms == report.last_ms
    counts = report.catalogue
    assert (counts.rows, counts.kept, counts.replaced) == (9, 6, 1)
    assert (counts.passed_over, counts.late, counts.rejected_rows) == (1, 1, 0)


def test_of_a_property_the_latest_value_up_to_as_of_counts(tmp_path: Path) -> None:
    source = write(tmp_path / "in", RETAILROCKET)
    later = import_events([source], tmp_path / "later", as_of_ms=T0 + 3 * HOUR)
    assert items_of(tmp_path / "later")["10"] == {"category_id": "101", "available": False}
    assert later.catalogue
    assert later.catalogue.late == 0
    import_catalogue([source], tmp_path / "earlier", as_of_ms=T0 - 1)
    assert items_of(tmp_path / "earlier") == {"10": {"category_id": "100", "available": True}}


def test_of_values_of_the_same_moment_the_later_row_counts(tmp_path: Path) -> None:
    properties = (
        f"timestamp,itemid,property,value\n{T0},1,categoryid,a\n{T0},1,categoryid,b\n{T0},1,categoryid,a\n"
    )
    source = write(tmp_path / "in", {"events.csv": NATIVE_EVENTS, "properties.csv": properties})
    import_events([source], tmp_path / "out")
    assert items_of(tmp_path / "out") == {"1": {"category_id": "a", "available": True}}


def test_bad_properties_are_set_aside_and_other_ones_are_never_looked_at(tmp_path: Path) -> None:
    properties = f"""timestamp,itemid,property,value
{T0},1,available,perhaps
soon,1,available,1
{T0},,categoryid,a
{T0},1,categoryid,
never,,790,
{T0},1,,a
{T0},1,categoryid
{T0},1,categoryid,{"x" * 257}
{T0},1,categoryid,good
"""
    source = write(tmp_path / "in", {"events.csv": NATIVE_EVENTS, "properties.csv": properties})
    report = import_events([source], tmp_path / "out", max_bad_share=1)
    assert report.rejected == {}
    assert report.catalogue
    assert report.catalogue.rejected_file
    rejected = pq.read_table(tmp_path / "out" / report.catalogue.rejected_file).to_pylist()
    assert [(row["row"], row["reason"], row["field"]) for row in rejected] == [
        (2, "unreadable_flag", "value"),
        (3, "unreadable_time", "timestamp"),
        (4, "missing", "item_id"),
        (5, "missing", "value"),
        (7, "missing", "property"),
        (8, "malformed_line", None),
        (9, "too_long", "value"),
    ]
    assert report.catalogue.passed_over == 1
    assert items_of(tmp_path / "out") == {"1": {"category_id": "good", "available": True}}


# Personalize
@pytest.mark.parametrize("file_format", ["auto", "personalize"])
def test_a_folder_of_personalize_becomes_events_and_a_catalogue(tmp_path: Path, file_format: Any) -> None:
    report = import_events([write(tmp_path / "in", PERSONALIZE)], tmp_path / "out", file_format=file_format)
    assert report.event_types == {"add_to_cart": 1, "purchase": 1, "view": 1}
    assert read_events(tmp_path / "out" / "events")["timestamp"].to_pylist() == [T0, T0 + 1000, T0 + 2000]
    assert report.left_out_users == 3
    assert "3 rows of users left out" in describe(report)
    assert items_of(tmp_path / "out")["i1"] == {
        "category_id": "Books",
        "available": True,
        "CREATION_TIMESTAMP": str(T0 // 1000),
        "CATEGORY_L2": "Crime",
        "PRICE": "3.5",
    }
    assert tree_of(tmp_path / "out") == {"Books": None, "Crime": "Books", "Toys": None}
    assert "the tree comes from the items' own columns: CATEGORY_L1 > CATEGORY_L2" in describe(report)


def test_a_deeper_category_below_two_others_is_told(tmp_path: Path) -> None:
    items = "ITEM_ID,CATEGORY_L1,CATEGORY_L2,CATEGORY_L3\n1,Men,Shoes,Boots\n2,Women,Shoes,\n"
    source = write(tmp_path / "in", PERSONALIZE | {"items.csv": items})
    report = import_events([source], tmp_path / "out")
    assert tree_of(tmp_path / "out") == {"Men": None, "Women": None, "Shoes": "Men", "Boots": "Shoes"}
    assert "1 categories stand below more than one parent, and keep one: 'Shoes'" in describe(report)


def test_interactions_without_an_event_type_are_told_with_the_remedy(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"interactions.csv": f"USER_ID,ITEM_ID,TIMESTAMP\nu,i,{T0}\n"})
    with pytest.raises(
        BadInputError, match=r"interactions.csv: no column for event_type.*Personalize.*add the column"
    ):
        import_events([source], tmp_path / "out")


# Telling files apart
def test_what_was_understood_is_told_file_by_file_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", RETAILROCKET)
    assert main([str(source), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "events.csv: events, because there is 'visitorid', 'itemid':" in text
    assert (
        "item_properties_part1.csv, item_properties_part2.csv: item properties, because there is 'itemid', "
        "'property', 'value', 'timestamp':"
    ) in text
    assert "category_tree.csv: category tree, because there is 'categoryid', 'parentid':" in text
    assert "1 rows of other properties left out" in text
    assert "1 rows left out, because they tell of later" in text


NATIVE = "item_id,category,in_stock,price\ni1,c,yes,3\n"


@pytest.mark.parametrize(
    ("text", "role"),
    [
        (NATIVE_EVENTS, "events"),
        (f"user_id,product_id,event,time,category_id,price\nu,i,buy,{T0},c,9\n", "events"),
        ("product_id,category,in_stock,type,created_at\ni,c,YES,book,1999\n", "items"),
        ("sku,title\ni,t\n", "items"),
        ("category_id,parent_id,name\na,b,c\n", "category tree"),
        ("customer,age\nu,40\n", "users"),
        (f"timestamp,itemid,property,value\n{T0},i,available,0\n", "item properties"),
    ],
)
def test_a_file_is_taken_for_what_its_columns_tell(tmp_path: Path, text: str, role: str) -> None:
    items = {"items.csv": NATIVE} if role == "category tree" else {}
    source = write(tmp_path / "in", {"a.csv": text, "events.csv": NATIVE_EVENTS} | items)
    assert roles(import_events([source], tmp_path / "out"))["a.csv"] == role


def test_a_file_of_a_catalogue_is_never_taken_for_events(tmp_path: Path) -> None:
    write(tmp_path, {"events.csv": NATIVE_EVENTS})
    write(tmp_path / "shop", {"items.csv": "item_id,user,time\ni1,me,1999\n", "more.csv": NATIVE_EVENTS})
    report = import_events([tmp_path / "events.csv"], tmp_path / "out", catalogue=[tmp_path / "shop"])
    assert roles(report) == {
        "events.csv": "events",
        "items.csv": "items",
        "more.csv": "no part of a catalogue",
    }
    assert (report.rows, items_of(tmp_path / "out")["i1"]["user"]) == (2, "me")


def test_no_file_of_events_is_told_with_what_each_was_taken_for(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"users.csv": PERSONALIZE["users.csv"], "items.csv": NATIVE})
    with pytest.raises(
        BadInputError,
        match=r"no file of events.*items.csv was taken for items \(it has item_id\); .*users.csv was taken for "
        r"users.*python -m training.catalogue import",
    ):
        import_events([source], tmp_path / "out")


@pytest.mark.parametrize(
    ("file_format", "files", "message"),
    [
        ("retailrocket", {"users.csv": "user_id,age\n1,2\n"}, "users.csv: no column for item_id"),
        ("personalize", {"tree.csv": "category_id,parent_id\n1,2\n"}, "tree.csv: no column for user_id"),
    ],
)
def test_a_file_that_is_none_of_the_named_format_is_told(
    tmp_path: Path, file_format: Any, files: dict[str, str], message: str
) -> None:
    source = write(tmp_path / "in", {"events.csv": NATIVE_EVENTS} | files)
    with pytest.raises(BadInputError, match=message):
        import_events([source], tmp_path / "out", file_format=file_format)


def test_native_files_may_have_columns_that_others_use_for_properties(tmp_path: Path) -> None:
    write(tmp_path, {"events.csv": NATIVE_EVENTS, "items.csv": f"item_id,property,value,time\na,b,c,{T0}\n"})
    report = import_events(
        [tmp_path / "events.csv"], tmp_path / "out", catalogue=[tmp_path / "items.csv"], file_format="native"
    )
    assert roles(report)["items.csv"] == "items"
    assert items_of(tmp_path / "out")["a"]["value"] == "c"


def test_an_explicit_column_counts_in_the_files_that_have_it(tmp_path: Path) -> None:
    write(tmp_path, {"events.csv": NATIVE_EVENTS, "items.csv": "item_id,category,shelf\ni1,no,yes\n"})
    report = import_events(
        [tmp_path / "events.csv"],
        tmp_path / "out",
        catalogue=[tmp_path / "items.csv"],
        columns={"shelf": "category_id"},
    )
    assert items_of(tmp_path / "out")["i1"] == {"category_id": "yes", "available": True, "category": "no"}
    assert "category_id is 'shelf' (--column)" in describe(report)
    assert "item_id     is 'item_id' (its usual name)" in describe(report)
    with pytest.raises(
        BadInputError, match=r"events.csv: has no column 'shelve'; .*nor has any of the other 1"
    ):
        import_events(
            [tmp_path / "events.csv"],
            tmp_path / "out",
            catalogue=[tmp_path / "items.csv"],
            columns={"shelve": "category_id"},
        )


def test_a_column_of_the_catalogue_makes_no_other_import_of_the_events(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"events.csv": NATIVE_EVENTS, "items.csv": "item_id,shelf\ni1,yes\n"})
    first = import_events([source], tmp_path / "out")
    second = import_events([source], tmp_path / "out", columns={"shelf": "category_id"})
    alone = import_events([source / "events.csv"], tmp_path / "out")
    assert first.source == second.source == alone.source


# Deleted users
def test_events_of_deleted_users_up_to_their_deletion_are_dropped_and_counted(tmp_path: Path) -> None:
    secret = b"secret"
    tombstones = Tombstones({key_id(secret): secret}, {(key_id(secret), user_hash(secret, "gone")): T0})
    out = Folder(tmp_path / "out")
    events = f"{NATIVE_EVENTS}gone,i1,view,{T0 - 1}\ngone,i2,view,{T0}\ngone,i3,view,{T0 + 1}\n"
    source = write(tmp_path / "in", {"events.csv": events})
    before = import_events([source], out, allow_empty_days=True)
    out.write("events/deleted_users.json", tombstones.to_json().encode())
    report = import_events([source], out)
    assert (report.rows, report.events, report.deleted, report.duplicates) == (5, 3, 2, 0)
    assert "2 dropped, because their users were deleted afterwards" in describe(report)
    assert report.same_files == (before.manifest,)
    written = pq.read_table(tmp_path / "out" / report.files[0].key)
    assert sorted(written["item_id"].to_pylist()) == ["i1", "i1", "i3"]
    assert json.loads(out.read(report.manifest))["deleted"] == 2


def test_an_import_of_nobody_but_deleted_users_is_an_error(tmp_path: Path) -> None:
    secret = b"secret"
    tombstones = Tombstones({key_id(secret): secret}, {(key_id(secret), user_hash(secret, "u1")): T0 + 1})
    Folder(tmp_path / "out").write("events/deleted_users.json", tombstones.to_json().encode())
    source = write(tmp_path / "in", {"events.csv": NATIVE_EVENTS})
    with pytest.raises(BadInputError, match=r"events.csv: all 2 events are of users who were deleted"):
        import_events([source], tmp_path / "out")


# Checks before the manifest
GAP = NATIVE_EVENTS + f"u1,i1,view,{T0 + 48 * HOUR}\n"
VIEWS = NATIVE_EVENTS.replace("purchase", "wish")


@pytest.mark.parametrize(
    ("events", "flag", "message"),
    [
        (GAP, "--allow-empty-days", "no events on 2015-01-02.*--allow-empty-days"),
        (VIEWS, "--allow-no-targets", "no cart and no purchase.*1 view, 1 wish.*--allow-no-targets"),
    ],
)
def test_events_that_cannot_be_all_are_refused_unless_that_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], events: str, flag: str, message: str
) -> None:
    source = write(tmp_path / "in", {"events.csv": events, "items.csv": NATIVE})
    with pytest.raises(TooLittleDataError, match=f"events.csv: {message}"):
        import_events([source], tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert main([str(source), "--out", str(tmp_path / "out"), flag]) == 0
    assert latest_catalogue(Folder(tmp_path / "out"))


def test_a_refused_import_leaves_an_earlier_one_of_the_same_files_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"events.csv": GAP})
    import_events([source], tmp_path / "out", allow_empty_days=True)
    with pytest.raises(TooLittleDataError, match="no events on 2015-01-02"):
        import_events([source], tmp_path / "out")
    assert len(read_events(tmp_path / "out" / "events")) == 3


def test_a_bad_catalogue_stops_the_import_of_the_events_beside_it(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"events.csv": NATIVE_EVENTS, "items.csv": f"{NATIVE},x,yes,1\n"})
    with pytest.raises(
        BadInputError, match=r"(?s)items.csv: 1 of 2 rows .*python -m training.rejected \S+/rejected/"
    ):
        import_events([source], tmp_path / "out")
    with pytest.raises(TooLittleDataError, match="holds no events"):
        read_events(tmp_path / "out" / "events")
    assert list((tmp_path / "out").rglob("*/dt=*/*")) == []


# Parquet
def test_a_rejected_row_of_parquet_carries_all_its_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user_id": [f"u{n}" if n % 50 else None for n in range(200)],
            "item_id": ["i"] * 200,
            "event": ["buy"] * 200,
            "time": [T0 + n for n in range(200)],
            "tags": [[n, n + 1] for n in range(200)],
            "raw": [b"\xff"] * 200,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    report = import_events([tmp_path / "a.parquet"], tmp_path / "out", max_bad_share=1)
    assert report.rejected_file
    rejected = pq.read_table(tmp_path / "out" / report.rejected_file).to_pylist()
    assert [(row["row"], json.loads(row["raw"])["tags"]) for row in rejected] == [
        (n + 1, [n, n + 1]) for n in (0, 50, 100, 150)
    ]
    assert json.loads(rejected[1]["raw"]) == {
        "user_id": None, "item_id": "i", "event": "buy", "time": T0 + 50, "tags": [50, 51], "raw": "\\xff",
    }  # fmt: skip


@pytest.mark.parametrize("rows_a_batch", [1, 7, 64, 1000])
def test_rows_of_parquet_are_told_right_however_they_are_batched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_a_batch: int
) -> None:
    monkeypatch.setattr("training.importing.parquet_files.PARQUET_ROWS", rows_a_batch)
    monkeypatch.setattr("training.importing.parquet_files._WHOLE_ROWS", 5)
    bad = {3, 4, 31, 99}
    ids = ["" if n in bad else f"u{n}" for n in range(100)]
    table = pa.table({"user": ids, "item": ids, "type": ["buy"] * 100, "ts": [T0] * 100, "n": range(100)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    report = import_events([tmp_path / "a.parquet"], tmp_path / "out", max_bad_share=1)
    assert report.rejected_file
    rejected = pq.read_table(tmp_path / "out" / report.rejected_file).to_pylist()
    assert [(row["row"] - 1, json.loads(row["raw"])["n"]) for row in rejected] == [
        (n, n) for n in sorted(bad)
    ]
    assert report.events == 96


# Disk full
def test_a_disk_that_is_full_while_sorting_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    code = f"""
import resource, sys
from training.import_events import import_events
from training.errors import BadInputError
# No file may grow beyond this, for the system as for DuckDB the same as a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    import_events([{str(tmp_path / "a.parquet")!r}], {str(tmp_path / "out")!r}, memory_limit="12MB")
except BadInputError as error:
    sys.exit(str(error))
"""
    rows = 150_000
    ids = [f"user-{n * 7919 % rows:032}" for n in range(rows)]
    table = pa.table({"user": ids, "item": ids, "type": ["buy"] * rows, "ts": [T0 + n for n in range(rows)]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.match(rf"{tmp_path}/temporary: too little room for temporary files: .*TMPDIR", done.stderr)
    assert list((tmp_path / "temporary").iterdir()) == []

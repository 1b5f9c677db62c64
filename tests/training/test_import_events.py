import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.events import EVENT_COLUMNS, MAX_ID_LENGTH
from tests.real_events import RETAILROCKET, needs_retailrocket
from training.errors import BadInputError
from training.events import dataset_fingerprint, read_events
from training.import_events import ImportReport, describe, main
from training.import_events import import_events as import_checked
from training.importing.rows import EARLIEST_MS, LATEST_MS
from training.storage import Folder

HEADER = "user_id,item_id,event_type,timestamp\n"
GOOD = f"{HEADER}u1,i1,view,1420070400000\n"
T0 = 1_420_070_400_000  # 2015-01-01


def import_events(sources: Sequence[str | Path], out: str | Path | Folder, **options: Any) -> ImportReport:
    """With a few events only, which neither fill all days nor aim at anything."""
    return import_checked(sources, out, **{"allow_empty_days": True, "allow_no_targets": True} | options)


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    return path


def events_of(out: Path) -> list[tuple[str, str, str, int]]:
    return [tuple(row.values()) for row in read_events(out / "events").to_pylist()]


def rejected_of(out: Path, report: ImportReport) -> list[dict[str, object]]:
    assert report.rejected_file
    rows: list[dict[str, object]] = pq.read_table(out / report.rejected_file).to_pylist()
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def imported(tmp_path: Path, text: str | bytes, name: str = "events.csv") -> list[tuple[str, str, str, int]]:
    import_events([write(tmp_path / name, text)], tmp_path / "out")
    return events_of(tmp_path / "out")


def rejections(tmp_path: Path, text: str | bytes, name: str = "events.csv") -> list[tuple[object, ...]]:
    report = import_events([write(tmp_path / name, text)], tmp_path / "out", max_bad_share=1)
    return [(row["row"], row["reason"], row["field"]) for row in rejected_of(tmp_path / "out", report)]


# What is recognised
@pytest.mark.parametrize(
    "header",
    [
        "visitorid,itemid,event,timestamp",
        "USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP",
        "customer_id,sku,action,created_at",
        "userid,product_id,behavior,time",
        "Visitor ID,Item-Id,Behaviour,event_time",
    ],
)
def test_usual_column_names_are_recognised(tmp_path: Path, header: str) -> None:
    assert imported(tmp_path, f"{header}\nu1,i1,view,{T0}\n") == [("u1", "i1", "view", T0)]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("pageview", "view"),
        ("pv", "view"),
        ("detail_view", "view"),
        ("click", "view"),
        ("addtocart", "add_to_cart"),
        ("Add-To-Cart", "add_to_cart"),
        ("cart", "add_to_cart"),
        ("basket", "add_to_cart"),
        ("transaction", "purchase"),
        ("buy", "purchase"),
        ("order", "purchase"),
        ("Bought", "purchase"),
        ("remove_from_cart", "remove_from_cart"),
        ("Fav", "Fav"),
    ],
)
def test_usual_event_names_are_recognised_and_others_stay(tmp_path: Path, theirs: str, ours: str) -> None:
    assert imported(tmp_path, f"{HEADER}u1,i1,{theirs},{T0}\n") == [("u1", "i1", ours, T0)]


@pytest.mark.parametrize(
    "text",
    [
        "1430623510123",
        "1430623510.123",
        "1430623510123000",
        "1430623510123000999",
        "1430623510123.0",
        " 1430623510123 ",
        "2015-05-03T03:25:10.123Z",
        "2015-05-03 03:25:10.123",
        "2015-05-03 03:25:10.123 UTC",
        "2015-05-03T05:25:10.123+02:00",
        "2015-05-03T05:25:10.123+0200",
        "2015-05-03T03:25:10.123999",
    ],
)
def test_a_time_in_any_usual_form_is_the_same_millisecond(tmp_path: Path, text: str) -> None:
    assert imported(tmp_path, f"{HEADER}u1,i1,view,{text}\n")[0][3] == 1_430_623_510_123


def test_times_of_differing_forms_in_one_column_are_each_read(tmp_path: Path) -> None:
    times = ["1430623510", "1430623510.5", "2015-05-03T03:25:11Z", "2015-05-03", "2015-05-03T05:25:12+02:00"]
    text = HEADER + "".join(f"u,i{number},view,{time}\n" for number, time in enumerate(times))
    found = {row[1]: row[3] for row in imported(tmp_path, text)}
    day = 1_430_611_200_000
    assert found == {
        "i0": 1_430_623_510_000,
        "i1": 1_430_623_510_500,
        "i2": 1_430_623_511_000,
        "i3": day,
        "i4": 1_430_623_512_000,
    }


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1_430_623_510_123]),
        pa.array([1_430_623_510_123], pa.uint64()),
        pa.array([1_430_623_510.123]),
        pa.array(["2015-05-03T03:25:10.123Z"]).dictionary_encode(),
        pa.array([1_430_623_510_123], pa.timestamp("ms")),
        pa.array([1_430_623_510_123_000_999], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([1_430_623_510_123_000], pa.timestamp("us", "UTC")),
    ],
    ids=lambda values: str(values.type),
)
def test_every_parquet_type_of_time_is_read(tmp_path: Path, values: pa.Array) -> None:
    table = pa.table({"user": ["u"], "item": ["i"], "type": ["view"], "time": values})
    pq.write_table(table, tmp_path / "events.parquet")
    import_events([tmp_path / "events.parquet"], tmp_path / "out")
    assert events_of(tmp_path / "out") == [("u", "i", "view", 1_430_623_510_123)]


def test_ids_keep_their_spelling(tmp_path: Path) -> None:
    ids = [
        "007",
        "1e5",
        "1.0",
        "NULL",
        "nan",
        "true",
        " x ",
        "a,b",
        'say "hi"',
        "two\nlines",
        "\r",
        "é🛒",
        "-",
    ]
    lines = io.StringIO()
    csv.writer(lines).writerows([[name, name, "view", T0] for name in ids])
    expected = sorted((name, name, "view", T0) for name in ids)
    assert sorted(imported(tmp_path, HEADER + lines.getvalue())) == expected


def test_whole_numbers_become_their_decimal_text(tmp_path: Path) -> None:
    table = pa.table(
        {"user_id": [7], "item_id": pa.array([2**64 - 1], pa.uint64()), "event": ["view"], "ts": [T0]}
    )
    pq.write_table(table, tmp_path / "events.parquet")
    import_events([tmp_path / "events.parquet"], tmp_path / "out")
    assert events_of(tmp_path / "out") == [("7", str(2**64 - 1), "view", T0)]
    lines = f'{{"user_id": 7, "item_id": {2**64 - 1}, "event": "view", "ts": {T0}}}\n'
    assert imported(tmp_path / "lines", lines, "events.jsonl") == events_of(tmp_path / "out")


def test_csv_with_other_separators_bom_and_line_ends_is_read(tmp_path: Path) -> None:
    expected = [("u1", "i1", "view", T0), ("u2", "i2", "view", T0 + 1)]
    rows = [
        ["user_id", "item_id", "type", "ts"],
        ["u1", "i1", "view", str(T0)],
        ["u2", "i2", "pv", str(T0 + 1)],
    ]
    for number, separator in enumerate(",\t;|"):
        for end in ("\n", "\r\n"):
            text = end.join(separator.join(row) for row in rows)
            folder = tmp_path / f"{number}{len(end)}"
            assert imported(folder, b"\xef\xbb\xbf" + text.encode()) == expected
            assert imported(folder / "blank", text.replace(end, end + end)) == expected


def test_the_same_events_come_out_of_every_format(tmp_path: Path) -> None:
    rows = [
        {"user_id": f"u{n % 7}", "item_id": f"ä,{n % 5}", "event": "addtocart", "time": T0 + n * 40_000_000}
        for n in range(50)
    ]
    plain = io.StringIO()
    writer = csv.DictWriter(plain, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write(tmp_path / "a.csv", plain.getvalue())
    write(tmp_path / "a.CSV.GZ", gzip.compress(plain.getvalue().encode()))
    write(tmp_path / "a.jsonl", lines)
    write(tmp_path / "a.json", lines)
    write(tmp_path / "a.ndjson.gz", gzip.compress(lines.encode()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    fingerprints = set()
    for name in ("a.csv", "a.CSV.GZ", "a.jsonl", "a.json", "a.ndjson.gz", "a.parquet"):
        report = import_events([tmp_path / name], tmp_path / "out" / name)
        assert (report.events, report.rejected_rows) == (50, 0)
        fingerprints.add(dataset_fingerprint(read_events(tmp_path / "out" / name / "events")))
    assert len(fingerprints) == 1


# Mapping options
def test_an_explicit_column_beats_usual_names(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", f"user_id,buyer,item_id,event,time\nno,u1,i1,view,{T0}\n")
    report = import_events([source], tmp_path / "out", columns={"buyer": "user_id"})
    assert events_of(tmp_path / "out") == [("u1", "i1", "view", T0)]
    assert "user_id     is 'buyer' (--column)" in describe(report)


def test_an_explicit_event_type_beats_usual_names(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", f"{HEADER}u1,i1,click,{T0}\nu1,i1,fav,{T0}\n")
    report = import_events([source], tmp_path / "out", event_types={"click": "click", "fav": "wish"})
    assert [row[2] for row in events_of(tmp_path / "out")] == ["click", "wish"]
    assert "'fav' is wish (--event-type)" in describe(report)


def test_another_mapping_of_the_same_source_is_another_import(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", GOOD)
    names = {
        import_events([source], tmp_path / "out").source,
        import_events([source], tmp_path / "out", event_types={"view": "look"}).source,
        import_events([source], tmp_path / "out", as_of_ms=T0).source,
    }
    assert len(names) == 3


def test_an_earlier_import_of_the_same_files_with_other_options_is_pointed_at(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", GOOD)
    first = import_events([source], tmp_path / "out")
    assert import_events([source], tmp_path / "out").same_files == ()
    second = import_events([source], tmp_path / "out", event_types={"view": "look"})
    assert second.same_files == (first.manifest,)
    assert f"delete {tmp_path}/out/{first.manifest}" in describe(second)
    other = write(tmp_path / "b.csv", f"{GOOD}u2,i2,view,{T0}\n")
    assert import_events([other], tmp_path / "out").same_files == ()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id,item_id,event_type,when", r"no column for timestamp.*'when'.*--column 'THEIRS=timestamp'"),
        (
            "user_id,visitorid,item_id,event,time",
            r"user_id: 'user_id', 'visitorid'.*--column 'user_id=user_id'",
        ),
        ("item_id,event,time", "no column for user_id"),
    ],
)
def test_a_missing_or_ambiguous_column_is_told_with_its_remedy(
    tmp_path: Path, header: str, message: str
) -> None:
    source = write(tmp_path / "a.csv", f"{header}\n1,2,3,4,5\n")
    with pytest.raises(BadInputError, match=f"a.csv: .*{message}"):
        import_events([source], tmp_path / "out")


def test_an_explicit_column_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", GOOD)
    with pytest.raises(BadInputError, match="has no column 'buyer'; it has 'user_id'"):
        import_events([source], tmp_path / "out", columns={"buyer": "user_id"})
    with pytest.raises(BadInputError, match="there is no column 'price'"):
        import_events([source], tmp_path / "out", columns={"user_id": "price"})


# Bad rows
def test_every_kind_of_bad_row_is_told_with_its_line_reason_and_field(tmp_path: Path) -> None:
    long = "x" * (MAX_ID_LENGTH + 1)
    text = b"".join(
        [
            HEADER.encode(),
            b"u1,i1,view,1420070400000\n",
            b",i1,view,1420070400000\n",
            f"u1,{long},view,1420070400000\n".encode(),
            b"u1,i\x001,view,1420070400000\n",
            b"u1,i1,vi\xffew,1420070400000\n",
            b"u1,i1,view,\n",
            b"u1,i1,view,yesterday\n",
            b"u1,i1,view,3\n",
            b"u1,i1,view,2015-13-01\n",
            b"u1,i1,view\n",
            b'u1,"i1,view,1420070400000\n',
            b"u1,i1,,1420070400000\n",
            b"u1,i2,view,1420070400000\n",
        ]
    )
    assert rejections(tmp_path, text) == [
        (3, "missing", "user_id"),
        (4, "too_long", "item_id"),
        (5, "nul_character", "item_id"),
        (6, "invalid_utf8", "event_type"),
        (7, "missing", "timestamp"),
        (8, "unreadable_time", "timestamp"),
        (9, "absurd_time", "timestamp"),
        (10, "unreadable_time", "timestamp"),
        (11, "malformed_line", None),
        (12, "malformed_line", None),
        (13, "missing", "event_type"),
    ]
    assert [row[1] for row in events_of(tmp_path / "out")] == ["i1", "i2"]


def test_bad_json_lines_are_told_with_their_line_reason_and_field(tmp_path: Path) -> None:
    def line(**changes: object) -> str:
        return json.dumps({"user_id": "u1", "item_id": "i1", "event": "view", "time": T0} | changes)

    lines = [
        line(),
        line(user_id=None),
        line(user_id=1.5),
        line(item_id=True),
        line(item_id={"id": 1}),
        line(item_id="\ud800"),
        line(item_id="a\x00"),
        line(time=False),
        line(time=float("nan")),
        "{",
        "[1]",
        "",
        line(item_id="i2"),
    ]
    assert rejections(tmp_path, "\n".join(lines), "a.jsonl") == [
        (2, "missing", "user_id"),
        (3, "wrong_type", "user_id"),
        (4, "wrong_type", "item_id"),
        (5, "wrong_type", "item_id"),
        (6, "invalid_utf8", "item_id"),
        (7, "nul_character", "item_id"),
        (8, "wrong_type", "timestamp"),
        (9, "unreadable_time", "timestamp"),
        (10, "malformed_line", None),
        (11, "malformed_line", None),
    ]
    assert [row[1] for row in events_of(tmp_path / "out")] == ["i1", "i2"]


def test_missing_values_in_parquet_are_told_with_their_row(tmp_path: Path) -> None:
    table = pa.table(
        {"user_id": [1, None, 3], "item_id": ["a", "b", ""], "event": ["view"] * 3, "time": [T0, T0, T0]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    report = import_events([tmp_path / "a.parquet"], tmp_path / "out", max_bad_share=1)
    first, second = rejected_of(tmp_path / "out", report)
    raw = json.dumps({"user_id": None, "item_id": "b", "event": "view", "time": T0})
    assert first == {"file": "a.parquet", "row": 2, "reason": "missing", "field": "user_id", "raw": raw}
    assert (second["row"], second["field"]) == (3, "item_id")


def test_a_rejected_row_carries_the_whole_line_as_json(tmp_path: Path) -> None:
    text = f"user_id,item_id,event,time,shop\nu1,,view,{T0},\xfcber\nu1,i1\nu1,i1,view,{T0},x\n"
    report = import_events([write(tmp_path / "a.csv", text)], tmp_path / "out", max_bad_share=1)
    raws = [json.loads(str(row["raw"])) for row in rejected_of(tmp_path / "out", report)]
    assert raws == [
        {"user_id": "u1", "item_id": "", "event": "view", "time": str(T0), "shop": "über"},
        "u1,i1",
    ]


def test_events_after_as_of_are_rejected_and_that_moment_itself_is_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", f"{HEADER}u,i,view,{T0}\nu,i,view,{T0 + 1}\n")
    report = import_events([source], tmp_path / "out", as_of_ms=T0, max_bad_share=0.5)
    assert report.rejected == {"after_as_of": 1}
    assert events_of(tmp_path / "out") == [("u", "i", "view", T0)]


def test_exact_duplicates_are_counted_and_dropped(tmp_path: Path) -> None:
    row = f"u,i,view,{T0}\n"
    source = write(tmp_path / "a.csv", HEADER + row * 3 + f"u,i,view,{T0 + 1}\nu,i,pv,{T0}\n")
    report = import_events([source, source], tmp_path / "out")
    assert (report.rows, report.events, report.duplicates) == (10, 2, 8)


def test_too_many_bad_rows_stop_the_import_and_change_no_events(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", GOOD + "u1,,view,1\n,i1,view,1\nu2,,view,1\n")
    with pytest.raises(BadInputError) as caught:
        import_events([source], tmp_path / "out", max_bad_share=0.5)
    message = str(caught.value)
    assert "3 of 4 rows (75.00%) are bad, at most 50.00% may be: 2 missing (item_id)" in message
    assert "a.csv, row 3: item_id" in message
    [rejected] = [Path(line.split()[-1]) for line in message.splitlines() if "All of them" in line]
    assert pq.read_metadata(rejected).num_rows == 3
    assert not (tmp_path / "out" / "events").exists()


# Bad files
def parquet_bytes() -> bytes:
    stream = io.BytesIO()
    pq.write_table(
        pa.table({"user": ["u"] * 9, "item": ["i"] * 9, "type": ["v"] * 9, "ts": [T0] * 9}), stream
    )
    return stream.getvalue()


BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "empty file": ("a.csv", "", "is empty"),
    "empty Parquet file": ("a.parquet", "", "is empty"),
    "header alone": ("a.csv", HEADER, "no rows"),
    "missing column": ("a.csv", "user_id,item_id\n1,2\n", "no column for event_type"),
    "missing key": ("a.jsonl", '{"user_id": 1, "type": "view"}\n', "was taken for users.*'?user_id"),
    "truncated Parquet": ("a.parquet", parquet_bytes()[:-20], "is damaged"),
    "Parquet that is text": ("a.parquet", GOOD, "is damaged"),
    "damaged Parquet": (
        "a.parquet",
        parquet_bytes()[:30].replace(b"u", b"\xff") + b"\xff" * 200 + parquet_bytes()[230:],
        "is damaged|bad",
    ),
    "truncated gzip": ("a.csv.gz", gzip.compress(GOOD.encode() * 99)[:-9], "is damaged"),
    "gzip that is text": ("a.csv.gz", GOOD, "is damaged"),
    "JSON that isn't lines of objects": ("a.jsonl", "[1]\n", "none of its first lines"),
    "nothing but bad rows": ("a.csv", f"{HEADER},i,view,1\n", r"1 of 1 rows \(100.00%\).*not one"),
    "unknown type": ("a.xlsx", "x", "unknown type.*csv"),
    "no suffix": ("events", GOOD, "unknown type"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_told_by_name_and_reason(tmp_path: Path, case: str) -> None:
    name, content, message = BAD_FILES[case]
    source = write(tmp_path / "in" / name, content)
    with pytest.raises(BadInputError, match=f"(?s){name}.*({message})"):
        import_events([source], tmp_path / "out", max_bad_share=1)
    assert not (tmp_path / "out" / "events").exists()


def test_a_column_of_a_type_that_cannot_be_an_id_is_told(tmp_path: Path) -> None:
    table = pa.table({"user": [1.5], "item": ["i"], "event": ["view"], "ts": [T0]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(BadInputError, match="column 'user' is of type double; user_id needs text or whole"):
        import_events([tmp_path / "a.parquet"], tmp_path / "out")


def test_a_folder_without_files_of_events_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "in" / "README.txt", "hello")
    with pytest.raises(BadInputError, match=r"holds no file of events.*found README.txt"):
        import_events([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(BadInputError, match="there is no such file or folder"):
        import_events([tmp_path / "nowhere"], tmp_path / "out")


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", GOOD)
    source.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
                folder.chmod(folder.stat().st_mode | 0o011)
            os.seteuid(65534)  # root may read everything
        with pytest.raises(BadInputError, match=r"a.csv: (may not|cannot) be read"):
            import_events([source], tmp_path / "out")
    finally:
        os.seteuid(user)


# Files that are told apart, folders, order, repeatability
def test_a_folder_is_read_whole_and_each_file_by_its_own_columns(tmp_path: Path) -> None:
    write(tmp_path / "in/a.csv", f"visitorid,itemid,event,timestamp\nu1,i1,view,{T0}\n")
    write(tmp_path / "in/deep/b.jsonl", f'{{"user": "u2", "sku": "i2", "type": "buy", "ts": {T0 // 1000}}}')
    write(tmp_path / "in/_SUCCESS", "")
    write(tmp_path / "in/.hidden.csv", "x")
    write(tmp_path / "in/notes.txt", "x")
    report = import_events([tmp_path / "in"], tmp_path / "out")
    assert events_of(tmp_path / "out") == [("u1", "i1", "view", T0), ("u2", "i2", "purchase", T0)]
    assert [understood.files for understood in report.understood] == [("a.csv",), ("deep/b.jsonl",)]


def test_the_same_source_again_gives_the_same_bytes_and_nothing_else(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 11},i{n % 17},view,{T0 + n * 10_000_000}\n" for n in range(200))
    source = write(tmp_path / "a.csv", HEADER + rows + ",,,\n")
    import_events([source], tmp_path / "out")
    before = contents(tmp_path / "out")
    import_events([source], tmp_path / "out")
    assert contents(tmp_path / "out") == before
    import_events([source], tmp_path / "elsewhere", memory_limit="100MB")
    assert contents(tmp_path / "elsewhere") == before


def test_every_event_lies_in_the_file_of_its_day_in_order(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.csv",
        f"{HEADER}b,i,view,{T0 + 86_399_999}\nb,i,view,{T0}\na,j,view,{T0}\na,i,view,{T0}\na,i,buy,{T0}\n"
        f"z,z,view,{T0 + 86_400_000}\n",
    )
    report = import_events([source], tmp_path / "out")
    keys = [f"events/dt=2015-01-0{day}/{report.source}.parquet" for day in (1, 2)]
    assert [(file.key, file.rows) for file in report.files] == list(zip(keys, (5, 1), strict=True))
    first = pq.ParquetFile(tmp_path / "out" / keys[0])
    with first:
        assert first.metadata.row_group(0).column(0).compression == "ZSTD"
        assert [str(field.type) for field in first.schema_arrow] == ["string"] * 3 + ["int64"]
        rows = [tuple(row.values()) for row in first.read().to_pylist()]
    assert rows == sorted(rows, key=lambda row: (row[3], *row[:3]))


def test_the_manifest_tells_what_was_imported_and_how(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.csv", f"visitorid,itemid,event,ts\nu,i,buy,{T0}\nu,i,view,{T0}\n,i,view,{T0}\n"
    )
    report = import_events([source], tmp_path / "out", as_of_ms=T0, max_bad_share=0.5)
    manifest = json.loads((tmp_path / "out" / report.manifest).read_text())
    assert manifest["source"] == report.source
    assert manifest["files"] == [{"key": report.files[0].key, "rows": 2}]
    assert manifest["event_types"] == {"purchase": 1, "view": 1}
    assert (manifest["users"], manifest["items"], manifest["duplicates"]) == (1, 1, 0)
    assert manifest["first"] == manifest["last"] == manifest["as_of"] == "2015-01-01T00:00:00.000Z"
    assert manifest["rejected"] == {"missing": 1}
    assert manifest["understood"][0]["columns"]["user_id"] == "visitorid"
    assert manifest["kinds"]["buy"] == ["purchase", "its usual name"]


def test_quotes_and_line_breaks_survive_the_seams_between_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f'"{"x" * (n % 13)}\n{n}' if n % 3 == 0 else str(n) for n in range(300)]
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([[name, "i", "view", T0 + 1] for name in ids])
    for size in (40, 97, 4096):
        monkeypatch.setattr("training.importing.sources.BLOCK_BYTES", size)
        rows = imported(tmp_path / str(size), HEADER + lines.getvalue())
        assert sorted(row[0] for row in rows) == sorted(ids)


# Good in = good out
GOOD_ID = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
GOOD_ROW = st.fixed_dictionaries(
    {
        "user_id": GOOD_ID,
        "item_id": GOOD_ID,
        "event_type": st.sampled_from(["view", "add_to_cart", "purchase", "wish"]),
        # A few days only, because each day is a file.
        "timestamp": st.one_of(st.sampled_from([EARLIEST_MS, LATEST_MS - 1]), st.integers(T0, T0 + 10**8)),
    }
)
BAD_VALUES = {
    "user_id": ["", "x" * (MAX_ID_LENGTH + 1), "a\x00b", "\ud800"],
    "item_id": ["", "é" * (MAX_ID_LENGTH + 1), "\x00", "\udfff"],
    "event_type": ["", "x" * 65],
    "timestamp": ["", "soon", "12", "99999999999999999999999", "2015-02-30"],
}
BAD_ROW = st.sampled_from(sorted(BAD_VALUES)).flatmap(
    lambda name: st.tuples(GOOD_ROW, st.sampled_from(BAD_VALUES[name])).map(
        lambda pair: pair[0] | {name: pair[1]}
    )
)
ROWS = st.lists(st.one_of(st.tuples(GOOD_ROW, st.just(True)), st.tuples(BAD_ROW, st.just(False))), min_size=1)


def as_csv(rows: Sequence[dict[str, object]]) -> str:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, EVENT_COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return lines.getvalue()


def as_jsonl(rows: Sequence[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_all_good_rows_come_in_and_all_bad_ones_are_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[tuple[dict[str, object], bool]]
) -> None:
    folder = tmp_path_factory.mktemp("property")
    text = (as_csv if suffix == ".csv" else as_jsonl)([row for row, _ in rows])
    source = write(folder / f"events{suffix}", text)
    good = {tuple(row[name] for name in EVENT_COLUMNS) for row, is_good in rows if is_good}
    n_bad = sum(not is_good for _, is_good in rows)
    if not good:
        with pytest.raises(BadInputError, match="not one can be used"):
            import_events([source], folder / "out", max_bad_share=1)
        return
    report = import_events([source], folder / "out", max_bad_share=1)
    assert set(events_of(folder / "out")) == good
    assert report.events == len(good)
    assert report.events + report.duplicates + n_bad == report.rows == len(rows)
    assert report.rejected_rows == n_bad
    if n_bad:
        rejected = rejected_of(folder / "out", report)
        assert len({row["row"] for row in rejected}) == len(rejected) == n_bad


# The program
def test_the_program_tells_what_it_understood_and_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "a.csv", f"visitorid,itemid,event,what,time\nu,i,transaction,x,{T0 // 1000}\n")
    arguments = [
        str(source),
        "--out",
        str(tmp_path / "out"),
        "--as-of",
        "2016-01-01",
        "--column",
        "what=event_type",
    ]
    assert main([*arguments, "--event-type", "x=purchase", "--max-bad-share", "0"]) == 0
    text = capsys.readouterr().out
    assert "user_id     is 'visitorid' (its usual name)" in text
    assert "event_type  is 'what' (--column)" in text
    assert "timestamp   is 'time' (its usual name; seconds)" in text
    assert "'x' is purchase (--event-type)" in text
    assert "1 rows, 1 events" in text


def test_the_program_ends_with_1_and_one_message_for_bad_input(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "training.import_events", str(tmp_path / "no.csv"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == f"{tmp_path}/no.csv: there is no such file or folder\n"


@pytest.mark.parametrize(
    "wrong", [["--column", "x"], ["--as-of", "soon"], ["--max-bad-share", "2"], ["--no"]]
)
def test_the_program_ends_with_2_for_wrong_usage(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["a.csv", "--out", str(tmp_path), *wrong])
    assert ended.value.code == 2


# S3, and real events
def test_events_go_from_s3_to_s3(bucket: str, tmp_path: Path) -> None:
    folder = Folder(f"s3://{bucket}")
    folder.write("in/a.csv", (GOOD + ",,,\n").encode())
    report = import_events([f"s3://{bucket}/in"], f"s3://{bucket}/shop", max_bad_share=0.5)
    local = import_events([write(tmp_path / "a.csv", GOOD + ",,,\n")], tmp_path / "out", max_bad_share=0.5)
    shop = Folder(f"s3://{bucket}/shop")
    assert {key: shop.read(key) for key in shop.list()} == contents(tmp_path / "out")
    assert report.source == local.source
    assert read_events(Folder(f"s3://{bucket}/shop/events")).num_rows == 1
    with pytest.raises(BadInputError, match="there is no such file"):
        import_events([f"s3://{bucket}/in/b.csv"], f"s3://{bucket}/shop")
    with pytest.raises(BadInputError, match="cannot be written"):
        import_events([f"s3://{bucket}/in/a.csv"], "s3://no-such-bucket", max_bad_share=0.5)


@needs_retailrocket
def test_real_events_come_in_without_a_rejected_row(tmp_path: Path) -> None:
    report = import_checked([RETAILROCKET], tmp_path / "out")
    assert (report.rows, report.events, report.rejected_rows) == (97_381, 97_381, 0)
    assert report.event_types == {"add_to_cart": 12_456, "purchase": 9_551, "view": 75_374}
    assert (report.users, report.items) == (2_174, 29_905)
    assert datetime.fromtimestamp(report.last_ms / 1000, UTC).date().isoformat() == "2015-09-18"
    assert read_events(tmp_path / "out" / "events").num_rows == 97_381

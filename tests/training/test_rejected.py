import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.errors import BadInputError
from training.import_events import ImportReport, import_events
from training.rejected import main, read_rejected

HEADER = "user_id,item_id,event_type,timestamp\n"
GOOD = "u1,i1,view,1420070400000\n"
BAD = f"{HEADER}{GOOD},i1,view,1420070400000\nu2,,view,1420070400000\nu3,i3,view,soon\nu4\n"


def imported(
    tmp_path: Path, text: str, name: str = "shop.csv", out: str | Path | None = None
) -> ImportReport:
    path = tmp_path / name
    path.write_text(text)
    return import_events(
        [path],
        out or tmp_path / "bucket",
        max_bad_share=1,
        allow_empty_days=True,
        allow_no_targets=True,
    )


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    return capsys.readouterr().err


def test_rows_are_told_with_their_reason_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = imported(tmp_path, BAD)
    for place in (tmp_path / "bucket", tmp_path / "bucket" / str(report.rejected_file)):
        out = shown(capsys, place)
        assert f"{place}: 4 rows rejected" in out
        assert "2  missing: there is no value" in out
        assert "1  unreadable_time: the time is neither a number nor ISO 8601" in out
        table = out[out.index("\nthere is no value:") :].splitlines()[1:5]
        assert table[1].split() == ["file", "row", "field", "raw"]
        assert table[2].split()[:3] == ["shop.csv", "3", "user_id"]
        assert table[3].split()[:3] == ["shop.csv", "4", "item_id"]
        assert "shop.csv    6  line" in out


def test_lines_are_cut_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(tmp_path, f"{HEADER}{GOOD},{'long' * 50},view,1420070400000\n", f"{'name' * 10}.csv")
    for columns in (70, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        row = shown(capsys, tmp_path / "bucket").splitlines()[-1]
        assert len(row) == columns
        assert row.endswith("…")
        assert "name.csv" in row


def test_what_would_move_the_cursor_is_made_visible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(tmp_path, f"{HEADER}{GOOD}\x1b[2J\x07only one field\n")
    out = shown(capsys, tmp_path / "bucket")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "only one field" in out


def test_one_reason_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(tmp_path, BAD)
    out = shown(capsys, tmp_path / "bucket", "--reason", "unreadable_time")
    assert "2  missing" in out
    assert "\nthere is no value:" not in out
    assert "shop.csv    5  timestamp" in out
    error = refused(capsys, tmp_path / "bucket", "--reason", "too_long")
    assert "no row was rejected as 'too_long'; there are: missing, malformed_line, unreadable_time" in error


def test_a_limit_counts_rows_and_tells_how_many_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(tmp_path, HEADER + GOOD + ",i1,view,1420070400000\n" * 50 + "u,i,view,soon\n")
    place = tmp_path / "bucket"
    assert shown(capsys, place).count("shop.csv") == 20
    assert "31 rows more; --limit 51 shows all" in shown(capsys, place)
    everything = shown(capsys, place, "--limit", 51)
    assert everything.count("shop.csv") == 51
    assert "more;" not in everything
    assert "48 rows more; --limit 50 shows all" in shown(capsys, place, "--limit", 2, "--reason", "missing")
    assert shown(capsys, place, "--limit", 0).count("shop.csv") == 0


def test_sources_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = imported(tmp_path, BAD)
    two = imported(tmp_path, f"{HEADER}{GOOD}u9,i9,view,never\n", "other.csv")
    fine = imported(tmp_path, f"{HEADER}{GOOD}", "fine.csv")
    place = tmp_path / "bucket"
    out = shown(capsys, place)
    assert "5 rows rejected" in out
    assert f"4  {one.source}" in out
    assert f"1  {two.source}" in out
    only = shown(capsys, place, "--source", two.source)
    assert "1 row rejected" in only
    assert "shop.csv" not in only
    assert "no row was rejected" in shown(capsys, place, "--source", fine.source)
    assert "no row was rejected" in shown(capsys, place, "--source", fine.source, "--reason", "missing")
    error = refused(capsys, place, "--source", "import-x")
    assert "no rejected rows of 'import-x'; there are some of: " in error
    assert one.source in error


def test_a_bucket_without_rejected_rows_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(tmp_path, f"{HEADER}{GOOD}")
    assert "no row was rejected" in shown(capsys, tmp_path / "bucket")
    assert json.loads(shown(capsys, tmp_path / "bucket", "--json"))["by_reason"] == {}


def test_programs_get_rows_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = imported(tmp_path, BAD)
    printed = json.loads(shown(capsys, tmp_path / "bucket", "--json"))
    assert printed["by_reason"] == {"missing": 2, "malformed_line": 1, "unreadable_time": 1}
    assert printed["by_source"] == {report.source: 4}
    stored = pq.read_table(tmp_path / "bucket" / str(report.rejected_file)).to_pylist()
    assert printed["rows"] == [{"source": report.source, **row} for row in stored]


def test_a_bucket_in_s3_is_read(tmp_path: Path, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = imported(tmp_path, BAD, out=f"s3://{bucket}")
    for place in (f"s3://{bucket}", f"s3://{bucket}/{report.rejected_file}"):
        assert "4 rows rejected" in shown(capsys, place)
    assert report.source in refused(capsys, f"s3://{bucket}/rejected/other.parquet")
    assert "there is nothing" in refused(capsys, f"s3://{bucket}/elsewhere")
    assert "no-such-bucket-at-all" in refused(capsys, "s3://no-such-bucket-at-all")


def test_places_that_do_not_exist_are_told_with_what_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = imported(tmp_path, BAD)
    assert "there is nothing" in refused(capsys, tmp_path / "nowhere")
    error = refused(capsys, tmp_path / "bucket" / "rejected" / "import-x.parquet")
    assert f"there is no such file; beside it are: {report.source}" in error
    error = refused(capsys, tmp_path / "bucket" / str(report.rejected_file), "--source", "import-x")
    assert "is one source's file already" in error


def test_files_that_are_not_of_rejected_rows_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(BadInputError, match="isn't a file of rejected rows: expected file, row, .*found a"):
        read_rejected(str(tmp_path / "other.parquet"))
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(BadInputError, match=r"damaged.parquet: cannot be read as Parquet"):
        read_rejected(str(tmp_path / "damaged.parquet"))

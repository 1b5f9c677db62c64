import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from training.data_report.findings import Limits, findings
from training.data_report.profile import profile_events
from training.import_events import import_events
from training.moments import format_moment, parse_moment
from training.storage import Folder
from training.validate_events import main

DAY = 86_400_000
MONDAY = parse_moment("2026-01-05T00:00:00Z")

Row = tuple[str, str, str, int]


def shop(days: Iterable[int] = range(20), kinds: Iterable[str] = (VIEW, ADD_TO_CART, PURCHASE)) -> list[Row]:
    return [
        (f"user-{user}", f"item-{(user + day) % 5}", kind, MONDAY + day * DAY + user * 7_000_000 + place)
        for day in days
        for user in range(12)
        for place, kind in enumerate(kinds)
    ]


def stored(tmp_path: Path, rows: Iterable[Row], *, bad: int = 0, out: str | Path | None = None) -> str:
    lines = ["user_id,item_id,event_type,timestamp", *(",".join(map(str, row)) for row in rows)]
    lines += [f",item,view,{MONDAY}"] * bad
    path = tmp_path / "events.csv"
    path.write_text("\n".join(lines))
    import_events(
        [path],
        out or tmp_path / "bucket",
        max_bad_share=1,
        allow_empty_days=True,
        allow_no_targets=True,
    )
    return str(out or tmp_path / "bucket")


def found(root: str, limits: Limits | None = None, **options: int) -> dict[str, list[str]]:
    """Findings by severity, without a report."""
    by_severity: dict[str, list[str]] = {"stop": [], "warning": [], "note": []}
    for finding in findings(profile_events(Folder(root), **options), limits):
        by_severity[finding.severity].append(finding.text)
    return by_severity


def test_good_events_are_fit_and_have_a_report_the_same_in_a_bucket_and_in_a_folder(
    tmp_path: Path, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written = []
    for place in (tmp_path / "bucket", f"s3://{bucket}"):
        root = stored(tmp_path, shop(), bad=1, out=place)
        assert main([root, "--days", "7"]) == 0
        out = capsys.readouterr().out
        assert "2026-01-18 to 2026-01-24: events 252, users 12, items 5" in out
        assert "fit to train on" in out
        assert f"the report: {root}/data_reports/2026-01-18_2026-01-24.html" in out
        keys = list(Folder(root).list("data_reports/"))
        assert keys == [f"data_reports/2026-01-18_2026-01-24.{suffix}" for suffix in ("html", "json")]
        written.append([Folder(root).read(key) for key in keys])
    assert written[0] == written[1]


def test_what_stops_is_told_at_once_after_the_report_with_a_command_that_shows_bad_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = stored(tmp_path, shop((day for day in range(20) if day != 16), [VIEW]), bad=20)
    assert main([root, "--days", "7", "--name", "checked", "--json"]) == 1
    out, error = capsys.readouterr()
    assert f"{root}: 20 of 248 rows (8.06%) of the window's sources were rejected, at most 1.00%" in error
    assert f"{root}: 2026-01-18 to 2026-01-24: no events on 2026-01-21" in error
    assert f"{root}: 2026-01-18 to 2026-01-24: no cart and no purchase" in error
    assert error.splitlines()[-1] == f"the report: {root}/data_reports/checked.html"
    for suffix in ("html", "json"):
        assert b"no events on 2026-01-21" in Folder(root).read(f"data_reports/checked.{suffix}")
    printed = json.loads(out)
    assert printed.pop("report") == f"{root}/data_reports/checked.html"
    assert printed == json.loads(Folder(root).read("data_reports/checked.json"))
    assert printed["is_fit"] is False
    command = next(line for line in error.splitlines() if "training.rejected" in line).partition("python ")[2]
    shown = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True, check=True)
    assert "20 rows rejected" in shown.stdout


def test_a_missing_day_stops_unless_it_is_allowed(tmp_path: Path) -> None:
    root = stored(tmp_path, shop(day for day in range(20) if day != 16))
    (stop,) = found(root, days=7)["stop"]
    assert "no events on 2026-01-21" in stop
    assert "--allow-empty-days" in stop
    allowed = found(root, Limits(allow_empty_days=True), days=7)
    assert allowed["stop"] == []
    assert "No events on 2026-01-21, which is allowed" in allowed["warning"]
    assert found(root, days=3)["stop"] == []


def test_a_first_day_without_events_stops_where_the_events_began_before(tmp_path: Path) -> None:
    root = stored(tmp_path, shop(day for day in range(20) if day != 13))
    (stop,) = found(root, days=7)["stop"]
    assert "no events on 2026-01-18, though" in stop


def test_events_that_end_too_early_stop(tmp_path: Path) -> None:
    root = stored(tmp_path, shop())
    late = MONDAY + 23 * DAY
    (stop,) = found(root, as_of_ms=late, days=7)["stop"]
    assert "no events from 2026-01-25 on, the latest one is of 2026-01-24T" in stop
    assert "--as-of" in stop
    assert found(root, Limits(allow_empty_days=True), as_of_ms=late, days=7)["stop"] == []
    # A day that has only begun may be empty yet.
    assert found(root, as_of_ms=MONDAY + 20 * DAY + 5, days=7)["stop"] == []


def test_events_without_targets_stop(tmp_path: Path) -> None:
    root = stored(tmp_path, shop(kinds=[VIEW, "wish"]))
    (stop,) = found(root)["stop"]
    assert "no cart and no purchase among the events" in stop
    allowed = found(root, Limits(allow_no_targets=True))
    assert allowed["stop"] == []
    assert allowed["warning"] == ["Nothing was carted or bought, which is allowed"]


def test_targets_before_the_window_do_not_count(tmp_path: Path) -> None:
    root = stored(tmp_path, [*shop(range(10)), *shop(range(10, 20), [VIEW])])
    (stop,) = found(root, days=5)["stop"]
    assert "no cart and no purchase" in stop


def test_too_many_bad_rows_stop(tmp_path: Path) -> None:
    root = stored(tmp_path, shop(), bad=20)
    (stop,) = found(root)["stop"]
    assert stop.startswith("20 of 740 rows (2.70%) of the window's sources were rejected")
    assert stop.endswith("at most 1.00% may be: 20 missing")
    allowed = found(root, Limits(max_bad_share=0.03))
    assert allowed["stop"] == []
    assert allowed["note"][-1].startswith("20 of 740 rows")


def test_bad_rows_of_sources_outside_of_the_window_do_not_count(tmp_path: Path) -> None:
    stored(tmp_path, shop(range(5)), bad=50)
    root = stored(tmp_path, shop(range(5, 20)))
    assert found(root, days=7)["stop"] == []
    (stop,) = found(root)["stop"]
    assert "50 of" in stop


def test_drift_warns_and_stops_only_where_a_limit_is_set(tmp_path: Path) -> None:
    root = stored(tmp_path, [*shop(range(13)), *shop(range(13, 20), [PURCHASE])])
    unlimited = found(root, days=7)
    assert unlimited["stop"] == []
    assert any("The event types changed: population stability" in text for text in unlimited["warning"])
    limited = found(root, Limits(max_drift=0.5), days=7)
    assert "at most 0.5 is allowed (--max-drift)" in limited["stop"][0]
    assert limited["stop"][0] not in limited["warning"]
    assert found(root, Limits(max_drift=100), days=7)["stop"] == []


def test_all_options_reach_their_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = shop((day for day in range(20) if day != 16), [VIEW])
    root = stored(tmp_path, rows, bad=30)
    as_of = format_moment(MONDAY + 18 * DAY)
    allowed = ["--allow-empty-days", "--allow-no-targets", "--max-bad-share", "0.5", "--max-drift", "50"]
    assert main([root, "--as-of", as_of, "--days", "5", *allowed]) == 0
    assert "2026-01-18 to 2026-01-22" in capsys.readouterr().out


def test_a_window_that_cannot_be_filled_is_told(tmp_path: Path) -> None:
    assert found(stored(tmp_path, shop()))["note"][0].startswith("The window has 20 of 28 days")


def test_a_place_without_events_is_told(
    tmp_path: Path, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for root in (str(tmp_path), f"s3://{bucket}", f"s3://{bucket}/deep"):
        assert main([root]) == 1
        assert "holds no events" in capsys.readouterr().err
    assert main(["s3://no-such-bucket-at-all"]) == 1
    assert "no-such-bucket-at-all" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--as-of", "soon"], ["--max-bad-share", "2"], ["--max-drift", "0"], ["--max-drift", "much"]]
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["folder", *options])
    assert stopped.value.code == 2
    assert options[0] in capsys.readouterr().err

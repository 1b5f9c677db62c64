import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from contract.s3_layout import data_report_key, data_report_page_key
from tests.real_events import RETAILROCKET, needs_retailrocket
from tests.training.pages import Page
from training.data_report.bots import pseudonym
from training.data_report.findings import Limits, findings
from training.data_report.profile import DataProfile, profile_events
from training.data_report.report import report_document, report_page, write_data_report
from training.errors import BadInputError
from training.events import EVENTS_SCHEMA, read_events
from training.import_events import import_events
from training.moments import parse_moment
from training.shop.simulation import ShopSettings, simulate
from training.storage import Folder

DAY = 86_400_000
MONDAY = parse_moment("2026-01-05T00:00:00Z")


def profile_of(tmp_path: Path, events: pa.Table, **options: int) -> DataProfile:
    pq.write_table(events, tmp_path / "events.parquet")
    import_events(
        [tmp_path / "events.parquet"], tmp_path / "bucket", allow_empty_days=True, allow_no_targets=True
    )
    return profile_events(Folder(tmp_path / "bucket"), **options)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> DataProfile:
    events = pa.concat_tables(simulate(ShopSettings(users=300, items=60, days=56, seed=3)))
    return profile_of(tmp_path_factory.mktemp("shop"), events)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> DataProfile:
    """Ids and types that try to get out of the page, into a formula, or into a terminal; and a bot."""
    names = [
        "<script>alert(1)</script>",
        "\"'><img src=http://evil.example/x>",
        "$\\frac{",
        "{{ 7*7 }}",
        "购买",
        "\x1b[31m",
        "a\u202eb",
        "]]>&amp;",
        "x" * 256,
    ]
    rows = [
        (f"user-{name}"[:256], name, kind[:64], MONDAY + day * DAY + number)
        for day in range(6)
        for number, name in enumerate(names)
        for kind in (VIEW, PURCHASE, name)
    ]
    rows += [("<b>bot</b>", "i", VIEW, MONDAY + 5 * DAY + number * 1000) for number in range(200)]
    columns = [
        pa.array(values, field.type)
        for values, field in zip(zip(*rows, strict=True), EVENTS_SCHEMA, strict=True)
    ]
    return profile_of(tmp_path_factory.mktemp("hostile"), pa.table(columns, schema=EVENTS_SCHEMA), days=3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DataProfile:
    events = pa.table([["u"], ["i"], [ADD_TO_CART], [MONDAY + 5]], schema=EVENTS_SCHEMA)
    return profile_of(tmp_path_factory.mktemp("tiny"), events)


@pytest.fixture(scope="module")
def shop_page(shop: DataProfile) -> str:
    return report_page(shop)


@pytest.fixture(scope="module")
def hostile_page(hostile: DataProfile) -> str:
    return report_page(hostile)


@pytest.mark.parametrize("name", ["shop_page", "hostile_page"])
def test_a_page_is_well_formed_and_needs_nothing_else(name: str, request: pytest.FixtureRequest) -> None:
    text: str = request.getfixturevalue(name)
    page = Page(text)
    assert len(text.encode()) < 2_000_000
    assert not {"script", "link", "iframe", "object", "embed", "img"} & set(page.tags)
    assert all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"url\((?!#)|@import", text)
    assert len(page.ids) == len(set(page.ids))
    # Every mark that a plot refers to is one of its own.
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', text)) <= set(page.ids)
    assert page.tags.count("svg") == page.tags.count("figure") >= 3


def test_a_verdict_comes_first_and_a_table_follows_every_plot(shop_page: str) -> None:
    text = shop_page
    assert (
        text.index("These events are fit to train on, but look at 1 thing first.")
        < text.index("<svg")
        < text.index("<table", text.index("<svg"))
    )
    for part in text.split("<figure")[1:]:
        after = part[part.index("</figure>") + len("</figure>") :].lstrip()
        assert after.startswith('<div class="wide"><table>')


def test_figures_of_the_profile_are_on_the_page(shop: DataProfile, shop_page: str) -> None:
    words = Page(shop_page).words
    for figure in (shop.totals.events, shop.totals.users, shop.new_users, shop.funnels[1].viewed):
        assert f"{figure:,}" in words
    assert {"events a day", "users a day", "day (UTC)", "share of those that viewed"} <= set(words)


def test_what_came_with_the_events_is_only_text(hostile_page: str) -> None:
    text = hostile_page
    words = Page(text).words
    assert "<script>alert(1)</script>" in words
    assert "{{ 7*7 }}" in words
    assert "<script" not in text
    assert "evil.example" in text
    assert not re.search(r"<[^>]*evil\.example", text)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "购买" in words


def test_no_user_is_named(hostile: DataProfile, hostile_page: str) -> None:
    for text in (hostile_page, report_document(hostile)):
        assert "user-" not in text
        assert "bot</b>" not in text
        assert "bot&lt;/b&gt;" not in text
        assert pseudonym("<b>bot</b>") in text


def test_a_report_is_written_for_people_and_for_programs(tmp_path: Path, tiny: DataProfile) -> None:
    folder = Folder(tmp_path)
    assert write_data_report(folder, "weekly", tiny) == f"{tmp_path}/data_reports/weekly.html"
    page = folder.read(data_report_page_key("weekly")).decode()
    assert page == report_page(tiny)
    Page(page)
    document = json.loads(folder.read(data_report_key("weekly")))
    assert document["is_fit"] is True
    assert document["profile"]["totals"]["events"] == 1
    assert document["profile"]["days"][0]["day"] == "2026-01-05"


@pytest.mark.parametrize("name", ["", "..", "a/b", "../up", ".hidden", "a b", "n" * 129])
def test_a_name_that_cannot_be_that_of_a_file_is_refused(
    tmp_path: Path, tiny: DataProfile, name: str
) -> None:
    with pytest.raises(BadInputError, match="expected a name of letters"):
        write_data_report(Folder(tmp_path), name, tiny)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, tiny: DataProfile) -> None:
    (tmp_path / "data_reports").write_text("in the way")
    with pytest.raises(BadInputError, match="cannot be written"):
        write_data_report(Folder(tmp_path), "a", tiny)


def test_what_stops_a_training_is_the_headline(tiny: DataProfile) -> None:
    source = replace(tiny.sources[0], rows=1000, rejected={"missing": 30, "absurd_time": 5})
    bad = replace(tiny, sources=(source,))
    page = report_page(bad)
    assert "Don&#39;t train on these events yet: 1 thing to mend first." in page
    assert "35 of 1,000 rows (3.50%) of the window&#39;s sources were rejected, at most 1.00% may be" in page
    assert page.count("there is no value") == 1  # the reason in words
    assert "Rejected rows by reason" in page
    assert json.loads(report_document(bad))["is_fit"] is False
    assert json.loads(report_document(bad, Limits(max_bad_share=0.04)))["is_fit"] is True


def test_warnings_tell_what_to_look_at(shop: DataProfile) -> None:
    crowd = replace(shop.concentration, flagged_users=2, flagged_share=0.2, top_share=0.7)
    odd = replace(shop, concentration=crowd)
    told = [finding.text for finding in findings(odd) if finding.severity == "warning"]
    assert told[-2:] == [
        "2 bot-like users, with 20.00% of all events: a model would learn from them, too",
        "70% of all events come from the most active hundredth of the users",
    ]
    assert json.loads(report_document(odd))["is_fit"] is True


@needs_retailrocket
def test_a_real_shop_has_a_report_with_plausible_figures(tmp_path: Path) -> None:
    import_events([RETAILROCKET], tmp_path)
    profile = profile_events(Folder(tmp_path))
    events = read_events(tmp_path / "events")
    in_window = events.filter(pc.greater_equal(events["timestamp"], profile.window.start_ms))
    assert profile.totals.events == in_window.num_rows
    assert profile.totals.users == len(pc.unique(in_window["user_id"]))
    users, sessions = profile.funnels
    assert 0.5 < users.cart_rate < 0.9  # the set holds buyers only
    assert 0.1 < sessions.cart_rate < users.cart_rate
    assert {day.verdict for day in profile.days} == {"usual", "cut off"}
    assert profile.concentration.flagged_share < 0.05
    assert all(change.psi < 0.1 for change in profile.drifts)
    text = report_page(profile)
    Page(text)
    assert len(text.encode()) < 2_000_000
    assert "These events are fit to train on." in text

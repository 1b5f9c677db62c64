import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.browser import Browser, Tab, needs_chromium, running_browser
from tests.training.reports import hostile_page, profiled, shop_page
from tests.training.shops import START
from tests.training.test_model_report import SECTIONS
from training.data_report.report import report_page as data_report_page
from training.shop.simulation import ShopSettings, simulate

pytestmark = needs_chromium

DESKTOP, PHONE, PAPER = 1200, 400, 720
"""Widths in CSS pixels; the last one is that of A4 within its margins."""

TOO_WIDE = """
[...document.querySelectorAll("body *")].filter(element =>
    !element.closest(".wide, figure") && element.getClientRects().length && (
        element.getBoundingClientRect().right > innerWidth + 1 ||
        element.getBoundingClientRect().left + element.scrollWidth > innerWidth + 1
    )
).map(element => element.tagName + " " + element.textContent.trim().slice(0, 40))
"""
NOT_DRAWN = """
[...document.querySelectorAll("figure > svg")].filter(svg => {
    const box = svg.getBoundingClientRect();
    return box.width < 200 || box.height < 50 || !svg.querySelector("path") || !svg.querySelector("text");
}).length
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def tab(browser: Browser) -> Tab:
    return browser.tab()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    events = pa.concat_tables(simulate(ShopSettings(users=60, items=30, days=40, seed=3), threads=1))
    rows = [
        (user, item, kind, moment - START)
        for user, item, kind, moment in (tuple(row.values()) for row in events.to_pylist())
    ]
    texts = {
        "shop": shop_page(),
        "hostile": hostile_page(),
        "data": data_report_page(profiled(rows, folder)),
    }
    files = {name: folder / f"{name}.html" for name in texts}
    for name, file in files.items():
        file.write_text(texts[name], encoding="utf-8")
    return files


@pytest.mark.parametrize("name", ["shop", "hostile", "data"])
def test_a_page_opens_without_a_complaint_and_draws_every_plot(
    tab: Tab, pages: dict[str, Path], name: str
) -> None:
    tab.resize(DESKTOP)
    tab.open(pages[name])
    text = pages[name].read_text(encoding="utf-8")
    assert tab.evaluate("document.querySelectorAll('figure > svg').length") == text.count("<svg") > 2
    assert tab.evaluate(NOT_DRAWN) == 0
    if name != "data":
        found = tab.evaluate("[...document.querySelectorAll('section')].map(section => section.id)")
        assert found == SECTIONS
        assert tab.evaluate("[...document.querySelectorAll('section')].every(each => each.offsetHeight > 60)")
    assert tab.complaints() == []


@pytest.mark.parametrize("name", ["shop", "hostile", "data"])
@pytest.mark.parametrize(
    ("medium", "width"), [("screen", DESKTOP), ("screen", PHONE), ("print", PAPER)], ids=str
)
def test_nothing_is_wider_than_the_page(
    tab: Tab, pages: dict[str, Path], name: str, medium: str, width: int
) -> None:
    tab.resize(width)
    tab.emulate(medium)
    tab.open(pages[name])
    for opened in (False, True):
        tab.evaluate(
            f"document.querySelectorAll('details').forEach(each => each.open = {json.dumps(opened)})"
        )
        assert tab.evaluate("innerWidth") == width
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(TOO_WIDE) == []


def test_links_of_the_contents_lead_to_their_sections(tab: Tab, pages: dict[str, Path]) -> None:
    tab.resize(DESKTOP)
    tab.open(pages["shop"])
    for section in SECTIONS[1:-1]:
        tab.evaluate(f"document.querySelector('nav a[href=\"#{section}\"]').click()")
        top = tab.evaluate(f"document.getElementById('{section}').getBoundingClientRect().top")
        assert abs(top) < 2


# That these checks would notice


def control(folder: Path, body: str, policy: str = "") -> Path:
    file = folder / "control.html"
    file.write_text(f"<!DOCTYPE html><html><head>{policy}</head><body>{body}</body></html>")
    return file


def test_an_error_in_the_console_is_noticed(tab: Tab, tmp_path: Path) -> None:
    tab.open(control(tmp_path, "<script>console.error('something broke'); nowhere()</script>"))
    complaints = " ".join(tab.complaints())
    assert "something broke" in complaints
    assert "Uncaught" in complaints


def test_what_the_policy_forbids_is_noticed(tab: Tab, tmp_path: Path, pages: dict[str, Path]) -> None:
    text = pages["data"].read_text(encoding="utf-8")
    spoilt = text.replace(
        "<h1>", "<script>document.title = 'ran'</script><img src='http://shop.example/a.png'><h1>"
    )
    (tmp_path / "spoilt.html").write_text(spoilt, encoding="utf-8")
    tab.open(tmp_path / "spoilt.html")
    complaints = " ".join(tab.complaints())
    assert complaints.count("Content Security Policy") >= 2
    assert "not loaded: csp" in complaints
    assert tab.evaluate("document.title") != "ran"


def test_a_request_to_the_network_gets_nowhere_and_is_noticed(tab: Tab, tmp_path: Path) -> None:
    tab.open(control(tmp_path, "<img src='http://shop.example/a.png'>"))
    assert any("not loaded: net::ERR_" in each for each in tab.complaints())


def test_what_is_too_wide_is_noticed(tab: Tab, tmp_path: Path) -> None:
    tab.resize(PHONE)
    tab.open(control(tmp_path, "<p style='white-space: nowrap'>" + "wide " * 200 + "</p>"))
    assert tab.evaluate("document.documentElement.scrollWidth") > PHONE
    assert tab.evaluate(TOO_WIDE)


def test_a_plot_that_is_not_drawn_is_noticed(tab: Tab, tmp_path: Path) -> None:
    tab.open(control(tmp_path, "<figure><svg width='600' height='300'></svg></figure>"))
    assert tab.evaluate(NOT_DRAWN) == 1


def test_a_browser_is_gone_whatever_happens(tmp_path: Path) -> None:
    groups = []

    def use_and_fail() -> None:
        with running_browser(tmp_path) as running:
            assert running.tab().evaluate("6 * 7") == 42
            groups.append(running.group)
            assert alive(running.group)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use_and_fail()
    deadline = time.monotonic() + 20
    while remaining := alive(groups[0]):
        assert time.monotonic() < deadline, remaining
        time.sleep(0.05)


def alive(group: int) -> list[str]:
    """The processes of a group but those that only wait for somebody to ask how they ended."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    processes = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [" ".join(each) for each in processes if int(each[0]) == group and not each[1].startswith("Z")]

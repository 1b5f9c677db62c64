"""Draws the dashboards where there is no Grafana: `python -m grafana.draw --prometheus URL`.

Each panel of the generated JSON is asked for by its own queries: what is empty here is empty in Grafana.
"""

import argparse
import html
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from grafana.described import Answered, ask, boards, panels
from grafana.drawing import draw_board
from grafana.queries import Prometheus, PrometheusError, Series

STYLE = "body { font-family: sans-serif; margin: 2em } img { max-width: 100%; border: 1px solid #ddd }"


def draw(
    prometheus_url: str,
    into: Path,
    start: float,
    end: float,
    *,
    stage: str = "local",
    window: str = "1d",
    rate_interval: str = "1m",
) -> list[Answered]:
    """Draw each dashboard from `start` to `end`, seconds since 1970 UTC, and a page with all of them.

    Writes `into/index.html` and a PNG for each dashboard; returns what all panels were told. Rates are taken
    over `rate_interval`: four scrapes or more. Raises PrometheusError.
    """
    variables = {
        "stage": stage,
        "variant": ".+",
        "window": window,
        "__rate_interval": rate_interval,
        "datasource": "prometheus",
    }
    prometheus = Prometheus(prometheus_url, variables)
    into.mkdir(parents=True, exist_ok=True)
    told: list[Answered] = []
    pictures: list[tuple[str, str, str]] = []
    for name, board in boards().items():
        answered = [ask(prometheus, panel, start, end) for panel in panels(board)]
        (annotation,) = board["annotations"]["list"]
        switches = prometheus.over(annotation["expr"], annotation["titleFormat"], start, end)
        draw_board(board["title"], answered, _moments(switches, start, end), into / f"{name}.png")
        pictures.append((board["title"], board["description"], f"{name}.png"))
        told += answered
    (into / "index.html").write_text(_page(pictures, start, end))
    return told


def _moments(switches: Sequence[Series], start: float, end: float) -> dict[float, str]:
    """When a variant came to answer with another version, and with which."""
    found = {value / 1000: each.name for each in switches for _, value in each.points}
    return {moment: name for moment, name in found.items() if start <= moment <= end}


def _page(pictures: Sequence[tuple[str, str, str]], start: float, end: float) -> str:
    moments = " to ".join(
        f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC" for moment in (start, end)
    )
    shown_pictures = "\n".join(
        f'<h2 id="{file.removesuffix(".png")}">{html.escape(title)}</h2>\n'
        f'<p>{html.escape(description)}</p>\n<img src="{file}" alt="{html.escape(title)}">'
        for title, description, file in pictures
    )
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Dashboards</title>\n'
        f"<style>{STYLE}</style>\n<h1>Dashboards</h1>\n"
        f"<p>{moments}, drawn without Grafana from the same queries.</p>\n{shown_pictures}\n</html>\n"
    )


def main() -> int:
    """Draw what the arguments say."""
    parser = argparse.ArgumentParser(
        "python -m grafana.draw", description="Draw the dashboards without Grafana."
    )
    parser.add_argument("--prometheus", required=True, metavar="URL", help="where Prometheus is")
    parser.add_argument("--into", type=Path, default=Path("build/dashboards"), metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=60, help="how much to draw, up to now")
    parser.add_argument("--stage", default="local", help="the label `stage` of the series")
    arguments = parser.parse_args()
    now = time.time()
    try:
        draw(
            arguments.prometheus,
            arguments.into,
            now - 60 * arguments.minutes,
            now,
            stage=arguments.stage,
        )
    except PrometheusError as error:
        sys.stderr.write(f"draw: {error}\n")
        return 1
    sys.stdout.write(f"{arguments.into / 'index.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

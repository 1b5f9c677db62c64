"""A real pushgateway, and a real Prometheus that scrapes it, where the machine has them."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from twin.errors import MissingProgramError
from twin.processes import LOOPBACK, Server, answers, free_port

PUSHGATEWAY = ("prometheus-pushgateway", "pushgateway")
PROMETHEUS = ("prometheus",)
ALERTMANAGER = ("prometheus-alertmanager", "alertmanager")
CONFIG = Path(__file__).parents[2] / "grafana/prometheus/prometheus.yml"


def find_program(names: tuple[str, ...]) -> Path | None:
    """The first of these programs that is on PATH."""
    found = (shutil.which(name) for name in names)
    return next((Path(path) for path in found if path), None)


@contextlib.contextmanager
def running_pushgateway(*, log: Path, port: int | None = None) -> Iterator[str]:
    """The URL of an empty pushgateway. Raises MissingProgramError where there is none."""
    program = find_program(PUSHGATEWAY)
    if program is None:
        raise MissingProgramError(
            "there is no pushgateway on this machine: install the package prometheus-pushgateway "
            "(Debian: apt-get install prometheus-pushgateway)"
        )
    port = port or free_port()
    # Debian's build keeps groups in a file of the system's unless told otherwise.
    command: list[str | Path] = [
        program,
        f"--web.listen-address={LOOPBACK}:{port}",
        "--persistence.file=",
        # As it is deployed: infra/monitoring.py says why.
        "--push.disable-consistency-check",
    ]
    with Server("pushgateway", command, log=log, environment={"PATH": os.defpath}) as server:
        url = f"http://{LOOPBACK}:{port}"
        server.wait_until(lambda: answers(f"{url}/-/ready"), timeout=60)
        yield url


@contextlib.contextmanager
def running_prometheus(
    *, pushgateway_url: str, folder: Path, log: Path, port: int | None = None, interval: str | None = None
) -> Iterator[str]:
    """The URL of a Prometheus with this repository's configuration and rules, scraping the given pushgateway.

    It scrapes and works rules out every `interval`, such as `1s`; None leaves it as it is configured. Raises
    MissingProgramError where there is none.
    """
    program = find_program(PROMETHEUS)
    if program is None:
        raise MissingProgramError("there is no prometheus on this machine: install the package prometheus")
    port = port or free_port()
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    for source in (CONFIG, *CONFIG.parent.glob("rules/*.yml")):
        text = source.read_text()
        for deployed, here in (
            ('"pushgateway:9091"', f'"{pushgateway_url.removeprefix("http://")}"'),
            ('"127.0.0.1:9090"', f'"{LOOPBACK}:{port}"'),
            # There is nobody to send alerts to.
            ('"127.0.0.1:9093"', ""),
        ):
            text = text.replace(deployed, here)
        if interval is not None:
            text = re.sub(r"(interval: )\w+$", rf"\g<1>{interval}", text, flags=re.MULTILINE)
        (folder / source.relative_to(CONFIG.parent)).write_text(text)
    command: list[str | Path] = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    with Server("Prometheus", command, log=log, environment={"PATH": os.defpath}) as server:
        url = f"http://{LOOPBACK}:{port}"
        server.wait_until(lambda: answers(f"{url}/-/ready"), timeout=60)
        yield url

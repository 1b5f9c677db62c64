"""Templates of stages, made in processes of their own: side by side, and with their warnings kept apart."""

import json
import multiprocessing
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from infra.command_line import require_node
from infra.cost.deployment import Template
from infra.errors import DeployError

Settings = Mapping[str, str]


def synthesize_each(many: Sequence[Settings]) -> list[dict[str, Template]]:
    """The templates for each of several settings, by stack. Raises DeployError."""
    require_node()
    with (
        tempfile.TemporaryDirectory(prefix="cost-") as folder,
        _told_where_it_fails(Path(folder)) as log,
        # Not forked: Node, which the CDK runs on, would be shared.
        ProcessPoolExecutor(
            min(len(many), os.cpu_count() or 1),
            multiprocessing.get_context("spawn"),
            initializer=_write_errors_to,
            initargs=(log,),
        ) as pool,
    ):
        return list(pool.map(_synthesize, many, [f"{folder}/{number}" for number in range(len(many))]))


def read_templates(folder: Path) -> dict[str, Template]:
    """What `cdk synth` left in a folder, by stack."""
    suffix = ".template.json"
    return {
        path.name.removesuffix(suffix): json.loads(path.read_text())
        for path in sorted(folder.glob(f"*{suffix}"))
    }


def _synthesize(settings: Settings, folder: str) -> dict[str, Template]:
    from infra.archives import Archives  # noqa: PLC0415
    from infra.stage import synthesize  # noqa: PLC0415 - it starts Node, for which this process is

    output = Path(folder)
    synthesize(settings, output, Archives(output / "archives", make=_stand_in))
    return read_templates(output)


def _stand_in(name: str, output: Path) -> None:
    """An archive that takes no time: what is in one costs nothing."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w") as packed:
        packed.writestr(zipfile.ZipInfo("name.txt"), name)


@contextmanager
def _told_where_it_fails(folder: Path) -> Iterator[Path]:
    """A file for what the CDK writes to standard error, which is shown if anything unexpected happens."""
    log = folder / "errors.log"
    log.touch()
    try:
        yield log
    except DeployError:
        raise
    except BaseException:
        sys.stderr.write(log.read_text())
        raise


def _write_errors_to(log: Path) -> None:
    # By its number: Node inherits that, and knows nothing of Python's sys.stderr.
    with log.open("a") as opened:
        os.dup2(opened.fileno(), 2)

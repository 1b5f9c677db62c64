"""The app: `cdk deploy --all -c stage=dev`. Called by itself it synthesizes every stage, or the one given."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra.archives import Archives
from infra.command_line import require_node, settings_of
from infra.config import STAGES, Config
from infra.errors import DeployError

BUILD: Final = Path(__file__).parents[1] / "build"


def _synthesize(pairs: Sequence[str], output: Path) -> None:
    require_node()
    # Not before: the CDK starts Node as it is imported.
    from infra import stage as stages  # noqa: PLC0415

    archives = Archives(BUILD / "archives")
    if "CDK_OUTDIR" in os.environ:
        stages.synthesize_for_the_command_line(archives)
        return
    settings = settings_of(pairs)
    is_one = bool({"stage", "settings"} & set(settings))
    for stage in [Config.of(settings).stage] if is_one else STAGES:
        stages.synthesize({**settings, "stage": stage}, output / stage, archives)
        sys.stdout.write(f"{stage}: {output / stage}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Synthesize what the CDK's command line asks for, or else every stage; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.app", description=__doc__)
    parser.add_argument("-c", "--context", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--output", type=Path, default=BUILD / "stages", help="default: build/stages")
    given = parser.parse_args(arguments)
    try:
        _synthesize(given.context, given.output)
    except DeployError as error:
        sys.stderr.write(f"nothing was synthesized: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

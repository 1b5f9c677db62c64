"""What the NIST 800-53 revision 5 rules find at a stage: a report, which nothing is held to.

Many of them are about an account's policies, or want what a shop would pay for in vain. What matters here is
in the rules that every synthesis is held to.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.archives import Archives
from infra.command_line import require_node, settings_of
from infra.config import STAGES
from infra.errors import DeployError

Findings = Mapping[str, tuple[str, Sequence[str]]]
"""By rule: what it says, and the paths of the constructs that it was said of."""


def findings(settings: Mapping[str, str], archives: Archives) -> Findings:
    """What is found at the stage that these settings make. Raises DeployError."""
    # Not before somebody has looked for Node: the CDK starts it as it is imported.
    from aws_cdk import App, Validations  # noqa: PLC0415
    from cdk_nag import NIST80053R5Checks  # noqa: PLC0415

    from infra.config import Config  # noqa: PLC0415
    from infra.stage import feature_flags, populate  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="nist-") as folder:
        app = App(outdir=folder, context={**feature_flags(), **settings})
        populate(app, Config.of(settings), archives)
        Validations.of(app).add_plugins(NIST80053R5Checks(app))
        try:
            app.synth()
        except RuntimeError as error:
            # So a finding ends a synthesis; the report was written before.
            if "ValidationFailed" not in str(error):
                raise
        return _read(Path(folder) / "validation-report.json")


def _read(report: Path) -> Findings:
    found: dict[str, tuple[str, list[str]]] = defaultdict(lambda: ("", []))
    for plugin in json.loads(report.read_text())["pluginReports"]:
        for violation in plugin["violations"]:
            rule = violation["ruleName"]
            if rule.startswith("NIST"):
                paths = [construct["constructPath"] for construct in violation["violatingConstructs"]]
                found[rule] = (violation["description"], [*found[rule][1], *paths])
    return dict(sorted(found.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; the exit status, which no finding changes."""
    parser = argparse.ArgumentParser(prog="python -m infra.nist", description=__doc__)
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("-c", "--context", metavar="NAME=VALUE", action="append", default=[])
    given = parser.parse_args(arguments)
    try:
        require_node()
        archives = Archives(Path(__file__).parents[1] / "build/archives")
        found = findings({**settings_of(given.context), "stage": given.stage}, archives)
    except DeployError as error:
        sys.stderr.write(f"there is no report: {error}\n")
        return 1
    for rule, (description, paths) in found.items():
        sys.stdout.write(f"{rule}: {description}\n" + "".join(f"    {path}\n" for path in paths))
    places = sum(len(paths) for _, paths in found.values())
    sys.stdout.write(f"{given.stage}: {len(found)} rules find something, at {places} places\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

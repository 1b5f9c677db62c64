"""Whether a bucket's events are fit to train on: `python -m training.validate_events FOLDER_OR_S3_URI`.

The report is written first, so that a run that stops leaves the reason behind.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from training.data_report.findings import Finding, Limits, findings
from training.data_report.profile import DAYS, DataProfile, profile_events
from training.data_report.report import is_fit, report_document, write_data_report
from training.errors import UserError
from training.importing.options import moment, share
from training.importing.rejects import MAX_BAD_SHARE
from training.storage import Folder

_SOURCES_TOLD = 3


@dataclass(frozen=True)
class Validation:
    """What was found, and where it can be read."""

    root: str
    profile: DataProfile
    findings: tuple[Finding, ...]
    page: str
    """The URI of the report."""

    @property
    def is_fit(self) -> bool:
        """Whether a training may go on."""
        return is_fit(self.findings)

    def refuse(self) -> None:
        """Raise UserError with everything that stops a training, if anything does."""
        if self.is_fit:
            return
        stops = [f"{self.root}: {finding.text}" for finding in self.findings if finding.severity == "stop"]
        raise UserError("\n".join([*stops, *_ways_to_rejected_rows(self), f"the report: {self.page}"]))


def validate_events(
    root: Folder,
    *,
    as_of_ms: int | None = None,
    days: int = DAYS,
    name: str | None = None,
    limits: Limits | None = None,
) -> Validation:
    """Profile the events below `root` as `profile_events` does, and write the report there.

    Its name is that of the window, unless `name` gives another. Raises UserError where there is nothing to
    profile, or where nothing can be written; what was found is for `Validation.refuse` to raise.
    """
    profile = profile_events(root, as_of_ms=as_of_ms, days=days)
    name = name or f"{profile.window.first_day}_{profile.window.last_day}"
    page = write_data_report(root, name, profile, limits)
    return Validation(str(root), profile, findings(profile, limits), page)


def describe(validation: Validation) -> str:
    """What was found, for people."""
    profile, totals = validation.profile, validation.profile.totals
    lines = [
        f"{profile.window}: events {totals.events:,}, users {totals.users:,}, items {totals.items:,}",
        *(f"  {known.severity}: {known.text}" for known in validation.findings if known.severity != "stop"),
    ]
    if validation.is_fit:
        lines += ["fit to train on", f"the report: {validation.page}"]
    return "\n".join(lines)


def _ways_to_rejected_rows(validation: Validation) -> list[str]:
    """The commands that show the rows of the sources with the most rejected ones."""
    sources = sorted(validation.profile.sources, key=lambda source: -source.rejected_rows)
    return [
        f"its rejected rows: python -m training.rejected {shlex.quote(validation.root)} "
        f"--source {shlex.quote(source.name)}"
        for source in sources[:_SOURCES_TOLD]
        if source.rejected_rows
    ]


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} isn't a number above 0")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.validate_events",
        description="Report what the bucket's events look like, and stop where they can't be trained on.",
    )
    parser.add_argument(
        "root", metavar="FOLDER_OR_S3_URI", help="the bucket, or the folder, that holds events/"
    )
    parser.add_argument(
        "--as-of",
        type=moment,
        metavar="T",
        help="look at nothing later, ISO 8601 (default: the events' end)",
    )
    parser.add_argument(
        "--days", type=int, default=DAYS, metavar="N", help="the window's length (default: %(default)s)"
    )
    parser.add_argument("--name", help="the report's name (default: the window's first and last day)")
    parser.add_argument(
        "--max-bad-share",
        type=share,
        default=MAX_BAD_SHARE,
        metavar="SHARE",
        help="stop where more than this share of the sources' rows was rejected (default: %(default)s)",
    )
    parser.add_argument(
        "--max-drift",
        type=_positive,
        metavar="PSI",
        help="stop where a distribution changed by more than this (default: a large change is a warning)",
    )
    parser.add_argument("--allow-empty-days", action="store_true", help="go on where a day has no events")
    parser.add_argument(
        "--allow-no-targets", action="store_true", help="go on where nothing was carted or bought"
    )
    parser.add_argument("--json", action="store_true", help="print the report for programs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Validate, tell what was found; the exit status."""
    options = _parser().parse_args(arguments)
    limits = Limits(
        max_bad_share=options.max_bad_share,
        allow_empty_days=options.allow_empty_days,
        allow_no_targets=options.allow_no_targets,
        max_drift=options.max_drift,
    )
    try:
        validation = validate_events(
            Folder(options.root), as_of_ms=options.as_of, days=options.days, name=options.name, limits=limits
        )
        if options.json:
            document = json.loads(report_document(validation.profile, limits))
            text = json.dumps({"report": validation.page, **document}, indent=2)
        else:
            text = describe(validation)
        sys.stdout.write(f"{text}\n")
        validation.refuse()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

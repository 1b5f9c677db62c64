"""A profile of events as a file for programs and a page for people, below `data_reports/`."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Final

from contract.s3_layout import data_report_key, data_report_page_key
from training.data_report.bots import BotRules
from training.data_report.drift import LARGE_DRIFT, SOME_DRIFT
from training.data_report.findings import Finding, Limits, findings, in_words, rejected_by_reason
from training.data_report.plots import change_plot, days_plot, funnel_plot, rejected_plot
from training.data_report.profile import DataProfile
from training.errors import BadInputError
from training.importing.rows import REASONS
from training.pages import environment
from training.storage import Folder

_SCHEMA_VERSION: Final = 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TEMPLATE: Final = "report.html"
_SOURCES_TOLD: Final = 50


def write_data_report(out: Folder, name: str, profile: DataProfile, limits: Limits | None = None) -> str:
    """Write `data_reports/<name>.json` and `.html`, and give the URI of the page.

    The verdict follows from `limits`. The same profile gives the same bytes. Raises BadInputError where the
    name can't be that of a file, or where nothing can be written.
    """
    if not _NAME.fullmatch(name):
        raise BadInputError(f"{name!r}: expected a name of letters, digits, dots, dashes and underscores")
    try:
        out.write(data_report_key(name), report_document(profile, limits).encode())
        out.write(data_report_page_key(name), report_page(profile, limits).encode())
    except OSError as error:
        raise BadInputError(f"{out}: cannot be written: {error}") from error
    return out.uri_of(data_report_page_key(name))


def report_document(profile: DataProfile, limits: Limits | None = None) -> str:
    """The report for programs: JSON with `findings` and `profile`."""
    found = findings(profile, limits)
    content = {
        "schema_version": _SCHEMA_VERSION,
        "is_fit": is_fit(found),
        "findings": [asdict(finding) for finding in found],
        "profile": asdict(profile),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, default=str)


def report_page(profile: DataProfile, limits: Limits | None = None) -> str:
    """The report for people: one HTML page that needs nothing else."""
    found = findings(profile, limits)
    rejected = rejected_by_reason(profile)
    by_rejected = sorted(profile.sources, key=lambda source: (-source.rejected_rows, source.name))
    return (
        environment(Path(__file__).parent)
        .get_template(_TEMPLATE)
        .render(
            profile=profile,
            headline=_headline(found),
            findings=found,
            rejected=rejected,
            rows=sum(source.rows for source in profile.sources),
            reasons=REASONS,
            sources=by_rejected[:_SOURCES_TOLD],
            more_sources=len(by_rejected[_SOURCES_TOLD:]),
            rules=BotRules(),
            some_drift=SOME_DRIFT,
            large_drift=LARGE_DRIFT,
            days_plot=days_plot(profile),
            funnel_plot=funnel_plot(profile.funnels),
            rejected_plot=rejected_plot(rejected) if rejected else None,
            changes=[
                (change, in_words(change), change_plot(change, f"change-{number}"))
                for number, change in enumerate(profile.drifts)
            ],
        )
    )


def is_fit(found: tuple[Finding, ...]) -> bool:
    """Whether nothing of it stops a run."""
    return not any(finding.severity == "stop" for finding in found)


def _headline(found: tuple[Finding, ...]) -> str:
    stops = sum(finding.severity == "stop" for finding in found)
    warnings = sum(finding.severity == "warning" for finding in found)
    if stops:
        return f"Don't train on these events yet: {_things(stops)} to mend first."
    if warnings:
        return f"These events are fit to train on, but look at {_things(warnings)} first."
    return "These events are fit to train on."


def _things(count: int) -> str:
    return "1 thing" if count == 1 else f"{count} things"

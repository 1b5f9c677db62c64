"""The versions of the recommendations: `python -m training.versions list|show|verify|load|rollback|drop`."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from tqdm import tqdm

from contract.metrics import LOAD_LISTS, LOAD_SECONDS, LOAD_VERSION_AS_OF
from contract.recommendations import CANARY_VARIANT, DEFAULT_VARIANT, ListKind, lists_counts
from training.commands import Told, add_database, add_setting, aligned, run
from training.loader import LoadReport, load_version
from training.publish import read_lists, read_manifest
from training.retirement import RetireReport, drop_version, retire_versions
from training.serving import (
    Move,
    VersionDetails,
    VersionInfo,
    end_variant,
    list_versions,
    rollback,
    set_share,
    show_version,
)
from training.storage import Folder

PUSH_JOB: Final = "load"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command says, tell about it; the exit status."""
    return run(_parser(), arguments)


def _list(options: argparse.Namespace) -> Told:
    infos = list_versions(options.database_url)
    return [_summary(info) for info in infos], _table(infos)


def _show(options: argparse.Namespace) -> Told:
    details = show_version(options.database_url, options.version)
    served = [{"variant": variant, "moved_at": moved_at} for variant, moved_at in details.served]
    document = _summary(details.info) | {
        "table_bytes": details.table_bytes,
        "served": served,
        "manifest": details.info.manifest,
    }
    return document, _details(details)


def _verify(options: argparse.Namespace) -> Told:
    folder = Folder(options.recommendations)
    manifest = read_manifest(folder, options.version)
    rows = sum(batch.num_rows for batch in read_lists(folder, manifest))
    document = {"version": manifest.version, "files": len(manifest.files), "lists": rows}
    return document, f"{manifest.version} is whole: {rows:,} lists in {len(manifest.files):,} files"


def _load(options: argparse.Namespace) -> Told:
    report = _loaded(options)
    gateway = os.environ.get("PUSHGATEWAY_URL")
    if gateway:
        push_load(gateway, report)
    text = _load_text(report)
    retired = None
    if options.keep is not None:
        retired = retire_versions(options.database_url, options.keep, wait=options.wait)
        text = f"{text}\n{_retired_text(retired)}"
    return asdict(report) | {"retired": asdict(retired) if retired else None}, text


def _loaded(options: argparse.Namespace) -> LoadReport:
    with tqdm(desc="loading", unit=" lists", unit_scale=True, disable=None, leave=False) as progress:
        return load_version(
            options.database_url,
            Folder(options.recommendations),
            options.version,
            variant=options.variant,
            activate=options.activate,
            wait=options.wait,
            events=Folder(options.events) if options.events else None,
            on_lists=progress.update,
        )


def _rollback(options: argparse.Namespace) -> Told:
    move = rollback(options.database_url, options.version, options.variant)
    return asdict(move) | {"moved": move.moved}, _move_text(move)


def _share(options: argparse.Namespace) -> Told:
    return _shares(set_share(options.database_url, options.variant, options.share))


def _end(options: argparse.Namespace) -> Told:
    return _shares(end_variant(options.database_url, options.variant))


def _shares(shares: dict[str, float]) -> Told:
    total = sum(share for variant, share in shares.items() if variant != CANARY_VARIANT)
    rows = [
        (variant, f"{share:g}", "-" if variant == CANARY_VARIANT else f"{share / total:.1%}")
        for variant, share in shares.items()
    ]
    return {"shares": shares}, aligned([("VARIANT", "SHARE", "OF THE VISITORS"), *rows])


def _drop(options: argparse.Namespace) -> Told:
    report = drop_version(options.database_url, options.version, wait=options.wait)
    return asdict(report), _retired_text(report)


def push_load(gateway_url: str, report: LoadReport) -> None:
    """Push what a load did to the pushgateway; a gateway that is down delays or fails nothing."""
    # Only where a gateway is set: the other commands need neither of them.
    import structlog  # noqa: PLC0415

    from training.metrics import push_gauges  # noqa: PLC0415

    # Standard output belongs to --json.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    push_gauges(
        gateway_url,
        PUSH_JOB,
        [
            (LOAD_SECONDS, {}, report.seconds),
            (LOAD_VERSION_AS_OF, {}, datetime.fromisoformat(report.as_of).timestamp()),
            *((LOAD_LISTS, {"kind": kind}, count) for kind, count in report.lists.items()),
        ],
    )


def _summary(info: VersionInfo) -> dict[str, Any]:
    return {
        "version": info.name,
        "number": info.number,
        "state": info.state,
        "variants": info.variants,
        "as_of": info.manifest.get("as_of"),
        "counts": info.manifest.get("counts"),
        "changed_at": info.changed_at,
    }


def _table(infos: Sequence[VersionInfo]) -> str:
    if not infos:
        return "there are no versions in the database"
    head = ("VERSION", "NUMBER", "STATE", "SERVED AS", "KNOWS UP TO", "PERSONAL LISTS", "SINCE")
    return aligned([head, *map(_row, infos)])


def _row(info: VersionInfo) -> tuple[str, ...]:
    counts = lists_counts(info.manifest.get("counts", {}))
    return (
        info.name,
        str(info.number),
        info.state,
        ", ".join(info.variants) or "-",
        str(info.manifest.get("as_of", "-")),
        f"{counts[ListKind.PERSONAL]:,}",
        f"{info.changed_at:%Y-%m-%d %H:%M:%S%z}",
    )


def _details(details: VersionDetails) -> str:
    info, manifest = details.info, details.info.manifest
    window = manifest.get("training_window", {})
    lines = [
        ("version", info.name),
        ("number", str(info.number)),
        ("state", f"{info.state} since {info.changed_at:%Y-%m-%d %H:%M:%S%z}"),
        ("served as", ", ".join(info.variants) or "-"),
        ("knows up to", str(manifest.get("as_of", "-"))),
        ("trained on", f"{window.get('from', '-')} to {window.get('to', '-')}"),
        ("code", str(manifest.get("code_version", "-"))),
        ("in Postgres", f"{details.table_bytes / 1e6:,.1f} MB"),
        *((f"{name}", f"{count:,}") for name, count in manifest.get("counts", {}).items()),
        *((f"mlflow {name}", str(value)) for name, value in manifest.get("mlflow", {}).items()),
    ]
    lines += [(f"{moment:%Y-%m-%d %H:%M:%S%z}", f"became {variant}") for variant, moment in details.served]
    return "\n\n".join(filter(None, [aligned(lines), _quality(manifest.get("metrics", {}))]))


def _quality(metrics: dict[str, Any]) -> str:
    """One line a protocol and model, with every figure that the training noted."""
    rows = [
        (protocol, model, *(f"{name} {value:,.4g}" for name, value in sorted(figures.items())))
        for protocol, models in metrics.items()
        for model, figures in models.items()
    ]
    width = max(map(len, rows), default=0)
    return aligned([row + ("",) * (width - len(row)) for row in rows])


def _load_text(report: LoadReport) -> str:
    lists = ", ".join(f"{count:,} {kind}" for kind, count in report.lists.items())
    if report.reused:
        lines = [f"{report.version} was loaded before: {lists} lists"]
    else:
        lines = [f"loaded {report.version}: {lists} lists in {report.seconds:.1f} s"]
    if report.move:
        lines.append(_move_text(report.move))
    return "\n".join([*lines, *_pending_text(report.pending)])


def _move_text(move: Move) -> str:
    if not move.moved:
        return f"{move.variant} serves {move.version}, as before"
    return f"{move.variant} serves {move.version}; before: {move.previous or 'nothing'}"


def _retired_text(report: RetireReport) -> str:
    dropped = ", ".join(report.dropped) or "nothing"
    return "\n".join([f"dropped: {dropped}", *_pending_text(report.pending)])


def _pending_text(pending: Iterable[str]) -> list[str]:
    return [f"{name} is still read by somebody; the next load or drop removes it" for name in pending]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.versions", description="The versions of the recommendations."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "list", _list, "what versions Postgres holds, and which of them are served")
    command = _command(commands, "show", _show, "all about one version that Postgres holds")
    command.add_argument("version", metavar="VERSION")
    command = _command(commands, "verify", _verify, "check a published version's files", database=False)
    command.add_argument("version", metavar="VERSION")
    _add_recommendations(command)
    _add_load(commands)
    command = _command(commands, "rollback", _rollback, "move to a version, or back to the one before")
    command.add_argument("version", metavar="VERSION", nargs="?", help="default: what was served before")
    _add_variant(command)
    command = _command(commands, "share", _share, "set how large a variant's part of the visitors is")
    command.add_argument("variant", metavar="VARIANT")
    command.add_argument("share", metavar="SHARE", type=float, help="from 0 to 1, relative to the sum of all")
    command = _command(
        commands, "end", _end, "serve a variant no more; its version stays until it is dropped"
    )
    command.add_argument("variant", metavar="VARIANT")
    command = _command(commands, "drop", _drop, "remove a version from Postgres that isn't served")
    command.add_argument("version", metavar="VERSION")
    _add_wait(command)
    return parser


def _add_load(commands: Any) -> None:
    command = _command(commands, "load", _load, "load a published version and make it live")
    command.add_argument("version", metavar="VERSION")
    _add_recommendations(command)
    _add_variant(command)
    _add_wait(command)
    command.add_argument(
        "--events",
        default=os.environ.get("EVENTS_URI") or None,
        metavar="URI",
        help="the bucket, or a folder, that tells which users were deleted (default: EVENTS_URI)",
    )
    command.add_argument(
        "--no-activate", dest="activate", action="store_false", help="load it, leave live what is live"
    )
    command.add_argument(
        "--keep",
        type=_positive,
        metavar="N",
        help="afterwards drop all but the newest N versions and those that are served",
    )


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], Told],
    told: str,
    *,
    database: bool = True,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=told, description=told)
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="a document instead of text")
    if database:
        add_database(command)
    return command


def _add_recommendations(command: argparse.ArgumentParser) -> None:
    add_setting(
        command,
        "--recommendations",
        "RECOMMENDATIONS_URI",
        "where versions are published: s3://bucket, or a folder",
    )


def _add_variant(command: argparse.ArgumentParser) -> None:
    command.add_argument("--variant", default=DEFAULT_VARIANT, help="who is served (default: %(default)s)")


def _add_wait(command: argparse.ArgumentParser) -> None:
    command.add_argument("--wait", action="store_true", help="wait while another loads or drops")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} isn't 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())

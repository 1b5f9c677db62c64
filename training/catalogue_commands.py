"""What `python -m training.catalogue` does with the words behind it."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow.compute as pc

from training.catalogue import CatalogueInfo, list_catalogues, read_catalogue
from training.catalogue_loader import CatalogueLoad, load_catalogue
from training.commands import Told, add_database, add_setting, aligned, run
from training.importing.catalogue import describe_catalogue, import_catalogue
from training.importing.options import add_reading_options, moment
from training.importing.understood import describe_understood
from training.storage import Folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command says, tell about it; the exit status."""
    return run(_parser(), arguments)


def _import(options: argparse.Namespace) -> Told:
    report = import_catalogue(
        options.sources,
        options.catalogue,
        as_of_ms=options.as_of,
        columns=dict(options.column),
        file_format=options.format,
        max_bad_share=options.max_bad_share,
    )
    understood = describe_understood(report.understood)
    return asdict(report), "\n".join([*understood, describe_catalogue(report)])


def _list(options: argparse.Namespace) -> Told:
    infos = list_catalogues(Folder(options.catalogue))
    return [_summary(info) for info in infos], _table(infos) if infos else "there are no catalogues"


def _show(options: argparse.Namespace) -> Told:
    catalogue = read_catalogue(Folder(options.catalogue), options.version)
    items = catalogue.items
    counts = {
        "available": pc.sum(items["available"]).as_py() or 0,
        "with_category": len(items) - items["category_id"].null_count,
    }
    document = _summary(catalogue.info) | counts
    lines = [
        f"version      {catalogue.info.version}",
        f"tells of     {catalogue.info.as_of}",
        f"items        {len(items):,}",
        f"available    {counts['available']:,}",
        f"in category  {counts['with_category']:,}",
        f"categories   {len(catalogue.categories):,} in the tree",
        f"columns      {', '.join(f'{column.name} ({column.type})' for column in items.schema)}",
    ]
    return document, "\n".join(lines)


def _load(options: argparse.Namespace) -> Told:
    load = load_catalogue(
        options.database_url, Folder(options.catalogue), options.version, force=options.force
    )
    return asdict(load), _load_text(load)


def _summary(info: CatalogueInfo) -> dict[str, Any]:
    return {
        "version": info.version,
        "as_of": info.as_of,
        "items": info.items.rows,
        "categories": info.categories.rows,
        "columns": list(info.columns),
    }


def _table(infos: Sequence[CatalogueInfo]) -> str:
    head = ("VERSION", "TELLS OF", "ITEMS", "CATEGORIES")
    rows = [
        head,
        *((info.version, info.as_of, f"{info.items.rows:,}", f"{info.categories.rows:,}") for info in infos),
    ]
    return aligned(rows)


def _load_text(load: CatalogueLoad) -> str:
    if load.reused:
        return f"{load.version} is what was loaded last: nothing to do"
    lines = [
        f"loaded {load.version}; before: {load.previous or 'nothing'}",
        f"  {load.items:,} items and {load.categories:,} categories",
        f"  {load.written:,} items are new or have changed, {load.deleted:,} are gone",
    ]
    if load.left_alone:
        lines.append(f"  {load.left_alone:,} left alone, because the shop changed them after {load.as_of}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.catalogue", description="What the shop sells: the catalogue's versions."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = _command(commands, "import", _import, "files of items and categories into a new version")
    command.add_argument("sources", nargs="+", metavar="SOURCE", help="a file or folder, local or s3://…")
    command.add_argument(
        "--as-of", required=True, type=moment, metavar="T", help="the moment it tells of (ISO 8601)"
    )
    add_reading_options(command)
    _command(commands, "list", _list, "the versions in the bucket")
    command = _command(commands, "show", _show, "all about one version; its files are checked")
    command.add_argument("version", metavar="VERSION")
    command = _command(commands, "load", _load, "bring a version into Postgres, where answers use it")
    command.add_argument("version", metavar="VERSION", nargs="?", help="default: the latest")
    command.add_argument(
        "--force", action="store_true", help="even where it tells of an earlier moment than what was loaded"
    )
    add_database(command)
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], Told], told: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=told, description=told)
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="a document instead of text")
    add_setting(command, "--catalogue", "EVENTS_URI", "the bucket, or the folder, that holds catalogue/")
    return command

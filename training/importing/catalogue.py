"""What the shop sells, from files into a new version of the catalogue."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contract.s3_layout import rejected_key
from training.catalogue import CatalogueInfo, write_catalogue
from training.errors import BadInputError
from training.importing.catalogue_intake import CatalogueIntake
from training.importing.catalogue_rows import ITEM_COLUMNS
from training.importing.columns import check_explicit
from training.importing.rejects import MAX_BAD_SHARE, Rejects, check_share, listed, show_rejected
from training.importing.roles import ImportFormat, Role, Taken, no_items, of_role, take_files
from training.importing.rows import REASONS
from training.importing.sorting import MEMORY_LIMIT
from training.importing.sources import content_hash
from training.importing.understood import Understood, understand
from training.moments import format_moment
from training.storage import Folder

_TOLD: Final = 5
_COLUMNS_TOLD: Final = 20


@dataclass(frozen=True)
class CatalogueReport:
    """What became of a catalogue's files.

    `rows` is the sum of those that were kept, replaced, passed over, late and rejected.
    """

    out: str
    info: CatalogueInfo
    understood: tuple[Understood, ...]
    rows: int
    kept: int
    """Rows that items and categories were made of."""
    replaced: int
    """Rows of the same item, property or category as a later one."""
    passed_over: int
    """Rows of properties other than an item's category and availability."""
    late: int
    """Rows of properties of later than the catalogue's moment."""
    rejected: Mapping[str, int]
    """Rows by reason, see `importing.rows.REASONS`."""
    rejected_file: str | None
    available: int
    """Items that can be bought."""
    with_category: int
    unknown_parents: tuple[str, ...]
    """Parents of categories that are no categories themselves."""
    moved: tuple[str, ...]
    """Categories that were found below different parents."""
    levels: tuple[str, ...]
    """The columns of items that the tree was read from, the top one first."""

    @property
    def rejected_rows(self) -> int:
        """How many rows were set aside."""
        return sum(self.rejected.values())


def import_catalogue(
    sources: Sequence[str | Path],
    out: str | Path | Folder,
    *,
    as_of_ms: int,
    columns: Mapping[str, str] | None = None,
    file_format: ImportFormat = "auto",
    max_bad_share: float = MAX_BAD_SHARE,
    memory_limit: str = MEMORY_LIMIT,
) -> CatalogueReport:
    """Import files, or folders of files, as the catalogue of a moment (UTC ms) into the bucket or folder.

    `columns` lead from their names to ours and win over the usual names.

    Raises BadInputError where a source can't be used, or where more than `max_bad_share` of all rows are
    bad; no version is written then.
    """
    columns = dict(columns or {})
    check_explicit(columns, {})
    check_share(max_bad_share)
    folder = out if isinstance(out, Folder) else Folder(out)
    taken = take_files([], sources, columns, file_format)
    if not has_catalogue(taken):
        raise no_items(taken)
    return import_taken(
        folder,
        taken,
        as_of_ms=as_of_ms,
        columns=columns,
        max_bad_share=max_bad_share,
        memory_limit=memory_limit,
    )


def has_catalogue(taken: Sequence[Taken]) -> bool:
    """Whether any of the files tells something of items or categories."""
    return bool(_of_catalogue(taken))


def import_taken(
    folder: Folder,
    taken: Sequence[Taken],
    *,
    as_of_ms: int,
    columns: Mapping[str, str],
    max_bad_share: float = MAX_BAD_SHARE,
    memory_limit: str = MEMORY_LIMIT,
) -> CatalogueReport:
    """As `importing.catalogue`, with files whose roles are known; those of users are left alone."""
    with tempfile.TemporaryDirectory(prefix="catalogue-") as temporary:
        rejects = Rejects(Path(temporary) / "rejected.parquet")
        intake = CatalogueIntake(_of_catalogue(taken), as_of_ms, rejects)
        source = _source_name(intake)
        intake.read_trees()
        try:
            with intake.sorted_items(Path(temporary), memory_limit) as items:
                rejected_file = rejects.store(folder, source)
                rejects.refuse_too_many(
                    intake.names, intake.rows, max_bad_share, folder.uri_of(rejected_key(source))
                )
                _refuse_nothing(intake)
                intake.tree.refuse_cycle(intake.names)
                info = write_catalogue(folder, items, intake.schema, intake.tree.table(), as_of_ms)
        except OSError as error:
            raise BadInputError(f"{folder}: cannot be written: {error}") from error
    return _report(folder, intake, info, rejected_file, understand(intake.taken, columns))


def describe_catalogue(report: CatalogueReport) -> str:
    """The report for people, without what was taken for what."""
    info = report.info
    lines = [
        f"{report.rows:,} rows of the catalogue, {info.items.rows:,} items as of {info.as_of}:",
        f"  {report.available:,} are available, {report.with_category:,} have a category",
        f"  {info.categories.rows:,} categories in the tree",
        f"  {report.replaced:,} rows replaced by a later one of the same item, property or category",
        f"  {report.rejected_rows:,} rejected",
    ]
    lines += [f"    {count:,} {reason}: {REASONS[reason]}" for reason, count in report.rejected.items()]
    if report.rejected_file:
        lines.append(f"  the rejected rows: {show_rejected(f'{report.out}/{report.rejected_file}')}")
    if others := info.columns[len(ITEM_COLUMNS) :]:
        lines.append(f"  kept beside: {listed(list(map(repr, others)), most=_COLUMNS_TOLD)}")
    if report.passed_over:
        lines.append(f"  {report.passed_over:,} rows of other properties left out: no use is made of them")
    if report.late:
        lines.append(f"  {report.late:,} rows left out, because they tell of later")
    if report.levels:
        lines.append(f"  the tree comes from the items' own columns: {' > '.join(report.levels)}")
    if report.moved:
        told = listed([repr(name) for name in report.moved], most=_TOLD)
        lines.append(
            f"  {len(report.moved):,} categories stand below more than one parent, and keep one: {told}"
        )
    if report.unknown_parents:
        told = listed([repr(name) for name in report.unknown_parents], most=_TOLD)
        lines.append(f"  {len(report.unknown_parents):,} parents are no categories of the tree: {told}")
    lines.append(f"catalogue {info.version}: python -m training.catalogue load {info.version}")
    return "\n".join(lines)


def _of_catalogue(taken: Sequence[Taken]) -> list[Taken]:
    return of_role(taken, Role.ITEMS, Role.PROPERTIES, Role.TREE)


def _refuse_nothing(intake: CatalogueIntake) -> None:
    # Loading a catalogue without items would empty the shop.
    if not intake.usable:
        late = f" ({intake.late:,} rows tell of later)" if intake.late else ""
        raise BadInputError(f"{intake.names}: not one item as of {format_moment(intake.as_of_ms)}{late}")


def _source_name(intake: CatalogueIntake) -> str:
    """A name that stands for what is read and how; of the file of its rejected rows."""
    files = sorted((content_hash(file.opened.file), dict(file.columns)) for file in intake.taken)
    digest = hashlib.sha256(json.dumps([files, intake.as_of_ms], sort_keys=True).encode())
    return f"catalogue-{digest.hexdigest()[:16]}"


def _report(
    folder: Folder,
    intake: CatalogueIntake,
    info: CatalogueInfo,
    rejected_file: str | None,
    understood: tuple[Understood, ...],
) -> CatalogueReport:
    rejected = intake.rejects.by_reason()
    tree = intake.tree
    return CatalogueReport(
        out=str(folder),
        info=info,
        understood=understood,
        rows=intake.rows,
        kept=intake.kept + tree.rows - tree.replaced,
        replaced=intake.usable - intake.kept + tree.replaced,
        passed_over=intake.passed_over,
        late=intake.late,
        rejected=rejected,
        rejected_file=rejected_file,
        available=intake.available,
        with_category=intake.with_category,
        unknown_parents=tuple(tree.unknown_parents()),
        moved=tuple(sorted(tree.moved)),
        levels=intake.names_of_levels,
    )

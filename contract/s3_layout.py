"""Every key in S3, as functions; what is written by one deployable is found by another.

```
events/dt=2015-09-18/<source>.parquet      events of that day
events/manifests/<source>.json             which of these files belong to <source>: readers read only them
events/deleted_users.json                  whose events readers pass over, see `contract/tombstones.py`
events/deletions.json                      since when no file holds them any more
rejected/<source>.parquet                  rows that broke the contract, with the reason
backfill/                                  history that people put there, to be imported
catalogue/<version>/manifest.json          written last
catalogue/<version>/items.parquet
catalogue/<version>/categories.parquet
data_reports/<name>.json                   what the events look like; for people <name>.html
gates/<version>.json                       what the gate said about it, let it pass or not
model_reports/<version>.html               how good it is, for whom and why: for people
recommendations/<version>/manifest.json    written last
recommendations/<version>/lists-00000.parquet
recommendations/<version>/ranker.json      what ranked the lists, for explanations
```

A file from which deleted users were taken has 16 letters more in its name, `<source>.<digest>.parquet` or
`lists-00000.<digest>.parquet`: manifests tell which one counts.
"""

from typing import Final

EVENTS_PREFIX: Final = "events/"
EVENTS_MANIFESTS_PREFIX: Final = "events/manifests/"
TOMBSTONES_KEY: Final = "events/deleted_users.json"
"""Below `events/`, so that the training's channel of events holds it."""
DELETIONS_KEY: Final = "events/deletions.json"
"""When each deletion reached the files, see `training/forgetting/record.py`."""
REJECTED_PREFIX: Final = "rejected/"
BACKFILL_PREFIX: Final = "backfill/"
"""Copies of what the shop keeps: they expire."""
CATALOGUE_PREFIX: Final = "catalogue/"
DATA_REPORTS_PREFIX: Final = "data_reports/"
GATES_PREFIX: Final = "gates/"
MODEL_REPORTS_PREFIX: Final = "model_reports/"
MODEL_REPORT_NAME: Final = "report.html"
"""Beside the model, and in MLflow."""
RECOMMENDATIONS_PREFIX: Final = "recommendations/"
MANIFEST_NAME: Final = "manifest.json"


def events_partition(day: str) -> str:
    """The folder of one day's events, day as YYYY-MM-DD (UTC)."""
    return f"{EVENTS_PREFIX}dt={day}/"


def events_key(day: str, source: str) -> str:
    """The file that `source` (an import, an export) wrote for one day."""
    return f"{events_partition(day)}{source}.parquet"


def events_manifest_key(source: str) -> str:
    """The list of all files of `source`; written after them."""
    return f"{EVENTS_MANIFESTS_PREFIX}{source}.json"


def rewritten_name(name: str, digest: str) -> str:
    """What a file, given by its name or key, is called when its content has changed to that of `digest`."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}.{digest[:16]}.parquet"


def source_of(key: str) -> str:
    """The source that a file of events, rewritten or not, belongs to."""
    return key.rpartition("/")[2].partition(".")[0]


def rejected_key(source: str) -> str:
    """The rows of `source` that were set aside."""
    return f"{REJECTED_PREFIX}{source}.parquet"


def catalogue_prefix(version: str) -> str:
    """The folder of one version of the catalogue."""
    return f"{CATALOGUE_PREFIX}{version}/"


def catalogue_items_key(version: str) -> str:
    """The items of one version of the catalogue."""
    return f"{catalogue_prefix(version)}items.parquet"


def catalogue_categories_key(version: str) -> str:
    """The category tree of one version of the catalogue."""
    return f"{catalogue_prefix(version)}categories.parquet"


def catalogue_manifest_key(version: str) -> str:
    """The manifest of one version of the catalogue; written last."""
    return f"{catalogue_prefix(version)}{MANIFEST_NAME}"


def data_report_key(name: str) -> str:
    """What the events look like, for programs."""
    return f"{DATA_REPORTS_PREFIX}{name}.json"


def data_report_page_key(name: str) -> str:
    """The same for people."""
    return f"{DATA_REPORTS_PREFIX}{name}.html"


def gate_key(version: str) -> str:
    """What the gate said about a version; apart from it, because not every version is published."""
    return f"{GATES_PREFIX}{version}.json"


def model_report_key(version: str) -> str:
    """How good a version is, for people; for every version that the gate was asked about."""
    return f"{MODEL_REPORTS_PREFIX}{version}.html"


def version_prefix(version: str) -> str:
    """The folder of a version."""
    return f"{RECOMMENDATIONS_PREFIX}{version}/"


def lists_name(part: int) -> str:
    """The name, within a version's folder, of one of its Parquet files."""
    return f"lists-{part:05d}.parquet"


def ranker_key(version: str) -> str:
    """What ranked the lists of a version; no manifest lists it, and no answer needs it."""
    return f"{version_prefix(version)}ranker.json"


def manifest_key(version: str) -> str:
    """The manifest of a version."""
    return f"{version_prefix(version)}{MANIFEST_NAME}"

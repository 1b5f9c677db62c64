"""A version of the recommendations: its lists, its Postgres tables, its manifest.

A version is a folder in S3: Parquet files of lists, and a manifest that names each of them with its
checksum. The manifest is written last: a folder without one is no version.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from contract.blending import BlendWeights, BlendWeightsError

MANIFEST_SCHEMA_VERSION: Final = 1


class ListKind(StrEnum):
    """What a stored list is; with its key it is unique within a version."""

    PERSONAL = "personal"
    """Key: a user. Items ranked for them by the training."""
    HISTORY = "history"
    """Key: a user. Their latest events that the training knew, newest first; no scores."""
    SIMILAR = "similar"
    """Key: an item. Items that the same people turn to."""
    BOUGHT_TOGETHER = "bought_together"
    """Key: an item. Items that go into one basket with it."""
    POPULAR = "popular"
    """Key: a category, or `EVERYTHING`."""
    TRENDING = "trending"
    """Key: a window and a category, by `trending_key`. Items by their carts and purchases in that time."""


TRENDING_WINDOWS: Final = {"1d": 1, "7d": 7, "30d": 30}
"""How many days before the training's `as_of` each window of `TRENDING` lists begins."""

EVERYTHING: Final = ""
"""The key of the popular list over all categories."""

LIST_COLUMNS: Final = ("kind", "key", "item_ids", "scores", "event_types", "timestamps")
"""Of the Parquet files: string, string, list<string>, list<float32>, list<string>, list<int64>.

`item_ids` is ordered, best (or newest) first. `scores` is null in a history; `event_types` and
`timestamps` (UTC ms) are null in every other list.
"""

LISTS_TABLE: Final = "recommendations"
"""Partitioned by `version`, then the columns of `LIST_COLUMNS`; primary key (version, key, kind)."""
VERSIONS_TABLE: Final = "versions"
"""One row a version that was ever loaded: number, name, state, manifest."""
SERVING_TABLE: Final = "serving"
"""One row a variant: the version that answers. Moving it is what makes a version live."""
EVENTS_TABLE: Final = "events"
"""What was posted to the API; partitioned by `received_on`, the day of receipt (UTC)."""
EXPORTS_TABLE: Final = "event_exports"
"""Which of them were exported: ranges of transactions, planned before and marked after."""
DELETED_USERS_TABLE: Final = "deleted_users"
"""Whom to forget, as `contract.tombstones` has it."""
ITEMS_TABLE: Final = "items"
"""What the shop sells: category and stock, from the catalogue and from the shop's own changes since."""

DEFAULT_VARIANT: Final = "default"
CANARY_VARIANT: Final = "canary"
"""Where a new version is tried before anybody sees it: no visitor is ever given to it."""


def trending_key(window: str, category: str = EVERYTHING) -> str:
    """The key of a list of `TRENDING`; `window` is one of `TRENDING_WINDOWS`."""
    return f"{window}:{category}"


class ManifestError(ValueError):
    """A manifest that this code cannot read."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One Parquet file of a version; `name` is relative to the version's folder."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that is to be known about a version without opening its files."""

    version: str
    """Name of the version and of its folder."""
    as_of: str
    """The moment that the training took for now, ISO 8601 UTC; no event is younger."""
    created_at: str
    """When the training ended, ISO 8601 UTC."""
    training_window: dict[str, str]
    """`from` and `to`, ISO 8601 UTC: the first and the last event trained on."""
    dataset_fingerprint: str
    """SHA-256 over the training's events: the same events, the same fingerprint."""
    code_version: str
    """Commit of the code that trained, or `unknown`."""
    counts: dict[str, int]
    """`events`, `users`, `items`, and one entry a `ListKind`: how many lists of it."""
    files: tuple[FileEntry, ...]
    metrics: dict[str, Any]
    """By protocol, by model: `users`, `precision@10`, `recall@10`, …"""
    blend_weights: BlendWeights
    exclude_purchased: bool
    """Whether answers leave out what the visitor has bought, unless a request says otherwise."""
    exclude_purchased_by_category: dict[str, bool] = field(default_factory=dict)
    """The same for categories whose items are unlike the rest of the shop; see `contract.purchases`."""
    mlflow: dict[str, str] = field(default_factory=dict)
    """`run_id`, `experiment`, `model`, `model_version`."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the training chose, and why, for people: `ranking` (`ranker`, `reason`, `ndcg@10`) and others."""
    schema_version: int = MANIFEST_SCHEMA_VERSION

    @property
    def trained_until(self) -> int:
        """All events that the version knows came before, ms UTC."""
        return round(datetime.fromisoformat(self.as_of).timestamp() * 1000) + 1

    def to_json(self) -> str:
        """The manifest as it lies in S3 and in Postgres."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Read a manifest back.

        Raises ManifestError where it is no JSON, of another schema version, incomplete, or where a field
        isn't what it should be. Fields of newer code are passed over.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ManifestError(f"the manifest is not JSON: {error}") from error
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: Any) -> "Manifest":
        """The same from parsed JSON, such as Postgres returns."""
        if not isinstance(document, dict):
            raise ManifestError(f"the manifest is a {type(document).__name__}, not an object")
        schema_version = document.get("schema_version")
        if schema_version != MANIFEST_SCHEMA_VERSION:
            raise ManifestError(
                f"the manifest has schema version {schema_version!r}, "
                f"this code reads {MANIFEST_SCHEMA_VERSION}: load it with the code that wrote it"
            )
        known = {each.name for each in fields(cls)}
        document = {name: meaning() for name, meaning in _ADDED_LATER.items()} | document
        missing = sorted(known - document.keys())
        if missing:
            raise ManifestError(f"the manifest lacks {', '.join(missing)}")
        values = {name: document[name] for name in known}
        for name, (expected, is_as_expected) in _EXPECTED.items():
            if not is_as_expected(values[name]):
                raise ManifestError(f"the manifest's {name} is not {expected}: {str(values[name])[:100]}")
        values["files"] = tuple(FileEntry(**entry) for entry in values["files"])
        try:
            values["blend_weights"] = BlendWeights.from_document(values["blend_weights"])
        except BlendWeightsError as error:
            raise ManifestError(f"the manifest's {error}") from error
        return cls(**values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _is_file(value: Any) -> bool:
    forms = {"name": _is_text, "rows": _is_count, "bytes": _is_count, "sha256": _is_text}
    return (
        isinstance(value, dict)
        and value.keys() == forms.keys()
        and all(is_as_expected(value[name]) for name, is_as_expected in forms.items())
    )


_EXPECTED: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "version": ("text", _is_text),
    "as_of": ("a moment in ISO 8601 with its zone", _is_moment),
    "created_at": ("a moment in ISO 8601 with its zone", _is_moment),
    "training_window": ("an object of moments in ISO 8601", _is_object(_is_moment)),
    "dataset_fingerprint": ("text", _is_text),
    "code_version": ("text", _is_text),
    "counts": ("an object of whole numbers from 0 on", _is_object(_is_count)),
    "files": (
        "a list of name, rows, bytes and sha256",
        lambda value: isinstance(value, list) and all(map(_is_file, value)),
    ),
    "metrics": ("an object", _is_object(lambda _: True)),
    "exclude_purchased": ("true or false", _is_flag),
    "exclude_purchased_by_category": ("an object of true and false", _is_object(_is_flag)),
    "mlflow": ("an object of text", _is_object(_is_text)),
    "notes": ("an object", _is_object(lambda _: True)),
}
"""What a manifest's fields hold; `blend_weights` look after themselves."""

_ADDED_LATER: Final[dict[str, Callable[[], Any]]] = {"exclude_purchased_by_category": dict, "notes": dict}
"""What earlier manifests of this schema version lack, and what they mean by that."""


def lists_counts(kinds: Mapping[str, int]) -> dict[str, int]:
    """How many lists of each kind a version holds, every kind named."""
    return {kind.value: kinds.get(kind.value, 0) for kind in ListKind}

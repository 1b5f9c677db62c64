"""Why a user gets what they get: `python -m training.explain USER`.

The version's candidates are made again out of the events that it knew, to see who proposed what; its own
ranker tells what it saw in it. With a database at hand, what the user did since counts, too, as it does in
the API's answer.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from contract.blending import BlendedItem
from contract.events import Event
from contract.recommendations import DEFAULT_VARIANT, Manifest
from contract.s3_layout import EVENTS_PREFIX, ranker_key
from training.candidates.generator import fit_generator
from training.catalogue import latest_catalogue, read_catalogue
from training.commands import Told, add_setting, run
from training.database import connected
from training.errors import VersionError
from training.events import dataset_fingerprint, read_events
from training.explainer import Explainer
from training.explanation import Cause, ExplainedItem, ExplainedUser
from training.interactions import Interactions
from training.logs import configure_logging
from training.moments import format_moment, parse_moment
from training.publish import published_versions, read_manifest
from training.ranking import Ranker
from training.ranking.examples import featured
from training.ranking.stored import ranker_from_json
from training.served import Served
from training.serving import list_versions
from training.settings import Hyperparameters
from training.shop_items import ShopItems
from training.storage import Folder
from training.stored_lists import StoredLists, read_served

DEFAULT_LIMIT: Final = 10
_POSTED: Final = """
    SELECT item_id, event_type, "timestamp" FROM events
    WHERE user_id = %(user)s AND "timestamp" <= %(now)s
    ORDER BY "timestamp" DESC, received_at DESC LIMIT %(limit)s
"""
_DID: Final = {"view": "viewed", "add_to_cart": "carted", "purchase": "bought"}
_CHANGED: Final = (
    "the events are not those that the version was trained on (others came late, or users were deleted): "
    "places and features may differ from what they were"
)


@dataclass(frozen=True)
class Explanation:
    """One answer of one version."""

    version: str
    now: int
    """The moment of the answer, ms UTC."""
    user: ExplainedUser
    answer: tuple[BlendedItem, ...]
    """In the order of `user.items`."""
    posted: int
    """Events of the user since the training."""
    notes: tuple[str, ...]
    """What is not as it was."""


def explain(
    user_id: str,
    *,
    recommendations: Folder,
    bucket: Folder,
    version: str,
    posted: Sequence[Event] = (),
    now: int | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Explanation:
    """Explain what `version` answers to a user at `now` (ms UTC; by default when it was trained).

    `bucket` holds `events/` and `catalogue/`; `posted` are the user's events since the training, newest
    first. Raises VersionError where the version is missing, damaged, or older than what keeps its ranker.
    """
    manifest = read_manifest(recommendations, version)
    ranker = _ranker(recommendations, version)
    explainer, items, notes = _explainer(bucket, manifest, ranker)
    known = explainer.explain(user_id, ()).history
    served = _served(
        recommendations,
        manifest,
        user_id,
        turned_to={event.item_id for event in (*known, *posted)},
        items=items,
        explainer=explainer,
    )
    now = manifest.trained_until if now is None else now
    answer = served.blended(user_id, posted, now=now, limit=limit)
    return Explanation(
        version=version,
        now=now,
        user=explainer.explain(user_id, [item.item_id for item in answer], posted),
        answer=tuple(answer),
        posted=sum(event not in known for event in posted),
        notes=notes if known or posted else (*notes, f"nothing is known of user {user_id!r}"),
    )


def _ranker(recommendations: Folder, version: str) -> Ranker:
    key = ranker_key(version)
    try:
        return ranker_from_json(recommendations.read(key))
    except FileNotFoundError as error:
        raise VersionError(
            f"{recommendations.uri_of(key)}: is missing: the version was trained by code that kept no "
            "ranker; train again to have answers explained"
        ) from error


def _explainer(
    bucket: Folder, manifest: Manifest, ranker: Ranker
) -> tuple[Explainer, ShopItems, tuple[str, ...]]:
    settings = Hyperparameters.from_strings(manifest.notes["hyperparameters"])
    as_of, now = parse_moment(manifest.as_of), manifest.trained_until
    table = read_events(Folder(bucket.uri_of(EVENTS_PREFIX)), as_of_ms=as_of)
    notes = () if dataset_fingerprint(table) == manifest.dataset_fingerprint else (_CHANGED,)
    events = Interactions.from_table(table, settings.targets).compact()
    info = latest_catalogue(bucket, as_of)
    items = ShopItems.of(events, read_catalogue(bucket, info.version) if info else None, now=now)
    generator = fit_generator(items.extended(events), items, now=now, settings=settings)
    explainer = Explainer(
        stage=featured(generator, threads=settings.threads),
        ranker=ranker,
        measures=manifest.notes["blend"]["measures"],
        per_source=settings.candidates_per_source,
        history_length=settings.history_length,
    )
    return explainer, items, notes


def _served(
    recommendations: Folder,
    manifest: Manifest,
    user_id: str,
    *,
    turned_to: set[str],
    items: ShopItems,
    explainer: Explainer,
) -> Served[StoredLists]:
    served, _ = read_served(recommendations, manifest, users={user_id}, items=turned_to)
    gone = items.named(~explainer.stage.generator.available)
    return replace(served, category_of=items.category_of, unavailable=gone)


def live_version(database_url: str) -> str:
    """The version that answers. Raises VersionError where none does yet."""
    for info in list_versions(database_url):
        if DEFAULT_VARIANT in info.variants:
            return info.name
    raise VersionError(
        "no version is live yet: load one (python -m training.versions load), or name --version"
    )


def posted_events(database_url: str, user_id: str, *, now: int, limit: int) -> list[Event]:
    """A user's latest posted events, newest first."""
    with connected(database_url) as connection:
        asked = {"user": user_id, "now": now, "limit": limit}
        return [Event(*row) for row in connection.execute(_POSTED, asked).fetchall()]


def describe(explanation: Explanation) -> str:
    """The answer for people."""
    user, since = explanation.user, explanation.posted
    lines = [
        f"{user.user_id} at {format_moment(explanation.now)}, by version {explanation.version}",
        f"{len(user.history):,} events are known, {since:,} of them since the training; the latest:",
        *(f"  {_did(event, explanation.now)} {event.item_id}" for event in user.history[:5]),
    ]
    for rank, (item, shown) in enumerate(zip(user.items, explanation.answer, strict=True), start=1):
        lines += ["", f"{rank:2}. {item.item_id}  score {shown.score:.4f}  part {shown.source}"]
        lines += [f"    {line}" for line in _why(item, shown, explanation.now)]
    return "\n".join([*lines, *(f"\nNote: {note}" for note in explanation.notes)])


def _why(item: ExplainedItem, shown: BlendedItem, now: int) -> list[str]:
    lines = [_told(cause, now) for cause in item.causes]
    if not lines:
        lines = ["everybody is shown it: it is bought a lot by now"]
    if item.sources:
        best_first = sorted(item.sources.items(), key=lambda source: source[1])
        lines.append("proposed by " + ", ".join(f"{name} (place {place})" for name, place in best_first))
    elif shown.source == "personal":
        lines.append("no source proposes it any more")
    if item.features:
        lines.append(
            "ranked by "
            + ", ".join(f"{each.name} = {each.value:.3g} ({each.added:+.2f})" for each in item.features)
        )
    return lines


def _told(cause: Cause, now: int) -> str:
    did = _did(cause.event, now)
    if cause.how == "same_item":
        return f"{did} it"
    if cause.how == "same_category":
        return f"{did} {cause.event.item_id}, of the same category"
    return f"{did} {cause.event.item_id}, which is similar ({cause.strength:.3f})"


def _did(event: Event, now: int) -> str:
    did = _DID.get(event.event_type, f"did {event.event_type} to")
    hours = max(0.0, (now - event.timestamp) / 3_600_000)
    ago = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"
    return f"{ago} before: {did}"


def _document(explanation: Explanation) -> dict[str, Any]:
    return {
        "version": explanation.version,
        "user_id": explanation.user.user_id,
        "now": format_moment(explanation.now),
        "history": [event._asdict() for event in explanation.user.history],
        "posted": explanation.posted,
        "items": [
            {
                "item_id": item.item_id,
                "rank": rank,
                "score": shown.score,
                "part": shown.source,
                "sources": item.sources,
                "features": [asdict(each) for each in item.features],
                "causes": [
                    {"how": cause.how, "strength": cause.strength, "event": cause.event._asdict()}
                    for cause in item.causes
                ],
            }
            for rank, (item, shown) in enumerate(
                zip(explanation.user.items, explanation.answer, strict=True), start=1
            )
        ],
        "notes": list(explanation.notes),
    }


def _explained(options: argparse.Namespace) -> Told:
    recommendations, bucket = Folder(options.recommendations), Folder(options.events)
    version = options.version or _newest(recommendations, options.database_url)
    now = parse_moment(options.as_of) if options.as_of else None
    posted: list[Event] = []
    if options.database_url:
        now = now if now is not None else _clock()
        posted = posted_events(options.database_url, options.user, now=now, limit=200)
    explanation = explain(
        options.user,
        recommendations=recommendations,
        bucket=bucket,
        version=version,
        posted=posted,
        now=now,
        limit=options.limit,
    )
    return _document(explanation), describe(explanation)


def _newest(recommendations: Folder, database_url: str | None) -> str:
    if database_url:
        return live_version(database_url)
    published = published_versions(recommendations)
    if not published:
        raise VersionError(f"{recommendations}: holds no version; train one first")
    return published[-1]


def _clock() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.explain",
        description="Tell of each item of a user's answer which source proposed it, what the ranker saw in "
        "it, and which of the user's events brought it.",
    )
    parser.set_defaults(run=_explained)
    parser.add_argument("user", metavar="USER", help="the id of a user")
    parser.add_argument(
        "--version", help="a published version (default: the live one of the database, else the newest)"
    )
    add_setting(parser, "--recommendations", "RECOMMENDATIONS_URI", "the bucket, or a folder, with versions")
    add_setting(parser, "--events", "EVENTS_URI", "the bucket, or a folder, with events and catalogue")
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DATABASE_URL") or None,
        metavar="URI",
        help="Postgres, for what the user did since the training (default: DATABASE_URL, else none)",
    )
    parser.add_argument(
        "--as-of",
        metavar="T",
        help="the moment of the answer, ISO 8601 (default: now with a database, else when it was trained)",
    )
    parser.add_argument(
        "--limit", type=_limit, default=DEFAULT_LIMIT, metavar="N", help="items (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print it for programs")
    return parser


def _limit(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} isn't within 1 and 100")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Explain one answer; the exit status."""
    configure_logging()
    return run(_parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())

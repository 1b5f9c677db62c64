"""What a training learns from: events, catalogue, the served version; and what it is known again by."""

from dataclasses import dataclass
from pathlib import Path

from contract.recommendations import Manifest
from contract.s3_layout import CATALOGUE_PREFIX, EVENTS_PREFIX
from training.catalogue import Catalogue
from training.checkpoints import Checkpoints
from training.errors import TooLittleDataError
from training.events import dataset_fingerprint, read_events
from training.fingerprint import code_fingerprint, inputs_fingerprint
from training.gate import manifest_of_served
from training.interactions import Interactions
from training.moments import format_moment, parse_moment
from training.settings import Hyperparameters
from training.shop_items import read_shop_catalogue
from training.storage import Folder


@dataclass(frozen=True)
class Inputs:
    """What a training learns from."""

    events: Interactions
    catalogue: Catalogue | None
    as_of_ms: int | None
    """As it was asked for; None for the events' own end."""
    now: int
    """Everything known lies before it, ms UTC: without an `as_of` that is just after the last event."""
    dataset_fingerprint: str
    """Of the events."""
    served: Manifest | None
    """Of the version that is served."""

    @property
    def as_of(self) -> str:
        """The last moment that is known."""
        return format_moment(self.now - 1)

    @property
    def identity(self) -> dict[str, str]:
        """What the results depend on beside the settings."""
        return {
            "dataset_fingerprint": self.dataset_fingerprint,
            "catalogue_version": self.catalogue.info.version if self.catalogue else "none",
            "code_fingerprint": code_fingerprint(),
            "as_of": self.as_of,
        }

    @property
    def counts(self) -> dict[str, int]:
        """How much there is to learn from."""
        return {
            "events": len(self.events),
            "users": len(self.events.user_ids),
            "items": len(self.events.item_ids),
        }

    @property
    def training_window(self) -> dict[str, str]:
        """The moments of the first and the last event."""
        first, last = int(self.events.timestamps[0]), int(self.events.timestamps[-1])
        return {"from": format_moment(first), "to": format_moment(last)}

    @property
    def catalogue_items(self) -> frozenset[str]:
        """The ids of all that the shop says it sells."""
        return frozenset(self.catalogue.items["item_id"].to_pylist()) if self.catalogue else frozenset()


def read_inputs(channels: Path, output: Folder, settings: Hyperparameters) -> Inputs:
    """Read `events/` and, if there is one, `catalogue/` below `channels`; the served version from `output`.

    Raises UserError where something is missing or damaged, or where nothing was ever carted or bought.
    """
    served = manifest_of_served(output, settings)
    as_of = parse_moment(settings.as_of) if settings.as_of else None
    table = read_events(channels / EVENTS_PREFIX, as_of_ms=as_of)
    events = Interactions.from_table(table, settings.targets)
    refuse_without_targets(events)
    return Inputs(
        events=events,
        catalogue=read_shop_catalogue(channels / CATALOGUE_PREFIX, as_of),
        as_of_ms=as_of,
        now=as_of + 1 if as_of is not None else int(events.timestamps[-1]) + 1,
        dataset_fingerprint=dataset_fingerprint(table),
        served=served,
    )


def checkpoints_of(folder: Path, inputs: Inputs, settings: Hyperparameters) -> Checkpoints:
    """The checkpoints of runs that have all in common with this one that its results depend on."""
    return Checkpoints(folder, inputs_fingerprint(*inputs.identity.values(), settings.model_dump_json()))


def refuse_without_targets(events: Interactions) -> None:
    """Raise TooLittleDataError where nothing was ever carted or bought: there is nothing to aim at."""
    if not events.is_target.any():
        kinds = ", ".join(events.event_type_names)
        raise TooLittleDataError(
            f"there is no {' and no '.join(events.targets)} among {len(events)} events (kinds: {kinds}); "
            "if they go by another name, import again with --event-type theirs=purchase"
        )

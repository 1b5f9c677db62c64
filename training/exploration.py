"""What a shop's events tell whoever meets the shop for the first time: figures of the notebook.

All of it is computed from `Interactions`, as the training has them; the notebook asks, plots and reads off.
"""

import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.rcsetup import cycler

from contract.s3_layout import EVENTS_MANIFESTS_PREFIX, EVENTS_PREFIX
from training.candidates.popular import HALF_LIVES_DAYS, RecentPopular, remembered
from training.candidates.visits import GAP_MS
from training.data_report.profile import MOST_DAYS, DataProfile, profile_events
from training.data_report.window import day_of
from training.errors import TooLittleDataError
from training.events import read_events
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.interactions import BoolArray, IntArray, Interactions, LongArray
from training.moments import MILLISECONDS_A_DAY
from training.shop.simulation import ShopSettings
from training.split import windows
from training.storage import Folder

Shares = npt.NDArray[np.float64]

SMALL_SHOP: Final = ShopSettings(users=1_500, items=400, days=42, seed=7)
PLOT_STYLE: Final = {
    "figure.figsize": (8.0, 3.6),
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=["#000000", "#0072b2", "#d98f00"])
    + cycler(linestyle=["-", "--", ":"])
    + cycler(marker=["o", "s", "^"]),
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}
"""For matplotlib: told apart by dashes, marks and lightness; the colours are Okabe and Ito's."""
MILLISECONDS_AN_HOUR: Final = 3_600_000
AGES_DAYS: Final = (0.0, 1 / 144, 1 / 24, 1 / 4, 1.0, 3.0, 7.0, 14.0, 28.0, 56.0, np.inf)
"""Ten minutes, an hour, six hours, a day, and on."""
MOST_LOOKS: Final = 6
PEOPLE_TO_JUDGE_AN_ITEM: Final = 20
POPULAR_SHARE: Final = 0.01
"""How many of the items a list of popular ones is tried with, at least ten."""


@dataclass(frozen=True)
class Shop:
    """A shop's events, read once."""

    source: str
    """Where they came from, for people."""
    events: Interactions
    profile: DataProfile
    """Of all days, or of the last `MOST_DAYS`."""


@dataclass(frozen=True)
class Sessions:
    """Visits with no silence longer than `GAP_MS`, by user and time; arrays hold an entry a session."""

    users: IntArray
    starts: LongArray
    """ms UTC, as are `ends`."""
    ends: LongArray
    events: LongArray
    items: LongArray
    """Distinct ones."""
    targets: LongArray
    """How many of the events are carts and purchases, or whatever the targets are."""
    of_event: LongArray
    """The session of each event, in the events' own order."""

    @property
    def gaps_days(self) -> Shares:
        """From the end of a session to the beginning of the user's next one."""
        is_next = self.users[1:] == self.users[:-1]
        gaps: Shares = (self.starts[1:] - self.ends[:-1])[is_next] / MILLISECONDS_A_DAY
        return gaps


@dataclass(frozen=True)
class Conversion:
    """How unlike items are in how many of their people cart or buy."""

    items: int
    """Those with at least `PEOPLE_TO_JUDGE_AN_ITEM` people; the rest tells too little."""
    mean: float
    """Share of these items' people."""
    spread: float
    """Standard deviation of the items' true shares, over the mean; 0 is what chance alone would leave."""


def read_shop(source: str | None = None) -> Shop:
    """Read events, or generate a small shop's where there is no source.

    `source` is a bucket or folder that holds `events/`, or whatever an import reads: a file, or a folder of
    files. What is imported lies in a temporary folder that is gone when this returns. Raises UserError where
    nothing can be read.
    """
    with tempfile.TemporaryDirectory(prefix="explore-") as temporary:
        root = _bucket(source, Path(temporary))
        table = read_events(Folder(root.uri_of(EVENTS_PREFIX)))
        moments = table["timestamp"]
        days = (day_of(moments[-1].as_py()) - day_of(moments[0].as_py())).days + 1
        profile = profile_events(root, days=min(days, MOST_DAYS))
    return Shop(source or "a generated shop", Interactions.from_table(table), profile)


def _bucket(source: str | None, temporary: Path) -> Folder:
    if source and any(Folder(source).list(EVENTS_MANIFESTS_PREFIX)):
        return Folder(source)
    if not source:
        source = str(temporary / "shop.parquet")
        generate_shop(SMALL_SHOP, Path(source))
    # What a training would refuse can be looked at all the same.
    import_events([source], temporary / "bucket", allow_empty_days=True, allow_no_targets=True)
    return Folder(temporary / "bucket")


def sessions_of(events: Interactions) -> Sessions:
    """Cut each user's events into sessions, as `training.candidates.visits` does."""
    order = np.argsort(events.users, kind="stable")
    users, moments = events.users[order], events.timestamps[order]
    begins = np.r_[True, (users[1:] != users[:-1]) | (np.diff(moments) > GAP_MS)]
    numbers = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    n_items = len(events.item_ids)
    distinct = np.unique(numbers * n_items + events.items[order])
    of_event = np.empty(len(order), dtype=np.int64)
    of_event[order] = numbers
    return Sessions(
        users=users[first],
        starts=moments[first],
        ends=moments[np.r_[first[1:] - 1, len(moments) - 1]],
        events=np.diff(np.r_[first, len(moments)]),
        items=np.bincount(distinct // n_items, minlength=len(first)),
        targets=np.bincount(numbers, weights=events.is_target[order], minlength=len(first)).astype(np.int64),
        of_event=of_event,
    )


def events_by_hour(events: Interactions) -> pd.DataFrame:
    """Mean events of an hour (UTC): a row a weekday from Monday (0), a column an hour of the day.

    Hours without an event count, from the first event's to the last one's; NaN stands for an hour of the
    week that never came.
    """
    hours = events.timestamps // MILLISECONDS_AN_HOUR
    came = np.arange(hours[0], hours[-1] + 1)
    totals = np.bincount(_hour_of_week(hours), minlength=168).astype(float)
    times = np.bincount(_hour_of_week(came), minlength=168)
    means = np.divide(totals, times, out=np.full(168, np.nan), where=times > 0)
    return pd.DataFrame(means.reshape(7, 24))


def acquaintance(events: Interactions, sessions: Sessions) -> pd.Series:
    """Where people met what they carted or bought: in an earlier session, in this one, or never before.

    Counts; each pair of user and item counts once a session, at its first target.
    """
    pairs = _pairs(events)
    targets = np.flatnonzero(events.is_target)
    visits = sessions.of_event * len(events.item_ids) + events.items
    chosen = targets[np.unique(visits[targets], return_index=True)[1]]
    distinct, first = np.unique(pairs, return_index=True)
    first_of_chosen = first[np.searchsorted(distinct, pairs[chosen])]
    is_known = sessions.of_event[first_of_chosen] < sessions.of_event[chosen]
    is_new = first_of_chosen == chosen
    return pd.Series(
        {
            "in an earlier session": int(is_known.sum()),
            "in this session": int((~is_known & ~is_new).sum()),
            "never before": int(is_new.sum()),
        }
    )


def known_item_share(events: Interactions, sessions: Sessions) -> float:
    """Of the sessions that aren't a user's first: the share that turns to an item of an earlier one.

    NaN where nobody comes back.
    """
    pairs = _pairs(events)
    distinct, first = np.unique(pairs, return_index=True)
    is_known = sessions.of_event[first[np.searchsorted(distinct, pairs)]] < sessions.of_event
    returns = np.bincount(sessions.of_event, weights=is_known, minlength=len(sessions.users)) > 0
    is_later = np.r_[False, sessions.users[1:] == sessions.users[:-1]]
    return float(returns[is_later].mean()) if is_later.any() else float("nan")


def odds_by_looks(events: Interactions) -> pd.DataFrame:
    """How often the n-th look at an item is followed by a target, rather than by another look or by nothing.

    A look is any event that is no target, up to the first target of the pair of user and item. A row for each
    n, `MOST_LOOKS` and more in the last: `looks`, `targets`, and `share`, the one of the other.
    """
    order, pairs, is_target = _by_pair(events)
    starts = np.flatnonzero(np.r_[True, pairs[1:] != pairs[:-1]])
    lengths = np.diff(np.r_[starts, len(pairs)])
    number = np.arange(len(order)) - np.repeat(starts, lengths)
    so_far: LongArray = np.cumsum(is_target)
    before: LongArray = (so_far - is_target)[starts]
    is_look: BoolArray = so_far - np.repeat(before, lengths) == 0
    succeeds = np.r_[(pairs[1:] == pairs[:-1]) & is_target[1:], False]
    n = np.minimum(number[is_look], MOST_LOOKS - 1)
    looks = np.bincount(n, minlength=MOST_LOOKS)
    targets = np.bincount(n, weights=succeeds[is_look], minlength=MOST_LOOKS).astype(np.int64)
    index = pd.Index([*range(1, MOST_LOOKS), f"{MOST_LOOKS}+"], name="look")
    return pd.DataFrame({"looks": looks, "targets": targets, "share": _ratio(targets, looks)}, index=index)


def odds_by_age(events: Interactions) -> pd.DataFrame:
    """How the odds of a target fade with the time since the user's latest look at the item.

    A life table: from each look the time runs until the next event of the pair, or until the data ends. A row
    for each stretch of `AGES_DAYS`: `targets` that ended the wait there, `pair_days` waited there by all, and
    `a_day`, the one over the other: carts and purchases for each day and item looked at. After Cutler &
    Ederer, Maximum utilization of the life table method in analyzing survival (1958).
    """
    order, pairs, is_target = _by_pair(events)
    moments = events.timestamps[order]
    has_next = np.r_[pairs[1:] == pairs[:-1], False]
    until = np.where(has_next, np.r_[moments[1:], 0], events.timestamps[-1])
    waits = (until - moments)[~is_target] / MILLISECONDS_A_DAY
    succeeds = np.r_[has_next[:-1] & is_target[1:], False][~is_target]
    rows = []
    for begin, end in pairwise(AGES_DAYS):
        waited = (np.clip(waits, begin, end) - begin).sum()
        if waited > 0:
            targets = int((succeeds & (waits >= begin) & (waits < end)).sum())
            rows.append((begin, min(end, waits.max()), targets, waited, targets / waited))
    return pd.DataFrame(rows, columns=["from_days", "to_days", "targets", "pair_days", "a_day"])


def lorenz(counts: npt.NDArray[np.integer]) -> Shares:
    """Cumulated shares of the total, from the smallest on: n + 1 of them, from 0 to 1."""
    shares: Shares = np.r_[0.0, np.cumsum(np.sort(counts))] / max(1, counts.sum())
    return shares


def gini(counts: npt.NDArray[np.integer]) -> float:
    """How unequal counts are: 0 where all are the same, nearly 1 where one has everything."""
    if not counts.any():
        return 0.0
    shares = lorenz(counts)
    return float(1 - (shares[1:] + shares[:-1]).mean())


def share_of_top(counts: npt.NDArray[np.integer], top: float) -> float:
    """The share of the total that the first `top` (a share of all, at least one) have."""
    count = max(1, round(top * len(counts)))
    return float(np.sort(counts)[-count:].sum() / max(1, counts.sum()))


def conversion(people: npt.NDArray[np.integer], buyers: npt.NDArray[np.integer]) -> Conversion | None:
    """How much items differ beyond chance, from each item's people and how many of them carted or bought.

    By moments: what chance adds to the variance of shares is taken off (Kleinman, Proportions with
    extraneous variance, 1973). None where no item has enough people, or none of them has a buyer.
    """
    is_told = people >= PEOPLE_TO_JUDGE_AN_ITEM
    people, buyers = people[is_told], buyers[is_told]
    if not buyers.sum():
        return None
    mean = buyers.sum() / people.sum()
    by_chance = mean * (1 - mean) / people
    variance = (((buyers / people - mean) ** 2 - by_chance) / (1 - 1 / people)).mean()
    return Conversion(len(people), float(mean), float(np.sqrt(max(0.0, variance)) / mean))


def popularity_by_memory(events: Interactions, *, days: float = 7, count: int = 4) -> pd.Series:
    """How much of what is carted and bought next is popular by then, by how fast popularity forgets.

    For the last `count` windows of `days`, as `training.split.windows` cuts them: the share of the window's
    targets that hit the items most carted and bought before it, `POPULAR_SHARE` of all. The index holds
    half-lives in days; the last one, `vote`, is what the recommender serves (`RecentPopular`). NaN where
    there is no target to hit, or no time to hold out.
    """
    try:
        held_out = windows(events, days=days, count=count, end=int(events.timestamps[-1]) + 1)
    except TooLittleDataError:
        held_out = []
    names = [*(f"{half_life:g}" for half_life in HALF_LIVES_DAYS), "vote"]
    hits, total = np.zeros(len(names)), 0
    for window in held_out:
        past = events.before(window.start)
        bought = events.between(window.start, window.end)
        items = bought.items[bought.is_target]
        total += len(items)
        memories = [remembered(past, window.start, half_life) for half_life in HALF_LIVES_DAYS]
        memories.append(RecentPopular().score(past, window.start))
        hits += [np.isin(items, _most(scores)).sum() for scores in memories]
    return pd.Series(hits / total if total else np.nan, index=names)


def _most(scores: npt.NDArray[np.float64]) -> LongArray:
    shown = max(10, round(POPULAR_SHARE * len(scores)))
    return np.argsort(-scores, kind="stable")[:shown]


def _pairs(events: Interactions) -> LongArray:
    pairs: LongArray = events.users.astype(np.int64) * len(events.item_ids) + events.items
    return pairs


def _by_pair(events: Interactions) -> tuple[LongArray, LongArray, BoolArray]:
    """Events by pair of user and item, then time: their positions, pairs, and which are targets."""
    pairs = _pairs(events)
    order = np.argsort(pairs, kind="stable")
    return order, pairs[order], events.is_target[order]


def _hour_of_week(hours: LongArray) -> LongArray:
    """Of hours since 1970, a Thursday: 0 is Monday's first."""
    return (hours + 3 * 24) % 168


def _ratio(part: LongArray, whole: LongArray) -> Shares:
    shares: Shares = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares

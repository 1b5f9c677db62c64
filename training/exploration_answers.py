"""What the notebook reads off its plots, in sentences that hold for whatever shop is looked at."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from training.data_report.days import WEEKDAYS, Day
from training.data_report.funnel import Funnel
from training.exploration import (
    Conversion,
    Sessions,
    Shop,
    gini,
    known_item_share,
    share_of_top,
)
from training.features.aggregates import SECONDS_A_DAY, Aggregates
from training.interactions import Interactions
from training.repurchase import WORTH_SHOWING, repurchase_share

ENOUGH_LOOKS = 20
"""With fewer, nothing is said of the n-th look."""
ENOUGH_TARGETS = 10
"""Stretches of time with fewer are not compared."""
LITTLE_KNOWN_EVENTS = 10
ALIKE = 1.1
"""Ratio up to which two figures count as alike."""
WORTH_A_FEATURE = 0.2
WORTH_SHOWING_OWN = 0.1


def of_shop(shop: Shop, sessions: Sessions) -> str:
    """How much there is."""
    events, robots = shop.events, shop.profile.concentration
    days = (events.timestamps[-1] - events.timestamps[0]) / (1000 * SECONDS_A_DAY)
    return _told(
        f"**{shop.source}: {len(events):,} events of {len(events.user_ids):,} users and "
        f"{len(events.item_ids):,} items in {len(sessions.users):,} sessions over {days:,.1f} days.**",
        f"{events.is_target.mean():.1%} of the events are targets.",
        f"{robots.flagged_users:,} users behave like programs and make {robots.flagged_share:.1%} of the "
        f"events of {shop.profile.window}.",
    )


def of_funnel(funnels: tuple[Funnel, Funnel]) -> str:
    """How far users and sessions come."""
    users, sessions = funnels
    skipped = sessions.bought_uncarted + sessions.carted_unseen
    return _told(
        f"**Of the users who viewed, {users.cart_rate:.1%} carted; of these, {users.purchase_rate:.1%} "
        f"bought. By sessions it is {sessions.cart_rate:.1%} and {sessions.purchase_rate:.1%}.**",
        f"{sessions.bought_uncarted:,} sessions have a purchase without a cart of their own, "
        f"{sessions.carted_unseen:,} a cart without a view:",
        f"{'not every purchase' if skipped else 'every purchase'} takes all steps within one session.",
    )


def of_seasons(by_hour: pd.DataFrame, days: Sequence[Day]) -> str:
    """When most happens, and when least; `by_hour` as `events_by_hour` gives it."""
    overall = by_hour.stack().mean()
    hours, weekdays = by_hour.mean() / overall, by_hour.mean(axis=1) / overall
    most, least = np.nanargmax(hours), np.nanargmin(hours)
    busiest, quietest = WEEKDAYS[np.nanargmax(weekdays)], WEEKDAYS[np.nanargmin(weekdays)]
    odd = sum(day.verdict in {"low", "empty"} for day in days)
    return _told(
        f"**Most happens in the hour from {most:02}:00 UTC, {hours.max():.1f} times the mean hour, "
        f"least in that from {least:02}:00 ({hours.min():.2f} times). The busiest weekday is "
        f"{busiest} ({weekdays.max():.2f} times the mean), the quietest "
        f"{quietest} ({weekdays.min():.2f} times).**",
        f"Of the {len(days):,} days shown, {odd:,} are low or empty for their weekday.",
        "Weekdays differ, so what is held out to judge by should be whole weeks."
        if weekdays.max() > ALIKE * weekdays.min()
        else "Weekdays are much alike.",
    )


def of_returns(events: Interactions, sessions: Sessions, counts: Aggregates) -> str:
    """Who comes back, how soon, and to what."""
    gaps = sessions.gaps_days
    back = (np.bincount(sessions.users) > 1).mean()
    known = known_item_share(events, sessions)
    return _told(
        f"**{back:.1%} of the users come back, half of the times within {_length(np.median(gaps))} "
        f"({(gaps <= 1).mean():.1%} within a day, {(gaps <= 7).mean():.1%} within a week), and {known:.1%} "
        "of these sessions turn to an item of an earlier one.**"
        if len(gaps)
        else "**Nobody comes back.**",
        _of_repetitions(counts),
        _of_bought_items(repurchase_share(events)),
    )


def _of_repetitions(counts: Aggregates) -> str:
    again = counts.items["again_intervals"].sum()
    if not again:
        return "Nothing is carted or bought by the same user on another day."
    days = counts.items["again_time"].sum() / again / SECONDS_A_DAY
    return (
        f"An item is carted or bought again on another day {again:,} times, {days:.1f} days later on average."
    )


def _of_bought_items(share: float | None) -> str:
    if share is None:
        return "Too few buy again to tell whether bought items are worth showing."
    verdict = "worth showing again" if share >= WORTH_SHOWING else "not worth showing again"
    return (
        f"Of the targets of people who had bought before, {share:.1%} hit what they had bought: bought "
        f"items are {verdict} (the training's limit is {WORTH_SHOWING:.0%})."
    )


def of_tail(counts: Aggregates) -> str:
    """How unequal items and users are."""
    items, targets, users = counts.items["events"], counts.items["targets"], counts.users["events"]
    median = np.median(users)
    how_much = "little" if median < LITTLE_KNOWN_EVENTS else "much"
    return _told(
        f"**The first tenth of the items has {share_of_top(items, 0.1):.1%} of the events and "
        f"{share_of_top(targets, 0.1):.1%} of the targets (Gini {gini(items):.2f} and {gini(targets):.2f}); "
        f"{(targets == 0).mean():.1%} of the items were never carted or bought.**",
        f"The first tenth of the users makes {share_of_top(users, 0.1):.1%} of the events; half of the users "
        f"have at most {median:.0f}: {how_much} is known about most.",
    )


def of_sessions(sessions: Sessions) -> str:
    """How much happens in one visit."""
    minutes = (sessions.ends - sessions.starts) / 60_000
    has_target = sessions.targets > 0
    answer = _told(
        f"**A session has {np.median(sessions.events):.0f} events on {np.median(sessions.items):.0f} items "
        f"in the median, {sessions.events.mean():.1f} events in the mean, and takes {np.median(minutes):.1f} "
        f"minutes; {(sessions.events == 1).mean():.1%} are a single event, the longest has "
        f"{sessions.events.max():,}.**",
        f"{has_target.mean():.1%} of the sessions have a target.",
    )
    if not 0 < has_target.mean() < 1:
        return answer
    return (
        f"{answer} These have {sessions.events[has_target].mean():.1f} events in the mean, the others "
        f"{sessions.events[~has_target].mean():.1f}."
    )


def of_odds(
    met: "pd.Series[int]",
    looks: pd.DataFrame,
    ages: pd.DataFrame,
    others: "pd.Series[float]",
    differs: Conversion | None,
) -> str:
    """What foretells a target: acquaintance, looks, time, kinds of events that are no targets, items."""
    if not met.sum():
        return "**Nothing was carted or bought.**"
    shares = met / met.sum()
    return _told(
        f"**{shares.iloc[0]:.1%} of what is carted or bought was met in an earlier session, "
        f"{shares.iloc[1]:.1%} in the same session before, {shares.iloc[2]:.1%} without any event before.**",
        _of_looks(looks),
        _of_ages(ages),
        f"Of the events that are no targets, {others.idxmax()} tells the most ({others.max():.3f})."
        if len(others)
        else "All kinds of events are targets.",
        f"Items differ: {differs.mean:.1%} of an item's people cart or buy it in the mean, and beyond chance "
        f"that spreads by {differs.spread:.0%} of itself ({differs.items:,} items)."
        if differs
        else "No item with a target has enough people to judge it.",
    )


def _of_looks(looks: pd.DataFrame) -> str:
    told = looks["share"][looks["looks"] >= ENOUGH_LOOKS]
    if told.empty:
        return "There are too few looks to tell how often one is followed by a target."
    if len(told) == 1:
        return f"A first look is followed by a target {told.iloc[0]:.1%} of the times; nobody looks again."
    return (
        f"A first look is followed by a target {told.iloc[0]:.1%} of the times, look {told.idxmax()} the "
        f"most often: {told.max():.1%}."
    )


def _of_ages(ages: pd.DataFrame) -> str:
    told = ages[ages["targets"] >= ENOUGH_TARGETS]
    if len(told) < 2:
        return "There are too few targets to tell how interest fades."
    first, last = told.iloc[0], told.iloc[-1]
    times = first["a_day"] / last["a_day"]
    return (
        f"Interest fades: {_stretch(first)} after a look there are {times:,.0f} times as many targets in the "
        f"same time as {_stretch(last)} after it."
    )


def _stretch(age: "pd.Series[float]") -> str:
    if not age["from_days"]:
        return f"less than {_length(age['to_days'])}"
    return f"{_length(age['from_days'])} to {_length(age['to_days'])}"


def of_memory(memory: "pd.Series[float]") -> str:
    """How long popularity should remember; `memory` as `popularity_by_memory` gives it."""
    if memory.isna().any():
        return "**Nothing was carted or bought in the weeks held out, so no memory can be preferred.**"
    single = memory.drop("vote")
    is_alike = single.max() <= ALIKE * single.min()
    return _told(
        f"**The best single half-life is {single.idxmax()} days ({single.max():.1%}), the worst "
        f"{single.idxmin()} ({single.min():.1%}); the vote gets {memory['vote']:.1%}.**",
        "How fast popularity forgets matters little here."
        if is_alike
        else "How fast popularity forgets matters here.",
    )


def meaning(
    events: Interactions,
    counts: Aggregates,
    met: "pd.Series[int]",
    memory: "pd.Series[float]",
    differs: Conversion | None,
) -> pd.DataFrame:
    """What the figures mean for a recommender: a row each, with the figure and what follows."""
    again = repurchase_share(events)
    few = (counts.users["events"] < LITTLE_KNOWN_EVENTS).mean()
    rows = [
        (
            "targets on items that the user had turned to before",
            *_read_off(met.iloc[:2].sum(), met.sum(), "seen items stay in", "lists should show what is new"),
        ),
        (
            "targets on items that the user met in the same session",
            *_read_off(
                met.iloc[1], met.sum(), "answers must know the last minutes", "last night's lists will do"
            ),
        ),
        (
            "targets of earlier buyers on what they had bought",
            "too few to tell" if again is None else f"{again:.1%}",
            "bought items stay in"
            if again is None or again >= WORTH_SHOWING
            else "bought items are left out",
        ),
        (
            "next week's targets on items that are popular by now",
            "too few to tell" if np.isnan(memory["vote"]) else f"{memory['vote']:.1%}",
            "what personal lists have to beat",
        ),
        (
            f"users with fewer than {LITTLE_KNOWN_EVENTS} events",
            f"{few:.1%}",
            "who live on similar and popular items",
        ),
        (
            "spread of items' conversion beyond chance",
            f"{differs.spread:.0%}" if differs else "too few to tell",
            "an item's own conversion is worth a feature"
            if differs and differs.spread >= WORTH_A_FEATURE
            else "an item's conversion tells little",
        ),
    ]
    return pd.DataFrame(rows, columns=["figure", "this shop", "so"]).set_index("figure")


def _read_off(part: int, whole: int, much: str, little: str) -> tuple[str, str]:
    """A share, and what follows from its being much or little."""
    if not whole:
        return "too few to tell", "unknown"
    return f"{part / whole:.1%}", much if part >= WORTH_SHOWING_OWN * whole else little


def _length(days: float) -> str:
    """A length of time in the unit that people would take."""
    for unit, length in (("days", 1.0), ("hours", 1 / 24), ("minutes", 1 / 1440)):
        if days >= length or unit == "minutes":
            break
    return f"{days / length:.1f}".removesuffix(".0") + f" {unit}"


def _told(*sentences: str) -> str:
    return " ".join(sentences)

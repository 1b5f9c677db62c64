"""What people of a simulated shop do, and how its items fare: every constant of the simulation.

`training.shop.truth` writes all of them into `truth.json`, under their names in small letters.
"""

from typing import Final

FAVOURITE_WEIGHTS: Final = (0.6, 0.25, 0.15)
"""How often a session that is about a favourite category is about the first, the second, the third."""
ANY_CATEGORY: Final = 0.2
"""How often a session is about any category instead, by how much is wanted in each today."""

SESSIONS_A_DAY: Final = 0.26
"""Of the average person; those who would come more often than MOST_SESSIONS_A_DAY do so that often."""
MOST_SESSIONS_A_DAY: Final = 2.0
ACTIVITY_SIGMA: Final = 1.4
"""Standard deviation of the logarithm of people's sessions a day: most do little, few do much."""
JOINS_LATER: Final = 0.4
"""Share of the people who come for the first time on one of the days, not before."""
WEEKDAY_FACTORS: Final = (1.0, 0.95, 0.95, 1.0, 1.05, 1.25, 1.3)
"""From Monday."""
HOUR_WEIGHTS: Final = (3, 2, 1, 1, 1, 1, 2, 4, 6, 7, 8, 8, 9, 9, 8, 8, 9, 10, 12, 14, 15, 13, 9, 5)
"""When sessions begin, from midnight UTC."""

LOOKS_A_SESSION: Final = 5.0
"""On average, before the longest are cut off."""
LONGEST_SESSION: Final = 15
MILLISECONDS_A_SESSION: Final = 30 * 60 * 1000
SHORTEST_PAUSE: Final = 2_000
"""Milliseconds between two events of a session."""
MEAN_FURTHER_PAUSE: Final = 35_000

REMEMBERED: Final = 8
"""How many items a person remembers, the latest first."""
COMES_BACK: Final = 0.3
"""How often the next look is at something remembered."""
LATEST_FIRST: Final = 0.45
"""How often that is the latest; if not, how often it is the one before, and so on."""
DAYS_UNTIL_HALF_MOVED_ON: Final = 4.0
"""Half of those who stay away for so long have lost interest in all that they looked at."""

STAYS_NEAR: Final = 0.55
"""How often a new item is one much like the item before."""
NEXT_NEIGHBOUR: Final = 0.6
"""How often that is the next neighbour; if not, how often it is the one after it, and so on."""

CART_AFTER_VIEWS: Final = (0.0, 0.02, 0.05, 0.10, 0.16, 0.22)
"""Chance of a cart after the n-th look at an item, times the person's keenness and the item's conversion."""
KEENNESS_MU: Final = -0.2
KEENNESS_SIGMA: Final = 0.6
CONVERSION_SIGMA: Final = 0.7
"""Standard deviation of the logarithm of the items' conversion, whose mean is 1."""
BUYS_FROM_CART: Final = 0.4
"""How often what lies in the cart is bought when a session ends."""

CONSUMABLE_SHARE: Final = 0.2
DAYS_UNTIL_REPURCHASE: Final = 10
REPURCHASE: Final = 0.15
"""Chance that a visit from then on begins with buying the consumable bought last again."""

POPULARITY_SIGMA: Final = 1.3
"""Standard deviation of the logarithm of the items' popularity on the first day."""
DAILY_DRIFT: Final = 0.15
"""Standard deviation of an item's daily step in log popularity."""
DAILY_REVERSION: Final = 0.01
"""By how much of itself log popularity goes back to the average each day."""
NEW_ITEM_SHARE: Final = 0.2
NEW_ITEM_BOOST: Final = 4.0
DAYS_NEW: Final = 10
LAUNCHED_AFTER_THE_END: Final = 0.1
"""Share of the new items that are in the catalogue, but not sold before the last day is over."""
WITHDRAWN_SHARE: Final = 0.05
"""Share of the items that are no longer sold when the last day is over."""

"""Random numbers of a simulated shop: a generator of its own for each thing that is drawn.

What is drawn for one thing then shifts the numbers of no other, and it doesn't matter who draws first.
"""

import numpy as np

ITEMS, POPULARITY, PEOPLE, SESSIONS = range(4)
"""What is drawn: the first number of a key."""


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one thing; different keys give independent streams.

    See numpy's documentation of SeedSequence: keys are what its `spawn` makes, made without the parent.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))

"""Variants: which of the versions that are served at once answers for whom.

A visitor's place between 0 and 1 is a hash of their id, so that it stays theirs; the variants' shares, in the
order of their names, divide that stretch. `canary` has no part in it, whatever its share: it answers who asks
for it by name, and only in direct invocations of the function.
"""

import hashlib
from typing import Final, LiteralString

from contract.recommendations import CANARY_VARIANT

SPLIT: Final[LiteralString] = f"""
split AS MATERIALIZED (
    SELECT variant, version,
        sum(share::float8) OVER (ORDER BY variant) AS upto, sum(share::float8) OVER () AS total
    FROM serving
    WHERE variant = %(variant)s OR (%(variant)s::text IS NULL AND share > 0 AND variant <> '{CANARY_VARIANT}')
)"""  # noqa: S608 - made of constants
"""A common table expression; the first row whose `upto` is not below `place * total` answers."""


def place_of(user_id: str) -> float:
    """Where a visitor lies between 0 and 1, the same everywhere and always."""
    digest = hashlib.blake2b(user_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64

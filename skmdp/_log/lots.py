"""Episodes of a lazy table dealt to lots on its engine: by chance, and yet the same ones again.

Episodes are put in the order of their labels and numbered, i = 0, 1, ... The number of each goes
through a polynomial modulo a prime with coefficients that are drawn by a seed. So any few episodes
(as many as there are coefficients) get numbers that are independent of each other, and uniform: no
pattern in the order of episodes comes through, as it would if they were dealt in turn. In the order
of these numbers they are dealt in turn. That takes whole numbers below 2 ** 63 alone, so that every
engine deals alike, however the rows lie.

A log of up to ``N_LOTS`` episodes has lots of one episode. Of a longer one, lots differ by what as
many episodes differ by, which is what a standard error by episode needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.utils import check_random_state

from skmdp._typing import Integers

# As many groups of rows come to memory, at most, for each distinct transition; and with fewer lots
# the spread between those that a gain is judged on would be a matter of chance itself.
N_LOTS = 200
PRIME = 2**31 - 1
N_COEFFICIENTS = 6
# Of the lot by which episodes are dealt where no seed is given.
FIXED_SEED = 0


@dataclass(frozen=True, eq=False)
class Lots:
    """How many entries of a log belong to each lot, and how many starts, both (n_lots,)."""

    lengths: Integers
    start_lengths: Integers

    @classmethod
    def of_entries(cls, lot: Integers, lot_of_starts: Integers) -> Lots:
        """Count them, given the lot of each entry that counts, and of each start."""
        n = int(max(lot.max(initial=-1), lot_of_starts.max(initial=-1))) + 1
        return cls(np.bincount(lot, minlength=n), np.bincount(lot_of_starts, minlength=n))


def draw_coefficients(random_state: int | np.random.RandomState | None) -> tuple[int, ...]:
    """Return coefficients of a polynomial, the highest power first; without a seed the same."""
    drawn = check_random_state(FIXED_SEED if random_state is None else random_state)
    return tuple(drawn.randint(1, PRIME, size=N_COEFFICIENTS).tolist())


def polynomial(number: Any, coefficients: tuple[int, ...]) -> Any:
    """Return the polynomial of whole numbers modulo the prime; no step of it reaches 2 ** 63."""
    number, value = number % PRIME, coefficients[0]
    for coefficient in coefficients[1:]:
        value = (number * value + coefficient) % PRIME
    return value


def deal(
    rows: nw.LazyFrame[Any], names: list[str], coefficients: tuple[int, ...]
) -> nw.LazyFrame[Any]:
    """Add the lot of its episode to each row, null where it has no episode.

    Episodes are told by columns of these names.
    """
    episodes = rows.group_by(*names, drop_null_keys=True).agg(nw.len().alias("n_rows"))
    episodes = (
        episodes.select(*names, one=nw.lit(1))
        .with_columns(number=_rank(names))
        .with_columns(drawn=polynomial(nw.col("number"), coefficients))
        .with_columns(place=_rank(["drawn", "number"]))
        .select(*names, lot=nw.col("place") % N_LOTS)
    )
    return rows.join(episodes, on=names, how="left")


def _rank(names: list[str]) -> nw.Expr:
    """Return how many rows come before each in the order of some columns, beside a ``one``.

    As a sum, since the row index of old versions of narwhals is that of another row.
    """
    return nw.col("one").cum_sum().over("one", order_by=names).cast(nw.Int64) - 1

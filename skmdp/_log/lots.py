"""Episodes of a lazy table dealt to lots on its engine: by chance, and yet the same ones again.

Episodes are put in the order of their first steps, those of one step in that of their labels, and
numbered, i = 0, 1, ... So ``N_BLOCKS`` blocks of time hold as many episodes each. The number of
each goes through a polynomial modulo a prime with coefficients that are drawn by a seed. So any few
episodes (as many as there are coefficients) get numbers that are independent of each other, and
uniform: no pattern in the order of episodes comes through, as it would if they were dealt in turn.
In the order of these numbers the episodes of a block are dealt in turn to the lots of the block.
That takes whole numbers below 2 ** 63 alone, so that every engine deals alike, however the rows
lie.

A log of up to ``N_LOTS`` episodes has lots of one episode, in their order. Of a longer one, lots of
a block differ by what as many episodes of a time differ by, which is what a standard error by
episode needs, and blocks by how the times differ, which shows a drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.utils import check_random_state

from skmdp._evaluation.lots import N_BLOCKS
from skmdp._typing import Floats, Integers

# As many groups of rows come to memory, at most, for each distinct transition; and with fewer lots
# the spread between those that a gain is judged on would be a matter of chance itself.
N_LOTS = 200
LOTS_OF_BLOCK = N_LOTS // N_BLOCKS
# Times at which episodes start, at most, by which they may be told apart.
N_COHORTS = 1000
PRIME = 2**31 - 1
N_COEFFICIENTS = 6
# Of the lot by which episodes are dealt where no seed is given.
FIXED_SEED = 0


@dataclass(frozen=True, eq=False)
class CellSums:
    """When the rows of each state, action and next state were.

    ``n_rows`` (n_cells,) are those of one state, action, next state (MISSING for none) and
    ``moment``, all (n_cells,), ``rewards`` (n_cells,) theirs together.
    """

    state_codes: Integers
    action_codes: Integers
    next_codes: Integers
    moment: Integers
    n_rows: Floats
    rewards: Floats


@dataclass(frozen=True, eq=False)
class StepSums(CellSums):
    """The same, each moment in a ``block`` (n_cells,) of time, and what lots were paid then.

    ``of_lots`` (n_lots, n_blocks) are the rewards less their means in the state and action.
    """

    block: Integers
    of_lots: Floats

    @classmethod
    def of_one_block(cls, lots: Lots) -> StepSums:
        """Return what tells nothing."""
        none, numbers = np.zeros(0, dtype=np.int64), np.zeros(0)
        of_lots = np.zeros((len(lots.lengths), 1))
        return cls(none, none, none, none, numbers, numbers, block=none, of_lots=of_lots)


@dataclass(frozen=True, eq=False)
class StartSums(CellSums):
    """The same, moments being those at which episodes start, and the ``lot`` (n_cells,) of these.

    Lots ascend.
    """

    lot: Integers


class Alike(NamedTuple):
    """How many episodes are alike, of ``n`` that are looked at.

    ``n_seen`` (n_times,) is how much of what episodes hold is seen once, twice and so on.
    ``n_again`` episodes are like another one in rewards that no others have, and one of them is
    there ``most`` times.
    """

    n_seen: Integers
    n: int
    n_again: int
    most: int


@dataclass(frozen=True, eq=False)
class Lots:
    """How many entries of a log belong to each lot, and how many starts, both (n_lots,).

    ``steps`` tell where in episodes their rows lie (None: nobody asked), ``dates`` at which steps,
    and at which of them their episodes start, where steps count on from one episode to the next
    (None: they do not), ``alike`` which episodes may be copies (None: nobody asked).
    """

    lengths: Integers
    start_lengths: Integers
    steps: StepSums | None = None
    dates: tuple[StepSums, StartSums] | None = None
    alike: Alike | None = None

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
    """Add to each row the lot of its episode, and where the episode ``starts``, null without one.

    And its ``cohort``, in the order of time: episodes of one start are of the same one, and so are
    some that start one after the other, where there are many. Episodes are told by columns of these
    names, and their order by the column ``step``.
    """
    number, n = nw.col("number"), nw.col("n")
    n_of_all = nw.col("one").sum().over("one").cast(nw.Int64)
    place = nw.col("place")
    episodes = rows.group_by(*names, drop_null_keys=True).agg(nw.col("step").min().alias("starts"))
    episodes = (
        episodes.with_columns(one=nw.lit(1))
        .with_columns(number=_rank(["one"], ["starts", *names]), n=n_of_all)
        .with_columns(block=number * N_BLOCKS // n, drawn=polynomial(number, coefficients))
        .with_columns(place=_rank(["block"], ["drawn", "number"]))
        .with_columns(of_many=nw.col("block") * LOTS_OF_BLOCK + place % LOTS_OF_BLOCK)
        .with_columns(lot=nw.when(n > N_LOTS).then(nw.col("of_many")).otherwise(number))
        .select(
            *names,
            "starts",
            lot=nw.col("lot").cast(nw.Int64),
            cohort=number.min().over("starts") * N_COHORTS // n,
        )
    )
    return rows.join(episodes, on=names, how="left")


def _rank(within: list[str], order: list[str]) -> nw.Expr:
    """Return how many rows come before each in the order of some columns, beside a ``one``.

    Those are counted that agree in the columns ``within``. As a sum, since the row index of old
    versions of narwhals is that of another row.
    """
    return nw.col("one").cum_sum().over(*within, order_by=order).cast(nw.Int64) - 1

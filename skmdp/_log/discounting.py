"""Counts in which rows discount what follows by their durations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._estimation.packing import RowSums
from skmdp._log.episodes import Transitions
from skmdp._log.refusals import refusal
from skmdp._messages import shown
from skmdp._typing import Floats, Integers

# Counts, and how durations went into them.
Timed = tuple[TransitionCounts, "Discounting | None"]


@dataclass(frozen=True)
class Discounting:
    """How the durations of rows went into counts: as gamma ** (duration - shortest).

    So no row leads on with more than its weight. ``unit`` is that of the durations (None: numbers).
    """

    gamma: float
    shortest: float
    unit: str | None

    @property
    def discount(self) -> float:
        """Discount of the shortest duration, by which all that is counted is to be multiplied."""
        return float(self.gamma**self.shortest)


def discount_rows(
    log: Transitions, counts: TransitionCounts, gamma: float, *, keep_squares: bool = False
) -> tuple[TransitionCounts, Discounting]:
    """Let rows discount what follows by their durations, relative to the shortest one.

    Counts also keep how long rows took, unless these are added up already, and on demand what
    variances need of their discounts.
    """
    assert log.durations is not None
    durations, unit = log.durations.numbers, log.durations.unit
    discounting = Discounting(gamma, float(durations.min(initial=np.inf)), unit)
    if gamma < 1 and discounting.discount == 1:
        raise refusal(
            f"Durations as short as {discounting.shortest:g} {unit or 'units'} discount nothing "
            f"that float64 can tell with gamma={gamma:g}. Choose a shorter unit, and gamma per "
            "such unit.",
            "duration",
        )
    triple = counts.find_triples(log.state_codes, log.action_codes, log.next_codes)
    if not log.durations.are_extremes:
        counts = _lasting(counts, triple, durations, log.weights)
    if keep_squares:
        counts = _with_squares(log, counts, triple, discounting)
    if log.durations.are_equal or gamma == 1:
        return counts, discounting
    return counts.discounted(triple, weighted_discounts(log, discounting)), discounting


def weighted_discounts(log: Transitions, discounting: Discounting) -> Floats:
    """Return weight times gamma ** (duration - shortest) of every row, (n,)."""
    if log.sums is not None and log.sums.discounts is not None:
        return log.sums.discounts
    assert log.durations is not None
    discounts = discounting.gamma ** (log.durations.numbers - discounting.shortest)
    return np.asarray(discounts if log.weights is None else discounts * log.weights)


def sums_in_time(log: Transitions, discounting: Discounting) -> RowSums | None:
    """Return what is known of the rows of entries, and how they discount; None of single rows."""
    if log.sums is None or log.sums.discounts is not None:
        return log.sums
    squares, products = _squares_of_rows(log, discounting)
    return replace(
        log.sums,
        discounts=weighted_discounts(log, discounting),
        discount_squares=squares,
        reward_discounts=products,
    )


def _lasting(
    counts: TransitionCounts, triple: Integers, durations: Floats, weights: Floats | None
) -> TransitionCounts:
    """Return counts that keep how long rows take, each of a triple, (n_rows,)."""
    n, weighted = len(counts.weights), durations if weights is None else weights * durations
    return replace(
        counts,
        duration_sums=sum_by_code(triple, weighted, n),
        duration_squares=sum_by_code(triple, weighted * durations, n),
    )


def _with_squares(
    log: Transitions, counts: TransitionCounts, triple: Integers, discounting: Discounting
) -> TransitionCounts:
    """Return counts that keep squares of discounts, and their products with rewards."""
    if log.sums is None or (log.durations is not None and not log.durations.are_extremes):
        squares, products = _squares_of_rows(log, discounting)
    else:
        assert log.weights is not None
        squares, products = log.sums.squared_discounts(log.weights)
    n = len(counts.weights)
    return replace(
        counts,
        discount_squares=sum_by_code(triple, squares, n),
        reward_discounts=sum_by_code(triple, products, n),
    )


def _squares_of_rows(log: Transitions, discounting: Discounting) -> tuple[Floats, Floats]:
    """Return the squared discount of each row, and its product with the reward, weighted, (n,)."""
    discounts = weighted_discounts(log, discounting)
    relative = discounts if log.weights is None else discounts / log.weights
    rewards = np.zeros(len(discounts)) if log.rewards is None else log.rewards
    return discounts * relative, discounts * rewards


def discount_alike(
    earlier: Timed, later: Timed
) -> tuple[tuple[TransitionCounts, TransitionCounts], Discounting | None]:
    """Return the counts of two logs relative to the shortest duration of both."""
    before, now = earlier[1], later[1]
    if before is None and now is None:
        return (earlier[0], later[0]), None
    if before is None or now is None:
        words = ("without", "with") if before is None else ("with", "without")
        raise ValueError(
            f"The batches before came {words[0]} durations, this one {words[1]}. Hand in durations "
            "with all batches or with none, or call fit to start anew."
        )
    if np.isfinite([before.shortest, now.shortest]).all():  # else one of them counted nothing
        _require_equal("gamma", before.gamma, now.gamma)
        _require_equal("duration_unit", before.unit, now.unit)
    both = now if np.isfinite(now.shortest) else before
    both = replace(both, shortest=min(before.shortest, now.shortest))
    counts = _relative_to(both.shortest, earlier[0], before), _relative_to(both.shortest, *later)
    return counts, both


def _require_equal(name: str, before: object, now: object) -> None:
    """Raise if batches would be counted in different ways."""
    if before != now:
        raise ValueError(
            f"The durations of the batches before were counted with {name} {shown(before)}, those "
            f"of this one with {shown(now)}. Keep {name} as it was, or call fit to start anew."
        )


def _relative_to(
    shortest: float, counts: TransitionCounts, discounting: Discounting | None
) -> TransitionCounts:
    """Return counts relative to a duration that may be shorter than all of theirs."""
    assert discounting is not None
    if discounting.shortest == shortest or discounting.gamma == 1:
        return counts
    factor = discounting.gamma ** (discounting.shortest - shortest)
    counts = replace(counts, discount_sums=counts.following * factor)
    if counts.discount_squares is None or counts.reward_discounts is None:
        return counts
    return replace(
        counts,
        discount_squares=counts.discount_squares * factor**2,
        reward_discounts=counts.reward_discounts * factor,
    )

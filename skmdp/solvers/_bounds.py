"""Bounds on the optimal values from one application of the Bellman operator.

Let beta be gamma times the probability that another decision follows a pair, b0 the least and b1
the largest beta. For any V and d = T V - V over the states that act, between lo and hi, V* - T V
lies between low and up in every one of them:

    low = lo b0 / (1 - b0) if lo > 0 else lo b1 / (1 - b1)
    up  = hi b1 / (1 - b1) if hi > 0 else hi b0 / (1 - b0)

since T is monotone and, for a constant c >= 0, T (V + c) - T V is between b0 c and b1 c. Where
every pair goes on for certain, b0 = b1 = gamma, and these are the bounds of MacQueen (1966;
Puterman 2005, theorem 6.6.3): a constant added to V then moves its level and nothing else, so V may
be kept small, which keeps rounding small. A penalty with its floor leaves b0 = 0 (see
``skmdp.mdp._penalty``).

At gamma = 1, in a process that ends under every policy, the largest expected number of steps of
any policy takes the place of b1 / (1 - b1), and b0 = 0 (Bertsekas and Tsitsiklis 1991).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.solvers._array_policy import extremes
from skmdp.solvers._kernels import Change

# What is smaller than this has fewer digits.
TINY = float(np.finfo(np.float64).tiny)
# Stands for a sum without a bound. Nothing is then proven, and products do not overflow.
UNBOUNDED = 1e150


def interval_of(
    least: float, most: float, lo: float, hi: float, noise: float
) -> tuple[float, float]:
    """Return the least and the most that V* - T V can be, see ``Discounting``.

    This and ``proof_of`` are compiled as they stand: they take and make numbers, and call nothing.
    """
    lo, hi = lo - noise, hi + noise
    return lo * (least if lo > 0 else most), hi * (most if hi > 0 else least)


@dataclass(frozen=True)
class Discounting:
    """The least and the largest discounted sum of one unit in every step, from the next step on.

    ``forgets_level`` says that the sum is the same for all pairs.
    """

    least: float
    most: float
    forgets_level: bool = False

    def interval(self, lo: float, hi: float, noise: float = 0.0) -> tuple[float, float]:
        """Return the least and the most that V* - T V can be.

        T V - V is between ``lo`` and ``hi``, both off by ``noise`` at most.
        """
        return interval_of(self.least, self.most, lo, hi, noise)

    def width(self, lo: float, hi: float) -> float:
        """Return the width of the interval, the measure of progress."""
        low, up = interval_of(self.least, self.most, lo, hi, 0.0)
        return up - low


def discounted_sums(acting_mass: Floats, slack: Floats, gamma: float) -> tuple[Floats, Floats]:
    """Return the least and the largest discounted sum of one unit in every step, gamma below 1.

    ``acting_mass`` (..., n_pairs) is the probability that another decision follows each pair, off
    by ``slack`` at most. ``UNBOUNDED`` stands for a sum that may have no bound.
    """
    is_closed = (np.abs(1 - acting_mass) <= slack).all(axis=-1)
    least = gamma * np.maximum(0.0, (acting_mass - slack).min(axis=-1))
    most = gamma * (acting_mass + slack).max(axis=-1)
    least, most = np.where(is_closed, gamma, least), np.where(is_closed, gamma, most)
    is_bounded = most < 1
    least, most = np.where(is_bounded, least, 0.0), np.where(is_bounded, most, 0.0)
    return least / (1 - least), np.where(is_bounded, most / (1 - most), UNBOUNDED)


def discount(mdp: MDP, gamma: float) -> Discounting:
    """Return the discounted sums of one unit in every step, for gamma below 1."""
    if not mdp.is_linear:
        return Discounting(0.0, gamma / (1 - gamma))
    if mdp.is_closed:
        total = gamma / (1 - gamma)
        return Discounting(total, total, forgets_level=True)
    sums = discounted_sums(mdp.acting_mass, mdp.mass_rounding, gamma)
    least, most = map(float, sums)
    return Discounting(least, most, forgets_level=least == most)


def nearest_to_zero(low: float, up: float) -> float:
    """Return the number nearest to 0 in an interval."""
    return max(low, min(0.0, up))


def shared_part(values: Floats) -> float:
    """Return the number nearest to 0 between the smallest and the largest value."""
    return nearest_to_zero(*extremes(values))


class Proof(NamedTuple):
    """What one application of T to V proves.

    T V - V is between ``lo`` and ``hi``, both off by ``noise``. T V plus ``moved`` plus ``level``,
    two constants, is V* in acting states but for an error of ``bound`` at most, and the errors of
    two states differ by at most ``spread_bound``. ``level`` is what large values have in common.
    ``largest`` is the largest of the values in absolute terms.
    ``is_rounding`` says that nothing but rounding, or overflow, is left of ``spread_bound``.
    """

    lo: float
    hi: float
    noise: float
    moved: float
    level: float
    bound: float
    spread_bound: float
    largest: float
    is_rounding: bool


def noise_of(rounding: float, largest_reward: float, change: Change) -> float:
    """Return the largest error of T V - V, from the relative one of each value."""
    lo, hi, least, most = change
    size = largest_reward + max(abs(least), abs(most)) + max(abs(lo), abs(hi))
    return rounding * size + (TINY if size > 0 else 0.0)


def proof_of(
    change: Change,
    noise: float,
    low: float,
    up: float,
    most_steps: float,
    forgets: bool,
    rounding: float,
    largest_reward: float,
) -> Proof:
    """Return what is proven if V* - T V is between ``low`` and ``up``."""
    lo, hi, least, most = change
    nearest = max(low, min(0.0, up))
    shift = (low + up) / 2 if forgets else nearest
    shared = max(least, min(0.0, most))
    largest = max(abs(least + shift), abs(most + shift))
    # Rows sum to one up to rounding only: with a large level that is an error of its own.
    rounded = rounding * (largest_reward + largest)
    amplified = 1 + (most_steps if forgets else 0.0)
    return Proof(
        lo,
        hi,
        noise,
        -shared if forgets else shift,
        shared + shift if forgets else 0.0,
        max(up - shift, shift - low) + amplified * rounded,
        up - low,
        largest,
        not up - low > 8 * noise * most_steps,
    )


def prove(mdp: MDP, discounting: Discounting, change: Change, factor: float = 1.0) -> Proof:
    """Bound the error of T V, of the acting states; the largest |R| and roundings are the MDP's.

    They are larger by a ``factor`` where loops at a state are solved.
    """
    rounding, largest_reward = factor * mdp.rounding, mdp.largest_reward
    noise = noise_of(rounding, largest_reward, change)
    low, up = discounting.interval(change.lo, change.hi, noise)
    most, forgets = discounting.most, discounting.forgets_level
    return proof_of(change, noise, low, up, most, forgets, rounding, largest_reward)

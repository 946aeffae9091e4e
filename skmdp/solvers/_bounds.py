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

import numpy as np

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.solvers._kernels import Change

# What is smaller than this has fewer digits.
TINY = float(np.finfo(np.float64).tiny)
# Stands for a sum without a bound. Nothing is then proven, and products do not overflow.
UNBOUNDED = 1e150


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
        lo, hi = lo - noise, hi + noise
        return (
            lo * (self.least if lo > 0 else self.most),
            hi * (self.most if hi > 0 else self.least),
        )

    def width(self, lo: float, hi: float) -> float:
        """Return the width of the interval, the measure of progress."""
        low, up = self.interval(lo, hi)
        return up - low


def discount(mdp: MDP, gamma: float) -> Discounting:
    """Return the discounted sums of one unit in every step, for gamma below 1."""
    slack = mdp.mass_rounding
    if not mdp.is_linear:
        least, most = 0.0, gamma
    elif (np.abs(1 - mdp.acting_mass) <= slack).all():
        least = most = gamma
    else:
        least = gamma * max(0.0, float((mdp.acting_mass - slack).min()))
        most = gamma * float((mdp.acting_mass + slack).max())
    if most >= 1:
        return Discounting(0.0, UNBOUNDED)
    return Discounting(least / (1 - least), most / (1 - most), forgets_level=least == most)


def nearest_to_zero(low: float, up: float) -> float:
    """Return the number nearest to 0 in an interval."""
    return max(low, min(0.0, up))


def shared_part(values: Floats) -> float:
    """Return the number nearest to 0 between the smallest and the largest value."""
    return nearest_to_zero(float(values.min()), float(values.max()))


@dataclass(frozen=True)
class Proof:
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


def prove(mdp: MDP, discounting: Discounting, change: Change, factor: float = 1.0) -> Proof:
    """Bound the error of T V, of the acting states; the largest |R| and roundings are the MDP's.

    They are larger by a ``factor`` where loops at a state are solved.
    """
    lo, hi, least, most = change
    size = max(abs(least), abs(most)) + max(abs(lo), abs(hi))
    rounding = factor * mdp.rounding
    size += mdp.largest_reward
    noise = rounding * size + (TINY if size > 0 else 0.0)
    low, up = discounting.interval(lo, hi, noise)
    forgets = discounting.forgets_level
    shift = (low + up) / 2 if forgets else nearest_to_zero(low, up)
    shared = nearest_to_zero(least, most)
    largest = max(abs(least + shift), abs(most + shift))
    # Rows sum to one up to rounding only: with a large level that is an error of its own.
    rounded = rounding * (mdp.largest_reward + largest)
    amplified = 1 + (discounting.most if forgets else 0.0)
    return Proof(
        lo=lo,
        hi=hi,
        noise=noise,
        moved=-shared if forgets else shift,
        level=shared + shift if forgets else 0.0,
        bound=max(up - shift, shift - low) + amplified * rounded,
        spread_bound=up - low,
        largest=largest,
        is_rounding=not up - low > 8 * noise * discounting.most,
    )

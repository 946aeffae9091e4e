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
from skmdp.mdp._bellman import maximize

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

    def interval(self, d: Floats, noise: float = 0.0) -> tuple[float, float]:
        """Return the least and the most that V* - T V can be, for d = T V - V off by ``noise``."""
        lo, hi = float(d.min()) - noise, float(d.max()) + noise
        return (
            lo * (self.least if lo > 0 else self.most),
            hi * (self.most if hi > 0 else self.least),
        )

    def width(self, d: Floats) -> float:
        """Return the width of the interval, the measure of progress."""
        low, up = self.interval(d)
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


def shared_part(values: Floats) -> float:
    """Return the number nearest to 0 between the smallest and the largest value."""
    return nearest_to_zero(float(values.min()), float(values.max()))


def nearest_to_zero(low: float, up: float) -> float:
    """Return the number nearest to 0 in an interval."""
    return max(low, min(0.0, up))


@dataclass(frozen=True, eq=False)
class Proof:
    """The result of applying T to V, and proven bounds on its error.

    ``q_values`` are those under V, and ``d`` (n_acting,) is T V - V, off by ``noise``.
    ``values`` (n_states,), plus the constant ``level`` in acting states, is T V moved into the
    interval that holds V*. Its error is at most ``bound``, and the errors of two states differ by
    at most ``spread_bound``. ``largest`` is the largest of these values in absolute terms.
    ``is_rounding`` says that nothing but rounding, or overflow, is left of ``spread_bound``.
    """

    q_values: Floats
    d: Floats
    noise: float
    values: Floats
    level: float
    bound: float
    spread_bound: float
    largest: float
    is_rounding: bool


def prove(mdp: MDP, gamma: float, V: Floats, discounting: Discounting) -> Proof:
    """Apply T once, and bound the error of the result."""
    acting = mdp.acting_states
    Q = mdp.pair_values(V, gamma)
    TV = maximize(mdp, Q)
    d = TV[acting] - V[acting]
    rounding = float(mdp.n_roundings.max()) * float(np.finfo(np.float64).eps)
    size = max(float(np.abs(V[acting]).max()), float(np.abs(TV[acting]).max()))
    noise = rounding * (mdp.largest_reward + size)
    low, up = discounting.interval(d, noise)
    level = shared_part(TV[acting]) if discounting.forgets_level else 0.0
    shift = (low + up) / 2 if discounting.forgets_level else nearest_to_zero(low, up)
    largest = float(np.abs(TV[acting] + shift).max())
    # Rows sum to one up to rounding only: with a large level that is an error of its own.
    amplified = 1 + (discounting.most if discounting.forgets_level else 0.0)
    values = np.zeros(mdp.n_states)
    if discounting.forgets_level:
        values[acting] = TV[acting] - level
        level += shift
    else:
        values[acting] = TV[acting] + shift
    return Proof(
        q_values=Q,
        d=d,
        noise=noise,
        values=values,
        level=level,
        bound=max(up - shift, shift - low) + amplified * rounding * (mdp.largest_reward + largest),
        spread_bound=up - low,
        largest=largest,
        is_rounding=not up - low > 8 * noise * discounting.most,
    )

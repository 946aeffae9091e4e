"""Approximate values of one policy after the other."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.solvers._bounds import Discounting, shared_part
from skmdp.solvers._equations import equations_of, solve_band, solve_dense, solve_krylov
from skmdp.solvers._kernels import follow, padded

# Sweeps of one policy at most, of a new one and of one that is nearly still. Every so many sweeps,
# from the second time on, the number of those to come is predicted.
MOST_SWEEPS = 60
MOST_STILL = 200
SWEEPS_BETWEEN = 4
# Predicted sweeps from which equations are tried, and from which the Krylov method is.
MANY_SWEEPS = 40
VERY_MANY_SWEEPS = 150
# Share of the states whose action changed up to which a policy is nearly still.
STILL = 0.02
# States up to which elimination in a full matrix costs less than most other ways.
FEW_STATES = 400
# Times that a band may be too wide before none is looked for any more.
MOST_REFUSALS = 2


class Evaluator:
    """Moves V towards the values of policies of a process, one after the other.

    It sweeps V <- R + gamma P V. Where that would take too long, it solves the policy's equations.
    ``solves`` says whether a policy may be followed by equations at all.
    """

    solves: ClassVar[bool] = True

    def __init__(self, gamma: float, discounting: Discounting, *, may_solve: bool) -> None:
        self._gamma, self._discounting = gamma, discounting
        self._may_solve = may_solve
        self._n_refusals = 0
        self._many_sweeps = VERY_MANY_SWEEPS

    def evaluate(
        self, policy: MDP, values: Floats, *, goal: float, enough: float, cheap: int, change: float
    ) -> Floats:
        """Return V closer to that of the policy: to the width ``goal``, if that is not much work.

        The first sweeps, as many as are ``cheap``, go beyond it, unless the width is ``enough``.
        ``change`` is the share of the states whose action is new.
        """
        V, widths, n = padded(values, policy.n_states), [], len(values)
        is_tried = not self._may_solve
        for _ in range(MOST_STILL if change <= STILL else MOST_SWEEPS):
            V, lo, hi = follow(policy, V, self._gamma)
            widths.append(self._discounting.width(lo, hi))
            if widths[-1] <= (goal if len(widths) >= cheap else enough):
                break
            to_come = sweeps_to_come(widths, goal)
            if to_come > MANY_SWEEPS and not is_tried:
                is_tried = True
                solved = self.solve(policy, V, goal, to_come, change)
                V = V if solved is None else solved
        if self._discounting.forgets_level:  # rounding is relative to what is left
            V[:n] -= shared_part(V[:n])
        return V

    def solve(
        self, policy: MDP, V: Floats, goal: float, to_come: float, change: float
    ) -> Floats | None:
        """Return V moved by the solution of the policy's equations; None if that is too much work.

        Rounding is relative to the distance from the policy's values.
        """
        n, forgets = len(policy.rewards), self._discounting.forgets_level
        V = V.copy()
        if forgets:
            V[:n] -= shared_part(V[:n])
        swept, lo, hi = follow(policy, V, self._gamma)
        d = swept[:n] - V[:n]
        if forgets:
            d -= shared_part(d)
        try:
            x = self._solution(policy, d, goal, to_come, change)
        except (np.linalg.LinAlgError, RuntimeError):  # nothing but rounding is left of a pivot
            return None
        if x is None:
            return None
        V[:n] += x
        _, lo_after, hi_after = follow(policy, V, self._gamma)
        is_closer = self._discounting.width(lo_after, hi_after) < self._discounting.width(lo, hi)
        return V if is_closer else swept

    def _solution(
        self, policy: MDP, d: Floats, goal: float, to_come: float, change: float
    ) -> Floats | None:
        """Return the solution of the policy's equations for d, None if that is too much work."""
        is_wanted = to_come > self._many_sweeps and change <= STILL
        if self._n_refusals >= MOST_REFUSALS and len(d) > FEW_STATES and not is_wanted:
            return None
        equations = equations_of(policy, self._gamma)
        if equations is not None and self._n_refusals < MOST_REFUSALS:
            x = solve_band(equations, d)
            if x is not None:
                return x
            self._n_refusals += 1
        if len(d) <= FEW_STATES:
            return solve_dense(policy.with_dense_rows().transitions, self._gamma, d)
        if not is_wanted:
            return None
        residual = goal / (1 + self._discounting.most)
        solved, is_solved = solve_krylov(policy, self._gamma, equations, d, residual)
        if not is_solved:
            self._many_sweeps *= 10
        return solved


def sweeps_to_come(widths: list[float], goal: float) -> float:
    """Return the number of sweeps until the goal that the last ones predict, 0 in between."""
    n = len(widths)
    if n < 2 * SWEEPS_BETWEEN or n % SWEEPS_BETWEEN:
        return 0.0
    now, before = widths[-1], widths[-1 - SWEEPS_BETWEEN]
    if not now < before:
        return math.inf
    return SWEEPS_BETWEEN * math.log(goal / now) / math.log(now / before)

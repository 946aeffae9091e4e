"""Approximate values of one policy after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from skmdp._typing import Floats
from skmdp.solvers._bounds import Discounting, Proof, nearest_to_zero, shared_part
from skmdp.solvers._equations import (
    Policy,
    cheap_band,
    cost_of_band,
    solve_band,
    solve_dense,
    solve_krylov,
    widths_of,
)

# Every so many sweeps, from the second time on, the number of those to come is predicted.
SWEEPS_BETWEEN = 4
# Share of the states whose action changed up to which a policy is nearly still.
STILL = 0.02
# Share of the states from which a core is large: to look for it takes as long as many sweeps.
LARGE_CORE = 0.2
# Share of the largest change up to which others are next to nothing.
SETTLED = 1e-6
# States up to which elimination in a full matrix costs less than most other ways.
FEW_STATES = 400
# Times that a band may be too wide before none is looked for any more.
MOST_REFUSALS = 2


@dataclass(frozen=True)
class Pace:
    """How long a policy is followed, and how.

    ``tolerance`` is the width, relative to that of the optimum, at which improving pays again; of a
    policy that is nearly still, as few actions are new as the share ``still``, it is
    ``still_tolerance``. At most ``most_sweeps`` are done, or ``most_still``. Where more than
    ``many_sweeps`` are to come, equations are tried, from ``very_many_sweeps`` on the Krylov
    method. Up to the share ``new_of_core`` of new actions, sweeps may be left to the core, and
    up to ``new_of_large`` if it was large the last time. One that ``stops`` only says that it is
    slow.
    """

    tolerance: float
    still_tolerance: float
    most_sweeps: int
    most_still: int
    many_sweeps: int
    very_many_sweeps: float
    still: float = STILL
    new_of_core: float = STILL
    new_of_large: float = 1.0
    stops: bool = False


AS_GIVEN = Pace(0.1, 0.01, 60, 200, 40, 150, new_of_large=0.01)
IN_PLACE = Pace(0.01, 0.01, 20, 20, 40, 40, still=0.1, new_of_core=1.0)


def until_slow(n_actions: float) -> Pace:
    """Return how long a policy is followed until work should go on in place.

    An improvement costs as much as a sweep for each action, and work in place begins with as many
    improvements.
    """
    many = max(20, round(n_actions**2))
    return Pace(0.1, 0.1, many + 4, many + 4, many, math.inf, stops=True)


class Evaluator:
    """Moves V towards the values of policies of a process, one after the other.

    It sweeps V <- R + gamma P V. Where that would take too long, it solves the policy's equations.
    One that ``stops`` says by ``is_slow`` that work should go on in place, and by ``least_to_come``
    how much all values would still have risen, or fallen, at least. ``solves`` says whether a
    policy may be followed by equations at all, ``leaves`` whether in place, and ``as_given`` how
    long as long as states are in the order given.
    """

    as_given: ClassVar[Pace] = AS_GIVEN
    solves: ClassVar[bool] = True
    leaves: ClassVar[bool] = True

    def __init__(self, discounting: Discounting, pace: Pace, *, may_solve: bool) -> None:
        self.discounting = discounting
        self._pace, self._may_solve, self.stops = pace, may_solve, pace.stops
        # How often a band was too wide, what it could have cost the last time, and whether the last
        # was narrow, and one so narrow as to cost less than many sweeps.
        self._n_refusals, self._refused, self._is_narrow = 0, math.inf, False
        self._is_quick = False
        self.least_to_come = self._drift = 0.0
        self._most_new = pace.new_of_core
        self._many_sweeps = pace.very_many_sweeps
        self.is_slow = False

    def recall(self, before: Evaluator) -> None:
        """Take over what was seen of bands before."""
        self._n_refusals, self._refused = before._n_refusals, before._refused
        self._is_narrow, self._is_quick = before._is_narrow, before._is_quick

    def evaluate(
        self,
        policy: Policy,
        V: Floats,
        step: Proof,
        *,
        cheap: int,
        is_new: float,
        wanted: float = 0.0,
    ) -> Floats:
        """Return V closer to that of the policy, if that is not much work.

        ``step`` is what the improvement before proved. The first sweeps, as many as are ``cheap``,
        are done in any case, unless nothing but noise is left, or less than the width ``wanted``.
        ``is_new`` is the share of the states whose action is new.
        """
        goal, enough = self._goal(step, is_new)
        enough = max(enough, wanted)
        solved = self._at_once(policy, V, goal, is_new)
        core = self._core(policy, V, is_new) if solved is None else None
        if solved is not None:
            V = solved
        elif core is None:
            V = self._sweep(policy, V, goal, enough, cheap, is_new)
        else:
            # So few states are worth equations, however new their actions are.
            is_new, values = min(is_new, self._pace.still), core.values
            if len(values):
                values = self._sweep(core.policy, values, goal, enough, cheap, is_new)
            core.follow(V, values, self._drift)
        if self.discounting.forgets_level and not self.is_slow:
            n = len(policy.rewards)  # rounding is relative to what is left
            V[:n] -= shared_part(V[:n])
        return V

    def _sweep(
        self,
        policy: Policy,
        V: Floats,
        goal: float,
        enough: float,
        cheap: int,
        is_new: float,
    ) -> Floats:
        """Return V after sweeps, and what is quicker where these are slow."""
        pace = self._pace
        widths: list[float] = []
        lo = hi = 0.0
        is_tried = not self._may_solve
        for _ in range(pace.most_still if is_new <= pace.still else pace.most_sweeps):
            V, lo, hi = policy.sweep(V)
            widths.append(self.discounting.width(lo, hi))
            if widths[-1] <= (goal if len(widths) >= cheap else enough):
                break
            to_come = sweeps_to_come(widths, goal)
            if to_come <= pace.many_sweeps:
                continue
            if pace.stops:
                self.is_slow = True
                break
            if not is_tried:
                is_tried = True
                V, is_done = self._leap(policy, V, goal, to_come, is_new)
                if is_done:
                    break
        else:
            self.is_slow = pace.stops
        self.least_to_come = nearest_to_zero(*self.discounting.interval(lo, hi))
        gamma = self.discounting.most / (1 + self.discounting.most)
        # The level that was left out comes back with the sweeps, each time less of it.
        self._drift = gamma * (lo + hi) / 2 if self.discounting.forgets_level else 0.0
        return V

    def _core(self, policy: Policy, V: Floats, is_new: float) -> Any:
        """Return the core of a policy, None where none is looked for, or it is not small."""
        if not (self._may_solve and is_new <= self._most_new):
            return None
        core = policy.core(V)
        if core is None:
            self._most_new = -1.0
        elif len(core.values) > LARGE_CORE * len(policy.rewards):
            self._most_new = min(self._most_new, self._pace.new_of_large)
        return core

    def _goal(self, step: Proof, is_new: float) -> tuple[float, float]:
        """Return the width at which improving pays again, and that of noise."""
        enough = 2 * step.noise * self.discounting.most
        tolerance = self._pace.tolerance if is_new > 0 else self._pace.still_tolerance
        return max(tolerance * self.discounting.width(step.lo, step.hi), enough), enough

    def _at_once(self, policy: Policy, V: Floats, goal: float, is_new: float) -> Floats | None:
        """Return the values of a policy whose equations cost less than sweeps, else None.

        It leads from each state to one other at most, or another was slow, and its band narrow.
        """
        if not self._may_solve or (policy.along_paths is None and not self._is_quick):
            return None
        return self.solve(policy, V, goal, math.inf, is_new)

    def _leap(
        self, policy: Policy, V: Floats, goal: float, to_come: float, is_new: float
    ) -> tuple[Floats, bool]:
        """Return V moved by equations, or else by waves, and whether no sweeps should follow."""
        solved = self.solve(policy, V, goal, to_come, is_new)
        if solved is not None:
            return solved, False
        waved = policy.wave(V)
        return (V, False) if waved is None else (waved, True)

    def solve(
        self, policy: Policy, V: Floats, goal: float, to_come: float, is_new: float
    ) -> Floats | None:
        """Return V moved by the solution of the policy's equations; None if that is too much work.

        Rounding is relative to the distance from the policy's values.
        """
        n, forgets = len(policy.rewards), self.discounting.forgets_level
        V = V.copy()
        if forgets:
            V[:n] -= shared_part(V[:n])
        swept, lo, hi = policy.apply(V)
        d = swept[:n] - V[:n]
        if forgets:
            d -= shared_part(d)
        try:
            x = self._solution(policy, d, goal, to_come, is_new)
        except (np.linalg.LinAlgError, RuntimeError):  # nothing but rounding is left of a pivot
            return None
        if x is None:
            return None
        V[:n] += x
        _, lo_after, hi_after = policy.apply(V)
        is_closer = self.discounting.width(lo_after, hi_after) < self.discounting.width(lo, hi)
        return V if is_closer else swept

    def _solution(
        self, policy: Policy, d: Floats, goal: float, to_come: float, is_new: float
    ) -> Floats | None:
        """Return the solution of the policy's equations for d, None if that is too much work."""
        x = self._directly(policy, d, 0.0, is_new)
        if x is not None or is_new > self._pace.still:
            return x
        if to_come > self._many_sweeps:
            x, is_solved = solve_krylov(policy, d, goal / (1 + self.discounting.most))
            if is_solved:
                return x
            self._many_sweeps *= 10
        direct = self._directly(policy, d, to_come, is_new)
        return x if direct is None else direct

    def _directly(self, policy: Policy, d: Floats, to_come: float, is_new: float) -> Floats | None:
        """Return the solution by elimination, None if that is too much work."""
        if (along_paths := policy.along_paths) is not None:
            return along_paths(d)
        x = self._in_band(policy, d, to_come, is_new)
        if x is not None or len(d) > FEW_STATES:
            return x
        P = policy.transitions()
        return None if P is None else solve_dense(P.toarray(), d)

    def _in_band(self, policy: Policy, d: Floats, to_come: float, is_new: float) -> Floats | None:
        """Return the solution by elimination in a band, None if that is too wide.

        A band is looked for at once, once more when the policy is nearly still, and whenever it may
        cost twice as much as the last that was refused.
        """
        is_still = is_new <= self._pace.still
        most = cheap_band(policy.n_entries + len(d), to_come if is_still else 0.0)
        n_allowed = MOST_REFUSALS if is_still else min(MOST_REFUSALS, 1)
        if self._n_refusals >= n_allowed and not most > 2 * self._refused:
            return None
        is_wide = not self._is_narrow and policy.spreads(most)
        P = None if is_wide else policy.transitions()
        x = None if P is None else solve_rest(P, d, most, self._is_narrow)
        self._is_narrow = x is not None
        if P is not None and x is not None and not self._is_quick:
            cost = cost_of_band(len(d), *widths_of(P))
            self._is_quick = cost <= self._pace.many_sweeps * P.nnz
        if x is None:
            self._n_refusals, self._refused = self._n_refusals + 1, most
        return x


def solve_rest(P: Any, d: Floats, most: float, is_narrow: bool) -> Floats | None:
    """Solve x = d + P x in a band, without the first states that are as good as solved.

    That is, where no others lead to them. None if the band is too wide.
    """
    start = int(np.argmax(np.abs(d) > SETTLED * np.abs(d).max()))
    rest = P.indptr[start]
    if not start or P.indices[rest:].min(initial=start) < start:
        return solve_band(P, d, most, is_narrow)
    rows = P.data[rest:], P.indices[rest:] - start, P.indptr[start:] - rest
    x = solve_band(csr_array(rows, shape=(len(d) - start,) * 2), d[start:], most, is_narrow)
    return None if x is None else np.append(np.zeros(start), x)


def sweeps_to_come(widths: list[float], goal: float) -> float:
    """Return the number of sweeps until the goal that the last ones predict, 0 in between."""
    n = len(widths)
    if n < 2 * SWEEPS_BETWEEN or n % SWEEPS_BETWEEN:
        return 0.0
    now, before = widths[-1], widths[-1 - SWEEPS_BETWEEN]
    if not now < before:
        return math.inf
    return SWEEPS_BETWEEN * math.log(goal / now) / math.log(now / before)

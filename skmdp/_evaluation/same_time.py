"""What rows of one time tell of a drift in a difference between two policies.

Whatever happens at a time happens to all of its rows, those of one state or those of all. So let
the reward of row i, of pair p and time k, be

    r_i = alpha_p + gamma_k + noise

where all pairs are those of one state, or of the log. With N_k the rows at time k by pair, n_k
their number, and m_p what moves a difference by pair, rows of one time tell the difference as

    sum z_i r_i,  z_i = (e_p - N_k / n_k)' L^-1 m,  L = sum_k (diag(N_k) - N_k N_k' / n_k)

and what is due to time is the rest of it. Nothing is asked of how times follow each other, so
nothing that happens from one to the next is missed. But a time of one row tells nothing: where
there are few rows at each, times next to each other are taken for one. Those of all states tell
most then; those of one see what happens to this one alone. Rows of the very same time are compared
then as well. They may be few, and none of some pairs: so beside them times taken for one stay in
the sums z and L, with a small weight.

Only the rows of each pair at each time are counted, and their rewards added up. So it is the same
whether rows are known one by one or not.

References
----------
J. M. Wooldridge, "Econometric analysis of cross section and panel data", MIT Press (2010), chapter
10: the within estimator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import SuperLU, splu

from skmdp._evaluation.credibility import Residuals
from skmdp._evaluation.direct import divide
from skmdp._typing import Floats, Integers

# Rows that a time has on average, at least.
FEWEST_ROWS = 2
# Times of all states, times pairs: a bound on what it takes to tell these apart.
LARGEST = 2**19
# Weight of times that are put together beside those that are not.
BESIDE = 0.01
# What is added to L, relative to its diagonal, so that it can be inverted.
LITTLE = 1e-9


@dataclass(frozen=True, eq=False)
class SameTime:
    """Rows of one time, in one state or in all.

    ``residuals`` are those of rewards in their pairs, whose parents are states; ``time`` (n_rows,)
    is that of each row, a code, -1 where it tells nothing. ``beside`` (n_rows,) are longer times
    that tell what these do not (None: there are none).
    """

    residuals: Residuals
    time: Integers
    beside: Integers | None = None
    # How often it is taken off what blocks miss beside these: once, and once more as times that
    # differ may be one here.
    times: ClassVar[float] = 2.0

    @classmethod
    def of_states(
        cls, residuals: Residuals, one_of: Integers, time: Integers, fewest: float = FEWEST_ROWS
    ) -> SameTime:
        """Compare rows of the same state, given the ``time`` (n_rows,) of each, from 0 on.

        ``one_of`` (n_rows,) are the states, -1 where rows are not compared. Times next to each
        other are taken for one where they have fewer than the ``fewest`` rows on average.
        """
        rows = np.flatnonzero(one_of >= 0)
        found = np.full(len(time), -1)
        n_rows = residuals.of_all_rows(np.ones(len(time)))[rows]
        found[rows] = _times(one_of[rows], time[rows], n_rows, len(time), fewest)
        return cls(residuals, found)

    @classmethod
    def of_all(cls, residuals: Residuals, time: Integers, fewest: float = FEWEST_ROWS) -> SameTime:
        """Compare rows of all states."""
        n_rows = residuals.of_all_rows(np.ones(len(time)))
        most = max(1, LARGEST // len(residuals.parent))
        return cls(residuals, _times(np.zeros_like(time), time, n_rows, most, fewest))

    @classmethod
    def looks(cls, residuals: Residuals, one_of: Integers, time: Integers) -> list[SameTime]:
        """Compare rows of the same state, and those of all.

        And those of the very same time where that is not all.
        """
        looks = []
        for compare in (partial(cls.of_states, residuals, one_of), partial(cls.of_all, residuals)):
            together, apart = compare(time), compare(time, fewest=0.0)
            looks.append(together)
            if not np.array_equal(together.time, apart.time):
                looks.append(replace(apart, beside=together.time))
        return looks

    def due(self, moved: Floats) -> Floats:
        """Return by how much each row moves a difference by time alone, (n_rows,).

        ``moved`` (n_rows,) is by how much it moves it.
        """
        log, (N, weights) = self.residuals, self._counted
        ways = self._solve(log.sums(log.less_mean_of_parent(moved), log.group, len(log.parent)))
        of_times = divide(N.T @ ways, N.sum(axis=0))
        drawn = np.zeros(len(moved))
        for rows, time in self._codes:
            drawn[rows] += weights[time] * (of_times[time] - ways[log.group[rows]])
        return log.less_mean(drawn)

    def _solve(self, m: Floats) -> Floats:
        """Return L^-1 m; by as many unknowns as there are times, if these are fewer than pairs."""
        N, weights = self._counted
        solution = self._factors.solve
        if not self._has_fewer_times:
            return np.asarray(solution(m))
        n_of = _or_one(N @ weights)
        return np.asarray((m + N @ solution(N.T @ (m / n_of))) / n_of)

    @property
    def _has_fewer_times(self) -> bool:
        n_pairs, n_times = self._counted[0].shape
        return bool(n_times < n_pairs)

    @property
    def _codes(self) -> list[tuple[Integers, Integers]]:
        """The rows that are compared, and their times; by times of both kinds."""
        rows = np.flatnonzero(self.time >= 0)
        exact = rows, self.time[rows]
        if self.beside is None:
            return [exact]
        return [exact, (rows, self.beside[rows] + int(self.time.max(initial=-1)) + 1)]

    @cached_property
    def _counted(self) -> tuple[csr_array, Floats]:
        """Number of rows by pair and time, the N_k, and the weight of each time, (n_times,)."""
        log = self.residuals
        rows, time = (np.concatenate(of) for of in zip(*self._codes, strict=True))
        n_rows = log.of_all_rows(np.ones(len(self.time)))[rows]
        shape = len(log.parent), int(time.max(initial=-1)) + 1
        weights = np.where(np.arange(shape[1]) <= self.time.max(initial=-1), 1.0, BESIDE)
        return csr_array((n_rows, (log.group[rows], time)), shape=shape), weights

    @cached_property
    def _factors(self) -> SuperLU:
        """The L of the module's formulas, or what is left of times less pairs, factorized."""
        N, weights = self._counted
        n_of, within = N @ weights, weights / _or_one(N.sum(axis=0))
        if self._has_fewer_times:
            N, n_of, within = N.T, N.sum(axis=0) / weights, 1 / _or_one(n_of)
        diagonal = _or_one((1 + LITTLE) * n_of)
        return splu((diags_array(diagonal) - N @ diags_array(within) @ N.T).tocsc())


def _or_one(numbers: Floats) -> Floats:
    return np.where(numbers > 0, numbers, 1.0)


def _times(one_of: Integers, time: Integers, n_rows: Floats, most: int, fewest: float) -> Integers:
    """Return codes of the times of each state, (n,), of which there are no more than ``most``.

    Times next to each other are one where they have fewer rows than the ``fewest``.
    """
    width = int(time.max(initial=0)) + 1
    code, at = np.unique(one_of * width + time, return_inverse=True)
    state, n_at = code // width, np.bincount(at, n_rows)
    n_of, n_times = np.bincount(state, n_at), np.bincount(state)
    n_told = np.clip(n_of // fewest if fewest else n_times, 1, most).astype(np.intp)
    # The time that the middle row of each lies in, if all were of as many rows.
    twice = 2 * (np.cumsum(n_at) - (np.cumsum(n_of) - n_of)[state]) - n_at - 1
    together = twice * n_told[state] // (2 * n_of[state])
    place = np.where((n_times > n_told)[state], together, np.arange(len(code))).astype(np.intp)
    return np.asarray(np.unique(state * len(code) + place, return_inverse=True)[1][at])

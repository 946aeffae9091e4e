"""What drifts of each state alone may account for in a difference between two policies.

``drift`` looks for one drift of all rewards. Here the rows of every state s that has many are dealt
to blocks of time, as many rows to each, and the reward of row i, of pair p and block k, is

    r_i = alpha_p + gamma_sk + noise

With N_p the rows of a pair by block, n_p their number, s_s the sums by block of what the mean of
its pair leaves of a reward, and b_s those of the weights by which a reward moves the difference
(less their mean in the state), what is due to gamma is

    D = sum_s b_s' A_s^-1 s_s,  A_s = diag(sum_p N_p) - sum_p N_p N_p' / n_p

which is a sum over rows of their residuals times known numbers. The difference less D compares the
rows of one state and block alone, whatever the drifts are like. Without any, D is 0 on average, and
hardly anything where actions are taken as often early as late. So it is always taken off: drifts
that a test would not notice may add more to the difference than its error.

References
----------
J. A. Hausman, "Specification tests in econometrics", Econometrica 46 (1978): the difference of two
estimates of which one allows for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._evaluation.drift import Drift, drifts_of
from skmdp._typing import Floats, Integers

# Blocks of time in a state, and how many rows each has at least.
MOST_BLOCKS = 6
FEWEST_ROWS = 10
# Standard errors by which a difference must be above 0 when the drift is taken off.
SURE = 2.0
# Share of what moves the difference in which time and action may be impossible to tell apart.
MOST_UNTOLD = 0.01
# Directions that tell nothing, relative to those that tell most.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class DriftInStates:
    """Rows of a log in blocks of time, those of each state with many rows by themselves.

    ``residuals`` are those of rewards in their pairs, whose parents are states. ``episode``
    (n_rows,) ascends; ``cell`` (n_rows,) is the block of each row, state after state, -1 where the
    state has few rows.
    """

    residuals: Residuals
    episode: Integers
    cell: Integers

    @classmethod
    def of(cls, residuals: Residuals, time: Integers, episode: Integers) -> DriftInStates:
        """Deal the rows of each state to blocks in the order of ``time`` (n_rows,), from 0 on."""
        state = residuals.parent_of_row
        n_blocks = np.minimum(np.bincount(state) // FEWEST_ROWS, MOST_BLOCKS)
        n_blocks[n_blocks < 2] = 0
        place = np.cumsum(n_blocks > 0) - 1
        rows = np.flatnonzero(n_blocks[state])
        n_times = int(time.max()) + 1
        at = place[state[rows]] * n_times + time[rows]
        n_at = np.bincount(at, minlength=np.count_nonzero(n_blocks) * n_times)
        n_at = n_at.reshape(-1, n_times)
        # All rows of one time are in the block that the middle one of them is in.
        middle = np.cumsum(n_at, axis=1) - (n_at + 1) / 2
        share = middle / n_at.sum(axis=1, keepdims=True)
        block = (share * n_blocks[n_blocks > 0][:, np.newaxis]).astype(np.intp).ravel()
        cell = np.full(len(state), -1)
        cell[rows] = place[state[rows]] * MOST_BLOCKS + block[at]
        return cls(residuals, episode, cell)

    def part_of(self, one: Outcomes, other: Outcomes, *, must_tell: bool = True) -> float:
        """Return how much of the difference of two estimates a drift may account for, 0 or more.

        Infinite where time and action cannot be told apart, if ``must_tell``.
        """
        moved = one.weights - other.weights
        rows, cell = self._rows
        if not moved[rows].any():
            return 0.0
        state, n_episodes = self.residuals.parent_of_row, int(self.episode[-1]) + 1
        mean = np.bincount(state, moved) / np.maximum(np.bincount(state), 1)
        shares = moved - mean[state]
        apart = sum_by_code(cell, shares[rows], len(self._information) * MOST_BLOCKS)
        apart = apart.reshape(-1, MOST_BLOCKS, 1)
        ways = self._inverse @ apart
        untold = np.abs(apart - self._information @ ways).sum()
        if must_tell and untold > MOST_UNTOLD * np.abs(shares).sum():
            return np.inf
        e = self.residuals.amounts
        drawn = ways.ravel()[cell]
        of_pairs = np.bincount(self._pair, drawn) / np.maximum(np.bincount(self._pair), 1)
        due = (drawn - of_pairs[self._pair]) * e[rows]
        all_of_it = np.bincount(self.episode, moved * e, n_episodes)
        rest = all_of_it - np.bincount(self.episode[rows], due, n_episodes)
        adds = float(np.linalg.norm(rest) - np.linalg.norm(all_of_it))
        return max(0.0, float(due.sum()) + SURE * max(0.0, adds))

    @cached_property
    def _rows(self) -> tuple[Integers, Integers]:
        """The rows of states that have many, and their cells."""
        rows = np.flatnonzero(self.cell >= 0)
        return rows, self.cell[rows]

    @cached_property
    def _pair(self) -> Integers:
        """The pair of each of these rows."""
        return self.residuals.group[self._rows[0]]

    @cached_property
    def _information(self) -> Floats:
        """The A of the module's formulas, (n_states, n_blocks, n_blocks)."""
        _, cell = self._rows
        state, block = np.divmod(cell, MOST_BLOCKS)
        n_states, n_pairs = int(state.max(initial=-1)) + 1, len(self.residuals.parent)
        N = np.bincount(self._pair * MOST_BLOCKS + block, minlength=n_pairs * MOST_BLOCKS)
        N = N.reshape(-1, MOST_BLOCKS)
        of_pair = np.zeros(n_pairs, dtype=np.intp)
        of_pair[self._pair] = state
        is_there = N.any(axis=1)
        N, of_pair = N[is_there], of_pair[is_there]
        A = np.zeros((n_states, MOST_BLOCKS, MOST_BLOCKS))
        shares = N / N.sum(axis=1, keepdims=True)
        for i in range(MOST_BLOCKS):
            for j in range(i + 1):
                A[:, i, j] -= np.bincount(of_pair, N[:, i] * shares[:, j], n_states)
                A[:, j, i] = A[:, i, j]
            A[:, i, i] += np.bincount(of_pair, N[:, i], n_states)
        return A

    @cached_property
    def _inverse(self) -> Floats:
        """Its inverse where it tells something, 0 elsewhere."""
        return np.asarray(np.linalg.pinv(self._information, rcond=ROUNDING, hermitian=True))


def drifts_in_states(
    residuals: Residuals, episode: Integers
) -> tuple[tuple[Drift, DriftInStates], ...]:
    """Look for drifts over the episodes, and over their steps, each of all states and of each one.

    The parents of ``residuals`` are states; ``episode`` (n_rows,) ascends.
    """
    drifts = drifts_of(residuals, residuals.parent_of_row, episode)
    return tuple((one, DriftInStates.of(residuals, one.block, episode)) for one in drifts)

"""What rows next to each other in time tell of a drift in a difference between two policies.

Two rows of a state that follow each other, of pairs p and q, differ by what the actions are worth,
by noise, and by what changed between them, which is little however fast times change:

    r_j - r_i = alpha_q - alpha_p + noise

With L = sum (e_q - e_p)(e_q - e_p)' over such rows and m_p what moves a difference by pair, rows
next to each other tell the difference as sum z (r_j - r_i), z = (e_q - e_p)' L^-1 m, and what is
due to time is the rest of it. That has half as large an error again, or more, as the difference.
So it is a look beside that of blocks of time: it sees what changes within these.

Rows may be counted, by pair and time: n_i and n_j rows of two cells next to each other tell as much
as n_i n_j / (n_i + n_j) times two rows would, or twice that of two cells of one row each.

Only rows that are no further apart than on average in their state, or than one episode is from the
next, are compared. Where rows come at random, that leaves two thirds of them, and faster changes
are seen as well. Time may be that of the rows of one place in the episode after those of another.

References
----------
A. Yatchew, "An elementary estimator of the partial linear model", Economics Letters 57 (1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import SuperLU, splu

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.credibility import Residuals
from skmdp._typing import Floats, Integers

# What is added to L, relative to its diagonal, so that it can be inverted.
LITTLE = 1e-9


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Rows next to each other in time in one state, and of different actions there.

    ``residuals`` are those of rewards in their pairs, whose parents are states. The row ``before``
    (n_neighbors,) comes before that of ``after`` (n_neighbors,).
    """

    residuals: Residuals
    before: Integers
    after: Integers
    # How often it is taken off what blocks miss beside these, which miss some of what changes from
    # one row to the next. It is enough for ups and downs of six rows of a state, or of 25 where
    # times turn at once and states are logged in turn.
    times: ClassVar[float] = 3.0

    @classmethod
    def of(cls, residuals: Residuals, one_of: Integers, time: Integers) -> Neighbors:
        """Find the neighbors among rows of the same state, given the ``time`` (n_rows,) of each.

        Times are whole numbers, and 1 is the least that two differ by.
        ``one_of`` (n_rows,) are the states, -1 where rows have no neighbors.
        """
        # Rows of one time, such as those of one episode, come in no order. Else what changes in the
        # course of episodes would be taken for what changes over time.
        rows = np.random.default_rng(0).permutation(len(one_of))
        rows = rows[one_of[rows] >= 0]
        rows = rows[np.lexsort((time[rows], one_of[rows]))]
        state, pair = one_of[rows], residuals.group[rows]
        starts = np.flatnonzero(state[1:] == state[:-1])
        gap, state = np.diff(time[rows])[starts], state[starts]
        mean = np.bincount(state, gap) / np.maximum(np.bincount(state), 1)
        closest = np.maximum(mean, 1)[state]
        tells = (gap <= (1 + LITTLE) * closest) & (pair[starts] != pair[starts + 1])
        starts = starts[tells]
        return cls(residuals, rows[starts], rows[starts + 1])

    def due(self, moved: Floats) -> Floats:
        """Return by how much each row moves a difference by time alone, (n_rows,).

        ``moved`` (n_rows,) is by how much it moves it.
        """
        log, n_rows = self.residuals, len(moved)
        before, after, n_pairs = log.group[self.before], log.group[self.after], len(log.parent)
        ways = self._information.solve(log.sums(log.less_mean_of_parent(moved), log.group, n_pairs))
        z = self._n_told * (ways[after] - ways[before])
        drawn = sum_by_code(self.before, z, n_rows) - sum_by_code(self.after, z, n_rows)
        return log.less_mean(drawn if log.n_rows is None else drawn / log.n_rows)

    @cached_property
    def _n_told(self) -> Floats:
        """How many rows next to each other those that are compared are worth, (n_neighbors,)."""
        n_rows = self.residuals.n_rows
        if n_rows is None:
            return np.ones(len(self.before))
        n_before, n_after = n_rows[self.before], n_rows[self.after]
        return 2 * n_before * n_after / (n_before + n_after)

    @cached_property
    def _information(self) -> SuperLU:
        """The L of the module's formulas, factorized."""
        n_pairs = len(self.residuals.parent)
        pairs = self.residuals.group[self.before], self.residuals.group[self.after]
        next_to = csc_array((self._n_told, pairs), shape=(n_pairs, n_pairs))
        next_to = next_to + next_to.T
        n_of = next_to.sum(axis=0)
        diagonal = np.where(n_of > 0, (1 + LITTLE) * n_of, 1.0)
        return splu((diags_array(diagonal) - next_to).tocsc())

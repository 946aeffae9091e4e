"""What a drift of rewards over time may account for of a difference between two policies.

An action that was taken more often while times were good looks better than it is. Let rows be dealt
to K blocks of time, and let the reward of row i, of group p and block k, be

    r_i = alpha_p + gamma_k + noise,  the mean of gamma over the rows being 0

where the rows of a group are alike, such as those of one state and action. With N the number of
rows by group and block, e_i what the mean of its group leaves of a reward, and s_k the sum of e
over block k, gamma solves

    A gamma = s,  A = diag(sum_p N_p) - sum_p N_p N_p' / n_p

Without a drift the mean of s is 0, and its covariance is estimated by S = sum over episodes of
u u', with u the sum of e_i (1_k(i) - N_p(i) / n_p(i)) over the rows of an episode. Where s' S^-1 s
is too large for chance, rewards drift. Of an estimate that moves by w_i with the reward of row i,
b' gamma is due to that, b_k the sum of w over block k less what it would be if the rows of each
state were drawn upon alike.

Where the actions of a state were taken at different times, time and action cannot be told apart:
then b lies outside the range of A, or b' A^-1 b, by which the chance in gamma adds to the variance
of the estimate, is large beside the sum of w^2.

Time is looked at in the ways of ``time_blocks``.

Where lots of episodes are known in place of these, the sums over rows are the same, and S is what
the spread between lots of one time shows of it, to which how the times differ is added. Whether s
is too large for chance is asked with the sum of u u' over lots, which with few lots is too large
rather than too small where rewards drift, and not where they do not.

References
----------
J. M. Wooldridge, "Econometric analysis of cross section and panel data", MIT Press (2010), chapter
10: two-way effects, and errors by cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import chi2

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._evaluation.direct import divide
from skmdp._evaluation.lots import products_of_episodes
from skmdp._typing import Floats, Integers

# Probability that rewards which do not drift are said to: what is then asked for more is little.
LEVEL = 0.02
# Standard errors by which what is due to a drift may be more than what is seen of it.
DOUBT = 2.0
# By how many times time may add to the variance of an estimate.
INSEPARABLE = 8.0
# A share of the weights that is none.
NOTHING = 0.01
# Numbers of rows are whole, but for rounding.
MORE_THAN_ONE = 1.5
# Directions that tell nothing, relative to those that tell most.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Cells:
    """How many rows of each group there are at each moment.

    A cell holds the ``n_rows`` (n_cells,) of a ``triple``, which is of a ``group``, at a
    ``moment``, all (n_cells,), and ``amounts`` (n_cells,) are their rewards less the mean in the
    group, on average.
    """

    triple: Integers
    group: Integers
    moment: Integers
    n_rows: Floats
    amounts: Floats

    @classmethod
    def of_rewards(
        cls,
        triple: Integers,
        group: Integers,
        moment: Integers,
        n_rows: Floats,
        rewards: Floats,
        **others: Any,
    ) -> Self:
        """Fill in the amounts, given the rewards of cells together, (n_cells,)."""
        n_groups = int(group.max(initial=-1)) + 1
        means = divide(*(sum_by_code(group, one, n_groups) for one in (rewards, n_rows)))
        return cls(triple, group, moment, n_rows, rewards / n_rows - means[group], **others)

    def entries(self, triple: Integers) -> Integers:
        """Return an entry of the log for each cell that is of the same triple, (n_cells,).

        ``triple`` (n_entries,) is that of each entry.
        """
        entry_of = np.zeros(int(triple.max(initial=-1)) + 1, dtype=np.intp)
        entry_of[triple] = np.arange(len(triple))
        return np.asarray(entry_of[self.triple])

    def residuals(self, parent: Integers) -> Residuals:
        """Return the amounts in their groups, of which ``parent`` (n_groups,) tells the states."""
        return Residuals(self.amounts, self.group, parent, self.n_rows)


@dataclass(frozen=True, eq=False)
class Steps(Cells):
    """The same, each moment in a ``block`` (n_cells,) of time, and what lots of episodes were paid.

    ``of_lots`` (n_lots, n_blocks) are such amounts, added up over the rows of each lot and block.
    """

    block: Integers
    of_lots: Floats


@dataclass(frozen=True, eq=False)
class Starts(Cells):
    """The same, moments being those at which episodes start, and the ``lot`` (n_cells,) of these.

    Lots ascend.
    """

    lot: Integers


@dataclass(frozen=True, eq=False)
class Drift:
    """By how much rewards were higher in some blocks of time than on average.

    ``block`` (n_rows,) is that of each row, ``state`` (n_rows,) whose actions are compared,
    ``information`` (n_blocks, n_blocks) the A of the module's formulas. ``effects`` (n_blocks,) are
    the gamma and ``covariance`` is theirs; both are 0 where they may be chance. What is here a row
    may stand for ``n_rows`` (n_rows,) that agree (None: one each), and ``entry`` (n_rows,) say
    where the log holds one that moves estimates as it does (None: there are the same).
    """

    block: Integers
    state: Integers
    information: Floats
    effects: Floats
    covariance: Floats
    n_rows: Floats | None = None
    entry: Integers | None = None

    @classmethod
    def of(
        cls,
        residuals: Residuals,
        state: Integers,
        block: Integers,
        episode: Integers,
        sizes: Floats | None = None,
    ) -> Drift:
        """Look for a drift over blocks of time in what groups leave of rewards.

        ``episode`` (n_rows,) ascends. It may be a lot of episodes, ``sizes`` (n_lots,) of them.
        """
        n_blocks = int(block.max()) + 1
        rows, group, n = _told_groups(residuals)
        code = group * n_blocks + block[rows]
        counted = None if residuals.n_rows is None else residuals.n_rows[rows]
        N = _table(code, counted, len(n), n_blocks)
        by_group = _by_episode(residuals, rows, group, episode, len(n))
        by_block = _by_episode(residuals, rows, block[rows], episode, n_blocks)
        u = by_block.toarray() - by_group @ (N / n[:, np.newaxis])
        return cls._of_sums(cls._nothing(block, state, n_blocks, residuals.n_rows), N, u, sizes)

    @classmethod
    def of_counted_steps(
        cls,
        residuals: Residuals,
        state: Integers,
        episode: Integers,
        sizes: Floats,
        steps: Steps,
        entry: Integers,
    ) -> Drift:
        """Look for a drift over steps where entries hold rows of all of them.

        ``entry`` (n_cells,) is one of the log that moves estimates as the rows of each cell do.
        """
        rows, group, n = _told_groups(residuals)
        n_groups, n_blocks = len(residuals.parent), steps.of_lots.shape[1]
        code = steps.group * n_blocks + steps.block
        N = _table(code, steps.n_rows, n_groups, n_blocks)[residuals.rows_of_groups > MORE_THAN_ONE]
        by_group = _by_episode(residuals, rows, group, episode, len(n))
        u = steps.of_lots - by_group @ (N / n[:, np.newaxis])
        none = cls._nothing(steps.block, state[entry], n_blocks, steps.n_rows)
        return cls._of_sums(replace(none, entry=entry), N, u, sizes)

    @classmethod
    def _nothing(
        cls, block: Integers, state: Integers, n_blocks: int, n_rows: Floats | None
    ) -> Drift:
        """Return a drift that accounts for nothing."""
        nothing = np.zeros((n_blocks, n_blocks))
        return cls(block, state, nothing, np.zeros(n_blocks), nothing, n_rows)

    def _of_sums(self, N: Floats, u: Floats, sizes: Floats | None) -> Drift:
        """Return the drift of rows that were counted by group and block, and what episodes show."""
        n_blocks = len(self.effects)
        if n_blocks == 1 or not len(N):
            return self
        A = np.diag(N.sum(axis=0)) - N.T @ (N / N.sum(axis=1, keepdims=True))
        found = replace(self, information=A)
        s, S = u.sum(axis=0), u.T @ u
        if s @ _inverse(S) @ s <= chi2.isf(LEVEL, n_blocks - 1):
            return found
        if sizes is not None:
            S = products_of_episodes(u, sizes)
        gamma = found._inverse @ s
        gamma -= np.average(gamma, weights=np.bincount(self.block, self.n_rows, n_blocks))
        return replace(found, effects=gamma, covariance=found._inverse @ S @ found._inverse)

    @cached_property
    def _inverse(self) -> Floats:
        """The inverse of the information, the same for all estimates."""
        return _inverse(self.information)

    def part_of(self, one: Outcomes, other: Outcomes, *, must_tell: bool = True) -> float:
        """Return how much of the difference of two estimates a drift may account for, 0 or more.

        Infinite where time and action cannot be told apart, if ``must_tell``.
        """
        n_blocks = len(self.effects)
        moved = one.weights - other.weights
        if n_blocks == 1 or not moved.any():
            return 0.0
        counted = np.ones(len(self.block)) if self.n_rows is None else self.n_rows
        moved = moved if self.entry is None else moved[self.entry]
        n_of_states = np.maximum(np.bincount(self.state, counted), 1)
        moved = moved - (np.bincount(self.state, counted * moved) / n_of_states)[self.state]
        of_all = counted * moved
        apart = sum_by_code(self.block, of_all, n_blocks)
        size = float(np.abs(of_all).sum())
        if must_tell and np.abs(apart).sum() > ROUNDING * size:
            ways = self._inverse @ apart
            untold = np.abs(apart - self.information @ ways).sum()
            adds = float(apart @ ways)
            if untold > NOTHING * size or adds > INSEPARABLE * float(moved @ of_all):
                return np.inf
        error = np.sqrt(max(0.0, float(apart @ self.covariance @ apart)))
        return float(max(0.0, apart @ self.effects + DOUBT * error))


def _told_groups(residuals: Residuals) -> tuple[Integers, Integers, Floats]:
    """Return which rows are in groups that tell something, their groups, and the rows of these.

    Groups of one row tell nothing.
    """
    n = residuals.rows_of_groups
    tells = n > MORE_THAN_ONE
    rows = np.flatnonzero(tells[residuals.group])
    place = np.cumsum(tells) - 1
    return rows, place[residuals.group[rows]], n[tells]


def _table(code: Integers, counted: Floats | None, n_groups: int, n_blocks: int) -> Floats:
    """Return the number of rows by group and block, of which ``code`` tells both."""
    n = np.bincount(code, counted, n_groups * n_blocks)
    return n.reshape(n_groups, n_blocks).astype(np.float64, copy=False)


def _by_episode(
    residuals: Residuals, rows: Integers, column: Integers, episode: Integers, n_columns: int
) -> csr_array:
    """Return the sums of what groups leave of some rows, (n_episodes, n_columns)."""
    n_episodes = int(episode[-1]) + 1
    bounds = np.searchsorted(episode[rows], np.arange(n_episodes + 1))
    e = residuals.of_all_rows(residuals.apart().amounts)[rows]
    return csr_array((e, column, bounds), shape=(n_episodes, n_columns))


def _inverse(symmetric: Floats) -> Floats:
    """Return the inverse of a positive matrix where it tells something, 0 elsewhere."""
    return np.asarray(np.linalg.pinv(symmetric, rcond=ROUNDING, hermitian=True))

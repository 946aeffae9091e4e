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

Time is looked at in two ways: the order in which the log holds its episodes, and the steps of an
episode.

References
----------
J. M. Wooldridge, "Econometric analysis of cross section and panel data", MIT Press (2010), chapter
10: two-way effects, and errors by cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import chi2

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._typing import Floats, Integers

# Blocks of time, and how many episodes each has at least.
MOST_BLOCKS = 30
FEWEST_EPISODES = 10
# Probability that rewards which do not drift are said to: what is then asked for more is little.
LEVEL = 0.02
# Standard errors by which what is due to a drift may be more than what is seen of it.
DOUBT = 2.0
# By how many times time may add to the variance of an estimate.
INSEPARABLE = 3.0
# A share of the weights that is none.
NOTHING = 0.01
# Directions that tell nothing, relative to those that tell most.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Drift:
    """By how much rewards were higher in some blocks of time than on average.

    ``block`` (n_rows,) is that of each row, ``state`` (n_rows,) whose actions are compared,
    ``information`` (n_blocks, n_blocks) the A of the module's formulas. ``effects`` (n_blocks,) are
    the gamma and ``covariance`` is theirs; both are 0 where they may be chance.
    """

    block: Integers
    state: Integers
    information: Floats
    effects: Floats
    covariance: Floats

    @classmethod
    def of_episodes(cls, residuals: Residuals, state: Integers, episode: Integers) -> Drift:
        """Look for a drift over the episodes, in their order."""
        n_episodes = int(episode[-1]) + 1
        n_blocks = max(1, min(MOST_BLOCKS, n_episodes // FEWEST_EPISODES))
        block_of = np.arange(n_episodes) * n_blocks // n_episodes
        return cls.of(residuals, state, block_of[episode], n_blocks, episode)

    @classmethod
    def of_steps(cls, residuals: Residuals, state: Integers, episode: Integers) -> Drift:
        """Look for a drift over the steps of episodes, in blocks of about as many rows."""
        step = np.arange(len(episode)) - np.searchsorted(episode, episode)
        n_at = np.bincount(step)
        n_blocks = max(1, min(MOST_BLOCKS, int(np.count_nonzero(n_at >= FEWEST_EPISODES))))
        block_of = (np.cumsum(n_at) - n_at) * n_blocks // len(step)
        return cls.of(residuals, state, block_of[step], n_blocks, episode)

    @classmethod
    def of(
        cls,
        residuals: Residuals,
        state: Integers,
        block: Integers,
        n_blocks: int,
        episode: Integers,
    ) -> Drift:
        """Look for a drift in what groups leave of rewards; ``episode`` (n_rows,) ascends."""
        n_episodes = int(episode[-1]) + 1
        nothing = np.zeros((n_blocks, n_blocks))
        # Groups of one row tell nothing.
        n_rows = np.bincount(residuals.group)
        place = np.cumsum(n_rows > 1) - 1
        rows = np.flatnonzero(n_rows[residuals.group] > 1)
        group, in_block, of_episode = place[residuals.group[rows]], block[rows], episode[rows]
        n = n_rows[n_rows > 1]
        if n_blocks == 1 or not len(n):
            return cls(block, state, nothing, np.zeros(n_blocks), nothing)
        e = residuals.amounts[rows]
        e = e - (sum_by_code(group, e, len(n)) / n)[group]
        N = np.bincount(group * n_blocks + in_block, minlength=len(n) * n_blocks)
        N = N.reshape(len(n), n_blocks)
        shares = N / n[:, np.newaxis]
        A = np.diag(N.sum(axis=0)) - N.T @ shares
        bounds = np.searchsorted(of_episode, np.arange(n_episodes + 1))
        by_group = csr_array((e, group, bounds), shape=(n_episodes, len(n)))
        by_block = csr_array((e, in_block, bounds), shape=(n_episodes, n_blocks))
        u = by_block.toarray() - by_group @ shares
        s, S = sum_by_code(in_block, e, n_blocks), u.T @ u
        if s @ _inverse(S) @ s <= chi2.isf(LEVEL, n_blocks - 1):
            return cls(block, state, A, np.zeros(n_blocks), nothing)
        solve = _inverse(A)
        gamma = solve @ s
        gamma -= np.average(gamma, weights=np.bincount(block, minlength=n_blocks))
        return cls(block, state, A, gamma, solve @ S @ solve)

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
        of_states = np.bincount(self.state, moved) / np.maximum(np.bincount(self.state), 1)
        moved = moved - of_states[self.state]
        apart = sum_by_code(self.block, moved, n_blocks)
        size = float(np.abs(moved).sum())
        if must_tell and np.abs(apart).sum() > ROUNDING * size:
            ways = self._inverse @ apart
            untold = np.abs(apart - self.information @ ways).sum()
            adds = float(apart @ ways)
            if untold > NOTHING * size or adds > INSEPARABLE * float(moved @ moved):
                return np.inf
        error = np.sqrt(max(0.0, float(apart @ self.covariance @ apart)))
        return float(max(0.0, apart @ self.effects + DOUBT * error))


def drifts_of(residuals: Residuals, state: Integers, episode: Integers) -> tuple[Drift, Drift]:
    """Look for drifts over the episodes, and over their steps.

    ``state`` (n_rows,) says among which rows actions are compared; ``episode`` (n_rows,) ascends.
    """
    of_log = residuals, state, episode
    return Drift.of_episodes(*of_log), Drift.of_steps(*of_log)


def _inverse(symmetric: Floats) -> Floats:
    """Return the inverse of a positive matrix where it tells something, 0 elsewhere."""
    return np.asarray(np.linalg.pinv(symmetric, rcond=ROUNDING, hermitian=True))

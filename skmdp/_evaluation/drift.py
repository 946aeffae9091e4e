"""What a drift of rewards over the episodes may account for of a difference between two policies.

An action that was taken more often while times were good looks better than it is. Let the episodes,
in the order in which the log holds them, be cut into K blocks of equal size, and let the reward of
row i, of group p and block k, be

    r_i = alpha_p + gamma_k + noise,  the mean of gamma over the rows being 0

where the rows of a group are alike, such as those of one state and action. With N the number of
rows by group and block, e_i what the mean of its group leaves of a reward, and s_k the sum of e
over block k, gamma solves

    A gamma = s,  A = diag(sum_p N_p) - sum_p N_p N_p' / n_p

Without a drift the mean of s is 0, and its covariance is estimated by S = sum over episodes of
u u', with u the sum of e_i (1_k(i) - N_p(i) / n_p(i)) over the rows of an episode. Where s' S^-1 s
is too large for chance, rewards drift. Of an estimate that moves by w_i with the reward of row i,
sum_i w_i gamma_k(i) is due to that.

References
----------
J. M. Wooldridge, "Econometric analysis of cross section and panel data", MIT Press (2010), chapter
10: two-way effects, and errors by cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import chi2

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._typing import Floats, Integers

# Blocks of episodes, and how many episodes each has at least.
MOST_BLOCKS = 10
FEWEST_EPISODES = 20
# Probability that rewards which do not drift are said to.
LEVEL = 1e-3
# Standard errors by which what is due to a drift may be more than what is seen of it.
DOUBT = 2.0
# Directions that tell nothing, relative to those that tell most.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Drift:
    """By how much rewards were higher in some blocks of episodes than on average.

    ``block`` (n_rows,) is that of each row, ``effects`` (n_blocks,) are the gamma and
    ``covariance`` (n_blocks, n_blocks) is theirs; both are 0 where they may be chance.
    """

    block: Integers
    effects: Floats
    covariance: Floats

    @classmethod
    def of(cls, residuals: Residuals, episode: Integers, n_episodes: int) -> Drift:
        """Look for a drift in what groups leave of rewards; ``episode`` (n_rows,) ascends."""
        n_blocks = max(1, min(MOST_BLOCKS, n_episodes // FEWEST_EPISODES))
        block_of = np.arange(n_episodes) * n_blocks // n_episodes
        block = block_of[episode]
        none = cls(block, np.zeros(n_blocks), np.zeros((n_blocks, n_blocks)))
        if n_blocks == 1:
            return none
        # Groups of one row tell nothing.
        n_rows = np.bincount(residuals.group)
        place = np.cumsum(n_rows > 1) - 1
        rows = np.flatnonzero(n_rows[residuals.group] > 1)
        group, in_block, of_episode = place[residuals.group[rows]], block[rows], episode[rows]
        n = n_rows[n_rows > 1]
        if not len(n):
            return none
        e = residuals.amounts[rows]
        e = e - (sum_by_code(group, e, len(n)) / n)[group]
        N = np.bincount(group * n_blocks + in_block, minlength=len(n) * n_blocks)
        N = N.reshape(len(n), n_blocks)
        shares = N / n[:, np.newaxis]
        bounds = np.searchsorted(of_episode, np.arange(n_episodes + 1))
        by_group = csr_array((e, group, bounds), shape=(n_episodes, len(n)))
        u = -(by_group @ shares)
        of_episodes = sum_by_code(of_episode, e, n_episodes)
        u[np.arange(n_episodes), block_of] += of_episodes
        s, S = sum_by_code(block_of, of_episodes, n_blocks), u.T @ u
        if s @ _inverse(S) @ s <= chi2.isf(LEVEL, n_blocks - 1):
            return none
        solve = _inverse(np.diag(N.sum(axis=0)) - N.T @ shares)
        gamma = solve @ s
        gamma -= np.average(gamma, weights=np.bincount(block, minlength=n_blocks))
        return cls(block, gamma, solve @ S @ solve)

    def part_of(self, one: Outcomes, other: Outcomes) -> float:
        """Return how much of the difference of two estimates a drift may account for, 0 or more."""
        apart = sum_by_code(self.block, one.weights - other.weights, len(self.effects))
        error = np.sqrt(max(0.0, float(apart @ self.covariance @ apart)))
        return float(max(0.0, apart @ self.effects + DOUBT * error))


def _inverse(symmetric: Floats) -> Floats:
    """Return the inverse of a positive matrix where it tells something, 0 elsewhere."""
    return np.asarray(np.linalg.pinv(symmetric, rcond=ROUNDING, hermitian=True))

"""Regions of raw measurements, in each of which actions came and went in the same way.

Times that were good in some states and bad in others make an action look better that was taken more
in each while times were good there. In a region in which it was taken more and less at the same
times, whatever the state, what is due to time is told by the mean of the states' rewards. So
regions are the leaves of a tree that tells from the measurements how much more often than on
average there each action was taken over time. It knows nothing of rewards, and so does not look for
what these are like by chance.

How often an action is taken in a state on average is told by another tree, and taken off first: it
is no matter of time, not even where times differ in which states they meet. Splits that tell no
more than one drawn at random well might are taken back, as with every region there is more chance
in what is due to time.

References
----------
L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and regression trees" (1984), chapter
3: pruning by what a split is to tell at least.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
from scipy.stats import chi2
from sklearn.tree import DecisionTreeRegressor

from skmdp._evaluation.time_blocks import time_blocks
from skmdp._typing import Array, Floats, Integers

# Rows of a region, at least.
FEWEST_ROWS = 100
# Waves of time, the slowest of which rises or falls once, in which actions come and go.
N_WAVES = 12
# Actions that are looked at, those taken most.
MOST_ACTIONS = 8
# Probability that a split drawn at random tells as much as one that is kept. As the best of many is
# drawn, some are kept that are chance: a region too many costs less than one too few.
LEVEL = 0.3
# Numbers that a tree is grown to tell, of rows spread over the log: more hardly change it.
ENOUGH_NUMBERS = 5_000_000


def find_regions(
    states: Floats, actions: Integers, episode: Integers, step: Array | None
) -> Integers:
    """Return the region of each row, (n_rows,).

    ``states`` (n_rows, n_columns) are measurements, ``actions``, ``episode`` and ``step`` (n_rows,)
    as in ``time_blocks``.
    """
    ways = [one.of_each for one in chain.from_iterable(time_blocks(episode, step))]
    looked_at = _taken_most(actions)
    n_numbers = len(actions) * len(looked_at) * len(ways) * N_WAVES
    some = slice(None, None, 1 + n_numbers // ENOUGH_NUMBERS)
    taken = (actions[some, np.newaxis] == looked_at).astype(np.float64)
    usual = _grow(states[some], taken).predict(states[some]).reshape(taken.shape)
    waves = np.column_stack([wave[some] for wave in _waves(ways)])
    more_often = (taken - usual)[:, :, np.newaxis] * waves[:, np.newaxis]
    tree = _grow(states[some], more_often.reshape(len(waves), -1))
    return np.unique(tree.apply(states), return_inverse=True)[1]


def _taken_most(actions: Integers) -> Integers:
    """Return the actions that are looked at, the one taken most first."""
    n_of = np.bincount(actions)
    taken_most = np.argsort(-n_of, kind="stable")[:MOST_ACTIONS]
    # Where there are two actions, one is taken when the other is not.
    return taken_most[: max(1, np.count_nonzero(n_of) - 1)]


def _grow(states: Floats, targets: Floats) -> DecisionTreeRegressor:
    """Grow a tree of which no split tells what chance might.

    A split at random takes off a share of the targets' variance that is that of a chi-squared
    number, over the number of rows, on average over targets.
    """
    covariance = np.atleast_2d(np.cov(targets, rowvar=False, ddof=0))
    variance, squares = np.trace(covariance), np.sum(covariance**2)
    # As many targets as would differ as much if they were independent and alike.
    n_told = variance**2 / squares if squares > 0 else 1.0
    least = chi2.isf(LEVEL, n_told) / n_told * variance / targets.shape[1] / len(targets)
    tree = DecisionTreeRegressor(min_samples_leaf=FEWEST_ROWS, random_state=0, ccp_alpha=least)
    return tree.fit(states, targets)


def _waves(blocks: Iterable[Integers]) -> Iterable[Floats]:
    """Yield waves of time (n_rows,), 0 on average, for each way to deal rows to blocks."""
    for block in blocks:
        n_rows = np.bincount(block)
        passed = ((np.cumsum(n_rows) - n_rows / 2) / len(block))[block]
        for k in range(1, N_WAVES + 1):
            wave = np.cos(np.pi * k * passed)
            yield wave - wave.mean()

"""Regions of raw measurements, in each of which actions came and went in the same way.

Times that were good in some states and bad in others make an action look better that was taken more
in each while times were good there. In a region in which it was taken more and less at the same
times, whatever the state, what is due to time is told by the mean of the states' rewards. So
regions are the leaves of a tree that tells from the measurements how often each action was taken
over time. It knows nothing of rewards, and so does not look for what these are like by chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from skmdp._evaluation.time_blocks import time_blocks
from skmdp._typing import Array, Floats, Integers

# Rows of a region, at least.
FEWEST_ROWS = 100
# Waves of time, the slowest of which rises or falls once, in which actions come and go.
N_WAVES = 4
# Actions that are looked at, those taken most.
MOST_ACTIONS = 8
# Rows that the tree is grown on, spread over the log: more do not change it.
ENOUGH_ROWS = 100_000


def find_regions(
    states: Floats, actions: Integers, episode: Integers, step: Array | None
) -> Integers:
    """Return the region of each row, (n_rows,).

    ``states`` (n_rows, n_columns) are measurements, ``actions``, ``episode`` and ``step`` (n_rows,)
    as in ``time_blocks``.
    """
    some = slice(None, None, 1 + len(actions) // ENOUGH_ROWS)
    targets = _comings_and_goings(actions, episode, step, some)
    tree = DecisionTreeRegressor(min_samples_leaf=FEWEST_ROWS, random_state=0)
    leaf = tree.fit(states[some], targets).apply(states)
    return np.unique(leaf, return_inverse=True)[1]


def _comings_and_goings(
    actions: Integers, episode: Integers, step: Array | None, some: slice
) -> Floats:
    """Return waves of time where an action is taken, 0 elsewhere, for some rows."""
    n_of = np.bincount(actions)
    taken_most = np.argsort(-n_of, kind="stable")[:MOST_ACTIONS]
    # Where there are two actions, one is taken when the other is not.
    looked_at = taken_most[: max(1, np.count_nonzero(n_of) - 1)]
    is_taken = actions[some, np.newaxis] == looked_at
    blocks = (one.of_each for one in chain.from_iterable(time_blocks(episode, step)))
    return np.hstack([is_taken * wave[some, np.newaxis] for wave in _waves(blocks)])


def _waves(blocks: Iterable[Integers]) -> Iterable[Floats]:
    """Yield waves of time (n_rows,), 0 on average, for each way to deal rows to blocks."""
    for block in blocks:
        n_rows = np.bincount(block)
        passed = ((np.cumsum(n_rows) - n_rows / 2) / len(block))[block]
        for k in range(1, N_WAVES + 1):
            wave = np.cos(np.pi * k * passed)
            yield wave - wave.mean()

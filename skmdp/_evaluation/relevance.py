"""Which columns of a log of raw measurements matter for what its policies earn.

A column matters if it tells the reward or the end of the episode, or how a column that matters
will change. For each action and target a forest on one half of the rows says how much of the
target it tells on the other half (R^2), and how its splits share that out among the columns:

    u[target, j] = importance of j * max(R^2, 0), the largest of the actions
    rel = max(u[reward], u[end]);  rel_j <- max(rel_j, max_k rel_k / max rel * u[change of k, j])

Columns without meaning make rows that are alike look different; hence this comes before rows are
compared. Every column tells its own next value, which would hide what the others tell of it: that
is why the change is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.utils import check_random_state

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.raw import Features, RawLog
from skmdp._typing import Bools, Floats, Integers

# More rows than this, drawn at random for each action, tell no more.
MOST_ROWS = 5000
# What matters for the actions that are taken most often is taken to matter for the others.
MOST_ACTIONS = 10
# Fewer rows than this tell nothing: a forest splits what is larger than twice its leaves.
FEWEST_ROWS = 40
ROWS_IN_LEAF = 10
N_TREES = 10
# A column matters if it tells more than this share of what the best one tells.
SHARE_OF_BEST = 0.1
# If no column tells more than this of reward and end, nothing is known of what matters.
LEAST_TOLD = 0.02


def relevant_columns(log: RawLog, *, random_state: int = 0) -> Bools:
    """Return which columns matter, (n_columns,); all where none can be shown to."""
    p = log.states.shape[1]
    if p == 1:  # it matters, whether that can be shown or not
        return np.ones(p, dtype=bool)
    told = np.zeros((2 + p, p))  # by target: reward, end, the change of each column
    random = check_random_state(random_state)
    most_taken = np.argsort(-np.bincount(log.actions, minlength=log.n_actions), kind="stable")
    for action in most_taken[:MOST_ACTIONS]:
        rows = random.permutation(log.rows_of(action))[:MOST_ROWS]
        np.maximum(told, _told(log, rows, random_state), out=told)
    relevance = told[:2].max(axis=0)
    if relevance.max() < LEAST_TOLD:
        return np.ones(p, dtype=bool)
    for _ in range(p):
        passed_on = (relevance / relevance.max())[:, np.newaxis] * told[2:]
        relevance = np.maximum(relevance, passed_on.max(axis=0))
    return np.asarray(relevance > SHARE_OF_BEST * relevance.max())


def _told(log: RawLog, rows: Integers, random_state: int) -> Floats:
    """Return how much of each target each column tells in rows of one action, (2 + p, p)."""
    p = log.states.shape[1]
    features = Features.of(log.states, np.ones(p, dtype=bool))
    states = features.see(log.states[rows])
    told = np.zeros((2 + p, p))
    for i, (target, known) in enumerate(_targets(log, rows)):
        found = np.flatnonzero(known)
        if len(found) < FEWEST_ROWS or np.ptp(target[found]) == 0:
            continue
        half = len(found) // 2
        for learn, check in ((found[:half], found[half:]), (found[half:], found[:half])):
            forest = ExtraTreesRegressor(
                N_TREES, min_samples_leaf=ROWS_IN_LEAF, max_features=1.0, random_state=random_state
            ).fit(states[learn], target[learn])
            share = max(forest.score(states[check], target[check]), 0.0)
            told[i] += sum_by_code(features.origin, forest.feature_importances_ * share / 2, p)
    return told


def _targets(log: RawLog, rows: Integers) -> Iterator[tuple[Floats, Bools]]:
    """Yield reward, end and the change of each column, and where they are known."""
    ended = log.ended[rows]
    yield log.rewards[rows], np.ones(len(rows), dtype=bool)
    yield ended.astype(np.float64), np.ones(len(rows), dtype=bool)
    for change in (log.next_states[rows] - log.states[rows]).T:
        yield change, ~ended & ~np.isnan(change)

"""How often a log takes the actions that a policy takes, where the policy takes them.

A mean over rows speaks for a decision if there are rows like it. Where the log takes an action less
than 1 time in 20, those in its leaf lie elsewhere, and no standard error tells of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from skmdp._evaluation.raw import Features, RawLog
from skmdp._typing import Bools, Floats

# Of an action with a smaller probability than this the log says next to nothing.
LEAST_PROPENSITY = 0.05
# Of the actions that a log takes in a state, those that it hardly ever takes, together less often
# than this, are left out: each costs as much to follow as any other.
NEGLIGIBLE_PROPENSITY = 1e-3
# Keeps shares of what was never seen apart from nothing.
SMALLEST_SHARE = 1e-12
N_TREES = 50
ROWS_IN_LEAF = 5


@dataclass(frozen=True, eq=False)
class Propensities:
    """Probability with which the log takes each action, b(a|s).

    ``following`` (n_rows, n_actions) in the next states, of any value where the episode ended,
    ``starting`` (n_episodes, n_actions) in the first states.
    """

    following: Floats
    starting: Floats

    def knowing(self, of_rows: Floats, log: RawLog) -> Propensities:
        """Return these with the known propensity of each row's action, (n_rows,), in its state.

        The other actions share the rest as they did.
        """
        assert log.following_row is not None
        known = []
        for matrix, row in (
            (self.following, log.following_row),
            (self.starting, log.starting_row),
        ):
            states = np.flatnonzero(row >= 0)
            at = row[states]
            own = np.zeros((len(at), log.n_actions), dtype=bool)
            own[np.arange(len(at)), log.actions[at]] = True
            # Where no other action was seen, all that the log takes are as likely.
            others = np.where(own | ~log.taken, 0.0, matrix[states] + SMALLEST_SHARE)
            total = others.sum(axis=1, keepdims=True)
            stated = np.where(total > 0, of_rows[at, np.newaxis], 1.0)
            shares = others / np.where(total > 0, total, 1.0)
            replaced = matrix.copy()
            replaced[states] = np.where(own, stated, (1 - stated) * shares)
            known.append(replaced)
        return Propensities(*known)

    def to_follow(self, log: RawLog) -> Propensities:
        """Return probabilities by which the logged policy can be followed in its log.

        Actions that the log never takes cannot be, and are left out.
        """
        return Propensities(
            leave_out(self.following, log.taken), leave_out(self.starting, log.taken)
        )


def leave_out(probabilities: Floats, taken: Bools) -> Floats:
    """Return probabilities (n_states, n_actions) without what is never or hardly ever taken.

    What is left sums to what it did. A state in which nothing is left keeps what it has.
    """
    possible = np.where(taken, probabilities, 0.0)
    order = np.argsort(possible, axis=1)
    running = np.cumsum(np.take_along_axis(possible, order, axis=1), axis=1)
    matters = np.empty(probabilities.shape, dtype=bool)
    least = NEGLIGIBLE_PROPENSITY * running[:, -1:]
    np.put_along_axis(matters, order, running >= least, axis=1)
    kept = np.where(matters, possible, 0.0)
    total, left = (x.sum(axis=1, keepdims=True) for x in (probabilities, kept))
    share = np.divide(total, left, out=np.zeros(left.shape), where=left > 0)
    return np.where(left > 0, kept * share, probabilities)


def within_reach(log: RawLog, columns: Bools, states: Floats) -> Bools:
    """Return where the log's rows of each action reach to, (n_states, n_actions).

    A state beyond all rows of an action in a column that matters is one that nothing speaks for: a
    leaf knows the nearest rows only. What is missing lies beyond nothing.
    """
    within = np.ones((len(states), log.n_actions), dtype=bool)
    asked = states[:, columns]
    for action in range(log.n_actions):
        known = log.states[log.rows_of(action)][:, columns]
        low = np.fmin.reduce(known, axis=0, initial=np.inf)
        high = np.fmax.reduce(known, axis=0, initial=-np.inf)
        within[:, action] = ~((asked < low) | (asked > high)).any(axis=1)
    return within


def hardly_taken(choice: Any, propensities: Floats) -> Floats:
    """Return how likely a policy does what the log hardly ever does, by state, (n_states,).

    ``choice`` is pi(a|s), CSR (n_states, n_actions), ``propensities`` b(a|s).
    """
    return np.asarray(choice.multiply(propensities < LEAST_PROPENSITY).sum(axis=1))


def estimate_propensities(log: RawLog, columns: Bools, *, random_state: int = 0) -> Propensities:
    """Estimate the propensities of a log by a forest on the columns that matter.

    Each split looks at all columns: the usual few would blur where an action is never taken.
    """
    features = Features.of(log.states, columns)
    forest = ExtraTreesClassifier(
        N_TREES, min_samples_leaf=ROWS_IN_LEAF, max_features=None, random_state=random_state
    ).fit(features.see(log.states), log.actions)

    def in_states(states: Floats) -> Floats:
        probabilities = np.zeros((len(states), log.n_actions))
        if len(states):
            probabilities[:, forest.classes_] = forest.predict_proba(features.see(states))
        return probabilities

    goes_on = ~log.ended
    following = np.zeros((len(log.actions), log.n_actions))
    following[goes_on] = in_states(log.next_states[goes_on])
    return Propensities(following, in_states(log.start_states))

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

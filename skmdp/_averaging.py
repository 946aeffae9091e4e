"""Averages over the members of an ensemble: what each answers, and what they answer together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skmdp._log.labels import UNKNOWN
from skmdp._policy import Policy
from skmdp._typing import Codes, Floats, Integers


@dataclass(frozen=True, eq=False)
class Opinion:
    """What one member answers in some states: codes of the states and of the advice, each (n,).

    ``place`` (n_actions of the member,) is the code of each of its actions in the ensemble.
    """

    policy: Policy
    codes: Codes
    votes: Codes
    place: Codes

    def q_values(self, rows: Integers, n_actions: int) -> Floats:
        """Return Q in the ensemble's order, (n_rows, n_actions); NaN where a state is unknown.

        -inf where the member does not admit an action.
        """
        q_values = np.full((len(rows), n_actions), -np.inf)
        q_values[:, self.place] = self.policy.q_rows(self.codes[rows])
        q_values[self.codes[rows] == UNKNOWN] = np.nan
        return q_values

    def tie_tolerances(self, rows: Integers) -> Floats:
        """Return up to which difference of Q actions tie, (n_rows, 1); 0 in unknown states."""
        tolerances = np.append(self.policy.tie_tolerances, 0.0)  # UNKNOWN is the last entry
        return tolerances[self.codes[rows], np.newaxis]


@dataclass(frozen=True, eq=False)
class Averages:
    """Advised actions (n,), mean Q (n, n_actions) and votes (n, n_actions) of an ensemble."""

    actions: Integers
    q_values: Floats
    votes: Floats

    @property
    def values(self) -> Floats:
        """Mean Q of the advised action, (n,)."""
        return np.asarray(self.q_values[np.arange(len(self.actions)), self.actions])


def average(opinions: Sequence[Opinion], rows: Integers, n_actions: int) -> Averages:
    """Average the members' opinions of some rows."""
    shape = (len(rows), n_actions)
    total, votes = np.zeros(shape), np.zeros(shape)
    admitted, known = np.zeros(shape, dtype=bool), np.zeros((len(rows), 1))
    tolerance = np.zeros((len(rows), 1))
    for opinion in opinions:
        q_values = opinion.q_values(rows, n_actions)
        knows, admits = ~np.isnan(q_values[:, :1]), np.isfinite(q_values)
        lowest = np.where(admits, q_values, np.inf).min(axis=1, keepdims=True)
        counted = np.where(admits, q_values, lowest - _usual_spread(opinion.policy))
        total += np.where(knows, counted, 0.0)
        known += knows
        admitted |= admits
        votes[np.arange(len(rows)), opinion.votes[rows]] += 1
        tolerance += opinion.tie_tolerances(rows)
    mean = np.divide(total, known, out=np.full(shape, np.nan), where=known > 0)
    mean[~admitted & (known > 0)] = -np.inf
    best = np.where(known > 0, mean.max(axis=1, keepdims=True), -np.inf)
    near = ~(mean < best - tolerance / np.maximum(known, 1))
    return Averages(np.where(near, votes, -1).argmax(axis=1), mean, votes)


def _usual_spread(policy: Policy) -> float:
    """Return the mean distance between the best and the worst admissible Q of a state."""
    q_values, first = policy.pair_q_values, policy.mdp.first_pairs
    spread = np.maximum.reduceat(q_values, first) - np.minimum.reduceat(q_values, first)
    choices = np.diff(np.append(first, len(q_values))) > 1
    return float(spread[choices].mean()) if choices.any() else 1.0

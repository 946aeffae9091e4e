"""The prior strength that a log chooses: how far pairs are shrunk towards their state."""

from __future__ import annotations

import numpy as np

from skmdp._estimation.counts import TransitionCounts
from skmdp._typing import Floats

PRIOR_STRENGTHS = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
# Least probability of a successor, as when no other row of the state leads to it. It keeps the
# logarithm finite, and adds the same to the likelihood of every strength.
RARE_SUCCESSOR = 1e-6
# A stronger prior would pull an estimate towards what is logged, however well it predicts.
STRONGEST_OF_ESTIMATES = 1.0


def choose_prior_strength(counts: TransitionCounts) -> float:
    """Return the shrinkage that best predicts each row from the others.

    Maximises the leave-one-row-out likelihood of the logged transitions when the distribution of
    a pair is shrunk towards that of its state with the weight of ``kappa`` rows. It looks at
    transitions, not at rewards. O(n_triples) per candidate.
    """
    likelihoods = log_likelihoods(counts)
    best = likelihoods.max()
    level = PRIOR_STRENGTHS[likelihoods >= best - 1e-9 * abs(best)]
    return float(level[np.argmin(np.abs(np.log(level)))])


def log_likelihoods(counts: TransitionCounts) -> Floats:
    """Return the leave-one-row-out log-likelihood of every strength, (n_strengths,)."""
    n_actions_logged = np.bincount(counts.pair_state, minlength=counts.n_states)
    state = counts.pair_state[counts.triple_pair]
    votes = n_actions_logged[state] >= 2  # elsewhere nothing depends on the shrinkage
    state = state[votes]
    c, m = counts.weights[votes], counts.n_rows[votes]
    n = counts.pair_weights[counts.triple_pair][votes]
    n_s = counts.state_weights[state]
    w = c / m
    N_s = _sum_over_actions(counts)[votes]
    p = np.maximum((N_s - w) / np.maximum(n_s - w, w), RARE_SUCCESSOR)
    left, others = np.maximum(c - w, 0.0), n - w
    found, chance, total = np.empty(len(PRIOR_STRENGTHS)), np.empty(len(p)), np.empty(len(p))
    for i, kappa in enumerate(PRIOR_STRENGTHS):  # in place, since new arrays cost more than sums
        np.add(left, np.multiply(p, kappa, out=chance), out=chance)
        np.divide(chance, np.add(others, kappa, out=total), out=chance)
        # Not m @ log, for which BLAS starts threads: they cost more than they save.
        found[i] = np.einsum("i,i", m, np.log(chance, out=chance))
    return found


def _sum_over_actions(counts: TransitionCounts) -> Floats:
    """Return N(s, s') for every triple, (n_triples,)."""
    by_state = counts.state_matrix(counts.weights)
    width = counts.n_states + 1
    rows = np.repeat(np.arange(counts.n_states, dtype=np.int64), np.diff(by_state.indptr))
    wanted = counts.pair_state[counts.triple_pair].astype(np.int64) * width + counts.next_states
    at = np.searchsorted(rows * width + by_state.indices, wanted)
    return np.asarray(by_state.data[at])

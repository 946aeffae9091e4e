"""The prior strength that a log chooses: how far pairs are shrunk towards their state."""

from __future__ import annotations

import numpy as np

from skmdp._estimation.counts import TransitionCounts
from skmdp._typing import Floats

PRIOR_STRENGTHS = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
# Least probability of a successor, as when no other row of the state leads to it. It keeps the
# logarithm finite, and adds the same to the likelihood of every strength.
RARE_SUCCESSOR = 1e-6
# Chances of single rows whose product is taken before its logarithm, which costs far more, and the
# weight of other rows up to which such a product is not too small for a float64.
N_FACTORS, MOST_OTHERS = 8, 1e25
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
    is_single = counts.n_rows == 1
    single = np.flatnonzero(votes & is_single)
    of = np.append(single, np.flatnonzero(votes & ~is_single))
    c, m = counts.weights[of], counts.n_rows[of]
    n = counts.pair_weights[counts.triple_pair[of]]
    n_s = counts.state_weights[state[of]]
    N_s = counts.state_matrix(counts.weights).data[counts.successor_place[of]]
    w = c / m
    p = np.maximum((N_s - w) / np.maximum(n_s - w, w), RARE_SUCCESSOR)
    left, others = np.maximum(c - w, 0.0), n - w
    # A product of weights as large could be 0.
    n_factors = N_FACTORS if others.max(initial=0.0) < MOST_OTHERS else 1
    n_products = len(single) // n_factors
    n_alone = n_factors * n_products
    m = m[n_alone:]
    found, chance, total = np.empty(len(PRIOR_STRENGTHS)), np.empty(len(p)), np.empty(len(p))
    alone, logs = chance[:n_alone].reshape(n_factors, n_products), total[:n_products]
    for i, kappa in enumerate(PRIOR_STRENGTHS):  # in place, since new arrays cost more than sums
        np.add(left, np.multiply(p, kappa, out=chance), out=chance)
        np.divide(chance, np.add(others, kappa, out=total), out=chance)
        # Not m @ log, for which BLAS starts threads: they cost more than they save.
        found[i] = np.einsum("i,i", m, np.log(chance[n_alone:], out=total[n_alone:]))
        found[i] += np.log(np.multiply.reduce(alone, axis=0, out=logs), out=logs).sum()
    return found

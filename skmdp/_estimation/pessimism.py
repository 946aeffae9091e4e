"""An estimated process whose values are lowered by standard errors."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._estimation.process import expected_rewards, trust_in_pairs
from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.mdp._estimated import EstimatedMDP, with_penalty
from skmdp.mdp._penalty import Penalty


def subtract_errors(
    mdp: MDP,
    counts: TransitionCounts,
    pessimism: float,
    *,
    prior_strength: float,
    gamma: float,
    state_values: Floats,
) -> EstimatedMDP:
    """Return an estimated process whose values are lowered by ``pessimism`` standard errors.

    Pairs with few rows also use the variance over all rows of their state, which is computed under
    the given values and then kept. Pairs that were never logged have no error.
    """
    if counts.reward_squares is None:
        raise ValueError(
            "pessimism needs the squares of rewards, which earlier batches were read without. "
            "Call fit to start anew."
        )
    if counts.weights.min() < 1 - 1e-9:
        raise ValueError(
            f"pessimism needs weights that sum to at least 1 for every transition, got "
            f"{counts.weights.min():g}. Weigh rows by how often they count, or use "
            "prior_strength instead."
        )
    n_pairs = len(counts.pair_state)
    means = counts.reward_sums / counts.weights
    inner = counts.reward_squares - counts.reward_sums * means
    # A sum of n squares carries n roundings, so a smaller difference is not a variance.
    rounding = 4 * np.finfo(np.float64).eps * counts.weights
    inner[inner < rounding * counts.reward_squares] = 0.0
    outcomes = counts.matrix(counts.weights / counts.pair_weights[counts.triple_pair] + 1j * means)
    at = counts.find_pairs(mdp.pair_state, mdp.pair_action)
    logged = np.flatnonzero(at >= 0)
    take = csr_array((np.ones(len(logged)), (logged, at[logged])), shape=(len(at), n_pairs))
    visits = take @ counts.pair_weights
    visits[at < 0] = 1.0
    trust = take @ trust_in_pairs(counts, prior_strength)
    inner_sums = sum_by_code(counts.triple_pair, inner, n_pairs)
    mean_rewards = expected_rewards(counts, "state_action")
    return with_penalty(
        mdp,
        Penalty(
            outcomes=(take @ outcomes).tocsr(),
            inner_variance=(take @ inner_sums) / visits,
            state_variance=_state_variances(counts, inner, gamma, state_values)[mdp.pair_state],
            visits=visits,
            factor=pessimism * trust,
            lowest_reward=min(0.0, float(mean_rewards.min())),
        ),
    )


def _state_variances(
    counts: TransitionCounts, inner: Floats, gamma: float, state_values: Floats
) -> Floats:
    """Return the variance of r + gamma V(s') over all rows of every state, (n_states,).

    ``inner`` (n_triples,) is each triple's sum of squared deviations of r from its own mean.
    """
    state = counts.pair_state[counts.triple_pair]
    worth = counts.reward_sums / counts.weights
    worth += gamma * np.append(state_values, 0.0)[counts.next_states]
    n = np.maximum(counts.state_weights, np.finfo(np.float64).tiny)  # states never acted in
    mean = sum_by_code(state, counts.weights * worth, counts.n_states) / n
    squares = counts.weights * (worth - mean[state]) ** 2 + inner
    return np.asarray(sum_by_code(state, squares, counts.n_states) / n)

"""An estimated process whose values are lowered by standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from skmdp._estimation.counts import MOST_ADDED, TransitionCounts, sum_by_code
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
            f"{counts.weights.min():g}. Weigh rows by how often they count, forget less, or use "
            "prior_strength instead."
        )
    n_pairs = len(counts.pair_state)
    means = counts.reward_sums / counts.weights
    inner = counts.reward_squares - counts.reward_sums * means
    # A sum of n squares carries n roundings, so a smaller difference is not a variance.
    rounding = 4 * np.finfo(np.float64).eps * np.minimum(counts.weights, MOST_ADDED)
    inner[inner < rounding * counts.reward_squares] = 0.0
    shares = counts.weights / counts.pair_weights[counts.triple_pair]
    spread = _spread_of_discounts(counts)
    at = counts.find_pairs(mdp.pair_state, mdp.pair_action)
    logged = np.flatnonzero(at >= 0)
    take = csr_array((np.ones(len(logged)), (logged, at[logged])), shape=(len(at), n_pairs))
    visits = take @ counts.pair_weights
    visits[at < 0] = 1.0
    trust = take @ trust_in_pairs(counts, prior_strength)
    inner_sums = sum_by_code(counts.triple_pair, inner, n_pairs)
    mean_rewards = expected_rewards(counts, "state_action")
    discounts, spreads = (None, None) if spread is None else spread.of_triples
    # The triples of each pair, counted from 1.
    numbers = (take @ counts.matrix(np.arange(1.0, len(means) + 1))).tocsr()
    triple = numbers.data.astype(np.int64) - 1

    def of_pairs(per_triple: Any) -> Any:
        parts = (per_triple[triple], numbers.indices, numbers.indptr)
        return csr_array(parts, shape=numbers.shape)

    return with_penalty(
        mdp,
        Penalty(
            outcomes=of_pairs(shares + 1j * means),
            discounts=None if discounts is None else of_pairs(discounts),
            spreads=None if spreads is None else of_pairs(spreads),
            inner_variance=(take @ inner_sums) / visits,
            state_variance=_state_variances(counts, inner, spread, gamma * state_values)[
                mdp.pair_state
            ],
            visits=visits,
            factor=pessimism * trust,
            lowest_reward=min(0.0, float(mean_rewards.min())),
        ),
    )


def knows_spread_of_discounts(counts: TransitionCounts) -> bool:
    """Whether variances can be told: nothing is discounted by time, or squares are kept by row."""
    if counts.discount_sums is None:
        return True
    return counts.discount_squares is not None and counts.weights_count_rows


@dataclass(frozen=True, eq=False)
class _Spread:
    """How the discounts of the rows of each triple vary, each (n_triples,).

    ``covariances`` are those with the rewards of the same rows.
    """

    means: Floats
    variances: Floats
    covariances: Floats

    @property
    def of_triples(self) -> tuple[Floats, Any]:
        """The means, and covariances plus i times variances."""
        return self.means, self.covariances + 1j * self.variances


def _spread_of_discounts(counts: TransitionCounts) -> _Spread | None:
    """Return how the discounts of rows vary within triples, None where none is discounted."""
    if counts.discount_sums is None:
        return None
    assert counts.discount_squares is not None
    assert counts.reward_discounts is not None
    means = counts.following / counts.weights
    squares, products = (
        sums / counts.weights for sums in (counts.discount_squares, counts.reward_discounts)
    )
    variances = np.maximum(squares - means**2, 0.0)
    variances[variances <= 4 * np.finfo(np.float64).eps * counts.weights * squares] = 0.0
    covariances = products - counts.reward_sums / counts.weights * means
    return _Spread(means, variances, np.where(variances > 0, covariances, 0.0))


def _state_variances(
    counts: TransitionCounts, inner: Floats, spread: _Spread | None, following: Floats
) -> Floats:
    """Return the variance of r + gamma V(s') over all rows of every state, (n_states,).

    ``inner`` (n_triples,) is each triple's sum of squared deviations of r from its own mean,
    ``following`` (n_states,) is gamma V.
    """
    state = counts.pair_state[counts.triple_pair]
    led_to = np.append(following, 0.0)[counts.next_states]
    worth = counts.reward_sums / counts.weights
    if spread is not None:
        within = led_to * (2 * spread.covariances + led_to * spread.variances)
        inner = np.maximum(inner + counts.weights * within, 0.0)
        led_to = spread.means * led_to
    worth += led_to
    n = np.maximum(counts.state_weights, np.finfo(np.float64).tiny)  # states never acted in
    mean = sum_by_code(state, counts.weights * worth, counts.n_states) / n
    squares = counts.weights * (worth - mean[state]) ** 2 + inner
    return np.asarray(sum_by_code(state, squares, counts.n_states) / n)

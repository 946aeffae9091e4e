"""By how much each row of a log moves the value of the direct method."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._evaluation.direct import DirectEstimate, beliefs, divide
from skmdp._evaluation.horizon import Path
from skmdp._typing import Floats, Integers


def influence_of_rows(
    counts: TransitionCounts,
    choice: Floats | None,
    prior_strength: float,
    visited: tuple[Floats, Floats],
) -> tuple[Floats, Floats]:
    """Return the influence of rows, u = slope r + offset: slope and offset, each (n_triples,).

    ``visited`` are D and M of the policy's estimate.
    """
    _, left = beliefs(counts, choice, prior_strength)
    return influence_on_means(counts, choice, left, prior_strength, *visited)


def influence_on_means(
    counts: TransitionCounts,
    chosen: Floats | None,
    left: Floats,
    prior_strength: float,
    slope: Floats,
    offset: Floats,
) -> tuple[Floats, Floats]:
    """Return the influence of rows on a sum of means: slope and offset, each (n_triples,).

    A row of a triple is about y = slope r + offset. The sum holds ``chosen`` lam times the mean of
    y over the rows of each pair, lam its trust, and ``left`` times that of each state.
    """
    pair, state = counts.triple_pair, counts.pair_state
    n, n_s, kappa = counts.pair_weights, counts.state_weights, prior_strength
    # Here y is summed over the triple's rows.
    y = slope * counts.reward_sums + offset * counts.weights
    y_pair = sum_by_code(pair, y, len(n))
    y_state = sum_by_code(state, y_pair, counts.n_states)
    of_pair, of_state = divide(y_pair, n), divide(y_state, n_s)[state]
    per_state = divide(left, n_s)[state]
    per_pair, trusting = np.zeros(len(n)), np.zeros(len(n))
    if chosen is not None:
        per_pair = divide(chosen, n + kappa)
        trusting = divide(chosen * kappa, (n + kappa) ** 2)
    constant = trusting * (of_pair - of_state) - per_pair * of_pair - per_state * of_state
    weight = (per_pair + per_state)[pair]
    return weight * slope, weight * offset + constant[pair]


def mean_visited_values(
    counts: TransitionCounts, estimate: DirectEstimate, gamma: float
) -> tuple[Floats, Floats]:
    """Return D(s) and M(s, s') of every triple, each (n_triples,), averaged over the horizon.

    ``estimate`` keeps its paths. O(n_triples) where values and visits settle within the horizon,
    else as often as there are steps.
    """
    assert estimate.values is not None
    assert estimate.visits is not None
    state = counts.pair_state[counts.triple_pair]
    following = np.minimum(counts.next_states, counts.n_states - 1)
    D, M = np.zeros(counts.n_states), np.zeros(len(state))
    for steps, share in estimate.horizon.shares.items():
        visited, values = _visited_values(estimate.values, estimate.visits, steps, state, following)
        D += share * visited
        M += share * values
    return D[state], np.where(counts.next_states == counts.n_states, 0.0, gamma * M)


def _visited_values(V: Path, d: Path, H: int, s: Integers, t: Integers) -> tuple[Floats, Floats]:
    """Return sum of d_k, (n_states,), and of d_k(s) V_{H-1-k}(t) over k < H, (n_triples,)."""
    meeting = np.zeros(len(s))
    for visits, values in meetings(V, d, H):
        meeting += visits[s] * values[t]
    n_early = min(d.length, H)
    early = np.sum([d.at(step) for step in range(n_early)], axis=0)
    return early + (H - n_early) * d.at(H), meeting


def meetings(V: Path, d: Path, H: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield vectors whose outer products sum to those of d_k and V_{H-1-k} over k < H.

    Three of them, and one more for each step at which neither values nor visits have settled.
    The path of visits settles without drift.
    """
    n_early = min(d.length, max(H - V.length, 0))  # steps whose visits meet settled values
    for step in range(n_early, min(d.length, H)):
        yield d.at(step), V.at(H - 1 - step)
    early = np.array([d.at(step) for step in range(n_early)]).reshape(-1, len(d.drift))
    yield early.sum(axis=0), V.at(V.length)
    yield (H - 1 - V.length - np.arange(n_early)) @ early, V.drift
    if d.length < H:
        both = max(H - d.length - V.length, 0)  # steps at which both have settled
        to_come = np.sum([V.at(step) for step in range(min(V.length, H - d.length))], axis=0)
        yield d.at(H), to_come + both * V.at(V.length) + both * (both - 1) / 2 * V.drift

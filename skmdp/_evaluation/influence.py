"""By how much each row of a log moves the value of the direct method."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._evaluation.direct import DirectEstimate, beliefs, divide
from skmdp._evaluation.horizon import Path
from skmdp._evaluation.tails import join
from skmdp._typing import Floats

# Share of the decisions below which visits of a state, and values after them, are rounding.
NEGLIGIBLE_VISITS = 1e-10


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

    ``estimate`` keeps its paths. O(n_triples) for each mode of their closed forms, and for each
    step at which neither the values nor the visits have one.
    """
    assert estimate.values is not None
    assert estimate.visits is not None
    assert estimate.visited is not None
    state = counts.pair_state[counts.triple_pair]
    led_to = np.minimum(counts.next_states, counts.n_states - 1)
    M = np.zeros(len(state))
    for steps, share in estimate.horizon.shares.items():
        for visits, values in meetings(estimate.values, estimate.visits, steps):
            M += share * visits[state] * values[led_to]
    visited = estimate.visited
    known = visited > visited.sum() * NEGLIGIBLE_VISITS
    goes_on = known[state] & (counts.next_states < counts.n_states)
    following = gamma * M
    if counts.discount_sums is not None:  # the mean over the rows of each triple
        following *= counts.discount_sums / counts.weights
    return np.where(known, visited, 0.0)[state], np.where(goes_on, following, 0.0)


def influence_of_discounts(
    counts: TransitionCounts,
    choice: Floats | None,
    prior_strength: float,
    visited: tuple[Floats, Floats],
) -> Floats:
    """Return the influence of a row by discounting one more than its triple does, (n_triples,).

    It comes on top of that of a row that discounts as its triple does on average.
    """
    of_mean = divide(counts.following, counts.weights)
    following = divide(visited[1], of_mean)
    nothing = np.zeros(len(following))
    return influence_of_rows(counts, choice, prior_strength, (following, nothing))[0]


def meetings(V: Path, d: Path, H: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield vectors whose outer products sum to those of d_k and V_{H-1-k} over k < H.

    One for each mode of the paths' closed forms, and one for each step at which neither is known
    in closed form.
    """
    n_late = max(H - d.length, 0)  # visits in closed form
    n_early = min(d.length, max(H - V.length, 0))  # others that meet values in closed form
    for step in range(n_early, H - n_late):
        yield d.at(step), V.at(H - 1 - step)
    if n_early:
        met = V.tail.coefficients(H - n_early - V.length, n_early)[::-1]
        yield from zip(d.weighed(met), V.tail.basis, strict=True)
    if n_late:
        n = min(V.length, n_late)
        met = V.weighed(d.tail.coefficients(n_late - n, n)[::-1])
        met += join(d.tail, V.tail, n_late - n) @ V.tail.basis
        yield from zip(d.tail.basis, met, strict=True)

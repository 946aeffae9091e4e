"""The last step of the search in small processes, compiled by numba: Q, and what is not decided.

See ``_ties`` for the formulas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from skmdp.solvers._kernels_numba import ONE, index
from skmdp.solvers._ties import EPS, NEGLIGIBLE

# What is called by compiled code only needs no place of its own.
INNER: dict[str, Any] = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


@njit(**INNER)
def difference(pair: Any, best: Any, indptr: Any, indices: Any, data: Any, weight: Any) -> Any:
    """Return the sums of the positive and of the negative entries of one row less another."""
    for j in range(index(indptr[pair]), index(indptr[pair + ONE])):
        weight[indices[j]] += data[j]
    for j in range(index(indptr[best]), index(indptr[best + ONE])):
        weight[indices[j]] -= data[j]
    gain, loss = 0.0, 0.0
    for row in (pair, best):
        for j in range(index(indptr[row]), index(indptr[row + ONE])):
            moved = weight[indices[j]]
            gain, loss = gain + max(moved, 0.0), loss + max(-moved, 0.0)
            weight[indices[j]] = 0.0
    return gain, loss


@njit(**INNER)
def share_that_decides(
    s: Any, rows: Any, gamma: Any, Q: Any, V: Any, limits: Any, n_roundings: Any, weight: Any
) -> Any:
    """Return the share of the errors that would prove the best action of state s, 1 if they do.

    ``weight`` (n_states,) holds zeros.
    """
    first, indptr, indices, data, rewards = rows
    heaviest, bound, spread, span = limits
    start, last = index(first[s]), index(first[s + ONE])
    best, largest, rounding, share = start, 0.0, 0.0, 1.0
    for pair in range(start, last):
        size = 0.0
        for j in range(index(indptr[pair]), index(indptr[pair + ONE])):
            size += data[j] * abs(V[indices[j]])
        size = abs(rewards[pair]) + gamma * size
        largest = max(largest, size)
        rounding = max(rounding, 2 * EPS * (n_roundings[pair] * size + abs(rewards[pair])))
        if Q[pair] > Q[best]:
            best = index(pair)
    tolerated = NEGLIGIBLE * min(span, largest) + rounding
    loosest = gamma * heaviest * max(bound, spread)
    for pair in range(start, last):
        enough = max(tolerated, Q[best] - Q[pair] - tolerated)
        if pair != best and loosest > enough:
            gain, loss = difference(index(pair), best, indptr, indices, data, weight)
            proven = gamma * (min(gain, loss) * spread + abs(gain - loss) * bound)
            if proven > enough:
                share = min(share, enough / proven)
    return share


@njit(**INNER)
def conclude(
    rows: Any,
    gamma: Any,
    heaviest: Any,
    proof: Any,
    n_roundings: Any,
    TV: Any,
    values: Any,
    Q: Any,
    weight: Any,
) -> Any:
    """Apply T once more, to the values proven; return the number of undecided states.

    The second number is the share of the errors that would leave none.
    """
    first, indptr, indices, data, rewards = rows
    n = index(len(first)) - ONE
    for s in range(n):
        values[s] = TV[s] + proof.moved
    least, most = np.inf, -np.inf
    for pair in range(index(len(rewards))):
        x = 0.0
        for j in range(index(indptr[pair]), index(indptr[pair + ONE])):
            x += data[j] * values[indices[j]]
        x = rewards[pair] + gamma * x
        Q[pair] = x
        least, most = min(least, x), max(most, x)
    if not most - least < np.inf:  # values have overflown
        return n, 0.0
    limits = heaviest, proof.bound, proof.spread_bound, most - least
    n_undecided, least_share = index(0), 1.0
    for s in range(n):
        share = share_that_decides(s, rows, gamma, Q, values, limits, n_roundings, weight)
        if share < 1.0:
            n_undecided += ONE
            least_share = min(least_share, share)
    return n_undecided, least_share

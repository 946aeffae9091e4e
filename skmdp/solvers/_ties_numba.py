"""What is not decided where actions are nearly as good as each other, compiled by numba.

See ``_ties`` for the formulas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, int32, int64, njit, uint32, uint64

from skmdp.solvers._kernels_numba import best_two, pair_values
from skmdp.solvers._numba import (
    CODES,
    INNER,
    NUMBERS,
    ONE,
    OPTIONS,
    index,
    read_only,
    tuple_of,
)
from skmdp.solvers._ties import EPS, NEGLIGIBLE


@njit(inline="always", **INNER)
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


@njit(inline="always", **INNER)
def share_that_decides(
    s: Any,
    best: Any,
    first: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    rewards: Any,
    gamma: Any,
    sizes: Any,
    Q: Any,
    n_roundings: Any,
    limits: Any,
    weight: Any,
) -> Any:
    """Return the share of the errors that would prove the best action of state s, 1 if they do.

    It is 0 where no errors are small enough. ``weight`` holds zeros.
    """
    loosest, bound, spread, span = limits
    start, last = index(first[s]), index(first[s + ONE])
    largest, rounding, share = 0.0, 0.0, 1.0
    for pair in range(start, last):
        size, j, stop = 0.0, index(indptr[pair]), index(indptr[pair + ONE])
        while j < stop:
            size += data[j] * sizes[indices[j]]
            j += ONE
        size = abs(rewards[pair]) + gamma * size
        largest = max(largest, size)
        rounding = max(rounding, 2 * EPS * (n_roundings[pair] * size + abs(rewards[pair])))
    tolerated = NEGLIGIBLE * min(span, largest) + rounding
    for pair in range(start, last):
        enough = max(tolerated, Q[best] - Q[pair] - tolerated)
        if pair != best and loosest > enough:
            gain, loss = difference(index(pair), best, indptr, indices, data, weight)
            proven = gamma * (min(gain, loss) * spread + abs(gain - loss) * bound)
            if proven > enough:
                share = min(share, enough / proven)
    return share


@njit(
    tuple_of((int64, float64))(
        *(uint64, uint64, CODES, CODES, CODES, NUMBERS, NUMBERS, float64, NUMBERS, NUMBERS),
        *(read_only(int32), float64, float64, float64, float64, float64, float64[::1]),
        uint32[::1],
    ),
    **OPTIONS,
)
def look_for_ties(
    begin: Any,
    end: Any,
    first: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    rewards: Any,
    gamma: Any,
    sizes: Any,
    Q: Any,
    n_roundings: Any,
    loosest: Any,
    bound: Any,
    spread: Any,
    span: Any,
    rounding: Any,
    weight: Any,
    greedy: Any,
) -> Any:
    """Set ``greedy`` to the best pairs; return the number of states where that is not decided.

    The second number is the share of the errors that would leave none but those that no share would
    decide, 1 if there are no others. ``sizes`` are those of V; ``loosest`` is the largest error of
    a difference of two Q, ``span`` their range, ``rounding`` more than what rounding changes;
    ``weight`` holds zeros.
    """
    n_undecided, least_share = 0, 1.0
    far = loosest + NEGLIGIBLE * span + rounding
    limits = loosest, bound, spread, span
    for s in range(begin, end):
        best, top, second = best_two(index(first[s]), index(first[s + ONE]), Q)
        greedy[s] = best
        if top - second <= far:
            share = share_that_decides(
                s,
                best,
                first,
                indptr,
                indices,
                data,
                rewards,
                gamma,
                sizes,
                Q,
                n_roundings,
                limits,
                weight,
            )
            n_undecided += share < 1.0
            if share > 0.0:
                least_share = min(least_share, share)
    return n_undecided, least_share


@njit(**INNER)
def conclude(
    rows: Any,
    gamma: Any,
    heaviest: Any,
    proof: Any,
    largest_reward: Any,
    rounding: Any,
    n_roundings: Any,
    TV: Any,
    values: Any,
    sizes: Any,
    Q: Any,
    weight: Any,
    greedy: Any,
) -> Any:
    """Apply T once more, to the values proven; return the number of undecided states.

    The second number is the share of the errors that would leave none.
    """
    n, largest = index(len(greedy)), 0.0
    for s in range(n):
        values[s] = TV[s] + proof.moved
    for s in range(index(len(values))):
        sizes[s] = abs(values[s])
        largest = max(largest, sizes[s])
    least, most = pair_values(index(0), n, *rows, gamma, values, Q)
    if not most - least < np.inf:  # values have overflown
        return n, 0.0
    loosest = gamma * heaviest * max(proof.bound, proof.spread_bound)
    rounded = 4 * (rounding + EPS) * (largest_reward + gamma * largest)
    limits = loosest, proof.bound, proof.spread_bound, most - least, rounded
    return look_for_ties(index(0), n, *rows, gamma, sizes, Q, n_roundings, *limits, weight, greedy)

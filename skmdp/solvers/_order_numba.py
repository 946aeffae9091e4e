"""Another order of the states, for sweeps in place, compiled by numba.

Rows of pairs are CSR. Columns behind the states are hubs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float64, njit, uint32, uint64

from skmdp.solvers._numba import CODES, INNER, NUMBERS, ONE, OPTIONS, index


@njit(**INNER)
def set_predecessors(
    n: Any, first: Any, indptr: Any, indices: Any, start: Any, filled: Any, before: Any
) -> None:
    """Set ``before`` to the states that lead to each of n states, ``start`` to where they begin.

    Hubs are no states: columns behind the states are passed over. ``start`` holds zeros, and
    ``filled`` is room to work in.
    """
    for j in range(index(indptr[0]), index(indptr[first[n]])):
        if indices[j] < n:
            start[indices[j] + ONE] += np.uint32(1)
    for s in range(n):
        start[s + ONE] += start[s]
        filled[s] = start[s]
    for s in range(n):
        for j in range(index(indptr[first[s]]), index(indptr[first[s + ONE]])):
            if indices[j] < n:
                before[filled[indices[j]]] = s
                filled[indices[j]] += np.uint32(1)


@njit(
    uint64(
        *(CODES, CODES, CODES, CODES, uint32[::1]),
        *(uint32[::1], uint32[::1], uint32[::1], boolean[::1]),
    ),
    **OPTIONS,
)
def backward_order(
    first: Any,
    indptr: Any,
    indices: Any,
    seeds: Any,
    order: Any,
    start: Any,
    filled: Any,
    before: Any,
    seen: Any,
) -> Any:
    """Set ``order`` to the states by their steps to the nearest seed, then all others.

    Returned is the number of states from which a seed is reached. The last four are room to work
    in: zeros, (n + 1,), anything, (n,) and (n_entries,), and False, (n,). Numba would take long to
    compile that they are made here.
    """
    n = index(len(order))
    set_predecessors(n, first, indptr, indices, start, filled, before)
    size = index(0)
    for i in range(index(len(seeds))):
        order[size] = seeds[i]
        seen[seeds[i]] = True
        size += ONE
    at = index(0)
    while at < size:
        reached = index(order[at])
        at += ONE
        for j in range(index(start[reached]), index(start[reached + ONE])):
            if not seen[before[j]]:
                seen[before[j]] = True
                order[size] = before[j]
                size += ONE
    for s in range(n):
        if not seen[s]:
            order[size] = s
            size += ONE
    return at


@njit(
    float64(
        *(CODES, CODES, float64, CODES, CODES, CODES, NUMBERS, NUMBERS, CODES),
        *(uint32[::1], uint32[::1], uint32[::1], float64[::1], float64[::1], uint32[::1]),
    ),
    **OPTIONS,
)
def relabel(
    order: Any,
    code: Any,
    gamma: Any,
    first: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    rewards: Any,
    chosen: Any,
    new_first: Any,
    new_indptr: Any,
    new_indices: Any,
    new_data: Any,
    new_rewards: Any,
    new_chosen: Any,
) -> Any:
    """Copy rows in another order of the states, discounted, with loops at a state solved.

    Column c is called ``code[c]`` in the copy. Returned is the largest factor of a solved loop.
    """
    k, e, largest = index(0), index(0), 1.0
    new_first[0] = 0
    new_indptr[0] = 0
    for at in range(index(len(order))):
        s = index(order[at])
        for pair in range(index(first[s]), index(first[s + ONE])):
            loop, start = 0.0, e
            j, last = index(indptr[pair]), index(indptr[pair + ONE])
            while j < last:
                if indices[j] == s:
                    loop += gamma * data[j]
                else:
                    new_indices[e], new_data[e] = code[indices[j]], gamma * data[j]
                    e += ONE
                j += ONE
            factor = 1.0
            if loop > 0.0:
                factor = 1.0 / (1.0 - loop)
                largest = max(largest, factor)
                for i in range(start, e):
                    new_data[i] *= factor
            new_rewards[k] = factor * rewards[pair]
            if pair == chosen[s]:
                new_chosen[at] = k
            k += ONE
            new_indptr[k] = e
        new_first[at + ONE] = k
    return largest

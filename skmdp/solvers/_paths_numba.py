"""The values of a policy that leads from each state to one other at most, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float64, njit, uint32, void

from skmdp.solvers._numba import CODES, INNER, NUMBERS, ONE, OPTIONS, index


@njit(inline="always", **INNER)
def solve_loop(s: Any, room: Any, columns: Any, entries: Any, gamma: Any, d: Any) -> Any:
    """Return x of state s, from which a path leads back to it."""
    total, weight, at = d[s], gamma * entries[room[s]], index(columns[room[s]])
    while at != s:
        total += weight * d[at]
        weight *= gamma * entries[room[at]]
        at = index(columns[room[at]])
    return total / (1.0 - weight)


@njit(
    void(
        *(CODES, CODES, CODES, NUMBERS, float64, NUMBERS),
        *(float64[::1], uint32[::1], boolean[::1]),
    ),
    **OPTIONS,
)
def follow_paths(
    room: Any,
    stop: Any,
    columns: Any,
    entries: Any,
    gamma: Any,
    d: Any,
    x: Any,
    path: Any,
    is_known: Any,
) -> None:
    """Solve x = d + gamma P x, where the row of each state, as packed, has one entry at most.

    From each state its path is followed to a state that is known, or to an end, or until it comes
    back to itself, where the loop is solved; then it is gone back. ``path`` is room to work in;
    ``is_known`` holds False, and x anything but NaN, which stands for what the path has come by.
    """
    n = index(len(d))
    for start in range(n):
        size, s = index(0), index(start)
        while s < n and not is_known[s] and not np.isnan(x[s]):
            path[size], x[s] = s, np.nan
            size += ONE
            s = index(columns[room[s]]) if room[s] < stop[s] else n
        if s < n and not is_known[s]:
            x[s], is_known[s] = solve_loop(s, room, columns, entries, gamma, d), True
        while size > 0:
            size -= ONE
            s = index(path[size])
            if is_known[s]:
                continue
            x[s], is_known[s] = d[s], True
            if room[s] < stop[s] and columns[room[s]] < n:
                x[s] += gamma * entries[room[s]] * x[columns[room[s]]]

"""The values of a policy that leads from each state to one other at most, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, njit, uint32, void

from skmdp.solvers._numba import CODES, NUMBERS, ONE, OPTIONS, index


@njit(void(CODES, CODES, CODES, NUMBERS, float64, NUMBERS, float64[::1], uint32[::1]), **OPTIONS)
def follow_paths(
    room: Any, stop: Any, columns: Any, entries: Any, gamma: Any, d: Any, x: Any, path: Any
) -> None:
    """Solve x = d + gamma P x, where the row of each state, as packed, has one entry at most.

    From a state that is not solved its path is followed to a state that is, or to an end, or until
    it comes back to itself, where the loop is solved; then it is gone back. ``path`` is room to
    work in, x holds NaN for what is not solved.
    """
    n = index(len(d))
    on_path = np.zeros(n, np.bool_)
    for start in range(n):
        size, s = index(0), index(start)
        while s < n and np.isnan(x[s]) and not on_path[s]:
            path[size] = s
            on_path[s] = True
            size += ONE
            s = index(columns[room[s]]) if room[s] < stop[s] else n
        if s < n and np.isnan(x[s]):  # a loop, through s
            total, weight, at = d[s], gamma * entries[room[s]], index(columns[room[s]])
            while at != s:
                total += weight * d[at]
                weight *= gamma * entries[room[at]]
                at = index(columns[room[at]])
            x[s] = total / (1.0 - weight)
        while size > 0:
            size -= ONE
            s = index(path[size])
            on_path[s] = False
            if np.isnan(x[s]):
                x[s] = d[s]
                if room[s] < stop[s] and columns[room[s]] < n:
                    x[s] += gamma * entries[room[s]] * x[columns[room[s]]]

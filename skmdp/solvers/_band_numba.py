"""The equations of one policy by elimination in a band, compiled by numba.

Small processes are solved by it, see ``_small_numba``; a full matrix is the widest band.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from skmdp.solvers._numba import INNER, ONE, index

# Steps of elimination that take as long as one of a sweep, and how many more each row takes.
FASTER, PER_ROW = 4, 8


@njit(**INNER)
def move_to_zero(V: Any) -> None:
    """Take off what all values share."""
    least, most = np.inf, -np.inf
    for s in range(index(len(V))):
        least, most = min(least, V[s]), max(most, V[s])
    shared = max(least, min(0.0, most))
    for s in range(index(len(V))):
        V[s] -= shared


@njit(**INNER)
def widths_of(policy: Any, n: Any, most: Any) -> Any:
    """Return how far entries are below the diagonal, and above, at most; if both exceed, at least.

    Columns behind the ``n`` states do not count, and ``most`` is enough for the sum.
    """
    room, stop, columns = policy[:3]
    below, above = index(0), index(0)
    for s in range(n):
        for j in range(index(room[s]), index(stop[s])):
            t = index(columns[j])
            if t < s:
                below = max(below, s - t)
            elif t < n:
                above = max(above, t - s)
        if below + above > most:
            break
    return below, above


@njit(**INNER)
def sweeps_worth(policy: Any, n: Any, widest: Any) -> Any:
    """Return how many sweeps take as long as elimination in a band, and its widths, see there.

    That is beyond all numbers if a row of the band is longer than the ``widest``.
    """
    below, above = widths_of(policy, n, widest)
    if below + above >= widest:
        return np.inf, below, above
    # Rows end at the last column, in a full matrix after a third of the steps.
    share = 1.0 - 2.0 / 3.0 * max(below, above) / n
    return share * n * below * (above + PER_ROW) / (FASTER * (1.0 + len(policy[2]))), below, above


@njit(**INNER)
def worth_at_once(n: Any, n_entries: Any, n_sweeps: Any) -> Any:
    """Return so many sweeps if elimination in a full matrix takes no longer than these, else 0."""
    return n_sweeps if float(n) ** 3 < 3 * FASTER * n_sweeps * n_entries else 0.0


@njit(**INNER)
def eliminate(A: Any, d: Any, below: Any, above: Any) -> Any:
    """Solve A x = d, x taking the place of d; return if that works.

    A holds a band row by row, entry (s, t) at s (below + above + 1) + below + t - s. Rows are
    dominated by their diagonal, so no pivot need be looked for.
    """
    n, per_row = index(len(d)), below + above
    for i in range(n):
        of_i = i * per_row + below
        pivot = A[of_i + i]
        if not pivot > 0.0:
            return False
        for s in range(i + ONE, min(n, i + below + ONE)):
            of_s = s * per_row + below
            if A[of_s + i] != 0.0:
                factor = A[of_s + i] / pivot
                for t in range(i + ONE, min(n, i + above + ONE)):
                    A[of_s + t] -= factor * A[of_i + t]
                d[s] -= factor * d[i]
    for i in range(n):
        row = n - ONE - i
        of_row = row * per_row + below
        for t in range(row + ONE, min(n, row + above + ONE)):
            d[row] -= A[of_row + t] * d[t]
        d[row] /= A[of_row + row]
    return True


@njit(**INNER)
def solve(
    policy: Any,
    gamma: Any,
    forgets: Any,
    below: Any,
    above: Any,
    before: Any,
    V: Any,
    d: Any,
    A: Any,
) -> Any:
    """Set V to the values of the policy by its equations; return if that works.

    V is one sweep after ``before``. Rounding is relative to the distance from there.
    """
    room, stop, columns, entries = policy[:4]
    n, per_row = index(len(d)), below + above
    for i in range(n * (per_row + ONE)):
        A[i] = 0.0
    for s in range(n):
        d[s] = V[s] - before[s]
        of_s = s * per_row + below
        A[of_s + s] = 1.0
        for j in range(index(room[s]), index(stop[s])):
            if columns[j] < n:
                A[of_s + columns[j]] -= gamma * entries[j]
    if forgets:
        move_to_zero(d)
    is_solved = eliminate(A, d, below, above)
    for s in range(n):
        V[s] = before[s] + d[s]
    return is_solved

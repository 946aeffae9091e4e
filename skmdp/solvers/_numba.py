"""What the loops that numba compiles have in common.

Files in which compiled loops are kept do not notice when this module changes: after such a change,
delete them, ``__pycache__/*.nb*``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, njit, types, uint32

from skmdp.solvers._compiled import LONG, PADDED, PLAIN, UNEVEN


def read_only(dtype: Any) -> Any:
    return types.Array(dtype, 1, "C", readonly=True)


tuple_of: Any = types.Tuple
CODES, NUMBERS = read_only(uint32), read_only(float64)
# Signed indices would be checked for negative ones.
index = np.uint64
ONE, FOUR = index(1), index(4)
# What entries of rows count: those behind them, and those in them.
BEHIND_OR_IN = np.array([0.0, 1.0])


def may_be_kept() -> bool:
    """Return whether there is a place to which compiled loops can be written."""
    try:
        njit(cache=True)(read_only)
    except RuntimeError:
        return False
    return True


# Arrays are those of the caller, who holds them: to count who else does would take longer than the
# loops themselves where these are short.
OPTIONS: dict[str, Any] = {
    "cache": may_be_kept(),
    "nogil": True,
    "error_model": "numpy",
    "_nrt": False,
}
# What is called by compiled code only needs no place of its own.
INNER: dict[str, Any] = {
    "error_model": "numpy",
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


@njit(inline="always", error_model="numpy")
def expected(start: Any, last: Any, columns: Any, entries: Any, V: Any, form: Any) -> Any:
    """Return the expected value after one row, whose entries are from ``start`` to ``last``.

    ``form`` is that of the rows. Two entries of padded rows can be read in any case. Nor does any
    branch depend on the lengths of uneven rows for the first two entries, of which those behind the
    row count nothing; there is one entry at least in all. Where rows are long, there are four sums,
    since each addition to one of them waits for the last.
    """
    x = 0.0
    if form != PLAIN:  # of all checks the first, since most rows are plain
        if form == PADDED:
            x = entries[start] * V[columns[start]] + entries[start + ONE] * V[columns[start + ONE]]
            start += ONE + ONE
        elif form == UNEVEN:
            one, two = min(start, index(len(entries)) - ONE), start + ONE
            two = two if two < last else one
            x = BEHIND_OR_IN[index(start < last)] * entries[one] * V[columns[one]]
            x += BEHIND_OR_IN[index(start + ONE < last)] * entries[two] * V[columns[two]]
            start += ONE + ONE
        elif form == LONG:
            y, z, w = 0.0, 0.0, 0.0
            while start + FOUR <= last:
                x += entries[start] * V[columns[start]]
                y += entries[start + ONE] * V[columns[start + ONE]]
                z += entries[start + ONE + ONE] * V[columns[start + ONE + ONE]]
                w += entries[start + ONE + ONE + ONE] * V[columns[start + ONE + ONE + ONE]]
                start += FOUR
            x = (x + y) + (z + w)
    # A range would be counted down, too.
    while start < last:
        x += entries[start] * V[columns[start]]
        start += ONE
    return x

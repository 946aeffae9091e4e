"""The states of a policy on which its values hang, apart from the others, compiled by numba.

Rows are those of a packed policy; columns behind its states are ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, int64, njit, uint32, uint64, void

from skmdp.solvers._compiled import SHORTEST_ROOM
from skmdp.solvers._numba import CODES, NUMBERS, ONE, OPTIONS, expected, index


@njit(uint64(CODES, CODES, CODES, *[uint32[::1]] * 4), **OPTIONS)
def peel(begin: Any, stop: Any, columns: Any, code: Any, outer: Any, states: Any, room: Any) -> Any:
    """Leave out, one after the other, all states to which none leads that is not left out.

    ``outer`` becomes the states left out, in this order, and ``states`` the others, each with its
    place among them as its ``code``, which holds zeros before; ``room`` is where their rows begin.
    Returned is the number of the latter. There is room for one more state everywhere.
    """
    n = index(len(begin))
    # No branch where it can be helped: how long rows are cannot be foretold. There is room for two
    # entries in each.
    for s in range(n):
        k, j = index(begin[s]), index(stop[s])
        code[columns[k]] += np.uint32(k < j)
        code[columns[k + ONE]] += np.uint32(k + ONE < j)
        k += ONE + ONE
        while k < j:
            code[columns[k]] += np.uint32(1)
            k += ONE
    size = index(0)
    for s in range(n):
        outer[size] = s
        size += index(code[s] == 0)
    at = index(0)
    while at < size:
        left_out = outer[at]
        at += ONE
        k, j = index(begin[left_out]), index(stop[left_out])
        last = max(j, k + ONE + ONE)
        while k < last:
            column = index(columns[k])
            code[column] -= np.uint32(k < j)
            outer[size] = column
            size += index((k < j) & (code[column] == 0) & (column < n))
            k += ONE
    n_left = index(0)
    room[0] = 0
    for s in range(n):
        is_left = index(code[s] > 0)
        states[n_left], code[s] = s, n_left
        room[n_left + ONE] = room[n_left] + max(stop[s] - begin[s], np.uint32(SHORTEST_ROOM))
        n_left += is_left
    return n_left


@njit(
    void(
        *(CODES, CODES, CODES, NUMBERS, NUMBERS, NUMBERS, CODES, CODES, CODES),
        *(uint32[::1], uint32[::1], float64[::1], float64[::1], float64[::1]),
    ),
    **OPTIONS,
)
def pack_core(
    begin: Any,
    stop: Any,
    columns: Any,
    entries: Any,
    rewards: Any,
    V: Any,
    states: Any,
    code: Any,
    room: Any,
    new_stop: Any,
    new_columns: Any,
    new_entries: Any,
    new_rewards: Any,
    new_V: Any,
) -> None:
    """Copy rows, rewards and values of some states, whose columns are called by their ``code``."""
    n = index(len(begin))
    for i in range(index(len(states))):
        s, e = index(states[i]), index(room[i])
        j, last = index(begin[s]), index(stop[s])
        while j < last:
            if columns[j] < n:
                new_columns[e], new_entries[e] = code[columns[j]], entries[j]
                e += ONE
            j += ONE
        new_stop[i] = e
        first = new_columns[room[i]] if e > room[i] else np.uint32(0)
        while e < room[i + ONE]:
            new_columns[e], new_entries[e] = first, 0.0
            e += ONE
        new_rewards[i], new_V[i] = rewards[s], V[s]


@njit(void(*[CODES] * 4, NUMBERS, NUMBERS, float64, float64[::1], int64), **OPTIONS)
def follow_back(
    outer: Any,
    begin: Any,
    stop: Any,
    columns: Any,
    entries: Any,
    rewards: Any,
    gamma: Any,
    V: Any,
    form: Any,
) -> None:
    """Set the values of states from those that they lead to, those of the last state first."""
    n = index(len(outer))
    for i in range(n):
        s = index(outer[n - ONE - index(i)])
        x, j, last = 0.0, index(begin[s]), index(stop[s])
        if j < last:  # what stands in place of a row might not be known yet
            x = expected(j, last, columns, entries, V, form)
        V[s] = rewards[s] + gamma * x

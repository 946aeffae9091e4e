"""The inner loops of the solvers, compiled by numba.

Rows of pairs are CSR. Columns behind the states are hubs, whose values stand in V behind those of
the states. Rows of a policy are packed, that of state s from ``room[s]`` to ``stop[s]``; the first
two entries that there is room for are 0 where the row has ended. Where ``out`` is V itself, a state
sees the new values of the states before it.

A call hands over each array in several words, which takes longer than a short row: what is called
for each state or pair is inlined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float64, int64, njit, uint32, uint64, void

from skmdp.solvers._compiled import SHORTEST_ROOM
from skmdp.solvers._numba import CODES, INNER, NUMBERS, ONE, OPTIONS, expected, index, tuple_of


@njit(inline="always", **INNER)
def pack(
    s: Any,
    row: Any,
    indices: Any,
    data: Any,
    without_loops: Any,
    n_states: Any,
    hub_indptr: Any,
    hub_indices: Any,
    hub_data: Any,
    begin: Any,
    room_end: Any,
    columns: Any,
    entries: Any,
) -> Any:
    """Copy the row of state s, with short hubs in their place; return where it ends, and a factor.

    If ``without_loops``, what hubs lead back to s is solved, which makes the rest larger.
    """
    e, loop = begin, 0.0
    for j in range(row[0], row[1]):
        column, p = index(indices[j]), data[j]
        is_hub = (
            column >= n_states
            and hub_indptr[column - n_states + ONE] > hub_indptr[column - n_states]
        )
        if not is_hub:
            columns[e], entries[e] = column, p
            e += ONE
            continue
        hub = column - n_states
        for i in range(index(hub_indptr[hub]), index(hub_indptr[hub + ONE])):
            if without_loops and hub_indices[i] == s:
                loop += p * hub_data[i]
            else:
                columns[e], entries[e] = hub_indices[i], p * hub_data[i]
                e += ONE
    scale = 1.0 / (1.0 - loop)
    if loop > 0.0:
        for i in range(begin, e):
            entries[i] *= scale
    first = columns[begin] if e > begin else np.uint32(0)  # so that no other value is read
    for i in range(e, min(begin + ONE + ONE, room_end)):
        columns[i], entries[i] = first, 0.0
    return e, scale


@njit(
    tuple_of((float64, float64, float64, float64, int64))(
        *(uint64, uint64, CODES, CODES, CODES, NUMBERS, NUMBERS, float64, float64),
        *(NUMBERS, float64[::1], float64[::1], uint32[::1], boolean, boolean, boolean),
        *(uint64, CODES, CODES, NUMBERS, CODES, uint32[::1], uint32[::1], float64[::1]),
        *(float64[::1], int64),
    ),
    **OPTIONS,
)
def improve(
    begin: Any,
    end: Any,
    first: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    rewards: Any,
    gamma: Any,
    slack: Any,
    V: Any,
    out: Any,
    Q: Any,
    chosen: Any,
    is_start: Any,
    is_packed: Any,
    without_loops: Any,
    n_states: Any,
    hub_indptr: Any,
    hub_indices: Any,
    hub_data: Any,
    room: Any,
    stop: Any,
    columns: Any,
    entries: Any,
    policy_rewards: Any,
    form: Any,
) -> Any:
    """Apply T to the states from ``begin`` to ``end``, and choose and pack a pair of each.

    A pair stays chosen as long as no other is better by more than the slack. ``is_start`` says that
    V is 0, ``is_packed`` that the rows of pairs that stay are in their place. Returned are the
    least and the largest change, the least and the largest value, and the number of new choices.
    """
    lo, hi, least, most, n_changed = np.inf, -np.inf, np.inf, -np.inf, 0
    pair = index(first[begin])
    i = index(indptr[pair])
    for s in range(begin, end):
        last, best, top = index(first[s + ONE]), pair, -np.inf
        while pair < last:
            x, j = 0.0, index(indptr[pair + ONE])
            if not is_start:
                x = expected(i, j, indices, data, V, form)
            x = rewards[pair] + gamma * x
            Q[pair] = x
            # No branch: which pair is best cannot be foretold.
            is_better = x > top
            best = pair if is_better else best
            top = x if is_better else top
            pair += ONE
            i = j
        d = top - V[s]
        lo, hi = min(lo, d), max(hi, d)
        least, most = min(least, top), max(most, top)
        out[s] = top
        before = index(chosen[s])
        if before < last and Q[before] >= top - slack:
            if is_packed:
                continue
            best = before
        else:
            n_changed += 1
            chosen[s] = best
        row = index(indptr[best]), index(indptr[best + ONE])
        stop[s], scale = pack(
            s,
            row,
            indices,
            data,
            without_loops,
            n_states,
            hub_indptr,
            hub_indices,
            hub_data,
            index(room[s]),
            index(room[s + ONE]),
            columns,
            entries,
        )
        policy_rewards[s] = scale * rewards[best]
    return lo, hi, least, most, n_changed


@njit(
    tuple_of((float64, float64))(
        *(uint64, uint64, CODES, CODES, CODES, NUMBERS, NUMBERS, float64, NUMBERS, float64[::1]),
        *(int64, int64),
    ),
    **OPTIONS,
)
def follow(
    begin: Any,
    end: Any,
    room: Any,
    stop: Any,
    columns: Any,
    entries: Any,
    rewards: Any,
    gamma: Any,
    V: Any,
    out: Any,
    form: Any,
    n_times: Any,
) -> Any:
    """Set ``out`` to rewards + gamma P V, row by row; return the least and the largest change.

    That is done ``n_times``, which changes nothing but in place; the last changes are returned.
    """
    lo, hi = np.inf, -np.inf
    for _ in range(n_times):
        lo, hi = np.inf, -np.inf
        for s in range(begin, end):
            i, j = index(room[s]), index(stop[s])
            x = expected(i, j, columns, entries, V, form)
            x = rewards[s] + gamma * x
            d = x - V[s]
            lo, hi = min(lo, d), max(hi, d)
            out[s] = x
    return lo, hi


@njit(void(CODES, CODES, uint32[::1]), **OPTIONS)
def make_room(first: Any, lengths: Any, room: Any) -> None:
    """Set ``room`` to where the packed row of each state begins, whichever of its pairs is chosen.

    ``lengths`` are those of the rows of pairs.
    """
    pair = index(first[0])
    room[0] = 0
    for s in range(index(len(first)) - ONE):
        last, longest = index(first[s + ONE]), index(SHORTEST_ROOM)
        while pair < last:
            longest = max(longest, index(lengths[pair]))
            pair += ONE
        room[s + ONE] = room[s] + longest


@njit(
    uint64(
        *(CODES, CODES, CODES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, float64, CODES),
        *(uint32[::1], uint32[::1], uint32[::1], float64[::1], float64[::1], uint32[::1]),
    ),
    **OPTIONS,
)
def keep(
    first: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    rewards: Any,
    Q: Any,
    V: Any,
    margin: Any,
    chosen: Any,
    new_first: Any,
    new_indptr: Any,
    new_indices: Any,
    new_data: Any,
    new_rewards: Any,
    new_chosen: Any,
) -> Any:
    """Copy the rows of the pairs whose Q is at most ``margin`` below V; return their number."""
    k, e = index(0), index(0)
    new_first[0] = 0
    new_indptr[0] = 0
    for s in range(index(len(chosen))):
        for pair in range(index(first[s]), index(first[s + ONE])):
            if not (Q[pair] >= V[s] - margin or pair == chosen[s]):
                continue
            for j in range(index(indptr[pair]), index(indptr[pair + ONE])):
                new_indices[e], new_data[e] = indices[j], data[j]
                e += ONE
            new_rewards[k] = rewards[pair]
            if pair == chosen[s]:
                new_chosen[s] = k
            k += ONE
            new_indptr[k] = e
        new_first[s + ONE] = k
    return k


@njit(
    tuple_of((float64, float64))(
        *(uint64, uint64, CODES, CODES, CODES, NUMBERS, NUMBERS, float64, NUMBERS, float64[::1]),
    ),
    **OPTIONS,
)
def pair_values(
    begin: Any,
    end: Any,
    first: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    rewards: Any,
    gamma: Any,
    V: Any,
    Q: Any,
) -> Any:
    """Set Q of the pairs of the states from ``begin`` to ``end``; return the least and the most."""
    least, most = np.inf, -np.inf
    j = index(indptr[first[begin]])
    for pair in range(index(first[begin]), index(first[end])):
        x, last = 0.0, index(indptr[pair + ONE])
        while j < last:
            x += data[j] * V[indices[j]]
            j += ONE
        x = rewards[pair] + gamma * x
        Q[pair] = x
        least, most = min(least, x), max(most, x)
    return least, most


@njit(inline="always", **INNER)
def best_two(begin: Any, end: Any, Q: Any) -> Any:
    """Return the first best of some pairs, its Q, and that of the next best."""
    best, top, second = begin, Q[begin], -np.inf
    for pair in range(begin + ONE, end):
        # No branch: which pair is best cannot be foretold.
        x = Q[pair]
        second = max(second, min(x, top))
        best = index(pair) if x > top else best
        top = max(top, x)
    return best, top, second


@njit(void(uint64, uint64, CODES, NUMBERS, float64, uint32[::1], boolean[::1]), **OPTIONS)
def choose(begin: Any, end: Any, first: Any, Q: Any, far: Any, greedy: Any, is_close: Any) -> None:
    """Set ``greedy`` to the best pairs, ``is_close`` to where another is not ``far`` below."""
    for s in range(begin, end):
        best, top, second = best_two(index(first[s]), index(first[s + ONE]), Q)
        greedy[s] = best
        is_close[s] = top - second <= far

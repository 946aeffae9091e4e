"""The whole search for small processes, compiled by numba: one call solves many of one structure.

It is the loop of ``_driver`` and ``_search``, by the same sweeps and formulas, without what pays in
large processes only. Nothing is allocated, since numba would take seconds to compile that.

What is compiled is kept in files that do not notice when a function in another module changes:
after such a change, delete them, ``__pycache__/*.nb*``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float64, int8, int32, int64, njit, types, uint32, uint64, void

from skmdp.solvers import _bounds, _sweeps
from skmdp.solvers._band_numba import move_to_zero, solve, sweeps_worth, worth_at_once
from skmdp.solvers._driver import LARGEST_SHARE
from skmdp.solvers._kernels import Change
from skmdp.solvers._kernels_numba import follow, improve
from skmdp.solvers._numba import CODES, INNER, NUMBERS, ONE, OPTIONS, index, read_only
from skmdp.solvers._search import FEW_SWEEPS
from skmdp.solvers._small import FEW_STATES, FINAL, PROVEN, STOPPED, UNSOLVED
from skmdp.solvers._ties_numba import conclude

# Sweeps to come from which another way is better where states are not few.
MANY_SWEEPS = 100
STILL = _sweeps.STILL
TOLERANCE, STILL_TOLERANCE = _sweeps.AS_GIVEN.tolerance, _sweeps.AS_GIVEN.still_tolerance
NO_CHOICE = np.uint32(2**32 - 1)

interval_of, noise_of, proof_of, sweeps_to_come = (
    njit(**INNER)(formula)
    for formula in (
        _bounds.interval_of,
        _bounds.noise_of,
        _bounds.proof_of,
        _sweeps.sweeps_to_come,
    )
)


@njit(**INNER)
def evaluate(
    policy: Any,
    gamma: Any,
    least: Any,
    most: Any,
    proof: Any,
    is_still: Any,
    cheap: Any,
    many: Any,
    took: Any,
    form: Any,
    V: Any,
    spare: Any,
    widths: Any,
    d: Any,
    A: Any,
) -> Any:
    """Move V towards the values of the policy; return it, what is spare, and if it was fast.

    As ``_sweeps.Evaluator.evaluate``. Where more than ``many`` sweeps are to come, another way is
    better. ``took`` is how many sweeps a policy would have taken that was solved instead, and may
    take again, 0 if there was none; the fourth number returned is that for the next.
    """
    n, is_fast = index(len(d)), True
    for s in range(n):
        V[s] += proof.moved
    enough = 2 * proof.noise * most
    low, up = interval_of(least, most, proof.lo, proof.hi, 0.0)
    goal = max((STILL_TOLERANCE if is_still else TOLERANCE) * (up - low), enough)
    worth, below, above = -1.0, index(0), index(0)  # elimination is looked at when it may pay
    for k in range(len(widths)):
        lo, hi = follow(index(0), n, *policy, gamma, V, spare, form, 1)
        V, spare = spare, V
        low, up = interval_of(least, most, lo, hi, 0.0)
        widths[k] = up - low
        if up - low <= (goal if k + 1 >= cheap else enough):
            break
        to_come = max(took if k == 0 else 0.0, sweeps_to_come(widths[: k + 1], goal))
        if not to_come > 0.0:
            continue
        if worth < 0.0:
            worth, below, above = sweeps_worth(policy, n, index(len(A)) // n)
        if to_come > worth:
            took = max(took, to_come)
            is_fast = solve(policy, gamma, least == most, below, above, spare, V, d, A)
            break
        if to_come > many:
            is_fast = False
            break
    if least == most:
        move_to_zero(V[:n])
    return V, spare, is_fast, took


@njit(**INNER)
def how_it_ended(is_last: Any, is_final: Any, n_undecided: Any) -> Any:
    """Return how a search ended; what no smaller errors would decide is final, too."""
    return PROVEN + is_last + is_final if is_last or n_undecided == 0 else FINAL


@njit(**INNER)
def search(
    rows: Any,
    gamma: Any,
    mass: Any,
    largest_reward: Any,
    rounding: Any,
    n_roundings: Any,
    tol: Any,
    max_iter: Any,
    form: Any,
    policy: Any,
    room: Any,
    chosen: Any,
    greedy: Any,
    vectors: Any,
    is_start: Any,
    widths: Any,
    A: Any,
    Q: Any,
    values: Any,
    history: Any,
) -> Any:
    """Solve one process; return how that ended, and what is proven and what was wanted.

    ``Q`` becomes that of the values proven, less their level.
    """
    V, TV, weight = vectors[0], vectors[1], vectors[2]
    least, most, heaviest = mass
    n, n_states = index(len(chosen)), index(len(V))
    d, no_codes, no_numbers = vectors[3][:n], room[:0], widths[:0]
    cheap = len(Q) // len(chosen) + FEW_SWEEPS
    # What is worth more than so many sweeps: that others do the work, see ``_sweeps.until_slow``.
    many = np.inf if n <= FEW_STATES else max(MANY_SWEEPS, float(cheap) ** 2)
    took = worth_at_once(n, len(policy[2]), float(FEW_SWEEPS))
    slack, n_iter, wanted, was_rounding = 0.0, 0, np.inf, False
    while True:
        is_zero = is_start & (n_iter == 0)
        lo, hi, least_value, most_value, n_changed = improve(
            *(index(0), n, *rows, gamma, slack, V, TV, Q, chosen),
            *(is_zero, n_iter > 0, False),
            *(n_states, no_codes, no_codes, no_numbers, room, *policy[1:], form),
        )
        change = Change(lo, hi, least_value, most_value)
        noise = noise_of(rounding, largest_reward, change)
        low, up = interval_of(least, most, lo, hi, noise)
        proof = proof_of(change, noise, low, up, most, least == most, rounding, largest_reward)
        history[n_iter] = proof.bound
        n_iter += 1
        slack = proof.noise
        target = tol * max(largest_reward, proof.largest)
        is_proven = proof.bound <= target < np.inf
        is_final, was_rounding = proof.is_rounding and was_rounding, proof.is_rounding
        is_last = is_final or n_iter >= max_iter
        if is_last or (is_proven and proof.spread_bound <= wanted):
            n_undecided, share = conclude(
                *(rows, gamma, heaviest, proof, largest_reward, rounding, n_roundings),
                *(TV, values, V, Q, weight, greedy),
            )
            if is_last or share == 1.0:  # smaller errors would decide no more
                how = how_it_ended(is_last, is_final, n_undecided)
                return how, n_iter, is_proven, target, proof, n_undecided
            wanted = min(share, LARGEST_SHARE) * proof.spread_bound
        n_sweeps = cheap if n_changed <= STILL * n else FEW_SWEEPS
        V, TV, is_fast, took = evaluate(
            *(policy, gamma, least, most, proof, n_changed == 0, n_sweeps, many, took, form),
            *(TV, V, widths, d, A),
        )
        if not is_fast:
            return UNSOLVED, n_iter, is_proven, target, proof, index(0)


@njit(**INNER)
def tell(
    acting: Any,
    pair_action: Any,
    first: Any,
    level: Any,
    relative_Q: Any,
    Q: Any,
    values: Any,
    policy: Any,
) -> None:
    """Add the level to Q, and say what the best action of each state is, and what it is worth."""
    for pair in range(index(len(Q))):
        Q[pair] = relative_Q[pair] + level
    for s in range(index(len(acting))):
        best = index(first[s])
        for pair in range(index(first[s]), index(first[s + ONE])):
            if relative_Q[pair] > relative_Q[best]:
                best = index(pair)
        values[acting[s]], policy[acting[s]] = Q[best], pair_action[best]


@njit(**INNER)
def at(i: Any, table: Any) -> Any:
    """Return which row of a table is that of process i: there may be one for all."""
    return index(i) if len(table) > 1 else index(0)


TABLE = types.Array(float64, 2, "C", readonly=True)


@njit(
    void(
        *(uint64, uint64, CODES, CODES, CODES, CODES, CODES, float64, read_only(int32)),
        *(CODES, int64, TABLE, TABLE, TABLE, NUMBERS, TABLE, float64, float64, int64),
        *(float64[:, ::1], int64[:, ::1], float64[::1], boolean[::1], int64[::1], int64[::1]),
        *(int8[::1], float64[::1], float64[::1], float64[::1], float64[::1], float64[::1]),
        *(uint32[::1], uint32[::1], float64[::1], float64[::1], uint32[::1], uint32[::1]),
        *(float64[:, ::1], float64[::1], float64[::1]),
    ),
    **OPTIONS,
)
def search_each(
    begin: Any,
    end: Any,
    acting: Any,
    pair_action: Any,
    first: Any,
    indptr: Any,
    indices: Any,
    rounding: Any,
    n_roundings: Any,
    room: Any,
    form: Any,
    data: Any,
    rewards: Any,
    masses: Any,
    largest_rewards: Any,
    starts: Any,
    gamma: Any,
    tol: Any,
    max_iter: Any,
    state_values: Any,
    policy: Any,
    bounds: Any,
    converged: Any,
    n_iter: Any,
    n_undecided: Any,
    how: Any,
    targets: Any,
    Q: Any,
    relative_Q: Any,
    relative_values: Any,
    history: Any,
    stop: Any,
    columns: Any,
    entries: Any,
    policy_rewards: Any,
    chosen: Any,
    greedy: Any,
    vectors: Any,
    widths: Any,
    A: Any,
) -> None:
    """Solve the processes from ``begin`` to ``end``, which differ in their numbers.

    Of data, rewards, masses and starts there is one row for each process, or one for all; without
    starts all begin at 0. Q,
    relative values and history are those of the last process; what follows is room to work in.
    """
    is_start = len(starts) == 0
    packed = room[:-1], stop, columns, entries, policy_rewards
    for i in range(begin, end):
        of_data, of_rewards, of_start = at(i, data), at(i, rewards), at(i, starts)
        rows = first, indptr, indices, data[of_data], rewards[of_rewards]
        mass = masses[of_data, 0], masses[of_data, 1], masses[of_data, 2]
        for s in range(index(len(vectors[0]))):
            vectors[0, s] = 0.0 if is_start else starts[of_start, s]
            vectors[1, s] = vectors[2, s] = 0.0
        for s in range(index(len(chosen))):
            chosen[s] = NO_CHOICE
        how[i], n_iter[i], converged[i], targets[i], proof, n_undecided[i] = search(
            rows,
            gamma,
            mass,
            largest_rewards[of_rewards],
            rounding,
            n_roundings,
            tol,
            min(max_iter, len(history)),
            form,
            packed,
            room,
            chosen,
            greedy,
            vectors,
            is_start,
            widths,
            A,
            relative_Q,
            relative_values,
            history,
        )
        bounds[i] = proof.bound
        if how[i] == STOPPED and n_iter[i] < max_iter:  # others may go on
            how[i] = UNSOLVED
        if how[i] != UNSOLVED:
            level = gamma * proof.level
            tell(acting, pair_action, first, level, relative_Q, Q, state_values[i], policy[i])

"""Small processes: all of the search in one call of a compiled loop, where that is loaded."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP
from skmdp.mdp._mdp import renumber_columns
from skmdp.solvers._bounds import UNBOUNDED, Discounting
from skmdp.solvers._compiled import are_at_hand, as_codes, form_of
from skmdp.solvers._solution import Solution

# How a search ends: too slow for the loop; proven; at max_iter; where float64 can prove no more.
UNSOLVED, PROVEN, STOPPED, FINAL = range(4)
# States, and entries of P, up to which a process is small.
MOST_STATES, MOST_ENTRIES = 2_000, 200_000
# States up to which the equations of a policy are solved by elimination in any case. Of more
# states they are in a band as wide.
FEW_STATES = 200
# Improvements of a policy, and sweeps over it after each of them.
MOST_ITERATIONS, MOST_SWEEPS = 1000, 200
# Largest number of iterations that the loop can be asked for.
MOST_CALLED = 2**62


@cache
def load_small() -> Any:
    """Return the compiled loop for small processes, or None where there is no numba."""
    try:
        return import_module("skmdp.solvers._small_numba").search_each
    except ImportError:
        return None


class Structure(NamedTuple):
    """All that processes have in common which differ in their numbers only.

    Acting states come first in ``indices``; ``acting`` (n_acting,) are their codes as given. A row
    of a policy has room from ``room`` of its state to that of the next; ``form`` is that of rows.
    """

    acting: Integers
    action: Integers
    first: Integers
    indptr: Integers
    indices: Integers
    rounding: float
    n_roundings: Integers
    room: Integers
    form: int


class Numbers(NamedTuple):
    """The numbers of processes, one row for each, or one for all.

    ``masses`` are the least and the largest discounted sum of one unit in every step, and the
    largest sum of a row of P; ``starts`` the values to begin with, of acting states first; without
    them all begin at 0.
    """

    data: Floats
    rewards: Floats
    masses: Floats
    largest_rewards: Floats
    starts: Floats


class Results(NamedTuple):
    """Room for what is found of B processes.

    As in ``Solution``, ``how`` searches ended, and the ``target`` of the bounds.
    """

    state_values: Floats
    policy: Integers
    value_error_bound: Floats
    converged: Bools
    n_iter: Integers
    n_undecided: Integers
    how: Integers
    target: Floats

    @classmethod
    def of(cls, n_processes: int, n_states: int) -> Results:
        """Return room for so many."""
        return cls(
            np.zeros((n_processes, n_states)),
            np.full((n_processes, n_states), -1),
            np.empty(n_processes),
            np.empty(n_processes, bool),
            np.empty(n_processes, np.int64),
            np.empty(n_processes, np.int64),
            np.empty(n_processes, np.int8),
            np.empty(n_processes),
        )


class Details(NamedTuple):
    """What is found of the last process besides."""

    q_values: Floats
    relative_q_values: Floats
    relative_values: Floats
    history: Floats


def is_small(mdp: MDP) -> bool:
    """Return whether a process is small, and none that the loop cannot work on."""
    return mdp.is_linear and mdp.n_states <= MOST_STATES and mdp.transitions.nnz <= MOST_ENTRIES


def structure_of(mdp: MDP, P: Any) -> Structure:
    """Return what the loop needs of a process besides its numbers; P has no hubs."""
    acting, n_pairs = mdp.acting_states, len(mdp.rewards)
    if len(acting) < mdp.n_states:
        code = np.empty(mdp.n_states, np.intp)
        acts = np.zeros(mdp.n_states, bool)
        acts[acting] = True
        code[acting], code[~acts] = np.arange(len(acting)), np.arange(len(acting), mdp.n_states)
        P = renumber_columns(P, code)
    longest = np.maximum.reduceat(np.diff(P.indptr), mdp.first_pairs)
    return Structure(
        as_codes(acting),
        as_codes(mdp.pair_action),
        as_codes(np.append(mdp.first_pairs, n_pairs)),
        as_codes(P.indptr),
        as_codes(P.indices),
        mdp.rounding,
        mdp.n_roundings.astype(np.int32),
        as_codes(np.append(0, longest.cumsum())),
        form_of(P.indptr),
    )


class Prepared(NamedTuple):
    """What solves of one process have in common, whatever the discount."""

    structure: Structure
    data: Floats
    rewards: Floats
    largest_reward: Floats


# Of processes that are solved again and again; it goes with them.
_PREPARED: WeakKeyDictionary[MDP, Prepared] = WeakKeyDictionary()


def prepared_for(mdp: MDP) -> Prepared | None:
    """Return what the loop takes of a process, None if hubs would fill it."""
    known = _PREPARED.get(mdp)
    if known is not None:
        return known
    P = mdp.all_transitions(MOST_ENTRIES)
    if P is None:
        return None
    found = _PREPARED[mdp] = Prepared(
        structure_of(mdp, P),
        np.ascontiguousarray(P.data)[np.newaxis],
        np.ascontiguousarray(mdp.rewards)[np.newaxis],
        np.array([mdp.largest_reward]),
    )
    return found


def search_each(
    begin: int,
    end: int,
    structure: Structure,
    numbers: Numbers,
    gamma: float,
    tol: float,
    max_iter: int,
    results: Results,
) -> Details:
    """Solve the processes from ``begin`` to ``end`` by the compiled loop."""
    n_acting, n = len(structure.acting), numbers.starts.shape[1]
    n_pairs, room = len(structure.action), structure.room
    details = Details(np.empty(n_pairs), np.empty(n_pairs), np.zeros(n), np.empty(MOST_ITERATIONS))
    widest = 2 * min(n_acting, FEW_STATES) - 1
    load_small()(
        begin,
        end,
        *structure,
        *numbers,
        gamma,
        tol,
        int(min(max_iter, MOST_CALLED)),
        *results,
        *details,
        room[1:].copy(),
        np.zeros(room[-1], np.uint32),  # of rows that are empty, too
        np.empty(room[-1]),
        np.empty(n_acting),
        np.empty(n_acting, np.uint32),
        np.empty(n_acting, np.uint32),
        np.empty((4, n)),
        np.empty(MOST_SWEEPS),
        np.empty(n_acting * widest),
    )
    return details


def solve_small(
    mdp: MDP,
    gamma: float,
    discounting: Discounting,
    tol: float,
    max_iter: int,
    initial_values: Floats | None,
) -> tuple[Solution, bool, float] | None:
    """Return what is found of a small process, whether float64 can prove no more, and the target.

    None if the loop is not loaded, or not made for the process, or too slow for it.
    """
    if not are_at_hand() or not is_small(mdp) or discounting.most >= UNBOUNDED:
        return None
    prepared = prepared_for(mdp)
    if prepared is None or load_small() is None:
        return None
    structure = prepared.structure
    starts = np.zeros((0 if initial_values is None else 1, mdp.n_states))
    if initial_values is not None:
        starts[0, : len(structure.acting)] = initial_values[mdp.acting_states]
    numbers = Numbers(
        prepared.data,
        prepared.rewards,
        np.array([[discounting.least, discounting.most, mdp.heaviest]]),
        prepared.largest_reward,
        starts,
    )
    found = Results.of(1, mdp.n_states)
    details = search_each(0, 1, structure, numbers, gamma, tol, max_iter, found)
    if found.how[0] == UNSOLVED:
        return None
    n_iter = int(found.n_iter[0])
    relative_values = details.relative_values
    if len(structure.acting) < mdp.n_states:
        relative_values = np.zeros(mdp.n_states)
        relative_values[mdp.acting_states] = details.relative_values[: len(structure.acting)]
    solution = Solution(
        state_values=found.state_values[0],
        q_values=details.q_values,
        relative_values=relative_values,
        relative_q_values=details.relative_q_values,
        policy=found.policy[0],
        n_iter=n_iter,
        converged=bool(found.converged[0]),
        value_error_bound=float(found.value_error_bound[0]),
        n_undecided=int(found.n_undecided[0]),
        history=details.history[:n_iter],
    )
    return solution, bool(found.how[0] == FINAL), float(found.target[0])

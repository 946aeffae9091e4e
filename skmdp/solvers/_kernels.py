"""The inner loops of the solvers, on whole arrays.

Processes have their acting states first, so V is their values, (n_acting,), then zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP


class Choices:
    """Which pairs belong to which acting state.

    ``first`` (n_acting,) is the first pair of every state, ``state`` (n_pairs,) the state of every
    pair, ``n_each`` the number of pairs of a state if it is the same in all, else 0.
    """

    def __init__(self, process: MDP) -> None:
        self.first = process.first_pairs
        self.state = process.pair_state.astype(np.intp, copy=False)
        n_each = len(self.state) // len(self.first)
        is_even = n_each * len(self.first) == len(self.state) and bool(
            (self.first == np.arange(0, len(self.state), n_each)).all()
        )
        self.n_each = n_each if is_even else 0

    def largest(self, Q: Floats) -> Floats:
        """Return the largest Q of every state, (n_acting,)."""
        if not self.n_each:
            return np.maximum.reduceat(Q, self.first)
        top = Q[:: self.n_each].copy()
        for action in range(1, self.n_each):
            np.maximum(top, Q[action :: self.n_each], out=top)
        return top


def improve(process: MDP, choices: Choices, V: Floats, gamma: float) -> tuple[Floats, ...]:
    """Apply T once; return T V (n_acting,) and how far below it every pair is, (n_pairs,)."""
    is_start = process.is_linear and not V.any()
    Q = process.rewards if is_start else process.pair_values(V, gamma)
    top = choices.largest(Q)
    gaps = top[choices.state]
    gaps -= Q
    return top, gaps


def first_best(choices: Choices, gaps: Floats) -> Integers:
    """Return the first pair without a gap of every state, (n_acting,)."""
    best: Integers = (gaps <= 0).nonzero()[0]
    if len(best) > len(choices.first):
        state = choices.state[best]
        best = best[np.append(True, state[1:] != state[:-1])]
    # Values that have overflown have no order.
    return best if len(best) == len(choices.first) else choices.first


def follow(policy: MDP, V: Floats, gamma: float) -> tuple[Floats, float, float]:
    """Sweep V <- R + gamma P V once; return V, and the least and the largest change."""
    values = policy.pair_values(V, gamma)
    change = values - V[: len(values)]
    return padded(values, len(V)), float(change.min()), float(change.max())


def padded(values: Floats, n_states: int) -> Floats:
    """Return values of the acting states followed by zeros, (n_states,)."""
    if len(values) == n_states:
        return values
    V = np.zeros(n_states)
    V[: len(values)] = values
    return V


def backward_order(transitions: Any, is_seed: Bools) -> Integers:
    """Return the states in the order of their steps to the nearest seed, (n_states,).

    States from which no seed is reached come last. ``transitions`` is square.
    """
    n = len(is_seed)
    steps, seeds = transitions.tocoo(), np.flatnonzero(is_seed)
    origin = np.append(steps.col, np.full(len(seeds), n))
    reached = np.append(steps.row, seeds)
    graph = coo_array((np.ones(len(origin), np.int8), (origin, reached)), shape=(n + 1, n + 1))
    order = breadth_first_order(graph.tocsr(), n, return_predecessors=False)[1:]
    is_left = np.ones(n, dtype=bool)
    is_left[order] = False
    return np.append(order, np.flatnonzero(is_left))

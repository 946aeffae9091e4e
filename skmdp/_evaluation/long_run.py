"""What a process that never ends earns per time in the long run.

From its starts it comes to one of its closed classes of states and stays there. In the class each
state is entered in fixed proportions x, so that the reward per time is x . R / x . D, for the
expected reward R and duration D of a decision in each state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import block_array, csr_array, diags_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import splu

from skmdp._typing import Bools, Floats, Integers


def reached_states(transitions: Any, start: Floats) -> Bools:
    """Return which states the process may come to from its starts, (n_states,)."""
    n = len(start)
    graph = block_array([[transitions, None], [csr_array(start[np.newaxis]), csr_array((1, 1))]])
    reached = np.zeros(n + 1, dtype=bool)
    reached[breadth_first_order(graph.tocsr(), n, return_predecessors=False)] = True
    return np.asarray(reached[:n])


def rate_per_time(transitions: Any, rewards: Floats, durations: Floats, start: Floats) -> float:
    """Return the expected reward per time in the long run, where all rows of P sum to one.

    ``start`` (n_states,) sums to one.
    """
    n_classes, of_state = connected_components(transitions, directed=True, connection="strong")
    moves = transitions.tocoo()
    leaves = (of_state[moves.row] != of_state[moves.col]) & (moves.data > 0)
    is_closed = np.ones(n_classes, dtype=bool)
    is_closed[of_state[moves.row[leaves]]] = False
    stays = is_closed[of_state]
    entered = start + _followed(transitions, ~stays, start) @ transitions
    shares = np.bincount(of_state[stays], entered[stays], minlength=n_classes)
    frequencies = _frequencies(transitions, stays, of_state)
    earned = np.bincount(of_state, frequencies * rewards, minlength=n_classes)
    taken = np.bincount(of_state, frequencies * durations, minlength=n_classes)
    return float(shares[is_closed] @ (earned[is_closed] / taken[is_closed]))


def _followed(transitions: Any, inside: Bools, amounts: Floats) -> Floats:
    """Return how often some states are visited from where amounts start, before they are left."""
    states = np.flatnonzero(inside)
    visits = np.zeros(len(inside))
    if len(states):
        among = transitions[states][:, states]
        equations = (diags_array(np.ones(len(states))) - among.T).tocsc()
        visits[states] = splu(equations).solve(amounts[states])
    return visits


def _frequencies(transitions: Any, stays: Bools, of_state: Integers) -> Floats:
    """Return how often each state of a closed class is entered for each time its first one is."""
    states = np.flatnonzero(stays)
    first = states[np.unique(of_state[states], return_index=True)[1]]
    others = stays.copy()
    others[first] = False
    one = np.zeros(len(stays))
    one[first] = 1.0
    return one + _followed(transitions, others, one @ transitions)

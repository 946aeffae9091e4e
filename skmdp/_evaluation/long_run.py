"""What a process that never ends earns per time in the long run, and what moves that.

From its starts it comes to one of its closed classes of states and stays there. In the class each
state is entered in fixed proportions x, so that the reward per time is g = x . R / x . D, for the
expected reward R and duration D of a decision in each state. With h = R - g D + P h, what an entry
of a state is worth beside others of its class, one more row (s, r, d, s') of what the process is
estimated from moves that rate by

    w(s) (r - g d + h(s') - its mean in s),  w = share x / x . D

where share is that of the cases in which the process comes to the class. On the way there a state
that is visited v(s) times moves it by v(s) (g(s') - its mean in s).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import block_array, csr_array, diags_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import splu

from skmdp._typing import Bools, Floats, Integers


@dataclass(frozen=True, eq=False)
class LongRun:
    """The reward per time in the long run, and by how much a row of each state moves it.

    All arrays are (n_states,): ``rates`` g from each state on, ``weights`` w, ``visits`` v on the
    way to a class, ``relative_values`` h.
    """

    value: float
    rates: Floats
    weights: Floats
    visits: Floats
    relative_values: Floats


def reached_states(transitions: Any, start: Floats) -> Bools:
    """Return which states the process may come to from its starts, (n_states,)."""
    n = len(start)
    graph = block_array([[transitions, None], [csr_array(start[np.newaxis]), csr_array((1, 1))]])
    reached = np.zeros(n + 1, dtype=bool)
    reached[breadth_first_order(graph.tocsr(), n, return_predecessors=False)] = True
    return np.asarray(reached[:n])


def rate_per_time(transitions: Any, rewards: Floats, durations: Floats, start: Floats) -> LongRun:
    """Return the expected reward per time in the long run, where all rows of P sum to one.

    ``start`` (n_states,) sums to one.
    """
    n_classes, of_state = connected_components(transitions, directed=True, connection="strong")
    moves = transitions.tocoo()
    leaves = (of_state[moves.row] != of_state[moves.col]) & (moves.data > 0)
    is_closed = np.ones(n_classes, dtype=bool)
    is_closed[of_state[moves.row[leaves]]] = False
    stays = is_closed[of_state]
    on_the_way = _Inside(transitions, ~stays)
    visits = on_the_way.visits(start)
    entered = start + visits @ transitions
    shares = np.bincount(of_state[stays], entered[stays], minlength=n_classes)
    first = _first_states(stays, of_state)
    others = _Inside(transitions, stays & (first == 0))
    frequencies = first + others.visits(first @ transitions)
    earned = np.bincount(of_state, frequencies * rewards, minlength=n_classes)
    taken = np.bincount(of_state, frequencies * durations, minlength=n_classes)
    per_time = np.divide(earned, taken, out=np.zeros(n_classes), where=is_closed)
    rates = np.where(stays, per_time[of_state], 0.0)
    rates += on_the_way.values(transitions @ rates)
    weights = np.zeros(len(start))
    weights[stays] = (frequencies * shares[of_state])[stays] / taken[of_state[stays]]
    return LongRun(
        value=float(start @ rates),
        rates=rates,
        weights=weights,
        visits=visits,
        relative_values=others.values(rewards - rates * durations),
    )


class _Inside:
    """A process as long as it stays among some states, (n_states,), which it leaves in the end."""

    def __init__(self, transitions: Any, inside: Bools) -> None:
        self._states = np.flatnonzero(inside)
        self._n_states = len(inside)
        among = transitions[self._states][:, self._states]
        equations = diags_array(np.ones(len(self._states))) - among
        self._solver = splu(equations.tocsc()) if len(self._states) else None

    def visits(self, amounts: Floats) -> Floats:
        """Return how often its states are visited, from where amounts start."""
        return self._solved(amounts, "T")

    def values(self, amounts: Floats) -> Floats:
        """Return the expected sum of the amounts of the states that are visited from each on."""
        return self._solved(amounts, "N")

    def _solved(self, amounts: Floats, form: str) -> Floats:
        found = np.zeros(self._n_states)
        if self._solver is not None:
            found[self._states] = self._solver.solve(amounts[self._states], form)
        return found


def _first_states(stays: Bools, of_state: Integers) -> Floats:
    """Mark the first state of each closed class by a 1, (n_states,)."""
    states = np.flatnonzero(stays)
    first = np.zeros(len(stays))
    first[states[np.unique(of_state[states], return_index=True)[1]]] = 1.0
    return first

"""The inner loops of the solvers, on whole arrays.

Processes have their acting states first, so V is their values, (n_acting,), then zeros.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._array_policy import (
    ArrayPolicy,
    extremes,
    nearly_largest,
    padded,
    width_of,
)
from skmdp.solvers._equations import places_of

# Times that pairs could have been dropped until they are. Where they are few, to look for them
# takes as long as to look at all once more, so it is put off for some improvements.
TIMES_TO_DROP, TIMES_PUT_OFF, FEW_PAIRS = 2, 4, 20_000
# Share of the states whose pair stays from which only the pairs of others are looked at, unless all
# are few.
MOST_STAY = 0.75
# States for each action from which maxima are faster action by action than state by state; where
# states have unlike numbers of actions.
STATES_PER_ACTION, STATES_PER_ACTION_UNLIKE = 100, 200


class Choices:
    """Which pairs belong to which acting state.

    ``first`` (n_acting,) is the first pair of every state, ``state`` (n_pairs,) the state of every
    pair, ``n_each`` the number of pairs of a state if it is the same in all, else 0.
    """

    def __init__(self, process: MDP) -> None:
        self.first = process.first_pairs
        self.state = process.pair_state.astype(np.intp, copy=False)
        n_each = len(self.state) // len(self.first)
        is_even = n_each * len(self.first) == len(self.state)
        self._of_states = process.n_pairs_each
        self.n_each = n_each if is_even and (self._of_states == n_each).all() else 0

    @cached_property
    def _by_action(self) -> tuple[list[Any], Integers | None]:
        """Where the first pairs of states are, then the second ones and so on; none if too few.

        States that have unlike numbers of pairs come in the order of these, the most first; the
        second part says where among them each state is.
        """
        n, n_each, n_most = len(self.first), self.n_each, int(self._of_states.max())
        per_action = STATES_PER_ACTION if n_each else STATES_PER_ACTION_UNLIKE
        if n_most * per_action > n:
            return [], None
        if n_each:
            return [slice(action, None, n_each) for action in range(n_each)], None
        fewer = (n_most - self._of_states).astype(np.min_scalar_type(n_most))
        order = np.argsort(fewer, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(n)
        n_with = n - np.cumsum(np.bincount(self._of_states))
        first = self.first[order]
        return [first[:n_left] + action for action, n_left in enumerate(n_with[:-1])], place

    def best(self, Q: Floats) -> tuple[Integers | None, Floats]:
        """Return the first pair of every state whose Q is the largest, and its Q, (n_acting,).

        None stands for the pairs where they take longer to find than their Q.
        """
        if not self.n_each or self._by_action[0]:
            return None, self.largest(Q)
        pairs = Q.reshape(-1, self.n_each).argmax(1)
        pairs += self.first
        return pairs, Q[pairs]

    def largest(self, Q: Floats) -> Floats:
        """Return the largest Q of every state, (n_acting,)."""
        by_action, place = self._by_action
        if not by_action:
            return np.maximum.reduceat(Q, self.first)
        top = np.empty(len(self.first))
        top[:] = Q[by_action[0]]
        for pairs in by_action[1:]:
            others = Q[pairs]
            so_far = top[: len(others)]
            np.maximum(so_far, others, out=so_far)
        return top if place is None else top[place]

    def pairs_of(self, states: Integers) -> Integers:
        """Return the pairs of some states, one state after the other."""
        return places_of(states, self.first, self.first + self._of_states)[0]

    def of_pairs(self, of_states: Floats) -> Floats:
        """Return numbers of the acting states for each of their pairs, (n_pairs,)."""
        return of_states.repeat(self.n_each) if self.n_each else of_states[self.state]


def improve(process: MDP, choices: Choices, V: Floats, gamma: float) -> tuple[Floats, Floats]:
    """Apply T once; return T V (n_acting,) and Q of every pair, (n_pairs,)."""
    Q = process.pair_values(V, gamma)
    return choices.largest(Q), Q


def first_best(choices: Choices, top: Floats, Q: Floats) -> Integers:
    """Return the first pair of every state whose Q is the largest, (n_acting,)."""
    best: Integers = (choices.of_pairs(top) <= Q).nonzero()[0]
    if len(best) == len(choices.first):
        return best
    state = choices.state[best]
    best = best[np.append(True, state[1:] != state[:-1])]
    # Values that have overflown have no order.
    return best if len(best) == len(choices.first) else choices.first


def shortest_way(process: MDP, chosen: Integers, is_seed: Bools) -> Integers:
    """Return a pair of every acting state that leads closer to the nearest seed, (n_acting,).

    Seeds, and states from which none is reached, keep the pairs chosen.
    """
    n, steps = len(chosen), process.transitions.tocoo()
    state, seeds = process.pair_state[steps.row], np.flatnonzero(is_seed)
    inside = steps.col < n
    origin = np.append(steps.col[inside], np.full(len(seeds), n))
    reached = np.append(state[inside], seeds)
    back = coo_array((np.ones(len(origin), np.int8), (origin, reached)), shape=(n + 1, n + 1))
    before = breadth_first_order(back.tocsr(), n)[1]
    closer = steps.row[steps.col == before[state]]
    pairs = chosen.copy()
    pairs[process.pair_state[closer[::-1]]] = closer[::-1]
    return pairs


class Layout(NamedTuple):
    """What of a process is the same in all solves: see ``Choices``, and ``width_of``."""

    choices: Choices
    width: int


# Of processes with few pairs, that are solved again and again; it goes with them.
_LAYOUTS: WeakKeyDictionary[MDP, Layout] = WeakKeyDictionary()


def layout_of(process: MDP) -> Layout:
    """Return the layout of a process, kept where its pairs are few."""
    known = _LAYOUTS.get(process)
    if known is None:
        known = Layout(Choices(process), width_of(process))
        if len(process.rewards) <= FEW_PAIRS:
            _LAYOUTS[process] = known
    return known


class Change(NamedTuple):
    """What one application of T did: the least and the largest change, and T V, of all states."""

    lo: float
    hi: float
    least: float
    most: float


class ArrayPairs:
    """The pairs of a process, improved on as whole arrays.

    After ``improve``, ``TV`` holds T V, (n_states,), and ``chosen`` a best pair of every acting
    state, ``n_changed`` of which are new.
    """

    is_in_place = False

    def __init__(self, process: MDP, gamma: float) -> None:
        self.gamma = gamma
        self.n_acting = len(process.first_pairs)
        self.n_changed = self.n_acting
        # No pair is chosen yet.
        self.chosen: Integers = np.empty(0, dtype=np.intp)
        self._policy: ArrayPolicy | None = None
        self._given, self._n_times, self._n_put_off = process, 0, 0
        self.process = process
        self._choices, self._width = layout_of(process)
        self._all = self._choices

    @property
    def n_pairs(self) -> int:
        """Number of pairs that may still be best."""
        return len(self.process.rewards)

    def vector(self, values: Floats) -> Floats:
        """Return values of the acting states, (n_acting,), as V that can be worked on."""
        return padded(values, self.process.n_states).astype(np.float64)

    def improve(self, V: Floats, slack: float) -> Change:
        """Apply T, and choose pairs.

        A pair stays chosen as long as no other is better by more than the slack.
        """
        process, is_first = self.process, not len(self.chosen)
        is_start = is_first and process.is_linear and not np.count_nonzero(V)
        self._Q = process.rewards if is_start else process.pair_values(V, self.gamma)
        best, top = self._choices.best(self._Q)
        self._choose(best, top, slack)
        self._top, self.TV = top, padded(top, len(V))
        self._change = Change(*extremes(top - V[: self.n_acting]), *extremes(top))
        return self._change

    def _choose(self, best: Integers | None, top: Floats, slack: float) -> None:
        chosen = self.chosen
        if len(chosen):
            stays = self._Q[chosen] >= top - slack
            if np.count_nonzero(stays) == len(stays):
                self.n_changed = 0
                return
            chosen = self._better(stays, best, top)
            self.n_changed = int(np.count_nonzero(chosen != self.chosen))
        else:
            chosen = first_best(self._choices, top, self._Q) if best is None else best
        self.chosen, self._policy = chosen, None

    def _better(self, stays: Bools, best: Integers | None, top: Floats) -> Integers:
        """Return the pairs chosen, and a best one of the states whose pair does not stay."""
        choices = self._choices
        if best is not None:
            return np.where(stays, self.chosen, best)
        if len(self._Q) <= FEW_PAIRS or np.count_nonzero(stays) < MOST_STAY * len(stays):
            return np.where(stays, self.chosen, first_best(choices, top, self._Q))
        pairs = choices.pairs_of((~stays).nonzero()[0])
        best = pairs[self._Q[pairs] >= top[choices.state[pairs]]][::-1]
        chosen = self.chosen.copy()
        chosen[choices.state[best]] = best  # the first of those that are best comes last
        return chosen

    def q_values(self) -> Floats | None:
        """Return None: Q is not kept."""
        return None

    def all_q_values(self, values: Floats) -> Floats:
        """Return Q of all pairs, dropped ones too, from values of the acting states."""
        return self._given.pair_values(padded(values, self._given.n_states), self.gamma)

    def change_of_chosen(self, V: Floats) -> Floats:
        """Return by how much the pairs chosen change the V of the last improvement, (n_acting,)."""
        return self._Q[self.chosen] - V[: self.n_acting]

    def policy(self) -> ArrayPolicy:
        """Return the policy that takes the pairs chosen."""
        if self._policy is None:
            self._policy = ArrayPolicy(
                self.process, self.gamma, self.chosen, width=self._width, given=self._given
            )
        return self._policy

    def shortcut(self) -> ArrayPolicy | None:
        """Return the policy that takes the shortest way to the largest rewards; None if by hubs."""
        if self.process.all_transitions(0) is None:
            return None
        is_seed = nearly_largest(self.process.rewards[self.chosen])
        pairs = shortest_way(self.process, self.chosen, is_seed)
        return ArrayPolicy(self.process, self.gamma, pairs)

    def eliminate(self, margin: float, most_left: float) -> None:
        """Drop the pairs that are further from best, unless more than that share would be left.

        Where that was one of the last improvements it would not pay, so it is put off.
        """
        least, most = self._change[2:]
        widest = 2 * self.process.largest_reward + max(0.0, most) - min(0.0, least)
        # Nothing is known of values that have overflown: no gap compares with them.
        if not margin < widest:
            return
        if len(self._given.rewards) <= FEW_PAIRS and self._n_put_off < TIMES_PUT_OFF:
            self._n_put_off += 1
            return
        is_left = self._choices.of_pairs(self._top - margin) <= self._Q
        if not self.n_acting <= np.count_nonzero(is_left) <= most_left * len(is_left):
            return
        self._n_times += 1
        if self._n_times < TIMES_TO_DROP:
            return
        self.process = self.process.restrict(np.flatnonzero(is_left))
        self._choices, self._width = Choices(self.process), width_of(self.process)
        self.chosen = (np.cumsum(is_left) - 1)[self.chosen]

    def greedy(self, Q: Floats) -> tuple[Integers, Floats]:
        """Return the best pair of every acting state by Q of all pairs, and its Q."""
        best, top = self._all.best(Q)
        return first_best(self._all, top, Q) if best is None else best, top

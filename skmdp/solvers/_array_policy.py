"""Policies, followed as whole arrays.

Processes have their acting states first, so V is their values, (n_acting,), then zeros.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import splu

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP
from skmdp.mdp._mdp import csr_like, rows_at
from skmdp.solvers._equations import (
    Multiply,
    found_backward,
    places_of,
    rows_of,
    solve_dense,
    spreads,
    starts_of,
    successors,
)

# Entries of a policy up to which filling up its rows pays, how many times as many these may become,
# and entries of a row.
FEW_IN_POLICY, MOST_FILLED, SHORT_ROWS = 5_000, 2, 8
# Share of the largest reward within which rewards count as largest.
NEARLY = 1e-3
# Entries that hubs may add to the rows of a policy: for each of its own, and in any case.
MOST_ADDED = 8
FEW_ENTRIES = 200_000
# Share of the states that may be in loops or behind them for these to be swept by themselves.
LARGEST_CORE = 0.5
# States of a core up to which its equations are solved by elimination in a full matrix.
TINY_CORE = 64
# States that each leads to, on average, up to which a small core is looked for.
MOST_LEADS = 4
# States of a layer, as a share of all, from which it is left out of the core.
LAYER = 0.005
# Share of the rows of a matrix from which multiplying by all costs less than looking these out.
MANY_ROWS = 0.2
# Rows from which they are put in the order of their lengths where more than this share is not as
# long as the one before: processors guess in vain where such rows stop.
MANY_TO_ORDER, UNEVEN = 5_000, 0.1
# Length from which that is no matter.
LONG_ROWS = 255


def width_of(process: MDP) -> int:
    """Return the length of the longest row if rows are short, few, and nearly as long, else 0."""
    P, n_pairs = process.transitions, len(process.rewards)
    most = FEW_IN_POLICY * n_pairs // len(process.first_pairs)
    if isinstance(P, np.ndarray) or P.nnz > most or process.all_transitions(0) is not P:
        return 0
    width = int(np.diff(P.indptr).max())
    is_fit = width * n_pairs <= min(most, MOST_FILLED * P.nnz)
    return width if is_fit and width <= SHORT_ROWS else 0


class ArrayPolicy:
    """The rows of one pair of every acting state, followed as whole arrays.

    They are the rows of some ``pairs`` of the process, if not of all. If a ``width`` is given, no
    row is longer, and all are nearly as long. ``given`` is the process that is solved.
    """

    # Paths are followed one state after the other.
    along_paths = None

    def __init__(
        self,
        process: MDP,
        gamma: float,
        pairs: Integers | None = None,
        *,
        width: int = 0,
        given: MDP | None = None,
    ) -> None:
        self._whole, self._gamma, self._pairs, self._width = process, gamma, pairs, width
        self._given = process if given is None else given
        self.rewards = process.rewards if pairs is None else process.rewards[pairs]

    @cached_property
    def _process(self) -> MDP:
        return self._whole if self._pairs is None else self._whole.restrict(self._pairs)

    @cached_property
    def _entries(self) -> tuple[Integers, Floats, Floats]:
        """Columns and entries of gamma P, (width, n_acting), filled up with 0, and room for both.

        Where rows are few, this takes less time than to make a CSR array.
        """
        P = self._whole.transitions
        begin, stop = P.indptr[self._pairs], P.indptr[1:][self._pairs]
        at = begin + np.arange(self._width)[:, np.newaxis]
        entries = P.data.take(at, mode="clip")
        entries *= at < stop
        entries *= self._gamma
        columns = P.indices.take(at, mode="clip").astype(np.intp)
        return columns, entries, np.empty_like(entries)

    @cached_property
    def _by_length(self) -> tuple[Any, Integers] | None:
        """Rows of gamma P by their lengths, CSR, and where that of each state is among them.

        None where that order is no use, or hubs or a penalty add to what these rows say.
        """
        process, P = self._whole, self._whole.transitions
        if isinstance(P, np.ndarray) or not process.is_linear:
            return None
        order = order_by_length(P, self._pairs)
        if order is None or process.all_transitions(0) is not P:
            return None
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        rows = rows_at(P, order if self._pairs is None else self._pairs[order])
        rows.data *= self._gamma
        return rows, places

    def _values(self, V: Floats) -> Floats:
        """Return R + gamma P V of the acting states."""
        if not self._width:
            if self._by_length is None:
                return self._process.pair_values(V, self._gamma)
            rows, places = self._by_length
            values: Floats = (rows @ V).take(places)
            values += self.rewards
            return values
        columns, entries, room = self._entries
        V.take(columns, out=room, mode="clip")
        room *= entries
        values = np.add.reduce(room, 0)
        values += self.rewards
        return values

    def apply(self, V: Floats) -> tuple[Floats, float, float]:
        """Return R + gamma P V of all states, and the least and the largest change."""
        values = self._values(V)
        return padded(values, len(V)), *extremes(values - V[: len(values)])

    # Whole arrays are as fast one after the other as in place.
    sweep = apply

    def core(self, V: Floats) -> ArrayCore | None:
        """Return the states that are in loops or behind them, as far as it is seen; None if many.

        Sweeps have nothing to settle in the others.
        """
        if self._core is None:
            return None
        P, policy, states, layers = self._core
        return ArrayCore(self, P, policy, states, V[states], layers)

    @cached_property
    def _core(self) -> tuple[Any, ArrayPolicy, Integers, list[Integers]] | None:
        n = len(self.rewards)
        if isinstance(self._whole.transitions, np.ndarray) or self.n_entries > MOST_LEADS * n:
            return None
        process = self._process
        P = process.transitions
        if process.all_transitions(0) is not P:  # hubs lead out of any core
            return None
        P = P[:, :n] if P.shape[1] > n else P
        is_left, layers = peel(P)
        states = np.flatnonzero(is_left)
        if len(states) > LARGEST_CORE * n:
            return None
        k = len(states)
        at, before = places_of(states, P.indptr[:-1], P.indptr[1:])
        code = np.cumsum(is_left) - 1  # they lead to no state that is left out
        kind = P.indices.dtype
        rows = P.data[at], code[P.indices[at]].astype(kind), before.astype(kind)
        inner = process.unchecked(
            transitions=csr_like(P, rows, (k, k)),
            rewards=self.rewards[states],
            pair_state=np.arange(k),
            pair_action=np.zeros(k, np.intp),
            n_states=k,
        )
        policy: ArrayPolicy
        if 0 < k <= TINY_CORE:
            forgets = self._gamma < 1 and self._given.is_closed
            policy = FewStates(inner, self._gamma, forgets=forgets)
        else:
            policy = ArrayPolicy(inner, self._gamma)
        return P, policy, states, layers

    def follow_back(self, V: Floats, states: Integers, P: Any, drift: float) -> None:
        """Set V of states to what follows from those that they lead to by P."""
        is_part = len(states) < MANY_ROWS * P.shape[0]
        following = (
            rows_at(P, states) @ V[: P.shape[1]] if is_part else (P @ V[: P.shape[1]])[states]
        )
        V[states] = self.rewards[states] - drift + self._gamma * following

    def wave(self, _: Floats, /) -> None:
        """Return None: sweeps are not in place."""

    def transitions(self, *, with_hubs: bool = True) -> Any:
        """Return gamma P over the acting states, CSR; None if hubs would fill it."""
        process, n = self._process, len(self.rewards)
        P = process.transitions
        if isinstance(P, np.ndarray):
            return csr_array(self._gamma * P[:, :n])
        if with_hubs:
            P = process.all_transitions(max(MOST_ADDED * (P.nnz + n), FEW_ENTRIES))
        if P is not None and P.shape[1] > n:
            P = P[:, :n]
        return None if P is None else self._gamma * P

    @property
    def n_entries(self) -> int:
        """Number of entries of P, CSR."""
        P, pairs = self._whole.transitions, self._pairs
        return int(P.nnz if pairs is None else (P.indptr[1:][pairs] - P.indptr[pairs]).sum())

    def spreads(self, most: float) -> bool:
        """Return whether it is seen, without much work, that no band of P costs so little."""
        P = self._process.transitions
        return not isinstance(P, np.ndarray) and spreads([starts_of(P)], most)

    def system(self, d: Floats) -> tuple[Multiply, Floats, Multiply | None]:
        """Return I - gamma P and d, preconditioned by sweeps in place."""

        def multiply(x: Floats) -> Floats:
            V = padded(x, self._process.n_states)
            return np.asarray(x - self._gamma * self._process.expected_next_values(V))

        return multiply, d, self._in_place

    @cached_property
    def _in_place(self) -> Multiply:
        # Hubs lead anywhere, which is in no order.
        return sweeps_in_place(self.transitions(with_hubs=False), self.rewards)


class FewStates(ArrayPolicy):
    """A policy whose equations in a full matrix cost less than sweeps.

    Where a constant added to V changes nothing but the level, it ``forgets`` what changes of all
    states have in common: rounding is relative to what is left.
    """

    def __init__(self, process: MDP, gamma: float, *, forgets: bool) -> None:
        super().__init__(process.with_dense_rows(), gamma)
        self._forgets = forgets

    def sweep(self, V: Floats) -> tuple[Floats, float, float]:
        """Do the same from where the solution takes V, so that hardly more than that changes."""
        swept, lo, hi = self.apply(V)
        d = swept - V
        if self._forgets:
            d -= (lo + hi) / 2
        try:
            moved = V + solve_dense(self._gamma * self._process.transitions, d)
        except np.linalg.LinAlgError:  # nothing but rounding is left of a pivot
            return swept, lo, hi
        after = self.apply(moved)
        return after if after[2] - after[1] <= hi - lo else (swept, lo, hi)


class ArrayCore(NamedTuple):
    """As ``Core`` of compiled policies; states of a layer lead to later layers or to the core."""

    whole: ArrayPolicy
    transitions: Any
    policy: ArrayPolicy
    states: Integers
    values: Floats
    layers: list[Integers]

    def follow(self, V: Floats, values: Floats, drift: float) -> None:
        """Set V of these states to their values, which T moves by ``drift``, and all others."""
        V[self.states] = values
        for layer in reversed(self.layers):
            self.whole.follow_back(V, layer, self.transitions, drift)


def peel(P: Any) -> tuple[Bools, list[Integers]]:
    """Leave out, layer by layer, all states to which none leads that is not left out.

    Return which are left of those of the square P, and the layers that are worth their work.
    """
    n = P.shape[0]

    def into(states: Integers) -> Integers:
        columns = successors(states, P.indptr[:-1], P.indptr[1:], P.indices)
        return np.bincount(columns, minlength=n)

    n_before: Integers = np.bincount(P.indices, minlength=n)
    is_left, n_left, layers = np.ones(n, dtype=bool), n, list[Integers]()
    layer: Integers = (n_before == 0).nonzero()[0]
    while len(layer) > LAYER * n:
        layers.append(layer)
        is_left[layer] = False
        n_left -= len(layer)
        if len(layer) > n_left:
            n_before = into(is_left.nonzero()[0])
        else:
            n_before -= into(layer)
        layer = ((n_before == 0) & is_left).nonzero()[0]
    return is_left, layers


def order_by_length(P: Any, pairs: Integers | None) -> Integers | None:
    """Return the order of some rows of a CSR array by their lengths, None if that is no use."""
    begin, stop = P.indptr[:-1], P.indptr[1:]
    n = len(begin if pairs is None else pairs)
    if n < MANY_TO_ORDER:
        return None
    lengths = stop - begin if pairs is None else stop[pairs] - begin[pairs]
    if np.count_nonzero(lengths[1:] != lengths[:-1]) <= UNEVEN * n:
        return None
    return np.argsort(np.minimum(lengths, LONG_ROWS).astype(np.uint8), kind="stable")


def padded(values: Floats, n_states: int) -> Floats:
    """Return values of the acting states followed by zeros, (n_states,)."""
    if len(values) == n_states:
        return values
    V = np.zeros(n_states)
    V[: len(values)] = values
    return V


def extremes(values: Floats) -> tuple[float, float]:
    """Return the smallest and the largest value; where they are, since few are faster to find so.

    To find out what ``min`` is to do takes numpy longer than to look at a thousand numbers.
    """
    return values.item(values.argmin()), values.item(values.argmax())


def nearly_largest(rewards: Floats) -> Bools:
    """Return which of the rewards count as largest."""
    return np.asarray(rewards >= rewards.max() - NEARLY * np.abs(rewards).max())


def backward_order(transitions: Any, is_seed: Bools) -> Integers:
    """Return the states in the order of their steps to the nearest seed, (n_states,).

    States from which no seed is reached come last. ``transitions`` is square.
    """
    order = found_backward(transitions, np.flatnonzero(is_seed))
    is_left = np.ones(len(is_seed), dtype=bool)
    is_left[order] = False
    return np.append(order, np.flatnonzero(is_left))


def sweeps_in_place(P: Any, rewards: Floats) -> Multiply:
    """Return what one sweep in place does to a vector, backwards from the largest rewards."""
    n = P.shape[0]
    order = backward_order(P, nearly_largest(rewards))
    code = np.empty_like(order)
    code[order] = np.arange(n)
    row, column = code[rows_of(P)], code[P.indices]
    below = column <= row
    at = np.append(np.arange(n), row[below]), np.append(np.arange(n), column[below])
    rows = csc_array((np.append(np.ones(n), -P.data[below]), at), shape=(n, n))
    factors = splu(rows, permc_spec="NATURAL", diag_pivot_thresh=0.0)

    def sweep(x: Floats) -> Floats:
        swept = np.empty(len(x))
        swept[order] = factors.solve(x[order])
        return swept

    return sweep

"""The pairs of a process for the compiled loops, and where these are used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, hstack

from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._equations import thread_pools
from skmdp.solvers._kernels import NEARLY, ArrayPairs, Change, Multiply, sweeps_in_place

KERNELS = "skmdp.solvers._kernels_numba"
# Entries of P from which it pays to load the compiled loops, and to use them once they are loaded.
ENOUGH_TO_LOAD = 100_000
ENOUGH_TO_USE = 2_000
# Entries that are work enough for one more thread.
PER_THREAD = 200_000
# Longest row of a hub that is packed entry by entry.
LONGEST_PACKED = 64
# Entries that have a number of 31 bits, which are enough for pointers.
MOST_ENTRIES = 2**31
NO_CHOICE = np.iinfo(np.uint32).max


@cache
def load() -> Any:
    """Return the compiled loops, or None where there is no numba, or it may not compile."""
    try:
        numba = import_module("numba")
    except ImportError:
        return None
    return None if numba.config.DISABLE_JIT else import_module(KERNELS)


# Whether that the loops are loaded counts when it is decided whether to use them.
LOADED_COUNTS: ContextVar[bool] = ContextVar("LOADED_COUNTS", default=True)


def are_at_hand() -> bool:
    """Return whether the compiled loops are loaded, so that they pay for small processes, too."""
    return LOADED_COUNTS.get() and KERNELS in sys.modules


@contextmanager
def by_size_alone() -> Iterator[None]:
    """Let size alone decide on the loops: last bits then do not depend on what ran before."""
    token = LOADED_COUNTS.set(False)
    try:
        yield
    finally:
        LOADED_COUNTS.reset(token)


def pairs_of(process: MDP, gamma: float) -> ArrayPairs | CompiledPairs:
    """Return the pairs of a process, its acting states first, for the loops that suit it."""
    P = process.transitions
    enough = ENOUGH_TO_USE if are_at_hand() else ENOUGH_TO_LOAD
    is_fit = process.is_linear and not isinstance(P, np.ndarray) and P.nnz >= enough
    if is_fit and max(P.nnz, *P.shape) < MOST_ENTRIES and load() is not None:
        return CompiledPairs.of_process(process, gamma)
    return ArrayPairs(process, gamma)


def as_codes(numbers: Any) -> Integers:
    """Return indices as the loops take them, without a copy where they are int32."""
    return np.ascontiguousarray(numbers, dtype=np.int32).view(np.uint32)


class Rows(NamedTuple):
    """Rows of pairs: where those of each state begin, CSR, and rewards."""

    first: Integers
    indptr: Integers
    indices: Integers
    data: Floats
    rewards: Floats

    def like(self) -> Rows:
        """Return room for a copy."""
        first, indptr, indices = (np.empty_like(part) for part in self[:3])
        data, rewards = np.empty_like(self.data), np.empty_like(self.rewards)
        return Rows(first, indptr, indices, data, rewards)

    def up_to(self, n_pairs: int) -> Rows:
        """Return the rows of the first pairs, without the room behind them."""
        n_entries = self.indptr[n_pairs]
        return Rows(
            self.first,
            self.indptr[: n_pairs + 1],
            self.indices[:n_entries],
            self.data[:n_entries],
            self.rewards[:n_pairs],
        )


class Threads:
    """Shares of the states for as many threads as there are, and as there is work for."""

    def __init__(self, entries_before: Integers) -> None:
        n, n_entries = len(entries_before) - 1, int(entries_before[-1])
        self._n = n
        n_shares = min(n_entries // PER_THREAD, n_threads()) if n_entries >= 2 * PER_THREAD else 1
        shares = np.arange(1, n_shares) * n_entries // n_shares
        cuts = np.searchsorted(entries_before, shares.astype(entries_before.dtype))
        self._shares = list(pairwise([0, *map(int, cuts), n]))
        self._pool = ThreadPoolExecutor(n_shares - 1) if n_shares > 1 else None

    def run(
        self, loop: Callable[..., Any], arguments: tuple[Any, ...], *, alone: bool
    ) -> list[Any]:
        """Return what a loop returns for each share; ``alone``: for all states in one."""
        if alone or self._pool is None:
            return [loop(0, self._n, *arguments)]
        others = [self._pool.submit(loop, *share, *arguments) for share in self._shares[1:]]
        return [loop(*self._shares[0], *arguments), *(other.result() for other in others)]


def n_threads() -> int:
    """Return the number of threads that OpenMP would use, which users and joblib can limit."""
    counts = [pool["num_threads"] for pool in thread_pools().select(user_api="openmp").info()]
    return min(counts, default=1)


class Hubs:
    """Rows that pairs share, whose values stand in V behind those of the states.

    ``short`` are those that are packed entry by entry, CSR; the others are ``long``.
    """

    def __init__(self, transitions: Any) -> None:
        self.transitions = transitions
        self.n_states = transitions.shape[1]
        lengths = np.diff(transitions.indptr)
        self.lengths = np.where(lengths <= LONGEST_PACKED, lengths, 0)
        self.long = np.flatnonzero(self.lengths == 0)
        is_short = np.repeat(self.lengths > 0, lengths)
        self.short = (
            as_codes(np.append(0, np.cumsum(self.lengths))),
            as_codes(transitions.indices[is_short]),
            np.ascontiguousarray(transitions.data[is_short]),
        )
        self._long_transitions = transitions[self.long]

    def vector(self) -> Floats:
        """Return V = 0, of all states and hubs."""
        return np.zeros(sum(self.transitions.shape))

    def refresh(self, V: Floats, *, only_long: bool) -> None:
        """Set their values in V to what follows from those of the states."""
        n = self.n_states
        if not only_long:
            V[n:] = self.transitions @ V[:n]
        elif len(self.long):
            V[n + self.long] = self._long_transitions @ V[:n]

    def renumbered(self, code: Integers) -> Hubs:
        """Return the same under other codes of the states."""
        P = self.transitions
        return Hubs(csr_array((P.data, code[P.indices], P.indptr), shape=P.shape))


class CompiledPolicy:
    """Packed rows of one pair of every acting state, for the compiled loops."""

    def __init__(self, room: Integers, hubs: Hubs, gamma: float, *, in_place: bool) -> None:
        self._hubs, self._gamma, self._in_place = hubs, gamma, in_place
        self._begin, self.stop = room[:-1], room[1:].copy()
        self.columns = np.empty(room[-1], np.uint32)
        self.entries = np.empty(room[-1])
        self.rewards = np.empty(len(room) - 1)
        self._spare = hubs.vector()
        self._threads = Threads(room)

    def _follow(self, V: Floats, out: Floats, rewards: Floats) -> tuple[float, float]:
        self._hubs.refresh(V, only_long=True)
        rows = self._begin, self.stop, self.columns, self.entries, rewards, self._gamma, V, out
        found = self._threads.run(load().follow, rows, alone=out is V)
        return min(lo for lo, _ in found), max(hi for _, hi in found)

    def apply(self, V: Floats) -> tuple[Floats, float, float]:
        """Return R + gamma P V, and the least and the largest change."""
        out = self._hubs.vector()
        return out, *self._follow(V, out, self.rewards)

    def sweep(self, V: Floats) -> tuple[Floats, float, float]:
        """Do the same; V is overwritten, at once or by the next call."""
        out = V
        if not self._in_place:
            out, self._spare = self._spare, V
        return out, *self._follow(V, out, self.rewards)

    def transitions(self, *, with_hubs: bool = True) -> Any:
        """Return gamma P over the acting states, CSR; None if hubs would fill it."""
        n = len(self.rewards)
        lengths = self.stop.astype(np.int64) - self._begin
        indptr = np.append(0, np.cumsum(lengths))
        at = np.arange(indptr[-1]) + np.repeat(self._begin - indptr[:-1], lengths)
        columns = self.columns[at].view(np.int32)
        if with_hubs and columns.max(initial=0) >= self._hubs.n_states:
            return None
        shape = (n, len(self._spare))
        P = csr_array((self._gamma * self.entries[at], columns, indptr), shape=shape)[:, :n]
        P.sum_duplicates()
        return P

    def system(self, d: Floats) -> tuple[Multiply, Floats, Multiply | None]:
        """Return equations of gamma P for BiCGSTAB: those of a sweep in place, where that is."""
        n, no_rewards = len(d), np.zeros(len(d))

        def multiply(x: Floats) -> Floats:
            V = self._hubs.vector()
            V[:n] = x
            out = V if self._in_place else V.copy()
            self._follow(V, out, no_rewards)
            return np.asarray(x - out[:n])

        if not self._in_place:
            P = self.transitions(with_hubs=False)
            return multiply, d, sweeps_in_place(P, self.rewards)
        V = self._hubs.vector()
        self._follow(V, V, d)
        return multiply, V[:n], None


class CompiledPairs:
    """The pairs of a process, improved on by the compiled loops; as ``ArrayPairs``.

    ``in_place``: every state sees the new values of the states before it.
    """

    def __init__(self, rows: Rows, hubs: Hubs, gamma: float, *, in_place: bool = False) -> None:
        self._rows, self._hubs, self._gamma = rows, hubs, gamma
        self.is_in_place = in_place
        self.n_acting = self.n_changed = len(rows.first) - 1
        lengths = np.diff(rows.indptr.view(np.int32)).astype(np.int64)
        if len(hubs.lengths):
            more = np.append(np.zeros(hubs.n_states, np.int64), np.maximum(hubs.lengths - 1, 0))
            before = np.append(0, np.cumsum(more[rows.indices]))
            lengths += np.diff(before[rows.indptr])
        longest = np.maximum.reduceat(lengths, rows.first[:-1])
        room = as_codes(np.append(0, np.cumsum(longest)))
        self.chosen: Integers = np.full(self.n_acting, NO_CHOICE, np.uint32)
        self._policy = CompiledPolicy(room, hubs, gamma, in_place=in_place)
        self._room = room
        self._Q = np.empty(len(rows.rewards))
        self._spare = hubs.vector()
        self._is_packed, self._is_whole = False, not in_place
        self._share_out()

    @classmethod
    def of_process(cls, process: MDP, gamma: float) -> CompiledPairs:
        """Return the pairs of a process whose acting states come first."""
        hub_mass, hub_transitions = process.hubs
        P = process.transitions
        if hub_transitions.shape[0]:
            P = hstack([P, hub_mass], format="csr")
        first = as_codes(np.append(process.first_pairs, len(process.rewards)))
        rewards = np.ascontiguousarray(process.rewards, dtype=np.float64)
        data = np.ascontiguousarray(P.data, dtype=np.float64)
        rows = Rows(first, as_codes(P.indptr), as_codes(P.indices), data, rewards)
        return cls(rows, Hubs(hub_transitions), gamma)

    @property
    def n_pairs(self) -> int:
        """Number of pairs that may still be best."""
        return len(self._rows.rewards)

    @property
    def first(self) -> Integers:
        """First pair of every acting state, and the number of pairs, (n_acting + 1,)."""
        return self._rows.first

    def _share_out(self) -> None:
        self._threads = Threads(self._rows.indptr[self._rows.first])

    def vector(self, values: Floats) -> Floats:
        """Return values of the acting states, (n_acting,), as V that can be worked on."""
        V = self._hubs.vector()
        V[: self.n_acting] = values
        return V

    def improve(self, V: Floats, slack: float) -> Change:
        """Apply T, and choose pairs.

        A pair stays chosen as long as no other is better by more than the slack.
        """
        self._hubs.refresh(V, only_long=False)
        is_start = not self.is_in_place and not V.any()
        out = V
        if not self.is_in_place:
            out, self._spare = self._spare, V
        policy = self._policy
        found = self._threads.run(
            load().improve,
            (
                *(*self._rows, self._gamma, slack, V, out, self._Q, self.chosen),
                *(
                    is_start,
                    self._is_packed,
                    self.is_in_place,
                    self._hubs.n_states,
                    *self._hubs.short,
                    self._room,
                ),
                *(policy.stop, policy.columns, policy.entries, policy.rewards),
            ),
            alone=out is V,
        )
        self._is_packed = True
        lo, hi, least, most, n_changed = zip(*found, strict=True)
        self.n_changed = sum(n_changed)
        self.TV = out
        return Change(min(lo), max(hi), min(least), max(most))

    def q_values(self) -> Floats | None:
        """Return Q under the V of the last improvement, (n_pairs,), unless pairs were dropped."""
        return self._Q if self._is_whole else None

    def policy(self) -> CompiledPolicy:
        """Return the policy that takes the pairs chosen."""
        return self._policy

    def n_near(self, margin: float) -> int:
        """Return the number of pairs that are at most so far from best."""
        values = self.TV[: self.n_acting]
        return int(load().count_near(self._rows.first, self._Q, values, margin))

    def eliminate(self, margin: float, most_left: float) -> None:
        """Drop the pairs that are further from best, unless more than that share would be left."""
        # Nothing is known of values that have overflown: no gap compares with them.
        if not self.n_acting <= self.n_near(margin) <= most_left * self.n_pairs:
            return
        rows, chosen = self._rows.like(), np.empty_like(self.chosen)
        values = self.TV[: self.n_acting]
        n = load().keep(*self._rows, self._Q, values, margin, self.chosen, *rows, chosen)
        self._rows = rows.up_to(n)
        self._Q = np.empty(n)
        self._is_whole = False
        self.chosen = chosen
        self._share_out()

    def in_place(self) -> tuple[CompiledPairs, Integers, float]:
        """Return the same pairs for sweeps in place, their states in another order.

        Values then spread from the largest rewards of the policy in one sweep. The order of the
        states is returned, and the largest factor by which solved loops make rewards larger.
        """
        rows, rewards = self._rows, self._policy.rewards
        seeds = rewards >= rewards.max() - NEARLY * np.abs(rewards).max()
        order = np.empty(self.n_acting, np.uint32)
        seeds = np.flatnonzero(seeds).astype(np.uint32)
        load().backward_order(rows.first, rows.indptr, rows.indices, seeds, order)
        code = np.arange(len(self._spare), dtype=np.uint32)
        code[order] = np.arange(self.n_acting, dtype=np.uint32)
        copy, chosen = rows.like(), np.empty_like(self.chosen)
        factor = load().relabel(order, code, self._gamma, *rows, self.chosen, *copy, chosen)
        copy, hubs = copy.up_to(len(rows.rewards)), self._hubs.renumbered(code)
        pairs = CompiledPairs(copy, hubs, 1.0, in_place=True)
        pairs.chosen = chosen
        return pairs, order, factor

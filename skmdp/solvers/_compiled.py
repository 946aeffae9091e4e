"""The compiled loops: whether they are at hand, their threads, and policies for them."""

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
from scipy.sparse import csr_array

from skmdp._typing import Floats, Integers
from skmdp.solvers._array_policy import LARGEST_CORE, sweeps_in_place
from skmdp.solvers._equations import Multiply, spreads, thread_pools

KERNELS, TIES = "skmdp.solvers._kernels_numba", "skmdp.solvers._ties_numba"
# Entries of P from which it pays to load the compiled loops, and to use them once they are loaded.
ENOUGH_TO_LOAD = 100_000
ENOUGH_TO_USE = 2_000
# Entries that are work enough for one more thread.
PER_THREAD = 200_000
# Longest row of a hub that is packed entry by entry.
LONGEST_PACKED = 64
# Forms of rows: none in particular; short ones, whose lengths cannot be foretold; long ones; those
# of a policy, with room for two entries at least, which count nothing where the row has ended.
PLAIN, UNEVEN, LONG, PADDED = range(4)
SHORTEST_ROOM = 2
# Entries of a row, on average, up to which rows are short, and the standard deviation up to which
# they are even; entries of long rows.
SHORT_ROW, EVEN, LONG_ROW = 3, 0.3, 24
# Rows from which processors do not remember the length of each.
MANY_ROWS = 10_000
# Rows that are looked at to see whether they are even, and to see that some are no paths.
N_LOOKS, FEW_ROWS = 5_000, 1_000
# Waves one after the other, and sweeps over each part of the states.
N_WAVES, SWEEPS_OF_PART = 2, 4


@cache
def load() -> Any:
    """Return the compiled loops, or None where there is no numba, or it may not compile."""
    try:
        numba = import_module("numba")
    except ImportError:
        return None
    return None if numba.config.DISABLE_JIT else import_module(KERNELS)


@cache
def load_ties() -> Any:
    """Return the compiled loops for the last step of the search."""
    return import_module(TIES)


@cache
def load_order() -> Any:
    """Return the compiled loops that put states in another order."""
    return import_module("skmdp.solvers._order_numba")


@cache
def load_paths() -> Any:
    """Return the compiled loop for policies that lead from each state to one other at most."""
    return import_module("skmdp.solvers._paths_numba").follow_paths


@cache
def load_core() -> Any:
    """Return the compiled loops that look for the core of a policy."""
    return import_module("skmdp.solvers._core_numba")


# Whether that the loops are loaded counts when it is decided whether to use them.
LOADED_COUNTS: ContextVar[bool] = ContextVar("LOADED_COUNTS", default=True)


def are_at_hand(loops: str = KERNELS) -> bool:
    """Return whether the compiled loops are loaded, so that they pay for small processes, too."""
    return LOADED_COUNTS.get() and loops in sys.modules


@contextmanager
def by_size_alone() -> Iterator[None]:
    """Let size alone decide on the loops: last bits then do not depend on what ran before."""
    token = LOADED_COUNTS.set(False)
    try:
        yield
    finally:
        LOADED_COUNTS.reset(token)


def as_codes(numbers: Any) -> Integers:
    """Return indices as the loops take them, without a copy where they are int32."""
    return np.ascontiguousarray(numbers, dtype=np.int32).view(np.uint32)


def is_long(indptr: Integers) -> bool:
    """Return whether rows are long, of which ``indptr`` tells where they begin."""
    return int(indptr[-1]) >= LONG_ROW * (len(indptr) - 1)


def form_of(indptr: Integers) -> int:
    """Return the form of rows, of which ``indptr`` tells where they begin."""
    n_entries, n_rows = int(indptr[-1]), len(indptr) - 1
    if is_long(indptr):
        return LONG
    if n_rows < MANY_ROWS or not 0 < n_entries <= SHORT_ROW * n_rows:
        return PLAIN
    looks = np.arange(0, n_rows, max(1, n_rows // N_LOOKS) | 1)  # actions are often an even number
    return UNEVEN if float((indptr[looks + 1] - indptr[looks]).std()) > EVEN else PLAIN


def parts_between(marks: list[int]) -> Iterator[tuple[int, int]]:
    """Return where parts of the states begin and end: each at the next mark but one."""
    return zip(marks[:-1], [*marks[2:], marks[-1]], strict=False)


class Threads:
    """Shares of the states for as many threads as there are, and as there is work for."""

    def __init__(self, entries_before: Integers, first: Integers | None = None) -> None:
        n, n_entries = len(entries_before) - 1, int(entries_before[-1])
        n_shares = min(n_entries // PER_THREAD, n_threads()) if n_entries >= 2 * PER_THREAD else 1
        shares = np.arange(1, n_shares) * n_entries // n_shares
        cuts = np.searchsorted(entries_before, shares.astype(entries_before.dtype))
        if first is not None:  # it is pairs that entries are counted before
            n, cuts = len(first) - 1, np.searchsorted(first, cuts.astype(first.dtype))
        self._n = n
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

    ``transitions`` are None where there are none. ``short`` are those that are packed entry by
    entry, CSR; the others are ``long``.
    """

    def __init__(self, n_states: int, transitions: Any = None) -> None:
        self.n_states, self.transitions = n_states, transitions
        self.lengths: Integers
        self.long: Integers
        self.short: tuple[Integers, Integers, Floats]
        if transitions is None:
            self.lengths = self.long = np.zeros(0, np.intp)
            self.short = np.zeros(1, np.uint32), np.zeros(0, np.uint32), np.zeros(0)
            return
        lengths = np.diff(transitions.indptr)
        self.lengths = np.where(lengths <= LONGEST_PACKED, lengths, 0)
        self.long = np.flatnonzero(self.lengths == 0)
        is_short = np.repeat(self.lengths > 0, lengths)
        self.short = (
            as_codes(np.append(0, np.cumsum(self.lengths))),
            as_codes(transitions.indices[is_short]),
            np.ascontiguousarray(transitions.data[is_short]),
        )
        self._long_transitions = transitions[self.long] if len(self.long) else transitions

    def vector(self) -> Floats:
        """Return V = 0, of all states and hubs."""
        return np.zeros(self.n_states + len(self.lengths))

    def refresh(self, V: Floats, *, only_long: bool) -> None:
        """Set their values in V to what follows from those of the states."""
        n = self.n_states
        if not only_long and len(self.lengths):
            V[n:] = self.transitions @ V[:n]
        elif len(self.long):
            V[n + self.long] = self._long_transitions @ V[:n]

    def renumbered(self, code: Integers) -> Hubs:
        """Return the same under other codes of the states."""
        P = self.transitions
        if P is None:
            return self
        return Hubs(self.n_states, csr_array((P.data, code[P.indices], P.indptr), shape=P.shape))


class Core(NamedTuple):
    """The states of a policy that are in loops or behind them, as a policy of their own.

    ``outer`` are all others, each before those that it leads to.
    """

    whole: CompiledPolicy
    policy: CompiledPolicy
    states: Integers
    values: Floats
    outer: Integers

    def follow(self, V: Floats, values: Floats, _: float) -> None:
        """Set V of these states to their values, and that of all others to what follows.

        In place no level is left out, so T moves values by nothing.
        """
        V[self.states] = values
        self.whole.follow_back(V, self.outer)


class CompiledPolicy:
    """Packed rows of one pair of every acting state, for the compiled loops."""

    def __init__(self, room: Integers, hubs: Hubs, gamma: float, *, in_place: bool) -> None:
        self._hubs, self._gamma, self._in_place = hubs, gamma, in_place
        self.marks = [0]
        self._begin, self.stop = room[:-1], room[1:].copy()
        self.columns = np.zeros(room[-1], np.uint32)  # of rows that are empty, too
        self.entries = np.empty(room[-1])
        self.rewards = np.empty(len(room) - 1)
        self._spare = hubs.vector()
        self._threads = Threads(room)
        self._form = LONG if is_long(room) else PADDED
        self._may_have_core = in_place and room[-1] > 0 and not len(hubs.lengths)

    def _follow(self, V: Floats, out: Floats, rewards: Floats) -> tuple[float, float]:
        self._hubs.refresh(V, only_long=True)
        rows = self._begin, self.stop, self.columns, self.entries, rewards, self._gamma
        found: list[tuple[float, float]]
        found = self._threads.run(load().follow, (*rows, V, out, self._form, 1), alone=out is V)
        if len(found) == 1:
            return found[0]
        return min(lo for lo, _ in found), max(hi for _, hi in found)

    def apply(self, V: Floats) -> tuple[Floats, float, float]:
        """Return R + gamma P V, and the least and the largest change."""
        out = self._hubs.vector()
        return out, *self._follow(V, out, self.rewards)

    def without_rewards(self, V: Floats) -> Floats:
        """Return gamma P V."""
        out = self._hubs.vector()
        self._follow(V, out, np.zeros(len(self.rewards)))
        return out

    def sweep(self, V: Floats) -> tuple[Floats, float, float]:
        """Do the same; V is overwritten, at once or by the next call."""
        out = V
        if not self._in_place:
            out, self._spare = self._spare, V
        return out, *self._follow(V, out, self.rewards)

    def follow_part(self, begin: int, end: int, V: Floats, n_times: int) -> None:
        """Sweep some times over the states from ``begin`` to ``end``, in V itself."""
        rows = self._begin, self.stop, self.columns, self.entries, self.rewards, self._gamma
        load().follow(begin, end, *rows, V, V, self._form, n_times)

    @property
    def along_paths(self) -> Multiply | None:
        """What solves x = d + gamma P x if every state leads to one other at most, else None."""
        if len(self._hubs.lengths):
            return None
        for some in (slice(FEW_ROWS), slice(None)):  # few tell mostly that it is not so
            if not (self.stop[some] <= self._begin[some] + 1).all():
                return None
        return self._follow_paths

    def _follow_paths(self, d: Floats) -> Floats:
        n, x = len(d), np.zeros(len(d))
        rows = self._begin, self.stop, self.columns, self.entries, self._gamma
        load_paths()(*rows, d, x, np.empty(n, np.uint32), np.zeros(n, np.bool_))
        return x

    def core(self, V: Floats) -> Core | None:
        """Return what is left without the states that are neither in a loop nor behind one.

        Sweeps have nothing to settle in these. None where they are few.
        """
        if not self._may_have_core or len(self.marks) > 1:
            return None
        n, loops, rows = len(self.rewards), load_core(), (self._begin, self.stop, self.columns)
        code = np.zeros(len(V), np.uint32)
        outer, states, room = (np.empty(n + 1, np.uint32) for _ in range(3))
        n_left = int(loops.peel(*rows, code, outer, states, room))
        if n_left > LARGEST_CORE * n:
            return None
        states, room, values = states[:n_left], room[: n_left + 1], np.empty(n_left)
        policy = CompiledPolicy(room, Hubs(n_left), self._gamma, in_place=True)
        new = policy.stop, policy.columns, policy.entries, policy.rewards, values
        loops.pack_core(*rows, self.entries, self.rewards, V, states, code, room, *new)
        return Core(self, policy, states, values, outer[: n - n_left])

    def follow_back(self, V: Floats, states: Integers) -> None:
        """Set V of states to what follows from those that they lead to, the last first."""
        rows = self._begin, self.stop, self.columns, self.entries, self.rewards, self._gamma
        load_core().follow_back(states, *rows, V, self._form)

    def wave(self, V: Floats, /) -> Floats | None:
        """Sweep over some states again and again, then over the next, in V itself.

        What spreads from state to state with detours then goes far at once. None where states do
        not lead to near ones.
        """
        if len(self.marks) == 1:
            return None
        for _ in range(N_WAVES):
            self._hubs.refresh(V, only_long=True)
            for begin, end in parts_between(self.marks):
                self.follow_part(begin, end, V, SWEEPS_OF_PART)
        return V

    def transitions(self, *, with_hubs: bool = True) -> Any:
        """Return gamma P over the acting states, CSR; None if hubs would fill it."""
        n, begin = len(self.rewards), self._begin.view(np.int32)
        lengths, indptr = self.stop.view(np.int32) - begin, np.zeros(n + 1, np.int32)
        np.cumsum(lengths, out=indptr[1:])
        at = np.arange(indptr[-1], dtype=np.int32) + np.repeat(begin - indptr[:-1], lengths)
        columns, entries = self.columns[at].view(np.int32), self._gamma * self.entries[at]
        if with_hubs and columns.max(initial=0) >= self._hubs.n_states:
            return None
        is_inside = columns < n
        if not is_inside.all():
            n_inside = np.zeros(len(at) + 1, np.int32)
            np.cumsum(is_inside, out=n_inside[1:])
            columns, entries, indptr = columns[is_inside], entries[is_inside], n_inside[indptr]
        return csr_array((entries, columns, indptr), shape=(n, n))

    @property
    def n_entries(self) -> int:
        """Number of entries of P."""
        return int(self.stop.sum(dtype=np.int64) - self._begin.sum(dtype=np.int64))

    def spreads(self, most: float) -> bool:
        """Return whether it is seen, without much work, that no band of P costs so little."""
        return spreads([(self._begin, self.stop, self.columns)], most)

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

"""The pairs of a process for the compiled loops."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import hstack

from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers import _compiled
from skmdp.solvers._array_policy import nearly_largest
from skmdp.solvers._compiled import (
    SHORTEST_ROOM,
    CompiledPolicy,
    Hubs,
    Threads,
    as_codes,
    form_of,
    parts_between,
)
from skmdp.solvers._equations import successors
from skmdp.solvers._kernels import ArrayPairs, Change
from skmdp.solvers._ties import EPS, NEGLIGIBLE, count_undecided_of

# States that are looked at to see whether they lead to near ones.
N_LOOKS = 5_000
# Entries that have a number of 31 bits, which are enough for pointers.
MOST_ENTRIES = 2**31
# States up to which all are looked at to see how many pairs are near best.
FEW_STATES = 1_000
# Times that pairs could have been dropped until they are.
TIMES_TO_DROP = 3
# Steps between near states that a part of the states is long, at least, and the parts, at most and
# at least.
STEPS_OF_PART, MOST_PARTS, FEW_PARTS = 20, 40, 3
# States that a step leads far, from which equations are not quickly solved by elimination.
WIDE_STEP = 16
# Times that a part is improved until a march is given up, and sweeps after each of them.
MOST_IMPROVEMENTS, SWEEPS_OF_MARCH = 16, 10
# States with a second pair that is near up to which the loop for them is not loaded.
FEW_CLOSE = 500
NO_CHOICE = np.iinfo(np.uint32).max


def pairs_of(process: MDP, gamma: float) -> ArrayPairs | CompiledPairs:
    """Return the pairs of a process, its acting states first, for the loops that suit it."""
    P = process.transitions
    enough = _compiled.ENOUGH_TO_USE if _compiled.are_at_hand() else _compiled.ENOUGH_TO_LOAD
    is_fit = process.is_linear and not isinstance(P, np.ndarray) and P.nnz >= enough
    if not is_fit or _compiled.load() is None:
        return ArrayPairs(process, gamma)
    n_packed = P.nnz + SHORTEST_ROOM * P.shape[1]  # at most
    is_fit = max(n_packed, P.shape[0]) < MOST_ENTRIES
    return CompiledPairs.of_process(process, gamma) if is_fit else ArrayPairs(process, gamma)


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


def marks_in(rows: Rows, n: int) -> tuple[list[int], float]:
    """Return marks among the first n states, the last of them n, and how far a step leads.

    Few states lead beyond the next mark but one. Only 0 if states do not lead to near ones.
    """
    distance = max(1, n // N_LOOKS)
    states = np.arange(0, n, distance)
    pairs = rows.first[states].astype(np.intp)
    lengths = rows.indptr.view(np.int32)[pairs + 1] - rows.indptr.view(np.int32)[pairs]
    columns = successors(pairs, rows.indptr[:-1], rows.indptr[1:], rows.indices)
    look = np.repeat(np.arange(len(states)), lengths)
    # What does not act is an end, however far.
    reach = np.abs(columns.astype(np.int64) - states[look]) * (columns < len(rows.first) - 1)
    reach = np.bincount(look, reach, len(states))
    n_steps = np.cumsum(distance * lengths / np.maximum(reach, 1))
    each = max(STEPS_OF_PART, n_steps[-1] / MOST_PARTS)
    # Between two marks at one place there would be nothing: parts would not overlap.
    at = np.unique(np.searchsorted(n_steps, np.arange(each, n_steps[-1], each)))
    is_near = len(at) >= FEW_PARTS
    marks = [0, *states[at].tolist(), n] if is_near else [0]
    return marks, n / n_steps[-1] if is_near else 0.0


class CompiledPairs:
    """The pairs of a process, improved on by the compiled loops; as ``ArrayPairs``.

    ``in_place``: every state sees the new values of the states before it.
    """

    def __init__(self, rows: Rows, hubs: Hubs, gamma: float, *, in_place: bool = False) -> None:
        self._rows, self._hubs, self._gamma = rows, hubs, gamma
        self._all = rows
        self.is_in_place = in_place
        self.n_acting = self.n_changed = len(rows.first) - 1
        lengths = np.diff(rows.indptr.view(np.int32))
        if len(hubs.lengths):
            more = np.append(np.zeros(hubs.n_states, np.int64), np.maximum(hubs.lengths - 1, 0))
            before = np.append(0, np.cumsum(more[rows.indices]))
            lengths = lengths + np.diff(before[rows.indptr])
        room = np.empty(self.n_acting + 1, np.uint32)
        _compiled.load().make_room(rows.first, as_codes(lengths), room)
        self.chosen: Integers = np.full(self.n_acting, NO_CHOICE, np.uint32)
        self._policy = CompiledPolicy(room, hubs, gamma, in_place=in_place)
        self._room = room
        self._Q = np.empty(len(rows.rewards))
        self._spare = hubs.vector()
        # Where parts of the states begin that lead to near ones; none are looked for as given.
        self.marks, self._step = [0], 0.0
        self._is_packed, self._is_whole, self._n_times = False, not in_place, 0
        self._reward_range = float(np.ptp(rows.rewards))
        self._share_out()
        self._all_threads = self._threads

    @classmethod
    def of_process(cls, process: MDP, gamma: float) -> CompiledPairs:
        """Return the pairs of a process whose acting states come first."""
        hub_mass, hub_transitions = process.hubs
        P = process.transitions
        hubs = Hubs(P.shape[1], hub_transitions if hub_transitions.shape[0] else None)
        if len(hubs.lengths):
            P = hstack([P, hub_mass], format="csr")
        first = as_codes(np.append(process.first_pairs, len(process.rewards)))
        rewards = np.ascontiguousarray(process.rewards, dtype=np.float64)
        data = np.ascontiguousarray(P.data, dtype=np.float64)
        rows = Rows(first, as_codes(P.indptr), as_codes(P.indices), data, rewards)
        return cls(rows, hubs, gamma)

    @property
    def n_pairs(self) -> int:
        """Number of pairs that may still be best."""
        return len(self._rows.rewards)

    @property
    def first(self) -> Integers:
        """First pair of every acting state, and the number of pairs, (n_acting + 1,)."""
        return self._rows.first

    def _share_out(self) -> None:
        rows = self._rows
        self._threads = Threads(rows.indptr, rows.first)
        self._form = form_of(rows.indptr.view(np.int32))

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
        arguments = self._improvement(V, out, slack, is_start)
        found = self._threads.run(_compiled.load().improve, arguments, alone=out is V)
        self._is_packed = True
        lo, hi, least, most, n_changed = zip(*found, strict=True)
        self.n_changed = sum(n_changed)
        self.TV = out
        self._least, self._most = min(least), max(most)
        return Change(min(lo), max(hi), self._least, self._most)

    def _improvement(self, V: Floats, out: Floats, slack: float, is_start: bool) -> tuple[Any, ...]:
        """Return what the compiled loop takes to improve."""
        policy, hubs = self._policy, self._hubs
        return (
            *(*self._rows, self._gamma, slack, V, out, self._Q, self.chosen),
            *(is_start, self._is_packed, self.is_in_place, hubs.n_states, *hubs.short, self._room),
            *(policy.stop, policy.columns, policy.entries, policy.rewards, self._form),
        )

    def march(self, V: Floats, slack: float, enough: float, shift: float = 0.0) -> bool:
        """Improve and follow the policy of some states until they change no more, then of the next.

        Where values spread from the first states on, they are then nearly right, in V itself.
        Return if that is done: it is given up where changes stay larger than is ``enough``, and not
        begun where equations are quickly solved. V is moved by ``shift`` before.
        """
        if self._step < WIDE_STEP:
            return False
        marks, before, loops = self.marks, V.copy(), _compiled.load()
        V[: marks[-1]] += shift
        for begin, end in parts_between(marks):
            self._hubs.refresh(V, only_long=False)
            for _ in range(MOST_IMPROVEMENTS):
                lo, hi, *_ = loops.improve(begin, end, *self._improvement(V, V, slack, False))
                if max(-lo, hi) <= enough:
                    break
                self._policy.follow_part(begin, end, V, SWEEPS_OF_MARCH)
            else:
                V[begin:] = before[begin:]
                return False
        self._is_packed |= marks[-1] == self.n_acting
        return True

    def q_values(self) -> Floats | None:
        """Return Q under the V of the last improvement, (n_pairs,), unless pairs were dropped."""
        return self._Q if self._is_whole else None

    def all_q_values(self, values: Floats) -> Floats:
        """Return Q of all pairs, dropped ones too, from values of the acting states."""
        V, Q = self.vector(values), np.empty(len(self._all.rewards))
        self._hubs.refresh(V, only_long=False)
        arguments = *self._all, self._gamma, V, Q
        self._all_threads.run(_compiled.load().pair_values, arguments, alone=False)
        return Q

    def undecided(
        self, mdp: MDP, values: Floats, Q: Floats, bound: float, spread: float
    ) -> tuple[Integers, int, float]:
        """Return the best pair of every acting state, and what ``count_undecided`` returns.

        ``values`` are those of the acting states, ``Q`` that of all pairs; ``mdp`` is the process.
        """
        sizes = self.vector(np.abs(values))
        self._hubs.refresh(sizes, only_long=False)
        span, largest = np.ptp(Q), mdp.largest_reward + self._gamma * sizes.max()
        greedy = np.empty(self.n_acting, np.uint32)
        loosest = self._gamma * float(mdp.mass.max()) * max(bound, spread)
        rounding = 4 * (mdp.rounding + EPS) * largest
        # Only states with a second pair that is near are looked at closely.
        is_close = np.empty(self.n_acting, np.bool_)
        choice = (self._all.first, Q, loosest + NEGLIGIBLE * span + rounding, greedy, is_close)
        self._all_threads.run(_compiled.load().choose, choice, alone=False)
        if not np.isfinite([span, bound, spread]).all():  # values have overflown
            return greedy, self.n_acting, 0.0
        n_close = np.count_nonzero(is_close)
        if not n_close:
            return greedy, 0, 1.0
        if n_close <= FEW_CLOSE and not _compiled.are_at_hand(_compiled.TIES):
            V = np.zeros(mdp.n_states)
            V[mdp.acting_states] = values
            errors = {"bound": bound, "spread": spread}
            return greedy, *count_undecided_of(mdp, self._gamma, V, Q, is_close, span, **errors)
        roundings = mdp.n_roundings.astype(np.int32, copy=False)
        numbers = (*self._all, self._gamma, sizes, Q, roundings)
        limits = loosest, bound, spread, span, rounding

        def look(begin: int, end: int) -> tuple[int, float]:
            weight = np.zeros(len(sizes))
            n_undecided, share = _compiled.load_ties().look_for_ties(
                begin, end, *numbers, *limits, weight, greedy
            )
            return n_undecided, share

        found = self._all_threads.run(look, (), alone=False)
        return greedy, sum(n for n, _ in found), min(share for _, share in found)

    def policy(self) -> CompiledPolicy:
        """Return the policy that takes the pairs chosen."""
        return self._policy

    def share_near(self, margin: float) -> float:
        """Return the share of the pairs that are at most so far from best, judged by some states.

        All count as near if it is not seen that each state has one: values have overflown.
        """
        n, first = self.n_acting, self._rows.first
        begin, end = (0, n) if n < FEW_STATES else (n // 2, n // 2 + n // 8)
        pairs = int(first[end]) - int(first[begin])
        gaps = np.repeat(self.TV[begin:end], np.diff(first[begin : end + 1]))
        gaps -= self._Q[first[begin] : first[end]]
        n_near = np.count_nonzero(gaps <= margin)
        return n_near / pairs if n_near >= end - begin else 1.0

    def eliminate(self, margin: float, most_left: float) -> None:
        """Drop the pairs that are further from best, unless more than that share would be left.

        Where that was the last improvement but one it would not pay, so it is put off.
        """
        values = self.TV[: self.n_acting]
        widest = self._reward_range + max(0.0, self._most) - min(0.0, self._least)
        # Nothing is known of values that have overflown: no gap compares with them.
        is_near = not margin < widest
        if is_near or self.share_near(margin) > most_left:
            return
        self._n_times += 1
        if self._n_times < TIMES_TO_DROP:
            return
        rows, chosen = self._rows.like(), np.empty_like(self.chosen)
        n = _compiled.load().keep(*self._rows, self._Q, values, margin, self.chosen, *rows, chosen)
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
        rows, gains = self._rows, self._policy.rewards
        if gains.max() < 0:  # the best that can be reached is an end
            acts = self.vector(np.ones(self.n_acting))
            gains = -self._policy.without_rewards(acts)[: self.n_acting]
        order = np.empty(self.n_acting, np.uint32)
        seeds = np.flatnonzero(nearly_largest(gains)).astype(np.uint32)
        n, graph = self.n_acting, (rows.first, rows.indptr, rows.indices)
        n_reached = _compiled.load_order().backward_order(
            *(*graph, seeds, order, np.zeros(n + 1, np.uint32), np.empty_like(order)),
            *(np.empty_like(rows.indices), np.zeros(n, np.bool_)),
        )
        code = np.arange(len(self._spare), dtype=np.uint32)
        code[order] = np.arange(n, dtype=np.uint32)
        copy, chosen = rows.like(), np.empty_like(self.chosen)
        factor = _compiled.load_order().relabel(
            order, code, self._gamma, *rows, self.chosen, *copy, chosen
        )
        copy, hubs = copy.up_to(len(rows.rewards)), self._hubs.renumbered(code)
        pairs = CompiledPairs(copy, hubs, 1.0, in_place=True)
        pairs.marks, pairs._step = marks_in(copy, int(n_reached))
        pairs._policy.marks = pairs.marks
        pairs.chosen = chosen
        return pairs, order, factor

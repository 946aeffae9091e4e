"""What drifts of each state alone may account for in a difference between two policies.

``drift`` looks for one drift of all rewards. Here the rows of every state s that has many are dealt
to blocks of time, as many rows to each, and what row i, of pair p and block k, is worth, is

    r_i = alpha_p + gamma_sk + noise

That is its reward and, where it is known, what the state that it led to is worth under the policy:
times may be good because they pay well, or because they lead to good states. There may be so much
more chance in the latter that a drift of rewards is lost in it. So rewards are looked at by
themselves as well, and the larger of the two counts if theirs is not by chance. With N_p the rows
of a pair by block, n_p their number, s_s the sums by block of what the mean of its pair leaves of
that worth, and b_s those of the weights by which it moves an estimate (less their mean in the
state), what is due to gamma is

    D = sum_s b_s' A_s^-1 s_s,  A_s = diag(sum_p N_p) - sum_p N_p N_p' / n_p

which is a sum over rows of their residuals times known numbers, and in a difference of two
estimates the difference of two such sums. The difference less D compares the rows of one state and
block alone, whatever the drifts are like. Without any, D is 0 on average, and hardly anything where
actions are taken as often early as late. So it is always taken off: drifts that a test would not
notice may add more to the difference than its error.

States with few rows have gamma in common with others. Opposite drifts of such states add to the
difference where actions came and went in opposite ways as well, and by these the states are put
together: by what each adds to the slope of actions over time.

Blocks are no finer than rows allow, and what changes within one is missed. What half as many blocks
miss of D, or half of what a quarter as many do, is taken off once more if it is not by chance.
Ups and downs may be faster than blocks, so that none tell of them, and differ by state. Rows next
to each other do tell, see ``neighbors``: what all blocks miss of their D is taken off if it is not
by chance, and twice more, as neighbors miss some of what changes from one row to the next.

References
----------
J. A. Hausman, "Specification tests in econometrics", Econometrica 46 (1978): the difference of two
estimates of which one allows for more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.stats import beta

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.counted import RowsOfEpisodes
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._evaluation.direct import divide
from skmdp._evaluation.neighbors import Neighbors
from skmdp._evaluation.same_time import SameTime
from skmdp._typing import Floats, Integers

# Blocks of time in a state of so many rows, and how many rows each has at least: what happens in
# a block goes unnoticed, and the error grows by a tenth where blocks are as small as that.
ENOUGH_ROWS = 20
MOST_BLOCKS = 60
FEWEST_ROWS = 5
# Rows of states with few, which are looked at together.
ROWS_TOGETHER = 100
# As many blocks a state may always have; more if all information matrices together stay this large.
FEW_BLOCKS = 6
LARGEST = 2_000_000
# By how many times residuals of a fit may be too small.
MOST_HIDDEN = 2.0
# Standard errors by which a difference must be above 0 when the drift is taken off.
SURE = 2.0
# Standard errors beyond which larger blocks are seen to miss more of a drift than by chance, and
# blocks more than neighbors, whose error is the larger one.
SEEN = 2.0
SEEN_BY_NEIGHBORS = 2.5
# The same for what rewards alone tell is due to time, in blocks or beside neighbors.
SEEN_OF_REWARDS = 2.5
# Share of what moves the difference in which time and action may be impossible to tell apart.
MOST_UNTOLD = 0.01
# Where an action followed another, one block of time may hold both. So time must not tell the
# actions of any state better than chance does with this probability, while all blocks but one hold
# less than this share of what tells actions apart.
UNLIKELY = 0.01
LITTLE = 0.1
# How many times it is taken off what half as many blocks miss, and a quarter as many, if that is
# SEEN.
MISSED = (1.0, SEEN), (0.5, SEEN)
# Directions that tell nothing, relative to those that tell most.
ROUNDING = 1e-9

# From by how much rows move a difference to by how much they do so by time alone, both (n_rows,).
Due = Callable[[Floats], Floats]
# By how much rows move each of two estimates, and of it what is due to time as each look tells it.
Ways = tuple[list[Floats], list[Floats]]


@dataclass(frozen=True, eq=False)
class DriftInStates:
    """Rows of a log in blocks of time, those of each state with many rows by themselves.

    The parents of pairs are states. ``cell`` (n_rows,) is the block of each row, ``width`` of them
    for one state after the other, -1 where the state has few rows. What is here a row may be
    counted in blocks, whatever its episode: then errors are those of the rows ``by_episode``.
    Blocks may each be two of a ``finer`` look. ``neighbors`` are rows next to each other in time.
    """

    log: RowsOfEpisodes
    cell: Integers
    width: int
    by_episode: RowsOfEpisodes | None = None
    finer: DriftInStates | None = None
    neighbors: tuple[Neighbors | SameTime, ...] = ()

    @classmethod
    def of(
        cls,
        residuals: Residuals,
        time: Integers,
        episode: Integers,
        sizes: Floats | None = None,
        whole: Floats | None = None,
        exact: Integers | None = None,
        shared: Integers | None = None,
        entry: Integers | None = None,
    ) -> DriftInStates:
        """Deal the rows of each state to blocks in the order of ``time`` (n_rows,), from 0 on.

        Neighbors are told by the ``exact`` time, (n_rows,), and rows of one time by that which
        episodes have ``shared``, (n_rows,). ``episode``, ``sizes`` and ``entry`` are as in
        ``RowsOfEpisodes``.
        The residuals may be what a fit leaves of the ``whole`` (n_rows,) ones, which hides a part
        of a drift from them: then they are made as much larger as these are, block by block.
        """
        one_of = _together(residuals, time)
        rows = np.flatnonzero(one_of >= 0)
        n_times = int(time.max()) + 1
        at = one_of[rows] * n_times + time[rows]
        counted = None if residuals.n_rows is None else residuals.n_rows[rows]
        n_at = np.bincount(at, counted, (int(one_of.max()) + 1) * n_times).reshape(-1, n_times)
        n_rows = n_at.sum(axis=1, keepdims=True)
        most = np.sqrt(LARGEST / max(1, len(n_rows)))
        width = int(np.clip(most, FEW_BLOCKS, MOST_BLOCKS))
        # All rows of one time are in the block that the middle one of them is in.
        share = (np.cumsum(n_at, axis=1) - (n_at + 1) / 2) / n_rows
        block = (share * np.minimum(n_rows // FEWEST_ROWS, width)).astype(np.intp)
        # Numbered without gaps, where there are fewer times than blocks.
        begun = np.maximum.accumulate(np.where(n_at > 0, block, -1), axis=1)
        block = (np.cumsum(np.diff(begun, axis=1, prepend=-1) > 0, axis=1) - 1).ravel()
        cell = np.full(len(time), -1)
        cell[rows] = one_of[rows] * width + block[at]
        neighbors: list[Neighbors | SameTime] = []
        if exact is not None:
            neighbors.append(Neighbors.of(residuals, one_of, exact))
        if shared is not None:
            neighbors += SameTime.looks(residuals, one_of, shared)
        log = RowsOfEpisodes(residuals, episode, sizes, entry)
        look = cls(log, cell, width, neighbors=tuple(neighbors))
        if whole is None:
            return look
        enlarged = look._share_in(whole) * residuals.amounts
        return replace(look, log=replace(log, residuals=replace(residuals, amounts=enlarged)))

    @property
    def residuals(self) -> Residuals:
        """Residuals of rewards in their pairs, whose parents are states."""
        return self.log.residuals

    def _share_in(self, whole: Floats) -> float:
        """Return by how much larger residuals are that no fit made smaller, by blocks, 1 to 2."""
        rows, cell = self._rows
        of_fit, of_whole = (
            sum_by_code(cell, amounts[rows], self._n_of_cells.size).reshape(-1, self.width, 1)
            for amounts in (self.residuals.amounts, whole)
        )
        ways = self._inverse @ of_fit
        squares = float((ways * of_fit).sum())
        if squares == 0:
            return 1.0
        return float(np.clip((ways * of_whole).sum() / squares, 1.0, MOST_HIDDEN))

    def part_of(
        self,
        one: Outcomes,
        other: Outcomes,
        *,
        must_tell: bool = True,
        beyond: Sequence[tuple[DriftInStates, ...]] = (),
    ) -> float:
        """Return how much of the difference of two estimates a drift may account for, 0 or more.

        Infinite where time and action cannot be told apart, if ``must_tell``. Only what is
        ``beyond`` other looks at the rows, if given: 0 unless more is due to time than by those of
        each of these sets together.
        """
        moved = self._moved(one, other)
        if not moved[self._rows[0]].any():
            return 0.0
        if must_tell and self._is_untold(moved):
            return np.inf
        ways = self._moved_by_time(one, other, self._dues)
        kinds = _kinds_of_worth(one, other)
        if beyond:
            sets = [self._moved_by_time(one, other, [by._due for by in looks]) for looks in beyond]
            if not any(self._tells_more(*kind, ways, sets) for kind in kinds):
                return 0.0
        (part, _), *of_rewards = (self._part_of(*kind, ways) for kind in kinds)
        return max([part, *(due for due, is_seen in of_rewards if is_seen)])

    def _part_of(self, one: Outcomes, other: Outcomes, ways: Ways) -> tuple[float, bool]:
        """Return the same by one kind of worth, given that it can be told.

        And whether something is seen to be due to time, beyond chance.
        """
        sums, (before, after, *chance) = self._sums_and_errors(one, other, ways)
        of_all, *others = sums
        is_seen = bool((np.array(sums) > SEEN_OF_REWARDS * np.array(chance[-len(sums) :])).any())
        # What larger blocks miss of it, these may miss once more; what they miss, neighbors may.
        more = [of_all - of_fewer for of_fewer in others[:2]]
        more += [of_neighbors - of_all for of_neighbors in others[2:]]
        times_missed = [*MISSED, *((look.times, SEEN_BY_NEIGHBORS) for look in self.neighbors)]
        missed = max(
            times * by if by > seen * error else 0.0
            for by, error, (times, seen) in zip(more, chance, times_missed, strict=False)
        )
        return max(0.0, of_all + missed + SURE * max(0.0, after - before)), is_seen

    def _tells_more(
        self, one: Outcomes, other: Outcomes, ways: Ways, beyond: Sequence[Ways]
    ) -> bool:
        """Return whether more is due to time by these blocks than by each set of other looks.

        Or by neighbors than by these blocks and all the others. More than by chance.
        """
        _, of_all, _, _, *of_neighbors = self._amounts_and_due(one, other, ways)
        others = [np.sum(self._amounts_and_due(one, other, of)[1:], axis=0) for of in beyond]

        def is_more(due: Floats, than: list[Floats], seen: float) -> bool:
            more = (due - one for one in than)
            return all(
                self.residuals.of_all_rows(by).sum() > seen * self.log.error(by) for by in more
            )

        return is_more(of_all, others, SEEN) or any(
            is_more(near, [of_all, *others], SEEN_BY_NEIGHBORS) for near in of_neighbors
        )

    def _moved(self, one: Outcomes, other: Outcomes) -> Floats:
        """Return by how much each row moves the difference of two estimates, (n_rows,)."""
        return self.log.weights(one) - self.log.weights(other)

    def _sums_and_errors(
        self, one: Outcomes, other: Outcomes, ways: Ways
    ) -> tuple[list[float], list[float]]:
        """Return what is due to time, as all blocks tell it, half and a quarter as many.

        And as neighbors do, if there are any. And standard errors: of the difference, of what is
        left of it, of by how much the others tell less or more than all blocks, and of each.
        """
        of_rows, *dues = self._amounts_and_due(one, other, ways)
        sums = [float(self.residuals.of_all_rows(due).sum()) for due in dues]
        error: Callable[[Floats], float] = self.log.error
        if self.by_episode is not None:
            of_rows, *dues = (x - y for x, y in zip(*ways, strict=True))
            error = self.by_episode.errors_of_counted(self.residuals, of_rows, one, other)
        told_apart = [of_rows, of_rows - dues[0], *(dues[0] - due for due in dues[1:]), *dues]
        return sums, [error(amounts) for amounts in told_apart]

    def _moved_by_time(self, one: Outcomes, other: Outcomes, looks: Sequence[Due]) -> Ways:
        """Return by how much rows move two estimates by time, as looks at the same rows tell it.

        It is the same for all that rows are worth.
        """
        of_both = (self.log.weights(outcomes) for outcomes in (one, other))
        first, second = ([weights, *(look(weights) for look in looks)] for weights in of_both)
        return first, second

    def _amounts_and_due(self, one: Outcomes, other: Outcomes, ways: Ways) -> list[Floats]:
        """Return what rows add to the difference, and of it what is due to time, each (n_rows,)."""
        amounts, others = self.log.amounts(one), self.log.amounts(other)
        return [amounts * x - others * y for x, y in zip(*ways, strict=True)]

    def _due(self, moved: Floats) -> Floats:
        """Return by how much each row moves a difference by time alone, (n_rows,)."""
        log, (rows, cell) = self.residuals, self._rows
        _, ways = self._by_blocks(log.of_all_rows(log.less_mean_of_parent(moved)))
        drawn = np.zeros(len(moved))
        drawn[rows] = ways.ravel()[cell]
        of_pairs = divide(log.sums(drawn, log.group, len(log.parent)), log.rows_of_groups)
        return np.asarray(drawn - of_pairs[log.group])

    def _by_blocks(self, shares: Floats) -> tuple[Floats, Floats]:
        """Return b and A^-1 b of the module's formulas, each (n_states, n_blocks, 1)."""
        rows, cell = self._rows
        apart = sum_by_code(cell, shares[rows], self._n_of_cells.size)
        apart = apart.reshape(-1, self.width, 1)
        return apart, self._inverse @ apart

    @cached_property
    def _dues(self) -> list[Due]:
        """What tells what is due to time: these blocks, half and a quarter as many, neighbors."""
        dues: list[Due] = [look._due for look in (self, self._halved, self._halved._halved)]
        return [*dues, *(look.due for look in self.neighbors)]

    @cached_property
    def _halved(self) -> DriftInStates:
        """The same rows in half as many blocks."""
        state, block = np.divmod(self.cell, self.width)
        width = (self.width + 1) // 2
        cell = np.where(self.cell < 0, -1, state * width + block // 2)
        return replace(self, cell=cell, width=width, finer=self)

    def _is_untold(self, moved: Floats) -> bool:
        """Whether more than a little of what moves a difference tells time and action not apart."""
        (rows, cell), n_states = self._rows, len(self._information)
        apart_of_one = self.residuals.less_mean_of_parent(moved)
        shares = self.residuals.of_all_rows(apart_of_one)
        apart, ways = self._by_blocks(shares)
        size = sum_by_code(cell // self.width, np.abs(shares[rows]), n_states)
        untold = np.abs(apart - self._information @ ways)[:, :, 0].sum(axis=1)
        n, n_blocks = self._n_of_cells, np.count_nonzero(self._n_of_cells, axis=1)
        of_blocks = sum_by_code(cell, (shares * apart_of_one)[rows], n.size).reshape(n.shape)
        between = divide(apart[:, :, 0] ** 2, n)
        within = of_blocks - between
        total, elsewhere = of_blocks.sum(axis=1), within.sum(axis=1) - within.max(axis=1)
        freedom = np.maximum(n_blocks - 1, 1), np.maximum(n.sum(axis=1) - n_blocks, 1)
        by_chance = beta.isf(UNLIKELY / max(1, n_states), freedom[0] / 2, freedom[1] / 2)
        is_told_by_time = (n_blocks > 1) & (between.sum(axis=1) > by_chance * total)
        is_replaced = is_told_by_time & (elsewhere < LITTLE * total)
        of_all = np.where(is_replaced, size, untold).sum()
        return bool(of_all > MOST_UNTOLD * np.abs(shares).sum())

    @cached_property
    def _n_of_cells(self) -> Floats:
        """Number of rows in each block of each state, (n_states, n_blocks)."""
        rows, cell = self._rows
        n = self.residuals.of_all_rows(np.ones(len(self.cell)))[rows]
        return sum_by_code(cell, n, len(self._information) * self.width).reshape(-1, self.width)

    @cached_property
    def _rows(self) -> tuple[Integers, Integers]:
        """The rows of states that have many, and their cells."""
        rows = np.flatnonzero(self.cell >= 0)
        return rows, self.cell[rows]

    @cached_property
    def _information(self) -> Floats:
        """The A of the module's formulas, (n_states, n_blocks, n_blocks)."""
        if self.finer is not None:
            pairs = np.arange(0, self.finer.width, 2)
            A = np.add.reduceat(self.finer._information, pairs, axis=1)
            return np.asarray(np.add.reduceat(A, pairs, axis=2))
        rows, cell = self._rows
        state, block = np.divmod(cell, self.width)
        n_states, n_pairs = int(state.max(initial=-1)) + 1, len(self.residuals.parent)
        pair, counted = self.residuals.group[rows], self.residuals.n_rows
        counted = None if counted is None else counted[rows]
        N = np.bincount(pair * self.width + block, counted, n_pairs * self.width)
        N = N.reshape(-1, self.width)
        of_pair = np.zeros(n_pairs, dtype=np.intp)
        of_pair[pair] = state
        is_there = N.any(axis=1)
        N, of_pair = N[is_there], of_pair[is_there]
        order = np.argsort(of_pair, kind="stable")
        N, of_pair = N[order], of_pair[order]
        bounds = np.searchsorted(of_pair, np.arange(n_states))
        A = np.zeros((n_states, self.width, self.width))
        if n_states:
            shares = N / N.sum(axis=1, keepdims=True)
            for i in range(self.width):
                A[:, i, i:] = -np.add.reduceat(N[:, i : i + 1] * shares[:, i:], bounds)
                A[:, i:, i] = A[:, i, i:]
            blocks = np.arange(self.width)
            A[:, blocks, blocks] += np.add.reduceat(N, bounds)
        return A

    @cached_property
    def _inverse(self) -> Floats:
        """Its inverse where it tells something, 0 elsewhere."""
        eigenvalues, ways = np.linalg.eigh(self._information)
        tells = eigenvalues > ROUNDING * eigenvalues.max(axis=1, keepdims=True)
        inverses = np.divide(1.0, eigenvalues, out=np.zeros_like(eigenvalues), where=tells)
        return np.asarray((ways * inverses[:, np.newaxis]) @ ways.transpose(0, 2, 1))


def _kinds_of_worth(one: Outcomes, other: Outcomes) -> list[tuple[Outcomes, Outcomes]]:
    """Return two estimates by all that rows are worth, and by what they were paid alone."""
    if one.following is None and other.following is None:
        return [(one, other)]
    return [(one, other), (replace(one, following=None), replace(other, following=None))]


def _together(residuals: Residuals, time: Integers) -> Integers:
    """Return which rows have one drift, (n_rows,): those of a state that has many.

    And those of states that have few and where actions came and went alike, so many states that
    together they have many. Rows of none are -1.
    """
    pair, state = residuals.group, residuals.parent_of_row
    n_states, n_rows = int(state.max()) + 1, residuals.of_all_rows(np.ones(len(state)))
    n_of: Floats = sum_by_code(state, n_rows, n_states)
    n_pairs = np.bincount(residuals.parent, residuals.rows_of_groups > 0, n_states)
    is_thin = (n_of < ENOUGH_ROWS) & (n_pairs > 1)
    one_of = np.where(n_of >= ENOUGH_ROWS, np.cumsum(n_of >= ENOUGH_ROWS) - 1, -1)
    n_together = int(n_of[is_thin].sum())
    if n_together >= ENOUGH_ROWS:

        def less_mean(amounts: Floats) -> Floats:
            return amounts - divide(sum_by_code(state, n_rows * amounts, n_states), n_of)[state]

        slope = less_mean(pair.astype(np.float64)) * less_mean(time.astype(np.float64))
        thin = np.flatnonzero(is_thin)
        thin = thin[np.argsort(np.bincount(state, n_rows * slope)[thin], kind="stable")]
        before = np.cumsum(n_of[thin]) - n_of[thin]
        n_lots = max(1, n_together // ROWS_TOGETHER)
        one_of[thin] = 1 + one_of.max() + (before * n_lots // n_together).astype(np.intp)
    return np.asarray(one_of[state])

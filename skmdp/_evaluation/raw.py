"""A log of raw measurements, as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmdp._typing import Array, Bools, Floats, Integers

# What varies less than this, relative to its size, varies by rounding only.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class RawLog:
    """The rows of a log whose next state is known or that ended, and where its episodes start.

    States are numbers, NaN where a measurement is missing; labels come as numbers, too. The next
    states of ended rows are never looked at. An episode may be without rows, not without a start.
    """

    states: Floats  # (n_rows, n_columns)
    actions: Integers  # (n_rows,)
    rewards: Floats  # (n_rows,)
    next_states: Floats  # (n_rows, n_columns)
    ended: Bools  # (n_rows,)
    episode: Integers  # (n_rows,) position in start_states
    start_states: Floats  # (n_episodes, n_columns)
    n_actions: int
    # (n_rows,) the row whose state is the next state of each, -1 where there is none; None where
    # that is unknown.
    following_row: Integers | None = None
    # (n_rows,) by which rows of an episode are in order; None where they lie in it.
    step: Array | None = None

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""
        return len(self.start_states)

    @cached_property
    def taken(self) -> Bools:
        """Which actions the log takes at all, (n_actions,)."""
        return np.bincount(self.actions, minlength=self.n_actions) > 0

    @cached_property
    def starting_row(self) -> Integers:
        """The row whose state is the start of each episode, -1 where unknown, (n_episodes,)."""
        starting = np.full(self.n_episodes, -1)
        if self.following_row is not None:
            leads = np.zeros(len(self.actions), dtype=bool)
            leads[self.following_row[self.following_row >= 0]] = True
            rows = np.flatnonzero(~leads)[::-1]
            starting[self.episode[rows]] = rows
        return starting

    def part(self, rows: Integers, episodes: Integers) -> RawLog:
        """Return some whole episodes alone, given with their rows by position, both ascending."""
        following = None
        if self.following_row is not None:
            place = np.full(len(self.actions) + 1, -1)  # the last entry for -1
            place[rows] = np.arange(len(rows))
            following = place[self.following_row[rows]]
        return RawLog(
            states=self.states[rows],
            actions=self.actions[rows],
            rewards=self.rewards[rows],
            next_states=self.next_states[rows],
            ended=self.ended[rows],
            episode=np.searchsorted(episodes, self.episode[rows]),
            start_states=self.start_states[episodes],
            n_actions=self.n_actions,
            following_row=following,
            step=None if self.step is None else self.step[rows],
        )

    def rows_of(self, action: int) -> Integers:
        """Return the positions of the rows of an action."""
        return np.flatnonzero(self.actions == action)


@dataclass(frozen=True, eq=False)
class Scale:
    """Centre and unit of columns, so that numbers of any size keep their digits in 32 bits."""

    centre: Floats  # (n_columns,)
    unit: Floats  # (n_columns,)

    @classmethod
    def of(cls, columns: Floats, size: float = 0.0) -> Scale:
        """Return mean and spread of columns, missing values left out; 1 for constant columns.

        ``size`` is that of the numbers that the columns were computed from, which they may hide.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # columns without any value
            centre, unit = np.nanmean(columns, axis=0), np.nanstd(columns, axis=0)
            largest = np.nanmax(np.abs(columns), axis=0, initial=size)
        varies = unit > ROUNDING * largest
        return cls(np.nan_to_num(centre), np.where(varies, unit, 1.0))

    def apply(self, columns: Floats) -> Floats:
        """Return columns centred, in their unit."""
        return np.asarray((columns - self.centre) / self.unit)


@dataclass(frozen=True, eq=False)
class Features:
    """How forests see states: ranks of columns, then whether one that has gaps is missing.

    Extremely randomised trees cut the range of a column anywhere. Of values with long tails most
    cuts would part off too few rows and be refused, so that leaves would stay large, however many
    rows there are; ranks are even. Trees could take missing values as they are, but would hardly
    ever split them off from others.
    """

    known: Sequence[Floats]  # for each column that is seen its values, sorted
    columns: Bools  # (n_columns,) which columns are seen
    gaps: Bools  # (n_columns,) which of them have gaps

    @classmethod
    def of(cls, states: Floats, columns: Bools) -> Features:
        """Return what is seen of the states of a log, (n_rows, n_columns)."""
        seen = states[:, columns].T
        known = [np.sort(column[~np.isnan(column)]) for column in seen]
        return cls(known, columns, columns & np.isnan(states).any(axis=0))

    @property
    def origin(self) -> Integers:
        """Column that each feature tells of, (n_features,)."""
        return np.append(np.flatnonzero(self.columns), np.flatnonzero(self.gaps))

    def see(self, states: Floats) -> Floats:
        """Return the features of states, (n_states, n_features)."""
        is_missing = np.isnan(states)
        seen = states[:, self.columns].T
        ranks = [_rank(column, known) for column, known in zip(seen, self.known, strict=True)]
        for rank, column in zip(ranks, seen, strict=True):
            rank[np.isnan(column)] = 0.5
        return np.column_stack([*ranks, is_missing[:, self.gaps]])


def _rank(values: Floats, known: Floats) -> Floats:
    """Return the share of known values below each value, those equal to it by half, (n,)."""
    below, not_above = (np.searchsorted(known, values, side=side) for side in ("left", "right"))
    return np.asarray((below + not_above) / (2 * max(len(known), 1)))

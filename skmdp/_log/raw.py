"""Logs of raw measurements: what was measured makes the states, and its numbers are kept beside.

Whatever is measured is a label here, what is missing included: rows share a state where all their
measurements agree. So episodes, ends and next states are those of any other log.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from skmdp._evaluation.raw import RawLog
from skmdp._log.episodes import Transitions
from skmdp._log.frames import Table, as_table
from skmdp._log.index import index_labels
from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING, NUMERIC_KINDS, LabelColumn, is_time, match_kind
from skmdp._log.reading import no_rows, read_table
from skmdp._log.roles import ROLES, Roles, find_next_names, require_columns
from skmdp._messages import shown
from skmdp._typing import Bools, Floats, Integers, Names

# If more of the rows than this are the only ones of their state, states are measurements that
# never come again, not labels.
MOST_ROWS_ALONE = 0.10
# Before the names of measurements that an encoder hands on beside the states it makes of them.
MEASURED = "measured__"
# What an encoder calls the column of clusters or leaves.
CLUSTERS = "state"


@dataclass(frozen=True, eq=False)
class Measured:
    """The distinct values of one column of measurements, (n_values,), a missing one the last.

    ``values`` are as the table holds them, in columns of ``dtype``; ``numbers`` are in the same
    order, NaN for a missing one.
    """

    name: Any
    is_continuous: bool
    values: pd.Series
    dtype: Any
    numbers: Floats


@dataclass(frozen=True, eq=False)
class Measurements:
    """A log whose states are what was measured."""

    log: Transitions
    columns: Sequence[Measured]

    @property
    def names(self) -> Names:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def _ranks(self) -> Integers:
        """Position of what makes each state among the values of its columns, (n_states, p)."""
        index = self.log.states
        codes = index.column_codes()
        return np.column_stack([values[codes[:, j]] for j, values in enumerate(index.columns)])

    def numbers(self, states: Integers) -> Floats:
        """Return states as points, (n_states, n_columns), NaN where something is missing."""
        ranks = self._ranks[states]
        return np.column_stack(
            [column.numbers[ranks[:, j]] for j, column in enumerate(self.columns)]
        )

    def table(self, states: Integers) -> pd.DataFrame:
        """Return states as a policy is asked about them: measurements under their names."""
        ranks = self._ranks[states]
        return pd.DataFrame(
            {
                column.name: _as_measured(
                    column.values.iloc[ranks[:, j]].reset_index(drop=True), column.dtype
                )
                for j, column in enumerate(self.columns)
            }
        )

    @cached_property
    def are_labels(self) -> bool:
        """Whether states come again, so that what is true of labels is true of them."""
        if not any(column.is_continuous for column in self.columns):
            return True
        n = np.bincount(self.log.state_codes)
        return bool(np.count_nonzero(n == 1) <= MOST_ROWS_ALONE * len(self.log.state_codes))

    @cached_property
    def decided_in(self) -> Integers:
        """The states in which a policy may have to decide: all but those where episodes end."""
        is_met = np.zeros(len(self.log.states), dtype=bool)
        is_met[self.log.state_codes] = True
        is_met[self.log.next_codes[~self.ended]] = True
        is_met[self.log.start_codes] = True
        return np.flatnonzero(is_met)

    @property
    def cut_share(self) -> float:
        """Share of the episodes that were cut off.

        A measurement that leads on was not the end, even if nothing like it was acted in.
        """
        return self.log.cut_share if self.are_labels else self.log.open_share

    @cached_property
    def ended(self) -> Bools:
        """Whether the episode ended with a row, (n_rows,)."""
        ended: Bools = self.log.next_codes == MISSING
        if self.are_labels:
            acted = np.zeros(len(self.log.states), dtype=bool)
            acted[self.log.state_codes] = True
            ended = ended | ~acted[self.log.next_codes]
        return ended

    @cached_property
    def episode(self) -> Integers:
        """Episode of each row, (n_rows,); each row its own where episodes are unknown."""
        lengths = self.log.episode_lengths
        if lengths is None:
            return np.arange(len(self.log.state_codes))
        return np.repeat(np.arange(len(lengths)), lengths)

    def raw_log(self) -> RawLog:
        """Return the log as arrays of numbers."""
        log = self.log
        assert log.rewards is not None
        return RawLog(
            states=self.numbers(log.state_codes),
            actions=log.action_codes,
            rewards=log.rewards,
            next_states=self.numbers(np.where(self.ended, log.state_codes, log.next_codes)),
            ended=self.ended,
            episode=self.episode,
            start_states=self.numbers(log.start_codes),
            n_actions=len(log.actions),
            following_row=self._following_row,
            step=log.step,
        )

    @property
    def _following_row(self) -> Integers:
        """The next row of the episode, if its state is the next state, else -1, (n_rows,)."""
        goes_on = np.diff(self.episode) == 0
        goes_on &= self.log.next_codes[:-1] == self.log.state_codes[1:]
        return np.append(np.where(goes_on, np.arange(1, len(self.episode)), -1), -1)


def measured_names(columns: Sequence[Any], roles: Roles) -> Names:
    """Return the columns of a table that have one of next states beside them, and no other role."""
    there = set(columns)
    taken = {name for role in ROLES if role != "state" for name in roles.names(role)}
    return tuple(
        name
        for name in columns
        if isinstance(name, str) and f"next_{name}" in there and name not in taken
    )


def read_measurements(
    X: Any,
    roles: Roles,
    *,
    propensities: Any = None,
    names: Names | None = None,
    decisive: Names = (),
    duration_unit: str | None = None,
    to_judge: bool = False,
) -> Measurements:
    """Read a transitions table whose states are the measurements in the columns of the state.

    ``names`` are those under which policies know the columns, their own if None. A next state is
    missing where all of its columns are, or all of those that are ``decisive``. ``duration_unit``
    is that of durations which are times, None chooses one; ``to_judge`` as in ``read_table``.
    """
    frame = as_table(X)
    require_columns({"state": roles.state}, frame.columns, index_names=frame.index_names)
    if not len(frame):
        raise no_rows()
    nexts = find_next_names(roles.state, roles.next_state, frame.columns)
    read = [
        _read_column(frame, name, None if nexts is None else nexts[j], known)
        for j, (name, known) in enumerate(zip(roles.state, names or roles.state, strict=True))
    ]
    columns, before, after = zip(*read, strict=True)
    following = None if nexts is None else _together(after, decisive)
    log = read_table(
        frame,
        replace(roles, next_state=nexts),
        propensities=propensities,
        states=(list(before), following),
        duration_unit=duration_unit,
        to_judge=to_judge,
    )
    return Measurements(log, columns)


def _read_column(
    frame: Table, name: Any, next_name: Any, known: Any
) -> tuple[Measured, LabelColumn, LabelColumn]:
    """Read one column of measurements and that of the next ones as positions among its values."""
    sources = [frame.column(name)]
    sides = [read_labels(sources[0], name)]
    if next_name is not None:
        sources.append(frame.column(next_name))
        following = read_labels(sources[1], next_name)
        if {side.kind for side in (sides[0], following)} == set(NUMERIC_KINDS):
            sides = [_as_floats(sides[0])]
            following = _as_floats(following)
        sides.append(
            match_kind(following, sides[0].kind, other=f"column {shown(name)}", fractional="keep")
        )
    kind = sides[0].kind
    index, codes = index_labels(*([side] for side in sides))
    numbers = np.append(_as_numbers(index.columns[0]), np.nan)
    n = len(numbers)
    codes = [np.where(code == MISSING, n - 1, code).astype(np.int32) for code in codes]
    joined = np.concatenate(codes)
    first = np.zeros(n, dtype=np.intp)  # of a missing value that does not occur, any other one
    first[joined[::-1]] = np.arange(len(joined))[::-1]
    joined_values = sources[0] if next_name is None else pd.concat(sources, ignore_index=True)
    measured = Measured(
        known,
        kind in NUMERIC_KINDS or is_time(kind),
        joined_values.iloc[first],
        sources[0].dtype,
        numbers,
    )
    ranks = np.arange(n)
    # Of a kind of their own: they are no numbers that a column of actions may hold, too.
    labels = [LabelColumn(known, "rank", code, ranks) for code in codes]
    return measured, labels[0], labels[-1]


def _as_floats(column: LabelColumn) -> LabelColumn:
    return LabelColumn(column.name, "float", column.codes, column.values.astype(np.float64))


def _as_numbers(values: Any) -> Floats:
    """Return sorted labels as numbers that lie in their order: their own where they have some."""
    if values.dtype.kind in "mM":
        values = values.astype(np.int64)
    if values.dtype.kind in "iufb":
        return np.asarray(values, dtype=np.float64)
    return np.arange(len(values), dtype=np.float64)


def _as_measured(values: pd.Series, dtype: Any) -> pd.Series:
    """Return values as their own column holds them, where none that is missing stands in the way.

    Missing next states make floats or objects of what was measured.
    """
    if values.dtype == dtype:
        return values
    with suppress(TypeError, ValueError):
        exact = values.astype(dtype)
        return exact if bool((exact == values).all()) else values
    return values


def _together(following: Sequence[LabelColumn], decisive: Names) -> list[LabelColumn]:
    """Let next states be missing where all decisive measurements are, and nowhere else."""
    missing = np.all(
        [
            column.codes == len(column.values) - 1
            for column in following
            if column.name in decisive or not decisive
        ],
        axis=0,
    )
    return [
        replace(column, codes=np.where(missing, np.int32(MISSING), column.codes))
        for column in following
    ]

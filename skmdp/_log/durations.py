"""Time between decisions: durations of rows as numbers of one unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.kinds import read_labels
from skmdp._log.labels import NUMERIC_KINDS, LabelColumn, is_time
from skmdp._log.refusals import refusal
from skmdp._messages import shown
from skmdp._typing import Bools, Floats, Integers, Name

# Seconds of the units that a user may name.
UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}
# Those that are chosen where none is named, the largest first.
USUAL_UNITS = ("day", "hour", "second")


@dataclass(frozen=True, eq=False)
class Amounts:
    """A column of durations, or of the times of rows, as numbers (n,), NaN where it lacks one.

    Those of timedeltas and instants count ticks, ``per_second`` of them (None: plain numbers).
    """

    name: Name
    numbers: Floats
    per_second: float | None


@dataclass(frozen=True, eq=False)
class Durations:
    """Time until the next decision of each row, (n,), and its unit, None of plain numbers.

    Of a log whose rows were added up only the shortest and the longest are known.
    """

    numbers: Floats
    unit: str | None
    are_extremes: bool = False

    def __getitem__(self, rows: Any) -> Durations:
        """Return the durations of some rows."""
        return replace(self, numbers=self.numbers[rows])

    def in_unit(self, unit: str | None) -> Durations:
        """Return the same durations in another unit of time; plain numbers have none."""
        if unit is None or self.unit is None:
            return self
        return replace(self, numbers=self.numbers * UNITS[self.unit] / UNITS[unit], unit=unit)

    def longest_sum(self, first: Integers) -> float:
        """Return the largest sum over the rows of an episode, given the first row of each."""
        return float(np.add.reduceat(self.numbers, first).max())

    @property
    def are_equal(self) -> bool:
        """Whether all rows take equally long, so that time is as good as a number of decisions."""
        return not len(self.numbers) or bool(self.numbers.min() == self.numbers.max())

    @property
    def are_one(self) -> bool:
        """Whether all rows take one unit."""
        return self.are_equal and bool((self.numbers[:1] == 1).all())


def read_durations(series: pd.Series, name: Name) -> Amounts:
    """Read durations, positive numbers or timedeltas; some may be missing."""
    if series.dtype == object:
        _refuse_a_mix(series, name)
    if series.dtype.kind == "f":
        _refuse_no_time(name, series, np.isinf(series.to_numpy(np.float64, na_value=np.nan)))
    column = read_labels(series, name)
    if column.kind not in (*NUMERIC_KINDS, "timedelta") and len(column.values):
        remedy = "convert it, for example with pandas.to_numeric or pandas.to_timedelta"
        if is_time(column.kind):
            remedy = "take its differences, or say duration='step' if it is the step"
        column.refuse(
            np.ones(len(column.values), dtype=bool),
            f", but durations are positive numbers or timedeltas: {remedy}. Say duration=None if "
            "the column means something else.",
            TypeError,
        )
    amounts = _amounts(column)
    _refuse_no_time(name, series, amounts.numbers <= 0)
    return amounts


def _refuse_a_mix(series: pd.Series, name: Name) -> None:
    """Raise for timedeltas beside numbers, of which nobody knows the unit."""
    is_span = series.map(lambda value: isinstance(value, timedelta | np.timedelta64))
    is_number = series.map(lambda value: isinstance(value, Real)) & ~is_span & ~series.isna()
    if (is_span & ~series.isna()).any() and is_number.any():
        row = int(np.argmax(is_number.to_numpy(dtype=bool)))
        raise refusal(
            f"Column {shown(name)} holds the number {shown(series.iloc[row])} (row {row}, counting "
            "from 0) beside timedeltas, so its unit is not known. Make all of them timedeltas, for "
            "example with pandas.to_timedelta(..., unit='D'), or all numbers.",
            "duration",
            name,
            is_number.to_numpy(dtype=bool),
            error=TypeError,
        )


def _refuse_no_time(name: Name, series: pd.Series, wrong: Bools) -> None:
    """Raise for the first of the durations that are marked as wrong."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise refusal(
            f"Column {shown(name)} is {shown(series.iloc[row])} at row {row} (counting from 0), "
            "but the time until the next decision is finite and above 0. Correct it; of decisions "
            "at one time make one, or give each its part of the time. Say duration=None if the "
            "column means something else.",
            "duration",
            name,
            wrong,
        )


def read_times(column: LabelColumn) -> Amounts:
    """Read the steps of rows as points in time."""
    kind = column.kind.partition(" ")[0]
    if kind in ("time", "period") and len(column.values):
        raise refusal(
            f"duration='step' takes differences of steps, but column {shown(column.name)} holds "
            f"{shown(column.label_at(0))} at row 0, of which there are none. Convert it, for "
            "example with pandas.to_datetime, or name a column of durations.",
            "duration",
            column.name,
            error=TypeError,
        )
    return _amounts(column)


def _amounts(column: LabelColumn) -> Amounts:
    """Return what a column holds as numbers, ticks of what are times."""
    values, per_second = column.values, None
    if column.kind not in NUMERIC_KINDS and len(values):
        if values.dtype.kind not in "mM":  # dates
            values = values.astype("M8[s]")
        spans = values - values.min() if values.dtype.kind == "M" else values
        per_second = float(np.timedelta64(1, "s") / np.ones(1, dtype=spans.dtype)[0])
        values = spans.astype(np.int64)
    numbers = np.append(values.astype(np.float64), np.nan)  # the last one for what is MISSING, -1
    return Amounts(column.name, numbers[column.codes], per_second)


def differences(times: Amounts, following: Integers) -> Amounts:
    """Return how long after each row the one that follows it came, NaN where none does."""
    later = np.append(times.numbers, np.nan)[following]
    numbers = later - times.numbers
    wrong = np.flatnonzero(~(numbers > 0) & (following >= 0))
    if len(wrong):
        row = int(wrong[0])
        raise refusal(
            f"Column {shown(times.name)}: no time lies between row {row} (counting from 0) and the "
            "next row of its episode, but duration='step' takes it for the time until the next "
            "decision. Correct the steps, of decisions at one time make one, or name a column of "
            "durations.",
            "duration",
            times.name,
            wrong,
        )
    return Amounts(times.name, numbers, times.per_second)


def usual_unit(seconds: float) -> str:
    """Return the largest usual unit that a duration has at least one of, else the smallest."""
    return next((name for name in USUAL_UNITS if seconds >= UNITS[name]), USUAL_UNITS[-1])


def settle(amounts: Amounts, leads_on: Bools, unit: str | None, *, of_steps: bool) -> Durations:
    """Return durations in one unit; rows that lead nowhere may lack theirs, and get the median.

    It does not matter for what follows them, and they make up a small part of their record.
    """
    lacking = np.isnan(amounts.numbers)
    wrong = np.flatnonzero(lacking & leads_on)
    if len(wrong):
        row = int(wrong[0])
        problem, remedy = "its duration is missing", "Fill it in."
        if of_steps:
            problem = "no row follows it, so duration='step' does not tell how long that took"
            remedy = (
                "Add the last observation as a row without an action, or name a column of "
                "durations."
            )
        raise refusal(
            f"Column {shown(amounts.name)}: row {row} (counting from 0) leads to a next state, but "
            f"{problem}; so in {len(wrong)} row(s). {remedy}",
            "duration",
            amounts.name,
            wrong,
        )
    known = amounts.numbers[~lacking]
    median = float(np.median(known)) if len(known) else 1.0
    numbers = np.where(lacking, median, amounts.numbers)
    if amounts.per_second is None:
        if unit is not None and len(known):
            raise ValueError(
                f"duration_unit={shown(unit)} is for timedeltas and datetimes, but column "
                f"{shown(amounts.name)} holds numbers. Say duration_unit=None: gamma is then per "
                "unit of these numbers."
            )
        return Durations(numbers, None)
    if unit is None:
        unit = usual_unit(median / amounts.per_second)
    return Durations(numbers / (amounts.per_second * UNITS[unit]), unit)

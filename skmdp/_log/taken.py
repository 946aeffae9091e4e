"""How long the decisions of a lazy table take, as far as its engine is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._log.durations import UNITS, Durations, usual_unit
from skmdp._log.engines import Tell, collect_numbers
from skmdp._log.episodes import Transitions
from skmdp._log.grouping import Asked
from skmdp._log.roles import FROM_STEPS
from skmdp._log.ticks import PER_SECOND
from skmdp._messages import shown

# Whether rows are kept apart that agree in all but the duration: if records break off, the policies
# are followed for the time of the longest.
Times = Literal["never", "if cut", "always"]


@dataclass(frozen=True)
class Taken:
    """The shortest and the longest duration, NaN of a table that has none, and their unit."""

    shortest: float
    longest: float
    unit: str | None

    def discount(self, gamma: float | None) -> tuple[float, float] | None:
        """Return gamma and the shortest duration, None where time discounts nothing by itself."""
        if gamma is None or gamma == 1 or not self.shortest < self.longest:
            return None
        return gamma, self.shortest


def find_taken(
    rows: nw.LazyFrame[Any], asked: Asked, unit: str | None, tell: Tell | None
) -> tuple[nw.LazyFrame[Any], Taken | None]:
    """Return the rows with durations in one unit, and how long decisions take.

    None where they take no time; what is no time is refused.
    """
    if not asked.is_timed:
        return rows, None
    if asked.time_dtype is not None:
        rows, unit = _in_one_unit(rows, unit, tell)
    elif unit is not None:
        raise ValueError(
            f"duration_unit={shown(unit)} is for timedeltas and datetimes, but durations of this "
            "table are numbers. Say duration_unit=None: gamma is then per unit of these numbers."
        )
    taken = nw.col("duration")
    shortest, longest = collect_numbers(
        rows.select(taken.min().alias("shortest"), taken.max().alias("longest")),
        "looking for the shortest duration",
        tell,
    )
    if shortest <= 0 or np.isinf(longest):
        wrong = f"{shown(shortest if shortest <= 0 else longest)}{f' {unit}(s)' if unit else ''}"
        name = asked.roles.step if asked.roles.duration == FROM_STEPS else asked.roles.duration
        raise ValueError(
            f"Column {shown(name)} holds {wrong}, but the time until the next decision is finite "
            "and above 0. Correct it; of decisions at one time make one. Say duration=None if the "
            "column means something else."
        )
    return rows, Taken(shortest, longest, unit)


def _in_one_unit(
    rows: nw.LazyFrame[Any], unit: str | None, tell: Tell | None
) -> tuple[nw.LazyFrame[Any], str]:
    """Make ticks numbers of a unit, the usual one of the median unless it is given."""
    if unit is None:
        unit = usual_unit(_median(rows, tell) / PER_SECOND)
    size = nw.lit(PER_SECOND * UNITS[unit])
    return rows.with_columns(duration=nw.col("duration") / size), unit


def _median(rows: nw.LazyFrame[Any], tell: Tell | None) -> float:
    """Return the median duration, 1 where none is known."""
    median = rows.select(nw.col("duration").median().alias("median"))
    found = collect_numbers(median, "looking for the usual duration", tell)[0]
    return 1.0 if np.isnan(found) else found


def with_durations(
    log: Transitions,
    rows: nw.LazyFrame[Any],
    asked: Asked,
    taken: Taken,
    tell: Tell | None,
) -> Transitions:
    """Return a log that tells how long its entries take, and the longest record.

    Where rows of an entry may take different times, of the log only the extremes. Rows that lack
    their duration get the median, as in memory.
    """
    if not asked.by_duration:
        extremes = np.array([taken.shortest, taken.longest])
        return replace(log, durations=Durations(extremes, taken.unit, are_extremes=True))
    assert log.durations is not None
    of_rows = nw.col("duration")
    median = _median(rows, tell)
    numbers = np.where(np.isnan(log.durations.numbers), median, log.durations.numbers)
    log = replace(log, durations=Durations(numbers, taken.unit))
    if not asked.is_ordered:
        return log
    filled = nw.when(of_rows.is_null()).then(nw.lit(median)).otherwise(of_rows)
    kept = rows.filter(nw.col("is_kept")).with_columns(time=filled)
    records = kept.group_by(*asked.episodes).agg(nw.col("time").sum().alias("time"))
    (longest,) = collect_numbers(
        records.select(nw.col("time").max().alias("longest")),
        "looking for the longest record",
        tell,
    )
    return replace(log, longest_time=longest)

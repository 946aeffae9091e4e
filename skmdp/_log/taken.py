"""How long the decisions of a lazy table take, as far as its engine is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._log.durations import Durations
from skmdp._log.engines import Tell, collect
from skmdp._log.episodes import Transitions
from skmdp._log.grouping import Asked
from skmdp._messages import shown

# Whether rows are kept apart that agree in all but the duration: if records break off, the policies
# are followed for the time of the longest.
Times = Literal["never", "if cut", "always"]


@dataclass(frozen=True)
class Taken:
    """The shortest and the longest duration, NaN of a table that has none."""

    shortest: float
    longest: float

    def discount(self, gamma: float | None) -> tuple[float, float] | None:
        """Return gamma and the shortest duration, None where time discounts nothing by itself."""
        if gamma is None or gamma == 1 or not self.shortest < self.longest:
            return None
        return gamma, self.shortest


def find_taken(
    rows: nw.LazyFrame[Any], asked: Asked, unit: str | None, tell: Tell | None
) -> Taken | None:
    """Return how long decisions take, None where they take no time; refuse what is no time."""
    if not asked.is_timed:
        return None
    if unit is not None:
        raise ValueError(
            f"duration_unit={shown(unit)} is for timedeltas and datetimes, but durations of a lazy "
            "table are numbers. Say duration_unit=None: gamma is then per unit of these numbers."
        )
    taken = nw.col("duration")
    shortest, longest = _numbers(
        rows.select(taken.min().alias("shortest"), taken.max().alias("longest")),
        "looking for the shortest duration",
        tell,
    )
    if shortest <= 0 or np.isinf(longest):
        name = asked.roles.duration
        raise ValueError(
            f"Column {shown(name)} holds {shown(shortest if shortest <= 0 else longest)}, but the "
            "time until the next decision is finite and above 0. Correct it; of decisions at one "
            "time make one. Say duration=None if the column means something else."
        )
    return Taken(shortest, longest)


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
        return replace(log, durations=Durations(extremes, None, are_extremes=True))
    assert log.durations is not None
    of_rows = nw.col("duration")
    (median,) = _numbers(
        rows.select(of_rows.median().alias("median")), "looking for the usual duration", tell
    )
    numbers = log.durations.numbers
    log = replace(log, durations=Durations(np.where(np.isnan(numbers), median, numbers), None))
    if not asked.is_ordered:
        return log
    filled = nw.when(of_rows.is_null()).then(nw.lit(median)).otherwise(of_rows)
    kept = rows.filter(nw.col("is_kept")).with_columns(time=filled)
    records = kept.group_by(*asked.episodes).agg(nw.col("time").sum().alias("time"))
    (longest,) = _numbers(
        records.select(nw.col("time").max().alias("longest")),
        "looking for the longest record",
        tell,
    )
    return replace(log, longest_time=longest)


def _numbers(lazy: nw.LazyFrame[Any], doing: str, tell: Tell | None) -> list[float]:
    """Run a query for one row of numbers, and return these, NaN where one is missing."""
    found = collect(lazy, doing, tell)
    return [
        float(found.column(name).to_numpy(np.float64, na_value=np.nan)[0]) for name in found.columns
    ]

"""Times and spans of time in a lazy table as numbers, by expressions that engines know."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
from narwhals import __version__ as narwhals_version

from skmdp._typing import Name

PER_SECOND = 1e6
# From this version on narwhals tells more of DuckDB's spans than minutes and parts of one.
WHOLE_SPANS = (2, 28)
# Of other zones engines tell the local time, of which some hours come twice a year.
_UTC = (None, "UTC", "Etc/UTC")


def is_instant(dtype: Any) -> bool:
    """Whether a column holds dates, or times of which differences can be told everywhere."""
    if isinstance(dtype, nw.Datetime):
        return getattr(dtype, "time_zone", None) in _UTC
    return bool(dtype == nw.Date)


def knows_spans(lazy: nw.LazyFrame[Any], name: Name) -> bool:
    """Whether the engine tells how long the spans of time of a column are."""
    version = tuple(map(int, narwhals_version.split(".")[:2]))
    if lazy.implementation.is_duckdb() and version < WHOLE_SPANS:
        return False
    try:
        lazy.select(nw.col(str(name)).dt.total_microseconds())
    except NotImplementedError:  # of an engine on which narwhals cannot write this down
        return False
    return True


def ticks(name: Name, dtype: Any) -> nw.Expr:
    """Return the microseconds of spans of time, or of instants since the year 1 began."""
    column = nw.col(str(name))
    if dtype == nw.Duration:
        return column.dt.total_microseconds().cast(nw.Float64)
    before = column.dt.year().cast(nw.Int64) - 1
    leap = before // 4 - before // 100 + before // 400
    seconds = (before * 365 + leap + column.dt.ordinal_day().cast(nw.Int64)) * 86400
    if dtype == nw.Date:
        return seconds * 1_000_000
    for part, size in (("hour", 3600), ("minute", 60), ("second", 1)):
        seconds = seconds + getattr(column.dt, part)().cast(nw.Int64) * size
    return seconds * 1_000_000 + column.dt.microsecond().cast(nw.Int64)

"""Engines that hold lazy tables: their queries are run here, and their errors told by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._log.frames import Table
from skmdp._messages import shortened
from skmdp._typing import Name

# What is told of the stages of a long reading, and when each is over.
Tell = Callable[[str], AbstractContextManager[object]]

# Codes have 31 bits, and as many distinct transitions take some 100 GB of memory.
MOST_GROUPS = 2**31


@contextmanager
def stage_of(lazy: nw.LazyFrame[Any], doing: str) -> Iterator[None]:
    """Name the stage in an error that an engine raises inside; nothing else is to raise there."""
    try:
        yield
    except Exception as error:
        engine = lazy.implementation.value
        raise RuntimeError(
            f"{engine} failed while {doing}: {type(error).__name__}: {shortened(error, 240)} "
            "Nothing was learned; the engine's own error stands above."
        ) from error


def fetch(lazy: nw.LazyFrame[Any], doing: str, tell: Tell | None) -> nw.DataFrame[Any]:
    """Run a query, and bring what comes of it to memory."""
    with stage_of(lazy, doing), nullcontext() if tell is None else tell(doing):
        return lazy.collect()


def collect(lazy: nw.LazyFrame[Any], doing: str, tell: Tell | None) -> Table:
    """Run a query, and return what comes of it as a table in memory."""
    return Table(fetch(lazy, doing, tell))


def collect_numbers(lazy: nw.LazyFrame[Any], doing: str, tell: Tell | None) -> list[float]:
    """Run a query for one row of numbers, and return these, NaN where one is missing."""
    found = collect(lazy, doing, tell)
    return [
        float(found.column(name).to_numpy(np.float64, na_value=np.nan)[0]) for name in found.columns
    ]


def count_rows(
    rows: nw.LazyFrame[Any], reward: Name | None, tell: Tell | None
) -> tuple[int, int | None]:
    """Return the number of rows, and in how many of them the reward is there (None: no column).

    To ask for both takes no longer: only to count rows, DuckDB reads the first column of a table of
    Arrow, and strings take longer to read than numbers.
    """
    counted = [nw.len().alias("rows")]
    if reward is not None:
        counted.append(nw.col(str(reward)).count().alias("rewards"))
    found = [int(n) for n in collect_numbers(rows.select(*counted), "counting the rows", tell)]
    return found[0], found[1] if reward is not None else None


def require_affordable(n_rows: int, groups: nw.LazyFrame[Any], tell: Tell | None) -> None:
    """Raise, before memory is taken, if too many rows differ."""
    if n_rows <= MOST_GROUPS:
        return
    many = groups.select(nw.len().alias("n"))
    n_groups = int(*collect_numbers(many, "counting the distinct transitions", tell))
    if n_groups > MOST_GROUPS:
        raise ValueError(
            f"The table holds {n_groups:,} distinct transitions, of {n_rows:,} rows, and no more "
            f"than {MOST_GROUPS:,} can be counted. Make fewer states: round measurements, or leave "
            "out columns of the state that name single rows, such as times."
        )

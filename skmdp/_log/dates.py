"""Blocks of time in a lazy table by the steps themselves, where these count on between episodes.

An engine sorts no steps for that: it counts rows in bins of one width, over the times that all but
a few rows lie in, and blocks are made of bins.
"""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._evaluation.time_blocks import MOST_BLOCKS
from skmdp._log.engines import Tell, collect
from skmdp._log.grouping import Asked
from skmdp._log.groups import Groups
from skmdp._log.ticks import ticks
from skmdp._typing import Floats

# Bins in which rows are counted, and how many of them hold all but few rows, at least; a step that
# is a mistake may make bins wider than time is long.
N_BINS = 1000
ENOUGH_BINS = 100
FEW = 0.01
MOST_LOOKS = 4


def when(asked: Asked) -> nw.Expr | None:
    """Return the steps as numbers, None where an engine does not tell how far they are apart."""
    dtype = asked.schema[str(asked.roles.step)]
    if dtype.is_numeric():
        return nw.col("step").cast(nw.Float64)
    if isinstance(dtype, nw.Datetime) or dtype == nw.Date:
        return ticks("step", dtype).cast(nw.Float64)
    return None


def cuts_of(rows: nw.LazyFrame[Any], least: float, largest: float, tell: Tell | None) -> Floats:
    """Return where all blocks of about as many rows begin, but for the first.

    ``rows`` are those that count, the numbers in their column ``when`` from the least to the
    largest.
    """
    for _ in range(MOST_LOOKS):
        width = (largest - least) / N_BINS
        bins = ((nw.col("when") - nw.lit(least)) // nw.lit(width)).cast(nw.Int64)
        counted = rows.with_columns(bin=bins).group_by("bin").agg(nw.len().alias("n_rows"))
        found = Groups(collect(counted, "counting the rows by time", tell))
        place = np.clip(found.numbers("bin"), 0, N_BINS - 1).astype(np.intp)
        share = np.bincount(place, found.n_rows, N_BINS).cumsum() / found.n_rows.sum()
        first, last = np.searchsorted(share, (FEW, 1 - FEW))
        if last - first >= ENOUGH_BINS:
            break
        least, largest = least + width * first, least + width * (last + 1)
    ends = np.unique(np.searchsorted(share, np.arange(1, MOST_BLOCKS) / MOST_BLOCKS))
    return np.asarray(least + width * (ends + 1))

"""When rows of a lazy table were by the steps themselves, where these count on between episodes.

An engine sorts no steps for that: it counts rows in bins of one width, over the times that all but
a few rows lie in. Blocks are made of bins. Rows of one time are those of one bin, which are narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Bins:
    """Times from the ``least`` to the ``largest`` one in ``n_bins`` of one width.

    Bins count from 0 on, and what lies beyond is in the first or the last one.
    """

    least: float
    largest: float
    n_bins: int = N_BINS

    @property
    def width(self) -> float:
        """How long a bin takes."""
        return (self.largest - self.least) / self.n_bins

    def of_rows(self) -> nw.Expr:
        """Return the bin of each row, given its time in the column ``when``."""
        in_bins = (nw.col("when") - nw.lit(self.least)) / nw.lit(self.width)
        # Some engines round where others leave fractions out, in ``//`` as well.
        whole = in_bins.cast(nw.Int64)
        place = whole - (whole.cast(nw.Float64) > in_bins).cast(nw.Int64)
        last = self.n_bins - 1
        upto = nw.when(place < nw.lit(last)).then(place).otherwise(nw.lit(last))
        return nw.when(place > nw.lit(0)).then(upto).otherwise(nw.lit(0))


def bins_of(
    rows: nw.LazyFrame[Any], least: float, largest: float, tell: Tell | None
) -> tuple[Bins, Floats]:
    """Return bins over the times of all but few rows, and where blocks of about as many rows begin.

    That of the first is left out. ``rows`` are those that count, the numbers in their column
    ``when`` from the least to the largest.
    """
    narrowed = Bins(least, largest)
    for _ in range(MOST_LOOKS):
        bins = narrowed
        counted = (
            rows.with_columns(bin=bins.of_rows()).group_by("bin").agg(nw.len().alias("n_rows"))
        )
        found = Groups(collect(counted, "counting the rows by time", tell))
        n_rows = np.bincount(found.numbers("bin").astype(np.intp), found.n_rows, N_BINS)
        share = n_rows.cumsum() / n_rows.sum()
        first, last = np.searchsorted(share, (FEW, 1 - FEW))
        narrowed = Bins(bins.least + bins.width * first, bins.least + bins.width * (last + 1))
        if last - first >= ENOUGH_BINS:
            break
    ends = np.unique(np.searchsorted(share, np.arange(1, MOST_BLOCKS) / MOST_BLOCKS))
    return narrowed, np.asarray(bins.least + bins.width * (ends + 1))

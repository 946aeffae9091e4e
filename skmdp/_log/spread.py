"""How the rewards of a lazy table spread, as sums of their first four powers tell it."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._estimation.moments import three_amounts
from skmdp._log.engines import Tell, collect_numbers
from skmdp._log.grouping import POWERS, Asked
from skmdp._log.groups import Groups
from skmdp._typing import Floats


def find_scale(
    rows: nw.LazyFrame[Any], asked: Asked, tell: Tell | None
) -> tuple[float, float] | None:
    """Return the mean reward and the largest distance from it, where powers are to be added up.

    None where nobody asks for their spread; 1 if all are alike, or if some are no numbers, which is
    refused later.
    """
    if not asked.keeps_spread:
        return None
    paid = nw.col("reward")
    mean, low, high = collect_numbers(
        rows.select(paid.mean().alias("mean"), paid.min().alias("low"), paid.max().alias("high")),
        "looking for the mean reward",
        tell,
    )
    size = max(high - mean, mean - low)
    return (mean, size) if np.isfinite(size) and size > 0 else (0.0, 1.0)


def spread_of(found: Groups, unit: float) -> dict[str, Floats]:
    """Return rewards in place of those of each group, and their numbers of rows, (n_groups, 3)."""
    n = found.n_rows
    powers = np.stack([found.numbers(f"sum_{name}") for name in POWERS])
    distances, shares = three_amounts(n, powers, found.numbers("least"), found.numbers("largest"))
    means = found.numbers("sum_rewards") / n
    return {
        "amounts": means[:, np.newaxis] + unit * distances,
        "amount_rows": n[:, np.newaxis] * shares,
    }

"""How large rewards may be for their powers, which tell how far to trust a mean."""

from __future__ import annotations

import numpy as np

from skmdp._messages import shown
from skmdp._typing import Floats, Name

# Sizes of rewards beyond which float64 does not hold their fourth powers, or only some digits.
LARGEST_REWARD, SMALLEST_REWARD = 1e70, 1e-70


def require_powers(
    rewards: Floats | None,
    name: Name | None,
    weights: Floats | None = None,
    *,
    are_rows: bool = True,
) -> None:
    """Raise for rewards whose powers, which tell how far to trust a mean, float64 does not hold.

    They are those of the rows of a table, (n,), of which some may be NaN, or else sizes.
    None: there are no rewards.
    """
    if rewards is None or _has_powers(np.fmax.reduce(np.abs(rewards), initial=0.0)):
        return
    sizes = np.nan_to_num(np.abs(rewards))
    if weights is not None:  # rows of weight zero may hold anything
        sizes[weights == 0] = 0.0
    row = int(np.argmax(sizes))
    if _has_powers(sizes[row]):
        return
    where = f"is {rewards[row]:g} at row {row} (counting from 0)"
    if not are_rows:
        where = f"holds rewards of about {rewards[row]:g}"
    power = int(np.rint(np.log10(sizes[row])))
    raise ValueError(
        f"Column {shown(name)} {where}, too {'large' if sizes[row] > 1 else 'small'} to square, so "
        "nothing tells how far to trust what is earned on average. Divide the column by "
        f"1e{power:+d}; advice does not depend on the unit of rewards."
    )


def _has_powers(size: float) -> bool:
    return bool(size == 0 or SMALLEST_REWARD <= size <= LARGEST_REWARD)

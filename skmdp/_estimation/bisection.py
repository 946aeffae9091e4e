"""Where values lie in groups that are sorted."""

from __future__ import annotations

import numpy as np

from skmdp._typing import Integers


def bisect(values: Integers, bounds: Integers, group: Integers, wanted: Integers) -> Integers:
    """Return the first position in a group whose value is not below what is wanted, (n,).

    The values of group g lie in order from ``bounds[g]`` to ``bounds[g + 1]``. Groups are short, so
    this takes fewer looks than to search among all values, and looks close to one another.
    """
    padded = np.append(values, 0)
    low, high = bounds[group], bounds[group + 1]
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = low + ((high - low) >> 1)
        is_below = (padded[middle] < wanted) & (low < high)
        low = np.where(is_below, middle + 1, low)
        high = np.where(is_below, high, middle)
    return np.asarray(low)

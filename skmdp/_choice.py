"""The choice between settings of the model that were judged on the same folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skmdp._typing import Floats

# Means that differ by less than this, relative to their size, differ by rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Setting:
    """Parameters of the model that are chosen between."""

    min_count: float
    prior_strength: float


def choose(scores: Floats, settings: Sequence[Setting], times_held_out: float = 1.0) -> int:
    """Return the position of the setting to take, given the scores (n_settings, n_folds).

    Of those whose mean is within one standard error of the best, that of the difference between the
    two over the folds, it is the one in the middle by ``min_count``, of two the larger. Of several
    there it is the best, of equals the one with the smallest ``min_count``, then the first: nothing
    is restricted for nothing. Settings without a score somewhere, NaN, are never taken. However
    often the folds hold each episode out, they tell no more of the error than if it was once, and
    one fold tells nothing of it.

    The best alone follows the luck of the log wherever folds hardly tell settings apart, often to
    one of the ends. On processes of known truth this lost to the best fixed setting, and to prefer
    the smallest or the largest near the best lost on some of them what it won on others.
    """
    n_folds = scores.shape[1]
    means = scores.mean(axis=1) if n_folds else np.zeros(len(settings))
    best = int(np.nanargmax(means))
    errors = np.zeros(len(settings))
    if n_folds > times_held_out:
        errors = (scores[best] - scores).std(axis=1) / np.sqrt(n_folds / times_held_out - 1)
    rounding = ROUNDING * abs(means[best])
    near = np.flatnonzero(means[best] - means <= errors + rounding)
    min_counts = np.array([setting.min_count for setting in settings])
    middle = np.sort(min_counts[near])[len(near) // 2]
    level = means[near[min_counts[near] == middle]].max()
    equals = near[np.abs(means[near] - level) <= rounding]
    return int(equals[np.argmin(min_counts[equals])])

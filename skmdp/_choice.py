"""The choice between settings of the model that were judged on the same folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from skmdp._messages import shown
from skmdp._typing import Floats

# Means that differ by less than this, relative to their size, differ by rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Setting:
    """Parameters of the model that are chosen between."""

    min_count: float
    prior_strength: float


def require_candidates(values: Any, name: str, owner: str, *, may_be_auto: bool) -> None:
    """Raise unless a parameter holds one or more values that are numbers, or maybe "auto"."""
    is_one = isinstance(values, str) or getattr(values, "shape", None) == ()
    if is_one or not hasattr(values, "__len__"):
        is_right = _is_candidate(values, may_be_auto=may_be_auto)
        hint = f" For one candidate, write ({shown(values)},)." if is_right else ""
        raise InvalidParameterError(
            f"The {shown(name)} parameter of {owner} must be a sequence of candidates, got "
            f"{shown(values)}.{hint}"
        )
    if not len(values):
        raise ValueError(f"{name} is empty; hand in at least one candidate.")
    wrong = [value for value in values if not _is_candidate(value, may_be_auto=may_be_auto)]
    if wrong:
        or_auto = ' or "auto"' if may_be_auto else ""
        raise ValueError(
            f"{name} must hold numbers that are at least 0{or_auto}, got {shown(wrong[0])}."
        )


def _is_candidate(value: Any, *, may_be_auto: bool) -> bool:
    if isinstance(value, str):
        return may_be_auto and value == "auto"
    return isinstance(value, Real) and not isinstance(value, bool) and float(value) >= 0


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

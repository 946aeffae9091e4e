"""What makes an estimate doubtful: warnings, each with what to do about it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from skmdp._evaluation.candidate import MODEL_METHODS
from skmdp._evaluation.direct import DirectEstimate
from skmdp._evaluation.horizon import HORIZON_WITHOUT_EPISODES
from skmdp._evaluation.verdict import MOST_UNKNOWN, ROUNDING
from skmdp._log.oddities import warn_if_long_ones_are_missing
from skmdp._messages import quoted
from skmdp._scoring import warn_if_unsupported
from skmdp.metrics._intervals import ENOUGH_EFFECTIVE_EPISODES
from skmdp.metrics._judging import Judgement
from skmdp.metrics._result import PolicyEvaluation

# Standard errors (of a difference) beyond which two methods contradict each other.
DISAGREEMENT = 2.0
# An episode of more decisions than this goes on.
ONE_DECISION = 1.001
# Methods that follow the policy over the horizon.
FOLLOWING_METHODS = ("fqe", *MODEL_METHODS)


@contextmanager
def told_once() -> Iterator[None]:
    """Let each warning that comes up inside be told once, as one of the function that was called.

    A log may be read several times, each in other states. To be entered right below a public
    function that ``validate_params`` wraps.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    told = {(warning.category, str(warning.message)) for warning in caught}
    for warning in caught:
        key = (warning.category, str(warning.message))
        if key in told:
            told.remove(key)
            warnings.warn(warning.message, stacklevel=5)


def warn_of_doubts(result: PolicyEvaluation, found: Judgement, *, is_training_log: bool) -> None:
    """Warn once of each reason to doubt the estimates, with a remedy."""
    if is_training_log:
        warnings.warn(
            "X holds the very transitions that the policy was learned from, so the estimate is "
            "optimistic: the policy was chosen on these rows. Evaluate it on other episodes.",
            UserWarning,
            stacklevel=2,
        )
    warn_if_long_ones_are_missing(result.unknown_time_share, stacklevel=2)
    if found.fitted is not None:
        _warn_if_hardly_taken(result)
        _warn_if_contradicted(result)
        if result.n_episodes is None and found.fitted.decisions > ONE_DECISION:
            _warn_of_no_episodes(result)
    if found.direct is not None:
        warn_if_unsupported(found.direct.uncovered, found.direct.extrapolated, stacklevel=2)
    else:
        outlasting = 0.0 if found.fitted is None else found.fitted.outlasting or 0.0
        warn_if_unsupported(0.0, (1 - result.cut_share) * outlasting)
    table = result.to_frame()
    few = _warn_of_few_episodes(result, table)
    speaking = table[~table["method"].isin(few)].dropna(subset=["value", "standard_error"])
    if result.horizon_time is not None:  # records that were weighed took times of their own
        speaking = speaking[speaking["method"].isin(FOLLOWING_METHODS)]
    _warn_of_disagreement(speaking, found.direct)


def warn_of_unsupported(names: Sequence[str], found: Sequence[Judgement]) -> None:
    """Name the policies of which the log tells too little."""
    shares = [0.0 if one.fitted is None else one.fitted.unsupported_share for one in found]
    unknown = [name for name, share in zip(names, shares, strict=True) if share > MOST_UNKNOWN]
    if unknown:
        warnings.warn(
            f"Of the decisions of {quoted(unknown)} more than {MOST_UNKNOWN:.0%} are taken less "
            "than 1 time in 20 there by what X logs; what they bring is not known, and intervals "
            "do not say so (see unsupported_share). Trust no difference to these policies.",
            UserWarning,
            stacklevel=2,
        )


def _warn_if_hardly_taken(result: PolicyEvaluation) -> None:
    if result.unsupported_share > MOST_UNKNOWN:
        warnings.warn(
            f"Of the policy's decisions {result.unsupported_share:.0%} are taken less than 1 time "
            "in 20 there by what X logs; what they bring is not known, and the interval does not "
            "say so. Choose a policy that keeps closer to the log (raise min_count and fit again), "
            "or try the action first in a few cases.",
            UserWarning,
            stacklevel=2,
        )


def _warn_if_contradicted(result: PolicyEvaluation) -> None:
    if result.contradicts_the_log:
        warnings.warn(
            f"fqe says {result.behavior_value:.4g} +- {result.behavior_standard_error:.2g} of the "
            f"logged policy, whose episodes earned {result.mean_return:.4g}: the columns that it "
            f"looks at ({quoted(result.relevant_columns or ())}) do not tell what follows. Name "
            "those that are known before each decision, and no others: columns={'state': [...]}.",
            UserWarning,
            stacklevel=2,
        )


def _warn_of_no_episodes(result: PolicyEvaluation) -> None:
    if result.horizon == HORIZON_WITHOUT_EPISODES:
        warnings.warn(
            "X has no column of episodes, so each row counts as a start, from which policies are "
            f"followed for {HORIZON_WITHOUT_EPISODES} steps. Name the column, columns={{'episode': "
            "...}}, or give a horizon.",
            UserWarning,
            stacklevel=2,
        )


def _warn_of_few_episodes(result: PolicyEvaluation, table: pd.DataFrame) -> list[str]:
    """Return the methods with too few episodes that follow the policy."""
    size = table["effective_sample_size"].min()
    few: list[str] = table.loc[
        table["effective_sample_size"] < ENOUGH_EFFECTIVE_EPISODES, "method"
    ].tolist()
    if few:
        warnings.warn(
            f"Only {size:.1f} of {result.n_episodes} episodes (effective) follow the policy, so "
            f"the estimates of {quoted(few)} have no interval. Rely on 'dm', or log more episodes.",
            UserWarning,
            stacklevel=2,
        )
    return few


def _warn_of_disagreement(table: pd.DataFrame, direct: DirectEstimate | None) -> None:
    """Warn of the first two methods whose values lie further apart than their errors allow."""
    for one, other in combinations(table.itertuples(), 2):
        error = np.hypot(one.standard_error, other.standard_error)
        is_told = error > ROUNDING * abs(one.value)
        if not is_told or not _apart(one, other, direct) > DISAGREEMENT * error:
            continue
        says = (
            f"Methods disagree by more than their errors: {one.method} says "
            f"{one.value:.4g} +- {one.standard_error:.2g}, {other.method} "
            f"{other.value:.4g} +- {other.standard_error:.2g}. "
        )
        if "fqe" in (one.method, other.method):
            why = (
                "The states of the policy put together what has different consequences, which "
                "misleads all methods but fqe: fqe looks at the measurements themselves. Encode "
                "them more finely, or add columns to the state, and rely on fqe."
            )
        else:
            why = (
                "Either the states are not Markov, which misleads dm (add columns), or the "
                "episodes that follow the policy to their end are no fair sample, which misleads "
                "the others (see effective_sample_size)."
            )
        warnings.warn(says + why, UserWarning, stacklevel=2)
        return


def _apart(one: Any, other: Any, direct: DirectEstimate | None) -> float:
    """Return how far apart the values of two methods are, for one and the same question.

    An importance method sees episodes as far as they were logged. Where some were cut off, its
    answer may lie anywhere between following the policy so long and to its end.
    """
    difference = float(other.value - one.value)
    follows = [method in FOLLOWING_METHODS for method in (one.method, other.method)]
    if follows[0] == follows[1] or direct is None:
        return abs(difference)
    if follows[1]:
        difference = -difference
    least, most = (end - direct.value for end in direct.ends)
    return abs(difference - float(np.clip(difference, least, most)))

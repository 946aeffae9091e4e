"""Logs that tell too little, or something else, of what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skmdp._estimation.counts import TransitionCounts
from skmdp._log.episodes import Transitions
from skmdp._log.frames import column_names, is_lazy_error
from skmdp._log.roles import FROM_STEPS, Roles
from skmdp._messages import quoted
from skmdp._pipelines import unwrap
from skmdp._policy_columns import is_behind_transformers

# If more of the rows than this are the only ones of their state, states tell of no action.
MOST_ROWS_ALONE = 0.5
# In fewer rows it may be chance.
ENOUGH_ROWS = 100


def has_durations(X: Any, roles: Roles) -> bool:
    """Whether a table tells how long decisions take, by a column or by its steps."""
    return roles.duration == FROM_STEPS or roles.duration in column_names(X)


def refuse_lazy(
    X: Any, policies: Sequence[Any], methods: Sequence[str] | None, behavior: Any
) -> None:
    """Raise for what is asked of a lazy table that takes its rows one by one."""
    others = [name for name in methods or () if name != "dm"]
    if others:
        raise is_lazy_error(X, f"The method(s) {quoted(others)} look at single rows")
    if behavior is not None:
        raise is_lazy_error(X, "behavior holds a propensity for each row")
    if any(map(is_behind_transformers, policies)):
        raise is_lazy_error(X, "Transformers make states of rows")


def require_rewards(log: Transitions) -> None:
    """Raise for a log without rewards."""
    if log.rewards is None:
        raise ValueError(
            "Evaluation needs rewards, but the role reward is None. Name their column: "
            "columns={'reward': ...}."
        )


def require_same_rows(n_measured: int, n_stated: int) -> None:
    """Raise unless as many rows count with what was measured as with the states made of it."""
    if n_measured != n_stated:
        raise ValueError(
            f"{n_measured} rows of X count with all that was measured, but {n_stated} with the "
            "states that a policy makes of it, as next states are missing in some of its columns "
            "only. Use methods='fqe', which needs no states, or fill the gaps in X."
        )


def no_states(policy: Any) -> ValueError:
    """Return the error of a policy that makes no states of what is measured."""
    return ValueError(
        f"A policy of type {type(unwrap(policy)[1]).__name__} makes no states of what is measured, "
        "and the methods other than 'fqe' compare rows of one state. Use methods='fqe' for all of "
        "these policies."
    )


def require_recurring_states(counts: TransitionCounts, n_rows: int) -> None:
    """Raise if almost every row is a state of its own: no other row tells what an action does."""
    alone = np.count_nonzero(counts.state_weights == 1)
    if n_rows >= ENOUGH_ROWS and alone > MOST_ROWS_ALONE * n_rows:
        raise ValueError(
            f"{alone} of {n_rows} rows of X are the only ones of their state, so that no other row "
            "tells what an action does there. Use methods='fqe', which judges policies on "
            "measurements, or give X states that come again."
        )

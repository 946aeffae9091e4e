"""What a fitted policy is: states, actions, advice, and how unknown states are answered."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skmdp._log.evidence import Evidence
from skmdp._log.labels import NUMERIC_KINDS
from skmdp._messages import shown
from skmdp._typing import Floats


def tie_tolerance(state_values: Floats, gamma: float, value_error_bound: float) -> float:
    """Return how far apart two Q may be that the solver cannot tell apart."""
    largest = float(np.abs(state_values).max(initial=0.0))
    return max(1e-9 * largest, 2 * gamma * value_error_bound)


def position_of_largest(weights: Floats) -> np.intp:
    """Return the first position of the largest weight, to one part in 1e9."""
    return np.argmax(weights >= weights.max() * (1 - 1e-9))


def require_numbers(evidence: Evidence) -> None:
    for name, kind in zip(evidence.states.names, evidence.states.kinds, strict=True):
        if kind not in NUMERIC_KINDS:
            raise ValueError(
                f"handle_unknown='nearest' needs numeric state columns, but column {shown(name)} "
                f"holds labels of kind {kind!r}. Encode it as numbers or choose another "
                "handle_unknown."
            )


def last_step(member: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    return member.steps[-1][1] if isinstance(member, Pipeline) else member


def before_last_step(member: Any, X: Any) -> Any:
    """Return what a member's policy sees of X."""
    return member[:-1].transform(X) if isinstance(member, Pipeline) and len(member) > 1 else X

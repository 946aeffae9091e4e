"""What ``score`` computes, what it asks for, and what it warns of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from skmdp._estimation.prior_strength import choose_prior_strength
from skmdp._evaluation.direct import DirectEstimate, evaluate_directly
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence
from skmdp._typing import Codes, Floats

UNCOVERED_WARNING = 0.01
OUTLASTING_WARNING = 0.10


def warn_if_unsupported(
    uncovered: float, outlasting: float | None, *, is_cut: bool, stacklevel: int = 3
) -> None:
    """Warn if the log has too little to say about the policy."""
    if uncovered > UNCOVERED_WARNING:
        warnings.warn(
            f"X lacks {uncovered:.1%} of the decisions that the policy would take; there "
            "the estimate assumes that what X logs in the state goes on happening. Score on more "
            "rows, or raise min_count so that the policy keeps to what is often logged.",
            UserWarning,
            stacklevel=stacklevel,
        )
    if outlasting is not None and outlasting > OUTLASTING_WARNING and not is_cut:
        warnings.warn(
            f"{outlasting:.1%} of the policy's episodes would last longer than any in X (it may "
            "loop); their value is extrapolated. Check the policy for loops, or charge a cost per "
            "step.",
            UserWarning,
            stacklevel=stacklevel,
        )


def evaluate_for_score(evidence: Evidence, log: Transitions, choice: Floats) -> DirectEstimate:
    """Evaluate a policy, pi(a|s) of the log's pairs, as ``score`` does."""
    return evaluate_directly(
        evidence.counts,
        choice,
        evidence.initial_distribution,
        prior_strength=choose_prior_strength(evidence.counts),
        longest=log.longest,
        is_cut=log.is_cut,
    )


def score_asks_as_fit(routing: Any) -> Any:
    """Let score request what fit requests, where nothing was said of score."""
    for name in ("reward", "episode"):
        asked = routing.fit.requests[name]
        if asked is not None and routing.score.requests[name] is None:
            routing.score.add_request(param=name, alias=asked)
    return routing


def agreement(action_codes: Codes, log: Transitions) -> float:
    """Return the weighted share of rows where the logged action is the one given, (n,)."""
    return float(np.average(action_codes == log.action_codes, weights=log.weights))

"""The score of a fitted policy: its value, its requests to scikit-learn, its warnings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from skmdp._estimation.counts import TransitionCounts
from skmdp._estimation.prior_strength import choose_prior_strength
from skmdp._evaluation.direct import (
    DirectEstimate,
    average_estimates,
    choice_of_actions,
    evaluate_directly,
)
from skmdp._evaluation.fitted_estimate import FittedEstimate
from skmdp._evaluation.fitted_q import FittedQ
from skmdp._evaluation.horizon import HORIZON_WITHOUT_EPISODES, Horizon
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence, gather
from skmdp._log.folds import Part
from skmdp._log.forms import read_log
from skmdp._log.frames import as_frame, as_lazy, column_names
from skmdp._log.labels import LabelColumn
from skmdp._log.oddities import warn_of_oddities_to_score
from skmdp._log.raw import Measurements
from skmdp._log.roles import Roles
from skmdp._messages import quoted
from skmdp._policy import check_features, fitted_policy
from skmdp._trust import Scored, fitted_q, follow_advice, in_time_of, read_behind
from skmdp._typing import Codes, Floats
from skmdp.solvers._equations import one_blas_thread

UNCOVERED_WARNING = 0.01
EXTRAPOLATED_WARNING = 0.10


def warn_if_unsupported(uncovered: float, extrapolated: float, *, stacklevel: int = 3) -> None:
    """Warn if the log has too little to say about the policy."""
    if uncovered > UNCOVERED_WARNING:
        warnings.warn(
            f"X lacks {uncovered:.1%} of the decisions that the policy would take; there the "
            "estimate is that of the actions logged in the same state. Score on more rows, or "
            "choose a policy of actions that are often logged (raise min_count and fit again).",
            UserWarning,
            stacklevel=stacklevel,
        )
    if extrapolated > EXTRAPOLATED_WARNING:
        warnings.warn(
            f"{extrapolated:.1%} of the policy's episodes would last longer than any in X and are "
            "followed on, so their value is extrapolated. Check the policy for loops, charge a "
            "cost per step, or give evaluate_policy a horizon no longer than the longest episode.",
            UserWarning,
            stacklevel=stacklevel,
        )


def warn_of_unknown_starts(X: Any, roles: Roles, log: Transitions, *, stacklevel: int) -> None:
    """Warn if a lazy table names episodes, but nothing tells where they start."""
    names = roles.names("episode")
    if log.n_episodes is None and names and set(names) <= set(column_names(X)):
        warnings.warn(
            f"The lazy table has episodes ({quoted(names)}), but no column of steps, so where they "
            "start and end is unknown: every row counts as a start, from which the policy is "
            f"followed for {HORIZON_WITHOUT_EPISODES} steps. Name a column with step=..., or "
            "collect whole episodes of the table.",
            UserWarning,
            stacklevel=stacklevel,
        )


@one_blas_thread()
def evaluate_for_score(
    evidence: Evidence, log: Transitions, choice: Floats, measured: Measurements | None
) -> DirectEstimate:
    """Evaluate a policy, pi(a|s) of the log's pairs, as ``score`` does.

    What was measured, if that is known, tells better which episodes were cut off.
    """
    cut_share = log.cut_share if measured is None else measured.cut_share

    def follow(counts: TransitionCounts, horizon: Horizon, longest: int | None) -> DirectEstimate:
        return evaluate_directly(
            counts,
            choice,
            evidence.initial_distribution,
            prior_strength=kappa,
            horizon=horizon,
            longest=longest,
        )

    counts, kappa = evidence.counts, choose_prior_strength(evidence.counts)
    in_time = in_time_of(log, cut_share)
    if in_time is None:
        return follow(counts, Horizon.of_log(log.longest, cut_share), log.longest)
    assert log.longest is not None
    triple = counts.find_triples(log.state_codes, log.action_codes, log.next_codes)
    going_on = in_time.going_on if log.weights is None else in_time.going_on * log.weights
    timed = counts.discounted(triple, going_on)
    return average_estimates(
        [
            (
                share,
                follow(
                    *((timed, horizon, None) if counts_time else (counts, horizon, log.longest))
                ),
            )
            for share, counts_time, horizon in in_time.parts(log.longest)
        ]
    )


def set_beside_measurements(
    own: float,
    measured: Measurements,
    answers: Codes,
    log: Transitions,
    part: Part | None = None,
) -> Scored:
    """Set the value of a policy in its own states beside what the measurements tell of it.

    ``answers`` (n_states,) are its actions in the states of ``log``, which holds the same rows as
    the measurements, in the numbers of theirs. Of both only a ``part`` is looked at, if given.
    """
    asked = fitted_q(measured, part=part)
    estimate = estimate_on_measurements(asked, measured, answers, log, part)
    spread = float(asked.log.rewards.std())
    return Scored(own, estimate.unsupported_share, estimate, spread)


def estimate_on_measurements(
    asked: FittedQ,
    measured: Measurements,
    answers: Codes,
    log: Transitions,
    part: Part | None = None,
) -> FittedEstimate:
    """Return what the measurements tell of a policy that answers so in each state."""
    following = np.where(measured.ended, log.state_codes, log.next_codes)
    starting = log.start_codes
    if part is not None:
        following, starting = following[part.rows], starting[part.episodes]
    return follow_advice(asked, answers[following], answers[starting])


def score_asks_as_fit(routing: Any) -> Any:
    """Let score request what fit requests, where nothing was said of score."""
    for name in ("reward", "episode", "duration"):
        asked = routing.fit.requests[name]
        if asked is not None and routing.score.requests[name] is None:
            routing.score.add_request(param=name, alias=asked)
    return routing


def agreement(action_codes: Codes, log: Transitions) -> float:
    """Return the weighted share of rows where the logged action is the one given, (n,)."""
    return float(np.average(action_codes == log.action_codes, weights=log.weights))


def score_policy(estimator: Any, X: Any, y: Any, **handed: Any) -> Scored:
    """Estimate the reward per episode of a fitted estimator's policy.

    Of a log without rewards, the share of rows where it agrees with the logged action. ``handed``
    is what came beside ``X`` and ``y``, as in ``MarkovPolicyEstimator.score``.
    """
    log = read_log_to_score(estimator, X, y, **handed)
    actions = fitted_policy(estimator).actions_in(log, estimator.handle_unknown)
    if log.rewards is None:
        return Scored(agreement(actions[log.state_codes], log), 0.0)
    evidence = gather(log)
    warn_of_oddities_to_score(log, evidence, fitted_policy(estimator).evidence, stacklevel=3)
    measured = None
    if as_lazy(X) is not None:
        warn_of_unknown_starts(X, fitted_policy(estimator).roles, log, stacklevel=4)
    elif y is None and handed.get("sample_weight") is None:
        measured = read_behind(X, fitted_policy(estimator).roles)
    choice = choice_of_actions(evidence.counts, actions)
    estimate = evaluate_for_score(evidence, log, choice, measured)
    warn_if_unsupported(estimate.uncovered, estimate.extrapolated, stacklevel=4)
    if measured is None:
        return Scored(estimate.value, estimate.uncovered)
    every_state = np.arange(len(log.states))
    answers = fitted_policy(estimator).actions_of(every_state, log, estimator.handle_unknown)
    return set_beside_measurements(estimate.value, measured, answers, log)


def read_log_to_score(
    estimator: Any, X: Any, y: Any, *, beside: Sequence[LabelColumn] = (), **handed: Any
) -> Transitions:
    """Read a log in the form of fit, with rewards if those of fit had rewards."""
    policy = fitted_policy(estimator)
    check_form(estimator, X, y)
    reader = type(estimator).__name__
    log = read_log(X, y, policy.roles, beside=beside, reader=reader, times="if cut", **handed)
    had_rewards = policy.evidence.has_rewards
    if had_rewards != (log.rewards is not None):
        fitted, here, request = (
            ("with", "there are none to score it with. Hand in reward=...", "score")
            if had_rewards
            else ("without", "it is to be scored with them. Fit it with reward=...", "fit")
        )
        raise ValueError(
            f"This policy was fitted {fitted} rewards, but {here}; in a pipeline or search "
            f"call set_{request}_request(reward=True) on the estimator."
        )
    return log


def check_form(estimator: Any, X: Any, y: Any) -> None:
    """Raise unless X and y come in the form of fit: a table, or features and actions."""
    is_table_form = fitted_policy(estimator).is_table_form
    if y is not None and is_table_form:
        raise ValueError(
            "This policy was fitted on a transitions table; hand in one again, without y."
        )
    if y is None and not is_table_form and as_frame(X) is not None:
        raise ValueError(
            "This policy was fitted on features X and actions y; hand in both again, with "
            "reward=... and episode=... beside them."
        )
    if y is not None:
        check_features(estimator, fitted_policy(estimator), X, estimator.n_features_in_)

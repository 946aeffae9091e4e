"""What a policy earns per time where nothing ever ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.direct import policy_process
from skmdp._evaluation.long_run import rate_per_time, reached_states
from skmdp._evaluation.replay import Candidate
from skmdp._log.durations import UNITS
from skmdp._log.episodes import Transitions
from skmdp._messages import shown
from skmdp.metrics._candidates import PolicyLogs
from skmdp.metrics._doubts import told_once

# Probabilities of what follows sum to one but for rounding.
ROUNDING = 1e-9


@validate_params(
    {
        "duration_unit": [StrOptions(set(UNITS)), None],
        "prior_strength": [Interval(Real, 0, None, closed="left"), StrOptions({"auto", "capped"})],
        "columns": [Mapping, None],
    },
    prefer_skip_nested_validation=True,
)
def value_per_time(
    policy: Any,
    X: Any,
    *,
    duration_unit: str | None = None,
    prior_strength: float | str = "capped",
    columns: Mapping[str, Any] | None = None,
) -> float:
    """Estimate what a policy earns per time in the long run, where nothing ever ends.

    Parameters
    ----------
    policy : estimator, function, mapping, Series, table, scalar or "behavior"
        A policy on states that are labels, as in ``evaluate_policy``.
    X : table of shape (n_transitions, n_columns)
        A log of other episodes than the policy was learned from, with rewards, of a process that
        goes on: its records break off.
    duration_unit : {"second", "minute", "hour", "day", "week"}, default=None
        Unit of time that the value is for, where durations are times. None: the largest of day,
        hour and second of which the median duration of ``X`` has at least one.
    prior_strength : float, "auto" or "capped", default="capped"
        As in ``evaluate_policy``.
    columns : mapping of str to str or list of str, default=None
        As in ``evaluate_policy``.

    Returns
    -------
    value : float
        Expected reward per unit of duration; per decision, if ``X`` has no durations.

    Raises
    ------
    ValueError, TypeError
        If the log cannot be read, has no rewards, or shows that the process ends under the policy.

    See Also
    --------
    evaluate_policy : Reward per episode, with intervals.

    Notes
    -----
    The policy is followed in the process re-estimated from ``X``, as by the method ``"dm"``. In the
    long run it is in each state for a fixed share of the decisions; the value is the expected
    reward of a decision divided by its expected duration. Where the process may be caught in one
    of several parts, each counts as often as it is caught there. There is no interval.

    Examples
    --------
    Paid 10 every 7 days, or 20 every 30 days:

    >>> import pandas as pd
    >>> from skmdp.metrics import value_per_time
    >>> wells = pd.DataFrame({"state": "dry", "action": ["patch", "drill"], "reward": [10, 20],
    ...                       "next_state": "dry", "duration": [7, 30]})
    >>> round(value_per_time("patch", wells, prior_strength=0), 3)
    1.429
    >>> round(value_per_time("drill", wells, prior_strength=0), 3)
    0.667
    """
    with told_once():
        logs = PolicyLogs(
            X,
            [policy],
            columns=columns,
            behavior=None,
            gamma=1.0,
            duration_unit=duration_unit,
            horizon=None,
            prior_strength=prior_strength,
            regressor=None,
            methods=["dm"],
        )
        candidate = logs.candidate(policy)
        return _rate(candidate, logs.footing(policy).log)


def _rate(candidate: Candidate, log: Transitions) -> float:
    """Return the reward per time of a policy in the process re-estimated from a log."""
    replay = candidate.replay
    counts, followed = replay.counts, (candidate.choice, replay.prior_strength)
    transitions, rewards = policy_process(counts, *followed)
    taken = np.ones(len(replay.triple)) if log.durations is None else log.durations.numbers
    sums = sum_by_code(replay.triple, taken, len(counts.weights))
    durations = policy_process(replace(counts, reward_sums=sums), *followed)[1]
    acts = counts.state_weights > 0
    start = np.where(acts, replay.starts(), 0.0)
    reached = np.flatnonzero(reached_states(transitions, start) & acts)
    among = transitions[reached][:, reached]
    ends = np.flatnonzero(among.sum(axis=1) < 1 - ROUNDING)
    if len(ends):
        state = shown(log.states.label(reached[ends[0]]))
        raise ValueError(
            f"A value per time is that of a process that goes on for ever, but X has episodes that "
            f"end, or lead to states that it never acts in, after state {state}. If records only "
            "break off there, mark their last rows in a boolean column 'truncated', or add the "
            "last observation as a row without an action; else use evaluate_policy."
        )
    of_reached = start[reached] / start[reached].sum()
    return rate_per_time(among, rewards[reached], durations[reached], of_reached)

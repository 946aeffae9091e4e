"""What a policy earns per time where nothing ever ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import ndtri
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.credibility import Outcomes, lacking_variance
from skmdp._evaluation.direct import policy_process
from skmdp._evaluation.influence import influence_of_rows
from skmdp._evaluation.long_run import rate_per_time, reached_states
from skmdp._evaluation.standard_errors import shown_error
from skmdp._log.durations import UNITS
from skmdp._log.episodes import Transitions
from skmdp._messages import shown
from skmdp._typing import Floats, Integers
from skmdp.metrics._candidates import PolicyLogs
from skmdp.metrics._doubts import told_once
from skmdp.metrics._footing import Footing

# Probabilities of what follows sum to one but for rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class ValuePerTime:
    """Long-run reward per unit of time of a policy, with its error.

    Parameters
    ----------
    value : float
        Expected reward per unit of duration, per decision for a log without durations.
    standard_error : float
        Its standard error.
    lower, upper : float
        Ends of the interval, which covers chance only.
    confidence_level : float
        Of the interval.
    duration_unit : str or None
        Unit of durations, ``"decision"`` without durations; None for plain numbers.

    Examples
    --------
    >>> from skmdp.metrics import ValuePerTime
    >>> ValuePerTime(3.0, 0.5, 2.0, 4.0, 0.95, "day")
    3 (2 to 4, 95%) per day
    """

    value: float
    standard_error: float
    lower: float
    upper: float
    confidence_level: float
    duration_unit: str | None

    def __repr__(self) -> str:
        level = f"{self.lower:.4g} to {self.upper:.4g}, {self.confidence_level:.0%}"
        return f"{self.value:.4g} ({level}) per {self.duration_unit or 'unit of duration'}"


@validate_params(
    {
        "duration_unit": [StrOptions(set(UNITS)), None],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
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
    confidence_level: float = 0.95,
    prior_strength: float | str = "capped",
    columns: Mapping[str, Any] | None = None,
) -> ValuePerTime:
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
    confidence_level : float, default=0.95
        Of the two-sided interval.
    prior_strength : float, "auto" or "capped", default="capped"
        As in ``evaluate_policy``.
    columns : mapping of str to str or list of str, default=None
        As in ``evaluate_policy``.

    Returns
    -------
    value : ValuePerTime
        Expected reward per unit of duration, with its interval; per decision, if ``X`` has no
        durations.

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
    of several parts, each counts as often as it is caught there.

    The standard error comes from the influence of each episode on that ratio (the delta method):
    rewards, durations and transitions of its rows, and its start. Below 20 episodes that of each
    row counts, as rows of one episode are independent where states are Markov; of a single episode,
    that its start is the one there is. As for ``evaluate_policy``, it includes what few rows cannot
    show of the spread of rewards, and covers chance only.

    References
    ----------
    M. L. Puterman, "Markov decision processes", Wiley (1994), chapter 11: the ratio, and relative
    values. S. Asmussen and P. W. Glynn, "Stochastic simulation", Springer (2007): errors of ratios.

    Examples
    --------
    Paid 10 every 7 days, or 20 every 30 days:

    >>> import pandas as pd
    >>> from skmdp.metrics import value_per_time
    >>> wells = pd.DataFrame({"state": "dry", "action": ["patch", "drill"], "reward": [10, 20],
    ...                       "next_state": "dry", "duration": [7, 30]})
    >>> round(value_per_time("patch", wells, prior_strength=0).value, 3)
    1.429
    >>> round(value_per_time("drill", wells, prior_strength=0).value, 3)
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
            compares_times=True,
            horizon=None,
            prior_strength=prior_strength,
            regressor=None,
            methods=["dm"],
        )
        candidate = logs.candidate(policy)
        footing = logs.footing(policy)
        value, error = _rate(candidate, footing)
        log = footing.log
    half = float(ndtri((1 + confidence_level) / 2)) * error
    unit = "decision" if log.durations is None else log.durations.unit
    return ValuePerTime(value, error, value - half, value + half, confidence_level, unit)


def _rate(candidate: Candidate, footing: Footing) -> tuple[float, float]:
    """Return the reward per time of a policy in the re-estimated process, and its error."""
    replay, log = candidate.replay, footing.log
    counts, followed = replay.counts, (candidate.choice, replay.prior_strength)
    transitions, rewards = policy_process(counts, *followed)
    taken = _durations(log)[footing.entry]
    n_rows = np.ones(len(taken)) if replay.n_rows is None else replay.n_rows
    sums = sum_by_code(replay.triple, n_rows * taken, len(counts.weights))
    durations = policy_process(replace(counts, reward_sums=sums), *followed)[1]
    acts = counts.state_weights > 0
    start = np.where(acts, replay.starts(), 0.0)
    reached = np.flatnonzero(reached_states(transitions, start) & acts)
    among = transitions[reached][:, reached]
    _require_endless(among, reached, log)
    of_reached = start[reached] / start[reached].sum()
    found = rate_per_time(among, rewards[reached], durations[reached], of_reached)
    rates, weights, visits, relative = np.zeros((4, counts.n_states + 1))
    for of_all, of_some in (
        (rates, found.rates),
        (weights, found.weights),
        (visits, found.visits),
        (relative, found.relative_values),
    ):
        of_all[reached] = of_some
    state, led_to = counts.pair_state[counts.triple_pair], counts.next_states
    # A row is about slope r + offset, and falls with its own time.
    slope, per_time = weights[state], -(weights * rates)[state]
    offset = slope * relative[led_to] + visits[state] * rates[led_to]
    offset += per_time * sums / counts.weights
    slope, offset = influence_of_rows(counts, *followed, (slope, offset))
    by_more, _ = influence_of_rows(counts, *followed, (per_time, np.zeros(len(per_time))))
    triple = replay.triple
    of_rows = slope[triple] * replay.rewards + offset[triple]
    of_rows += by_more[triple] * (taken - (sums / counts.weights)[triple])
    lacking = lacking_variance(Outcomes(slope[triple], replay.residuals))
    shown = _error(of_rows, rates[replay.start_codes], candidate)
    return found.value, float(np.hypot(shown, np.sqrt(lacking)))


def _error(of_rows: Floats, starts: Floats, candidate: Candidate) -> float:
    """Return the standard error that episodes show, of fewer than 20 their rows."""
    lengths, n_rows = candidate.replay.lengths, candidate.replay.n_rows
    if lengths is not None and len(lengths) == 1:  # there is no other start
        squares = of_rows**2 if n_rows is None else n_rows * of_rows**2
        return float(np.sqrt(squares.sum()))
    n_episodes = None if lengths is None else len(lengths)
    return shown_error(candidate.replay, of_rows, starts, n_episodes)


def _durations(log: Transitions) -> Floats:
    """Return how long each row takes, (n_rows,), 1 of a log without durations."""
    if log.durations is None:
        return np.ones(len(log.state_codes))
    if log.durations.are_equal:
        return np.full(len(log.state_codes), log.durations.numbers[0])
    return log.durations.numbers


def _require_endless(transitions: Any, reached: Integers, log: Transitions) -> None:
    """Raise if a process ends, or leads to where nothing is known, in a state that it reaches."""
    ends = np.flatnonzero(transitions.sum(axis=1) < 1 - ROUNDING)
    if len(ends):
        state = shown(log.states.label(reached[ends[0]]))
        raise ValueError(
            f"A value per time is that of a process that goes on for ever, but X has episodes that "
            f"end, or lead to states that it never acts in, after state {state}. If records only "
            "break off there, mark their last rows in a boolean column 'truncated', or add the "
            "last observation as a row without an action; else use evaluate_policy."
        )

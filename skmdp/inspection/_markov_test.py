"""A test of whether the state is enough to decide by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted

from skmdp._estimator import MarkovPolicyEstimator
from skmdp._log.episodes import Transitions
from skmdp._log.frames import as_table
from skmdp._log.labels import MISSING, NUMERIC_KINDS, LabelColumn, is_time
from skmdp._log.links import warn_if_unordered
from skmdp._log.reading import read_columns, read_episodes, read_table
from skmdp._log.roles import Roles, default_next_names
from skmdp._messages import quoted, shown
from skmdp._pipelines import transform, unwrap
from skmdp._policy import names_columns, roles_of
from skmdp._typing import Integers
from skmdp.ensemble import PolicyBagging
from skmdp.inspection._advice import share_of_other_advice
from skmdp.inspection._gains import (
    Gain,
    NextState,
    Outcome,
    Reward,
    adjust_for_several,
    join_codes,
    measure_gains,
    previous_codes,
    quantile_codes,
)

# A column of more distinct numbers or times is cut at quantiles.
MOST_LABELS = 10
N_BINS = 5

# What a column may predict, in words, and what to do if it does.
_WORDS = {"next_state": "the next state", "reward": "the reward", "duration": "the duration"}
_ADD = "the state is not enough, add it"
_ADD_LAGS = f"{_ADD} with add_lags"
_IN_STATE = "it is in the state already, but the state is too coarse, make it finer"


@validate_params(
    {
        "tested": [str, "array-like", None],
        "columns": [Mapping, None],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "n_splits": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def markov_test(
    X: Any,
    tested: str | Sequence[str] | None = None,
    *,
    policy: Any = None,
    columns: Mapping[str, Any] | None = None,
    alpha: float = 0.05,
    n_splits: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Test whether anything but state and action predicts the next state and the reward.

    A policy decides by the current state alone. That is enough if the process is Markov: next
    state and reward, and the duration where decisions take time, depend on nothing but state and
    action. The test looks for a further dependence, on the previous state, the previous action, and
    any column that you name.

    Parameters
    ----------
    X : table of shape (n_transitions, n_columns)
        A log with episodes (pandas, polars or pyarrow).
    tested : str or sequence of str, default=None
        Columns to test beside the previous state and the previous action. They should be known
        when the action is taken. Numbers and times of more than 10 different values are cut at
        their quantiles into 5 groups; missing values are a group of their own.
    policy : MarkovPolicyEstimator, PolicyBagging, pipeline or search, default=None
        A policy, fitted or not, that names the columns of ``X``. The states behind a fitted
        pipeline are what it makes of ``X``, while ``tested`` are read from ``X`` itself, so that a
        column may be tested that its transformers coarsen.
    columns : mapping of str to str or list of str, default=None
        What columns of ``X`` are called, by role, as in ``evaluate_policy``; those not named are
        called as ``policy`` says, else by their standard names.
    alpha : float, default=0.05
        Largest probability of a finding on a log without any dependence. Intervals have the level
        1 - alpha.
    n_splits : int, default=5
        Number of folds of whole episodes, at most one for each episode.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds and of the shuffles.

    Returns
    -------
    table : pandas.DataFrame
        One row per tested column: ``column`` (``"previous state"``, ``"previous action"``, then
        ``tested``), ``next_state_gain`` with ``next_state_lower`` and ``next_state_upper``, the
        same of ``reward`` and of ``duration`` (NaN for a log without rewards, without durations or
        with equal ones), ``p_value`` (the smallest of all outcomes, adjusted for all tests made),
        ``advice_change`` (the share of the rows whose
        advice would change with the column in the state; NaN where nothing was found, or without
        rewards), ``verdict`` (in words).

    Raises
    ------
    ValueError, TypeError
        If the log cannot be read, has no episodes or only one, or lacks a column; if a column is
        tested that is the action or the episode, or tells what followed; if the members of an
        ensemble make states of their own.
    NotFittedError
        If a pipeline is not fitted.

    Warns
    -----
    UserWarning
        If the rows of episodes do not follow one another, so that the previous ones are not known.

    See Also
    --------
    skmdp.preprocessing.add_lags : Makes columns of previous states and actions.
    skmdp.model_selection.EpisodeKFold : Choose between state columns by what a policy earns.

    Notes
    -----
    With z the column, P(s'|s,a) is estimated from counts that are shrunk towards the shares of all
    next states (an end is one of them), and P(s'|s,a,z) from counts shrunk towards P(s'|s,a). Both
    are shrunk by the amount that best predicts every training row from the others. The gain of a
    row held out is log P(s'|s,a,z) - log P(s'|s,a), in nats: 0 for a useless column, 0.69 for one
    that settles which of two equally likely states follows. For rewards, means are shrunk
    likewise, and the gain is the reduction of the squared error, divided by twice the variance of
    the rewards of a pair; for durations the same with their logarithms. Gains are averaged over
    rows. Error and test (Student's t, one-sided)
    are those of a ratio of sums over episodes, because the rows of one episode are dependent.

    A further split also changes the smoothing. So the column is compared with itself, shuffled
    among the rows of each pair, as well, and the less favorable of the two comparisons counts. A
    gain below 0.001 counts as none. P-values are adjusted by Holm's method, and with k episodes
    that differ from 0 none is below 2^-k. All this is cautious: none of 4400
    simulated logs without a dependence, of 30 and of 300 episodes, gave a finding. In 200 episodes
    of ten rows among five states and two actions, a column that decides a fifth of what is
    otherwise left to chance was found in two of three logs, and one
    that decides 30 % in nearly all.

    On a finding, make the column part of the state (``state=[...]``; for a previous one, with
    :func:`skmdp.preprocessing.add_lags`), or, if it is part of what an encoder makes states of,
    make these finer. Then test again, and look at what a policy earns on other episodes: more
    columns mean fewer rows for each state, so a small gain may not be worth it. Where it is not
    known when deciding, treat values as those of an incomplete state.

    A finding changes the advice where, among rows of one state and value of the column, another
    action is better than the one advised by the state alone: by reward and discounted value of what
    followed, beyond chance at the level ``alpha`` over all such comparisons, and with the ``gamma``
    of ``policy`` (0.9 without one, at most 0.99 for a decision of mean duration). Else it is only
    known to change values. Actions that were logged too seldom there to be compared count as no
    change.

    The absence of a finding proves nothing. A column can be found only where the same state, action
    and value of it occur several times, in several episodes, so in a log with few rows per pair
    only strong effects are found. The test does not see two columns that predict only together,
    longer histories, or a cause that no column holds. A column that predicts need not be a cause: a
    finding on the reward may stem from states that a coarse state puts together. A column of the
    state itself adds nothing, unless a pipeline coarsens it. Rows whose next state is unknown
    (truncated) take no part. Mark episodes that a limit cut off (``terminated``, ``truncated``),
    because otherwise their ends depend on the steps before, and that is found.

    O(n_transitions log n_transitions) for each column and outcome.

    References
    ----------
    T. W. Anderson and L. A. Goodman, "Statistical inference about Markov chains", Annals of
    Mathematical Statistics 28 (1957): the likelihood ratio of a longer history. C. Shi, R. Wan,
    R. Song, W. Lu and L. Leng, "Does the Markov decision process fit the data: testing for the
    Markov property in sequential decision making", ICML (2020). S. Geisser, "The predictive sample
    reuse method with applications", Journal of the American Statistical Association 70 (1975):
    shrinking by how well left-out rows are predicted. S. Holm, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    Examples
    --------
    A lift goes up and down between three floors. The floor alone does not tell its direction:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmdp.inspection import markov_test
    >>> rng = np.random.default_rng(0)
    >>> ride = rng.integers(4, size=(50, 1)) + np.arange(10)
    >>> floors = np.array(["ground", "first", "second", "first"])[ride % 4]
    >>> log = pd.DataFrame({"episode": np.repeat(np.arange(50), 10), "state": floors.ravel()})
    >>> log = log.assign(action="wait", terminated=False, noise=rng.normal(size=500), reward=0.0)
    >>> table = markov_test(log, "noise", random_state=0)
    >>> table[["column", "p_value"]].round(3)
                column  p_value
    0   previous state      0.0
    1  previous action      1.0
    2            noise      1.0
    >>> round(float(table["next_state_gain"][0]), 1)
    0.3
    >>> print(table["verdict"][0])
    predicts the next state: the state is not enough, add it with add_lags; no sign that the advice
    would change, but values do

    With the previous floor in the state there is nothing left to find:

    >>> from skmdp.preprocessing import add_lags
    >>> lagged = add_lags(log, "state")
    >>> better = {"state": ["state", "state_lag1"]}
    >>> markov_test(lagged, columns=better, random_state=0)["verdict"].unique().tolist()
    ['no sign that it adds to the state']
    """
    transformers, estimator = unwrap(policy)
    if not (policy is None or names_columns(estimator)):
        raise TypeError(
            "policy must be a MarkovPolicyEstimator, a PolicyBagging, or a pipeline or search that "
            f"ends in one, got {type(estimator).__name__}. Columns of other names are said with "
            "columns={...}."
        )
    _require_common_states(estimator)
    roles = Roles.of(columns or {}, None if policy is None else roles_of(estimator))
    names = [tested] if isinstance(tested, str) else list(() if tested is None else tested)
    _require_known_before(names, roles)
    beside = read_columns(X, names)
    for transformer in transformers:
        check_is_fitted(transformer)
    X = transform(transformers, X)
    unit = _parameter_of(estimator, "duration_unit")
    log, episodes = _read_by_episode(X, roles, beside, unit)
    predictors = [
        previous_codes(log.state_codes, episodes),
        previous_codes(log.action_codes, episodes),
        *(_groups(column) for column in log.beside),
    ]
    pairs = join_codes(log.state_codes, log.action_codes)
    gains = {
        name: measure_gains(
            outcome,
            pairs,
            predictors,
            episodes=episodes,
            n_splits=n_splits,
            rng=check_random_state(random_state),
        )
        for name, outcome in _outcomes(log).items()
    }
    gamma = _parameter_of(estimator, "gamma")

    def other_advice(j: int) -> float:
        return share_of_other_advice(log, predictors[j], episodes, gamma=gamma, alpha=alpha)

    return _findings(
        ["previous state", "previous action", *names],
        _remedies(names, roles, transformers),
        gains,
        other_advice,
        alpha=alpha,
        n_episodes=int(episodes[-1]) + 1,
    )


def _remedies(names: Sequence[str], roles: Roles, transformers: Sequence[Any]) -> list[str]:
    """Say what to do where the previous state, the previous action or a tested column predicts."""
    in_state = set(roles.state)
    for step in transformers:
        if hasattr(type(step), "__skmdp_measured__"):
            in_state |= set(step.__skmdp_measured__())
    return [_ADD_LAGS, _ADD_LAGS, *(_IN_STATE if name in in_state else _ADD for name in names)]


def _parameter_of(estimator: Any, name: str) -> Any:
    """Return a parameter of a policy, that of its members, or the usual one."""
    if isinstance(estimator, PolicyBagging):
        estimator = unwrap(estimator.estimator)[1]
    return getattr(estimator, name, getattr(MarkovPolicyEstimator(), name))


def _require_common_states(estimator: Any) -> None:
    """Raise for an ensemble whose members make states of their own."""
    if not isinstance(estimator, PolicyBagging):
        return
    member = estimator.estimators_[0] if hasattr(estimator, "estimators_") else estimator.estimator
    if unwrap(member)[0]:
        raise TypeError(
            "The members of this ensemble make states of their own, so that it has no states to "
            "test. Test those of one member of the fitted ensemble: markov_test(X, "
            "policy=ensemble.estimators_[0])."
        )


def _require_known_before(names: Sequence[str], roles: Roles) -> None:
    """Raise for a column that is given in any case, or that tells what followed."""
    next_states = roles.next_state or default_next_names(roles.state)
    taken = dict.fromkeys(next_states, "next_state")
    for role in ("action", "reward", "episode", "terminated", "truncated", "duration"):
        taken |= dict.fromkeys(roles.names(role), role)
    for name in names:
        if name in taken:
            raise ValueError(
                f"Column {shown(name)} has the role {taken[name]!r}: it is given in any case, or "
                "tells what followed, so there is nothing to test. Name columns that were known "
                "before the action was taken."
            )


def _read_by_episode(
    X: Any, roles: Roles, beside: Sequence[LabelColumn], duration_unit: str | None
) -> tuple[Transitions, Integers]:
    """Read a log sorted by the labels of its episodes, and the rank of each row's, (n,).

    So folds and shuffles are the same however the episodes lie in the table.
    """
    frame = as_table(X)
    if roles.episode is None or not set(roles.episode) <= set(frame.columns):
        raise ValueError(
            "The test needs episodes, but the table has no column "
            f"{quoted(roles.names('episode')) or None} for the role 'episode': the previous row is "
            "that of the same episode, and errors come from comparing episodes. Name the column: "
            "columns={'episode': ...}."
        )
    if any(len(column.codes) != len(frame) for column in beside):
        raise ValueError(
            f"The pipeline made {len(frame)} rows of {len(beside[0].codes)}, so that columns of X "
            "cannot be set beside them. Test them with transformers that keep every row."
        )
    beside = [read_episodes(frame, roles.episode), *beside]
    log = read_table(frame, roles, beside=beside, duration_unit=duration_unit)
    episode, *others = log.beside
    ranks = np.unique(episode.values, return_inverse=True)[1][episode.codes]
    if ranks.max() == 0:
        raise ValueError(
            f"The test compares episodes, but column {quoted(roles.episode)} holds only one, "
            f"{shown(episode.label_at(0))}, with rows that count. At least 2 are needed, and some "
            "30 for it to find much."
        )
    warn_if_unordered(log, stacklevel=4)
    order = np.argsort(ranks, kind="stable")
    by_rank = replace(
        log,
        state_codes=log.state_codes[order],
        action_codes=log.action_codes[order],
        next_codes=log.next_codes[order],
        rewards=None if log.rewards is None else log.rewards[order],
        durations=None if log.durations is None else log.durations[order],
        beside=tuple(column.take(order) for column in others),
    )
    return by_rank, ranks[order]


def _groups(column: LabelColumn) -> Integers:
    """Return labels as codes, (n,): continuous ones cut at quantiles, the missing one last."""
    distinct, ranks = np.unique(column.values, return_inverse=True)
    codes = np.append(ranks, len(distinct))[column.codes]  # MISSING looks up the last entry
    if (column.kind in NUMERIC_KINDS or is_time(column.kind)) and len(distinct) > MOST_LABELS:
        present = column.codes != MISSING
        codes[present] = quantile_codes(codes[present], N_BINS)
    return codes


def _outcomes(log: Transitions) -> dict[str, Outcome]:
    """Return what is to be predicted: the next state, an end being one more, reward and duration.

    Durations that are all the same are no outcome.
    """
    n_states = len(log.states)
    ends = log.next_codes == MISSING
    outcomes: dict[str, Outcome] = {
        "next_state": NextState(np.where(ends, n_states, log.next_codes), n_states + 1)
    }
    if log.rewards is not None:
        outcomes["reward"] = Reward(log.rewards)
    if log.durations is not None and not log.durations.are_equal:
        outcomes["duration"] = Reward(np.log(log.durations.numbers))
    return outcomes


def _findings(
    labels: Sequence[str],
    remedies: Sequence[str],
    gains: dict[str, list[Gain]],
    other_advice: Callable[[int], float],
    *,
    alpha: float,
    n_episodes: int,
) -> pd.DataFrame:
    """Put the gains of all columns, (n_columns,) for each outcome, in a table and in words.

    ``other_advice`` tells of a column in which share of the rows it would change the advice.
    """
    table = pd.DataFrame({"column": labels})
    for outcome in _WORDS:
        found = gains.get(outcome, [Gain(np.nan, np.nan, np.nan)] * len(labels))
        bounds = np.array([gain.interval(1 - alpha, n_episodes) for gain in found])
        table[f"{outcome}_gain"] = [gain.mean for gain in found]
        table[f"{outcome}_lower"], table[f"{outcome}_upper"] = bounds.T
    p_values = np.array([[gain.p_value for gain in found] for found in gains.values()])
    adjusted = adjust_for_several(p_values.ravel()).reshape(p_values.shape)
    predicted = [
        [_WORDS[name] for name, found in zip(gains, column, strict=True) if found]
        for column in (adjusted < alpha).T
    ]
    table["p_value"] = adjusted.min(axis=0)
    # Without rewards no action is better than another.
    has_rewards = "reward" in gains
    table["advice_change"] = [
        other_advice(j) if found and has_rewards else np.nan for j, found in enumerate(predicted)
    ]
    table["verdict"] = list(map(_verdict, predicted, remedies, table["advice_change"]))
    return table


def _verdict(predicted: Sequence[str], remedy: str, other_advice: float) -> str:
    """Say what a column predicts that the state does not tell, and what to do about it."""
    if not predicted:
        return "no sign that it adds to the state"
    *others, last = predicted
    words = f"{', '.join(others)} and {last}" if others else last
    finding = f"predicts {words}: {remedy}"
    if np.isnan(other_advice):
        return finding
    if other_advice == 0:
        return f"{finding}; no sign that the advice would change, but values do"
    return f"{finding}; the advice would change in {other_advice:.1%} of the rows"

"""Off-policy evaluation: estimate from a log what another policy would have earned."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from itertools import combinations
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skmdp._evaluation.direct import DirectEstimate
from skmdp._evaluation.replay import METHODS, MODEL_METHODS, Candidate, standard_error
from skmdp._messages import quoted
from skmdp._scoring import warn_if_unsupported
from skmdp.metrics._candidates import PolicyLogs
from skmdp.metrics._intervals import (
    ENOUGH_EFFECTIVE_EPISODES,
    Estimates,
    estimate_with_errors,
    require_enough_resamples,
)

# Standard errors (of a difference) beyond which two methods contradict each other.
DISAGREEMENT = 2.0

_CONSTRAINTS: dict[str, Any] = {
    "methods": ["array-like", StrOptions(set(METHODS))],
    "gamma": [Interval(Real, 0, 1, closed="both")],
    "horizon": [Interval(Integral, 1, None, closed="left"), None],
    "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    "prior_strength": [Interval(Real, 0, None, closed="left"), StrOptions({"auto", "capped"})],
    "behavior": [str, "array-like", None],
    "columns": [Mapping, None],
    "n_bootstrap": [Interval(Integral, 0, None, closed="left")],
    "random_state": ["random_state"],
    "n_jobs": [Integral, None],
}


@dataclass(frozen=True, eq=False, repr=False)
class PolicyEvaluation:
    """Estimates of the reward of a policy, one for each method.

    Parameters
    ----------
    table : pandas.DataFrame
        What ``to_frame`` returns.
    behavior_value : float
        Reward per episode of the logged policy, by the direct method: the mean return of the log
        where no episode is cut off.
    behavior_standard_error : float
        Its standard error.
    n_episodes : int or None
        Number of episodes; None for a log without them.
    zero_weight_share : float
        Share of the episodes in which the policy would not have decided as was logged at some
        step, so that importance methods do not use them. NaN where none was asked for.
    untried_share : float
        Share of the policy's decisions for which the log has no row of the action in the state.
    thin_share : float
        Share of the policy's decisions for which the log has fewer than five rows, the untried
        ones included. Where it is not small, intervals are too narrow, because so few rows do not
        show how much outcomes vary.
    outlasting_share : float or None
        Share of the policy's episodes longer than any logged one; None without episodes, or for a
        horizon that is shorter than the longest of them.
    horizon : int
        Number of steps for which the policy is followed at most: those to the end, unless all
        episodes are cut off or a number was asked for.
    cut_share : float
        Share c of the episodes that were cut off, 0 without episodes. Unless a horizon was asked
        for, so much of the direct estimate is the reward over the steps of the longest episode,
        the rest that to the end.
    gamma : float
        Discount.
    prior_strength : float
        Shrinkage used by the direct method.
    confidence_level : float
        Of all intervals.

    Examples
    --------
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.metrics import evaluate_policy
    >>> log = make_search_log(500, length=4, random_state=0)
    >>> result = evaluate_policy("behavior", log, methods="dm")
    >>> bool(abs(result.behavior_value - log["reward"].sum() / 500) < 1e-6)
    True
    """

    table: InitVar[pd.DataFrame]
    behavior_value: float
    behavior_standard_error: float
    n_episodes: int | None
    zero_weight_share: float
    untried_share: float
    thin_share: float
    outlasting_share: float | None
    horizon: int
    cut_share: float
    gamma: float
    prior_strength: float
    confidence_level: float
    _table: pd.DataFrame = field(init=False)

    def __post_init__(self, table: pd.DataFrame) -> None:
        object.__setattr__(self, "_table", table)

    def __repr__(self) -> str:
        shown = ["method", "value", "lower", "upper", "difference_lower", "difference_upper"]
        return (
            f"{self.to_frame()[shown].to_string(index=False, float_format='{:.4g}'.format)}\n"
            f"Logged policy: {self.behavior_value:.4g} (+- {self.behavior_standard_error:.2g}); "
            f"{self.n_episodes} episodes; of the decisions {self.untried_share:.1%} untried, "
            f"{self.thin_share:.1%} with fewer than 5 rows."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the estimates as a table.

        Returns
        -------
        table : pandas.DataFrame
            One row per method: ``method``, ``value``, ``standard_error``, ``lower``, ``upper``,
            ``effective_sample_size`` (NaN for ``"dm"``); ``difference`` to the logged policy with
            ``difference_standard_error``, ``difference_lower`` and ``difference_upper``;
            ``n_episodes``, ``zero_weight_share``, ``untried_share`` and ``thin_share``, which all
            methods share; the logged policy by the same method (``behavior_value``,
            ``behavior_standard_error``).

        Examples
        --------
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.metrics import evaluate_policy
        >>> result = evaluate_policy("behavior", load_climb(), methods="dm")
        >>> result.to_frame()[["method", "value", "difference"]].round(3)
          method  value  difference
        0     dm  0.736         0.0
        """
        return self._table.copy()


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def evaluate_policy(
    policy: Any,
    X: Any,
    *,
    methods: Sequence[str] | str = ("dm", "wis", "wdr"),
    gamma: float = 1.0,
    horizon: int | None = None,
    confidence_level: float = 0.95,
    prior_strength: float | str = "capped",
    behavior: Any = None,
    columns: Mapping[str, Any] | None = None,
    n_bootstrap: int = 200,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
) -> PolicyEvaluation:
    """Estimate what a policy would have earned, with intervals, from a log that others made.

    Parameters
    ----------
    policy : estimator, function, mapping, Series, scalar or "behavior"
        A fitted estimator, or a pipeline or search that ends in one; any object with ``predict``,
        or a function, that answers an action for each row of a table of states; a mapping or
        Series from state to action (a state of several columns is a tuple); one action that is
        taken everywhere; or ``"behavior"``, the logged policy.
    X : table of shape (n_transitions, n_columns)
        A log of other episodes than the policy was learned from, with rewards.
    methods : str or sequence of str, default=("dm", "wis", "wdr")
        Any of the methods below.
    gamma : float, default=1.0
        Discount in [0, 1].
    horizon : int, default=None
        Number of steps to follow the policy. None: to the end, where all episodes of ``X`` end.
        Where a share c of them is cut off, values are (1 - c) times those to the end plus c times
        those over as many steps as the longest episode has, for the logged policy likewise. The
        importance methods weigh each episode as it was logged; a given number of steps leaves out
        what it earned later.
    confidence_level : float, default=0.95
        Of the two-sided intervals.
    prior_strength : float, "auto" or "capped", default="capped"
        How far the direct method shrinks thin pairs towards what is logged in their state.
        ``"auto"`` takes the strength that best predicts the rows of ``X`` from each other, as
        ``score`` does: right for choosing between policies, but it pulls the estimate towards the
        logged behavior. ``"capped"`` takes no more than 1.
    behavior : str or array-like of shape (n_transitions,), default=None
        Probability with which each logged action was taken in its state, or the column that holds
        it. None estimates it from the counts of ``X``. Propensities with which ``X`` would come
        about in less than one of a million logs are refused.
    columns : mapping of str to str or list of str, default=None
        What columns of ``X`` are called, by role: ``{"state": ["age", "stage"], "reward":
        "benefit"}``. Roles are the parameters of ``MarkovPolicyEstimator`` that name columns.
        Those not named are called as the policy says, else by their standard names. States of a
        policy behind transformers are what these make of ``X``, whatever is said here.
    n_bootstrap : int, default=200
        Number of resamples of whole episodes behind the intervals of all methods but ``"dm"``, at
        least 20 and at least 1 / (1 - ``confidence_level``); 0 leaves these intervals out.
    random_state : int, RandomState instance or None, default=None
        Seed of the resamples.
    n_jobs : int, default=None
        Number of resamples drawn at the same time, as in joblib.

    Returns
    -------
    result : PolicyEvaluation
        Estimates, intervals, and the shares that tell how far they are supported.

    Raises
    ------
    ValueError, TypeError
        If the log cannot be read, has no rewards, or no episodes for a method that needs them; if
        a propensity is not in (0, 1], or propensities contradict the actions that were logged; if
        there are too few resamples for an interval; if a mapping lacks a state that ``X`` acts in,
        or answers an action that ``X`` never logs.

    Warns
    -----
    UserWarning
        If an importance method rests on fewer than 30 effective episodes, so that it has no
        interval; if ``X`` lacks more than 1 % of the policy's decisions; if the share of its
        episodes that would outlast every logged one, times 1 - c, is more than 10 %; if methods
        disagree by more than their errors; if ``X`` is the log that the policy was learned from, or
        holds pieces of its episodes; if there is one episode only, so that there is no interval; if
        a mapping names states that ``X`` never acts in; if the rows of episodes do not follow one
        another.

    See Also
    --------
    compare_policies : Several policies on the same episodes.
    policy_scorer : A scorer for ``GridSearchCV``.

    Notes
    -----
    With rho_t = pi(a_t|s_t) / b(a_t|s_t), W_t = rho_0 ... rho_t (carried on past the end of an
    episode), G the return of an episode, n episodes:

    ========== ===================================================================
    ``dm``     direct method: the policy's value in the process re-estimated from ``X``
    ``is``     mean of W G, with W the last weight of the episode
    ``wis``    sum of W G / sum of W
    ``pdis``   sum over t of gamma^t mean of W_t r_t
    ``pdwis``  sum over t of gamma^t sum of W_t r_t / sum of W_t
    ``dr``     dm + sum over t of gamma^t mean of W_t (r_t + gamma V(s_{t+1}) - Q(s_t, a_t))
    ``wdr``    the same with the mean weighted as in ``pdwis``
    ========== ===================================================================

    Rely on ``dm`` if states are Markov and the log has rows of the policy's decisions. Its standard
    error is analytic: it comes from the influence of each episode (below 20 episodes, of each row)
    on the estimate, with c taken for known. It is too small where only a few rows support the
    policy's decisions (``untried_share``, ``thin_share``).

    The importance methods need no Markov states. But few logged episodes agree with a
    deterministic policy to their end (``effective_sample_size``), and those that do are no fair
    sample of the episodes that the policy would meet. On random processes with a goal, the 95 %
    interval of ``wis`` never held the truth, that of ``dm`` did in 95 % of the logs. No method
    notices a hidden confounder: a cause of both action and outcome that is not in the log.

    ``dm`` with its error costs about three fits, 200 resamples of wis and wdr five to ten. In a
    resample the weights are normalised anew, and dr and wdr follow to first order what estimating
    V and Q anew would give. Below 30 effective episodes resamples do not tell how much chance there
    is, so all methods but ``dm`` then have no interval.

    References
    ----------
    D. Precup, R. S. Sutton and S. Singh, "Eligibility traces for off-policy policy evaluation",
    ICML (2000): is, wis, pdis. P. S. Thomas, "Safe reinforcement learning", PhD thesis, University
    of Massachusetts (2015): pdwis. N. Jiang and L. Li, "Doubly robust off-policy value evaluation
    for reinforcement learning", ICML (2016): dr. P. S. Thomas and E. Brunskill, "Data-efficient
    off-policy policy evaluation for reinforcement learning", ICML (2016): wdr. S. Mannor et al.,
    "Bias and variance approximation in value function estimates", Management Science 53 (2007):
    dm and its error.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.metrics import evaluate_policy
    >>> policy = MarkovPolicyEstimator(gamma=0.99, min_count=20, handle_unknown="most_frequent")
    >>> policy = policy.fit(make_search_log(5000, length=4, random_state=0))
    >>> test = make_search_log(1000, length=4, random_state=1)
    >>> result = evaluate_policy(policy, test, methods="dm")
    >>> table = result.to_frame()
    >>> bool(table["difference_lower"][0] > 0)  # better than the log, beyond doubt by chance
    True

    A guideline on the same log:

    >>> usual = test.groupby("state")["action"].agg(lambda actions: actions.mode()[0])
    >>> guideline = evaluate_policy(usual, test, methods="dm").to_frame()
    >>> bool(guideline["value"][0] < table["value"][0])
    True
    """
    names = method_names(methods)
    require_enough_resamples(names, n_bootstrap, confidence_level)
    logs = PolicyLogs(X, [policy], columns, behavior, gamma, horizon, prior_strength)
    target = logs.candidate(policy)
    log = target.replay
    # The logged policy in the same states, so that both are followed from the same starts.
    logged = Candidate(log, None)
    found = estimate_with_errors([target, logged], names, n_bootstrap, random_state, n_jobs)
    z = float(ndtri((1 + confidence_level) / 2))
    of_logged = found.interval(1, z)
    columns_of_table = {
        **_columns(found, 0, z, against=1),
        "behavior_value": of_logged["value"],
        "behavior_standard_error": of_logged["standard_error"],
    }
    result = PolicyEvaluation(
        pd.DataFrame(columns_of_table),
        behavior_value=logged.estimate.value,
        behavior_standard_error=standard_error(*logged.influence, log.episode, found.n_episodes),
        n_episodes=found.n_episodes,
        zero_weight_share=columns_of_table["zero_weight_share"],
        untried_share=target.estimate.uncovered,
        thin_share=target.estimate.thin,
        outlasting_share=target.estimate.outlasting,
        horizon=log.horizon.steps,
        cut_share=log.cut_share,
        gamma=gamma,
        prior_strength=log.prior_strength,
        confidence_level=confidence_level,
    )
    _warn(result, target.estimate, is_training_log=logs.is_training_log(policy))
    return result


@validate_params({**_CONSTRAINTS, "policies": [Mapping]}, prefer_skip_nested_validation=True)
def compare_policies(
    policies: Mapping[str, Any],
    X: Any,
    *,
    methods: Sequence[str] | str = ("dm", "wis", "wdr"),
    gamma: float = 1.0,
    horizon: int | None = None,
    confidence_level: float = 0.95,
    prior_strength: float | str = "capped",
    behavior: Any = None,
    columns: Mapping[str, Any] | None = None,
    n_bootstrap: int = 200,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Compare policies on one log: the same episodes, the same resamples.

    Parameters
    ----------
    policies : mapping of str to policy
        Policies as in ``evaluate_policy`` by name; ``"behavior"`` is one. The first is what the
        others are compared with.
    X : table of shape (n_transitions, n_columns)
        As in ``evaluate_policy``.
    methods : str or sequence of str, default=("dm", "wis", "wdr")
        As in ``evaluate_policy``.
    gamma : float, default=1.0
        Discount in [0, 1].
    horizon : int, default=None
        Number of steps to follow the policies.
    confidence_level : float, default=0.95
        Of the two-sided intervals.
    prior_strength : float, "auto" or "capped", default="capped"
        As in ``evaluate_policy``.
    behavior : str or array-like of shape (n_transitions,), default=None
        As in ``evaluate_policy``.
    columns : mapping of str to str or list of str, default=None
        As in ``evaluate_policy``.
    n_bootstrap : int, default=200
        As in ``evaluate_policy``.
    random_state : int, RandomState instance or None, default=None
        Seed of the resamples.
    n_jobs : int, default=None
        Number of resamples drawn at the same time.

    Returns
    -------
    table : pandas.DataFrame
        One row per method and policy: ``method``, ``policy``, then the columns of
        ``PolicyEvaluation.to_frame``, with differences to the first policy instead of the logged
        one. Errors of differences are paired: what moves both policies alike cancels.

    Raises
    ------
    ValueError, TypeError
        As in ``evaluate_policy``; if two estimators name the columns of ``X`` differently.

    Warns
    -----
    UserWarning
        If there is one episode only; if policies are judged in different states, as those of two
        pipelines.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.metrics import compare_policies
    >>> learned = MarkovPolicyEstimator(gamma=0.99, min_count=20, handle_unknown="most_frequent")
    >>> learned = learned.fit(make_search_log(5000, length=4, random_state=0))
    >>> test = make_search_log(1000, length=4, random_state=1)
    >>> table = compare_policies({"today": "behavior", "learned": learned}, test, methods="dm")
    >>> table["policy"].tolist()
    ['today', 'learned']
    >>> bool(table["difference_lower"][1] > 0)
    True
    """
    if not policies:
        raise ValueError("policies is empty; hand in at least one policy by name.")
    names = method_names(methods)
    require_enough_resamples(names, n_bootstrap, confidence_level)
    logs = PolicyLogs(X, list(policies.values()), columns, behavior, gamma, horizon, prior_strength)
    candidates = [logs.candidate(policy) for policy in policies.values()]
    is_logged = candidates[0].choice is None
    if not is_logged and len({id(candidate.replay) for candidate in candidates}) > 1:
        warnings.warn(
            "The policies are judged in different states, each in its own: behind a pipeline in "
            "those that it makes, else in the columns of X. Where states leave out what matters, "
            "differences between policies are wrong. Trust only differences between policies with "
            "the same states, and try the others on new data.",
            UserWarning,
            stacklevel=2,
        )
    candidates, against = _references(candidates)
    found = estimate_with_errors(candidates, names, n_bootstrap, random_state, n_jobs)
    z = float(ndtri((1 + confidence_level) / 2))
    parts = []
    for j, name in enumerate(policies):
        part = _columns(found, j, z, against=against[j])
        parts.append(pd.DataFrame({"method": part.pop("method"), "policy": name, **part}))
    table = pd.concat(parts)
    order = pd.Categorical(table["method"], categories=names, ordered=True).argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _references(candidates: list[Candidate]) -> tuple[list[Candidate], list[int]]:
    """Return the candidates, and the position of the one that each is compared with.

    That is the first one. If that is the logged policy, a candidate with states of its own is
    compared with the logged policy in these states, which is added at the end: what both are
    followed over is then the same.
    """
    if candidates[0].choice is not None:
        return candidates, [0] * len(candidates)
    logged = {id(candidates[0].replay): 0}
    added: list[Candidate] = []
    for candidate in candidates:
        if id(candidate.replay) not in logged:
            logged[id(candidate.replay)] = len(candidates) + len(added)
            added.append(Candidate(candidate.replay, None))
    return [*candidates, *added], [logged[id(candidate.replay)] for candidate in candidates]


def _columns(found: Estimates, j: int, z: float, against: int) -> dict[str, Any]:
    """Return the estimates of candidate j and of its difference to another one, by method."""
    candidate, names = found.candidates[j], list(found.names)
    sizes, unused = np.full(len(names), np.nan), np.nan
    weighted = np.array([name != "dm" for name in names])
    if weighted.any():
        sizes[weighted] = candidate.weights.effective_sample_size()
        unused = candidate.weights.share_without_weight()
    difference = found.interval(j, z, against=against)
    return {
        "method": names,
        **found.interval(j, z),
        "effective_sample_size": sizes,
        "difference": difference.pop("value"),
        **{f"difference_{key}": column for key, column in difference.items()},
        "n_episodes": found.n_episodes,
        "zero_weight_share": unused,
        "untried_share": candidate.estimate.uncovered,
        "thin_share": candidate.estimate.thin,
    }


def method_names(methods: Sequence[str] | str) -> list[str]:
    """Return the names of methods as a list, all different and known."""
    names = [methods] if isinstance(methods, str) else list(methods)
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"methods must be different ones of {quoted(METHODS)}, got {quoted(names)}."
        )
    return names


def _warn(result: PolicyEvaluation, direct: DirectEstimate, *, is_training_log: bool) -> None:
    """Say once each what makes the estimates doubtful, and what to do."""
    warn_if_unsupported(direct.uncovered, direct.extrapolated, stacklevel=5)
    if is_training_log:
        warnings.warn(
            "X holds the very transitions that the policy was learned from, so the estimate is "
            "optimistic: the policy was chosen on these rows. Evaluate it on other episodes.",
            UserWarning,
            stacklevel=4,
        )
    table = result.to_frame()
    size = table["effective_sample_size"].min()
    few = table.loc[table["effective_sample_size"] < ENOUGH_EFFECTIVE_EPISODES, "method"].tolist()
    if few:
        warnings.warn(
            f"Only {size:.1f} of {result.n_episodes} episodes (effective) speak for the policy, so "
            f"the estimates of {quoted(few)} have no interval. Rely on 'dm', or log more episodes.",
            UserWarning,
            stacklevel=4,
        )
    speaking = table[~table["method"].isin(few)].dropna(subset=["value", "standard_error"])
    for one, other in combinations(speaking.itertuples(), 2):
        error = np.hypot(one.standard_error, other.standard_error)
        if _apart(one, other, direct) > DISAGREEMENT * error:
            warnings.warn(
                f"Methods disagree by more than their errors: {one.method} says "
                f"{one.value:.4g} +- {one.standard_error:.2g}, {other.method} "
                f"{other.value:.4g} +- {other.standard_error:.2g}. Either the states are not "
                "Markov, which misleads dm (add columns), or the episodes that follow the "
                "policy to their end are no fair sample, which misleads the others (see "
                "effective_sample_size).",
                UserWarning,
                stacklevel=4,
            )
            return


def _apart(one: Any, other: Any, direct: DirectEstimate) -> float:
    """Return how far apart the values of two methods are, for one and the same question.

    An importance method sees episodes as far as they were logged. Where some were cut off, its
    answer may lie anywhere between following the policy so long and to its end.
    """
    difference = float(other.value - one.value)
    if (one.method in MODEL_METHODS) == (other.method in MODEL_METHODS):
        return abs(difference)
    if other.method in MODEL_METHODS:
        difference = -difference
    least, most = (end - direct.value for end in direct.ends)
    return abs(difference - float(np.clip(difference, least, most)))

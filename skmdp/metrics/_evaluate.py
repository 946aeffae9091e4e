"""Off-policy evaluation: estimate from a log what another policy would have earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params

from skmdp._evaluation import replay
from skmdp._messages import quoted
from skmdp.metrics._candidates import PolicyLogs
from skmdp.metrics._doubts import told_once, warn_of_doubts
from skmdp.metrics._intervals import require_enough_resamples
from skmdp.metrics._judging import Judgement, judge
from skmdp.metrics._policies import BEHAVIOR
from skmdp.metrics._result import PolicyEvaluation

METHODS = ("fqe", *replay.METHODS)

_CONSTRAINTS: dict[str, Any] = {
    "methods": ["array-like", StrOptions(set(METHODS)), None],
    "gamma": [Interval(Real, 0, 1, closed="both")],
    "horizon": [Interval(Integral, 1, None, closed="left"), None],
    "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    "prior_strength": [Interval(Real, 0, None, closed="left"), StrOptions({"auto", "capped"})],
    "behavior": [str, "array-like", None],
    "columns": [Mapping, None],
    "regressor": [HasMethods(["fit", "apply"]), None],
    "n_bootstrap": [Interval(Integral, 0, None, closed="left")],
    "random_state": ["random_state"],
    "n_jobs": [Integral, None],
}


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def evaluate_policy(
    policy: Any,
    X: Any,
    *,
    methods: Sequence[str] | str | None = None,
    gamma: float = 1.0,
    horizon: int | None = None,
    confidence_level: float = 0.95,
    prior_strength: float | str = "capped",
    behavior: Any = None,
    columns: Mapping[str, Any] | None = None,
    regressor: Any = None,
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
        If an importance method rests on fewer than 30 effective episodes; if ``X`` lacks more than
        1 % of the policy's decisions; if the share of its episodes that would outlast every logged
        one, times 1 - c, is more than 10 %; if methods disagree by more than their errors; if ``X``
        is the log that the policy was learned from, or holds pieces of its episodes; if there is
        one episode only, so that there is no interval; if a mapping names states that ``X`` never
        acts in; if the rows of episodes do not follow one another.

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

    ``dm`` with its error costs about three fits, 200 resamples of wis and wdr about 15 to 20. In a
    resample the weights are normalised anew, and dr and wdr follow to first order what estimating
    Q anew would give; with a handful of effective episodes that may be too narrow.

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
    with told_once():
        logs = PolicyLogs(
            X,
            [policy],
            methods=method_names(methods),
            columns=columns,
            behavior=behavior,
            gamma=gamma,
            horizon=horizon,
            prior_strength=prior_strength,
            regressor=regressor,
        )
        require_enough_resamples(logs.methods, n_bootstrap, confidence_level)
        (found,) = judge(
            logs,
            [policy],
            BEHAVIOR,
            z=float(ndtri((1 + confidence_level) / 2)),
            n_bootstrap=n_bootstrap,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        result = _result(logs, found, gamma, confidence_level)
        warn_of_doubts(result, found, is_training_log=logs.is_training_log(policy))
    return result


def _result(
    logs: PolicyLogs, found: Judgement, gamma: float, confidence_level: float
) -> PolicyEvaluation:
    table = pd.DataFrame(found.rows).rename(
        columns=lambda name: name.replace("reference", "behavior")
    )
    shared = found.rows[0]
    outlasting = [one.outlasting for one in (found.fitted, found.direct) if one is not None]
    return PolicyEvaluation(
        table,
        behavior_value=found.behavior_value,
        behavior_standard_error=found.behavior_standard_error,
        n_episodes=logs.n_episodes,
        zero_weight_share=shared["zero_weight_share"],
        untried_share=shared["untried_share"],
        thin_share=shared["thin_share"],
        unsupported_share=shared["unsupported_share"],
        effective_rows=shared["effective_rows"],
        relevant_columns=None if found.fitted is None else logs.relevant_columns,
        outlasting_share=outlasting[0],
        horizon=logs.horizon,
        cut_share=logs.cut_share,
        gamma=gamma,
        prior_strength=logs.prior_strength_used,
        confidence_level=confidence_level,
    )


@validate_params({**_CONSTRAINTS, "policies": [Mapping]}, prefer_skip_nested_validation=True)
def compare_policies(
    policies: Mapping[str, Any],
    X: Any,
    *,
    methods: Sequence[str] | str | None = None,
    gamma: float = 1.0,
    horizon: int | None = None,
    confidence_level: float = 0.95,
    prior_strength: float | str = "capped",
    behavior: Any = None,
    columns: Mapping[str, Any] | None = None,
    regressor: Any = None,
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
    listed = list(policies.values())
    with told_once():
        logs = PolicyLogs(
            X,
            listed,
            methods=method_names(methods),
            columns=columns,
            behavior=behavior,
            gamma=gamma,
            horizon=horizon,
            prior_strength=prior_strength,
            regressor=regressor,
        )
        require_enough_resamples(logs.methods, n_bootstrap, confidence_level)
        found = judge(
            logs,
            listed,
            listed[0],
            z=float(ndtri((1 + confidence_level) / 2)),
            n_bootstrap=n_bootstrap,
            random_state=random_state,
            n_jobs=n_jobs,
        )
    rows = [
        {"method": method, "policy": name, **judgement.rows[i]}
        for i, method in enumerate(logs.methods)
        for name, judgement in zip(policies, found, strict=True)
    ]
    return pd.DataFrame(rows).drop(columns=["reference_value", "reference_standard_error"])


def method_names(methods: Sequence[str] | str | None) -> list[str] | None:
    """Return the names of methods as a list, all different and known; None as it is."""
    if methods is None:
        return None
    names = [methods] if isinstance(methods, str) else list(methods)
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"methods must be different ones of {quoted(METHODS)}, got {quoted(names)}."
        )
    return names

"""Off-policy evaluation: estimate from a log what another policy would have earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skmdp._evaluation import candidate
from skmdp._log.durations import UNITS
from skmdp._messages import quoted
from skmdp.metrics._candidates import PolicyLogs
from skmdp.metrics._doubts import told_once, warn_of_doubts, warn_of_unsupported
from skmdp.metrics._intervals import require_enough_resamples
from skmdp.metrics._judging import Judgement, judge
from skmdp.metrics._policies import BEHAVIOR
from skmdp.metrics._result import PolicyEvaluation

METHODS = ("fqe", *candidate.METHODS)

_CONSTRAINTS: dict[str, Any] = {
    "methods": ["array-like", StrOptions(set(METHODS)), None],
    "gamma": [Interval(Real, 0, 1, closed="both")],
    "duration_unit": [StrOptions(set(UNITS)), None],
    "horizon": [Interval(Integral, 1, None, closed="left"), None],
    "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    "prior_strength": [Interval(Real, 0, None, closed="left"), StrOptions({"auto", "capped"})],
    "behavior": [str, "array-like", None],
    "columns": [Mapping, None],
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
    duration_unit: str | None = None,
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
    policy : estimator, function, mapping, Series, table, scalar or "behavior"
        A fitted estimator of this package, or a pipeline, a search, a ``FrozenEstimator`` or an
        ensemble of such; any other object with ``predict``, as a classifier of actions, or with
        ``predict_proba`` and ``classes_``; a function that answers actions for a table of states,
        or a table of probabilities with a column for each action; a mapping or Series from state to
        action, or from state to a mapping of actions to probabilities (a state of several columns
        is a tuple); a pandas.DataFrame of probabilities with states as its index and actions as its
        columns; one action that is taken everywhere; or ``"behavior"``, the logged policy.
    X : table of shape (n_transitions, n_columns)
        A log of other episodes than the policy was learned from, with rewards. Of a lazy table
        (see ``MarkovPolicyEstimator.fit``) rows that agree are counted on its engine, and where
        ``gamma`` or cut records (see ``horizon``) make time matter, they must agree in the duration
        as well; round durations that hardly ever agree. It is judged by ``"dm"`` alone. Where it
        has episodes and steps, the former are dealt to lots, as ``MarkovPolicyCV`` does it; the
        standard error is then that by episode, as lots show it, up to chance (some 5 %).
    methods : str or sequence of str, default=None
        Any of the methods below. None: for policies on states that are labels ``("dm", "wis",
        "wdr")``, or ``"dm"`` alone where they are followed for a time (see ``horizon``), about
        which episodes of times of their own say little; for those
        that act on measurements, themselves or by an encoder, ``("fqe", "dm")``, where the policy
        makes no states ``"fqe"`` alone; for a lazy table ``"dm"``.
    gamma : float, default=1.0
        Discount in [0, 1], per decision. Where ``X`` has durations, per unit of time: what comes
        after decisions that took the time t together is discounted by gamma^t.
    duration_unit : {"second", "minute", "hour", "day", "week"}, default=None
        Unit of time that ``gamma`` is for, where durations are times. None: the largest of day,
        hour and second of which the median duration of ``X`` has at least one.
    horizon : int, default=None
        Number of steps to follow the policy. None: to the end, where all episodes of ``X`` end.
        Where a share c of them is cut off, values are (1 - c) times those to the end plus c times
        those over as many steps as the longest episode has, for the logged policy likewise. Where
        ``X`` has durations that differ, the latter are those within the time T of the longest
        episode instead: each row of duration d goes on with probability exp(-d / T), so the time is
        exponentially distributed with mean T. The methods that only weigh episodes (``"is"``,
        ``"wis"``, ``"pdis"``, ``"pdwis"``) take each as it was logged, for as long as it was: it
        shows nothing of what came after, which is a third of a value that is discounted by
        exp(-t / T). A given number of steps leaves out what it earned later.
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
        policy behind transformers are what these make of ``X``, whatever is said here. ``"fqe"``
        looks at the columns that are named here or that the policy reads, and, where none are
        named, also at every column ``c`` of ``X`` that has a column ``"next_" + c`` beside it. Name
        all that may matter, even if the policy does not look at it, and nothing that is known only
        after the decision.
    regressor : estimator, default=None
        Forest or tree of scikit-learn, a regressor of several targets with ``apply``, whose leaves
        say for ``"fqe"`` which rows are alike; cloned for each action. None:
        ``ExtraTreesRegressor(20, min_samples_leaf=2, max_features=1.0, random_state=0)``.
    n_bootstrap : int, default=200
        Number of resamples of whole episodes behind the intervals of all methods but ``"dm"`` and
        ``"fqe"``, at least 20 and at least 1 / (1 - ``confidence_level``); 0 leaves these intervals
        out.
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
        If the log cannot be read, has no rewards, or no episodes for a method that needs them; if a
        unit is named of durations that are numbers; if rewards are too large to be squared, above
        1e70, or all too small, below 1e-70; if a propensity is not in (0, 1], or propensities
        contradict the actions that were logged; if there are too few resamples for an interval; if
        a mapping lacks a state that ``X`` acts in; if a hand-written policy answers an action that
        ``X`` never logs, with ``"fqe"`` any policy; if probabilities do not sum to one; if ``X``
        lacks a column that the policy was learned from; if a method that needs states is asked of a
        policy that makes none of measurements.

    Warns
    -----
    UserWarning
        If an importance method rests on fewer than 30 effective episodes, so that it has no
        interval; if ``X`` has fewer than 20 episodes, so that ``"fqe"`` has none; if ``X`` lacks
        more than 1 % of the policy's decisions, or logs more than 10 % of them less than 1 time in
        20 where the policy takes them; if the share of its episodes that would outlast every logged
        one, times 1 - c, is more than 10 %; if ``"fqe"`` says of the logged policy what its
        episodes do not show, or knows of no episodes; if methods disagree by more than their
        errors; if ``X`` is the log that the policy was learned from, or holds pieces of its
        episodes; if there is one episode only, so that there is no interval; if a mapping names
        states that ``X`` never acts in; if the rows of episodes do not follow one another; if what
        is given as next states is none, as where columns are swapped; if more episodes are there
        twice, under different names, than are alike by chance.

    See Also
    --------
    compare_policies : Several policies on the same episodes.
    policy_scorer : A scorer for ``GridSearchCV``.

    Notes
    -----
    With rho_t = pi(a_t|s_t) / b(a_t|s_t), W_t = rho_0 ... rho_t (carried on past the end of an
    episode), G the return of an episode, n episodes:

    ========== ===================================================================
    ``fqe``    fitted Q evaluation: the policy's value in a process among the rows
               of ``X``, where those of one action that are alike in what was
               measured are averaged, as the leaves of a forest tell it
    ``dm``     direct method: the policy's value in the process re-estimated from ``X``
    ``is``     mean of W G, with W the last weight of the episode
    ``wis``    sum of W G / sum of W
    ``pdis``   sum over t of gamma^t mean of W_t r_t
    ``pdwis``  sum over t of gamma^t sum of W_t r_t / sum of W_t
    ``dr``     dm + sum over t of gamma^t mean of W_t (r_t + gamma V(s_{t+1}) - Q(s_t, a_t))
    ``wdr``    the same with the mean weighted as in ``pdwis``
    ========== ===================================================================

    Where ``X`` has durations, gamma^t stands for gamma to the power of the time that has passed
    since the episode began, and the gamma of a row for gamma to the power of its duration. ``dr``
    and ``wdr`` answer the question that ``dm`` answers. The other methods that weigh episodes
    answer another one where records of different times were cut off.

    All policies are judged on one footing, the logged one included: the same episodes, starts and
    number of steps; with ``"fqe"`` on the same measurements, by all others each in its own states,
    the logged policy likewise. An interval covers chance only, not what is wrong with the states or
    the columns, and no method notices a hidden confounder: a cause of both action and outcome that
    is not in the log. One such cause is looked for, time: where what rows are paid or lead to
    changes over the episodes or over their steps, ``drift_gain`` is what that may account for in
    the difference: by two-way effects of up to 30 blocks of time, plus two of their standard
    errors, where a test finds that all rewards drift; or, if that is more, by those of 2 to 60
    blocks in each state with 20 rows or more, and in states with fewer where actions came and went
    alike, of 100 rows together (with ``"fqe"``, in regions where that is so), in which rewards and
    the worth of next states are looked at together, or rewards alone if more is seen so, plus what
    half or a quarter as many blocks would miss of it, or three times what rows next to each other
    in time in a state show that all blocks miss, or two times what rows of one date or place show
    of that, in a state or in all, or of times next to each other where they are few, plus two times
    what blocks add to the error.
    ``is_better`` asks for more than that. Episodes are looked at in the order in which ``X`` holds
    them and in that of their first steps; of steps that are dates, in the latter alone, so that it
    does not matter how rows lie, unless all episodes begin at one date. Rows are looked at by
    their place in the episode and, where they differ between episodes, by the steps themselves:
    dates, or numbers that count on; and by both at once, in up to 60 blocks of time within up to 6
    of places. The episodes of a lazy table are in the order of their first steps, those that start
    at one step in that of their labels, in 40 blocks, and nothing is looked at by both at once. By
    dates, rows next to each other and of one date are compared in 1000 bins of time, or at each
    date if there are no more than 1000 rows for each distinct transition; and those of up to 1000
    groups of episodes that start one after the other. Changes faster than that go unnoticed, and
    so does an order of time that neither rows nor steps tell.

    Rows that lead on to others belong to episodes. Where nothing tells to which, errors are those
    of rows, which are too small if what the states do not hold makes the rows of an episode alike:
    then ``is_better`` is False, and ``lacks_episodes`` says so, as where each row of a table in
    memory is an episode that goes on in the next row. A lazy table tells it by episodes and steps.

    Rely on ``fqe`` where states are made of measurements. ``dm`` looks at these states, and is far
    too high where they put together what has different consequences. On simulated processes with
    known truth, ``dm`` called 34 of 40 policies better beyond doubt that are worse than the logged
    one; ``is_better`` by ``fqe`` was True for none of 68 (``tests/benchmarks/test_judge.py``). It
    is too high where a policy goes where no logged episode went. ``unsupported_share`` shows a part
    of these cases: it counts decisions beyond all rows of the action, and those that are hardly
    ever logged. The error of ``fqe`` comes from the influence of each episode. Missing measurements
    and labels are no trouble; labels count in sorted order. What is grown for a log serves all
    policies that are judged on it, in later calls as well.

    Rely on ``dm`` if states are Markov and the log has rows of the policy's decisions. Its standard
    error is analytic: it comes from the influence of each episode (below 20 episodes, of each row)
    on the estimate, with c taken for known. It is too small where only a few rows support the
    policy's decisions (``untried_share``, ``thin_share``).

    All errors allow for rewards that are too rare to show in few rows: if one in 250 takes up an
    offer, mostly none of 40 does, and their rewards of 0 without any spread prove nothing.

    The importance methods need no Markov states. But few logged episodes agree with a
    deterministic policy to their end (``effective_sample_size``), and those that do are no fair
    sample of the episodes that the policy would meet. On random processes with a goal, the 95 %
    interval of ``wis`` never held the truth, that of ``dm`` did in 95 % of the logs.

    ``dm`` with its error costs about five fits, 200 resamples of wis and wdr five to ten. In a
    resample the weights are normalised anew, and dr and wdr follow to first order what estimating
    V and Q anew would give. Below 30 effective episodes resamples do not tell how much chance there
    is, so the methods that weigh episodes then have no interval.

    References
    ----------
    D. Precup, R. S. Sutton and S. Singh, "Eligibility traces for off-policy policy evaluation",
    ICML (2000): is, wis, pdis. P. S. Thomas, "Safe reinforcement learning", PhD thesis, University
    of Massachusetts (2015): pdwis. N. Jiang and L. Li, "Doubly robust off-policy value evaluation
    for reinforcement learning", ICML (2016): dr. P. S. Thomas and E. Brunskill, "Data-efficient
    off-policy policy evaluation for reinforcement learning", ICML (2016): wdr. S. Mannor et al.,
    "Bias and variance approximation in value function estimates", Management Science 53 (2007):
    dm and its error. D. Ernst, P. Geurts and L. Wehenkel, "Tree-based batch mode reinforcement
    learning", JMLR 6 (2005): fqe, there for the best policy. H. Le, C. Voloshin and Y. Yue, "Batch
    policy learning under constraints", ICML (2019): fqe.

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
    >>> result.is_better  # as far as chance goes
    True

    A guideline on the same log:

    >>> usual = test.groupby("state")["action"].agg(lambda actions: actions.mode()[0])
    >>> guideline = evaluate_policy(usual, test, methods="dm").to_frame()
    >>> bool(guideline["value"][0] < table["value"][0])
    True
    """
    with told_once():
        logs, (found,) = _judge(
            X,
            [policy],
            BEHAVIOR,
            methods=methods,
            columns=columns,
            behavior=behavior,
            gamma=gamma,
            duration_unit=duration_unit,
            horizon=horizon,
            confidence_level=confidence_level,
            prior_strength=prior_strength,
            regressor=regressor,
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
        mean_return=logs.mean_return,
        n_episodes=logs.n_episodes,
        lacks_episodes=logs.lacks_episodes,
        leads_astray=logs.leads_astray,
        holds_copies=logs.holds_copies,
        zero_weight_share=shared["zero_weight_share"],
        untried_share=shared["untried_share"],
        thin_share=shared["thin_share"],
        unsupported_share=shared["unsupported_share"],
        unsupported_cost=np.nan if found.fitted is None else logs.unsupported_cost(found.fitted),
        effective_rows=shared["effective_rows"],
        relevant_columns=None if found.fitted is None else logs.relevant_columns,
        outlasting_share=outlasting[0],
        horizon=logs.horizon,
        cut_share=logs.cut_share,
        unknown_time_share=logs.unknown_time_share,
        drift_gain=shared["drift_gain"],
        horizon_time=logs.horizon_time,
        duration_unit=logs.duration_unit,
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
    duration_unit: str | None = None,
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
    methods : str or sequence of str, default=None
        As in ``evaluate_policy``. None: what suits all of the policies.
    gamma : float, default=1.0
        Discount in [0, 1], as in ``evaluate_policy``.
    duration_unit : {"second", "minute", "hour", "day", "week"}, default=None
        As in ``evaluate_policy``.
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
    regressor : estimator, default=None
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
        one, and at last ``is_better``, ``horizon_time`` and ``duration_unit`` as in
        ``PolicyEvaluation``: whether the policy is better than the first one, by the method that
        decides, and what all rows share (NaN and None where decisions are counted). Errors of
        differences are paired: what moves both policies alike cancels. Where the states of two
        policies differ, both are followed in those of the row's policy for the difference: it may
        then be another than that of the two values.

    Raises
    ------
    ValueError, TypeError
        As in ``evaluate_policy``; if two estimators name the columns of ``X`` differently.

    Warns
    -----
    UserWarning
        If there is one episode only, or with ``"fqe"`` fewer than 20; if ``X`` hardly ever takes
        more than 10 % of a policy's decisions where the policy takes them.

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
        logs, found = _judge(
            X,
            listed,
            listed[0],
            methods=methods,
            columns=columns,
            behavior=behavior,
            gamma=gamma,
            duration_unit=duration_unit,
            horizon=horizon,
            confidence_level=confidence_level,
            prior_strength=prior_strength,
            regressor=regressor,
            n_bootstrap=n_bootstrap,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        warn_of_unsupported(list(policies), found)
    rows = [
        {"method": method, "policy": name, **judgement.rows[i]}
        for i, method in enumerate(logs.methods)
        for name, judgement in zip(policies, found, strict=True)
    ]
    table = pd.DataFrame(rows).drop(columns=["reference_value", "reference_standard_error"])
    time = np.nan if logs.horizon_time is None else logs.horizon_time
    claims = [_result(logs, one, gamma, confidence_level).is_better for one in found]
    return table.assign(
        is_better=table["policy"].map(dict(zip(policies, claims, strict=True))),
        horizon_time=time,
        duration_unit=logs.duration_unit,
    )


def _judge(
    X: Any,
    policies: Sequence[Any],
    reference: Any,
    *,
    methods: Sequence[str] | str | None,
    confidence_level: float,
    n_bootstrap: int,
    random_state: int | np.random.RandomState | None,
    n_jobs: int | None,
    **asked: Any,
) -> tuple[PolicyLogs, list[Judgement]]:
    """Read a log for some policies, and judge these beside a reference; ``asked`` says how."""
    logs = PolicyLogs(X, policies, methods=method_names(methods), **asked)
    require_enough_resamples(logs.methods, n_bootstrap, confidence_level)
    found = judge(
        logs,
        policies,
        reference,
        z=float(ndtri((1 + confidence_level) / 2)),
        n_bootstrap=n_bootstrap,
        random_state=random_state,
        n_jobs=n_jobs,
    )
    return logs, found


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

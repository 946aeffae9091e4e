"""Evaluation as scikit-learn's searches ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from skmdp._pipelines import transform, unwrap
from skmdp._policy import names_columns
from skmdp.metrics._evaluate import evaluate_policy, method_names


def policy_scorer(
    method: str = "dm",
    *,
    gamma: float = 1.0,
    duration_unit: str | None = None,
    horizon: int | None = None,
    prior_strength: float | str = "auto",
    columns: Mapping[str, Any] | None = None,
    confidence_level: float = 0.95,
    lower_bound: bool = False,
    n_bootstrap: int = 200,
    random_state: int | np.random.RandomState | None = 0,
) -> Callable[..., float]:
    """Make a scorer for ``GridSearchCV`` and the like out of ``evaluate_policy``.

    Parameters
    ----------
    method : str, default="dm"
        Method of ``evaluate_policy``. ``"fqe"`` grows its forest once for each content of a fold.
    gamma : float, default=1.0
        Discount in [0, 1], as in ``evaluate_policy``.
    duration_unit : {"second", "minute", "hour", "day", "week"}, default=None
        As in ``evaluate_policy``. None chooses one for each log that is scored.
    horizon : int, default=None
        Number of steps to follow the policy.
    prior_strength : float, "auto" or "capped", default="auto"
        As in ``evaluate_policy``; ``"auto"`` is the better criterion.
    columns : mapping of str to str or list of str, default=None
        As in ``evaluate_policy``.
    confidence_level : float, default=0.95
        Of the two-sided interval whose lower end is taken.
    lower_bound : bool, default=False
        Whether to score by the lower end of the interval instead of the estimate.
    n_bootstrap : int, default=200
        Resamples behind that lower end, for other methods than ``"dm"``.
    random_state : int, RandomState instance or None, default=0
        Seed of the resamples.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X)`` returns a float, higher is better. With the defaults it is what
        the estimator's own ``score`` returns where states are labels.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.metrics import policy_scorer
    >>> from skmdp.model_selection import EpisodeKFold
    >>> log = make_search_log(6000, length=4, random_state=0)
    >>> policy = MarkovPolicyEstimator(min_count=40, handle_unknown="most_frequent")
    >>> scores = {
    ...     lower: cross_val_score(
    ...         policy, log, cv=EpisodeKFold(3), scoring=policy_scorer(lower_bound=lower))
    ...     for lower in (False, True)
    ... }
    >>> bool((scores[True] < scores[False]).all())
    True
    """
    (method,) = method_names(method) or [method]
    return partial(
        _score_policy,
        methods=method,
        gamma=gamma,
        duration_unit=duration_unit,
        horizon=horizon,
        prior_strength=prior_strength,
        columns=columns,
        confidence_level=confidence_level,
        n_bootstrap=n_bootstrap if lower_bound and method != "dm" else 0,
        random_state=random_state,
        column="lower" if lower_bound else "value",
    )


def _score_policy(estimator: Any, X: Any, _y: Any = None, *, column: str, **options: Any) -> float:
    """Score as scikit-learn asks for it; a table holds its actions itself, so _y is not used."""
    return float(evaluate_policy(estimator, X, **options).to_frame()[column].iloc[0])


def judge_encodings(estimator: Any, X: Any, y: Any = None) -> dict[str, float]:
    """Judge a policy on all accounts: the ``scoring`` of a search over encodings.

    Parameters
    ----------
    estimator : fitted MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        The policy to judge.
    X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
        The log to judge on, other episodes than those learned from.
    y : array-like of shape (n_transitions,), default=None
        The logged actions, after a fit with ``y``.

    Returns
    -------
    scores : dict
        ``"score"``: value in the policy's own states, as ``score`` gives it for labels; ``"fqe"``:
        value on the measurements that states are made of, over the same number of steps;
        ``"unsupported"``: share of the decisions that ``X`` hardly ever takes where the policy
        takes them; ``"n_states"``: number of states, of an ensemble the mean of its members. Where
        states are labels, ``"fqe"`` is the score, and ``"unsupported"`` the share of the decisions
        that ``X`` lacks.

    Raises
    ------
    TypeError
        If the estimator has no states.

    See Also
    --------
    skmdp.model_selection.most_trusted : The ``refit`` that chooses by these figures.

    Notes
    -----
    For logs in tables: scikit-learn routes no rewards and episodes to a function, so policies that
    were fitted on features with rewards cannot be scored by it. The states of measurements are
    known where ``StateEncoder`` makes them; its forest is grown once for each content of a fold.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.metrics import judge_encodings
    >>> judge_encodings(MarkovPolicyEstimator().fit(load_climb()), load_climb())["n_states"]
    5.0
    """
    transformers, policy = unwrap(estimator)
    n_states = _count_states(policy)
    found = policy.__skmdp_score__(transform(transformers, X), y)
    return {
        "score": found.own,
        "fqe": found.on_measurements,
        "unsupported": found.lacking,
        "n_states": n_states,
    }


def _count_states(estimator: Any) -> float:
    """Return the number of states of a fitted policy, of an ensemble's members the mean."""
    _, policy = unwrap(estimator)
    if names_columns(policy) and hasattr(policy, "estimators_"):
        return float(np.mean([_count_states(member) for member in policy.estimators_]))
    if not hasattr(policy, "states_"):
        raise TypeError(
            f"{type(policy).__name__} has no states to count; judge_encodings is for policies, "
            "such as MarkovPolicyEstimator and PolicyBagging, and pipelines that end in one."
        )
    return float(len(policy.states_))

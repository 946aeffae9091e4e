"""Evaluation as scikit-learn's searches ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from skmdp.metrics._evaluate import evaluate_policy, method_names


def policy_scorer(
    method: str = "dm",
    *,
    gamma: float = 1.0,
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
        Method of ``evaluate_policy``.
    gamma : float, default=1.0
        Discount in [0, 1].
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
        the estimator's own ``score`` returns.

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

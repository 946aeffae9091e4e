"""Tables of every action of every state: what is known of it, and how sure the advice is."""

from __future__ import annotations

from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from sklearn.utils._param_validation import Interval, validate_params

from skmdp.inspection._pairs import ADMISSIBLE, Pairs, pairs_of


def action_table(policy: Any) -> pd.DataFrame:
    """Return all logged actions of all states of a policy as a table.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy.

    Returns
    -------
    table : pandas.DataFrame
        One row per state and action, sorted by both: the actions that were logged, and where
        ``untried="uniform"`` lets others be chosen, the first of these. The state column(s) as in
        ``policy_table``; ``action``; ``is_advised``; ``n`` (weighted rows) and ``share`` (of the
        rows of the state); ``mean_reward`` (NaN without rows); ``q`` (expected discounted reward of
        taking the action and following the advice afterwards) with its ``standard_error`` (NaN for
        untried actions); ``gap`` (Q of the advised action minus that of this one);
        ``is_admissible``, and ``why_not``, empty where it is.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, or an ensemble whose members make states of their own.

    See Also
    --------
    policy_table : One row per state.
    q_intervals : Intervals of Q, and how sure it is that the advised action is best.
    explain : One state in words.

    Notes
    -----
    The standard error says how much Q would change with another log of as many rows of each state
    and action, by chance in what follows them. It assumes Markov states, and that the advice stays.
    With ``pessimism`` Q is lowered by errors of its own, and the table shows it so. Of an ensemble
    all numbers are means over the members.

    With more than 500 states, sums over them are taken by random projections, so that standard
    errors are known to some 5 %. Each of 200 projections costs about one evaluation of the policy.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import action_table
    >>> policy = MarkovPolicyEstimator(gamma=0.5, min_count=2).fit(load_climb())
    >>> table = action_table(policy)
    >>> table.loc[table["state"] == "mid", ["action", "n", "q", "gap", "why_not"]].round(3)
      action    n      q    gap                    why_not
    6  climb  2.0  0.250  0.000
    7   sink  1.0  0.062  0.188  fewer rows than min_count
    """
    pairs = pairs_of(policy, errors=True)
    return pairs.frame(pairs.state, figures_of(pairs))


def figures_of(pairs: Pairs) -> dict[str, Any]:
    """Return what is known of some pairs, column by column."""
    return {
        "action": pairs.labels(pairs.action),
        "is_advised": pairs.is_advised,
        "n": pairs.n,
        "share": pairs.share,
        "mean_reward": pairs.reward,
        "q": pairs.q,
        "standard_error": pairs.error,
        "gap": pairs.gap,
        "is_admissible": pairs.why_not == ADMISSIBLE,
        "why_not": pairs.why_not,
    }


def optimal_actions(policy: Any) -> pd.DataFrame:
    """Return all actions that are as good as the advised one, rounding aside.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy.

    Returns
    -------
    table : pandas.DataFrame
        One row per state with logged actions, sorted. The state column(s) as in ``policy_table``,
        ``action`` (advised), ``n_optimal`` and ``optimal_actions`` (a tuple of the actions that tie
        within the tolerance of the policy, sorted).

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, or an ensemble whose members make states of their own.

    Notes
    -----
    Actions tie whose Q differ by no more than rounding, or 1e-9 of the range of Q. Actions whose
    difference is small but real do not: see :func:`q_intervals` for how sure it is. Where untried
    actions may be chosen, the first of them stands for all.

    Examples
    --------
    Both actions pay the same in the end, so the more frequent one is advised:

    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.inspection import optimal_actions
    >>> log = pd.DataFrame({"state": "start", "action": ["left", "right", "right"],
    ...                     "next_state": None, "reward": 1.0})
    >>> optimal_actions(MarkovPolicyEstimator().fit(log))
       state action  n_optimal optimal_actions
    0  start  right          2   (left, right)
    """
    pairs = pairs_of(policy)
    tied = pairs.take(pairs.ties)
    labels = tied.actions.python_labels(tied.action)
    bounds = [*tied.first.tolist(), len(labels)]
    groups = [tuple(labels[start:end]) for start, end in pairwise(bounds)]
    advised = pairs.take(pairs.is_advised)
    optimal = pd.Series(groups, dtype=object)
    figures = {
        "action": pairs.labels(advised.action),
        "n_optimal": np.diff(bounds),
        "optimal_actions": optimal,
    }
    return pairs.frame(advised.state, figures)


@validate_params(
    {"policy": "no_validation", "level": [Interval(Real, 0, 1, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def q_intervals(policy: Any, *, level: float = 0.95) -> pd.DataFrame:
    """Return intervals of Q, and how likely the advised action is the best one.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy.
    level : float, default=0.95
        Probability that an interval holds the true value.

    Returns
    -------
    table : pandas.DataFrame
        One row per state and action that may be chosen, sorted. The state column(s) as in
        ``policy_table``, ``action``, ``is_advised``, ``n`` (weighted rows), ``q`` with
        ``standard_error``, ``lower`` and ``upper``, and the same for all rows of a state:
        ``probability_best`` (that the advised action is at least as good as all others; 1 where
        there is no other).

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, or an ensemble whose members make states of their own.
    ValueError
        If ``level`` is not between 0 and 1.

    Notes
    -----
    By how much each row of the log moves each Q gives its standard error, and that of the
    difference between two actions, whose errors have much in common: what follows them, and
    with ``prior_strength`` the rows of the state. Intervals are those of a normal distribution.
    The probability is the product over the other actions of that of each being worse, which is a
    lower bound, as their differences from the advised one are positively correlated; it is NaN
    where an action that was never logged may be chosen.

    Intervals cover chance only. They take the advice as given, while it was chosen because its
    values looked large, so that these are too large on average where rows are few; and they assume
    Markov states. :func:`skmdp.metrics.evaluate_policy` judges the whole policy on other rows.

    Costs as much as ``action_table``.

    References
    ----------
    S. Mannor, D. Simester, P. Sun and J. N. Tsitsiklis, "Bias and variance approximation in value
    function estimates", Management Science 53 (2007), for the variance of values that are computed
    from estimated transitions.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.inspection import q_intervals
    >>> log = pd.DataFrame({"state": "ill", "action": ["a"] * 50 + ["b"] * 50, "next_state": None})
    >>> log["reward"] = [1, 1, 1, 0, 0] * 10 + [1, 1, 0, 0, 0] * 10  # cured or not
    >>> table = q_intervals(MarkovPolicyEstimator().fit(log))
    >>> table[["action", "q", "standard_error", "probability_best"]].round(3)
      action    q  standard_error  probability_best
    0      a  0.6           0.069             0.979
    1      b  0.4           0.069             0.979
    """
    pairs = pairs_of(policy, errors=True)
    pairs = pairs.take(pairs.why_not == ADMISSIBLE)
    half = float(ndtri((1 + level) / 2)) * pairs.error
    figures = {
        "action": pairs.labels(pairs.action),
        "is_advised": pairs.is_advised,
        "n": pairs.n,
        "q": pairs.q,
        "standard_error": pairs.error,
        "lower": pairs.q - half,
        "upper": pairs.q + half,
        "probability_best": _probability_best(pairs),
    }
    return pairs.frame(pairs.state, figures)


def _probability_best(pairs: Pairs) -> Any:
    """Return the probability that the advised action of each pair's state is best, (n_pairs,)."""
    gap, error = pairs.gap, pairs.gap_error
    # Without spread a difference is sure; a tie is as good.
    sure = np.where(gap >= -pairs.tolerance[pairs.state], np.inf, -np.inf)
    z = np.divide(gap, error, out=sure, where=error > 0)
    z[np.isnan(error)] = np.nan
    z[pairs.is_advised] = np.inf
    lengths = np.diff(np.append(pairs.first, len(z)))
    return np.repeat(np.multiply.reduceat(ndtr(z), pairs.first), lengths)

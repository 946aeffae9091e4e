"""Tables of the advice of a fitted policy, and of the rows that support it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skmdp._estimation.process import most_logged_pairs
from skmdp._log.index import LabelIndex, index_labels
from skmdp._log.reading import read_state_labels
from skmdp._pipelines import transform, unwrap
from skmdp._policy import Policy, fitted_policy, has_policy, read_states
from skmdp._typing import Integers
from skmdp.ensemble import PolicyBagging
from skmdp.inspection._pairs import members_of, not_a_policy
from skmdp.inspection._ranges import in_measured_units
from skmdp.preprocessing._described import set_apart

_COLUMNS = ("action", "value", "margin", "state_visits", "action_visits", "most_logged_action")


def policy_table(policy: Any) -> pd.DataFrame:
    """Return a fitted policy as a table, one row per state with logged actions.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy.

    Returns
    -------
    table : pandas.DataFrame
        Sorted by state. The state column(s) under their own names (with ``state_`` before a name
        that another column has), then ``action`` (advised), ``value`` (V of the state),
        ``margin`` (Q of the advised action minus the best other one; NaN if there is no other),
        ``state_visits`` and ``action_visits`` (weighted rows of the state, and of the advised
        action in it), ``most_logged_action`` (of the state).

        What a ``StateEncoder`` made is shown as the measurements that it was made of: bins as
        intervals between their borders, other columns of one measurement each as the interval
        from its smallest to its largest value in the log, labels as they were. Columns that are
        made of several measurements together, such as clusters, stay, and are followed by the
        interval of each measurement between the quartiles of the state.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, or an ensemble whose members make states of their own.

    Notes
    -----
    O(number of logged pairs). Where keys must be strings, as in JSON, a state of several columns
    is written as a record: ``policy_table(policy)[["age", "stage", "action"]].to_json(
    orient="records")``.

    Intervals are those of pandas. They can be sorted, and become text with ``astype(str)`` and in
    files; their borders are rounded to be read. ``StateEncoder.describe_states`` has them in full.
    States that other transformers make are shown as they are.

    The table of an ensemble averages over its members; ``most_logged_action`` is that of all of
    their rows.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import policy_table
    >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(load_climb())
    >>> policy_table(policy)[["state", "action", "value", "margin", "action_visits"]].round(3)
        state action  value  margin  action_visits
    0  bottom  climb  0.000   0.000            1.0
    1    high  climb  0.500   0.375            1.0
    2     low  climb  0.125   0.125            2.0
    3     mid  climb  0.250   0.188            2.0
    4     top  climb  1.000   0.000            1.0

    Behind an encoder, states are ranges of what was measured:

    >>> import numpy as np, pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from skmdp.preprocessing import StateEncoder
    >>> log = pd.DataFrame({"heat": np.linspace(0, 90, 400), "action": np.resize([0, 1], 400)})
    >>> log["reward"] = np.where(log["action"] == (log["heat"] > 40), 1.0, -1.0)
    >>> log["next_heat"] = np.nan  # every episode is one decision
    >>> pipe = make_pipeline(
    ...     StateEncoder(state="heat", n_states=4), MarkovPolicyEstimator(state="heat"))
    >>> policy_table(pipe.fit(log))[["heat", "action", "value", "state_visits"]].round(2)
               heat  action  value  state_visits
    0  [-inf, 22.9)       0   1.00         102.0
    1  [22.9, 45.0)       0   0.55          98.0
    2  [45.0, 67.0)       1   1.00          98.0
    3   [67.0, inf)       1   1.00         102.0
    """
    transformers, estimator = unwrap(policy)
    if isinstance(estimator, PolicyBagging):
        policies = [member for member, _ in members_of(estimator, "policy_table")]
        states, answers = _answers_of_ensemble(estimator, policies)
        is_table_form = policies[0].is_table_form
    elif has_policy(estimator):
        own = fitted_policy(estimator)
        states, answers = _answers_of_policy(own)
        is_table_form = own.is_table_form
    else:
        raise not_a_policy(estimator)
    states = in_measured_units(states, transformers, by_position=not is_table_form)
    names = set_apart(list(states), _COLUMNS)
    columns = dict(zip(names, states.values(), strict=True))
    return pd.DataFrame(columns | dict(zip(_COLUMNS, answers, strict=True)))


def _answers_of_policy(policy: Policy) -> tuple[dict[Hashable, Any], tuple[Any, ...]]:
    """Return the states of a policy, and the further columns of its table."""
    mdp, counts = policy.mdp, policy.counts
    acting = mdp.acting_states
    actions = policy.action_codes[acting]
    advised = np.flatnonzero(mdp.pair_action == policy.action_codes[mdp.pair_state])
    q = policy.pair_q_values
    others = q.copy()
    others[advised] = -np.inf
    runner_up = np.maximum.reduceat(others, mdp.first_pairs)
    taken = counts.find_pairs(acting, actions)  # -1 where an untried action is advised
    # One pair stands for all untried actions of a state; where there are several, they tie.
    runner_up = np.where((taken < 0) & (policy.n_untried()[acting] > 1), q[advised], runner_up)
    visits = np.append(counts.pair_weights, 0.0)
    labels = policy.evidence.actions.labels
    return _by_name(policy.evidence.states, acting), (
        labels[actions],
        policy.state_values[acting],
        np.where(np.isneginf(runner_up), np.nan, q[advised] - runner_up),
        counts.state_weights[acting],
        visits[taken],
        labels[counts.pair_action[most_logged_pairs(counts)]],
    )


def _answers_of_ensemble(
    ensemble: PolicyBagging, policies: Sequence[Policy]
) -> tuple[dict[Hashable, Any], tuple[Any, ...]]:
    """Return the states that members act in, and the further columns of the ensemble's table."""
    index, places = index_labels(*(policy.evidence.states.as_columns() for policy in policies))
    is_acting = np.zeros(len(index), dtype=bool)
    logged = np.zeros((len(index), len(ensemble.actions_)))
    for policy, place in zip(policies, places, strict=True):
        is_acting[place[policy.mdp.acting_states]] = True
        columns = np.searchsorted(ensemble.actions_, policy.evidence.actions.labels)
        logged[np.ix_(place, columns)] += policy.visit_counts() / len(policies)
    acting = np.flatnonzero(is_acting)
    states = pd.DataFrame(dict(zip(index.names, index.parts(acting), strict=True)))
    logged, actions = logged[acting], np.searchsorted(ensemble.actions_, ensemble.predict(states))
    q, rows = ensemble.decision_function(states), np.arange(len(acting))
    others = q.copy()
    others[rows, actions] = -np.inf
    runner_up = others.max(axis=1)
    return _by_name(index, acting), (
        ensemble.actions_[actions],
        q[rows, actions],
        np.where(np.isneginf(runner_up), np.nan, q[rows, actions] - runner_up),
        logged.sum(axis=1),
        logged[rows, actions],
        ensemble.actions_[logged.argmax(axis=1)],
    )


def _by_name(states: LabelIndex, acting: Integers) -> dict[Hashable, Any]:
    """Return the columns of some states."""
    return dict(zip(states.names, states.parts(acting), strict=True))


def supported(policy: Any, X: Any) -> pd.DataFrame:
    """Return how many rows of the log support the advice for some states, row by row.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy. The members of an ensemble may make states of their own.
    X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
        States, as in ``predict``: of a pipeline the measurements.

    Returns
    -------
    support : pandas.DataFrame of n_samples rows
        With the index of ``X`` if that is a pandas object. ``action`` (advised), ``action_visits``
        (weighted rows of that action in the state), ``state_visits`` (of the state),
        ``is_admissible`` (whether the action may be chosen there by the fitted model), ``is_known``
        (whether the state was seen in fit, if only as a next state).

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError, ValueError
        As in ``predict``.

    Warns
    -----
    UserWarning
        As in ``predict``.

    Notes
    -----
    O(n_samples + number of logged pairs). Of an ensemble, visits are means over the members, and
    an action is admissible, or a state known, if it is for one of them.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import supported
    >>> policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(load_climb())
    >>> supported(policy, ["low", "nowhere"])
      action  action_visits  state_visits  is_admissible  is_known
    0  climb            2.0           3.0           True      True
    1  climb            0.0           0.0          False     False
    """
    transformers, estimator = unwrap(policy)
    is_ensemble = isinstance(estimator, PolicyBagging)
    if not (is_ensemble or has_policy(estimator)):
        raise not_a_policy(estimator)
    check_is_fitted(estimator)
    table = transform(transformers, X)
    actions = estimator.predict(table)
    answers = [read_state_labels(actions, "action")]
    members = estimator.estimators_ if is_ensemble else [estimator]
    found = []
    for member in members:
        own_transformers, last = unwrap(member)
        own = fitted_policy(last)
        codes, _ = read_states(last, transform(own_transformers, table))
        found.append(own.support(codes, own.evidence.actions.encode(answers)))
    return pd.DataFrame(
        {
            "action": actions,
            "action_visits": np.mean([one.action_visits for one in found], axis=0),
            "state_visits": np.mean([one.state_visits for one in found], axis=0),
            "is_admissible": np.any([one.is_admissible for one in found], axis=0),
            "is_known": np.any([one.is_known for one in found], axis=0),
        },
        index=X.index if isinstance(X, pd.DataFrame | pd.Series) else None,
    )

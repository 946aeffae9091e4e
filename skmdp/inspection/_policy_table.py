"""What a fitted policy advises, and what supports it, as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skmdp._estimation.process import most_logged_pairs
from skmdp._estimator import MarkovPolicyEstimator
from skmdp._log.labels import UNKNOWN

_COLUMNS = ("action", "value", "margin", "state_visits", "action_visits", "most_logged_action")


def policy_table(policy: MarkovPolicyEstimator) -> pd.DataFrame:
    """Return a fitted policy as a table, one row per state with logged actions.

    Parameters
    ----------
    policy : MarkovPolicyEstimator
        A fitted policy.

    Returns
    -------
    table : pandas.DataFrame
        Sorted by state. The state column(s) under their own names (with ``state_`` before a name
        that is one of those below), then ``action`` (advised), ``value`` (V of the state),
        ``margin`` (Q of the advised action minus the best other one; NaN if there is no other),
        ``state_visits`` and ``action_visits`` (weighted rows of the state, and of the advised
        action in it), ``most_logged_action`` (of the state).

    Raises
    ------
    NotFittedError
        If the policy is not fitted.

    Notes
    -----
    O(number of logged pairs).

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
    """
    check_is_fitted(policy)
    mdp, counts = policy.mdp_, policy._evidence.counts
    acting = mdp.acting_states
    actions = policy._policy_codes[acting]
    advised = np.flatnonzero(mdp.pair_action == policy._policy_codes[mdp.pair_state])
    q = policy._pair_q_values
    others = q.copy()
    others[advised] = -np.inf
    runner_up = np.maximum.reduceat(others, mdp.first_pairs)
    taken = counts.find_pairs(acting, actions)  # -1 where an untried action is advised
    # One pair stands for all untried actions of a state; where there are several, they tie.
    n_untried = counts.n_actions - np.diff(np.append(counts.first_pairs, len(counts.pair_state)))
    runner_up = np.where((taken < 0) & (n_untried > 1), q[advised], runner_up)
    visits = np.append(counts.pair_weights, 0.0)
    most_logged = counts.pair_action[most_logged_pairs(counts)]
    index = policy._evidence.states
    states = {}
    for name, part in zip(index.names, index.parts(acting), strict=True):
        label = name
        while label in _COLUMNS or (label != name and label in index.names):
            label = f"state_{label}"
        states[label] = part
    values = (
        policy.actions_[actions],
        policy.state_values_[acting],
        np.where(np.isneginf(runner_up), np.nan, q[advised] - runner_up),
        counts.state_weights[acting],
        visits[taken],
        policy.actions_[most_logged],
    )
    return pd.DataFrame({**states, **dict(zip(_COLUMNS, values, strict=True))})


def supported(policy: MarkovPolicyEstimator, X: Any) -> pd.DataFrame:
    """Return what the log says about the advice for some states, row by row.

    Parameters
    ----------
    policy : MarkovPolicyEstimator
        A fitted policy.
    X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
        States, as in ``predict``.

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
    O(n_samples + number of logged pairs).

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
    codes, columns = policy._read_states(X)
    actions = policy._decide(codes, columns)
    mdp, counts = policy.mdp_, policy._evidence.counts
    pair = counts.find_pairs(codes, actions)  # of an unknown state: none
    # -1 looks up the last entry, which stands for what was never logged.
    visits = np.append(counts.pair_weights, 0.0)
    state_visits = np.append(counts.state_weights, 0.0)[codes]
    may_be_chosen = np.zeros(len(visits), dtype=bool)
    may_be_chosen[counts.find_pairs(mdp.pair_state, mdp.pair_action)] = True
    may_be_chosen[-1] = mdp.uniform_mass is not None  # a pair that stands for all untried ones
    return pd.DataFrame(
        {
            "action": policy.actions_[actions],
            "action_visits": visits[pair],
            "state_visits": state_visits,
            "is_admissible": may_be_chosen[pair] & (state_visits > 0),
            "is_known": codes != UNKNOWN,
        },
        index=X.index if isinstance(X, pd.DataFrame | pd.Series) else None,
    )

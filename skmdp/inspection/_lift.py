"""Where a policy and a log differ, and what each difference is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skmdp._estimation.counts import sum_by_code
from skmdp._estimation.process import most_logged_pairs
from skmdp._log.evidence import gather
from skmdp._log.labels import UNKNOWN
from skmdp._log.reading import read_table
from skmdp._pipelines import transform, unwrap
from skmdp._policy import roles_of
from skmdp._typing import Integers
from skmdp.inspection._pairs import Pairs, pairs_of


def lift(policy: Any, X: Any) -> pd.DataFrame:
    """Return the states where a policy advises other actions than a log takes, by what is gained.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A policy fitted on a table.
    X : table of shape (n_transitions, n_columns)
        A log with the columns of that table; rewards are not needed.

    Returns
    -------
    table : pandas.DataFrame
        One row per state in which ``X`` takes other actions than the advised one, the largest
        ``total_gain`` first. The state column(s) as in ``policy_table``; ``action`` (advised) and
        ``usual_action`` (the most frequent in ``X``); ``visits`` (rows of the state in ``X``);
        ``agreement`` (share of them that take the advised action); ``gain`` (Q of the advised
        action minus the mean Q of what ``X`` takes); ``total_gain`` (``gain`` times ``visits``);
        ``unknown_share`` (share of the rows whose action the policy's log does not have there; they
        are left out of the mean, and ``gain`` is NaN if that are all).

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, an ensemble whose members make states of their own, or a policy
        fitted on features and actions.
    ValueError
        If the log cannot be read.

    See Also
    --------
    skmdp.metrics.evaluate_policy : Whether the policy is better, with an interval.

    Notes
    -----
    A gain is what one decision by the advice brings more than one as usual, if the advice is
    followed afterwards. Gains of rows on the same way add up to more than following the advice
    brings, so that ``total_gain`` ranks states and is no forecast. Q are the policy's own and
    look better than they are (see :func:`q_intervals`). States that the policy does not know, and
    those in which no decision was logged, are left out.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import lift
    >>> log = load_climb()
    >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(log)
    >>> lift(policy, log)[["state", "action", "usual_action", "visits", "gain"]].round(3).head(2)
      state action usual_action  visits   gain
    0  high  climb        climb     2.0  0.188
    1   mid  climb        climb     3.0  0.062
    """
    transformers, estimator = unwrap(policy)
    pairs = pairs_of(policy)
    if not pairs.is_table_form:
        raise TypeError(
            "The policy was fitted on features X and actions y, but X here is a table of "
            "transitions. Fit it on a table whose columns are named: fit(table)."
        )
    roles = replace(roles_of(estimator), reward=None)
    log = read_table(transform(transformers, X), roles)
    counts = gather(log).counts
    states = pairs.states.encode(log.states.as_columns())
    actions = pairs.actions.encode(log.actions.as_columns())
    at = _find(pairs, states[counts.pair_state], actions[counts.pair_action])
    n, state, n_states = counts.pair_weights, counts.pair_state, counts.n_states
    known = at >= 0
    of_known = sum_by_code(state, n * known, n_states)
    q = sum_by_code(state, n * np.where(known, pairs.q[at], 0.0), n_states)
    advised = np.full(len(pairs.states), UNKNOWN, dtype=np.int64)
    advised[pairs.state[pairs.is_advised]] = np.flatnonzero(pairs.is_advised)
    chosen = np.append(advised, UNKNOWN)[states]  # position of the advised pair of each state of X
    agrees = sum_by_code(state, n * (at == chosen[state]), n_states)
    visits = counts.state_weights
    rows = np.flatnonzero((visits > 0) & (chosen >= 0) & (agrees < visits))
    usual = np.zeros(n_states, dtype=np.int64)
    most_logged = most_logged_pairs(counts)
    usual[state[most_logged]] = counts.pair_action[most_logged]
    mean = np.divide(q, of_known, out=np.full(n_states, np.nan), where=of_known > 0)[rows]
    gain = pairs.q[chosen[rows]] - mean
    figures = {
        "action": pairs.labels(pairs.action[chosen[rows]]),
        "usual_action": log.actions.labels[usual[rows]],
        "visits": visits[rows],
        "agreement": agrees[rows] / visits[rows],
        "gain": gain,
        "total_gain": gain * visits[rows],
        "unknown_share": 1 - of_known[rows] / visits[rows],
    }
    table = pairs.frame(states[rows], figures)
    return table.sort_values("total_gain", ascending=False, kind="stable", ignore_index=True)


def _find(pairs: Pairs, states: Integers, actions: Integers) -> Integers:
    """Return the position of each pair of codes, -1 where there is none, (n,)."""
    n_actions = len(pairs.actions)
    keys = pairs.state.astype(np.int64) * n_actions + pairs.action
    wanted = states.astype(np.int64) * n_actions + actions
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    is_known = (keys[at] == wanted) & (states != UNKNOWN) & (actions != UNKNOWN)
    return np.where(is_known, at, UNKNOWN)

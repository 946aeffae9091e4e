"""What it costs that some actions are forbidden: a policy beside the one without the rule."""

from __future__ import annotations

from typing import Any

import pandas as pd

from skmdp._pipelines import unwrap
from skmdp._policy import fitted_policy, has_policy
from skmdp.inspection._ranges import in_measured_units
from skmdp.preprocessing._described import set_apart

_COLUMNS = ("action", "action_without", "value", "value_without", "cost", "start_share")


def forbidden_cost(policy: Any) -> pd.DataFrame:
    """Return which advice ``forbidden`` changed and what it costs, one row per state acted in.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, or pipeline or search that ends in one
        A fitted policy. Of an ensemble, ask for its members one at a time.

    Returns
    -------
    table : pandas.DataFrame
        Sorted by state. The state column(s) as in ``policy_table``, then ``action`` (advised) and
        ``value`` (V of the state), ``action_without`` and ``value_without`` (the same if nothing
        were forbidden), ``cost`` (``value_without`` minus ``value``) and ``start_share`` (share of
        the episodes that start in the state).

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these.

    Warns
    -----
    ConvergenceWarning
        As in ``MarkovPolicyEstimator.fit``, of the process in which nothing is forbidden.

    Notes
    -----
    Costs one more solution of the estimated process, by the parameters that the estimator has now;
    the log is not needed. A cost is an estimate from the log that the policy was learned from, and
    values are known up to ``tol``. A state may have a cost though its advice is the same: what
    follows may be worth less. Where nothing is forbidden, all costs are 0. With ``pessimism``, what
    is forbidden also changes by how much values are lowered, so costs may be slightly below 0.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import forbidden_cost
    >>> steep = pd.DataFrame({"state": ["high"], "action": ["climb"]})
    >>> policy = MarkovPolicyEstimator(gamma=0.5, forbidden=steep).fit(load_climb())
    >>> costs = forbidden_cost(policy)
    >>> costs[["state", "action", "action_without", "value", "cost"]].round(3)
        state action action_without  value   cost
    0  bottom  climb          climb    0.0  0.000
    1    high   sink          climb    0.0  0.500
    2     low  climb          climb    0.0  0.125
    3     mid  climb          climb    0.0  0.250
    4     top  climb          climb    1.0  0.000

    The advice that is another one, and the cost per episode, discounted as values are:

    >>> costs.loc[costs["action"] != costs["action_without"], "state"].tolist()
    ['high']
    >>> round(float((costs["cost"] * costs["start_share"]).sum()), 4)
    0.0625
    """
    transformers, estimator = unwrap(policy)
    if not has_policy(estimator):
        raise TypeError(
            "policy must be a MarkovPolicyEstimator, or a pipeline or search that ends in one, got "
            f"{type(estimator).__name__}. Of an ensemble ask for one member: "
            "forbidden_cost(ensemble.estimators_[0])."
        )
    own = fitted_policy(estimator)
    without = estimator.__skmdp_unrestricted__()
    acting, actions = own.mdp.acting_states, own.evidence.actions.labels
    value, value_without = own.state_values[acting], without.state_values[acting]
    answers = (
        actions[own.action_codes[acting]],
        actions[without.action_codes[acting]],
        value,
        value_without,
        value_without - value,
        own.evidence.initial_distribution[acting],
    )
    index = own.evidence.states
    states = in_measured_units(
        dict(zip(index.names, index.parts(acting), strict=True)),
        transformers,
        by_position=not own.is_table_form,
    )
    names = set_apart(list(states), _COLUMNS)
    columns = dict(zip(names, states.values(), strict=True))
    return pd.DataFrame(columns | dict(zip(_COLUMNS, answers, strict=True)))

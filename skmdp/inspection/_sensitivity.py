"""At which discount the advice of a state becomes another one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, validate_params

from skmdp._averaging import Opinion, average
from skmdp._learning import with_discount
from skmdp._log.index import index_labels
from skmdp._messages import shown
from skmdp._pipelines import transform, unwrap
from skmdp._policy import Policy, fitted_policy
from skmdp._typing import Floats, Integers
from skmdp.ensemble import PolicyBagging
from skmdp.inspection._asked import codes_of
from skmdp.inspection._pairs import Pairs, members_of, pairs_of

# Discounts at which the advice is looked at first.
GRID = np.array([*np.arange(0, 0.95, 0.1), 0.95, 0.98, 0.99, 0.995, 0.999])


@validate_params(
    {
        "policy": "no_validation",
        "states": "no_validation",
        "tol": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def sensitivity(policy: Any, states: Any = None, *, tol: float = 0.01) -> pd.DataFrame:
    """Return at which discount the advice of each state becomes another one.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy.
    states : table, array or list, default=None
        States, as in ``predict``. None: all states with logged actions.
    tol : float, default=0.01
        How exactly ``1 - gamma`` is found, relative to itself.

    Returns
    -------
    table : pandas.DataFrame
        One row per state asked for, or per state with logged actions. The state column(s) as in
        ``policy_table``; ``action`` (advised) and ``gamma`` (of the fit); ``lower_gamma``, the
        largest smaller discount with other advice, which is ``lower_action``; ``upper_gamma`` and
        ``upper_action`` likewise above. NaN and None where the advice stays the same down to 0, or
        up to 0.999.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, or an ensemble whose members make states of their own.
    ValueError
        If rows were discounted by durations that differ, so that what was counted holds for one
        discount only; or if a state was not seen in fit, or no decision was logged in it.

    Warns
    -----
    ConvergenceWarning
        As in ``MarkovPolicyEstimator.fit``.

    Notes
    -----
    A discount says how much later rewards count; 1 / (1 - gamma) is the number of decisions that
    are looked ahead. Where advice flips at a discount near that of the fit, it is a matter of
    taste rather than of data. The same estimated process is solved for some 15 discounts, and then
    for those that halve the distance to each flip, which states share: some hundreds where many
    states flip. A flip that is undone within a step of these discounts may be missed. With
    ``pessimism`` the errors that are subtracted are held. With equal durations, discounts are per
    unit of time, as ``gamma`` is.

    Examples
    --------
    One step pays 1, the longer way 3 after two steps; so patience pays from 1/3 ** (1/2) on:

    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.inspection import sensitivity
    >>> log = pd.DataFrame({
    ...     "state": ["start", "start", "on the way", "nearly there"],
    ...     "action": ["take", "go", "go", "go"],
    ...     "next_state": [None, "on the way", "nearly there", None],
    ...     "reward": [1.0, 0.0, 0.0, 3.0],
    ... })
    >>> policy = MarkovPolicyEstimator(gamma=0.9).fit(log)
    >>> table = sensitivity(policy, ["start"])
    >>> table[["state", "action", "gamma", "lower_gamma", "lower_action"]].round(2)
       state action  gamma  lower_gamma lower_action
    0  start     go    0.9         0.58         take
    """
    transformers, estimator = unwrap(policy)
    pairs = pairs_of(policy)
    members = _members(estimator)
    acting = pairs.state[pairs.first]
    asked = acting
    if states is not None:
        asked = codes_of(estimator, transform(transformers, states), pairs)
        _require_decisions(asked, acting, pairs)
    gamma = _gamma_of(members)
    advise = _advice_by_gamma(members, pairs)
    now = advise(gamma)[asked]
    found = [_flips(advise, asked, now, gammas, tol) for gammas in _grids(gamma)]
    labels = np.array([*pairs.actions.labels, None], dtype=object)
    (lower, lower_action), (upper, upper_action) = found
    figures = {
        "action": pairs.labels(now),
        "gamma": gamma,
        "lower_gamma": lower,
        "lower_action": labels[lower_action],
        "upper_gamma": upper,
        "upper_action": labels[upper_action],
    }
    return pairs.frame(asked, figures)


def _members(estimator: Any) -> list[tuple[Policy, float]]:
    """Return the policies of an estimator with their discounts, one or those of an ensemble."""
    if isinstance(estimator, PolicyBagging):
        members = members_of(estimator, "sensitivity")
    else:
        members = [(fitted_policy(estimator), estimator.discount_)]
    if any(policy.counts.discount_sums is not None for policy, _ in members):
        raise ValueError(
            "Rows of this policy were discounted by durations that differ, so that its counts hold "
            "for one gamma only. Fit policies with several gamma and compare their policy_table."
        )
    return members


def _require_decisions(asked: Integers, acting: Integers, pairs: Pairs) -> None:
    """Raise for a state in which nothing is decided."""
    idle = np.flatnonzero(~np.isin(asked, acting))
    if len(idle):
        label = pairs.states.label(int(asked[idle[0]]))
        raise ValueError(
            f"In the state {shown(label)} no decision was ever logged, so that there is no advice."
        )


def _time_of(policy: Policy) -> float:
    """Return how many units of time a decision takes, 1 where time is not known."""
    discounting = policy.evidence.discounting
    return 1.0 if discounting is None else discounting.shortest


def _gamma_of(members: list[tuple[Policy, float]]) -> float:
    """Return the discount of the fit, per unit of time."""
    policy, discount = members[0]
    return float(discount ** (1 / _time_of(policy)))


def _grids(gamma: float) -> tuple[Floats, Floats]:
    """Return the discounts below and above that of the fit, from it outwards."""
    below, above = GRID[gamma - 1e-9 > GRID][::-1], GRID[gamma + 1e-9 < GRID]
    return np.append(gamma, below), np.append(gamma, above)


def _advice_by_gamma(
    members: list[tuple[Policy, float]], pairs: Pairs
) -> Callable[[float], Integers]:
    """Return what gives the advice of all states, (n_states,), for a discount."""
    policies = [policy for policy, _ in members]
    if len(policies) == 1:
        only = policies[0]
        return lambda gamma: with_discount(only, gamma ** _time_of(only)).action_codes
    _, places = index_labels(*(policy.evidence.actions.as_columns() for policy in policies))
    codes = [policy.evidence.states.encode(pairs.states.as_columns()) for policy in policies]

    def advise(gamma: float) -> Integers:
        opinions = []
        for policy, code, place in zip(policies, codes, places, strict=True):
            other = with_discount(policy, gamma ** _time_of(policy))
            votes = np.append(other.action_codes, np.int32(other.default_code))[code]
            opinions.append(Opinion(other, code, place[votes], place))
        return average(opinions, np.arange(len(pairs.states)), len(pairs.actions)).actions

    return advise


def _flips(
    advise: Callable[[float], Integers],
    asked: Integers,
    now: Integers,
    gammas: Floats,
    tol: float,
) -> tuple[Floats, Integers]:
    """Return the nearest discount with other advice of each state, and what is then advised.

    ``gammas`` go away from that of the fit. NaN and -1 where the advice stays.
    """
    near, far = np.full((2, len(asked)), np.nan)
    then = np.full(len(asked), -1, dtype=np.int64)
    for before, gamma in pairwise(gammas):
        other = advise(gamma)[asked]
        flips = np.isnan(far) & (other != now)
        near[flips], far[flips], then[flips] = before, gamma, other[flips]
        if not np.isnan(far).any():
            break
    while True:
        open_ = np.flatnonzero(np.abs(far - near) > tol * (1 - np.minimum(near, far)))
        if not len(open_):
            return far, then
        for middle in np.unique((near[open_] + far[open_]) / 2):
            here = open_[(near[open_] + far[open_]) / 2 == middle]
            other = advise(middle)[asked[here]]
            flips = other != now[here]
            near[here[~flips]], far[here[flips]] = middle, middle
            then[here[flips]] = other[flips]

"""Why a policy advises what it does in one state, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.frames import as_frame
from skmdp._log.labels import UNKNOWN
from skmdp._messages import shortened, shown
from skmdp._pipelines import transform, unwrap
from skmdp._policy import fitted_policy
from skmdp._policy_columns import columns_read, columns_seen
from skmdp._typing import Floats, Integers
from skmdp.ensemble import PolicyBagging
from skmdp.inspection._action_table import figures_of
from skmdp.inspection._asked import codes_of, written
from skmdp.inspection._pairs import ADMISSIBLE, Pairs, members_of, pairs_of
from skmdp.preprocessing._described import parts_of

# Next states, and actions, that are told in words.
MOST_TOLD = 3


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why a policy advises what it does in one state.

    Parameters
    ----------
    text : str
        The same in words; what ``print`` and ``repr`` show.
    action : object
        The advised action.
    rule : str
        What decided: ``"value"`` (no other action is worth as much), ``"most logged"`` or
        ``"lowest label"`` (of actions that are worth the same), or ``"way to an end"`` (of actions
        that are worth the same some lead round and round).
    actions : pandas.DataFrame
        The rows of ``action_table`` that belong to the state.
    next_states : pandas.DataFrame
        Where the advised action leads: the state column(s) and ``probability``, the likeliest
        first. They add up to 1 minus the probability that the episode ends.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import explain
    >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(load_climb())
    >>> explain(policy, "high").rule
    'value'
    """

    text: str
    action: Any
    rule: str
    actions: pd.DataFrame
    next_states: pd.DataFrame

    def __repr__(self) -> str:
        return self.text


def explain(policy: Any, state: Any) -> Explanation:
    """Say why a policy advises what it does in one state.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy.
    state : object
        A label of the state; or, for a state of several columns or of what a pipeline measures, a
        mapping from their names to values, such as a row of the table (a Series or dict). A table
        or list of one state is accepted as well.

    Returns
    -------
    explanation : Explanation
        What is advised, how the other actions compare, where the advice leads, and what decided.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, or an ensemble whose members make states of their own, or the state
        is of another kind than in fit.
    ValueError
        If the state was not seen in fit, or no decision was ever logged in it; the message names
        states that are near.

    See Also
    --------
    action_table : The same for all states, as a table.

    Notes
    -----
    As for ``action_table``.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import explain
    >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(load_climb())
    >>> explain(policy, "high")
    In the state 'high', 'climb' is advised: it is worth 0.5, 0.375 more than the next best action.
    'climb': 1 of 2 rows (50%), mean reward 0, Q 0.5 (standard error 0.133).
    'sink': 1 of 2 rows (50%), mean reward 0, Q 0.125 (standard error 0.138).
    'climb' leads to 'top' (100%).

    >>> explain(policy, "hihg")
    Traceback (most recent call last):
    ...
    ValueError: The state 'hihg' was not seen in fit. Near it are 'high'...
    """
    transformers, estimator = unwrap(policy)
    pairs = pairs_of(policy, errors=True)
    codes = codes_of(estimator, transform(transformers, _as_row(policy, state, pairs)), pairs)
    if len(codes) != 1:
        raise ValueError(f"One state is explained at a time, got {len(codes)}.")
    code = int(codes[0])
    own = pairs.of(code)
    if not len(own.state):
        raise ValueError(
            f"In the state {shown(pairs.states.label(code))} no decision was ever logged: episodes "
            "only come to it. It counts as an end, worth 0."
        )
    advised = int(np.flatnonzero(own.is_advised)[0])
    rule = _rule(own, advised, is_ensemble=isinstance(estimator, PolicyBagging))
    actions = own.frame(own.state, figures_of(own))
    following = _following(estimator, pairs, code, int(own.action[advised]))
    order = np.argsort(-following, kind="stable")[: np.count_nonzero(following)]
    next_states = pairs.frame(order, {"probability": following[order]})
    name = written(pairs.measured(np.array([code])))
    parts = [
        _said_of_choice(own, advised, rule, name),
        *_said_of_actions(own),
        _said_of_following(own, advised, pairs, order, following),
    ]
    action = own.actions.python_labels(own.action[advised : advised + 1])[0]
    return Explanation("\n".join(parts), action, rule, actions, next_states)


def _as_row(policy: Any, state: Any, pairs: Pairs) -> Any:
    """Return one state in the form in which a policy is asked about it."""
    if isinstance(state, Mapping | pd.Series):
        return pd.DataFrame([dict(state)])
    if as_frame(state) is not None:
        return state
    names = _columns_asked_for(policy, pairs)
    several = isinstance(state, list | np.ndarray) or (isinstance(state, tuple) and len(names) > 1)
    parts = list(state) if several else [state]
    if len(parts) != len(names):
        raise ValueError(
            f"A state has {len(names)} column(s), {shortened(names)}, got {len(parts)} part(s). "
            "Hand in a mapping from the names to values, such as a row of the table."
        )
    if not pairs.is_table_form and not columns_seen(policy):  # features without names
        row = np.empty((1, len(parts)), dtype=object)
        row[0] = parts
        return row
    return pd.DataFrame({name: pd.Series([part]) for name, part in zip(names, parts, strict=True)})


def _columns_asked_for(policy: Any, pairs: Pairs) -> list[Any]:
    """Return the columns that make a state where a user names it, before any transformer."""
    if not pairs.transformers:
        return list(pairs.states.names)
    read, measured = columns_read(policy), set()
    made = {key for one in pairs.transformers for part in parts_of(one) for key in part.keys}
    for one in pairs.transformers:
        measured |= {name for part in parts_of(one) for name in part.statistics}
    return [name for name in read if name in measured or name not in made] or columns_seen(policy)


def _rule(own: Pairs, advised: int, *, is_ensemble: bool) -> str:
    """Tell what decided for the advised action, of the pairs of one state."""
    tied = np.flatnonzero(own.ties)
    if len(tied) == 1 and tied[0] == advised:
        return "value"
    if is_ensemble:
        return "most votes"
    logged = own.n[tied] >= own.n[tied].max() * (1 - 1e-9)
    if tied[np.argmax(logged)] != advised:
        return "way to an end"
    return "most logged" if np.count_nonzero(logged) == 1 else "lowest label"


_RULES = {
    "most votes": "most members of the ensemble advise it",
    "way to an end": "others lead round and round, as far as their values tell",
    "most logged": "it was logged most often",
    "lowest label": "it comes first, logged as often as the others",
}


def _said_of_choice(own: Pairs, advised: int, rule: str, name: str) -> str:
    """Say what is advised, and what decided."""
    action = shown(own.actions.label(int(own.action[advised])))
    said = f"In the state {name}, {action} is advised: it is worth {own.q[advised]:.3g}"
    others = own.take((own.why_not == ADMISSIBLE) & ~own.is_advised)
    if rule != "value":
        tied = own.take(own.ties & ~own.is_advised)
        labels = ", ".join(map(shown, tied.actions.python_labels(tied.action)[:MOST_TOLD]))
        return f"{said}, as much as {labels}; {_RULES[rule]}."
    if not len(others.q):
        return f"{said}, and there is no other action that may be chosen."
    return f"{said}, {own.q[advised] - others.q.max():.3g} more than the next best action."


def _said_of_actions(own: Pairs) -> list[str]:
    """Say what is known of each action, the best first."""
    order = np.argsort(-own.q, kind="stable")
    labels = own.actions.python_labels(own.action)
    total, lines = float(own.n.sum()), []
    for at in order:
        if own.n[at] == 0:
            lines.append(
                f"{shown(labels[at])}: never logged there, taken to be worth {own.q[at]:.3g}."
            )
            continue
        line = (
            f"{shown(labels[at])}: {own.n[at]:g} of {total:g} rows ({own.share[at]:.0%}), mean "
            f"reward {own.reward[at]:.3g}, Q {own.q[at]:.3g} (standard error {own.error[at]:.3g})"
        )
        why_not = own.why_not[at]
        lines.append(f"{line}; it may not be chosen: {why_not}." if why_not else f"{line}.")
    return lines


def _said_of_following(
    own: Pairs, advised: int, pairs: Pairs, order: Integers, following: Floats
) -> str:
    """Say where the advised action leads."""
    action = shown(own.actions.label(int(own.action[advised])))
    if own.n[advised] == 0:
        return f"Where {action} leads is not known."
    told = [
        f"{written(pairs.measured(order[at : at + 1]))} ({following[order[at]]:.0%})"
        for at in range(min(MOST_TOLD, len(order)))
    ]
    rest = 1 - float(following[order[:MOST_TOLD]].sum())
    ends = 1 - float(following.sum())
    if ends > 5e-3:
        told.append(f"the end of the episode ({ends:.0%})")
    if rest - ends > 5e-3:
        told.append(f"others ({rest - ends:.0%})")
    return f"{action} leads to {', '.join(told)}."


def _following(estimator: Any, pairs: Pairs, state: int, action: int) -> Floats:
    """Return the probability of each next state of a pair, (n_states,)."""
    policies = (
        [fitted_policy(estimator)]
        if not isinstance(estimator, PolicyBagging)
        else [policy for policy, _ in members_of(estimator, "explain")]
    )
    label = pairs.actions.python_labels(np.array([action]))[0]
    total, n_known = np.zeros(len(pairs.states)), 0
    for policy in policies:
        place = pairs.states.encode(policy.evidence.states.as_columns())
        at = np.flatnonzero(place == state)
        actions = policy.evidence.actions.encode(pairs.actions.as_columns())
        code = actions[action]
        if code == UNKNOWN or not len(at):
            continue
        if policy.counts.find_pairs(at, actions[[action]])[0] < 0:
            continue
        row = policy.transition_matrix(label)[[int(at[0])]].toarray()[0]
        total[place] += row
        n_known += 1
    return total / max(n_known, 1)

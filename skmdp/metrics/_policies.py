"""Policies of every kind, asked for the actions that they take in some states."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.index import LabelIndex, index_labels
from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING, UNKNOWN, LabelColumn
from skmdp._log.reading import read_state_labels
from skmdp._log.roles import Roles
from skmdp._messages import quoted, shown
from skmdp._pipelines import unwrap
from skmdp._policy import Policy, fitted_policy, has_policy, names_columns, roles_of
from skmdp._policy_columns import was_fitted_on_features
from skmdp._typing import Array, Codes, Floats

BEHAVIOR = "behavior"
# Probabilities of one state sum to one up to rounding.
ROUNDING = 1e-6
# What a policy that is being judged has no need to say.
_UNKNOWN_STATES = (".* not seen in fit", ".* no member has seen in fit")


def is_behavior(policy: Any) -> bool:
    """Whether a policy is the logged one."""
    return isinstance(policy, str) and policy == BEHAVIOR


def ask(
    policy: Any, states: pd.DataFrame, actions: LabelIndex, roles: Roles, *, must_be_logged: bool
) -> Array:
    """Return what a policy does in some states, in a log's numbers of actions.

    Either an action a state, (n_states,), UNKNOWN for one that the log does not have, unless all
    must be logged; or the probability of each action, (n_states, n_actions).
    """
    transformers, last = unwrap(policy)
    if has_policy(last) and not transformers:
        said = _ask_fitted(last, states)
    elif hasattr(policy, "predict"):
        said = _predicted(policy.predict, _as_known(policy, states), roles)
    elif callable(policy):
        said = _predicted(policy, states, roles)
    else:
        return _ask_what_is_written(policy, states, actions, roles)
    if isinstance(said, pd.DataFrame):
        return _probabilities(said, len(states), actions, roles)
    codes = actions.encode([said], where="in X")
    never = np.flatnonzero(codes == UNKNOWN)
    if must_be_logged and len(never):
        raise _never_logged(said.label_at(never[0]), actions)
    return codes


def _ask_what_is_written(
    policy: Any, states: pd.DataFrame, actions: LabelIndex, roles: Roles
) -> Array:
    """Ask a policy that is written down, or an object that answers probabilities only."""
    if isinstance(policy, pd.DataFrame):
        return _looked_up_probabilities(policy, states, actions, roles)
    if isinstance(policy, Mapping | pd.Series):
        return _looked_up_actions(policy, states, actions, roles)
    if hasattr(policy, "predict_proba"):
        said = pd.DataFrame(
            policy.predict_proba(_as_known(policy, states)), columns=list(policy.classes_)
        )
        return _probabilities(said, len(states), actions, roles)
    _require_scalar(policy)
    return np.full(len(states), _action_codes([policy], actions, roles)[0])


def _ask_fitted(policy: Any, states: pd.DataFrame) -> LabelColumn:
    """Ask an estimator of this package, whose columns may have other names here."""
    fitted = fitted_policy(policy)
    columns = [read_labels(states[name], name) for name in _own_columns(fitted, states)]
    codes = fitted.evidence.states.encode(columns)
    advised = fitted.decide_silently(codes, columns, policy.handle_unknown)
    (actions,) = fitted.evidence.actions.as_columns()
    return actions.take(advised.astype(np.int64))


def _own_columns(fitted: Policy, states: pd.DataFrame) -> list[Any]:
    """Return the columns of some states that a fitted policy reads: by name, else by place."""
    own, here = list(fitted.evidence.states.names), list(states.columns)
    if set(own) <= set(here):
        return own
    if len(own) != len(here):
        raise ValueError(
            f"The policy was learned on a state of {len(own)} column(s), {quoted(own)}, and the "
            f"state here has {len(here)}, {quoted(here)}. Name as many, in the same order: "
            "columns={'state': [...]}."
        )
    return here


def _as_known(policy: Any, states: pd.DataFrame) -> pd.DataFrame:
    """Return states under the names by which a policy knows their columns, where it tells them."""
    _, last = unwrap(policy)
    if last is policy and names_columns(last):
        own = roles_of(last).state
        if len(own) == states.shape[1] and not set(own) <= set(states.columns):
            return states.set_axis(list(own), axis=1)
    if names_columns(last) and not was_fitted_on_features(policy):
        return states
    known = list(getattr(policy, "feature_names_in_", ()))
    if not known and hasattr(policy, "n_features_in_"):
        return _without_names(policy, states)
    if set(known) <= set(states.columns):
        return states[known] if known else states
    if not unwrap(policy)[0]:  # transformers may not need all that they saw
        raise _not_measured(known, states)
    return states


def _not_measured(known: Sequence[Any], states: pd.DataFrame) -> ValueError:
    lacking = next(name for name in known if name not in states.columns)
    return ValueError(
        f"The policy was learned from column(s) {quoted(known)}, but X has no measurement "
        f"{shown(lacking)}. Add it, and its next values if X has those of others, or learn "
        "the policy from columns of X."
    )


def _without_names(policy: Any, states: pd.DataFrame) -> Any:
    """Return states for a policy learned from an array, if there is no doubt of its columns."""
    if policy.n_features_in_ != 1 or states.shape[1] != 1:
        raise ValueError(
            f"The policy was learned from an array of {policy.n_features_in_} column(s) without "
            f"names, so which of {quoted(list(states.columns))} they are is not known. Say so by a "
            "function: lambda states: policy.predict(states[[...]].to_numpy())."
        )
    return states.to_numpy()


def _predicted(
    predict: Callable[[pd.DataFrame], Any], states: pd.DataFrame, roles: Roles
) -> LabelColumn | pd.DataFrame:
    """Ask for the action in every state."""
    with warnings.catch_warnings():
        for message in _UNKNOWN_STATES:
            warnings.filterwarnings("ignore", message, UserWarning)
        said = predict(states)
    if isinstance(said, pd.DataFrame):
        return said
    if np.ndim(said) == 0:
        raise ValueError(
            f"The policy answered {shown(said)} for a table of {len(states)} states; it must "
            "answer an action for each row. One action taken everywhere is handed in itself."
        )
    answers = read_state_labels(said, roles.action)
    _require_as_many(len(answers.codes), len(states))
    return answers


def _require_as_many(n_answers: int, n_states: int) -> None:
    if n_answers != n_states:
        raise ValueError(
            f"The policy answered {n_answers} action(s) for {n_states} states; it must "
            "answer one for each row of the table that it is asked about."
        )


# ----------------------------------------------------------------------------------- probabilities


def _probabilities(said: pd.DataFrame, n_states: int, actions: LabelIndex, roles: Roles) -> Floats:
    """Return a table of probabilities, a column for each action, as the log numbers actions."""
    _require_as_many(len(said), n_states)
    given = said.to_numpy(dtype=np.float64)
    sums = given.sum(axis=1)
    wrong = np.flatnonzero(~((given >= 0).all(axis=1) & (np.abs(sums - 1) <= ROUNDING)))
    if len(wrong):
        raise ValueError(
            f"The policy's probabilities of the actions must be at least 0 and sum to 1 in every "
            f"state; in row {wrong[0]} (counting from 0) of its answer they are "
            f"{shown(given[wrong[0]].tolist())}. Give each action its probability there."
        )
    taken = (given > 0).any(axis=0)
    codes = _action_codes(
        [name for name, is_taken in zip(said.columns, taken, strict=True) if is_taken],
        actions,
        roles,
    )
    probabilities = np.zeros((n_states, len(actions)))
    probabilities[:, codes] = given[:, taken] / sums[:, np.newaxis]
    return probabilities


def _looked_up_probabilities(
    policy: pd.DataFrame, states: pd.DataFrame, actions: LabelIndex, roles: Roles
) -> Floats:
    """Look up the row of every state in a table of probabilities that is indexed by states."""
    rows = _looked_up_rows(_in_order(policy, list(states.columns)).index, states)
    return _probabilities(policy.iloc[rows], len(states), actions, roles)


# ------------------------------------------------------------------------------------- by the state


def _in_order(policy: Any, names: list[Any]) -> Any:
    """Return what is indexed by states with the levels of its index as the state columns lie."""
    several = policy.index.nlevels > 1
    is_named = several and set(policy.index.names) == set(names)
    return policy.reorder_levels(names) if is_named else policy


def _looked_up_actions(
    policy: Mapping[Any, Any] | pd.Series, states: pd.DataFrame, actions: LabelIndex, roles: Roles
) -> Array:
    """Look up the action of every state, or the probabilities of several.

    The levels of a Series' index are told by their names, where they have those of the columns.
    """
    if isinstance(policy, pd.Series):
        policy = _in_order(policy, list(states.columns))
    keys, answers = (
        list(policy.keys()),
        policy.tolist() if isinstance(policy, pd.Series) else list(policy.values()),
    )
    rows = _looked_up_rows(keys, states)
    several = [isinstance(answer, Mapping) for answer in answers]
    if any(several):
        alone = several.index(False) if not all(several) else None
        if alone is not None:
            raise TypeError(
                f"The policy names {shown(answers[alone])} in state {shown(keys[alone])}, and "
                "probabilities of actions in others. Name probabilities in every state, such as "
                "{'run': 1.0} for one action."
            )
        said = pd.DataFrame(answers).fillna(0.0)
        return _probabilities(said.iloc[rows], len(states), actions, roles)
    _require_one_action_each(keys, answers)
    return np.asarray(_action_codes(answers, actions, roles)[rows])


def _require_one_action_each(keys: Sequence[Any], answers: Sequence[Any]) -> None:
    """Raise for a list of actions, of which nobody knows how often each is taken."""
    several = [i for i, answer in enumerate(answers) if isinstance(answer, list | np.ndarray)]
    if several:
        raise TypeError(
            f"The policy names {shown(answers[several[0]])} in state {shown(keys[several[0]])}. "
            "Name one action for each state, or probabilities of actions, such as "
            "{'run': 0.8, 'service': 0.2}."
        )


def _looked_up_rows(keys: Sequence[Any], states: pd.DataFrame) -> Codes:
    """Return the position among a policy's states of each state that it is asked about."""
    if not len(keys):
        raise ValueError("The policy is empty. Name an action for every state that X acts in.")
    asked = [read_labels(states[name], name) for name in states.columns]
    gaps = [column.name for column in asked if (column.codes == MISSING).any()]
    if gaps:
        raise ValueError(
            f"The policy is written down state by state, but X has states in which {quoted(gaps)} "
            "is missing. Fill it in with a label of its own, or hand in a function of a table of "
            "states."
        )
    index, (place,) = index_labels(asked)
    codes = index.encode(_key_columns(list(keys), list(states.columns)), where="in X")
    known = np.flatnonzero(codes != UNKNOWN)
    if len(np.unique(codes[known])) < len(known):
        raise ValueError("The policy names a state twice. Keep one action for each state.")
    position = np.full(len(index), UNKNOWN, dtype=np.int32)
    position[codes[known]] = known
    lacking = np.flatnonzero(position == UNKNOWN)
    if len(lacking):
        raise ValueError(
            f"The policy names no action for {len(lacking)} state(s) that X acts in, such as "
            f"{shown(index.label(lacking[0]))}. Add them, or fit the policy with "
            "MarkovPolicyEstimator, which answers unknown states."
        )
    idle = np.flatnonzero(codes == UNKNOWN)
    if len(idle):
        warnings.warn(
            f"The policy names {len(idle)} state(s) that X never acts in, such as "
            f"{shown(keys[idle[0]])}; nothing is known of what it earns there. Check their "
            "spelling, or leave them out.",
            UserWarning,
            stacklevel=2,
        )
    return np.asarray(position[place])


def _key_columns(keys: list[Any], names: list[Any]) -> list[LabelColumn]:
    """Return the states that a policy names as columns of labels."""
    n_columns = len(names)
    strange = [key for key in keys if not (isinstance(key, tuple) and len(key) == n_columns)]
    if n_columns > 1 and strange:
        raise ValueError(
            f"The policy names the state {shown(strange[0])}; a state of {n_columns} columns is a "
            f"tuple of the values of {quoted(names)}."
        )
    parts = list(zip(*keys, strict=True)) if n_columns > 1 else [keys]
    return [read_state_labels(list(part), name) for part, name in zip(parts, names, strict=True)]


# --------------------------------------------------------------------------------------- one action


def _require_scalar(policy: Any) -> None:
    """Raise for what is no action either, so that nobody takes it for one."""
    if np.ndim(policy) and not isinstance(policy, tuple):  # a label may be a tuple
        raise TypeError(
            f"A policy of type {type(policy).__name__} cannot be evaluated: it must answer "
            "actions for a table of states. Hand in a fitted estimator, a function of a table of "
            "states, a mapping from state to action, a table of probabilities, or one action."
        )


def _action_codes(answers: Sequence[Any], actions: LabelIndex, roles: Roles) -> Codes:
    """Return the codes of a hand-written policy's actions, all of which the log must have."""
    labels = read_state_labels(list(answers), roles.action)
    codes = actions.encode([labels], where="in X")
    never = np.flatnonzero(codes == UNKNOWN)
    if len(never):
        raise _never_logged(answers[never[0]], actions)
    return codes


def _never_logged(action: Any, actions: LabelIndex) -> ValueError:
    return ValueError(
        f"The policy answers {shown(action)}, an action that X never logs; what it "
        "would earn cannot be told. The actions of X are "
        f"{quoted(actions.labels.tolist())}."
    )

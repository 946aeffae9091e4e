"""Policies of every kind, as choices among the pairs of the log that they are evaluated on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skmdp._estimation.counts import TransitionCounts
from skmdp._estimation.prior_strength import choose_prior_strength
from skmdp._evaluation.direct import choice_of_actions
from skmdp._evaluation.propensities import find_contradiction
from skmdp._evaluation.replay import Candidate, Replay
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence, gather
from skmdp._log.labels import UNKNOWN
from skmdp._log.oddities import warn_if_in_pieces, warn_if_unordered
from skmdp._log.reading import read_state_labels, read_table
from skmdp._log.roles import Roles
from skmdp._messages import quoted, shortened, shown
from skmdp._pipelines import transform, unwrap
from skmdp._policy import fitted_policy, has_policy, names_columns, roles_of
from skmdp._typing import Codes, Integers

BEHAVIOR = "behavior"


class PolicyLogs:
    """The log as each policy sees it: policies behind transformers see their output."""

    def __init__(
        self,
        X: Any,
        policies: Sequence[Any],
        columns: Mapping[str, Any] | None,
        behavior: Any,
        gamma: float,
        horizon: int | None,
        prior_strength: float | str,
    ) -> None:
        self._X = X
        # Held, so that the identities of their steps stay theirs.
        self._policies = policies
        self._behavior = behavior
        self._gamma, self._horizon, self._prior_strength = gamma, horizon, prior_strength
        self._columns = columns or {}
        self._common = self._common_roles()
        self._read: dict[tuple[Any, ...], tuple[Transitions, Evidence, Replay]] = {}

    def _common_roles(self) -> Roles:
        """Return which columns are read where a policy names none.

        Those that ``columns`` names, else those of the policies, else the standard ones.
        """
        naming = [policy for policy in self._policies if _names_columns(policy)]
        named = [self._roles_of(policy) for policy in naming]
        # Each policy may have states of its own, but all are asked about the same rows.
        beside = {replace(roles, state=named[0].state, next_state=None) for roles in named}
        if len(beside) > 1:
            raise ValueError(
                "The policies name the columns of X differently: "
                f"{shortened(sorted(map(str, beside)))}. Say what they are called in X with "
                "columns={...}, such as columns={'reward': 'benefit'}."
            )
        # States behind transformers are no columns of X, so those of other policies come first.
        naming.sort(key=lambda policy: len(unwrap(policy)[0]) > 0)
        return Roles.of(self._columns, roles_of(unwrap(naming[0])[1]) if naming else None)

    def _roles_of(self, policy: Any) -> Roles:
        """Return which columns are read for a policy: as ``columns`` says, else as it says.

        Behind transformers the states are what these make of X.
        """
        transformers, last = unwrap(policy)
        if not _names_columns(policy):
            return self._common
        columns = dict(self._columns)
        if transformers:
            columns.pop("state", None)
            columns.pop("next_state", None)
        own = roles_of(last)
        roles = Roles.of(columns, own)
        return _in_order_of(own, roles) if set(roles.state) == set(own.state) else roles

    def _of(self, policy: Any) -> tuple[Transitions, Evidence, Replay]:
        transformers, _ = unwrap(policy)
        roles = self._roles_of(policy)
        key = (*(id(transformer) for transformer in transformers), roles)
        if key not in self._read:
            for transformer in transformers:
                check_is_fitted(transformer)
            X = transform(transformers, self._X)
            log = read_table(X, roles, propensities=self._behavior)
            warn_if_unordered(log, stacklevel=5)
            self._read[key] = log, *self._replay(log)
        return self._read[key]

    def _replay(self, log: Transitions) -> tuple[Evidence, Replay]:
        if log.rewards is None:
            raise ValueError(
                "Evaluation needs rewards, but the role reward is None. Name their column: "
                "columns={'reward': ...}."
            )
        evidence = gather(log)
        counts, kappa = evidence.counts, self._prior_strength
        if isinstance(kappa, str):
            chosen = choose_prior_strength(counts)
            kappa = min(chosen, 1.0) if kappa == "capped" else chosen
        triple = counts.find_triples(log.state_codes, log.action_codes, log.next_codes)
        _refuse_false_propensities(log, counts, triple, self._behavior)
        replay = Replay.of_rows(
            counts,
            triple,
            log.rewards,
            log.propensities,
            start_codes=log.start_codes,
            lengths=log.episode_lengths,
            longest=log.longest,
            cut_share=log.cut_share,
            horizon=self._horizon,
            gamma=self._gamma,
            prior_strength=float(kappa),
        )
        return evidence, replay

    def candidate(self, policy: Any) -> Candidate:
        """Return a policy as what it would choose among the log's pairs."""
        _, last = unwrap(policy)
        log, evidence, replay = self._of(policy)
        if isinstance(last, str) and last == BEHAVIOR:
            return Candidate(replay, None)
        if has_policy(last):
            warn_if_in_pieces(evidence, fitted_policy(last).evidence, stacklevel=4)
        actions = self._actions(last, log, self._roles_of(policy))
        return Candidate(replay, choice_of_actions(evidence.counts, actions))

    def _actions(self, policy: Any, log: Transitions, roles: Roles) -> Codes:
        """Return the action of every state that the log acts in, in the log's codes."""
        if has_policy(policy):
            return fitted_policy(policy).actions_in(log, policy.handle_unknown)
        if isinstance(policy, Mapping | pd.Series):
            return _looked_up_actions(policy, log, roles)
        if hasattr(policy, "predict"):
            return _predicted_actions(policy.predict, log, roles)
        if callable(policy):
            return _predicted_actions(policy, log, roles)
        _require_scalar(policy)
        return np.full(len(log.states), _action_codes([policy], log, roles)[0])

    def is_training_log(self, policy: Any) -> bool:
        """Whether a fitted policy was learned from just these transitions."""
        _, last = unwrap(policy)
        if not has_policy(last):
            return False
        here, then = self._of(policy)[1].counts, fitted_policy(last).counts
        same_triples = all(
            np.array_equal(getattr(here, name), getattr(then, name))
            for name in ("pair_state", "pair_action", "next_states")
        )
        return same_triples and all(  # sums in another order differ in their last bits
            np.allclose(getattr(here, name), getattr(then, name), rtol=1e-9)
            for name in ("weights", "reward_sums")
        )


def _in_order_of(own: Roles, roles: Roles) -> Roles:
    """Return roles whose state columns, named in another order, lie as those of a policy."""
    nexts = roles.next_state
    if nexts is not None and nexts != own.next_state and len(nexts) == len(roles.state):
        following = dict(zip(roles.state, nexts, strict=True))
        nexts = tuple(following[name] for name in own.state)
    return replace(roles, state=own.state, next_state=nexts)


def _names_columns(policy: Any) -> bool:
    """Whether a policy says which columns of a log it reads."""
    return names_columns(unwrap(policy)[1])


def _require_scalar(policy: Any) -> None:
    """Raise for what is no action either, so that nobody takes it for one."""
    if np.ndim(policy) or hasattr(policy, "predict_proba"):
        raise TypeError(
            f"A policy of type {type(policy).__name__} cannot be evaluated: it must answer one "
            "action for each state. Hand in a fitted estimator, a function of a table of states, a "
            "mapping from state to action, or one action."
        )


def _refuse_false_propensities(
    log: Transitions, counts: TransitionCounts, triple: Integers, behavior: Any
) -> None:
    """Raise if the log cannot have come about with the propensities stated of it."""
    if log.propensities is None:
        return
    found = find_contradiction(counts, counts.triple_pair[triple], log.propensities)
    if found is None:
        return
    where = f"Column {shown(behavior)}" if isinstance(behavior, str) else "behavior"
    state, action = shown(log.states.label(found.state)), shown(log.actions.label(found.action))
    logged = f"{found.n_rows} of {found.n_rows_of_state} rows"
    if found.total is None:
        what = (
            f"in state {state} action {action} was logged in {logged}, but its propensity there is "
            f"{found.stated:.3g} on average; by chance that does not happen once in a million logs."
        )
    else:
        what = (
            f"in state {state} the propensities of different actions sum to {found.total:.3g}, "
            f"that of {action} ({logged}) being {found.stated:.3g}, where 1 is the most possible."
        )
    raise ValueError(
        f"{where}: {what} Hand in the probability with which the logged action was taken in its "
        "state, name all columns of the state that it depends on, or leave behavior out: it is "
        "then estimated from X."
    )


def _predicted_actions(
    predict: Callable[[pd.DataFrame], Any], log: Transitions, roles: Roles
) -> Codes:
    """Ask for the action in every state that the log acts in."""
    acted = np.flatnonzero(np.bincount(log.state_codes))
    states = pd.DataFrame(dict(zip(roles.state, log.states.parts(acted), strict=True)))
    said = predict(states)
    if np.ndim(said) == 0:
        raise ValueError(
            f"The policy answered {shown(said)} for a table of {len(states)} states; it must "
            "answer an action for each row. One action taken everywhere is handed in itself."
        )
    answers = read_state_labels(said, roles.action)
    if len(answers.codes) != len(states):
        raise ValueError(
            f"The policy answered {len(answers.codes)} action(s) for {len(states)} states; it must "
            "answer one for each row of the table that it is asked about."
        )
    actions = np.full(len(log.states), UNKNOWN, dtype=np.int32)
    actions[acted] = log.actions.encode([answers], where="in X")
    return actions


def _require_one_action_each(keys: Sequence[Any], answers: Sequence[Any]) -> None:
    """Raise for a mapping to probabilities of actions, which is a stochastic policy."""
    several = [
        i for i, answer in enumerate(answers) if isinstance(answer, Mapping | list | np.ndarray)
    ]
    if several:
        raise TypeError(
            f"The policy names {shown(answers[several[0]])} in state {shown(keys[several[0]])}: a "
            "stochastic policy, with probabilities of several actions, cannot be evaluated. Name "
            "one action for each state."
        )


def _levels_in_order(policy: pd.Series, roles: Roles) -> pd.Series:
    """Return a Series with the levels of its index as the state columns lie, by their names."""
    is_named = set(policy.index.names) == set(roles.state)
    return policy.reorder_levels(list(roles.state)) if is_named else policy


def _looked_up_actions(
    policy: Mapping[Any, Any] | pd.Series, log: Transitions, roles: Roles
) -> Codes:
    """Look up the action of every state that the log acts in.

    The levels of a Series' index are told by their names, where they have those of the columns.
    """
    if isinstance(policy, pd.Series) and policy.index.nlevels > 1:
        policy = _levels_in_order(policy, roles)
    keys, answers = (
        list(policy.keys()),
        policy.tolist() if isinstance(policy, pd.Series) else list(policy.values()),
    )
    if not keys:
        raise ValueError("The policy is empty. Name an action for every state that X acts in.")
    _require_one_action_each(keys, answers)
    codes = _state_codes(keys, log, roles)
    known = codes != UNKNOWN
    acted = np.zeros(len(log.states), dtype=bool)
    acted[log.state_codes] = True
    actions = np.full(len(log.states), UNKNOWN, dtype=np.int32)
    actions[codes[known]] = _action_codes(answers, log, roles)[known]
    lacking = np.flatnonzero(acted & (actions == UNKNOWN))
    if len(lacking):
        raise ValueError(
            f"The policy names no action for {len(lacking)} state(s) that X acts in, such as "
            f"{shown(log.states.label(lacking[0]))}. Add them, or fit the policy with "
            "MarkovPolicyEstimator, which answers unknown states."
        )
    idle = np.flatnonzero(~(known & acted[codes]))
    if len(idle):
        warnings.warn(
            f"The policy names {len(idle)} state(s) that X never acts in, such as "
            f"{shown(keys[idle[0]])}; nothing is known of what it earns there. Check their "
            "spelling, or leave them out.",
            UserWarning,
            stacklevel=5,
        )
    return actions


def _state_codes(keys: Sequence[Any], log: Transitions, roles: Roles) -> Codes:
    """Return the codes of the states that a policy names, each once; UNKNOWN ones X lacks."""
    n_columns = len(roles.state)
    strange = [key for key in keys if not (isinstance(key, tuple) and len(key) == n_columns)]
    if n_columns > 1 and strange:
        raise ValueError(
            f"The policy names the state {shown(strange[0])}; a state of {n_columns} columns is a "
            f"tuple of the values of {quoted(roles.state)}."
        )
    parts = list(zip(*keys, strict=True)) if n_columns > 1 else [keys]
    columns = [
        read_state_labels(list(part), name) for part, name in zip(parts, roles.state, strict=True)
    ]
    codes = log.states.encode(columns, where="in X")
    known = codes[codes != UNKNOWN]
    if len(np.unique(known)) < len(known):
        raise ValueError("The policy names a state twice. Keep one action for each state.")
    return codes


def _action_codes(answers: Sequence[Any], log: Transitions, roles: Roles) -> Codes:
    """Return the codes of a hand-written policy's actions, all of which the log must have."""
    labels = read_state_labels(list(answers), roles.action)
    codes = log.actions.encode([labels], where="in X")
    never = np.flatnonzero(codes == UNKNOWN)
    if len(never):
        raise ValueError(
            f"The policy answers {shown(answers[never[0]])}, an action that X never logs; what it "
            "would earn cannot be told. The actions of X are "
            f"{quoted(log.actions.labels.tolist())}."
        )
    return codes

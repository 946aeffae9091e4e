"""What a fitted policy is: its evidence, its values, its advice, and its answer to unknown states.

Estimators build a ``Policy`` and hand it out by ``__skmdp_policy__``; ensembles, evaluation and
inspection ask ``fitted_policy`` for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted, validate_data

from skmdp._estimation.counts import TransitionCounts
from skmdp._estimation.process import (
    expected_rewards,
    trust_in_pairs,
    untried_actions,
)
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence
from skmdp._log.forbidden import Forbidden
from skmdp._log.frames import as_frame, is_one_dimensional, refuse_one_row
from skmdp._log.labels import (
    NUMERIC_KINDS,
    UNKNOWN,
    LabelColumn,
    label_of_row,
    require_no_missing,
)
from skmdp._log.lookup import look_up
from skmdp._log.reading import read_feature_columns, read_state_columns, read_state_labels
from skmdp._log.roles import Roles
from skmdp._messages import quoted, shown
from skmdp._typing import Array, Bools, Codes, Floats, Integers
from skmdp.mdp import MDP

# A spread below this share of the values is the rounding of a column that is constant.
CONSTANT = 1e-12
# Standard deviations beyond which distances are all the same; their squares do not overflow.
FAR_AWAY = 1e100


@dataclass(frozen=True, eq=False)
class Support:
    """What a log says about one action in each of some states, (n,).

    Weighted rows of the action and of the state, whether the action may be chosen there, and
    whether the state was seen, if only as a next state.
    """

    action_visits: Floats
    state_visits: Floats
    is_admissible: Bools
    is_known: Bools


@dataclass(frozen=True, eq=False)
class Policy:
    """A policy, and all that it rests on.

    ``roles`` are those of the log that it was learned from, ``is_table_form`` says whether that
    was a table. ``pair_q_values`` is (n_pairs,) over the pairs of ``mdp``, ``state_values``
    (n_states,). Actions tie whose Q differ by at most ``tie_tolerances`` (n_states,).
    ``action_codes`` (n_states,) holds the advised action of every state, ``default_code`` the most
    logged one of those that are not ``forbidden`` everywhere.
    """

    roles: Roles
    is_table_form: bool
    evidence: Evidence
    mdp: MDP
    reward_on: str
    prior_strength: float
    pair_q_values: Floats
    state_values: Floats
    tie_tolerances: Floats
    action_codes: Codes
    default_code: int
    forbidden: Forbidden | None = None

    @property
    def counts(self) -> TransitionCounts:
        """What was counted."""
        return self.evidence.counts

    # ---------------------------------------------------------------------------------- answers

    def advise(self, columns: Sequence[LabelColumn], handle_unknown: str, actions: Array) -> Array:
        """Return the advised one of the actions, given by their labels, in each state, (n,).

        Of a single column each distinct state is decided in, if all are known, and its answer
        looked up for the rows: a pass over them where there would be three.
        """
        states = self.evidence.states
        if len(columns) == 1:
            (column,) = columns
            require_no_missing(column)
            codes = states.encode_values(column)
            if codes.min(initial=0) != UNKNOWN:
                return look_up(actions[self.action_codes[codes]], column.codes)
        return look_up(actions, self.decide(states.encode(columns), columns, handle_unknown))

    def decide(self, codes: Codes, columns: Sequence[LabelColumn], handle_unknown: str) -> Codes:
        """Return the action code of each state, (n,), by ``handle_unknown`` where UNKNOWN."""
        actions = look_up(self.action_codes, codes)
        if codes.min(initial=0) != UNKNOWN:
            return actions
        unknown = np.flatnonzero(codes == UNKNOWN)
        actions[unknown] = self.default_code
        if handle_unknown == "nearest":
            actions[unknown] = self.action_codes[self.nearest_states(columns, unknown)]
        elif handle_unknown != "most_frequent":
            self._tell_of_unknown(columns, unknown, handle_unknown)
        if self.forbidden is not None:
            there = [column.take(unknown) for column in columns]
            actions[unknown] = self.forbidden.replace(actions[unknown], there)
        return actions

    def _tell_of_unknown(
        self, columns: Sequence[LabelColumn], unknown: Integers, handle_unknown: str
    ) -> None:
        """Warn that some rows hold unknown states, or raise."""
        message = (
            f"{len(unknown)} state(s) were not seen in fit, first "
            f"{shown(label_of_row(columns, unknown[0]))} at row {unknown[0]} (counting from 0)."
        )
        if handle_unknown != "warn":
            raise ValueError(
                f"{message} Drop these rows, or choose another handle_unknown: 'most_frequent', "
                "'nearest' or 'warn'."
            )
        default = self.evidence.actions.label(self.default_code)
        of_allowed = "" if self.forbidden is None else " (of those not forbidden there)"
        warnings.warn(
            f"{message} They get the most logged action{of_allowed}, {shown(default)}. Choose "
            "handle_unknown='most_frequent' if that is right, 'error' or 'nearest' if not.",
            UserWarning,
            stacklevel=4,
        )

    def decide_silently(
        self, codes: Codes, columns: Sequence[LabelColumn], handle_unknown: str
    ) -> Codes:
        """Return the action code of each state, (n,), without a word about unknown states."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* not seen in fit", UserWarning)
            return self.decide(codes, columns, handle_unknown)

    def actions_in(self, log: Transitions, handle_unknown: str) -> Codes:
        """Return the advice in the states acted in a log, in the log's action codes, (n_states,).

        -1 in states that are only reached, where no decision is taken, and for actions that the
        log does not have.
        """
        acted = np.flatnonzero(np.bincount(log.state_codes))
        actions = np.full(len(log.states), UNKNOWN, dtype=np.int32)
        actions[acted] = self.actions_of(acted, log, handle_unknown)
        return actions

    def actions_of(self, states: Integers, log: Transitions, handle_unknown: str) -> Codes:
        """Return the advice in some states of a log, in the log's action codes, (n_states,).

        -1 for actions that the log does not have.
        """
        columns = [column.take(states.astype(np.int64)) for column in log.states.as_columns()]
        advised = self.decide_silently(
            self.evidence.states.encode(columns), columns, handle_unknown
        )
        return np.asarray(log.actions.encode(self.evidence.actions.as_columns())[advised])

    def q_rows(self, codes: Integers) -> Floats:
        """Return Q of the given states, (n, n_actions), from the sparse store."""
        mdp, counts = self.mdp, self.counts
        # What a row holds where nothing was logged; one more for UNKNOWN.
        blank = np.append(np.zeros(mdp.n_states), np.nan)
        blank[mdp.acting_states] = -np.inf
        at = counts.find_pairs(mdp.pair_state, mdp.pair_action)
        untried = at < 0
        blank[mdp.pair_state[untried]] = self.pair_q_values[untried]
        logged = np.full(len(counts.pair_state), -np.inf)
        logged[at[~untried]] = self.pair_q_values[~untried]
        rows = np.repeat(blank[codes][:, np.newaxis], mdp.n_actions, axis=1)
        known = np.flatnonzero(codes != UNKNOWN)
        bounds = np.searchsorted(counts.pair_state, np.arange(mdp.n_states + 1))
        cells = csr_array(
            (logged, counts.pair_action, bounds), shape=(mdp.n_states, mdp.n_actions)
        )[codes[known]]
        rows[np.repeat(known, np.diff(cells.indptr)), cells.indices] = cells.data
        if self.forbidden is not None:
            never = self.forbidden.is_forbidden[self.forbidden.group[codes[known]]]
            rows[known] = np.where(never, -np.inf, rows[known])
        return rows

    def n_untried(self) -> Integers:
        """Return how many actions were never logged in each state, nor are forbidden there."""
        forbidden = None if self.forbidden is None else self.forbidden.pairs()
        return untried_actions(self.counts, forbidden)[1]

    def nearest_states(self, columns: Sequence[LabelColumn], rows: Integers) -> Integers:
        """Return the code of the nearest state with logged actions, for some rows, (n_rows,)."""
        require_numbers(self.evidence)
        known, acting = self.evidence.states.numbers(), self.mdp.acting_states
        wanted = np.column_stack([column.values[column.codes[rows]] for column in columns])
        # Relative to the largest label, so that no square overflows and a column that differs by
        # rounding only has no say.
        size = np.maximum(np.abs(known).max(axis=0), np.finfo(np.float64).tiny)
        spread = (known / size).std(axis=0)
        tells = spread > CONSTANT
        if not tells.any():  # every state is as near as any other
            return np.full(len(rows), acting[0])
        with np.errstate(over="ignore"):
            points, asked = (
                np.clip(labels[:, tells] / size[tells] / spread[tells], -FAR_AWAY, FAR_AWAY)
                for labels in (known[acting], wanted.astype(np.float64))
            )
        search = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(points)
        return np.asarray(acting[search.kneighbors(asked, return_distance=False)[:, 0]])

    def support(self, codes: Codes, actions: Codes) -> Support:
        """Return what the log says about an action in each state, given both codes, (n,)."""
        mdp, counts = self.mdp, self.counts
        pair = counts.find_pairs(codes, actions)  # of an unknown state: none
        # -1 looks up the last entry, which stands for what was never logged.
        visits = np.append(counts.pair_weights, 0.0)
        state_visits = np.append(counts.state_weights, 0.0)[codes]
        may_be_chosen = np.zeros(len(visits), dtype=bool)
        # A pair that stands for all untried ones was never logged, so it opens the last entry.
        may_be_chosen[counts.find_pairs(mdp.pair_state, mdp.pair_action)] = True
        return Support(
            action_visits=visits[pair],
            state_visits=state_visits,
            is_admissible=may_be_chosen[pair] & (state_visits > 0),
            is_known=codes != UNKNOWN,
        )

    # ----------------------------------------------------------------------------- one action

    def pairs_of_action(self, action: Any) -> Integers:
        """Return the positions of the logged pairs of one action label."""
        actions = self.evidence.actions
        code = actions.encode([read_state_labels([action], actions.names[0])])[0]
        if code == UNKNOWN:
            raise ValueError(
                f"Action {shown(action)} was never logged; the actions are "
                f"{quoted(actions.labels.tolist())}."
            )
        return np.flatnonzero(self.counts.pair_action == code)

    def action_matrix(self, action: Any, per_triple: Floats) -> Any:
        """Return the rows of one action of a (n_pairs, n_states + 1) matrix, by state."""
        counts, pairs = self.counts, self.pairs_of_action(action)
        place = csr_array(
            (np.ones(len(pairs)), (counts.pair_state[pairs], pairs)),
            shape=(counts.n_states, len(counts.pair_state)),
        )
        return (place @ counts.matrix(per_triple))[:, : counts.n_states]

    # ------------------------------------------------------------------------------------- views

    def expected_rewards(self) -> Floats:
        """Return R(s, a), (n_states, n_actions), NaN where the model knows none."""
        mdp, counts = self.mdp, self.counts
        rewards = np.full((counts.n_states, counts.n_actions), np.nan)
        untried = counts.find_pairs(mdp.pair_state, mdp.pair_action) < 0
        rewards[mdp.pair_state[untried]] = mdp.rewards[untried, np.newaxis]
        rewards[counts.pair_state, counts.pair_action] = expected_rewards(
            counts, self.reward_on, self.prior_strength
        )
        return rewards

    def visit_counts(self) -> Floats:
        """Return n(s, a), (n_states, n_actions)."""
        counts = self.counts
        visits = np.zeros((counts.n_states, counts.n_actions))
        visits[counts.pair_state, counts.pair_action] = counts.pair_weights
        return visits

    def behavior(self) -> Any:
        """Return the share of each action among the rows of each state, CSR."""
        counts = self.counts
        shares = counts.pair_weights / counts.state_weights[counts.pair_state]
        bounds = np.searchsorted(counts.pair_state, np.arange(counts.n_states + 1))
        shape = (counts.n_states, counts.n_actions)
        return csr_array((shares, counts.pair_action.copy(), bounds), shape=shape)

    def transition_matrix(self, action: Any) -> Any:
        """Return P(s'|s, a) of one action label, CSR (n_states, n_states)."""
        counts = self.counts
        trust = trust_in_pairs(counts, self.prior_strength)
        believed = counts.weights * (trust / counts.pair_weights)[counts.triple_pair]
        probabilities = self.action_matrix(action, believed)
        if self.prior_strength == 0:
            return probabilities
        doubt = np.zeros(counts.n_states)
        pairs = self.pairs_of_action(action)
        doubt[counts.pair_state[pairs]] = 1 - trust[pairs]
        return (probabilities + diags_array(doubt) @ counts.state_shares(counts.weights)).tocsr()

    def as_dict(self) -> dict[Any, Any]:
        """Return action by state, for the states with logged actions."""
        acting = self.mdp.acting_states
        states = self.evidence.states.python_labels(acting)
        actions = self.evidence.actions.python_labels(self.action_codes[acting])
        return dict(zip(states, actions, strict=True))


def position_of_largest(weights: Floats) -> int:
    """Return the first position of the largest weight, to one part in 1e9."""
    return int(np.argmax(weights >= weights.max() * (1 - 1e-9)))


def require_numbers(evidence: Evidence) -> None:
    """Raise unless states are points, so that one of them is the nearest."""
    for name, kind in zip(evidence.states.names, evidence.states.kinds, strict=True):
        if kind not in NUMERIC_KINDS:
            raise ValueError(
                f"handle_unknown='nearest' needs numeric state columns, but column {shown(name)} "
                f"holds labels of kind {shown(kind)}. Encode it as numbers or choose another "
                "handle_unknown."
            )


def fitted_policy(estimator: Any) -> Policy:
    """Return the policy of a fitted estimator, not of what wraps one."""
    check_is_fitted(estimator, "states_")
    policy: Policy = estimator.__skmdp_policy__()
    return policy


def has_policy(estimator: Any) -> bool:
    """Whether an estimator, fitted or not, is one that learns a ``Policy``."""
    return hasattr(type(estimator), "__skmdp_policy__")


def names_columns(estimator: Any) -> bool:
    """Whether an estimator says which columns of a table it reads."""
    return hasattr(type(estimator), "__skmdp_roles__")


def roles_of(estimator: Any) -> Roles:
    """Return which columns an estimator reads: those of its fit, else those of its parameters.

    A policy fitted on features has them as columns of the state, beside the usual ones.
    """
    if not (has_policy(estimator) and hasattr(estimator, "states_")):
        named: Roles = estimator.__skmdp_roles__()
        return named
    policy = fitted_policy(estimator)
    if policy.is_table_form:
        return policy.roles
    return Roles(state=policy.evidence.states.names)


def read_states(estimator: Any, X: Any) -> tuple[Codes, list[LabelColumn]]:
    """Return the code of each state, UNKNOWN if not seen in fit, and the columns as read."""
    columns = read_asked(estimator, X)
    return fitted_policy(estimator).evidence.states.encode(columns), columns


def read_asked(estimator: Any, X: Any) -> list[LabelColumn]:
    """Return the columns of the states that somebody asks about."""
    policy = fitted_policy(estimator)
    names = policy.evidence.states.names
    refuse_one_row(X, names)
    frame = as_frame(X)
    if policy.is_table_form and frame is not None:
        return read_state_columns(frame, names)
    if frame is None and len(names) == 1 and is_one_dimensional(X):
        return [read_state_labels(X, names[0])]
    columns = read_feature_columns(X)
    check_features(estimator, policy, X, len(columns))
    return columns


def check_features(estimator: Any, policy: Policy, X: Any, n_columns: int) -> None:
    """Compare features with those of fit, by number and, where they have them, by name."""
    if not policy.is_table_form:
        validate_data(estimator, X, reset=False, skip_check_array=True)
    elif n_columns != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_columns} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )

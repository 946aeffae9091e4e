"""What a policy answers, without what it was learned from."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skmdp._log.frames import as_frame, as_series, is_one_dimensional, refuse_one_row
from skmdp._log.index import LabelIndex, index_labels
from skmdp._log.labels import UNKNOWN
from skmdp._log.roles import require_columns
from skmdp._pipelines import unwrap
from skmdp._policy import Policy, fitted_policy, has_policy
from skmdp._typing import Array, Integers
from skmdp._version import __version__
from skmdp.ensemble import PolicyBagging
from skmdp.export._columns import Column, Labels, columns_of


@dataclass(frozen=True, eq=False)
class Rules:
    """Actions by the codes of some columns: ``codes`` (n, n_places), ``actions`` (n,).

    ``places`` are the positions of the columns; an action of -1 stands for none.
    """

    places: tuple[int, ...]
    codes: Integers
    actions: Integers

    def find(self, codes: Sequence[Integers]) -> Integers:
        """Return which rule holds for each state, UNKNOWN where none does, (n,)."""
        asked = [codes[place] for place in self.places]
        if len(self.places) == 1:
            return np.asarray(pd.Index(self.codes[:, 0]).get_indexer(asked[0]))
        known = pd.MultiIndex.from_arrays(list(self.codes.T))
        return np.asarray(known.get_indexer(pd.MultiIndex.from_arrays(asked)))


@dataclass(frozen=True, eq=False, repr=False)
class PolicyCard:
    """A policy that predicts without the counts that it was learned from.

    Made by ``from_json``; a policy is written with ``to_json``.

    Parameters
    ----------
    columns : tuple
        The columns of a state as they are measured.
    actions : ndarray of shape (n_actions,)
        Labels of the actions, sorted.
    action_kind : str
        What sort of labels they are, such as ``"str"``.
    rules : tuple
        What is answered by the columns; of several rules that hold the first one does.
    default : int or None
        Position of the action in states where no rule holds; None if there is none.
    handle_unknown : {"warn", "most_frequent", "error"}
        What is done in such states, as in ``MarkovPolicyEstimator``.
    provenance : dict
        Where the policy comes from: the version of skmdp, the discount, and the size of the log.

    See Also
    --------
    to_json : Writes a policy.
    from_json : Reads a policy.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.export import from_json, to_json
    >>> card = from_json(to_json(MarkovPolicyEstimator().fit(load_climb())))
    >>> card
    PolicyCard of 5 rules on state, 2 actions
    """

    columns: tuple[Column, ...]
    actions: Array
    action_kind: str
    rules: tuple[Rules, ...]
    default: int | None
    handle_unknown: str
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        n = sum(len(rules.actions) for rules in self.rules)
        names = ", ".join(str(column.name) for column in self.columns)
        return f"PolicyCard of {n:,} rules on {names}, {len(self.actions):,} actions"

    def predict(self, X: Any) -> Array:
        """Return the action that the policy advises in each state.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_columns), or 1-D array-like of labels
            States; of a table only the columns of the state are read. Of a pipeline what was
            measured.

        Returns
        -------
        actions : ndarray of shape (n_samples,)
            What ``predict`` of the policy answers.

        Raises
        ------
        TypeError
            If a label is of another kind than in the policy.
        ValueError
            If a column or a value is missing, or a state unknown and ``handle_unknown="error"``.

        Warns
        -----
        UserWarning
            If states are unknown and ``handle_unknown="warn"``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.export import from_json, to_json
        >>> card = from_json(to_json(MarkovPolicyEstimator().fit(load_climb())))
        >>> card.predict(["low", "mid"])
        array(['climb', 'climb'], dtype=object)
        """
        series = self._read(X)
        pairs = zip(self.columns, series, strict=True)
        codes = [column.codes(values) for column, values in pairs]
        default = UNKNOWN if self.default is None else self.default
        answers = np.full(len(series[0]), default, dtype=np.int64)
        for rules in reversed(self.rules):
            at = rules.find(codes)
            answers[at != UNKNOWN] = rules.actions[at[at != UNKNOWN]]
        unknown = np.flatnonzero(at == UNKNOWN)  # by the first of them, which names states
        if len(unknown):
            self._tell_of_unknown(unknown)
        if (answers == UNKNOWN).any():
            row = int(np.argmax(answers == UNKNOWN))
            raise ValueError(
                f"In the state of row {row} (counting from 0), not seen in fit, every action is "
                "forbidden."
            )
        return np.asarray(self.actions[answers])

    def _read(self, X: Any) -> list[pd.Series]:
        """Return the columns of states."""
        names = tuple(column.name for column in self.columns)
        refuse_one_row(X, names)
        frame = as_frame(X)
        if frame is not None:
            require_columns(
                {"state": names}, frame.columns, index_names=frame.index_names, owner=None
            )
            return [frame.column(name) for name in names]
        if is_one_dimensional(X):
            columns = [X]
        else:
            columns = list(pd.DataFrame(np.asarray(X, dtype=object)).items())
            columns = [values.infer_objects() for _, values in columns]
        if len(columns) != len(names):
            raise ValueError(f"X has {len(columns)} column(s), but a state has {len(names)}.")
        return [as_series(values, name) for name, values in zip(names, columns, strict=True)]

    def _tell_of_unknown(self, rows: Integers) -> None:
        """Warn of unknown states, or raise."""
        said = f"{len(rows)} state(s) were not seen in fit, first at row {rows[0]} (from 0)."
        if self.handle_unknown == "error":
            raise ValueError(f"{said} Drop these rows.")
        if self.handle_unknown == "warn":
            warnings.warn(f"{said} They get the most logged action.", UserWarning, stacklevel=3)


def card_of(policy: Any) -> PolicyCard:
    """Return what a fitted policy answers; a card is one already."""
    if isinstance(policy, PolicyCard):
        return policy
    transformers, estimator = unwrap(policy)
    if isinstance(estimator, PolicyBagging):
        return _card_of_ensemble(estimator, transformers)
    if not has_policy(estimator):
        raise TypeError(
            "policy must be a MarkovPolicyEstimator, a PolicyBagging, or a pipeline or search that "
            f"ends in one, got {type(estimator).__name__}. Hand in the fitted estimator itself."
        )
    own = fitted_policy(estimator)
    _require_writable(own, transformers, estimator.handle_unknown)
    index, actions = own.evidence.states, own.action_codes
    known: Integers = np.arange(len(index))
    if estimator.handle_unknown != "error":  # else states only reached are answered as unknown ones
        known = own.mdp.acting_states
    columns = columns_of(index, transformers)
    rules = [_rules_of_states(index, columns, known, actions[known])]
    named = [column for column, _ in columns]
    if estimator.handle_unknown != "error":
        of_unknown, named = _rules_of_unknown(own, named)
        rules += of_unknown
    return PolicyCard(
        tuple(named),
        own.evidence.actions.labels,
        own.evidence.actions.kinds[0],
        tuple(rules),
        None if estimator.handle_unknown == "error" else own.default_code,
        estimator.handle_unknown,
        _provenance(own, estimator.discount_),
    )


def _require_writable(own: Policy, transformers: Sequence[Any], handle_unknown: str) -> None:
    """Raise for a policy that no list of states can stand for."""
    if handle_unknown == "nearest":
        raise ValueError(
            "handle_unknown='nearest' needs distances between states, which cannot be written down "
            "as rules. Choose another answer to unknown states first, without a new fit: "
            "policy.set_params(handle_unknown='most_frequent')."
        )
    if transformers and not own.is_table_form:
        raise TypeError(
            "This pipeline was fitted on features and actions, so its columns have no names. Fit "
            "it on a table of transitions: fit(table)."
        )


def _rules_of_states(
    index: LabelIndex,
    columns: Sequence[tuple[Column, Integers]],
    known: Integers,
    actions: Integers,
) -> Rules:
    """Return the rules that name states, given their codes and their actions."""
    ranks = index.column_codes()[known]
    codes = [code_of[ranks[:, j]] for j, (_, code_of) in enumerate(columns)]
    return Rules(tuple(range(len(columns))), np.column_stack(codes), actions.astype(np.int64))


def _rules_of_unknown(own: Policy, columns: list[Column]) -> tuple[list[Rules], list[Column]]:
    """Return what is answered in unknown states where the default is forbidden.

    And the columns, with labels that are only named there added to those of the log.
    """
    forbidden = own.forbidden
    if forbidden is None or forbidden.groups is None:
        return [], columns
    hit = np.flatnonzero(forbidden.is_forbidden[:-1, own.default_code])
    if not len(hit):
        return [], columns
    ranks, columns = forbidden.groups.column_codes()[hit], list(columns)
    codes = []
    for j, place in enumerate(forbidden.places):
        labels = forbidden.groups.columns[j][ranks[:, j]]
        column = columns[place]
        assert isinstance(column, Labels)  # what an encoder makes cannot be forbidden
        columns[place] = column.with_labels(labels)
        codes.append(columns[place].codes(pd.Series(labels)))
    actions = forbidden.substitutes[hit].astype(np.int64)
    return [Rules(tuple(forbidden.places), np.column_stack(codes), actions)], columns


def _card_of_ensemble(ensemble: PolicyBagging, transformers: Sequence[Any]) -> PolicyCard:
    """Return what an ensemble answers in the states that a member knows."""
    check_is_fitted(ensemble)
    members = [unwrap(member) for member in ensemble.estimators_]
    if any(before for before, _ in members):
        raise TypeError(
            "The members of this ensemble make states of their own, so that it has no list of "
            "states. Hand in one member: ensemble.estimators_[0]."
        )
    policies = [fitted_policy(one) for _, one in members]
    handle_unknown = members[0][1].handle_unknown
    _require_writable(policies[0], transformers, handle_unknown)
    if any(one.forbidden is not None for one in policies):
        raise ValueError(
            "What an ensemble answers in unknown states, where actions are forbidden, cannot be "
            "written down as rules. Hand in one member: ensemble.estimators_[0]."
        )
    index, places = index_labels(*(one.evidence.states.as_columns() for one in policies))
    is_acting = np.zeros(len(index), dtype=bool)
    for policy, place in zip(policies, places, strict=True):
        is_acting[place[policy.mdp.acting_states]] = True
    known = np.flatnonzero(is_acting | (handle_unknown == "error"))
    asked = pd.DataFrame(dict(zip(index.names, index.parts(known), strict=True)))
    actions = np.searchsorted(ensemble.actions_, ensemble.predict(asked))
    columns = columns_of(index, transformers)
    votes = Counter(
        int(np.searchsorted(ensemble.actions_, one.default_action_)) for _, one in members
    )
    default = min(votes, key=lambda action: (-votes[action], action))
    return PolicyCard(
        tuple(column for column, _ in columns),
        ensemble.actions_,
        policies[0].evidence.actions.kinds[0],
        (_rules_of_states(index, columns, known, actions),),
        None if handle_unknown == "error" else default,
        handle_unknown,
        _provenance(policies[0], members[0][1].discount_) | {"n_members": len(members)},
    )


def _provenance(policy: Policy, discount: float) -> dict[str, Any]:
    """Return where a policy comes from."""
    evidence = policy.evidence
    return {
        "skmdp": __version__,
        "discount": float(discount),
        "n_transitions": evidence.n_transitions,
        "n_episodes": evidence.n_episodes,
    }

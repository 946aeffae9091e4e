"""What may not be done: a table of actions, and of the states in which each is forbidden."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from skmdp._log.evidence import Evidence
from skmdp._log.frames import Table, as_frame, as_lazy, as_table
from skmdp._log.index import LabelIndex, index_labels
from skmdp._log.kinds import read_labels
from skmdp._log.labels import UNKNOWN, LabelColumn, label_of_row, match_kind
from skmdp._log.missing import require_complete
from skmdp._log.raw import CLUSTERS, MEASURED
from skmdp._log.roles import hint_at, near_name
from skmdp._messages import quoted, shown
from skmdp._typing import Array, Bools, Codes, Floats, Integers, Name, Names

# Labels that a slip of the pen may be in differ in length by no more than this.
LONGEST_SLIP = 2
# So many labels that the log lacks are looked at, which bounds the time.
MOST_NAMES = 20


@dataclass(frozen=True, eq=False)
class Forbidden:
    """Which actions may not be taken in which states.

    States that agree in the columns that the table has are one group: ``places`` are the positions
    of these columns in the state, and ``groups`` numbers their labels (None where the table has
    actions alone). ``is_forbidden`` (n_groups + 1, n_actions) says what is forbidden in a group;
    the last row is that of all states that the table does not name. ``substitutes``
    (n_groups + 1,) is the most logged action that is not, UNKNOWN where all are. ``group``
    (n_states,) is the group of every state of the log, -1 the last.
    """

    places: tuple[int, ...]
    groups: LabelIndex | None
    is_forbidden: Bools
    substitutes: Codes
    group: Codes

    def pairs(self) -> tuple[Integers, Integers]:
        """Return the codes of all that is forbidden in states of the log, by state, then action."""
        rows = csr_array(self.is_forbidden)[self.group % len(self.is_forbidden)]
        return np.repeat(np.arange(len(self.group)), np.diff(rows.indptr)), rows.indices

    def replace(self, actions: Codes, columns: Sequence[LabelColumn]) -> Codes:
        """Return answers in states of any log, (n,): in place of a forbidden one, the substitute.

        ``columns`` are those of the states.
        """
        group = _groups_of(columns, self.places, self.groups)
        answers = np.where(self.is_forbidden[group, actions], self.substitutes[group], actions)
        lost = np.flatnonzero(answers == UNKNOWN)
        if len(lost):
            raise ValueError(
                f"In the state {shown(label_of_row(columns, lost[0]))}, not seen in fit, every "
                "action is forbidden. Leave out of forbidden what may be done there, and fit again."
            )
        return answers


def read_forbidden(table: Any, evidence: Evidence, X: Any, action: Name) -> Forbidden | None:
    """Read a table of what may not be done, None where nothing is forbidden.

    The evidence is that of a log, which ``X`` is, or a batch of it; ``action`` is what the table
    calls its actions.
    """
    if table is None:
        return None
    states, actions = evidence.states, evidence.actions
    with _speaking_of_forbidden():
        frame = as_table(table, "Expected a table of what may not be done")
        if not len(frame):
            return None
        _check_names(frame, states.names, action)
        _refuse_encoded(frame, X)
        places = tuple(j for j, name in enumerate(states.names) if name in frame.columns)
        named = [_read_column(frame, states.names[j], states.kinds[j]) for j in places]
        for column, j in zip(named, places, strict=True):
            _warn_of_near_labels(column, states.columns[j])
        forbidden = _read_column(frame, action, actions.kinds[0])
        taken = actions.encode([forbidden])
        groups, rows = None, np.zeros(len(frame), dtype=np.int32)
        if named:
            groups, (rows,) = index_labels(named)
    n_groups = 0 if groups is None else len(groups)
    is_forbidden = np.zeros((n_groups + 1, len(actions)), dtype=bool)
    _warn_of_near_labels(forbidden, actions.labels)
    is_logged = taken != UNKNOWN  # what is never logged is never advised
    is_forbidden[rows[is_logged], taken[is_logged]] = True
    return Forbidden(
        places=places,
        groups=groups,
        is_forbidden=is_forbidden,
        substitutes=_most_logged(is_forbidden, evidence.counts.action_weights),
        group=_groups_of(states.as_columns(), places, groups),
    )


def _groups_of(
    columns: Sequence[LabelColumn], places: Sequence[int], groups: LabelIndex | None
) -> Codes:
    """Return the group of each state, (n,)."""
    if groups is None:
        return np.full(len(columns[0].codes), UNKNOWN, dtype=np.int32)
    return groups.encode([columns[j] for j in places], where="in forbidden")


def _most_logged(is_forbidden: Bools, action_weights: Floats) -> Codes:
    """Return the most logged action, to one part in 1e9, of those not forbidden, by group."""
    weights = np.where(is_forbidden, 0.0, action_weights)
    largest = weights.max(axis=1, keepdims=True)
    found = (weights >= largest * (1 - 1e-9)).argmax(axis=1)
    return np.where(is_forbidden.all(axis=1), UNKNOWN, found).astype(np.int32)


@contextmanager
def _speaking_of_forbidden() -> Iterator[None]:
    """Say of an error that it is in this table, since the log has columns of the same names."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"forbidden: {error}") from None


def _check_names(frame: Table, states: Names, action: Name) -> None:
    """Raise unless a table has the action column and, beside it, columns of the state alone."""
    known = (*states, action)
    hidden = [name for name in states if name in frame.index_names]
    if hidden:  # which would else mean any label
        raise ValueError(
            f"column {quoted(hidden)} is in the index of the table, which is not read. Call "
            "reset_index() first."
        )
    if action not in frame.columns:
        raise ValueError(
            f"the table has no column {shown(action)} that says what may not be done."
            f"{hint_at(action, frame.columns, frame.index_names)} It has the column(s) "
            f"{quoted(frame.columns)}. Name the column as the parameter action says."
        )
    if action in states:  # features may have any name
        raise ValueError(
            f"{shown(action)} is a column of the state as well as that of the actions. Give the "
            "actions of the table another name, and say it by the parameter action."
        )
    strange = [name for name in frame.columns if name not in known]
    if strange:
        raise ValueError(
            f"column {shown(strange[0])} is no column of the state, so nobody could tell where it "
            f"applies.{hint_at(strange[0], known)} Beside {shown(action)} the table may have "
            f"{quoted(states)}. Name the column as one of these, or make it a part of the state."
        )


def _refuse_encoded(frame: Table, X: Any) -> None:
    """Raise for columns that an encoder made: their labels are its numbers, nothing measured."""
    log = None if as_lazy(X) is not None else as_frame(X)  # no encoder makes lazy tables
    columns = [] if log is None else log.columns
    handed_on = {name for name in columns if str(name).startswith(MEASURED)}
    made = {name for name in frame.columns if f"{MEASURED}{name}" in handed_on}
    made |= {name for name in frame.columns if handed_on and name == CLUSTERS}
    if made:
        raise ValueError(
            f"column {quoted(sorted(made, key=str))} holds numbers that an encoder made of what "
            "was measured, so no label says where an action is forbidden. Keep a column that does, "
            "such as 'is_old', beside those that the encoder is given: "
            "MarkovPolicyEstimator(state=[..., 'is_old'])."
        )


def _warn_of_near_labels(named: LabelColumn, labels: Array) -> None:
    """Warn of labels that differ from those of a log as a slip of the pen does, not by numbers.

    A single character that is a word of its own is a number, too.
    """
    if named.kind != "str":
        return
    logged = set(labels.tolist())
    for name in [name for name in named.values.tolist() if name not in logged][:MOST_NAMES]:
        as_long = [label for label in logged if abs(len(label) - len(name)) <= LONGEST_SLIP]
        near = near_name(name, sorted(as_long))
        if near is not None and _numbers_in(name) == _numbers_in(str(near)):
            warnings.warn(
                f"forbidden names {shown(name)} in column {shown(named.name)}, which the log does "
                f"not have there. If it is {shown(near)}, write it as the log does; if it is "
                "another one, all is well.",
                UserWarning,
                stacklevel=5,
            )
            return


def _numbers_in(name: str) -> list[str]:
    return re.findall(r"\d+|\b[^\W_]\b", name)


def _read_column(frame: Table, name: Name, kind: str) -> LabelColumn:
    """Read a column of the table as labels of the kind that the log has."""
    column = read_labels(frame.labels(name), name)
    require_complete(
        column,
        "Write a row for each label that is meant. A column of the state that is left out of the "
        "whole table means any.",
    )
    return match_kind(column, kind, other=f"{shown(name)} in the log", fractional="keep")

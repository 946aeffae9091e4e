"""Processes that somebody wrote down as a table, one row for each outcome of an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array

from skmdp._log.frames import Table, as_table
from skmdp._log.index import LabelIndex, index_labels
from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING, LabelColumn, require_no_missing
from skmdp._log.numbers import read_rewards
from skmdp._log.reading import read_next_states, require_rows
from skmdp._log.roles import (
    Roles,
    column_names,
    default_next_names,
    hint_at,
    require_columns,
    require_distinct,
)
from skmdp._messages import quoted, shown
from skmdp._typing import Array, Floats, Integers, Names
from skmdp.mdp import MDP
from skmdp.mdp._arrays import averages

OUTCOME_ROLES = ("state", "action", "next_state", "probability", "reward")
# The probabilities of a pair may miss one by this much, since they come rounded.
ROUNDED = 1e-9


@dataclass(frozen=True, eq=False)
class LabelledMDP:
    """A process, and the labels of its states and actions.

    Solvers know codes only, so ``mdp`` is handed to them, and ``policy_table`` reads what they
    answer.

    Parameters
    ----------
    mdp : MDP
        The process. Code s is the state ``states[s]``, code a the action ``actions[a]``.
    state_index, action_index : LabelIndex
        Sorted labels, as ``mdp_from_table`` makes them.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp.datasets import mdp_from_table
    >>> labelled = mdp_from_table(pd.DataFrame({
    ...     "state": ["a", "b"], "action": ["go", "stop"], "next_state": ["b", None],
    ...     "probability": 1.0, "reward": [0.0, 1.0]}))
    >>> labelled.states, labelled.actions, labelled.mdp.n_states
    (array(['a', 'b'], dtype=object), array(['go', 'stop'], dtype=object), 2)
    """

    mdp: MDP
    state_index: LabelIndex
    action_index: LabelIndex

    @property
    def states(self) -> Array:
        """Labels of the states, (n_states,), or (n_states, n_columns) for several columns."""
        return self.state_index.labels

    @property
    def actions(self) -> Array:
        """Labels of the actions, (n_actions,)."""
        return self.action_index.labels

    def policy_table(self, solution: Any) -> pd.DataFrame:
        """Return what a solver found in labels, one row for each state that has actions.

        Parameters
        ----------
        solution : Solution
            Answer of a solver for ``mdp``: its ``policy`` and ``state_values`` are read, both of
            shape (n_states,).

        Returns
        -------
        table : pandas.DataFrame
            Columns ``action`` and ``value``. The index holds the states: ``table.loc[label]``.

        Raises
        ------
        ValueError
            If the solution is of a process with another number of states.

        Examples
        --------
        >>> import pandas as pd
        >>> from skmdp.datasets import mdp_from_table
        >>> from skmdp.solvers import modified_policy_iteration
        >>> labelled = mdp_from_table(pd.DataFrame({
        ...     "state": ["a", "b"], "action": ["go", "stop"], "next_state": ["b", None],
        ...     "probability": 1.0, "reward": [0.0, 1.0]}))
        >>> labelled.policy_table(modified_policy_iteration(labelled.mdp, gamma=0.5))
              action  value
        state
        a         go    0.5
        b       stop    1.0
        """
        policy, values = np.asarray(solution.policy), np.asarray(solution.state_values)
        if policy.shape != (self.mdp.n_states,) or values.shape != policy.shape:
            raise ValueError(
                f"The solution has a policy of shape {policy.shape} and state_values of shape "
                f"{values.shape}, expected ({self.mdp.n_states},) for both: solve mdp, in one "
                "stage, without a change of its states."
            )
        acting = np.flatnonzero(policy >= 0)
        names, parts = self.state_index.names, self.state_index.parts(acting)
        states = (
            pd.Index(parts[0], name=names[0])
            if len(parts) == 1
            else pd.MultiIndex.from_arrays(parts, names=names)
        )
        return pd.DataFrame(
            {"action": self.actions[policy[acting]], "value": values[acting]}, index=states
        )


def mdp_from_table(table: Any, *, columns: Mapping[str, Any] | None = None) -> LabelledMDP:
    """Read a process from a table of the outcomes of its actions.

    Parameters
    ----------
    table : table of pandas, polars or pyarrow
        One row for each outcome: taking ``action`` in ``state`` leads to ``next_state`` with
        ``probability``, and pays ``reward``. A missing next state is an end.
    columns : dict, default=None
        Names of columns by role, such as ``{"state": ["floor", "door"], "probability": "p"}``.
        Roles not named have columns of their own names; next states have those of the states
        with ``next_`` before.

    Returns
    -------
    labelled : LabelledMDP
        The process, and its labels. States are sorted, and so are actions. A state that is only
        reached has no actions: the process ends there.

    Raises
    ------
    TypeError
        If it is no table, or labels cannot be matched or sorted.
    ValueError
        If a column is absent, labels or numbers are missing, or the probabilities of an action do
        not sum to one. The state and the action are named.

    Notes
    -----
    The reward of a pair is the average over its outcomes, by probability. Several rows that name
    the same outcome add up: they may pay different rewards. A row that is there twice by mistake
    makes a sum above one, which is refused. Sums within 1e-9 of one count as rounded.

    O(number of rows); nothing of size n_states x n_states is ever built.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp.datasets import mdp_from_table
    >>> from skmdp.solvers import modified_policy_iteration
    >>> pump = pd.DataFrame(
    ...     [("good", "run", "good", 0.8, 5), ("good", "run", "worn", 0.2, 5),
    ...      ("worn", "run", "worn", 0.5, 3), ("worn", "run", None, 0.5, -40),
    ...      ("worn", "fix", "good", 1.0, -2)],
    ...     columns=["state", "action", "next_state", "probability", "reward"])
    >>> labelled = mdp_from_table(pump)
    >>> solution = modified_policy_iteration(labelled.mdp, gamma=0.9)
    >>> labelled.policy_table(solution).round(1)
          action  value
    state
    good     run   39.3
    worn     fix   33.4
    """
    frame = as_table(table, "Expected a table of outcomes")
    names = _names_of_roles(dict(columns or {}), frame)
    require_rows(frame)
    before = _complete_labels(frame, names["state"])
    after = read_next_states(frame, Roles(state=names["state"], next_state=names["next_state"]))
    assert after is not None  # the columns are there
    action_column = _complete_labels(frame, names["action"])
    states, (state, following) = index_labels(before, after)
    actions, (action,) = index_labels(action_column)
    probability, reward = (
        read_rewards(frame.column(names[role][0]), names[role][0], remedy="Fill it in.")
        for role in ("probability", "reward")
    )
    pair, keys = pd.factorize(state.astype(np.int64) * len(actions) + action, sort=True)
    pair_state, pair_action = np.divmod(keys, len(actions))

    def named(at: int) -> str:
        return (
            f"action {shown(actions.label(int(pair_action[at])))} in state "
            f"{shown(states.label(int(pair_state[at])))}"
        )

    _check_probabilities(probability, names["probability"][0], pair, named)
    sums = np.bincount(pair, probability).astype(np.float64)
    _check_sums(sums, named)
    share = probability / sums[pair]
    goes_on = following != MISSING
    entries = share[goes_on], (pair[goes_on], following[goes_on])
    mdp = MDP(
        transitions=coo_array(entries, shape=(len(keys), len(states))).tocsr(),
        rewards=averages(pair, share, reward),
        pair_state=pair_state,
        pair_action=pair_action,
        n_states=len(states),
        n_actions=len(actions),
    )
    return LabelledMDP(mdp, states, actions)


def _names_of_roles(columns: dict[str, Any], frame: Table) -> dict[str, Names]:
    """Return the names of the columns of every role, which the table has."""
    strange = [role for role in columns if role not in OUTCOME_ROLES]
    if strange:
        raise ValueError(
            f"There is no role {shown(strange[0])}.{hint_at(strange[0], OUTCOME_ROLES)} The roles "
            f"of the columns of outcomes are {quoted(OUTCOME_ROLES)}."
        )
    names = {role: column_names(columns.get(role, role), role) for role in OUTCOME_ROLES}
    if "next_state" not in columns:
        names["next_state"] = default_next_names(names["state"])
    require_columns(names, frame.columns, index_names=frame.index_names, owner=None)
    named = [name for role in OUTCOME_ROLES for name in names[role]]
    require_distinct(named, may_be_absent=False)
    return names


def _complete_labels(frame: Table, names: Names) -> list[LabelColumn]:
    """Read columns of labels, none of which may be missing."""
    columns = [read_labels(frame.labels(name), name) for name in names]
    for column in columns:
        require_no_missing(column)
    return columns


def _check_probabilities(probability: Floats, name: Any, pair: Integers, named: Any) -> None:
    """Raise for the first row whose probability is below 0 or above one."""
    is_bad = (probability < 0) | (probability > 1 + ROUNDED)
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise ValueError(
            f"Column {shown(name)} holds {probability[row]:g} at row {row} (counting from 0), for "
            f"{named(pair[row])}; a probability is a number from 0 to 1. Correct it."
        )


def _check_sums(sums: Floats, named: Any) -> None:
    """Raise for the first pair whose probabilities do not sum to one."""
    is_bad = np.abs(sums - 1) > ROUNDED
    if is_bad.any():
        at = int(np.argmax(is_bad))
        short, much = sums[at] < 1, abs(sums[at] - 1)
        remedy = (
            "Add the outcome that is missing (with no next state if it is an end)"
            if short
            else "Look for a row that is there twice"
        )
        raise ValueError(
            f"The probabilities of {named(at)} sum to {sums[at]:.12g}, {much:.3g} "
            f"{'less' if short else 'more'} than one. {remedy}, or divide them by their sum if "
            "they are rounded."
        )

"""What came before in an episode, as columns of its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, validate_params

from skmdp._log.episodes import find_last_observations
from skmdp._log.frames import Table, as_table
from skmdp._log.index import index_labels
from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING, NUMERIC_KINDS, LabelColumn, match_kind, natural
from skmdp._log.links import MOST_UNLINKED
from skmdp._log.missing import require_complete
from skmdp._log.numbers import find_steps, read_flags
from skmdp._log.order import (
    NO_ROW,
    episode_order,
    following_rows,
    previous_rows,
    require_last,
    require_steps,
)
from skmdp._log.reading import (
    read_columns,
    read_episodes,
    read_next_states,
    require_rows,
)
from skmdp._log.roles import Roles, column_names, hint_at
from skmdp._messages import quoted, shown
from skmdp._typing import Array, Integers, Name, Names

# How first rows are marked, by the kind of the labels, if nobody says; numbers only where none is
# negative, since -1 may be one of theirs that has not come yet.
FIRST = {"str": "none", "int": -1, "float": -1.0}


@validate_params(
    {
        "n_lags": [Interval(Integral, 1, None, closed="left")],
        "state": [str, Integral, "array-like"],
        "next_state": [str, Integral, "array-like", None],
        "episode": [str, Integral, "array-like"],
        "step": [str, Integral, None],
        "action": [str, Integral],
        "terminated": [str, Integral, None],
        "truncated": [str, Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def add_lags(
    table: Any,
    columns: Name | Sequence[Name],
    n_lags: int = 1,
    *,
    state: Name | Sequence[Name] = "state",
    next_state: Name | Sequence[Name] | None = None,
    episode: Name | Sequence[Name] = "episode",
    step: Name | None = "step",
    action: Name = "action",
    terminated: Name | None = "terminated",
    truncated: Name | None = "truncated",
    first: Any = None,
) -> Any:
    """Add columns that hold what a column held some rows before in the same episode.

    A policy decides by the current state alone. Where the previous state or action matters as
    well (:func:`skmdp.inspection.markov_test` finds that out), it has to be a column of the state.

    Parameters
    ----------
    table : table of shape (n_transitions, n_columns)
        A log (pandas, polars or pyarrow).
    columns : str, int or sequence of them
        Columns to look back at, such as the state, a part of it, or the action.
    n_lags : int, default=1
        How many rows to look back: each column gets one more for each number of rows up to this.
    state : str, int or sequence of them, default="state"
        Column(s) of the state. Only the names of the next states depend on them.
    next_state : str, int or sequence of them, default=None
        Column(s) of the next state, one for each state column. None takes the columns
        ``"next_" + c`` if the table has them.
    episode : str, int or sequence of them, default="episode"
        Column(s) that tell which rows belong together. They need not lie together.
    step : str, int or None, default="step"
        Column that orders the rows of an episode, used when the table has it; else rows are used
        in the order given.
    action : str or int, default="action"
        Column of the logged action, used when the table has it: a last row that lacks it holds the
        last observation.
    terminated : str, int or None, default="terminated"
        Column that tells where an episode ended, used when the table has it.
    truncated : str, int or None, default="truncated"
        Column that tells where records broke off, used when the table has it.
    first : scalar or mapping of column to scalar, default=None
        What stands where an episode has no row so far back: a label of the column's kind that the
        column does not hold, or one for each column. None: ``"none"`` for text, -1 for numbers of
        which none is negative.

    Returns
    -------
    table : table of shape (n_transitions, n_columns + added)
        A table of the same library, rows and index, with the columns ``c + "_lag1"``, ... behind
        the others, for each column c. Where the table has next states, ``"next_" + c + "_lag1"``,
        ... follow, which hold what will be one row back in the next row: of ``"_lag1"`` the present
        value of c. They are missing where the next state is.

    Raises
    ------
    ValueError, TypeError
        If the table lacks a column or has one of the new names already, if a value looked back at
        is missing, or if it must be said how to mark first rows. If a step stands twice in an
        episode, or, without next states, one is left out; if rows follow in the same episode after
        one that is terminated, or, without next states, truncated.

    Warns
    -----
    UserWarning
        If rows do not lead to the state of the next row of their episode, so that the row before
        is not known.

    See Also
    --------
    skmdp.inspection.markov_test : Tests whether the previous state or action matters.

    Notes
    -----
    Add the lags to the whole log before it is split, by episode. ``predict`` then needs them too:
    of a first decision the label of first rows, later on what was before. Each lag multiplies the
    number of states, so have enough rows per state and action. An encoder that puts numbers in
    bins takes the mark of first rows for one of them. O(n_transitions log n_transitions).

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.preprocessing import add_lags
    >>> log = pd.DataFrame({"episode": [1, 1, 1, 2, 2], "state": ["a", "b", "a", "b", "a"],
    ...                     "action": ["up", "up", "stop", "up", "stop"], "reward": 1.0})
    >>> lagged = add_lags(log, "state")
    >>> lagged["state_lag1"].tolist()
    ['none', 'a', 'b', 'none', 'b']
    >>> policy = MarkovPolicyEstimator(state=["state", "state_lag1"]).fit(lagged)
    >>> policy.predict([["a", "b"]])
    array(['stop'], dtype=object)

    The next row's lag is this row's value, and missing where nothing followed:

    >>> log["next_state"] = ["b", "a", None, "a", None]
    >>> add_lags(log, ["state", "action"], first="start").iloc[:3, -4:]
      state_lag1 action_lag1 next_state_lag1 next_action_lag1
    0      start       start               a               up
    1          a          up               b               up
    2          b          up             NaN              NaN
    """
    frame = as_table(table)
    names = column_names(columns, "columns")
    parts = {"state": state, "next_state": next_state, "episode": episode, "step": step}
    ends = {"action": action, "terminated": terminated, "truncated": truncated}
    roles = Roles.of(parts | ends)
    _check_names(frame, names, roles)
    _require_new_names(frame, names, n_lags)
    require_rows(frame)
    next_states = read_next_states(frame, roles)
    present = None if next_states is None else next_states[0].codes != MISSING
    episodes = read_episodes(frame, roles.names("episode"))
    previous = _previous_rows(frame, roles, episodes, next_states)
    if next_states is not None:
        _warn_if_unlinked(read_columns(frame, roles.state), next_states, previous)
    is_looked_at = np.zeros(len(frame), dtype=bool) if present is None else present.copy()
    is_looked_at[previous[previous != NO_ROW]] = True
    lags: dict[Name, Array] = {}
    nexts: dict[Name, Array] = {}
    for name in names:
        column = read_labels(frame.labels(name), name)
        require_complete(column, "Give it a label of its own.", may_lack=~is_looked_at)
        values = _with_first(column, first.get(name) if isinstance(first, Mapping) else first)
        codes = np.append(column.codes, len(values) - 1)  # what NO_ROW looks up marks first rows
        rows = np.arange(len(frame))
        for lag in range(1, n_lags + 1):
            if present is not None:
                nexts[f"next_{_lagged(name, lag)}"] = values[codes[rows[present]]]
            rows = np.append(previous, NO_ROW)[rows]
            lags[_lagged(name, lag)] = values[codes[rows]]
    with_lags = frame.exchange([], {}, lags, np.ones(len(frame), dtype=bool))
    if present is None:
        return with_lags
    return as_table(with_lags).exchange([], {}, nexts, present)


def _previous_rows(
    frame: Table, roles: Roles, episodes: LabelColumn, next_states: list[LabelColumn] | None
) -> Integers:
    """Return the row before each in its episode, (n,), if rows can be looked back from."""
    is_given = next_states is not None
    step, numbers = find_steps(frame, roles.step)
    order = episode_order(episodes.codes, numbers)
    if step is not None and numbers is not None:
        require_steps(
            episodes,
            step,
            numbers,
            order,
            may_have_gaps=is_given,
            why="the row before each row is looked back at",
            if_right="are right,",
        )
    following = following_rows(episodes.codes, order)
    goes_on = following != NO_ROW
    if roles.action in frame.columns:
        action = read_labels(frame.labels(roles.action), roles.action)
        seen = find_last_observations(action, episodes, numbers, next_states)
        goes_on &= True if seen is None else ~seen[following]
    for role in ("terminated",) if is_given else ("terminated", "truncated"):
        for name in set(roles.names(role)) & set(frame.columns):
            flags = read_flags(frame.column(name), name, role, may_lack=following == NO_ROW)
            require_last(name, flags, episodes, following, goes_on, remedy="or order the rows")
    return previous_rows(episodes.codes, numbers)


def _lagged(name: Name, lag: int) -> str:
    return f"{name}_lag{lag}"


def _check_names(frame: Table, names: Names, roles: Roles) -> None:
    """Raise for columns that the table lacks."""
    needed = {"columns": names, "state": roles.state, "episode": roles.names("episode")}
    needed["next_state"] = roles.names("next_state")
    for role in ("step", "action", "terminated", "truncated"):
        if roles.names(role) != (role,):
            needed[role] = roles.names(role)
    for role, wanted in needed.items():
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise ValueError(
                f"The table has no column {quoted(missing)}."
                f"{hint_at(missing[0], frame.columns, frame.index_names)} It has the column(s) "
                f"{quoted(frame.columns)}. Name yours: add_lags(..., {role}=...)."
            )


def _require_new_names(frame: Table, names: Names, n_lags: int) -> None:
    """Raise for new columns that the table has already."""
    new = [_lagged(name, lag) for name in names for lag in range(1, n_lags + 1)]
    new += [f"next_{name}" for name in new]
    there = [name for name in new if name in frame.columns]
    if there:
        raise ValueError(
            f"The table has the column(s) {quoted(there)} already. Drop or rename them first; to "
            "look further back, add all lags at once with n_lags=..."
        )


def _with_first(column: LabelColumn, first: Any) -> Array:
    """Return the distinct labels of a column, and behind them the one that marks first rows."""
    given = FIRST.get(column.kind) if first is None else first
    if first is None and column.kind in NUMERIC_KINDS and (column.values < 0).any():
        column.refuse(
            column.values < 0,
            ", so that -1 is no mark of rows before which there is none. Name a number that cannot "
            "come up: first=...",
        )
    mark = read_labels(pd.Series([given]), "first")
    if not len(mark.values):
        raise ValueError(
            f"Column {shown(column.name)} holds labels of kind {shown(column.kind)}: say how to "
            "mark rows before which there is none, with a label of that kind that the column does "
            "not hold (first=...), or make the column text first."
        )
    of_kind = f"column {shown(column.name)}"
    mark = match_kind(mark, column.kind, other=of_kind, fractional="error")
    is_held = column.values == mark.values[0]
    if is_held.any():
        column.refuse(
            is_held,
            ", which marks rows before which there is none. Name a label that the column does not "
            "hold: first=...",
        )
    return natural(column.kind, np.append(column.values, mark.values))


def _warn_if_unlinked(
    states: list[LabelColumn], next_states: list[LabelColumn], previous: Integers
) -> None:
    """Warn if rows do not lead to the state of the next row, so that the row before is unknown."""
    for column in states:
        require_complete(column, "Give it a label of its own.")
    _, (state_codes, next_codes) = index_labels(states, next_states)
    inside = np.flatnonzero(previous != NO_ROW)
    broken = int(np.count_nonzero(next_codes[previous[inside]] != state_codes[inside]))
    if broken > MOST_UNLINKED * len(inside):
        warnings.warn(
            f"In {broken} of {len(inside)} places a row does not lead to the state of the next row "
            "of its episode, so the row before each row is not known. If rows are out of order, "
            "sort them or name the column that orders them with step=...; if some are missing, "
            "give those after a gap an episode of their own.",
            UserWarning,
            stacklevel=4,
        )

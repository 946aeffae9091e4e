"""The only place that reads dataframes: a table of logged transitions to arrays of codes.

What comes in: any eager table or column that narwhals knows (pandas, polars, pyarrow), or
numpy arrays. What goes out: ``Transitions``. The contract:

- every column is hashed once; nothing loops over rows;
- all that can be wrong with a table is found here, before anything is computed;
- an error names the column, the row (counted from 0, as the table lies) and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length

from skmdp._log.durations import Amounts, read_durations, read_times
from skmdp._log.episodes import LogRows, Transitions, find_last_observations, link_rows
from skmdp._log.frames import Table, array_series, as_frame, as_series, as_table, without_mask
from skmdp._log.kinds import read_labels
from skmdp._log.labels import (
    MISSING,
    LabelColumn,
    as_integers,
    by_appearance,
    is_date,
    join_columns,
    require_no_missing,
)
from skmdp._log.missing import Remedies, nothing_counts, require_complete
from skmdp._log.numbers import (
    find_steps,
    find_weights,
    read_flags,
    read_propensities,
    read_rewards,
    read_weights,
    steps_of_decisions,
)
from skmdp._log.refusals import refusal
from skmdp._log.roles import (
    FROM_STEPS,
    Roles,
    check_roles,
    column_names,
    find_next_names,
    hint_at,
    nothing_follows,
    warn_of_near_names,
)
from skmdp._messages import quoted, shown
from skmdp._typing import Bools, Codes, Floats, Name, Names

# The columns of the states, and those of the next states, None where these follow in the next row.
StateColumns = tuple[list[LabelColumn], list[LabelColumn] | None]

# Kinds of arrays, numbers and objects, of which pandas makes nothing else.
_KEPT = "biufO"

FEATURE_ROLES = Roles((), "y", step=None, terminated=None, truncated=None, duration=None)


def read_table(
    X: Any,
    roles: Roles,
    sample_weight: Any = None,
    *,
    propensities: Any = None,
    beside: Sequence[LabelColumn] = (),
    states: StateColumns | None = None,
    duration_unit: str | None = None,
    may_count_nothing: bool = False,
    to_judge: bool = False,
) -> Transitions:
    """Read a transitions table.

    ``states`` are states and next states read before, in place of the columns of these roles;
    ``propensities`` names a column or holds one number a row: the probability with which the
    logged action was taken. ``beside`` are columns read before, of this table or of one whose rows
    are the same; they are put in the order of the transitions. ``duration_unit`` is that of
    durations which are times, None chooses one; ``may_count_nothing`` is for one batch of many.
    ``to_judge`` is for what tells how sure a value is: powers of rewards are needed, and episodes
    are in the order of their first steps where these are dates, as are decisions that are nothing
    but that.
    """
    frame = as_table(X)
    check_roles(roles, frame.columns, frame.index_names)
    if not may_count_nothing:
        require_rows(frame)
    if states is None:
        before = [read_labels(frame.labels(name), name) for name in roles.state]
        states = before, read_next_states(frame, roles)
    before, next_states = states
    remedies = Remedies(is_linked=next_states is None, is_table=True)
    for column in before:
        require_complete(column, remedies.state)
    episode = _find_episodes(frame, roles, remedies)
    warn_of_near_names(roles, frame.columns, frame.index_names)
    step, step_numbers, has_dates = _find_order(frame, roles, episode, next_states)
    action = read_labels(frame.labels(roles.action), roles.action)
    seen = find_last_observations(action, episode, step_numbers, next_states)
    require_complete(action, remedies.action, may_lack=seen)
    rewards, taken_with = None, None
    if roles.reward is not None:
        series = frame.column(roles.reward)
        rewards = _read_rewards(series, roles.reward, remedies.reward, seen)
    if propensities is not None:
        taken_with = read_propensities(frame, propensities, may_lack=seen)
    log = link_rows(
        LogRows(
            roles,
            before,
            action if seen is None else as_integers(action),
            next_states=next_states,
            rewards=rewards,
            episode=episode,
            step=step,
            step_numbers=step_numbers,
            terminated=_find_flags(frame, roles.terminated, "terminated", seen),
            truncated=_find_flags(frame, roles.truncated, "truncated", seen),
            last_observations=seen,
            weights=read_weights(
                find_weights(frame, sample_weight), len(frame), may_be_zero=may_count_nothing
            ),
            propensities=taken_with,
            durations=_find_durations(frame, roles, step),
            duration_unit=duration_unit,
            has_dates=has_dates,
            to_judge=to_judge,
            beside=tuple(beside),
        )
    )
    if not (may_count_nothing or len(log.state_codes)):
        raise nothing_counts(log.n_truncated)
    return log


def require_rows(frame: Table) -> None:
    """Raise for a table without rows."""
    if not len(frame):
        raise no_rows()


def no_rows() -> Exception:
    """Return the error of a table without rows."""
    return refusal("The table is empty: it has 0 rows. At least one transition is needed.", "empty")


def read_columns(X: Any, names: Sequence[Name]) -> list[LabelColumn]:
    """Read columns of a table as labels, whatever their role; labels may be missing."""
    frame = as_table(X)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        hint = hint_at(missing[0], frame.columns, frame.index_names)
        raise ValueError(
            f"The table has no column {quoted(missing)}.{hint} It has the column(s) "
            f"{quoted(frame.columns)}."
        )
    return [read_labels(frame.labels(name), name) for name in names]


def read_features(
    X: Any,
    y: Any,
    reward: Any = None,
    episode: Any = None,
    sample_weight: Any = None,
    *,
    duration: Any = None,
    beside: Sequence[LabelColumn] = (),
    duration_unit: str | None = None,
    may_count_nothing: bool = False,
    to_judge: bool = False,
) -> Transitions:
    """Read state features, logged actions and what was handed in beside them.

    Without episodes every row is a decision of its own. The last four as in ``read_table``.
    """
    remedies = Remedies(is_linked=episode is not None, is_table=False)
    states = read_feature_columns(X)
    for column in states:
        require_complete(column, remedies.state)
    action = read_labels(as_series(y, "y", warn=True), "y")
    paid = None if reward is None else as_series(reward, "reward")
    taken = None if duration is None else as_series(duration, "duration")
    n_rows = len(states[0].codes)
    episodes, seen = _every_row(n_rows), None
    if episode is not None:
        episodes = read_labels(as_series(episode, "episode"), "episode")
        require_complete(episodes, remedies.episode)
    check_consistent_length(states[0].codes, action.codes, paid, episodes.codes, taken)
    if episode is not None:
        seen = find_last_observations(action, episodes, None, None)
    require_complete(action, remedies.action, may_lack=seen)
    log = link_rows(
        LogRows(
            FEATURE_ROLES,
            states,
            action if seen is None else as_integers(action),
            rewards=None if paid is None else _read_rewards(paid, "reward", remedies.reward, seen),
            episode=episodes,
            last_observations=seen,
            weights=read_weights(sample_weight, n_rows, may_be_zero=may_count_nothing),
            durations=None if taken is None else read_durations(taken, "duration"),
            duration_unit=duration_unit,
            to_judge=to_judge,
            beside=tuple(beside),
        )
    )
    if not (may_count_nothing or len(log.state_codes)):
        raise nothing_counts(log.n_truncated)
    return log


def _every_row(n_rows: int) -> LabelColumn:
    """Make each row an episode of its own."""
    codes = np.arange(n_rows, dtype=np.int32)
    return LabelColumn("episode", "int", codes, codes)


def read_feature_columns(X: Any) -> list[LabelColumn]:
    """Read every column of a 2-D array or table as labels of the state."""
    frame = as_frame(X)
    if frame is not None:
        shape = (len(frame), len(frame.columns))
        if not all(shape):
            raise ValueError(
                f"Found array with {shape[0]} sample(s) and {shape[1]} feature(s) "
                f"(shape={shape}) while a minimum of 1 is required."
            )
        return [read_labels(frame.labels(name), name) for name in frame.columns]
    if type(X) is np.ndarray and X.ndim == 2 and X.size and X.dtype.kind in _KEPT:
        # What is asked of such an array beyond that is asked of labels as they are read.
        return [read_labels(column, f"x{j}") for j, column in enumerate(X.T)]
    array = check_array(without_mask(X, "X"), dtype=None, input_name="X")
    if array.dtype.kind in "USf" and not isinstance(X, np.ndarray):
        array = np.asarray(X, dtype=object)  # numpy made strings or floats of everything
    return [read_labels(array_series(column, f"x{j}"), f"x{j}") for j, column in enumerate(array.T)]


def read_state_columns(frame: Table, names: Sequence[Name]) -> list[LabelColumn]:
    """Read the states of a table by their columns' names, whatever else the table holds."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        hint = hint_at(missing[0], frame.columns, frame.index_names)
        raise ValueError(
            f"The table has no column {quoted(missing)}, which held the state in fit.{hint} "
            f"It has the column(s) {quoted(frame.columns)}."
        )
    return [read_labels(frame.labels(name), name) for name in names]


def read_state_labels(labels: Any, name: Name) -> LabelColumn:
    """Read a 1-D list, array or column of state labels."""
    return read_labels(as_series(labels, name), name)


def episode_codes(X: Any, names: Any) -> Codes:
    """Read the episode column(s) of a table as codes, in order of appearance."""
    names = column_names(names, "episode")
    frame = as_frame(X)
    absent = [name for name in names if frame is None or name not in frame.columns]
    if frame is None or absent:
        found, hint = type(X).__name__, ""
        if frame is not None:
            found = f"column(s) {quoted(frame.columns)}"
            hint = hint_at(absent[0], frame.columns, frame.index_names)
        raise ValueError(
            f"Rows cannot be split by episode: expected a table with a column {quoted(names)}, got "
            f"{found}.{hint} Name the column with episode=..., or hand in groups."
        )
    return read_episodes(frame, names).codes


def label_codes(labels: Any, name: Name) -> Codes:
    """Read a 1-D list, array or column of labels, none missing, as codes by appearance."""
    column = read_labels(as_series(labels, name), name)
    require_no_missing(column)
    return by_appearance(column).codes


def read_episodes(
    frame: Table, names: Names, remedy: str = "Fill it in, or drop these rows."
) -> LabelColumn:
    """Read the column(s) that tell which rows belong together, as one column of labels."""
    columns = [read_labels(frame.labels(name), name) for name in names]
    for column in columns:
        require_complete(column, remedy)
    return by_appearance(columns[0]) if len(columns) == 1 else join_columns(columns)


def read_next_states(frame: Table, roles: Roles) -> list[LabelColumn] | None:
    """Read the next states if the table has them: all columns, present or missing together."""
    names = find_next_names(roles.state, roles.next_state, frame.columns)
    if names is None:
        return None
    columns = [read_labels(frame.labels(name), name) for name in names]
    require_together(columns)
    return columns


def require_together(columns: Sequence[LabelColumn]) -> None:
    """Raise unless the parts of each next state are present or missing together."""
    missing = columns[0].codes == MISSING
    for column in columns[1:]:
        differs = missing != (column.codes == MISSING)
        if differs.any():
            row = int(np.argmax(differs))
            raise refusal(
                f"Columns {shown(columns[0].name)} and {shown(column.name)} must be missing "
                f"together: at row {row} (counting from 0) one of them is missing. Leave all "
                "next-state columns empty where the episode ends, and fill all of them elsewhere.",
                "partly_missing",
                tuple(one.name for one in columns),
                differs,
            )


def _find_episodes(frame: Table, roles: Roles, remedies: Remedies) -> LabelColumn | None:
    """Read the episodes if the table has them; where next states are inferred it must."""
    if roles.episode is not None and set(roles.episode) <= set(frame.columns):
        return read_episodes(frame, roles.episode, remedies.episode)
    if not remedies.is_linked:
        return None
    raise nothing_follows(roles, frame.columns, frame.index_names)


def _find_order(
    frame: Table,
    roles: Roles,
    episode: LabelColumn | None,
    next_states: list[LabelColumn] | None,
) -> tuple[LabelColumn | None, Any, bool]:
    """Read what puts the rows of episodes in order, or decisions that nothing follows.

    Tell, too, whether these are dates.
    """
    step, numbers = None, None
    if episode is not None:
        step, numbers = find_steps(frame, roles.step)
    elif next_states is not None and (next_states[0].codes == MISSING).all():
        step, numbers = steps_of_decisions(frame, roles.step)
    has_dates = step is not None and is_date(step.kind)
    return None if episode is None else step, numbers, has_dates


def _find_flags(frame: Table, name: Name | None, role: str, may_lack: Bools | None) -> Bools | None:
    """Read a column of flags if the table has it."""
    if name is None or name not in frame.columns:
        return None
    return read_flags(frame.column(name), name, role, may_lack=may_lack)


def _find_durations(frame: Table, roles: Roles, step: LabelColumn | None) -> Amounts | None:
    """Read the durations if the table has them, or the times that they are differences of."""
    if roles.duration == FROM_STEPS:
        if step is None:
            raise refusal(
                "duration='step' takes differences of steps within episodes, but the table lacks "
                f"the column {quoted(roles.names('step')) or None} for the role 'step', or "
                "episodes. Name the columns with step=... and episode=..., or a column of "
                "durations with duration=...",
                "duration",
                FROM_STEPS,
            )
        return read_times(step)
    if roles.duration is None or roles.duration not in frame.columns:
        return None
    return read_durations(frame.column(roles.duration), roles.duration)


def _read_rewards(series: pd.Series, name: Name, remedy: str, seen: Bools | None) -> Floats:
    """Read the rewards; beside a last observation no action earned any."""
    rewards = read_rewards(series, name, remedy=remedy, may_lack=seen)
    paid = np.flatnonzero(False if seen is None else seen & ~np.isnan(rewards) & (rewards != 0))
    if len(paid):
        row = int(paid[0])
        raise refusal(
            f"Column {shown(name)} is {rewards[row]:g} at row {row} (counting from 0), the last of "
            "its episode, which lacks an action; a reward belongs to the action of its row. If an "
            "action was taken, name it. If each reward stands in the row after its action, move "
            "the rewards of each episode up by a row. Else set this one to 0.",
            "paid_at_last",
            name,
            paid,
        )
    return rewards

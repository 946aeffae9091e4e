"""The only place that reads dataframes: a table of logged transitions to arrays of codes.

What comes in: any eager table or column that narwhals knows (pandas, polars, pyarrow), or
numpy arrays. What goes out: ``Transitions``. The contract:

- every column is hashed once; nothing loops over rows;
- all that can be wrong with a table is found here, before anything is computed;
- an error names the column, the row (counted from 0, as the table lies) and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils import check_array, check_consistent_length

from skmdp._log.episodes import LogRows, Roles, Transitions, link_rows
from skmdp._log.frames import Table, as_frame, as_series, as_table
from skmdp._log.labels import (
    EXACT_FLOAT,
    MISSING,
    NUMERIC_KINDS,
    TIME_KINDS,
    LabelColumn,
    raise_if_missing,
    read_labels,
    require_no_missing,
)
from skmdp._messages import quoted, shortened, shown
from skmdp._typing import Bools, Codes, Floats

FEATURE_ROLES = Roles((), "y", None, "reward", "episode", None, None)


def read_table(
    X: Any,
    roles: Roles,
    sample_weight: Any = None,
    *,
    propensities: Any = None,
    beside: Sequence[LabelColumn] = (),
) -> Transitions:
    """Read a transitions table.

    ``propensities`` names a column or holds one number a row: the probability with which the
    logged action was taken. ``beside`` are columns read before, of this table or of one whose rows
    are the same; they are put in the order of the transitions.
    """
    frame = as_table(X)
    _require_columns(frame, roles)
    require_rows(frame)
    states = [read_labels(frame.column(name), name) for name in roles.state]
    for column in states:
        require_no_missing(column)
    next_states = _read_next_states(frame, roles)
    action = read_labels(frame.column(roles.action), roles.action)
    require_no_missing(action)
    rewards = None
    if roles.reward is not None:
        rewards = read_rewards(frame.column(roles.reward), roles.reward)
    episode = _read_episodes(frame, roles, required=next_states is None)
    step, step_numbers = None, None
    if episode is not None and roles.step is not None and roles.step in frame.columns:
        step, step_numbers = _read_steps(frame.column(roles.step), roles.step)
    terminated = None
    if roles.terminated is not None and roles.terminated in frame.columns:
        terminated = _read_terminated(frame.column(roles.terminated), roles.terminated)
    weights = read_weights(sample_weight, len(frame))
    taken_with = None if propensities is None else _read_propensities(frame, propensities)
    return link_rows(
        LogRows(
            roles,
            states,
            action,
            next_states=next_states,
            rewards=rewards,
            episode=episode,
            step=step,
            step_numbers=step_numbers,
            terminated=terminated,
            weights=weights,
            propensities=taken_with,
            beside=tuple(beside),
        )
    )


def require_rows(frame: Table) -> None:
    """Raise for a table without rows."""
    if not len(frame):
        raise ValueError("The table is empty: it has 0 rows. At least one transition is needed.")


def read_columns(X: Any, names: Sequence[str]) -> list[LabelColumn]:
    """Read columns of a table as labels, whatever their role; labels may be missing."""
    frame = as_table(X)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"The table has no column {quoted(missing)}. It has the column(s) "
            f"{quoted(frame.columns)}."
        )
    return [read_labels(frame.column(name), name) for name in names]


def read_features(
    X: Any,
    y: Any,
    reward: Any = None,
    episode: Any = None,
    sample_weight: Any = None,
    *,
    beside: Sequence[LabelColumn] = (),
) -> Transitions:
    """Read state features, logged actions and what was handed in beside them.

    Without episodes every row is a decision of its own. ``beside`` as in ``read_table``.
    """
    states = read_feature_columns(X)
    for column in states:
        require_no_missing(column)
    action = read_labels(as_series(y, "y", warn=True), "y")
    require_no_missing(action)
    n_rows = len(states[0].codes)
    rewards = None if reward is None else read_rewards(as_series(reward, "reward"), "reward")
    if episode is None:
        codes = np.arange(n_rows, dtype=np.int32)
        episodes = LabelColumn("episode", "int", codes, codes)
    else:
        episodes = read_labels(as_series(episode, "episode"), "episode")
        require_no_missing(episodes)
    check_consistent_length(states[0].codes, action.codes, rewards, episodes.codes)
    return link_rows(
        LogRows(
            FEATURE_ROLES,
            states,
            action,
            rewards=rewards,
            episode=episodes,
            weights=read_weights(sample_weight, n_rows),
            beside=tuple(beside),
        )
    )


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
        return [read_labels(frame.column(name), name) for name in frame.columns]
    array = check_array(X, dtype=None, input_name="X")
    if array.dtype.kind in "USf" and not isinstance(X, np.ndarray):
        array = np.asarray(X, dtype=object)  # numpy made strings or floats of everything
    return [read_labels(pd.Series(array[:, j]), f"x{j}") for j in range(array.shape[1])]


def read_state_columns(frame: Table, names: Sequence[str]) -> list[LabelColumn]:
    """Read the states of a table by their columns' names, whatever else the table holds."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"The table has no column {quoted(missing)}, which held the state in fit. "
            f"It has the column(s) {quoted(frame.columns)}."
        )
    return [read_labels(frame.column(name), name) for name in names]


def read_state_labels(labels: Any, name: str) -> LabelColumn:
    """Read a 1-D list, array or column of state labels."""
    return read_labels(as_series(labels, name), name)


def read_weights(sample_weight: Any, n_rows: int) -> Floats | None:
    """Check one weight a row: finite, not negative, not all zero."""
    if sample_weight is None:
        return None
    weights: Floats = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, expected ({n_rows},): one weight a row."
        )
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise ValueError(
            f"sample_weight is negative ({weights[row]}) at row {row} (counting from 0); "
            "a weight says how often a row counts. Drop the row or use weight 0."
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError("sample_weight is so large that its sum overflows. Scale it down.")
    if not weights.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number: all of them are zero."
        )
    return weights


def _read_propensities(frame: Table, propensities: Any) -> Floats:
    """Read the probability of every logged action: a number above 0, at most 1."""
    name = propensities if isinstance(propensities, str) else "behavior"
    if isinstance(propensities, str):
        if name not in frame.columns:
            raise ValueError(
                f"The table has no column {shown(name)} of propensities. It has the column(s) "
                f"{quoted(frame.columns)}."
            )
        propensities = frame.column(name)
    numbers = read_rewards(as_series(propensities, name), name)
    check_consistent_length(frame, numbers)
    bad = (numbers <= 0) | (numbers > 1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"Propensity {numbers[row]:g} at row {row} (counting from 0, column {shown(name)}) is "
            "not in (0, 1]: it is the probability with which the logged action was taken, and "
            "that action was taken. Correct it or drop the row."
        )
    return numbers


def read_rewards(series: pd.Series, name: str) -> Floats:
    """Read a column of finite numbers."""
    kinds = {"integer", "floating", "mixed-integer-float", "boolean", "decimal"}
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred == "complex":
        raise ValueError(f"Complex data not supported: column {shown(name)} holds complex numbers.")
    if inferred not in kinds and not pd.api.types.is_numeric_dtype(series.dtype):
        is_number = series.map(lambda value: isinstance(value, Real)) | series.isna()
        if not is_number.all() or not len(is_number):
            row = int(np.argmin(is_number.to_numpy(dtype=bool)))
            raise ValueError(
                f"Column {shown(name)} must hold numbers, got {shown(series.iloc[row])} at row "
                f"{row} (counting from 0) of a column of dtype {series.dtype}. Convert it, for "
                "example with pandas.to_numeric."
            )
    try:
        rewards: Floats = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except OverflowError as error:
        raise ValueError(
            f"Column {shown(name)} holds a number beyond float64: {shortened(error)}."
        ) from error
    finite = np.isfinite(rewards)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"Column {shown(name)} contains NaN, None or infinity (inf) in {int((~finite).sum())} "
            f"row(s), first at row {row} (counting from 0). Drop these rows or fill them in."
        )
    return rewards


def episode_codes(X: Any, name: str) -> Codes:
    """Read the episode column of a table as codes, in order of appearance."""
    frame = as_frame(X)
    if frame is None or name not in frame.columns:
        found = type(X).__name__ if frame is None else f"column(s) {quoted(frame.columns)}"
        raise ValueError(
            f"Rows cannot be split by episode: expected a table with a column {shown(name)}, got "
            f"{found}. Name the column with episode=..., or hand in groups."
        )
    return label_codes(frame.column(name), name)


def label_codes(labels: Any, name: str) -> Codes:
    """Read a 1-D list, array or column of labels, none missing, as codes."""
    column = read_labels(as_series(labels, name), name)
    require_no_missing(column)
    return column.codes


def _require_columns(frame: Table, roles: Roles) -> None:
    """Raise for a named column that the table lacks, or that has two roles."""
    needed = {"action": (roles.action,), "state": roles.state}
    if roles.reward is not None:
        needed["reward"] = (roles.reward,)
    if roles.next_state is not None:
        needed["next_state"] = roles.next_state
    # A role that keeps its default name may be absent; a name that was given is meant.
    for role in ("episode", "step", "terminated"):
        name = getattr(roles, role)
        if name not in (None, role):
            needed[role] = (name,)
    for role, names in needed.items():
        missing = [name for name in names if name not in frame.columns]
        if missing:
            raise ValueError(
                f"The table has no column {quoted(missing)} for the role {role!r}. It has the "
                f"column(s) {quoted(frame.columns)}. Name yours: "
                f"MarkovPolicyEstimator({role}=...)."
            )
    if not roles.state:
        raise ValueError("state names no column; a state needs at least one.")
    if roles.next_state is not None and len(roles.next_state) != len(roles.state):
        raise ValueError(
            f"next_state names {len(roles.next_state)} column(s) and state {len(roles.state)}; "
            "every state column needs its next-state column, in the same order."
        )
    named = [*roles.state, *(roles.next_state or ()), roles.action, roles.reward, roles.episode]
    used = [name for name in [*named, roles.step, roles.terminated] if name is not None]
    twice = [name for name in used if used.count(name) > 1]
    if twice:
        raise ValueError(
            f"Column {shown(twice[0])} is named for two roles; each needs its own column. A role "
            "that the table does not have, such as step or terminated, may be None."
        )


def _read_next_states(frame: Table, roles: Roles) -> list[LabelColumn] | None:
    """Read the next states if the table has them: all columns, present or missing together."""
    names = roles.next_state
    if names is None:
        names = tuple(f"next_{name}" for name in roles.state)
        there = [name for name in names if name in frame.columns]
        if not there:
            return None
        if len(there) < len(names):
            absent = [name for name in names if name not in frame.columns]
            raise ValueError(
                f"The table has next-state column(s) {quoted(there)} but not {quoted(absent)}. "
                "Add what is missing, or name the columns with next_state=..."
            )
    columns = [read_labels(frame.column(name), name) for name in names]
    missing = columns[0].codes == MISSING
    for column in columns[1:]:
        differs = missing != (column.codes == MISSING)
        if differs.any():
            row = int(np.argmax(differs))
            raise ValueError(
                f"Columns {shown(columns[0].name)} and {shown(column.name)} must be missing "
                f"together: at row {row} (counting from 0) one of them is missing. Leave all "
                "next-state columns empty where the episode ends, and fill all of them elsewhere."
            )
    return columns


def _read_episodes(frame: Table, roles: Roles, *, required: bool) -> LabelColumn | None:
    if roles.episode is None or roles.episode not in frame.columns:
        if not required:
            return None
        nexts = quoted([f"next_{name}" for name in roles.state])
        raise ValueError(
            f"The table has neither next states ({nexts}) nor an episode column "
            f"({shown(roles.episode)}), so what followed a row is unknown. Add next-state "
            "column(s), or a column that tells which rows belong together, and name them with "
            f"next_state=... or episode=... The table has the column(s) {quoted(frame.columns)}."
        )
    column = read_labels(frame.column(roles.episode), roles.episode)
    require_no_missing(column)
    return column


def _read_steps(series: pd.Series, name: str) -> tuple[LabelColumn, npt.NDArray[Any]]:
    """Read steps, and as numbers: int64 if whole; fractions and ranks of times, as float64."""
    remedy = "Fill in the step, or say step=None to take the rows as they lie."
    raise_if_missing(name, series.isna().to_numpy(dtype=bool), remedy)
    column = read_labels(series, name)
    values = column.values
    if column.kind not in (*NUMERIC_KINDS, *TIME_KINDS):
        raise TypeError(
            f"Column {shown(name)} must hold numbers or times to order rows by, got "
            f"{shown(series.iloc[0])} at row 0. Convert it, or say step=None to take the rows as "
            "they lie."
        )
    if column.kind in TIME_KINDS:
        values = np.argsort(np.argsort(values)).astype(np.float64)
    elif (values == np.floor(values)).all() and (np.abs(values) < EXACT_FLOAT).all():
        values = values.astype(np.int64)
    return column, values[column.codes]


def _read_terminated(series: pd.Series, name: str) -> Bools:
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred != "boolean" and not pd.api.types.is_bool_dtype(series.dtype):
        raise TypeError(
            f"Column {shown(name)} must be bool, got {shown(series.iloc[0])} at row 0. Convert it "
            "with .astype(bool), or say terminated=None if it means something else."
        )
    raise_if_missing(name, series.isna().to_numpy(dtype=bool), "Fill in True or False.")
    terminated: Bools = series.to_numpy(dtype=bool)
    return terminated

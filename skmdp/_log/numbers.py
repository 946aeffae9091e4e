"""Columns of numbers: rewards, weights, propensities, steps, and flags that are true or false."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils import check_array, check_consistent_length

from skmdp._log.frames import Table, as_series, without_mask
from skmdp._log.kinds import read_labels
from skmdp._log.labels import EXACT_FLOAT, NUMERIC_KINDS, LabelColumn, is_time, raise_if_missing
from skmdp._log.refusals import refusal
from skmdp._log.roles import hint_at
from skmdp._messages import quoted, shortened, shown
from skmdp._typing import Bools, Floats, Name

# What pandas calls the content of columns that may be flags.
FLAG_KINDS = ("boolean", "integer", "floating", "mixed-integer-float", "empty")


def read_rewards(
    series: pd.Series,
    name: Name,
    *,
    remedy: str = "Fill it in.",
    may_lack: Bools | None = None,
) -> Floats:
    """Read a column of finite numbers; they may be NaN in the rows marked by ``may_lack``."""
    kinds = {"integer", "floating", "mixed-integer-float", "boolean", "decimal"}
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred == "complex":
        raise refusal(
            f"Complex data not supported: column {shown(name)} holds complex numbers.",
            "complex",
            name,
        )
    if inferred not in kinds and not pd.api.types.is_numeric_dtype(series.dtype):
        is_number = series.map(lambda value: isinstance(value, Real)) | series.isna()
        if not is_number.all():
            row = int(np.argmin(is_number.to_numpy(dtype=bool)))
            raise refusal(
                f"Column {shown(name)} must hold numbers, got {shown(series.iloc[row])} at row "
                f"{row} (counting from 0) of a column of dtype {shortened(series.dtype)}. Convert "
                "it, for example with pandas.to_numeric.",
                "not_numbers",
                name,
                ~is_number.to_numpy(dtype=bool),
            )
    try:
        rewards: Floats = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except OverflowError as error:
        raise refusal(
            f"Column {shown(name)} holds a number beyond float64: {shortened(error)}.",
            "not_numbers",
            name,
        ) from error
    finite = np.isfinite(rewards)
    if may_lack is not None:
        finite |= np.isnan(rewards) & may_lack
    if not finite.all():
        row = int(np.argmin(finite))
        raise refusal(
            f"Column {shown(name)} contains NaN, None or infinity (inf) in {int((~finite).sum())} "
            f"row(s), first at row {row} (counting from 0). {remedy}",
            "missing",
            name,
            ~finite,
        )
    return rewards


def find_weights(frame: Table, sample_weight: Any) -> Any:
    """Return the column that weights are named by, or the weights that were handed in."""
    if not isinstance(sample_weight, str | int):
        return sample_weight
    require_weights(sample_weight, frame.columns)
    return frame.column(sample_weight)


def require_weights(name: Any, columns: Sequence[Name]) -> None:
    """Raise unless a table has the column that weights are named by."""
    if name not in columns:
        raise ValueError(
            f"The table has no column {shown(name)} of weights.{hint_at(name, columns)} It has the "
            f"column(s) {quoted(columns)}."
        )


def read_weights(sample_weight: Any, n_rows: int, *, may_be_zero: bool = False) -> Floats | None:
    """Check one weight a row: finite, not negative, not all zero unless they may be."""
    if sample_weight is None:
        return None
    if np.isscalar(sample_weight):
        raise ValueError(
            f"sample_weight={shown(sample_weight)} is one value, expected ({n_rows},): one weight "
            "a row. Leave it out where all rows count alike."
        )
    weights: Floats = check_array(
        without_mask(sample_weight, "sample_weight"),
        ensure_2d=False,
        dtype=np.float64,
        ensure_min_samples=int(not may_be_zero),
        ensure_all_finite=False,
        input_name="sample_weight",
    )
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, expected ({n_rows},): one weight a row."
        )
    if not np.isfinite(weights).all():
        row = int(np.argmin(np.isfinite(weights)))
        what = "NaN" if np.isnan(weights[row]) else "infinity"
        raise ValueError(
            f"sample_weight contains {what} at row {row} (counting from 0). Fill it in, "
            "with 0 to leave the row out."
        )
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise ValueError(
            f"sample_weight is negative ({weights[row]}) at row {row} (counting from 0); "
            "a weight says how often a row counts. Use weight 0 to leave the row out."
        )
    tiny = (weights > 0) & (weights < np.finfo(np.float64).tiny)
    if tiny.any():
        row = int(np.argmax(tiny))
        raise ValueError(
            f"sample_weight is {weights[row]:g} at row {row} (counting from 0), too small to "
            "divide by. Scale all weights up, or use weight 0 to leave the row out."
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError("sample_weight is so large that its sum overflows. Scale it down.")
    if not (may_be_zero or weights.any()):
        raise ValueError(
            "Sample weights must contain at least one non-zero number: all of them are zero."
        )
    return weights


def read_propensities(frame: Table, propensities: Any, *, may_lack: Bools | None = None) -> Floats:
    """Read the probability of every logged action: a number above 0, at most 1."""
    is_name = isinstance(propensities, str | Integral)
    name = propensities if is_name else "behavior"
    if is_name:
        if name not in frame.columns:
            raise ValueError(
                f"The table has no column {shown(name)} of propensities. It has the column(s) "
                f"{quoted(frame.columns)}."
            )
        propensities = frame.column(name)
    series = as_series(propensities, name)
    check_consistent_length(frame, series)
    remedy = "Fill it in, or leave out the whole episode."
    numbers = read_rewards(series, name, remedy=remedy, may_lack=may_lack)
    bad = (numbers <= 0) | (numbers > 1)
    if may_lack is not None:
        bad &= ~may_lack
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"Propensity {numbers[row]:g} at row {row} (counting from 0, column {shown(name)}) is "
            "not in (0, 1]: it is the probability with which the logged action was taken, and "
            "that action was taken. Correct it, or leave out the whole episode."
        )
    return numbers


def read_steps(series: pd.Series, name: Name) -> tuple[LabelColumn, npt.NDArray[Any]]:
    """Read steps, and as numbers: int64 if whole; fractions and ranks of times, as float64."""
    remedy = "Fill in the step, or say step=None to use the rows in the order given."
    raise_if_missing(name, series.isna().to_numpy(dtype=bool), remedy)
    column = read_labels(series, name)
    values = column.values
    if not len(series):
        return column, np.empty(0, dtype=np.int64)
    if column.kind not in NUMERIC_KINDS and not is_time(column.kind):
        raise refusal(
            f"Column {shown(name)} must hold numbers or times to order rows by, got "
            f"{shown(series.iloc[0])} at row 0. Convert it, for example with pandas.to_numeric or "
            "pandas.to_datetime, or say step=None to use the rows in the order given.",
            "no_order",
            name,
            error=TypeError,
        )
    if is_time(column.kind):
        values = np.argsort(np.argsort(values)).astype(np.float64)
    elif (values == np.floor(values)).all() and (np.abs(values) < EXACT_FLOAT).all():
        values = values.astype(np.int64)
    return column, values[column.codes]


def find_steps(
    frame: Table, name: Name | None
) -> tuple[LabelColumn, npt.NDArray[Any]] | tuple[None, None]:
    """Read the column that orders rows if the table has it, as labels and as numbers."""
    if name is None or name not in frame.columns:
        return None, None
    return read_steps(frame.column(name), name)


def steps_of_decisions(
    frame: Table, name: Name | None
) -> tuple[LabelColumn, npt.NDArray[Any]] | tuple[None, None]:
    """Read when decisions were that are nothing but that, None where the column does not tell."""
    with suppress(TypeError, ValueError):
        return find_steps(frame, name)
    return None, None


def read_flags(series: pd.Series, name: Name, role: str, *, may_lack: Bools | None = None) -> Bools:
    """Read a column of booleans, or of the numbers 0 and 1; what may be lacking is False."""
    if series.dtype == np.bool_:
        return np.asarray(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    missing = series.isna().to_numpy(dtype=bool)
    if pd.api.types.infer_dtype(series, skipna=True) in FLAG_KINDS:
        flags = series.to_numpy(dtype=np.float64, na_value=np.nan)
        strange = ~np.isin(flags, (0, 1)) & ~missing
    else:
        flags, strange = np.empty(0), ~missing
    if strange.any():
        row = int(np.argmax(strange))
        value = series.iloc[row]
        yes = "'yes'" if isinstance(value, str) else shown(value)
        raise refusal(
            f"Column {shown(name)} must hold booleans, or 0 and 1, got {shown(value)} at row {row} "
            f"(counting from 0). Compare it with the value that means yes, as in "
            f"table[{shown(name)}] == {yes}, or say {role}=None if it means something else.",
            "flags",
            name,
            strange,
            error=TypeError,
        )
    needed = missing if may_lack is None else missing & ~may_lack
    raise_if_missing(name, needed, "Fill in True or False.")
    return np.asarray(flags == 1)

"""Columns of numbers: rewards, weights, propensities, steps, and flags that are true or false."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils import check_array, check_consistent_length

from skmdp._log.frames import Table, as_series
from skmdp._log.labels import (
    EXACT_FLOAT,
    NUMERIC_KINDS,
    TIME_KINDS,
    LabelColumn,
    raise_if_missing,
    read_labels,
)
from skmdp._messages import quoted, shortened, shown
from skmdp._typing import Bools, Floats, Name

# What pandas calls the content of columns that may be flags.
FLAG_KINDS = ("boolean", "integer", "floating", "mixed-integer-float", "empty")


def read_rewards(series: pd.Series, name: Name) -> Floats:
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


def read_propensities(frame: Table, propensities: Any) -> Floats:
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


def read_steps(series: pd.Series, name: Name) -> tuple[LabelColumn, npt.NDArray[Any]]:
    """Read steps, and as numbers: int64 if whole; fractions and ranks of times, as float64."""
    remedy = "Fill in the step, or say step=None to use the rows in the order given."
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


def read_flags(series: pd.Series, name: Name, role: str) -> Bools:
    """Read a column of booleans, or of the numbers 0 and 1."""
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
        raise TypeError(
            f"Column {shown(name)} must hold booleans, or 0 and 1, got {shown(value)} at row {row} "
            f"(counting from 0). Compare it with the value that means yes, as in "
            f"table[{shown(name)}] == {yes}, or say {role}=None if it means something else."
        )
    raise_if_missing(name, missing, "Fill in True or False.")
    return np.asarray(flags == 1)

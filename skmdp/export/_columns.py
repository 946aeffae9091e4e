"""Columns of a state as a user measures them: labels, or numbers that fall between borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder

from skmdp._log.index import LabelIndex
from skmdp._log.kinds import read_labels
from skmdp._log.labels import UNKNOWN, raise_if_missing
from skmdp._messages import shown
from skmdp._pipelines import unwrap
from skmdp._typing import Array, Floats, Integers, Name
from skmdp.preprocessing import StateEncoder

RANGES = "ranges"


@dataclass(frozen=True, eq=False)
class Labels:
    """A column whose distinct values are ``labels``, (n_values,), of one ``kind``."""

    name: Name
    kind: str
    labels: Array

    @property
    def n_codes(self) -> int:
        """Number of labels."""
        return len(self.labels)

    def codes(self, series: pd.Series) -> Integers:
        """Return the position of each value, UNKNOWN for others, (n,)."""
        column = read_labels(series, self.name)
        index = LabelIndex((self.name,), (self.kind,), (self.labels,), ())
        return index.encode([column], where="in the policy")

    def with_labels(self, labels: Array) -> Labels:
        """Return the column with some more labels after its own."""
        known = pd.Index(self.labels, dtype=self.labels.dtype)
        new = pd.unique(labels[known.get_indexer(labels) == UNKNOWN])
        return replace(self, labels=np.append(self.labels, new))


@dataclass(frozen=True, eq=False)
class Ranges:
    """A column of numbers that is cut at ``borders``, each of which belongs to the range above it.

    ``fill`` is taken in place of a missing number; None where none may be missing.
    """

    name: Name
    borders: Floats
    fill: float | None = None

    kind = RANGES

    @property
    def n_codes(self) -> int:
        """Number of ranges."""
        return len(self.borders) + 1

    def codes(self, series: pd.Series) -> Integers:
        """Return the range of each number, (n,)."""
        numbers = pd.to_numeric(series).to_numpy(dtype=np.float64, na_value=np.nan)
        missing = np.isnan(numbers)
        if self.fill is None:
            raise_if_missing(self.name, missing, "Fill it in.")
        else:
            numbers = np.where(missing, self.fill, numbers)
        return np.asarray(np.searchsorted(self.borders, numbers, side="right"))

    def between(self, first: int, last: int) -> tuple[float, float]:
        """Return the borders of the ranges from one to another, infinite at the ends."""
        borders = np.concatenate([[-np.inf], self.borders, [np.inf]])
        return float(borders[first]), float(borders[last + 1])


Column = Labels | Ranges


def columns_of(states: LabelIndex, transformers: Sequence[Any]) -> list[tuple[Column, Integers]]:
    """Return each column of the states as it is measured, and the code there of each label of it.

    Each array is (n_values of the column in ``states``,).
    """
    measured: dict[Any, Column] = {}
    for transformer in transformers:
        found = _measured_by(transformer)
        if set(found) & set(measured):
            raise _not_written(transformer, "it takes what another encoder made")
        measured |= found
    columns: list[tuple[Column, Integers]] = []
    for name, kind, values in zip(states.names, states.kinds, states.columns, strict=True):
        if name not in measured:
            columns.append((Labels(name, kind, values), np.arange(len(values))))
            continue
        codes = values.astype(np.int64)
        if not (0 <= codes.min() <= codes.max() < measured[name].n_codes):
            raise TypeError(
                f"Column {shown(name)} holds codes of no label, such as that of a missing one, so "
                "its states cannot be written as conditions on what was measured. Fill it in first."
            )
        columns.append((measured[name], codes))
    return columns


def _measured_by(transformer: Any) -> dict[Any, Column]:
    """Return the columns that an encoder makes of one measurement each."""
    if not isinstance(transformer, StateEncoder) or not transformer.__skmdp_measured__():
        raise _not_written(transformer, "it is no StateEncoder that was fitted on a table")
    before, last = unwrap(transformer.transformer_)
    names = list(transformer.feature_names_in_)
    if isinstance(last, OrdinalEncoder) and not before:
        return dict(zip(names, map(_labels, names, last.categories_), strict=True))
    imputers = [step for step in before if isinstance(step, SimpleImputer)]
    are_bins = isinstance(last, KBinsDiscretizer) and last.encode == "ordinal"
    if not are_bins or not len(imputers) == len(before) <= 1:
        raise _not_written(transformer, f"{type(last).__name__} makes states in another way")
    fills = imputers[0].statistics_.tolist() if imputers else [None] * len(names)
    return {
        name: Ranges(name, edges[1:-1], fill)
        for name, edges, fill in zip(names, last.bin_edges_, fills, strict=True)
    }


def _labels(name: Name, categories: Array) -> Labels:
    """Return the categories of a column, in the order of their codes."""
    column = read_labels(pd.Series(categories), name)
    # A missing one, the last, has no code of its own.
    return Labels(name, column.kind, column.values)


def _not_written(transformer: Any, why: str) -> TypeError:
    return TypeError(
        f"States behind {shown(type(transformer).__name__)} cannot be written as conditions on "
        f"what was measured: {why}. Only bins (KBinsDiscretizer, StateEncoder by default) and "
        "labels (OrdinalEncoder) of single columns can."
    )


def require_microseconds(labels: Array, where: str) -> None:
    """Raise for times that differ by less than what they are written to."""
    if labels.dtype.kind not in "mM":
        return
    coarse = labels.astype(f"{labels.dtype.kind}8[us]")
    if (coarse != labels).any():
        first = labels[np.flatnonzero(coarse != labels)[0]]
        raise TypeError(
            f"{shown(first)} of {where} holds nanoseconds, which would be cut off, so that labels "
            'fall together. Convert the column to strings before the fit: .astype("string").'
        )

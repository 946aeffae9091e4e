"""Labels to codes and back: what a state or an action is called, and its number.

A column of labels is hashed once into int32 codes and its few distinct values; everything else
(kinds, missing values, sorting, matching state against next state) works on the distinct values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmdp._messages import shortened, shown
from skmdp._typing import Codes, Name, Names

MISSING = -1
UNKNOWN = -1


# From here on a float no longer holds every integer, so two labels may have become one.
EXACT_FLOAT = 2**53

_KINDS_IN_WORDS = "strings, numbers, booleans, bytes, dates or datetimes"


# What pandas calls the content of an object column -> what we call its kind.
_INFERRED_KINDS = {
    "string": "str",
    "bytes": "bytes",
    "integer": "int",
    "floating": "float",
    "mixed-integer-float": "float",
    "boolean": "bool",
    "date": "date",
    "datetime": "datetime",
    "datetime64": "datetime",
}
_DTYPE_KINDS = {"i": "int", "u": "int", "f": "float", "b": "bool", "M": "datetime"}
NUMERIC_KINDS = ("int", "float")
TIME_KINDS = ("date", "datetime", "datetime with time zone")


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """One column of labels as codes into its distinct values.

    ``codes`` is (n,) with ``MISSING`` where the label is missing; ``values`` holds the distinct
    labels in no particular order and may hold one twice (0.0 and -0.0).
    """

    name: Name
    kind: str
    codes: Codes
    values: npt.NDArray[Any]

    def take(self, rows: npt.NDArray[np.int64]) -> LabelColumn:
        """Return the labels of the given rows; row -1 is a missing label."""
        codes = np.append(self.codes, np.int32(MISSING))[rows]
        used = np.zeros(len(self.values) + 1, dtype=bool)
        used[codes] = True
        used = used[:-1]  # the last entry stands for MISSING
        if used.all():
            return LabelColumn(self.name, self.kind, codes, self.values)
        recode = np.append(np.cumsum(used, dtype=np.int32) - np.int32(1), np.int32(MISSING))
        return LabelColumn(self.name, self.kind, recode[codes], self.values[used])

    def label_at(self, row: int) -> Any:
        """Return the label of one row as a Python scalar, to show it."""
        code = self.codes[row]
        return pd.Index(self.values[code : code + 1]).tolist()[0]

    def row_of(self, bad_value: npt.NDArray[np.bool_]) -> int:
        """Return the first row whose label is one of the values marked bad."""
        return int(np.flatnonzero(np.append(bad_value, False)[self.codes])[0])


def read_labels(series: pd.Series, name: Name) -> LabelColumn:
    """Hash a column of labels, once; refuse what cannot be sorted or told apart."""
    if series.dtype == object:
        _check_one_kind(series, name)
    # Not the series itself: pandas would make an Index of its distinct labels.
    array = series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array
    try:
        codes, uniques = pd.factorize(array)
    except (TypeError, NotImplementedError) as error:  # the latter: nested Arrow types
        raise TypeError(
            f"Column {shown(name)} of dtype {shortened(series.dtype)} cannot be hashed "
            f"({shortened(error)}); labels must be {_KINDS_IN_WORDS}. For a state of several parts "
            "use one column for each."
        ) from error
    kind, values = _as_numpy(uniques, name)
    column = LabelColumn(name, kind, codes.astype(np.int32), values)
    if kind != "float":
        return column
    if np.isinf(values).any():
        row = column.row_of(np.isinf(values))
        raise ValueError(
            f"Column {shown(name)} contains infinity (inf), first at row {row} (counting from 0); "
            "infinity is no label. Drop these rows or give them a label of their own."
        )
    is_number = ~np.isnan(values)
    if not is_number.all():  # Arrow tells NaN from null; for labels both are missing.
        recode = np.where(is_number, np.cumsum(is_number) - 1, MISSING).astype(np.int32)
        codes = np.append(recode, np.int32(MISSING))[column.codes]
        column = LabelColumn(name, kind, codes, values[is_number])
    return column


def require_no_missing(column: LabelColumn) -> None:
    """Raise if a label of the column is missing."""
    remedy = "Drop these rows or fill them in (a label of its own, such as -1, is fine)."
    raise_if_missing(column.name, column.codes == MISSING, remedy)


def raise_if_missing(name: Name, missing: npt.NDArray[np.bool_], remedy: str) -> None:
    """Raise if a value of the named column is missing."""
    if missing.any():
        raise ValueError(
            f"Column {shown(name)} contains NaN or None in {int(missing.sum())} row(s), first at "
            f"row {int(np.argmax(missing))} (counting from 0). {remedy}"
        )


def _check_one_kind(series: pd.Series, name: Name) -> None:
    """Look at every label of an object column: hashing would merge 1, 1.0 and True."""
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred in _INFERRED_KINDS or inferred == "empty":
        return
    labels = series.dropna()
    types = [type(label) for label in labels]
    rows = np.flatnonzero(series.notna().to_numpy())
    first = dict(zip(reversed(types), reversed(rows), strict=True))
    found = ", ".join(
        f"{kind.__name__} (row {row}: {shown(series.iloc[row])})"
        for kind, row in sorted(first.items(), key=lambda item: item[1])
    )
    hint = " For a state of several parts use one column for each." if tuple in first else ""
    raise TypeError(
        f"Column {shown(name)}: argument must be uniformly strings or numbers (or one other kind "
        f"of label: {_KINDS_IN_WORDS}), got {found}; rows count from 0. Convert the column to one "
        f"kind, for example with .astype(str).{hint}"
    )


def _as_numpy(uniques: Any, name: Name) -> tuple[str, npt.NDArray[Any]]:
    """Bring the distinct labels of any dtype to a numpy array of one of our kinds."""
    if isinstance(uniques.dtype, pd.CategoricalDtype):
        categories = uniques.categories.take(uniques.codes)
        if categories.dtype == object:
            _check_one_kind(pd.Series(categories, dtype=object), name)
        return _as_numpy(categories, name)
    if isinstance(uniques.dtype, pd.DatetimeTZDtype):
        instants = pd.DatetimeIndex(uniques).tz_convert("UTC").tz_localize(None)
        return "datetime with time zone", instants.to_numpy()
    values = np.asarray(uniques) if isinstance(uniques, np.ndarray) else uniques.to_numpy()
    if values.dtype != object:
        kind = _DTYPE_KINDS.get(values.dtype.kind)
    else:
        inferred = pd.api.types.infer_dtype(values, skipna=False)
        kind = "str" if inferred == "empty" else _INFERRED_KINDS.get(inferred)
    if kind == "date" and any(isinstance(value, datetime) for value in values):
        kind = None
    if kind == "datetime" and values.dtype == object:
        try:
            return _as_numpy(pd.DatetimeIndex(values), name)
        except (TypeError, ValueError):  # several time zones, or some without
            kind = None
    if values.dtype.kind == "c" or (values.dtype == object and inferred == "complex"):
        raise ValueError(f"Complex data not supported: column {shown(name)} holds complex numbers.")
    if kind is None:
        raise TypeError(
            f"Column {shown(name)} of dtype {shortened(uniques.dtype)} holds no labels of one "
            f"known kind; labels must be {_KINDS_IN_WORDS}. Convert the column, for example with "
            ".astype(str)."
        )
    if kind == "float":
        return kind, _as_float64(values, name)
    if kind == "int":
        limits = np.iinfo(np.int64)
        may_exceed = values.dtype.kind != "i" and len(values)
        for extreme in (values.max(), values.min()) if may_exceed else ():
            if not limits.min <= int(extreme) <= limits.max:
                raise ValueError(
                    f"Column {shown(name)} holds the integer {extreme}, which exceeds 64 bits "
                    "signed. Convert the column to strings."
                )
        return kind, values.astype(np.int64, copy=False)
    if kind == "str":
        return kind, values.astype(object, copy=False)
    if kind == "datetime":
        microseconds = values.astype("M8[us]")  # one unit for all, unless it would lose something
        return kind, microseconds if (microseconds == values).all() else values
    return kind, values


def _as_float64(values: npt.NDArray[Any], name: Name) -> npt.NDArray[np.float64]:
    """Bring float labels to float64, so that those of other precisions are the same numbers."""
    if values.dtype.kind == "f" and values.dtype.itemsize < 8:
        # The shortest decimal that names a float32, so that its 0.1 is the 0.1 of a float64.
        values = values.astype(str)
    numbers = values.astype(np.float64) + 0.0  # so that -0.0 is 0.0
    if values.dtype == object and (np.abs(numbers) >= EXACT_FLOAT).any():
        raise ValueError(
            f"Column {shown(name)} mixes fractions with {shown(values[np.abs(numbers).argmax()])}: "
            "from 2**53 on, integers are not exact as floats. Convert the column to strings."
        )
    return numbers


def match_kind(column: LabelColumn, kind: str, *, other: str, fractional: str) -> LabelColumn:
    """Bring a column to the kind of another one, or say why it cannot be matched.

    Integers that pandas turned into floats (the NaN of a terminal row) become integers again.
    ``fractional`` says what a fraction among them is: ``"error"`` or simply ``"keep"``, a label
    that no integer equals.
    """
    if column.kind == kind:
        return column
    values = column.values
    if not len(values):
        return LabelColumn(column.name, kind, column.codes, values)
    if {column.kind, kind} != {"int", "float"}:
        raise TypeError(
            f"Column {shown(column.name)} holds labels of kind {column.kind!r} (first value "
            f"{shown(pd.Index(values[:1]).tolist()[0])}), but {other} holds labels of kind "
            f"{kind!r}; labels of different kinds cannot be matched. Convert one of them."
        )
    large = np.abs(values.astype(np.float64)) >= EXACT_FLOAT
    if large.any():
        raise ValueError(
            f"Column {shown(column.name)} holds {shown(values[large][0].item())} (row "
            f"{column.row_of(large)}, counting from 0) against {other} of kind {kind!r}: from "
            "2**53 on, integers that went through float are no longer exact. Keep the column "
            'integer, for example with .astype("Int64"), or use strings.'
        )
    if kind == "float":
        return LabelColumn(column.name, kind, column.codes, values.astype(np.float64))
    fraction = values != np.floor(values)
    if not fraction.any():
        return LabelColumn(column.name, kind, column.codes, values.astype(np.int64))
    if fractional == "keep":
        return column
    raise ValueError(
        f"Column {shown(column.name)} holds {shown(values[fraction][0].item())} (row "
        f"{column.row_of(fraction)}, counting from 0), but {other} holds integers only. Make "
        "both columns float or both integer; if an encoder made these integers, such as "
        "StateEncoder, name the next-state columns there as well."
    )


def _sorted_union(
    arrays: Sequence[npt.NDArray[Any]],
) -> tuple[npt.NDArray[Any], list[Codes]]:
    """Return the sorted distinct values of all arrays, and each array's ranks among them.

    A rank array ends with one more entry, MISSING, so that code -1 looks up MISSING.
    """
    # An empty side (no next state at all) has a dtype of its own, which must not win.
    values = np.concatenate([array for array in arrays if len(array)] or arrays[:1])
    if values.dtype == object:  # strings hash faster than they sort, and Python sorts them best
        codes, uniques = pd.factorize(values)
        order = np.array(sorted(range(len(uniques)), key=uniques.tolist().__getitem__), dtype=int)
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        union, codes = uniques[order], rank[codes]
    else:
        union, codes = np.unique(values, return_inverse=True)
    ranks, start = [], 0
    for array in arrays:
        rank = np.full(len(array) + 1, MISSING, dtype=np.int32)
        rank[:-1] = codes[start : start + len(array)]
        ranks.append(rank)
        start += len(array)
    return union, ranks


def _recode(codes: Codes, rank: Codes) -> Codes:
    """Look codes up in place, block by block: of a long log a second array would show."""
    for start in range(0, len(codes), 2**20):
        block = codes[start : start + 2**20]
        block[:] = rank[block]
    return codes


def _hash_keys(
    prefix: Codes, part: Codes, n_values: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the (prefix, part) of each row as codes, (n,) with MISSING, and the pairs' keys."""
    present = np.flatnonzero(prefix != MISSING)
    codes = np.full(len(prefix), MISSING, dtype=np.int64)
    codes[present], uniques = pd.factorize(
        prefix[present].astype(np.int64) * n_values + part[present]
    )
    return codes, np.asarray(uniques)


@dataclass(frozen=True, eq=False)
class LabelIndex:
    """The sorted labels of a state (one or several columns) or of an action.

    ``columns[j]`` holds the sorted distinct values of column j. With several columns the label
    of columns 0..j is numbered step by step: ``keys[j - 1]`` holds the sorted numbers
    ``prefix * len(columns[j]) + code`` that occur, so a key never outgrows 64 bits.
    """

    names: Names
    kinds: tuple[str, ...]
    columns: tuple[npt.NDArray[Any], ...]
    keys: tuple[npt.NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.keys[-1] if self.keys else self.columns[0])

    def column_codes(self) -> npt.NDArray[np.int64]:
        """Return for every label the rank of each of its parts, (n_labels, n_columns)."""
        table = np.arange(len(self.columns[0]))[:, np.newaxis]
        for values, keys in zip(self.columns[1:], self.keys, strict=True):
            prefix, code = np.divmod(keys, len(values))
            table = np.column_stack([table[prefix], code])
        return table

    @property
    def labels(self) -> npt.NDArray[Any]:
        """A copy of the labels, (n_labels,) or (n_labels, n_columns) of dtype object."""
        if len(self.columns) == 1:
            return self.columns[0].copy()
        parts = self.parts(np.arange(len(self)))
        return np.column_stack([part.astype(object) for part in parts])

    def label(self, code: int) -> Any:
        """Return one label: a scalar, or a tuple for several columns."""
        label: Any = self.python_labels(np.array([code]))[0]
        return label

    def parts(self, codes: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the labels of some codes column by column, each (n,)."""
        ranks = self.column_codes()[codes]
        return [values[ranks[:, j]] for j, values in enumerate(self.columns)]

    def python_labels(self, codes: npt.NDArray[Any]) -> list[Any]:
        """Return labels as Python scalars, or tuples of them; datetimes as pandas Timestamps."""
        columns = [pd.Index(part).tolist() for part in self.parts(codes)]
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))

    def as_columns(self) -> list[LabelColumn]:
        """Return the labels as columns, to look them up in another index."""
        codes = self.column_codes().astype(np.int32)
        return [
            LabelColumn(name, kind, codes[:, j], values)
            for j, (name, kind, values) in enumerate(
                zip(self.names, self.kinds, self.columns, strict=True)
            )
        ]

    def encode(self, columns: Sequence[LabelColumn], *, where: str = "in fit") -> Codes:
        """Return the codes of labels, UNKNOWN where a label is not in the index.

        ``where`` says in an error where the labels of the index were seen.
        """
        codes: npt.NDArray[Any] | None = None
        for j, column in enumerate(columns):
            require_no_missing(column)
            known = f"{shown(self.names[j])} {where}"
            matched = match_kind(column, self.kinds[j], other=known, fractional="keep")
            values = self.columns[j]
            part = pd.Index(values).get_indexer(pd.Index(matched.values))[matched.codes]
            if codes is None:
                codes = part
                continue
            key = codes.astype(np.int64) * len(values) + part
            key[(codes == UNKNOWN) | (part == UNKNOWN)] = UNKNOWN
            codes = pd.Index(self.keys[j - 1]).get_indexer(key)
        assert codes is not None
        return codes.astype(np.int32)

    def numbers(self) -> npt.NDArray[np.float64]:
        """Return the labels as points, (n_labels, n_columns), for columns of numbers."""
        parts = self.parts(np.arange(len(self)))
        return np.column_stack([part.astype(np.float64) for part in parts])


def index_labels(*sides: Sequence[LabelColumn]) -> tuple[LabelIndex, list[Codes]]:
    """Give the labels that occur on any side (state, next state) numbers, in sorted order.

    Every side holds the same columns; the first one settles the kinds and must be complete. The
    columns' codes are taken over: recoded in place, and returned.
    Returns the index and each side's codes (MISSING where a label is missing).
    """
    first = sides[0]
    columns: list[npt.NDArray[Any]] = []
    keys: list[npt.NDArray[np.int64]] = []
    codes: list[Codes] = []
    for j, column in enumerate(first):
        if column.kind == "datetime with time zone":
            raise TypeError(
                f"Column {shown(column.name)} holds datetimes with a time zone, which labels "
                "cannot keep. Convert it, for example with "
                '.dt.tz_convert("UTC").dt.tz_localize(None).'
            )
        matched = [
            match_kind(
                side[j],
                column.kind,
                other=f"column {shown(column.name)}",
                fractional="error",
            )
            for side in sides
        ]
        values, ranks = _sorted_union([side.values for side in matched])
        parts = [_recode(side.codes, rank) for rank, side in zip(ranks, matched, strict=True)]
        columns.append(values)
        if j == 0:
            codes = parts
            continue
        hashed = [
            _hash_keys(prefix, part, len(values)) for prefix, part in zip(codes, parts, strict=True)
        ]
        occurring, ranks = _sorted_union([uniques for _, uniques in hashed])
        keys.append(occurring)
        codes = [rank[row_codes] for rank, (row_codes, _) in zip(ranks, hashed, strict=True)]
    names = tuple(column.name for column in first)
    kinds = tuple(column.kind for column in first)
    return LabelIndex(names, kinds, tuple(columns), tuple(keys)), codes

"""The sorted labels of a state or an action, and the number of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, cmp_to_key
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmdp._log.labels import (
    MISSING,
    UNKNOWN,
    LabelColumn,
    as_scalars,
    match_kind,
    natural,
    require_no_missing,
)
from skmdp._log.lookup import look_up
from skmdp._messages import shown
from skmdp._typing import Codes, Names


class _Unordered(Exception):
    """Two labels of which neither comes first."""


def _compare(one: Any, other: Any) -> int:
    try:
        return -1 if one < other else 1
    except TypeError as error:
        raise _Unordered(one, other) from error


def _sorted_positions(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return the positions of distinct objects in their order, or name two that have none."""
    labels = values.tolist()
    try:
        order = np.array(sorted(range(len(labels)), key=labels.__getitem__), dtype=np.intp)
    except TypeError:  # sort again, in search of the pair
        order = np.array(sorted(range(len(labels)), key=lambda i: cmp_to_key(_compare)(labels[i])))
    rises = values[order[:-1]] < values[order[1:]]
    if not rises.all():  # sets, say, of which neither holds the other
        raise _Unordered(*values[order[np.argmin(rises) :][:2]])
    return order


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
        order = _sorted_positions(uniques)
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
    if np.array_equal(rank[:-1], np.arange(len(rank) - 1)):  # in order already
        return codes
    look_up(rank, codes, out=codes)
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


def _as_index(values: npt.NDArray[Any]) -> pd.Index:
    """Return distinct values as pandas looks them up; objects stay what they are."""
    return pd.Index(values, dtype=values.dtype, copy=False)


def _as_objects(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels as objects: times as those of Python, or of pandas if finer than that."""
    if part.dtype.kind in "mM" and np.datetime_data(part.dtype)[0] == "ns":
        return np.asarray(pd.Index(part).astype(object))
    return part.astype(object)


def _refuse_unordered(sides: Sequence[LabelColumn], one: Any, other: Any) -> NoReturn:
    """Raise for the first row that holds one of two labels without an order."""
    places = [[label is one for label in column.values] for column in sides]
    column, found = next(pair for pair in zip(sides, places, strict=True) if any(pair[1]))
    column.refuse(
        np.array(found),
        f", and neither it nor {shown(other)} comes first; states and actions are sorted. Use "
        "labels that have an order, such as strings, numbers or tuples of them.",
        TypeError,
    )


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

    @cached_property
    def _hashed(self) -> list[tuple[pd.Index, pd.Index]]:
        """Each column's values, and the keys up to it, as they are looked up: hashed once."""
        keys = (np.empty(0, dtype=np.int64), *self.keys)
        return [(_as_index(x), _as_index(y)) for x, y in zip(self.columns, keys, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of a file what is made of the rest."""
        return {name: value for name, value in vars(self).items() if name != "_hashed"}

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
            return natural(self.kinds[0], self.columns[0].copy())
        parts = self.parts(np.arange(len(self)))
        return np.column_stack([_as_objects(part) for part in parts])

    def label(self, code: int) -> Any:
        """Return one label: a scalar, or a tuple for several columns."""
        label: Any = self.python_labels(np.array([code]))[0]
        return label

    def parts(self, codes: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the labels of some codes column by column, each (n,)."""
        ranks = self.column_codes()[codes]
        return [
            natural(kind, values[ranks[:, j]])
            for j, (kind, values) in enumerate(zip(self.kinds, self.columns, strict=True))
        ]

    def python_labels(self, codes: npt.NDArray[Any]) -> list[Any]:
        """Return labels as Python scalars, or tuples of them; times as those of pandas."""
        columns = [as_scalars(part) for part in self.parts(codes)]
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
            part = look_up(self.encode_values(column, j, where=where), column.codes)
            if codes is None:
                codes = part
                continue
            among, among_keys = self._hashed[j]
            key = codes.astype(np.int64) * len(among) + part
            key[(codes == UNKNOWN) | (part == UNKNOWN)] = UNKNOWN
            codes = among_keys.get_indexer(key).astype(np.int32)
        assert codes is not None
        return codes

    def encode_values(self, column: LabelColumn, j: int = 0, *, where: str = "in fit") -> Codes:
        """Return which label of column j each value of a column is, UNKNOWN if none, (n_values,).

        Where the index has one column only, these are its codes.
        """
        known = f"{shown(self.names[j])} {where}"
        matched = match_kind(column, self.kinds[j], other=known, fractional="keep")
        among, _ = self._hashed[j]
        return np.asarray(among.get_indexer(_as_index(matched.values)), dtype=np.int32)

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
        matched = [
            match_kind(
                side[j],
                column.kind,
                other=f"column {shown(column.name)}",
                fractional="error",
            )
            for side in sides
        ]
        try:
            values, ranks = _sorted_union([side.values for side in matched])
        except _Unordered as pair:
            _refuse_unordered(matched, *pair.args)
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

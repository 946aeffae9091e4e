"""Labels as codes: a column of states or actions is a few distinct values and a number a row.

Everything that is asked of labels (kinds, missing values, sorting, matching state against next
state) is asked of the distinct values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmdp._log.refusals import refusal
from skmdp._messages import shown
from skmdp._typing import Bools, Codes, Name

MISSING = -1
UNKNOWN = -1

# From here on a float no longer holds every integer, so two labels may have become one.
EXACT_FLOAT = 2**53

# Instants are kept in UTC; the zone that follows is the one they are shown in.
IN_ZONE = "datetime in "
NUMERIC_KINDS = ("int", "float")
_DATES = ("date", "datetime", "period")
_TIMES = (*_DATES, "time", "timedelta")


def is_time(kind: str) -> bool:
    """Whether labels of a kind are times, which order rows and may be cut into ranges."""
    return kind.partition(" ")[0] in _TIMES


def is_date(kind: str) -> bool:
    """Whether labels of a kind tell when something was, and not only how long after another."""
    return kind.partition(" ")[0] in _DATES


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """One column of labels as codes into its distinct values.

    ``codes`` is (n,) with ``MISSING`` where the label is missing; ``values`` holds the distinct
    labels in no particular order and may hold one twice (0.0 and -0.0). ``kind`` is a word
    ("int", "str", "UUID"), or a phrase where labels of one type differ in what they can be compared
    with ("period of frequency D").
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
        return as_scalars(natural(self.kind, self.values[code : code + 1]))[0]

    def row_of(self, bad_value: Bools) -> int:
        """Return the first row whose label is one of the values marked bad."""
        return int(np.flatnonzero(np.append(bad_value, False)[self.codes])[0])

    def refuse(
        self,
        bad_value: Bools,
        why: str,
        error: type[Exception] = ValueError,
        *,
        kind: str = "label",
    ) -> NoReturn:
        """Raise for the first row whose label is one of the values marked bad."""
        row = self.row_of(bad_value)
        raise refusal(
            f"Column {shown(self.name)} holds {shown(self.label_at(row))} (row {row}, counting "
            f"from 0){why}",
            kind,
            self.name,
            np.append(bad_value, False)[self.codes],
            error=error,
        )


def by_appearance(column: LabelColumn) -> LabelColumn:
    """Return a column, none of it missing, whose labels are numbered as they appear in it."""
    if (column.codes[1:] >= column.codes[:-1]).all():
        return column
    codes, order = pd.factorize(column.codes)
    return LabelColumn(column.name, column.kind, codes.astype(np.int32), column.values[order])


def join_columns(columns: Sequence[LabelColumn]) -> LabelColumn:
    """Make one column of several: its labels are tuples, none missing."""
    codes = columns[0].codes.astype(np.int64)
    for column in columns[1:]:
        codes = pd.factorize(codes * len(column.values) + column.codes)[0]
    rows = np.arange(len(codes))
    first = np.empty(codes.max(initial=-1) + 1, dtype=np.int64)
    first[codes[::-1]] = rows[::-1]
    values = pd.MultiIndex.from_arrays([column.values[column.codes[first]] for column in columns])
    names = ", ".join(str(column.name) for column in columns)
    return LabelColumn(names, "tuple", codes.astype(np.int32), values.to_numpy())


def natural(kind: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels as they came: instants as Timestamps in their zone, all others as they are."""
    if not kind.startswith(IN_ZONE):
        return values
    zone = kind.removeprefix(IN_ZONE)
    instants = pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone)
    return np.asarray(instants.astype(object))


def as_scalars(labels: npt.NDArray[Any]) -> list[Any]:
    """Return an array of labels as Python scalars; datetimes and timedeltas as those of pandas."""
    return labels.tolist() if labels.dtype.kind not in "mM" else list(pd.Index(labels))


def label_of_row(columns: Sequence[LabelColumn], row: int) -> Any:
    """Return the label of one row, to show it: a scalar, or a tuple for several columns."""
    parts = [column.label_at(row) for column in columns]
    return parts[0] if len(parts) == 1 else tuple(parts)


def require_no_missing(column: LabelColumn) -> None:
    """Raise if a label of the column is missing."""
    if column.codes.min(initial=0) != MISSING:
        return
    remedy = "Fill them in with a label of their own, or leave these rows out."
    raise_if_missing(column.name, column.codes == MISSING, remedy)


def raise_if_missing(name: Name, missing: Bools, remedy: str) -> None:
    """Raise if a value of the named column is missing."""
    if missing.any():
        raise refusal(
            f"Column {shown(name)} contains NaN or None in {int(missing.sum())} row(s), first at "
            f"row {int(np.argmax(missing))} (counting from 0). {remedy}",
            "missing",
            name,
            missing,
        )


def match_kind(column: LabelColumn, kind: str, *, other: str, fractional: str) -> LabelColumn:
    """Bring a column to the kind of another one, or say why it cannot be matched.

    Integers that pandas turned into floats (the NaN of a terminal row) become integers again.
    ``fractional`` says what a fraction among them is: ``"error"`` or simply ``"keep"``, a label
    that no integer equals.
    """
    if column.kind == kind:
        return column
    values = column.values
    if not len(values) or (column.kind.startswith(IN_ZONE) and kind.startswith(IN_ZONE)):
        return LabelColumn(column.name, kind, column.codes, values)
    if {column.kind, kind} != {"int", "float"}:
        raise refusal(
            f"Column {shown(column.name)} holds labels of kind {shown(column.kind)} (first value "
            f"{shown(as_scalars(natural(column.kind, values[:1]))[0])}), but {other} holds labels "
            f"of kind {shown(kind)}; labels of different kinds cannot be matched. Convert one of "
            "them.",
            "kinds",
            column.name,
            error=TypeError,
        )
    large = np.abs(values.astype(np.float64)) >= EXACT_FLOAT
    if large.any():
        column.refuse(
            large,
            f" against {other} of kind {kind!r}: from 2**53 on, integers that went through float "
            'are no longer exact. Make the column anew, for example with .astype("Int64") before '
            ".shift, or from strings.",
            kind="large",
        )
    if kind == "float":
        return LabelColumn(column.name, kind, column.codes, values.astype(np.float64))
    fraction = values != np.floor(values)
    if not fraction.any():
        return LabelColumn(column.name, kind, column.codes, values.astype(np.int64))
    if fractional == "keep":
        return column
    column.refuse(
        fraction,
        f", but {other} holds integers only. Make both columns float or both integer; if an "
        "encoder made these integers, such as StateEncoder, name the next-state columns there as "
        "well.",
        kind="fraction",
    )


def as_integers(column: LabelColumn) -> LabelColumn:
    """Undo that pandas makes floats of whole numbers where one of them is missing."""
    values = column.values
    if column.kind != "float" or (values != np.floor(values)).any():
        return column
    if (np.abs(values) >= EXACT_FLOAT).any():
        return column
    return LabelColumn(column.name, "int", column.codes, values.astype(np.int64))


def hash_labels(column: LabelColumn) -> npt.NDArray[np.uint64]:
    """Return a hash of each value of a column, (n_values,)."""
    values = column.values
    if values.dtype == object and column.kind != "str":
        values = np.array([str(value) for value in values], dtype=object)
    return np.asarray(pd.util.hash_array(values, categorize=False))

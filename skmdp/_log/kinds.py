"""Reading a column of labels: it is hashed once, and its distinct labels are brought to one kind.

The kind is told by the dtype, or in a column of objects by looking at every label, since hashing
would merge 1, 1.0 and True. Each kind has a function in ``_SETTLE``, which checks the distinct
labels and keeps them in one sort of array. Labels of a type that is not in the table are kept as
they are, under the name of their type.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from datetime import datetime, tzinfo
from itertools import chain
from numbers import Integral, Number
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.hashing import number_values
from skmdp._log.labels import EXACT_FLOAT, IN_ZONE, MISSING, LabelColumn
from skmdp._log.refusals import refusal
from skmdp._messages import shown
from skmdp._typing import Array, Name

# What pandas calls the content of an object column -> the first word of our kind.
_INFERRED = {
    "string": "str",
    "empty": "str",
    "bytes": "bytes",
    "integer": "int",
    "floating": "float",
    "mixed-integer-float": "float",
    "boolean": "bool",
    "complex": "complex",
    "decimal": "decimal",
    "date": "date",
    "time": "time",
    "datetime": "datetime",
    "datetime64": "datetime",
    "timedelta": "timedelta",
    "timedelta64": "timedelta",
    "period": "period",
    "interval": "interval",
}
_DTYPES = {
    "i": "int",
    "u": "int",
    "f": "float",
    "b": "bool",
    "c": "complex",
    "M": "datetime",
    "m": "timedelta",
}
_AS_STRINGS = 'Convert the column to strings, for example with .astype("string").'


def read_labels(labels: pd.Series | Array, name: Name) -> LabelColumn:
    """Hash a column of labels, once; refuse labels that cannot be hashed or told apart."""
    if labels.dtype == object:
        _check_one_kind(np.asarray(labels), name, lambda position: position)
    try:
        codes, uniques = number_values(labels)
    except (TypeError, NotImplementedError):  # the latter: types that Arrow cannot hash
        objects = pd.Series(list(labels), dtype=object)
        _require_hashable(objects, name)
        return read_labels(objects, name)
    return _settle(LabelColumn(name, "", codes, uniques))


def _settle(column: LabelColumn) -> LabelColumn:
    """Bring the distinct labels of a column, of any dtype, to one kind."""
    values: Any = column.values
    if isinstance(values.dtype, pd.CategoricalDtype):
        column = _with(column, "", values.categories.take(values.codes))
        if column.values.dtype == object:
            places = np.arange(len(column.values))
            _check_one_kind(
                np.asarray(column.values),
                column.name,
                lambda position: column.row_of(places == position),
            )
        return _settle(column)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        in_utc = pd.DatetimeIndex(values).tz_convert("UTC").tz_localize(None)
        return _settle_instants(column, in_utc.to_numpy(), [values.dtype.tz])
    values = np.asarray(values) if isinstance(values, np.ndarray) else values.to_numpy()
    if values.dtype.kind in _DTYPES:
        word = _DTYPES[values.dtype.kind]
    else:
        values = values.astype(object, copy=False)
        word = _INFERRED.get(pd.api.types.infer_dtype(values, skipna=False), "")
    return _SETTLE.get(word, _settle_others)(_with(column, word, values))


def _with(column: LabelColumn, kind: str, values: Any) -> LabelColumn:
    """Return a column with other values in the place of its own."""
    return LabelColumn(column.name, kind, column.codes, values)


def _check_one_kind(labels: Array, name: Name, row_at: Callable[[int], int]) -> None:
    """Raise unless all labels are of one kind; ``row_at`` tells the row of a position."""
    if pd.api.types.infer_dtype(labels, skipna=True) in _INFERRED:
        return
    positions = np.flatnonzero(pd.notna(labels))
    types = list(map(type, labels[positions]))
    if len(set(types)) == 1:
        return
    first = dict(zip(reversed(types), reversed(positions), strict=True))
    rows = sorted((row_at(position), position, kind) for kind, position in first.items())
    found = ", ".join(
        f"{kind.__name__} (row {row}: {shown(labels[position])})"
        for row, position, kind in rows[:2]
    )
    more = f" and {len(rows) - 2} more" if len(rows) > 2 else ""
    raise refusal(
        f"Column {shown(name)}: argument must be uniformly strings or numbers (or labels of one "
        f"other kind), got {found}{more}; rows count from 0. Convert the column to one kind; "
        'with .astype("string"), 1 and "1" become one label.',
        "mixed",
        name,
        np.array([row_at(at) for at in positions[[kind is not types[0] for kind in types]]]),
        error=TypeError,
    )


def _require_hashable(labels: pd.Series, name: Name) -> None:
    """Raise for the first label of a column of objects that cannot be hashed."""
    for row, label in enumerate(labels):
        try:
            hash(label)
        except TypeError as error:
            remedy = (
                "A signaling NaN is no label: fill it in, or make it missing (None)."
                if isinstance(label, decimal.Decimal)
                else "For a state of several parts use one column for each; a list becomes a "
                "label with .map(tuple)."
            )
            raise refusal(
                f"Column {shown(name)} holds a {type(label).__name__} (row {row}, counting from "
                f"0), {shown(label)}, which cannot be hashed. {remedy}",
                "unhashable",
                name,
                np.array([row]),
                error=TypeError,
            ) from error


def _settle_ints(column: LabelColumn) -> LabelColumn:
    values, limits = column.values, np.iinfo(np.int64)
    try:
        if values.dtype.kind != "u" or values.max(initial=0) <= limits.max:  # else it would wrap
            return _with(column, "int", values.astype(np.int64, copy=False))
    except OverflowError:  # objects
        pass
    beyond = [not limits.min <= int(value) <= limits.max for value in values]
    column.refuse(np.array(beyond), f", which exceeds 64 bits signed. {_AS_STRINGS}")


def _settle_floats(column: LabelColumn) -> LabelColumn:
    """Keep floats as float64, so that those of other precisions are the same numbers."""
    values, codes = column.values, column.codes
    if values.dtype == object:
        whole = [isinstance(value, Integral) and abs(int(value)) >= EXACT_FLOAT for value in values]
        if any(whole):
            column.refuse(
                np.array(whole),
                " beside fractions: from 2**53 on, integers are not exact as floats. "
                f"{_AS_STRINGS}",
            )
    elif values.dtype.itemsize < 8:
        # The shortest decimal that names a float32, so that its 0.1 is the 0.1 of a float64.
        values = values.astype(str)
    numbers = values.astype(np.float64) + 0.0  # so that -0.0 is 0.0
    if np.isinf(numbers).any():
        _refuse_infinity(column, np.isinf(numbers))
    is_number = ~np.isnan(numbers)
    if not is_number.all():  # Arrow tells NaN from null; for labels both are missing.
        recode = np.where(is_number, np.cumsum(is_number) - 1, MISSING).astype(np.int32)
        codes = np.append(recode, np.int32(MISSING))[codes]
    return LabelColumn(column.name, "float", codes, numbers[is_number])


def _settle_decimals(column: LabelColumn) -> LabelColumn:
    infinite = np.array([value.is_infinite() for value in column.values], dtype=bool)
    if infinite.any():
        _refuse_infinity(column, infinite)
    unsigned = [value if value else value.copy_abs() for value in column.values]  # no -0
    return _with(column, "decimal", np.array(unsigned, dtype=object))


def _refuse_infinity(column: LabelColumn, infinite: Array) -> None:
    raise refusal(
        f"Column {shown(column.name)} contains infinity (inf), first at row "
        f"{column.row_of(infinite)} (counting from 0); infinity is no label. Put a "
        "number of its own in its place.",
        "infinity",
        column.name,
        np.append(infinite, False)[column.codes],
    )


def _settle_bools(column: LabelColumn) -> LabelColumn:
    return _with(column, "bool", column.values.astype(bool))


def _settle_strings(column: LabelColumn) -> LabelColumn:
    values = column.values.astype(object, copy=False)
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        column.refuse(
            np.array([any("\ud800" <= sign <= "\udfff" for sign in value) for value in values]),
            ", which holds a lone surrogate: that is no character, and no file can keep it. Read "
            "the log in its own encoding, or write it out: "
            '.str.encode("utf-8", "backslashreplace").str.decode("utf-8").',
        )
    return _with(column, "str", values)


def _refuse_complex(column: LabelColumn) -> LabelColumn:
    raise ValueError(
        f"Complex data not supported: column {shown(column.name)} holds complex numbers. Use one "
        "column for the real and one for the imaginary part."
    )


def _settle_dates(column: LabelColumn) -> LabelColumn:
    times = np.array([isinstance(value, datetime) for value in column.values], dtype=bool)
    if times.any():
        column.refuse(
            times,
            " beside dates without a time. Make all of them datetimes, for example with "
            ".map(pandas.Timestamp).",
            TypeError,
        )
    return column


def _settle_datetimes(column: LabelColumn) -> LabelColumn:
    values = column.values
    if values.dtype == object:
        times = [pd.Timestamp(value) for value in values]
        naive = np.array([time.tzinfo is None for time in times])
        if not naive.any():
            in_utc = [time.tz_convert("UTC").tz_localize(None) for time in times]
            return _settle_instants(column, _in_finest_unit(in_utc), [t.tzinfo for t in times])
        if not naive.all():
            column.refuse(
                naive,
                " without a time zone beside datetimes with one. Say which zone they are in: "
                "pandas.to_datetime(..., utc=True) takes them to be in UTC.",
                TypeError,
            )
        values = _in_finest_unit(times)
    return _with(column, "datetime", _in_one_unit(values, "M8[us]"))


def _settle_instants(column: LabelColumn, in_utc: Array, zones: list[tzinfo | None]) -> LabelColumn:
    """Keep datetimes with time zones as instants, and the name of their zone if it is one."""
    names = {str(zone) for zone in zones}
    name = names.pop() if len(names) == 1 else "UTC"
    try:
        pd.Timestamp(0, tz=name)
    except (KeyError, ValueError):  # a zone that has no name
        name = "UTC"
    return _with(column, f"{IN_ZONE}{name}", _in_one_unit(in_utc, "M8[us]"))


def _settle_timedeltas(column: LabelColumn) -> LabelColumn:
    values = column.values
    if values.dtype == object:
        values = _in_finest_unit([pd.Timedelta(value) for value in values])
    return _with(column, "timedelta", _in_one_unit(values, "m8[us]"))


def _in_finest_unit(times: list[Any]) -> Array:
    """Return times of pandas as an array; each has a unit of its own, so none is out of bounds."""
    return np.array([time.to_numpy() for time in times])


def _in_one_unit(values: Array, unit: str) -> Array:
    """Bring times to one unit for all, unless it would lose something."""
    converted = values.astype(unit)
    return converted if (converted == values).all() else values


def _settle_periods(column: LabelColumn) -> LabelColumn:
    frequencies = [value.freqstr for value in column.values]
    _require_same(
        column,
        frequencies,
        "of frequency",
        f'.map(lambda period: period.asfreq("{frequencies[0]}"))',
    )
    return _with(column, f"period of frequency {frequencies[0]}", column.values)


def _settle_intervals(column: LabelColumn) -> LabelColumn:
    closed = [value.closed for value in column.values]
    _require_same(
        column,
        closed,
        "closed",
        f'.map(lambda label: pandas.Interval(label.left, label.right, closed="{closed[0]}"))',
    )
    ends = [_kind_of_part(value.left) for value in column.values]
    _require_same(column, ends, "with ends of kind", '.astype("string")')
    return _with(column, f"interval of {ends[0]}, closed {closed[0]}", column.values)


def _require_same(column: LabelColumn, traits: list[str], what: str, remedy: str) -> None:
    """Raise unless all labels share a trait, without which they have no order."""
    others = np.array([trait != traits[0] for trait in traits])
    if others.any():
        column.refuse(
            others,
            f", but others are {what} {traits[0]}; labels must have one order. Make all of them "
            f"alike, for example with {remedy}.",
            TypeError,
        )


def _settle_tuples(column: LabelColumn) -> LabelColumn:
    missing = np.array([_has_missing(value) for value in column.values])
    if missing.any():
        column.refuse(
            missing,
            ", a tuple with a missing part. Fill it in, or use one column for each part.",
        )
    parts = {_kind_of_part(part) for part in chain.from_iterable(column.values)}
    return _with(column, f"tuple of {' and '.join(sorted(parts))}", column.values)


def _has_missing(label: Any) -> bool:
    """Whether a label or some part of it is missing; NaN is what does not equal itself."""
    if isinstance(label, tuple):
        return any(map(_has_missing, label))
    return label is None or label is pd.NA or bool(label != label)


def _kind_of_part(part: Any) -> str:
    """Return the word for one part of a tuple, or the end of an interval."""
    part = part.item() if isinstance(part, np.generic) else part
    return (
        "numbers"
        if isinstance(part, Number) and not isinstance(part, bool)
        else type(part).__name__
    )


def _settle_others(column: LabelColumn) -> LabelColumn:
    """Keep labels of a type that is not in the table; whether they have an order shows later."""
    kind = type(column.values[0])
    if issubclass(kind, pd.Period):  # of several frequencies
        return _settle_periods(column)
    if issubclass(kind, pd.Interval):  # closed on several sides
        return _settle_intervals(column)
    return (_settle_tuples if kind is tuple else _keep)(_with(column, kind.__name__, column.values))


def _keep(column: LabelColumn) -> LabelColumn:
    return column


_SETTLE: dict[str, Callable[[LabelColumn], LabelColumn]] = {
    "int": _settle_ints,
    "float": _settle_floats,
    "decimal": _settle_decimals,
    "complex": _refuse_complex,
    "bool": _settle_bools,
    "str": _settle_strings,
    "bytes": _keep,
    "date": _settle_dates,
    "time": _keep,
    "datetime": _settle_datetimes,
    "timedelta": _settle_timedeltas,
    "period": _settle_periods,
    "interval": _settle_intervals,
}

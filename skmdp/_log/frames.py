"""Dataframes and columns of any library, as far as they are looked at here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import numpy.typing as npt
import pandas as pd
from narwhals.exceptions import DuplicateError
from sklearn.utils import column_or_1d

from skmdp._log.labels import EXACT_FLOAT, raise_if_missing
from skmdp._log.words import without_views
from skmdp._messages import shortened, shown
from skmdp._typing import Bools, Name

# What pandas calls the content of a column of objects that are numbers.
NUMBERS = {"boolean", "decimal", "floating", "integer", "mixed-integer-float"}

# How the first rows of a lazy table are taken, and how they come to memory, by the name that
# narwhals gives its engine.
_COLLECTED = {
    "polars": (".head(100_000)", ".collect()"),
    "duckdb": (".limit(100_000)", ".df()"),
    "ibis": (".limit(100_000)", ".to_pandas()"),
    "pyspark": (".limit(100_000)", ".toPandas()"),
    "sqlframe": (".limit(100_000)", ".toPandas()"),
    "dask": (".partitions[0]", ".compute()"),
}

# What is known to be no table: narwhals takes as long to find that out as reading a row takes.
_NO_TABLES = (np.ndarray, list, tuple, pd.Series)

# More entries than a row of a table has.
MOST_COLUMNS = 1000


class Table:
    """An eager table of any library, for what is asked of it here: names, and one column at a time.

    pandas' own tables are taken as they are: narwhals asks more of each column than reading the
    column of a small table takes.
    """

    def __init__(self, native: pd.DataFrame | nw.DataFrame[Any]) -> None:
        self._native = native
        self.columns = list(native.columns)

    @property
    def index_names(self) -> list[Any]:
        """Names of the index of a pandas table, which is not read."""
        return list(self._native.index.names) if isinstance(self._native, pd.DataFrame) else []

    def __len__(self) -> int:
        return len(self._native)

    def column(self, name: Name) -> pd.Series:
        """Take one column as a pandas Series, without copying it where possible."""
        if isinstance(self._native, pd.DataFrame):
            return _decoded(self._native[name])
        return _pandas_series(self._native.get_column(str(name)))

    def labels(self, name: Name) -> pd.Series:
        """Take one column to read labels off it, for which strings stay as their library has them.

        Views, as polars has them, are a form in which pandas only counts them.
        """
        if isinstance(self._native, pd.DataFrame):
            return self.column(name)
        return _pandas_series(self._native.get_column(str(name)), keep_views=True)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Any:
        """Return some rows as a table of the same library; pandas keeps its index."""
        if isinstance(self._native, pd.DataFrame):
            return self._native.iloc[rows]
        return self._native[rows, :].to_native()

    def rename(self, names: dict[Name, Name]) -> Table:
        """Return the table with other names of some columns."""
        if isinstance(self._native, pd.DataFrame):
            return Table(self._native.rename(columns=names))
        return Table(self._native.rename({str(name): str(new) for name, new in names.items()}))

    def features(self, names: Sequence[Name], rows: Bools | None = None) -> pd.DataFrame:
        """Return some columns, of the rows marked, as a plain pandas table of any library."""
        taken = [self.column(name) for name in names]
        if rows is not None:
            taken = [column[rows] for column in taken]
        columns = zip(names, taken, strict=True)
        return pd.DataFrame({name: _plain_array(column) for name, column in columns}, copy=False)

    def exchange(
        self,
        dropped: Sequence[Name],
        before: dict[Name, npt.NDArray[Any]],
        after: dict[Name, npt.NDArray[Any]],
        present: Bools,
    ) -> Any:
        """Return a table of the same library with other columns in place of those dropped.

        Those of ``before`` come first, one value a row; those of ``after`` last, with a value for
        each row marked ``present``, missing in the others. pandas keeps its index.
        """
        kept = [name for name in self.columns if name not in set(dropped)]
        if isinstance(self._native, pd.DataFrame):
            after = {name: _spread(values, present) for name, values in after.items()}
            return _beside_each_other(before, self._native[kept], after)
        backend = self._native.implementation
        first = {str(name): values for name, values in before.items()}
        parts = [nw.from_dict(first, backend=backend)] if first else []
        parts.append(self._native.select(kept))
        if after:
            where = np.where(present, np.cumsum(present) - 1, 0)
            filled = {
                str(name): values[where] if len(values) else np.zeros(len(present))
                for name, values in after.items()
            }
            mark = f"present {''.join(filled)}"  # a name that none of them has
            marked = nw.from_dict({**filled, mark: present}, backend=backend)
            missing = [nw.when(nw.col(mark)).then(nw.col(name)).alias(name) for name in filled]
            parts.append(marked.select(missing))
        return nw.concat(parts, how="horizontal").to_native()


def is_one_dimensional(X: Any) -> bool:
    """Whether X is a list, array or column of labels."""
    if isinstance(_as_column(X), pd.Series | nw.Series):
        return True
    return np.ndim(X if hasattr(X, "ndim") else np.asarray(X, dtype=object)) == 1


def take_rows(values: Any, rows: npt.NDArray[np.integer[Any]]) -> Any:
    """Return some rows of a table, an array, a column or a list."""
    frame = as_frame(values)
    if frame is not None:
        return frame.take(rows)
    if is_one_dimensional(values):
        return as_series(values, "values").iloc[rows]
    if isinstance(values, list | tuple):
        values = np.asarray(values, dtype=object)
    return values[rows]


def as_frame(X: Any) -> Table | None:
    """Return an eager table, None where X is no table."""
    if isinstance(X, Table):
        return X
    if isinstance(X, pd.DataFrame) and X.columns.nlevels > 1:
        raise ValueError(
            f"The columns of the table have names of {X.columns.nlevels} levels, such as "
            f"{shown(X.columns[0])}. Give each column one name, for example with "
            'table.columns = ["_".join(map(str, name)) for name in table.columns].'
        )
    if isinstance(X, pd.DataFrame) and X.columns.is_unique:
        return Table(X)
    try:
        frame = _as_narwhals(X)
    except DuplicateError as error:
        raise ValueError(
            f"The table has two columns of one name: {shortened(error)}. Rename one."
        ) from error
    if isinstance(frame, nw.LazyFrame):
        raise is_lazy_error(X, "Rows are needed here")
    return Table(frame) if isinstance(frame, nw.DataFrame) else None


def _as_narwhals(X: Any) -> Any:
    """Return a table as narwhals takes it, and what is none as it is."""
    if isinstance(X, _NO_TABLES):
        return X
    try:
        return nw.from_native(X, pass_through=True)
    except ImportError as error:
        kind = shortened(f"{type(X).__module__}.{type(X).__name__}")
        raise ImportError(
            f"narwhals, which reads tables of all libraries, does not know this {kind} "
            f"({shortened(error)}). It may be older than the table's library: "
            "pip install --upgrade narwhals."
        ) from error


def _as_column(X: Any) -> Any:
    """Return a column as one of pandas or as narwhals takes it, and what is none as it is."""
    if isinstance(X, _NO_TABLES):
        return X
    return nw.from_native(X, pass_through=True, allow_series=True)


def as_lazy(X: Any) -> nw.LazyFrame[Any] | None:
    """Return a lazy table, None where X is none."""
    if isinstance(X, pd.DataFrame | Table):
        return None
    with suppress(DuplicateError):  # of which as_frame tells
        frame = _as_narwhals(X)
        return frame if isinstance(frame, nw.LazyFrame) else None
    return None


def line_to_collect(lazy: nw.LazyFrame[Any], *, sample: bool = False) -> str:
    """Return the line that brings a lazy table to memory, or its first rows."""
    engine = lazy.implementation.value
    first, bring = _COLLECTED.get(engine, _COLLECTED["polars"])
    return f"table = table{first if sample else ''}{bring}"


def is_lazy_error(X: Any, why: str) -> TypeError:
    """Return the error of a lazy table where rows are needed, with the line that collects some."""
    lazy = as_lazy(X)
    assert lazy is not None
    kind = shortened(f"{type(X).__module__}.{type(X).__name__}")
    return TypeError(
        f"{why}, but this is a lazy table ({kind}), whose rows stay where they are. Collect a "
        f"sample of it first: {line_to_collect(lazy, sample=True)}. Where next states are read off "
        "the following row, filter whole episodes instead of the first rows."
    )


def require_eager(X: Any, why: str) -> None:
    """Raise for a lazy table where rows are needed."""
    if as_lazy(X) is not None:
        raise is_lazy_error(X, why)


def column_names(X: Any) -> list[Any]:
    """Return the names of the columns of a table of any kind, lazy or not."""
    lazy = as_lazy(X)
    return as_table(X).columns if lazy is None else lazy.collect_schema().names()


def refuse_one_row(X: Any, names: Sequence[Any]) -> None:
    """Raise for a mapping or a Series from the names of columns to values: one row, no table."""
    # Looking a name up hashes the whole index, so a Series as long as a log is not looked at.
    may_be_row = isinstance(X, pd.Series) and len(X) <= MOST_COLUMNS
    is_row = may_be_row and X.index.is_unique and all(name in X.index for name in names)
    if isinstance(X, Mapping) or is_row:
        raise TypeError(
            f"Expected a table of states, got one row of it as a {type(X).__name__}. Make a table "
            "of the row: pandas.DataFrame([row])."
        )


def as_table(X: Any, wanted: str = "Expected a table of transitions") -> Table:
    """Return X as a table, or say what a table is."""
    frame = as_frame(X)
    if frame is None:
        hint = (
            " Read the file first, for example with pandas.read_csv."
            if isinstance(X, str | bytes) or hasattr(X, "__fspath__")
            else " Make it a pandas.DataFrame with named columns first."
        )
        raise TypeError(f"{wanted} (pandas, polars or pyarrow), got {type(X).__name__}.{hint}")
    return frame


def convert_table(table: Any, library: str) -> Any:
    """Return a table as one of pandas or polars, or as it is ("default")."""
    if library == "default":
        return table
    frame = nw.from_native(table, eager_only=True)
    return frame.to_pandas() if library == "pandas" else frame.to_polars()


def _pandas_series(series: nw.Series[Any], *, keep_views: bool = False) -> pd.Series:
    """Bring a column to pandas as it is, through Arrow where possible."""
    if series.implementation.is_pandas():
        return _decoded(series.to_native())
    arrow = None
    if series.implementation.is_pyarrow() and series.dtype != nw.Categorical:
        arrow = series.to_native()  # of which to_arrow would make a copy, in one chunk
    elif series.dtype != nw.Object:
        # polars without pyarrow, or a type that Arrow lacks (128-bit integers)
        with suppress(ModuleNotFoundError, ValueError):
            arrow = _as_arrow(series)
    if arrow is None or str(arrow.type) == "null":  # of which pandas 2.2 makes a label
        return pd.Series(series.to_list(), dtype=object).infer_objects()
    if str(arrow.type).startswith("dictionary"):  # labels go by value, not by category
        arrow = arrow.dictionary_decode()
    kind = str(arrow.type)
    if kind.startswith("extension<pandas."):  # intervals, periods
        return pd.Series(arrow.type.to_pandas_dtype().__from_arrow__(arrow))
    if not (keep_views and len(arrow)):  # which pandas does not know
        arrow = without_views(arrow)
    return pd.Series(pd.arrays.ArrowExtensionArray(arrow))


def _as_arrow(series: nw.Series[Any]) -> Any:
    """Return a column in Arrow; strings as polars holds them, of which to_arrow makes a copy."""
    if series.dtype not in (nw.String, nw.Binary):
        return series.to_arrow()
    import pyarrow as pa

    return pa.chunked_array(series)


def _decoded(series: pd.Series) -> pd.Series:
    """Return a column without its dictionary of Arrow, which may hold labels that never occur."""
    if not str(series.dtype).startswith("dictionary"):
        return series
    return series.astype(pd.ArrowDtype(series.dtype.pyarrow_dtype.value_type))


def _plain_array(series: pd.Series) -> npt.NDArray[Any]:
    """Return a column as numpy knows it: numbers as numbers, missing as NaN; labels as objects."""
    options: dict[str, Any] = {}
    if not isinstance(series.dtype, np.dtype):
        if not pd.api.types.is_numeric_dtype(series.dtype):
            options = {"dtype": object, "na_value": np.nan}
        elif series.hasnans:
            options = {"dtype": np.float64, "na_value": np.nan}
    array: npt.NDArray[Any] = np.asarray(series.to_numpy(**options))
    if array.dtype == object and pd.api.types.infer_dtype(array, skipna=True) in NUMBERS:
        whole = pd.Series(array).infer_objects().to_numpy()
        is_whole = whole.dtype.kind in "iub"
        array = whole if is_whole else pd.Series(array).to_numpy(np.float64, na_value=np.nan)
    if array.dtype.kind == "b":  # a table of booleans alone is more than scikit-learn takes
        return array.astype(np.int64)
    # One precision for all: clusters found in doubles cannot be asked about singles.
    return array.astype(np.float64, copy=False) if array.dtype.kind == "f" else array


def _beside_each_other(before: dict[Name, Any], table: pd.DataFrame, after: dict[Name, Any]) -> Any:
    """Return a table with columns before and after its own."""
    parts = [pd.DataFrame(before, index=table.index)] if before else []
    if table.shape[1]:  # an empty one has names of no kind of its own, which must not win
        parts.append(table)
    if after:
        parts.append(pd.DataFrame(after, index=table.index))
    return parts[0] if len(parts) == 1 else pd.concat(parts, axis=1)


def _spread(values: npt.NDArray[Any], present: Bools) -> npt.NDArray[Any]:
    """Return one value a row, missing where none is present."""
    if present.all():
        return values
    # From 2**53 on floats, which hold NaN, do not hold every integer.
    kind = values.dtype.kind
    fits = kind == "f" or (kind in "iu" and np.abs(values).max(initial=0) < EXACT_FLOAT)
    spread = np.full(len(present), np.nan, dtype=float if fits else object)
    spread[present] = values
    return spread


def as_series(values: Any, name: Name, *, warn: bool = False) -> pd.Series:
    """Bring a 1-D list, array or column to a pandas Series."""
    column = _as_column(values)
    if isinstance(column, pd.Series):
        return _decoded(column)
    if isinstance(column, nw.Series):
        return _pandas_series(column)
    values = without_mask(values, name)
    if isinstance(values, list | tuple):  # of which numpy makes one type, or a second dimension
        if values and isinstance(values[0], tuple):
            labels = np.fromiter(values, dtype=object, count=len(values))
        else:
            labels = column_or_1d(np.asarray(values, dtype=object), warn=warn)
        return pd.Series(labels, name=name, dtype=object)
    return array_series(column_or_1d(values, warn=warn), name)


def array_series(array: npt.NDArray[Any], name: Name) -> pd.Series:
    """Take a 1-D array as a pandas Series, objects as they are."""
    dtype = array.dtype if array.dtype == object else None
    return pd.Series(array, name=name, dtype=dtype, copy=False)


def without_mask(values: Any, name: Name) -> Any:
    """Return an array without its mask, or raise if that marks a value as missing."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    masked: Bools = np.ma.getmaskarray(values).reshape(len(values), -1).max(axis=1)
    remedy = "Masked values are missing: fill them in with .filled(...)."
    raise_if_missing(name, masked, remedy)
    return values.data

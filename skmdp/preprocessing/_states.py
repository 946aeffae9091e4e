"""States made by a transformer of measurements, and their columns in the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_clusterer

from skmdp._log.labels import EXACT_FLOAT
from skmdp._messages import quoted, shortened
from skmdp._pipelines import last_step
from skmdp._typing import Array, Bools, Names
from skmdp.preprocessing._measured import BOUND_IT, Measured


def method_of(transformer: Any, method: str) -> str:
    """Return the name of the method of a transformer that gives the states."""
    if method == "auto":
        predicts = is_clusterer(transformer) or not hasattr(transformer, "transform")
        method = "predict" if predicts else "transform"
    if not hasattr(transformer, method):
        raise ValueError(
            f"{shortened(transformer)} has no method {method!r}, so it cannot tell the state of "
            "new rows. Choose another method=, or a transformer such as KMeans."
        )
    return method


def encode(transformer: Any, method: str, rows: Any) -> Array:
    """Return the states of some rows, (n, n_columns_out)."""
    encoded = getattr(transformer, method)(rows)
    name = type(last_step(transformer)[0]).__name__
    if issparse(encoded):
        raise ValueError(
            f"{name} answers a sparse matrix; states need a few dense columns. Use "
            'encode="ordinal", sparse_output=False or the like.'
        )
    encoded = np.asarray(encoded)
    if encoded.ndim == 1:
        encoded = encoded[:, np.newaxis]
    if len(encoded) != len(rows):
        raise ValueError(
            f"{name} made {len(encoded)} rows of {len(rows)}; a state needs one row for each. Drop "
            "rows from the log before the pipeline."
        )
    return encoded


def require_finite(encoded: Array, measured: Measured, transformer: Any) -> None:
    """Raise if a transformer made infinity of a measurement: it is no state."""
    if encoded.dtype.kind != "f" or not np.isinf(encoded).any():
        return
    infinite = np.isinf(encoded)
    first = int(np.argmax(infinite.any(axis=1)))
    columns, row = measured.place_of(first)
    values = measured.rows.iloc[first].tolist()
    if encoded.shape[1] == len(columns):
        j = int(np.argmax(infinite[first]))
        columns, values = columns[j : j + 1], values[j : j + 1]
    raise ValueError(
        f"{type(last_step(transformer)[0]).__name__} makes infinity (inf) of {quoted(values)} in "
        f"column(s) {quoted(columns)} at row {row} (counting from 0), and infinity is no state. "
        f"{BOUND_IT}"
    )


def are_codes(encoded: Array) -> Bools:
    """Return which columns of states hold whole numbers only, (n_columns,)."""
    return np.array([_is_whole(column) for column in encoded.T], dtype=bool)


def _is_whole(column: Array) -> bool:
    """Whether a column holds whole numbers only, each of which int64 holds exactly."""
    if column.dtype.kind == "i":
        return True
    if column.dtype.kind == "u":
        return int(column.max(initial=0)) <= np.iinfo(np.int64).max
    if column.dtype.kind != "f":
        return False
    # NaN is none, and from 2**53 on a float may stand for several whole numbers.
    return bool(((column == np.floor(column)) & (np.abs(column) < EXACT_FLOAT)).all())


def state_columns(encoded: Array, codes: Bools) -> list[Array]:
    """Return the columns of states: as integers those that were codes in fit, and are still."""
    return [
        column.astype(np.int64) if is_code and _is_whole(column) else column
        for column, is_code in zip(encoded.T, codes, strict=True)
    ]


def encoded_names(transformer: Any, method: str, names: Names, nexts: Names | None = None) -> Names:
    """Return the names of the encoded states, or, given theirs, of the next states."""
    if method != "transform":
        return ("state",) if nexts is None else ("next_state",)
    try:
        made = tuple(transformer.get_feature_names_out(np.array(names, dtype=object)))
    except AttributeError:  # it, or a step of it, names nothing
        return names if nexts is None else nexts
    if nexts is None:
        return made
    return nexts if made == names else tuple(f"next_{name}" for name in made)


def exchange(
    measured: Measured,
    columns: Sequence[Array],
    names: Names,
    nexts: Names | None,
    *,
    is_log: bool,
) -> Any:
    """Return the table with states in place of the measurements that they were made of.

    Of a log these are handed on under other names, so that a policy that is judged in the states
    can be judged on what was measured, too.
    """
    n_rows = len(measured.states)
    before = {name: column[:n_rows] for name, column in zip(names, columns, strict=True)}
    after = {}
    if nexts is not None:
        after = {name: column[n_rows:] for name, column in zip(nexts, columns, strict=True)}
    replaced = (*measured.names, *(measured.nexts or ()))
    handed_on = measured.handed_on if is_log else {}
    dropped = tuple(name for name in replaced if name not in handed_on)
    kept = set(measured.frame.columns) - set(replaced)
    taken = [name for name in (*before, *after, *handed_on.values()) if name in kept]
    if taken:
        raise ValueError(
            f"The encoded states are to be called {quoted(taken)}, but the table has such "
            "a column beside the state columns. Rename it."
        )
    frame = measured.frame.rename(handed_on) if handed_on else measured.frame
    return frame.exchange(dropped, before, after, measured.present)

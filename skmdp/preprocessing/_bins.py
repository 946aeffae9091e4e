"""How many states measurements are made into, and where the borders of bins lie."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import KBinsDiscretizer

from skmdp._log.frames import as_series
from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING
from skmdp._messages import quoted, shortened, shown
from skmdp._pipelines import last_step
from skmdp._typing import Array, Integers, Name

# Parameters of transformers that set the number of parts.
SIZES = ("n_clusters", "n_bins", "max_leaf_nodes")

# Share of the states that may hold a single row.
SINGLE_ROW_WARNING = 0.10
# The rows that a state should have per action, and the fewest and most states worth having.
ROWS_PER_ACTION, FEWEST_STATES, MOST_STATES = 10, 25, 1000
# Values beyond these quantiles go to the outermost bins, so that outliers do not set the range.
LOW_END, HIGH_END = 0.01, 0.99


def affordable_states(actions: Any, action: Name) -> int:
    """Return how many states the rows of a log support."""
    if actions is None:
        raise ValueError(
            f'n_states="auto" depends on the number of actions, but there is no {shown(action)}. '
            "Name the column with action=... (of an array, hand in y), or give n_states a number."
        )
    # A row without an action is the last observation of a record: nothing was decided there.
    codes = read_labels(as_series(actions, action), action).codes
    decided = codes[codes != MISSING]
    affordable = len(decided) // (ROWS_PER_ACTION * (int(decided.max(initial=0)) + 1))
    return int(np.clip(affordable, FEWEST_STATES, MOST_STATES))


def sized(transformer: Any, n_states: int | None, n_rows: int, n_columns: int) -> Any:
    """Return a clone of the transformer, by default bins, with its size set unless that is None."""
    if transformer is None:
        # Of many rows it would draw some, so that no two fits were the same.
        transformer = KBinsDiscretizer(encode="ordinal", strategy="uniform", subsample=None)
    else:
        transformer = clone(transformer)
    if n_states is None:
        return transformer
    last, prefix = last_step(transformer)
    size = next((name for name in SIZES if name in last.get_params()), None)
    if size is None:
        raise ValueError(
            f"n_states has nothing to set: {shortened(last)} has no parameter "
            f"{', '.join(SIZES[:-1])} or {SIZES[-1]}. Set its size itself, and leave n_states at "
            "None."
        )
    if size == "n_bins":
        n_states = bins_per_column(n_states, n_columns)
    elif size == "n_clusters":
        n_states = min(n_states, n_rows)
    return transformer.set_params(**{prefix + size: n_states})


def bins_per_column(n_states: int, n_columns: int) -> int:
    """Return the number of bins of each column that n_states allow, at least two."""
    if 2**n_columns > n_states:
        raise ValueError(
            f"{n_columns} columns in two bins each make {2**n_columns} states, more than the "
            f"{n_states} of n_states. Name fewer columns in state=..., or cluster them: "
            'StateEncoder(make_pipeline(StandardScaler(), KMeans()), n_states="auto", state=...).'
        )
    return int(n_states ** (1 / n_columns) + 1e-9)


def fit_even_bins(bins: KBinsDiscretizer, rows: Any, names: Sequence[Any]) -> None:
    """Fit bins that are evenly spaced between the low and the high quantile of each column."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Feature .* is constant", UserWarning)
        bins.fit(rows)
    constant = [name for name, n_bins in zip(names, bins.n_bins_, strict=True) if n_bins == 1]
    if constant:
        warnings.warn(
            f"Column(s) {quoted(constant)} of the state hold one value in all rows, so they tell "
            "no states apart. Leave them out of StateEncoder(state=...).",
            UserWarning,
            stacklevel=5,
        )
    _cut_ends(bins, np.asarray(rows, dtype=np.float64))


def _cut_ends(bins: KBinsDiscretizer, rows: Array) -> None:
    """Space the bins of each column evenly between its low and its high quantile."""
    ends = np.quantile(rows, [LOW_END, HIGH_END], axis=0).T
    for j, (low, high) in enumerate(ends):
        if low < high:  # else almost all rows hold one value, and the few others must be told apart
            bins.bin_edges_[j] = np.linspace(low, high, len(bins.bin_edges_[j]))


def shift_bins(bins: Any, rng: np.random.RandomState) -> None:
    """Move the inner borders of each column by the same random part of the bins beside them."""
    if not isinstance(bins, KBinsDiscretizer):
        raise ValueError(
            f"shift_bins moves the borders of a KBinsDiscretizer, but the transformer is "
            f"{type(bins).__name__}. Leave it at False; the seed of a clusterer does as much."
        )
    for j, edges in enumerate(bins.bin_edges_):
        part, widths = rng.uniform(-0.5, 0.5), np.diff(edges)
        step = widths[1:] if part > 0 else widths[:-1]
        bins.bin_edges_[j] = np.concatenate([edges[:1], edges[1:-1] + part * step, edges[-1:]])


def warn_of_single_rows(n_rows: Integers) -> None:
    """Warn if many states, of which n_rows (n_states,) tells the rows, hold a single row."""
    single = int((n_rows == 1).sum())
    if single > SINGLE_ROW_WARNING * len(n_rows):
        warnings.warn(
            f"{single} of {len(n_rows)} states hold a single row, so a policy learns one outcome "
            'there. Make fewer states (fewer columns or bins, n_states="auto", KMeans), or let the '
            "policy choose among frequently logged actions only (min_count=5).",
            UserWarning,
            stacklevel=4,
        )

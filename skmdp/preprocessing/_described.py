"""How encoded states look in the units of the measurements that they were made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder

from skmdp._pipelines import unwrap
from skmdp._typing import Array, Integers, Name, Names
from skmdp.preprocessing._bins import MOST_STATES

QUARTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}
# Digits of a range that are shown of its borders.
SHOWN_DIGITS = 3


@dataclass(frozen=True, eq=False)
class Part:
    """Statistics of measurements for each label of one or several encoded columns.

    ``keys`` maps the names of the encoded columns to their labels, (n_labels,); ``statistics`` each
    measurement to its statistics by name, (n_labels,). A range between the borders of a bin is
    closed on the ``"left"``, one between two measurements on ``"both"`` sides.
    """

    keys: dict[Name, Array]
    statistics: dict[Name, dict[str, Array]]
    closed: Literal["left", "both"] = "both"

    def look_up(self, states: Sequence[Array]) -> dict[Name, dict[str, Array]]:
        """Return the statistics of some states, (n,), missing for labels that are not known."""
        rows = _as_index(list(self.keys.values())).get_indexer(_as_index(states))
        return {
            name: {
                statistic: pd.api.extensions.take(values, rows, allow_fill=True)
                for statistic, values in statistics.items()
            }
            for name, statistics in self.statistics.items()
        }

    def ranges(self, states: Sequence[Array]) -> dict[Name, Any]:
        """Return each measurement's label in some states, or its range with rounded borders."""
        shown: dict[Name, Any] = {}
        for name, statistics in self.look_up(states).items():
            if "label" in statistics:
                shown[name] = statistics["label"]
                continue
            low, *_, high = statistics.values()
            decimals = _decimals(low, high, are_apart="min" in statistics)
            shown[name] = pd.arrays.IntervalArray.from_arrays(
                np.round(low, decimals), np.round(high, decimals), closed=self.closed
            )
        return shown


@dataclass(frozen=True, eq=False)
class StateSummary:
    """The states that the rows of a log were encoded as, sorted, and their measurements.

    ``states`` maps the names of the encoded columns to their values, (n_states,); ``n_rows`` is
    (n_states,).
    """

    states: dict[Name, Array]
    n_rows: Integers
    parts: tuple[Part, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a table of one row per state."""
        statistics = {
            f"{name}_{statistic}": values
            for part in self.parts
            for name, found in part.look_up([self.states[key] for key in part.keys]).items()
            for statistic, values in found.items()
        }
        names = set_apart(tuple(self.states), {"n_rows", *statistics})
        states = dict(zip(names, self.states.values(), strict=True))
        return pd.DataFrame({**states, "n_rows": self.n_rows, **statistics})


def set_apart(names: Sequence[Any], taken: Collection[Any]) -> list[Any]:
    """Return the names of states, with ``state_`` before those that other columns have."""
    apart = []
    for name in names:
        label = name
        while label in taken or (label != name and label in names):
            label = f"state_{label}"
        apart.append(label)
    return apart


def parts_of(transformer: Any) -> tuple[Part, ...]:
    """Return how the states that a fitted transformer makes look, nothing if it does not tell."""
    if not hasattr(type(transformer), "__skmdp_parts__"):
        return ()
    parts: tuple[Part, ...] = transformer.__skmdp_parts__()
    return parts


@dataclass(frozen=True, eq=False)
class Grouped:
    """Rows by their states: the encoded columns, and the number of each row's state, (n,) each.

    ``states`` maps the names of the encoded columns to their values, (n_states,), sorted.
    """

    columns: dict[Name, Array]
    codes: Integers
    states: dict[Name, Array]

    @property
    def n_rows(self) -> Integers:
        """Rows in each state, (n_states,)."""
        return np.bincount(self.codes)


def group_rows(names: Names, encoded: Sequence[Array]) -> Grouped:
    """Group rows by their encoded columns, which are numbered if the names are not as many."""
    if len(names) != len(encoded):
        names = tuple(f"x{j}" for j in range(len(encoded)))
    columns = dict(zip(names, encoded, strict=True))
    codes: Integers = np.zeros(1, dtype=np.int64)
    for column in encoded:  # numbered anew each time, so that no product overflows
        ranks, labels = _ranks(column)
        codes, _ = pd.factorize(codes * (len(labels) + 1) + ranks, sort=True)
    first = np.empty(int(codes.max()) + 1, dtype=np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return Grouped(columns, codes, {name: column[first] for name, column in columns.items()})


def summarize(transformer: Any, grouped: Grouped, measured: pd.DataFrame) -> StateSummary | None:
    """Describe the states of rows by their measurements, None where most hold a single row.

    Encoded columns under the names of the measurements are taken to be made of one each.
    """
    n_rows = grouped.n_rows
    if len(n_rows) > max(MOST_STATES, len(measured) / 2):
        return None  # else the rows themselves would be kept
    if {*grouped.columns} != {*measured.columns}:
        described = {
            name: _statistics(measured[name], grouped.codes, one_to_one=False)
            for name in measured.columns
        }
        return StateSummary(grouped.states, n_rows, (Part(grouped.states, described),))
    bins = _bins_in_units(transformer)
    if bins is not None:
        return StateSummary(grouped.states, n_rows, _bin_parts(bins, tuple(grouped.columns)))
    are_labels = isinstance(unwrap(transformer)[1], OrdinalEncoder)
    parts = []
    for name, column in grouped.columns.items():
        alone = group_rows((name,), [column])
        found = _statistics(measured[name], alone.codes, one_to_one=True, are_labels=are_labels)
        parts.append(Part(alone.states, {name: found}))
    return StateSummary(grouped.states, n_rows, tuple(parts))


def require_summary(summary: StateSummary | None) -> StateSummary:
    """Return a summary, or say why there is none."""
    if summary is None:
        raise ValueError(
            f"The states are not described: there are more than {MOST_STATES}, and most hold a "
            "single row, so that their description would be the log itself. Make fewer states "
            '(bins, KMeans, n_states="auto").'
        )
    return summary


def _as_index(columns: Sequence[Array]) -> pd.Index:
    return pd.Index(columns[0]) if len(columns) == 1 else pd.MultiIndex.from_arrays(columns)


def _bins_in_units(transformer: Any) -> KBinsDiscretizer | None:
    """Return the bins that a transformer makes, if their borders are in the measurements' units."""
    before, bins = unwrap(transformer)
    if not isinstance(bins, KBinsDiscretizer):
        return None
    return bins if all(isinstance(step, SimpleImputer) for step in before) else None


def _bin_parts(bins: KBinsDiscretizer, names: Names) -> tuple[Part, ...]:
    """Describe bins by their borders; the outermost hold all that lies beyond them."""
    parts = []
    for name, edges in zip(names, bins.bin_edges_, strict=True):
        borders = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
        ends = {"min": borders[:-1], "max": borders[1:]}
        parts.append(Part({name: np.arange(len(borders) - 1)}, {name: ends}, closed="left"))
    return tuple(parts)


def _statistics(
    column: pd.Series, codes: Integers, *, one_to_one: bool, are_labels: bool = False
) -> dict[str, Array]:
    """Describe the values of one measurement in each group of rows, (n_groups,) each."""
    if are_labels or column.dtype.kind not in "iuf":
        return _most_frequent(column, codes)
    groups = column.groupby(codes)
    if one_to_one:
        return {"min": groups.min().to_numpy(), "max": groups.max().to_numpy()}
    found = groups.quantile(list(QUARTILES.values())).to_numpy()
    return dict(zip(QUARTILES, found.reshape(-1, len(QUARTILES)).T, strict=True))


def _most_frequent(column: pd.Series, codes: Integers) -> dict[str, Array]:
    """Return the most frequent label of each group, the first in order of several, and its share.

    A missing label is one of them, the last.
    """
    ranks, labels = _ranks(column)
    n_labels = len(labels) + 1
    pairs, counts = np.unique(codes.astype(np.int64) * n_labels + ranks, return_counts=True)
    groups, ranks_of_pairs = np.divmod(pairs, n_labels)
    order = np.lexsort((-counts, groups))  # which keeps the order of labels that are as frequent
    best = order[np.flatnonzero(np.diff(groups, prepend=-1))]
    chosen = np.where(ranks_of_pairs[best] < len(labels), ranks_of_pairs[best], -1)
    return {
        "label": pd.api.extensions.take(labels, chosen, allow_fill=True),
        "share": counts[best] / np.bincount(codes),
    }


def _ranks(column: Any) -> tuple[Integers, Array]:
    """Return the rank of each value, (n,), a missing one's the last, and the values sorted."""
    ranks, labels = pd.factorize(column, sort=True)
    return np.where(ranks < 0, len(labels), ranks), np.asarray(labels)


def _decimals(low: Array, high: Array, *, are_apart: bool) -> int:
    """Return the decimals that show ranges, which overlap unless they are apart."""
    borders = np.unique(low if are_apart else np.append(low, high)).astype(np.float64)
    borders = borders[np.isfinite(borders)]
    if len(borders) < 2:
        width = np.abs(borders).max(initial=0.0)
    else:
        width = np.diff(borders).min() if are_apart else borders[-1] - borders[0]
    digits = 0 if width == 0 else int(np.floor(np.log10(width)))
    return max(SHOWN_DIGITS - 1 - digits, 0)

"""Labels that look wrong: words for missing values, and spellings of one label as several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING
from skmdp._messages import shown
from skmdp._typing import Array, Bools, Names
from skmdp.inspection._audited import Reading
from skmdp.inspection._findings import Finding
from skmdp.inspection._mends import column

# Words for a missing value, folded.
ODD = ["", "nan", "na", "n/a", "#n/a", "nat", "null", "none", "<na>", "?", "-", "--"]
# What an action may well be called.
ACTIONS = ["none", "-"]
# Episodes up to which their names are compared.
MOST_EPISODES = 100_000
# Spellings that a line of code may list.
MOST_LISTED = 20


def check_labels(reading: Reading) -> Iterator[Finding]:
    """Go through what looks wrong among the labels of states and actions."""
    log, parts = reading.log, reading.parts
    index = log.states
    ranks = index.column_codes()
    for j, name in enumerate(index.names):
        if index.kinds[j] == "str":
            at = np.append(ranks[:, j], MISSING)
            names = (name, *parts.nexts[j : j + 1])
            sides = [log.state_codes, log.next_codes][: len(names)]
            yield from _check_column(reading, names, index.columns[j], [at[side] for side in sides])
    if log.actions.kinds[0] == "str":
        names = log.actions.names
        yield from _check_column(reading, names, log.actions.columns[0], [log.action_codes])
    for name in parts.names("episode"):
        series = reading.frame.column(name)
        if series.dtype.kind in "iufbmM":
            continue
        column = read_labels(series, name)
        if column.kind == "str" and len(column.values) <= MOST_EPISODES:
            yield from _check_spelling(
                reading, (name,), column.values, [column.codes[reading.rows]]
            )


def _check_column(
    reading: Reading, names: Names, labels: Array, sides: Sequence[Array]
) -> Iterator[Finding]:
    """Look at the distinct labels (n_labels,) of columns, and where they stand, each (n,)."""
    folded = _folded(labels)
    is_action = names[0] == reading.parts.action
    odd = folded.isin([word for word in ODD if not (is_action and word in ACTIONS)]).to_numpy()
    if odd.any():
        yield _odd(reading, names, labels[odd], _rows_with(odd, sides), is_action=is_action)
    yield from _check_spelling(reading, names, labels, sides)


def _folded(labels: Array) -> pd.Series:
    """Return labels without case, and spaces around them."""
    words = pd.Series(labels, dtype=object).astype(str)
    return words.str.normalize("NFKC").str.strip().str.casefold()


def _check_spelling(
    reading: Reading, names: Names, labels: Array, sides: Sequence[Array]
) -> Iterator[Finding]:
    """Look for labels that differ in their spelling only."""
    folded = _folded(labels)
    plain = folded.str.replace(r"\s+", " ", regex=True)
    plain = plain.str.replace(r"^\+?0*(\d+)(\.0*)?$", r"\1", regex=True)
    alike = plain.duplicated(keep=False).to_numpy() & ~folded.isin(ODD).to_numpy()
    if alike.any():
        n = sum(np.bincount(side[side != MISSING], minlength=len(labels)) for side in sides)
        best = pd.Series(n).groupby(plain.to_numpy()).transform("idxmax").to_numpy()
        others = np.flatnonzero(alike & (best != np.arange(len(labels))))
        yield _look_alike(reading, names, labels[others], labels[best[others]], others, sides)


def _rows_with(marked: Bools, sides: Sequence[Array]) -> Bools:
    """Mark the rows that hold a marked label on one side, (n,)."""
    found = np.append(marked, False)
    rows = [found[side] for side in sides]
    return np.asarray(np.logical_or.reduce(rows))


def _odd(reading: Reading, names: Names, labels: Array, rows: Bools, *, is_action: bool) -> Finding:
    """Tell of words for a missing value."""
    words = labels.tolist()
    what = f"The label(s) {', '.join(map(shown, words[:4]))} may stand for a missing value."
    fills = dict.fromkeys(names[1:]) | {names[0]: "none" if is_action else "unknown"}
    lines = [
        f"{column(name)} = {column(name)}.mask({column(name)}.isin({words}), {fill})"
        for name, fill in ((name, repr(fill)) for name, fill in fills.items())
    ]
    return reading.finding(
        "warning", "odd_label", what, columns=names, rows=rows, mend="; ".join(lines)
    )


def _look_alike(
    reading: Reading, names: Names, labels: Array, meant: Array, codes: Any, sides: Any
) -> Finding:
    """Tell of several spellings of one label."""
    marked = np.zeros(int(max(side.max() for side in sides)) + 1, dtype=bool)
    marked[codes[codes < len(marked)]] = True
    pairs = dict(zip(labels.tolist(), meant.tolist(), strict=True))
    shown_pairs = [f"{shown(one)} beside {shown(other)}" for one, other in list(pairs.items())[:3]]
    more = len(pairs) - len(shown_pairs)
    what = (
        f"{len(pairs):,} label(s) look like others: {', '.join(shown_pairs)}"
        f"{f' and {more:,} more' if more else ''}."
    )
    if len(pairs) <= MOST_LISTED:
        lines = [f"{column(name)} = {column(name)}.replace({pairs})" for name in names]
    else:
        lines = [f"{column(name)} = {column(name)}.str.strip().str.casefold()" for name in names]
    rows = _rows_with(marked, sides)
    return reading.finding(
        "warning", "look_alike", what, columns=names, rows=rows, mend="; ".join(lines)
    )

"""Reading a log to the end whatever is wrong with it: each fault is mended, and reading goes on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence, gather
from skmdp._log.frames import Table, as_table
from skmdp._log.labels import LabelColumn
from skmdp._log.oddities import warn_of_oddities
from skmdp._log.reading import read_table
from skmdp._log.refusals import Subject, subject_of
from skmdp._log.roles import ROLES, Roles, default_next_names
from skmdp._typing import Integers
from skmdp.inspection._findings import WHY, Finding, Severity
from skmdp.inspection._mends import DISPENSABLE, Mend, Parts, column, run

# A table that was mended, and the names of its columns.
Mended = tuple[pd.DataFrame, dict[str, Any]]
# Discount by which durations are counted: that of an estimator whose parameters nobody sets.
GAMMA = 0.9
# Columns without a role that are looked at.
MOST_COLUMNS = 50
# Faults after which nobody goes on.
MOST_FAULTS = 100


@dataclass(frozen=True, eq=False)
class Reading:
    """A log as it was read once all that is refused had been mended.

    ``rows`` (n,) are the positions in ``table`` of the rows that count, in their order; ``index``
    (n_rows,) are the labels that the table handed in has for the rows of this one.
    ``columns`` name its columns by role, and ``said`` are the warnings of reading it.
    """

    table: Any
    index: pd.Index
    columns: Mapping[str, Any]
    log: Transitions
    evidence: Evidence
    rows: Integers
    said: tuple[Warning, ...]

    @cached_property
    def frame(self) -> Table:
        """The table as it is read."""
        return as_table(self.table)

    @cached_property
    def parts(self) -> Parts:
        """Which of its columns play which part; only names of columns are asked of the table."""
        return Parts(pd.DataFrame(columns=self.frame.columns), self.columns)

    @cached_property
    def spare_columns(self) -> list[Any]:
        """Columns that play no part, the first of many."""
        taken = {name for role in ROLES for name in self.parts.names(role)}
        return [name for name in self.frame.columns if name not in taken][:MOST_COLUMNS]

    @cached_property
    def episode(self) -> Integers:
        """Number of the episode of each row that counts, (n,)."""
        assert self.log.episode_lengths is not None
        return np.repeat(np.arange(len(self.log.episode_lengths)), self.log.episode_lengths)

    @cached_property
    def pair(self) -> Integers:
        """Position of the state and action of each row that counts among those logged, (n,)."""
        log = self.log
        return self.evidence.counts.find_pairs(log.state_codes, log.action_codes)

    def finding(
        self,
        severity: Severity,
        kind: str,
        what: str,
        *,
        columns: tuple[Any, ...] = (),
        rows: Any = None,
        n: int | None = None,
        mend: str = "",
    ) -> Finding:
        """Make a finding; ``rows`` are marked among those that count, or their places there."""
        places = None if rows is None else np.flatnonzero(rows) if rows.dtype == bool else rows
        first = None
        if places is not None and len(places):
            n = len(places) if n is None else n
            first = _label(self.index, int(self.rows[places].min()))
        return Finding(severity, kind, columns, n, first, what, WHY[kind], mend)


def warnings_of(reading: Reading) -> list[Finding]:
    """Return what reading a log warned of."""
    subjects = [(subject_of(warning), str(warning)) for warning in reading.said]
    return [
        reading.finding(
            "warning",
            subject.kind,
            message,
            columns=subject.columns,
            mend=Mend(subject, reading.parts).line(),
        )
        for subject, message in subjects
        if subject is not None
    ]


def _index_of(table: Any) -> pd.Index:
    """Return what a table calls its rows: the index of pandas, else their numbers."""
    is_pandas = isinstance(table, pd.DataFrame)
    return table.index if is_pandas else pd.RangeIndex(len(as_table(table)))


def _label(index: pd.Index, row: int) -> Any:
    label = index[row]
    return label.item() if isinstance(label, np.generic) else label


def read_to_the_end(X: Any, columns: Mapping[str, Any]) -> tuple[list[Finding], Reading | None]:
    """Return all that ``fit`` refuses in a table, and what is read once that is mended.

    Nothing is read if something is refused that cannot be done without.
    """
    as_table(X)
    Roles.of(columns)
    index, table, named = _index_of(X), X, dict(columns)
    errors: dict[tuple[Any, ...], Finding] = {}
    is_whole = True
    for _ in range(MOST_FAULTS):
        try:
            labels = index.take(table.index) if errors else index
            reading = _read(table, named, labels)
            return list(errors.values()), reading if is_whole else None
        except (TypeError, ValueError) as error:
            table = table if errors else _numbered(table)
            subject = subject_of(error) or Subject("refused", ())
            key = subject.kind, subject.columns
            parts, mended = Parts(table, named), None
            if key in errors:  # it was not mended
                errors[key] = replace(errors[key], mend="")
            else:
                line, mended = _try_to_mend(subject, parts, named)
                errors[key] = _error(subject, str(error), table, index, line)
            if mended is None:
                role = _role_of(subject, parts)
                is_whole = is_whole and role in DISPENSABLE
                mended = _set_aside(role, subject, parts, named)
            if mended is None:
                break
            table, named = mended
    return list(errors.values()), None


def _read(table: Any, columns: Mapping[str, Any], index: pd.Index) -> Reading:
    """Read and count a table as ``fit`` does, and keep what it warns of."""
    frame = as_table(table)
    numbers = np.arange(len(frame), dtype=np.int32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        row = LabelColumn("row", "int", numbers, numbers)
        log = read_table(frame, Roles.of(columns), beside=[row])
        evidence = gather(log, gamma=GAMMA)
        warn_of_oddities(log, evidence, stacklevel=1)
    said = tuple(w.message for w in caught if isinstance(w.message, UserWarning))
    (found,) = log.beside
    return Reading(table, index, columns, log, evidence, found.values[found.codes], said)


def _numbered(table: Any) -> pd.DataFrame:
    """Return a copy of a table as one of pandas, its rows numbered."""
    frame = as_table(table)
    if isinstance(table, pd.DataFrame):
        return table.reset_index(drop=True)
    return pd.DataFrame({name: frame.column(name) for name in frame.columns})


def _error(
    subject: Subject, message: str, table: pd.DataFrame, index: pd.Index, line: str
) -> Finding:
    """Make a finding of what was refused."""
    first = subject.first_row
    if first is not None:
        first = _label(index, table.index[first])
    names = (subject.kind, subject.columns, subject.n_rows, first)
    return Finding("error", *names, message, WHY[subject.kind], line)


def _role_of(subject: Subject, parts: Parts) -> str:
    """Return the role of the column that is refused, nothing if it is none."""
    if subject.kind == "absent":
        return str(next(iter(subject.remedy)))
    return parts.role_of(subject.columns[0]) if subject.columns else ""


def _try_to_mend(
    subject: Subject, parts: Parts, columns: Mapping[str, Any]
) -> tuple[str, Mended | None]:
    """Return a line and what it leads to; no line if it fails, as on labels of unusual types."""
    wrong = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
    with suppress(*wrong), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        line = Mend(subject, parts).line()
        if line:
            table, named = run(line, parts.table.copy(), columns)
            # Rows lie as before, so that messages count them as the table does.
            is_ordered = Roles.of(named).step is not None
            return line, (table.sort_index() if is_ordered else table, named)
    return "", None


def _set_aside(
    role: str, subject: Subject, parts: Parts, columns: Mapping[str, Any]
) -> Mended | None:
    """Leave out a column, so that the others can be read; None if there is none to leave out."""
    if not role:
        return None
    line = "; ".join(f"{column(name)} = 0" for name in subject.columns)
    if role in DISPENSABLE:
        line = parts.without(role)
    elif role == "next_state":
        there = list(parts.roles.next_state or default_next_names(parts.state))
        line = f"table = table.drop(columns={there}, errors='ignore'); {parts.without(role)}"
    elif role == "state" and parts.nexts:
        line += "; " + "; ".join(
            f"{column(name)} = {column(name)}.where({column(name)}.isna(), 0)"
            for name in (parts.nexts[parts.state.index(one)] for one in subject.columns)
        )
    return run(line, parts.table.copy(), columns)

"""What an error or a warning speaks of, kept beside its message for those who list it.

Errors stay those of Python, so that what catches them does not change.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from skmdp._typing import Bools, Integers, Name, Names

Said = TypeVar("Said", bound=Exception)
_KEY = "skmdp_subject"


@dataclass(frozen=True)
class Subject:
    """What is wrong: a word for its kind, the columns, how many rows, and the first of them.

    Rows are counted from 0 as the table lies; None where the fault is not one of rows. ``remedy``
    holds names or numbers that help, by role or column.
    """

    kind: str
    columns: Names
    n_rows: int | None = None
    first_row: int | None = None
    remedy: Mapping[Any, Any] = field(default_factory=dict)


def refusal(
    message: str,
    kind: str,
    columns: Name | Sequence[Name] | None = (),
    rows: Bools | Integers | None = None,
    *,
    remedy: Mapping[Any, Any] | None = None,
    error: type[Exception] = ValueError,
) -> Exception:
    """Return an error, or a warning, that says a message and tells what it is about.

    ``rows`` are marked, (n_rows_of_the_table,), or their numbers.
    """
    return _about(error(message), kind, columns, rows, remedy)


def doubt(
    message: str,
    kind: str,
    columns: Name | Sequence[Name] | None = (),
    *,
    stacklevel: int,
    remedy: Mapping[Any, Any] | None = None,
) -> None:
    """Warn with a message that tells what it is about."""
    warnings.warn(
        _about(UserWarning(message), kind, columns, None, remedy), stacklevel=stacklevel + 1
    )


def _about(
    said: Said,
    kind: str,
    columns: Name | Sequence[Name] | None,
    rows: Bools | Integers | None,
    remedy: Mapping[Any, Any] | None,
) -> Said:
    """Keep beside an error or warning what it is about."""
    names = (columns,) if isinstance(columns, Name) else tuple(columns or ())
    found = None if rows is None else np.flatnonzero(rows) if rows.dtype == bool else rows
    n_rows, first = (None, None) if found is None else (len(found), int(found[0]))
    vars(said)[_KEY] = Subject(kind, names, n_rows, first, remedy or {})
    return said


def subject_of(said: Exception) -> Subject | None:
    """Return what an error or warning speaks of, None where it does not tell."""
    found: Subject | None = vars(said).get(_KEY)
    return found

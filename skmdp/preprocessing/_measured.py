"""The measurements of a table: states, and the next states below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.frames import Table
from skmdp._log.labels import raise_if_missing
from skmdp._log.raw import MEASURED
from skmdp._log.roles import find_next_names, require_columns, require_distinct
from skmdp._messages import shortened, shown
from skmdp._pipelines import last_step
from skmdp._typing import Bools, Name, Names

BOUND_IT = "Bound the column first, for example with .clip(lower=..., upper=...)."


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of a table under the names of its state columns.

    ``rows`` holds the ``states``, and below them the next states of the rows marked ``present``.
    ``nexts`` names the next-state columns, None if the table has none.
    """

    frame: Table
    rows: pd.DataFrame
    states: pd.DataFrame
    names: Names
    nexts: Names | None
    present: Bools

    @property
    def handed_on(self) -> dict[Name, Name]:
        """Names under which measurements are handed on beside the states made of them."""
        return handed_on_as(self.names, self.nexts, self.frame.columns)

    def place_of(self, row: int) -> tuple[Names, int]:
        """Return the columns of the table that hold one of ``rows``, and their row there."""
        if self.nexts is None or row < len(self.states):
            return self.names, row
        return self.nexts, int(np.flatnonzero(self.present)[row - len(self.states)])

    @contextmanager
    def naming_what_is_refused(self, transformer: Any) -> Iterator[None]:
        """Say which column and row a transformer stumbled over, where a value is to blame."""
        try:
            yield
        except (TypeError, ValueError) as error:
            try:
                self._raise_if_missing(transformer)
                self._raise_if_infinite(transformer)
                self._raise_if_no_number(transformer, error)
            except ValueError as explained:
                raise explained from error
            raise

    def _raise_if_missing(self, transformer: Any) -> None:
        """Raise if a measurement is missing: transformers seldom take that."""
        remedy = (
            f"{_name(transformer)} does not take them: put an imputer before it, as in "
            f"StateEncoder(make_pipeline(SimpleImputer(), {shortened(transformer)}), state=...). "
            "A next state counts as missing only where all of its columns are."
        )
        for column in (*self.names, *(self.nexts or ())):
            missing = self.frame.column(column).isna().to_numpy(dtype=bool)
            if column in (self.nexts or ()):
                missing = missing & self.present
            raise_if_missing(column, missing, remedy)

    def _raise_if_infinite(self, transformer: Any) -> None:
        """Raise if a measurement is infinite."""
        for j, name in enumerate(self.names):
            values = self.rows[name].to_numpy()
            if values.dtype.kind == "f" and np.isinf(values).any():
                columns, row = self.place_of(int(np.argmax(np.isinf(values))))
                raise ValueError(
                    f"Column {shown(columns[j])} contains infinity (inf), first at row {row} "
                    f"(counting from 0), and {_name(transformer)} does not take it. {BOUND_IT}"
                )

    def _raise_if_no_number(self, transformer: Any, error: Exception) -> None:
        """Raise if the transformer failed to make a number of a measurement."""
        # Encoders take text, and say themselves which they do not know.
        but_text = "could not convert" not in str(error)
        self.require_numbers(f"{_name(transformer)} needs", but_text=but_text)

    def require_numbers(self, somebody_needs: str, *, but_text: bool = False) -> None:
        """Raise unless all measurements are numbers, or text if that will do."""
        for j, name in enumerate(self.names):
            column = self.rows[name]
            if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind != "c":
                continue
            if but_text and pd.api.types.infer_dtype(column, skipna=True) == "string":
                continue
            is_number = column.map(lambda value: isinstance(value, Real)) | column.isna()
            first = int(np.argmin(is_number))
            columns, row = self.place_of(first)
            raise ValueError(
                f"Column {shown(columns[j])} holds {shown(column.iloc[first])} at row {row} "
                f"(counting from 0), and {somebody_needs} numbers. Write a time as the hours since "
                "a first time. Leave a label out of StateEncoder(state=...), which keeps other "
                f"columns, and name it in MarkovPolicyEstimator(state=[..., {shown(name)}])."
            )


def handed_on_as(names: Names, nexts: Names | None, columns: Sequence[Any]) -> dict[Name, Name]:
    """Return the names under which measurements, and next ones, are handed on beside states.

    What an encoder made of a measurement is none.
    """
    named: dict[Name, Name] = {name: f"{MEASURED}{name}" for name in names}
    if nexts is not None:
        after = zip(nexts, tuple(named.values()), strict=True)
        named |= {name: f"next_{measured}" for name, measured in after}
    return {name: other for name, other in named.items() if other not in columns}


def measure(
    frame: Table, names: Names, next_state: Names | None, *, fitting: bool = False
) -> Measured:
    """Take the measurements of a table: states, and below them the next states it has.

    Next states that were named must be there to fit on; later their columns may be absent.
    """
    needed = {"state": names}
    if fitting and next_state is not None:
        needed["next_state"] = next_state
    require_columns(needed, frame.columns, index_names=frame.index_names, owner="StateEncoder")
    nexts = find_next_names(names, next_state, frame.columns)
    require_distinct([*names, *(nexts or ())])
    states = frame.features(names)
    if nexts is None:
        return Measured(frame, states, states, names, None, np.zeros(len(frame), dtype=bool))
    present = ~np.all([frame.column(name).isna() for name in nexts], axis=0)
    rows = states
    if present.any():
        following = frame.features(nexts, present).set_axis(list(names), axis=1)
        rows = pd.concat([states, following], ignore_index=True)
    return Measured(frame, rows, states, names, nexts, present)


def _name(transformer: Any) -> str:
    return type(last_step(transformer)[0]).__name__

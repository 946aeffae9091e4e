"""The measurements of a table: states, and the next states below them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skmdp._log.frames import Table
from skmdp._log.labels import raise_if_missing
from skmdp._pipelines import last_step
from skmdp._typing import Bools


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of a table under the names of its state columns.

    ``rows`` holds the ``states``, and below them the next states of the rows marked ``present``.
    ``nexts`` names the next-state columns, None if the table has none.
    """

    frame: Table
    rows: pd.DataFrame
    states: pd.DataFrame
    names: tuple[str, ...]
    nexts: tuple[str, ...] | None
    present: Bools

    @contextmanager
    def naming_what_is_missing(self, transformer: Any) -> Iterator[None]:
        """Say which column and row a transformer stumbled over, if it is for a missing value."""
        try:
            yield
        except (TypeError, ValueError) as error:
            name = type(last_step(transformer)[0]).__name__
            remedy = (
                f"{name} does not take them: put an imputer before it, as in StateEncoder("
                f"make_pipeline(SimpleImputer(), {name}(...)), state=...). A next state counts as "
                "missing only where all of its columns are."
            )
            for column in (*self.names, *(self.nexts or ())):
                missing = self.frame.column(column).isna().to_numpy(dtype=bool)
                if column in (self.nexts or ()):
                    missing = missing & self.present
                try:
                    raise_if_missing(column, missing, remedy)
                except ValueError as explained:
                    raise explained from error
            raise

"""What all displays share: axes to draw on, names of states, and how many of these fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.frames import as_table
from skmdp._messages import shortened
from skmdp._typing import Integers
from skmdp.inspection._pairs import Pairs

# States that one picture shows at most, one in each line or node.
MOST_STATES = 40
# Characters of the name of a state or action.
NAME_LENGTH = 28
# Inches that a line of text takes.
LINE_HEIGHT = 0.28


def pyplot(display: str) -> Any:
    """Return matplotlib's pyplot, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{display} draws with matplotlib, which is not installed. Install it with "
            "pip install 'skmdp[plot]', or pip install matplotlib."
        ) from error
    return plt


def axes(display: str, ax: Any, n_lines: int, width: float = 6.4) -> Any:
    """Return the axes to draw on: those given, or new ones that hold so many lines of text."""
    if ax is not None:
        pyplot(display)
        return ax
    height = 1.3 + LINE_HEIGHT * max(n_lines, 6)
    return pyplot(display).subplots(figsize=(width, height), layout="constrained")[1]


def named(labels: Iterable[Any]) -> list[str]:
    """Return labels as short texts in which nothing is taken for mathematics."""
    return [shortened(label, NAME_LENGTH).replace("$", r"\$") for label in labels]


def state_names(pairs: Pairs, states: Integers) -> list[str]:
    """Return a short name for each of some states, in the units of what was measured."""
    columns = [map(str, values) for values in pairs.measured(states).values()]
    return named(", ".join(parts) for parts in zip(*columns, strict=True))


def most_visited(pairs: Pairs, most: int) -> Integers:
    """Return the codes of the most visited states that have decisions, in their own order."""
    if most < 1:
        raise ValueError(f"max_states must be at least 1, got {most}.")
    visits = np.add.reduceat(pairs.n, pairs.first)
    largest = np.argsort(-visits, kind="stable")[:most]
    return pairs.state[pairs.first][np.sort(largest)]


def as_pandas(X: Any) -> pd.DataFrame:
    """Return a table of any library as one of pandas."""
    table = as_table(X, "Expected a table of states")
    return pd.DataFrame({name: table.column(name) for name in table.columns})


def told_of(n_shown: int, n_states: int) -> str:
    """Say that not all states are shown, nothing if they are."""
    return f" (the {n_shown} most visited of {n_states:,})" if n_shown < n_states else ""

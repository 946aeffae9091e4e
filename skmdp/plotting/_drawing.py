"""What all displays share: axes to draw on, names of states and actions, and their colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.frames import as_table
from skmdp._messages import told_apart
from skmdp._typing import Integers
from skmdp.inspection._pairs import Pairs

# States that one picture shows at most, one in each line or node.
MOST_STATES = 40
# Characters of the name of a state or action.
NAME_LENGTH = 28
# Inches that a line of text takes, and a character of it.
LINE_HEIGHT, CHARACTER = 0.28, 0.085
# Actions with a colour of their own; eyes tell no more of them apart.
MOST_COLOURS = 20
OTHERS = (0.2, 0.2, 0.2, 1.0)


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


def axes(
    display: str,
    ax: Any,
    n_lines: int,
    width: float = 6.4,
    *,
    beside: Sequence[str] = (),
    below: Sequence[str] = (),
) -> Any:
    """Return the axes to draw on: those given, or new ones that hold so many lines of text.

    There is room for names ``beside`` them and, turned, ``below``.
    """
    if ax is not None:
        pyplot(display)
        return ax
    height = 1.3 + LINE_HEIGHT * max(n_lines, 6) + _inches(below)
    size = (width + _inches(beside), height)
    return pyplot(display).subplots(figsize=size, layout="constrained")[1]


def _inches(names: Sequence[str]) -> float:
    """Return what names take beyond the room that figures have for them anyway."""
    return CHARACTER * max(max(map(len, names), default=0) - 10, 0)


def named(labels: Iterable[Any]) -> list[str]:
    """Return labels as short texts, no two of them alike."""
    return told_apart(list(labels), NAME_LENGTH)


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


def palette(advised: Integers, names: Sequence[str]) -> tuple[list[Any], list[tuple[Any, str]]]:
    """Return the colour of each action, and what a legend says: colours and names.

    ``advised`` are positions of actions, as often as these are seen. If they are many, the most
    frequent have a colour each, and all others one together.
    """
    from matplotlib import colormaps

    often = np.bincount(advised, minlength=len(names))
    seen = np.flatnonzero(often)
    own = seen
    if len(seen) > MOST_COLOURS:
        own = np.sort(np.argsort(-often, kind="stable")[: MOST_COLOURS - 1])
    map_of = colormaps["tab10" if len(own) <= 10 else "tab20"]
    colours: list[Any] = [OTHERS] * len(names)
    for place, code in enumerate(own.tolist()):
        colours[code] = map_of(place)
    told = [(colours[code], names[code]) for code in own.tolist()]
    if len(own) < len(seen):
        told.append((OTHERS, f"{len(seen) - len(own)} others"))
    return colours, told

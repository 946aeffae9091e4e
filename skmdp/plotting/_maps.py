"""A policy over two measured columns as a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from skmdp._messages import quoted, shown
from skmdp._typing import Floats, Integers
from skmdp.plotting._drawing import as_pandas, axes, named

# Points of the map along each side.
RESOLUTION = 120


class PolicyMapDisplay:
    """The advised action over two numeric columns, as coloured areas.

    Parameters
    ----------
    x, y : ndarray of shape (n_x,), (n_y,)
        Values of the two columns.
    advised : ndarray of shape (n_y, n_x)
        Position of the advised action among ``actions``.
    actions : list of str
        Names of the actions.
    names : tuple of str
        Names of the two columns.
    points : ndarray of shape (n_points, 2), default=None
        Rows of a table, drawn as dots.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.plotting import PolicyMapDisplay
    >>> X = pd.DataFrame({"age": [20.0, 20.0, 70.0, 70.0], "dose": [1.0, 2.0, 1.0, 2.0]})
    >>> policy = MarkovPolicyEstimator(handle_unknown="nearest")
    >>> policy = policy.fit(X, ["a", "b", "a", "b"], reward=[1, 1, 0, 0])
    >>> display = PolicyMapDisplay.from_estimator(policy, X, ["age", "dose"])
    >>> display.actions
    ['a', 'b']
    """

    def __init__(
        self,
        *,
        x: Floats,
        y: Floats,
        advised: Integers,
        actions: list[str],
        names: tuple[str, str],
        points: Floats | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.advised = advised
        self.actions = actions
        self.names = names
        self.points = points

    @classmethod
    def from_estimator(cls, policy: Any, X: Any, columns: Sequence[Any], *, ax: Any = None) -> Self:
        """Draw what a policy answers over two columns of a table.

        Parameters
        ----------
        policy : estimator with ``predict``
            A fitted policy, such as a pipeline.
        X : table of shape (n_rows, n_columns)
            Rows in the units of ``predict``, such as the log. The map covers their range; all
            other columns are held at the row in the middle (of numbers the median).
        columns : sequence of two column names
            Numeric columns, the first drawn across.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the columns are not two numeric columns of the table, or it is empty.
        ImportError
            If matplotlib is not installed.
        """
        table = as_pandas(X)
        _check_columns(table, columns)
        sides = [np.linspace(table[name].min(), table[name].max(), RESOLUTION) for name in columns]
        across, up = np.meshgrid(*sides)
        held = {name: [_middle(table[name])] * across.size for name in table.columns}
        asked = pd.DataFrame(held)
        for name, grid in zip(columns, (across, up), strict=True):
            asked[name] = grid.ravel()
        labels, advised = np.unique(
            np.asarray(policy.predict(asked)).astype(object), return_inverse=True
        )
        return cls(
            x=sides[0],
            y=sides[1],
            advised=advised.reshape(across.shape),
            actions=named(labels),
            names=(str(columns[0]), str(columns[1])),
            points=table[list(columns)].to_numpy(dtype=np.float64),
        ).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyMapDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes("PolicyMapDisplay", ax, 12)
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        map_of = colormaps["tab10" if len(self.actions) <= 10 else "tab20"]
        colours = [map_of(i % map_of.N) for i in range(len(self.actions))]
        ax.pcolormesh(
            self.x,
            self.y,
            self.advised,
            cmap=ListedColormap(colours),
            alpha=0.55,
            vmin=-0.5,
            vmax=len(colours) - 0.5,
            shading="nearest",
        )
        if self.points is not None:
            ax.plot(
                *self.points.T, linestyle="", marker=".", markersize=2, color="black", alpha=0.3
            )
        handles = [
            Patch(color=colour, alpha=0.55, label=name)
            for colour, name in zip(colours, self.actions, strict=True)
        ]
        ax.legend(
            handles=handles, title="advised", loc="upper left", bbox_to_anchor=(1, 1), frameon=False
        )
        ax.set_xlabel(self.names[0])
        ax.set_ylabel(self.names[1])
        ax.set_title("What is advised")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _check_columns(table: pd.DataFrame, columns: Sequence[Any]) -> None:
    """Raise unless a map can be drawn over these columns."""
    if isinstance(columns, str) or len(columns) != 2 or columns[0] == columns[1]:
        raise ValueError(f"columns must be two different names of columns, got {shown(columns)}.")
    for name in columns:
        if name not in table.columns:
            raise ValueError(
                f"The table has no column {shown(name)}; it has {quoted(list(table.columns))}."
            )
        if not is_numeric_dtype(table[name]) or is_bool_dtype(table[name]):
            raise ValueError(
                f"Column {shown(name)} is not numeric, so it has no place on a map. Choose two "
                "numeric columns, or draw a PolicyTreeDisplay."
            )
        if not table[name].notna().any():
            raise ValueError(f"Column {shown(name)} holds no number to draw a map over.")


def _middle(column: pd.Series) -> Any:
    """Return a value of a column that lies in the middle, of numbers the median."""
    known = column.dropna().sort_values(
        key=None if is_numeric_dtype(column) else lambda c: c.map(str)
    )
    return known.iloc[len(known) // 2] if len(known) else None

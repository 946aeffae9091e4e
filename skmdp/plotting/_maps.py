"""A policy over two measured columns as a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from skmdp._messages import quoted, shown
from skmdp._pipelines import transform, unwrap
from skmdp._policy import fitted_policy, has_policy, read_states
from skmdp._typing import Array, Bools, Floats, Integers
from skmdp.ensemble import PolicyBagging
from skmdp.plotting._drawing import LINE_HEIGHT, as_pandas, axes, named, palette, pyplot
from skmdp.plotting._fitting import BESIDE, drawable, legend_of, settle, written

# Points of the map along each side, and cells at most where values lie on a grid.
RESOLUTION, MOST_CELLS = 120, 240
# Relative to the distance of two values of a grid.
ROUNDING = 1e-6
NOT_LOGGED = "not in the log"
OPACITY = 0.55
# Inches that a cell takes at least, in a new figure.
CELL = 0.04


class PolicyMapDisplay:
    """The advised action over two numeric columns, as coloured areas.

    Hatched is where no decision of the log lies. What is advised there rests on no row: it is left
    white, unless states nearby answer (``handle_unknown="nearest"``).

    Parameters
    ----------
    x, y : ndarray of shape (n_x,), (n_y,)
        Values of the two columns.
    advised : ndarray of shape (n_y, n_x)
        Position of the advised action among ``actions``, -1 where nothing is drawn.
    actions : list of str
        Names of the actions.
    names : tuple of str
        Names of the two columns.
    points : ndarray of shape (n_points, 2), default=None
        Rows of a table, drawn as dots.
    is_logged : ndarray of shape (n_y, n_x), default=None
        Whether the log has decisions in the state that a point falls into. None: not known, so that
        nothing is hatched.

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
    >>> display.x[:3], display.is_logged[0, :3]
    (array([20., 21., 22.]), array([ True, False, False]))
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
        is_logged: Bools | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.advised = advised
        self.actions = actions
        self.names = names
        self.points = points
        self.is_logged = is_logged

    @classmethod
    def from_estimator(cls, policy: Any, X: Any, columns: Sequence[Any], *, ax: Any = None) -> Self:
        """Draw what a policy answers over two columns of a table.

        Parameters
        ----------
        policy : estimator with ``predict``
            A fitted policy, such as a pipeline.
        X : table of shape (n_rows, n_columns)
            Rows in the units of ``predict``, such as the log. The map covers their range; all
            other columns are held at the row in the middle (of numbers the median). Columns of
            whole numbers, and those whose values lie on a grid, are asked for at these values.
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
        sides = [_side(table[name]) for name in columns]
        across, up = np.meshgrid(*sides)
        held = {name: [_middle(table[name])] * across.size for name in table.columns}
        asked = pd.DataFrame(held)
        for name, grid in zip(columns, (across, up), strict=True):
            asked[name] = grid.ravel().astype(table[name].dtype if _is_whole(grid) else np.float64)
        is_logged, is_asked = _look(policy, asked)
        answers = np.asarray(policy.predict(asked[is_asked])) if is_asked.any() else np.array([])
        labels, found = np.unique(answers.astype(object), return_inverse=True)
        advised = np.full(across.size, -1)
        advised[is_asked] = found
        return cls(
            x=sides[0],
            y=sides[1],
            advised=advised.reshape(across.shape),
            actions=named(labels),
            names=(str(columns[0]), str(columns[1])),
            points=table[list(columns)].to_numpy(dtype=np.float64),
            is_logged=None if is_logged is None else is_logged.reshape(across.shape),
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
        pyplot("PolicyMapDisplay")
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        actions, columns = drawable(self.actions), drawable(named(self.names))
        colours, told = palette(self.advised[self.advised >= 0], actions)
        n_lines = max(12, len(told) + 3, round(CELL * len(self.y) / LINE_HEIGHT))
        width = max(6.4, CELL * len(self.x))
        ax = axes("PolicyMapDisplay", ax, n_lines, width, beside=actions)
        ax.pcolormesh(
            _edges(self.x),
            _edges(self.y),
            np.ma.masked_less(self.advised, 0),
            cmap=ListedColormap(colours or ["white"]),
            alpha=OPACITY,
            vmin=-0.5,
            vmax=max(len(colours), 1) - 0.5,
        )
        marks = [Patch(color=colour, alpha=OPACITY) for colour, _ in told]
        if self.is_logged is not None and not self.is_logged.all():
            marks.append(self._hatch(ax))
        if self.points is not None:
            ax.plot(*self.points.T, "k.", markersize=self._size_of_dots(ax), alpha=0.3)
        names = [name for _, name in told]
        ax.set_xlabel(written(columns)[0])
        ax.set_ylabel(written(columns)[1])

        def write(length: int) -> None:
            others = [NOT_LOGGED] * (len(marks) - len(names))
            legend_of(ax, marks, [*written(names, length), *others], title="advised", **BESIDE)

        settle(ax, "What is advised", write)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _size_of_dots(self, ax: Any) -> float:
        """Return the size of dots, in points, that leave cells of a grid to be seen."""
        sides = (ax.bbox.width / len(self.x), ax.bbox.height / len(self.y))
        return float(min(2.0, 0.6 * min(sides) * 72 / ax.figure.figure.dpi))

    def _hatch(self, ax: Any) -> Any:
        """Hatch the cells where the log has no decisions, and return a sample of it."""
        from matplotlib.patches import Patch, PathPatch
        from matplotlib.path import Path

        style: dict[str, Any] = {
            "hatch": "////",
            "edgecolor": "0.6",
            "facecolor": "none",
            "linewidth": 0,
        }
        row, column = np.nonzero(~np.asarray(self.is_logged))
        x, y = _edges(self.x), _edges(self.y)
        across, up = np.array([0, 1, 1, 0, 0]), np.array([0, 0, 1, 1, 0])
        corners = x[column[:, None] + across], y[row[:, None] + up]
        around = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
        outline = Path(np.stack(corners, axis=-1).reshape(-1, 2), np.tile(around, len(row)))
        ax.add_artist(PathPatch(outline, **style))  # all inside: a patch is asked for its limits
        return Patch(**style)


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


def _side(column: pd.Series) -> Floats:
    """Return the values along one side: those of a grid, where the column holds one, in order."""
    values = np.unique(column.dropna().to_numpy(dtype=np.float64))
    is_whole = _is_whole(values)
    step = 1.0 if is_whole else np.diff(values, prepend=-np.inf).min()
    n_steps = (values - values[0]) / step
    if n_steps[-1] < MOST_CELLS and (np.abs(n_steps - np.rint(n_steps)) < ROUNDING).all():
        grid = values[0] + step * np.arange(np.rint(n_steps[-1]) + 1)
        grid[np.rint(n_steps).astype(np.intp)] = values  # as they are in the table, to the last bit
        return np.asarray(grid)
    sides = np.linspace(values[0], values[-1], RESOLUTION)
    return np.unique(np.rint(sides)) if is_whole else sides


def _edges(values: Floats) -> Floats:
    """Return where the cells of some values end, (n + 1,)."""
    half = np.diff(values) / 2 if len(values) > 1 else np.array([0.5])
    between = values[:-1] + half[: len(values) - 1]
    return np.concatenate([[values[0] - half[0]], between, [values[-1] + half[-1]]])


def _is_whole(values: Array) -> bool:
    """Tell whether all values are whole numbers."""
    return bool((values == np.rint(values)).all())


def _look(policy: Any, asked: pd.DataFrame) -> tuple[Bools | None, Bools]:
    """Tell for which rows the log has decisions, None if unknown, and which a policy is asked."""
    everywhere = np.ones(len(asked), dtype=bool)
    if not hasattr(policy, "fit"):
        return None, everywhere
    transformers, estimator = unwrap(policy)
    members = estimator.estimators_ if isinstance(estimator, PolicyBagging) else [estimator]
    is_logged, answers_nearby = np.zeros(len(asked), dtype=bool), False
    table = transform(transformers, asked)
    for member in members:
        own_transformers, last = unwrap(member)
        if not has_policy(last):
            return None, everywhere
        codes, _ = read_states(last, transform(own_transformers, table))
        own = fitted_policy(last)
        is_logged |= (codes >= 0) & (own.counts.state_weights[codes] > 0)
        answers_nearby |= last.handle_unknown == "nearest"
    return is_logged, everywhere if answers_nearby else is_logged

"""A policy as a small decision tree, and how faithful that is."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.tree import DecisionTreeClassifier, plot_tree

from skmdp.plotting._drawing import CHARACTER, as_pandas, axes, named
from skmdp.plotting._fitting import drawable, settle, written

# Points: the size of letters, the smallest that can be read well, and the smallest of all.
FONT_SIZE, LEGIBLE_SIZE, LEAST_SIZE = 7, 5, 2
# Actions whose shares are told in every box.
FEW_ACTIONS = 4


class PolicyTreeDisplay:
    """The policy as a tree of rules: a decision tree that answers as it does, as far as it can.

    Parameters
    ----------
    tree : DecisionTreeClassifier
        A fitted tree.
    features : list of str
        Names of its features.
    fidelity : float
        Share of the rows where it answers as the policy does.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    skmdp.export.to_rules : All rules of a policy as text.

    Examples
    --------
    >>> from skmdp import MarkovPolicyCV
    >>> from skmdp.datasets import make_maintenance_log
    >>> from skmdp.plotting import PolicyTreeDisplay
    >>> log = make_maintenance_log(random_state=0)
    >>> policy = MarkovPolicyCV(episode="machine", state="condition", reward="profit").fit(log)
    >>> display = PolicyTreeDisplay.from_estimator(policy, log[["condition"]])
    >>> display.fidelity
    1.0
    """

    def __init__(
        self, *, tree: DecisionTreeClassifier, features: list[str], fidelity: float
    ) -> None:
        self.tree = tree
        self.features = features
        self.fidelity = fidelity

    @classmethod
    def from_estimator(
        cls, policy: Any, X: Any, *, max_leaf_nodes: int = 8, ax: Any = None
    ) -> Self:
        """Grow a tree on what a policy answers in the rows of a table.

        Parameters
        ----------
        policy : estimator with ``predict``
            A fitted policy, such as a pipeline.
        X : table of shape (n_rows, n_columns)
            Rows in the units of ``predict``, such as the state columns of the log. The tree may
            look at all columns that are handed in: leave out those that nobody knows when deciding,
            as rewards.
        max_leaf_nodes : int, default=8
            Number of rules at most, at least 2.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyTreeDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the table is empty, or ``max_leaf_nodes`` is below 2.
        ImportError
            If matplotlib is not installed.
        """
        table = as_pandas(X)
        if not len(table):
            raise ValueError("The table has no rows to grow a tree on.")
        if max_leaf_nodes < 2:
            raise ValueError(f"max_leaf_nodes must be at least 2, got {max_leaf_nodes}.")
        advised = np.asarray(policy.predict(X)).astype(str)
        features = _as_numbers(table)
        tree = DecisionTreeClassifier(max_leaf_nodes=max_leaf_nodes, random_state=0)
        tree.fit(features.to_numpy(), advised)
        return cls(
            tree=tree,
            features=named(features.columns),
            fidelity=float(tree.score(features.to_numpy(), advised)),
        ).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyTreeDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        features, actions = drawable(self.features), drawable(named(self.tree.classes_))
        longest = max(map(len, [*features, *actions]))
        width = max(1.1, 0.6 * CHARACTER * (longest + 10))
        depth, n_leaves = self.tree.get_depth(), self.tree.get_n_leaves()
        ax = axes("PolicyTreeDisplay", ax, 4 + 5 * depth, 3 + width * max(n_leaves, 3))

        def write(length: int) -> bool:
            boxes = plot_tree(
                self.tree,
                feature_names=written(features, length),
                class_names=written(actions, length),
                impurity=False,
                proportion=True,
                filled=True,
                rounded=True,
                label="root",
                fontsize=FONT_SIZE,
                ax=ax,
            )
            return _shrink(boxes, ax, len(actions))

        title = f"The policy as a tree, which answers alike in {self.fidelity:.1%} of the rows"
        settle(ax, title, write)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _shrink(boxes: list[Any], ax: Any, n_actions: int) -> bool:
    """Let the boxes of a tree stand side by side; tell whether they can be read.

    Of many actions the share of each is left out.
    """
    from matplotlib.text import Text

    widest = 1.0
    for box in boxes:
        lines = box.get_text().split("\n")
        if n_actions > FEW_ACTIONS and len(lines) > 2:
            box.set_text("\n".join([*lines[: 2 if "<=" in lines[0] else 1], lines[-1]]))
        # The words alone: with its arrow, a box is as wide as the way to the one above.
        widest = max(widest, Text.get_window_extent(box).width)
    size = min(FONT_SIZE, 0.85 * FONT_SIZE * ax.bbox.width * _least_gap(boxes) / widest)
    for box in boxes:
        box.set_fontsize(max(size, LEAST_SIZE))
    return bool(size >= LEGIBLE_SIZE)


def _least_gap(boxes: list[Any]) -> float:
    """Return how far apart boxes beside each other are at least, as a share of the axes' width."""
    x, y = np.array([box.xyann for box in boxes]).T
    order = np.lexsort((x, y.round(6)))
    gaps = np.diff(x[order])[np.diff(y[order].round(6)) == 0]
    return float(gaps.min(initial=1.0))


def _as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return columns as a tree can look at them: labels as one column of 0 and 1 each."""
    columns = {}
    for name in table.columns:
        column = table[name]
        if is_numeric_dtype(column) and not is_bool_dtype(column):
            columns[str(name)] = column.astype(np.float64)
            continue
        for label in sorted(column.dropna().unique(), key=str):
            columns[f"{name} is {label}"] = (column == label).astype(np.float64)
    return pd.DataFrame(columns)

"""A policy as a small decision tree, and how faithful that is."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.tree import DecisionTreeClassifier, plot_tree

from skmdp.plotting._drawing import as_pandas, axes, named


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
        ax = axes(
            "PolicyTreeDisplay",
            ax,
            4 + 5 * self.tree.get_depth(),
            3 + 1.1 * self.tree.get_n_leaves(),
        )
        plot_tree(
            self.tree,
            feature_names=self.features,
            class_names=named(self.tree.classes_),
            impurity=False,
            proportion=True,
            filled=True,
            rounded=True,
            label="root",
            fontsize=7,
            ax=ax,
        )
        ax.set_title(
            f"The policy as a tree, which answers alike in {self.fidelity:.1%} of the rows"
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self


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

"""Estimates of policies beside today's, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from skmdp.metrics import PolicyEvaluation
from skmdp.plotting._drawing import axes, named
from skmdp.plotting._fitting import drawable, legend_of, place_names, settle, written

COLUMNS = ("policy", "method", "value", "lower", "upper")


class PolicyEvaluationDisplay:
    """The value of policies by one or several methods, beside that of what was logged.

    Parameters
    ----------
    estimates : pandas.DataFrame
        One row per policy and method: ``policy``, ``method``, ``value``, ``lower``, ``upper``; the
        last two NaN where there is no interval.
    logged_value : float, default=None
        Value of the logged policy, drawn as a line. None: it is not drawn.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    skmdp.metrics.evaluate_policy, skmdp.metrics.compare_policies : What is drawn.

    Examples
    --------
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.metrics import evaluate_policy
    >>> from skmdp.plotting import PolicyEvaluationDisplay
    >>> log = make_search_log(500, length=4, random_state=0)
    >>> usual = log.groupby("state")["action"].agg(lambda actions: actions.mode()[0])
    >>> result = evaluate_policy(usual, log, methods="dm")
    >>> display = PolicyEvaluationDisplay.from_evaluations({"what is usual": result})
    >>> display.estimates["policy"].tolist()
    ['what is usual']
    """

    def __init__(self, *, estimates: pd.DataFrame, logged_value: float | None = None) -> None:
        self.estimates = estimates
        self.logged_value = logged_value

    @classmethod
    def from_evaluations(
        cls, evaluations: PolicyEvaluation | Mapping[str, PolicyEvaluation], *, ax: Any = None
    ) -> Self:
        """Draw what ``evaluate_policy`` returned, of one policy or of several by name.

        Parameters
        ----------
        evaluations : PolicyEvaluation, or mapping of str to PolicyEvaluation
            Estimates on the same log.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyEvaluationDisplay
            The display, drawn; the line is the logged policy, as the first of them has it.

        Raises
        ------
        ValueError
            If there are none.
        ImportError
            If matplotlib is not installed.
        """
        if isinstance(evaluations, PolicyEvaluation):
            evaluations = {"policy": evaluations}
        if not evaluations:
            raise ValueError("evaluations is empty; hand in at least one by name.")
        tables = [one.to_frame().assign(policy=name) for name, one in evaluations.items()]
        first = next(iter(evaluations.values()))
        return cls(
            estimates=pd.concat(tables, ignore_index=True)[list(COLUMNS)],
            logged_value=first.behavior_value,
        ).plot(ax=ax)

    @classmethod
    def from_comparison(cls, table: pd.DataFrame, *, ax: Any = None) -> Self:
        """Draw what ``compare_policies`` returned.

        Parameters
        ----------
        table : pandas.DataFrame
            Its table, or some of the rows.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyEvaluationDisplay
            The display, drawn, without a line: hand in ``"behavior"`` among the policies to see
            what was logged.

        Raises
        ------
        ValueError
            If the table is another one, or empty.
        ImportError
            If matplotlib is not installed.
        """
        absent = [name for name in COLUMNS if name not in getattr(table, "columns", ())]
        if absent or not len(table):
            raise ValueError(
                "Expected the table that skmdp.metrics.compare_policies returns, with columns "
                f"{', '.join(COLUMNS)} and at least one row."
            )
        return cls(estimates=table[list(COLUMNS)].reset_index(drop=True)).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyEvaluationDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        table = self.estimates[np.isfinite(self.estimates["value"])]
        methods = list(dict.fromkeys(table["method"]))
        policies = list(dict.fromkeys(self.estimates["policy"]))
        names = drawable(named(policies))
        ax = axes("PolicyEvaluationDisplay", ax, len(table), beside=names)
        marks = []
        for i, method in enumerate(methods):
            rows = table[table["method"] == method]
            height = rows["policy"].map(policies.index) + 0.6 * ((i + 0.5) / len(methods) - 0.5)
            ends = rows[["lower", "upper"]].sub(rows["value"], axis=0).abs().fillna(0.0)
            marks.append(
                ax.errorbar(rows["value"], height, xerr=ends.T, fmt="o", markersize=5, capsize=3)
            )
        if self.logged_value is not None and np.isfinite(self.logged_value):
            marks.append(ax.axvline(self.logged_value, color="black", linewidth=1))
            methods.append("logged")
        ax.set_ylim(len(policies) - 0.4, -0.6)
        ax.set_xlabel("reward per episode, with intervals")
        ax.grid(axis="x", alpha=0.3)
        legend_of(ax, marks, methods, loc="best")
        settle(
            ax,
            "Policies on the same log",
            lambda length: place_names(ax, "y", written(names, length)),
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

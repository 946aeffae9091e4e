"""How the proven error of solvers falls from iteration to iteration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from skmdp._pipelines import unwrap
from skmdp._policy import fitted_policy
from skmdp._typing import Floats
from skmdp.plotting._drawing import axes, named
from skmdp.plotting._fitting import BESIDE, drawable, legend_of, settle, written
from skmdp.solvers import Solution, solve

# Solutions whose legend has a place inside the picture.
FEW_NAMES = 6


class ConvergenceDisplay:
    """The proven bound on the error of the values after each iteration.

    Parameters
    ----------
    histories : mapping of str to ndarray of shape (n_iter,)
        Bounds by name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.plotting import ConvergenceDisplay
    >>> policy = MarkovPolicyEstimator().fit(load_climb())
    >>> display = ConvergenceDisplay.from_estimator(policy)
    >>> list(display.histories)
    ['modified_policy_iteration', 'policy_iteration', 'value_iteration']
    """

    def __init__(self, *, histories: Mapping[str, Floats]) -> None:
        self.histories = dict(histories)

    @classmethod
    def from_estimator(cls, policy: Any, *, ax: Any = None) -> Self:
        """Solve the process of a fitted policy by each solver, and draw how.

        Parameters
        ----------
        policy : MarkovPolicyEstimator, or pipeline or search that ends in one
            A fitted policy.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : ConvergenceDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the policy is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        _, estimator = unwrap(policy)
        mdp, gamma = fitted_policy(estimator).mdp, estimator.discount_
        options = {"tol": estimator.tol, "max_iter": estimator.max_iter}
        names = ("modified_policy_iteration", "policy_iteration", "value_iteration")
        found = {name: solve(mdp, gamma, solver=name, **options) for name in names}
        return cls.from_solutions(found, ax=ax)

    @classmethod
    def from_solutions(
        cls, solutions: Solution | Mapping[str, Solution], *, ax: Any = None
    ) -> Self:
        """Draw what solvers returned.

        Parameters
        ----------
        solutions : Solution, or mapping of str to Solution
            What ``skmdp.solvers.solve`` returned, one or several by name.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : ConvergenceDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if isinstance(solutions, Solution):
            solutions = {"solution": solutions}
        return cls(histories={name: one.history for name, one in solutions.items()}).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : ConvergenceDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes("ConvergenceDisplay", ax, 10)
        names = drawable(named(name.replace("_", " ") for name in self.histories))
        lines = []
        for history in self.histories.values():
            known = np.isfinite(history) & (history > 0)
            iterations = np.flatnonzero(known) + 1
            lines += ax.plot(iterations, history[known], marker=".")
        ax.set_yscale("log")
        ax.set_xscale("log")
        ax.set_xlabel("iteration")
        ax.set_ylabel("proven bound on the error")
        ax.grid(alpha=0.3)
        place = {} if len(names) <= FEW_NAMES else BESIDE
        settle(
            ax,
            "How values became certain",
            lambda length: legend_of(ax, lines, written(names, length), **place),
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

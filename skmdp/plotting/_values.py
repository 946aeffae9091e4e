"""What states are worth, and how sure that is."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skmdp._typing import Floats
from skmdp.inspection._pairs import pairs_of
from skmdp.plotting._drawing import MOST_STATES, axes, most_visited, state_names, told_of
from skmdp.plotting._fitting import drawable, place_names, settle, written

# Of the intervals drawn, in standard errors: 95 %.
INTERVAL = 1.96


class ValueDisplay:
    """The value of each state under the policy, with 95 % intervals.

    Parameters
    ----------
    values : ndarray of shape (n_shown,)
        Expected discounted reward from each state on.
    standard_errors : ndarray of shape (n_shown,)
        Their standard errors, NaN where unknown.
    states : list of str
        Names of the states, in the order of the values.
    n_states : int
        Number of states of the policy that have decisions, shown or not.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    skmdp.inspection.policy_table : The same as a table.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.plotting import ValueDisplay
    >>> display = ValueDisplay.from_estimator(MarkovPolicyEstimator().fit(load_climb()))
    >>> display.states
    ['bottom', 'low', 'mid', 'high', 'top']
    """

    def __init__(
        self, *, values: Floats, standard_errors: Floats, states: list[str], n_states: int
    ) -> None:
        self.values = values
        self.standard_errors = standard_errors
        self.states = states
        self.n_states = n_states

    @classmethod
    def from_estimator(cls, policy: Any, *, max_states: int = MOST_STATES, ax: Any = None) -> Self:
        """Draw the values of the states of a fitted policy, the lowest first.

        Parameters
        ----------
        policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
            A fitted policy.
        max_states : int, default=40
            The most visited states are shown, so many at most.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : ValueDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError, TypeError
            As of ``skmdp.inspection.action_table``.
        ImportError
            If matplotlib is not installed.
        """
        pairs = pairs_of(policy, errors=True)
        states = most_visited(pairs, max_states)
        advised = pairs.take(pairs.is_advised & np.isin(pairs.state, states))
        order = np.argsort(advised.q, kind="stable")
        return cls(
            values=advised.q[order],
            standard_errors=advised.error[order],
            states=state_names(pairs, advised.state[order]),
            n_states=len(pairs.first),
        ).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : ValueDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_lines = len(self.values)
        states = drawable(self.states)
        ax = axes("ValueDisplay", ax, n_lines, beside=states)
        reach = INTERVAL * np.nan_to_num(self.standard_errors)
        ax.errorbar(self.values, range(n_lines), xerr=reach, fmt="o", markersize=4, capsize=2)
        ax.set_ylim(-0.6, n_lines - 0.4)
        ax.set_xlabel("expected discounted reward, with 95 % intervals")
        ax.grid(axis="x", alpha=0.3)
        settle(
            ax,
            f"What each state is worth{told_of(n_lines, self.n_states)}",
            lambda length: place_names(ax, "y", written(states, length)),
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

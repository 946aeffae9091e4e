"""Q of every action in every state as a heat map, with the advice marked."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skmdp._typing import Array, Floats
from skmdp.inspection._pairs import ADMISSIBLE, pairs_of
from skmdp.plotting._drawing import MOST_STATES, axes, most_visited, named, state_names, told_of
from skmdp.plotting._fitting import drawable, place_names, settle, written

# Seen on light colours and on dark ones.
ADVISED_MARK = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": "black"}


class PolicyDisplay:
    """A policy as a heat map: one line per state, one column per action, coloured by Q.

    Dots mark the advice. Actions that were never logged in a state are left white, and those that
    may not be chosen there are crossed out.

    Parameters
    ----------
    q_values : ndarray of shape (n_shown, n_actions)
        Q of each action in each state shown, NaN where it was not logged.
    advised : ndarray of shape (n_shown,)
        Position of the advised action among the actions.
    is_admissible : ndarray of shape (n_shown, n_actions)
        Which actions may be chosen.
    states : list of str
        Names of the states shown.
    actions : list of str
        Names of the actions.
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
    skmdp.inspection.action_table : The same as a table.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.plotting import PolicyDisplay
    >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(load_climb())
    >>> display = PolicyDisplay.from_estimator(policy)
    >>> display.ax_.get_title()
    'Q of each action, the advised one marked'
    """

    def __init__(
        self,
        *,
        q_values: Floats,
        advised: Array,
        is_admissible: Array,
        states: list[str],
        actions: list[str],
        n_states: int,
    ) -> None:
        self.q_values = q_values
        self.advised = advised
        self.is_admissible = is_admissible
        self.states = states
        self.actions = actions
        self.n_states = n_states

    @classmethod
    def from_estimator(cls, policy: Any, *, max_states: int = MOST_STATES, ax: Any = None) -> Self:
        """Draw a fitted policy.

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
        display : PolicyDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError, TypeError
            As of ``skmdp.inspection.action_table``.
        ImportError
            If matplotlib is not installed.
        """
        pairs = pairs_of(policy)
        n_states = len(pairs.first)
        states = most_visited(pairs, max_states)
        pairs = pairs.take(np.isin(pairs.state, states))
        line = np.searchsorted(states, pairs.state)
        actions, column = np.unique(pairs.action, return_inverse=True)
        q_values = np.full((len(states), len(actions)), np.nan)
        q_values[line, column] = pairs.q
        is_admissible = np.ones(q_values.shape, dtype=bool)
        is_admissible[line, column] = pairs.why_not == ADMISSIBLE
        advised = np.zeros(len(states), dtype=np.intp)
        advised[line[pairs.is_advised]] = column[pairs.is_advised]
        return cls(
            q_values=q_values,
            advised=advised,
            is_admissible=is_admissible,
            states=state_names(pairs, states),
            actions=named(pairs.labels(actions)),
            n_states=n_states,
        ).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : PolicyDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_lines, n_actions = self.q_values.shape
        states, actions = drawable(self.states), drawable(self.actions)
        is_turned = n_actions > 6 or max(map(len, actions)) > 8
        width = 3.4 + 0.5 * min(n_actions, 24)
        below = actions if is_turned else ()
        ax = axes("PolicyDisplay", ax, n_lines, width, beside=states, below=below)
        image = ax.imshow(self.q_values, aspect="auto", cmap="cividis")
        ax.figure.colorbar(image, ax=ax, label="Q, expected discounted reward")
        line, column = np.nonzero(~self.is_admissible)
        ax.plot(column, line, linestyle="", marker="x", color="tab:red", markersize=5)
        ax.plot(self.advised, range(n_lines), linestyle="", **ADVISED_MARK)

        def write(length: int) -> None:
            place_names(ax, "y", written(states, length))
            place_names(ax, "x", written(actions, length), rotation=90 if is_turned else 0)

        title = f"Q of each action, the advised one marked{told_of(n_lines, self.n_states)}"
        settle(ax, title, write)
        self.ax_, self.figure_ = ax, ax.figure
        return self

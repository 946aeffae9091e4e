"""How many rows took the advised action, in each state."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skmdp._evaluation.direct import FEW_ROWS
from skmdp._typing import Floats
from skmdp.inspection._pairs import pairs_of
from skmdp.plotting._drawing import axes
from skmdp.plotting._fitting import settle

# Points: the largest area of a state's mark, and the smallest.
LARGEST_MARK, SMALLEST_MARK = 400.0, 6.0


class SupportDisplay:
    """What the log holds of the advice: one mark for each state.

    To the right lie states where many rows took the advised action, high up those where it is what
    was mostly done. Left of the line, the advice rests on fewer than five rows.

    Parameters
    ----------
    action_visits : ndarray of shape (n_states,)
        Weighted rows of the advised action in each state.
    state_visits : ndarray of shape (n_states,)
        Weighted rows of each state.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    skmdp.inspection.supported : Whether a log supports the advice in given states.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.plotting import SupportDisplay
    >>> display = SupportDisplay.from_estimator(MarkovPolicyEstimator().fit(load_climb()))
    >>> display.action_visits
    array([1., 1., 2., 2., 1.])
    """

    def __init__(self, *, action_visits: Floats, state_visits: Floats) -> None:
        self.action_visits = action_visits
        self.state_visits = state_visits

    @classmethod
    def from_estimator(cls, policy: Any, *, ax: Any = None) -> Self:
        """Draw what supports a fitted policy.

        Parameters
        ----------
        policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
            A fitted policy.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : SupportDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError, TypeError
            As of ``skmdp.inspection.action_table``.
        ImportError
            If matplotlib is not installed.
        """
        pairs = pairs_of(policy)
        return cls(
            action_visits=pairs.n[pairs.is_advised],
            state_visits=np.add.reduceat(pairs.n, pairs.first),
        ).plot(ax=ax)

    @property
    def thin_share(self) -> float:
        """Share of the logged decisions that lie in states with fewer than five such rows."""
        is_thin = self.action_visits < FEW_ROWS
        return float(self.state_visits[is_thin].sum() / self.state_visits.sum())

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : SupportDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes("SupportDisplay", ax, 10)
        share = self.action_visits / self.state_visits
        area = SMALLEST_MARK + LARGEST_MARK * self.state_visits / self.state_visits.max()
        rows = np.maximum(self.action_visits, 0.5)  # untried actions have no place on the scale
        ax.scatter(rows, share, s=area, alpha=0.5, edgecolors="none", clip_on=False)
        ax.set_xscale("log")
        ax.axvline(FEW_ROWS, color="tab:red", linewidth=1, linestyle="--")
        ax.set_ylim(0, 1.02)
        ax.set_xlabel("rows of the advised action in the state")
        ax.set_ylabel("their share of the rows of the state")
        settle(
            ax,
            f"{self.thin_share:.0%} of the logged decisions lie in states\n"
            f"with fewer than {FEW_ROWS} rows of what is advised there",
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

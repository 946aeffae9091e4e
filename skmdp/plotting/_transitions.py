"""Where the advice leads: states as nodes, transitions as arrows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skmdp._pipelines import unwrap
from skmdp._policy import fitted_policy, has_policy
from skmdp._typing import Floats, Integers
from skmdp.inspection._pairs import not_a_policy, pairs_of
from skmdp.plotting._drawing import (
    MOST_STATES,
    axes,
    most_visited,
    named,
    palette,
    pyplot,
    state_names,
    told_of,
)
from skmdp.plotting._fitting import BESIDE, drawable, legend_of, settle, written

# Arrows that are hardly ever taken would hide the others.
LEAST_PROBABILITY = 0.02
RADIUS = 1.0
# Of the radius, what a character of a name takes beside the circle.
OF_CHARACTER = 0.03
# Names that fit around the circle without being turned.
MOST_LEVEL_NAMES = 12
LARGEST_NODE, SMALLEST_NODE = 900.0, 60.0


class TransitionGraphDisplay:
    """The process under the policy: where the advised actions lead, and how likely.

    States lie on a circle, in their own order. The area of a node shows how often the log was
    there, its colour what is advised; the width of an arrow is the probability.

    Parameters
    ----------
    probabilities : ndarray of shape (n_shown, n_shown)
        P(s'|s) under the policy, between the states shown.
    visits : ndarray of shape (n_shown,)
        Weighted rows of each state.
    advised : ndarray of shape (n_shown,)
        Position of the advised action among ``actions``, -1 where there are no decisions.
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

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.plotting import TransitionGraphDisplay
    >>> policy = MarkovPolicyEstimator().fit(load_climb())
    >>> display = TransitionGraphDisplay.from_estimator(policy)
    >>> display.probabilities.shape
    (5, 5)
    """

    def __init__(
        self,
        *,
        probabilities: Floats,
        visits: Floats,
        advised: Integers,
        states: list[str],
        actions: list[str],
        n_states: int,
    ) -> None:
        self.probabilities = probabilities
        self.visits = visits
        self.advised = advised
        self.states = states
        self.actions = actions
        self.n_states = n_states

    @classmethod
    def from_estimator(cls, policy: Any, *, max_states: int = MOST_STATES, ax: Any = None) -> Self:
        """Draw where the advice of a fitted policy leads.

        Parameters
        ----------
        policy : MarkovPolicyEstimator, or pipeline or search that ends in one
            A fitted policy.
        max_states : int, default=40
            The most visited states are shown, so many at most.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : TransitionGraphDisplay
            The display, drawn. States that are only ever reached, such as ends, are shown if all
            states fit.

        Raises
        ------
        NotFittedError
            If the policy is not fitted.
        TypeError
            If it is another policy, such as an ensemble, whose members have processes of their own.
        ImportError
            If matplotlib is not installed.
        """
        _, estimator = unwrap(policy)
        if not has_policy(estimator):
            raise not_a_policy(estimator)
        own, pairs = fitted_policy(estimator), pairs_of(policy)
        states = most_visited(pairs, max_states)
        if len(own.evidence.states) <= max_states:
            states = np.arange(len(own.evidence.states))
        codes = own.action_codes[states]
        probabilities = np.zeros((len(states), len(states)))
        acts = own.counts.state_weights[states] > 0
        for code in np.unique(codes[acts]):
            matrix = own.transition_matrix(own.evidence.actions.label(int(code)))
            rows = np.flatnonzero(acts & (codes == code))
            probabilities[rows] = matrix[states[rows]][:, states].toarray()
        return cls(
            probabilities=probabilities,
            visits=own.counts.state_weights[states],
            advised=np.where(acts, codes, -1),
            states=state_names(pairs, states),
            actions=named(own.evidence.actions.labels),
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
        display : TransitionGraphDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot("TransitionGraphDisplay")
        from matplotlib.lines import Line2D

        n = len(self.states)
        states, actions = drawable(self.states), drawable(self.actions)
        ax = axes("TransitionGraphDisplay", ax, 22, 8.0, beside=[2 * name for name in states])
        angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
        places = RADIUS * np.column_stack([np.cos(angle), np.sin(angle)])
        acts = self.advised >= 0
        palette_of, told = palette(self.advised[acts], actions)
        colours = np.ones((n, 4))
        colours[acts] = np.reshape(palette_of, (-1, 4))[self.advised[acts]]
        area = SMALLEST_NODE + LARGEST_NODE * self.visits / max(float(self.visits.max()), 1.0)
        ax.scatter(*places.T, s=area / max(1.0, n / 12), c=colours, zorder=3, edgecolors="black")
        is_crowded = n > MOST_LEVEL_NAMES
        texts = _empty_names(ax, places, angle)
        reach = 1.5 + OF_CHARACTER * max(map(len, states))
        ax.set_xlim(-reach, reach)
        ax.set_ylim(-reach if is_crowded else -1.5, reach if is_crowded else 1.5)
        ax.set_aspect("equal")
        ax.axis("off")
        marks = [Line2D([], [], marker="o", linestyle="", color=colour) for colour, _ in told]

        def write(length: int) -> bool:
            for text, name in zip(texts, written(states, length), strict=True):
                text.set_text(name)
            names = written([name for _, name in told], length)
            legend_of(ax, marks, names, title="advised", **BESIDE)
            ax.apply_aspect()
            return all(_lies_in(text, ax) for text in texts)

        settle(ax, f"Where the advice leads{told_of(n, self.n_states)}", write)
        # Last, since they are many, take no room, and would be drawn whenever names are tried.
        for source, target in zip(
            *np.nonzero(self.probabilities >= LEAST_PROBABILITY), strict=True
        ):
            self._draw_arrow(ax, places, int(source), int(target))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_arrow(self, ax: Any, places: Floats, source: int, target: int) -> None:
        """Draw an arrow between two states, or a loop outside the circle."""
        probability = float(self.probabilities[source, target])
        style = {
            "alpha": 0.25 + 0.6 * probability,
            "color": "tab:gray",
            "linewidth": 0.4 + 2.6 * probability,
        }
        if source == target:
            x, y = 1.0 * places[source] * (1 + 0.07)
            ax.add_patch(_circle(x, y, style))
            return
        ax.annotate(
            "",
            xy=places[target],
            xytext=places[source],
            arrowprops={
                "arrowstyle": "-|>",
                "connectionstyle": "arc3,rad=0.12",
                "shrinkA": 9,
                "shrinkB": 11,
                **style,
            },
        )


def _empty_names(ax: Any, places: Floats, angle: Floats) -> list[Any]:
    """Return a text beside each node, to be written; where they are many, they are turned."""
    is_crowded = len(places) > MOST_LEVEL_NAMES
    texts = []
    for (x, y), turn in zip(places, angle, strict=True):
        is_left = x < -1e-9
        upright = np.degrees(turn) + (180 if is_left else 0)
        side = "right" if is_left else "left"
        text = ax.annotate(
            "",
            (1.13 * x, 1.13 * y) if is_crowded else (1.26 * x, 1.26 * y),
            rotation=upright if is_crowded else 0,
            rotation_mode="anchor",
            ha=side if is_crowded or abs(x) > 0.3 else "center",
            va="center",
            fontsize=8,
        )
        texts.append(text)
    return texts


def _lies_in(text: Any, ax: Any) -> bool:
    """Tell whether a text does not reach beyond its axes, where title and legend are."""
    own, room = text.get_window_extent(), ax.bbox
    return bool(own.x0 >= room.x0 and own.x1 <= room.x1 and own.y1 <= room.y1)


def _circle(x: float, y: float, style: dict[str, Any]) -> Any:
    """Return a small circle, which stands for staying."""
    from matplotlib.patches import Circle

    return Circle((x, y), 0.07, fill=False, zorder=1, **style)

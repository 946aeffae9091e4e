"""What fitted Q evaluation says of a policy, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skmdp._evaluation.credibility import Outcomes, lacking_variance
from skmdp._evaluation.standard_errors import standard_error
from skmdp._typing import Floats, Integers


@dataclass(frozen=True, eq=False)
class FittedEstimate:
    """A policy's estimated value, how sure it is, and how far the log supports it.

    ``start_values`` (n_episodes,) are those of the starts, ``of_rows`` (n_rows,) the influence of
    rows on the value, but for that of an episode's start. ``visits`` (n_rows,) say how often each
    row is drawn upon within the horizon; they sum to the expected number of decisions. ``outcomes``
    are the rewards of rows with their weights in the value.
    ``unsupported_share`` is the share of the policy's decisions that the log hardly ever takes,
    ``effective_rows`` the number of rows that, drawn upon alike, would tell as much,
    ``outlasting`` the share of episodes that are longer than any logged one, None where that is
    unknown or beyond the horizon.
    """

    value: float
    start_values: Floats
    of_rows: Floats
    episode: Integers
    visits: Floats
    outcomes: Outcomes
    unsupported_share: float
    effective_rows: float
    outlasting: float | None

    @property
    def decisions(self) -> float:
        """Expected number of decisions within the horizon."""
        return float(self.visits.sum())

    @property
    def unsupported_decisions(self) -> float:
        """Expected number of those that the log hardly ever takes."""
        return self.unsupported_share * self.decisions

    @cached_property
    def influence(self) -> Floats:
        """Influence of each episode on the value, (n_episodes,).

        The value is the mean over episodes of value + influence, and the differences of two
        policies' influences are those of their difference.
        """
        n = len(self.start_values)
        of_episodes = np.bincount(self.episode, self.of_rows, minlength=n)
        return np.asarray(n * of_episodes + self.start_values - self.value)

    @property
    def standard_error(self) -> float:
        """Standard error of the value."""
        return self.error()

    def error(self, other: FittedEstimate | None = None) -> float:
        """Return the standard error of the value, or of its difference to that of another policy.

        By episode, by row for fewer than 20 of them.
        """
        of_rows, starts = self.of_rows, self.start_values
        if other is not None:
            of_rows, starts = of_rows - other.of_rows, starts - other.start_values
        lacking = lacking_variance(self.outcomes, None if other is None else other.outcomes)
        shown = standard_error(of_rows, starts, self.episode, len(starts))
        return float(np.hypot(shown, np.sqrt(lacking)))


def average_estimates(parts: Sequence[tuple[float, FittedEstimate]]) -> FittedEstimate:
    """Return the estimate of a policy that is followed in several ways, each in a share of cases.

    How long its episodes are is told by the first.
    """
    first = parts[0][1]
    if len(parts) == 1:
        return first
    visits = np.sum([share * one.visits for share, one in parts], axis=0)
    unsupported = sum(share * one.unsupported_decisions for share, one in parts)
    return replace(
        first,
        value=sum(share * one.value for share, one in parts),
        start_values=np.sum([share * one.start_values for share, one in parts], axis=0),
        of_rows=np.sum([share * one.of_rows for share, one in parts], axis=0),
        visits=visits,
        outcomes=Outcomes.mean([(share, one.outcomes) for share, one in parts]),
        unsupported_share=float(unsupported / visits.sum()),
        effective_rows=float(visits.sum() ** 2 / (visits @ visits)),
    )

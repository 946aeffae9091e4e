"""How long a policy is followed, and the sequences of vectors that following it passes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from skmdp._typing import Floats

# A log whose episodes all end is followed to the end: this many times its longest episode.
TO_THE_END = 10
# Steps to follow where the log does not tell episodes.
HORIZON_WITHOUT_EPISODES = 1000


@dataclass(frozen=True, eq=False)
class Path:
    """A sequence of vectors x_0, x_1, ..., known until it settles at x_length.

    From there on every step adds ``drift``. ``steps`` holds the vectors by their step: x_length,
    and of the others those that were to be kept.
    """

    steps: Mapping[int, Floats]
    length: int
    drift: Floats

    def at(self, step: int) -> Floats:
        """Return the vector of a step."""
        if step <= self.length:
            return self.steps[step]
        return np.asarray(self.steps[self.length] + (step - self.length) * self.drift)


@dataclass(frozen=True, eq=False)
class Horizon:
    """For how many steps a policy is followed, and in which share of the cases.

    ``shares`` maps numbers of steps to shares that sum to one. An episode that was cut off shows
    the reward of so many steps, one that ended shows the reward to its end. So the value in a log
    of which a share c was cut off is c times that over the steps of the longest episode plus 1 - c
    times that to the end. Shares belong to the question, not to the answer: standard errors take
    them for known.
    """

    shares: Mapping[int, float]

    @classmethod
    def of_log(cls, longest: int | None, cut_share: float, steps: int | None = None) -> Horizon:
        """Return the horizon of a log, or a given number of steps."""
        if steps is None and longest is None:
            steps = HORIZON_WITHOUT_EPISODES
        if steps is not None:
            return cls({steps: 1.0})
        assert longest is not None
        shares = {longest: cut_share, TO_THE_END * longest: 1 - cut_share}
        return cls({steps: share for steps, share in shares.items() if share > 0})

    @property
    def steps(self) -> int:
        """The largest number of steps."""
        return max(self.shares)

    @property
    def shortest(self) -> int:
        """The smallest number of steps."""
        return min(self.shares)

    def share_at(self, step: int) -> float:
        """Return in which share of the cases a step is taken, counting from 0."""
        return sum(share for steps, share in self.shares.items() if step < steps)

    def left(self, step: int) -> float:
        """Return how many steps are to come from a step on, on average."""
        return sum(share * max(0, steps - step) for steps, share in self.shares.items())

    def mean(self, path: Path, before: int = 0) -> Floats:
        """Return the average of a path where the horizon ends, or so many steps before."""
        ends = [share * path.at(steps - before) for steps, share in self.shares.items()]
        return np.asarray(np.sum(ends, axis=0))

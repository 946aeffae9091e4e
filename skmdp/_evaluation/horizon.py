"""How long a policy is followed, and the sequences of vectors that following it passes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isqrt

import numpy as np

from skmdp._evaluation.tails import Tail
from skmdp._typing import Floats

# A log whose episodes all end is followed to the end: this many times its longest episode.
TO_THE_END = 10
# Steps to follow where the log does not tell episodes.
HORIZON_WITHOUT_EPISODES = 1000
# So few numbers are held rather than found again.
HELD_ANYWAY = 2**16
# Vectors of a path that are stacked to be summed.
SUMMED_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Path:
    """A sequence of vectors x_0, x_1, ... that goes on in closed form from x_length.

    ``steps`` holds some of the vectors before, x_0 always; ``advance`` leads from each vector to
    the next, so that those between are found again when they are asked for. From ``settled`` on
    nothing changes that matters (None: not known).
    """

    steps: Mapping[int, Floats]
    length: int
    tail: Tail
    advance: Callable[[Floats], Floats] | None = None
    settled: int | None = None
    _between: Mapping[int, Floats] = field(default_factory=dict, init=False)

    def at(self, step: int) -> Floats:
        """Return the vector of a step."""
        if step >= self.length:
            return self.tail.at(step - self.length)
        if step in self.steps:
            return self.steps[step]
        between = self._between
        if step not in between:
            between = self._find_between(step)
            # Neighbours are asked for next: all vectors up to the next one held are kept so long.
            object.__setattr__(self, "_between", between)
        return between[step]

    def _find_between(self, step: int) -> dict[int, Floats]:
        assert self.advance is not None
        first = max(held for held in self.steps if held < step)
        until = min((held for held in self.steps if held > step), default=self.length)
        vector, found = self.steps[first], {}
        for later in range(first + 1, min(until, self.length)):
            vector = found[later] = self.advance(vector)
        return found

    def later(self) -> Path:
        """Return x_1, x_2, ..., where x_0 is not the last one before the closed form."""
        steps = {step - 1: vector for step, vector in self.steps.items() if step}
        return Path({0: self.at(1)} | steps, self.length - 1, self.tail, self.advance)

    def weighed(self, weights: Floats) -> Floats:
        """Return sums of the first vectors, weighed: (n, n_sums) gives (n_sums, len(x))."""
        sums = np.zeros((weights.shape[1], self.tail.basis.shape[1]))
        for first in range(0, len(weights), SUMMED_AT_ONCE):
            some = weights[first : first + SUMMED_AT_ONCE]
            sums += some.T @ np.stack([self.at(first + i) for i in range(len(some))])
        return sums


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

    def landmarks(self, size: int) -> range:
        """Return the steps to hold vectors of a size at, so that others are found at low cost.

        Holding every sqrt(H)-th takes as much memory as finding those between two of them.
        """
        return range(0, self.steps, 1 if self.steps * size <= HELD_ANYWAY else isqrt(self.steps))

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

"""A log made ready to be asked about policies, as a whole and resampled episode by episode.

Resampling copies no rows: what is drawn counts as often as it was drawn, in sums over episodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skmdp._estimation.counts import TransitionCounts
from skmdp._evaluation.credibility import Residuals
from skmdp._evaluation.direct import divide
from skmdp._evaluation.drift import Starts, Steps
from skmdp._evaluation.drifts import Drifts, drifts_in_time, drifts_of_lots
from skmdp._evaluation.horizon import Horizon
from skmdp._evaluation.importance import (
    discounted_returns,
    time_before,
)
from skmdp._evaluation.in_time import InTime
from skmdp._typing import Array, Floats, Integers


@dataclass(frozen=True, eq=False)
class Replay:
    """A log as counts and as rows (n,), episode by episode.

    ``triple`` is the position of each row in ``counts``, ``start_codes`` the first state of each
    episode, or every state where episodes are unknown (``lengths`` is None). ``log_propensities``
    (n,) are the logarithms of b(a|s). ``durations`` (n,) tell how much time decisions take, each
    its own (None: all one unit), and ``in_time`` how policies are followed then where records were
    cut off (None: for a number of decisions). In one of the ways they are followed for the mean
    time ``mean_time``, and the counts hold how likely each row goes on. Of a lazy table each entry
    stands for ``n_rows`` (n,) rows that agree in all, and each start for the episodes of
    ``start_weights`` (None: one each). Where its episodes were dealt to lots, ``lengths`` and
    ``start_lengths`` are the entries and the starts of each lot (None: one start each), and
    ``steps`` tell which of its rows lie where in episodes, and at which steps, and those of their
    first rows, where steps count on from one episode to the next (None: nobody asked). In memory
    ``step`` (n,) is the number by which rows of an episode are in order (None: they lie in it).
    """

    counts: TransitionCounts
    triple: Integers
    rewards: Floats
    log_propensities: Floats
    start_codes: Integers
    lengths: Integers | None
    longest: int | None
    cut_share: float
    horizon: Horizon
    gamma: float
    prior_strength: float
    durations: Floats | None = None
    in_time: InTime | None = None
    mean_time: float | None = None
    n_rows: Floats | None = None
    start_weights: Floats | None = None
    start_lengths: Integers | None = None
    steps: tuple[Steps, tuple[Steps, Starts] | None] | None = None
    step: Array | None = None

    @classmethod
    def of_rows(
        cls,
        counts: TransitionCounts,
        triple: Integers,
        rewards: Floats,
        propensities: Floats | None,
        *,
        longest: int | None,
        cut_share: float,
        horizon: int | None,
        **others: Any,
    ) -> Replay:
        """Fill in the behavior policy and the horizon, which follow from the log."""
        if propensities is None:
            shares = counts.pair_weights / counts.state_weights[counts.pair_state]
            propensities = shares[counts.triple_pair[triple]]
        return cls(
            counts,
            triple,
            rewards,
            np.log(propensities),
            longest=longest,
            cut_share=cut_share,
            horizon=Horizon.of_log(longest, cut_share, horizon),
            **others,
        )

    @cached_property
    def episode(self) -> Integers:
        """Episode of each row, (n,); each row its own where episodes are unknown."""
        if self.lengths is None:
            return np.arange(len(self.triple))
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def episode_of_starts(self) -> Integers:
        """Episode of each start, (n_starts,)."""
        if self.start_lengths is None:
            return np.arange(len(self.start_codes))
        return np.repeat(np.arange(len(self.start_lengths)), self.start_lengths)

    @cached_property
    def discounts(self) -> Floats:
        """By how much each row is discounted from the start of its episode, (n,)."""
        assert self.lengths is not None
        return self._discounts_of(time_before(self.lengths, self.durations))

    @cached_property
    def _following(self) -> Floats | None:
        """By how much each row discounts what follows it, (n,); None: all by ``gamma``."""
        if self.durations is None or (self.mean_time is None and self.gamma == 1):
            return None
        return self._discounts_of(self.durations)

    def _of_all_rows(self, amounts: Floats) -> Floats:
        """Return what all rows of each entry add up to, given what it is for one."""
        return amounts if self.n_rows is None else amounts * self.n_rows

    def _discounts_of(self, times: Floats) -> Floats:
        discounts = self.gamma**times
        return discounts if self.mean_time is None else discounts * np.exp(-times / self.mean_time)

    @cached_property
    def discounted(self) -> TransitionCounts:
        """The counts of rows that discount what follows, each by its own time."""
        if self._following is None or (self.mean_time is not None and self.gamma == 1):
            return self.counts
        return self.counts.discounted(self.triple, self._of_all_rows(self._following))

    @property
    def rate(self) -> float:
        """By how much all rows discount what follows, beside what ``discounted`` holds."""
        return self.gamma if self._following is None else 1.0

    @cached_property
    def deviations(self) -> Floats:
        """By how much more each row discounts what follows than its triple does, (n,)."""
        if self._following is None:
            return np.zeros(len(self.triple))
        return np.asarray(self._following - self._of_triples[self.triple])

    @cached_property
    def _of_triples(self) -> Floats:
        """By how much the rows of each triple discount what follows on average, (n_triples,)."""
        return self.rate * divide(self.discounted.following, self.discounted.weights)

    def following_values(self, values: Floats) -> Floats:
        """Return what follows rows of each triple on average, discounted, (n_triples,)."""
        return np.asarray(self._of_triples * np.append(values, 0.0)[self.counts.next_states])

    @cached_property
    def residuals(self) -> Residuals:
        """Rewards of rows, less their means in the pair."""
        pair = self.counts.triple_pair[self.triple]
        return Residuals.of_outcomes(self.rewards, pair, self.counts.pair_state, self.n_rows)

    @cached_property
    def drifts(self) -> Drifts | None:
        """How times change; None where time is unknown."""
        residuals = self.residuals
        if self.n_rows is None and (self.lengths is not None or self._all_end):
            state = residuals.parent_of_row
            return drifts_in_time(residuals, state, residuals, self.episode, self.step)
        if self.steps is None:
            return None
        sizes = np.bincount(self.episode_of_starts, self.start_weights).astype(np.float64)
        return drifts_of_lots(residuals, self.triple, self.episode, sizes, *self.steps)

    @property
    def _all_end(self) -> bool:
        """Whether no row leads on, so that each is an episode of its own."""
        return bool((self.counts.next_states == self.counts.n_states).all())

    @cached_property
    def returns(self) -> Floats:
        """Return of each episode, (n_episodes,)."""
        assert self.lengths is not None
        return discounted_returns(self.lengths, self.rewards, self.discounts, self.horizon.steps)

    def ways(self) -> list[tuple[float, Replay]]:
        """Return the ways to follow a policy in time, each with the share of cases it is for."""
        assert self.in_time is not None
        assert self.longest is not None
        plain = replace(self, in_time=None)
        going_on = self._of_all_rows(self.in_time.going_on)
        counts = self.counts.discounted(self.triple, going_on)
        # How many decisions a time has room for is no question of loops.
        timed = replace(plain, counts=counts, mean_time=self.in_time.mean_time, longest=None)
        return [
            (share, replace(timed if counts_time else plain, horizon=horizon))
            for share, counts_time, horizon in self.in_time.parts(self.longest)
        ]

    def starts(self) -> Floats:
        """Return the share of episodes that start in each state, (n_states,)."""
        n = np.bincount(self.start_codes, self.start_weights, minlength=self.counts.n_states)
        return np.asarray(n / n.sum())

    def by_rows(self, slope: Floats, offset: Floats, by_more: Floats) -> Floats:
        """Return slope r + offset + by_more times its deviation of each row, (n,).

        They are given by triple, (n_triples,).
        """
        triple = self.triple
        found = slope[triple] * self.rewards + offset[triple]
        return found if self._following is None else found + by_more[triple] * self.deviations

"""A log made ready to be asked about policies, as a whole and resampled episode by episode.

Resampling copies no rows: what is drawn counts as often as it was drawn, in sums over episodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._evaluation.direct import (
    DirectEstimate,
    average_estimates,
    divide,
    evaluate_directly,
    pair_process_values,
)
from skmdp._evaluation.drift import Drift
from skmdp._evaluation.horizon import Horizon
from skmdp._evaluation.importance import (
    EpisodeWeights,
    discounted_returns,
    time_before,
    weigh_episodes,
)
from skmdp._evaluation.in_time import InTime
from skmdp._evaluation.influence import (
    influence_of_discounts,
    influence_of_rows,
    influence_on_means,
    mean_visited_values,
)
from skmdp._typing import Floats, Integers

MODEL_METHODS = ("dm", "dr", "wdr")
METHODS = (*MODEL_METHODS, "is", "wis", "pdis", "pdwis")
NORMALIZED_METHODS = ("wis", "pdwis", "wdr")
# Relative change of the values below which following stops: small beside any standard error.
TOLERANCE = 1e-10


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
    ``start_lengths`` are the entries and the starts of each lot (None: one start each).
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
    def drift(self) -> Drift | None:
        """How rewards drift over the episodes, None where these or their order are unknown."""
        if self.lengths is None or self.n_rows is not None:
            return None
        return Drift.of(self.residuals, self.episode, len(self.lengths))

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


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy to be asked about in a log; ``choice`` None is the policy that was logged."""

    replay: Replay
    choice: Floats | None

    @cached_property
    def estimate(self) -> DirectEstimate:
        """Estimate of the direct method."""
        log = self.replay
        if log.in_time is not None:
            return average_estimates([(share, one.estimate) for share, one in self._ways])
        return evaluate_directly(
            log.counts,
            self.choice,
            log.starts(),
            prior_strength=log.prior_strength,
            horizon=log.horizon,
            longest=log.longest,
            gamma=log.rate,
            discounted=None if log.discounted is log.counts else log.discounted,
            tolerance=TOLERANCE,
            keep_paths=True,
        )

    @cached_property
    def _ways(self) -> list[tuple[float, Candidate]]:
        """The policy in each of the ways to follow it in time."""
        return [(share, Candidate(replay, self.choice)) for share, replay in self.replay.ways()]

    @cached_property
    def influence(self) -> tuple[Floats, Floats]:
        """Influence of each row on the value, (n,), and the value of each start, (n_episodes,)."""
        log = self.replay
        if log.in_time is not None:
            of_rows = sum(share * one.influence[0] for share, one in self._ways)
            return np.asarray(of_rows), self.estimate.state_values[log.start_codes]
        counts, kappa = log.discounted, log.prior_strength
        by_more = influence_of_discounts(counts, self.choice, kappa, self._visited)
        of_rows = log.by_rows(*self._influence_of_triples, by_more)
        return of_rows, self.estimate.state_values[log.start_codes]

    @cached_property
    def _visited(self) -> tuple[Floats, Floats]:
        return mean_visited_values(self.replay.discounted, self.estimate, self.replay.rate)

    @cached_property
    def _influence_of_triples(self) -> tuple[Floats, Floats]:
        log = self.replay
        return influence_of_rows(log.counts, self.choice, log.prior_strength, self._visited)

    def outcomes(self, method: str) -> Outcomes:
        """Return how the rewards of rows move the estimate of a method."""
        return Outcomes(self._weights_by(method), self.replay.residuals)

    def part_of_drift(self, other: Candidate, method: str) -> float:
        """Return how much of the difference to another estimate a drift may account for."""
        drift = self.replay.drift
        return (
            0.0 if drift is None else drift.part_of(self.outcomes(method), other.outcomes(method))
        )

    def _weights_by(self, method: str) -> Floats:
        """Return by how much the reward of each row moves the estimate of a method, (n,)."""
        log, normalized = self.replay, method in NORMALIZED_METHODS
        if log.in_time is not None and method in MODEL_METHODS:
            parts = [share * one._weights_by(method) for share, one in self._ways]
            return np.asarray(np.sum(parts, axis=0))
        if method == "dm" or (self.choice is None and method in MODEL_METHODS):
            return self._influence_of_triples[0][log.triple]
        if method in ("is", "wis"):
            shares = self.weights.of_episodes(normalized=normalized)
            return np.asarray(shares[log.episode] * log.discounts)
        weights = np.zeros(len(log.triple))
        weights[self.weights.rows] = self._shares(normalized=normalized)
        return weights

    @cached_property
    def weights(self) -> EpisodeWeights:
        """Importance weights of the episodes."""
        log = self.replay
        assert log.lengths is not None
        if self.choice is None:
            log_ratios = np.zeros(len(log.triple))
        else:
            with np.errstate(divide="ignore"):
                log_choice = np.log(self.choice)[log.counts.triple_pair]
            log_ratios = log_choice[log.triple] - log.log_propensities
        return weigh_episodes(log.lengths, log_ratios, log.horizon.steps)

    def values(self, methods: Sequence[str], draws: Floats | None = None) -> Floats:
        """Return the estimate of each method, (n_methods, ...), for the log or resamples of it.

        ``draws`` (..., n_episodes) says how often each episode was drawn. In a resample the weights
        of the importance methods are normalized anew; what is estimated from counts, V and Q, moves
        to first order, by its influence function. For the logged policy the importance methods give
        the mean return, and dr and wdr correct nothing.
        """
        return np.array([self._value(method, draws) for method in methods])

    def _value(self, method: str, draws: Floats | None) -> Floats | float:
        log, is_logged = self.replay, self.choice is None
        if method == "dm" or (is_logged and method in MODEL_METHODS):
            return (
                self.estimate.value if draws is None else self._moved_value(self._moved_dm, draws)
            )
        if is_logged:
            return self._logged_value(draws)
        normalized = method in NORMALIZED_METHODS
        if log.in_time is not None and method in MODEL_METHODS:
            return sum(share * one._value(method, draws) for share, one in self._ways)
        if method in ("is", "wis"):
            return self.weights.whole_episodes(log.returns, draws, normalized=normalized)
        value: Floats | float = 0.0
        amounts = log.rewards[self.weights.rows]
        if method in MODEL_METHODS:
            value = self._moved_value(self._moved_wdr if normalized else self._moved_dr, draws)
            amounts = amounts + self._corrections
        amounts = amounts * log.discounts[self.weights.rows]
        return value + self.weights.per_decision(amounts, draws, normalized=normalized)

    def _shares(self, *, normalized: bool) -> Floats:
        """Return D_t w_t of every row with weight: its share in what is summed by decision."""
        shares = self.weights.shares(normalized=normalized)
        return np.asarray(shares * self.replay.discounts[self.weights.rows])

    def _moved_value(self, by_episodes: Floats, draws: Floats | None) -> Floats | float:
        """Return the direct estimate, moved by each draw of an episode beyond the first."""
        value = self.estimate.value
        return value if draws is None else value - by_episodes.sum() + draws @ by_episodes

    def _logged_value(self, draws: Floats | None) -> Floats:
        """Return the mean reward of the logged episodes, of those drawn as often as drawn."""
        log = self.replay
        assert log.lengths is not None
        takes_part = (log.lengths > 0) * (1.0 if draws is None else draws)
        return np.asarray(takes_part @ log.returns / takes_part.sum(axis=-1))

    @cached_property
    def _moved_dm(self) -> Floats:
        """Influence of one draw of each episode on the value of the direct method.

        It lacks a constant, which cancels where there are as many draws as episodes.
        """
        of_rows, start_values = self.influence
        n = len(start_values)
        return sum_by_code(self.replay.episode, of_rows, n) + start_values / n

    @cached_property
    def _moved_dr(self) -> Floats:
        """The same for dr, but for its weights."""
        return self._moved_dm - self._moved_by_backups(self._shares(normalized=False))

    @cached_property
    def _moved_wdr(self) -> Floats:
        """The same for wdr, but for its weights."""
        return self._moved_dm - self._moved_by_backups(self._shares(normalized=True))

    def _by_values_to_come(self) -> Iterator[tuple[Integers, Floats]]:
        """Yield rows with weight, by their position there, and V when they have been taken.

        V is that of the log, averaged over the horizon as the value is, with as many steps to go.
        """
        log, values = self.replay, self.estimate.values
        assert values is not None
        assert values.settled is not None
        # While so many steps are left, V is the settled one.
        step = np.maximum(self.weights.step, log.horizon.shortest - 1 - values.settled)
        order = np.argsort(step, kind="stable")
        for first, last in pairwise(np.flatnonzero(np.diff(step[order], prepend=-1, append=-1))):
            rows = order[first:last]
            yield rows, log.horizon.mean(values, before=int(step[rows[0]]) + 1)

    @cached_property
    def _corrections(self) -> Floats:
        """Return gamma V(s') - Q(s, a) of every row with weight, Q being one backup of V."""
        log, counts = self.replay, self.replay.discounted
        triple = log.triple[self.weights.rows]
        more = log.deviations[self.weights.rows]
        corrections = np.empty(len(triple))
        for rows, V in self._by_values_to_come():
            Q = pair_process_values(counts, log.prior_strength, log.rate, V)
            usual = log.following_values(V) - Q[counts.triple_pair]
            led_to = np.append(V, 0.0)[counts.next_states[triple[rows]]]
            corrections[rows] = usual[triple[rows]] + more[rows] * led_to
        return corrections

    def _moved_by_backups(self, shares: Floats) -> Floats:
        """Influence of one draw of each episode on the sum of shares times Q, (n_episodes,)."""
        log = self.replay
        counts, kappa = log.discounted, log.prior_strength
        n_pairs, n_triples = len(counts.pair_state), len(counts.triple_pair)
        pair = counts.triple_pair[log.triple[self.weights.rows]]
        distrust = divide(np.full(n_pairs, kappa), counts.pair_weights + kappa)
        slope, offset, by_more = np.zeros((3, n_triples))
        for rows, V in self._by_values_to_come():
            chosen = sum_by_code(pair[rows], shares[rows], n_pairs)
            left = sum_by_code(counts.pair_state, chosen * distrust, counts.n_states)
            following = log.following_values(V)
            moved = influence_on_means(counts, chosen, left, kappa, np.ones(n_triples), following)
            slope += moved[0]
            offset += moved[1]
            by_more += moved[0] * np.append(V, 0.0)[counts.next_states]
        of_rows = log.by_rows(slope, offset, by_more)
        return sum_by_code(log.episode, of_rows, len(log.start_codes))

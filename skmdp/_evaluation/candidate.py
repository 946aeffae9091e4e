"""A policy that a log is asked about: its estimates, what moves them, and resamples of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.credibility import Outcomes, limit_to_usual
from skmdp._evaluation.direct import (
    DirectEstimate,
    average_estimates,
    divide,
    evaluate_directly,
    pair_process_values,
)
from skmdp._evaluation.importance import (
    EpisodeWeights,
    weigh_episodes,
)
from skmdp._evaluation.influence import (
    influence_of_discounts,
    influence_of_rows,
    influence_on_means,
    mean_visited_values,
)
from skmdp._evaluation.replay import Replay
from skmdp._typing import Floats, Integers

MODEL_METHODS = ("dm", "dr", "wdr")
METHODS = (*MODEL_METHODS, "is", "wis", "pdis", "pdwis")
NORMALIZED_METHODS = ("wis", "pdwis", "wdr")
# Relative change of the values below which following stops: small beside any standard error.
TOLERANCE = 1e-10


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
        """Return how much of the difference to another estimate a drift may account for.

        NaN where the order of episodes is unknown.
        """
        if self.replay.drifts is None:
            return np.nan
        return self.replay.drifts.part_of(self._drifting(method), other._drifting(method))

    def _drifting(self, method: str) -> Outcomes:
        """Return how rows move the estimate of a method, by what follows them as well."""
        log = self.replay
        if log.in_time is not None:
            of_ways = Outcomes.mean([(share, one._drifting("dm")) for share, one in self._ways])
            return replace(of_ways, weights=self._weights_by(method))
        D, M = self._visited
        drawn_upon = self._influence_of_triples[0] * log.counts.weights
        following = limit_to_usual(divide(M, D), drawn_upon)
        return replace(self.outcomes(method), following=following[log.triple])

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

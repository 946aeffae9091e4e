"""A log made ready to be asked about policies, as a whole and resampled episode by episode.

Resampling never copies rows: each episode is one sparse row of how often each transition occurs in
it and what it paid, so a resampled log is that matrix times the number of draws of each episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils import check_random_state

from skmdp._estimation.counts import TransitionCounts
from skmdp._evaluation.direct import (
    DirectEstimate,
    evaluate_directly,
    follow_values,
    pair_process_values,
    policy_process,
)
from skmdp._evaluation.horizon import Horizon
from skmdp._evaluation.importance import EpisodeWeights, discounted_returns, weigh_episodes
from skmdp._evaluation.influence import influence_of_rows
from skmdp._typing import Floats, Integers

MODEL_METHODS = ("dm", "dr", "wdr")
IMPORTANCE_METHODS = ("is", "wis", "pdis", "pdwis")
METHODS = (*MODEL_METHODS, *IMPORTANCE_METHODS)
# Relative change of the values below which following stops: small beside any standard error.
TOLERANCE = 1e-10
# The same in a resample, where chance moves the value far more.
RESAMPLE_TOLERANCE = 1e-6
# From so many episodes on, the spread between them gives the standard error; below, that of rows.
ENOUGH_EPISODES = 20


@dataclass(frozen=True, eq=False)
class Replay:
    """A log as counts and as rows (n,), episode by episode.

    ``triple`` is the position of each row in ``counts``, ``start_codes`` the first state of each
    episode, or every state where episodes are unknown (``lengths`` is None). ``log_propensities``
    (n,) are the logarithms of b(a|s).
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
    def _transitions_of_episodes(self) -> Any:
        """Count + i reward of every transition in every episode, CSR (n_episodes, n_triples)."""
        assert self.lengths is not None
        indptr = np.append(0, np.cumsum(self.lengths))
        shape = (len(self.lengths), len(self.counts.weights))
        return csr_array((1 + 1j * self.rewards, self.triple, indptr), shape=shape)

    @cached_property
    def returns(self) -> Floats:
        """Return of each episode, (n_episodes,)."""
        assert self.lengths is not None
        return discounted_returns(self.lengths, self.rewards, self.gamma, self.horizon.steps)

    def resample(self, draws: Floats) -> tuple[TransitionCounts, Floats]:
        """Return the counts of a log of so many draws of each episode, and where it starts."""
        sums = self._transitions_of_episodes.T @ draws
        weights = np.ascontiguousarray(sums.real)
        counts = replace(self.counts, weights=weights, n_rows=weights, reward_sums=sums.imag.copy())
        return counts, self.starts(draws)

    def starts(self, draws: Floats | None = None) -> Floats:
        """Return the share of episodes that start in each state, (n_states,)."""
        n = np.bincount(self.start_codes, draws, minlength=self.counts.n_states)
        return np.asarray(n / n.sum())

    def follow(self, choice: Floats | None, counts: TransitionCounts, starts: Floats) -> float:
        """Return the value of a policy in a resample by the direct method."""
        process = policy_process(counts, choice, self.prior_strength)
        horizon = self.horizon
        values = follow_values(
            *process, horizon.steps, self.gamma, RESAMPLE_TOLERANCE, keep=horizon.shares
        )
        return float(starts @ horizon.mean(values))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy to be asked about in a log; ``choice`` None is the policy that was logged."""

    replay: Replay
    choice: Floats | None

    @cached_property
    def estimate(self) -> DirectEstimate:
        """Estimate of the direct method."""
        log = self.replay
        return evaluate_directly(
            log.counts,
            self.choice,
            log.starts(),
            prior_strength=log.prior_strength,
            horizon=log.horizon,
            longest=log.longest,
            gamma=log.gamma,
            tolerance=TOLERANCE,
            keep_paths=True,
        )

    @cached_property
    def influence(self) -> tuple[Floats, Floats]:
        """Influence of each row on the value, (n,), and the value of each start, (n_episodes,)."""
        log = self.replay
        slope, offset = influence_of_rows(log.counts, self.choice, self.estimate, log.gamma)
        of_rows = slope[log.triple] * log.rewards + offset[log.triple]
        return of_rows, self.estimate.state_values[log.start_codes]

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

    @cached_property
    def _moved_by_episodes(self) -> Floats:
        """Influence of one draw of each episode on the value of the direct method.

        It lacks a constant, which cancels where there are as many draws as episodes.
        """
        of_rows, start_values = self.influence
        n = len(start_values)
        moved = np.bincount(self.replay.episode, of_rows, minlength=n)
        return np.asarray(moved + start_values / n)

    def values(
        self,
        methods: Sequence[str],
        draws: Floats | None = None,
        resampled: tuple[TransitionCounts, Floats] | None = None,
    ) -> Floats:
        """Return the estimate of each method, (n_methods,), for the log or a resample of it.

        In a resample dr and wdr correct a direct estimate that is right to first order: by its
        influence function, and by one backup of the log's values in the resampled process. For the
        logged policy the importance methods give the mean return, and dr and wdr correct nothing.
        """
        return np.array([self._value(method, draws, resampled) for method in methods])

    def _value(
        self,
        method: str,
        draws: Floats | None,
        resampled: tuple[TransitionCounts, Floats] | None,
    ) -> float:
        log, is_logged = self.replay, self.choice is None
        if method == "dm" and resampled is not None:
            return log.follow(self.choice, *resampled)
        direct = self._direct_value(draws) if method in MODEL_METHODS else 0.0
        if method == "dm" or (is_logged and method in MODEL_METHODS):
            return direct
        if is_logged:
            return self._logged_value(draws)
        normalized = method.startswith("w") or method == "pdwis"
        if method in ("is", "wis"):
            return self.weights.whole_episodes(log.returns, draws, normalized=normalized)
        amounts = log.rewards[self.weights.rows]
        if method in MODEL_METHODS:
            amounts = amounts + self._corrections(log.counts if resampled is None else resampled[0])
        return direct + self.weights.per_decision(amounts, log.gamma, draws, normalized=normalized)

    def _direct_value(self, draws: Floats | None) -> float:
        """Return the value in the re-estimated process, moved by the episodes drawn."""
        if draws is None:
            return self.estimate.value
        return self.estimate.value + float((draws - 1) @ self._moved_by_episodes)

    def _logged_value(self, draws: Floats | None) -> float:
        """Return the mean reward of the logged episodes, of those drawn as often as drawn."""
        log = self.replay
        assert log.lengths is not None
        takes_part = (log.lengths > 0) * (1.0 if draws is None else draws)
        return float(takes_part @ log.returns / takes_part.sum())

    @cached_property
    def _by_step(self) -> tuple[Integers, Integers]:
        """Rows with weight sorted by step, and their steps."""
        order = np.argsort(self.weights.step, kind="stable")
        return order, self.weights.step[order]

    def _corrections(self, counts: TransitionCounts) -> Floats:
        """Return gamma V(s') - Q(s, a) of every row with weight, with as many steps to go.

        V is that of the log, averaged over the horizon as the value is, Q one backup of it in the
        process of the counts.
        """
        log, values = self.replay, self.estimate.values
        assert values is not None
        order, step = self._by_step
        triple = log.triple[self.weights.rows]
        if not values.drift.any():
            # While so many steps are left, V is the settled one.
            step = np.maximum(step, log.horizon.shortest - 1 - values.length)
        corrections = np.empty(len(step))
        bounds = np.flatnonzero(np.diff(step, prepend=-1, append=-1))
        for first, last in pairwise(bounds):
            rows = order[first:last]
            V = log.horizon.mean(values, before=int(step[first]) + 1)
            Q = pair_process_values(counts, log.prior_strength, log.gamma, V)
            change = log.gamma * np.append(V, 0.0)[counts.next_states] - Q[counts.triple_pair]
            corrections[rows] = change[triple[rows]]
        return corrections


def standard_error(
    of_rows: Floats, start_values: Floats, episode: Integers, n_episodes: int | None
) -> float:
    """Return the standard error of a value from its influence function.

    By episode from 20 episodes on, by row below and where episodes are unknown (None). NaN for one
    episode, and for fewer than two rows.
    """
    if n_episodes == 1 or len(of_rows) < 2:
        return np.nan
    n = len(start_values)
    if n_episodes is None or n_episodes < ENOUGH_EPISODES:
        return float(np.sqrt(of_rows @ of_rows + start_values.var(ddof=1) / n))
    moved = n * np.bincount(episode, of_rows, minlength=n) + start_values
    moved -= moved.mean()
    return float(np.sqrt(moved @ moved / (n * (n - 1))))


def resample_values(
    candidates: Sequence[Candidate], methods: Sequence[str], seeds: Sequence[int]
) -> Floats:
    """Return the estimates on resampled logs, (n_seeds, n_candidates, n_methods).

    All candidates meet the same draws of episodes.
    """
    lengths = candidates[0].replay.lengths
    assert lengths is not None
    n = len(lengths)
    values = np.empty((len(seeds), len(candidates), len(methods)))
    for i, seed in enumerate(seeds):
        drawn = check_random_state(int(seed)).randint(n, size=n)
        draws = np.bincount(drawn, minlength=n).astype(np.float64)
        resampled = {id(log): log.resample(draws) for log in {c.replay for c in candidates}}
        for j, candidate in enumerate(candidates):
            values[i, j] = candidate.values(methods, draws, resampled[id(candidate.replay)])
    return values

"""Importance methods: the value of another policy from the log's own episodes, weighed.

With rho_t = pi(a_t|s_t) / b(a_t|s_t) for b the policy that was logged, W_t = rho_0 ... rho_t is how
much likelier the policy makes the first t + 1 decisions of an episode. After its end rewards and
values are 0 and W keeps its value: the sums over episodes at a step run over those that have
ended, too. Products are kept as logarithms and scaled step by step, so that none overflows.

One formula carries the per-decision methods. With x_t an amount per decision and w_t either W_t / n
or W_t / sum of W_t over the n episodes,

    mean of V(s_0) + sum over t and episodes of gamma^t w_t x_t

is PDIS or PDWIS for V = 0 and x = r, and DR or WDR for x = r + gamma V(s') - Q(s, a).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmdp._estimation.counts import sum_by_code
from skmdp._typing import Floats, Integers


@dataclass(frozen=True, eq=False)
class EpisodeWeights:
    """Importance weights of a log's episodes.

    ``rows`` are the positions of the decisions whose weight is not zero, ``episode`` and ``step``
    (n_rows,) where they stand, ``weights`` (n_rows,) theirs, times ``exp(-scale[step])``.
    ``log_end`` (n_episodes,) is the logarithm of each episode's last weight, ``lengths``
    (n_episodes,) the number of its decisions; episodes without decisions take no part.
    """

    rows: Integers
    episode: Integers
    step: Integers
    weights: Floats
    scale: Floats
    log_end: Floats
    lengths: Integers

    @cached_property
    def _ending(self) -> Integers:
        """Episodes whose last weight is not zero: few, where the policy is deterministic."""
        return np.flatnonzero(~np.isneginf(self.log_end) & (self.lengths > 0))

    def _n_drawn(self, multiplicities: Floats | None) -> float:
        """Return how many episodes there are, those without decisions left out."""
        takes_part = self.lengths > 0
        return float(takes_part.sum() if multiplicities is None else takes_part @ multiplicities)

    def _end_weights(self, multiplicities: Floats | None = None) -> tuple[Integers, Floats, float]:
        """Return episodes, their last weights, scaled so that the largest is 1, and its logarithm.

        A weight counts as often as its episode was drawn.
        """
        episodes = self._ending
        if multiplicities is not None:
            episodes = episodes[multiplicities[episodes] > 0]
        largest = float(self.log_end[episodes].max(initial=-np.inf))
        weights = np.exp(self.log_end[episodes] - largest)
        if multiplicities is not None:
            weights *= multiplicities[episodes]
        return episodes, weights, largest

    def effective_sample_size(self) -> float:
        """Return (sum W)^2 / sum W^2 over the episodes' last weights, 0 if all of them are 0."""
        _, weights, _ = self._end_weights()
        return float(weights.sum()) ** 2 / float(weights @ weights) if len(weights) else 0.0

    def share_without_weight(self) -> float:
        """Return the share of the episodes whose last weight is zero."""
        return 1 - len(self._ending) / self._n_drawn(None)

    def whole_episodes(
        self, returns: Floats, multiplicities: Floats | None = None, *, normalized: bool
    ) -> float:
        """Return IS, or WIS where ``normalized``, from the return of each episode."""
        episodes, weights, log_scale = self._end_weights(multiplicities)
        total = float(weights @ returns[episodes])
        if normalized:
            return total / float(weights.sum()) if len(weights) else np.nan
        with np.errstate(over="ignore"):
            scale = float(np.exp(log_scale))
        return total * scale / self._n_drawn(multiplicities) if total else 0.0

    def per_decision(
        self,
        amounts: Floats,
        gamma: float,
        multiplicities: Floats | None = None,
        *,
        normalized: bool,
    ) -> float:
        """Return sum over t and episodes of gamma^t w_t x_t; ``amounts`` (n_rows,) are the x_t.

        Steps at which all episodes weigh nothing are left out.
        """
        n_steps, weighted = len(self.scale), self.weights
        if multiplicities is not None:
            weighted = weighted * multiplicities[self.episode]
        totals = sum_by_code(self.step, weighted * amounts, n_steps)
        discounts = gamma ** np.arange(n_steps, dtype=np.float64)
        if normalized:
            alive = sum_by_code(self.step, weighted, n_steps)
            with np.errstate(divide="ignore"):
                log_ended = self._log_ended(multiplicities)[:n_steps]
                log_all = np.logaddexp(self.scale + np.log(alive), log_ended)
        else:
            log_all = np.full(n_steps, np.log(self._n_drawn(multiplicities)))
        counts = totals != 0
        with np.errstate(over="ignore"):
            shares = np.exp(self.scale[counts] - log_all[counts])
            return float((discounts[counts] * totals[counts]) @ shares)

    def _log_ended(self, multiplicities: Floats | None) -> Floats:
        """Return log of the sum of the weights of episodes that ended before each step."""
        n_steps, episodes = len(self.scale), self._ending
        log_end, length = self.log_end[episodes], self.lengths[episodes]
        if multiplicities is not None:
            with np.errstate(divide="ignore"):
                log_end = log_end + np.log(multiplicities[episodes])
        largest = np.full(n_steps + 1, -np.inf)
        np.maximum.at(largest, length, log_end)
        level = np.where(np.isneginf(largest), 0.0, largest)
        sums = np.bincount(length, np.exp(log_end - level[length]), minlength=n_steps + 1)
        with np.errstate(divide="ignore"):
            return np.logaddexp.accumulate(level + np.log(sums))


def weigh_episodes(
    lengths: Integers, log_ratios: Floats, horizon: int | None = None
) -> EpisodeWeights:
    """Weigh episodes by log rho of each decision, (n,), -inf where the policy would not take it.

    Rows lie episode by episode; decisions from ``horizon`` on are left out.
    """
    episode = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum(lengths) - lengths
    step = np.arange(len(log_ratios)) - first[episode]
    impossible = np.isneginf(log_ratios)
    finite = np.where(impossible, 0.0, log_ratios)
    log_weights = _running_sums(finite, lengths)
    log_weights[_running_sums(impossible.astype(np.float64), lengths) > 0] = -np.inf
    taken = lengths if horizon is None else np.minimum(lengths, horizon)
    log_end = np.zeros(len(lengths))
    has_rows = taken > 0
    log_end[has_rows] = log_weights[(first + taken - 1)[has_rows]]
    rows = np.flatnonzero(~np.isneginf(log_weights) & (step < taken[episode]))
    scale = np.full(int(taken.max(initial=0)), -np.inf)
    np.maximum.at(scale, step[rows], log_weights[rows])
    scale[np.isneginf(scale)] = 0.0
    return EpisodeWeights(
        rows=rows,
        episode=episode[rows],
        step=step[rows],
        weights=np.exp(log_weights[rows] - scale[step[rows]]),
        scale=scale,
        log_end=log_end,
        lengths=taken,
    )


def _running_sums(amounts: Floats, lengths: Integers) -> Floats:
    """Return the sum of each episode's amounts up to and with each row, (n,)."""
    sums = np.cumsum(amounts)
    before = np.append(0.0, sums)[np.cumsum(lengths) - lengths]
    return np.asarray(sums - np.repeat(before, lengths))


def discounted_returns(
    lengths: Integers, rewards: Floats, gamma: float, horizon: int | None = None
) -> Floats:
    """Return sum of gamma^t r_t of every episode, (n_episodes,)."""
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(rewards)) - (np.cumsum(lengths) - lengths)[episode]
    earned = gamma ** step.astype(np.float64) * rewards
    if horizon is not None:
        earned[step >= horizon] = 0.0
    return sum_by_code(episode, earned, len(lengths))

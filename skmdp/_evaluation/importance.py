"""Importance methods: the value of another policy from the log's own episodes, weighed.

With rho_t = pi(a_t|s_t) / b(a_t|s_t) for b the policy that was logged, W_t = rho_0 ... rho_t is how
much likelier the policy makes the first t + 1 decisions of an episode. After its end rewards and
values are 0 and W keeps its value: the sums over episodes at a step run over those that have
ended, too. Products are kept as logarithms and scaled step by step, so that none overflows.

One formula carries the per-decision methods. With x_t an amount per decision, w_t either W_t / n
or W_t / sum of W_t over the n episodes, and D_t the product of the discounts of the decisions
before (gamma^t, or gamma to the power of the time that has passed),

    mean of V(s_0) + sum over t and episodes of D_t w_t x_t

is PDIS or PDWIS for V = 0 and x = r, and DR or WDR for x = r + gamma V(s') - Q(s, a), with the
discount of the row for gamma. Amounts come discounted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

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

    @cached_property
    def _end_weights(self) -> tuple[Floats, float]:
        """Last weights of those episodes, the largest scaled to 1, and its logarithm."""
        log_end = self.log_end[self._ending]
        largest = float(log_end.max(initial=-np.inf))
        return np.exp(log_end - largest), largest

    @cached_property
    def _steps(self) -> tuple[Integers, Integers]:
        """Steps at which some decision has a weight, (n_steps,), and which one each row takes."""
        steps, at = np.unique(self.step, return_inverse=True)
        return steps, at

    @cached_property
    def _bounds(self) -> Integers:
        """Where the rows of each episode begin, and where the last ones end, (n_episodes + 1,)."""
        return np.append(0, np.cumsum(np.bincount(self.episode, minlength=len(self.lengths))))

    @cached_property
    def _once(self) -> Floats:
        """One draw of each episode, (n_episodes,)."""
        return np.ones(len(self.lengths))

    def _n_drawn(self, draws: Floats) -> Floats:
        """Return how many episodes there are, those without decisions left out."""
        return np.asarray(draws @ (self.lengths > 0))

    def effective_sample_size(self) -> float:
        """Return (sum W)^2 / sum W^2 over the episodes' last weights, 0 if all of them are 0."""
        weights, _ = self._end_weights
        return float(weights.sum()) ** 2 / float(weights @ weights) if len(weights) else 0.0

    def share_without_weight(self) -> float:
        """Return the share of the episodes whose last weight is zero."""
        return 1 - len(self._ending) / float(self._n_drawn(self._once))

    def of_episodes(self, *, normalized: bool) -> Floats:
        """Return W / n, or W / sum of W where ``normalized``, of each episode, (n_episodes,)."""
        weights, log_scale = self._end_weights
        all_weights = np.zeros(len(self.lengths))
        with np.errstate(over="ignore"):
            scale = np.exp(log_scale) / self._n_drawn(self._once)
        all_weights[self._ending] = weights / weights.sum() if normalized else weights * scale
        return all_weights

    def whole_episodes(
        self, returns: Floats, draws: Floats | None = None, *, normalized: bool
    ) -> Floats:
        """Return IS, or WIS where ``normalized``, from the return of each episode.

        ``draws`` (..., n_episodes) says how often each episode was drawn (None: once), the
        estimates have its leading shape, (...).
        """
        draws = self._once if draws is None else draws
        (weights, log_scale), drawn = self._end_weights, draws[..., self._ending]
        total = drawn @ (weights * returns[self._ending])
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            if normalized:
                return np.asarray(total / (drawn @ weights))
            scaled = total * np.exp(log_scale) / self._n_drawn(draws)
        return np.where(total == 0, 0.0, scaled)

    def per_decision(
        self, amounts: Floats, draws: Floats | None = None, *, normalized: bool
    ) -> Floats:
        """Return sum over t and episodes of w_t D_t x_t; ``amounts`` (n_rows,) are the D_t x_t.

        ``draws`` as in ``whole_episodes``. Steps at which all episodes weigh nothing are left out.
        """
        scales = self._scales_of_log[normalized] if draws is None else None
        draws = self._once if draws is None else draws
        totals = draws @ self._by_step(self.weights * amounts)
        with np.errstate(over="ignore", invalid="ignore"):
            if scales is None:
                scales = self._scales(draws, normalized=normalized)
            terms = totals * scales
        return np.asarray(np.where(totals == 0, 0.0, terms).sum(axis=-1))

    def shares(self, *, normalized: bool) -> Floats:
        """Return w_t of every row with weight, (n_rows,)."""
        _, at = self._steps
        return self.weights * self._scales_of_log[normalized][at]

    @cached_property
    def _scales_of_log(self) -> tuple[Floats, Floats]:
        """The scales for one draw of each episode, and the normalized ones."""
        mean, normalized = (self._scales(self._once, normalized=each) for each in (False, True))
        return mean, normalized

    def _by_step(self, amounts: Floats) -> Any:
        """Return amounts of rows as a CSR array (n_episodes, n_steps)."""
        steps, at = self._steps
        return csr_array((amounts, at, self._bounds), shape=(len(self.lengths), len(steps)))

    def _scales(self, draws: Floats, *, normalized: bool) -> Floats:
        """Return w_t / ``weights``, (..., n_steps), one for all rows of a step."""
        steps, _ = self._steps
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if normalized:
                log_going = self.scale[steps] + np.log(draws @ self._by_step(self.weights))
                log_all = np.logaddexp(log_going, self._log_ended(draws))
            else:
                log_all = np.log(self._n_drawn(draws))[..., np.newaxis]
            return np.asarray(np.exp(self.scale[steps] - log_all))

    def _log_ended(self, draws: Floats) -> Floats:
        """Return log of the sum of the weights of episodes that ended before each step."""
        (steps, _), episodes = self._steps, self._ending
        log_end = self.log_end[episodes]
        # The first step with weights that an episode, once ended, counts at.
        since = np.searchsorted(steps, self.lengths[episodes])
        largest = np.full(len(steps) + 1, -np.inf)
        np.maximum.at(largest, since, log_end)
        level = np.where(np.isneginf(largest), 0.0, largest)
        bounds = np.searchsorted(episodes, np.arange(len(self.lengths) + 1))
        weights = csr_array(
            (np.exp(log_end - level[since]), since, bounds), shape=(len(self.lengths), len(level))
        )
        with np.errstate(divide="ignore"):
            ended = level + np.log(draws @ weights)
        return np.logaddexp.accumulate(ended, axis=-1)[..., : len(steps)]


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
    lengths: Integers, rewards: Floats, discounts: Floats, horizon: int | None = None
) -> Floats:
    """Return sum of D_t r_t of every episode, (n_episodes,)."""
    earned = discounts * rewards
    if horizon is not None:
        earned[time_before(lengths) >= horizon] = 0.0
    episode = np.repeat(np.arange(len(lengths)), lengths)
    return sum_by_code(episode, earned, len(lengths))


def time_before(lengths: Integers, durations: Floats | None = None) -> Floats:
    """Return the time from the start of its episode to each row's decision, (n,).

    Where rows have no ``durations`` (n,), the number of the decisions before.
    """
    if durations is None:
        durations = np.ones(int(lengths.sum()))
    passed = np.append(0.0, np.cumsum(durations))
    started = passed[np.cumsum(lengths) - lengths]
    return np.asarray(passed[:-1] - np.repeat(started, lengths))

"""Whether anything but state and action predicts what follows, and by how much.

Everything is an array with one entry per row of a log, (n,): the code of its pair (state, action),
what followed (a code, an end being one more, or a reward), the code of a further column, and the
episode. An expectation given the pair is shrunk towards that of all rows, one given the pair and
the column towards that of the pair. What a row is expected to bring never rests on the row itself:
``training`` (n,) is 1 for the rows to learn from and 0 for those held out, and a training row is
left out of its own cell. So one expression gives the likelihood that chooses how far to shrink, on
the training rows, and the gain of knowing the column, on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import stdtr, stdtrit

from skmdp._typing import Floats, Integers
from skmdp.model_selection import EpisodeKFold

# How many rows the wider expectation counts for; an infinite one has no use of the narrower.
STRENGTHS = np.append(10.0 ** np.arange(-3, 3.5, 0.5), np.inf)
# Nats per row. Where nothing is left to chance, every further split lets the last 1/1000 of a
# row's prior go, in all rows alike; that is smoothing, and no evidence however sure.
NEGLIGIBLE = 1e-3
# Relative to the largest reward: below, the spread of equal sums is that of their roundings.
ROUNDING = 1e-12


class Outcome(Protocol):
    """What follows a row, as something to be expected from the rows that share its cell."""

    def joint(self, cells: Integers) -> Integers:
        """Return the cells within which rows are added up, for the cells that rows share."""

    def sums(self, joint: Integers, training: Floats) -> Floats:
        """Return the sums over the other training rows of each row's cell."""

    def expected(self, training: Floats) -> Floats:
        """Return what the other training rows of all cells let expect."""

    def score(self, expected: Floats) -> Floats:
        """Return how well each row was expected: its log-likelihood, but for the unit."""

    def unit(self, pairs: Integers, training: Floats) -> float:
        """Return the nats of one unit of score."""


@dataclass(frozen=True, eq=False)
class NextState:
    """The next state: a row's expectation is the probability of the one that it led to."""

    codes: Integers
    n_codes: int

    def joint(self, cells: Integers) -> Integers:
        """Tell apart the rows of a cell by where they led."""
        return join_codes(cells, self.codes)

    def sums(self, joint: Integers, training: Floats) -> Floats:
        """Count the other training rows of the cell that led to the same state."""
        return sum_of_others(joint, training)

    def expected(self, training: Floats) -> Floats:
        """Return the share of the next state; one row spread over all of them leaves none at 0."""
        others = training.sum() - training
        smoothed = sum_of_others(self.codes, training) + 1 / self.n_codes
        return np.asarray(smoothed / (others + 1))

    def score(self, expected: Floats) -> Floats:
        """Return the log-likelihood."""
        return np.log(expected)

    # Outcome asks for both arguments; only a reward needs them.
    def unit(self, pairs: Integers, training: Floats) -> float:  # noqa: ARG002
        """Log-likelihoods are nats."""
        return 1.0


@dataclass(frozen=True, eq=False)
class Reward:
    """The reward: a row's expectation is a mean, and rewards are normal about it."""

    values: Floats

    def joint(self, cells: Integers) -> Integers:
        """Rewards of a cell are added up whatever they are."""
        return cells

    def sums(self, joint: Integers, training: Floats) -> Floats:
        """Add up the rewards of the other training rows of the cell."""
        return sum_of_others(joint, training, self.values)

    def expected(self, training: Floats) -> Floats:
        """Return the mean reward."""
        paid = training * self.values
        return np.asarray((paid.sum() - paid) / np.maximum(training.sum() - training, 1.0))

    def score(self, expected: Floats) -> Floats:
        """Return the squared error, the smaller the better."""
        return -((self.values - expected) ** 2)

    def unit(self, pairs: Integers, training: Floats) -> float:
        """Return 1 / (2 variance) of the rewards of a pair; 0 if a pair settles its reward."""
        n = np.bincount(pairs, training)
        mean = np.bincount(pairs, training * self.values) / np.maximum(n, 1.0)
        squares = float((training * (self.values - mean[pairs]) ** 2).sum())
        degrees = float(n.sum() - np.count_nonzero(n))
        floor = degrees * (ROUNDING * np.abs(self.values).max()) ** 2
        return degrees / (2 * squares) if squares > floor else 0.0


@dataclass(frozen=True)
class Gain:
    """What a column adds to state and action, in nats per held-out row."""

    mean: float
    standard_error: float
    p_value: float

    def interval(self, level: float, n_episodes: int) -> tuple[float, float]:
        """Return the two-sided interval by Student's t over the episodes."""
        half = float(stdtrit(n_episodes - 1, (1 + level) / 2)) * self.standard_error
        return self.mean - half, self.mean + half


def join_codes(left: Integers, right: Integers) -> Integers:
    """Return the number of each pair of codes among those that occur, (n,)."""
    keys = left.astype(np.int64) * (int(right.max()) + 1) + right
    return np.asarray(np.unique(keys, return_inverse=True)[1])


def previous_codes(codes: Integers, episodes: Integers) -> Integers:
    """Return the code of the row before, plus 1; 0 for the first row of an episode, (n,)."""
    previous = np.append(0, codes[:-1].astype(np.int64) + 1)
    previous[np.append(True, episodes[1:] != episodes[:-1])] = 0
    return previous


def quantile_codes(ranks: Integers, n_bins: int) -> Integers:
    """Cut ranks at quantiles of their rows into at most ``n_bins`` codes; equal ones stay so."""
    shares = np.arange(1, n_bins) / n_bins
    return np.searchsorted(np.quantile(ranks, shares, method="inverted_cdf"), ranks)


def shuffle_within(codes: Integers, cells: Integers, rng: np.random.RandomState) -> Integers:
    """Shuffle codes among the rows of each cell, (n,)."""
    shuffled = np.empty_like(codes)
    at_random = np.lexsort((rng.uniform(size=len(codes)), cells))
    shuffled[np.argsort(cells, kind="stable")] = codes[at_random]
    return shuffled


def deal_folds(episodes: Integers, n_splits: int, rng: np.random.RandomState) -> Integers:
    """Deal whole episodes to folds at random, as evenly as can be, (n,)."""
    folds = np.empty(len(episodes), dtype=np.int64)
    n_splits = min(n_splits, int(episodes.max()) + 1)
    splitter = EpisodeKFold(n_splits, shuffle=True, random_state=rng)
    for fold, (_, held_out) in enumerate(splitter.split(episodes, groups=episodes)):
        folds[held_out] = fold
    return folds


def sum_of_others(codes: Integers, training: Floats, values: Floats | float = 1.0) -> Floats:
    """Add up the values of the other training rows of each row's code, (n,)."""
    counted = training * values
    return np.bincount(codes, counted)[codes] - counted


def measure_gains(
    outcome: Outcome,
    pairs: Integers,
    columns: Sequence[Integers],
    *,
    episodes: Integers,
    n_splits: int,
    rng: np.random.RandomState,
) -> list[Gain]:
    """Return what each column adds to the pair in predicting an outcome.

    A column has to beat both the pair alone and itself, shuffled among the rows of the pair: what
    it says is lost then, while what a further split does to the smoothing stays. The less
    favorable of the two is its gain.
    """
    folds = deal_folds(episodes, n_splits, rng)
    shuffled = [shuffle_within(column, pairs, rng) for column in columns]
    gains = cross_fit(outcome, pairs, [*columns, *shuffled], folds)
    over_pair, of_shuffled = gains[: len(columns)], gains[len(columns) :]
    return [
        max(
            mean_gain(gain, episodes),
            mean_gain(gain - by_chance, episodes),
            key=lambda found: (found.p_value, -found.mean),
        )
        for gain, by_chance in zip(over_pair, of_shuffled, strict=True)
    ]


def cross_fit(
    outcome: Outcome, pairs: Integers, columns: Sequence[Integers], folds: Integers
) -> Floats:
    """Return the nats that each column adds to the pair in rows held out, (n_columns, n)."""
    held_out = [folds == fold for fold in range(int(folds.max()) + 1)]
    trainings = [1.0 - rows for rows in held_out]
    overall = [outcome.expected(training) for training in trainings]
    of_pair = _shrink(outcome, pairs, trainings, overall)
    units = [outcome.unit(pairs, training) for training in trainings]
    gains = np.zeros((len(columns), len(pairs)))
    for column, gain in zip(columns, gains, strict=True):
        of_cell = _shrink(outcome, join_codes(pairs, column), trainings, of_pair)
        for rows, unit, before, after in zip(held_out, units, of_pair, of_cell, strict=True):
            gain[rows] = unit * (outcome.score(after) - outcome.score(before))[rows]
    return gains


def _shrink(
    outcome: Outcome, cells: Integers, trainings: Sequence[Floats], priors: Sequence[Floats]
) -> list[Floats]:
    """Return the expectation of every row in its cell, shrunk towards the prior, fold by fold."""
    joint = outcome.joint(cells)
    return [
        _best_shrunk(
            outcome, outcome.sums(joint, training), sum_of_others(cells, training), prior, training
        )
        for training, prior in zip(trainings, priors, strict=True)
    ]


def _best_shrunk(
    outcome: Outcome, sums: Floats, n: Floats, prior: Floats, training: Floats
) -> Floats:
    """Shrink by the strength that best predicts each training row from the others."""
    scores = np.array(
        [
            (training * outcome.score(shrink(sums, n, prior, strength))).sum()
            for strength in STRENGTHS
        ]
    )
    best = scores.max()
    # Of strengths that are as good, the largest: nothing then speaks for the narrower cells.
    chosen = STRENGTHS[scores >= best - 1e-9 * abs(best)][-1]
    return shrink(sums, n, prior, chosen)


def shrink(sums: Floats, n: Floats, prior: Floats, strength: float) -> Floats:
    """Return (sums + strength * prior) / (n + strength), the prior itself in the limit."""
    return prior if np.isinf(strength) else (sums + strength * prior) / (n + strength)


def mean_gain(gain: Floats, episodes: Integers) -> Gain:
    """Average over rows, with the error of a ratio of sums over episodes (clusters)."""
    sums, n = np.bincount(episodes, gain), np.bincount(episodes)
    mean = float(sums.sum() / n.sum())
    correction = len(n) / (len(n) - 1)
    error = float(np.sqrt(correction * ((sums - mean * n) ** 2).sum()) / n.sum())
    excess = mean - NEGLIGIBLE
    t = excess / error if error > 0 else np.copysign(np.inf, excess)
    # However equal the few episodes that gain are, chance makes k of them agree once in 2^k.
    floor = 0.5 ** np.count_nonzero(sums)
    return Gain(mean, error, max(float(stdtr(len(n) - 1, -t)), floor))


def adjust_for_several(p_values: Floats) -> Floats:
    """Return the p-values after Holm: any is below alpha by chance alone with chance alpha."""
    order = np.argsort(p_values)
    steps = np.arange(len(p_values), 0, -1) * p_values[order]
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted

"""Whether two samples differ beyond chance, for many pairs of samples at once.

Every argument is an array with one entry for each comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, stdtr

from skmdp._typing import Floats, Integers

# Relative to the values: below, means and spreads are those of their roundings.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Sums:
    """Samples by their sums: of weights, which count rows, of values, and of their squares."""

    n: Floats
    values: Floats
    squares: Floats

    @property
    def mean(self) -> Floats:
        """Mean of each sample."""
        return np.asarray(self.values / self.n)

    @property
    def deviations(self) -> Floats:
        """Sum of the squared deviations from the mean."""
        inner = self.squares - self.values * self.mean
        return np.where(inner <= ROUNDING * self.squares, 0.0, inner)


def mean_differs(one: Sums, other: Sums) -> Floats:
    """Return the probability by chance of means that differ so much, on either side.

    The less sure of two tests counts: Student's t, whose error is that of all rows, and Welch's,
    whose error is that of each sample. The one is too sure where the smaller sample has a rare
    large value, the other where it lacks the rare ones of the larger. No probability is below that
    of the rows falling into two samples just so.
    """
    n, m = one.n, other.n
    is_enough = (n >= 2) & (m >= 2)
    n, m = np.where(is_enough, n, 2.0), np.where(is_enough, m, 2.0)
    difference = one.mean - other.mean
    size = np.maximum(np.abs(one.mean), np.abs(other.mean))
    difference = np.where(np.abs(difference) <= ROUNDING * size, 0.0, difference)
    own, others = one.deviations / (n - 1) / n, other.deviations / (m - 1) / m
    pooled = (one.deviations + other.deviations) / (n + m - 2) * (1 / n + 1 / m)
    apart = own + others
    spread = own**2 / (n - 1) + others**2 / (m - 1)
    degrees = np.divide(apart**2, spread, out=np.ones_like(apart), where=spread > 0)
    just_so = np.exp(np.log(2) - gammaln(n + m + 1) + gammaln(n + 1) + gammaln(m + 1))
    p_values = np.maximum(_by_t(difference, pooled, n + m - 2), _by_t(difference, apart, degrees))
    return np.where(is_enough, np.minimum(np.maximum(p_values, just_so), 1.0), 1.0)


def _by_t(difference: Floats, variance: Floats, degrees: Floats) -> Floats:
    """Return the two-sided probability of Student's t; without spread a difference is sure."""
    t = np.divide(
        np.abs(difference),
        np.sqrt(variance),
        out=np.where(difference == 0, 0.0, np.inf),
        where=variance > 0,
    )
    return np.asarray(2 * stdtr(degrees, -t))


def share_differs(k: Floats, n: Floats, others_k: Floats, others_n: Floats) -> Floats:
    """Return Fisher's exact probability of shares k / n that differ so much from others_k/others_n.

    Twice the smaller tail. The numbers are whole.
    """
    total, marked = n + others_n, k + others_k
    # P(X <= k) of k drawn among the marked: one term for every number up to k, (sum(k + 1),).
    n_terms = k.astype(np.int64) + 1
    owner = np.repeat(np.arange(len(k)), n_terms)
    drawn = np.arange(len(owner)) - np.repeat(np.cumsum(n_terms) - n_terms, n_terms)
    terms = _log_chance(drawn, n[owner], marked[owner], total[owner])
    up_to = np.bincount(owner, np.exp(terms), minlength=len(k))
    exactly = np.exp(_log_chance(k, n, marked, total))
    smaller = np.minimum(up_to, 1 - up_to + exactly)
    return np.asarray(np.clip(2 * smaller, 0.0, 1.0))


def _log_chance(k: Floats | Integers, n: Floats, marked: Floats, total: Floats) -> Floats:
    """Return the log of the hypergeometric probability of k marked among n of the total."""

    def ways(of: Floats, taken: Floats | Integers) -> Floats:
        with np.errstate(invalid="ignore"):  # of what is impossible
            found: Floats = gammaln(of + 1) - gammaln(taken + 1) - gammaln(of - taken + 1)
        impossible = (taken < 0) | (taken > of)
        return np.asarray(np.where(impossible, -np.inf, found))

    return np.asarray(ways(marked, k) + ways(total - marked, n - k) - ways(total, n))

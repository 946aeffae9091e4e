"""The penalty of pessimism: standard errors of r + gamma V(s'), subtracted from each pair's value.

A pair has n rows, Var_hat is the variance of r + gamma V(s') over them, and Var_s is a variance of
the pair's state that is held fixed, so that a pair seen once does not pass for certain. With a
factor of at most one,

    penalty = factor sqrt((n Var_hat + Var_s) / (n + 1) / n)

The sup-norm bound still holds. Let p be the share of a next state, x its r + gamma V, m the mean
of x and sigma its standard deviation. The derivative of the penalty with respect to V(s') is at
most factor gamma p |x - m| / (sigma sqrt(n + 1)). A share is at least 1 / n, so |x - m| / sigma is
at most sqrt((1 - p) / p) <= sqrt(n - 1), and the derivative of gamma P V - penalty stays positive:
the operator is monotone. A constant added to V and to the value of the end adds gamma times that
constant to Q. The operator is therefore a gamma-contraction, though not a linear one.

Rows may discount what follows each by its own factor d <= 1, beside gamma. Then x is r + gamma d V
of a row, and the same holds for each of them: with z = (x - m) / (sigma sqrt(n + 1)) of at most 1,
the derivatives of Q add up to no more than gamma times the mean of d (1 - factor z). As z is 0 on
average, that is a mean of the d with weights that are not negative and add up to one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from skmdp._typing import Floats, Integers


@dataclass(frozen=True, eq=False)
class Penalty:
    """Standard errors of the pairs of a process, as a function of the state values.

    ``outcomes`` is CSR (n_pairs, n_states + 1) and holds for each next state of a pair its share of
    the pair's rows, plus i times their mean reward; the last column is the end.
    ``inner_variance`` (n_pairs,) is the variance of the rewards around those means,
    ``state_variance`` (n_pairs,) is Var_s, ``visits`` (n_pairs,) is n, ``factor`` (n_pairs,) the
    number of standard errors. No value falls below ``lowest_reward / (1 - gamma)``. ``discounts``
    and ``spreads``, entry by entry as ``outcomes``, tell how rows discount what follows beside
    gamma: the mean of their factors, and the covariance of these with rewards plus i times their
    variance (None: none does).
    """

    outcomes: Any
    inner_variance: Floats
    state_variance: Floats
    visits: Floats
    factor: Floats
    lowest_reward: float
    discounts: Any = None
    spreads: Any = None

    @cached_property
    def _outcome_pair(self) -> Integers:
        return np.repeat(np.arange(len(self.visits)), np.diff(self.outcomes.indptr))

    @cached_property
    def largest_reward(self) -> float:
        """Largest mean reward of an outcome, in absolute terms: rounding is relative to it."""
        return float(np.abs(self.outcomes.data.imag).max(initial=0.0))

    def amounts(self, values: Floats, gamma: float) -> Floats:
        """Return the penalty of each pair under the given state values, (n_pairs,)."""
        n, pair, share = self.visits, self._outcome_pair, self.outcomes.data.real
        worth = np.append(values, 0.0)[self.outcomes.indices]
        worth *= gamma
        within = self.inner_variance
        if self.discounts is not None:
            spread = self.spreads.data
            varying = share * worth * (2 * spread.real + worth * spread.imag)
            within = np.maximum(within + np.bincount(pair, varying, minlength=len(n)), 0.0)
            worth *= self.discounts.data
        worth += self.outcomes.data.imag
        mean = np.bincount(pair, share * worth, minlength=len(n))
        worth -= mean[pair]
        outer = np.bincount(pair, share * worth * worth, minlength=len(n))
        variance = (n * (outer + within) + self.state_variance) / (n + 1)
        return np.asarray(self.factor * np.sqrt(variance / n))

    def floor(self, gamma: float) -> float:
        """Return the lowest value that is possible at all."""
        return self.lowest_reward / (1 - gamma)

    def __getitem__(self, pairs: Integers) -> Penalty:
        """Return the penalty of some of the pairs."""
        return replace(
            self,
            outcomes=self.outcomes[pairs],
            discounts=None if self.discounts is None else self.discounts[pairs],
            spreads=None if self.spreads is None else self.spreads[pairs],
            inner_variance=self.inner_variance[pairs],
            state_variance=self.state_variance[pairs],
            visits=self.visits[pairs],
            factor=self.factor[pairs],
        )

    def renumbered(self, code: Integers) -> Penalty:
        """Return the penalty where state s is called ``code[s]``; the end stays last."""
        columns = np.append(code, len(code))[self.outcomes.indices]
        parts = (self.outcomes.data, columns, self.outcomes.indptr)
        return replace(self, outcomes=csr_array(parts, shape=self.outcomes.shape))

"""How large variances are that few rows cannot show, judged by rows like them.

Of 40 rows none of which pays, none differs from the others, and a standard error that is made of
differences is 0. But 40 rows do not show how often a reward comes that is paid in one case of 250;
the other rows of the state, and of the log, do. Let the groups of one parent (pairs of a state,
states of a log) have variances that lie around that of the parent with variance B, and let the
squared residual of a row lie around the variance of its group with variance W. The best linear
estimate of the variance of a group of n rows is that of credibility theory,

    v = (n v_hat + k v_parent) / (n + k),  k = W / B

with W and B estimated by their moments, and v_parent likewise one level up. Where variances differ
by no more than chance, B is 0, and every group has the variance of its parent. Where there are few
groups to compare, their variances are taken to differ by as much as they are large, B = v_parent^2,
so that k is the kurtosis of the residuals less one: 2 for normal ones, 1 / p for what happens with
a small probability p. A parent counts for one row at least.

Where row i moves an estimate by w_i times its residual e_i, the variance of the estimate that rows
show is that of sum_i w_i e_i, and with n of the group of row i

    sum_i k / (n + k) (w_i^2 v_parent - w_i^2 e_i^2)

is lacking to what they would show if the variance of each group were v. It is added where it is
positive: a variance that is seen to be large stays, since the group may be special. In the
difference of two estimates w e is the difference of both, and w^2 v accordingly a sum of variances
and covariances. What is lacking is zero if all residuals are, and of smaller order than the
variance itself as rows become many.

References
----------
H. Buehlmann and E. Straub, "Glaubwuerdigkeit fuer Schadensaetze", Mitteilungen der Vereinigung
Schweizerischer Versicherungsmathematiker 70 (1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.direct import divide
from skmdp._typing import Floats, Integers

# Fewer residuals than this are alike because they share a mean.
FEWEST_ROWS = 4
# Variances of fewer groups than this, beyond one of each parent, do not show how they differ.
FEWEST_GROUPS = 10
# Share of the weight on each side that is not usual.
RARE = 0.005
# Relative to what is summed up.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Residuals:
    """How far the outcomes of rows are from what was expected of them, ``amounts`` (n_rows,).

    ``group`` (n_rows,) says which rows have one variance, ``parent`` (n_groups,) which groups have
    variances that are alike. ``n_rows`` (n_rows,) are the rows that each entry stands for, which
    agree in all (None: one each).
    """

    amounts: Floats
    group: Integers
    parent: Integers
    n_rows: Floats | None = None

    @classmethod
    def of_outcomes(
        cls, outcomes: Floats, group: Integers, parent: Integers, n_rows: Floats | None
    ) -> Residuals:
        """Return how far outcomes, (n_rows,), are from the mean of their group."""
        return cls(outcomes, group, parent, n_rows).apart()

    def apart(self) -> Residuals:
        """Return how far amounts are from the mean of their group."""
        return replace(self, amounts=self.less_mean(self.amounts))

    def less_mean(self, amounts: Floats) -> Floats:
        """Return other amounts of the same rows less the mean of their group, (n_rows,)."""
        mean = divide(self.sums(amounts, self.group, len(self.parent)), self.rows_of_groups)
        return np.asarray(amounts - mean[self.group])

    def less_mean_of_parent(self, amounts: Floats) -> Floats:
        """Return other amounts of the same rows less the mean in their parent, (n_rows,)."""
        parent = self.parent_of_row
        n_of_parents = np.maximum(np.bincount(parent, self.n_rows), 1)
        mean = np.bincount(parent, self.of_all_rows(amounts)) / n_of_parents
        return np.asarray(amounts - mean[parent])

    def sums(self, amounts: Floats, group: Integers, n: int) -> Floats:
        """Add up what is given for each entry over all of its rows, by group, (n,)."""
        return sum_by_code(group, self.of_all_rows(amounts), n)

    def of_all_rows(self, amounts: Floats) -> Floats:
        """Return what all rows of each entry add up to, given what it is for one."""
        return amounts if self.n_rows is None else amounts * self.n_rows

    @cached_property
    def parent_of_row(self) -> Integers:
        """Parent of the group of each row, (n_rows,)."""
        return self.parent[self.group]

    @cached_property
    def rows_of_groups(self) -> Floats:
        """Number of rows of each group, (n_groups,)."""
        return self.sums(np.ones(len(self.group)), self.group, len(self.parent))

    @cached_property
    def _freedom(self) -> Floats:
        """Number of rows less one for each group, by parent, (n_parents,)."""
        beyond_one = np.maximum(self.rows_of_groups - 1, 0)
        return sum_by_code(self.parent, beyond_one, self.parent.max() + 1)

    @cached_property
    def prior_rows(self) -> tuple[float, float]:
        """Number of rows that a parent counts for in a group, and the log in a parent."""
        n = self.rows_of_groups
        squares = divide(n, n - 1)[self.group] * self.amounts**2
        log_of_groups = np.zeros(len(self.parent), dtype=np.intp)
        log_of_parents = np.zeros(len(self._freedom), dtype=np.intp)
        of_groups = Spread(squares, self.group, len(self.parent), self.n_rows)
        # Groups of one parent differ no more than those of the log, of which there are more.
        of_group = max(of_groups.prior_rows(self.parent), of_groups.prior_rows(log_of_groups))
        of_parents = Spread(squares, self.parent_of_row, len(self._freedom), self.n_rows)
        return of_group, of_parents.prior_rows(log_of_parents)

    def covariances(self, other: Residuals, k: float) -> Floats:
        """Return the mean product of two residuals in the parent of each row, (n_rows,).

        That of a parent lies near the log's, which counts for ``k`` rows.
        """
        if other is self and k == self.prior_rows[1]:
            return self._variances
        return self._pooled(self.amounts * other.amounts, k)[self.parent_of_row]

    @cached_property
    def _variances(self) -> Floats:
        """Variance in the parent of each row, the same for all estimates, (n_rows,)."""
        return self._pooled(self.amounts**2, self.prior_rows[1])[self.parent_of_row]

    def _pooled(self, products: Floats, k: float) -> Floats:
        """Return the mean of products of rows in each parent, near the log's, (n_parents,)."""
        freedom = self._freedom
        of_parents = self.sums(products, self.parent_of_row, len(freedom))
        of_log = float(of_parents.sum()) / max(float(freedom.sum()), 1.0)
        doubt = _doubt(freedom, k)
        return (1 - doubt) * divide(of_parents, freedom) + doubt * of_log


@dataclass(frozen=True, eq=False)
class Outcomes:
    """How the rows of a log move an estimate: by ``weights`` (n_rows,) times ``residuals``.

    They move it as well by what follows them, ``following`` (n_rows,) (None: that is not known).
    """

    weights: Floats
    residuals: Residuals
    following: Floats | None = None

    @classmethod
    def mean(cls, parts: Sequence[tuple[float, Outcomes]]) -> Outcomes:
        """Return how rows move the mean of estimates, each of which has a share in it."""
        weights = np.sum([share * one.weights for share, one in parts], axis=0)
        moved = [
            share * one.weights * one.following for share, one in parts if one.following is not None
        ]
        following = divide(np.sum(moved, axis=0), weights) if moved else None
        return replace(parts[0][1], weights=weights, following=following)


def limit_to_usual(amounts: Floats, weights: Floats) -> Floats:
    """Return amounts, those beyond what is usual by weight as the last that are, (n,).

    What follows actions that a policy does not take may be worth anything under the policy, which
    tells of nothing that the policy meets.
    """
    order = np.argsort(amounts, kind="stable")
    share = np.cumsum(weights[order])
    ends = np.searchsorted(share, share[-1] * np.array([RARE, 1 - RARE]))
    return np.asarray(np.clip(amounts, *amounts[order[np.minimum(ends, len(order) - 1)]]))


@dataclass(frozen=True, eq=False)
class Spread:
    """Squared residuals of rows, ``squares`` (n_rows,), each in one of ``n_groups`` groups.

    ``group`` and ``n_rows`` as for ``Residuals``.
    """

    squares: Floats
    group: Integers
    n_groups: int
    n_rows: Floats | None = None

    def prior_rows(self, parent: Integers) -> float:
        """Return k, the number of rows that a parent's variance counts for in each of its groups.

        ``parent`` (n_groups,) are codes. It is infinite where variances differ by no more than
        chance.
        """
        n = self._n
        freedom = np.count_nonzero(n) - len(np.unique(parent[n > 0]))
        if freedom < FEWEST_GROUPS:
            return max(1.0, self._kurtosis - 1)
        of_group, within = self._of_groups
        n_parents = parent.max() + 1
        n_parent = sum_by_code(parent, n, n_parents)
        of_parent = divide(sum_by_code(parent, n * of_group, n_parents), n_parent)
        between = n @ (of_group - of_parent[parent]) ** 2 - freedom * within
        if between <= 0:
            return np.inf
        size = n.sum() - divide(sum_by_code(parent, n**2, n_parents), n_parent).sum()
        return max(1.0, float(within * size / between))

    @cached_property
    def _n(self) -> Floats:
        """Number of rows of each group, (n_groups,), 0 of those with too few to tell a variance."""
        n = np.bincount(self.group, self.n_rows, self.n_groups).astype(np.float64, copy=False)
        return np.where(n < FEWEST_ROWS - 0.5, 0.0, n)  # whole numbers, but for rounding

    @cached_property
    def _of_groups(self) -> tuple[Floats, float]:
        """Mean square of each group, (n_groups,), and variance of squares within groups."""
        n, group, squares, n_rows = self._n, self.group, self.squares, self.n_rows
        if not n.all():
            rows = np.flatnonzero(n[group])
            group, squares = group[rows], squares[rows]
            n_rows = None if n_rows is None else n_rows[rows]
        weighed = squares if n_rows is None else n_rows * squares
        of_group = divide(sum_by_code(group, weighed, len(n)), n)
        apart = squares - of_group[group]
        weighed = apart if n_rows is None else n_rows * apart
        return of_group, float(weighed @ apart) / (n.sum() - np.count_nonzero(n))

    @cached_property
    def _kurtosis(self) -> float:
        """Kurtosis of the residuals, 1 where they are all 0."""
        largest = float(self.squares.max(initial=0.0))
        if largest == 0:
            return 1.0
        shares = self.squares / largest
        mean, of_squares = (np.average(x, weights=self.n_rows) for x in (shares, shares**2))
        return float(of_squares / mean**2)


def _doubt(n: Floats, k: float) -> Floats:
    """Return k / (n + k)."""
    return np.ones(len(n)) if np.isinf(k) else np.asarray(k / (n + k))


def lacking_variance(one: Outcomes, other: Outcomes | None = None) -> float:
    """Return what the rows do not show of the variance of an estimate, or of a difference."""
    parts = _parts(one, other)
    rows, n_groups = one.residuals, len(one.residuals.parent)
    k, k_parent = (max(part.residuals.prior_rows[level] for part in parts) for level in (0, 1))
    expected, size = np.zeros(len(rows.group)), 0.0
    for a, b in product(parts, parts):
        terms = a.weights * b.weights * a.residuals.covariances(b.residuals, k_parent)
        expected += terms
        size += float(rows.of_all_rows(np.abs(terms)).sum())
    moved = np.sum([part.weights * part.residuals.amounts for part in parts], axis=0)
    total, squares, seen = (
        rows.sums(x, rows.group, n_groups) for x in (expected, expected**2, moved**2)
    )
    # Rows that count unequally are as good as so many that count alike.
    doubt = _doubt(divide(total**2, squares), k)
    lacking = float(doubt @ (total - seen))
    # Two estimates that move alike differ by rounding, of which the root would not be small.
    return lacking if lacking > ROUNDING * size else 0.0


def _parts(one: Outcomes, other: Outcomes | None) -> list[Outcomes]:
    """Return what moves an estimate, or a difference: by residuals, each of which comes once."""
    if other is None:
        return [one]
    if other.residuals is one.residuals:
        return [Outcomes(one.weights - other.weights, one.residuals)]
    return [one, Outcomes(-other.weights, other.residuals)]

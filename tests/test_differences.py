"""Whether samples differ: against scipy, by exact sums, and with a level that is kept."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import comb
from scipy.stats import hypergeom, ttest_ind

from skmdp.inspection._differences import Sums, mean_differs, share_differs


def sums(*samples):
    rows = [np.asarray(sample, dtype=float) for sample in samples]
    return Sums(*(np.array([part(row) for row in rows]) for part in (len, np.sum, square)))


def square(row):
    return float((row**2).sum())


@given(
    st.lists(st.integers(-5, 5), min_size=2, max_size=12),
    st.lists(st.integers(-5, 5), min_size=2, max_size=12),
)
def test_means_differ_by_the_less_sure_of_both_t_tests(one, other):
    found = mean_differs(sums(one), sums(other))[0]
    just_so = min(1.0, 2 / comb(len(one) + len(other), len(one)))
    if np.ptp(one) == np.ptp(other) == 0:
        expected = 1.0 if one[0] == other[0] else just_so
    elif np.mean(one) == np.mean(other):
        expected = 1.0
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samples without spread
            both = [ttest_ind(one, other, equal_var=equal).pvalue for equal in (True, False)]
        expected = max(*both, just_so)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_one_row_tells_nothing_of_a_mean():
    assert mean_differs(sums([0.0] * 99, [1.0]), sums([1.0], [0.0] * 99)).tolist() == [1.0, 1.0]


def test_equal_rewards_are_no_difference_whatever_their_roundings():
    one, other = sums([0.1] * 1000), sums([0.1] * 7)
    assert mean_differs(one, other).tolist() == [1.0]


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.5])
@pytest.mark.parametrize(("n", "m"), [(5000, 100), (100, 5000), (500, 500)])
def test_rare_payments_raise_few_alarms(rate, n, m):
    """At a level far out, as many comparisons need it; a plain t-test is wrong by orders there."""
    rng = np.random.default_rng(0)
    k, j = rng.binomial(n, rate, size=20_000) * 1.0, rng.binomial(m, rate, size=20_000) * 1.0
    one, other = Sums(np.full_like(k, n), k, k), Sums(np.full_like(j, m), j, j)
    assert (mean_differs(one, other) < 0.001).mean() <= 0.0015


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_shares_differ_by_the_smaller_tail_twice(n, others_n, data):
    k, others_k = data.draw(st.integers(0, n)), data.draw(st.integers(0, others_n))
    found = share_differs(*(np.array([x], dtype=float) for x in (k, n, others_k, others_n)))[0]
    chance = hypergeom(n + others_n, k + others_k, n)
    expected = min(1.0, 2 * min(chance.cdf(k), chance.sf(k - 1)))
    assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_shares_are_compared_each_on_its_own():
    rng = np.random.default_rng(0)
    n, m = rng.integers(1, 50, size=(2, 200)).astype(float)
    k, j = rng.binomial(n.astype(int), 0.3) * 1.0, rng.binomial(m.astype(int), 0.4) * 1.0
    alone = [
        share_differs(*(np.array([x]) for x in row))[0] for row in zip(k, n, j, m, strict=True)
    ]
    assert_allclose(share_differs(k, n, j, m), alone, rtol=1e-12)
    assert_allclose(share_differs(k, n, j, m), share_differs(j, m, k, n), rtol=1e-9)


def test_settled_values_that_differ_are_as_sure_as_their_rows_are_many():
    """Of n + m rows, the values fall apart just so by chance in two of comb(n + m, n) ways."""
    found = [mean_differs(sums([5.0] * n), sums([4.0] * n))[0] for n in (2, 5, 20)]
    assert_allclose(found, [2 / comb(2 * n, n) for n in (2, 5, 20)], rtol=1e-9)

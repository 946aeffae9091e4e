"""Three amounts in place of rows of which only moments are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skmdp._estimation.moments import three_amounts

AMOUNTS = st.lists(st.integers(-8, 8).map(lambda x: x / 8), min_size=1, max_size=12)


def summed(rows):
    """Add up the first four powers of the amounts of each entry, as an engine does."""
    n = np.array([float(len(row)) for row in rows])
    powers = np.array([[np.sum(np.array(row) ** k) for row in rows] for k in (1, 2, 3, 4)])
    return n, powers, np.array([min(row) for row in rows]), np.array([max(row) for row in rows])


@given(st.lists(AMOUNTS, min_size=1, max_size=4))
def test_they_have_the_moments_of_the_rows(rows):
    distances, shares = three_amounts(*summed(rows))
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    for row, x, p in zip(rows, distances, shares, strict=True):
        away = np.array(row) - np.mean(row)
        for k in (1, 2, 3, 4):
            assert p @ x**k == pytest.approx(np.mean(away**k), abs=1e-9)


def test_rows_that_agree_are_their_mean():
    """To the last bit: rounding in a sum of squares is no spread."""
    distances, shares = three_amounts(*summed([[0.1] * 7, [0.3]]))
    assert not distances.any()
    np.testing.assert_array_equal(shares, [[1, 0, 0], [1, 0, 0]])


def test_two_rows_are_themselves():
    distances, shares = three_amounts(*summed([[0.25, 0.75]]))
    np.testing.assert_allclose(shares, [[0, 0.5, 0.5]], atol=1e-12)
    np.testing.assert_allclose(np.sort(distances[0])[[0, 2]], [-0.25, 0.25])


@pytest.mark.parametrize("size", [1e-5, 1e-8, 1e-12])
def test_a_spread_that_sums_of_powers_do_not_show_keeps_to_its_bounds(size):
    """Between two bounds that are both met, a variance is neither 0 nor more than a quarter."""
    amounts = 1 - size * np.array([0.0, 0.2, 0.5, 1.0, 1.0])
    distances, shares = three_amounts(*summed([amounts]))
    variance = (shares[0] @ distances[0] ** 2) / np.ptp(amounts) ** 2
    assert 1 / 10 - 1e-9 <= variance <= 1 / 4 + 1e-9
    assert (shares >= 0).all()
    assert np.abs(distances).max() <= 2 * np.ptp(amounts)

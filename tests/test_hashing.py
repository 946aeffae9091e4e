"""Values of a column get the numbers that hashing would give them, up to their order."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skmdp._log import lookup
from skmdp._log.hashing import number_values
from skmdp._log.kinds import read_labels
from skmdp._log.labels import by_appearance

TYPES = ["int8", "uint8", "int16", "int64", "uint64"]


@given(
    st.sampled_from(TYPES).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.integers(int(np.iinfo(name).min), int(np.iinfo(name).max)),
            st.lists(st.integers(0, 300), min_size=1),
        )
    ),
    st.booleans(),
)
def test_numbers_lead_back_to_the_values(drawn, nullable):
    """Of close numbers at any place of the range, and of far ones, of any type."""
    name, low, steps = drawn
    limits = np.iinfo(name)
    values = np.array([min(low + step, limits.max) for step in steps], dtype=name)
    series = pd.Series(values, dtype=name.replace("i", "I").replace("u", "U") if nullable else name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "AT_ONCE", 7)
        codes, uniques = number_values(series)
    assert codes.dtype == np.int32
    assert_array_equal(np.asarray(uniques)[codes], values)
    assert len(uniques) == len(set(values.tolist()))


def test_close_numbers_are_not_hashed(monkeypatch):
    def refuse(*_):
        raise AssertionError("hashed")

    monkeypatch.setattr(pd, "factorize", refuse)
    close = np.random.default_rng(0).permutation(1000) - 2**40
    for series in (
        pd.Series(close),
        pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([close[:9], close[9:]]))),
    ):
        codes, uniques = number_values(series)
        assert_array_equal(uniques[codes], close)
        assert_array_equal(uniques, np.sort(close))
    for far in (pd.Series([0, 2**40]), pd.Series([0, 1, None]), pd.Series([0.0, 1.0])):
        with pytest.raises(AssertionError, match="hashed"):
            number_values(far)


@given(st.lists(st.integers(-3, 3)))
def test_labels_by_appearance(labels):
    column = by_appearance(read_labels(pd.Series(labels, dtype="int64"), "x"))
    assert column.values[column.codes].tolist() == labels
    assert_array_equal(pd.unique(column.codes), np.arange(len(set(labels))))

"""Codes looked up block by block are codes looked up at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skmdp._log import lookup
from skmdp._log.lookup import blocks_of, look_up

TABLES = [
    np.arange(5) * 10,
    np.array([*"abcd", None], dtype=object),
    np.arange(5).astype("M8[us]"),
    np.linspace(0, 1, 5).astype(np.float32),
]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(lookup, "AT_ONCE", 7)


@given(st.lists(st.integers(-1, 4)), st.sampled_from(range(len(TABLES))))
def test_entries_are_those_of_the_codes_and_minus_one_is_the_last(codes, which):
    table, codes = TABLES[which], np.array(codes, dtype=np.int32)
    found = look_up(table, codes)
    assert found.dtype == table.dtype
    assert_array_equal(found, table[codes])


@given(st.lists(st.integers(-1, 4)))
def test_codes_may_be_looked_up_in_place(codes):
    rank = np.array([3, 1, 0, 2, -1], dtype=np.int32)
    codes = np.array(codes, dtype=np.int32)
    expected = rank[codes]
    assert look_up(rank, codes, out=codes) is codes
    assert_array_equal(codes, expected)


@given(st.integers(0, 50))
def test_blocks_hold_every_row_once(n_rows):
    rows = np.arange(n_rows)
    assert_array_equal(
        np.concatenate([rows[:0], *(rows[block] for block in blocks_of(n_rows))]), rows
    )

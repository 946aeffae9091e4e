"""Short strings of Arrow become words that tell them apart, and that lead back to them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skmdp._log import lookup, words
from skmdp._log.hashing import number_values

STRINGS = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()]
VIEWS = [pa.string_view(), pa.binary_view()]


def in_chunks(values, dtype):
    """Cut a column in three, of which one is empty, and begin one inside what Arrow holds."""
    as_held = values if "string" in str(dtype) else [v if v is None else v.encode() for v in values]
    middle = len(values) // 2
    first = pa.array(["x", *values[:middle]] if values is as_held else [b"x", *as_held[:middle]])
    rest = pa.array(as_held[middle:], dtype)
    return as_held, pa.chunked_array([first.cast(dtype).slice(1), rest[:0], rest])


def differing(values):
    """Count the bits in which some words differ."""
    return int(np.bitwise_or.reduce(values ^ values[0])).bit_count()


@given(
    st.sampled_from(STRINGS + VIEWS),
    st.text("ab", max_size=20),
    st.lists(st.none() | st.text("ab\0\xe9", max_size=6), min_size=1),
)
def test_numbers_lead_back_to_strings(dtype, start, ends):
    """Whether they become words or not: with any start, missing ones, zeros, and wide signs."""
    values = [end if end is None else start + end for end in ends]
    held, column = in_chunks(values, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "AT_ONCE", 7)
        patch.setattr(words, "FEWEST", 0)
        codes, uniques = number_values(pd.Series(pd.arrays.ArrowExtensionArray(column)))
    assert codes.dtype == np.int32
    assert [None if code < 0 else uniques[code] for code in codes] == held
    assert len(uniques) == len({value for value in held if value is not None})


@pytest.mark.parametrize("dtype", STRINGS + VIEWS, ids=str)
@pytest.mark.parametrize(
    ("values", "are_words"),
    [
        (["s0000001", "s0000002", ""], True),
        (["s0000001", "s0000002", None, "s0000003"], True),  # all of one length
        (["machine 1", "machine 2", "machine 1000"], True),  # as long as views hold
        (["customer-00000001", "customer-1", None], True),  # eight bytes behind a start
        (["customer-1", "customer-2", "customer-12345678"], True),  # more than the first tell
        (["customer-1", "machine-00000001"], False),  # no start that all share
        (["", "customer-1"], False),
        (["a\0", "a"], False),
        ([16 * "a" + "12345678", 16 * "a"], True),
        ([17 * "a" + "12345678", 17 * "a"], False),  # too long a start
        ([None, None], True),
        (["", ""], True),
    ],
)
def test_words_are_what_differs_in_eight_bytes(monkeypatch, dtype, values, are_words):
    monkeypatch.setattr(words, "FEWEST", 0)
    held, column = in_chunks(values, dtype)
    if max(len(value or "") for value in values) > 12:  # more than a view holds
        column = words.without_views(column)
    found = words.as_words(column)
    assert (found is not None) == are_words
    if are_words:
        present = [value for value in held if value is not None]
        lacks = [value is None for value in held]
        assert (found.is_missing is None) == (not any(lacks))
        if any(lacks):
            assert_array_equal(found.is_missing, lacks)
        back = words.as_strings(found.values, found.start, dtype)
        assert back.to_pylist() == present
        assert back.type == words.without_views(column).type
        assert back.take(pa.array(np.argsort(found.values))).to_pylist() == sorted(present)


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5),
    st.lists(st.integers(0, 2**64 - 1), min_size=1),
    st.sets(st.integers(0, 63), max_size=12).map(lambda bits: sum(2**bit for bit in bits)),
)
def test_words_are_numbered_alike_by_few_bits_and_by_hash(bits, picks, mask):
    """Whatever bits they differ in, and wherever these lie."""
    values = np.array([bits[pick % len(bits)] for pick in picks], dtype=np.uint64)
    values &= np.uint64(mask)
    values = np.tile(values, 2 ** min(differing(values), 12))
    distinct = words.Words(values, b"", None)
    codes, found = distinct.number()
    assert codes.dtype == np.int32
    assert_array_equal(found, np.unique(values))
    assert_array_equal(found[codes], values)
    for one, other in zip(distinct._number_by_hash(), (codes, found), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", VIEWS, ids=str)
def test_views_become_words_where_each_holds_its_string(monkeypatch, dtype):
    monkeypatch.setattr(words, "FEWEST", 0)
    short, long = (in_chunks(["abcd5", end], dtype)[1] for end in ("abcd" + 8 * "e", 13 * "a"))
    assert words.as_words(short) is not None
    assert words.as_words(long) is None
    for column in (short, long):
        assert words.without_views(column).type in (pa.large_string(), pa.large_binary())


def test_numbers_of_arrow_become_no_words():
    assert words.as_words(pa.chunked_array([np.arange(10_000)])) is None

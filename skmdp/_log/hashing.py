"""The distinct values of a column, and the number of each row's value among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.lookup import blocks_of
from skmdp._log.words import as_strings, as_words, without_views
from skmdp._typing import Array, Codes, Integers


def number_values(column: pd.Series | Array) -> tuple[Codes, Any]:
    """Return codes (n,), -1 for a missing value, and the distinct values, not in order.

    Whole numbers that lie as close together as they are many are looked up in a table of all
    between the smallest and the largest, which is faster than hashing them.
    """
    numbers = _whole_numbers(column)
    if numbers is not None:
        low, high = int(numbers.min()), int(numbers.max())
        if high - low < len(numbers) and high <= np.iinfo(np.int64).max:
            return _number_by_table(numbers, low, high)
    # Not the series itself: pandas would make an Index of its distinct values.
    array = _values(column)
    if isinstance(array, pd.arrays.ArrowExtensionArray) and len(array):
        return _number_by_arrow(array)
    codes, values = pd.factorize(array)
    return codes.astype(np.int32), values


def _values(column: pd.Series | Array) -> Any:
    """Return the array behind a column: one of numpy, or of an extension of pandas."""
    if isinstance(column, np.ndarray) or isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    return column.array


def _number_by_arrow(array: Any) -> tuple[Codes, Any]:
    """Return the numbers of the values of a column of Arrow, of 32 bits already.

    The values that were words are in order, so that what sorts labels finds them sorted.
    """
    column = array.__arrow_array__()
    words = as_words(column)
    if words is None and (plain := without_views(column)) is not column:
        column = plain
        words = as_words(column)
    if words is not None:
        codes, values = words.number()
        if words.is_missing is not None:
            present, codes = codes, np.full(len(array), -1, dtype=np.int32)
            codes[~words.is_missing] = present
        strings = as_strings(values, words.start, column.type)
        return codes, pd.arrays.ArrowExtensionArray(strings)
    encoded = column.dictionary_encode()
    codes = np.empty(len(array), dtype=np.int32)
    start = 0
    for chunk in encoded.chunks:  # of one dictionary, to which each adds its own
        codes[start : start + len(chunk)] = chunk.indices.fill_null(-1)
        start += len(chunk)
    return codes, pd.arrays.ArrowExtensionArray(encoded.chunks[-1].dictionary)


def _whole_numbers(column: pd.Series | Array) -> Array | None:
    """Return a column of integers, none missing, as an array; None for any other column."""
    if column.dtype.kind not in "iu" or not len(column):
        return None
    values = _values(column)
    if isinstance(values, np.ndarray):
        return values
    return None if values.isna().any() else np.asarray(values.to_numpy())


def _number_by_table(numbers: Array, low: int, high: int) -> tuple[Codes, Array]:
    """Give integers from ``low`` to ``high`` numbers in their order, block by block."""

    def places(block: slice) -> Integers:
        # In 64 bits, as differences of small integers would wrap.
        return np.subtract(numbers[block], low, dtype=np.int64, casting="unsafe")

    occurs = np.zeros(high - low + 1, dtype=bool)
    for block in blocks_of(len(numbers)):
        occurs[places(block)] = True
    rank = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
    codes = np.empty(len(numbers), dtype=np.int32)
    for block in blocks_of(len(numbers)):
        rank.take(places(block), out=codes[block], mode="wrap")
    return codes, np.flatnonzero(occurs) + low

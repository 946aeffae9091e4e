"""Short strings of Arrow as numbers of 64 bits, which are hashed several times as fast.

What tells strings apart are the eight bytes behind a start that all of them share; behind the end
of a shorter one lie zeros, so none may hold a zero itself. Strings that differ in more bytes than
that stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._log.lookup import blocks_of
from skmdp._typing import Array, Bools, Integers

WIDTH = 8

# To compare a longer start takes as long as to hash it.
LONGEST_START = 2 * WIDTH

# To make words of fewer takes longer than to hash them.
FEWEST = 1000

# Which bits of a word belong to a string of so many bytes.
_BITS = np.array([2 ** (8 * n) - 1 for n in range(WIDTH + 1)], dtype=np.uint64)

# The lowest bit of each byte, and the highest.
_LOWEST, _HIGHEST = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)

# A view is the length of a string, four bytes, and the string itself if it has no more than twelve.
_VIEW, _LENGTH, _IN_VIEW = 16, 4, 12

_TYPES = ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")


def without_views(column: Any, *, but_short: bool = False) -> Any:
    """Return a column of Arrow without views, of which not everybody knows.

    They may stay if ``but_short`` is said and each holds its string.
    """
    if not _is_view(column.type):
        return column
    if but_short and all((block.lengths <= _IN_VIEW).all() for block in _blocks(column)):
        return column
    return column.cast(f"large_{str(column.type).removesuffix('_view')}")


def as_words(column: Any) -> tuple[Any, bytes] | None:
    """Return a column of Arrow as words, and the start of all strings; None if that loses any.

    Views must hold their strings.
    """
    if len(column) < FEWEST or str(column.type) not in _TYPES:
        return None
    start = _supposed_start(column)
    if start is None or 0 in start:
        return None
    import pyarrow as pa

    chunks = []
    for block in _blocks(column):
        if not block.begin_with(start):
            return None
        words, bits = block.words(len(start), WIDTH)
        ends = words | ~bits
        if ((ends - _LOWEST) & ~ends & _HIGHEST).any():  # some byte is 0 (Mycroft's test)
            return None
        if block.is_missing is not None:
            present, words = words, np.zeros(len(block.is_missing), dtype=np.uint64)
            words[~block.is_missing] = present
        chunks.append(pa.array(words, mask=block.is_missing))
    return pa.chunked_array(chunks), start


def order_of_words(words: Any) -> npt.NDArray[np.intp]:
    """Return the positions of some words, none missing, in the order of their strings."""
    return np.argsort(np.asarray(words).astype("<u8").view(">u8").astype(np.uint64))


def as_strings(words: Any, start: bytes, dtype: Any) -> Any:
    """Return the strings of some words, none missing, as an array of Arrow, never of views."""
    import pyarrow as pa

    if _is_view(dtype):
        dtype = pa.large_binary() if str(dtype).startswith("binary") else pa.large_string()

    ends = np.asarray(words).astype("<u8").view(np.uint8).reshape(-1, WIDTH)
    starts = np.tile(np.frombuffer(start, dtype=np.uint8), (len(ends), 1))
    signs = np.hstack([starts, ends])
    is_sign = signs != 0
    offsets = np.append(0, np.cumsum(is_sign.sum(axis=1))).astype(_offset_type(dtype))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(signs[is_sign])]
    return pa.Array.from_buffers(dtype, len(ends), buffers)


def _offset_type(dtype: Any) -> type[np.signedinteger[Any]]:
    return np.int64 if str(dtype).startswith("large") else np.int32


def _is_view(dtype: Any) -> bool:
    return str(dtype) in ("string_view", "binary_view")


@dataclass(frozen=True, eq=False)
class _Strings:
    """Some strings of a column, in one array of bytes: where each begins, and how many it has.

    Beginnings at equal distances are a slice. Strings that are missing are marked, and left out of
    the rest.
    """

    signs: Array
    begins: Integers | slice
    lengths: Integers
    is_missing: Bools | None

    @cached_property
    def _everywhere(self) -> Array:
        """The word that begins at every byte, also at the last ones, and behind them."""
        padded = np.append(self.signs, np.zeros(LONGEST_START + WIDTH, dtype=np.uint8))
        return np.ndarray(len(padded) - WIDTH + 1, "<u8", padded, strides=(1,))

    def words(self, skipped: int, size: int) -> tuple[Array, Array]:
        """Return the bytes of each string from one on, at most so many; zeros behind its end.

        And which bits they may have.
        """
        bits = _BITS.take(np.minimum(self.lengths - skipped, size))
        words = self._everywhere[skipped:][self.begins].astype(np.uint64, copy=False)
        return words & bits, bits

    def begin_with(self, start: bytes) -> bool:
        """Whether all strings begin with the same bytes."""
        parts = {at: start[at : at + WIDTH] for at in range(0, len(start), WIDTH)}
        return all(
            (self.words(at, len(part))[0] == int.from_bytes(part, "little")).all()
            for at, part in parts.items()
        )

    def first(self) -> bytes:
        """Return the first string, nothing where there is none."""
        if not len(self.lengths):
            return b""
        begin = self.begins.start if isinstance(self.begins, slice) else self.begins[0]
        return self.signs[begin : begin + self.lengths[0]].tobytes()

    def without(self, is_missing: Bools) -> _Strings:
        """Leave out the strings that are missing."""
        begins = self.begins
        if isinstance(begins, slice):
            begins = np.arange(*begins.indices(len(self.signs)))
        there = ~is_missing
        return _Strings(self.signs, begins[there], self.lengths[there], is_missing)


def _blocks(column: Any) -> Iterator[_Strings]:
    """Yield the strings of a column block by block."""
    for chunk in column.chunks:
        if not len(chunk):
            continue
        part = _part_of_views if _is_view(chunk.type) else _part_of_strings
        is_missing = np.asarray(chunk.is_null()) if chunk.null_count else None
        for rows in blocks_of(len(chunk)):
            block = part(chunk, rows.start, min(rows.stop, len(chunk)))
            yield block if is_missing is None else block.without(is_missing[rows])


def _part_of_strings(chunk: Any, start: int, stop: int) -> _Strings:
    """Return some strings of an array of Arrow, which lie one behind the other."""
    _, offsets, signs = chunk.buffers()
    offsets = np.frombuffer(offsets, dtype=_offset_type(chunk.type))[chunk.offset :]
    bounds = offsets[start : stop + 1]
    signs = np.frombuffer(signs or b"", dtype=np.uint8)[bounds[0] : bounds[-1]]
    begins, lengths = bounds[:-1] - bounds[0], np.diff(bounds)
    if lengths[0] and (lengths == lengths[0]).all():
        begins = slice(0, len(signs), int(lengths[0]))
    return _Strings(signs, begins, lengths, None)


def _part_of_views(chunk: Any, start: int, stop: int) -> _Strings:
    """Return some views of an array of Arrow, each with its own string."""
    views = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)
    signs = views[_VIEW * (chunk.offset + start) : _VIEW * (chunk.offset + stop)]
    lengths = signs.view(np.int32)[:: _VIEW // _LENGTH]
    return _Strings(signs, slice(_LENGTH, len(signs), _VIEW), lengths, None)


def _supposed_start(column: Any) -> bytes | None:
    """Return what all strings must begin with if eight more bytes are to tell them apart.

    None where some are too short for that, or the longest is too long.
    """
    longest, shortest, first = 0, LONGEST_START, b""
    for block in _blocks(column):
        longest = max(longest, int(block.lengths.max(initial=0)))
        shortest = min(shortest, int(block.lengths.min(initial=shortest)))
        if longest - WIDTH > shortest:
            return None
        first = first or block.first()
    return first[: max(longest - WIDTH, 0)]

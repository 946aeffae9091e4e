"""Short strings of Arrow as numbers of 64 bits, which are hashed several times as fast.

What tells strings apart are the eight bytes behind a start that all of them share; behind the end
of a shorter one lie zeros, so none may hold a zero itself. Strings that differ in more bytes than
that stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._log.lookup import blocks_of, look_up
from skmdp._typing import Array, Bools, Codes, Integers

WIDTH = 8

# To compare a longer start takes as long as to hash it.
LONGEST_START = 2 * WIDTH
LONGEST = LONGEST_START + WIDTH

# To make words of fewer takes longer than to hash them.
FEWEST = 1000

# Which bits of a word belong to a string of so many bytes, of which the first counts most.
_BITS = np.array([2**64 - 2 ** (64 - 8 * n) for n in range(WIDTH + 1)], dtype=np.uint64)

# The lowest bit of each byte, and the highest.
_LOWEST, _HIGHEST = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)

# A view is the length of a string, four bytes, and the string itself if it has no more than twelve.
_VIEW, _LENGTH, _IN_VIEW = 16, 4, 12

_TYPES = ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")


def without_views(column: Any) -> Any:
    """Return a column of Arrow without views, of which not everybody knows."""
    if not _is_view(column.type):
        return column
    return column.cast(f"large_{str(column.type).removesuffix('_view')}")


@dataclass(frozen=True, eq=False)
class Words:
    """The strings of a column as numbers (n,), in the same order; missing ones are left out.

    ``start`` is what all strings begin with, ``is_missing`` marks those left out (None: none are).
    """

    values: npt.NDArray[np.uint64]
    start: bytes
    is_missing: Bools | None

    def number(self) -> tuple[Codes, npt.NDArray[np.uint64]]:
        """Return the number of each word among the distinct ones, (n,), and these in order.

        Words that differ in few bits are looked up by these, which is faster than hashing them.
        """
        always = np.bitwise_and.reduce(self.values)
        bits = int(np.bitwise_or.reduce(self.values) & ~always)
        if 2 ** bits.bit_count() > len(self.values):
            return self._number_by_hash()
        runs = _runs_of_bits(bits)
        occurs = np.zeros(2 ** bits.bit_count(), dtype=bool)
        codes = np.empty(len(self.values), dtype=np.int32)
        for block in blocks_of(len(codes)):
            places = _squeezed(self.values[block], runs)
            occurs[places] = True
            codes[block] = places
        rank = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
        places = np.flatnonzero(occurs).astype(np.uint64)
        return look_up(rank, codes, out=codes), _spread(places, runs) | (always & ~np.uint64(bits))

    def _number_by_hash(self) -> tuple[Codes, npt.NDArray[np.uint64]]:
        """Return the same of any words."""
        import pyarrow as pa

        encoded = pa.array(self.values).dictionary_encode()
        words = np.asarray(encoded.dictionary)
        order = np.argsort(words)
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return look_up(rank, np.asarray(encoded.indices)), words[order]


def as_words(column: Any) -> Words | None:
    """Return a column of Arrow as words; None if that loses any string, or if all are missing.

    None as well for views of which some do not hold their string.
    """
    if len(column) - column.null_count < FEWEST or str(column.type) not in _TYPES:
        return None
    found = (_words_behind(start, column) for start in _supposed_starts(column))
    return next((words for words in found if words is not None), None)


def _words_behind(start: bytes, column: Any) -> Words | None:
    """Return a column as words behind a start; None if it is not shared, or loses any string."""
    values = np.empty(len(column) - column.null_count, dtype=np.uint64)
    missing, at = [], 0
    for block in _blocks(column):
        is_in_reach = len(start) <= block.shortest and block.longest <= len(start) + WIDTH
        if not is_in_reach or not block.begin_with(start):
            return None
        words = values[at : at + len(block.lengths)]
        unused = ~block.read(len(start), WIDTH, out=words)
        ends = words | unused if unused.any() else words
        # What all have in common is asked first, which is faster.
        if _holds_zero(np.bitwise_and.reduce(ends, keepdims=True)) and _holds_zero(ends):
            return None
        at += len(words)
        if column.null_count:
            none = np.zeros(len(words), dtype=bool)
            missing.append(none if block.is_missing is None else block.is_missing)
    return Words(values, start, np.concatenate(missing) if missing else None)


def _holds_zero(words: Array) -> bool:
    """Whether some byte is 0 (Mycroft's test)."""
    return bool(((words - _LOWEST) & ~words & _HIGHEST).any())


def _runs_of_bits(bits: int) -> list[tuple[int, int, int]]:
    """Return where each run of bits that are set begins, its mask, and how many bits lie below."""
    runs, begin, below = [], 0, 0
    while bits >> begin:
        begin += _n_trailing(bits >> begin)
        length = _n_trailing(~(bits >> begin))
        runs.append((begin, 2**length - 1, below))
        begin, below = begin + length, below + length
    return runs


def _n_trailing(bits: int) -> int:
    """Return how many bits below the lowest one that is set."""
    return (bits & -bits).bit_length() - 1


def _squeezed(words: Array, runs: list[tuple[int, int, int]]) -> Integers:
    """Return words without all bits but those of some runs."""
    (begin, mask, _), *others = runs or [(0, 0, 0)]
    found = words & np.uint64(mask << begin)
    found >>= np.uint64(begin)
    for begin, mask, below in others:
        part = words & np.uint64(mask << begin)
        part >>= np.uint64(begin - below)
        found |= part
    return found.view(np.int64)


def _spread(places: Array, runs: list[tuple[int, int, int]]) -> Array:
    """Return what was squeezed with its bits where they were."""
    words = np.zeros(len(places), dtype=np.uint64)
    for begin, mask, below in runs:
        words |= (places >> np.uint64(below) & np.uint64(mask)) << np.uint64(begin)
    return words


def as_strings(words: Array, start: bytes, dtype: Any) -> Any:
    """Return the strings of some words as an array of Arrow, never of views."""
    import pyarrow as pa

    if _is_view(dtype):
        dtype = pa.large_binary() if str(dtype).startswith("binary") else pa.large_string()

    ends = words.astype(">u8").view(np.uint8).reshape(-1, WIDTH)
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

    ``signs`` may go on behind the ``size`` bytes of these strings. Beginnings at equal distances
    are a slice. Strings that are missing are marked, and left out of the rest.
    """

    signs: Array
    size: int
    begins: Integers | slice
    lengths: Integers
    is_missing: Bools | None

    @cached_property
    def shortest(self) -> int:
        """Length of the shortest string, or of the longest that may be a word if that is less."""
        return int(self.lengths.min(initial=LONGEST))

    @cached_property
    def longest(self) -> int:
        """Length of the longest string, 0 where there is none."""
        return int(self.lengths.max(initial=0))

    @cached_property
    def _everywhere(self) -> Array:
        """The word that begins at every byte, also at the last ones, and behind them."""
        signs = self.signs
        if len(signs) < self.size + LONGEST:
            signs = np.append(signs[: self.size], np.zeros(LONGEST, dtype=np.uint8))
        return np.ndarray(self.size + LONGEST_START + 1, ">u8", signs, strides=(1,))

    def read(self, skipped: int, size: int, *, out: Array) -> Array:
        """Read the bytes of each string from one on, at most so many, as words; zeros behind them.

        Returns which bits they may have, one answer for all strings if these are of one length.
        """
        lengths = self.lengths[:1] if self.shortest == self.longest else self.lengths
        bits = _BITS.take(np.minimum(lengths - skipped, size))
        out[:] = self._everywhere[skipped:][self.begins]
        if (bits != _BITS[WIDTH]).any():
            out &= bits
        return bits

    def begin_with(self, start: bytes) -> bool:
        """Whether all strings begin with the same bytes."""
        words = np.empty(len(self.lengths), dtype=np.uint64)
        for at in range(0, len(start), WIDTH):
            part = start[at : at + WIDTH]
            self.read(at, len(part), out=words)
            if (words != int.from_bytes(part.ljust(WIDTH, b"\0"), "big")).any():
                return False
        return True

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
            begins = np.arange(*begins.indices(self.size))
        there = ~is_missing
        return _Strings(self.signs, self.size, begins[there], self.lengths[there], is_missing)


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
    signs = np.frombuffer(signs or b"", dtype=np.uint8)[bounds[0] :]
    size, lengths = int(bounds[-1] - bounds[0]), np.diff(bounds)
    if lengths[0] and (lengths == lengths[0]).all():
        return _Strings(signs, size, slice(0, size, int(lengths[0])), lengths, None)
    return _Strings(signs, size, bounds[:-1] - bounds[0], lengths, None)


def _part_of_views(chunk: Any, start: int, stop: int) -> _Strings:
    """Return some views of an array of Arrow, each with its own string."""
    views = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)[_VIEW * (chunk.offset + start) :]
    size = _VIEW * (stop - start)
    lengths = views[:size].view(np.int32)[:: _VIEW // _LENGTH].copy()
    return _Strings(views, size, slice(_LENGTH, size, _VIEW), lengths, None)


def _supposed_starts(column: Any) -> Iterator[bytes]:
    """Yield what all strings may begin with if eight more bytes are to tell them apart.

    That is what the first block tells, and only if this was wrong what all blocks tell.
    """
    most = _IN_VIEW if _is_view(column.type) else LONGEST
    of_first = _supposed_start(islice(_blocks(column), 1), most)
    if of_first is not None:
        yield of_first
    of_all = _supposed_start(_blocks(column), most)
    if of_all not in (None, of_first):
        yield of_all


def _supposed_start(blocks: Iterable[_Strings], most: int) -> bytes | None:
    """Return what all strings of some blocks must begin with, of which the longest has ``most``.

    None where some are too short for that, or too long, or the start holds a zero.
    """
    longest, shortest, first = 0, most, b""
    for block in blocks:
        longest, shortest = max(longest, block.longest), min(shortest, block.shortest)
        if longest > most or longest - WIDTH > shortest:
            return None
        first = first or block.first()
    start = first[: max(longest - WIDTH, 0)]
    return None if 0 in start else start

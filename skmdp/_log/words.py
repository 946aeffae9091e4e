"""Short strings of Arrow as numbers of 64 bits, which are hashed several times as fast.

What tells strings apart are the eight bytes behind a start that all of them share; behind the end
of a shorter one lie zeros, so none may hold a zero itself. Strings that differ in more bytes than
that stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skmdp._log.lookup import blocks_of
from skmdp._typing import Array, Bools, Integers

WIDTH = 8

# To compare a longer start takes as long as to hash it.
LONGEST_START = 2 * WIDTH

# To make words of fewer takes longer than to hash them.
FEWEST = 1000

# Which bits of a word belong to a string of so many bytes.
_BITS = np.array([2 ** (8 * n) - 1 for n in range(WIDTH + 1)], dtype=np.uint64)

_TYPES = ("string", "large_string", "binary", "large_binary")


def as_words(column: Any) -> tuple[Any, bytes] | None:
    """Return a column of Arrow as words, and the start of all strings; None if that loses any."""
    if len(column) < FEWEST or str(column.type) not in _TYPES:
        return None
    start = _supposed_start(column)
    if start is None:
        return None
    import pyarrow as pa

    chunks = []
    for block in _blocks(column):
        if not (block.signs.all() and block.begin_with(start)):
            return None
        words = block.words(len(start), WIDTH)
        if block.is_missing is not None:
            present, words = words, np.zeros(len(block.is_missing), dtype=np.uint64)
            words[~block.is_missing] = present
        chunks.append(pa.array(words, mask=block.is_missing))
    return pa.chunked_array(chunks), start


def as_strings(words: Any, start: bytes, dtype: Any) -> Any:
    """Return the strings of some words, none missing, as an array of Arrow."""
    import pyarrow as pa

    ends = np.asarray(words).astype("<u8").view(np.uint8).reshape(-1, WIDTH)
    starts = np.tile(np.frombuffer(start, dtype=np.uint8), (len(ends), 1))
    signs = np.hstack([starts, ends])
    is_sign = signs != 0
    offsets = np.append(0, np.cumsum(is_sign.sum(axis=1))).astype(_offset_type(dtype))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(signs[is_sign])]
    return pa.Array.from_buffers(dtype, len(ends), buffers)


def _offset_type(dtype: Any) -> type[np.signedinteger[Any]]:
    return np.int64 if str(dtype).startswith("large") else np.int32


@dataclass(frozen=True, eq=False)
class _Strings:
    """Some strings of a column, in one array of bytes: where each begins, and how many it has.

    Those that are missing are marked, and left out of the rest.
    """

    signs: Array
    begins: Integers
    lengths: Integers
    is_missing: Bools | None

    def words(self, skipped: int, size: int) -> Array:
        """Return the bytes of each string from one on, at most so many; zeros behind its end."""
        # So that a word begins at every byte, also at the last ones.
        padded = np.append(self.signs[skipped:], np.zeros(skipped + WIDTH, dtype=np.uint8))
        everywhere = np.ndarray(len(padded) - WIDTH + 1, "<u8", padded, strides=(1,))
        bits = _BITS.take(np.minimum(self.lengths - skipped, size))
        return np.asarray(everywhere[self.begins].astype(np.uint64, copy=False) & bits)

    def begin_with(self, start: bytes) -> bool:
        """Whether all strings begin with the same bytes."""
        parts = {at: start[at : at + WIDTH] for at in range(0, len(start), WIDTH)}
        return all(
            (self.words(at, len(part)) == int.from_bytes(part, "little")).all()
            for at, part in parts.items()
        )


def _blocks(column: Any) -> Iterator[_Strings]:
    """Yield the strings of a column block by block."""
    for chunk in column.chunks:
        if not len(chunk):
            continue
        _, offsets, signs = chunk.buffers()
        offsets = np.frombuffer(offsets, dtype=_offset_type(chunk.type))[chunk.offset :]
        signs = np.frombuffer(signs or b"", dtype=np.uint8)
        is_missing = np.asarray(chunk.is_null()) if chunk.null_count else None
        for rows in blocks_of(len(chunk)):
            bounds = offsets[rows.start : min(rows.stop, len(chunk)) + 1]
            begins, lengths = bounds[:-1] - bounds[0], np.diff(bounds)
            of_block = signs[bounds[0] : bounds[-1]]
            if is_missing is None:
                yield _Strings(of_block, begins, lengths, None)
                continue
            missing = is_missing[rows]
            yield _Strings(of_block, begins[~missing], lengths[~missing], missing)


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
        if not first and len(block.begins):
            first = block.signs[block.begins[0] :][: block.lengths[0]].tobytes()
    return first[: max(longest - WIDTH, 0)]

"""Codes looked up in a table, block by block.

What is held of a block stays in cache, and is no new memory to the system: asking for that takes
longer than looking codes up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skmdp._typing import Array, Codes

# Rows looked at together.
AT_ONCE = 2**16


def blocks_of(n_rows: int) -> Iterator[slice]:
    """Yield the rows of a column block by block."""
    return (slice(start, start + AT_ONCE) for start in range(0, n_rows, AT_ONCE))


def look_up(table: Array, codes: Codes, out: Array | None = None) -> Array:
    """Return the entry of each code, (n,); -1 is the last one. ``out`` may be the codes."""
    found = np.empty(len(codes), dtype=table.dtype) if out is None else out
    for block in blocks_of(len(codes)):
        table.take(codes[block], out=found[block], mode="wrap")
    return found

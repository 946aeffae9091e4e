"""How values of a user are written in messages: as Python would, and never at length."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

# Characters that one value, and a list of names, may take of a message.
VALUE_LENGTH, NAMES_LENGTH = 60, 120

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = VALUE_LENGTH
_SHORT.maxlong = VALUE_LENGTH
_SHORT.maxtuple = _SHORT.maxlist = 4
_SHORT.maxlevel = 2


def shown(value: Any) -> str:
    """Write one value, such as a label or the name of a column."""
    if isinstance(value, np.generic) and value.dtype.kind not in "mMV":
        value = value.item()
    try:
        return shortened(_SHORT.repr(value), VALUE_LENGTH)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return f"<{type(value).__name__} of {value.bit_length():,} bits>"


def quoted(names: Sequence[Any]) -> str:
    """Write a list of names or labels: the first few of many, and the number of the others."""
    words: list[str] = []
    for name in names:
        words.append(shown(name))
        if sum(map(len, words)) + 2 * len(words) > NAMES_LENGTH:
            words.pop()
            break
    more = len(names) - len(words)
    return ", ".join(words) + (f", ... and {more:,} more" if more else "")


def shortened(text: object, length: int = 2 * VALUE_LENGTH) -> str:
    """Write a text, such as the message of another library, on one line of a bounded length."""
    line = " ".join(str(text)[: 2 * length].split())
    return line if len(line) <= length else f"{line[: length - 3]}..."

"""How values of a user are written in messages: as Python would, and never at length."""

from __future__ import annotations

import reprlib
from collections import Counter
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
    """Write a text, such as the message of another library, on one line of a bounded length.

    What is too long lacks its middle: names that begin alike mostly end in what tells them apart.
    """
    whole = str(text)
    if len(whole) > 4 * length:
        whole = f"{whole[: 2 * length]}...{whole[-2 * length :]}"
    line = " ".join(whole.split())
    if len(line) <= length:
        return line
    n_last = (length - 3) // 2
    return f"{line[: length - 3 - n_last]}...{line[len(line) - n_last :]}"


def told_apart(texts: Sequence[object], length: int) -> list[str]:
    """Write texts as ``shortened`` does, so that no two of them are written alike.

    Those that would be are written around the place where they first differ, and are numbered where
    that does not help, as between texts that differ in spaces only.
    """
    written = [shortened(text, length) or "''" for text in texts]
    for name, n in Counter(written).items():
        if n > 1:
            places = [i for i, one in enumerate(written) if one == name]
            lines = [" ".join(str(texts[i]).split()) or "''" for i in places]
            least, most = min(lines), max(lines)  # these share no more than all do
            alike = [a == b for a, b in zip(least, most, strict=False)]
            first = alike.index(False) if False in alike else len(alike)
            for i, line in zip(places, lines, strict=True):
                written[i] = _around(line, first, length)
    return _numbered(written, length)


def _around(line: str, place: int, length: int) -> str:
    """Write a line as long as may be around a place of it."""
    if len(line) <= length:
        return line
    n_kept = max(length - 6, 1)
    start = min(max(place - n_kept // 2, 0), len(line) - n_kept)
    before, after = "..." if start else "", "..." if start + n_kept < len(line) else ""
    return f"{before}{line[start : start + n_kept]}{after}"


def _numbered(written: list[str], length: int) -> list[str]:
    """Give a number to those of some texts that are the same, and to none the name of another."""
    often, taken = Counter(written), set(written)
    for i, name in enumerate(written):
        number = 1
        while often[name] > 1 and written[i] in taken:
            sign = f" ({number})"
            written[i], number = shortened(name, length - len(sign)) + sign, number + 1
        taken.add(written[i])
    return written

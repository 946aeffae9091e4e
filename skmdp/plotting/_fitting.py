"""Names, titles and legends that stay inside their figure, whatever they say.

Labels are a user's: long, in any script, or with signs that matplotlib takes for mathematics.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skmdp._messages import quoted, told_apart
from skmdp.plotting._drawing import NAME_LENGTH

# Lengths of names that are tried, the longest that leave room for the picture are taken.
LENGTHS = (NAME_LENGTH, 18, 12)
# Share of its width and height that a picture keeps beside its names.
LEAST_SHARE = 0.45
# Points: the largest size of names in a row, and the smallest.
LARGEST, SMALLEST = 10.0, 4.0
NO_GLYPH = "\N{WHITE SQUARE}"


def written(names: Sequence[str], length: int = NAME_LENGTH) -> list[str]:
    """Return names as matplotlib draws them: none is taken for mathematics, no two are alike."""
    return [name.replace("$", r"\$") for name in told_apart(names, length)]


def drawable(names: Sequence[str]) -> list[str]:
    """Return names with a white square for what no font of matplotlib can draw; warn of that."""
    lacking = _lacking("".join(names))
    if not lacking:
        return list(names)
    warnings.warn(
        f"The font(s) of matplotlib cannot draw {len(lacking)} character(s) of the labels, "
        f"{quoted(lacking)}: they are drawn as {NO_GLYPH}. Name a font that can, beside the usual "
        "one: matplotlib.rcParams['font.family'] = ['DejaVu Sans', 'Noto Sans CJK JP'].",
        stacklevel=4,
    )
    table = str.maketrans(dict.fromkeys(lacking, NO_GLYPH))
    return [name.translate(table) for name in names]


def _lacking(text: str) -> list[str]:
    """Return the characters that none of the fonts in use has."""
    if text.isascii() and text.isprintable():
        return []
    from matplotlib.font_manager import FontProperties, findfont, get_font

    families = FontProperties().get_family()
    known: set[int] = set()
    for family in families:
        known |= get_font(findfont(FontProperties(family=[family]))).get_charmap().keys()
    return sorted(sign for sign in set(text) if ord(sign) not in known and not sign.isspace())


def size_of(room: float, n: int) -> float:
    """Return the size of type of so many names, in points, that share a length in pixels."""
    points = 72 * room / max(n, 1)
    return min(max(0.85 * points, SMALLEST), LARGEST)


def place_names(ax: Any, side: str, names: Sequence[str], **style: Any) -> None:
    """Write one name at each whole number of the axis ``side``, as large as there is room for."""
    set_ticks, room = (
        (ax.set_yticks, ax.bbox.height) if side == "y" else (ax.set_xticks, ax.bbox.width)
    )
    size = size_of(room / ax.figure.figure.dpi, len(names))
    set_ticks(range(len(names)), names, fontsize=size, **style)


def legend_of(ax: Any, marks: Sequence[Any], names: Sequence[str], **style: Any) -> None:
    """Draw a legend to the right of the axes; names may begin with an underscore."""
    # Its lines are further apart than those of names in a row.
    size = size_of(ax.bbox.height / ax.figure.figure.dpi, 2 * (len(names) + 1))
    legend = ax.legend(
        handles=list(marks), labels=["name"] * len(names), frameon=False, fontsize=size, **style
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


BESIDE = {"loc": "upper left", "bbox_to_anchor": (1, 1)}


def settle(ax: Any, title: str, write: Callable[[int], bool | None] | None = None) -> None:
    """Give axes their title, and write names as long as the figure has room for.

    ``write`` is called with the number of characters that a name may have, once or several times;
    it may answer False if what it wrote cannot be read.
    """
    figure = ax.figure.figure
    full = ax.get_position(original=True)
    said = (title, ax.get_xlabel(), ax.get_ylabel())
    with warnings.catch_warnings():
        # It is tried again with shorter names.
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
        for length in LENGTHS:
            is_legible = write is None or write(length) is not False
            if (_fits(ax, figure, full, said) and is_legible) or write is None:
                break


def _fits(ax: Any, figure: Any, full: Any, said: tuple[str, str, str]) -> bool:
    """Wrap texts and make room around the axes; tell whether enough is left of them."""
    texts = (ax.title, ax.xaxis.label, ax.yaxis.label)
    for text, line in zip(texts, said, strict=True):
        text.set_text(line)
    placed_by_hand = figure.get_layout_engine() is None
    if placed_by_hand:
        ax.set_position(full)
    for _ in range(3):
        figure.draw_without_rendering()
        changes = [_wrap(*one, ax, figure) for one in zip(texts, said, strict=True)]
        if placed_by_hand:
            changes.append(_make_room(ax, figure))
        if not any(changes):
            break
    width, height = figure.bbox.size
    drawn, place = ax.get_tightbbox(), ax.get_position()
    inside = drawn.x0 >= -1 and drawn.y0 >= -1 and drawn.x1 <= width + 1 and drawn.y1 <= height + 1
    is_large = place.width >= LEAST_SHARE * full.width and place.height >= LEAST_SHARE * full.height
    return bool(inside and is_large)


def _wrap(text: Any, said: str, ax: Any, figure: Any) -> bool:
    """Break a text into lines that reach from its middle to no edge; tell whether it changed."""
    if not said:
        return False
    before = text.get_text()
    extent, is_upright = text.get_window_extent(), text.get_rotation() == 90
    length, middle, whole = extent.width, (ax.bbox.x0 + ax.bbox.x1) / 2, figure.bbox.width
    if is_upright:
        length, middle, whole = extent.height, (ax.bbox.y0 + ax.bbox.y1) / 2, figure.bbox.height
    room = 2 * min(middle, whole - middle) - 6
    if length > room:
        longest = max(map(len, before.split("\n")))
        text.set_text(textwrap.fill(said, max(int(0.97 * longest * room / length), 8)))
    return bool(text.get_text() != before)


def _make_room(ax: Any, figure: Any) -> bool:
    """Draw axes in from the edges by as much as what they bear sticks out; tell whether any."""
    width, height = figure.bbox.size
    drawn, place = ax.get_tightbbox(), ax.get_position(original=True)
    out = np.array([-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height])
    if (out <= 1).all():
        return False
    left, below, right, above = np.where(out > 1, out + 2, 0) / [width, height, width, height]
    across, up = max(place.width - left - right, 0.02), max(place.height - below - above, 0.02)
    ax.set_position([place.x0 + left, place.y0 + below, across, up])
    return True

"""Which row of an episode follows which."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._typing import Codes

RowNumbers = npt.NDArray[np.int64]

NO_ROW = -1


def episode_order(episode: Codes, step: npt.NDArray[Any] | None) -> RowNumbers | None:
    """Return the rows sorted by episode, then step, then row; None if they lie so already."""
    before, after = episode[:-1], episode[1:]
    if step is None:
        return None if (before <= after).all() else np.argsort(episode, kind="stable")
    if ((before < after) | ((before == after) & (step[1:] >= step[:-1]))).all():
        return None
    return np.lexsort((step, episode))


def following_rows(episode: Codes, order: RowNumbers | None) -> RowNumbers:
    """Return for every row the row that follows it in its episode, NO_ROW for the last."""
    rows = np.arange(len(episode)) if order is None else order
    following = np.full(len(rows), NO_ROW, dtype=np.int64)
    same = episode[rows[1:]] == episode[rows[:-1]]
    following[rows[:-1][same]] = rows[1:][same]
    return following


def previous_rows(episode: Codes, step: npt.NDArray[Any] | None) -> RowNumbers:
    """Return for every row the row before it in its episode, NO_ROW for the first, (n,)."""
    following = following_rows(episode, episode_order(episode, step))
    previous = np.full(len(episode), NO_ROW, dtype=np.int64)
    is_followed = following != NO_ROW
    previous[following[is_followed]] = np.flatnonzero(is_followed)
    return previous

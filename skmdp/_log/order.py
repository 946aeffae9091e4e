"""Which row of an episode follows which."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._log.labels import LabelColumn
from skmdp._log.refusals import refusal
from skmdp._messages import shown
from skmdp._typing import Bools, Codes, Name

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


def require_steps(
    episode: LabelColumn,
    step: LabelColumn,
    numbers: npt.NDArray[Any],
    order: RowNumbers | None,
    *,
    may_have_gaps: bool,
    why: str = "next states are read off the following row",
    if_right: str = "are times, say duration='step', or",
) -> None:
    """Raise unless each episode's steps follow one another, so that the next row is the next.

    Only whole ``numbers`` must count up by one, and only if gaps are no time between decisions.
    ``why`` says what for, ``if_right`` what to do about gaps that are as they should be.
    """
    rows = np.arange(len(numbers)) if order is None else order
    codes, steps = episode.codes[rows], numbers[rows]
    gap = np.diff(steps)
    wrong = gap == 0 if may_have_gaps or steps.dtype.kind != "i" else gap != 1
    at = np.flatnonzero((codes[1:] == codes[:-1]) & wrong)
    if not len(at):
        return
    row, before = int(rows[at[0] + 1]), int(rows[at[0]])
    where = f"Column {shown(step.name)}: in episode {shown(episode.label_at(row))} step "
    if gap[at[0]] == 0:
        raise refusal(
            f"{where}{shown(step.label_at(row))} occurs twice (row {row}, counting from 0), but "
            f"{why}. If a row stands there twice, drop the copy; else correct the steps, or sort "
            "the rows and say step=None.",
            "step_twice",
            step.name,
            rows[at[gap[at] == 0] + 1],
        )
    raise refusal(
        f"{where}{shown(step.label_at(row))} follows step {shown(step.label_at(before))} (row "
        f"{row}, counting from 0), but {why}. If rows are missing, give those after the gap an "
        "episode of their own, and mark the one before as truncated. If a splitter drew rows, use "
        f"EpisodeKFold. If gaps {if_right} convert steps: "
        "pandas.to_datetime(..., unit='s').",
        "step_gap",
        step.name,
        rows[at[gap[at] != 0] + 1],
    )


def require_last(
    name: Name | None,
    flags: Bools | None,
    episode: LabelColumn,
    following: RowNumbers,
    goes_on: Bools,
    *,
    remedy: str = "order the rows, or add next-state columns",
) -> None:
    """Raise for a row that is marked as the last decision of its episode, but is not."""
    wrong = np.flatnonzero(False if flags is None else flags & goes_on)
    if len(wrong):
        row = int(wrong[0])
        raise refusal(
            f"Column {shown(name)} is True at row {row} (counting from 0), but episode "
            f"{shown(episode.label_at(row))} goes on at row {int(following[row])}. Give the rows "
            f"after it an episode of their own, {remedy}.",
            "goes_on",
            name,
            wrong,
        )

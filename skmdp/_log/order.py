"""Which row of an episode follows which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._log.labels import LabelColumn, hash_labels
from skmdp._log.refusals import refusal
from skmdp._messages import shown
from skmdp._typing import Bools, Codes, Floats, Name

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


def by_first_date(
    episode: LabelColumn, step: npt.NDArray[Any], order: RowNumbers | None
) -> tuple[LabelColumn, RowNumbers | None]:
    """Put episodes in the order of their first dates: their numbers, and the rows in that order.

    ``order`` is that of ``episode_order``. Their labels settle the order of those of one date, so
    that nothing hangs on where in a table rows lie. If all begin at one date, which then says
    nothing of when they were, they stay as they are.
    """
    n_rows = np.bincount(episode.codes, minlength=len(episode.values))
    starts = np.cumsum(n_rows) - n_rows
    first = step[starts if order is None else order[starts]]
    if (first == first[0]).all():
        return episode, order
    place = np.lexsort((_rank(episode), first))
    if (place[1:] > place[:-1]).all():
        return episode, order
    moved = np.empty(len(place), dtype=np.int32)
    moved[place] = np.arange(len(place))
    n_rows, starts = n_rows[place], starts[place]
    rows = np.arange(len(episode.codes)) + np.repeat(starts - np.cumsum(n_rows) + n_rows, n_rows)
    named = LabelColumn(episode.name, episode.kind, moved[episode.codes], episode.values[place])
    return named, rows if order is None else order[rows]


def order_of_decisions(
    columns: Sequence[LabelColumn], rewards: Floats | None, step: npt.NDArray[Any]
) -> RowNumbers:
    """Return rows, each of an episode of its own, in the order of dates.

    Those of one date are in the order of lots, drawn for them by what they hold: the same ones
    wherever they lie. ``columns`` are those of states and actions, (n_rows,) like the rewards.
    """
    content = [_rank(column)[column.codes] for column in columns]
    if rewards is not None:
        content.append(rewards)
    rows = np.lexsort((*content, step))
    lots = np.random.default_rng(0).permutation(len(rows))
    return rows[np.lexsort((lots, step[rows]))]


def _rank(column: LabelColumn) -> npt.NDArray[Any]:
    """Return numbers, (n_values,), by which the values of a column are always in one order."""
    values = column.values
    if values.dtype != object:
        return np.unique(values, return_inverse=True)[1]
    return hash_labels(column)


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

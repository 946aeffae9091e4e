"""Copies in a log: rows and episodes that stand there twice."""

from __future__ import annotations

import numpy as np

from skmdp._log.episodes import Transitions
from skmdp._log.refusals import doubt
from skmdp._typing import Bools, Integers

# A log is called doubled on at least so many copies; so many episodes are looked at first.
FEWEST_COPIES = 20
FIRST_EPISODES = 50


def warn_if_doubled(log: Transitions, *, stacklevel: int) -> None:
    """Warn if all rows occur twice where next states are read off the following row."""
    if log.next_states_given or log.episode_lengths is None or log.has_gaps:
        return
    for copies in ("row", "episode"):
        if _all_occur_twice(log, copies, FIRST_EPISODES) and _all_occur_twice(log, copies, None):
            doubt(
                f"Every {copies} of X seems to occur twice, one copy after the other, so rows lead "
                "to their own copies: next states are read off the following row. Drop the copies "
                "where they came in (a file read twice, a join), or read a column step beside the "
                "others: drop_duplicates() then drops the copies and nothing else.",
                "doubled",
                remedy={"copies": copies},
                stacklevel=stacklevel + 1,
            )
            return


def _all_occur_twice(log: Transitions, copies: str, n_episodes: int | None) -> bool:
    """Tell whether each row, or the rows of each episode, are followed by a copy of themselves.

    The last row of an episode may be missing, as it is left out of the log where it is truncated.
    """
    assert log.episode_lengths is not None
    lengths = log.episode_lengths[log.episode_lengths > 0][:n_episodes]
    if not log.n_truncated and (lengths % 2).any():
        return False
    episode = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(episode)) - (np.cumsum(lengths) - lengths)[episode]
    if copies == "row":
        distance = np.ones_like(lengths)
        is_original = position % 2 == 0
    else:
        distance = (lengths + 1) // 2
        is_original = position < distance[episode]
    has_copy = position + distance[episode] < lengths[episode]
    rows = np.flatnonzero(is_original & has_copy)
    if len(rows) < FEWEST_COPIES or not _are_equal(log, rows, rows + distance[episode[rows]]).all():
        return False
    # What always repeats itself is no copy: rows must differ from those after their copies, and
    # episodes from one another.
    if copies == "row":
        nexts = rows[position[rows] + 2 < lengths[episode[rows]]]
        return bool(np.count_nonzero(~_are_equal(log, nexts + 1, nexts + 2)) >= FEWEST_COPIES / 2)
    model = np.minimum(position[rows], lengths[0] - 1)  # the same rows of the first episode
    return bool(np.count_nonzero(~_are_equal(log, rows, model)) >= FEWEST_COPIES / 2)


def _are_equal(log: Transitions, rows: Integers, others: Integers) -> Bools:
    """Tell which rows have the state, action and reward of the others, all (n,)."""
    equal = np.ones(len(rows), dtype=bool)
    for column in (log.state_codes, log.action_codes, log.rewards):
        if column is not None:
            equal &= column[rows] == column[others]
    return equal

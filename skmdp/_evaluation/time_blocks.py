"""Blocks of time that the rows of a log are dealt to, by all that the log tells of time.

A log may tell when episodes were by the order in which it holds them (where steps are dates, it was
read in the order of these), by the steps at which they start, and by the step of each row, where
steps are dates or count on from one episode to the next. How far an episode had come is told by the
place of a row in it; and by its step, where all episodes start at the same one but leave some out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmdp._typing import Array, Integers

# Blocks of time, and how many episodes each has at least; of steps, how many rows.
MOST_BLOCKS = 30
FEWEST_EPISODES = 10
# The same for the rows of single states.
MOST_OF_EACH = 60
FEWEST_OF_EACH = 5
# Blocks of places in the episode, in each of which time has blocks of its own.
FEW_PLACES = 6


@dataclass(frozen=True, eq=False)
class TimeBlocks:
    """Blocks of time by which rewards may drift, each the block of each row, (n_rows,).

    ``of_all`` are those in which all rows are looked at together, ``of_each`` those in which the
    rows of each state are: of these there may be more, as nothing is asked of them by itself. By
    the ``exact`` time, whole numbers (n_rows,), it is told which rows are next to each other. It
    ``is_shared`` where rows of many episodes have the same.
    """

    of_all: Integers
    of_each: Integers
    exact: Integers
    is_shared: bool = False

    @classmethod
    def of_episodes(cls, episode: Integers, step: Array | None = None) -> TimeBlocks:
        """Deal episodes to blocks, as many to each; in the order of their first steps, if given.

        ``episode`` (n_rows,) ascends, and so does ``step`` (n_rows,) in each. An episode may be a
        lot of them.
        """
        is_first = np.diff(episode, prepend=episode[0] - 1) > 0
        place = np.arange(np.count_nonzero(is_first))
        if step is not None:
            place[np.argsort(step[is_first], kind="stable")] = place.copy()
        of_row, n = np.cumsum(is_first) - 1, len(place)
        n_blocks = (n // FEWEST_EPISODES, MOST_BLOCKS), (n // FEWEST_OF_EACH, MOST_OF_EACH)
        of_all, of_each = ((place * max(1, min(of)) // n)[of_row] for of in n_blocks)
        return cls(of_all, of_each, place[of_row])

    @classmethod
    def of_places(cls, place: Integers) -> TimeBlocks:
        """Deal the places that rows have in their episodes to blocks of about as many rows."""
        block = blocks_of_steps(np.bincount(place))[place]
        return cls(block, block, place, is_shared=True)

    @classmethod
    def of_steps(cls, step: Array, n_episodes: int) -> TimeBlocks:
        """Deal steps to blocks of about as many rows, whatever episodes these belong to."""
        _, code, n_at = np.unique(step, return_inverse=True, return_counts=True)
        middle = (np.cumsum(n_at) - (n_at + 1) / 2) / len(step)
        n_told = min(n_episodes, len(step)) // FEWEST_EPISODES
        of_all, of_each = (
            np.unique((middle * n_blocks).astype(np.intp), return_inverse=True)[1][code]
            for n_blocks in (max(1, min(MOST_BLOCKS, n_told)), MOST_OF_EACH)
        )
        return cls(of_all, of_each, code, is_shared=True)


def time_blocks(
    episode: Integers, step: Array | None = None
) -> tuple[tuple[TimeBlocks, ...], tuple[TimeBlocks, ...]]:
    """Return the blocks by which a log tells when a row was, and how far its episode had come.

    ``episode`` (n_rows,) ascends, and so does ``step`` (n_rows,) in each, where rows have one.
    """
    is_first = np.diff(episode, prepend=episode[0] - 1) > 0
    starts = np.flatnonzero(is_first)
    place = np.arange(len(episode)) - starts[np.cumsum(is_first) - 1]
    when, how_far = [TimeBlocks.of_episodes(episode)], [TimeBlocks.of_places(place)]
    first = None if step is None else step[starts]
    if first is not None and (first[1:] < first[:-1]).any():
        when.append(TimeBlocks.of_episodes(episode, step))
    if step is None or first is None:
        return tuple(when), tuple(how_far)
    end = int(np.argmax(place))
    at_place = step[end - place[end] : end + 1]
    if len(at_place) > 1 and (step != at_place[place]).any():
        counts_on = bool((first != first[0]).any())
        (when if counts_on else how_far).append(TimeBlocks.of_steps(step, len(starts)))
    return tuple(when), tuple(how_far)


def both_at_once(when: TimeBlocks, how_far: TimeBlocks) -> TimeBlocks:
    """Return blocks of time within blocks of places, and times within places.

    They are in the order of places, those of one place in that of time. Blocks are no more in all
    than a state may have of time alone.
    """
    n_far = int(how_far.of_each.max()) + 1
    far = np.unique(how_far.of_each * FEW_PLACES // n_far, return_inverse=True)[1]
    n_times, n_places = int(when.of_each.max()) + 1, int(far.max()) + 1
    n_blocks = max(1, min(n_times, MOST_OF_EACH // n_places))
    block = far * n_blocks + when.of_each * n_blocks // n_times
    return TimeBlocks(block, block, how_far.exact * (int(when.exact.max()) + 1) + when.exact)


def blocks_of_steps(n_at: Integers) -> Integers:
    """Return the block of each step, (n_steps,), given how many rows are at each."""
    n_blocks = max(1, min(MOST_BLOCKS, int(np.count_nonzero(n_at >= FEWEST_EPISODES))))
    return np.asarray((np.cumsum(n_at) - n_at) * n_blocks // n_at.sum())

"""Copies in a log: rows that follow themselves, and episodes that came in under another name.

Two episodes may be alike by chance. Let what an episode holds be drawn so often as a number of
Poisson's law tells, with any mean m, as of independent episodes. With j = k - 1,
E[(j - m)^2 m^j exp(-m)] >= 0, so of all that episodes hold, the numbers n_k of what is seen k times
are expected to satisfy

    j n_j + k (k + 1) / j n_(k + 1) >= 2 k n_k

whatever the means are, in short episodes of few labels as in long ones of fractions. Where each
episode is there k times, those before and after are 0. (If fewer than a third of the episodes have
a copy, this does not show, nor where a part of a log with copies was drawn. But then episodes may
have several rewards in common that are met nowhere else, which is no chance whatever the law.)
Single rows of labels, and whole numbers, are left out: a trial may have been planned to hold each
twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmdp._log.episodes import Transitions
from skmdp._log.lots import Alike
from skmdp._log.refusals import doubt
from skmdp._typing import Array, Bools, Integers

# A log is called doubled on at least so many copies; so many episodes are looked at first.
FEWEST_COPIES = 20
FIRST_EPISODES = 50
# How often each episode may be there to be seen.
MOST_COPIES = 10
# Standard errors by which more is seen twice than chance allows for, and episodes to be looked at.
SURE = 4.0
ENOUGH_EPISODES = 2_000
# An episode has as many rewards that no other has but those that are like it in all, where rewards
# are fractions that never come again. So many are copies, of those looked at, and such a share.
FEWEST_OWN, FEWEST_AGAIN, SHARE_AGAIN = 3, 5, 0.02
# Odd numbers that spread bits.
_SPREAD_OF_32 = np.uint32(0x9E3779B1)
_SPREAD, _PLACE = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0x9E3779B97F4A7C15)


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


# ----------------------------------------------------------------------- episodes of another name


def warn_if_repeated(log: Transitions, *, stacklevel: int) -> None:
    """Warn if more episodes are alike in all of their rows than chance would make so."""
    found = _copies_of(log)
    if found is None:
        return
    doubt(
        f"{found[1]}, which is no chance. X seems to hold copies, as of an export joined to "
        "itself. They tell nothing new, but make intervals too narrow, so that a policy would be "
        "called better too easily. Drop them where they came in, before X is split.",
        "repeated",
        remedy={"copies": found[0]},
        stacklevel=stacklevel + 1,
    )


def holds_copies(log: Transitions) -> bool:
    """Tell whether more episodes are alike in all of their rows than chance would make so."""
    return _copies_of(log) is not None


def _copies_of(log: Transitions) -> tuple[int, str] | None:
    """Return how often episodes are there, and what shows it; None if they may be by chance."""
    known = None if log.lots is None else log.lots.alike
    if known is not None:
        return _seen(
            known.n_seen, "length, first and last row, and extremes of the reward"
        ) or _again(known)
    if log.episode_lengths is None or log.has_gaps or not len(log.state_codes):
        return None
    some = _Episodes.of(log, ENOUGH_EPISODES)
    found = None
    if _more_than_chance(some.n_seen) is not None:
        found = _seen(_Episodes.of(log, np.inf).n_seen, "all of their rows")
    return found or _again(some.alike(log))


def _seen(n_seen: Integers, what: str) -> tuple[int, str] | None:
    """Return the same by how much is seen once, twice and so on."""
    k = _more_than_chance(n_seen)
    if k is None:
        return None
    fewer, alike, more = n_seen[k - 2 : k + 1]
    return k, (
        f"Of the episodes of X, {alike} are there {_times(k)} under different names, alike in "
        f"{what}, but only {fewer} {_times(k - 1)} and {more} {_times(k + 1)}"
    )


def _again(alike: Alike) -> tuple[int, str] | None:
    """Return the same by rewards that no other episodes have."""
    if alike.n_again < max(FEWEST_AGAIN, SHARE_AGAIN * alike.n):
        return None
    return alike.most, (
        f"Of {alike.n} episodes of X that were looked at, {alike.n_again} are there again under "
        f"another name, with {FEWEST_OWN} and more rewards that no other episode has"
    )


def _times(k: int) -> str:
    words = {1: "once", 2: "twice", 3: "three times"}
    return words.get(k, f"{k} times")


def _more_than_chance(n_seen: Integers) -> int | None:
    """Return how many times more is seen than what is seen less or more often goes with.

    ``n_seen`` (MOST_COPIES + 1,) is how much is seen once, twice and so on. None: nothing is.
    """
    j = np.arange(1, MOST_COPIES)
    k = j + 1
    of_fewer, of_more = j, k * (k + 1) / j
    fewer, alike, more = n_seen[:-2], n_seen[1:-1], n_seen[2:]
    excess = 2 * k * alike - of_fewer * fewer - of_more * more
    error = np.sqrt((2 * k) ** 2 * alike + of_fewer**2 * fewer + of_more**2 * more)
    is_more = (alike >= FEWEST_COPIES) & (excess > SURE * error)
    return int(k[np.argmax(is_more)]) if is_more.any() else None


@dataclass(frozen=True, eq=False)
class _Episodes:
    """Some episodes of a log, all (n_episodes,), those of one ``label`` alike in all of their rows.

    They are those of so many rows, ``lengths``, that end with the ``last``.
    """

    last: Integers
    lengths: Integers
    label: Integers

    @classmethod
    def of(cls, log: Transitions, enough: float) -> _Episodes:
        """Look at ``enough`` of many episodes, with all that may be like them."""
        assert log.episode_lengths is not None
        lengths = log.episode_lengths[log.episode_lengths > 0]
        last = np.cumsum(lengths) - 1
        # What is soon known tells most episodes apart: the last row, and then the first.
        known = log.state_codes[last] * np.int32(len(log.actions)) + log.action_codes[last]
        some = _few(known.view(np.uint32) * _SPREAD_OF_32, enough)
        some = some[_may_be_copies(log, last[some], lengths[some])]
        last, lengths = last[some], lengths[some]
        known = _mixed(_bits(known[some]), _bits(lengths))
        for rows in (last, last - lengths + 1):
            for column in (log.state_codes, log.action_codes, log.rewards):
                if column is not None:
                    known = _mixed(known, _bits(column[rows]))
        some = _few(known, enough)
        last, lengths, known = last[some], lengths[some], known[some]
        ordered = np.sort(known)
        may_be = np.isin(known, ordered[1:][ordered[1:] == ordered[:-1]])
        label = np.arange(len(known))
        if may_be.any():
            hashes = _hashes(log, last[may_be], lengths[may_be])
            _, one, code = np.unique(hashes, return_index=True, return_inverse=True)
            label[may_be] = np.flatnonzero(may_be)[one][code]
        return cls(last, lengths, label)

    @cached_property
    def sizes(self) -> Integers:
        """Number of episodes of each label, (n_episodes,)."""
        return np.bincount(self.label, minlength=len(self.label))

    @property
    def n_seen(self) -> Integers:
        """How much of what episodes hold is seen once, twice and so on, (MOST_COPIES + 1,)."""
        most = MOST_COPIES + 2
        times = np.minimum(self.sizes[self.sizes > 0], most)
        return np.bincount(times, minlength=most + 1)[1:most]

    def alike(self, log: Transitions) -> Alike:
        """Return how many of the episodes are alike, and how many in rewards of their own.

        How often one is there at most differs from the rest where a log with copies was split.
        """
        n = len(self.label)
        if log.rewards is None or (self.sizes < 2).all():
            return Alike(self.n_seen, n, 0, 1)
        rewards = log.rewards[_rows_of(self.last, self.lengths)]
        value = np.unique(rewards, return_inverse=True)[1]
        has = np.unique(value * n + np.repeat(self.label, self.lengths))
        value, label = np.divmod(has, n)
        is_own = np.bincount(value)[value] == 1
        is_copied = (self.sizes > 1) & (np.bincount(label, is_own, n) >= FEWEST_OWN)
        copied = self.sizes[is_copied]
        return Alike(self.n_seen, n, int((copied - 1).sum()), int(copied.max(initial=1)))


def _may_be_copies(log: Transitions, last: Integers, lengths: Integers) -> Bools:
    """Tell which episodes hold more than a single row of labels, of which somebody may want two."""
    several = lengths > 1
    return several if log.rewards is None else several | (log.rewards[last] % 1 != 0)


def _few(keys: Array, enough: float) -> Integers:
    """Return where about ``enough`` of the keys are, of any bits, and all that equal them."""
    if len(keys) <= enough:
        return np.arange(len(keys))
    most = keys.dtype.type(np.iinfo(keys.dtype).max * (enough / len(keys)))
    return np.flatnonzero(keys <= max(most, keys.min()))


def _hashes(log: Transitions, last: Integers, lengths: Integers) -> Array:
    """Return a number for each of some episodes that all of their rows tell, in their order.

    They are those of so many rows that end with the ``last``.
    """
    first = np.cumsum(lengths) - lengths
    rows = _rows_of(last, lengths)
    place = np.arange(len(rows)) - np.repeat(first, lengths)
    durations = None if log.durations is None else log.durations.numbers
    columns = (log.state_codes, log.action_codes, log.next_codes, log.rewards, log.step, durations)
    found = _bits(place) * _PLACE
    for column in columns:
        if column is not None:
            found = _mixed(found, _bits(column[rows]))
    return np.add.reduceat(found, first)


def _rows_of(last: Integers, lengths: Integers) -> Integers:
    """Return the rows of some episodes, one after the other."""
    before = np.cumsum(lengths) - lengths
    rows: Integers = np.arange(lengths.sum()) + np.repeat(last - lengths + 1 - before, lengths)
    return rows


def _bits(values: Array) -> Array:
    """Return numbers as 64 bits each, which are the same where these are."""
    if values.dtype.kind == "f":
        return np.asarray(values + 0.0, dtype=np.float64).view(np.uint64)  # one 0, not two
    return values.astype(np.uint64)


def _mixed(found: Array, bits: Array) -> Array:
    """Return 64 bits that hang on all of both, (n,)."""
    mixed = (found ^ bits) * _SPREAD
    mixed ^= mixed >> np.uint64(32)
    mixed *= _SPREAD
    return mixed ^ (mixed >> np.uint64(29))

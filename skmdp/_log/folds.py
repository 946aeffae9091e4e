"""Episodes dealt to folds, each of which is held out once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skmdp._evaluation.lots import N_BLOCKS
from skmdp._log.episodes import Transitions
from skmdp._log.frames import as_frame
from skmdp._log.labels import LabelColumn
from skmdp._log.lots import FIXED_SEED, Lots
from skmdp._messages import shortened, shown
from skmdp._typing import Bools, Floats, Integers

# Rows to learn from and rows to judge on, by position.
Splits = list[tuple[Integers, Integers]]


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the episodes of a log, and their rows and starts, by position.

    Of a lazy table, lots of episodes.
    """

    episodes: Integers
    rows: Integers
    firsts: Integers

    @classmethod
    def of(cls, log: Transitions, which: Bools) -> Part:
        """Return those that are marked, (n_episodes,)."""
        lots = lots_of(log)
        rows, firsts = (np.repeat(which, n) for n in (lots.lengths, lots.start_lengths))
        return cls(*(np.flatnonzero(part) for part in (which, rows, firsts)))

    def starts(self, log: Transitions) -> Floats:
        """Return the weight of these episodes that start in each state, (n_states,)."""
        weights = None if log.start_weights is None else log.start_weights[self.firsts]
        started = np.bincount(log.start_codes[self.firsts], weights, minlength=len(log.states))
        return started.astype(np.float64, copy=False)


def lots_of(log: Transitions) -> Lots:
    """Return the lots that the episodes of a log were dealt to, each its own in memory."""
    if log.lots is not None:
        return log.lots
    assert log.episode_lengths is not None
    return Lots(log.episode_lengths, np.ones(len(log.episode_lengths), dtype=np.int64))


def joined(parts: Sequence[Part]) -> Part:
    """Return all episodes of some parts that share none."""
    together = ([getattr(part, field.name) for part in parts] for field in fields(Part))
    return Part(*map(_in_order, together))


def _in_order(positions: Sequence[Integers]) -> Integers:
    """Return all positions in ascending order, each of which comes once, without sorting them."""
    last = max((int(some[-1]) for some in positions if len(some)), default=-1)
    among = np.zeros(last + 1, dtype=bool)
    for some in positions:
        among[some] = True
    return np.flatnonzero(among)


@dataclass(frozen=True, eq=False)
class Fold:
    """What is held out of a log to judge on, and what is left out of it to learn from the rest."""

    held_out: Part
    left_out: Part


def number_rows(X: Any) -> LabelColumn:
    """Return the position of every row as a column to be read beside a log."""
    frame = as_frame(X)
    positions = np.arange(len(X) if frame is None else len(frame), dtype=np.int32)
    return LabelColumn("row", "int", positions, positions)


def read_splits(cv: Any, n_rows: int) -> Splits:
    """Return the splits of a table of so many rows as positions of them, checked."""
    splits = list(cv)
    if not splits or any(len(split) != 2 for split in splits):
        raise ValueError(
            f"cv must hold pairs of rows to learn from and rows to judge on, got {shown(splits)}."
        )
    return [(_positions(train, n_rows), _positions(test, n_rows)) for train, test in splits]


def deal_episodes(
    log: Transitions,
    cv: Any,
    random_state: int | np.random.RandomState | None,
    *,
    n_deals: int = 1,
) -> list[Fold]:
    """Deal the episodes of a log, or the lots of them, to folds, whole.

    A number of folds deals them by lot, ``n_deals`` times over; without a seed, by the same lots in
    every fit. A splitter is asked to split the episodes that have rows, each of which is a row, and
    a group, to it. Splits that were made before, see ``read_splits``, are positions of the rows
    that the log was read from, whose numbers it holds beside the rest.
    """
    lengths = lots_of(log).lengths
    playing = np.flatnonzero(lengths)
    if hasattr(cv, "split"):
        splits = _split_by(cv, playing, len(lengths))
    elif isinstance(cv, Integral):
        deals = _deal(log, playing, int(cv), random_state, n_deals)
        splits = [(dealt != i, dealt == i) for dealt in deals for i in range(int(cv))]
    else:
        splits = _split_by_rows(log, lengths, cv)
    for learned_from, held_out in splits:
        if not (learned_from.any() and held_out.any()) or (learned_from & held_out).any():
            raise ValueError(
                f"cv={shown(cv)} makes a split with {learned_from.sum()} episode(s) to learn from "
                f"and {held_out.sum()} to judge on; both are needed, and none may be in both. Use "
                "a number of folds, or a splitter such as skmdp.model_selection.EpisodeKFold."
            )
    return [
        Fold(Part.of(log, held_out), Part.of(log, ~learned_from))
        for learned_from, held_out in splits
    ]


def _deal(
    log: Transitions, playing: Integers, n_folds: int, random_state: Any, n_deals: int
) -> Integers:
    """Return the fold of every episode, (n_deals, n_episodes), -1 for those without rows.

    Dealt by lot: folds that were made alike, by length or return, would share their luck. What is
    drawn hangs on the episodes, not on the order in which they lie. Lots are in the order of time
    already, and their sums of rewards hang on the way in which they were added up. A block of them
    is spread over the folds, since lots of one block show the error of each.
    """
    lengths = lots_of(log).lengths
    if len(playing) < n_folds:
        raise ValueError(
            f"cv={n_folds} folds need at least {n_folds} episodes, but {len(playing)} hold rows "
            f"that count (n_samples={log.n_rows} in all). Lower cv, or hand in more episodes; "
            "one long episode cannot be split."
        )
    ordered = playing if log.lots is not None else _by_content(log, playing, lengths)
    seed = FIXED_SEED if random_state is None else random_state
    lot = check_random_state(seed)
    fold_of = np.full((n_deals, len(lengths)), -1)
    for folds in fold_of:
        dealt = lot.permutation(ordered)
        if log.lots is not None:
            block = np.searchsorted(playing, dealt) * N_BLOCKS // len(playing)
            dealt = dealt[np.argsort(block, kind="stable")]
        folds[dealt] = np.arange(len(dealt)) % n_folds
    return fold_of


def _by_content(log: Transitions, playing: Integers, lengths: Integers) -> Integers:
    """Return the episodes that have rows, in an order that their rows tell."""
    episode = np.repeat(np.arange(len(lengths)), lengths)
    of_rows = (log.rewards, log.next_codes, log.action_codes, log.state_codes)
    told: list[Any] = [np.bincount(episode, of, len(lengths)) for of in of_rows if of is not None]
    content = [of[playing] for of in (*told, log.start_codes, lengths)]
    return playing[np.lexsort(content)]


def _split_by(cv: Any, playing: Integers, n_episodes: int) -> list[tuple[Bools, Bools]]:
    """Return which episodes are learned from, and which judged on, of every split."""
    n = len(playing)
    splits = []
    with warnings.catch_warnings():  # each sample is a group of its own, so that is right
        warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)
        try:
            drawn = list(cv.split(np.empty((n, 0)), None, np.arange(n)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"cv={shown(cv)} does not split these {n} episodes: {shortened(error)} It is shown "
                "one sample for each, a group of its own, without a target. Use a number of folds, "
                "or a splitter such as skmdp.model_selection.EpisodeKFold."
            ) from error
    for split in drawn:
        learned_from, held_out = np.zeros((2, n_episodes), dtype=bool)
        learned_from[playing[split[0]]] = held_out[playing[split[1]]] = True
        splits.append((learned_from, held_out))
    return splits


def _split_by_rows(log: Transitions, lengths: Integers, cv: Splits) -> list[tuple[Bools, Bools]]:
    """Return the same, given pairs of rows to learn from and rows to judge on."""
    return [
        (_episodes_of(log, lengths, train), _episodes_of(log, lengths, test)) for train, test in cv
    ]


def _episodes_of(log: Transitions, lengths: Integers, rows: Integers) -> Bools:
    """Return which episodes some rows of the table make up, (n_episodes,); raise for a part."""
    (numbers,) = log.beside
    is_among = np.isin(numbers.values[numbers.codes], rows)
    n_among = np.bincount(np.repeat(np.arange(len(lengths)), lengths), is_among, len(lengths))
    if ((n_among > 0) & (n_among < lengths)).any():
        raise ValueError(
            "cv cuts episodes: some of their rows are learned from, others judged on. Make the "
            "splits with skmdp.model_selection.EpisodeKFold, or say a number of folds."
        )
    return np.asarray(n_among > 0)


def _positions(rows: Any, n_rows: int) -> Integers:
    """Return positions of rows of a table of so many; of marked rows, those of the marks."""
    given = np.asarray(rows)
    if given.dtype == object and all(isinstance(one, bool | np.bool_) for one in given.flat):
        given = given.astype(bool)  # as columns of pandas are that once held something missing
    if given.dtype == bool and len(given) == n_rows:
        return np.flatnonzero(given)
    if given.dtype.kind not in "iu" or (given < 0).any():
        raise ValueError(
            "cv must hold positions of rows, whole numbers from 0 on, or marks, True or False for "
            f"each row of the table, got {shown(rows)}."
        )
    if given.max(initial=0) >= n_rows:
        raise ValueError(
            f"cv holds the position {given.max()}, but the table has {n_rows} row(s), counting "
            "from 0. Make the splits of this table, for example with "
            "skmdp.model_selection.EpisodeKFold; of labels of a pandas index, "
            "table.index.get_indexer makes positions."
        )
    return given

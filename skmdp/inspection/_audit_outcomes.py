"""What decisions led to: how well it is known, and columns that tell it too well.

What rows of a cell let expect of one of them never rests on the row itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from skmdp._estimation.counts import sum_by_code
from skmdp._log.labels import NUMERIC_KINDS
from skmdp._messages import shown
from skmdp._typing import Bools, Floats, Integers
from skmdp.inspection._audited import Reading
from skmdp.inspection._findings import Finding

# Rows that are looked at for what tells outcomes: enough for a sure answer.
MOST_ROWS = 20_000
# A column tells the outcome if it leaves no more than this share of what state and action leave.
LEFT_BY_LEAK = 0.02
# Share of the rows whose next state, given state and action, must be open for it to be told.
OPEN_NEXT_STATES = 0.1
# Rewards stand a row late if the row before explains this share of their variance more than their
# own, by so many standard errors over episodes.
MORE_EXPLAINED = 0.05
SURE = 4.0
# Different rewards below which a column that moves with them proves nothing.
FEWEST_REWARDS = 5


def check_outcomes(reading: Reading) -> Iterator[Finding]:
    """Go through what is found of outcomes, and of how well they are known."""
    yield from _check_support(reading)
    sample = Sample.of(reading)
    if sample.rewards is not None:
        yield from _check_rewards(reading, sample)
    yield from _check_leaks(reading, sample)


def _check_support(reading: Reading) -> Iterator[Finding]:
    """Say how many pairs were seen once, and how many decisions had alternatives."""
    counts = reading.evidence.counts
    n_rows = np.add.reduceat(counts.n_rows, counts.indptr[:-1])
    single = n_rows == 1
    n = int(np.count_nonzero(single))
    if n:
        what = f"{n:,} of {len(single):,} pairs of state and action were seen once."
        yield reading.finding("note", "seen_once", what, rows=single[reading.pair], n=n)
    n_actions = np.bincount(counts.pair_state, minlength=counts.n_states)
    has_several = n_actions[reading.log.state_codes] > 1
    if not has_several.any():
        what = "In every state a single action was logged."
        yield reading.finding("warning", "no_alternatives", what, n=len(has_several))
    elif not has_several.all():
        n = int(np.count_nonzero(has_several))
        what = f"{n:,} of {len(has_several):,} decisions had an alternative that was logged."
        yield reading.finding("note", "few_alternatives", what, rows=~has_several)


@dataclass(frozen=True, eq=False)
class Sample:
    """The first rows of a log, whole episodes as far as they are known, each array (n,)."""

    pair: Integers
    episode: Integers
    next_codes: Integers
    rewards: Floats | None

    @classmethod
    def of(cls, reading: Reading) -> Sample:
        """Take the first rows."""
        log = reading.log
        n = min(MOST_ROWS, len(log.state_codes))
        episode = np.arange(n) if log.episode_lengths is None else reading.episode[:n]
        rewards = None if log.rewards is None else log.rewards[:n]
        return cls(reading.pair[:n], episode, log.next_codes[:n], rewards)

    @cached_property
    def left_of_rewards(self) -> Floats:
        """What state and action leave open of each reward."""
        assert self.rewards is not None
        return _left(self.pair, self.rewards, self.rewards - self.rewards.mean())

    @cached_property
    def is_open(self) -> float:
        """Share of the next states that state and action do not tell."""
        return _not_told(self.pair, self.next_codes)[0]


def _left(cells: Integers, values: Floats, alone: Floats) -> Floats:
    """Return values less the mean of the other rows of their cell; ``alone`` where there are none.

    All are (n,).
    """
    n = np.bincount(cells)[cells]
    sums = sum_by_code(cells, values, int(cells.max()) + 1)[cells]
    others = np.divide(sums - values, n - 1, out=values - alone, where=n > 1)
    return np.asarray(values - others)


def _not_told(cells: Integers, outcomes: Integers) -> tuple[float, float]:
    """Return the share of rows whose outcome another row of the cell lacks, of those with others.

    The second number is the share of rows whose cell has others.
    """
    n = np.bincount(cells)[cells]
    joint = pd.factorize(cells.astype(np.int64) * (int(outcomes.max()) + 2) + outcomes + 1)[0]
    same = np.bincount(joint)[joint]
    several = n > 1
    if not several.any():
        return 0.0, 0.0
    share = (same[several] - 1) / (n[several] - 1)
    return float(1 - share.mean()), float(several.mean())


def _check_rewards(reading: Reading, sample: Sample) -> Iterator[Finding]:
    """Look for rewards that never differ, or that stand in the row after their own."""
    assert reading.log.rewards is not None
    assert sample.rewards is not None
    names = reading.parts.names("reward")
    if reading.log.rewards.min() == reading.log.rewards.max():
        what = f"Every reward is {reading.log.rewards[0]:g}."
        yield reading.finding("note", "constant_reward", what, columns=names, n=len(reading.rows))
        return
    has_before = np.append(False, np.diff(sample.episode) == 0)
    if np.count_nonzero(has_before) > 1 and _explains_more(sample, has_before):
        parts = reading.parts
        moved = f"{parts.by_episode}[{[names[0]]}].shift(-1, fill_value=0)"
        yield reading.finding(
            "warning",
            "reward_row",
            "The state and action of the row before explain rewards better than their own do.",
            columns=names,
            rows=np.flatnonzero(has_before),
            n=len(reading.rows),
            mend=f"{parts.ordered}table[{[names[0]]}] = {moved}",
        )
        return
    yield from _check_states(reading, sample)


def _explains_more(sample: Sample, has_before: Bools) -> bool:
    """Tell whether the pair of the row before explains rewards better than their own pair."""
    assert sample.rewards is not None
    at = np.flatnonzero(has_before)
    # Their squares are to be numbers whatever their unit is.
    largest = np.abs(sample.rewards[at]).max(initial=0.0)
    rewards, episode = sample.rewards[at] / (largest or 1.0), sample.episode[at]
    own, before = sample.pair[at], sample.pair[at - 1]
    alone = rewards - rewards.mean()
    errors = [_left(cells, rewards, alone) ** 2 for cells in (own, before)]
    gain = sum_by_code(episode, errors[0] - errors[1], int(episode.max()) + 1)
    total = float(((rewards - rewards.mean()) ** 2).sum())
    error = float(np.sqrt((gain**2).sum()))
    return bool(gain.sum() > MORE_EXPLAINED * total and gain.sum() > SURE * error)


def _check_states(reading: Reading, sample: Sample) -> Iterator[Finding]:
    """Look for columns of the state that hold the reward."""
    rewards, index = sample.rewards, reading.log.states
    if rewards is None or len(np.unique(rewards)) < FEWEST_REWARDS:
        return
    ranks = index.column_codes()[reading.log.state_codes[: len(rewards)]]
    for j, name in enumerate(index.names):
        if index.kinds[j] in NUMERIC_KINDS and _is_line(
            index.columns[j][ranks[:, j]].astype(np.float64), rewards, 0.0
        ):
            others = [other for other in index.names if other != name]
            yield reading.finding(
                "warning",
                "reward_in_state",
                f"Column {shown(name)} of the state holds the reward of its row.",
                columns=(name,),
                n=len(reading.rows),
                mend=reading.parts.named("state", others) if others else "",
            )


def _is_line(values: Floats, rewards: Floats, left: float) -> bool:
    """Tell whether rewards are a line over some values, but for squares that add up to ``left``."""
    with np.errstate(over="ignore", invalid="ignore"):
        centered, wanted = values - values.mean(), rewards - rewards.mean()
        squares, total = float((centered**2).sum()), float((wanted**2).sum())
    if squares == 0 or not np.isfinite(squares + total):
        return False
    rest = total - float((centered * wanted).sum()) ** 2 / squares
    return rest <= max(left, 1e-12 * total)


def _check_leaks(reading: Reading, sample: Sample) -> Iterator[Finding]:
    """Look for columns without a role that tell the reward or the next state."""
    rows = reading.rows[: len(sample.pair)]
    for name in reading.spare_columns:
        series = reading.frame.column(name).iloc[rows].reset_index(drop=True)
        told = [
            word
            for word, tells in (("reward", _tells_reward), ("next state", _tells_next_state))
            if tells(series, sample)
        ]
        if told:
            what = f"Column {shown(name)} tells the {' and the '.join(told)} of its row."
            yield reading.finding(
                "warning",
                "tells_outcome",
                what,
                columns=(name,),
                n=len(reading.rows),
                mend=f"table = table.drop(columns={[name]})",
            )


def _cells(series: pd.Series, sample: Sample) -> Integers | None:
    """Return the cells of state, action and a column, None if it cannot be hashed."""
    try:
        codes, values = pd.factorize(series)
    except (TypeError, NotImplementedError):  # the latter: types that Arrow cannot hash
        return None
    joined = sample.pair.astype(np.int64) * (len(values) + 1) + codes + 1
    return np.asarray(pd.factorize(joined)[0])


def _tells_reward(series: pd.Series, sample: Sample) -> bool:
    """Tell whether a column tells the reward where state and action do not."""
    if sample.rewards is None or len(np.unique(sample.rewards)) < 2:
        return False
    left = float((sample.left_of_rewards**2).sum())
    if left <= 1e-9 * float(((sample.rewards - sample.rewards.mean()) ** 2).sum()):
        return False
    if pd.api.types.is_numeric_dtype(series.dtype) and series.dtype != bool:
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.isfinite(numbers)
        rewards = sample.rewards[known]
        unsaid = float((sample.left_of_rewards[known] ** 2).sum())
        is_varied = len(np.unique(rewards)) >= FEWEST_REWARDS
        if is_varied and _is_line(numbers[known], rewards, LEFT_BY_LEAK * unsaid):
            return True
    cells = _cells(series, sample)
    if cells is None:
        return False
    rest = _left(cells, sample.rewards, sample.left_of_rewards)
    return bool((rest**2).sum() <= LEFT_BY_LEAK * left)


def _tells_next_state(series: pd.Series, sample: Sample) -> bool:
    """Tell whether a column tells the next state where state and action do not."""
    if sample.is_open < OPEN_NEXT_STATES:
        return False
    cells = _cells(series, sample)
    if cells is None:
        return False
    is_open, with_others = _not_told(cells, sample.next_codes)
    return with_others >= 0.5 and is_open <= LEFT_BY_LEAK

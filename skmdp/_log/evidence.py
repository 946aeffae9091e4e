"""What is kept of logs: counts under labels, and where episodes start. Logs may be added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._estimation.counts import (
    TransitionCounts,
    count_transitions,
    merge_counts,
    merge_sorted,
    sum_by_code,
)
from skmdp._estimation.packing import BLOCK_ROWS
from skmdp._log.discounting import Discounting, discount_alike, discount_rows
from skmdp._log.episodes import Transitions
from skmdp._log.index import LabelIndex
from skmdp._log.labels import EXACT_FLOAT, LabelColumn, match_kind
from skmdp._log.marks import EpisodeMarks
from skmdp._log.refusals import refusal
from skmdp._messages import quoted, shown
from skmdp._typing import Floats, Integers


@dataclass(frozen=True, eq=False)
class Evidence:
    """The sufficient statistic of one or several logs.

    ``start_weights`` (n_states,) is the weight of the episodes that start in each state, of all
    rows where episodes are unknown (``n_episodes`` is None). ``n_cut`` and ``n_ended`` count those
    of which it is known that they went on after their last row, or ended there.
    ``state_squares`` (n_states,) are the weighted sums of the squared rewards of each state (None:
    no rewards, or none were kept). ``discounting`` tells how durations went into the counts (None:
    they did not).
    """

    states: LabelIndex
    actions: LabelIndex
    counts: TransitionCounts
    start_weights: Floats
    has_rewards: bool
    n_transitions: int
    n_episodes: int | None
    n_truncated: int
    episode_marks: EpisodeMarks | None = None
    n_cut: int | None = None
    n_ended: int | None = None
    state_squares: Floats | None = None
    discounting: Discounting | None = None

    @property
    def initial_distribution(self) -> Floats:
        """Share of the episodes that start in each state, (n_states,)."""
        return np.asarray(self.start_weights / self.start_weights.sum())

    def told_ends(self) -> str:
        """Say how the episodes ended, nothing where there are none."""
        if self.n_episodes is None or self.n_cut is None or self.n_ended is None:
            return ""
        counts = {"ended": self.n_ended, "broke off": self.n_cut}
        counts["not told"] = self.n_episodes - self.n_cut - self.n_ended
        said = [f"{n:,} {word}" for word, n in counts.items() if n]
        return f"{self.n_episodes:,} episode(s): {', '.join(said)}"

    def told_unit(self) -> str:
        """Say which unit of time discounts are for, nothing where they are for plain numbers."""
        if self.discounting is None or self.discounting.unit is None:
            return ""
        return f"gamma is per {self.discounting.unit}"

    def faded(self, factor: float) -> Evidence:
        """Return the evidence where every row weighs ``factor`` as much as before."""
        if factor == 1:
            return self
        counts = self.counts.faded(factor)
        if len(self.counts.weights) and not len(counts.weights):
            raise ValueError(
                f"With forget={shown(factor)}, all rows of earlier batches weigh almost nothing. "
                "Call fit to start anew."
            )
        squares = None if self.state_squares is None else factor * self.state_squares
        starts = factor * self.start_weights
        return replace(self, counts=counts, start_weights=starts, state_squares=squares)


def check_forget(forget: Any) -> None:
    """Raise unless earlier batches may be weighed by this factor."""
    is_number = isinstance(forget, Real) and not isinstance(forget, bool)
    if not (is_number and 0 < forget <= 1):
        raise ValueError(
            f"forget must be a number above 0 and at most 1, got {shown(forget)}: the factor by "
            "which earlier batches weigh less. 1 forgets nothing; to forget everything, call fit."
        )


def gather(log: Transitions, *, keep_squares: bool = False, gamma: float | None = None) -> Evidence:
    """Count a log; squares of rewards, which variances need, are kept on demand.

    Durations are counted by the discounts that ``gamma`` makes of them; None leaves them out.
    """
    counts = count_transitions(
        log.state_codes,
        log.action_codes,
        log.next_codes,
        len(log.states),
        len(log.actions),
        weights=log.weights,
        rewards=log.rewards,
        sums=log.sums,
        keep_squares=keep_squares,
    )
    _require_finite_sums(log, counts)
    discounting = None
    if gamma is not None and log.durations is not None:
        counts, discounting = discount_rows(log, counts, gamma, keep_squares=keep_squares)
    starts = np.bincount(log.start_codes, log.start_weights, minlength=len(log.states))
    return Evidence(
        states=log.states,
        actions=log.actions,
        counts=counts,
        start_weights=starts.astype(np.float64, copy=False),
        has_rewards=log.rewards is not None,
        n_transitions=int(counts.n_rows.sum()),
        n_episodes=log.n_episodes,
        n_truncated=log.n_truncated,
        episode_marks=log.episode_marks,
        n_cut=log.n_cut,
        n_ended=log.n_ended,
        state_squares=_state_squares(log),
        discounting=discounting,
    )


def _state_squares(log: Transitions) -> Floats | None:
    """Sum the squared rewards of each state; those of huge rewards may be infinite."""
    if log.rewards is None:
        return None
    if log.sums is not None:
        return sum_by_code(log.state_codes, log.sums.squares, len(log.states))
    total = np.zeros(len(log.states))
    with np.errstate(over="ignore"):
        # Block by block: of a long log another array would show.
        for start in range(0, len(log.rewards), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            squares = log.rewards[block] ** 2
            if log.weights is not None:
                squares *= log.weights[block]
            total += sum_by_code(log.state_codes[block], squares, len(total))
    return total


def _require_finite_sums(log: Transitions, counts: TransitionCounts) -> None:
    """Raise where rewards, each of them finite, add up to more than float64 holds."""
    each = counts.reward_sums
    with np.errstate(over="ignore", invalid="ignore"):  # it is told below
        if np.isfinite(max(each.max(initial=0.0), -each.min(initial=0.0)) * len(each)):
            return  # so many of the largest would not overflow
        sums = counts.pair_rewards
        total = sums.sum()
    if not np.isfinite(total):
        pair = int(np.argmax(~np.isfinite(sums))) if not np.isfinite(sums).all() else 0
        raise refusal(
            "The rewards add up to more than float64 holds, such as those of action "
            f"{shown(log.actions.label(counts.pair_action[pair]))} in state "
            f"{shown(log.states.label(counts.pair_state[pair]))}. Scale the rewards down, such as "
            "by 1e-6; advice does not depend on their unit.",
            "huge_rewards",
        )


def add(earlier: Evidence, later: Evidence) -> tuple[Evidence, Integers]:
    """Add up two logs; labels missing from one of them are added.

    Returns the sum, and the code in it of each state of the earlier log.
    """
    if earlier.states.names != later.states.names:
        raise ValueError(
            f"The state columns were {quoted(earlier.states.names)} before and are "
            f"{quoted(later.states.names)} now. Use the same ones, or call fit to start anew."
        )
    if earlier.has_rewards != later.has_rewards:
        before, now = ("with", "without") if earlier.has_rewards else ("without", "with")
        raise ValueError(
            f"The batches before came {before} rewards, this one {now}. Hand in rewards with all "
            "batches or with none, or call fit to start anew."
        )
    if (earlier.n_episodes is None) != (later.n_episodes is None):
        before, now = ("with", "without") if later.n_episodes is None else ("without", "with")
        raise ValueError(
            f"The batches before came {before} episodes, this one {now}. Name the episodes in all "
            "batches or in none, or call fit to start anew."
        )
    (earlier_counts, later_counts), discounting = discount_alike(
        (earlier.counts, earlier.discounting), (later.counts, later.discounting)
    )
    states, old_state, new_state = _union(earlier.states, later.states)
    actions, old_action, new_action = _union(earlier.actions, later.actions)
    counts = merge_counts(
        (earlier_counts, old_state, old_action),
        (later_counts, new_state, new_action),
        len(states),
        len(actions),
    )
    starts = np.zeros(len(states))
    starts[old_state] += earlier.start_weights
    starts[new_state] += later.start_weights
    marks = None
    if earlier.episode_marks is not None and later.episode_marks is not None:
        marks = earlier.episode_marks.merge(later.episode_marks)
    squares = None
    if earlier.state_squares is not None and later.state_squares is not None:
        squares = np.zeros(len(states))
        squares[old_state] += earlier.state_squares
        squares[new_state] += later.state_squares
    both = Evidence(
        states=states,
        actions=actions,
        counts=counts,
        start_weights=starts,
        has_rewards=later.has_rewards,
        n_transitions=earlier.n_transitions + later.n_transitions,
        n_episodes=_sum_if_known(earlier.n_episodes, later.n_episodes),
        n_truncated=earlier.n_truncated + later.n_truncated,
        episode_marks=marks,
        n_cut=_sum_if_known(earlier.n_cut, later.n_cut),
        n_ended=_sum_if_known(earlier.n_ended, later.n_ended),
        state_squares=squares,
        discounting=discounting,
    )
    return both, old_state


def _sum_if_known(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def require_one_unit(logs: Sequence[Evidence]) -> None:
    """Raise if logs are discounted by different units of time, each that of its own rows."""
    units = sorted({str(one.discounting.unit) for one in logs if one.discounting is not None})
    if len(units) > 1:
        raise ValueError(
            f"The durations of the members' logs would be counted in {quoted(units)}, so gamma "
            "would mean different things to them. Say which unit it is for: duration_unit=..."
        )


def _union(earlier: LabelIndex, later: LabelIndex) -> tuple[LabelIndex, Integers, Integers]:
    """Return the labels of both, and the new code of each one's labels, which rise as before."""
    columns: list[npt.NDArray[Any]] = []
    kinds: list[str] = []
    keys: list[npt.NDArray[np.int64]] = []
    for j, column in enumerate(later.as_columns()):
        kind, before, now = _common_kind(earlier.kinds[j], earlier.columns[j], column)
        values, places = merge_sorted(before, now)
        columns.append(values)
        kinds.append(kind)
        if j == 0:
            codes = places
            continue
        renumbered = []
        for index, codes_before, place in zip((earlier, later), codes, places, strict=True):
            prefix, part = np.divmod(index.keys[j - 1], max(len(index.columns[j]), 1))
            renumbered.append(codes_before[prefix] * len(values) + place[part])
        occurring, codes = merge_sorted(*renumbered)
        keys.append(occurring)
    return LabelIndex(earlier.names, tuple(kinds), tuple(columns), tuple(keys)), *codes


def _common_kind(
    kind: str, values: npt.NDArray[Any], column: LabelColumn
) -> tuple[str, npt.NDArray[Any], npt.NDArray[Any]]:
    """Bring the labels of earlier batches and of a later one to one kind.

    Whole numbers become floats where the other ones are, as in one table of all batches.
    """
    if kind == column.kind:
        return kind, values, column.values
    if {kind, column.kind} == {"int", "float"}:
        whole = values if kind == "int" else column.values
        large = np.abs(whole.astype(np.float64)) >= EXACT_FLOAT
        if large.any():
            raise ValueError(
                f"Column {shown(column.name)} holds {shown(whole[large][0])} beside floats of "
                "other batches: from 2**53 on, floats do not hold every integer. Make the column "
                "integer or strings in all batches, and call fit to start anew."
            )
        return "float", values.astype(np.float64), column.values.astype(np.float64)
    if not len(values):  # nothing has counted so far
        return column.kind, column.values[:0], column.values
    other = "the same column in earlier batches"
    return kind, values, match_kind(column, kind, other=other, fractional="error").values

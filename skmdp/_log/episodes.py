"""Rows to episodes: their order, what followed each row, where episodes start and end.

Works on label columns and arrays, whatever table they came from; an error still names the column
and the row (counted from 0, as the table lies).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._estimation.packing import RowSums
from skmdp._log.durations import Amounts, Durations, differences, settle
from skmdp._log.ends import settle_ends, tells_ends
from skmdp._log.index import LabelIndex, index_labels
from skmdp._log.labels import MISSING, LabelColumn
from skmdp._log.lots import Lots
from skmdp._log.marks import EpisodeMarks
from skmdp._log.order import (
    NO_ROW,
    RowNumbers,
    by_first_date,
    episode_order,
    following_rows,
    order_of_decisions,
    require_last,
    require_steps,
)
from skmdp._log.roles import FROM_STEPS, Roles
from skmdp._log.sizes import require_powers
from skmdp._typing import Bools, Codes, Floats


@dataclass(frozen=True, eq=False)
class Transitions:
    """A log as arrays: one entry per row that counts (n,), and what is known of its episodes.

    ``next_codes`` is MISSING where the episode ended. ``weights`` None means one a row;
    ``rewards`` None means that the log has none. ``propensities`` holds the probability with which
    each logged action was taken, where it was handed in. ``start_codes`` and ``start_weights`` are
    the first states of the episodes, or all states where episodes are unknown. Rows lie episode by
    episode: ``episode_lengths`` (n_episodes,) counts those of each (None: unknown). ``longest`` is
    the number of rows of the longest episode, those that do not count included (None: unknown).
    ``n_cut`` and ``n_ended`` count the episodes that were still going on at their last row, and
    those that are known to have ended there (None: unknown). ``cut_share`` is the share of the
    episodes, weighed as starts, that were still going on at their last row (0: unknown),
    ``open_share`` the same if those go on, too, whose last row leads to a state that the log never
    acts in. ``has_gaps`` says whether rows of weight zero were left out between others,
    ``next_states_given`` whether next states were columns of their own, ``ends_told`` whether the
    log tells episodes that end from records that break off. ``episode_marks`` are the marks of the
    episodes (None: unknown, or too many). ``durations`` tell the time until the next decision
    (None: the log does not), ``longest_time`` how long the longest episode takes, those rows
    included that do not count (None: unknown). ``beside`` holds further columns, each (n,), that
    were asked for. ``step`` (n,) are the numbers by which rows were put in order (None: there are
    none).

    Of a lazy table an entry stands for all rows that agree: ``weights`` are then those of these
    rows together, and ``sums`` tells what else they add up to (None: nothing but rows that agree in
    the reward as well). Entries lie lot by lot where episodes were dealt to ``lots`` (None: they
    were not), and so do starts. ``broken_links`` counts of such a log the rows that do not lead to
    the row after them, and all that have one (None: unknown), ``n_lost`` those of which the next
    state is missing though it is no end.
    """

    states: LabelIndex
    actions: LabelIndex
    state_codes: Codes
    action_codes: Codes
    next_codes: Codes
    rewards: Floats | None
    weights: Floats | None
    propensities: Floats | None
    start_codes: Codes
    start_weights: Floats | None
    n_episodes: int | None
    n_truncated: int
    episode_lengths: RowNumbers | None
    longest: int | None
    n_cut: int | None
    n_ended: int | None
    cut_share: float
    open_share: float
    has_gaps: bool
    next_states_given: bool
    ends_told: bool
    episode_marks: EpisodeMarks | None
    durations: Durations | None = None
    longest_time: float | None = None
    beside: tuple[LabelColumn, ...] = ()
    step: npt.NDArray[Any] | None = None
    sums: RowSums | None = None
    lots: Lots | None = None
    broken_links: tuple[int, int] | None = None
    n_lost: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows that count."""
        return len(self.state_codes) if self.sums is None else int(self.sums.n_rows.sum())

    @property
    def unknown_time_share(self) -> float:
        """Share of the decisions left out because a record broke off before they were over.

        0 where all take equally long: else more of the long ones are left out than of the short.
        """
        if self.durations is None or self.durations.are_equal:
            return 0.0
        return self.n_truncated / (self.n_truncated + self.n_rows)


@dataclass(frozen=True, eq=False)
class LogRows:
    """The columns of a log as read, each (n_rows,); None for what the log does not have.

    ``has_dates`` says that steps are dates, ``to_judge`` that it is to be told how sure values are:
    then rewards must have powers, and episodes are in the order of dates.
    """

    roles: Roles
    states: list[LabelColumn]
    action: LabelColumn
    next_states: list[LabelColumn] | None = None
    rewards: Floats | None = None
    episode: LabelColumn | None = None
    step: LabelColumn | None = None
    step_numbers: npt.NDArray[Any] | None = None
    terminated: Bools | None = None
    truncated: Bools | None = None
    last_observations: Bools | None = None
    weights: Floats | None = None
    propensities: Floats | None = None
    durations: Amounts | None = None
    duration_unit: str | None = None
    settled_durations: Durations | None = None
    has_dates: bool = False
    to_judge: bool = False
    beside: tuple[LabelColumn, ...] = ()

    def _kept(self) -> Bools | None:
        """Return which rows count, None where all do."""
        kept = None if self.weights is None else self.weights > 0
        if self.last_observations is not None:
            decided = ~self.last_observations
            kept = decided if kept is None else kept & decided
        return None if kept is None or kept.all() else kept

    def select(self, order: RowNumbers | None) -> LogRows:
        """Return the rows that count in the given order: with weight, and with an action."""
        kept = self._kept()
        if order is None:
            if kept is None:
                return self
            rows = np.flatnonzero(kept)
        else:
            rows = order if kept is None else order[kept[order]]
        assert self.next_states is not None
        return replace(
            self,
            states=[column.take(rows) for column in self.states],
            action=self.action.take(rows),
            next_states=[column.take(rows) for column in self.next_states],
            rewards=_some(self.rewards, rows),
            episode=None if self.episode is None else self.episode.take(rows),
            step_numbers=_some(self.step_numbers, rows),
            terminated=_some(self.terminated, rows),
            truncated=_some(self.truncated, rows),
            weights=_some(self.weights, rows),
            propensities=_some(self.propensities, rows),
            settled_durations=_some(self.settled_durations, rows),
            beside=tuple(column.take(rows) for column in self.beside),
        )


def find_last_observations(
    action: LabelColumn,
    episode: LabelColumn | None,
    step_numbers: npt.NDArray[Any] | None,
    next_states: list[LabelColumn] | None,
) -> Bools | None:
    """Mark the rows that hold no decision but what was seen after the last one; None for none.

    They are the last of their episode, lack the action, and lead nowhere.
    """
    lacks_action = action.codes == MISSING
    if episode is None or not lacks_action.any():
        return None
    following = following_rows(episode.codes, episode_order(episode.codes, step_numbers))
    found: Bools = lacks_action & (following == NO_ROW)
    if next_states is not None:
        found &= next_states[0].codes == MISSING
    return found


def link_rows(rows: LogRows) -> Transitions:
    """Link rows to episodes and next states, drop rows of weight zero, number the labels."""
    if rows.to_judge:
        require_powers(rows.rewards, rows.roles.reward, rows.weights)
    rows, order = _in_order(rows)
    given = rows.next_states is not None
    if not given:
        rows = replace(rows, next_states=_infer_next_states(rows, order))
    if rows.last_observations is not None:
        rows = _settle_last_observations(rows, order)
    rows = _settle_durations(rows, order)
    has_gaps = rows.weights is not None and not rows.weights.all()
    rows = rows.select(order)
    assert rows.next_states is not None
    states, (state_codes, next_codes) = index_labels(rows.states, rows.next_states)
    actions, (action_codes,) = index_labels([rows.action])
    left_out = settle_ends(rows.terminated, rows.truncated, next_codes)
    counts: Any = slice(None) if left_out is None else ~left_out
    beside = rows.beside
    if left_out is not None:
        beside = tuple(column.take(np.flatnonzero(counts)) for column in beside)
    first, last = _episode_bounds(rows.episode)
    longest, lengths, marks, longest_time = None, None, None, None
    ends: dict[str, Any] = {"n_cut": None, "n_ended": None, "cut_share": 0.0, "open_share": 0.0}
    if rows.episode is not None:
        acted = np.zeros(len(states) + 1, dtype=bool)
        acted[state_codes[counts]] = True  # the last entry, for MISSING, stays False
        leads_on = acted[next_codes[last]], next_codes[last] != MISSING
        ends = _count_ends(rows, (first, last), leads_on, left_out, given=given)
        lengths, longest = _count_rows(first, last, left_out)
        marks = EpisodeMarks.of(rows.episode, last - first + 1)
        longest_time = _longest_time(rows.settled_durations, first)
    return Transitions(
        states=states,
        actions=actions,
        state_codes=state_codes[counts],
        action_codes=action_codes[counts],
        next_codes=next_codes[counts],
        rewards=_some(rows.rewards, counts),
        weights=_some(rows.weights, counts),
        propensities=_some(rows.propensities, counts),
        start_codes=state_codes[first],
        start_weights=_some(rows.weights, first),
        n_episodes=None if rows.episode is None else len(first),
        n_truncated=0 if left_out is None else int(left_out.sum()),
        episode_lengths=lengths,
        longest=longest,
        **ends,
        has_gaps=has_gaps,
        next_states_given=given,
        ends_told=tells_ends(rows.roles, rows.terminated, rows.truncated),
        episode_marks=marks,
        durations=_some(rows.settled_durations, counts),
        longest_time=longest_time,
        beside=beside,
        step=_some(rows.step_numbers, counts),
    )


def _in_order(rows: LogRows) -> tuple[LogRows, RowNumbers | None]:
    """Return the rows of each episode one after the other, as their order; None if they lie so.

    Where dates are asked for, episodes are in the order of their first ones.
    """
    episode, step = rows.episode, rows.step_numbers
    by_date = rows.to_judge and rows.has_dates
    if episode is None:
        if not by_date:
            return rows, None
        assert step is not None
        return rows, order_of_decisions([*rows.states, rows.action], rows.rewards, step)
    order = episode_order(episode.codes, step)
    if by_date and len(episode.codes):
        assert step is not None
        episode, order = by_first_date(episode, step, order)
    return replace(rows, episode=episode), order


def _some(values: Any, rows: Any) -> Any:
    """Return the values of some rows, None where there are no values."""
    return None if values is None else values[rows]


def _mean(flags: Bools, weights: Floats | None) -> float:
    """Return the share of flags that are True, 0 of none."""
    return float(np.average(flags, weights=weights)) if len(flags) else 0.0


def _count_ends(
    rows: LogRows,
    bounds: tuple[RowNumbers, RowNumbers],
    leads_on: tuple[Bools, Bools],
    left_out: Bools | None,
    *,
    given: bool,
) -> dict[str, Any]:
    """Count how episodes ended; of what leads on there are two answers, each (n_episodes,)."""
    first, last = bounds
    weights = _some(rows.weights, first)
    cut, may_be_cut = (_are_cut(rows, last, goes_on, left_out) for goes_on in leads_on)
    n_cut, is_told = int(cut.sum()), tells_ends(rows.roles, rows.terminated, rows.truncated)
    return {
        "n_cut": n_cut,
        "n_ended": len(cut) - n_cut if given or is_told else 0,
        "cut_share": _mean(cut, weights),
        "open_share": _mean(may_be_cut, weights),
    }


def _count_rows(
    first: RowNumbers, last: RowNumbers, left_out: Bools | None
) -> tuple[RowNumbers, int]:
    """Return how many rows of each episode count, and how many the longest has in all."""
    lengths = last - first + 1
    longest = int(lengths.max(initial=0))
    if left_out is not None:
        lengths = lengths - np.diff(np.cumsum(left_out)[last], prepend=0)
    return lengths, longest


def _longest_time(durations: Durations | None, first: RowNumbers) -> float | None:
    """Return the time that the longest episode takes, None where that is unknown."""
    return None if durations is None or not len(first) else durations.longest_sum(first)


def _are_cut(rows: LogRows, last: RowNumbers, goes_on: Bools, left_out: Bools | None) -> Bools:
    """Tell which episodes were still going on at their last row, (n_episodes,).

    ``goes_on`` (n_episodes,): the last row leads to a state that the log acts in.
    """
    cut = goes_on
    if left_out is not None:
        cut = cut | left_out[last]
    if rows.truncated is not None:
        ended = False if rows.terminated is None else rows.terminated[last]
        cut = cut | (rows.truncated[last] & ~np.asarray(ended))
    return cut


def _infer_next_states(rows: LogRows, order: RowNumbers | None) -> list[LabelColumn]:
    """Read the next state off the following row of the same episode."""
    episode = rows.episode
    assert episode is not None
    if rows.step is not None:
        assert rows.step_numbers is not None
        may_have_gaps = rows.roles.duration == FROM_STEPS
        require_steps(episode, rows.step, rows.step_numbers, order, may_have_gaps=may_have_gaps)
    following = following_rows(episode.codes, order)
    goes_on = following != NO_ROW
    if rows.last_observations is not None:  # there nothing is decided
        goes_on &= ~rows.last_observations[following]
    require_last(rows.roles.terminated, rows.terminated, episode, following, goes_on)
    require_last(rows.roles.truncated, rows.truncated, episode, following, goes_on)
    return [column.take(following) for column in rows.states]


def _settle_last_observations(rows: LogRows, order: RowNumbers | None) -> LogRows:
    """Let the row before each last observation tell how its episode stopped.

    It is terminated if either row is marked so. Else the episode is cut there, as by a truncated
    mark beside a given next state.
    """
    assert rows.episode is not None
    assert rows.next_states is not None
    assert rows.last_observations is not None
    following = following_rows(rows.episode.codes, order)
    before = np.flatnonzero((following != NO_ROW) & rows.last_observations[following])
    terminated = rows.terminated
    if terminated is not None:
        terminated = terminated.copy()
        terminated[before] |= terminated[following[before]]
    n_rows = len(following)
    truncated = np.zeros(n_rows, dtype=bool) if rows.truncated is None else rows.truncated.copy()
    truncated[before] |= rows.next_states[0].codes[before] != MISSING
    return replace(rows, terminated=terminated, truncated=truncated)


def _settle_durations(rows: LogRows, order: RowNumbers | None) -> LogRows:
    """Bring durations to one unit; only rows that lead nowhere may lack theirs."""
    amounts = rows.durations
    if amounts is None:
        return rows
    assert rows.next_states is not None
    of_steps = rows.roles.duration == FROM_STEPS
    if of_steps:
        assert rows.episode is not None
        amounts = differences(amounts, following_rows(rows.episode.codes, order))
    leads_on = rows.next_states[0].codes != MISSING
    if rows.terminated is not None:
        leads_on &= ~rows.terminated
    if rows.weights is not None:
        leads_on &= rows.weights > 0
    settled = settle(amounts, leads_on, rows.duration_unit, of_steps=of_steps)
    return replace(rows, settled_durations=settled)


def _episode_bounds(episode: LabelColumn | None) -> tuple[Any, Any]:
    """Return the first and the last row of every episode; all rows where there are none."""
    if episode is None:
        return slice(None), slice(None)
    codes = episode.codes
    is_first = np.ones(len(codes) + 1, dtype=bool)  # the row after the last one would be
    np.not_equal(codes[1:], codes[:-1], out=is_first[1:-1])
    first = np.flatnonzero(is_first)
    return first[:-1], first[1:] - 1

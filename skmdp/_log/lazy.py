"""Lazy tables: grouped on their own engine, so that only distinct transitions come to memory.

What comes in: any table that narwhals calls a LazyFrame (polars, DuckDB, Ibis, PySpark, SQLFrame).
What goes out: ``Transitions`` of which each entry stands for all rows that agree, as if a table of
these entries had been read with their numbers of rows as weights. So whatever is wrong with a table
is refused as it is in ``reading``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._estimation.packing import RowSums
from skmdp._log.durations import Durations
from skmdp._log.ends import settle_ends, tells_ends
from skmdp._log.engines import Tell, collect, count_rows, require_affordable, stage_of
from skmdp._log.episodes import Transitions
from skmdp._log.frames import as_lazy, line_to_collect
from skmdp._log.grouping import Asked, canonical, check_types, group
from skmdp._log.groups import Entries, Groups, counting_groups, read_groups
from skmdp._log.index import index_labels
from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING, join_columns
from skmdp._log.lazy_links import broken_links, count_lost
from skmdp._log.lots import Lots, deal
from skmdp._log.marks import MOST_EPISODES, EpisodeMarks
from skmdp._log.missing import nothing_counts
from skmdp._log.numbers import require_weights
from skmdp._log.reading import no_rows
from skmdp._log.roles import (
    Roles,
    check_roles,
    find_next_names,
    nothing_follows,
    warn_of_near_names,
)
from skmdp._log.sizes import require_powers
from skmdp._log.spread import find_scale, spread_of
from skmdp._log.steps import with_steps
from skmdp._log.taken import Taken, Times, find_taken, with_durations
from skmdp._messages import quoted
from skmdp._typing import Bools, Codes, Names


def read_lazy(
    X: Any,
    roles: Roles,
    sample_weight: Any = None,
    *,
    gamma: float | None = None,
    duration_unit: str | None = None,
    times: Times = "never",
    lot: tuple[int, ...] | None = None,
    needs_starts: bool = True,
    may_count_nothing: bool = False,
    tell: Tell | None = None,
) -> Transitions:
    """Read a lazy table by a group-by on its engine.

    ``sample_weight`` names a column. Durations are added up as the discounts that ``gamma`` makes
    of them (None leaves them out). ``times`` says whether rows are kept apart that agree in all but
    the duration: if records break off, by a second group-by. Where policies are to be judged,
    episodes are dealt to lots by the coefficients ``lot`` (None: they are not); where it is unknown
    where they start, that is refused, unless nobody ``needs_starts``: then they are not dealt.
    ``tell`` is told of each stage; the others are as in ``read_table``.
    """
    lazy = as_lazy(X)
    assert lazy is not None
    asked = _ask(lazy, roles, sample_weight, lot, needs_starts=needs_starts)
    warn_of_near_names(roles, list(asked.schema))
    with stage_of(lazy, "writing the query"):
        rows = canonical(lazy, asked)
    rows, taken = find_taken(rows, asked, duration_unit, tell)
    differ = taken is not None and taken.shortest < taken.longest

    def count(asked: Asked) -> Transitions:
        return _count(
            lazy, rows, asked, taken, gamma, lot, tell, may_count_nothing=may_count_nothing
        )

    by_duration = replace(asked, by_duration=differ)
    log = count(by_duration if times == "always" else asked)
    if times == "if cut" and differ and log.cut_share > 0:
        log = count(by_duration)
    if not (asked.dealt and asked.keeps_spread and lot is not None):
        return log
    return with_steps(log, deal(rows, asked.episodes, lot), asked, tell)


def _count(
    lazy: nw.LazyFrame[Any],
    rows: nw.LazyFrame[Any],
    asked: Asked,
    taken: Taken | None,
    gamma: float | None,
    lot: tuple[int, ...] | None,
    tell: Tell | None,
    *,
    may_count_nothing: bool,
) -> Transitions:
    """Group the rows that agree in what is asked for, and link what comes back."""
    discount = None if taken is None or asked.by_duration else taken.discount(gamma)
    scale = find_scale(rows, asked, tell)
    n_rows, n_rewards = count_rows(lazy, asked.roles.reward, tell)
    if not (n_rows or may_count_nothing):
        raise no_rows()
    asked = replace(asked, lacks_rewards=n_rewards != n_rows)
    with stage_of(lazy, "writing the query"):
        dealt = deal(rows, asked.episodes, lot) if asked.dealt and lot is not None else rows
        groups = group(dealt, asked, discount, scale)
    require_affordable(n_rows, groups, tell)
    found = Groups(collect(groups, "grouping the rows", tell))
    with counting_groups():
        entries = read_groups(found, asked)
    marks = _find_marks(rows, found, asked, tell)
    log = _link(entries, asked, found, marks, scale)
    if asked.looks_after and not log.ends_told:
        log = replace(log, n_lost=count_lost(rows, asked, found, tell))
    if taken is not None:
        log = with_durations(log, rows, asked, taken, tell)
    if not (may_count_nothing or len(log.state_codes)):
        raise nothing_counts(log.n_truncated)
    return log


def _ask(
    lazy: nw.LazyFrame[Any],
    roles: Roles,
    sample_weight: Any,
    lot: tuple[int, ...] | None,
    *,
    needs_starts: bool,
) -> Asked:
    """Find out what a lazy table has, and refuse one that lacks what is needed."""
    with stage_of(lazy, "reading the names and types of the columns"):
        schema = dict(lazy.collect_schema())
    columns = list(schema)
    check_roles(roles, columns)
    _check_weight(sample_weight, columns)
    nexts = find_next_names(roles.state, roles.next_state, columns)
    has_episodes = bool(roles.names("episode")) and set(roles.names("episode")) <= set(columns)
    is_ordered = has_episodes and roles.step is not None and roles.step in columns
    if nexts is None and not has_episodes:
        raise nothing_follows(roles, columns)
    is_judged = lot is not None
    if not is_ordered:
        judged = is_judged and has_episodes and needs_starts
        _require_no_order(lazy, roles, columns, nexts, judged=judged)
    # Nobody asks for the spread of weighed rewards.
    keeps_spread = is_judged and sample_weight is None and roles.reward is not None
    asked = Asked(
        roles,
        nexts,
        is_ordered,
        sample_weight,
        schema,
        keeps_spread=keeps_spread,
        dealt=is_judged and is_ordered,
    )
    check_types(lazy, asked)
    return asked


def _require_no_order(
    lazy: nw.LazyFrame[Any], roles: Roles, columns: list[str], nexts: Names | None, *, judged: bool
) -> None:
    """Raise where rows need an order, and there is none."""
    if nexts is not None and not judged:
        return
    why, remedy = "Next states are read off the following row", "add next-state column(s), "
    if nexts is not None:
        why, remedy = "Policies are followed from the first rows of held-out episodes on", ""
    raise ValueError(
        f"{why}, but the rows of a lazy table have no order without a column of steps "
        f"({quoted(roles.names('step')) or None}). Name one with step=..., {remedy}or collect the "
        f"table: {line_to_collect(lazy)}. It has the column(s) {quoted(columns)}."
    )


def _check_weight(sample_weight: Any, columns: list[str]) -> None:
    """Raise unless weights are a column of the table, or there are none."""
    if sample_weight is None:
        return
    if not isinstance(sample_weight, str):
        raise TypeError(
            f"sample_weight of a lazy table names a column of it, got "
            f"{type(sample_weight).__name__}: the rows of a lazy table have no order that weights "
            "could follow. Make the weights a column, and name it."
        )
    require_weights(sample_weight, columns)


# ------------------------------------------------------------------------------------- transitions


def _find_marks(
    rows: nw.LazyFrame[Any], found: Groups, asked: Asked, tell: Tell | None
) -> EpisodeMarks | None:
    """Return the marks of the episodes, None where there are none or too many."""
    if not asked.is_ordered or _n_episodes(found) > MOST_EPISODES:
        return None
    kept = rows.filter(nw.col("is_kept")).group_by(*asked.episodes)
    table = collect(kept.agg(nw.len().alias("n_rows")), "listing the episodes", tell)
    names = zip(asked.episodes, asked.roles.names("episode"), strict=True)
    columns = [read_labels(table.labels(own), name) for own, name in names]
    column = columns[0] if len(columns) == 1 else join_columns(columns)
    lengths = np.zeros(len(column.values), dtype=np.int64)
    lengths[column.codes] = table.column("n_rows").to_numpy(np.float64)
    return EpisodeMarks.of(column, lengths)


def _n_episodes(found: Groups) -> int:
    return int(found.n_rows[found.flags("is_last")].sum())


def _link(
    entries: Entries,
    asked: Asked,
    found: Groups,
    marks: EpisodeMarks | None,
    scale: tuple[float, float] | None,
) -> Transitions:
    """Give labels their numbers, and tell what is known of the episodes."""
    kept = found.kept_groups
    if kept is not None:
        found, entries = found.select(kept), entries.select(kept)
    states, (state_codes, next_codes) = index_labels(entries.states, entries.next_states)
    actions, (action_codes,) = index_labels([entries.action])
    terminated, truncated = entries.terminated, entries.truncated
    left_out = settle_ends(terminated, truncated, next_codes)
    counts: Any = slice(None) if left_out is None else ~left_out
    sums = _sums(found, asked, scale)
    weights = sums.n_rows if asked.weight is None else found.numbers("sum_weight")
    durations = None
    if asked.by_duration:
        durations = Durations(found.numbers("duration")[counts], None)
    rewards = None
    if asked.roles.reward is not None:
        rewards = sums.rewards / weights
    ends: dict[str, Any] = {"start_codes": state_codes, "start_weights": weights}
    is_told = tells_ends(asked.roles, terminated, truncated)
    if asked.is_ordered:
        acted = np.zeros(len(states) + 1, dtype=bool)
        acted[state_codes[counts]] = True  # the last entry, for MISSING, stays False
        ends = _find_ends(found, asked, state_codes)
        ends |= _count_ends(
            found,
            asked,
            (acted[next_codes], next_codes != MISSING),
            _broke_off(terminated, truncated, left_out, len(state_codes)),
            is_told=asked.next_state is not None or is_told,
        )
    return Transitions(
        states=states,
        actions=actions,
        state_codes=state_codes[counts],
        action_codes=action_codes[counts],
        next_codes=next_codes[counts],
        rewards=None if rewards is None else rewards[counts],
        weights=weights[counts],
        propensities=None,
        n_truncated=0 if left_out is None else int(sums.n_rows[left_out].sum()),
        episode_lengths=None,
        has_gaps=False,
        next_states_given=asked.next_state is not None,
        ends_told=is_told,
        episode_marks=marks,
        durations=durations,
        sums=sums[counts],
        lots=_lots(found, counts) if asked.dealt else None,
        broken_links=broken_links(found) if asked.compares_links else None,
        **{**_NO_EPISODES, **ends},
    )


_NO_EPISODES = {
    "n_episodes": None,
    "longest": None,
    "n_cut": None,
    "n_ended": None,
    "cut_share": 0.0,
    "open_share": 0.0,
}


def _lots(found: Groups, counts: Any) -> Lots:
    """Return how many entries that count belong to each lot, and how many starts."""
    lot = found.numbers("lot").astype(np.int64)
    return Lots.of_entries(lot[counts], lot[found.flags("is_first")])


def _sums(found: Groups, asked: Asked, scale: tuple[float, float] | None) -> RowSums:
    """Return what the rows of each group add up to."""
    has_rewards = asked.roles.reward is not None
    nothing = np.zeros(len(found.n_rows))
    if asked.keeps_spread and asked.roles.reward is not None:
        means = np.abs(found.numbers("sum_rewards")) / found.n_rows
        sizes = np.sqrt(found.numbers("sum_squares") / found.n_rows)
        sizes = np.where(np.isinf(sizes), np.maximum(means, 1e154), np.maximum(sizes, means))
        require_powers(sizes, asked.roles.reward, are_rows=False)
    return RowSums(
        n_rows=found.n_rows,
        rewards=found.numbers("sum_rewards") if has_rewards else nothing,
        squares=found.numbers("sum_squares") if has_rewards else nothing,
        weights_count_rows=asked.weight is None or not found.total("sum_fractions"),
        **{
            name: found.numbers(f"sum_{name}")
            for name in ("discounts", "discount_squares", "reward_discounts")
            if found.has(f"sum_{name}")
        },
        **({} if scale is None else spread_of(found, scale[1])),
    )


def _find_ends(found: Groups, asked: Asked, state_codes: Codes) -> dict[str, Any]:
    """Return where episodes start, and how many rows the longest of them has."""
    first, last = found.flags("is_first"), found.flags("is_last")
    starts = found.n_rows if asked.weight is None else found.numbers("sum_weight")
    return {
        "start_codes": state_codes[first],
        "start_weights": starts[first],
        "n_episodes": int(found.n_rows[last].sum()),
        "longest": int(found.numbers("longest").max(initial=0)),
    }


def _broke_off(
    terminated: Bools | None, truncated: Bools | None, left_out: Bools | None, n: int
) -> Bools:
    """Tell which rows say themselves that the record goes no further, (n,)."""
    broke_off = np.zeros(n, dtype=bool) if left_out is None else left_out.copy()
    if truncated is not None:
        broke_off |= truncated if terminated is None else truncated & ~terminated
    return broke_off


def _count_ends(
    found: Groups,
    asked: Asked,
    leads_on: tuple[Bools, Bools],
    broke_off: Bools,
    *,
    is_told: bool,
) -> dict[str, Any]:
    """Count how episodes ended; of what leads on there are two answers, each (n_groups,)."""
    last = np.flatnonzero(found.flags("is_last"))
    n = found.n_rows[last]
    weights = n if asked.weight is None else found.numbers("sum_episode_weight")[last]
    cut, may_be_cut = ((goes_on | broke_off)[last] for goes_on in leads_on)
    n_cut = int(n[cut].sum())
    return {
        "n_cut": n_cut,
        "n_ended": int(n.sum()) - n_cut if is_told else 0,
        "cut_share": float(np.average(cut, weights=weights)) if len(last) else 0.0,
        "open_share": float(np.average(may_be_cut, weights=weights)) if len(last) else 0.0,
    }

"""When the rows of a lazy table were, and what lots of episodes were paid then.

A drift of rewards is looked for over the steps of episodes, in blocks of about as many rows. How
many rows there are at each step follows from how long episodes are. Where steps count on from one
episode to the next, it is looked for over these as well. Two small tables come to memory each time:
the number of rows of each state, action and next state by moment with their rewards, and for each
lot and block the rewards less the mean of those of the same state and action. Moments are steps, or
bins of them that are much narrower than blocks: of two days one may be good and one bad, which is
seen where rows of one day are compared. And one day may be good for the episodes that start then,
as long as they go on: rows are counted by these days as well, lot by lot.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._evaluation.time_blocks import blocks_of_steps
from skmdp._log.dates import N_BINS, bins_of, when
from skmdp._log.engines import Tell, collect, fetch, stage_of
from skmdp._log.episodes import Transitions
from skmdp._log.grouping import Asked, is_missing
from skmdp._log.groups import Groups
from skmdp._log.labels import MISSING
from skmdp._log.lazy_copies import (
    TOLD,
    counted_alike,
    read_alike,
    told_of_episodes,
    told_of_rows,
)
from skmdp._log.lots import LOTS_OF_BLOCK, N_COHORTS, StartSums, StepSums
from skmdp._typing import Floats, Integers

# Cells of state, action, lot and block that come to memory at once: a bound on what that takes.
MOST_CELLS = 2**20
# Moments are N_BINS, or as many as leave so many rows of a state, action and next state in each.
ROWS_OF_MOMENT = 20


def with_steps(
    log: Transitions, rows: nw.LazyFrame[Any], asked: Asked, tell: Tell | None
) -> Transitions:
    """Return a log of which the lots tell of the steps of their rows, which were dealt to them."""
    assert log.lots is not None
    with stage_of(rows, "writing the query"):
        numbers = when(asked)
        rows = rows.with_columns(counts=_counts(asked), **_led_to(asked))
        rows = rows.with_columns(when=nw.lit(0.0) if numbers is None else numbers)
        lengths = _lengths(rows, asked)
    found = Groups(collect(lengths, "looking for the lengths of episodes", tell))
    block_of = _blocks(found)
    cuts: Any = np.flatnonzero(np.diff(block_of)) + 1
    is_numbered = asked.step_is_whole and bool(found.flags("follow").all())
    with stage_of(rows, "writing the query"):
        rows = _with_places(rows, asked, is_numbered).filter(nw.col("counts"))
    add_up = partial(_add_up, log, asked=asked, tell=tell)
    n_moments, n_places = _n_moments(log), len(block_of)
    moment = None
    if len(cuts) + 1 < min(n_places, n_moments):
        moment = nw.col("place") // (1 + (n_places - 1) // n_moments)
    by_place = add_up(_in_blocks(rows, "place", cuts), len(cuts) + 1, moment)
    dates = None
    first, latest = found.numbers("first_when"), found.numbers("latest_when").max()
    if first.min() < found.numbers("last_first_when").max():
        bins, cuts = bins_of(rows, first.min(), latest, tell)
        moment = replace(bins, n_bins=n_moments).of_rows() if len(cuts) + 1 < n_moments else None
        by_step = add_up(_in_blocks(rows, "when", cuts), len(cuts) + 1, moment)
        dates = by_step, _by_start(log, rows, asked, tell)
    lots = replace(log.lots, steps=by_place, dates=dates, alike=read_alike(found))
    return replace(log, lots=lots)


def _by_start(
    log: Transitions, rows: nw.LazyFrame[Any], asked: Asked, tell: Tell | None
) -> StartSums:
    """Add up the rewards for states and actions by lot, and by when their episodes start."""
    n_cohorts = max(1, min(N_COHORTS, MOST_CELLS // (_n_triples(log) * LOTS_OF_BLOCK)))
    with stage_of(rows, "writing the query"):
        moment = nw.col("cohort") * n_cohorts // N_COHORTS
        rows = rows.with_columns(moment=moment, n=nw.lit(1), rewards=nw.col("reward"))
        cells = _added_up(rows, *asked.triple, "lot", "moment")
    found = Groups(collect(cells, "adding up rewards by start", tell))
    return StartSums(**_read_cells(log, found, asked, "lot"))


def _n_moments(log: Transitions) -> int:
    """Return at how many moments the rows of a log are counted at most, by what they agree in."""
    n_triples = _n_triples(log)
    n_rows = 0 if log.weights is None else int(log.weights.sum())
    most = max(1, MOST_CELLS // n_triples)
    # Of few rows all may be counted one by one, whatever moments there are.
    if n_rows <= N_BINS * n_triples:
        return most
    return min(most, max(N_BINS, n_rows // (ROWS_OF_MOMENT * n_triples)))


def _n_triples(log: Transitions) -> int:
    n_actions, n_states = len(log.actions), len(log.states)
    pair = log.state_codes.astype(np.int64) * n_actions + log.action_codes
    return max(1, len(np.unique(pair * (n_states + 1) + log.next_codes + 1)))


def _add_up(
    log: Transitions,
    rows: nw.LazyFrame[Any],
    n_blocks: int,
    moment: nw.Expr | None,
    *,
    asked: Asked,
    tell: Tell | None,
) -> StepSums:
    """Add up the rewards by moment for states and actions, and by block for lots.

    Moments are blocks if None.
    """
    assert log.lots is not None
    if n_blocks == 1:
        return StepSums.of_one_block(log.lots)
    n_lots, doing = len(log.lots.lengths), "adding up rewards by step"
    with stage_of(rows, "writing the query"):
        cells = _cells(rows, asked)
    # Of the rows of an entry some lie in each block at most. Then rows are run through but once.
    are_here = len(log.state_codes) * n_blocks <= MOST_CELLS
    if are_here:
        cells = fetch(cells, doing, tell).lazy()
    with stage_of(rows, "writing the query"):
        of_lots = _by_lot(cells, asked)
        if moment is None:
            counted = cells.with_columns(moment=nw.col("block"))
        else:
            counted = rows.with_columns(moment=moment, n=nw.lit(1), rewards=nw.col("reward"))
        of_triples = _added_up(counted, *asked.triple, "block", "moment")
    is_known = are_here and moment is None
    triples = Groups(collect(of_triples, "counting the rows by step", None if is_known else tell))
    lots = Groups(collect(of_lots, doing, None if are_here else tell))
    amounts = np.zeros((n_lots, n_blocks))
    lot, block = (lots.numbers(name).astype(np.int64) for name in ("lot", "block"))
    amounts[lot, block] = lots.numbers("amount")
    return StepSums(**_read_cells(log, triples, asked, "block"), of_lots=amounts)


def _read_cells(log: Transitions, found: Groups, asked: Asked, within: str) -> dict[str, Any]:
    """Return the columns of ``CellSums``, and that of lots or blocks ``within`` which they are.

    In the order of the latter, and one that is the same whatever that of an engine is.
    """
    states = [found.labels(f"state{j}", name) for j, name in enumerate(asked.roles.state)]
    keys = {
        "state_codes": log.states.encode(states),
        "action_codes": log.actions.encode([found.labels("action", asked.roles.action)]),
        "next_codes": _next_codes(log, found, asked),
        "moment": found.numbers("moment").astype(np.int64),
        within: found.numbers(within).astype(np.int64),
    }
    order = np.lexsort(tuple(keys.values()))
    sums = {"n_rows": found.n_rows, "rewards": found.numbers("rewards")}
    return {name: of[order] for name, of in (keys | sums).items()}


def _next_codes(log: Transitions, triples: Groups, asked: Asked) -> Integers:
    """Return the codes of the states that rows led to, MISSING where they led nowhere."""
    names = asked.roles.state if asked.next_state is None else asked.next_state
    columns = [triples.labels(f"to{j}", name) for j, name in enumerate(names)]
    codes = np.full(len(triples.n_rows), MISSING)
    leads_on = np.flatnonzero(columns[0].codes != MISSING)
    if len(leads_on):
        codes[leads_on] = log.states.encode([column.take(leads_on) for column in columns])
    return codes


def _counts(asked: Asked) -> nw.Expr:
    """Tell which rows count, as ``settle_ends`` tells it of groups.

    All do that have an action, where no other may lack it. That takes no window.
    """
    counts = ~nw.col("lacks_action")
    if not (asked.has("terminated") or asked.has("truncated")):
        return counts
    dtype = asked.schema[str((asked.next_state or asked.roles.state)[0])]
    leads_on = ~is_missing("next0", dtype)
    if not asked.has("terminated"):
        return counts & (leads_on | ~_is_marked("truncated"))
    return counts & (leads_on | _ended())


def _led_to(asked: Asked) -> dict[str, nw.Expr]:
    """Return where rows led to, null where they led nowhere."""
    nexts = {f"to{j}": nw.col(f"next{j}") for j in range(len(asked.roles.state))}
    if not asked.has("terminated"):
        return nexts
    return {name: nw.when(~_ended()).then(next_state) for name, next_state in nexts.items()}


def _ended() -> nw.Expr:
    """Tell which rows are marked as the last ones, or lead to what is."""
    after = _is_true(nw.col("is_before_seen")) & _is_marked("terminated_after")
    return _is_marked("terminated") | after


def _is_marked(flag: str) -> nw.Expr:
    return _is_true(nw.col(flag).cast(nw.Float64) == nw.lit(1.0))


def _is_true(said: nw.Expr) -> nw.Expr:
    """Take what is missing for False."""
    return nw.when(said).then(nw.lit(True)).otherwise(nw.lit(False))


def _lengths(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Count the episodes of each length, and tell whether their steps ``follow`` one another.

    And how many of them are alike.
    """
    step = nw.col("step")
    rows = rows.with_columns(
        one=nw.col("counts").cast(nw.Int64), counted=nw.when(nw.col("counts")).then(step)
    )
    rows = rows.with_columns(**told_of_rows(asked))
    episodes = rows.group_by(*asked.episodes).agg(
        *told_of_episodes(asked),
        nw.col("one").sum().alias("length"),
        nw.col("counted").max().alias("last"),
        step.min().alias("first"),
        nw.col("when").min().alias("first_when"),
        nw.col("when").max().alias("last_when"),
    )
    if asked.step_is_whole:
        follow = (nw.col("last") - nw.col("first") + 1) == nw.col("length")
        episodes = episodes.with_columns(follow=_is_true(follow | (nw.col("length") == 0)))
    else:
        episodes = episodes.with_columns(follow=nw.lit(False))
    return (
        counted_alike(episodes, asked)
        .group_by("length", "follow", *TOLD)
        .agg(
            nw.len().alias("n_rows"),
            nw.col("first_when").min(),
            nw.col("first_when").max().alias("last_first_when"),
            nw.col("last_when").max().alias("latest_when"),
        )
    )


def _blocks(found: Groups) -> Integers:
    """Return the block of each step, (longest,), given how many episodes there are of a length."""
    n_of = np.bincount(found.numbers("length").astype(np.int64), found.n_rows)
    n_at = n_of[::-1].cumsum()[::-1][1:]  # an episode has rows at all steps before its length
    return blocks_of_steps(np.rint(n_at).astype(np.int64))


def _with_places(rows: nw.LazyFrame[Any], asked: Asked, is_numbered: bool) -> nw.LazyFrame[Any]:
    """Return the rows with their places in the episodes, counted from 0.

    Where steps are numbered one by one no window is needed to count them, which costs much.
    """
    if is_numbered:
        place = nw.col("step") - nw.col("starts")
    else:
        rows = rows.with_columns(one=nw.col("counts").cast(nw.Int64))
        place = nw.col("one").cum_sum().over(*asked.episodes, order_by="step") - 1
    return rows.with_columns(place=place.cast(nw.Int64))


def _in_blocks(rows: nw.LazyFrame[Any], column: str, cuts: Integers | Floats) -> nw.LazyFrame[Any]:
    """Return the rows with their block, given where all blocks but the first begin."""
    block: Any = nw.lit(0)
    for cut in cuts.tolist():
        block = block + (nw.col(column) >= cut).cast(nw.Int64)
    return rows.with_columns(block=block)


def _cells(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    told = nw.len().alias("n"), nw.col("reward").sum().alias("rewards")
    return rows.group_by("lot", "block", *asked.triple, drop_null_keys=False).agg(*told)


def _added_up(cells: nw.LazyFrame[Any], *keys: str) -> nw.LazyFrame[Any]:
    """Add up rows and rewards of those that agree in some columns."""
    told = nw.col("n").sum().alias("n_rows"), nw.col("rewards").sum()
    return cells.group_by(*keys, drop_null_keys=False).agg(*told)


def _by_lot(cells: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Add up the rewards of each lot and block, less their means in the state and action."""
    # Not the next states: of a column that holds none at all, Arrow makes no join.
    n = nw.col("n").cast(nw.Float64)
    cells = cells.select("lot", "block", *asked.pair, "rewards", n=n)
    # No window, since pyarrow's mixes up rows now and then.
    sums = [nw.col(name).sum().alias(f"all_{name}") for name in ("n", "rewards")]
    cells = cells.join(cells.group_by(*asked.pair).agg(*sums), on=asked.pair, how="left")
    mean = nw.col("all_rewards") / nw.col("all_n")
    cells = cells.with_columns(amount=nw.col("rewards") - nw.col("n") * mean)
    told = nw.col("amount").sum().alias("amount"), nw.col("n").sum().alias("n_rows")
    return cells.group_by("lot", "block").agg(*told)

"""Where in their episodes the rows of a lazy table lie, and what lots of episodes were paid there.

A drift of rewards is looked for over the steps of episodes, in blocks of about as many rows. How
many rows there are at each step follows from how long episodes are. Two small tables come to
memory: the number of rows of each state and action by block, and for each lot and block the rewards
less the mean of those of the same state and action.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._evaluation.drift import blocks_of_steps
from skmdp._log.engines import Tell, collect, stage_of
from skmdp._log.episodes import Transitions
from skmdp._log.grouping import Asked, is_missing
from skmdp._log.groups import Groups
from skmdp._log.lots import StepSums
from skmdp._typing import Integers


def with_steps(
    log: Transitions, rows: nw.LazyFrame[Any], asked: Asked, tell: Tell | None
) -> Transitions:
    """Return a log of which the lots tell of the steps of their rows, which were dealt to them."""
    assert log.lots is not None
    with stage_of(rows, "writing the query"):
        rows = rows.with_columns(counts=_counts(asked))
        lengths = _lengths(rows, asked)
    found = Groups(collect(lengths, "looking for the lengths of episodes", tell))
    block_of = _blocks(found)
    n_blocks = int(block_of[-1]) + 1
    if n_blocks == 1:
        return replace(log, lots=replace(log.lots, steps=StepSums.of_one_block(log.lots)))
    is_numbered = asked.step_is_whole and bool(found.flags("follow").all())
    with stage_of(rows, "writing the query"):
        rows = _in_blocks(rows, asked, np.flatnonzero(np.diff(block_of)) + 1, is_numbered)
        by_pair, by_lot = _by_pair(rows, asked), _by_lot(rows, asked)
    pairs = Groups(collect(by_pair, "counting the rows by step", tell))
    lots = Groups(collect(by_lot, "adding up rewards by step", tell))
    states = [pairs.labels(f"state{j}", name) for j, name in enumerate(asked.roles.state)]
    of_lots = np.zeros((len(log.lots.lengths), n_blocks))
    place = (lots.numbers(name).astype(np.int64) for name in ("lot", "block"))
    of_lots[tuple(place)] = lots.numbers("amount")
    steps = StepSums(
        log.states.encode(states),
        log.actions.encode([pairs.labels("action", asked.roles.action)]),
        pairs.numbers("block").astype(np.int64),
        pairs.n_rows,
        of_lots,
    )
    return replace(log, lots=replace(log.lots, steps=steps))


def _counts(asked: Asked) -> nw.Expr:
    """Tell which rows count, as ``settle_ends`` tells it of groups."""
    counts: nw.Expr = nw.col("is_kept")
    if not (asked.has("terminated") or asked.has("truncated")):
        return counts
    dtype = asked.schema[str((asked.next_state or asked.roles.state)[0])]
    leads_on = ~is_missing("next0", dtype)
    if not asked.has("terminated"):
        return counts & (leads_on | ~_is_marked("truncated"))
    ended = _is_marked("terminated")
    ended = ended | (_is_true(nw.col("is_before_seen")) & _is_marked("terminated_after"))
    return counts & (leads_on | ended)


def _is_marked(flag: str) -> nw.Expr:
    return _is_true(nw.col(flag).cast(nw.Float64) == nw.lit(1.0))


def _is_true(said: nw.Expr) -> nw.Expr:
    """Take what is missing for False."""
    return nw.when(said).then(nw.lit(True)).otherwise(nw.lit(False))


def _lengths(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Count the episodes of each length; do their steps ``follow`` one another as numbers do?"""
    step = nw.col("step")
    rows = rows.with_columns(
        one=nw.col("counts").cast(nw.Int64), counted=nw.when(nw.col("counts")).then(step)
    )
    episodes = rows.group_by(*asked.episodes).agg(
        nw.col("one").sum().alias("length"),
        nw.col("counted").max().alias("last"),
        step.min().alias("first"),
    )
    if asked.step_is_whole:
        follow = (nw.col("last") - nw.col("first") + 1) == nw.col("length")
        episodes = episodes.with_columns(follow=_is_true(follow | (nw.col("length") == 0)))
    else:
        episodes = episodes.with_columns(follow=nw.lit(False))
    return episodes.group_by("length", "follow").agg(nw.len().alias("n_rows"))


def _blocks(found: Groups) -> Integers:
    """Return the block of each step, (longest,), given how many episodes there are of a length."""
    n_of = np.bincount(found.numbers("length").astype(np.int64), found.n_rows)
    n_at = n_of[::-1].cumsum()[::-1][1:]  # an episode has rows at all steps before its length
    return blocks_of_steps(np.rint(n_at).astype(np.int64))


def _in_blocks(
    rows: nw.LazyFrame[Any], asked: Asked, cuts: Integers, is_numbered: bool
) -> nw.LazyFrame[Any]:
    """Return the rows that count with their block, given the first steps of all but the first.

    Where steps are numbered one by one no window is needed to count them, which costs much.
    """
    if is_numbered:
        place = nw.col("step") - nw.col("starts")
    else:
        rows = rows.with_columns(one=nw.col("counts").cast(nw.Int64))
        place = nw.col("one").cum_sum().over(*asked.episodes, order_by="step") - 1
    rows = rows.with_columns(place=place.cast(nw.Int64)).filter(nw.col("counts"))
    block: Any = nw.lit(0)
    for cut in cuts.tolist():
        block = block + (nw.col("place") >= cut).cast(nw.Int64)
    return rows.with_columns(block=block)


def _by_pair(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    return rows.group_by(*asked.pair, "block").agg(nw.len().alias("n_rows"))


def _by_lot(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    means = rows.group_by(*asked.pair).agg(nw.col("reward").mean().alias("mean"))
    rows = rows.join(means, on=asked.pair, how="left")
    rows = rows.with_columns(amount=nw.col("reward") - nw.col("mean"))
    sums = nw.col("amount").sum().alias("amount"), nw.len().alias("n_rows")
    return rows.group_by("lot", "block").agg(*sums)

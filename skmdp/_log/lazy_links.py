"""Lazy tables: whether rows lead to the rows after them, as their engine counts it."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw

from skmdp._log.engines import Tell, collect, stage_of
from skmdp._log.grouping import Asked, is_missing
from skmdp._log.groups import Groups
from skmdp._log.labels import MISSING, join_columns
from skmdp._log.links import are_many, hang_together


def broken_links(found: Groups) -> tuple[int, int]:
    """Count the rows that do not lead to the row after them, and all of which that is known."""
    broken = found.total("sum_unlinked")
    return broken, broken + found.total("sum_linked")


def count_lost(rows: nw.LazyFrame[Any], asked: Asked, found: Groups, tell: Tell | None) -> int:
    """Count the next states that are missing where episodes go on, 0 if these may be ends."""
    assert asked.next_state is not None
    is_inside = found.flags("goes_on") & found.is_kept
    lacks = is_inside & (found.labels("next0", asked.next_state[0]).codes == MISSING)
    n_lacking = int(found.n_rows[lacks].sum())
    if not are_many(n_lacking, int(found.n_rows[is_inside].sum())):
        return 0
    with stage_of(rows, "writing the query"):
        counted = _what_follows(rows, asked)
    after = Groups(collect(counted, "looking at what follows", tell))
    names = [f"state{j}" for j in range(len(asked.roles.state))]
    pairs, others = (
        join_columns([after.labels(own, own) for own in owns]).codes
        for owns in ([*names, "action"], [f"state_after{j}" for j in range(len(names))])
    )
    return n_lacking if hang_together(pairs, others, after.n_rows) else 0


def _what_follows(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Count the states after rows that lack the next state, by state and action; not run yet."""
    assert asked.next_state is not None
    lacks = nw.col("goes_on") & is_missing("next0", asked.schema[str(asked.next_state[0])])
    after = [f"state_after{j}" for j in range(len(asked.roles.state))]
    keys = [*asked.pair, *after]
    return rows.filter(lacks & nw.col("is_kept")).group_by(*keys).agg(nw.len().alias("n_rows"))

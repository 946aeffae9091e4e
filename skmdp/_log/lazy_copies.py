"""Lazy tables: which episodes are alike, as far as their engine tells it from one look at each row.

Compared are the number of rows, the first and the last of them and their steps, and what rewards
there are: nothing that hangs on the order in which an engine adds up. Copies are alike in all of
that, and the laws of ``copies`` hold of whatever episodes are told by.
"""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._log.copies import FEWEST_OWN, MOST_COPIES
from skmdp._log.grouping import Asked
from skmdp._log.groups import Groups
from skmdp._log.lots import Alike

# What is counted of episodes; so many times are many.
TOLD = ("times", "is_copied")
MANY = MOST_COPIES + 2


def told_of_rows(asked: Asked) -> dict[str, nw.Expr]:
    """Return what of each row is looked at, null where it says nothing."""
    told: dict[str, nw.Expr] = {"paid": nw.when(nw.col("counts")).then(nw.col("reward"))}
    told["points"] = told["paid"].round(0)  # whole numbers are added up alike in any order
    for end in ("first", "last"):
        for name in ["reward", *_comparable(asked)]:
            told[f"{end}_{name}"] = nw.when(nw.col(f"is_{end}")).then(nw.col(name))
    return told


def _comparable(asked: Asked) -> list[str]:
    """Return our names of labels of which every engine tells the largest."""
    roles = asked.roles
    names = {f"state{j}": name for j, name in enumerate(roles.state)} | {"action": roles.action}
    types = {own: asked.schema[str(name)] for own, name in names.items()}
    return [own for own, dtype in types.items() if dtype.is_numeric() or dtype == nw.String]


def told_of_episodes(asked: Asked) -> list[nw.Expr]:
    """Return the same of episodes, given rows."""
    paid = nw.col("paid")
    told = [paid.min().alias("least"), paid.max().alias("most"), nw.col("points").sum()]
    return told + [nw.col(name).max() for name in _of_ends(asked)]


def _of_ends(asked: Asked) -> list[str]:
    return [name for name in told_of_rows(asked) if name.startswith(("first_", "last_"))]


def counted_alike(episodes: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Add how many ``times`` something like each episode is there, 0 where it may be planned.

    ``is_copied`` marks those which have the least, the largest and another reward to themselves but
    for those like them.
    """
    told = ["length", "first", "last", "least", "most", "points", *_of_ends(asked)]
    first, last = nw.col("first_reward"), nw.col("last_reward")
    episodes = episodes.with_columns(
        one=nw.lit(1), third=nw.when(_is_between(first)).then(first).otherwise(last)
    )
    n = {name: nw.col("one").sum().over(name) for name in ("least", "most", "third")}
    episodes = episodes.with_columns(
        alike=nw.col("one").sum().over(*told), **{f"n_{name}": each for name, each in n.items()}
    )
    is_own: nw.Expr = reduce(and_, [nw.col(f"n_{name}") == nw.col("alike") for name in n])
    is_copied = is_own & _is_between(nw.col("third")) & (nw.col("length") >= FEWEST_OWN)
    is_told = (nw.col("length") > 1) | (nw.col("points") != nw.col("most"))
    times = nw.when(nw.col("alike") < MANY).then(nw.col("alike")).otherwise(nw.lit(MANY))
    return episodes.with_columns(
        times=nw.when(is_told).then(times).otherwise(nw.lit(0)),
        is_copied=nw.when(is_copied).then(nw.lit(True)).otherwise(nw.lit(False)),
    )


def _is_between(reward: nw.Expr) -> nw.Expr:
    return (nw.col("least") < reward) & (reward < nw.col("most"))


def read_alike(found: Groups) -> Alike:
    """Return how many episodes are alike, of groups of them."""
    times, is_copied = found.numbers("times").astype(np.int64), found.flags("is_copied")
    is_copied &= times > 1
    n_episodes = np.bincount(times, found.n_rows, minlength=MANY)[1:MANY]
    n_again = found.n_rows[is_copied] * (1 - 1 / times[is_copied])
    return Alike(
        np.rint(n_episodes / np.arange(1, MANY)).astype(np.int64),
        n=int(found.n_rows[times > 0].sum()),
        n_again=int(np.rint(n_again.sum())),
        most=int(times[is_copied].max(initial=1)),
    )

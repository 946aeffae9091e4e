"""The query on a lazy table: rows that agree are grouped, by expressions that every engine knows.

Columns get names of our own first. Rewards are numbers of 64 bits before they are squared or added
up, since small integers would wrap; squares and marks are columns before the group-by, since not
every engine takes expressions there. What followed a row is told by window functions, for which
episodes and steps are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from skmdp._log.roles import FROM_STEPS, Roles
from skmdp._log.ticks import is_instant, knows_spans, ticks
from skmdp._messages import shortened, shown
from skmdp._typing import Name, Names

_LISTS = ("List", "Array", "Struct", "Map", "Object")
# Labels that are only compared with those of the same column.
_WITH_CATEGORIES = ("Categorical", "Enum")
FLAGS = ("terminated", "truncated")
POWERS = ("power1", "power2", "power3", "power4")


@dataclass(frozen=True)
class Asked:
    """What a lazy table has of what it is asked for.

    ``next_state`` None: read off the following row. ``is_ordered`` tells whether episodes and steps
    are known. Rows that agree in all but the duration are one group unless ``by_duration``, and
    rows of all episodes unless these are ``dealt`` to lots. ``keeps_spread`` tells whether powers
    of the rewards are added up, ``lacks_rewards`` whether some rows may lack the reward.
    """

    roles: Roles
    next_state: Names | None
    is_ordered: bool
    weight: Name | None
    schema: Mapping[str, Any]
    keeps_spread: bool = False
    dealt: bool = False
    by_duration: bool = False
    lacks_rewards: bool = True

    def has(self, role: str) -> bool:
        """Whether the table has the columns of a role."""
        names = self.roles.names(role)
        return bool(names) and set(names) <= set(self.schema)

    @property
    def is_timed(self) -> bool:
        """Whether the table tells how long decisions take."""
        return self.has("duration") or (self.roles.duration == FROM_STEPS and self.is_ordered)

    @property
    def time_dtype(self) -> Any:
        """Type of the times that tell durations, None where these are numbers."""
        if not self.is_timed:
            return None
        of_steps = self.roles.duration == FROM_STEPS
        dtype = self.schema[str(self.roles.step if of_steps else self.roles.duration)]
        return None if dtype.is_numeric() else dtype

    @property
    def episodes(self) -> list[str]:
        """Our names of the columns that tell episodes."""
        return [f"episode{j}" for j in range(len(self.roles.names("episode")))]

    @property
    def pair(self) -> list[str]:
        """Our names of the columns that tell state and action."""
        return [f"state{j}" for j in range(len(self.roles.state))] + ["action"]

    @property
    def triple(self) -> list[str]:
        """Our names of these columns, and of those that tell where rows led to, if anywhere."""
        return [*self.pair, *(f"to{j}" for j in range(len(self.roles.state)))]

    @property
    def looks_after(self) -> bool:
        """Whether next states are given, and to be looked at beside the rows that come after."""
        return self.next_state is not None and self.dealt

    @property
    def compares_links(self) -> bool:
        """Whether they are to be compared with the states of these, as they are of one kind."""
        if self.next_state is None or not self.looks_after:
            return False
        types = [
            [self.schema[str(name)] for name in names]
            for names in (self.roles.state, self.next_state)
        ]
        return all(
            (one == other and type(one).__name__ not in _WITH_CATEGORIES)
            or (one.is_numeric() and other.is_numeric())
            for one, other in zip(*types, strict=True)
        )

    @property
    def step_is_whole(self) -> bool:
        """Whether steps are whole numbers."""
        return bool(self.schema[str(self.roles.step)].is_integer())

    def keys(self) -> list[str]:
        """Our names of the columns that rows of a group agree in."""
        n = len(self.roles.state)
        keys = [f"{role}{j}" for role in ("state", "next") for j in range(n)] + ["action"]
        keys += [flag for flag in FLAGS if self.has(flag)]
        keys += ["duration"] * self.by_duration + ["lot"] * self.dealt
        if self.is_ordered:
            keys += ["goes_on", "is_kept", "is_first", "is_last", "is_before_seen"]
            keys += ["terminated_after"] * self.has("terminated")
        elif self.weight is not None:
            keys.append("is_kept")
        return keys


def check_types(lazy: nw.LazyFrame[Any], asked: Asked) -> None:
    """Raise for columns whose type, which a lazy table tells beforehand, is none for their role."""
    roles, schema = asked.roles, asked.schema
    for name in (*roles.state, *(asked.next_state or ()), roles.action):
        _require_labels(name, schema[str(name)])
    amounts = ["reward"] if _are_spans(lazy, asked) else ["reward", "duration"]
    numbers = {role: roles.names(role) for role in amounts if asked.has(role)}
    numbers["sample_weight"] = () if asked.weight is None else (asked.weight,)
    numbers |= {flag: roles.names(flag) for flag in FLAGS if asked.has(flag)}
    for role, names in numbers.items():
        for name in names:
            _require_numbers(name, role, schema[str(name)])
    if asked.is_ordered:
        _check_step(roles, schema[str(roles.step)])


def _are_spans(lazy: nw.LazyFrame[Any], asked: Asked) -> bool:
    """Whether durations are spans of time that the engine measures."""
    return asked.time_dtype == nw.Duration and knows_spans(lazy, str(asked.roles.duration))


def _require_labels(name: Name, dtype: Any) -> None:
    if type(dtype).__name__ in _LISTS:
        raise TypeError(
            f"Column {shown(name)} holds values of type {shortened(dtype, 60)}, which are no "
            "labels. For a state of several parts use one column for each."
        )


def _require_numbers(name: Name, role: str, dtype: Any) -> None:
    if dtype.is_numeric() or (dtype == nw.Boolean and role != "duration"):
        return
    wanted = "booleans, or 0 and 1" if role in FLAGS else "numbers"
    remedy = "Convert it in a query of the table's own engine, such as CAST(... AS DOUBLE)"
    if role in FLAGS:
        remedy = "Compare it with the value that means yes"
    elif role == "duration":
        remedy = "Make it a number of seconds or days in a query of the table's own engine"
    error = TypeError if role in (*FLAGS, "duration") else ValueError
    raise error(
        f"Column {shown(name)} must hold {wanted}, got type {shortened(dtype, 60)} in a lazy "
        f"table. {remedy}."
    )


def _check_step(roles: Roles, dtype: Any) -> None:
    is_number = dtype.is_integer() or dtype.is_float()
    if roles.duration == FROM_STEPS and not (is_number or is_instant(dtype)):
        raise TypeError(
            f"duration='step' takes differences of steps, but column {shown(roles.step)} of this "
            f"lazy table is of type {shortened(dtype, 60)}. Make it a time in UTC, or a number of "
            "seconds or days, in a query of the table's own engine."
        )
    if not (is_number or dtype.is_temporal()):
        raise TypeError(
            f"Column {shown(roles.step)} must hold numbers or times to order rows by, got type "
            f"{shortened(dtype, 60)}. Convert it, or say step=None: then a lazy table is taken as "
            "one without episodes."
        )


def canonical(lazy: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Return the rows under names of our own, and what followed each."""
    rows = lazy.select(**_columns(asked))
    if asked.is_ordered:
        return _bounds(_following(rows, asked), asked)
    return rows if asked.weight is None else rows.with_columns(is_kept=nw.col("weight") > 0)


def _columns(asked: Asked) -> dict[str, nw.Expr]:
    """Return the columns to read, by our names of them."""
    roles = asked.roles
    columns = _numbered("state", roles.state) | _numbered("next", asked.next_state or ())
    alone = {"action": roles.action}
    alone |= {flag: getattr(roles, flag) for flag in FLAGS if asked.has(flag)}
    columns |= {own: nw.col(str(name)) for own, name in alone.items()}
    numbers = {role: getattr(roles, role) for role in ("reward", "duration") if asked.has(role)}
    if asked.weight is not None:
        numbers["weight"] = asked.weight
    columns |= {role: nw.col(str(name)).cast(nw.Float64) for role, name in numbers.items()}
    columns |= _spans(asked)
    if asked.is_ordered:
        columns |= _numbered("episode", roles.names("episode"))
        columns["step"] = _as_step(roles.step, asked.schema[str(roles.step)])
        columns["time"] = columns["step"]
        if roles.duration == FROM_STEPS and asked.time_dtype is not None:
            columns["time"] = ticks(str(roles.step), asked.time_dtype)
    return columns


def _spans(asked: Asked) -> dict[str, nw.Expr]:
    """Return the column of durations where these are spans of time, in ticks."""
    if asked.time_dtype != nw.Duration:
        return {}
    return {"duration": ticks(str(asked.roles.duration), asked.time_dtype)}


def _numbered(own: str, names: Names) -> dict[str, nw.Expr]:
    return {f"{own}{j}": nw.col(str(name)) for j, name in enumerate(names)}


def _as_step(name: Name | None, dtype: Any) -> nw.Expr:
    """Return the column of steps in a type of which differences do not wrap."""
    step = nw.col(str(name))
    if dtype.is_integer():
        return step.cast(nw.Int64)
    return step.cast(nw.Float64) if dtype.is_float() else step


def _following(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Add what followed each row in its episode, and whether the row holds a decision.

    The last row of an episode may lack the action: it holds what was seen last.
    """

    def after(name: str) -> nw.Expr:
        return nw.col(name).shift(-1).over(*asked.episodes, order_by="step")

    rows = rows.with_columns(
        lacks_action=is_missing("action", asked.schema[str(asked.roles.action)])
    )
    leads = {"step_after": after("step"), "is_before_seen": after("lacks_action")}
    if asked.has("terminated"):
        leads["terminated_after"] = after("terminated")
    is_end = ~nw.col("goes_on")
    if asked.next_state is None:
        leads |= {f"next{j}": after(f"state{j}") for j in range(len(asked.roles.state))}
    else:
        is_end = is_end & is_missing("next0", asked.schema[str(asked.next_state[0])])
    if asked.looks_after:
        leads |= {f"state_after{j}": after(f"state{j}") for j in range(len(asked.roles.state))}
    rows = rows.with_columns(**leads).with_columns(goes_on=~nw.col("step_after").is_null())
    is_kept: nw.Expr = ~(nw.col("lacks_action") & is_end)
    if asked.weight is not None:
        is_kept = is_kept & (nw.col("weight") > 0)
    rows = rows.with_columns(is_kept=is_kept)
    if asked.roles.duration == FROM_STEPS:
        taken = after("time") - nw.col("time")
        rows = rows.with_columns(duration=taken.cast(nw.Float64))
    return rows


def is_missing(name: str, dtype: Any) -> nw.Expr:
    """Whether a label is missing, which NaN is as well."""
    missing = nw.col(name).is_null()
    return missing | nw.col(name).is_nan() if dtype.is_float() else missing


def _bounds(rows: nw.LazyFrame[Any], asked: Asked) -> nw.LazyFrame[Any]:
    """Mark the first and the last row of each episode, of those that are kept."""
    kept: dict[str, nw.Expr] = {"kept_step": nw.when(nw.col("is_kept")).then(nw.col("step"))}
    kept["one"] = nw.col("is_kept").cast(nw.Float64)
    rows = rows.with_columns(**kept).with_columns(
        first_step=nw.col("kept_step").min().over(*asked.episodes),
        last_step=nw.col("kept_step").max().over(*asked.episodes),
        length=nw.col("one").sum().over(*asked.episodes),
    )
    rows = rows.with_columns(
        is_first=nw.col("is_kept") & (nw.col("step") == nw.col("first_step")),
        is_last=nw.col("is_kept") & (nw.col("step") == nw.col("last_step")),
    )
    if asked.weight is None:
        return rows
    first = nw.when(nw.col("is_first")).then(nw.col("weight"))
    return rows.with_columns(first_weight=first).with_columns(
        episode_weight=nw.col("first_weight").max().over(*asked.episodes)
    )


def group(
    rows: nw.LazyFrame[Any],
    asked: Asked,
    discount: tuple[float, float] | None,
    scale: tuple[float, float] | None,
) -> nw.LazyFrame[Any]:
    """Group the rows that agree, with the sums of all others; nothing is run yet.

    ``discount`` is gamma and the shortest duration, where decisions take time. ``scale`` is the
    origin and the unit of rewards of which powers are to be added up (None: none are).
    """
    made, summed = _amounts(asked, discount)
    if scale is not None:
        powers = _powers(*scale)
        made |= powers
        summed = [*summed, *powers]
    rows = rows.with_columns(**made) if made else rows
    aggregates = [nw.len().alias("n_rows")]
    aggregates += [nw.col(name).sum().alias(f"sum_{name}") for name in summed]
    if asked.roles.reward is not None and asked.lacks_rewards:
        # Old versions of DuckDB do not tell by the squares that a reward is missing.
        aggregates.append(nw.col("rewards").count().alias("n_rewards"))
    if asked.weight is not None:
        aggregates.append(nw.col("weight").min().alias("least_weight"))
        aggregates.append(nw.col("weight").count().alias("n_weights"))
    if asked.is_ordered:
        aggregates.append(nw.col("length").max().alias("longest"))
    if asked.is_timed:
        aggregates.append(nw.col("duration").count().alias("n_durations"))
    if scale is not None:
        aggregates.append(nw.col("power1").min().alias("least"))
        aggregates.append(nw.col("power1").max().alias("largest"))
    return rows.group_by(*asked.keys(), drop_null_keys=False).agg(*aggregates)


def _amounts(
    asked: Asked, discount: tuple[float, float] | None
) -> tuple[dict[str, nw.Expr], Sequence[str]]:
    """Return columns that are made before the group-by, and the names of those to be added up."""
    made: dict[str, nw.Expr] = {}
    if asked.roles.reward is not None:
        made["rewards"] = nw.col("reward")
    if discount is not None:
        made["discounts"] = _discounts(*discount)
        made["discount_squares"] = _discounts(*discount) * _discounts(*discount)
        if asked.roles.reward is not None:
            made["reward_discounts"] = nw.col("reward") * _discounts(*discount)
    if asked.weight is not None:
        made = {name: amount * nw.col("weight") for name, amount in made.items()}
        whole = nw.col("weight").cast(nw.Int64).cast(nw.Float64)
        made["fractions"] = (whole != nw.col("weight")).cast(nw.Float64)
    if asked.roles.reward is not None:
        # Of a reward that is missing, which a sum would skip, the square is NaN. One that overflows
        # is infinite, or 0 where the weight is.
        made["squares"] = (nw.col("reward") * made["rewards"]).fill_null(float("nan"))
    summed = list(made)
    if asked.weight is not None:
        summed.append("weight")
    if asked.is_ordered:
        marks = _marks(asked) | _links(asked)
        made |= {name: mark.cast(nw.Float64) for name, mark in marks.items()}
        summed += marks
        summed += ["episode_weight"] * (asked.weight is not None)
    return made, summed


def _powers(origin: float, unit: float) -> dict[str, nw.Expr]:
    """Return the first four powers of the reward, counted from an origin in a unit."""
    amount = (nw.col("reward") - nw.lit(origin)) / nw.lit(unit)
    square = amount * amount
    return dict(zip(POWERS, (amount, square, square * amount, square * square), strict=True))


def _discounts(gamma: float, shortest: float) -> nw.Expr:
    """Return gamma ** (duration - shortest)."""
    longer = nw.col("duration") - nw.lit(shortest)
    if gamma == 0:
        return (longer == nw.lit(0.0)).cast(nw.Float64)
    return (longer * nw.lit(float(np.log(gamma)))).exp()


def _marks(asked: Asked) -> dict[str, nw.Expr]:
    """Return what must not be in a table with steps."""
    dtype = asked.schema[str(asked.roles.step)]
    named = zip(asked.episodes, asked.roles.names("episode"), strict=True)
    lacking = [is_missing(own, asked.schema[str(name)]) for own, name in named]
    no_episode = reduce(or_, lacking)
    marks = {
        "no_episode": no_episode,
        "no_step": is_missing("step", dtype),
        "twice": nw.col("step_after") == nw.col("step"),
    }
    is_counted = dtype.is_integer() or dtype.is_float()
    if asked.next_state is None and is_counted and asked.roles.duration != FROM_STEPS:
        marks["gaps"] = (nw.col("step_after") - nw.col("step")) != 1
        if dtype.is_float():
            marks["broken"] = nw.col("step").cast(nw.Int64).cast(nw.Float64) != nw.col("step")
    return marks


def _links(asked: Asked) -> dict[str, nw.Expr]:
    """Return whether a row leads to the state of the row after it, or not.

    Both are null where it leads nowhere, or no row comes after it.
    """
    if not asked.compares_links:
        return {}
    pairs = range(len(asked.roles.state))
    leads_on: nw.Expr = reduce(
        and_, [nw.col(f"next{j}") == nw.col(f"state_after{j}") for j in pairs]
    )
    if asked.has("terminated"):
        is_end = nw.col("terminated").cast(nw.Float64) == nw.lit(1.0)
        goes_on = nw.when(is_end).then(nw.lit(False)).otherwise(nw.lit(True))
        leads_on = nw.when(goes_on).then(leads_on)
    return {"linked": leads_on, "unlinked": ~leads_on}

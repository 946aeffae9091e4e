"""Roles: which column of a table plays which part, and whether a table has them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, Self

from skmdp._log.refusals import doubt, refusal
from skmdp._messages import quoted, shown
from skmdp._typing import Name, Names

# What roles are called elsewhere, as letters only.
OTHER_NAMES = {
    "terminated": ("done", "isdone", "terminal", "isterminal", "terminals"),
    "truncated": ("truncation", "timeout", "timeouts", "timelimit"),
}
# In place of a column of durations: they are differences of the steps.
FROM_STEPS = "step"
# How alike, from 0 to 1, an absent name and a column's must be for one to be meant by the other.
ALIKE = 0.8


@dataclass(frozen=True)
class Roles:
    """Which column of a table plays which part; None where a part may be absent and is.

    A state, and the key of an episode, may be made of several columns. Durations may be those
    between steps, which takes no column of its own.
    """

    state: Names = ("state",)
    action: Name = "action"
    next_state: Names | None = None
    reward: Name | None = "reward"
    episode: Names | None = ("episode",)
    step: Name | None = "step"
    terminated: Name | None = "terminated"
    truncated: Name | None = "truncated"
    duration: Name | None = "duration"

    @classmethod
    def of(cls, columns: Mapping[str, Any], others: Roles | None = None) -> Self:
        """Make roles of names as a user gives them; roles not named are those of ``others``."""
        strange = [role for role in columns if role not in ROLES]
        if strange:
            raise ValueError(
                f"There is no role {shown(strange[0])}.{hint_at(strange[0], ROLES)} The "
                f"roles of columns are {quoted(ROLES)}."
            )
        named: dict[str, Any] = {}
        for role, names in columns.items():
            if names is None and role in OPTIONAL:
                named[role] = None
            else:
                several = column_names(names, role)
                named[role] = several if role in OF_SEVERAL else several[0]
        missing = {} if others is None else {role: getattr(others, role) for role in ROLES}
        return cls(**{**missing, **named})

    def names(self, role: str) -> Names:
        """Return the names of the columns of one role, none where it is None."""
        names: Name | Names | None = getattr(self, role)
        if names is None or (role == "duration" and names == FROM_STEPS):
            return ()
        return names if isinstance(names, tuple) else (names,)


ROLES = tuple(field.name for field in fields(Roles))
OF_SEVERAL = ("state", "next_state", "episode")
# Roles that may be None. Those that a table may lack, where they keep their default name:
MAY_BE_ABSENT = ("episode", "step", "terminated", "truncated", "duration")
OPTIONAL = ("next_state", "reward", *MAY_BE_ABSENT)


def column_names(names: Any, role: str) -> Names:
    """Return the names that a role is given: one name, or a list, tuple, array or Index of them."""
    listed = _listed(names)
    strange = [name for name in listed if not _is_name(name)]
    if strange:
        raise TypeError(
            f"{role} must name columns by strings or integers, one or a list of them, got "
            f"{shown(strange[0])}."
        )
    if not listed:
        thing = "a state needs" if role == "state" else "name"
        raise ValueError(f"{role} names no column; {thing} at least one.")
    if len(listed) > 1 and role not in (*OF_SEVERAL, "columns"):
        raise TypeError(f"{role} names one column, got {len(listed)}: {quoted(listed)}.")
    return tuple(name if isinstance(name, str) else int(name) for name in listed)


def _listed(names: Any) -> list[Any]:
    """Return one name, or several in a container that has an order, as a list."""
    if hasattr(names, "tolist"):
        names = names.tolist()
    is_container = hasattr(names, "__len__") and not isinstance(names, str | Set | Mapping)
    return list(names) if is_container else [names]


def _is_name(name: Any) -> bool:
    return isinstance(name, str | Integral) and not isinstance(name, bool)


def default_next_names(state: Names) -> Names:
    """Return what the next-state columns are called if nobody says; numbers have no such name."""
    return tuple(f"next_{name}" for name in state if isinstance(name, str))


def find_next_names(
    state: Names, next_state: Names | None, columns: Sequence[Name]
) -> Names | None:
    """Return the names of a table's next-state columns, None if it has none of them."""
    names = default_next_names(state) if next_state is None else next_state
    if next_state is not None and len(names) != len(state):
        raise ValueError(
            f"next_state names {len(names)} column(s) and state {len(state)}; every state column "
            "needs its next-state column, in the same order."
        )
    there = [name for name in names if name in columns]
    if not there:
        return None
    if len(there) < len(state):
        absent = [name for name in names if name not in columns]
        lacking = quoted(absent) if absent else f"those of {len(state) - len(there)} others"
        raise refusal(
            f"The table has next-state column(s) {quoted(there)} but not {lacking}. Add what is "
            "missing, or name the columns with next_state=...",
            "absent",
            absent,
            remedy={"next_state": None},
        )
    return names


def require_columns(
    needed: Mapping[str, Names],
    columns: Sequence[Name],
    *,
    index_names: Sequence[Any] = (),
    owner: str | None = "MarkovPolicyEstimator",
) -> None:
    """Raise for a column, named by role, that a table lacks; ``owner`` has the parameters."""
    parameter = "" if owner is None else f"{owner}({{role}}=...), or beside a policy "
    for role, names in needed.items():
        missing = [name for name in names if name not in columns]
        if not missing:
            continue
        raise refusal(
            f"The table has no column {quoted(missing)} for the role {role!r}."
            f"{hint_at(missing[0], columns, index_names)} It has the column(s) {quoted(columns)}. "
            f"Name yours: {parameter.format(role=role)}columns={{{role!r}: ...}}.",
            "absent",
            missing,
            remedy={role: near_name(missing[0], columns)},
        )


def require_distinct(names: Sequence[Name], *, may_be_absent: bool = True) -> None:
    """Raise for a column that is named twice; some roles ``may_be_absent``, or none."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        absent = " A role that the table does not have, such as step or terminated, may be None."
        raise refusal(
            f"Column {shown(twice[0])} is named for two roles; each needs its own column."
            f"{absent if may_be_absent else ''}",
            "named_twice",
            twice[0],
        )


def check_roles(roles: Roles, columns: Sequence[Name], index_names: Sequence[Any] = ()) -> None:
    """Raise unless a table has the columns that the roles name, each for one role."""
    needed = {"action": (roles.action,), "state": roles.state}
    if roles.reward is not None:
        needed["reward"] = (roles.reward,)
    if roles.next_state is not None:
        needed["next_state"] = roles.next_state
    # A role that keeps its default name may be absent; a name that was given is meant.
    for role in MAY_BE_ABSENT:
        names = roles.names(role)
        if names != (role,):
            needed[role] = names
    require_columns(needed, columns, index_names=index_names)
    require_distinct([name for role in ROLES for name in roles.names(role)])


def warn_of_near_names(
    roles: Roles, columns: Sequence[Name], index_names: Sequence[Any] = ()
) -> None:
    """Warn of columns that may be meant by roles that a table lacks under their usual names."""
    others = _columns_without_role(roles, columns)
    if not others and not index_names:
        return
    _warn_of_next_states(roles, columns, others)
    found, remedies = [], []
    meant: dict[str, Name | None] = {}  # None: in the index
    for role in MAY_BE_ABSENT:
        if roles.names(role) != (role,) or role in columns:
            continue
        if role in index_names:
            found.append(f"{role!r} is in the index")
            remedies.append("call reset_index()")
            meant[role] = None
        elif (near := near_name(role, others)) is not None:
            found.append(f"{role!r} may be {shown(near)}")
            remedies.append(f"say {role}={shown(near)}")
            meant[role] = near
    if found:
        nothing = ", ".join(f"{word.split()[0][1:-1]}=None" for word in found)
        doubt(
            f"The table lacks columns that are used where they are there: {', '.join(found)}. "
            f"If so, {' and '.join(remedies)}; if not, say {nothing}.",
            "near_name",
            remedy=meant,
            stacklevel=7,
        )


def _warn_of_next_states(roles: Roles, columns: Sequence[Name], others: Sequence[Name]) -> None:
    """Warn of columns that seem to hold next states, where these are read off the next row."""
    usual = default_next_names(roles.state)
    if roles.next_state is not None or any(name in columns for name in usual):
        return
    parts = [_plain(name) for name in roles.state]
    meant = {word for part in parts for word in (f"next{part}", f"{part}next", f"new{part}")}
    near = [name for name in others if _plain(name) in meant]
    if near:
        said = shown(near[0]) if len(near) == 1 else f"[{quoted(near)}]"
        doubt(
            f"Next states are read off the following row, but {quoted(near)} may hold them. If so, "
            f"say next_state={said}; if not, leave it out of the table.",
            "near_next",
            near,
            stacklevel=8,
        )


def _columns_without_role(roles: Roles, columns: Sequence[Name]) -> list[Name]:
    """Return the columns of a table that play no part."""
    used = {name for role in ROLES for name in roles.names(role)}
    used |= set(default_next_names(roles.state))
    return [name for name in columns if name not in used]


def near_name(name: Name, candidates: Sequence[Name]) -> Name | None:
    """Return the candidate that is spelt most like a name, but for case, spaces, underscores."""
    plain = {_plain(candidate): candidate for candidate in reversed(candidates)}
    for other in OTHER_NAMES.get(str(name), ()):
        if other in plain:
            return plain[other]
    alike = difflib.get_close_matches(_plain(name), list(plain), n=1, cutoff=ALIKE)
    return plain[alike[0]] if alike else None


def _plain(name: Name) -> str:
    return re.sub(r"[\W_]+", "", str(name)[:100].casefold())


def hint_at(name: Name, columns: Sequence[Name], index_names: Sequence[Any] = ()) -> str:
    """Say where an absent column may be, as a sentence with a space before it."""
    if name in index_names:
        return f" {shown(name)} is in the index: call reset_index() first."
    near = near_name(name, columns)
    return "" if near is None else f" Did you mean {shown(near)}?"


def nothing_follows(
    roles: Roles, columns: Sequence[Name], index_names: Sequence[Any] = ()
) -> Exception:
    """Return the error of a table that tells neither next states nor episodes."""
    nexts = quoted(default_next_names(roles.state) or ["next_state=..."])
    wanted = "None" if roles.episode is None else quoted(roles.episode)
    meant = (roles.episode or ("episode",))[0]
    hint = hint_at(meant, columns, index_names)
    return refusal(
        f"The table has neither next states ({nexts}) nor an episode column ({wanted}), so what "
        f"followed a row is unknown.{hint} Add next-state column(s), or a column that tells which "
        "rows belong together, and name them with next_state=... or episode=... The table has the "
        f"column(s) {quoted(columns)}.",
        "no_episodes",
        remedy={"episode": near_name(meant, columns)},
    )

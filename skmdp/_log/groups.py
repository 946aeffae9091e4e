"""What comes back of a lazy table: groups of rows that agree, as columns of labels and sums.

Whatever is wrong with a table is refused here as it is in ``reading``; rows, which have no numbers
in a lazy table, are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skmdp._log.frames import Table
from skmdp._log.grouping import FLAGS, Asked
from skmdp._log.kinds import read_labels
from skmdp._log.labels import MISSING, LabelColumn, as_integers
from skmdp._log.missing import Remedies
from skmdp._log.numbers import read_flags
from skmdp._log.reading import require_together
from skmdp._messages import quoted, shown
from skmdp._typing import Bools, Floats, Integers, Name


class Groups:
    """The groups of a lazy table in memory, each an entry that stands for rows that agree.

    ``selected`` are those to look at, by position, None for all.
    """

    def __init__(self, table: Table, selected: Integers | None = None) -> None:
        self._table, self._selected = table, selected
        self._numbers: dict[str, Floats] = {}
        self.n_rows = self.numbers("n_rows")

    @property
    def is_kept(self) -> Bools:
        """Whether the rows of each group hold a decision, with weight."""
        if not self.has("is_kept"):
            return np.ones(len(self.n_rows), dtype=bool)
        return self.flags("is_kept")

    @property
    def kept_groups(self) -> npt.NDArray[np.intp] | None:
        """Positions of the groups of rows that hold a decision, with weight; lot by lot.

        None: all of them, as they are.
        """
        is_kept = self.is_kept
        if not self.has("lot"):
            return None if is_kept.all() else np.flatnonzero(is_kept)
        kept = np.flatnonzero(is_kept)
        return np.asarray(kept[np.argsort(self.numbers("lot")[kept], kind="stable")])

    def select(self, groups: Integers) -> Groups:
        """Return some of the groups, given by position."""
        return Groups(self._table, groups)

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self._table.columns

    def numbers(self, name: str) -> Floats:
        """Return a column of numbers, NaN where one is missing."""
        if name not in self._numbers:  # to join the parts of an engine's column takes a while
            values = self._table.column(name).to_numpy(np.float64, na_value=np.nan)
            at = self._selected
            self._numbers[name] = np.asarray(values if at is None else values[at])
        return self._numbers[name]

    def flags(self, name: str) -> Bools:
        """Return a column of booleans, False where one is missing."""
        return np.asarray(self.numbers(name) == 1)

    def labels(self, own: str, name: Name) -> LabelColumn:
        """Return a column of labels under its name in the table."""
        return read_labels(self._table.labels(own), name)

    def marked(self, own: str, name: Name, may_lack: Bools) -> Bools:
        """Return a column of flags, which are booleans or 0 and 1."""
        return read_flags(self._table.column(own), name, own, may_lack=may_lack)

    def total(self, name: str) -> int:
        """Return the sum of a column of marks."""
        return int(np.nansum(self.numbers(name)))


@contextmanager
def counting_groups() -> Iterator[None]:
    """Say of an error that names a row that it is one of the groups."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if "counting from 0" not in str(error):
            raise
        message = f"{error} (A lazy table: the row is one of those left when equal ones are one.)"
        raise type(error)(message) from None


@dataclass(frozen=True, eq=False)
class Entries:
    """The groups as columns, before labels have numbers."""

    states: list[LabelColumn]
    next_states: list[LabelColumn]
    action: LabelColumn
    terminated: Bools | None
    truncated: Bools | None

    def select(self, rows: npt.NDArray[np.intp]) -> Entries:
        """Return some of the groups."""
        flags = (self.terminated, self.truncated)
        return Entries(
            [column.take(rows) for column in self.states],
            [column.take(rows) for column in self.next_states],
            self.action.take(rows),
            *(None if marked is None else marked[rows] for marked in flags),
        )


def read_groups(found: Groups, asked: Asked) -> Entries:
    """Read labels and flags, and refuse what is refused of any table."""
    roles, remedies = asked.roles, Remedies(is_linked=asked.next_state is None, is_table=True)
    next_names = roles.state if asked.next_state is None else asked.next_state
    states = [found.labels(f"state{j}", name) for j, name in enumerate(roles.state)]
    nexts = [found.labels(f"next{j}", name) for j, name in enumerate(next_names)]
    action = found.labels("action", roles.action)
    for column in states:
        _refuse_rows(found, column.codes == MISSING, column.name, remedies.state)
    require_together(nexts)
    if asked.is_ordered:
        _check_order(found, asked, remedies)
    leads = nexts[0].codes != MISSING
    lacks_action = action.codes == MISSING
    seen = np.zeros(len(leads), dtype=bool)
    if asked.is_ordered:
        seen = lacks_action & ~found.flags("goes_on") & ~leads
    _refuse_rows(found, lacks_action & ~seen, roles.action, remedies.action)
    _check_amounts(found, asked, remedies, seen)
    flags: dict[str, Bools | None] = dict.fromkeys(FLAGS)
    for flag in FLAGS:
        if asked.has(flag):
            flags[flag] = found.marked(flag, getattr(roles, flag), seen)
    if asked.is_ordered:
        flags = _settle_order(found, asked, flags, leads, has_seen=bool(seen.any()))
    _check_durations(found, asked, leads, flags["terminated"])
    if seen.any():
        action = as_integers(action)
    return Entries(states, nexts, action, flags["terminated"], flags["truncated"])


def _refuse_rows(found: Groups, missing: Bools, name: Name, remedy: str) -> None:
    """Raise where a value is missing in some groups."""
    if missing.any():
        n = int(found.n_rows[missing].sum())
        raise ValueError(f"Column {shown(name)} contains NaN or None in {n} row(s). {remedy}")


def _check_order(found: Groups, asked: Asked, remedies: Remedies) -> None:
    """Raise unless episodes and steps tell which row follows which."""
    roles = asked.roles
    step = shown(roles.step)
    for name, column, remedy in (
        ("no_episode", roles.names("episode"), remedies.episode),
        ("no_step", roles.names("step"), "Fill in the step, or say step=None."),
    ):
        if n := found.total(f"sum_{name}"):
            raise ValueError(
                f"Column {quoted(column)} contains NaN or None in {n} row(s). {remedy}"
            )
    if n := found.total("sum_twice"):
        raise ValueError(
            f"Column {step}: in {n} place(s) a step occurs twice in its episode, so which row "
            "comes first is unknown. If a row stands there twice, drop the copy; else correct the "
            "steps. Where next states are given you may say step=None: the table is then taken as "
            "one without episodes."
        )
    are_whole = not found.has("sum_broken") or not found.total("sum_broken")
    if found.has("sum_gaps") and are_whole and (n := found.total("sum_gaps")):
        raise ValueError(
            f"Column {step}: in {n} place(s) an episode goes on with a step that is not the "
            "next whole number, but next states are read off the following row. If rows are "
            "missing, give those after the gap an episode of their own, and mark the row before in "
            "a boolean column 'truncated'. If gaps are right, make steps times."
        )


def _check_amounts(found: Groups, asked: Asked, remedies: Remedies, seen: Bools) -> None:
    """Raise for rewards and weights that are no finite numbers."""
    roles = asked.roles
    if asked.weight is not None:
        _check_weights(found, asked.weight)
    if roles.reward is None:
        return
    sums, squares = found.numbers("sum_rewards"), found.numbers("sum_squares")
    with np.errstate(over="ignore", invalid="ignore"):  # then each is looked at
        are_there = np.isfinite(sums.sum()) and not np.isnan(squares.sum())
    if are_there and not asked.lacks_rewards and not seen.any():
        return
    lacking = ~np.isfinite(sums) | np.isnan(squares)
    if asked.lacks_rewards:
        lacking |= found.numbers("n_rewards") < found.n_rows
    lacking &= ~seen
    if lacking.any():
        raise ValueError(
            f"Column {shown(roles.reward)} contains NaN, None or infinity (inf), or adds up to "
            f"more than float64 holds, among {int(found.n_rows[lacking].sum())} row(s) that agree "
            f"in state, action and next state. {remedies.reward}"
        )
    if not seen.any():
        return
    paid = seen & (np.nan_to_num(sums) != 0)
    if paid.any():
        raise ValueError(
            f"Column {shown(roles.reward)} is not 0 in {int(found.n_rows[paid].sum())} row(s), the "
            "last of their episodes, which lack an action; a reward belongs to the action of its "
            "row. If an action was taken, name it. If each reward stands in the row after its "
            "action, move the rewards of each episode up by a row. Else set these to 0."
        )


def _check_weights(found: Groups, name: Name) -> None:
    """Raise unless weights are finite, at least 0, and not all 0."""
    lacking = found.numbers("n_weights") < found.n_rows
    lacking |= ~np.isfinite(found.numbers("sum_weight"))
    if lacking.any():
        raise ValueError(
            f"Column {shown(name)} of weights contains NaN, None or infinity (inf). Fill it in, "
            "with 0 to leave a row out."
        )
    least = found.numbers("least_weight").min(initial=np.inf)
    if least < 0:
        raise ValueError(
            f"Column {shown(name)} of weights holds {least:g}; a weight says how often a row "
            "counts. Use weight 0 to leave the row out."
        )
    if len(found.n_rows) and not found.is_kept.any():
        raise ValueError(
            f"Sample weights must contain at least one non-zero number: all of column "
            f"{shown(name)} are zero."
        )


def _settle_order(
    found: Groups,
    asked: Asked,
    flags: dict[str, Bools | None],
    leads: Bools,
    *,
    has_seen: bool,
) -> dict[str, Bools | None]:
    """Let the rows before last observations tell how episodes stopped; refuse flags inside."""
    goes_on, before = found.flags("goes_on"), found.flags("is_before_seen")
    if asked.next_state is None:
        for role, marked in flags.items():
            inside = False if marked is None else marked & goes_on & ~before
            if np.any(inside):
                raise ValueError(
                    f"Column {shown(getattr(asked.roles, role))} is True in "
                    f"{int(found.n_rows[inside].sum())} row(s) after which their episode goes on. "
                    "Give the rows after it an episode of their own, order the rows, or add "
                    "next-state columns."
                )
    if not has_seen:
        return flags
    terminated, truncated = flags["terminated"], flags["truncated"]
    if terminated is not None:
        terminated = terminated | (before & found.flags("terminated_after"))
    truncated = (before & leads) | (False if truncated is None else truncated)
    return {"terminated": terminated, "truncated": truncated}


def _check_durations(found: Groups, asked: Asked, leads: Bools, terminated: Bools | None) -> None:
    """Raise for rows that lead on, but nobody knows after how long."""
    if not asked.is_timed:
        return
    needed = leads & found.is_kept
    if terminated is not None:
        needed &= ~terminated
    lacking = needed & (found.numbers("n_durations") < found.n_rows)
    if lacking.any():
        n = int((found.n_rows - found.numbers("n_durations"))[lacking].sum())
        raise ValueError(
            f"Column {shown(asked.roles.duration)}: {n} row(s) lead to a next state, but their "
            "duration is missing. Fill it in; with duration='step', add the last observation of "
            "each episode as a row without an action."
        )

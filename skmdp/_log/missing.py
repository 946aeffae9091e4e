"""Values that a log must not lack, and what to do about them so that counts stay true.

Where next states are read off the following row, a row that is simply dropped makes the row before
it lead to the row after it, a transition that never happened. So what helps depends on that.
"""

from __future__ import annotations

from dataclasses import dataclass

from skmdp._log.labels import MISSING, LabelColumn, raise_if_missing
from skmdp._log.refusals import refusal
from skmdp._typing import Bools

_FALSE_LINK = "the row before leads to the row after, which never happened."


@dataclass(frozen=True)
class Remedies:
    """What to do about rows with missing values.

    ``is_linked`` says whether next states are read off the following row, ``is_table`` whether the
    log is a table, to which columns may be added, or features with actions beside them.
    """

    is_linked: bool
    is_table: bool

    @property
    def state(self) -> str:
        """What to do about a missing state."""
        if self.is_linked and self.is_table:
            return (
                "Give it a label of its own. To leave these rows out, drop them, give the rows "
                "after each an episode of their own, and mark the row before in a boolean column "
                f"'truncated'; else {_FALSE_LINK}"
            )
        if self.is_linked:
            return (
                "Give it a label of its own, or leave out the whole episode. If you only drop "
                f"these rows, {_FALSE_LINK}"
            )
        alone = "Give it a label of its own, or drop these rows."
        if self.is_table:
            alone += (
                " If a next state is missing for the same reason, mark its row in a boolean "
                "column 'truncated', else it counts as an end."
            )
        return alone

    @property
    def action(self) -> str:
        """What to do about a missing action."""
        nothing = "If nothing was done there, give that a label, such as 'none'. "
        last = " Only the last row of an episode may lack it: the last observation."
        return nothing + self._left_out + last * (self.is_linked or self.is_table)

    @property
    def reward(self) -> str:
        """What to do about a missing reward."""
        return f"Fill it in, with 0 if nothing was paid. {self._left_out}"

    @property
    def episode(self) -> str:
        """What to do about a row of which nobody knows where it belongs."""
        if self.is_linked:
            return (
                "Fill it in; a row that belongs to no other gets an episode of its own. Do not "
                f"drop these rows, else {_FALSE_LINK}"
            )
        return "Fill it in, or drop these rows."

    @property
    def _left_out(self) -> str:
        """How to leave out a row whose state is known."""
        if not self.is_linked:
            return "To leave these rows out, drop them."
        return (
            "To leave these rows out, fill in any value and give them sample_weight 0. If you only "
            f"drop them, {_FALSE_LINK}"
        )


def require_complete(column: LabelColumn, remedy: str, may_lack: Bools | None = None) -> None:
    """Raise if a label of the column is missing, but in the rows marked by ``may_lack``."""
    missing = column.codes == MISSING
    raise_if_missing(column.name, missing if may_lack is None else missing & ~may_lack, remedy)


def nothing_counts(n_truncated: int) -> Exception:
    """Return the error of a log of which no row counts."""
    if n_truncated:
        return refusal(
            "Every row is truncated: the next state is missing and no row is marked as an end, so "
            "what followed is unknown everywhere. Mark the ends with terminated=True, or add next "
            "states.",
            "nothing_counts",
        )
    return refusal(
        "No row holds a decision: those with weight are the last of their episodes and lack an "
        "action. Name the actions, or hand in the rows before them.",
        "nothing_counts",
    )

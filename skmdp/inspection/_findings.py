"""What an audit found: findings, and how they are listed, printed and shown as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import pandas as pd

from skmdp._messages import quoted, shown
from skmdp._typing import Names

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

# Why a finding matters, by its kind. Of errors the message itself says what is wrong.
WHY = {
    # Errors: fit refuses the table.
    "absent": "Without this column nothing can be counted.",
    "complex": "Complex numbers have no order, so none of them is the better one.",
    "duration": "The time until the next decision sets how much what follows is discounted.",
    "empty": "At least one transition is needed.",
    "flags": "These marks say where episodes end; read the wrong way, values after them are wrong.",
    "fraction": "States and next states are matched by their labels.",
    "goes_on": "Nothing is worth anything after an end, so rows after it would be lost.",
    "huge_rewards": "Their sum is infinite, so their mean is not known.",
    "infinity": "Infinity is no label that could be compared with others.",
    "kinds": "States and next states are matched by their labels: 1 and '1' never match.",
    "label": "A state or action must be a label that has an order and can be stored.",
    "large": "Floats do not hold every integer from 2**53 on, so two labels may have become one.",
    "missing": "A row that lacks a part cannot be counted.",
    "mixed": "Labels of several kinds have no order, and 1 and '1' would be two states.",
    "named_twice": "One column cannot play two parts.",
    "no_episodes": "Without them it is not known what followed a row.",
    "no_order": "Rows of an episode are ordered by this column.",
    "not_numbers": "Rewards are added up.",
    "nothing_counts": "No row says what an action led to.",
    "paid_at_last": "A reward belongs to the action of its row, and this row has none.",
    "partly_missing": "A next state that is known in part is no state.",
    "refused": "fit refuses it.",
    "step_gap": "Rows are missing, so the next row is not what followed.",
    "step_twice": "Two rows claim to be the same step, so it is not known what followed which.",
    "unhashable": "Labels are looked up, which needs values that do not change.",
    # Warnings and notes: fit accepts the table.
    "after_end": "An end is worth nothing, so what the rows after it tell is not credited to it.",
    "astray": "Where nothing follows a decision, nothing is known of its consequences.",
    "break_off": "A record that breaks off is no end: what came after it is not worth 0.",
    "constant_reward": "A policy can then only make episodes shorter or longer.",
    "doubled": "Rows lead to their own copies, so transitions are counted that never happened.",
    "ends": "Values depend on which episodes ended and which only stopped being recorded.",
    "few_alternatives": "Only where several actions were logged can one be called better.",
    "irregular_durations": "A unit that was mixed up looks like this, and long rows discount more.",
    "irregular_steps": "gamma counts decisions; where their times differ, it can count time.",
    "long_missing": "Actions that take long look shorter and better than they are.",
    "look_alike": "Each spelling is a state or action of its own, with a part of the rows.",
    "near_name": "A column that is used where it is there may be overlooked under another name.",
    "near_next": "Next states are then read off the following row, which may be another one.",
    "never_left": "A state that is never acted in counts as an end, worth 0.",
    "no_alternatives": "Where only one action was ever taken, there is nothing to choose.",
    "odd_label": "A word for a missing value is counted as a state or action like any other.",
    "one_episode": "Without episodes every row counts as a start.",
    "repeated": "What one episode tells counts twice, so that intervals are too narrow.",
    "reward_in_state": "A state that holds the reward is known only after the decision.",
    "reward_row": "A reward that stands one row late is credited to the wrong action.",
    "rounding": "States that should be one are two, and what follows the one is lost.",
    "seen_once": "The mean of one row is no estimate of what an action brings.",
    "steps_repeat": "Two rows claim to be the same step; one may be a copy, and count twice.",
    "steps_missing": "Rows may be lacking; what is counted is what the rows say that followed.",
    "swapped": "Advice would name states, to be taken in actions.",
    "tells_outcome": (
        "If it is known before the decision, it belongs to the state; if only afterwards, it must "
        "never be part of it."
    ),
    "too_fine": "A state that is met once teaches one outcome, and others are unknown.",
    "truncated": "These rows are left out of the counts, as nobody knows what followed.",
    "unlinked": "If rows are out of order or lacking, it is not known where episodes start.",
    "unreachable": "No episode could have come to these states by the rows that it holds.",
    "unsorted": "Rows are taken in the order of their steps, not as they lie.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found in a log.

    Parameters
    ----------
    severity : {"error", "warning", "note"}
        An error is what ``fit`` refuses; a warning is likely to make a policy wrong; a note is
        what to know of the log.
    kind : str
        A word for it, such as ``"missing"`` or ``"look_alike"``.
    columns : tuple
        The columns that it is about; empty if it is about the log as a whole.
    n_rows : int or None
        How many rows, or how many of what ``what`` speaks of; None where nothing is counted.
    first_row : object
        Label of the first of these rows in the index of the table; None where there is none. A
        table of polars or pyarrow counts its rows from 0.
    what : str
        What was found.
    why : str
        Why it matters.
    mend : str
        Code that mends the pandas table ``table`` or the mapping ``columns``, with numpy as ``np``
        and pandas as ``pd``; empty where only the owner of the log can tell what is right.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp.inspection import audit
    >>> log = pd.DataFrame({"state": [1, 2], "action": ["a", None], "reward": [0.0, 1.0],
    ...                     "next_state": [2, 3]})
    >>> found = audit(log).errors[0]
    >>> found.kind, found.columns, found.n_rows, found.first_row
    ('missing', ('action',), 1, 1)
    """

    severity: Severity
    kind: str
    columns: Names
    n_rows: int | None
    first_row: Any
    what: str
    why: str
    mend: str

    @property
    def where(self) -> str:
        """The columns and rows in words."""
        parts = [quoted(self.columns)] if self.columns else []
        if self.first_row is not None:
            parts.append(f"{self.n_rows:,} row(s), first {shown(self.first_row)}")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """All that was found in a log before any fit.

    Parameters
    ----------
    findings : tuple of Finding
        Errors first, then warnings, then notes. The lines that mend errors are to be run in this
        order.
    n_rows : int
        Number of rows of the table.
    n_episodes : int or None
        Number of episodes; None for a table without them. This one, and those that follow, are of
        the table that remains once the errors are mended, None if that cannot be read either.
    n_states : int or None
        Number of states, those only reached included.
    n_actions : int or None
        Number of actions.

    Examples
    --------
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.inspection import audit
    >>> found = audit(load_climb())
    >>> found.errors
    ()
    >>> found.n_rows, found.n_episodes, found.n_states, found.n_actions
    (12, 4, 5, 2)
    """

    findings: tuple[Finding, ...]
    n_rows: int
    n_episodes: int | None
    n_states: int | None
    n_actions: int | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What ``fit`` refuses; empty if it accepts the table."""
        return self.of("error")

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity.

        Parameters
        ----------
        severity : {"error", "warning", "note"}
            The severity.

        Returns
        -------
        findings : tuple of Finding
            In their order.

        Examples
        --------
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.inspection import audit
        >>> [found.kind for found in audit(load_climb()).of("note")][:1]
        ['ends']
        """
        return tuple(found for found in self.findings if found.severity == severity)

    def to_frame(self) -> pd.DataFrame:
        """Return the findings as a table.

        Returns
        -------
        table : pandas.DataFrame
            One row per finding, with a column for each attribute of ``Finding``.

        Examples
        --------
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.inspection import audit
        >>> list(audit(load_climb()).to_frame())
        ['severity', 'kind', 'columns', 'n_rows', 'first_row', 'what', 'why', 'mend']
        """
        names = list(Finding.__dataclass_fields__)
        rows = [[getattr(found, name) for name in names] for found in self.findings]
        table = pd.DataFrame(rows, columns=names, dtype=object)
        return table.astype({"n_rows": "Int64"})

    def _headline(self) -> str:
        sizes = {
            "episodes": self.n_episodes,
            "states": self.n_states,
            "actions": self.n_actions,
        }
        counted = [f"{n:,} {word}" for word, n in sizes.items() if n is not None]
        return ", ".join([f"Audit of {self.n_rows:,} rows", *counted])

    def _verdict(self) -> str:
        counts = ", ".join(f"{len(self.of(level))} {level}(s)" for level in SEVERITIES)
        refuses = "fit refuses this table" if self.errors else "fit accepts this table"
        return f"{counts}: {refuses}"

    def __repr__(self) -> str:
        lines = [self._headline(), self._verdict()]
        for found in self.findings:
            lines += ["", f"{found.severity}: {found.kind} {found.where}".rstrip()]
            lines += [f"  {found.what}", f"  Why: {found.why}"]
            if found.mend:
                lines.append(f"  Mend: {found.mend}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """Return the findings as a table of HTML, all text escaped.

        Returns
        -------
        text : str
            One ``table`` element, as notebooks show it.

        Examples
        --------
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.inspection import audit
        >>> audit(load_climb()).to_html().startswith("<table>")
        True
        """
        heads = ("severity", "kind", "where", "what", "why", "mend")
        rows = [_html_row("th", heads)]
        rows += [
            _html_row("td", [str(getattr(found, name)) for name in heads])
            for found in self.findings
        ]
        caption = f"{self._headline()}<br>{self._verdict()}"
        return f"<table><caption>{caption}</caption>{''.join(rows)}</table>"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    """Return one row of a table, its text escaped."""
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

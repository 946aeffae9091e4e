"""A policy as an expression of SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.labels import IN_ZONE, UNKNOWN, as_scalars
from skmdp._messages import shown
from skmdp._typing import Array
from skmdp.export._card import card_of
from skmdp.export._columns import Column, Ranges, require_microseconds
from skmdp.export._rules import boxes_of


def to_sql(policy: Any) -> str:
    """Write a policy as a CASE expression of SQL.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy; of pipelines those whose ``StateEncoder`` makes bins or ordinal codes of
        single columns. A ``PolicyCard`` will do.

    Returns
    -------
    expression : str
        A CASE expression on columns as they are measured, under their own names: for example
        ``f"SELECT *, {to_sql(policy)} AS advice FROM patients"``.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, if its states cannot be told from single columns, or if labels are
        of a kind that SQL cannot hold.
    ValueError
        If ``handle_unknown`` is ``"nearest"``, or a label holds the character NUL.

    See Also
    --------
    to_json : A policy that predicts in Python.
    to_rules : Rules to read.

    Notes
    -----
    Names stand in double quotes and texts in single ones, those within them doubled, as the
    standard of SQL says; so neither can break out of its place. (MySQL needs the mode
    ``ANSI_QUOTES``.) Unknown states, and rows with NULL, get the most logged action, or NULL after
    ``handle_unknown="error"``. Numbers that fall into ranges should not be NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.export import to_sql
    >>> log = pd.DataFrame({"state": ["ill", "well"], "action": ["it's on", "off"],
    ...                     "next_state": None, "reward": 0.0})
    >>> print(to_sql(MarkovPolicyEstimator().fit(log)))
    CASE
      WHEN "state" IN ('ill') THEN 'it''s on'
      WHEN "state" IN ('well') THEN 'off'
      ELSE 'it''s on'
    END
    """
    card = card_of(policy)
    actions = [
        *_literals(card.actions, card.action_kind, "the action"),
        "NULL",
    ]  # the last: UNKNOWN
    literals = [
        []
        if isinstance(column, Ranges)
        else _literals(column.labels, column.kind, f"column {shown(column.name)}")
        for column in card.columns
    ]
    lines = ["CASE"]
    for conditions, action in boxes_of(card):
        parts = [
            _test(card.columns[place], literals[place], condition)
            for place, condition in conditions
            if condition is not None
        ]
        lines.append(f"  WHEN {' AND '.join(parts) or 'TRUE'} THEN {actions[action]}")
    default = UNKNOWN if card.default is None else card.default
    return "\n".join([*lines, f"  ELSE {actions[default]}", "END"])


def _test(column: Column, literals: list[str], condition: tuple[int, ...]) -> str:
    """Write a condition on one column."""
    name = '"' + str(column.name).replace('"', '""') + '"'
    if not isinstance(column, Ranges):
        return f"{name} IN ({', '.join(literals[code] for code in condition)})"
    if column.fill is not None:
        name = f"COALESCE({name}, {_number(column.fill)})"
    low, high = column.between(condition[0], condition[-1])
    tests = [f"{name} >= {_number(low)}"] * int(np.isfinite(low))
    tests += [f"{name} < {_number(high)}"] * int(np.isfinite(high))
    return " AND ".join(tests)


def _literals(labels: Array, kind: str, where: str) -> list[str]:
    """Write labels as SQL does."""
    require_microseconds(labels, where)
    if kind.startswith(IN_ZONE):
        instants = pd.to_datetime(labels, utc=True)
        return [f"TIMESTAMP WITH TIME ZONE '{one.isoformat(sep=' ')}'" for one in instants]
    if kind not in _WRITERS:
        raise TypeError(
            f"SQL has no words for labels of kind {shown(kind)}, which are those of {where}. "
            'Convert the column to strings before the fit, for example with .astype("string").'
        )
    return [_WRITERS[kind](label) for label in as_scalars(labels)]


def _text(label: str) -> str:
    """Write a text between single quotes, doubling those within it."""
    if "\0" in label:
        raise ValueError(
            f"The label {shown(label)} holds the character NUL, which SQL cannot hold."
        )
    return "'" + label.replace("'", "''") + "'"


def _number(value: float) -> str:
    """Write a number with an exponent, so that it is read as a double, not as a decimal."""
    written = repr(float(value))
    return written if "e" in written else f"{written}e0"


_WRITERS: dict[str, Callable[[Any], str]] = {
    "bool": lambda label: "TRUE" if label else "FALSE",
    "date": lambda label: f"DATE '{label.isoformat()}'",
    "datetime": lambda label: f"TIMESTAMP '{label.isoformat(sep=' ')}'",
    "float": _number,
    "int": str,
    "str": _text,
}

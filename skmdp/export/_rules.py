"""A policy as rules to read: states that lie together and have one answer are one rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from skmdp._log.labels import UNKNOWN, as_scalars, natural
from skmdp._messages import shown
from skmdp._typing import Integers
from skmdp.export._card import PolicyCard, Rules, card_of
from skmdp.export._columns import Column, Labels, Ranges

# What a column of a rule may hold: some labels, or the first and the last of ranges that lie
# together. None stands for anything.
Condition = tuple[int, ...] | None
Box = tuple[tuple[tuple[int, Condition], ...], int]


def to_rules(policy: Any) -> str:
    """Write a policy as rules to read.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy; of pipelines those whose ``StateEncoder`` makes bins or ordinal codes of
        single columns. A ``PolicyCard`` will do.

    Returns
    -------
    text : str
        One rule a line, by columns as they are measured; the last line says what is done elsewhere.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, or if its states cannot be told from single columns.
    ValueError
        If ``handle_unknown`` is ``"nearest"``.

    See Also
    --------
    to_sql : Rules for a database.
    skmdp.inspection.policy_table : The policy as a table, with what supports it.

    Notes
    -----
    States with the same answer are put together where they differ in the last column only.
    O(n_states).

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.export import to_rules
    >>> log = pd.DataFrame({
    ...     "stage": ["early", "early", "late", "late"], "age": [50, 60, 50, 60],
    ...     "action": ["wait", "wait", "treat", "wait"], "next_stage": None, "next_age": None,
    ...     "reward": 1.0,
    ... })
    >>> print(to_rules(MarkovPolicyEstimator(state=["stage", "age"]).fit(log)))
    if stage is 'early' and age is 50 or 60: 'wait'
    if stage is 'late' and age is 50: 'treat'
    if stage is 'late' and age is 60: 'wait'
    otherwise: 'wait'
    """
    card = card_of(policy)
    lines = []
    for conditions, action in boxes_of(card):
        parts = [
            _said(card.columns[place], condition)
            for place, condition in conditions
            if condition is not None
        ]
        answer = _said_action(card, action)
        lines.append(f"if {' and '.join(parts)}: {answer}" if parts else f"always: {answer}")
    default = UNKNOWN if card.default is None else card.default
    return "\n".join([*lines, f"otherwise: {_said_action(card, default)}"])


def boxes_of(card: PolicyCard) -> Iterator[Box]:
    """Go through the rules of a card, those together that differ in their last column only.

    Each is the conditions by the position of the column, and the position of the action.
    """
    for rules in card.rules:
        yield from _boxes(rules, [card.columns[place] for place in rules.places])


def _boxes(rules: Rules, columns: Sequence[Column]) -> Iterator[Box]:
    """Put rules together that differ in their last column only."""
    groups: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for codes, action in zip(rules.codes.tolist(), rules.actions.tolist(), strict=True):
        groups.setdefault((tuple(codes[:-1]), action), []).append(codes[-1])
    last = columns[-1]
    for (codes, action), found in groups.items():
        first = [(place, (code,)) for place, code in zip(rules.places, codes, strict=False)]
        for condition in _conditions(last, found):
            yield (*first, (rules.places[-1], condition)), action


def _conditions(column: Column, codes: list[int]) -> list[Condition]:
    """Return codes of a column as labels together, or as ranges that lie together."""
    if isinstance(column, Labels):
        return [tuple(codes)]
    ordered = np.sort(np.array(codes))
    runs: list[Integers] = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    ends = [(int(run[0]), int(run[-1])) for run in runs]
    return [None if end == (0, column.n_codes - 1) else end for end in ends]


def _said(column: Column, condition: tuple[int, ...]) -> str:
    """Write a condition in words."""
    if isinstance(column, Ranges):
        low, high = column.between(condition[0], condition[-1])
        if np.isinf(low):
            return f"{column.name} < {high:.6g}"
        return (
            f"{column.name} >= {low:.6g}"
            if np.isinf(high)
            else (f"{low:.6g} <= {column.name} < {high:.6g}")
        )
    labels = as_scalars(natural(column.kind, column.labels[list(condition)]))
    return f"{column.name} is {' or '.join(map(shown, labels))}"


def _said_action(card: PolicyCard, action: int) -> str:
    """Write an action in words."""
    return "no action" if action == UNKNOWN else shown(as_scalars(card.actions[[action]])[0])

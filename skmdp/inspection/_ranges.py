"""States behind encoders, shown in the units of the measurements that they were made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from skmdp.preprocessing._described import Part, parts_of, set_apart


def in_measured_units(
    states: dict[Any, Any], transformers: Sequence[Any], *, by_position: bool
) -> dict[Any, Any]:
    """Return some states, column by column, with what their encoders tell of the measurements.

    An encoded column that is made of one measurement gives way to it; columns that are made of
    several together are followed by them. ``by_position``: the states were an array without names,
    which the last transformer made.
    """
    shown = {name: {name: column} for name, column in states.items()}
    unexplained = set(states)
    for transformer in reversed(transformers[-1:] if by_position else transformers):
        parts = parts_of(transformer)
        if not parts:  # whatever this one made, those before it do not know
            break
        for part, keys in _columns_of(parts, list(states) if by_position else None):
            if unexplained.issuperset(keys):
                unexplained.difference_update(keys)
                shown |= _explained(part, keys, states)
    return {name: column for columns in shown.values() for name, column in columns.items()}


def _columns_of(
    parts: Sequence[Part], in_order: list[Any] | None
) -> Iterator[tuple[Part, list[Any]]]:
    """Go through parts with their encoded columns, by name or in the order of those given."""
    start = 0
    for part in parts:
        end = start + len(part.keys)
        yield part, list(part.keys) if in_order is None else in_order[start:end]
        start = end


def _explained(part: Part, keys: list[Any], states: dict[Any, Any]) -> dict[Any, dict[Any, Any]]:
    """Return the columns that are shown in place of each encoded one."""
    ranges = part.ranges([states[key] for key in keys])
    if {*part.keys} == {*ranges}:
        return {keys[0]: ranges}
    kept = set_apart(keys, ranges)
    shown: dict[Any, dict[Any, Any]] = {
        key: {name: states[key]} for key, name in zip(keys, kept, strict=True)
    }
    shown[max(keys, key=list(states).index)] |= ranges
    return shown

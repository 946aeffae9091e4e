"""States behind encoders, shown in the units of the measurements that they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skmdp.preprocessing._described import parts_of, set_apart


def in_measured_units(
    states: dict[Any, Any], transformers: Sequence[Any], *, by_position: bool
) -> dict[Any, Any]:
    """Return some states, column by column, with what their encoders tell of the measurements.

    An encoded column that is made of one measurement gives way to it; columns that are made of
    several together are followed by them. ``by_position``: the states were an array without names.
    """
    shown: dict[Any, dict[Any, Any]] = {name: {name: column} for name, column in states.items()}
    unexplained = set(states)
    for transformer in reversed(transformers):
        parts = parts_of(transformer)
        if not parts:  # whatever this one made, those before it do not know
            break
        encoded = [key for part in parts for key in part.keys]
        names: dict[Any, Any] = {key: key for key in encoded}
        if by_position:
            names = dict(zip(encoded, states, strict=False))
        for part in parts:
            keys = [names[key] for key in part.keys]
            if not unexplained.issuperset(keys):
                continue
            ranges = part.ranges([states[key] for key in keys])
            if {*part.keys} == {*ranges}:
                shown[keys[0]] = ranges
            else:
                kept = set_apart(keys, ranges)
                for key, name in zip(keys, kept, strict=True):
                    shown[key] = {name: states[key]}
                shown[keys[-1]] |= ranges
            unexplained.difference_update(keys)
        if by_position:
            break
    return {name: column for columns in shown.values() for name, column in columns.items()}

"""Processes from Gymnasium environments that hold their transition probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from skmdp._messages import shown
from skmdp._typing import Floats, Integers
from skmdp.mdp._arrays import averages
from skmdp.mdp._checks import MASS_TOLERANCE


def parts_of_environment(env: Any) -> dict[str, Any]:
    """Return the parts of a process by name."""
    own = getattr(env, "unwrapped", env)
    table = getattr(own, "P", None)
    if table is None:
        raise TypeError(
            f"{type(own).__name__} has no table P of transition probabilities; toy text "
            "environments such as FrozenLake have one. Play it instead, and learn from the log: "
            "skmdp.datasets.collect_transitions(env)."
        )
    outcomes = _outcomes(table)
    spaces = [getattr(own, f"{name}_space", None) for name in ("observation", "action")]
    state, following, n_states = _codes([outcomes[:, 0], outcomes[:, 3]], spaces[0], "state")
    action, n_actions = _codes([outcomes[:, 1]], spaces[1], "action")
    probability, reward, is_end = outcomes[:, 2], outcomes[:, 4], outcomes[:, 5] != 0
    keys, first, pair = np.unique(
        state * n_actions + action, return_index=True, return_inverse=True
    )
    sums: Floats = np.bincount(pair, probability).astype(np.float64)
    _check_sums(sums, state[first], action[first])
    acts = np.zeros(n_states, dtype=bool)
    acts[state] = True
    # Where the next state has no actions the process ends without further ado.
    goes_on = ~(is_end & acts[following]) & (probability != 0)
    shape = (len(keys), n_states)
    entries = probability[goes_on], (pair[goes_on], following[goes_on])
    distribution = getattr(own, "initial_state_distrib", None)
    return {
        "transitions": coo_array(entries, shape=shape).tocsr(),
        "rewards": averages(pair, probability, reward),
        "pair_state": keys // n_actions,
        "pair_action": keys % n_actions,
        "n_states": n_states,
        "n_actions": n_actions,
        "initial_distribution": distribution,
    }


def _outcomes(table: Any) -> Floats:
    """Return state, action, probability, next state, reward and end of all outcomes, (n, 6)."""
    rows = [
        (state, action, *outcome)
        for state, actions in _items(table)
        for action, outcomes in _items(actions)
        for outcome in outcomes
    ]
    if not rows:
        raise ValueError("P holds no outcomes; a process needs at least one pair.")
    _require(
        rows,
        [len(row) == 6 for row in rows],
        "outcomes must be (probability, next_state, reward, terminated)",
    )
    _require(
        rows,
        [all(isinstance(code, Integral) for code in (*row[:2], row[3])) for row in rows],
        "states and actions must be numbered, from 0 on",
    )
    outcomes = np.array(rows, dtype=np.float64)
    _require(rows, np.isfinite(outcomes).all(axis=1), "probabilities and rewards must be finite")
    return outcomes


def _require(rows: list[tuple[Any, ...]], is_right: npt.ArrayLike, wanted: str) -> None:
    """Raise for the first outcome that is not right."""
    if not np.all(is_right):
        state, action, *outcome = rows[int(np.argmin(is_right))]
        raise ValueError(
            f"In P, {wanted}; got {shown(tuple(outcome))} for action {shown(action)} in state "
            f"{shown(state)}. Correct the table."
        )


def _items(table: Any) -> Iterable[tuple[Any, Any]]:
    """Return keys and values of a mapping, or positions and values of a sequence."""
    return table.items() if hasattr(table, "items") else enumerate(table)


def _codes(numbers: list[Floats], space: Any, name: str) -> tuple[Any, ...]:
    """Return numbers as codes from 0 on, and the number of codes that there are."""
    least = int(min(part.min() for part in numbers))
    most = int(max(part.max() for part in numbers))
    n, start = getattr(space, "n", None), int(getattr(space, "start", 0))
    if n is None:
        n = most + 1
    if least < start or most >= start + n:  # the space is numbered, the table is not
        start = 0
    if least < 0 or most >= start + n:
        bad = least if least < 0 else most
        raise ValueError(
            f"P speaks of {name} {bad}, but the environment's space holds {int(n)} {name}s from "
            f"{int(getattr(space, 'start', 0))} on. Correct the space or the table."
        )
    return *(part.astype(np.int64) - start for part in numbers), int(n)


def _check_sums(sums: Floats, state: Integers, action: Integers) -> None:
    """Raise unless the outcomes of every pair sum to one; more is refused with the process."""
    short = sums < 1 - MASS_TOLERANCE
    if short.any():
        pair = int(np.argmax(short))
        raise ValueError(
            f"The probabilities of action {action[pair]} in state {state[pair]} sum to "
            f"{sums[pair]:.12g}, not to one. Add the outcome that is missing; an end is an outcome "
            "that is terminated."
        )

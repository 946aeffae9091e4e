"""What is checked of the arrays of a process before anything is computed.

Errors name the pair: its action, its state, and its position, counting from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse

from skmdp._typing import Floats, Integers

# Rows may sum to this much more than one, since probabilities come rounded. The bounds of solvers
# use the largest sum as it is.
MASS_TOLERANCE = 1e-9
# Entries, pairs and states that 32-bit indices can number; graph searches take no others.
MOST_ENTRIES = 2**31 - 1


def as_rows(transitions: Any) -> csr_array:
    """Return a CSR matrix as a CSR array of float64 with 32-bit indices, copied where needed."""
    if not (issparse(transitions) and transitions.format == "csr"):
        raise TypeError(
            "transitions must be a scipy sparse array in CSR format, got "
            f"{type(transitions).__name__}. Wrap it in scipy.sparse.csr_array, or use "
            "MDP.from_arrays."
        )
    n_entries = int(transitions.indptr[-1])
    if max(n_entries, *transitions.shape) > MOST_ENTRIES:
        raise ValueError(
            f"transitions has shape {transitions.shape} and {n_entries:,} entries; solvers number "
            f"at most {MOST_ENTRIES:,} of each, in 32 bits. Leave out entries of probability 0, or "
            "merge states that are alike."
        )
    parts = {
        "data": transitions.data.astype(np.float64, copy=False),
        "indices": transitions.indices.astype(np.int32, copy=False),
        "indptr": transitions.indptr.astype(np.int32, copy=False),
    }
    is_settled = all(part is getattr(transitions, name) for name, part in parts.items())
    if is_settled and isinstance(transitions, csr_array):
        return transitions
    return csr_array(tuple(parts.values()), shape=transitions.shape)


def as_codes(codes: npt.ArrayLike, name: str) -> Integers:
    """Return codes as an array of integers."""
    array = np.asarray(codes)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must hold codes, which are integers, got {array.dtype}.")
    return array


def check_shapes(
    transitions: csr_array,
    rewards: Floats,
    pair_state: Integers,
    pair_action: Integers,
    n_states: int,
) -> None:
    """Raise unless there are pairs, and as many of everything."""
    n_pairs = len(rewards)
    if transitions.shape != (n_pairs, n_states) or not n_pairs:
        raise ValueError(
            f"transitions has shape {transitions.shape}, expected ({n_pairs}, {n_states}): one row "
            "per pair, one column per state, and at least one pair."
        )
    for name, codes in (("pair_state", pair_state), ("pair_action", pair_action)):
        if codes.shape != (n_pairs,):
            raise ValueError(f"{name} has shape {codes.shape}, expected ({n_pairs},).")


def check_codes(pair_state: Integers, pair_action: Integers, n_states: int, n_actions: int) -> None:
    """Raise unless the pairs have codes in range, ascend, and are all different."""
    for name, codes, n in (
        ("pair_state", pair_state, n_states),
        ("pair_action", pair_action, n_actions),
    ):
        if codes.min() < 0 or codes.max() >= n:
            pair = int(np.argmax((codes < 0) | (codes >= n)))
            raise ValueError(
                f"{name} must be codes from 0 to {n - 1}, got {codes[pair]} at position {pair} "
                f"(counting from 0). Raise n_{name.removeprefix('pair_')}s, or correct the code."
            )
    s, a = pair_state, pair_action
    rises = (s[1:] > s[:-1]) | ((s[1:] == s[:-1]) & (a[1:] > a[:-1]))
    if not rises.all():
        first = int(np.argmin(rises))
        _refuse_order(s[first : first + 2].tolist(), a[first : first + 2].tolist(), first)


def _refuse_order(states: list[int], actions: list[int], first: int) -> None:
    """Raise for two neighbours that are the same pair, or in the wrong order."""
    wanted = "pairs must be unique and sorted by state, then action"
    if states[0] == states[1] and actions[0] == actions[1]:
        raise ValueError(
            f"Pairs {first} and {first + 1} (counting from 0) are both action {actions[0]} in "
            f"state {states[0]}; {wanted}. Keep one of them, or average their rows."
        )
    raise ValueError(
        f"Pair {first} (counting from 0) is action {actions[0]} in state {states[0]}, and the next "
        f"one action {actions[1]} in state {states[1]}; {wanted}. Use MDP.from_arrays with "
        "pair_state and pair_action, which sorts."
    )


def named(pair: int, pair_state: Integers, pair_action: Integers) -> str:
    """Write a pair as messages do."""
    return f"action {pair_action[pair]} in state {pair_state[pair]} (pair {pair}, counting from 0)"


def check_rewards(rewards: Floats, pair_state: Integers, pair_action: Integers) -> None:
    """Raise unless all rewards are finite."""
    if not np.isfinite(rewards).all():
        pair = int(np.argmin(np.isfinite(rewards)))
        raise ValueError(
            f"rewards must be finite, got {rewards[pair]} for "
            f"{named(pair, pair_state, pair_action)}. Correct it; leave out a pair that is not "
            "admissible (MDP.from_arrays takes -inf to say so)."
        )


def check_probabilities(
    transitions: csr_array, mass: Floats, pair_state: Integers, pair_action: Integers
) -> None:
    """Raise unless rows hold probabilities; ``mass`` (n_pairs,) is the sum of each."""
    indices, data = transitions.indices, transitions.data
    n_states = transitions.shape[1]
    # NaN fails every comparison, so the question is whether all is well.
    if data.min(initial=0.0) >= 0 and mass.max() <= 1 + MASS_TOLERANCE:
        return
    pairs = np.repeat(np.arange(len(pair_state)), np.diff(transitions.indptr))
    is_bad = ~((data >= 0) & (data <= 1 + MASS_TOLERANCE))
    if is_bad.any():
        entry = int(np.argmax(is_bad))
        raise ValueError(
            "transitions must hold probabilities, none negative, above one or NaN, got "
            f"{data[entry]} for next state {indices[entry]} of {n_states} after "
            f"{named(int(pairs[entry]), pair_state, pair_action)}. Correct it, or leave the entry "
            "out."
        )
    pair = int(np.argmin(mass <= 1 + MASS_TOLERANCE))
    raise ValueError(
        f"The probabilities after {named(pair, pair_state, pair_action)} sum to "
        f"{mass[pair]:.12g}, {mass[pair] - 1:.3g} more than one. Divide the row by its sum, in "
        "float64, if it is rounded; if it comes from an array of three axes, these may be swapped "
        "(first_axis of MDP.from_arrays)."
    )


def check_successors(transitions: csr_array, pair_state: Integers, pair_action: Integers) -> None:
    """Raise unless next states have codes in range, which scipy takes on trust."""
    indices, n_states = transitions.indices, transitions.shape[1]
    if indices.min(initial=0) >= 0 and indices.max(initial=-1) < n_states:
        return
    entry = int(np.argmax((indices < 0) | (indices >= n_states)))
    pair = int(np.searchsorted(transitions.indptr, entry, side="right") - 1)
    raise ValueError(
        f"transitions must lead to states from 0 to {n_states - 1}, got {indices[entry]} after "
        f"{named(pair, pair_state, pair_action)}. Raise n_states, or correct the column."
    )


def as_distribution(probabilities: npt.ArrayLike | None, n_states: int) -> Floats | None:
    """Return the probability of starting in each state, checked."""
    if probabilities is None:
        return None
    array = np.asarray(probabilities, dtype=np.float64)
    if array.shape != (n_states,):
        raise ValueError(
            f"initial_distribution has shape {array.shape}, expected ({n_states},): the "
            "probability of starting in each state."
        )
    if not (array >= 0).all():
        state = int(np.argmin(array >= 0))
        raise ValueError(
            f"initial_distribution must hold probabilities, got {array[state]} for state {state}."
        )
    if not abs(array.sum() - 1) <= MASS_TOLERANCE:
        raise ValueError(
            f"initial_distribution sums to {array.sum():.12g}, not to one. Divide it by its sum."
        )
    return array

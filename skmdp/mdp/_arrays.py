"""Processes from the arrays of other libraries, and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse, vstack

from skmdp._messages import shown
from skmdp._typing import Floats, Integers
from skmdp.mdp._checks import as_codes

FirstAxis = Literal["state", "action"]

FORMS = (
    "an array (n_states, n_actions, n_states), a list with a matrix (n_states, n_states) for each "
    "action, or a matrix (n_pairs, n_states) with pair_state and pair_action"
)


def parts_of_arrays(
    transitions: Any,
    rewards: Any,
    pair_state: npt.ArrayLike | None,
    pair_action: npt.ArrayLike | None,
    first_axis: FirstAxis | None,
) -> dict[str, Any]:
    """Return the parts of a process by name; pairs whose reward is -inf are left out."""
    if first_axis is not None:
        check_first_axis(first_axis)
    if (pair_state is None) != (pair_action is None):
        raise ValueError("pair_state and pair_action belong together: give both, or neither.")
    if pair_state is None or pair_action is None:
        rows, n_actions = _stacked(transitions, first_axis, "transitions")
        state, action = np.divmod(np.arange(rows.shape[0]), n_actions)
        expected = _rewards_of_all(rewards, rows, n_actions, first_axis)
    else:
        rows = _as_matrix(transitions)
        state = _codes_of_rows(pair_state, "pair_state", rows)
        action = _codes_of_rows(pair_action, "pair_action", rows)
        n_actions = int(action.max(initial=-1)) + 1
        expected = _rewards_of_pairs(rewards, rows)
    is_admissible = expected != -np.inf
    order = np.lexsort((action, state))
    order = order[is_admissible[order]]
    if not len(order):
        raise ValueError("No pair is admissible: there is none, or all rewards are -inf.")
    if len(order) < rows.shape[0] or (np.diff(order) != 1).any():
        rows = rows[order]
    return {
        "transitions": rows,
        "rewards": expected[order],
        "pair_state": state[order],
        "pair_action": action[order],
        "n_states": rows.shape[1],
        "n_actions": n_actions,
    }


def check_first_axis(first_axis: str) -> None:
    """Raise unless the first of three axes is one that there is."""
    if first_axis not in ("state", "action"):
        raise ValueError(f"first_axis must be 'state' or 'action', got {shown(first_axis)}.")


def _is_list_of_matrices(blocks: Any) -> bool:
    """Whether something is a list, tuple or array of objects that hold two-dimensional arrays."""
    if isinstance(blocks, np.ndarray):
        return blocks.dtype == object and blocks.ndim == 1 and _is_list_of_matrices(list(blocks))
    return isinstance(blocks, list | tuple) and any(
        len(getattr(block, "shape", ())) == 2 for block in blocks
    )


def _stacked(blocks: Any, first_axis: FirstAxis | None, name: str) -> tuple[csr_array, int]:
    """Return (S, A, S) numbers with a row for each state and action, CSR, and the number A."""
    if _is_list_of_matrices(blocks):
        axis = first_axis or "action"
        shape, rows = _matrices_as_rows(blocks, name)
    elif isinstance(blocks, np.ndarray) and blocks.ndim == 3:
        axis, shape = first_axis or "state", blocks.shape
        rows = csr_array(blocks.reshape(-1, shape[2]))
    else:
        found = f"shape {blocks.shape}" if hasattr(blocks, "shape") else type(blocks).__name__
        raise TypeError(f"{name} must be {FORMS}, got {found}. Make nested lists a numpy.array.")
    other: FirstAxis = "action" if axis == "state" else "state"
    n_states, n_actions = shape[:2] if axis == "state" else shape[1::-1]
    if shape[2] != n_states:
        raise ValueError(
            f"{name} has shape {shape}, of which the first axis is the {axis} and the last one the "
            f"next state, but it counts {n_states} states and {shape[2]} next states. The axes may "
            f'be swapped: if the first one is the {other}, say first_axis="{other}".'
        )
    if axis == "action":
        rows = rows[np.arange(rows.shape[0]).reshape(n_actions, n_states).T.ravel()]
    return rows, n_actions


def _matrices_as_rows(blocks: Any, name: str) -> tuple[tuple[int, ...], csr_array]:
    """Return the shape of matrices side by side, and their rows below each other."""
    shapes = [np.shape(block) for block in blocks]
    odd = [i for i, shape in enumerate(shapes) if shape != shapes[0]]
    if odd:
        raise ValueError(
            f"{name} is a list of matrices of different shapes: {shapes[0]}, and {shapes[odd[0]]} "
            f"at position {odd[0]} (counting from 0)."
        )
    return (len(shapes), *shapes[0]), vstack([csr_array(block) for block in blocks], format="csr")


def _rewards_of_all(
    rewards: Any, rows: csr_array, n_actions: int, first_axis: FirstAxis | None
) -> Floats:
    """Return the expected reward of every action in every state, (S * A,)."""
    n_states = rows.shape[1]
    if _is_list_of_matrices(rewards) or np.ndim(rewards) == 3:
        of_next, n_found = _stacked(rewards, first_axis, "rewards")
        if (of_next.shape, n_found) != (rows.shape, n_actions):
            raise ValueError(
                f"rewards are for {of_next.shape[1]} states and {n_found} actions, transitions for "
                f"{n_states} and {n_actions}. The axes of one may be swapped; see first_axis."
            )
        return expected_rewards(rows, of_next)
    array = np.asarray(rewards.toarray() if issparse(rewards) else rewards, dtype=np.float64)
    if array.shape == (n_states,):
        return np.repeat(array, n_actions)
    if array.shape == (n_states, n_actions):
        return array.ravel()
    raise ValueError(
        f"rewards has shape {array.shape}, expected ({n_states},), ({n_states}, {n_actions}) or "
        "the shape of transitions."
    )


def _as_matrix(transitions: Any) -> csr_array:
    """Return a row for each pair, CSR."""
    if len(getattr(transitions, "shape", ())) != 2:
        raise ValueError(
            "With pair_state and pair_action, transitions must be a matrix (n_pairs, n_states), "
            f"got {shown(getattr(transitions, 'shape', type(transitions).__name__))}."
        )
    return csr_array(transitions)


def _codes_of_rows(codes: npt.ArrayLike, name: str, rows: csr_array) -> Integers:
    """Return the code of each row of a matrix."""
    array = as_codes(codes, name)
    if array.shape != rows.shape[:1]:
        raise ValueError(
            f"{name} has shape {array.shape}, expected ({rows.shape[0]},): one code for each row "
            "of transitions."
        )
    return array


def _rewards_of_pairs(rewards: Any, rows: csr_array) -> Floats:
    """Return the expected reward of every pair, (n_pairs,)."""
    if issparse(rewards) or np.shape(rewards) == rows.shape:
        if rewards.shape == rows.shape:
            return expected_rewards(rows, csr_array(rewards))
    elif np.shape(rewards) == rows.shape[:1]:
        return np.asarray(rewards, dtype=np.float64)
    raise ValueError(
        f"rewards has shape {np.shape(rewards)}, expected ({rows.shape[0]},), one for each pair, "
        f"or {rows.shape}, one for each pair and next state."
    )


def averages(group: Integers, weights: Floats, amounts: Floats) -> Floats:
    """Return the mean of each group; weights sum to one, and equal amounts are not rounded."""
    n = int(group.max()) + 1
    anchor = np.empty(n)
    anchor[group] = amounts
    more = np.bincount(group, weights * (amounts - anchor[group]), minlength=n)
    return np.asarray(anchor + more)


def expected_rewards(rows: csr_array, of_next: csr_array) -> Floats:
    """Return the sum over next states of probability times reward, (n_pairs,).

    A reward counts only where the probability is not 0, even if it is infinite.
    """
    keys, probability = _entries(rows)
    others, reward = _entries(of_next)
    at = np.minimum(np.searchsorted(others, keys), max(len(others) - 1, 0))
    is_paid = np.zeros(len(keys), dtype=bool) if not len(others) else others[at] == keys
    is_paid &= probability != 0
    pair = keys[is_paid] // rows.shape[1]
    paid = probability[is_paid] * reward[at[is_paid]]
    return np.bincount(pair, paid, minlength=rows.shape[0]).astype(np.float64)


def _entries(matrix: csr_array) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the numbers row * n_columns + column of the entries, ascending, and the entries."""
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return row * matrix.shape[1] + matrix.indices, matrix.data


def arrays_of_rows(
    rows: csr_array,
    rewards: Floats,
    ends: npt.NDArray[np.bool_],
    pair_state: Integers,
    pair_action: Integers,
    n_actions: int,
) -> tuple[Floats, Floats]:
    """Return P (S, A, S) and R (S, A) where each row sums to one, with a state for the end."""
    n_own = rows.shape[1]
    n = n_own + int(ends.any())
    P = np.zeros((n, n_actions, n))
    R = np.full((n, n_actions), -np.inf)
    states = np.arange(n)
    P[states, :, states] = 1.0
    acts = np.zeros(n, dtype=bool)
    acts[pair_state] = True
    R[~acts] = 0.0
    R[pair_state, pair_action] = rewards
    P[pair_state, pair_action, pair_state] = 0.0
    entries = rows.tocoo()
    np.add.at(P, (pair_state[entries.row], pair_action[entries.row], entries.col), entries.data)
    P[pair_state[ends], pair_action[ends], -1] = 1 - np.asarray(rows.sum(axis=1))[ends]
    return P, R

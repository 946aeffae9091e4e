"""What users hand in besides the process: values of states, and numbers of many processes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skmdp._messages import quoted, shown
from skmdp._typing import Bools, Floats
from skmdp.mdp import MDP
from skmdp.mdp._checks import MASS_TOLERANCE, named


def read_state_values(mdp: MDP, name: str, values: npt.ArrayLike) -> Floats:
    """Return one finite number for each state, (n_states,), or refuse them by their name."""
    read = np.asarray(values, dtype=np.float64)
    if read.shape != (mdp.n_states,):
        raise ValueError(
            f"{name} has shape {read.shape}, expected ({mdp.n_states},): one value per state."
        )
    wrong = np.flatnonzero(~np.isfinite(read))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite, got {shown(read[wrong[0]])} for state {wrong[0]}."
        )
    return read


def _read(name: str, numbers: npt.ArrayLike, n: int, of_what: str) -> Floats:
    """Return numbers as an array (n_sets, n), or refuse their shape."""
    read = np.ascontiguousarray(numbers, dtype=np.float64)
    if read.ndim != 2 or read.shape[1] != n or not len(read):
        raise ValueError(
            f"{name} has shape {read.shape}, expected (n_sets, {n}): one row for each process, "
            f"with one number for each of the {n} {of_what}."
        )
    return read


def read_rewards(mdp: MDP, rewards: npt.ArrayLike | None) -> Floats:
    """Return the rewards of each set, (n_sets, n_pairs), or of all, (1, n_pairs)."""
    if rewards is None:
        return np.ascontiguousarray(mdp.rewards)[np.newaxis]
    read = _read("rewards", rewards, len(mdp.rewards), "pairs")
    is_wrong = ~np.isfinite(read)
    if is_wrong.any():
        i, pair = np.argwhere(is_wrong)[0]
        raise ValueError(
            f"rewards must be finite, got {shown(read[i, pair])} in set {i} for "
            f"{named(pair, mdp.pair_state, mdp.pair_action)}{_and_more(is_wrong)}. Correct it, or "
            "leave the set out."
        )
    return read


def read_probabilities(mdp: MDP, probabilities: npt.ArrayLike | None) -> Floats | None:
    """Return the entries of P of each set, (n_sets, n_nonzero); None if they are those of mdp."""
    if probabilities is None:
        return None
    P = mdp.transitions
    read = _read("probabilities", probabilities, P.nnz, "transitions (mdp.transitions.nnz)")
    is_wrong = ~((read >= 0) & (read <= 1 + MASS_TOLERANCE))
    if is_wrong.any():
        i, entry = np.argwhere(is_wrong)[0]
        pair = int(np.searchsorted(P.indptr, entry, side="right")) - 1
        raise ValueError(
            "probabilities must be between 0 and 1, got "
            f"{shown(read[i, entry])} in set {i} for next state {P.indices[entry]} after "
            f"{named(pair, mdp.pair_state, mdp.pair_action)}{_and_more(is_wrong)}. Correct it, or "
            "leave the set out."
        )
    mass = row_sums(mdp, read)
    is_wrong = mass > 1 + MASS_TOLERANCE
    if is_wrong.any():
        i, pair = np.argwhere(is_wrong)[0]
        raise ValueError(
            f"probabilities in set {i} sum to {mass[i, pair]:.12g} after "
            f"{named(pair, mdp.pair_state, mdp.pair_action)}, more than one"
            f"{_and_more(is_wrong)}. Divide the row by its sum, or leave the set out."
        )
    return read


def _and_more(is_wrong: Bools) -> str:
    """Say in which other sets something is wrong."""
    others = np.flatnonzero(is_wrong.any(axis=1)).tolist()[1:]
    return f", and likewise in set(s) {quoted(others)}" if others else ""


def row_sums(mdp: MDP, data: Floats) -> Floats:
    """Return the sum of the entries of each row of P, in each set, (n_sets, n_pairs)."""
    indptr = mdp.transitions.indptr
    sums = np.zeros((len(data), len(mdp.rewards)))
    is_filled = indptr[1:] > indptr[:-1]
    sums[:, is_filled] = np.add.reduceat(data, indptr[:-1][is_filled], axis=1)
    return sums

"""Policies as users hand them in: a code or probabilities for each state."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse

from skmdp._messages import quoted, shown
from skmdp._typing import Floats, Integers
from skmdp.mdp._mdp import MDP

# Probabilities of a state may sum to this much more or less than one, as those of float32 do.
SUM_TOLERANCE = 1e-6


def pair_probabilities(mdp: MDP, policy: Any) -> Floats:
    """Return the probability with which a policy takes each pair in its state, (n_pairs,).

    ``policy`` is integer action codes (n_states,), probabilities (n_states, n_actions), dense or
    sparse, or probabilities of the pairs (n_pairs,). They are divided by their sum. What is said of
    states without pairs does not matter, since nothing is decided there.
    """
    given: Any = policy if issparse(policy) else np.asarray(policy)
    if given.dtype.kind not in "iuf":
        raise ValueError(
            f"policy holds values of type {given.dtype}. Hand in codes of actions, as integers, or "
            "probabilities, as floats."
        )
    per_pair, n_pairs = np.zeros(len(mdp.rewards)), len(mdp.rewards)
    if given.shape == (mdp.n_states, mdp.n_actions):
        entries = given.tocoo() if issparse(given) else None
        state, action = np.nonzero(given) if entries is None else (entries.row, entries.col)
        amount = given[state, action] if entries is None else entries.data
        np.add.at(per_pair, *_found(mdp, state, action, np.asarray(amount, dtype=np.float64)))
    elif given.shape == (mdp.n_states,) and given.dtype.kind in "iu":
        state = mdp.acting_states
        np.add.at(per_pair, *_found(mdp, state, given[state], np.ones(len(state))))
    elif given.shape == (n_pairs,) and given.dtype.kind == "f":
        per_pair += given
    else:
        raise ValueError(
            f"policy has shape {given.shape} and type {given.dtype}, expected ({mdp.n_states},) "
            f"action codes, as integers, or ({mdp.n_states}, {mdp.n_actions}) probabilities, or "
            f"those of the pairs, ({n_pairs},), as floats."
        )
    return _normalized(mdp, per_pair)


def _found(mdp: MDP, state: Integers, action: Integers, amount: Floats) -> tuple[Integers, Floats]:
    """Return the pairs of the given states and actions, and their amounts; none may be missing."""
    codes = mdp.pair_state.astype(np.int64) * mdp.n_actions + mdp.pair_action
    acts = np.zeros(mdp.n_states, dtype=bool)
    acts[mdp.acting_states] = True
    matters = acts[state] & (amount != 0)
    state, action, amount = state[matters], action[matters], amount[matters]
    wanted = state.astype(np.int64) * mdp.n_actions + action
    pair = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    is_wrong = (codes[pair] != wanted) | (action < 0) | (action >= mdp.n_actions)
    if is_wrong.any():
        i = int(np.argmax(is_wrong))
        own = mdp.pair_action[mdp.pair_state == state[i]]
        raise ValueError(
            f"policy takes action {action[i]} in state {state[i]}, which has no such action. It "
            f"has {quoted(own.tolist())}."
        )
    return pair, amount


def _normalized(mdp: MDP, probability: Floats) -> Floats:
    """Return probabilities that sum to one in each acting state; refuse what are none."""
    wrong = np.flatnonzero(~(probability >= 0))
    if len(wrong):
        i = wrong[0]
        raise ValueError(
            f"policy takes action {mdp.pair_action[i]} in state {mdp.pair_state[i]} with "
            f"probability {shown(probability[i])}: it must be a number from 0 to 1."
        )
    total = np.add.reduceat(probability, mdp.first_pairs)
    is_wrong = ~(np.abs(total - 1) <= SUM_TOLERANCE)
    if is_wrong.any():
        i = int(np.argmax(is_wrong))
        raise ValueError(
            f"policy takes the actions of state {mdp.acting_states[i]} with probabilities that sum "
            f"to {total[i]:.9g}, not 1."
        )
    n_each = np.diff(np.append(mdp.first_pairs, len(probability)))
    return np.asarray(probability / np.repeat(total, n_each))

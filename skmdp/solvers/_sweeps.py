"""Sweeps that follow one policy."""

from __future__ import annotations

import numpy as np

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.mdp._bellman import pair_values
from skmdp.solvers._bounds import center_residual

# Sweeps of the policy between two looks at its residual, and how often to look at most.
INNER_SWEEPS = 10
INNER_ROUNDS = 20


def follow_policy(
    policy: MDP, gamma: float, V: Floats, tolerance: float, is_closed: bool
) -> Floats:
    """Sweep V <- R + gamma P V of one policy until a sweep changes little, or long enough."""
    for _ in range(INNER_ROUNDS):
        for _ in range(INNER_SWEEPS):
            previous, V = V, np.zeros(policy.n_states)
            V[policy.pair_state] = pair_values(policy, gamma, previous)
        if center_residual(V - previous, is_closed)[1] <= tolerance:
            break
    return V

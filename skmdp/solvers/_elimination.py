"""The values of one policy by its linear equations, if their band is narrow enough."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import diags_array, eye_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from skmdp._typing import Floats
from skmdp.mdp import MDP

# Largest n x width^2 of equations that are factorised: about a second, and 100 MB.
MOST_WORK = 1e9
LEAST_WIDTH = 200


class PolicyEquations:
    """V = R + gamma P V of a process with one pair a state, factorised.

    ``solve(d)`` returns the x (n_acting,) with x = d + gamma P x. ``of`` returns None if the
    factors would need too much time or memory.
    """

    def __init__(self, factors: Any, order: Any, n_acting: int) -> None:
        self._factors = factors
        self._order = order
        self._n_acting = n_acting

    @classmethod
    def of(cls, policy: MDP, gamma: float) -> PolicyEquations | None:
        whole = policy.without_hubs
        n_acting = len(policy.rewards)
        # The hubs that the policy uses; the others would only widen the equations.
        used = np.bincount(
            whole.transitions.indices[: whole.transitions.indptr[n_acting]],
            minlength=whole.n_states,
        )
        keep = np.flatnonzero((whole.pair_state < policy.n_states) | (used[whole.pair_state] > 0))
        state = whole.pair_state[keep]
        discounts = np.where(state < policy.n_states, gamma, 1.0)
        P = diags_array(discounts) @ whole.transitions[keep][:, state]
        equations = (eye_array(len(keep)) - P).tocsr()
        order = reverse_cuthill_mckee(equations)
        equations = equations[order][:, order].tocoo()
        width = int(np.abs(equations.row - equations.col).max(initial=0))
        if len(keep) * float(width) * max(width, LEAST_WIDTH) > MOST_WORK:
            return None
        # Rows are dominated by their diagonal, so none need be exchanged.
        factors = splu(equations.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0)
        return cls(factors, order, n_acting)

    def solve(self, d: Floats) -> Floats:
        right = np.zeros(len(self._order))
        right[: self._n_acting] = d
        x = np.empty_like(right)
        x[self._order] = self._factors.solve(right[self._order])
        return x[: self._n_acting]

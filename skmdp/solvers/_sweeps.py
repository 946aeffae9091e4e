"""Approximate values of one policy after the other."""

from __future__ import annotations

import numpy as np

from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._bounds import Discounting, Proof, shared_part
from skmdp.solvers._elimination import PolicyEquations

# Sweeps of the policy between two looks at its residual, and the largest number of looks.
INNER_SWEEPS = 10
INNER_ROUNDS = 20
# A policy's residual relative to that of the optimum at which improving the policy pays again.
INNER_TOLERANCE = 0.1
# States up to which the equations of a policy cost less than sweeps, whatever the policy.
FEW_STATES = 100


class Follower:
    """Moves V towards the values of policies of a process, one after the other.

    It sweeps V <- R + gamma P V. Once that takes too long, it solves the policy's equations.
    """

    def __init__(self, mdp: MDP, gamma: float, discounting: Discounting) -> None:
        self._mdp, self._gamma, self._discounting = mdp, gamma, discounting
        self._pairs: Integers | None = None
        self._equations: PolicyEquations | None = None
        self._solves = False
        self._may_solve = mdp.is_linear

    def follow(self, greedy: Integers, proof: Proof) -> Floats:
        """Return values closer to those of the greedy policy than the values proven.

        An action stays as long as no other is better by more than noise.
        """
        pairs, V, Q = greedy, proof.values, proof.q_values
        if self._pairs is not None:
            pairs = np.where(Q[self._pairs] >= Q[pairs] - proof.noise, self._pairs, pairs)
        is_new = self._pairs is None or bool((pairs != self._pairs).any())
        if is_new:
            self._pairs, self._policy = pairs, self._mdp.restrict(pairs)
            self._equations = None
        # A policy that still changes is not worth the cost of exact values, unless it is small.
        is_settled = not is_new or len(pairs) <= FEW_STATES
        if self._solves and self._equations is None and is_settled:
            self._equations = PolicyEquations.of(self._policy, self._gamma)
            self._solves = self._may_solve = self._equations is not None
        if self._equations is not None:
            return self._correct(V, self._equations)
        V, is_done = self._sweep(V, INNER_TOLERANCE * self._discounting.width(proof.d))
        self._solves = self._may_solve and not is_done
        return V

    def _sweep(self, V: Floats, tolerance: float) -> tuple[Floats, bool]:
        """Sweep until a sweep changes little; return V, and False if that takes too many sweeps."""
        acting = self._policy.pair_state
        for _ in range(INNER_ROUNDS):
            for _ in range(INNER_SWEEPS):
                previous, V = V, np.zeros(self._policy.n_states)
                V[acting] = self._policy.pair_values(previous, self._gamma)
            change = V[acting] - previous[acting]
            if self._discounting.forgets_level:  # rounding is relative to what is left
                V[acting] -= shared_part(V[acting])
            if self._discounting.width(change) <= tolerance:
                return V, True
        return V, False

    def _correct(self, V: Floats, equations: PolicyEquations) -> Floats:
        """Add to V its distance from the policy's values; rounding is relative to the distance."""
        acting = self._policy.pair_state
        d = self._policy.pair_values(V, self._gamma) - V[acting]
        if self._discounting.forgets_level:
            d -= shared_part(d)
        V = V.copy()
        V[acting] += equations.solve(d)
        return V

"""Values and a policy on their way to the best ones."""

from __future__ import annotations

import numpy as np

from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._bounds import UNBOUNDED, Discounting, Proof, prove, shared_part
from skmdp.solvers._equations import solve_dense
from skmdp.solvers._kernels import Choices, first_best, improve, padded
from skmdp.solvers._sweeps import Evaluator

EPS = float(np.finfo(np.float64).eps)
# A policy's residual relative to that of the optimum at which improving the policy pays again.
INNER_TOLERANCE = 0.1
STILL_TOLERANCE = 1e-2
# States, and entries of P, up to which a full matrix is faster than a sparse one.
TINY_STATES = 64
TINY_ENTRIES = 100_000
# Share of the pairs that must be left for pairs that are not best to be worth keeping.
MOST_LEFT = 0.7


def acting_first(mdp: MDP) -> MDP:
    """Return the process with its acting states first, and a full P if there are few."""
    acting, n = mdp.acting_states, mdp.n_states
    if len(acting) < n:
        code = np.empty(n, dtype=np.intp)
        code[acting] = np.arange(len(acting))
        acts = np.zeros(n, dtype=bool)
        acts[acting] = True
        code[~acts] = np.arange(len(acting), n)
        mdp = mdp.renumbered(code)
    is_tiny = n <= TINY_STATES and n * len(mdp.rewards) <= TINY_ENTRIES
    return mdp.with_dense_rows() if is_tiny and mdp.is_linear else mdp


class Search:
    """Policy iteration step by step: ``improve`` proves a bound, ``evaluate`` follows the policy.

    ``n_changed`` is the number of states that the last improvement gave another action. ``process``
    holds the pairs that may still be best, its acting states first. ``evaluation`` is the way in
    which policies are followed.
    """

    def __init__(
        self,
        mdp: MDP,
        gamma: float,
        discounting: Discounting,
        initial_values: Floats | None = None,
        *,
        evaluation: type[Evaluator] = Evaluator,
        may_eliminate: bool = True,
    ) -> None:
        self._mdp, self._gamma, self._discounting = mdp, gamma, discounting
        self.process = acting_first(mdp)
        self._choices = Choices(self.process)
        self._n_cheap = len(mdp.rewards) // len(mdp.acting_states) + 3
        is_solvable = evaluation.solves and mdp.is_linear and discounting.most < UNBOUNDED
        self._is_full = isinstance(self.process.transitions, np.ndarray) and is_solvable
        may_solve = is_solvable and not self._is_full
        self._evaluator = evaluation(gamma, discounting, may_solve=may_solve)
        self._may_eliminate = may_eliminate
        n = len(mdp.acting_states)
        V = np.zeros(n) if initial_values is None else initial_values[mdp.acting_states]
        self.V = padded(V, mdp.n_states).astype(np.float64)
        self._chosen: Integers | None = None
        self._n_open = -1
        self.n_changed = n

    def improve(self) -> Proof:
        """Look at all pairs once; return what that proves."""
        n = len(self._choices.first)
        TV, gaps = improve(self.process, self._choices, self.V, self._gamma)
        self._proof = prove(self._mdp, self._discounting, self.V[:n], TV)
        self._TV, self._gaps = TV, gaps
        self._best = first_best(self._choices, gaps)
        if self._chosen is not None:
            # An action stays as long as no other is better by more than the last bits.
            stays = gaps[self._chosen] <= 2 * EPS * (self._mdp.largest_reward + self._proof.largest)
            self._best = np.where(stays, self._chosen, self._best)
            self.n_changed = int(np.count_nonzero(self._best != self._chosen))
        return self._proof

    def may_be_decided(self) -> bool:
        """Return whether it is worth the work to look which best actions are proven.

        That is so where no other pair is as close as the errors, or no fewer than at the last call.
        """
        before = self._n_open
        is_open = self._gaps <= self._proof.spread_bound
        self._n_open = int(np.count_nonzero(is_open)) - len(self._best)
        return self._n_open == 0 or self._n_open == before

    def values(self) -> Floats:
        """Return the values proven by the last improvement, less their level, (n_states,)."""
        values = np.zeros(self._mdp.n_states)
        values[self._mdp.acting_states] = self._TV + self._proof.moved
        return values

    def evaluate(self) -> None:
        """Move V towards the values of the improved policy."""
        proof, is_new = self._proof, self._chosen is None or self.n_changed > 0
        self._chosen = self._best
        if self._is_full and self._solve():
            return
        if is_new:
            self._policy = self.process.restrict(self._best)
        if self._may_eliminate:
            self._eliminate(proof.spread_bound + 2 * proof.noise)
        enough = 2 * proof.noise * self._discounting.most
        width = (INNER_TOLERANCE if self.n_changed else STILL_TOLERANCE) * self._discounting.width(
            proof.lo, proof.hi
        )
        self.V = self._evaluator.evaluate(
            self._policy,
            self._TV + proof.moved,
            goal=max(width, enough),
            enough=enough,
            cheap=self._n_cheap,
            change=self.n_changed / len(self._best),
        )

    def _solve(self) -> bool:
        """Move V to the values of the policy, by equations with a full matrix, if that works.

        Rounding is relative to the distance from these values.
        """
        n = len(self._best)
        forgets = self._discounting.forgets_level
        d = self._TV - self._gaps[self._best] - self.V[:n]
        if forgets:
            d -= shared_part(d)
        try:
            x = solve_dense(self.process.transitions[self._best], self._gamma, d)
        except np.linalg.LinAlgError:  # nothing but rounding is left of a pivot
            return False
        self.V[:n] += x
        if forgets:  # rounding is relative to what is left
            self.V[:n] -= shared_part(self.V[:n])
        return True

    def _eliminate(self, margin: float) -> None:
        """Drop the pairs that are proven not to be best, if they are many.

        Q* is at most Q plus the upper end of the interval, and V* at least T V plus the lower one.
        """
        is_left = self._gaps <= margin
        n_left = int(np.count_nonzero(is_left))
        # Nothing is known of values that have overflown: no gap compares with them.
        if len(self._choices.first) <= n_left <= MOST_LEFT * len(is_left):
            self.process = self.process.restrict(np.flatnonzero(is_left))
            self._choices = Choices(self.process)
            self._chosen = (np.cumsum(is_left) - 1)[self._chosen]

"""A process estimated from a log, in which pairs share distributions of next states."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import block_array, csr_array

from skmdp._typing import Floats, Integers
from skmdp.mdp._mdp import MDP, renumber_columns
from skmdp.mdp._penalty import Penalty


@dataclass(frozen=True, eq=False, kw_only=True)
class EstimatedMDP(MDP):
    """A process with hubs, each a distribution of next states that several pairs share.

    P = ``transitions`` + ``hub_mass`` @ ``hub_transitions``. The product would repeat the row of a
    hub for every pair that leads there, so it is never formed. Shrinkage has a hub for each state,
    the distribution over all rows of the state; untried pairs have one hub, which leads to every
    state with equal probability.

    Parameters
    ----------
    hub_mass : scipy sparse CSR array of shape (n_pairs, n_hubs)
        Probability that a pair leads on by each hub, on top of ``transitions``.
    hub_transitions : scipy sparse CSR array of shape (n_hubs, n_states)
        Probability of each next state from each hub. A row may sum to less than one.
    penalty : Penalty, default=None
        Standard errors to take off the values. Q is then no longer linear in V.
    """

    hub_mass: Any
    hub_transitions: Any
    penalty: Penalty | None = None

    per_pair: ClassVar[tuple[str, ...]] = (*MDP.per_pair, "hub_mass", "penalty")

    def expected_next_values(self, values: Floats) -> Floats:
        """Return the expected value of the next state of every pair, (n_pairs,)."""
        expected: Floats = self.transitions @ values
        expected += self.hub_mass @ (self.hub_transitions @ values)
        return expected

    def pair_values(self, values: Floats, gamma: float) -> Floats:
        """Return Q of every pair, (n_pairs,), less its standard errors if there is a penalty."""
        q_values = super().pair_values(values, gamma)
        if self.penalty is not None:
            q_values -= self.penalty.amounts(values, gamma)
            np.maximum(q_values, self.penalty.floor(gamma), out=q_values)
        return q_values

    @property
    def is_linear(self) -> bool:
        """Whether Q is linear in V: unless standard errors are taken off."""
        return self.penalty is None

    @cached_property
    def n_roundings(self) -> Integers:
        """Number of roundings, at most, in the value of each pair, (n_pairs,)."""
        of_hubs = np.diff(self.hub_transitions.indptr).astype(np.int64) + 3
        before = np.append(0, np.cumsum(of_hubs[self.hub_mass.indices]))
        n_terms = super().n_roundings + np.diff(before[self.hub_mass.indptr])
        if self.penalty is not None:  # a root of squares is off by no more than what it squares
            per_outcome = 2 if self.penalty.discounts is None else 6
            n_terms = n_terms + per_outcome * np.diff(self.penalty.outcomes.indptr) + 12
        return np.asarray(n_terms)

    def term_sizes(self, values: Floats, gamma: float) -> Floats:
        """Return the sum of the absolute terms of each pair's value, (n_pairs,)."""
        sizes = super().term_sizes(values, gamma)
        if self.penalty is not None:
            sizes += self.penalty.largest_reward
        return sizes

    @cached_property
    def largest_reward(self) -> float:
        """Largest reward in absolute terms, of the pairs and of their outcomes."""
        of_outcomes = 0.0 if self.penalty is None else self.penalty.largest_reward
        return max(float(np.abs(self.rewards).max()), of_outcomes)

    @property
    def hubs(self) -> tuple[Any, Any]:
        """Masses and distributions of the hubs."""
        return self.hub_mass, self.hub_transitions

    @cached_property
    def without_hubs(self) -> MDP:
        """The process in which each hub is a further state with one pair, whose reward is 0.

        Its states are those of this one, then the hubs; its pairs likewise. A step by a hub is two
        of its steps, so values are the same only without discount.
        """
        n_hubs = self.hub_transitions.shape[0]
        return MDP(
            transitions=block_array(
                [[self.transitions, self.hub_mass], [self.hub_transitions, None]], format="csr"
            ),
            rewards=np.append(self.rewards, np.zeros(n_hubs)),
            pair_state=np.append(self.pair_state, self.n_states + np.arange(n_hubs)),
            pair_action=np.append(self.pair_action, np.zeros(n_hubs, dtype=np.int32)),
            n_states=self.n_states + n_hubs,
            n_actions=self.n_actions,
        )

    def all_transitions(self, most_added: float) -> Any:
        """Return P with hubs, CSR, or None if they add more entries."""
        added = np.diff(self.hub_transitions.indptr)[self.hub_mass.indices].sum()
        if added > most_added:
            return None
        return (self.transitions + self.hub_mass @ self.hub_transitions).tocsr()

    def with_dense_rows(self) -> Self:
        """Return the process with an ndarray for P, and without hubs: faster for few states."""
        n_pairs = len(self.rewards)
        by_hubs = self.hub_mass @ self.hub_transitions.toarray()
        return self.unchecked(
            transitions=self.transitions.toarray() + by_hubs,
            hub_mass=np.zeros((n_pairs, 0)),
            hub_transitions=np.zeros((0, self.n_states)),
        )

    def renumbered(self, code: Integers) -> Self:
        """Return the process whose state s is called ``code[s]``; pairs keep their order."""
        return (
            super()
            .renumbered(code)
            .unchecked(
                hub_transitions=renumber_columns(self.hub_transitions, code),
                penalty=None if self.penalty is None else self.penalty.renumbered(code),
            )
        )


def with_penalty(mdp: MDP, penalty: Penalty) -> EstimatedMDP:
    """Return the same process with standard errors taken off its values."""
    no_hubs = {
        "hub_mass": csr_array((len(mdp.rewards), 0)),
        "hub_transitions": csr_array((0, mdp.n_states)),
    }
    parts = {field.name: getattr(mdp, field.name) for field in fields(mdp)}
    return EstimatedMDP(**{**no_hubs, **parts, "penalty": penalty})

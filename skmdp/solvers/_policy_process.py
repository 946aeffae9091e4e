"""The process of one policy: a pair for each acting state, which is a mix of its pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array, diags_array

from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.mdp._estimated import EstimatedMDP


@dataclass(frozen=True, eq=False, kw_only=True)
class Mixture(EstimatedMDP):
    """A process whose pairs are mixed from others, which adds roundings.

    ``n_mixed`` (n_pairs,) is the number of pairs mixed, ``largest_mixed`` their largest reward in
    absolute terms, and ``mixed_rewards`` (n_pairs,) what came of them.
    """

    n_mixed: Integers
    largest_mixed: float
    mixed_rewards: Floats

    per_pair: ClassVar[tuple[str, ...]] = (*EstimatedMDP.per_pair, "n_mixed", "mixed_rewards")

    @cached_property
    def n_roundings(self) -> Integers:
        """Number of roundings, at most, in the value of each pair, (n_pairs,)."""
        return np.asarray(super().n_roundings + 2 * self.n_mixed + 2)

    @cached_property
    def largest_reward(self) -> float:
        """Largest reward that was mixed, in absolute terms: rounding is relative to it.

        Rewards put in their place, such as 1 to count steps, are not mixed.
        """
        if np.array_equal(self.rewards, self.mixed_rewards):
            return self.largest_mixed
        return float(np.abs(self.rewards).max())


def process_of_policy(mdp: MDP, probability: Floats) -> MDP:
    """Return the process in which a policy decides; pairs are taken with the probabilities."""
    taken = np.flatnonzero(probability)
    if len(taken) == len(mdp.acting_states):
        return mdp.restrict(taken)
    if not mdp.is_linear:
        raise ValueError(
            "policy mixes actions, but pessimism takes off the standard error of one action: a mix "
            "has none. Take one action in each state, or a process without pessimism."
        )
    n_acting, n_pairs = len(mdp.first_pairs), len(mdp.rewards)
    starts = np.append(np.searchsorted(taken, mdp.first_pairs), len(taken))
    mix = csr_array((probability[taken], taken, starts), shape=(n_acting, n_pairs))
    own_hub_mass, hub_transitions = mdp.hubs
    transitions, hub_mass = (mix @ mdp.transitions).tocsr(), (mix @ own_hub_mass).tocsr()
    mass = transitions.sum(axis=1) + hub_mass @ hub_transitions.sum(axis=1)
    # What is mixed from pairs that go on for certain does so to the last bit.
    missing = np.where(np.abs(1 - mdp.mass) <= mdp.mass_rounding, 0.0, 1 - mdp.mass)
    exact = diags_array(np.divide(1 - mix @ missing, mass, out=np.ones(n_acting), where=mass > 0))
    rewards = mix @ mdp.rewards
    return Mixture(
        transitions=(exact @ transitions).tocsr(),
        rewards=rewards,
        pair_state=mdp.acting_states,
        pair_action=np.zeros(n_acting, dtype=np.intp),
        n_states=mdp.n_states,
        n_actions=1,
        hub_mass=(exact @ hub_mass).tocsr(),
        hub_transitions=hub_transitions,
        n_mixed=np.diff(starts),
        largest_mixed=mdp.largest_reward,
        mixed_rewards=rewards,
    )

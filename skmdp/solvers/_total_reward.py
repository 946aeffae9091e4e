"""Processes without discount: whether they end under every policy, and how soon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from skmdp._typing import Integers
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs, maximize, pair_values
from skmdp.solvers._solution import EndlessLoopError
from skmdp.solvers._sweeps import follow_policy

# Improvements granted to the search for the longest expected stay, before any value is looked at.
MAX_ITER_OF_STEPS = 10_000


# Stands for a stay without a bound: no value can be proven, and products do not overflow.
UNBOUNDED = 1e150


def endless_pair(mdp: MDP) -> int | None:
    """Return the position of a pair in a loop that a policy need never leave, None without any.

    Peels off, wave by wave, the pairs that may end or may lead to a state already peeled, and the
    states left without pairs. From what remains one need never leave. O(n_nonzero) over all waves.
    """
    n_left = np.bincount(mdp.pair_state, minlength=mdp.n_states)
    left = ~mdp.ends
    np.subtract.at(n_left, mdp.pair_state[~left], 1)
    into = mdp.transitions.tocsc()
    into.eliminate_zeros()
    if mdp.shared_mass is not None:
        shared_into, sharing = mdp.shared_transitions.tocsc(), _sharing_pairs(mdp)
        shared_into.eliminate_zeros()
    everywhere = np.flatnonzero(0 if mdp.uniform_mass is None else mdp.uniform_mass)
    wave = np.flatnonzero(n_left == 0)
    while len(wave):
        reaching = np.append(into[:, wave].indices, everywhere)
        if mdp.shared_mass is not None:
            reaching = np.append(reaching, sharing[:, shared_into[:, wave].indices].indices)
        everywhere = everywhere[:0]  # these pairs reach every state, so the first wave peels them
        peeled = np.unique(reaching[left[reaching]])
        left[peeled] = False
        np.subtract.at(n_left, mdp.pair_state[peeled], 1)
        touched = np.unique(mdp.pair_state[peeled])
        wave = touched[n_left[touched] == 0]
    remaining = np.flatnonzero(left)
    return _pair_in_loop(mdp, remaining) if len(remaining) else None


def _sharing_pairs(mdp: MDP) -> Any:
    """Return which pairs may do as their state does, CSC (n_pairs, n_states)."""
    assert mdp.shared_mass is not None
    pairs = np.flatnonzero(mdp.shared_mass)
    entries = (np.ones(len(pairs)), (pairs, mdp.pair_state[pairs]))
    return coo_array(entries, shape=(len(mdp.rewards), mdp.n_states)).tocsc()


def _pair_in_loop(mdp: MDP, remaining: Integers) -> int:
    """Return a pair that comes round again, of pairs that only lead to each other's states."""
    if mdp.uniform_mass is not None and mdp.uniform_mass[remaining].any():
        return int(remaining[np.argmax(mdp.uniform_mass[remaining] > 0)])
    edges = mdp.transitions[remaining].tocoo()
    if mdp.shared_mass is not None:
        edges = (edges + (_sharing_pairs(mdp).tocsr()[remaining] @ mdp.shared_transitions)).tocoo()
    edges.eliminate_zeros()
    origin = mdp.pair_state[remaining][edges.row]
    graph = coo_array((np.ones(edges.nnz), (origin, edges.col)), shape=(mdp.n_states,) * 2)
    _, component = connected_components(graph, directed=True, connection="strong")
    # Nothing leads out of a last component, so all of its pairs can be taken again and again.
    leaves = np.zeros(len(component), dtype=bool)
    leaves[component[origin[component[origin] != component[edges.col]]]] = True
    return int(remaining[np.argmin(leaves[component[mdp.pair_state[remaining]]])])


def most_steps_to_the_end(mdp: MDP) -> float:
    """Return an upper bound on the expected number of steps to the end under any policy.

    With max(1 + max_a P h - h) <= e < 1, h / (1 - e) is at least 1 + max_a P (h / (1 - e)).
    """
    loop = endless_pair(mdp)
    if loop is not None:
        raise EndlessLoopError(int(mdp.pair_state[loop]), int(mdp.pair_action[loop]))
    steps: MDP = replace(mdp, rewards=np.ones_like(mdp.rewards))
    h = np.zeros(mdp.n_states)
    for _ in range(MAX_ITER_OF_STEPS):
        Q = pair_values(steps, 1.0, h)
        longer = maximize(steps, Q)
        excess = float((longer - h).max())
        if excess <= 0.1:
            return float(h.max()) / (1 - excess)
        slowest = steps.restrict(greedy_pairs(steps.first_pairs, Q))
        h = follow_policy(slowest, 1.0, longer, 0.1, is_closed=False)
    return UNBOUNDED

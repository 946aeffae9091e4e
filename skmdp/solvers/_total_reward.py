"""Processes without discount: whether they end under every policy, and how soon."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from skmdp._typing import Integers
from skmdp.mdp import MDP
from skmdp.solvers._bounds import UNBOUNDED, Discounting
from skmdp.solvers._search import Search
from skmdp.solvers._solution import EndlessLoopError

# Improvements granted to the search for the longest expected stay, before any value is looked at.
MAX_ITER_OF_STEPS = 10_000
# A stay of h steps is accepted once one more step adds at most this share of a step to it.
LARGEST_EXCESS = 0.1


def endless_pair(mdp: MDP) -> int | None:
    """Return the position of a pair in a loop that a policy need never leave, None without any.

    Peels off, wave by wave, the pairs that may end or may lead to a state already peeled, and the
    states left without pairs. From what remains one need never leave. O(n_nonzero) over all waves.
    """
    whole = mdp.without_hubs
    n_left = np.bincount(whole.pair_state, minlength=whole.n_states)
    left = ~whole.ends
    np.subtract.at(n_left, whole.pair_state[~left], 1)
    into = whole.transitions.tocsc()
    into.eliminate_zeros()
    wave = np.flatnonzero(n_left == 0)
    while len(wave):
        reaching = into[:, wave].indices
        peeled = np.unique(reaching[left[reaching]])
        left[peeled] = False
        np.subtract.at(n_left, whole.pair_state[peeled], 1)
        touched = np.unique(whole.pair_state[peeled])
        wave = touched[n_left[touched] == 0]
    remaining = np.flatnonzero(left)
    return _pair_in_loop(whole, remaining) if len(remaining) else None


def _pair_in_loop(whole: MDP, remaining: Integers) -> int:
    """Return a pair that comes round again, of pairs that only lead to each other's states."""
    edges = whole.transitions[remaining].tocoo()
    edges.eliminate_zeros()
    origin = whole.pair_state[remaining][edges.row]
    graph = coo_array((np.ones(edges.nnz), (origin, edges.col)), shape=(whole.n_states,) * 2)
    _, component = connected_components(graph, directed=True, connection="strong")
    # Nothing leads out of a last component, so all of its pairs can be taken again and again. The
    # first of them is not a hub's: hubs come last, and lead to states only.
    leaves = np.zeros(len(component), dtype=bool)
    leaves[component[origin[component[origin] != component[edges.col]]]] = True
    return int(remaining[np.argmin(leaves[component[whole.pair_state[remaining]]])])


def most_steps_to_the_end(mdp: MDP) -> float:
    """Return an upper bound on the expected number of steps to the end under any policy.

    With max(1 + max_a P h - h) <= e < 1, h / (1 - e) is at least 1 + max_a P (h / (1 - e)).
    """
    loop = endless_pair(mdp)
    if loop is not None:
        raise EndlessLoopError(int(mdp.pair_state[loop]), int(mdp.pair_action[loop]))
    if not mdp.is_linear:
        raise ValueError(
            "pessimism needs gamma below 1, such as 0.999: at gamma=1 its penalty has no bound."
        )
    steps = mdp.unchecked(rewards=np.ones_like(mdp.rewards))
    search = Search(steps, 1.0, Discounting(0.0, 1.0), may_eliminate=False)
    for _ in range(MAX_ITER_OF_STEPS):
        proof = search.improve()
        excess = proof.hi + proof.noise
        if excess <= LARGEST_EXCESS:
            return float(search.V.max()) / (1 - excess)
        search.evaluate()
    return UNBOUNDED

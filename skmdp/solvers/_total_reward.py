"""Processes without discount: whether they end under every policy, and how soon."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from skmdp._typing import Bools
from skmdp.mdp import MDP
from skmdp.solvers._bounds import Discounting
from skmdp.solvers._equations import rows_of
from skmdp.solvers._search import Search

# Improvements granted to the search for the longest expected stay, before any value is looked at.
# A longer search takes more time than to treat the process as one with loops.
MAX_ITER_OF_STEPS = 100
# A stay of h steps is accepted once one more step adds at most this share of a step to it.
LARGEST_EXCESS = 0.1
# Rounds of a search for loops after which stays are looked at first, and improvements of a stay
# after which the search for loops is brought to its end: each may be done where the other is long.
FEW_ROUNDS = 3
FEW_IMPROVEMENTS = 20


class EndlessPairs:
    """Pairs that can be taken again and again for ever, found round by round.

    ``is_left`` are the pairs not yet known to be no such pairs; of a process with hubs, the hubs'
    pairs follow. A round drops the pairs that may lead out of the strong component of their state,
    in the graph of all pairs left. Where none is dropped, all that are left are such pairs (end
    components: L. de Alfaro, "Formal verification of probabilistic systems", Stanford (1997)).
    """

    def __init__(self, mdp: MDP, allowed: Bools | None = None) -> None:
        self._mdp = mdp.without_hubs
        self.is_left: Bools = ~self._mdp.ends
        if allowed is not None:
            self.is_left &= allowed
        self.is_known = False

    def search(self, n_rounds: float = np.inf) -> None:
        """Do so many rounds, or as many as it takes; a round is O(n_nonzero)."""
        P = self._mdp.transitions
        leads = P.data > 0
        pair, following = rows_of(P)[leads], P.indices[leads]
        origin, shape = self._mdp.pair_state[pair], (self._mdp.n_states,) * 2
        while n_rounds > 0 and not self.is_known:
            there = self.is_left[pair]
            pair, origin, following = pair[there], origin[there], following[there]
            indptr = np.zeros(shape[0] + 1, following.dtype)  # pairs are sorted by state
            np.bincount(origin, minlength=shape[0]).cumsum(out=indptr[1:])
            graph = csr_array((np.ones(len(pair)), following.copy(), indptr), shape=shape)
            graph.sum_duplicates()  # or the search for components might not end
            component = connected_components(graph, directed=True, connection="strong")[1]
            leaves = component[origin] != component[following]
            self.is_left[pair[leaves]] = False
            self.is_known = not leaves.any()
            n_rounds -= 1


def most_steps_to_the_end(mdp: MDP) -> float | None:
    """Return an upper bound on the expected number of steps to the end under any policy.

    None if some policy can avoid the end, or if none is found soon.

    With max(1 + max_a P h - h) <= e < 1, h / (1 - e) is at least 1 + max_a P (h / (1 - e)). That
    there is such an h also proves that no policy can avoid the end.
    """
    endless = EndlessPairs(mdp)
    endless.search(FEW_ROUNDS)
    if endless.is_known and endless.is_left.any():
        return None
    steps = mdp.unchecked(rewards=np.ones_like(mdp.rewards))
    search = Search(steps, 1.0, Discounting(0.0, 1.0), may_change=False)
    for n_iter in range(MAX_ITER_OF_STEPS):
        proof = search.improve()
        excess = proof.hi + proof.noise
        if excess <= LARGEST_EXCESS and float(search.V.min()) >= 0:
            return float(search.V.max()) / (1 - excess)
        if n_iter == FEW_IMPROVEMENTS:
            endless.search()
            if endless.is_left.any():
                return None
        search.evaluate()
    return None

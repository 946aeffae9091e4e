"""Which actions of a state are worth the same, and where that is not proven.

Errors of V matter here as differences only. Let V* - V lie between two numbers that are ``spread``
apart and at most ``bound`` in size, 0 between them. For two pairs of a state, let g and l be what
the rows of P gain and lose from one to the other. The difference of their Q then is off by at most

    gamma (min(g, l) spread + |g - l| bound)

which is 0 for pairs that lead to the same states, whatever the error of V. What is off further is
rounding: relative to the numbers that Q of this state sums up, and to how many rewards were
averaged. A constant that all rewards share adds to both as little as float64 admits.
"""

from __future__ import annotations

import numpy as np

from skmdp._typing import Bools, Floats
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs

EPS = float(np.finfo(np.float64).eps)
# Actions closer than this share of what Q ranges over are worth the same.
NEGLIGIBLE = 1e-9


def tie_tolerances(mdp: MDP, gamma: float, V: Floats, Q: Floats, *, n_averaged: int = 1) -> Floats:
    """Return up to which difference of their Q actions are worth the same, (n_acting,).

    ``n_averaged`` is the number of rows whose mean a reward is, at most.
    """
    sizes = mdp.term_sizes(V, gamma)
    rounding = 2 * EPS * (mdp.n_roundings * sizes + n_averaged * np.abs(mdp.rewards))
    of_states = np.maximum.reduceat(sizes, mdp.first_pairs)
    negligible = NEGLIGIBLE * np.minimum(float(np.ptp(Q)), of_states)
    return np.asarray(negligible + np.maximum.reduceat(rounding, mdp.first_pairs))


def undecided_states(
    mdp: MDP, gamma: float, Q: Floats, tolerances: Floats, *, bound: float, spread: float
) -> Bools:
    """Return in which states the best action may in truth be worse than another, (n_acting,).

    That is, worse by more than the tolerance. The errors of V are at most ``bound``, and differ by
    at most ``spread``.
    """
    first = mdp.first_pairs
    if not np.isfinite(Q).all():  # values have overflown
        return np.ones(len(first), dtype=bool)
    at = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(Q))))
    best = greedy_pairs(first, Q)
    gaps, tolerated = Q[best][at] - Q, tolerances[at]
    loosest = gamma * float(mdp.mass.max()) * max(bound, spread)
    is_near = (gaps < loosest + tolerated) & (loosest > tolerated)
    is_near[best] = False
    near = np.flatnonzero(is_near)
    undecided = np.zeros(len(first), dtype=bool)
    if len(near):
        proven = np.full(len(near), loosest)
        if mdp.is_linear:
            rows = mdp.without_hubs.transitions
            moved = rows[near] - rows[best[at[near]]]
            row = np.repeat(np.arange(len(near)), np.diff(moved.indptr))
            gain = np.bincount(row, np.maximum(moved.data, 0.0), minlength=len(near))
            loss = np.bincount(row, np.maximum(-moved.data, 0.0), minlength=len(near))
            proven = gamma * (np.minimum(gain, loss) * spread + np.abs(gain - loss) * bound)
        is_open = (proven > tolerated[near]) & (gaps[near] < proven + tolerated[near])
        undecided[at[near[is_open]]] = True
    return undecided

"""The Bellman operators on arrays.

Notation
--------
Used here and in ``solvers``; everywhere else names are spelled out.

    s, a        a state, an action; a *pair* is an (s, a) that is admissible
    V           state values, (n_states,); 0 in states without pairs
    Q           values of pairs, (n_pairs,)
    P, R        transition probabilities (n_pairs, n_states), expected rewards (n_pairs,)
    gamma       discount in [0, 1]
    T           optimality operator, (T V)(s) = max_a [R(s, a) + gamma sum_s' P(s'|s, a) V(s')]

Q of all pairs under some V is ``MDP.pair_values``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skmdp._typing import Floats, Integers
from skmdp.mdp._mdp import MDP


def maximize(mdp: MDP, Q: Floats) -> Floats:
    """V(s) = max_a Q(s, a), and 0 in states without pairs."""
    return per_state(mdp, np.maximum.reduceat(Q, mdp.first_pairs))


def per_state(mdp: MDP, amounts: Floats) -> Floats:
    """Return amounts of the acting states, (n_acting,), with 0 in all others, (n_states,)."""
    of_states = np.zeros(mdp.n_states)
    of_states[mdp.acting_states] = amounts
    return of_states


def greedy_pairs(
    first_pairs: Integers,
    Q: Floats,
    *,
    tolerance: npt.ArrayLike = 0.0,
    preference: Floats | None = None,
) -> Integers:
    """Return the position of the best pair of every acting state, (n_acting,).

    ``first_pairs`` tells where the pairs of each state begin. Pairs tie within ``tolerance`` of the
    best, one number or one for each acting state. Of these the largest ``preference`` wins (to one
    part in 1e9, since sums in another order differ in their last bits), then the lowest action.
    """
    lengths = np.diff(np.append(first_pairs, len(Q)))

    def close_to_best(score: Floats, slack: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        best = np.maximum.reduceat(score, first_pairs) - slack
        return score >= np.repeat(best, lengths)

    best = close_to_best(Q, tolerance)
    if preference is not None:
        preferred = np.where(best, preference, -1.0)
        best &= close_to_best(preferred, 1e-9 * np.maximum.reduceat(preferred, first_pairs))
    candidates = np.flatnonzero(best)
    state = np.repeat(np.arange(len(first_pairs)), lengths)[candidates]
    return candidates[np.flatnonzero(np.diff(state, prepend=-1))]

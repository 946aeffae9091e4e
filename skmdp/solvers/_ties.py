"""Ties between the actions of a state, and states whose best action is not proven.

Only differences between errors of V matter here. Let V* - V lie between two numbers that are
``spread`` apart and at most ``bound`` in size, one not above and one not below 0. For two pairs of
a state, let g and l be the sums of the positive and of the negative entries of the difference
between their rows of P. Then the error of the difference between their Q is at most

    gamma (min(g, l) spread + |g - l| bound)

which is 0 for pairs that lead to the same states, whatever the error of V. Rounding adds to this
error, in proportion to the terms that Q of the state is the sum of, and to the number of rewards
that were averaged. A constant added to all rewards makes it larger by its own rounding only.
"""

from __future__ import annotations

import math

import numpy as np

from skmdp._typing import Bools, Floats
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs
from skmdp.solvers._array_policy import extremes

EPS = float(np.finfo(np.float64).eps)
# Actions tie if their Q differ by less than this share of the range of Q.
NEGLIGIBLE = 1e-9
# Pairs up to which looking at all costs less than choosing some.
FEW_PAIRS = 1000


def tie_tolerances(
    mdp: MDP,
    gamma: float,
    V: Floats,
    Q: Floats,
    *,
    n_averaged: int = 1,
    q_range: float | None = None,
) -> Floats:
    """Return the largest difference of Q at which actions tie, for each acting state, (n_acting,).

    A reward is the mean over at most ``n_averaged`` rows. ``q_range`` is the range of Q, if the
    pairs given are not all there are.
    """
    sizes = mdp.term_sizes(V, gamma)
    rounding = 2 * EPS * mdp.n_roundings * sizes + 2 * EPS * n_averaged * np.abs(mdp.rewards)
    of_states = np.maximum.reduceat(sizes, mdp.first_pairs)
    negligible = NEGLIGIBLE * np.minimum(np.ptp(Q) if q_range is None else q_range, of_states)
    return np.asarray(negligible + np.maximum.reduceat(rounding, mdp.first_pairs))


def count_undecided(
    mdp: MDP,
    gamma: float,
    V: Floats,
    Q: Floats,
    *,
    bound: float,
    spread: float,
    top: Floats | None = None,
) -> tuple[int, float]:
    """Return in how many states another action may be better than the greedy one.

    Better by more than the tolerance, that is. The errors of V are at most ``bound``, and those of
    two states differ by at most ``spread``. The second number is the share of these errors that
    would leave no such state but those that no share would decide, 1 if there are no others.
    ``top`` is the largest Q of every acting state, if known.
    """
    first = mdp.first_pairs
    top = np.maximum.reduceat(Q, first) if top is None else top
    highest, lowest = extremes(top)[1], Q.item(Q.argmin())
    if not all(map(math.isfinite, (highest, lowest, bound, spread))):  # values have overflown
        return len(first), 0.0
    n_each = mdp.n_pairs_each
    # Few states have a second action that is near; only those are looked at closely.
    q_range, largest = highest - lowest, mdp.largest_reward + gamma * max(map(abs, extremes(V)))
    rounding = 4 * (mdp.rounding + EPS) * largest
    loosest = gamma * mdp.heaviest * max(bound, spread)
    is_near = (top - (loosest + NEGLIGIBLE * q_range + rounding)).repeat(n_each) <= Q
    if np.count_nonzero(is_near) == len(first):
        return 0, 1.0
    up_to_last = np.cumsum(is_near, dtype=np.int32)[first + n_each - 1]
    is_close = np.diff(up_to_last, prepend=0) > 1
    return count_undecided_of(mdp, gamma, V, Q, is_close, q_range, bound=bound, spread=spread)


def count_undecided_of(
    mdp: MDP,
    gamma: float,
    V: Floats,
    Q: Floats,
    is_close: Bools,
    q_range: float,
    *,
    bound: float,
    spread: float,
) -> tuple[int, float]:
    """Return what ``count_undecided`` does; only states that are close can be undecided.

    ``is_close`` (n_acting,) is true of one state at least; ``q_range`` is the range of Q.
    """
    part = mdp
    if len(Q) > FEW_PAIRS:
        pairs = np.flatnonzero(np.repeat(is_close, mdp.n_pairs_each))
        part, Q = mdp.restrict(pairs), Q[pairs]
    tolerances = tie_tolerances(part, gamma, V, Q, q_range=q_range)
    is_open, share = undecided_states(part, gamma, Q, tolerances, bound=bound, spread=spread)
    return int(is_open.sum()), share


def undecided_states(
    mdp: MDP, gamma: float, Q: Floats, tolerances: Floats, *, bound: float, spread: float
) -> tuple[Bools, float]:
    """Return the states that ``count_undecided`` counts, (n_acting,), and its second number."""
    first = mdp.first_pairs
    if not np.isfinite(Q).all():  # values have overflown
        return np.ones(len(first), dtype=bool), 0.0
    at = np.repeat(np.arange(len(first)), mdp.n_pairs_each)
    best = greedy_pairs(first, Q)
    gaps, tolerated = Q[best][at] - Q, tolerances[at]
    loosest = gamma * mdp.heaviest * max(bound, spread)
    is_near = (gaps < loosest + tolerated) & (loosest > tolerated)
    is_near[best] = False
    near = np.flatnonzero(is_near)
    undecided = np.zeros(len(first), dtype=bool)
    if not len(near):
        return undecided, 1.0
    gaps, tolerated = gaps[near], tolerated[near]
    proven = np.full(len(near), loosest)
    if mdp.is_linear:
        rows = mdp.without_hubs.transitions
        moved = rows[near] - rows[best[at[near]]]
        row = np.repeat(np.arange(len(near)), np.diff(moved.indptr))
        gain = np.bincount(row, np.maximum(moved.data, 0.0), minlength=len(near))
        loss = np.bincount(row, np.maximum(-moved.data, 0.0), minlength=len(near))
        proven = gamma * (np.minimum(gain, loss) * spread + np.abs(gain - loss) * bound)
    enough = np.maximum(tolerated, gaps - tolerated)
    is_open = proven > enough
    state = at[near]
    undecided[state[is_open]] = True
    is_lost = np.zeros(len(first), dtype=bool)
    is_lost[state[is_open & ~(enough > 0)]] = True
    is_open &= ~is_lost[state]
    return undecided, float((enough[is_open] / proven[is_open]).min(initial=1.0))

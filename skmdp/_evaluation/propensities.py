"""Whether a log can have come about with the propensities that are stated of it.

If a row with propensity p shows an action that has probability p, then for any forecast q of the
logged actions the product of q / p over rows is expected to be at most one, whatever else the
propensities rest on, and exceeds 1 / level with a probability of no more than the level (Ville's
inequality). The forecast here is the running share of each action in the state (a Dirichlet
mixture, so the order of rows does not matter): where an action is logged far more often than is
stated, the product is large.

Propensities that are too large are seen otherwise: those of different actions in one state cannot
sum to more than one, if the state is what they rest on. They rest on more (on columns that the log
lacks) where one pair has different ones. Where no pair has, they do not if that would show: in a
pair of so many rows that some of them would have gone otherwise, and where a propensity is one, so
that nothing else can have been done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._typing import Floats, Integers

# Probability with which true propensities may be taken for false, in a whole log.
LEVEL = 1e-6
# Propensities are often given with two digits.
ROUNDING = 0.005


@dataclass(frozen=True)
class Contradiction:
    """A pair whose propensities cannot be true, and its rows.

    ``stated`` is the mean of its propensities, ``n_rows`` and ``n_rows_of_state`` count rows,
    ``total`` is what the propensities of its state sum to where that is the contradiction, else
    None.
    """

    state: int
    action: int
    stated: float
    n_rows: int
    n_rows_of_state: int
    total: float | None


def find_contradiction(
    counts: TransitionCounts, pair: Integers, propensities: Floats
) -> Contradiction | None:
    """Return the pair that contradicts its propensities most, None where none does.

    ``pair`` (n,) is the position in ``counts`` of the pair of every row.
    """
    n_pairs, state = len(counts.pair_state), counts.pair_state
    n = np.bincount(pair, minlength=n_pairs).astype(np.float64)
    n_state = sum_by_code(state, n, counts.n_states)
    stated = sum_by_code(pair, propensities, n_pairs) / n
    # A guess for every action of the log, and for one that it never shows.
    prior = 1 / (counts.n_actions + 1)
    generous = np.log(np.minimum(propensities + ROUNDING, 1.0))
    gain = gammaln(n + prior) - gammaln(prior) - sum_by_code(pair, generous, n_pairs)
    evidence = sum_by_code(state, gain, counts.n_states) - gammaln(n_state + 1)
    totals = _totals(counts, pair, propensities, n, stated)
    if evidence.max() > np.log(np.count_nonzero(n_state) / LEVEL):
        worst = int(np.argmax(evidence))
        of_state = np.flatnonzero(state == worst)
        found = of_state[np.argmax(n[of_state] * np.log(n[of_state] / stated[of_state]))]
        total = None
    elif totals.max() > 1 + 1e-9:
        worst = int(np.argmax(totals))
        of_state = np.flatnonzero(state == worst)
        found = of_state[np.argmax(stated[of_state])]
        total = float(stated[of_state].sum())
    else:
        return None
    return Contradiction(
        state=worst,
        action=int(counts.pair_action[found]),
        stated=float(stated[found]),
        n_rows=int(n[found]),
        n_rows_of_state=int(n_state[worst]),
        total=total,
    )


def _totals(
    counts: TransitionCounts, pair: Integers, propensities: Floats, n: Floats, stated: Floats
) -> Floats:
    """Return the least sum of each state's propensities, if they rest on it, (n_states,)."""
    smallest, largest = np.ones(len(n)), np.zeros(len(n))
    np.minimum.at(smallest, pair, propensities)
    np.maximum.at(largest, pair, propensities)
    if (largest - smallest > ROUNDING).any():
        return np.zeros(counts.n_states)
    would_show = n * np.log(stated) <= np.log(LEVEL / len(n))
    known = would_show | (stated > 1 - ROUNDING)
    return sum_by_code(counts.pair_state, known * (stated - ROUNDING), counts.n_states)

"""Whether knowing one more column would change the advice, or only what it is worth."""

from __future__ import annotations

import numpy as np

from skmdp._estimation.counts import count_transitions, sum_by_code
from skmdp._estimation.process import estimate_mdp
from skmdp._log.episodes import Transitions
from skmdp._log.labels import MISSING
from skmdp._typing import Bools, Floats, Integers
from skmdp.inspection._differences import Sums, mean_differs
from skmdp.inspection._gains import adjust_for_several, join_codes
from skmdp.mdp._bellman import greedy_pairs
from skmdp.solvers import solve
from skmdp.solvers._compiled import by_size_alone

# Values need a horizon, also where the policy's own process ends for sure and the finer one not.
LARGEST_GAMMA = 0.99


def share_of_other_advice(
    log: Transitions, column: Integers, episodes: Integers, *, gamma: float, alpha: float
) -> float:
    """Return the share of the rows whose advice another action beats, once the column is known.

    The log is one of rewards, ordered by ``episodes`` (n,). In each cell of state and column every
    logged action is compared with the one advised by the state alone, by reward and discounted
    value of the cell that follows; those that are better beyond chance count, adjusted for all
    comparisons.
    """
    assert log.rewards is not None
    n_rows = len(log.state_codes)
    durations = np.ones(n_rows) if log.durations is None else log.durations.numbers
    gamma = min(gamma, LARGEST_GAMMA ** (1 / durations.mean())) if n_rows else gamma
    cells = join_codes(log.state_codes, column)
    known, following = _following_cells(log, cells, episodes)
    states, actions, rewards = log.state_codes[known], log.action_codes[known], log.rewards[known]
    cells, following, durations = cells[known], following[known], durations[known]
    n_states, n_actions = len(log.states), len(log.actions)
    n_cells = int(cells.max(initial=-1)) + 1
    if not n_cells:
        return 0.0
    next_states = np.where(following == MISSING, MISSING, log.next_codes[known])
    paid = rewards, durations, gamma
    usual, _ = _advise((states, actions, next_states), (n_states, n_actions), *paid)
    values = _advise((cells, actions, following), (n_cells, n_actions), *paid)[1]
    worth = rewards + gamma**durations * np.append(values, 0.0)[following]
    pairs, at = np.unique(cells.astype(np.int64) * n_actions + actions, return_inverse=True)
    sums = Sums(*(sum_by_code(at, part, len(pairs)) for part in (worth**0, worth, worth**2)))
    cell_state = np.zeros(n_cells, dtype=np.int64)
    cell_state[cells] = states
    rival_of = pairs // n_actions * n_actions + usual[cell_state[pairs // n_actions]]
    rival = np.minimum(np.searchsorted(pairs, rival_of), len(pairs) - 1)
    compared = np.flatnonzero((pairs[rival] == rival_of) & (pairs != rival_of))
    if not len(compared):
        return 0.0
    one, other = (
        Sums(sums.n[i], sums.values[i], sums.squares[i]) for i in (compared, rival[compared])
    )
    p_values = np.where(one.mean > other.mean, mean_differs(one, other) / 2, 1.0)
    better = compared[adjust_for_several(p_values) < alpha]
    changed = np.zeros(n_cells, dtype=bool)
    changed[pairs[better] // n_actions] = True
    return float(changed[cells].mean())


def _following_cells(
    log: Transitions, cells: Integers, episodes: Integers
) -> tuple[Bools, Integers]:
    """Return the rows of which it is known where they lead, and the cell, MISSING for an end."""
    acted = np.zeros(len(log.states) + 1, dtype=bool)
    acted[log.state_codes] = True
    ends = ~acted[log.next_codes]  # the last entry, for MISSING, stays False
    following = np.append(cells[1:], MISSING)
    leads_on = np.append(
        (episodes[1:] == episodes[:-1]) & (log.next_codes[:-1] == log.state_codes[1:]), False
    )
    return ends | leads_on, np.where(ends, MISSING, following)


def _advise(
    rows: tuple[Integers, Integers, Integers],
    sizes: tuple[int, int],
    rewards: Floats,
    durations: Floats,
    gamma: float,
) -> tuple[Integers, Floats]:
    """Return the best action of every state, and the state's value.

    Rows are states, actions and next states, ``sizes`` the numbers of states and actions.
    """
    counts, n_states = count_transitions(*rows, *sizes, rewards=rewards), sizes[0]
    shortest = float(durations.min())
    if durations.max() > shortest:  # relative to the shortest, so that no row leads on with more
        counts = counts.discounted(counts.find_triples(*rows), gamma ** (durations - shortest))
    mdp, weights = estimate_mdp(
        counts,
        reward_on="state_action",
        untried="exclude",
        min_count=0,
        prior_strength=1.0,
        initial_distribution=np.full(n_states, 1 / n_states),
    )
    with by_size_alone():
        solution = solve(mdp, gamma**shortest)
    best = greedy_pairs(mdp.first_pairs, solution.q_values, preference=weights)
    advised = np.zeros(n_states, dtype=np.int64)
    advised[mdp.pair_state[best]] = mdp.pair_action[best]
    return advised, solution.state_values

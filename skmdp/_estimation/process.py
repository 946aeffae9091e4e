"""From counts to a Markov decision process, and how far to trust the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, hstack, vstack

from skmdp._estimation.counts import TransitionCounts, merge_sorted, sum_by_code
from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs
from skmdp.mdp._estimated import EstimatedMDP

# Codes of states and actions, by state, then action.
Pairs = tuple[Integers, Integers]


def expected_rewards(
    counts: TransitionCounts, reward_on: str, prior_strength: float = 0.0
) -> Floats:
    """Return the mean reward of every logged pair, or of the pair's state, (n_pairs,).

    Pairs are shrunk towards their state as in ``estimate_mdp``.
    """
    of_states = state_rewards(counts)[counts.pair_state]
    if reward_on == "state":
        return of_states
    trust = trust_in_pairs(counts, prior_strength)
    return trust * (counts.pair_rewards / counts.pair_weights) + (1 - trust) * of_states


def trust_in_pairs(counts: TransitionCounts, prior_strength: float) -> Floats:
    """Return n / (n + kappa), how far each pair is believed rather than its state, (n_pairs,)."""
    return counts.pair_weights / (counts.pair_weights + prior_strength)


def state_rewards(counts: TransitionCounts) -> Floats:
    """Return the mean reward over all visits of every state, 0 without visits, (n_states,)."""
    visits = counts.state_weights
    return np.divide(counts.state_rewards, visits, out=np.zeros_like(visits), where=visits > 0)


def is_frequent(counts: TransitionCounts, min_count: float) -> Bools:
    """Return which logged pairs weigh at least ``min_count``, (n_pairs,)."""
    return counts.pair_weights >= min_count * (1 - 1e-9)  # ten weights of 0.1 are one


def allowed_pairs(counts: TransitionCounts, forbidden: Pairs | None) -> Bools:
    """Return which logged pairs are not forbidden, (n_pairs,)."""
    allowed = np.ones(len(counts.pair_state), dtype=bool)
    if forbidden is not None:
        at = counts.find_pairs(*forbidden)
        allowed[at[at >= 0]] = False
    return allowed


def admissible_pairs(
    counts: TransitionCounts, min_count: float, forbidden: Pairs | None = None
) -> Bools:
    """Return which logged pairs may be chosen, (n_pairs,).

    In a state without frequent pairs the most logged one (the lowest of them) may be. What is
    forbidden never may.
    """
    allowed = allowed_pairs(counts, forbidden)
    may_be = is_frequent(counts, min_count) & allowed
    if may_be.all():
        return may_be
    has_frequent = np.zeros(counts.n_states, dtype=bool)
    has_frequent[counts.pair_state[may_be]] = True
    most_logged = most_logged_pairs(counts, allowed)
    may_be[most_logged] |= ~has_frequent[counts.pair_state[most_logged]]
    return may_be & allowed


def most_logged_pairs(counts: TransitionCounts, allowed: Bools | None = None) -> Integers:
    """Return the position of the most logged pair of every state with logged actions.

    Of those ``allowed`` (n_pairs,), where a state has any.
    """
    weights = counts.pair_weights if allowed is None else counts.pair_weights * allowed
    all_equal = np.zeros(len(counts.pair_state))
    return greedy_pairs(counts.first_pairs, all_equal, preference=weights)


def estimate_mdp(
    counts: TransitionCounts,
    *,
    reward_on: str,
    untried: str,
    min_count: float,
    prior_strength: float,
    initial_distribution: Floats,
    forbidden: Pairs | None = None,
) -> tuple[MDP, Floats]:
    """Return the estimated process over the admissible pairs, and each pair's weight.

    With kappa = ``prior_strength`` and trust = n / (n + kappa), P(.|s,a) is trust times the shares
    of the pair plus (1 - trust) times those of all rows of s, and R likewise: the posterior mean
    under a Dirichlet prior of kappa rows that went as the state's rows did. 0 is maximum
    likelihood. Rows of ``forbidden`` pairs count among those of their state. Where rows discount
    what follows, P holds their expected discounts.
    """
    chosen = admissible_pairs(counts, min_count, forbidden)
    trust = trust_in_pairs(counts, prior_strength)
    state = counts.pair_state[chosen]
    if prior_strength > 0:  # a hub for each state: its rows, whatever was done
        shape = (len(state), counts.n_states)
        doubt = csr_array((1 - trust[chosen], state, np.arange(len(state) + 1)), shape=shape)
        hubs = counts.states_expecting
    else:
        doubt, hubs = csr_array((len(state), 0)), csr_array((0, counts.n_states))
    pairs = {
        "transitions": _probabilities(counts, chosen, trust),
        "rewards": expected_rewards(counts, reward_on, prior_strength)[chosen],
        "pair_state": state,
        "pair_action": counts.pair_action[chosen],
        "hub_mass": doubt,
        "weights": counts.pair_weights[chosen],
    }
    if untried == "uniform":
        pairs = _add_untried(pairs, counts, forbidden)
        anywhere = np.full((1, counts.n_states), 1 / counts.n_states)
        hubs = vstack([hubs, csr_array(anywhere)], format="csr")
    weights, hub_mass = pairs.pop("weights"), pairs.pop("hub_mass")
    parts = {
        **pairs,
        "n_states": counts.n_states,
        "n_actions": counts.n_actions,
        "initial_distribution": initial_distribution,
    }
    if hub_mass.nnz == 0:
        return MDP(**parts), weights
    return EstimatedMDP(**parts, hub_mass=hub_mass, hub_transitions=hubs), weights


def _probabilities(counts: TransitionCounts, chosen: Bools, trust: Floats) -> csr_array:
    """Return trust times P of the chosen pairs, (n_chosen, n_states), discounts included.

    Ends are missing mass.
    """
    pair = counts.triple_pair
    kept = chosen[pair] & (counts.next_states < counts.n_states)
    n_successors = np.bincount(pair[kept], minlength=len(chosen))[chosen]
    shares = counts.following[kept] * (trust / counts.pair_weights)[pair[kept]]
    indptr = np.append(0, np.cumsum(n_successors)).astype(counts.indptr.dtype)
    shape = (len(n_successors), counts.n_states)
    return csr_array((shares, counts.next_states[kept], indptr), shape=shape)


def _add_untried(
    pairs: dict[str, Any], counts: TransitionCounts, forbidden: Pairs | None
) -> dict[str, Any]:
    """Add to every acting state one pair that stands for all actions never logged there.

    It leads anywhere with equal probability, by a hub of its own in the last place, pays the
    state's mean reward and takes as long as its rows. It carries the lowest of the untried actions
    that are not forbidden.
    """
    lowest, n_untried = untried_actions(counts, forbidden)
    states = np.flatnonzero((counts.state_weights > 0) & (n_untried > 0))
    n_old, n_new = len(pairs["rewards"]), len(states)
    state = np.append(pairs["pair_state"], states)
    action = np.append(pairs["pair_action"], lowest[states])
    order = np.lexsort((action, state))

    def lengthened(matrix: Any) -> Any:
        return vstack([matrix, csr_array((n_new, matrix.shape[1]))], format="csr")

    following = np.add.reduceat(counts.following, counts.indptr[:-1])
    mass = sum_by_code(counts.pair_state, following, counts.n_states)[states]
    is_new = np.append(np.zeros(n_old), mass / counts.state_weights[states])[:, np.newaxis]
    return {
        "transitions": lengthened(pairs["transitions"])[order],
        "rewards": np.append(pairs["rewards"], state_rewards(counts)[states])[order],
        "pair_state": state[order].astype(np.int32),
        "pair_action": action[order].astype(np.int32),
        "hub_mass": hstack([lengthened(pairs["hub_mass"]), csr_array(is_new)], format="csr")[order],
        "weights": np.append(pairs["weights"], np.zeros(n_new))[order],
    }


def untried_actions(
    counts: TransitionCounts, forbidden: Pairs | None
) -> tuple[npt.NDArray[np.int64], Integers]:
    """Return the lowest action code never logged in each state and not forbidden, and how many."""
    keys = counts.pair_state.astype(np.int64) * counts.n_actions + counts.pair_action
    if forbidden is not None:
        states, actions = forbidden
        keys, _ = merge_sorted(keys, states.astype(np.int64) * counts.n_actions + actions)
    state, action = np.divmod(keys, counts.n_actions)
    starts = np.searchsorted(state, np.arange(counts.n_states))
    # Actions of a state ascend, so as long as none is left out, action == rank.
    unbroken = action == np.arange(len(keys)) - starts[state]
    lowest = sum_by_code(state, unbroken, counts.n_states).astype(np.int64)
    return lowest, counts.n_actions - np.bincount(state, minlength=counts.n_states)

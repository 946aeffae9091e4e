"""Processes without discount that can go on for ever: the largest total reward, with proof.

Loops that pay nothing are merged into one state, where staying for ever is one more action, worth
0. Policy iteration starts at a policy that ends for certain. Values only rise, so all later
policies end, too, unless a loop earns: then there is no largest total reward.

Let n be the expected number of steps of the last policy, and delta > 0 beyond what rounding can
change in one step. Then V - 2 delta n is at most the value of that policy. For rewards increased by
delta, policy iteration ends at some U with T U <= U, for the rewards as they are, rounding
included; such a U is at least V* (Bertsekas and Tsitsiklis, "An analysis of stochastic shortest
path problems", Mathematics of Operations Research 16 (1991)).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_array, csr_array, eye_array, vstack
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import splu

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._bounds import UNBOUNDED
from skmdp.solvers._kernels import Choices, first_best, improve, padded
from skmdp.solvers._solution import EndlessLoopError
from skmdp.solvers._total_reward import EndlessPairs

# Roundings by which an action must be better to be taken instead of another.
LEAST_GAIN = 10


class NoTotalReward(Exception):
    """The total reward has no bound, because of a loop of the given pairs."""

    def __init__(self, pairs: Integers) -> None:
        super().__init__()
        self.pairs = pairs


class Merged:
    """A process whose loops without reward are one state each.

    ``process`` has its acting states first. ``name`` is the position of each of its pairs in the
    process given, -1 for staying for ever; ``code`` is the state that each state given belongs to,
    and ``is_inside`` tells which of the pairs given are parts of loops without reward.
    """

    def __init__(self, mdp: MDP) -> None:
        self._whole = mdp
        zero = EndlessPairs(mdp, mdp.rewards == 0)
        zero.search()
        self.is_inside: Bools = zero.is_left
        inner = mdp.transitions[self.is_inside].tocoo()
        origin = mdp.pair_state[self.is_inside][inner.row]
        steps = coo_array((np.ones(inner.nnz), (origin, inner.col)), shape=(mdp.n_states,) * 2)
        n_places, place = connected_components(steps, directed=True, connection="strong")
        stays = np.unique(place[mdp.pair_state[self.is_inside]])
        kept = np.flatnonzero(~self.is_inside)
        at = np.append(place[mdp.pair_state[kept]], stays)
        order = np.argsort(at, kind="stable")
        acts = np.zeros(n_places, dtype=bool)
        acts[at] = True
        renumbered = np.empty(n_places, dtype=np.intp)
        renumbered[acts] = np.arange(acts.sum())
        renumbered[~acts] = np.arange(acts.sum(), n_places)
        self.code: Integers = renumbered[place]
        self.name: Integers = np.append(kept, np.full(len(stays), -1))[order]
        rows = mdp.transitions[kept]
        rows = csr_array(
            (rows.data, self.code[rows.indices], rows.indptr), shape=(len(kept), n_places)
        )
        rows.sum_duplicates()
        self.process = MDP(
            transitions=vstack([rows, csr_array((len(stays), n_places))], format="csr")[order],
            rewards=np.append(mdp.rewards[kept], np.zeros(len(stays)))[order],
            pair_state=renumbered[at[order]],
            pair_action=np.arange(len(at)),
            n_states=n_places,
            n_actions=len(at),
        )

    def values(self, of_given: Floats | None) -> Floats | None:
        """Return values of the states given as values of the merged ones."""
        if of_given is None:
            return None
        whole, n = self._whole, len(of_given)
        V = np.append(of_given, np.zeros(whole.n_states - n))
        # Hubs come last, with one pair each.
        V[n:] = whole.expected_next_values(V)[len(whole.rewards) - len(V) + n :]
        merged = np.zeros(self.process.n_states)
        merged[self.code] = V
        merged[len(self.process.acting_states) :] = 0.0
        return merged


def ending_policy(process: MDP) -> Integers:
    """Return a pair of every acting state such that all episodes end, (n_acting,).

    Each leads to a state that is fewer steps from the end, with some probability.
    """
    n = len(process.first_pairs)
    edges = process.transitions.tocoo()
    leads = edges.data > 0
    ends = np.flatnonzero(process.ends)
    pair = np.append(edges.row[leads], ends)
    following = np.minimum(np.append(edges.col[leads], np.full(len(ends), n)), n)
    state = process.pair_state[pair]
    back = coo_array((np.ones(len(pair)), (following, state)), shape=(n + 1, n + 1)).tocsr()
    before = breadth_first_order(back, n)[1]
    unreached = np.flatnonzero(before[:n] < 0)
    if len(unreached):
        raise NoTotalReward(process.first_pairs[unreached])
    closer = np.sort(pair[following == before[state]])
    at = process.pair_state[closer]
    return np.asarray(closer[np.append(True, at[1:] != at[:-1])])


def first_policy(process: MDP, values: Floats | None) -> Integers:
    """Return a pair of every acting state: the best by some values, if all episodes then end."""
    if values is not None:
        choices = Choices(process)
        pairs = first_best(choices, improve(process, choices, values, 1.0)[1])
        loops = EndlessPairs(process.restrict(pairs))
        loops.search()
        if not loops.is_left.any():
            return pairs
    return ending_policy(process)


def solve_policy(policy: MDP, d: Floats) -> Floats:
    """Return the x with x = d + P x over the acting states."""
    n = len(d)
    factors = splu((eye_array(n, format="csc") - policy.transitions[:, :n]).tocsc())
    x = factors.solve(d)
    return np.asarray(x + factors.solve(d - x + policy.transitions[:, :n] @ x))


def improved_to_the_end(
    process: MDP,
    pairs: Integers,
    max_iter: int,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Integers, Floats, int]:
    """Return the best pairs, from a policy that ends, their values, and the number of steps.

    The number is above ``max_iter`` if that came first. ``report`` is called after each step but
    the last, which changes nothing, with its number and that of the actions changed.
    """
    choices = Choices(process)
    for n_iter in range(1, max_iter + 1):
        policy = process.restrict(pairs)
        V = padded(solve_policy(policy, policy.rewards), process.n_states)
        gaps = improve(process, choices, V, 1.0)[1]
        is_better = gaps[pairs] > LEAST_GAIN * rounded(process, V)
        if not is_better.any():
            return pairs, V, n_iter
        if report is not None:
            report(n_iter, int(is_better.sum()))
        pairs = np.where(is_better, first_best(choices, gaps), pairs)
        loops = EndlessPairs(process.restrict(pairs))
        loops.search()
        if loops.is_left.any():
            raise NoTotalReward(pairs[loops.is_left])
    return pairs, V, max_iter + 1


def rounded(process: MDP, V: Floats) -> float:
    """Return the largest rounding error of Q under V."""
    return process.rounding * (process.largest_reward + float(np.abs(V).max()))


def proven_error(process: MDP, pairs: Integers, V: Floats, max_iter: int) -> float:
    """Return a bound on the error of V, the values of a policy; ``UNBOUNDED`` if none is proven."""
    policy, n_acting = process.restrict(pairs), len(pairs)
    steps = solve_policy(policy, np.ones(n_acting))
    onwards = policy.expected_next_values(padded(steps, process.n_states))
    residual = np.abs(policy.pair_values(V, 1.0) - V[:n_acting]).max()
    delta = 22 * rounded(process, V) + 2 * float(residual)
    higher = process.unchecked(rewards=process.rewards + delta)
    _, U, n_iter = improved_to_the_end(higher, pairs, max_iter)
    top = improve(process, Choices(process), U, 1.0)[0]
    is_proven = (
        n_iter <= max_iter
        and (steps >= 0).all()
        and (steps - onwards >= 0.5).all()
        and (top - U[:n_acting]).max() + rounded(process, U) <= 0
    )
    error = max(float((U - V).max()), 2 * delta * float(steps.max())) + rounded(process, U)
    return error if is_proven else UNBOUNDED


def back_to_members(mdp: MDP, merged: Merged, chosen: Integers) -> Integers:
    """Return the pair of every state that follows pairs chosen in the merged process, -1 if none.

    ``chosen`` are positions in the process given, -1 for staying. Members of a loop go to the one
    whose pair it is; where it is best to stay, to any other.
    """
    pair_of = np.full(mdp.n_states, -1)
    inside = np.flatnonzero(merged.is_inside)
    pair_of[mdp.pair_state[inside[::-1]]] = inside[::-1]
    owners = mdp.pair_state[chosen[chosen >= 0]]
    edges = mdp.transitions[inside].tocoo()
    pair, following = inside[edges.row], edges.col
    state, n = mdp.pair_state[pair], mdp.n_states
    origin, reached = np.append(following, np.full(len(owners), n)), np.append(state, owners)
    back = coo_array((np.ones(len(origin)), (origin, reached)), shape=(n + 1, n + 1)).tocsr()
    closer = following == breadth_first_order(back, n)[1][state]
    pair_of[state[closer]] = pair[closer]
    pair_of[owners] = chosen[chosen >= 0]
    return pair_of


def best_total_rewards(
    mdp: MDP,
    max_iter: int,
    initial_values: Floats | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Floats, Integers, float, int, Bools]:
    """Return the largest total rewards of a process with loops, and a policy that earns them.

    They are (n_states,), the policy's pairs likewise, -1 in states without; then follow the bound
    on the error, the number of improvements, and which states are in loops without reward. The
    first policy is the best one by the initial values, if that one ends.
    """
    whole = mdp.without_hubs
    merged = Merged(whole)
    process = merged.process
    try:
        pairs = first_policy(process, merged.values(initial_values))
        pairs, V, n_iter = improved_to_the_end(process, pairs, max_iter, report)
        bound = proven_error(process, pairs, V, max_iter) if n_iter <= max_iter else UNBOUNDED
    except NoTotalReward as found:
        pair = int(merged.name[found.pairs].min())
        codes = whole.pair_state[pair], whole.pair_action[pair]
        raise EndlessLoopError(*map(int, codes)) from None
    in_loops = np.zeros(whole.n_states, dtype=bool)
    in_loops[whole.pair_state[merged.is_inside]] = True
    pair_of = back_to_members(whole, merged, merged.name[pairs])
    n = mdp.n_states
    return V[merged.code][:n], pair_of[:n], bound, min(n_iter, max_iter), in_loops[:n]

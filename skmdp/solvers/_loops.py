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
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array, vstack
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import splu

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._array_policy import ArrayPolicy, padded
from skmdp.solvers._bounds import UNBOUNDED, Discounting
from skmdp.solvers._equations import equations_of, solve_band, solve_krylov
from skmdp.solvers._kernels import Choices, first_best, improve
from skmdp.solvers._search import Search
from skmdp.solvers._solution import EndlessLoopError
from skmdp.solvers._total_reward import EndlessPairs

# Roundings by which an action must be better to be taken instead of another.
LEAST_GAIN = 10
# States up to which equations are solved by elimination at once. Rounds of the Krylov method at
# most, and the share that each aims to leave of the error.
FEW_STATES = 400
MOST_ROUNDS = 10
ROUND_GAIN = 1e-6
# Improvements until values must have settled, and between looks for loops that earn.
MOST_LOOKS = 60
LOOKS_BETWEEN = 10
# Improvements for rewards that are a little higher; nearly always there is none.
MOST_PROOFS = 50


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

    def values(self, of_given: Floats | None) -> Floats:
        """Return values of the states given as values of the merged ones; 0 if none are given."""
        if of_given is None:
            return np.zeros(self.process.n_states)
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
    is_unreached = before[:n] < 0
    if is_unreached.any():
        trapped = EndlessPairs(process, is_unreached[process.pair_state])
        trapped.search()
        raise NoTotalReward(np.flatnonzero(trapped.is_left))
    closer = np.sort(pair[following == before[state]])
    at = process.pair_state[closer]
    return np.asarray(closer[np.append(True, at[1:] != at[:-1])])


def settled_policy(
    process: MDP, V: Floats, max_iter: int, report: Callable[[int, int], None]
) -> tuple[Integers, Floats, int]:
    """Return the best pairs by values that hardly change any more, the values, and improvements.

    Nothing is proven of them, and the policy may not end: values that grow for ever do not settle.
    """
    choices, n_iter = Choices(process), 0
    search = Search(process, 1.0, Discounting(0.0, 1.0), V, may_change=False)

    def values() -> Floats:
        return padded(search.V[: len(choices.first)], process.n_states)

    def best() -> Integers:
        return first_best(choices, *improve(process, choices, values(), 1.0))

    with np.errstate(over="ignore", invalid="ignore"):
        while n_iter < min(max_iter, MOST_LOOKS):
            proof = search.improve()
            if not LEAST_GAIN * proof.noise < max(proof.hi, -proof.lo) < np.inf:
                break
            # Values only rise where a loop earns, once they do so everywhere.
            may_earn = n_iter % LOOKS_BETWEEN == LOOKS_BETWEEN - 1 and proof.lo >= -proof.noise
            if may_earn and len(endless_pairs(process, best())):
                break
            n_iter += 1
            report(n_iter, search.n_changed)
            search.evaluate()
        return best(), values(), n_iter


def values_to_begin_with(process: MDP, pairs: Integers) -> Floats:
    """Return the values of a policy that ends, from which others can only be better.

    Where so many steps lead to the end that they are not to be found, return 0.
    """
    policy, nothing = process.restrict(pairs), np.zeros(process.n_states)
    try:
        V = solve_policy(policy, policy.rewards, nothing[: len(pairs)])
    except (np.linalg.LinAlgError, RuntimeError):  # nothing but rounding is left of a pivot
        return nothing
    return padded(V, process.n_states) if np.isfinite(V).all() else nothing


def endless_pairs(process: MDP, pairs: Integers) -> Integers:
    """Return those of a policy's pairs that may be taken again and again for ever."""
    loops = EndlessPairs(process.restrict(pairs))
    loops.search()
    return np.asarray(pairs[loops.is_left])


def solve_policy(policy: MDP, d: Floats, guess: Floats) -> Floats:
    """Return the x with x = d + P x over the acting states; the guess may be it already."""
    n = len(d)
    P = policy.transitions[:, :n]
    equations = equations_of(P)
    if np.abs(d - equations @ guess).max() <= last_bits(policy, d, guess):
        return guess
    if n > FEW_STATES:
        x = solve_band(P, d)
        if x is None:
            x = solve_by_rounds(policy, equations, d, guess)
        if x is not None:
            return x
    factors = splu(equations.tocsc())
    x = factors.solve(d)
    return np.asarray(x + factors.solve(d - equations @ x))


def last_bits(policy: MDP, d: Floats, x: Floats) -> float:
    """Return what rounding leaves of d + P x - x."""
    return policy.rounding * (float(np.abs(d).max()) + float(np.abs(x).max()))


def solve_by_rounds(policy: MDP, equations: Any, d: Floats, x: Floats) -> Floats | None:
    """Solve by the Krylov method, again and again for what is left; None if that goes slowly."""
    # Sweeps go backwards from the largest rewards, which stand for the ends here.
    to_end = ArrayPolicy(policy.unchecked(rewards=policy.ends.astype(np.float64)), 1.0)
    left = d - equations @ x
    most = float(np.abs(left).max())
    for _ in range(MOST_ROUNDS):
        closer = x + solve_krylov(to_end, left, ROUND_GAIN * most)[0]
        left = d - equations @ closer
        if not np.abs(left).max() < most / 2:
            break
        x, most = closer, float(np.abs(left).max())
        if most <= last_bits(policy, d, x):
            break
    return x if most <= LEAST_GAIN * last_bits(policy, d, x) else None


def improved_to_the_end(
    process: MDP,
    pairs: Integers,
    V: Floats,
    max_iter: int,
    n_iter: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Integers, Floats, int]:
    """Return the best pairs, from a policy that ends, their values, and the number of steps.

    ``V`` is a guess at the values, ``n_iter`` the number of steps before. The number of all is
    above ``max_iter`` if that came first. ``report`` is called after each step but the last, which
    changes nothing, with its number and that of the actions changed.
    """
    choices = Choices(process)
    while n_iter < max_iter:
        n_iter += 1
        policy = process.restrict(pairs)
        V = padded(solve_policy(policy, policy.rewards, V[: len(pairs)]), process.n_states)
        top, Q = improve(process, choices, V, 1.0)
        is_better = top - Q[pairs] > LEAST_GAIN * rounded(process, V)
        if not is_better.any():
            return pairs, V, n_iter
        if report is not None:
            report(n_iter, int(is_better.sum()))
        pairs = np.where(is_better, first_best(choices, top, Q), pairs)
        endless = endless_pairs(process, pairs)
        if len(endless):
            raise NoTotalReward(endless)
    return pairs, V, max_iter + 1


def rounded(process: MDP, V: Floats) -> float:
    """Return the largest rounding error of Q under V."""
    return process.rounding * (process.largest_reward + float(np.abs(V).max()))


def proven_error(process: MDP, pairs: Integers, V: Floats) -> float:
    """Return a bound on the error of V, the values of a policy; ``UNBOUNDED`` if none is proven."""
    policy, n_acting = process.restrict(pairs), len(pairs)
    steps = solve_policy(policy, np.ones(n_acting), np.zeros(n_acting))
    onwards = policy.expected_next_values(padded(steps, process.n_states))
    residual = np.abs(policy.pair_values(V, 1.0) - V[:n_acting]).max()
    delta = 22 * rounded(process, V) + 2 * float(residual)
    higher = process.unchecked(rewards=process.rewards + delta)
    guess = V + delta * padded(steps, process.n_states)
    _, U, n_iter = improved_to_the_end(higher, pairs, guess, MOST_PROOFS)
    top = improve(process, Choices(process), U, 1.0)[0]
    is_proven = (
        n_iter <= MOST_PROOFS
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


def endless_loop(mdp: MDP, pairs: Integers) -> EndlessLoopError:
    """Return the error about pairs that come round, those of hubs among them."""
    own = np.sort(pairs[(pairs >= 0) & (pairs < len(mdp.rewards))])
    states, actions = mdp.pair_state[own], mdp.pair_action[own]
    return EndlessLoopError(int(states[0]), int(actions[0]), states=np.unique(states).tolist())


def best_total_rewards(
    mdp: MDP,
    max_iter: int,
    initial_values: Floats | None,
    report: Callable[[int, int], None],
) -> tuple[Floats, Integers, float, int, Bools]:
    """Return the largest total rewards of a process with loops, and a policy that earns them.

    They are (n_states,), the policy's pairs likewise, -1 in states without; then follow the bound
    on the error, the number of improvements, and which states are in loops without reward.
    """
    whole = mdp.without_hubs
    merged = Merged(whole)
    process = merged.process
    try:
        slow = ending_policy(process)
        V = merged.values(initial_values)
        if initial_values is None:
            V = values_to_begin_with(process, slow)
        pairs, V, n_iter = settled_policy(process, V, max_iter, report)
        if len(endless_pairs(process, pairs)):
            pairs = slow
        pairs, V, n_iter = improved_to_the_end(process, pairs, V, max_iter, n_iter, report)
        bound = proven_error(process, pairs, V) if n_iter <= max_iter else UNBOUNDED
    except NoTotalReward as found:
        raise endless_loop(mdp, merged.name[found.pairs]) from None
    in_loops = np.zeros(whole.n_states, dtype=bool)
    in_loops[whole.pair_state[merged.is_inside]] = True
    pair_of = back_to_members(whole, merged, merged.name[pairs])
    n = mdp.n_states
    return V[merged.code][:n], pair_of[:n], bound, min(n_iter, max_iter), in_loops[:n]

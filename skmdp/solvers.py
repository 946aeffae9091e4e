"""Solvers of Markov decision processes, each with a proven bound on its error.

Notation as in ``skmdp._bellman``. With d = T V - V and H the largest expected number of steps,
discounted, that any policy can take (at most 1 / (1 - gamma)),

    |V* - T V| <= gamma H max|d|

(Puterman 2005, theorem 6.3.1; for gamma = 1 and processes that no policy can keep from ending,
Bertsekas and Tsitsiklis 1991). Where no pair may end and every state acts, the range of d bounds
more tightly, since a constant added to V changes nothing but the level (MacQueen 1966; Puterman
2005, theorem 6.6.3):

    gamma / (1 - gamma) min(d)  <=  V* - T V  <=  gamma / (1 - gamma) max(d)

That is wrong where rows of P sum to less than one, so it is not used there, nor where a penalty
with its floor is taken off (then T is a monotone gamma-contraction, so the first bound holds; see
``skmdp._penalty``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.exceptions import ConvergenceWarning

from skmdp._bellman import greedy_pairs, maximize, pair_values
from skmdp.mdp import MDP, Floats, Integers

__all__ = ["EndlessLoopError", "Solution", "modified_policy_iteration"]

# Sweeps of the policy between two looks at its residual, and how often to look at most.
INNER_SWEEPS = 10
INNER_ROUNDS = 20
# The policy's residual relative to the optimality residual at which improving it pays again.
INNER_TOLERANCE = 0.1
# Improvements granted to the search for the longest expected stay, before any value is looked at.
MAX_ITER_OF_STEPS = 10_000
# Stands for a stay without a bound: no value can be proven, and products do not overflow.
UNBOUNDED = 1e150


class EndlessLoopError(ValueError):
    """A policy can keep the process from ending, so values at gamma = 1 may be infinite.

    Parameters
    ----------
    state, action : int
        Codes of one pair that can be taken again and again; kept as attributes.

    Examples
    --------
    >>> from skmdp.solvers import EndlessLoopError
    >>> EndlessLoopError(state=3, action=0).state
    3
    """

    def __init__(self, state: int, action: int) -> None:
        super().__init__(
            f"gamma=1 needs a process that always ends, but action {action} in state {state} can "
            "be part of an endless loop. Use a gamma below 1."
        )
        self.state = state
        self.action = action


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found, and how good it provably is.

    Parameters
    ----------
    state_values : ndarray of shape (n_states,)
        V, within ``value_error_bound`` of the optimal values in every state.
    q_values : ndarray of shape (n_pairs,)
        Q of every pair, within gamma times ``value_error_bound`` of the optimum.
    policy : ndarray of shape (n_states,)
        Code of the greedy action, the lowest of equals; -1 in states without pairs.
    n_iter : int
        Number of times all pairs were looked at to improve the policy and to bound the error.
    converged : bool
        Whether the bound met the tolerance.
    value_error_bound : float
        Proven bound on ``max|state_values - V*|``, rounding included.
    history : ndarray of shape (n_iter,)
        The bound after each iteration.

    Examples
    --------
    >>> from skmdp.datasets import make_garnet
    >>> from skmdp.solvers import modified_policy_iteration
    >>> solution = modified_policy_iteration(make_garnet(20, 2, 3, random_state=0), gamma=0.9)
    >>> solution.converged, solution.value_error_bound <= 1e-6
    (True, True)
    """

    state_values: Floats
    q_values: Floats
    policy: Integers
    n_iter: int
    converged: bool
    value_error_bound: float
    history: Floats


def modified_policy_iteration(
    mdp: MDP,
    gamma: float,
    *,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    initial_values: Floats | None = None,
    verbose: int = 0,
) -> Solution:
    """Solve a Markov decision process by modified policy iteration.

    Each iteration improves the policy once over all pairs and then follows it for several cheap
    sweeps over one pair per state.

    Parameters
    ----------
    mdp : MDP
        The process.
    gamma : float
        Discount in [0, 1]. 1 needs a process that ends under every policy.
    tol : float, default=1e-6
        The values returned are within ``tol * max(max|R|, max|V|)`` of the optimal ones.
    max_iter : int, default=10_000
        Maximum number of iterations.
    initial_values : ndarray of shape (n_states,), default=None
        Where to start, such as the values of a similar process; None: at 0. States without pairs
        are worth 0 whatever is said here.
    verbose : int, default=0
        If positive, print a line per iteration.

    Returns
    -------
    solution : Solution
        Values, policy and bound; ``converged`` is False if ``max_iter`` or the precision of
        float64 came first.

    Raises
    ------
    ValueError
        If gamma is outside [0, 1], or 1 for a process with a penalty.
    EndlessLoopError
        If gamma is 1 and some policy can avoid the end for ever.

    Warns
    -----
    ConvergenceWarning
        If ``converged`` is False.

    Notes
    -----
    An iteration costs O(n_nonzero) over all pairs plus O(n_nonzero of the policy) per sweep;
    extra memory is the policy's rows of the transitions.

    References
    ----------
    M. L. Puterman and M. C. Shin, "Modified policy iteration algorithms for discounted Markov
    decision problems", Management Science 24 (1978). M. L. Puterman, "Markov Decision
    Processes", Wiley (2005), section 6.5.

    Examples
    --------
    Working for ever at gamma = 0.5 is worth 1 / (1 - 0.5) = 2; quitting pays 5 at once:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import modified_policy_iteration
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> modified_policy_iteration(mdp, gamma=0.5).policy
    array([1])

    At gamma = 1 it could work for ever, which has no value:

    >>> modified_policy_iteration(mdp, gamma=1.0)
    Traceback (most recent call last):
    ...
    skmdp.solvers.EndlessLoopError: gamma=1 needs a process that always ends, but ...
    """
    gamma, tol = float(gamma), float(tol)  # a float32 would carry its rounding into the bound
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1], got {gamma}.")
    if gamma == 1 and mdp.penalty is not None:
        raise ValueError("A penalty needs gamma below 1: at gamma=1 its values have no bound.")
    is_closed = len(mdp.acting_states) == mdp.n_states and not mdp.ends.any()
    is_closed = is_closed and mdp.penalty is None
    most_steps = 1 / (1 - gamma) if gamma < 1 else _most_steps(mdp)
    rounding = most_steps * _rounding_error(mdp)
    largest_reward = np.abs(mdp.rewards).max(initial=0.0)
    largest_term = max(largest_reward, 0.0 if mdp.penalty is None else mdp.penalty.largest_reward)
    V = np.zeros(mdp.n_states)
    if initial_values is not None:
        V[mdp.acting_states] = initial_values[mdp.acting_states]
    history: list[float] = []
    greedy = None
    while True:
        Q = pair_values(mdp, gamma, V)
        TV = maximize(mdp, Q)
        level, residual = _residual(TV - V, is_closed)
        V = TV + gamma * most_steps * level
        largest_value = max(np.abs(TV).max(initial=0.0), np.abs(V).max(initial=0.0))
        proven = gamma * most_steps * residual
        noise = rounding * (largest_term + largest_value)
        bound = proven + noise
        history.append(bound)
        target = tol * max(largest_reward, np.abs(V).max(initial=0.0))
        converged = bool(np.isfinite(bound) and bound <= target)
        improved = greedy_pairs(mdp.first_pairs, Q)
        if verbose > 0:
            _report(len(history), bound, target, improved, greedy)
        # A bound that is nothing but rounding, or overflow, cannot improve any more.
        if converged or len(history) >= max_iter or not proven > noise:
            break
        if greedy is None or (improved != greedy).any():
            policy = mdp.restrict(improved)
        greedy = improved
        V = _follow_policy(policy, gamma, TV, INNER_TOLERANCE * residual, is_closed)
    if not converged:
        _warn_not_converged(len(history), max_iter, bound, target, tol)
    Q = pair_values(mdp, gamma, V)
    actions = np.full(mdp.n_states, -1)
    best = greedy_pairs(mdp.first_pairs, Q)
    actions[mdp.pair_state[best]] = mdp.pair_action[best]
    return Solution(
        state_values=maximize(mdp, Q),
        q_values=Q,
        policy=actions,
        n_iter=len(history),
        converged=converged,
        value_error_bound=float(bound),
        history=np.array(history),
    )


def _report(
    n_iter: int, bound: float, target: float, improved: Integers, greedy: Integers | None
) -> None:
    changed = len(improved) if greedy is None else int((improved != greedy).sum())
    print(
        f"iteration {n_iter}: values within {bound:.3g} (wanted {target:.3g}), "
        f"{changed} action(s) changed"
    )


def _warn_not_converged(
    n_iter: int, max_iter: int, bound: float, target: float, tol: float
) -> None:
    advice = (
        f"Increase max_iter ({max_iter}) or tol ({tol:g}), or lower gamma."
        if n_iter >= max_iter
        else f"float64 cannot prove more: increase tol ({tol:g}) or lower gamma."
    )
    warnings.warn(
        f"Stopped after {n_iter} iteration(s) with values proven to within {bound:.3g}, not within "
        f"the {target:.3g} that tol asks for. {advice}",
        ConvergenceWarning,
        stacklevel=3,
    )


def _residual(d: Floats, is_closed: bool) -> tuple[float, float]:
    """Return the level of T V - V that is no error, and how far it is from that level."""
    lo, hi = float(d.min()), float(d.max())
    return ((lo + hi) / 2, (hi - lo) / 2) if is_closed else (0.0, max(-lo, hi))


def _rounding_error(mdp: MDP) -> float:
    """Return the relative rounding error of one application of T: k terms, k + 3 roundings."""
    terms = int(np.diff(mdp.transitions.indptr).max(initial=0)) + 3
    if mdp.uniform_mass is not None:
        terms += mdp.n_states
    if mdp.shared_mass is not None:
        terms += int(np.diff(mdp.shared_transitions.indptr).max()) + 3
    if mdp.penalty is not None:  # a root of squares is off by no more than what it squares
        terms += 2 * int(np.diff(mdp.penalty.outcomes.indptr).max()) + 12
    return terms * float(np.finfo(np.float64).eps)


def _follow_policy(
    policy: MDP, gamma: float, V: Floats, tolerance: float, is_closed: bool
) -> Floats:
    """Sweep V <- R + gamma P V of one policy until a sweep changes little, or long enough."""
    for _ in range(INNER_ROUNDS):
        for _ in range(INNER_SWEEPS):
            previous, V = V, np.zeros(policy.n_states)
            V[policy.pair_state] = pair_values(policy, gamma, previous)
        if _residual(V - previous, is_closed)[1] <= tolerance:
            break
    return V


def endless_pair(mdp: MDP) -> int | None:
    """Return the position of a pair in a loop that a policy need never leave, None without any.

    Peels off, wave by wave, the pairs that may end or may lead to a state already peeled, and the
    states left without pairs. From what remains one need never leave. O(n_nonzero) over all waves.
    """
    n_left = np.bincount(mdp.pair_state, minlength=mdp.n_states)
    left = ~mdp.ends
    np.subtract.at(n_left, mdp.pair_state[~left], 1)
    into = mdp.transitions.tocsc()
    into.eliminate_zeros()
    if mdp.shared_mass is not None:
        shared_into, sharing = mdp.shared_transitions.tocsc(), _sharing_pairs(mdp)
        shared_into.eliminate_zeros()
    everywhere = np.flatnonzero(0 if mdp.uniform_mass is None else mdp.uniform_mass)
    wave = np.flatnonzero(n_left == 0)
    while len(wave):
        reaching = np.append(into[:, wave].indices, everywhere)
        if mdp.shared_mass is not None:
            reaching = np.append(reaching, sharing[:, shared_into[:, wave].indices].indices)
        everywhere = everywhere[:0]  # these pairs reach every state, so the first wave peels them
        peeled = np.unique(reaching[left[reaching]])
        left[peeled] = False
        np.subtract.at(n_left, mdp.pair_state[peeled], 1)
        touched = np.unique(mdp.pair_state[peeled])
        wave = touched[n_left[touched] == 0]
    remaining = np.flatnonzero(left)
    return _pair_in_loop(mdp, remaining) if len(remaining) else None


def _sharing_pairs(mdp: MDP) -> Any:
    """Return which pairs may do as their state does, CSC (n_pairs, n_states)."""
    assert mdp.shared_mass is not None
    pairs = np.flatnonzero(mdp.shared_mass)
    entries = (np.ones(len(pairs)), (pairs, mdp.pair_state[pairs]))
    return coo_array(entries, shape=(len(mdp.rewards), mdp.n_states)).tocsc()


def _pair_in_loop(mdp: MDP, remaining: Integers) -> int:
    """Return a pair that comes round again, of pairs that only lead to each other's states."""
    if mdp.uniform_mass is not None and mdp.uniform_mass[remaining].any():
        return int(remaining[np.argmax(mdp.uniform_mass[remaining] > 0)])
    edges = mdp.transitions[remaining].tocoo()
    if mdp.shared_mass is not None:
        edges = (edges + (_sharing_pairs(mdp).tocsr()[remaining] @ mdp.shared_transitions)).tocoo()
    edges.eliminate_zeros()
    origin = mdp.pair_state[remaining][edges.row]
    graph = coo_array((np.ones(edges.nnz), (origin, edges.col)), shape=(mdp.n_states,) * 2)
    _, component = connected_components(graph, directed=True, connection="strong")
    # Nothing leads out of a last component, so all of its pairs can be taken again and again.
    leaves = np.zeros(len(component), dtype=bool)
    leaves[component[origin[component[origin] != component[edges.col]]]] = True
    return int(remaining[np.argmin(leaves[component[mdp.pair_state[remaining]]])])


def _most_steps(mdp: MDP) -> float:
    """Return an upper bound on the expected number of steps to the end under any policy.

    With max(1 + max_a P h - h) <= e < 1, h / (1 - e) is at least 1 + max_a P (h / (1 - e)).
    """
    loop = endless_pair(mdp)
    if loop is not None:
        raise EndlessLoopError(int(mdp.pair_state[loop]), int(mdp.pair_action[loop]))
    steps: MDP = replace(mdp, rewards=np.ones_like(mdp.rewards))
    h = np.zeros(mdp.n_states)
    for _ in range(MAX_ITER_OF_STEPS):
        Q = pair_values(steps, 1.0, h)
        longer = maximize(steps, Q)
        excess = float((longer - h).max())
        if excess <= 0.1:
            return float(h.max()) / (1 - excess)
        slowest = steps.restrict(greedy_pairs(steps.first_pairs, Q))
        h = _follow_policy(slowest, 1.0, longer, 0.1, is_closed=False)
    return UNBOUNDED

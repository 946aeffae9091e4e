"""Modified policy iteration. Notation as in ``skmdp.mdp._bellman``; bounds: ``_bounds``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs, maximize
from skmdp.solvers._bounds import Discounting, Proof, discount
from skmdp.solvers._loops import best_total_rewards
from skmdp.solvers._search import Search
from skmdp.solvers._solution import Solution, report_iteration, warn_not_converged
from skmdp.solvers._ties import tie_tolerances, undecided_states
from skmdp.solvers._total_reward import most_steps_to_the_end


def modified_policy_iteration(
    mdp: MDP,
    gamma: float,
    *,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    initial_values: Floats | None = None,
    verbose: int = 0,
    callback: Callable[[int], object] | None = None,
) -> Solution:
    """Solve a Markov decision process by modified policy iteration.

    Each iteration improves the policy once over all pairs and then follows it for several cheap
    sweeps over one pair per state.

    Parameters
    ----------
    mdp : MDP
        The process.
    gamma : float
        Discount in [0, 1]. At 1 every state needs a way to the end, and loops must lose, or pay
        nothing at all.
    tol : float, default=1e-6
        The values returned are within ``tol * max(max|R|, max|V|)`` of the optimal ones. They are
        closer where that is needed to prove which action of a state is best.
    max_iter : int, default=10_000
        Maximum number of iterations.
    initial_values : ndarray of shape (n_states,), default=None
        Where to start, such as the values of a similar process; None: at 0. States without pairs
        are worth 0 whatever is said here.
    verbose : int, default=0
        If positive, print a line per iteration.
    callback : callable, default=None
        Called with the number of iterations after each of them.

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
        If gamma is 1 and a loop earns, or its gains and losses cancel, or no policy ends.

    Warns
    -----
    ConvergenceWarning
        If ``converged`` is False, or ``max_iter`` came before the best action of every state was
        proven.

    Notes
    -----
    At gamma = 1 in a process with loops, policies are improved from one that ends for certain. The
    bound is proven at the end, and says nothing (1e150) if ``max_iter`` came first.

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
    skmdp.solvers...EndlessLoopError: gamma=1 needs a process that always ends, but ...
    """
    gamma, tol = float(gamma), float(tol)  # a float32 would carry its rounding into the bound
    discounting = _discounting(mdp, gamma)
    if discounting is None:
        return _solve_loops(mdp, tol, max_iter, verbose, callback)
    search = Search(mdp, gamma, discounting, initial_values)
    history: list[float] = []
    was_rounding = False
    while True:
        proof = search.improve()
        history.append(proof.bound)
        target = tol * max(mdp.largest_reward, proof.largest)
        converged = proof.bound <= target < np.inf
        _tell(verbose, callback, len(history), proof.bound, target, search.n_changed)
        # Values that came from far away in one step are rounded once more than those of the next.
        is_final, was_rounding = proof.is_rounding and was_rounding, proof.is_rounding
        is_last = is_final or len(history) >= max_iter
        if is_last or (converged and search.may_be_decided()):
            solution = _solution(mdp, gamma, search, proof, converged, history)
            if is_last or solution.n_undecided == 0:
                break
        search.evaluate()
    warn_not_converged(solution, is_final=is_final, target=target, tol=tol)
    return solution


def _tell(
    verbose: int,
    callback: Callable[[int], object] | None,
    n_iter: int,
    bound: float,
    target: float,
    n_changed: int,
) -> None:
    """Print a line, and call back, as asked for."""
    if verbose > 0:
        report_iteration(n_iter, bound, target, n_changed)
    if callback is not None:
        callback(n_iter)


def _discounting(mdp: MDP, gamma: float) -> Discounting | None:
    """Return the discounted sums of one unit in every step; None if they may have no bound."""
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1], got {gamma}.")
    if gamma < 1:
        return discount(mdp, gamma)
    most = most_steps_to_the_end(mdp)
    return None if most is None else Discounting(0.0, most)


def _solve_loops(
    mdp: MDP,
    tol: float,
    max_iter: int,
    verbose: int,
    callback: Callable[[int], object] | None,
) -> Solution:
    """Return the largest total rewards of a process that can go on for ever."""
    V, pair_of, bound, n_iter, in_loops = best_total_rewards(mdp, max_iter)
    target = tol * max(mdp.largest_reward, float(np.abs(V).max()))
    converged = bool(bound <= target)
    _tell(verbose, callback, n_iter, bound, target, 0)
    Q = mdp.pair_values(V, 1.0)
    undecided = undecided_states(
        mdp, 1.0, Q, tie_tolerances(mdp, 1.0, V, Q), bound=bound, spread=2 * bound
    )
    solution = Solution(
        state_values=V,
        q_values=Q,
        relative_values=V,
        relative_q_values=Q,
        policy=np.where(pair_of < 0, -1, mdp.pair_action[pair_of]),
        n_iter=n_iter,
        converged=converged,
        value_error_bound=bound,
        n_undecided=int(undecided.sum()),
        history=np.full(n_iter, bound),
        in_loops=in_loops,
    )
    warn_not_converged(solution, is_final=n_iter < max_iter, target=target, tol=tol)
    return solution


def _solution(
    mdp: MDP,
    gamma: float,
    search: Search,
    proof: Proof,
    converged: bool,
    history: list[float],
) -> Solution:
    """Apply T once more, to the values proven, so that Q, V and policy belong together."""
    # What all values share would round off the differences that decide; it is added last.
    relative_values = search.values()
    relative = mdp.pair_values(relative_values, gamma)
    Q = relative + gamma * proof.level
    actions = np.full(mdp.n_states, -1)
    best = greedy_pairs(mdp.first_pairs, relative)
    actions[mdp.pair_state[best]] = mdp.pair_action[best]
    undecided = undecided_states(
        mdp,
        gamma,
        relative,
        tie_tolerances(mdp, gamma, relative_values, relative),
        bound=proof.bound,
        spread=proof.spread_bound,
    )
    return Solution(
        state_values=maximize(mdp, Q),
        q_values=Q,
        relative_values=relative_values,
        relative_q_values=relative,
        policy=actions,
        n_iter=len(history),
        converged=converged,
        value_error_bound=proof.bound,
        n_undecided=int(undecided.sum()),
        history=np.array(history),
    )

"""Solvers of Markov decision processes, each with a proven bound on its error.

Notation as in ``skmdp.mdp._bellman``. With d = T V - V and H the largest expected number of steps,
discounted, that any policy can take (at most 1 / (1 - gamma)),

    |V* - T V| <= gamma H max|d|

(Puterman 2005, theorem 6.3.1; for gamma = 1 and processes that no policy can keep from ending,
Bertsekas and Tsitsiklis 1991). Where no pair may end and every state acts, the range of d bounds
more tightly, since a constant added to V changes nothing but the level (MacQueen 1966; Puterman
2005, theorem 6.6.3):

    gamma / (1 - gamma) min(d)  <=  V* - T V  <=  gamma / (1 - gamma) max(d)

That is wrong where rows of P sum to less than one, so it is not used there, nor where a penalty
with its floor is taken off (then T is a monotone gamma-contraction, so the first bound holds; see
``skmdp.mdp._penalty``).
"""

from __future__ import annotations

import numpy as np

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs, maximize, pair_values
from skmdp.solvers._bounds import center_residual, rounding_error
from skmdp.solvers._solution import Solution, report_iteration, warn_not_converged
from skmdp.solvers._sweeps import follow_policy
from skmdp.solvers._total_reward import most_steps_to_the_end

# The policy's residual relative to the optimality residual at which improving it pays again.
INNER_TOLERANCE = 0.1


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
    skmdp.solvers...EndlessLoopError: gamma=1 needs a process that always ends, but ...
    """
    gamma, tol = float(gamma), float(tol)  # a float32 would carry its rounding into the bound
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1], got {gamma}.")
    if gamma == 1 and mdp.penalty is not None:
        raise ValueError("A penalty needs gamma below 1: at gamma=1 its values have no bound.")
    is_closed = len(mdp.acting_states) == mdp.n_states and not mdp.ends.any()
    is_closed = is_closed and mdp.penalty is None
    most_steps = 1 / (1 - gamma) if gamma < 1 else most_steps_to_the_end(mdp)
    rounding = most_steps * rounding_error(mdp)
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
        level, residual = center_residual(TV - V, is_closed)
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
            report_iteration(len(history), bound, target, improved, greedy)
        # A bound that is nothing but rounding, or overflow, cannot improve any more.
        if converged or len(history) >= max_iter or not proven > noise:
            break
        if greedy is None or (improved != greedy).any():
            policy = mdp.restrict(improved)
        greedy = improved
        V = follow_policy(policy, gamma, TV, INNER_TOLERANCE * residual, is_closed)
    if not converged:
        warn_not_converged(len(history), max_iter, bound, target, tol)
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

"""The values of a given policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skmdp._messages import quoted
from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.mdp._policies import pair_probabilities
from skmdp.solvers._driver import best_values, check_discount
from skmdp.solvers._policy_iteration import ExactEvaluation
from skmdp.solvers._policy_process import process_of_policy
from skmdp.solvers._total_reward import EndlessPairs


@dataclass(frozen=True, eq=False)
class PolicyValue:
    """What a policy is worth, and how good that number provably is.

    Parameters
    ----------
    state_values : ndarray of shape (n_states,)
        Expected reward from each state on, if the policy is followed.
    q_values : ndarray of shape (n_pairs,)
        The same from each pair on, if the policy is followed after it.
    value_error_bound : float
        Proven bound on the error of ``state_values``, rounding included; times gamma it is one on
        that of ``q_values``.
    converged : bool
        Whether the bound met the tolerance.

    Examples
    --------
    >>> from skmdp.datasets import make_garnet
    >>> from skmdp.solvers import evaluate_policy, solve
    >>> mdp = make_garnet(20, 2, 3, random_state=0)
    >>> value = evaluate_policy(mdp, solve(mdp, 0.9).policy, 0.9)
    >>> value.converged, value.value_error_bound < 1e-9
    (True, True)
    """

    state_values: Floats
    q_values: Floats
    value_error_bound: float
    converged: bool


def evaluate_policy(mdp: MDP, policy: Any, gamma: float, *, tol: float = 1e-6) -> PolicyValue:
    """Find what a policy is worth in every state of a process.

    Parameters
    ----------
    mdp : MDP
        The process.
    policy : array-like of shape (n_states,), (n_states, n_actions) or (n_pairs,)
        Code of the action of each state, as integers; or the probability of each action in each
        state, dense or sparse, or of each pair, as floats. Probabilities are divided by their sum,
        which must be 1 to six digits. In states without pairs nothing is decided: what stands
        there does not matter.
    gamma : float
        Discount in [0, 1]. At 1 the policy must end from every state, or come to a loop in which
        nothing is paid.
    tol : float, default=1e-6
        The values returned are within ``tol * max(max|R|, max|V|)`` of the policy's.

    Returns
    -------
    value : PolicyValue
        Values and bound.

    Raises
    ------
    ValueError
        If the policy takes an action that its state does not have, has probabilities that are
        negative, NaN or do not sum to one, or another shape; if gamma is outside [0, 1], or 1 for a
        policy that is paid for ever, whose states are named; if a process with a penalty is
        combined with a policy that mixes actions, or with gamma = 1.

    Warns
    -----
    ConvergenceWarning
        If float64 does not reach the tolerance.

    See Also
    --------
    solve : A best policy.
    skmdp.metrics.evaluate_policy : What a policy is worth by a log.

    Notes
    -----
    A policy is a process with one pair in each state, whose values are the solution of n_states
    linear equations. They are solved as by ``policy_iteration``, and the bound is proven as there.
    A penalty (of a process learned with ``pessimism``) is taken off for every action, as ``solve``
    does.

    References
    ----------
    M. L. Puterman, "Markov Decision Processes", Wiley (2005), section 6.1.

    Examples
    --------
    Working pays 1 and goes on; quitting pays 5 and ends. Quitting with probability 0.5 is worth
    V = 0.5 * 5 + 0.5 * (1 + V), which is 6:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import evaluate_policy
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> evaluate_policy(mdp, [[0.5, 0.5]], gamma=1.0).state_values
    array([6.])

    Working for ever has no value without discount:

    >>> evaluate_policy(mdp, [0], gamma=1.0)
    Traceback (most recent call last):
    ...
    ValueError: gamma=1 needs a policy that ends, but this one comes back for ever to state(s) 0...
    """
    gamma = check_discount(mdp, gamma)
    process = process_of_policy(mdp, pair_probabilities(mdp, policy))
    kept = _pairs_before_loops(process) if gamma == 1 else np.arange(len(process.rewards))
    V, bound, converged = np.zeros(mdp.n_states), 0.0, True
    if len(kept):
        solution = best_values(process.restrict(kept), gamma, ExactEvaluation, tol=tol)
        V, bound = solution.state_values, solution.value_error_bound
        converged = solution.converged
    return PolicyValue(V, mdp.pair_values(V, gamma), bound, converged)


def _pairs_before_loops(process: MDP) -> Integers:
    """Return the pairs of a policy that are not part of loops; refuse loops that pay."""
    endless = EndlessPairs(process)
    endless.search()
    in_loops = endless.is_left[: len(process.rewards)]  # hubs follow
    pays = in_loops & (process.rewards != 0)
    if pays.any():
        raise ValueError(
            "gamma=1 needs a policy that ends, but this one comes back for ever to state(s) "
            f"{quoted(process.pair_state[pays].tolist())}, which pay. Use a gamma below 1, such as "
            "0.999."
        )
    return np.flatnonzero(~in_loops)

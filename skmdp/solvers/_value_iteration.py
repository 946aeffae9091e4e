"""Value iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy.typing as npt

from skmdp.mdp import MDP
from skmdp.solvers._driver import best_values
from skmdp.solvers._solution import Solution
from skmdp.solvers._sweeps import AS_GIVEN, Evaluator, Pace


class NoEvaluation(Evaluator):
    """Leaves the values where the last improvement took them."""

    as_given: ClassVar[Pace] = replace(AS_GIVEN, most_sweeps=0, most_still=0)
    solves: ClassVar[bool] = False
    leaves: ClassVar[bool] = False


def value_iteration(
    mdp: MDP,
    gamma: float,
    *,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    initial_values: npt.ArrayLike | None = None,
    verbose: int = 0,
    callback: Callable[[int], object] | None = None,
) -> Solution:
    """Solve a Markov decision process by value iteration.

    Each iteration takes the best action of every state under the values of the one before, and
    moves all values by what that proves. No policy is followed in between, so it mostly takes
    longer than ``modified_policy_iteration``; it is here to compare with.

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
    initial_values : array-like of shape (n_states,), default=None
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
        If gamma is outside [0, 1], or 1 for a process with a penalty, or another option is out of
        range.
    EndlessLoopError
        If gamma is 1 and a loop earns, or its gains and losses cancel, or no policy ends.

    Warns
    -----
    ConvergenceWarning
        If ``converged`` is False, or ``max_iter`` came before the best action of every state was
        proven.

    Notes
    -----
    An iteration costs O(n_nonzero). The number of iterations grows like 1 / (1 - gamma) where
    the process is slow to forget where it started.

    At gamma = 1 in a process with loops, iterating may come to rest at wrong values. Policies are
    improved from one that ends for certain there, as by ``policy_iteration``.

    References
    ----------
    M. L. Puterman, "Markov Decision Processes", Wiley (2005), sections 6.3 and 6.6.

    Examples
    --------
    Working for ever at gamma = 0.9 is worth 1 / (1 - 0.9) = 10; quitting pays 5 at once:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import value_iteration
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> solution = value_iteration(mdp, gamma=0.9)
    >>> solution.policy
    array([0])

    Values are proven to a bound by every solver, here at gamma = 0.5:

    >>> quits = value_iteration(mdp, gamma=0.5)
    >>> quits.state_values, quits.value_error_bound < 1e-6
    (array([5.]), True)
    """
    return best_values(
        mdp,
        gamma,
        NoEvaluation,
        tol=tol,
        max_iter=max_iter,
        initial_values=initial_values,
        verbose=verbose,
        callback=callback,
    )

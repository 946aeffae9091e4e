"""Policy iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy.typing as npt

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.solvers._bounds import Proof
from skmdp.solvers._driver import best_values
from skmdp.solvers._equations import Policy
from skmdp.solvers._solution import Solution
from skmdp.solvers._sweeps import Evaluator

# The width of what is proven of a policy's values must fall by this factor to go on.
PROGRESS = 0.9


class ExactEvaluation(Evaluator):
    """Moves V to the values of a policy, as near as float64 comes.

    It solves the policy's equations: in a full matrix, in a band, or by the Krylov method, again
    and again until the residual is rounding. A policy with a penalty has none, and is swept.
    """

    leaves: ClassVar[bool] = False

    def evaluate(self, policy: Policy, V: Floats, step: Proof, **_: Any) -> Floats:
        """Return the values of the policy."""
        enough = 2 * step.noise * self.discounting.most
        to_the_end = Proof(0.0, 0.0, *step[2:])
        before, width = math.inf, math.inf
        while width > enough and not width > PROGRESS * before:
            solved = None
            if self._may_solve:
                solved = self.solve(policy, V, enough, math.inf, 0.0)
            if solved is None:
                solved = super().evaluate(policy, V, to_the_end, cheap=1, is_new=0.0)
            V = solved
            lo, hi = policy.apply(V)[1:]
            before, width = width, self.discounting.width(lo, hi)
        return V


def policy_iteration(
    mdp: MDP,
    gamma: float,
    *,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    initial_values: npt.ArrayLike | None = None,
    verbose: int = 0,
    callback: Callable[[int], object] | None = None,
) -> Solution:
    """Solve a Markov decision process by policy iteration.

    Each iteration improves the policy once over all pairs and then finds its values from their
    linear equations. It takes few iterations, each of them costly;
    ``modified_policy_iteration`` solves equations only where sweeps would take longer.

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
    Equations are solved in a full matrix where states are few, in a band where the states can be
    put into an order in which they lead to near ones, and else by the stabilized method of
    conjugate gradients (BiCGSTAB). At gamma = 1 in a process with loops, the first policy is one
    that ends for certain.

    An iteration costs O(n_nonzero) and the solution of n_states equations.

    References
    ----------
    R. A. Howard, "Dynamic Programming and Markov Processes", MIT Press (1960). M. L. Puterman,
    "Markov Decision Processes", Wiley (2005), section 6.4.

    Examples
    --------
    Working for ever at gamma = 0.9 is worth 1 / (1 - 0.9) = 10; quitting pays 5 at once:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import policy_iteration
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> policy_iteration(mdp, gamma=0.9).policy
    array([0])

    The policy that is best by the first values is where it starts:

    >>> policy_iteration(mdp, gamma=0.9, initial_values=[10.0]).n_iter
    1
    """
    return best_values(
        mdp,
        gamma,
        ExactEvaluation,
        tol=tol,
        max_iter=max_iter,
        initial_values=initial_values,
        verbose=verbose,
        callback=callback,
    )

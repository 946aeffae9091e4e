"""Modified policy iteration."""

from __future__ import annotations

from collections.abc import Callable

import numpy.typing as npt

from skmdp.mdp import MDP
from skmdp.solvers._driver import best_values
from skmdp.solvers._solution import Solution
from skmdp.solvers._sweeps import Evaluator


def modified_policy_iteration(
    mdp: MDP,
    gamma: float,
    *,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    initial_values: npt.ArrayLike | None = None,
    verbose: int = 0,
    callback: Callable[[int], object] | None = None,
) -> Solution:
    """Solve a Markov decision process by modified policy iteration.

    Each iteration improves the policy once over all pairs and then follows it for several cheap
    sweeps over one pair per state; where that would take too long, the policy's equations are
    solved.

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
    return best_values(
        mdp,
        gamma,
        Evaluator,
        tol=tol,
        max_iter=max_iter,
        initial_values=initial_values,
        verbose=verbose,
        callback=callback,
    )

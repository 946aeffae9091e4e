"""The choice of a solver."""

from __future__ import annotations

from collections.abc import Callable

import numpy.typing as npt

from skmdp._messages import quoted, shown
from skmdp.mdp import MDP
from skmdp.solvers._driver import best_values
from skmdp.solvers._policy_iteration import ExactEvaluation
from skmdp.solvers._solution import Solution
from skmdp.solvers._sweeps import Evaluator
from skmdp.solvers._value_iteration import NoEvaluation

# How each of the solvers follows a policy.
EVALUATIONS: dict[str, type[Evaluator]] = {
    "auto": Evaluator,
    "modified_policy_iteration": Evaluator,
    "policy_iteration": ExactEvaluation,
    "value_iteration": NoEvaluation,
}


def solve(
    mdp: MDP,
    gamma: float,
    *,
    solver: str = "auto",
    tol: float = 1e-6,
    max_iter: int = 10_000,
    initial_values: npt.ArrayLike | None = None,
    verbose: int = 0,
    callback: Callable[[int], object] | None = None,
) -> Solution:
    """Solve a Markov decision process: find the values of its states and a best policy.

    Parameters
    ----------
    mdp : MDP
        The process.
    gamma : float
        Discount in [0, 1]. At 1 every state needs a way to the end, and loops must lose, or pay
        nothing at all.
    solver : str, default="auto"
        The algorithm: ``"modified_policy_iteration"``, ``"policy_iteration"``,
        ``"value_iteration"``, or ``"auto"``, which is the first of them: it solves a policy's
        equations where sweeps would take too long, and is mostly the fastest. All of them prove
        the same bound.
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

    See Also
    --------
    backward_induction : A number of decisions that is known.
    evaluate_policy : What a given policy is worth.
    relative_value_iteration : Average reward per decision, of processes that go on for ever.

    Notes
    -----
    Progress bars and other callbacks of scikit-learn are attached to estimators; a function takes
    ``callback``.

    Examples
    --------
    Working for ever at gamma = 0.5 is worth 1 / (1 - 0.5) = 2; quitting pays 5 at once:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import solve
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> solution = solve(mdp, gamma=0.5)
    >>> solution.policy, solution.state_values
    (array([1]), array([5.]))

    What cannot be right is refused:

    >>> solve(mdp, gamma=0.5, solver="simplex")
    Traceback (most recent call last):
    ...
    ValueError: solver must be one of 'auto', 'modified_policy_iteration', ...
    """
    if solver not in EVALUATIONS:
        raise ValueError(f"solver must be one of {quoted(list(EVALUATIONS))}, got {shown(solver)}.")
    return best_values(
        mdp,
        gamma,
        EVALUATIONS[solver],
        tol=tol,
        max_iter=max_iter,
        initial_values=initial_values,
        verbose=verbose,
        callback=callback,
    )

"""Backward induction: a number of decisions that is known."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import numpy.typing as npt

from skmdp._messages import shown
from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._array_policy import padded
from skmdp.solvers._driver import check_discount
from skmdp.solvers._given import read_state_values
from skmdp.solvers._kernels import Choices, first_best, improve
from skmdp.solvers._search import acting_first


@dataclass(frozen=True, eq=False)
class FiniteSolution:
    """Best values and actions before each of a known number of decisions.

    Parameters
    ----------
    state_values : ndarray of shape (horizon + 1, n_states)
        Row t is the best expected reward from decision t on; row 0 is that of all decisions, and
        the last row the final values.
    policy : ndarray of shape (horizon, n_states)
        Code of the best action at decision t, the lowest of equals; -1 in states without pairs.
    value_error_bound : float
        Proven bound on the rounding errors of ``state_values``.

    Examples
    --------
    >>> from skmdp.datasets import make_garnet
    >>> from skmdp.solvers import backward_induction
    >>> solution = backward_induction(make_garnet(20, 2, 3, random_state=0), horizon=5)
    >>> solution.state_values.shape, solution.policy.shape
    ((6, 20), (5, 20))
    """

    state_values: Floats
    policy: Integers
    value_error_bound: float


def backward_induction(
    mdp: MDP,
    horizon: int,
    *,
    gamma: float = 1.0,
    final_values: npt.ArrayLike | None = None,
) -> FiniteSolution:
    """Solve a Markov decision process in which a known number of decisions is taken.

    Parameters
    ----------
    mdp : MDP
        The process. It stops after ``horizon`` decisions, or earlier where it ends by itself.
    horizon : int
        Number of decisions, at least 1.
    gamma : float, default=1.0
        Discount in [0, 1]: a reward that comes t decisions later counts ``gamma ** t`` as much.
    final_values : array-like of shape (n_states,), default=None
        What it is worth to be in each state after the last decision; None: nothing. States without
        pairs end the process whenever they are reached, and are worth 0.

    Returns
    -------
    solution : FiniteSolution
        Values and actions for each decision. They are exact but for rounding.

    Raises
    ------
    ValueError
        If the horizon is no whole number of at least 1, gamma is outside [0, 1], or 1 for a process
        with a penalty, or final values are not finite, or not 0 in a state without pairs.

    See Also
    --------
    solve : Decisions without a fixed number.

    Notes
    -----
    With T the optimality operator, row t is T applied to row t + 1. It takes
    O(horizon * n_nonzero), and 16 bytes for each decision and state.

    References
    ----------
    M. L. Puterman, "Markov Decision Processes", Wiley (2005), section 4.5.

    Examples
    --------
    Working pays 1 each time; quitting pays 5 and ends. Quit last, when nothing is lost by it:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import backward_induction
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> solution = backward_induction(mdp, horizon=3)
    >>> solution.policy.ravel()
    array([0, 0, 1])
    >>> solution.state_values.ravel()
    array([7., 6., 5., 0.])
    """
    if not isinstance(horizon, Integral) or horizon < 1:
        raise ValueError(
            f"horizon must be a whole number of decisions, at least 1, got {shown(horizon)}."
        )
    gamma = check_discount(mdp, gamma)
    acting, n = mdp.acting_states, mdp.n_states
    state_values, policy = np.zeros((int(horizon) + 1, n)), np.full((int(horizon), n), -1)
    if final_values is not None:
        state_values[-1] = _read_final_values(mdp, final_values)
    process = acting_first(mdp)
    choices = Choices(process)
    V = padded(state_values[-1, acting], n)
    factor = gamma * max(1.0, float(mdp.mass.max()))
    error = bound = 0.0
    for t in range(int(horizon) - 1, -1, -1):
        rounded = mdp.rounding * (mdp.largest_reward + float(np.abs(V).max()))
        error = factor * error + rounded
        bound = max(bound, error)
        TV, Q = improve(process, choices, V, gamma)
        state_values[t, acting] = TV
        policy[t, acting] = process.pair_action[first_best(choices, TV, Q)]
        V = padded(TV, n)
    return FiniteSolution(state_values, policy, bound)


def _read_final_values(mdp: MDP, final_values: npt.ArrayLike) -> Floats:
    """Return the values after the last decision; states that end the process have none."""
    V = read_state_values(mdp, "final_values", final_values)
    acts = np.zeros(mdp.n_states, dtype=bool)
    acts[mdp.acting_states] = True
    wrong = np.flatnonzero((V != 0) & ~acts)
    if len(wrong):
        s = wrong[0]
        raise ValueError(
            f"final_values is {shown(V[s])} for state {s}, which has no pairs and is worth 0: "
            "the process ends there. Set it to 0, and add what reaching the state is worth to the "
            "rewards of the pairs that lead there."
        )
    return V

"""The answer of a solver, its reports and its warnings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from sklearn.exceptions import ConvergenceWarning

from skmdp._typing import Floats, Integers


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


def report_iteration(
    n_iter: int, bound: float, target: float, improved: Integers, greedy: Integers | None
) -> None:
    changed = len(improved) if greedy is None else int((improved != greedy).sum())
    print(
        f"iteration {n_iter}: values within {bound:.3g} (wanted {target:.3g}), "
        f"{changed} action(s) changed"
    )


def warn_not_converged(n_iter: int, max_iter: int, bound: float, target: float, tol: float) -> None:
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

"""The answer of a solver, its reports and its warnings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from skmdp._messages import quoted, shown
from skmdp._typing import Bools, Floats, Integers
from skmdp.solvers._bounds import UNBOUNDED


class EndlessLoopError(ValueError):
    """A policy can keep the process from ending, so values at gamma = 1 may be infinite.

    Parameters
    ----------
    state, action : int or label
        One pair that can be taken again and again, kept as attributes: codes where a process was
        solved, labels where an estimator was fitted.
    states : sequence of int or label, default=()
        All states of such loops, as far as they are known.

    Examples
    --------
    >>> from skmdp.solvers import EndlessLoopError
    >>> EndlessLoopError(state="open", action="wait").state
    'open'
    """

    def __init__(self, state: Any, action: Any, states: Sequence[Any] = ()) -> None:
        through = f" through the states {quoted(states)}" if len(states) > 1 else ""
        super().__init__(
            f"gamma=1 needs a process that always ends, but action {shown(action)} in state "
            f"{shown(state)} can be part of an endless loop{through}, so its value may be "
            "infinite. Use a gamma below 1, such as 0.999."
        )
        self.state = state
        self.action = action
        self.states = states

    def __reduce__(self) -> tuple[type[EndlessLoopError], tuple[Any, ...]]:
        return type(self), (self.state, self.action, self.states)


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found, and how good it provably is.

    Parameters
    ----------
    state_values : ndarray of shape (n_states,)
        V, within ``value_error_bound`` of the optimal values in every state.
    q_values : ndarray of shape (n_pairs,)
        Q of every pair, within ``value_error_bound`` of the optimum.
    relative_values, relative_q_values : ndarray of shape (n_states,) and (n_pairs,)
        V and Q less a constant that the values of all states share, which would round off their
        differences where it is large; 0 is taken off where some episodes may end.
    policy : ndarray of shape (n_states,)
        Code of the greedy action, the lowest of equals; -1 in states without pairs.
    n_iter : int
        Number of times all pairs were looked at to improve the policy and to bound the error.
    converged : bool
        Whether the bound met the tolerance.
    value_error_bound : float
        Proven bound on ``max|state_values - V*|``, rounding included.
    n_undecided : int
        Number of states whose greedy action is not proven to be best, up to rounding and 1e-9 of
        the range of Q.
    history : ndarray of shape (n_iter,)
        The bound after each iteration.
    in_loops : ndarray of shape (n_states,), default=None
        At gamma = 1: which states are in loops that pay nothing. There, of actions that are worth
        the same, only those of ``policy`` are sure to get anywhere. None if there is no loop.

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
    relative_values: Floats
    relative_q_values: Floats
    policy: Integers
    n_iter: int
    converged: bool
    value_error_bound: float
    n_undecided: int
    history: Floats
    in_loops: Bools | None = None


def report_iteration(n_iter: int, bound: float, target: float, n_changed: int) -> None:
    """Print a line about one iteration."""
    values = f"within {bound:.3g} (wanted {target:.3g})" if bound < UNBOUNDED else "not bounded yet"
    print(f"iteration {n_iter}: values {values}, {n_changed} action(s) changed")


def warn_not_converged(solution: Solution, *, is_final: bool, target: float, tol: float) -> None:
    """Warn if values or actions are not proven, with a remedy.

    Ties that float64 cannot resolve need no warning if the values are good enough.
    """
    if solution.converged and (is_final or not solution.n_undecided):
        return
    n, bound = solution.n_iter, solution.value_error_bound
    values = f"proven to within {bound:.3g}, not within the {target:.3g} that tol asks for"
    if solution.converged:
        values = "as good as tol asks for"
    advice = ""
    if solution.n_undecided:
        advice = (
            f" The advice in {solution.n_undecided} state(s) is not proven: it is the best action "
            "known."
        )
    raise_tol = "" if solution.n_undecided else f" or tol ({tol:g})"
    if not is_final:
        remedy = f"Increase max_iter ({n}){raise_tol}, or lower gamma."
    elif solution.n_undecided:
        remedy = "float64 cannot prove more: lower gamma."
    else:
        remedy = f"float64 cannot prove more: increase tol ({tol:g}) or lower gamma."
    warnings.warn(
        f"Stopped after {n} iteration(s) with values {values}.{advice} {remedy}",
        ConvergenceWarning,
        4,
    )

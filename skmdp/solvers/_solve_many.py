"""Many processes that differ in their numbers only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._bounds import discount, discounted_sums
from skmdp.solvers._compiled import Threads, are_at_hand
from skmdp.solvers._driver import check_discount, check_limits, improve_until_proven
from skmdp.solvers._given import read_probabilities, read_rewards, row_sums
from skmdp.solvers._search import Search
from skmdp.solvers._small import (
    FINAL,
    MOST_ENTRIES,
    PROVEN,
    UNSOLVED,
    Numbers,
    Results,
    is_small,
    load_small,
    search_each,
    structure_of,
)

# Processes for which it pays to load the compiled loop.
ENOUGH_TO_LOAD = 200
# Sweeps over all pairs, about, that take as long as one process.
SWEEPS = 10


@dataclass(frozen=True, eq=False)
class ManySolutions:
    """What was found of many processes, and how good it provably is.

    Parameters
    ----------
    state_values : ndarray of shape (n_sets, n_states)
        V of each process, within its ``value_error_bound`` of the optimal values in every state.
    policy : ndarray of shape (n_sets, n_states)
        Code of the greedy action, the lowest of equals; -1 in states without pairs.
    value_error_bound : ndarray of shape (n_sets,)
        Proven bound on ``max|state_values - V*|`` of each process, rounding included.
    converged : ndarray of shape (n_sets,)
        Whether the bound met the tolerance.
    n_iter : ndarray of shape (n_sets,)
        Number of times all pairs were looked at.

    Examples
    --------
    >>> from skmdp.datasets import make_garnet
    >>> from skmdp.solvers import solve_many
    >>> mdp = make_garnet(20, 2, 3, random_state=0)
    >>> rewards = np.random.default_rng(0).normal(size=(5, len(mdp.rewards)))
    >>> solutions = solve_many(mdp, 0.9, rewards=rewards)
    >>> solutions.state_values.shape, bool(solutions.converged.all())
    ((5, 20), True)
    """

    state_values: Floats
    policy: Integers
    value_error_bound: Floats
    converged: Bools
    n_iter: Integers


def solve_many(
    mdp: MDP,
    gamma: float,
    *,
    rewards: npt.ArrayLike | None = None,
    probabilities: npt.ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 10_000,
) -> ManySolutions:
    """Solve many Markov decision processes of one structure, each with numbers of its own.

    Parameters
    ----------
    mdp : MDP
        The process that has the states, the pairs, and the next states of each pair.
    gamma : float
        Discount in [0, 1).
    rewards : array-like of shape (n_sets, n_pairs), default=None
        Rewards of the pairs, one row for each process. None: those of ``mdp`` in all of them.
    probabilities : array-like of shape (n_sets, n_nonzero), default=None
        Probabilities in place of ``mdp.transitions.data``, in its order: one row for each process.
        None: those of ``mdp`` in all of them.
    tol : float, default=1e-6
        The values of each process are within ``tol * max(max|R|, max|V|)`` of the optimal ones.
        They are closer where that is needed to prove which action of a state is best.
    max_iter : int, default=10_000
        Maximum number of iterations for each process.

    Returns
    -------
    solutions : ManySolutions
        Values, policy and bound of each process, as ``solve`` would find them.

    Raises
    ------
    ValueError
        If gamma is outside [0, 1), a shape does not fit, a reward is not finite, probabilities are
        none, or the process has a penalty. The set and the pair are named, counting from 0.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` or the precision of float64 came first in some of the processes.

    See Also
    --------
    solve : One process, with all that is known about it.

    Notes
    -----
    Processes of up to 2,000 states and 200,000 transitions are solved by a compiled loop, on as
    many threads as OpenMP would use; results do not depend on their number. Larger ones, those
    that take many sweeps, all of them where numba is not installed, and few small ones in a
    program that has not used numba so far, are solved one after the other as by ``solve``, which
    is slow.

    Memory is O(n_sets (n_states + n_pairs + n_nonzero)).

    Examples
    --------
    Working for ever at gamma = 0.5 is worth twice the wage, quitting pays 5 at once. Which is best
    for wages of 1, 2 and 3?

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import solve_many
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> solutions = solve_many(mdp, 0.5, rewards=[[1, 5], [2, 5], [3, 5]])
    >>> solutions.policy.ravel()
    array([1, 1, 0])
    >>> solutions.state_values.ravel().round(6)
    array([5., 5., 6.])

    What if the worker is let go with probability 0.2? The only transition has another probability:

    >>> solve_many(mdp, 0.5, probabilities=[[1.0], [0.8]]).policy.ravel()
    array([1, 1])

    A number that is none is named:

    >>> solve_many(mdp, 0.5, rewards=[[1, 5], [np.nan, 5]])
    Traceback (most recent call last):
    ...
    ValueError: rewards must be finite, got nan in set 1 for action 0 in state 0 (pair 0, counting
    from 0). Correct it, or leave the set out.
    """
    gamma, tol = _check_process(mdp, gamma, probabilities), float(tol)
    check_limits(tol, max_iter)
    data, R = read_probabilities(mdp, probabilities), read_rewards(mdp, rewards)
    n_sets = _n_sets(data, R, rewards is not None)
    results = Results.of(n_sets, mdp.n_states)
    results.how[:] = UNSOLVED
    if is_small(mdp) and (n_sets >= ENOUGH_TO_LOAD or are_at_hand()):
        _solve_by_loop(mdp, gamma, data, R, tol, max_iter, results)
    for i in np.flatnonzero(results.how == UNSOLVED).tolist():
        _solve_one(mdp, gamma, data, R, tol, max_iter, i, results)
    _warn_not_converged(results, tol, max_iter)
    return ManySolutions(*results[:5])


def _check_process(mdp: MDP, gamma: float, probabilities: npt.ArrayLike | None) -> float:
    """Return the discount as a float, or refuse what is solved one at a time only."""
    gamma = check_discount(mdp, gamma)
    if gamma == 1:
        raise ValueError(
            "gamma must be below 1, such as 0.999, got 1: whether loops earn is looked at one "
            "process at a time. Use solve for each."
        )
    if not mdp.is_linear:
        raise ValueError(
            "mdp has a penalty, which depends on the rewards and probabilities that it was "
            "estimated with. Use solve for each process."
        )
    if probabilities is not None and mdp.hubs[0].nnz:
        raise ValueError(
            "mdp has pairs that share distributions of next states, so probabilities cannot take "
            "the place of transitions.data. Leave them out, or use solve for each process."
        )
    return gamma


def _n_sets(data: Floats | None, R: Floats, has_rewards: bool) -> int:
    """Return the number of processes, or refuse what leaves it open."""
    if data is None and not has_rewards:
        raise ValueError(
            "rewards or probabilities must be given, one row for each process. Use solve for one."
        )
    if data is not None and has_rewards and len(data) != len(R):
        raise ValueError(
            f"rewards has {len(R)} rows and probabilities {len(data)}, expected as many: one row "
            "for each process. Repeat rows, or leave out what is the same in all."
        )
    return len(R) if has_rewards or data is None else len(data)


def _solve_by_loop(
    mdp: MDP,
    gamma: float,
    data: Floats | None,
    R: Floats,
    tol: float,
    max_iter: int,
    results: Results,
) -> None:
    """Solve the processes by the compiled loop, if there is one, on all threads."""
    P = mdp.all_transitions(MOST_ENTRIES)
    if P is None or load_small() is None:
        return
    if data is None:
        data = np.ascontiguousarray(P.data)[np.newaxis]
        mass, acting_mass = mdp.mass[np.newaxis], mdp.acting_mass[np.newaxis]
    else:
        acts = np.zeros(mdp.n_states)
        acts[mdp.acting_states] = 1.0
        mass = row_sums(mdp, data)
        acting_mass = row_sums(mdp, data * acts[P.indices])
    least, most = discounted_sums(acting_mass, mdp.mass_rounding, gamma)
    numbers = Numbers(
        data,
        R,
        np.column_stack([least, most, mass.max(axis=1)]),
        np.abs(R).max(axis=1),
        np.zeros((0, mdp.n_states)),
    )
    entries_before = np.arange(len(results.how) + 1) * P.nnz * SWEEPS
    arguments = structure_of(mdp, P), numbers, gamma, tol, max_iter, results
    Threads(entries_before).run(search_each, arguments, alone=False)


def _solve_one(
    mdp: MDP,
    gamma: float,
    data: Floats | None,
    R: Floats,
    tol: float,
    max_iter: int,
    i: int,
    results: Results,
) -> None:
    """Solve process i as ``solve`` does."""
    changes: dict[str, Any] = {"rewards": R[i if len(R) > 1 else 0]}
    if data is not None:
        P = mdp.transitions
        of_set = data[i if len(data) > 1 else 0]
        changes["transitions"] = csr_array((of_set, P.indices, P.indptr), shape=P.shape)
    process = mdp.unchecked(**changes)
    search = Search(process, gamma, discount(process, gamma))
    solution, is_final, target = improve_until_proven(process, gamma, search, tol, max_iter)
    results.state_values[i], results.policy[i] = solution.state_values, solution.policy
    results.value_error_bound[i], results.target[i] = solution.value_error_bound, target
    results.converged[i], results.n_iter[i] = solution.converged, solution.n_iter
    results.n_undecided[i] = solution.n_undecided
    results.how[i] = FINAL if is_final else PROVEN


def _warn_not_converged(results: Results, tol: float, max_iter: int) -> None:
    """Warn if values or advice are not proven, with a remedy; as for one process."""
    is_open = (results.n_undecided > 0) & (results.how != FINAL)
    short = np.flatnonzero(~results.converged | is_open)
    if len(short):
        i = short[0]
        warnings.warn(
            f"{len(short):,} of {len(results.how):,} processes were stopped before their values "
            f"and advice were proven, first set {i} (counting from 0) after {results.n_iter[i]} "
            f"iteration(s), with values proven to within {results.value_error_bound[i]:.3g}, where "
            f"tol asks for {results.target[i]:.3g}. Increase max_iter ({max_iter}) or tol "
            f"({tol:g}), or lower gamma.",
            ConvergenceWarning,
            3,
        )

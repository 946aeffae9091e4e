"""The one loop of all solvers: improve the policy, look at what is proven, follow the policy.

Solvers differ in how they follow a policy. Notation as in ``skmdp.mdp._bellman``; bounds:
``_bounds``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.mdp._bellman import per_state
from skmdp.solvers._bounds import UNBOUNDED, Discounting, Proof, discount
from skmdp.solvers._given import read_state_values
from skmdp.solvers._loops import best_total_rewards
from skmdp.solvers._search import Search
from skmdp.solvers._small import solve_small
from skmdp.solvers._solution import Solution, report_iteration, warn_not_converged
from skmdp.solvers._sweeps import Evaluator
from skmdp.solvers._ties import count_undecided
from skmdp.solvers._total_reward import most_steps_to_the_end

# Share of the errors that must be left before actions are compared again, at most.
LARGEST_SHARE = 0.5


def best_values(
    mdp: MDP,
    gamma: float,
    evaluation: type[Evaluator],
    *,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    initial_values: npt.ArrayLike | None = None,
    verbose: int = 0,
    callback: Callable[[int], object] | None = None,
) -> Solution:
    """Solve a process; ``evaluation`` is the way in which policies are followed.

    The options are those of ``solve``. Public functions call this directly, so that warnings name
    the line that called them.
    """
    gamma, tol = check_discount(mdp, gamma), float(tol)
    check_limits(tol, max_iter)
    V = None if initial_values is None else read_state_values(mdp, "initial_values", initial_values)
    discounting = _discounting(mdp, gamma)
    if discounting is None:
        return _solve_loops(mdp, tol, max_iter, V, verbose, callback)
    # The loop for small processes follows policies in its own way, and tells nothing.
    is_plain = evaluation is Evaluator and verbose <= 0 and callback is None
    found = solve_small(mdp, gamma, discounting, tol, max_iter, V) if is_plain else None
    if found is None:
        search = Search(mdp, gamma, discounting, V, evaluation=evaluation)
        found = improve_until_proven(mdp, gamma, search, tol, max_iter, verbose, callback)
    solution, is_final, target = found
    warn_not_converged(solution, is_final=is_final, target=target, tol=tol)
    return solution


def improve_until_proven(
    mdp: MDP,
    gamma: float,
    search: Search,
    tol: float,
    max_iter: int,
    verbose: int = 0,
    callback: Callable[[int], object] | None = None,
) -> tuple[Solution, bool, float]:
    """Return the solution, whether float64 can prove no more, and the bound that was wanted."""
    history: list[float] = []
    was_rounding, wanted = False, np.inf
    while True:
        proof = search.improve(tol)
        history.append(proof.bound)
        target = tol * max(mdp.largest_reward, proof.largest)
        converged = proof.bound <= target < np.inf
        _tell(verbose, callback, len(history), proof.bound, target, search.n_changed)
        # Values that came from far away in one step are rounded once more than those of the next.
        is_final, was_rounding = proof.is_rounding and was_rounding, proof.is_rounding
        is_last = is_final or len(history) >= max_iter
        if is_last or (converged and proof.spread_bound <= wanted):
            solution, share = _solution(mdp, gamma, search, proof, converged, history)
            # Smaller errors would decide no more, or there is nothing to decide.
            if is_last or share == 1:
                is_final |= not is_last and solution.n_undecided > 0
                return solution, is_final, target
            # Gaps are known as well as the errors are small, so that share is a guess.
            wanted = min(share, LARGEST_SHARE) * proof.spread_bound
        search.evaluate(min(target, wanted))


def check_limits(tol: float, max_iter: int) -> None:
    """Refuse options that no solver can work with."""
    if not tol > 0:
        raise ValueError(f"tol must be above 0, such as 1e-6, got {tol}.")
    if not max_iter >= 1:
        raise ValueError(f"max_iter must be at least 1, got {max_iter}.")


def _tell(
    verbose: int,
    callback: Callable[[int], object] | None,
    n_iter: int,
    bound: float,
    target: float,
    n_changed: int,
) -> None:
    """Print a line, and call back, as asked for."""
    if verbose > 0:
        report_iteration(n_iter, bound, target, n_changed)
    if callback is not None:
        callback(n_iter)


def check_discount(mdp: MDP, gamma: float) -> float:
    """Return the discount as a float of full precision, or refuse it."""
    gamma = float(gamma)  # a float32 would carry its rounding into the bound
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1], got {gamma}.")
    if gamma == 1 and not mdp.is_linear:
        raise ValueError(
            "pessimism needs gamma below 1, such as 0.999: at gamma=1 its penalty has no bound."
        )
    return gamma


def _discounting(mdp: MDP, gamma: float) -> Discounting | None:
    """Return the discounted sums of one unit in every step; None if they may have no bound."""
    if gamma < 1:
        return discount(mdp, gamma)
    most = most_steps_to_the_end(mdp)
    return None if most is None else Discounting(0.0, most)


def _solve_loops(
    mdp: MDP,
    tol: float,
    max_iter: int,
    initial_values: Floats | None,
    verbose: int,
    callback: Callable[[int], object] | None,
) -> Solution:
    """Return the largest total rewards of a process that can go on for ever."""
    n_told = 0

    def report(n_iter: int, n_changed: int) -> None:
        nonlocal n_told
        n_told = n_iter
        _tell(verbose, callback, n_iter, UNBOUNDED, np.nan, n_changed)

    V, pair_of, bound, n_iter, in_loops = best_total_rewards(mdp, max_iter, initial_values, report)
    target = tol * max(mdp.largest_reward, float(np.abs(V).max()))
    converged = bool(bound <= target)
    if n_told < n_iter:
        _tell(verbose, callback, n_iter, bound, target, 0)
    Q = mdp.pair_values(V, 1.0)
    n_undecided, _ = count_undecided(mdp, 1.0, V, Q, bound=bound, spread=2 * bound)
    solution = Solution(
        state_values=V,
        q_values=Q,
        relative_values=V,
        relative_q_values=Q,
        policy=np.where(pair_of < 0, -1, mdp.pair_action[pair_of]),
        n_iter=n_iter,
        converged=converged,
        value_error_bound=bound,
        n_undecided=n_undecided,
        history=np.append(np.full(n_iter - 1, UNBOUNDED), bound),
        in_loops=in_loops,
    )
    warn_not_converged(solution, is_final=n_iter < max_iter, target=target, tol=tol)
    return solution


def _solution(
    mdp: MDP,
    gamma: float,
    search: Search,
    proof: Proof,
    converged: bool,
    history: list[float],
) -> tuple[Solution, float]:
    """Let Q, V and policy belong together; T is applied once more if Q is not known of all pairs.

    The share of the errors that would leave no advice undecided that can be decided is returned,
    too.
    """
    # What all values share would round off the differences that decide; it is added last.
    relative_values, relative = search.values(), search.q_values()
    level, bound, spread = proof.level, proof.bound, proof.spread_bound
    if relative is None:
        relative = search.all_q_values(relative_values)
        level *= gamma
    else:  # Q is that of the values before the last step, which moved them by lo to hi
        moved = (proof.lo + proof.hi) / 2 if search.forgets_level else 0.0
        bound += max(abs(proof.lo - moved), abs(proof.hi - moved)) + proof.noise
        spread += proof.hi - proof.lo + 2 * proof.noise
    best, n_undecided, share = search.undecided(relative_values, relative, bound, spread)
    Q = relative + level
    actions = np.full(mdp.n_states, -1)
    actions[mdp.acting_states] = mdp.pair_action[best]
    solution = Solution(
        state_values=per_state(mdp, Q[best]),
        q_values=Q,
        relative_values=relative_values,
        relative_q_values=relative,
        policy=actions,
        n_iter=len(history),
        converged=converged,
        value_error_bound=proof.bound,
        n_undecided=n_undecided,
        history=np.array(history),
    )
    return solution, share

"""The average reward per decision, of processes that go on for ever.

For any V and d = T V - V, at gamma = 1, the best average reward is between min d and max d,
whatever the state where the process starts (Puterman 2005, theorem 8.5.5; the proof takes no
structure). So a gain found is never off by more than half their distance. That distance falls to 0
if the best average reward is the same in all states, and if no policy is periodic. The latter is
made sure of: half of the time, the process stays where it is, which halves all gains.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.exceptions import ConvergenceWarning

from skmdp._messages import quoted
from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs
from skmdp.mdp._estimated import EstimatedMDP
from skmdp.solvers._bounds import Discounting
from skmdp.solvers._driver import check_limits
from skmdp.solvers._equations import Policy, solve_band
from skmdp.solvers._search import Search
from skmdp.solvers._sweeps import FEW_STATES, MOST_REFUSALS, Evaluator, Pace
from skmdp.solvers._total_reward import EndlessPairs

# Where a process has several parts, the distance must fall by this factor in so many iterations.
LEAST_PROGRESS, PATIENCE = 0.99, 50


@dataclass(frozen=True, eq=False)
class AverageRewardSolution:
    """The best average reward of a process, and how good it provably is.

    Parameters
    ----------
    gain : float
        Average reward per decision of the best policy, in the long run.
    bias : ndarray of shape (n_states,)
        How much more than in the first state that acts is earned in all, starting in each state.
        Where several policies are best, it may be that of another one.
    policy : ndarray of shape (n_states,)
        Code of the action of each state, the lowest of equals; -1 in states without pairs. From
        every state its average reward is within ``2 * gain_error_bound`` of the best.
    gain_error_bound : float
        Proven bound on the error of ``gain``, rounding included, whatever the process.
    converged : bool
        Whether the bound met the tolerance.
    n_iter : int
        Number of times all pairs were looked at.

    Examples
    --------
    >>> import numpy as np
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import relative_value_iteration
    >>> mdp = MDP.from_arrays(np.array([[[0, 1]], [[1, 0]]]), [[4], [1]])
    >>> solution = relative_value_iteration(mdp)
    >>> solution.gain, solution.converged  # 4 and 1 in turn
    (2.5, True)
    """

    gain: float
    bias: Floats
    policy: Integers
    gain_error_bound: float
    converged: bool
    n_iter: int


class AverageEvaluation(Evaluator):
    """Moves V towards the bias of a policy; it needs no discount.

    With a state that is visited again and again, and x and y the reward and the number of steps
    until the next visit, the gain is x / y in that state, and the bias is x - gain y.
    """

    # A full matrix of the usual equations would be singular, and in place the level would count.
    solves: ClassVar[bool] = False
    leaves: ClassVar[bool] = False

    def __init__(self, discounting: Discounting, pace: Pace, *, may_solve: bool) -> None:
        super().__init__(discounting, pace, may_solve=not may_solve)

    def _solution(self, policy: Policy, d: Floats, *_: Any, **__: Any) -> Floats | None:
        """Return the bias of rewards d; None without such a state, or if that is too much work."""
        n = len(d)
        P = policy.transitions()
        if P is None:
            return None
        component = connected_components(P, directed=True, connection="strong")[1]
        steps = P.tocoo()
        leaves = (component[steps.row] != component[steps.col]) & (steps.data > 0)
        is_open = np.zeros(n, dtype=bool)
        is_open[component[steps.row[leaves]]] = True
        # Of two such parts, the equations of the other one have no solution.
        visited = int(np.argmin(is_open[component]))
        P.data[P.indices == visited] = 0.0
        if n <= FEW_STATES:
            x, y = np.linalg.solve(np.eye(n) - P.toarray(), np.column_stack([d, np.ones(n)])).T
        elif self._n_refusals >= MOST_REFUSALS:
            return None
        else:
            x, y = (solve_band(P, right) for right in (d, np.ones(n)))
        if x is None or y is None:
            self._n_refusals += 1
            return None
        return np.asarray(x - x[visited] / y[visited] * y)


def relative_value_iteration(
    mdp: MDP, *, tol: float = 1e-6, max_iter: int = 10_000
) -> AverageRewardSolution:
    """Find the policy with the best average reward per decision, in a process without end.

    Parameters
    ----------
    mdp : MDP
        The process. The best average reward must be the same wherever it starts, as it is if every
        state can be reached from every other one, or if all policies come to the same states in
        the end. If it is not, that shows: the bound stays wide.
    tol : float, default=1e-6
        The gain returned is within ``tol * max|R|`` of the best one.
    max_iter : int, default=10_000
        Maximum number of iterations.

    Returns
    -------
    solution : AverageRewardSolution
        Gain, bias, policy and bound; ``converged`` is False if the bound is wider than ``tol``
        allows.

    Raises
    ------
    ValueError
        If the process may end, or rows of probabilities sum to more than one, or the process has
        a penalty, or an option is out of range.

    Warns
    -----
    ConvergenceWarning
        If ``converged`` is False. If the average reward may depend on where the process starts,
        the warning says so, and names states.

    See Also
    --------
    solve : Rewards that are discounted, or that come to an end.

    Notes
    -----
    The average reward of a process that ends is 0 in the long run, whatever was paid before. So a
    process with ends is refused: ``solve`` with gamma = 1 finds the reward until the end. To find
    the best reward per decision over many episodes one after the other, let what ends lead to where
    episodes start.

    Periodic policies are no problem: the process is solved with a coin tossed before each decision,
    which leaves everything as it is half of the time. Policies that take long to forget where they
    started are followed by their linear equations where states are few or can be put into an order
    in which they lead to near ones.

    An iteration costs O(n_nonzero) over all pairs, and some sweeps over one pair per state.

    References
    ----------
    M. L. Puterman, "Markov Decision Processes", Wiley (2005), sections 8.5 and 8.7.
    R. A. Howard, "Dynamic Programming and Markov Processes", MIT Press (1960).

    Examples
    --------
    A machine earns 10 while it is new and 2 once it is worn, into which it turns with probability
    0.5; a new one costs 6. Replacing it earns (2 * 10 - 6) / 3 per period:

    >>> import numpy as np
    >>> from skmdp.mdp import MDP
    >>> from skmdp.solvers import relative_value_iteration
    >>> P = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])  # keep, replace
    >>> mdp = MDP.from_arrays(P, [[10.0, 4.0], [2.0, -6.0]])
    >>> solution = relative_value_iteration(mdp)
    >>> solution.policy, round(solution.gain, 6)
    (array([0, 1]), 4.666667)
    """
    check_limits(tol, max_iter)
    _refuse_ends(mdp)
    search = Search(
        with_coin_tosses(mdp),
        1.0,
        Discounting(1.0, 1.0, forgets_level=True),
        evaluation=AverageEvaluation,
        may_change=False,
    )
    target = tol * mdp.largest_reward
    bounds: list[float] = []
    was_rounding = False
    while True:
        proof = search.improve()
        bounds.append(2 * proof.bound)
        converged = bounds[-1] <= target
        is_final, was_rounding = proof.is_rounding and was_rounding, proof.is_rounding
        if converged or is_final or len(bounds) >= max_iter or _makes_no_progress(mdp, bounds):
            break
        search.evaluate()
    bias = search.values()
    policy = np.full(mdp.n_states, -1)
    best = greedy_pairs(mdp.first_pairs, mdp.pair_values(bias, 1.0))
    policy[mdp.pair_state[best]] = mdp.pair_action[best]
    bias[mdp.acting_states] -= bias[mdp.acting_states[0]]
    gain = proof.lo + proof.hi
    if not converged:
        _warn(mdp, gain, bounds, is_final=is_final, target=target)
    return AverageRewardSolution(gain, bias, policy, bounds[-1], bool(converged), len(bounds))


def _refuse_ends(mdp: MDP) -> None:
    """Refuse processes that may end, or that have a penalty."""
    if not mdp.is_linear:
        raise ValueError(
            "pessimism needs a discount: the average reward of a process with its penalty is not "
            "defined. Use solve with gamma below 1, such as 0.999."
        )
    missing = 1 - mdp.acting_mass
    wrong = np.flatnonzero(np.abs(missing) > mdp.mass_rounding)
    if len(wrong):
        i = wrong[0]
        pair = f"action {mdp.pair_action[i]} in state {mdp.pair_state[i]}"
        if missing[i] < 0:
            raise ValueError(
                f"The probabilities of {pair} sum to {1 - missing[i]:.12g}. Divide them by their "
                "sum."
            )
        raise ValueError(
            f"The average reward needs a process without end, but {pair} may end it. Use solve "
            "with gamma=1 for the reward until the end, or let ends lead to where episodes start."
        )


def with_coin_tosses(mdp: MDP) -> MDP:
    """Return the process that stays where it is half of the time, for half of the reward."""
    n_pairs = len(mdp.rewards)
    stays = csr_array(
        (np.ones(n_pairs), mdp.pair_state, np.arange(n_pairs + 1)), shape=(n_pairs, mdp.n_states)
    )
    changes = {
        "transitions": ((mdp.transitions + stays) * 0.5).tocsr(),
        "rewards": mdp.rewards * 0.5,
    }
    if isinstance(mdp, EstimatedMDP):
        changes["hub_mass"] = mdp.hub_mass * 0.5
    return mdp.unchecked(**changes)


def parts(mdp: MDP) -> Integers:
    """Return a state of each part in which some policy can stay for ever, ascending."""
    endless = EndlessPairs(mdp)
    endless.search()
    whole = mdp.without_hubs
    steps = whole.transitions[endless.is_left].tocoo()
    origin = whole.pair_state[endless.is_left][steps.row]
    graph = coo_array((np.ones(steps.nnz), (origin, steps.col)), shape=(whole.n_states,) * 2)
    component = connected_components(graph, directed=True, connection="strong")[1]
    states = np.unique(whole.pair_state[endless.is_left])
    return np.sort(states[np.unique(component[states], return_index=True)[1]])


def _makes_no_progress(mdp: MDP, bounds: list[float]) -> bool:
    """Return whether the bound has come to rest, in a process of several parts."""
    if len(bounds) <= PATIENCE or len(bounds) % PATIENCE != 1:
        return False
    return bounds[-1] > LEAST_PROGRESS * bounds[-1 - PATIENCE] and len(parts(mdp)) > 1


def _warn(mdp: MDP, gain: float, bounds: list[float], *, is_final: bool, target: float) -> None:
    """Warn that the gain is not proven, with a remedy."""
    n, bound, found = len(bounds), bounds[-1], parts(mdp)
    if is_final:
        remedy = "float64 cannot prove more: increase tol."
    elif len(found) > 1:
        remedy = (
            f"The process can stay for ever in {len(found)} parts, with state(s) "
            f"{quoted(found.tolist())}, so its average reward may depend on where it starts: solve "
            "each part as a process of its own, or use solve with gamma below 1, such as 0.999."
        )
    else:
        remedy = f"Increase max_iter ({n}) or tol."
    warnings.warn(
        f"Stopped after {n} iteration(s) with an average reward of {gain:.6g} proven to within "
        f"{bound:.3g}, not within the {target:.3g} that tol asks for. {remedy}",
        ConvergenceWarning,
        stacklevel=3,
    )

"""Ten thousand small processes against rational numbers, solved in every way there is."""

import os
import warnings
from fractions import Fraction

import numpy as np
import pytest
from processes import exact_q_values, odd_process
from sklearn.exceptions import ConvergenceWarning
from ways import WAYS, compile_all, follow_only, leave_small

from skmdp.solvers import policy_iteration, solve, value_iteration
from skmdp.solvers._compiled import load

# With those at gamma = 1 in test_solvers.py 11,500; a fifth of them in a quick run.
N_MODELS = 2_000 if os.environ.get("HYPOTHESIS_PROFILE") == "quick" else 10_000
N_EACH = 250


def in_one_way(patch, mdp, gamma, number):
    """Solve a process in the way that its number says."""
    ways = [*WAYS, "small", "compiled", "in place", "warm", "early", "by policies", "by values"]
    way = ways[number % len(ways)]
    if way == "small":
        load()
    else:
        leave_small(patch)
    if way in WAYS:
        follow_only(patch, way)
    elif way in ("compiled", "in place"):
        compile_all(patch, at_once=way == "in place")
    elif way == "by policies":
        return policy_iteration(mdp, gamma, max_iter=30)
    elif way == "by values":
        return value_iteration(mdp, gamma, max_iter=30)
    # What is stopped early has a bound, too.
    options = {"tol": [1e-3, 1e-6, 1e-9][number % 3], "max_iter": 8 if way == "sweeps" else 30}
    if way == "warm":
        scale = np.abs(mdp.rewards).max() / (1 - gamma)
        options["initial_values"] = np.random.default_rng(number).normal(size=mdp.n_states) * scale
    if way == "early":
        options["max_iter"] = 1 + number % 3
    return solve(mdp, gamma, **options)


@pytest.mark.parametrize("first", range(0, N_MODELS, N_EACH))
def test_bounds_and_advice_hold_against_rational_numbers(first):
    """Values and Q are within their bound, and no proven action is worse."""
    for number in range(first, first + N_EACH):
        mdp, gamma = odd_process(number)
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            solution = in_one_way(patch, mdp, gamma, number)
        truth = exact_q_values(mdp, gamma, solution.policy)
        best = {}
        for s, q in zip(mdp.pair_state.tolist(), truth, strict=True):
            best[s] = max(q, best.get(s, q))
        bound = Fraction(solution.value_error_bound)
        for s, value in enumerate(solution.state_values.tolist()):
            assert abs(Fraction(value) - best.get(s, 0)) <= bound, number
        sizes = mdp.term_sizes(solution.state_values, gamma).tolist()
        for i, value in enumerate(solution.q_values.tolist()):
            rounding = Fraction(mdp.rounding * sizes[i])
            assert abs(Fraction(value) - truth[i]) <= bound + rounding, number
        if solution.n_undecided == 0:
            slack = 2e-9 * float(max(truth) - min(truth)) + 4 * mdp.rounding * max(sizes)
            for i, (s, a) in enumerate(zip(mdp.pair_state, mdp.pair_action, strict=True)):
                assert solution.policy[s] != a or best[int(s)] - truth[i] <= slack, number

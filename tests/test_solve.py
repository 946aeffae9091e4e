"""All solvers are one loop: the same laws hold for each of them."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, exact_values, process, random_process
from scipy.sparse import coo_array, csr_array, vstack
from sklearn.exceptions import ConvergenceWarning
from test_solvers import wide_process

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_garnet, sample_transitions
from skmdp.mdp import MDP
from skmdp.solvers import (
    EndlessLoopError,
    evaluate_policy,
    modified_policy_iteration,
    policy_iteration,
    solve,
    value_iteration,
)
from skmdp.solvers._array_policy import ArrayPolicy
from skmdp.solvers._bounds import discount, prove
from skmdp.solvers._kernels import Change
from skmdp.solvers._policy_iteration import ExactEvaluation
from skmdp.solvers._sweeps import AS_GIVEN, Evaluator

SOLVERS = {
    "modified_policy_iteration": modified_policy_iteration,
    "policy_iteration": policy_iteration,
    "value_iteration": value_iteration,
}
PROCESSES = st.builds(
    random_process,
    st.integers(0, 10_000),
    n_states=st.sampled_from([1, 2, 8]),
    end=st.sampled_from([0.0, 0.05, 0.5]),
    uniform=st.booleans(),
    shared=st.booleans(),
)


@given(
    PROCESSES,
    st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    st.sampled_from([1e-2, 1e-6, 1e-10]),
    st.sampled_from(sorted(SOLVERS)),
    st.booleans(),
)
def test_every_solver_keeps_its_bound(mdp, gamma, tol, solver, is_tiny):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._search.TINY_STATES", 64 if is_tiny else 0)
        solution = solve(mdp, gamma, solver=solver, tol=tol)
    truth = exact_values(mdp, gamma)
    # The reference has rounding errors of its own.
    slack = 1e-12 * np.abs(truth).max() / (1 - gamma)
    assert np.abs(solution.state_values - truth).max() <= solution.value_error_bound + slack
    scale = max(np.abs(mdp.rewards).max(), np.abs(solution.state_values).max())
    assert solution.value_error_bound <= tol * scale * (1 + tol)
    assert solution.converged


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("end", [0.0, 0.1])
def test_solve_calls_the_solver_by_its_name(solver, end):
    mdp = random_process(3, n_states=100, end=end)
    named, chosen = SOLVERS[solver](mdp, 0.95), solve(mdp, 0.95, solver=solver)
    assert_array_equal(named.history, chosen.history)
    others = [solve(mdp, 0.95, solver=name).history for name in SOLVERS if name != solver]
    assert all(len(h) != len(chosen.history) or (h != chosen.history).any() for h in others)
    assert_array_equal(named.state_values, chosen.state_values)


def test_auto_is_modified_policy_iteration():
    mdp = random_process(4)
    assert_array_equal(solve(mdp, 0.9).history, modified_policy_iteration(mdp, 0.9).history)


@pytest.mark.parametrize("n_iter", [1, 2, 5, 20])
@pytest.mark.parametrize("n_states", [8, 80])
def test_value_iteration_applies_the_optimality_operator_and_nothing_else(n_iter, n_states):
    """But for a constant, which all values share where no episode ends, and one step more."""
    mdp = random_process(5, n_states=n_states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solution = value_iteration(mdp, 0.9, tol=1e-300, max_iter=n_iter)
    assert solution.n_iter == n_iter
    P, V = dense(mdp), np.zeros(n_states)
    for _ in range(n_iter + 1):
        V = np.maximum.reduceat(mdp.rewards + 0.9 * P @ V, mdp.first_pairs)
    assert_allclose(np.diff(solution.state_values), np.diff(V), atol=1e-12)


def corridor(n):
    """States in a row, a reward at the end, where it starts again; one may also turn back."""
    s = np.arange(n)
    pair_state, pair_action = np.repeat(s, 2), np.tile([0, 1], n)
    following = np.column_stack([np.maximum(s - 1, 0), (s + 1) % n]).ravel()
    P = coo_array((np.ones(2 * n), (np.arange(2 * n), following)), shape=(2 * n, n))
    rewards = 1.0 * ((pair_state == n - 1) & (pair_action == 1))
    return MDP(P.tocsr(), rewards, pair_state, pair_action, n, 2)


def test_policy_iteration_needs_as_many_policies_as_it_is_wrong_in_places():
    """Exact values look far ahead; iterated ones see one step further each time."""
    mdp = corridor(500)
    by_policies = policy_iteration(mdp, 0.999)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        by_values = value_iteration(mdp, 0.999, max_iter=400)
    assert by_policies.converged
    assert not by_values.converged
    # Started at the best policy, it is done.
    again = policy_iteration(mdp, 0.999, initial_values=by_policies.state_values)
    assert again.n_iter <= 2
    truth = 0.999 ** np.arange(499, -1, -1) / (1 - 0.999**500)
    assert np.abs(by_policies.state_values - truth).max() <= by_policies.value_error_bound


@given(
    st.integers(0, 10_000),
    st.sampled_from([2, 8]),
    st.sampled_from([0.0, 0.05]),
    st.booleans(),
    st.sampled_from(["band", "dense", "krylov"]),
    st.sampled_from([0.5, 0.99, 1 - 1e-6]),
)
def test_policies_are_evaluated_exactly(seed, n_states, end, shared, way, gamma):
    mdp = random_process(seed, n_states=n_states, end=end, shared=shared)
    policy = mdp.restrict(mdp.first_pairs)
    rows = ArrayPolicy(policy, gamma)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._sweeps.MOST_REFUSALS", 10**9 if way == "band" else 0)
        patch.setattr("skmdp.solvers._sweeps.FEW_STATES", 10**9 if way == "dense" else 0)
        discounting = discount(mdp, gamma)
        evaluation = ExactEvaluation(discounting, AS_GIVEN, may_solve=True)
        size = (1 + np.abs(policy.rewards).max()) / (1 - gamma)
        step = prove(mdp, discounting, Change(-size, size, 0.0, size))
        V = evaluation.evaluate(rows, np.zeros(n_states), step)
    truth = np.linalg.solve(np.eye(n_states) - gamma * dense(policy), policy.rewards)
    if discounting.forgets_level:  # the level of the values is added elsewhere
        V, truth = V - V[0], truth - truth[0]
    assert_allclose(V, truth, atol=1e-9 * (1 + np.abs(truth).max()) / (1 - gamma) ** 0.5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_stops_where_it_is_told_to(solver):
    mdp = random_process(1, n_states=100, end=0.001)
    with pytest.warns(ConvergenceWarning, match=r"Increase max_iter \(2\)") as caught:
        solution = SOLVERS[solver](mdp, 0.9999, max_iter=2)
    assert caught[0].filename == __file__
    assert not solution.converged
    error = np.abs(solution.state_values - exact_values(mdp, 0.9999)).max()
    assert error <= solution.value_error_bound
    with pytest.warns(ConvergenceWarning) as caught:
        solve(mdp, 0.9999, solver=solver, max_iter=2)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        ({"gamma": np.nan}, r"gamma must be in \[0, 1\], got nan"),
        ({"tol": 0.0}, r"tol must be above 0, such as 1e-6, got 0.0"),
        ({"tol": np.nan}, r"tol must be above 0, such as 1e-6, got nan"),
        ({"max_iter": 0}, r"max_iter must be at least 1, got 0"),
        ({"initial_values": [1.0, 2.0]}, r"initial_values has shape \(2,\), expected \(8,\)"),
        ({"initial_values": np.ones((8, 1))}, r"initial_values has shape \(8, 1\)"),
        (
            {"initial_values": np.where(np.arange(8) == 5, np.nan, 0.0)},
            "initial_values must be finite, got nan for state 5",
        ),
        ({"initial_values": np.full(8, -np.inf)}, "got -inf for state 0"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(solver, options, message):
    with pytest.raises(ValueError, match=message):
        SOLVERS[solver](random_process(0), **{"gamma": 0.9, **options})


def test_unknown_solvers_are_refused():
    with pytest.raises(ValueError, match=r"'auto', .*'value_iteration', got 'lp'"):
        solve(random_process(0), 0.9, solver="lp")


@pytest.mark.parametrize("solver", SOLVERS)
def test_initial_values_near_the_best_ones_save_iterations(solver):
    mdp = random_process(7, n_states=200)
    cold = SOLVERS[solver](mdp, 0.99)
    warm = SOLVERS[solver](mdp, 0.99, initial_values=cold.state_values.tolist())
    assert warm.n_iter < cold.n_iter
    assert np.abs(warm.state_values - cold.state_values).max() <= (
        warm.value_error_bound + cold.value_error_bound
    )


# --------------------------------------------------------------------------- levels of values


def ring(seed, n, offset):
    """Round and round by steps of 1 or 2, with whole rewards, or 0.3 more, plus an offset."""
    rng = np.random.default_rng(seed)
    rewards, steps = rng.integers(0, 5, size=(n, 2)), rng.choice([1, 2], p=[0.9, 0.1], size=(n, 2))
    return process(
        {
            (s, a): (rewards[s, a] + 0.3 * a + offset, {int(s + steps[s, a]) % n: 1.0})
            for s in range(n)
            for a in (0, 1)
        }
    )


@pytest.mark.parametrize("n", [20, 100])  # a full matrix, a sparse one
@pytest.mark.parametrize("seed", range(3))
def test_a_level_that_all_values_share_keeps_no_better_action_back(n, seed):
    """Of values of 1e18, an action that is better by 1 is not the last bits."""
    gamma = 1 - 1e-8
    plain, offset = ring(seed, n, 0.0), ring(seed, n, 1e10)
    best = solve(plain, gamma)
    assert best.n_undecided == 0
    assert best.n_iter < 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        far = solve(offset, gamma)
    assert far.n_iter < 10
    value = evaluate_policy(plain, far.policy, gamma)
    # Rewards of 1e10 are rounded to 2e-6, each step.
    assert np.abs(value.state_values - best.state_values).max() <= 1e-5 / (1 - gamma)


@pytest.mark.parametrize("way", ["band", "dense", "krylov"])
def test_values_of_a_policy_do_not_depend_on_the_level_they_are_sought_from(monkeypatch, way):
    monkeypatch.setattr("skmdp.solvers._sweeps.MOST_REFUSALS", 10**9 if way == "band" else 0)
    monkeypatch.setattr("skmdp.solvers._sweeps.FEW_STATES", 10**9 if way == "dense" else 0)
    mdp, gamma = ring(0, 100, 0.0), 0.999
    chain = mdp.restrict(mdp.first_pairs)
    evaluator = Evaluator(discount(mdp, gamma), AS_GIVEN, may_solve=True)
    truth = np.linalg.solve(np.eye(100) - gamma * dense(chain), chain.rewards)
    for level in (0.0, 1e13, -1e13):
        V = evaluator.solve(ArrayPolicy(chain, gamma), np.full(100, level), 1e-9, np.inf, 0.0)
        assert_allclose(V - V[0], truth - truth[0], atol=1e-7)


# ------------------------------------------------------------------- loops without discount


def detour(n):
    """A step to the end pays 1, or 2 from aside; to go aside and back pays nothing."""
    pairs = {}
    for s in range(n):
        pairs[s, 0] = (1.0, {s + 1: 1.0})
        pairs[s, 1] = (0.0, {n + 1 + s: 1.0})  # aside
        pairs[n + 1 + s, 0] = (0.0, {s: 1.0})  # and back
        pairs[n + 1 + s, 1] = (2.0, {s + 1: 1.0})
    return process(pairs, 2 * n + 1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_loops_at_gamma_one_are_solved_by_every_solver(solver):
    solution = SOLVERS[solver](detour(5), 1.0)
    assert solution.converged
    assert_allclose(solution.state_values[:6], [10, 8, 6, 4, 2, 0], atol=1e-9)
    with pytest.raises(EndlessLoopError):
        SOLVERS[solver](process({(0, 0): (1.0, {0: 1.0})}), 1.0)


# Steps of 1, or of 2 for a bit less each, and a loop that loses: many policies on the way.
STAIRS = {(s, 0): (-1.0 - s % 3, {s + 1: 1.0}) for s in range(12)}
STAIRS |= {(s, 1): (-2.5, {min(s + 2, 12): 0.5, max(s - 1, 0): 0.5}) for s in range(12)}
STAIRS |= {(s, 2): (-0.2, {max(s - 3, 0): 0.9, 12: 0.1}) for s in range(1, 12)}
STAIRS[0, 2] = (-9.0, {0: 1.0})


def test_initial_values_are_used_at_gamma_one():
    mdp = process(STAIRS)
    cold = solve(mdp, 1.0)
    assert cold.n_iter > 2
    warm = solve(mdp, 1.0, initial_values=cold.state_values)
    assert warm.n_iter == 1
    assert_array_equal(warm.policy, cold.policy)
    assert_allclose(warm.state_values, cold.state_values, atol=1e-12)
    # The best policy by these values never ends, so it is no policy to start from.
    astray = np.zeros(13)
    astray[0] = 1e6
    assert_allclose(solve(mdp, 1.0, initial_values=astray).state_values, cold.state_values)
    assert_allclose(solve(detour(4), 1.0, initial_values=np.ones(9)).state_values[0], 8.0)


@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_values_at_gamma_one_do_not_depend_on_where_it_starts(seed, uniform, shared):
    ends = random_process(seed, end=0.2, uniform=uniform, shared=shared)
    loses = process({(0, 0): (-1.0, {0: 1.0}), (0, 1): (-2.0, {})}, n_states=1)
    start = np.random.default_rng(seed).normal(size=8) * 10
    for mdp, truth in ((ends, exact_values(ends, 1.0)), (loses, [-2.0])):
        solution = solve(mdp, 1.0, initial_values=start[: mdp.n_states])
        assert np.abs(solution.state_values - truth).max() <= solution.value_error_bound + 1e-9


def test_initial_values_count_for_hubs_too():
    """From state 0 a hub leads to state 1 or the end, whichever action is better."""
    pairs = {(0, 0): (-1.0, {}), (0, 1): (-5.0, {}), (1, 0): (-1.0, {1: 1.0}), (1, 1): (-20.0, {})}
    mdp = process(
        pairs,
        n_states=3,
        hub_mass=[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]],
        hub_transitions=[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    )
    solution = solve(mdp, 1.0)
    assert_allclose(solution.state_values, [-5, -20, 0])
    assert solve(mdp, 1.0, initial_values=solution.state_values).n_iter == 1


@pytest.mark.parametrize("max_iter", [2, 10_000])
def test_every_improvement_at_gamma_one_is_reported(capsys, max_iter):
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solution = solve(process(STAIRS), 1.0, verbose=1, callback=seen.append, max_iter=max_iter)
    assert seen == list(range(1, solution.n_iter + 1))
    assert len(solution.history) == solution.n_iter
    assert solution.history[-1] == solution.value_error_bound
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == solution.n_iter
    assert re.match(r"iteration 1: values not bounded yet, [1-9]\d* action\(s\) changed", lines[0])
    last = r"values within .*, 0 action" if solution.converged else "not bounded yet, [1-9]"
    assert re.search(last, lines[-1])


def test_a_policy_that_only_stays_has_no_equations():
    """The longest stay is looked for before loops are known to be there."""
    mdp = process({(s, 0): (-1.0, {s: 1.0}) for s in range(70)} | {(0, 1): (-3.0, {})})
    with pytest.raises(EndlessLoopError):
        solve(mdp, 1.0)
    ends = {(s, 1): (-3.0, {}) for s in range(70)}
    mdp = process({(s, 0): (-1.0, {s: 1.0}) for s in range(70)} | ends)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._total_reward.FEW_ROUNDS", 0)
        assert_allclose(solve(mdp, 1.0).state_values, np.full(70, -3.0))


def test_a_place_to_stay_leaves_no_pivot_to_krylov(monkeypatch):
    monkeypatch.setattr("skmdp.solvers._total_reward.FEW_ROUNDS", 0)
    monkeypatch.setattr("skmdp.solvers._sweeps.MOST_REFUSALS", 0)
    wide = wide_process(1, end=0.01)
    stay = csr_array(([1.0], ([0], [0])), shape=(1, wide.n_states))
    mdp = MDP(
        vstack([wide.transitions[:2], stay, wide.transitions[2:]], format="csr"),
        np.insert(wide.rewards, 2, -1.0),
        np.insert(wide.pair_state, 2, 0),
        np.insert(wide.pair_action, 2, 2),
        wide.n_states,
        3,
    )
    usual, solution = solve(wide, 1.0), solve(mdp, 1.0)
    slack = usual.value_error_bound + solution.value_error_bound
    assert np.abs(solution.state_values - usual.state_values).max() <= slack


# ------------------------------------------------------------------------------- the estimator


@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("pessimism", [0.0, 0.5])
def test_an_estimator_learns_the_same_policy_by_every_solver(gamma, pessimism):
    log = sample_transitions(make_garnet(20, 3, 4, random_state=0), n_episodes=300, random_state=1)
    # What is taken off depends on the values without it, which are as good as tol asks for.
    policies = [
        MarkovPolicyEstimator(gamma=gamma, pessimism=pessimism, solver=solver, tol=1e-9).fit(log)
        for solver in ["auto", *SOLVERS]
    ]
    for policy in policies[1:]:
        assert_array_equal(policy.policy_, policies[0].policy_)
        bounds = policy.value_error_bound_ + policies[0].value_error_bound_
        assert np.abs(policy.state_values_ - policies[0].state_values_).max() <= bounds
        assert policy.converged_
    if gamma > 0.5:
        assert policies[3].n_iter_ > policies[2].n_iter_  # by values, by policies


def test_an_estimator_refuses_unknown_solvers():
    with pytest.raises(ValueError, match=r"'solver' parameter .* must be a str among .*'auto'"):
        MarkovPolicyEstimator(solver="lp").fit(load_climb())

"""Total rewards of processes with loops: large ones, and those that are refused."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, process
from scipy.sparse import csr_array

from skmdp.mdp import MDP
from skmdp.solvers import EndlessLoopError, solve
from skmdp.solvers import _loops as loops
from skmdp.solvers._equations import equations_of
from skmdp.solvers._loops import solve_by_rounds


def walk(n, *, back=True):
    """Steps cost 1 to the right, where it ends, and to the left, where it does not."""
    pairs = {(s, 0): (-1.0, {s + 1: 1.0}) for s in range(n)}
    if back:
        pairs |= {(s, 1): (-0.5, {max(s - 1, 0): 1.0}) for s in range(n)}
    return process(pairs, n + 1)


def test_work_begins_at_the_values_of_a_policy_that_ends():
    """The shortest way is best, so there is nothing to improve, however far it is."""
    solution = solve(walk(300), 1.0)
    assert solution.n_iter == 1
    assert_allclose(solution.state_values, -np.arange(300, -1, -1.0))


@pytest.mark.parametrize("what", [np.inf, np.linalg.LinAlgError("Singular"), RuntimeError("LU")])
def test_a_policy_that_hardly_ends_is_nothing_to_begin_with(monkeypatch, what):
    usual, calls, solve_policy = solve(walk(20), 1.0), [], loops.solve_policy

    def first_fails(policy, d, guess):
        calls.append(len(d))
        if len(calls) > 1:
            return solve_policy(policy, d, guess)
        if isinstance(what, Exception):
            raise what
        return np.full(len(d), what)

    monkeypatch.setattr(loops, "solve_policy", first_fails)
    solution = solve(walk(20), 1.0)
    assert solution.n_iter > usual.n_iter
    assert_array_equal(solution.policy, usual.policy)
    assert_allclose(solution.state_values, usual.state_values)


def wide(seed, n):
    """A process of costs that leads anywhere, ends seldom, and has loops."""
    rng = np.random.default_rng(seed)
    mass = np.where(rng.uniform(size=3 * n) < 0.05, 0.9, 1.0)
    P = csr_array(
        (
            (rng.dirichlet(np.ones(4), 3 * n) * mass[:, np.newaxis]).ravel(),
            rng.integers(0, n, 12 * n),
            np.arange(0, 12 * n + 1, 4),
        ),
        shape=(3 * n, n),
    )
    P.sum_duplicates()
    state, action = np.divmod(np.arange(3 * n), 3)
    return MDP(P, -rng.uniform(0.1, 1, 3 * n), state, action, n, 3)


def check_optimality(mdp, solution):
    """No action is better, and the policy earns its values: for costs that is the optimum."""
    Q = mdp.rewards + dense(mdp) @ solution.state_values
    best = np.maximum.reduceat(Q, mdp.first_pairs)
    acting = mdp.acting_states
    own = mdp.first_pairs + np.array(
        [
            np.flatnonzero(mdp.pair_action[mdp.pair_state == s] == solution.policy[s])[0]
            for s in acting
        ]
    )
    P = dense(mdp)[own][:, acting]
    truth = np.linalg.solve(np.eye(len(acting)) - P, mdp.rewards[own])
    assert_allclose(best, truth, atol=1e-9)
    error = np.abs(solution.state_values[acting] - truth).max()
    assert error <= solution.value_error_bound + 1e-10
    assert solution.converged


@pytest.mark.parametrize("seed", range(3))
def test_large_processes_that_lead_anywhere(seed):
    """Elimination would fill the equations, so they are solved round by round."""
    mdp = wide(seed, 1000)
    check_optimality(mdp, solve(mdp, 1.0))


def test_equations_are_eliminated_where_rounds_do_not_help(monkeypatch):
    mdp = wide(0, 500)
    usual = solve(mdp, 1.0)
    calls = []

    def fail(policy, d, residual):
        calls.append(residual)
        return np.zeros(len(d)), False

    monkeypatch.setattr("skmdp.solvers._loops.solve_krylov", fail)
    solution = solve(mdp, 1.0)
    assert calls
    assert np.abs(solution.state_values - usual.state_values).max() <= (
        solution.value_error_bound + usual.value_error_bound
    )
    monkeypatch.setattr("skmdp.solvers._loops.MOST_ROUNDS", 0)
    assert_allclose(solve(mdp, 1.0).state_values, usual.state_values, atol=1e-9)


def test_long_ways_have_narrow_bands():
    n = 3000
    solution = solve(walk(n), 1.0)
    assert solution.converged
    assert_allclose(solution.state_values, np.arange(n + 1) - n, rtol=1e-12)


@pytest.mark.parametrize("n_looks", [0, 1, 300])
def test_values_need_not_settle_first(monkeypatch, n_looks):
    """Policies that end are improved all the same, only more often."""
    monkeypatch.setattr("skmdp.solvers._loops.MOST_LOOKS", n_looks)
    mdp = wide(3, 60)
    check_optimality(mdp, solve(mdp, 1.0))
    assert_allclose(solve(walk(20), 1.0).state_values, np.arange(21) - 20.0)


@given(
    st.integers(3, 12),
    st.integers(1, 12),
    st.integers(0, 1000),
    st.sampled_from([1.0, -1.0]),
)
def test_the_states_of_a_loop_are_named(n, length, seed, sign):
    """A ring that earns, or one that loses and has no way out; all other states end."""
    rng = np.random.default_rng(seed)
    ring = rng.permutation(n)[: min(length, n)].tolist()
    pairs = {(s, 0): (-1.0, {}) for s in range(n) if sign > 0 or s not in ring}
    pairs |= {(s, 1): (sign, {t: 1.0}) for s, t in zip(ring, [*ring[1:], ring[0]], strict=True)}
    outside = [s for s in range(n) if s not in ring]
    pairs |= {(s, 2): (-5.0, {ring[0]: 0.5}) for s in outside}
    with pytest.raises(EndlessLoopError) as found:
        solve(process(pairs, n), 1.0)
    assert found.value.states == sorted(ring)
    assert (found.value.state, found.value.action) == (min(ring), 1)
    if len(ring) > 1:
        assert f"through the states {', '.join(map(str, sorted(ring)))}, so" in str(found.value)


def test_an_average_of_zero_is_named_too():
    """It pays 1 and takes it back: for ever between two sums."""
    pairs = {(0, 0): (1.0, {1: 1.0}), (1, 0): (-1.0, {0: 1.0}), (1, 1): (0.0, {2: 1.0})}
    with pytest.raises(EndlessLoopError, match="states 0, 1, so") as found:
        solve(process(pairs, 3), 1.0)
    copy = pickle.loads(pickle.dumps(found.value))
    assert (copy.state, copy.action, copy.states) == (0, 0, [0, 1])
    for loss, is_fine in ((1e-3, True), (1e-9, True), (1e-16, False)):
        pairs[1, 0] = (-1.0 - loss, {0: 1.0})
        if is_fine:
            solution = solve(process(pairs, 3), 1.0)
            assert_allclose(solution.state_values, [1, 0, 0], atol=solution.value_error_bound)
            continue
        with pytest.raises(EndlessLoopError):
            solve(process(pairs, 3), 1.0)


def test_hubs_are_no_states_to_be_named():
    """All lead on by one hub, back to the states: a loop that earns."""
    mdp = process(
        {(0, 0): (1.0, {}), (1, 0): (1.0, {}), (1, 1): (0.0, {2: 1.0})},
        n_states=3,
        hub_mass=[[1.0], [1.0], [0.0]],
        hub_transitions=[[0.5, 0.5, 0.0]],
    )
    with pytest.raises(EndlessLoopError) as found:
        solve(mdp, 1.0)
    assert found.value.states == [0, 1]


def test_many_states_are_shortened():
    n = 5000
    s = np.arange(n)
    P = csr_array((np.ones(n), (s + 1) % n, np.arange(n + 1)), shape=(n, n))
    with pytest.raises(EndlessLoopError, match=r"\.\.\. and 4,\d+ more, so") as found:
        solve(MDP(P, np.ones(n), s, np.zeros(n, int), n, 1), 1.0)
    assert len(str(found.value)) < 500
    assert_array_equal(found.value.states, range(n))


@pytest.mark.parametrize("leaving", [1e-9, 1e-12, 1e-14])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_end_that_hardly_ever_comes_is_soon_known(leaving):
    """Once in so many rounds: the bound holds, whether or not float64 can prove what is asked."""
    n = 6
    pairs = {(s, 0): (-1.0, {(s + 1) % n: 1.0}) for s in range(n)}
    pairs |= {(s, 1): (-2.0, {(s + 2) % n: 1.0}) for s in range(1, n)}
    pairs[0, 0] = (-1.0, {1: 1 - leaving})
    solution = solve(process(pairs, n), 1.0)
    # Two steps at once cost 2, so every round costs 6, and the end comes with its first step.
    rounds = 1 / Fraction(1 - (1 - leaving))
    truth = -1 - (rounds - 1) * 6
    assert abs(Fraction(solution.state_values[0]) - truth) <= Fraction(solution.value_error_bound)
    assert solution.n_iter < 400


def test_rounds_give_what_elimination_gives():
    """To the last bits, from any guess."""
    mdp = wide(4, 500)
    policy = mdp.restrict(mdp.first_pairs)
    equations = equations_of(policy.transitions)
    d = np.random.default_rng(0).normal(size=500)
    truth = np.linalg.solve(equations.toarray(), d)
    for guess in (np.zeros(500), truth + 1.0, np.full(500, 1e3)):
        x = solve_by_rounds(policy, equations, d, guess)
        assert_allclose(x, truth, atol=1e-11)


def test_labels_of_a_loop_are_shortened():
    error = EndlessLoopError("s" * 1000, "a" * 1000, states=["s" * 1000] * 5000)
    assert len(str(error)) <= 500
    assert "... and 4," in str(error)

"""Average reward per decision: closed forms, enumeration of policies, and what has none."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, process, random_process
from scipy.sparse import coo_array
from sklearn.exceptions import ConvergenceWarning
from test_penalty import penalised
from ways import compile_all

from skmdp.mdp import MDP
from skmdp.solvers import policy_iteration, relative_value_iteration, solve

PROCESSES = st.builds(
    random_process,
    st.integers(0, 10_000),
    n_states=st.sampled_from([1, 2, 4]),
    uniform=st.booleans(),
    shared=st.booleans(),
)


def gains(P, R):
    """Average reward from every state of a chain: powers of a chain that is not periodic."""
    lazy = (P + np.eye(len(P))) / 2
    for _ in range(60):
        lazy = lazy @ lazy
        lazy /= lazy.sum(axis=1, keepdims=True)
    return lazy @ R


def best_gains(mdp):
    """The best average reward from every state, by enumeration of all policies."""
    P, own = dense(mdp), [np.flatnonzero(mdp.pair_state == s) for s in range(mdp.n_states)]
    policies = [list(pairs) for pairs in itertools.product(*own)]
    return np.max([gains(P[pairs], mdp.rewards[pairs]) for pairs in policies], axis=0)


def pairs_of(mdp, policy):
    codes = mdp.pair_state * mdp.n_actions + mdp.pair_action
    return np.searchsorted(codes, mdp.acting_states * mdp.n_actions + policy[mdp.acting_states])


@given(PROCESSES, st.sampled_from([1e-2, 1e-6, 1e-9]), st.sampled_from(["full", "rows", "loops"]))
def test_the_gain_is_within_its_bound_of_the_best_in_every_state(mdp, tol, way):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        patch.setattr("skmdp.solvers._search.TINY_STATES", 64 if way == "full" else 0)
        if way == "loops":
            compile_all(patch)
        solution = relative_value_iteration(mdp, tol=tol, max_iter=500)
    truth = best_gains(mdp)
    assert np.abs(solution.gain - truth).max() <= solution.gain_error_bound + 1e-12
    if solution.converged:
        assert solution.gain_error_bound <= tol * np.abs(mdp.rewards).max()
        chosen = pairs_of(mdp, solution.policy)
        own = gains(dense(mdp)[chosen], mdp.rewards[chosen])
        assert (own >= truth - 2 * solution.gain_error_bound - 1e-12).all()
        # Gain and bias solve the optimality equation, to the same precision.
        Q = mdp.rewards + dense(mdp) @ solution.bias
        excess = np.maximum.reduceat(Q, mdp.first_pairs) - solution.bias - solution.gain
        assert np.abs(excess).max() <= 4 * solution.gain_error_bound + 1e-12
        assert solution.bias[0] == 0
    else:
        assert np.ptp(truth) > 0 or tol < 1e-8


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_it_converges_where_all_states_communicate(seed, n):
    """A ring that can always be gone round, beside whatever else there is."""
    rng = np.random.default_rng(seed)
    pairs = {(s, 0): (rng.normal(), {(s + 1) % n: 1.0}) for s in range(n)}
    pairs |= {(s, 1): (rng.normal(), {int(rng.integers(n)): 1.0}) for s in range(n)}
    mdp = process(pairs)
    solution = relative_value_iteration(mdp)
    assert solution.converged
    assert_allclose(solution.gain, best_gains(mdp), atol=solution.gain_error_bound + 1e-12)


@given(PROCESSES, st.sampled_from([-1e3, 0.5]), st.sampled_from([1e-6, 3.0]))
def test_gains_shift_and_scale_with_rewards(mdp, offset, unit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        usual = relative_value_iteration(mdp, max_iter=200)
        other = mdp.unchecked(rewards=(mdp.rewards + offset) * unit)
        moved = relative_value_iteration(other, max_iter=200)
    slack = moved.gain_error_bound + unit * usual.gain_error_bound
    assert abs(moved.gain - (usual.gain + offset) * unit) <= slack


def test_gains_are_what_discounted_values_come_to():
    """(1 - gamma) V tends to the gain, and V - V(0) to the bias."""
    mdp = random_process(5, n_states=30)
    solution, gamma = relative_value_iteration(mdp, tol=1e-10), 1 - 1e-5
    V = policy_iteration(mdp, gamma).state_values
    assert_allclose((1 - gamma) * V, solution.gain, atol=1e-3)
    assert_allclose(V - V[0], solution.bias, atol=1e-2)


@pytest.mark.parametrize("n", [1, 2, 3, 500])
def test_periodic_processes_have_the_mean_of_their_rewards(n):
    rewards = np.random.default_rng(0).normal(size=n)
    ring = process({(s, 0): (rewards[s], {(s + 1) % n: 1.0}) for s in range(n)})
    solution = relative_value_iteration(ring)
    assert abs(solution.gain - rewards.mean()) <= solution.gain_error_bound + 1e-15
    bias = np.append(0.0, -np.cumsum(rewards - rewards.mean())[:-1])
    assert_allclose(solution.bias, bias, atol=1e-3)
    assert solution.n_iter <= 5


def walk(n, up):
    """A queue of at most n: up with probability ``up``, else down, one pair per state."""
    s = np.arange(n)
    following = np.append(np.minimum(s + 1, n - 1), np.maximum(s - 1, 0))
    P = coo_array((np.repeat([up, 1 - up], n), (np.tile(s, 2), following)), shape=(n, n)).tocsr()
    return MDP(P, -s.astype(float), s, np.zeros(n, int), n, 1)


@pytest.mark.parametrize(("n", "up"), [(300, 0.5), (5000, 0.5), (5000, 0.49)])
def test_processes_that_forget_slowly_are_solved_by_equations(n, up):
    mdp = walk(n, up)
    solution = relative_value_iteration(mdp)
    odds = (up / (1 - up)) ** np.arange(n)
    assert abs(solution.gain + odds @ np.arange(n) / odds.sum()) <= solution.gain_error_bound
    assert solution.n_iter < 6


@pytest.mark.parametrize("n", [300, 1000])
def test_the_way_into_a_slow_process_is_no_obstacle(n):
    """State 0 is left for good, so nothing comes back to it."""
    s = np.arange(n)
    inside = walk(n, 0.5).transitions.tocoo()
    row, column = np.append(0, inside.row + 1), np.append(n // 2, inside.col + 1)
    P = coo_array((np.append(1.0, inside.data), (row, column)), shape=(n + 1, n + 1)).tocsr()
    mdp = MDP(P, -np.append(0.0, s), np.arange(n + 1), np.zeros(n + 1, int), n + 1, 1)
    solution = relative_value_iteration(mdp)
    assert abs(solution.gain + (n - 1) / 2) <= solution.gain_error_bound
    assert solution.n_iter < 6


def test_a_policy_of_two_parts_is_swept():
    """To stay pays in both states; that it pays more in one is found by sweeps."""
    pairs = {(s, 0): (1.0 + s, {s: 1.0}) for s in range(2)}
    pairs |= {(0, 1): (-50.0, {1: 1.0}), (1, 1): (-50.0, {0: 1.0})}
    solution = relative_value_iteration(process(pairs))
    assert abs(solution.gain - 2) <= solution.gain_error_bound
    assert_array_equal(solution.policy, [1, 0])


def test_equations_that_are_too_wide_are_left(monkeypatch):
    calls = []
    monkeypatch.setattr("skmdp.solvers._average_reward.FEW_STATES", 0)
    monkeypatch.setattr(
        "skmdp.solvers._average_reward.solve_band", lambda *_: calls.append(1) and None
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        slow = relative_value_iteration(walk(3000, 0.5), max_iter=120)
    assert not slow.converged
    assert slow.n_iter == 120  # of one part, it goes on however slow it is
    assert len(calls) == 4  # twice two right-hand sides
    assert abs(slow.gain + 1499.5) <= slow.gain_error_bound


def test_hubs_that_lead_everywhere_are_swept(monkeypatch):
    monkeypatch.setattr("skmdp.solvers._array_policy.FEW_ENTRIES", 0)
    n = 300
    mdp = process(
        {(s, 0): (1.0 * (s == 0), {s: 0.999}) for s in range(n)},
        hub_mass=np.full((n, 1), 0.001),
        hub_transitions=np.full((1, n), 1 / n),
    )
    solution = relative_value_iteration(mdp)
    assert abs(solution.gain - 1 / n) <= solution.gain_error_bound


# ---------------------------------------------------------------------------- more than one part

ISLANDS = {
    (0, 0): (0.0, {1: 1.0}),
    (0, 1): (0.0, {2: 1.0}),
    (1, 0): (3.0, {1: 1.0}),
    (2, 0): (1.0, {3: 1.0}),
    (3, 0): (1.0, {2: 1.0}),
}


def test_gains_that_depend_on_the_start_are_not_proven():
    mdp = process(ISLANDS)
    message = r"average reward of 2 proven to within 1, .* in 2 parts, with state\(s\) 1, 2, so"
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        solution = relative_value_iteration(mdp)
    assert caught[0].filename == __file__
    assert not solution.converged
    assert solution.n_iter < 200  # it is seen early that nothing is gained by going on
    assert solution.gain_error_bound >= 1
    # The remedies: parts of their own, and a discount.
    part = process({(0, 0): (1.0, {1: 1.0}), (1, 0): (1.0, {0: 1.0})})
    assert_allclose(relative_value_iteration(part).gain, 1, rtol=1e-6)
    assert solve(mdp, 0.999).converged


def test_parts_of_the_same_gain_are_no_obstacle():
    same = {**ISLANDS, (1, 0): (1.0, {1: 1.0})}
    solution = relative_value_iteration(process(same))
    assert solution.converged
    assert_allclose(solution.gain, 1, rtol=1e-6)


def test_parts_that_are_left_for_good_leave_one_gain():
    """To stay in 0 pays less than to go on to where it cannot come back from."""
    mdp = process({(0, 0): (1.0, {0: 1.0}), (0, 1): (-9.0, {1: 1.0}), (1, 0): (2.0, {1: 1.0})})
    solution = relative_value_iteration(mdp)
    assert abs(solution.gain - 2) <= solution.gain_error_bound <= 9e-6
    assert_array_equal(solution.policy, [1, 0])
    assert_allclose(solution.bias, [0, 11], atol=1e-4)


# ------------------------------------------------------------------------------ what has no gain


def test_processes_that_end_are_refused_by_pair():
    ends = {(0, 0): (1.0, {0: 1.0}), (1, 0): (6.0, {0: 0.5}), (1, 1): (6.0, {0: 0.5, 2: 0.5})}
    message = "needs a process without end, but action 0 in state 1 may end it"
    with pytest.raises(ValueError, match=message):
        relative_value_iteration(process(ends, n_states=3))
    del ends[1, 0]  # a state without pairs is an end
    with pytest.raises(ValueError, match="but action 1 in state 1 may end it"):
        relative_value_iteration(process(ends, n_states=3))
    # The remedies: rewards until the end, or episodes one after the other.
    chain = {(0, 0): (1.0, {1: 1.0}), (1, 0): (6.0, {0: 0.5, 2: 0.5})}
    assert_allclose(solve(process(chain), 1.0).state_values[0], 14)
    again = {(0, 0): (1.0, {1: 1.0}), (1, 0): (6.0, {0: 1.0})}
    assert_allclose(relative_value_iteration(process(again)).gain, 3.5, rtol=1e-6)


def test_states_never_reached_are_left_out():
    mdp = process({(1, 0): (2.0, {1: 1.0})}, n_states=3)
    solution = relative_value_iteration(mdp)
    assert_array_equal(solution.policy, [-1, 0, -1])
    assert_array_equal(solution.bias, [0, 0, 0])
    assert_allclose(solution.gain, 2, rtol=1e-6)


def test_rows_of_more_than_one_are_refused():
    mdp = process({(0, 0): (1.0, {0: 1 + 5e-10})})
    with pytest.raises(ValueError, match=r"action 0 in state 0 sum to 1.0000000005\. Divide"):
        relative_value_iteration(mdp)


def test_penalties_need_a_discount():
    mdp = penalised([(0, 0, 0, 1.0)], np.zeros(3))
    with pytest.raises(ValueError, match="pessimism needs a discount"):
        relative_value_iteration(mdp)


def test_options_that_cannot_be_are_refused():
    mdp = process({(0, 0): (1.0, {0: 1.0})})
    with pytest.raises(ValueError, match="tol must be above 0"):
        relative_value_iteration(mdp, tol=np.nan)
    with pytest.raises(ValueError, match="max_iter must be at least 1"):
        relative_value_iteration(mdp, max_iter=0)


def test_stopping_early_is_no_convergence():
    mdp = random_process(3, n_states=50)
    with pytest.warns(ConvergenceWarning, match=r"Increase max_iter \(1\) or tol"):
        solution = relative_value_iteration(mdp, max_iter=1)
    assert not solution.converged
    assert abs(relative_value_iteration(mdp).gain - solution.gain) <= solution.gain_error_bound
    with pytest.warns(ConvergenceWarning, match="float64 cannot prove more: increase tol"):
        solution = relative_value_iteration(mdp, tol=1e-18)
    assert solution.gain_error_bound < 1e-12


def test_no_rewards_are_worth_nothing():
    solution = relative_value_iteration(process({(0, 0): (0.0, {0: 1.0})}))
    assert (solution.gain, solution.gain_error_bound, solution.converged) == (0, 0, True)

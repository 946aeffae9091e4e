"""Which actions are worth the same, which is best, and what is proven of either."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import exact_q_values, process, random_process
from scipy.sparse import block_array, csr_array
from sklearn.exceptions import ConvergenceWarning
from ways import compile_all, leave_small

from skmdp import MarkovPolicyEstimator
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs
from skmdp.solvers import modified_policy_iteration, value_iteration
from skmdp.solvers._compiled import load
from skmdp.solvers._sweeps import AS_GIVEN
from skmdp.solvers._ties import count_undecided, tie_tolerances, undecided_states


def solved(mdp, gamma, **options):
    """Solve, with or without a word about what is not proven."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return modified_policy_iteration(mdp, gamma, **options)


def tolerances(mdp, gamma, solution):
    return tie_tolerances(mdp, gamma, solution.state_values, solution.q_values)


def losses(mdp, gamma, solution):
    """What each state's greedy action is worth less than the best one, in truth, (n_acting,)."""
    truth = exact_q_values(mdp, gamma)
    best = greedy_pairs(mdp.first_pairs, solution.q_values)
    bounds = [*mdp.first_pairs, len(truth)]
    return np.array(
        [
            float(max(truth[first:last]) - truth[chosen])
            for first, last, chosen in zip(bounds, bounds[1:], best, strict=False)
        ]
    )


# Loops, near-loops, to and fro, ends, and rewards far away from their differences. Powers of two,
# so that rows which should sum to one do.
ROWS = st.one_of(
    st.integers(0, 2).map(lambda t: {t: 1.0}),
    st.tuples(st.integers(0, 2), st.integers(1, 2), st.sampled_from([2.0**-30, 2.0**-17, 0.5])).map(
        lambda stay: {stay[0]: 1 - stay[2], (stay[0] + stay[1]) % 3: stay[2]}
    ),
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1 - 2.0**-30])).map(
        lambda end: {end[0]: end[1]}
    ),
)
SMALL = st.builds(
    lambda pairs, offset: process(
        {
            (s, a): (reward + offset, row)
            for (s, a), (reward, row) in zip(np.ndindex(3, 2), pairs, strict=True)
        },
        n_states=3,
    ),
    st.lists(st.tuples(st.sampled_from([0, 1, 2, -1, 0.3, 1e-3]), ROWS), min_size=6, max_size=6),
    st.sampled_from([0.0, -1e7, 1e4]),
)
GAMMAS = st.sampled_from([0.9, 0.999, 0.999999, 1 - 1e-8])


@given(SMALL, GAMMAS)
def test_advice_is_right_wherever_float64_can_tell(mdp, gamma):
    """Even where the values cannot be proven to the tolerance asked for."""
    solution = solved(mdp, gamma)
    sizes = np.maximum.reduceat(np.abs(solution.q_values), mdp.first_pairs)
    assert (losses(mdp, gamma, solution) <= 4 * np.finfo(float).eps * sizes).all()


@given(
    st.one_of(SMALL, st.builds(random_process, st.integers(0, 999), n_states=st.just(3))),
    GAMMAS,
    st.integers(1, 4),
)
def test_decided_states_hold_the_best_action(mdp, gamma, max_iter):
    """Stopped at any time: what is not called undecided is right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._search.TINY_STATES", 0)
        pace = replace(AS_GIVEN, most_sweeps=1, most_still=1)
        patch.setattr("skmdp.solvers._sweeps.Evaluator.as_given", pace)
        solution = solved(mdp, gamma, max_iter=max_iter)
    tolerance = tolerances(mdp, gamma, solution)
    wrong = losses(mdp, gamma, solution) > 2 * tolerance
    assert wrong.sum() <= solution.n_undecided


@given(SMALL, st.sampled_from([0.9, 0.999]))
def test_a_solver_with_time_decides_or_reaches_the_end_of_float64(mdp, gamma):
    modified_policy_iteration(mdp, gamma)  # without a warning


@given(SMALL, GAMMAS, st.sampled_from([-20, 3, 40]))
def test_tolerances_scale_with_rewards(mdp, gamma, power):
    """Powers of two change no bit."""
    other = replace(mdp, rewards=mdp.rewards * 2.0**power)
    one, two = solved(mdp, gamma), solved(other, gamma)
    assert_array_equal(two.q_values, one.q_values * 2.0**power)
    assert_array_equal(tolerances(other, gamma, two), tolerances(mdp, gamma, one) * 2.0**power)
    assert two.n_undecided == one.n_undecided


@given(st.integers(0, 999), st.sampled_from([0.9, 0.999, 0.99999]), st.sampled_from([-1e7, 1e9]))
def test_a_common_offset_enters_tolerances_by_rounding_only(seed, gamma, offset):
    mdp = random_process(seed)
    far = replace(mdp, rewards=mdp.rewards + offset)
    one, two = solved(mdp, gamma, tol=1e-18), solved(far, gamma, tol=1e-18)
    grown = tolerances(far, gamma, two) - tolerances(mdp, gamma, one)
    assert (grown <= 40 * np.finfo(float).eps * abs(offset) / (1 - gamma)).all()
    gaps = one.state_values[mdp.pair_state] - one.q_values
    gaps_far = two.state_values[mdp.pair_state] - two.q_values
    assert_allclose(gaps_far, gaps, atol=100 * np.finfo(float).eps * abs(offset) / (1 - gamma))


def test_tolerances_of_a_state_do_not_see_a_larger_scale_elsewhere():
    pairs = {(0, 0): (1.0, {}), (0, 1): (1.001, {})}
    alone = process(pairs, n_states=2)
    beside = process({**pairs, (1, 0): (1e12, {1: 0.5})}, n_states=2)
    for mdp in (alone, beside):
        assert tolerances(mdp, 0.9, solved(mdp, 0.9))[0] <= 2e-9
        assert solved(mdp, 0.9).policy[0] == 1


@pytest.mark.parametrize("n", [1, 100, 10_000])
def test_sums_over_many_successors_are_as_uncertain_as_their_roundings(n):
    row = np.full((2, n), 1 / n)
    mdp = MDP(csr_array(row), np.ones(2), np.zeros(2, int), np.arange(2), n, 2)
    tolerance = tie_tolerances(mdp, 1.0, np.ones(n), np.full(2, 2.0))  # Q has no range
    assert_allclose(tolerance, 2 * np.finfo(float).eps * ((n + 3) * 2 + 1))


def test_rewards_averaged_over_many_rows_are_as_uncertain_as_their_sums():
    mdp = process({(0, 0): (-3.0, {}), (0, 1): (2.0, {})}, n_states=1)
    values = np.zeros(1), np.array([-3.0, 2.0])
    once = tie_tolerances(mdp, 0.5, *values)
    many = tie_tolerances(mdp, 0.5, *values, n_averaged=10**6)
    assert_allclose(many - once, 2 * np.finfo(float).eps * (10**6 - 1) * 3.0, rtol=1e-3)


@pytest.mark.parametrize("weight", [1e9, 1e12, 1e15, 1e30])
def test_large_weights_are_no_many_rows(weight):
    """A mean of two rows is as certain whatever they weigh."""
    log = pd.DataFrame({"state": "s", "action": ["a", "a", "b"], "reward": [1.0, 1.0, 1.05]})
    log = log.assign(next_state=None)
    policy = MarkovPolicyEstimator().fit(log, sample_weight=np.full(3, weight))
    assert policy.predict(log).tolist() == ["b"] * 3


@pytest.mark.parametrize("gamma", [0.9, 0.999999])
def test_pairs_that_lead_to_the_same_states_are_decided_whatever_the_error(gamma):
    successors = {0: 0.5, 1: 0.5}
    mdp = process({(0, 0): (1.0, successors), (0, 1): (1.1, successors), (1, 0): (0.0, {0: 1.0})})
    Q = np.array([1.0, 1.1, 0.0])
    tolerance = np.full(2, 1e-9)
    for error in (1e-3, 1e6):
        assert not undecided_states(mdp, gamma, Q, tolerance, bound=error, spread=error)[0].any()


@pytest.mark.parametrize(
    ("rows", "bound", "spread", "limit"),
    [
        (({0: 1.0}, {1: 1.0}), 9.0, 2.0, 2.0),  # all moves: the spread counts
        (({0: 0.7, 1: 0.3}, {0: 0.5, 1: 0.5}), 9.0, 2.0, 0.4),  # a fifth moves
        (({0: 1.0}, {0: 0.5}), 9.0, 2.0, 4.5),  # half ends: the bound itself counts
        (({0: 1.0}, {1: 0.75}), 9.0, 2.0, 0.75 * 2 + 0.25 * 9),
    ],
)
@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_what_is_off_is_what_moves(rows, bound, spread, limit, gamma):
    mdp = process({(0, 0): (0.0, rows[0]), (0, 1): (0.0, rows[1]), (1, 0): (0.0, {0: 1.0})})
    tolerance = np.full(2, 1e-9)

    def is_open(gap):
        Q = np.array([gap, 0.0, 0.0])
        of_states, share = undecided_states(mdp, gamma, Q, tolerance, bound=bound, spread=spread)
        assert not of_states[1]  # one action only
        assert (share < 1.0) == of_states[0]
        errors = {"bound": 0.999 * share * bound, "spread": 0.999 * share * spread}
        assert not undecided_states(mdp, gamma, Q, tolerance, **errors)[0].any()
        return bool(of_states[0])

    assert is_open(gamma * limit * 0.999)
    assert not is_open(gamma * limit * 1.001)
    assert is_open(0.0)
    tolerance[:] = gamma * limit * 0.1  # worse by more than that
    assert is_open(gamma * limit * 1.099)
    assert not is_open(gamma * limit * 1.101)
    tolerance[:] = gamma * limit * 1.001  # what is off is negligible
    assert not is_open(0.0)


def test_mirrored_actions_tie():
    """Left and right lead to places worth the same; preference decides, not the solver's error."""
    pairs = {(0, 0): (0.0, {1: 1.0}), (0, 1): (0.0, {2: 1.0})}
    for s in (1, 2):
        pairs[s, 0] = (1.0, {0: 0.3, s: 0.7})
        pairs[s, 1] = (0.5, {0: 0.9, 3 - s: 0.1})
    mdp = process(pairs)
    for gamma in (0.9, 0.999, 0.99999):
        solution = modified_policy_iteration(mdp, gamma, tol=1e-2)
        assert solution.n_undecided == 0
        for preferred in (0, 1):
            preference = np.where(mdp.pair_action == preferred, 2.0, 1.0)
            chosen = greedy_pairs(
                mdp.first_pairs,
                solution.q_values,
                tolerance=tolerances(mdp, gamma, solution),
                preference=preference,
            )
            assert mdp.pair_action[chosen[0]] == preferred


def beside_nothing(mdp):
    """Return the process with two states apart, from one of which either can be reached, for 0."""
    n = mdp.n_states
    apart = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    return MDP(
        csr_array(block_array([[mdp.transitions, None], [None, apart]])),
        np.append(mdp.rewards, np.zeros(3)),
        np.append(mdp.pair_state, [n, n, n + 1]),
        np.append(mdp.pair_action, [0, 1, 0]),
        n + 2,
        mdp.n_actions,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", ["arrays", "compiled", "small"])
def test_what_no_errors_would_decide_takes_no_time(seed, way):
    """Nothing is proven of values of which none is above rounding: 0 has none."""
    mdp = random_process(seed, n_states=20, end=0.05)
    if way == "small":
        load()  # the loop for small processes is used where others are at hand
    solver = modified_policy_iteration if way == "small" else value_iteration
    with pytest.MonkeyPatch.context() as patch:
        if way == "compiled":
            compile_all(patch)
        elif way == "arrays":
            leave_small(patch)
        alone = solver(mdp, 0.99, tol=1e-4)
        solution = solver(beside_nothing(mdp), 0.99, tol=1e-4)  # and warns of nothing
    assert (alone.n_undecided, solution.n_undecided) == (0, 1)
    assert solution.converged
    assert solution.history[-2] > 1e-8  # there was no going on to all that float64 can prove


def test_a_loose_tolerance_does_not_loosen_advice():
    """Within tol at once, but one action is better by less than tol: the solver goes on."""
    mdp = process({(0, 0): (1.0, {0: 1.0}), (0, 1): (1.0, {1: 1.0}), (1, 0): (1.001, {1: 0.999})})
    solution = modified_policy_iteration(mdp, 0.99, tol=0.5)
    assert solution.converged
    assert solution.n_undecided == 0
    stays = 1.001 / (1 - 0.99 * 0.999)
    assert solution.policy[0] == (1 + 0.99 * stays > 1 / (1 - 0.99))


def test_the_warning_speaks_of_advice_where_values_are_good_enough():
    mdp = random_process(3, n_states=30, end=0.01)
    message = (
        r"values as good as tol asks for\. The advice in \d+ state\(s\) is not proven.*max_iter"
    )
    with pytest.warns(ConvergenceWarning, match=message):
        solution = modified_policy_iteration(mdp, 0.99, tol=1e4, max_iter=1)
    assert solution.converged
    assert 0 < solution.n_undecided <= 30
    assert modified_policy_iteration(mdp, 0.99, tol=1e4).n_undecided == 0  # the remedy


def test_the_warning_is_silent_about_advice_that_is_proven():
    """One action a state: nothing to decide."""
    mdp = process({(0, 0): (1.0, {0: 0.5, 1: 0.5}), (1, 0): (0.0, {1: 0.99})})
    with pytest.warns(ConvergenceWarning, match=r"tol asks for\. Increase max_iter \(1\) or tol"):
        modified_policy_iteration(mdp, 0.99, max_iter=1)


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e7, 1e9])
@pytest.mark.parametrize("gamma", [0.9, 0.999, 0.999999])
def test_a_constant_beside_all_rewards_leaves_the_advice(offset, gamma):
    """In a process that never ends; the values are as large as 1e15 then."""
    log = pd.DataFrame(
        {"state": ["x", "y", "x", "y"], "action": [*"aabb"], "next_state": ["y", "x", "x", "y"]}
    )
    paid = np.array([0.0, 1.0, 0.4, 0.6])
    policy = MarkovPolicyEstimator(gamma=gamma)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = policy.fit(log.assign(reward=paid)).policy_map()
        assert policy.fit(log.assign(reward=paid + offset)).policy_map() == expected


def test_nothing_is_decided_by_values_that_have_overflown():
    mdp = random_process(0)
    Q = np.zeros(len(mdp.rewards))
    tolerances = np.zeros(len(mdp.first_pairs))
    assert not undecided_states(mdp, 0.9, Q, tolerances, bound=0.0, spread=0.0)[0].any()
    Q[0] = np.inf
    assert undecided_states(mdp, 0.9, Q, tolerances, bound=0.0, spread=0.0)[0].all()
    assert count_undecided(mdp, 0.9, Q[:8], Q, bound=0.0, spread=0.0) == (len(tolerances), 0.0)

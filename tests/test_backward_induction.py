"""A known number of decisions: laws and closed forms."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, process, random_process

from skmdp.solvers import backward_induction, solve

PROCESSES = st.builds(
    random_process,
    st.integers(0, 10_000),
    n_states=st.sampled_from([1, 3, 8]),
    end=st.sampled_from([0.0, 0.3]),
    uniform=st.booleans(),
    shared=st.booleans(),
)


def exact_recursion(mdp, horizon, gamma, final):
    """Rows of best values in rational numbers, by the definition."""
    P = [[Fraction(float(p)) for p in row] for row in dense(mdp)]
    R, gamma = [Fraction(float(r)) for r in mdp.rewards], Fraction(gamma)
    rows = [[Fraction(float(v)) for v in final]]
    for _ in range(horizon):
        V = rows[0]
        Q = [
            r + gamma * sum(p * v for p, v in zip(row, V, strict=True))
            for r, row in zip(R, P, strict=True)
        ]
        best = [Fraction(0)] * mdp.n_states
        for s in mdp.acting_states:
            best[s] = max(Q[i] for i in np.flatnonzero(mdp.pair_state == s))
        rows.insert(0, best)
    return rows


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3]),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 1.0, 1e9]),
)
def test_values_are_within_their_bound_of_rational_numbers(seed, end, horizon, gamma, scale):
    mdp = random_process(seed, n_states=3, end=end)
    final = np.random.default_rng(seed).normal(size=3) * scale
    solution = backward_induction(mdp, horizon, gamma=gamma, final_values=final)
    truth = exact_recursion(mdp, horizon, gamma, final)
    for found, exact in zip(solution.state_values.tolist(), truth, strict=True):
        error = max(abs(Fraction(v) - e) for v, e in zip(found, exact, strict=True))
        assert error <= solution.value_error_bound
    assert solution.value_error_bound <= 1e-13 * horizon * (1 + scale + np.abs(truth[0]).max())


def test_rounding_adds_up_over_a_long_horizon():
    """The sum of ten thousand times 0.1 is off by far more than its own last bit."""
    solution = backward_induction(process({(0, 0): (0.1, {0: 1.0})}), 10_000)
    errors = [
        abs(Fraction(value) - n * Fraction(0.1))
        for n, value in enumerate(solution.state_values[::-1, 0].tolist())
    ]
    assert 100 * np.spacing(1000.0) < max(errors) <= solution.value_error_bound
    # A discount makes good for it.
    halved = backward_induction(process({(0, 0): (0.1, {0: 1.0})}), 10_000, gamma=0.5)
    assert halved.value_error_bound < 1e-14


@given(PROCESSES, st.integers(1, 6), st.integers(1, 6))
def test_the_last_decisions_are_those_of_a_shorter_horizon(mdp, short, more):
    long, last = backward_induction(mdp, short + more), backward_induction(mdp, short)
    assert_array_equal(long.state_values[more:], last.state_values)
    assert_array_equal(long.policy[more:], last.policy)
    # What comes later may stand for itself as final values.
    first = backward_induction(mdp, more, final_values=last.state_values[0])
    assert_array_equal(first.state_values, long.state_values[: more + 1])


@given(PROCESSES, st.sampled_from([0.3, 0.9]))
def test_best_values_of_a_discounted_process_stay_as_they_are(mdp, gamma):
    best = solve(mdp, gamma, tol=1e-12)
    solution = backward_induction(mdp, 5, gamma=gamma, final_values=best.state_values)
    assert np.abs(solution.state_values - best.state_values).max() <= 2 * best.value_error_bound
    far = backward_induction(mdp, 400, gamma=gamma).state_values[0]
    assert_allclose(far, best.state_values, atol=1e-8)


def test_every_plan_is_worth_no_more():
    """All sequences of policies of a small process, followed one by one."""
    mdp = random_process(3, n_states=3, n_actions=2)
    solution = backward_induction(mdp, 3)
    P, own = dense(mdp), [np.flatnonzero(mdp.pair_state == s) for s in range(3)]
    policies = [list(pairs) for pairs in itertools.product(*own)]
    best = np.full(3, -np.inf)
    for plan in itertools.product(policies, repeat=3):
        V = np.zeros(3)
        for pairs in reversed(plan):
            V = mdp.rewards[pairs] + P[pairs] @ V
        best = np.maximum(best, V)
    assert_allclose(solution.state_values[0], best, atol=1e-12)


def test_the_policy_is_greedy_and_the_lowest_of_equals():
    pairs = {(0, 1): (1.0, {1: 1.0}), (0, 2): (1.0, {1: 1.0}), (2, 0): (0.0, {0: 1.0})}
    solution = backward_induction(process(pairs, n_states=3), 2)
    assert_array_equal(solution.policy, [[1, -1, 0], [1, -1, 0]])
    assert_array_equal(solution.state_values, [[1, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_loops_that_earn_are_worth_as_much_as_there_are_decisions():
    solution = backward_induction(process({(0, 0): (2.0, {0: 1.0})}), 1000)
    assert_array_equal(solution.state_values[:, 0], 2.0 * np.arange(1000, -1, -1))


@pytest.mark.parametrize("horizon", [0, -3, 2.5, np.nan, "3", None])
def test_horizons_are_whole_numbers_of_decisions(horizon):
    with pytest.raises(ValueError, match="horizon must be a whole number of decisions, at least 1"):
        backward_induction(random_process(0), horizon)
    assert backward_induction(random_process(0), np.int8(2)).policy.shape == (2, 8)


def test_what_cannot_be_is_refused_by_name():
    mdp = process({(0, 0): (1.0, {1: 1.0})})
    for gamma in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\]"):
            backward_induction(mdp, 2, gamma=gamma)
    with pytest.raises(ValueError, match=r"final_values has shape \(3,\), expected \(2,\)"):
        backward_induction(mdp, 2, final_values=[1, 2, 3])
    with pytest.raises(ValueError, match="final_values must be finite, got inf for state 0"):
        backward_induction(mdp, 2, final_values=[np.inf, 0])
    with pytest.raises(ValueError, match=r"final_values is 5.0 for state 1, which has no pairs"):
        backward_induction(mdp, 2, final_values=[0, 5])
    assert_array_equal(backward_induction(mdp, 1, final_values=[7, 0]).state_values[1], [7, 0])
    # The remedy: what it is worth to get there belongs to the way there.
    paid = mdp.unchecked(rewards=mdp.rewards + 5)
    assert_array_equal(backward_induction(paid, 2).state_values, [[6, 0], [6, 0], [0, 0]])

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import process, random_process

from skmdp.mdp._bellman import greedy_pairs, maximize


def test_operators_equal_loops():
    mdp = random_process(0)
    V = np.random.default_rng(0).normal(size=mdp.n_states)
    Q = mdp.pair_values(V, 0.7)
    dense = mdp.transitions.toarray()
    TV = np.full(mdp.n_states, -np.inf)
    for i, s in enumerate(mdp.pair_state):
        q = mdp.rewards[i] + 0.7 * sum(dense[i, t] * V[t] for t in range(mdp.n_states))
        assert_allclose(Q[i], q)
        TV[s] = max(TV[s], q)
    assert_allclose(maximize(mdp, Q), TV)


def test_states_without_pairs_are_worth_zero():
    mdp = process({(1, 0): (-3.0, {})}, n_states=3)
    assert_array_equal(maximize(mdp, mdp.pair_values(np.ones(3), 0.5)), [0, -3, 0])


def test_greedy_is_the_best_of_each_state():
    first = np.array([0, 3, 4])
    q = np.array([1.0, 5.0, 2.0, -1.0, 0.0, 3.0])
    assert_array_equal(greedy_pairs(first, q), [1, 3, 5])


def test_ties_go_to_the_lowest_action_or_to_the_preferred_one():
    first = np.array([0])
    q = np.array([1.0, 1.0 - 1e-12, 0.0])
    assert_array_equal(greedy_pairs(first, q), [0])
    assert_array_equal(greedy_pairs(first, q[::-1].copy()), [2])
    assert_array_equal(greedy_pairs(first, q[::-1].copy(), tolerance=1e-9), [1])
    few = np.array([1.0, 2.0, 9.0])
    assert_array_equal(greedy_pairs(first, q, tolerance=1e-9, preference=few), [1])
    rounded = np.array([0.1 + 0.2, 0.3, 0.3])
    assert_array_equal(greedy_pairs(first, np.zeros(3), preference=rounded[::-1].copy()), [0])


@given(st.integers(1, 10**6), st.booleans())
def test_preferences_differ_if_by_more_than_a_billionth(n, is_first):
    """Half a row in a million is more; the rounding of a sum is not."""
    first = np.array([0])
    counted = np.array([n, n - 0.5]) if is_first else np.array([n - 0.5, n])
    assert_array_equal(greedy_pairs(first, np.zeros(2), preference=counted), [int(not is_first)])
    rounded = np.array([n * (1 - 1e-12), n])
    assert_array_equal(greedy_pairs(first, np.zeros(2), preference=rounded), [0])


def test_each_state_has_a_tolerance_of_its_own():
    first, q = np.array([0, 2]), np.array([0.0, 1.0, 0.0, 1.0])
    assert_array_equal(greedy_pairs(first, q, tolerance=np.array([2.0, 0.5])), [0, 3])

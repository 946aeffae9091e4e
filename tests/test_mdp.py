import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, process, random_process
from scipy.sparse import csr_array

from skmdp.mdp import MDP

LOOP = {(0, 0): (1.0, {0: 0.5, 2: 0.5}), (0, 1): (2.0, {1: 1.0}), (2, 0): (0.0, {2: 0.25})}


def test_states_without_pairs_do_not_act():
    mdp = process(LOOP)
    assert_array_equal(mdp.acting_states, [0, 2])
    assert_array_equal(mdp.first_pairs, [0, 2])


def test_missing_mass_ends_the_process():
    assert_array_equal(process(LOOP).ends, [False, False, True])


def test_expected_next_values_are_those_of_the_dense_matrix():
    values = np.random.default_rng(0).normal(size=8)
    mdp = random_process(1, uniform=True, shared=True)
    assert_allclose(mdp.expected_next_values(values), dense(mdp) @ values)
    assert_allclose(dense(mdp).sum(axis=1), 1)
    assert not mdp.ends.any()


def test_restricting_keeps_what_is_named():
    mdp = random_process(2, uniform=True, shared=True)
    kept = np.array([0, 3])
    small = mdp.restrict(kept)
    values = np.arange(8.0)
    assert_allclose(small.expected_next_values(values), mdp.expected_next_values(values)[kept])
    assert_array_equal(small.pair_state, mdp.pair_state[kept])


@pytest.mark.parametrize("pairs", [[], [1, 0], [1, 1], [-1, 0]])
def test_restricting_to_what_is_no_set_of_pairs_is_refused(pairs):
    with pytest.raises(ValueError, match="pairs must be ascending positions, at least one"):
        random_process(2).restrict(np.array(pairs, dtype=int))


@given(st.integers(0, 1000), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_hubs_may_be_states(seed, uniform, shared, end):
    """What follows a pair is the same whether it gets there by hubs or by states like them."""
    mdp = random_process(seed, uniform=uniform, shared=shared, end=end)
    whole, values = mdp.without_hubs, np.random.default_rng(seed).normal(size=mdp.n_states)
    n_pairs = len(mdp.rewards)
    at_hubs = whole.transitions[n_pairs:, : mdp.n_states] @ values
    expected = whole.transitions[:n_pairs] @ np.append(values, at_hubs)
    assert_allclose(mdp.expected_next_values(values), expected, atol=1e-14)
    assert_array_equal(whole.rewards[n_pairs:], 0)


def test_shapes_are_checked():
    one = np.zeros(1)
    with pytest.raises(ValueError, match=r"transitions has shape \(1, 1\), expected \(1, 2\)"):
        MDP(csr_array((1, 1)), one, one.astype(int), one.astype(int), n_states=2, n_actions=1)


def test_mass_that_is_missing_by_rounding_is_no_end():
    thirds = process({(0, 0): (0.0, {0: 0.1, 1: 0.2, 2: 0.7}), (0, 1): (0.0, {0: 1 - 1e-12})})
    assert_array_equal(thirds.ends, [False, True])


GOOD = {
    "transitions": csr_array(np.eye(2)),
    "rewards": np.zeros(2),
    "pair_state": np.array([0, 1]),
    "pair_action": np.array([0, 0]),
    "n_states": 2,
    "n_actions": 1,
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"transitions": np.eye(2)}, TypeError, r"CSR format, got ndarray"),
        ({"transitions": csr_array(np.eye(2)).tocoo()}, TypeError, "CSR format, got coo_array"),
        ({"transitions": csr_array((0, 2)), "rewards": np.zeros(0)}, ValueError, "at least one"),
        (
            {"pair_state": np.array([0])},
            ValueError,
            r"pair_state has shape \(1,\), expected \(2,\)",
        ),
        ({"pair_state": np.array([0, 2])}, ValueError, "pair_state must be codes from 0 to 1"),
        ({"pair_action": np.array([-1, 0])}, ValueError, "pair_action must be codes from 0 to 0"),
        ({"rewards": np.array([0, np.nan])}, ValueError, "rewards must be finite"),
        ({"transitions": csr_array(-np.eye(2))}, ValueError, "none negative or NaN"),
        ({"transitions": csr_array(np.nan * np.eye(2))}, ValueError, "none negative or NaN"),
        ({"transitions": csr_array(np.eye(2) + 1e-6)}, ValueError, "summing to more than one"),
    ],
)
def test_bad_arrays_are_refused(change, error, message):
    MDP(**GOOD)
    with pytest.raises(error, match=message):
        MDP(**{**GOOD, **change})


@pytest.mark.parametrize("states", [[1, 0], [0, 0]])
def test_pairs_must_be_sorted_and_unique(states):
    with pytest.raises(ValueError, match="unique and sorted"):
        MDP(csr_array((2, 2)), np.zeros(2), np.array(states), np.zeros(2, dtype=int), 2, 1)


def test_a_process_is_made_of_what_a_reader_of_arrays_knows():
    assert list(inspect.signature(MDP).parameters) == [*GOOD, "initial_distribution"]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_pairs_of_ever_so_many_actions_are_sorted_by_state_first(dtype):
    pairs = np.array([0, 1], dtype=dtype), np.array([2**62, 0], dtype=dtype)
    mdp = MDP(csr_array((2, 4)), np.zeros(2), *pairs, 4, 2**62 + 1)
    assert_allclose(mdp.pair_state, [0, 1])
    with pytest.raises(ValueError, match="unique and sorted"):
        MDP(csr_array((2, 4)), np.zeros(2), *(codes[::-1] for codes in pairs), 4, 2**62 + 1)


def test_pickles():
    mdp = pickle.loads(pickle.dumps(random_process(3)))
    assert_allclose(mdp.rewards, random_process(3).rewards)

import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, process, random_process
from scipy.sparse import csr_array, csr_matrix

from skmdp.mdp import MDP
from skmdp.mdp._mdp import rows_at

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


@given(st.integers(0, 1000), st.integers(1, 12), st.booleans())
def test_some_rows_are_those_that_scipy_finds(seed, n_kept, are_few):
    """Empty rows among them; however many there are."""
    rng = np.random.default_rng(seed)
    rows = csr_array(rng.uniform(size=(12, 5)) * (rng.uniform(size=(12, 5)) < 0.4))
    kept = np.sort(rng.choice(12, size=n_kept, replace=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.mdp._mdp.FEW_ENTRIES", 10**6 if are_few else -1)
        found = rows_at(rows, kept)
    assert_array_equal(found.toarray(), rows.toarray()[kept])
    assert found.shape == (n_kept, 5)
    assert found.indices.dtype == rows.indices.dtype == found.indptr.dtype
    assert found.has_canonical_format
    found.check_format()
    assert not np.shares_memory(found.data, rows.data)


def test_what_is_known_of_the_states_is_not_looked_for_again():
    mdp = random_process(3)
    first, number = mdp.first_pairs, mdp.n_pairs_each
    assert_array_equal(number, np.bincount(mdp.pair_state)[mdp.acting_states])
    same = mdp.unchecked(rewards=mdp.rewards + 1)
    assert same.first_pairs is first
    assert same.n_pairs_each is number
    last = mdp.restrict(np.array([len(mdp.rewards) - 1]))
    assert_array_equal(last.first_pairs, [0])
    assert_array_equal(last.n_pairs_each, [1])


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
        (
            {"pair_state": np.array([0, 2])},
            ValueError,
            r"pair_state must be codes from 0 to 1, got 2 at position 1 .*Raise n_states",
        ),
        (
            {"pair_action": np.array([-1, 0])},
            ValueError,
            r"pair_action must be codes from 0 to 0, got -1 at position 0 .*Raise n_actions",
        ),
        ({"pair_action": np.zeros(2)}, TypeError, "pair_action must hold codes.* got float64"),
        (
            {"initial_distribution": np.ones(3) / 3},
            ValueError,
            r"initial_distribution has shape \(3,\), expected \(2,\)",
        ),
        (
            {"initial_distribution": np.array([1.5, -0.5])},
            ValueError,
            "initial_distribution must hold probabilities, got -0.5 for state 1",
        ),
        (
            {"initial_distribution": np.array([np.nan, 1.0])},
            ValueError,
            "initial_distribution must hold probabilities, got nan for state 0",
        ),
        (
            {"initial_distribution": np.array([0.5, 0.25])},
            ValueError,
            "initial_distribution sums to 0.75, not to one. Divide it by its sum",
        ),
    ],
)
def test_bad_arrays_are_refused(change, error, message):
    MDP(**GOOD)
    with pytest.raises(error, match=message):
        MDP(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-0.25, r"got -0.25 for next state 2 of 4 after NAME. Correct it, or leave the entry out"),
        (1.25, r"got 1.25 for next state 2 of 4 after NAME"),
        (np.nan, r"got nan for next state 2 of 4 after NAME"),
        (np.inf, r"got inf for next state 2 of 4 after NAME"),
        (0.75, r"after NAME sum to 1.25, 0.25 more than one. Divide the row by its sum"),
        (0.5 + 1e-8, r"after NAME sum to 1.00000001, 1e-08 more than one"),
    ],
)
@given(st.integers(0, 7))
def test_what_is_no_probability_is_named_by_its_pair(value, message, pair):
    """Wherever it stands; the others are fine."""
    rows = np.tile([0.5, 0.5, 0.0, 0.0], (8, 1))
    rows[pair] = [0.5, 0.0, value, 0.0]
    s, a = np.divmod(np.arange(8), 2)
    name = rf"action {pair % 2} in state {pair // 2} \(pair {pair}, counting from 0\)"
    with pytest.raises(ValueError, match=message.replace("NAME", name)):
        MDP(csr_array(rows), np.zeros(8), s, a, 4, 2)


@given(st.integers(0, 7), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_rewards_that_are_not_finite_are_named_by_their_pair(pair, value):
    s, a = np.divmod(np.arange(8), 2)
    rewards = np.zeros(8)
    rewards[pair] = value
    name = rf"got {value} for action {pair % 2} in state {pair // 2} \(pair {pair}, counting"
    with pytest.raises(ValueError, match=f"rewards must be finite, {name}"):
        MDP(csr_array((8, 4)), rewards, s, a, 4, 2)


@pytest.mark.parametrize("code", [3, -1])
def test_next_states_out_of_range_are_named_by_their_pair(code):
    """scipy makes such a matrix without a look; a product with it reads foreign memory."""
    rows = csr_array((np.ones(3), np.array([0, 1, 2]), np.array([0, 1, 1, 3])), shape=(3, 3))
    rows.indices[1] = code
    s, a = np.array([0, 0, 1]), np.array([0, 1, 0])
    message = rf"states from 0 to 2, got {code} after action 0 in state 1 \(pair 2, counting from 0"
    with pytest.raises(ValueError, match=message):
        MDP(rows, np.zeros(3), s, a, 3, 2)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (
            [1, 0],
            r"Pair 0 .* is action 0 in state 1, and the next one action 0 in state 0; .*sorts",
        ),
        ([0, 0], r"Pairs 0 and 1 .* are both action 0 in state 0; .*Keep one of them"),
    ],
)
def test_pairs_must_be_sorted_and_unique(states, message):
    with pytest.raises(ValueError, match=message):
        MDP(csr_array((2, 2)), np.zeros(2), np.array(states), np.zeros(2, dtype=int), 2, 1)


def test_arrays_come_in_one_kind():
    """Lists, matrices, other precisions and long indices make the same process."""
    rows = csr_matrix(np.eye(2, dtype=np.float32))
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    mdp = MDP(rows, [1, 2], [0, 1], [0, 0], 2, 1, [1, 0])
    assert isinstance(mdp.transitions, csr_array)
    assert mdp.transitions.dtype == mdp.rewards.dtype == mdp.initial_distribution.dtype == float
    assert mdp.transitions.indices.dtype == mdp.transitions.indptr.dtype == np.int32
    assert_array_equal(mdp.expected_next_values(np.array([3.0, 4.0])), [3, 4])


def test_arrays_that_are_right_are_not_copied():
    mdp = MDP(**GOOD)
    assert mdp.transitions is GOOD["transitions"]
    assert mdp.rewards is GOOD["rewards"]


def test_more_entries_than_indices_can_number_are_refused(monkeypatch):
    monkeypatch.setattr("skmdp.mdp._checks.MOST_ENTRIES", 2)
    MDP(**GOOD)
    monkeypatch.setattr("skmdp.mdp._checks.MOST_ENTRIES", 1)
    with pytest.raises(ValueError, match=r"shape \(2, 2\) and 2 entries; .*at most 1 of each"):
        MDP(**GOOD)


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

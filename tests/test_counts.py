import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import skmdp._estimation.packing
from skmdp._estimation.counts import count_transitions, merge_counts, merge_sorted
from skmdp._estimation.packing import RowSums
from skmdp._estimation.prior_strength import choose_prior_strength

ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2),
        st.integers(-1, 3),
        st.sampled_from([0.25, 1.0, 3.0]),
        st.integers(-4, 4),
    ),
    min_size=1,
)


def count(rows, weighted=True, n_states=4):
    state, action, following, weight, reward = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return count_transitions(
        state.astype(np.int32),
        action.astype(np.int32),
        following.astype(np.int32),
        n_states,
        3,
        weights=weight if weighted else None,
        rewards=reward.astype(float),
    )


def triples(counts):
    """{(s, a, s'): (weight, rows, reward sum)}, with s' = -1 for the end."""
    found = {}
    for i, pair in enumerate(counts.triple_pair):
        following = counts.next_states[i]
        key = (
            int(counts.pair_state[pair]),
            int(counts.pair_action[pair]),
            -1 if following == counts.n_states else int(following),
        )
        found[key] = (counts.weights[i], counts.n_rows[i], counts.reward_sums[i])
    return found


@given(ROWS, st.booleans())
def test_sums_equal_a_loop_over_rows(rows, weighted):
    expected = {}
    for state, action, following, weight, reward in rows:
        w = weight if weighted else 1.0
        old = expected.get((state, action, following), (0.0, 0.0, 0.0))
        expected[state, action, following] = (old[0] + w, old[1] + 1, old[2] + w * reward)
    counts = count(rows, weighted)
    if all(weight == int(weight) for _, _, _, weight, _ in rows):  # so many rows each
        expected = {key: (w, w if weighted else m, r) for key, (w, m, r) in expected.items()}
        assert counts.weights_count_rows
    assert triples(counts) == expected  # weights and rewards are exact in binary
    keys = list(zip(counts.pair_state, counts.pair_action, strict=True))
    assert keys == sorted({(s, a) for s, a, _ in expected})


@given(ROWS)
def test_squares_are_weighted_sums_where_asked_for(rows):
    s, a, t, weight, reward = (np.array(column) for column in zip(*rows, strict=True))
    options = {"weights": weight, "rewards": reward.astype(float)}
    counts = count_transitions(s, a, t, 4, 3, keep_squares=True, **options)
    at = counts.find_triples(s, a, t)
    assert_array_equal(counts.reward_squares, np.bincount(at, weight * reward**2))
    assert_array_equal(counts.reward_sums, np.bincount(at, weight * reward))
    assert count_transitions(s, a, t, 4, 3, **options).reward_squares is None


@given(ROWS, st.booleans())
def test_rows_that_were_added_up_count_as_the_rows_do(rows, weighted):
    s, a, t, weight, reward = (np.array(column) for column in zip(*rows, strict=True))
    weight = weight if weighted else np.ones(len(rows))
    rows_of = count_transitions(
        s, a, t, 4, 3, weights=weight, rewards=reward.astype(float), keep_squares=True
    )
    keys, entry = np.unique(np.stack([s, a, t]), axis=1, return_inverse=True)
    entry = entry.reshape(-1)
    # Two entries for each transition: those that agree are added up as well.
    entry = 2 * entry + np.arange(len(rows)) % 2
    total = [
        np.bincount(entry, amounts, minlength=2 * keys.shape[1])
        for amounts in (np.ones(len(rows)), weight, weight * reward, weight * reward**2)
    ]
    there = np.flatnonzero(total[0])
    n, weights, rewards, squares = (amounts[there] for amounts in total)
    sums = RowSums(n, rewards, squares, weights_count_rows=bool((weight % 1 == 0).all()))
    added = count_transitions(
        *keys[:, there // 2], 4, 3, weights=weights, sums=sums, keep_squares=True
    )
    assert triples(added) == triples(rows_of)
    assert_array_equal(added.reward_squares, rows_of.reward_squares)
    assert added.weights_count_rows == rows_of.weights_count_rows
    some = sums[np.arange(len(there)) > 0]
    assert_array_equal(some.n_rows, n[1:])
    assert some.weights_count_rows == sums.weights_count_rows


@given(ROWS)
def test_blocks_change_nothing(rows):
    whole = count(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skmdp._estimation.packing, "BLOCK_ROWS", 2)
        blocked = count(rows)
    assert triples(blocked) == triples(whole)


@given(ROWS, ROWS, st.booleans(), st.booleans())
def test_merged_counts_are_the_counts_of_all_rows(first, second, first_weighted, second_weighted):
    """The first log numbers its states 0, 1, 2, 3; in the union these are 0, 2, 3, 5."""
    new_state, new_action = np.array([0, 2, 3, 5]), np.array([0, 1, 2])
    renamed = [(new_state[s], a, -1 if t < 0 else new_state[t], w, r) for s, a, t, w, r in first]
    merged = merge_counts(
        (count(first, first_weighted), new_state, new_action),
        (count(second, second_weighted), np.arange(1, 5), new_action),
        n_states=6,
        n_actions=3,
    )
    both = [
        *((*row[:3], row[3] if first_weighted else 1.0, row[4]) for row in renamed),
        *(
            (s + 1, a, -1 if t < 0 else t + 1, w if second_weighted else 1.0, r)
            for s, a, t, w, r in second
        ),
    ]
    whole = count(both, n_states=6)
    parts = [count(first, first_weighted), count(second, second_weighted)]
    assert sum(merged.n_rows) == sum(part.n_rows.sum() for part in parts)
    for key, (weight, _, reward) in triples(whole).items():
        assert triples(merged)[key][::2] == (weight, reward)
    for name in ("pair_state", "pair_action", "indptr", "next_states"):
        assert_array_equal(getattr(merged, name), getattr(whole, name))
        assert getattr(merged, name).dtype == np.int32
    are_whole = all(part.n_rows is part.weights for part in parts)
    assert (merged.n_rows is merged.weights) == are_whole


@given(st.sets(st.integers(0, 20), min_size=1), st.sets(st.integers(0, 20), min_size=1))
def test_sorted_arrays_merge(earlier, later):
    union, places = merge_sorted(np.array(sorted(earlier)), np.array(sorted(later)))
    assert union.tolist() == sorted(earlier | later)
    for values, at in zip((earlier, later), places, strict=True):
        assert union[at].tolist() == sorted(values)


def test_margins_sum_to_the_total():
    rng = np.random.default_rng(0)
    rows = [tuple(row) for row in rng.integers([0, 0, -1, 1, -3], [4, 3, 4, 5, 4], size=(200, 5))]
    counts = count(rows)
    total = sum(row[3] for row in rows)
    for margin in (counts.pair_weights, counts.state_weights, counts.action_weights):
        assert_allclose(margin.sum(), total)
    assert_allclose(counts.state_rewards.sum(), sum(row[3] * row[4] for row in rows))
    assert_allclose(counts.matrix(counts.weights).sum(axis=1), counts.pair_weights)
    by_state = counts.state_matrix(counts.weights)
    assert_allclose(by_state.sum(axis=1), counts.state_weights)
    assert by_state.has_canonical_format
    led_to = np.searchsorted(by_state.indptr, counts.successor_place, side="right") - 1
    assert_array_equal(led_to, counts.pair_state[counts.triple_pair])
    assert_array_equal(by_state.indices[counts.successor_place], counts.next_states)


def test_only_the_sums_are_stored():
    counts = count([(0, 0, 1, 1.0, 0), (0, 1, 1, 1.0, 2), (1, 0, -1, 1.0, 0)])
    fresh = pickle.dumps(counts)
    before = counts.state_matrix(counts.weights).toarray()
    assert len(counts.successor_place) == len(counts.triple_pair)
    assert pickle.dumps(counts) == fresh
    again = pickle.loads(fresh)
    assert again.n_rows is again.weights
    assert_array_equal(again.state_matrix(again.weights).toarray(), before)


def test_find_pairs():
    counts = count([(0, 1, 0, 1.0, 0), (2, 0, -1, 1.0, 0)])
    found = counts.find_pairs(np.array([0, 0, 2, 3, 0]), np.array([1, 0, 0, 0, -1]))
    assert_array_equal(found, [0, -1, 1, -1, -1])


def test_wide_action_spaces_do_not_overflow():
    n_states, n_actions = 70_000, 40_000  # their product exceeds 32 bits
    counts = count_transitions(
        np.array([69_999, 0], dtype=np.int32),
        np.array([39_999, 1], dtype=np.int32),
        np.array([-1, 69_998], dtype=np.int32),
        n_states,
        n_actions,
    )
    assert_array_equal(counts.pair_state, [0, 69_999])
    assert_array_equal(counts.pair_action, [1, 39_999])
    assert_array_equal(counts.next_states, [69_998, n_states])


HALVES = slice(100), slice(100, None)


@pytest.mark.parametrize("n_actions", [1_000_000, 2**31 - 1])
def test_codes_far_apart_count_as_their_ranks_do(n_actions):
    """Three million states: one key for state, action and next state exceeds 64 bits."""
    n_states = 3_100_000
    rng = np.random.default_rng(0)
    new_state = np.sort(rng.choice(n_states, 7, replace=False)).astype(np.int32)
    new_state[[0, -1]] = 0, n_states - 1
    new_action = np.array([0, 1, n_actions // 2, n_actions - 1], dtype=np.int32)
    s = rng.integers(7, size=300)
    t = rng.choice([-1, 0, 6, 3], size=300)
    a = rng.integers(4, size=300)
    near = count_transitions(s, a, t, 7, 4)
    rows = (new_state[s], new_action[a], np.append(new_state, np.int32(-1))[t])
    far = count_transitions(*rows, n_states, n_actions)
    assert_array_equal(far.pair_state, new_state[near.pair_state])
    assert_array_equal(far.pair_action, new_action[near.pair_action])
    assert_array_equal(far.next_states, np.append(new_state, n_states)[near.next_states])
    assert_array_equal(far.weights, near.weights)
    assert_array_equal(far.find_pairs(*rows[:2]), near.find_pairs(s, a))
    assert_array_equal(far.find_triples(*rows), near.find_triples(s, a, t))
    assert_array_equal(np.bincount(far.find_triples(*rows)), far.weights)
    assert choose_prior_strength(far) == choose_prior_strength(near)
    parts = [(count_transitions(s[p], a[p], t[p], 7, 4), new_state, new_action) for p in HALVES]
    merged = merge_counts(*parts, n_states, n_actions)
    assert triples(merged) == triples(far)


@given(ROWS)
def test_every_row_finds_its_triple_and_its_pair(rows):
    counts = count(rows, weighted=False)
    s, a, t, *_ = (np.array(column) for column in zip(*rows, strict=True))
    at = counts.find_triples(s, a, t)
    assert_array_equal(counts.triple_pair[at], counts.find_pairs(s, a))
    assert_array_equal(counts.next_states[at], np.where(t < 0, 4, t))
    assert_array_equal(np.bincount(at), counts.weights)
    # Of pairs that were never logged there is no position, whatever the code of the action.
    states, actions = np.divmod(np.arange(16), 4)
    found = counts.find_pairs(states, actions - 1)
    logged = {(x, y) for x, y, *_ in rows}
    for state, action, position in zip(states, actions - 1, found, strict=True):
        assert (position >= 0) == ((state, action) in logged)
    # Many are looked up in another way than few.
    states, actions = np.divmod(np.arange(24), 6)
    found = counts.find_pairs(states, actions - 1)
    one_by_one = [counts.find_pairs(states[[i]], actions[[i]] - 1)[0] for i in range(24)]
    assert_array_equal(found, one_by_one)


def test_codes_stay_small():
    counts = count([(0, 1, 0, 1.0, 0)])
    for name in ("pair_state", "pair_action", "indptr", "next_states"):
        assert getattr(counts, name).dtype == np.int32


def test_a_log_merged_with_itself_counts_twice_squares_included():
    rng = np.random.default_rng(0)
    codes = [rng.integers(4, size=200) for _ in range(3)]
    rewards = rng.normal(size=200)
    once = count_transitions(*codes, 4, 4, rewards=rewards, keep_squares=True)
    same = np.arange(4)
    twice = merge_counts((once, same, same), (once, same, same), 4, 4)
    for name in ("weights", "reward_sums", "reward_squares"):
        assert_allclose(getattr(twice, name), 2 * getattr(once, name), err_msg=name)

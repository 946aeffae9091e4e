import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import exact_values, random_process
from scipy.sparse import coo_array, csc_matrix, csr_array

from skmdp.mdp import MDP
from skmdp.solvers import modified_policy_iteration


def assert_same(one, other):
    """Same pairs, same rows, same rewards up to rounding, same sizes."""
    assert_array_equal(one.pair_state, other.pair_state)
    assert_array_equal(one.pair_action, other.pair_action)
    assert_allclose(one.transitions.toarray(), other.transitions.toarray(), rtol=1e-15)
    assert_allclose(one.rewards, other.rewards, rtol=1e-12, atol=1e-14)
    assert (one.n_states, one.n_actions) == (other.n_states, other.n_actions)


def in_full(mdp):
    """P and R of shapes (S, A, S) and (S, A), R -inf where a pair is not admissible."""
    P = np.zeros((mdp.n_states, mdp.n_actions, mdp.n_states))
    R = np.full((mdp.n_states, mdp.n_actions), -np.inf)
    P[mdp.pair_state, mdp.pair_action] = mdp.transitions.toarray()
    R[mdp.pair_state, mdp.pair_action] = mdp.rewards
    return P, R


PROCESSES = st.builds(
    random_process,
    st.integers(0, 10_000),
    n_states=st.sampled_from([1, 3, 8]),  # 3: as many as actions
    end=st.sampled_from([0.0, 0.2]),
)

# Every form of P (S, A, S) that is taken, and the axis that has to be named.
FORMS = {
    "array": (lambda P: P, None),
    "array of actions": (lambda P: P.transpose(1, 0, 2), "action"),
    "list": (lambda P: list(P.transpose(1, 0, 2)), None),
    "tuple of sparse": (lambda P: tuple(map(coo_array, P.transpose(1, 0, 2))), None),
    "array of objects": (
        lambda P: np.array([*map(csc_matrix, P.transpose(1, 0, 2)), None], dtype=object)[:-1],
        None,
    ),
    "list of states": (list, "state"),
}


@pytest.mark.parametrize("form", FORMS)
@given(PROCESSES)
def test_a_process_is_the_same_from_arrays_of_every_form(form, mdp):
    P, R = in_full(mdp)
    make, first_axis = FORMS[form]
    assert_same(MDP.from_arrays(make(P), R, first_axis=first_axis), mdp)


@pytest.mark.parametrize("form", FORMS)
@given(PROCESSES)
def test_rewards_that_depend_on_the_next_state_are_averaged(form, mdp):
    P, R = in_full(mdp)
    make, first_axis = FORMS[form]
    of_next = np.random.default_rng(0).normal(size=P.shape)
    of_next[np.isneginf(R)] = 0.0
    expected = (P * of_next).sum(axis=2)
    found = MDP.from_arrays(make(P), make(of_next), first_axis=first_axis)
    assert_allclose(found.rewards, expected.ravel(), atol=1e-14)


@given(PROCESSES, st.integers(0, 100))
def test_pairs_may_come_in_any_order(mdp, seed):
    order = np.random.default_rng(seed).permutation(len(mdp.rewards))
    pairs = {"pair_state": mdp.pair_state[order], "pair_action": mdp.pair_action[order]}
    rows, rewards = mdp.transitions[order], mdp.rewards[order]
    found = MDP.from_arrays(rows, rewards, **pairs)
    n_actions = found.n_actions  # as many as the pairs have
    assert_same(found, mdp.unchecked(n_actions=n_actions))
    assert_same(MDP.from_arrays(rows.toarray(), rewards, **pairs), found)
    of_next = rows.toarray() * 0 + rewards[:, np.newaxis]
    ends = 1 - np.asarray(mdp.mass)  # nothing is paid at an end, which is no next state
    for sort in (np.asarray, csr_array, coo_array):
        paid = MDP.from_arrays(rows, sort(of_next), **pairs)
        assert_allclose(paid.rewards, mdp.rewards * (1 - ends), atol=1e-14)


def test_rewards_of_states_are_paid_for_every_action():
    mdp = random_process(3, n_states=5)
    P = in_full(mdp)[0]
    found = MDP.from_arrays(P, np.arange(5.0))
    assert_array_equal(found.rewards, np.repeat(np.arange(5.0), 3))
    closed = MDP.from_arrays(P, [0.0, -np.inf, 1.0, -np.inf, -np.inf])
    assert_array_equal(closed.acting_states, [0, 2])


def test_rewards_of_pairs_may_be_sparse():
    P, R = in_full(random_process(3, n_states=5))
    assert_array_equal(MDP.from_arrays(P, csr_array(R)).rewards, MDP.from_arrays(P, R).rewards)


def test_next_states_that_cannot_follow_pay_nothing():
    """Not even infinity: where there is no probability, or a stored one of 0."""
    rows = csr_array((np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 2, 2])), shape=(2, 3))
    of_next = np.array([[5.0, np.inf, -np.inf], [np.nan, np.inf, 1.0]])
    pairs = {"pair_state": [0, 1], "pair_action": [0, 0]}
    assert_array_equal(MDP.from_arrays(rows, of_next, **pairs).rewards, [5, 0])
    nothing = csr_array((2, 3))
    assert_array_equal(MDP.from_arrays(rows, nothing, **pairs).rewards, [0, 0])


def test_a_next_state_that_may_not_follow_bars_the_pair():
    rows, of_next = np.full((2, 2), 0.5), np.array([[1.0, -np.inf], [1.0, 3.0]])
    mdp = MDP.from_arrays(rows, of_next, pair_state=[0, 0], pair_action=[0, 1])
    assert_array_equal(mdp.pair_action, [1])
    assert_array_equal(mdp.rewards, [2])


def test_rows_of_pairs_that_are_not_admissible_may_hold_anything():
    P = np.full((2, 2, 2), 0.5)
    P[0, 1] = np.nan
    mdp = MDP.from_arrays(P, [[1.0, -np.inf], [1.0, 2.0]])
    assert_array_equal(mdp.pair_action, [0, 0, 1])


def test_what_is_sparse_stays_sparse_and_what_is_given_stays_as_it_was():
    n = 200_000
    step = csr_array((np.ones(n), (np.arange(n), (np.arange(n) + 1) % n)), shape=(n, n))
    doubled = csr_array(
        (np.full(2 * n, 0.5), np.repeat(step.indices, 2), np.arange(0, 2 * n + 1, 2)), shape=(n, n)
    )
    mdp = MDP.from_arrays([step, doubled], [doubled, 3 * step])  # repeated entries are added up
    assert (mdp.transitions[0::2] != step).nnz == (mdp.transitions[1::2] != step).nnz == 0
    assert_array_equal(mdp.rewards, np.tile([1.0, 3.0], n))
    pairs = {"pair_state": np.arange(n), "pair_action": np.zeros(n, int)}
    assert_array_equal(MDP.from_arrays(doubled, doubled, **pairs).rewards, 1.0)
    assert doubled.nnz == 2 * n


SQUARE = np.full((2, 2, 2), 0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"transitions": np.ones((2, 3, 3)) / 3}, ValueError, 'say first_axis="action"'),
        (
            {"transitions": np.ones((3, 2, 3)) / 3, "first_axis": "action"},
            ValueError,
            'say first_axis="state"',
        ),
        ({"transitions": [np.ones((2, 3)) / 3] * 3}, ValueError, 'say first_axis="state"'),
        (
            {"transitions": [np.eye(2), np.eye(3)]},
            ValueError,
            r"\(2, 2\), and \(3, 3\) at position 1",
        ),
        ({"transitions": SQUARE.tolist()}, TypeError, "got list. Make nested lists a numpy.array"),
        ({"transitions": np.eye(2)}, TypeError, r"got shape \(2, 2\)"),
        ({"transitions": csr_array(np.eye(2))}, TypeError, r"got shape \(2, 2\)"),
        ({"transitions": "P"}, TypeError, "got str"),
        ({"first_axis": "actions"}, ValueError, "must be 'state' or 'action', got 'actions'"),
        ({"pair_state": [0, 1]}, ValueError, "give both, or neither"),
        (
            {"rewards": np.zeros(3)},
            ValueError,
            r"rewards has shape \(3,\), expected \(2,\), \(2, 2\)",
        ),
        ({"rewards": np.zeros((3, 1, 3))}, ValueError, "rewards are for 3 states and 1 actions"),
        ({"rewards": np.full((2, 2), -np.inf)}, ValueError, "No pair is admissible"),
        ({"rewards": [[0, np.inf], [0, 0]]}, ValueError, "got inf for action 1 in state 0"),
        ({"rewards": [[0, 0], [np.nan, 0]]}, ValueError, "got nan for action 0 in state 1"),
        # The axes of next state and action are swapped: (S, S', A).
        (
            {"transitions": np.array([[[1, 0.5], [0, 0.5]], [[0, 1], [1, 0]]])},
            ValueError,
            "action 0 in state 0 .* sum to 1.5, 0.5 more than one.* swapped",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, error, message):
    good = {"transitions": SQUARE, "rewards": np.zeros(2)}
    MDP.from_arrays(**good)
    with pytest.raises(error, match=message):
        MDP.from_arrays(**{**good, **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"transitions": SQUARE},
            ValueError,
            r"must be a matrix \(n_pairs, n_states\), got \(2, 2",
        ),
        ({"transitions": [[1.0]]}, ValueError, "got 'list'"),
        ({"pair_state": [0, 1, 1]}, ValueError, r"pair_state has shape \(3,\), expected \(2,\)"),
        ({"pair_action": [0.0, 1.0]}, TypeError, "pair_action must hold codes"),
        ({"rewards": [0.0]}, ValueError, r"expected \(2,\), one for each pair, or \(2, 2\)"),
        ({"rewards": csr_array((2, 3))}, ValueError, r"rewards has shape \(2, 3\)"),
        (
            {"pair_state": [1, 1], "pair_action": [3, 3]},
            ValueError,
            "Pairs 0 and 1 .* are both action 3 in state 1",
        ),
        ({"pair_state": [0, 7]}, ValueError, "pair_state must be codes from 0 to 1, got 7"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(arguments, error, message):
    good = {
        "transitions": np.eye(2),
        "rewards": np.zeros(2),
        "pair_state": [1, 0],
        "pair_action": [0, 0],
    }
    MDP.from_arrays(**good)
    with pytest.raises(error, match=message):
        MDP.from_arrays(**{**good, **arguments})


@pytest.mark.parametrize("dtype", [np.float64, np.float32, int, bool])
def test_precision_of_the_arrays_does_not_matter(dtype):
    steps = np.eye(4)[[1, 2, 3, 0]].astype(dtype)
    found = MDP.from_arrays([steps, steps.T], np.ones(4, dtype=dtype))
    assert found.transitions.dtype == found.rewards.dtype == np.float64
    assert_array_equal(found.acting_mass, 1)


# ----------------------------------------------------------------------------------- arrays out


@given(PROCESSES, st.sampled_from(["state", "action"]), st.booleans(), st.booleans())
def test_arrays_out_are_a_closed_process_of_the_same_values(mdp, first_axis, uniform, shared):
    """Every row sums to one and every state can act, so that any library can solve it."""
    if uniform or shared:
        mdp = random_process(7, n_states=4, end=0.1, uniform=uniform, shared=shared)
    transitions, rewards = mdp.to_arrays(first_axis=first_axis)
    assert_allclose(transitions.sum(axis=2), 1, rtol=1e-14)
    assert np.isfinite(rewards).any(axis=1).all()
    assert len(rewards) == mdp.n_states + mdp.ends.any()
    back = MDP.from_arrays(transitions, rewards, first_axis=first_axis)
    values = exact_values(back, 0.9)
    assert_allclose(values[: mdp.n_states], exact_values(mdp, 0.9), atol=1e-9)
    assert_array_equal(values[mdp.n_states :], 0)
    assert_array_equal(
        np.isfinite(rewards).sum(),
        len(mdp.rewards) + (len(rewards) - len(mdp.acting_states)) * mdp.n_actions,
    )


def test_arrays_out_of_a_process_that_never_ends_are_what_came_in():
    mdp = random_process(5)
    assert_same(MDP.from_arrays(*mdp.to_arrays()), mdp)


def test_states_without_pairs_stay_in_arrays_out():
    mdp = MDP.from_arrays([np.array([[0.0, 1.0], [0.0, 0.0]])], [3.0, -np.inf])
    transitions, rewards = mdp.to_arrays(first_axis="action")
    assert_array_equal(transitions, [[[0, 1], [0, 1]]])
    assert_array_equal(rewards, [[3], [0]])
    values = modified_policy_iteration(MDP.from_arrays(list(transitions), rewards), 0.5)
    assert_array_equal(values.state_values, [3, 0])


def test_arrays_out_have_a_state_or_an_action_first():
    with pytest.raises(ValueError, match="must be 'state' or 'action', got 0"):
        random_process(1).to_arrays(first_axis=0)

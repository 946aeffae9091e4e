"""Values of given policies: laws, closed forms, and policies that are none."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, process, random_process, solve_exactly
from scipy.sparse import coo_array, csr_array, csr_matrix
from sklearn.exceptions import ConvergenceWarning
from test_penalty import KAPPAS, ROWS, penalised
from ways import compile_all

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb, sample_transitions
from skmdp.mdp._bellman import per_state
from skmdp.solvers import evaluate_policy, solve

PROCESSES = st.builds(
    random_process,
    st.integers(0, 10_000),
    n_states=st.sampled_from([1, 3, 8]),
    end=st.sampled_from([0.0, 0.3]),
    uniform=st.booleans(),
    shared=st.booleans(),
)


def random_policy(mdp, seed, sharpness=1.0):
    """Probabilities of the pairs, (n_pairs,), some of them zero."""
    rng = np.random.default_rng(seed)
    drawn = rng.exponential(size=len(mdp.rewards)) * (rng.uniform(size=len(mdp.rewards)) < 0.7)
    drawn[mdp.first_pairs] += sharpness * 0.1
    return drawn / np.repeat(
        np.add.reduceat(drawn, mdp.first_pairs),
        np.diff(mdp.first_pairs, append=len(mdp.rewards)),
    )


def table_of(mdp, probability):
    table = np.zeros((mdp.n_states, mdp.n_actions))
    table[mdp.pair_state, mdp.pair_action] = probability
    return table


def exact_value(mdp, probability, gamma):
    """The policy's values in rational numbers, of the acting states."""
    acting, gamma = mdp.acting_states, Fraction(gamma)
    P = [[Fraction(float(p)) for p in row] for row in dense(mdp)]
    R = [Fraction(float(r)) for r in mdp.rewards]
    share = [Fraction(float(p)) for p in probability]
    rows, right = [], []
    for s in acting:
        own = np.flatnonzero(mdp.pair_state == s)
        total = sum(share[i] for i in own)
        rows.append(
            [(s == t) - gamma * sum(share[i] * P[i][t] for i in own) / total for t in acting]
        )
        right.append(sum(share[i] * R[i] for i in own) / total)
    return solve_exactly(rows, right)


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.5, 0.99, 1 - 1e-6, 1.0]),
    st.sampled_from([1.0, 1e9]),
)
def test_values_are_within_the_proven_bound_of_rational_numbers(seed, end, gamma, scale):
    if gamma == 1 and end == 0:
        end = 0.01
    mdp = random_process(seed, n_states=3, end=end)
    mdp = mdp.unchecked(rewards=mdp.rewards * scale)
    probability = random_policy(mdp, seed)
    value = evaluate_policy(mdp, probability, gamma)
    truth = exact_value(mdp, probability, gamma)
    for found, exact in zip(value.state_values.tolist(), truth, strict=True):
        assert abs(Fraction(found) - exact) <= value.value_error_bound
    assert value.converged
    assert value.value_error_bound <= 1.01e-6 * max(
        np.abs(mdp.rewards).max(), np.abs(value.state_values).max()
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_rewards_that_cancel_are_rounded_as_what_they_were(seed, gamma):
    """A mean of rewards of 1e15 and more is off by as much as they are rounded."""
    policy = np.random.default_rng(seed).dirichlet(np.ones(3))
    rewards = [1e15 / policy[0], -1e15 / policy[1], 1 / 3]
    # At gamma = 1 they lead to where it stays, and nothing is paid.
    pairs = {(0, a): (r, {int(gamma == 1): 1.0}) for a, r in enumerate(rewards)}
    mdp = process({**pairs, (1, 0): (0.0, {1: 1.0})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        value = evaluate_policy(mdp, np.append(policy, 1.0), gamma)
    mean = sum(Fraction(p) * Fraction(r) for p, r in zip(policy.tolist(), rewards, strict=True))
    truth = mean / sum(map(Fraction, policy.tolist())) / (1 - Fraction(gamma) * (gamma < 1))
    assert abs(Fraction(float(value.state_values[0])) - truth) <= value.value_error_bound
    assert value.value_error_bound < 1e-12 * np.abs(rewards).max()


@pytest.mark.parametrize("seed", range(3))
def test_a_mix_of_thousands_is_rounded_thousands_of_times(seed):
    n, stay = 5000, 0.999
    policy = np.random.default_rng(seed).dirichlet(np.ones(n))
    value = evaluate_policy(process({(0, a): (1.0, {0: stay}) for a in range(n)}), policy, 1.0)
    error = abs(Fraction(float(value.state_values[0])) - 1 / (1 - Fraction(stay)))
    assert error <= value.value_error_bound <= 1e-5
    endless = process({(0, a): (1.0, {0: 1.0}) for a in range(n)})
    with pytest.raises(ValueError, match=r"for ever to state\(s\) 0"):
        evaluate_policy(endless, policy, 1.0)
    by_hub = process(
        {(0, a): (1.0, {0: 0.5}) for a in range(n)},
        hub_mass=np.full((n, 1), 0.5),
        hub_transitions=[[1.0]],
    )
    with pytest.raises(ValueError, match=r"for ever to state\(s\) 0"):
        evaluate_policy(by_hub, policy, 1.0)


@given(PROCESSES, st.integers(0, 100), st.sampled_from([0.0, 0.5, 0.99]))
def test_values_solve_the_equations_of_the_policy(mdp, seed, gamma):
    probability = random_policy(mdp, seed)
    value = evaluate_policy(mdp, table_of(mdp, probability), gamma)
    V = per_state(mdp, np.add.reduceat(probability * value.q_values, mdp.first_pairs))
    assert_allclose(value.state_values, V, atol=4 * value.value_error_bound + 1e-12)
    assert_allclose(value.q_values, mdp.rewards + gamma * dense(mdp) @ V, atol=1e-6)


@given(PROCESSES, st.integers(0, 100))
def test_all_forms_of_a_policy_are_worth_the_same(mdp, seed):
    probability = random_policy(mdp, seed)
    table = table_of(mdp, probability)
    usual = evaluate_policy(mdp, probability, 0.9)
    for form in (table, table.tolist(), csr_array(table), csr_matrix(table)):
        value = evaluate_policy(mdp, form, 0.9)
        assert_array_equal(value.state_values, usual.state_values)
    entries = csr_array(table).tocoo()  # half of each, twice
    twice = (np.tile(entries.row, 2), np.tile(entries.col, 2))
    value = evaluate_policy(mdp, coo_array((np.tile(entries.data / 2, 2), twice), table.shape), 0.9)
    assert_array_equal(value.state_values, usual.state_values)
    # Single precision: sums are off by 1e-8 and made good.
    value = evaluate_policy(mdp, table.astype(np.float32), 0.9)
    assert_allclose(value.state_values, usual.state_values, rtol=1e-5, atol=1e-5)
    # One action per state, as codes and as probabilities.
    chosen = np.full(mdp.n_states, -1)
    chosen[mdp.acting_states] = mdp.pair_action[mdp.first_pairs]
    sure = np.zeros(len(mdp.rewards))
    sure[mdp.first_pairs] = 1.0
    of_codes = evaluate_policy(mdp, chosen, 0.9)
    for form in (chosen.tolist(), chosen.astype(np.int8), sure, table_of(mdp, sure).astype(int)):
        assert_array_equal(evaluate_policy(mdp, form, 0.9).state_values, of_codes.state_values)


@given(PROCESSES, st.integers(0, 100), st.sampled_from([0.5, 0.99]))
def test_no_policy_is_worth_more_than_the_best(mdp, seed, gamma):
    best = solve(mdp, gamma)
    value = evaluate_policy(mdp, random_policy(mdp, seed), gamma)
    slack = best.value_error_bound + value.value_error_bound
    assert (value.state_values <= best.state_values + slack).all()
    of_best = evaluate_policy(mdp, best.policy, gamma)
    slack = best.value_error_bound + of_best.value_error_bound
    assert np.abs(of_best.state_values - best.state_values).max() <= 2 * slack


def test_a_mix_of_twins_is_worth_each_of_them():
    """Two actions that do the same, taken with any probabilities: nothing seems to end."""
    n = 30
    rng = np.random.default_rng(0)
    pairs = {}
    for s in range(n):
        row = rng.dirichlet(np.ones(5))
        successors = rng.choice(n, 5, replace=False).tolist()
        pairs |= {(s, a): (1.0, dict(zip(successors, row, strict=True))) for a in range(7)}
    value = evaluate_policy(process(pairs), rng.dirichlet(np.ones(7), size=n), 1 - 1e-6)
    assert_allclose(value.state_values, 1e6, rtol=1e-9)
    assert np.ptp(value.state_values) < 1e-6


def test_what_stands_where_nothing_is_decided_does_not_matter():
    mdp = process({(0, 0): (1.0, {1: 1.0}), (0, 1): (3.0, {1: 1.0})}, n_states=2)
    usual = [2.0, 0.0]
    for policy in ([[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0, 0]], [[0.5, 0.5], [np.nan, -7]]):
        assert_array_equal(evaluate_policy(mdp, np.array(policy, float), 0.9).state_values, usual)
    for code in (-1, 0, 99):
        assert_array_equal(evaluate_policy(mdp, [1, code], 1.0).state_values, [3, 0])


# ----------------------------------------------------------------------------- without discount


def test_a_random_walk_at_gamma_one():
    """Sutton and Barto (2018), example 6.2: left or right with equal probability."""
    pairs = {}
    for s in range(1, 6):
        pairs[s, 0] = (0.0, {s - 1: 1.0})
        pairs[s, 1] = (1.0 * (s == 5), {s + 1: 1.0})
    value = evaluate_policy(process(pairs), np.full((7, 2), 0.5), 1.0)
    assert_allclose(value.state_values, [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 0], atol=1e-12)


@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.integers(0, 100), st.booleans())
def test_values_at_gamma_one_are_within_their_bound(seed, uniform, shared, of_policy, in_loops):
    mdp = random_process(seed, end=0.1, uniform=uniform, shared=shared)
    probability = random_policy(mdp, of_policy)
    with pytest.MonkeyPatch.context() as patch:
        if in_loops:
            compile_all(patch)
        value = evaluate_policy(mdp, probability, 1.0)
    mix = table_of(mdp, probability)[mdp.pair_state, mdp.pair_action]
    W = (np.arange(8)[:, None] == mdp.pair_state) * mix
    truth = np.linalg.solve(np.eye(8) - W @ dense(mdp), W @ mdp.rewards)
    assert np.abs(value.state_values - truth).max() <= value.value_error_bound + 1e-11


PAID = {
    (0, 0): (1.0, {1: 1.0}),
    (0, 1): (2.0, {2: 1.0}),
    (1, 0): (0.0, {0: 1.0}),
    (2, 0): (0.0, {2: 1.0}),
    (2, 1): (-1.0, {2: 1.0}),
    (3, 0): (-5.0, {0: 0.5, 2: 0.5}),
}


def test_policies_that_are_paid_for_ever_are_refused_by_state():
    mdp = process(PAID)
    for policy, states in (([0, 0, 0, 0], "0"), ([1, 0, 1, 0], "2"), ([0, 0, 1, 0], "0, 2")):
        with pytest.raises(ValueError, match=rf"comes back for ever to state\(s\) {states}, which"):
            evaluate_policy(mdp, policy, 1.0)
        assert evaluate_policy(mdp, policy, 0.999).converged  # the remedy
    # Staying where nothing is paid is an end.
    assert_array_equal(evaluate_policy(mdp, [1, 0, 0, 0], 1.0).state_values, [2, 2, 0, -4])
    half = [[0.5, 0.5], [1, 0], [1, 0], [1, 0]]
    assert_allclose(evaluate_policy(mdp, half, 1.0).state_values, [3, 3, 0, -3.5])


def test_policies_that_stay_where_nothing_is_paid_from_the_start():
    mdp = process({(0, 0): (0.0, {1: 1.0}), (1, 0): (0.0, {0: 1.0})})
    value = evaluate_policy(mdp, [0, 0], 1.0)
    assert_array_equal(value.state_values, [0, 0])
    assert value.value_error_bound == 0
    assert value.converged


def test_many_states_are_named_shortly():
    mdp = process({(s, 0): (1.0, {s: 1.0}) for s in range(1000)})
    with pytest.raises(ValueError, match=r"0, 1, 2, .* more, which pay") as error:
        evaluate_policy(mdp, np.zeros(1000, dtype=int), 1.0)
    assert len(str(error.value)) < 500


def test_hubs_may_lead_round_for_ever():
    mdp = process({(0, 0): (1.0, {})}, n_states=1, hub_mass=[[1.0]], hub_transitions=[[1.0]])
    with pytest.raises(ValueError, match=r"for ever to state\(s\) 0"):
        evaluate_policy(mdp, [0], 1.0)


# ------------------------------------------------------------------------------------ penalties


@given(ROWS, KAPPAS, st.integers(0, 100))
def test_the_penalty_is_taken_off_for_every_action(rows, kappa, seed):
    mdp = penalised(rows, np.arange(3.0), kappa=kappa)
    rng = np.random.default_rng(seed)
    own = [np.flatnonzero(mdp.pair_state == s) for s in mdp.acting_states]
    pairs = np.array([rng.choice(pairs) for pairs in own])
    policy = np.full(3, -1)
    policy[mdp.acting_states] = mdp.pair_action[pairs]
    value = evaluate_policy(mdp, policy, 0.9)
    V = np.zeros(3)
    for _ in range(400):  # 0.9 ** 400 is below rounding
        V[mdp.acting_states] = mdp.pair_values(V, 0.9)[pairs]
    assert np.abs(value.state_values - V).max() <= value.value_error_bound + 1e-12
    assert value.converged
    best = solve(mdp, 0.9)
    slack = best.value_error_bound + value.value_error_bound
    assert (value.state_values <= best.state_values + slack).all()


def test_mixed_actions_have_no_penalty():
    mdp = penalised([(0, 0, 1, 1.0), (0, 1, 0, 2.0), (1, 0, 0, 0.0)], np.zeros(3))
    mixed = [[0.5, 0.5], [1, 0], [0, 0]]
    with pytest.raises(ValueError, match="policy mixes actions, but pessimism takes off"):
        evaluate_policy(mdp, mixed, 0.9)
    with pytest.raises(ValueError, match="pessimism needs gamma below 1"):
        evaluate_policy(mdp, [0, 0, 0], 1.0)
    assert evaluate_policy(mdp, [1, 0, 0], 0.9).converged


def test_a_learned_process_values_its_policy():
    policy = MarkovPolicyEstimator(gamma=0.9, prior_strength=2.0).fit(load_climb())
    codes = np.searchsorted(policy.actions_, policy.policy_)
    value = evaluate_policy(policy.mdp_, codes, 0.9)
    assert_allclose(value.state_values, policy.state_values_, atol=1e-5)
    logged = evaluate_policy(policy.mdp_, policy.behavior_policy_, 0.9)
    assert (logged.state_values <= value.state_values + 1e-6).all()


# ------------------------------------------------------------------------- policies that are none

TWO = process({(0, 0): (1.0, {1: 1.0}), (0, 2): (0.0, {1: 1.0}), (1, 1): (0.0, {})}, n_actions=3)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([1, 1], "takes action 1 in state 0, which has no such action. It has 0, 2"),
        ([0, -1], "takes action -1 in state 1, which has no such action. It has 1"),
        ([3, 1], "takes action 3 in state 0, which has no such action"),
        ([[0.5, 0.5, 0], [0, 1, 0]], "takes action 1 in state 0, which has no such action"),
        (csr_array(np.array([[1.0, 0, 0], [0, 0, 1.0]])), "takes action 2 in state 1"),
        ([[0.5, 0, 0.4], [0, 1, 0]], "actions of state 0 with probabilities that sum to 0.9, not"),
        ([[1, 0, 0], [0, 0, 0]], "actions of state 1 with probabilities that sum to 0, not 1"),
        ([[0.5, 0, 0.5 + 2e-6], [0, 1, 0]], "sum to 1.000002, not 1"),
        ([[-0.5, 0, 1.5], [0, 1, 0]], "takes action 0 in state 0 with probability -0.5: it must"),
        ([[1, 0, np.nan], [0, 1, 0]], "takes action 2 in state 0 with probability nan"),
        ([[1, 0, np.inf], [0, 1, 0]], "actions of state 0 with probabilities that sum to inf"),
        ([1.0, 0.0, np.nan], "takes action 1 in state 1 with probability nan"),
        ([0.5, 0.0, 1.0], "actions of state 0 with probabilities that sum to 0.5"),
        ([0.0, 1.0], r"shape \(2,\) and type float64, expected \(2,\) action codes, as integers"),
        ([0, 1, 1], r"shape \(3,\) and type int64, .* those of the pairs, \(3,\), as floats"),
        (np.ones((3, 2)), r"shape \(3, 2\)"),
        (0, r"shape \(\)"),
        (["left", "right"], "policy holds values of type <U5. Hand in codes of actions"),
        ([True, False], "policy holds values of type bool"),
        (None, "policy holds values of type object"),
    ],
)
def test_policies_that_are_none_are_refused_by_name(policy, message):
    with pytest.raises(ValueError, match=message):
        evaluate_policy(TWO, policy, 0.9)
    if policy is not None:  # which stands for any action
        with pytest.raises(ValueError, match=message):
            sample_transitions(TWO, policy)


@pytest.mark.parametrize("gamma", [-0.5, 1.2, np.nan])
def test_gamma_must_be_a_discount(gamma):
    with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\]"):
        evaluate_policy(TWO, [0, 1], gamma)


def test_tolerance_below_float64_is_admitted():
    with pytest.raises(ValueError, match="tol must be above 0"):
        evaluate_policy(TWO, [0, 1], 0.9, tol=-1.0)
    mdp = random_process(1)
    with pytest.warns(ConvergenceWarning, match=r"float64 cannot prove more: increase tol") as seen:
        value = evaluate_policy(mdp, random_policy(mdp, 0), 0.9, tol=1e-19)
    assert seen[0].filename == __file__
    assert not value.converged

"""Pessimism: standard errors off the values, and why the bound still holds."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense
from sklearn.exceptions import ConvergenceWarning
from test_estimation import END, count, estimate

from skmdp import MarkovPolicyEstimator
from skmdp._estimation.pessimism import subtract_errors
from skmdp.mdp._bellman import maximize
from skmdp.solvers import backward_induction, modified_policy_iteration, solve
from skmdp.solvers._sweeps import AS_GIVEN

ROWS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 1), st.sampled_from([END, 0, 1, 2]), st.integers(-2, 2)
    ),
    min_size=1,
    max_size=25,
)
KAPPAS = st.sampled_from([0.0, 0.3, 5.0])


def counted(rows, **options):
    state, action, following, reward = np.array(rows, dtype=float).T
    return count(
        np.column_stack([state, action, following, reward]),
        n_states=3,
        n_actions=2,
        keep_squares=True,
        **options,
    )


def penalised(rows, values, *, kappa=0.0, beta=1.0, gamma=0.9, **options):
    counts = counted(rows)
    mdp, _ = estimate(counts, prior_strength=kappa, **options)
    return subtract_errors(
        mdp, counts, beta, prior_strength=kappa, gamma=gamma, state_values=np.asarray(values)
    )


def variance(worths):
    return sum((w - sum(worths) / len(worths)) ** 2 for w in worths) / len(worths)


def brute_force_penalty(rows, s, a, V, held, *, kappa, beta, gamma):
    """The definition, row by row: V now, and the values at which the state's variance is held."""
    of_pair = [r + gamma * (0 if t == END else V[t]) for x, y, t, r in rows if (x, y) == (s, a)]
    of_state = [r + gamma * (0 if t == END else held[t]) for x, _, t, r in rows if x == s]
    n = len(of_pair)
    var = (n * variance(of_pair) + variance(of_state)) / (n + 1)
    return beta * n / (n + kappa) * math.sqrt(var / n)


@given(ROWS, KAPPAS, st.sampled_from([0.25, 1.0]), st.sampled_from([0.0, 0.9]))
def test_penalty_equals_its_definition(rows, kappa, beta, gamma):
    rng = np.random.default_rng(len(rows))
    V, held = rng.normal(size=3), rng.normal(size=3)
    mdp = penalised(rows, held, kappa=kappa, beta=beta, gamma=gamma)
    expected = [
        brute_force_penalty(rows, s, a, V, held, kappa=kappa, beta=beta, gamma=gamma)
        for s, a in zip(mdp.pair_state, mdp.pair_action, strict=True)
    ]
    assert_allclose(mdp.penalty.amounts(V, gamma), expected, atol=1e-10)
    plain = mdp.rewards + gamma * dense(mdp) @ V
    lowest = min(0, *(r / n for r, n in zip(*mean_parts(rows), strict=True))) / (1 - gamma)
    assert_allclose(mdp.pair_values(V, gamma), np.maximum(plain - expected, lowest), atol=1e-10)


def mean_parts(rows):
    counts = counted(rows)
    return counts.pair_rewards, counts.pair_weights


@given(ROWS, KAPPAS, st.integers(0, 1000))
def test_operator_is_a_monotone_contraction(rows, kappa, seed):
    rng = np.random.default_rng(seed)
    V, gamma = rng.normal(size=3) * 5, 0.9
    mdp = penalised(rows, rng.normal(size=3), kappa=kappa, beta=1.0, gamma=gamma)
    higher = V + rng.uniform(0, rng.choice([1e-3, 1.0, 20.0]), size=3)
    TV, Thigher = (maximize(mdp, mdp.pair_values(values, gamma)) for values in (V, higher))
    assert (Thigher >= TV - 1e-10).all()
    assert np.abs(Thigher - TV).max() <= gamma * np.abs(higher - V).max() + 1e-10


SOLVERS = st.sampled_from(["modified_policy_iteration", "policy_iteration", "value_iteration"])


@given(ROWS, KAPPAS, st.sampled_from([0.25, 1.0]), st.integers(1, 50), SOLVERS)
def test_values_are_within_the_proven_bound(rows, kappa, beta, max_iter, solver):
    mdp = penalised(rows, np.arange(3.0), kappa=kappa, beta=beta)
    truth = np.zeros(3)
    for _ in range(400):  # 0.9 ** 400 is below rounding
        truth = maximize(mdp, mdp.pair_values(truth, 0.9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._driver.warn_not_converged", lambda *_, **__: None)
        solution = solve(mdp, 0.9, solver=solver, max_iter=max_iter)
    error = np.abs(solution.state_values - truth).max()
    assert error <= solution.value_error_bound + 1e-12
    assert solution.converged or max_iter < 50 or solver == "value_iteration"


CLOSED = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 2), st.integers(-3, 0)),
    max_size=15,
).map(lambda rows: [*rows, (0, 0, 1, -1), (1, 0, 2, -3), (2, 0, 0, 0)])


@given(CLOSED, KAPPAS, st.sampled_from([0.0, 1.0, 1e3, 1e9]), st.integers(1, 5))
def test_the_bound_holds_in_a_log_without_ends(rows, kappa, held, max_iter):
    """Nothing ends, yet a level added to V is not forgotten: the floor stays where it is."""
    mdp = penalised(rows, held * np.arange(3.0), kappa=kappa, beta=1.0)
    assert not mdp.ends.any()
    truth = np.zeros(3)
    for _ in range(400):
        truth = maximize(mdp, mdp.pair_values(truth, 0.9))
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", ConvergenceWarning)
        pace = replace(AS_GIVEN, most_sweeps=1, most_still=1)
        patch.setattr("skmdp.solvers._sweeps.Evaluator.as_given", pace)
        solution = modified_policy_iteration(mdp, 0.9, max_iter=max_iter)
    error = np.abs(solution.state_values - truth).max()
    assert error <= solution.value_error_bound + 1e-12 * np.abs(truth).max()


@pytest.mark.parametrize("reward", [0.1, -0.3, 1e-300, 1 / 3e7, 0.0])
@pytest.mark.parametrize("n", [2, 3, 1000, 30_000])
def test_a_constant_reward_has_no_variance(reward, n):
    """Whatever its square sums up to, and however many rows there are."""
    rows = np.column_stack([np.zeros((n, 2)), np.full(n, END), np.full(n, reward)])
    mdp = penalised(rows, np.zeros(3))
    assert_array_equal(mdp.pair_values(np.zeros(3), 0.9), mdp.rewards)


@pytest.mark.parametrize(("n", "spread"), [(2, 2e-7), (1000, 3e-6)])
def test_a_small_variance_is_not_taken_for_rounding(n, spread):
    rewards = np.tile([1.0, 1.0 + spread], n // 2)
    rows = np.column_stack([np.zeros((n, 2)), np.full(n, END), rewards])
    mdp = penalised(rows, np.zeros(3))
    expected = brute_force_penalty(rows, 0, 0, [0] * 3, [0] * 3, kappa=0, beta=1, gamma=0.9)
    assert_allclose(mdp.penalty.amounts(np.zeros(3), 0.9), expected, rtol=0.3)


def test_rounding_is_relative_to_the_largest_outcome():
    """Two rewards of 1e12 cancel in the mean, but not in the variance."""
    mdp = penalised([(0, 0, 1, 1e12), (0, 0, 2, -1e12)], np.zeros(3))
    assert mdp.largest_reward == mdp.penalty.largest_reward == 1e12
    assert mdp.term_sizes(np.zeros(3), 0.9) >= 1e12
    outcomes_summed_twice = 2 * np.diff(mdp.penalty.outcomes.indptr)
    assert mdp.n_roundings >= np.diff(mdp.transitions.indptr) + outcomes_summed_twice + 3
    with pytest.warns(ConvergenceWarning, match="float64 cannot prove more"):
        solution = modified_policy_iteration(mdp, 0.9, tol=1e-18)
    assert solution.value_error_bound > np.finfo(float).eps * 1e12


def test_a_pair_seen_once_is_not_certain():
    """Action 1 paid 2.5 once; action 0 pays 2 on average and did so a hundred times."""
    rows = [(0, 0, END, r) for r in [1, 3] * 50] + [(0, 1, END, 2.5)]
    table = pd.DataFrame(rows, columns=["state", "action", "next_state", "reward"])
    table = table.assign(next_state=None)
    assert MarkovPolicyEstimator().fit(table).predict([0]) == [1]
    cautious = MarkovPolicyEstimator(pessimism=1.0).fit(table)
    assert cautious.predict([0]) == [0]
    spread = variance([r for *_, r in rows])
    assert_allclose(cautious.q_values_[0, 1], 2.5 - math.sqrt(spread / 2))
    assert_allclose(cautious.state_values_, 2 - math.sqrt((100 + spread) / 101 / 100))


def test_no_value_falls_below_the_worst_that_can_happen():
    rows = [(0, 0, 0, -1.0), (0, 0, 0, 0.0), (0, 1, 0, -1.0)]
    mdp = penalised(rows, [0, 1e9, 0])
    solution = modified_policy_iteration(mdp, 0.9)
    assert solution.state_values.min() >= -1 / (1 - 0.9)
    huge = penalised([(0, 0, 0, -1.0), (0, 1, 1, -1.0)], [0, 1e9, 0])
    assert_allclose(modified_policy_iteration(huge, 0.9).state_values[0], -10)


def test_untried_pairs_have_no_error():
    mdp = penalised([(0, 0, 1, 1.0), (1, 1, 0, 2.0)], np.zeros(3), untried="uniform")
    assert mdp.pair_action.tolist() == [0, 1, 0, 1]
    assert_array_equal(mdp.penalty.amounts(np.arange(3.0), 0.9)[[1, 2]], 0)
    assert_array_equal(
        mdp.restrict(np.array([0, 2])).penalty.amounts(np.arange(3.0), 0.9),
        mdp.penalty.amounts(np.arange(3.0), 0.9)[[0, 2]],
    )


LOG = pd.DataFrame(
    {
        "episode": np.arange(300) // 3,
        "state": np.random.default_rng(0).choice(list("abc"), size=300),
        "action": np.random.default_rng(1).integers(3, size=300),
        "reward": np.random.default_rng(2).normal(size=300),
        "terminated": np.arange(300) % 3 == 2,
    }
)


def test_more_pessimism_is_never_worth_more():
    values = [
        MarkovPolicyEstimator(pessimism=beta, tol=1e-10).fit(LOG).state_values_
        for beta in (0.0, 0.25, 1.0)
    ]
    assert (values[0] > values[1]).all()
    assert (values[1] > values[2]).all()


@pytest.mark.parametrize("options", [{"prior_strength": 2.0}, {"prior_strength": "auto"}, {}])
@pytest.mark.parametrize("pessimism", [0.0, 0.5])
def test_any_split_is_one_fit(options, pessimism):
    options = {**options, "pessimism": pessimism, "tol": 1e-10}
    whole = MarkovPolicyEstimator(**options).fit(LOG)
    stream = MarkovPolicyEstimator(**options)
    for first in range(0, 300, 60):
        stream.partial_fit(LOG.iloc[first : first + 60])
    assert stream.prior_strength_ == whole.prior_strength_
    assert_array_equal(stream.policy_, whole.policy_)
    assert_allclose(stream.q_values_, whole.q_values_, rtol=1e-6)


def test_whole_weights_are_so_many_rows():
    weights = np.random.default_rng(3).integers(1, 4, size=300)
    options = {"prior_strength": "auto", "pessimism": 0.5, "tol": 1e-10}
    weighted = MarkovPolicyEstimator(**options).fit(LOG, sample_weight=weights)
    table = LOG.assign(next_state=LOG.groupby("episode")["state"].shift(-1))
    repeated = MarkovPolicyEstimator(**options).fit(table.loc[table.index.repeat(weights)])
    assert weighted.prior_strength_ == repeated.prior_strength_
    assert_allclose(weighted.q_values_, repeated.q_values_, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "weights", "message"),
    [
        ({"pessimism": 0.5, "gamma": 1.0}, None, "pessimism needs gamma below 1"),
        ({"pessimism": 0.5}, np.full(300, 0.01), "sum to at least 1 for every transition"),
        ({"prior_strength": "auto"}, np.full(300, 1.5), "Give a number instead"),
        ({"prior_strength": -1.0}, None, "'prior_strength' parameter"),
        ({"pessimism": 1.5}, None, "'pessimism' parameter"),
    ],
)
def test_what_has_no_meaning_is_refused(options, weights, message):
    table = LOG.assign(next_state=None)
    with pytest.raises(ValueError, match=message):
        MarkovPolicyEstimator(**options).fit(table, sample_weight=weights)


def test_pessimism_needs_squares_from_the_first_batch_on():
    policy = MarkovPolicyEstimator().partial_fit(LOG)
    policy.set_params(pessimism=0.5)
    before = policy.state_values_
    with pytest.raises(ValueError, match="Call fit to start anew"):
        policy.partial_fit(LOG)
    assert policy.state_values_ is before
    policy.fit(LOG).partial_fit(LOG)


def test_a_penalty_has_no_bound_at_gamma_one():
    mdp = penalised([(0, 0, END, 1.0)], np.zeros(3))
    endless = penalised([(0, 0, 0, 1.0)], np.zeros(3))
    for process in (mdp, endless):
        with pytest.raises(ValueError, match="pessimism needs gamma below 1"):
            modified_policy_iteration(process, 1.0)
        with pytest.raises(ValueError, match="pessimism needs gamma below 1"):
            backward_induction(process, 3)


@given(ROWS, KAPPAS, st.integers(1, 4))
def test_backward_induction_takes_the_penalty_off_at_every_step(rows, kappa, horizon):
    mdp = penalised(rows, np.arange(3.0), kappa=kappa, beta=1.0)
    solution = backward_induction(mdp, horizon, gamma=0.9)
    V = np.zeros(3)
    for t in range(horizon - 1, -1, -1):
        V = maximize(mdp, mdp.pair_values(V, 0.9))
        assert_allclose(solution.state_values[t], V, atol=solution.value_error_bound + 1e-12)


def test_views_of_a_shrunk_model_agree_with_its_process():
    policy = MarkovPolicyEstimator(prior_strength=3.0).fit(LOG)
    mdp = policy.mdp_
    P = {action: policy.transition_matrix(action).toarray() for action in policy.actions_}
    R = policy.expected_rewards_
    for i, row in enumerate(dense(mdp)):
        s, a = mdp.pair_state[i], mdp.pair_action[i]
        assert_allclose(P[policy.actions_[a]][s], row)
        assert_allclose(R[s, a], mdp.rewards[i])
    shares = policy.behavior_policy_
    assert shares.shape == (3, 3)
    logged = pd.crosstab(LOG["state"], LOG["action"], normalize="index")
    assert_allclose(shares.toarray(), logged)

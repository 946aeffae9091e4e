import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense

from skmdp._estimation.counts import count_transitions
from skmdp._estimation.prior_strength import (
    PRIOR_STRENGTHS,
    choose_prior_strength,
    log_likelihoods,
)
from skmdp._estimation.process import admissible_pairs, estimate_mdp, most_logged_pairs
from skmdp.mdp import MDP
from skmdp.mdp._estimated import EstimatedMDP

END = -1


def count(rows, weights=None, n_states=None, n_actions=None, *, keep_squares=False):
    """Count rows (state, action, next state[, reward])."""
    state, action, following, *reward = np.array(rows, dtype=float).T
    return count_transitions(
        state.astype(np.int32),
        action.astype(np.int32),
        following.astype(np.int32),
        n_states or int(max(state.max(), following.max())) + 1,
        n_actions or int(action.max()) + 1,
        weights=None if weights is None else np.asarray(weights, dtype=float),
        rewards=reward[0] if reward else None,
        keep_squares=keep_squares,
    )


def estimate(counts, **options):
    settings = {
        "reward_on": "state_action",
        "untried": "exclude",
        "min_count": 0,
        "prior_strength": 0.0,
    } | options
    start = np.full(counts.n_states, 1 / counts.n_states)
    return estimate_mdp(counts, initial_distribution=start, **settings)


# state 0: action 0 twice (to 1, and to the end), action 1 once; state 1: action 2 once.
LOG = [(0, 0, 1, 4.0), (0, 0, END, 2.0), (0, 1, 0, -3.0), (1, 2, END, 1.0)]


def test_probabilities_are_shares_and_rewards_means():
    mdp, weights = estimate(count(LOG))
    assert_array_equal(mdp.transitions.toarray(), [[0, 0.5], [1, 0], [0, 0]])
    assert_array_equal(mdp.rewards, [3, -3, 1])
    assert_array_equal(weights, [2, 1, 1])
    assert_array_equal(mdp.ends, [True, False, True])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, MDP),
        ({"min_count": 2, "reward_on": "state"}, MDP),
        ({"prior_strength": 1.0}, EstimatedMDP),
        ({"untried": "uniform"}, EstimatedMDP),
    ],
)
def test_a_process_without_hubs_is_a_plain_one(options, kind):
    assert type(estimate(count(LOG), **options)[0]) is kind


def test_rewards_on_the_state_are_means_over_its_visits():
    mdp, _ = estimate(count(LOG), reward_on="state")
    assert_array_equal(mdp.rewards, [1, 1, 1])


def test_weights_count_as_rows():
    weighted, _ = estimate(count(LOG, weights=[3, 1, 1, 1]))
    repeated, _ = estimate(count([LOG[0], LOG[0], *LOG]))
    assert_array_equal(weighted.transitions.toarray(), repeated.transitions.toarray())
    assert_array_equal(weighted.rewards, repeated.rewards)


def test_min_count_keeps_the_most_logged_action_where_none_is_logged_enough():
    counts = count(LOG)
    assert_array_equal(admissible_pairs(counts, 2), [True, False, True])
    assert_array_equal(estimate(counts, min_count=2)[0].pair_action, [0, 2])
    assert_array_equal(admissible_pairs(counts, 3), [True, False, True])


def test_most_logged_pairs_break_ties_by_label():
    counts = count([(0, 2, 0), (0, 1, 0), (1, 0, 0), (1, 2, 0), (1, 2, 0)])
    assert_array_equal(counts.pair_action[most_logged_pairs(counts)], [1, 2])


def test_untried_actions_lead_anywhere_and_pay_the_mean_of_the_state():
    counts = count(LOG, n_states=3)
    mdp, weights = estimate(counts, untried="uniform")
    assert_array_equal(mdp.pair_state, [0, 0, 0, 1, 1])
    assert_array_equal(mdp.pair_action, [0, 1, 2, 0, 2])
    assert_array_equal(weights, [2, 1, 0, 0, 1])
    assert_array_equal(mdp.hub_mass.toarray(), [[0], [0], [1], [1], [0]])
    assert_array_equal(mdp.rewards, [3, -3, 1, 1, 1])
    assert_allclose(mdp.expected_next_values(np.array([3.0, 0, 9]))[2:4], 4)


def test_nothing_untried_adds_nothing():
    everything = [(0, 0, 1), (0, 1, 1)]
    mdp, _ = estimate(count(everything), untried="uniform")
    assert_array_equal(mdp.pair_action, [0, 1])
    assert type(mdp) is MDP


def test_shrunk_model_is_the_mixture_with_the_behaviour_policy():
    """Following a policy where pairs are shrunk is following it with probability trust."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, k, size=60) for k in (4, 3, 5)]).astype(float)
    rows = np.column_stack([rows, rng.normal(size=60)])
    rows[rows[:, 2] == 4, 2] = END
    counts = count(rows, n_states=4)
    plain, n = estimate(counts)
    shrunk, _ = estimate(counts, prior_strength=2.5)
    trust, of_state = n / (n + 2.5), np.equal.outer(np.arange(4), plain.pair_state)
    behaviour = of_state * n / counts.state_weights[:, np.newaxis]
    for pairs in (plain.first_pairs, plain.first_pairs + 1):
        policy = np.zeros_like(behaviour)
        policy[np.arange(4), pairs] = 1.0
        mixed = policy * trust + (1 - policy @ trust)[:, np.newaxis] * behaviour
        for gamma in (0.5, 0.9):
            P, R = mixed @ dense(plain), mixed @ plain.rewards
            P_shrunk, R_shrunk = dense(shrunk)[pairs], shrunk.rewards[pairs]
            assert_allclose(
                np.linalg.solve(np.eye(4) - gamma * P_shrunk, R_shrunk),
                np.linalg.solve(np.eye(4) - gamma * P, R),
                atol=1e-12,
            )


def test_untried_actions_are_not_those_below_min_count():
    mdp, _ = estimate(count(LOG), untried="uniform", min_count=2)
    assert_array_equal(mdp.pair_action, [0, 2, 0, 2])


# ------------------------------------------------------------------------------ prior strength


def brute_force_likelihoods(rows, weights):
    """The definition, triple by triple, by strength; ends count as one successor."""
    c, m, n, N_s, n_s = (defaultdict(float) for _ in range(5))
    for (s, a, t), w in zip(rows, weights, strict=True):
        c[s, a, t] += w
        m[s, a, t] += 1
        n[s, a] += w
        N_s[s, t] += w
        n_s[s] += w
    several = {s for s, k in Counter(s for s, _ in n).items() if k >= 2}

    def likelihood(k):
        total = 0.0
        for (s, a, t), cc in c.items():
            if s in several:
                w = cc / m[s, a, t]
                p = max((N_s[s, t] - w) / max(n_s[s] - w, w), 1e-6)
                total += m[s, a, t] * math.log((max(cc - w, 0) + k * p) / (n[s, a] - w + k))
        return total

    return {k: likelihood(k) for k in PRIOR_STRENGTHS}


def brute_force_strength(scores):
    """The best, of equals the nearest to one."""
    best = max(scores.values())
    return min(
        (k for k, v in scores.items() if v >= best - 1e-9 * abs(best)),
        key=lambda k: abs(math.log(k)),
    )


@given(
    st.lists(
        st.tuples(
            st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(-1, 2)),
            st.sampled_from([0.1, 1.0, 2.0, 2.5]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_prior_strength_equals_its_definition(weighted_rows):
    rows, weights = zip(*weighted_rows, strict=True)
    counts = count(rows, weights, 3, 3)
    if all(weight == int(weight) for weight in weights):  # whole numbers stand for so many rows
        rows, weights = np.repeat(rows, np.array(weights, dtype=int), axis=0).tolist(), None
        weights = [1.0] * len(rows)
    expected = brute_force_likelihoods([tuple(row) for row in rows], weights)
    assert_allclose(log_likelihoods(counts), list(expected.values()), rtol=1e-9, atol=1e-9)
    assert choose_prior_strength(counts) == brute_force_strength(expected)


@pytest.mark.parametrize("scale", [1.0, 1e40], ids=["alike", "some weigh far more"])
def test_prior_strength_of_many_single_rows(scale):
    rng = np.random.default_rng(0)
    rows = [tuple(row) for row in rng.integers([0, 0, -1], [30, 3, 30], size=(400, 3)).tolist()]
    weights = rng.choice([0.5, 1.25, 2.0], size=len(rows))
    weights[::4] *= scale
    counts = count(rows, weights, 30, 3)
    assert np.count_nonzero(counts.n_rows == 1) > 300
    expected = brute_force_likelihoods(rows, weights)
    assert_allclose(log_likelihoods(counts), list(expected.values()), rtol=1e-12)


@pytest.mark.parametrize("n", [10, 100, 1000, 10_000])
def test_one_odd_row_moves_the_strength_by_a_bounded_amount(n):
    """A successor that nothing else led to is no proof that the action does not matter."""
    rows = [(s, a, (s + a) % 3) for s in range(3) for a in range(2)] * n
    before = choose_prior_strength(count(rows, n_states=4))
    after = choose_prior_strength(count([*rows, (0, 0, 3)], n_states=4))
    assert before == 0.01
    assert after <= 0.3  # however large the log
    assert choose_prior_strength(count([*rows, (0, 0, END)], n_states=4)) == after


RNG = np.random.default_rng(0)
ANY_ACTION = RNG.integers(0, 2, size=2000)
ONE_ACTION = [(s, 0, t) for s, t in RNG.integers(0, 3, size=(50, 2))]
IRRELEVANT = [(0, a, t) for a, t in zip(ANY_ACTION, RNG.integers(0, 4, size=2000), strict=True)]
DETERMINISTIC = [(s, a, (s + a) % 3) for s in range(3) for a in range(2)] * 5
NOISY = [
    (s, a, (s + a) % 3 if stays else t)
    for s, a, t, stays in zip(
        RNG.integers(0, 3, 400),
        RNG.integers(0, 3, 400),
        RNG.integers(0, 3, 400),
        RNG.uniform(size=400) < 0.5,
        strict=True,
    )
]


@pytest.mark.parametrize(
    ("rows", "strength"),
    [
        ([(0, 0, 1)], 1),
        ([(0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 1, 2)], 1),  # every pair once
        ([(0, 0, END), (0, 1, END), (0, 1, END)], 1),  # one-step decisions
        ([(0, 0, 1), (0, 0, 1), (0, 1, 1)], 1),  # all lead to the same state
        (ONE_ACTION, 1),
        (DETERMINISTIC, 0.01),
        (IRRELEVANT, 300),
        (IRRELEVANT[:20], 300),
    ],
)
def test_prior_strength_of_known_worlds(rows, strength):
    assert choose_prior_strength(count(rows)) == strength


def test_prior_strength_is_in_units_of_weight():
    assert choose_prior_strength(count(IRRELEVANT, [0.1] * 2000)) in (30, 100, 300)
    assert choose_prior_strength(count(DETERMINISTIC, [0.1] * 30)) == 0.01
    plain = choose_prior_strength(count(NOISY))
    scaled = choose_prior_strength(count(NOISY, [0.1] * 400))
    assert plain in (1, 3)
    assert scaled == pytest.approx(plain / 10)


def test_prior_strength_looks_at_transitions_not_rewards():
    cheap = [(*row, 0.0) for row in NOISY]
    dear = [(*row, 1e6 * i) for i, row in enumerate(NOISY)]
    assert choose_prior_strength(count(cheap)) == choose_prior_strength(count(dear))

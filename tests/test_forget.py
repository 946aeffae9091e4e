"""Earlier batches weigh less: as in one fit with these weights, and so a policy follows."""

from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_search_log

SEARCH = make_search_log(60, length=5, random_state=0)
BATCHES = [batch for _, batch in SEARCH.groupby(SEARCH["episode"] // 15)]
OPTIONS = [{}, {"untried": "uniform"}, {"reward_on": "state"}, {"prior_strength": 2.0}]


def stream(batches, forget, weights=None, **options):
    policy = MarkovPolicyEstimator(tol=1e-10, **options)
    for i, batch in enumerate(batches):
        policy.partial_fit(batch, sample_weight=weights and weights[i], forget=forget)
    return policy


@given(st.floats(0.01, 1.0), st.sampled_from(OPTIONS), st.booleans(), st.permutations(range(4)))
def test_forgetting_is_a_fit_with_weights_that_fade(forget, options, weighted, order):
    batches = [BATCHES[i] for i in order]
    rng = np.random.default_rng(0)
    own = [rng.integers(1, 9, size=len(batch)) / 7 if weighted else None for batch in batches]
    streamed = stream(batches, forget, own if weighted else None, **options)
    faded = [
        (np.ones(len(batch)) if weight is None else weight) * forget ** (3 - i)
        for i, (batch, weight) in enumerate(zip(batches, own, strict=True))
    ]
    whole = MarkovPolicyEstimator(tol=1e-10, **options)
    whole = whole.fit(pd.concat(batches), sample_weight=np.concatenate(faded))
    assert_array_equal(streamed.states_, whole.states_)
    assert_allclose(streamed.visit_counts_, whole.visit_counts_, rtol=1e-10)
    assert_allclose(streamed.expected_rewards_, whole.expected_rewards_, rtol=1e-9, atol=1e-12)
    assert_allclose(streamed.initial_distribution_, whole.initial_distribution_, rtol=1e-10)
    bound = streamed.value_error_bound_ + whole.value_error_bound_ + 1e-9
    assert_allclose(streamed.state_values_, whole.state_values_, atol=bound)
    assert streamed.n_transitions_ == whole.n_transitions_ == len(SEARCH)
    assert streamed.n_episodes_ == whole.n_episodes_


@given(st.floats(0.5, 1.0))
def test_rows_stay_rows_however_little_they_weigh(forget):
    one, other = (stream(BATCHES, f).__skmdp_policy__().counts for f in (forget, 1.0))
    assert_allclose(one.n_rows, other.n_rows)
    assert not one.weights_count_rows or forget == 1


def test_errors_of_pessimism_fade_too():
    """Whole weights let errors be told; the first batch counts twice, so that half of it is one."""
    streamed = MarkovPolicyEstimator(gamma=0.5, pessimism=0.5)
    streamed.partial_fit(SEARCH, sample_weight=np.full(len(SEARCH), 2.0))
    streamed.partial_fit(SEARCH, forget=0.5)
    whole = MarkovPolicyEstimator(gamma=0.5, pessimism=0.5)
    whole.fit(SEARCH, sample_weight=np.full(len(SEARCH), 2.0))
    assert_allclose(streamed.state_values_, whole.state_values_, atol=1e-5)


def test_a_batch_of_nothing_counts_as_a_batch():
    policy = MarkovPolicyEstimator().partial_fit(load_climb())
    before = policy.visit_counts_
    policy.partial_fit(load_climb().iloc[:0], forget=0.5)
    assert_allclose(policy.visit_counts_, before / 2)
    assert policy.policy_map() == MarkovPolicyEstimator().fit(load_climb()).policy_map()


def test_a_policy_follows_a_world_that_changes():
    """From batch 20 on another lever pays: soon known to the policy that forgets."""
    rng = np.random.default_rng(0)

    def log(paying):
        action = rng.choice(["left", "right"], size=50)
        reward = 1.0 * (action == paying) + rng.normal(size=50)
        columns = {"state": "room", "action": action, "reward": reward, "next_state": None}
        return pd.DataFrame(columns)

    days = [log("left") for _ in range(20)] + [log("right") for _ in range(8)]
    advice = {
        forget: reduce(
            lambda p, day, f=forget: p.partial_fit(day, forget=f), days, policy
        ).policy_map()["room"]
        for forget, policy in ((f, MarkovPolicyEstimator()) for f in (0.8, 1.0))
    }
    assert advice == {0.8: "right", 1.0: "left"}


def test_what_has_faded_away_is_dropped_and_no_number_overflows():
    old = load_climb()
    policy = MarkovPolicyEstimator().partial_fit(old)
    new = old[old["state"] == "low"]
    for _ in range(30):
        policy.partial_fit(new, forget=1e-9)
    assert np.isfinite(policy.state_values_).all()
    assert set(policy.policy_map()) == {"low"}
    assert set(old["state"]) <= set(policy.states_)  # labels stay
    assert_allclose(policy.visit_counts_.sum(), len(new), rtol=1e-8)


def test_a_log_that_has_faded_away_must_be_followed_by_a_fit():
    policy = MarkovPolicyEstimator().partial_fit(load_climb())
    with pytest.raises(ValueError, match=r"forget=1e-300.*weigh almost nothing\. Call fit"):
        policy.partial_fit(load_climb(), forget=1e-300)
    assert policy.n_transitions_ == len(load_climb())


@pytest.mark.parametrize("forget", [0, -0.5, 1.1, np.nan, np.inf, "0.9", None, True])
def test_forget_is_a_factor(forget):
    with pytest.raises(ValueError, match=r"forget must be a number above 0 and at most 1, got"):
        MarkovPolicyEstimator().partial_fit(load_climb(), forget=forget)


def test_faded_weights_are_no_counts_for_the_prior():
    policy = MarkovPolicyEstimator(prior_strength="auto").partial_fit(SEARCH)
    with pytest.raises(ValueError, match=r'prior_strength="auto" needs .* forget below 1'):
        policy.partial_fit(SEARCH, forget=0.9)


def test_squares_of_rewards_fade_as_well():
    streamed = stream(BATCHES[:2], 0.5).__skmdp_policy__().evidence
    weights = np.repeat([0.5, 1.0], [len(batch) for batch in BATCHES[:2]])
    whole = MarkovPolicyEstimator().fit(pd.concat(BATCHES[:2]), sample_weight=weights)
    assert_allclose(streamed.state_squares, whole.__skmdp_policy__().evidence.state_squares)

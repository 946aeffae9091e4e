"""The discount at which advice flips, against the crossing of two values by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import make_garnet, sample_transitions
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import policy_table, sensitivity
from skmdp.preprocessing import StateEncoder


def wait_or_take(reward, n_steps):
    """A log where one action pays 1 at once, the other ``reward`` after some steps."""
    way = [f"step {i}" for i in range(n_steps)]
    return pd.DataFrame(
        {
            "state": ["start", "start", *way],
            "action": ["take", "wait", *["wait"] * n_steps],
            "next_state": [None, *way, None],
            "reward": [1.0, *[0.0] * n_steps, reward],
        }
    )


@given(
    reward=st.floats(1.05, 50),
    n_steps=st.integers(1, 4),
    gamma=st.sampled_from([0.0, 0.37, 0.9, 0.999]),
)
def test_patience_pays_from_where_both_are_worth_the_same(reward, n_steps, gamma):
    crossing = reward ** (-1 / n_steps)
    policy = MarkovPolicyEstimator(gamma=gamma).fit(wait_or_take(reward, n_steps))
    row = sensitivity(policy, ["start"]).iloc[0]
    exactly = {"rtol": 0, "atol": 0.01 * (1 - crossing) + 1e-4}
    if row["action"] == "wait":
        assert_allclose(row["lower_gamma"], crossing, **exactly)
        assert row["lower_action"] == "take"
        assert np.isnan(row["upper_gamma"])
        assert row["upper_action"] is None
    elif crossing < 0.998:
        assert_allclose(row["upper_gamma"], crossing, **exactly)
        assert row["upper_action"] == "wait"
        assert np.isnan(row["lower_gamma"])


@pytest.mark.parametrize("seed", range(3))
def test_a_policy_of_the_discount_told_has_the_advice_told(seed):
    log = sample_transitions(make_garnet(8, 3, 3, random_state=seed), None, 100, random_state=seed)
    log["reward"] = np.random.default_rng(seed).normal(size=len(log))
    table = sensitivity(MarkovPolicyEstimator(gamma=0.6).fit(log))
    assert_array_equal(
        table["action"], policy_table(MarkovPolicyEstimator(gamma=0.6).fit(log))["action"]
    )
    for side in ("lower", "upper"):
        for _, row in table[table[f"{side}_gamma"].notna()].iterrows():
            other = MarkovPolicyEstimator(gamma=row[f"{side}_gamma"]).fit(log)
            assert other.predict([row["state"]])[0] == row[f"{side}_action"] != row["action"]
    assert table[["lower_gamma", "upper_gamma"]].notna().any(axis=None)


def test_the_advice_is_the_same_between_the_discounts_told():
    log = wait_or_take(3.0, 2)
    row = sensitivity(MarkovPolicyEstimator(gamma=0.9).fit(log), tol=1e-6).iloc[0]
    below, above = row["lower_gamma"], row["lower_gamma"] + 2e-6
    answers = [
        MarkovPolicyEstimator(gamma=g).fit(log).predict(["start"])[0] for g in (below, above)
    ]
    assert answers == ["take", "wait"]


def test_equal_durations_are_units_of_time():
    log = wait_or_take(3.0, 2)
    by_steps = sensitivity(MarkovPolicyEstimator(gamma=0.9).fit(log), ["start"]).iloc[0]
    by_time = sensitivity(
        MarkovPolicyEstimator(gamma=0.9).fit(log.assign(duration=2.0)), ["start"]
    ).iloc[0]
    assert_allclose(by_time["gamma"], 0.9)
    assert_allclose(by_time["lower_gamma"], by_steps["lower_gamma"] ** 0.5, atol=5e-3)


def test_ensembles_flip_together():
    log = pd.concat(
        [
            wait_or_take(3.0, 2).assign(episode=[2 * i, 2 * i + 1, 2 * i + 1, 2 * i + 1])
            for i in range(30)
        ]
    )
    single = MarkovPolicyEstimator(gamma=0.9)
    policies = PolicyBagging(single, 3, bootstrap=True, random_state=0).fit(log)
    row = sensitivity(policies, ["start"]).iloc[0]
    assert (row["action"], row["lower_action"]) == ("wait", "take")
    assert_allclose(row["lower_gamma"], 3**-0.5, atol=5e-3)


def test_states_of_pipelines_are_what_was_measured():
    heat = np.linspace(0, 90, 400)
    log = pd.DataFrame({"heat": heat, "next_heat": np.nan, "action": np.resize([0, 1], 400)})
    log["reward"] = np.where(log["action"] == (log["heat"] > 40), 1.0, -1.0)
    pipe = make_pipeline(
        StateEncoder(state="heat", n_states=4), MarkovPolicyEstimator(state="heat")
    )
    table = sensitivity(pipe.fit(log), pd.DataFrame({"heat": [5.0, 80.0]}))
    assert [80.0 in heat for heat in table["heat"]] == [False, True]
    assert table[["lower_gamma", "upper_gamma"]].isna().all(axis=None)


def test_what_has_no_answer_is_refused():
    log = wait_or_take(3.0, 2)
    timed = MarkovPolicyEstimator().fit(log.assign(duration=[1.0, 2.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="durations that differ"):
        sensitivity(timed)
    policy = MarkovPolicyEstimator().fit(log)
    with pytest.raises(ValueError, match=r"'strat' was not seen in fit\. Near it are 'start'"):
        sensitivity(policy, ["strat"])
    ends = MarkovPolicyEstimator().fit(log.assign(next_state=[None, "step 0", "step 1", "over"]))
    with pytest.raises(ValueError, match="In the state 'over' no decision was ever logged"):
        sensitivity(ends, ["over"])
    with pytest.raises(ValueError, match="'tol' parameter"):
        sensitivity(policy, tol=0)
    with pytest.raises(TypeError, match="policy must be"):
        sensitivity("policy")


def test_nothing_is_warned_of_where_all_is_solved():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sensitivity(MarkovPolicyEstimator(gamma=1.0).fit(wait_or_take(3.0, 2)))


def test_a_policy_chosen_by_cross_validation_flips_where_any_other_does():
    log = pd.concat(
        [wait_or_take(3.0, 2).assign(episode=[2 * i, *[2 * i + 1] * 3]) for i in range(9)]
    )
    policy = MarkovPolicyCV(min_counts=[0], prior_strengths=[0.0], cv=3, gamma=0.9).fit(log)
    expected = sensitivity(MarkovPolicyEstimator(gamma=0.9).fit(log))
    pd.testing.assert_frame_equal(sensitivity(policy), expected)

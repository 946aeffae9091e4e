"""A policy learned from one column of rewards is judged by another, as if that were its own."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import compare_policies, evaluate_policy
from skmdp.preprocessing import StateEncoder


def offers(n_episodes, seed):
    """Two decisions an episode; a bold offer earns more and annoys more."""
    rng = np.random.default_rng(seed)
    n = 2 * n_episodes
    log = pd.DataFrame({"episode": np.arange(n) // 2, "mood": rng.integers(3, size=n)})
    log["mood"] += 3 * (log.index % 2)  # moods of the second decision are others
    log["action"] = rng.choice(["none", "mild", "bold"], size=n)
    strength = log["action"].map({"none": 0, "mild": 1, "bold": 2})
    log["complaint"] = 1.0 * (rng.uniform(size=n) < 0.1 * strength * (log["mood"] % 3))
    log["revenue"] = 2.0 * strength + rng.normal(size=n)
    return log.assign(benefit=log["revenue"] - 10 * log["complaint"], terminated=log.index % 2 == 1)


TRAIN, TEST = offers(500, 0), offers(800, 1)
SINGLE = MarkovPolicyEstimator(state="mood", reward="benefit", handle_unknown="nearest")
POLICIES = {
    "labels": SINGLE,
    "measurements": make_pipeline(StateEncoder(state="mood", n_states=6), SINGLE),
    "ensemble": PolicyBagging(SINGLE, n_estimators=3, bootstrap=True, random_state=0),
}
METHODS = {
    "labels": ["dm", "is", "wis", "pdis", "pdwis", "dr", "wdr", "fqe"],
    "measurements": ["dm", "wis", "wdr", "fqe"],
    "ensemble": ["dm", "wis", "wdr", "fqe"],
}


@pytest.mark.parametrize("kind", POLICIES)
def test_another_reward_is_judged_as_if_it_were_the_policys_own(kind):
    """The law: naming a column is the same as putting its values where the policy looks."""
    policy = POLICIES[kind].fit(TRAIN)
    options = {"methods": METHODS[kind], "random_state": 0, "n_bootstrap": 20}
    named = evaluate_policy(policy, TEST, columns={"reward": "complaint"}, **options)
    moved = evaluate_policy(policy, TEST.assign(benefit=TEST["complaint"]), **options)
    own = evaluate_policy(policy, TEST, **options)
    pd.testing.assert_frame_equal(named.to_frame(), moved.to_frame())
    assert not np.allclose(named.to_frame()["value"], own.to_frame()["value"])


@pytest.mark.parametrize("method", ["dm", "is", "wis"])
def test_rewards_add_up(method):
    """Revenue less ten times the complaints is the benefit, by every method that is linear."""
    policy = POLICIES["labels"].fit(TRAIN)
    revenue, complaint, benefit = (
        evaluate_policy(policy, TEST, methods=method, columns={"reward": reward}, n_bootstrap=20)
        .to_frame()["value"]
        .iloc[0]
        for reward in ("revenue", "complaint", "benefit")
    )
    assert benefit == pytest.approx(revenue - 10 * complaint, rel=1e-6)


def test_several_policies_are_compared_by_another_reward():
    policy = POLICIES["labels"].fit(TRAIN)
    both = {"learned": policy, "today": "behavior"}
    table = compare_policies(both, TEST, methods="dm", columns={"reward": "complaint"})
    alone = evaluate_policy(policy, TEST, methods="dm", columns={"reward": "complaint"})
    assert table["value"][0] == pytest.approx(alone.to_frame()["value"].iloc[0])
    today = TEST.groupby("episode")["complaint"].sum().mean()
    assert table["value"][1] == pytest.approx(today, rel=0.1)


def test_a_policy_without_rewards_is_judged_by_any():
    policy = MarkovPolicyEstimator(state="mood", reward=None).fit(TRAIN)
    found = evaluate_policy(policy, TEST, methods="dm", columns={"reward": "complaint"})
    moved = evaluate_policy(
        policy, TEST.rename(columns={"complaint": "paid"}), methods="dm", columns={"reward": "paid"}
    )
    pd.testing.assert_frame_equal(found.to_frame(), moved.to_frame())


def test_a_reward_that_the_log_lacks_is_named():
    policy = POLICIES["labels"].fit(TRAIN)
    with pytest.raises(ValueError, match=r"no column 'complaints' for the role 'reward'. Did you"):
        evaluate_policy(policy, TEST, columns={"reward": "complaints"})

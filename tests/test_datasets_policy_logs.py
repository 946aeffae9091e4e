"""Logs sampled from the process of a fitted policy: its labels, its rewards, its truth."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import make_maintenance_log, sample_transitions

LOG = make_maintenance_log(200, 24, random_state=0)
ROLES = {"episode": "machine", "step": "month", "state": "condition", "reward": "profit"}


@pytest.fixture(scope="module")
def policy():
    return MarkovPolicyCV(gamma=0.95, **ROLES).fit(LOG)


def test_a_sampled_log_can_be_learned_from(policy):
    simulated = sample_transitions(policy, n_episodes=300, max_steps=24, random_state=0)
    assert set(LOG.columns) <= set(simulated.columns)
    assert set(simulated["condition"]) <= set(LOG["condition"])
    again = MarkovPolicyEstimator(**ROLES, gamma=0.95).fit(simulated)
    assert again.n_transitions_ == len(simulated) == 300 * 24
    for state, action in policy.policy_map().items():
        assert again.policy_map().get(state, action) == action  # all that was ever done there


def test_what_is_paid_and_what_follows_is_as_it_was_logged(policy):
    simulated = sample_transitions(policy, n_episodes=2000, max_steps=12, random_state=0)
    logged, sampled = (
        table[(table["condition"] == "worn") & (table["action"] == "service")]
        for table in (LOG, simulated)
    )
    assert len(sampled) > 2000
    assert sampled["profit"].mean() == pytest.approx(logged["profit"].mean(), abs=0.1)
    for state in ("good", "worn"):
        share = (logged["next_condition"] == state).mean()
        assert (sampled["next_condition"] == state).mean() == pytest.approx(share, abs=0.03)
    assert sampled["profit"].std() > 0.5


def test_rewards_hang_together_with_what_follows():
    """A prize is paid for getting there, never otherwise; certain rewards have no noise."""
    table = pd.DataFrame(
        {"episode": range(40), "state": "s", "action": "try", "next_state": ["win", "lose"] * 20}
    )
    table["reward"] = np.where(table["next_state"] == "win", 3.0, 0.5)
    simulated = sample_transitions(
        MarkovPolicyEstimator().fit(table), n_episodes=50, random_state=0
    )
    paid = simulated.groupby("next_state")["reward"].agg(["min", "max"])
    assert paid.loc["win"].tolist() == pytest.approx([3.0, 3.0])
    assert paid.loc["lose"].tolist() == pytest.approx([0.5, 0.5])
    assert simulated["terminated"].all()


def test_shrunken_processes_lead_where_nothing_was_logged():
    """A strong prior leads where the state's other action led; its pair's mean is paid there."""
    table = pd.DataFrame(
        {
            "episode": range(20),
            "state": "s",
            "action": ["a", "b"] * 10,
            "next_state": ["x", "y"] * 10,
        }
    ).assign(reward=[1.0, 0.0] * 10)
    policy = MarkovPolicyEstimator(prior_strength=10).fit(table)
    simulated = sample_transitions(policy, n_episodes=400, random_state=0)
    assert set(simulated["action"]) == {"a"}
    assert (simulated["next_state"] == "y").mean() == pytest.approx(0.25, abs=0.08)


def test_states_of_several_columns_ends_and_logs_without_rewards():
    table = pd.DataFrame(
        {"episode": [0, 0, 1], "age": [1, 2, 1], "sex": ["f", "f", "m"], "action": ["a", "b", "a"]}
    )
    policy = MarkovPolicyEstimator(state=["age", "sex"], reward=None).fit(table)
    simulated = sample_transitions(policy, n_episodes=30, random_state=0)
    assert list(simulated) == [
        "episode",
        "step",
        "age",
        "sex",
        "action",
        "next_age",
        "next_sex",
        "terminated",
    ]
    ended = simulated["next_sex"].isna()
    assert (ended == simulated["terminated"]).all()
    assert ended.any()
    assert set(zip(simulated["age"], simulated["sex"], strict=True)) == {
        (1, "f"),
        (2, "f"),
        (1, "m"),
    }


def test_another_policy_may_be_followed(policy):
    n_states, n_actions = len(policy.states_), len(policy.actions_)
    usual = policy.behavior_policy_.toarray()
    assert usual.shape == (n_states, n_actions)
    simulated = sample_transitions(policy, usual, 500, max_steps=24, random_state=0)
    yearly = simulated.groupby("machine")["profit"].sum()
    assert yearly.mean() == pytest.approx(LOG.groupby("machine")["profit"].sum().mean(), abs=6)


def test_what_cannot_be_sampled():
    with pytest.raises(NotFittedError):
        sample_transitions(MarkovPolicyEstimator())
    timed = LOG.assign(duration=np.where(LOG["action"] == "run", 1.0, 2.0))
    with pytest.raises(ValueError, match="take different times, so its process holds discounts"):
        sample_transitions(MarkovPolicyEstimator(**ROLES).fit(timed))

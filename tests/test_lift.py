"""Where policy and log differ, by gain times visits."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import make_garnet, sample_transitions
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import lift
from skmdp.preprocessing import StateEncoder

PROCESS = make_garnet(6, 3, 3, random_state=0)
LOG = sample_transitions(PROCESS, None, 200, random_state=0)
NEW = sample_transitions(PROCESS, None, 50, random_state=1)
POLICY = MarkovPolicyEstimator(gamma=0.9).fit(LOG)


@pytest.mark.parametrize("log", [LOG, NEW])
def test_gains_are_differences_of_q(log):
    table = lift(POLICY, log)
    q = pd.DataFrame(POLICY.q_values_, POLICY.states_, POLICY.actions_)
    for _, row in table.iterrows():
        rows = log[log["state"] == row["state"]]
        worth = [q.loc[row["state"], action] for action in rows["action"]]
        assert_allclose(row["gain"], q.loc[row["state"], row["action"]] - np.mean(worth))
        assert_allclose(row["agreement"], np.mean(rows["action"] == row["action"]))
        assert row["visits"] == len(rows)
        assert row["usual_action"] in rows["action"].mode().tolist()
    assert_allclose(table["total_gain"], table["gain"] * table["visits"])
    assert table["total_gain"].is_monotonic_decreasing
    assert (table["gain"] >= -1e-9).all()


def test_an_advantage_telescopes():
    """Gains of the log, visited as the policy would, are what the policy is worth more.

    Undiscounted and with a single decision an episode, total gains add up to the difference.
    """
    log = pd.DataFrame({"state": [0, 0, 1, 1, 1], "action": [0, 1, 0, 0, 1], "next_state": None})
    log["reward"] = [1.0, 3.0, 2.0, 4.0, 0.0]
    policy = MarkovPolicyEstimator().fit(log)
    advised = policy.score_samples(log[["state"]]).sum()
    assert_allclose(lift(policy, log)["total_gain"].sum(), advised - log["reward"].sum())


def test_a_log_that_follows_the_advice_differs_nowhere():
    table = lift(POLICY, LOG.assign(action=POLICY.predict(LOG)))
    assert len(table) == 0
    assert list(table) == list(lift(POLICY, LOG))


def test_rewards_of_the_new_log_are_not_needed():
    pd.testing.assert_frame_equal(lift(POLICY, NEW.drop(columns="reward")), lift(POLICY, NEW))


def test_what_the_policy_does_not_know_is_left_out():
    other = NEW.assign(state=np.where(NEW["state"] == 0, 99, NEW["state"]))
    assert set(lift(POLICY, other)["state"]) == set(lift(POLICY, NEW)["state"]) - {0}
    strange = NEW.assign(action=np.where(np.arange(len(NEW)) % 2, 7, NEW["action"]))
    table = lift(POLICY, strange)
    share = (strange["action"] == 7).groupby(strange["state"]).mean()
    assert_allclose(table["unknown_share"], share[table["state"]])
    known = lift(POLICY, strange[strange["action"] != 7]).set_index("state")["gain"]
    both = table.set_index("state")["gain"].reindex(known.index)
    assert_allclose(both, known)
    alone = lift(POLICY, NEW.assign(action=7))
    assert alone["gain"].isna().all()


def test_pipelines_show_what_was_measured():
    heat = np.linspace(0, 90, 400)
    log = pd.DataFrame({"heat": heat, "next_heat": np.nan, "action": np.resize([0, 1], 400)})
    log["reward"] = np.where(log["action"] == (log["heat"] > 40), 1.0, -1.0)
    pipe = make_pipeline(
        StateEncoder(state="heat", n_states=4), MarkovPolicyEstimator(state="heat")
    )
    table = lift(pipe.fit(log), log)
    assert isinstance(table["heat"].iloc[0], pd.Interval)
    assert_allclose(table["visits"].sum(), 400)


def test_ensembles_are_asked_together():
    single = MarkovPolicyEstimator(gamma=0.9, handle_unknown="most_frequent")
    policies = PolicyBagging(single, 3, bootstrap=True, random_state=0).fit(LOG)
    table = lift(policies, NEW)
    states = pd.DataFrame({"state": table["state"]})
    assert table["action"].tolist() == policies.predict(states).tolist()
    q = policies.decision_function(states)
    assert_allclose(q.max(axis=1), q[np.arange(len(q)), table["action"]])


def test_what_cannot_be_compared_is_refused():
    features = MarkovPolicyEstimator().fit([[0], [1]], [0, 1])
    with pytest.raises(TypeError, match="fitted on features"):
        lift(features, LOG)
    with pytest.raises(ValueError, match="no column 'action'"):
        lift(POLICY, LOG.drop(columns="action"))
    with pytest.raises(TypeError, match="policy must be"):
        lift("policy", LOG)


def test_a_policy_chosen_by_cross_validation_is_compared_like_any_other():
    policy = MarkovPolicyCV(min_counts=[0], prior_strengths=[0.0], cv=3).fit(LOG)
    pd.testing.assert_frame_equal(lift(policy, NEW), lift(MarkovPolicyEstimator().fit(LOG), NEW))

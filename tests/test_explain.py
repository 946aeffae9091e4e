"""One state in words: what is said is what the tables say."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import load_climb
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import Explanation, action_table, explain
from skmdp.preprocessing import StateEncoder

CLIMB = load_climb()
POLICY = MarkovPolicyEstimator(gamma=0.5).fit(CLIMB)
TWO = pd.DataFrame(
    {
        "age": [1, 1, 2, 2, 2],
        "stage": ["a", "b", "a", "a", "b"],
        "action": ["x", "y", "x", "y", "y"],
        "next_age": [2.0, np.nan, 2, np.nan, np.nan],
        "next_stage": ["a", None, "b", None, None],
        "reward": [0.0, 1.0, 2.0, 1.0, 4.0],
    }
)
PAIR = MarkovPolicyEstimator(state=["age", "stage"]).fit(TWO)


def raw_log(n=400):
    log = pd.DataFrame({"heat": np.linspace(0, 90, n), "action": np.resize([0, 1], n)})
    log["reward"] = np.where(log["action"] == (log["heat"] > 40), 1.0, -1.0)
    return log.assign(next_heat=np.nan)


PIPE = make_pipeline(
    StateEncoder(state="heat", n_states=4), MarkovPolicyEstimator(state="heat")
).fit(raw_log())


def test_what_is_said_is_what_the_table_says():
    found = explain(POLICY, "high")
    table = action_table(POLICY)
    rows = table[table["state"] == "high"].reset_index(drop=True)
    assert isinstance(found, Explanation)
    pd.testing.assert_frame_equal(found.actions, rows)
    assert found.action == "climb"
    assert found.text == repr(found)
    for _, row in rows.iterrows():
        assert f"{row['action']!r}: {row['n']:g} of 2 rows" in found.text


def test_next_states_are_those_of_the_transition_matrix():
    log = CLIMB[CLIMB["state"] != "top"]
    policy = MarkovPolicyEstimator(gamma=0.5, prior_strength=2.0).fit(log)
    found = explain(policy, "mid")
    row = policy.transition_matrix(found.action)[[list(policy.states_).index("mid")]].toarray()[0]
    expected = pd.Series(row, policy.states_).loc[lambda shares: shares > 0]
    told = found.next_states.set_index("state")["probability"]
    assert_allclose(told.sort_index(), expected.sort_index())
    assert told.is_monotonic_decreasing


def test_ends_and_others_are_told():
    log = pd.DataFrame(
        {"state": 0, "action": 0, "next_state": [1.0, 2, 3, 4, np.nan], "reward": 0.0}
    )
    found = explain(MarkovPolicyEstimator().fit(log), 0)
    assert found.text.endswith("the end of the episode (20%), others (20%).")
    assert_allclose(found.next_states["probability"].sum(), 0.8)
    assert "no other action that may be chosen" in found.text


@pytest.mark.parametrize(
    ("policy", "state"),
    [
        (PAIR, (2, "a")),
        (PAIR, [2, "a"]),
        (PAIR, {"age": 2, "stage": "a"}),
        (PAIR, TWO.iloc[2]),
        (PAIR, TWO.iloc[[2]]),
        (PAIR, np.array([2, "a"], dtype=object)),
    ],
)
def test_a_state_of_several_columns_is_named_in_any_form(policy, state):
    found = explain(policy, state)
    assert found.action == "x"
    assert found.text.startswith("In the state age = 2, stage = 'a', 'x' is advised")


@pytest.mark.parametrize("state", [50, 50.0, {"heat": 50.0}, pd.DataFrame({"heat": [50.0]})])
def test_behind_an_encoder_states_are_what_was_measured(state):
    found = explain(PIPE, state)
    assert found.text.startswith("In the state heat = [45.0, 67.0), 1 is advised")
    assert found.action == 1


@pytest.mark.parametrize("named", [True, False])
def test_features_are_asked_for_as_they_were_fitted(named):
    X = pd.DataFrame({"old": [0, 0, 1, 1], "ill": ["n", "n", "y", "y"]})
    X = X if named else X.to_numpy(dtype=object)
    policy = MarkovPolicyEstimator().fit(X, [1, 2, 1, 2], reward=[0.0, 1.0, 1.0, 0.0])
    assert explain(policy, (1, "y")).action == 1
    bins = make_pipeline(KBinsDiscretizer(2, encode="ordinal", quantile_method="linear"), policy)
    numbers = np.array([[0.0], [0.0], [9.0], [9.0]])
    bins.fit(numbers, [1, 2, 1, 2], markovpolicyestimator__reward=[0.0, 1.0, 1.0, 0.0])
    assert explain(bins, [9.0]).action == 1


def test_clusters_are_told_by_their_measurements():
    log = raw_log().assign(load=np.tile([0.0, 1.0], 200), next_load=np.nan)
    pipe = make_pipeline(
        StateEncoder(KMeans(3, random_state=0), state=["heat", "load"]), MarkovPolicyEstimator()
    ).fit(log)
    assert "heat = [" in explain(pipe, (5.0, 1.0)).text


# ----------------------------------------------------------------------------------------- rules


def one_state(rewards, actions):
    return pd.DataFrame({"state": "s", "action": actions, "next_state": None, "reward": rewards})


@pytest.mark.parametrize(
    ("rewards", "actions", "rule", "words"),
    [
        ([2.0, 1.0], ["a", "b"], "value", "1 more than the next best action"),
        ([1.0, 1.0, 1.0], ["a", "b", "b"], "most logged", "it was logged most often"),
        ([1.0, 1.0], ["a", "b"], "lowest label", "it comes first"),
    ],
)
def test_the_rule_that_decided_is_told(rewards, actions, rule, words):
    found = explain(MarkovPolicyEstimator().fit(one_state(rewards, actions)), "s")
    assert found.rule == rule
    assert words in found.text


def test_a_way_to_an_end_is_told():
    """Both actions are worth 0, and the more frequent one never ends."""
    log = pd.DataFrame(
        {
            "state": 0,
            "action": ["stay", "stay", "stop"],
            "next_state": [0.0, 0.0, np.nan],
            "reward": 0.0,
        }
    )
    found = explain(MarkovPolicyEstimator(gamma=1.0).fit(log), 0)
    assert (found.action, found.rule) == ("stop", "way to an end")


def test_members_vote():
    log = one_state([1.0, 1.0] * 9, ["a", "b"] * 9).assign(episode=range(18))
    policies = PolicyBagging(MarkovPolicyEstimator(), 5, bootstrap=True, random_state=0).fit(log)
    found = explain(policies, "s")
    assert found.rule == "most votes"
    assert found.action == policies.predict(["s"])[0]
    assert_allclose(found.next_states["probability"].sum(), 0)


def test_an_ensemble_averages_where_actions_lead():
    log = pd.DataFrame(
        {
            "episode": [0, 1, 2, 3, 4],
            "state": ["rare", "rare", "usual", "usual", "usual"],
            "action": ["x", "x", "x", "y", "y"],
            "next_state": ["end", "far", "end", "end", None],
            "reward": [1.0, 2.0, 0.0, 0.0, 0.0],
        }
    )
    single = MarkovPolicyEstimator(handle_unknown="most_frequent")
    policies = PolicyBagging(single, 40, bootstrap=True, random_state=0).fit(log)
    found = explain(policies, "rare")
    shares = []
    for member in policies.estimators_:
        if "rare" in member.policy_map():
            row = member.transition_matrix("x")[[list(member.states_).index("rare")]]
            shares.append(pd.Series(row.toarray()[0], member.states_))
    assert 0 < len(shares) < 40
    expected = pd.concat(shares, axis=1).fillna(0).mean(axis=1).loc[lambda mean: mean > 0]
    told = found.next_states.set_index("state")["probability"]
    assert_allclose(told.sort_index(), expected.sort_index())


def test_actions_that_may_not_be_chosen_say_why():
    found = explain(MarkovPolicyEstimator(min_count=2).fit(CLIMB), "mid")
    assert "it may not be chosen: fewer rows than min_count." in found.text


def test_where_untried_actions_lead_is_not_known():
    log = pd.DataFrame(
        {"state": ["bad", "good"], "action": ["x", "y"], "next_state": None, "reward": [0.0, 9.0]}
    )
    found = explain(MarkovPolicyEstimator(untried="uniform").fit(log), "bad")
    assert found.action == "y"
    assert "Where 'y' leads is not known." in found.text
    assert "'y': never logged there, taken to be worth" in found.text
    assert len(found.next_states) == 0


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("policy", "state", "near"),
    [
        (POLICY, "hihg", "'high'"),
        (PAIR, (9, "a"), "age = 2, stage = 'a'"),
        (MarkovPolicyEstimator().fit(one_state([1.0], [0]).assign(state=7)), 9, "7"),
        (
            MarkovPolicyEstimator(state=["age"]).fit(
                TWO.drop(columns=["next_age"]).assign(episode=0)
            ),
            6,
            "2",
        ),
    ],
)
def test_an_unknown_state_is_told_with_those_near_it(policy, state, near):
    with pytest.raises(ValueError, match=r"was not seen in fit\. Near it are ") as error:
        explain(policy, state)
    assert str(error.value).partition("Near it are ")[2].startswith(near)
    assert len(str(error.value)) <= 500


def test_a_state_without_decisions_is_told():
    log = pd.DataFrame({"state": ["a"], "action": [1], "next_state": ["end"], "reward": [1.0]})
    with pytest.raises(ValueError, match="no decision was ever logged"):
        explain(MarkovPolicyEstimator().fit(log), "end")


def test_one_state_is_asked_for():
    with pytest.raises(ValueError, match="One state is explained at a time, got 2"):
        explain(POLICY, pd.DataFrame({"state": ["low", "mid"]}))
    with pytest.raises(ValueError, match=r"A state has 2 column\(s\).* got 1 part"):
        explain(PAIR, 2)
    with pytest.raises(TypeError, match="labels of different kinds"):
        explain(POLICY, 3)
    with pytest.raises(NotFittedError):
        explain(MarkovPolicyEstimator(), "low")
    with pytest.raises(TypeError, match="policy must be"):
        explain(None, "low")


def test_policies_chosen_by_cross_validation_are_explained():
    log = pd.concat([CLIMB.assign(episode=4 * i + CLIMB["episode"]) for i in range(9)])
    policy = MarkovPolicyCV(cv=3, gamma=0.5).fit(log)
    assert explain(policy, "high").action == policy.predict(["high"])[0]

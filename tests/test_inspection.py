import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from skmdp import MarkovPolicyEstimator
from skmdp.inspection import policy_table, supported

LOG = pd.DataFrame(
    {
        "state": [0, 0, 0, 1, 2, 2, 2],
        "action": ["a", "b", "b", "c", "b", "c", "c"],
        "next_state": [1, 9, 9, 9, 9, 9, 9],
        "reward": [5.0, 1.0, 1.0, 0.0, 2.0, 2.0, 2.0],
    }
)


def test_one_row_per_state_with_logged_actions():
    table = policy_table(MarkovPolicyEstimator().fit(LOG))
    expected = pd.DataFrame(
        {
            "state": [0, 1, 2],
            "action": ["a", "c", "c"],
            "value": [5.0, 0.0, 2.0],
            "margin": [4.0, np.nan, 0.0],
            "state_visits": [3.0, 1.0, 3.0],
            "action_visits": [1.0, 1.0, 2.0],
            "most_logged_action": ["b", "c", "c"],
        }
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_visits_are_weighted():
    table = policy_table(MarkovPolicyEstimator().fit(LOG, sample_weight=[3, 1, 1, 2, 1, 1, 1]))
    assert_array_equal(table["state_visits"], [5, 2, 3])
    assert_array_equal(table["action_visits"], [3, 2, 2])
    assert_array_equal(table["most_logged_action"], ["a", "c", "c"])


def test_untried_actions_have_no_visits():
    policy = MarkovPolicyEstimator(untried="uniform").fit(LOG)
    table = policy_table(policy).set_index("state")
    advised = [policy.policy_map()[state] for state in table.index]
    assert_array_equal(table["action"], advised)
    assert table.loc[1, "action"] == "a"
    assert table.loc[1, "action_visits"] == 0
    assert table.loc[1, "margin"] == 0  # b was not tried either
    assert table.loc[0, "margin"] == pytest.approx(table.loc[0, "value"] - policy.q_values_[0, 2])


def test_several_state_columns_keep_their_names_unless_taken():
    log = LOG.assign(value=list("xxxyxyy")).drop(columns="next_state")
    policy = MarkovPolicyEstimator(state=["state", "value"]).fit(log.assign(episode=range(7)))
    table = policy_table(policy)
    assert table.columns[:3].tolist() == ["state", "state_value", "action"]
    assert list(zip(table["state"], table["state_value"], strict=True)) == list(policy.policy_map())


def test_no_state_column_is_lost_to_a_name():
    log = LOG.assign(value=list("xxxyxyy")).drop(columns="next_state")
    log = log.rename(columns={"state": "state_value"}).assign(episode=range(7))
    table = policy_table(MarkovPolicyEstimator(state=["value", "state_value"]).fit(log))
    assert table.columns[:3].tolist() == ["state_state_value", "state_value", "action"]
    assert table.shape[1] == 8


def test_several_untried_actions_tie():
    log = pd.DataFrame({"state": [0, 1, 2], "action": list("abc"), "next_state": 3})
    policy = MarkovPolicyEstimator(untried="uniform").fit(log.assign(reward=[-9.0, 5.0, 5.0]))
    table = policy_table(policy).set_index("state")
    assert table["action"][0] == "b"
    assert table["margin"][0] == 0


def test_features_without_names_are_numbered():
    policy = MarkovPolicyEstimator().fit([[0, 1], [1, 0]], ["a", "b"])
    assert policy_table(policy).columns[:2].tolist() == ["x0", "x1"]


def test_policy_must_be_fitted():
    with pytest.raises(NotFittedError):
        policy_table(MarkovPolicyEstimator())


# ------------------------------------------------------------------------------------- supported

THIN = pd.DataFrame(
    {
        "state": ["a", "a", "a", "b", "b"],
        "action": ["x", "x", "y", "x", "y"],
        "next_state": ["b", "b", "end", None, "a"],
        "reward": [1, 2, 0, 5, 0],
    }
)


def test_support_of_states_of_every_sort():
    policy = MarkovPolicyEstimator(min_count=2, handle_unknown="most_frequent").fit(THIN)
    X = pd.DataFrame({"state": ["b", "a", "end", "new"]}, index=[7, 8, 9, 10])
    support = supported(policy, X)
    assert support.index.tolist() == [7, 8, 9, 10]
    assert support["action"].tolist() == policy.predict(X).tolist() == ["x"] * 4
    assert support["action_visits"].tolist() == [1, 2, 0, 0]
    assert support["state_visits"].tolist() == [2, 3, 0, 0]
    # In b nothing was logged twice, so its most logged action stays admissible.
    assert support["is_admissible"].tolist() == [True, True, False, False]
    assert support["is_known"].tolist() == [True, True, True, False]


def test_untried_actions_are_admissible_where_they_may_be_chosen():
    table = THIN.iloc[[0, 1, 2, 3]].assign(reward=[1, 2, 50, -5])
    policy = MarkovPolicyEstimator(untried="uniform").fit(table)
    support = supported(policy, ["b", "end"])
    assert support["action"].tolist() == ["y", "x"]
    assert support["action_visits"].tolist() == [0, 0]
    assert support["is_admissible"].tolist() == [True, False]


def test_unknown_states_warn_as_in_predict():
    with pytest.warns(UserWarning, match="not seen in fit"):
        supported(MarkovPolicyEstimator().fit(THIN), ["new"])

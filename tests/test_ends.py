"""How episodes ended is counted, and said where a fitted policy is printed."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmdp import MarkovPolicyEstimator

ROOM = pd.DataFrame(
    {
        "episode": [1, 1, 2, 2, 3],
        "state": ["a", "b", "a", "b", "a"],
        "action": "go",
        "reward": 1.0,
    }
)
# Columns beside, how many of the three episodes end and break off, and how it is said.
CASES = {
    "nothing tells": ({}, 0, 0, "3 not told"),
    "all said to end": ({"terminated": None}, 3, 0, "3 ended"),
    "terminated": (
        {"terminated": [False, True, False, False, False]},
        1,
        2,
        "1 ended, 2 broke off",
    ),
    "truncated": ({"truncated": [False, True, False, False, False]}, 2, 1, "2 ended, 1 broke off"),
    "next states": ({"next_state": ["b", None, "b", "goal", "b"]}, 2, 1, "2 ended, 1 broke off"),
    "last observation": ({"action": ["go", None] * 2 + ["go"]}, 1, 2, "1 ended, 2 broke off"),
}


def fit(columns):
    options = {"terminated": None} if columns.get("terminated", 0) is None else {}
    table = ROOM.assign(**{name: list(x) for name, x in columns.items() if x is not None})
    if "action" in columns:
        table["reward"] = [1.0, 0.0, 1.0, 0.0, 1.0]
    return MarkovPolicyEstimator(**options).fit(table)


@pytest.mark.parametrize("case", CASES)
def test_ends_are_counted(case):
    columns, n_ended, n_cut, said = CASES[case]
    policy = fit(columns)
    assert policy.n_ended_ == n_ended
    assert policy.__skmdp_policy__().evidence.n_cut == n_cut
    assert repr(policy).endswith(f")  # 3 episode(s): {said}")


def test_counts_of_batches_add_up():
    terminated = [False, True, False, False, False]
    policy = MarkovPolicyEstimator()
    for batch in (ROOM.assign(terminated=terminated), ROOM, ROOM.iloc[:0]):
        policy.partial_fit(batch)
    assert policy.n_ended_ == 1
    assert repr(policy).endswith("6 episode(s): 1 ended, 2 broke off, 3 not told")


def test_a_table_without_episodes_has_none_that_end():
    table = pd.DataFrame({"state": ["a"], "action": 1, "next_state": None, "reward": 1.0})
    policy = MarkovPolicyEstimator().fit(table)
    assert policy.n_ended_ is None
    assert repr(policy) == "MarkovPolicyEstimator()"


def test_large_numbers_can_be_read():
    n = 2500
    X, y = np.zeros((n, 1), dtype=int), np.zeros(n, dtype=int)
    assert repr(MarkovPolicyEstimator().fit(X, y)).endswith("  # 2,500 episode(s): 2,500 ended")


def test_only_the_fitted_estimator_says_it_and_the_text_stays_python():
    policy = fit({})
    assert repr(clone(policy)) == "MarkovPolicyEstimator()"
    assert eval(repr(policy)).get_params() == policy.get_params()
    assert repr(pickle.loads(pickle.dumps(policy))) == repr(policy)

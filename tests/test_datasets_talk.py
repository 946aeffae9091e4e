"""The talk's two worlds and their golden figures."""

import copy

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import (
    load_climb,
    make_search_log,
    run_search,
    transitions_from_observations,
)

OBSERVATIONS = [
    {
        "state_transitions": [
            {"state": "a", "action": 1, "state_": "b"},
            {"state": "b", "action": 2, "state_": "c"},
        ],
        "reward": 3,
    },
    {"state_transitions": [{"state": "c", "action": 1, "state_": "c"}], "reward": -1},
]


def test_rewards_are_spread_evenly_and_the_input_left_alone():
    before = copy.deepcopy(OBSERVATIONS)
    table = transitions_from_observations(OBSERVATIONS)
    assert before == OBSERVATIONS
    assert_array_equal(table["reward"], [1.5, 1.5, -1])
    assert_array_equal(table["episode"], [0, 0, 1])
    assert_array_equal(table["next_state"], ["b", "c", "c"])


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"state_transitions": [], "reward": 0}, "Observation 1 has no state_transitions"),
        ("ab", "Observation 1 must be a mapping"),
        ({"state_transitions": [1], "reward": "x"}, "Observation 1 must be .* a number as reward"),
        ({"reward": 0}, "Observation 1 lacks the key 'state_transitions'"),
        (
            {"state_transitions": [{"state": 1}], "reward": 0},
            "Observation 1 lacks the key 'action'",
        ),
    ],
)
def test_bad_observations_are_named(observation, message):
    with pytest.raises(ValueError, match=message):
        transitions_from_observations([OBSERVATIONS[0], observation])


def test_climb_is_the_log_of_the_talk():
    log = load_climb()
    assert len(log) == 12
    assert log.groupby(["state", "action"]).ngroups == 10  # each action was tried in each state
    assert log.groupby("state")["reward"].mean()["top"] == 0.5


def test_search_log_is_a_chain_of_steps():
    log = make_search_log(500, random_state=0)
    again = make_search_log(500, random_state=0)
    pd.testing.assert_frame_equal(log, again)
    same = log["episode"].to_numpy()[1:] == log["episode"].to_numpy()[:-1]
    assert_array_equal(log["next_state"].to_numpy()[:-1][same], log["state"].to_numpy()[1:][same])
    last = log.groupby("episode")["next_state"].last()
    assert (last == "TARGET_FOUND").all()
    assert not (log["state"] == "TARGET_FOUND").any()
    assert log["episode"].nunique() == 500
    parts = log["state"].str.split(":", expand=True)
    assert parts[0].astype(int).between(0, 14).all()
    assert parts[1].isin(["up", "down"]).all()
    assert parts[4].isin(["True", "False"]).all()
    # The next place to look at is the action itself.
    moved = log["next_state"] != "TARGET_FOUND"
    to = log["next_state"][moved].str.split(":").str[0].astype(int)
    assert_array_equal(to, log["action"][moved])


B, L, R = 49 / 15, 16 / 3, 15.0  # expected steps from a fresh start, 15 places
M = (B + L + R) / 3


@pytest.mark.parametrize(("searcher", "clean"), [("binary", B), ("linear", L), ("random", R)])
def test_searchers_take_their_expected_steps(searcher, clean):
    """Under the talk's harness 3.5733, 5.5022 and 14.5244 steps."""
    expected = 14 / 15 * clean + M / 15
    golden = {"binary": 3.5733, "linear": 5.5022, "random": 14.5244}
    assert expected == pytest.approx(golden[searcher], abs=5e-5)
    steps = run_search(searcher, 10_000, replace_found=True, random_state=0)
    assert abs(steps.mean() - expected) <= 4 * steps.std() / 100
    steps = run_search(searcher, 10_000, random_state=1)
    assert abs(steps.mean() - 14 / 15 * clean) <= 4 * steps.std() / 100


def test_a_log_is_an_equal_mix_of_the_three():
    log = make_search_log(10_000, random_state=3)
    lengths = log["episode"].value_counts()
    assert abs(lengths.mean() - M) <= 4 * lengths.std() / 100


OPTIONS = {
    "defaults": {},
    "talk": {"gamma": 0.9, "reward_on": "state", "untried": "uniform"},
}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*not seen in fit:UserWarning")
@pytest.mark.parametrize("seed", range(3))
def test_learned_search_beats_binary_search(seed):
    log = make_search_log(50_000, random_state=seed)
    binary = run_search("binary", 10_000, replace_found=True, random_state=100 + seed)
    for options in OPTIONS.values():
        policy = MarkovPolicyEstimator(**options).fit(log)
        learned = run_search(policy, 10_000, replace_found=True, random_state=100 + seed)
        assert learned.mean() < binary.mean()
        # A handful of the ten thousand may go in circles; none goes on for ever.
        assert (learned == 1000).sum() <= 10


def test_searches_are_given_up():
    class Stubborn:
        def predict(self, states):
            return np.zeros(len(states), dtype=int)

    steps = run_search(Stubborn(), 200, max_steps=20, random_state=0)
    assert set(steps) == {0, 1, 20}


def test_searches_must_have_a_size():
    for sizes in ((0, 15), (5, 1)):
        with pytest.raises(ValueError, match=f"got {sizes[0]} in {sizes[1]}"):
            make_search_log(*sizes)
        with pytest.raises(ValueError, match=f"got {sizes[0]} in {sizes[1]}"):
            run_search("binary", *sizes)
    with pytest.raises(ValueError, match="at most 1,000,000 places, got 2,000,000"):
        make_search_log(1, 2_000_000)


def test_states_of_long_arrays_are_written_as_they_are():
    """A binary search stays within the known range, and halves it, however long the array."""
    log = make_search_log(1, 1_000_000, random_state=0)
    assert len(log) < 100
    parts = log["state"].str.split(":", expand=True)
    here, low, top = (parts[j].astype(int) for j in (0, 2, 3))
    assert ((low <= here) & (here <= top)).all()
    assert_array_equal(here.iloc[1:], log["action"].iloc[:-1])


def test_a_policy_for_longer_arrays_is_refused():
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent")
    policy.fit(pd.DataFrame({"state": ["x"], "action": [9], "reward": 0.0, "next_state": ["y"]}))
    with pytest.raises(ValueError, match="looks at place 9 of an array of 5"):
        run_search(policy, 20, length=5, random_state=0)
    policy.fit(pd.DataFrame({"state": ["x"], "action": [-1], "reward": 0.0, "next_state": ["y"]}))
    with pytest.raises(ValueError, match="looks at place -1 of an array of 5"):
        run_search(policy, 20, length=5, random_state=0)


def test_searcher_must_be_known():
    with pytest.raises(ValueError, match=r"one of binary, linear, random or have .* got 'fast'"):
        run_search("fast", 1)

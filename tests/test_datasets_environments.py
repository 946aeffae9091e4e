"""Logs from Gymnasium environments and from flat arrays."""

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces
from numpy.testing import assert_array_equal

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import collect_transitions, transitions_from_arrays

COLUMNS = ["reward", "terminated", "truncated"]


def test_discrete_observations_have_one_column():
    env = gymnasium.make("FrozenLake-v1")
    log = collect_transitions(env, n_episodes=200, random_state=0)
    assert list(log) == ["episode", "step", "state", "action", "next_state", *COLUMNS]
    assert log["state"].dtype == np.int64
    assert log["episode"].nunique() == 200
    pd.testing.assert_frame_equal(log, collect_transitions(env, n_episodes=200, random_state=0))
    # What was logged is possible in the environment's own model.
    for row in log.drop_duplicates(["state", "action", "next_state"]).itertuples():
        outcomes = env.unwrapped.P[row.state][row.action]
        assert any(
            (following, reward, ends) == (row.next_state, row.reward, row.terminated)
            for _, following, reward, ends in outcomes
        )


def test_boxes_have_one_column_per_number():
    log = collect_transitions(gymnasium.make("CartPole-v1"), n_episodes=3, random_state=0)
    states = [f"state_{j}" for j in range(4)]
    following = [f"next_state_{j}" for j in range(4)]
    assert list(log) == ["episode", "step", *states, "action", *following, *COLUMNS]
    inside = log.groupby("episode").cumcount(ascending=False).to_numpy()[:-1] > 0
    assert_array_equal(log[following].to_numpy()[:-1][inside], log[states].to_numpy()[1:][inside])


class Deck(gymnasium.Env):
    """Draws from a tuple space, takes two steps an episode, and is cut off or ends."""

    observation_space = spaces.Tuple([spaces.Discrete(5), spaces.MultiDiscrete([2, 2])])
    action_space = spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return (0, np.array([0, 1])), {}

    def step(self, action):
        self.steps += 1
        return (action, np.array([1, 1])), 1.0, self.steps == 2 and action == 1, self.steps == 2, {}


def test_tuples_are_flattened_and_ends_told_apart():
    log = collect_transitions(Deck(), lambda observation: 1 - observation[0], 2)
    assert_array_equal(log["state_0"], [0, 1, 0, 1])
    assert_array_equal(log["state_2"], [1, 1, 1, 1])
    assert_array_equal(log["action"], [1, 0, 1, 0])
    assert not log["terminated"].any()
    assert_array_equal(log["truncated"], [False, True, False, True])


def test_policies_play():
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    log = collect_transitions(env, n_episodes=500, random_state=0)
    policy = MarkovPolicyEstimator(gamma=0.99, handle_unknown="most_frequent").fit(log)
    played = collect_transitions(env, policy, 5, random_state=1)
    assert played["reward"].sum() == 5
    assert (played.groupby("episode").size() == 6).all()  # the shortest way
    several = [f"state_{j}" for j in range(3)]
    deck = MarkovPolicyEstimator(state=several).fit(collect_transitions(Deck(), n_episodes=50))
    assert len(collect_transitions(Deck(), deck, 2)) == 4


def test_any_number_of_episodes_but_none():
    with pytest.raises(ValueError, match="n_episodes must be at least 1, got 0"):
        collect_transitions(gymnasium.make("FrozenLake-v1"), n_episodes=0)


def test_players_may_answer_in_lists():
    class Stay:
        def predict(self, states):
            return [0 for _ in states]

    log = collect_transitions(gymnasium.make("FrozenLake-v1"), Stay(), 2, random_state=0)
    assert (log["action"] == 0).all()


def test_environments_that_are_not_discrete():
    env = gymnasium.make("CartPole-v1")
    env.action_space = spaces.Box(0, 1)
    with pytest.raises(TypeError, match="actions must be discrete, got the space Box"):
        collect_transitions(env)
    env.action_space = spaces.MultiDiscrete([2, 2])
    with pytest.raises(TypeError, match="actions must be discrete, got the space MultiDiscrete"):
        collect_transitions(env)


def test_observations_that_are_no_numbers():
    class Named(Deck):
        def reset(self, seed=None, options=None):
            return {"x": 0}, {}

    with pytest.raises(TypeError, match=r"got a dict with the keys 'x'\. Flatten it"):
        collect_transitions(Named())


FLAT = {
    "observations": [[0.0, 1.0], [1.0, 1.0], [0.0, 2.0], [5.0, 5.0]],
    "actions": [[0], [1], [1], [0]],
    "rewards": [1, 2, 3, 4],
    "terminals": [0.0, 1.0, 0.0, 0.0],
}


def test_arrays_split_at_terminals_and_timeouts():
    table = transitions_from_arrays(**FLAT, timeouts=[False, False, True, False])
    assert_array_equal(table["episode"], [0, 0, 1, 2])
    assert_array_equal(table["step"], [0, 1, 0, 0])
    assert list(table) == [
        *["episode", "step", "state_0", "state_1", "action", "reward", "terminated"]
    ]
    policy = MarkovPolicyEstimator(state=["state_0", "state_1"]).fit(table)
    # Cut off at the timeout, and unfinished at the end: what followed is unknown.
    assert (policy.n_transitions_, policy.n_truncated_, policy.n_episodes_) == (2, 2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": []}, "observations hold no steps"),
        ({"rewards": [1, 2]}, r"rewards has shape \(2,\), expected \(4,\)"),
        ({"actions": np.zeros((4, 2))}, r"actions has shape \(4, 2\), expected \(4,\)"),
        ({"terminals": [0, 2, 0, 0]}, r"terminals must be booleans or 0 and 1, got .*2"),
        ({"timeouts": [0.5, 0, 0, 0]}, r"timeouts must be booleans or 0 and 1, got .*0.5"),
    ],
)
def test_bad_arrays(change, message):
    with pytest.raises(ValueError, match=message):
        transitions_from_arrays(**{**FLAT, **change})

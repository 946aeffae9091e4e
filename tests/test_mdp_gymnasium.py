import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from numpy.testing import assert_allclose, assert_array_equal

from skmdp.mdp import MDP
from skmdp.solvers import modified_policy_iteration


class Tiny(gymnasium.Env):
    """An environment of any table and spaces."""

    def __init__(self, table, n_states=2, n_actions=2, **parts):
        self.P = table
        self.observation_space = Discrete(n_states)
        self.action_space = Discrete(n_actions)
        vars(self).update(parts)


TABLE = {
    0: {0: [(0.5, 0, 1.0, False), (0.5, 1, 3.0, True)], 1: [(1.0, 1, 7.0, False)]},
    1: {0: [(0.25, 0, 4.0, False), (0.75, 0, 0.0, False)], 1: []},
}


def test_a_table_is_read():
    mdp = MDP.from_gymnasium(Tiny(TABLE))
    assert_array_equal(mdp.transitions.toarray(), [[0.5, 0], [0, 1], [1, 0]])
    assert_array_equal(mdp.rewards, [2, 7, 1])
    assert_array_equal(mdp.pair_state, [0, 0, 1])
    assert_array_equal(mdp.pair_action, [0, 1, 0])
    assert (mdp.n_states, mdp.n_actions, mdp.initial_distribution) == (2, 2, None)


def renumbered(table, state, action):
    return {
        s + state: {
            a + action: [(p, t + state, r, end) for p, t, r, end in outcomes]
            for a, outcomes in actions.items()
        }
        for s, actions in table.items()
    }


@pytest.mark.parametrize("is_table_shifted", [True, False])
def test_spaces_may_start_at_another_number(is_table_shifted):
    """Codes count from the first one, however the table is numbered."""
    table = renumbered(TABLE, 10, 3) if is_table_shifted else TABLE
    spaces = {"observation_space": Discrete(2, start=10), "action_space": Discrete(2, start=3)}
    mdp, plain = (MDP.from_gymnasium(env) for env in (Tiny(table, **spaces), Tiny(TABLE)))
    assert_array_equal(mdp.transitions.toarray(), plain.transitions.toarray())
    assert_array_equal(mdp.pair_action, plain.pair_action)
    assert mdp.n_states == mdp.n_actions == 2


def test_a_table_may_be_of_lists_and_spaces_need_not_be_discrete():
    lists = [list(actions.values()) for actions in TABLE.values()]
    space = {"observation_space": Box(0, 1), "action_space": None}
    mdp = MDP.from_gymnasium(Tiny(lists, **space))
    assert_array_equal(mdp.rewards, [2, 7, 1])
    assert (mdp.n_states, mdp.n_actions) == (2, 2)


def test_an_end_in_a_state_without_actions_is_a_next_state():
    """It ends there anyway, so the state is kept as one that is reached."""
    mdp = MDP.from_gymnasium(Tiny({0: {0: [(0.5, 1, 1.0, True), (0.5, 2, 1.0, False)]}, 1: {}}, 3))
    assert_array_equal(mdp.transitions.toarray(), [[0, 0.5, 0.5]])


@pytest.mark.parametrize("n", [3, 7, 10, 49])
def test_rewards_that_are_all_the_same_are_not_rounded(n):
    """Nor are n-ths of one, which may not sum to one, an end."""
    outcomes = [(1 / n, t, 0.1, False) for t in range(n)]
    mdp = MDP.from_gymnasium(Tiny({s: {0: outcomes} for s in range(n)}, n, 1))
    assert_array_equal(mdp.rewards, 0.1)
    assert not mdp.ends.any()


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_toy_text_is_worth_its_known_value(is_wrapped):
    env = gymnasium.make("FrozenLake-v1")
    mdp = MDP.from_gymnasium(env if is_wrapped else env.unwrapped)
    solution = modified_policy_iteration(mdp, 1.0)
    assert_allclose(mdp.initial_distribution @ solution.state_values, 14 / 17, atol=1e-8)


def test_environments_without_a_table_are_told_the_way():
    with pytest.raises(TypeError, match=r"CartPoleEnv has no table P .*collect_transitions\(env\)"):
        MDP.from_gymnasium(gymnasium.make("CartPole-v1"))


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({0: {0: [(1.0, 0, 0.0)]}}, ValueError, r"got \(1.0, 0, 0.0\) for action 0 in state 0"),
        ({0: {}}, ValueError, "holds no outcomes"),
        (
            {"a": {0: [(1.0, "a", 0.0, True)]}},
            ValueError,
            "must be numbered, .* action 0 in state 'a'",
        ),
        (
            {0: {0: [(1.0, 2, 0.0, True)]}},
            ValueError,
            "P speaks of state 2, but .* 2 states from 0",
        ),
        ({0: {2: [(1.0, 0, 0.0, True)]}}, ValueError, "P speaks of action 2"),
        ({-1: {0: [(1.0, 0, 0.0, True)]}}, ValueError, "P speaks of state -1"),
        (
            {1: {0: [(0.75, 0, 0.0, True)]}},
            ValueError,
            "action 0 in state 1 sum to 0.75, not to one",
        ),
        (
            {1: {1: [(1.5, 0, 0.0, False)]}},
            ValueError,
            "got 1.5 for next state 0 .* action 1 in state",
        ),
        (
            {1: {1: [(np.nan, 0, 0, False)]}},
            ValueError,
            r"must be finite; got \(nan, 0, 0, False\) for action 1 in",
        ),
        (
            {1: {1: [(1.0, 0, np.inf, False)]}},
            ValueError,
            r"got \(1.0, 0, inf, False\) for action 1 in state 1",
        ),
    ],
)
def test_tables_that_are_wrong_are_refused(table, error, message):
    with pytest.raises(error, match=message):
        MDP.from_gymnasium(Tiny(table))

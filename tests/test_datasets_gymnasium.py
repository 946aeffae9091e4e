import pickle
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, process, random_process

from skmdp.datasets import collect_transitions, make_garnet, to_gymnasium
from skmdp.mdp import MDP
from skmdp.solvers import modified_policy_iteration

PROCESSES = st.builds(
    random_process,
    st.integers(0, 10_000),
    n_states=st.sampled_from([1, 3, 8]),
    end=st.sampled_from([0.0, 0.2, 1.0]),
)


def assert_equal(one, other):
    """The same process to the last bit."""
    assert_array_equal(one.transitions.toarray(), other.transitions.toarray())
    for part in ("rewards", "pair_state", "pair_action", "initial_distribution"):
        assert_array_equal(getattr(one, part), getattr(other, part))
    assert (one.n_states, one.n_actions) == (other.n_states, other.n_actions)


@given(PROCESSES, st.booleans())
def test_a_process_is_the_same_after_being_an_environment(mdp, has_starts):
    if has_starts:
        starts = np.random.default_rng(0).dirichlet(np.ones(mdp.n_states))
        mdp = mdp.unchecked(initial_distribution=starts)
    assert_equal(MDP.from_gymnasium(to_gymnasium(mdp)), mdp)


def test_ends_of_both_kinds_survive():
    """State 1 has no actions; action 1 in state 0 just ends, and never leads to state 2."""
    rows = {(0, 0): (0.1, {0: 1 / 3, 1: 1 / 3}), (0, 1): (-2.0, {}), (2, 1): (0.0, {2: 0.0})}
    mdp = process(rows, n_states=3)
    env = to_gymnasium(mdp)
    third = pytest.approx(1 / 3)
    assert env.P[0][0] == [(third, 0, 0.1, False), (third, 1, 0.1, True), (third, 0, 0.1, True)]
    assert env.P[0][1] == [(1.0, 0, -2.0, True)]
    assert env.P[1] == {}
    assert_equal(MDP.from_gymnasium(env), mdp)


def test_hubs_are_written_out():
    mdp = random_process(1, n_states=4, end=0.1, uniform=True, shared=True)
    back = MDP.from_gymnasium(to_gymnasium(mdp))
    assert_allclose(back.transitions.toarray(), dense(mdp), atol=1e-15)
    assert_allclose(back.rewards, mdp.rewards)


def test_gymnasium_finds_no_fault():
    lake = MDP.from_gymnasium(gymnasium.make("FrozenLake-v1"))
    for mdp in (make_garnet(20, 3, 4, random_state=0), lake, process({(0, 0): (1.0, {1: 1.0})})):
        check_env(to_gymnasium(mdp), skip_render_check=True)


def test_episodes_are_drawn_from_the_process():
    """Frequencies of next states and ends, of a policy that takes every action."""
    mdp = random_process(2, n_states=4, n_actions=1, end=0.2)
    log = collect_transitions(to_gymnasium(mdp), n_episodes=2000, random_state=0)
    n = np.bincount(log["state"], minlength=4)
    assert_allclose(log["reward"], mdp.rewards[log["state"]])
    assert_allclose(np.bincount(log["state"], log["terminated"]) / n, 0.2, atol=0.02)
    went_on = log[~log["terminated"]]
    shares = np.zeros((4, 4))
    np.add.at(shares, (went_on["state"], went_on["next_state"]), 1 / n[went_on["state"]])
    assert_allclose(shares, dense(mdp), atol=0.03)


def test_episodes_start_where_they_should():
    mdp = process({(0, 0): (1.0, {}), (2, 0): (1.0, {})}, n_states=3)
    for starts, wanted in ((None, {0, 2}), ([0.0, 0.0, 1.0], {2}), ([0.0, 1.0, 0.0], {1})):
        if starts is not None:
            mdp = mdp.unchecked(initial_distribution=np.array(starts))
        env = to_gymnasium(mdp)
        assert {env.reset(seed=seed)[0] for seed in range(20)} == wanted
    assert env.step(0) == (1, 0.0, True, False, {"action_mask": [0]})  # it had ended before


def test_a_policy_earns_what_the_solver_promises():
    mdp = make_garnet(30, 3, 3, random_state=1)
    solution = modified_policy_iteration(mdp, 1.0)
    actions = solution.policy
    env = to_gymnasium(mdp)
    log = collect_transitions(env, lambda state: actions[state], 500, random_state=0)
    # A garnet pays 1 at its goal, so with -1 a step the total is the length.
    steps = modified_policy_iteration(
        mdp.restrict(mdp.first_pairs + actions).unchecked(rewards=np.ones(30)), 1.0
    )
    error = log.groupby("episode").size().std() / np.sqrt(500)
    assert abs(len(log) / 500 - steps.state_values[0]) < 4 * error


def test_actions_that_are_not_admissible_are_refused():
    env = to_gymnasium(process({(0, 1): (1.0, {0: 1.0}), (1, 0): (0.0, {0: 1.0})}))
    with pytest.raises(ResetNeeded, match="Call reset"):
        env.step(0)
    env.reset(seed=0)
    state, _, _, _, info = env.step(env.action_space.sample(env.reset(seed=0)[1]["action_mask"]))
    assert state == 0
    assert_array_equal(info["action_mask"], [0, 1])
    for action in (0, 2):
        with pytest.raises(ValueError, match=f"Action {action} is not admissible in state 0"):
            env.step(action)


def test_the_last_bit_of_a_sum_is_no_end():
    """Ten tenths added up are less than one, and less than the highest number that is drawn."""
    n = 10
    mdp = process({(s, 0): (0.0, dict.fromkeys(range(n), 0.1)) for s in range(n)})
    env = to_gymnasium(mdp)
    env.reset(seed=0)
    env.np_random = SimpleNamespace(random=lambda: 1 - 2**-53)
    assert env.step(0)[:3] == (n - 1, 0.0, False)


def test_a_state_without_actions_ends_the_episode():
    env = to_gymnasium(process({(0, 0): (3.0, {1: 1.0})}, n_states=2))
    env.reset(seed=0)
    assert env.step(0)[:4] == (1, 3.0, True, False)


def test_environments_are_pickled():
    env = to_gymnasium(make_garnet(5, 2, 2, random_state=0))
    assert pickle.loads(pickle.dumps(env)).P == env.P


def test_without_gymnasium_the_way_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, "skmdp.datasets._process_env", raising=False)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ImportError, match="not installed: pip install gymnasium"):
        to_gymnasium(make_garnet(5, 2, 2, random_state=0))
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "skmdp.datasets._process_env", raising=False)
    monkeypatch.setitem(sys.modules, "functools", None)  # not what it needs Gymnasium for
    with pytest.raises(ModuleNotFoundError, match="functools"):
        to_gymnasium(make_garnet(5, 2, 2, random_state=0))

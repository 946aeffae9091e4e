"""Rewards that go up and down faster than blocks of time, in each state at times of its own."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skmdp import MarkovPolicyCV
from skmdp._evaluation.credibility import Residuals
from skmdp._evaluation.neighbors import Neighbors
from skmdp.metrics import compare_policies, evaluate_policy

pytestmark = pytest.mark.filterwarnings("ignore:.*would last longer than any:UserWarning")


def seasons(
    seed,
    n_cycles,
    *,
    n_states=20,
    n_rows=100,
    share=0.4,
    height=1.0,
    better=0.0,
    n_steps=1,
    regular=False,
):
    """A log in which the new action is taken more often while times are good in the state.

    By ``share`` more or less than every other time. States come at random, ``n_rows`` times each,
    or ``regular`` in turn.
    """
    rng = np.random.default_rng(seed)
    state = np.tile(np.arange(n_states), n_rows)
    state = state if regular else rng.permutation(state)
    n = len(state)
    begins = rng.random(n_states)[state]
    wave = np.sin(2 * np.pi * (n_cycles * np.arange(n) / n + begins))
    is_new = rng.random(n) < 0.5 + share * wave
    is_last = np.arange(n) % n_steps == n_steps - 1
    return pd.DataFrame(
        {
            "episode": np.arange(n) // n_steps,
            "state": state,
            "next_state": np.where(is_last, np.nan, np.roll(state, -1)),
            "action": np.where(is_new, "new", "old"),
            "reward": height * wave + better * is_new + rng.normal(size=n),
            "terminated": is_last,
        }
    )


def judge(log, method="dm"):
    return evaluate_policy("new", log, methods=method)


def looks_better(found):
    return found.to_frame()["difference_lower"].iloc[0] > 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("n_cycles", "options"),
    [
        (8, {}),
        (8, {"share": 0.3}),
        (16, {}),
        (16, {"share": 0.3}),
        (8, {"regular": True}),
        (8, {"n_steps": 5}),
        (16, {"n_states": 50, "share": 0.3}),
        (2, {"n_states": 50, "n_rows": 20}),
        (4, {"n_states": 50, "n_rows": 20}),
    ],
)
def test_fast_ups_and_downs_of_states_are_not_taken_for_a_gain(n_cycles, options):
    found = [judge(seasons(seed, n_cycles, **options)) for seed in range(4)]
    assert all(looks_better(one) for one in found)
    assert not any(one.is_better for one in found)


@pytest.mark.parametrize(("n_cycles", "n_states", "n_rows"), [(16, 20, 100), (4, 50, 20)])
def test_what_is_worse_is_not_said_to_be_better(n_cycles, n_states, n_rows):
    options = {"n_states": n_states, "n_rows": n_rows, "better": -0.2}
    logs = [seasons(seed, n_cycles, **options) for seed in range(3)]
    found = [judge(log) for log in logs]
    assert all(looks_better(one) for one in found)
    assert not any(one.is_better for one in found)
    table = compare_policies({"old": "old", "new": "new"}, logs[0], methods="dm")
    assert not table["is_better"].any()


def turns(seed, *, better=0.0, n_episodes=300, n_steps=6):
    """A log of records in which states pay unlike, and times turn after ten rows of the state."""
    rng = np.random.default_rng(seed)
    leads = np.array([[0.6, 0.4, 0.0], [0.1, 0.6, 0.3], [0.4, 0.0, 0.6]])
    n_met, rows = np.zeros(3, dtype=int), []
    for episode in range(n_episodes):
        state = rng.integers(3)
        for step in range(n_steps):
            good = 1 if n_met[state] % 20 < 10 else -1
            n_met[state] += 1
            is_new, to = rng.random() < 0.5 + 0.35 * good, rng.choice(3, p=leads[state])
            reward = 2.0 - state + 0.75 * good + better * is_new + rng.normal()
            following = to if step < n_steps - 1 else np.nan
            rows.append((episode, state, "new" if is_new else "old", following, reward))
            state = to
    return pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])


@pytest.mark.long
@pytest.mark.parametrize("better", [0.0, -0.2])
def test_drifts_of_rewards_are_not_lost_in_what_next_states_are_worth(better):
    found = [judge(turns(seed, better=better)) for seed in range(6)]
    assert all(looks_better(one) for one in found)
    assert not any(one.is_better for one in found)


def test_weights_of_episodes_do_not_hide_fast_ups_and_downs():
    found = [judge(seasons(seed, 16), "pdwis") for seed in range(2)]
    assert all(looks_better(one) for one in found)
    assert not any(one.is_better for one in found)


def test_what_is_better_is_found_in_spite_of_fast_ups_and_downs():
    for n_cycles in (8, 16):
        found = [judge(seasons(s, n_cycles, share=0.0, better=0.4)) for s in range(2)]
        assert all(one.is_better for one in found)
        found = [judge(seasons(s, n_cycles, share=0.2, height=0.5, better=0.8)) for s in range(2)]
        assert all(one.is_better for one in found)


def test_shares_that_go_up_and_down_cost_little_where_rewards_do_not():
    found = [judge(seasons(seed, 8, height=0.0)) for seed in range(8)]
    errors = [one.to_frame()["difference_standard_error"].iloc[0] for one in found]
    taken_off = np.array([one.drift_gain for one in found]) / errors
    assert np.isfinite(taken_off).all()
    assert np.count_nonzero(taken_off > 2) <= 1


def drawn(seed, n_actions, n=400, n_states=3):
    rng = np.random.default_rng(seed)
    state, action = rng.integers(n_states, size=n), rng.integers(n_actions, size=n)
    parent = np.repeat(np.arange(n_states), n_actions)
    return rng, state, n_actions * state + action, parent


@pytest.mark.parametrize("n_actions", [2, 5])
def test_what_neighbors_tell_is_a_regression_of_differences(n_actions):
    rng, state, pair, parent = drawn(0, n_actions)
    rewards = rng.normal(size=400)
    residuals = Residuals.of_outcomes(rewards, pair, parent, None)
    weights = rng.normal(size=len(parent))[pair]
    time = 2 * np.arange(400)  # of rows of one state, that is
    look = Neighbors.of(residuals, state, time)

    columns = np.eye(len(parent))
    differences = columns[pair[look.after]] - columns[pair[look.before]]
    alpha = np.linalg.lstsq(differences, rewards[look.after] - rewards[look.before], None)[0]
    n_of_states = np.bincount(state)
    moved = weights - (np.bincount(state, weights) / n_of_states)[state]
    expected = moved @ rewards - moved @ alpha[pair]
    assert_allclose(look.due(weights) @ rewards, expected, rtol=1e-6)
    # What actions are worth is not due to time.
    assert_allclose(look.due(weights) @ rng.normal(size=len(parent))[pair], 0, atol=1e-6)


def test_neighbors_may_be_counted():
    """Then the regression weighs differences of means by how many rows they are of."""
    rng, state, pair, parent = drawn(2, 2)
    n_rows = rng.integers(1, 4, size=400).astype(float)
    rewards = rng.normal(size=400)
    residuals = Residuals.of_outcomes(rewards, pair, parent, n_rows)
    weights = rng.normal(size=len(parent))[pair]
    look = Neighbors.of(residuals, state, 2 * np.arange(400))

    columns = np.eye(len(parent))
    n_before, n_after = n_rows[look.before], n_rows[look.after]
    weight = np.sqrt(n_before * n_after / (n_before + n_after))
    differences = (columns[pair[look.after]] - columns[pair[look.before]]) * weight[:, np.newaxis]
    told = weight * (rewards[look.after] - rewards[look.before])
    alpha = np.linalg.lstsq(differences, told, None)[0]
    mean = np.bincount(state, n_rows * weights) / np.bincount(state, n_rows)
    expected = n_rows * (weights - mean[state]) @ (rewards - alpha[pair])
    assert_allclose(n_rows * look.due(weights) @ rewards, expected, rtol=1e-6)


def test_neighbors_are_close_and_of_one_state():
    rng, state, pair, parent = drawn(1, 2)
    residuals = Residuals.of_outcomes(rng.normal(size=400), pair, parent, None)
    one_of = np.where(state == 2, -1, state)
    look = Neighbors.of(residuals, one_of, np.arange(400))
    np.testing.assert_array_equal(state[look.before], state[look.after])
    assert (pair[look.before] != pair[look.after]).all()
    assert set(state[look.before]) == {0, 1}
    for one in (0, 1):
        gaps = np.diff(np.flatnonzero(state == one))
        found = (look.after - look.before)[state[look.before] == one]
        assert (found > 0).all()
        assert found.max() <= gaps.mean()


def test_actions_that_never_meet_are_no_neighbors():
    pair = np.repeat([0, 1], 30)
    residuals = Residuals.of_outcomes(np.arange(60.0), pair, np.zeros(2, dtype=int), None)
    look = Neighbors.of(residuals, np.zeros(60, dtype=int), np.repeat([0, 90], 30))
    assert not len(look.before)
    assert not look.due(pair.astype(float)).any()


def test_times_that_are_good_in_some_places_only_are_no_gain():
    """Patients enrol one after the other, and visits follow the season: no block of either sees it.

    Or all share their dates, and each date is good or bad for all.
    """

    def draw(seed, n_episodes, n_steps, season, share):
        rng = np.random.default_rng(seed)
        episode, place = np.divmod(np.arange(n_episodes * n_steps), n_steps)
        time = season(rng, episode / n_episodes, place)
        is_new = rng.random(len(time)) < share(time)
        state = rng.choice(list("ABC"), len(time))
        return pd.DataFrame(
            {
                "episode": episode,
                "step": place,
                "state": state,
                "next_state": np.append(state[1:], "A"),
                "action": np.where(is_new, "new", "old"),
                "reward": time - 0.2 * is_new + 0.5 * rng.normal(size=len(time)),
            }
        )

    def enrolled(rng, share, place):
        return np.sin(2 * np.pi * (6 * share + place / 12))

    def quarters(rng, share, place):
        return 1.0 * ((place // 3 % 2 == 1) ^ (share >= 0.5))

    def shocks(rng, share, place):
        return rng.normal(size=60)[place]

    designs = [
        (200, 12, enrolled, lambda time: 0.5 + 0.4 * time),
        (200, 12, quarters, lambda time: 0.2 + 0.6 * time),
        (200, 60, shocks, lambda time: 1 / (1 + np.exp(-2 * time))),
    ]
    for design in designs:
        found = [MarkovPolicyCV().fit(draw(seed, *design)) for seed in range(3)]
        assert any(one.gain_interval_[0] > 0 for one in found)  # so it looks
        assert not any(one.is_better_ for one in found)

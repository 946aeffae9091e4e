"""Rewards that change over the episodes, and policies that only look better by that."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skmdp import MarkovPolicyCV
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._evaluation.drift import Drift
from skmdp._evaluation.drift_in_states import DriftInStates
from skmdp._evaluation.time_blocks import time_blocks
from skmdp.metrics import compare_policies, evaluate_policy

N_LOGS = 20


def shares_of_new(n_episodes, shape):
    """How often the new action is taken in each episode."""
    t = np.arange(n_episodes) / n_episodes
    return {
        "even": np.full(n_episodes, 0.5),
        "rising": 0.2 + 0.6 * t,
        "late": 0.1 + 0.8 * (t > 0.5),
    }[shape]


def two_actions(seed, shape, drift, *, better=0.0, n_episodes=300, n_steps=3):
    """A log in which rewards rise by ``drift``, and one of two actions pays ``better`` more."""
    rng = np.random.default_rng(seed)
    episode = np.repeat(np.arange(n_episodes), n_steps)
    n = len(episode)
    t = episode / n_episodes
    is_new = rng.random(n) < shares_of_new(n_episodes, shape)[episode]
    path = rng.normal(size=(n_episodes, n_steps + 1))
    x, following = path[:, :-1].ravel(), path[:, 1:].ravel()
    rises = drift * (t > 0.5 if shape == "late" else t)
    return pd.DataFrame(
        {
            "episode": episode,
            "step": np.tile(np.arange(n_steps), n_episodes),
            "state": np.where(x > 0, "high", "low"),
            "next_state": np.where(following > 0, "high", "low"),
            "x": x,
            "next_x": following,
            "action": np.where(is_new, "new", "old"),
            "reward": rises + better * is_new + np.tanh(x) + rng.normal(size=n),
        }
    )


def judge(log, policy="new"):
    return evaluate_policy(policy, log, methods="dm")


def judge_on_measurements(log, policy="new"):
    log = log.drop(columns=["state", "next_state"])
    return evaluate_policy(policy, log, methods="fqe", columns={"state": ["x"]})


@pytest.mark.long
@pytest.mark.parametrize("look", [judge, judge_on_measurements])
@pytest.mark.parametrize("shape", ["rising", "late"])
def test_a_drift_is_not_taken_for_a_gain(look, shape):
    found = [look(two_actions(seed, shape, drift=1.5)) for seed in range(N_LOGS // 2)]
    gains = [one.to_frame()["difference_lower"].iloc[0] for one in found]
    assert np.mean(np.array(gains) > 0) > 0.5  # so it looks
    assert sum(one.is_better for one in found) <= 1
    doubted = [one for one, gain in zip(found, gains, strict=True) if gain > 0]
    assert any("rewards or transitions may change over time" in one.conclusion for one in doubted)


@pytest.mark.long
@pytest.mark.parametrize("shape", ["rising", "late"])
def test_cross_validation_is_not_taken_in(shape):
    logs = [two_actions(100 + seed, shape, drift=2.0) for seed in range(N_LOGS)]
    found = [MarkovPolicyCV().fit(log) for log in logs]
    assert sum(one.gain_interval_[0] > 0 for one in found) > N_LOGS / 2
    assert sum(one.is_better_ for one in found) <= 1


@pytest.mark.long
@pytest.mark.parametrize("look", [judge, judge_on_measurements])
def test_what_is_better_is_found_in_spite_of_a_drift(look):
    """Where actions are taken as often early as late, a drift says nothing of them."""
    for seed in range(3):
        even = look(two_actions(seed, "even", drift=2.0, better=1.0))
        assert even.is_better
        assert even.drift_gain < 0.3
        rising = look(two_actions(seed, "rising", drift=1.0, better=1.0))
        assert rising.is_better
        assert 0.2 < rising.drift_gain < 0.7  # in truth .3 for three decisions


def half_width(found):
    row = found.to_frame().iloc[0]
    return (row["difference_upper"] - row["difference_lower"]) / 2


@pytest.mark.long
def test_where_nothing_drifts_little_is_taken_off():
    found = [judge(two_actions(seed, "rising", drift=0.0)) for seed in range(100)]
    taken_off = np.array([one.drift_gain / half_width(one) for one in found])
    assert taken_off.mean() < 0.25  # time tells a little of the action
    assert np.count_nonzero(taken_off > 1) <= 10  # 4 are expected: two looks at 2 % each
    found = [judge(two_actions(seed, "even", drift=0.0)) for seed in range(20)]
    assert np.mean([one.drift_gain / half_width(one) for one in found]) < 0.15


def test_a_comparison_tells_of_a_drift_as_well():
    log = two_actions(0, "rising", drift=1.5)
    table = compare_policies({"today": "behavior", "new": "new"}, log, methods="dm")
    assert table["drift_gain"].tolist() == [0.0, judge(log).drift_gain]
    assert not table["is_better"].any()
    truly = two_actions(0, "even", drift=1.5, better=1.0)
    table = compare_policies({"today": "behavior", "new": "new", "old": "old"}, truly, methods="dm")
    assert table["is_better"].tolist() == [False, True, False]


def test_the_log_itself_owes_nothing_to_a_drift():
    assert judge(two_actions(0, "rising", drift=3.0), "behavior").drift_gain == 0


def test_without_episodes_nothing_is_known_of_a_drift():
    log = two_actions(0, "rising", drift=3.0).drop(columns=["episode", "step"])
    found = judge(log)
    assert np.isnan(found.drift_gain)
    assert not found.is_better
    same = judge(log, "behavior")
    assert same.conclusion.endswith("chance alone; drift over time not looked for).")


def over_steps(seed, drift, *, is_even=False, better=0.0, n_episodes=100, n_steps=20):
    """Records of the same time, in the course of which rewards rise and an action spreads."""
    rng = np.random.default_rng(seed)
    step = np.tile(np.arange(n_steps), n_episodes)
    t = step / n_steps
    is_new = rng.random(len(t)) < (0.5 if is_even else 0.2 + 0.6 * t)
    path = rng.choice(["a", "b"], (n_episodes, n_steps + 1))
    return pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), n_steps),
            "step": step,
            "state": path[:, :-1].ravel(),
            "next_state": path[:, 1:].ravel(),
            "action": np.where(is_new, "new", "old"),
            "reward": drift * t + better * is_new + rng.normal(size=len(t)),
        }
    )


@pytest.mark.long
def test_a_drift_over_steps_is_not_taken_for_a_gain():
    found = [judge(over_steps(seed, drift=1.0)) for seed in range(N_LOGS)]
    looks = [one.to_frame()["difference_lower"].iloc[0] > 0 for one in found]
    assert sum(looks) > N_LOGS / 2
    assert sum(one.is_better for one in found) <= 1
    for drift, is_even in [(0.0, False), (1.0, True)]:
        truly = [over_steps(s, drift, is_even=is_even, better=0.3) for s in range(5)]
        assert all(judge(log).is_better for log in truly)


@pytest.mark.parametrize("look", [judge, judge_on_measurements])
def test_before_and_after_tell_nothing_of_an_action(look):
    """Where an action replaced another one, time is as good a reason as the action."""
    log = two_actions(0, "even", drift=0.0, better=1.0)
    log["action"] = np.where(log["episode"] < 150, "old", "new")
    log["reward"] += np.where(log["episode"] < 150, 0.0, 1.0)
    found = look(log)
    assert found.to_frame()["difference_lower"].iloc[0] > 0
    assert found.drift_gain == np.inf
    assert not found.is_better
    assert "its actions and the others were logged at different times" in found.conclusion


def test_states_that_hold_the_step_keep_actions_apart_in_time():
    """Within such a state all actions are taken at the same step, so steps say nothing."""
    log = over_steps(0, drift=1.0, better=0.5, n_episodes=300, n_steps=5)
    log["state"] = log["state"] + log["step"].astype(str)
    log["next_state"] = log["next_state"] + (log["step"] + 1).astype(str)
    found = judge(log)
    assert found.drift_gain < 0.2 * half_width(found)  # the price of looking over the episodes
    assert found.is_better


def of_some_states(seed, drifts, *, better=0.0, n_episodes=300):
    """A log in which rewards rise by so much in each state, where the new action spreads.

    Where they fall it gives way. In measurements, a state is an interval.
    """
    rng = np.random.default_rng(seed)
    episode = np.repeat(np.arange(n_episodes), 3)
    t = episode / n_episodes
    path = rng.integers(0, len(drifts), (n_episodes, 4))
    rises = np.asarray(drifts)[path[:, :-1].ravel()]
    is_new = rng.random(len(t)) < 0.5 + 0.6 * np.sign(rises) * (t - 0.5)
    return pd.DataFrame(
        {
            "episode": episode,
            "state": path[:, :-1].ravel(),
            "next_state": path[:, 1:].ravel(),
            "action": np.where(is_new, "new", "old"),
            "reward": rises * t + better * is_new + rng.normal(size=len(t)),
            "x": path[:, :-1].ravel() + rng.random(len(t)),
            "next_x": path[:, 1:].ravel() + rng.random(len(t)),
        }
    )


@pytest.mark.long
@pytest.mark.parametrize(("slope", "early"), [(False, 0.1), (False, 0.2), (True, 0.1)])
def test_jumps_of_measurements_are_not_taken_for_a_gain(slope, early):
    """Leaves are grown to fit rewards: what they leave of a jump is less than the jump."""
    found = []
    for seed in range(N_LOGS // 4):
        log = two_actions(seed, "even", drift=0.0, n_episodes=1000)
        rng, up = np.random.default_rng(seed), np.where(log["x"] > 0, 1, -1)
        t = log["episode"] / 1000
        late = t if slope else t > 0.5
        is_new = rng.random(len(log)) < 0.5 + (0.5 - early) * up * (2 * late - 1)
        reward = log["reward"] + 2 * up * late
        log = log.assign(action=np.where(is_new, "new", "old"), reward=reward)
        found.append(judge_on_measurements(log))
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    assert sum(one.is_better for one in found) <= 1


@pytest.mark.long
@pytest.mark.parametrize("drifts", [(2, 0, 0, 0), (2, -2)])
def test_drifts_of_some_measurements_are_not_taken_for_a_gain(drifts):
    found = [judge_on_measurements(of_some_states(seed, drifts)) for seed in range(N_LOGS // 2)]
    looks = [one.to_frame()["difference_lower"].iloc[0] > 0 for one in found]
    assert sum(looks) >= 2
    assert sum(one.is_better for one in found) <= 1
    truly = [judge_on_measurements(of_some_states(seed, drifts, better=1.0)) for seed in range(3)]
    assert all(one.is_better for one in truly)


def of_two_sides(seed, *, better=0.0, n_episodes=1500, n_steps=4, n_columns=6):
    """A log in which rewards rise where the first of many measurements is large, and else fall."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_episodes, n_steps + 1, n_columns))
    for step in range(1, n_steps + 1):
        x[:, step] = 0.5 * x[:, step - 1] + np.sqrt(0.75) * x[:, step]
    before, after = (one.reshape(-1, n_columns) for one in (x[:, :-1], x[:, 1:]))
    episode = np.repeat(np.arange(n_episodes), n_steps)
    t = episode / n_episodes
    good = np.where(before[:, 0] > 0.4, t, 1 - t)
    is_new = rng.random(len(t)) < 0.2 + 0.6 * good
    names = [f"x{i}" for i in range(n_columns)]
    measured = pd.DataFrame(before, columns=names).join(
        pd.DataFrame(after, columns=["next_" + name for name in names])
    )
    return names, measured.assign(
        episode=episode,
        action=np.where(is_new, "new", "old"),
        reward=good + better * is_new + rng.normal(size=len(t)),
    )


@pytest.mark.long
@pytest.mark.parametrize(("better", "n_logs"), [(0.0, 5), (0.3, 2)])
def test_drifts_on_two_sides_of_one_of_many_measurements_are_told_apart(better, n_logs):
    found = []
    for seed in range(n_logs):
        names, log = of_two_sides(seed, better=better)
        found.append(evaluate_policy("new", log, methods="fqe", columns={"state": names}))
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    n_found = sum(one.is_better for one in found)
    assert n_found <= 1 if better == 0 else n_found == n_logs


@pytest.mark.long
@pytest.mark.parametrize("drifts", [(2, 0, 0, 0), (2, 2, 0, 0, 0), (1.5, -1.5), (1.5, -1.5) * 8])
def test_drifts_of_some_states_are_not_taken_for_a_gain(drifts):
    """Those of all states together may be nothing."""
    found = [judge(of_some_states(seed, drifts)) for seed in range(N_LOGS)]
    looks = [one.to_frame()["difference_lower"].iloc[0] > 0 for one in found]
    assert sum(looks) > N_LOGS / 4
    assert sum(one.is_better for one in found) <= 2
    truly = [judge(of_some_states(seed, drifts, better=1.0)) for seed in range(3)]
    assert all(one.is_better for one in truly)


@pytest.mark.long
def test_drifts_of_states_with_few_rows_are_not_taken_for_a_gain():
    """Each has 15 rows: those where actions came and went alike are looked at together."""
    logs = [of_some_states(seed, (1, -1) * 200, n_episodes=2000) for seed in range(8)]
    found = [judge(log) for log in logs]
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    assert not any(one.is_better for one in found)
    truly = of_some_states(1, (1, -1) * 200, n_episodes=2000, better=1.0)
    assert judge(truly).is_better


def test_before_and_after_tell_nothing_in_one_state():
    log = of_some_states(0, (0, 0, 0), better=1.0)
    assert judge(log).is_better
    is_first = log["state"] == 0
    log.loc[is_first, "action"] = np.where(log["episode"] < 150, "old", "new")[is_first]
    assert judge(log).drift_gain == np.inf


@pytest.mark.parametrize(("n_episodes", "early"), [(25, 0.43), (40, 0.43), (300, 0.43), (300, 0.9)])
def test_an_action_that_followed_another_within_a_block_is_told_by_time(n_episodes, early):
    """There the block holds both, one while rewards were low, the other while they were high."""
    for seed in range(5):
        log = of_some_states(seed, (0, 0), n_episodes=n_episodes)
        t = log["episode"] / n_episodes
        log["action"] = np.where((log["state"] == 0) & (t > early), "new", log["action"])
        log.loc[(log["state"] == 0) & (t <= early), "action"] = "old"
        log["reward"] += 4.0 * ((log["state"] == 0) & (t > early))
        assert judge(log).drift_gain == np.inf


def test_what_is_due_to_drifts_of_states_is_that_of_a_regression():
    """With columns for each pair, and for each state and block."""
    rng = np.random.default_rng(4)
    n, n_states = 600, 3
    state, action = rng.integers(0, n_states, n), rng.integers(0, 2, n)
    episode = np.arange(n) // 3
    pair = 2 * state + action
    rewards = rng.normal(size=n) + episode / 50 * state
    parent = np.repeat(np.arange(n_states), 2)
    residuals = Residuals.of_outcomes(rewards, pair, parent, None)
    block = episode // 10
    look = DriftInStates.of(residuals, block, episode)
    weights = np.where(action == 1, 1.0, -1.0) / np.bincount(pair)[pair]
    both = Outcomes(weights, residuals), Outcomes(0 * weights, residuals)

    columns = np.hstack([np.eye(2 * n_states)[pair], np.eye(look.cell.max() + 1)[look.cell]])
    least_squares = np.linalg.lstsq(columns, rewards, rcond=None)[0]
    adjusted = least_squares[1 : 2 * n_states : 2] - least_squares[: 2 * n_states : 2]
    due = weights @ rewards - adjusted.sum()
    assert abs(due) > 0.01
    # On top of that is what the error grows by.
    assert 0 <= look.part_of(*both) - max(due, 0) < 0.2
    assert 0 <= look.part_of(*both[::-1]) - max(-due, 0) < 0.2
    _, of_cells = np.unique(look.cell, return_counts=True)
    assert len(of_cells) > 15 * n_states
    assert of_cells.max() < 2 * of_cells.mean()


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_what_a_fit_hides_of_a_drift_is_given_back(share):
    """Residuals of which a fit took an even part tell what the whole ones tell."""
    rng = np.random.default_rng(5)
    episode, state = np.arange(400), rng.integers(0, 3, 400)
    is_new = rng.random(400) < 0.2 + 0.6 * episode / 400
    group = 2 * state + is_new
    rewards = np.array([1.0, -1.0, 2.0])[state] * episode / 100 + rng.normal(size=400)
    whole = Residuals.of_outcomes(rewards, group, np.repeat(np.arange(3), 2), None)
    fitted = Residuals.of_outcomes(share * rewards, group, whole.parent, None)
    moved, nothing = (Outcomes(w, whole) for w in (1.0 * is_new, np.zeros(400)))
    block = episode // 20
    expected = DriftInStates.of(whole, block, episode).part_of(moved, nothing)
    found = DriftInStates.of(fitted, block, episode, whole=whole.amounts).part_of(moved, nothing)
    assert expected > 0
    assert_allclose(found, expected, rtol=1e-9)


def test_states_with_few_rows_have_no_drift_of_their_own():
    n = 38
    state = np.arange(n) % 2
    residuals = Residuals.of_outcomes(np.arange(n) + 0.0, state, np.arange(2), None)
    look = DriftInStates.of(residuals, np.arange(n), np.arange(n))
    assert (look.cell < 0).all()
    moved = Outcomes(np.arange(n) + 0.0, residuals)
    assert look.part_of(moved, Outcomes(np.zeros(n), residuals)) == 0


def drift_of(rewards, group, episode, *, steps=False):
    """The drift of rewards in groups that are actions of one state."""
    parent = np.zeros(int(group.max()) + 1, dtype=int)
    residuals = Residuals.of_outcomes(rewards, group, parent, None)
    ((by_episodes,), (by_places,)) = time_blocks(episode)
    block = (by_places if steps else by_episodes).of_all
    return Drift.of(residuals, np.zeros(len(group), dtype=int), block, episode)


def test_two_way_effects_are_found_exactly():
    """Of rewards that are the sum of a group's and a block's, those of the blocks come back."""
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(200), 3)
    group = rng.integers(0, 5, 600)
    block = episode // 10
    of_group, of_block = rng.normal(size=5), rng.normal(size=20)
    found = drift_of(of_group[group] + of_block[block], group, episode)
    np.testing.assert_array_equal(found.block, block)
    assert_allclose(found.effects, of_block - of_block.mean(), rtol=1e-9)


def test_steps_are_blocks_of_as_many_rows():
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(200), 3)
    group = rng.integers(0, 5, 600)
    of_step = np.array([0.0, 1.0, 5.0])
    found = drift_of(rng.normal(size=5)[group] + np.tile(of_step, 200), group, episode, steps=True)
    np.testing.assert_array_equal(found.block, np.tile(np.arange(3), 200))
    assert_allclose(found.effects, of_step - 2, rtol=1e-9)


def test_what_a_drift_accounts_for_is_the_sum_over_rows():
    rng = np.random.default_rng(1)
    episode = np.repeat(np.arange(200), 3)
    group = rng.integers(0, 5, 600)
    of_block = np.linspace(-1, 1, 20)
    rewards = rng.normal(size=5)[group] + of_block[episode // 10]
    drift = drift_of(rewards, group, episode)
    residuals = Residuals.of_outcomes(rewards, group, np.zeros(5, dtype=int), None)
    early, late = (Outcomes(1.0 * part, residuals) for part in (episode < 100, episode >= 100))
    due = 300 * (of_block[10:].mean() - of_block[:10].mean())
    assert drift.part_of(late, early, must_tell=False) >= due
    assert drift.part_of(late, early, must_tell=False) < 1.5 * due
    assert drift.part_of(early, late) == 0  # then it is the gain that is too small
    assert drift.part_of(late, late) == 0


@pytest.mark.parametrize("n_episodes", [1, 2, 19])
def test_few_episodes_tell_of_no_drift(n_episodes):
    rng = np.random.default_rng(2)
    found = drift_of(
        np.arange(n_episodes) + 0.0, rng.integers(0, 2, n_episodes), np.arange(n_episodes)
    )
    assert not found.effects.any()


def test_rows_that_are_alone_tell_of_no_drift():
    n = 100
    assert not drift_of(np.arange(n) + 0.0, np.arange(n), np.arange(n)).effects.any()
    constant = drift_of(np.ones(n), np.zeros(n, dtype=int), np.arange(n))
    assert not constant.effects.any()

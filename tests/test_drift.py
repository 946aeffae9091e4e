"""Whether the world has changed: what is planted is found, and nothing where nothing was."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import fisher_exact
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import drift
from skmdp.preprocessing import StateEncoder

N_STATES, N_ACTIONS = 5, 2


class World:
    """A process among a few states; rewards of three kinds: settled, normal, and rare but large."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.odds = rng.dirichlet(np.full(N_STATES, 0.5), size=(N_STATES, N_ACTIONS))
        self.pays = rng.normal(size=(N_STATES, N_ACTIONS))
        self.kind = rng.integers(3, size=(N_STATES, N_ACTIONS))

    def log(self, n_episodes, seed, n_steps=10):
        rng = np.random.default_rng(seed)
        state, parts = rng.integers(N_STATES, size=n_episodes), []
        for step in range(n_steps):
            action = rng.integers(N_ACTIONS, size=n_episodes)
            below = rng.uniform(size=(n_episodes, 1)) > np.cumsum(self.odds[state, action], axis=1)
            following = np.minimum(below.sum(axis=1), N_STATES - 1)
            kind = self.kind[state, action]
            chance = [0 * state, rng.normal(size=n_episodes), 50 * (rng.random(n_episodes) < 0.01)]
            reward = self.pays[state, action] + np.choose(kind, chance)
            columns = {"state": state, "action": action, "next_state": following, "reward": reward}
            parts.append(pd.DataFrame(columns).assign(episode=range(n_episodes), step=step))
            state = following
        return pd.concat(parts).sort_values(["episode", "step"], ignore_index=True)


@cache
def unchanged(seed, n_before, n_now):
    """Two logs of one world, drawn once: not to be changed."""
    world = World(seed)
    return world.log(n_before, 1000 + seed), world.log(n_now, 2000 + seed)


def fit(log, **options):
    return MarkovPolicyEstimator(gamma=0.9, max_iter=10, tol=1.0, **options).fit(log)


@pytest.mark.long
@pytest.mark.parametrize(("n_before", "n_now"), [(60, 60), (300, 15)])
@pytest.mark.parametrize("pessimism", [0, 0.1])
def test_unchanged_worlds_raise_at_most_as_many_alarms_as_said(n_before, n_now, pessimism):
    alarms = 0
    for seed in range(50):
        before, now = unchanged(seed, n_before, n_now)
        policy = fit(before, pessimism=pessimism)
        alarms += drift(policy, now, alpha=0.2)["has_changed"].any()
    assert alarms <= 10  # of 50 at a level of 20 %; the tests are cautious, so there are fewer


@pytest.mark.parametrize("seed", range(3))
def test_a_transition_that_changed_is_found_and_nothing_else(seed):
    world = World(seed)
    policy = fit(world.log(200, 10 + seed))
    world.odds[2, 1] = np.roll(world.odds[2, 1], 1)
    table = drift(policy, world.log(200, 20 + seed))
    found = table[table["has_changed"]]
    assert list(zip(found["state"], found["action"], strict=True)) == [(2, 1)]
    assert found["p_next_state"][0] < 1e-6 < found["p_reward"][0]
    assert abs(found["share_now"][0] - found["share_before"][0]) > 0.1


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("pessimism", [0, 0.1])
def test_a_reward_that_changed_is_found(kind, pessimism):
    world = World(0)
    world.kind[:] = kind
    policy = fit(world.log(200, 1), pessimism=pessimism)
    world.pays[3, 0] += 1.0
    table = drift(policy, world.log(200, 2))
    found = table[table["has_changed"]]
    assert list(zip(found["state"], found["action"], strict=True)) == [(3, 0)]
    assert found["reward_now"][0] - found["reward_before"][0] == pytest.approx(1, abs=0.4)


def test_spread_by_pair_finds_what_that_by_state_cannot():
    """A settled price changed in a state where another action pays by chance."""
    n = 40
    log = pd.DataFrame(
        {"state": "shop", "action": np.resize(["buy", "bet"], n), "next_state": None}
    )
    bets = np.random.default_rng(0).normal(scale=20, size=n)
    before, now = (
        log.assign(reward=np.where(log["action"] == "bet", bets, price)) for price in (5.0, 5.5)
    )
    p_by_state, p_by_pair = (
        drift(fit(before, pessimism=beta), now).set_index("action")["p_reward"]["buy"]
        for beta in (0, 0.1)
    )
    assert p_by_pair < 1e-6 < 0.05 < p_by_state


def test_figures_are_those_of_both_logs():
    world = World(0)
    before, now = world.log(30, 1), world.log(20, 2)
    table = drift(fit(before), now)
    assert table["p_value"].is_monotonic_increasing
    means = [
        log.groupby(["state", "action"])["reward"].agg(["size", "mean"]) for log in (before, now)
    ]
    for row in table.itertuples():
        for figures, n, mean in zip(
            means, (row.rows_before, row.rows_now), (row.reward_before, row.reward_now), strict=True
        ):
            assert figures["size"][row.state, row.action] == n
            assert figures["mean"][row.state, row.action] == pytest.approx(mean)
        counts = [
            Counter(log["next_state"][(log["state"] == row.state) & (log["action"] == row.action)])
            for log in (before, now)
        ]
        p_values = {}
        for following in counts[0] | counts[1]:
            cells = [[one[following], one.total() - one[following]] for one in counts]
            tails = [fisher_exact(cells, side)[1] for side in ("less", "greater")]
            p_values[following] = min(1.0, 2 * min(tails))
        n_tests = 1 if len(p_values) == 2 else len(p_values)
        assert row.p_next_state == pytest.approx(min(1.0, n_tests * min(p_values.values())))
        assert p_values[row.next_state] == pytest.approx(min(p_values.values()))
        assert row.share_before == counts[0][row.next_state] / counts[0].total()
        assert row.share_now == counts[1][row.next_state] / counts[1].total()


def test_pairs_and_labels_of_one_log_only_are_left_out():
    before = pd.DataFrame({"state": list("aab"), "action": [1, 2, 1], "next_state": list("bca")})
    now = pd.DataFrame({"state": list("abd"), "action": [1, 2, 1], "next_state": list("zab")})
    table = drift(fit(before.assign(reward=0.0)), now.assign(reward=0.0))
    assert list(zip(table["state"], table["action"], strict=True)) == [("a", 1)]
    assert not table["has_changed"].any()
    with pytest.warns(
        UserWarning, match=r"nothing can be compared.*1 in state 'a', in X 1 in"
    ) as w:
        nothing = drift(fit(before.assign(reward=0.0)), now.assign(reward=0.0, state="q"))
    assert w[0].filename == __file__
    assert len(nothing) == 0
    assert list(nothing.columns) == list(table.columns)


def test_an_end_is_a_next_state():
    log = pd.DataFrame({"state": "a", "action": 1, "next_state": ["a"] * 30, "reward": 0.0})
    now = log.assign(next_state=[None] * 30)
    row = drift(fit(log), now).iloc[0]
    assert (row["next_state"], row["has_changed"]) in [(None, True), ("a", True)]
    other = drift(fit(now.assign(state="a", next_state=[None] * 29 + ["a"])), now).iloc[0]
    assert not other["has_changed"]


def test_a_log_without_rewards_is_tested_for_its_transitions():
    log = World(0).log(50, 1).drop(columns="reward")
    table = drift(fit(log, reward=None), World(0).log(50, 2))
    assert table[["p_reward", "reward_before", "reward_now"]].isna().all().all()
    assert not table["has_changed"].any()


def test_batches_are_compared_as_they_were_added_up():
    world = World(0)
    first, second, now = world.log(40, 1), world.log(30, 2), world.log(50, 3)
    streamed = MarkovPolicyEstimator().partial_fit(first).partial_fit(second)
    second = second.assign(episode=second["episode"] + 40)
    whole = MarkovPolicyEstimator().fit(pd.concat([first, second]))
    pd.testing.assert_frame_equal(drift(streamed, now), drift(whole, now))


def test_a_policy_that_forgot_is_compared_with_what_it_remembers():
    world = World(0)
    old = world.log(100, 1)
    world.pays += 1.0
    new = world.log(100, 2)
    policy = MarkovPolicyEstimator().partial_fit(old)
    assert drift(policy, new)["has_changed"].any()
    for seed in range(3, 7):
        policy.partial_fit(world.log(100, seed), forget=0.1)
    assert not drift(policy, new)["has_changed"].any()


def test_every_library_and_episodes_or_none():
    world = World(0)
    before, now = world.log(30, 1), world.log(30, 2)
    expected = drift(fit(before), now)
    pd.testing.assert_frame_equal(drift(fit(pl.from_pandas(before)), pl.from_pandas(now)), expected)
    alone = now.drop(columns=["episode", "step"])
    pd.testing.assert_frame_equal(drift(fit(before), alone), expected)


def test_behind_an_encoder_states_are_ranges_of_measurements():
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"heat": rng.uniform(size=600), "action": rng.integers(2, size=600)})
    log = log.assign(next_heat=rng.uniform(size=600), reward=1.0 * (log["heat"] > 0.5))
    pipe = make_pipeline(
        StateEncoder(state="heat", n_states=2), MarkovPolicyEstimator(state="heat")
    )
    table = drift(pipe.fit(log), log.assign(reward=1.0 * (log["heat"] > 0.5) + log["action"]))
    assert isinstance(table["heat"][0], pd.Interval)
    assert table.groupby("action")["has_changed"].all().tolist() == [False, True]


BASE = World(0).log(5, 1)


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        (PolicyBagging(MarkovPolicyEstimator(), n_estimators=2), TypeError, "hand in one member"),
        ({"a": 1}, TypeError, "must be a MarkovPolicyEstimator.*got dict"),
        (MarkovPolicyEstimator(), NotFittedError, "not fitted"),
        (
            MarkovPolicyEstimator().fit(np.array([[1], [2]]), [0, 1], reward=[1.0, 2.0]),
            TypeError,
            r"was fitted on features X and actions y.*fit\(table\)",
        ),
    ],
)
def test_a_policy_fitted_on_a_table_is_needed(policy, error, message):
    with pytest.raises(error, match=message):
        drift(policy, BASE)


def test_a_policy_of_a_version_that_kept_too_little_is_refused():
    policy = fit(BASE)
    own = policy.__skmdp_policy__()
    policy._policy = replace(own, evidence=replace(own.evidence, state_squares=None))
    with pytest.raises(ValueError, match=r"kept too little of the rewards.*Fit it anew"):
        drift(policy, BASE)
    policy.partial_fit(BASE)  # goes on without
    with pytest.raises(ValueError, match="Fit it anew"):
        drift(policy, BASE)


def test_the_new_log_is_read_as_that_of_fit():
    with pytest.raises(ValueError, match=r"has no column 'state' for the role 'state'"):
        drift(fit(BASE), BASE.drop(columns="state"))
    with pytest.raises(TypeError, match="labels of different kinds"):
        drift(fit(BASE), BASE.astype({"state": str, "next_state": str}))

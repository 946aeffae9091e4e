"""Durations are part of what followed: inspections find that they drift, or hang on history."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skmdp import MarkovPolicyEstimator
from skmdp.inspection import drift, markov_test

N_STATES, N_ACTIONS = 4, 2


class Clock:
    """A process among a few states, in which only how long decisions take may change."""

    def __init__(self, seed, shape=2.0):
        rng = np.random.default_rng(seed)
        self.odds = rng.dirichlet(np.ones(N_STATES), size=(N_STATES, N_ACTIONS))
        self.means = rng.uniform(1, 5, size=(N_STATES, N_ACTIONS))
        self.shape = shape

    def log(self, n_episodes, seed, n_steps=10):
        rng = np.random.default_rng(seed)
        state, parts = rng.integers(N_STATES, size=n_episodes), []
        for step in range(n_steps):
            action = rng.integers(N_ACTIONS, size=n_episodes)
            below = rng.uniform(size=(n_episodes, 1)) > np.cumsum(self.odds[state, action], axis=1)
            following = np.minimum(below.sum(axis=1), N_STATES - 1)
            duration = rng.gamma(self.shape, self.means[state, action] / self.shape)
            columns = {"state": state, "action": action, "next_state": following}
            parts.append(
                pd.DataFrame(columns).assign(
                    duration=duration + 0.01,
                    reward=rng.normal(size=n_episodes),
                    episode=range(n_episodes),
                    step=step,
                    terminated=False,
                )
            )
            state = following
        return pd.concat(parts).sort_values(["episode", "step"], ignore_index=True)


def fit(log, **options):
    return MarkovPolicyEstimator(gamma=0.9, max_iter=10, tol=1.0, **options).fit(log)


# ------------------------------------------------------------------------------------------- drift


@pytest.mark.parametrize("seed", range(3))
def test_a_pair_that_takes_longer_than_it_did_is_found_and_nothing_else(seed):
    world = Clock(seed)
    policy = fit(world.log(150, 10 + seed))
    world.means[2, 1] *= 2
    table = drift(policy, world.log(150, 20 + seed))
    found = table[table["has_changed"]]
    assert list(zip(found["state"], found["action"], strict=True)) == [(2, 1)]
    row = found.iloc[0]
    assert row["p_duration"] < 1e-6 < min(row["p_reward"], row["p_next_state"])
    assert 1.5 < row["duration_now"] / row["duration_before"] < 2.5


@pytest.mark.parametrize("shape", [0.5, 5.0])
def test_unchanged_clocks_raise_at_most_as_many_alarms_as_said(shape):
    """Also where durations have long tails."""
    alarms = 0
    for seed in range(50):
        world = Clock(seed, shape)
        policy = fit(world.log(80, 1000 + seed))
        alarms += drift(policy, world.log(30, 2000 + seed), alpha=0.2)["has_changed"].any()
    assert alarms <= 10


def test_the_figures_are_the_mean_durations_of_both_logs():
    world = Clock(5)
    before, now = world.log(40, 6), world.log(30, 7)
    table = drift(fit(before), now)
    for row in table.itertuples():
        for log, mean in ((before, row.duration_before), (now, row.duration_now)):
            rows = log[(log.state == row.state) & (log.action == row.action)]
            assert_allclose(mean, rows.duration.mean())
    tests = table[["p_next_state", "p_reward", "p_duration"]].to_numpy()
    assert_allclose(table["p_value"].min(), min(1.0, tests.size * tests.min()))


@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_batches_keep_how_long_their_rows_took(gamma):
    world = Clock(8)
    log, now = world.log(60, 9), world.log(60, 10)
    log["terminated"] = log.step == 9
    whole = MarkovPolicyEstimator(gamma=gamma).fit(log)
    parts = MarkovPolicyEstimator(gamma=gamma)
    for _, batch in log.groupby(log.episode // 25):
        parts.partial_fit(batch)
    pd.testing.assert_frame_equal(drift(parts, now), drift(whole, now))
    forgotten = MarkovPolicyEstimator(gamma=gamma).partial_fit(log).partial_fit(log, forget=0.5)
    durations = ["duration_before", "duration_now"]
    found = (drift(one, now).sort_values(["state", "action"]) for one in (forgotten, whole))
    assert_allclose(*(one[durations] for one in found))


def test_weights_count_as_rows():
    world = Clock(11)
    log, now = world.log(40, 12), world.log(40, 13)
    twice = MarkovPolicyEstimator().fit(log, sample_weight=np.full(len(log), 2.0))
    both = pd.concat([log, log.assign(episode=log.episode + 100)])
    with pytest.warns(UserWarning, match="twice under different names"):
        doubled = MarkovPolicyEstimator().fit(both)
    pd.testing.assert_frame_equal(drift(twice, now), drift(doubled, now))


def test_durations_that_are_all_the_same_are_no_further_tests():
    world = Clock(14)
    log, now = world.log(60, 15), world.log(60, 16)
    plain = drift(fit(log.drop(columns="duration")), now.drop(columns="duration"))
    constant = drift(fit(log.assign(duration=3)), now.assign(duration=3))
    pd.testing.assert_frame_equal(constant, plain)
    assert plain[["duration_before", "duration_now", "p_duration"]].isna().all(axis=None)
    # But a log in which they all changed is another world.
    table = drift(fit(log.assign(duration=3)), now.assign(duration=4))
    assert table["has_changed"].any()
    assert (table["duration_now"] == 4).all()


def test_only_one_log_may_have_durations():
    world = Clock(17)
    log, now = world.log(30, 18), world.log(30, 19)
    plain = drift(fit(log.drop(columns="duration")), now.drop(columns="duration"))
    for policy, table in (
        (fit(log), now.drop(columns="duration")),
        (fit(log.drop(columns="duration")), now),
    ):
        pd.testing.assert_frame_equal(drift(policy, table), plain)


def test_durations_are_compared_in_one_unit():
    """The median of the new log is below a day, so that it would count in hours."""
    world = Clock(20)
    log, now = (world.log(60, seed) for seed in (21, 22))
    now["duration"] /= 10
    expected = drift(fit(log), now)
    spans = [one.assign(duration=pd.to_timedelta(one.duration, unit="D")) for one in (log, now)]
    policy = fit(spans[0])
    assert policy.duration_unit_ == "day"
    found = drift(policy, spans[1])
    assert found["has_changed"].all()
    numbers = found.columns.difference(["next_state"])
    assert_allclose(found[numbers].astype(float), expected[numbers].astype(float), rtol=1e-5)
    with pytest.raises(ValueError, match=r"fit were in day, those of X are in plain numbers"):
        drift(policy, now)
    with pytest.raises(ValueError, match=r"fit were in plain numbers, those of X are in hour"):
        drift(fit(log), spans[1])


# ------------------------------------------------------------------------------------- markov_test


def verdicts(log, tested=None, **options):
    return markov_test(log, tested, random_state=0, **options).set_index("column")


def with_history(seed, n_episodes=150):
    """After the action 1 the next decision takes twice as long, whatever it is."""
    log = Clock(seed).log(n_episodes, seed + 1)
    before = log.groupby("episode").action.shift(fill_value=0)
    return log.assign(duration=log.duration * np.where(before == 1, 2.0, 1.0))


@pytest.mark.parametrize("seed", range(3))
def test_durations_that_hang_on_the_action_before_are_found(seed):
    table = verdicts(with_history(seed))
    assert table.loc["previous action", "verdict"].startswith(
        "predicts the duration: the state is not enough, add it with add_lags"
    )
    assert table.loc["previous action", "duration_lower"] > 0.01
    assert table.loc["previous action", "p_value"] < 0.01
    # It is not the next state or the reward that hang on it.
    assert table.loc["previous action", "reward_lower"] < 0.001


def test_without_a_dependence_nothing_is_found():
    found = 0
    for seed in range(30):
        log = Clock(seed, 0.7).log(60, 100 + seed)
        log["noise"] = np.random.default_rng(seed).integers(3, size=len(log))
        found += (verdicts(log, "noise")["p_value"] < 0.2).any()
    assert found <= 6


def test_the_unit_does_not_matter_and_equal_durations_are_no_outcome():
    log = with_history(7, n_episodes=60)
    pd.testing.assert_frame_equal(verdicts(log), verdicts(log.assign(duration=log.duration * 24)))
    plain, constant = log.drop(columns="duration"), log.assign(duration=5)
    pd.testing.assert_frame_equal(verdicts(plain), verdicts(constant))
    assert verdicts(plain)[["duration_gain", "duration_lower"]].isna().all(axis=None)


def test_all_that_a_column_predicts_is_said():
    rng = np.random.default_rng(0)
    log = Clock(3).log(150, 4)
    log["kind"] = rng.integers(2, size=len(log))
    log["reward"] += 3 * log.kind
    log["duration"] *= 1 + log.kind
    verdict = verdicts(log, "kind").loc["kind", "verdict"]
    assert verdict.startswith("predicts the reward and the duration: ")
    log["next_state"] = np.where(log.kind == 1, 0, log.next_state)
    log["state"] = log.groupby("episode").next_state.shift(fill_value=0)
    verdict = verdicts(log, "kind").loc["kind", "verdict"]
    assert verdict.startswith("predicts the next state, the reward and the duration: ")
    bare = log.drop(columns="reward")
    verdict = verdicts(bare, "kind", columns={"reward": None}).loc["kind", "verdict"]
    assert verdict.startswith("predicts the next state and the duration: ")


def by_kind(seed, n_episodes=200, n_steps=12):
    """One state; each action is slow for one kind of case and quick for the other, paid alike."""
    rng = np.random.default_rng(seed)
    n = n_episodes * n_steps
    kind, action = rng.integers(2, size=(2, n))
    return pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), n_steps),
            "state": "open",
            "kind": kind,
            "action": np.where(action == 1, "left", "right"),
            "next_state": "open",
            "reward": 1.0 + 0.1 * rng.normal(size=n),
            "duration": np.where(kind == action, 8.0, 2.0) * rng.uniform(0.8, 1.2, n),
        }
    )


def test_a_finding_on_time_alone_may_change_the_advice():
    """What is quick leaves more time for what follows; without a discount of it, no matter."""
    log = by_kind(0)
    policy = MarkovPolicyEstimator(gamma=0.9)
    found = verdicts(log, "kind", policy=policy).loc["kind"]
    assert "predicts the duration" in found["verdict"]
    assert 0.3 < found["advice_change"] <= 1.0
    short_sighted = MarkovPolicyEstimator(gamma=0.0)
    assert verdicts(log, "kind", policy=short_sighted).loc["kind", "advice_change"] == 0


def test_equal_durations_discount_the_advice_by_a_power_of_gamma():
    rng = np.random.default_rng(1)
    log = Clock(9).log(200, 10)
    log["kind"] = rng.integers(2, size=len(log))
    log["reward"] += 3 * (log.kind == log.action)
    timed = MarkovPolicyEstimator(gamma=0.9)
    plain = MarkovPolicyEstimator(gamma=0.9**3, duration=None)
    found = [verdicts(log.assign(duration=3), "kind", policy=one) for one in (timed, plain)]
    assert found[0].loc["kind", "advice_change"] > 0.3
    pd.testing.assert_frame_equal(*found)


def test_the_unit_of_gamma_is_that_of_the_policy():
    """Per hour such a discount leaves nothing of what follows days later, so time is no matter."""
    log = by_kind(2)
    log["duration"] = pd.to_timedelta(log.duration, unit="D")
    changes = [
        verdicts(log, "kind", policy=MarkovPolicyEstimator(gamma=0.7, duration_unit=unit))
        for unit in ("day", "hour")
    ]
    assert changes[0].loc["kind", "advice_change"] > 0.3
    assert changes[1].loc["kind", "advice_change"] == 0

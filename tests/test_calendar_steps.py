"""Steps that are dates, or count on from one episode to the next, tell time however rows lie."""

import numpy as np
import pandas as pd
import pytest

from skmdp import MarkovPolicyCV
from skmdp._evaluation.time_blocks import time_blocks
from skmdp.metrics import evaluate_policy

N_LOGS = 10
TODAY = pd.Timestamp("2024-01-01")


def draw(seed, *, n_episodes=600, n_steps=1, last_start=None, opposite=False, spreads=True):
    """A log of two equal actions: one spreads while rewards rise, or in half of the states fall.

    Episodes start one after the other, or anywhere up to ``last_start``; rows lie in any order.
    """
    rng = np.random.default_rng(seed)
    starts = np.arange(n_episodes)
    if last_start is not None:
        starts = rng.integers(last_start, size=n_episodes)
    step = (starts[:, np.newaxis] + np.arange(n_steps)).ravel()
    n = len(step)
    t, x = step / step.max(), rng.normal(size=n)
    sign = np.where((x > 0) & opposite, -1, 1)
    is_new = rng.random(n) < 0.5 + 0.8 * sign * (t - 0.5) * spreads
    log = pd.DataFrame(
        {
            "episode": np.repeat(rng.permutation(n_episodes), n_steps),
            "step": step,
            "state": np.where(x > 0, "high", "low"),
            "x": x,
            "action": np.where(is_new, "new", "old"),
            "reward": 2 * sign * t + rng.normal(size=n),
            "truncated": np.tile(np.arange(n_steps) == n_steps - 1, n_episodes) & (n_steps > 1),
        }
    )
    return log.iloc[rng.permutation(n)].reset_index(drop=True)


def judge(log):
    return evaluate_policy("new", log, methods="dm")


def judge_on_measurements(log):
    log = log.drop(columns="state")
    return evaluate_policy("new", log, methods="fqe", columns={"state": ["x"]})


def dated(log):
    return log.assign(step=TODAY + pd.to_timedelta(log["step"], unit="D"))


def one_by_one(log):
    """Decisions that are nothing but that."""
    return log.drop(columns=["episode", "truncated"]).assign(next_state=None)


KINDS = {
    "decisions": {},
    "opposite": {"opposite": True},
    "staggered": {"n_episodes": 40, "n_steps": 50, "last_start": 50, "opposite": True},
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("look", [judge, judge_on_measurements])
def test_a_drift_is_not_taken_for_a_gain(look, kind):
    found = [look(draw(seed, **KINDS[kind])) for seed in range(N_LOGS)]
    gains = [one.to_frame()["difference_lower"].iloc[0] for one in found]
    assert np.mean(np.array(gains) > 0) > 0.5  # so it looks
    assert sum(one.is_better for one in found) <= 1


@pytest.mark.long
@pytest.mark.parametrize("keep_steps", [True, False])
def test_decisions_without_episodes_are_looked_at_too(keep_steps):
    logs = [one_by_one(draw(seed)) for seed in range(N_LOGS)]
    if not keep_steps:
        logs = [log.sort_values("step").drop(columns="step") for log in logs]
    found = [judge(log) for log in logs]
    gains = [one.to_frame()["difference_lower"].iloc[0] for one in found]
    assert np.mean(np.array(gains) > 0) > 0.5
    assert sum(one.is_better for one in found) <= 1


@pytest.mark.parametrize("step", ["word", np.nan])
def test_of_decisions_without_episodes_a_step_need_not_be_a_time(step):
    log = one_by_one(draw(0)).astype({"step": object})
    log.loc[3, "step"] = step
    found = judge(log)
    assert found.drift_gain == judge(log.drop(columns="step")).drift_gain


@pytest.mark.long
def test_cross_validation_is_not_taken_in():
    found = [MarkovPolicyCV().fit(draw(seed)) for seed in range(N_LOGS)]
    assert sum(one.gain_interval_[0] > 0 for one in found) > N_LOGS / 2
    assert sum(one.is_better_ for one in found) <= 1


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_better_is_found(kind):
    logs = [draw(seed, spreads=False, **KINDS[kind]) for seed in range(N_LOGS)]
    logs = [log.assign(reward=log["reward"] + (log["action"] == "new")) for log in logs]
    assert sum(judge(log).is_better for log in logs) >= N_LOGS - 1


@pytest.mark.parametrize("kind", KINDS)
def test_dates_are_steps_like_numbers(kind):
    # Episodes that begin at one date are in the order of their labels, others in that of the log.
    log = draw(0, **KINDS[kind]).sort_values(["step", "episode"], ignore_index=True)
    assert judge(dated(log)).drift_gain == pytest.approx(judge(log).drift_gain, rel=1e-9)


def by_month(log):
    """Dates of which many are equal."""
    return dated(log).assign(step=lambda log: log["step"].dt.to_period("M"))


def by_day(log):
    return dated(log).assign(step=lambda log: log["step"].dt.date)


def named(log):
    """Episodes of two columns, one of words."""
    word = log["episode"].map("patient {}".format)
    return dated(log).assign(word=word, half=log["episode"] % 2).drop(columns="episode")


WAYS = {
    "dates": (dated, {}),
    "days": (by_day, {}),
    "zones": (
        lambda log: dated(log).assign(step=lambda log: log["step"].dt.tz_localize("CET")),
        {},
    ),
    "months": (by_month, {}),
    "two columns": (named, {"columns": {"episode": ["word", "half"]}}),
    "one by one": (lambda log: one_by_one(dated(log)), {}),
    "one by one, months": (lambda log: one_by_one(by_month(log)), {}),
}


def in_any_order(log):
    """Return a log in the order of its dates, in that of its episodes, and in none."""
    shuffled = [log.sample(frac=1, random_state=seed) for seed in range(2)]
    keys = [name for name in ("episode", "half", "word") if name in log]
    return [log.sort_values("step", kind="stable"), *shuffled, log.sort_values([*keys, "step"])]


@pytest.mark.parametrize("kind", ["decisions", "opposite"])
@pytest.mark.parametrize("way", WAYS)
def test_where_there_are_dates_the_order_of_rows_says_nothing(way, kind):
    make, named_columns = WAYS[way]
    tables = in_any_order(make(draw(3, n_episodes=300, **KINDS[kind])))
    found = [evaluate_policy("new", log, methods="dm", **named_columns) for log in tables]
    for one in found[1:]:
        assert one.drift_gain == pytest.approx(found[0].drift_gain, rel=1e-9)
        assert one.to_frame().equals(found[0].to_frame()) or np.allclose(
            *(each.to_frame().select_dtypes("number") for each in (one, found[0])),
            rtol=1e-9,
            equal_nan=True,
        )
    assert found[0].drift_gain > 0


def test_long_episodes_with_dates_may_lie_in_any_order():
    log = dated(draw(0, **KINDS["staggered"]))
    tables = in_any_order(log)
    for look in (judge, judge_on_measurements):
        gains = [look(table).drift_gain for table in tables]
        np.testing.assert_allclose(gains, gains[0], rtol=1e-9)
    policies = [MarkovPolicyCV().fit(table) for table in tables]
    assert len({policy.summary() for policy in policies}) == 1


def test_resamples_draw_the_same_episodes_wherever_these_lie():
    tables = in_any_order(dated(draw(0, n_episodes=200)))
    found = [
        evaluate_policy("new", table, methods=["wis", "wdr"], random_state=0) for table in tables
    ]
    errors = [one.to_frame()["standard_error"] for one in found]
    np.testing.assert_allclose(errors, errors[:1] * len(errors), rtol=1e-9)
    assert (errors[0] > 0).all()


def test_dates_on_which_all_begin_tell_no_order_of_episodes():
    """Then the order of rows is all that is known."""
    log = draw(1).sort_values("step")
    begun_at_once = log.assign(step=TODAY, truncated=False)
    assert judge(begun_at_once).drift_gain == judge(log.drop(columns="step")).drift_gain
    assert judge(begun_at_once.sample(frac=1, random_state=0)).drift_gain < 0.1


def test_what_one_date_holds_is_in_no_order_of_what_was_paid():
    """Else the rows of one month would be a drift from small rewards to large ones."""
    log = draw(2, n_episodes=400, spreads=False)
    noise = log.assign(reward=np.random.default_rng(0).normal(size=len(log)))
    once = one_by_one(noise.assign(step=noise["step"] // 200))
    by_pay = once.sort_values(["step", "reward"]).drop(columns="step")
    assert judge(dated(once)).drift_gain < 0.5 * judge(by_pay).drift_gain


def test_episodes_are_in_the_order_of_their_first_steps():
    rng = np.random.default_rng(0)
    first = 5 * rng.permutation(200)
    step = (first[:, np.newaxis] + np.arange(3)).ravel()
    when, how_far = time_blocks(np.repeat(np.arange(200), 3), step)
    as_they_lie, by_first, by_step = when
    np.testing.assert_array_equal(as_they_lie.of_all, np.repeat(np.arange(200) // 10, 3))
    np.testing.assert_array_equal(by_first.of_all, np.repeat(first // 5 // 10, 3))
    assert (np.abs(np.bincount(by_step.of_all) - 30) <= 1).all()
    assert (np.diff(by_step.of_each[np.argsort(step)]) >= 0).all()
    assert by_step.of_each.max() == 59
    np.testing.assert_array_equal(how_far[0].of_all, np.tile(np.arange(3), 200))


def test_steps_that_tell_nothing_new_are_not_looked_at_again():
    episode = np.repeat(np.arange(40), 5)
    place = np.tile(np.arange(5), 40)
    for step in (place, place + 7, place - 0.5, place**2):
        assert [len(by) for by in time_blocks(episode, step)] == [1, 1]
    # A step left out in some: how far the episode had come.
    assert [len(by) for by in time_blocks(episode, place + (place > episode % 5))] == [1, 2]
    # In order of time, and one at a time.
    assert [len(by) for by in time_blocks(np.arange(90), np.arange(90))] == [1, 1]


def test_all_rows_of_a_step_are_in_one_block():
    rng = np.random.default_rng(1)
    episode = np.repeat(np.arange(100), 10)
    step = np.sort(rng.integers(7, size=(100, 10)), axis=1).ravel()
    *_, by_step = time_blocks(episode, step)[0]
    for block in (by_step.of_all, by_step.of_each):
        of_step = [np.unique(block[step == one]) for one in range(7)]
        assert all(len(one) == 1 for one in of_step)
        np.testing.assert_array_equal(np.unique(of_step), np.arange(len(np.unique(block))))

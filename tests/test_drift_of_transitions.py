"""Transitions that change over the episodes, and policies that only look better by that."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from skmdp import MarkovPolicyCV
from skmdp.metrics import evaluate_policy

LAST = 4


@cache
def climb(seed, up, *, better=0.0, n_episodes=400):
    """A log of climbs to the last step, which pays 10; a climber may stay, and may fall.

    ``up(t, place)`` in [0, 1] tells how good times are, and how often the new action is taken.
    Drawn once: not to be changed.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        place, step = 0, 0
        while 0 <= place < LAST and step < 30:
            good = up(episode / n_episodes, place)
            is_new = rng.random() < 0.2 + 0.6 * good
            drawn, chance = rng.random(), 0.25 + 0.4 * good + better * is_new
            to = place + 1 if drawn < chance else (place if rng.random() < 0.7 else -1)
            noise = rng.uniform(-0.4, 0.4)
            rows.append((episode, step, place, place + noise, is_new, to, 10.0 * (to == LAST)))
            place, step = to, step + 1
    names = ["episode", "step", "place", "x", "is_new", "to", "reward"]
    log = pd.DataFrame(rows, columns=names)
    is_last = log["episode"] != log["episode"].shift(-1)
    ended = log["to"].isin([-1, LAST])
    return pd.DataFrame(
        {
            "episode": log["episode"],
            "step": log["step"],
            "state": "at " + log["place"].astype(str),
            "next_state": ("at " + log["to"].astype(str)).where(~ended, None),
            "x": log["x"],
            "next_x": log["x"].shift(-1).where(~is_last, np.nan),
            "action": np.where(log["is_new"], "new", "old"),
            "reward": log["reward"],
            "truncated": is_last & ~ended,
        }
    )


CHANGES = {
    "later": lambda t, _: float(t > 0.5),
    "twice": lambda t, _: 0.5 + 0.5 * np.sin(4 * np.pi * t),
    "opposite": lambda t, place: t if place % 2 else 1 - t,
    "never": lambda *_: 0.5,
}


def judge(log):
    return evaluate_policy("new", log.drop(columns=["x", "next_x"]), methods="dm")


def judge_by_records(log):
    mixed = {state: {"new": 0.65, "old": 0.35} for state in log["state"].unique()}
    return evaluate_policy(mixed, log.drop(columns=["x", "next_x"]), methods="pdwis")


def judge_on_measurements(log):
    log = log.drop(columns=["state", "next_state"])
    return evaluate_policy("new", log, methods="fqe", columns={"state": ["x"]})


def judge_lazily(log):
    polars = pytest.importorskip("polars")
    return evaluate_policy("new", polars.from_pandas(log).lazy(), methods="dm")


@pytest.mark.long
@pytest.mark.parametrize("look", [judge, judge_by_records, judge_on_measurements, judge_lazily])
@pytest.mark.parametrize("change", ["later", "twice"])
def test_changes_of_where_rows_lead_are_not_taken_for_a_gain(look, change):
    found = [look(climb(seed, CHANGES[change])) for seed in range(6)]
    assert sum(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found) >= 4
    assert sum(one.is_better for one in found) <= (look is judge_by_records)


@pytest.mark.long
@pytest.mark.parametrize("look", [judge, judge_lazily])
def test_opposite_changes_by_state_are_not_taken_for_a_gain(look):
    found = [look(climb(seed, CHANGES["opposite"])) for seed in range(10)]
    assert sum(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found) >= 3
    assert not any(one.is_better for one in found)


@pytest.mark.long
def test_cross_validation_is_not_taken_in():
    logs = [climb(seed, CHANGES["later"]) for seed in range(6)]
    logs = [log.drop(columns=["x", "next_x"]) for log in logs]
    found = [MarkovPolicyCV().fit(log) for log in logs]
    assert sum(one.gain_interval_[0] > 0 for one in found) > 3
    assert sum(one.is_better_ for one in found) == 0


@pytest.mark.long
@pytest.mark.parametrize("look", [judge, judge_on_measurements, judge_lazily])
def test_what_is_better_is_found(look):
    logs = [climb(seed, CHANGES["never"], better=0.2) for seed in range(5)]
    assert all(look(log).is_better for log in logs)


def of_two_kinds(seed, *, better=0.0, n_episodes=500, n_steps=4):
    """A log in which rows lead more and more to what pays, or less and less, by a second column.

    That has no effect on average. Actions come and go alike.
    """
    rng = np.random.default_rng(seed)
    n = n_episodes * n_steps
    episode = np.repeat(np.arange(n_episodes), n_steps)
    kind = rng.uniform(size=n)
    rises = np.sign(kind - 0.5) * (episode / n_episodes - 0.5)
    is_new = rng.random(n) < 0.5 + 0.8 * rises
    leads_up = rng.random(n) < 0.5 + 0.9 * rises
    following = np.where(leads_up, 0.5, 0.0) + 0.5 * rng.uniform(size=n)
    is_first = np.arange(n) % n_steps == 0
    x = np.where(is_first, rng.uniform(size=n), np.roll(following, 1))
    return pd.DataFrame(
        {
            "episode": episode,
            "x": x,
            "kind": kind,
            "action": np.where(is_new, "new", "old"),
            "reward": 3.0 * (x > 0.5) + better * is_new + rng.normal(size=n) / 2,
            "next_x": following,
            "next_kind": np.roll(kind, -1),
            "truncated": np.arange(n) % n_steps == n_steps - 1,
        }
    )


@pytest.mark.long
def test_a_column_without_effect_on_average_tells_drifts_apart():
    def look(log):
        return evaluate_policy("new", log, methods="fqe", columns={"state": ["x", "kind"]})

    found = [look(of_two_kinds(seed)) for seed in range(6)]
    assert sum(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found) >= 4
    assert sum(one.is_better for one in found) <= 2  # all, by the columns that have effects
    assert look(of_two_kinds(0, better=2.0)).is_better


def test_it_does_not_matter_when_a_place_pays():
    """Rewards of good places may be paid on the way there, or by a decision made there."""
    at_once = climb(3, CHANGES["later"]).drop(columns=["x", "next_x"])
    arrived = at_once["reward"] > 0
    later = at_once.assign(reward=0.0)
    later.loc[arrived, "next_state"] = "top"
    top = at_once[arrived].assign(state="top", action="new", step=at_once["step"] + 1)
    later = pd.concat([later, top]).sort_values(["episode", "step"], ignore_index=True)
    found = [
        evaluate_policy("new", log, methods="dm", prior_strength=0) for log in (at_once, later)
    ]
    assert found[1].drift_gain > 1
    # Longer episodes have other blocks of steps, which account for a little. And what is paid at
    # once is looked at by itself as well, so that more may be taken off.
    assert 0.95 < found[0].drift_gain / found[1].drift_gain < 1.3


def seasons(seed, *, n_episodes=800, n_steps=8):
    """A log of long episodes that start at any time, in a world in which only seasons matter.

    An action is taken more often in the good one, in which all rows lead up. It pays at the end.
    """
    rng = np.random.default_rng(seed)
    first = np.sort(rng.integers(0, 1000, n_episodes))
    place, rows = rng.integers(0, 3, n_episodes), []
    for step in range(n_steps):
        day = first + 25 * step
        season = np.sin(2 * np.pi * day / 330)
        is_new = rng.random(n_episodes) < 0.5 + 0.35 * season
        goes_up = rng.random(n_episodes) < 0.5 + 0.25 * season
        to = np.clip(place + np.where(goes_up, 1, -1), 0, 3)
        is_last = step == n_steps - 1
        rows.append(
            pd.DataFrame(
                {
                    "episode": np.arange(n_episodes),
                    "step": pd.Timestamp("2020-02-29") + pd.to_timedelta(day, unit="D"),
                    "state": place.astype(str),
                    "action": np.where(is_new, "new", "old"),
                    "reward": np.where(is_last, to, 0.0),
                    "next_state": None if is_last else to.astype(str),
                }
            )
        )
        place = to
    return pd.concat(rows, ignore_index=True)


def as_given(log):
    return log


def by_polars(log):
    return pytest.importorskip("polars").from_pandas(log).lazy()


@pytest.mark.long
@pytest.mark.parametrize("read", [as_given, by_polars])
def test_seasons_that_lead_to_good_states_are_not_taken_for_a_gain(read):
    """The calendar is told by steps alone: each episode sees several seasons."""
    found = [
        evaluate_policy("new", read(seasons(seed)), methods="dm", horizon=8) for seed in range(6)
    ]
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    assert not any(one.is_better for one in found)


def test_lazy_tables_tell_the_same_of_where_rows_led():
    log = seasons(0)
    found = [
        evaluate_policy("new", read(log), methods="dm", horizon=8) for read in (as_given, by_polars)
    ]
    assert found[0].drift_gain > 0.2
    assert found[1].drift_gain == pytest.approx(found[0].drift_gain, rel=0.25)


@pytest.mark.long
@pytest.mark.parametrize("method", ["dm", "pdwis", "wdr"])
def test_steps_that_change_in_opposite_ways_are_not_taken_for_a_gain(method):
    """The first visit gets better over the log and the second worse, and so the actions spread."""

    def visits(seed, n=1000):
        rng = np.random.default_rng(seed)
        parts = []
        for step, sign in enumerate([1, -1]):
            good = sign * (2 * np.arange(n) / n - 1)
            parts.append(
                pd.DataFrame(
                    {
                        "episode": np.arange(n),
                        "step": step,
                        "state": rng.choice(["low", "mid", "high"], n),
                        "action": np.where(rng.random(n) < 0.5 + 0.4 * good, "new", "old"),
                        "reward": good + rng.normal(size=n),
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    found = [evaluate_policy("new", visits(seed), methods=method, horizon=2) for seed in range(6)]
    assert sum(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found) >= 5
    assert not any(one.is_better for one in found)


def test_what_actions_lead_to_that_a_policy_does_not_take_adds_no_error():
    """They lead to a state in which the policy would be worth anything, which it never meets."""

    def log(depth, n=1500):
        rng = np.random.default_rng(0)
        falls = rng.random(n) < 0.5
        is_bad = falls & (rng.random(n) < 0.5)
        first = pd.DataFrame(
            {
                "episode": np.arange(n),
                "step": 0,
                "state": "top",
                "action": np.where(falls, "jump", "rest"),
                "reward": rng.normal(size=n) - 1.0 * falls,
                "next_state": np.where(is_bad, "pit", None),
            }
        )
        pit = first[is_bad].assign(step=1, state="pit", action="climb", next_state=None)
        log = pd.concat([first, pit.assign(reward=-depth)]).sort_values(["episode", "step"])
        return log.reset_index(drop=True)

    policy = {"top": "rest", "pit": "climb"}
    found = [evaluate_policy(policy, log(depth), methods="dm") for depth in (1.0, 10_000.0)]
    assert found[1].is_better
    assert found[1].drift_gain <= 2 * found[0].drift_gain + 0.1

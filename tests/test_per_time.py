"""The value per time in the long run: closed forms, influence, and intervals."""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from skmdp._evaluation.long_run import rate_per_time
from skmdp.metrics import value_per_time

STAYS = {"go": 0.2, "stay": 0.6}  # probability to stay in the state
MEAN_TIME = {"go": 3.75, "stay": 1.25}


@cache
def endless(n_episodes, n_decisions, seed):
    """Two states for ever, logged half and half; the time of a decision depends on the action.

    Drawn once: not to be changed.
    """
    rng = np.random.default_rng(seed)
    state, parts = np.zeros(n_episodes, dtype=int), []
    for _ in range(n_decisions):
        action = rng.choice(["go", "stay"], n_episodes)
        goes = action == "go"
        paid = rng.normal(1.0 + 2.0 * state + goes, 0.5)
        duration = rng.choice([0.5, 2.0], n_episodes) * np.where(goes, 3.0, 1.0)
        stays = rng.random(n_episodes) < np.where(goes, STAYS["go"], STAYS["stay"])
        after = np.where(stays, state, 1 - state)
        parts.append((np.arange(n_episodes), state, action, paid, duration, after))
        state = after
    names = ["episode", "state", "action", "reward", "duration", "next_state"]
    columns = (np.stack(column, axis=1).ravel() for column in zip(*parts, strict=True))
    log = pd.DataFrame(dict(zip(names, columns, strict=True)))
    log["truncated"] = ~log["episode"].duplicated(keep="last")
    return log


def true_rate(advice):
    """Reward per time of a policy, one action in each of the states."""
    leaves = [1 - STAYS[action] for action in advice]
    shares = np.array(leaves[::-1]) / sum(leaves)
    paid = np.array([1.0 + 2.0 * state + (advice[state] == "go") for state in (0, 1)])
    return shares @ paid / (shares @ [MEAN_TIME[action] for action in advice])


@pytest.mark.long
@pytest.mark.parametrize("advice", [("go", "stay"), ("stay", "go")])
@pytest.mark.parametrize(("n_episodes", "n_decisions"), [(40, 20), (5, 160), (1, 800)])
def test_intervals_hold_the_rate_as_often_as_they_say(advice, n_episodes, n_decisions):
    """Also of a few long records, and of a single one."""
    policy, truth = dict(enumerate(advice)), true_rate(advice)
    found = [
        value_per_time(policy, endless(n_episodes, n_decisions, seed), prior_strength=0)
        for seed in range(40)
    ]
    held = np.mean([one.lower <= truth <= one.upper for one in found])
    assert held >= 0.88
    spread = np.std([one.value for one in found])
    assert_allclose(np.mean([one.standard_error for one in found]), spread, rtol=0.3)


def test_the_logged_policy_earns_what_was_logged_in_its_time():
    log = endless(300, 30, 0)
    found = value_per_time("behavior", log)
    earned, taken = (log.groupby("episode")[name].sum() for name in ("reward", "duration"))
    rate = earned.sum() / taken.sum()
    assert_allclose(found.value, rate, rtol=0.02)  # but for the first rows, all in one state
    moved = earned - rate * taken  # the error of a ratio of sums over episodes
    ratio_error = np.sqrt((moved**2).sum()) / taken.sum()
    assert_allclose(found.standard_error, ratio_error, rtol=0.15)


def test_a_wider_interval_is_surer():
    log = endless(40, 20, 1)
    narrow = value_per_time("go", log, confidence_level=0.5)
    wide = value_per_time("go", log, confidence_level=0.99)
    assert narrow.value == wide.value
    assert_allclose(wide.upper - wide.value, 2.5758 * wide.standard_error, rtol=1e-4)
    assert_allclose(narrow.value - narrow.lower, 0.6745 * wide.standard_error, rtol=1e-3)
    assert "50%" in repr(narrow)
    with pytest.raises(ValueError, match="confidence_level"):
        value_per_time("go", log, confidence_level=1.0)


def test_without_durations_the_rate_is_that_of_a_decision():
    log = endless(40, 20, 2).drop(columns="duration")
    found = value_per_time("behavior", log)
    assert found.duration_unit == "decision"
    assert repr(found).endswith("per decision")
    ones = value_per_time("behavior", log.assign(duration=1.0))
    assert (ones.value, ones.standard_error) == (found.value, found.standard_error)


@given(st.integers(0, 10**6))
def test_what_moves_the_rate_is_its_derivative(seed):
    """Of rows drawn a little more often: in two classes, and on the way to them."""
    rng = np.random.default_rng(seed)
    P = np.zeros((6, 6))
    P[:2] = rng.dirichlet(np.ones(6), size=2)
    P[2:4, 2:4] = rng.dirichlet(np.ones(2), size=2)
    P[4:, 4:] = rng.dirichlet(np.ones(2), size=2)
    R, D, start = (
        rng.normal(size=6),
        rng.uniform(0.5, 3, 6),
        np.append(rng.dirichlet([1, 1]), [0] * 4),
    )
    found = rate_per_time(csr_array(P), R, D, start)
    for state, led_to in ((0, 1), (1, 3), (2, 3), (4, 4)):
        r, d = rng.normal(), rng.uniform(0.5, 3)
        ends = []
        for step in (1e-5, -1e-5):
            moved, paid, taken = P.copy(), R.copy(), D.copy()
            moved[state] = (1 - step) * P[state] + step * np.eye(6)[led_to]
            paid[state] += step * (r - R[state])
            taken[state] += step * (d - D[state])
            ends.append(rate_per_time(csr_array(moved), paid, taken, start).value)
        g, h = found.rates, found.relative_values
        expected = found.weights[state] * (
            r - R[state] - g[state] * (d - D[state]) + h[led_to] - P[state] @ h
        ) + found.visits[state] * (g[led_to] - P[state] @ g)
        assert_allclose((ends[0] - ends[1]) / 2e-5, expected, rtol=1e-4, atol=1e-7)


def test_starts_that_lead_to_several_parts_are_part_of_the_chance():
    """Half of the records are in a rich part, half in a poor one, each paid without any spread."""
    rng = np.random.default_rng(3)
    is_rich = rng.random(60) < 0.5
    log = pd.DataFrame({"episode": np.repeat(np.arange(60), 5), "action": "wait"})
    log["state"] = np.repeat(np.where(is_rich, "rich", "poor"), 5)
    log = log.assign(next_state=log.state, duration=2.0, reward=4.0 * (log.state == "rich"))
    found = value_per_time("behavior", log)
    assert_allclose(found.value, 2 * is_rich.mean())
    assert_allclose(found.standard_error, 2 * is_rich.std(ddof=1) / np.sqrt(60), rtol=1e-9)


def test_lazy_tables_have_a_value_per_time():
    log = endless(40, 20, 5)
    for duration in (None, 2.5, log["duration"]):
        table = log.drop(columns=["duration", "truncated"])
        table = table if duration is None else table.assign(duration=duration)
        eager = value_per_time("go", table, columns={"episode": None})
        lazy = value_per_time("go", pl.from_pandas(table).lazy(), columns={"episode": None})
        assert_allclose(lazy.value, eager.value)
        assert_allclose(lazy.standard_error, eager.standard_error, rtol=1e-6)

"""Rows of one time: shocks that all episodes share are no gain, however few rows a state has."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmdp._evaluation.credibility import Residuals
from skmdp._evaluation.same_time import FEWEST_ROWS, SameTime
from skmdp.metrics import evaluate_policy


def drawn(seed, n_times, n=400, n_states=3, n_actions=2):
    rng = np.random.default_rng(seed)
    state, action = rng.integers(n_states, size=n), rng.integers(n_actions, size=n)
    parent = np.repeat(np.arange(n_states), n_actions)
    return rng, state, n_actions * state + action, parent, rng.integers(n_times, size=n)


@pytest.mark.parametrize("n_times", [4, 30])
@pytest.mark.parametrize("in_states", [True, False])
def test_what_rows_of_one_time_tell_is_a_regression_on_times(n_times, in_states):
    """Whether there are fewer times than pairs or more."""
    rng, state, pair, parent, time = drawn(0, n_times)
    rewards = rng.normal(size=400)
    residuals = Residuals.of_outcomes(rewards, pair, parent, None)
    weights = rng.normal(size=len(parent))[pair]
    look = SameTime.of_all(residuals, time)
    of_row = time
    if in_states:
        look, of_row = SameTime.of_states(residuals, state, time), state * n_times + time

    columns = [np.eye(len(parent))[pair], np.eye(of_row.max() + 1)[of_row]]
    alpha = np.linalg.lstsq(np.hstack(columns), rewards, None)[0][: len(parent)]
    moved = weights - (np.bincount(state, weights) / np.bincount(state))[state]
    expected = moved @ rewards - moved @ alpha[pair]
    assert_allclose(look.due(weights) @ rewards, expected, rtol=1e-6)
    # What actions are worth is not due to time.
    assert_allclose(look.due(weights) @ rng.normal(size=len(parent))[pair], 0, atol=1e-6)


@pytest.mark.parametrize("in_states", [True, False])
def test_all_that_times_are_worth_is_due_to_time(in_states):
    rng, state, pair, parent, time = drawn(1, 20)
    weights = rng.normal(size=len(parent))[pair]
    moved = weights - (np.bincount(state, weights) / np.bincount(state))[state]
    shocks = rng.normal(size=(3, 20))[state if in_states else 0, time]
    residuals = Residuals.of_outcomes(shocks, pair, parent, None)
    look = SameTime.of_all(residuals, time)
    if in_states:
        look = SameTime.of_states(residuals, state, time)
    assert_allclose(look.due(weights) @ residuals.amounts, moved @ shocks, rtol=1e-6)


def test_rows_may_be_counted():
    rng, state, pair, parent, time = drawn(2, 20)
    rewards = rng.normal(size=6 * 20)[pair * 20 + time]
    _, first, n_rows = np.unique(pair * 20 + time, return_index=True, return_counts=True)
    rows = Residuals.of_outcomes(rewards, pair, parent, None)
    counted = Residuals.of_outcomes(rewards[first], pair[first], parent, n_rows.astype(float))
    weights = rng.normal(size=len(parent))
    for of in (
        lambda one, at: SameTime.of_all(one, time[at]),
        lambda one, at: SameTime.of_states(one, state[at], time[at]),
    ):
        by_rows = of(rows, slice(None)).due(weights[pair])[first]
        assert_allclose(of(counted, first).due(weights[pair[first]]), by_rows, atol=1e-12)


def test_times_of_few_rows_are_taken_together():
    _, state, pair, parent, _ = drawn(3, 1)
    time = np.random.default_rng(3).permutation(400)
    residuals = Residuals.of_outcomes(np.zeros(400), pair, parent, None)
    of_all = SameTime.of_all(residuals, time).time
    assert np.bincount(of_all).min() >= FEWEST_ROWS
    assert (np.diff(of_all[np.argsort(time)]) >= 0).all()
    one_of = np.where(state == 2, -1, state)
    in_states = SameTime.of_states(residuals, one_of, time).time
    assert_array_equal(in_states == -1, state == 2)
    of_time = np.unique(np.column_stack([in_states, one_of]), axis=0)[:, 0]
    assert len(of_time) == len(set(of_time))  # no time is that of two states
    assert np.bincount(in_states[one_of >= 0]).mean() >= FEWEST_ROWS


def test_rows_of_the_very_same_time_tell_all_that_times_are_worth():
    """Also where there are so few of a time that others are put together with it."""
    rng, state, pair, parent, time = drawn(4, 350)
    shocks = rng.normal(size=(3, 350))[state, time]
    residuals = Residuals.of_outcomes(shocks, pair, parent, None)
    looks = SameTime.looks(residuals, state, time)
    assert len(looks) == 4  # in each state and in all, put together or not
    weights = rng.normal(size=len(parent))[pair]
    moved = weights - (np.bincount(state, weights) / np.bincount(state))[state]
    expected = moved @ shocks
    found = [look.due(weights) @ residuals.amounts for look in looks]
    assert abs(found[1] - expected) < 0.1 * abs(found[0] - expected)
    assert found[0] != pytest.approx(expected, rel=0.1)
    enough = SameTime.looks(residuals, state, time // 50)
    assert len(enough) == 2


def test_times_put_together_tell_where_no_rows_are_of_one_time():
    rng, state, pair, parent, _ = drawn(5, 1)
    rewards = rng.normal(size=400)
    residuals = Residuals.of_outcomes(rewards, pair, parent, None)
    weights = rng.normal(size=len(parent))[pair]
    looks = SameTime.looks(residuals, state, np.arange(400))
    for alone, beside in (looks[:2], looks[2:]):
        assert beside.beside is not None
        found, expected = (look.due(weights) for look in (beside, alone))
        assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_actions_that_share_no_time_tell_nothing():
    pair = np.repeat([0, 1], 30)
    residuals = Residuals.of_outcomes(np.arange(60.0), pair, np.zeros(2, dtype=int), None)
    look = SameTime.of_all(residuals, np.repeat([0, 9], 30))
    assert_allclose(look.due(pair.astype(float)), 0, atol=1e-6)


def shocks(
    seed, *, n=30, n_steps=60, last=300, n_states=10, share=0.3, height=1.0, better=0.0, own=False
):
    """A log of a calendar on which each date is good or bad for all, or for all of a state.

    An action is taken more often on good dates, by ``share``. Of a state few rows have one date.
    """
    rng = np.random.default_rng(seed)
    step = (rng.integers(last + 1, size=n)[:, np.newaxis] + np.arange(n_steps)).ravel()
    state = rng.integers(n_states, size=len(step))
    good = height * rng.normal(size=(last + n_steps, n_states))[step, state if own else 0]
    is_new = rng.random(len(step)) < 0.5 + share * np.tanh(good)
    return pd.DataFrame(
        {
            "episode": np.repeat(rng.permutation(n), n_steps),
            "step": step,
            "state": state,
            "action": np.where(is_new, "new", "old"),
            "reward": 0.5 * state + good + better * is_new + rng.normal(size=len(step)),
            "truncated": np.tile(np.arange(n_steps) == n_steps - 1, n),
        }
    ).sort_values(["episode", "step"])


def judge(log):
    return evaluate_policy("new", log, methods="dm")


def looks_better(found):
    return found.to_frame()["difference_lower"].iloc[0] > 0


# Rows of a date are few, and of a state and date hardly one: then where each state has good dates.
OWN = {"n": 150, "n_steps": 20, "n_states": 4, "own": True, "last": 3000}


@pytest.mark.parametrize("options", [{}, {"better": -0.2}, {"n": 20}, {"n_states": 20}, OWN])
def test_dates_that_are_good_or_bad_for_all_are_no_gain(options):
    found = [judge(shocks(seed, **options)) for seed in range(4)]
    assert all(looks_better(one) for one in found)
    assert not any(one.is_better for one in found)


def test_what_is_better_is_found_whatever_dates_are_like():
    for seed in range(3):
        assert judge(shocks(seed, share=0.0, better=0.5, height=0.0)).is_better
        assert judge(shocks(seed, share=0.0, better=0.8)).is_better
        assert judge(shocks(seed, share=0.1, height=0.5, better=1.2)).is_better

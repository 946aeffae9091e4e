"""Discounts by the time that has passed, in every method of evaluation."""

from collections import Counter
from functools import cache
from itertools import groupby
from operator import attrgetter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skmdp import MarkovPolicyEstimator
from skmdp._evaluation.importance import time_before
from skmdp.metrics import compare_policies, evaluate_policy, policy_scorer
from skmdp.metrics._candidates import PolicyLogs

METHODS = ["dm", "is", "wis", "pdis", "pdwis", "dr", "wdr"]
ALL = ["fqe", *METHODS]
FEW = "ignore:Only .*effective.*:UserWarning"
LACKING = "ignore:X lacks .*:UserWarning"
TRAINING = "ignore:X holds the very transitions:UserWarning"
ENDLESS = "ignore:.*would last longer:UserWarning"
QUIETLY = [pytest.mark.filterwarnings(one) for one in (FEW, LACKING, ENDLESS, TRAINING)]
pytestmark = QUIETLY


@cache
def two_states(n_episodes, seed, *, p_end=0.2, watched=None, p_stay=0.5):
    """Two states, two actions; the time of a decision depends on both. Logged half and half.

    Records end with probability ``p_end`` after each decision, and are cut off after so many
    decisions that are ``watched``. Drawn once: not to be changed.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        state = "a"
        for _ in range(watched or 1000):
            action = ("go", "stay")[rng.integers(2)]
            paid = rng.normal({"a": 1.0, "b": 3.0}[state] + (action == "go"), 0.5)
            duration = (0.5, 2.0)[rng.integers(2)] * (3.0 if action == "go" else 1.0)
            ends = rng.random() < p_end
            stays = rng.random() < (p_stay if action == "stay" else 0.2)
            following = state if stays else {"a": "b", "b": "a"}[state]
            rows.append((episode, state, action, paid, duration, None if ends else following, ends))
            if ends:
                break
            state = following
    names = ["episode", "state", "action", "reward", "duration", "next_state", "terminated"]
    return pd.DataFrame(rows, columns=names)


def truth(advice, gamma, *, p_end=0.2, p_stay=0.5):
    """Value of a policy in these two states, from the start in a."""
    P, R = np.zeros((2, 2)), np.zeros(2)
    for s, state in enumerate("ab"):
        goes = advice[state] == "go"
        R[s] = {"a": 1.0, "b": 3.0}[state] + goes
        times = np.array([0.5, 2.0]) * (3.0 if goes else 1.0)
        discount = np.mean(gamma**times) * (1 - p_end)
        stays = 0.2 if goes else p_stay
        P[s, s], P[s, 1 - s] = discount * stays, discount * (1 - stays)
    return np.linalg.solve(np.eye(2) - P, R)[0]


ADVICE = {"a": "go", "b": "stay"}


# --------------------------------------------------------------------------------- closed forms


@pytest.mark.long
@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("gamma", [0.0, 0.6, 0.95])
def test_estimates_are_near_the_truth_of_a_semi_markov_process(method, gamma):
    log = two_states(3000, 0, p_end=0.6)
    options = {"methods": method, "gamma": gamma, "n_bootstrap": 50, "random_state": 0}
    expected = truth(ADVICE, gamma, p_end=0.6)
    found = evaluate_policy(ADVICE, log, **options).to_frame()
    (value,), (error,) = found["value"], found["standard_error"]
    assert 0 < error < 0.25
    assert abs(value - expected) < 4 * error
    if gamma == 0.6:  # a discount by decisions answers another question
        plain = evaluate_policy(ADVICE, log, columns={"duration": None}, **options).to_frame()
        assert plain["value"][0] - expected > 4 * error


@pytest.mark.long
@pytest.mark.parametrize("method", ["dm", "wdr"])
def test_intervals_hold_the_truth_as_often_as_they_say(method):
    held = []
    for seed in range(50):
        log = two_states(400, 1000 + seed, p_end=0.5)
        found = evaluate_policy(
            ADVICE, log, methods=method, gamma=0.9, n_bootstrap=50, random_state=seed
        )
        row = found.to_frame().iloc[0]
        held.append(row["lower"] <= truth(ADVICE, 0.9, p_end=0.5) <= row["upper"])
    assert np.mean(held) >= 0.86


@pytest.mark.long
@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("watched", [None, 4])
def test_equal_durations_are_a_power_of_gamma_to_the_last_bit(method, watched):
    log = two_states(60, 1, watched=watched)
    options = {"methods": method, "random_state": 0}
    timed = evaluate_policy(ADVICE, log.assign(duration=2.5), gamma=0.9, **options)
    plain = evaluate_policy(ADVICE, log.drop(columns="duration"), gamma=0.9**2.5, **options)
    assert timed.to_frame().equals(plain.to_frame())
    assert timed.horizon_time is None


@pytest.mark.long
@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("gamma", [0.8, 1.0])
@pytest.mark.parametrize("watched", [None, 4])
def test_the_unit_of_time_does_not_matter(method, gamma, watched):
    """Twice as many units as long, each discounted by the root."""
    log = two_states(60, 2, watched=watched)
    hours = log.assign(duration=24 * log.duration)
    options = {"methods": method, "random_state": 0}
    found = evaluate_policy(ADVICE, log, gamma=gamma, **options)
    again = evaluate_policy(ADVICE, hours, gamma=gamma ** (1 / 24), **options)
    numbers = found.to_frame().drop(columns="method").astype(float)
    assert_allclose(again.to_frame().drop(columns="method").astype(float), numbers, rtol=1e-6)
    assert (found.horizon_time is None) == (watched is None)
    if watched:
        assert_allclose(again.horizon_time, 24 * found.horizon_time)


@pytest.mark.parametrize("method", ALL)
def test_without_a_discount_time_does_not_matter_where_episodes_end(method):
    log = two_states(60, 3)
    options = {"methods": method, "random_state": 0}
    timed = evaluate_policy(ADVICE, log, **options).to_frame()
    assert timed.equals(evaluate_policy(ADVICE, log.drop(columns="duration"), **options).to_frame())


# ------------------------------------------------------------------------------------ definitions


def by_hand(log, advice, gamma, mean_time=None):
    """The importance methods row by row, with V and Q of the log's counts and dense algebra."""
    states, actions = ["a", "b"], ["go", "stay"]
    decisions = list(log.itertuples())
    visits = Counter(row.state for row in decisions)
    pairs = Counter((row.state, row.action) for row in decisions)
    shares = {(state, action): n / visits[state] for (state, action), n in pairs.items()}
    base = gamma if mean_time is None else gamma * np.exp(-1 / mean_time)
    R, P = np.zeros((2, 2)), np.zeros((2, 2, 2))
    for row in decisions:
        s, a = states.index(row.state), actions.index(row.action)
        R[s, a] += row.reward / pairs[row.state, row.action]
        if not row.terminated:
            discount = base**row.duration / pairs[row.state, row.action]
            P[s, a, states.index(row.next_state)] += discount
    take = [actions.index(advice[state]) for state in states]
    V = np.linalg.solve(np.eye(2) - P[[0, 1], take], R[[0, 1], take])
    Q = R + P @ V
    parts = []
    for _, rows in groupby(decisions, attrgetter("episode")):
        W, D, D_logged, part = 1.0, 1.0, 1.0, []
        for row in rows:
            W *= (row.action == advice[row.state]) / shares[row.state, row.action]
            after = 0.0 if row.terminated else V[states.index(row.next_state)]
            q = Q[states.index(row.state), actions.index(row.action)]
            x = D * (row.reward + base**row.duration * after - q)
            part.append((W, D_logged * row.reward, x))
            D *= base**row.duration
            D_logged *= gamma**row.duration
        parts.append(part)
    n, steps = len(parts), max(map(len, parts))
    carried = np.array([[part[min(t, len(part) - 1)][0] for t in range(steps)] for part in parts])
    paid, x = (
        np.array([[part[t][k] if t < len(part) else 0.0 for t in range(steps)] for part in parts])
        for k in (1, 2)
    )
    W, G = carried[:, -1], paid.sum(axis=1)
    with np.errstate(invalid="ignore"):  # none may agree
        normalized, wis = np.nan_to_num(carried / carried.sum(axis=0)), W @ G / W.sum()
    return {
        "is": W @ G / n,
        "wis": wis,
        "pdis": (carried * paid).sum() / n,
        "pdwis": (normalized * paid).sum(),
        "dr": V[0] + (carried * x).sum() / n,
        "wdr": V[0] + (normalized * x).sum(),
    }


@pytest.mark.long
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.95]))
def test_importance_methods_are_their_definitions_with_the_time_that_passed(seed, gamma):
    log = two_states(30, seed)
    found = evaluate_policy(
        ADVICE, log, methods=METHODS[1:], gamma=gamma, prior_strength=0, n_bootstrap=0
    )
    expected = by_hand(log, ADVICE, gamma)
    values = found.to_frame().set_index("method")["value"]
    for method, value in expected.items():
        assert_allclose(values[method], value, rtol=1e-6, atol=1e-9, err_msg=method)


@pytest.mark.long
@given(st.integers(0, 10**6), st.sampled_from([0.9, 1.0]))
def test_where_records_are_cut_off_the_doubly_robust_ones_are_followed_for_a_time(seed, gamma):
    """The others weigh each record as it was logged, whatever time it took."""
    log = two_states(40, seed, p_end=0.0, watched=3)
    found = evaluate_policy(
        ADVICE, log, methods=METHODS[1:], gamma=gamma, prior_strength=0, n_bootstrap=0
    )
    longest = log.groupby("episode").duration.sum().max()
    assert_allclose(found.horizon_time, longest)
    values = found.to_frame().set_index("method")["value"]
    for method, value in by_hand(log, ADVICE, gamma, longest).items():
        assert_allclose(values[method], value, rtol=1e-6, atol=1e-9, err_msg=method)


@pytest.mark.parametrize("method", ["fqe", "dm", "wis", "wdr"])
def test_gamma_is_per_unit_of_time(method):
    log = two_states(60, 8)
    spans = log.assign(duration=pd.to_timedelta(log.duration, unit="D"))
    options = {"methods": method, "n_bootstrap": 0}
    found = {
        unit: evaluate_policy(ADVICE, spans, gamma=gamma, duration_unit=unit, **options)
        for unit, gamma in (("day", 0.9), ("hour", 0.9 ** (1 / 24)), (None, 0.9))
    }
    of_numbers = evaluate_policy(ADVICE, log, gamma=0.9, **options)
    assert of_numbers.duration_unit is None
    for unit, one in found.items():
        assert one.duration_unit == (unit or "day")
        assert one.horizon_time is None
        assert_allclose(one.to_frame()["value"], of_numbers.to_frame()["value"], rtol=1e-9)
    assert "Discounted by 0.9 per day." in repr(found["day"])
    assert "Discounted" not in repr(of_numbers)


def test_a_scorer_and_a_comparison_name_the_unit_as_well():
    log = two_states(60, 9)
    spans = log.assign(duration=pd.to_timedelta(log.duration, unit="D"))
    policy = MarkovPolicyEstimator().fit(spans)
    named = {"gamma": 0.99, "duration_unit": "hour"}
    value = evaluate_policy(policy, spans, methods="dm", prior_strength="auto", **named)
    (expected,) = value.to_frame()["value"]
    assert_allclose(policy_scorer(**named)(policy, spans), expected)
    table = compare_policies({"one": policy}, spans, methods="dm", prior_strength="auto", **named)
    assert_allclose(table["value"], expected)
    with pytest.raises(ValueError, match=r"duration_unit='hour' is for timedeltas.*holds numbers"):
        evaluate_policy(policy, log, duration_unit="hour")
    with pytest.raises(ValueError, match="'duration_unit' parameter"):
        evaluate_policy(policy, spans, duration_unit="fortnight")


def test_a_part_of_the_records_cut_off_counts_for_its_share_in_dr_as_well():
    log = two_states(300, 4, watched=5)
    cut = log.groupby("episode").terminated.any().eq(False).mean()
    assert 0.1 < cut < 0.9
    options = {"methods": ["dr", "wdr"], "prior_strength": 0, "n_bootstrap": 0}
    found = evaluate_policy(ADVICE, log, **options)
    assert_allclose(found.cut_share, cut)
    to_the_end, in_time = (
        by_hand(log, ADVICE, 1.0, mean_time) for mean_time in (None, found.horizon_time)
    )
    values = found.to_frame().set_index("method")["value"]
    for method in ("dr", "wdr"):
        expected = (1 - cut) * to_the_end[method] + cut * in_time[method]
        assert_allclose(values[method], expected, rtol=1e-5)


def test_the_time_before_a_decision_is_that_of_those_before_it():
    durations = np.array([1.0, 2.0, 0.25, 4.0, 8.0])
    assert time_before(np.array([3, 0, 2]), durations).tolist() == [0, 1, 3, 0, 4]
    assert time_before(np.array([3, 0, 2, 0])).tolist() == [0, 1, 2, 0, 1]
    assert time_before(np.array([0]), np.zeros(0)).tolist() == []


# ----------------------------------------------------------------------------------------- errors


def candidate(log, gamma, kappa, advice=ADVICE):
    asked = {"columns": None, "behavior": np.full(len(log), 0.5), "horizon": None}
    logs = PolicyLogs(
        log,
        [advice],
        gamma=gamma,
        prior_strength=kappa,
        methods=["dm", "wdr"],
        regressor=None,
        **asked,
    )
    return logs.candidate(advice)


@pytest.mark.parametrize("kappa", [0.0, 4.0])
@pytest.mark.parametrize("gamma", [0.7, 1.0])
@pytest.mark.parametrize("watched", [None, 4])
@pytest.mark.parametrize("method", ["dm", "dr", "wdr"])
def test_a_draw_more_of_an_episode_moves_the_value_as_a_copy_of_it_does(
    method, watched, gamma, kappa
):
    """To first order: V and Q are estimated anew in the log with the copy."""
    log = two_states(400, 5, watched=watched, p_end=0.0 if watched else 0.4)
    whole = candidate(log, gamma, kappa)
    (value,) = whole.values([method])
    n = 400
    for episode in (0, 1, 2):
        copy = log[log.episode == episode].assign(episode=-1)
        (moved,) = candidate(pd.concat([log, copy]), gamma, kappa).values([method])
        draws = np.full(n, n / (n + 1))
        draws[episode] *= 2
        (expected,) = whole.values([method], draws)
        assert_allclose(moved - value, expected - value, rtol=0.1, atol=3e-4)


def test_methods_of_one_log_share_what_is_resampled():
    log = two_states(600, 6, watched=3)
    table = compare_policies(
        {"one": ADVICE, "logged": "behavior"}, log, methods=ALL, gamma=0.9, random_state=0
    )
    alone = evaluate_policy(ADVICE, log, methods=ALL, gamma=0.9, random_state=0).to_frame()
    assert_allclose(table[table.policy == "one"]["value"], alone["value"])
    assert np.isfinite(table["standard_error"]).all()


def test_a_comparison_tells_for_which_time_policies_are_followed():
    log = two_states(60, 10, watched=3, p_end=0.0)
    spans = log.assign(duration=pd.to_timedelta(log.duration, unit="D"))
    policies = {"one": ADVICE, "logged": "behavior"}
    table = compare_policies(policies, spans, methods="dm")
    longest = log.groupby("episode").duration.sum().max()
    assert_allclose(table["horizon_time"], longest)
    assert table["duration_unit"].tolist() == ["day", "day"]
    plain = compare_policies(policies, log.drop(columns="duration"), methods="dm")
    assert plain["horizon_time"].isna().all()
    assert plain["duration_unit"].isna().all()


def test_records_of_their_own_time_do_not_contradict_those_of_a_time_at_random():
    """What is paid late lies beyond many a time that is only on average as long as the records."""
    rng = np.random.default_rng(7)
    n = 200
    log = pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n), 3),
            "state": np.tile(["early", "later", "late"], n),
            "action": "go",
            "reward": np.tile([0.0, 0.0, 10.0], n) + rng.normal(size=3 * n),
            "next_state": np.tile(["later", "late", "done"], n),
            "truncated": np.tile([False, False, True], n),
            "duration": rng.choice([2.0, 4.0], 3 * n),
        }
    )
    found = evaluate_policy("go", log, methods=["dm", "wis", "wdr"]).to_frame()
    dm, wis, wdr = found["value"]
    assert_allclose(wis, log.reward.sum() / n)
    assert_allclose(wdr, dm, rtol=0.02)
    assert wis - dm > 10 * found["standard_error"].max()

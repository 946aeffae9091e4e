"""Time between decisions: what follows a row is discounted by how long the row takes."""

import datetime
import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp._evaluation.in_time import LEFT_OUT, MOST_DECISIONS, InTime
from skmdp._evaluation.long_run import rate_per_time, reached_states
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import compare_policies, evaluate_policy, value_per_time
from skmdp.metrics._candidates import PolicyLogs
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder
from skmdp.solvers import solve

GAMMA = 0.9
STATES, ACTIONS = 4, 3


def random_log(seed, n_episodes=40, length=6, *, durations=True):
    """A log with next states, ends among them, and durations of any size."""
    rng = np.random.default_rng(seed)
    n = n_episodes * length
    next_states = pd.Series(rng.integers(0, STATES, n), dtype="Int64")
    next_states[rng.random(n) < 0.1] = pd.NA
    log = pd.DataFrame(
        {
            "episode": np.arange(n) // length,
            "state": rng.integers(0, STATES, n),
            "action": rng.integers(0, ACTIONS, n),
            "reward": rng.normal(size=n),
            "next_state": next_states,
        }
    )
    return log.assign(duration=rng.exponential(2.0, n) + 0.01) if durations else log


def brute_force(log, weights, gamma, prior_strength=0.0):
    """Values of the best policy, row by row and with dense matrices."""
    N, R = np.zeros((STATES, ACTIONS)), np.zeros((STATES, ACTIONS))
    P = np.zeros((STATES, ACTIONS, STATES))
    columns = (log.state, log.action, log.reward, log.next_state, log.duration, weights)
    for s, a, r, after, duration, w in zip(*columns, strict=True):
        N[s, a] += w
        R[s, a] += w * r
        if not pd.isna(after):
            P[s, a, after] += w * gamma**duration
    of_state = P.sum(axis=1) / N.sum(axis=1)[:, np.newaxis]
    paid = R.sum(axis=1) / N.sum(axis=1)
    trust = N / (N + prior_strength)
    P = trust[..., np.newaxis] * P / N[..., np.newaxis]
    P += (1 - trust)[..., np.newaxis] * of_state[:, np.newaxis]
    R = trust * R / N + (1 - trust) * paid[:, np.newaxis]
    V = np.zeros(STATES)
    for _ in range(3000):
        V = (R + P @ V).max(axis=1)
    return V


def plant(n_episodes, seed, *, time=365.0, p_quick=0.5, truncated=True):
    """A plant that runs on: quick work pays 10 and takes 7 days, slow work 20 and 30 days.

    Half the decisions are taken in an old plant, which costs 3 more.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        now, state = 0.0, "new"
        while True:
            is_quick = rng.random() < p_quick
            duration = rng.uniform(5, 9) if is_quick else rng.uniform(25, 35)
            if now + duration > time:
                if truncated:
                    rows.append((episode, now, state, None, None, np.nan))
                break
            paid = rng.normal(10 if is_quick else 20, 2) - 3 * (state == "old")
            action = "quick" if is_quick else "slow"
            rows.append((episode, now, state, action, paid, duration))
            now += duration
            state = "new" if rng.random() < 0.5 else "old"
    names = ["episode", "step", "state", "action", "reward", "duration"]
    return pd.DataFrame(rows, columns=names)


# ------------------------------------------------------------------------------------------ values


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 7.0]), st.sampled_from([0.0, 0.6, 0.99]))
def test_values_are_those_of_rows_that_discount_by_their_durations(seed, prior_strength, gamma):
    log = random_log(seed, n_episodes=60)
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, len(log))
    policy = MarkovPolicyEstimator(gamma=gamma, prior_strength=prior_strength, tol=1e-10)
    policy.fit(log, sample_weight=weights)
    truth = brute_force(log, weights, gamma, prior_strength)
    size = max(1.0, np.abs(truth).max())
    assert_allclose(policy.state_values_, truth, atol=1e-9 * size)
    assert np.abs(policy.state_values_ - truth).max() <= policy.value_error_bound_ + 1e-12 * size
    again = solve(policy.mdp_, policy.discount_, tol=1e-10)
    assert_allclose(again.state_values, truth, atol=1e-9 * size)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"prior_strength": 2.5},
        {"prior_strength": "auto"},
        {"untried": "uniform"},
        {"pessimism": 0.5},
        {"reward_on": "state"},
    ],
)
def test_equal_durations_are_a_power_of_gamma_to_the_last_bit(parameters):
    log = random_log(3, durations=False)
    log = log[(log.state != 0) | (log.action != 0)]
    plain = MarkovPolicyEstimator(gamma=GAMMA, **parameters).fit(log)
    ones = MarkovPolicyEstimator(gamma=GAMMA, **parameters).fit(log.assign(duration=1))
    assert_array_equal(ones.q_values_, plain.q_values_)
    assert ones.value_error_bound_ == plain.value_error_bound_
    assert ones.discount_ == plain.discount_ == GAMMA
    power = MarkovPolicyEstimator(gamma=GAMMA**2.5, **parameters).fit(log)
    same = MarkovPolicyEstimator(gamma=GAMMA, **parameters).fit(log.assign(duration=2.5))
    assert_array_equal(same.q_values_, power.q_values_)


@given(
    st.tuples(st.floats(0.5, 3), st.floats(0.1, 10)),
    st.tuples(st.floats(0.5, 3), st.floats(0.1, 10)),
)
def test_the_action_that_earns_most_per_time_is_advised_as_gamma_nears_one(one, other):
    rates = [reward / duration for reward, duration in (one, other)]
    if abs(rates[0] - rates[1]) < 0.05 * max(rates):
        return
    log = pd.DataFrame([("s", 0, *one, "s"), ("s", 1, *other, "s")])
    log.columns = ["state", "action", "reward", "duration", "next_state"]
    gamma = 1 - 1e-4
    policy = MarkovPolicyEstimator(gamma=gamma, episode=None).fit(log)
    assert policy.predict(["s"])[0] == int(rates[1] > rates[0])
    reward, duration = (one, other)[int(rates[1] > rates[0])]
    # r + g^d r + g^2d r + ..., and per unit of time that is nearly the rate.
    assert_allclose(policy.state_values_[0], reward / (1 - gamma**duration), rtol=1e-6)
    assert_allclose(policy.state_values_[0] * (1 - gamma), max(rates), rtol=2e-3)


def test_an_untried_action_takes_as_long_as_the_rows_of_its_state():
    rows = [("s", 0, 1.0, 2.0, "s"), ("s", 0, 1.0, 4.0, "t"), ("t", 1, 0.0, 1.0, None)]
    log = pd.DataFrame(rows, columns=["state", "action", "reward", "duration", "next_state"])
    policy = MarkovPolicyEstimator(gamma=0.5, untried="uniform", episode=None, tol=1e-12).fit(log)
    s, t = policy.state_values_
    # After 2 or 4 units the untried action leads to s or t.
    assert_allclose(policy.q_values_[0, 1], 1 + (0.5**2 + 0.5**4) / 2 * (s + t) / 2)


def test_at_gamma_one_durations_do_not_matter():
    log = random_log(5)
    timed = MarkovPolicyEstimator(gamma=1.0, episode=None).fit(log)
    plain = MarkovPolicyEstimator(gamma=1.0, episode=None, duration=None).fit(log)
    assert_array_equal(timed.q_values_, plain.q_values_)


def test_probabilities_stay_probabilities():
    log = random_log(6)
    timed, plain = MarkovPolicyEstimator(), MarkovPolicyEstimator(duration=None)
    for kappa in (0.0, 3.0):
        timed.set_params(prior_strength=kappa).fit(log)
        plain.set_params(prior_strength=kappa).fit(log)
        for action in range(ACTIONS):
            here, there = timed.transition_matrix(action), plain.transition_matrix(action)
            assert_allclose(here.toarray(), there.toarray())


# ----------------------------------------------------------------------------------------- batches


@given(st.lists(st.integers(0, 240), max_size=4), st.integers(0, 100))
def test_batches_in_any_split_give_the_values_of_one_fit(cuts, seed):
    log = random_log(seed)
    policy = MarkovPolicyEstimator(gamma=GAMMA, tol=1e-10)
    bounds = sorted({0, *cuts, len(log)})
    for first, last in pairwise(bounds):
        policy.partial_fit(log[first:last])
    whole = MarkovPolicyEstimator(gamma=GAMMA, tol=1e-10).fit(log)
    assert_allclose(policy.q_values_, whole.q_values_, atol=1e-8)
    assert policy.discount_ == whole.discount_


def test_an_empty_batch_tells_of_no_duration():
    log = random_log(1)
    policy = MarkovPolicyEstimator().partial_fit(log[:0]).partial_fit(log).partial_fit(log[:0])
    # The solver starts at the values of the batch before, so last bits may differ.
    assert_allclose(policy.q_values_, MarkovPolicyEstimator().fit(log).q_values_, rtol=1e-12)


def test_batches_of_ones_stay_as_they_are_without_durations():
    log = random_log(2, durations=False)
    plain, ones = MarkovPolicyEstimator(), MarkovPolicyEstimator()
    for batch in (log[:100], log[100:]):
        plain.partial_fit(batch)
        ones.partial_fit(batch.assign(duration=1.0))
    assert_array_equal(ones.q_values_, plain.q_values_)


def test_batches_are_discounted_alike():
    log = random_log(1)
    policy = MarkovPolicyEstimator(gamma=0.9).fit(log)
    values = policy.q_values_
    with pytest.raises(ValueError, match=r"with gamma 0\.9, those of this one with 0\.8"):
        policy.set_params(gamma=0.8).partial_fit(log)
    policy.set_params(gamma=0.9)
    with pytest.raises(ValueError, match="came with durations, this one without"):
        policy.partial_fit(log.drop(columns="duration"))
    without = MarkovPolicyEstimator().fit(log.drop(columns="duration"))
    with pytest.raises(ValueError, match="came without durations, this one with"):
        without.partial_fit(log)
    assert_array_equal(policy.q_values_, values)


def test_the_unit_of_the_first_batch_is_that_of_all():
    log = random_log(1)
    days = log.assign(duration=pd.to_timedelta(log.duration * 3, unit="D"))
    hours = log.assign(duration=pd.to_timedelta(log.duration * 3, unit="h"))
    policy = MarkovPolicyEstimator().partial_fit(days).partial_fit(hours)
    assert policy.duration_unit_ == "day"
    both = pd.concat([days, hours])
    named = MarkovPolicyEstimator(duration_unit="day").fit(both)
    assert_allclose(policy.q_values_, named.q_values_, atol=1e-5)
    with pytest.raises(ValueError, match="with duration_unit 'day', those of this one with 'hour'"):
        policy.set_params(duration_unit="hour").partial_fit(hours)


# ------------------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("median", "unit", "amount"),
    [("30D", "day", 30), ("1D", "day", 1), ("20h", "hour", 20), ("59min", "second", 3540)]
    + [("20ms", "second", 0.02)],
)
def test_the_unit_is_the_largest_of_which_the_median_has_one(median, unit, amount):
    log = random_log(4, durations=False)
    spans = pd.Series(pd.Timedelta(median), index=log.index)
    policy = MarkovPolicyEstimator(gamma=GAMMA).fit(log.assign(duration=spans))
    assert policy.duration_unit_ == unit
    assert repr(policy).endswith(f"; gamma is per {unit}")
    numbers = MarkovPolicyEstimator(gamma=GAMMA).fit(log.assign(duration=amount))
    assert_allclose(policy.q_values_, numbers.q_values_, atol=1e-9)
    assert numbers.duration_unit_ is None
    assert "gamma is per" not in repr(numbers)


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86400), ("week", 604800)],
)
def test_a_unit_may_be_named(unit, seconds):
    log = random_log(4)
    spans = pd.to_timedelta(np.round(log.duration * 86400), unit="s")
    policy = MarkovPolicyEstimator(duration_unit=unit, gamma=0.9999).fit(log.assign(duration=spans))
    amounts = spans.dt.total_seconds() / seconds
    numbers = MarkovPolicyEstimator(gamma=0.9999).fit(log.assign(duration=amounts))
    assert_allclose(policy.q_values_, numbers.q_values_, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "convert",
    [
        lambda log: log,
        pl.from_pandas,
        lambda log: pa.Table.from_pandas(log, preserve_index=False),
        lambda log: log.convert_dtypes(dtype_backend="pyarrow"),
        lambda log: log.assign(duration=log.duration.astype(object)),
    ],
)
def test_every_kind_of_table_holds_timedeltas(convert):
    log = random_log(7)
    log["duration"] = pd.to_timedelta(np.round(log.duration * 1e6), unit="us")
    log.loc[log.next_state.isna(), "duration"] = pd.NaT
    expected = MarkovPolicyEstimator().fit(log)
    policy = MarkovPolicyEstimator().fit(convert(log))
    assert policy.duration_unit_ == expected.duration_unit_ == "second"
    assert_allclose(policy.q_values_, expected.q_values_)


@pytest.mark.parametrize(
    "convert",
    [
        lambda days: days,
        lambda days: days.astype(int),
        lambda days: pd.Timestamp("2024-02-27") + pd.to_timedelta(days, unit="D"),
        lambda days: pd.Timestamp("2024-02-27", tz="UTC") + pd.to_timedelta(days, unit="D"),
        lambda days: [datetime.date(2024, 2, 27) + datetime.timedelta(int(day)) for day in days],
        lambda days: pd.to_timedelta(days, unit="D"),
    ],
)
def test_durations_are_the_differences_of_steps(convert):
    rng = np.random.default_rng(0)
    log = plant(20, 0)
    episode, first = log.groupby("episode"), log.groupby("episode").cumcount() == 0
    gaps = pd.Series(rng.integers(1, 9, len(log)).astype(float)).where(~first, 0.0)
    days = gaps.groupby(log.episode).cumsum()
    known = days.groupby(log.episode).diff().shift(-1).where(episode.cumcount(ascending=False) > 0)
    policy = MarkovPolicyEstimator(duration="step")
    shuffled = log.assign(step=convert(days)).sample(frac=1, random_state=0)
    policy.fit(shuffled.drop(columns="duration"))
    expected = MarkovPolicyEstimator(step=None).fit(log.assign(duration=known))
    assert_allclose(policy.q_values_, expected.q_values_, rtol=1e-9)
    other = MarkovPolicyEstimator(step="when", duration="step")
    other.fit(shuffled.rename(columns={"step": "when"}))
    assert_allclose(other.q_values_, expected.q_values_, rtol=1e-9)


# --------------------------------------------------------------------------------------- bad input


def with_value(value, row=7):
    log = random_log(8)
    log["next_state"] = 1
    durations = log.duration.astype(object)
    durations[row] = value
    return log.assign(duration=durations.infer_objects())


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0.0, ValueError, r"Column 'duration' is 0\.0 at row 7 .* finite and above 0\. Correct it"),
        (-2.5, ValueError, r"is -2\.5 at row 7"),
        (np.inf, ValueError, "is inf at row 7 .* duration=None"),
        (np.nan, ValueError, "row 7 .* leads to a next state, but its duration is missing.*Fill"),
        (pd.Timedelta(days=1), TypeError, r"the number .* \(row 0, .* beside timedeltas.*to_timed"),
        ("long", TypeError, "'duration'.*uniformly strings or numbers"),
    ],
)
def test_a_duration_that_is_none_is_named(value, error, message):
    with pytest.raises(error, match=message):
        MarkovPolicyEstimator().fit(with_value(value))


@pytest.mark.parametrize(
    ("durations", "message"),
    [
        (["long"] * 240, r"'duration' holds 'long' \(row 0.*pandas.to_numeric"),
        ([True] * 240, "holds True .* positive numbers or timedeltas"),
        ([pd.Timestamp("2024")] * 240, "holds Timestamp.* say duration='step'"),
        ([pd.Timedelta(days=-1)] * 240, "is Timedelta.* at row 0 .* finite and above 0"),
    ],
)
def test_what_is_no_duration_is_refused(durations, message):
    with pytest.raises((TypeError, ValueError), match=message):
        MarkovPolicyEstimator().fit(random_log(8).assign(duration=durations))


def test_units_are_those_of_times():
    log = random_log(8)
    with pytest.raises(ValueError, match=r"duration_unit='day' is for timedeltas.*holds numbers"):
        MarkovPolicyEstimator(duration_unit="day").fit(log)
    with pytest.raises(ValueError, match=r"'duration_unit' parameter .* Got 'fortnight'"):
        MarkovPolicyEstimator(duration_unit="fortnight").fit(log)


def test_a_name_that_was_given_must_be_there():
    log = random_log(8)
    with pytest.raises(ValueError, match="no column 'wait' for the role 'duration'"):
        MarkovPolicyEstimator(duration="wait").fit(log)
    renamed = log.rename(columns={"duration": "wait"})
    expected = MarkovPolicyEstimator().fit(log)
    policy = MarkovPolicyEstimator(duration="wait").fit(renamed)
    assert_array_equal(policy.q_values_, expected.q_values_)
    with pytest.warns(UserWarning, match="'duration' may be 'durations'"):
        MarkovPolicyEstimator().fit(log.rename(columns={"duration": "durations"}))


def test_a_gap_between_steps_is_time_if_steps_are_times():
    """The error of steps that jump names a remedy, by which the gap is how long it took."""
    log = pd.DataFrame(
        {"episode": 1, "step": [0, 1, 4, 5], "state": list("abab"), "action": "go", "reward": 1.0}
    ).assign(terminated=[False] * 3 + [True])
    with pytest.raises(ValueError, match=r"step 4 follows step 1.*say duration='step', or convert"):
        MarkovPolicyEstimator().fit(log)
    policy = MarkovPolicyEstimator(duration="step", gamma=0.5, prior_strength=0).fit(log)
    timed = MarkovPolicyEstimator(gamma=0.5, prior_strength=0, step=None).fit(
        log.assign(duration=[1.0, 3.0, 1.0, 1.0])
    )
    assert_array_equal(policy.state_values_, timed.state_values_)
    converted = log.assign(step=pd.to_datetime(log.step, unit="s"))
    assert MarkovPolicyEstimator().fit(converted).n_transitions_ == 4


def test_steps_that_tell_no_duration_are_refused():
    log = plant(5, 0).drop(columns="duration")
    policy = MarkovPolicyEstimator(duration="step")
    with pytest.raises(ValueError, match="the table lacks the column 'step' for the role 'step'"):
        policy.fit(log.drop(columns="step"))
    with pytest.raises(TypeError, match=r"holds datetime\.time.*pandas\.to_datetime"):
        policy.fit(log.assign(step=datetime.time(3)))
    log = random_log(8, n_episodes=2, durations=False)
    log["next_state"] = 1
    numbered = log.assign(step=[0, 1, 2, 2, 4, 5] * 2)
    with pytest.raises(ValueError, match=r"no time lies between row 2 .* and the next row"):
        policy.fit(numbered)
    numbered = log.assign(step=[0, 1, 2, 3, 4, 5] * 2)
    with pytest.raises(ValueError, match=r"row 5 .* no row follows it.*2 row\(s\)\. Add the last"):
        policy.fit(numbered)
    numbered.loc[[5, 11], "next_state"] = pd.NA
    assert policy.fit(numbered).discount_ == 0.9


def test_only_a_row_that_leads_nowhere_may_lack_its_duration():
    log = random_log(9)
    full = MarkovPolicyEstimator().fit(log)
    lacking = log.assign(duration=log.duration.where(log.next_state.notna()))
    assert_allclose(MarkovPolicyEstimator().fit(lacking).q_values_, full.q_values_)
    ended = log.assign(
        next_state=log.next_state.fillna(1),
        terminated=log.next_state.isna(),
        duration=lacking.duration,
    )
    assert_allclose(MarkovPolicyEstimator().fit(ended).q_values_, full.q_values_)
    # So may a row that does not count, and one of which nobody knows what followed.
    unknown = log.assign(next_state=log.next_state.fillna(1), duration=lacking.duration)
    counts = log.next_state.notna()
    weighed = MarkovPolicyEstimator().fit(unknown, sample_weight=counts.to_numpy(dtype=float))
    assert_allclose(weighed.q_values_, MarkovPolicyEstimator().fit(log[counts]).q_values_)
    with pytest.warns(UserWarning, match="of the decisions are left out"):
        truncated = MarkovPolicyEstimator().fit(lacking.assign(truncated=~counts))
    assert_allclose(truncated.q_values_, weighed.q_values_)
    alone = pd.DataFrame({"state": ["s"], "action": ["a"], "reward": [1.0], "next_state": [None]})
    assert MarkovPolicyEstimator(episode=None).fit(alone.assign(duration=np.nan)).discount_ == 0.9


def test_durations_without_any_discount_are_refused():
    log = random_log(8)
    with pytest.raises(ValueError, match=r"Durations as short as .* Choose a shorter unit"):
        MarkovPolicyEstimator(gamma=0.999).fit(log.assign(duration=log.duration * 1e-16))


# ------------------------------------------------------------------------------------------ scores


def timed_value(log, advice, prior_strength):
    """Value of a policy by dense algebra, of a log whose records are all cut off."""
    whole = log[log.action.notna()]
    following = log.state.shift(-1)[whole.index]
    longest = whole.groupby("episode").duration.sum().max()
    states, names = ["new", "old"], ["quick", "slow"]
    n, paid = np.zeros((2, 2)), np.zeros((2, 2))
    P = np.zeros((2, 2, 2))
    for (_, row), after in zip(whole.iterrows(), following, strict=True):
        s, a = states.index(row.state), names.index(row.action)
        n[s, a] += 1
        paid[s, a] += row.reward
        P[s, a, states.index(after)] += np.exp(-row.duration / longest)
    take = [names.index(advice[state]) for state in states]
    trust = np.array([n[s, a] / (n[s, a] + prior_strength) for s, a in enumerate(take)])
    chosen = np.array([P[s, a] / n[s, a] for s, a in enumerate(take)])
    R = np.array([paid[s, a] / n[s, a] for s, a in enumerate(take)])
    mixed = P.sum(axis=1) / n.sum(axis=1)[:, np.newaxis]
    R = trust * R + (1 - trust) * paid.sum(axis=1) / n.sum(axis=1)
    P = trust[:, np.newaxis] * chosen + (1 - trust)[:, np.newaxis] * mixed
    return np.linalg.solve(np.eye(2) - P, R)[0]  # all records start new


@pytest.mark.parametrize("action", ["quick", "slow"])
@pytest.mark.parametrize("kappa", [0.0, 5.0])
def test_cut_records_are_followed_for_the_time_of_the_longest(action, kappa):
    log = plant(40, 1)
    advice = {"new": action, "old": "quick"}
    found = evaluate_policy(advice, log, prior_strength=kappa)
    assert found.to_frame()["method"].tolist() == ["dm"]
    assert_allclose(found.to_frame()["value"][0], timed_value(log, advice, kappa), rtol=1e-7)
    whole = log[log.action.notna()]
    assert_allclose(found.horizon_time, whole.groupby("episode").duration.sum().max())
    assert "followed for 36" in repr(found)
    assert "units of duration on average" in repr(found)


def test_score_is_the_value_over_that_time():
    log, test = plant(60, 2), plant(60, 3)
    policy = MarkovPolicyEstimator(gamma=0.999).fit(log)
    expected = evaluate_policy(policy, test, methods="dm", prior_strength="auto")
    assert_allclose(policy.score(test), expected.to_frame()["value"][0], rtol=1e-5)
    single = MarkovPolicyEstimator(gamma=0.999)
    bagged = PolicyBagging(single, 2, bootstrap=True, random_state=0).fit(log)
    assert_allclose(bagged.score(test), policy.score(test), rtol=1e-5)
    doubled = policy.score(pd.concat([test, test.assign(episode=test.episode + 1000)]))
    weighed = policy.score(test, sample_weight=np.full(len(test), 2.0))
    assert_allclose(weighed, doubled, rtol=1e-6)


def test_time_decides_between_a_quick_and_a_slow_policy():
    """Paid 10 every 7 days is more than paid 20 every 30 days, whatever decisions are counted."""
    log, test = plant(60, 4), plant(60, 5)
    timed = MarkovPolicyEstimator(gamma=0.999).fit(log)
    plain = MarkovPolicyEstimator(gamma=0.999, duration=None).fit(log)
    assert set(timed.policy_map().values()) == {"quick"}
    assert set(plain.policy_map().values()) == {"slow"}
    table = compare_policies({"quick": timed, "slow": "slow"}, test, methods=["fqe", "dm"])
    assert (table.difference_upper[table.policy == "slow"] < 0).all()
    search = GridSearchCV(
        MarkovPolicyEstimator(handle_unknown="most_frequent"),
        {"gamma": [0.0, 0.999]},
        cv=EpisodeKFold(3),
    )
    assert search.fit(log).best_params_ == {"gamma": 0.999}


def test_the_unit_of_time_is_no_part_of_a_score():
    log = plant(30, 6)
    days = log.assign(duration=pd.to_timedelta(log.duration, unit="D"))
    assert_allclose(
        MarkovPolicyEstimator(gamma=0.999).fit(days).score(days),
        MarkovPolicyEstimator(gamma=0.999).fit(log).score(log),
        rtol=1e-9,
    )
    found = evaluate_policy("quick", days, methods="dm")
    assert found.duration_unit == "day"
    assert "days on average" in repr(found)


@pytest.mark.filterwarnings("ignore:.*would last longer:UserWarning")
@pytest.mark.parametrize("method", ["dm", "fqe"])
def test_episodes_that_all_end_are_followed_as_without_durations(method):
    log = plant(30, 7, truncated=False).drop(columns="step").assign(terminated=False)
    log.loc[log.groupby("episode").tail(1).index, "terminated"] = True
    timed = evaluate_policy("quick", log, methods=method)
    plain = evaluate_policy("quick", log, methods=method, columns={"duration": None})
    assert timed.to_frame().equals(plain.to_frame())
    assert timed.horizon_time is None


@pytest.mark.parametrize("duration", [1.0, 7.5])
def test_equal_durations_leave_every_judgement_as_it_is(duration):
    log, test = plant(40, 8), plant(40, 9)
    timed, untimed = test.assign(duration=duration), test.drop(columns="duration")
    advice = {"new": "quick", "old": "quick"}
    for method in ("dm", "fqe"):
        found = evaluate_policy(advice, timed, methods=method)
        assert found.to_frame().equals(evaluate_policy(advice, untimed, methods=method).to_frame())
        assert found.horizon_time is None
    policy = MarkovPolicyEstimator().fit(log.assign(duration=duration))
    assert policy.score(timed) == policy.set_params(duration=None).score(untimed)


@pytest.mark.parametrize("method", ["dm", "fqe"])
def test_a_number_of_decisions_may_be_asked_for(method):
    log = plant(30, 9)
    timed = evaluate_policy("quick", log, methods=method, horizon=5)
    plain = evaluate_policy("quick", log, methods=method, horizon=5, columns={"duration": None})
    assert timed.to_frame().equals(plain.to_frame())


@pytest.mark.long
def test_errors_of_timed_values_are_the_spread_of_repeated_logs():
    advice = {"new": "quick", "old": "slow"}
    tables = [evaluate_policy(advice, plant(40, seed)).to_frame() for seed in range(100, 150)]
    found = pd.concat(tables)
    assert 0.75 < found.standard_error.mean() / found.value.std(ddof=1) < 1.35
    by_both = evaluate_policy(advice, plant(40, 100), methods=["fqe", "dm"]).to_frame()
    assert_allclose(*by_both.value, rtol=0.03)
    assert_allclose(*by_both.standard_error, rtol=0.35)


@pytest.mark.parametrize("kappa", [0.0, 4.0])
@pytest.mark.parametrize("advice", ["behavior", {"new": "quick", "old": "slow"}])
def test_the_influence_of_a_record_is_how_a_copy_of_it_moves_the_value(advice, kappa):
    log = plant(60, 13)

    def candidate(X):
        asked = {"columns": None, "behavior": None, "gamma": 1.0, "horizon": None}
        logs = PolicyLogs(
            X, [advice], prior_strength=kappa, regressor=None, methods=["dm"], **asked
        )
        return logs.candidate(advice)

    whole = candidate(log)
    of_rows, starts = whole.influence
    n, value = len(starts), whole.estimate.value
    influence = np.bincount(whole.replay.episode, of_rows) + (starts - value) / n
    if kappa == 0:  # twice every record is the same log
        assert_allclose(influence.sum(), 0, atol=1e-6 * np.abs(influence).sum())
    for episode in (0, 1, 2):
        copy = log[log.episode == episode].assign(episode=1000)
        moved = candidate(pd.concat([log, copy])).estimate.value - value
        assert_allclose(moved, influence[episode], rtol=0.1, atol=0.02)


@pytest.mark.filterwarnings("ignore:.*would last longer:UserWarning")
def test_a_part_of_the_records_cut_off_counts_for_its_share():
    log = plant(40, 10)
    log = log[log.action.notna()].reset_index(drop=True)
    last = log.groupby("episode").tail(1).index
    log["next_state"] = log.groupby("episode").state.shift(-1)
    log.loc[last, "next_state"] = "new"
    is_cut = log.episode < 10
    log["terminated"] = log.index.isin(last) & ~is_cut
    all_cut = log.assign(terminated=False)
    none_cut = log.assign(terminated=log.index.isin(last))
    for method in ("dm", "fqe"):
        of_part = evaluate_policy("quick", log, methods=method, prior_strength=0)
        assert of_part.cut_share == 0.25
        assert of_part.horizon_time is not None
        assert of_part.horizon == 10 * log.groupby("episode").size().max()
        low = evaluate_policy("quick", none_cut, methods=method).to_frame()["value"][0]
        high = evaluate_policy("quick", all_cut, methods=method).to_frame()["value"][0]
        assert low < of_part.to_frame()["value"][0] < high


# --------------------------------------------------------------------------------- in good company


def test_policies_behind_an_encoder_are_judged_in_time():
    rng = np.random.default_rng(0)
    log, test = plant(60, 11), plant(60, 12)
    for table in (log, test):
        table["wear"] = (table.state == "old") * 10.0 + rng.normal(size=len(table))
    policy = make_pipeline(
        StateEncoder(state="wear", n_states=2),
        MarkovPolicyEstimator(state="wear", gamma=0.999, handle_unknown="most_frequent"),
    )
    policy.fit(log.drop(columns="state"))
    assert set(policy[-1].policy_map().values()) == {"quick"}
    found = evaluate_policy(policy, test.drop(columns="state"))
    assert found.to_frame()["method"].tolist() == ["fqe", "dm"]
    assert found.is_better
    assert policy.score(test.drop(columns="state")) > found.behavior_value


def test_members_of_an_ensemble_count_in_one_unit():
    log = random_log(1, n_episodes=200)
    log["duration"] = pd.to_timedelta(log.duration, unit="D")
    log["duration"] *= pd.Timedelta("1D") / log.duration.median()
    single = MarkovPolicyEstimator()
    with pytest.raises(ValueError, match=r"would be counted in 'day', 'hour'.*duration_unit="):
        PolicyBagging(single, 10, bootstrap=True, random_state=0).fit(log)
    named = single.set_params(duration_unit="day")
    PolicyBagging(named, 10, bootstrap=True, random_state=0).fit(log)


@pytest.mark.parametrize("forget", [0.5, 1.0])
def test_earlier_batches_that_weigh_less_keep_their_discounts(forget):
    log, later = random_log(1), random_log(2)
    weights = np.repeat([forget, 1.0], len(log))
    expected = MarkovPolicyEstimator().fit(pd.concat([log, later]), sample_weight=weights)
    policy = MarkovPolicyEstimator().partial_fit(log).partial_fit(later, forget=forget)
    assert_allclose(policy.q_values_, expected.q_values_, atol=1e-5)


def test_values_without_forbidden_actions_are_discounted_by_time_as_well():
    log = random_log(1)
    forbidden = pd.DataFrame({"state": [0, 1], "action": [0, 1]})
    policy = MarkovPolicyEstimator(forbidden=forbidden).fit(log)
    taken = zip(log.state, log.action, strict=True)
    allowed = [pair not in {(0, 0), (1, 1)} for pair in taken]
    expected = MarkovPolicyEstimator().fit(log[allowed])
    assert_allclose(policy.state_values_, expected.state_values_, atol=1e-5)


def test_pickles_keep_the_unit():
    log = random_log(1)
    log["duration"] = pd.to_timedelta(log.duration, unit="D")
    policy = MarkovPolicyEstimator().fit(log)
    again = pickle.loads(pickle.dumps(policy))
    assert repr(again) == repr(policy)
    assert_array_equal(again.partial_fit(log).q_values_, policy.partial_fit(log).q_values_)


def test_the_number_of_decisions_followed_is_bounded():
    usual = InTime.of_durations(np.array([2.0, 1.0]), 2.0, 1.0).parts(longest=3)
    ((share, counts_time, horizon),) = usual
    assert (share, counts_time) == (1.0, True)
    assert np.exp(-0.5) ** horizon.steps <= LEFT_OUT < np.exp(-0.5) ** (horizon.steps - 2)
    ((_, _, longest),) = InTime.of_durations(np.array([1.0, 1e-9]), 1.0, 1.0).parts(longest=3)
    assert longest.steps == MOST_DECISIONS


# ---------------------------------------------------------------------------------------- per time


def test_the_value_per_time_of_a_plant_is_its_rate():
    log = plant(300, 20)
    for action, paid, duration in (("quick", 10, 7), ("slow", 20, 30)):
        rate = value_per_time(action, log, prior_strength=0).value
        assert_allclose(rate, (paid - 1.5) / duration, rtol=0.03)
    policy = MarkovPolicyEstimator(gamma=0.999).fit(plant(60, 21))
    assert value_per_time(policy, log).lower > value_per_time("behavior", log).upper
    days = log.assign(duration=pd.to_timedelta(log.duration, unit="D"))
    in_days, in_numbers = value_per_time("quick", days), value_per_time("quick", log)
    assert (in_days.duration_unit, in_numbers.duration_unit) == ("day", None)
    assert repr(in_days).endswith("95%) per day")
    assert repr(in_numbers).endswith("95%) per unit of duration")
    for figure in ("value", "standard_error", "lower", "upper"):
        assert_allclose(getattr(in_days, figure), getattr(in_numbers, figure), rtol=1e-9)
    per_hour = value_per_time("quick", days, duration_unit="hour")
    assert_allclose(24 * per_hour.upper, in_days.upper)
    per_decision = value_per_time("slow", log, columns={"duration": None}, prior_strength=0).value
    assert_allclose(per_decision, 18.5, rtol=0.03)


@pytest.mark.long
@given(st.integers(0, 10**6))
def test_the_value_per_time_is_that_of_following_for_very_long(seed):
    """Two parts that are never left, and states on the way to them."""
    rng = np.random.default_rng(seed)
    P = np.zeros((7, 7))
    P[:3] = rng.dirichlet(np.ones(7), size=3)
    P[3:5, 3:5] = rng.dirichlet(np.ones(2), size=2)
    P[5:, 5:] = rng.dirichlet(np.ones(2), size=2)
    R, D, start = (
        rng.normal(size=7),
        rng.uniform(0.1, 5, 7),
        np.append(rng.dirichlet([1] * 3), [0] * 4),
    )
    settled = np.linalg.matrix_power((np.eye(7) + P) / 2, 2**20)
    one, other = settled[3], settled[5]
    by_part = start @ settled
    expected = sum(
        by_part[part].sum() * (share @ R) / (share @ D)
        for share, part in ((one, [3, 4]), (other, [5, 6]))
    )
    found = rate_per_time(csr_array(P), R, D, start)
    assert_allclose(found.value, expected, rtol=1e-6, atol=1e-6)
    by_start = [rate_per_time(csr_array(P), R, D, one).value for one in np.eye(7)]
    assert_allclose(found.rates, by_start, atol=1e-9)
    assert reached_states(csr_array(P), start).all()
    assert_array_equal(reached_states(csr_array(P), np.eye(7)[3]), [0, 0, 0, 1, 1, 0, 0])


def test_what_ends_has_no_value_per_time():
    with pytest.raises(ValueError, match=r"after state 'new'|after state 'old'"):
        value_per_time("quick", plant(30, 22, truncated=False))


@pytest.mark.parametrize("seed", range(3))
def test_a_policy_for_irregular_inspections_is_near_the_best(seed):
    """The best of all policies is known: quick work in each state."""
    policy = MarkovPolicyEstimator(gamma=0.999).fit(plant(30, 30 + seed))
    fresh = plant(300, 40 + seed)
    best = value_per_time({"new": "quick", "old": "quick"}, fresh, prior_strength=0)
    assert value_per_time(policy, fresh, prior_strength=0).value > 0.95 * best.value


# ------------------------------------------------------------------------------------------- doubts


@pytest.mark.filterwarnings("ignore:.*1 time in 20:UserWarning")
def test_of_a_policy_that_is_hardly_ever_logged_every_decision_is_unsupported():
    log = plant(200, 50, p_quick=0.02)
    found = evaluate_policy("quick", log, methods="fqe")
    assert found.cut_share == 1
    assert_allclose(found.unsupported_share, 1.0, rtol=1e-6)


def test_only_what_is_followed_to_the_end_is_extrapolated():
    log = plant(40, 10)
    log = log[log.action.notna()].reset_index(drop=True)
    last = log.groupby("episode").tail(1).index
    log["next_state"] = log.groupby("episode").state.shift(-1)
    log.loc[last, "next_state"] = "new"
    log["terminated"] = log.index.isin(last) & (log.episode >= 10)
    with pytest.warns(UserWarning, match="would last longer") as caught:
        found = evaluate_policy("quick", log, methods="dm")
    assert found.cut_share == 0.25
    assert f"{0.75 * found.outlasting_share:.1%} of the policy" in str(caught[0].message)


# ------------------------------------------------------------------------ records cut by a window


def watched(rng, window, n, *, until_the_end):
    """Episodes that stop at a time: a short patch, or a drill that takes long half of the time.

    ``until_the_end``: the last decision of a record is waited for; else it is cut off.
    """
    rows = []
    for episode in range(n):
        time = 0.0
        while time <= window:
            action = rng.choice(["patch", "drill"])
            duration = 7.0 if action == "patch" else rng.choice([5.0, 70.0])
            is_seen = until_the_end or time + duration <= window
            following, known = ("dry", duration) if is_seen else (None, np.nan)
            reward = 10.0 if action == "patch" else 20.0
            rows.append((episode, time, "dry", action, reward, following, known, False))
            time += duration
            if not is_seen:
                break
    columns = ["episode", "step", "state", "action", "reward", "next_state", "duration"]
    return pd.DataFrame(rows, columns=[*columns, "terminated"])


def test_decisions_that_take_too_long_to_be_seen_are_told_of():
    """A drill is worse, but those of its rows that show it are left out."""
    rng = np.random.default_rng(0)
    cut, test = (watched(rng, 60.0, 300, until_the_end=False) for _ in range(2))
    with pytest.warns(UserWarning, match="of the decisions are left out.*The longer a decision"):
        policy = MarkovPolicyEstimator(gamma=0.99).fit(cut)
    assert policy.predict(["dry"])[0] == "drill"
    with pytest.warns(UserWarning, match="of the decisions are left out"):
        result = evaluate_policy(policy, test, random_state=0)
    assert result.to_frame()["difference_lower"].iloc[0] > 0
    assert not result.is_better
    assert result.unknown_time_share > 0.1
    assert "it is not known how long" in result.conclusion


def test_decisions_that_are_waited_for_tell_the_truth():
    rng = np.random.default_rng(0)
    log, test = (watched(rng, 60.0, 300, until_the_end=True) for _ in range(2))
    policy = MarkovPolicyEstimator(gamma=0.99).fit(log)
    assert policy.predict(["dry"])[0] == "patch"
    result = evaluate_policy(policy, test, random_state=0)
    assert result.unknown_time_share == 0
    assert result.is_better


def test_a_last_row_when_watching_stopped_lets_every_decision_count():
    """Its time is a lower bound, which is what is known of it; the better action is found."""
    log = watched(np.random.default_rng(0), 60.0, 300, until_the_end=False)
    ends = pd.DataFrame({"episode": range(300), "step": 60.5, "state": "dry"})
    columns = ["episode", "step", "state", "action", "reward"]
    whole = pd.concat([log[columns], ends]).sort_values(["episode", "step"], kind="stable")
    policy = MarkovPolicyEstimator(gamma=0.99, duration="step").fit(whole)
    assert policy.n_truncated_ == 0
    assert policy.predict(["dry"])[0] == "patch"

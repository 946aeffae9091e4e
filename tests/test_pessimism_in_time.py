"""Pessimism where decisions take different times: each row is an outcome of its own."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp._estimation.folds import CountedRows
from skmdp._log.discounting import weighted_discounts
from skmdp._log.evidence import gather
from skmdp._log.reading import read_table

STATES, ACTIONS = 3, 2


def random_log(seed, n=90):
    """Decisions with next states, ends among them, and few rows for each of them."""
    rng = np.random.default_rng(seed)
    next_states = pd.Series(rng.integers(0, STATES, n), dtype="Int64")
    next_states[rng.random(n) < 0.1] = pd.NA
    duration = rng.exponential(2.0, n) + 0.1
    return pd.DataFrame(
        {
            "episode": np.arange(n) // 6,
            "state": rng.integers(0, STATES, n),
            "action": rng.integers(0, ACTIONS, n),
            "reward": duration * rng.normal(size=n),  # so that both vary together
            "next_state": next_states,
            "duration": duration,
        }
    )


def learner(gamma=0.9, **options):
    return MarkovPolicyEstimator(gamma=gamma, tol=1e-9, **options)


def by_rows(log, gamma, pessimism):
    """Values by the definition, row by row: V without pessimism, then with it."""
    discounts = gamma ** log.duration.to_numpy()
    led_to = log.next_state.fillna(STATES).to_numpy(dtype=int)
    state, rewards = log.state.to_numpy(), log.reward.to_numpy()
    pairs = {key: rows.index.to_numpy() for key, rows in log.groupby(["state", "action"])}
    n_steps = 150 if gamma > 0.5 else 30

    means = [rewards[rows].mean() for rows in pairs.values()]
    # No action is worth less than the lowest mean reward, or nothing, for ever.
    floor = min(0.0, *means) / (1 - discounts.max())

    def solve(beta, of_state):
        V = np.zeros(STATES + 1)
        for _ in range(n_steps):
            worth = rewards + discounts * V[led_to]
            Q = np.full((STATES, ACTIONS), -np.inf)
            for (s, a), rows in pairs.items():
                n, spread = len(rows), worth[rows].var()
                variance = (n * spread + of_state[s]) / (n + 1)
                Q[s, a] = worth[rows].mean() - beta * np.sqrt(variance / n)
                if beta > 0:
                    Q[s, a] = max(Q[s, a], floor)
            V[:STATES] = Q.max(axis=1)
        return V, worth

    _, worth = solve(0.0, np.zeros(STATES))
    of_state = np.array([worth[state == s].var() for s in range(STATES)])
    return solve(pessimism, of_state)[0][:STATES]


@given(st.integers(0, 10**6), st.sampled_from([0.25, 1.0]), st.sampled_from([0.3, 0.9]))
def test_values_are_those_of_rows_that_are_outcomes_of_their_own(seed, pessimism, gamma):
    log = random_log(seed)
    policy = learner(gamma, pessimism=pessimism).fit(log)
    assert_allclose(policy.state_values_, by_rows(log, gamma, pessimism), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_is_proven(seed):
    """A loose solution lies within its bound of a tight one."""
    log = random_log(seed)
    loose = MarkovPolicyEstimator(gamma=0.95, tol=0.05, pessimism=0.7).fit(log)
    tight = learner(0.95, pessimism=0.7).fit(log)
    error = np.abs(loose.state_values_ - tight.state_values_).max()
    assert error <= loose.value_error_bound_ + tight.value_error_bound_


def test_the_unit_of_time_does_not_matter():
    log = random_log(1)
    days = learner(0.9, pessimism=0.5).fit(log)
    hours = learner(0.9 ** (1 / 24), pessimism=0.5).fit(log.assign(duration=24 * log.duration))
    assert_allclose(hours.q_values_, days.q_values_, rtol=1e-7)


def test_equal_durations_are_a_power_of_gamma_to_the_last_bit():
    log = random_log(2)
    timed = learner(0.9, pessimism=0.5).fit(log.assign(duration=3.0))
    plain = learner(0.9**3, pessimism=0.5, duration=None).fit(log)
    assert_array_equal(timed.q_values_, plain.q_values_)


def test_times_that_vary_are_a_risk():
    """Two actions of one mean; that whose time varies is lowered more, as V is far from 0."""
    discounts = np.array([0.98, 0.82])  # 0.9 on average
    log = pd.DataFrame(
        {
            "state": "on",
            "action": np.repeat(["steady", "varying"], [200, 250]),
            "reward": 1.0,
            "next_state": "on",
        }
    )
    log["duration"] = np.where(
        log.action == "steady", 1.0, np.log(np.resize(discounts, 450)) / np.log(0.9)
    )
    plain, careful = (learner(pessimism=one).fit(log) for one in (0.0, 1.0))
    lowered = plain.q_values_[0] - careful.q_values_[0]
    assert lowered[1] - lowered[0] > 0.03
    assert careful.policy_map() == {"on": "steady"}


def test_batches_give_what_one_fit_gives():
    log = random_log(4).sort_values(
        "duration", ignore_index=True
    )  # each with a shortest of its own
    log["episode"] = np.arange(len(log))
    whole, batches = learner(pessimism=0.5).fit(log), learner(pessimism=0.5)
    for _, batch in log[::-1].groupby(np.arange(len(log))[::-1] // 31):
        batches.partial_fit(batch)
    assert_allclose(batches.q_values_, whole.q_values_, rtol=1e-7)


def test_batches_of_equal_durations_count_among_others():
    log = random_log(5)
    log.loc[:44, "duration"] = 1.5
    whole = learner(pessimism=0.5).fit(log)
    batches = learner(pessimism=0.5).partial_fit(log[:45]).partial_fit(log[45:])
    # Pieces of an episode count as two, which matters for no value.
    assert_allclose(batches.q_values_, whole.q_values_, rtol=1e-7)


def test_whole_weights_are_numbers_of_rows():
    log = random_log(6)
    times = np.random.default_rng(6).integers(1, 4, len(log))
    weighed = learner(pessimism=0.5).fit(log, sample_weight=times.astype(float))
    doubled = learner(pessimism=0.5).fit(log.loc[np.repeat(log.index, times)])
    assert_allclose(weighed.q_values_, doubled.q_values_, rtol=1e-7)
    with pytest.raises(ValueError, match="squares of discounts, which are not kept"):
        learner(pessimism=0.5).fit(log, sample_weight=times + 0.5)


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("reward", ["reward", None])
def test_lazy_tables_add_up_what_variances_need(alike, reward):
    log = random_log(7)
    log["next_state"] = log["next_state"].astype("float")
    if alike:
        log["duration"] = 1.5
    of_rows = learner(pessimism=0.5, episode=None, reward=reward).fit(log)
    lazy = learner(pessimism=0.5, episode=None, reward=reward).fit(pl.from_pandas(log).lazy())
    assert_allclose(lazy.q_values_, of_rows.q_values_, rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_of_a_part_keep_what_variances_need(weighted):
    """Those of some rows and of the others add up to those of all."""
    log = random_log(9)
    weights = np.random.default_rng(9).integers(1, 4, len(log)).astype(float)
    read = read_table(log, MarkovPolicyEstimator()._roles(), weights if weighted else None)
    evidence = gather(read, keep_squares=True, gamma=0.9)
    counts = evidence.counts
    codes = read.state_codes, read.action_codes, read.next_codes
    discounts = weighted_discounts(read, evidence.discounting)
    triple = counts.find_triples(*codes)
    whole = CountedRows(counts, triple, read.weights, read.rewards, discounts)
    rows = np.arange(20, 50)
    part, others = whole.part(rows).counts, whole.without(rows)
    for name in ("discount_sums", "discount_squares", "reward_discounts", "reward_squares"):
        both = getattr(part, name).sum() + getattr(others, name).sum()
        assert_allclose(both, getattr(counts, name).sum())
        amounts = {
            "discount_sums": discounts,
            "discount_squares": discounts**2 / (read.weights if weighted else 1.0),
            "reward_discounts": discounts * read.rewards,
            "reward_squares": (read.weights if weighted else 1.0) * read.rewards**2,
        }[name]
        assert_allclose(getattr(part, name).sum(), amounts[rows].sum())
    assert part.duration_sums is None is others.duration_sums


@pytest.mark.filterwarnings("ignore:In .* a row of X does not lead to:UserWarning")  # by chance
def test_cross_validation_learns_folds_with_it():
    """Of no row too many: a fold's policy is that of the other episodes' rows."""
    log = random_log(8, n=300)
    search = MarkovPolicyCV(
        gamma=0.9, pessimism=0.5, min_counts=[0, 6], prior_strengths=[0.0], cv=3, random_state=0
    ).fit(log)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    chosen = learner(pessimism=0.5, min_count=search.min_count_).fit(log)
    assert_allclose(search.q_values_, chosen.q_values_, rtol=1e-4)

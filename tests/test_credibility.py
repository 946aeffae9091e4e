"""Variances that few rows cannot show: credibility, and standard errors of rare rewards."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_less

from skmdp._estimation.counts import count_transitions
from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.credibility import Outcomes, Residuals, Spread, lacking_variance
from skmdp._evaluation.direct import choice_of_actions
from skmdp._evaluation.lots import products_of_episodes
from skmdp._evaluation.replay import Replay
from skmdp._evaluation.standard_errors import (
    direct_error,
    lacking_error,
    standard_error,
    standard_error_of_lots,
    standard_error_of_rows,
)

SEEDS = st.integers(0, 2**31 - 1)


def drawn(seed, *, n=300, n_groups=24, n_parents=3):
    """Outcomes of normal residuals whose spread differs from group to group."""
    rng = np.random.default_rng(seed)
    group = rng.integers(n_groups, size=n)
    spread = rng.exponential(size=n_groups)
    return outcomes_of(
        rng.exponential(size=n) / n,
        spread[group] * rng.normal(size=n),
        group,
        np.sort(rng.integers(n_parents, size=n_groups)),
    )


def outcomes_of(weights, amounts, group, parent):
    return Outcomes(weights, Residuals(amounts, group, parent))


def with_amounts(outcomes, amounts):
    return replace(outcomes, residuals=replace(outcomes.residuals, amounts=amounts))


# ------------------------------------------------------------------------------------- prior rows


def test_credibility_is_that_of_buehlmann_and_straub():
    """The textbook's sums, group by group; here one parent, so that it is their model."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(4, 30, size=15)
    group = np.repeat(np.arange(15), sizes)
    x = rng.exponential(size=15)[group] * rng.normal(size=len(group)) ** 2
    means = np.array([x[group == g].mean() for g in range(15)])
    within = sum(((x[group == g] - means[g]) ** 2).sum() for g in range(15)) / (len(x) - 15)
    overall = x.mean()
    c = len(x) - (sizes**2).sum() / len(x)
    between = ((sizes * (means - overall) ** 2).sum() - 14 * within) / c
    assert_allclose(Spread(x, group, 15).prior_rows(np.zeros(15, dtype=int)), within / between)


def test_more_parents_compare_groups_within_each():
    """A parent with larger variances does not make groups look different."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(40), 200)
    parent = np.repeat([0, 1], 20)
    x = np.where(parent == 0, 1.0, 50.0)[group] * rng.normal(size=len(group)) ** 2
    assert Spread(x, group, 40).prior_rows(np.zeros(40, dtype=int)) < 10
    assert Spread(x, group, len(parent)).prior_rows(parent) > 100


def test_equal_variances_are_pooled_and_different_ones_are_not():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(50), 40)
    noise = rng.normal(size=len(group)) ** 2
    one = np.zeros(50, dtype=int)
    assert Spread(noise, group, len(one)).prior_rows(one) > 100
    assert Spread(rng.exponential(size=50)[group] * noise, group, len(one)).prior_rows(one) < 10
    assert Spread(np.ones(len(group)), group, len(one)).prior_rows(one) == np.inf
    of_itself = Spread(np.where(group == 0, 1.0, 0.0), group, len(one))  # each tells all
    assert of_itself.prior_rows(one) == 1


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5])
def test_few_groups_are_judged_by_the_kurtosis(p):
    """That of a rare event is (1 - p) / p + p / (1 - p) - 1; a parent counts for one row."""
    n = 1000
    x = np.arange(n) < p * n
    squares = (x - p) ** 2
    kurtosis = (1 - p) / p + p / (1 - p) - 1
    found = Spread(squares, np.repeat([0, 1], n // 2), 2).prior_rows(np.zeros(2, dtype=int))
    assert_allclose(found, max(1, kurtosis - 1))


def test_groups_of_few_rows_tell_nothing_of_variances():
    rng = np.random.default_rng(3)
    group = np.append(np.repeat(np.arange(20), 30), 20 + np.arange(300) // 3)
    squares = np.append(rng.normal(size=600) ** 2, np.full(300, 1e6))
    parent = np.zeros(120, dtype=int)
    found = Spread(squares, group, len(parent)).prior_rows(parent)
    assert_allclose(found, Spread(squares[:600], group[:600], 20).prior_rows(parent[:20]))
    assert Spread(np.zeros(8), np.arange(8), 8).prior_rows(np.zeros(8, dtype=int)) == 1


# -------------------------------------------------------------------------------- lacking variance


@pytest.mark.parametrize("n", [10, 40])
def test_rows_without_a_spread_have_that_of_the_others(n):
    """n rows of residual 0 beside 400, of which 4 are not: one parent, weights 1 / n."""
    events = np.arange(400) < 4
    residuals = np.concatenate([np.zeros(n), events - 0.01])
    group = np.repeat([0, 1], [n, 400])
    weights = np.where(group == 0, 1 / n, 0.0)
    variance = (residuals**2).sum() / (n - 1 + 399)
    squares = residuals**2 * (400 / 399)
    k = np.mean(squares**2) / np.mean(squares) ** 2 - 1
    found = lacking_variance(outcomes_of(weights, residuals, group, np.zeros(2, dtype=int)))
    assert_allclose(found, k / (n + k) * variance / n, rtol=1e-12)
    # Towards a parent without a spread of its own, that of the log counts.
    apart = lacking_variance(outcomes_of(weights, residuals, group, np.array([0, 1])))
    assert_allclose(apart, k / (n + k) * k / (n - 1 + k) * variance / n, rtol=1e-12)


def test_what_is_seen_to_be_large_stays():
    outcomes = drawn(0)
    rows = outcomes.residuals
    large = with_amounts(outcomes, np.where(rows.group == 3, 50, 1) * rows.amounts)
    assert lacking_variance(replace(large, weights=np.where(rows.group == 3, 0.1, 0.0))) == 0
    assert lacking_variance(replace(large, weights=np.where(rows.group == 4, 0.1, 0.0))) > 0


def test_nothing_is_lacking_where_no_residual_differs_from_zero():
    assert lacking_variance(with_amounts(drawn(1), np.zeros(300))) == 0


@given(seed=SEEDS, factor=st.floats(0.1, 10), n_groups=st.integers(1, 60))
def test_units_and_labels_mean_nothing(seed, factor, n_groups):
    outcomes = drawn(seed, n_groups=n_groups)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(300), rng.permutation(n_groups)
    parent = np.empty(n_groups, dtype=int)
    rows = outcomes.residuals
    parent[names] = rows.parent
    other = outcomes_of(
        factor * outcomes.weights[order],
        rows.amounts[order] / factor**2,
        names[rows.group][order],
        parent,
    )
    assert_allclose(
        lacking_variance(other), lacking_variance(outcomes) / factor**2, rtol=1e-6, atol=1e-12
    )


@given(seed=SEEDS, n_groups=st.integers(1, 60))
def test_an_entry_may_stand_for_rows_that_agree(seed, n_groups):
    few, rng = drawn(seed, n_groups=n_groups), np.random.default_rng(seed)
    n_rows = rng.integers(1, 6, size=300)
    rows = few.residuals
    many = outcomes_of(
        *(np.repeat(x, n_rows) for x in (few.weights, rows.amounts, rows.group)), rows.parent
    )
    few = replace(few, residuals=replace(rows, n_rows=n_rows.astype(float)))
    assert_allclose(lacking_variance(few), lacking_variance(many), rtol=1e-9, atol=1e-15)
    found = Residuals.of_outcomes(rows.amounts, rows.group, rows.parent, few.residuals.n_rows)
    expected = Residuals.of_outcomes(
        many.residuals.amounts, many.residuals.group, rows.parent, None
    )
    assert_allclose(np.repeat(found.amounts, n_rows), expected.amounts, atol=1e-9)
    n_starts = rng.integers(1, 4, size=20).astype(float)
    starts = rng.normal(size=20)
    assert_allclose(
        standard_error_of_rows(few.weights, starts, n_rows.astype(float), n_starts),
        standard_error(
            np.repeat(few.weights, n_rows),
            np.repeat(starts, n_starts.astype(int)),
            many.weights,
            None,
        ),
        rtol=1e-9,
    )


def test_one_row_shows_no_spread():
    one = np.ones(1)
    assert np.isnan(standard_error_of_rows(one, one, one, 5 * one))
    assert np.isnan(standard_error_of_rows(one, one, 5 * one, one))


@given(seed=SEEDS)
def test_differences(seed):
    one, rng = drawn(seed), np.random.default_rng(seed)
    other = with_amounts(
        replace(one, weights=rng.exponential(size=300) / 300), rng.normal(size=300)
    )
    none = replace(one, weights=np.zeros(300))
    assert lacking_variance(one, one) == 0
    assert_allclose(lacking_variance(one, other), lacking_variance(other, one))
    assert_allclose(lacking_variance(one, none), lacking_variance(one))
    assert_allclose(lacking_variance(none, one), lacking_variance(one))
    double = replace(one, weights=2 * one.weights)
    assert_allclose(lacking_variance(double, one), lacking_variance(one), atol=1e-15)


def test_rows_that_count_unequally_are_as_good_as_fewer():
    """Of 100 rows in the group only 20 count."""
    group = np.repeat([0, 1], [100, 500])
    residuals = np.where(group == 0, 0.0, np.where(np.arange(600) % 2, 1.0, -1.0))
    some = (np.arange(600) < 20) / 20
    parent = np.zeros(2, dtype=int)
    found = lacking_variance(outcomes_of(some, residuals, group, parent))
    variance = 500 / 598
    squares = residuals**2
    k = max(1, np.mean(squares**2) / np.mean(squares) ** 2 - 1)
    assert_allclose(found, k / (20 + k) * variance / 20)


# --------------------------------------------------------------------------------- standard errors


def clicks(seed, *, rate=0.004, n=10_000, n_actions=80, n_copies=1, kappa=1.0):
    """One-step episodes in three states, of which few pay."""
    rng = np.random.default_rng(seed)
    states, actions = rng.integers(3, size=n), rng.integers(n_actions, size=n)
    rewards = (rng.random(n) < rate).astype(float)
    states, actions, rewards = (np.tile(x, n_copies) for x in (states, actions, rewards))
    ends = np.full(len(states), -1)
    counts = count_transitions(states, actions, ends, 3, n_actions, rewards=rewards)
    return Replay.of_rows(
        counts,
        counts.find_triples(states, actions, ends),
        rewards,
        None,
        longest=1,
        cut_share=0.0,
        horizon=None,
        start_codes=states,
        lengths=np.ones(len(states), dtype=int),
        gamma=1.0,
        prior_strength=kappa,
    )


def never_paid(log):
    """The policy whose action in each state is the first that never paid."""
    counts = log.counts
    never = np.flatnonzero(counts.pair_rewards == 0)
    first = never[np.searchsorted(counts.pair_state[never], np.arange(3))]
    return Candidate(log, choice_of_actions(counts, counts.pair_action[first]))


@pytest.mark.parametrize("kappa", [0.0, 1.0])
@pytest.mark.parametrize("method", ["dm", "is", "wis", "pdis", "pdwis", "dr", "wdr"])
def test_rewards_that_none_of_the_rows_shows_are_not_ruled_out(method, kappa):
    """The true error is about sqrt(p / n) with n rows in all; the interval holds the rate."""
    log = clicks(0, kappa=kappa)
    asked = never_paid(log)
    rows = log.counts.triple_pair[log.triple]
    n = np.count_nonzero(asked.choice[rows])
    truth = np.sqrt(0.004 / n)
    logged = Candidate(log, None)
    for other in (None, logged):
        lacking = lacking_error(method, asked, other)
        assert 0.7 * truth < lacking < 1.5 * truth
    assert lacking_error(method, logged, None) < 0.2 * standard_error(
        *logged.influence, log.episode, 10_000
    )
    assert lacking_error(method, asked, asked) == 0


def test_the_error_of_the_direct_method_adds_what_is_lacking():
    log = clicks(1)
    asked, logged = never_paid(log), Candidate(log, None)
    for other in (None, logged):
        of_rows, starts = asked.influence
        if other is not None:
            of_rows, starts = of_rows - other.influence[0], starts - other.influence[1]
        shown = standard_error(of_rows, starts, log.episode, 10_000)
        whole = direct_error(asked, other, 10_000)
        assert_allclose(whole**2, shown**2 + lacking_error("dm", asked, other) ** 2)
    assert np.isnan(direct_error(asked, None, 1))
    assert direct_error(asked, asked, 10_000) == 0


def test_a_log_twice_as_long_is_half_as_uncertain_where_rows_are_many():
    once, twice = (clicks(2, rate=0.2, n_actions=4, n_copies=copies) for copies in (1, 2))
    choice = choice_of_actions(once.counts, np.array([0, 1, 2]))
    errors = [direct_error(Candidate(log, choice), None, 10_000) for log in (once, twice)]
    assert_allclose(errors[1], errors[0] / np.sqrt(2), rtol=0.01)


@pytest.mark.parametrize("method", ["dm", "is", "wdr"])
def test_constant_rewards_leave_nothing_to_chance(method):
    log = clicks(3)
    paid = np.full(len(log.rewards), 2.0)
    ends = np.full(len(paid), -1)
    states, pair = log.start_codes, log.counts.triple_pair[log.triple]
    counts = count_transitions(states, log.counts.pair_action[pair], ends, 3, 80, rewards=paid)
    constant = replace(log, counts=counts, rewards=paid)
    choice = choice_of_actions(counts, np.array([0, 1, 2]))
    assert_allclose(lacking_error(method, Candidate(constant, choice), None), 0, atol=1e-12)
    assert_allclose(direct_error(Candidate(constant, choice), None, 10_000), 0, atol=1e-12)


def test_lots_of_one_episode_give_the_error_by_episode():
    """Rows and starts may lie in any order."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, 60)
    episode = np.repeat(np.arange(60), lengths)
    of_rows, starts = rng.normal(size=len(episode)), rng.normal(size=60)
    expected = standard_error(of_rows, starts, episode, 60)
    found = standard_error_of_lots(of_rows, starts, np.ones(60), episode, np.arange(60))
    assert found == pytest.approx(expected, rel=1e-12)


def test_lots_of_a_block_show_on_average_what_episodes_do():
    """The products of what lots add up to are as large as those of episodes, up to chance."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        x = rng.normal(size=(400, 2)) @ [[1.0, 0.5], [0.0, 2.0]]
        sums = x.reshape(100, 4, 2).sum(axis=1)
        found.append(products_of_episodes(sums, np.full(100, 4.0)) / (x.T @ x))
    errors = np.std(found, axis=0) / np.sqrt(len(found))
    assert_array_less(np.abs(np.mean(found, axis=0) - 1), 4 * errors)


def test_what_changes_from_block_to_block_counts_once():
    """A sum over lots would count it as often as a lot has episodes."""
    of_block = np.repeat(np.arange(20.0), 10)[:, np.newaxis]
    found = products_of_episodes(50 * of_block, np.full(200, 50.0))
    assert found.item() == pytest.approx(50 * (of_block**2).sum(), rel=1e-12)


def test_one_lot_shows_the_mean_alone():
    assert products_of_episodes(np.array([[6.0]]), np.array([3.0])).item() == pytest.approx(12.0)


def test_lots_may_hold_unequal_numbers_of_episodes():
    """A value that is the same for all episodes has no error, however lots are made."""
    lot = np.repeat([0, 1, 2], [1, 5, 2])
    same = np.full(8, 3.0)
    found = standard_error_of_lots(np.zeros(8), same, np.ones(8), lot, lot)
    assert found == pytest.approx(0, abs=1e-12)

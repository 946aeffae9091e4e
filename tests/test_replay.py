"""A log asked about policies: influence, resampling, doubly robust estimates."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from test_evaluation import random_log
from test_importance import HAND

from skmdp import MarkovPolicyEstimator
from skmdp._evaluation.candidate import METHODS, Candidate
from skmdp._evaluation.direct import (
    choice_of_actions,
    evaluate_directly,
    follow_values,
    pair_process_values,
    policy_process,
)
from skmdp._evaluation.horizon import Horizon
from skmdp._evaluation.replay import Replay
from skmdp._evaluation.standard_errors import resample_values, standard_error
from skmdp._log.evidence import gather
from skmdp._log.reading import read_table
from skmdp.datasets import make_garnet, sample_transitions

ROLES = MarkovPolicyEstimator()._roles()


def replay(table, *, gamma=1.0, horizon=None, kappa=0.0, roles=ROLES, propensities=None):
    log = read_table(table, roles, propensities=propensities)
    counts = gather(log).counts
    return Replay.of_rows(
        counts,
        counts.find_triples(log.state_codes, log.action_codes, log.next_codes),
        log.rewards,
        log.propensities,
        start_codes=log.start_codes,
        lengths=log.episode_lengths,
        longest=log.longest,
        cut_share=log.cut_share,
        horizon=horizon,
        gamma=gamma,
        prior_strength=kappa,
    )


def resampled(log, draws):
    """The log as counts, with each episode drawn so many times, and the share of its starts."""
    draws_of_rows = draws[log.episode]
    weights = np.bincount(log.triple, draws_of_rows)
    paid = np.bincount(log.triple, draws_of_rows * log.rewards)
    counts = replace(log.counts, weights=weights, n_rows=weights, reward_sums=paid)
    return counts, np.bincount(log.start_codes, draws, log.counts.n_states) / draws.sum()


def estimated_anew(log, choice, draws, tolerance=1e-6):
    """The direct method in a resample, by its definition."""
    counts, starts = resampled(log, draws)
    process = policy_process(counts, choice, log.prior_strength)
    steps = log.horizon.steps
    path = follow_values(*process, steps, log.gamma, tolerance, keep=log.horizon.shares)
    return float(starts @ log.horizon.mean(path))


def hand_table():
    rows = [(i, *row) for i, episode in enumerate(HAND) for row in episode]
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "reward", "next_state"])
    return table.assign(next_state=table["next_state"].astype("Int64").replace(-1, pd.NA))


def chance(log, pi):
    """pi(a|s) of every logged pair from the chance of action 0 in each state."""
    counts = log.counts
    first = np.array(pi)[counts.pair_state]
    return np.where(counts.pair_action == 0, first, 1 - first)


@pytest.mark.parametrize(
    ("pi", "expected"),
    [
        # dm, dr, wdr with Q of the log itself, then is, wis, pdis, pdwis
        ((1, 1), (3, 3, 3, 1.5, 3, 2, 2)),
        ((1, 0), (2.5, None, None, 3.5, 7 / 3, 3, 8 / 3)),
        ((0.75, 0.5), (2.5, None, None, 2.375, 2.375, 2.375, 2.375)),
        ((0.75, 0.25), (None, None, None, 2.625, 7 / 3, 2.4375, 85 / 36)),
    ],
)
def test_example_by_hand(pi, expected):
    log = replay(hand_table(), gamma=0.5)
    found = Candidate(log, chance(log, pi)).values(METHODS)
    for value, truth in zip(found, expected, strict=True):
        if truth is not None:
            assert_allclose(value, truth, rtol=1e-12)
    assert_allclose(Candidate(log, None).values(METHODS), 2.25, rtol=1e-12)


POLICY = np.array([0, 1, 2, 0])


def candidate(table, **options):
    log = replay(table, **options)
    return Candidate(log, choice_of_actions(log.counts, POLICY[: log.counts.n_states]))


def assert_influence_is_the_derivative(log, choice, monkeypatch):
    """By the weight of an episode; the share of cut episodes, which says what is asked, stays."""
    monkeypatch.setattr("skmdp._evaluation.candidate.TOLERANCE", 1e-14)
    asked = Candidate(log, choice)
    of_rows, starts = asked.influence
    n = len(starts)
    moved = n * np.bincount(log.episode, of_rows) + starts - asked.estimate.value
    for i in (0, 7, n - 1):
        values = []
        for change in (1e-4, -1e-4):
            draws = np.ones(n)
            draws[i] += change
            values.append(estimated_anew(log, choice, draws, 1e-14))
        assert_allclose(moved[i] / n, (values[0] - values[1]) / 2e-4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 30.0])
@pytest.mark.parametrize(
    ("gamma", "horizon", "cut"),
    [(1, None, None), (0.8, 7, None), (1, None, 3), (0.9, None, 3), (1, 3, 3), (1, None, 2)],
)
@pytest.mark.parametrize("as_logged", [False, True])
def test_influence_is_the_derivative_by_an_episodes_weight(
    kappa, gamma, horizon, cut, as_logged, monkeypatch
):
    table = random_log(0, n_episodes=30, cut=cut)
    asked = candidate(table, kappa=kappa, gamma=gamma, horizon=horizon)
    choice = None if as_logged else asked.choice
    assert_influence_is_the_derivative(asked.replay, choice, monkeypatch)


def settling_log(n_classes):
    """Episodes that never end: state 0 leads to one of some classes that are never left."""
    rng = np.random.default_rng(3)
    rows = []
    for episode in range(30):
        own = rng.integers(n_classes)
        path = [0, 0, *(1 + 2 * own + rng.integers(2, size=9))]
        for s, t in pairwise(path):
            rows.append((episode, s, rng.integers(2), t, s + rng.normal()))
    columns = ["episode", "state", "action", "next_state", "reward"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
@pytest.mark.parametrize("kappa", [0.0, 2.0])
@pytest.mark.parametrize("as_logged", [False, True])
def test_influence_is_the_derivative_where_values_and_visits_settle(
    n_classes, kappa, as_logged, monkeypatch
):
    """A process that goes on for ever: values grow by a constant a step, one in each class."""
    log = replay(settling_log(n_classes), kappa=kappa, horizon=400)
    actions = np.arange(log.counts.n_states) % 2
    choice = None if as_logged else choice_of_actions(log.counts, actions)
    estimate = Candidate(log, choice).estimate
    assert estimate.values.settled == 400  # no sooner
    assert estimate.visits.at(400).any()
    assert estimate.values.length + estimate.visits.length < 400
    assert_influence_is_the_derivative(log, choice, monkeypatch)


@pytest.mark.parametrize("seed", range(3))
def test_influences_sum_to_nothing_without_a_prior(seed):
    asked = candidate(random_log(seed))
    of_rows, starts = asked.influence
    assert_allclose(of_rows.sum(), 0, atol=1e-8)
    assert_allclose(starts.mean(), asked.estimate.value)


def test_the_logged_policy_has_the_error_of_the_mean_return():
    log = replay(random_log(1), kappa=5.0)
    asked = Candidate(log, None)
    assert_allclose(asked.estimate.value, log.returns.mean(), rtol=1e-6)
    error = standard_error(*asked.influence, log.episode, 60)
    assert_allclose(error, log.returns.std(ddof=1) / np.sqrt(60), rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(("gamma", "cut"), [(1.0, None), (0.9, 3)])
def test_analytic_error_is_that_of_the_bootstrap(gamma, cut):
    asked = candidate(random_log(2, n_episodes=300, cut=cut), gamma=gamma, kappa=1.0)
    log, rng = asked.replay, np.random.default_rng(0)
    values = np.array(
        [
            estimated_anew(log, asked.choice, np.bincount(drawn, minlength=300).astype(float))
            for drawn in rng.integers(300, size=(400, 300))
        ]
    )
    error = standard_error(*asked.influence, asked.replay.episode, 300)
    assert_allclose(error, values.std(), rtol=0.1)


def backed_up_anew(asked, draws, *, normalized):
    """dr or wdr with the log's V and one backup of it in the resample, by the definition."""
    log = asked.replay
    counts, _ = resampled(log, draws)
    weights, triple = asked.weights, log.triple[asked.weights.rows]
    x = log.rewards[weights.rows].copy()
    for step in np.unique(weights.step):
        V = log.horizon.mean(asked.estimate.values, before=step + 1)
        Q = pair_process_values(counts, log.prior_strength, log.gamma, V)
        change = log.gamma * np.append(V, 0)[counts.next_states] - Q[counts.triple_pair]
        here = weights.step == step
        x[here] += change[triple[here]]
    direct = estimated_anew(log, asked.choice, draws, 1e-14)
    x *= log.discounts[weights.rows]
    return direct + weights.per_decision(x, draws, normalized=normalized)


@pytest.mark.parametrize("kappa", [0.0, 2.0])
@pytest.mark.parametrize(("gamma", "cut"), [(0.9, None), (1.0, 3)])
def test_resamples_of_corrected_estimates_move_by_their_derivative(kappa, gamma, cut, monkeypatch):
    monkeypatch.setattr("skmdp._evaluation.candidate.TOLERANCE", 1e-14)
    table = random_log(10, n_episodes=40, cut=cut).assign(chance=1 / 3)
    log = replay(table, kappa=kappa, gamma=gamma, propensities="chance")
    asked = Candidate(log, chance_of_each(log, [0.2, 0.5, 0.3]))
    for i, j in ((0, 7), (3, 39), (12, 5)):
        draws = np.ones((2, 40))
        draws[:, i] += (1e-4, -1e-4)
        draws[:, j] -= (1e-4, -1e-4)
        found = asked.values(["dr", "wdr"], draws)
        for normalized in (False, True):
            anew = [backed_up_anew(asked, each, normalized=normalized) for each in draws]
            assert abs(anew[0] - anew[1]) > 1e-8
            moved = found[int(normalized)]
            assert_allclose(moved[0] - moved[1], anew[0] - anew[1], rtol=1e-5, atol=1e-11)


def chance_of_each(log, pi):
    """pi(a) of every logged pair, the same in all states."""
    return np.array(pi)[log.counts.pair_action]


@pytest.mark.parametrize(("kappa", "cut"), [(0.0, 3), (2.0, 2)])
def test_resamples_of_corrected_estimates_move_as_if_estimated_anew(kappa, cut):
    """To first order: the definition asks for V and Q of every resample."""
    asked = candidate(random_log(10, n_episodes=600, cut=cut), kappa=kappa, gamma=0.9)
    log = asked.replay
    drawn = np.random.default_rng(0).integers(600, size=(60, 600))
    draws = np.array([np.bincount(each, minlength=600) for each in drawn], dtype=float)
    found, anew = asked.values(["dr", "wdr"], draws).T, []
    for each in draws:
        counts, starts = resampled(log, each)
        other = Candidate(replace(log, counts=counts), asked.choice)
        vars(other)["weights"] = asked.weights
        vars(other)["estimate"] = evaluate_directly(
            counts,
            asked.choice,
            starts,
            prior_strength=kappa,
            horizon=log.horizon,
            longest=log.longest,
            gamma=0.9,
            keep_paths=True,
        )
        x = log.rewards[asked.weights.rows] + other._corrections
        x *= log.discounts[asked.weights.rows]
        anew.append(
            [
                other.estimate.value + asked.weights.per_decision(x, each, normalized=way)
                for way in (False, True)
            ]
        )
    anew = np.array(anew)
    assert_allclose(found.std(axis=0), anew.std(axis=0), rtol=0.05)
    for j in (0, 1):
        assert np.corrcoef(found[:, j], anew[:, j])[0, 1] > 0.98


def test_row_form_agrees_with_the_episode_form():
    asked = candidate(random_log(3, n_episodes=400))
    of_rows, starts = asked.influence
    by_episode = standard_error(of_rows, starts, asked.replay.episode, 400)
    by_row = standard_error(of_rows, starts, asked.replay.episode, None)
    assert_allclose(by_row, by_episode, rtol=0.15)
    assert np.isnan(standard_error(of_rows, starts, asked.replay.episode, 1))
    assert np.isnan(standard_error(of_rows[:1], starts[:1], np.zeros(1, dtype=int), None))


@pytest.mark.parametrize("n", [2, 19, 20, 21])
def test_few_episodes_take_the_row_form(n):
    asked = candidate(random_log(4, n_episodes=n))
    of_rows, starts = asked.influence
    by_row = np.sqrt((of_rows**2).sum() + starts.var(ddof=1) / n)
    of_episodes = n * np.bincount(asked.replay.episode, of_rows) + starts
    by_episode = of_episodes.std(ddof=1) / np.sqrt(n)
    assert not np.isclose(by_row, by_episode, rtol=1e-3)
    found = standard_error(of_rows, starts, asked.replay.episode, n)
    assert_allclose(found, by_row if n < 20 else by_episode)


@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("cut", [None, 20])
def test_one_draw_of_each_episode_is_the_log_itself(gamma, cut):
    """Slow to settle, so that a resample that stopped following early would show."""
    asked = candidate(random_log(11, n_episodes=40, cut=cut, ending=0.05), gamma=gamma, kappa=1.0)
    assert_allclose(asked.values(METHODS, np.ones(40)), asked.values(METHODS), rtol=1e-12)


@pytest.mark.parametrize("method", ["is", "wis", "pdis", "pdwis"])
def test_importance_methods_in_a_resample_are_those_of_the_log_of_its_draws(method):
    table = random_log(7, n_episodes=30).assign(chance=1 / 3)
    asked = candidate(table, propensities="chance", gamma=0.9)
    draws = np.random.default_rng(0).integers(3, size=(2, 30)).astype(float)
    found = asked.values([method], draws)[0]
    for each, value in zip(draws, found, strict=True):
        drawn = pd.concat(
            table[table["episode"] == i].assign(episode=f"{i} {copy}")
            for i, n in enumerate(each)
            for copy in range(int(n))
        )
        other = candidate(drawn, propensities="chance", gamma=0.9)
        assert_allclose(value, other.values([method])[0], rtol=1e-12)


def test_all_candidates_meet_the_same_draws():
    asked = candidate(random_log(7, n_episodes=50), kappa=1.0)
    logged = Candidate(asked.replay, None)
    names, seeds = ["wis", "wdr"], [3, 1, 4]
    together = resample_values([asked, logged], names, seeds)
    assert together.shape == (3, 2, 2)
    for j, one in enumerate((asked, logged)):
        for i, seed in enumerate(seeds):
            alone = resample_values([one], names, [seed])[0, 0]
            assert_allclose(together[i, j], alone, rtol=1e-12)
    drawn = np.random.RandomState(1).randint(50, size=50)
    assert_allclose(together[1, 1, 0], asked.replay.returns[drawn].mean(), rtol=1e-12)


def test_doubling_every_row_halves_the_variance_of_the_row_form():
    table = random_log(5)
    once = candidate(table.drop(columns="episode"))
    twice = candidate(pd.concat([table, table]).drop(columns="episode"))
    assert_allclose(once.estimate.value, twice.estimate.value)
    errors = [
        standard_error(*asked.influence, asked.replay.episode, None) for asked in (once, twice)
    ]
    assert_allclose(errors[1], errors[0] / np.sqrt(2), rtol=1e-2)


def test_deterministic_covered_log_has_no_error():
    """Every pair always leads to the same place and pays the same: only starts are random."""
    rows = [(e, s, 0, s + 1, 1.0) for e in range(25) for s in range(3)]
    rows += [(e, 3, 1, None, 2.0) for e in range(25)]
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])
    log = replay(table.astype({"next_state": "Int64"}))
    asked = Candidate(log, choice_of_actions(log.counts, np.array([0, 0, 0, 1])))
    assert_allclose(asked.values(METHODS), 5)
    assert_allclose(standard_error(*asked.influence, log.episode, 25), 0, atol=1e-12)


@given(st.integers(0, 1000), st.integers(1, 4), st.sampled_from([0.5, 1.0]))
def test_deterministic_worlds_need_no_correction(seed, n_steps, gamma):
    """Where (s, a) settles s' and r, r + gamma V(s') - Q(s, a) is 0 if V is that of the log."""
    rng = np.random.default_rng(seed)
    following, pays = rng.integers(4, size=(4, 3)), rng.normal(size=(4, 3))
    state, rows = rng.integers(4, size=60), []
    for _ in range(n_steps):
        action = rng.integers(3, size=60)
        rows.append((state, action, following[state, action], pays[state, action]))
        state = following[state, action]
    table = pd.concat(
        pd.DataFrame(dict(zip(["state", "action", "next_state", "reward"], row, strict=True)))
        for row in rows
    ).rename_axis("episode")
    asked = candidate(table.reset_index(), gamma=gamma)
    if asked.estimate.uncovered == 0:
        dm, dr, wdr = asked.values(["dm", "dr", "wdr"])
        assert_allclose([dr, wdr], dm, atol=1e-8)


@given(st.integers(0, 1000), st.sampled_from([0.5, 0.9]))
def test_weighing_rows_by_visits_is_the_direct_method(seed, gamma):
    """Marginal importance weights d(s, a) / n(s, a) add nothing to counts, nor do corrections."""
    asked = candidate(random_log(seed, n_episodes=20), gamma=gamma)
    log, estimate = asked.replay, asked.estimate
    counts = log.counts
    d = estimate.visits
    visits = sum(d.at(step) for step in range(log.horizon.steps))
    if estimate.uncovered > 0:
        return
    pair = counts.triple_pair[log.triple]
    weight = (visits[counts.pair_state] * asked.choice / counts.pair_weights)[pair]
    assert_allclose(weight @ log.rewards, estimate.value, atol=1e-6)
    V = log.horizon.mean(estimate.values)
    Q = pair_process_values(counts, 0.0, gamma, V)
    following = np.append(V, 0.0)[counts.next_states[log.triple]]
    assert_allclose(weight @ (log.rewards + gamma * following - Q[pair]), 0, atol=1e-9)


@pytest.mark.parametrize("horizon", [None, 3])  # None: a part of the episodes is cut off
def test_corrections_take_the_steps_that_are_left(horizon):
    """On a cut log V depends on the steps to go; the sum telescopes to what was earned."""
    table = random_log(6, cut=3)
    log = replay(table, gamma=0.9, horizon=horizon)
    assert 0.2 < log.cut_share < 0.8
    behaviour = log.counts.pair_weights / log.counts.state_weights[log.counts.pair_state]
    asked = Candidate(log, behaviour)
    dr, wdr = asked.values(["dr", "wdr"])
    # Each decision weighs one, so V(s_0) + corrections = return + what is left at the last row.

    def V(step):
        return log.horizon.mean(asked.estimate.values, before=step)

    last = np.cumsum(log.lengths) - 1
    following = log.counts.next_states[log.triple][last]
    Q_minus_V = 0.0
    for t in range(int(log.lengths.max())):
        rows = np.flatnonzero(
            np.arange(len(log.triple)) - (last - log.lengths + 1)[log.episode] == t
        )
        pair = log.counts.triple_pair[log.triple[rows]]
        Q = pair_process_values(log.counts, 0.0, 0.9, V(t + 1))[pair]
        Q_minus_V += 0.9**t * (Q - V(t)[log.counts.pair_state[pair]]).sum()
    left = [0.9**n * np.append(V(n), 0.0)[s] for n, s in zip(log.lengths, following, strict=True)]
    expected = (log.returns + left).mean() - Q_minus_V / len(log.lengths)
    assert_allclose([dr, wdr], expected, rtol=1e-9)


def test_corrections_follow_values_that_grow_for_ever():
    """Of 400 steps the first few settle by how much further ones add, differently by state."""
    log = replay(settling_log(2), horizon=400)
    counts = log.counts
    asked = Candidate(log, counts.pair_weights / counts.state_weights[counts.pair_state])
    assert asked.estimate.values.length < asked.estimate.values.settled == 400
    P, R = policy_process(counts, asked.choice, 0.0)
    V = [np.zeros(counts.n_states)]
    for _ in range(400):
        V.append(R + P @ V[-1])
    expected = log.starts() @ V[400]
    pair, following = counts.triple_pair[log.triple], counts.next_states[log.triple]
    for step in range(10):  # each decision weighs one
        rows = np.arange(step, 300, 10)
        later = V[399 - step]
        Q = pair_process_values(counts, 0.0, 1.0, later)[pair[rows]]
        expected += (log.rewards[rows] + later[following[rows]] - Q).mean()
    assert_allclose(asked.values(["dr", "wdr"]), expected, rtol=1e-8)


@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("kappa", [0.0, 3.0])
def test_every_method_is_affine_in_the_share_of_cut_episodes(gamma, kappa):
    """Following each share for its own number of steps, one after the other, is the same."""
    log = replay(random_log(12, n_episodes=150, cut=4), gamma=gamma, kappa=kappa)
    c = log.cut_share
    assert 0.2 < c < 0.8
    choice = choice_of_actions(log.counts, POLICY)
    draws = np.bincount(np.random.default_rng(0).integers(150, size=150), minlength=150)
    draws = draws.astype(float)
    mixed, short, to_the_end = (
        Candidate(replace(log, horizon=horizon), choice)
        for horizon in (log.horizon, Horizon.of_log(4, 0, 4), Horizon.of_log(4, 0, 40))
    )
    for drawn in ((), (draws,)):
        ends = c * short.values(METHODS, *drawn) + (1 - c) * to_the_end.values(METHODS, *drawn)
        assert_allclose(mixed.values(METHODS, *drawn), ends, rtol=1e-5)
    for found, at_4, at_40 in zip(
        mixed.influence, short.influence, to_the_end.influence, strict=True
    ):
        assert_allclose(found, c * at_4 + (1 - c) * at_40, rtol=1e-6, atol=1e-9)


def test_true_propensities_stand_for_the_logged_shares():
    table = random_log(8).assign(chance=1 / 3)
    log = replay(table, propensities="chance")
    asked = Candidate(log, choice_of_actions(log.counts, POLICY))
    agrees = (POLICY[table["state"]] == table["action"]).groupby(table["episode"]).all()
    length = table.groupby("episode").size()
    expected = (agrees * 3.0**length * table.groupby("episode")["reward"].sum()).mean()
    assert_allclose(asked.values(["is"])[0], expected)


def test_estimates_approach_the_truth():
    """Action probabilities near the log's, so that every method has enough to say."""
    mdp = make_garnet(6, 2, 3, random_state=0)
    log = replay(sample_transitions(mdp, n_episodes=20_000, random_state=1), gamma=0.9)
    first = np.linspace(0.3, 0.7, 6)
    P = mdp.transitions.toarray().reshape(6, 2, 6)
    R = mdp.rewards.reshape(6, 2)
    pi = np.column_stack([first, 1 - first])
    truth = np.linalg.solve(np.eye(6) - 0.9 * np.einsum("sa,sat->st", pi, P), (pi * R).sum(axis=1))[
        0
    ]
    found = Candidate(log, chance(log, first)).values(METHODS)
    assert_allclose(found, truth, rtol=0.05)

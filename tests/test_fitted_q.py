"""Fitted Q evaluation on raw measurements: closed forms, influence, support."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from skmdp._estimation.counts import count_transitions
from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.credibility import lacking_variance
from skmdp._evaluation.direct import choice_of_actions
from skmdp._evaluation.fitted_q import FittedQ, sample_actions
from skmdp._evaluation.horizon import Horizon, Path
from skmdp._evaluation.influence import meetings
from skmdp._evaluation.leaves import grow_leaves
from skmdp._evaluation.raw import RawLog, Scale
from skmdp._evaluation.relevance import relevant_columns
from skmdp._evaluation.replay import Replay
from skmdp._evaluation.standard_errors import standard_error
from skmdp._evaluation.support import Propensities, estimate_propensities, leave_out
from skmdp._evaluation.tails import Tail

SINGLE_ROWS = ExtraTreesRegressor(5, min_samples_leaf=1, random_state=0)
SEEDS = st.integers(0, 2**31 - 1)


def raw_log(episodes, n_actions):
    """Put together (states (L + 1, p), actions (L,), rewards (L,), whether it ends) by episode."""
    states, actions, rewards, ends = zip(*episodes, strict=True)
    lengths = np.array([len(a) for a in actions])
    ended = np.zeros(lengths.sum(), dtype=bool)
    ended[np.cumsum(lengths) - 1] = ends
    return RawLog(
        states=np.concatenate([s[:-1] for s in states]),
        actions=np.concatenate(actions),
        rewards=np.concatenate(rewards).astype(float),
        next_states=np.concatenate([s[1:] for s in states]),
        ended=ended,
        episode=np.repeat(np.arange(len(lengths)), lengths),
        start_states=np.array([s[0] for s in states]),
        n_actions=n_actions,
    )


def labels(seed, *, n_episodes=60, end=0.2, most=12, n_states=4, n_actions=2):
    """Episodes in a random process over few states, cut where they are not over in time."""
    rng = np.random.default_rng(seed)
    moves = rng.dirichlet(np.ones(n_states), size=(n_states, n_actions))
    episodes = []
    for _ in range(n_episodes):
        states, actions, rewards, over = [rng.integers(n_states)], [], [], False
        while not over and len(actions) < most:
            actions.append(rng.integers(n_actions))
            states.append(rng.choice(n_states, p=moves[states[-1], actions[-1]]))
            rewards.append(states[-1] - actions[-1] + rng.normal())
            over = rng.random() < end
        path = np.array(states, dtype=float)[:, np.newaxis]
        episodes.append((path, np.array(actions), np.array(rewards), over))
    return raw_log(episodes, n_actions)


def walk(seed, *, n_episodes=40, n_steps=8, missing=0.0):
    """Episodes of a noisy linear system in two columns, all cut off."""
    rng = np.random.default_rng(seed)
    episodes = []
    for _ in range(n_episodes):
        states = [rng.normal(size=2)]
        actions = rng.integers(2, size=n_steps)
        for action in actions:
            states.append(0.7 * states[-1] + (action - 0.5) + rng.normal(size=2))
        path = np.array(states)
        rewards = -(path[1:, 0] ** 2)
        path[rng.random(path.shape) < missing] = np.nan
        episodes.append((path, actions, rewards, False))
    return raw_log(episodes, 2)


def longest_of(log):
    return int(np.bincount(log.episode).max())


def cut_share_of(log):
    return 1 - np.count_nonzero(log.ended) / log.n_episodes


def every_column(log):
    return np.ones(log.states.shape[1], dtype=bool)


def even(log):
    """Propensities for where they are no subject."""
    share = 1 / log.n_actions
    shape = (len(log.ended), log.n_actions), (log.n_episodes, log.n_actions)
    return Propensities(np.full(shape[0], share), np.full(shape[1], share))


def fitted(log, *, regressor=None, steps=None, leaves=None, tolerance=1e-12, **options):
    """The log with all columns kept."""
    horizon = Horizon.of_log(longest_of(log), cut_share_of(log), steps)
    if leaves is None:
        leaves = grow_leaves(log, every_column(log), regressor=regressor)
    options = {"propensities": even(log), "longest": longest_of(log)} | options
    return FittedQ(log, leaves, horizon=horizon, tolerance=tolerance, **options)


def ask(asked, rule):
    """Estimate for a rule that maps states to action codes or probabilities."""
    states = np.where(asked.log.ended[:, np.newaxis], 0.0, asked.log.next_states)
    return asked.follow(rule(states), rule(asked.log.start_states))


def rising(states):
    return (states[:, 0] < 0).astype(int)


# ------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("end", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_labels_give_the_direct_method(end, gamma):
    log = labels(3, end=end)
    policy = np.array([0, 1, 1, 0])
    asked = fitted(log, regressor=SINGLE_ROWS, gamma=gamma)
    found = ask(asked, lambda states: policy[states[:, 0].astype(int)])
    s, t = log.states[:, 0].astype(int), log.next_states[:, 0].astype(int)
    t = np.where(log.ended, -1, t)
    counts = count_transitions(s, log.actions, t, 4, 2, rewards=log.rewards)
    replay = Replay.of_rows(
        counts,
        counts.find_triples(s, log.actions, t),
        log.rewards,
        None,
        longest=longest_of(log),
        cut_share=cut_share_of(log),
        horizon=None,
        start_codes=log.start_states[:, 0].astype(int),
        lengths=np.bincount(log.episode),
        gamma=gamma,
        prior_strength=0.0,
    )
    direct = Candidate(replay, choice_of_actions(counts, policy))
    assert_allclose(found.value, direct.estimate.value, rtol=1e-9)
    of_rows, starts = direct.influence
    assert_allclose(found.start_values, starts, rtol=1e-9)
    assert_allclose(found.of_rows / asked.leaves.correction, of_rows, atol=1e-9)
    size = np.bincount(2 * s + log.actions)[2 * s + log.actions]
    assert_allclose(asked.leaves.correction, size / (size - 1))
    error = standard_error(of_rows, starts, log.episode, 60)
    assert error < found.standard_error < 1.2 * error
    assert_allclose(found.outlasting, direct.estimate.outlasting, atol=1e-9)


@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_constant_reward_is_earned_at_every_step(gamma, missing):
    log = walk(0, missing=missing)
    log = replace(log, rewards=np.full(len(log.rewards), 2.5))
    found = ask(fitted(log, gamma=gamma), rising)
    assert_allclose(found.value, 2.5 * np.sum(gamma ** np.arange(8)), rtol=1e-12)
    assert_allclose(found.standard_error, 0, atol=1e-10)
    assert_allclose(found.visits.sum(), 8)
    assert_allclose(found.outlasting, 1)


@cache
def fitted_to_a_walk(seed):
    return fitted(walk(seed, n_episodes=25))


@pytest.mark.long
@given(seed=SEEDS, factor=st.floats(-3, 3), shift=st.floats(-10, 10))
def test_values_scale_and_shift_with_rewards(seed, factor, shift):
    asked = fitted_to_a_walk(seed % 5)
    log = asked.log
    moved = fitted(replace(log, rewards=factor * log.rewards + shift), leaves=asked.leaves)
    once, twice = ask(asked, rising), ask(moved, rising)
    assert_allclose(twice.value, factor * once.value + 8 * shift, atol=1e-8)
    assert_allclose(twice.standard_error, abs(factor) * once.standard_error, atol=1e-8)
    assert_allclose(twice.influence, factor * once.influence, atol=1e-8)


def test_what_copies_a_deterministic_log_earns_its_return():
    path = np.arange(6.0)[:, np.newaxis]
    right = (path, np.ones(5, dtype=int), [1, 2, 3, 4, 5], True)
    back = (np.array([[0.0], [0.0]]), np.array([0]), [-1], True)
    log = raw_log([right, back] * 15, 2)
    found = ask(fitted(log), lambda states: np.ones(len(states), dtype=int))
    assert_allclose(found.value, 15)
    assert_allclose(found.standard_error, 0, atol=1e-12)
    assert_allclose(found.visits.sum(), 5)
    assert_allclose(found.outlasting, 0, atol=1e-12)
    assert_allclose(found.effective_rows, 75)
    assert_allclose(found.visits[log.actions == 0], 0)


def test_one_step_is_worth_the_leaves_of_the_starts():
    rng = np.random.default_rng(1)
    starts = rng.normal(size=(50, 2))
    actions = rng.integers(2, size=50)
    steps = [
        (np.array([s, s]), np.array([a]), [rng.normal()], True)
        for s, a in zip(starts, actions, strict=True)
    ]
    log = raw_log(steps, 2)
    asked = fitted(log)
    found = ask(asked, rising)
    used = np.ones(asked.leaves.n_leaves, dtype=bool)
    q = asked.leaves.averages(used).means(log.rewards)
    truth = [
        q[asked.leaves.leaves_of(start[np.newaxis], action)].mean()
        for start, action in zip(starts, rising(starts), strict=True)
    ]
    assert_allclose(found.start_values, truth)
    assert_allclose(found.value, np.mean(truth))
    mixed = ask(asked, lambda states: np.tile([0.3, 0.7], (len(states), 1)))
    q_starts = [q[asked.leaves.leaves_of(starts, a)].mean(axis=1) for a in (0, 1)]
    assert_allclose(mixed.start_values, 0.3 * q_starts[0] + 0.7 * q_starts[1])


def test_certain_probabilities_are_actions():
    asked = fitted(walk(2))
    codes = ask(asked, rising)
    shares = ask(asked, lambda states: np.eye(2)[rising(states)])
    assert codes.value == shares.value
    assert_array_equal(codes.of_rows, shares.of_rows)


@given(n_actions=st.integers(1, 40), n_states=st.integers(1, 30), seed=SEEDS)
def test_of_many_actions_a_sample_is_followed(n_actions, n_states, seed):
    """Each as often as its probability says, to within one of eight draws."""
    rng = np.random.default_rng(seed)
    exact = rng.dirichlet(np.full(n_actions, 0.3), size=n_states)
    exact[rng.random(exact.shape) < 0.3] = 0
    sampled = sample_actions(exact)
    assert_allclose(sampled.sum(axis=1), exact.sum(axis=1), atol=1e-12)
    assert (np.count_nonzero(sampled, axis=1) <= 8).all()
    assert ((sampled > 0) <= (exact > 0)).all()
    assert (np.abs(sampled - exact) < exact.sum(axis=1, keepdims=True) / 8 + 1e-9).all()
    few = np.count_nonzero(exact, axis=1) <= 8
    assert_array_equal(sampled[few], exact[few])


def test_samples_of_actions_are_right_on_average():
    exact = np.tile(np.random.default_rng(0).dirichlet(np.ones(30)), (2000, 1))
    assert_allclose(sample_actions(exact).mean(axis=0), exact[0], atol=1e-3)


def test_share_of_cut_episodes_mixes_two_horizons():
    log = labels(5, end=0.3, most=4)
    share = cut_share_of(log)
    assert 0 < share < 1
    mixed, short, long = (ask(fitted(log, steps=steps), rising) for steps in (None, 4, 40))
    for name in ("value", "of_rows", "start_values", "visits"):
        of_both = share * getattr(short, name) + (1 - share) * getattr(long, name)
        assert_allclose(getattr(mixed, name), of_both, atol=1e-9)


# ---------------------------------------------------------------------------------------- influence


def value_by_weights(asked, rule):
    """What gives the value if each episode counts so much, leaves fixed; dense, step by step."""
    log, leaves = asked.log, asked.leaves
    goes_on = np.flatnonzero(~log.ended)

    def reached(states):
        G = np.zeros((len(states), leaves.n_leaves))
        for i, action in enumerate(rule(states)):
            np.add.at(G[i], leaves.leaves_of(states[[i]], action)[0], 1 / leaves.n_trees)
        return G

    G = np.zeros((len(log.ended), leaves.n_leaves))
    G[goes_on] = reached(log.next_states[goes_on])
    of_starts = reached(log.start_states)

    def value_of(weights):
        B = np.zeros((leaves.n_leaves, len(log.ended)))
        for tree in range(leaves.n_trees):
            B[leaves.own[:, tree], np.arange(len(log.ended))] = weights[log.episode]
        B /= B.sum(axis=1, keepdims=True)
        starts = weights / weights.sum() @ of_starts
        V, value = np.zeros(len(log.ended)), 0.0
        for step in range(1, asked.horizon.steps + 1):
            q = B @ (log.rewards + asked.gamma * V)
            V = G @ q
            value += asked.horizon.shares.get(step, 0.0) * (starts @ q)
        return value

    return value_of


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize(
    "log",
    [
        labels(7, n_episodes=25, end=0.0, most=3),
        labels(8, n_episodes=25, end=0.4, most=4),
        walk(9, n_episodes=22, n_steps=4),
    ],
    ids=["cut labels", "labels", "walk"],
)
def test_influence_is_the_derivative_in_the_weight_of_an_episode(log, gamma):
    asked = fitted(log, gamma=gamma)
    found = ask(asked, rising)
    value_of, even_weights = value_by_weights(asked, rising), np.ones(log.n_episodes)
    assert_allclose(found.value, value_of(even_weights), rtol=1e-9)
    plain = replace(found, of_rows=found.of_rows / asked.leaves.correction)
    for episode in (0, 7, 21):
        change = 1e-4 * (np.arange(log.n_episodes) == episode)
        above, below = (value_of(even_weights + d) for d in (change, -change))
        slope = (above - below) / 2e-4
        assert_allclose(plain.influence[episode] / log.n_episodes, slope, rtol=1e-5, atol=1e-8)


def test_influence_averages_to_nothing_and_gives_the_error():
    log = walk(4)
    asked = fitted(log)
    found = ask(asked, rising)
    plain = replace(found, of_rows=found.of_rows / asked.leaves.correction)
    assert_allclose(plain.influence.mean(), 0, atol=1e-9)
    shown = found.influence.std(ddof=1) / np.sqrt(40)
    assert_allclose(found.standard_error**2, shown**2 + lacking_variance(found.outcomes))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_errors_of_differences(gamma):
    asked = fitted(walk(4), gamma=gamma)
    one, other = ask(asked, rising), ask(asked, lambda states: 1 - rising(states))
    assert one.error(one) == 0
    assert_allclose(one.error(other), other.error(one))
    shown = (one.influence - other.influence).std(ddof=1) / np.sqrt(40)
    lacking = lacking_variance(one.outcomes, other.outcomes)
    assert_allclose(one.error(other) ** 2, shown**2 + lacking)
    weights = one.outcomes.weights
    if gamma == 1:
        assert_allclose(weights, one.visits)
    else:
        assert_allclose(weights.sum(), (1 - gamma**8) / (1 - gamma))


def test_rewards_that_no_row_of_an_action_shows_are_not_ruled_out():
    """Of 60 rows of one action none pays, of the others 1 in 100 does."""
    rng = np.random.default_rng(0)
    states = rng.integers(3, size=4000).astype(float)[:, np.newaxis]
    actions = (np.arange(4000) >= 60).astype(int)
    rewards = (np.arange(4000) % 100 == 99).astype(float)
    log = one_way(states, states, rewards, np.ones(4000, dtype=bool), actions)
    asked = fitted(log, regressor=SINGLE_ROWS, steps=1)
    found = ask(asked, zero)
    assert found.value == 0
    assert 0.5 < found.standard_error / np.sqrt(0.01 / 60) < 1.2
    without = replace(log, rewards=np.zeros(4000))
    assert ask(replace(asked, log=without), zero).standard_error == 0


def test_cells_hold_rows_that_are_alike():
    log = walk(3, n_episodes=200)
    leaves = grow_leaves(log, every_column(log))
    cells, larger = leaves.cells(log.actions)
    assert_array_equal(np.unique(cells), np.arange(len(larger)))
    size, size_of_larger = np.bincount(cells), np.bincount(larger[cells])
    assert 40 <= np.median(size) <= 60
    assert size_of_larger.max() <= 600
    assert np.median(size_of_larger) >= 300
    for codes in (cells, larger[cells]):
        by_action = [set(codes[log.actions == action]) for action in (0, 1)]
        assert not by_action[0] & by_action[1]
    n_cells = [len(set(cells[leaves.own[:, 0] == leaf])) for leaf in set(leaves.own[:, 0])]
    assert max(n_cells) == 1
    within = np.array([log.states[cells == cell].std(axis=0) for cell in range(len(larger))])
    assert within.mean() < 0.6 * log.states.std()


@pytest.mark.parametrize("gamma", [1.0, 0.99])
def test_settled_steps_meet_as_steps_do_one_by_one(gamma):
    """Far beyond where values and visits settle, the sum over steps has a closed form."""
    log = walk(6, n_episodes=30, n_steps=6)
    asked = fitted(log, steps=400, tolerance=1e-10, gamma=gamma)
    found = ask(asked, rising)
    leaves, n = asked.leaves, len(log.ended)

    def reached(states):
        G = np.zeros((len(states), leaves.n_leaves))
        for action in (0, 1):
            rows = np.flatnonzero(rising(states) == action)
            for codes in leaves.leaves_of(states[rows], action).T:
                G[rows, codes] += 1 / leaves.n_trees
        return G

    member = np.zeros((leaves.n_leaves, n))
    for codes in leaves.own.T:
        member[codes, np.arange(n)] = 1
    B, G = member / member.sum(axis=1, keepdims=True), reached(log.next_states)
    W = [np.zeros(n)]
    for _ in range(400):
        W.append(log.rewards + gamma * (G @ (B @ W[-1])))
    psi, m = np.zeros(n), reached(log.start_states).mean(axis=0)
    for t in range(400):
        weight = B * m[:, np.newaxis]
        psi += (weight * (W[400 - t] - (B @ W[400 - t])[:, np.newaxis])).sum(axis=0)
        m = gamma * (G.T @ weight.sum(axis=0))
    assert_allclose(found.of_rows / leaves.correction, psi, rtol=1e-6, atol=1e-6)
    assert_allclose(found.visits.sum(), 400)


@pytest.mark.parametrize("rule", [rising, lambda states: np.ones(len(states), dtype=int)])
def test_following_stops_where_little_is_to_come(rule):
    log = walk(7, n_episodes=30, n_steps=60)
    exact = fitted(log, tolerance=0.0)
    stopped = replace(exact, tolerance=FittedQ.tolerance)
    found, truth = ask(stopped, rule), ask(exact, rule)
    assert 0 < abs(found.value - truth.value) < 1e-3 * np.abs(truth.start_values).max()
    assert_allclose(found.standard_error, truth.standard_error, rtol=1e-3)
    assert_allclose([found.decisions, truth.decisions], 60, rtol=1e-4)


def twice(log):
    """The log with a second copy of every episode."""
    names = ("states", "actions", "rewards", "next_states", "ended", "start_states")
    doubled = {name: np.concatenate([getattr(log, name)] * 2) for name in names}
    return replace(
        log, episode=np.concatenate([log.episode, log.episode + log.n_episodes]), **doubled
    )


def test_a_log_twice_as_long_is_as_good_and_half_as_uncertain():
    log = labels(11, n_episodes=200)
    once, double = (ask(fitted(x, regressor=SINGLE_ROWS), rising) for x in (log, twice(log)))
    assert_allclose(double.value, once.value, rtol=1e-9)
    assert_allclose(double.standard_error, once.standard_error / np.sqrt(2), rtol=0.02)
    assert_allclose(double.effective_rows, 2 * once.effective_rows)
    assert_allclose(double.visits.sum(), once.visits.sum())


def test_names_of_episodes_and_order_of_rows_mean_nothing():
    log = walk(12)
    asked = fitted(log)
    rng = np.random.default_rng(0)
    order, names = rng.permutation(len(log.ended)), rng.permutation(log.n_episodes)
    names_of = np.empty_like(names)
    names_of[names] = np.arange(log.n_episodes)
    rows = ("states", "actions", "rewards", "next_states", "ended")
    shuffled = replace(
        log,
        episode=names_of[log.episode][order],
        start_states=log.start_states[names],
        **{name: getattr(log, name)[order] for name in rows},
    )
    leaves = replace(asked.leaves, own=asked.leaves.own[order])
    once, again = ask(asked, rising), ask(fitted(shuffled, leaves=leaves), rising)
    assert_allclose(again.value, once.value)
    assert_allclose(again.standard_error, once.standard_error)
    assert_allclose(again.influence, once.influence[names], atol=1e-9)


@pytest.mark.long
def test_the_error_covers_chance():
    """Truth by simulation of the linear system; 30 logs."""
    rng = np.random.default_rng(0)
    states, truth = rng.normal(size=(20_000, 2)), 0.0
    for _ in range(4):
        states = 0.7 * states + (rising(states) - 0.5)[:, np.newaxis]
        states = states + rng.normal(size=states.shape)
        truth -= np.mean(states[:, 0] ** 2)
    off = []
    for seed in range(30):
        found = ask(fitted(walk(100 + seed, n_episodes=150, n_steps=4)), rising)
        off.append((found.value - truth) / found.standard_error)
    assert abs(np.mean(off)) < 0.8
    assert 0.6 < np.std(off) < 1.5


# ------------------------------------------------------------------------------------------ support


def test_what_is_often_done_is_supported():
    log = walk(1, n_episodes=200)
    asked = fitted(log, propensities=estimate_propensities(log, every_column(log)))
    assert ask(asked, rising).unsupported_share < 0.01


def test_what_is_done_once_in_a_hundred_rows_is_not():
    log = labels(2, n_episodes=2000)
    rare = (np.random.default_rng(0).random(len(log.ended)) < 0.01).astype(int)
    log = replace(log, actions=rare)
    asked = fitted(log, propensities=estimate_propensities(log, every_column(log)))
    always = [np.full(len(x), a) for a in (0, 1) for x in (log.ended, log.start_states)]
    assert asked.follow(*always[:2]).unsupported_share == 0
    assert_allclose(asked.follow(*always[2:]).unsupported_share, 1)
    logged = ask(asked, lambda states: np.tile([0.99, 0.01], (len(states), 1)))
    assert_allclose(logged.unsupported_share, 0.01)


def test_columns_without_meaning_do_not_blur_where_an_action_is_never_taken():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2000, 9))
    taken = (states[:, 0] > 0).astype(int)
    log = one_way(states, states, np.zeros(2000), np.ones(2000, dtype=bool), taken)
    propensities = estimate_propensities(log, every_column(log))
    wrong = propensities.starting[np.arange(2000), 1 - taken]
    assert np.mean(wrong < 0.05) > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_following_the_logged_policy_earns_what_was_logged(seed):
    """In a log whose episodes are cut at one length, or end."""
    log = walk(seed, n_episodes=100) if seed % 2 else labels(seed, n_episodes=300, most=99)
    asked = FittedQ.of_log(log, longest=longest_of(log), cut_share=cut_share_of(log))
    found = asked.follow(asked.propensities.following, asked.propensities.starting)
    returns = np.bincount(log.episode, log.rewards)
    spread = returns.std() / np.sqrt(len(returns))
    assert abs(found.value - returns.mean()) < spread
    assert 0.7 * spread < found.standard_error < 1.2 * spread


@given(n_actions=st.integers(1, 6), seed=SEEDS, power=st.integers(1, 8), n_taken=st.integers(1, 6))
def test_what_is_left_out_of_propensities_is_hardly_ever_taken(n_actions, seed, power, n_taken):
    rng = np.random.default_rng(seed)
    full = rng.dirichlet(np.ones(n_actions), size=20) ** power
    full /= full.sum(axis=1, keepdims=True)
    everything = np.ones(n_actions, dtype=bool)
    left = leave_out(full, everything)
    assert_allclose(left.sum(axis=1), 1)
    assert (np.where(left == 0, full, 0).sum(axis=1) < 1e-3).all()
    assert_allclose(left[left > 0], full[left > 0], rtol=2e-3)
    # One more left out would be too many.
    least = np.where(left > 0, full, np.inf).min(axis=1)
    assert (np.where(left == 0, full, 0).sum(axis=1) + least >= 1e-3).all()
    taken = np.arange(n_actions) < n_taken
    of_taken = leave_out(full, taken)
    assert_array_equal(of_taken[:, ~taken], 0)
    assert_allclose(of_taken.sum(axis=1), 1)


def test_known_propensities_are_followed_where_the_log_allows():
    log = replace(walk(0), n_actions=4)
    known = Propensities(
        np.tile([0.3, 0.6, 0.0995, 0.0005], (len(log.ended), 1)), np.tile([0.0, 0, 1, 0], (40, 1))
    )
    asked = FittedQ.of_log(log, longest=8, cut_share=1.0, propensities=known)
    assert_allclose(asked.propensities.following, np.tile([1 / 3, 2 / 3, 0, 0], (320, 1)))
    with pytest.raises(ValueError, match="never takes action 2"):
        asked.follow(asked.propensities.following, asked.propensities.starting)


def linked(log):
    """The log with its rows linked: here rows lie episode by episode, in their order."""
    same = np.append(np.diff(log.episode) == 0, False)
    return replace(log, following_row=np.where(same, np.arange(1, len(same) + 1), -1))


def test_known_propensities_stand_where_their_rows_were_logged():
    log = linked(walk(0))
    rng = np.random.default_rng(0)
    stated = rng.uniform(0.1, 0.9, size=len(log.ended))
    estimated = estimate_propensities(log, every_column(log))
    known = estimated.knowing(stated, log)
    last = np.flatnonzero(log.following_row < 0)
    assert len(last) == 40
    assert_array_equal(known.following[last], estimated.following[last])
    rows = log.following_row[log.following_row >= 0]
    before = np.flatnonzero(log.following_row >= 0)
    assert_allclose(known.following[before, log.actions[rows]], stated[rows])
    assert_allclose(known.following[before, 1 - log.actions[rows]], 1 - stated[rows])
    first = np.arange(0, 320, 8)
    assert_array_equal(log.starting_row, first)
    assert_allclose(known.starting[np.arange(40), log.actions[first]], stated[first])
    assert_allclose(known.starting.sum(axis=1), 1)
    # All of the log's own rates, and nothing changes.
    own = estimated.starting[np.arange(40), log.actions[first]]
    same = estimated.knowing(np.where(np.isin(np.arange(320), first), np.repeat(own, 8), 0.5), log)
    assert_allclose(same.starting, estimated.starting, atol=1e-9)


def test_other_actions_share_what_known_ones_leave():
    log = linked(one_step(np.zeros((60, 1)), np.zeros(60), np.arange(60) % 4))
    log = replace(log, n_actions=5)  # of which the last was never taken
    even_starts = Propensities(np.zeros((60, 5)), np.tile([0.4, 0.3, 0.2, 0.1, 0], (60, 1)))
    known = even_starts.knowing(np.full(60, 0.7), log).starting
    assert_allclose(known[0], [0.7, 0.15, 0.1, 0.05, 0])
    never = Propensities(np.zeros((60, 5)), np.tile([1.0, 0, 0, 0, 0], (60, 1)))
    assert_allclose(never.knowing(np.full(60, 0.7), log).starting[0], [0.7, 0.1, 0.1, 0.1, 0])
    alone = linked(one_step(np.zeros((9, 1)), np.zeros(9)))
    only = Propensities(np.zeros((9, 1)), np.ones((9, 1)))
    assert_array_equal(only.knowing(np.full(9, 0.7), alone).starting, 1)


def test_known_propensities_of_rows_say_what_is_hardly_taken():
    """The forest cannot see what decides; the log's keeper knows."""
    log = linked(labels(2, n_episodes=300, end=0.0, most=4))
    asked = [
        FittedQ.of_log(log, longest=4, cut_share=1.0, propensities=np.full(1200, share))
        for share in (0.5, 0.04)
    ]
    # Follow what was logged: in every state but the last of each episode.
    logged = np.where(log.following_row < 0, 0, log.actions[log.following_row])
    often, rarely = (one.follow(logged, log.actions[log.starting_row]) for one in asked)
    assert often.unsupported_share < 0.1
    assert rarely.unsupported_share > 0.7  # nothing is known after the last row


def test_an_episode_without_rows_has_no_starting_row():
    log = linked(walk(0))
    longer = replace(log, start_states=np.concatenate([log.start_states, [[0.0, 0.0]]]))
    assert_array_equal(longer.starting_row, [*range(0, 320, 8), -1])
    assert_array_equal(walk(0).starting_row, -1)


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_unsupported_decisions_are_counted_when_they_are_taken(steps):
    """Places 0, 1, 2 one after the other; the decision in place 1 is unsupported."""
    path = np.arange(4.0)[:, np.newaxis]
    log = raw_log([(path, np.zeros(3, dtype=int), [0, 0, 0], True)] * 30, 1)
    known = Propensities(
        following=np.where(log.next_states == 1, 0.049, 0.05), starting=np.full((30, 1), 0.05)
    )
    found = ask(fitted(log, steps=steps, propensities=known), lambda s: np.zeros(len(s), dtype=int))
    decided = min(steps, 3)
    assert_allclose(found.decisions, decided)
    assert_allclose(found.unsupported_share, (steps > 1) / decided)
    assert_allclose(found.unsupported_decisions, steps > 1)
    starting = replace(known, starting=np.full((30, 1), 0.049))
    found = ask(fitted(log, steps=1, propensities=starting), lambda s: np.zeros(len(s), dtype=int))
    assert_allclose(found.unsupported_share, 1)


def test_longest_tells_who_outlasts_the_log():
    log = labels(3)
    rule = rising
    assert ask(fitted(log, longest=None), rule).outlasting is None
    assert ask(fitted(log, steps=3), rule).outlasting is None
    share = ask(fitted(log), rule).outlasting
    assert 0 < share < 0.2


# ---------------------------------------------------------------------------------------- relevance


def system(seed, *, constant=False, n_episodes=80, n_steps=20):
    """Place and speed matter; a random walk, noise and an empty column do not."""
    rng = np.random.default_rng(seed)
    episodes = []
    for _ in range(n_episodes):
        place, speed, drift = rng.normal(), rng.normal(), rng.normal()
        states, rewards = [], []
        actions = rng.integers(2, size=n_steps)
        for action in [*actions, 0]:
            states.append([place, speed, drift, rng.normal(), np.nan])
            rewards.append(1.0 if constant else -(place**2))
            place += 0.7 * speed
            speed = 0.7 * speed - 0.2 * place + (action - 0.5) + 0.3 * rng.normal()
            drift += rng.normal()
        episodes.append((np.array(states), actions, rewards[:-1], False))
    return raw_log(episodes, 2)


@pytest.mark.parametrize("seed", range(3))
def test_columns_matter_for_reward_or_for_what_comes_to_matter(seed):
    assert_array_equal(relevant_columns(system(seed)), [True, True, False, False, False])


def test_all_columns_are_kept_where_none_can_be_shown_to_matter():
    assert relevant_columns(system(0, constant=True)).all()
    assert relevant_columns(walk(0, n_episodes=3, n_steps=2)).all()


def test_ends_make_columns_matter():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2000, 1, 2)).repeat(2, axis=1)
    steps = [(s, np.zeros(1, dtype=int), [1.0], bool(s[0, 1] > 0)) for s in states]
    assert_array_equal(relevant_columns(raw_log(steps, 1)), [False, True])


def test_what_nothing_foretells_is_foretold_by_no_column():
    """The column that matters is drawn anew at each step."""
    rng = np.random.default_rng(0)
    paths = rng.normal(size=(100, 11, 3))
    zeros = np.zeros(10, dtype=int)
    log = raw_log([(path, zeros, path[:-1, 0], False) for path in paths], 1)
    assert_array_equal(relevant_columns(log), [True, False, False])


def test_what_stands_behind_an_end_makes_no_column_matter():
    rng = np.random.default_rng(0)
    states, following, ended = *rng.normal(size=(2, 2000, 2)), rng.random(2000) < 0.3
    following[ended, 0] = 1e3 * states[ended, 1]
    log = one_way(states, following, states[:, 0], ended)
    assert_array_equal(relevant_columns(log), [True, False])


def test_columns_are_dropped_before_leaves_are_grown():
    log = system(1)
    asked = FittedQ.of_log(log, longest=20, cut_share=1.0, gamma=0.9, tolerance=1e-7)
    assert_array_equal(asked.leaves.features.columns, [True, True, False, False, False])
    assert (asked.longest, asked.gamma, asked.tolerance) == (20, 0.9, 1e-7)
    assert asked.horizon.shares == {20: 1.0}
    rng = np.random.default_rng(0)
    noise = log.next_states + [0, 0, 1, 1, 1] * rng.normal(size=log.next_states.shape)
    other = replace(log, next_states=noise)
    found = asked.follow(rising(log.next_states), rising(log.start_states))
    again = replace(asked, log=other).follow(rising(log.next_states), rising(log.start_states))
    assert found.value == again.value
    assert found.unsupported_share < 0.02
    assert_array_equal(asked.columns, asked.leaves.features.columns)


# ------------------------------------------------------------------------------------------- leaves


def test_an_episode_without_rows_still_starts():
    """Rows whose next state is unknown are left out; that their episodes began is known."""
    log = labels(4, end=1.0)
    more = np.concatenate([log.start_states, [[0.0], [3.0]]])
    asked = fitted(log, regressor=SINGLE_ROWS)
    values = dict(zip(log.start_states[:, 0], ask(asked, rising).start_values, strict=True))
    longer = replace(log, start_states=more)
    propensities = estimate_propensities(longer, every_column(log))
    found = ask(replace(asked, log=longer, propensities=propensities), rising)
    assert_allclose(found.start_values[-2:], [values[0.0], values[3.0]])
    assert_allclose(found.value, found.start_values.mean())
    assert found.influence.shape == (62,)
    assert found.unsupported_share == 0


def one_step(states, rewards, actions=None):
    actions = np.zeros(len(states), dtype=int) if actions is None else actions
    return raw_log(
        [
            (np.array([s, s]), np.array([a]), [r], True)
            for s, a, r in zip(states, actions, rewards, strict=True)
        ],
        int(max(actions)) + 1,
    )


def zero(states):
    return np.zeros(len(states), dtype=int)


def test_missing_values_are_told_from_others():
    rng = np.random.default_rng(0)
    states = np.column_stack([rng.normal(size=600), np.full(600, 3.0), np.full(600, np.nan)])
    states[::3, 1] = np.nan
    rewards = np.isnan(states[:, 1]).astype(float)
    log = one_step(states, rewards)
    assert_array_equal(relevant_columns(log), [False, True, False])
    assert_allclose(ask(fitted(log), zero).start_values, rewards, atol=0.05)


def test_large_numbers_keep_their_digits():
    """Dates are nanoseconds since 1970, more than 32 bits hold."""
    states = 1.76e18 + 1e9 * np.arange(60.0)[:, np.newaxis]
    rewards = np.arange(60.0)
    found = ask(fitted(one_step(states, rewards), regressor=SINGLE_ROWS), zero)
    assert_allclose(found.start_values, rewards)


def test_what_differs_by_rounding_is_constant():
    tiny = 1e-13 * np.random.default_rng(0).normal(size=(50, 1))
    assert Scale.of(5 + tiny).unit == 1
    assert Scale.of(tiny, size=1.0).unit == 1
    assert Scale.of(tiny).unit < 1e-12
    assert Scale.of(np.zeros((3, 1))).unit == 1
    assert Scale.of(np.full((3, 1), np.nan)).centre == 0


@pytest.mark.parametrize("n_rows", [1, 9])
def test_an_action_of_few_rows_is_one_leaf(n_rows):
    rng = np.random.default_rng(0)
    states, rewards = rng.normal(size=(60, 1)), rng.normal(size=60)
    actions = (np.arange(60) < n_rows).astype(int)
    asked = fitted(one_step(states, rewards, actions))
    found = ask(asked, lambda states: np.ones(len(states), dtype=int))
    assert_allclose(found.start_values, rewards[:n_rows].mean())
    assert np.isfinite(found.standard_error)
    alone = fitted(one_step(states[:5], rewards[:5]))
    assert_allclose(ask(alone, zero).start_values, rewards[:5].mean())
    assert_allclose(alone.leaves.correction, 5 / 4)


def test_an_action_that_was_never_taken_is_refused_where_it_is_taken():
    log = walk(0)
    log = replace(log, actions=2 * log.actions, n_actions=4)
    asked = fitted(log, propensities=estimate_propensities(log, every_column(log)))
    doubled = ask(asked, lambda states: 2 * rising(states))
    assert doubled.value == ask(fitted(walk(0)), rising).value
    assert doubled.unsupported_share < 0.1
    assert_array_equal(asked.propensities.starting[:, [1, 3]], 0)
    with pytest.raises(ValueError, match="never takes action 1"):
        ask(asked, rising)


@pytest.mark.parametrize(
    "regressor",
    [DecisionTreeRegressor(max_depth=3), RandomForestRegressor(5, random_state=0)],
)
def test_other_regressors_with_apply_stand_in(regressor):
    log = walk(1)
    asked = fitted(log, regressor=regressor)
    assert asked.leaves.n_trees == getattr(regressor, "n_estimators", 1)
    constant = replace(log, rewards=np.ones(len(log.rewards)))
    assert_allclose(ask(replace(asked, log=constant), rising).value, 8)
    own = [asked.leaves.leaves_of(log.states[[i]], a)[0] for i, a in enumerate(log.actions)]
    assert_array_equal(own, asked.leaves.own)
    assert not hasattr(regressor, "tree_")


class Apart(DecisionTreeRegressor):
    """A tree that answers to apply in a way of its own."""

    answer = None

    def apply(self, X):
        return self.answer(super().apply(X))


@pytest.mark.parametrize(
    ("regressor", "lacks"),
    [
        (Ridge(), "but Ridge has no method apply"),
        (HistGradientBoostingRegressor(), "but HistGradientBoostingRegressor has no method apply"),
        (GradientBoostingRegressor(), "but GradientBoostingRegressor takes one target only"),
        (RandomForestClassifier(), "but RandomForestClassifier is no regressor"),
        (RandomForestRegressor, "but RandomForestRegressor is a class, not an object of it"),
        ("forest", "but str is no regressor"),
    ],
)
def test_what_tells_no_leaves_is_refused_before_anything_is_fitted(regressor, lacks):
    log = replace(walk(0), states=None)  # looking at it would raise
    with pytest.raises(TypeError, match=lacks) as refused:
        FittedQ.of_log(log, longest=8, cut_share=1.0, regressor=regressor)
    assert "ExtraTreesRegressor" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "answer",
    [
        lambda nodes: nodes + 0.5,
        lambda nodes: nodes - 1000,
        lambda nodes: nodes[:-1],
        lambda nodes: nodes.astype(str),
        lambda nodes: np.full(len(nodes), np.nan),
        lambda nodes: nodes[0],
    ],
)
def test_leaves_without_numbers_are_refused(answer, monkeypatch):
    monkeypatch.setattr(Apart, "answer", staticmethod(answer))
    with pytest.raises(TypeError, match="but Apart answers to apply otherwise than by the number"):
        grow_leaves(walk(0), np.ones(2, dtype=bool), regressor=Apart())


def test_leaves_may_be_numbered_by_floats(monkeypatch):
    monkeypatch.setattr(Apart, "answer", staticmethod(lambda nodes: nodes.astype(np.float32)))
    log = walk(0)
    found = grow_leaves(log, every_column(log), regressor=Apart(max_depth=3, random_state=0))
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    assert_array_equal(found.own, grow_leaves(log, every_column(log), regressor=tree).own)


def test_leaves_part_the_rows_of_each_action_in_each_tree():
    log = walk(3, missing=0.1)
    leaves = grow_leaves(log, every_column(log))
    assert (leaves.sizes >= 2).all()
    assert leaves.sizes.sum() == leaves.own.size
    home = np.full(leaves.n_leaves, -1)
    for tree in range(leaves.n_trees):
        for code, action in zip(leaves.own[:, tree], log.actions, strict=True):
            assert home[code] in (-1, 2 * tree + action)
            home[code] = 2 * tree + action
    assert_array_equal(leaves.own, grow_leaves(log, every_column(log)).own)
    assert (leaves.own != grow_leaves(log, every_column(log), random_state=1).own).any()


def test_next_states_of_ended_rows_are_never_looked_at():
    log = labels(5, end=0.3)
    noise = np.random.default_rng(0).normal(size=log.states.shape)
    states, following = np.hstack([log.states, noise]), np.hstack([log.next_states, noise[::-1]])
    garbage = np.where(log.ended[:, np.newaxis], 1e6 * states, following)
    clean = replace(log, states=states, next_states=following)
    dirty = replace(clean, next_states=garbage)
    both = np.ones(2, dtype=bool)
    assert_array_equal(grow_leaves(dirty, both).own, grow_leaves(clean, both).own)
    assert_array_equal(relevant_columns(dirty), relevant_columns(clean))


def parted_by(log, column, **options):
    """Share of leaves of action 0 in which a column of zeros and ones does not vary."""
    leaves = grow_leaves(log, every_column(log), **options)
    rows = log.rows_of(0)
    sums = np.bincount(leaves.own[rows].ravel(), np.repeat(column[rows], leaves.n_trees))
    share = sums / leaves.sizes[: len(sums)]
    return np.mean((share == 0) | (share == 1))


def one_way(states, next_states, rewards, ended, actions=None):
    """Episodes of one step each."""
    n = len(states)
    return RawLog(
        states,
        np.zeros(n, dtype=int) if actions is None else actions,
        rewards,
        next_states,
        ended,
        np.arange(n),
        states,
        1 if actions is None else 2,
    )


def test_ends_and_changes_part_rows():
    rng = np.random.default_rng(0)
    far, side = 100 * rng.normal(size=400), rng.integers(2, size=400)
    states = np.column_stack([far, side])
    none = np.zeros(400, dtype=bool)
    forest = ExtraTreesRegressor(10, min_samples_leaf=20, random_state=0)
    moved = one_way(states, states + np.outer(2 * side - 1, [1, 0]), np.ones(400), none)
    # The side itself is drawn anew, so that only the change of place tells of it.
    moved.next_states[:, 1] = rng.integers(2, size=400)
    assert parted_by(moved, side, regressor=forest) == 1
    place = rng.normal(size=(400, 1))
    beyond = place[:, 0] > 1.2
    ends = one_way(place, rng.permutation(place), np.ones(400), beyond)
    assert parted_by(ends, beyond, regressor=DecisionTreeRegressor(max_depth=1)) == 1


def test_targets_weigh_alike_within_an_action():
    """Rewards of one action may differ little beside those of another."""
    rng = np.random.default_rng(0)
    place, side, actions = (rng.integers(2, size=800) for _ in range(3))
    stays = np.where(rng.random(800) < 0.85, place, 1 - place)
    rewards = np.where(actions == 1, 1000 * rng.normal(size=800), side)
    log = one_way(
        np.column_stack([place, side]).astype(float),
        np.column_stack([stays, rng.integers(2, size=800)]).astype(float),
        rewards,
        np.zeros(800, dtype=bool),
        actions,
    )
    assert parted_by(log, side, regressor=DecisionTreeRegressor(max_depth=1)) == 1


@pytest.mark.parametrize("factor", [1e-60, 1e60])
def test_units_mean_nothing(factor):
    states = factor * np.arange(60.0)[:, np.newaxis]
    found = ask(fitted(one_step(states, np.arange(60.0)), regressor=SINGLE_ROWS), zero)
    assert_allclose(found.start_values, np.arange(60.0))


def test_columns_left_out_are_not_seen():
    log = walk(3, missing=0.2)
    only_first = np.array([True, False])
    other = log.states.copy()
    other[:, 1] = other[::-1, 1]
    leaves = [grow_leaves(replace(log, states=s), only_first) for s in (log.states, other)]
    assert_array_equal(leaves[0].own, leaves[1].own)
    assert_array_equal(
        leaves[0].leaves_of(log.states[:5], 0), leaves[1].leaves_of(other[:5] * [1, 9], 0)
    )


def test_a_column_that_was_never_measured_may_be_later():
    states = np.column_stack([np.arange(60.0), np.full(60, np.nan)])
    leaves = grow_leaves(one_step(states, np.arange(60.0)), np.ones(2, dtype=bool))
    known = np.column_stack([np.arange(60.0), np.full(60, 7.0)])
    assert_array_equal(leaves.leaves_of(known, 0), leaves.own)


# ----------------------------------------------------------------------------------------- meetings


def tail(rng, size, n_modes):
    basis, matrix = rng.normal(size=(n_modes, size)), rng.normal(size=(n_modes, n_modes))
    return Tail(basis, matrix, rng.normal(size=n_modes))


@given(
    steps=st.integers(0, 12),
    n_values=st.integers(0, 9),
    n_visits=st.integers(0, 9),
    n_modes=st.integers(1, 3),
    seed=SEEDS,
)
def test_few_products_stand_for_all_steps(steps, n_values, n_visits, n_modes, seed):
    rng = np.random.default_rng(seed)
    V = Path(dict(enumerate(rng.normal(size=(n_values, 3)))), n_values, tail(rng, 3, n_modes))
    d = Path(dict(enumerate(rng.normal(size=(n_visits, 2)))), n_visits, tail(rng, 2, 4 - n_modes))
    one_by_one = sum(
        (np.outer(d.at(k), V.at(steps - 1 - k)) for k in range(steps)), start=np.zeros((2, 3))
    )
    pairs = list(meetings(V, d, steps))
    found = sum((np.outer(*pair) for pair in pairs), start=np.zeros((2, 3)))
    assert_allclose(found, one_by_one, atol=1e-9)
    assert len(pairs) <= 4 + max(0, n_values + n_visits - steps)


def test_what_is_drawn_anew_parts_no_rows_by_what_it_was():
    """Its next value has nothing to do with it, so leaves follow the other column."""
    rng = np.random.default_rng(0)
    paths = rng.normal(size=(200, 9, 2))
    paths[:, :, 1] = paths[:, :1, 1]  # the other stays as it is
    zeros = np.zeros(8, dtype=int)
    log = raw_log([(path, zeros, path[:-1, 1] ** 2, False) for path in paths], 1)
    leaves = grow_leaves(log, every_column(log), regressor=DecisionTreeRegressor(max_leaf_nodes=20))
    (leaf,) = leaves.own.T
    within = [
        np.mean([log.states[leaf == code, j].var() for code in np.unique(leaf)]) for j in (0, 1)
    ]
    assert within[0] > 0.5
    assert within[1] < 0.02


def test_the_actions_that_are_taken_most_tell_what_matters():
    """Of many actions, each of few rows, not all are looked at."""
    rng = np.random.default_rng(0)
    actions = np.append(rng.integers(10, size=2000), 10 + np.arange(400) // 40)
    states = rng.normal(size=(2400, 2))
    rewards = np.where(actions < 10, states[:, 0], 9 * states[:, 1])
    log = replace(one_step(states, rewards), actions=actions, n_actions=20)
    assert_array_equal(relevant_columns(log), [True, False])

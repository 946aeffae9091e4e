"""Importance methods: the example worked by hand, identities, and weights of every size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skmdp._evaluation.importance import discounted_returns, time_before, weigh_episodes

# Four episodes over states 0, 1 and actions 0, 1; -1 is the end. gamma = 1/2. Logged half and half.
HAND = [
    [(0, 0, 1.0, 1), (1, 1, 2.0, -1)],
    [(0, 1, 0.0, 1), (1, 0, 4.0, -1)],
    [(0, 0, 3.0, -1)],
    [(0, 1, 2.0, -1)],
]


def arrays(episodes):
    lengths = np.array([len(rows) for rows in episodes])
    s, a, r, t = np.array([row for rows in episodes for row in rows]).T
    return lengths, s.astype(int), a.astype(int), r, t.astype(int)


def weigh(episodes, pi, b=0.5):
    lengths, s, a, *_ = arrays(episodes)
    chance = np.array([[pi[x], 1 - pi[x]][y] for x, y in zip(s, a, strict=True)])
    with np.errstate(divide="ignore"):
        return weigh_episodes(lengths, np.log(chance / b))


@pytest.mark.parametrize(
    ("pi", "ends", "IS", "WIS", "PDIS", "PDWIS", "size"),
    [
        ((1, 1), [0, 0, 2, 0], 1.5, 3, 2, 2, 1),
        ((1, 0), [4, 0, 2, 0], 3.5, 7 / 3, 3, 8 / 3, 1.8),
        ((0.75, 0.5), [1.5, 0.5, 1.5, 0.5], 2.375, 2.375, 2.375, 2.375, 3.2),
        ((0.75, 0.25), [2.25, 0.25, 1.5, 0.5], 2.625, 7 / 3, 2.4375, 85 / 36, 2.655737704918033),
    ],
)
def test_example_by_hand(pi, ends, IS, WIS, PDIS, PDWIS, size):
    weights = weigh(HAND, pi)
    lengths, _, _, rewards, _ = arrays(HAND)
    discounts = 0.5 ** time_before(lengths)
    returns = discounted_returns(lengths, rewards, discounts)
    assert_allclose(returns, [2, 2, 3, 2])
    assert_allclose(np.exp(weights.log_end), ends, atol=1e-12)
    x = (discounts * rewards)[weights.rows]
    found = [
        weights.whole_episodes(returns, normalized=False),
        weights.whole_episodes(returns, normalized=True),
        weights.per_decision(x, normalized=False),
        weights.per_decision(x, normalized=True),
        weights.effective_sample_size(),
    ]
    assert_allclose(found, [IS, WIS, PDIS, PDWIS, size], rtol=1e-12)
    assert weights.share_without_weight() == np.mean(np.array(ends) == 0)


@pytest.mark.parametrize(
    ("pi", "V", "DR", "WDR"),
    [((1, 0), (1.0, 1.0), 2.75, 31 / 12), ((0.75, 0.25), (0.75, 1.25), 2.40625, 341 / 144)],
)
def test_doubly_robust_example_by_hand(pi, V, DR, WDR):
    Q = np.array([[1.0, 0.0], [2.0, 1.0]])
    weights = weigh(HAND, pi)
    lengths, s, a, r, t = arrays(HAND)
    x = 0.5 ** time_before(lengths) * (r + 0.5 * np.append(V, 0.0)[t] - Q[s, a])
    x = x[weights.rows]
    start = V[0]  # all episodes start in state 0
    assert_allclose(start + weights.per_decision(x, normalized=False), DR, rtol=1e-12)
    assert_allclose(start + weights.per_decision(x, normalized=True), WDR, rtol=1e-12)


EPISODES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([-np.inf, -2.0, 0.0, 0.5, 1.0]),  # log rho
            st.integers(-3, 3).map(float),
        ),
        min_size=0,
        max_size=5,
    ),
    min_size=1,
    max_size=6,
).filter(lambda episodes: any(episodes))


def brute_force(episodes, gamma, multiplicities):
    """The definitions, with the weight carried on past the end of an episode."""
    alive = [(rows, m) for rows, m in zip(episodes, multiplicities, strict=True) if rows and m]
    n, H = sum(m for _, m in alive), max((len(rows) for rows, _ in alive), default=0)
    pdis = pdwis = 0.0
    for t in range(H):
        W = [np.exp(sum(rho for rho, _ in rows[: t + 1])) for rows, _ in alive]
        r = [rows[t][1] if t < len(rows) else 0.0 for rows, _ in alive]
        total = sum(m * w * x for w, x, (_, m) in zip(W, r, alive, strict=True))
        mass = sum(m * w for w, (_, m) in zip(W, alive, strict=True))
        pdis += gamma**t * total / n
        pdwis += gamma**t * total / mass if mass else 0.0
    W = [np.exp(sum(rho for rho, _ in rows)) for rows, _ in alive]
    G = [sum(gamma**t * r for t, (_, r) in enumerate(rows)) for rows, _ in alive]
    total = sum(m * w * g for w, g, (_, m) in zip(W, G, alive, strict=True))
    mass = sum(m * w for w, (_, m) in zip(W, alive, strict=True))
    return total / n, total / mass if mass else np.nan, pdis, pdwis


@given(EPISODES, st.sampled_from([0.0, 0.5, 1.0]), st.data())
def test_methods_equal_their_definitions(episodes, gamma, data):
    lengths = np.array([len(rows) for rows in episodes])
    log_ratios, rewards = np.array([row for rows in episodes for row in rows]).T
    m = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    )
    if not (m * lengths).any():
        m[:] = 1
    weights = weigh_episodes(lengths, log_ratios)
    discounts = gamma ** time_before(lengths)
    returns = discounted_returns(lengths, rewards, discounts)
    x = (discounts * rewards)[weights.rows]
    found = [
        weights.whole_episodes(returns, m, normalized=False),
        weights.whole_episodes(returns, m, normalized=True),
        weights.per_decision(x, m, normalized=False),
        weights.per_decision(x, m, normalized=True),
    ]
    assert_allclose(found, brute_force(episodes, gamma, m), atol=1e-10)


@given(EPISODES, st.sampled_from([0.5, 1.0]))
def test_the_logged_policy_earned_what_was_logged(episodes, gamma):
    lengths = np.array([len(rows) for rows in episodes])
    _, rewards = np.array([row for rows in episodes for row in rows]).T
    weights = weigh_episodes(lengths, np.zeros(len(rewards)))
    discounts = gamma ** time_before(lengths)
    returns = discounted_returns(lengths, rewards, discounts)
    mean = returns[lengths > 0].mean()
    for normalized in (False, True):
        assert_allclose(weights.whole_episodes(returns, normalized=normalized), mean, atol=1e-12)
        found = weights.per_decision(discounts * rewards, normalized=normalized)
        assert_allclose(found, mean, atol=1e-12)
    assert_allclose(weights.effective_sample_size(), (lengths > 0).sum())


@given(EPISODES)
def test_one_decision_is_one_episode(episodes):
    episodes = [rows[:1] for rows in episodes]
    lengths = np.array([len(rows) for rows in episodes])
    log_ratios, rewards = np.array([row for rows in episodes for row in rows]).T
    weights = weigh_episodes(lengths, log_ratios)
    returns, x = discounted_returns(lengths, rewards, np.ones(len(rewards))), rewards[weights.rows]
    for normalized in (False, True):
        whole = weights.whole_episodes(returns, normalized=normalized)
        per_decision = weights.per_decision(x, normalized=normalized)
        assert_allclose(np.nan_to_num(whole), per_decision, atol=1e-12)


@pytest.mark.parametrize("log_ratio", [0.7, -0.7, 3.0])
def test_weights_of_ten_thousand_decisions(log_ratio):
    """exp(7000) is beyond float64; normalised, the weight cancels."""
    n = 10_000
    lengths = np.array([n, n, 1])
    log_ratios = np.full(2 * n + 1, log_ratio)
    rewards = np.concatenate([np.ones(n), np.full(n, 3.0), [5.0]])
    weights = weigh_episodes(lengths, log_ratios)
    returns = discounted_returns(lengths, rewards, np.ones(len(rewards)))
    whole = weights.whole_episodes(returns, normalized=True)
    per_decision = weights.per_decision(rewards, normalized=True)
    if log_ratio > 0:
        assert_allclose(whole, 2 * n)
        # The third episode ends at once; its weight counts on, ever less.
        rest = np.exp(-log_ratio * np.arange(1, n))
        assert_allclose(per_decision, 3 + (4 / (2 + rest)).sum())
        assert weights.whole_episodes(returns, normalized=False) == np.inf
        assert weights.per_decision(rewards, normalized=False) == np.inf
        assert_allclose(weights.effective_sample_size(), 2)
    else:
        assert_allclose(whole, 5)
        assert_allclose(weights.effective_sample_size(), 1)
        assert np.isfinite(per_decision)


def test_horizon_leaves_out_what_comes_later():
    short = [rows[:1] for rows in HAND]
    lengths, _, _, rewards, _ = arrays(HAND)
    cut = weigh_episodes(lengths, np.log(np.full(len(rewards), 2.0)), horizon=1)
    plain = weigh_episodes(np.ones(4, dtype=int), np.log(np.full(4, 2.0)))
    assert_allclose(cut.log_end, plain.log_end)
    discounts = 0.5 ** time_before(lengths)
    assert_allclose(
        discounted_returns(lengths, rewards, discounts, horizon=1), [rows[0][2] for rows in short]
    )
    for normalized in (False, True):
        assert_allclose(
            cut.per_decision((discounts * rewards)[cut.rows], normalized=normalized),
            plain.per_decision(arrays(short)[3], normalized=normalized),
        )


@given(EPISODES)
def test_episodes_without_decisions_take_no_part(episodes):
    """Such as those of truncated rows only, wherever they lie."""
    found = []
    for given_ones in (episodes, [rows for rows in episodes if rows]):
        lengths = np.array([len(rows) for rows in given_ones])
        log_ratios, rewards = np.array([row for rows in given_ones for row in rows]).T
        weights = weigh_episodes(lengths, log_ratios)
        discounts = 0.9 ** time_before(lengths)
        returns = discounted_returns(lengths, rewards, discounts)
        x = (discounts * rewards)[weights.rows]
        found.append(
            [weights.share_without_weight(), weights.effective_sample_size()]
            + [weights.whole_episodes(returns, normalized=each) for each in (False, True)]
            + [weights.per_decision(x, normalized=each) for each in (False, True)]
        )
    assert_allclose(found[0], found[1], rtol=1e-12)
    ends = [sum(rho for rho, _ in rows) for rows in episodes if rows]
    assert_allclose(found[0][0], np.mean(np.isneginf(ends)))


def test_no_episode_agrees():
    weights = weigh_episodes(np.array([1, 2]), np.full(3, -np.inf))
    assert np.isnan(weights.whole_episodes(np.ones(2), normalized=True))
    assert weights.whole_episodes(np.ones(2), normalized=False) == 0
    assert weights.effective_sample_size() == 0
    assert weights.share_without_weight() == 1

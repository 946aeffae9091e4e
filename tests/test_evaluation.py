"""The direct method: identities that hold whatever the log."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference import link
from scipy.sparse import csr_array
from test_estimation import count
from test_estimator import FLAGS, logs

from skmdp import MarkovPolicyEstimator
from skmdp._estimation.prior_strength import choose_prior_strength
from skmdp._evaluation.direct import (
    choice_of_actions,
    evaluate_directly,
    follow_values,
    policy_process,
)
from skmdp._evaluation.horizon import Horizon, Path
from skmdp._evaluation.tails import Tail
from skmdp.metrics import evaluate_policy

END = -1


def random_log(seed, n_episodes=60, cut=None, ending=0.25):
    """Episodes over 4 states and 3 actions, each step ending with some probability."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(4), size=(4, 3))
    R = rng.normal(size=(4, 3))
    rows = []
    for episode in range(n_episodes):
        s, going, length = rng.integers(4), True, 0
        while going:
            a, length = rng.integers(3), length + 1
            ends = rng.uniform() < ending
            t = rng.choice(4, p=P[s, a])
            going = not ends and (cut is None or length < cut)
            rows.append((episode, s, a, None if ends else t, R[s, a] + rng.normal()))
            s = t
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])
    return table.astype({"next_state": "Int64"})


def evaluate(table, actions, *, horizon=None, cut_share=0.0, **options):
    rows = table.assign(next_state=table["next_state"].fillna(END))
    counts = count(rows[["state", "action", "next_state", "reward"]].to_numpy(float), n_states=4)
    first = table.groupby("episode")["state"].first()
    start = np.bincount(first, minlength=4) / len(first)
    settings = {
        "prior_strength": 1.0,
        "longest": int(table["episode"].value_counts().max()),
    } | options
    settings["horizon"] = Horizon.of_log(settings["longest"], cut_share, horizon)
    choice = choice_of_actions(counts, np.array(actions))
    return evaluate_directly(counts, choice, start, **settings)


@pytest.mark.parametrize("seed", range(5))
def test_the_logged_mix_earned_what_the_log_earned(seed):
    """With all trust in the mix and no cut, the value is the mean logged return exactly."""
    table = random_log(seed)
    estimate = evaluate(table, [0, 1, 2, 0], prior_strength=1e15, horizon=10_000)
    # Following stops when a step changes no value by more than one part in a million.
    assert_allclose(estimate.value, table["reward"].sum() / 60, atol=1e-5)


def test_one_step_is_worth_its_mean_reward():
    table = random_log(0)
    actions = np.array([0, 1, 2, 0])
    estimate = evaluate(table, actions, prior_strength=0.0, horizon=1)
    means = table.groupby(["state", "action"])["reward"].mean()
    starts = table.groupby("episode")["state"].first()
    assert_allclose(estimate.value, np.mean([means[s, actions[s]] for s in starts]))


def test_deterministic_covered_log_gives_the_true_return():
    """0 -> 1 -> 2 -> end for -1 each; action 1 goes back one."""
    rows = [
        ("e", 0, 0, 1, -1.0),
        ("e", 1, 1, 0, -1.0),
        ("e", 0, 0, 1, -1.0),
        ("e", 1, 0, 2, -1.0),
        ("e", 2, 0, None, -1.0),
        ("f", 2, 1, 1, -1.0),
        ("f", 1, 0, 2, -1.0),
        ("f", 2, 0, None, -1.0),
    ]
    columns = ["episode", "state", "action", "next_state", "reward"]
    table = pd.DataFrame(rows, columns=columns).astype({"next_state": "Int64"})
    assert_allclose(evaluate(table, [0, 0, 0, -1], prior_strength=0.0).value, (-3 - 1) / 2)
    # From 2, going back for ever: two rounds of -1 within a horizon of 2.
    assert_allclose(evaluate(table, [0, 0, 1, -1], prior_strength=0.0, horizon=2).value, -2)


def test_value_is_that_of_the_finite_horizon_recursion():
    table = random_log(3)
    actions = np.array([2, 0, 1, 1])
    rows = table.assign(next_state=table["next_state"].fillna(END))
    counts = count(rows[["state", "action", "next_state", "reward"]].to_numpy(float), n_states=4)
    P, R = policy_process(counts, choice_of_actions(counts, actions), 2.5)
    for s, a in enumerate(actions):  # the formula, state by state
        here, pair = table["state"] == s, (table["state"] == s) & (table["action"] == a)
        trust = pair.sum() / (pair.sum() + 2.5)
        mean = table["reward"][pair].mean() * trust + table["reward"][here].mean() * (1 - trust)
        assert_allclose(R[s], mean)
        for t in range(4):
            share = [(table["next_state"][rows] == t).sum() / rows.sum() for rows in (pair, here)]
            assert_allclose(P[[s]].toarray()[0, t], share[0] * trust + share[1] * (1 - trust))
    V = np.zeros(4)
    for _ in range(3):
        V = R + P @ V
    first = table.groupby("episode")["state"].first()
    estimate = evaluate(table, actions, prior_strength=2.5, horizon=3)
    assert_allclose(estimate.value, V[first].mean())


def test_doubling_every_row_changes_nothing_without_a_prior():
    table = random_log(1)
    twice = pd.concat([table, table.assign(episode=table["episode"] + 1000)])
    for prior_strength, same in ((0.0, True), (1.0, False)):
        one = evaluate(table, [0, 1, 2, 0], prior_strength=prior_strength).value
        two = evaluate(twice, [0, 1, 2, 0], prior_strength=prior_strength).value
        assert np.isclose(one, two, rtol=1e-12) == same


def test_horizon():
    assert Horizon.of_log(7, 1.0).shares == {7: 1}
    assert Horizon.of_log(7, 0.0).shares == {70: 1}
    assert Horizon.of_log(7, 0.25).shares == {7: 0.25, 70: 0.75}
    assert Horizon.of_log(None, 0.0).shares == {1000: 1}
    assert Horizon.of_log(7, 0.25, 3).shares == Horizon.of_log(None, 0.0, 3).shares == {3: 1}


@given(st.integers(1, 5), st.floats(0, 1), st.integers(0, 60))
def test_steps_left_are_those_still_taken(longest, cut_share, step):
    horizon = Horizon.of_log(longest, cut_share)
    assert_allclose(horizon.share_at(0), 1)
    taken = [horizon.share_at(later) for later in range(step, 10 * longest + 1)]
    assert_allclose(horizon.left(step), sum(taken), atol=1e-12)


def test_averages_are_taken_as_many_steps_before_each_end():
    """x_t = t^2 up to 4, then 3 more a step."""
    on = Tail.constant(np.array([3])).sums(np.array([16]))
    path = Path({step: np.array([step**2]) for step in range(4)}, 4, on)
    assert_allclose([path.at(step)[0] for step in (0, 3, 4, 5, 30)], [0, 9, 16, 19, 94])
    horizon = Horizon.of_log(3, 0.25)
    assert (horizon.shortest, horizon.steps) == (3, 30)
    assert_allclose(horizon.mean(path), 0.25 * 9 + 0.75 * 94)
    assert_allclose(horizon.mean(path, before=1), 0.25 * 4 + 0.75 * 91)
    assert_allclose(horizon.mean(path, before=3), 0.25 * 0 + 0.75 * 85)


@pytest.mark.parametrize("seed", range(8))
def test_a_process_without_end_need_not_be_followed(seed):
    """To the last digit it may never settle, but go back and forth for thousands of steps."""
    rng = np.random.default_rng(seed)
    P, R = rng.dirichlet(np.ones(5), size=5), rng.normal(size=5)
    path = follow_values(csr_array(P), R, 10**4, 1.0, 1e-14, keep=())
    assert path.length < 100
    drift = np.linalg.matrix_power(P, 1000) @ R
    assert_allclose((path.at(10**4) - path.at(9000)) / 1000, drift, atol=1e-13)


def summed_over_steps(P, R, start, acts, horizon):
    """Reward, and decisions by state: step by step, each in the share of cases that take it."""
    earned, decisions, running = 0.0, np.zeros(len(R)), start
    for step in range(max(horizon)):
        running = np.where(acts, running, 0.0)
        share = sum(share for steps, share in horizon.items() if step < steps)
        earned += share * running @ R
        decisions += share * running
        running = running @ P
    return earned, decisions


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0, 1))
def test_a_policy_is_followed_in_each_share_for_its_steps(seed, longest, cut_share):
    table = random_log(seed, n_episodes=8)
    actions = np.array([0, 1, 2, 0])
    rows = table.assign(next_state=table["next_state"].fillna(END))
    counts = count(rows[["state", "action", "next_state", "reward"]].to_numpy(float), n_states=4)
    choice = choice_of_actions(counts, actions)
    P, R = policy_process(counts, choice, 1.0)
    start = np.bincount(table.groupby("episode")["state"].first(), minlength=4) / 8
    acts = counts.state_weights > 0
    shares = {longest: cut_share, 10 * longest: 1 - cut_share}
    value, decisions = summed_over_steps(P.toarray(), R, start, acts, shares)
    found = evaluate(table, actions, cut_share=cut_share, longest=longest, tolerance=1e-14)
    assert_allclose(found.value, value, rtol=1e-9, atol=1e-9)
    for share, most in ((found.uncovered, 0), (found.thin, 4)):
        agrees = table["action"] == actions[table["state"]]
        n = np.bincount(table["state"][agrees], minlength=4)
        assert_allclose(share, decisions @ (n <= most) / decisions.sum(), atol=1e-9)


@pytest.mark.parametrize("cut_share", [0.0, 0.25, 1.0])
def test_visits_that_settle_are_counted_for_the_steps_that_are_left(cut_share):
    """State 0 is left at once for state 1, for good; only the action in 0 was never logged."""
    rows = [(e, s, 0, 1, 1.0) for e in range(10) for s in (0, 1, 1, 1)]
    columns = ["episode", "state", "action", "next_state", "reward"]
    found = evaluate(pd.DataFrame(rows, columns=columns), [-1, 0, 0, 0], cut_share=cut_share)
    steps = 4 * cut_share + 40 * (1 - cut_share)
    assert_allclose([found.value, found.uncovered], [steps, 1 / steps])
    assert_allclose(found.outlasting, 1)
    assert_allclose(found.extrapolated, 1 - cut_share)


@pytest.mark.long
@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_value_is_affine_in_the_share_of_cut_episodes(seed, cut_share):
    table = random_log(seed, n_episodes=20)
    to_the_end, short, mixed = (
        evaluate(table, [0, 1, 2, 0], cut_share=share, tolerance=1e-14)
        for share in (0.0, 1.0, cut_share)
    )
    expected = (1 - cut_share) * to_the_end.state_values + cut_share * short.state_values
    assert_allclose(mixed.state_values, expected, rtol=1e-9, atol=1e-9)
    assert_allclose(mixed.outlasting, to_the_end.outlasting, rtol=1e-12)


@pytest.mark.parametrize("longest", [1, 5, 40])
@pytest.mark.parametrize("kept", [False, True])
def test_following_to_the_end_passes_the_longest_episode_on_its_way(longest, kept):
    """What is known in passing is what following for so many steps gives."""
    table = random_log(2)
    short = evaluate(table, [0, 1, 2, 0], horizon=longest)
    whole = evaluate(table, [0, 1, 2, 0], horizon=10 * longest)
    nearly = [
        evaluate(table, [0, 1, 2, 0], longest=longest, cut_share=share, keep_paths=kept)
        for share in (1e-15, 1 - 1e-15)
    ]
    assert_allclose(nearly[0].state_values, whole.state_values, rtol=1e-12)
    # Where the values count as settled depends on the steps that are left.
    assert_allclose(nearly[1].state_values, short.state_values, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 2, 8, 9, 100, 3000])
@pytest.mark.parametrize("escape", [1e-9, 1e-5, 1e-3, 0.3])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-10])
def test_values_settle_only_where_the_sum_over_all_steps_agrees(steps, escape, tolerance):
    """A state that pays one is left, slowly or fast, for one that pays 3, then for one of -1."""
    P = csr_array([[1 - escape, escape, 0], [0, 1 - 2 * escape, 2 * escape], [0, 0, 1.0]])
    R = np.array([1.0, 3.0, -1.0])
    path = follow_values(P, R, steps, 1.0, tolerance, keep=range(steps))
    V, scale = np.zeros(3), 1.0
    for step in range(1, steps + 1):
        V = R + P @ V
        scale = max(scale, np.abs(V).max())
        assert np.abs(path.at(step) - V).max() <= 2 * tolerance * scale


@pytest.mark.parametrize("n_cut", [0, 1, 5, 19, 20])
@pytest.mark.filterwarnings("ignore:.*would last longer:UserWarning")
def test_one_state_that_ends_by_chance(n_cut):
    """20 episodes of 4 steps, 2 a step: V_H = 2 (1 - (1 - p)^H) / p, or 2 H if none ends."""
    rows = [(e, 0, 0, 0 if t < 3 or e < n_cut else None, 2.0) for e in range(20) for t in range(4)]
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])
    table = table.astype({"next_state": "Int64"})
    p, c = (20 - n_cut) / 80, n_cut / 20

    def earned(steps):
        return 2 * (1 - (1 - p) ** steps) / p if p else 2 * steps

    expected = (1 - c) * earned(40) + c * earned(4)
    assert_allclose(MarkovPolicyEstimator().fit(table).score(table), expected, rtol=1e-5)
    logged = evaluate_policy("behavior", table, methods="dm")
    assert_allclose(logged.behavior_value, expected, rtol=1e-8)
    assert (logged.cut_share, logged.horizon) == (c, 4 if n_cut == 20 else 40)


@pytest.mark.filterwarnings("ignore:.*would last longer:UserWarning")
def test_no_single_episode_decides_how_long_a_policy_is_followed():
    """Staying pays one a step and ends one time in 20; half of the log's steps leave."""
    rng = np.random.default_rng(0)
    rows = []
    for episode in range(300):
        going = True
        while going:
            stays = rng.uniform() < 0.5
            going = stays and rng.uniform() < 0.95
            rows.append((episode, 0, int(stays), 0 if going else None, float(stays)))
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])
    table = table.astype({"next_state": "Int64"})
    last = table.groupby("episode").tail(1).index

    def value(n_cut):
        now_cut = table.index.isin(last[:n_cut])
        log = table.assign(next_state=table["next_state"].where(~now_cut, 0))
        found = evaluate_policy(1, log, methods="dm", prior_strength=0.0)
        return found.to_frame()["value"][0]

    values = np.array([value(n) for n in (0, 1, 2, 150, 151, 299, 300)])
    assert values[0] > 1.5 * values[-1]  # so much hangs on the horizon
    assert_allclose(values[[1, 2, 4, 5]], values[[0, 1, 3, 6]], rtol=0.03)


def test_actions_the_log_lacks_are_counted():
    """State 0 is left for 1 and 1 ends; the policy's action in 1 was never logged."""
    table = pd.DataFrame(
        {"episode": [0, 0], "state": [0, 1], "action": [0, 0], "reward": [1.0, 5.0]}
    ).assign(next_state=pd.array([1, None], dtype="Int64"))
    covered = evaluate(table, [0, 0, -1, -1])
    lacking = evaluate(table, [0, -1, -1, -1])
    assert (covered.uncovered, lacking.uncovered) == (0.0, 0.5)
    assert covered.value == lacking.value == 6.0  # the logged mix stands in


def test_episodes_that_outlast_the_log_are_counted():
    """Going back and forth between 0 and 1, logged once each, never ends."""
    rows = [(0, 0, 0, 1), (0, 1, 1, None), (1, 1, 0, 0), (1, 0, 1, None)]
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state"]).assign(
        next_state=lambda log: log["next_state"].astype("Int64"), reward=1.0
    )
    loops = evaluate(table, [0, 0, -1, -1], prior_strength=0.0)
    assert loops.outlasting == 1.0
    assert loops.horizon.steps == 20
    assert_allclose(loops.value, 20)
    ends = evaluate(table, [1, 1, -1, -1], prior_strength=0.0)
    assert ends.outlasting == 0.0
    assert evaluate(table, [1, 1, -1, -1], longest=None).outlasting is None


# ------------------------------------------------------------------------------------------ score

QUIET = pytest.mark.filterwarnings("ignore:X lacks:UserWarning")
POLICY = MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.95)


@QUIET
def test_score_is_the_direct_method_with_the_strength_the_log_speaks_for():
    train, test = random_log(0), random_log(1)
    policy = POLICY.fit(train)
    rows = test.assign(next_state=test["next_state"].fillna(END))
    counts = count(rows[["state", "action", "next_state", "reward"]].to_numpy(float), n_states=4)
    strength = choose_prior_strength(counts)
    expected = evaluate(test, policy.predict([0, 1, 2, 3]), prior_strength=strength)
    assert_allclose(policy.score(test), expected.value)
    assert type(policy.score(test)) is float


@QUIET
def test_score_scales_with_the_rewards():
    train, test = random_log(0), random_log(1)
    dear = test.assign(reward=test["reward"] * 1000)
    assert_allclose(POLICY.fit(train).score(dear), 1000 * POLICY.score(test), rtol=1e-4)


@QUIET
@pytest.mark.parametrize("exponent", [-40, -3, 50])
def test_score_has_no_unit_of_its_own(exponent):
    """Rewards in pennies or in millions: following stops relative to them, never to one."""
    train, test = random_log(0), random_log(1)
    scaled = test.assign(reward=test["reward"] * 2.0**exponent)
    assert POLICY.fit(train).score(scaled) == 2.0**exponent * POLICY.score(test)


@QUIET
@pytest.mark.parametrize("cut", [None, 4])
def test_a_weight_says_how_often_an_episode_was_logged(cut):
    train, test = random_log(0), random_log(1, cut=cut)
    policy = POLICY.fit(train)
    weights = np.random.default_rng(0).integers(3, size=60)
    copies = [
        test[test["episode"] == episode].assign(episode=1000 * copy + episode)
        for episode, weight in enumerate(weights)
        for copy in range(weight)
    ]
    weighted = policy.score(test, sample_weight=weights[test["episode"]])
    assert_allclose(weighted, policy.score(pd.concat(copies)), rtol=1e-12)


@QUIET
def test_score_does_not_depend_on_the_order_of_rows_with_given_next_states():
    test = random_log(1)
    test = test.assign(step=test.groupby("episode").cumcount())
    shuffled = test.sample(frac=1, random_state=0)
    POLICY.fit(random_log(0))
    assert_allclose(POLICY.score(shuffled), POLICY.score(test), rtol=1e-12)


@QUIET
def test_one_step_decisions_score_the_same_in_every_form():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"state": rng.integers(3, size=200)})
    y, reward = rng.integers(2, size=200), rng.normal(size=200)
    features = POLICY.fit(X, y, reward=reward).score(X, y, reward=reward)
    table = X.assign(action=y, reward=reward, episode=np.arange(200))
    with_episodes = POLICY.fit(table).score(table)
    no_next = pd.array([None] * 200, dtype="Int64")
    without = table.drop(columns="episode").assign(next_state=no_next)
    assert_allclose(features, with_episodes, rtol=1e-12)
    assert_allclose(features, POLICY.fit(without).score(without), rtol=1e-12)


@QUIET
def test_cut_episodes_are_followed_as_long_as_the_longest():
    """A reward of one a step for ever is worth the length of the log's window."""
    table = pd.DataFrame({"episode": [0] * 7 + [1] * 5, "state": 0, "action": 0, "reward": 1.0})
    cut = table.assign(next_state=0)
    assert_allclose(POLICY.fit(cut).score(cut), 7)
    assert_allclose(POLICY.score(cut.drop(columns="episode")), 1000)


def test_score_of_gamma_is_fair():
    """gamma enters through the policy alone: one policy, one score."""
    table = random_log(0)
    scores = {
        MarkovPolicyEstimator(gamma=gamma).fit(table[table["action"] == 0]).score(table)
        for gamma in (0.1, 0.5, 0.99)
    }
    assert len(scores) == 1


@pytest.mark.filterwarnings("ignore:In .* a row of X does not lead to:UserWarning")  # rows dropped
@pytest.mark.filterwarnings("ignore:.*stand in the training log too:UserWarning")
def test_uncovered_decisions_are_warned_of():
    table = random_log(0)
    policy = MarkovPolicyEstimator().fit(table[table["action"] == 0])
    message = r"X lacks 100.0% of the decisions.*Score on more rows, or .*raise min_count"
    with pytest.warns(UserWarning, match=message):
        policy.score(table[table["action"] != 0])


@pytest.mark.parametrize(("share", "warns"), [(0.005, False), (0.02, True)])
def test_one_lacking_decision_in_a_hundred_is_reported(share, warns):
    """One-step decisions: in state 1 the log lacks what the policy does."""
    n = 1000
    odd = int(share * n)
    test = pd.DataFrame({"state": [1] * odd + [0] * (n - odd), "action": 0, "reward": 1.0})
    train = pd.DataFrame({"state": [0, 1], "action": [0, 1], "reward": 1.0})
    policy = MarkovPolicyEstimator().fit(train.assign(next_state=None, episode=[0, 1]))
    test = test.assign(next_state=None, episode=range(n))
    if warns:
        with pytest.warns(UserWarning, match="X lacks 2.0% of the decisions"):
            policy.score(test)
    else:
        assert policy.score(test) == pytest.approx(1)


def test_starts_in_states_never_acted_in_are_worth_nothing():
    test = pd.DataFrame(
        {"episode": [0, 1], "state": [0, 1], "action": 0, "reward": 1.0, "next_state": [9.0, None]}
    ).assign(terminated=False)
    policy = MarkovPolicyEstimator().fit(test)
    assert policy.score(test) == 0.5  # the truncated row tells a start, and nothing else


def brute_force_score(rows, advice, strength):
    """DESIGN's pseudo-code on linked rows, state by state; ``strength`` is chosen elsewhere."""
    counted = [row for row in rows if not row["truncated"]]
    acted = {row["state"] for row in counted}
    lengths, last = {}, {}
    for row in rows:
        lengths[row["episode"]] = lengths.get(row["episode"], 0) + 1
        last[row["episode"]] = row
    longest = max(lengths.values())
    starts = [row for row in rows if row["starts"]]
    total = sum(row["weight"] for row in starts)
    is_cut = {
        episode: row["limited"] or row["truncated"] or row["next"] in acted
        for episode, row in last.items()
    }
    cut = [row["weight"] for row in starts if is_cut[row["episode"]]]

    def mean(chosen, s, what):
        here = [row for row in counted if row["state"] == s and row["action"] in chosen]
        weight = sum(row["weight"] for row in here)
        return weight, sum(row["weight"] * what(row) for row in here) / weight if weight else 0.0

    def mixed(s, what):
        n, of_pair = mean([advice[s]], s, what)
        trust = n / (n + strength)
        return trust * of_pair + (1 - trust) * mean({r["action"] for r in counted}, s, what)[1]

    V = dict.fromkeys(acted, 0.0)
    R = {s: mixed(s, lambda row: row["reward"]) for s in acted}
    P = {s: {t: mixed(s, lambda row, t=t: row["next"] == t) for t in acted} for s in acted}
    value = 0.0
    for step in range(1, 10 * longest + 1):
        V = {s: R[s] + sum(P[s][t] * V[t] for t in acted) for s in acted}
        share = {longest: sum(cut), 10 * longest: total - sum(cut)}.get(step, 0.0) / total
        value += share * sum(row["weight"] * V.get(row["state"], 0.0) for row in starts) / total
    return value


@QUIET
@pytest.mark.filterwarnings("ignore:.*would last longer:UserWarning")
@pytest.mark.filterwarnings("ignore:.*does not lead to the state of the next row:UserWarning")
@given(logs())
def test_score_equals_brute_force(log):
    rows, infer, has = log
    linked = link(rows, infer, has["terminated"], has["truncated"])
    if not [row for row in linked if not row["truncated"]]:
        return
    absent = ["weight"] + ["next_state"] * infer + [flag for flag in FLAGS if not has[flag]]
    table = pd.DataFrame(rows).drop(columns=absent)
    weights = [row["weight"] for row in rows]
    policy = MarkovPolicyEstimator().fit(table, sample_weight=weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp._scoring.choose_prior_strength", lambda _: 0.7)
        score = policy.score(table, sample_weight=weights)
    expected = brute_force_score(linked, policy.policy_map(), 0.7)
    assert score == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_outlasting_episodes_are_warned_of():
    back = [("e", 0, "go", 1, 1.0), ("e", 1, "stop", None, 0.0)]
    forth = [("f", 1, "go", 0, 1.0), ("f", 0, "stop", None, 0.0)]
    columns = ["episode", "state", "action", "next_state", "reward"]
    table = pd.DataFrame(back + forth, columns=columns).astype({"next_state": "Int64"})
    policy = MarkovPolicyEstimator().fit(table)
    # Each pair was seen once: half trusted at strength 1, so a step goes on with 3/4, two 9/16.
    with pytest.warns(UserWarning, match=r"56.2% of the policy's episodes would last longer"):
        policy.score(table)
    cut = pd.DataFrame([("g", 0, "go", 1, 1.0), ("g", 1, "go", 0, 1.0)], columns=columns)
    with pytest.warns(UserWarning, match=r"66.4% of the policy's episodes would last longer"):
        policy.score(pd.concat([table, cut]))
    # Of a log that is mostly cut, little is extrapolated; of one that is cut throughout, nothing.
    mostly = [cut.assign(episode=f"g{i}") for i in range(18)]
    policy.score(pd.concat([table, *mostly]))
    policy.score(cut)


def test_unknown_states_are_scored_by_what_predict_answers():
    table = random_log(0)
    policy = MarkovPolicyEstimator(terminated=None).fit(
        table[table["state"] != 2].assign(next_state=None).dropna(axis=1)
    )
    agreed = policy.predict([0, 1, 3])
    default = np.insert(agreed, 2, policy.default_action_)
    rows = table.assign(next_state=table["next_state"].fillna(END))
    counts = count(rows[["state", "action", "next_state", "reward"]].to_numpy(float), n_states=4)
    strength = choose_prior_strength(counts)
    # Silent: the warning belongs to predict.
    assert_allclose(policy.score(table), evaluate(table, default, prior_strength=strength).value)
    with pytest.raises(ValueError, match="not seen in fit, first 2"):
        policy.set_params(handle_unknown="error").score(table)


def test_score_without_rewards_is_agreement():
    X, y = [[0], [0], [0], [1]], ["a", "a", "b", "b"]
    policy = MarkovPolicyEstimator().fit(X, y)
    assert policy.score(X, y) == 0.75
    assert policy.score(X, y, sample_weight=[1, 1, 6, 0]) == 0.25
    table = pd.DataFrame({"state": [0, 0, 1], "action": list("aab"), "episode": [0, 1, 2]})
    assert MarkovPolicyEstimator(reward=None).fit(table).score(table) == 1.0


def test_forgotten_rewards_are_an_error():
    X, y = [[0], [1]], ["a", "b"]
    policy = MarkovPolicyEstimator().fit(X, y, reward=[1, 2])
    with pytest.raises(ValueError, match=r"set_score_request\(reward=True\)"):
        policy.score(X, y)
    with pytest.raises(ValueError, match=r"fitted without rewards.*set_fit_request\(reward=True\)"):
        MarkovPolicyEstimator().fit(X, y).score(X, y, reward=[1, 2])


def test_states_only_reached_ask_for_no_decision():
    log = pd.DataFrame({"state": [0], "action": [0], "next_state": [1], "reward": 2.0})
    policy = MarkovPolicyEstimator(handle_unknown="error").fit(log)
    assert policy.score(log.assign(next_state=99)) == 2.0


def test_score_takes_the_form_of_fit():
    table = random_log(0)
    with pytest.raises(ValueError, match="fitted on a transitions table; hand in one again"):
        MarkovPolicyEstimator().fit(table).score(table[["state"]], table["action"])
    features = MarkovPolicyEstimator().fit(table[["state"]], table["action"])
    with pytest.raises(ValueError, match="fitted on features X and actions y"):
        features.score(table)
    with pytest.raises(ValueError, match="requires y to be passed"):
        features.score([[1]])

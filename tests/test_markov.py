"""Is the state enough: sums against plain loops, what is planted is found, and no more."""

import datetime
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom, norm, t
from scipy.stats import false_discovery_control as adjust_for_discoveries
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_garnet, sample_transitions
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import markov_test
from skmdp.inspection._gains import (
    NEGLIGIBLE,
    STRENGTHS,
    NextState,
    Reward,
    adjust_for_several,
    cross_fit,
    deal_folds,
    join_codes,
    mean_gain,
    previous_codes,
    quantile_codes,
    shuffle_within,
)
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder

NO_SIGN = "no sign that it adds to the state"
ENOUGH = "the state is not enough, add it"
COARSE = "it is in the state already, but the state is too coarse, make it finer"


def findings(table):
    """The verdicts without what they say of the advice."""
    return [verdict.split("; ")[0] for verdict in table["verdict"]]


def softmax_policy(mdp, rng):
    """A behavior that depends on the state: probabilities, (n_states, n_actions)."""
    odds = np.exp(2 * rng.gumbel(size=(mdp.n_states, mdp.n_actions)))
    return odds / odds.sum(axis=1, keepdims=True)


def autocorrelated(log, rng, rho=0.9):
    """A column that drifts within the episode and has nothing to do with it, (n_rows,)."""
    step = log.groupby("episode").cumcount().to_numpy()
    noise = rng.normal(size=len(log))
    drift = noise.copy()
    for i in range(1, step.max() + 1):
        at = np.flatnonzero(step == i)
        drift[at] = rho * drift[at - 1] + np.sqrt(1 - rho**2) * noise[at]
    return drift


def planted_log(plant, effect, n_episodes, seed, n_steps=10, n_states=5):
    """Log ten steps among five states; a share ``effect`` of chance depends on what is planted.

    That is the previous state ("history"), or a column ``hidden`` of three values drawn anew in
    every row ("column"), which moves the mean of the reward instead in "reward".
    """
    rng = np.random.default_rng(seed)
    usual = rng.dirichlet(np.full(n_states, 0.5), size=(n_states, 2))
    swayed = rng.dirichlet(np.full(n_states, 0.5), size=(n_states, 2, 3))
    state = rng.integers(n_states, size=n_episodes)
    previous = np.zeros(n_episodes, dtype=int)
    parts = []
    for step in range(n_steps):
        action, hidden = rng.integers(2, size=n_episodes), rng.integers(3, size=n_episodes)
        share = 0.0 if plant == "reward" else effect
        sways = previous % 3 if plant == "history" else hidden
        odds = (1 - share) * usual[state, action] + share * swayed[state, action, sways]
        at = rng.uniform(size=(n_episodes, 1)) > np.cumsum(odds, axis=1)
        following = np.minimum(at.sum(axis=1), n_states - 1)
        moved = 3 * effect * (hidden - 1) if plant == "reward" else 0.0
        reward = rng.normal(size=n_episodes) + moved
        columns = {"state": state, "action": action, "next_state": following, "reward": reward}
        parts.append(pd.DataFrame(columns).assign(episode=range(n_episodes), step=step))
        parts[-1]["hidden"] = hidden
        previous, state = state, following
    return pd.concat(parts, ignore_index=True)


PLANTED = planted_log("column", 0.7, 100, 0).assign(extra=lambda log: np.arange(len(log)) % 7)


# ---------------------------------------------------------------------------- what is planted


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("plant", "place", "verdict"),
    [
        ("history", 0, f"predicts the next state: {ENOUGH} with add_lags"),
        ("column", 2, f"predicts the next state: {ENOUGH}"),
        ("reward", 2, f"predicts the reward: {ENOUGH}"),
    ],
)
def test_what_is_planted_is_found_and_nothing_else(plant, place, verdict, seed):
    table = markov_test(planted_log(plant, 0.5, 300, seed), "hidden", random_state=0)
    assert table["column"].tolist() == ["previous state", "previous action", "hidden"]
    expected = [NO_SIGN] * 3
    expected[place] = verdict
    assert findings(table) == expected
    outcome = "reward" if plant == "reward" else "next_state"
    assert table[f"{outcome}_lower"][place] > 0
    assert table["p_value"][place] < 0.001


def test_the_gain_of_a_coin_that_settles_the_next_state_is_log_2():
    rng = np.random.default_rng(0)
    coin = rng.integers(2, size=4000)
    log = pd.DataFrame({"state": np.append(0, coin[:-1]), "action": 0, "next_state": coin})
    log = log.assign(reward=10.0 * coin, episode=np.arange(4000) // 10, coin=coin)
    table = markov_test(log, "coin", random_state=0)
    row = table.iloc[2]
    assert row["next_state_gain"] == pytest.approx(np.log(2), abs=0.01)
    # All of the squared error is gone: that of a normal is half a nat.
    assert row["reward_gain"] == pytest.approx(0.5, abs=0.01)
    assert findings(table)[2] == f"predicts the next state and the reward: {ENOUGH}"


def test_a_column_behind_coarse_states_is_found():
    rng = np.random.default_rng(0)
    n = 3000
    measured = rng.uniform(0, 4, size=n)
    goes_up = rng.uniform(size=n) < 0.2 + 0.6 * (measured % 1)
    log = pd.DataFrame({"state": measured, "action": "go", "reward": 0.0})
    log = log.assign(next_state=np.where(goes_up, 3.0, 1.0), episode=np.arange(n) // 10)
    coarse = FunctionTransformer(
        lambda X: X.assign(state=X["state"] // 1, next_state=X["next_state"] // 1)
    )
    policy = make_pipeline(coarse, MarkovPolicyEstimator()).fit(log)
    with pytest.warns(UserWarning, match="does not lead to the state of the next row"):
        table = markov_test(log, "state", policy=policy, random_state=0)
    assert findings(table) == [NO_SIGN, NO_SIGN, f"predicts the next state: {COARSE}"]
    halves = make_pipeline(
        FunctionTransformer(lambda X: X.assign(state=X["state"] * 10 // 1)), MarkovPolicyEstimator()
    ).fit(log)
    with pytest.warns(UserWarning, match="does not lead to the state of the next row"):
        table = markov_test(log, "state", policy=halves, random_state=0)
    assert table["verdict"].tolist() == [NO_SIGN] * 3


def test_a_column_of_the_state_adds_nothing():
    row = markov_test(PLANTED, "state", random_state=0).iloc[2]
    assert abs(row["next_state_gain"]) < 0.01
    assert row["verdict"] == NO_SIGN


def test_a_larger_log_finds_more():
    gains = [
        markov_test(planted_log("column", 0.3, n, 1), "hidden", random_state=0).iloc[2]
        for n in (20, 400)
    ]
    assert gains[0]["verdict"] == NO_SIGN
    assert gains[1]["verdict"] != NO_SIGN


# ----------------------------------------------------------------------------- what is not there

# States, actions and successors of random processes: thick pairs, thin ones, nothing by chance.
QUIET_LOGS = [(4, 2, 3), (30, 3, 3), (10, 2, 1)]
N_QUIET = 60


def test_markov_logs_raise_few_alarms():
    """tests/benchmarks/test_markov_alarms.py has more and larger ones."""
    alarms = 0
    for seed in range(N_QUIET):
        rng = np.random.default_rng(seed)
        mdp = make_garnet(*QUIET_LOGS[seed % 3], random_state=seed)
        log = sample_transitions(
            mdp, softmax_policy(mdp, rng), 30, max_steps=20, random_state=seed + 1000
        )
        noisy = log["reward"] + rng.standard_t(3, size=len(log))
        log = log.assign(reward=noisy, slow=autocorrelated(log, rng))
        alarms += (markov_test(log, "slow", random_state=0)["p_value"] < 0.05).any()
    assert alarms <= binom.ppf(0.95, N_QUIET, 0.05)


def test_a_settled_reward_gains_exactly_nothing():
    log = PLANTED.assign(reward=0.1 * PLANTED["state"] + 1e6 / 3 * PLANTED["action"])
    table = markov_test(log, "hidden", random_state=0)
    assert (table[["reward_gain", "reward_lower", "reward_upper"]] == 0).all(axis=None)


def test_pairs_seen_once_tell_nothing():
    log = PLANTED.head(40).assign(state=range(40), next_state=range(1, 41))
    table = markov_test(log, "hidden", random_state=0)
    gains = table[["next_state_gain", "reward_gain"]].to_numpy()
    assert_array_equal(gains, np.zeros((3, 2)))
    assert table["p_value"].tolist() == [1.0] * 3


def test_smoothing_better_is_no_evidence():
    """Where a pair settles the next state, any column lets the rest of the prior go."""
    mdp = make_garnet(20, 3, 1, random_state=3)
    log = sample_transitions(mdp, n_episodes=100, max_steps=40, random_state=3)
    table = markov_test(log.assign(coin=np.arange(len(log)) % 2), "coin", random_state=0)
    assert (table["next_state_gain"].abs() < NEGLIGIBLE).all()
    assert table["verdict"].tolist() == [NO_SIGN] * 3


# ------------------------------------------------------------------------------------ arithmetic


def by_hand(rows, folds, kind):
    """Return each row's gain in plain loops; rows are (pair, outcome, column)."""
    n_codes = 1 + max(outcome for _, outcome, _ in rows) if kind == "next_state" else None
    gains = [0.0] * len(rows)

    def shrunk(amount, n, prior, strength):
        return prior if strength == np.inf else (amount + strength * prior) / (n + strength)

    def score(expected, outcome):
        return np.log(expected) if kind == "next_state" else -((outcome - expected) ** 2)

    def amount(others, outcome):
        alike = [o for o in others if o == outcome]
        return len(alike) if kind == "next_state" else sum(others)

    def expected(i, learned, strengths):
        pair, outcome, column = rows[i]
        others = [rows[j] for j in learned if j != i]
        everywhere = [o for _, o, _ in others]
        if kind == "next_state":
            value = (amount(everywhere, outcome) + 1 / n_codes) / (len(others) + 1)
        else:
            value = sum(everywhere) / max(len(others), 1)
        in_pair = [o for p, o, _ in others if p == pair]
        in_cell = [o for p, o, c in others if (p, c) == (pair, column)]
        for cell, strength in zip((in_pair, in_cell), strengths, strict=False):
            value = shrunk(amount(cell, outcome), len(cell), value, strength)
        return value

    def best(learned, before):
        scores = [
            sum(score(expected(i, learned, [*before, k]), rows[i][1]) for i in learned)
            for k in STRENGTHS
        ]
        equal = max(scores) - 1e-9 * abs(max(scores))
        return [k for k, s in zip(STRENGTHS, scores, strict=True) if s >= equal][-1]

    for fold in set(folds):
        learned = [i for i in range(len(rows)) if folds[i] != fold]
        unit = 1.0
        if kind == "reward":
            cells = defaultdict(list)
            for i in learned:
                cells[rows[i][0]].append(rows[i][1])
            squares = sum(((np.array(c) - np.mean(c)) ** 2).sum() for c in cells.values())
            unit = (len(learned) - len(cells)) / (2 * squares)
        of_pair = best(learned, [])
        of_cell = best(learned, [of_pair])
        for i in np.flatnonzero(folds == fold):
            before = score(expected(i, learned, [of_pair]), rows[i][1])
            after = score(expected(i, learned, [of_pair, of_cell]), rows[i][1])
            gains[i] = unit * (after - before)
    return gains


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["next_state", "reward"])
def test_gains_are_those_of_plain_loops(kind, seed):
    rng = np.random.default_rng(seed)
    pairs, column = rng.integers(3, size=40), rng.integers(2, size=40)
    folds = np.arange(40) // 5 % 3
    follows = np.where(rng.uniform(size=40) < 0.7, (pairs + column) % 3, rng.integers(4, size=40))
    follows[0] = 3
    if kind == "next_state":
        outcome, values = NextState(follows, 4), follows.tolist()
    else:
        values = (pairs + 2 * column + rng.normal(size=40)).tolist()
        outcome = Reward(np.array(values))
    rows = list(zip(pairs.tolist(), values, column.tolist(), strict=True))
    (gains,) = cross_fit(outcome, pairs, [column], folds)
    assert_allclose(gains, by_hand(rows, folds, kind), rtol=1e-9, atol=1e-12)
    assert np.abs(gains).max() > 0.01


def test_mean_gain_is_a_ratio_of_sums_over_episodes():
    gain, episodes = np.array([0.3, 0.1, 0.2, 0.0, 0.4]), np.array([0, 0, 1, 1, 2])
    found = mean_gain(gain, episodes)
    residuals = np.array([0.4 - 2 * 0.2, 0.2 - 2 * 0.2, 0.4 - 0.2])
    error = np.sqrt(3 / 2 * (residuals**2).sum()) / 5
    assert found.mean == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(error)
    assert found.p_value == pytest.approx(max(t.sf((0.2 - NEGLIGIBLE) / error, 2), 1 / 8))
    lower, upper = found.interval(0.9, 3)
    assert_allclose([lower, upper], 0.2 + t.ppf([0.05, 0.95], 2) * error)


def test_error_of_equal_episodes_is_that_of_the_mean():
    gain = np.random.default_rng(0).normal(size=30)
    found = mean_gain(gain, np.arange(30))
    assert found.standard_error == pytest.approx(gain.std(ddof=1) / np.sqrt(30))


@pytest.mark.parametrize(("gain", "p_value"), [(0.5, 0.125), (0.0, 1.0), (-0.5, 1.0)])
def test_episodes_that_agree_are_no_more_than_a_coin_that_falls_alike(gain, p_value):
    assert mean_gain(np.full(6, gain), np.repeat([0, 1, 2], 2)).p_value == p_value


def test_adjusted_p_values():
    assert_allclose(adjust_for_several(np.array([0.01, 0.5, 0.02, 0.04])), [0.04, 0.5, 0.06, 0.08])
    assert_array_equal(adjust_for_several(np.array([0.6, 0.7])), [1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_p_values_keep_the_order_and_only_rise(p_values):
    p_values = np.array(p_values)
    adjusted = adjust_for_several(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= 1).all()
    assert adjusted.min() == min(1.0, len(p_values) * p_values.min())
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()
    # Holm guards against more than the false discovery rate does.
    assert (adjusted >= adjust_for_discoveries(p_values) - 1e-12).all()


def test_previous_codes_start_anew_in_every_episode():
    found = previous_codes(np.array([4, 0, 2, 1, 1]), np.array([0, 0, 0, 1, 1]))
    assert found.tolist() == [0, 5, 1, 0, 2]


def test_shuffles_stay_in_their_cell():
    rng = np.random.RandomState(0)
    codes, cells = rng.randint(5, size=200), rng.randint(3, size=200)
    shuffled = shuffle_within(codes, cells, rng)
    assert (shuffled != codes).any()
    before, after = (Counter(zip(cells, c, strict=True)) for c in (codes, shuffled))
    assert before == after


def test_shuffles_are_fair():
    rng = np.random.RandomState(0)
    cells = np.array([0, 1, 0, 0])
    orders = Counter(tuple(shuffle_within(np.arange(4), cells, rng)) for _ in range(1200))
    assert len(orders) == 6
    assert max(orders.values()) < 200 + norm.ppf(0.9999) * np.sqrt(200)


def test_folds_are_whole_episodes_and_even():
    episodes = np.repeat(np.arange(11), 3)
    folds = deal_folds(episodes, 4, np.random.RandomState(0))
    of_episode = folds.reshape(11, 3)
    assert (of_episode == of_episode[:, :1]).all()
    assert sorted(np.bincount(of_episode[:, 0])) == [2, 3, 3, 3]
    assert set(deal_folds(np.array([0, 0, 1, 2]), 4, np.random.RandomState(0))) == {0, 1, 2}


def test_quantile_codes():
    assert quantile_codes(np.arange(10), 5).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    ties = quantile_codes(np.array([0] * 8 + [1, 2]), 5)
    assert len(set(ties[:8])) == 1
    assert ties[8] > ties[7]


def test_joined_codes_tell_pairs_apart():
    left, right = np.array([0, 1, 1, 0]), np.array([2, 0, 2, 2])
    assert join_codes(left, right).tolist() == [0, 1, 2, 0]


# ------------------------------------------------------------------------------------------ laws


def test_where_episodes_lie_is_irrelevant():
    expected = markov_test(PLANTED, ["hidden", "extra"], random_state=0)
    rng = np.random.default_rng(0)
    for _ in range(2):
        order = np.argsort(rng.permutation(100)[PLANTED["episode"]], kind="stable")
        moved = PLANTED.iloc[order]
        pd.testing.assert_frame_equal(
            markov_test(moved, ["hidden", "extra"], random_state=0), expected
        )


def test_names_of_labels_are_irrelevant():
    renamed = PLANTED.assign(
        state="s" + PLANTED["state"].astype(str),
        next_state="s" + PLANTED["next_state"].astype(str),
        hidden=PLANTED["hidden"].map({0: "a", 1: "b", 2: "c"}),
    )
    pd.testing.assert_frame_equal(
        markov_test(renamed, "hidden", random_state=0),
        markov_test(PLANTED, "hidden", random_state=0),
    )


def test_units_of_the_reward_are_irrelevant():
    scaled = PLANTED.assign(reward=1000 * PLANTED["reward"] + 7)
    pd.testing.assert_frame_equal(
        markov_test(scaled, "hidden", random_state=0),
        markov_test(PLANTED, "hidden", random_state=0),
    )


@pytest.mark.parametrize("library", [pl.from_pandas, pa.Table.from_pandas])
def test_every_library_gives_the_same(library):
    log = PLANTED.assign(time=pd.Timestamp("2026-01-01") + pd.to_timedelta(PLANTED["step"] * 7))
    log["text"] = log["hidden"].map({0: "a", 1: "b", 2: None})
    columns = ["hidden", "time", "text"]
    pd.testing.assert_frame_equal(
        markov_test(library(log), columns, random_state=0),
        markov_test(log, columns, random_state=0),
    )


def test_tests_do_not_depend_on_one_another():
    alone = markov_test(PLANTED, "hidden", random_state=0)
    beside = markov_test(PLANTED, ["extra", "hidden"], random_state=0)
    columns = ["next_state_gain", "reward_gain"]
    assert_allclose(
        alone.loc[2, columns].astype(float), beside.loc[3, columns].astype(float), atol=0.02
    )
    assert_array_equal(alone.loc[:1, columns], beside.loc[:1, columns])


def test_p_values_are_adjusted_for_all_tests():
    one = markov_test(PLANTED, random_state=0)
    assert len(one) == 2
    assert one["p_value"].between(0, 1).all()
    assert markov_test(PLANTED, [], random_state=0).equals(one)


def test_without_rewards_the_next_state_alone_is_tested():
    policy = MarkovPolicyEstimator(reward=None)
    table = markov_test(PLANTED.drop(columns="reward"), "hidden", policy=policy, random_state=0)
    assert table[["reward_gain", "reward_lower", "reward_upper"]].isna().all(axis=None)
    assert table["verdict"][2] == f"predicts the next state: {ENOUGH}"


def test_rows_of_unknown_outcome_take_no_part():
    cut = PLANTED.groupby("episode").tail(1)
    more = cut.assign(step=10, state=cut["next_state"], next_state=None, hidden=9, terminated=False)
    log = pd.concat([PLANTED.assign(terminated=False), more], ignore_index=True)
    log["next_state"] = log["next_state"].astype("Int64")
    pd.testing.assert_frame_equal(
        markov_test(log, "hidden", random_state=0),
        markov_test(PLANTED, "hidden", random_state=0),
    )


def test_an_end_is_an_outcome():
    rng = np.random.default_rng(0)
    log = PLANTED.assign(next_state=PLANTED["next_state"].astype("Int64"))
    last = log["step"] == 9
    log["warned"] = (last ^ (rng.uniform(size=len(log)) < 0.1)).astype(int)
    log.loc[last, "next_state"] = pd.NA
    assert markov_test(log, "warned", random_state=0)["next_state_gain"][2] > 0.1


def test_rows_out_of_order_warn():
    unordered = PLANTED.sample(frac=1, random_state=0).drop(columns="step")
    with pytest.warns(UserWarning, match=r"In \d+ of 900 places a row of X does not lead .*step="):
        markov_test(unordered)


# --------------------------------------------------------------------------------------- columns


def test_continuous_columns_are_cut_at_quantiles():
    by_hand = pd.qcut(PLANTED["reward"].rank(method="first"), 5, labels=False)
    log = PLANTED.assign(fine=PLANTED["reward"], coarse=by_hand)
    table = markov_test(log, ["fine"], random_state=0)
    other = markov_test(log, ["coarse"], random_state=0)
    assert_allclose(table["reward_gain"], other["reward_gain"])


@pytest.mark.parametrize(
    "to_label",
    [
        float,
        lambda i: datetime.date(2026, 1, 1) + datetime.timedelta(i),
        lambda i: pd.Timestamp("2026-01-01", tz="Asia/Tokyo") + pd.Timedelta(i, "h"),
    ],
)
def test_numbers_and_times_of_many_values_are_cut_alike(to_label):
    numbers = np.random.default_rng(0).integers(50, size=len(PLANTED)) + 10 * PLANTED["hidden"]
    expected = markov_test(PLANTED.assign(z=numbers), "z", random_state=0)
    labels = [to_label(int(number)) for number in numbers]
    found = markov_test(PLANTED.assign(z=labels), "z", random_state=0)
    pd.testing.assert_frame_equal(found, expected)


def test_missing_values_are_a_label_of_their_own():
    gaps = PLANTED["hidden"].astype(float).where(PLANTED["hidden"] != 1)
    expected = markov_test(PLANTED, "hidden", random_state=0)
    found = markov_test(PLANTED.assign(hidden=gaps), "hidden", random_state=0)
    assert found["verdict"].tolist() == expected["verdict"].tolist()
    assert found["next_state_gain"][2] == pytest.approx(expected["next_state_gain"][2], abs=0.02)


def test_a_column_without_values_tells_nothing():
    row = markov_test(PLANTED.assign(empty=None), "empty", random_state=0).iloc[2]
    assert row["verdict"] == NO_SIGN


def test_gaps_of_a_continuous_column_are_a_group():
    seen = PLANTED["hidden"] != 1
    noise = np.random.default_rng(0).normal(size=len(PLANTED))
    log = PLANTED.assign(z=np.where(seen, noise + 100 * PLANTED["hidden"], np.nan))
    assert markov_test(log, "z", random_state=0)["verdict"][2] != NO_SIGN


# ------------------------------------------------------------------------------ policy and folds


def test_policy_names_the_columns():
    names = {"state": "s", "action": "a", "next_state": "t", "reward": "r", "episode": "e"}
    log = PLANTED.rename(columns=names)
    expected = markov_test(PLANTED, "hidden", random_state=0)
    estimator = MarkovPolicyEstimator(**names)
    for policy in (estimator, estimator.fit(log), make_pipeline(estimator)):
        pd.testing.assert_frame_equal(
            markov_test(log, "hidden", policy=policy, random_state=0), expected
        )
    pd.testing.assert_frame_equal(
        markov_test(log, "hidden", columns=names, random_state=0), expected
    )
    half = MarkovPolicyEstimator(**{**names, "state": "other", "reward": "reward"})
    said = {"state": "s", "reward": "r"}
    pd.testing.assert_frame_equal(
        markov_test(log, "hidden", policy=half, columns=said, random_state=0), expected
    )


def test_a_search_is_its_best_policy():
    keep = make_pipeline(FunctionTransformer(lambda X: X.copy()), MarkovPolicyEstimator())
    grid = {"markovpolicyestimator__gamma": [0.5, 0.9]}
    search = GridSearchCV(keep, grid, cv=EpisodeKFold(2)).fit(PLANTED)
    pd.testing.assert_frame_equal(
        markov_test(PLANTED, "hidden", policy=search, random_state=0),
        markov_test(PLANTED, "hidden", random_state=0),
    )


def test_a_state_of_several_columns():
    log = PLANTED.assign(next_hidden=PLANTED.groupby("episode")["hidden"].shift(-1).fillna(0))
    policy = MarkovPolicyEstimator(state=["state", "hidden"])
    with pytest.raises(ValueError, match="Column 'next_hidden' has the role 'next_state'"):
        markov_test(log, "next_hidden", policy=policy)
    assert (markov_test(log, policy=policy, random_state=0)["verdict"] == NO_SIGN).all()


def test_fewer_episodes_than_folds():
    few = PLANTED[PLANTED["episode"] < 3]
    pd.testing.assert_frame_equal(
        markov_test(few, n_splits=5, random_state=0), markov_test(few, n_splits=3, random_state=0)
    )


def test_the_same_seed_gives_the_same():
    first, second = (markov_test(PLANTED, "extra", random_state=5) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    other = markov_test(PLANTED, "extra", random_state=np.random.RandomState(1))
    assert not other.equals(first)


def test_level_of_the_intervals():
    wide, narrow = (markov_test(PLANTED, alpha=alpha, random_state=0) for alpha in (0.01, 0.5))
    assert (wide["reward_upper"] >= narrow["reward_upper"]).all()
    assert_array_equal(wide["reward_gain"], narrow["reward_gain"])


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tested": "colour"}, "no column 'colour'.* It has the column.*'hidden'"),
        ({"tested": ["hidden", "next_state"]}, "'next_state' has the role 'next_state'.*before"),
        ({"tested": "reward"}, "'reward' has the role 'reward'"),
        ({"tested": "action"}, "'action' has the role 'action'"),
        ({"tested": "episode"}, "'episode' has the role 'episode'"),
        ({"tested": "terminated"}, "'terminated' has the role 'terminated'"),
        ({"alpha": 0.0}, r"'alpha' parameter of markov_test must be a float in the range \(0"),
        ({"alpha": 1.0}, "'alpha' parameter of markov_test"),
        ({"n_splits": 1}, "'n_splits' parameter of markov_test must be an int"),
        ({"random_state": "x"}, "'random_state' parameter of markov_test"),
        ({"tested": 3}, "'tested' parameter of markov_test must be an instance of 'str'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        markov_test(PLANTED, **options)


@pytest.mark.parametrize("episode", ["episode", None])
def test_a_log_needs_episodes(episode):
    with pytest.raises(ValueError, match=rf"no column {episode!r} for the role.*'episode': \.\.\."):
        markov_test(PLANTED.drop(columns="episode"), columns={"episode": episode})


def test_one_episode_is_not_enough():
    with pytest.raises(ValueError, match=r"'episode' holds only one, 0, .* At least 2 are needed"):
        markov_test(PLANTED[PLANTED["episode"] == 0])
    cut = PLANTED.assign(terminated=False, next_state=PLANTED["next_state"].astype("Int64"))
    cut.loc[cut["episode"] > 0, "next_state"] = pd.NA
    with pytest.raises(ValueError, match="holds only one, 0, with rows that count"):
        markov_test(cut)


@pytest.mark.parametrize("policy", ["behavior", StandardScaler(), {0: 1}])
def test_policy_must_name_columns(policy):
    with pytest.raises(TypeError, match=f"that ends in one, got {type(policy).__name__}"):
        markov_test(PLANTED, policy=policy)


def test_pipelines_must_be_fitted():
    policy = make_pipeline(StandardScaler(), MarkovPolicyEstimator())
    with pytest.raises(NotFittedError):
        markov_test(PLANTED, policy=policy)


def test_pipelines_must_keep_rows():
    policy = make_pipeline(FunctionTransformer(lambda X: X.head(30)), MarkovPolicyEstimator())
    with pytest.raises(ValueError, match=r"The pipeline made 30 rows of 1000.*keep every row"):
        markov_test(PLANTED, "hidden", policy=policy)
    assert len(markov_test(PLANTED, policy=policy)) == 2


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0, 1]], "Expected a table of transitions .* got list"),
        ("log.csv", "got str. Read the file first"),
    ],
)
def test_a_table_is_needed(X, message):
    with pytest.raises(TypeError, match=message):
        markov_test(X)


# ---------------------------------------------------------------------------- what it changes


def guessing_log(n, seed, *, pays):
    """A column z that nobody steers decides what an action pays, by a function of the table."""
    rng = np.random.default_rng(seed)
    columns = {"state": rng.integers(2, size=n), "action": rng.integers(2, size=n)}
    log = pd.DataFrame({**columns, "z": rng.integers(3, size=n)})
    log["reward"] = pays(log) + 0.5 * rng.normal(size=n)
    return log.assign(episode=np.arange(n) // 10, terminated=False)


@pytest.mark.parametrize("seed", range(5))
def test_a_column_that_adds_the_same_to_every_action_changes_values_only(seed):
    log = guessing_log(2000, seed, pays=lambda log: log.action + 2.0 * log.z)
    row = markov_test(log, "z", random_state=0).iloc[2]
    assert row["advice_change"] == 0.0
    assert row["verdict"] == (
        f"predicts the reward: {ENOUGH}; no sign that the advice would change, but values do"
    )


def pays_turned(log):
    return np.where(log["state"] == 1, log["action"] == (log["z"] < 2), log["action"])


@pytest.mark.parametrize("seed", range(5))
def test_a_column_that_turns_the_order_of_the_actions_changes_the_advice_there(seed):
    """In state 1 the column decides which action pays; where it is 0, the usual one is right."""
    log = guessing_log(2000, seed, pays=pays_turned)
    row = markov_test(log, "z", random_state=0).iloc[2]
    concerned = ((log["state"] == 1) & (log["z"] == 2))[:-1].mean()  # the last row leads nowhere
    assert row["advice_change"] == pytest.approx(concerned, abs=0.01)
    assert row["verdict"].endswith(
        f"; the advice would change in {row['advice_change']:.1%} of the rows"
    )


def chain_log(n_episodes, seed):
    """Two steps: z, seen before the first one, decides which way leads to where 1 is paid."""
    rng = np.random.default_rng(seed)
    z, first, second = rng.integers(2, size=(3, n_episodes))
    start = pd.DataFrame({"state": "start", "action": first, "z": z, "reward": 0.0})
    reached = np.where(first == z, "rich", "poor")
    end = pd.DataFrame({"state": reached, "action": second, "z": 0})
    end["reward"] = np.where(reached == "rich", 1.0, 0.0)
    parts = [start.assign(episode=range(n_episodes)), end.assign(episode=range(n_episodes))]
    log = pd.concat(parts).sort_values("episode", kind="stable")
    return log.assign(terminated=log["state"] != "start")


def test_what_follows_may_change_the_advice():
    log = chain_log(400, 0)
    row = markov_test(log, "z", random_state=0).iloc[2]
    assert row["next_state_gain"] > 0.1
    assert row["advice_change"] == pytest.approx(0.25, abs=0.05)  # half of the starts


def test_nothing_that_follows_counts_with_gamma_0():
    policy = MarkovPolicyEstimator(gamma=0)
    row = markov_test(chain_log(400, 0), "z", policy=policy, random_state=0).iloc[2]
    assert row["advice_change"] == 0.0


def test_the_discount_is_that_of_the_members_of_an_ensemble():
    policy = PolicyBagging(MarkovPolicyEstimator(gamma=0))
    row = markov_test(chain_log(400, 0), "z", policy=policy, random_state=0).iloc[2]
    assert row["advice_change"] == 0.0


def test_without_a_discount_values_are_found_all_the_same():
    """With a gamma of 1, values of a process that runs on would have no end."""
    log = guessing_log(2000, 0, pays=lambda log: log.action + 2.0 * log.z)
    policy = MarkovPolicyEstimator(gamma=1)
    row = markov_test(log, "z", policy=policy, random_state=0).iloc[2]
    assert row["advice_change"] == 0.0


def test_of_advice_nothing_is_said_without_a_finding_or_rewards():
    log = planted_log("column", 0.7, 100, 0)
    assert markov_test(log, random_state=0)["advice_change"].isna().all()
    table = markov_test(log, "hidden", columns={"reward": None}, random_state=0)
    assert table["advice_change"].isna().all()
    assert table["verdict"][2] == f"predicts the next state: {ENOUGH}"


def test_advice_that_nothing_can_be_compared_with_stays():
    """Of one action only, there is no other; of rows that lead nowhere known, no worth."""
    log = guessing_log(1000, 0, pays=lambda log: 2.0 * log.z).assign(action=0)
    assert markov_test(log, "z", random_state=0)["advice_change"][2] == 0.0
    unlinked = log.assign(next_state=1 - log["state"], state=log["state"])
    unlinked["episode"] = np.arange(1000)
    assert markov_test(unlinked, "z", random_state=0)["advice_change"][2] == 0.0


def test_what_an_encoder_made_states_of_is_to_be_made_finer_not_added():
    """In each of two bins of heat, acting pays in the lower half and costs in the upper one."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"heat": rng.uniform(size=1500), "action": rng.integers(2, size=1500)})
    log["reward"] = log["action"] * np.where(log["heat"] % 0.5 < 0.25, 1.0, -1.0)
    log = log.assign(episode=np.arange(1500) // 5, terminated=False, z=rng.integers(2, size=1500))
    pipe = make_pipeline(
        StateEncoder(state="heat", n_states=2), MarkovPolicyEstimator(state="heat")
    )
    table = markov_test(log, ["heat", "z"], policy=pipe.fit(log), random_state=0)
    assert findings(table)[2] == f"predicts the reward: {COARSE}"
    assert table["advice_change"][2] == pytest.approx(0.5, abs=0.25)
    assert table["verdict"][3] == NO_SIGN

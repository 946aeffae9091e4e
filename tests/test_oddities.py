"""What looks wrong in a log that can be read: who is warned, who is not, and that remedies help."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp._estimation.counts import count_transitions
from skmdp._log.labels import LabelColumn
from skmdp._log.marks import MOST_MARKS, EpisodeMarks
from skmdp._log.oddities import share_explained
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import markov_test
from skmdp.metrics import evaluate_policy
from skmdp.model_selection import EpisodeKFold, EpisodeShuffleSplit
from skmdp.preprocessing import StateEncoder

POLICY = MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.9)


def said(call, *args, **kwargs):
    """Return the messages of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    return [str(warning.message) for warning in caught]


def walks(n_episodes=60, *, n_places=8, goal=True, length=200, seed=0):
    """Walk along places at random, to the last one if there is a goal; next states are given."""
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        place = int(rng.integers(n_places - 1))
        for step in range(length):
            action = str(rng.choice(["up", "down"]))
            ahead = 1 if (action == "up") == (rng.uniform() < 0.9) else -1
            after = min(max(place + ahead, 0), n_places - 1)
            rows.append((episode, step, place, action, after, -1.0 - (rng.uniform() < 0.3)))
            place = after
            if goal and place == n_places - 1:
                break
    names = ["episode", "step", "state", "action", "next_state", "reward"]
    return pd.DataFrame(rows, columns=names)


WALKS = walks()
UNSTEPPED = WALKS.drop(columns="step")
FITTED = POLICY.fit(WALKS)
SPLIT = "does not lead to the state of the next row"


def parts(log):
    """Return the episodes of a log."""
    return [part for _, part in log.groupby("episode", sort=False)]


def twice(log):
    """Return a log in which every row stands twice, right after itself."""
    return log.loc[np.repeat(log.index, 2)]


# ------------------------------------------------------------------------------ rows out of order


@pytest.mark.parametrize("disorder", [lambda log: log.sample(frac=1, random_state=0), twice])
def test_rows_out_of_order_are_warned_of_once_wherever_order_counts(disorder):
    log = disorder(UNSTEPPED)
    found = [
        said(FITTED.score, log),
        said(evaluate_policy, "behavior", log, methods="dm"),
        said(markov_test, log, random_state=0),
    ]
    assert [sum(SPLIT in message for message in messages) for messages in found] == [1, 1, 1]
    assert len({message for messages in found for message in messages if SPLIT in message}) == 1


def test_remedies_for_rows_out_of_order_help():
    shuffled = WALKS.sample(frac=1, random_state=0)
    truth = FITTED.score(WALKS)
    assert FITTED.score(shuffled) == pytest.approx(truth)  # step orders them
    ordered = shuffled.sort_values(["episode", "step"]).drop(columns="step")
    assert FITTED.score(ordered) == pytest.approx(truth)
    assert FITTED.score(twice(WALKS).drop_duplicates()) == pytest.approx(truth)
    named = MarkovPolicyEstimator(step="when").fit(shuffled.rename(columns={"step": "when"}))
    assert said(named.score, shuffled.rename(columns={"step": "when"})) == []


def test_rows_out_of_order_are_warned_of_in_a_search():
    search = GridSearchCV(POLICY, {"gamma": [0.5, 0.9]}, cv=EpisodeKFold(2), error_score="raise")
    shuffled = UNSTEPPED.sample(frac=1, random_state=0)
    assert any(SPLIT in message for message in said(search.fit, shuffled))
    assert not any(SPLIT in message for message in said(search.fit, UNSTEPPED))


def test_a_few_gaps_are_no_disorder():
    inside = np.flatnonzero(UNSTEPPED["episode"].duplicated())
    few = UNSTEPPED.drop(index=inside[::200])
    assert said(FITTED.score, few) == []
    many = UNSTEPPED.drop(index=inside[1::10])
    assert SPLIT in said(FITTED.score, many)[0]


def test_rows_of_weight_zero_are_no_disorder():
    weights = np.ones(len(UNSTEPPED))
    weights[1::5] = 0
    assert said(FITTED.score, UNSTEPPED, sample_weight=weights) == []
    assert said(FITTED.score, UNSTEPPED, sample_weight=weights + 1) == []


@given(st.permutations(range(12)))
@settings(max_examples=20)
def test_the_order_of_episodes_says_nothing(order):
    log = walks(12, seed=1).drop(columns="step")
    episodes = parts(log)
    assert said(FITTED.score, pd.concat([episodes[i] for i in order])) == []
    broken = pd.concat([episodes[i].iloc[::-1] for i in order])
    assert said(FITTED.score, broken) == said(FITTED.score, log.iloc[::-1])


def test_an_episode_of_truncated_rows_only_has_no_order():
    log = UNSTEPPED.assign(terminated=False)
    unknown = log["episode"].isin([0, 7, 59])
    log["next_state"] = log["next_state"].astype("Int64").mask(unknown)
    assert said(FITTED.score, log) == []


# ------------------------------------------------------------------------------- doubled episodes

INFERRED = UNSTEPPED.drop(columns="next_state")


def each_twice(log):
    """Return a log whose episodes are repeated, each after itself."""
    return pd.concat([part for part in parts(log) for _ in range(2)])


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(("double", "copies"), [(twice, "row"), (each_twice, "episode")])
def test_copies_of_rows_are_warned_of_where_rows_tell_next_states(double, copies, cut):
    log = INFERRED.assign(terminated=False) if cut else INFERRED
    policy = clone(POLICY).fit(log)
    assert said(POLICY.fit, log) == []
    for call in (clone(POLICY).fit, policy.score):
        (message,) = [text for text in said(call, double(log)) if "occur twice" in text]
        assert message.startswith(f"Every {copies} of X seems to occur twice")
    stepped = double(log.assign(step=WALKS["step"])).drop_duplicates()
    assert said(clone(POLICY).fit, stepped) == []
    assert clone(POLICY).fit(stepped).n_transitions_ == policy.n_transitions_


def test_without_rewards_copies_are_found_too():
    policy = MarkovPolicyEstimator(reward=None)
    log = INFERRED.drop(columns="reward")
    assert any("occur twice" in text for text in said(policy.fit, each_twice(log)))
    assert said(policy.fit, log) == []


@pytest.mark.parametrize("lengths", [[4] * 30, [2, 4, 6, 8] * 10])
@pytest.mark.parametrize("period", [1, 2])
def test_what_always_repeats_itself_is_no_copy(period, lengths):
    states = np.concatenate([np.arange(length) % period for length in lengths])
    log = pd.DataFrame({"state": states, "action": "go", "reward": 1.0})
    log["episode"] = np.repeat(np.arange(len(lengths)), lengths)
    log["terminated"] = ~log["episode"].duplicated(keep="last")
    assert said(POLICY.fit, log) == []


def test_a_few_doubled_episodes_are_not_all():
    log = INFERRED.assign(terminated=False)
    episodes = parts(log)
    for whole in (0, 55):  # before and after what is looked at first
        doubled = [part if i == whole else pd.concat([part] * 2) for i, part in enumerate(episodes)]
        assert said(POLICY.fit, pd.concat(doubled)) == []
    assert said(POLICY.fit, pd.concat([pd.concat([part] * 2) for part in episodes[:2]])) == []


# ----------------------------------------------------------------------------- pieces of episodes

PIECES = "of the episodes of X stand in the training log too"


def by_step(log):
    """Return a log whose rows lie step by step."""
    return log.sort_values(["step", "episode"], ignore_index=True)


def counted(log, cv):
    """Return of how many folds a search says that they hold pieces."""
    messages = said(cross_val_score, POLICY, log, cv=cv, error_score="raise")
    return sum(PIECES in message for message in messages)


@pytest.mark.parametrize("columns", [[], ["next_state", "step"]])
def test_a_splitter_of_rows_is_warned_of(columns):
    log = by_step(plants(lengths=(10, 16)).assign(step=lambda rows: steps(rows)))
    log["next_state"] = log.groupby("episode")["state"].shift(-1).astype("Int64")
    log = log.assign(terminated=log["next_state"].isna()).drop(columns=columns)
    assert counted(log, EpisodeKFold(5)) == 0
    assert counted(log, EpisodeShuffleSplit(3, random_state=0)) == 0
    assert counted(log, KFold(5, shuffle=True, random_state=0)) == 5
    assert counted(log, 5) >= 4


def steps(log):
    return log.groupby("episode").cumcount()


def test_pieces_are_warned_of_once_and_the_remedies_help():
    train = plants(lengths=(10, 16)).assign(terminated=False)
    test = train[steps(train) < 4]
    policy = clone(POLICY).fit(train)
    (message,) = (text for text in said(policy.score, test) if PIECES in text)
    there = train.groupby("episode").size().mean()
    assert message.startswith(f"100% {PIECES}, where they have {there:.1f} rows on average, ")
    assert "and here 4.0." in message
    assert [PIECES in text for text in said(evaluate_policy, policy, test, methods="dm")] == [True]
    bag = PolicyBagging(POLICY, 3, bootstrap=True, random_state=0).fit(train)
    assert [PIECES in text for text in said(bag.score, test)] == [True]
    renamed = test.assign(episode="new" + test["episode"].astype(str))
    assert said(policy.score, renamed) == []
    numbered = test.assign(episode=test["episode"] + 1000)
    assert said(policy.score, numbered) == []


def test_whole_episodes_may_be_those_of_the_training_log():
    train = plants(lengths=(10, 16)).assign(terminated=False)
    policy = clone(POLICY).fit(train)
    for test in (train, train[train["episode"] < 20], plants(seed=1).assign(terminated=False)):
        assert not any(PIECES in text for text in said(policy.score, test))


@pytest.mark.parametrize(("n_shared", "warns"), [(9, False), (10, True), (30, True)])
def test_few_pieces_are_not_spoken_of(n_shared, warns):
    train = plants(lengths=(10, 16)).assign(terminated=False)
    policy = clone(POLICY).fit(train)
    test = train[(steps(train) < 4) & (train["episode"] < n_shared)]
    assert any(PIECES in text for text in said(policy.score, test)) == warns
    others = test.assign(episode=test["episode"] + 1000)  # as many that are new: half are pieces
    assert any(PIECES in text for text in said(policy.score, pd.concat([test, others]))) == warns
    more = pd.concat([test, others, others.assign(episode=others["episode"] + 1000)])
    assert not any(PIECES in text for text in said(policy.score, more))


@pytest.mark.parametrize(("rows", "warns"), [(6, True), (7, False)])
def test_pieces_have_at_most_six_tenths_of_the_rows(rows, warns):
    train = plants(lengths=(10, 11)).assign(terminated=False)
    policy = clone(POLICY).fit(train)
    found = said(policy.score, train[steps(train) < rows])
    assert any(PIECES in text for text in found) == warns


@pytest.mark.parametrize("seed", range(10))
def test_other_episodes_of_the_same_names_are_no_pieces(seed):
    """However unequal their lengths: most are short, some are long."""
    train, test = (walks(n, seed=100 * seed + n, n_places=6) for n in (40, 20))
    policy = clone(POLICY).fit(train)
    assert not any(PIECES in text for text in said(policy.score, test))
    assert not any(PIECES in text for text in said(clone(POLICY).fit(test).score, train))


def test_a_stream_remembers_the_episodes_of_all_batches():
    train = plants(lengths=(10, 16)).assign(terminated=False)
    stream = clone(POLICY)
    for batch in np.array_split(np.arange(60), 7):
        stream.partial_fit(train[train["episode"].isin(batch)])
    whole = clone(POLICY).fit(train)
    test = train[steps(train) < 4]
    assert said(stream.score, test) == said(whole.score, test) != []


@pytest.mark.parametrize(
    "name",
    [str, float, lambda i: (i, "a"), lambda i: pd.Timestamp(i, unit="D"), lambda i: bytes([i])],
)
def test_episodes_of_every_kind_are_known_again(name):
    train = plants(lengths=(10, 16)).assign(terminated=False)
    train["episode"] = pd.Series([name(i) for i in train["episode"]], dtype=object)
    policy = pickle.loads(pickle.dumps(clone(POLICY).fit(train)))
    assert any(PIECES in text for text in said(policy.score, train[steps(train) < 4]))
    key = train.assign(day=1, site=train["episode"])
    both = clone(POLICY).set_params(episode=["site", "day"]).fit(key)
    assert any(PIECES in text for text in said(both.score, key[steps(train) < 4]))


def marks(labels, n_rows=None):
    """Return the marks of whole numbers as episodes."""
    values = np.asarray(labels)
    column = LabelColumn("episode", "int", np.arange(len(values), dtype=np.int32), values)
    return EpisodeMarks.of(column, np.ones(len(values), int) if n_rows is None else n_rows)


@pytest.mark.parametrize("n", [50, 1024, 1025, 50_000])
def test_marks_are_the_smallest_hashes_with_their_rows(n):
    labels = np.random.default_rng(n).permutation(n)
    found = marks(labels, labels + 1)
    hashes = pd.util.hash_array(np.arange(n), categorize=False)
    smallest = np.argsort(hashes)[:MOST_MARKS]
    np.testing.assert_array_equal(found.hashes, hashes[smallest])
    np.testing.assert_array_equal(found.n_rows, smallest + 1)


def test_episodes_beyond_counting_are_not_marked():
    assert marks(np.arange(50_001)) is None
    many = pd.DataFrame({"episode": np.arange(50_001), "state": 0, "action": 0, "reward": 0.0})
    policy = MarkovPolicyEstimator().fit(many).partial_fit(many.iloc[:5])
    assert said(policy.score, many.iloc[:20]) == []


@given(st.integers(0, 25_000), st.integers(1, 25_000))
@settings(max_examples=20)
def test_marks_of_two_logs_are_those_of_both(first, second):
    merged = marks(np.arange(first)).merge(marks(np.arange(first, first + second)))
    whole = marks(np.arange(first + second))
    np.testing.assert_array_equal(merged.hashes, whole.hashes)
    np.testing.assert_array_equal(merged.n_rows, whole.n_rows)
    again = whole.merge(whole)  # an episode in two batches has the rows of both
    np.testing.assert_array_equal(again.hashes, whole.hashes)
    np.testing.assert_array_equal(again.n_rows, 2 * whole.n_rows)


@pytest.mark.parametrize("n", [1000, 20_000, 50_000])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_episodes_is_that_of_all(n, share):
    here, there = marks(np.arange(n)), marks(np.arange(n) + round((1 - share) * n))
    for one, other in ((here, there), (there, here)):
        found, rows, _ = one.shared_with(other)
        assert found == pytest.approx(share, abs=0.0 if n == 1000 or share in (0, 1) else 0.06)
        assert (len(rows) > 0) == (share > 0)
    few, rows = marks(np.arange(500), np.full(500, 3)), marks(np.arange(n), np.full(n, 7))
    found, in_few, in_all = few.shared_with(rows)
    assert (found, set(in_few), set(in_all)) == (1.0, {3}, {7})
    assert len(in_few) == len(in_all) == pytest.approx(500 * min(1, MOST_MARKS / n), rel=0.5)


# ------------------------------------------------------------------------- records that break off

BREAKS_OFF = "Nothing in X says how its"


def plants(n_episodes=60, *, seed=0, lengths=(20, 21), n_states=6):
    """A plant that wears, is repaired now and then, and runs on: records of some length."""
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        wear = int(rng.integers(n_states))
        for _ in range(rng.integers(*lengths)):
            repair = bool(rng.uniform() < 0.2)
            rows.append((episode, wear, repair, -wear - 5.0 * repair))
            wear = 0 if repair else min(wear + int(rng.uniform() < 0.4), n_states - 1)
    return pd.DataFrame(rows, columns=["episode", "state", "action", "reward"])


def last_rows(log):
    return ~log["episode"].duplicated(keep="last")


@pytest.mark.parametrize("lengths", [(20, 21), (1, 40), (5, 6)])
def test_records_that_break_off_are_warned_of(lengths):
    log = plants(lengths=lengths)
    (message,) = said(POLICY.fit, log)
    assert message.startswith(f"{BREAKS_OFF} 60 episodes ended")
    assert said(clone(POLICY).fit, log.assign(terminated=False)) == []
    assert clone(POLICY).fit(log.assign(terminated=False)).n_truncated_ == 60
    assert said(clone(POLICY).set_params(terminated=None).fit, log) == []


def test_what_is_gained_by_saying_that_records_break_off():
    log = plants()
    ending = clone(POLICY).set_params(terminated=None).fit(log)
    going = clone(POLICY).fit(log.assign(terminated=False))
    assert (going.state_values_ < ending.state_values_ - 1).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_episodes", [25, 60, 300])
def test_episodes_that_end_at_a_goal_are_not_warned_of(n_episodes, seed):
    log = walks(n_episodes, seed=seed).drop(columns=["step", "next_state"])
    assert said(POLICY.fit, log) == []


def test_goals_within_a_limit_are_warned_of_where_the_limit_cuts_half():
    log = walks(n_places=12, length=8).drop(columns=["step", "next_state"])
    at_limit = log.groupby("episode").size().eq(8).mean()
    assert 0.5 < at_limit < 1
    (message,) = said(POLICY.fit, log)
    assert f"{at_limit:.0%} of them have 8 rows and none has more" in message


def test_rounds_that_are_in_the_state_are_not_warned_of():
    log = plants(lengths=(6, 7))
    log["round"] = log.groupby("episode").cumcount()
    assert said(POLICY.fit, log) != []
    assert said(MarkovPolicyEstimator(state=["state", "round"]).fit, log) == []


def explained(ends):
    """Return what pairs explain of their ends, (n_pairs, n_rows_each) of booleans."""
    pairs = np.repeat(np.arange(len(ends)), ends.shape[1])
    nexts = np.where(ends.ravel(), -1, 0)
    return share_explained(
        count_transitions(pairs, np.zeros_like(pairs), nexts, n_states=len(ends), n_actions=1)
    )


@pytest.mark.parametrize("n_each", [2, 3, 10])
def test_ends_at_random_are_not_explained_and_sure_ones_wholly(n_each):
    """However few rows a pair has: none is explained by itself."""
    rng = np.random.default_rng(n_each)
    found = [explained(rng.uniform(size=(2000, n_each)) < 0.2) for _ in range(20)]
    assert np.mean(found) == pytest.approx(0.0, abs=0.01)
    sure = np.repeat(rng.uniform(size=(2000, 1)) < 0.2, n_each, axis=1)
    assert explained(sure) == pytest.approx(1.0)
    assert explained(sure[:, :1]) is None


def test_few_or_short_episodes_tell_nothing_of_ends():
    assert said(POLICY.fit, plants(19)) == []
    assert said(POLICY.fit, plants(21)) != []
    assert said(POLICY.fit, plants(lengths=(1, 3))) == []


def test_given_next_states_tell_of_ends():
    log = plants()
    log["next_state"] = log.groupby("episode")["state"].shift(-1).astype("Int64")
    assert said(POLICY.fit, log) == []


def test_features_cannot_tell_of_ends_and_are_not_asked():
    log = plants()
    features = {"reward": log["reward"], "episode": log["episode"]}
    assert said(POLICY.fit, log[["state"]], log["action"], **features) == []


@given(st.permutations(range(6)), st.permutations(range(25)))
@settings(max_examples=20)
def test_names_and_order_say_nothing_of_ends(names, order):
    for log in (plants(25), walks(25, n_places=7).drop(columns=["step", "next_state"])):
        renamed = log.assign(state=np.array([*names, 6])[log["state"]])
        episodes = parts(renamed)
        shuffled = pd.concat([episodes[i] for i in order])
        assert said(POLICY.fit, shuffled) == said(POLICY.fit, log)


# ------------------------------------------------------------------------------- states of floats


def measured(n=400, seed=0, decimals=None):
    """One-step decisions on a measurement."""
    rng = np.random.default_rng(seed)
    heat = rng.uniform(size=n) if decimals is None else rng.uniform(size=n).round(decimals)
    log = pd.DataFrame({"episode": np.arange(n), "heat": heat, "action": rng.integers(2, size=n)})
    return log.assign(next_heat=np.nan, reward=rng.normal(size=n))


RAW = MarkovPolicyEstimator(state="heat", handle_unknown="most_frequent")


def test_raw_fractions_are_warned_of():
    (message,) = said(RAW.fit, measured())
    assert message.startswith("400 of 400 states hold a single row, and column 'heat' holds")
    remedy = make_pipeline(StateEncoder(state=["heat"]), RAW)
    assert said(remedy.fit, measured()) == []
    assert said(RAW.fit, measured(decimals=1)) == []
    assert said(RAW.fit, measured(199)) == []
    assert said(RAW.fit, measured(200)) != []


def test_whole_numbers_and_names_are_not_fractions():
    log = measured()
    assert said(RAW.fit, log.assign(heat=np.arange(400))) == []
    assert said(RAW.fit, log.assign(heat=log["heat"].astype(str), next_heat=None)) == []


def test_more_than_half_of_the_states_are_asked_for():
    again = measured().iloc[:200].assign(reward=measured(seed=1)["reward"])  # they are no copies
    log = pd.concat([measured(), again], ignore_index=True)
    log["episode"] = np.arange(600)
    assert said(RAW.fit, log) == []
    assert said(RAW.fit, log.iloc[:-1]) != []
    weights = np.append(np.ones(399), [2.0] * 201)
    assert said(RAW.fit, log, sample_weight=weights) == []  # a weight of 2 is two rows


def test_features_are_looked_at_alike_and_batches_are_not():
    log = measured()
    assert said(MarkovPolicyEstimator().fit, log[["heat"]], log["action"]) != []
    assert said(MarkovPolicyEstimator(state="heat").partial_fit, log) == []


def rounded(third=0.1 + 0.2, **more):
    """Return a log whose middle row leads to .1 + .2, where the next one is in .3."""
    log = {"episode": 0, "x": [0.1, 0.2, 0.3], "action": "go", "next_x": [0.2, third, np.nan]}
    return pd.DataFrame({**log, "reward": 1.0, **more})


FINE = MarkovPolicyEstimator(state="x")


def test_states_that_rounding_parts_are_warned_of():
    (message,) = said(FINE.fit, rounded())
    assert "0.30000000000000004 from 0.3" in message
    assert "Round 'x' to 9 decimals, and the next-state column(s) alike." in message
    columns = {"x": 9, "next_x": 9}
    assert said(FINE.fit, rounded().round(columns)) == []
    assert FINE.fit(rounded().round(columns)).score_samples([0.1]) == pytest.approx(2.71)
    assert said(FINE.fit, rounded(0.3)) == []


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ((1e-12, 1e-12 * (1 + 1e-15)), 21),
        ((12345.678, 12345.678 * (1 + 1e-12)), 4),
        ((0.0, 1 - 0.9 - 0.1), 16),
        ((0.1234567894999, 0.1234567895001), 8),  # half-way: one decimal fewer
    ],
)
def test_decimals_suit_the_size_of_the_numbers(values, decimals):
    low, high = values
    log = rounded(high).assign(x=[0.1, 0.2, low])
    (message,) = said(FINE.fit, log)
    assert f"'x' to {decimals} decimals" in message
    assert said(FINE.fit, log.round({"x": decimals, "next_x": decimals})) == []


@pytest.mark.parametrize("third", [0.3 * (1 + 2e-9), 0.3 * (1 - 2e-9), 0.31])
def test_numbers_further_apart_are_different(third):
    assert said(FINE.fit, rounded(third)) == []


def test_whole_numbers_are_different_however_large():
    log = rounded(1.7e9 + 1).assign(x=[0.5, 0.2, 1.7e9])
    assert said(FINE.fit, log) == []


def test_rounding_that_parts_no_state_that_is_only_reached_is_left_alone():
    log = pd.concat([rounded(), rounded().assign(episode=1, x=[0.1, 0.2, 0.1 + 0.2])])
    assert said(FINE.fit, log) == []


def test_states_of_several_columns_are_compared_as_a_whole():
    both = MarkovPolicyEstimator(state=["x", "name"])
    same = rounded(name=["a", "b", "c"], next_name=["b", "c", None])
    (message,) = said(both.fit, same)
    assert "(0.30000000000000004, 'c') from (0.3, 'c')" in message
    assert said(both.fit, same.round({"x": 9, "next_x": 9})) == []
    other = rounded(name=["a", "b", "c"], next_name=["b", "d", None])
    assert said(both.fit, other) == []


@given(st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=20)
def test_clean_logs_are_silent(seed, n_columns):
    rng = np.random.default_rng(seed)
    log = walks(25, n_places=5, seed=seed)
    fine = rng.uniform(size=(5, n_columns))  # any fractions as the names of places
    names = [f"m{j}" for j in range(n_columns)]
    for name, column in zip(names, fine.T, strict=True):
        log[name], log[f"next_{name}"] = column[log["state"]], column[log["next_state"]]
    policy = clone(POLICY).set_params(state=names)
    given_ones = log.drop(columns=["step", "state", "next_state"])
    assert said(policy.fit, given_ones) == []
    assert said(policy.fit, given_ones.drop(columns=[f"next_{name}" for name in names])) == []

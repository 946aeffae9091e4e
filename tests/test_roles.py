"""Which columns play which part: names of every sort, names that are off, names that are absent."""

import copy
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skmdp import MarkovPolicyEstimator
from skmdp._log.roles import MAY_BE_ABSENT, Roles, find_next_names
from skmdp.datasets import make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import evaluate_policy
from skmdp.model_selection import (
    EpisodeKFold,
    EpisodeShuffleSplit,
    train_test_split_episodes,
)

LOG = pd.DataFrame(
    {
        "episode": [0, 0, 1, 1],
        "step": [0, 1, 0, 1],
        "x": [0, 1, 0, 1],
        "y": list("abab"),
        "action": [0, 1, 1, 1],
        "next_x": [1, 2, 1, 2],
        "next_y": list("babb"),
        "reward": [0.0, 1.0, 2.0, 3.0],
        "terminated": [False, True, False, True],
        "truncated": False,
    }
)
BOTH = {"state": ["x", "y"]}


def same(one, other):
    assert_array_equal(one.states_, other.states_)
    assert_array_equal(one.state_values_, other.state_values_)
    assert one.policy_map() == other.policy_map()
    assert (one.n_episodes_, one.n_truncated_) == (other.n_episodes_, other.n_truncated_)


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "state",
    [
        ("x", "y"),
        np.array(["x", "y"]),
        pd.Index(["x", "y"]),
        LOG.columns[2:4],
        pd.Series(["x", "y"]),
    ],
    ids=["tuple", "array", "index", "slice", "series"],
)
def test_several_names_come_in_any_container(state):
    policy = MarkovPolicyEstimator(state=state, next_state=[f"next_{name}" for name in state])
    same(policy.fit(LOG), MarkovPolicyEstimator(**BOTH).fit(LOG))
    same(clone(policy).fit(LOG), policy)
    assert "state" in repr(policy)
    assert "state" in policy._repr_html_()
    assert policy.get_params()["state"] is state
    assert policy.score(LOG) == MarkovPolicyEstimator(**BOTH).fit(LOG).score(LOG)
    assert_array_equal(policy.predict(LOG), MarkovPolicyEstimator(**BOTH).fit(LOG).predict(LOG))


NUMBERED = {
    "state": 2,
    "action": 4,
    "next_state": 5,
    "reward": 7,
    "episode": 0,
    "step": 1,
    "terminated": 8,
    "truncated": 9,
}


def test_columns_may_be_numbered():
    plain = MarkovPolicyEstimator(state="x").fit(LOG)
    numbered = LOG.set_axis(range(LOG.shape[1]), axis=1)
    policy = MarkovPolicyEstimator(**NUMBERED).fit(numbered)
    same(policy, plain)
    assert_array_equal(policy.feature_names_in_, [2])
    assert_array_equal(policy.predict(numbered), plain.predict(LOG))
    assert policy.score(numbered) == plain.score(LOG)
    several = MarkovPolicyEstimator(**{**NUMBERED, "state": np.array([2, 3]), "next_state": [5, 6]})
    same(several.fit(numbered), MarkovPolicyEstimator(**BOTH).fit(LOG))


def test_numbers_have_no_default_next_column():
    numbered = LOG.set_axis(range(LOG.shape[1]), axis=1)
    names = {**NUMBERED, "next_state": None}
    inferred = MarkovPolicyEstimator(**names).fit(numbered)
    same(inferred, MarkovPolicyEstimator(state="x").fit(LOG.drop(columns=["next_x", "next_y"])))
    with pytest.raises(ValueError, match="so what followed a row is unknown"):
        MarkovPolicyEstimator(**{**names, "episode": None}).fit(numbered)
    mixed = LOG.rename(columns={"x": 0})
    with pytest.raises(ValueError, match="'next_y' but not those of 1 other"):
        MarkovPolicyEstimator(state=[0, "y"]).fit(mixed)


@pytest.mark.parametrize(
    ("role", "names", "error", "message"),
    [
        ("state", {"x", "y"}, TypeError, "state must name columns by strings or integers"),
        ("state", ["x", 1.5], TypeError, "got 1.5"),
        ("state", [["x"], ["y"]], TypeError, r"got \['x'\]"),
        ("state", [True], TypeError, "got True"),
        ("state", [], ValueError, "state names no column; a state needs at least one"),
        ("episode", [], ValueError, "episode names no column"),
        ("next_state", np.array([]), ValueError, "next_state names no column"),
        ("action", ["action", "x"], InvalidParameterError, "'action' parameter"),
        ("reward", 1.5, InvalidParameterError, "'reward' parameter"),
    ],
)
def test_things_that_name_no_column(role, names, error, message):
    with pytest.raises(error, match=message):
        MarkovPolicyEstimator(**{"state": "x", role: names}).fit(LOG)


def test_a_mapping_of_roles_overrides_others():
    others = Roles.of({"state": ["a", "b"], "reward": "pay", "step": None})
    roles = Roles.of({"reward": "benefit", "episode": ["customer", "day"]}, others)
    assert roles.state == ("a", "b")
    assert (roles.reward, roles.step, roles.action) == ("benefit", None, "action")
    assert roles.episode == ("customer", "day")
    assert Roles.of({}) == Roles()
    with pytest.raises(ValueError, match=r"no role 'rewards'\. Did you mean 'reward'\?"):
        Roles.of({"rewards": "x"})
    with pytest.raises(TypeError, match="reward names one column, got 2: 'x', 'y'"):
        Roles.of({"reward": ["x", "y"]})
    with pytest.raises(TypeError, match="action must name columns by strings or integers"):
        Roles.of({"action": None})


def test_next_columns_are_found_by_name():
    columns = ["x", "y", "next_x", "next_y"]
    assert find_next_names(("x",), None, columns) == ("next_x",)
    assert find_next_names(("z",), None, columns) is None
    assert find_next_names(("x", "y"), ("y", "x"), columns) == ("y", "x")
    assert find_next_names(("x",), ("later",), columns) is None
    with pytest.raises(ValueError, match=r"'next_y' but not 'next_z'"):
        find_next_names(("y", "z"), None, columns)


# ------------------------------------------------------------------------------------ absent names


@pytest.mark.parametrize(
    ("role", "column"),
    [
        ("episode", "Episode"),
        ("episode", " episode_"),
        ("episode", "episodes"),
        ("episode", "epsiode"),
        ("step", "STEP "),
        ("step", "steps"),
        ("terminated", "terminate"),
        ("truncated", "Trun-cated"),
    ],
)
def test_an_optional_column_that_is_misspelt_is_warned_of(role, column):
    table = LOG.rename(columns={role: column})
    with pytest.warns(UserWarning, match=f"'{role}' may be '{column}'.*{role}=None") as caught:
        without = MarkovPolicyEstimator(state="x").fit(table)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=f"'{role}' may be") as caught:
        without.score(table)
    assert caught[0].filename == __file__
    same(MarkovPolicyEstimator(state="x", **{role: column}).fit(table), fitted(LOG))
    same(MarkovPolicyEstimator(state="x", **{role: None}).fit(table), without)


def fitted(table):
    return MarkovPolicyEstimator(state="x").fit(table)


def test_one_warning_tells_of_all():
    table = LOG.rename(columns={role: role.title() for role in MAY_BE_ABSENT})
    with pytest.warns(UserWarning, match="episode='Episode' and say step='Step' and") as caught:
        fitted(table)
    assert len(caught) == 1
    assert "episode=None, step=None, terminated=None, truncated=None" in str(caught[0].message)


@pytest.mark.parametrize("column", ["stop", "state_2", "period", "truth", "next_x_"])
def test_other_columns_are_not_warned_of(column):
    fitted(LOG.drop(columns=[role for role in MAY_BE_ABSENT if role in LOG]).assign(**{column: 1}))


@pytest.mark.parametrize(("role", "column"), [("step", "Step"), ("truncated", "Truncated")])
def test_columns_with_a_role_are_not_warned_of(role, column):
    table = LOG.drop(columns=role).rename(columns={"x": column, "next_x": f"next_{column}"})
    MarkovPolicyEstimator(state=column).fit(table)


@pytest.mark.parametrize("column", ["Reward ", "rewards", "re_ward"])
def test_the_error_for_a_required_column_names_a_near_one(column):
    table = LOG.rename(columns={"reward": column})
    with pytest.raises(ValueError, match=f"no column 'reward'.*Did you mean '{column}'?"):
        fitted(table)
    same(MarkovPolicyEstimator(state="x", reward=column).fit(table), fitted(LOG))


def test_a_near_episode_is_named_where_it_is_needed():
    table = LOG.drop(columns=["next_x", "next_y"])
    with pytest.raises(ValueError, match=r"Did you mean 'Episode'\?"):
        fitted(table.rename(columns={"episode": "Episode"}))


def test_columns_in_the_index_are_named():
    with pytest.raises(ValueError, match=r"'action' is in the index: call reset_index\(\)"):
        fitted(LOG.set_index("action"))
    keyed = LOG.set_index(["episode", "step"])
    with pytest.warns(UserWarning, match=r"'episode' is in the index, 'step' is in the index"):
        fitted(keyed)
    same(fitted(keyed.reset_index()), fitted(LOG))
    inferred = keyed.drop(columns=["next_x", "next_y"])
    with pytest.raises(ValueError, match=r"'episode' is in the index: call reset_index\(\)"):
        fitted(inferred)
    same(fitted(inferred.reset_index()), fitted(LOG.drop(columns=["next_x", "next_y"])))


def test_columns_of_several_levels_are_refused():
    table = pd.concat({"log": LOG}, axis=1)
    with pytest.raises(ValueError, match=r"names of 2 levels, such as \('log', 'episode'\)"):
        fitted(table)
    table.columns = ["_".join(map(str, name)) for name in table.columns]
    names = {role: f"log_{role}" for role in ("action", "reward", "episode", "step")}
    flags = {role: f"log_{role}" for role in ("terminated", "truncated")}
    policy = MarkovPolicyEstimator(state="log_x", next_state="log_next_x", **names, **flags)
    assert_array_equal(policy.fit(table).state_values_, fitted(LOG).state_values_)


# ----------------------------------------------------------------- episodes of several columns


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_episodes_of_several_columns(make):
    rng = np.random.default_rng(0)
    plain = pd.DataFrame({"x": rng.integers(4, size=60), "action": rng.integers(2, size=60)})
    plain = plain.assign(reward=rng.normal(size=60), episode=rng.integers(6, size=60))
    keyed = plain.assign(customer=plain["episode"] // 2, day=plain["episode"] % 2)
    keyed["customer"] = keyed["customer"].map({0: "u", 1: "v", 2: "w"})
    policy = MarkovPolicyEstimator(state="x", episode=["customer", "day"])
    same(policy.fit(make(keyed.drop(columns="episode").to_dict("list"))), fitted(plain))
    assert policy.n_episodes_ == 6


def test_messages_show_episodes_of_several_columns():
    table = LOG.drop(columns=["next_x", "next_y"]).assign(day="mon", step=[0, 1, 4, 4])
    policy = MarkovPolicyEstimator(state="x", episode=["episode", "day"])
    with pytest.raises(ValueError, match=r"in episode \(1, 'mon'\) step 4 occurs twice"):
        policy.fit(table)
    with pytest.raises(ValueError, match=r"'day' contains NaN or None in 1 row"):
        policy.fit(table.assign(day=["mon", None, "mon", "mon"]))
    with pytest.raises(ValueError, match="no column 'night' for the role 'episode'"):
        MarkovPolicyEstimator(state="x", episode=["episode", "night"]).fit(table)


KEYS = ["customer", "day"]
SEARCH = make_search_log(60, length=4, random_state=0)
KEYED = SEARCH.assign(customer=SEARCH["episode"] // 7, day=SEARCH["episode"] % 7).drop(
    columns="episode"
)


@pytest.mark.parametrize("splitter", [EpisodeKFold(3), EpisodeShuffleSplit(2, random_state=0)])
def test_folds_of_episodes_of_several_columns(splitter):
    keyed = copy.copy(splitter)
    keyed.episode = KEYS
    for ours, plain in zip(keyed.split(KEYED), splitter.split(SEARCH), strict=True):
        for rows, expected in zip(ours, plain, strict=True):
            assert_array_equal(rows, expected)


@pytest.mark.filterwarnings("ignore:X lacks:UserWarning")  # in so few episodes
def test_everything_takes_episodes_of_several_columns():
    single = MarkovPolicyEstimator(episode=KEYS, handle_unknown="most_frequent")
    plain = MarkovPolicyEstimator(handle_unknown="most_frequent")
    train, test = train_test_split_episodes(KEYED, episode=KEYS, random_state=0)
    expected = train_test_split_episodes(SEARCH, random_state=0)
    assert_array_equal(train.index, expected[0].index)
    ours, theirs = single.fit(train), plain.fit(expected[0])
    judge = partial(evaluate_policy, methods="dm")
    results = [judge(ours, test), judge(theirs, expected[1])]
    pd.testing.assert_frame_equal(*(result.to_frame() for result in results))
    bags = [PolicyBagging(one, 3, bootstrap=True, random_state=0) for one in (single, plain)]
    same_draws = [bag.fit(log) for bag, log in zip(bags, (train, expected[0]), strict=True)]
    states = np.unique(SEARCH["state"])
    assert_array_equal(*(bag.decision_function(states) for bag in same_draws))


def test_splits_say_where_the_episodes_may_be():
    with pytest.raises(ValueError, match=r"Did you mean 'Episode'\?"):
        next(EpisodeKFold(2).split(SEARCH.rename(columns={"episode": "Episode"})))
    with pytest.raises(ValueError, match=r"'day' is in the index: call reset_index\(\)"):
        next(EpisodeKFold(2, episode=KEYS).split(KEYED.set_index("day")))
    next(EpisodeKFold(2, episode=KEYS).split(KEYED.set_index("day").reset_index()))


def test_predict_says_where_the_states_may_be():
    policy = fitted(LOG)
    with pytest.raises(ValueError, match=r"held the state in fit\. 'x' is in the index"):
        policy.predict(LOG.set_index("x"))
    with pytest.raises(ValueError, match=r"Did you mean 'X'\?"):
        policy.predict(LOG.rename(columns={"x": "X"}))
    assert_array_equal(policy.predict(LOG.set_index("x").reset_index()), policy.predict(LOG))


def test_the_index_of_pandas_is_no_column():
    """Rows count from 0 in the order given, whatever they are called."""
    shuffled = LOG.set_axis([3, 3, -1, 0])
    same(fitted(shuffled), fitted(LOG))
    with pytest.raises(ValueError, match="first at row 2"):
        fitted(shuffled.assign(action=[0, 1, None, 1]))

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import judge_encodings
from skmdp.model_selection import (
    EpisodeKFold,
    EpisodeShuffleSplit,
    most_trusted,
    train_test_split_episodes,
)

LOG = make_search_log(300, length=4, random_state=0)
# A hundred episodes do not hold every decision of a policy learned from two hundred others.
SMALL_FOLDS = pytest.mark.filterwarnings("ignore:X lacks:UserWarning")


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_episode_is_tested_once_and_never_cut(shuffle):
    splitter = EpisodeKFold(4, shuffle=shuffle, random_state=0 if shuffle else None)
    tested = []
    for train, test in splitter.split(LOG):
        assert not set(LOG["episode"].iloc[train]) & set(LOG["episode"].iloc[test])
        assert len(train) + len(test) == len(LOG)
        tested += test.tolist()
    assert sorted(tested) == list(range(len(LOG)))
    assert splitter.get_n_splits() == 4


def test_labels_rows_and_backends_do_not_matter():
    named = LOG.assign(patient=LOG["episode"].map("p{}".format)).drop(columns="episode")
    splits = list(EpisodeKFold(3, episode="patient").split(named))
    others = [
        EpisodeKFold(3).split(np.zeros((len(LOG), 1)), groups=LOG["episode"]),
        EpisodeKFold(3, episode="patient").split(pl.from_pandas(named)),
        EpisodeKFold(3, episode="patient").split(pa.Table.from_pandas(named)),
    ]
    for other in others:
        for (train, test), (other_train, other_test) in zip(splits, other, strict=True):
            assert_array_equal(train, other_train)
            assert_array_equal(test, other_test)


def test_shuffle_follows_its_seed():
    def first_test(seed):
        return next(EpisodeKFold(3, shuffle=True, random_state=seed).split(LOG))[1]

    assert_array_equal(first_test(0), first_test(0))
    assert not np.array_equal(first_test(0), first_test(1))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (LOG.drop(columns="episode"), r"expected a table with a column 'episode', got column\(s\)"),
        (LOG.to_numpy(), "expected a table with a column 'episode', got ndarray.*groups"),
        (LOG[LOG["episode"] == 0], "need at least 5 episodes, but there are 1.*Lower n_splits"),
        (LOG[LOG["episode"] < 4], "need at least 5 episodes, but there are 4.*Lower n_splits"),
        (LOG.assign(episode=None), "'episode' contains NaN or None"),
    ],
)
def test_logs_that_cannot_be_split(X, message):
    with pytest.raises(ValueError, match=message):
        next(EpisodeKFold().split(X))


def test_groups_must_be_as_many_as_rows():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        next(EpisodeKFold(3).split(np.zeros((9, 2)), groups=[1, 2, 3]))


def test_repr_shows_the_parameters():
    assert repr(EpisodeKFold(3)) == (
        "EpisodeKFold(episode='episode', n_splits=3, random_state=None, shuffle=False)"
    )


@pytest.mark.smoke
@SMALL_FOLDS
@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search_over_min_count(routing, n_jobs):
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.99)
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(
            policy, {"min_count": [0, 5]}, cv=EpisodeKFold(3), error_score="raise", n_jobs=n_jobs
        ).fit(LOG)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # A log of three equal kinds of searcher takes longer than the policy learned from it.
    assert search.best_score_ > -len(LOG) / 300
    assert len(search.predict(LOG)) == len(LOG)


def test_cross_validate_takes_groups():
    X, y = LOG[["state"]], LOG["action"]
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent")
    scores = cross_validate(policy, X, y, groups=LOG["episode"], cv=EpisodeKFold(3))
    assert ((scores["test_score"] > 0) & (scores["test_score"] < 1)).all()


@SMALL_FOLDS
def test_polars_tables_can_be_searched():
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.99)
    results = [
        GridSearchCV(policy, {"min_count": [0, 5]}, cv=EpisodeKFold(3)).fit(table).cv_results_
        for table in (LOG, pl.from_pandas(LOG), pa.Table.from_pandas(LOG))
    ]
    for other in results[1:]:
        assert_array_equal(other["mean_test_score"], results[0]["mean_test_score"])


def test_episodes_that_lie_scattered_stay_whole():
    scattered = pd.concat([LOG[::2], LOG[1::2]])
    for train, test in EpisodeKFold(3).split(scattered):
        assert not set(scattered["episode"].iloc[train]) & set(scattered["episode"].iloc[test])


# ------------------------------------------------------------------------- keys of several columns

VISITS = LOG.assign(customer=LOG["episode"] % 7, day=LOG["episode"].map("day {}".format)).drop(
    columns="episode"
)


@pytest.mark.parametrize("names", [list, tuple, np.array, pd.Index])
@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_an_episode_may_be_named_by_several_columns(names, convert):
    key = names(["customer", "day"])
    table = convert(VISITS)
    for split in (EpisodeKFold, partial(EpisodeShuffleSplit, random_state=0)):
        by_one = split(3).split(LOG)
        for rows, expected in zip(split(3, episode=key).split(table), by_one, strict=True):
            assert_array_equal(rows[0], expected[0])
            assert_array_equal(rows[1], expected[1])
    parts = train_test_split_episodes(table, episode=key, test_size=100, random_state=0)
    expected = train_test_split_episodes(LOG, test_size=100, random_state=0)
    assert [len(part) for part in parts] == [len(part) for part in expected]


def test_each_column_of_a_key_counts():
    """The day alone, or the customer alone, is no episode."""
    log = pd.DataFrame({"customer": [1, 1, 2, 2], "day": ["a", "b", "a", "b"], "state": 0})
    assert len(list(EpisodeKFold(4, episode=["customer", "day"]).split(log))) == 4
    for column in ("customer", "day"):
        with pytest.raises(ValueError, match="there are 2"):
            next(EpisodeKFold(4, episode=column).split(log))
    with pytest.raises(ValueError, match="a column 'customer', 'week', got"):
        next(EpisodeKFold(2, episode=["customer", "week"]).split(log))


# ------------------------------------------------------------------------- on all accounts


def results_of(score, n_states, fqe=None, unsupported=0.0):
    """Results of a search as ``most_trusted`` reads them; by default score and fqe agree."""
    figures = {"score": score, "fqe": score if fqe is None else fqe, "n_states": n_states}
    figures["unsupported"] = np.broadcast_to(unsupported, len(score))
    return {f"mean_test_{name}": np.asarray(column, float) for name, column in figures.items()}


CANDIDATES = st.lists(
    st.tuples(
        st.integers(-1000, 1000), st.integers(-1000, 1000), st.sampled_from([0, 0.05, 0.2, 0.5]),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=9,
)  # fmt: skip


@given(CANDIDATES, st.sampled_from([0.0, 0.05, 0.5]), st.sampled_from([0.5, 1.0, 1024.0]))
@pytest.mark.filterwarnings("ignore:Of every policy more than 10%:UserWarning")
def test_the_most_trusted_is_the_smallest_within_the_tolerance(candidates, tolerance, scale):
    score, fqe, unsupported, sizes = np.array(candidates, dtype=float).T
    results = results_of(score * scale, sizes, fqe * scale, unsupported)
    chosen = most_trusted(tolerance=tolerance)(results)
    values = np.minimum(score, fqe)
    eligible = unsupported < 0.1 if (unsupported < 0.1).any() else np.full(len(values), True)
    # Within 5 % of -10 is -10.5: the distance is a share of the best score's absolute value.
    best = values[eligible].max()
    allowed = np.flatnonzero(eligible & (best - values <= tolerance * abs(best)))
    assert chosen in allowed
    assert sizes[chosen] == sizes[allowed].min()
    assert values[chosen] == values[allowed][sizes[allowed] == sizes[chosen]].max()


def test_five_percent_of_a_negative_score():
    sizes = [9, 3, 1]
    choose = most_trusted()
    assert choose(results_of([-10, -10.5, -10.6], sizes)) == 1
    assert choose(results_of([10, 9.5, 9.4], sizes)) == 1
    assert choose(results_of([0.0, -1e-9, -1], sizes)) == 0


def test_what_is_not_supported_comes_last():
    sizes = [1, 1, 1]
    assert most_trusted()(results_of([9, 5, 1], sizes, unsupported=[0.3, 0.1, 0.05])) == 2
    assert most_trusted(0.2)(results_of([9, 5, 1], sizes, unsupported=[0.3, 0.1, 0.05])) == 1
    with pytest.warns(UserWarning, match="Of every policy more than 10% of the decisions"):
        assert most_trusted()(results_of([9, 5, 1], sizes, unsupported=0.3)) == 0


def test_both_values_count():
    assert most_trusted()(results_of([9, 5, 4], [1, 1, 1], fqe=[1, 4, 9])) in (1, 2)
    assert most_trusted()(results_of([9, 6, 4], [1, 1, 1], fqe=[1, 5, 9])) == 1


def test_nothing_to_choose_by():
    with pytest.raises(ValueError, match="every mean score is NaN"):
        most_trusted()(results_of([np.nan], [3]))
    assert most_trusted()(results_of([np.nan, 1], [np.nan, 5])) == 1
    with pytest.raises(ValueError, match=r"lacks 'mean_test_fqe'.*Say scoring=judge_encodings"):
        most_trusted()({"mean_test_score": [1.0]})
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        most_trusted(tolerance=-0.1)
    with pytest.raises(ValueError, match=r"max_unsupported must be in \[0, 1\]"):
        most_trusted(1.5)


def test_an_ensemble_has_as_many_states_as_its_members_on_average():
    bag = PolicyBagging(MarkovPolicyEstimator(), 3, bootstrap=True, random_state=0)
    few = LOG[LOG["episode"] < 20]
    sizes = [len(member.states_) for member in bag.fit(few).estimators_]
    assert min(sizes) < max(sizes)
    assert judge_encodings(bag, few)["n_states"] == pytest.approx(np.mean(sizes))


@SMALL_FOLDS
def test_states_are_counted_through_any_wrapping():
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(LOG)
    same = FunctionTransformer()
    search = GridSearchCV(clone(policy), {}, cv=EpisodeKFold(2))
    wrapped = [
        make_pipeline(same, make_pipeline(same, clone(policy))).fit(LOG),
        FrozenEstimator(policy),
        make_pipeline(same, FrozenEstimator(policy)),
        search.fit(LOG),
        make_pipeline(same, clone(search)).fit(LOG),
        GridSearchCV(make_pipeline(same, clone(policy)), {}, cv=EpisodeKFold(2)).fit(LOG),
    ]
    for estimator in [policy, *wrapped]:
        assert judge_encodings(estimator, LOG)["n_states"] == len(policy.states_)


# ------------------------------------------------------------------------------- random splits


def test_shuffled_splits_never_cut_an_episode():
    splitter = EpisodeShuffleSplit(3, test_size=0.25, random_state=0)
    assert splitter.get_n_splits() == 3
    for train, test in splitter.split(LOG):
        assert not set(LOG["episode"].iloc[train]) & set(LOG["episode"].iloc[test])
        assert sorted([*train, *test]) == list(range(len(LOG)))
        assert LOG["episode"].iloc[test].nunique() == 75
    by_groups = splitter.split(np.zeros((len(LOG), 1)), groups=LOG["episode"])
    for (_, test), (_, other) in zip(splitter.split(LOG), by_groups, strict=True):
        assert_array_equal(test, other)


@pytest.mark.parametrize("splitter", [EpisodeKFold(3), EpisodeShuffleSplit(2, random_state=0)])
@pytest.mark.parametrize("routing", [False, True])
@SMALL_FOLDS
def test_splitters_in_every_search(splitter, routing):
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent")
    grid = {"min_count": [5, 20]}
    with sklearn.config_context(enable_metadata_routing=routing):
        nested = cross_validate(
            GridSearchCV(policy, grid, cv=splitter, n_jobs=2), LOG, cv=splitter, error_score="raise"
        )
        sampled = RandomizedSearchCV(policy, grid, n_iter=2, cv=splitter, random_state=0).fit(LOG)
    assert np.isfinite(nested["test_score"]).all()
    assert sampled.best_params_["min_count"] in (5, 20)


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_tables_are_split_into_their_like(convert):
    table = convert(LOG)
    train, test = train_test_split_episodes(table, test_size=100, random_state=0)
    assert type(train) is type(test) is type(table)
    expected = [
        LOG.iloc[rows]
        for rows in next(EpisodeShuffleSplit(1, test_size=100, random_state=0).split(LOG))
    ]
    for part, rows in zip((train, test), expected, strict=True):
        frame = part if isinstance(part, pd.DataFrame) else part.to_pandas()
        if convert is pd.DataFrame:
            assert_array_equal(frame.index, rows.index)
        pd.testing.assert_frame_equal(
            frame.reset_index(drop=True), rows.reset_index(drop=True), check_dtype=False
        )
    assert expected[1]["episode"].nunique() == 100


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (LOG[LOG["episode"] == 0], "needs at least 2 episodes, but there is only one"),
        (LOG.drop(columns="episode"), "expected a table with a column 'episode'"),
    ],
)
def test_what_cannot_be_split_at_random_is_named(X, message):
    with pytest.raises(ValueError, match=message):
        train_test_split_episodes(X)

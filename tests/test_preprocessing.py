"""State encoders: one transformer for states and next states, in every kind of table."""

import pickle
import warnings
from decimal import Decimal
from unittest import SkipTest

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skmdp import MarkovPolicyEstimator
from skmdp.preprocessing import StateEncoder

STATE = ["heat", "wear"]
HALVES = KBinsDiscretizer(2, encode="ordinal", strategy="uniform")


def make_log(n_episodes=60, length=5, seed=0):
    """Return a log of two measurements between 0 and 10, with next states."""
    rng = np.random.default_rng(seed)
    path = rng.uniform(0, 10, size=(n_episodes, length + 1, 2))
    n = n_episodes * length
    following = path[:, 1:].copy()
    following[:, -1] = np.nan
    return pd.DataFrame(
        {
            "machine": np.repeat(np.arange(n_episodes), length),
            "heat": path[:, :-1, 0].ravel(),
            "note": np.resize(["a", "b", None], n),
            "wear": path[:, :-1, 1].ravel(),
            "action": np.resize([0, 1], n),
            "next_heat": following[..., 0].ravel(),
            "next_wear": following[..., 1].ravel(),
            "reward": rng.normal(size=n),
        }
    )


LOG = make_log()
AS = {"pandas": lambda t: t, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}


def to_pandas(table):
    return table if isinstance(table, pd.DataFrame) else table.to_pandas()


# ------------------------------------------------------------------------- scikit-learn's checks

VARIANTS = [
    StateEncoder(),
    StateEncoder(KMeans(2, n_init=1, random_state=0)),
    StateEncoder(StandardScaler(), fit_on="state"),
    StateEncoder(shift_bins=True, random_state=0),
]


@parametrize_with_checks(VARIANTS[1:])  # those of the first are counted below
def test_scikit_learn_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


def test_no_check_is_lost():
    results = check_estimator(VARIANTS[0], on_skip=None)
    assert [one["check_name"] for one in results if one["status"] != "passed"] == []
    assert len(results) >= 47


# --------------------------------------------------------------------------------- what is encoded


@pytest.mark.parametrize("library", AS)
def test_states_and_next_states_are_encoded_alike(library):
    table = AS[library](LOG)
    encoded = StateEncoder(HALVES, state=STATE).fit_transform(table)
    assert type(encoded) is type(table)
    encoded = to_pandas(encoded)
    kept = ["machine", "note", "action", "reward"]
    handed_on = {
        f"{after}{name}": f"{after}measured__{name}" for name in STATE for after in ("", "next_")
    }
    assert list(encoded.columns[:2]) == STATE
    assert list(encoded.columns[-2:]) == ["next_heat", "next_wear"]
    assert set(encoded.columns[2:-2]) == {*kept, *handed_on.values()}
    pd.testing.assert_frame_equal(encoded[kept], LOG[kept], check_dtype=False)
    measured = encoded[[*handed_on.values()]].set_axis([*handed_on], axis=1)
    pd.testing.assert_frame_equal(measured, LOG[[*handed_on]], check_dtype=False)
    pooled = np.vstack(
        [LOG[STATE], LOG[["next_heat", "next_wear"]].dropna().set_axis(STATE, axis=1)]
    )
    middle = (pooled.min(axis=0) + pooled.max(axis=0)) / 2
    assert_array_equal(encoded[STATE], LOG[STATE] >= middle)
    ends = LOG["next_heat"].isna()
    for name, border in zip(STATE, middle, strict=True):
        following = encoded[f"next_{name}"]
        assert_array_equal(following.isna(), ends)
        assert_array_equal(following[~ends], LOG.loc[~ends, f"next_{name}"] >= border)


@pytest.mark.parametrize("library", AS)
@pytest.mark.parametrize(
    "transformer",
    [
        None,
        HALVES,
        KMeans(4, random_state=0),
        make_pipeline(StandardScaler(), KMeans(4, random_state=0)),
        GaussianMixture(3, random_state=0),
        PCA(1),
        StandardScaler(),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*hold a single row:UserWarning")
def test_fit_transform_is_fit_and_transform(library, transformer):
    table = AS[library](LOG)
    encoder = StateEncoder(transformer, state=STATE)
    at_once = to_pandas(encoder.fit_transform(table))
    then = to_pandas(encoder.fit(table).transform(table))
    pd.testing.assert_frame_equal(at_once, then)
    assert_array_equal(encoder.get_feature_names_out(), at_once.columns)


def test_integers_are_codes_and_other_numbers_stay():
    encoded = StateEncoder(HALVES, state=STATE).fit_transform(LOG)
    assert encoded[STATE].dtypes.tolist() == [np.int64, np.int64]
    scaled = StateEncoder(FunctionTransformer(), state=STATE)
    with pytest.warns(UserWarning, match="300 of 300 states hold a single row"):
        encoded = scaled.fit_transform(LOG)
    pd.testing.assert_frame_equal(encoded[STATE], LOG[STATE])
    whole = scaled.transform(LOG[STATE].round())
    assert whole["heat"].dtype == np.float64


@pytest.mark.filterwarnings("ignore:.*hold a single row:UserWarning")
@pytest.mark.parametrize("library", AS)
@pytest.mark.parametrize(
    "numbers",
    [
        np.array([1e19, 2e19, 3e19]),
        np.array([-3e300, 0.0, 3e300]),
        np.array([2.0**53, 2.0**53 + 2, 2.0**60]),
        np.array([2**63, 2**63 + 1, 2**64 - 1], dtype=np.uint64),
        np.array([2**62, 2**62 + 1, -(2**63)]),
        np.array([-7, 0, 2**40], dtype=np.int64),
        np.array([0, 200, 255], dtype=np.uint8),
        np.array([0.5, 1.0, 1e16]),
    ],
    ids=str,
)
def test_no_number_becomes_another(numbers, library):
    """Whatever comes out equals what went in, so different measurements stay different states."""
    log = pd.DataFrame({"x": numbers, "action": 0, "next_x": np.roll(numbers, -1)})
    encoder = StateEncoder(FunctionTransformer(), state="x", n_states=None)
    encoded = to_pandas(encoder.fit_transform(AS[library](log)))
    assert encoded["x"].tolist() == numbers.tolist()
    assert encoded["next_x"].tolist() == log["next_x"].tolist()
    assert encoder.transform(numbers.reshape(-1, 1))[:, 0].tolist() == numbers.tolist()
    # From 2**53 on a float may stand for several integers, so it stays one.
    exact = numbers.dtype.kind in "iu" or (np.abs(numbers) < 2**53).all()
    assert (encoded["x"].dtype.kind == "f") != exact


@pytest.mark.filterwarnings("ignore:.*hold a single row:UserWarning")
@pytest.mark.parametrize("library", AS)
def test_large_integers_stay_exact_beside_missing_ones(library):
    numbers = [10**17, 10**17 + 1, 10**17 + 2]
    following = pd.array([10**17 + 1, 10**17 + 2, None], dtype="Int64")
    log = pd.DataFrame({"x": numbers, "action": 0, "next_x": following})
    encoded = to_pandas(
        StateEncoder(FunctionTransformer(), state="x").fit_transform(AS[library](log))
    )
    assert encoded["x"].tolist() == numbers
    if library == "pandas":  # to_pandas of the others makes floats of integers with a null
        assert encoded["next_x"].tolist()[:2] == numbers[1:]
    assert encoded["next_x"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("library", AS)
@pytest.mark.parametrize("transformer", [None, HALVES, KMeans(2, random_state=0)], ids=str)
def test_booleans_and_decimals_are_numbers(library, transformer):
    tired = pd.Series(np.arange(len(LOG)) % 3 == 0)
    for kind in ("bool", "boolean", "int64", "float32", "object", "decimal"):
        column = tired.map(int).map(Decimal) if kind == "decimal" else tired.astype(kind)
        log = AS[library](pd.DataFrame({"x": column, "action": LOG["action"]}))
        encoded = to_pandas(StateEncoder(transformer, state="x", n_states=2).fit_transform(log))
        states = encoded.iloc[:, 0].groupby(tired).unique().tolist()
        assert sorted(map(list, states)) == [[0], [1]], kind


def test_pandas_keeps_its_index():
    log = LOG.set_index(pd.Index(np.arange(len(LOG))[::-1] // 2, name="day"))
    encoded = StateEncoder(HALVES, state=STATE).fit_transform(log)
    pd.testing.assert_index_equal(encoded.index, log.index)
    assert_array_equal(
        encoded["heat"], StateEncoder(HALVES, state=STATE).fit_transform(LOG)["heat"]
    )


@pytest.mark.parametrize("library", AS)
def test_next_states_may_be_absent_later(library):
    encoder = StateEncoder(HALVES, state=STATE).fit(AS[library](LOG))
    expected = encoder.transform(LOG)[STATE]
    alone = encoder.transform(AS[library](LOG[STATE[::-1]]))
    pd.testing.assert_frame_equal(to_pandas(alone), expected)
    assert_array_equal(encoder.transform(LOG[STATE].to_numpy()), expected)
    assert_array_equal(encoder.transform(LOG[STATE].to_numpy().tolist()), expected)


def test_one_column_may_come_as_a_list():
    encoder = StateEncoder(HALVES, state="heat").fit(LOG)
    assert_array_equal(encoder.transform([0.0, 10.0]), [[0], [1]])
    assert_array_equal(encoder.transform(pd.Series([0.0, 10.0])), [[0], [1]])


def test_a_log_may_end_everywhere_or_nowhere():
    ended = LOG.assign(next_heat=np.nan, next_wear=np.nan)
    for library, convert in AS.items():
        encoded = to_pandas(StateEncoder(HALVES, state=STATE).fit_transform(convert(ended)))
        assert encoded[["next_heat", "next_wear"]].isna().all(axis=None), library
    going = LOG.dropna(subset="next_heat")
    encoded = StateEncoder(HALVES, state=STATE).fit_transform(going)
    assert encoded["next_heat"].dtype == np.int64


def test_clusters_are_one_column_that_a_policy_finds_by_default():
    encoder = StateEncoder(KMeans(4, random_state=0), state=STATE)
    pipe = make_pipeline(encoder, MarkovPolicyEstimator(episode="machine")).fit(LOG)
    assert_array_equal(pipe[-1].states_, range(4))
    encoded = pipe[0].transform(LOG)
    assert_array_equal(encoded.columns[[0, -1]], ["state", "next_state"])
    assert_array_equal(pipe.predict(LOG[STATE]), pipe[-1].predict(encoded["state"]))
    assert_array_equal(pipe.predict(LOG[STATE].astype(np.float32)), pipe.predict(LOG[STATE]))


@pytest.mark.filterwarnings("ignore:300 of 300 states hold a single row:UserWarning")
def test_a_transformer_with_other_columns_names_them():
    encoded = StateEncoder(PCA(1), state=STATE, fit_on="state").fit(LOG).transform(LOG)
    assert_array_equal(encoded.columns[[0, -1]], ["pca0", "next_pca0"])
    assert_allclose(encoded["pca0"].mean(), 0, atol=1e-12)


def test_a_transformer_without_names_keeps_those_of_the_columns():
    class Doubler(BaseEstimator):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return 2 * X

    with pytest.warns(UserWarning, match="single row"):
        encoded = StateEncoder(Doubler(), state=STATE).fit_transform(LOG)
    assert_allclose(encoded[["heat", "next_wear"]], 2 * LOG[["heat", "next_wear"]])


def test_labels_may_be_encoded_too():
    log = pd.DataFrame({"stage": ["I", "II"] * 3, "dose": 1, "after": ["II", None, "III"] * 2})
    encoder = StateEncoder(OrdinalEncoder(), state="stage", next_state="after", action="dose")
    for convert in AS.values():
        encoded = to_pandas(encoder.fit_transform(convert(log)))
        assert_array_equal(encoded["stage"], [0, 1] * 3)
        assert_array_equal(encoded["after"].astype(float), [1, np.nan, 2] * 2)
    assert_array_equal(clone(encoder).fit(log).transform([["III"]]), [[2]])


def test_fit_on_states_alone_does_not_know_what_only_follows():
    log = pd.DataFrame({"stage": ["I", "II"] * 3, "dose": 1, "next_stage": ["II", "III"] * 3})
    with pytest.raises(ValueError, match="unknown categories"):
        StateEncoder(OrdinalEncoder(), state="stage", fit_on="state").fit(log)


@pytest.mark.parametrize("library", AS)
def test_extension_types_are_numbers(library):
    log = LOG[[*STATE, "action", "next_heat", "next_wear"]]
    plain = StateEncoder(HALVES, state=STATE).fit_transform(log)
    nullable = StateEncoder(HALVES, state=STATE).fit_transform(
        log.convert_dtypes(dtype_backend="numpy_nullable" if library == "pandas" else "pyarrow")
    )
    assert_array_equal(nullable[STATE], plain[STATE])


def test_leaves_of_a_tree_are_states():
    tree = DecisionTreeRegressor(max_leaf_nodes=4).fit(LOG[STATE], LOG["heat"] * LOG["wear"])
    encoder = StateEncoder(FrozenEstimator(tree), state=STATE, method="apply").fit(LOG)
    encoded = encoder.transform(LOG)
    assert_array_equal(encoded["state"], tree.apply(LOG[STATE]))
    array_form = StateEncoder(DecisionTreeRegressor(max_leaf_nodes=4), method="apply")
    array_form.fit(LOG[STATE], LOG["heat"] * LOG["wear"])
    assert_array_equal(array_form.transform(LOG[STATE])[:, 0], encoded["state"])
    assert_array_equal(array_form.get_feature_names_out(), ["state"])
    no_next = LOG.drop(columns=["next_heat", "next_wear"])
    in_table = StateEncoder(DecisionTreeRegressor(), state=STATE, method="apply", n_states=4).fit(
        no_next, LOG["heat"] * LOG["wear"]
    )
    assert_array_equal(in_table.transform(LOG[STATE])["state"], encoded["state"])


def test_a_transformer_that_takes_missing_measurements():
    log = LOG.copy()
    log.loc[3, "heat"] = np.nan  # the state of row 3 and the next one of row 2
    log.loc[2, "next_heat"] = np.nan
    encoder = StateEncoder(make_pipeline(SimpleImputer(), HALVES), state=STATE)
    encoded = encoder.fit_transform(log)
    assert encoded[STATE].notna().all(axis=None)
    assert encoded.loc[2, "next_heat"] == encoded.loc[3, "heat"]
    assert_array_equal(encoded["next_heat"].isna(), LOG["next_heat"].isna())


# ------------------------------------------------------------------------------------ how many bins


def test_default_bins_are_even_between_the_outer_quantiles():
    log = LOG.assign(heat=LOG["heat"].where(LOG.index != 7, 1e6))  # an outlier
    encoder = StateEncoder(state=STATE, n_states=16, fit_on="state").fit(log)
    low, high = np.quantile(log["heat"], [0.01, 0.99])
    assert_allclose(encoder.transformer_.bin_edges_[0], np.linspace(low, high, 5))
    encoded = encoder.transform(log)["heat"]
    assert_array_equal(np.bincount(encoded) > 40, [True] * 4)
    assert encoded[7] == 3


def test_a_rare_value_is_not_cut_off():
    log = LOG.assign(heat=np.where(LOG.index == 7, 1.0, 0.0)).drop(
        columns=["next_heat", "next_wear"]
    )
    with pytest.warns(UserWarning, match="single row"):
        encoder = StateEncoder(state="heat", n_states=2).fit(log)
    assert encoder.transform(log)["heat"].sum() == 1


def test_a_constant_column_is_warned_of_by_name():
    log = LOG.assign(heat=0.1).drop(columns=["next_heat", "next_wear"])
    with pytest.warns(UserWarning, match="'heat' of the state hold one value.*Leave them out"):
        encoded = StateEncoder(state=STATE, n_states=16).fit_transform(log)
    assert encoded["heat"].nunique() == 1
    alone = StateEncoder(state="wear", n_states=4).fit_transform(log)
    assert_array_equal(encoded["wear"], alone["wear"])
    with pytest.warns(UserWarning, match="'x1' of the state hold one value"):
        StateEncoder().fit(np.column_stack([np.arange(5.0), np.ones(5)]))


def test_last_observations_count_as_no_decision():
    """A row without an action ends a record; it passes through, and asks for no action."""
    log = LOG.drop(columns=["next_heat", "next_wear"]).astype({"action": object})
    ends = LOG["next_heat"].isna()
    log.loc[ends, "action"] = None
    for convert in AS.values():
        encoder = StateEncoder(state=STATE)
        encoded = to_pandas(encoder.fit_transform(convert(log)))
        assert_array_equal(encoded["action"].isna(), ends)
        assert encoded[STATE].notna().all(axis=None)
    many = pd.concat([log] * 10)
    decisions = many[many["action"].notna()]
    assert len(decisions) // 20 > 25
    assert StateEncoder(HALVES, state="heat", n_states="auto").fit(many).transformer_.n_bins_ == [
        len(decisions) // 20
    ]


@pytest.mark.parametrize("library", AS)
@pytest.mark.parametrize("inferred", [False, True])
def test_a_policy_behind_it_learns_what_it_learns_from_states(library, inferred):
    """Last observations without action, cut records and ends mean the same on both sides."""
    log = LOG.rename(columns={"machine": "episode"}).astype({"action": object})
    ends = LOG["next_heat"].isna().to_numpy()
    log["truncated"] = ends & (log["episode"] % 2 == 0)
    log["terminated"] = ends & ~log["truncated"]
    if inferred:
        log = log.drop(columns=["next_heat", "next_wear"])
        log.loc[log["truncated"], ["action", "reward"]] = None  # the last observation of a record
    states = log.assign(**{name: (log[name] >= 5).astype(int) for name in STATE})
    for name in () if inferred else ("next_heat", "next_wear"):
        states[name] = (log[name] >= 5).astype("Int64").mask(log[name].isna())
    halves = FunctionTransformer(lambda X: (X >= 5).astype(int), feature_names_out="one-to-one")
    policy = MarkovPolicyEstimator(state=STATE)
    direct = clone(policy).fit(states)
    behind = make_pipeline(StateEncoder(halves, state=STATE), policy).fit(AS[library](log))[-1]
    assert (direct.n_truncated_ > 0) or inferred
    assert behind.n_transitions_ == direct.n_transitions_ < len(log)
    assert behind.n_truncated_ == direct.n_truncated_
    assert_array_equal(behind.states_, direct.states_)
    assert_array_equal(behind.state_values_, direct.state_values_)


def test_flags_pass_through():
    flags = {"terminated": LOG["next_heat"].isna(), "truncated": LOG.index % 7 == 0}
    for convert in AS.values():
        encoded = to_pandas(
            StateEncoder(HALVES, state=STATE).fit_transform(convert(LOG.assign(**flags)))
        )
        for name, flag in flags.items():
            assert_array_equal(encoded[name], flag)


@pytest.mark.parametrize(
    ("n_rows", "n_actions", "n_states"),
    [(60, 2, 25), (3000, 2, 150), (3000, 3, 100), (90000, 2, 1000)],
)
def test_the_budget_gives_each_action_ten_rows_in_each_state(n_rows, n_actions, n_states):
    log = pd.DataFrame({"x": np.arange(n_rows), "drug": np.arange(n_rows) % n_actions})
    for default in (
        StateEncoder(state="x", action="drug"),
        StateEncoder(HALVES, state="x", action="drug", n_states="auto"),
    ):
        encoder = default.fit(log)
        assert encoder.transformer_.n_bins_.tolist() == [n_states]


@pytest.mark.parametrize(("n_columns", "n_bins"), [(1, 150), (2, 12), (3, 5), (4, 3), (7, 2)])
def test_bins_of_all_columns_stay_within_the_budget(n_columns, n_bins):
    names = [f"x{j}" for j in range(n_columns)]
    rng = np.random.default_rng(0)
    log = pd.DataFrame(rng.integers(2, size=(3000, n_columns)) / 1, columns=names)
    encoder = StateEncoder(state=names).fit(log.assign(action=np.arange(3000) % 2))
    assert encoder.transformer_.n_bins_.tolist() == [n_bins] * n_columns
    assert n_bins**n_columns <= 150 < (n_bins + 1) ** n_columns


@pytest.mark.parametrize("n_columns", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("n_bins", [2, 3, 5, 6, 7, 10])
def test_a_budget_that_is_a_power_is_used_up(n_columns, n_bins):
    """Roots of floats fall short by a rounding: 125 ** (1 / 3) is below 5."""
    log = pd.DataFrame(np.arange(10.0)[:, np.newaxis].repeat(n_columns, axis=1)).add_prefix("x")
    encoder = StateEncoder(HALVES, state=list(log), n_states=n_bins**n_columns)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*hold a single row", UserWarning)
        encoder.fit(log)
    assert encoder.transformer_.n_bins == n_bins


def test_the_budget_sets_the_size_of_what_has_one():
    for transformer in (KMeans(random_state=0), make_pipeline(StandardScaler(), KMeans())):
        encoder = StateEncoder(transformer, state=STATE, n_states=6).fit(LOG)
        assert len(np.unique(encoder.transform(LOG)["state"])) == 6
    assert StateEncoder(KMeans(3), state=STATE).fit(LOG).transformer_.n_clusters == 3
    assert (
        StateEncoder(KMeans(), n_states="auto")
        .fit(LOG[STATE], LOG["action"])
        .transformer_.n_clusters
        == 25
    )
    with pytest.raises(ValueError, match="n_states has nothing to set: PCA"):
        StateEncoder(PCA(1), state=STATE, n_states=6).fit(LOG)


def test_more_clusters_than_rows_are_not_asked_for():
    log = LOG.iloc[:10]
    with pytest.warns(UserWarning, match="single row"):
        encoder = StateEncoder(KMeans(random_state=0), state=STATE, n_states="auto").fit(log)
    assert encoder.transformer_.n_clusters == 10


def test_the_number_of_actions_must_be_known():
    for table in (LOG.drop(columns="action"), LOG.rename(columns={"action": "do"})):
        with pytest.raises(
            ValueError, match=r"there is no 'action'. Name the column with action=..."
        ):
            StateEncoder(state=STATE).fit(table)
    assert StateEncoder(state=STATE, n_states=9).fit(LOG.drop(columns="action"))
    with pytest.raises(ValueError, match="hand in y"):
        StateEncoder(n_states="auto").fit(LOG[STATE])


def test_bins_of_many_columns_are_refused():
    table = pd.DataFrame(np.zeros((500, 6)), columns=[*"abcdef"]).assign(action=0)
    message = r"6 columns in two bins each make 64 states, more than the 50 of n_states.*KMeans\(\)"
    with pytest.raises(ValueError, match=message):
        StateEncoder(state=[*"abcdef"]).fit(table)


def test_thin_states_are_warned_of():
    fine = KBinsDiscretizer(30, encode="ordinal", strategy="uniform")
    with pytest.warns(UserWarning, match=r"states hold a single row.*Make fewer states"):
        StateEncoder(fine, state=STATE).fit(LOG)


def test_shifted_bins_are_moved_by_one_part_of_a_bin_in_each_column():
    bins = KBinsDiscretizer(5, encode="ordinal", strategy="uniform", subsample=None)
    still = StateEncoder(bins, state=STATE).fit(LOG).transformer_.bin_edges_
    seen = []
    for seed in range(6):
        encoder = StateEncoder(bins, state=STATE, shift_bins=True, random_state=seed).fit(LOG)
        for before, after in zip(still, encoder.transformer_.bin_edges_, strict=True):
            part = (after - before)[1:-1] / np.diff(before)[0]
            assert_allclose(part, part[0])
            assert_allclose((after - before)[[0, -1]], 0)
            seen.append(part[0])
    assert -0.5 < min(seen) < -0.1 < 0.1 < max(seen) < 0.5
    again = StateEncoder(bins, state=STATE, shift_bins=True, random_state=5).fit(LOG)
    pd.testing.assert_frame_equal(again.transform(LOG), encoder.transform(LOG))
    with pytest.raises(
        ValueError, match=r"shift_bins moves the borders of a KBinsDiscretizer.*KMeans"
    ):
        StateEncoder(KMeans(2), state=STATE, shift_bins=True).fit(LOG)


@pytest.mark.filterwarnings("ignore:.*hold a single row:UserWarning")
@pytest.mark.filterwarnings("ignore:Bins whose width are too small:UserWarning")
@given(
    st.lists(st.integers(-4, 16), min_size=10, max_size=60),
    st.sampled_from(["uniform", "quantile"]),
    st.integers(2, 9),
    st.integers(0, 99),
)
def test_shifted_borders_stay_in_order(gaps, strategy, n_bins, seed):
    """However unequal the bins, a border stays within half a bin of where it was."""
    bins = KBinsDiscretizer(
        n_bins,
        encode="ordinal",
        strategy=strategy,
        subsample=None,
        quantile_method="averaged_inverted_cdf",
    )
    log = pd.DataFrame({"x": np.cumsum(2.0 ** np.array(gaps)), "action": 0})
    still = StateEncoder(bins, state="x").fit(log).transformer_.bin_edges_[0]
    encoder = StateEncoder(bins, state="x", shift_bins=True, random_state=seed).fit(log)
    moved = encoder.transformer_.bin_edges_[0]
    assert_array_equal(moved[[0, -1]], still[[0, -1]])
    middle = (still[:-1] + still[1:]) / 2
    assert (np.diff(moved) > 0).all()
    assert (middle[:-1] <= moved[1:-1]).all()
    assert (moved[1:-1] <= middle[1:]).all()
    assert encoder.transform(log)["x"].is_monotonic_increasing


# -------------------------------------------------------------------------------------- array form


def test_without_state_it_is_the_transformer():
    X = LOG[STATE]
    bins = KBinsDiscretizer(4, encode="ordinal", strategy="uniform")
    assert_array_equal(StateEncoder(bins).fit_transform(X), clone(bins).fit_transform(X))
    assert_array_equal(StateEncoder(bins).fit(X).get_feature_names_out(), STATE)
    assert StateEncoder().fit(X).transformer_.n_bins_.tolist() == [5, 5]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_output_may_be_set(library):
    kind = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library]
    for table in (LOG, pl.from_pandas(LOG)):
        encoder = StateEncoder(HALVES, state=STATE).set_output(transform=library)
        assert isinstance(encoder.fit_transform(table), kind)
        assert isinstance(clone(encoder).fit(table).transform(table), kind)
        assert isinstance(encoder.set_output().fit_transform(table), kind)
        with sklearn.config_context(transform_output=library):
            assert isinstance(StateEncoder(HALVES, state=STATE).fit_transform(table), kind)
    with pytest.raises(ValueError, match="transform must be 'default', 'pandas', 'polars'"):
        encoder.set_output(transform="arrow")


def test_names_out_are_checked():
    encoder = StateEncoder(HALVES, state=STATE).fit(LOG)
    assert_array_equal(encoder.get_feature_names_out(STATE), encoder.get_feature_names_out())
    with pytest.raises(ValueError, match=r"length equal to number of features \(2\), got 1"):
        encoder.get_feature_names_out(["heat"])
    with pytest.raises(ValueError, match="not equal to feature_names_in_"):
        encoder.get_feature_names_out(STATE[::-1])


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="heat"), "no column 'heat' for the role 'state'.*'wear'"),
        (
            lambda t: t.drop(columns="next_wear"),
            "'next_heat' but not 'next_wear'. Add what is missing",
        ),
        (lambda t: t.rename(columns={"note": "state"}), "to be called 'state', but the table has"),
    ],
)
def test_tables_that_cannot_be_encoded(change, message):
    encoder = StateEncoder(KMeans(2, random_state=0), state=STATE).fit(LOG)
    before = pickle.dumps(encoder)
    with pytest.raises(ValueError, match=message):
        encoder.transform(change(LOG))
    with pytest.raises(ValueError, match=message):
        StateEncoder(KMeans(2), state=STATE).fit_transform(change(LOG))
    assert pickle.dumps(encoder) == before


@pytest.mark.parametrize("names", [tuple, np.array, pd.Index, pd.Series])
@pytest.mark.parametrize("numbered", [False, True])
def test_states_named_by_arrays_and_numbers(names, numbered):
    expected = StateEncoder(HALVES, state=STATE).fit_transform(LOG)
    log, state, after = LOG, STATE, ["next_heat", "next_wear"]
    if numbered:
        log = LOG.rename(columns={name: j for j, name in enumerate([*STATE, *after])})
        state, after = [0, 1], [2, 3]
    encoder = StateEncoder(HALVES, state=names(state), next_state=names(after))
    encoded = encoder.fit_transform(log)
    assert_array_equal(encoded[[*state, *after]], expected[[*STATE, "next_heat", "next_wear"]])
    assert_array_equal(encoder.get_feature_names_out(), encoded.columns)
    assert_array_equal(encoder.transform(log[state]), expected[STATE])
    assert_array_equal(encoder.transform(LOG[STATE].to_numpy()), expected[STATE])
    clusters = StateEncoder(KMeans(2, n_init=1), state=names(state), next_state=names(after))
    assert_array_equal(clusters.fit_transform(log).columns[[0, -1]], ["state", "next_state"])


def test_the_columns_are_those_of_fit():
    """Parameters set after the fit are for the next one."""
    encoder = StateEncoder(HALVES, state="heat").fit(LOG)
    expected = encoder.transform(LOG)
    encoder.set_params(state="wear", next_state="next_heat", method="predict")
    pd.testing.assert_frame_equal(encoder.transform(LOG), expected)
    assert_array_equal(encoder.get_feature_names_out(), expected.columns)


def test_next_states_under_other_names():
    log = LOG.rename(columns={"next_heat": "heat2", "next_wear": "wear2"})
    encoder = StateEncoder(HALVES, state=STATE, next_state=["heat2", "wear2"])
    assert_array_equal(
        encoder.fit_transform(log)[["heat2", "wear2"]],
        StateEncoder(HALVES, state=STATE).fit_transform(LOG)[["next_heat", "next_wear"]],
    )
    with pytest.raises(ValueError, match="no column 'heat2', 'wear2' for the role 'next_state'"):
        encoder.fit(LOG)
    with pytest.raises(ValueError, match=r"next_state names 1 column\(s\) and state 2"):
        StateEncoder(HALVES, state=STATE, next_state="heat2").fit(log)
    # A policy that knows the names, behind an encoder that does not, must not learn from raw ones.
    policy = MarkovPolicyEstimator(state=STATE, next_state=["heat2", "wear2"], episode=None)
    with pytest.raises(ValueError, match=r"'heat2' holds .*integers only.*StateEncoder"):
        make_pipeline(StateEncoder(HALVES, state=STATE), policy).fit(log)


def test_a_missing_measurement_is_named():
    log = LOG.copy()
    log.loc[4, "wear"] = np.nan
    message = (
        r"Column 'wear' contains NaN or None in 1 row\(s\), first at row 4 .*KBinsDiscretizer does "
        r"not take them: put an imputer before it.*SimpleImputer\(\)"
    )
    for default in (StateEncoder(state=STATE), StateEncoder(HALVES, state=STATE)):
        with pytest.raises(ValueError, match=message):
            default.fit(log)
        with pytest.raises(ValueError, match=message):
            default.fit(LOG).transform(log)
    log = LOG.copy()
    log.loc[5, "next_wear"] = np.nan
    with pytest.raises(
        ValueError, match=r"'next_wear' contains NaN or None in 1 row\(s\), .* row 5"
    ):
        StateEncoder(state=STATE).fit(log)


TIMES = pd.date_range("2026-01-01", periods=len(LOG), freq="h")


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (np.resize(["hot", "cold"], len(LOG)), "'hot'"),
        (pd.Categorical(np.resize(["hot", "cold"], len(LOG))), "'hot'"),
        (TIMES, r"Timestamp\('2026-01-01"),
        (TIMES - TIMES[0], r"Timedelta\('0 days"),
        (TIMES.tz_localize("UTC"), r"Timestamp\('2026-01-01.*tz='UTC'"),
        (TIMES.to_period("D"), r"Period\('2026-01-01"),
        (pd.cut(LOG["heat"], 3), r"Interval\("),
    ],
    ids=lambda column: type(column).__name__,
)
def test_what_is_no_number_is_named(column, shown):
    log = LOG.assign(heat=column).drop(columns=["next_heat", "next_wear"])
    message = f"Column 'heat' holds {shown}.* at row 0 .*, and {{}} numbers. .*Leave a label out of"
    with pytest.raises(ValueError, match=message.format("bins need")):
        StateEncoder(state=STATE).fit(log)
    with pytest.raises(ValueError, match=message.format("KBinsDiscretizer needs")):
        StateEncoder(HALVES, state=STATE).fit(log)
    with pytest.raises(ValueError, match=message.format("KBinsDiscretizer needs")):
        StateEncoder(HALVES, state=STATE).fit(LOG).transform(log)


@pytest.mark.filterwarnings("ignore:.*not seen in fit:UserWarning")
def test_labels_beside_measurements_and_times_as_numbers():
    """The two remedies for a column that is no number."""
    log = LOG.assign(heat=np.resize(["hot", "cold"], len(LOG)), episode=LOG["machine"]).drop(
        columns=["next_heat", "next_wear"]
    )
    policy = MarkovPolicyEstimator(state=["wear", "heat"], terminated=None)
    pipe = make_pipeline(StateEncoder(HALVES, state="wear"), policy).fit(log)
    assert set(pipe[-1].policy_map()) == {
        (wear, heat) for wear in (0, 1) for heat in ("hot", "cold")
    }
    log = log.assign(heat=(TIMES - TIMES[0]).total_seconds() / 3600)
    assert_array_equal(
        StateEncoder(HALVES, state="heat").fit_transform(log)["heat"], np.arange(len(log)) >= 150
    )


@pytest.mark.parametrize(("column", "row"), [("heat", 4), ("next_heat", 5)])
def test_the_first_value_that_is_no_number_is_named(column, row):
    log = LOG.astype({column: object})
    log.loc[row, column] = "n/a"
    message = rf"Column '{column}' holds 'n/a' at row {row} \(counting from 0\), and bins need"
    with pytest.raises(ValueError, match=message):
        StateEncoder(state=STATE).fit(log)


def test_no_message_is_long():
    """However long the names and values: a few hundred characters."""
    name, value = "n" * 1000, "v" * 1000
    log = pd.DataFrame({name: [value] * 3, "action": 0})
    bad = [
        (None, log),
        (HALVES, log),
        (KMeans(2), log.assign(**{name: [1.0, np.nan, 2.0]})),
        (KMeans(2), log.assign(**{name: [1.0, np.inf, 2.0]})),
        (FunctionTransformer(), log.assign(**{name: [1.0, np.inf, 2.0]})),
        (KMeans(2), log.assign(state=0)),
        (None, log.drop(columns=name)),
    ]
    for transformer, table in bad:
        encoder = StateEncoder(transformer, state=name, n_states=None if transformer else 2)
        with pytest.raises(ValueError, match=r"^(?s:.{100,500})$"):
            encoder.fit(table)


def test_an_encoder_of_labels_names_itself_what_it_does_not_know():
    log = pd.DataFrame({"stage": ["I", "II"] * 3, "dose": 1})
    encoder = StateEncoder(OrdinalEncoder(), state="stage", action="dose").fit(log)
    with pytest.raises(ValueError, match="unknown categories"):
        encoder.transform(log.assign(stage="IV"))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("next_state", [False, True])
@pytest.mark.parametrize("library", AS)
def test_infinity_is_refused_with_its_place(sign, next_state, library):
    column, row = ("next_wear", 5) if next_state else ("wear", 7)
    log = LOG.copy()
    log.loc[row, column] = sign * np.inf
    table = AS[library](log)
    for transformer in (None, HALVES, KMeans(3, random_state=0)):
        message = rf"Column '{column}' contains infinity \(inf\), first at row {row} .*\.clip\("
        with pytest.raises(ValueError, match=message):
            StateEncoder(transformer, state=STATE).fit(table)
    message = rf"makes infinity \(inf\) of -?inf in column\(s\) '{column}' at row {row} .*\.clip\("
    raw = StateEncoder(FunctionTransformer(), state=STATE)
    with pytest.raises(ValueError, match=message):
        raw.fit(table)
    with pytest.warns(UserWarning, match="single row"):
        raw.fit(LOG)
    with pytest.raises(ValueError, match=message):
        raw.transform(table)
    bounded = log.assign(**{column: log[column].clip(lower=0, upper=10)})
    assert StateEncoder(HALVES, state=STATE).fit(AS[library](bounded))


def test_infinity_that_the_transformer_makes_is_refused():
    logarithm = FunctionTransformer(lambda X: X.sum(axis=1).to_frame("sum").apply(np.log))
    log = LOG.drop(columns=["next_heat", "next_wear"])
    log.loc[9, STATE] = 0.0
    message = r"makes infinity \(inf\) of 0.0, 0.0 in column\(s\) 'heat', 'wear' at row 9"
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=message):
        StateEncoder(logarithm, state=STATE).fit(log)


def test_transformers_that_cannot_make_states():
    class Half(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X[::2]

    with pytest.raises(
        ValueError, match="Half made 270 rows of 540; a state needs one row for each"
    ):
        StateEncoder(Half(), state=STATE).fit(LOG)
    with pytest.raises(
        ValueError, match=r"OneHotEncoder answers a sparse matrix.*sparse_output=False"
    ):
        StateEncoder(OneHotEncoder(), state=STATE).fit(LOG)
    with pytest.raises(ValueError, match="has no method 'predict', so it cannot tell the state"):
        StateEncoder(AgglomerativeClustering(), state=STATE).fit(LOG)


def test_what_is_no_table_or_has_another_width():
    with pytest.raises(
        TypeError, match=r"StateEncoder\(state=...\) is fitted on a table .*ndarray"
    ):
        StateEncoder(state=STATE).fit(LOG[STATE].to_numpy())
    encoder = StateEncoder(HALVES, state=STATE)
    with pytest.raises(NotFittedError):
        encoder.transform(LOG)
    with pytest.raises(ValueError, match="X has 3 features, but StateEncoder is expecting 2"):
        encoder.fit(LOG).transform([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="The table is empty: it has 0 rows"):
        StateEncoder(state=STATE).fit(LOG.iloc[:0])
    for twice in ({"state": ["heat", "heat"]}, {"state": STATE, "next_state": ["wear", "dust"]}):
        with pytest.raises(ValueError, match=r"Column '(heat|wear)' is named for two roles"):
            StateEncoder(**twice, n_states=4).fit(LOG.assign(dust=0.0))
    with pytest.raises(ValueError, match="state names no column"):
        StateEncoder(state=[]).fit(LOG)
    with pytest.raises(ValueError, match="'n_states' parameter of StateEncoder must be"):
        StateEncoder(state=STATE, n_states=0).fit(LOG)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "int64[pyarrow]"])
def test_nullable_measurements_may_be_missing(dtype):
    """They reach the transformer as ordinary floats, so an imputer knows what is missing."""
    wear = pd.array([0, 1, None, 1, 0], dtype=dtype)
    log = pd.DataFrame({"wear": wear, "action": [0, 1, 0, 1, 0]})
    encoder = StateEncoder(SimpleImputer(strategy="most_frequent"), state="wear").fit(log)
    assert encoder.transform(log)["wear"].tolist() == [0, 1, 0, 1, 0]


def test_only_whole_numbers_become_codes():
    log = pd.DataFrame({"stage": ["I", "II", "I", "II"], "action": [1, 1, 2, 2]})
    for transformer, expected, kind in (
        (FunctionTransformer(), ["I", "II", "I", "II"], "O"),
        (OrdinalEncoder(), [0, 1, 0, 1], "i"),
        (FunctionTransformer(lambda X: X == "I"), [True, False, True, False], "b"),
    ):
        encoded = StateEncoder(transformer, state="stage").fit_transform(log)["stage"]
        assert encoded.tolist() == expected
        assert np.asarray(encoded).dtype.kind == kind

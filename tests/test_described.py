"""Encoded states in the units of the measurements: laws of ``StateEncoder.describe_states``."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor

from skmdp import MarkovPolicyEstimator
from skmdp.preprocessing import StateEncoder

# Small logs show the laws as well as large ones.
pytestmark = pytest.mark.filterwarnings("ignore:.*states hold a single row:UserWarning")

STATE = ["heat", "wear"]
AS = {"pandas": lambda t: t, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}


def make_log(n=400, seed=0):
    """Return a log of two measurements and a label, each row leading to the next."""
    rng = np.random.default_rng(seed)
    log = pd.DataFrame(
        {
            "heat": rng.normal(50, 10, n),
            "wear": rng.exponential(2, n),
            "stage": rng.choice(["I", "II", "III"], n, p=[0.6, 0.3, 0.1]),
            "action": rng.integers(2, size=n),
            "reward": rng.normal(size=n),
        }
    )
    following = log[[*STATE, "stage"]].shift(-1).add_prefix("next_")
    following.loc[np.arange(n) % 10 == 9] = np.nan
    return log.join(following)


LOG = make_log()
TEN = KBinsDiscretizer(10, encode="ordinal", strategy="uniform", subsample=None)
TREE = DecisionTreeRegressor(max_leaf_nodes=9, random_state=0)
KINDS = {
    "bins": StateEncoder(state=STATE),
    "shifted bins": StateEncoder(state=STATE, n_states=49, shift_bins=True, random_state=1),
    "scaled bins": StateEncoder(make_pipeline(StandardScaler(), TEN), state=STATE),
    "rounded": StateEncoder(FunctionTransformer(lambda X: (X // 5) * 2.5), state=STATE),
    "clusters": StateEncoder(KMeans(7, random_state=0), state=STATE),
    "leaves": StateEncoder(TREE, state=STATE, method="apply", fit_on="state"),
    "labels": StateEncoder(OrdinalEncoder(), state="stage"),
}


def states_of(encoder, log):
    """The encoded states of a log, one row each, in a plain table."""
    encoded = encoder.transform(log)
    encoded = encoded if isinstance(encoded, pd.DataFrame) else encoded.to_pandas()
    table = encoder.describe_states()
    return encoded[table.columns[: table.columns.get_loc("n_rows")].tolist()]


def described_rows(encoder, log):
    """What is said of the state of each row of a log."""
    states = states_of(encoder, log)
    return states.merge(encoder.describe_states(), how="left", on=list(states.columns))


def fitted(encoder, log):
    target = LOG["reward"] if encoder.fit_on == "state" else None
    return clone(encoder).fit(log, target)


# ------------------------------------------------------------------------------------ the states


@pytest.mark.parametrize("library", AS)
@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_the_log_in_the_order_of_a_policy(kind, library):
    log = AS[library](LOG)
    encoder = fitted(KINDS[kind], log)
    table, states = encoder.describe_states(), states_of(encoder, log)
    names = list(states.columns)
    counted = states.groupby(names).size()
    assert_array_equal(table[names], counted.reset_index()[names])
    assert_array_equal(table["n_rows"], counted)
    assert table["n_rows"].sum() == len(LOG)
    assert (table[names].dtypes == states.dtypes).all()
    policy = MarkovPolicyEstimator(state=names).fit(encoder.transform(log))
    listed = [key if isinstance(key, tuple) else (key,) for key in policy.policy_map()]
    assert_array_equal(table[names], listed)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_does_not_matter(kind):
    encoder = fitted(KINDS[kind], LOG)
    shuffled = LOG.sample(frac=1, random_state=3)
    again = FrozenEstimator(encoder.transformer_)
    parameters = encoder.get_params(deep=False) | {"transformer": again}
    parameters |= {"n_states": None, "shift_bins": False}
    found = [StateEncoder(**parameters).fit(log).describe_states() for log in (LOG, shuffled)]
    pd.testing.assert_frame_equal(*found)
    pd.testing.assert_frame_equal(found[0], encoder.describe_states())


def test_next_states_are_not_counted():
    log = pd.DataFrame({"x": [0.0, 1.0], "action": 0, "next_x": [9.0, 9.0]})
    table = StateEncoder(TEN, state="x").fit(log).describe_states()
    assert table["x"].tolist() == [0, 1]
    assert table["n_rows"].tolist() == [1, 1]


# -------------------------------------------------------------------------------------- of bins


@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=8, max_size=60),
    strategy=st.sampled_from(["uniform", "quantile"]),
    n_bins=st.integers(2, 6),
    shift=st.booleans(),
    imputed=st.booleans(),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bins_tile_the_axis_and_hold_their_rows(values, strategy, n_bins, shift, imputed):
    log = pd.DataFrame({"x": values})
    bins = KBinsDiscretizer(
        n_bins, encode="ordinal", strategy=strategy, quantile_method="averaged_inverted_cdf"
    )
    if imputed:
        log = pd.concat([log, pd.DataFrame({"x": [np.nan]})], ignore_index=True)
        bins = make_pipeline(SimpleImputer(), bins)
    encoder = StateEncoder(bins, state="x", shift_bins=shift, random_state=0).fit(log)
    rows = described_rows(encoder, log)[: len(values)]
    assert (rows["x_min"] <= values).all()
    assert (values < rows["x_max"]).all()
    part = encoder.__skmdp_parts__()[0].statistics["x"]  # also of bins that hold no row
    assert_array_equal(part["min"][1:], part["max"][:-1])
    assert (part["min"][0], part["max"][-1]) == (-np.inf, np.inf)
    assert (part["min"] < part["max"]).all()
    edges = last_bins(encoder).bin_edges_[0]
    assert_array_equal(part["min"][1:], edges[1:-1])


def last_bins(encoder):
    return getattr(encoder.transformer_, "steps", [("", encoder.transformer_)])[-1][1]


def test_a_border_belongs_to_the_bin_above_it():
    log = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0, 4.0]})
    halves = KBinsDiscretizer(2, encode="ordinal", strategy="uniform")
    encoder = StateEncoder(halves, state="x").fit(log)
    table = encoder.describe_states()
    assert table[["x_min", "x_max"]].to_numpy().tolist() == [[-np.inf, 2], [2, np.inf]]
    assert table["n_rows"].tolist() == [2, 3]
    assert encoder.transform([[2.0]])[0, 0] == 1


@pytest.mark.filterwarnings("ignore:.*hold one value in all rows:UserWarning")
def test_a_constant_column_is_one_bin_without_borders():
    log = pd.DataFrame({"x": [1.0] * 30, "y": np.arange(30.0), "action": 0})
    table = StateEncoder(state=["x", "y"]).fit(log).describe_states()
    assert set(table["x_min"]) == {-np.inf}
    assert set(table["x_max"]) == {np.inf}


# ----------------------------------------------------------- of what keeps the columns otherwise


@pytest.mark.parametrize("kind", ["scaled bins", "rounded"])
def test_columns_made_of_one_each_have_the_range_of_their_rows(kind):
    encoder = fitted(KINDS[kind], LOG)
    table, states = encoder.describe_states(), states_of(encoder, LOG)
    for name in STATE:
        groups = LOG[name].groupby(states[name])
        assert_array_equal(table[f"{name}_min"], groups.min()[table[name]])
        assert_array_equal(table[f"{name}_max"], groups.max()[table[name]])
        # The transformer is monotone, so the ranges of two codes do not overlap.
        ranges = table.groupby(name)[[f"{name}_min", f"{name}_max"]].first()
        assert (ranges[f"{name}_max"].to_numpy()[:-1] < ranges[f"{name}_min"].to_numpy()[1:]).all()


def test_columns_in_another_order_are_found_by_name():
    swap = ColumnTransformer(
        [("w", TEN, ["wear"]), ("h", OrdinalEncoder(), ["stage"])], verbose_feature_names_out=False
    )
    encoder = StateEncoder(swap, state=["stage", "wear"]).fit(LOG)
    rows = described_rows(encoder, LOG)
    assert rows.columns[:2].tolist() == ["wear", "stage"]
    assert (rows["wear_min"] <= LOG["wear"]).all()
    assert (LOG["wear"] <= rows["wear_max"]).all()
    assert_array_equal(rows["stage_label"], LOG["stage"])


# ----------------------------------------------------------------------- of clusters and leaves


@pytest.mark.parametrize("kind", ["clusters", "leaves"])
def test_states_of_all_columns_together_have_quartiles(kind):
    encoder = fitted(KINDS[kind], LOG)
    table, states = encoder.describe_states(), states_of(encoder, LOG)["state"]
    for name in STATE:
        for state, row in table.set_index("state").iterrows():
            expected = np.quantile(LOG[name][states == state], [0.25, 0.5, 0.75])
            found = row[[f"{name}_q25", f"{name}_median", f"{name}_q75"]]
            assert_allclose(found.astype(float), expected)
    assert table.columns.get_loc("heat_q75") + 1 == table.columns.get_loc("wear_q25")


def test_leaves_of_labels_and_numbers():
    mixed = ColumnTransformer([("s", OneHotEncoder(), ["stage"]), ("h", "passthrough", ["heat"])])
    tree = make_pipeline(mixed, TREE)
    log = LOG.assign(reward=10 * (LOG["stage"] == "II") + LOG["heat"] / 100)
    encoder = StateEncoder(tree, state=["stage", "heat"], fit_on="state", n_states=4)
    encoder = encoder.fit(log, log["reward"])
    table, states = encoder.describe_states(), states_of(encoder, log)["state"]
    groups = log["stage"].groupby(states)
    assert_array_equal(table["stage_label"], groups.agg(lambda s: s.mode()[0]))
    shares = groups.agg(lambda s: (s == s.mode()[0]).mean())
    assert_allclose(table["stage_share"], shares)
    assert {"heat_q25", "heat_median", "heat_q75"} < set(table.columns)


def test_components_keep_the_names_that_they_have():
    components = make_pipeline(
        PCA(2), FunctionTransformer(np.round, feature_names_out="one-to-one")
    )
    table = StateEncoder(components, state=STATE).fit(LOG.round(-1)).describe_states()
    assert table.columns[:4].tolist() == ["pca0", "pca1", "n_rows", "heat_q25"]
    assert table["n_rows"].sum() == len(LOG)


# -------------------------------------------------------------------------------------- of labels


@pytest.mark.parametrize("library", AS)
def test_a_label_encoded_alone_is_the_label(library):
    encoder = StateEncoder(OrdinalEncoder(), state=["stage", "grade"])
    log = LOG.assign(grade=np.arange(len(LOG)) % 3 * 10)[["stage", "grade", "action"]]
    encoder = encoder.fit(AS[library](log))
    table = encoder.describe_states()
    assert table["stage_label"].tolist() == [x for x in ("I", "II", "III") for _ in range(3)]
    assert table["grade_label"].tolist() == [0, 10, 20] * 3  # numbers are labels here
    assert (table[["stage_share", "grade_share"]] == 1).all(axis=None)


def test_labels_that_share_a_code_are_told_by_the_most_frequent():
    stages = ["a"] * 50 + ["b"] * 3 + ["c"] * 3 + ["d"] * 2
    log = pd.DataFrame({"stage": stages, "action": 0})
    encoder = StateEncoder(OrdinalEncoder(max_categories=2), state="stage")
    for rows in (log, log[::-1]):
        table = encoder.fit(rows).describe_states()
        assert table["stage_label"].tolist() == ["a", "b"]  # c is as frequent, and comes later
        assert_allclose(table["stage_share"], [1, 3 / 8])


# ------------------------------------------------------------------------------- missing values


def test_missing_measurements_are_left_out():
    """A tree puts them into leaves of their own, or among others."""
    n = 300
    x = np.where(np.arange(n) % 3 == 0, np.nan, np.arange(n, dtype=float))
    target = np.where(np.isnan(x), -1000.0, x)
    log = pd.DataFrame({"x": x, "action": 0, "reward": target})
    encoder = StateEncoder(TREE, state="x", fit_on="state", method="apply").fit(log, target)
    table, leaves = encoder.describe_states(), states_of(encoder, log)["state"]
    alone = table["x_median"].isna()
    assert alone.sum() == 1
    assert set(leaves[np.isnan(x)]) == set(table["state"][alone])
    assert table["n_rows"][alone].tolist() == [100]
    assert_allclose(table.set_index("state")["x_median"], log["x"].groupby(leaves).median())


def test_a_missing_label_is_a_label():
    log = pd.DataFrame({"stage": ["b", np.nan, "a", np.nan, "b"], "action": 0})
    table = StateEncoder(OrdinalEncoder(encoded_missing_value=-1), state="stage").fit(log)
    labels = table.describe_states()["stage_label"].tolist()
    assert labels[1:] == ["a", "b"]
    assert pd.isna(labels[0])


def test_missing_states_come_last():
    """Arrays may hold them; a policy would refuse them."""
    X = np.array([[1.0, np.nan], [0.0, 2.0], [np.nan, 1.0], [1.0, np.nan], [0.0, np.nan]])
    table = StateEncoder(FunctionTransformer()).fit(X).describe_states()
    assert_array_equal(table[["x0", "x1"]], [[0, 2], [0, np.nan], [1, np.nan], [np.nan, 1]])
    assert table["n_rows"].tolist() == [1, 1, 2, 1]


# ---------------------------------------------------------------------------------------- arrays


def test_columns_of_arrays_are_numbered():
    X = LOG[STATE].to_numpy()
    table = StateEncoder(TEN).fit(X).describe_states()
    assert " ".join(table.columns) == "x0 x1 n_rows x0_min x0_max x1_min x1_max"
    named = StateEncoder(TEN, state=STATE).fit(LOG[STATE]).describe_states()
    assert_array_equal(table, named)
    clusters = StateEncoder(KMeans(3, random_state=0)).fit(X).describe_states()
    assert clusters.columns[:3].tolist() == ["state", "n_rows", "x0_q25"]
    features = StateEncoder(TEN).fit(LOG[STATE]).describe_states()
    assert features.columns[:4].tolist() == ["heat", "wear", "n_rows", "heat_min"]
    assert_array_equal(features, named)


def test_a_transformer_that_names_nothing_has_numbered_columns():
    both = make_pipeline(FunctionTransformer(lambda X: X[:, :1] // 10), KMeans(2, random_state=0))
    first = FunctionTransformer(lambda X: X[:, :1] // 10)
    X = LOG[STATE].to_numpy()
    assert StateEncoder(first).fit(X).describe_states().columns[0] == "x0"
    assert StateEncoder(both).fit(X).describe_states()["n_rows"].sum() == len(X)
    kept = make_pipeline(FunctionTransformer(lambda X: X // 10), TEN)
    table = StateEncoder(kept).fit(X).describe_states()
    assert (table["x0_max"] // 10 == table["x0_min"] // 10).any()


# ----------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"rounded", "leaves"}))  # no lambdas, trees
def test_what_is_kept_does_not_grow_with_the_rows(kind):
    frozen = FrozenEstimator(fitted(KINDS[kind], LOG).transformer_)
    names = KINDS[kind].state
    once, often = (
        len(pickle.dumps(StateEncoder(frozen, state=names).fit(log)))
        for log in (LOG, pd.concat([LOG] * 50))
    )
    assert often < once + 200


def test_it_survives_being_stored_and_is_not_cloned():
    encoder = fitted(KINDS["clusters"], LOG)
    stored = pickle.loads(pickle.dumps(encoder))
    pd.testing.assert_frame_equal(stored.describe_states(), encoder.describe_states())
    with pytest.raises(NotFittedError):
        clone(encoder).describe_states()


def test_states_of_single_rows_are_not_kept():
    n = 1001
    log = pd.DataFrame({"x": np.random.default_rng(0).normal(size=n), "action": 0})
    scaled = StateEncoder(StandardScaler(), state="x")
    with pytest.raises(ValueError, match=r"more than 1000, and most hold a single row.*Make fewer"):
        scaled.fit(log).describe_states()
    assert len(scaled.fit(log[1:]).describe_states()) == n - 1  # few enough
    doubled = pd.concat([log, log])
    assert (scaled.fit(doubled).describe_states()["n_rows"] == 2).all()
    assert len(StateEncoder(state="x").fit(log).describe_states()) < n  # the remedy


def test_no_name_is_lost_to_another():
    log = pd.DataFrame({"n_rows": [0.0, 1, 2, 3], "x": [1.0, 2, 3, 4], "x_min": [0.0, 0, 1, 1]})
    halves = KBinsDiscretizer(2, encode="ordinal", strategy="uniform")
    table = StateEncoder(halves, state=["n_rows", "x", "x_min"]).fit(log).describe_states()
    assert table.columns[:4].tolist() == ["state_n_rows", "x", "state_x_min", "n_rows"]
    assert {"n_rows_min", "x_min", "x_min_min"} < set(table.columns)
    assert table.columns.is_unique

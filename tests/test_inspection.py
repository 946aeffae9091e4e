import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OrdinalEncoder,
    StandardScaler,
)

from skmdp import MarkovPolicyEstimator
from skmdp._pipelines import unwrap
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import markov_test, policy_table, supported
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder

LOG = pd.DataFrame(
    {
        "state": [0, 0, 0, 1, 2, 2, 2],
        "action": ["a", "b", "b", "c", "b", "c", "c"],
        "next_state": [1, 9, 9, 9, 9, 9, 9],
        "reward": [5.0, 1.0, 1.0, 0.0, 2.0, 2.0, 2.0],
    }
)


def test_one_row_per_state_with_logged_actions():
    table = policy_table(MarkovPolicyEstimator().fit(LOG))
    expected = pd.DataFrame(
        {
            "state": [0, 1, 2],
            "action": ["a", "c", "c"],
            "value": [5.0, 0.0, 2.0],
            "margin": [4.0, np.nan, 0.0],
            "state_visits": [3.0, 1.0, 3.0],
            "action_visits": [1.0, 1.0, 2.0],
            "most_logged_action": ["b", "c", "c"],
        }
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_visits_are_weighted():
    table = policy_table(MarkovPolicyEstimator().fit(LOG, sample_weight=[3, 1, 1, 2, 1, 1, 1]))
    assert_array_equal(table["state_visits"], [5, 2, 3])
    assert_array_equal(table["action_visits"], [3, 2, 2])
    assert_array_equal(table["most_logged_action"], ["a", "c", "c"])


def test_untried_actions_have_no_visits():
    policy = MarkovPolicyEstimator(untried="uniform").fit(LOG)
    table = policy_table(policy).set_index("state")
    advised = [policy.policy_map()[state] for state in table.index]
    assert_array_equal(table["action"], advised)
    assert table.loc[1, "action"] == "a"
    assert table.loc[1, "action_visits"] == 0
    assert table.loc[1, "margin"] == 0  # b was not tried either
    assert table.loc[0, "margin"] == pytest.approx(table.loc[0, "value"] - policy.q_values_[0, 2])


def test_several_state_columns_keep_their_names_unless_taken():
    log = LOG.assign(value=list("xxxyxyy")).drop(columns="next_state")
    policy = MarkovPolicyEstimator(state=["state", "value"]).fit(log.assign(episode=range(7)))
    table = policy_table(policy)
    assert table.columns[:3].tolist() == ["state", "state_value", "action"]
    assert list(zip(table["state"], table["state_value"], strict=True)) == list(policy.policy_map())


def test_no_state_column_is_lost_to_a_name():
    log = LOG.assign(value=list("xxxyxyy")).drop(columns="next_state")
    log = log.rename(columns={"state": "state_value"}).assign(episode=range(7))
    table = policy_table(MarkovPolicyEstimator(state=["value", "state_value"]).fit(log))
    assert table.columns[:3].tolist() == ["state_state_value", "state_value", "action"]
    assert table.shape[1] == 8


def test_several_untried_actions_tie():
    log = pd.DataFrame({"state": [0, 1, 2], "action": list("abc"), "next_state": 3})
    policy = MarkovPolicyEstimator(untried="uniform").fit(log.assign(reward=[-9.0, 5.0, 5.0]))
    table = policy_table(policy).set_index("state")
    assert table["action"][0] == "b"
    assert table["margin"][0] == 0


def test_features_without_names_are_numbered():
    policy = MarkovPolicyEstimator().fit([[0, 1], [1, 0]], ["a", "b"])
    assert policy_table(policy).columns[:2].tolist() == ["x0", "x1"]


def test_policy_must_be_fitted():
    with pytest.raises(NotFittedError):
        policy_table(MarkovPolicyEstimator())


# ------------------------------------------------------------------------------------- supported

THIN = pd.DataFrame(
    {
        "state": ["a", "a", "a", "b", "b"],
        "action": ["x", "x", "y", "x", "y"],
        "next_state": ["b", "b", "end", None, "a"],
        "reward": [1, 2, 0, 5, 0],
    }
)


def test_support_of_states_of_every_sort():
    policy = MarkovPolicyEstimator(min_count=2, handle_unknown="most_frequent").fit(THIN)
    X = pd.DataFrame({"state": ["b", "a", "end", "new"]}, index=[7, 8, 9, 10])
    support = supported(policy, X)
    assert support.index.tolist() == [7, 8, 9, 10]
    assert support["action"].tolist() == policy.predict(X).tolist() == ["x"] * 4
    assert support["action_visits"].tolist() == [1, 2, 0, 0]
    assert support["state_visits"].tolist() == [2, 3, 0, 0]
    # In b nothing was logged twice, so its most logged action stays admissible.
    assert support["is_admissible"].tolist() == [True, True, False, False]
    assert support["is_known"].tolist() == [True, True, True, False]


def test_untried_actions_are_admissible_where_they_may_be_chosen():
    table = THIN.iloc[[0, 1, 2, 3]].assign(reward=[1, 2, 50, -5])
    policy = MarkovPolicyEstimator(untried="uniform").fit(table)
    support = supported(policy, ["b", "end"])
    assert support["action"].tolist() == ["y", "x"]
    assert support["action_visits"].tolist() == [0, 0]
    assert support["is_admissible"].tolist() == [True, False]


def test_unknown_states_warn_as_in_predict():
    with pytest.warns(UserWarning, match="not seen in fit"):
        supported(MarkovPolicyEstimator().fit(THIN), ["new"])


# ----------------------------------------------------------------------- states behind an encoder

COLUMNS = ["action", "value", "margin", "state_visits", "action_visits", "most_logged_action"]
TEN = KBinsDiscretizer(10, encode="ordinal", strategy="uniform", subsample=None)


def make_log(seed=0, n=600):
    """Return a log of two measurements and a label; each tenth row ends an episode."""
    rng = np.random.default_rng(seed)
    log = pd.DataFrame(
        {
            "episode": np.arange(n) // 10,
            "wear": rng.uniform(0, 100, n),
            "heat": rng.normal(0, 0.01, n),
            "kind": rng.choice(["new", "old"], n),
            "action": rng.choice(["run", "fix"], n),
            "terminated": np.arange(n) % 10 == 9,
        }
    )
    log["reward"] = np.where(log["action"] == "run", 50 - log["wear"], 0.0)
    return log


MEASURED = make_log()
ASKED = make_log(1)[["wear", "heat", "kind"]]


def policy(*state, **parameters):
    return MarkovPolicyEstimator(state=list(state), handle_unknown="most_frequent", **parameters)


def behind(encoder, *state):
    return make_pipeline(encoder, policy(*state)).fit(MEASURED)


def plain_table(pipe):
    """The table of the last step alone, whose states are the codes."""
    return policy_table(unwrap(pipe)[1])


ENCODED = {
    "bins": lambda: behind(StateEncoder(state="wear", n_states=8), "wear"),
    "bins of two": lambda: behind(StateEncoder(state=["wear", "heat"], n_states=9), "wear", "heat"),
    "bins and a label": lambda: behind(StateEncoder(state="wear", n_states=8), "wear", "kind"),
    "one of two": lambda: behind(StateEncoder(state=["wear", "heat"], n_states=9), "heat"),
    "scaled": lambda: behind(
        StateEncoder(make_pipeline(StandardScaler(), TEN), state="wear"), "wear"
    ),
    "clusters": lambda: behind(
        StateEncoder(KMeans(5, random_state=0), state=["wear", "heat"]), "state"
    ),
    "labels": lambda: behind(StateEncoder(OrdinalEncoder(), state="kind"), "kind"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_only_the_states_look_otherwise(name):
    pipe = ENCODED[name]()
    table, plain = policy_table(pipe), plain_table(pipe)
    pd.testing.assert_frame_equal(table[COLUMNS], plain[COLUMNS])
    assert table["state_visits"].sum() == len(MEASURED)


@pytest.mark.parametrize("name", ["bins", "bins of two", "bins and a label", "one of two"])
def test_the_table_of_bins_is_the_policy(name):
    """A new measurement lies in the ranges of one row, and that row says what is advised there."""
    pipe = ENCODED[name]()
    table = policy_table(pipe)
    asked = ASKED[(ASKED["wear"] < 45) | (ASKED["wear"] > 55)]  # borders are rounded there
    advised = pd.Series(pipe.predict(asked), index=asked.index)
    n_found = 0
    for row in table.itertuples():
        inside = np.ones(len(asked), dtype=bool)
        for column in set(table.columns) - set(COLUMNS):
            shown = getattr(row, column)
            if isinstance(shown, pd.Interval):
                assert shown.closed == "left"
                values = asked[column]
                # Borders have three digits of the narrowest bin.
                nearby = 0.005 * (100 if column == "wear" else 0.1)
                inside &= (shown.left + nearby < values) & (values < shown.right - nearby)
            else:
                inside &= (asked[column] == shown).to_numpy()
        assert (advised[inside] == row.action).all()
        n_found += inside.sum()
    assert n_found > 0.8 * len(asked)


def test_borders_are_those_of_the_encoder_to_three_digits():
    pipe = ENCODED["bins of two"]()
    table, described = policy_table(pipe), pipe[0].describe_states()
    plain = plain_table(pipe)
    for name, unit in (("wear", 0.1), ("heat", 1e-4)):
        ends = described.groupby(name)[[f"{name}_min", f"{name}_max"]].first()
        shown = table[name].array
        inner = np.isfinite(shown.left)
        assert_allclose(
            shown.left[inner], ends[f"{name}_min"][plain[name][inner]], atol=0.51 * unit
        )
        assert_allclose(shown.left[inner] / unit, np.round(shown.left[inner] / unit), rtol=1e-9)
        assert_array_equal(shown.left[~inner], -np.inf)
        # What ends one range begins the next.
        assert set(shown.right) - {np.inf} == set(shown.left) - {-np.inf}


@given(
    st.lists(st.floats(2**-10, 2**10, width=32), min_size=6, max_size=30, unique=True).filter(
        lambda values: np.diff(np.sort(values)).min() > 1e-4
    )
)
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rounded_ranges_stay_apart_and_in_order(values):
    bins = KBinsDiscretizer(
        4, encode="ordinal", strategy="quantile", quantile_method="averaged_inverted_cdf"
    )
    log = pd.DataFrame({"x": values, "action": 0, "reward": 1.0, "next_x": np.nan})
    pipe = make_pipeline(StateEncoder(bins, state="x"), policy("x")).fit(log)
    table = policy_table(pipe)
    assert table["x"].is_unique
    assert_array_equal(table["x"].sort_values().index, table.index)
    exact = pipe[0].describe_states()
    widths = np.diff(exact["x_min"][1:])
    shown = table["x"].array.left[1:]
    assert (np.abs(shown - exact["x_min"][1:]) <= 0.006 * widths.min(initial=np.inf)).all()


def test_ranges_go_to_files_as_text():
    table = policy_table(ENCODED["bins"]())
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert read["wear"][0].startswith("[-inf, ")
    assert read["wear"].tolist() == table["wear"].astype(str).tolist()
    assert read["wear"].iloc[-1].endswith(", inf)")


def test_scaled_bins_have_the_range_of_their_rows():
    pipe = ENCODED["scaled"]()
    shown = policy_table(pipe)["wear"].array
    codes = pipe[:-1].transform(MEASURED)["wear"]
    groups = MEASURED["wear"].groupby(codes)
    assert shown.closed == "both"
    assert_allclose(shown.left, groups.min(), atol=0.006)
    assert_allclose(shown.right, groups.max(), atol=0.006)


def test_clusters_are_followed_by_the_quartiles_of_each_column():
    pipe = ENCODED["clusters"]()
    table, described = policy_table(pipe), pipe[0].describe_states()
    assert table.columns.tolist() == ["state", "wear", "heat", *COLUMNS]
    assert_array_equal(table["state"], described["state"])
    for name, unit in (("wear", 0.1), ("heat", 1e-4)):
        assert table[name].array.closed == "both"
        assert_allclose(table[name].array.left, described[f"{name}_q25"], atol=unit)
        assert_allclose(table[name].array.right, described[f"{name}_q75"], atol=unit)
        shown = table[name].array.left / unit  # digits of what all of them span
        assert_allclose(shown, np.round(shown), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*states hold a single row:UserWarning")
def test_columns_made_of_several_together_stay_side_by_side():
    components = make_pipeline(
        StandardScaler(), PCA(2), FunctionTransformer(np.round, feature_names_out="one-to-one")
    )
    encoder = StateEncoder(components, state=["wear", "heat"])
    table = policy_table(behind(encoder, "kind", "pca0", "pca1"))
    assert table.columns.tolist() == ["kind", "pca0", "pca1", "wear", "heat", *COLUMNS]
    table = policy_table(behind(encoder, "pca1", "pca0"))
    assert table.columns.tolist() == ["pca1", "pca0", "wear", "heat", *COLUMNS]
    # One of them alone does not tell the state of the encoder.
    table = policy_table(behind(encoder, "pca1"))
    assert table.columns.tolist() == ["pca1", *COLUMNS]


def test_large_borders_keep_their_whole_part():
    log = MEASURED.assign(wear=12345.6 + 1000 * MEASURED["wear"])
    halves = KBinsDiscretizer(3, encode="ordinal", strategy="uniform")
    pipe = make_pipeline(StateEncoder(halves, state="wear"), policy("wear")).fit(log)
    border = pipe[0].describe_states()["wear_min"][1]
    assert policy_table(pipe)["wear"].array.left[1] == np.round(border)


def test_labels_are_labels_again():
    assert policy_table(ENCODED["labels"]())["kind"].tolist() == ["new", "old"]


def test_labels_beside_measurements_stay():
    table = policy_table(ENCODED["bins and a label"]())
    assert table["kind"].tolist() == ["new", "old"] * 8
    assert isinstance(table["wear"].dtype, pd.IntervalDtype)


def test_each_encoder_of_several_tells_what_it_made():
    pipe = make_pipeline(
        StateEncoder(state="wear", n_states=3),
        FrozenEstimator(StateEncoder(KMeans(2, random_state=0), state="heat").fit(MEASURED)),
        "passthrough",
        policy("kind", "wear", "state"),
    ).fit(MEASURED)
    table = policy_table(pipe)
    assert table.columns[:4].tolist() == ["kind", "wear", "state", "heat"]
    assert table["wear"].array.closed == "left"
    assert table["heat"].array.closed == "both"
    assert set(table["state"]) == {0, 1}


def test_codes_that_were_encoded_again_are_those_of_the_second_encoder():
    """Its measurements are codes, and are not taken for what the first one measured."""
    pipe = make_pipeline(
        StateEncoder(state="wear", n_states=8),
        StateEncoder(KBinsDiscretizer(2, encode="ordinal", strategy="uniform"), state="wear"),
        policy("wear"),
    ).fit(MEASURED)
    assert policy_table(pipe)["wear"].astype(str).tolist() == ["[-inf, 3.5)", "[3.5, inf)"]


def test_what_follows_an_encoder_may_change_its_states():
    swap = FunctionTransformer(lambda table: table.assign(wear=7 - table["wear"]))
    pipe = make_pipeline(StateEncoder(state="wear", n_states=8), swap, policy("wear")).fit(MEASURED)
    pd.testing.assert_frame_equal(policy_table(pipe), plain_table(pipe))


def test_states_of_other_transformers_stay_as_they_are():
    halves = FunctionTransformer(lambda table: table.assign(wear=table["wear"] // 50))
    pipe = make_pipeline(halves, policy("wear")).fit(MEASURED)
    assert policy_table(pipe)["wear"].tolist() == [0, 1]


def test_an_encoder_fitted_elsewhere_knows_the_borders_of_all_its_bins():
    """It saw no row above 45, so that its description lacks states that the policy knows."""
    low = MEASURED[MEASURED["wear"] < 45]
    bins = make_pipeline(SimpleImputer(), TEN).fit(MEASURED[["wear"]])
    clusters = KMeans(4, random_state=0).fit(MEASURED[["wear"]])
    encoder = StateEncoder(FrozenEstimator(bins), state="wear").fit(low)
    assert len(encoder.describe_states()) < 10
    table = policy_table(make_pipeline(FrozenEstimator(encoder), policy("wear")).fit(MEASURED))
    assert len(table) == 10
    assert table["wear"].notna().all()
    encoder = StateEncoder(FrozenEstimator(clusters), state="wear").fit(low)
    table = policy_table(make_pipeline(FrozenEstimator(encoder), policy("state")).fit(MEASURED))
    unseen = table["wear"].isna()
    assert unseen.any()
    assert_array_equal(~unseen, table["state"].isin(encoder.describe_states()["state"]))


def test_a_measurement_without_spread_has_a_range():
    """All rows hold one value, so the quartiles of each cluster are the same."""
    log = MEASURED.assign(heat=2500.0, zero=0.0)
    encoder = StateEncoder(KMeans(3, random_state=0), state=["wear", "heat", "zero"])
    table = policy_table(make_pipeline(encoder, policy("state")).fit(log))
    assert set(table["heat"]) == {pd.Interval(2500, 2500, "both")}
    assert set(table["zero"]) == {pd.Interval(0, 0, "both")}


def test_names_that_the_table_needs_are_set_apart():
    log = MEASURED.rename(columns={"wear": "value", "heat": "state"})
    encoder = StateEncoder(KMeans(3, random_state=0), state=["value", "state"])
    table = policy_table(make_pipeline(encoder, policy("state")).fit(log))
    assert table.columns.tolist() == ["state_state", "state_value", "state", *COLUMNS]
    assert set(table["state_state"]) == {0, 1, 2}


@pytest.mark.parametrize("named", [False, True])
def test_arrays_of_states_are_found_by_position(named):
    X, y = MEASURED[["wear", "heat"]], MEASURED["action"]
    X = X if named else X.to_numpy()
    first, second = ["wear", "heat"] if named else ["x0", "x1"]
    table = policy_table(make_pipeline(StateEncoder(), MarkovPolicyEstimator()).fit(X, y))
    assert table.columns.tolist() == [first, second, *COLUMNS]
    assert table[first].array.closed == "left"
    assert set(table[first].array.right) - {np.inf} == set(table[first].array.left) - {-np.inf}
    clusters = StateEncoder(KMeans(4, random_state=0))
    for pipe in (
        make_pipeline(clusters, MarkovPolicyEstimator()),
        make_pipeline(StandardScaler(), clusters, MarkovPolicyEstimator()),
        make_pipeline(StateEncoder(), clusters, MarkovPolicyEstimator()),
    ):
        table = policy_table(pipe.fit(X, y))
        assert len(table) == 4
        ranges = table.columns[1:3]
        assert all(table[name].array.closed == "both" for name in ranges)


# -------------------------------------------------------------------------- whatever wraps them


def wrapped(pipe):
    """Everything that answers as a fitted pipeline does."""
    encoder, last = unwrap(pipe)[0][0], unwrap(pipe)[1]
    search = GridSearchCV(pipe, {}, cv=EpisodeKFold(2), scoring=lambda *_: 0.0).fit(MEASURED)
    return {
        "frozen": FrozenEstimator(pipe),
        "search": search,
        "frozen search": FrozenEstimator(search),
        "nested": Pipeline([("outer", Pipeline([("inner", pipe)]))]),
        "pipeline of encoders": Pipeline(
            [("encoders", Pipeline([("none", "passthrough"), ("one", encoder)])), ("policy", last)]
        ),
        "encoders before nothing": Pipeline(
            [("encoders", Pipeline([("one", encoder), ("none", None)])), ("policy", last)]
        ),
        "frozen encoder": Pipeline([("encoder", FrozenEstimator(encoder)), ("policy", last)]),
    }


@pytest.mark.parametrize("name", ["bins of two", "clusters"])
def test_what_wraps_a_pipeline_changes_nothing(name):
    pipe = ENCODED[name]()
    table, support = policy_table(pipe), supported(pipe, ASKED)
    tested = markov_test(MEASURED, "kind", policy=pipe, random_state=0)
    assert_array_equal(support["action"], pipe.predict(ASKED))
    for other in wrapped(pipe).values():
        pd.testing.assert_frame_equal(policy_table(other), table)
        pd.testing.assert_frame_equal(supported(other, ASKED), support)
        found = markov_test(MEASURED, "kind", policy=other, random_state=0)
        pd.testing.assert_frame_equal(found, tested)


@pytest.mark.parametrize("name", ["bins of two", "clusters"])
def test_an_ensemble_behind_an_encoder_is_read_as_one_policy(name):
    pipe = ENCODED[name]()
    encoder, last = pipe[0], clone(pipe[-1])
    ensemble = make_pipeline(encoder, PolicyBagging(last, 3, bootstrap=True, random_state=0))
    ensemble.fit(MEASURED)
    table, single = policy_table(ensemble), policy_table(pipe)
    states = [column for column in single.columns if column not in COLUMNS]
    assert table.columns.tolist() == single.columns.tolist()
    merged = table.merge(single[states], how="left", on=states, indicator=True)
    assert (merged["_merge"] == "both").all()
    assert_array_equal(supported(ensemble, ASKED)["action"], ensemble.predict(ASKED))
    found = markov_test(MEASURED, "kind", policy=ensemble, random_state=0)
    expected = markov_test(MEASURED, "kind", policy=pipe, random_state=0)
    pd.testing.assert_frame_equal(found, expected)


def test_an_ensemble_of_pipelines_is_asked_row_by_row():
    member = make_pipeline(StateEncoder(state="wear", n_states=8, shift_bins=True), policy("wear"))
    ensemble = PolicyBagging(member, 3, random_state=0).fit(MEASURED)
    for whole in (ensemble, FrozenEstimator(ensemble), Pipeline([("only", ensemble)])):
        support = supported(whole, ASKED)
        assert_array_equal(support["action"], ensemble.predict(ASKED))
        members = [supported(one, ASKED) for one in ensemble.estimators_]
        visits = np.mean([one["state_visits"] for one in members], axis=0)
        assert_allclose(support["state_visits"], visits)
        with pytest.raises(TypeError, match=r"make states of their own.*no table"):
            policy_table(whole)
        with pytest.raises(TypeError, match=r"make states of their own.*no states to test"):
            markov_test(MEASURED, policy=whole)
    with pytest.raises(TypeError, match=r"make states of their own.*no states to test"):
        markov_test(MEASURED, policy=clone(ensemble))
    changed = clone(ensemble).fit(MEASURED).set_params(estimator=policy("kind"))
    with pytest.raises(TypeError, match="no states to test"):  # what was fitted counts
        markov_test(MEASURED, policy=changed)
    tables = [policy_table(one) for one in ensemble.estimators_]
    assert not tables[0]["wear"].equals(tables[1]["wear"])  # borders lie in different places


def test_an_ensemble_names_columns_before_it_is_fitted():
    ensemble = PolicyBagging(policy("kind"), 2, bootstrap=True, random_state=0)
    expected = markov_test(MEASURED, columns={"state": "kind"}, random_state=0)
    for one in (ensemble, clone(ensemble).fit(MEASURED)):
        found = markov_test(MEASURED, policy=one, random_state=0)
        pd.testing.assert_frame_equal(found, expected)

"""Policies at home in scikit-learn: pipelines, searches, splits, routing, stores."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
import skops.io
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # by being imported
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.utils import estimator_html_repr

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import evaluate_policy, judge_encodings, policy_scorer
from skmdp.model_selection import (
    EpisodeKFold,
    EpisodeShuffleSplit,
    most_trusted,
    train_test_split_episodes,
)
from skmdp.preprocessing import StateEncoder

STATE = ["wear", "dust"]


def make_log(n_episodes=120, length=8, seed=0):
    """Return a log of machines that wear: run earns 1 but costs 6 when worn, service resets.

    Dust means nothing. Episodes are cut off by the record: their last row leads on.
    """
    rng = np.random.default_rng(seed)
    wear, rows = rng.uniform(0, 1, n_episodes), []
    for step in range(length):
        action = rng.choice(["run", "service"], size=n_episodes, p=[0.7, 0.3])
        run = action == "run"
        after = np.where(run, wear + rng.uniform(0.1, 0.3, n_episodes), 0.0)
        reward = np.where(run, np.where(wear > 0.8, -6.0, 1.0), -0.5)
        dust, next_dust = rng.uniform(size=(2, n_episodes))
        rows.append(
            pd.DataFrame(
                {
                    "episode": np.arange(n_episodes),
                    "step": step,
                    "wear": wear,
                    "dust": dust,
                    "action": action,
                    "next_wear": after,
                    "next_dust": next_dust,
                    "reward": reward,
                }
            )
        )
        wear = after
    return pd.concat(rows).sort_values(["episode", "step"], ignore_index=True)


LOG = make_log()
TEST = make_log(seed=1)
PIPE = make_pipeline(
    StateEncoder(KBinsDiscretizer(4, encode="ordinal", strategy="uniform"), state=["wear"]),
    MarkovPolicyEstimator(state=["wear"], gamma=0.95, handle_unknown="most_frequent"),
)
FITTED = clone(PIPE).fit(LOG)
GRID = {"stateencoder__transformer__n_bins": [2, 6], "markovpolicyestimator__gamma": [0.5, 0.95]}


def test_a_pipeline_learns_to_service_what_is_worn():
    assert_array_equal(FITTED.predict([[0.1], [1.0]]), ["run", "service"])
    assert FITTED.score(TEST) > TEST["reward"].sum() / TEST["episode"].nunique() + 3


# ---------------------------------------------------------------------------------------- searches


@pytest.mark.parametrize(
    ("routing", "convert"),
    [
        (False, lambda t: t),
        (True, lambda t: t),
        (False, pl.from_pandas),
        (True, pa.Table.from_pandas),
    ],
)
def test_grid_search_on_tables(routing, convert):
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(PIPE, GRID, cv=EpisodeKFold(3), error_score="raise", n_jobs=1)
        search.fit(convert(LOG))
    assert search.best_params_["stateencoder__transformer__n_bins"] == 6
    assert search.score(convert(TEST)) > FITTED.score(TEST) - 1
    assert_array_equal(search.predict(convert(LOG[STATE])), search.best_estimator_.predict(LOG))


def test_two_processes_find_the_same():
    searches = [
        GridSearchCV(PIPE, GRID, cv=EpisodeKFold(3), error_score="raise", n_jobs=n_jobs).fit(LOG)
        for n_jobs in (1, 2)
    ]
    one, two = (search.cv_results_["mean_test_score"] for search in searches)
    assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore:X lacks:UserWarning")  # folds of folds are small
@pytest.mark.filterwarnings("ignore:In .* a row of X does not lead to:UserWarning")  # halving
@pytest.mark.parametrize("routing", [False, True])
def test_other_searches_and_nested_ones(routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        _search_in_other_ways()


def _search_in_other_ways():
    options = {"cv": EpisodeShuffleSplit(2, random_state=0), "error_score": "raise"}
    random = RandomizedSearchCV(PIPE, GRID, n_iter=2, random_state=0, **options).fit(LOG)
    assert np.isfinite(random.cv_results_["mean_test_score"]).all()
    nested = cross_val_score(GridSearchCV(PIPE, GRID, **options), LOG, cv=EpisodeKFold(2))
    assert (nested > LOG["reward"].sum() / 120).all()
    # Halving drops rows, not episodes; where next states are given each row still tells its own.
    halving = HalvingGridSearchCV(
        PIPE, GRID, cv=EpisodeKFold(2), random_state=0, error_score="raise", min_resources=400
    ).fit(LOG)
    assert halving.best_params_ in list(halving.cv_results_["params"])


def test_halving_of_inferred_next_states_is_refused_where_steps_tell():
    log = LOG.drop(columns=["next_wear", "next_dust"])
    halving = HalvingGridSearchCV(
        PIPE, GRID, cv=EpisodeKFold(2), random_state=0, error_score="raise", min_resources=400
    )
    with pytest.raises(ValueError, match=r"follows step .*If rows are missing"):
        halving.fit(log)


@pytest.mark.parametrize("splitter", [EpisodeKFold(3), EpisodeShuffleSplit(3, random_state=0)])
def test_cross_validate_with_groups_or_episodes(splitter):
    by_column = cross_validate(PIPE, LOG, cv=splitter)["test_score"]
    with sklearn.config_context(enable_metadata_routing=True):
        by_groups = cross_validate(
            PIPE, LOG, cv=splitter, params={"groups": LOG["episode"]}, error_score="raise"
        )["test_score"]
    assert_array_equal(by_groups, by_column)


def test_fewer_episodes_than_folds():
    with pytest.raises(ValueError, match=r"n_splits=5 folds need at least 5 episodes, .* are 3"):
        GridSearchCV(PIPE, GRID, cv=EpisodeKFold(5)).fit(LOG[LOG["episode"] < 3])


@pytest.mark.filterwarnings("ignore:.*would last longer than any in X:UserWarning")
@pytest.mark.filterwarnings("ignore:X lacks:UserWarning")
@pytest.mark.filterwarnings("ignore:Nothing in X says how:UserWarning")  # the machines run on
@pytest.mark.filterwarnings("ignore:.*stand in the training log too:UserWarning")
def test_a_splitter_that_cuts_episodes_changes_what_is_scored():
    """Why EpisodeKFold: of episodes in pieces each piece earns little."""
    table = LOG.drop(columns=["step", "next_wear", "next_dust"]).assign(reward=1.0)
    whole = cross_val_score(PIPE, table, cv=EpisodeKFold(3))
    cut = cross_val_score(PIPE, table, cv=KFold(3, shuffle=True, random_state=0))
    assert (whole > 7).all()  # a reward of 1 for each of some 8 rows
    assert (cut < 4).all()


@pytest.mark.filterwarnings("ignore:Of every policy more than:UserWarning")
def test_a_search_for_the_most_trusted():
    search = GridSearchCV(
        PIPE,
        {"stateencoder__transformer__n_bins": [2, 6, 12]},
        cv=EpisodeKFold(3),
        scoring=judge_encodings,
        refit=most_trusted(tolerance=0.2),
        error_score="raise",
    ).fit(LOG)
    figures = ("score", "fqe", "unsupported", "n_states")
    score, fqe, unsupported, sizes = (search.cv_results_[f"mean_test_{name}"] for name in figures)
    assert sizes[0] < sizes[1] < sizes[2]
    assert ((unsupported >= 0) & (unsupported <= 1)).all()
    assert (fqe != score).all()
    assert search.best_index_ == most_trusted(tolerance=0.2)(search.cv_results_)
    assert (
        len(search.best_estimator_[-1].states_)
        == judge_encodings(search.best_estimator_, LOG)["n_states"]
    )
    bag = PolicyBagging(PIPE, 2, bootstrap=True, random_state=0).fit(LOG)
    assert 3 <= judge_encodings(bag, LOG)["n_states"] <= 4
    with pytest.raises(TypeError, match="KBinsDiscretizer has no states to count"):
        judge_encodings(KBinsDiscretizer(), LOG)


def test_a_score_on_measurements_is_what_it_is_made_of():
    """The smaller value less a standard deviation of the rewards for each unsupported decision."""
    bag = PolicyBagging(PIPE, 2, bootstrap=True, random_state=0)
    other = make_log(seed=1)
    for policy in (clone(PIPE).fit(other), bag.fit(other)):
        judged = judge_encodings(policy, LOG)
        evaluated = evaluate_policy(policy, LOG, methods="fqe")
        assert judged["fqe"] == pytest.approx(evaluated.to_frame()["value"][0])
        assert judged["unsupported"] == pytest.approx(evaluated.unsupported_share)
        decisions = 8  # the records are cut off
        unknown = judged["unsupported"] * decisions * LOG["reward"].std(ddof=0)
        expected = min(judged["score"], judged["fqe"]) - unknown
        assert policy.score(LOG) == pytest.approx(expected)


def test_an_encoder_before_an_ensemble_hands_measurements_on():
    alone, inside = (
        make_pipeline(clone(PIPE[0]), last).fit(LOG)
        for last in (clone(PIPE[1]), PolicyBagging(PIPE[1], 1, bootstrap=False, random_state=0))
    )
    assert inside.score(LOG) == pytest.approx(alone.score(LOG))
    assert judge_encodings(inside, LOG) == pytest.approx(judge_encodings(alone, LOG))


def test_weighted_logs_are_scored_in_states_alone():
    policy = clone(PIPE).fit(LOG)
    encoded = policy[:-1].transform(LOG)
    weighted = policy[-1].score(encoded, sample_weight=np.ones(len(LOG)))
    assert weighted == pytest.approx(judge_encodings(policy, LOG)["score"], rel=0.3)
    bag = PolicyBagging(PIPE, 1, bootstrap=True, random_state=0).fit(LOG)
    assert np.isfinite(bag.score(LOG, sample_weight=np.ones(len(LOG))))


def test_an_action_that_the_log_never_takes_does_not_count_for_a_policy():
    """In a fold an action may be missing: the log's own decisions stand in, without support."""
    policy = clone(PIPE).fit(LOG)
    advised = policy.predict(LOG)[0]
    other = LOG[LOG["action"] != advised]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        judged = judge_encodings(policy, other)
        assert np.isfinite(policy.score(other))
    assert judged["unsupported"] > 0.1


class Counted(TransformerMixin, BaseEstimator):
    """A transformer that writes down that it was fitted."""

    def __init__(self, path=None, n_bins=2):
        self.path, self.n_bins = path, n_bins

    def fit(self, X, y=None):
        with self.path.open("a") as file:
            file.write("fitted\n")
        self.bins_ = KBinsDiscretizer(self.n_bins, encode="ordinal", strategy="uniform").fit(X)
        return self

    def transform(self, X):
        return self.bins_.transform(X)


def test_with_memory_an_encoder_is_fitted_once_per_setting_and_fold(tmp_path):
    path = tmp_path / "fits"
    pipe = make_pipeline(
        StateEncoder(Counted(path), state=["wear"]), PIPE[-1], memory=str(tmp_path / "cache")
    )
    grid = {
        "stateencoder__transformer__n_bins": [2, 4],
        "markovpolicyestimator__gamma": [0.5, 0.9, 0.95],
    }
    search = GridSearchCV(pipe, grid, cv=EpisodeKFold(3), error_score="raise").fit(LOG)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(path.read_text().splitlines()) == 2 * 3 + 1  # and the refit on all rows


# ------------------------------------------------------------------------------------ feature form

FEATURES, ACTIONS = LOG[["wear"]].to_numpy(), LOG["action"].to_numpy()


def features_pipe(policy):
    bins = KBinsDiscretizer(4, encode="ordinal", strategy="uniform")
    return make_pipeline(StandardScaler(), bins, policy)


OUTLASTING = pytest.mark.filterwarnings("ignore:.*would last longer than any in X:UserWarning")


@OUTLASTING  # features do not tell that the record breaks off
def test_features_with_routed_rewards_and_episodes():
    policy = MarkovPolicyEstimator(gamma=0.95, handle_unknown="nearest")
    beside = {"reward": LOG["reward"], "episode": LOG["episode"]}
    with sklearn.config_context(enable_metadata_routing=True):
        policy.set_fit_request(reward=True, episode=True).set_score_request(
            reward=True, episode=True
        )
        pipe = features_pipe(policy)
        search = GridSearchCV(
            pipe, {"kbinsdiscretizer__n_bins": [2, 4]}, cv=GroupKFold(3), error_score="raise"
        ).fit(FEATURES, ACTIONS, groups=LOG["episode"], **beside)
        assert search.best_params_ == {"kbinsdiscretizer__n_bins": 4}
        assert_array_equal(search.predict([[0.1], [1.0]]), ["run", "service"])
        assert search.score(FEATURES, ACTIONS, **beside) > LOG["reward"].sum() / 120
    without = features_pipe(clone(policy)).fit(
        FEATURES,
        ACTIONS,
        markovpolicyestimator__reward=LOG["reward"],
        markovpolicyestimator__episode=LOG["episode"],
    )
    assert_array_equal(without.predict(FEATURES), search.best_estimator_.predict(FEATURES))


@OUTLASTING
@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: PolicyBagging(p, 1)])
def test_a_forgotten_score_request_is_that_of_fit(wrap):
    """It would end in scores of NaN, which a search only warns of."""
    beside = {"reward": LOG["reward"], "groups": LOG["episode"]}
    with sklearn.config_context(enable_metadata_routing=True):
        policy = wrap(MarkovPolicyEstimator(gamma=0.95, handle_unknown="most_frequent"))
        grid = {"kbinsdiscretizer__n_bins": [2, 4]}
        pipe = features_pipe(policy.set_fit_request(reward=True, episode="groups"))
        search = GridSearchCV(pipe, grid, cv=GroupKFold(3)).fit(FEATURES, ACTIONS, **beside)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        said = policy.set_score_request(reward=False).get_metadata_routing().score.requests
        assert said["reward"] is False
        assert said["episode"] == "groups"
        pipe = features_pipe(MarkovPolicyEstimator())
        with pytest.raises(ValueError, match=r"fits failed(.|\n)*set_fit_request"):
            GridSearchCV(pipe, grid, cv=GroupKFold(3)).fit(FEATURES, ACTIONS, **beside)


# --------------------------------------------------------------------------- what is handed through


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_cross_val_predict(method):
    found = cross_val_predict(PIPE, LOG, cv=EpisodeKFold(3), method=method)
    for train, test in EpisodeKFold(3).split(LOG):
        expected = getattr(clone(PIPE).fit(LOG.iloc[train]), method)(LOG.iloc[test])
        assert_array_equal(found[test], expected)


def test_pipelines_and_searches_hand_on_what_the_policy_says():
    states, policy = FITTED[0].transform(LOG), FITTED[-1]
    search = GridSearchCV(PIPE, {}, cv=EpisodeKFold(2)).fit(LOG)
    for outer in (FITTED, search, FrozenEstimator(FITTED)):
        for method in ("predict", "predict_proba", "decision_function", "score_samples"):
            assert_array_equal(getattr(outer, method)(LOG), getattr(policy, method)(states))
        assert outer.score(TEST) == FITTED.score(TEST)
        assert_array_equal(outer.classes_, policy.actions_)


def test_a_frozen_policy_is_not_fitted_again():
    frozen = FrozenEstimator(FITTED)
    assert_array_equal(clone(frozen).fit(TEST, None).predict(LOG), FITTED.predict(LOG))


@pytest.mark.filterwarnings("ignore:X lacks:UserWarning")  # in shuffled states
@pytest.mark.filterwarnings("ignore:In .* a row of X does not lead to:UserWarning")  # shuffled
def test_permutation_importance_tells_which_measurement_decides():
    both = (
        clone(PIPE)
        .set_params(stateencoder__state=STATE, markovpolicyestimator__state=STATE)
        .fit(LOG)
    )
    found = permutation_importance(both, TEST, None, n_repeats=1, random_state=0)
    importance = dict(zip(TEST.columns, found.importances_mean, strict=True))
    assert importance["wear"] > 2 * abs(importance["dust"])


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_any_output_of_transformers_will_do(output):
    with sklearn.config_context(transform_output=output):
        found = clone(PIPE).fit(LOG).predict(LOG)
        in_polars = clone(PIPE).fit(pl.from_pandas(LOG)).predict(LOG)
    assert_array_equal(found, FITTED.predict(LOG))
    assert_array_equal(in_polars, found)
    set_output = clone(PIPE)
    set_output[:-1].set_output(transform=output)
    assert_array_equal(set_output.fit(LOG).predict(LOG), found)


def test_pages_show_it():
    page = estimator_html_repr(PolicyBagging(FITTED))
    for name in ("PolicyBagging", "StateEncoder", "KBinsDiscretizer", "MarkovPolicyEstimator"):
        assert name in page


def test_evaluation_of_pipelines_and_ensembles():
    train, test = train_test_split_episodes(LOG, random_state=0)
    pipe = clone(PIPE).fit(train)
    direct = evaluate_policy(pipe, test, methods="dm", random_state=0).to_frame()
    assert direct["value"].iloc[0] > test["reward"].sum() / test["episode"].nunique()
    scored = cross_val_score(PIPE, LOG, scoring=policy_scorer(), cv=EpisodeKFold(2))
    assert np.isfinite(scored).all()
    bag = PolicyBagging(PIPE, 2, bootstrap=True, random_state=0).fit(train)
    assert bag.score(test) == pytest.approx(pipe.score(test), rel=0.2)


# ------------------------------------------------------------------------------------------ stores

STORED = [
    clone(PIPE),
    clone(PIPE[-1]).set_params(state=["wear"]),
    PolicyBagging(clone(PIPE).set_params(stateencoder__shift_bins=True), 2, random_state=0),
]


@pytest.mark.parametrize("estimator", STORED, ids=lambda e: type(e).__name__)
def test_stored_policies_come_back(estimator, tmp_path):
    log = LOG.round(1)
    estimator = clone(estimator).fit(log)
    joblib.dump(estimator, tmp_path / "policy.joblib")
    stored = skops.io.dumps(estimator)
    untrusted = skops.io.get_untrusted_types(data=stored)
    assert all(name.startswith(("skmdp.", "scipy.sparse.")) for name in untrusted)
    for loaded in (
        pickle.loads(pickle.dumps(estimator)),
        joblib.load(tmp_path / "policy.joblib"),
        skops.io.loads(stored, trusted=untrusted),
    ):
        for method in ("predict", "decision_function"):
            assert_array_equal(getattr(loaded, method)(log), getattr(estimator, method)(log))
        assert loaded.score(log) == estimator.score(log)

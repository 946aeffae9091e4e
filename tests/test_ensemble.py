"""Averages of policies: what they average, and that one member alone is itself."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from skmdp import MarkovPolicyEstimator
from skmdp._policy import fitted_policy
from skmdp.datasets import load_climb, make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder

SAME = "ignore:All members are the same:UserWarning"
SINGLE = MarkovPolicyEstimator(gamma=0.95, handle_unknown="most_frequent")
SEARCHES = make_search_log(600, length=4, random_state=0)


def make_log(n_episodes=200, length=4, seed=0):
    """Return a log where action 1 pays above 0.6 and action 0 below, with next states."""
    rng = np.random.default_rng(seed)
    heat = rng.uniform(size=(n_episodes, length + 1))
    heat[:, -1] = np.nan
    log = pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), length),
            "heat": heat[:, :-1].ravel(),
            "action": rng.integers(2, size=n_episodes * length),
            "next_heat": heat[:, 1:].ravel(),
        }
    )
    return log.assign(reward=np.where(log["action"] == (log["heat"] > 0.6), 1.0, -1.0))


LOG = make_log()
PIPE = make_pipeline(
    StateEncoder(state="heat", n_states=4, shift_bins=True),
    MarkovPolicyEstimator(state="heat", gamma=0.5),
)
HEATS = np.linspace(0, 1, 101).reshape(-1, 1)

# ------------------------------------------------------------------------- scikit-learn's checks


@pytest.mark.filterwarnings(SAME)
@pytest.mark.filterwarnings("ignore:.*no member has seen in fit:UserWarning")
def test_no_check_is_lost():
    results = check_estimator(PolicyBagging(MarkovPolicyEstimator(), 2), on_skip=None)
    assert [one["check_name"] for one in results if one["status"] != "passed"] == []
    assert len(results) >= 48


# -------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("log", [load_climb(), SEARCHES], ids=["climb", "searches"])
def test_one_member_is_the_policy_itself(log):
    single = clone(SINGLE).fit(log)
    one = PolicyBagging(SINGLE, 1).fit(log)
    assert_array_equal(one.predict(log), single.predict(log))
    assert_array_equal(one.actions_, single.actions_)
    q_values = single.decision_function(log)
    assert_array_equal(one.decision_function(log), q_values)
    assert_array_equal(one.predict_proba(log), single.predict_proba(log))
    assert np.isnan(one.q_spread(log)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert one.score(log) == pytest.approx(single.score(log), rel=1e-12)
    at = np.searchsorted(single.actions_, single.predict(log))
    assert_array_equal(one.score_samples(log), q_values[np.arange(len(log)), at])


@pytest.mark.filterwarnings(SAME)
def test_equal_members_are_the_policy_itself():
    single, three = clone(SINGLE).fit(SEARCHES), PolicyBagging(SINGLE, 3).fit(SEARCHES)
    assert_array_equal(three.predict(SEARCHES), single.predict(SEARCHES))
    assert_array_equal(three.predict_proba(SEARCHES), single.predict_proba(SEARCHES))
    spread = three.q_spread(SEARCHES)
    assert_allclose(spread[np.isfinite(spread)], 0, atol=1e-12)


@given(
    st.lists(
        st.tuples(*(st.integers(0, 2) for _ in range(3)), st.sampled_from([0.1, 0.3, -0.7])),
        min_size=1,
        max_size=12,
    ),
    st.integers(2, 9),
)
@pytest.mark.filterwarnings(SAME)
def test_equal_members_tie_exactly_as_one(rows, n_estimators):
    """Sums of equal numbers round; a tie must not be decided by that."""
    log = pd.DataFrame(rows, columns=["state", "action", "next_state", "reward"])
    log["episode"] = range(len(log))
    single = MarkovPolicyEstimator(gamma=0.7, handle_unknown="most_frequent").fit(log)
    bag = PolicyBagging(single, n_estimators).fit(log)
    asked = np.arange(3)
    assert_array_equal(bag.predict(asked), single.predict(asked))


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-7])
def test_the_mean_decides_and_not_the_votes(gap):
    """Two members hold action a better by a gap, one b by three: b is better on average."""
    logs = [
        pd.DataFrame({"state": "s", "action": [*"abc"], "reward": [1.0, 1.0 - g, 0.0]}).assign(
            next_state=None, episode=range(3)
        )
        for g in (gap, gap, -3 * gap)
    ]
    bag = PolicyBagging(MarkovPolicyEstimator(), 3, bootstrap=True, random_state=0)
    bag.fit(pd.concat([logs[0].assign(episode=range(k, k + 3)) for k in range(0, 60, 3)]))
    bag.estimators_ = [MarkovPolicyEstimator().fit(log) for log in logs]
    assert_allclose(bag.predict_proba(["s"]), [[2 / 3, 1 / 3, 0]])
    assert_array_equal(bag.predict(["s"]), ["b"])


def test_blocks_of_any_size_give_the_same_answers():
    bag = PolicyBagging(PIPE, 4, random_state=0).fit(LOG)
    asked = np.vstack([HEATS, [[np.nan_to_num(-5.0)], [9.0]]])
    methods = ["predict", "predict_proba", "decision_function", "score_samples"]
    whole = [getattr(bag, name)(asked) for name in methods]
    for cells in (1, 7, 64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skmdp.ensemble.BLOCK_CELLS", cells)
            for name, expected in zip(methods, whole, strict=True):
                assert_array_equal(getattr(bag, name)(asked), expected)


def test_memory_does_not_grow_with_rows_times_actions():
    """A block holds a few numbers for each row and action; of many rows there are more blocks."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"state": rng.integers(40, size=3000), "action": np.arange(3000)})
    log = log.assign(next_state=-1, reward=rng.normal(size=3000), episode=range(3000))
    bag = PolicyBagging(MarkovPolicyEstimator(), 2, bootstrap=True, random_state=0).fit(log)
    peaks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.ensemble.BLOCK_CELLS", 2**17)
        for n_rows in (300, 3000):
            states = log["state"].to_numpy()[:n_rows]
            tracemalloc.start()
            bag.predict(states)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] < 3000 * len(bag.actions_) * 8


# Ends that stand there twice look like next states that are missing.
@pytest.mark.filterwarnings("ignore:What X gives as next states seems to be none:UserWarning")
def test_weights_of_rows_are_rows():
    """In fit and in score, and in what is drawn: weight 2 is a row twice, weight 0 none."""
    rng = np.random.default_rng(1)
    weights = rng.choice([0.0, 2.0], size=len(LOG), p=[0.2, 0.8])
    weights[LOG["next_heat"].isna()] = 2.0  # an episode cut off is followed for as many rows
    single = MarkovPolicyEstimator(state="heat", gamma=0.5, handle_unknown="nearest")
    log = LOG.assign(heat=LOG["heat"].round(1), next_heat=LOG["next_heat"].round(1))
    twice = log.loc[np.repeat(log.index, weights.astype(int))]
    kept = twice["episode"].unique()
    weights, log = weights[log["episode"].isin(kept)], log[log["episode"].isin(kept)]
    options = {"n_estimators": 3, "bootstrap": True, "random_state": 0}
    weighted = PolicyBagging(single, **options).fit(log, sample_weight=weights)
    repeated = PolicyBagging(single, **options).fit(twice)
    asked = log[["heat"]].drop_duplicates()
    assert_array_equal(weighted.predict(asked), repeated.predict(asked))
    assert_allclose(weighted.decision_function(asked), repeated.decision_function(asked))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        score = weighted.score(log, sample_weight=weights)
        assert score == pytest.approx(weighted.score(twice), rel=2e-6)  # followed to 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"X": LOG.iloc[:0]}, "The table is empty: it has 0 rows"),
        ({"X": LOG, "sample_weight": [1.0] * 3}, r"sample_weight has shape \(3,\)"),
        ({"X": LOG, "sample_weight": [-1.0] * len(LOG)}, "sample_weight is negative"),
        ({"X": [[0], [1]], "y": [0, 1], "reward": [1.0]}, "inconsistent numbers of samples"),
        ({"X": [[0], [1]], "y": [0, 1, 1], "reward": [1.0] * 3}, "inconsistent numbers of samples"),
        ({"X": [[0], [1]], "y": [0, 1], "episode": [0]}, "inconsistent numbers of samples"),
    ],
)
def test_what_one_policy_refuses_is_refused_of_drawn_episodes_too(options, message):
    single = (
        MarkovPolicyEstimator(state="heat") if len(options) == 1 or "y" not in options else SINGLE
    )
    with pytest.raises(ValueError, match=message):
        PolicyBagging(single, 2, bootstrap=True, random_state=0).fit(**options)


def test_mean_q_is_that_of_the_members_who_know():
    bag = PolicyBagging(PIPE, 5, random_state=0).fit(LOG)
    members = np.stack([member.decision_function(HEATS) for member in bag.estimators_])
    assert np.isfinite(members).all()
    assert_allclose(bag.decision_function(HEATS), members.mean(axis=0))
    assert_allclose(bag.q_spread(HEATS), members.std(axis=0, ddof=1))
    assert_array_equal(bag.predict(HEATS), members.mean(axis=0).argmax(axis=1))
    votes = np.stack([member.predict(HEATS) for member in bag.estimators_])
    assert_allclose(bag.predict_proba(HEATS)[:, 1], votes.mean(axis=0))
    assert_allclose(bag.score_samples(HEATS), members.mean(axis=0).max(axis=1))


def test_an_action_that_is_not_admitted_counts_as_the_worst_less_the_usual_spread():
    """By hand: of two members, one does not know action b in state x."""
    first = pd.DataFrame(
        {"state": ["x", "x", "y", "y", "z"], "action": [*"abab", "c"], "reward": [1, 3, 0, 4, 9]}
    )
    second = first[(first["state"] != "x") | (first["action"] != "b")]
    bag = PolicyBagging(MarkovPolicyEstimator(), 2, bootstrap=True, random_state=0)
    bag.fit(first.assign(next_state=None, episode=range(5)))
    bag.estimators_ = [
        MarkovPolicyEstimator().fit(log.assign(next_state=None)) for log in (first, second)
    ]
    # Usual spread of Q: (2 + 4) / 2 of the first, 4 of the second.
    expected = [[1, (3 + 1 - 4) / 2, -np.inf], [0, 4, -np.inf], [-np.inf, -np.inf, 9]]
    assert_allclose(bag.decision_function([*"xyz"]), expected)
    assert_array_equal(bag.predict([*"xyz"]), ["a", "b", "c"])
    assert np.isnan(bag.q_spread(["x"])[0]).tolist() == [False, True, True]


def test_members_differ_by_seeds_and_the_seed_decides():
    bag = PolicyBagging(PIPE, 4, random_state=3).fit(LOG)
    seeds = [member[0].random_state for member in bag.estimators_]
    assert len(set(seeds)) == 4
    again = PolicyBagging(PIPE, 4, random_state=3, n_jobs=2).fit(LOG)
    assert [member[0].random_state for member in again.estimators_] == seeds
    assert_array_equal(again.decision_function(HEATS), bag.decision_function(HEATS))
    assert PIPE[0].random_state is None
    other = PolicyBagging(PIPE, 4, random_state=4).fit(LOG)
    assert (other.decision_function(HEATS) != bag.decision_function(HEATS)).any()


def test_nested_seeds_are_found():
    encoder = StateEncoder(make_pipeline(StandardScaler(), KMeans(4)), state="heat")
    bag = PolicyBagging(make_pipeline(encoder, MarkovPolicyEstimator()), 3, random_state=0).fit(LOG)
    kmeans = [member[0].transformer_[-1] for member in bag.estimators_]
    assert len({model.random_state for model in kmeans}) == 3
    assert len({model.cluster_centers_.tobytes() for model in kmeans}) == 3


def test_averaging_smooths_borders_that_mean_nothing():
    """The border lies at 0.6, where no two bins of equal width meet."""
    right = (HEATS[:, 0] > 0.6).astype(int)
    single = clone(PIPE).set_params(stateencoder__shift_bins=False).fit(LOG)
    bag = PolicyBagging(PIPE, 20, random_state=0).fit(LOG)
    assert (bag.predict(HEATS) == right).mean() > (single.predict(HEATS) == right).mean()
    assert ((bag.predict_proba(HEATS) > 0).all(axis=1)).any()  # members differ near the border


# --------------------------------------------------------------------------------------- bootstrap


def test_bootstrap_draws_whole_episodes():
    log = LOG.assign(heat=LOG["episode"], next_heat=np.nan)  # the state tells the episode
    log["terminated"] = True
    single = MarkovPolicyEstimator(state="heat", handle_unknown="most_frequent")
    bag = PolicyBagging(single, 3, bootstrap=True, random_state=0).fit(log)
    for member in bag.estimators_:
        n = fitted_policy(member).counts.state_weights
        assert n.sum() == len(log)
        assert set(n) <= set(4.0 * np.arange(1, 10))
        assert 100 < member.n_episodes_ < 160  # two thirds of 200, drawn with replacement
    assert len({member.n_episodes_ for member in bag.estimators_}) > 1


def test_bootstrap_of_features_and_weights():
    X, y = LOG[["heat"]].round(1), LOG["action"]
    weights = np.arange(len(LOG)) % 3
    single = MarkovPolicyEstimator(handle_unknown="most_frequent")
    bag = PolicyBagging(single, 2, bootstrap=True, random_state=0)
    bag.fit(X, y, reward=LOG["reward"], episode=LOG["episode"], sample_weight=weights)
    total = [fitted_policy(member).counts.weights.sum() for member in bag.estimators_]
    assert_allclose(total, weights.sum(), rtol=0.1)
    rows = PolicyBagging(single, 2, bootstrap=True, random_state=0).fit(X.to_numpy(), y.tolist())
    assert rows.estimators_[0].n_episodes_ == pytest.approx(0.63 * len(LOG), rel=0.1)
    listed = PolicyBagging(single, 1, bootstrap=True, random_state=0).fit(
        X.to_numpy().tolist(), y.tolist()
    )
    assert listed.estimators_[0].n_episodes_ == rows.estimators_[0].n_episodes_


def test_an_action_that_a_member_never_saw():
    log = pd.DataFrame(
        {"episode": range(9), "state": 0, "action": [*"aaaaaaaab"], "reward": 1.0}
    ).assign(next_state=None)
    bag = PolicyBagging(SINGLE, 8, bootstrap=True, random_state=0).fit(log)
    known = {tuple(member.actions_) for member in bag.estimators_}
    assert known == {("a",), ("a", "b")}
    assert_array_equal(bag.actions_, ["a", "b"])
    assert_array_equal(bag.classes_, bag.actions_)
    assert bag.predict_proba([0]).shape == (1, 2)


# ------------------------------------------------------------------------------------------ scores


def test_score_is_the_mean_of_what_each_member_expects_of_the_ensemble():
    """One-step episodes: the score is the mean reward of the rows where the log agrees, by bin."""
    log = LOG.assign(episode=range(len(LOG)), next_heat=np.nan)
    test = make_log(seed=1).assign(next_heat=np.nan)
    test["episode"] = range(len(test))
    bag = PolicyBagging(PIPE, 3, random_state=0).fit(log)
    answers = bag.predict(test)
    expected = []
    for member in bag.estimators_:
        bins = member[0].transform(test)["heat"]
        rows = test.assign(bin=bins, answer=answers)
        paid = rows.groupby(["bin", "action"])["reward"].mean()
        shares = rows.groupby("bin")["answer"].value_counts(normalize=True)
        by_bin = (paid * shares.rename_axis(["bin", "action"])).groupby("bin").sum()
        expected.append(by_bin[bins].mean())
    # kappa pulls towards the log a little
    assert bag.score(test) == pytest.approx(np.mean(expected), abs=0.03)
    assert bag.score(test) > test["reward"].mean() + 0.5


def test_score_without_rewards_is_agreement():
    X, y = LOG[["heat"]].round(1), LOG["action"]
    bag = PolicyBagging(MarkovPolicyEstimator(), 2, bootstrap=True, random_state=0).fit(X, y)
    assert bag.score(X, y) == pytest.approx((bag.predict(X) == y).mean())
    with pytest.raises(ValueError, match="fitted without rewards"):
        bag.score(X, y, reward=LOG["reward"])


def test_score_warns_of_what_the_log_lacks_and_not_of_unknown_states():
    log = pd.DataFrame({"state": [0, 0, 1, 1], "action": [0, 1, 0, 1], "reward": [1, 0, 1, 0]})
    log = log.assign(next_state=None, episode=range(4))
    bag = PolicyBagging(MarkovPolicyEstimator(), 1).fit(log)
    other = log.iloc[:2].assign(state=7)  # unknown: the most logged action, 0, is taken
    assert bag.score(other) == pytest.approx(1, abs=0.5)
    with pytest.warns(UserWarning, match=r"X lacks 100.0% of the decisions"):
        bag.score(log[log["action"] == 1])
    with pytest.warns(UserWarning, match=r"X lacks 100.0% of the decisions"):
        bag.score(log[log["action"] == 1].drop(columns="episode"))


@pytest.mark.filterwarnings("ignore:.*would last longer than any in X:UserWarning")
def test_search_over_what_is_inside():
    search = GridSearchCV(
        PolicyBagging(PIPE, 3, random_state=0),
        {"estimator__stateencoder__n_states": [2, 8]},
        cv=EpisodeKFold(3),
        error_score="raise",
    ).fit(LOG)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    n_states = search.best_params_["estimator__stateencoder__n_states"]
    assert {len(m[-1].states_) for m in search.best_estimator_.estimators_} == {n_states}


def test_requests_are_made_of_the_ensemble():
    X, y = LOG[["heat"]].to_numpy(), LOG["action"]
    pipe = make_pipeline(
        KBinsDiscretizer(4, encode="ordinal", strategy="uniform", random_state=0),
        MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.5),
    )
    with sklearn.config_context(enable_metadata_routing=True):
        bag = PolicyBagging(pipe, 2, bootstrap=True, random_state=0)
        search = GridSearchCV(
            bag.set_fit_request(reward=True, episode="groups"),
            {"estimator__kbinsdiscretizer__n_bins": [2, 4]},
            cv=EpisodeKFold(3),
            error_score="raise",
        ).fit(X, y, groups=np.arange(len(X)), reward=LOG["reward"])
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert_array_equal(search.predict([[0.1], [0.9]]), [0, 1])


# --------------------------------------------------------------------------------- unknown and bad


def test_unknown_states_are_warned_of_once():
    bag = PolicyBagging(MarkovPolicyEstimator(), 3, bootstrap=True, random_state=0)
    bag.fit(load_climb())
    with pytest.warns(
        UserWarning, match=r"1 row\(s\) hold a state that no member.* first row 1 "
    ) as caught:
        assert_array_equal(bag.predict(["low", "nowhere"]), ["climb", "climb"])
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="no member"):
        assert np.isnan(bag.decision_function(["nowhere"])).all()
    with pytest.warns(UserWarning, match="no member"):
        assert np.isnan(bag.score_samples(["nowhere"])).all()


def test_seedless_members_are_warned_of():
    with pytest.warns(UserWarning, match=r"All members are the same.*bootstrap=True"):
        PolicyBagging(MarkovPolicyEstimator(), 2).fit(load_climb())


def test_what_cannot_be_bagged():
    with pytest.raises(TypeError, match=r"estimator must be a MarkovPolicyEstimator .*got KMeans"):
        PolicyBagging(KMeans()).fit(LOG)
    with pytest.raises(TypeError, match=r"got GridSearchCV. A search goes around the ensemble"):
        PolicyBagging(GridSearchCV(PIPE, {})).fit(LOG)
    with pytest.raises(ValueError, match="'n_estimators' parameter of PolicyBagging must be"):
        PolicyBagging(PIPE, 0).fit(LOG)
    with pytest.raises(NotFittedError):
        PolicyBagging(PIPE).predict(HEATS)
    with pytest.raises(ValueError, match="Rows cannot be split by episode"):
        PolicyBagging(PIPE, bootstrap=True).fit(LOG.drop(columns="episode"))


def test_a_failed_fit_leaves_what_was_fitted():
    bag = PolicyBagging(PIPE, 2, random_state=0).fit(LOG)
    before = pickle.dumps(bag)
    with pytest.raises(ValueError, match="'reward'"):
        bag.fit(LOG.assign(reward=np.nan))
    assert pickle.dumps(bag) == before


def test_names_go_when_they_are_gone():
    X, y = LOG[["heat"]].round(1), LOG["action"]
    bag = PolicyBagging(MarkovPolicyEstimator(), 1).fit(X, y)
    assert_array_equal(bag.feature_names_in_, ["heat"])
    assert not hasattr(bag.fit(X.to_numpy(), y), "feature_names_in_")
    assert bag.n_features_in_ == 1


class Nameless(BaseEstimator):
    """A transformer that does not tell how many features it sees."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


@pytest.mark.filterwarnings("ignore:.*hold a single row:UserWarning")  # heat is not put into bins
def test_a_first_step_may_tell_nothing_of_its_features():
    pipe = make_pipeline(Nameless(), MarkovPolicyEstimator(state="heat"))
    bag = PolicyBagging(pipe, 1).fit(LOG)
    assert not hasattr(bag, "n_features_in_")
    assert bag.predict(LOG).shape == (len(LOG),)

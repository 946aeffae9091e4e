"""Durations handed in beside features and actions, as in a column of a table."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging

pytestmark = pytest.mark.filterwarnings("ignore:.*would last longer:UserWarning")


def table(seed, n_episodes=40, n_steps=6):
    """Whole episodes of a process among four states; the last observation ends some of them."""
    rng = np.random.default_rng(seed)
    n = n_episodes * n_steps
    return pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), n_steps),
            "state": rng.integers(0, 4, n),
            "action": rng.integers(0, 2, n),
            "reward": rng.normal(size=n),
            "duration": rng.exponential(2.0, n) + 0.01,
        }
    )


def parts(log):
    """Features, actions, and what is handed in beside them."""
    beside = {name: log[name] for name in ("reward", "episode", "duration")}
    return log[["state"]], log["action"], beside


def learner(**options):
    return MarkovPolicyEstimator(gamma=0.9, handle_unknown="most_frequent", **options)


def on_table(**options):
    return learner(terminated=None, **options)


def test_features_give_what_a_table_gives():
    log = table(0)
    X, y, beside = parts(log)
    of_features, of_table = learner().fit(X, y, **beside), on_table().fit(log)
    assert_array_equal(of_features.q_values_, of_table.q_values_)
    assert of_features.discount_ == of_table.discount_
    plain = learner().fit(X, y, reward=beside["reward"], episode=beside["episode"])
    assert not np.allclose(plain.q_values_, of_table.q_values_)
    assert plain.duration_unit_ is None


def test_times_have_a_unit():
    X, y, beside = parts(table(1))
    spans = pd.to_timedelta(beside["duration"], unit="D")
    expected = learner().fit(X, y, **beside)
    for duration in (spans, spans.to_numpy(), list(spans)):
        found = learner(duration_unit="day").fit(X, y, **{**beside, "duration": duration})
        assert found.duration_unit_ == "day"
        assert_allclose(found.q_values_, expected.q_values_, rtol=1e-9)


def test_batches_give_what_one_fit_gives():
    log = table(2)
    X, y, beside = parts(log)
    whole, batches = learner().fit(X, y, **beside), learner()
    for _, rows in log.groupby(log.episode // 15):
        some, actions, handed = parts(rows)
        batches.partial_fit(some, actions, **handed)
    assert_allclose(batches.q_values_, whole.q_values_, rtol=1e-9)
    some, actions, handed = parts(log)
    with pytest.raises(ValueError, match="before came with durations, this one without"):
        batches.partial_fit(some, actions, reward=handed["reward"], episode=handed["episode"])


def test_a_last_observation_needs_no_duration():
    log = table(3)
    last = ~log.episode.duplicated(keep="last")
    log["action"] = log["action"].astype("Int64").mask(last)
    log["reward"], log["duration"] = log["reward"].mask(last), log["duration"].mask(last)
    X, y, beside = parts(log)
    of_features, of_table = learner().fit(X, y, **beside), learner().fit(log)
    assert of_features.n_broken_off_ == of_table.n_broken_off_ == 40
    assert_array_equal(of_features.q_values_, of_table.q_values_)
    # Records that break off are followed for the time of the longest, here as well.
    test = table(4)
    test["action"] = test["action"].astype("Int64").mask(last)
    test["reward"] = test["reward"].mask(last)
    X, y, beside = parts(test)
    assert of_features.score(X, y, **beside) == of_table.score(test)
    del beside["duration"]
    assert of_features.score(X, y, **beside) != of_table.score(test)


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.filterwarnings("ignore:All members are the same:UserWarning")
def test_an_ensemble_hands_durations_on(bootstrap):
    log, test = table(5), table(6)
    options = {"bootstrap": bootstrap, "random_state": 0}
    of_features = PolicyBagging(learner(), 3, **options)
    X, y, beside = parts(log)
    of_features.fit(X, y, **beside)
    of_table = PolicyBagging(on_table(), 3, **options).fit(log)
    for one, other in zip(of_features.estimators_, of_table.estimators_, strict=True):
        assert_array_equal(one.q_values_, other.q_values_)
    X, y, beside = parts(test)
    assert of_features.score(X, y, **beside) == of_table.score(test)


def test_cross_validation_hands_durations_on():
    log = table(7)
    X, y, beside = parts(log)
    grid = {"gamma": 0.9, "min_counts": [0, 8], "cv": 3, "random_state": 0}
    of_features = MarkovPolicyCV(**grid).fit(X, y, **beside)
    of_table = MarkovPolicyCV(**grid, terminated=None).fit(log)
    assert_array_equal(of_features.q_values_, of_table.q_values_)
    for name, scores in of_table.cv_results_.items():
        assert_array_equal(of_features.cv_results_[name], scores)


def test_routing_takes_durations_to_fit_and_score():
    log = table(8)
    X, y, beside = parts(log)
    with sklearn.config_context(enable_metadata_routing=True):
        policy = learner().set_fit_request(reward=True, episode=True, duration=True)
        pipe = make_pipeline(FunctionTransformer(), policy)
        # What fit asks for, score asks for, unless something else was said.
        assert policy.get_metadata_routing().score.requests["duration"] is True
        search = GridSearchCV(
            pipe,
            {"markovpolicyestimator__min_count": [0, 5]},
            cv=GroupKFold(2),
            error_score="raise",
        )
        search.fit(X, y, groups=beside["episode"], **beside)
    expected = learner(**{"min_count": search.best_estimator_[-1].min_count}).fit(X, y, **beside)
    assert_array_equal(search.best_estimator_[-1].q_values_, expected.q_values_)


@pytest.mark.parametrize(
    ("duration", "error", "message"),
    [
        ([0.0] * 240, ValueError, "'duration' is 0.0 at row 0"),
        ([1.0] * 239, ValueError, "inconsistent numbers of samples"),
        (["a"] * 240, TypeError, "durations are positive numbers or timedeltas"),
        ([1.0] * 100 + [np.nan] + [1.0] * 139, ValueError, "row 100 .* its duration is missing"),
    ],
)
def test_what_is_no_duration_is_refused(duration, error, message):
    X, y, beside = parts(table(9))
    with pytest.raises(error, match=message):
        learner().fit(X, y, **{**beside, "duration": duration})


def test_a_table_holds_its_durations():
    log = table(10)
    with pytest.raises(ValueError, match=r"duration go with features X.*duration=..."):
        learner().fit(log, duration=log["duration"])


def test_decisions_of_their_own_take_time_that_nothing_follows():
    X, y, beside = parts(table(11))
    del beside["episode"]
    timed = learner().fit(X, y, **beside)
    del beside["duration"]
    assert_array_equal(timed.q_values_, learner().fit(X, y, **beside).q_values_)


def test_records_that_broke_off_are_counted():
    log = table(12).drop(columns="duration").assign(truncated=False, terminated=False)
    last = ~log.episode.duplicated(keep="last")
    log.loc[last & (log.episode < 15), "truncated"] = True
    log.loc[last & (log.episode >= 30), "terminated"] = True
    log.loc[last & log.episode.between(15, 29), "truncated"] = True
    policy = learner().fit(log)
    assert (policy.n_episodes_, policy.n_broken_off_, policy.n_ended_) == (40, 30, 10)
    untold = learner().fit(table(12, n_episodes=10))
    assert (untold.n_broken_off_, untold.n_ended_) == (0, 0)
    rows = log.assign(next_state=1).drop(columns=["episode", "truncated"])
    assert learner().fit(rows).n_broken_off_ is None

"""The estimator: golden figures, laws, brute force, forms of input, scikit-learn's own checks."""

import copy
import pickle
import re
from contextlib import nullcontext
from unittest import SkipTest

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import learn, link, policy
from sklearn.base import clone, is_classifier
from sklearn.callback import ProgressBar
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_search_log
from skmdp.model_selection import EpisodeKFold
from skmdp.solvers import EndlessLoopError

# ------------------------------------------------------------------------- scikit-learn's checks

VARIANTS = [
    MarkovPolicyEstimator(),
    MarkovPolicyEstimator(handle_unknown="nearest"),
    MarkovPolicyEstimator(gamma=1),
    MarkovPolicyEstimator(reward_on="state"),
    MarkovPolicyEstimator(untried="uniform"),
    MarkovPolicyEstimator(prior_strength="auto", pessimism=0.5),
]
# The checks predict on states not seen in fit, which is what the default warns of.
UNKNOWN = pytest.mark.filterwarnings("ignore:.*not seen in fit:UserWarning")


@UNKNOWN
@parametrize_with_checks(VARIANTS[1:])  # those of the first are counted below
def test_scikit_learn_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


@UNKNOWN
@pytest.mark.smoke
@pytest.mark.parametrize("routing", [False, True])
def test_no_check_is_lost(routing):
    """A green run can hide skipped checks: count those that passed."""
    with sklearn.config_context(enable_metadata_routing=routing):
        results = estimator_checks.check_estimator(VARIANTS[0], on_skip=None)
    assert [one["check_name"] for one in results if one["status"] != "passed"] == []
    assert len(results) >= 48


@UNKNOWN
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        "check_dataframe_column_names_consistency",
        "check_param_validation",
        "check_supervised_y_2d",
        "check_supervised_y_no_nan",
    ],
)
def test_check_for_classifiers_that_holds_all_the_same(name):
    getattr(estimator_checks, name)("MarkovPolicyEstimator", MarkovPolicyEstimator())


def test_is_no_classifier():
    assert not is_classifier(MarkovPolicyEstimator())


# --------------------------------------------------------------------------------- golden figures

CLIMB = load_climb()
TALK = MarkovPolicyEstimator(gamma=0.9, reward_on="state", tol=1e-12)
LADDER = ["low", "mid", "high"]


@pytest.mark.smoke
def test_climb_has_the_values_of_the_talk():
    TALK.fit(CLIMB)
    values = dict(zip(TALK.states_, TALK.state_values_, strict=True))
    expected = {"low": 3.645, "mid": 4.05, "high": 4.5, "bottom": 0, "top": 5}
    assert values == pytest.approx(expected, abs=1e-9)
    assert_array_equal(TALK.predict(LADDER), ["climb"] * 3)


@pytest.mark.smoke
def test_climb_is_climbed_with_the_defaults():
    assert_array_equal(MarkovPolicyEstimator().fit(CLIMB).predict(LADDER), ["climb"] * 3)


def test_climb_needs_no_trap_rows():
    log = CLIMB[~CLIMB["state"].isin(["top", "bottom"])]
    log = log.assign(reward=(log["next_state"] == "top").astype(float))
    policy = MarkovPolicyEstimator().fit(log)
    assert_array_equal(policy.predict(LADDER), ["climb"] * 3)
    assert_array_equal(policy.score_samples(["top", "bottom"]), [0, 0])


# -------------------------------------------------------------------------------------- brute force

LABELS = {
    "int": [3, -1, 7, 10],
    "str": ["b", "a", "", "ü"],
    "float": [0.5, -2.0, 3.25, 1e9],
    "bool": [True, False],
}


FLAGS = ("terminated", "truncated")


@st.composite
def logs(draw):
    """Rows with odd labels, ragged episodes, weights, missing next states, ends and truncation."""
    labels = LABELS[draw(st.sampled_from(sorted(LABELS)))]
    actions = LABELS[draw(st.sampled_from(sorted(LABELS)))][:3]
    infer, *flags = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    rows = []
    for episode in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, 5))
        for step in range(length):
            last = step == length - 1
            rows.append(
                {
                    "episode": f"e{episode}",
                    "step": step,
                    "state": draw(st.sampled_from(labels)),
                    "action": draw(st.sampled_from(actions)),
                    "next_state": draw(st.sampled_from([*labels, None])),
                    "reward": float(draw(st.integers(-3, 3))),
                    "terminated": draw(st.booleans()) if last or not infer else False,
                    "truncated": draw(st.booleans()) if last or not infer else False,
                    "weight": draw(st.sampled_from([0, 1, 1, 2])),
                }
            )
    order = draw(st.permutations(range(len(rows))))
    return [rows[i] for i in order], infer, dict(zip(FLAGS, flags, strict=True))


@given(
    logs(),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from(["state_action", "state"]),
    st.sampled_from(["exclude", "uniform"]),
    st.sampled_from([0, 2]),
    st.sampled_from([0, 0.01, 2.5]),
)
def test_every_table_equals_brute_force(log, gamma, reward_on, untried, min_count, kappa):
    rows, infer, has = log
    options = {
        "gamma": gamma,
        "reward_on": reward_on,
        "untried": untried,
        "min_count": min_count,
    }
    linked = link(rows, infer, has["terminated"], has["truncated"])
    counted = [row for row in linked if not row["truncated"]]
    absent = ["weight"] + ["next_state"] * infer + [flag for flag in FLAGS if not has[flag]]
    table = pd.DataFrame(rows).drop(columns=absent)
    weights = [row["weight"] for row in rows]
    estimator = MarkovPolicyEstimator(tol=1e-9, prior_strength=kappa, **options)
    if not counted:
        with pytest.raises(ValueError, match=r"truncated|non-zero number"):
            estimator.fit(table, sample_weight=weights)
        return
    expected = learn(linked, kappa=kappa, **options)
    largest = max(expected["n"].values())
    told = pytest.warns(UserWarning, match=f"excludes every action.* {largest:g} or less")
    with told if largest < min_count else nullcontext():
        estimator.fit(table, sample_weight=weights)
    states, actions = expected["states"], expected["actions"]
    assert estimator.states_.tolist() == states
    assert estimator.actions_.tolist() == actions
    assert estimator.n_transitions_ == sum(row["weight"] for row in counted)
    assert estimator.n_truncated_ == expected["n_truncated"]
    bound = estimator.value_error_bound_ + 1e-9
    assert_allclose(estimator.state_values_, [expected["V"][s] for s in states], atol=bound)
    assert_allclose(estimator.initial_distribution_, [expected["starts"].get(s, 0) for s in states])
    assert estimator.default_action_ == expected["default"]
    for i, s in enumerate(states):
        row = expected["Q"].get(s)
        q = [0 if row is None else row.get(a, -np.inf) for a in actions]
        assert_allclose(estimator.q_values_[i], q, atol=bound)
        visits = [expected["n"].get((s, a), 0) for a in actions]
        assert_array_equal(estimator.visit_counts_[i], visits)
    largest = max(map(abs, expected["V"].values()))
    tolerance = max(1e-9 * largest, 2 * gamma * estimator.value_error_bound_) + 1e-12
    assert estimator.policy_map() == policy(expected, tolerance)


# ------------------------------------------------------------------------------------------- laws


def random_log(seed=0, n=400):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "episode": np.arange(n) // 5,
            "state": rng.choice(list("abcdef"), size=n),
            "action": rng.integers(3, size=n),
            "reward": rng.normal(size=n),
        }
    )
    return table.assign(next_state=rng.choice(list("abcdef"), size=n))


LOG = random_log()
PRECISE = MarkovPolicyEstimator(tol=1e-10)


def fitted(table=LOG, **options):
    return clone(PRECISE).set_params(**options).fit(table)


def same_policy(one, other):
    assert_array_equal(one.policy_, other.policy_)
    bound = one.value_error_bound_ + other.value_error_bound_
    assert_allclose(one.state_values_, other.state_values_, atol=bound + 1e-12)


def test_permuting_rows_changes_nothing():
    same_policy(fitted(), fitted(LOG.sample(frac=1, random_state=0)))


def test_doubling_every_row_changes_nothing():
    same_policy(fitted(), fitted(pd.concat([LOG, LOG])))


def test_one_weight_for_all_rows_is_refused_by_name():
    with pytest.raises(ValueError, match=r"sample_weight=2\.0 is one value, expected \(12,\)"):
        MarkovPolicyEstimator().fit(load_climb(), sample_weight=2.0)


def test_doubling_every_weight_changes_nothing():
    same_policy(fitted(), clone(PRECISE).fit(LOG, sample_weight=np.full(len(LOG), 2)))


def test_relabelling_states_permutes():
    other = dict(zip("abcdef", "fcebad", strict=True))
    renamed = LOG.assign(state=LOG["state"].map(other), next_state=LOG["next_state"].map(other))
    plain, moved = fitted(), fitted(renamed)
    at = np.searchsorted(moved.states_, [other[s] for s in plain.states_])
    assert_array_equal(moved.policy_[at], plain.policy_)
    assert_allclose(moved.state_values_[at], plain.state_values_, atol=1e-8)


def test_state_values_shift_by_constant_reward():
    shifted = fitted(LOG.assign(reward=LOG["reward"] + 7))
    assert_allclose(shifted.state_values_, fitted().state_values_ + 7 / (1 - 0.9), atol=1e-7)


def test_state_values_scale_with_rewards():
    scaled = fitted(LOG.assign(reward=LOG["reward"] * 1e6))
    assert_allclose(scaled.state_values_, fitted().state_values_ * 1e6, rtol=1e-9)


def test_gamma_zero_is_greedy_on_rewards():
    means = LOG.groupby(["state", "action"])["reward"].mean().unstack()
    policy = fitted(gamma=0)
    assert_array_equal(policy.policy_, means.idxmax(axis=1))
    assert_allclose(policy.expected_rewards_, means)


def test_estimates_approach_the_truth_as_logs_grow():
    """Two states; staying pays 1 with probability 0.7, leaving leads to the other state for 0."""
    rng = np.random.default_rng(0)
    errors = []
    for n in (100, 10_000, 1_000_000):
        state, stays = rng.integers(2, size=n), rng.integers(2, size=n)
        table = pd.DataFrame(
            {
                "state": state,
                "action": stays,
                "next_state": np.where(stays, state, 1 - state),
                "reward": (rng.uniform(size=n) < 0.7) * stays,
            }
        )
        policy = fitted(table)
        errors.append(np.abs(policy.state_values_ - 7).max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05
    assert_array_equal(policy.policy_, [1, 1])


def test_values_solve_the_bellman_equation_of_the_counts():
    policy = fitted()
    P = {a: policy.transition_matrix(a).toarray() for a in policy.actions_}
    Q = np.column_stack(
        [policy.expected_rewards_[:, a] + 0.9 * P[a] @ policy.state_values_ for a in P]
    )
    assert_allclose(Q, policy.q_values_, atol=1e-8)
    assert_allclose(Q.max(axis=1), policy.state_values_, atol=1e-8)
    for a in policy.actions_:
        counts = policy.transition_counts(a)
        assert_allclose(counts.sum(axis=1), policy.visit_counts_[:, a])


# -------------------------------------------------------------------------------------------- ties


def test_ties_go_to_the_most_logged_action_then_to_the_lowest_label():
    table = pd.DataFrame(
        {"state": list("xxxyy"), "action": [2, 2, 1, 3, 1], "reward": 1.0, "next_state": None}
    )
    assert fitted(table.sample(frac=1, random_state=1)).policy_map() == {"x": 2, "y": 1}


def test_advice_that_is_not_proven_is_the_best_known():
    """The log prefers now in x, and a solver stopped at once proves nothing: late looks best."""
    table = pd.DataFrame(
        {
            "episode": [0, 0, 1, 2, 3],
            "state": ["x", "loop", "x", "x", "loop"],
            "action": ["late", "stay", "now", "now", "stay"],
            "next_state": ["loop", "loop", None, None, None],
            "reward": [0.0, 1.0, 0.5, 0.5, 1.0],
        }
    )
    # late is worth 0.9 / (1 - 0.45), now 0.5.
    fine = MarkovPolicyEstimator().fit(table)
    assert fine.policy_map()["x"] == "late"
    with pytest.warns(ConvergenceWarning, match=r"advice in 1 state\(s\) is not proven"):
        coarse = MarkovPolicyEstimator(max_iter=1).fit(table)
    assert coarse.decision_function(["x"]).argmax() == list(coarse.actions_).index("late")
    assert coarse.policy_map()["x"] == "late"


@pytest.mark.parametrize("n", [10, 1000, 100_000])
@pytest.mark.parametrize("gamma", [0.0, 0.999])
def test_the_last_bits_of_means_decide_nothing(n, gamma):
    """The mean of so many tenths is off by their number of roundings; three tenths are not."""
    table = pd.DataFrame({"state": 0, "action": [0] * n + [1] * 3, "reward": 0.1})
    assert MarkovPolicyEstimator(gamma=gamma).fit(table.assign(next_state=0)).policy_map() == {0: 0}


@given(
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.5, 0.999]),
    st.sampled_from([-1e7, 1e5]),
    st.sampled_from([1e-6, 3.0, 1e6]),
)
def test_advice_does_not_depend_on_the_level_or_unit_of_rewards(seed, gamma, offset, unit):
    """In processes that nothing ends; rewards are given to one digit."""
    log = random_log(seed, 60).assign(reward=lambda log: log["reward"].round(1))
    assume(set(log["next_state"]) <= set(log["state"]))  # the end is worth 0, whatever the offset
    plain = MarkovPolicyEstimator(gamma=gamma).fit(log)
    shifted = MarkovPolicyEstimator(gamma=gamma).fit(log.assign(reward=log["reward"] + offset))
    scaled = MarkovPolicyEstimator(gamma=gamma).fit(log.assign(reward=log["reward"] * unit))
    assert plain.policy_map() == shifted.policy_map() == scaled.policy_map()


def test_a_common_offset_hides_no_better_action():
    log = pd.DataFrame({"state": [0, 0, 0, 1], "action": [0, 0, 1, 0], "next_state": [0, 1, 1, 0]})
    for next_state in (log["next_state"], [0, 0, 0, 1], [1, 1, 1, 0]):
        log = log.assign(reward=np.array([0.0, 0.0, 5.0, 2.0]) - 1e7, next_state=next_state)
        for gamma in (0.999, 0.999999):
            policy = MarkovPolicyEstimator(gamma=gamma, tol=1e-3).fit(log)
            assert policy.policy_map()[0] == 1


def test_the_default_action_does_not_depend_on_rounding():
    """Ten weights of a tenth and a weight of one are equally often."""
    table = pd.DataFrame({"state": 0, "action": [1] + [0] * 10, "reward": 0.0, "next_state": None})
    policy = MarkovPolicyEstimator().fit(table, sample_weight=[1.0] + [0.1] * 10)
    assert policy.default_action_ == 0
    policy = MarkovPolicyEstimator(min_count=1).fit(table, sample_weight=[1.0] + [0.1] * 10)
    assert np.isfinite(policy.q_values_).all()


@pytest.mark.parametrize("min_count", [3, 3.5, 1e9])
def test_a_min_count_beyond_every_weight_is_imitation(min_count):
    log = LOG.iloc[:20].assign(reward=np.arange(20.0))
    with pytest.warns(UserWarning, match="policy imitates the log.*Lower min_count to") as told:
        policy = MarkovPolicyEstimator(min_count=max(min_count, 20 + 1)).fit(log)
    imitation = clone(policy).set_params(min_count=0).fit(log.assign(reward=0.0))
    assert policy.policy_map() == imitation.policy_map()
    lower = float(re.search(r"min_count to (\S+) or less", str(told[0].message))[1])
    clone(policy).set_params(min_count=lower).fit(log)  # the remedy, without a warning
    assert clone(policy).partial_fit(log).policy_map() == policy.policy_map()  # nor here


def test_a_candidate_that_imitates_has_a_score():
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent")
    grid = {"min_count": [0, 1e6]}
    search = GridSearchCV(policy, grid, cv=EpisodeKFold(3), error_score="raise")
    with pytest.warns(UserWarning, match="excludes every action"):
        search.fit(make_search_log(2000, length=3, random_state=0))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_an_endless_loop_is_named_by_its_labels():
    """On the estimator too it is EndlessLoopError, through pickle and for states of two columns."""
    table = pd.DataFrame({"room": list("ab"), "hour": [1, 2], "action": "go", "reward": 1.0})
    table = table.assign(next_room=list("ba"), next_hour=[2, 1])
    with pytest.raises(EndlessLoopError, match=r"'go' in state \('a', 1\).*gamma below 1") as error:
        MarkovPolicyEstimator(state=["room", "hour"], gamma=1.0).fit(table)
    for found in (error.value, pickle.loads(pickle.dumps(error.value))):
        assert found.state == ("a", 1)
        assert found.action == "go"
        assert found.states == [("a", 1), ("b", 2)]
        assert str(found) == str(error.value)
    MarkovPolicyEstimator(state=["room", "hour"], gamma=0.999).fit(table)  # the remedy


def test_rewards_that_differ_beyond_the_bound_are_no_tie():
    table = pd.DataFrame(
        {"state": ["x", "x", "x"], "action": [2, 2, 1], "reward": [1, 1, 1.001], "next_state": None}
    )
    assert fitted(table).policy_map() == {"x": 1}


def test_without_rewards_the_policy_is_the_most_logged_action():
    X = pd.DataFrame({"x": [0, 0, 0, 1]})
    policy = MarkovPolicyEstimator().fit(X, ["a", "b", "b", "a"])
    assert_array_equal(policy.predict(X), ["b", "b", "b", "a"])


# ------------------------------------------------------------------------------------- prediction

REACHED = pd.DataFrame(
    {
        "state": [0, 0, 0, 1],
        "action": ["a", "b", "b", "c"],
        "next_state": [1, 9, 9, 9],
        "reward": [5.0, 1.0, 1.0, 0.0],
    }
)


def test_prediction_in_states_of_every_sort():
    """0 and 1 have logged actions, 9 is only ever reached, 7 is unknown."""
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(REACHED)
    X = [0, 1, 9, 7]
    assert_array_equal(policy.predict(X), ["a", "c", "b", "b"])
    assert_array_equal(policy.predict_proba(X), [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]])
    q = policy.decision_function(X)
    inf, nan = np.inf, np.nan
    assert_array_equal(q, [[5, 1, -inf], [-inf, -inf, 0], [0, 0, 0], [nan, nan, nan]])
    assert_array_equal(policy.score_samples(X), [5, 0, 0, nan])
    assert policy.policy_map() == {0: "a", 1: "c"}
    assert_array_equal(policy.states_, [0, 1, 9])
    assert_array_equal(policy.policy_, ["a", "c", "b"])
    assert_array_equal(policy.state_values_, [5, 0, 0])
    assert_array_equal(policy.classes_, policy.actions_)


def test_untried_actions_in_the_views():
    policy = MarkovPolicyEstimator(untried="uniform", gamma=0.5, min_count=2).fit(REACHED)
    q = policy.q_values_
    mean = policy.state_values_.mean()
    # In 0 action a was logged once: too seldom, but not untried.
    assert_allclose(q[0], [-np.inf, 1, 7 / 3 + 0.5 * mean], atol=1e-5)
    assert_allclose(q[1], [0.5 * mean, 0.5 * mean, 0], atol=1e-5)
    assert_array_equal(policy.predict([0, 1]), ["c", "a"])
    assert_allclose(policy.expected_rewards_, [[5, 1, 7 / 3], [0, 0, 0], [np.nan] * 3])


def test_unknown_states_warn_once_with_number_and_example():
    policy = MarkovPolicyEstimator().fit(REACHED)
    with pytest.warns(
        UserWarning, match=r"2 state\(s\) were not seen in fit, first 7 at row 1.*'b'"
    ) as caught:
        assert_array_equal(policy.predict([0, 7, 8]), ["a", "b", "b"])
    assert len(caught) == 1


def test_unknown_states_can_be_an_error():
    policy = MarkovPolicyEstimator(handle_unknown="error").fit(REACHED)
    with pytest.raises(ValueError, match=r"1 state\(s\) were not seen in fit, first 7 at row 0"):
        policy.predict([7])
    assert_array_equal(policy.score_samples([7]), [np.nan])


def test_nearest_state_answers_for_unknown_ones():
    """Only states with logged actions answer, and each column counts in its own units."""
    policy = MarkovPolicyEstimator(handle_unknown="nearest").fit(REACHED)
    assert_array_equal(policy.predict([7, -3]), ["c", "a"])
    table = pd.DataFrame({"x": [0, 1, 0], "y": [0, 1000, 2000], "action": list("abc"), "reward": 0})
    policy.set_params(state=["x", "y"]).fit(table.assign(next_x=None, next_y=None))
    assert_array_equal(policy.predict([[0.9, 700]]), ["b"])
    # Unscaled, 0.9 and 400 would be next to a; in standard deviations b is nearer.
    assert_array_equal(policy.predict([[0.9, 400]]), ["b"])
    assert_array_equal(policy.score_samples([[0.9, 700]]), [np.nan])


def test_handle_unknown_may_change_after_fit():
    policy = MarkovPolicyEstimator().fit(CLIMB)
    with pytest.raises(ValueError, match="needs numeric state columns"):
        policy.set_params(handle_unknown="nearest").predict(["nowhere"])


@pytest.mark.parametrize("labels", [["0"], [0.5, "x"], [True], [pd.Timestamp("2026-01-01")]])
def test_labels_of_another_kind_are_refused(labels):
    policy = MarkovPolicyEstimator().fit(REACHED)
    with pytest.raises(TypeError, match="kind"):
        policy.predict(labels)


def test_integer_states_may_come_as_floats():
    policy = MarkovPolicyEstimator().fit(REACHED)
    assert_array_equal(policy.predict(np.array([0.0, 1.0])), ["a", "c"])


def test_missing_states_are_refused_at_predict():
    policy = MarkovPolicyEstimator().fit(REACHED)
    with pytest.raises(
        ValueError, match=r"'state' contains NaN or None in 1 row\(s\), first at row 1"
    ):
        policy.predict(pd.DataFrame({"state": [0, None]}))


TWO = pd.DataFrame(
    {"x": [0, 0, 1], "y": list("uvu"), "action": [1, 2, 3], "reward": 1.0, "episode": 0}
)


def test_states_of_several_columns():
    policy = MarkovPolicyEstimator(state=["x", "y"]).fit(TWO)
    assert_array_equal(policy.states_, np.array([[0, "u"], [0, "v"], [1, "u"]], dtype=object))
    assert policy.policy_map() == {(0, "u"): 1, (0, "v"): 2, (1, "u"): 3}
    assert policy.n_features_in_ == 2
    for X in (TWO, TWO[["y", "x"]], TWO[["x", "y"]].to_numpy(), [[0, "u"], [0, "v"], [1, "u"]]):
        assert_array_equal(policy.predict(X), [1, 2, 3])
    with pytest.warns(UserWarning, match=r"first \(1, 'v'\) at row 0"):
        policy.predict([[1, "v"]])
    with pytest.raises(ValueError, match="Reshape your data"):
        policy.predict(["u"])
    with pytest.raises(
        ValueError, match="X has 1 features, but MarkovPolicyEstimator is expecting 2"
    ):
        policy.predict([["u"]])


def test_one_column_may_be_named_in_a_list():
    assert MarkovPolicyEstimator(state=["state"]).fit(REACHED).policy_map() == {0: "a", 1: "c"}


def test_tables_at_predict_need_their_state_columns():
    policy = MarkovPolicyEstimator().fit(REACHED)
    with pytest.raises(ValueError, match=r"no column 'state', which held the state in fit.*'x'"):
        policy.predict(pd.DataFrame({"x": [0]}))


def test_forms_of_labels_at_predict_agree():
    policy = MarkovPolicyEstimator().fit(CLIMB)
    forms = [
        LADDER,
        np.array(LADDER),
        pd.Series(LADDER, index=[5, 5, 5]),
        pd.Series(LADDER, dtype="category"),
        pd.DataFrame({"other": 1, "state": LADDER}),
        [[label] for label in LADDER],
    ]
    for X in forms:
        assert_array_equal(policy.predict(X), ["climb"] * 3)
    assert policy.predict([]).shape == (0,)


@pytest.mark.parametrize(
    "method",
    ["predict", "predict_proba", "decision_function", "score_samples", "score", "policy_map"],
)
def test_methods_need_fit(method):
    arguments = [] if method == "policy_map" else [CLIMB]
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(MarkovPolicyEstimator(), method)(*arguments)


@pytest.mark.parametrize("view", ["q_values_", "expected_rewards_", "visit_counts_", "classes_"])
def test_views_need_fit(view):
    assert not hasattr(MarkovPolicyEstimator(), view)


def test_transitions_of_an_action_never_logged():
    policy = MarkovPolicyEstimator().fit(CLIMB)
    with pytest.raises(ValueError, match=r"Action 'fly' was never logged; .* 'climb', 'sink'"):
        policy.transition_matrix("fly")


# --------------------------------------------------------------------- a good scikit-learn citizen


def test_fit_says_when_it_did_not_converge():
    log = LOG.assign(next_state=LOG["state"], episode=range(len(LOG)))  # for ever in one state
    with pytest.warns(ConvergenceWarning, match="Increase max_iter"):
        policy = MarkovPolicyEstimator(gamma=0.9999, tol=1e-14, max_iter=1).fit(log)
    assert not policy.converged_
    assert policy.n_iter_ == 1
    assert policy.value_error_bound_ > 0
    assert np.isfinite(policy.state_values_).all()


class Recorder:
    """A callback of scikit-learn that keeps what it is told."""

    def __init__(self):
        self.told = []

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.told.append(("end", context.task_name))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name))


@pytest.mark.parametrize("pessimism", [0.0, 0.5])
def test_callbacks_are_told_of_every_iteration(pessimism):
    recorder = Recorder()
    policy = MarkovPolicyEstimator(pessimism=pessimism).set_callbacks(recorder).fit(CLIMB)
    iterations = [("begin", "iteration"), ("end", "iteration")]
    n_iter = (len(recorder.told) - 4) // 2
    assert n_iter == policy.n_iter_ if pessimism == 0 else n_iter > policy.n_iter_
    assert recorder.told == [
        ("setup", "fit"),
        ("begin", "fit"),
        *(n_iter * iterations),
        ("end", "fit"),
        ("teardown", "fit"),
    ]
    alone = MarkovPolicyEstimator(pessimism=pessimism).fit(CLIMB)
    assert_array_equal(policy.state_values_, alone.state_values_)


def test_callbacks_are_torn_down_when_fit_fails():
    recorder = Recorder()
    policy = MarkovPolicyEstimator(gamma=1).set_callbacks(recorder)
    loop = pd.DataFrame({"state": ["a"], "action": ["x"], "next_state": ["a"], "reward": [1.0]})
    with pytest.raises(ValueError, match="endless loop"):
        policy.fit(loop)
    assert recorder.told == [("setup", "fit"), ("begin", "fit"), ("teardown", "fit")]


def test_a_progress_bar_of_scikit_learn_shows_the_fit(capsys):
    policy = MarkovPolicyEstimator().set_callbacks(ProgressBar()).partial_fit(CLIMB)
    assert "MarkovPolicyEstimator - fit" in capsys.readouterr().out
    assert_array_equal(policy.predict(["low"]), ["climb"])


def test_verbose_reports_iterations(capsys):
    policy = MarkovPolicyEstimator(verbose=1).fit(CLIMB)
    assert len(capsys.readouterr().out.splitlines()) == policy.n_iter_


def test_copies_predict_the_same(tmp_path):
    policy = MarkovPolicyEstimator().fit(LOG)
    joblib.dump(policy, tmp_path / "policy.joblib")
    copies = [
        pickle.loads(pickle.dumps(policy)),
        joblib.load(tmp_path / "policy.joblib"),
        copy.deepcopy(policy),
    ]
    for other in copies:
        assert_array_equal(other.predict(LOG), policy.predict(LOG))
        assert_array_equal(other.q_values_, policy.q_values_)
    assert not hasattr(clone(policy), "policy_")


def test_public_labels_are_a_copy():
    policy = MarkovPolicyEstimator().fit(CLIMB)
    policy.states_[:] = "x"
    policy.actions_[:] = "y"
    assert policy.policy_map()["low"] == "climb"


def test_html_repr():
    assert "gamma" in MarkovPolicyEstimator(gamma=0.5)._repr_html_()


def test_refit_in_the_other_form_forgets_names():
    policy = MarkovPolicyEstimator().fit(CLIMB)
    policy.fit(np.array([[0, 1], [1, 0]]), ["a", "b"])
    assert not hasattr(policy, "feature_names_in_")
    assert policy.n_features_in_ == 2


def test_features_in_a_pipeline_with_routed_metadata():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = rng.integers(2, size=300)
    reward = np.where(y == (X[:, 0] > 0), 1.0, -1.0)  # action 1 is right where x0 is positive
    with sklearn.config_context(enable_metadata_routing=True):
        policy = MarkovPolicyEstimator().set_fit_request(reward=True, episode=True)
        policy.set_score_request(reward=True, episode=True)
        bins = KBinsDiscretizer(n_bins=2, encode="ordinal", quantile_method="averaged_inverted_cdf")
        pipe = make_pipeline(StandardScaler(), bins, policy)
        episode = np.arange(300)
        pipe.fit(X, y, reward=reward, episode=episode)
        advice = pipe.predict([[2.0, 0.0], [-2.0, 0.0]])
        assert_array_equal(advice, [1, 0])
        assert pipe.score(X, y, reward=reward, episode=episode) > 0.9
        assert_array_equal(pipe.classes_, [0, 1])


def test_cross_val_predict_gives_probabilities():
    X = pd.DataFrame({"x": [0, 1] * 10})
    y = ["a", "b"] * 10
    probabilities = cross_val_predict(MarkovPolicyEstimator(), X, y, cv=2, method="predict_proba")
    assert_array_equal(probabilities, [[1, 0], [0, 1]] * 10)

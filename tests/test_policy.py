"""What a fitted policy is, and how it is found in what wraps it."""

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmdp import MarkovPolicyEstimator
from skmdp._pipelines import last_step, transform, unwrap
from skmdp._policy import fitted_policy, roles_of
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import policy_table, supported
from skmdp.metrics import compare_policies, evaluate_policy
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder


def test_looking_states_up_leaves_no_trace_in_a_file():
    log = pd.DataFrame({"state": [*"ab"], "room": [1, 2], "action": 0, "reward": [0.0, 1.0]})
    log = log.assign(next_state=None, next_room=None)
    policy = MarkovPolicyEstimator(state=["state", "room"]).fit(log)
    stored = pickle.dumps(policy)
    advice = policy.predict(log)
    assert pickle.dumps(policy) == stored
    assert_array_equal(pickle.loads(stored).predict(log), advice)


def pumps(seed=0, n_episodes=60, n_steps=8):
    """Wear rises; a service sets it to 0; running worn is dear. The record breaks off."""
    rng = np.random.default_rng(seed)
    wear, weeks = rng.uniform(size=n_episodes), []
    for step in range(n_steps):
        action = rng.choice(["run", "service"], size=n_episodes)
        paid = np.where(action == "service", -1.0, np.where(wear > 0.8, -6.0, 1.0))
        after = np.where(action == "service", 0.0, wear + rng.uniform(0, 0.3, size=n_episodes))
        weeks.append(
            pd.DataFrame(
                {
                    "episode": range(n_episodes),
                    "step": step,
                    "wear": wear,
                    "action": action,
                    "next_wear": after,
                    "reward": paid,
                }
            )
        )
        wear = after
    return pd.concat(weeks, ignore_index=True)


def bins(n_states):
    return make_pipeline(
        StateEncoder(state="wear", n_states=n_states),
        MarkovPolicyEstimator(state="wear", gamma=0.9, handle_unknown="nearest"),
    )


LOG, TEST = pumps(0), pumps(1)


# ------------------------------------------------------------------------------ what wraps it


def nested(policy):
    """Every wrapping of a fitted policy that leaves its advice as it is."""
    search = GridSearchCV(policy, {}, cv=EpisodeKFold(2)).fit(LOG)
    return [
        policy,
        FrozenEstimator(policy),
        Pipeline([("first", FunctionTransformer()), ("second", FrozenEstimator(policy))]),
        Pipeline([("outer", Pipeline([("skipped", "passthrough"), ("inner", policy)]))]),
        search,
        FrozenEstimator(search),
    ]


def test_every_wrapping_is_opened():
    policy = bins(4).fit(LOG)
    expected = transform(*([unwrap(policy)[0], TEST]))
    for wrapped in nested(policy):
        transformers, last = unwrap(wrapped)
        assert isinstance(last, MarkovPolicyEstimator)
        pd.testing.assert_frame_equal(transform(transformers, TEST), expected)


def test_tables_of_what_wraps_a_policy_are_those_of_the_policy():
    policy = bins(4).fit(LOG)
    table, support = policy_table(policy), supported(policy, TEST)
    for wrapped in nested(policy):
        pd.testing.assert_frame_equal(policy_table(wrapped), table)
        pd.testing.assert_frame_equal(supported(wrapped, TEST), support)
    assert_array_equal(support["action"], policy.predict(TEST))


def test_evaluations_of_what_wraps_a_policy_are_those_of_the_policy():
    policy = bins(4).fit(LOG)
    value = evaluate_policy(policy, TEST, methods="dm").to_frame()
    for wrapped in nested(policy):
        found = evaluate_policy(wrapped, TEST, methods="dm").to_frame()
        pd.testing.assert_frame_equal(found, value)


def test_the_last_step_has_the_prefix_of_its_parameters():
    pipe = Pipeline([("a", Pipeline([("b", bins(3))]))])
    last, prefix = last_step(pipe)
    assert pipe.get_params()[f"{prefix}gamma"] == last.gamma == 0.9


# ----------------------------------------------------------------- comparing many in any order


def candidates():
    ensemble = PolicyBagging(
        MarkovPolicyEstimator(state="wear", gamma=0.9, handle_unknown="nearest"),
        3,
        bootstrap=True,
        random_state=0,
    )
    found = {f"{n} bins": bins(n).fit(LOG) for n in (2, 3, 5, 8)}
    found["search"] = GridSearchCV(bins(4), {}, cv=EpisodeKFold(2)).fit(LOG)
    found["averaged"] = make_pipeline(StateEncoder(state="wear", n_states=6), ensemble).fit(LOG)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_comparison_gives_each_policy_what_it_is_worth_alone(seed):
    """In every order: states read for one pipeline must not pass for those of another."""
    found = candidates()
    names = np.random.default_rng(seed).permutation(list(found))
    options = {"methods": ["dm", "wis", "is"], "n_bootstrap": 20, "random_state": 0}
    options["columns"] = {"state": "wear"}
    table = compare_policies({name: found[name] for name in names}, TEST, **options)
    assert len(set(table["value"].round(9))) > len(found)
    for name, policy in found.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            alone = evaluate_policy(policy, TEST, **options).to_frame()
        together = table[table["policy"] == name].reset_index(drop=True)
        for column in ("value", "standard_error", "lower", "upper", "untried_share", "thin_share"):
            assert_array_equal(together[column], alone[column], err_msg=f"{name}: {column}")


def constant_reward(seed=0, n_episodes=200):
    """Every step pays 1 whatever is done, for one to five steps."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, size=n_episodes)
    wear = rng.uniform(size=lengths.sum() + 1)
    log = pd.DataFrame({"episode": np.repeat(np.arange(n_episodes), lengths), "wear": wear[:-1]})
    return log.assign(next_wear=wear[1:], action=rng.integers(2, size=len(log)), reward=1.0)


@pytest.mark.filterwarnings("ignore:In .* places a row of X does not lead:UserWarning")
def test_nothing_is_better_than_the_log_where_nothing_matters():
    """The logged policy is followed in the states of each policy, as far as that is followed."""
    policies = {f"{n} bins": bins(n).fit(constant_reward()) for n in (2, 5)}
    test = constant_reward(1)
    table = compare_policies({"today": "behavior", **policies}, test, methods="dm")
    assert_allclose(table["difference"], 0.0, atol=1e-9)
    for name, policy in policies.items():
        alone = evaluate_policy(policy, test, methods="dm").to_frame()
        together = table[table["policy"] == name].reset_index()
        for column in ("value", "difference", "difference_standard_error"):
            assert_allclose(together[column], alone[column], atol=1e-12)


@pytest.mark.parametrize("order", [1, -1])
def test_columns_are_those_said_whatever_the_order_of_policies(order):
    """For what names no columns itself: rules, actions, and the logged policy alone."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({name: rng.integers(2, size=400) for name in ("wear", "dust", "action")})
    log = log.assign(episode=range(400), terminated=True)
    log["reward"] = (log["action"] == log["wear"] ^ log["dust"]) * 1.0
    options = {"methods": "dm", "columns": {"state": ["wear", "dust"]}}
    policies = {"rule": lambda X: X["wear"] ^ X["dust"], "pipe": bins(2).fit(log), "one": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table = compare_policies(dict(list(policies.items())[::order]), log, **options)
        for name in ("rule", "one"):
            alone = evaluate_policy(policies[name], log, **options).to_frame()["value"]
            assert_allclose(table.loc[table["policy"] == name, "value"], alone)


def test_the_logged_policy_is_followed_in_the_states_of_the_policy():
    """A pipeline that only ever saw one action is the log, whatever its states are."""
    only = LOG.assign(action="run")
    one = bins(3).fit(only)
    found = evaluate_policy(one, TEST.assign(action="run"), methods="dm").to_frame()
    assert_allclose(found["difference"], 0.0, atol=1e-12)
    assert_allclose(found["difference_standard_error"], 0.0, atol=1e-12)


# --------------------------------------------------------- what was fitted, not what was set


def test_columns_are_those_of_the_fit_whatever_is_set_later():
    log = LOG.assign(wear=LOG["wear"].round(1), next_wear=LOG["next_wear"].round(1))
    test = TEST.assign(wear=TEST["wear"].round(1), next_wear=TEST["next_wear"].round(1))
    policy = MarkovPolicyEstimator(state="wear", handle_unknown="nearest").fit(log)
    test["other"] = 1.0 - test["wear"]
    score, advice = policy.score(test), policy.predict(test)
    value = evaluate_policy(policy, test, methods="dm").to_frame()
    policy.set_params(state="other", reward="wear", reward_on="state", gamma=0.1)
    assert policy.score(test) == score
    assert_array_equal(policy.predict(test), advice)
    found = evaluate_policy(policy, test, methods="dm").to_frame()
    pd.testing.assert_frame_equal(found, value)
    rewards = MarkovPolicyEstimator(state="wear").fit(log).expected_rewards_
    assert_array_equal(policy.expected_rewards_, rewards)
    with pytest.raises(ValueError, match="state columns were 'wear' before and are 'other' now"):
        policy.partial_fit(log.assign(other=log["wear"], next_other=log["next_wear"]))


@pytest.mark.filterwarnings("ignore:.*would last longer than any in X")
@pytest.mark.filterwarnings("ignore:X holds the very transitions")
def test_a_policy_on_features_is_evaluated_on_a_table_that_has_them():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.integers(3, size=300), "stage": rng.integers(2, size=300)})
    dose, episode = rng.integers(2, size=300), np.arange(300) // 3
    paid = np.where(dose == X["stage"], 1.0, -1.0)
    policy = MarkovPolicyEstimator().fit(X, dose, reward=paid, episode=episode)
    table = X.assign(action=dose, reward=paid, episode=episode)
    assert roles_of(policy).state == ("age", "stage")
    assert_allclose(
        evaluate_policy(policy, table, methods="dm", prior_strength="auto").behavior_value,
        3 * paid.mean(),
        rtol=1e-5,
    )
    value = evaluate_policy(policy, table, methods="dm", prior_strength="auto").to_frame()["value"]
    assert_allclose(value, policy.score(X, dose, reward=paid, episode=episode), rtol=1e-5)


# ------------------------------------------------------------------------------ nearest states


@given(
    st.lists(st.integers(-20, 20), min_size=2, max_size=8, unique=True),
    st.sampled_from([0.0, 0.1, -3.7e5, 1e200, 5e-324]),
    st.sampled_from([1.0, 1e-150, 1e150]),
    st.integers(-25, 25),
)
def test_a_constant_column_has_no_say_in_what_is_nearest(points, constant, scale, asked):
    labels = np.array(points, dtype=float) * scale
    log = pd.DataFrame({"x": labels, "c": constant, "action": np.arange(len(points))})
    log = log.assign(next_x=np.nan, next_c=np.nan, reward=1.0, episode=range(len(points)))
    policy = MarkovPolicyEstimator(state=["x", "c"], handle_unknown="nearest").fit(log)
    distances = np.abs(np.array(points) - asked - 0.25)
    nearest = np.flatnonzero(distances == distances.min())
    # However far off it is asked about in the column that has no say.
    for other in (constant, 0.3, -1e300):
        X = np.array([[(asked + 0.25) * scale, other]])
        assert policy.predict(X)[0] in nearest


def test_a_column_that_differs_by_rounding_has_no_say():
    """0.1 + 0.2 is not 0.3, but no distance in that column means anything."""
    log = pd.DataFrame({"x": [0.0, 10.0, 20.0], "c": [0.3, 0.1 + 0.2, 0.3], "action": [0, 1, 2]})
    log = log.assign(next_x=np.nan, next_c=np.nan, reward=1.0, episode=range(3))
    policy = MarkovPolicyEstimator(state=["x", "c"], handle_unknown="nearest").fit(log)
    for c in (0.3, 0.1 + 0.2, 5.0):
        assert_array_equal(policy.predict([[1.0, c], [11.0, c], [19.0, c]]), [0, 1, 2])


@pytest.mark.parametrize("far", [1e308, -1e308])
def test_states_beyond_all_distances_are_answered(far):
    log = pd.DataFrame({"x": [0.0, 1e-150, 2e-150], "action": [0, 1, 2], "reward": 1.0})
    log = log.assign(next_x=np.nan, episode=range(3))
    policy = MarkovPolicyEstimator(state="x", handle_unknown="nearest").fit(log)
    assert policy.predict([far])[0] in policy.actions_


def test_states_that_are_all_one_point_answer_alike():
    log = pd.DataFrame({"state": [0.1] * 3, "action": [1, 1, 0], "next_state": np.nan})
    log = log.assign(reward=[1.0, 1.0, 5.0], episode=range(3))
    policy = MarkovPolicyEstimator(handle_unknown="nearest").fit(log)
    assert_array_equal(policy.predict([0.1, 7.0, -1e300]), [0, 0, 0])


# ----------------------------------------------------------------------------------- one row


def test_one_row_is_refused_with_what_makes_a_table_of_it():
    log = LOG.assign(wear=LOG["wear"].round(1), next_wear=LOG["next_wear"].round(1))
    policy = MarkovPolicyEstimator(state="wear", handle_unknown="nearest").fit(log)
    row = log.iloc[3]
    with pytest.raises(TypeError, match=r"one row.*pandas.DataFrame\(\[row\]\)"):
        policy.predict(row)
    with pytest.raises(TypeError, match=r"one row.*pandas.DataFrame\(\[row\]\)"):
        policy.predict(row.to_dict())
    for one in (row, row.to_dict()):
        assert_array_equal(policy.predict(pd.DataFrame([one])), policy.predict(log.iloc[[3]]))
    pipe = bins(3).fit(LOG)
    for one in (row, row.to_dict(), row[["wear"]]):
        with pytest.raises(TypeError, match=r"one row.*pandas.DataFrame\(\[row\]\)"):
            pipe.predict(one)
    # A Series of states, whatever its index, is one state a row.
    assert len(policy.predict(log["wear"])) == len(log)


def test_a_policy_of_several_columns_is_written_as_records():
    log = pd.DataFrame({"age": [1, 2], "stage": ["a", "b"], "action": ["x", "y"]})
    log = log.assign(next_age=[2, None], next_stage=["b", None], reward=1.0, episode=0)
    policy = MarkovPolicyEstimator(state=["age", "stage"]).fit(log)
    columns = ["age", "stage", "action"]
    records = json.loads(policy_table(policy)[columns].to_json(orient="records"))
    keys = {(row["age"], row["stage"]): row["action"] for row in records}
    assert keys == policy.policy_map() == {(1, "a"): "x", (2, "b"): "y"}


# -------------------------------------------------------------------------- stored elsewhere


def test_files_of_the_first_version_say_what_to_do():
    """A reference to the class as that version wrote it, in the oldest protocol."""
    with pytest.raises(ImportError, match=r"stored by skmdp 0\.1.*Fit it anew"):
        pickle.loads(b"cskmdp._evidence\nEvidence\n.")
    with pytest.raises(AttributeError, match="attribute 'Other'"):
        pickle.loads(b"cskmdp._evidence\nOther\n.")


def test_a_policy_without_decisions_in_common_is_no_table():
    ensemble = PolicyBagging(bins(3), 2, random_state=0)
    ensemble.estimator.set_params(stateencoder__shift_bins=True)
    ensemble.fit(LOG)
    with pytest.raises(TypeError, match=r"make states of their own.*supported\(ensemble, X\)"):
        policy_table(ensemble)
    support = supported(ensemble, TEST)
    assert_array_equal(support["action"], ensemble.predict(TEST))
    members = [supported(member, TEST) for member in ensemble.estimators_]
    states = np.mean([member["state_visits"] for member in members], axis=0)
    assert_allclose(support["state_visits"], states)
    assert len(policy_table(ensemble.estimators_[0]))


def test_the_table_of_identical_members_is_that_of_one():
    log = LOG.assign(wear=LOG["wear"].round(1), next_wear=LOG["next_wear"].round(1))
    single = MarkovPolicyEstimator(state="wear", gamma=0.9, min_count=3, handle_unknown="nearest")
    with pytest.warns(UserWarning, match="All members are the same"):
        ensemble = PolicyBagging(single, 4).fit(log)
    found, expected = policy_table(ensemble), policy_table(single.fit(log))
    pd.testing.assert_frame_equal(found, expected)
    asked = pd.DataFrame({"wear": [0.0, 0.5, 77.0]})
    pd.testing.assert_frame_equal(supported(ensemble, asked), supported(single, asked))


@pytest.mark.parametrize("thing", [{"a": "b"}, "run", FunctionTransformer()])
def test_what_is_no_policy_has_no_table(thing):
    for ask in (policy_table, lambda policy: supported(policy, ["a"])):
        with pytest.raises(TypeError, match=r"policy must be a Markov.*Hand in"):
            ask(thing)


def test_a_fitted_policy_is_asked_for_once_fitted():
    with pytest.raises(ValueError, match="not fitted"):
        fitted_policy(MarkovPolicyEstimator())

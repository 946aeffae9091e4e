"""Policies of every kind on one log."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier
from test_evaluation import random_log

from skmdp import MarkovPolicyEstimator
from skmdp.metrics import compare_policies, evaluate_policy, policy_scorer
from skmdp.model_selection import EpisodeKFold

ACTIONS = np.array(["rest", "walk", "run"])
NAMES = np.array(["ä", "b b", "c", ""])


def labelled(seed, **options):
    table = random_log(seed, **options)
    following = table["next_state"].map(dict(enumerate(NAMES)), na_action="ignore")
    return table.assign(
        state=NAMES[table["state"]], action=ACTIONS[table["action"]], next_state=following
    )


N = 2000
# Short episodes, so that a deterministic policy agrees with enough of them to their end.
TRAIN, TEST = (labelled(seed, n_episodes=N, ending=0.7) for seed in (0, 1))
LEARNED = MarkovPolicyEstimator().fit(TRAIN)


def value(policy, X=TEST, **options):
    return evaluate_policy(policy, X, methods="dm", **options).to_frame()["value"][0]


def same(policy):
    return policy.loc[:, ["value", "standard_error", "lower", "upper", "difference"]]


def test_every_form_of_a_policy_is_worth_the_same():
    expected = value(LEARNED)
    in_a_table = LEARNED.policy_map()
    tree = DecisionTreeClassifier().fit(
        pd.get_dummies(pd.Series(list(in_a_table)))[NAMES], list(in_a_table.values())
    )
    one_hot = FunctionTransformer(lambda X: pd.get_dummies(X["state"])[NAMES])

    class AsPredicted:
        """A policy of no kind known to skmdp."""

        def predict(self, states):
            return tree.predict(one_hot.transform(states))

    copies = make_pipeline(FunctionTransformer(lambda table: table.copy()), LEARNED)
    alone = make_pipeline(LEARNED)
    for policy in (in_a_table, pd.Series(in_a_table), AsPredicted(), copies, alone):
        assert_allclose(value(policy), expected, rtol=1e-12)


def test_a_search_is_its_best_policy():
    search = GridSearchCV(LEARNED, {"gamma": [0.5, 0.9]}, cv=EpisodeKFold(3)).fit(TRAIN)
    assert_allclose(value(search), value(search.best_estimator_))


def test_score_is_the_direct_method_with_auto():
    assert_allclose(LEARNED.score(TEST), value(LEARNED, prior_strength="auto"), rtol=1e-5)


def test_one_action_everywhere():
    always = dict.fromkeys(NAMES, "rest")
    assert_allclose(value("rest"), value(always))


def test_states_of_several_columns():
    split = TEST.assign(
        a=(TEST["state"] > "b"), b=TEST["state"].str.len(), next_a=None, next_b=None
    )
    split[["next_a", "next_b"]] = split[["next_a", "next_b"]].astype("object")
    ends = TEST["next_state"].isna()
    split["next_a"] = (TEST["next_state"] > "b").astype("boolean").mask(ends)
    split["next_b"] = TEST["next_state"].str.len().astype("Int64").mask(ends)
    policy = MarkovPolicyEstimator(state=["a", "b"]).fit(split)
    by_key = policy.policy_map()
    assert all(isinstance(key, tuple) for key in by_key)
    other = split[split["episode"] < 1000]
    names = {"state": ["a", "b"]}
    assert_allclose(value(by_key, other, columns=names), value(policy, other))
    for key in ("c", ("c",)):
        with pytest.raises(ValueError, match=r"a state of 2 columns is a tuple .* 'a', 'b'"):
            value({**by_key, key: "rest"}, other, columns=names)
    series = pd.Series(by_key.values(), index=pd.MultiIndex.from_tuples(by_key))
    assert_allclose(value(series, other, columns=names), value(policy, other))


def test_columns_of_other_names():
    renamed = TEST.rename(columns={"state": "s", "next_state": "next_s", "action": "drug"})
    names = {"state": "s", "action": "drug"}
    assert_allclose(value("rest", renamed, columns=names), value("rest"))
    with pytest.raises(ValueError, match="no column 'action'"):
        value("rest", renamed)
    with pytest.raises(ValueError, match="no column 'action'"):
        value(LEARNED, renamed)


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        ("jog", ValueError, r"answers 'jog', an action that X never logs.*'rest', 'run', 'walk'"),
        (dict.fromkeys(NAMES, "jog"), ValueError, "answers 'jog', an action that X never logs"),
        ({"c": "rest"}, ValueError, r"no action for 3 state\(s\) that X acts in, such as ''"),
        ({}, ValueError, "The policy is empty"),
        ({1: "rest"}, TypeError, "'state' in X holds labels of kind 'str'; labels of different"),
        (3, TypeError, "'action' in X holds labels of kind 'str'; labels of different kinds"),
        (
            pd.Series(["rest"] * 5, index=[*NAMES, "c"]),
            ValueError,
            "names a state twice",
        ),
        (MarkovPolicyEstimator(), ValueError, "not fitted"),
        (
            MarkovPolicyEstimator().fit([[1], [2]], [0, 1], reward=[0, 1]),
            ValueError,
            "no column 'x0' for the role 'state'",
        ),
    ],
)
def test_what_is_no_policy_of_the_log_is_refused(policy, error, message):
    with pytest.raises(error, match=message):
        value(policy)


def test_states_that_the_log_never_acts_in_are_named():
    policy = {**dict.fromkeys(NAMES, "rest"), "d": "rest"}
    with pytest.warns(UserWarning, match=r"names 1 state\(s\) that X never acts in, such as 'd'"):
        assert_allclose(value(policy), value("rest"))


def test_estimators_must_name_the_same_columns():
    """What names them for all is applied as the message says."""
    names = {"action": "a", "reward": "r"}
    other = MarkovPolicyEstimator(**names).fit(TRAIN.rename(columns=names))
    policies = {"one": LEARNED, "other": other}
    with pytest.raises(ValueError, match=r"name the columns of X differently.*columns=\{") as error:
        compare_policies(policies, TEST, methods="dm")
    assert len(str(error.value)) <= 500
    usual = {name: name for name in names}
    table = compare_policies(policies, TEST, methods="dm", columns=usual)
    assert_allclose(table["value"], value(LEARNED))


def test_policies_may_have_states_of_their_own():
    """Of the same rows: the states of one may be other columns than those of another."""
    test = TEST.assign(s=TEST["state"], next_s=TEST["next_state"])
    other = MarkovPolicyEstimator(state="s").fit(TRAIN.rename(columns={"state": "s"}))
    table = compare_policies({"one": LEARNED, "other": other}, test, methods="dm")
    assert_allclose(table["difference"], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"stat": "s"}, ValueError, r"no role 'stat'\. Did you mean 'state'\?"),
        ({"state": None}, TypeError, "state must name columns"),
        ({"action": ["a", "b"]}, TypeError, "action names one column, got 2"),
        ({"reward": "benefit"}, ValueError, r"no column 'benefit'.*columns=\{'reward': \.\.\.\}"),
    ],
)
def test_columns_are_named_by_role(columns, error, message):
    with pytest.raises(error, match=message):
        value("rest", columns=columns)


def test_evaluation_needs_rewards():
    blind = MarkovPolicyEstimator(reward=None).fit(TRAIN)
    with pytest.raises(ValueError, match="needs rewards"):
        value(blind)


def two_columns(n=600, seed=0):
    """The action is right where it equals the first of two columns."""
    rng = np.random.default_rng(seed)
    log = pd.DataFrame({name: rng.integers(2, size=n) for name in ("a", "b", "action")})
    return log.assign(episode=range(n), terminated=True, reward=(log["action"] == log["a"]) * 1.0)


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
def test_columns_of_a_state_are_told_by_name(order):
    """In whatever order they are named beside the policy."""
    log, test = two_columns(), two_columns(seed=1)
    columns = {"state": order}
    for policy in (
        MarkovPolicyEstimator(state=["b", "a"]).fit(log),
        log[log["reward"] == 1].groupby(["b", "a"])["action"].first(),
        log[log["reward"] == 1].groupby(["a", "b"])["action"].first(),
        lambda states: states["a"],
    ):
        assert_allclose(value(policy, test, columns=columns), 1.0, atol=0.03)


def test_one_answer_is_no_answer_for_every_row():
    with pytest.raises(ValueError, match=r"answered 'rest' for a table of .* handed in itself"):
        value(lambda _: "rest")
    with pytest.raises(ValueError, match="methods must be different ones of"):
        policy_scorer("fq")


@pytest.mark.parametrize("actions", [["rest", "run"], np.array(["rest", "run"])])
def test_several_actions_without_probabilities_are_refused(actions):
    undecided = dict.fromkeys(NAMES, actions)
    message = r"names \[?.*'rest'.*Name one action for each state, or probabilities of actions"
    for policy in (undecided, pd.Series(undecided)):
        with pytest.raises(TypeError, match=message):
            value(policy)


def test_a_policy_is_asked_about_the_columns_said_beside_it():
    """Whatever they were called in its log: the state then has another name here."""
    test = TEST.rename(columns={"state": "s", "next_state": "next_s"})
    assert_allclose(value(LEARNED, test, columns={"state": "s"}), value(LEARNED))


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
def test_next_states_said_beside_a_policy_go_with_their_states(order):
    log = two_columns().drop(columns="terminated").assign(then_a=0, then_b=1)
    log["episode"] //= 3
    policy = MarkovPolicyEstimator(state=["b", "a"], next_state=["then_b", "then_a"]).fit(log)
    other = log.rename(columns={"then_a": "x_a", "then_b": "x_b"})
    said = {"state": order, "next_state": [f"x_{name}" for name in order]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert_allclose(value(policy, other, columns=said), value(policy, log))

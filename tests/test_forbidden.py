"""What may not be done is never advised, and values are those of the process without it."""

import datetime as dt
import pickle
import warnings
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import learn, link
from reference import policy as advice_of
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp._policy import fitted_policy
from skmdp.datasets import load_climb, make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import forbidden_cost, policy_table, supported
from skmdp.metrics import compare_policies, evaluate_policy
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder
from skmdp.solvers import EndlessLoopError

CLIMB = load_climb()
SILENT = {"handle_unknown": "most_frequent"}
LIBRARIES = {
    "pandas": lambda t: t,
    "polars": pl.from_pandas,
    "pyarrow": lambda t: pa.table(t.to_dict("list")),
}


def table(*pairs, names=("state", "action")):
    return pd.DataFrame(list(pairs), columns=list(names))


def decisions(rows, names=("state", "action", "reward")):
    """Make a log of one-step decisions, of which the last row's state is reached by none."""
    log = pd.DataFrame(rows, columns=list(names))
    return log.assign(episode=range(len(log)), next_state=None)


def random_log(seed, n_rows=60, n_states=4, n_actions=3):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "episode": np.arange(n_rows) // 6,
            "state": rng.integers(n_states, size=n_rows),
            "action": rng.integers(n_actions, size=n_rows),
            "next_state": rng.integers(n_states + 1, size=n_rows),  # the last is only reached
            "reward": rng.integers(-3, 4, size=n_rows).astype(float),
        }
    )


def random_rule(seed, log, share=0.3):
    """Forbid some pairs, but leave each state a logged action."""
    rng = np.random.default_rng(seed)
    pairs = log[["state", "action"]].drop_duplicates()
    kept = pairs.sample(frac=1, random_state=seed).drop_duplicates("state")
    others = pairs.merge(kept, how="left", indicator=True).query("_merge == 'left_only'")
    return others[rng.uniform(size=len(others)) < share][["state", "action"]]


# ------------------------------------------------------------------------------------ brute force


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=5),
    st.sampled_from(["exclude", "uniform"]),
    st.sampled_from([0, 3]),
    st.sampled_from([0, 2.5]),
    st.sampled_from(["state_action", "state"]),
)
def test_every_table_equals_brute_force(seed, forbidden, untried, min_count, kappa, reward_on):
    log = random_log(seed, n_rows=24)
    options = {"untried": untried, "min_count": min_count, "reward_on": reward_on}
    rows = link(log.to_dict("records"))
    expected = learn(rows, 0.8, kappa=kappa, forbidden=set(forbidden), **options)
    everything = {s for s in expected["states"] if {(s, a) for a in range(3)} <= set(forbidden)}
    assume(len(expected["actions"]) == 3)
    policy = MarkovPolicyEstimator(
        gamma=0.8, prior_strength=kappa, tol=1e-12, forbidden=table(*forbidden), **options
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "min_count=3 excludes", UserWarning)
        if everything or not all(expected["Q"].values()):
            with pytest.raises(ValueError, match="without an action"):
                policy.fit(log)
            return
        policy.fit(log)
    assert_allclose(policy.state_values_, [expected["V"][s] for s in expected["states"]], atol=1e-9)
    for s, q in zip(expected["states"], policy.q_values_, strict=True):
        default = {a: -np.inf if (s, a) in forbidden else 0.0 for a in range(3)}
        known = dict.fromkeys(range(3), -np.inf) | expected["Q"][s] if s in expected["Q"] else {}
        assert_allclose(q, list((default | known).values()), atol=1e-9)
    advised = advice_of(expected, 1e-9 * max(1.0, *map(abs, expected["V"].values())))
    assert policy.policy_map() == advised
    assert not set(zip(policy.states_, policy.policy_, strict=True)) & set(forbidden)


@pytest.mark.parametrize("seed", range(5))
def test_no_policy_that_is_allowed_is_worth_more(seed):
    """Of all policies that keep to the rule, none has a larger value in any state."""
    log = random_log(seed, n_states=3)
    rule = random_rule(seed, log, share=0.6)
    policy = MarkovPolicyEstimator(gamma=0.7, tol=1e-12, forbidden=rule).fit(log)
    free = MarkovPolicyEstimator(gamma=0.7).fit(log)
    taboo = set(rule.itertuples(index=False, name=None))
    choices = [
        [a for a in free.actions_ if free.visit_counts_[s, a] and (s, a) not in taboo]
        for s in range(3)
    ]
    P = [free.transition_matrix(a).toarray() for a in free.actions_]
    values = []
    for actions in product(*choices):
        rows, rewards = np.zeros((4, 4)), np.zeros(4)
        for s, a in enumerate(actions):
            rows[s], rewards[s] = P[a][s], free.expected_rewards_[s, a]
        values.append(np.linalg.solve(np.eye(4) - 0.7 * rows, rewards))
    assert_allclose(policy.state_values_, np.max(values, axis=0), atol=1e-9)


# ------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("prior_strength", [0, 1.5, "auto"])
@pytest.mark.parametrize("seed", range(4))
def test_to_forbid_what_is_not_advised_changes_no_advice(seed, prior_strength):
    log = random_log(seed)
    free = MarkovPolicyEstimator(prior_strength=prior_strength, tol=1e-12).fit(log)
    others = table(
        *((s, a) for s, a in product(range(5), range(3)) if a != free.policy_[s]),
    )
    for rule in (others.sample(3, random_state=seed), others):  # some, and all but the advice
        bound = clone(free).set_params(forbidden=rule).fit(log)
        assert_array_equal(bound.policy_, free.policy_)
        assert_allclose(bound.state_values_, free.state_values_, atol=1e-9)
        assert np.abs(forbidden_cost(bound)["cost"]).max() < 1e-9
        assert bound.prior_strength_ == free.prior_strength_


@pytest.mark.parametrize("seed", range(4))
def test_values_are_never_above_those_without(seed):
    log = random_log(seed)
    before = MarkovPolicyEstimator(tol=1e-12, prior_strength=1.0).fit(log).state_values_
    for share in (0.3, 0.6, 1.0):  # of a random order, each rule holds those before it
        rule = random_rule(seed, log, share)
        bound = MarkovPolicyEstimator(tol=1e-12, prior_strength=1.0, forbidden=rule).fit(log)
        assert (bound.state_values_ <= before + 1e-9).all()
        assert (forbidden_cost(bound)["cost"] > -1e-9).all()
        before = bound.state_values_


def test_the_process_is_that_without_the_pairs():
    """Without a prior, advice and values are those of a log without these rows."""
    log = random_log(3)
    rule = random_rule(3, log, 1.0)
    without = log.merge(rule, how="left", indicator=True).query("_merge == 'left_only'")
    bound = MarkovPolicyEstimator(forbidden=rule, tol=1e-12).fit(log)
    same = MarkovPolicyEstimator(tol=1e-12).fit(without.drop(columns="_merge"))
    known = [0, 1, 2, 3]
    assert_array_equal(bound.predict(known), same.predict(known))
    assert_allclose(bound.score_samples(known), same.score_samples(known), atol=1e-9)
    for name in ("pair_state", "pair_action"):
        pairs = getattr(bound.mdp_, name)
        assert len(pairs) == len(getattr(same.mdp_, name))


def test_rows_that_took_a_forbidden_action_count_all_the_same():
    log = random_log(1)
    free = MarkovPolicyEstimator(prior_strength=3.0, tol=1e-12).fit(log)
    bound = MarkovPolicyEstimator(
        prior_strength=3.0, tol=1e-12, forbidden=random_rule(1, log, 1.0)
    ).fit(log)
    assert_array_equal(bound.visit_counts_, free.visit_counts_)
    assert_array_equal(bound.behavior_policy_.toarray(), free.behavior_policy_.toarray())
    assert_array_equal(bound.initial_distribution_, free.initial_distribution_)
    assert_array_equal(bound.expected_rewards_, free.expected_rewards_)  # shrunk to all rows
    logged = policy_table(bound)["most_logged_action"]
    assert_array_equal(logged, policy_table(free)["most_logged_action"])


def test_rows_in_any_order_and_twice_are_the_same_rule():
    log, rule = random_log(2), random_rule(2, random_log(2), 1.0)
    expected = MarkovPolicyEstimator(forbidden=rule).fit(log).q_values_
    shuffled = pd.concat([rule, rule]).sample(frac=1, random_state=0)
    assert_array_equal(MarkovPolicyEstimator(forbidden=shuffled).fit(log).q_values_, expected)


@pytest.mark.parametrize("empty", [None, table(), pd.DataFrame(), pl.DataFrame()])
def test_an_empty_table_forbids_nothing(empty):
    bound = MarkovPolicyEstimator(forbidden=empty).fit(CLIMB)
    free = MarkovPolicyEstimator().fit(CLIMB)
    assert_array_equal(bound.q_values_, free.q_values_)
    assert (forbidden_cost(bound)["cost"] == 0).all()
    assert fitted_policy(bound).forbidden is None


def test_what_was_never_logged_changes_nothing():
    rule = table(("low", "jump"), ("nowhere", "climb"))
    bound = MarkovPolicyEstimator(forbidden=rule).fit(CLIMB)
    assert_array_equal(bound.q_values_, MarkovPolicyEstimator().fit(CLIMB).q_values_)


# ----------------------------------------------------------------------------- states left out


TWO = pd.DataFrame(
    list(product(["old", "young"], [1, 2], ["cut", "pill", "wait"])),
    columns=["age", "stage", "action"],
).assign(reward=np.tile([3.0, 2.0, 1.0], 4), episode=range(12), next_age=None, next_stage=None)


@pytest.mark.parametrize(
    ("names", "rows", "unlike"),
    [
        (["action"], [("cut",)], {("old", 1), ("old", 2), ("young", 1), ("young", 2)}),
        (["age", "action"], [("old", "cut")], {("old", 1), ("old", 2)}),
        (["action", "stage"], [("cut", 2)], {("old", 2), ("young", 2)}),
        (["stage", "action", "age"], [(2, "cut", "old")], {("old", 2)}),
        (["age", "action"], [("old", "cut"), ("young", "wait")], {("old", 1), ("old", 2)}),
    ],
)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_column_left_out_means_any(names, rows, unlike, library):
    rule = LIBRARIES[library](table(*rows, names=names))
    log = LIBRARIES[library](TWO)
    policy = MarkovPolicyEstimator(state=["age", "stage"], forbidden=rule, **SILENT).fit(log)
    advice = policy.policy_map()
    assert {state for state, action in advice.items() if action == "pill"} == unlike
    assert {state for state, action in advice.items() if action == "cut"} == set(advice) - unlike


def test_an_unknown_state_is_matched_by_the_columns_named():
    rule = table(("old", "cut"), names=["age", "action"])
    log = pd.concat([TWO, TWO[TWO["action"] == "cut"].assign(episode=range(20, 24))])
    policy = MarkovPolicyEstimator(state=["age", "stage"], forbidden=rule, **SILENT).fit(log)
    asked = pd.DataFrame({"age": ["old", "young", "none"], "stage": [9, 9, 1]})
    assert policy.default_action_ == "cut"
    assert_array_equal(policy.predict(asked), ["pill", "cut", "cut"])
    assert_array_equal(policy.predict_proba(asked)[0], [0, 1, 0])


# ----------------------------------------------------------------------------- equality of labels

DAY, NOON = dt.date(2024, 2, 29), pd.Timestamp("2024-02-29 12:00", tz="UTC")
ALIKE = {
    "float for int": ([1, 2], [1.0]),
    "int for float": ([1.0, 2.5], [1]),
    "fraction for int": ([1, 2], [1.0, 1.5]),
    "category": (["a", "b"], pd.Categorical(["a"], categories=["z", "a"])),
    "of a category": (pd.Categorical(["a", "b"]), ["a"]),
    "date": ([DAY, DAY + dt.timedelta(1)], [DAY]),
    "zone": ([NOON, NOON + pd.Timedelta("1h")], [NOON.tz_convert("Asia/Tokyo")]),
    "unit": (
        np.array(["2024-02-29", "2024-03-01"], dtype="M8[s]"),
        np.array(["2024-02-29"], "M8[ns]"),
    ),
    "nullable": ([1, 2], pd.array([1], dtype="Int8")),
    "single": ([0.1, 0.2], np.array([0.1], dtype=np.float32)),
    "bool": ([True, False], pd.array([True], dtype="boolean")),
}


@pytest.mark.parametrize("case", ALIKE)
@pytest.mark.parametrize("role", ["state", "action"])
def test_labels_are_equal_as_those_of_a_log_are(case, role):
    """The first of the labels of the log is the one that is meant."""
    labels, meant = ALIKE[case]
    other = {"state": "action", "action": "state"}[role]
    log = pd.DataFrame({role: pd.Series(labels).repeat(2).reset_index(drop=True)})
    log[other] = [1, 2, 1, 2]
    if role == "state":
        log["reward"] = [5.0, 1.0, 5.0, 1.0]
        rule = pd.DataFrame({"state": meant, "action": 1})
        expected = [2, 1]
    else:
        log["reward"] = [5.0, 5.0, 1.0, 1.0]
        rule = pd.DataFrame({"action": meant, "state": 1})
        expected = [1, 0]  # positions of the labels: the other one where it is forbidden
    log = log.assign(episode=range(4), next_state=None)
    policy = MarkovPolicyEstimator(forbidden=rule).fit(log)
    states = log["state"].drop_duplicates()
    got = policy.predict(states)
    if role == "action":
        got = [list(pd.Series(labels)).index(action) for action in got]
    assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (table((1, "climb")), TypeError, "forbidden: Column 'state' holds labels of kind 'int'"),
        (table(("low", 1)), TypeError, "forbidden: Column 'action' holds labels of kind 'int'"),
        (table(("low", None)), ValueError, "forbidden: Column 'action' contains NaN or None in 1"),
        (
            table(("low", "climb"), (None, "climb")),
            ValueError,
            r"'state' contains NaN or None in 1 row\(s\), first at row 1.*left out of the whole",
        ),
        (table((["low"], "climb")), TypeError, "forbidden: Column 'state' holds a list"),
        (table(("low",), names=["state"]), ValueError, "no column 'action' that says what may not"),
        (
            table(("low", "climb"), names=["state", "Action"]),
            ValueError,
            "no column 'action'.*Did you mean 'Action'",
        ),
        (
            table(("low", "climb"), names=["age", "action"]),
            ValueError,
            "column 'age' is no column of the state.*may have 'state'",
        ),
        (
            table(("low", "climb"), names=["State", "action"]),
            ValueError,
            "Did you mean 'state'",
        ),
        (table(("low", "climb")).set_index("state"), ValueError, "'state' is in the index"),
        (table(("low", "climb")).set_index("action"), ValueError, "'action' is in the index"),
        ({"low": "climb"}, TypeError, "forbidden: Expected a table of what may not be done.*dict"),
        ([("low", "climb")], TypeError, "got list"),
        (pl.DataFrame({"action": ["climb"]}).lazy(), TypeError, r"lazy table.*collect\(\)"),
        (pd.concat([table(("low", "climb"))] * 2, axis=1), ValueError, "two columns of one name"),
    ],
)
def test_what_cannot_be_read_is_refused(rule, error, message):
    policy = MarkovPolicyEstimator(forbidden=rule)
    with pytest.raises(error, match=message) as raised:
        policy.fit(CLIMB)
    assert len(str(raised.value)) <= 500
    assert not hasattr(policy, "policy_")


def test_messages_stay_short_whatever_the_names():
    huge = "x" * 10**5
    log = decisions([("s" + huge, "a" + huge, 1.0)])
    rules = [
        table((1, 2), names=[huge, "action"]),
        table((1,), names=[huge]),
        table(("s" + huge, "a" + huge)),
        table(("s" + huge, "A" + huge)),
        table(("s" + huge, 1)),
    ]
    for rule in rules:
        with pytest.raises((TypeError, ValueError, UserWarning)) as raised:
            MarkovPolicyEstimator(forbidden=rule).fit(log)
        assert len(str(raised.value)) <= 500


def test_a_slip_of_the_pen_is_told():
    with pytest.warns(UserWarning, match="'Climb' in column 'action', which the log.*is 'climb'"):
        MarkovPolicyEstimator(forbidden=table(("low", "Climb"))).fit(CLIMB)


def test_a_slip_of_the_pen_in_a_state_is_told():
    """The rule would hold nowhere in the log; written as there, it holds and nothing is said."""
    with pytest.warns(UserWarning, match="names 'hig' in column 'state', which.* is 'high'") as w:
        policy = MarkovPolicyEstimator(forbidden=table(("hig", "climb"))).fit(CLIMB)
    assert policy.policy_map()["high"] == "climb"
    assert w[0].filename == __file__
    rule = table(("high", "climb"))
    assert MarkovPolicyEstimator(forbidden=rule).fit(CLIMB).policy_map()["high"] != "climb"


def test_each_column_of_the_state_is_looked_at():
    log = decisions(
        [("fever", "old", "give", 1.0), ("cough", "young", "wait", 1.0)],
        names=("sign", "age", "action", "reward"),
    )
    log = log.drop(columns="next_state")
    learner = MarkovPolicyEstimator(state=["sign", "age"])
    learner.set_params(forbidden=table(("fever", "yuong", "wait"), names=("sign", "age", "action")))
    with pytest.warns(UserWarning, match="names 'yuong' in column 'age'.* is 'young'"):
        learner.fit(log)
    learner.set_params(forbidden=table(("Fever ", "wait"), names=("sign", "action")))
    with pytest.warns(UserWarning, match="names 'Fever ' in column 'sign'.* is 'fever'"):
        learner.fit(log)


@pytest.mark.parametrize(
    ("known", "named"),
    [
        (["ward 1", "ward 2"], "ward 12"),
        (["grade A", "grade B"], "grade C"),
        (["mild", "severe"], "comatose"),
        ([10, 20], 11),
        ([0.5, 1.5], 0.6),
    ],
)
def test_another_state_may_be_one_to_come(known, named):
    log = decisions([(known[0], "x", 1.0), (known[1], "y", 1.0)])
    policy = MarkovPolicyEstimator(forbidden=table((named, "x")), handle_unknown="most_frequent")
    assert policy.fit(log).predict([named]).tolist() == ["y"]


@pytest.mark.parametrize(
    ("logged", "named"), [(["drug 1", "drug 2"], "drug 12"), ([1, 2], 3), (["a", "b"], "c")]
)
def test_another_number_is_another_action(logged, named):
    log = decisions([(0, logged[0], 1.0), (0, logged[1], 2.0)])
    policy = MarkovPolicyEstimator(forbidden=table((0, named))).fit(log)  # without a warning
    assert policy.policy_map() == {0: logged[1]}


# ------------------------------------------------------------------------- nothing left to be done


def test_a_state_left_without_an_action_is_named():
    rule = table(("low", "climb"), ("mid", "climb"), ("low", "sink"), ("mid", "sink"))
    message = r"leaves 2 state\(s\) without an action, first 'low': all that was logged there"
    with pytest.raises(ValueError, match=message) as raised:
        MarkovPolicyEstimator(forbidden=rule).fit(CLIMB)
    assert "('climb', 'sink') is forbidden" in str(raised.value)


@pytest.mark.parametrize("untried", ["exclude", "uniform"])
def test_a_state_where_all_that_was_logged_is_forbidden(untried):
    log = decisions([(0, "a", 1.0), (0, "b", 2.0), (1, "a", 1.0)]).assign(next_state=[2, 2, 0])
    policy = MarkovPolicyEstimator(forbidden=table((1, "a")), untried=untried)
    if untried == "exclude":
        with pytest.raises(ValueError, match=r"1 state\(s\).* first 1: all that.*\('a'\)"):
            policy.fit(log)
    else:  # an action that was never logged there is left
        assert policy.fit(log).policy_map() == {0: "b", 1: "b"}
        with pytest.raises(ValueError, match="first 1: all that was logged there"):
            policy.set_params(forbidden=table((1, "a"), (1, "b"))).fit(log)


def test_a_state_only_reached_needs_an_action_too():
    """predict must answer something there."""
    log = decisions([(0, "a", 1.0), (0, "b", 2.0)]).assign(next_state=[7, 7])
    rule = table((7, "b"), (7, "a"))
    with pytest.raises(ValueError, match="first 7: every action is forbidden"):
        MarkovPolicyEstimator(forbidden=rule).fit(log)
    policy = MarkovPolicyEstimator(forbidden=rule[1:]).fit(log)
    assert_array_equal(policy.policy_, ["b", "b"])
    assert_array_equal(policy.predict([7]), ["b"])
    assert_array_equal(policy.q_values_[1], [-np.inf, 0])
    assert policy.policy_map() == {0: "b"}


def test_all_actions_forbidden_everywhere():
    with pytest.raises(ValueError, match=r"5 state.*first 'bottom'"):
        MarkovPolicyEstimator(forbidden=table(("climb",), ("sink",), names=["action"])).fit(CLIMB)


def test_an_unknown_state_without_an_action_is_named():
    rule = table(("x", "climb"), ("x", "sink"))
    policy = MarkovPolicyEstimator(forbidden=rule, **SILENT).fit(CLIMB)
    with pytest.raises(ValueError, match="In the state 'x', not seen in fit, every action is forb"):
        policy.predict(["low", "y", "x"])
    assert_array_equal(policy.predict(["y"]), ["climb"])


# -------------------------------------------------------------------------------- unknown states

NUMBERS = decisions([(0, "a", 2.0), (0, "b", 1.0), (9, "a", 2.0), (9, "b", 1.0), (9, "a", 2.0)])


@pytest.mark.parametrize("handle_unknown", ["warn", "most_frequent", "nearest"])
def test_no_answer_in_an_unknown_state_is_forbidden(handle_unknown):
    rule = table((4, "a"), (9, "a"))
    policy = MarkovPolicyEstimator(forbidden=rule, handle_unknown=handle_unknown).fit(NUMBERS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* not seen in fit", UserWarning)
        answers = policy.predict([4, 5, 8])
        assert_array_equal(policy.predict_proba([4]), [[0, 1]])
    nearest = "b" if handle_unknown == "nearest" else "a"  # 9 may only do b
    assert_array_equal(answers, ["b", nearest, nearest])
    assert np.isnan(policy.decision_function([4])).all()


def test_the_warning_says_which_action_is_answered():
    policy = MarkovPolicyEstimator(forbidden=table((4, "a"))).fit(NUMBERS)
    message = r"1 state.*first 4 at row 0.*most logged action \(of those not forbidden there\), 'a'"
    with pytest.warns(UserWarning, match=message):
        policy.predict([4])


def test_the_default_action_is_not_forbidden_everywhere():
    policy = MarkovPolicyEstimator(forbidden=table(("a",), names=["action"]), **SILENT)
    policy.fit(NUMBERS)
    assert policy.default_action_ == "b"
    assert_array_equal(policy.predict([0, 9, 4]), ["b", "b", "b"])
    asked = MarkovPolicyEstimator(forbidden=table((4, "b")), handle_unknown="error").fit(NUMBERS)
    with pytest.raises(ValueError, match="not seen in fit, first 4"):
        asked.predict([4])


def test_of_actions_logged_as_often_the_lowest_label_stands_in():
    """Sums of weights in another order differ in their last bits, which must decide nothing."""
    log = decisions([(0, action, 1.0) for action in "aabcac"])
    weights = [1, 1, 0.3, 0.1, 1, 0.2]
    policy = MarkovPolicyEstimator(forbidden=table((5, "a")), **SILENT)
    policy.fit(log, sample_weight=weights)
    assert policy.default_action_ == "a"
    assert_array_equal(policy.predict([5]), ["b"])


# -------------------------------------------------------------------------- with other parameters


def test_untried_actions_that_are_forbidden_stay_untried():
    rows = [(0, "c", -9.0), (1, "a", 1.0), (1, "b", 1.0), (1, "c", 1.0), (0, "c", -9.0)]
    log = decisions(rows).assign(next_state=[None, 1, 1, 1, None])
    free = MarkovPolicyEstimator(untried="uniform").fit(log)
    best = {frozenset(): "a", frozenset("a"): "b", frozenset("ab"): "c"}
    for taboo, action in best.items():
        rule = table(*((0, label) for label in taboo))
        bound = MarkovPolicyEstimator(untried="uniform", forbidden=rule).fit(log)
        assert bound.policy_map() == {0: action, 1: "a"}
        q = bound.decision_function([0])[0]
        for label, value, without in zip("abc", q, free.decision_function([0])[0], strict=True):
            assert value == (-np.inf if label in taboo else pytest.approx(without, abs=1e-4))
        margin = policy_table(bound)["margin"][0]
        expected = np.sort(q)[-1] - np.sort(q)[-2] if len(taboo) < 2 else np.nan
        assert_allclose(margin, expected, atol=1e-4)
    assert supported(bound, [0])["is_admissible"].tolist() == [True]


def test_min_count_looks_at_what_is_allowed():
    rows = [(0, "a", 9.0)] * 5 + [(0, "b", 1.0)] * 3 + [(0, "c", 2.0)] * 2
    rule = table((0, "a"))
    policy = MarkovPolicyEstimator(min_count=3, forbidden=rule).fit(decisions(rows))
    assert policy.policy_map() == {0: "b"}
    with pytest.warns(UserWarning, match="largest weight of one is 3. .* Lower min_count to 3"):
        assert policy.set_params(min_count=4).fit(decisions(rows)).policy_map() == {0: "b"}


def test_a_way_out_that_is_forbidden_is_none():
    """Without discount a loop must have an end; the error is that of the process as it is left."""
    log = pd.DataFrame(
        {
            "state": ["s", "s", "t", "t"],
            "action": ["stay", "leave", "stay", "leave"],
            "next_state": ["t", None, "s", None],
            "reward": [1.0, 0.0, -2.0, 0.0],
        }
    )
    policy = MarkovPolicyEstimator(gamma=1).fit(log)
    assert policy.policy_map() == {"s": "stay", "t": "leave"}
    policy.set_params(forbidden=table(("t", "leave"))).fit(log)
    assert policy.policy_map() == {"s": "leave", "t": "stay"}
    with pytest.raises(EndlessLoopError, match="'stay'"):
        policy.set_params(forbidden=table(("leave",), names=["action"])).fit(log)


def test_pessimism_keeps_to_the_rule():
    log = random_log(5)
    rule = random_rule(5, log, 1.0)
    policy = MarkovPolicyEstimator(pessimism=0.5, forbidden=rule).fit(log)
    taboo = set(rule.itertuples(index=False, name=None))
    assert not taboo & set(policy.policy_map().items())


# --------------------------------------------------------------------------------- batches, copies


def test_batches_give_what_one_fit_gives():
    log, rule = random_log(7), random_rule(7, random_log(7), 0.6)
    whole = MarkovPolicyEstimator(forbidden=rule, tol=1e-12).fit(log)
    stream = MarkovPolicyEstimator(tol=1e-12)
    stream.partial_fit(log[:30])  # nothing is forbidden yet: counts are the same
    stream.set_params(forbidden=rule).partial_fit(log[30:])
    assert_array_equal(stream.policy_, whole.policy_)
    assert_allclose(stream.q_values_, whole.q_values_, atol=1e-9)


def test_labels_that_become_floats_match_on():
    stream = MarkovPolicyEstimator(forbidden=table((9, "a")), **SILENT).partial_fit(NUMBERS)
    later = NUMBERS.assign(state=[0.5, 0.5, 9.0, 9.0, 9.0])
    assert_array_equal(stream.partial_fit(later).predict([9.0, 0.5]), ["b", "a"])


def test_a_batch_that_leaves_no_action_changes_nothing():
    policy = MarkovPolicyEstimator(forbidden=table((5, "a"))).partial_fit(NUMBERS)
    before = policy.policy_map()
    with pytest.raises(ValueError, match="first 5: all that was logged there"):
        policy.partial_fit(decisions([(5, "a", 1.0)]))
    assert policy.policy_map() == before
    assert policy.n_transitions_ == 5
    both = decisions([(5, "a", 1.0), (5, "b", 0.0)])
    assert policy.partial_fit(both).policy_map()[5] == "b"


@pytest.mark.parametrize("library", LIBRARIES)
def test_copies_keep_the_rule(library):
    rule = LIBRARIES[library](table(("low", "climb"), ("x", "climb")))
    policy = MarkovPolicyEstimator(forbidden=rule, **SILENT)
    assert policy.get_params()["forbidden"] is rule
    assert "low" in repr(policy)
    assert "forbidden" in policy._repr_html_()
    asked = ["low", "mid", "x"]
    for copied in (clone(policy).fit(CLIMB), pickle.loads(pickle.dumps(policy.fit(CLIMB)))):
        assert_array_equal(copied.predict(asked), ["sink", "climb", "sink"])
        assert_array_equal(copied.q_values_, policy.q_values_)
        assert forbidden_cost(copied)["cost"].sum() > 1


def test_a_pickle_without_the_parameter_has_its_default():
    old = MarkovPolicyEstimator(gamma=0.7).fit(CLIMB)
    del old.forbidden
    object.__delattr__(old._policy, "forbidden")
    new = pickle.loads(pickle.dumps(old))
    assert new.get_params()["forbidden"] is None
    assert new.gamma == 0.7
    assert_array_equal(new.predict(["low"]), ["climb"])
    assert (forbidden_cost(new)["cost"] == 0).all()
    assert_array_equal(clone(new).fit(CLIMB).policy_, new.policy_)


# ------------------------------------------------------------------------- ensembles and searches

SEARCHES = make_search_log(400, length=4, random_state=0)


def commonest(log, n_states=8):
    """Forbid the action that a free policy advises, in the states with most rows."""
    free = MarkovPolicyEstimator(gamma=0.99).fit(log)
    states = log["state"].value_counts().index[:n_states]
    advice = free.policy_map()
    return table(*((state, advice[state]) for state in states))


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.filterwarnings("ignore:All members are the same:UserWarning")
def test_an_ensemble_keeps_to_the_rule(bootstrap):
    rule = commonest(SEARCHES)
    single = MarkovPolicyEstimator(gamma=0.99, forbidden=rule, **SILENT)
    policies = PolicyBagging(single, 5, bootstrap=bootstrap, random_state=0).fit(SEARCHES)
    codes = np.searchsorted(policies.actions_, rule["action"])
    rows = np.arange(len(rule))
    assert (policies.predict(rule["state"]) != rule["action"].to_numpy()).all()
    assert (policies.predict_proba(rule["state"])[rows, codes] == 0).all()
    assert np.isneginf(policies.decision_function(rule["state"])[rows, codes]).all()
    assert not (policy_table(policies).merge(rule)).size


def test_an_ensemble_of_which_some_only_reach_a_state():
    """To them all actions are worth 0 there, but for those that are forbidden."""
    log = pd.DataFrame(
        {
            "episode": [0, 0, 1, 1, 2, 3],
            "state": ["s", "t", "s", "t", "s", "s"],
            "action": ["b", "b", "b", "b", "b", "b"],
            "reward": [0.0, -9.0, 0.0, -9.0, 0.0, 0.0],
            "next_state": ["t", None, "t", None, "t", "t"],
        }
    )
    log = pd.concat([log, decisions([("s", "a", 0.0)]).assign(episode=9)])
    single = MarkovPolicyEstimator(forbidden=table(("t", "a"), ("u", "a")), **SILENT)
    policies = PolicyBagging(single, 12, bootstrap=True, random_state=1).fit(log)
    acted = {"t" in member.policy_map() for member in policies.estimators_}
    assert acted == {True, False}
    assert_array_equal(policies.predict(["t", "u"]), ["b", "b"])
    assert np.isneginf(policies.decision_function(["t"])[0, 0])


def test_a_search_keeps_to_the_rule_and_may_choose_it():
    rule = commonest(SEARCHES, 3)
    grid = {"forbidden": [rule, pl.from_pandas(rule), None], "gamma": [0.9, 0.99]}
    search = GridSearchCV(
        MarkovPolicyEstimator(min_count=1, **SILENT), grid, cv=EpisodeKFold(2), error_score="raise"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X lacks", UserWarning)
        # numpy asks every candidate for it, where the search lists its results
        warnings.filterwarnings("ignore", "DataFrame._data is deprecated", DeprecationWarning)
        search.fit(SEARCHES)
    scores = search.cv_results_["mean_test_score"].reshape(3, 2)
    assert_array_equal(scores[0], scores[1])  # the same rule
    assert (scores[2] > scores[0]).all()  # and it costs
    bound = clone(search.estimator).set_params(forbidden=rule).fit(SEARCHES)
    assert (bound.predict(rule["state"]) != rule["action"].to_numpy()).all()


def test_a_policy_that_is_judged_keeps_to_the_rule_in_unknown_states():
    train = decisions([(0, "a", 1.0), (0, "b", 0.0), (0, "a", 1.0)])
    test = decisions([(5, "a", 1.0), (5, "b", 0.0)] * 10 + [(0, "a", 1.0), (0, "b", 0.0)] * 10)
    bound = MarkovPolicyEstimator(forbidden=table((5, "a")), **SILENT).fit(train)
    free = MarkovPolicyEstimator(**SILENT).fit(train)
    values = [
        evaluate_policy(policy, test, methods="dm", prior_strength=0).to_frame()["value"].iloc[0]
        for policy in (bound, free)
    ]
    assert_allclose(values, [0.5, 1.0])


# --------------------------------------------------------------------------- pipelines, features


def measured_log(n=400):
    rng = np.random.default_rng(0)
    heat, is_old = rng.uniform(0, 90, size=n), rng.integers(2, size=n)
    action = rng.integers(2, size=n)
    return pd.DataFrame(
        {
            "heat": heat,
            "is_old": is_old,
            "action": action,
            "reward": np.where(action == (heat > 40), 1.0, -1.0),
            "next_heat": np.nan,
            "next_is_old": pd.Series([None] * n, dtype="Int64"),
        }
    )


def piped(rule, encoder=None, state=("heat", "is_old")):
    encoder = encoder or StateEncoder(state="heat", n_states=4)
    return make_pipeline(encoder, MarkovPolicyEstimator(state=list(state), forbidden=rule))


def test_behind_an_encoder_a_column_beside_it_says_where():
    log = measured_log()
    policy = piped(table((1, 1), names=["is_old", "action"])).fit(log)
    answers = policy.predict(log)
    assert set(answers[log["is_old"] == 1]) == {0}
    assert set(answers[log["is_old"] == 0]) == {0, 1}
    costs = forbidden_cost(policy)
    assert list(costs.columns[:3]) == ["heat", "is_old", "action"]
    assert isinstance(costs["heat"][0], pd.Interval)
    is_bound = (costs["is_old"] == 1) & (costs["action_without"] == 1)
    assert (costs["cost"][is_bound] > 0.5).all()
    assert_array_equal(costs["cost"][~is_bound], 0)
    free = piped(None).fit(log)
    judged = compare_policies({"free": free, "bound": policy}, log, methods="fqe", random_state=0)
    assert_allclose(judged["value"], [1.0, 0.5], atol=0.15)  # in truth, but for the bins


@pytest.mark.parametrize("names", [["heat", "action"], ["heat", "is_old", "action"]])
def test_a_column_that_an_encoder_made_is_refused(names):
    rule = table((1,) * len(names), names=names)
    with pytest.raises(
        ValueError, match=r"column 'heat' holds numbers that an encoder made.*is_old"
    ):
        piped(rule).fit(measured_log())


def test_clusters_are_refused():
    encoder = StateEncoder(KMeans(3, n_init=1, random_state=0), state="heat")
    pipe = piped(table((1, 1)), encoder, ["state"])
    with pytest.raises(ValueError, match="column 'state' holds numbers that an encoder made"):
        pipe.fit(measured_log())


@pytest.mark.parametrize("form", ["names", "array"])
def test_features_are_columns_of_the_state(form):
    X = np.array([[0, 0], [0, 0], [0, 1], [0, 1], [1, 0], [1, 0]])
    actions, reward = ["a", "b"] * 3, [1.0, 0.0] * 3
    names = {"names": ["age", "sex"], "array": ["x0", "x1"]}[form]
    rule = table((0, "a"), names=[names[0], "do"])
    policy = MarkovPolicyEstimator(action="do", forbidden=rule, **SILENT)
    features = pd.DataFrame(X, columns=names) if form == "names" else X
    policy.fit(features, actions, reward=reward)
    assert_array_equal(policy.predict(features), ["b", "b", "b", "b", "a", "a"])
    with pytest.raises(ValueError, match="no column 'do'"):
        policy.set_params(forbidden=rule.rename(columns={"do": "y"})).fit(features, actions)
    costs = forbidden_cost(policy.set_params(forbidden=rule).fit(features, actions, reward=reward))
    assert_array_equal(costs["cost"], [1, 1, 0])
    assert list(costs.columns[:2]) == names


def test_a_feature_that_is_called_as_the_actions_are():
    X = pd.DataFrame({"action": ["a", "a", "b", "b"]})  # the last one, say
    rule = table(("a", "a"), names=["action", "do"])
    policy = MarkovPolicyEstimator(forbidden=rule[["action"]])
    with pytest.raises(ValueError, match="'action' is a column of the state as well"):
        policy.fit(X, ["a", "b"] * 2, reward=[1.0, 0.0] * 2)
    policy.set_params(action="do", forbidden=rule).fit(X, ["a", "b"] * 2, reward=[1.0, 0.0] * 2)
    assert policy.policy_map() == {"a": "b", "b": "a"}


# ---------------------------------------------------------------------------------------- the cost


@pytest.mark.parametrize("parameters", [{}, {"prior_strength": 2.0}, {"min_count": 4}])
def test_the_cost_is_the_difference_of_two_fits(parameters):
    log = random_log(4, n_rows=120)
    rule = random_rule(4, log, 0.6)
    free = MarkovPolicyEstimator(tol=1e-12, **parameters).fit(log)
    bound = MarkovPolicyEstimator(tol=1e-12, forbidden=rule, **parameters).fit(log)
    costs = forbidden_cost(bound)
    acted = costs["state"].to_numpy()
    assert_array_equal(acted, [0, 1, 2, 3])
    assert_array_equal(costs["action"], bound.predict(acted))
    assert_array_equal(costs["action_without"], free.predict(acted))
    assert_allclose(costs["value"], bound.score_samples(acted))
    assert_allclose(costs["value_without"], free.score_samples(acted), atol=1e-9)
    assert_allclose(costs["cost"], costs["value_without"] - costs["value"])
    of_start = bound.initial_distribution_ @ (free.state_values_ - bound.state_values_)
    assert_allclose((costs["cost"] * costs["start_share"]).sum(), of_start, atol=1e-9)
    assert (costs["action"] != costs["action_without"]).any()
    assert_array_equal(bound.policy_, clone(bound).fit(log).policy_)  # nothing was changed


def test_the_cost_of_what_is_no_policy():
    with pytest.raises(NotFittedError):
        forbidden_cost(MarkovPolicyEstimator())
    policies = PolicyBagging(MarkovPolicyEstimator(), 1, random_state=0).fit(CLIMB)
    with pytest.raises(TypeError, match=r"got PolicyBagging.*forbidden_cost\(ensemble.estimators_"):
        forbidden_cost(policies)
    assert (forbidden_cost(policies.estimators_[0])["cost"] == 0).all()

"""Every kind of label, in every dataframe, as state and as action, in one and several columns.

The same log gives the same policy whatever holds it.
"""

import datetime
import decimal
import functools
import pickle
import uuid
import zoneinfo

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import skops.io
from numpy.testing import assert_array_equal

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import markov_test, policy_table
from skmdp.metrics import evaluate_policy
from skmdp.model_selection import EpisodeKFold

DAY = datetime.date(2026, 3, 1)
NOON = datetime.datetime(2026, 3, 1, 12, 30)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
KINDS = {
    "int": [7, -3, 0, 12],
    "float": [0.5, -1.25, 3.0, 1e6],
    "str": ["b", "", "ü", "a b"],
    "bool": [True, False, True, False],
    "bytes": [b"b", b"", b"a\x00", b"a"],
    "date": [DAY + datetime.timedelta(days) for days in (3, -5, 0, 40)],
    "datetime": [NOON + datetime.timedelta(hours=hours) for hours in (3, -5, 0, 40)],
    "instant": [
        pd.Timestamp(NOON, tz=BERLIN) + datetime.timedelta(hours=hours) for hours in (3, -5, 0, 40)
    ],
    "time": [datetime.time(*at) for at in ((12, 30), (0,), (23, 59, 59, 999999), (12,))],
    "timedelta": [datetime.timedelta(hours=hours) for hours in (3, -5, 0, 40)],
    "decimal": [decimal.Decimal(text) for text in ("1.10", "-2.00", "0.00", "7.25")],
    "period": [pd.Period(text, "M") for text in ("2026-03", "2025-12", "2026-01", "2027-01")],
    "interval": [pd.Interval(left, left + 0.5) for left in (0.5, -1.5, 0.0, 10.0)],
    "UUID": [uuid.UUID(int=number) for number in (2**127, 1, 0, 77)],
    "tuple": [("b", 1), ("a", 2), ("a", -2), ("", 0)],
}
ARROW = {
    "int": pa.int64(),
    "float": pa.float64(),
    "str": pa.string(),
    "bool": pa.bool_(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
    "instant": pa.timestamp("us", "Europe/Berlin"),
    "time": pa.time64("us"),
    "timedelta": pa.duration("us"),
    "decimal": pa.decimal128(5, 2),
    "UUID": pa.uuid(),
}
NULLABLE = {"int": "Int64", "float": "Float64", "str": "string", "bool": "boolean"}


def of_pandas(dtype):
    return lambda columns: pd.DataFrame(
        {name: pd.Series(labels, dtype=dtype) for name, labels in columns.items()}
    )


def of_polars(dtype=None):
    return lambda columns: pl.DataFrame(
        {name: pl.Series(labels, dtype=dtype) for name, labels in columns.items()}
    )


def of_arrow(kind, *, encode=False):
    def array(labels):
        if kind == "UUID":  # which Arrow takes as bytes
            labels = [None if label is None else label.bytes for label in labels]
        made = pa.array(labels, type=ARROW[kind])
        return made.dictionary_encode() if encode else made

    return lambda columns: pa.table({name: array(labels) for name, labels in columns.items()})


def holders(kind):
    """{name: function from {column: labels} to a table}; None stands for a missing label."""
    found = {"pandas": of_pandas(None), "pandas object": of_pandas(object)}
    if kind != "date":  # of which pandas makes categories of datetimes
        found["pandas category"] = of_pandas("category")
    if kind in ARROW:
        found["pyarrow"] = of_arrow(kind)
    if kind in ARROW and kind != "UUID":
        found["pandas arrow"] = of_pandas(pd.ArrowDtype(ARROW[kind]))
        found["pyarrow dictionary"] = of_arrow(kind, encode=True)
        found["polars"] = of_polars()
    if kind in NULLABLE:
        found["pandas nullable"] = of_pandas(NULLABLE[kind])
    if kind == "str":
        found["polars categorical"] = of_polars(pl.Categorical)
        found["polars enum"] = of_polars(pl.Enum(sorted(KINDS["str"])[::-1]))
    if kind == "UUID":
        found["polars"] = of_polars(pl.Object)
    if kind == "interval":
        found["pyarrow of cut"] = lambda columns: pa.table(of_pandas("category")(columns))
    if kind in ("interval", "period"):
        found["pyarrow of pandas"] = lambda columns: pa.table(of_pandas(None)(columns))
        if hasattr(pl, "Extension"):
            found["polars of pandas"] = lambda columns: pl.from_pandas(of_pandas(None)(columns))
    return found


CASES = [(kind, holder) for kind in KINDS for holder in holders(kind)]
# Every two of: actions of the kind too, states of two columns, next states inferred.
SHAPES = [(False, False, False), (True, False, True), (False, True, True), (True, True, False)]
RNG = np.random.default_rng(0)
N = 60
PICKS = RNG.integers(4, size=(4, N))
ENDS = RNG.uniform(size=N) < 0.2
REWARDS = RNG.normal(size=N)


def labels(kind, picks, ends=None):
    chosen = [KINDS[kind][i] for i in picks]
    return (
        chosen
        if ends is None
        else [None if end else x for x, end in zip(chosen, ends, strict=True)]
    )


def add_numbers(table):
    """Put the columns that are not labels beside the others, whatever the table is."""
    numbers = {"reward": REWARDS, "episode": np.arange(N) // 6}
    if isinstance(table, pd.DataFrame):
        return table.assign(**numbers)
    if isinstance(table, pl.DataFrame):
        return table.with_columns(**{name: pl.Series(column) for name, column in numbers.items()})
    for name, column in numbers.items():
        table = table.append_column(name, pa.array(column))
    return table


def log(kind, holder, *, action_kind="int", infer=False, several=False):
    """A log with states of one kind in one holder, or actions of that kind."""
    columns = {"state": labels(kind, PICKS[0])}
    if not infer:
        columns["next_state"] = labels(kind, PICKS[1], ENDS)
    if several:
        columns["other"] = labels(kind, PICKS[2])
        if not infer:
            columns["next_other"] = labels(kind, PICKS[3], ENDS)
    if action_kind == kind:
        columns["action"] = labels(kind, PICKS[3])
    table = holders(kind)[holder](columns)
    if action_kind != kind:
        action = labels("int", PICKS[3])
        if isinstance(table, pd.DataFrame):
            table = table.assign(action=action)
        elif isinstance(table, pl.DataFrame):
            table = table.with_columns(action=pl.Series(action))
        else:
            table = table.append_column("action", pa.array(action))
    return add_numbers(table)


def same(one, other):
    assert one.policy_map() == other.policy_map()
    assert one.states_.tolist() == other.states_.tolist()
    assert one.actions_.tolist() == other.actions_.tolist()
    assert_array_equal(one.state_values_, other.state_values_)
    assert_array_equal(one.visit_counts_, other.visit_counts_)
    assert_array_equal(one.initial_distribution_, other.initial_distribution_)


@functools.cache
def learned_of_objects(kind, as_action, several, infer):
    """What every holder of the same labels is compared with, and the table it was learned of."""
    roles = {"state": ["state", "other"]} if several else {}
    action_kind = kind if as_action else "int"
    table = log(kind, "pandas object", action_kind=action_kind, infer=infer, several=several)
    policy = MarkovPolicyEstimator(**roles).fit(table)
    # The labels are those that were logged, in their natural order.
    seen = set(zip(labels(kind, PICKS[0]), labels(kind, PICKS[2]), strict=True))
    expected = sorted(seen) if several else sorted(set(labels(kind, PICKS[0])))
    assert list(policy.policy_map()) == expected
    answers = {
        name: getattr(policy, name)(table) for name in ("predict", "decision_function", "score")
    }
    return policy, table, {**answers, "table": policy_table(policy)}


# Labels are drawn at random: where next states are given, no row leads to the next one.
@pytest.mark.filterwarnings("ignore:.*would last longer:UserWarning")
@pytest.mark.filterwarnings("ignore:In .* a row of X does not lead to:UserWarning")
@pytest.mark.parametrize(("as_action", "several", "infer"), SHAPES)
@pytest.mark.parametrize(("kind", "holder"), CASES)
def test_the_same_log_gives_the_same_policy(kind, holder, as_action, several, infer):
    roles = {"state": ["state", "other"]} if several else {}
    plain, plain_table, expected = learned_of_objects(kind, as_action, several, infer)
    shape = {"action_kind": kind if as_action else "int", "infer": infer, "several": several}
    table = log(kind, holder, **shape)
    policy = MarkovPolicyEstimator(**roles).fit(table)
    same(policy, plain)
    assert_array_equal(policy.predict(table), expected["predict"])
    assert_array_equal(plain.predict(table), expected["predict"])
    assert_array_equal(policy.decision_function(table), expected["decision_function"])
    assert policy.score(table) == expected["score"]
    pd.testing.assert_frame_equal(policy_table(policy), expected["table"], check_dtype=False)
    half = MarkovPolicyEstimator(**roles).partial_fit(table).partial_fit(plain_table)
    assert_array_equal(half.visit_counts_, 2 * plain.visit_counts_)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_and_lists_of_features_give_the_same_policy(kind):
    state, action = labels(kind, PICKS[0]), labels(kind, PICKS[3])
    beside = {"reward": REWARDS, "episode": np.arange(N) // 6}
    column = np.empty((N, 1), dtype=object)
    column[:, 0] = state
    plain = MarkovPolicyEstimator().fit(column, action, **beside)
    tables = [make({"x": state}) for make in holders(kind).values()]
    if kind != "tuple":  # of which a list makes further dimensions
        tables.append([[label] for label in state])
    if kind in NULLABLE:  # others numpy keeps as objects only
        tables.append(np.array(state).reshape(-1, 1))
    for X in tables:
        policy = MarkovPolicyEstimator().fit(X, action, **beside)
        same(policy, plain)
        assert_array_equal(policy.predict(X), plain.predict(column))


@pytest.mark.parametrize("kind", KINDS)
def test_every_store_keeps_the_labels(kind, tmp_path):
    table = log(kind, "pandas object", action_kind=kind)
    policy = MarkovPolicyEstimator().fit(table)
    bag = PolicyBagging(MarkovPolicyEstimator(), 2, bootstrap=True, random_state=0).fit(table)
    joblib.dump([policy, bag], tmp_path / "policies")
    stored = skops.io.dumps([policy, bag])
    untrusted = skops.io.get_untrusted_types(data=stored)
    for loaded, loaded_bag in (
        pickle.loads(pickle.dumps([policy, bag])),
        joblib.load(tmp_path / "policies"),
        skops.io.loads(stored, trusted=untrusted),
    ):
        same(loaded, policy)
        assert_array_equal(loaded.policy_, policy.policy_)
        assert loaded.default_action_ == policy.default_action_
        assert_array_equal(loaded.predict(table), policy.predict(table))
        assert_array_equal(loaded_bag.predict(table), bag.predict(table))
        for one, other in ((loaded.states_, policy.states_), (loaded_bag.actions_, bag.actions_)):
            assert one.dtype == other.dtype
            assert list(map(repr, one)) == list(map(repr, other))


@pytest.mark.filterwarnings("ignore::UserWarning")  # labels drawn at random say little
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_policy_names_it_can_be_asked(kind):
    table = log(kind, "pandas", action_kind=kind)
    policy = MarkovPolicyEstimator().fit(table)
    names = policy.policy_map()
    for states in (list(names), policy.states_, pd.Series(list(names), dtype=object)):
        if kind == "tuple" and isinstance(states, list):  # a list of rows
            continue
        assert_array_equal(policy.predict(states), policy.policy_)
    for action in policy.actions_:
        assert policy.transition_counts(action).sum() > 0
    expected = evaluate_policy(policy, table, methods="dm").to_frame()["value"]
    for rule in (names, pd.Series(names), lambda states: policy.predict(states)):
        judged = rule if not callable(rule) else type("Rule", (), {"predict": staticmethod(rule)})()
        found = evaluate_policy(judged, table, methods="dm").to_frame()["value"]
        assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_episodes_may_be_called_anything(kind):
    table = log("int", "pandas", infer=True)
    numbers = np.arange(N) * len(set(KINDS[kind])) // N
    names = pd.Series(sorted(set(KINDS[kind])), dtype=object)
    table["episode"] = numbers
    named = table.assign(episode=names[numbers].to_numpy())
    plain = MarkovPolicyEstimator().fit(table)
    policy = MarkovPolicyEstimator().fit(named)
    same(policy, plain)
    assert policy.n_episodes_ == len(names)
    folds = [EpisodeKFold(2, shuffle=True, random_state=0).split(log) for log in (table, named)]
    for one, other in zip(*folds, strict=True):
        assert_array_equal(one[0], other[0])
    tests = [markov_test(log, policy=plain, random_state=0) for log in (table, named)]
    pd.testing.assert_frame_equal(*tests)

"""Every remedy that a message about labels names is applied, and gives what the message promises.

It must not change what is counted: labels that were one stay one, labels that differed differ.
"""

import datetime
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from skmdp import MarkovPolicyEstimator

DAY = datetime.date(2026, 3, 1)
NOON = datetime.datetime(2026, 3, 1, 12)
HALVES = pd.Interval(0.0, 0.5), pd.Interval(0.5, 1.0, closed="left")


def column(*labels):
    return pd.Series(list(labels), dtype=object)


def parts(labels, names="ab"):
    """Put tuples, lists or dicts into columns."""
    return pd.DataFrame(labels.tolist()).set_axis([f"part_{name}" for name in names], axis=1)


def same_rows(labels):
    """Return for each row the first row with the same label."""
    words = list(map(repr, labels))
    return [words.index(word) for word in words]


def fit(state, **columns):
    """Fit one decision a row, each with its own reward; return the states by number."""
    states = state if isinstance(state, pd.DataFrame) else pd.DataFrame({"state": state})
    log = states.assign(action="go", reward=4.0 ** np.arange(len(states)), next_state=None)
    names = list(states.columns)
    nexts = {f"next_{name}": None for name in names}
    policy = MarkovPolicyEstimator(state=names if len(names) > 1 else names[0])
    policy.fit(log.drop(columns="next_state").assign(**nexts).assign(**columns))
    values = policy.score_samples(states)
    return policy, [values.tolist().index(value) for value in values]


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (column(1, "a", 1), '.astype("string")'),
        (column(b"a", 0.5, b"a"), '.astype("string")'),
        (column(2**63, 1, 2**63), '.astype("string")'),
        (pd.Series([2**63, 1, 2**63], dtype="uint64"), '.astype("string")'),
        (column(2**53, 2**53 + 1, 0.5, 2**53), '.astype("string")'),
        (column([0, 1], [1, 0], [0, 1]), ".map(tuple)"),
        (column(np.array([0, 1]), np.array([1, 0]), np.array([0, 1])), ".map(tuple)"),
        (
            column("a\ud800", "a\ud801", "a", "a\ud800"),
            '.str.encode("utf-8", "backslashreplace").str.decode("utf-8")',
        ),
        (column(DAY, NOON, DAY), ".map(pandas.Timestamp)"),
        (
            column(pd.Period("2026-03", "M"), pd.Period("2026-05-01", "D")),
            '.map(lambda period: period.asfreq("M"))',
        ),
        (
            column(*HALVES, HALVES[0]),
            '.map(lambda label: pandas.Interval(label.left, label.right, closed="right"))',
        ),
        (
            column(HALVES[0], pd.Interval(pd.Timestamp(NOON), pd.Timestamp.max), HALVES[0]),
            '.astype("string")',
        ),
    ],
)
def test_code_in_a_message_mends_the_column(labels, code):
    with pytest.raises((TypeError, ValueError)) as found:
        fit(labels)
    assert code in str(found.value)
    mended = eval(f"labels{code}", {"labels": labels, "pandas": pd})
    policy, states = fit(mended)
    assert states == same_rows(labels)
    assert len(policy.states_) == len(set(states))


@pytest.mark.parametrize(
    ("labels", "words", "remedy"),
    [
        (column([0, "a"], [1, "a"], [0, "a"]), "one column for each", parts),
        (column({"a": 1, "b": 2}, {"a": 2, "b": 1}), "one column for each", parts),
        (
            pd.Series([[0, 1], [1, 1]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            "one column for each",
            parts,
        ),
        (
            column((0, "a"), (1, None), (0, "a")),
            "Fill it in",
            lambda labels: labels.map(lambda label: (label[0], label[1] or "none")),
        ),
        (
            column((0, "a"), (1, None), (0, "a")),
            "one column for each part",
            lambda labels: parts(labels).fillna("none"),
        ),
        (
            column(0.5, np.inf, 0.5),
            "a number of its own",
            lambda x: x.map({np.inf: 99.0, 0.5: 0.5}),
        ),
        (
            column(Decimal(1), Decimal("Infinity")),
            "a number of its own",
            lambda labels: labels.replace(Decimal("Infinity"), Decimal(99)),
        ),
        (
            column(Decimal(1), Decimal("sNaN")),
            "fill it in",
            lambda labels: labels.map(lambda label: Decimal(9) if label.is_snan() else label),
        ),
        (
            pd.Series([1j, 2 + 1j, 1j]),
            "one column for the real and one for the imaginary part",
            lambda labels: pd.DataFrame({"re": np.real(labels), "im": np.imag(labels)}),
        ),
        (
            column(NOON, NOON.replace(tzinfo=datetime.UTC, hour=11)),
            "pandas.to_datetime(..., utc=True)",
            lambda labels: pd.to_datetime(labels, utc=True),
        ),
        (
            column(frozenset("ab"), frozenset("c"), frozenset("ba")),
            "tuples",
            lambda labels: labels.map(sorted).map(tuple),
        ),
        (
            column(datetime.time(1), datetime.time(1, tzinfo=datetime.UTC)),
            "strings",
            lambda labels: labels.astype("string"),
        ),
        (column("a", None, "a"), "a label of its own", lambda labels: labels.fillna("none")),
    ],
)
def test_words_of_a_message_mend_the_column(labels, words, remedy):
    with pytest.raises((TypeError, ValueError), match=f"(?i){re.escape(words)}"):
        fit(labels)
    mended = remedy(labels)
    policy, states = fit(mended)
    expected = labels.map(sorted) if "frozenset" in repr(labels[0]) else labels
    assert states == same_rows(expected)
    assert len(policy.states_) == len(set(states))


@pytest.mark.parametrize(
    ("state", "next_state", "words", "state_remedy", "next_remedy"),
    [
        ([1, 2], ["2", None], "Convert one of them", None, pd.to_numeric),
        ([1, 2], ["2", None], "Convert one of them", lambda x: x.astype("string"), None),
        (
            pd.to_datetime(["2026-01-01", "2026-01-02"]).tz_localize("Asia/Tokyo"),
            pd.to_datetime(["2026-01-02", None]),
            "Convert one of them",
            None,
            lambda x: x.dt.tz_localize("Asia/Tokyo"),
        ),
        (
            [2**53 + 1, 2**53 + 3],
            [2.0**53 + 4, None],
            '.astype("Int64") before .shift',
            lambda x: x.astype("Int64"),
            lambda _: pd.Series([2**53 + 1, 2**53 + 3]).astype("Int64").shift(-1),
        ),
        (
            [2**53 + 1, 2**53 + 3],
            [2.0**53 + 4, None],
            "from strings",
            lambda x: x.astype("string"),
            lambda _: pd.Series([2**53 + 1, 2**53 + 3]).astype("string").shift(-1),
        ),
        ([1, 2], [2.5, None], "both columns float", lambda x: x + 0.5, None),
        ([1, 2], [2.5, None], "both integer", None, lambda x: x.round().astype("Int64")),
    ],
)
def test_columns_of_two_kinds_are_brought_together(
    state, next_state, words, state_remedy, next_remedy
):
    log = pd.DataFrame({"state": state, "action": "go", "reward": [0.0, 1.0]})
    log["next_state"] = next_state
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        MarkovPolicyEstimator().fit(log)
    for name, remedy in (("state", state_remedy), ("next_state", next_remedy)):
        if remedy is not None:
            log[name] = remedy(log[name])
    policy = MarkovPolicyEstimator(gamma=0.5).fit(log)
    assert_array_equal(policy.state_values_, [0.5, 1.0])  # the first state leads to the second


@pytest.mark.parametrize("what", ["y", "reward", "episode", "sample_weight", "X"])
def test_masked_values_are_missing_until_they_are_filled(what):
    given = {
        "X": np.array([[0], [0], [1]]),
        "y": np.array([0, 1, 1]),
        "reward": np.array([1.0, 2.0, 3.0]),
        "episode": np.array([0, 0, 1]),
        "sample_weight": np.array([1.0, 1.0, 2.0]),
    }
    expected = MarkovPolicyEstimator().fit(**given)
    mask = np.arange(3).reshape(given[what].shape) == 1
    masked = np.ma.array(given[what], mask=mask)
    with pytest.raises(ValueError, match=rf"'{what}' .*first at row 1 .*\.filled\(\.\.\.\)"):
        MarkovPolicyEstimator().fit(**{**given, what: masked})
    filled = masked.filled(given[what].ravel()[1])
    unmasked = np.ma.array(given[what], mask=False)
    for values in (filled, unmasked):
        policy = MarkovPolicyEstimator().fit(**{**given, what: values})
        assert policy.policy_map() == expected.policy_map()
        assert_array_equal(policy.state_values_, expected.state_values_)
    with pytest.raises(ValueError, match=r"first at row 1 .*\.filled\(\.\.\.\)"):
        expected.predict(np.ma.array([0, 0, 1], mask=[0, 1, 0]))
    assert_array_equal(expected.predict(np.ma.array([0, 1])), expected.predict([0, 1]))


def test_one_masked_part_of_a_state_is_enough():
    X = np.ma.array([[0, 0], [0, 1], [1, 1]], mask=[[0, 0], [0, 1], [0, 0]])
    with pytest.raises(ValueError, match=r"'X' contains NaN or None in 1 row.*first at row 1"):
        MarkovPolicyEstimator().fit(X, [0, 1, 0])


LOG = pd.DataFrame({"state": ["a", "b"], "action": "go", "reward": [1.0, 2.0], "episode": [0, 1]})


@pytest.mark.parametrize(
    ("table", "words", "remedy"),
    [
        (
            LOG.set_axis(["state", "action", "state", "episode"], axis=1),
            "Rename one",
            lambda table: table.set_axis(LOG.columns, axis=1),
        ),
        (pl.from_pandas(LOG).lazy(), "table = table.collect()", lambda table: table.collect()),
        ("log.csv", "pandas.read_csv", lambda path: pd.read_csv(path)),
        ({"state": ["a"]}, "pandas.DataFrame with named columns", lambda _: pd.DataFrame(LOG)),
    ],
)
def test_what_is_no_table_becomes_one(table, words, remedy, tmp_path):
    if isinstance(table, str):
        table = str(tmp_path / table)
        LOG.to_csv(table, index=False)
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        MarkovPolicyEstimator().fit(table)
    policy = MarkovPolicyEstimator().fit(remedy(table))
    assert policy.policy_map() == {"a": "go", "b": "go"}

"""Reading tables: what is accepted, and what each bad table is told."""

import copy
import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from skmdp import MarkovPolicyEstimator
from skmdp._log.numbers import read_rewards, read_weights
from skmdp._log.reading import read_features
from skmdp.datasets import load_climb

LOG = pd.DataFrame(
    {
        "episode": ["e", "e", "f", "f"],
        "step": [0, 1, 0, 1],
        "state": ["a", "b", "a", "b"],
        "action": [0, 1, 1, 1],
        "next_state": ["b", None, "b", None],
        "reward": [0.0, 1.0, 2.0, 3.0],
        "terminated": [False, True, False, True],
    }
)
INFERRED = LOG.drop(columns="next_state")


def refuses(error, message, table=LOG, fit=None, **parameters):
    """The error is raised by fit, and leaves an estimator fitted before as it was."""
    estimator = MarkovPolicyEstimator(handle_unknown="error").fit(LOG)
    estimator.set_params(**parameters)
    before = copy.copy(vars(estimator))
    with pytest.raises(error, match=message):
        estimator.fit(table, **(fit or {}))
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[name] is before[name] for name in before)


@pytest.mark.parametrize("column", ["state", "action", "reward"])
def test_missing_column_lists_those_there_are(column):
    refuses(
        ValueError,
        rf"no column '{column}' for the role '{column}'.*'episode'.*Name yours.*{column}=\.\.\.",
        LOG.drop(columns=column),
    )


def test_named_next_state_must_be_there():
    refuses(ValueError, "no column 'later' for the role 'next_state'", next_state="later")


def test_next_state_needs_one_column_per_state_column():
    refuses(
        ValueError,
        r"names 1 column\(s\) and state 2",
        LOG.assign(x=0),
        state=["state", "x"],
        next_state=["next_state"],
    )


@pytest.mark.parametrize("role", ["episode", "step", "terminated"])
def test_a_name_that_was_given_must_be_there(role):
    refuses(ValueError, f"no column 'Typo' for the role '{role}'", **{role: "Typo"})
    MarkovPolicyEstimator().fit(LOG.drop(columns=role))  # the default name need not be


def test_no_state_column_at_all():
    refuses(ValueError, "state names no column", state=[])


def test_column_with_two_roles():
    refuses(ValueError, "'state' is named for two roles", action="state")
    refuses(ValueError, r"'step' is named for two roles.*may be None", state="step")


def test_neither_next_state_nor_episode():
    refuses(
        ValueError,
        r"neither next states \('next_state'\) nor an episode column \('episode'\)",
        LOG[["state", "action", "reward"]],
    )
    refuses(ValueError, r"episode column \(None\)", INFERRED, episode=None)


def test_empty_table():
    refuses(ValueError, "empty: it has 0 rows", LOG.iloc[:0])


@pytest.mark.parametrize("column", ["state", "action", "reward", "episode"])
def test_missing_values_name_column_and_first_row(column):
    table = LOG.astype({column: object})
    table.loc[[0, 2], column] = None
    refuses(ValueError, rf"'{column}' contains NaN.* in 2 row\(s\), first at row 0", table)


def test_missing_steps():
    refuses(ValueError, r"'step' contains NaN.*first at row 2", LOG.assign(step=[0, 1, None, 1]))


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (["1", "2", "3", "x"], r"'reward' must hold numbers, got '1' at row 0.*pandas.to_numeric"),
        ([1, 2, "x", 3], r"'reward' must hold numbers, got 'x' at row 2"),
        ([1.0, np.inf, 0.0, -np.inf], r"infinity \(inf\) in 2 row\(s\), first at row 1"),
        ([1j, 0j, 0j, 0j], "Complex data not supported: column 'reward'"),
        (pd.date_range("2026-01-01", periods=4), "'reward' must hold numbers"),
        (pd.Series([10**400, 0, 0, 0], dtype=object), "'reward' holds a number beyond float64"),
    ],
)
def test_rewards_must_be_finite_numbers(rewards, message):
    refuses(ValueError, message, LOG.assign(reward=rewards))


@pytest.mark.parametrize(
    "rewards",
    [
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1.5, None], dtype="Float64"),
        pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([[1.5, None]]))),
    ],
)
def test_rewards_of_nullable_dtypes(rewards):
    assert_array_equal(read_rewards(rewards.iloc[:1], "reward"), [rewards.iloc[0]])
    with pytest.raises(ValueError, match="first at row 1"):
        read_rewards(rewards, "reward")


def test_rewards_of_python_objects():
    assert_array_equal(read_rewards(pd.Series([1, 2.5, True], dtype=object), "r"), [1, 2.5, 1])


def test_mixed_labels():
    refuses(TypeError, r"'action': argument must be uniformly", LOG.assign(action=[0, "x", 1, 1]))


def test_unhashable_labels():
    refuses(TypeError, r"'state'.*list \(row 0", LOG.assign(state=[["a"], ["b"], ["a"], ["b"]]))


def test_string_next_states_for_integer_states():
    refuses(
        TypeError,
        "'next_state' holds labels of kind 'str'.*column 'state' holds labels of kind 'int'",
        LOG.assign(state=[0, 1, 0, 1]),
    )


def test_large_integers_through_float():
    table = LOG.assign(state=2**53 + np.arange(4), next_state=[2.0**53 + 2, None, None, None])
    refuses(
        ValueError, r"'next_state' holds 9007199254740994.0 \(row 0.*astype\(\"Int64\"\)", table
    )


@pytest.mark.parametrize("library", [pd, pa])
def test_duplicate_column_names(library):
    if library is pd:
        table = pd.concat([LOG, LOG[["state"]]], axis=1)
    else:
        table = pa.Table.from_arrays([pa.array([1]), pa.array([1])], names=["state", "state"])
    refuses(ValueError, "two columns of one name", table)


def test_some_next_state_columns_only():
    table = LOG.rename(columns={"state": "x", "next_state": "next_x"}).assign(y=0)
    refuses(ValueError, "'next_x' but not 'next_y'", table, state=["x", "y"])


def test_next_state_columns_missing_in_different_rows():
    table = LOG.rename(columns={"state": "x", "next_state": "next_x"}).assign(y=0)
    table["next_y"] = [0, 0, 0, None]
    refuses(
        ValueError,
        "'next_x' and 'next_y' must be missing together: at row 1",
        table,
        state=["x", "y"],
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, -2, 1, 1], r"negative \(-2.0\) at row 1"),
        ([0, 0, 0, 0], "at least one non-zero number"),
        ([1, 1], r"shape \(2,\), expected \(4,\)"),
        ([[1], [1], [1], [1]], r"shape \(4, 1\)"),
        ([1, np.nan, 1, 1], "sample_weight contains NaN"),
        ([1, np.inf, 1, 1], "sample_weight contains infinity"),
        ([1e308, 1e308, 1, 1], "its sum overflows"),
    ],
)
def test_weights(weights, message):
    refuses(ValueError, message, fit={"sample_weight": weights})


def test_weights_of_other_containers():
    for weights in ([1, 2], (1, 2), pd.Series([1, 2], index=[7, 5]), np.array([1, 2])):
        assert_array_equal(read_weights(weights, 2), [1.0, 2.0])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "Expected a table of transitions.*got NoneType"),
        ({"state": [1]}, r"got dict\. Make it a pandas.DataFrame"),
        ("log.csv", r"got str\. Read the file first.*read_csv"),
        (3, "got int"),
    ],
)
def test_things_that_are_no_table(table, message):
    refuses(TypeError, message, table)


@pytest.mark.parametrize("X", [LOG.to_numpy(), [[1, 2]], csr_array([[1.0]]), (1, 2)])
def test_arrays_need_actions(X):
    message = (
        "This MarkovPolicyEstimator estimator requires y to be passed, but the target y is None"
    )
    refuses(ValueError, message, X)


def test_actions_given_beside_a_table_that_holds_them():
    refuses(ValueError, "X has the action column 'action' itself", fit={"y": LOG["action"]})


@pytest.mark.parametrize("beside", ["reward", "episode"])
def test_columns_given_beside_a_table(beside):
    refuses(ValueError, "a transitions table holds them as columns", fit={beside: LOG[beside]})


def test_terminated_must_be_bool():
    refuses(
        TypeError,
        r"'terminated' must hold booleans, or 0 and 1, got 2 at row 1.*terminated=None",
        LOG.assign(terminated=[0, 2, 0, 1]),
    )
    missing = LOG.assign(terminated=pd.array([True, None, True, True], dtype="boolean"))
    refuses(ValueError, r"'terminated' contains NaN or None in 1 row\(s\), first at row 1", missing)


@pytest.mark.parametrize("role", ["terminated", "truncated"])
@pytest.mark.parametrize(
    "flags",
    [
        [0, 1, 1, 0],
        [0.0, 1.0, 1.0, 0.0],
        np.array([0, 1, 1, 0], dtype=np.uint8),
        pd.array([False, True, True, False], dtype="boolean"),
        pd.array([0, 1, 1, 0], dtype="Int8"),
        np.array([False, True, True, False], dtype=object),
        pd.Categorical([False, True, True, False]),
        pd.arrays.ArrowExtensionArray(pa.array([False, True, True, False])),
    ],
    ids=lambda flags: str(getattr(flags, "dtype", type(flags[0]).__name__)),
)
def test_flags_of_every_form_are_read_as_booleans(role, flags):
    plain = LOG.assign(**{role: [False, True, True, False]})
    expected = MarkovPolicyEstimator().fit(plain)
    table = LOG.assign(**{role: flags})
    for form in (table, pl.from_pandas(table)):
        policy = MarkovPolicyEstimator().fit(form)
        assert_array_equal(policy.visit_counts_, expected.visit_counts_)
        assert_array_equal(policy.state_values_, expected.state_values_)


@pytest.mark.parametrize("role", ["terminated", "truncated"])
@pytest.mark.parametrize("word", ["yes", "True", "y"])
def test_words_for_flags_are_compared_not_cast(role, word):
    """The comparison that the message shows marks the right rows; a cast marks every one."""
    flags = np.array([False, True, True, False])
    table = LOG.assign(**{role: np.where(flags, word, "no")})
    message = rf"'{role}' must hold booleans, or 0 and 1, got 'no' at row 0.*\['{role}'\] == 'yes'"
    refuses(TypeError, message, table)
    with pytest.raises(TypeError) as caught:
        MarkovPolicyEstimator().fit(table)
    assert "astype" not in str(caught.value)
    table[role] = table[role] == word
    plain = MarkovPolicyEstimator().fit(LOG.assign(**{role: flags}))
    assert_array_equal(MarkovPolicyEstimator().fit(table).visit_counts_, plain.visit_counts_)


def test_steps_must_order():
    refuses(
        TypeError, r"'step' must hold numbers or times.*got 'x'.*step=None", LOG.assign(step="x")
    )


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 1, 5, 5], r"in episode 'f' step 5 occurs twice \(row 3"),
        ([0, 2, 0, 1], r"in episode 'e' step 2 follows step 0 \(row 1"),
        ([0.0, 1.0, 1.0, 3.0], r"in episode 'f' step 3.0 follows step 1.0 \(row 3"),
        ([0.5, 1.5, 2.5, 2.5], r"in episode 'f' step 2.5 occurs twice"),
    ],
)
def test_steps_must_count_up_where_next_states_are_inferred(steps, message):
    refuses(ValueError, message, INFERRED.assign(step=steps))
    MarkovPolicyEstimator().fit(LOG.assign(step=steps))  # given next states need no steps
    MarkovPolicyEstimator(step=None).fit(INFERRED.assign(step=steps))


@pytest.mark.parametrize("role", ["terminated", "truncated"])
def test_rows_after_the_end(role):
    table = INFERRED.rename(columns={"terminated": role}).assign(
        **{role: [False, True, True, True]}
    )
    refuses(ValueError, rf"'{role}' is True at row 2 .*episode 'f' goes on at row 3", table)
    MarkovPolicyEstimator().fit(LOG.assign(**{role: True}))  # given next states need no order


def test_all_rows_truncated():
    table = LOG.assign(next_state=None, terminated=False).astype({"next_state": object})
    refuses(ValueError, "Every row is truncated: the next state is missing and no row is", table)
    refuses(
        ValueError,
        "Every row is truncated",
        table.rename(columns={"terminated": "truncated"}).assign(truncated=True),
    )


def test_endless_loop_at_gamma_one():
    table = pd.DataFrame({"state": ["x", "y"], "action": ["go", "go"], "reward": 1.0})
    table["next_state"] = ["y", "x"]
    refuses(
        ValueError,
        "action 'go' in state 'x' can be part of an endless loop.*gamma below 1",
        table,
        gamma=1,
    )


@pytest.mark.parametrize("gamma", [-0.1, 1.1, "a"])
def test_gamma_outside_its_range(gamma):
    refuses(ValueError, "'gamma' parameter of MarkovPolicyEstimator must be a float", gamma=gamma)


def test_nearest_needs_numbers():
    refuses(
        ValueError,
        "needs numeric state columns, but column 'state' holds labels of kind 'str'",
        handle_unknown="nearest",
    )


# ------------------------------------------------------------------------------- the feature form


@pytest.mark.parametrize(
    ("X", "y", "beside", "error", "message"),
    [
        ([[1.0], [np.nan]], [0, 1], {}, ValueError, "Input X contains NaN"),
        (pd.DataFrame({"x": [1.0, None]}), [0, 1], {}, ValueError, "'x' contains NaN"),
        (pd.DataFrame({"x": [1.0, np.inf]}), [0, 1], {}, ValueError, r"'x' contains infinity"),
        (pd.DataFrame({"x": [1j, 2]}), [0, 1], {}, ValueError, "Complex data not supported"),
        (
            pd.DataFrame(index=range(2)),
            [0, 1],
            {},
            ValueError,
            r"0 feature\(s\) \(shape=\(2, 0\)\)",
        ),
        ([[1], [2]], [0, np.nan], {}, ValueError, "'y' contains NaN"),
        ([[1], [2]], [0], {}, ValueError, "inconsistent numbers of samples"),
        ([[1], [2]], [0, 1], {"reward": [1]}, ValueError, "inconsistent numbers of samples"),
        ([[1], [2]], [0, 1], {"reward": ["x", "y"]}, ValueError, "'reward' must hold numbers"),
        ([[1], [2]], [0, 1], {"episode": [0]}, ValueError, "inconsistent numbers of samples"),
        ([[1], [2]], [0, 1], {"episode": [0, None]}, ValueError, "'episode' contains NaN"),
        ([[1], [2]], [0, "a"], {}, TypeError, "'y': argument must be uniformly"),
        ([1, 2], [0, 1], {}, ValueError, "Reshape your data"),
    ],
)
def test_bad_features(X, y, beside, error, message):
    refuses(error, message, X, fit={"y": y, **beside})


def test_lists_of_mixed_columns_keep_their_kinds():
    log = read_features([["a", 1], ["b", 2]], ["x", "y"])
    assert log.states.kinds == ("str", "int")


def test_containers_of_one_column_agree():
    X = np.arange(4).reshape(-1, 1)
    plain = read_features(X, ["x", "y", "x", "y"], [1, 2, 3, 4], ["e", "e", "f", "f"])
    for make in (pd.Series, pl.Series, lambda values: pa.chunked_array([values]), np.array):
        log = read_features(
            X, make(["x", "y", "x", "y"]), make([1, 2, 3, 4]), make(["e", "e", "f", "f"])
        )
        assert_array_equal(log.action_codes, plain.action_codes)
        assert_array_equal(log.rewards, plain.rewards)
        assert_array_equal(log.next_codes, plain.next_codes)


# ------------------------------------------------------------------------------------- backends


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "pyarrow"])
@pytest.mark.parametrize("table", [LOG, INFERRED, load_climb()], ids=["given", "inferred", "climb"])
def test_other_dataframes_give_the_same_policy(make, table):
    plain = MarkovPolicyEstimator().fit(table)
    other = MarkovPolicyEstimator().fit(make(table))
    assert_array_equal(other.states_, plain.states_)
    assert_array_equal(other.state_values_, plain.state_values_)
    assert_array_equal(other.predict(make(table)), plain.predict(table))
    assert other.score(make(table)) == plain.score(table)


def test_the_table_is_left_alone():
    table = LOG.copy()
    MarkovPolicyEstimator().fit(table, sample_weight=[1, 0, 1, 1])
    pd.testing.assert_frame_equal(table, LOG)


def test_repeated_dates_as_steps_are_named():
    day = datetime.date(2026, 1, 5)
    message = r"in episode 'e' step datetime.date\(2026, 1, 5\) occurs twice \(row 1"
    refuses(ValueError, message, INFERRED.assign(step=day))


def test_huge_steps_keep_their_order():
    table = INFERRED.assign(step=[2e20, 1e20, 1e20, 2e20]).drop(columns="terminated")
    policy = MarkovPolicyEstimator().fit(table)
    assert policy.transition_counts(1).toarray().tolist() == [[0, 1], [1, 0]]


def test_integers_in_lists_beside_fractions_stay_apart():
    log = read_features([[2**53, 0.5], [2**53 + 1, 0.5]], ["x", "y"])
    assert len(log.states) == 2


def test_arrow_views_and_polars_objects():
    views = pa.table({"state": pa.array(["a", "b"]).cast("string_view"), "action": [0, 1]})
    views = views.append_column("reward", pa.array([0.0, 1.0])).append_column("episode", [[0, 0]])
    assert MarkovPolicyEstimator().fit(views).policy_map() == {"a": 0, "b": 1}
    objects = pl.Series(["a", "b", "a"], dtype=pl.Object)
    assert read_features([[0], [1], [2]], objects).actions.labels.tolist() == ["a", "b"]


def test_dates_as_steps_order_rows():
    days = [datetime.date(2026, 1, day) for day in (5, 1, 9, 2)]
    table = INFERRED.assign(step=days).drop(columns="terminated")
    policy = MarkovPolicyEstimator().fit(table)
    assert policy.transition_counts(1).toarray().tolist() == [[0, 0], [2, 0]]


ORDERED = {
    "datetimes": pd.date_range("2026-01-01", periods=4, freq="D"),
    "zoned": pd.date_range("2026-03-28", periods=4, freq="D", tz="Europe/Berlin"),
    "objects": pd.Series([datetime.datetime(2026, 1, day) for day in (1, 3, 4, 9)], dtype=object),
    "dates": pd.Series([datetime.date(2026, 1, day) for day in (1, 3, 4, 9)], dtype=object),
    "timedeltas": pd.to_timedelta([-3, 0, 5, 90], unit="min"),
    "durations": pd.Series([datetime.timedelta(hours=hour) for hour in (0, 1, 5, 7)], dtype=object),
    "periods": pd.period_range("2026-01", periods=4, freq="M"),
    "times": pd.Series([datetime.time(hour) for hour in (0, 8, 9, 17)], dtype=object),
    "fractions": [0.25, 0.5, 3.75, 4.0],
    "whole": [3, 4, 5, 6],
    "whole floats": [-1.0, 0.0, 1.0, 2.0],
}


@pytest.mark.parametrize("kind", ORDERED)
def test_steps_of_every_kind_order_rows(kind):
    steps = pd.Series(ORDERED[kind])
    rows = pd.DataFrame({"episode": 0, "state": list("abcd"), "action": "go", "reward": 0.0})
    table = rows.assign(step=steps.to_numpy() if steps.dtype.kind == "O" else steps)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]):
        policy = MarkovPolicyEstimator().fit(table.iloc[order])
        linked = policy.transition_counts("go").toarray()
        assert_array_equal(linked, np.diag([1.0, 1, 1], k=1))
    repeated = pd.concat([table, table.iloc[[1]]])
    refuses(ValueError, "occurs twice", repeated)

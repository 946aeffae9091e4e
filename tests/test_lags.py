"""What came before as columns: against plain loops, in every library, and never across episodes."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp.preprocessing import StateEncoder, add_lags

LIBRARIES = {
    "pandas": lambda table: table,
    "polars": lambda table: pl.from_pandas(table),
    "pyarrow": lambda table: pa.Table.from_pandas(table, preserve_index=False),
}


def small_log(**columns):
    log = {
        "episode": [1, 1, 1, 2, 2],
        "state": ["a", "b", "a", "b", "a"],
        "action": [5, 6, 7, 8, 9],
        "reward": 1.0,
    }
    return pd.DataFrame({**log, **columns})


def plain_lags(log, name, n_lags, first, keys=("episode",)):
    """What each column held some rows before, by a loop over rows, {name: list}."""
    seen, found = {}, {f"{name}_lag{lag}": [None] * len(log) for lag in range(1, n_lags + 1)}
    order = range(len(log))
    if "step" in log:
        order = sorted(order, key=lambda row: log["step"].iloc[row])
    for row in order:
        before = seen.setdefault(tuple(log[key].iloc[row] for key in keys), [])
        for lag in range(1, n_lags + 1):
            old = before[-lag] if len(before) >= lag else first
            found[f"{name}_lag{lag}"][row] = old
        before.append(log[name].iloc[row])
    return found


@st.composite
def logs(draw):
    """Logs of interleaved episodes with one or two keys, perhaps with steps out of order."""
    n = draw(st.integers(1, 25))
    columns = {
        "episode": draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)),
        "day": draw(st.lists(st.sampled_from("xy"), min_size=n, max_size=n)),
        "state": draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n)),
        "action": draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)),
    }
    if draw(st.booleans()):
        columns["step"] = np.array(draw(st.permutations(range(n)))) / 2  # fractions have gaps
    return pd.DataFrame(columns)


@given(logs(), st.integers(1, 3), st.sampled_from([["episode"], ["episode", "day"]]))
def test_lags_are_those_of_a_plain_loop(log, n_lags, keys):
    lagged = add_lags(log, ["state", "action"], n_lags, episode=keys)
    expected = plain_lags(log, "state", n_lags, "none", keys)
    expected |= plain_lags(log, "action", n_lags, -1, keys)
    assert list(lagged.columns) == [*log.columns, *expected]
    for name, values in expected.items():
        assert lagged[name].tolist() == values
    pd.testing.assert_frame_equal(lagged[log.columns], log)


@given(logs(), st.integers(1, 3), st.booleans())
def test_given_next_states_count_as_those_read_off_the_following_row(log, n_lags, draw_whole):
    """The next lags are the lags of the next row, so both forms of a log are one to the policy."""
    log = log.assign(reward=np.arange(len(log)) * 1.0).drop(columns="day")
    keys = ["episode", "step"] if "step" in log else ["episode"]
    if "step" in log and draw_whole:  # whole steps count up by one, where rows are looked back at
        log["step"] = log.groupby("episode")["step"].rank().astype(int)
    ordered = log.sort_values(keys, kind="stable")
    with_next = log.assign(next_state=ordered.groupby("episode")["state"].shift(-1))
    names = [
        "state",
        *(f"{c}_lag{lag}" for c in ("state", "action") for lag in range(1, n_lags + 1)),
    ]
    inferred, told = (
        MarkovPolicyEstimator(state=names).fit(add_lags(table, ["state", "action"], n_lags))
        for table in (log, with_next)
    )
    assert inferred.policy_map() == told.policy_map()
    np.testing.assert_array_equal(inferred.visit_counts_, told.visit_counts_)
    np.testing.assert_allclose(inferred.state_values_, told.state_values_, rtol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("given_next", [False, True])
def test_every_library_comes_back_as_it_was(library, given_next):
    log = small_log()
    if given_next:
        log["next_state"] = ["b", "a", None, "a", None]
    table = LIBRARIES[library](log)
    lagged = add_lags(table, ["state", "action"])
    assert type(lagged) is type(table)
    rows = (
        lagged.to_pylist()
        if library == "pyarrow"
        else lagged.to_dict(
            **({"orient": "records"} if library == "pandas" else {"as_series": False})
        )
    )
    if library == "polars":
        rows = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    assert [row["state_lag1"] for row in rows] == ["none", "a", "b", "none", "b"]
    assert [row["action_lag1"] for row in rows] == [-1, 5, 6, -1, 8]
    if given_next:
        assert [row["next_state_lag1"] for row in rows if row["next_state"] == "a"] == ["b", "b"]
        assert rows[0]["next_action_lag1"] == 5
        assert pd.isna(rows[2]["next_state_lag1"])
        assert pd.isna(rows[4]["next_action_lag1"])
    policy = MarkovPolicyEstimator(state=["state", "state_lag1"]).fit(lagged)
    assert policy.policy_map()["b", "a"] == 6


def test_pandas_keeps_its_index():
    log = small_log().set_axis(list("vwxyz"))
    assert add_lags(log, "state").index.tolist() == list("vwxyz")


@pytest.mark.parametrize(
    ("labels", "first"),
    [
        ([1.5, 2.5, 1.5, 0.5, 2.5], -1.0),
        (pd.Categorical(list("abaca")), "none"),
        (pd.Series(list("abaca"), dtype="string"), "none"),
        (pd.Series([1, 2, 1, 3, 2], dtype="Int64"), -1),
    ],
)
def test_first_rows_have_a_label_of_the_kind_of_the_others(labels, first):
    lagged = add_lags(small_log(state=labels), "state")
    assert lagged["state_lag1"].tolist() == [first, *list(labels)[:2], first, list(labels)[3]]


@pytest.mark.parametrize(
    ("label", "first"),
    [
        (pd.Timestamp("2024-01-01"), pd.Timestamp("1970-01-01")),
        (pd.Timestamp("2024-01-01", tz="Europe/Madrid"), pd.Timestamp(0, tz="Europe/Madrid")),
        (datetime.date(2024, 1, 1), datetime.date(1970, 1, 1)),
        (True, False),
        ("a", "start"),
        (3, 0),
    ],
)
def test_first_rows_are_marked_as_said(label, first):
    lagged = add_lags(small_log(state=[label] * 5), "state", first=first)
    assert lagged["state_lag1"].tolist() == [first, label, label, first, label]


def test_each_column_may_have_a_mark_of_its_own():
    lagged = add_lags(small_log(), ["state", "action"], first={"state": "new", "action": 0})
    assert lagged["state_lag1"].tolist() == ["new", "a", "b", "new", "b"]
    assert lagged["action_lag1"].tolist() == [0, 5, 6, 0, 8]


def test_a_last_observation_may_lack_its_action():
    log = small_log(action=pd.Series([5, 6, None, 8, None], dtype="Int64"), reward=[1, 1, 0, 1, 0])
    lagged = add_lags(log, "action")
    assert lagged["action_lag1"].tolist() == [-1, 5, 6, -1, 8]
    policy = MarkovPolicyEstimator(state=["state", "action_lag1"]).fit(lagged)
    assert policy.n_transitions_ == 3


def test_numbered_columns_are_looked_back_at():
    log = pd.DataFrame({0: [1, 1, 2], 1: list("aba"), 2: [0, 1, 0]})
    lagged = add_lags(log, 1, state=1, episode=0)
    assert lagged["1_lag1"].tolist() == ["none", "a", "none"]


def test_next_states_may_have_names_of_their_own():
    log = small_log(after=["b", "a", None, "a", None])
    lagged = add_lags(log, "state", next_state="after")
    assert lagged["next_state_lag1"].tolist()[:2] == ["a", "b"]
    assert lagged["next_state_lag1"].isna().tolist() == [False, False, True, False, True]


def test_what_the_past_decides_is_learned_with_it():
    """A lift: up or down pays according to the floor before, which the state does not hold."""
    rng = np.random.default_rng(0)
    ride = rng.integers(4, size=(100, 1)) + np.arange(10)
    floors = np.array(["ground", "first", "second", "first"])[ride % 4]
    log = pd.DataFrame({"episode": np.repeat(np.arange(100), 10), "state": floors.ravel()})
    log["action"] = rng.choice(["guess up", "guess down"], size=1000)
    goes_up = (ride % 4 < 2).ravel()
    log["reward"] = 1.0 * ((log["action"] == "guess up") == goes_up)
    policy = MarkovPolicyEstimator(state=["state", "state_lag1"], gamma=0.5, terminated=None)
    policy = policy.fit(add_lags(log, "state"))
    advice = policy.predict([["first", "ground"], ["first", "second"]])
    assert advice.tolist() == ["guess up", "guess down"]


def test_measurements_of_before_may_be_encoded():
    log = small_log(state=[0.1, 0.9, 0.2, 0.8, 0.3]).rename(columns={"state": "heat"})
    log["next_heat"] = [0.9, 0.2, np.nan, 0.3, np.nan]
    names = ["heat", "heat_lag1"]
    log = pd.concat([log.assign(episode=log["episode"] + 2 * i) for i in range(9)])
    lagged = add_lags(log, "heat", state="heat")
    pipe = make_pipeline(StateEncoder(state=names, n_states=9), MarkovPolicyEstimator(state=names))
    assert len(pipe.fit(lagged).predict([[0.9, 0.1]])) == 1


def test_rows_that_do_not_lead_on_warn():
    log = small_log(next_state=["a", "b", None, "a", None])
    with pytest.warns(UserWarning, match="In 2 of 3 places a row does not lead to the state of"):
        add_lags(log, "state")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": "stat"}, ValueError, "no column 'stat'. Did you mean 'state'.*columns=..."),
        ({"columns": []}, ValueError, "columns names no column"),
        ({"columns": 1.5}, TypeError, "columns must name columns by strings or integers"),
        ({"n_lags": 0}, ValueError, "n_lags"),
        ({"state": "heat"}, ValueError, r"no column 'heat'.*add_lags\(..., state=...\)"),
        ({"episode": "ride"}, ValueError, r"no column 'ride'.*add_lags\(..., episode=...\)"),
        ({"step": "time"}, ValueError, r"no column 'time'.*add_lags\(..., step=...\)"),
        ({"next_state": "next_state"}, ValueError, "no column 'next_state'.*next_state=..."),
        ({"first": "a"}, ValueError, "'state' holds 'a' .row 0.* which marks rows before which"),
        ({"first": 3}, TypeError, "'first' holds labels of kind 'int'.*column 'state' holds"),
        ({"first": np.nan}, ValueError, "say how to mark rows before which there is none"),
        ({"columns": "sure"}, ValueError, "'sure' holds labels of kind 'bool': say how to mark"),
        ({"columns": "lack"}, ValueError, "'lack' contains NaN or None in 1 row.*Give it a label"),
        ({"columns": "loss"}, ValueError, "'loss' holds -0.5 .row 1.*-1 is no mark of rows before"),
        ({"columns": "side"}, ValueError, r"'side' holds -2 .row 0.*cannot come up: first=..."),
        ({"action": "act"}, ValueError, r"no column 'act'.*add_lags\(..., action=...\)"),
        ({"terminated": "end"}, ValueError, r"no column 'end'.*add_lags\(..., terminated=...\)"),
        ({"truncated": "cut"}, ValueError, r"no column 'cut'.*add_lags\(..., truncated=...\)"),
        ({"columns": "old"}, ValueError, r"has the column\(s\) 'old_lag1' already"),
        ({"episode": "lack"}, ValueError, "'lack' contains NaN or None in 1 row"),
    ],
)
def test_bad_input_is_named(options, error, message):
    log = small_log(sure=[True, False, True, True, False], old=1, old_lag1=2)
    log["lack"] = ["a", None, "a", "b", "a"]
    log["loss"], log["side"] = [0.0, -0.5, 2.0, 3.0, 1.0], [-2, 3, 1, 0, 0]
    with pytest.raises(error, match=message):
        add_lags(log, **{"columns": "state", **options})


def test_a_missing_state_is_named_where_next_states_are_given():
    log = small_log(next_state=["b", "a", None, "a", None])
    with pytest.raises(ValueError, match="'state' contains NaN or None in 1 row"):
        add_lags(log.assign(state=["a", None, "a", "b", "a"]), "action")


def test_a_log_has_rows():
    with pytest.raises(ValueError, match="The table is empty"):
        add_lags(small_log().iloc[:0], "state")


def test_a_table_is_needed():
    with pytest.raises(TypeError, match="Expected a table of transitions"):
        add_lags([1, 2], "state")


@pytest.mark.parametrize("given_next", [False, True])
@pytest.mark.parametrize("kind", ["int", "time"])
def test_a_step_that_stands_twice_is_refused(given_next, kind):
    """Of two rows at one time nobody knows which came before."""
    log = small_log(step=[1, 2, 2, 1, 2])
    if kind == "time":
        log["step"] = pd.to_datetime(log["step"], unit="h")
    if given_next:
        log["next_state"] = ["b", "a", None, "a", None]
    with pytest.raises(ValueError, match=r"occurs twice .row 2.*but the row before each row is"):
        add_lags(log, "state")
    # Each remedy: a copy that is dropped, steps that are corrected, rows in the order given.
    assert len(add_lags(log.drop(index=2), "state")) == 4
    correct = [1, 2, 3, 1, 2]
    if kind == "time":
        correct = pd.to_datetime(correct, unit="h")
    lags = add_lags(log.assign(step=correct), "state")["state_lag1"].tolist()
    assert add_lags(log, "state", step=None)["state_lag1"].tolist() == lags


def test_a_row_that_is_missing_is_refused_where_rows_are_looked_back_at():
    log = small_log(step=[1, 2, 4, 1, 2])
    with pytest.raises(ValueError, match=r"step 4 follows step 2 .row 2.*but the row before each"):
        add_lags(log, "state")
    own = log.assign(episode=[1, 1, 3, 2, 2])
    assert add_lags(own, "state")["state_lag1"].tolist() == ["none", "a", "none", "none", "b"]
    converted = log.assign(step=pd.to_datetime(log["step"], unit="s"))
    assert add_lags(converted, "state")["state_lag1"].tolist() == ["none", "a", "b", "none", "b"]
    told = log.assign(next_state=["b", "a", None, "a", None])  # which lead on all the same
    assert add_lags(told, "state")["state_lag1"].tolist() == ["none", "a", "b", "none", "b"]


@pytest.mark.parametrize("given_next", [False, True])
@pytest.mark.parametrize("role", ["terminated", "truncated"])
def test_no_lag_looks_back_across_an_end(role, given_next):
    log = small_log(**{role: [False, True, False, False, True]})
    if given_next:
        log["next_state"] = ["b", None, "a", "a", None]
        log = log.drop(index=2) if role == "truncated" else log
    if given_next and role == "truncated":  # what is known of next states is enough
        assert len(add_lags(log, "state")) == 4
        return
    with pytest.raises(ValueError, match=rf"'{role}' is True at row 1.*goes on at row 2.*or order"):
        add_lags(log, "state")
    own = log.assign(episode=[1, 1, 3, 2, 2])
    assert add_lags(own, "state")["state_lag1"].tolist() == ["none", "a", "none", "none", "b"]
    unread = {role: None}
    assert (
        add_lags(log.drop(columns="next_state", errors="ignore"), "state", **unread).shape[0] == 5
    )
    renamed = log.rename(columns={role: "over"})
    with pytest.raises(ValueError, match="'over' is True at row 1"):
        add_lags(renamed, "state", **{role: "over"})


def test_after_an_end_there_may_be_a_last_observation():
    log = small_log(action=["up", "stop", None, "up", "stop"])
    log["terminated"] = [False, True, np.nan, False, True]
    assert add_lags(log, "state")["state_lag1"].tolist() == ["none", "a", "b", "none", "b"]
    acted = log.assign(action="up")
    with pytest.raises(ValueError, match="'terminated' is True at row 1"):
        add_lags(acted, "state")
    with pytest.raises(ValueError, match="'terminated' is True at row 1"):
        add_lags(log.drop(columns="action"), "state")


def test_numbers_of_which_some_are_negative_need_a_mark_of_their_own():
    log = small_log(reward=[0.0, -1.0, 2.0, -3.0, 1.0])
    with pytest.raises(ValueError, match=r"'reward' holds -1.0 .row 1.*first=..."):
        add_lags(log, "reward")
    lagged = add_lags(log, "reward", first=-99.0)
    assert lagged["reward_lag1"].tolist() == [-99.0, 0.0, -1.0, -99.0, -3.0]
    never = add_lags(small_log(reward=[0.0, 1.0, 2.0, 3.0, 1.0]), "reward")
    assert never["reward_lag1"].tolist() == [-1.0, 0.0, 1.0, -1.0, 3.0]

"""An audit lists exactly what fit refuses, and each line that it shows mends what it says."""

import datetime
import decimal
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_garnet, make_search_log, sample_transitions
from skmdp.inspection import Audit, Finding, audit
from skmdp.inspection._findings import WHY


def a_log(n_episodes=60, length=6, seed=0):
    """A log of random decisions, whose ends are marked and whose next states are read off."""
    rng = np.random.default_rng(seed)
    n = n_episodes * length
    log = pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), length),
            "step": np.tile(np.arange(length), n_episodes),
            "state": rng.choice(list("abcd"), n),
            "action": rng.choice(["x", "y"], n),
        }
    )
    log["reward"] = (log["state"] == "a") + 0.5 * (log["action"] == "x")
    log["reward"] += 0.1 * rng.normal(size=n)
    log["terminated"] = log["step"] == length - 1
    return log


LOG = a_log()
GIVEN = LOG.assign(next_state=LOG.groupby("episode")["state"].shift(-1))
RNG = np.random.default_rng(7)
NUMBERS = {"a": 1, "b": 2, "c": 3, "d": 4}


def refusal_of(table, columns):
    """Return what fit says of a table that it refuses, None where it accepts it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            MarkovPolicyEstimator(**columns).fit(table)
        except (TypeError, ValueError) as error:
            return str(error)
    return None


def apply(mend, table, columns):
    """Run a line as its reader would."""
    scope = {"table": table.copy(), "columns": dict(columns), "np": np, "pd": pd}
    exec(mend, scope)
    return scope["table"], scope["columns"]


def mended(found, table, columns):
    """Apply the lines of all errors in their order."""
    for error in found.errors:
        table, columns = apply(error.mend, table, columns)
    return table, columns


def at(rows, column, values, log=LOG):
    """Return a log with other values in some rows of a column."""
    changed = log.astype({column: object})
    changed.loc[rows, column] = values
    return changed


def late(log):
    """Move rewards into the row after their own."""
    return log.assign(reward=log.groupby("episode")["reward"].shift(1, fill_value=0))


def joined(log):
    """Return a log with a copy of itself, whose episodes have other names."""
    copy = log.assign(episode=log["episode"] + 1000)
    return pd.concat([log, copy], ignore_index=True)


def twice(log, by):
    """Return a log whose rows, or episodes, stand there twice."""
    return pd.concat([log, log]).sort_values(by, kind="stable").reset_index(drop=True)


def floats(n=400):
    values = RNG.normal(size=n)
    table = pd.DataFrame(
        {"episode": np.arange(n) // 4, "state": values, "action": [0, 1] * (n // 2)}
    )
    table["reward"] = RNG.normal(size=n)
    return table.assign(terminated=np.arange(n) % 4 == 3)


BARE = LOG.drop(columns=["step", "terminated"])
TWO = {
    "s": [1, 2, 1],
    "t": ["u", "v", "u"],
    "next_s": [2, None, 1],
    "next_t": ["v", None, None],
    "action": ["x", "y", "y"],
    "reward": [0.0, 1.0, 2.0],
}

# What is wrong -> the table, how its columns are named, the column(s), rows and first row found.
ERRORS = {
    "missing state": ("missing", at([3, 8], "state", None), {}, ("state",), 2, 3),
    "missing number as state": (
        "missing",
        at([3], "state", np.nan, LOG.assign(state=LOG["state"].map(NUMBERS))),
        {},
        ("state",),
        1,
        3,
    ),
    "missing date as state": (
        "missing",
        pd.DataFrame(
            {
                "state": [pd.Timestamp("2020"), None],
                "next_state": [pd.Timestamp("2021"), None],
                "action": 1,
                "reward": 0.0,
            }
        ),
        {},
        ("state",),
        1,
        1,
    ),
    "missing flag as state": (
        "missing",
        pd.DataFrame({"state": [True, None], "episode": 0, "action": 1, "reward": 0.0}),
        {},
        ("state",),
        1,
        1,
    ),
    "missing action": ("missing", at([7], "action", None), {}, ("action",), 1, 7),
    "missing action beside next states": (
        "missing",
        at([7, 5], "action", None, GIVEN.drop(columns="step")),
        {},
        ("action",),
        1,
        7,
    ),
    "missing action without episodes": (
        "missing",
        at([7], "action", None, GIVEN.drop(columns=["step", "episode"])),
        {},
        ("action",),
        1,
        7,
    ),
    "missing reward": ("missing", at([9], "reward", [np.inf]), {}, ("reward",), 1, 9),
    "missing episode": ("missing", at([11, 17], "episode", None), {}, ("episode",), 2, 11),
    "missing step": ("missing", at([2], "step", None), {}, ("step",), 1, 2),
    "missing flag": ("missing", at([5], "terminated", None), {}, ("terminated",), 1, 5),
    "two kinds": ("mixed", at([4, 9], "state", 1), {}, ("state",), 2, 4),
    "lists": (
        "unhashable",
        LOG.assign(state=[[label] for label in LOG["state"]]),
        {},
        ("state",),
        1,
        0,
    ),
    "infinite label": (
        "infinity",
        LOG.assign(state=np.where(LOG["state"] == "a", np.inf, 1.0)),
        {},
        ("state",),
        int((LOG["state"] == "a").sum()),
        int(np.argmax(LOG["state"] == "a")),
    ),
    "surrogate": ("label", at([6], "action", "\ud800"), {}, ("action",), 1, 6),
    "large integer": (
        "label",
        at([6], "action", 2**70, LOG.assign(action=1)),
        {},
        ("action",),
        1,
        6,
    ),
    "kinds of states": (
        "kinds",
        GIVEN.assign(
            state=GIVEN["state"].map(NUMBERS),
            next_state=GIVEN["next_state"].map({k: str(v) for k, v in NUMBERS.items()}),
        ),
        {},
        ("next_state",),
        None,
        None,
    ),
    "fraction": (
        "fraction",
        GIVEN.assign(
            state=GIVEN["state"].map(NUMBERS), next_state=GIVEN["next_state"].map(NUMBERS) / 2
        ),
        {},
        ("next_state",),
        int(GIVEN["next_state"].isin(["a", "c"]).sum()),
        int(np.argmax(GIVEN["next_state"].isin(["a", "c"]))),
    ),
    "steps as words": (
        "no_order",
        LOG.assign(step=LOG["step"].astype(str)),
        {},
        ("step",),
        None,
        None,
    ),
    "dates as words": (
        "no_order",
        LOG.assign(step=[f"2026-01-{1 + i:02d}" for i in LOG["step"]]),
        {},
        ("step",),
        None,
        None,
    ),
    "steps that are no numbers": ("no_order", LOG.assign(step="x"), {}, ("step",), None, None),
    "copies": ("step_twice", pd.concat([LOG, LOG.iloc[10:13]]), {}, ("step",), 3, 10),
    "steps twice": (
        "step_twice",
        pd.concat([LOG.iloc[:-1], LOG.iloc[7:9].assign(reward=9.0), LOG.iloc[-1:]]),
        {},
        ("step",),
        2,
        7,
    ),
    "lacking rows": ("step_gap", LOG.drop(index=[2, 9, 10]), {}, ("step",), 2, 3),
    "lacking rows and a mark": (
        "step_gap",
        LOG.drop(index=2).assign(truncated=0, cut=0),
        {"truncated": "cut"},
        ("step",),
        1,
        3,
    ),
    "lacking rows and no mark": (
        "step_gap",
        LOG.drop(index=2),
        {"truncated": None},
        ("step",),
        1,
        3,
    ),
    "seconds": ("step_gap", LOG.assign(step=LOG["step"] * 60), {}, ("step",), 300, 1),
    "goes on": ("goes_on", at([2], "terminated", True), {}, ("terminated",), 1, 2),
    "goes on after a cut": (
        "goes_on",
        LOG.assign(truncated=LOG.index == 1, house=0),
        {"episode": ["house", "episode"]},
        ("truncated",),
        1,
        1,
    ),
    "yes and no": (
        "flags",
        LOG.assign(terminated=np.where(LOG["terminated"], "Yes", "no")),
        {},
        ("terminated",),
        len(LOG),
        0,
    ),
    "other flags": ("flags", LOG.assign(terminated="open"), {}, ("terminated",), len(LOG), 0),
    "rewards in words": (
        "not_numbers",
        LOG.assign(reward=LOG["reward"].astype(str)),
        {},
        ("reward",),
        len(LOG),
        0,
    ),
    "durations of nothing": ("duration", LOG.assign(duration=0.0), {}, ("duration",), len(LOG), 0),
    "next states in part": (
        "partly_missing",
        pd.DataFrame(TWO),
        {"state": ["s", "t"]},
        ("next_s", "next_t"),
        1,
        2,
    ),
    "no episodes": ("no_episodes", LOG.drop(columns="episode"), {}, (), None, None),
    "no episodes but a near name": (
        "no_episodes",
        LOG.rename(columns={"episode": "Episodes"}),
        {},
        (),
        None,
        None,
    ),
    "no episodes nor steps": (
        "no_episodes",
        LOG.drop(columns=["episode", "step"]),
        {},
        (),
        None,
        None,
    ),
    "no episodes but times": (
        "no_episodes",
        LOG.drop(columns="episode").assign(
            step=pd.Timestamp("2020") + pd.to_timedelta(LOG.index, "D")
        ),
        {},
        (),
        None,
        None,
    ),
    "no episodes nor ends": (
        "no_episodes",
        BARE.drop(columns="episode"),
        {"episode": None},
        (),
        None,
        None,
    ),
    "rewards of last rows": (
        "paid_at_last",
        at(LOG.index[5::6], "action", None),
        {},
        ("reward",),
        60,
        5,
    ),
    "reward of a last row": (
        "paid_at_last",
        at(LOG.index[5::6], "action", None, at(LOG.index[11::6], "reward", 0.0)),
        {},
        ("reward",),
        1,
        5,
    ),
    "huge rewards": ("huge_rewards", LOG.assign(reward=1e308), {}, (), None, None),
    "another name": (
        "absent",
        LOG.rename(columns={"action": "Action"}),
        {},
        ("action",),
        None,
        None,
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_says_where_it_is_and_its_line_mends_it(case):
    kind, table, columns, names, n_rows, first = ERRORS[case]
    before = table.copy()
    found = audit(table, columns=columns)
    pd.testing.assert_frame_equal(table, before)
    error = next(one for one in found.errors if one.kind == kind)
    assert (error.columns, error.n_rows, error.first_row) == (names, n_rows, first)
    assert error.what == next(
        one.what for one in audit(table, columns=columns).errors if one == error
    )
    assert refusal_of(table, columns) == found.errors[0].what
    better, named = apply(error.mend, *apply_before(found, error, table, columns))
    assert (kind, names) not in {
        (one.kind, one.columns) for one in audit(better, columns=named).errors
    }
    assert refusal_of(*mended(found, table, columns)) is None


def apply_before(found, error, table, columns):
    """Apply the lines of the errors that come before one."""
    for earlier in found.errors[: found.errors.index(error)]:
        table, columns = apply(earlier.mend, table, columns)
    return table, columns


def counts_of(table, columns):
    """Return how often each state, action and next state was counted, by labels as text."""
    policy = MarkovPolicyEstimator(**columns).fit(table)
    parts = {action: policy.transition_counts(action).toarray() for action in policy.actions_}
    frames = [
        pd.DataFrame(part, policy.states_, policy.states_).stack().rename(str(action))
        for action, part in parts.items()
    ]
    return pd.concat(frames, axis=1, keys=[frame.name for frame in frames]).fillna(0)


@pytest.mark.parametrize(
    "case",
    [
        "missing action",
        "missing reward",
        "missing episode",
        "copies",
        "steps twice",
        "lacking rows",
        "lacking rows and a mark",
        "goes on",
        "yes and no",
        "rewards in words",
        "no episodes",
        "no episodes nor steps",
        "rewards of last rows",
    ],
)
def test_mends_count_no_transition_that_never_happened(case):
    _, table, columns, *_ = ERRORS[case]
    found = audit(table, columns=columns)
    true = counts_of(LOG.drop(columns="reward"), {"reward": None})
    after = counts_of(*mended(found, table, columns)).reindex(true.index).fillna(0)
    if case == "steps twice":  # nobody knows which of them is right: both count
        assert (after.sum() - true.sum()).abs().max() <= 4
        return
    assert (after[true.columns] <= true).all(axis=None)
    assert after.sum().sum() >= true.sum().sum() - 8 - 60 * (case == "rewards of last rows")


def test_last_observations_stay_what_they_are():
    log = at([*LOG.index[5::6], 7], "action", None, at(LOG.index[5::6], "reward", 0.0))
    found = audit(log)
    assert found.errors[0].n_rows == 1
    better, _ = mended(found, log, {})
    assert better["action"].isna().sum() == 60
    given = log.assign(next_state=GIVEN["next_state"]).drop(columns="step")
    better, _ = mended(audit(given), given, {})
    assert better["action"].isna().sum() == 60


@pytest.mark.parametrize("case", ["every row twice", "every episode twice"])
def test_copies_are_dropped_and_nothing_else(case):
    _, table, columns, *_ = WARNINGS[case]
    mend = next(one.mend for one in audit(table).of("warning") if one.kind == "doubled")
    better, _ = apply(mend, table, columns)
    pd.testing.assert_frame_equal(better[list(BARE)].reset_index(drop=True), BARE)


def test_words_for_yes_are_true():
    mend = audit(ERRORS["yes and no"][1]).errors[0].mend
    better, _ = apply(mend, ERRORS["yes and no"][1], {})
    assert better["terminated"].tolist() == LOG["terminated"].tolist()


def test_steps_that_seldom_count_up_by_one_are_times():
    mends = {case: audit(*ERRORS[case][1:2]).errors[0].mend for case in ("seconds", "lacking rows")}
    assert "to_datetime" in mends["seconds"]
    assert "truncated" in mends["lacking rows"]


# Errors of which only the owner of the log knows what is right.
HOPELESS = {
    "no rows": ("empty", LOG.iloc[:0], {}),
    "no state": ("absent", LOG.drop(columns="state"), {}),
    "no column of a given name": ("absent", LOG, {"step": "day"}),
    "next states of some columns": (
        "absent",
        pd.DataFrame(TWO).drop(columns="next_t"),
        {"state": ["s", "t"]},
    ),
    "one column twice": ("named_twice", LOG, {"reward": "step"}),
    "all cut": ("nothing_counts", LOG.assign(next_state=None, terminated=False), {}),
    "complex": ("refused", LOG.assign(action=1j), {}),
    "complex rewards": ("complex", LOG.assign(reward=1j), {}),
    "signaling": (
        "unhashable",
        at([0], "state", decimal.Decimal("sNaN"), LOG.assign(state=None)),
        {},
    ),
    "signaling beside next states": (
        "unhashable",
        pd.DataFrame(
            {"state": [decimal.Decimal("sNaN")], "next_state": 1, "action": 1, "reward": 0.0}
        ),
        {},
    ),
    "large floats": (
        "large",
        pd.DataFrame(
            {"state": [1, 2**60], "next_state": [2.0**60, None], "action": 1, "reward": 0.0}
        ),
        {},
    ),
    "no rank": (
        "label",
        LOG.assign(action=[{1}, {2}] * (len(LOG) // 2)).map(
            lambda value: frozenset(value) if isinstance(value, set) else value
        ),
        {},
    ),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_what_cannot_be_mended_is_listed(case):
    kind, table, columns = HOPELESS[case]
    found = audit(table, columns=columns)
    assert kind in {error.kind for error in found.errors}
    assert refusal_of(table, columns) == found.errors[0].what


WARNINGS = {
    "spellings": ("look_alike", at([4, 5, 9], "state", ["a ", "A", "Ａ"]), {}, ("state",), 3, 4),
    "numbers": (
        "look_alike",
        at([8], "action", "1.0", LOG.assign(action=LOG["action"].map({"x": "1", "y": "2"}))),
        {},
        ("action",),
        1,
        8,
    ),
    "spellings of episodes": (
        "look_alike",
        at([10, 11], "episode", "E1 ", LOG.assign(episode="e" + LOG["episode"].astype(str))),
        {},
        ("episode",),
        2,
        10,
    ),
    "many spellings": (
        "look_alike",
        pd.DataFrame(
            {
                "state": [f"s{i}" for i in range(30)] * 2 + [f"S{i}" for i in range(30)],
                "next_state": None,
                "action": 0,
                "reward": 0.0,
            }
        ),
        {},
        ("state", "next_state"),
        30,
        60,
    ),
    "words for nothing": (
        "odd_label",
        at([6, 7], "state", ["nan", "N/A"], GIVEN),
        {},
        ("state", "next_state"),
        2,
        6,
    ),
    "no action": ("odd_label", at([6], "action", ""), {}, ("action",), 1, 6),
    "rows after an end": (
        "after_end",
        at([2], "terminated", True, GIVEN),
        {},
        ("terminated",),
        1,
        2,
    ),
    "rows after no next state": (
        "after_end",
        at([2], "next_state", None, GIVEN.drop(columns="terminated")),
        {},
        ("next_state",),
        1,
        2,
    ),
    "order lost": (
        "unlinked",
        pd.concat([GIVEN.iloc[::-1]]).drop(columns=["step", "terminated"]),
        {},
        ("next_state",),
        None,
        None,
    ),
    "order in another column": (
        "unlinked",
        GIVEN.sample(frac=1, random_state=0)
        .assign(
            notes="a",
            wrong=RNG.normal(size=len(GIVEN)),
            gap=np.nan,
            minute=lambda log: 2.0 * log["step"],
        )
        .drop(columns=["step", "terminated"]),
        {},
        ("next_state",),
        None,
        None,
    ),
    "order lost for good": (
        "unlinked",
        GIVEN.iloc[::-1].drop(columns=["terminated"]).rename(columns={"step": "day"}),
        {"step": None},
        ("next_state",),
        None,
        None,
    ),
    "copied rows": (
        "unlinked",
        pd.concat([GIVEN, GIVEN]).sort_index().drop(columns="step"),
        {},
        ("next_state",),
        None,
        0,
    ),
    "every row twice": (
        "doubled",
        twice(BARE.assign(order=LOG.index), ["episode", "order"]),
        {},
        (),
        None,
        None,
    ),
    "every episode twice": ("doubled", twice(BARE, "episode"), {}, (), None, None),
    "every episode under two names": ("repeated", joined(LOG), {}, (), None, None),
    "dated episodes under two names": (
        "repeated",
        joined(LOG.assign(step=pd.Timestamp("2020") + pd.to_timedelta(LOG.index, "D"))).assign(
            half=lambda log: log["episode"] % 2
        ),
        {"episode": ["half", "episode"]},
        (),
        None,
        None,
    ),
    "state and action swapped": (
        "swapped",
        GIVEN.rename(columns={"state": "action", "action": "state"}).drop(columns="terminated"),
        {},
        ("state", "action"),
        None,
        None,
    ),
    "next states that are none": (
        "astray",
        GIVEN.assign(next_state=GIVEN["reward"].map("paid {}".format)),
        {},
        ("state",),
        None,
        None,
    ),
    "records break off": ("break_off", BARE, {}, (), None, None),
    "late rewards": ("reward_row", late(LOG), {}, ("reward",), len(LOG), 1),
    "near name": ("near_name", LOG.rename(columns={"terminated": "done"}), {}, (), None, None),
    "in the index": ("near_name", GIVEN.set_index("episode"), {}, (), None, None),
    "near next": (
        "near_next",
        GIVEN.rename(columns={"next_state": "state_next"}),
        {},
        ("state_next",),
        None,
        None,
    ),
    "a copy of the reward": (
        "tells_outcome",
        LOG.assign(gain=3 - 2 * LOG["reward"]),
        {},
        ("gain",),
        len(LOG),
        None,
    ),
    "a copy of most rewards": (
        "tells_outcome",
        LOG.assign(gain=(3 - 2 * LOG["reward"]).where(LOG.index % 5 > 0)),
        {},
        ("gain",),
        len(LOG),
        None,
    ),
    "a word for the reward": (
        "tells_outcome",
        LOG.assign(reward=RNG.integers(0, 2, len(LOG))).pipe(
            lambda log: log.assign(word=log["reward"].map({0: "bad", 1: "good"}))
        ),
        {},
        ("word",),
        len(LOG),
        None,
    ),
    "a copy of the next state": (
        "tells_outcome",
        LOG.assign(then=GIVEN["next_state"].fillna("end")),
        {},
        ("then",),
        len(LOG),
        None,
    ),
    "reward in the state": (
        "reward_in_state",
        LOG.assign(level=RNG.integers(0, 9, len(LOG))).pipe(
            lambda log: log.assign(reward=log["level"].astype(float))
        ),
        {"state": ["state", "level"]},
        ("level",),
        len(LOG),
        None,
    ),
    "irregular times": (
        "irregular_steps",
        LOG.assign(
            step=pd.Timestamp("2020")
            + pd.to_timedelta(RNG.exponential(size=len(LOG)).cumsum(), "D")
        ),
        {},
        ("step",),
        300,
        None,
    ),
    "irregular numbers": (
        "irregular_steps",
        GIVEN.assign(step=RNG.exponential(size=len(LOG)).cumsum()),
        {},
        ("step",),
        300,
        None,
    ),
    "steps twice": (
        "steps_repeat",
        at([3], "step", 2, GIVEN).astype({"step": int}),
        {},
        ("step",),
        1,
        3,
    ),
    "fractions": ("too_fine", floats(), {}, ("state",), None, None),
    "fractions and next ones": (
        "too_fine",
        floats().pipe(lambda log: log.assign(next_state=log.groupby("episode")["state"].shift(-1))),
        {},
        ("state",),
        None,
        None,
    ),
    "rounding": (
        "rounding",
        pd.DataFrame(
            {"state": [0.3, 0.7], "next_state": [0.7, 0.1 + 0.2], "action": 1, "reward": [0.0, 1.0]}
        ),
        {},
        (),
        None,
        None,
    ),
    "never left": ("never_left", at([3], "next_state", "zz", GIVEN), {}, ("next_state",), 1, 3),
    "not to be reached": (
        "unreachable",
        pd.DataFrame(
            {
                "episode": 0,
                "state": ["a", "b", "c"],
                "action": 1,
                "next_state": ["b", "a", "c"],
                "reward": [0.0, 1.0, 2.0],
            }
        ),
        {},
        ("state",),
        1,
        2,
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_a_warning_says_where_it_is_and_its_line_mends_it(case):
    kind, table, columns, names, n_rows, first = WARNINGS[case]
    found = audit(table, columns=columns)
    assert found.errors == ()
    assert refusal_of(table, columns) is None
    warning = next(one for one in found.of("warning") if one.kind == kind)
    assert warning.columns == names
    if n_rows is not None:
        assert warning.n_rows == n_rows
    if first is not None:
        assert warning.first_row == first
    better, named = apply(warning.mend, table, columns)
    after = audit(better, columns=named)
    assert kind not in {one.kind for one in after.findings}
    assert after.errors == ()


def test_a_column_that_orders_rows_is_named():
    table = WARNINGS["order in another column"][1]
    found = [one for one in audit(table).findings if one.kind in ("unlinked", "after_end")]
    assert {one.mend for one in found} == {"columns = {**columns, 'step': 'minute'}"}


NOTES = {
    "ends": ("ends", load_climb(), {}),
    "one step decisions": ("one_episode", GIVEN.drop(columns=["episode", "step"]), {}),
    "cut rows": ("truncated", at([5], "terminated", False), {}),
    "once": ("seen_once", load_climb(), {}),
    "some alternatives": (
        "few_alternatives",
        LOG.assign(action=LOG["action"].where(LOG["state"] != "d", "x")),
        {},
    ),
    "one reward": ("constant_reward", LOG.assign(reward=2.0), {}),
    "rows out of order": ("unsorted", GIVEN.iloc[::-1], {}),
    "a place that does not link": (
        "unlinked",
        at([3], "next_state", "b" if GIVEN["state"][4] != "b" else "c", GIVEN),
        {},
    ),
    "steps that lack": ("steps_missing", GIVEN.drop(index=2), {}),
    "days that lack": (
        "unsorted",
        GIVEN.assign(step=[datetime.date(2020, 1, 1 + step) for step in LOG["step"]]).iloc[::-1],
        {},
    ),
    "durations": ("irregular_durations", LOG.assign(duration=RNG.exponential(size=len(LOG))), {}),
    "ends that are never left": (
        "never_left",
        at([5], "next_state", "end", GIVEN.drop(columns="terminated")),
        {},
    ),
}


@pytest.mark.parametrize("case", NOTES)
def test_a_note_is_no_warning(case):
    kind, table, columns = NOTES[case]
    assert kind in {note.kind for note in audit(table, columns=columns).of("note")}


# Kinds that other modules test, as their warnings need logs of their own.
ELSEWHERE = {"long_missing"}


def test_every_kind_is_tested():
    tested = {case[0] for cases in (ERRORS, HOPELESS, WARNINGS, NOTES) for case in cases.values()}
    assert tested | ELSEWHERE | {"no_alternatives"} == set(WHY)


# ------------------------------------------------------------------------------ the law of errors

STRANGE = [None, 1, 0.5, np.inf, "yes", [1], datetime.date(2020, 1, 1)]
CHANGES = {
    "lacks": lambda table: table.drop(index=table.index[1:3]),
    "copies": lambda table: pd.concat([table, table.iloc[1:3]], ignore_index=True),
    "reversed": lambda table: table.iloc[::-1].reset_index(drop=True),
}


@st.composite
def broken_tables(draw):
    """A small log with up to four faults."""
    table = a_log(draw(st.integers(1, 3)), draw(st.integers(1, 4)), seed=draw(st.integers(0, 9)))
    if draw(st.booleans()):
        table["next_state"] = table.groupby("episode")["state"].shift(-1)
    if draw(st.booleans()):
        table["duration"] = 1.5
    for column in draw(st.sets(st.sampled_from(["step", "terminated", "episode"]))):
        table = table.drop(columns=column)
    for _ in range(draw(st.integers(0, 4))):
        column = draw(st.sampled_from(list(table.columns)))
        fault = draw(st.sampled_from(["strange", "no column", "renamed", *CHANGES]))
        if fault in CHANGES:
            table = CHANGES[fault](table)
        elif fault == "strange" and len(table):
            values = list(table[column])
            values[draw(st.integers(0, len(table) - 1))] = draw(st.sampled_from(STRANGE))
            series = pd.Series(values, index=table.index, dtype=object).infer_objects()
            table = table.assign(**{column: series})
        elif fault == "no column" and len(table.columns) > 1:
            table = table.drop(columns=column)
        elif fault == "renamed":
            table = table.rename(columns={column: f"{column.upper()} "})
    return table


@given(broken_tables())
@settings(deadline=None)
def test_there_is_an_error_if_and_only_if_fit_refuses(table):
    found = audit(table)
    assert (refusal_of(table, {}) is None) == (not found.errors)
    if found.errors and all(error.mend for error in found.errors):
        assert refusal_of(*mended(found, table, {})) is None


@given(broken_tables())
@settings(deadline=None)
def test_names_of_columns_do_not_matter(table):
    names = {name: f"my {name}" for name in table.columns}
    columns = {role: names[role] for role in names if role in ROLES}
    found, renamed = audit(table), audit(table.rename(columns=names), columns=columns)
    if not any(
        one.kind in ("absent", "near_name", "near_next")
        for one in (*found.findings, *renamed.findings)
    ):
        assert [one.kind for one in found.errors] == [one.kind for one in renamed.errors]


ROLES = ["state", "action", "next_state", "reward", "episode", "step", "terminated", "duration"]


# ------------------------------------------------------------------------------------- good logs


@pytest.mark.parametrize(
    "log",
    [
        load_climb(),
        make_search_log(300, length=4, random_state=0),
        sample_transitions(make_garnet(6, 2, 3, random_state=1), None, 200, random_state=2),
        LOG,
        GIVEN,
        LOG.assign(episode=[datetime.date.fromordinal(700_000 + i) for i in LOG["episode"]]),
        LOG.assign(reward=(LOG["state"] == "a") * 1.0, other=RNG.integers(0, 4, len(LOG))),
        LOG.assign(other=RNG.integers(0, 4, len(LOG)), number=RNG.normal(size=len(LOG))),
    ],
)
def test_a_good_log_has_no_faults(log):
    found = audit(log)
    assert [one.kind for one in (*found.errors, *found.of("warning"))] == []
    assert found.n_rows == len(log)


@pytest.mark.parametrize("seed", range(20))
def test_late_rewards_are_told_from_good_ones(seed):
    log = sample_transitions(make_garnet(5, 2, 2, random_state=seed), None, 300, random_state=seed)
    kinds = [{one.kind for one in audit(table).findings} for table in (log, late(log))]
    assert "reward_row" not in kinds[0]
    # Whatever chance makes of rewards, what moves them back is right where it is said.
    assert kinds[1] - kinds[0] <= {"reward_row", "constant_reward", "reward_in_state"}


@pytest.mark.parametrize("seed", range(30))
def test_noise_is_no_reward_of_the_row_before(seed):
    log = a_log(2, 5, seed=seed)
    kinds = {
        one.kind
        for one in audit(log.assign(reward=np.random.default_rng(seed).normal(size=10))).findings
    }
    assert "reward_row" not in kinds


def test_a_little_of_the_row_before_is_no_fault():
    """An effect that is sure but small is a state that is not quite Markov."""
    log = a_log(2000, 6)
    before = log.groupby("episode")["action"].shift() == "x"
    log["reward"] = 0.3 * before + np.random.default_rng(0).normal(size=len(log))
    assert "reward_row" not in {one.kind for one in audit(log).findings}
    log["reward"] = 3.0 * before + np.random.default_rng(0).normal(size=len(log))
    assert "reward_row" in {one.kind for one in audit(log).findings}


def test_sure_next_states_are_told_by_nothing_else():
    log = LOG.assign(state=LOG["step"], group=RNG.integers(0, 3, len(LOG)))
    assert audit(log).of("warning") == ()


def test_the_first_pair_seen_once_is_told():
    log = at([77], "state", "once", at([99], "state", "later"))
    note = next(one for one in audit(log).findings if one.kind == "seen_once")
    assert (note.n_rows, note.first_row) == (2, 77)


@pytest.mark.parametrize(("spread", "is_irregular"), [(1.5, False), (3.0, True)])
def test_times_are_irregular_from_twice_the_usual_on(spread, is_irregular):
    days = np.where(LOG.index % 2, spread, 1.0).cumsum()
    log = LOG.assign(step=pd.Timestamp("2020") + pd.to_timedelta(days, "D"))
    assert ("irregular_steps" in {one.kind for one in audit(log).findings}) == is_irregular


def test_times_are_not_counted_where_some_are_not_known():
    """The last row of an episode leads on, and nobody knows when that was."""
    days = RNG.exponential(size=len(LOG)).cumsum()
    log = GIVEN.drop(columns="terminated").assign(
        step=pd.Timestamp("2020") + pd.to_timedelta(days, "D")
    )
    log["next_state"] = log["next_state"].fillna("a")
    warning = next(one for one in audit(log).findings if one.kind == "irregular_steps")
    assert warning.mend == ""
    assert refusal_of(log, {"duration": "step"}) is not None


def test_all_faults_are_found_at_once():
    log = at([3], "state", None, at([8], "action", None, at([9], "reward", None)))
    log = log.assign(terminated=np.where(LOG["terminated"], "yes", "no")).drop(index=20)
    found = audit(log)
    assert [error.kind for error in found.errors] == ["missing"] * 3 + ["flags", "step_gap"]
    assert [error.first_row for error in found.errors] == [3, 8, 9, 0, 21]


# -------------------------------------------------------------------------------- forms of tables


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas])
def test_tables_of_other_libraries_count_their_rows(convert):
    broken = LOG.drop(index=2).reset_index(drop=True)
    mine, theirs = audit(broken), audit(convert(broken))
    assert [one.kind for one in theirs.findings] == [one.kind for one in mine.findings]
    assert theirs.errors[0].first_row == 2


def test_rows_are_named_by_the_index():
    log = at([3], "action", None).set_index(pd.Index([f"row {i}" for i in range(len(LOG))]))
    assert audit(log).errors[0].first_row == "row 3"
    spelt = at([4], "state", "A").set_index(pd.Index([f"row {i}" for i in range(len(LOG))]))
    assert audit(spelt).of("warning")[0].first_row == "row 4"


def test_what_is_no_table_is_refused():
    with pytest.raises(TypeError, match="Expected a table of transitions"):
        audit([1, 2])
    with pytest.raises(ValueError, match="There is no role 'stat'"):
        audit(LOG, columns={"stat": "state"})
    with pytest.raises(TypeError, match="lazy table"):
        audit(pl.from_pandas(LOG).lazy())


def test_columns_that_cannot_be_compared_tell_nothing():
    found = audit(LOG.assign(notes=[["a"]] * len(LOG)))
    assert found.of("warning") == ()


def test_states_of_ends_that_are_many_are_not_listed_in_code():
    log = GIVEN.assign(next_state=GIVEN["next_state"].fillna(pd.Series(GIVEN.index).astype(str)))
    warning = next(
        one for one in audit(log.assign(terminated=False)).findings if one.kind == "never_left"
    )
    assert warning.n_rows == 60
    assert warning.mend == ""


def test_only_labels_that_code_can_hold_are_listed_in_it():
    days = pd.Timestamp("2020") + pd.to_timedelta(GIVEN["state"].map(NUMBERS), "D")
    log = GIVEN.assign(state=days, next_state=days.groupby(GIVEN["episode"]).shift(-1))
    log.loc[3, "next_state"] = pd.Timestamp("2021")
    warning = next(one for one in audit(log).findings if one.kind == "never_left")
    assert (warning.first_row, warning.mend) == (3, "")


def test_messages_count_rows_as_the_table_lies():
    """Though lines before them may sort its rows."""
    log = LOG.sample(frac=1, random_state=0).reset_index(drop=True)
    inner = np.flatnonzero(~log["terminated"])
    log = at(inner[[5, 9]], "action", None, at(inner[[3]], "reward", None, log))
    log = at([8], "terminated", None, log)
    errors = audit(log).errors
    assert [one.columns for one in errors] == [("action",), ("reward",), ("terminated",)]
    assert [one.first_row for one in errors] == [inner[5], inner[3], 8]
    assert all(f"at row {one.first_row} (counting from 0)" in one.what for one in errors)


@pytest.mark.parametrize("case", ["signaling", "large floats", "signaling beside next states"])
def test_nothing_is_said_of_states_that_cannot_be_read(case):
    _, table, columns = HOPELESS[case]
    found = audit(table, columns=columns)
    assert found.findings == found.errors
    assert found.n_states is None


def test_what_is_left_out_does_not_keep_the_rest_from_being_read():
    found = audit(LOG.assign(reward=1j))
    assert (found.n_states, found.n_actions) == (4, 2)
    assert "ends" in {one.kind for one in found.findings}


def test_a_line_that_cannot_be_made_is_not_shown():
    """Copies of rows are not found where a column holds lists, and reading goes on all the same."""
    log = pd.concat([LOG, LOG.iloc[10:13]]).assign(notes=[[1]] * (len(LOG) + 3))
    found = audit(at([8], "reward", None, log.reset_index(drop=True)))
    assert {one.kind: one.mend for one in found.errors}["step_twice"] == ""
    assert "missing" in {one.kind for one in found.errors}


def test_reading_stops_after_many_faults(monkeypatch):
    monkeypatch.setattr("skmdp.inspection._audited.MOST_FAULTS", 1)
    found = audit(at([3], "state", None, at([8], "action", None)))
    assert [one.columns for one in found.findings] == [("state",)]


def test_the_only_column_of_the_state_may_not_be_taken_away():
    level = RNG.integers(0, 9, len(LOG)).astype(float)
    log = LOG.assign(state=level, reward=level)
    warning = next(one for one in audit(log).findings if one.kind == "reward_in_state")
    assert warning.mend == ""


def test_numbers_with_zeros_before_them_are_alike():
    log = at([10, 11], "episode", "01", LOG.assign(episode=LOG["episode"].astype(str)))
    found = audit(log)
    assert [one.columns for one in found.of("warning")] == [("episode",)]


def test_an_action_alone_is_no_choice():
    found = audit(LOG.assign(action="x"))
    assert "no_alternatives" in {one.kind for one in found.of("warning")}


# -------------------------------------------------------------------------------- what is shown


def test_the_text_holds_every_finding():
    found = audit(at([3], "state", None))
    text = repr(found)
    assert text.startswith("Audit of 360 rows, 60 episodes, 5 states, 2 actions\n1 error(s)")
    for one in found.findings:
        assert one.what in text
        assert one.why in text
        assert one.mend in text
    assert "fit refuses this table" in text
    assert "fit accepts this table" in repr(audit(LOG))


def test_findings_stay_short_whatever_they_speak_of():
    """Only the lines of code write names and labels in full."""
    huge = "x" * 10**5
    names = {name: f"{name} {huge}" for name in GIVEN}
    log = at([3], "state", huge + "a", at([4], "state", huge + "A", GIVEN)).rename(columns=names)
    log[f"spare {huge}"] = log[names["reward"]]
    columns = {role: names[role] for role in names}
    found = [*audit(log, columns=columns).findings, *audit(log).findings]
    assert {"look_alike", "tells_outcome", "absent", "unlinked"} <= {one.kind for one in found}
    assert max(len(one.what) for one in found) <= 500
    assert max(len(one.where) for one in found) <= 500


def test_html_is_escaped():
    log = LOG.rename(columns={"state": "<b>&"})
    log["<b>&"] = log["<b>&"].replace("a", "<script>alert(1)</script>")
    found = audit(at([3], "<b>&", "<SCRIPT>alert(1)</SCRIPT>", log), columns={"state": "<b>&"})
    html = found._repr_html_()
    assert found.of("warning")[0].kind == "look_alike"
    assert "<script>" not in html.lower()
    assert "<b>" not in html
    assert set(re.findall(r"</?(\w+)", html)) <= {"table", "caption", "br", "tr", "th", "td"}


def test_a_frame_has_a_row_for_each_finding():
    found = audit(at([3], "state", None))
    table = found.to_frame()
    assert list(table["kind"]) == [one.kind for one in found.findings]
    assert table["n_rows"].dtype == "Int64"
    assert len(audit(make_search_log(300, random_state=0)).to_frame().columns) == 8


def test_findings_are_sorted_by_severity():
    found = audit(at([3], "state", None, late(LOG)))
    levels = [one.severity for one in found.findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert isinstance(found, Audit)
    assert isinstance(found.findings[0], Finding)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_times_with_a_zone_are_steps_like_others(zone):
    days = pd.Timestamp("2026-02-01") + pd.to_timedelta(LOG["step"], unit="D")
    plain, zoned = (audit(LOG.assign(step=one)) for one in (days, days.dt.tz_localize(zone)))
    assert zoned.to_frame().equals(plain.to_frame())

"""Each remedy that a message about a log names is applied, and gives what the message promises.

Above all, no remedy makes a transition that never was, or an end that was none.
"""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skmdp import MarkovPolicyEstimator
from skmdp._log.reading import read_features, read_table
from skmdp._log.roles import Roles


def log_of(episodes, states, **columns):
    rows = pd.DataFrame({"episode": list(episodes), "state": list(states)})
    return rows.assign(**{"action": "go", "reward": 1.0, **columns})


def moves(log):
    """The counted transitions as strings, ``.`` for an end."""
    labels = [*log.states.labels, "."]
    pairs = zip(log.state_codes, log.next_codes, strict=True)
    return sorted(f"{labels[s]}{labels[t]}" for s, t in pairs)


def with_next_states(rows):
    return rows.assign(next_state=rows.groupby("episode")["state"].shift(-1))


LINKED = log_of("eeeeff", "abcdxy")
GIVEN = with_next_states(LINKED)
TRUTH = ["ab", "bc", "cd", "d.", "xy", "y."]


def lacking(column, row, rows=LINKED, value=None):
    """The same log without one value, or with another in its place."""
    rows = rows.astype({column: object})
    rows.loc[row, column] = value
    return rows


def apart(rows, row):
    """Give the rows of an episode from one row on an episode of their own."""
    later = (rows["episode"] == rows.loc[row, "episode"]) & (rows.index >= row)
    return rows.assign(episode=rows["episode"].where(~later, "apart"))


def cut_before(rows, row):
    """Drop a row, part what it joined, and mark the row before as cut off."""
    return apart(rows, row).drop(index=row).assign(truncated=rows.index.drop(row) == row - 1)


def unknown_state(rows):
    """A log with given next states of which one observation failed."""
    return lacking("state", 1, lacking("next_state", 0, rows))


UNIX = [1_700_000_000 + step for step in (0, 60, 150, 400, 0, 30)]
DAYS = [f"2026-01-0{day}" for day in "123412"]
ENDS = [False, False, False, True, False, True]

# What is wrong, what the message says, and for each remedy the table and the names of its columns
# that it makes, with the transitions that are then counted.
CASES = {
    "state, linked": (
        lacking("state", 2),
        r"'state' contains NaN.*label of its own.*episode of their own.*'truncated'",
        {
            "a label of its own": (lacking("state", 2, value="?"), ["ab", "b?", "?d"]),
            "leave out": (cut_before(lacking("state", 2), 2), ["ab"]),
        },
        ["d.", "xy", "y."],
    ),
    "first state, linked": (
        lacking("state", 0),
        "'state' contains NaN",
        {"leave out": (lacking("state", 0).drop(index=0), [])},
        ["bc", "cd", "d.", "xy", "y."],
    ),
    "last state, linked": (
        lacking("state", 3),
        "'state' contains NaN",
        {"leave out": (cut_before(lacking("state", 3), 3), [])},
        ["ab", "bc", "xy", "y."],
    ),
    "state, given": (
        unknown_state(GIVEN),
        r"'state' contains NaN.*label of its own, or drop.*'truncated', else it counts as an end",
        {
            "a label of its own": (
                unknown_state(GIVEN).assign(
                    state=list("a?cdxy"), next_state=["?", "c", "d", None, "y", None]
                ),
                ["a?", "?c"],
            ),
            "drop": (
                unknown_state(GIVEN).drop(index=1).assign(truncated=[True] + [False] * 4),
                [],
            ),
        },
        ["cd", "d.", "xy", "y."],
    ),
    "action, linked": (
        lacking("action", 1),
        r"'action' contains NaN.*such as 'none'.*fill in any value and give them sample_weight 0",
        {
            "name what is nothing": (lacking("action", 1, value="none"), ["bc"]),
            "leave out": (lacking("action", 1, value="any"), [], {}, None, [1, 0, 1, 1, 1, 1]),
        },
        ["ab", "cd", "d.", "xy", "y."],
    ),
    "action, given": (
        lacking("action", 1, GIVEN),
        r"'action' contains NaN.*such as 'none'.*leave these rows out, drop them",
        {
            "name what is nothing": (
                lacking("action", 1, GIVEN, value="none"),
                ["bc"],
            ),
            "drop": (lacking("action", 1, GIVEN).drop(index=1), []),
        },
        ["ab", "cd", "d.", "xy", "y."],
    ),
    "reward, linked": (
        lacking("reward", 1),
        r"'reward' contains NaN.*with 0 if nothing was paid.*fill in any value.*sample_weight 0",
        {
            "nothing was paid": (lacking("reward", 1, value=0), ["bc"]),
            "leave out": (lacking("reward", 1, value=7), [], {}, None, [1, 0, 1, 1, 1, 1]),
        },
        ["ab", "cd", "d.", "xy", "y."],
    ),
    "reward, given": (
        lacking("reward", 1, GIVEN),
        r"'reward' contains NaN.*with 0 if nothing was paid.*leave these rows out, drop them",
        {
            "nothing was paid": (lacking("reward", 1, GIVEN, value=0), ["bc"]),
            "drop": (lacking("reward", 1, GIVEN).drop(index=1), []),
        },
        ["ab", "cd", "d.", "xy", "y."],
    ),
    "episode, linked": (
        lacking("episode", 3),
        r"'episode' contains NaN.*Fill it in; a row that belongs to no other.*Do not drop",
        {
            "fill in": (LINKED, ["cd"]),
            "of its own": (lacking("episode", 3, value="own"), ["c."]),
        },
        ["ab", "bc", "d.", "xy", "y."],
    ),
    "episode, given": (
        lacking("episode", 1, GIVEN),
        "'episode' contains NaN.*Fill it in, or drop these rows",
        {
            "fill in": (GIVEN, ["bc"]),
            "drop": (lacking("episode", 1, GIVEN).drop(index=1), []),
        },
        ["ab", "cd", "d.", "xy", "y."],
    ),
    "step": (
        LINKED.assign(step=[0, 1, None, 3, 0, 1]),
        r"'step' contains NaN.*Fill in the step, or say step=None to use the rows in the order",
        {
            "fill in": (LINKED.assign(step=[0, 1, 2, 3, 0, 1]), []),
            "order given": (LINKED.assign(step=[0, 1, None, 3, 0, 1]), [], {"step": None}),
        },
        TRUTH,
    ),
    "step, words": (
        LINKED.assign(step=list("012301")),
        r"'step' must hold numbers or times.*pandas.to_numeric or pandas.to_datetime.*step=None",
        {
            "numbers": (LINKED.assign(step=pd.to_numeric(pd.Series(list("012301")))), []),
            "times": (
                LINKED.assign(step=pd.to_datetime(pd.Series(DAYS))),
                [],
            ),
            "order given": (LINKED.assign(step=list("012301")), [], {"step": None}),
        },
        TRUTH,
    ),
    "step, a missing row": (
        LINKED.assign(step=[0, 1, 3, 4, 0, 1]),
        r"step 3 follows step 1 \(row 2.*episode of their own.*the one before as truncated",
        {
            "part": (
                apart(LINKED, 2).assign(
                    step=[0, 1, 3, 4, 0, 1], truncated=[False, True, False, False, False, False]
                ),
                [],
            )
        },
        ["ab", "cd", "d.", "xy", "y."],
    ),
    "step, seconds": (
        LINKED.assign(step=UNIX),
        r"pandas.to_datetime\(\.\.\., unit='s'\)",
        {
            "times": (LINKED.assign(step=pd.to_datetime(pd.Series(UNIX), unit="s")), []),
            "sorted": (
                LINKED.assign(step=UNIX).sort_values(["episode", "step"]),
                [],
                {"step": None},
            ),
        },
        TRUTH,
    ),
    "step, twice": (
        pd.concat([LINKED, LINKED.iloc[[1]]]).assign(step=[0, 1, 2, 3, 0, 1, 1]),
        r"step 1 occurs twice \(row 6.*drop the copy.*correct the steps, or sort.*step=None",
        {
            "drop the copy": (LINKED.assign(step=[0, 1, 2, 3, 0, 1]), ["bc"]),
            "correct": (
                pd.concat([LINKED, LINKED.iloc[[1]]]).assign(step=[0, 1, 3, 4, 0, 1, 2]),
                ["bb", "bc"],
            ),
            "sorted": (
                pd.concat([LINKED, LINKED.iloc[[1]]]).sort_index(),
                ["bb", "bc"],
                {"step": None},
            ),
        },
        ["ab", "cd", "d.", "xy", "y."],
    ),
    "terminated, words": (
        LINKED.assign(terminated=np.where(ENDS, "yes", "no")),
        r"'terminated' must hold booleans.*table\['terminated'\] == 'yes', or say terminated=None",
        {
            "compare": (LINKED.assign(terminated=np.where(ENDS, "yes", "no") == "yes"), []),
            "another thing": (
                LINKED.assign(terminated=np.where(ENDS, "yes", "no")),
                [],
                {"terminated": None},
            ),
        },
        TRUTH,
    ),
    "terminated, numbers": (
        LINKED.assign(terminated=np.where(ENDS, 7, 0)),
        r"got 7 at row 3.*table\['terminated'\] == 7, or say terminated=None",
        {
            "compare": (LINKED.assign(terminated=np.where(ENDS, 7, 0) == 7), []),
        },
        TRUTH,
    ),
    "terminated, missing": (
        LINKED.assign(terminated=[False, None, False, True, False, True]),
        "'terminated' contains NaN or None.*Fill in True or False",
        {"fill in": (LINKED.assign(terminated=ENDS), [])},
        TRUTH,
    ),
    "terminated in the middle": (
        LINKED.assign(terminated=[False, True, False, True, False, True]),
        r"is True at row 1.*goes on at row 2.*episode of their own, order the rows, or add next",
        {
            "part": (
                apart(LINKED, 2).assign(terminated=[False, True, False, True, False, True]),
                ["b.", "cd", "d."],
            ),
            "order": (
                LINKED.assign(
                    terminated=[False, True, False, True, False, True], step=[2, 3, 0, 1, 0, 1]
                ).assign(terminated=[False, True, False, False, False, True]),
                ["b.", "cd", "da"],
            ),
            "next states": (
                GIVEN.assign(terminated=[False, True, False, True, False, True]),
                ["b.", "cd", "d."],
            ),
        },
        ["ab", "xy", "y."],
    ),
    "neither next states nor episodes": (
        LINKED.drop(columns="episode"),
        "neither next states.*Add next-state column.*or a column that tells which rows belong",
        {
            "next states": (GIVEN.drop(columns="episode"), []),
            "episodes": (LINKED, []),
            "named": (
                GIVEN.drop(columns="episode").rename(columns={"next_state": "later"}),
                [],
                {"next_state": "later"},
            ),
        },
        TRUTH,
    ),
    "a column that is named otherwise": (
        LINKED.rename(columns={"action": "drug"}),
        r"no column 'action'.*Name yours: MarkovPolicyEstimator\(action=\.\.\.\)",
        {"name it": (LINKED.rename(columns={"action": "drug"}), [], {"action": "drug"})},
        TRUTH,
    ),
    "a column with two roles": (
        LINKED.rename(columns={"episode": "step"}).assign(step=[0, 0, 0, 0, 1, 1]),
        "named for two roles.*may be None",
        {
            "none": (
                LINKED.rename(columns={"episode": "step"}),
                [],
                {"episode": "step", "step": None},
            )
        },
        TRUTH,
        {"episode": "step"},
    ),
    "rewards, words": (
        LINKED.assign(reward=list("123456")),
        r"'reward' must hold numbers.*with pandas.to_numeric",
        {"numbers": (LINKED.assign(reward=pd.to_numeric(pd.Series(list("123456")))), [])},
        TRUTH,
    ),
    "truncated everywhere": (
        LINKED.assign(next_state=None, terminated=False),
        "Every row is truncated.*Mark the ends with terminated=True, or add next states",
        {
            "next states": (GIVEN.assign(terminated=ENDS), []),
            "ends": (
                LINKED.assign(next_state=None, terminated=True),
                ["a.", "b.", "c.", "d.", "x.", "y."],
                {},
                [],
            ),
        },
        TRUTH,
    ),
    "no decision": (
        log_of("ef", "ax", action=None, reward=None),
        "No row holds a decision.*Name the actions, or hand in the rows before them",
        {
            "name": (log_of("ef", "ax"), ["a.", "x."]),
            "rows before": (
                log_of("eeff", "baxx", action=["go", None] * 2, reward=[1, None] * 2),
                ["ba", "xx"],
            ),
        },
        [],
    ),
    "a reward beside a last observation": (
        LINKED.assign(action=["go", "go", "go", None, "go", None], reward=[0, 1, 2, 3, 0, 1]),
        r"'reward' is 3 at row 3.*name it.*move the rewards of each episode up.*set this one to 0",
        {
            "name the action": (LINKED.assign(reward=[0, 1, 2, 3, 0, 1]), ["d.", "y."]),
            "move up": (
                LINKED.assign(
                    action=["go", "go", "go", None, "go", None], reward=[1, 2, 3, None, 1, None]
                ),
                [],
            ),
            "set to 0": (
                LINKED.assign(
                    action=["go", "go", "go", None, "go", None], reward=[0, 1, 2, 0, 0, 0]
                ),
                [],
            ),
        },
        ["ab", "bc", "cd", "xy"],
    ),
    "next states missing in part": (
        GIVEN.assign(x=range(6), next_x=[1, None, 3, None, 5, None]),
        "'next_state' and 'next_x' must be missing together: at row 1.*Leave all.*fill all",
        {
            "fill in": (GIVEN.assign(x=range(6), next_x=[1, 2, 3, None, 5, None]), []),
        },
        TRUTH,
        {"state": ["state", "x"]},
    ),
    "some next states": (
        GIVEN.assign(x=range(6)),
        r"'next_state' but not 'next_x'\. Add what is missing, or name the columns",
        {
            "add": (GIVEN.assign(x=range(6), next_x=[1, 2, 3, None, 5, None]), []),
            "name": (
                GIVEN.assign(x=range(6), later=[1, 2, 3, None, 5, None]),
                [],
                {"next_state": ["next_state", "later"]},
            ),
        },
        TRUTH,
        {"state": ["state", "x"]},
    ),
}


def first_letters(log):
    """Moves of the first state column."""
    if len(log.states.names) == 1:
        return moves(log)
    labels = [*(label[0] for label in log.states.labels), "."]
    pairs = zip(log.state_codes, log.next_codes, strict=True)
    return sorted(f"{labels[s]}{labels[t]}" for s, t in pairs)


@pytest.mark.parametrize("case", CASES)
def test_a_remedy_counts_what_was_and_nothing_else(case):
    table, message, remedies, always, *names = CASES[case]
    columns = names[0] if names else {}
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        read_table(table, Roles.of(columns))
    assert len(str(caught.value)) <= 500
    for mended, counted, *options in remedies.values():
        roles = Roles.of({**columns, **(options[0] if options else {})})
        expected = options[1] if len(options) > 1 and options[1] is not None else always
        weights = options[2] if len(options) > 2 else None
        read = read_table(mended, roles, weights)
        assert first_letters(read) == sorted([*expected, *counted])


# ------------------------------------------------------------------------------- beside the table


def test_a_weight_of_zero_leaves_a_row_out():
    with pytest.raises(
        ValueError, match=r"negative .* at row 1.*Use weight 0 to leave the row out"
    ):
        read_table(LINKED, Roles(), [1, -1, 1, 1, 1, 1])
    log = read_table(LINKED, Roles(), [1, 0, 1, 1, 1, 1])
    assert moves(log) == ["ab", "cd", "d.", "xy", "y."]


def test_weights_scaled_down_are_read():
    with pytest.raises(ValueError, match=r"overflows\. Scale it down"):
        read_table(LINKED, Roles(), [1e308] * 6)
    assert moves(read_table(LINKED, Roles(), np.full(6, 1e308) / 1e308)) == TRUTH


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.5])
def test_propensities_are_corrected_or_their_episode_left_out(bad):
    shares = np.array([0.5, bad, 1, 1, 0.5, 0.5])
    message = r"Propensity .* at row 1 .*Correct it, or leave out the whole episode"
    with pytest.raises(ValueError, match=message):
        read_table(LINKED, Roles(), propensities=shares)
    corrected = np.where(shares == bad, 0.25, shares)
    assert_array_equal(read_table(LINKED, Roles(), propensities=corrected).propensities, corrected)
    kept = LINKED["episode"] != "e"
    log = read_table(LINKED[kept], Roles(), propensities=shares[kept])
    assert moves(log) == ["xy", "y."]


@pytest.mark.parametrize("lacks", ["y", "reward"])
def test_features_leave_rows_out_by_weight(lacks):
    given = {"y": list("gggg"), "reward": [1.0, 2.0, 3.0, 4.0]}
    bad = {**given, lacks: [given[lacks][0], None, *given[lacks][2:]]}
    message = f"'{lacks}' contains NaN.*fill in any value and give them sample_weight 0"
    with pytest.raises(ValueError, match=message):
        read_features([["a"], ["b"], ["c"], ["d"]], **bad, episode=[0] * 4)
    log = read_features(
        [["a"], ["b"], ["c"], ["d"]], **given, episode=[0] * 4, sample_weight=[1, 0, 1, 1]
    )
    assert moves(log) == ["ab", "cd", "d."]
    with pytest.raises(ValueError, match=f"'{lacks}' contains NaN.*To leave these rows out, drop"):
        read_features([["a"], ["b"], ["c"], ["d"]], **bad)
    kept = [0, 2, 3]
    log = read_features(
        np.array([["a"], ["c"], ["d"]], dtype=object),
        **{name: [values[i] for i in kept] for name, values in given.items()},
    )
    assert moves(log) == ["a.", "c.", "d."]


# ---------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize(
    ("first", "second", "message", "remedy"),
    [
        (
            GIVEN,
            GIVEN.drop(columns="episode"),
            "Name the episodes in all batches or in none",
            (GIVEN.drop(columns="episode"), GIVEN.drop(columns="episode")),
        ),
        (
            log_of("e", [2**53 + 1]),
            log_of("e", [0.5]),
            "integer or strings in all batches, and call fit to start anew",
            (log_of("e", [str(2**53 + 1)]), log_of("e", ["0.5"])),
        ),
    ],
)
def test_batches_of_one_form_add_up(first, second, message, remedy):
    policy = MarkovPolicyEstimator().partial_fit(first)
    with pytest.raises(ValueError, match=message):
        policy.partial_fit(second)
    assert policy.fit(second).n_transitions_ == len(second)  # anew
    policy = MarkovPolicyEstimator().partial_fit(remedy[0]).partial_fit(remedy[1])
    assert policy.n_transitions_ == len(first) + len(second)


def test_state_columns_of_batches_stay_or_fit_starts_anew():
    policy = MarkovPolicyEstimator().partial_fit(LINKED)
    renamed = LINKED.rename(columns={"state": "place"})
    policy.set_params(state="place")
    with pytest.raises(ValueError, match="Use the same ones, or call fit to start anew"):
        policy.partial_fit(renamed)
    assert_array_equal(policy.fit(renamed).feature_names_in_, ["place"])
    policy = MarkovPolicyEstimator(state="place").partial_fit(renamed).partial_fit(renamed)
    assert policy.n_transitions_ == 2 * len(renamed)


def test_batches_come_with_rewards_or_without():
    X, y = [["a"], ["b"]], ["g", "h"]
    policy = MarkovPolicyEstimator().partial_fit(X, y, reward=[1, 2])
    with pytest.raises(ValueError, match="Hand in rewards with all batches or with none, or call"):
        policy.partial_fit(X, y)
    assert policy.partial_fit(X, y, reward=[1, 2]).n_transitions_ == 4
    assert policy.fit(X, y).partial_fit(X, y).n_transitions_ == 4


@pytest.mark.parametrize("episode", [None, [0, 0, 0, 1]])
def test_features_lack_no_state(episode):
    table = pd.DataFrame({"x": ["a", None, "c", "d"]})
    y, given = ["g"] * 4, {} if episode is None else {"episode": episode}
    remedy = "drop these rows" if episode is None else "leave out the whole episode"
    with pytest.raises(ValueError, match=rf"'x' contains NaN.*its own, or {remedy}\.") as caught:
        read_features(table, y, **given)
    assert "truncated" not in str(caught.value)
    labelled = moves(read_features(table.fillna("?"), y, **given))
    if episode is None:
        assert labelled == ["?.", "a.", "c.", "d."]
        assert moves(read_features(table.dropna(), y[:3])) == ["a.", "c.", "d."]
    else:
        assert labelled == ["?c", "a?", "c.", "d."]
        assert moves(read_features(table.iloc[3:], y[3:], episode=[1])) == ["d."]


def test_features_may_end_with_a_last_observation():
    X, y, reward = [["a"], ["b"], ["z"], ["x"]], ["g", "h", None, "g"], [1, 2, None, 3]
    log = read_features(X, y, reward, [0, 0, 0, 1])
    assert moves(log) == ["ab", "bz", "x."]
    assert_array_equal(log.rewards, [1, 2, 3])
    assert log.cut_share == 0.5
    assert read_features(X, [3, 1, np.nan, 3], None, [0, 0, 0, 1]).actions.kinds == ("int",)
    with pytest.raises(ValueError, match=r"'y' contains NaN.*such as 'none'") as caught:
        read_features(X, y, reward)
    assert "last observation" not in str(caught.value)
    with pytest.raises(ValueError, match="No row holds a decision"):
        read_features(X, [None] * 4, episode=range(4))

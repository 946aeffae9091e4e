import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import random_process

from skmdp.datasets import mdp_from_table
from skmdp.solvers import modified_policy_iteration

PUMP = pd.DataFrame(
    [
        ("good", "run", "good", 0.75, 5),
        ("good", "run", "worn", 0.25, 5),
        ("worn", "run", "worn", 0.5, 3),
        ("worn", "run", None, 0.5, -40),
        ("worn", "fix", "good", 1.0, -2),
    ],
    columns=["state", "action", "next_state", "probability", "reward"],
)


def assert_is_pump(labelled):
    assert_array_equal(labelled.states, ["good", "worn"])
    assert_array_equal(labelled.actions, ["fix", "run"])
    mdp = labelled.mdp
    assert_array_equal(mdp.transitions.toarray(), [[0.75, 0.25], [1, 0], [0, 0.5]])
    assert_array_equal(mdp.rewards, [5, -2, -18.5])
    assert_array_equal(mdp.pair_state, [0, 1, 1])
    assert_array_equal(mdp.pair_action, [1, 0, 1])


@pytest.mark.parametrize(
    "make",
    [
        lambda table: table,
        pl.from_pandas,
        lambda table: pl.from_pandas(table).to_arrow(),
        lambda table: table.astype({"state": "category", "action": "category"}),
        lambda table: table.convert_dtypes(),
    ],
    ids=["pandas", "polars", "pyarrow", "categories", "nullable"],
)
def test_tables_of_every_library_are_one_process(make):
    assert_is_pump(mdp_from_table(make(PUMP)))


@given(st.permutations(range(5)))
def test_the_order_of_rows_does_not_matter(order):
    assert_is_pump(mdp_from_table(PUMP.iloc[order]))


def test_columns_may_have_other_names():
    names = {"state": "s", "action": "a", "next_state": "t", "probability": "p", "reward": "r"}
    renamed = PUMP.rename(columns=names)
    assert_is_pump(mdp_from_table(renamed, columns=names))
    solution = modified_policy_iteration(mdp_from_table(PUMP).mdp, 0.9)
    assert mdp_from_table(renamed, columns=names).policy_table(solution).index.name == "s"


def table_of(mdp, labels):
    """Write a process as a table, with labels for its states, and actions as letters."""
    entries = mdp.transitions.tocoo()
    pair = np.append(entries.row, np.flatnonzero(mdp.ends))
    following = [*(labels[t] for t in entries.col), *[None] * int(mdp.ends.sum())]
    probability = np.append(entries.data, (1 - mdp.mass)[mdp.ends])
    return pd.DataFrame(
        {
            "state": [labels[s] for s in mdp.pair_state[pair]],
            "action": [f"act {a}" for a in mdp.pair_action[pair]],
            "next_state": following,
            "probability": probability,
            "reward": mdp.rewards[pair],
        }
    )


LABELS = {
    "words": [f"state {s}" for s in range(8)],
    "numbers": [s * 10 for s in range(8)],
    "fractions": [s / 10 for s in range(8)],
    "dates": [datetime.date(2026, 1, 1 + s) for s in range(8)],
    "tuples": [(0, s) for s in range(8)],
}


@given(st.sampled_from(list(LABELS)), st.integers(0, 1000), st.sampled_from([0.0, 0.2]))
def test_labels_of_every_kind_are_kept(kind, seed, end):
    mdp, labels = random_process(seed, end=end), LABELS[kind]
    labelled = mdp_from_table(table_of(mdp, labels))
    assert list(labelled.states) == labels
    back = labelled.mdp
    assert_allclose(back.transitions.toarray(), mdp.transitions.toarray(), rtol=1e-14)
    assert_allclose(back.rewards, mdp.rewards, rtol=1e-15)
    solution = modified_policy_iteration(back, 0.9)
    table = labelled.policy_table(solution)
    policy = modified_policy_iteration(mdp, 0.9).policy
    for s, label in enumerate(labels):
        row = table.iloc[table.index.get_loc(label)]
        assert row["action"] == f"act {policy[s]}"
        assert row["value"] == solution.state_values[s]


def test_states_of_several_columns():
    walk = pd.DataFrame(
        {
            "floor": [1, 1, 2],
            "side": ["left", "right", "left"],
            "action": "on",
            "next_floor": [1, 2, np.nan],
            "next_side": ["right", "left", None],
            "probability": 1.0,
            "reward": [0.0, 0.0, 8.0],
        }
    )
    labelled = mdp_from_table(walk, columns={"state": ["floor", "side"]})
    assert labelled.states.tolist() == [[1, "left"], [1, "right"], [2, "left"]]
    table = labelled.policy_table(modified_policy_iteration(labelled.mdp, 0.5))
    assert table.loc[(1, "left"), "value"] == 2.0
    assert list(table.index.names) == ["floor", "side"]


def test_states_only_reached_have_no_actions():
    trip = pd.DataFrame(
        {"state": ["a"], "action": [1], "next_state": ["z"], "probability": [1.0], "reward": [2.0]}
    )
    labelled = mdp_from_table(trip)
    assert_array_equal(labelled.states, ["a", "z"])
    table = labelled.policy_table(modified_policy_iteration(labelled.mdp, 0.5))
    assert table.to_dict("index") == {"a": {"action": 1, "value": 2.0}}


def test_rows_of_one_outcome_add_up():
    """Half of the time it pays 8, half of the time nothing, and it always stays."""
    game = pd.DataFrame(
        {"state": "in", "action": "play", "next_state": "in", "probability": 0.5, "reward": [8, 0]}
    )
    mdp = mdp_from_table(game).mdp
    assert_array_equal(mdp.transitions.toarray(), [[1.0]])
    assert_array_equal(mdp.rewards, [4.0])


@pytest.mark.parametrize("n", [3, 7, 10, 49])
def test_sums_that_are_rounded_are_no_ends(n):
    """Whether probabilities are n-ths as floats, or with twelve decimals."""
    for share in (1 / n, round(1 / n, 12)):
        spread = pd.DataFrame(
            {
                "state": np.repeat(np.arange(n), n),
                "action": 0,
                "next_state": np.tile(np.arange(n), n),
                "probability": share,
                "reward": 0.1,
            }
        )
        mdp = mdp_from_table(spread).mdp
        assert not mdp.ends.any()
        assert_array_equal(mdp.rewards, 0.1)


def changed(**columns):
    return PUMP.assign(**columns)


TWICE = pd.concat([PUMP, PUMP[2:3]], ignore_index=True)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (
            changed(probability=[0.75, 0.25, 0.5, 0.25, 1]),
            ValueError,
            "'run' in state 'worn' sum to 0.75, 0.25 less than one. Add the outcome",
        ),
        (TWICE, ValueError, "'run' in state 'worn' sum to 1.5, 0.5 more .*row that is there twice"),
        (
            changed(probability=[0.75, 0.25, 1.5, -0.5, 1]),
            ValueError,
            "'probability' holds 1.5 at row 2 .*'run' in state 'worn'",
        ),
        (
            changed(probability=[1.25, -0.25, 0.5, 0.5, 1]),
            ValueError,
            "'probability' holds 1.25 at row 0",
        ),
        (
            changed(probability=[0.75, 0.25, 0.5, np.nan, 1]),
            ValueError,
            "'probability' contains NaN.*row 3",
        ),
        (
            changed(probability="all"),
            ValueError,
            "'probability' must hold numbers, got 'all' at row 0",
        ),
        (
            changed(reward=[5, 5, 3, np.inf, 1]),
            ValueError,
            "'reward' contains NaN, None or infinity.*row 3",
        ),
        (
            changed(state=["good", None, "worn", "worn", "worn"]),
            ValueError,
            "'state' contains NaN or None .*row 1",
        ),
        (
            changed(action=["run", "run", "run", "run", None]),
            ValueError,
            "'action' contains NaN or None .*row 4",
        ),
        (
            changed(next_state=[1, 2, 2, None, 1]),
            TypeError,
            "labels of different kinds cannot be matched",
        ),
        (PUMP[:0], ValueError, "0 rows"),
        (
            PUMP.drop(columns="probability"),
            ValueError,
            r"no column 'probability'.*yours: columns=\{'prob",
        ),
        (PUMP.rename(columns={"reward": "Reward"}), ValueError, "Did you mean 'Reward'"),
        (PUMP.drop(columns="next_state"), ValueError, "no column 'next_state'"),
        ({"state": ["a"]}, TypeError, "Expected a table of outcomes .*got dict"),
        (pl.from_pandas(PUMP).lazy(), TypeError, r"lazy table.*collect\(\)"),
    ],
)
def test_tables_that_are_wrong_are_refused(table, error, message):
    with pytest.raises(error, match=message):
        mdp_from_table(table)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"prob": "p"}, ValueError, "no role 'prob'.* are 'state', 'action'"),
        ({"probability": ["p", "q"]}, TypeError, "probability names one column, got 2"),
        ({"state": ["state", "next_state"]}, ValueError, "no column 'next_next_state'"),
        (
            {"reward": "probability"},
            ValueError,
            "'probability' is named for two roles; each needs its own column.$",
        ),
        ({"next_state": ["next_state", "other"]}, ValueError, "names 2 column.* and state 1"),
    ],
)
def test_names_that_are_wrong_are_refused(columns, error, message):
    with pytest.raises(error, match=message):
        mdp_from_table(PUMP.assign(other="good"), columns=columns)


def test_remedies_of_sums_work():
    """What the message names is done to the table, and the process is what it should be."""
    assert_is_pump(mdp_from_table(TWICE.drop_duplicates()))
    short = PUMP.drop(index=3)
    end = {"state": "worn", "action": "run", "next_state": None, "probability": 0.5, "reward": -40}
    assert_is_pump(mdp_from_table(pd.concat([short, pd.DataFrame([end])])))
    rounded = changed(probability=[0.7501, 0.25, 0.5, 0.5, 1])
    sums = rounded.groupby(["state", "action"])["probability"].transform("sum")
    mdp = mdp_from_table(rounded.assign(probability=rounded["probability"] / sums)).mdp
    assert_allclose(mdp.transitions.toarray()[0], [0.75, 0.25], atol=1e-4)


def test_solutions_of_another_process_are_refused():
    labelled = mdp_from_table(PUMP)
    with pytest.raises(ValueError, match=r"policy of shape \(8,\) .*expected \(2,\)"):
        labelled.policy_table(modified_policy_iteration(random_process(1), 0.9))


def test_messages_stay_short():
    long = "x" * 10_000
    table = changed(state=[long, long, "worn", "worn", "worn"], probability=0.25)
    with pytest.raises(ValueError, match="sum to") as error:
        mdp_from_table(table)
    assert len(str(error.value)) < 500

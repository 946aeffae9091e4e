"""Order, next states, starts and ends of episodes."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skmdp import MarkovPolicyEstimator
from skmdp._log.reading import read_columns, read_features, read_table
from skmdp._log.roles import Roles

ROLES = Roles()


def table(episodes, states, **columns):
    frame = pd.DataFrame({"episode": list(episodes), "state": list(states), "action": "go"})
    return frame.assign(reward=0.0, **columns)


def moves(log):
    """The counted transitions as strings, ``.`` for an end."""
    labels = [*log.states.labels, "."]
    return [f"{labels[s]}{labels[t]}" for s, t in zip(log.state_codes, log.next_codes, strict=True)]


def starts(log):
    return sorted(log.states.labels[log.start_codes])


def test_next_state_is_that_of_the_next_row_of_the_episode():
    log = read_table(table("eeeff", "abcxy"), ROLES)
    assert moves(log) == ["ab", "bc", "c.", "xy", "y."]
    assert starts(log) == ["a", "x"]
    assert (log.n_episodes, log.longest, log.cut_share) == (2, 3, 0)


def test_rows_of_an_episode_may_lie_anywhere():
    log = read_table(table("efefe", "axbyc"), ROLES)
    assert sorted(moves(log)) == ["ab", "bc", "c.", "xy", "y."]


def test_steps_order_rows():
    log = read_table(table("eeeff", "cabyx", step=[3, 1, 2, 8, 7]), ROLES)
    assert sorted(moves(log)) == ["ab", "bc", "c.", "xy", "y."]
    assert starts(log) == ["a", "x"]


def test_steps_settle_where_episodes_start_even_with_next_states():
    log = read_table(table("ee", "ba", step=[1, 0], next_state=[None, "b"]), ROLES)
    assert starts(log) == ["a"]


def test_given_next_states_need_no_order():
    rows = table("eee", "abc", next_state=["b", "c", None])
    shuffled = rows.sample(frac=1, random_state=3)
    assert sorted(moves(read_table(shuffled, ROLES))) == ["ab", "bc", "c."]


def test_given_next_states_need_no_episodes():
    rows = table("eee", "abc", next_state=["b", "c", None]).drop(columns="episode")
    log = read_table(rows, ROLES)
    assert moves(log) == ["ab", "bc", "c."]
    assert starts(log) == ["a", "b", "c"]
    assert (log.n_episodes, log.longest, log.cut_share) == (None, None, 0)


def test_terminated_overrules_a_next_state():
    log = read_table(table("ee", "ab", next_state=["b", "a"], terminated=[False, True]), ROLES)
    assert moves(log) == ["ab", "b."]
    assert log.cut_share == 0


def test_label_of_a_next_state_after_the_end_is_still_a_state():
    log = read_table(table("e", "a", next_state=["z"], terminated=[True]), ROLES)
    assert_array_equal(log.states.labels, ["a", "z"])


def test_truncated_rows_are_left_out_but_start_episodes():
    rows = table("eef", "abx", next_state=["b", None, None], terminated=[False, False, False])
    log = read_table(rows, ROLES)
    assert moves(log) == ["ab"]
    assert log.n_truncated == 2
    assert starts(log) == ["a", "x"]
    assert log.cut_share == 1


def test_last_row_is_truncated_if_inferred_and_not_terminated():
    log = read_table(table("eeff", "abxy", terminated=[False, True, False, False]), ROLES)
    assert moves(log) == ["ab", "b.", "xy"]
    assert log.n_truncated == 1
    assert log.cut_share == 0.5


# ------------------------------------------------------------------------------- a truncated mark


def test_a_truncated_row_with_a_next_state_counts_and_its_episode_is_cut():
    """Gymnasium tells the last observation of a record that a limit cut off."""
    rows = table("eeff", "abxy", next_state=["b", "z", "y", "z"])
    log = read_table(rows.assign(truncated=[False, True, False, False]), ROLES)
    assert moves(log) == ["ab", "bz", "xy", "yz"]
    assert log.n_truncated == 0
    assert log.cut_share == 0.5
    assert read_table(rows.assign(truncated=False), ROLES).cut_share == 0
    assert read_table(rows, ROLES).cut_share == 0


def test_a_truncated_row_without_a_next_state_is_left_out():
    rows = table("eeff", "abxy", next_state=["b", None, "y", None])
    log = read_table(rows.assign(truncated=[0, 1, 0, 0]), ROLES)
    assert moves(log) == ["ab", "xy", "y."]
    assert log.n_truncated == 1
    assert log.cut_share == 0.5
    assert_array_equal(log.states.labels, ["a", "b", "x", "y"])


def test_a_truncated_last_row_is_left_out_where_next_states_are_inferred():
    rows = table("eeff", "abxy")
    log = read_table(rows.assign(truncated=[False, True, False, False]), ROLES)
    assert moves(log) == ["ab", "xy", "y."]
    assert log.n_truncated == 1
    assert log.cut_share == 0.5
    ended = read_table(rows.assign(truncated=False), ROLES)
    assert moves(ended) == moves(read_table(rows, ROLES))
    assert ended.cut_share == 0


@pytest.mark.parametrize("next_state", [None, ["b", "z", "y", "z"], ["b", None, "y", None]])
def test_what_is_both_terminated_and_truncated_has_ended(next_state):
    rows = table("eeff", "abxy", terminated=[False, True, False, True])
    if next_state is not None:
        rows["next_state"] = next_state
    plain = read_table(rows, ROLES)
    log = read_table(rows.assign(truncated=rows["terminated"]), ROLES)
    assert moves(log) == moves(plain) == ["ab", "b.", "xy", "y."]
    assert (log.n_truncated, log.cut_share) == (0, 0)


@pytest.mark.parametrize("next_state", [None, ["b", None, "y", None]])
def test_without_a_next_state_not_terminated_is_truncated(next_state):
    """A log with both columns says of each record how it stopped: by neither is by a cut."""
    rows = table("eeff", "abxy", terminated=[False, True, False, False])
    if next_state is not None:
        rows["next_state"] = next_state
    for truncated in (False, [False, False, False, True]):
        log = read_table(rows.assign(truncated=truncated), ROLES)
        assert moves(log) == ["ab", "b.", "xy"]
        assert (log.n_truncated, log.cut_share) == (1, 0.5)


def test_a_truncated_mark_is_ignored_if_nobody_asks():
    rows = table("eeff", "abxy", truncated=True)
    log = read_table(rows, Roles(truncated=None))
    assert moves(log) == ["ab", "b.", "xy", "y."]


def test_episode_that_leads_on_to_an_acted_state_is_cut():
    rows = table("eeff", "abab", next_state=["b", "a", "b", None])
    assert read_table(rows, ROLES).cut_share == 0.5
    reached = table("eeff", "abab", next_state=["b", "z", "b", None])
    assert read_table(reached, ROLES).cut_share == 0


def test_cut_episodes_count_by_the_weight_of_their_start():
    """Rows of weight zero start no episode and cut none."""
    rows = table("eeffgh", "ababab", next_state=["b", "a", "b", None, "b", "a"])
    log = read_table(rows, ROLES, [3.0, 1.0, 1.0, 7.0, 1.0, 0.0])
    assert log.cut_share == 4 / 5  # e and g of e, f, g
    ended = read_table(rows, ROLES, [3.0, 0.0, 1.0, 7.0, 0.0, 0.0])
    assert ended.cut_share == 3 / 4  # the last row of e that counts leads on to b


def test_a_state_acted_in_only_by_truncated_rows_is_not_acted_in():
    rows = table("ef", "ax", next_state=["x", None], terminated=[False, False])
    log = read_table(rows.iloc[:1], ROLES)
    assert log.cut_share == 0
    ended = table("eff", "axb", next_state=["x", None, None], terminated=[False, False, True])
    log = read_table(ended, ROLES)  # e leads on to x, of which only a truncated row is known
    assert moves(log) == ["ax", "b."]
    assert log.cut_share == 0


def test_rows_of_weight_zero_vanish_after_next_states_are_read():
    rows = table("eeee", "abcd")
    log = read_table(rows, ROLES, sample_weight=[1, 0, 2, 0])
    assert moves(log) == ["ab", "cd"]
    assert_array_equal(log.states.labels, ["a", "b", "c", "d"])
    assert_array_equal(log.weights, [1, 2])
    log = read_table(rows, ROLES, sample_weight=[0, 0, 0, 1])
    assert moves(log) == ["d."]
    assert_array_equal(log.states.labels, ["d"])
    assert starts(log) == ["d"]
    assert (log.n_episodes, log.longest) == (1, 1)


def test_features_chain_within_episodes_only():
    X = np.array([[0], [1], [2], [3]])
    log = read_features(X, list("xxxx"), episode=[7, 7, 5, 5])
    assert_array_equal(log.next_codes, [1, -1, 3, -1])
    alone = read_features(X, list("xxxx"))
    assert_array_equal(alone.next_codes, [-1, -1, -1, -1])
    assert (alone.n_episodes, alone.longest, alone.cut_share) == (4, 1, 0)


def test_columns_by_any_other_name():
    rows = table("eef", "abx").rename(
        columns={"episode": "patient", "state": "stage", "action": "drug", "reward": "days"}
    )
    policy = MarkovPolicyEstimator(state="stage", action="drug", reward="days", episode="patient")
    assert policy.fit(rows).policy_map() == dict.fromkeys("abx", "go")
    assert_array_equal(policy.feature_names_in_, ["stage"])


@pytest.mark.parametrize("terminated", [None, "terminated"])
def test_a_role_set_to_none_is_not_read(terminated):
    rows = table("ee", "ab", terminated=[0, 2])
    policy = MarkovPolicyEstimator(terminated=terminated)
    if terminated is None:
        assert policy.fit(rows).n_transitions_ == 2
    else:
        with pytest.raises(TypeError, match="must hold booleans"):
            policy.fit(rows)


def test_a_log_without_rewards():
    policy = MarkovPolicyEstimator(reward=None).fit(table("ee", "ab").drop(columns="reward"))
    assert_array_equal(policy.state_values_, [0, 0])


def test_columns_beside_go_with_their_rows():
    rows = table("efefe", "axbyc", step=[3, 2, 1, 1, 2], terminated=[False] * 5, mark=list("abcde"))
    rows["next_state"] = ["b", None, "c", "x", "a"]
    (mark,) = read_columns(rows, ["mark"])
    log = read_table(rows, ROLES, beside=[mark], sample_weight=[1, 1, 0, 1, 1])
    (beside,) = log.beside
    assert moves(log) == ["ca", "ab", "yx"]  # without the row of no weight and the truncated one
    assert beside.values[beside.codes].tolist() == ["e", "a", "d"]
    assert read_table(rows, ROLES).beside == ()

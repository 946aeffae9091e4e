"""Order, next states, starts and ends of episodes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp._log.reading import read_columns, read_features, read_table
from skmdp._log.roles import Roles
from skmdp.preprocessing import StateEncoder

ROLES = Roles()
FLAGS = ("terminated", "truncated")


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


# ----------------------------------------------------- a last observation, where nothing is decided


def observed(episodes, states, actions, **columns):
    """A table in the layout of Minari and d3rlpy: one more observation than actions."""
    rows = table(episodes, states, **columns)
    undecided = [action == "." for action in actions]
    rows["action"] = [None if action == "." else action for action in actions]
    rows["reward"] = np.where(undecided, np.nan, 1.0)
    return rows


def test_the_row_before_leads_to_the_last_observation():
    log = read_table(observed("eeefff", "abzxyz", "gg.gg."), ROLES)
    assert moves(log) == ["ab", "bz", "xy", "yz"]
    assert_array_equal(log.actions.labels, ["g"])
    assert_array_equal(log.rewards, [1, 1, 1, 1])
    assert starts(log) == ["a", "x"]
    assert (log.n_episodes, log.longest, log.n_truncated) == (2, 2, 0)
    assert_array_equal(log.episode_lengths, [2, 2])


def test_an_episode_is_cut_at_its_last_observation_unless_terminated():
    rows = observed("eee", "abz", "gg.")
    for flags in (None, [False, False, False], [0, 0, None]):
        flagged = rows if flags is None else rows.assign(terminated=flags)
        log = read_table(flagged, ROLES)
        assert (moves(log), log.cut_share) == (["ab", "bz"], True)
    for flags in ([False, True, False], [False, False, True], [0, 1, None], [None, None, True]):
        if flags[0] is not None:
            log = read_table(rows.assign(terminated=flags), ROLES)
            assert (moves(log), log.cut_share) == (["ab", "b."], False)
            assert_array_equal(log.states.labels, ["a", "b", "z"])


@pytest.mark.parametrize("role", FLAGS)
def test_flags_may_lack_beside_a_last_observation_only(role):
    rows = observed("eee", "abz", "gg.")
    assert moves(read_table(rows.assign(**{role: [False, False, None]}), ROLES)) == ["ab", "bz"]
    with pytest.raises(
        ValueError, match=rf"'{role}' contains NaN or None in 1 row\(s\), first at row 1"
    ):
        read_table(rows.assign(**{role: [False, None, None]}), ROLES)


@pytest.mark.parametrize("place", [1, 2])
def test_a_truncated_mark_beside_a_last_observation_says_what_is_known(place):
    flags = [row == place for row in range(3)]
    rows = observed("eee", "abz", "gg.", truncated=flags)
    log = read_table(rows, ROLES)
    assert (moves(log), log.cut_share, log.n_truncated) == (["ab", "bz"], True, 0)
    log = read_table(rows.assign(terminated=flags), ROLES)
    assert (moves(log), log.cut_share) == (["ab", "b."], False)


def test_a_flag_two_rows_before_the_last_observation_is_an_error():
    rows = observed("eeee", "abcz", "ggg.", truncated=[False, True, False, False])
    with pytest.raises(ValueError, match=r"'truncated' is True at row 1 .*goes on at row 2"):
        read_table(rows, ROLES)


def test_given_next_states_drop_a_row_that_carries_nothing():
    rows = observed("eeeff", "abzxy", "gg.gg", next_state=["b", "z", None, "y", None])
    log = read_table(rows, ROLES)
    assert moves(log) == ["ab", "bz", "xy", "y."]
    assert log.cut_share == 0.5
    assert log.n_episodes == 2
    # A next state that is given to be missing stays an end.
    log = read_table(rows.assign(next_state=["b", None, None, "y", None]), ROLES)
    assert (moves(log), log.cut_share) == (["ab", "b.", "xy", "y."], False)
    leads_on = rows.assign(next_state=["b", "z", "a", "y", None])
    with pytest.raises(ValueError, match=r"'action' contains NaN.*drop them"):
        read_table(leads_on, ROLES)
    assert moves(read_table(leads_on.drop(index=2), ROLES)) == ["ab", "bz", "xy", "y."]


def test_without_episodes_no_row_is_known_to_be_the_last():
    rows = observed("eee", "abz", "gg.", next_state=["b", "z", None]).drop(columns="episode")
    with pytest.raises(ValueError, match="'action' contains NaN"):
        read_table(rows, Roles(reward=None))


def test_an_episode_of_a_last_observation_only_vanishes():
    log = read_table(observed("eeg", "abz", "g.."), ROLES)
    assert moves(log) == ["ab"]
    assert log.n_episodes == 1
    assert_array_equal(log.states.labels, ["a", "b"])


def test_whole_numbers_beside_a_missing_action_stay_whole():
    rows = observed("eee", "abz", "gg.").assign(action=[3, 1, np.nan])
    actions = read_table(rows, ROLES).actions
    assert actions.labels.tolist() == [1, 3]
    assert actions.labels.dtype == np.int64
    for doses in ([0.5, 1.0, np.nan], [2.0**53, 1.0, np.nan]):
        assert read_table(rows.assign(action=doses), ROLES).actions.kinds == ("float",)


@pytest.mark.parametrize("last", [5.0, -5.0])
def test_a_reward_beside_a_last_observation_is_refused(last):
    rows = observed("eee", "abz", "gg.").assign(reward=[0.0, 1.0, last])
    message = rf"'reward' is {last:g} at row 2 .*lacks an action.*up by a row"
    with pytest.raises(ValueError, match=message):
        read_table(rows, ROLES)
    moved = rows.assign(reward=rows.groupby("episode")["reward"].shift(-1))
    assert_array_equal(read_table(moved, ROLES).rewards, [1, last])
    assert_array_equal(read_table(rows.assign(reward=[0, 1, 0]), ROLES).rewards, [0, 1])
    with pytest.raises(
        ValueError,
        match=r"'reward' contains NaN, None or infinity \(inf\) in 1 row\(s\), first at row 2",
    ):
        read_table(rows.assign(reward=[0, 1, np.inf]), ROLES)


def test_propensities_may_lack_where_nothing_is_decided():
    rows = observed("eee", "abz", "gg.")
    for last in (np.nan, 0.0, 1.0):
        log = read_table(rows.assign(p=[0.5, 0.25, last]), ROLES, propensities="p")
        assert_array_equal(log.propensities, [0.5, 0.25])
    with pytest.raises(ValueError, match=r"'p' contains NaN.*leave out the whole episode"):
        read_table(rows.assign(p=[0.5, np.nan, 1.0]), ROLES, propensities="p")


@st.composite
def records(draw):
    """Episodes of states, each with what tells how it stopped, rows anywhere in the table."""
    rows, has_ends = [], draw(st.booleans())
    for episode in range(draw(st.integers(1, 4))):
        states = draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=5))
        flags = {name: draw(st.sampled_from([None, "before", "last"])) for name in FLAGS}
        for step, state in enumerate(states):
            place = {len(states) - 2: "before", len(states) - 1: "last"}.get(step, "inside")
            is_last = place == "last"
            rows.append(
                {
                    "episode": episode,
                    "step": step,
                    "state": state,
                    "action": None if is_last else draw(st.sampled_from("xy")),
                    "reward": np.nan if is_last else float(step),
                    "next_state": None if is_last else states[step + 1],
                    "ends": flags["terminated"] is not None,
                    **{name: flag == place for name, flag in flags.items()},
                }
            )
    return pd.DataFrame(rows).sample(frac=1, random_state=draw(st.integers(0, 99))), has_ends


@given(records())
def test_last_observations_are_next_states_told_otherwise(drawn):
    """The same log with given next states, without the last observations, and ends marked."""
    rows, has_ends = drawn
    plain = rows.dropna(subset="action")
    is_last = plain["step"] == plain.groupby("episode")["step"].transform("max")
    plain = plain.assign(truncated=is_last, terminated=is_last & plain["ends"])
    if not has_ends:
        rows, plain = rows.drop(columns="terminated"), plain.drop(columns="terminated")
    expected = read_table(plain, ROLES)
    for form in (rows, rows.drop(columns="next_state")):
        log = read_table(form, ROLES)
        assert sorted(moves(log)) == sorted(moves(expected))
        assert_array_equal(log.states.labels, expected.states.labels)
        assert starts(log) == starts(expected)
        for name in ("n_episodes", "n_truncated", "longest", "cut_share"):
            assert getattr(log, name) == getattr(expected, name)
        assert sorted(log.rewards) == sorted(expected.rewards)


def test_last_observations_may_pass_an_encoder():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"episode": np.arange(400) // 4, "heat": rng.uniform(size=400)})
    rows["action"] = np.where(np.arange(400) % 4 == 3, np.nan, rng.integers(2, size=400))
    rows["reward"] = np.where(rows["action"].isna(), np.nan, rows["heat"])
    pipe = make_pipeline(StateEncoder(state="heat"), MarkovPolicyEstimator(state="heat"))
    policy = pipe.fit(rows)[-1]
    assert policy.n_transitions_ == 300
    assert_array_equal(policy.actions_, [0, 1])
    given_next = rows.assign(next_heat=rows.groupby("episode")["heat"].shift(-1)).dropna()
    bins = pipe[:-1].transform(rows)["heat"]
    counts = policy.visit_counts_.sum(axis=1)
    assert_array_equal(counts, np.bincount(bins[rows["action"].notna()], minlength=len(counts)))
    assert len(given_next) == policy.n_transitions_


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


@pytest.mark.parametrize(
    ("column", "role"),
    [("done", "terminated"), ("is_terminal", "terminated"), ("TimeOut", "truncated")],
)
def test_names_of_ends_used_elsewhere_are_told(column, role):
    log = pd.DataFrame({"episode": [0, 0], "state": ["a", "b"], "action": 1, "reward": 0.0})
    log = log.assign(next_state=["b", "a"], **{column: [False, True]})
    with pytest.warns(UserWarning, match=f"say {role}='{column}'"):
        read_table(log, Roles())
    read = read_table(log, Roles.of({role: column}))
    assert read.next_codes.tolist() == ([1, -1] if role == "terminated" else [1, 0])
    read_table(log, Roles.of({"terminated": None, "truncated": None}))


@pytest.mark.parametrize("name", ["Next_State", "nextstate", "state_next", "new state"])
def test_next_states_of_other_names_are_told(name):
    log = pd.DataFrame({"episode": [0, 0], "state": ["a", "c"], "action": 1, "reward": 0.0})
    log = log.assign(**{name: ["b", "d"]})
    with pytest.warns(UserWarning, match=f"say next_state='{name}'; if not, leave it out"):
        read = read_table(log, Roles())
    assert read.states.labels[read.next_codes[0]] == "c"
    read = read_table(log, Roles.of({"next_state": name}))
    assert read.states.labels[read.next_codes].tolist() == ["b", "d"]
    read_table(log.drop(columns=name), Roles())
    read_table(log.assign(next_state=["b", "d"]), Roles())

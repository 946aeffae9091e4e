"""Logs add up: partial_fit in any split of the rows is one fit on all of them."""

import copy
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_search_log
from skmdp.inspection import policy_table

CLIMB = load_climb()
SEARCH = make_search_log(120, length=5, random_state=0)


def stream(batches, weights=None, **options):
    policy = MarkovPolicyEstimator(tol=1e-10, **options)
    for i, batch in enumerate(batches):
        policy.partial_fit(batch, sample_weight=None if weights is None else weights[i])
    return policy


def same(streamed, whole, starts=True):
    assert_array_equal(streamed.states_, whole.states_)
    assert_array_equal(streamed.actions_, whole.actions_)
    assert_allclose(streamed.visit_counts_, whole.visit_counts_, rtol=1e-12)
    assert_allclose(streamed.expected_rewards_, whole.expected_rewards_, rtol=1e-12, atol=1e-15)
    for action in whole.actions_:
        counts = streamed.transition_counts(action).toarray()
        assert_allclose(counts, whole.transition_counts(action).toarray(), rtol=1e-12)
    bound = streamed.value_error_bound_ + whole.value_error_bound_ + 1e-15
    assert_allclose(streamed.state_values_, whole.state_values_, atol=bound)
    assert_array_equal(streamed.policy_, whole.policy_)
    assert streamed.default_action_ == whole.default_action_
    assert streamed.n_transitions_ == whole.n_transitions_
    assert streamed.n_truncated_ == whole.n_truncated_
    if starts:
        assert_allclose(streamed.initial_distribution_, whole.initial_distribution_, rtol=1e-12)
        assert streamed.n_episodes_ == whole.n_episodes_


@given(
    st.lists(st.integers(0, len(SEARCH)), max_size=6),
    st.booleans(),
    st.sampled_from([{}, {"untried": "uniform"}, {"reward_on": "state"}, {"min_count": 3}]),
)
def test_any_split_of_the_rows_is_one_fit(cuts, weighted, options):
    bounds = sorted({0, *cuts, len(SEARCH)})
    weights = np.random.default_rng(0).integers(1, 9, size=len(SEARCH)) / 7 if weighted else None
    batches = [SEARCH.iloc[a:b] for a, b in pairwise(bounds)]
    parts = [weights[a:b] for a, b in pairwise(bounds)] if weighted else None
    whole = MarkovPolicyEstimator(tol=1e-10, **options).fit(SEARCH, sample_weight=weights)
    same(stream(batches, parts, **options), whole, starts=False)


@pytest.mark.parametrize("columns", [["next_state"], []])
def test_whole_episodes_add_up_in_all(columns):
    log = SEARCH.drop(columns=columns)
    batches = [batch for _, batch in log.groupby(log["episode"] % 7)]
    same(stream(batches), MarkovPolicyEstimator(tol=1e-10).fit(log))


def test_score_and_table_after_a_stream():
    batches = [batch for _, batch in SEARCH.groupby(SEARCH["episode"] % 3)]
    streamed, whole = stream(batches), MarkovPolicyEstimator(tol=1e-10).fit(SEARCH)
    pd.testing.assert_frame_equal(policy_table(streamed), policy_table(whole))
    assert streamed.score(SEARCH) == pytest.approx(whole.score(SEARCH))


def test_labels_that_appear_later_are_new_states_and_actions():
    low = pd.DataFrame({"state": ["m"], "action": ["b"], "next_state": ["z"], "reward": 1.0})
    high = pd.DataFrame({"state": ["z", "a"], "action": ["a", "c"], "reward": 2.0})
    policy = MarkovPolicyEstimator().partial_fit(low)
    assert_array_equal(policy.state_values_, [1, 0])  # z was only reached
    policy.partial_fit(high.assign(next_state=None))
    assert_array_equal(policy.states_, ["a", "m", "z"])
    assert_array_equal(policy.actions_, ["a", "b", "c"])
    assert_allclose(policy.state_values_, [2, 2.8, 2], rtol=1e-6)


def test_states_of_several_columns_and_floats_for_integers():
    first = pd.DataFrame({"x": [1, 0], "y": ["u", "v"], "action": [0, 1], "reward": 0.0})
    second = first.assign(x=[1.0, 2.0])
    keys = {"state": ["x", "y"]}
    batches = [first.assign(episode=[0, 0]), second.assign(episode=[1, 1])]
    whole = MarkovPolicyEstimator(tol=1e-10, **keys).fit(pd.concat(batches))
    streamed = stream(batches, **keys)
    assert list(streamed.policy_map()) == list(whole.policy_map())
    assert_allclose(streamed.visit_counts_, whole.visit_counts_)


@given(st.lists(st.tuples(*[st.sampled_from("abcd")] * 3, st.integers(0, 2)), min_size=2))
def test_states_of_several_columns_add_up_in_any_split(rows):
    log = pd.DataFrame(rows, columns=["x", "y", "next_x", "action"])
    log = log.assign(next_y=log["y"].shift(fill_value="e"), reward=np.arange(len(log)) % 3)
    half = len(log) // 2
    keys = {"state": ["x", "y"]}
    whole = MarkovPolicyEstimator(tol=1e-10, **keys).fit(log)
    same(stream([log.iloc[:half], log.iloc[half:]], **keys), whole)


def test_features_add_up():
    X = np.arange(12).reshape(6, 2) % 3
    y, reward, episode = list("ababab"), np.arange(6.0), [0, 0, 0, 1, 1, 1]
    whole = MarkovPolicyEstimator(tol=1e-10).fit(X, y, reward=reward, episode=episode)
    streamed = MarkovPolicyEstimator(tol=1e-10)
    for rows in (slice(0, 3), slice(3, 6)):
        streamed.partial_fit(X[rows], y[rows], reward=reward[rows], episode=episode[rows])
    same(streamed, whole)


def test_a_thin_first_batch_is_no_warning():
    """min_count may exclude every pair of the first batch: each state keeps its most logged one."""
    policy = MarkovPolicyEstimator(min_count=2)
    with pytest.warns(UserWarning, match="excludes every action"):
        clone(policy).fit(SEARCH.iloc[:1])
    policy.partial_fit(SEARCH.iloc[:1]).partial_fit(SEARCH.iloc[1:])
    same(policy, MarkovPolicyEstimator(min_count=2).fit(SEARCH), starts=False)


def test_the_solver_starts_from_the_last_values():
    log = SEARCH.assign(next_state=SEARCH["next_state"])
    policy = MarkovPolicyEstimator(gamma=0.999, tol=1e-4).fit(log)
    cold = policy.n_iter_
    policy.partial_fit(
        log.iloc[:0]
        .reindex(range(1))
        .assign(
            episode=0,
            state=log["state"][0],
            action=log["action"][0],
            reward=-1.0,
            next_state=log["next_state"][0],
        )
    )
    assert policy.n_iter_ < cold


def test_fit_starts_anew():
    policy = MarkovPolicyEstimator().partial_fit(SEARCH).fit(CLIMB)
    same(policy, MarkovPolicyEstimator().fit(CLIMB))


FEATURES = {"X": [[0], [1]], "y": ["a", "b"]}


@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        ({"X": CLIMB}, FEATURES, ValueError, "fitted on a transitions table"),
        (
            {"X": CLIMB[["state"]], "y": CLIMB["action"]},
            {"X": CLIMB},
            ValueError,
            "fitted on features X and actions y",
        ),
        (
            FEATURES,
            {**FEATURES, "reward": [1, 2]},
            ValueError,
            "came without rewards, this one with",
        ),
        (
            {**FEATURES, "reward": [1, 2]},
            FEATURES,
            ValueError,
            "came with rewards, this one without",
        ),
        (FEATURES, {**FEATURES, "X": [[0, 1], [1, 0]]}, ValueError, "X has 2 features"),
        (
            {"X": CLIMB},
            {"X": CLIMB.drop(columns="episode")},
            ValueError,
            "came with episodes, this one without",
        ),
        (
            {"X": CLIMB.drop(columns="episode")},
            {"X": CLIMB},
            ValueError,
            "came without episodes, this one with",
        ),
        (
            {"X": CLIMB},
            {"X": CLIMB.assign(state=1, next_state=2)},
            TypeError,
            r"'state' holds labels of kind 'int'.*the same column in earlier batches.*'str'",
        ),
        (
            {"X": CLIMB},
            {"X": CLIMB.assign(action=1)},
            TypeError,
            r"'action' holds labels of kind 'int'.*the same column in earlier batches",
        ),
        ({"X": CLIMB}, {"X": CLIMB.drop(columns="reward")}, ValueError, "no column 'reward'"),
    ],
)
def test_batches_of_another_form_are_refused(first, second, error, message):
    policy = MarkovPolicyEstimator().partial_fit(**first)
    before = copy.copy(vars(policy))
    with pytest.raises(error, match=message):
        policy.partial_fit(**second)
    assert vars(policy).keys() == before.keys()
    assert all(vars(policy)[name] is before[name] for name in before)


def test_state_columns_must_stay_the_same():
    policy = MarkovPolicyEstimator().partial_fit(CLIMB)
    policy.set_params(state="place", next_state="next_state")
    with pytest.raises(ValueError, match="'state' before and are 'place' now"):
        policy.partial_fit(CLIMB.rename(columns={"state": "place"}))


# ---------------------------------------------------------------------- batches that count nothing

ROWS = st.tuples(
    st.sampled_from([0, 1, 2, 0.5]),  # a column of whole numbers up to the first fraction
    st.sampled_from("uv"),
    st.sampled_from([1, 2, 2.5]),
    st.sampled_from([0, 1, 2, None]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),  # without a next state: an end, or truncated
    st.sampled_from([0, 0, 1, 2]),
)
COLUMNS = ["x", "y", "action", "next_x", "reward", "truncated", "weight"]


def as_read(rows):
    """A chunk as read_csv gives it: whole numbers are integers unless a fraction is among them."""
    chunk = pd.DataFrame(rows, columns=COLUMNS)
    chunk["next_y"] = np.where(chunk["next_x"].isna(), None, "v")
    for name in ("x", "action"):
        column = pd.to_numeric(chunk[name])
        whole = (column == column.round()).all()
        chunk[name] = column.astype("int64" if whole else "float64")
    if chunk["x"].dtype == "int64":
        chunk["next_x"] = chunk["next_x"].astype("Int64")
    return chunk


@given(
    st.lists(ROWS, min_size=1, max_size=12),
    st.data(),
    st.booleans(),
    st.sampled_from([{}, {"pessimism": 0.5}, {"prior_strength": "auto"}]),
)
def test_any_split_is_one_fit_whatever_a_batch_counts(rows, data, weighted, extra):
    counted = [
        (weight or not weighted) and not (truncated and next_x is None)
        for *_, next_x, _, truncated, weight in rows
    ]
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=6))
    bounds = [0, *sorted(cuts), len(rows)]
    chunks = [as_read(rows[a:b]) for a, b in pairwise(bounds)]
    options = {"state": ["x", "y"], "tol": 1e-10, **extra}
    streamed = MarkovPolicyEstimator(**options)
    for (_, end), chunk in zip(pairwise(bounds), chunks, strict=True):
        streamed.partial_fit(chunk, sample_weight=chunk["weight"] if weighted else None)
        assert hasattr(streamed, "policy_") == any(counted[:end])
    whole = as_read(rows)
    weights = whole["weight"] if weighted else None
    if not any(counted):
        with pytest.raises(NotFittedError):
            check_is_fitted(streamed)
        with pytest.raises(ValueError, match=r"Every row is truncated|non-zero number"):
            MarkovPolicyEstimator(**options).fit(whole, sample_weight=weights)
        return
    expected = MarkovPolicyEstimator(**options).fit(whole, sample_weight=weights)
    same(streamed, expected)
    assert [type(label) for label in streamed.actions_] == [type(a) for a in expected.actions_]
    assert [*map(type, streamed.states_[0])] == [*map(type, expected.states_[0])]


NOTHING = {
    "empty": (CLIMB.iloc[:0], None),
    "no dtypes": (pd.DataFrame(columns=[*CLIMB, "step", "terminated", "truncated"]), None),
    "truncated": (CLIMB.assign(next_state=None, truncated=True), None),
    "weightless": (CLIMB, [0] * len(CLIMB)),
}


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("first", [True, False])
def test_a_batch_may_count_nothing(nothing, first):
    batch, weights = NOTHING[nothing]
    policy = MarkovPolicyEstimator()
    if first:
        policy.partial_fit(batch, sample_weight=weights)
        with pytest.raises(NotFittedError, match="not fitted yet"):
            policy.predict(["low"])
        assert not hasattr(policy, "classes_")
        policy.partial_fit(batch, sample_weight=weights).partial_fit(CLIMB)
    else:
        policy.partial_fit(CLIMB).partial_fit(batch, sample_weight=weights)
    whole = MarkovPolicyEstimator().fit(CLIMB)
    assert policy.policy_map() == whole.policy_map()
    assert_array_equal(policy.visit_counts_, whole.visit_counts_)
    n_batches = 1 + first
    assert policy.n_truncated_ == n_batches * len(CLIMB) * (nothing == "truncated")
    same(copy.deepcopy(policy).fit(CLIMB), whole)  # fit forgets what came before
    same(policy.fit(CLIMB), whole)


def test_features_of_a_batch_may_count_nothing():
    X, y = [[0, 1], [1, 0]], ["a", "b"]
    policy = MarkovPolicyEstimator().partial_fit(X, y, sample_weight=[0, 0])
    assert not hasattr(policy, "n_features_in_")
    same(policy.partial_fit(X, y), MarkovPolicyEstimator().fit(X, y))
    same(policy.partial_fit(X, ["c", "d"], sample_weight=[0, 0]), MarkovPolicyEstimator().fit(X, y))


def test_fit_forgets_batches_that_counted_nothing():
    policy = MarkovPolicyEstimator().partial_fit(NOTHING["truncated"][0])
    policy.fit(CLIMB)
    assert policy.n_truncated_ == 0
    assert vars(policy).keys() == vars(MarkovPolicyEstimator().fit(CLIMB)).keys()


@pytest.mark.parametrize(
    ("first", "second"), [([1, 2], [2, 2.5]), ([2, 2.5], [1, 2]), ([1, 2], [2.0, 3.0])]
)
@pytest.mark.parametrize("column", ["state", "action"])
def test_whole_numbers_beside_fractions_become_floats(column, first, second):
    chunks = [
        pd.DataFrame({"state": [7, 8], "action": [7, 8], "next_state": [np.nan] * 2}).assign(
            **{column: values}, reward=1.0
        )
        for values in (first, second)
    ]
    streamed = MarkovPolicyEstimator().partial_fit(chunks[0]).partial_fit(chunks[1])
    whole = MarkovPolicyEstimator().fit(pd.concat(chunks))
    same(streamed, whole)
    assert getattr(streamed, f"{column}s_").dtype == getattr(whole, f"{column}s_").dtype == float


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_numbers_that_floats_do_not_hold_are_no_floats(order):
    rows = {"action": 0, "next_state": None, "reward": 1.0}
    chunks = [pd.DataFrame({"state": [label], **rows}) for label in (2**53 + 1, 0.5)][order]
    policy = MarkovPolicyEstimator().partial_fit(chunks[0])
    with pytest.raises(ValueError, match=r"'state' holds 9007199254740993 beside floats.*strings"):
        policy.partial_fit(chunks[1])
    words = [chunk.assign(state=chunk["state"].astype(str)) for chunk in chunks]
    assert stream(words).n_transitions_ == 2


def test_labels_of_another_kind_are_refused_after_a_batch_that_counted_nothing():
    """What has no label yet has no kind; truncated rows have labels."""
    policy = MarkovPolicyEstimator().partial_fit(
        NOTHING["weightless"][0].assign(action=1), sample_weight=[0] * len(CLIMB)
    )
    same(policy.partial_fit(CLIMB), MarkovPolicyEstimator().fit(CLIMB))
    policy = MarkovPolicyEstimator().partial_fit(NOTHING["truncated"][0].assign(action=1))
    with pytest.raises(TypeError, match="the same column in earlier batches"):
        policy.partial_fit(CLIMB)


def test_rewards_that_add_up_beyond_float64_are_scaled_down():
    log = pd.DataFrame({"episode": range(3), "state": [*"abb"], "action": "go", "reward": 1e308})
    with pytest.raises(ValueError, match=r"those of action 'go' in state 'b'\. Scale .* 1e-6"):
        MarkovPolicyEstimator().fit(log)
    policy = MarkovPolicyEstimator().fit(log.assign(reward=log["reward"] * 1e-6))
    assert policy.policy_map() == {"a": "go", "b": "go"}


@pytest.mark.parametrize("tiny", [5e-324, 1e-320, 1e-309])
def test_weights_too_small_to_divide_by_are_scaled_up(tiny):
    log = pd.DataFrame({"episode": range(2), "state": "a", "action": "go", "reward": [0.0, 1.0]})
    weights = np.array([tiny, tiny])
    with pytest.raises(
        ValueError, match=r"at row 0 .*too small to divide by\. Scale all weights up"
    ):
        MarkovPolicyEstimator().fit(log, sample_weight=weights)
    policy = MarkovPolicyEstimator().fit(log, sample_weight=weights * 1e300 * 1e20)
    assert policy.score_samples(["a"]) == pytest.approx(0.5)

"""Whether next states are what followed: who is warned, that remedies help, and who is not."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.metrics import compare_policies, evaluate_policy

WORDS = {"state": ["good", "worn", "bad", "broken"], "action": ["wait", "repair"]}
SWAPPED = "'state' and 'action' seem to be swapped"
ASTRAY = "gives as next states seems to be none"
POLICY = MarkovPolicyEstimator(handle_unknown="most_frequent")


def machines(n_episodes=100, *, length=8, seed=0, words=True):
    """Let machines wear or repair them, at random; labels are words, or numbers."""
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        state = int(rng.integers(4))
        for step in range(length):
            action = int(rng.integers(2))
            after = 0 if action else min(state + int(rng.random() < 0.4), 3)
            paid = (4.0, 3.0, 1.0, -3.0)[state] - 1.5 * action
            rows.append((episode, step, state, action, after, paid))
            state = after
    names = ["episode", "step", "state", "action", "next_state", "reward"]
    log = pd.DataFrame(rows, columns=names)
    if words:
        for name in ("state", "action", "next_state"):
            log[name] = log[name].map(dict(enumerate(WORDS[name.removeprefix("next_")])))
    return log


def swapped(log):
    """Return a log whose columns of state and action have each other's name."""
    return log.rename(columns={"state": "action", "action": "state"})


def outcome(log):
    """Return a log that holds something else in place of next states."""
    return log.assign(next_state=np.where(log["reward"] > 0, "profit", "loss"))


def said(call, *args, **kwargs):
    """Return what a call warns of next states."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    told = [str(warning.message) for warning in caught]
    return [one for one in told if SWAPPED in one or ASTRAY in one or "does not lead" in one]


WRONG = {
    "words swapped": (SWAPPED, swapped),
    "numbers swapped": (SWAPPED, lambda log: swapped(machines(seed=len(log) % 7, words=False))),
    "swapped, rows missing": (SWAPPED, lambda log: swapped(log.drop(index=log.index[::10]))),
    "another column": (ASTRAY, outcome),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_next_states_that_are_none_are_told_once_by_all_that_read_them(wrong):
    words, spoil = WRONG[wrong]
    log = spoil(machines())
    both = {"log": "behavior", "one": log["action"].iloc[0]}
    for call in (
        POLICY.fit,
        MarkovPolicyCV().fit,
        MarkovPolicyCV(next_state="next_state").fit,
        partial(evaluate_policy, "behavior"),
        partial(compare_policies, both, methods="dm"),
    ):
        (found,) = said(call, log)
        assert words in found


def test_a_log_to_score_on_is_looked_at_alike():
    fitted = POLICY.fit(machines(words=False))
    assert SWAPPED in said(fitted.score, swapped(machines(words=False)))[0]
    assert said(fitted.score, machines(words=False)) == []


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_is_better_by_next_states_that_are_none(wrong):
    spoil = WRONG[wrong][1]
    log = spoil(machines(300, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        policy = MarkovPolicyCV().fit(log)
        found = evaluate_policy(policy, spoil(machines(300, seed=2)), methods="dm")
        table = compare_policies({"log": "behavior", "new": policy}, log, methods="dm")
    assert found.leads_astray
    assert not policy.is_better_
    assert not found.is_better
    assert not table["is_better"].any()
    for text in (policy.summary(), found.conclusion):
        assert "cannot be told: what is given as next states is not the state" in text


def test_the_truth_is_told_once_the_columns_are_named():
    log = swapped(machines(300))
    named = {"state": "action", "action": "state", "next_state": "next_state"}
    policy = MarkovPolicyCV(**named)
    assert said(policy.fit, log) == []
    assert policy.is_better_
    found = evaluate_policy(policy, swapped(machines(300, seed=1)), methods="dm")
    assert not found.leads_astray
    assert found.is_better
    left_out = outcome(machines(300)).drop(columns="next_state").assign(terminated=False)
    assert said(POLICY.fit, left_out) == []


def test_decisions_of_their_own_may_lead_to_outcomes():
    log = outcome(machines()).drop(columns="step")
    assert said(POLICY.fit, log.assign(episode=range(len(log)))) == []
    assert said(POLICY.fit, log.drop(columns="episode")) == []


def bag(log):
    """Return a log in which the rows of each episode have lost their order."""
    return log.drop(columns="step").sample(frac=1, random_state=0)


def short(n_rows):
    """Return episodes that end in a state of their own after so many rows, out of order."""
    log = machines(length=n_rows)
    ends = log["step"] == n_rows - 1
    return bag(log.assign(next_state=log["next_state"].mask(ends, "sold")))


def coins(n=400, *, follows=None, seed=0):
    """Return unordered rows whose labels are 0 and 1, of a policy that looks at the state."""
    rng = np.random.default_rng(seed)
    state = rng.integers(2, size=n)
    action = 1 - state if follows is None else (rng.random(n) < follows).astype(int)
    after = (rng.random(n) < 0.05).astype(int)
    return pd.DataFrame(
        {
            "episode": np.arange(n) // 20,
            "state": state,
            "action": action,
            "next_state": after,
            "reward": state.astype(float),
        }
    )


def wide(log, n_states=2000):
    """Return a walk through so many states that few are met twice."""
    place = np.arange(len(log)) % n_states
    return log.assign(state=place, next_state=(place + 1) % n_states)


RIGHT = {
    "sorted": machines(),
    "numbers": machines(words=False),
    "rows by chance, with steps": machines().sample(frac=1, random_state=0),
    "rows by chance": bag(machines()),
    "one patient, unordered": bag(machines()).assign(episode="all"),
    "short and unordered": short(2),
    "shorter and unordered": bag(pd.concat([short(2), short(1)], ignore_index=True).assign(step=0)),
    "many states, unordered": bag(wide(machines(500))),
    "half of the rows": machines().sample(frac=0.5, random_state=0),
    "one in ten rows": machines(1000).sample(frac=0.1, random_state=0),
    "records cut": machines().query("step < 5 or episode % 2"),
    "rows that lack": machines().query("(step + episode) % 4"),
    "coins": coins(),
    "coins of one side": coins(follows=0.05),
    "one action": machines().assign(action="wait"),
    "one state": machines().assign(state="good", next_state="good"),
    "few rows": swapped(machines(2)),
    "single rows": machines(length=1),
    "dates": machines().assign(
        step=lambda log: pd.Timestamp("2020") + pd.to_timedelta(log.step, "D")
    ),
}


# Where it is not known in which states episodes start.
WITHOUT_STARTS = {
    "rows by chance",
    "one patient, unordered",
    "short and unordered",
    "shorter and unordered",
    "many states, unordered",
    "one in ten rows",
    "rows that lack",
    "coins",
    "coins of one side",
}


@pytest.mark.parametrize("right", RIGHT)
def test_fit_is_silent_of_next_states_that_are_some(right):
    assert said(POLICY.fit, RIGHT[right]) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate_policy("behavior", RIGHT[right], methods="dm")
    assert found.leads_astray == (right in WITHOUT_STARTS)


UNLINKED = {
    "constant": lambda log: log.assign(next_state=log["state"].iloc[0]),
    "shuffled": lambda log: log.assign(
        next_state=log["next_state"].sample(frac=1, random_state=0).to_numpy()
    ),
    "two rows on": lambda log: log.assign(
        next_state=log.groupby("episode")["state"].shift(-2).fillna("good")
    ),
    "rows by chance": bag,
}


def as_lazy(log):
    return pytest.importorskip("polars").from_pandas(log).lazy()


@pytest.mark.parametrize(
    ("wrong", "read"),
    [
        (wrong, read)
        for wrong in UNLINKED
        for read in (0, 1)
        if wrong != "rows by chance" or not read
    ],
)
def test_nothing_is_better_where_rows_do_not_lead_on(wrong, read):
    """A lazy table has no order but that of its steps."""
    log = (lambda log: log, as_lazy)[read](UNLINKED[wrong](machines(300)))
    policy = MarkovPolicyCV()
    (told,) = said(policy.fit, log)
    assert "does not lead to the state" in told
    assert not policy.is_better_
    (told,) = said(evaluate_policy, policy, log, methods="dm")
    assert "does not lead to the state" in told
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate_policy(policy, log, methods="dm")
    assert found.leads_astray
    assert not found.is_better


def lost(log, share, seed=0):
    """Return a log of which the next state is missing in some rows, as after a join."""
    is_kept = np.random.default_rng(seed).random(len(log)) >= share
    return log.assign(next_state=log["next_state"].where(is_kept, None))


@pytest.mark.parametrize("read", [0, 1])
@pytest.mark.parametrize("share", [0.1, 0.6, 1.0])
def test_lost_next_states_are_no_ends(share, read):
    log = (lambda log: log, as_lazy)[read](lost(machines(300), share))
    policy = MarkovPolicyCV()
    (told,) = said(policy.fit, log)
    assert "they are missing in" in told
    assert "in a state that hangs on state and action" in told
    assert not policy.is_better_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate_policy(policy, log, methods="dm")
    assert found.leads_astray
    assert not found.is_better


def test_lost_next_states_are_read_off_the_next_row_where_the_column_is_left_out():
    log = lost(machines(300), 0.6)
    assert "they are missing" in said(POLICY.fit, log)[0]
    expected = POLICY.fit(machines(300)).q_values_
    mended = log.drop(columns="next_state").assign(terminated=False)
    found = POLICY.fit(mended).q_values_
    assert abs(found - expected).max() < 0.2 * abs(expected).max()


@pytest.mark.parametrize("read", [0, 1])
def test_rounds_of_one_user_are_ends(read):
    """Each row a round of its own, whose state is drawn anew: the next state is missing rightly."""
    log = machines(1600, length=1).assign(next_state=None)
    log["episode"] //= 8
    log["step"] = np.arange(len(log)) % 8
    log = (lambda log: log, as_lazy)[read](log)
    policy = MarkovPolicyCV()
    assert [one for one in said(policy.fit, log) if "they are missing" in one] == []
    assert policy.is_better_


@pytest.mark.parametrize("flag", [None, "terminated"])
def test_ends_inside_of_an_episode_lead_nowhere(flag):
    """As where the episodes of a machine are rounds that all have its name."""
    log = machines(1200, length=2)
    is_last = log["step"] == 1
    log = log.assign(episode=log["episode"] // 4, step=np.arange(len(log)) % 8)
    log["next_state"] = log["next_state"].mask(is_last, None if flag is None else "sold")
    if flag is not None:
        log[flag] = is_last
    for table in (log, as_lazy(log)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = evaluate_policy("behavior", table, methods="dm")
        assert not found.leads_astray


@pytest.mark.parametrize("spoil", [swapped, outcome])
def test_lazy_tables_tell_columns_that_are_others(spoil):
    log = as_lazy(spoil(machines(300)))
    policy = MarkovPolicyCV()
    assert len(said(policy.fit, log)) == 1
    assert not policy.is_better_
    right = as_lazy(machines(300))
    assert said(policy.fit, right) == []
    assert policy.is_better_


@pytest.mark.parametrize("wrong", WRONG)
def test_batches_are_looked_at_one_by_one(wrong):
    expected, spoil = WRONG[wrong]
    policy = MarkovPolicyEstimator()
    for seed in range(2):
        (told,) = said(policy.partial_fit, spoil(machines(seed=seed)))
        assert expected in told
    assert said(MarkovPolicyEstimator().partial_fit, machines(words=False)) == []


def test_rows_without_weight_say_nothing():
    log = swapped(machines())
    weights = np.ones(len(log))
    assert len(said(POLICY.fit, log, sample_weight=weights)) == 1
    weights[::2] = 0
    assert said(POLICY.fit, log, sample_weight=weights) == []


@pytest.mark.parametrize("shift", [0, 1], ids=["its own row", "the row before"])
def test_the_state_of_another_row_is_no_next_state(shift):
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            "episode": np.repeat(np.arange(50), 10),
            "step": np.tile(np.arange(10), 50),
            "state": rng.choice(list("abc"), 500),
            "action": rng.choice(list("xy"), 500),
        }
    )
    log["reward"] = (log["action"] == "x") + 0.1 * rng.normal(size=500)
    log["next_state"] = log.groupby("episode")["state"].shift(shift).fillna(log["state"])
    with pytest.warns(UserWarning, match="the state of (its own row|the row before) in all places"):
        found = MarkovPolicyCV().fit(log)
    assert found.gain_interval_[0] > 0  # which would be called better
    assert not found.is_better_


ROWS = {
    "in their order": (lambda log: log, False),
    "shuffled": (lambda log: log.sample(frac=1, random_state=0), True),
    "sorted by state": (lambda log: log.sort_values("state", kind="stable"), True),
}


@pytest.mark.parametrize("length", [4, 8])
@pytest.mark.parametrize("order", ROWS)
def test_rows_that_go_on_in_the_next_are_no_episodes(order, length):
    arrange, are_episodes = ROWS[order]
    log = arrange(machines(1600 // length, length=length)).assign(episode=np.arange(1600))
    policy = MarkovPolicyCV(random_state=0).fit(log)
    assert policy.gain_interval_[0] > 0
    assert policy.is_better_ == are_episodes
    other = machines(1600 // length, length=length, seed=1)
    found = evaluate_policy(policy, arrange(other).assign(episode=np.arange(1600)))
    assert found.is_better == are_episodes
    assert found.lacks_episodes != are_episodes
    reason = "not known which rows belong to one episode"
    assert (reason in found.conclusion) != are_episodes


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_a_column_that_holds_no_next_state_at_all_is_told_of(engine):
    log = machines(50).assign(next_state=None)
    if engine == "polars":
        lazy = pytest.importorskip("polars").from_pandas(log).lazy()
    else:
        duckdb = pytest.importorskip("duckdb")
        lazy = duckdb.sql("select * replace (null as next_state) from log")  # of no type
    with pytest.warns(UserWarning, match=ASTRAY):
        policy = MarkovPolicyCV().fit(lazy)
    assert not policy.is_better_

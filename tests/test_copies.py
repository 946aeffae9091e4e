"""Episodes that came in twice under two names: who is warned, what helps, and who is not."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import make_maintenance_log, make_search_log
from skmdp.inspection import audit
from skmdp.metrics import compare_policies, evaluate_policy

TOLD = "are there twice under different names"
POLICY = MarkovPolicyEstimator(terminated=None)


def visits(n_episodes=100, *, length=6, n_states=4, fractions=False, seed=0):
    """Return episodes at random, of few labels, paid in whole numbers or in fractions."""
    rng = np.random.default_rng(seed)
    n = n_episodes * length
    paid = rng.normal(size=n) if fractions else rng.integers(3, size=n).astype(float)
    return pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), length),
            "step": np.tile(np.arange(length), n_episodes),
            "state": rng.integers(n_states, size=n).astype(str),
            "action": rng.choice(["a", "b"], size=n),
            "reward": paid,
        }
    )


def joined(log, share=1.0, seed=0):
    """Return a log joined to copies of some of its episodes, which have other names."""
    is_copied = np.random.default_rng(seed).random(log["episode"].max() + 1) < share
    copies = log[is_copied[log["episode"]]]
    copies = copies.assign(episode=copies["episode"] + log["episode"].max() + 1)
    return pd.concat([log, copies], ignore_index=True)


def resampled(log, seed=0):
    """Return as many episodes drawn from a log, each with a name of its own."""
    drawn = np.random.default_rng(seed).integers(
        log["episode"].max() + 1, size=log["episode"].max()
    )
    rows = log.set_index("episode").loc[drawn]  # of episodes of one length
    return rows.assign(episode=np.repeat(np.arange(len(drawn)), len(rows) // len(drawn)))


def told(call, *args, **kwargs):
    """Return what a call warns of copies, whatever shows them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    return [str(one.message) for one in caught if "X seems to hold copies" in str(one.message)]


def said(call, *args, **kwargs):
    """Return what a call warns of copies that there are two of."""
    return [one for one in told(call, *args, **kwargs) if TOLD in one]


COPIED = {
    "all": joined(visits()),
    "all, paid in fractions": joined(visits(30, length=2, fractions=True)),
    "half, paid in fractions": joined(visits(fractions=True), 0.5),
    "one in three": joined(visits(600), 1 / 3),
    "short ones of few labels": joined(visits(400, length=3)),
    "single decisions": joined(visits(length=1, fractions=True)),
    "next states given": joined(visits().assign(next_state="0")),
    "dates": joined(
        visits().assign(step=lambda log: pd.Timestamp("2020") + pd.to_timedelta(log.index, "h"))
    ),
    "rows by chance": joined(visits(fractions=True)).sample(frac=1, random_state=0),
    "durations": joined(visits().assign(duration=1.5)),
    "searches": joined(make_search_log(300, length=8, random_state=0)),
    "many": joined(visits(3000, length=5)),
}


@pytest.mark.parametrize("copied", COPIED)
def test_copies_under_other_names_are_told_once_by_all_that_hang_on_their_number(copied):
    log = COPIED[copied]
    both = {"log": "behavior", "one": log["action"].iloc[0]}
    calls = [POLICY.fit, partial(evaluate_policy, "behavior"), partial(compare_policies, both)]
    if len(log) < 10_000:
        calls.append(MarkovPolicyCV(terminated=None).fit)
    for call in calls:
        assert len(said(call, log)) == 1
    found = [one for one in audit(log).of("warning") if one.kind == "repeated"]
    assert len(found) == 1
    assert found[0].why == "What one episode tells counts twice, so that intervals are too narrow."


def drawn(log, share, seed=0):
    """Return some of the episodes of a log."""
    is_kept = np.random.default_rng(seed).random(log["episode"].max() + 1) < share
    return log[is_kept[log["episode"]]]


def many(log, k):
    size = log["episode"].max() + 1
    return pd.concat([log.assign(episode=log["episode"] + size * i) for i in range(k)])


@pytest.mark.parametrize("k", [2, 3, 5, 9])
def test_copies_are_told_in_a_part_of_a_log_as_well(k):
    """As in the half that a splitter draws: the numbers of copies are as by chance there."""
    log = drawn(many(visits(60, fractions=True), k), 0.5)
    (message,) = told(POLICY.fit, log)
    assert "are there again under another name, with 3 and more rewards that no other" in message
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert evaluate_policy("behavior", log, methods="dm", horizon=6).holds_copies
        (found,) = [one for one in audit(log).of("warning") if one.kind == "repeated"]
    scope = {"table": log, "pd": pd}
    exec(found.mend, scope)
    assert scope["table"]["episode"].nunique() == log.groupby("episode")["reward"].sum().nunique()
    assert told(POLICY.fit, scope["table"]) == []


def test_a_twentieth_of_the_episodes_is_enough():
    log = visits(400, fractions=True)
    copies = drawn(log, 0.05)
    table = pd.concat([log, copies.assign(episode=copies["episode"] + 400)])
    assert len(told(POLICY.fit, table)) == 1


def weather(n=200, length=6, seed=0):
    """Return units that are all paid by the weather of a day, of which some never act alike."""
    rng = np.random.default_rng(seed)
    log = visits(n, length=length, n_states=1, seed=seed)
    paid = rng.normal(size=(length, 2))
    return log.assign(reward=paid[log["step"], (log["action"] == "a").astype(int)])


def customers(n=200, seed=0):
    """Return visits of customers who pay a price of their own, with names of visits."""
    rng = np.random.default_rng(seed)
    price = rng.normal(size=20)[np.repeat(rng.integers(20, size=n), 3)]
    return visits(n, length=3, n_states=1, seed=seed).assign(reward=price)


@pytest.mark.parametrize("draw", [weather, customers])
def test_rewards_that_others_have_as_well_are_no_copies(draw):
    assert told(POLICY.fit, draw()) == []


@pytest.mark.filterwarnings("ignore:Of the episodes of X:UserWarning")
def test_nothing_is_better_by_copies():
    """Each row of the log is paid by chance alone, but for a little."""
    log = visits(600, fractions=True)
    log["reward"] += 0.3 * (log["action"] == log["action"].iloc[0])
    for table, may_be in ((joined(log), False), (log, True)):
        policy = MarkovPolicyCV(terminated=None).fit(table)
        found = evaluate_policy(log["action"].iloc[0], table, methods="dm", horizon=6)
        assert found.holds_copies is not may_be
        assert found.is_better is may_be
        assert policy.is_better_ is may_be
        for text in (policy.summary(), found.conclusion):
            assert ("several times under different names" in text) is not may_be


def test_the_numbers_told_are_those_of_the_log():
    (message,) = said(POLICY.fit, joined(visits(3000, fractions=True)))
    assert message.startswith(f"Of the episodes of X, 3000 {TOLD}, alike in all of their rows, but")
    assert "only 0 once and 0 three times" in message


def test_intervals_are_as_wide_as_before_once_copies_are_dropped():
    log = visits(300, fractions=True)
    table = joined(log)
    found = next(one for one in audit(table).findings if one.kind == "repeated")
    scope = {"table": table, "pd": pd}
    exec(found.mend, scope)
    errors = []
    for one in (log, table, scope["table"]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = evaluate_policy("behavior", one, methods="dm")
        errors.append(result.behavior_standard_error)
    assert errors[1] == pytest.approx(errors[0] / np.sqrt(2), rel=0.01)
    assert errors[2] == pytest.approx(errors[0], rel=1e-9)


HONEST = {
    "long": visits(),
    "fractions": visits(fractions=True),
    "short": visits(1000, length=2),
    "shorter": visits(1000, length=1),
    "one state": visits(500, length=3, n_states=1),
    "always the same": visits(500).assign(state="0", action="a", reward=1.0),
    "no rewards": visits(500, length=2).assign(reward=0.0),
    "searches": make_search_log(2000, length=4, random_state=0),
    "machines": make_maintenance_log(random_state=0).rename(columns={"machine": "episode"}),
    "few copies": joined(visits(fractions=True), 0.05),
    "a plan": pd.DataFrame(
        {
            "episode": np.arange(300),
            "state": np.repeat(np.arange(100), 3),
            "action": np.tile(["old", "old", "new"], 100),
            "reward": np.tile([0.0, 0.0, 5.0], 100),
        }
    ),
    "too few": joined(visits(15, fractions=True)),
    "times in turn": visits(600, length=2).assign(state=lambda log: (log.index % 50).astype(str)),
}


@pytest.mark.parametrize("honest", HONEST)
def test_episodes_that_are_alike_by_chance_are_no_copies(honest):
    columns = {"state": "condition", "reward": "profit"} if honest == "machines" else {}
    log = HONEST[honest]
    assert said(MarkovPolicyEstimator(terminated=None, **columns).fit, log) == []


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_false_alarms_are_rare_however_often_chance_makes_episodes_alike(length):
    """What is drawn about once each is seen twice as often as chance can have it."""
    alarms = 0
    for seed in range(60):
        log = visits(200, length=length, n_states=3, seed=seed)
        if length == 4:
            log = resampled(log, seed)
        alarms += len(said(POLICY.fit, log))
    assert alarms == 0


def test_rows_without_weight_say_nothing():
    log = joined(visits())
    weights = np.ones(len(log))
    weights[:50] = 0
    assert said(POLICY.fit, log, sample_weight=weights) == []


def test_what_differs_in_one_row_is_no_copy():
    log = joined(visits(fractions=True))
    is_later = (log["episode"] >= 100) & (log["step"] == 3)
    for name, other in (("state", "9"), ("action", "c"), ("reward", 7.0)):
        assert said(POLICY.fit, log.assign(**{name: log[name].mask(is_later, other)})) == []
    later = log["step"] + 1.0 * (log["episode"] >= 100)
    assert (
        said(POLICY.fit, log.assign(step=pd.Timestamp("2020") + pd.to_timedelta(later, "D"))) == []
    )
    # The same rows in another order.
    place = log["step"].where(log["episode"] < 100, 5 - log["step"])
    assert said(POLICY.fit, log.assign(step=place)) == []


def test_zero_has_one_sign():
    log = joined(
        visits(fractions=True).assign(reward=0.0).assign(state=lambda log: log.index.astype(str))
    )
    signed = log.assign(reward=np.where(log["episode"] < 100, 0.0, -0.0))
    assert len(said(POLICY.fit, signed)) == 1


@pytest.mark.parametrize("k", [3, 5, 10])
def test_more_than_one_copy_is_told_as_well(k):
    log = visits(40, fractions=True)
    copies = pd.concat([log.assign(episode=log["episode"] + 40 * i) for i in range(k)])
    warnings_of = audit(copies.reset_index(drop=True)).of("warning")
    (found,) = [one for one in warnings_of if one.kind == "repeated"]
    assert f"40 are there {'three' if k == 3 else k} times" in str(found)
    scope = {"table": copies.reset_index(drop=True), "pd": pd, "columns": {}}
    exec(found.mend, scope)
    assert len(scope["table"]) == len(log)

"""What looks wrong in a log that can be read: who is warned, who is not, and that remedies help."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV

from skmdp import MarkovPolicyEstimator
from skmdp.inspection import markov_test
from skmdp.metrics import evaluate_policy
from skmdp.model_selection import EpisodeKFold

POLICY = MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.9)


def said(call, *args, **kwargs):
    """Return the messages of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    return [str(warning.message) for warning in caught]


def walks(n_episodes=60, *, n_places=8, goal=True, length=200, seed=0):
    """Walk along places at random, to the last one if there is a goal; next states are given."""
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        place = int(rng.integers(n_places - 1))
        for step in range(length):
            action = str(rng.choice(["up", "down"]))
            ahead = 1 if (action == "up") == (rng.uniform() < 0.9) else -1
            after = min(max(place + ahead, 0), n_places - 1)
            rows.append((episode, step, place, action, after, -1.0 - (rng.uniform() < 0.3)))
            place = after
            if goal and place == n_places - 1:
                break
    names = ["episode", "step", "state", "action", "next_state", "reward"]
    return pd.DataFrame(rows, columns=names)


WALKS = walks()
UNSTEPPED = WALKS.drop(columns="step")
FITTED = POLICY.fit(WALKS)
SPLIT = "does not lead to the state of the next row"


def twice(log):
    """Return a log in which every row stands twice, right after itself."""
    return log.loc[np.repeat(log.index, 2)]


# ------------------------------------------------------------------------------ rows out of order


@pytest.mark.parametrize("disorder", [lambda log: log.sample(frac=1, random_state=0), twice])
def test_rows_out_of_order_are_warned_of_once_wherever_order_counts(disorder):
    log = disorder(UNSTEPPED)
    found = [
        said(FITTED.score, log),
        said(evaluate_policy, "behavior", log, methods="dm"),
        said(markov_test, log, random_state=0),
    ]
    assert [sum(SPLIT in message for message in messages) for messages in found] == [1, 1, 1]
    assert len({message for messages in found for message in messages if SPLIT in message}) == 1


def test_remedies_for_rows_out_of_order_help():
    shuffled = WALKS.sample(frac=1, random_state=0)
    truth = FITTED.score(WALKS)
    assert FITTED.score(shuffled) == pytest.approx(truth)  # step orders them
    ordered = shuffled.sort_values(["episode", "step"]).drop(columns="step")
    assert FITTED.score(ordered) == pytest.approx(truth)
    assert FITTED.score(twice(WALKS).drop_duplicates()) == pytest.approx(truth)
    named = MarkovPolicyEstimator(step="when").fit(shuffled.rename(columns={"step": "when"}))
    assert said(named.score, shuffled.rename(columns={"step": "when"})) == []


def test_rows_out_of_order_are_warned_of_in_a_search():
    search = GridSearchCV(POLICY, {"gamma": [0.5, 0.9]}, cv=EpisodeKFold(2), error_score="raise")
    shuffled = UNSTEPPED.sample(frac=1, random_state=0)
    assert any(SPLIT in message for message in said(search.fit, shuffled))
    assert not any(SPLIT in message for message in said(search.fit, UNSTEPPED))


def test_a_few_gaps_are_no_disorder():
    inside = np.flatnonzero(UNSTEPPED["episode"].duplicated())
    few = UNSTEPPED.drop(index=inside[::200])
    assert said(FITTED.score, few) == []
    many = UNSTEPPED.drop(index=inside[1::10])
    assert SPLIT in said(FITTED.score, many)[0]


def test_rows_of_weight_zero_are_no_disorder():
    weights = np.ones(len(UNSTEPPED))
    weights[1::5] = 0
    assert said(FITTED.score, UNSTEPPED, sample_weight=weights) == []
    assert said(FITTED.score, UNSTEPPED, sample_weight=weights + 1) == []


@given(st.permutations(range(12)))
def test_the_order_of_episodes_says_nothing(order):
    log = walks(12, seed=1).drop(columns="step")
    parts = [part for _, part in log.groupby("episode")]
    assert said(FITTED.score, pd.concat([parts[i] for i in order])) == []
    broken = pd.concat([parts[i].iloc[::-1] for i in order])
    assert said(FITTED.score, broken) == said(FITTED.score, pd.concat(parts).iloc[::-1])


def test_an_episode_of_truncated_rows_only_has_no_order():
    log = UNSTEPPED.assign(terminated=False)
    unknown = log["episode"].isin([0, 7, 59])
    log["next_state"] = log["next_state"].astype("Int64").mask(unknown)
    assert said(FITTED.score, log) == []

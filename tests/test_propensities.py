"""Propensities that a log contradicts are refused, true ones never."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from test_policies import LEARNED, TEST

from skmdp._estimation.counts import count_transitions
from skmdp._evaluation.propensities import find_contradiction
from skmdp.metrics import evaluate_policy


def contradiction(states, actions, propensities):
    """What is found in rows whose codes may have gaps, as labels never have."""
    s, a = (np.unique(codes, return_inverse=True)[1] for codes in (states, actions))
    counts = count_transitions(s, a, np.full(len(s), -1), s.max() + 1, a.max() + 1)
    return find_contradiction(counts, counts.find_pairs(s, a), propensities)


def decisions(numbers, stated):
    """One state, each action so many times, always with the same propensity."""
    actions = np.repeat(np.arange(len(numbers)), numbers)
    return np.zeros(len(actions)), actions, np.array(stated, dtype=float)[actions]


@pytest.mark.parametrize(
    ("numbers", "stated"),
    [
        ([200, 200], [1, 1]),
        ([1, 1], [1, 1]),
        ([200, 200], [0.8, 0.8]),
        ([100, 100, 100], [0.4, 0.4, 0.4]),
        ([270, 130], [0.5, 0.5]),
        ([200, 200], [0.9, 0.1]),
        ([200, 200], [0.5, 0.3]),
        ([30], [0.5]),
    ],
)
def test_what_cannot_be_is_found(numbers, stated):
    found = contradiction(*decisions(numbers, stated))
    assert found.n_rows_of_state == sum(numbers)
    assert found.n_rows == numbers[found.action]
    assert_allclose(found.stated, stated[found.action])
    if found.total is None:
        assert found.n_rows / found.n_rows_of_state > found.stated
    else:
        assert_allclose(found.total, sum(stated))


@pytest.mark.parametrize(
    ("numbers", "stated"),
    [
        ([200, 200], [0.5, 0.5]),
        ([225, 175], [0.5, 0.5]),
        ([67, 33], [0.67, 0.34]),  # rounded
        ([333_333, 333_333, 333_334], [0.33, 0.33, 0.33]),
        ([10, 10], [0.95, 0.95]),  # by columns that the state lacks, each time the likelier one
        ([1], [0.001]),
        ([10], [0.5]),
    ],
)
def test_what_can_be_passes(numbers, stated):
    assert contradiction(*decisions(numbers, stated)) is None


def drawn_log(rng):
    """States, actions and their true propensities; these may rest on more than the state."""
    n_states, n_actions, n_contexts = rng.integers(1, 6), rng.integers(1, 6), rng.integers(1, 4)
    shape = (n_states, n_contexts, n_actions)
    if n_contexts > 1:  # mostly one action, now and then any
        often = rng.uniform(0.5, 0.97)
        chances = np.full(shape, (1 - often) / n_actions)
        favourite = rng.integers(n_actions, size=shape[:2])
        np.put_along_axis(chances, favourite[..., None], often + (1 - often) / n_actions, axis=2)
    else:
        chances = rng.dirichlet(np.full(n_actions, rng.choice([0.3, 1, 5])), size=shape[:2])
    n = rng.choice([3, 20, 100, 1000])
    s = rng.integers(n_states, size=n)
    if rng.uniform() < 0.5:
        s.sort()
    at = chances[s, rng.integers(n_contexts, size=n)]
    a = (rng.uniform(size=(n, 1)) > at.cumsum(axis=1)).sum(axis=1).clip(max=n_actions - 1)
    p = at[np.arange(n), a]
    return s, a, np.maximum(p.round(2), 0.005) if rng.uniform() < 0.3 else p


def test_true_propensities_are_never_refused():
    """The level promises one of a million logs; of these 500 none (nor of 20,000 tried once)."""
    rng = np.random.default_rng(0)
    assert [found for _ in range(500) if (found := contradiction(*drawn_log(rng)))] == []


@pytest.mark.parametrize("chance", [0.5, 0.3, 0.05])
def test_the_level_is_kept_over_all_logs_there_are(chance, monkeypatch):
    """All sequences of eight decisions in one state, each as likely as it is."""
    monkeypatch.setattr("skmdp._evaluation.propensities.LEVEL", 0.05)
    monkeypatch.setattr("skmdp._evaluation.propensities.ROUNDING", 0.0)
    refused = 0.0
    for actions in product((0, 1), repeat=8):
        p = np.where(np.array(actions) == 0, chance, 1 - chance)
        refused += p.prod() * (contradiction(np.zeros(8), actions, p) is not None)
    assert refused <= 0.05


def test_false_propensities_are_found_once_there_are_rows_enough():
    """True ones, but of the next action in line."""
    rng = np.random.default_rng(1)
    n = 2000
    chances = rng.dirichlet(np.ones(3), size=4)
    s = rng.integers(4, size=n)
    a = (rng.uniform(size=(n, 1)) > chances[s].cumsum(axis=1)).sum(axis=1)
    assert contradiction(s, a, chances[s, a]) is None
    found = contradiction(s, a, chances[s, (a + 1) % 3])
    share = found.n_rows / found.n_rows_of_state
    assert_allclose(share, chances[found.state, found.action], atol=0.1)
    assert share > found.stated


def test_the_message_names_column_state_and_action():
    usual = TEST.assign(p=1.0)
    message = r"Column 'p': in state '.*' the propensities of different actions sum to 3, that of"
    with pytest.raises(ValueError, match=message):
        evaluate_policy(LEARNED, usual, methods="is", behavior="p")
    rare = np.full(len(TEST), 0.01)
    message = (
        r"behavior: in state '.*' action '.*' was logged in \d+ of \d+ rows, but its propensity "
        r"there is 0.01 on average; by chance that does not happen"
    )
    with pytest.raises(ValueError, match=message) as raised:
        evaluate_policy(LEARNED, TEST, methods="dm", behavior=rare)
    assert len(str(raised.value)) < 500


def test_the_remedies_of_the_message_help():
    """Two kinds of cases in one state, each with an action of its own."""
    kind = np.tile([0, 1], 200)
    table = pd.DataFrame({"episode": range(400), "state": "s", "kind": kind, "action": kind})
    table = table.assign(reward=1.0, next_state=None, p=1.0)
    options = {"methods": ["dm", "is"], "n_bootstrap": 0}
    with pytest.raises(ValueError, match="name all columns of the state that it depends on, or"):
        evaluate_policy("behavior", table, behavior="p", **options)
    fuller = table.drop(columns="next_state").assign(next_state=None, next_kind=None)
    for log, behavior, columns in (
        (fuller, "p", {"state": ["state", "kind"]}),
        (table, None, None),
    ):
        result = evaluate_policy("behavior", log, behavior=behavior, columns=columns, **options)
        assert_allclose(result.to_frame()["value"], 1)

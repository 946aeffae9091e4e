"""Speed side by side with peers, in one run: python -m pytest tests/benchmarks -s.

Times are the medians of runs taken in turn; read the ratios, not the seconds.
"""

import statistics
import time

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_search_log


def in_turn(*functions, rounds=7):
    """Return the median seconds of each function; they run in turn, after one round unmeasured."""
    seconds = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, taken in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in seconds]


@pytest.fixture(scope="module")
def log():
    return make_search_log(50_000, random_state=0)


def talk_counts(rows):
    """Count as the talk does: labels to numbers by first appearance, one row at a time."""
    states, actions = {}, {}
    for state, action, _, _ in rows:
        states.setdefault(state, len(states))
        actions.setdefault(action, len(actions))
    N = np.zeros((len(states), len(actions), len(states)))
    paid, visits = np.zeros(len(states)), np.zeros(len(states))
    for state, action, following, reward in rows:
        s = states[state]
        N[s][actions[action]][states[following]] += 1
        paid[s] += reward
        visits[s] += 1
    n = N.sum(axis=2, keepdims=True)
    P = np.where(n > 0, N / np.maximum(n, 1), 1 / len(states))
    return list(states), P, paid / visits


def talk_sweep(P, R, V, gamma=0.9):
    """Update every state in place, as the talk does, with a loop over successors."""
    for s in range(len(R)):
        best = -float("inf")
        for a in range(P.shape[1]):
            value = 0.0
            for t in range(len(R)):
                value += P[s][a][t] * V[t] * gamma
            best = max(best, value)
        V[s] = R[s] + best


def test_fit_against_the_loops_of_the_talk(log):
    """The talk makes 125 sweeps; two are timed, starting from the solution, which must stand."""
    trap = pd.DataFrame({"state": "TARGET_FOUND", "action": range(15), "reward": 1 / 15})
    trap = trap.assign(next_state="TARGET_FOUND", episode=-1)
    table = pd.concat([log, trap])
    policy = MarkovPolicyEstimator(gamma=0.9, reward_on="state", untried="uniform", tol=1e-9)
    (fit,) = in_turn(lambda: policy.fit(table))

    start = time.perf_counter()
    rows = table[["state", "action", "next_state", "reward"]].itertuples(index=False, name=None)
    states, P, R = talk_counts(list(rows))
    counting = time.perf_counter() - start
    solution = policy.score_samples(states)
    V = solution.copy()
    start = time.perf_counter()
    for _ in range(2):
        talk_sweep(P, R, V)
    sweep = (time.perf_counter() - start) / 2
    assert_allclose(V, solution, atol=1e-7)
    found = states.index("TARGET_FOUND")
    assert_allclose([R[found], V[found]], [1 / 15, 2 / 3], atol=1e-7)

    talk = counting + 125 * sweep
    print(f"\n{len(table)} rows, {len(states)} states: fit {fit:.3f} s; loops {counting:.2f} s of")
    print(f"counting and {sweep:.2f} s a sweep, {talk:.0f} s in all: {talk / fit:.0f} times faster")
    assert talk / fit >= 1000


def test_fit_against_groupby(log):
    def by_hand():
        return log.groupby(["state", "action", "next_state"])["reward"].agg(["size", "sum"])

    policy = MarkovPolicyEstimator()
    fit, groupby = in_turn(lambda: policy.fit(log), by_hand)
    table = by_hand()
    visits = table["size"].groupby(["state", "action"]).sum().unstack(fill_value=0)
    rows = np.searchsorted(policy.states_, visits.index)
    assert_array_equal(policy.visit_counts_[rows], visits)
    print(f"\nfit {fit:.3f} s, groupby {groupby:.3f} s: {fit / groupby:.2f} times its time")
    assert fit / groupby <= 3


def test_score_against_fit(log):
    policy = MarkovPolicyEstimator(gamma=0.99).fit(log)
    score, fit = in_turn(lambda: policy.score(log), lambda: policy.fit(log))
    print(f"\nscore {score:.3f} s, fit {fit:.3f} s: {score / fit:.2f} times its time")
    assert score / fit <= 3


def test_score_of_one_long_episode_against_fit():
    """A process that never ends settles, so its 200,000 steps need not be followed."""
    rng = np.random.default_rng(0)
    state = rng.integers(50, size=200_001)
    table = pd.DataFrame({"episode": 0, "state": state[:-1], "next_state": state[1:]})
    table = table.assign(action=rng.integers(3, size=200_000), reward=rng.normal(size=200_000))
    policy = MarkovPolicyEstimator().fit(table)
    score, fit = in_turn(lambda: policy.score(table), lambda: policy.fit(table), rounds=3)
    # The mean reward of the best action of a state, 200,000 times.
    best = policy.expected_rewards_.max(axis=1).mean() * 200_000
    assert_allclose(policy.score(table), best, rtol=0.25)
    print(f"\nscore {score:.3f} s, fit {fit:.3f} s: {score / fit:.2f} times its time")
    assert score / fit <= 3


def test_stream_against_one_fit():
    """A thousand batches of a thousand rows; most of a batch's time does not depend on its size."""
    table = make_search_log(130_000, random_state=0).iloc[:1_000_000]
    whole = MarkovPolicyEstimator()
    (fit,) = in_turn(lambda: whole.fit(table), rounds=3)
    streamed = MarkovPolicyEstimator()
    start = time.perf_counter()
    for first in range(0, len(table), 1000):
        streamed.partial_fit(table.iloc[first : first + 1000])
    stream = time.perf_counter() - start
    assert_array_equal(streamed.visit_counts_, whole.visit_counts_)
    bound = streamed.value_error_bound_ + whole.value_error_bound_
    assert_allclose(streamed.state_values_, whole.state_values_, atol=bound)
    print(f"\n1000 batches {stream:.2f} s ({stream:.1f} ms each), one fit {fit:.3f} s: ", end="")
    print(f"{stream / fit:.0f} times its time")
    assert stream / fit <= 50

"""What evaluation costs beside fit: python -m pytest tests/benchmarks/test_trust_speed.py -s.

Times are the medians of runs taken in turn; read the ratios, not the seconds.
"""

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from raw_processes import Fleet, bins, loose_crews, play
from test_speed import in_turn

from skmdp import MarkovPolicyEstimator
from skmdp._estimation.prior_strength import choose_prior_strength
from skmdp._evaluation.direct import choice_of_actions, evaluate_directly, policy_process
from skmdp._evaluation.fitted_q import FittedQ
from skmdp._evaluation.horizon import Horizon
from skmdp._evaluation.influence import mean_visited_values
from skmdp._log.evidence import gather
from skmdp._log.reading import read_table
from skmdp._trust import read_behind
from skmdp.datasets import make_search_log
from skmdp.metrics import compare_policies, evaluate_policy

N_ROWS = 1_000_000


@pytest.fixture(scope="module")
def log():
    """Return the whole episodes of a million rows."""
    table = make_search_log(130_000, random_state=0)
    return table[table["episode"] < table["episode"].iloc[N_ROWS]]


@pytest.fixture(scope="module")
def policy():
    """Return a policy from a log of its own that keeps to what is often logged."""
    learner = MarkovPolicyEstimator(gamma=0.99, min_count=100, handle_unknown="most_frequent")
    return learner.fit(make_search_log(130_000, random_state=1))


def quietly(policy, log, **options):
    """Evaluate where few episodes agree with the policy, which is said each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return evaluate_policy(policy, log, **options)


def test_direct_method_and_its_interval_against_fit(log, policy):
    assert N_ROWS - 200 < len(log) <= N_ROWS
    learner = MarkovPolicyEstimator(gamma=0.99)
    dm, score, fit = in_turn(
        lambda: evaluate_policy(policy, log, methods="dm"),
        lambda: policy.score(log),
        lambda: learner.fit(log),
    )
    row = evaluate_policy(policy, log, methods="dm").to_frame().iloc[0]
    assert row["lower"] < row["value"] < row["upper"]
    print(f"\nuntried share {row['untried_share']:.4f}; dm with interval {dm:.3f} s, ", end="")
    print(f"score {score:.3f} s, fit {fit:.3f} s: {dm / fit:.2f} and {score / fit:.2f} times")
    assert dm / fit <= 5


def test_three_methods_and_200_resamples_against_fit(log, policy):
    learner = MarkovPolicyEstimator(gamma=0.99)
    methods = ("dm", "wis", "wdr")
    three, fit = in_turn(
        lambda: quietly(policy, log, methods=methods, n_bootstrap=200, random_state=0),
        lambda: learner.fit(log),
        rounds=3,
    )
    table = quietly(policy, log, methods=methods, n_bootstrap=200, random_state=0).to_frame()
    print("\n", table.round(4).T.to_string(), sep="")
    print(f"three methods with 200 resamples {three:.2f} s, fit {fit:.3f} s: ", end="")
    print(f"{three / fit:.1f} times its time")
    assert three / fit <= 30


def score_quietly(policy, log):
    """Score where most episodes of the policy would outlast the logged ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return policy.score(log)


def random_log(n_episodes, n_steps, n_states, n_actions, *, n_next=None, cut=False, logged=None):
    """Return episodes of a random process, rewards with noise.

    ``n_next`` successors of each pair (None: any state), ``logged`` an action for each state that
    is taken half of the time.
    """
    rng = np.random.default_rng(0)
    following = rng.integers(n_states, size=(n_states, n_actions, n_next or 1))
    mean = rng.normal(size=(n_states, n_actions))
    state, parts = rng.integers(n_states, size=n_episodes), []
    for _ in range(n_steps):
        action = rng.integers(n_actions, size=n_episodes)
        if logged is not None:
            action = np.where(rng.uniform(size=n_episodes) < 0.5, logged[state], action)
        if n_next is None:
            then = rng.integers(n_states, size=n_episodes)
        else:
            then = following[state, action, rng.integers(n_next, size=n_episodes)]
        parts.append((state, action, mean[state, action] + rng.normal(size=n_episodes), then))
        state = then
    columns = (np.stack(column, axis=1).ravel() for column in zip(*parts, strict=True))
    log = pd.DataFrame(dict(zip(["state", "action", "reward", "next_state"], columns, strict=True)))
    log.insert(0, "episode", np.repeat(np.arange(n_episodes), n_steps))
    if not cut:
        last = ~log["episode"].duplicated(keep="last")
        log["next_state"] = log["next_state"].astype("Int64").mask(last)
    return log


def step_by_step(log, actions, steps, strength):
    """Return value, D and M of a policy (codes by state) by the definition, with dense matrices."""
    counts = gather(read_table(log, MarkovPolicyEstimator()._roles())).counts
    P, R = policy_process(counts, choice_of_actions(counts, actions), strength)
    P, n = P.toarray(), counts.n_states
    starts = log.groupby("episode")["state"].first().to_numpy()
    V, d = np.zeros((steps + 1, n)), np.zeros((steps, n))
    d[0] = np.bincount(starts, minlength=n) / len(starts)
    for step in range(steps):
        V[step + 1] = R + P @ V[step]
        if step:
            d[step] = d[step - 1] @ P
    return counts, d[0], d[0] @ V[steps], d.sum(axis=0), d.T @ V[steps - 1 :: -1]


@pytest.mark.parametrize("n_next", [None, 4])
@pytest.mark.parametrize("cut", [False, True])
def test_long_episodes_against_fit(n_next, cut):
    """50 episodes of 2,000 rows over 500 states: those that end are followed for 20,000 steps."""
    log = random_log(50, 2000, 500, 4, n_next=n_next, cut=cut)
    learner = MarkovPolicyEstimator(gamma=0.99)
    policy = MarkovPolicyEstimator(gamma=0.99, prior_strength="auto").fit(log)
    dm, score, fit = in_turn(
        lambda: quietly(policy, log, methods="dm"),
        lambda: score_quietly(policy, log),
        lambda: learner.fit(log),
        rounds=5,
    )
    actions, steps = np.searchsorted(policy.actions_, policy.policy_), 2000 if cut else 20_000
    counts, starts, value, D, M = step_by_step(log, actions, steps, 1.0)
    found = evaluate_directly(
        counts,
        choice_of_actions(counts, actions),
        starts,
        prior_strength=1.0,
        horizon=Horizon({steps: 1.0}),
        longest=2000,
        tolerance=1e-10,
        keep_paths=True,
    )
    assert_allclose(found.value, value, rtol=1e-8)
    visited, following = mean_visited_values(counts, found, 1.0)
    state = counts.pair_state[counts.triple_pair]
    assert_allclose(visited, D[state], rtol=1e-7)
    M = np.append(M, np.zeros((500, 1)), axis=1)[state, counts.next_states]
    assert_allclose(following, M, rtol=0, atol=1e-7 * np.abs(M).max())
    held = len(found.values.steps) + len(found.visits.steps)
    strength = choose_prior_strength(counts)
    expected = step_by_step(log, actions, steps, strength)[2]
    assert_allclose(score_quietly(policy, log), expected, rtol=2e-6)
    print(f"\n{n_next or 500} successors, cut {cut}, followed step by step for ", end="")
    print(f"{found.values.length} and {found.visits.length} of {steps} steps, {held} vectors held")
    print(f"dm {dm:.3f} s, score {score:.3f} s, fit {fit:.3f} s: ", end="")
    print(f"{dm / fit:.1f} and {score / fit:.1f} times")
    assert dm / fit <= 10
    assert score / fit <= 5


@pytest.mark.parametrize("agreeing", [False, True])
def test_fifty_policies_against_one(agreeing):
    """20,000 rows; policies at random, or alike and near to the logged one."""
    rng = np.random.default_rng(1)
    usual = rng.integers(5, size=200)
    n_steps = 4 if agreeing else 20
    log = random_log(20_000 // n_steps, n_steps, 200, 5, n_next=4, logged=usual)
    policies = {}
    for i in range(50):
        other = rng.integers(5, size=200)
        advice = np.where(rng.uniform(size=200) < 0.1, other, usual) if agreeing else other
        policies[f"policy {i}"] = dict(enumerate(advice.tolist()))

    def compare():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return compare_policies(policies, log, random_state=0)

    one, fifty = in_turn(
        lambda: quietly(policies["policy 0"], log, random_state=0), compare, rounds=5
    )
    table = compare()
    shown = table.loc[table["method"] == "wdr", "standard_error"].notna().mean()
    alone = quietly(policies["policy 7"], log, random_state=0).to_frame().set_index("method")
    together = table[table["policy"] == "policy 7"].set_index("method")
    for column in ("value", "standard_error", "lower", "upper"):
        assert_allclose(together[column], alone[column], rtol=1e-9)
    print(f"\none {one:.3f} s, fifty {fifty:.3f} s: {fifty / one:.1f} times; ", end="")
    print(f"{shown:.0%} of the policies have an interval by wdr")
    assert fifty / one <= 10


# ------------------------------------------------------------------ on measurements


class LongFleet(Fleet):
    def __init__(self, n_steps):
        self.n_steps = n_steps


@pytest.mark.parametrize("n_steps", [24, 50, 100])
def test_fitted_q_against_score(n_steps):
    """One policy by fqe, the forest grown, beside the direct score in the policy's states."""
    train, test = (
        play(LongFleet(n_steps), loose_crews(seed), 7200 // n_steps, seed) for seed in (0, 1)
    )
    policy = bins("wear temperature", 4).fit(train)
    measured = read_behind(policy[:-1].transform(test), policy[-1].__skmdp_roles__())
    codes, answers = measured.log, policy.predict(measured.table(measured.decided_in))
    actions = np.zeros(len(codes.states), dtype=int)
    actions[measured.decided_in] = np.searchsorted(codes.actions.labels, answers)
    following = actions[np.where(measured.ended, codes.state_codes, codes.next_codes)]
    starting, ones = actions[codes.start_codes], np.ones(len(test))
    start = time.process_time()
    asked = FittedQ.of_log(measured.raw_log(), longest=n_steps, cut_share=measured.cut_share)
    growing = time.process_time() - start
    one, whole, score = in_turn(
        lambda: asked.follow(following, starting),
        lambda: quietly(policy, test, methods="fqe"),
        lambda: policy[-1].score(policy[:-1].transform(test), sample_weight=ones),
    )
    value = quietly(policy, test, methods="fqe").to_frame()["value"][0]
    assert_allclose(asked.follow(following, starting).value, value)
    print(f"\n{n_steps} steps: growing {growing:.2f} s CPU; one policy {one:.4f} s, the whole")
    print(f"call {whole:.4f} s, score {score:.4f} s: {one / score:.1f}, {whole / score:.1f} times")
    assert growing <= 3
    assert one / score <= 5


def test_fifty_policies_on_measurements_against_one():
    """20,000 rows, the default methods, nothing grown before."""
    train, test = (play(Fleet(), loose_crews(seed), 834, seed) for seed in (0, 1))
    policies = {
        f"{n_bins} bins, {gamma}": bins("wear temperature", n_bins, gamma).fit(train)
        for n_bins in range(2, 12)
        for gamma in (0.5, 0.7, 0.8, 0.9, 0.95)
    }
    columns = {"state": ["wear", "temperature", "humidity"]}

    def anew(function, policies):
        """Call on a log that is not known: the rewards differ a little."""
        other = test.assign(reward=test["reward"] + next(shifts))
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = function(policies, other, columns=columns)
        return time.process_time() - start, found

    shifts = iter(np.arange(1, 10) * 1e-6)
    first = policies["4 bins, 0.9"]
    one = [anew(evaluate_policy, first)[0] for _ in range(3)]
    fifty, table = anew(compare_policies, policies)
    assert len(table) == 100
    ratio = fifty / np.median(one)
    print(f"\none {np.median(one):.2f} s CPU, fifty {fifty:.2f} s: {ratio:.1f} times")
    assert ratio <= 10

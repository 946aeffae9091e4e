"""A plant that is inspected at irregular times, whose best policy and values are known exactly.

The plant wears while it runs; at each inspection it is run on or serviced. Running on takes a few
days or weeks, in a worn plant less, a service two days. Records break off after a year.

python -m pytest tests/benchmarks/test_inspections.py -s
"""

import numpy as np
import pandas as pd
import pytest

from skmdp import MarkovPolicyEstimator
from skmdp.metrics import evaluate_policy, value_per_time

N_STATES = 4
ACTIONS = ["run", "service"]
# Days until the next inspection, uniform between these, by state and action.
SHORTEST = np.array([[10.0, 1], [8, 1], [5, 1], [2, 1]])
LONGEST = np.array([[30.0, 3], [24, 3], [15, 3], [8, 3]])
# What is paid at the inspection, and how far the plant wears by running on.
PAID = np.array([[40.0, -15], [30, -15], [15, -15], [-25, -15]])
WEARS = np.array([0.7, 0.6, 0.6, 0.0])
NOISE = 5.0
YEAR = 365.0
GAMMA = 0.999
N_LOGS = 100


def next_shares():
    """P(s'|s, a), (n_states, n_actions, n_states)."""
    P = np.zeros((N_STATES, 2, N_STATES))
    for s in range(N_STATES):
        P[s, 0, s] = 1 - WEARS[s]
        P[s, 0, min(s + 1, N_STATES - 1)] += WEARS[s]
        P[s, 1, 0] = 1.0
    return P


P = next_shares()


def mean_discounts(rate):
    """E exp(-rate d) of every state and action."""
    return (np.exp(-rate * SHORTEST) - np.exp(-rate * LONGEST)) / (rate * (LONGEST - SHORTEST))


def values(actions, rate):
    """Values of a policy, one action a state, where what follows is discounted by exp(-rate d)."""
    states = np.arange(N_STATES)
    following = mean_discounts(rate)[states, actions, np.newaxis] * P[states, actions]
    return np.linalg.solve(np.eye(N_STATES) - following, PAID[states, actions])


def best_actions(rate):
    """The best of all 16 policies."""
    policies = [np.array([i >> s & 1 for s in range(N_STATES)]) for i in range(2**N_STATES)]
    return max(policies, key=lambda actions: values(actions, rate).sum())


def simulate(n_episodes, seed):
    """Records of a year and the decision that is under way at its end, then an observation."""
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(n_episodes):
        now, s = 0.0, 0
        while now < YEAR:
            a = int(rng.random() < 0.3)
            paid = PAID[s, a] + NOISE * rng.normal()
            rows.append((episode, pd.Timedelta(days=now), s, ACTIONS[a], paid))
            now += rng.uniform(SHORTEST[s, a], LONGEST[s, a])
            s = int(rng.choice(N_STATES, p=P[s, a]))
        rows.append((episode, pd.Timedelta(days=now), s, None, None))
    log = pd.DataFrame(rows, columns=["episode", "step", "state", "action", "reward"])
    return log.assign(step=pd.Timestamp("2024-01-01") + log.step)


def fitted(seed, n_episodes=40):
    policy = MarkovPolicyEstimator(duration="step", gamma=GAMMA, prior_strength="auto")
    return policy.fit(simulate(n_episodes, seed))


def test_the_chosen_policy_is_within_five_percent_of_the_best():
    rate = -np.log(GAMMA)
    best = values(best_actions(rate), rate)[0]
    found = []
    for seed in range(N_LOGS):
        policy = fitted(seed)
        assert policy.duration_unit_ == "day"
        chosen = np.array([ACTIONS.index(a) for a in policy.predict(np.arange(N_STATES))])
        found.append(values(chosen, rate)[0] / best)
    print(f"Of the best: {np.mean(found):.4f} on average, {np.min(found):.4f} at worst.")
    assert np.min(found) >= 0.95


@pytest.mark.parametrize("method", ["dm", "fqe"])
def test_the_interval_holds_the_truth(method):
    policy = fitted(1000)
    chosen = np.array([ACTIONS.index(a) for a in policy.predict(np.arange(N_STATES))])
    held = 0
    n_logs = N_LOGS if method == "dm" else N_LOGS // 2
    for seed in range(n_logs):
        result = evaluate_policy(policy, simulate(40, 2000 + seed), methods=method)
        truth = values(chosen, 1 / result.horizon_time)[0]
        row = result.to_frame().iloc[0]
        held += row["lower"] <= truth <= row["upper"]
    print(f"{method}: {held} of {n_logs} intervals hold the truth.")
    assert held >= 0.9 * n_logs


def stochastic_value(share_run, rate):
    """Value of a policy that runs on with one probability in all states, from the first state."""
    shares = np.array([share_run, 1 - share_run])
    following = np.einsum("a,sa,sat->st", shares, mean_discounts(rate), P)
    return np.linalg.solve(np.eye(N_STATES) - following, PAID @ shares)[0]


@pytest.mark.filterwarnings("ignore:Only .* episodes .effective. follow the policy")
@pytest.mark.parametrize("share_run", [0.7, 0.8])
def test_records_as_they_were_logged_say_more_than_discounted_to_a_time_at_random(share_run):
    """Weighed records cannot be followed for a time at random, since some ends after they do."""
    policy = pd.DataFrame({"run": share_run, "service": 1 - share_run}, index=range(N_STATES))
    methods = ["dr", "wdr", "is", "wis", "pdis", "pdwis"]
    options = {"methods": methods, "n_bootstrap": 0, "columns": {"duration": "step"}}
    found = []
    for seed in range(40):
        log = simulate(100, 7000 + seed)
        days = (log["step"] - pd.Timestamp("2024-01-01")) / pd.Timedelta(days=1)
        result = evaluate_policy(policy, log, **options)
        discounts = np.exp(-days / result.horizon_time)
        discounted = evaluate_policy(
            policy, log.assign(reward=log["reward"] * discounts), **options
        )
        truth = stochastic_value(share_run, 1 / result.horizon_time)
        found.append([one.to_frame()["value"] / truth for one in (result, discounted)])
    as_logged, discounted = np.mean(found, axis=0)
    for row in zip(methods, as_logged, discounted, strict=True):
        print("{}: {:.3f} of the truth, {:.3f} if rewards are discounted.".format(*row))
    assert (np.abs(as_logged[:2] - 1) < 0.02).all()
    assert (np.abs(as_logged[2:] - 1) < 0.1).all()
    assert (discounted[2:] < 0.8).all()


def test_the_value_per_time_is_that_of_the_plant():
    policy = fitted(1000)
    chosen = np.array([ACTIONS.index(a) for a in policy.predict(np.arange(N_STATES))])
    rate = 1e-7
    truth = values(chosen, rate)[0] * rate
    found = [value_per_time(policy, simulate(100, 3000 + seed)).value for seed in range(20)]
    print(f"Per day {np.mean(found):.4f}, in truth {truth:.4f}.")
    assert abs(np.mean(found) / truth - 1) < 0.03

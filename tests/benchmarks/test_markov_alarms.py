"""How often markov_test finds what is not there, and how often what is: 200 logs of every kind.

python -m pytest tests/benchmarks/test_markov_alarms.py -s
"""

from dataclasses import replace

import numpy as np
import pytest
from problems import from_environment
from scipy.stats import binom
from test_markov import autocorrelated, planted_log, softmax_policy

from skmdp.datasets import make_garnet, sample_transitions
from skmdp.inspection import markov_test

N_LOGS = 200
N_POWER = 100
SIZES = (30, 300)
# The shapes of random processes: states, actions, successors of a pair.
SHAPES = {
    "thick pairs": (4, 2, 3),
    "garnet": (20, 3, 3),
    "thin pairs": (200, 4, 3),
    "deterministic": (20, 3, 1),
}


def garnet_log(shape, n_episodes, seed, policy=None, change=None):
    rng = np.random.default_rng(seed)
    mdp = make_garnet(*SHAPES[shape], random_state=seed)
    if change is not None:
        mdp = change(mdp, rng)
    if policy is not None:
        policy = policy(mdp, rng)
    return sample_transitions(mdp, policy, n_episodes, max_steps=40, random_state=seed + 10**4)


def partly_deterministic(mdp, rng):
    """Let about half of the pairs lead to their first successor nearly always."""
    transitions = mdp.transitions.copy()
    n = np.diff(transitions.indptr)
    first = np.zeros(len(transitions.data), dtype=bool)
    first[transitions.indptr[:-1][n > 0]] = True
    settled = np.repeat(rng.uniform(size=len(n)) < 0.6, n)
    transitions.data = np.where(settled, np.where(first, 0.98, 0.01), transitions.data)
    return replace(mdp, transitions=transitions)


def heavy_noise(log, rng):
    return log.assign(reward=log["reward"] + rng.standard_t(2, size=len(log)))


def uneven_noise(log, rng):
    noise = rng.standard_exponential(len(log)) ** 3
    return log.assign(reward=noise * (log["state"] % 3 == 0))


def paid_on_arrival(log, rng):
    return log.assign(reward=(log["next_state"] % 5 == 0).fillna(True).astype(float))


LAKE = from_environment("FrozenLake-v1", is_slippery=True)
MARKOV_LOGS = {
    **{
        shape: lambda n_episodes, seed, shape=shape: garnet_log(shape, n_episodes, seed)
        for shape in SHAPES
    },
    "state-dependent behavior": lambda n, seed: garnet_log("garnet", n, seed, softmax_policy),
    "state-dependent, thin": lambda n, seed: garnet_log("thin pairs", n, seed, softmax_policy),
    "partly deterministic": lambda n, seed: garnet_log(
        "garnet", n, seed, change=partly_deterministic
    ),
    "heavy noise": lambda n, seed: heavy_noise(
        garnet_log("garnet", n, seed), np.random.default_rng(seed)
    ),
    "uneven noise": lambda n, seed: uneven_noise(
        garnet_log("garnet", n, seed), np.random.default_rng(seed)
    ),
    "paid on arrival": lambda n, seed: paid_on_arrival(garnet_log("garnet", n, seed), None),
    "frozen lake": lambda n, seed: LAKE.log(None, n, seed),
}


@pytest.mark.parametrize("n_episodes", SIZES)
@pytest.mark.parametrize("kind", MARKOV_LOGS)
def test_alarms_on_markov_logs(kind, n_episodes):
    """Two histories and two columns without use: any finding is a false one."""
    alarms, findings = 0, {"next_state": 0, "reward": 0}
    for seed in range(N_LOGS):
        rng = np.random.default_rng(seed)
        log = MARKOV_LOGS[kind](n_episodes, seed)
        log = log.assign(noise=rng.normal(size=len(log)), slow=autocorrelated(log, rng))
        table = markov_test(log, ["noise", "slow"], random_state=seed)
        alarms += (table["p_value"] < 0.05).any()
        for outcome in findings:
            said = table["verdict"].str.contains(f"predicts.*{outcome.replace('_', ' ')}")
            findings[outcome] += int(said.any())
    print(
        f"\n{kind}, {n_episodes} episodes: {alarms / N_LOGS:.1%} of logs with an alarm {findings}"
    )
    assert alarms <= 0.07 * N_LOGS


@pytest.mark.parametrize("n_episodes", [50, 200, 500])
@pytest.mark.parametrize("effect", [0.0, 0.1, 0.2, 0.3, 0.6])
@pytest.mark.parametrize("plant", ["history", "column", "reward"])
def test_power(plant, effect, n_episodes):
    """Episodes of ten steps among five states, in each of which three values change the odds."""
    place = 0 if plant == "history" else 2
    found, others = 0, 0
    for seed in range(N_POWER):
        log = planted_log(plant, effect, n_episodes, seed)
        hit = markov_test(log, "hidden", random_state=seed)["p_value"].to_numpy() < 0.05
        found += hit[place]
        others += np.delete(hit, place).any()
    print(
        f"\n{plant}, effect {effect}, {n_episodes} episodes: found in {found / N_POWER:.0%}, "
        f"something else in {others / N_POWER:.0%}"
    )
    if effect == 0.0:
        assert found <= binom.ppf(0.999, N_POWER, 0.05)
    if effect == 0.6 and n_episodes >= 200:
        assert found >= 0.95 * N_POWER

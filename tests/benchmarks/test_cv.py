"""What MarkovPolicyCV chooses, and what it says of it, where the truth is known.

python -m pytest tests/benchmarks/test_cv.py -s. Twenty logs per process and size, of seeds that
nothing was tuned on. CV_SEED draws others.
"""

import os
import subprocess
import sys
import warnings
from functools import cache, partial

import gymnasium
import numpy as np
import pandas as pd
import pytest
from problems import from_environment, garnet, optimal_q_values, softened_optimum, ward
from test_speed import in_turn

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp._evaluation.horizon import Horizon
from skmdp._log.reading import read_table
from skmdp._log.roles import Roles

SEED = int(os.environ.get("CV_SEED", "2000"))
N_LOGS = 20
SIZES = (100, 1_000, 5_000)
MIN_COUNTS = (0, 3, 10, 30)
TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))


def softened(problem, temperature):
    return problem, softened_optimum(problem.mdp, problem.gamma, temperature)


# The process of the i-th log, and what is logged there.
PROBLEMS = {
    "garnets": lambda i: softened(garnet(i % 10, max_steps=50), 1.0),
    "lake 4x4": lambda _: softened(from_environment("FrozenLake-v1", map_name="4x4"), 0.8),
    "lake 8x8": lambda _: softened(from_environment("FrozenLake-v1", map_name="8x8"), 0.5),
    "cliff": lambda _: softened(from_environment("CliffWalking-v1", is_slippery=True), 0.5),
    "taxi": lambda _: softened(from_environment(TAXI), 0.5),
    "ward": lambda _: ward(),
}
problem_of = cache(lambda name, i: PROBLEMS[name](i))


def quietly(estimator, table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(table)


def true_value(problem, horizon, policy):
    """Return the value over the horizon of a log."""
    return sum(share * problem.value(policy, horizon=n) for n, share in horizon.shares.items())


def run(name, n_episodes, i):
    """Return what each way to choose is truly worth in one log, and what was said of it."""
    problem, behavior = problem_of(name, i)
    table = problem.log(behavior, n_episodes, SEED + i)
    log = read_table(table, Roles())
    value = partial(true_value, problem, Horizon.of_log(log.longest, log.cut_share))
    fixed = {"gamma": problem.gamma, "handle_unknown": "most_frequent", "max_iter": 100_000}
    found = {"log": value(behavior)}
    for min_count in MIN_COUNTS:
        learner = MarkovPolicyEstimator(min_count=min_count, prior_strength="auto", **fixed)
        found[f"min_count {min_count}"] = value(problem.deployed(quietly(learner, table)))
    chosen = quietly(MarkovPolicyCV(min_counts=MIN_COUNTS, **fixed), table)
    safe = quietly(MarkovPolicyCV(min_counts=MIN_COUNTS, require_gain=True, **fixed), table)
    found["chosen"] = value(problem.deployed(chosen))
    found["safe"] = value(problem.deployed(safe))
    gain = found["chosen"] - found["log"]
    lower, upper = chosen.gain_interval_
    slack = 1e-9 * max(1.0, abs(gain))
    found["holds"] = lower - slack <= gain <= upper + slack
    found["above"] = lower - slack > gain
    found["unknown"] = np.isnan(lower)
    found["better"] = chosen.is_better_
    found["false"] = chosen.is_better_ and gain < 0
    return found


@cache
def figures(name, n_episodes):
    return pd.DataFrame([run(name, n_episodes, i) for i in range(N_LOGS)])


def error_of_mean(values):
    return values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("n_episodes", SIZES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_choice_is_as_good_as_the_best_fixed_setting(name, n_episodes):
    table = figures(name, n_episodes)
    settings = table[[f"min_count {min_count}" for min_count in MIN_COUNTS]]
    best = settings.mean().idxmax()
    behind = table["chosen"] - table[best]
    lost = -behind.mean()
    print(f"\n{name}, {n_episodes} episodes: the log {table['log'].mean():.4g}", end="")
    for column in settings:
        print(f", {column.split()[1]}: {table[column].mean():.4g}", end="")
    print(
        f"; chosen {table['chosen'].mean():.4g} (+- {error_of_mean(table['chosen']):.2g}, ", end=""
    )
    print(f"behind the best {lost:.2g} +- {error_of_mean(behind):.2g})")
    assert lost <= error_of_mean(table["chosen"]) + 1e-9 * abs(table[best].mean())


@pytest.mark.parametrize("n_episodes", SIZES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_gain_that_is_required_never_loses(name, n_episodes):
    table = figures(name, n_episodes)
    gain = table["safe"] - table["log"]
    kept = (table["safe"] != table["chosen"]).sum()
    print(f"\n{name}, {n_episodes} episodes: with require_gain {gain.mean():+.3g} ", end="")
    print(f"(+- {error_of_mean(gain):.2g}); another policy than the chosen one in {kept} of 20")
    assert gain.mean() >= -2 * error_of_mean(gain) - 1e-9 * abs(table["log"].mean())


@pytest.mark.parametrize("n_episodes", SIZES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_interval_holds_the_true_gain(name, n_episodes):
    table = figures(name, n_episodes)
    n_known = (~table["unknown"]).sum()
    print(
        f"\n{name}, {n_episodes} episodes: held {table['holds'].sum()} of {n_known} known, ", end=""
    )
    print(f"{table['above'].sum()} above the truth; better {table['better'].sum()}, ", end="")
    print(f"falsely {table['false'].sum()}")
    assert table["holds"].sum() >= 0.9 * n_known - 1
    assert table["false"].sum() == 0


def test_the_interval_holds_over_all():
    tables = [figures(name, n) for name in PROBLEMS for n in SIZES]
    held, known = (
        sum(f)
        for f in zip(*((t["holds"].sum(), (~t["unknown"]).sum()) for t in tables), strict=True)
    )
    print(f"\nheld in {held} of {known} logs: {held / known:.1%}")
    assert held >= 0.9 * known


def test_the_ward():
    problem, behavior = ward()
    q_values = optimal_q_values(problem.mdp, 1.0)
    best = np.where(np.isfinite(q_values.max(axis=1)), q_values.argmax(axis=1), 0)
    logged, optimum = problem.value(behavior), problem.value(best)
    chosen = figures("ward", 5_000)["chosen"].mean()
    print(f"\nlogged {logged:.3f}, optimum {optimum:.3f}, chosen from 5,000 episodes {chosen:.3f}")
    assert abs(logged - 0.78) < 0.005
    assert abs(optimum - 0.875) < 0.005
    assert chosen >= 0.80


# ---------------------------------------------------------------------------------------- cost

N_ROWS = 1_000_000


def wide_log(n_states, seed=0):
    """Return a million rows of a process with ten actions, five ways each, as strings."""
    rng = np.random.default_rng(seed)
    n_episodes, length = N_ROWS // 20, 20
    ways = rng.integers(0, n_states, (n_states, 10, 5))
    pays = rng.normal(size=(n_states, 10))
    state, steps = rng.integers(0, n_states, n_episodes), []
    for _ in range(length):
        action = np.minimum(rng.geometric(0.35, n_episodes) - 1, 9)
        following = ways[state, action, rng.integers(0, 5, n_episodes)]
        steps.append((state, action, following))
        state = following
    state, action, following = (
        np.stack(codes, axis=1).ravel() for codes in zip(*steps, strict=True)
    )
    names = pd.array([f"s{i:06d}" for i in range(n_states)], dtype="str")
    return pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), length),
            "state": names.take(state),
            "action": action,
            "next_state": names.take(following),
            "reward": pays[state, action] + rng.normal(size=N_ROWS),
        }
    )


@pytest.mark.parametrize(("n_states", "most"), [(1_000, 4), (20_000, 4)])
def test_eight_candidates_in_five_folds_against_one_fit(n_states, most):
    table = wide_log(n_states)
    grid = {"min_counts": (0, 3, 10, 30), "prior_strengths": (0.0, "auto")}
    chosen, fit = in_turn(
        lambda: MarkovPolicyCV(gamma=0.9, **grid).fit(table),
        lambda: MarkovPolicyEstimator(gamma=0.9, prior_strength="auto").fit(table),
    )
    print(f"\n{n_states} states: {chosen:.2f} s against {fit:.2f} s, {chosen / fit:.1f} fits")
    assert chosen / fit <= most


MEASURE = """
import re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_cv import wide_log
from skmdp import MarkovPolicyCV, MarkovPolicyEstimator

table = wide_log(1_000)
learner = {"cv": MarkovPolicyCV(), "fit": MarkovPolicyEstimator(prior_strength="auto")}[sys.argv[1]]
learner.fit(table.iloc[:100_000])

def status(field):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(field + r":\\s+(\\d+) kB", text)[1])

Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
learner.fit(table)
print(status("VmHWM"))
"""


def test_memory_against_one_fit():
    """Peaks of whole processes, which hold the table and the libraries, too."""
    here = os.path.dirname(__file__)
    peaks = {
        name: float(
            subprocess.run(
                [sys.executable, "-c", MEASURE, name, here],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for name in ("cv", "fit")
    }
    ratio = peaks["cv"] / peaks["fit"]
    print(f"\ncv {peaks['cv'] / 1e6:.0f} MB, fit {peaks['fit'] / 1e6:.0f} MB: {ratio:.2f} times")
    assert ratio <= 1.5

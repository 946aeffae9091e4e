"""What thin data do to a policy, and to what is said of it, where the truth is known.

python -m pytest tests/benchmarks/test_trust.py -s
"""

import warnings

import gymnasium
import numpy as np
import pandas as pd
import pytest
from problems import from_environment, garnet, softened_optimum
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skmdp import MarkovPolicyEstimator
from skmdp._evaluation.horizon import TO_THE_END
from skmdp._evaluation.standard_errors import resample_values
from skmdp._scoring import UNCOVERED_WARNING
from skmdp.metrics import evaluate_policy
from skmdp.metrics._candidates import PolicyLogs
from skmdp.model_selection import EpisodeKFold

# Gymnasium counts up the version of an environment that it mends.
TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))


def environment(name):
    if name == "taxi":
        return from_environment(TAXI)
    full = {"lake": "FrozenLake-v1", "cliff": "CliffWalking-v1"}[name]
    return from_environment(full, is_slippery=True)


# ------------------------------------------------------------------ learning from thin data

LEARNERS = {
    "textbook": {},
    "prior auto": {"prior_strength": "auto"},
    "prior 5": {"prior_strength": 5},
    "min_count 5": {"min_count": 5},
    "pessimism .25": {"pessimism": 0.25},
    "pessimism .5": {"pessimism": 0.5},
    "auto + .25": {"prior_strength": "auto", "pessimism": 0.25},
    "auto + .5": {"prior_strength": "auto", "pessimism": 0.5},
    "auto + min 5": {"prior_strength": "auto", "min_count": 5},
}
LOG_SIZES = (10, 50, 200)
N_PROCESSES = 50
# The temperature of a softened optimum; an infinite one acts at random.
BEHAVIORS = {"random": np.inf, "softened optimum": 0.5}


def tail_mean(values, share=0.05):
    """Return the mean of the lowest share of the values (CVaR), the last of them in part."""
    weights = np.clip(share * len(values) - np.arange(len(values)), 0, 1)
    return weights @ np.sort(values) / weights.sum()


def standard_error_of_mean(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))


def improve_safely(log, n_states, n_actions, gamma, threshold=5):
    """Learn by SPIBB, Pi_<=b: pairs counted up to threshold times get no more than was logged.

    Dense policy iteration in the process of maximum likelihood (Laroche, Trichelair and Tachet des
    Combes, "Safe policy improvement with baseline bootstrapping", ICML 2019). Returns
    probabilities, (n_states, n_actions).
    """
    state, action = log["state"].to_numpy(), log["action"].to_numpy()
    following = log["next_state"].fillna(n_states).to_numpy(dtype=np.int64)  # one more for the end
    N = np.zeros((n_states, n_actions, n_states + 1))
    np.add.at(N, (state, action, following), 1)
    n = N.sum(axis=2)
    paid = np.zeros((n_states, n_actions))
    np.add.at(paid, (state, action), log["reward"].to_numpy())
    P = N[:, :, :n_states] / np.maximum(n, 1)[:, :, np.newaxis]
    R = paid / np.maximum(n, 1)
    behavior = n / np.maximum(n.sum(axis=1, keepdims=True), 1)
    most_logged = np.eye(n_actions)[n.sum(axis=0).argmax()]
    behavior[n.sum(axis=1) == 0] = most_logged
    caps = np.where(n > threshold, 1.0, behavior)
    policy = behavior
    for _ in range(1000):
        followed = np.einsum("sa,sat->st", policy, P)
        values = np.linalg.solve(np.eye(n_states) - gamma * followed, (policy * R).sum(axis=1))
        order = np.argsort(-(R + gamma * P @ values), axis=1, kind="stable")
        capped = np.take_along_axis(caps, order, axis=1)
        filled = np.clip(1 - (np.cumsum(capped, axis=1) - capped), 0, capped)
        improved = np.empty_like(policy)
        np.put_along_axis(improved, order, filled, axis=1)
        if np.allclose(improved, policy, atol=1e-9):
            break
        policy = improved
    return policy


def learn_all(problem, log):
    """Return what each learner deploys, in every state, by name."""
    fixed = {"gamma": problem.gamma, "handle_unknown": "most_frequent"}
    policies = {
        name: problem.deployed(MarkovPolicyEstimator(**fixed, **parameters).fit(log))
        for name, parameters in LEARNERS.items()
    }
    mdp = problem.mdp
    policies["SPIBB"] = improve_safely(log, mdp.n_states, mdp.n_actions, problem.gamma)
    return policies


def learned_values(behavior, n_episodes, max_steps, seeds):
    """Return the true discounted values of what each learner deploys, one row per process."""
    rows = []
    for seed in seeds:
        problem = garnet(seed, max_steps=max_steps)
        mdp, gamma = problem.mdp, problem.gamma
        logger = softened_optimum(mdp, gamma, BEHAVIORS[behavior])
        policies = learn_all(problem, problem.log(logger, n_episodes, seed))
        policies |= {"logged": logger, "optimal": softened_optimum(mdp, gamma, 1e-3)}
        rows.append({name: problem.value(it, gamma=gamma) for name, it in policies.items()})
    return pd.DataFrame(rows)


def summarize(values_by_size, share=0.05):
    """Return the mean, its gain on textbook with standard error, and the CVaR, by log size."""
    columns = {}
    for size, values in values_by_size.items():
        columns[size, "mean"] = values.mean()
        gain = values.sub(values["textbook"], axis=0)
        columns[size, "gain"] = gain.mean()
        columns[size, "its se"] = gain.apply(standard_error_of_mean)
        columns[size, "CVaR"] = values.apply(tail_mean, share=share)
    return pd.DataFrame(columns)


def show(title, table):
    print(f"\n{title}")
    print(table.to_string(float_format="{:.3f}".format))


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_prior_strength_auto_on_random_processes(behavior):
    """A new process for every log; value from the start, discounted, so that faster is better."""
    values = {n: learned_values(behavior, n, 50, range(N_PROCESSES)) for n in LOG_SIZES}
    table = summarize(values)
    show(f"garnet(50, 4, 4), {behavior}, at most 50 steps, {N_PROCESSES} processes", table)
    auto = table.loc["prior auto"]
    assert auto[10, "CVaR"] > table.loc["textbook"][10, "CVaR"]
    for n in LOG_SIZES:
        assert auto[n, "gain"] >= -auto[n, "its se"]


# Temperature of the behavior and sizes of the log.
ELSEWHERE = {
    "lake": (0.5, (20, 100, 500)),
    "cliff": (0.25, (10, 20, 100)),
    "taxi": (0.25, (50, 200)),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_prior_strength_auto_elsewhere(name):
    """Undiscounted value within the limit of steps (1000 on the cliff) over 20 logs."""
    problem, (temperature, sizes) = environment(name), ELSEWHERE[name]
    logger = softened_optimum(problem.mdp, problem.gamma, temperature)
    horizon = min(problem.max_steps, 1000)
    values = {}
    for n in sizes:
        learned = [learn_all(problem, problem.log(logger, n, seed)) for seed in range(20)]
        values[n] = pd.DataFrame(
            [{k: problem.value(v, horizon=horizon) for k, v in one.items()} for one in learned]
        )
    table = summarize(values, share=0.1)
    logged = problem.value(logger, horizon=horizon)
    show(f"{name}, logged {logged:.3f}, 20 logs, CVaR 10 %", table)
    for n in sizes:
        auto = table.loc["prior auto"]
        assert auto[n, "gain"] >= -auto[n, "its se"]
        assert auto[n, "CVaR"] >= table.loc["textbook"][n, "CVaR"]


# ------------------------------------------------------------------ intervals that can be believed

N_LOGS = 200
N_BOOTSTRAP = 200
# Logs on which the interval is compared with the bootstrap's.
N_WIDTHS = 10


def calibration_problems():
    """Return problems, with the behavior that logs each of them, by name.

    The random processes are cut off early, so that not every policy reaches the goal.
    """
    random = [garnet(seed, max_steps=15) for seed in range(10)]
    lake, cliff = [environment("lake")], [environment("cliff")]
    return {
        "garnet": (random, 1.0),
        "lake": (lake, 0.25),
        "lake, few rewards": (lake, 0.5),
        "cliff": (cliff, 0.25),
    }


def learn_once(problem, logger):
    """Learn a policy from a log of its own that has many rows of all that the policy does."""
    learner = MarkovPolicyEstimator(
        gamma=problem.gamma, min_count=20, handle_unknown="most_frequent"
    )
    return learner.fit(problem.log(logger, 2000, 12345))


def quietly(function, *arguments, **options):
    """Call a function whose warnings of thin support are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*arguments, **options)


def bootstrap_half_width(policy, log, seed):
    """Return half the width of the interval of the direct method by resampling episodes."""
    logs = PolicyLogs(
        log,
        [policy],
        methods=["dm"],
        columns=None,
        behavior=None,
        gamma=1.0,
        horizon=None,
        prior_strength="capped",
        regressor=None,
    )
    candidate = logs.candidate(policy)
    seeds = np.random.RandomState(seed).randint(2**31 - 1, size=N_BOOTSTRAP)
    draws = resample_values([candidate], ["dm"], seeds)[:, 0, 0]
    lower, upper = np.quantile(draws, [0.025, 0.975])
    return (upper - lower) / 2


def follow_as_asked(problem, policy, found):
    """Return the true value over the horizon of an evaluation, cut in the share of the cases."""
    deployed, cut = problem.deployed(policy), found.cut_share
    longest = found.horizon if cut == 1 else found.horizon // TO_THE_END
    to_the_end = problem.value(deployed, horizon=found.horizon)
    return (1 - cut) * to_the_end + cut * problem.value(deployed, horizon=longest)


def judge(problem, policy, log, seed):
    """Return what the direct method and WIS say of a policy on a log, beside the truth."""
    direct = quietly(evaluate_policy, policy, log, methods="dm")
    options = {"methods": "wis", "n_bootstrap": N_BOOTSTRAP, "random_state": seed}
    weighted = quietly(evaluate_policy, policy, log, **options).to_frame().iloc[0]
    estimate = direct.to_frame().iloc[0]
    truth = follow_as_asked(problem, policy, direct)
    return {
        "truth": truth,
        "untried": direct.untried_share,
        "dm error": estimate["value"] - truth,
        "dm half-width": (estimate["upper"] - estimate["lower"]) / 2,
        "dm covers": estimate["lower"] <= truth <= estimate["upper"],
        "wis error": weighted["value"] - truth,
        "wis half-width": (weighted["upper"] - weighted["lower"]) / 2,
        "wis covers": weighted["lower"] <= truth <= weighted["upper"],
        "wis size": weighted["effective_sample_size"],
    }


@pytest.mark.parametrize("n_episodes", [100, 400])
@pytest.mark.parametrize("name", ["garnet", "lake", "lake, few rewards", "cliff"])
def test_interval_of_the_direct_method(name, n_episodes):
    """Covers the truth on logs that hold what the policy does, and is no wider than need be."""
    problems, temperature = calibration_problems()[name]
    judged, widths = [], []
    for i, problem in enumerate(problems):
        logger = softened_optimum(problem.mdp, problem.gamma, temperature)
        policy = learn_once(problem, logger)
        for j in range(N_LOGS // len(problems)):
            seed = 1000 * i + j
            log = problem.log(logger, n_episodes, seed)
            judged.append(judge(problem, policy, log, seed))
            if j < N_WIDTHS // len(problems):
                bootstrap = bootstrap_half_width(policy, log, seed)
                widths.append((judged[-1]["dm half-width"], bootstrap))
    table = pd.DataFrame(judged)
    held = table[table["untried"] <= UNCOVERED_WARNING]
    covered = held["dm covers"].mean()
    analytic, bootstrap = np.mean(widths, axis=0)
    print(f"\n{name}, {n_episodes} episodes: {len(held)} of {len(table)} logs hold the policy")
    print(f"  (untried share {table['untried'].mean():.4f}, at most {table['untried'].max():.4f});")
    print(f"  truth {table['truth'].mean():.4g};")
    print(f"  dm: covers {covered:.3f} (all logs {table['dm covers'].mean():.3f}), bias ", end="")
    print(f"{held['dm error'].mean():+.4g}, RMSE {np.sqrt((held['dm error'] ** 2).mean()):.4g}, ")
    print(
        f"  half-width {held['dm half-width'].mean():.4g}; analytic {analytic:.4g} beside ", end=""
    )
    print(f"bootstrap {bootstrap:.4g}: {analytic / bootstrap:.3f} times")
    said = held[held["wis half-width"].notna()]
    print(f"  wis: NaN {held['wis error'].isna().mean():.3f}, no interval ", end="")
    print(f"{1 - len(said) / len(held):.3f}, covers {said['wis covers'].mean():.3f} of the rest, ")
    print(
        f"  bias {held['wis error'].mean():+.4g}, effective episodes {held['wis size'].mean():.1f}"
    )
    assert len(held) > 0
    assert covered >= 0.9
    assert analytic <= 1.3 * bootstrap


# ------------------------------------------------------------------ rewards that come rarely

N_CLICK_LOGS = 300
CLICK_RATE, N_OFFERS, N_VISITS = 0.004, 80, 10_000


def click_log(seed):
    """Log one offer to each visitor of three kinds; what is offered makes no difference."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "episode": np.arange(N_VISITS),
            "state": rng.integers(3, size=N_VISITS),
            "action": rng.integers(N_OFFERS, size=N_VISITS),
            "next_state": pd.array([None] * N_VISITS, dtype="Int64"),
            "reward": (rng.random(N_VISITS) < CLICK_RATE).astype(float),
        }
    )


def offers(how, seed):
    """Choose an offer for each kind: at random, or the one that did best in another log."""
    if how == "at random":
        return dict(enumerate(np.random.default_rng(seed).integers(N_OFFERS, size=3)))
    rates = click_log(seed).groupby(["state", "action"])["reward"].mean()
    return {state: of_state.idxmax()[1] for state, of_state in rates.groupby(level="state")}


@pytest.mark.parametrize("how", ["at random", "best elsewhere"])
def test_intervals_of_rare_rewards(how):
    """Of some 125 rows of a policy most logs show no click at all."""
    rows = []
    for seed in range(N_CLICK_LOGS):
        policy = offers(how, 10_000 + seed)
        options = {"methods": ("dm", "is", "wis"), "random_state": seed}
        table = quietly(evaluate_policy, policy, click_log(seed), **options).to_frame()
        rows.extend(
            {
                "method": one.method,
                "covers": one.lower <= CLICK_RATE <= one.upper,
                "difference": one.difference_lower <= 0 <= one.difference_upper,
                "half-width": (one.upper - one.lower) / 2,
                "error": one.standard_error,
                "value": one.value,
            }
            for one in table.itertuples()
        )
    by_method = pd.DataFrame(rows).groupby("method")
    table = by_method.mean().assign(spread=by_method["value"].std())
    print(f"\noffers {how}, {N_CLICK_LOGS} logs\n{table.to_string(float_format='{:.4f}'.format)}")
    assert (table[["covers", "difference"]] >= 0.88).all(axis=None)
    assert (table["error"] < 1.5 * table["spread"]).all()


# ------------------------------------------------------------------ choosing by the score

GRID = {"min_count": [0, 2, 5, 10], "prior_strength": [0, 1, 5, "auto"]}
# Temperature of the behavior, number of episodes to search on, number of searches.
SEARCHES = {
    "lake": (0.5, 200, 10),
    "taxi": (0.25, 200, 10),
    "garnet, random": (np.inf, 100, 50),
    "garnet, soft": (1.0, 100, 50),
    "garnet, less soft": (0.5, 100, 50),
}


def follow(problem, policy):
    """Return what a fitted policy truly earns within the limit of steps."""
    return problem.value(problem.deployed(policy), horizon=problem.max_steps)


@pytest.mark.parametrize("name", SEARCHES)
def test_search_by_the_score(name):
    """The chosen policy, refitted on the whole log, beside all candidates refitted likewise."""
    temperature, n_episodes, n_searches = SEARCHES[name]
    rows = []
    for seed in range(n_searches):
        is_random = name.startswith("garnet")
        problem = garnet(seed, max_steps=15) if is_random else environment(name)
        logger = softened_optimum(problem.mdp, problem.gamma, temperature)
        log = problem.log(logger, n_episodes, seed)
        learner = MarkovPolicyEstimator(gamma=problem.gamma, handle_unknown="most_frequent")
        search = GridSearchCV(learner, GRID, cv=EpisodeKFold(5))
        quietly(search.fit, log)
        candidates = [
            follow(problem, clone(learner).set_params(**parameters).fit(log))
            for parameters in search.cv_results_["params"]
        ]
        rows.append(
            {
                "chosen": follow(problem, search.best_estimator_),
                "average": np.mean(candidates),
                "best": max(candidates),
                "textbook": candidates[0],
                "logged": problem.value(logger, horizon=problem.max_steps),
                **search.best_params_,
            }
        )
    table = pd.DataFrame(rows)
    show(f"{name}, {n_episodes} episodes", table.head(10))
    means = table[["chosen", "average", "best", "textbook", "logged"]].mean()
    gain = table["chosen"] - table["average"]
    print(f"means of {n_searches} {means.round(4).to_dict()};")
    print(
        f"gain {gain.mean():.4f} +- {standard_error_of_mean(gain):.4f}, at least the average ",
        end="",
    )
    print(f"in {(gain >= 0).sum()}")
    assert means["chosen"] >= means["average"]

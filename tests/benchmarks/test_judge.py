"""Does the judge of policies tell the truth where logs hold raw measurements?

python -m pytest tests/benchmarks/test_judge.py -s

Each log is halved by episode. Candidates learn from one half, evaluators see the other half only,
and the truth is the mean return of that very policy in new episodes. Policies that earn exactly the
same in the same simulated episodes are the same, and count once for a log.
"""

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
from raw_processes import FAMILIES, returns_of
from scipy.special import ndtri
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skmdp.ensemble import PolicyBagging
from skmdp.metrics import compare_policies

N_EPISODES = 4000  # behind each truth
N_EPISODES_OF_HABIT = 20_000
MOST_UNSUPPORTED = 0.1
# Of one kind as those of the other families, but invented before any of their results was seen.
NEW = ("ward", "shop")
Z = float(ndtri(0.975))


# ------------------------------------------------------------------ policies and their judge


def quietly(function, *arguments, **options):
    """Call, and let pass what is said of doubtful policies: half of the candidates are meant so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*arguments, **options)


def true_returns(family, decide):
    return quietly(returns_of, family.process, decide, N_EPISODES, seed=99)


@functools.cache
def return_of_habit(name):
    """Return what the habit behind the logs earns, and its standard error."""
    family = FAMILIES[name]
    earned = returns_of(family.process, family.habit(5), N_EPISODES_OF_HABIT, seed=98)
    return earned.mean(), earned.std() / np.sqrt(len(earned))


def by_policy(policies, test, horizon, **options):
    """Return the estimates of policies beside the logged one, by name."""
    policies = {"logged": "behavior", **policies}
    table = quietly(compare_policies, policies, test, horizon=horizon, **options)
    return table.set_index("policy").drop(index="logged")


def judge_log(name, seed):
    """Return a row for each distinct policy that was learned from half of a log."""
    family = FAMILIES[name]
    log = family.log(seed)
    learns = (log["episode"] % 2 == 0).to_numpy()
    train, test = (log[half].reset_index(drop=True) for half in (learns, ~learns))
    policies, truth = {}, {}
    for candidate, made in family.candidates.items():
        is_rule = not hasattr(made, "fit")
        policy = made if is_rule else quietly(clone(made).fit, train)
        earned = true_returns(family, policy if is_rule else policy.predict)
        if earned.mean() not in truth.values():
            policies[candidate], truth[candidate] = policy, earned.mean()
            truth[candidate, "se"] = earned.std() / np.sqrt(len(earned))
    horizon = family.process.n_steps
    piped = {k: policy for k, policy in policies.items() if isinstance(policy, Pipeline)}
    fqe = by_policy(policies, test, horizon, methods="fqe")
    dm = by_policy(piped, test, horizon, methods="dm")
    score = by_policy(piped, test, horizon, methods="dm", prior_strength="auto")
    habit, habit_error = return_of_habit(name)
    table = pd.DataFrame(
        {
            "family": name,
            "log": seed,
            "is learned": [hasattr(policy, "fit") for policy in policies.values()],
            "is bagged": [isinstance(policy, PolicyBagging) for policy in policies.values()],
            "truth": [truth[k] for k in policies],
            "truth se": [truth[k, "se"] for k in policies],
            "fqe": fqe["value"],
            "fqe se": fqe["standard_error"],
            "better": fqe["difference_lower"] > 0,
            "difference": fqe["difference"],
            "unsupported": fqe["unsupported_share"],
            "dm": dm["value"],
            "dm se": dm["standard_error"],
            "dm better": dm["difference_lower"] > 0,
            "own score": score["value"],
            "one number": [
                quietly(policy.score, test) if hasattr(policy, "score") else np.nan
                for policy in policies.values()
            ],
            "habit": habit,
            "habit se": habit_error,
        },
        index=pd.Index(policies, name="policy"),
    )
    return table.reset_index()


@functools.cache
def judged(name):
    """Return a row for each distinct policy of each log of a family."""
    table = pd.concat([judge_log(name, seed) for seed in range(FAMILIES[name].n_logs)])
    gain = table["truth"] - table["habit"]
    noise = 2 * np.hypot(table["truth se"], table["habit se"])
    return table.assign(
        **{
            "gain": gain,
            "truly worse": gain < -noise,
            "truly better": gain > noise,
            "supported": table["unsupported"] < MOST_UNSUPPORTED,
            # What has no states of its own has no score in them.
            "smaller": np.fmin(table["fqe"], table["own score"]),
        }
    ).reset_index(drop=True)


# ------------------------------------------------------------------ how well it judges


def vetoed(table):
    """Return the smaller of score and fqe, with what is hardly supported last."""
    return table["smaller"].where(table["supported"], table["smaller"] - 1e9)


CRITERIA = {
    "smaller, veto": vetoed,
    "one number": lambda table: table["one number"],
    "own score": lambda table: table["own score"],
    "fqe": lambda table: table["fqe"],
}


def regret(table, criterion):
    """Return by how much the learned policy that a criterion picks is worse than the best one."""
    learned = table[table["is learned"]]
    return learned["truth"].max() - learned["truth"][criterion(learned).idxmax()]


def rank_correlation(table, criterion):
    """Return that of a criterion with the truth, over what it can tell of."""
    known = criterion(table).dropna()
    return spearmanr(known, table["truth"][known.index]).statistic


def accuracy(table, method):
    """Return the share of intervals with the truth in them, and the median absolute error."""
    error = (table[method] - table["truth"]).dropna().abs()
    noise = np.hypot(table[f"{method} se"], table["truth se"])
    return (error <= Z * noise[error.index]).mean(), error.median()


def claims(table, claimed):
    """Return how many of the truly worse are said to be better, and of the truly better."""
    known = table[claimed.notna()]
    claimed = claimed[known.index].astype(bool)
    worse, better = known["truly worse"], known["truly better"]
    return np.array([(claimed & worse).sum(), worse.sum(), (claimed & better).sum(), better.sum()])


def claims_of_fqe(table):
    return claims(table, table["better"] & table["supported"])


def as_text(counts):
    return "{} of {} worse, {} of {} better".format(*counts)


def figures(name):
    """Return the figures of a family, and print them."""
    table = judged(name)
    logs = [log for _, log in table.groupby("log")]
    by_criterion = pd.DataFrame(
        {
            "regret": {k: np.mean([regret(log, c) for log in logs]) for k, c in CRITERIA.items()},
            "rank": {
                k: np.mean([rank_correlation(log, c) for log in logs]) for k, c in CRITERIA.items()
            },
        }
    )
    supported = table[table["supported"]]
    coverage, error = accuracy(supported, "fqe")
    of_dm = accuracy(supported, "dm")
    learned = table[table["is learned"]].groupby("log")["truth"]
    new = ", new" if name in NEW else ""
    print(f"\n\n{name}{new}: {len(logs)} logs, {len(table)} policies, {len(supported)} supported")
    print(by_criterion.to_string(float_format="{:.2f}".format))
    print(f"random pick {(learned.max() - learned.mean()).mean():.2f}, ", end="")
    print(f"today's practice {learned.max().mean() - table['habit'].iloc[0]:.2f} below the best")
    print(f"fqe: coverage {coverage:.2f}, median error {error:.2f}; ", end="")
    print(f"dm {of_dm[0]:.2f}, {of_dm[1]:.2f}")
    gain = (supported["difference"] - supported["gain"]).abs().median()
    print(f"median error of the difference to the logged policy {gain:.2f}")
    print(f"said to be better by fqe: {as_text(claims_of_fqe(table))}; ", end="")
    print(f"by dm: {as_text(claims(table, table['dm better']))}")
    return {"coverage": coverage, "error": error, **by_criterion.loc["smaller, veto"]}


# ------------------------------------------------------------------ what it must show


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name):
    figures(name)


def test_claims_over_all_families():
    tables = [judged(name) for name in FAMILIES]
    counts = sum(map(claims_of_fqe, tables))
    print(f"\n\nall families, said to be better by fqe: {as_text(counts)}; ", end="")
    print(f"by dm: {as_text(sum(claims(table, table['dm better']) for table in tables))}")
    wrong = pd.concat(tables)
    wrong = wrong[wrong["better"] & wrong["supported"] & wrong["truly worse"]]
    columns = ["family", "log", "policy", "truth", "habit", "fqe", "fqe se", "difference"]
    print(wrong[columns].to_string(index=False, float_format="{:.1f}".format))
    assert counts[2] >= 0.8 * counts[3]


def test_averages_over_encoders_are_judged_as_any_policy():
    table = judged("fleet")
    bagged = table[table["is bagged"]]
    error = (bagged["fqe"] - bagged["truth"]) / bagged["fqe se"]
    print("\n\nfleet, averages over encoders: error in standard errors", error.round(1).tolist())

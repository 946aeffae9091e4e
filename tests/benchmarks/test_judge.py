"""Does the judge of policies tell the truth where logs hold raw measurements?

python -m pytest tests/benchmarks/test_judge.py -s

Each log is halved by episode. Candidates learn from one half, evaluators see the other half only,
and the truth is the mean return of that very policy in new episodes. Policies that earn exactly the
same in the same simulated episodes are the same, and count once for a log.
"""

import functools
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from raw_processes import FAMILIES, returns_of
from scipy.special import ndtri
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skmdp.ensemble import PolicyBagging
from skmdp.metrics import evaluate_policy, judge_encodings
from skmdp.model_selection import most_trusted

N_EPISODES = 2000  # behind each truth
N_EPISODES_OF_HABIT = 20_000
MOST_UNSUPPORTED = 0.1
# Invented before any figure of theirs was seen; the judge was not fitted to them.
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


def learn(name, train):
    """Return the distinct policies of a family, by name, and what each truly earns."""
    policies, truth = {}, {}
    for candidate, made in FAMILIES[name].candidates.items():
        is_rule = not hasattr(made, "fit")
        policy = made if is_rule else quietly(clone(made).fit, train)
        earned = true_returns(FAMILIES[name], policy if is_rule else policy.predict)
        mean = earned.mean()
        if all(mean != known["truth"] for known in truth.values()):
            policies[candidate] = policy
            truth[candidate] = {"truth": mean, "truth se": earned.std() / np.sqrt(len(earned))}
    return policies, truth


def judge_by_fqe(policy, test, horizon):
    """Return what is said of a policy by fqe."""
    result = quietly(evaluate_policy, policy, test, methods="fqe", horizon=horizon)
    (row,) = result.to_frame().to_dict("records")
    return {
        "fqe": row["value"],
        "fqe se": row["standard_error"],
        "difference": row["difference"],
        "better": result.is_better,
        "unsupported": result.unsupported_share,
    }


def judge_policy(policy, test, horizon):
    """Return what is said of a policy: by fqe, by dm in its own states, and to choose by."""
    said = judge_by_fqe(policy, test, horizon)
    if isinstance(policy, Pipeline):
        options = {"methods": "dm", "horizon": horizon}
        (row,) = quietly(evaluate_policy, policy, test, **options).to_frame().to_dict("records")
        own = quietly(evaluate_policy, policy, test, prior_strength="auto", **options)
        said |= {
            "dm": row["value"],
            "dm se": row["standard_error"],
            "dm better": row["difference_lower"] > 0,
            "own score": own.to_frame()["value"].iloc[0],
        }
    if hasattr(policy, "score"):
        accounts = quietly(judge_encodings, policy, test)
        said |= {f"mean_test_{name}": value for name, value in accounts.items()}
        said["one number"] = quietly(policy.score, test)
    return said


def halved(log):
    """Return the half of a log to learn from, and that to judge on."""
    learns = (log["episode"] % 2 == 0).to_numpy()
    return [log[half].reset_index(drop=True) for half in (learns, ~learns)]


def judge_log(name, seed):
    """Return a row for each distinct policy that was learned from half of a log."""
    train, test = halved(FAMILIES[name].log(seed))
    policies, truth = learn(name, train)
    horizon = FAMILIES[name].process.n_steps
    habit, habit_error = return_of_habit(name)
    return pd.DataFrame(
        {
            "family": name,
            "log": seed,
            "policy": candidate,
            "is learned": hasattr(policy, "fit"),
            "is bagged": isinstance(policy, PolicyBagging),
            "habit": habit,
            "habit se": habit_error,
            **truth[candidate],
            **judge_policy(policy, test, horizon),
        }
        for candidate, policy in policies.items()
    )


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


def trusted(table):
    """Return what is chosen by ``most_trusted`` before all others."""
    learned = table[table["is learned"]]
    chosen = most_trusted()({name: learned[name] for name in learned if "mean_test" in name})
    return pd.Series(table.index == learned.index[chosen], table.index, dtype=float)


CRITERIA = {
    "smaller, veto": vetoed,
    "most_trusted": trusted,
    "one number": lambda table: table["one number"],
    "own score": lambda table: table["own score"],
    "fqe": lambda table: table["fqe"],
}


def regret(table, criterion):
    """Return by how much the learned policy that a criterion picks is worse than the best one."""
    learned = table[table["is learned"]]
    return learned["truth"].max() - learned["truth"][quietly(criterion, learned).idxmax()]


def rank_correlation(table, criterion):
    """Return that of a criterion with the truth, over what it can tell of."""
    known = quietly(criterion, table).dropna()
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
                k: np.mean([rank_correlation(log, c) for log in logs])
                for k, c in CRITERIA.items()
                if c is not trusted
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
    print(f"said to be better by fqe: {as_text(claims(table, table['better']))}; ", end="")
    print(f"by dm: {as_text(claims(table, table['dm better']))}")
    own = by_criterion.loc["own score", "regret"]
    return {"coverage": coverage, "error": error, **by_criterion.loc["smaller, veto"], "own": own}


# ------------------------------------------------------------------ what it must show

# By family, of the criterion and of fqe on supported policies.
AIMS = {
    "fleet": {"regret": 8, "rank": 0.75, "coverage": 0.9, "error": 6},
    "intime": {"regret": 40, "coverage": 0.6},
    "lqr": {"rank": 0.9, "error": 9},
}
# What is held where an aim is missed. In 300 episodes of compressors some ten failures decide what
# good policies are worth, for all of them alike. Averages of rows have a standard error of about 14
# then, which is the least without further knowledge: over four of 40 other logs the median error is
# between 5 and 12 in nine cases of ten. Rewards by a logistic model, which is the true form of the
# risk of failure, would give 7.6 on these four logs, and 5.5 if it is known that run and service
# share that risk; the expected rewards themselves would give 4.9. More episodes help, see below.
HELD = {("fleet", "error"): 13}
# Episodes, as many as those above, with which the error is to be what is aimed at.
TIMES_AS_MANY = 4
# By how much more than by score alone, where score alone happens to choose right.
ROOM = {"lqr": 2}
IS_COST = {"regret": True, "rank": False, "coverage": False, "error": True}


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name):
    found = figures(name)
    for what, aim in AIMS.get(name, {}).items():
        sign = 1 if IS_COST[what] else -1
        is_met = sign * found[what] <= sign * aim
        print(f"{what} {found[what]:.2f}, aim {aim}{'' if is_met else ': missed'}")
        assert sign * found[what] <= sign * (aim if is_met else HELD.get((name, what), aim))
    # Nowhere is it worse to choose so than by the score in states alone.
    assert found["regret"] <= found["own"] + ROOM.get(name, 0)


def test_more_episodes_bring_the_error_of_the_fleet_down():
    family, rows = FAMILIES["fleet"], []
    n_episodes = TIMES_AS_MANY * family.n_episodes // 2
    for seed in range(family.n_logs):
        policies, truth = learn("fleet", halved(family.log(seed))[0])
        test = replace(family, n_episodes=n_episodes).log(100 + seed)
        for candidate, policy in policies.items():
            said = judge_by_fqe(policy, test, family.process.n_steps)
            rows.append({**truth[candidate], **said})
    table = pd.DataFrame(rows)
    coverage, error = accuracy(table[table["unsupported"] < MOST_UNSUPPORTED], "fqe")
    print(f"\n\nfleet, {n_episodes} episodes: coverage {coverage:.2f}, median error {error:.2f}")
    assert error <= AIMS["fleet"]["error"]
    assert coverage >= AIMS["fleet"]["coverage"]


def test_claims_over_all_families():
    table = pd.concat([judged(name) for name in FAMILIES], ignore_index=True)
    false, worse, found, better = claims(table, table["better"])
    print(f"\n\nall families, said to be better by fqe: {as_text([false, worse, found, better])}")
    print(f"by dm in the policy's own states: {as_text(claims(table, table['dm better']))}")
    wrong = table[table["better"] & table["truly worse"]]
    columns = ["family", "log", "policy", "truth", "habit", "fqe", "fqe se", "difference"]
    print(wrong[columns].to_string(index=False, float_format="{:.1f}".format))
    assert false <= 0.05 * worse
    assert found >= 0.8 * better


def test_averages_over_encoders_are_judged_as_any_policy():
    table = judged("fleet")
    bagged = table[table["is bagged"]]
    error = (bagged["fqe"] - bagged["truth"]) / bagged["fqe se"]
    print("\n\nfleet, averages over encoders: error in standard errors", error.round(1).tolist())
    assert len(bagged) == 8
    assert (error.abs() <= 2).all()

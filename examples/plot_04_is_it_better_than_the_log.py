"""
Is it better than what we do today?
===================================

A workshop looks after pumps. Every week a technician runs, services or overhauls each pump, and
once in a while tries a trick that works every other time. Some tricks were tried a few times and
happened to work: a policy learned from such a log bets on them. What does it promise, what would it
really earn, and can we tell before we deploy it?

We can. What a policy is worth in the model it was learned from, its promise, is too high. What it
is worth on other pumps than it was learned from is not, and the interval of its difference to the
log says whether to deploy it; but where the other pumps have few rows of what it advises, that
interval is too narrow, so ``is_better`` looks at the rows as well. A policy that advises only
actions with 20 rows (``min_count=20``; where none has so many, the most logged one) keeps its
promise. Here ``prior_strength="auto"`` hardly helps.

::

    python examples/plot_04_is_it_better_than_the_log.py figure.png

saves the figure; without a name it is shown. Needs matplotlib.
"""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import mdp_from_table, sample_transitions
from skmdp.inspection import policy_table
from skmdp.metrics import evaluate_policy
from skmdp.model_selection import train_test_split_episodes

# %%
# The truth, which nobody in the workshop knows, is a table of what each action leads to in each
# condition, and of how often the technicians take it (``habit``). Rewards are thousand euro a week.
outcomes = pd.read_csv(Path(__file__).parent / "data" / "pump_workshop.csv")
pumps = mdp_from_table(outcomes)
workshop = replace(pumps.mdp, initial_distribution=1.0 * (pumps.states == "new"))
states, actions = pumps.states[workshop.pair_state], pumps.actions[workshop.pair_action]
habits = outcomes.groupby(["state", "action"])["habit"].first().to_numpy()
N_WEEKS, N_PUMPS, N_LOGS = 26, 300, 20


def make_log(seed):
    """Return a season of all pumps, with labels instead of codes."""
    log = sample_transitions(workshop, habits, N_PUMPS, max_steps=N_WEEKS, random_state=seed)
    codes = log["next_state"].astype(int)
    log["state"], log["next_state"] = pumps.states[log["state"]], pumps.states[codes]
    return log.assign(action=pumps.actions[log["action"]])


def true_value(shares):
    """Return what a pump really earns in a season if actions are taken with these shares."""
    V = np.zeros(workshop.n_states)
    for _ in range(N_WEEKS):
        Q = workshop.rewards + workshop.expected_next_values(V)
        V = np.bincount(workshop.pair_state, shares * Q)
    return workshop.initial_distribution @ V


# %%
# Learn from one half of the pumps, ask for the estimate on both halves, and compute the truth. To
# ask on the rows that were learned from is not forbidden, but skmdp warns. The policy table shows
# what such a promise rests on: ``action_visits`` rows for the advised action.
CHOICES = {"textbook": {}, "auto": {"prior_strength": "auto"}, "min_count=20": {"min_count": 20}}
found = []
for seed in range(1 + N_LOGS):
    mine, others = train_test_split_episodes(make_log(seed), test_size=0.5, random_state=0)
    for name, parameters in CHOICES.items():
        policy = MarkovPolicyEstimator(gamma=0.95, **parameters).fit(mine)
        own = {"methods": "dm", "prior_strength": policy.prior_strength_}
        with warnings.catch_warnings(record=True, action="always") as caught:
            promise = evaluate_policy(policy, mine, **own)
            estimate = evaluate_policy(policy, others, methods="dm")
        row = pd.concat([promise.to_frame().add_prefix("promised_"), estimate.to_frame()], axis=1)
        truth = true_value(policy.predict(states) == actions)
        found.append(row.assign(policy=name, truth=truth, is_better=estimate.is_better))
        if seed == 0 and name == "textbook":
            print(f"warned: {caught[0].message}\n")
            print(policy_table(policy).round(1).to_string(index=False))
found, today = pd.concat(found).set_index("policy"), true_value(habits)

# %%
# The first log.
first, rest = found[: len(CHOICES)], found[len(CHOICES) :]
print("\nthousand euro per pump and season, beside the estimate on other pumps")
print(f"today: {first['behavior_value'].iloc[0]:.0f} in their log, {today:.0f} in truth")
shown = ["promised_value", "value", "lower", "upper", "truth"]
shown += ["difference", "difference_lower", "difference_upper"]
print(first[shown].round().astype(int).to_string())

# %%
# One log may be a fluke: the same with twenty others. On average the estimate is right, but where
# the other pumps tried the advised tricks a few times only, its interval misses the truth more
# often than the 5 % that it should. So ``is_better`` looks at the rows as well as at the interval.
verdicts = {
    "promise_above": rest["promised_lower"] > rest["truth"],  # with its whole interval
    "estimate_holds": rest["truth"].between(rest["lower"], rest["upper"]),
    "rightly_deployed": rest["is_better"] & (rest["truth"] > today),
    "wrongly_deployed": rest["is_better"] & (rest["truth"] <= today),
}
means = rest.groupby("policy", sort=False)[["promised_value", "value", "truth"]].mean()
counts = pd.DataFrame(verdicts).groupby("policy", sort=False).sum()
print(f"\n{N_LOGS} other logs: mean values, then in how many of them")
print(means.round().astype(int).join(counts).to_string())

# %%
# The promise of the textbook policy is far from the truth; the other pumps tell so.
figure, axes = plt.subplots(2, 1, figsize=(7, 4.4), sharex=True, layout="constrained")
for axis, name in zip(axes, ("textbook", "min_count=20"), strict=True):
    one = first.loc[name]
    for place, prefix, color in ((2, "promised_", "#D55E00"), (1, "", "#0072B2")):
        value, error = one[prefix + "value"], one[prefix + "value"] - one[prefix + "lower"]
        axis.errorbar(value, place, xerr=error, fmt="o", capsize=4, color=color)
    axis.plot(one["truth"], 0, "D", color="black")
    axis.axvline(today, color="0.5", linestyle="--", zorder=0)
    axis.set_title(f"{name}, {'better' if one['is_better'] else 'not shown better'}", loc="left")
    axis.set_yticks([2, 1, 0], ["promised by its model", "estimated on other pumps", "truth"])
    axis.set_ylim(-0.5, 2.5)
    axis.spines[["top", "right"]].set_visible(False)
axes[1].set_xlabel("thousand euro per pump and season\n(lines: 95 % intervals, dashed: today)")
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

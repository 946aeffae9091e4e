"""
Is it better than what we do today?
===================================

A workshop looks after pumps. Every week a technician runs, services or overhauls each pump, and
once in a while tries a trick that works every other time. Some tricks were tried a few times and
happened to work: a policy learned from such a log bets on them. What does it promise, what would it
really earn, and can we tell before we deploy it?

We can. What a policy is worth in the model it was learned from, its promise, is too rosy. What it
is worth on other pumps than it was learned from is not, and the interval of its difference to the
log says whether to deploy it; but where the other pumps have few rows of what it advises, that
interval is too narrow, so look at the rows as well. A policy that advises only what 20 rows speak
for (``min_count=20``; where nothing has so many, the most logged action) keeps its promise. Here
``prior_strength="auto"`` hardly helps.

::

    python examples/plot_04_is_it_better_than_the_log.py figure.png

saves the figure; without a name it is shown. Needs matplotlib.
"""

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import csr_array

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import sample_transitions
from skmdp.inspection import policy_table, supported
from skmdp.mdp import MDP
from skmdp.metrics import evaluate_policy

# %%
# The truth, which nobody in the workshop knows. A pump earns money unless it stalls; run, it wears.
# A service mostly mends one step of wear; an overhaul, or a trick that works, makes it new; a trick
# that fails stalls it.
CONDITIONS = np.array(["new", "smooth", "humming", "rattling", "leaking", "stalled"], dtype=object)
TRICKS = ["flush", "grease", "rebalance", "reseal", "retune", "shim"]
ACTIONS = np.array(["run", "service", "overhaul", *TRICKS], dtype=object)
EARNS = [10, 10, 9, 7, 4, 0]  # thousand euro a week
N_WEEKS, N_PUMPS = 26, 300
NEW, STALLED = 0, 5

P = np.zeros((6, len(ACTIONS), 6))  # where nothing is filled in, nobody would do that
R = np.zeros((6, len(ACTIONS)))
for worn in range(STALLED):
    stalls = 0.1 if worn >= 3 else 0.0
    P[worn, 0, [worn, worn + 1]] = 0.6, 0.4 - stalls
    P[worn, 0, STALLED] += stalls
    R[worn, 0] = EARNS[worn]
    P[worn, 1, worn] += 0.3
    P[worn, 1, max(worn - 1, NEW)] += 0.7
    R[worn, 1] = EARNS[worn] - 4
    P[worn, 2, NEW], R[worn, 2] = 1, -10
    if worn > NEW:
        P[worn, 3:, NEW] = P[worn, 3:, STALLED] = 0.5
        R[worn, 3:] = EARNS[worn] - 1
P[STALLED, 2, NEW], R[STALLED, 2] = 1, -30

# What the technicians do: they run the smooth, mend the others by and by, and try a trick in every
# twentieth decision on a worn pump.
habits = np.zeros((6, len(ACTIONS)))
habits[:, 0] = [0.95, 0.9, 0.6, 0.5, 0.3, 0]
habits[:, 1] = [0.05, 0.1, 0.4, 0.4, 0.2, 0]
habits[:, 2] = [0, 0, 0, 0.1, 0.5, 1]
habits[1:STALLED] *= 0.95
habits[1:STALLED, 3:] = 0.05 / len(TRICKS)

possible = P.any(axis=2)
state, action = np.nonzero(possible)
workshop = MDP(
    transitions=csr_array(P[possible]),
    rewards=R[possible],
    pair_state=state,
    pair_action=action,
    n_states=6,
    n_actions=len(ACTIONS),
    initial_distribution=np.eye(6)[NEW],
)


def make_log(seed):
    """Return a season of all pumps, with labels instead of codes."""
    log = sample_transitions(workshop, habits, N_PUMPS, max_steps=N_WEEKS, random_state=seed)
    log["state"] = CONDITIONS[log["state"]]
    log["next_state"] = CONDITIONS[log["next_state"].astype(int)]
    log["action"] = ACTIONS[log["action"]]
    return log


def true_value(shares):
    """Return what a pump really earns in a season if actions are taken with these shares."""
    V = np.zeros(6)
    for _ in range(N_WEEKS):
        V = (shares * (R + P @ V)).sum(axis=1)
    return V[NEW]


# %%
# Learn from one half of the pumps, ask for the estimate on both halves, and compute the truth.
CHOICES = {"textbook": {}, "auto": {"prior_strength": "auto"}, "min_count=20": {"min_count": 20}}


def halves(log):
    """Return the rows of the first half of the pumps, and of the others."""
    is_first = log["episode"] < N_PUMPS // 2
    return log[is_first], log[~is_first]


def study(log, parameters):
    """Return a policy, what it promises, the estimate on other pumps, the truth, and warnings."""
    mine, others = halves(log)
    policy = MarkovPolicyEstimator(gamma=0.95, **parameters).fit(mine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        promise = evaluate_policy(
            policy, mine, methods="dm", prior_strength=policy.prior_strength_
        ).to_frame()
        estimate = evaluate_policy(policy, others, methods="dm").to_frame()
    truth = true_value(policy.predict(CONDITIONS)[:, np.newaxis] == ACTIONS)
    return policy, promise.loc[0], estimate.loc[0], truth, [str(one.message) for one in caught]


log = make_log(seed=0)
studies = {name: study(log, parameters) for name, parameters in CHOICES.items()}
today = true_value(habits)
logged = studies["textbook"][2]
print("thousand euro per pump and season")
print(f"today: {logged['behavior_value']:.0f} in the log of the other pumps, {today:.0f} in truth")
print("policy        promised  on other pumps   truth  difference to today, on other pumps")
for name, (_, promise, estimate, truth, _) in studies.items():
    print(
        f"{name:13} {promise['value']:8.0f}  {estimate['value']:4.0f} "
        f"({estimate['lower']:.0f} to {estimate['upper']:.0f}) {truth:6.0f}  "
        f"{estimate['difference']:+4.0f} "
        f"({estimate['difference_lower']:+.0f} to {estimate['difference_upper']:+.0f})"
    )

# %%
# To ask for the promise is not forbidden, but skmdp warns. The policy table shows what the promise
# rests on: ``action_visits`` rows for the advised action.
print("\nwarned:", *studies["textbook"][4])
columns = ["state", "action", "value", "margin", "action_visits", "state_visits"]
for name in ("textbook", "min_count=20"):
    policy = studies[name][0]
    rows = supported(policy, halves(log)[1])["action_visits"]
    print(f"\n{name}: advice that rests on fewer than 20 rows ", end="")
    print(f"in {(rows < 20).mean():.0%} of the weeks of the other pumps")
    print(policy_table(policy)[columns].round(1).to_string(index=False))

# %%
# One log may be a fluke: the same with twenty other logs. On average the estimate is right, but
# where the other pumps tried the advised tricks a few times only, its interval misses the truth
# more often than the 5 % that it should. Look at the rows first, then at the interval.
N_LOGS = 20
means, counts = {}, {}
for name, parameters in CHOICES.items():
    values, verdicts = [], []
    for seed in range(1, N_LOGS + 1):
        _, promise, estimate, truth, _ = study(make_log(seed), parameters)
        values.append((promise["value"], estimate["value"], truth))
        deploy = estimate["difference_lower"] > 0
        verdicts.append(
            (
                promise["lower"] > truth,  # beyond its own interval
                estimate["lower"] <= truth <= estimate["upper"],
                deploy and truth > today,
                deploy and truth <= today,
            )
        )
    means[name], counts[name] = np.mean(values, axis=0), np.sum(verdicts, axis=0)
print(f"\n{N_LOGS} other logs: mean values, then how many logs (deploy: the interval of the")
print("difference to today is above 0)")
print("policy        promised  on other pumps  truth   promise    estimate  deploy,  deploy,")
print("                                                too rosy   holds     better   worse")
for name in CHOICES:
    promised, estimated, truth = means[name]
    rosy, holds, rightly, wrongly = counts[name]
    print(
        f"{name:13} {promised:8.0f}  {estimated:14.0f} {truth:6.0f} "
        f"{rosy:10} {holds:10} {rightly:9} {wrongly:8}"
    )

# %%
# The promise of the textbook policy is far from the truth; the other pumps tell so.
COLORS = {"promised by its model": "#D55E00", "estimated on other pumps": "#0072B2"}
figure, axes = plt.subplots(
    2, 2, figsize=(9, 4.4), sharex="col", sharey=True, width_ratios=[3, 2], layout="constrained"
)
for (left, right), (name, title) in zip(
    axes,
    {"textbook": "textbook policy", "min_count=20": "policy with min_count=20"}.items(),
    strict=True,
):
    _, promise, estimate, truth, _ = studies[name]
    for place, found, color in zip((2, 1), (promise, estimate), COLORS.values(), strict=True):
        error = found["value"] - found["lower"]
        left.errorbar(found["value"], place, xerr=error, fmt="o", capsize=4, color=color)
    gain, error = estimate["difference"], estimate["difference"] - estimate["difference_lower"]
    right.errorbar(gain, 1, xerr=error, fmt="o", capsize=4, color=color)
    left.plot(truth, 0, "D", color="black")
    right.plot(truth - today, 0, "D", color="black")
    left.axvline(today, color="0.5", linestyle="--", zorder=0)
    right.axvline(0, color="0.5", linestyle="--", zorder=0)
    left.set_title(title, loc="left", fontweight="bold")
    left.text(today - 1, 2.2, "today", color="0.4", ha="right")
    verdict = "better: deploy it" if gain > error else "not shown better: do not deploy"
    right.set_title(verdict, loc="left", fontsize="medium")
    for axis in (left, right):
        axis.set_yticks([2, 1, 0], [*COLORS, "truth"])
        axis.set_ylim(-0.5, 2.5)
        axis.spines[["top", "right"]].set_visible(False)
axes[1, 0].set_xlabel("thousand euro per pump and season\n(lines: 95 % intervals)")
axes[1, 1].set_xlabel("more than today,\nthousand euro per pump and season")
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

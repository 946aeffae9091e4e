"""
Crossing a frozen lake after watching others stumble
====================================================

Somebody walked at random over a slippery lake, 16 fields with four holes, and hardly ever reached
the other side. How good is the policy that such a log supports, and how much log does it take?

::

    python examples/plot_03_frozen_lake_from_a_log.py figure.png

saves the figure; without a name it is shown. Needs gymnasium and matplotlib.
"""

import sys

import gymnasium
import matplotlib.pyplot as plt
import numpy as np

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import collect_transitions

# %%
# The environment tells its transition probabilities, so success can be computed rather than
# simulated: follow the distribution over fields for the 100 steps that an episode may last.
env = gymnasium.make("FrozenLake-v1")
N_FIELDS, N_MOVES, N_STEPS = 16, 4, 100
P = np.zeros((N_FIELDS, N_MOVES, N_FIELDS))
goal = np.zeros((N_FIELDS, N_MOVES))
for field, moves in env.unwrapped.P.items():
    for move, outcomes in moves.items():
        for probability, following, reward, ends in outcomes:
            goal[field, move] += probability * reward
            P[field, move, following] += probability * (not ends)


def success_rate(actions):
    """Return the probability of reaching the goal within an episode."""
    rows = np.arange(N_FIELDS)
    V = np.zeros(N_FIELDS)
    for _ in range(N_STEPS):
        V = goal[rows, actions] + P[rows, actions] @ V
    return V[0]


# %%
# The best that any policy can do, by backward induction over the 100 steps.
V = np.zeros(N_FIELDS)
for _ in range(N_STEPS):
    V = (goal + P @ V).max(axis=1)
optimum = V[0]

# %%
# Watch more and more random walks, ten logs of each size.
sizes = [100, 300, 1000, 3000]
rates = {size: [] for size in sizes}
for seed in range(10):
    log = collect_transitions(env, n_episodes=max(sizes), random_state=seed)
    for size in sizes:
        policy = MarkovPolicyEstimator(gamma=0.99, handle_unknown="most_frequent")
        policy.fit(log[log["episode"] < size])
        rates[size].append(success_rate(policy.predict(range(N_FIELDS))))
walker = log.groupby("episode")["reward"].sum().mean()

print(f"random walk         {walker:.3f}")
for size in sizes:
    print(
        f"learned from {size:6d} {np.mean(rates[size]):.3f}  "
        f"(worst of 10 logs {min(rates[size]):.3f})"
    )
print(f"optimum             {optimum:.3f}")

# %%
# A few thousand failures are enough to learn a way across that is nearly optimal.
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for size in sizes:
    axes.plot([size] * 10, rates[size], "o", color="tab:blue", alpha=0.35, markeredgewidth=0)
axes.plot(sizes, [np.mean(rates[size]) for size in sizes], color="tab:blue", label="learned (mean)")
axes.axhline(optimum, color="0.3", linestyle="--", label="optimum")
axes.axhline(walker, color="tab:orange", linestyle=":", label="the random walk itself")
axes.set_xscale("log")
axes.set_xticks(sizes, [str(size) for size in sizes])
axes.minorticks_off()
axes.set_xlabel("episodes in the log")
axes.set_ylabel("probability of reaching the goal")
axes.set_ylim(0, 1)
axes.set_title("FrozenLake, learned from random walks")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

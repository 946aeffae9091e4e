"""
Learning to search from other people's searches
===============================================

Can a policy learned from random, linear and binary searches find a number in a sorted array faster
than binary search? The numbers are exponentially distributed, so most of them are small; binary
search does not know that, but a log does.

::

    python examples/plot_02_learning_to_search.py figure.png

saves the figure; without a name it is shown.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_search_log, run_search

# %%
# Learn from 50,000 searches. The state is what a searcher knows: where it is, whether the target
# lies up or down, between which ends, and whether it is above the mean. Each step costs 1.
log = make_search_log(50_000, random_state=0)
policy = MarkovPolicyEstimator(gamma=0.9, handle_unknown="most_frequent").fit(log)
print(f"{len(log)} steps, {len(policy.states_)} states, {len(policy.actions_)} actions")

# %%
# Let all four search 10,000 fresh arrays. As in the talk, a search that starts on its target is
# counted as a search of a random kind.
searchers = {"random": "random", "linear": "linear", "binary": "binary", "learned": policy}
steps = {
    name: run_search(searcher, 10_000, replace_found=True, random_state=1)
    for name, searcher in searchers.items()
}
means = np.array([taken.mean() for taken in steps.values()])
errors = np.array([taken.std() / np.sqrt(len(taken)) for taken in steps.values()])
for name, mean, error in zip(steps, means, errors, strict=True):
    print(f"{name:8} {mean:6.2f} steps (standard error {error:.2f})")
print(f"given up after 1000 steps: {(steps['learned'] == 1000).sum()} of the learned searches")

# %%
# The learned searcher is the fastest.
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
colors = ["0.7", "0.7", "0.7", "tab:blue"]
bars = axes.barh(list(steps), means, xerr=2 * errors, color=colors)
axes.bar_label(bars, labels=[f"{mean:.2f}" for mean in means], padding=6)
axes.set_xlim(0, means.max() * 1.12)
axes.set_xlabel("mean steps to the target in 15 places (lines: two standard errors)")
axes.set_title("A policy learned from a log of searches")
axes.spines[["top", "right"]].set_visible(False)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

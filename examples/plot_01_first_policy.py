"""
A first policy from a table
===========================

What should be done in each state, and would that have been better than what was done?

Give any CSV with the columns ``episode``, ``state``, ``action``, ``next_state`` and ``reward``::

    python examples/plot_01_first_policy.py table.csv

Without one, the five-state climbing log is used.
"""

import sys
import warnings

import pandas as pd
from sklearn.model_selection import GridSearchCV

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb
from skmdp.inspection import policy_table
from skmdp.model_selection import EpisodeKFold

# %%
# Read the log, one row per decision, and put a fifth of its episodes aside.
log = pd.read_csv(sys.argv[1]) if len(sys.argv) > 1 else load_climb()
n_folds = min(5, log["episode"].nunique())
train, test = next(EpisodeKFold(n_folds, shuffle=True, random_state=0).split(log))
held_out = log.iloc[test]

# %%
# A policy looks good on the log it was learned from, above all where it bets on what was seen
# once. So let cross-validation say how often an action must have been tried to be advised.
most_rows = log.iloc[train].groupby(["state", "action"]).size().max()
grid = {"min_count": [count for count in (0, 5, 10, 20, 50) if count <= most_rows / 2]}
folds = EpisodeKFold(max(2, n_folds - 1))
search = GridSearchCV(
    MarkovPolicyEstimator(gamma=0.9, handle_unknown="most_frequent"), grid, cv=folds
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # candidates that the folds do not support: they score low
    policy = search.fit(log.iloc[train]).best_estimator_

# %%
# Look at what was learned.
print(f"rows      {len(log)}")
print(f"episodes  {log['episode'].nunique()}")
print(f"states    {len(policy.states_)}")
print(f"actions   {len(policy.actions_)}: {', '.join(map(str, policy.actions_))}")
print(f"\nThe policy (min_count={policy.min_count}), most visited states first;")
print("margin is the gain over the next best action:\n")
table = policy_table(policy).sort_values("state_visits", ascending=False, kind="stable")
print(table.head(12).round(3).to_string(index=False))
if len(table) > 12:
    print(f"... and {len(table) - 12} more states")

# %%
# Estimate what it would have earned on the episodes put aside.
n_held_out = held_out["episode"].nunique()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    score = policy.score(held_out)
print(f"\nReward per episode on {n_held_out} held-out episode(s):")
print(f"as logged           {held_out['reward'].sum() / n_held_out:8.3f}")
print(f"learned (estimate)  {score:8.3f}")
for warning in caught:
    print(f"\nNote: {warning.message}")

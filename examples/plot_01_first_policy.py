"""
A first policy from a table
===========================

What should be done in each state, and would that have been better than what was done?

Give any CSV with one row per decision, and say what its columns are called::

    python examples/plot_01_first_policy.py table.csv --state age stage --action drug \
        --reward outcome --episode patient

Columns that are called ``episode``, ``state``, ``action`` and ``reward`` need no word. Without a
file, the books of a workshop are used.
"""

import argparse

import pandas as pd

from skmdp import MarkovPolicyCV
from skmdp.datasets import make_maintenance_log
from skmdp.inspection import policy_table

parser = argparse.ArgumentParser(description="Learn a policy from a CSV of decisions.")
parser.add_argument("csv", nargs="?", help="one row per decision")
parser.add_argument("--state", nargs="+", default=["state"], help="column(s) of the state")
for role in ("action", "reward", "episode"):
    parser.add_argument(f"--{role}", default=role, help=f"column of the {role}")
parser.add_argument("--gamma", type=float, default=0.95, help="discount per decision")
asked = parser.parse_args()

# %%
# Read the log, and look whether it has the columns that were named.
if asked.csv is None:
    log = make_maintenance_log(150, random_state=0)
    asked.state, asked.reward, asked.episode = ["condition"], "profit", "machine"
else:
    log = pd.read_csv(asked.csv)
named = {"--state": asked.state, "--action": [asked.action], "--reward": [asked.reward]}
named["--episode"] = [asked.episode]
for option, names in named.items():
    if absent := [name for name in names if name not in log.columns]:
        parser.error(
            f"the table has no column {', '.join(absent)}; it has {', '.join(log.columns)}. "
            f"Say {option} and the name."
        )

# %%
# Learn on the whole log. How far thin data may be trusted is chosen on held-out episodes, and so is
# told what the policy would have earned there beside what was earned.
policy = MarkovPolicyCV(
    state=asked.state if len(asked.state) > 1 else asked.state[0],
    action=asked.action,
    reward=asked.reward,
    episode=asked.episode,
    gamma=asked.gamma,
).fit(log)
print(policy.summary())

# %%
# Look at what was learned, the most visited states first.
table = policy_table(policy).sort_values("state_visits", ascending=False, kind="stable")
print(f"\n{table.head(12).round(3).to_string(index=False)}")
if len(table) > 12:
    print(f"... and {len(table) - 12} more states")

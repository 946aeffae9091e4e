"""
From a messy log to a decision
==============================

The books of a workshop have faults: one condition is written in two ways, and some months were
entered twice. What is wrong with them, what should be done with the machines, and is that better
than what the crews do today, or than the rule of the foreman?

Both are better than today, and they are worth the same: they differ in bad machines only, which are
rare once the worn ones are serviced. So the foreman's rule will do.

::

    python examples/plot_09_from_messy_log_to_decision.py figure.png report.html

saves the figure and a report; without names the figure is shown. Needs matplotlib.
"""

import sys

import matplotlib.pyplot as plt
import pandas as pd

from skmdp import MarkovPolicyCV
from skmdp.datasets import make_maintenance_log
from skmdp.export import to_rules
from skmdp.inspection import action_table, audit
from skmdp.metrics import compare_policies
from skmdp.model_selection import train_test_split_episodes
from skmdp.report import write_report

# %%
# Two clerks keep the books, and one of them writes "Worn". Forty months were entered twice.
table = make_maintenance_log(300, random_state=0)
for column in ("condition", "next_condition"):
    of_one = (table["machine"] % 10 == 7) & (table[column] == "worn")
    table[column] = table[column].mask(of_one, "Worn")
table = pd.concat([table, table.sample(40, random_state=0)], ignore_index=True)

# %%
# An audit lists what is wrong, and how to mend it. Not every mend is right for every log: here a
# month that stands twice is a copy, so one of the two is dropped.
names = {"episode": "machine", "state": "condition", "reward": "profit"}
found = audit(table, columns={**names, "step": "month"})
print(found.to_frame()[["severity", "kind", "n_rows"]].to_string(index=False))
for column in ("condition", "next_condition"):
    table[column] = table[column].replace({"Worn": "worn"})
table = table.drop_duplicates().sort_values(["machine", "month"], ignore_index=True)
found = audit(table, columns={**names, "step": "month"})
print(f"\nmended:\n{found}")

# %%
# Learn on two thirds of the machines. Ask the others what the policy, the rule and today's
# decisions are worth.
train, test = train_test_split_episodes(table, test_size=100, episode="machine", random_state=0)
policy = MarkovPolicyCV(**names, gamma=0.95).fit(train)
rule = dict.fromkeys(["new", "good"], "run") | {"worn": "service"}
rule |= dict.fromkeys(["bad", "broken"], "replace")
judged = compare_policies(
    {"today": "behavior", "rule": rule, "learned": policy}, test, methods="dm", columns=names
)
columns = ["policy", "value", "lower", "upper", "difference_lower", "difference_upper"]
print(f"\n{to_rules(policy)}\n")
print(judged[columns].round(1).to_string(index=False))

# %%
# What each action is worth in each condition, and what the three ways to decide earn.
ORDER = ["new", "good", "worn", "bad", "broken"]
STYLES = {  # colors and markers that all eyes can tell apart
    "run": ("#0072B2", "o"),
    "service": ("#009E73", "s"),
    "replace": ("#D55E00", "^"),
    "repair": ("black", "v"),
}
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9.5, 3.6), width_ratios=[3, 2], layout="constrained"
)
actions = action_table(policy)
for i, (action, (color, marker)) in enumerate(STYLES.items()):
    rows = actions[actions["action"] == action]
    places = rows["condition"].map(ORDER.index) + 0.12 * (i - 1.5)
    error = 1.96 * rows["standard_error"]
    left.errorbar(places, rows["q"], error, fmt=marker, color=color, capsize=3, label=action)
    best = rows["is_advised"]
    left.scatter(places[best], rows["q"][best], s=170, facecolors="none", edgecolors=color)
left.set_xticks(range(5), ORDER)
left.set(
    xlabel="condition of the machine\n(lines: 95 % intervals)",
    ylabel="profit from now on, discounted",
)
left.set_title("What each action is worth (circle: advised)", loc="left", fontsize="medium")
left.legend(frameon=False, ncols=2)
error = judged["value"] - judged["lower"]
right.errorbar(judged["value"], range(3), xerr=error, fmt="o", capsize=4, color="black")
right.axvline(judged["value"][0], color="0.6", linestyle="--", zorder=0)
right.set_yticks(range(3), ["what is done today", "the foreman's rule", "the learned policy"])
right.set(ylim=(2.5, -0.5), xlabel="thousand per machine in two years\n(lines: 95 % intervals)")
right.set_title("What is earned on 100 other machines", loc="left", fontsize="medium")
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

# %%
# Hand it on: one page that opens in any browser, and needs nothing else.
if len(sys.argv) > 2:
    write_report(policy, sys.argv[2], test, policies={"rule": rule}, title="Machines")

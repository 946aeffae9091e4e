"""
Thin data: which knob, and how much does it help?
=================================================

With a few episodes most pairs of state and action were seen once or twice, and a textbook policy
believes each of them. How much better are policies learned with ``prior_strength="auto"``, with
``min_count=5`` or with ``pessimism=0.25``, and how long does it matter?

It depends on who made the log. If half of its decisions were the best ones, staying with what is
usual where rows are few (``min_count=5``, or less so ``prior_strength="auto"``) is much better than
believing every row, most of all where luck was bad. If the log was made at random, nothing is
usual: with 10 or 20 episodes ``min_count=5`` is by far the worst choice, while
``prior_strength="auto"`` still helps. ``pessimism=0.25`` changes little, and with 10 episodes not
for the better. With a few hundred episodes all of them come close to the optimum.

::

    python examples/plot_05_thin_data.py figure.png

saves the figure; without a name it is shown. A number after the name says how many processes to
draw, 24 if there is none. Needs matplotlib.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_garnet, sample_transitions
from skmdp.solvers import modified_policy_iteration

# %%
# Draw random processes with a goal: the sooner it is reached, the better. Their truth is known, so
# the value of any policy is the solution of a linear system.
N_PROCESSES = int(sys.argv[2]) if len(sys.argv) > 2 else 24
N_STATES, N_ACTIONS, N_STEPS, GAMMA = 50, 4, 50, 0.95


def true_value(mdp, shares):
    """Return the discounted reward from the start of taking actions with these shares."""
    P = mdp.transitions.toarray().reshape(N_STATES, N_ACTIONS, N_STATES)
    R = mdp.rewards.reshape(N_STATES, N_ACTIONS)
    P, R = np.einsum("sa,sat->st", shares, P), (shares * R).sum(axis=1)
    return np.linalg.solve(np.eye(N_STATES) - GAMMA * P, R)[0]


def best_actions(mdp):
    """Return the optimal policy, one-hot."""
    Q = modified_policy_iteration(mdp, GAMMA).q_values.reshape(N_STATES, N_ACTIONS)
    return np.eye(N_ACTIONS)[Q.argmax(axis=1)]


# %%
# Learn from logs of growing size, of two kinds: one by somebody who acts at random, one by somebody
# who does the best thing in half of the cases, and acts at random in the others. Processes differ
# in what there is to gain, so all values are put on one scale: 0 is the logged policy, 100 the
# optimum.
SIZES = [10, 20, 50, 100, 200, 500]
LOGS = {"random decisions": 0.0, "decisions half random, half optimal": 0.5}
KNOBS = {
    "textbook": {},
    'prior_strength="auto"': {"prior_strength": "auto"},
    "min_count=5": {"min_count": 5},
    "pessimism=0.25": {"pessimism": 0.25},
}

gains = {(kind, knob): np.zeros((N_PROCESSES, len(SIZES))) for kind in LOGS for knob in KNOBS}
for kind, skill in LOGS.items():
    for seed in range(N_PROCESSES):
        mdp = make_garnet(N_STATES, N_ACTIONS, 4, random_state=seed)
        best = best_actions(mdp)
        behavior = skill * best + (1 - skill) / N_ACTIONS
        log = sample_transitions(mdp, behavior, max(SIZES), max_steps=N_STEPS, random_state=seed)
        logged, optimum = true_value(mdp, behavior), true_value(mdp, best)
        for i, size in enumerate(SIZES):
            rows = log[log["episode"] < size]
            for knob, parameters in KNOBS.items():
                policy = MarkovPolicyEstimator(
                    gamma=GAMMA, handle_unknown="most_frequent", **parameters
                ).fit(rows)
                actions = np.eye(N_ACTIONS)[policy.predict(range(N_STATES))]
                gain = (true_value(mdp, actions) - logged) / (optimum - logged)
                gains[kind, knob][seed, i] = 100 * gain

# %%
# One in ten of the policies is worse than the 10 % quantile.
means = {key: values.mean(axis=0) for key, values in gains.items()}
unlucky = {key: np.quantile(values, 0.1, axis=0) for key, values in gains.items()}
for kind in LOGS:
    print(f"Logs of {kind}: gain over the log, % of what is possible, mean (one in ten is below)")
    print(f"{'episodes':22}" + "".join(f"{size:>12}" for size in SIZES))
    for knob in KNOBS:
        pairs = zip(means[kind, knob], unlucky[kind, knob], strict=True)
        print(f"{knob:22}" + "".join(f"{f'{mean:.0f} ({low:.0f})':>12}" for mean, low in pairs))

# %%
# With a log of good decisions, believing every row costs most where rows are few and luck was bad.
STYLES = {  # colors and markers that all eyes can tell apart
    "textbook": ("black", "o"),
    'prior_strength="auto"': ("#0072B2", "s"),
    "min_count=5": ("#D55E00", "^"),
    "pessimism=0.25": ("#CC79A7", "v"),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, sharey=True, layout="constrained")
for column, kind in enumerate(LOGS):
    for axis, found in zip(axes[:, column], (means, unlucky), strict=True):
        for knob, (color, marker) in STYLES.items():
            axis.plot(SIZES, found[kind, knob], color=color, marker=marker, label=knob)
        for height, name in ((100, "optimum"), (0, "logged policy")):
            axis.axhline(height, color="0.5", linestyle="--", zorder=0)
            axis.text(SIZES[-1], height + 2, name, color="0.4", ha="right", va="bottom")
        axis.set_xscale("log")
        axis.set_xticks(SIZES, [str(size) for size in SIZES])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, column].set_title(f"Log of {kind}")
    axes[1, column].set_xlabel("episodes in the log")
axes[0, 0].set_ylim(top=118)  # of all, once the lines are there
axes[0, 0].set_ylabel("mean gain (% of the possible)")
axes[1, 0].set_ylabel("gain that one in ten misses\n(% of the possible)")
figure.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

"""
Solvers: how soon is an answer proven?
======================================

A solver of ``skmdp.solvers`` knows at all times how far its values can be from the optimal ones.
This draws that proven bound against CPU time, for three processes:

- *mixing*: from every state one soon gets anywhere. All values soon rise alike, and only their
  differences need work.
- *grid*: a walk with slippery floor to one goal. What the goal pays is only known next to it at
  first.
- *log*: what a log leaves behind. Most pairs of state and action were seen once or twice, so much
  is followed by one thing for certain, and loops that are hardly ever left keep old errors.

Value iteration looks at all actions in every step. Modified policy iteration, which ``solve`` takes
by default, mostly follows one action per state, and changes its ways where that would take long;
policy iteration solves the equations of every policy.

::

    python examples/plot_08_solvers.py figure.png

saves the figure; without a name it is shown. Needs matplotlib.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter
from scipy.sparse import csr_array

from skmdp.datasets import make_garnet
from skmdp.mdp import MDP
from skmdp.solvers import solve

# %%
# Any process can be given as a sparse matrix with a row for each pair of state and action.
rng = np.random.default_rng(0)


def make_grid(side):
    """Walk in four directions, pushed aside in 3 of 10 steps, to a goal that pays 1 and ends."""
    cell = np.arange(side * side - 1)  # the last one is the goal: it has no actions
    y, x = np.divmod(cell, side)
    steps = [
        np.clip(y + dy, 0, side - 1) * side + np.clip(x + dx, 0, side - 1)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
    ]
    blocks = []
    for intended in steps:
        shares = [0.7 if to is intended else 0.1 for to in steps]
        entries = np.repeat(shares, len(cell)), (np.tile(cell, 4), np.concatenate(steps))
        blocks.append(csr_array(entries, shape=(side * side, side * side)))
    rewards = np.array([block[:, [side * side - 1]].toarray().ravel() for block in blocks]).T
    rewards[-1] = -np.inf  # no action is open at the goal
    return MDP.from_arrays(blocks, rewards)


def make_counts(n_states, n_actions):
    """Count one row or a few of every pair, each to a state near by, with its own reward."""
    n_rows = rng.geometric(0.6, size=n_states * n_actions)
    pair = np.repeat(np.arange(len(n_rows)), n_rows)
    following = (pair // n_actions + rng.integers(-50, 51, size=len(pair))) % n_states
    shares = csr_array((1 / n_rows[pair], (pair, following)), shape=(len(n_rows), n_states))
    state, action = np.divmod(np.arange(len(n_rows)), n_actions)
    return MDP.from_arrays(shares, rng.random(len(state)), pair_state=state, pair_action=action)


PROCESSES = {
    "mixing": (make_garnet(3000, 5, 5, random_state=0), 0.99),
    "grid": (make_grid(50), 0.99),
    "log": (make_counts(3000, 3), 0.99),
}
SOLVERS = ["value_iteration", "policy_iteration", "modified_policy_iteration"]

# %%
# ``callback`` is called after each iteration; ``history`` holds the bound of each. A first short
# solve is not looked at: it loads what is compiled, where numba is installed (``skmdp[fast]``).
found = {}
for name, (mdp, gamma) in PROCESSES.items():
    print(f"{name}: {mdp.n_states} states, {len(mdp.rewards)} pairs, gamma {gamma}")
    for solver in SOLVERS:
        at = []
        solve(mdp, gamma, solver=solver, tol=1e-3)
        start = time.process_time()
        solution = solve(
            mdp, gamma, solver=solver, callback=lambda _, at=at: at.append(time.process_time())
        )
        found[name, solver] = 1e3 * (np.array(at) - start), solution
    exact = min((found[name, solver][1] for solver in SOLVERS), key=lambda s: s.value_error_bound)
    for solver in SOLVERS:
        milliseconds, solution = found[name, solver]
        apart = np.abs(solution.state_values - exact.state_values).max()
        print(f"  {solver:26} {solution.n_iter:5} iterations {milliseconds[-1]:9.1f} ms, ", end="")
        print(f"bound {solution.value_error_bound:.1e}, {apart:.1e} from the best one")

# %%
# The bound holds from the first moment on, and whoever needs less can stop earlier.
STYLES = {  # colors and lines that all eyes can tell apart
    "value_iteration": ("black", ":"),
    "policy_iteration": ("#D55E00", "--"),
    "modified_policy_iteration": ("#0072B2", "-"),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for axis, (name, (mdp, _)) in zip(axes, PROCESSES.items(), strict=True):
    for solver, (color, line) in STYLES.items():
        milliseconds, solution = found[name, solver]
        style = {"color": color, "linestyle": line, "marker": "o", "markevery": [-1]}
        axis.plot(milliseconds, solution.history, label=solver, **style)
    axis.set(xscale="log", yscale="log", xlabel="milliseconds of CPU")
    for scale, written in ((axis.xaxis, "{x:g}"), (axis.yaxis, "{x:.0e}")):
        scale.set_major_formatter(written)
        scale.set_minor_formatter(NullFormatter())
    axis.set_title(f"{name}: {mdp.n_states} states, {len(mdp.rewards)} pairs")
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("proven bound on the error of values")
named = axes[0].get_legend_handles_labels()
figure.legend(*named, loc="outside lower center", ncols=3, frameon=False)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

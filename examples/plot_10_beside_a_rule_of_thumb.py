"""
Is the tuned policy better than a rule of thumb?
================================================

The firm of example 06 has a policy on measurements now. Is it better than what is done today, and
than a rule that its engineers would write down? And are ten such policies, whose bins have their
borders in different places, better than one?

``compare_policies`` asks new compressors. All candidates are judged on the measurements, whatever
states they make of them, or whether they make any; averages are by ``PolicyBagging``.

::

    python examples/plot_10_beside_a_rule_of_thumb.py figure.png

saves the figure; without a name it is shown. Needs matplotlib.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from compressors import make_habit, simulate, true_return  # beside this file
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import compare_policies
from skmdp.preprocessing import StateEncoder

# %%
# One of the encodings that example 06 finds good, and ten of it with shifted borders.
STATE = ["wear", "temperature"]
log = simulate(make_habit(0), 600, seed=0)
one = make_pipeline(
    StateEncoder(state=STATE, n_states=36),
    MarkovPolicyEstimator(state=STATE, min_count=5, handle_unknown="most_frequent"),
)
ten = PolicyBagging(clone(one).set_params(stateencoder__shift_bins=True), random_state=0)
one.fit(log)
ten.fit(log)


def rule(now):
    """Replace what is worn, service what is hot."""
    return np.select([now["wear"] > 85, now["temperature"] > 78], ["replace", "service"], "run")


# %%
# Judge them all on new compressors, and beside the truth, which is known of simulated ones.
new = simulate(make_habit(1), 300, seed=1)
candidates = {"today": "behavior", "rule": rule, "one policy": one, "ten averaged": ten}
table = compare_policies(candidates, new, methods="fqe", columns={"state": [*STATE, "humidity"]})
deciders = [make_habit(98), rule, one.predict, ten.predict]
table["truth"] = [true_return(decide) for decide in deciders]
shown = ["policy", "value", "difference_lower", "difference_upper", "unsupported_share", "truth"]
print("thousand euro per compressor, on 300 new ones beside today, and in truth")
print(table[shown].round(2).to_string(index=False))

# %%
# What the policies do. Dots are what is logged.
COLORS = {"run": "#56B4E9", "service": "#F0E442", "replace": "#D55E00"}  # all eyes tell them apart
wear, temperature = np.linspace(0, 100, 101), np.linspace(40, 95, 101)
asked = pd.DataFrame(
    {"wear": np.tile(wear, 101), "temperature": np.repeat(temperature, 101), "humidity": 50.0}
)
seen = log.sample(1500, random_state=0)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.8), sharey=True, layout="constrained")
for axis, decide, name, earned in zip(
    axes, deciders[1:], table["policy"][1:], table["truth"][1:], strict=True
):
    advised = pd.Categorical(decide(asked), categories=list(COLORS)).codes.reshape(101, 101)
    colors = ListedColormap([*COLORS.values()])
    axis.pcolormesh(wear, temperature, advised, cmap=colors, vmin=0, vmax=2, rasterized=True)
    axis.scatter(seen["wear"], seen["temperature"], s=2, color="black", alpha=0.35, linewidths=0)
    axis.set(xlim=(0, 100), ylim=(40, 95), xlabel="wear", title=f"{name}, earns {earned:.0f}")
axes[0].set_ylabel("temperature")
patches = [Patch(color=color) for color in COLORS.values()]
figure.legend(patches, list(COLORS), loc="outside lower center", ncols=3, frameon=False)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

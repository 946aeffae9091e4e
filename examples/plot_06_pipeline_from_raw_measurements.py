"""
Which measurements make good states?
====================================

A firm rents out compressors. Every month it reads wear, temperature and humidity of each, and then
lets it run, services it or replaces it; a failure is dear. A policy that is learned from counts
needs states, not measurements. Which measurements make good states, and cut into how many bins?

Let held-out compressors choose: a search over pipelines of ``StateEncoder`` and
``MarkovPolicyEstimator`` that judges every candidate twice. ``score`` is what the policy is worth
in its own states. If these leave out what matters, they do not tell what will happen next, and the
score is far too high, on held-out compressors as well: with wear alone, cut in four, the policy of
a fine score earns nothing. ``fqe`` follows the policy among the measurements themselves, and is
right about it. ``most_trusted`` goes by the smaller of the two, and takes the fewest states among
the good ones.

::

    python examples/plot_06_pipeline_from_raw_measurements.py figure.png

saves the figure; without a name it is shown. Needs matplotlib.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from compressors import N_MONTHS, make_habit, simulate, true_return  # beside this file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp.metrics import judge_encodings
from skmdp.model_selection import EpisodeKFold, most_trusted
from skmdp.preprocessing import StateEncoder

# %%
# The log of 600 compressors. What a policy really earns is known here, since they are simulated.
log = simulate(make_habit(0), 600, seed=0)
logged, today = log["reward"].sum() / 600, true_return(make_habit(98))
print(f"{len(log)} rows; thousand euro per compressor in {N_MONTHS} months")
print(f"today: {logged:.0f} in the log, {today:.0f} in truth\n")
print(log.drop(columns="next_humidity").head(3).round(1).to_string(index=False))

# %%
# Search. Both steps must know the columns, so each set of columns is a grid of its own; the number
# of states is that of bins per column to the power of columns. ``min_count=5`` keeps the policy to
# what is logged, and folds are of whole compressors.
BINS = {("wear",): [4, 8], ("wear", "temperature"): [3, 4, 6, 8]}
BINS["wear", "temperature", "humidity"] = [3, 4]
pipeline = make_pipeline(
    StateEncoder(), MarkovPolicyEstimator(min_count=5, handle_unknown="most_frequent")
)
grid = [
    {
        "stateencoder__state": [list(columns)],
        "stateencoder__n_states": [n_bins ** len(columns) for n_bins in bins],
        "markovpolicyestimator__state": [list(columns)],
        "markovpolicyestimator__prior_strength": [0, "auto"],
        "markovpolicyestimator__gamma": [0.5, 0.9],
    }
    for columns, bins in BINS.items()
]
folds = EpisodeKFold(n_splits=5)
search = GridSearchCV(
    pipeline, grid, cv=folds, scoring=judge_encodings, refit=most_trusted(), error_score="raise"
).fit(log)

# %%
# Of each encoding, keep the candidate that is worth most by both accounts (of equal ones the chosen
# one), learn it from the whole log, and compute the truth.
found = pd.DataFrame(search.cv_results_).rename(
    columns={"mean_test_score": "score", "mean_test_fqe": "fqe", "std_test_fqe": "spread"}
)
found["measurements"] = found["param_stateencoder__state"].map(", ".join)
found["states"] = found["param_stateencoder__n_states"].astype(int)
found["columns"] = found["measurements"].str.count(",") + 1
found["worth"] = np.minimum(found["score"], found["fqe"]).round(3)
found["chosen"] = np.where(found.index == search.best_index_, "chosen", "")
best = found.sort_values(["worth", "chosen"]).groupby(["columns", "states"]).tail(1)
best = best.sort_values(["columns", "states"])
best["truth"] = [
    true_return(clone(pipeline).set_params(**parameters).fit(log).predict)
    for parameters in best["params"]
]
shown = ["measurements", "states", "score", "fqe", "spread", "truth", "chosen"]
print(f"\n{best[shown].round().to_string(index=False, float_format='{:.0f}'.format)}")

# %%
# Do the two accounts tell which encoding to take?
figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
places = np.arange(len(best)) + 0.6 * best["columns"].to_numpy()  # a gap between the sets
for name, rows in best.assign(place=places).groupby("measurements"):
    axis.plot(rows["place"], rows["score"], "s:", color="#D55E00", label="score in states")
    style = {"fmt": "o-", "color": "#0072B2", "label": "fqe on measurements (bars: folds)"}
    axis.errorbar(rows["place"], rows["fqe"], rows["spread"], capsize=4, **style)
    axis.plot(rows["place"], rows["truth"], "D--", color="black", label="truth")
    axis.text(rows["place"].mean(), 1, name, transform=axis.get_xaxis_transform(), ha="center")
chosen = places[best["chosen"] == "chosen"][0]
axis.axvspan(chosen - 0.4, chosen + 0.4, color="0.9", zorder=0, label="chosen")
axis.axhline(today, color="0.5", linestyle=":", zorder=0, label="today")
axis.set_xticks(places, best["states"])
axis.set(xlabel="states", ylabel=f"thousand euro per compressor in {N_MONTHS} months")
axis.spines[["top", "right"]].set_visible(False)
handles, labels = axis.get_legend_handles_labels()
unique = dict(zip(labels, handles, strict=True))
figure.legend(unique.values(), unique, loc="outside lower center", ncols=3, frameon=False)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

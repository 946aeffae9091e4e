"""
From raw measurements to a tuned policy
=======================================

A firm rents out compressors. Every month it reads wear, temperature and humidity of each, and then
lets it run, services it or replaces it; a failure is dear. A policy that is learned from counts
needs states, not measurements. Which measurements make good states, and cut into how many bins?

Let held-out compressors choose: a search over pipelines of ``StateEncoder`` and
``MarkovPolicyEstimator`` that judges every candidate twice. ``score`` is what the policy is worth
in its own states. If these leave out what matters, they do not tell what will happen next, and the
score is far too rosy, on held-out compressors as well: with wear alone, cut in four, the policy of
a fine score earns nothing. ``fqe`` follows the policy among the measurements themselves, and is
right about it. ``most_trusted`` goes by the smaller of the two, and takes the fewest states among
the good ones.

Is what it takes better than what is done today, and than a rule of thumb? ``compare_policies`` asks
new compressors, and puts beside them ten policies whose bins have their borders in different places
(``PolicyBagging``). All of them are judged on the measurements, whatever states they make.

::

    python examples/plot_06_pipeline_from_raw_measurements.py figure.png

saves the figure; without a name it is shown. Needs matplotlib.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import compare_policies, judge_encodings
from skmdp.model_selection import EpisodeKFold, most_trusted
from skmdp.preprocessing import StateEncoder

# %%
# The truth, which nobody in the firm knows. Wear and heat make failures likely, heat speeds up
# wear, a service cools, and what fails is replaced. Humidity is measured, and means nothing.
N_COMPRESSORS, N_MONTHS = 600, 24
FAILED, REPLACED, SERVICED, RAN = -100, -30, 5, 10  # thousand euro a month


def logistic(x):
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def simulate(decide, n_compressors, seed):
    """Return the log of compressors for which ``decide`` answers measurements with actions."""
    rng = np.random.default_rng(seed)

    def measure(wear, temperature):
        humidity = rng.normal(50, 10, n_compressors)
        return pd.DataFrame({"wear": wear, "temperature": temperature, "humidity": humidity})

    now = measure(rng.uniform(0, 80, n_compressors), rng.normal(65, 8, n_compressors))
    months = []
    for month in range(N_MONTHS):
        action = decide(now)
        wear, temperature = now["wear"].to_numpy(), now["temperature"].to_numpy()
        risk = logistic(0.12 * (wear - 90) + 0.3 * (temperature - 82))
        fails = (rng.random(n_compressors) < risk) & (action != "replace")
        wears = rng.gamma(2, 6, n_compressors) * np.exp((temperature - 65) / 25)
        heats = 50 + 0.8 * (temperature - 50) + rng.normal(6, 6, n_compressors)
        following = measure(
            np.where(
                fails | (action == "replace"),
                rng.gamma(2, 2, n_compressors),
                np.minimum(wear + wears, 100),
            ),
            np.where(fails | (action != "run"), rng.normal(57, 4, n_compressors), heats),
        )
        reward = np.select(
            [fails, action == "replace", action == "service"], [FAILED, REPLACED, SERVICED], RAN
        )
        months.append(
            now.assign(
                episode=range(n_compressors),
                step=month,
                action=action,
                reward=reward,
                **following.add_prefix("next_"),  # also in the last month: nothing ends there
            )
        )
        now = following
    return pd.concat(months).sort_values(["episode", "step"], ignore_index=True)


def make_habit(seed):
    """Return how the firm decides: by gauge, but loosely, so that the log holds all sorts."""
    rng = np.random.default_rng(seed)

    def decide(now):
        replaces = 0.06 + 0.25 * logistic((now["wear"] - 70) / 8)
        services = 0.15 + 0.3 * logistic((now["temperature"] - 75) / 4)
        return np.select(
            [rng.random(len(now)) < replaces, rng.random(len(now)) < services],
            ["replace", "service"],
            "run",
        )

    return decide


def true_return(decide):
    """Return what a compressor really earns, over new ones: the same for all who decide."""
    return simulate(decide, 2000, seed=99)["reward"].sum() / 2000


log = simulate(make_habit(0), N_COMPRESSORS, seed=0)
logged, today = log["reward"].sum() / N_COMPRESSORS, true_return(make_habit(98))
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
search = GridSearchCV(
    pipeline,
    grid,
    cv=EpisodeKFold(n_splits=5),
    scoring=judge_encodings,
    refit=most_trusted(),
    error_score="raise",
).fit(log)

# %%
# Of each encoding, keep the candidate that is worth most by both accounts, learn it from the whole
# log, and compute the truth.
scores = search.cv_results_
worth = np.minimum(scores["mean_test_score"], scores["mean_test_fqe"])
encodings = [
    (columns, n_bins, n_bins ** len(columns)) for columns, bins in BINS.items() for n_bins in bins
]
best = []
for columns, _, n_states in encodings:
    places = [
        place
        for place, parameters in enumerate(scores["params"])
        if parameters["stateencoder__state"] == list(columns)
        and parameters["stateencoder__n_states"] == n_states
    ]
    best.append(max(places, key=worth.__getitem__))
in_states, on_measurements = scores["mean_test_score"][best], scores["mean_test_fqe"][best]
spread = scores["std_test_fqe"][best]
policies = [clone(pipeline).set_params(**scores["params"][place]).fit(log) for place in best]
truth = np.array([true_return(policy.predict) for policy in policies])

print("\nmeasurements                     bins  states  score    fqe        truth")
for place, (columns, n_bins, n_states), score, fqe, error, true in zip(
    best, encodings, in_states, on_measurements, spread, truth, strict=True
):
    print(
        f"{', '.join(columns):32} {n_bins:4} {n_states:7} {score:6.0f} {fqe:6.0f} +- {error:2.0f} "
        f"{true:6.0f}{'  chosen' if place == search.best_index_ else ''}"
    )

# %%
# The same with the borders of the bins in ten different places, and a rule of thumb. Judge them all
# on new compressors.
chosen, picked = search.best_estimator_, best.index(search.best_index_)
bagging = PolicyBagging(clone(chosen).set_params(stateencoder__shift_bins=True), random_state=0)
bagging.fit(log)


def rule(now):
    """Replace what is worn, service what is hot."""
    return np.select([now["wear"] > 85, now["temperature"] > 78], ["replace", "service"], "run")


policies_by_name = {"today": "behavior", "rule": rule, "chosen": chosen, "ten averaged": bagging}
new = simulate(make_habit(1), 300, seed=1)
table = compare_policies(policies_by_name, new, methods="fqe")
print("\non 300 new compressors, beside what is done today, and in truth")
table["truth"] = [today, true_return(rule), truth[picked], true_return(bagging.predict)]
shown = ["policy", "value", "difference_lower", "difference_upper", "unsupported_share", "truth"]
print(table[shown].round(2).to_string(index=False))

# %%
# Do the two accounts tell which encoding to take, and what do the policies do?
COLORS = {"run": "#56B4E9", "service": "#F0E442", "replace": "#D55E00"}  # all eyes tell them apart
NAMES = ["wear", "wear and temperature", "all three"]
figure = plt.figure(figsize=(10.5, 5.4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[8, 5])

axis = left.subplots()
sizes = np.array([len(columns) for columns, _, _ in encodings])
places = np.arange(len(encodings)) + 0.6 * sizes  # a gap between sets of measurements
for size, name in enumerate(NAMES, start=1):
    here = sizes == size
    axis.plot(places[here], in_states[here], "s:", color="#D55E00")
    axis.errorbar(
        places[here], on_measurements[here], spread[here], fmt="o-", capsize=4, color="#0072B2"
    )
    axis.plot(places[here], truth[here], "D--", color="black")
    axis.text(
        places[here].mean(), 1, name, transform=axis.get_xaxis_transform(), ha="center", va="bottom"
    )
chosen_place = places[picked]
axis.axvspan(chosen_place - 0.4, chosen_place + 0.4, color="0.9", zorder=0)
axis.text(chosen_place, 4, "chosen", color="0.3", ha="center")
axis.axhline(today, color="0.5", linestyle=":", zorder=0)
axis.text(places[-1] + 0.4, today - 2, "today", color="0.4", ha="right", va="top")
axis.set_xticks(places, [f"{n_states}\n({bins})" for _, bins, n_states in encodings])
axis.set_xlabel("states (bins of each measurement)")
axis.set_ylabel(f"thousand euro per compressor in {N_MONTHS} months")
axis.spines[["top", "right"]].set_visible(False)
handles = [
    *axis.plot([], [], "s:", color="#D55E00"),
    axis.errorbar([], [], [], fmt="o-", capsize=4, color="#0072B2"),
    *axis.plot([], [], "D--", color="black"),
]
labels = ["score in states", "fqe on measurements (bars: folds)", "truth"]
left.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)

wear, temperature = np.linspace(0, 100, 101), np.linspace(40, 95, 101)
asked = pd.DataFrame(
    {"wear": np.tile(wear, 101), "temperature": np.repeat(temperature, 101), "humidity": 50.0}
)
seen = log.sample(1500, random_state=0)
for axis, policy, title in zip(
    right.subplots(2, 1, sharex=True),
    (chosen, bagging),
    (
        f"chosen policy, earns {truth[picked]:.0f}",
        f"ten averaged, earn {table['truth'].iloc[-1]:.0f}",
    ),
    strict=True,
):
    advised = pd.Categorical(policy.predict(asked), categories=list(COLORS)).codes
    axis.pcolormesh(
        wear,
        temperature,
        advised.reshape(101, 101),
        cmap=ListedColormap([*COLORS.values()]),
        vmin=0,
        vmax=2,
        rasterized=True,
    )
    axis.scatter(seen["wear"], seen["temperature"], s=2, color="black", alpha=0.35, linewidths=0)
    axis.set(xlim=(0, 100), ylim=(40, 95), ylabel="temperature", title=title)
axis.set_xlabel("wear (dots: what is logged)")
right.legend(
    [Patch(color=color) for color in COLORS.values()],
    list(COLORS),
    loc="outside lower center",
    ncols=3,
    frameon=False,
)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
else:
    plt.show()

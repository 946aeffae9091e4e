"""What encoders of measurements are worth, where policies can be tried out, and what they cost.

python -m pytest tests/benchmarks/test_encoders.py -s

Returns depend on the log more than on the learner: read means over logs, beside their standard
errors.
"""

import functools
import time
import warnings

import gymnasium
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import collect_transitions
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import judge_encodings
from skmdp.model_selection import EpisodeKFold, most_trusted
from skmdp.preprocessing import StateEncoder

GAMMA = 0.99
# What a search over encodings may say: that a candidate is too fine, or that it may loop.
EXPECTED = (
    ".* states hold a single row",
    ".* of the policy's episodes would last longer than any in X",
    "X lacks .* of the decisions that the policy would take",
    "Of every policy more than .* of the decisions are hardly ever",
)


def quietly(function, *arguments, **options):
    """Call, and let pass what candidates of a search are warned of; other warnings are errors."""
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message, UserWarning)
        return function(*arguments, **options)


def states_of(n_columns):
    return [f"state_{j}" for j in range(n_columns)]


def follow(policy, name, mode, *, n_episodes, seed):
    """Return the mean return of a policy that is asked about all running episodes at once."""
    environments = gymnasium.make_vec(name, num_envs=n_episodes, vectorization_mode=mode)
    observations, _ = environments.reset(seed=seed)
    going, returns = np.ones(n_episodes, dtype=bool), np.zeros(n_episodes)
    # An environment that ended starts anew by itself; only its first episode counts.
    while going.any():
        observations, rewards, terminated, truncated, _ = environments.step(
            policy.predict(observations)
        )
        returns += rewards * going
        going &= ~(terminated | truncated)
    environments.close()
    return returns.mean()


def mean_and_error(values):
    return f"{np.mean(values):.1f} +- {np.std(values, ddof=1) / np.sqrt(len(values)):.1f}"


# ------------------------------------------------------------------ bins of the pole on a cart

N_LOGS = 5
CART = states_of(4)
BINS = (
    (2, 2, 3, 3),
    (2, 2, 4, 4),
    (2, 2, 6, 6),
    (2, 3, 6, 6),
    (3, 3, 6, 6),
    (2, 2, 8, 8),
    (3, 3, 8, 8),
    (2, 2, 10, 10),
    (4, 4, 4, 4),
)
N_BINS = "stateencoder__transformer__n_bins"
TOLERANCES = (0.02, 0.05, 0.1)
# Options of the encoder and of the policy.
LEARNERS = {
    "plain, bins of the states": ({"fit_on": "state"}, {}),
    "min_count 5": ({}, {"min_count": 5}),
    "prior auto, min_count 5": ({}, {"min_count": 5, "prior_strength": "auto"}),
}
# How much may be missing to the best candidate. A learner without prior misses this with borders
# from states and next states: its return hangs on where the outermost borders of the angle lie,
# and those of 2x2x6x6, which the score picks, lie badly.
WITHIN = {"plain, bins of the states": 60, "min_count 5": None, "prior auto, min_count 5": 60}


def quantile_bins(n_bins):
    return KBinsDiscretizer(
        n_bins,
        encode="ordinal",
        strategy="quantile",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )


def cart_pipeline(learner, n_bins=BINS[0], **encoding):
    encoder, policy = LEARNERS[learner]
    return make_pipeline(
        StateEncoder(quantile_bins(n_bins), state=CART, **encoder, **encoding),
        MarkovPolicyEstimator(state=CART, gamma=GAMMA, handle_unknown="most_frequent", **policy),
    )


@functools.cache
def cart_log(seed):
    return collect_transitions(gymnasium.make("CartPole-v1"), n_episodes=500, random_state=seed)


def balance(policy, seed):
    return follow(policy, "CartPole-v1", "vector_entry_point", n_episodes=100, seed=1000 + seed)


@functools.cache
def search_bins(learner):
    """Search over the bins on each log; return the searches, by log."""
    # Whose "score" is that in a candidate's own states.
    search = GridSearchCV(
        cart_pipeline(learner),
        {N_BINS: BINS},
        cv=EpisodeKFold(5),
        scoring=judge_encodings,
        refit="score",
        error_score="raise",
    )
    return [quietly(clone(search).fit, cart_log(seed)) for seed in range(N_LOGS)]


@pytest.mark.parametrize("learner", LEARNERS)
def test_search_over_bins(learner):
    """The picked encoding beside the one that is best on average, all refitted on the whole log."""
    searches = search_bins(learner)
    truth = np.array(
        [
            [
                balance(quietly(cart_pipeline(learner, n_bins).fit, cart_log(seed)), seed)
                for n_bins in BINS
            ]
            for seed in range(N_LOGS)
        ]
    )
    results = [search.cv_results_ for search in searches]
    names = ["x".join(map(str, n_bins)) for n_bins in BINS]
    columns = {
        "true return": truth.mean(axis=0),
        "its se": truth.std(axis=0, ddof=1) / np.sqrt(N_LOGS),
        "score": np.mean([result["mean_test_score"] for result in results], axis=0),
        "states": np.mean([result["mean_test_n_states"] for result in results], axis=0),
    }
    print(f"\nCartPole, {learner}, {N_LOGS} logs of 500 random episodes")
    print(pd.DataFrame(columns, index=names).to_string(float_format="{:.1f}".format))

    logs = np.arange(N_LOGS)
    best_scores = np.array([search.best_index_ for search in searches])
    choices = {"best score": best_scores} | {
        f"most trusted within {t:.0%}": np.array([most_trusted(tolerance=t)(r) for r in results])
        for t in TOLERANCES
    }
    best = truth.mean(axis=0).max()
    for name, choice in choices.items():
        picked = truth[logs, choice]
        print(f"{name}: {' '.join(names[i] for i in choice)}; {mean_and_error(picked)}, ", end="")
        print(f"{best - picked.mean():.1f} less than the best candidate")
    logged = np.mean([len(cart_log(s)) / cart_log(s)["episode"].nunique() for s in logs])
    picked = truth[logs, best_scores].mean()
    print(f"picked {picked:.1f}, best candidate {best:.1f}, all {truth.mean():.1f}, best of each ")
    print(f"log {truth.max(axis=1).mean():.1f}, logged {logged:.1f}: {picked / logged:.1f} times")
    assert picked >= 8 * logged
    if WITHIN[learner] is not None:
        assert picked >= best - WITHIN[learner]


@pytest.mark.parametrize("learner", ["min_count 5", "prior auto, min_count 5"])
def test_average_over_shifted_bins(learner):
    returns, single = [], []
    for seed, search in enumerate(search_bins(learner)):
        pipeline = cart_pipeline(learner, search.best_params_[N_BINS], shift_bins=True)
        ensemble = quietly(PolicyBagging(pipeline, 10, random_state=0).fit, cart_log(seed))
        returns.append(balance(ensemble, seed))
        single.append(balance(search, seed))
    print(f"\nCartPole, {learner}, picked bins shifted 10 times: {np.round(returns)}, ", end="")
    print(f"{mean_and_error(returns)}; not shifted {mean_and_error(single)}")
    assert np.mean(returns) >= 400


# ------------------------------------------------------------------ clusters against fitted Q

ACROBOT = states_of(6)
N_ROWS_OF_ACROBOT = 10_000
N_ACROBOT_LOGS = 8


def pump(share_random, seed):
    """Push in the direction in which the lower link turns, but now and then at random."""
    rng = np.random.default_rng(seed)

    def act(observation):
        if rng.random() < share_random:
            return int(rng.integers(3))
        return 2 if observation[5] > 0 else 0

    return act


@functools.cache
def acrobot_log(seed):
    """Log episodes at random and episodes of half a pump in turn.

    Random episodes hardly ever end within the limit of 500 steps, those of the pump take some 170.
    """
    env = gymnasium.make("Acrobot-v1")
    halves = []
    for half, share_random in enumerate([1.0, 0.5]):
        player = pump(share_random, 2 * seed + half)
        log = collect_transitions(env, player, 20, random_state=2 * seed + half)
        halves.append(log.assign(episode=2 * log["episode"] + half))
    log = pd.concat(halves).sort_values("episode", kind="stable", ignore_index=True)
    return log.iloc[:N_ROWS_OF_ACROBOT], log.groupby("episode")["reward"].sum().mean()


class FittedQ:
    """Fitted Q iteration with one forest for each action.

    Ernst, Geurts and Wehenkel, "Tree-based batch mode reinforcement learning" (2005). Growing
    costs most, so that some sweeps only renew what the leaves of the grown trees hold.
    """

    def __init__(self, min_samples_leaf=1, *, n_growths=5, n_sweeps=10, n_trees=50, seed=0):
        self.min_samples_leaf, self.n_trees, self.seed = min_samples_leaf, n_trees, seed
        self.n_growths, self.n_sweeps = n_growths, n_sweeps

    def fit(self, log):
        S, action = log[ACROBOT].to_numpy(), log["action"].to_numpy()
        following = log[[f"next_{name}" for name in ACROBOT]].to_numpy()
        reward, ended = log["reward"].to_numpy(), log["terminated"].to_numpy()
        rows = [np.flatnonzero(action == a) for a in range(3)]
        target = reward
        for growth in range(self.n_growths):
            self.forests = [self._grow(growth, S[at], target[at]) for at in rows]
            if growth == self.n_growths - 1:
                break
            leaves = [forest.apply(S[at]) for forest, at in zip(self.forests, rows, strict=True)]
            reached = [forest.apply(following) for forest in self.forests]
            for _ in range(self.n_sweeps):
                values = [
                    self._renewed(target[at], leaf, next_leaf)
                    for at, leaf, next_leaf in zip(rows, leaves, reached, strict=True)
                ]
                target = reward + GAMMA * np.where(ended, 0.0, np.max(values, axis=0))
        return self

    def _grow(self, growth, X, y):
        forest = ExtraTreesRegressor(
            self.n_trees,
            min_samples_leaf=self.min_samples_leaf,
            random_state=1000 * self.seed + growth,
        )
        return forest.fit(X, y)

    def _renewed(self, target, leaves, reached):
        """Return the forest's values of the next states, had its leaves this target's means."""
        total = np.zeros(len(reached))
        for leaf, next_leaf in zip(leaves.T, reached.T, strict=True):
            size = int(max(leaf.max(), next_leaf.max())) + 1
            n = np.bincount(leaf, minlength=size)
            total += (np.bincount(leaf, target, size) / np.maximum(n, 1))[next_leaf]
        return total / self.n_trees

    def predict(self, observations):
        values = [forest.predict(observations) for forest in self.forests]
        return np.argmax(values, axis=0)


def swing_up(policy, seed):
    return follow(policy, "Acrobot-v1", "sync", n_episodes=50, seed=seed)


@functools.cache
def fitted_q_returns(min_samples_leaf):
    return [
        swing_up(FittedQ(min_samples_leaf, seed=seed).fit(acrobot_log(seed)[0]), seed)
        for seed in range(N_ACROBOT_LOGS)
    ]


def test_average_over_clusters_against_fitted_q():
    """Beside forests as they come, and beside such as average the luck of a step out."""
    clusters = make_pipeline(StandardScaler(), KMeans(100, random_state=0))
    single = make_pipeline(
        StateEncoder(clusters, state=ACROBOT),
        MarkovPolicyEstimator(gamma=GAMMA, min_count=5, handle_unknown="most_frequent"),
    )
    returns = []
    for seed in range(N_ACROBOT_LOGS):
        log, logged = acrobot_log(seed)
        average = quietly(PolicyBagging(single, 10, random_state=seed).fit, log)
        alone = quietly(clone(single).fit, log)
        row = {"logged": logged, "average": swing_up(average, seed)}
        returns.append(row | {"single": swing_up(alone, seed)})
    table = pd.DataFrame(returns)
    table["fitted Q"] = fitted_q_returns(1)
    table["fitted Q, 5 rows a leaf"] = fitted_q_returns(5)
    print(f"\nAcrobot, {N_ROWS_OF_ACROBOT} rows, 100 clusters")
    print(table.to_string(float_format="{:.1f}".format))
    print("; ".join(f"{name} {mean_and_error(column)}" for name, column in table.items()))
    assert table["average"].mean() >= table["fitted Q"].mean()


# ------------------------------------------------------------------ what a search costs


def held_out_score(candidate, tables):
    return np.mean([candidate.fit(train).score(test) for train, test in tables])


def test_cost_of_a_search():
    """Splitting, cloning and keeping results take little beside the fits and scores."""
    log = collect_transitions(gymnasium.make("CartPole-v1"), n_episodes=4700, random_state=0)
    log = log[log["episode"] < log["episode"].iloc[100_000]]
    assert len(log) > 99_000
    pipeline = cart_pipeline("min_count 5")
    grid = {
        N_BINS: [2, 3, 4, 6],
        "markovpolicyestimator__gamma": [0.9, 0.95, 0.99],
        "markovpolicyestimator__min_count": [0, 5],
    }
    folds = EpisodeKFold(5)
    tables = [(log.iloc[train], log.iloc[test]) for train, test in folds.split(log)]
    search, parts, n_parts, scores, found = 0.0, 0.0, 0, [], []
    # A quarter of the candidates at a time, so that whatever else is going on slows both alike.
    for n_bins in grid[N_BINS]:
        quarter = GridSearchCV(
            pipeline, grid | {N_BINS: [n_bins]}, cv=folds, refit=False, error_score="raise"
        )
        start = time.perf_counter()
        quietly(quarter.fit, log)
        search += time.perf_counter() - start
        found.extend(quarter.cv_results_["mean_test_score"])
        candidates = [clone(pipeline).set_params(**p) for p in quarter.cv_results_["params"]]
        start = time.perf_counter()
        scores.extend(quietly(held_out_score, it, tables) for it in candidates)
        parts += time.perf_counter() - start
        n_parts += len(candidates) * len(tables)
    np.testing.assert_allclose(found, scores)
    assert n_parts == 120
    print(f"\nsearch {search:.1f} s, {n_parts} fits and scores {parts:.1f} s: ", end="")
    print(f"{search / parts:.3f} times")
    assert search / parts <= 1.3


class CountedBins(KBinsDiscretizer):
    """Bins that note in a file when they are fitted."""

    def __init__(self, n_bins=5, path=None):
        super().__init__(n_bins, encode="ordinal", strategy="uniform", subsample=None)
        self.path = path

    def fit(self, X, y=None):
        with open(self.path, "a") as notes:
            notes.write(f"{self.n_bins}\n")
        return super().fit(X, y)


@pytest.mark.parametrize("has_memory", [False, True])
def test_memory_fits_an_encoder_once_a_fold(tmp_path, has_memory):
    notes = tmp_path / "fits"
    pipeline = make_pipeline(
        StateEncoder(CountedBins(path=str(notes)), state=CART),
        MarkovPolicyEstimator(state=CART, min_count=5, handle_unknown="most_frequent"),
        memory=str(tmp_path / "cache") if has_memory else None,
    )
    grid = {N_BINS: [2, 3], "markovpolicyestimator__gamma": [0.9, 0.95, 0.99]}
    search = GridSearchCV(pipeline, grid, cv=EpisodeKFold(3), error_score="raise")
    start = time.perf_counter()
    quietly(search.fit, cart_log(0))
    seconds = time.perf_counter() - start
    n_fits = len(notes.read_text().split())
    print(f"\nmemory {has_memory}: {n_fits} fits of the encoder, {seconds:.1f} s")
    assert n_fits == (2 * 3 if has_memory else 2 * 3 * 3) + 1

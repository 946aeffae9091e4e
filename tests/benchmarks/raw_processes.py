"""Processes over raw measurements whose truth is known, and candidates to learn from their logs.

A process tells how episodes begin and go on; ``play`` lets any policy decide in it. A family is a
process with the habit that made its logs and with candidates: encodings that keep what matters and
such as lump it, averages, rules, constant actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.preprocessing import StateEncoder


def logistic(x):
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


# ------------------------------------------------------------------ to let policies decide


class Process:
    """States are mappings from columns to arrays, an entry for each running episode.

    What a process of its own has to define raises NotImplementedError here.
    """

    n_steps: int  # after which an episode is cut off

    def begin(self, n, rng):
        """Return the first states of n episodes."""
        raise NotImplementedError

    def go_on(self, now, action, rng):
        """Return next states, rewards, and which episodes end."""
        raise NotImplementedError

    def measure(self, state, rng):
        """Return what is seen of states, as a table."""
        return pd.DataFrame(state)


def steps_of(process, decide, n_episodes, seed):
    """Yield each step of n episodes in which ``decide`` answers tables of states.

    Which episodes go on, what is seen of their states, the actions and rewards, which of them end,
    and what is seen of the next states.
    """
    rng = np.random.default_rng(seed)
    running = np.arange(n_episodes)
    now = process.begin(n_episodes, rng)
    seen = process.measure(now, rng)
    for _ in range(process.n_steps):
        action = np.asarray(decide(seen))
        following, reward, ended = process.go_on(now, action, rng)
        seen_next = process.measure(following, rng)
        yield running, seen, action, np.asarray(reward, dtype=float), ended, seen_next
        if ended.all():
            return
        running = running[~ended]
        now = {name: column[~ended] for name, column in following.items()}
        seen = seen_next[~ended].reset_index(drop=True)


def play(process, decide, n_episodes, seed):
    """Return the log of n episodes."""
    log = pd.concat(
        seen.assign(
            episode=running,
            step=step,
            action=action,
            reward=reward,
            terminated=ended,
            **seen_next.add_prefix("next_"),
        )
        for step, (running, seen, action, reward, ended, seen_next) in enumerate(
            steps_of(process, decide, n_episodes, seed)
        )
    )
    return log.sort_values(["episode", "step"], ignore_index=True)


def returns_of(process, decide, n_episodes, seed):
    """Return what each of n episodes earns, (n_episodes,)."""
    earned = np.zeros(n_episodes)
    for running, _, _, reward, _, _ in steps_of(process, decide, n_episodes, seed):
        earned[running] += reward
    return earned


def drawn(rng, probabilities):
    """Draw a position from each row of probabilities, (n, k) or (k,) for all alike."""
    bounds = np.cumsum(np.atleast_2d(probabilities), axis=1)
    return (rng.random((len(bounds), 1)) > bounds[:, :-1]).sum(axis=1)


# ------------------------------------------------------------------ the processes


class Fleet(Process):
    """Compressors that wear and heat up: those of the example on raw measurements."""

    n_steps = 24

    def begin(self, n, rng):
        return {
            "wear": rng.uniform(0, 80, n),
            "temperature": rng.normal(65, 8, n),
            "humidity": rng.normal(50, 10, n),
        }

    def go_on(self, now, action, rng):
        wear, temperature, n = now["wear"], now["temperature"], len(now["wear"])
        risk = logistic(0.12 * (wear - 90) + 0.3 * (temperature - 82))
        fails = (rng.random(n) < risk) & (action != "replace")
        wears = rng.gamma(2, 6, n) * np.exp((temperature - 65) / 25)
        heats = 50 + 0.8 * (temperature - 50) + rng.normal(6, 6, n)
        is_new, is_cool = fails | (action == "replace"), fails | (action != "run")
        following = {
            "wear": np.where(is_new, rng.gamma(2, 2, n), np.minimum(wear + wears, 100)),
            "temperature": np.where(is_cool, rng.normal(57, 4, n), heats),
            "humidity": rng.normal(50, 10, n),
        }
        paid = np.select([fails, action == "replace", action == "service"], [-100, -30, 5], 10)
        return following, paid, np.zeros(n, dtype=bool)


def loose_crews(seed):
    """The habit of the example: by gauge, but loosely."""
    rng = np.random.default_rng(seed)

    def decide(seen):
        replaces = 0.06 + 0.25 * logistic((seen["wear"] - 70) / 8)
        services = 0.15 + 0.3 * logistic((seen["temperature"] - 75) / 4)
        chance = rng.random((2, len(seen)))
        return np.select(
            [chance[0] < replaces, chance[1] < services], ["replace", "service"], "run"
        )

    return decide


def crews_in_time(seed):
    """Crews that hardly ever let what is worn or hot run on, so that the log shows few failures."""
    rng = np.random.default_rng(seed)

    def decide(seen):
        replaces = 0.03 + 0.9 * logistic((seen["wear"] - 65) / 4)
        services = 0.08 + 0.85 * logistic((seen["temperature"] - 72) / 2.5)
        chance = rng.random((2, len(seen)))
        return np.select(
            [chance[0] < replaces, chance[1] < services], ["replace", "service"], "run"
        )

    return decide


class Balance(Process):
    """A linear system with quadratic cost, which falls over far out; three columns mean nothing.

    One of these is drawn anew at each step, one is sticky, one a random walk.
    """

    n_steps = 50

    def begin(self, n, rng):
        return {
            "x": rng.normal(0, 1, n),
            "v": rng.normal(0, 0.5, n),
            "u1": rng.normal(0, 1, n),
            "u2": rng.normal(0, 1, n),
            "u3": rng.normal(0, 1, n),
        }

    def go_on(self, now, action, rng):
        x, v, n = now["x"], now["v"], len(now["x"])
        following = {
            "x": x + 0.2 * v,
            "v": 0.95 * v + 0.3 * action + rng.normal(0, 0.1, n),
            "u1": rng.normal(0, 1, n),
            "u2": 0.9 * now["u2"] + rng.normal(0, 0.4, n),
            "u3": now["u3"] + rng.normal(0, 0.3, n),
        }
        falls = np.abs(following["x"]) > 25
        paid = -(x**2) - v**2 / 10 - 0.01 * np.abs(action) - 100.0 * falls
        return following, paid, falls


def half_asleep(seed):
    """Push against x and v, or in any direction."""
    rng = np.random.default_rng(seed)

    def decide(seen):
        against = -np.sign(np.round(seen["x"] + 1.5 * seen["v"])).astype(int)
        return np.where(rng.random(len(seen)) < 0.35, against, rng.integers(-1, 2, len(seen)))

    return decide


class Chain(Process):
    """Eight places; going on is risky in a mode that an encoding by place alone leaves out."""

    n_steps = 100

    def begin(self, n, rng):
        return {"place": np.zeros(n, dtype=int), "mode": rng.integers(0, 2, n)}

    def go_on(self, now, action, rng):
        n, goes = len(now["place"]), action == "go"
        breaks = goes & (now["mode"] == 1) & (rng.random(n) < 0.35)
        place = now["place"] + (goes & ~breaks)
        arrives = place == 8
        turns = rng.random(n) < np.where(goes, 0.5, 0.4)
        following = {"place": place, "mode": np.where(turns, 1 - now["mode"], now["mode"])}
        paid = -0.1 + 10.0 * arrives - 3.0 * breaks
        return following, paid, arrives | breaks


def now_and_then(seed):
    """Go in seven cases of ten, whatever is seen."""
    rng = np.random.default_rng(seed)
    return lambda seen: np.where(rng.random(len(seen)) < 0.7, "go", "wait")


class Hill(Process):
    """A weak car in a valley (the mountain car), a reward of -1 for each step."""

    n_steps = 200

    def begin(self, n, rng):
        return {"position": rng.uniform(-0.6, -0.4, n), "velocity": np.zeros(n)}

    def go_on(self, now, action, rng):
        x, v = now["position"], now["velocity"]
        v = np.clip(v + 0.001 * action - 0.0025 * np.cos(3 * x), -0.07, 0.07)
        x = np.clip(x + v, -1.2, 0.6)
        v = np.where((x == -1.2) & (v < 0), 0.0, v)
        return {"position": x, "velocity": v}, np.full(len(x), -1.0), x >= 0.5


def half_a_pump(seed):
    """Push along with the velocity, or in any direction."""
    rng = np.random.default_rng(seed)

    def decide(seen):
        along = np.where(seen["velocity"] > 0, 1, -1)
        return np.where(rng.random(len(seen)) < 0.4, along, rng.integers(-1, 2, len(seen)))

    return decide


class Cart(Process):
    """CartPole, by the equations of gymnasium's environment for single episodes."""

    n_steps = 500

    def __init__(self):
        self.env = gymnasium.make("CartPole-v1").unwrapped

    def begin(self, n, rng):
        return {f"state_{j}": rng.uniform(-0.05, 0.05, n) for j in range(4)}

    def go_on(self, now, action, rng):
        env = self.env
        x, x_dot, angle, angle_dot = now.values()
        force = np.where(action == 1, env.force_mag, -env.force_mag)
        sine, cosine = np.sin(angle), np.cos(angle)
        pull = (force + env.polemass_length * angle_dot**2 * sine) / env.total_mass
        turn = (env.gravity * sine - cosine * pull) / (
            env.length * (4 / 3 - env.masspole * cosine**2 / env.total_mass)
        )
        speed_up = pull - env.polemass_length * turn * cosine / env.total_mass
        following = (
            x + env.tau * x_dot,
            x_dot + env.tau * speed_up,
            angle + env.tau * angle_dot,
            angle_dot + env.tau * turn,
        )
        falls = (np.abs(following[0]) > env.x_threshold) | (
            np.abs(following[2]) > env.theta_threshold_radians
        )
        return dict(zip(now, following, strict=True)), np.ones(len(x)), falls


def at_random(*actions):
    def habit(seed):
        rng = np.random.default_rng(seed)
        return lambda seen: rng.choice(actions, len(seen))

    return habit


class Ward(Process):
    """Patients with an infection of one of three kinds; a drug suits its kind, and harms kidneys.

    Severity is not measured one time in ten, weight, which means nothing, one time in twenty.
    """

    n_steps = 15
    kinds = np.array(["bacterial", "fungal", "viral"])
    actions = np.array(["drug", "strong", "watch"])
    relief = np.array([[1.1, 1.7, 0.1], [0.2, 1.5, 0.0], [0.1, 0.3, 0.5]])  # by kind and action
    harm = np.array([0.03, 0.1, -0.03])
    price = np.array([2.0, 4.0, 1.0])

    def begin(self, n, rng):
        return {
            "severity": rng.uniform(3, 7, n),
            "kidney": rng.uniform(0.5, 1, n),
            "kind": self.kinds[drawn(rng, np.tile([0.5, 0.2, 0.3], (n, 1)))],
            "weight": rng.normal(75, 12, n),
        }

    def go_on(self, now, action, rng):
        n = len(now["severity"])
        kind = np.searchsorted(self.kinds, now["kind"].astype(str))
        act = np.searchsorted(self.actions, np.asarray(action).astype(str))
        severity = now["severity"] + 0.4 - self.relief[kind, act] + rng.normal(0, 0.7, n)
        kidney = np.clip(now["kidney"] - self.harm[act] + rng.normal(0, 0.04, n), 0, 1)
        risk = logistic((severity - 10) / 0.6) + logistic((0.15 - kidney) / 0.04)
        dies = rng.random(n) < risk
        leaves = ~dies & (severity < 1)
        following = {
            "severity": severity,
            "kidney": kidney,
            "kind": now["kind"],
            "weight": now["weight"] + rng.normal(0, 0.5, n),
        }
        return following, 30.0 * leaves - 100.0 * dies - self.price[act], dies | leaves

    def measure(self, state, rng):
        seen = pd.DataFrame(state)
        n = len(seen)
        seen.loc[rng.random(n) < 0.1, "severity"] = np.nan
        seen.loc[rng.random(n) < 0.05, "weight"] = np.nan
        return seen


def doctors(seed):
    """The worse the patient, the stronger the drug; many doctors think of the kind."""
    rng = np.random.default_rng(seed)

    def decide(seen):
        severity = seen["severity"].fillna(5.0).to_numpy()
        strong = 0.08 + 0.5 * logistic((severity - 7) / 0.8)
        strong = strong * np.where(seen["kind"] == "viral", 0.5, 1)
        watch = 0.15 + 0.45 * (seen["kind"] == "viral") + 0.2 * logistic((3 - severity) / 0.8)
        chance = rng.random((2, len(seen)))
        return np.select([chance[0] < strong, chance[1] < watch], ["strong", "watch"], "drug")

    return decide


class Shop(Process):
    """A stock of one article; demand has a trend and a weekend, the weather means nothing."""

    n_steps = 28

    def begin(self, n, rng):
        return {
            "stock": rng.integers(0, 40, n),
            "trend": rng.normal(0, 1, n),
            "weekday": rng.integers(0, 7, n),
            "weather": rng.normal(15, 8, n),
        }

    def go_on(self, now, action, rng):
        n, order = len(now["stock"]), np.asarray(action)
        usual = np.where(now["weekday"] >= 5, 12.0, 5.0)
        demand = rng.poisson(usual * np.exp(0.4 * now["trend"]))
        sold = np.minimum(demand, now["stock"])
        left = now["stock"] - sold
        paid = 4 * sold - 0.3 * left - 2 * (demand - sold) - np.where(order > 0, 12 + order, 0)
        following = {
            "stock": np.minimum(left + order, 60),
            "trend": 0.85 * now["trend"] + rng.normal(0, 0.5, n),
            "weekday": (now["weekday"] + 1) % 7,
            "weather": 15 + 0.7 * (now["weather"] - 15) + rng.normal(0, 6, n),
        }
        return following, paid, np.zeros(n, dtype=bool)


def shopkeepers(seed):
    """Order when there is little, much or less as it comes."""
    rng = np.random.default_rng(seed)

    def decide(seen):
        orders = 0.08 + 0.7 * logistic((14 - seen["stock"]) / 4)
        size = np.where(rng.random(len(seen)) < 0.5, 15, 30)
        return np.where(rng.random(len(seen)) < orders, size, 0)

    return decide


# ------------------------------------------------------------------ candidates


def learner(state, gamma, prior_strength):
    return MarkovPolicyEstimator(
        state=state,
        gamma=gamma,
        prior_strength=prior_strength,
        min_count=5,
        handle_unknown="most_frequent",
    )


def bins(columns, n_bins, gamma=0.9, prior_strength="auto", *, shift=False):
    """So many bins of equal width in each column."""
    columns = columns.split()
    encoder = StateEncoder(state=columns, n_states=n_bins ** len(columns), shift_bins=shift)
    return make_pipeline(encoder, learner(columns, gamma, prior_strength))


def quantiles(columns, n_bins, gamma=0.99, prior_strength="auto", *, shift=False):
    """So many bins in each column, as many rows in each."""
    columns = columns.split()
    transformer = KBinsDiscretizer(
        n_bins,
        encode="ordinal",
        strategy="quantile",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )
    encoder = StateEncoder(transformer, state=columns, shift_bins=shift)
    return make_pipeline(encoder, learner(columns, gamma, prior_strength))


def clusters(columns, n_clusters, gamma=0.9, prior_strength="auto"):
    transformer = make_pipeline(StandardScaler(), KMeans(n_clusters, n_init=1, random_state=0))
    encoder = StateEncoder(transformer, state=columns.split())
    return make_pipeline(encoder, learner("state", gamma, prior_strength))


def patients(columns, n_bins, gamma=0.95, prior_strength="auto"):
    """Bins of numbers, gaps filled; labels as they are."""
    columns = columns.split()
    numbers = [name for name in columns if name != "kind"]
    cut = KBinsDiscretizer(n_bins, encode="ordinal", strategy="uniform", subsample=None)
    parts = [(make_pipeline(SimpleImputer(strategy="median"), cut), numbers)]
    if "kind" in columns:
        parts.append((OrdinalEncoder(), ["kind"]))
    transformer = make_column_transformer(*parts, verbose_feature_names_out=False)
    names = numbers + [name for name in columns if name == "kind"]
    encoder = StateEncoder(transformer, state=names)
    return make_pipeline(encoder, learner(names, gamma, prior_strength))


def clustered_patients(columns, n_clusters, gamma=0.95, prior_strength="auto"):
    columns = columns.split()
    numbers = [name for name in columns if name != "kind"]
    parts = [(make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers)]
    if "kind" in columns:
        parts.append((OneHotEncoder(sparse_output=False), ["kind"]))
    transformer = make_pipeline(
        make_column_transformer(*parts), KMeans(n_clusters, n_init=1, random_state=0)
    )
    encoder = StateEncoder(transformer, state=columns)
    return make_pipeline(encoder, learner("state", gamma, prior_strength))


def bagged(pipeline, n_estimators=5):
    return PolicyBagging(pipeline, n_estimators, random_state=0)


def always(action):
    return lambda seen: np.full(len(seen), action)


@dataclass(frozen=True)
class Family:
    """A process, how its logs come about, and the candidates that learn from them.

    A candidate is an estimator to be fitted, or a rule: a function from a table of states to
    actions.
    """

    process: Process
    habit: Callable[[int], Callable[[pd.DataFrame], Any]]
    n_episodes: int
    n_logs: int
    candidates: Mapping[str, Any]
    columns: list[str] = field(init=False)

    def __post_init__(self):
        begin = self.process.begin(1, np.random.default_rng(0))
        object.__setattr__(self, "columns", list(begin))

    def log(self, seed):
        """Return the log of a seed."""
        return play(self.process, self.habit(1000 + seed), self.n_episodes, seed)


COMPRESSORS = {
    "w2": bins("wear", 2),
    "w4": bins("wear", 4, 0.9, 0),
    "w8": bins("wear", 8, 0.5, 0),
    "t4": bins("temperature", 4),
    "t8": bins("temperature", 8, 0.5, 0),
    "h4": bins("humidity", 4),
    "wh4": bins("wear humidity", 4),
    "th4": bins("temperature humidity", 4),
    "wt3": bins("wear temperature", 3, 0.5),
    "wt4": bins("wear temperature", 4),
    "wt6": bins("wear temperature", 6),
    "wt8": bins("wear temperature", 8, 0.9, 0),
    "wth4": bins("wear temperature humidity", 4),
    "clusters wt 30": clusters("wear temperature", 30),
    "clusters wth 80": clusters("wear temperature humidity", 80),
    "bagged wt4": bagged(bins("wear temperature", 4, shift=True)),
    "bagged wt6": bagged(bins("wear temperature", 6, shift=True)),
    "by gauge": lambda seen: np.select(
        [seen["wear"] > 75, seen["temperature"] > 75], ["replace", "service"], "run"
    ),
    "when worn": lambda seen: np.where(seen["wear"] > 85, "replace", "run"),
    "run": always("run"),
    "service": always("service"),
}
FAMILIES = {
    "fleet": Family(Fleet(), loose_crews, 600, 4, COMPRESSORS),
    "intime": Family(Fleet(), crews_in_time, 600, 4, COMPRESSORS),
    "lqr": Family(
        Balance(),
        half_asleep,
        300,
        3,
        {
            "x6": bins("x", 6),
            "v6": bins("v", 6),
            "xv4": bins("x v", 4, 0.95),
            "xv7": bins("x v", 7, 0.95),
            "xv12": bins("x v", 12, 0.95),
            "xv12 plain": bins("x v", 12, 0.95, 0),
            "xvu4": bins("x v u1", 4, 0.95),
            "clusters xv 30": clusters("x v", 30, 0.95),
            "clusters xv 100": clusters("x v", 100, 0.95),
            "clusters all 100": clusters("x v u1 u2 u3", 100, 0.95),
            "bagged xv7": bagged(bins("x v", 7, 0.95, shift=True)),
            "against": lambda seen: -np.sign(np.round(seen["x"] + 1.5 * seen["v"])).astype(int),
            "against x": lambda seen: np.where(seen["x"] > 0, -1, 1),
            "along": lambda seen: np.where(seen["x"] > 0, 1, -1),
            "nothing": always(0),
        },
    ),
    "chain": Family(
        Chain(),
        now_and_then,
        1200,
        3,
        {
            "place": bins("place", 8, 0.99),
            "mode": bins("mode", 2, 0.99),
            "place mode": quantiles("place mode", 8, 0.99),
            "place 4 mode": quantiles("place mode", [4, 2], 0.99),
            "place 2 mode": quantiles("place mode", [2, 2], 0.9),
            "place mode plain": quantiles("place mode", [8, 2], 0.99, 0),
            "clusters 5": clusters("place mode", 5, 0.99),
            "clusters 16": clusters("place mode", 16, 0.99),
            "safe": lambda seen: np.where(seen["mode"] == 0, "go", "wait"),
            "daring at the end": lambda seen: np.where(
                (seen["mode"] == 0) | (seen["place"] > 5), "go", "wait"
            ),
            "wrong": lambda seen: np.where(seen["mode"] == 1, "go", "wait"),
            "go": always("go"),
            "wait": always("wait"),
        },
    ),
    "hill": Family(
        Hill(),
        half_a_pump,
        70,
        2,
        {
            "p8": bins("position", 8, 0.99),
            "v6": bins("velocity", 6, 0.99),
            "pv6": bins("position velocity", 6, 0.99),
            "pv10": bins("position velocity", 10, 0.99),
            "pv15": bins("position velocity", 15, 0.99),
            "pv15 plain": bins("position velocity", 15, 0.99, 0),
            "clusters 30": clusters("position velocity", 30, 0.99),
            "clusters 100": clusters("position velocity", 100, 0.99),
            "bagged pv10": bagged(bins("position velocity", 10, 0.99, shift=True)),
            "along": lambda seen: np.where(seen["velocity"] > 0, 1, -1),
            "against": lambda seen: np.where(seen["velocity"] > 0, -1, 1),
            "right": always(1),
        },
    ),
    "cart": Family(
        Cart(),
        at_random(0, 1),
        500,
        2,
        {
            "x".join(map(str, sizes)): quantiles("state_0 state_1 state_2 state_3", list(sizes))
            for sizes in (
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
        }
        | {
            "angle": lambda seen: (seen["state_2"] > 0).astype(int),
            "angle and speed": lambda seen: np.where(
                seen["state_2"] + 0.5 * seen["state_3"] > 0, 1, 0
            ),
            "left": always(0),
        },
    ),
    "ward": Family(
        Ward(),
        doctors,
        1000,
        2,
        {
            "s4": patients("severity", 4),
            "k4": patients("kidney", 4),
            "kind": patients("kidney kind", 2),
            "sk4": patients("severity kidney", 4),
            "s kind": patients("severity kind", 5),
            "sk3 kind": patients("severity kidney kind", 3),
            "sk4 kind": patients("severity kidney kind", 4),
            "sk6 kind": patients("severity kidney kind", 6, 0.99, 0),
            "skw3 kind": patients("severity kidney weight kind", 3),
            "clusters 40": clustered_patients("severity kidney kind", 40),
            "clusters skw 60": clustered_patients("severity kidney weight", 60),
            "by kind": lambda seen: np.where(seen["kind"] == "viral", "watch", "drug"),
            "strong if bad": lambda seen: np.where(seen["severity"] > 6, "strong", "drug"),
            "watch": always("watch"),
            "drug": always("drug"),
            "strong": always("strong"),
        },
    ),
    "shop": Family(
        Shop(),
        shopkeepers,
        300,
        2,
        {
            "s5": bins("stock", 5, 0.95),
            "t4": bins("trend", 4, 0.95),
            "weather stock": bins("stock weather", 4, 0.95),
            "st4": bins("stock trend", 4, 0.95),
            "sd7": bins("stock weekday", 7, 0.95),
            "st7": bins("stock trend", 7, 0.9, 0),
            "std4": bins("stock trend weekday", 4, 0.95),
            "std6": bins("stock trend weekday", 6, 0.95),
            "std6 plain": bins("stock trend weekday", 6, 0.95, 0),
            "clusters 60": clusters("stock trend weekday", 60, 0.95),
            "clusters all 80": clusters("stock trend weekday weather", 80, 0.95),
            "bagged std5": bagged(bins("stock trend weekday", 5, 0.95, shift=True)),
            "when low": lambda seen: np.where(seen["stock"] < 15, 15, 0),
            "much when low": lambda seen: np.where(seen["stock"] < 10, 30, 0),
            "none": always(0),
            "every day": always(15),
        },
    ),
}

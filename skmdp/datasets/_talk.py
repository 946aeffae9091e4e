"""Two small worlds of the talk this project started from: climbing and searching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils import check_random_state

from skmdp._messages import shortened, shown

Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FOUND = "TARGET_FOUND"
SEARCHERS = ("binary", "linear", "random")
# A state's number is below 4 (length + 1)^3, which int64 then holds.
MOST_PLACES = 1_000_000


def transitions_from_observations(observations: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Turn episodes with one reward each into a transitions table.

    Parameters
    ----------
    observations : iterable of mappings
        One mapping per episode: ``"state_transitions"``, a sequence of mappings with ``"state"``,
        ``"action"`` and ``"state_"`` (the next state), and ``"reward"``, a number for the whole
        episode. It is not changed.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``episode`` (0, 1, ...), ``state``, ``action``, ``next_state`` and ``reward``: the
        episode's reward spread evenly over its rows.

    Raises
    ------
    ValueError
        If an episode lacks a key or has no transitions.

    Examples
    --------
    >>> from skmdp.datasets import transitions_from_observations
    >>> walk = [{"state": "a", "action": "go", "state_": "b"},
    ...         {"state": "b", "action": "go", "state_": "c"}]
    >>> transitions_from_observations([{"state_transitions": walk, "reward": 3}])
       episode state action next_state  reward
    0        0     a     go          b     1.5
    1        0     b     go          c     1.5
    """
    rows = []
    for episode, observation in enumerate(observations):
        try:
            steps = list(observation["state_transitions"])
            share = observation["reward"] / len(steps)
            rows += [(episode, s["state"], s["action"], s["state_"], share) for s in steps]
        except KeyError as error:
            raise ValueError(f"Observation {episode} lacks the key {shortened(error)}.") from error
        except TypeError as error:
            raise ValueError(
                f"Observation {episode} must be a mapping with a list of state_transitions and a "
                f"number as reward: {shortened(error)}."
            ) from error
        except ZeroDivisionError as error:
            raise ValueError(
                f"Observation {episode} has no state_transitions; drop it, or its reward is lost."
            ) from error
    return pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])


def load_climb() -> pd.DataFrame:
    """Return the climbing log: a ladder of five states, a reward at its top.

    Two climbers start low; one falls to the bottom, one reaches the top. As in the talk, two more
    episodes say that nobody leaves either end (*trap rows*) and that the top pays 1.

    Returns
    -------
    table : pandas.DataFrame of 12 rows
        Columns ``episode``, ``state``, ``action``, ``next_state`` and ``reward``.

    Notes
    -----
    With gamma = 0.9 and ``reward_on="state"`` the top is worth 0.5 / (1 - 0.9) = 5, and the states
    on the way 4.5, 4.05 and 3.645.

    Examples
    --------
    >>> from skmdp.datasets import load_climb
    >>> load_climb().head(3)
       episode state action next_state  reward
    0        0   low  climb        mid     0.0
    1        0   mid  climb       high     0.0
    2        0  high   sink        mid     0.0
    """
    falls = [("low", "climb", "mid"), ("mid", "climb", "high"), ("high", "sink", "mid")]
    falls += [("mid", "sink", "low"), ("low", "sink", "bottom")]
    climbs = [("low", "climb", "mid"), ("mid", "climb", "high"), ("high", "climb", "top")]
    stays_down = [("bottom", "sink", "bottom"), ("bottom", "climb", "bottom")]
    stays_up = [("top", "sink", "top"), ("top", "climb", "top")]
    return transitions_from_observations(
        {
            "state_transitions": [
                {"state": state, "action": action, "state_": next_state}
                for state, action, next_state in walk
            ],
            "reward": reward,
        }
        for walk, reward in [(falls, 0), (climbs, 0), (stays_down, 0), (stays_up, 1)]
    )


def make_search_log(
    n_episodes: int,
    length: int = 15,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Simulate searches for a number in a sorted array, by three kinds of searcher.

    Each array holds exponentially distributed numbers; the target is one of them. A searcher
    starts anywhere, learns whether the target lies up or down from there, and jumps to the next
    place: to the middle of the known range (binary), one step on (linear), or anywhere (random).
    Every step costs 1. Searches that start on their target have no rows and are drawn again.

    Parameters
    ----------
    n_episodes : int
        Number of searches.
    length : int, default=15
        Number of places in the array, at least 2.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    table : pandas.DataFrame
        One row per step: ``episode``; ``state``, such as ``"7:up:3:15:True"``: location, direction
        of the target, lower and upper end of the known range, whether the target is above the mean
        of the distribution; ``action``, the place to look at next (0 to length - 1);
        ``next_state``, in the end ``"TARGET_FOUND"``; ``reward``, -1.

    Raises
    ------
    ValueError
        If there are no searches, fewer than two places, or more than a million.

    Notes
    -----
    All searches advance at once: O(rows), 50,000 of them in about a second.

    Examples
    --------
    >>> from skmdp.datasets import make_search_log
    >>> log = make_search_log(100, random_state=0)
    >>> list(log.columns)
    ['episode', 'state', 'action', 'next_state', 'reward']
    >>> bool((log.groupby("episode")["next_state"].last() == "TARGET_FOUND").all())
    True
    """
    _check_sizes(n_episodes, length)
    rng = check_random_state(random_state)
    kinds = rng.randint(len(SEARCHERS), size=n_episodes)
    search = _Search.start(n_episodes, length, rng)
    while (found := search.found).any():
        kinds[found] = rng.randint(len(SEARCHERS), size=found.sum())
        search.restart(found, rng)
    steps = []
    active = np.arange(n_episodes)
    while len(active):
        before = search.state_keys(active)
        action = _next_locations(search, active, kinds[active], rng)
        search.move(active, action)
        after = search.state_keys(active)
        steps.append(np.column_stack([active, before, action, after]))
        active = active[~search.found[active]]
    rows = np.concatenate(steps)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return pd.DataFrame(
        {
            "episode": rows[:, 0],
            "state": search.state_labels(rows[:, 1]),
            "action": rows[:, 2],
            "next_state": search.state_labels(rows[:, 3]),
            "reward": -1.0,
        }
    )


def run_search(
    policy: Any,
    n_searches: int,
    length: int = 15,
    *,
    max_steps: int = 1000,
    replace_found: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Integers:
    """Search fresh arrays with a policy and count its steps.

    Parameters
    ----------
    policy : {"binary", "linear", "random"} or fitted estimator
        The searcher. An estimator's ``predict`` is asked for the next place in all searches at
        once.
    n_searches : int
        Number of searches.
    length : int, default=15
        Number of places in the array.
    max_steps : int, default=1000
        Searches that take longer are given up: a learned policy may go in circles.
    replace_found : bool, default=False
        Whether a search that starts on its target is replaced. False: it takes 0 steps. True: it
        counts as the steps of a searcher of a random kind on a new array, as in the talk, whose
        means are therefore ``(length - 1) / length * x + m / length``, with m the mean of the
        three kinds.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    steps : ndarray of shape (n_searches,)
        Number of steps of each search, ``max_steps`` where it was given up.

    Raises
    ------
    ValueError
        If the policy is neither the name of a searcher nor has a ``predict`` method, or if it
        looks at a place that is not there.

    Examples
    --------
    >>> from skmdp.datasets import run_search
    >>> steps = run_search("binary", 1000, random_state=0)
    >>> int(steps.max())
    4
    """
    if policy not in SEARCHERS and not hasattr(policy, "predict"):
        raise ValueError(
            f"policy must be one of {', '.join(SEARCHERS)} or have a predict method, got "
            f"{shown(policy)}."
        )
    _check_sizes(n_searches, length)
    rng = check_random_state(random_state)
    learned = len(SEARCHERS)
    kind = SEARCHERS.index(policy) if policy in SEARCHERS else learned
    kinds = np.full(n_searches, kind)
    search = _Search.start(n_searches, length, rng)
    while replace_found and (found := search.found).any():
        kinds[found] = rng.randint(len(SEARCHERS), size=found.sum())
        search.restart(found, rng)
    steps = np.zeros(n_searches, dtype=np.int64)
    active = np.flatnonzero(~search.found)
    for _ in range(max_steps):
        if not len(active):
            break
        location = _next_locations(search, active, kinds[active], rng)
        asks = kinds[active] == learned
        if asks.any():
            states = search.state_labels(search.state_keys(active[asks]))
            location[asks] = advised = np.asarray(policy.predict(states))
            nowhere = advised[(advised < 0) | (advised >= length)]
            if len(nowhere):
                raise ValueError(
                    f"The policy looks at place {shown(nowhere[0])} of an array of {length}. "
                    "Search arrays of the length it was trained on."
                )
        search.move(active, location)
        steps[active] += 1
        active = active[~search.found[active]]
    return steps


def _check_sizes(n_searches: int, length: int) -> None:
    if n_searches < 1 or length < 2:
        raise ValueError(
            f"At least one search in at least two places is needed, got {n_searches} in {length}."
        )
    if length > MOST_PLACES:
        raise ValueError(
            f"Arrays may have at most {MOST_PLACES:,} places, got {length:,}. Lower length."
        )


@dataclass
class _Search:
    """Many searches side by side, each array (n_searches,) but ``values`` (n_searches, length)."""

    values: npt.NDArray[np.float64]
    target: npt.NDArray[np.float64]
    location: Integers
    floor: Integers
    ceil: Integers

    @classmethod
    def start(cls, n_searches: int, length: int, rng: np.random.RandomState) -> _Search:
        values = np.sort(rng.exponential(size=(n_searches, length)).round(5), axis=1)
        return cls(
            values=values,
            target=values[np.arange(n_searches), rng.randint(length, size=n_searches)],
            location=rng.randint(length, size=n_searches),
            floor=np.zeros(n_searches, dtype=np.int64),
            ceil=np.full(n_searches, length),
        )

    def restart(self, which: Bools, rng: np.random.RandomState) -> None:
        fresh = _Search.start(int(which.sum()), self.values.shape[1], rng)
        for name, array in vars(fresh).items():
            getattr(self, name)[which] = array

    @property
    def here(self) -> npt.NDArray[np.float64]:
        return self.values[np.arange(len(self.target)), self.location]

    @property
    def found(self) -> Bools:
        return np.asarray(self.here == self.target)

    @property
    def up(self) -> Bools:
        return np.asarray(self.here < self.target)

    def move(self, which: Integers, location: Integers) -> None:
        self.location[which] = location
        up = self.up[which]
        self.floor[which[up]] = location[up]
        self.ceil[which[~up]] = location[~up]

    def state_keys(self, which: Integers) -> Integers:
        """Return each state as a number, -1 where the target is found."""
        wide = self.values.shape[1] + 1
        key = self.location[which] * 2 + self.up[which]
        key = (key * wide + self.floor[which]) * wide + self.ceil[which]
        key = key * 2 + (self.target[which] > 1)  # 1 is the mean of the distribution
        return np.where(self.found[which], -1, key)

    def state_labels(self, keys: Integers) -> npt.NDArray[Any]:
        """Write states out, each distinct one once."""
        codes, distinct = pd.factorize(keys)
        wide = self.values.shape[1] + 1
        rest, high = np.divmod(distinct, 2)
        rest, ceil = np.divmod(rest, wide)
        rest, floor = np.divmod(rest, wide)
        location, up = np.divmod(rest, 2)
        labels = [
            FOUND if key < 0 else f"{here}:{'up' if above else 'down'}:{low}:{top}:{bool(big)}"
            for key, here, above, low, top, big in zip(
                distinct, location, up, floor, ceil, high, strict=True
            )
        ]
        written: npt.NDArray[Any] = np.array(labels, dtype=object)[codes]
        return written


def _next_locations(
    search: _Search, active: Integers, kinds: Integers, rng: np.random.RandomState
) -> Integers:
    """Return where each kind of searcher looks next; other kinds stay."""
    length = search.values.shape[1]
    location = search.location[active]
    binary = (search.ceil[active] + search.floor[active]) // 2
    linear = location + np.where(search.up[active], 1, -1)
    anywhere = rng.randint(length, size=len(active))
    return np.select([kinds == k for k in range(3)], [binary, linear, anywhere], location)

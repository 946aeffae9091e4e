"""Logs from Gymnasium environments and from the arrays that other libraries keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils import check_random_state

from skmdp._messages import quoted, shortened, shown


def collect_transitions(
    env: Any,
    policy: Any = None,
    n_episodes: int = 100,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Play episodes in a Gymnasium environment and log them.

    Parameters
    ----------
    env : gymnasium.Env
        An environment with discrete actions, and observations that are discrete, a box, several
        discrete numbers, or a tuple of these.
    policy : estimator, callable or None, default=None
        The player: a fitted policy (its ``predict`` is asked once per distinct observation), a
        function from observation to action, or None for random actions.
    n_episodes : int, default=100
        Number of episodes.
    random_state : int, RandomState instance or None, default=None
        Seed of the environment and of random actions.

    Returns
    -------
    table : pandas.DataFrame
        One row per step: ``episode``, ``step``, ``state``, ``action``, ``next_state``, ``reward``,
        ``terminated`` and ``truncated``. An observation of several numbers has one column each:
        ``state_0``, ``state_1``, ... and ``next_state_0``, ...

    Raises
    ------
    TypeError
        If the environment's actions are not discrete, or its observations no numbers.
    ValueError
        If there are no episodes to play.

    Notes
    -----
    The environment is stepped in Python, one step at a time, and left open.

    Examples
    --------
    >>> import gymnasium
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import collect_transitions
    >>> env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    >>> log = collect_transitions(env, n_episodes=500, random_state=0)
    >>> policy = MarkovPolicyEstimator(gamma=0.99, handle_unknown="most_frequent").fit(log)
    >>> float(collect_transitions(env, policy, 10, random_state=1)["reward"].sum())
    10.0
    """
    if n_episodes < 1:
        raise ValueError(f"n_episodes must be at least 1, got {n_episodes}.")
    rng = check_random_state(random_state)
    _require_discrete(env.action_space)
    env.action_space.seed(int(rng.randint(2**31)))
    choose = _player(env, policy)
    observations, following, others = [], [], []
    for episode in range(n_episodes):
        observation, _ = env.reset(seed=int(rng.randint(2**31)))
        state, step, going = _numbers(observation), 0, True
        while going:
            action = choose(observation, state)
            observation, reward, terminated, truncated, _ = env.step(action)
            going = not (terminated or truncated)
            observations.append(state)
            others.append((episode, step, action, float(reward), bool(terminated), bool(truncated)))
            state, step = _numbers(observation), step + 1
            following.append(state)
    columns = ["episode", "step", "action", "reward", "terminated", "truncated"]
    table = pd.DataFrame(others, columns=columns)
    states = _state_columns(observations, "state")
    next_states = _state_columns(following, "next_state")
    order = ["episode", "step", *states, "action", *next_states, *columns[3:]]
    return table.assign(**states, **next_states)[order]


def transitions_from_arrays(
    observations: npt.ArrayLike,
    actions: npt.ArrayLike,
    rewards: npt.ArrayLike,
    terminals: npt.ArrayLike,
    timeouts: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Turn the flat arrays of offline reinforcement learning datasets into a table.

    Parameters
    ----------
    observations : array-like of shape (n_steps,) or (n_steps, n_features)
        Observations before each step, episode after episode.
    actions : array-like of shape (n_steps,)
        Actions taken.
    rewards : array-like of shape (n_steps,)
        Rewards received.
    terminals : array-like of shape (n_steps,)
        Whether the process ended with the step.
    timeouts : array-like of shape (n_steps,), default=None
        Whether the episode was cut off after the step, though the process went on.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``episode``, ``step``, ``state`` (or ``state_0``, ``state_1``, ...), ``action``,
        ``reward`` and ``terminated``. Next states are those of the next row, so they are left
        out; a row whose next observation is not in the arrays (a timeout, or the last row of an
        unfinished episode) is not terminated, and an estimator counts it as truncated.

    Raises
    ------
    ValueError
        If the arrays are empty or differ in length, actions have several columns, or flags are
        neither booleans nor 0 and 1.

    Examples
    --------
    >>> from skmdp.datasets import transitions_from_arrays
    >>> transitions_from_arrays([5, 6, 7, 5], [0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0])
       episode  step  state  action  reward  terminated
    0        0     0      5       0     0.0       False
    1        0     1      6       1     1.0        True
    2        1     0      7       1     0.0       False
    3        1     1      5       0     0.0       False
    """
    observed = np.asarray(observations)
    n_steps = len(observed)
    if not n_steps:
        raise ValueError("observations hold no steps; at least one is needed.")
    states = _state_columns(observed, "state")
    action = _one_column(actions, "actions", n_steps)
    terminated = _flags(terminals, "terminals", n_steps)
    ends = terminated.copy()
    if timeouts is not None:
        ends |= _flags(timeouts, "timeouts", n_steps)
    first = np.append(True, ends[:-1])
    episode = np.cumsum(first) - 1
    step = np.arange(n_steps) - np.flatnonzero(first)[episode]
    return pd.DataFrame(
        {
            "episode": episode,
            "step": step,
            **states,
            "action": action,
            "reward": _one_column(rewards, "rewards", n_steps).astype(np.float64),
            "terminated": terminated,
        }
    )


def _require_discrete(space: Any) -> None:
    if not hasattr(space, "n") or not np.isscalar(space.n):
        raise TypeError(
            f"The environment's actions must be discrete, got the space {shortened(space)}."
        )


def _numbers(observation: Any) -> tuple[Any, ...]:
    """Flatten an observation to a tuple of Python numbers."""
    if isinstance(observation, dict):
        raise TypeError(
            f"Observations must be numbers, arrays or tuples of them, got a dict with the keys "
            f"{quoted(list(observation))}. Flatten it first "
            "(gymnasium.wrappers.FlattenObservation)."
        )
    if isinstance(observation, tuple):
        return tuple(number for part in observation for number in _numbers(part))
    return tuple(np.asarray(observation).ravel().tolist())


def _player(env: Any, policy: Any) -> Callable[[Any, tuple[Any, ...]], Any]:
    if policy is None:
        return lambda _observation, _state: int(env.action_space.sample())
    if not hasattr(policy, "predict"):
        return lambda observation, _state: policy(observation)
    known: dict[tuple[Any, ...], Any] = {}

    def advised(_observation: Any, state: tuple[Any, ...]) -> Any:
        if state not in known:
            known[state] = np.asarray(policy.predict([list(state)])).tolist()[0]
        return known[state]

    return advised


def _state_columns(observations: Sequence[Any] | npt.NDArray[Any], name: str) -> dict[str, Any]:
    """Name the columns of (n, k) observations: the name itself for one, numbered for several."""
    if isinstance(observations, np.ndarray):
        observations = observations.reshape(len(observations), -1)
    frame = pd.DataFrame(observations)  # each column keeps a dtype of its own
    if frame.shape[1] == 1:
        return {name: frame[0]}
    return {f"{name}_{j}": frame[j] for j in frame.columns}


def _one_column(values: npt.ArrayLike, name: str, n_steps: int) -> npt.NDArray[Any]:
    column = np.asarray(values)
    if column.shape == (n_steps, 1):
        column = column[:, 0]
    if column.shape != (n_steps,):
        raise ValueError(
            f"{name} has shape {column.shape}, expected ({n_steps},): one entry per observation."
        )
    return column


def _flags(values: npt.ArrayLike, name: str, n_steps: int) -> npt.NDArray[np.bool_]:
    column = _one_column(values, name, n_steps)
    flags: npt.NDArray[np.bool_] = column.astype(bool)
    if not (column == flags).all():
        raise ValueError(
            f"{name} must be booleans or 0 and 1, got {shown(column[column != flags][0])}."
        )
    return flags

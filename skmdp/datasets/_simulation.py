"""Random processes, and logs of any process whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skmdp.datasets._policy_logs import labelled, require_probabilities
from skmdp.mdp import MDP
from skmdp.mdp._policies import pair_probabilities

Codes = npt.NDArray[np.int64]

ENDED = -1


def make_garnet(
    n_states: int,
    n_actions: int,
    n_successors: int,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> MDP:
    """Draw a random process with a goal (Garnet).

    In every state but the last, every action leads to ``n_successors`` different states, drawn at
    random, with random probabilities. The last state is the goal: every action there pays 1
    and ends the episode. No other pair pays. Episodes start in state 0.

    Parameters
    ----------
    n_states : int
        Number of states, at least 2.
    n_actions : int
        Number of actions, all of them admissible everywhere.
    n_successors : int
        Number of states that an action may lead to, at most ``n_states``.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    mdp : MDP
        The process, ``n_states * n_actions`` pairs.

    Raises
    ------
    ValueError
        If a size is out of range.

    Notes
    -----
    Time and memory are O(n_states n_actions n_successors).

    References
    ----------
    T. W. Archibald, K. I. M. McKinnon and L. C. Thomas, "On the generation of Markov decision
    processes", Journal of the Operational Research Society 46 (1995).

    Examples
    --------
    >>> from skmdp.datasets import make_garnet
    >>> mdp = make_garnet(50, 4, 3, random_state=0)
    >>> mdp.transitions.shape
    (200, 50)
    >>> from skmdp.solvers import modified_policy_iteration
    >>> bool(0 < modified_policy_iteration(mdp, gamma=0.9).state_values[0] < 1)
    True
    """
    if n_states < 2 or n_actions < 1 or not 1 <= n_successors <= n_states:
        raise ValueError(
            "A garnet needs n_states >= 2, n_actions >= 1 and 1 <= n_successors <= n_states, got "
            f"{n_states}, {n_actions} and {n_successors}."
        )
    rng = check_random_state(random_state)
    n_pairs = n_states * n_actions
    n_leading = n_pairs - n_actions  # the last state's pairs lead nowhere
    successors = _distinct_draws(n_leading, n_states, n_successors, rng)
    cuts = np.sort(rng.uniform(size=(n_leading, n_successors - 1)), axis=1)
    probabilities = np.diff(cuts, axis=1, prepend=0.0, append=1.0)
    indptr = np.minimum(np.arange(n_pairs + 1), n_leading) * n_successors
    transitions = csr_array(
        (probabilities.ravel(), successors.ravel(), indptr), shape=(n_pairs, n_states)
    )
    return MDP(
        transitions=transitions,
        rewards=np.repeat([0.0, 1.0], [n_leading, n_actions]),
        pair_state=np.repeat(np.arange(n_states), n_actions),
        pair_action=np.tile(np.arange(n_actions), n_states),
        n_states=n_states,
        n_actions=n_actions,
        initial_distribution=np.eye(1, n_states)[0],
    )


def _distinct_draws(n_rows: int, n: int, k: int, rng: np.random.RandomState) -> Codes:
    """Draw k different numbers below n in every row, (n_rows, k), by Floyd's algorithm."""
    drawn = np.empty((n_rows, k), dtype=np.int64)
    for i, last in enumerate(range(n - k, n)):
        candidate = rng.randint(last + 1, size=n_rows)
        taken = (drawn[:, :i] == candidate[:, np.newaxis]).any(axis=1)
        drawn[:, i] = np.where(taken, last, candidate)
    return drawn


def sample_transitions(
    mdp: Any,
    policy: npt.ArrayLike | None = None,
    n_episodes: int = 100,
    *,
    max_steps: int = 1000,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Simulate episodes of a process and log them.

    Parameters
    ----------
    mdp : MDP or fitted MarkovPolicyEstimator
        The process. Episodes start by its ``initial_distribution``, or in any state that has
        pairs if it has none. Of an estimator, the process that it estimated.
    policy : array-like of shape (n_states,), (n_states, n_actions) or (n_pairs,), default=None
        Action code of every state, as integers, or probability of every action in every state or
        of every pair. None: all admissible actions are equally likely; of an estimator, its advice.
    n_episodes : int, default=100
        Number of episodes.
    max_steps : int, default=1000
        Episodes are cut off after so many steps.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``episode``, ``step``, ``state``, ``action``, ``next_state`` (Int64, missing where
        the process ended), ``reward`` (the expected reward of the pair) and ``terminated``. States
        and actions are codes. The last row of an episode that was cut off names its next state
        and is not terminated.

        Of an estimator, the columns that it reads, under their names, and labels instead of codes.
        Rewards are drawn then: the mean logged reward of the transition (of the action, where that
        one was never logged), plus normal noise with the spread that the rewards of the state have
        around these means.

    Raises
    ------
    ValueError
        If the policy has another shape, takes an action that is not admissible, or has
        probabilities that do not sum to one; if there are no episodes or no steps to simulate; if
        the decisions of an estimator take different times, since its process holds discounts then.

    Notes
    -----
    All episodes advance at once, O(rows log n_transitions).

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import make_garnet, sample_transitions
    >>> mdp = make_garnet(10, 2, 2, random_state=0)
    >>> log = sample_transitions(mdp, n_episodes=500, random_state=0)
    >>> float(log.groupby("episode")["reward"].sum().mean())
    1.0
    >>> policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(log)
    >>> optimal = sample_transitions(mdp, policy.predict(range(10)), random_state=0)
    >>> bool(len(optimal) / 100 < len(log) / 500)  # the goal is reached faster
    True

    What a workshop would come to if it followed the advice:

    >>> from skmdp.datasets import make_maintenance_log
    >>> roles = {"episode": "machine", "step": "month", "state": "condition", "reward": "profit"}
    >>> log = make_maintenance_log(random_state=0)
    >>> policy = MarkovPolicyEstimator(gamma=0.95, **roles).fit(log)
    >>> simulated = sample_transitions(policy, max_steps=24, random_state=0)
    >>> list(simulated)
    ['machine', 'month', 'condition', 'action', 'profit', 'next_condition', 'terminated']
    """
    if n_episodes < 1 or max_steps < 1:
        raise ValueError(
            f"At least one episode of at least one step is needed, got n_episodes={n_episodes} and "
            f"max_steps={max_steps}."
        )
    rng = check_random_state(random_state)
    if not hasattr(type(mdp), "__skmdp_policy__"):
        return _sample_codes(mdp, policy, n_episodes, max_steps, rng)
    check_is_fitted(mdp)
    own = mdp.__skmdp_policy__()
    require_probabilities(own.counts)
    asked = own.action_codes if policy is None else policy
    return labelled(own, _sample_codes(own.mdp, asked, n_episodes, max_steps, rng), rng)


def _sample_codes(
    mdp: MDP,
    policy: npt.ArrayLike | None,
    n_episodes: int,
    max_steps: int,
    rng: np.random.RandomState,
) -> pd.DataFrame:
    """Simulate episodes in codes."""
    choice = _choice_of_pairs(mdp, policy)
    state = _draw_starts(mdp, n_episodes, rng)
    episode = np.arange(n_episodes)
    acts = np.zeros(mdp.n_states + 1, dtype=bool)  # the last entry stands for ENDED
    acts[mdp.acting_states] = True
    steps = [np.empty((0, 4), dtype=np.int64)]  # all there is if every episode starts at an end
    for step in range(max_steps):
        going = acts[state]
        episode, state = episode[going], state[going]
        if not len(episode):
            break
        pair = _draw_columns(choice, state, rng)
        following = _draw_next(mdp, pair, rng)
        steps.append(np.column_stack([episode, np.full(len(pair), step), pair, following]))
        state = following
    rows = np.concatenate(steps)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    episode, step, pair, following = rows.T
    next_state = pd.array(following, dtype="Int64")
    next_state[following == ENDED] = pd.NA
    return pd.DataFrame(
        {
            "episode": episode,
            "step": step,
            "state": mdp.pair_state[pair].astype(np.int64),
            "action": mdp.pair_action[pair].astype(np.int64),
            "next_state": next_state,
            "reward": mdp.rewards[pair],
            "terminated": ~acts[following],
        }
    )


def _choice_of_pairs(mdp: MDP, policy: npt.ArrayLike | None) -> Any:
    """Return the probability of every pair in its state, CSR (n_states, n_pairs)."""
    state = mdp.pair_state
    if policy is None:
        probability = 1 / np.bincount(state, minlength=mdp.n_states)[state]
    else:
        probability = pair_probabilities(mdp, policy)
    return csr_array(
        (probability, np.arange(len(state)), np.searchsorted(state, np.arange(mdp.n_states + 1))),
        shape=(mdp.n_states, len(state)),
    )


def _draw_starts(mdp: MDP, n: int, rng: np.random.RandomState) -> Codes:
    if mdp.initial_distribution is None:
        return rng.choice(mdp.acting_states, size=n).astype(np.int64)
    return rng.choice(mdp.n_states, size=n, p=mdp.initial_distribution).astype(np.int64)


def _draw_columns(matrix: Any, rows: Codes, rng: np.random.RandomState) -> Codes:
    """Draw a column from each of the given rows of a CSR of probabilities, ENDED for the rest."""
    cumulated = np.append(0.0, np.cumsum(matrix.data))
    start, end = matrix.indptr[rows], matrix.indptr[rows + 1]
    draw = cumulated[start] + rng.uniform(size=len(rows))
    at = np.maximum(np.searchsorted(cumulated, draw, side="right") - 1, start)
    # Rows that sum to one are never missed by the last bit of a sum.
    complete = cumulated[end] - cumulated[start] > 1 - 1e-9
    at = np.where(complete, np.minimum(at, end - 1), at)
    column = matrix.indices[np.minimum(at, len(matrix.indices) - 1)] if matrix.nnz else at
    return np.where(at < end, column, ENDED).astype(np.int64)


def _draw_next(mdp: MDP, pair: Codes, rng: np.random.RandomState) -> Codes:
    """Draw the next state of each pair; where that is a hub, the one after the hub."""
    whole = mdp.without_hubs
    following = _draw_columns(whole.transitions, pair, rng)
    at_hub = np.flatnonzero(following >= mdp.n_states)
    hub_pair = len(mdp.rewards) + following[at_hub] - mdp.n_states
    following[at_hub] = _draw_columns(whole.transitions, hub_pair, rng)
    return following

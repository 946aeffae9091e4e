"""Processes whose truth is known: exact values, softened optima as behavior, logs.

A policy is an array of action codes, (n_states,), or of probabilities, (n_states, n_actions).
"""

from dataclasses import dataclass

import gymnasium
import numpy as np
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import spsolve

from skmdp.datasets import make_garnet, sample_transitions
from skmdp.mdp import MDP
from skmdp.solvers import modified_policy_iteration

NO_LIMIT = 1_000_000


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What the transitions of a process pay, sorted by ``key`` = pair * n_states + next state.

    The same transition may pay differently: of two ways to the start of the cliff walk, one falls.
    """

    key: np.ndarray
    reward: np.ndarray
    probability: np.ndarray

    def draw(self, key, rng):
        """Draw the reward of each transition, given where it led."""
        first = np.searchsorted(self.key, key, side="left")
        last = np.searchsorted(self.key, key, side="right")
        cumulated = np.append(0.0, np.cumsum(self.probability))
        at = cumulated[first] + rng.uniform(size=len(key)) * (cumulated[last] - cumulated[first])
        drawn = np.searchsorted(cumulated, at, side="right") - 1
        return self.reward[np.clip(drawn, first, last - 1)]


@dataclass(frozen=True, eq=False)
class Problem:
    """A process, the discount to plan with, and the number of steps that cut an episode off."""

    name: str
    mdp: MDP
    gamma: float
    max_steps: int = NO_LIMIT
    outcomes: Outcomes | None = None

    def log(self, behavior, n_episodes, seed):
        """Log episodes; each row's reward is that of its transition."""
        rng = np.random.RandomState(seed)
        mdp = self.mdp
        table = sample_transitions(
            mdp, behavior, n_episodes, max_steps=self.max_steps, random_state=rng
        )
        if self.outcomes is not None:
            # sample_transitions pays what a pair is expected to earn, which hides the chance in it.
            wanted = table["state"].to_numpy() * mdp.n_actions + table["action"].to_numpy()
            pair = np.searchsorted(mdp.pair_state * mdp.n_actions + mdp.pair_action, wanted)
            following = table["next_state"].to_numpy(dtype=np.int64)
            table["reward"] = self.outcomes.draw(pair * mdp.n_states + following, rng)
        return table

    def deployed(self, policy):
        """Return what a fitted policy does in every state, unknown ones included."""
        return policy.predict(np.arange(self.mdp.n_states))

    def value(self, policy, *, gamma=1.0, horizon=None):
        """Return the exact value of a policy, over so many steps or to the end."""
        transitions, rewards = policy_process(self.mdp, policy)
        if horizon is None:
            identity = eye_array(self.mdp.n_states)
            values = spsolve((identity - gamma * transitions).tocsc(), rewards)
        else:
            values = np.zeros(self.mdp.n_states)
            for _ in range(horizon):
                before, values = values, rewards + gamma * (transitions @ values)
                if np.array_equal(before, values):
                    break
        return float(self.mdp.initial_distribution @ values)


def policy_process(mdp, policy):
    """Return P (n_states, n_states), CSR, and R (n_states,) of following a policy."""
    policy = np.asarray(policy)
    if policy.ndim == 1:
        policy = np.eye(mdp.n_actions)[policy]
    n_pairs = len(mdp.pair_state)
    place = csr_array(
        (policy[mdp.pair_state, mdp.pair_action], (mdp.pair_state, np.arange(n_pairs))),
        shape=(mdp.n_states, n_pairs),
    )
    return (place @ mdp.transitions).tocsr(), place @ mdp.rewards


def optimal_q_values(mdp, gamma):
    """Return Q*, (n_states, n_actions), -inf where there is no pair."""
    q_values = np.full((mdp.n_states, mdp.n_actions), -np.inf)
    solution = modified_policy_iteration(mdp, gamma, tol=1e-9)
    q_values[mdp.pair_state, mdp.pair_action] = solution.q_values
    return q_values


def softened_optimum(mdp, gamma, temperature):
    """Return the softmax of what each action loses, in units of the state's greatest loss.

    The worst action of a state is exp(1 / temperature) times rarer than the best one.
    """
    q_values = optimal_q_values(mdp, gamma)
    acting = mdp.acting_states
    loss = q_values[acting].max(axis=1, keepdims=True) - q_values[acting]
    worst = loss.max(axis=1, keepdims=True)
    odds = np.exp(-loss / np.where(worst > 0, worst, 1.0) / temperature)
    policy = np.full(q_values.shape, 1 / mdp.n_actions)
    policy[acting] = odds / odds.sum(axis=1, keepdims=True)
    return policy


def garnet(seed, *, max_steps, gamma=0.95):
    """Return a random process of 50 states, 4 actions and 4 successors; its goal pays 1."""
    return Problem("garnet", make_garnet(50, 4, 4, random_state=seed), gamma, max_steps)


def from_environment(name, *, gamma=0.99, **options):
    """Return a toy-text environment of gymnasium, with its own limit of steps.

    Only states that an episode can go through get pairs; those that end it are worth 0.
    """
    environment = gymnasium.make(name, **options)
    limit = environment.spec.max_episode_steps or NO_LIMIT
    toy = environment.unwrapped
    rows = [
        (state, action, probability, following, reward, ends)
        for state, actions in toy.P.items()
        for action, ways in actions.items()
        for probability, following, reward, ends in ways
    ]
    state, action, probability, following, reward, ends = np.array(rows, dtype=np.float64).T
    state, action, following = (codes.astype(np.int64) for codes in (state, action, following))
    ends = ends.astype(bool)
    n_states, n_actions = len(toy.P), int(toy.action_space.n)
    start = np.asarray(toy.initial_state_distrib, dtype=np.float64)
    acts = _reached(start > 0, state[~ends], following[~ends])[state]
    # The label of an end must never be a state to go on from.
    assert not np.isin(following[acts & ends], state[acts]).any()
    code = (state * n_actions + action)[acts]
    pairs, pair = np.unique(code, return_inverse=True)
    following, reward, probability = following[acts], reward[acts], probability[acts]
    mdp = MDP(
        transitions=csr_array((probability, (pair, following)), shape=(len(pairs), n_states)),
        rewards=np.bincount(pair, probability * reward),
        pair_state=pairs // n_actions,
        pair_action=pairs % n_actions,
        n_states=n_states,
        n_actions=n_actions,
        initial_distribution=start,
    )
    key = pair * n_states + following
    order = np.argsort(key, kind="stable")
    outcomes = Outcomes(key[order], reward[order], probability[order])
    return Problem(name, mdp, gamma, limit, outcomes)


def _reached(reached, state, following):
    """Return which states can be reached from those given, by the given steps."""
    while True:
        more = reached.copy()
        more[following[reached[state]]] = True
        if np.array_equal(more, reached):
            return reached
        reached = more


# A ward: patients of a severity, of whom the log discharges 78 % alive; the best doses 87.6 %.
N_PATIENT_STATES, N_DOSES, N_WAYS = 700, 25, 8
EFFECT = 0.08  # standard deviation of what a dose does in a state
USUAL_SHARE = 0.45  # of each of the two usual doses of a state


def ward(seed=0):
    """Return a clinical process of 700 states and 25 doses, and what its doctors do.

    Every state has two usual doses, mostly of the better ones; each of the others is given once in
    230 times. A dose changes the odds of dying, and whether the severity rises. An episode ends at
    home, which pays 1, or with death.
    """
    rng = np.random.default_rng(seed)
    n, n_states = N_PATIENT_STATES, N_PATIENT_STATES + 2
    home, dead = n, n + 1
    severity = np.sort(rng.uniform(size=n))
    drifted = severity[:, np.newaxis] + rng.normal(0, 0.18, (n, N_WAYS))
    near = np.clip(np.searchsorted(severity, drifted), 0, n - 1)
    effect = EFFECT * rng.normal(size=(n, N_DOSES))  # above 0 is worse
    behavior = np.full((n_states, N_DOSES), (1 - 2 * USUAL_SHARE) / (N_DOSES - 2))
    for state in range(n):
        odds = np.exp(-5 * effect[state])
        usual = rng.choice(N_DOSES, 2, replace=False, p=odds / odds.sum())
        behavior[state, usual] = USUAL_SHARE
    state, dose = np.divmod(np.arange(n * N_DOSES), N_DOSES)
    worse, ill = effect[state, dose], severity[state]
    dies = 1 / (1 + np.exp(5.84 - 3.2 * ill - 1.5 * worse))
    leaves = (1 - dies) * 0.085 * (1.2 - ill) / 0.7
    rises = (severity[near[state]] - ill[:, np.newaxis]) / 0.18
    stays = np.exp(1.5 * worse[:, np.newaxis] * rises)
    stays *= ((1 - dies - leaves) / stays.sum(axis=1))[:, np.newaxis]
    n_pairs = len(state)
    following = np.column_stack([near[state], np.full(n_pairs, home), np.full(n_pairs, dead)])
    probability = np.column_stack([stays, leaves, dies])
    pair = np.repeat(np.arange(n_pairs), N_WAYS + 2)
    transitions = csr_array(
        (probability.ravel(), (pair, following.ravel())), shape=(n_pairs, n_states)
    )
    transitions.sum_duplicates()
    start = np.append(np.exp(-(((severity - 0.5) / 0.25) ** 2)), [0, 0])
    mdp = MDP(
        transitions=transitions,
        rewards=leaves,
        pair_state=state,
        pair_action=dose,
        n_states=n_states,
        n_actions=N_DOSES,
        initial_distribution=start / start.sum(),
    )
    rows = np.repeat(np.arange(n_pairs, dtype=np.int64), np.diff(transitions.indptr))
    outcomes = Outcomes(
        rows * n_states + transitions.indices,
        (transitions.indices == home).astype(np.float64),
        transitions.data,
    )
    return Problem("ward", mdp, 0.99, outcomes=outcomes), behavior

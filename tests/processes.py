"""Small Markov decision processes with known solutions, and random ones."""

import numpy as np
from scipy.sparse import csr_array

from skmdp.mdp import MDP


def process(pairs, n_states=None, n_actions=None, **extra):
    """Build an MDP from {(state, action): (reward, {next state: probability})}."""
    keys = sorted(pairs)
    if n_states is None:
        n_states = 1 + max(max([s, *pairs[s, a][1]]) for s, a in keys)
    transitions = np.zeros((len(keys), n_states))
    for i, key in enumerate(keys):
        for successor, probability in pairs[key][1].items():
            transitions[i, successor] = probability
    return MDP(
        transitions=csr_array(transitions),
        rewards=np.array([pairs[key][0] for key in keys], dtype=float),
        pair_state=np.array([s for s, _ in keys]),
        pair_action=np.array([a for _, a in keys]),
        n_states=n_states,
        n_actions=n_actions or 1 + max(a for _, a in keys),
        **extra,
    )


def random_process(seed, *, n_states=8, n_actions=3, end=0.0, uniform=False):
    """Draw a process; every pair ends with probability ``end``, some pairs are not admissible."""
    rng = np.random.default_rng(seed)
    pairs = {}
    for s in range(n_states):
        kept = rng.choice(n_actions, size=rng.integers(1, n_actions + 1), replace=False)
        for a in kept:
            successors = rng.choice(n_states, size=min(3, n_states), replace=False)
            probabilities = rng.dirichlet(np.ones(len(successors))) * (1 - end)
            pairs[s, int(a)] = (rng.normal(), dict(zip(successors, probabilities, strict=True)))
    mdp = process(pairs, n_states, n_actions)
    if not uniform:
        return mdp
    mass = rng.uniform(0, 1, size=len(pairs)) * (rng.uniform(size=len(pairs)) < 0.5)
    scaled = mdp.transitions.multiply((1 - mass)[:, np.newaxis]).tocsr()
    return MDP(
        transitions=scaled,
        rewards=mdp.rewards,
        pair_state=mdp.pair_state,
        pair_action=mdp.pair_action,
        n_states=n_states,
        n_actions=n_actions,
        uniform_mass=mass * (1 - end),
    )


def exact_values(mdp, gamma):
    """Optimal values by Howard's policy iteration with dense direct solves."""
    dense = mdp.transitions.toarray()
    if mdp.uniform_mass is not None:
        dense = dense + mdp.uniform_mass[:, np.newaxis] / mdp.n_states
    V = np.zeros(mdp.n_states)
    chosen = None
    while True:
        Q = mdp.rewards + gamma * dense @ V
        best = {}
        for i, s in enumerate(mdp.pair_state):
            if s not in best or Q[i] > Q[best[s]] + 1e-12:
                best[s] = i
        if chosen is not None:  # keep the old choice unless it is truly worse
            best = {s: i if Q[i] > Q[chosen[s]] + 1e-10 else chosen[s] for s, i in best.items()}
        if best == chosen:
            return V
        chosen = best
        P, R = np.zeros((mdp.n_states, mdp.n_states)), np.zeros(mdp.n_states)
        for s, i in chosen.items():
            P[s], R[s] = dense[i], mdp.rewards[i]
        V = np.linalg.solve(np.eye(mdp.n_states) - gamma * P, R)

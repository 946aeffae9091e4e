"""Small Markov decision processes with known solutions, and random ones."""

from dataclasses import replace

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


def dense(mdp):
    """Return the probability of every next state of every pair, (n_pairs, n_states)."""
    P = mdp.transitions.toarray()
    if mdp.uniform_mass is not None:
        P = P + mdp.uniform_mass[:, np.newaxis] / mdp.n_states
    if mdp.shared_mass is not None:
        P = P + mdp.shared_mass[:, np.newaxis] * mdp.shared_transitions.toarray()[mdp.pair_state]
    return P


def random_process(seed, *, n_states=8, n_actions=3, end=0.0, uniform=False, shared=False):
    """Draw a process; every pair ends with probability ``end``, some pairs are not admissible.

    Some pairs may lead anywhere (``uniform``), or where their state leads (``shared``).
    """
    rng = np.random.default_rng(seed)
    pairs = {}
    for s in range(n_states):
        kept = rng.choice(n_actions, size=rng.integers(1, n_actions + 1), replace=False)
        for a in kept:
            successors = rng.choice(n_states, size=min(3, n_states), replace=False)
            probabilities = rng.dirichlet(np.ones(len(successors))) * (1 - end)
            pairs[s, int(a)] = (rng.normal(), dict(zip(successors, probabilities, strict=True)))
    mdp = process(pairs, n_states, n_actions)
    extra, left = {}, np.ones(len(pairs))
    if uniform:
        mass = rng.uniform(0, 1, size=len(pairs)) * (rng.uniform(size=len(pairs)) < 0.5)
        extra["uniform_mass"], left = mass * (1 - end), left - mass
    if shared:
        mass = left * rng.uniform(0, 1, size=len(pairs)) * (rng.uniform(size=len(pairs)) < 0.5)
        extra["shared_mass"], left = mass, left - mass
        rows = rng.dirichlet(np.ones(n_states), size=n_states) * (1 - end)
        rows[rng.uniform(size=rows.shape) < 0.5] = 0.0
        if end == 0.0:
            rows[np.arange(n_states), rng.integers(n_states, size=n_states)] += 0.1
            rows /= rows.sum(axis=1, keepdims=True)
        extra["shared_transitions"] = csr_array(rows)
    scaled = mdp.transitions.multiply(left[:, np.newaxis]).tocsr()
    return replace(mdp, transitions=scaled, **extra)


def exact_values(mdp, gamma):
    """Optimal values by Howard's policy iteration with dense direct solves."""
    everywhere = dense(mdp)
    V = np.zeros(mdp.n_states)
    chosen = None
    while True:
        Q = mdp.rewards + gamma * everywhere @ V
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
            P[s], R[s] = everywhere[i], mdp.rewards[i]
        V = np.linalg.solve(np.eye(mdp.n_states) - gamma * P, R)

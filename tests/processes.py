"""Small Markov decision processes with known solutions, and random ones."""

from fractions import Fraction

import numpy as np
from scipy.sparse import csr_array, hstack, vstack

from skmdp.mdp import MDP
from skmdp.mdp._estimated import EstimatedMDP


def process(pairs, n_states=None, n_actions=None, *, hub_mass=None, hub_transitions=None):
    """Build an MDP from {(state, action): (reward, {next state: probability})}, and hubs."""
    keys = sorted(pairs)
    if n_states is None:
        n_states = 1 + max(max([s, *pairs[s, a][1]]) for s, a in keys)
    transitions = np.zeros((len(keys), n_states))
    for i, key in enumerate(keys):
        for successor, probability in pairs[key][1].items():
            transitions[i, successor] = probability
    parts = {
        "transitions": csr_array(transitions),
        "rewards": np.array([pairs[key][0] for key in keys], dtype=float),
        "pair_state": np.array([s for s, _ in keys]),
        "pair_action": np.array([a for _, a in keys]),
        "n_states": n_states,
        "n_actions": n_actions or 1 + max(a for _, a in keys),
    }
    if hub_mass is None:
        return MDP(**parts)
    hubs = {"hub_mass": csr_array(hub_mass), "hub_transitions": csr_array(hub_transitions)}
    return EstimatedMDP(**parts, **hubs)


def dense(mdp):
    """Return the probability of every next state of every pair, (n_pairs, n_states)."""
    return np.column_stack([mdp.expected_next_values(one) for one in np.eye(mdp.n_states)])


def random_process(seed, *, n_states=8, n_actions=3, end=0.0, uniform=False, shared=False):
    """Draw a process; every pair ends with probability ``end``, some pairs are not admissible.

    Some pairs may lead anywhere (``uniform``), or where their state leads (``shared``), by hubs.
    """
    rng = np.random.default_rng(seed)
    pairs = {}
    for s in range(n_states):
        kept = rng.choice(n_actions, size=rng.integers(1, n_actions + 1), replace=False)
        for a in kept:
            successors = rng.choice(n_states, size=min(3, n_states), replace=False)
            probabilities = rng.dirichlet(np.ones(len(successors))) * (1 - end)
            pairs[s, int(a)] = (rng.normal(), dict(zip(successors, probabilities, strict=True)))
    plain = process(pairs, n_states, n_actions)
    if not (uniform or shared):
        return plain
    left, masses, hubs = np.ones(len(pairs)), [], []
    if uniform:
        mass = rng.uniform(0, 1, size=len(pairs)) * (rng.uniform(size=len(pairs)) < 0.5)
        left = left - mass
        masses.append(csr_array((mass * (1 - end))[:, np.newaxis]))
        hubs.append(csr_array(np.full((1, n_states), 1 / n_states)))
    if shared:
        mass = left * rng.uniform(0, 1, size=len(pairs)) * (rng.uniform(size=len(pairs)) < 0.5)
        left = left - mass
        masses.append(
            csr_array(
                (mass, plain.pair_state, np.arange(len(pairs) + 1)), shape=(len(pairs), n_states)
            )
        )
        rows = rng.dirichlet(np.ones(n_states), size=n_states) * (1 - end)
        rows[rng.uniform(size=rows.shape) < 0.5] = 0.0
        if end == 0.0:
            rows[np.arange(n_states), rng.integers(n_states, size=n_states)] += 0.1
            rows /= rows.sum(axis=1, keepdims=True)
        hubs.append(csr_array(rows))
    own = {
        key: (pairs[key][0], {t: p * k for t, p in pairs[key][1].items()})
        for key, k in zip(sorted(pairs), left, strict=True)
    }
    return process(own, n_states, n_actions, hub_mass=hstack(masses), hub_transitions=vstack(hubs))


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


def exact_q_values(mdp, gamma):
    """Optimal Q of every pair in rational numbers, by Howard's policy iteration; few states."""
    gamma, R = Fraction(gamma), [Fraction(float(r)) for r in mdp.rewards]
    P = [[Fraction(float(p)) for p in row] for row in dense(mdp)]
    pairs = {int(s): np.flatnonzero(mdp.pair_state == s).tolist() for s in mdp.acting_states}
    policy = {s: own[0] for s, own in pairs.items()}
    while True:
        rows = [[(s == t) - gamma * P[i][t] for t in policy] for s, i in policy.items()]
        V = dict(zip(policy, solve_exactly(rows, [R[i] for i in policy.values()]), strict=True))
        Q = [r + gamma * sum(row[t] * V[t] for t in V) for r, row in zip(R, P, strict=True)]
        better = {s: max(own, key=Q.__getitem__) for s, own in pairs.items()}
        if all(Q[better[s]] == Q[i] for s, i in policy.items()):
            return Q
        policy = better


def solve_exactly(rows, right):
    """Solve linear equations of rational numbers by Gauss-Jordan elimination."""
    rows = [[*row, b] for row, b in zip(rows, right, strict=True)]
    for i in range(len(rows)):
        pivot = next(j for j in range(i, len(rows)) if rows[j][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i], strict=True)]
    return [row[-1] for row in rows]

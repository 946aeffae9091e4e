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
    row, column = np.nonzero(transitions)
    bounds = np.append(0, np.cumsum(np.bincount(row, minlength=len(keys))))
    parts = {
        "transitions": csr_array((transitions[row, column], column, bounds), transitions.shape),
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


def odd_process(seed):
    """A process of a few states with all that is odd, and a discount; see the names in it."""
    rng = np.random.default_rng(seed)

    def pick(options):  # as rng.choice, without an array of them
        return options[rng.integers(len(options))]

    n, n_actions = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    gamma = float(pick([0, 0.5, 0.9, 0.999, 1 - 1e-5, 1 - 1e-9]))
    scale = pick([1.0, 1e12, 1e-6])
    constant, all_tie, nearly_tie, few_act, exceeds, shares = rng.uniform(size=6) < 0.15
    masses = [1.0, 0.5, 0.0, 1 - 1e-9] + [1 + 5e-10] * bool(exceeds and gamma < 1 - 1e-8)
    pairs = {}
    for s in range(n):
        if s and (few_act or rng.uniform() < 0.2):  # a state without pairs
            continue
        for a in range(n_actions):
            k = int(rng.integers(1, n + 1))
            row = rng.dirichlet(np.ones(k)) * pick(masses)
            row[rng.uniform(size=k) < 0.1] = 1e-300
            if rng.uniform() < 0.2:
                k, row = 1, np.array([1 - 1e-6])
            successors = dict(zip(rng.permutation(n)[:k].tolist(), row.tolist(), strict=True))
            reward = pick([-1.0, 0.0, 0.0, 1.0, rng.normal()]) * scale
            if constant:  # with rows of unequal mass
                reward = scale
            pairs[s, a] = (reward, successors)
            if all_tie:
                pairs[s, a] = pairs[s, 0]
            if nearly_tie:
                reward, successors = pairs[s, 0]
                pairs[s, a] = (reward + a * np.spacing(scale), successors)
    hubs = {}
    if shares:
        keys = sorted(pairs)
        mass = np.where(rng.uniform(size=(len(keys), 1)) < 0.5, rng.uniform(size=1), 0.0)
        hubs = {"hub_mass": mass, "hub_transitions": rng.dirichlet(np.ones(n), size=1)}
        for key, m in zip(keys, mass[:, 0], strict=True):
            reward, successors = pairs[key]
            pairs[key] = (reward, {t: p * (1 - m) for t, p in successors.items()})
    return process(pairs, n, n_actions, **hubs), gamma


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


def exact_rows(mdp):
    """Return the rows of P in rational numbers, a dict of next states without zeros each."""
    rows = [{} for _ in mdp.rewards]

    def add(row, column, probability):
        rows[row][column] = rows[row].get(column, 0) + probability

    def entries(matrix):
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        numbers = map(Fraction, matrix.data.tolist())
        return zip(rows.tolist(), matrix.indices.tolist(), numbers, strict=True)

    for row, column, probability in entries(mdp.transitions):
        add(row, column, probability)
    if isinstance(mdp, EstimatedMDP):
        hubs = list(entries(mdp.hub_transitions))
        for row, hub, mass in entries(mdp.hub_mass):
            for other, column, probability in hubs:
                if other == hub:
                    add(row, column, mass * probability)
    return rows


def exact_q_values(mdp, gamma, policy=None):
    """Optimal Q of every pair in rational numbers, by Howard's policy iteration; few states.

    ``policy`` is the action of every state to begin with.
    """
    gamma, R = Fraction(gamma), [Fraction(float(r)) for r in mdp.rewards]
    P = exact_rows(mdp)
    pairs = {int(s): np.flatnonzero(mdp.pair_state == s).tolist() for s in mdp.acting_states}
    chosen = {s: own[0] for s, own in pairs.items()}
    if policy is not None:
        chosen = {s: next(i for i in pairs[s] if mdp.pair_action[i] == policy[s]) for s in pairs}
    while True:
        rows = [[(s == t) - gamma * P[i].get(t, 0) for t in chosen] for s, i in chosen.items()]
        V = dict(zip(chosen, solve_exactly(rows, [R[i] for i in chosen.values()]), strict=True))
        Q = [
            r + gamma * sum(p * V[t] for t, p in row.items() if t in V)
            for r, row in zip(R, P, strict=True)
        ]
        better = {s: max(own, key=Q.__getitem__) for s, own in pairs.items()}
        if all(Q[better[s]] == Q[i] for s, i in chosen.items()):
            return Q
        chosen = better


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

"""Processes of many shapes to time solvers on, and their optimal values, certified.

Shapes come from literature and from logs: some mix fast, others hardly; values come from
everywhere, or from one goal far away. ``PROCESSES`` makes each of them from a random generator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, eye_array, vstack
from scipy.sparse.linalg import splu

from skmdp.mdp import MDP

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Process:
    """Pairs sorted by state, then action, and the discount to solve with.

    ``is_narrow`` says that equations of a policy are quickly solved by elimination.
    """

    transitions: csr_array
    rewards: np.ndarray
    state: np.ndarray
    action: np.ndarray
    gamma: float
    is_narrow: bool = False

    @property
    def n_states(self):
        return self.transitions.shape[1]

    def mdp(self):
        """Return a process of skmdp that nobody has looked at yet."""
        n_actions = int(self.action.max()) + 1
        parts = (self.transitions, self.rewards, self.state, self.action)
        return MDP(*parts, n_states=self.n_states, n_actions=n_actions)

    @property
    def n_bytes(self):
        """Size of the model in memory: 12 bytes an entry, and what each pair needs."""
        P = self.transitions
        parts = (P.data, P.indices, P.indptr, self.rewards, self.state, self.action)
        return sum(part.nbytes for part in parts)

    @cached_property
    def completed(self):
        """The same process for those to whom every row sums to one and every state has a pair.

        What a row lacks goes to one more state; it, and states without pairs, stay for ever.
        """
        n = self.n_states
        missing = 1 - self.transitions.sum(axis=1)
        ends = missing > 1e-12
        idle = np.setdiff1d(np.arange(n + bool(ends.any())), self.state)
        if not len(idle):
            return self
        n_all = n + bool(ends.any())
        P = self.transitions
        indptr = P.indptr + np.append(0, np.cumsum(ends))
        at = indptr[1:][ends] - 1
        is_old = np.ones(P.nnz + len(at), dtype=bool)
        is_old[at] = False
        indices, data = np.full(len(is_old), n), np.empty(len(is_old))
        indices[is_old], data[is_old], data[at] = P.indices, P.data, missing[ends]
        rows = csr_array((data, indices, indptr), shape=(P.shape[0], n_all))
        stays = csr_array(
            (np.ones(len(idle)), (np.arange(len(idle)), idle)), shape=(len(idle), n_all)
        )
        state = np.append(self.state, idle)
        order = np.argsort(state, kind="stable")
        return Process(
            vstack([rows, stays], format="csr")[order],
            np.append(self.rewards, np.zeros(len(idle)))[order],
            state[order],
            np.append(self.action, np.zeros(len(idle), dtype=np.int64))[order],
            self.gamma,
            self.is_narrow,
        )


# ------------------------------------------------------------------ how they are made


def assembled(state, action, following, weight, rewards, n_states, gamma, **options):
    """Return the process whose pair i leads to ``following[i]``, in proportion to its weights.

    ``following`` and ``weight`` are (n_pairs, n_ways); ways of weight 0 are no ways, and weights
    that sum to less than one leave the rest to the end.
    """
    n_pairs, n_ways = following.shape
    row = np.repeat(np.arange(n_pairs), n_ways)
    keep = weight.ravel() > 0
    P = csr_array(
        (weight.ravel()[keep], (row[keep], following.ravel()[keep])), shape=(n_pairs, n_states)
    )
    P.sum_duplicates()
    return Process(P, rewards, state, action, gamma, **options)


def every_pair(n_states, n_actions):
    """Return state and action of each pair where all actions are open in all states."""
    return np.repeat(np.arange(n_states), n_actions), np.tile(np.arange(n_actions), n_states)


def shares(rng, *shape):
    """Return weights that sum to one along the last axis."""
    weight = rng.exponential(size=shape)
    return weight / weight.sum(axis=-1, keepdims=True)


def random(rng, n, n_actions, n_ways, gamma, ends=0.0, hub=0.0):
    """Every pair leads anywhere; it may end with some probability, or go to one of few hubs."""
    state, action = every_pair(n, n_actions)
    following = rng.integers(n, size=(len(state), n_ways))
    weight = shares(rng, len(state), n_ways)
    if hub:
        following[:, 0] = rng.integers(max(1, n // 5000), size=len(state))
        weight = np.column_stack(
            [np.full(len(state), hub), (1 - hub) * shares(rng, *weight[:, 1:].shape)]
        )
    weight *= 1 - ends * rng.uniform(size=(len(state), 1))
    return assembled(state, action, following, weight, rng.uniform(size=len(state)), n, gamma)


def grid(rng, side, gamma, walls=0.0, cost=False):
    """Walk on a grid, pushed aside in 3 of 10 steps, to a goal that pays, or ends what it costs."""
    n = side * side
    is_free = rng.uniform(size=n) >= walls
    goal = int(rng.choice(np.flatnonzero(is_free)))
    cell = np.flatnonzero(is_free & (np.arange(n) != goal))
    y, x = np.divmod(cell, side)
    steps = []
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        to = np.clip(y + dy, 0, side - 1) * side + np.clip(x + dx, 0, side - 1)
        steps.append(np.where(is_free[to], to, cell))
    following = np.repeat(np.stack(steps, axis=1), 4, axis=0)
    weight = np.tile(np.full((4, 4), 0.1) + 0.6 * np.eye(4), (len(cell), 1))
    state, action = np.repeat(cell, 4), np.tile(np.arange(4), len(cell))
    at_goal = (weight * (following == goal)).sum(axis=1)
    rewards = (
        -rng.uniform(0.1, 0.2, size=len(cell))[np.arange(len(cell)).repeat(4)] if cost else at_goal
    )
    return assembled(state, action, following, weight, rewards, n, gamma, is_narrow=True)


def log_like(rng, n, gamma, reach=None, loop=True):
    """What logs leave: a few rows of most pairs, to popular states, or to those near by.

    The ``loop`` is two states that pay best and lead to each other, as long as nothing else is
    logged of them. It is found late, and left never, so what is not yet known of it lasts.
    """
    n_of_state = 1 + rng.binomial(7, 0.4, size=n)
    state = np.repeat(np.arange(n), n_of_state)
    action = np.arange(len(state)) - np.repeat(np.cumsum(n_of_state) - n_of_state, n_of_state)
    n_rows = np.minimum(rng.geometric(0.6, size=len(state)), 12)
    drawn = np.arange(12) < n_rows[:, None]
    shape = drawn.shape
    if reach is None:
        following = (n * rng.uniform(size=shape) ** 2).astype(np.int64)
        following = rng.permutation(n)[following]
    else:
        following = (state[:, None] + rng.integers(-reach, reach + 1, size=shape)) % n
    weight = drawn / n_rows[:, None]
    rewards = rng.uniform(size=len(state))
    if loop:
        inside = np.flatnonzero(state < 2)
        following[inside] = 1 - state[inside, None]
        rewards[inside] = 1 - 0.2 * state[inside]
    return assembled(state, action, following, weight, rewards, n, gamma)


def local_chain(rng, n, gamma):
    """Every pair leads to places near by, and pays what it pays."""
    state, action = every_pair(n, 4)
    following = np.clip(state[:, None] + rng.integers(-5, 6, size=(len(state), 4)), 0, n - 1)
    rewards = rng.uniform(size=len(state))
    weight = shares(rng, len(state), 4)
    return assembled(state, action, following, weight, rewards, n, gamma, is_narrow=True)


def queue(rng, n, n_actions, gamma):
    """A queue whose service may be faster at a price; waiting costs."""
    state, action = every_pair(n, n_actions)
    arrives = rng.uniform(0.35, 0.45)
    served = np.linspace(0.1, 0.55, n_actions)[action]
    following = np.stack([np.minimum(state + 1, n - 1), np.maximum(state - 1, 0), state], axis=1)
    weight = np.stack([np.full(len(state), arrives), served, 1 - arrives - served], axis=1)
    price = rng.uniform(1, 3) * np.linspace(0, 1, n_actions)[action] ** 2
    rewards = -state / n - price
    return assembled(state, action, following, weight, rewards, n, gamma, is_narrow=True)


def forest(rng, n, gamma):
    """Wait, though it may burn, or cut (the example of pymdptoolbox)."""
    burns = rng.uniform(0.05, 0.15)
    state, action = every_pair(n, 2)
    waits = action == 0
    following = np.stack([np.zeros(2 * n, np.int64), np.minimum(state + 1, n - 1)], axis=1)
    weight = np.where(waits[:, None], [burns, 1 - burns], [1.0, 0.0])
    rewards = np.where(waits, 4.0 * (state == n - 1), np.where(state == n - 1, 2.0, state > 0))
    return assembled(state, action, following, weight, rewards, n, gamma)


def inventory(rng, n, gamma):
    """Order up to what fits in; sell what is asked for."""
    room, most = n - 1, 12
    stock, order = (part.ravel() for part in np.mgrid[:n, : most + 1])
    fits = stock + order <= room
    stock, order = stock[fits], order[fits]
    demand = np.arange(25)
    chance = shares(rng, len(demand))
    sold = np.minimum((stock + order)[:, None], demand)
    rewards = sold @ chance * 5 - 2 * order - 3 * (order > 0) - 0.05 * stock
    following = (stock + order)[:, None] - sold
    weight = np.broadcast_to(chance, following.shape)
    return assembled(stock, order, following, weight, rewards, n, gamma, is_narrow=True)


def corridor(rng, n, gamma, back=0.0, onwards=0):
    """On or back, perhaps back instead of on, and one reward at the far end, then the start again.

    Action 0 wins ties, so where it leads ``onwards`` the reward is found sooner.
    """
    state, action = every_pair(n, 2)
    right = np.where(state == n - 1, 0, state + 1)
    left = np.maximum(state - 1, 0)
    following = np.stack([np.where(action == onwards, right, left), left], axis=1)
    slips = back * rng.uniform(0.5, 1)
    weight = np.tile([1 - slips, slips], (len(state), 1))
    rewards = np.where((state == n - 1) & (action == onwards), 1.0, 0.0)
    return assembled(state, action, following, weight, rewards, n, gamma, is_narrow=True)


def deterministic(rng, n, n_actions, gamma):
    return random(rng, n, n_actions, 1, gamma)


def ragged(rng, n, gamma):
    """Some states have many actions, some none; some pairs lead to many states."""
    n_of_state = rng.integers(0, 9, size=n)
    n_of_state[0] = 8
    state = np.repeat(np.arange(n), n_of_state)
    action = np.arange(len(state)) - np.repeat(np.cumsum(n_of_state) - n_of_state, n_of_state)
    following = rng.integers(n, size=(len(state), 10))
    drawn = np.arange(10) < rng.integers(1, 11, size=len(state))[:, None]
    weight = drawn * rng.exponential(size=drawn.shape)
    weight /= weight.sum(axis=1, keepdims=True)
    return assembled(state, action, following, weight, rng.normal(size=len(state)), n, gamma)


def blocks(rng, n, gamma, size=200):
    """Blocks that are hardly ever left, each with rewards of its own level."""
    state, action = every_pair(n, 4)
    own = state[:, None] // size * size + rng.integers(size, size=(len(state), 5))
    following = np.column_stack([own, rng.integers(n, size=len(state))])
    leaves = 1e-4
    weight = np.column_stack(
        [(1 - leaves) * shares(rng, len(state), 5), np.full(len(state), leaves)]
    )
    rewards = rng.uniform(size=n // size)[state // size] + rng.uniform(size=len(state))
    return assembled(state, action, following, weight, rewards, n, gamma)


def dense(rng, n, n_actions, gamma):
    state, action = every_pair(n, n_actions)
    following = np.broadcast_to(np.arange(n), (len(state), n))
    weight = shares(rng, len(state), n)
    return assembled(state, action, following, weight, rng.uniform(size=len(state)), n, gamma)


PROCESSES: dict[str, Callable[[np.random.Generator], Process]] = {
    "random 1e3": lambda rng: random(rng, 1000, 5, 5, 0.99),
    "random 1e4": lambda rng: random(rng, 10_000, 10, 10, 0.99),
    "random 2e4 .999": lambda rng: random(rng, 20_000, 5, 5, 0.999),
    "random 1e5": lambda rng: random(rng, 100_000, 10, 10, 0.99),
    "grid 200": lambda rng: grid(rng, 200, 0.999),
    "grid 500": lambda rng: grid(rng, 500, 0.999),
    "walls 200": lambda rng: grid(rng, 200, 0.999, walls=0.25),
    "logs 5e4": lambda rng: log_like(rng, 50_000, 0.99),
    "logs, mixing": lambda rng: log_like(rng, 50_000, 0.99, loop=False),
    "local logs 1e5": lambda rng: log_like(rng, 100_000, 0.99, reach=50),
    "local chain 5e4": lambda rng: local_chain(rng, 50_000, 0.999),
    "queue 5000x10": lambda rng: queue(rng, 5000, 10, 0.999),
    "forest 1000": lambda rng: forest(rng, 1000, 0.99),
    "inventory 501": lambda rng: inventory(rng, 501, 0.99),
    "corridor 1e4": lambda rng: corridor(rng, 10_000, 0.999),
    "corridor 1e5": lambda rng: corridor(rng, 100_000, 0.9999),
    "corridor tied 3000": lambda rng: corridor(rng, 3000, 0.999, onwards=1),
    "end reward 3000": lambda rng: corridor(rng, 3000, 0.999, back=0.2),
    "determ 5e4": lambda rng: deterministic(rng, 50_000, 4, 0.99),
    "ragged 2e4": lambda rng: ragged(rng, 20_000, 0.99),
    "hub 2e4": lambda rng: random(rng, 20_000, 5, 5, 0.999, hub=0.5),
    "absorbing 2e4": lambda rng: random(rng, 20_000, 5, 5, 0.99, ends=0.05),
    "blocks 2e4": lambda rng: blocks(rng, 20_000, 0.999),
    "cost to goal 60": lambda rng: grid(rng, 60, 0.9999, walls=0.3, cost=True),
    "dense 300x5": lambda rng: dense(rng, 300, 5, 0.99),
}
LARGE = {
    "random 1e6": lambda rng: random(rng, 1_000_000, 4, 5, 0.99),
    "grid 1000": lambda rng: grid(rng, 1000, 0.999),
    "logs 1e6": lambda rng: log_like(rng, 1_000_000, 0.99),
}


# ------------------------------------------------------------------ the truth


def certified_values(process, start, enough=1e-8, most_rounds=100):
    """Return optimal values and a bound on their error, from any start.

    Policies are evaluated by elimination, or by sweeps, without any code of a solver. The proof is
    that of value iteration, in long double: all rows sum to one, so V* - TV lies between
    gamma / (1 - gamma) times the least and the largest of TV - V, whatever V is and where it is
    from. Without progress, or after ``most_rounds``, the bound is what it is.
    """
    complete = process.completed
    n, gamma, P, R = complete.n_states, complete.gamma, complete.transitions, complete.rewards
    first = np.flatnonzero(np.append(True, np.diff(complete.state) > 0))
    V = np.zeros(n)
    V[: len(start)] = start
    factor = gamma / (1 - gamma)
    n_terms = int(np.diff(P.indptr).max()) + 4
    is_fine = 2 * factor * n_terms * EPS * (np.abs(R).max() + np.abs(V).max()) <= 0.8 * enough
    eps = EPS if is_fine else float(np.finfo(np.longdouble).eps)
    if not is_fine:
        P, R, V = P.astype(np.longdouble), R.astype(np.longdouble), V.astype(np.longdouble)
    for _ in range(most_rounds):
        Q = R + gamma * (P @ V)
        TV = np.maximum.reduceat(Q, first)
        change = TV - V
        rounding = 2 * n_terms * eps * (np.abs(R).max() + np.abs(V).max())
        low, up = factor * (change.min() - rounding), factor * (change.max() + rounding)
        V = TV + (low + up) / 2
        bound = float((up - low) / 2 + rounding)
        if bound <= enough:
            break
        best = np.flatnonzero(np.repeat(TV, np.diff(np.append(first, len(Q)))) == Q)
        best = best[np.unique(complete.state[best], return_index=True)[1]]
        solve = eliminated if complete.is_narrow else swept
        V = solve(P[best], R[best], gamma, V, 0.1 * enough / factor)
    return V[: process.n_states].astype(np.float64), bound


def eliminated(P, R, gamma, V, enough):
    """Return the values of a policy by LU, refined."""
    factors = splu((eye_array(P.shape[0], format="csc") - gamma * P.astype(np.float64)).tocsc())
    for _ in range(4):
        V = V + factors.solve((R + gamma * (P @ V) - V).astype(np.float64))
    return V


def swept(P, R, gamma, V, enough, most=30_000):
    """Return the values of a policy by sweeps until they change alike everywhere."""
    for _ in range(most):
        before, V = V, R + gamma * (P @ V)
        change = V - before
        if np.ptp(change) <= enough:
            break
    return V + gamma / (1 - gamma) * (change.min() + change.max()) / 2

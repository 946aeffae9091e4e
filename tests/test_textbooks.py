"""Processes of textbooks and of other libraries, built from their descriptions: printed results."""

import itertools
from functools import cache

import gymnasium
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from processes import process

from skmdp.mdp import MDP
from skmdp.solvers import (
    backward_induction,
    evaluate_policy,
    policy_iteration,
    relative_value_iteration,
    solve,
    value_iteration,
)

SOLVERS = ["modified_policy_iteration", "policy_iteration", "value_iteration"]
each_solver = pytest.mark.parametrize("solver", SOLVERS)

# --------------------------------------------------------------------------------- Puterman (2005)


@each_solver
def test_puterman_two_states(solver):
    """Example 6.2.1, whose values are printed as -8.57 and -20."""
    P = np.array([[[0.5, 0.5], [0, 1]], [[0, 1], [0, 1]]])
    mdp = MDP.from_arrays(P, [[5, 10], [-1, -np.inf]])
    solution = solve(mdp, 0.95, solver=solver)
    error = np.abs(solution.state_values - [-60 / 7, -20]).max()
    assert error <= solution.value_error_bound <= 2e-5
    assert_array_equal(solution.policy, [0, 0])


def test_puterman_inventory():
    """Sections 3.2.2 and 4.6.1: at most 3 in stock, three months."""
    demand, order_cost = [0.25, 0.5, 0.25], lambda a: (4 + 2 * a) * (a > 0)
    pairs = {}
    for s in range(4):
        for a in range(4 - s):
            sold = sum(p * 8 * min(s + a, d) for d, p in enumerate(demand))
            pairs[s, a] = (sold - order_cost(a) - (s + a), {})
            for d, p in enumerate(demand):
                left = max(s + a - d, 0)
                pairs[s, a][1][left] = pairs[s, a][1].get(left, 0) + p
    solution = backward_induction(process(pairs), 3)
    assert_allclose(
        solution.state_values,
        [[67 / 16, 129 / 16, 194 / 16, 227 / 16], [2, 6.25, 10, 10.5], [0, 5, 6, 5], [0] * 4],
    )
    assert_array_equal(solution.policy, [[3, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])


# ----------------------------------------------------------------------------------- Howard (1960)


def test_howard_toymaker():
    """Chapters 3 and 4: advertising and research; table of values of the last four periods."""
    P = [[[0.5, 0.5], [0.8, 0.2]], [[0.4, 0.6], [0.7, 0.3]]]
    R = [[[9, 3], [4, 4]], [[3, -7], [1, -19]]]
    mdp = MDP.from_arrays(np.array(P), np.array(R, dtype=float))
    solution = backward_induction(mdp, 4)
    assert_allclose(
        solution.state_values, [[12.222, 2.223], [10.22, 0.23], [8.2, -1.7], [6, -3], [0, 0]]
    )
    assert_array_equal(solution.policy, [[1, 1], [1, 1], [1, 1], [0, 0]])
    forever = relative_value_iteration(mdp)
    assert abs(forever.gain - 2) <= forever.gain_error_bound
    assert_allclose(forever.bias, [0, -10], atol=1e-4)
    assert_array_equal(forever.policy, [1, 1])


def test_howard_taxicab():
    """Chapter 4: three towns; cruise, wait at a stand, or wait for a call by radio."""
    trips = {
        (0, 0): ([1 / 2, 1 / 4, 1 / 4], [10, 4, 8]),
        (0, 1): ([1 / 16, 3 / 4, 3 / 16], [8, 2, 4]),
        (0, 2): ([1 / 4, 1 / 8, 5 / 8], [4, 6, 4]),
        (1, 0): ([1 / 2, 0, 1 / 2], [14, 0, 18]),
        (1, 1): ([1 / 16, 7 / 8, 1 / 16], [8, 16, 8]),
        (2, 0): ([1 / 4, 1 / 4, 1 / 2], [10, 2, 8]),
        (2, 1): ([1 / 8, 3 / 4, 1 / 8], [6, 4, 2]),
        (2, 2): ([3 / 4, 1 / 16, 3 / 16], [4, 0, 8]),
    }
    mdp = process({key: (np.dot(p, r), dict(enumerate(p))) for key, (p, r) in trips.items()})
    solution = relative_value_iteration(mdp, tol=1e-9)
    assert abs(solution.gain - 1588 / 119) <= solution.gain_error_bound  # 13.34453...
    assert_array_equal(solution.policy, [1, 1, 1])
    assert_allclose(solution.bias - solution.bias[2], [-1.18, 12.66, 0], atol=0.005)


# Cost and trade-in value of a car, running expense and probability of surviving, by its age in
# quarters: Howard (1960), table 5.1.
CARS = """
2000 1600  50 1.000,1840 1460  53 0.999,1680 1340  56 0.998,1560 1230  59 0.997,1300 1050  62 0.996,
1220  980  65 0.994,1150  910  68 0.991,1080  840  71 0.988, 900  710  75 0.985, 840  650  78 0.983,
 780  600  81 0.980, 730  550  84 0.975, 600  480  87 0.970, 560  430  90 0.965, 520  390  93 0.960,
 480  360  96 0.955, 440  330 100 0.950, 420  310 103 0.945, 400  290 106 0.940, 380  270 109 0.935,
 360  255 112 0.930, 345  240 115 0.925, 330  225 118 0.919, 315  210 121 0.910, 300  200 125 0.900,
 290  190 129 0.890, 280  180 133 0.880, 265  170 137 0.865, 250  160 141 0.850, 240  150 145 0.820,
 230  145 150 0.790, 220  140 155 0.760, 210  135 160 0.730, 200  130 167 0.660, 190  120 175 0.590,
 180  115 182 0.510, 170  110 190 0.430, 160  105 205 0.300, 150   95 220 0.200, 140   87 235 0.100,
 130   80 250 0.000
"""


def test_howard_automobile():
    """Section 5.2: keep the car, or trade it for one of any age; it may break down for good."""
    cost, trade_in, expense, survives = np.array(
        [row.split() for row in CARS.split(",")], dtype=float
    ).T
    oldest = len(cost) - 1

    def quarter(age):
        following = min(age + 1, oldest)
        return {following: survives[age], oldest: 1 - survives[age] * (following < oldest)}

    pairs = {}
    for age in range(1, oldest + 1):
        pairs[age - 1, 0] = (-expense[age], quarter(age))
        for other in range(oldest):
            paid = trade_in[age] - cost[other] - expense[other]
            pairs[age - 1, 1 + other] = (paid, quarter(other))
    # States are ages from one quarter on.
    pairs = {key: (r, {t - 1: p for t, p in row.items()}) for key, (r, row) in pairs.items()}
    solution = relative_value_iteration(process(pairs))
    assert abs(solution.gain + 150.946) <= 5e-4 + solution.gain_error_bound
    traded = set(solution.policy[26:].tolist())
    assert traded == {1 + 12}  # for a car three years old, from six years and three quarters on


# ------------------------------------------------------------------- Russell and Norvig (2021), 17


def test_russell_and_norvig_four_by_three():
    """Each step pays -0.04; it goes astray to either side with probability 0.1."""
    wall, ends = (1, 1), {(0, 3): 1.0, (1, 3): -1.0}
    cells = [cell for cell in itertools.product(range(3), range(4)) if cell != wall]
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    pairs = {}
    for s, (row, column) in enumerate(cells):
        for a in range(4) if (row, column) not in ends else ():
            reward, successors = -0.04, {}
            for turn, p in ((0, 0.8), (-1, 0.1), (1, 0.1)):
                down, right = moves[(a + turn) % 4]
                there = (row + down, column + right)
                there = there if there in cells else (row, column)
                reward += p * ends.get(there, 0.0)
                t = cells.index(there)
                successors[t] = successors.get(t, 0.0) + p
            pairs[s, a] = (reward, successors)
    solution = solve(process(pairs, n_states=11), 1.0)
    found = dict(zip(cells, solution.state_values.round(3).tolist(), strict=True))
    assert found == {
        **dict(zip([(0, 0), (0, 1), (0, 2), (0, 3)], [0.812, 0.868, 0.918, 0], strict=True)),
        **dict(zip([(1, 0), (1, 2), (1, 3)], [0.762, 0.660, 0], strict=True)),
        **dict(zip([(2, 0), (2, 1), (2, 2), (2, 3)], [0.705, 0.655, 0.611, 0.388], strict=True)),
    }


# ------------------------------------------------------------------------ Sutton and Barto (2018)


def grid(n_rows, n_columns, step, moves=((-1, 0), (1, 0), (0, 1), (0, -1))):
    """Build a grid without chance; ``step(row, column, move)`` gives reward and next cell."""
    pairs = {}
    for s, (row, column) in enumerate(itertools.product(range(n_rows), range(n_columns))):
        for a, move in enumerate(moves):
            outcome = step(row, column, move)
            if outcome is not None:
                reward, (i, j) = outcome
                pairs[s, a] = (reward, {i * n_columns + j: 1.0})
    return process(pairs, n_states=n_rows * n_columns)


@each_solver
def test_sutton_and_barto_gridworld(solver):
    """Example 3.5 and figure 3.5: two cells pay 10 and 5 and lead elsewhere."""

    def step(row, column, move):
        if (row, column) in ((0, 1), (0, 3)):
            return (10.0, (4, 1)) if column == 1 else (5.0, (2, 3))
        i, j = row + move[0], column + move[1]
        return (0.0, (i, j)) if 0 <= i < 5 and 0 <= j < 5 else (-1.0, (row, column))

    mdp = grid(5, 5, step)
    at_random = evaluate_policy(mdp, np.full((25, 4), 0.25), 0.9).state_values
    assert_allclose(
        at_random.reshape(5, 5),
        [
            [3.3, 8.8, 4.4, 5.3, 1.5],
            [1.5, 3.0, 2.3, 1.9, 0.5],
            [0.1, 0.7, 0.7, 0.4, -0.4],
            [-1.0, -0.4, -0.4, -0.6, -1.2],
            [-1.9, -1.3, -1.2, -1.4, -2.0],
        ],
        atol=0.0501,
    )
    assert_allclose(
        solve(mdp, 0.9, solver=solver).state_values.reshape(5, 5),
        [
            [22.0, 24.4, 22.0, 19.4, 17.5],
            [19.8, 22.0, 19.8, 17.8, 16.0],
            [17.8, 19.8, 17.8, 16.0, 14.4],
            [16.0, 17.8, 16.0, 14.4, 13.0],
            [14.4, 16.0, 14.4, 13.0, 11.7],
        ],
        atol=0.0501,
    )


@each_solver
def test_sutton_and_barto_small_gridworld(solver):
    """Example 4.1 and figure 4.1: -1 a step until one of two corners."""

    def step(row, column, move):
        if (row, column) in ((0, 0), (3, 3)):
            return None
        i, j = row + move[0], column + move[1]
        return -1.0, ((i, j) if 0 <= i < 4 and 0 <= j < 4 else (row, column))

    mdp = grid(4, 4, step)
    at_random = evaluate_policy(mdp, np.full((16, 4), 0.25), 1.0)
    truth = [0, -14, -20, -22, -14, -18, -20, -20, -20, -20, -18, -14, -22, -20, -14, 0]
    assert np.abs(at_random.state_values - truth).max() <= at_random.value_error_bound
    best = solve(mdp, 1.0, solver=solver)
    truth = [0, -1, -2, -3, -1, -2, -3, -2, -2, -3, -2, -1, -3, -2, -1, 0]
    assert np.abs(best.state_values - truth).max() <= best.value_error_bound


def gambler(heads, least_stake):
    pairs = {}
    for s in range(1, 100):
        for stake in range(least_stake, min(s, 100 - s) + 1):
            successors = {s + stake: heads, s - stake: 1 - heads} if stake else {s: 1.0}
            pairs[s, stake] = (heads * (s + stake == 100), successors)
    return process(pairs, n_states=101)


@each_solver
@pytest.mark.parametrize("least_stake", [0, 1])
def test_sutton_and_barto_gambler(solver, least_stake):
    """Example 4.3: with heads at 0.4 it is best to be bold. Stakes of 0 are loops."""
    solution = solve(gambler(0.4, least_stake), 1.0, solver=solver)
    V = solution.state_values
    assert_allclose(V[[25, 50, 75]], [0.16, 0.4, 0.64])
    for s in range(1, 100):
        bold = 0.4 * V[2 * s] if s < 50 else 0.4 + 0.6 * V[2 * s - 100]
        assert abs(V[s] - bold) <= 2 * solution.value_error_bound
    assert (solution.policy[1:100] >= 1).all()  # it never waits


def test_a_gambler_with_the_odds_on_his_side_is_timid():
    """Gambler's ruin, with one unit a time: (1 - (q/p)^s) / (1 - (q/p)^100)."""
    solution = solve(gambler(0.55, 1), 1.0)
    odds = 0.45 / 0.55
    truth = (1 - odds ** np.arange(100)) / (1 - odds**100)
    assert np.abs(solution.state_values[:100] - truth).max() <= solution.value_error_bound
    assert_array_equal(solution.policy[1:50], np.ones(49))


FOUR = ((-1, 0), (1, 0), (0, 1), (0, -1))
KING = (*FOUR, (-1, -1), (-1, 1), (1, -1), (1, 1))


@each_solver
@pytest.mark.parametrize(("moves", "n_steps"), [(FOUR, 15), (KING, 7)])
def test_sutton_and_barto_windy_gridworld(solver, moves, n_steps):
    """Example 6.5 and exercise 6.9: the wind lifts by the strength of the column that is left."""
    wind = [0, 0, 0, 1, 1, 1, 2, 2, 1, 0]

    def step(row, column, move):
        if (row, column) == (3, 7):
            return None
        i = np.clip(row + move[0] - wind[column], 0, 6)
        return -1.0, (int(i), int(np.clip(column + move[1], 0, 9)))

    solution = solve(grid(7, 10, step, moves), 1.0, solver=solver)
    assert abs(solution.state_values[30] + n_steps) <= solution.value_error_bound


# --------------------------------------------------------------------------------- Bertsekas (2017)


def test_bertsekas_inventory():
    """Example 1.3.2: two places, three periods; ordering costs, and what is left, squared.

    Printed: 3.7, 2.7 and 2.818 with three periods to go.
    """
    pairs = {}
    for x in range(3):
        for u in range(3 - x):
            cost, following = u, {}
            for w, p in enumerate([0.1, 0.7, 0.2]):
                cost += p * (x + u - w) ** 2
                left = max(0, x + u - w)
                following[left] = following.get(left, 0.0) + p
            pairs[x, u] = (-cost, following)
    solution = backward_induction(process(pairs), 3)
    printed = [[3.7, 2.7, 2.818], [2.5, 1.5, 1.68], [1.3, 0.3, 1.1], [0, 0, 0]]
    assert_allclose(-solution.state_values, printed, atol=1e-12)
    assert_array_equal(solution.policy, [[1, 0, 0]] * 3)


# ----------------------------------------------------------------------------------- pymdptoolbox


def test_the_forest_of_pymdptoolbox():
    """Wait or cut; a fire with probability 0.1. Printed in the manual for three ages."""
    fire = 0.1
    wait = [[fire, 1 - fire, 0], [fire, 0, 1 - fire], [fire, 0, 1 - fire]]
    cut = [[1, 0, 0]] * 3
    mdp = MDP.from_arrays(np.array([wait, cut]), [[0, 0], [0, 1], [4, 2]], first_axis="action")
    assert_allclose(policy_iteration(mdp, 0.9).state_values, [26.244, 29.484, 33.484], rtol=1e-6)
    assert_allclose(value_iteration(mdp, 0.9).state_values, [26.244, 29.484, 33.484], rtol=1e-6)
    finite = backward_induction(mdp, 3, gamma=0.9).state_values
    printed = [[2.6973, 5.9373, 9.9373], [0.81, 3.24, 7.24], [0, 1, 4], [0, 0, 0]]
    assert_allclose(finite, printed)
    forever = relative_value_iteration(mdp)
    assert abs(forever.gain - 3.24) <= forever.gain_error_bound
    assert_array_equal(forever.policy, [0, 0, 0])


# -------------------------------------------------------------------------------------- Gymnasium

TOY = ["FrozenLake", "FrozenLake8x8", "Taxi", "CliffWalking", "SlipperyCliff"]


class Slippery(gymnasium.Env):
    """A cliff on which a step goes astray to either side as often as it does not."""

    def __init__(self, env):
        self.P = {
            s: {a: self._thirds(of_actions, a) for a in of_actions}
            for s, of_actions in env.unwrapped.P.items()
        }
        self.initial_state_distrib = env.unwrapped.initial_state_distrib
        self.observation_space, self.action_space = env.observation_space, env.action_space

    @staticmethod
    def _thirds(of_actions, a):
        sides = [of_actions[(a + turn) % 4][0] for turn in (-1, 0, 1)]
        return [(p / 3, t, reward, ends) for p, t, reward, ends in sides]


def environment(name):
    """Make an environment in its newest version."""
    if name == "SlipperyCliff":
        return Slippery(environment("CliffWalking"))
    return gymnasium.make(
        max(known for known in gymnasium.registry if known.startswith(f"{name}-v"))
    )


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("FrozenLake", 14 / 17),
        ("FrozenLake8x8", 1.0),
        ("Taxi", 7.93),
        ("CliffWalking", -13.0),
        ("SlipperyCliff", -64.7091759100),
    ],
)
def test_toy_text_without_discount(name, truth):
    mdp = MDP.from_gymnasium(environment(name))
    solution = solve(mdp, 1.0)
    at_start = mdp.initial_distribution @ solution.state_values
    assert abs(at_start - truth) <= solution.value_error_bound + 1e-9
    assert solution.converged
    own = evaluate_policy(mdp, solution.policy, 1.0)
    slack = own.value_error_bound + solution.value_error_bound
    assert np.abs(own.state_values - solution.state_values).max() <= slack


@cache
def dense_values(name, gamma):
    """Howard's policy iteration on the environment's own table, in full matrices."""
    table = environment(name).unwrapped.P
    n, k = len(table), len(table[0])
    P, R = np.zeros((n, k, n)), np.zeros((n, k))
    for s, a in itertools.product(range(n), range(k)):
        for p, t, reward, ends in table[s][a]:
            R[s, a] += p * reward
            P[s, a, t] += p * (not ends)
    policy = np.zeros(n, dtype=int)
    while True:
        states = np.arange(n)
        V = np.linalg.solve(np.eye(n) - gamma * P[states, policy], R[states, policy])
        Q = R + gamma * P @ V
        better = np.where(Q.max(axis=1) > Q[states, policy] + 1e-11, Q.argmax(axis=1), policy)
        if (better == policy).all():
            return V
        policy = better


@each_solver
@pytest.mark.parametrize("gamma", [0.9, 0.99])
@pytest.mark.parametrize("name", TOY)
def test_toy_text_with_discount(name, gamma, solver):
    mdp, truth = MDP.from_gymnasium(environment(name)), dense_values(name, gamma)
    solution = solve(mdp, gamma, solver=solver)
    # What ends an episode leads to a state that is worth nothing.
    reached = mdp.acting_states
    error = np.abs(solution.state_values - truth)[reached].max()
    assert error <= solution.value_error_bound + 1e-11 * np.abs(truth).max() / (1 - gamma)
    assert solution.converged

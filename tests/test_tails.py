"""Late steps in closed form: what they say, and how well it is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import block_diag
from scipy.sparse import csr_array

from skmdp._evaluation.direct import follow_values, follow_visits
from skmdp._evaluation.horizon import Horizon, Path
from skmdp._evaluation.tails import Tail, close_tails, join

SEEDS = st.integers(0, 10**6)


def random_tail(rng, n_modes, size=3):
    basis, matrix = rng.normal(size=(n_modes, size)), rng.normal(size=(n_modes, n_modes))
    return Tail(basis, matrix, rng.normal(size=n_modes))


def listed(tail, n):
    """The first n vectors, one from the other."""
    found, now = [], tail.start
    for _ in range(n):
        found.append(tail.basis.T @ now)
        now = tail.matrix @ now
    return np.array(found).reshape(n, len(tail.basis.T))


@given(SEEDS, st.integers(1, 3), st.integers(0, 5), st.integers(1, 6))
def test_a_tail_is_known_at_every_step(seed, n_modes, first, n):
    tail = random_tail(np.random.default_rng(seed), n_modes)
    expected = listed(tail, first + n)
    assert_allclose([tail.at(step) for step in range(first + n)], expected, atol=1e-9)
    assert_allclose(tail.coefficients(first, n) @ tail.basis, expected[first:], atol=1e-9)
    begun = np.array([1.0, -2.0, 3.0])
    sums = np.vstack([begun, begun + np.cumsum(expected, axis=0)])
    found = tail.sums(begun)
    assert_allclose([found.at(step) for step in range(first + n + 1)], sums, atol=1e-8)


@given(SEEDS, st.integers(1, 3), st.integers(1, 30))
def test_leaks_are_the_last_coefficients(seed, n_modes, n):
    tail = random_tail(np.random.default_rng(seed), n_modes)
    expected = np.abs(tail.coefficients(0, n)[:, -1])
    assert_allclose(tail.leaks(n), expected, rtol=1e-6, atol=1e-9 * expected.max())


@given(SEEDS, st.integers(1, 3), st.integers(1, 3), st.integers(0, 7))
def test_tails_are_joined_by_their_modes(seed, n_modes, n_others, n):
    rng = np.random.default_rng(seed)
    one, other = random_tail(rng, n_modes, 4), random_tail(rng, n_others, 2)
    x, y = listed(one, n), listed(other, n)
    expected = sum((np.outer(x[k], y[n - 1 - k]) for k in range(n)), start=np.zeros((4, 2)))
    assert_allclose(one.basis.T @ join(one, other, n) @ other.basis, expected, atol=1e-8)


@given(SEEDS, st.integers(1, 12), st.integers(1, 40))
def test_the_error_of_a_tail_is_bounded_before_any_step_is_taken(seed, n_states, n):
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(n_states, 0.5), size=n_states)
    start = rng.normal(size=n_states)
    found = list(close_tails(lambda x: P @ x, start, P @ start, n_states))
    truth = [start]
    for _ in range(n):
        truth.append(P @ truth[-1])
    for tail, residual in found:
        size, leaks = np.abs(residual).max(), tail.leaks(n)
        for k in range(n + 1):
            error = np.abs(tail.at(k) - truth[k]).max()
            assert error <= size * leaks[:k].sum() * (1 + 1e-9) + 1e-12 * np.abs(start).max()
    assert np.abs(found[-1][1]).max() < 1e-10 * np.abs(start).max()  # all directions there are


@pytest.mark.parametrize("period", [1, 2, 3, 8])
def test_a_period_takes_as_many_modes(period):
    P = np.roll(np.eye(period), 1, axis=1)
    start = np.arange(1.0, period + 1) ** 2
    tail, residual = list(close_tails(lambda x: P @ x, start, P @ start, 20))[-1]
    assert tail.basis.shape == (period, period)
    assert_allclose(residual, 0, atol=1e-12)
    assert_allclose(tail.at(1003), np.linalg.matrix_power(P, 1003) @ start, atol=1e-9)


# ------------------------------------------------------------------------------------------- paths


def test_vectors_between_those_held_are_found_again():
    made = []

    def advance(x):
        made.append(x)
        return 2 * x + 1

    truth = [np.array([2.0**k - 1]) for k in range(41)]
    path = Path({k: truth[k] for k in range(0, 40, 6)}, 40, Tail.constant(truth[40]), advance)
    for order in (range(41), reversed(range(41)), np.random.default_rng(0).permutation(41)):
        made.clear()
        for k in order:
            assert path.at(k) == truth[k]
        if not isinstance(order, np.ndarray):
            assert len(made) <= 40
    assert path.at(99) == truth[40]
    later = path.later()
    assert [later.at(k) for k in range(45)] == [path.at(k + 1) for k in range(45)]
    weights = np.random.default_rng(1).normal(size=(39, 2))
    assert_allclose(path.weighed(weights), weights.T @ np.array(truth[:39]))


def slow(rng, n=6, ending=1e-3):
    """Mixes at once and is left slowly."""
    return (1 - ending) * rng.dirichlet(np.ones(n), size=n)


PROCESSES = {
    "left slowly": slow,
    "never left": lambda rng: slow(rng, ending=0.0),
    "at two rates": lambda rng: block_diag(slow(rng), slow(rng, ending=1e-2)),
    "with a period": lambda _: np.roll(np.eye(6), 1, axis=1) * (1 - 1e-3),
    "with a long period": lambda _: np.roll(np.eye(97), 1, axis=1),
    "all ends soon": lambda _: np.diag(np.ones(5), 1),
    "a slow walk": lambda _: (
        (np.roll(np.eye(150), 1, axis=1) + np.roll(np.eye(150), -1, axis=1)) / 4 + np.eye(150) / 2
    ),
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("gamma", [1.0, 0.99])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-10])
def test_following_is_the_plain_recursion(process, gamma, tolerance):
    rng = np.random.default_rng(5)
    P = PROCESSES[process](rng)
    n, steps = len(P), 2500
    R, start = rng.normal(size=n), rng.dirichlet(np.ones(n))
    values = follow_values(csr_array(P), R, steps, gamma, tolerance, keep=range(0, steps, 50))
    horizon = Horizon({2500: 0.75, 700: 0.25})
    visits, visited = follow_visits(
        csr_array(P.T), start, np.ones(n, bool), horizon, gamma, tolerance, keep=range(0, steps, 50)
    )
    V, d, total, scale = np.zeros(n), start, np.zeros(n), np.abs(R).max()
    for step in range(steps):
        scale = max(scale, np.abs(V).max())
        if step < 50 or step % 7 == 0:  # these fall on all places between two that are held
            assert np.abs(values.at(step) - V).max() <= 2 * tolerance * scale
            assert np.abs(visits.at(step) - d).max() <= tolerance
        total += horizon.share_at(step) * d
        V, d = R + gamma * P @ V, gamma * d @ P
    assert_allclose(values.at(steps), V, rtol=0, atol=2 * tolerance * scale)
    assert_allclose(visited, total, rtol=0, atol=tolerance * total.sum())
    assert (visited >= 0).all()


def test_a_process_that_settles_is_followed_for_a_few_steps():
    rng = np.random.default_rng(0)
    P, R = slow(rng, n=50, ending=1 / 2000), rng.normal(size=50)
    path = follow_values(csr_array(P), R, 10**6, 1.0, 1e-10, keep=range(0, 10**6, 1000))
    assert path.length <= 64
    assert path.settled < 10**6
    assert_allclose(path.at(10**6), np.linalg.solve(np.eye(50) - P, R), rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 100, 9999])
def test_paths_hold_few_vectors(steps):
    assert Horizon({steps: 1.0}).landmarks(2) == range(steps)  # a few numbers altogether
    held = Horizon({steps: 1.0}).landmarks(10**6)
    assert held[0] == 0
    assert len(held) <= np.sqrt(steps) + 3
    assert max(np.diff([*held, steps])) <= np.sqrt(steps)

"""Small processes in one compiled loop: the same answers, proofs and advice as by whole arrays."""

import gc
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, exact_q_values, exact_values, process, random_process
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from skmdp.mdp import MDP
from skmdp.solvers import _small as small
from skmdp.solvers import modified_policy_iteration, solve
from skmdp.solvers._bounds import discount
from skmdp.solvers._compiled import KERNELS, load
from skmdp.solvers._small import load_small, solve_small

pytest.importorskip("numba")
EPS = float(np.finfo(np.float64).eps)
PROCESSES = st.builds(
    random_process,
    st.integers(0, 100_000),
    n_states=st.integers(1, 30),
    end=st.sampled_from([0.0, 0.05]),
    uniform=st.booleans(),
    shared=st.booleans(),
)
GAMMAS = st.sampled_from([0.0, 0.3, 0.95, 0.9999, 1 - 1e-6])


@pytest.fixture(autouse=True)
def loaded():
    load()


def by_the_loop(mdp, gamma, *, tol=1e-6, max_iter=10_000, initial_values=None):
    """Return the solution of the loop, whether float64 can prove no more, and the target."""
    return solve_small(mdp, gamma, discount(mdp, gamma), tol, max_iter, initial_values)


def by_whole_arrays(mdp, gamma, **options):
    """Return the solution that other processes get, and its warnings."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(small, "MOST_STATES", 0)
        return solve(mdp, gamma, **options), [str(w.message) for w in caught]


def interpreted(patch):
    """Let the loop run as Python, where every line can be seen."""
    load_small()
    names = ("numba", "kernels_numba", "ties_numba", "band_numba", "small_numba")
    modules = [sys.modules[f"skmdp.solvers._{name}"] for name in names]
    for module in modules:
        for name, found in list(vars(module).items()):
            if hasattr(found, "py_func"):
                patch.setattr(module, name, found.py_func)
        for name, number in (("index", int), ("ONE", 1)):
            patch.setattr(module, name, number)
    patch.setattr(small, "load_small", lambda: modules[-1].search_each)


def with_sinks(mdp):
    """Return the process with a first and a last state that never act."""
    P = np.column_stack([0.1 * mdp.mass, 0.7 * dense(mdp), 0.2 * mdp.mass])
    return MDP(
        csr_array(P),
        mdp.rewards,
        mdp.pair_state + 1,
        mdp.pair_action,
        mdp.n_states + 2,
        mdp.n_actions,
    )


def assert_same_answer(found, usual, mdp):
    """Both are within their bounds, and advise actions that are worth the same."""
    both = found.value_error_bound + usual.value_error_bound
    assert np.abs(found.state_values - usual.state_values).max() <= both
    assert np.abs(found.q_values - usual.q_values).max() <= both
    acting = mdp.acting_states
    pair = np.searchsorted(
        mdp.pair_state * mdp.n_actions + mdp.pair_action,
        acting * mdp.n_actions + found.policy[acting],
    )
    slack = 1e-8 * (1 + np.ptp(usual.relative_q_values))
    gaps = np.maximum.reduceat(usual.relative_q_values, mdp.first_pairs)
    assert (gaps - usual.relative_q_values[pair] <= slack).all()
    assert_array_equal(np.flatnonzero(found.policy < 0), np.flatnonzero(usual.policy < 0))


@given(PROCESSES, GAMMAS, st.booleans())
def test_the_loop_gives_the_answers_of_whole_arrays(mdp, gamma, sinks):
    mdp = with_sinks(mdp) if sinks else mdp
    usual, _ = by_whole_arrays(mdp, gamma)
    found = by_the_loop(mdp, gamma)
    assert found is not None
    assert_same_answer(found[0], usual, mdp)
    assert found[0].converged == usual.converged
    assert found[0].n_undecided <= usual.n_undecided
    assert len(found[0].history) == found[0].n_iter
    assert found[0].history[-1] == found[0].value_error_bound


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.05]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.9, 1 - 1e-6]),
)
def test_bounds_hold_against_exact_fractions(seed, end, shared, sinks, gamma):
    mdp = random_process(seed, n_states=4, end=end, shared=shared)
    mdp = with_sinks(mdp) if sinks else mdp
    Q = np.array([float(q) for q in exact_q_values(mdp, gamma)])
    truth = np.zeros(mdp.n_states)
    truth[mdp.acting_states] = np.maximum.reduceat(Q, mdp.first_pairs)
    found, *_ = by_the_loop(mdp, gamma, tol=1e-8)
    rounding = 2 * EPS * np.abs(truth).max()
    assert np.abs(found.state_values - truth).max() <= found.value_error_bound + rounding
    assert np.abs(found.q_values - Q).max() <= gamma * found.value_error_bound + rounding * 2
    assert found.converged


@given(PROCESSES, GAMMAS)
def test_every_line_says_what_is_compiled(mdp, gamma):
    found = by_the_loop(mdp, gamma)
    with pytest.MonkeyPatch.context() as patch:
        interpreted(patch)
        same = by_the_loop(mdp, gamma)
    assert found[1] == same[1]
    assert_allclose(found[2], same[2])
    for name in ("state_values", "q_values", "relative_values", "relative_q_values", "history"):
        # Compiled sums may be rounded otherwise.
        size = max(1.0, np.abs(getattr(same[0], name)).max())
        assert_allclose(getattr(found[0], name), getattr(same[0], name), atol=1e-9 * size)
    assert_array_equal(found[0].policy, same[0].policy)


@given(PROCESSES, st.sampled_from([0.3, 0.99]))
def test_unresolved_advice_is_counted_as_by_whole_arrays(mdp, gamma):
    """One iteration decides little: both say where, and warn in the same words."""
    usual, texts = by_whole_arrays(mdp, gamma, max_iter=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = solve(mdp, gamma, max_iter=1)
    assert_allclose(found.value_error_bound, usual.value_error_bound, rtol=1e-12)
    assert_array_equal(found.policy, usual.policy)
    if mdp.hubs[0].shape[1] == 0:
        assert found.n_undecided == usual.n_undecided
        assert [str(w.message) for w in caught] == texts
    else:  # where hubs lead is seen, so more is proven
        assert found.n_undecided <= usual.n_undecided


def test_warnings_name_the_line_that_called():
    with pytest.warns(ConvergenceWarning, match="after 1 iteration") as caught:
        solve(random_process(0), 0.9, max_iter=1)
    assert caught[0].filename == __file__


def test_values_move_with_a_constant_added_to_the_rewards():
    """A constant larger by far than what decides leaves the advice as it is."""
    mdp = random_process(1, n_states=20)
    moved = mdp.unchecked(rewards=mdp.rewards + 1e9)
    plain, lifted = solve(mdp, 0.99), solve(moved, 0.99)
    both = plain.value_error_bound + lifted.value_error_bound
    assert np.abs(lifted.state_values - plain.state_values - 1e11).max() <= both
    assert_array_equal(lifted.policy, plain.policy)
    assert lifted.n_undecided == 0


def test_ties_go_to_the_lowest_action_and_are_not_undecided():
    pairs = {(s, a): (1.0, {(s + 1) % 3: 0.5, s: 0.5}) for s in range(3) for a in range(3)}
    solution = solve(process(pairs), 0.99)
    assert_array_equal(solution.policy, [0, 0, 0])
    assert solution.n_undecided == 0
    assert_allclose(solution.state_values, 100.0)


def test_rows_of_unequal_mass_are_no_reason_to_stop():
    """T V - V is the same everywhere at the start, but values differ."""
    solution = solve(process({(0, 0): (1.0, {0: 1.0}), (1, 0): (1.0, {1: 0.5})}), 0.9)
    assert_allclose(solution.state_values, [10.0, 1 / 0.55], atol=solution.value_error_bound)
    assert solution.converged


def test_initial_values_of_the_solution_need_one_iteration():
    mdp = with_sinks(random_process(4, n_states=10))
    V = exact_values(mdp, 0.9)
    assert solve(mdp, 0.9, initial_values=V).n_iter <= 2
    assert solve(mdp, 0.9).n_iter > 2


def test_the_order_of_the_states_is_that_of_the_process():
    """States that never act are worth 0, wherever they stand."""
    mdp = with_sinks(random_process(2))
    found, *_ = by_the_loop(mdp, 0.9)
    assert_array_equal(found.relative_values[[0, -1]], [0.0, 0.0])
    assert_array_equal(found.policy[[0, -1]], [-1, -1])
    assert_allclose(found.state_values, exact_values(mdp, 0.9), atol=found.value_error_bound)


def slow(n, *, shuffled=False):
    """A walk to a goal far away; states that are ``shuffled`` lead to others far from them."""
    code = np.random.default_rng(0).permutation(n) if shuffled else np.arange(n)
    steps = {s: (0.0, {code[max(s - 1, 0)]: 0.5, code[s + 1]: 0.5}) for s in range(n - 1)}
    steps[n - 1] = (1.0, {code[n - 1]: 1.0})
    return process({(code[s], 0): step for s, step in steps.items()})


@pytest.mark.parametrize(("n", "shuffled"), [(100, False), (100, True), (900, False)])
def test_equations_are_solved_where_sweeps_are_many_and_states_few_or_lead_to_near_ones(
    n, shuffled
):
    mdp = slow(n, shuffled=shuffled)
    found = by_the_loop(mdp, 0.9999)[0]
    assert found.n_iter <= 4
    assert_allclose(found.state_values, exact_values(mdp, 0.9999), atol=found.value_error_bound)


def test_what_is_slow_and_not_so_small_is_left_to_others():
    mdp = slow(300, shuffled=True)
    assert by_the_loop(mdp, 0.9999) is None
    solution = solve(mdp, 0.9999)
    assert solution.converged
    assert_allclose(
        solution.state_values, exact_values(mdp, 0.9999), atol=solution.value_error_bound
    )


@pytest.mark.parametrize(("below", "above"), [(0, 0), (0, 2), (3, 0), (2, 5), (8, 8)])
def test_bands_of_any_width_are_eliminated(monkeypatch, below, above):
    """Columns behind the states are left out; the widths are those of the entries."""
    n, rng = 9, np.random.default_rng(0)
    rows = np.tril(np.triu(rng.uniform(size=(n, n)), -below), above)
    P = csr_array(np.column_stack([rows / rows.sum(axis=1, keepdims=True), np.ones(n)]))
    load_small()
    interpreted(monkeypatch)
    kernels = sys.modules["skmdp.solvers._band_numba"]
    policy = P.indptr[:-1], P.indptr[1:], P.indices, P.data
    worth, *widths = kernels.sweeps_worth(policy, n, 2 * n)
    assert 0 <= worth < np.inf
    assert widths == [below, above]
    assert kernels.sweeps_worth(policy, n, below + above)[0] == np.inf
    before, R = rng.normal(size=n), rng.normal(size=n)
    V, room = R + 0.9 * (P[:, :n] @ before), np.full(n * (below + above + 1), np.nan)
    assert kernels.solve(policy, 0.9, False, below, above, before, V, np.empty(n), room)
    assert_allclose(V - 0.9 * (P[:, :n] @ V), R, atol=1e-12)


def test_nothing_is_loaded_for_a_small_process(monkeypatch):
    monkeypatch.delitem(sys.modules, KERNELS)
    assert by_the_loop(random_process(0), 0.9) is None


def test_what_the_loop_takes_of_a_process_is_made_once_and_goes_with_it(monkeypatch):
    made, make = [], small.structure_of
    monkeypatch.setattr(small, "structure_of", lambda *args: made.append(1) or make(*args))
    mdp = with_sinks(random_process(3))
    gc.collect()
    n_before = len(small._PREPARED)
    found = [by_the_loop(mdp, gamma)[0] for gamma in (0.9, 0.99, 0.9)]
    assert len(made) == 1
    assert len(small._PREPARED) == n_before + 1
    assert_array_equal(found[0].state_values, found[2].state_values)
    assert_allclose(found[1].state_values, exact_values(mdp, 0.99))
    del mdp
    gc.collect()
    assert len(small._PREPARED) == n_before


def test_more_iterations_than_the_loop_has_room_for_are_left_to_others(monkeypatch):
    monkeypatch.setattr(small, "MOST_ITERATIONS", 2)
    mdp = random_process(3)
    assert by_the_loop(mdp, 0.9) is None
    assert by_the_loop(mdp, 0.9, max_iter=2)[0].n_iter == 2


def test_without_numba_others_do_the_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "skmdp.solvers._small_numba", raising=False)
    load_small.cache_clear()
    try:
        assert by_the_loop(random_process(0), 0.9) is None
    finally:
        load_small.cache_clear()


def test_the_loop_takes_no_more_than_it_is_made_for(monkeypatch):
    hubs = random_process(0, n_states=20, shared=True)
    assert by_the_loop(random_process(0, n_states=small.MOST_STATES + 1), 0.9) is None
    assert by_the_loop(process({(0, 0): (1.0, {0: 1 + 1e-9})}), 1 - 1e-10) is None
    monkeypatch.setattr(small, "MOST_ENTRIES", hubs.transitions.nnz)
    assert by_the_loop(hubs, 0.9) is None


def test_reports_come_from_the_usual_loop(capsys):
    told = []
    solution = modified_policy_iteration(
        random_process(0), 0.9, verbose=1, callback=lambda n: told.append(n)
    )
    assert told == list(range(1, solution.n_iter + 1))
    assert "iteration 1" in capsys.readouterr().out


def test_every_line_is_run_on_rare_occasions_too(monkeypatch):
    """Sinks, few sweeps, values that overflow, open advice, singular equations, slow processes."""
    big = random_process(0, n_states=4)
    big = big.unchecked(rewards=np.where(big.rewards > 0, 1.7e308, -1.7e308))
    far = random_process(5, n_states=6)
    steps = {s: (0.1, {max(s - 1, 0): 0.5, s + 1: 0.5}) for s in range(20)}
    leaking = process({(s, 0): step for s, step in steps.items()})  # into state 20
    near = far.unchecked(rewards=far.rewards + 1e7)
    cases = [
        (leaking, 0.9999, 10, 200),
        (random_process(1), 0.99, 3, 1),
        (random_process(2), 0.9, 1, 200),
        (near, 0.9, 100, 1),
        (big, 0.9, 10, 200),
        (big, 0.0, 10, 200),
        (slow(210), 0.9999, 10, 12),
        (slow(210, shuffled=True), 0.9999, 10, 200),
    ]
    for mdp, gamma, max_iter, n_sweeps in cases:
        monkeypatch.setattr(small, "MOST_SWEEPS", n_sweeps)
        with np.errstate(all="ignore"):
            found = by_the_loop(mdp, gamma, tol=1e-3, max_iter=max_iter)
            with pytest.MonkeyPatch.context() as patch:
                interpreted(patch)
                same = by_the_loop(mdp, gamma, tol=1e-3, max_iter=max_iter)
        assert (found is None) == (same is None)
        if found is not None:
            assert_array_equal(found[0].policy, same[0].policy)
            assert found[0].n_undecided == same[0].n_undecided
    kernels = sys.modules["skmdp.solvers._band_numba"]
    with pytest.MonkeyPatch.context() as patch:
        interpreted(patch)
        assert not kernels.eliminate(np.zeros(6), np.ones(2), 1, 1)

"""The compiled loops: the same as whole arrays, in place, on threads, where they are missing."""

import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, exact_q_values, exact_values, process, random_process
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import splu
from sklearn.exceptions import ConvergenceWarning
from ways import compile_all

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_garnet, sample_transitions
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs
from skmdp.solvers import _compiled as compiled
from skmdp.solvers import modified_policy_iteration, policy_iteration, value_iteration
from skmdp.solvers._array_policy import ArrayPolicy
from skmdp.solvers._bounds import discount
from skmdp.solvers._compiled import load, n_threads
from skmdp.solvers._compiled_pairs import CompiledPairs, marks_in, pairs_of
from skmdp.solvers._equations import solve_krylov
from skmdp.solvers._kernels import ArrayPairs
from skmdp.solvers._search import Search, acting_first
from skmdp.solvers._ties import count_undecided

SOLVERS = [modified_policy_iteration, policy_iteration, value_iteration]
PROCESSES = st.builds(
    random_process,
    st.integers(0, 100_000),
    n_states=st.integers(1, 30),
    end=st.sampled_from([0.0, 0.05]),
    uniform=st.booleans(),
    shared=st.booleans(),
)
LOOPS = [
    "pack",
    "expected",
    "improve",
    "follow",
    "keep",
]
LOOPS_OF_ORDER = ["set_predecessors", "backward_order", "relabel"]
LOOPS_OF_PATHS = ["solve_loop", "follow_paths"]
LOOPS_OF_CORE = ["expected", "peel", "pack_core", "follow_back"]


def interpreted(patch):
    """Let the same loops run as Python, where every line can be seen."""
    kernels, order, _ = load(), compiled.load_order(), compiled.load_paths()
    paths = sys.modules["skmdp.solvers._paths_numba"]
    core = compiled.load_core()
    for module in (kernels, order, paths, core, sys.modules["skmdp.solvers._numba"]):
        patch.setattr(module, "index", int)
        patch.setattr(module, "ONE", 1)
    patch.setattr(module, "FOUR", 4)
    for module, names in (
        (kernels, [*LOOPS, "pair_values", "best_two", "choose"]),
        (order, LOOPS_OF_ORDER),
        (paths, LOOPS_OF_PATHS),
        (core, LOOPS_OF_CORE),
    ):
        for name in names:
            patch.setattr(module, name, getattr(module, name).py_func)
    patch.setattr(compiled, "load_paths", lambda: paths.follow_paths)


def with_sinks(mdp, *, loops=0.0):
    """Return the process with two states that never act, and loops of that probability."""
    n = mdp.n_states
    P = dense(mdp) * (1 - loops)
    P[np.arange(len(P)), mdp.pair_state] += loops * mdp.mass
    P = np.column_stack([P[:, : n // 2], 0.1 * P.sum(axis=1), 0 * P[:, 0], P[:, n // 2 :]])
    P /= np.maximum(1, P.sum(axis=1, keepdims=True))
    return MDP(
        csr_array(P),
        mdp.rewards,
        mdp.pair_state + 2 * (mdp.pair_state >= n // 2),
        mdp.pair_action,
        n + 2,
        mdp.n_actions,
    )


@given(PROCESSES, st.sampled_from([0.3, 0.95, 0.9999]), st.booleans(), st.sampled_from(SOLVERS))
def test_compiled_loops_give_the_same_values_and_actions(mdp, gamma, at_once, solver):
    usual = solver(mdp, gamma, max_iter=10**6)
    with pytest.MonkeyPatch.context() as patch:
        compile_all(patch, at_once=at_once)
        solution = solver(mdp, gamma, max_iter=10**6)
    both = solution.value_error_bound + usual.value_error_bound
    assert np.abs(solution.state_values - usual.state_values).max() <= both
    assert solution.converged
    # Actions may differ where they tie.
    best = usual.q_values[
        np.searchsorted(
            mdp.pair_state * mdp.n_actions + mdp.pair_action,
            mdp.acting_states * mdp.n_actions + solution.policy[mdp.acting_states],
        )
    ]
    assert_allclose(
        best, usual.state_values[mdp.acting_states], atol=1e-8 * (1 + np.ptp(usual.q_values))
    )


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05]), st.booleans(), st.booleans())
def test_bounds_hold_against_exact_fractions(seed, end, shared, at_once):
    mdp = random_process(seed, n_states=4, end=end, shared=shared)
    truth = np.maximum.reduceat([float(q) for q in exact_q_values(mdp, 0.9)], mdp.first_pairs)
    with pytest.MonkeyPatch.context() as patch:
        compile_all(patch, at_once=at_once)
        solution = modified_policy_iteration(mdp, 0.9, tol=1e-9)
    assert np.abs(solution.state_values - truth).max() <= solution.value_error_bound + 1e-14
    assert solution.converged


@given(PROCESSES, st.sampled_from([0.5, 0.99]), st.sampled_from([0.0, 0.5, 0.999]))
def test_work_in_place_solves_loops_and_passes_over_states_that_never_act(mdp, gamma, loops):
    mdp = with_sinks(mdp, loops=loops)
    with pytest.MonkeyPatch.context() as patch:
        compile_all(patch, at_once=True)
        solution = modified_policy_iteration(mdp, gamma)
    error = np.abs(solution.state_values - exact_values(mdp, gamma)).max()
    assert error <= solution.value_error_bound + 1e-12
    assert solution.converged


def test_every_line_of_the_loops_says_what_the_compiled_ones_do(monkeypatch):
    """Hubs long and short, loops, sinks, ends, dropped pairs and threads."""
    for seed, gamma in ((0, 0.9), (1, 0.999)):
        for mdp in (
            random_process(seed, n_states=80, end=0.01, uniform=True, shared=True),
            with_sinks(random_process(seed, n_states=20), loops=0.3),
            corridor(300),
            beside_islands(corridor(50)),
        ):
            with pytest.MonkeyPatch.context() as patch:
                compile_all(patch, at_once=True)
                usual = modified_policy_iteration(mdp, gamma)
                patch.setattr("skmdp.solvers._search.MOST_LEFT", 1.0)
                interpreted(patch)
                solution = modified_policy_iteration(mdp, gamma)
            both = solution.value_error_bound + usual.value_error_bound
            assert np.abs(solution.state_values - usual.state_values).max() <= both
            assert_array_equal(solution.policy, usual.policy)


def corridor(n):
    """States in a row, in no order; a reward at the end, and a way back from everywhere."""
    place = np.random.default_rng(0).permutation(n)
    pairs = {}
    for i in range(n - 1):
        pairs[int(place[i]), 0] = (0.0, {int(place[i + 1]): 0.9, int(place[i]): 0.1})
        pairs[int(place[i]), 1] = (0.0, {int(place[max(i - 1, 0)]): 1.0})
    pairs[int(place[-1]), 0] = (1.0, {int(place[-1]): 1.0})
    return process(pairs)


def beside_islands(mdp):
    """Return the process with two more states that lead to each other only."""
    n, k = mdp.n_states, len(mdp.rewards)
    P = np.zeros((k + 2, n + 2))
    P[:k, :n] = dense(mdp)
    P[k, n + 1] = P[k + 1, n] = 1.0
    return MDP(
        csr_array(P),
        np.append(mdp.rewards, [-1.0, -2.0]),
        np.append(mdp.pair_state, [n, n + 1]),
        np.append(mdp.pair_action, [0, 0]),
        n + 2,
        mdp.n_actions,
    )


def test_ties_that_hide_the_way_do_not_make_it_long(monkeypatch):
    """Nothing is paid but at the end; turning back comes first, so that it is chosen at first."""
    n = 1000
    pairs = {(s, 0): (0.0, {max(s - 1, 0): 1.0}) for s in range(n)}
    pairs |= {(s, 1): (1.0 * (s == n - 1), {(s + 1) % n: 1.0}) for s in range(n)}
    compile_all(monkeypatch)
    solution = modified_policy_iteration(process(pairs), 0.999)
    assert solution.n_iter < 100
    truth = 0.999 ** np.arange(n - 1, -1, -1) / (1 - 0.999**n)
    assert np.abs(solution.state_values - truth).max() <= solution.value_error_bound


@pytest.mark.parametrize("max_iter", [2, 3, 5, 9])
def test_bounds_hold_where_work_in_place_is_stopped(monkeypatch, max_iter):
    mdp = with_sinks(random_process(9, n_states=30), loops=0.5)
    compile_all(monkeypatch, at_once=True)
    with pytest.warns(ConvergenceWarning, match="Increase max_iter"):
        solution = modified_policy_iteration(mdp, 0.999, tol=1e-14, max_iter=max_iter)
    error = np.abs(solution.state_values - exact_values(mdp, 0.999)).max()
    assert error <= solution.value_error_bound


def test_hubs_that_lead_anywhere_are_not_packed():
    mdp = random_process(1, n_states=100, uniform=True)
    pairs = CompiledPairs.of_process(mdp, 0.9)
    pairs.improve(pairs.vector(np.zeros(100)), 0.0)
    policy, chosen = pairs.policy(), pairs.chosen.astype(np.intp)
    assert policy.transitions() is None
    assert len(policy.columns) < 10 * 100
    x, is_solved = solve_krylov(policy, policy.rewards, 1e-12)
    assert is_solved
    truth = np.linalg.solve(np.eye(100) - 0.9 * dense(mdp)[chosen], mdp.rewards[chosen])
    assert_allclose(x, truth, rtol=1e-9)


def test_loops_that_can_be_written_nowhere_are_compiled_all_the_same(monkeypatch):
    def njit(**_):
        raise RuntimeError("cannot cache function")

    load()
    common = sys.modules["skmdp.solvers._numba"]
    assert common.may_be_kept()
    monkeypatch.setattr(common, "njit", njit)
    assert not common.may_be_kept()


def few_ways(seed, n, *, ahead):
    """States with one action that leads to one or two others; only to later ones if ``ahead``."""
    rng, pairs = np.random.default_rng(seed), {}
    for s in range(n):
        low = s + 1 if ahead else 0
        following = rng.integers(low, n, size=rng.integers(1, 3)) if low < n else [s]
        ways = {int(to): 1 / len(set(following)) for to in following}
        pairs[s, 0] = (float(rng.normal()), ways if low < n else {})
    return process(pairs)


@pytest.mark.parametrize("ahead", [False, True])
def test_values_of_the_core_decide_all_others(monkeypatch, ahead):
    monkeypatch.setattr(compiled, "LARGEST_CORE", 1.0)
    n, gamma = 60, 0.95
    for seed in range(20):
        mdp = few_ways(seed, n, ahead=ahead)
        given_pairs = CompiledPairs.of_process(mdp, gamma)
        given_pairs.improve(given_pairs.vector(np.zeros(n)), 0.0)
        pairs, order, _ = given_pairs.in_place()
        pairs.marks = pairs.policy().marks = [0]
        pairs.improve(pairs.vector(np.zeros(n)), np.inf)
        policy, truth = pairs.policy(), exact_values(mdp, gamma)[order]
        V = pairs.vector(truth)
        core = policy.core(V)
        # Left out are the states that no state in a loop leads to, however many the steps.
        P = policy.transitions().toarray() > 0
        reaches = np.linalg.matrix_power(P.astype(float) + np.eye(n), n) > 0
        in_loop = (P @ reaches).diagonal()
        behind = reaches[in_loop].any(axis=0)
        assert_array_equal(np.sort(core.states), np.flatnonzero(behind))
        assert_array_equal(np.sort(core.outer), np.flatnonzero(~behind))
        assert behind.any() != ahead
        V[:n] = np.nan
        core.follow(V, truth[core.states], 0.0)
        assert_allclose(V[:n], truth, rtol=1e-12)
        assert_array_equal(core.values, truth[core.states])
        if behind.any():
            swept, *_ = core.policy.apply(core.values)
            assert_allclose(swept, core.values, rtol=1e-12)


@pytest.mark.parametrize("ahead", [False, True])
def test_values_of_the_core_decide_all_others_in_whole_arrays_too(monkeypatch, ahead):
    """A level that is left out of the values makes them fall behind T V, all by the same."""
    monkeypatch.setattr("skmdp.solvers._array_policy.LARGEST_CORE", 1.0)
    n, gamma = 60, 0.95
    level = 0.0 if ahead else 7.0
    for seed in range(20):
        mdp = few_ways(seed, n, ahead=ahead)
        V = exact_values(mdp, gamma) - level
        truth = V.copy()
        core = ArrayPolicy(mdp, gamma).core(V)
        assert len(core.states) + sum(map(len, core.layers)) == n
        assert len(core.states) < n
        assert (len(core.states) > 0) != ahead
        V[:] = np.nan
        core.follow(V, truth[core.states], (1 - gamma) * level)
        assert_allclose(V, truth, rtol=1e-12)
        assert_array_equal(core.values, truth[core.states])
        if len(core.states):
            swept, lo, hi = core.policy.sweep(core.values)
            assert_allclose(swept - core.values, (1 - gamma) * level, atol=1e-12)
            assert hi - lo <= 1e-12


@pytest.mark.parametrize("end", [False, True])
def test_sweeps_over_the_core_only_lead_to_the_values_of_all(monkeypatch, end):
    """Two states lead to each other for ever, or end by and by, and others to them in time."""
    n, rng, pairs = 600, np.random.default_rng(1), {}
    for s in range(n):
        for action in range(1 if s < 2 else 3):
            to = 1 - s if s < 2 else int(n * rng.uniform() ** 2)
            pairs[s, action] = (rng.uniform() + 2 * (s < 2), {to: 0.999 if end else 1.0})
    mdp = process(pairs)
    looked = []
    find = ArrayPolicy.core
    monkeypatch.setattr(
        ArrayPolicy, "core", lambda policy, V: looked.append(find(policy, V)) or looked[-1]
    )
    monkeypatch.setattr("skmdp.solvers._compiled.load", lambda: None)
    monkeypatch.setattr("skmdp.solvers._sweeps.Evaluator._directly", lambda *_: None)
    solution = modified_policy_iteration(mdp, 0.99)
    error = np.abs(solution.state_values - exact_values(mdp, 0.99)).max()
    assert error <= solution.value_error_bound + 1e-12
    assert any(core is not None for core in looked)


def test_a_policy_without_loops_is_followed_to_its_end_at_once(monkeypatch):
    mdp = few_ways(3, 400, ahead=True)
    compile_all(monkeypatch, at_once=True)
    solution = modified_policy_iteration(mdp, 0.999)
    error = np.abs(solution.state_values - exact_values(mdp, 0.999)).max()
    assert error <= solution.value_error_bound + 1e-12
    assert solution.converged
    assert solution.n_iter <= 4


def test_slow_processes_are_worked_on_in_place(monkeypatch):
    mdp = corridor(3000)
    compile_all(monkeypatch)
    search = Search(mdp, 0.999, discount(mdp, 0.999))
    places = []
    while (proof := search.improve(1e-6)).bound > 1e-3:
        search.evaluate()
        places.append(search.pairs.is_in_place)
    assert places[-1]
    assert len(places) < 20
    first = (0.999 * 0.9 / (1 - 0.999 * 0.1)) ** 2999 / (1 - 0.999)
    start = np.random.default_rng(0).permutation(3000)[0]
    assert abs(search.values()[start] + proof.level - first) <= proof.bound


def test_one_sweep_in_place_goes_all_the_way_back_from_the_reward(monkeypatch):
    mdp = corridor(500)
    compile_all(monkeypatch)
    pairs = CompiledPairs.of_process(acting_first(mdp), 0.99)
    pairs.improve(pairs.vector(np.zeros(500)), 0.0)
    inner, order, factor = pairs.in_place()
    assert_allclose(factor, 1 / (1 - 0.99))  # the last state stays for certain
    V = inner.vector(np.zeros(500))
    inner.improve(V, 0.0)
    values = np.empty(500)
    values[order] = V[:500]
    assert_allclose(values, exact_values(mdp, 0.99), rtol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_equations_of_packed_rows_are_those_of_the_policy(in_place, shared):
    mdp = random_process(5, n_states=40, end=0.02, shared=shared)
    pairs = CompiledPairs.of_process(mdp, 0.95)
    pairs.improve(pairs.vector(np.zeros(40)), 0.0)
    chosen = pairs.chosen.astype(np.intp)
    truth = np.linalg.solve(np.eye(40) - 0.95 * dense(mdp)[chosen], mdp.rewards[chosen])
    if in_place:
        pairs, order, _ = pairs.in_place()
        pairs.improve(pairs.vector(np.zeros(40)), np.inf)
        truth = truth[order]
    policy = pairs.policy()
    by_rows = np.linalg.solve(np.eye(40) - policy.transitions().toarray(), policy.rewards)
    assert_allclose(by_rows, truth)
    x, is_solved = solve_krylov(policy, policy.rewards, 1e-12)
    assert is_solved
    assert_allclose(x, truth, rtol=1e-9)


@given(PROCESSES, st.sampled_from([0.5, 0.95]), st.booleans())
def test_elimination_keeps_every_best_pair(mdp, gamma, at_once):
    Q = mdp.rewards + gamma * dense(mdp) @ exact_values(mdp, gamma)
    with pytest.MonkeyPatch.context() as patch:
        compile_all(patch, at_once=at_once)
        patch.setattr("skmdp.solvers._search.MOST_LEFT", 1.0)
        search = Search(mdp, gamma, discount(mdp, gamma))
        for _ in range(6):
            search.improve()
            search.evaluate()
    top = np.maximum.reduceat(Q, mdp.first_pairs)[mdp.pair_state]
    n_best = np.bincount(mdp.pair_state, top - 1e-14 * np.abs(Q).max() <= Q)
    left = np.diff(search.pairs.first.astype(np.int64))
    if search.order is not None:
        n_best = n_best[search.order]
    assert (left >= n_best).all()


@pytest.mark.parametrize("end", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("offset", [-5.0, 0.0, 5.0])
def test_pairs_are_dropped_by_how_far_they_are_from_best_and_nothing_else(monkeypatch, end, offset):
    """Also where all values are moved up or down by what has been proven."""
    mdp = random_process(2, n_states=50, end=end)
    mdp = mdp.unchecked(rewards=mdp.rewards + offset)
    compile_all(monkeypatch)
    monkeypatch.setattr("skmdp.solvers._search.MOST_LEFT", 1.0)
    monkeypatch.setattr("skmdp.solvers._compiled_pairs.TIMES_TO_DROP", 1)
    search = Search(mdp, 0.8, discount(mdp, 0.8))
    is_left = np.ones(len(mdp.rewards), dtype=bool)
    for _ in range(8):
        Q = mdp.pair_values(search.V[:50].copy(), 0.8)
        proof = search.improve()
        search.evaluate()
        gaps = np.maximum.reduceat(np.where(is_left, Q, -np.inf), mdp.first_pairs)
        margin = proof.spread_bound + 2 * proof.noise
        is_left &= gaps[mdp.pair_state] - Q <= margin
        assert search.pairs.n_pairs == is_left.sum()
    assert is_left.sum() < 70


@pytest.mark.parametrize("gamma", [0.9, 0.9999])
def test_results_do_not_depend_on_the_number_of_threads(monkeypatch, gamma):
    compile_all(monkeypatch)
    monkeypatch.setattr("skmdp.solvers._compiled.PER_THREAD", 10)
    mdp = random_process(3, n_states=200, shared=True)
    found = []
    for n in (1, 2, 5):
        monkeypatch.setattr("skmdp.solvers._compiled.n_threads", lambda n=n: n)
        found.append(modified_policy_iteration(mdp, gamma))
    for other in found[1:]:
        assert_array_equal(other.state_values, found[0].state_values)
        assert_array_equal(other.policy, found[0].policy)
        assert_array_equal(other.history, found[0].history)


def test_threads_are_as_many_as_openmp_uses():
    with compiled.thread_pools().limit(limits=1, user_api="openmp"):
        assert n_threads() == 1


def test_large_processes_use_the_compiled_loops_and_small_ones_only_when_they_are_loaded(
    monkeypatch,
):
    small, tiny = random_process(0, n_states=500), random_process(0, n_states=100)
    load()
    assert isinstance(pairs_of(small, 0.9), CompiledPairs)
    assert isinstance(pairs_of(tiny, 0.9), ArrayPairs)
    monkeypatch.delitem(sys.modules, compiled.KERNELS)
    assert isinstance(pairs_of(small, 0.9), ArrayPairs)


def test_what_is_learned_does_not_depend_on_what_was_solved_before():
    """Small processes use compiled loops where they are loaded, but an estimator by size alone."""
    log = sample_transitions(make_garnet(40, 3, 4, random_state=0), n_episodes=200, random_state=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, compiled.KERNELS, raising=False)
        before = MarkovPolicyEstimator(gamma=0.99).fit(log)
    assert load() is not None
    sys.modules.setdefault(compiled.KERNELS, load())
    assert_array_equal(MarkovPolicyEstimator(gamma=0.99).fit(log).q_values_, before.q_values_)


@pytest.mark.parametrize("reason", ["not installed", "disabled"])
def test_without_numba_whole_arrays_do_the_work(monkeypatch, reason):
    compile_all(monkeypatch)
    if reason == "disabled":
        monkeypatch.setattr("numba.config.DISABLE_JIT", True)
    else:
        monkeypatch.setitem(sys.modules, "numba", None)
    load.cache_clear()
    try:
        assert load() is None
        assert isinstance(pairs_of(random_process(0), 0.9), ArrayPairs)
    finally:
        load.cache_clear()


def test_skmdp_imports_no_numba_and_compiles_once(tmp_path):
    script = (
        "import sys, skmdp, skmdp.solvers\n"
        "assert 'numba' not in sys.modules\n"
        "from skmdp.datasets import make_garnet\n"
        "from skmdp.solvers import modified_policy_iteration as solve\n"
        "solve(make_garnet(50, 3, 3, random_state=0), 0.9)\n"
        "assert 'numba' not in sys.modules\n"
        "solution = solve(make_garnet(20_000, 5, 3, random_state=0), 0.9)\n"
        "assert 'numba' in sys.modules and solution.converged\n"
    )
    run = [sys.executable, "-W", "error", "-c", script]
    subprocess.run(run, check=True, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)})
    assert any(tmp_path.rglob("*.nbi"))


def test_loops_are_compiled_where_they_can_be_written_nowhere(monkeypatch):
    load()
    monkeypatch.delitem(sys.modules, "skmdp.solvers._numba")
    monkeypatch.delitem(sys.modules, "skmdp.solvers._paths_numba", raising=False)
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    follow_paths = import_module("skmdp.solvers._paths_numba").follow_paths
    assert not sys.modules["skmdp.solvers._numba"].OPTIONS["cache"]
    x, row = np.zeros(1), np.zeros(1, np.uint32)
    rows = row, np.ones(1, np.uint32), row, np.ones(1), 0.5  # one state that stays where it is
    follow_paths(*rows, np.ones(1), x, np.empty(1, np.uint32), np.zeros(1, np.bool_))
    assert_allclose(x, 2.0)


@pytest.mark.parametrize("form", [compiled.PLAIN, compiled.UNEVEN, compiled.LONG])
def test_rows_of_every_form_and_length_are_summed_in_full(monkeypatch, form):
    """No entries, fewer than are summed at once, and more; at the beginning and at the end."""
    rng = np.random.default_rng(0)
    lengths = np.array([0, 1, 2, 3, 4, 5, 7, 8, 9, 30, 31, 1, 0])
    n = len(lengths)
    P = np.zeros((n, 40))
    for row, length in zip(P, lengths, strict=True):
        row[rng.permutation(40)[:length]] = rng.dirichlet(np.ones(length)) if length else 0
    mdp = MDP(csr_array(P), rng.normal(size=n), np.arange(n), np.zeros(n, int), 40, 1)
    monkeypatch.setattr("skmdp.solvers._compiled.form_of", lambda _: form)
    monkeypatch.setattr("skmdp.solvers._compiled_pairs.form_of", lambda _: form)
    monkeypatch.setattr("skmdp.solvers._compiled.is_long", lambda _: form == compiled.LONG)
    pairs = CompiledPairs.of_process(mdp, 0.9)
    V = pairs.vector(rng.normal(size=n))
    Q = mdp.pair_values(V, 0.9)
    pairs.improve(V.copy(), 0.0)
    assert_allclose(pairs.TV[:n], Q, rtol=1e-14, atol=1e-14)
    assert_allclose(pairs.policy().apply(V)[0][:n], Q, rtol=1e-14, atol=1e-14)
    assert_allclose(pairs.all_q_values(V[:n]), Q, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("lengths", "form"),
    [([5] * 9, "PLAIN"), ([2] * 9, "PLAIN"), ([1, 1, 4] * 9, "UNEVEN"), ([30] * 9, "LONG")],
)
def test_the_form_of_rows_is_seen_from_their_lengths(monkeypatch, lengths, form):
    indptr = np.append(0, np.cumsum(lengths))
    of_few = form if form == "LONG" else "PLAIN"
    assert compiled.form_of(indptr) == getattr(compiled, of_few)
    monkeypatch.setattr(compiled, "MANY_ROWS", 2)
    assert compiled.form_of(indptr) == getattr(compiled, form)
    assert compiled.form_of(np.zeros(4, int)) == compiled.PLAIN  # nothing could be read


def paths_process(seed, n, ends=0.1):
    """Return a process in which each state leads to one other, itself among them, or to the end."""
    rng = np.random.default_rng(seed)
    to, stays = rng.integers(n, size=n), rng.uniform(0.5, 1, size=n)
    stays[rng.uniform(size=n) < ends] = 0
    P = csr_array((stays, (np.arange(n), to)), shape=(n, n))
    P.eliminate_zeros()
    return MDP(P, rng.normal(size=n), np.arange(n), np.zeros(n, int), n, 1)


@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.0, 0.2]), st.booleans())
def test_paths_are_followed_to_their_ends_and_around_their_loops(seed, n, ends, in_place):
    mdp = paths_process(seed, n, ends)
    pairs = CompiledPairs.of_process(mdp, 0.99)
    pairs.improve(pairs.vector(np.zeros(n)), 0.0)
    order = np.arange(n)
    if in_place:
        pairs, order, _ = pairs.in_place()
        pairs.improve(pairs.vector(np.zeros(n)), 0.0)
    policy = pairs.policy()
    found = [policy.along_paths(policy.rewards)]
    with pytest.MonkeyPatch.context() as patch:
        interpreted(patch)
        found.append(policy.along_paths(policy.rewards))
    for values in found:
        assert_allclose(values, exact_values(mdp, 0.99)[order], rtol=1e-10, atol=1e-10)


def test_paths_are_not_followed_where_a_state_leads_to_two():
    mdp = random_process(0, n_states=30)
    assert in_place_policy(mdp, 0.9)[0].along_paths is None


def lattice(side, *, cost=False):
    """Return a walk on a lattice, pushed aside, to a corner that pays, or ends what it costs.

    The corner comes last and has no pairs. Ten states before it are apart, and lead to each other.
    """
    n = side * side
    y, x = np.divmod(np.arange(1, n), side)
    near = [(y, x + 1), (y + 1, x), (y, x - 1), (y - 1, x)]
    to = [np.clip(b, 0, side - 1) * side + np.clip(a, 0, side - 1) for b, a in near]
    to = np.stack(to, axis=1).repeat(4, axis=0)
    weight = np.tile(np.full((4, 4), 0.1) + 0.6 * np.eye(4), (n - 1, 1))
    apart = n + np.stack([np.arange(10), np.roll(np.arange(10), 1)], axis=1).repeat(2, axis=1)
    to = np.concatenate([to, apart])
    weight = np.concatenate([weight, np.tile([0.5, 0.2, 0.2, 0.1], (10, 1))])
    rows = np.repeat(np.arange(len(to)), 4)
    P = csr_array((weight.ravel(), (rows, to.ravel())), shape=(len(to), n + 10))
    P.sum_duplicates()
    rewards = np.full(len(to), -1.0) if cost else np.asarray(P[:, [0]].todense()).ravel()
    state = np.append(np.arange(1, n).repeat(4), np.arange(n, n + 10))
    action = np.append(np.tile(np.arange(4), n - 1), np.zeros(10, int))
    return MDP(P, rewards, state, action, n + 10, 4).renumbered(np.append(n + 9, np.arange(n + 9)))


def values_by_elimination(mdp, gamma):
    """Return the optimal values of the acting states, by policies' equations."""
    n, P = len(mdp.acting_states), mdp.transitions
    V, change = np.zeros(mdp.n_states), np.inf
    while change > 1e-12 * np.abs(V).max():
        best = greedy_pairs(mdp.first_pairs, mdp.pair_values(V, gamma), tolerance=1e-13)
        equations = eye_array(n, format="csc") - gamma * P[best][:, :n].tocsc()
        values = splu(equations).solve(mdp.rewards[best])
        change = np.abs(values - V[:n]).max()
        V[:n] = values
    return V[:n]


@pytest.mark.parametrize("cost", [False, True])
def test_a_march_knows_the_values_of_all_states_that_lead_to_the_best(cost):
    """Rewards spread from where they are paid; costs, from where they end."""
    mdp, gamma = lattice(40, cost=cost), 0.99
    pairs = CompiledPairs.of_process(mdp, gamma)
    pairs.improve(pairs.vector(np.zeros(pairs.n_acting)), 0.0)
    inner, order, _ = pairs.in_place()
    assert inner.marks[-1] == 40 * 40 - 1  # those that are apart come last
    V = inner.vector(np.zeros(inner.n_acting))
    assert inner.march(V, 0.0, 1e-12, -1 / (1 - gamma) if cost else 0.0)
    truth = values_by_elimination(mdp, gamma)[order]
    reached = slice(0, inner.marks[-1])
    assert_allclose(V[reached], truth[reached], rtol=1e-9, atol=1e-9)
    assert (V[inner.marks[-1] :] == 0).all()


def test_marks_are_apart_where_the_last_steps_are_short(monkeypatch):
    """Between two marks at one place is nothing, so parts next to each other would not overlap."""
    monkeypatch.setattr("skmdp.solvers._compiled_pairs.N_LOOKS", 50)
    n = 4901
    to = np.minimum(np.arange(n) + 20, n - 1)
    to[-1] = n - 2
    P = csr_array((np.ones(n), (np.arange(n), to)), shape=(n, n))
    mdp = MDP(P, np.zeros(n), np.arange(n), np.zeros(n, int), n, 1)
    marks, _ = marks_in(CompiledPairs.of_process(mdp, 0.9)._rows, n)
    assert len(marks) > 4
    assert (np.diff(marks) > 0).all()


def test_a_march_that_gets_nowhere_leaves_the_values_as_they_were(monkeypatch):
    monkeypatch.setattr("skmdp.solvers._compiled_pairs.MOST_IMPROVEMENTS", 1)
    pairs = CompiledPairs.of_process(lattice(40), 0.99)
    V = pairs.vector(np.zeros(pairs.n_acting))
    pairs.improve(V, 0.0)
    inner, _, _ = pairs.in_place()
    V = inner.vector(np.full(inner.n_acting, 0.5))
    before = V.copy()
    assert not inner.march(V, 0.0, 1e-12, -0.1)
    assert_array_equal(V, before)


@pytest.mark.parametrize("gamma", [0.99, 0.9999])
@pytest.mark.parametrize("cost", [False, True])
def test_lattices_are_solved_within_their_bounds_in_place(cost, gamma):
    mdp = lattice(40, cost=cost)
    with pytest.MonkeyPatch.context() as patch:
        compile_all(patch, at_once=True)
        solution = modified_policy_iteration(mdp, gamma)
    truth = values_by_elimination(mdp, gamma)
    error = np.abs(solution.state_values[: len(truth)] - truth).max()
    assert error <= solution.value_error_bound + 1e-12 * np.abs(truth).max()
    assert solution.converged


def in_place_policy(mdp, gamma):
    """Return the policy that is greedy by rewards, in place, and its values in that order."""
    pairs = CompiledPairs.of_process(mdp, gamma)
    pairs.improve(pairs.vector(np.zeros(pairs.n_acting)), 0.0)
    P = gamma * dense(mdp)[pairs.chosen]
    values = np.linalg.solve(np.eye(len(P)) - P, mdp.rewards[pairs.chosen])
    inner, order, _ = pairs.in_place()
    inner.improve(inner.vector(np.zeros(inner.n_acting)), np.inf)
    return inner.policy(), values[order]


def test_a_wave_goes_further_than_sweeps_that_cost_as_much_and_not_beyond_the_policy():
    """From below, with steps back on the way to the one reward: a sweep makes up for one."""
    n = 400
    P = np.zeros((n, n))
    P[np.arange(n), np.minimum(np.arange(n) + 1, n - 1)] += 0.6
    P[np.arange(n), np.maximum(np.arange(n) - 1, 0)] += 0.4
    rewards = np.where(np.arange(n) == n - 1, 1.0, 0.0)
    mdp = MDP(csr_array(P), rewards, np.arange(n), np.zeros(n, int), n, 1)
    policy, values = in_place_policy(mdp, 0.999)
    waved = policy.wave(np.zeros(n))
    V, swept = np.zeros(n), []
    for _ in range(2 * compiled.N_WAVES * compiled.SWEEPS_OF_PART):
        V, _, _ = policy.sweep(V)
        swept.append(V.copy())
    assert (waved >= swept[compiled.N_WAVES - 1] * (1 - 1e-12)).all()
    assert (waved <= values * (1 + 1e-12)).all()
    far = slice(n // 2, n)
    assert (waved[far] > 1e6 * swept[-1][far]).all()


def test_no_waves_where_states_lead_anywhere_or_stay_in_the_order_given():
    mdp = random_process(0, n_states=400)
    assert in_place_policy(mdp, 0.9)[0].wave(np.zeros(400)) is None
    pairs = CompiledPairs.of_process(mdp, 0.9)
    pairs.improve(pairs.vector(np.zeros(400)), 0.0)
    assert pairs.policy().wave(np.zeros(400)) is None
    assert ArrayPolicy(mdp.restrict(mdp.first_pairs), 0.9).wave(np.zeros(400)) is None


@given(PROCESSES, st.sampled_from([0.5, 0.95]), st.floats(1e-12, 1.0), st.booleans(), st.booleans())
def test_what_is_undecided_is_counted_as_by_whole_arrays(mdp, gamma, bound, has_dropped, is_few):
    with pytest.MonkeyPatch.context() as patch:
        compile_all(patch)
        patch.setattr("skmdp.solvers._compiled_pairs.FEW_CLOSE", 10**6 if is_few else 0)
        if is_few:
            patch.setattr(compiled, "TIES", "a module that is not loaded")
        patch.setattr("skmdp.solvers._search.MOST_LEFT", 1.0)
        search = Search(mdp, gamma, discount(mdp, gamma))
        for _ in range(8 if has_dropped else 1):
            search.improve()
            search.evaluate()
        V = exact_values(mdp, gamma)
        Q = search.all_q_values(V)
        assert_allclose(Q, mdp.pair_values(V, gamma), rtol=1e-12, atol=1e-12)
        best, n_undecided, share = search.undecided(V, Q, bound, 2 * bound)
    truth = count_undecided(mdp, gamma, V, Q, bound=bound, spread=2 * bound)
    assert n_undecided == truth[0]
    assert_allclose(share, truth[1], rtol=1e-6)
    assert_array_equal(Q[best], np.maximum.reduceat(Q, mdp.first_pairs))

"""Many processes of one structure: each gets what it gets alone, on any number of threads."""

import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import exact_q_values, exact_values, process, random_process
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from test_penalty import penalised
from test_small import with_sinks

from skmdp.mdp import MDP
from skmdp.solvers import solve, solve_many
from skmdp.solvers._compiled import KERNELS, load
from skmdp.solvers._small import load_small

PROCESSES = st.builds(
    random_process,
    st.integers(0, 100_000),
    n_states=st.integers(1, 12),
    end=st.sampled_from([0.0, 0.05]),
)
WAYS = ["loop", "one by one"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Solve by the compiled loop, or without it."""
    set_way(monkeypatch, request.param)
    return request.param


def set_way(patch, way):
    if way == "loop":
        pytest.importorskip("numba")
        load()
    else:
        patch.setattr("skmdp.solvers._solve_many.load_small", lambda: None)
        patch.setattr("skmdp.solvers._small.load_small", lambda: None)


def varied(mdp, seed, n_sets=6):
    """Draw rewards and probabilities, with rows of equal mass in some sets and not in others."""
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(n_sets, len(mdp.rewards))) * 10.0 ** rng.integers(
        -3, 4, size=(n_sets, 1)
    )
    P = mdp.transitions
    row = np.repeat(np.arange(len(mdp.rewards)), np.diff(P.indptr))
    weights = rng.exponential(size=(n_sets, P.nnz))
    for of_set in weights:
        of_set /= np.bincount(row, of_set, len(mdp.rewards))[row]
    weights[::2] *= rng.uniform(0.5, 1, size=(len(weights[::2]), len(mdp.rewards)))[:, row]
    return rewards, weights


def one_of(mdp, rewards=None, probabilities=None):
    """Return the process with the numbers of one set."""
    P = mdp.transitions
    if probabilities is not None:
        P = csr_array((probabilities, P.indices, P.indptr), shape=P.shape)
    rewards = mdp.rewards if rewards is None else rewards
    return MDP(P, rewards, mdp.pair_state, mdp.pair_action, mdp.n_states, mdp.n_actions)


@given(
    PROCESSES,
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.5, 0.99, 1 - 1e-6]),
    st.booleans(),
    st.sampled_from(WAYS),
    st.sampled_from(["rewards", "probabilities", "both"]),
)
def test_each_process_gets_what_it_gets_alone(mdp, seed, gamma, sinks, way, given):
    mdp = with_sinks(mdp) if sinks else mdp
    rewards, probabilities = varied(mdp, seed)
    sets = {"rewards": rewards, "probabilities": probabilities}
    if given != "both":
        sets = {given: sets[given]}
    with pytest.MonkeyPatch.context() as patch:
        set_way(patch, way)
        found = solve_many(mdp, gamma, **sets)
    assert found.converged.all()
    for i in range(6):
        alone = one_of(mdp, **{name: numbers[i] for name, numbers in sets.items()})
        single = solve(alone, gamma)
        both = found.value_error_bound[i] + single.value_error_bound
        assert np.abs(found.state_values[i] - single.state_values).max() <= both
        error = np.abs(found.state_values[i] - exact_values(alone, gamma)).max()
        assert error <= found.value_error_bound[i] + 1e-9 * np.abs(found.state_values[i]).max()
        acting = mdp.acting_states
        key = mdp.pair_state * mdp.n_actions + mdp.pair_action
        pair = np.searchsorted(key, acting * mdp.n_actions + found.policy[i, acting])
        top = np.maximum.reduceat(single.relative_q_values, mdp.first_pairs)
        slack = 1e-8 * (1e-3 + np.ptp(single.relative_q_values))
        assert (top - single.relative_q_values[pair] <= slack).all()
        assert (np.delete(found.policy[i], acting) == -1).all()


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.9, 0.999]), st.sampled_from(WAYS))
def test_bounds_hold_against_exact_fractions(seed, gamma, way):
    mdp = random_process(seed, n_states=3)
    rewards, probabilities = varied(mdp, seed, n_sets=2)
    with pytest.MonkeyPatch.context() as patch:
        set_way(patch, way)
        found = solve_many(mdp, gamma, rewards=rewards, probabilities=probabilities)
    for i in range(2):
        Q = exact_q_values(one_of(mdp, rewards[i], probabilities[i]), gamma)
        truth = np.maximum.reduceat([float(q) for q in Q], mdp.first_pairs)
        rounding = 1e-15 * np.abs(truth).max()
        error = np.abs(found.state_values[i] - truth).max()
        assert error <= found.value_error_bound[i] + rounding


def test_processes_that_share_distributions_take_other_rewards(way):
    mdp = random_process(3, uniform=True, shared=True)
    rewards = np.random.default_rng(0).normal(size=(3, len(mdp.rewards)))
    found = solve_many(mdp, 0.9, rewards=rewards)
    for i in range(3):
        truth = exact_values(mdp.unchecked(rewards=rewards[i]), 0.9)
        assert_allclose(found.state_values[i], truth, atol=found.value_error_bound[i])


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    pytest.importorskip("numba")
    load()
    monkeypatch.setattr("skmdp.solvers._compiled.PER_THREAD", 10)
    mdp = random_process(3, n_states=30)
    rewards, probabilities = varied(mdp, 0, n_sets=50)
    found = []
    for n in (1, 2, 5):
        monkeypatch.setattr("skmdp.solvers._compiled.n_threads", lambda n=n: n)
        found.append(solve_many(mdp, 0.99, rewards=rewards, probabilities=probabilities))
    for other in found[1:]:
        for name, numbers in vars(found[0]).items():
            assert_array_equal(getattr(other, name), numbers)


def test_a_few_processes_are_no_reason_to_load_anything(monkeypatch):
    pytest.importorskip("numba")
    mdp, calls = random_process(0), []
    monkeypatch.delitem(sys.modules, KERNELS, raising=False)
    monkeypatch.setattr(
        "skmdp.solvers._solve_many.load_small", lambda: calls.append(1) or load_small()
    )
    solve_many(mdp, 0.9, rewards=[mdp.rewards])
    assert not calls
    solve_many(mdp, 0.9, rewards=np.tile(mdp.rewards, (200, 1)))
    assert calls


def walk(n):
    """A walk to a goal far away: too slow for the loop."""
    pairs = {(s, 0): (0.0, {max(s - 1, 0): 0.5, s + 1: 0.5}) for s in range(n - 1)}
    return process({**pairs, (n - 1, 0): (1.0, {n - 1: 1.0})})


def test_slow_and_large_processes_are_solved_one_by_one():
    load()
    for mdp, gamma in ((walk(250), 0.9999), (random_process(0, n_states=600), 0.9)):
        rewards = np.array([mdp.rewards, 2 * mdp.rewards])
        found = solve_many(mdp, gamma, rewards=rewards)
        assert found.converged.all()
        alone = solve(mdp, gamma)
        assert_allclose(found.state_values[0], alone.state_values, rtol=1e-5)
        assert_allclose(found.state_values[1], 2 * alone.state_values, rtol=1e-5)


def test_many_hubs_are_left_to_the_usual_loop(monkeypatch):
    pytest.importorskip("numba")
    load()
    mdp = random_process(0, n_states=20, shared=True)
    monkeypatch.setattr("skmdp.solvers._solve_many.MOST_ENTRIES", 0)
    found = solve_many(mdp, 0.9, rewards=[mdp.rewards])
    truth = exact_values(mdp, 0.9)
    assert_allclose(found.state_values[0], truth, atol=found.value_error_bound[0])


def test_warns_once_and_names_the_first_set(way):
    mdp = random_process(0)
    rewards = np.array([0 * mdp.rewards, mdp.rewards, mdp.rewards])
    with pytest.warns(ConvergenceWarning, match="2 of 3 processes were stopped.*first set 1") as w:
        found = solve_many(mdp, 0.99, rewards=rewards, max_iter=1)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert_array_equal(found.converged, [True, False, False])
    assert_array_equal(found.n_iter, [1, 1, 1])
    # The remedy works.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert solve_many(mdp, 0.99, rewards=rewards).converged.all()


MDP_OF_TWO = process({(0, 0): (1.0, {0: 0.5, 1: 0.5}), (0, 1): (2.0, {1: 1.0}), (1, 0): (0.0, {})})


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({}, "rewards or probabilities must be given"),
        ({"rewards": [1.0, 2.0, 3.0]}, r"rewards has shape \(3,\), expected \(n_sets, 3\)"),
        ({"rewards": [[1.0, 2.0]]}, r"shape \(1, 2\), expected \(n_sets, 3\).*3 pairs"),
        ({"rewards": np.empty((0, 3))}, r"shape \(0, 3\), expected"),
        ({"probabilities": [[1.0]]}, r"probabilities has shape \(1, 1\), expected \(n_sets, 3\)"),
        (
            {"rewards": [[0, 0, 0], [0, np.nan, 0], [0, 0, 0], [np.inf, 0, 0]]},
            r"got nan in set 1 for action 1 in state 0 \(pair 1.*likewise in set\(s\) 3\. Correct",
        ),
        (
            {"probabilities": [[0.5, 0.5, 1.0], [0.5, 0.5, -0.1]]},
            r"got -0.1 in set 1 for next state 1 after action 1 in state 0 \(pair 1",
        ),
        ({"probabilities": [[0.5, 1.5, 1.0]]}, "got 1.5 in set 0 for next state 1 after action 0"),
        ({"probabilities": [[0.5, np.nan, 1.0]]}, "between 0 and 1, got nan in set 0"),
        (
            {"probabilities": [[0.5, 0.5, 1.0], [0.5, 0.6, 1.0]]},
            r"in set 1 sum to 1.1 after action 0 in state 0 \(pair 0.*more than one\. Divide",
        ),
        (
            {"rewards": np.zeros((2, 3)), "probabilities": np.zeros((3, 3))},
            "rewards has 2 rows and probabilities 3",
        ),
    ],
)
def test_what_cannot_be_is_named(sets, message):
    with pytest.raises(ValueError, match=message) as caught:
        solve_many(MDP_OF_TWO, 0.9, **sets)
    assert len(str(caught.value)) < 500


def test_a_message_of_many_sets_is_short():
    rewards = np.full((100_000, 3), np.nan)
    with pytest.raises(ValueError, match=r"more\. Correct it") as caught:
        solve_many(MDP_OF_TWO, 0.9, rewards=rewards)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.0}, "gamma must be below 1.*Use solve for each"),
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        ({"gamma": 0.5, "tol": 0.0}, "tol must be above 0"),
        ({"gamma": 0.5, "max_iter": 0}, "max_iter must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    gamma = options.pop("gamma")
    with pytest.raises(ValueError, match=message):
        solve_many(MDP_OF_TWO, gamma, rewards=np.zeros((1, 3)), **options)


def test_hubs_keep_their_probabilities():
    mdp = random_process(0, shared=True)
    with pytest.raises(ValueError, match="share distributions of next states"):
        solve_many(mdp, 0.9, probabilities=[mdp.transitions.data])


def test_a_penalty_belongs_to_its_own_numbers():
    mdp = penalised([(0, 0, 1, 1.0), (0, 0, 2, -1.0)], np.zeros(3))
    with pytest.raises(ValueError, match="mdp has a penalty"):
        solve_many(mdp, 0.9, rewards=[mdp.rewards])

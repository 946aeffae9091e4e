import itertools
import os
import re
import warnings
from dataclasses import replace
from fractions import Fraction
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, exact_q_values, exact_values, process, random_process, solve_exactly
from scipy.sparse import coo_array, csr_array, diags_array
from sklearn.exceptions import ConvergenceWarning
from ways import WAYS, follow_only

from skmdp import MarkovPolicyEstimator
from skmdp.mdp import MDP
from skmdp.solvers import (
    EndlessLoopError,
    _array_policy,
    _kernels,
    modified_policy_iteration,
)
from skmdp.solvers._array_policy import ArrayPolicy, FewStates, backward_order, width_of
from skmdp.solvers._bounds import discount, prove
from skmdp.solvers._compiled import by_size_alone
from skmdp.solvers._equations import (
    all_end,
    eliminate,
    equations_of,
    solve_band,
    solve_dense,
    solve_krylov,
)
from skmdp.solvers._kernels import Change, shortest_way
from skmdp.solvers._search import Search
from skmdp.solvers._sweeps import AS_GIVEN, Evaluator, solve_rest, sweeps_to_come
from skmdp.solvers._total_reward import EndlessPairs, most_steps_to_the_end

# Puterman (2005), section 3.1 and example 6.2.1: in state 0 action 0 stays with probability
# 1/2, action 1 leaves at once for the costly state 1.
PUTERMAN = {
    (0, 0): (5.0, {0: 0.5, 1: 0.5}),
    (0, 1): (10.0, {1: 1.0}),
    (1, 0): (-1.0, {1: 1.0}),
}


def test_puterman_example():
    solution = modified_policy_iteration(process(PUTERMAN), 0.95, tol=1e-12)
    v1 = -1 / (1 - 0.95)
    v0 = (5 + 0.95 * 0.5 * v1) / (1 - 0.95 * 0.5)
    assert_allclose(solution.state_values, [v0, v1], atol=1e-9)
    assert_array_equal(solution.policy, [0, 0])
    assert solution.converged


def test_one_rewarding_loop_is_worth_its_geometric_series():
    solution = modified_policy_iteration(process({(0, 0): (1.0, {0: 1.0})}), 0.99)
    assert_allclose(solution.state_values, [100])
    assert solution.n_iter == 1  # the range of the residual is 0 at once


def test_missing_mass_is_no_loop():
    """The span of the residual alone would claim 100 here after one sweep."""
    solution = modified_policy_iteration(process({(0, 0): (1.0, {0: 0.5})}), 0.99)
    assert_allclose(solution.state_values, [1 / (1 - 0.99 / 2)], rtol=1e-6)


@pytest.mark.parametrize("missing", [1e-6, 5e-10, 1e-14])
def test_mass_that_is_hardly_missing_still_counts(missing):
    mdp = process({(0, 0): (1.0, {0: 1 - missing})})
    for gamma in (0.999, 0.999999):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skmdp.solvers._driver.warn_not_converged", lambda *_, **__: None)
            solution = modified_policy_iteration(mdp, gamma, max_iter=20)
        truth = 1 / (1 - gamma * (1 - missing))
        assert abs(solution.state_values[0] - truth) <= solution.value_error_bound


@pytest.mark.parametrize("excess", [5e-10, 9e-10, 3e-13])
@pytest.mark.parametrize("gamma", [0.5, 0.999, 1 - 1e-7])
@pytest.mark.parametrize("others", [0.0, 0.2, 1.0])
def test_mass_above_one_counts_in_the_bound(excess, gamma, others):
    """Rows that sum to a little more than one are accepted as rounded; the bound takes them."""
    probability = (1 + excess) * np.array([1.0 - others, others])
    successors = dict(enumerate(probability))
    mdp = process({(0, 0): (1.0, successors), (1, 0): (-2.0, {1: 1.0})}, n_states=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solution = modified_policy_iteration(mdp, gamma)
    there = -2 / (1 - gamma)
    stays, leaves = Fraction(float(probability[0])), Fraction(float(probability[1]))
    here = (1 + Fraction(gamma) * leaves * Fraction(there)) / (1 - Fraction(gamma) * stays)
    assert abs(solution.state_values - [float(here), there]).max() <= solution.value_error_bound


def test_mass_that_outgrows_the_discount_proves_nothing():
    mdp = process({(0, 0): (1.0, {0: 1 + 5e-10})})
    with pytest.warns(ConvergenceWarning, match="lower gamma"):
        solution = modified_policy_iteration(mdp, 1 - 1e-10, max_iter=3)
    assert not solution.converged
    assert solution.value_error_bound > 1e100


@pytest.mark.parametrize("gamma", [0.99, 0.999999])
@pytest.mark.parametrize("stay", [0.0, 1e-9, 0.5, 1 - 1e-9])
def test_rows_of_unequal_mass_are_bounded_on_both_sides(gamma, stay):
    """One state may end, the other may not: rewards of one sign approach V* from one side."""
    for reward in (1.0, -1.0):
        pairs = {(0, 0): (reward, {0: stay, 1: 0.25 * (1 - stay)}), (1, 0): (reward, {1: 1.0})}
        solution = modified_policy_iteration(process(pairs), gamma)
        there = reward / (1 - gamma)
        here = (reward + gamma * 0.25 * (1 - stay) * there) / (1 - gamma * stay)
        error = np.abs(solution.state_values - [here, there]).max()
        assert error <= solution.value_error_bound <= 1e-6 * max(1, abs(there))
        assert solution.converged


def test_precision_of_gamma_does_not_leak_into_the_bound():
    mdp = process({(0, 0): (1.0, {0: 1.0})})
    for gamma in (np.float32(0.9), np.float16(0.9)):
        solution = modified_policy_iteration(mdp, gamma)
        error = abs(solution.state_values[0] - 1 / (1 - float(gamma)))
        assert error <= solution.value_error_bound < 1e-10


def test_rounding_is_part_of_the_bound():
    """A row of many terms and a large constant in V: the residual alone would claim exactness."""
    n = 1000
    probability = np.random.default_rng(0).dirichlet(np.ones(n))
    mdp = process({(s, 0): (1e9, dict(enumerate(probability))) for s in range(n)})
    solution = modified_policy_iteration(mdp, 0.999, tol=1e-9)
    value = 1e9 / (1 - 0.999 * float(np.sum(probability)))
    assert np.abs(solution.state_values - value).max() <= solution.value_error_bound
    eps = np.finfo(float).eps
    assert solution.value_error_bound >= 1000 * eps * 1e12 / (1 - 0.999) / 2


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_overflow_is_no_convergence():
    with pytest.warns(ConvergenceWarning):
        solution = modified_policy_iteration(process({(0, 0): (1e308, {0: 1.0})}), 0.9)
    assert not solution.converged


@pytest.mark.parametrize("gamma", [-0.1, 1.5, np.nan])
def test_gamma_must_be_a_discount(gamma):
    with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\]"):
        modified_policy_iteration(process({(0, 0): (1.0, {0: 1.0})}), gamma)


def endless_pair(mdp):
    """Return a pair that can be taken again and again, None without any."""
    endless = EndlessPairs(mdp)
    endless.search()
    return int(np.argmax(endless.is_left)) if endless.is_left.any() else None


def test_stored_zeros_are_no_way_out():
    mdp = process({(0, 0): (1.0, {0: 1.0})}, n_states=2)
    with_zero = csr_array((np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert endless_pair(replace(mdp, transitions=with_zero)) == 0


def test_gamma_zero_is_greedy_on_rewards():
    mdp = random_process(0)
    solution = modified_policy_iteration(mdp, 0.0)
    best = [mdp.rewards[mdp.pair_state == s].max() for s in range(mdp.n_states)]
    assert_array_equal(solution.state_values, best)
    assert_array_equal(solution.q_values, mdp.rewards)


PROCESSES = st.builds(
    random_process,
    st.integers(0, 10_000),
    n_states=st.sampled_from([1, 2, 8]),
    end=st.sampled_from([0.0, 0.05, 0.5]),
    uniform=st.booleans(),
    shared=st.booleans(),
)


@given(PROCESSES, st.sampled_from([0.0, 0.5, 0.9, 0.99]), st.sampled_from([1e-2, 1e-6, 1e-10]))
def test_values_are_within_the_proven_bound_and_the_bound_within_tol(mdp, gamma, tol):
    solution = modified_policy_iteration(mdp, gamma, tol=tol)
    truth = exact_values(mdp, gamma)
    error = np.abs(solution.state_values - truth).max()
    # The reference has rounding errors of its own.
    assert error <= solution.value_error_bound + 1e-12 * np.abs(truth).max() / (1 - gamma)
    scale = max(np.abs(mdp.rewards).max(), np.abs(solution.state_values).max())
    assert solution.value_error_bound <= tol * scale * (1 + tol)
    assert solution.converged


@given(PROCESSES, st.integers(1, 3))
def test_bound_holds_when_stopped_early(mdp, max_iter):
    with np.errstate(all="raise"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._search.TINY_STATES", 0)
        pace = replace(AS_GIVEN, most_sweeps=1, most_still=1)
        patch.setattr("skmdp.solvers._sweeps.Evaluator.as_given", pace)
        patch.setattr("skmdp.solvers._driver.warn_not_converged", lambda *_, **__: None)
        solution = modified_policy_iteration(mdp, 0.95, tol=1e-9, max_iter=max_iter)
    error = np.abs(solution.state_values - exact_values(mdp, 0.95)).max()
    assert error <= solution.value_error_bound + 1e-10


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.02, 0.3]),
    st.booleans(),
    st.sampled_from([1e-3, 1e-8]),
)
def test_gamma_one_is_right_to_the_bound_where_everything_ends(seed, end, uniform, tol):
    mdp = random_process(seed, end=end, uniform=uniform)
    solution = modified_policy_iteration(mdp, 1.0, tol=tol)
    truth = exact_values(mdp, 1.0)
    assert np.abs(solution.state_values - truth).max() <= solution.value_error_bound + 1e-10
    assert solution.value_error_bound <= tol * np.abs(np.append(truth, mdp.rewards)).max() * 1.01


def test_values_do_not_depend_on_the_tolerance_asked_for_first():
    mdp = random_process(5, n_states=50, end=0.01)
    loose = modified_policy_iteration(mdp, 0.999, tol=1e-3)
    tight = modified_policy_iteration(mdp, 0.999, tol=1e-9)
    assert np.abs(loose.state_values - tight.state_values).max() <= (
        loose.value_error_bound + tight.value_error_bound
    )


def test_stopping_at_max_iter_is_no_convergence():
    mdp = random_process(1, end=0.001)
    message = r"Stopped after 1 iteration.*advice in 5 state\(s\).*Increase max_iter \(1\)"
    with pytest.warns(ConvergenceWarning, match=message):
        solution = modified_policy_iteration(mdp, 0.9999, max_iter=1)
    assert not solution.converged
    assert solution.n_iter == 1
    assert np.isfinite(solution.state_values).all()
    error = np.abs(solution.state_values - exact_values(mdp, 0.9999)).max()
    assert error <= solution.value_error_bound


def test_tolerance_below_float64_is_admitted():
    with pytest.warns(ConvergenceWarning, match=r"float64 cannot prove more: increase tol \(1e-18"):
        solution = modified_policy_iteration(random_process(1), 0.9, tol=1e-18)
    assert not solution.converged
    assert solution.n_iter < 100
    assert solution.value_error_bound < 1e-12


def test_no_rewards_are_worth_nothing():
    solution = modified_policy_iteration(process({(0, 0): (0.0, {0: 1.0})}), 0.9)
    assert_array_equal(solution.state_values, [0])
    assert solution.value_error_bound == 0
    assert solution.converged


def test_history_ends_with_the_bound():
    solution = modified_policy_iteration(random_process(4, end=0.1), 0.99)
    assert len(solution.history) == solution.n_iter
    assert solution.history[-1] == solution.value_error_bound


def test_verbose_prints_a_line_per_iteration(capsys):
    seen = []
    solution = modified_policy_iteration(
        random_process(4, end=0.1), 0.99, verbose=1, callback=seen.append
    )
    assert seen == list(range(1, solution.n_iter + 1))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == solution.n_iter
    assert all(re.match(r"iteration \d+: values within .*action\(s\) changed", s) for s in lines)


# --------------------------------------------------------------------------- can it go on for ever?

LADDER = {(s, 0): (-1.0, {s + 1: 1.0}) for s in range(5)}


@pytest.mark.parametrize(
    ("pairs", "endless"),
    [
        (LADDER, None),  # state 5 has no pairs
        ({**LADDER, (3, 1): (0.0, {0: 1.0})}, (0, 0)),  # round and round
        ({**LADDER, (3, 1): (0.0, {0: 0.9})}, None),  # round, but ends one time in ten
        ({**LADDER, (2, 1): (0.0, {2: 1.0})}, (2, 1)),  # stays
        ({**LADDER, (2, 1): (0.0, {2: 0.5, 5: 0.5})}, None),  # stays, but not for ever
        ({**LADDER, (1, 1): (0.0, {3: 1.0}), (4, 1): (0.0, {3: 1.0})}, (3, 0)),  # far down the road
    ],
)
def test_endless_pairs(pairs, endless):
    mdp = process(pairs, n_states=6)
    found = endless_pair(mdp)
    assert modified_policy_iteration(mdp, 1.0).converged  # loops lose
    if endless is None:
        assert found is None
        return
    assert (mdp.pair_state[found], mdp.pair_action[found]) == endless
    earning = mdp.unchecked(rewards=mdp.rewards + 2.0)
    with pytest.raises(EndlessLoopError, match="Use a gamma below 1") as error:
        modified_policy_iteration(earning, 1.0)
    assert (error.value.state, error.value.action) == endless


# ------------------------------------------------------------------- loops without discount


def closed_classes(P):
    """Return the sets of states that a chain never leaves, each a list."""
    n = len(P)
    reach = np.linalg.matrix_power((P > 0) + np.eye(n), n) > 0
    classes = {tuple(np.flatnonzero(reach[s] & reach[:, s])) for s in range(n)}
    return [list(c) for c in classes if P[np.ix_(c, c)].sum(axis=1).min() > 1 - 1e-9]


def total_rewards(P, R):
    """Return the total rewards of one policy, -inf where it may lose for ever, or None.

    None stands for a loop that earns, or whose gains and losses cancel.
    """
    n = len(R)
    value, is_known = np.zeros(n), np.zeros(n, dtype=bool)
    for members in closed_classes(P):
        inner, rewards = P[np.ix_(members, members)], R[members]
        is_known[members] = True
        if (rewards == 0).all():
            continue
        k = len(members)
        stationary = np.linalg.lstsq(
            np.vstack([inner.T - np.eye(k), np.ones(k)]), np.eye(k + 1)[k], rcond=None
        )[0]
        if stationary @ rewards > -1e-9:
            return None
        value[members] = -np.inf
    lost = np.isneginf(value)
    for _ in range(n):
        lost |= (P[:, lost] > 0).any(axis=1)
    value[lost] = -np.inf
    moving = np.flatnonzero(~is_known & ~lost)
    inner = P[np.ix_(moving, moving)]
    value[moving] = np.linalg.solve(np.eye(len(moving)) - inner, R[moving])
    return value


def chain_of(mdp, pairs, everywhere):
    """Return P (n_states, n_states) and R of following one pair in every acting state."""
    P, R = np.zeros((mdp.n_states,) * 2), np.zeros(mdp.n_states)
    P[mdp.pair_state[pairs]] = everywhere[pairs]
    R[mdp.pair_state[pairs]] = mdp.rewards[pairs]
    return P, R


def best_of_all_policies(mdp):
    """Return V* by enumeration, or None where there is none."""
    own = [np.flatnonzero(mdp.pair_state == s) for s in mdp.acting_states]
    best, everywhere = np.full(mdp.n_states, -np.inf), dense(mdp)
    for pairs in itertools.product(*own):
        value = total_rewards(*chain_of(mdp, list(pairs), everywhere))
        if value is None:
            return None
        best = np.maximum(best, value)
    return best if np.isfinite(best).all() else None


def loopy(seed):
    """A process of a few states with loops of every kind."""
    rng = np.random.default_rng(seed)
    n, pairs = int(rng.integers(2, 5)), {}
    paid = rng.choice([-2.0, -1.0, 0.0, 1.0], size=60, p=rng.dirichlet([1, 1.5, 1, 0.5]))
    for s in range(n):
        if s and rng.uniform() < 0.15:
            continue
        for a in range(int(rng.integers(1, 4))):
            k = int(rng.integers(1, 3))
            row = rng.choice([1.0, 1.0, 1.0, 1.0, 0.5, 0.0]) * rng.dirichlet(np.ones(k))
            successors = rng.permutation(n)[:k].tolist()
            pairs[s, a] = (paid[3 * s + a], dict(zip(successors, row.tolist(), strict=True)))
    shared = {}
    if rng.uniform() < 0.2:
        mass = (rng.uniform(size=len(pairs)) < 0.5) * 0.5
        row = rng.dirichlet(np.ones(n)) * rng.choice([1.0, 0.9])
        shared = {"hub_mass": mass[:, np.newaxis], "hub_transitions": row[np.newaxis]}
        for key, m in zip(sorted(pairs), mass, strict=True):
            reward, successors = pairs[key]
            pairs[key] = (reward, {t: p * (1 - m) for t, p in successors.items()})
    return process(pairs, n, 3, **shared)


def check_total_reward(mdp):
    """Compare with enumeration; return whether there is a largest total reward."""
    truth = best_of_all_policies(mdp)
    if truth is None:
        with pytest.raises(EndlessLoopError):
            modified_policy_iteration(mdp, 1.0)
        return False
    solution = modified_policy_iteration(mdp, 1.0)
    assert solution.converged
    error = np.abs(solution.state_values - truth).max()
    assert error <= solution.value_error_bound + 1e-10 * (1 + np.abs(truth).max())
    if solution.in_loops is not None:  # the policy itself earns it
        codes = mdp.pair_state * mdp.n_actions + mdp.pair_action
        acting = mdp.acting_states
        pairs = np.searchsorted(codes, acting * mdp.n_actions + solution.policy[acting])
        assert_allclose(total_rewards(*chain_of(mdp, pairs, dense(mdp))), truth, atol=1e-8)
    return True


N_LOOPY = 300 if os.environ.get("HYPOTHESIS_PROFILE") == "quick" else 1_500


@pytest.mark.parametrize("seed", range(0, N_LOOPY, 100))
def test_total_rewards_equal_the_best_of_all_policies(seed):
    solved = [check_total_reward(loopy(number)) for number in range(seed, seed + 100)]
    assert 20 < sum(solved) < 100


@pytest.mark.parametrize("name", ["FEW_ROUNDS", "FEW_IMPROVEMENTS"])
def test_loops_are_looked_for_sooner_or_later(monkeypatch, name):
    monkeypatch.setattr("skmdp.solvers._total_reward.FEW_ROUNDS", 0)
    monkeypatch.setattr(f"skmdp.solvers._total_reward.{name}", 0)
    assert_allclose(most_steps_to_the_end(random_process(3, end=0.1)), 10.0)
    assert most_steps_to_the_end(random_process(3)) is None


def test_loops_stopped_too_early_prove_nothing():
    """The first policy goes straight to the end, which pays less than a step aside."""
    pairs = {(0, 0): (1.0, {2: 1.0}), (0, 1): (0.0, {1: 1.0}), (1, 0): (5.0, {2: 1.0})}
    mdp = process({**pairs, (1, 1): (0.0, {0: 1.0})})
    assert_allclose(modified_policy_iteration(mdp, 1.0).state_values, [5, 5, 0])
    with pytest.warns(ConvergenceWarning, match="Increase max_iter"):
        solution = modified_policy_iteration(mdp, 1.0, max_iter=1)
    assert not solution.converged
    assert solution.value_error_bound > 1e100


def test_the_advice_of_an_estimator_leaves_loops_that_pay_nothing():
    """Waiting is logged more often, and worth the same by its Q, but leads nowhere."""
    log = pd.DataFrame(
        {
            "state": ["x"] * 5 + ["y"] * 5,
            "action": ["turn"] * 4 + ["leave"] + ["turn"] * 5,
            "next_state": ["y"] * 4 + [None] + ["x"] * 5,
            "reward": [0.0] * 4 + [1.0] + [0.0] * 5,
        }
    )
    policy = MarkovPolicyEstimator(gamma=1.0).fit(log)
    assert policy.policy_map() == {"x": "leave", "y": "turn"}


def test_loops_that_take_long_to_find_are_found_all_the_same():
    """Each round drops one more state of a walk, and a loop at its far end stays."""
    n = 100
    walk = {(s, 0): (0.0, {max(s - 1, 0): 0.5, s + 1: 0.5}) for s in range(1, n)}
    walk |= {(0, 0): (0.0, {}), (n, 0): (0.0, {n - 1: 1.0})}
    assert modified_policy_iteration(process(walk), 1.0).converged
    walk[n, 1] = (-1.0, {n: 1.0})
    assert modified_policy_iteration(process(walk), 1.0).converged
    walk[n, 1] = (1.0, {n: 1.0})
    with pytest.raises(EndlessLoopError) as error:
        modified_policy_iteration(process(walk), 1.0)
    assert (error.value.state, error.value.action) == (n, 1)


@pytest.mark.parametrize("back", [0.0, 0.2, 0.5])
def test_long_walks_at_gamma_one(back):
    n = 2000
    s = np.arange(n)
    P = coo_array(
        (np.repeat([1 - back, back], n), (np.tile(s, 2), np.append(s + 1, np.maximum(s - 1, 0)))),
        shape=(n, n + 1),
    )
    mdp = MDP(P.tocsr(), -np.ones(n), s, np.zeros(n, int), n + 1, 1)
    solution = modified_policy_iteration(mdp, 1.0)
    away = n - s
    ahead = {0.0: 1.0, 0.2: 0.6}.get(back)
    truth = (
        -(n * (n + 1) - s * (s + 1.0))
        if ahead is None
        else -(away / ahead - back * (0.25**s - 0.25**n) / ahead**2 * (back > 0))
    )
    assert solution.n_iter < 5
    assert np.abs(solution.state_values[:n] - truth).max() <= solution.value_error_bound


@given(PROCESSES)
def test_endless_pairs_equal_a_loop_over_pairs(mdp):
    """Drop pairs that may end or leave, and states without pairs, until nothing changes."""
    leads_to = dense(mdp) > 0
    pairs, states = set(range(len(mdp.rewards))), set(range(mdp.n_states))
    changed = True
    while changed:
        keep = {i for i in pairs if not mdp.ends[i] and set(np.flatnonzero(leads_to[i])) <= states}
        left = {s for s in states if any(mdp.pair_state[i] == s for i in keep)}
        changed = (keep, left) != (pairs, states)
        pairs, states = keep, left
    found = endless_pair(mdp)
    assert (found is None) == (not pairs)
    assert found is None or found in pairs


def test_pairs_that_lead_anywhere_can_come_round():
    mdp = process({(0, 0): (1.0, {})}, n_states=1, hub_mass=[[1.0]], hub_transitions=[[1.0]])
    assert endless_pair(mdp) == 0
    leads_out = process(
        {(0, 0): (1.0, {})}, n_states=2, hub_mass=[[1.0]], hub_transitions=[[0.5, 0.5]]
    )
    assert endless_pair(leads_out) is None
    assert_allclose(modified_policy_iteration(leads_out, 1.0).state_values, [2, 0], rtol=1e-6)


def test_pairs_may_do_as_their_state_does():
    """Half of the time action 0 stays, half of the time what is usual happens: on to the end."""
    half = [[0.5, 0.0]]
    on = [[0.0, 1.0], [0.0, 0.0]]
    stays = process({(0, 0): (1.0, {0: 0.5})}, 2, hub_mass=half, hub_transitions=on)
    assert endless_pair(stays) is None
    assert_allclose(modified_policy_iteration(stays, 1.0).state_values, [2, 0], rtol=1e-6)
    back = [[1.0, 0.0], [0.0, 0.0]]
    loops = process({(0, 0): (1.0, {0: 0.5})}, 2, hub_mass=half, hub_transitions=back)
    assert endless_pair(loops) == 0


def test_a_stay_too_long_to_bound_is_like_a_loop(monkeypatch):
    monkeypatch.setattr("skmdp.solvers._total_reward.MAX_ITER_OF_STEPS", 1)
    solution = modified_policy_iteration(process({(0, 0): (1.0, {0: 0.99})}), 1.0)
    assert solution.converged
    assert abs(solution.state_values[0] - 100) <= solution.value_error_bound


@pytest.mark.parametrize("gamma", [0.999999, 1 - 1e-8])
def test_policies_that_never_settle_are_solved_by_their_equations(gamma):
    """To and fro for ever: sweeps would need as many rounds as the horizon is long."""
    mdp = process({(0, 0): (1.0, {1: 1.0}), (1, 0): (0.0, {0: 1.0}), (1, 1): (0.3, {1: 1.0})})
    solution = modified_policy_iteration(mdp, gamma)
    assert solution.converged
    assert solution.n_iter < 10
    assert_allclose(solution.state_values, np.array([1, gamma]) / (1 - gamma**2), rtol=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.5]), st.booleans(), st.booleans())
def test_the_longest_stay_is_bounded_closely(seed, end, uniform, shared):
    """The bound on values at gamma = 1 is as good as that on the number of steps."""
    mdp = random_process(seed, end=end, uniform=uniform, shared=shared)
    longest = exact_values(replace(mdp, rewards=np.ones(len(mdp.rewards))), 1.0).max()
    assert longest - 1e-9 <= most_steps_to_the_end(mdp) <= longest / 0.9 + 1e-9


@given(st.integers(0, 10_000), st.sampled_from([1e-9, 1e-12]))
def test_rounding_shortens_no_longest_stay(seed, end):
    """Of a billion steps and more, the last bits of a sum are steps."""
    mdp = random_process(seed, n_states=3, n_actions=1, end=end)
    P = [[Fraction(float(p)) for p in row] for row in dense(mdp)]
    rows = [[(s == t) - p for t, p in enumerate(row)] for s, row in enumerate(P)]
    assert most_steps_to_the_end(mdp) >= max(solve_exactly(rows, [Fraction(1)] * 3))


def test_states_without_pairs_start_at_zero():
    mdp = process({(0, 0): (1.0, {0: 0.5, 1: 0.5})}, n_states=2)
    cold = modified_policy_iteration(mdp, 0.9)
    warm = modified_policy_iteration(mdp, 0.9, initial_values=np.array([0.0, 1e6]))
    assert_array_equal(warm.history, cold.history)


def test_a_better_policy_found_late_lengthens_the_longest_stay():
    """State 0 may wait half of the time: one look too few would take it for a step."""
    pairs = {(s, 0): (0.0, {s + 1: 1.0}) for s in range(20)} | {(0, 1): (0.0, {0: 0.5, 1: 0.5})}
    assert_allclose(most_steps_to_the_end(process(pairs)), 21.0, rtol=0.01)


def test_a_stay_of_a_hundred_thousand_steps_at_gamma_one():
    solution = modified_policy_iteration(process({(0, 0): (1.0, {0: 1 - 1e-5})}), 1.0)
    assert solution.converged
    assert_allclose(solution.state_values, 1e5, rtol=1e-6)


@pytest.mark.parametrize("n", [20, 150])  # a full matrix, a sparse one
def test_actions_that_tie_keep_no_policy_from_settling(n):
    """On a ring of places with two equal actions, the other one is no other policy."""
    mdp = process({(s, a): (1.0 * (s == 0), {(s + 1) % n: 1.0}) for s in range(n) for a in (0, 1)})
    search = Search(mdp, 0.999999, discount(mdp, 0.999999))
    for _ in range(3):
        proof = search.improve()
        search.evaluate()
    assert search.n_changed == 0
    assert proof.spread_bound < 1e-3


def test_a_common_offset_does_not_blur_equations():
    """To and fro, one way round better by 0.3, far below the level of 1e13."""
    pairs = {(0, 0): (1.0, {1: 1.0}), (1, 0): (0.0, {0: 1.0}), (1, 1): (0.3, {0: 1.0})}
    pairs[0, 1] = (0.7, {0: 1.0})
    for offset in (0.0, 1e7):
        far = {key: (reward + offset, row) for key, (reward, row) in pairs.items()}
        solution = modified_policy_iteration(process(far), 0.999999)
        assert solution.n_undecided == 0
        assert_array_equal(solution.policy, [1, 1])


@given(PROCESSES, st.sampled_from([0.0, 0.5, 0.99]))
def test_sums_are_discounted_by_the_least_and_the_largest_mass(mdp, gamma):
    sums = discount(mdp, gamma)
    least, most = gamma * mdp.acting_mass.min(), gamma * mdp.acting_mass.max()
    # Masses are sums over rows, so they are rounded relative to 1, however small they are.
    expected = [least / (1 - least), most / (1 - most)]
    assert_allclose([sums.least, sums.most], expected, rtol=1e-12, atol=1e-13)
    assert sums.forgets_level == (gamma == 0 or not mdp.ends.any())


@given(PROCESSES, st.sampled_from([0.3, 0.9, 0.9999, 1 - 1e-7]))
def test_equations_of_a_policy_give_its_values(mdp, gamma):
    policy, d = mdp.restrict(mdp.first_pairs), mdp.rewards[mdp.first_pairs]
    truth = np.linalg.solve(np.eye(mdp.n_states) - gamma * dense(policy), d)
    rows = ArrayPolicy(policy, gamma)
    equations = equations_of(rows.transitions())
    assert_allclose(solve_dense(gamma * dense(policy), d), truth, 1e-6)
    assert_allclose(solve_band(rows.transitions(), d), truth, 1e-6)
    x, is_solved = solve_krylov(rows, d, 1e-12 * np.abs(d).max())
    scale = np.abs(d).max()
    assert not is_solved or np.abs(equations @ x - d).max() <= 1e-10 * scale / (1 - gamma)


def test_equations_that_hubs_would_fill_are_not_formed():
    """All lead anywhere: swept, and by Krylov without the hub in the preconditioner."""
    n = 600
    mdp = process(
        {(s, 0): (1.0 * (s == 0), {s: 0.5}) for s in range(n)},
        hub_mass=np.full((n, 1), 0.4),
        hub_transitions=np.full((1, n), 1 / n),
    )
    policy = ArrayPolicy(mdp.restrict(mdp.first_pairs), 0.99)
    assert policy.transitions() is None
    x, is_solved = solve_krylov(policy, policy.rewards, 1e-9)
    assert is_solved
    assert_allclose(x, np.linalg.solve(np.eye(n) - 0.99 * dense(mdp), policy.rewards), atol=1e-8)


def test_bands_are_taken_where_narrow_and_refused_where_wide():
    n = 3000
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(n)  # the order of the states does not matter
    ring = np.column_stack([np.arange(n), (np.arange(n) + 1) % n])
    for successors, is_narrow in ((ring, True), (rng.integers(n, size=(n, 3)), False)):
        codes = np.sort(shuffled[successors[np.argsort(shuffled)]], axis=1)
        k = codes.shape[1]
        P = csr_array((np.full(n * k, 1 / k), codes.ravel(), np.arange(0, n * k + 1, k)), (n, n))
        d = rng.normal(size=n)
        x = solve_band(0.99 * P, d)
        assert (x is not None) == is_narrow
        if is_narrow:
            assert_allclose(x - 0.99 * (P @ x), d, atol=1e-10)
    assert solve_band(csr_array(np.full((600, 600), 1e-3)), np.ones(600)) is None  # rows too full


@pytest.mark.parametrize(("below", "above"), [(0, 0), (0, 3), (1, 1), (24, 12), (40, 0)])
def test_full_bands_are_solved_where_they_lie(below, above):
    """However wide, entries twice in a row included; a singular one is told."""
    n = 120
    rng = np.random.default_rng(0)
    rows = np.tril(np.triu(rng.uniform(size=(n, n)), -below), above)
    half = csr_array(0.49 * rows / rows.sum(axis=1, keepdims=True))
    twice = csr_array(
        (np.repeat(half.data, 2), np.repeat(half.indices, 2), 2 * half.indptr), shape=(n, n)
    )
    d = rng.normal(size=n)
    x = solve_band(twice, d)
    assert_allclose(x - twice @ x, d, atol=1e-12)
    with pytest.raises(np.linalg.LinAlgError, match="pivot"):
        solve_band(csr_array(np.eye(n)), d)


def test_wide_bands_of_a_plane_are_eliminated_in_another_order():
    side = 60
    n = side * side
    P = csr_array(diags_array([0.2] * 5, offsets=[-side, -1, 0, 1, side], shape=(n, n)))
    d = np.random.default_rng(0).normal(size=n)
    shuffled = np.random.default_rng(1).permutation(n)
    P = 0.999 * P
    for order in (np.arange(n), shuffled):
        ordered = csr_array(P[order][:, order])
        x = solve_band(ordered, d[order], np.inf)
        assert_allclose(x - ordered @ x, d[order], atol=1e-9)


@pytest.mark.parametrize("leads_back", [False, True])
def test_states_that_are_solved_are_left_out_unless_others_lead_to_them(leads_back):
    n = 50
    P = np.diag(np.full(n - 1, 0.5), 1)
    P[n - 1, 0 if leads_back else n - 1] = 0.9
    d = np.where(np.arange(n) < 30, 0.0, 1.0)
    x = solve_rest(csr_array(P), d, np.inf, is_narrow=True)
    truth = np.linalg.solve(np.eye(n) - P, d)
    assert_allclose(x[30:], truth[30:], rtol=1e-12)
    assert_allclose(x[:30], truth[:30] if leads_back else 0.0, rtol=1e-12)


def test_a_band_may_cost_more_where_more_sweeps_are_to_come():
    """A lattice of 30 x 80: its band is refused at first, and taken instead of many sweeps."""
    side = 80
    n = 30 * side
    near = [-side, -1, 0, 1, side]
    P = csr_array(diags_array([0.2] * 5, offsets=near, shape=(n, n)))
    rewards = np.random.default_rng(0).normal(size=n)
    mdp = MDP(P, rewards, np.arange(n), np.zeros(n, dtype=int), n, 1)
    policy = ArrayPolicy(mdp, 0.999)
    evaluator = Evaluator(discount(mdp, 0.999), AS_GIVEN, may_solve=True)
    equations = equations_of(policy.transitions())
    d = mdp.rewards
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._equations.CHEAP_BAND", 1e6)
        patch.setattr("skmdp.solvers._equations.BAND_PER_ENTRY", 1)
        assert evaluator._in_band(policy, d, 10.0, 0.0) is None
        assert evaluator._in_band(policy, d, 10.0, 0.0) is None
        assert evaluator._in_band(policy, d, 1e4, 1.0) is None  # the policy will be another
        x = evaluator._in_band(policy, d, 1e4, 0.0)
    assert_allclose(equations @ x, d, atol=1e-9)


def test_a_policy_is_solved_at_once_where_the_last_was_slow_and_its_band_narrow(monkeypatch):
    """A walk of 600 states: the first policy is swept for some time, the second not at all."""
    n = 600
    P = csr_array(diags_array([0.5, 0.5], offsets=[-1, 1], shape=(n, n)))
    mdp = MDP(P, np.arange(n) / n, np.arange(n), np.zeros(n, dtype=int), n, 1)
    evaluator = Evaluator(discount(mdp, 0.9999), AS_GIVEN, may_solve=True)
    policy = ArrayPolicy(mdp, 0.9999)
    truth = np.linalg.solve(np.eye(n) - 0.9999 * P.toarray(), mdp.rewards)
    step = prove(mdp, evaluator.discounting, Change(0.0, 1.0, 0.0, 0.0))
    sweeps = []
    monkeypatch.setattr(
        ArrayPolicy, "sweep", lambda *args: sweeps.append(1) or policy.apply(args[1])
    )
    for _ in range(2):
        n_before = len(sweeps)
        V = evaluator.evaluate(policy, np.zeros(n), step, cheap=1, is_new=1.0)
        assert_allclose(V, truth, rtol=1e-6)
    assert 0 < n_before == len(sweeps)


def test_the_shortest_way_leads_to_seeds_and_leaves_what_leads_to_none():
    """States 0 to 4 in a line, both ways; 3 is the seed; 5 stays, and another state is no act."""
    pairs = {
        (s, a): (0.0, {max(0, s + step): 1.0}) for s in range(4) for a, step in ((0, -1), (1, 1))
    }
    pairs |= {(4, 0): (0.0, {6: 1.0}), (4, 1): (0.0, {3: 0.1, 6: 0.9}), (5, 0): (0.0, {5: 1.0})}
    mdp = process(pairs, n_states=7)
    is_seed = np.arange(6) == 3
    found = shortest_way(mdp, mdp.first_pairs, is_seed)
    assert_array_equal(mdp.pair_state[found], np.arange(6))
    assert_array_equal(mdp.pair_action[found], [1, 1, 1, 0, 1, 0])


@pytest.mark.parametrize("hides", ["nothing", "the reward"])
def test_a_way_that_ties_hide_is_sought_where_improvements_find_it_step_by_step(hides):
    """A corridor whose first action leads back, with whole arrays; a trap pays more at first."""
    n, gamma = 400, 0.999
    pairs = {(s, 0): (0.0, {max(s - 1, 0): 1.0}) for s in range(n)}
    pairs |= {(s, 1): (1.0 * (s == n - 1), {(s + 1) % n: 1.0}) for s in range(n)}
    if hides == "the reward":  # it costs more than it is worth in the end
        pairs |= {(0, 2): (5.0, {n: 1.0}), (n, 0): (-9.0, {n: 1.0})}
    mdp = process(pairs)
    with by_size_alone():
        solution = modified_policy_iteration(mdp, gamma)
    assert solution.n_iter <= 30
    truth = gamma ** np.arange(n - 1, -1, -1) / (1 - gamma**n)
    assert_allclose(solution.state_values[:n], truth, atol=solution.value_error_bound)


@pytest.mark.parametrize("solves", [True, False])
def test_values_are_right_wherever_a_way_is_sought(monkeypatch, solves):
    """After the first improvement, with hubs, too, and where its policy is not solved."""
    monkeypatch.setattr(Search, "_is_stuck", lambda _: True)
    monkeypatch.setattr("skmdp.solvers._search.TINY_STATES", 0)
    sought, seek = [], Search._seek
    monkeypatch.setattr(Search, "_seek", lambda search: sought.append(1) or seek(search))
    if not solves:
        monkeypatch.setattr(Evaluator, "solve", lambda *_: None)
    for seed in range(20):
        mdp = random_process(seed, end=0.1 * (seed % 3 == 0), shared=seed % 2 == 1)
        with by_size_alone():
            solution = modified_policy_iteration(mdp, 0.95)
        assert solution.converged
        error = np.abs(solution.state_values - exact_values(mdp, 0.95)).max()
        assert error <= solution.value_error_bound + 1e-12
    assert len(sought) > 10


def test_backward_order_goes_away_from_the_seeds():
    steps = csr_array(np.eye(5, k=1) + np.eye(5, k=-4) * 0)
    is_seed = np.array([False, False, True, False, False])
    assert_array_equal(backward_order(steps, is_seed), [2, 1, 0, 3, 4])


@pytest.mark.parametrize(
    ("widths", "to_come"),
    [
        ([1.0] * 7, 0.0),  # too early
        ([1.0] * 8, np.inf),
        ([np.inf] * 8, np.inf),
        ([2.0**-i for i in range(8)], 13.0),
        ([2.0**-i for i in range(9)], 0.0),  # between predictions
    ],
)
def test_sweeps_are_predicted_from_the_last_ones(widths, to_come):
    assert_allclose(sweeps_to_come(widths, 2.0**-20), to_come)


def wide_process(seed, *, n=600, n_actions=2, end=0.0):
    """A process of a few parts that are seldom left: slow, and in no narrow band."""
    rng = np.random.default_rng(seed)
    n_pairs, k = n * n_actions, 6
    state = np.repeat(np.arange(n), n_actions)
    codes = np.sort((state[:, None] // 300 * 300 + rng.integers(0, 300, (n_pairs, k))), axis=1)
    leaves = rng.uniform(size=n_pairs) < 0.01
    codes[leaves, 0] = rng.integers(0, n, leaves.sum())
    P = csr_array(
        (
            rng.dirichlet(np.ones(k), n_pairs).ravel() * (1 - end),
            codes.ravel(),
            np.arange(0, n_pairs * k + 1, k),
        ),
        shape=(n_pairs, n),
    )
    P.sum_duplicates()
    rewards = rng.normal(size=n_pairs) + state // 300
    return MDP(P, rewards, state, np.tile(np.arange(n_actions), n), n, n_actions)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("gamma", "end"), [(0.99, 0.0), (0.999, 1e-3), (1.0, 0.01)])
def test_all_ways_to_follow_a_policy_agree(monkeypatch, way, gamma, end):
    mdp = wide_process(1, end=end)
    usual = modified_policy_iteration(mdp, gamma)
    follow_only(monkeypatch, way)
    solution = modified_policy_iteration(mdp, gamma)
    assert np.abs(solution.state_values - usual.state_values).max() <= (
        solution.value_error_bound + usual.value_error_bound
    )
    assert_array_equal(solution.policy, usual.policy)


@given(PROCESSES, st.sampled_from(WAYS), st.sampled_from([0.5, 0.99, 1 - 1e-6]))
def test_every_way_keeps_its_bound(mdp, way, gamma):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        follow_only(patch, way)
        solution = modified_policy_iteration(mdp, gamma)
    truth = exact_values(mdp, gamma)
    slack = 1e-12 * np.abs(truth).max() / (1 - gamma)
    assert np.abs(solution.state_values - truth).max() <= solution.value_error_bound + slack


def test_a_krylov_method_that_fails_does_no_harm(monkeypatch):
    mdp = wide_process(2)
    usual = modified_policy_iteration(mdp, 0.9999)
    follow_only(monkeypatch, "krylov")
    calls = []

    def fail(policy, d, residual):
        calls.append(len(d))
        return np.full(len(d), np.nan), False

    monkeypatch.setattr("skmdp.solvers._sweeps.solve_krylov", fail)
    solution = modified_policy_iteration(mdp, 0.9999)
    assert calls
    assert solution.converged
    assert_array_equal(solution.policy, usual.policy)


@pytest.mark.parametrize("way", ["full", "dense"])
def test_pivots_of_nothing_but_rounding_do_no_harm(monkeypatch, way):
    def fail(*_):
        raise np.linalg.LinAlgError("Singular matrix")

    mdp = random_process(3) if way == "full" else wide_process(4)
    usual = modified_policy_iteration(mdp, 0.999)
    follow_only(monkeypatch, way)
    monkeypatch.setattr("skmdp.solvers._search.solve_full", fail)
    monkeypatch.setattr("skmdp.solvers._sweeps.solve_dense", fail)
    solution = modified_policy_iteration(mdp, 0.999)
    assert_array_equal(solution.policy, usual.policy)
    assert_allclose(solution.state_values, usual.state_values, rtol=1e-5)


@pytest.mark.parametrize("end", [0.0, 1e-9])
def test_what_never_ends_is_refused_before_it_is_eliminated(end):
    """Without a pivot on the diagonal SuperLU would write where it must not."""
    rng, n = np.random.default_rng(0), 300
    P = np.zeros((n, n))
    P[np.repeat(np.arange(n), 2), rng.integers(n, size=2 * n)] = 0.5
    P[:, 0] += 1 - P.sum(axis=1)
    P[[0, 100]] = 0.0
    P[0, 0] = P[100, 100] = 1.0 - end
    P, d = csr_array(P), rng.normal(size=n)
    assert all_end(P) == (end > 0)
    if end == 0:
        with pytest.raises(np.linalg.LinAlgError, match="pivot"):
            eliminate(P, d, n - 1, n - 1)
    else:
        assert_allclose(equations_of(P) @ eliminate(P, d, n - 1, n - 1), d, atol=1e-5)


def test_whether_all_end_is_asked_of_each_state():
    chain = np.diag(np.ones(3), 1)  # the last of four states ends
    assert all_end(csr_array(chain))
    assert all_end(csr_array(0.9 * np.ones((4, 4)) / 4))
    loop = chain.copy()
    loop[1, 2], loop[1, 0] = 0.0, 1.0  # the first two lead to each other alone
    assert not all_end(csr_array(loop))
    loop[1, 0], loop[1, 2] = 0.75, 0.25
    assert all_end(csr_array(loop))


def ragged_process(seed, n=30, end=0.0):
    """Rows of none to three entries, and of every number in between."""
    rng, pairs = np.random.default_rng(seed), {}
    for s in range(n):
        for a in range(rng.integers(1, 4)):
            following = rng.integers(n, size=rng.integers(0, 4))
            mass = 0.5 if s == 0 else 1 - end
            ways = {int(to): mass / len(set(following)) for to in following}
            pairs[s, a] = (float(rng.normal()), ways)
    return process(pairs)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.9, 1.0]))
def test_rows_filled_up_are_followed_as_they_are(seed, gamma):
    mdp, rng = ragged_process(seed), np.random.default_rng(seed)
    pairs = mdp.first_pairs + rng.integers(mdp.n_pairs_each)
    V = rng.normal(size=mdp.n_states)
    plain = ArrayPolicy(mdp.restrict(pairs), gamma)
    width = int(np.diff(mdp.transitions.indptr).max())
    filled = ArrayPolicy(mdp, gamma, pairs, width=width)
    for found, expected in zip(filled.apply(V), plain.apply(V), strict=True):
        assert_allclose(found, expected, atol=1e-13)
    assert filled.n_entries == plain.n_entries == plain._process.transitions.nnz
    assert_array_equal(filled.rewards, plain.rewards)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.9, 1.0]), st.booleans())
def test_rows_by_length_are_followed_as_they_are(seed, gamma, of_all):
    mdp, rng = ragged_process(seed), np.random.default_rng(seed)
    pairs = mdp.first_pairs + rng.integers(mdp.n_pairs_each)
    V, chosen = rng.normal(size=mdp.n_states), mdp.restrict(pairs)
    plain = ArrayPolicy(chosen, gamma)
    assert plain._by_length is None  # they are few
    with mock.patch.multiple(_array_policy, MANY_TO_ORDER=0, UNEVEN=0.0, LONG_ROWS=2):
        ordered = ArrayPolicy(chosen, gamma) if of_all else ArrayPolicy(mdp, gamma, pairs)
        assert (np.diff(np.minimum(np.diff(ordered._by_length[0].indptr), 2)) >= 0).all()
        for found, expected in zip(ordered.apply(V), plain.apply(V), strict=True):
            assert_allclose(found, expected, atol=1e-13)
    assert_array_equal(ordered.transitions().toarray(), plain.transitions().toarray())


def test_rows_are_put_in_the_order_of_lengths_only_where_all_is_in_them():
    with mock.patch.multiple(_array_policy, MANY_TO_ORDER=0, UNEVEN=0.0):
        even = process({(s, 0): (1.0, {s: 1.0}) for s in range(20)})
        assert ArrayPolicy(even, 0.9)._by_length is None
        hubs = random_process(0, n_states=20, n_actions=1, shared=True)
        assert ArrayPolicy(hubs, 0.9)._by_length is None
        assert ArrayPolicy(ragged_process(0).with_dense_rows(), 0.9)._by_length is None


@given(st.integers(0, 1000), st.booleans())
def test_maxima_action_by_action_are_those_state_by_state(seed, is_even):
    mdp = random_process(seed) if is_even else ragged_process(seed)
    Q = np.random.default_rng(seed).integers(3, size=len(mdp.rewards)).astype(float)
    expected = np.maximum.reduceat(Q, mdp.first_pairs)
    limits = {"STATES_PER_ACTION": 0, "STATES_PER_ACTION_UNLIKE": 0}
    with mock.patch.multiple(_kernels, **limits):
        choices = _kernels.Choices(mdp)
        assert choices._by_action[0]
        assert_array_equal(choices.largest(Q), expected)
    Q[seed % len(Q)] = np.nan  # what has overflown stays so
    assert_array_equal(choices.largest(Q), np.maximum.reduceat(Q, mdp.first_pairs))


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5]))
def test_pairs_of_those_that_leave_are_chosen_as_if_all_were_looked_at(seed, slack):
    mdp, rng = ragged_process(seed), np.random.default_rng(seed)
    V = rng.integers(3, size=mdp.n_states).astype(float)
    limits = [{"FEW_PAIRS": 10**6}, {"FEW_PAIRS": 0, "MOST_STAY": 0.0}]
    found = []
    for changed in limits:
        with mock.patch.multiple(_kernels, **changed):
            pairs = _kernels.ArrayPairs(mdp, 0.9)
            pairs.improve(np.zeros(mdp.n_states), 0.0)
            pairs.improve(V, slack)
            found.append((pairs.n_changed, *pairs.chosen))
    assert_array_equal(*found)


def test_a_policy_that_stays_keeps_its_core_and_its_preconditioner():
    policy = ArrayPolicy(ragged_process(0).restrict(ragged_process(0).first_pairs), 0.9)
    V = np.zeros(30)
    with mock.patch.object(_array_policy, "LARGEST_CORE", 1.0):
        first, second = policy.core(V), policy.core(V + 1)
    assert first.policy is second.policy
    assert_array_equal(second.values, first.values + 1)
    assert policy.system(V)[2] is policy.system(V)[2]


def test_rows_are_filled_up_where_they_are_few_short_and_nearly_as_long():
    plain = random_process(0, n_states=200)
    assert width_of(plain) == 3
    assert width_of(random_process(0, n_states=5000)) == 0
    assert width_of(plain.with_dense_rows()) == 0
    assert width_of(random_process(0, n_states=20, shared=True)) == 0
    one_is_long = {(s, 0): (1.0, {s: 1.0}) for s in range(20)}
    one_is_long[20, 0] = (1.0, dict.fromkeys(range(7), 0.1))
    assert width_of(process(one_is_long)) == 0
    assert width_of(process({(0, 0): (1.0, {}), (1, 0): (1.0, {})})) == 0


@given(PROCESSES, st.sampled_from([0.5, 0.99, 1 - 1e-7]), st.booleans())
def test_few_states_are_solved_in_two_steps_at_most(mdp, gamma, forgets):
    """Of a level that is forgotten nothing else is left; else it is no loss to leave it first."""
    policy = mdp.restrict(mdp.first_pairs).unchecked(pair_action=np.zeros(mdp.n_states, int))
    plain = mdp.all_transitions(np.inf)[mdp.first_pairs]
    policy = MDP(plain, policy.rewards, policy.pair_state, policy.pair_action, mdp.n_states, 1)
    forgets &= policy.is_closed
    few = FewStates(policy, gamma, forgets=forgets)
    V, lo, hi = few.sweep(np.zeros(mdp.n_states))
    size = 1e-13 * (1 + np.abs(V).max())
    assert hi - lo <= size
    assert forgets or max(-lo, hi) <= size


def test_equations_of_few_states_that_have_no_solution_leave_a_sweep():
    stays = process({(0, 0): (1.0, {0: 1.0}), (1, 0): (2.0, {1: 1.0})})
    few = FewStates(stays, 1.0, forgets=False)
    V, lo, hi = few.sweep(np.zeros(2))
    assert_array_equal(V, [1.0, 2.0])
    assert (lo, hi) == (1.0, 2.0)


def test_pairs_are_dropped_where_they_could_have_been_for_some_time(monkeypatch):
    """Those left hold the best of each state, and improve as before."""
    follow_only(monkeypatch, "sweeps")
    mdp = random_process(2, n_states=300)
    search = Search(mdp, 0.99, discount(mdp, 0.99))
    numbers = []
    for _ in range(30):
        proof = search.improve()
        numbers.append(search.pairs.n_pairs)
        V = search.values() + proof.level
        assert np.abs(V - exact_values(mdp, 0.99)).max() <= proof.bound + 1e-12
        search.evaluate()
    assert numbers[0] == len(mdp.rewards) > 1.4 * numbers[-1]
    assert proof.bound <= 1e-10


def test_sweeps_in_place_go_backwards_from_the_reward():
    """Along a path in no order of its states, one such sweep is the solution."""
    n, rng = 2000, np.random.default_rng(0)
    path = rng.permutation(n)
    P = coo_array((np.ones(n - 1), (path[:-1], path[1:])), shape=(n, n)).tocsr()
    rewards = np.zeros(n)
    rewards[path[-1]] = 1.0
    policy = MDP(P, rewards, np.arange(n), np.zeros(n, int), n, 1)
    x, is_solved = solve_krylov(ArrayPolicy(policy, 0.999), rewards, 1e-9)
    assert is_solved
    assert_allclose(x[path], 0.999 ** np.arange(n - 1, -1, -1), atol=1e-8)


def test_pairs_far_from_best_are_dropped(monkeypatch):
    monkeypatch.setattr("skmdp.solvers._compiled.load", lambda: None)
    mdp = wide_process(5, n_actions=4)
    search = Search(mdp, 0.9, discount(mdp, 0.9))
    for _ in range(8):
        search.improve()
        search.evaluate()
    search.improve()
    assert search.pairs.n_pairs < 0.7 * len(mdp.rewards)


def test_policies_are_followed_as_far_as_is_wanted_and_no_further(monkeypatch):
    """Of one action per state none is new the second time: only what is wanted ends that."""
    monkeypatch.setattr("skmdp.solvers._compiled.load", lambda: None)
    mdp = wide_process(5, n_actions=1)
    widths = []
    for share in (0.0, 0.5, np.inf):
        search = Search(mdp, 0.9, discount(mdp, 0.9))
        search.improve()
        search.evaluate()
        wanted = share * search.improve().spread_bound
        search.evaluate(wanted)
        widths.append(search.improve().spread_bound)
        assert widths[-1] <= wanted or not share
    assert widths[0] < widths[1] < widths[2]


def test_actions_that_tie_cost_no_precision():
    """Each action is there twice; that is settled long before float64 is at its end."""
    once = wide_process(6)
    twice = np.repeat(np.arange(len(once.rewards)), 2)
    mdp = MDP(
        once.transitions[twice],
        once.rewards[twice],
        once.pair_state[twice],
        np.tile(np.arange(4), once.n_states),
        once.n_states,
        4,
    )
    solution = modified_policy_iteration(mdp, 0.9)
    assert solution.n_undecided == 0
    assert solution.n_iter <= modified_policy_iteration(once, 0.9).n_iter + 2


def test_bands_are_looked_for_twice():
    mdp = wide_process(3)
    evaluator = Evaluator(discount(mdp, 0.9999), AS_GIVEN, may_solve=True)
    step = prove(mdp, evaluator.discounting, Change(0.0, 1e-9, 0.0, 0.0))
    refused = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._sweeps.solve_band", lambda *_: refused.append(1))
        policy = ArrayPolicy(mdp.restrict(mdp.first_pairs), 0.9999)
        for _ in range(4):
            evaluator.evaluate(policy, np.zeros(600), step, cheap=1, is_new=0.0)
    assert len(refused) == 2


@given(PROCESSES, st.sampled_from([0.5, 0.95]))
def test_elimination_keeps_every_best_pair(mdp, gamma):
    """Whatever V has come to; ties are kept, too."""
    truth = exact_q_values(mdp, gamma) if mdp.n_states < 8 else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmdp.solvers._compiled.load", lambda: None)
        patch.setattr("skmdp.solvers._search.MOST_LEFT", 1.0)
        patch.setattr("skmdp.solvers._search.TINY_STATES", 0)
        search = Search(mdp, gamma, discount(mdp, gamma))
        for _ in range(6):
            proof = search.improve()
            search.evaluate()
            if proof.is_rounding:
                break
    process_left = search.pairs.process
    codes = process_left.pair_state, process_left.pair_action
    left = {(int(s), int(a)) for s, a in zip(*codes, strict=True)}
    Q = mdp.rewards + gamma * dense(mdp) @ exact_values(mdp, gamma)
    if truth is not None:
        Q = np.array([float(q) for q in truth])
    for s in mdp.acting_states:
        own = np.flatnonzero(mdp.pair_state == s)
        for i in own[Q[own] >= Q[own].max() - 1e-14 * np.abs(Q).max()]:
            assert (int(s), int(mdp.pair_action[i])) in left


def test_long_chain_at_gamma_one():
    chain = {(s, 0): (-1.0, {s + 1: 1.0}) for s in range(300)}
    solution = modified_policy_iteration(process(chain), 1.0)
    assert_allclose(solution.state_values, np.arange(301) - 300.0)

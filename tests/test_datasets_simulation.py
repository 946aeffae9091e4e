"""Random processes and logs of known truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from processes import dense, exact_values, process, random_process
from scipy.stats import chi2

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_garnet, sample_transitions
from skmdp.solvers import modified_policy_iteration


def test_garnet_is_a_process_with_a_goal():
    mdp = make_garnet(20, 3, 4, random_state=0)
    dense = mdp.transitions.toarray()
    assert_allclose(dense[:-3].sum(axis=1), 1)
    assert ((dense > 0).sum(axis=1)[:-3] == 4).all()
    assert not dense[-3:].any()
    assert_array_equal(mdp.rewards, [0] * 57 + [1] * 3)
    assert_array_equal(mdp.ends, [False] * 57 + [True] * 3)
    assert mdp.initial_distribution[0] == 1


def test_garnet_successors_are_drawn_evenly():
    """Floyd's draws of 2 out of 5: each successor in two of five pairs."""
    mdp = make_garnet(5, 2000, 2, random_state=0)
    drawn = (mdp.transitions.toarray()[:-2000] > 0).sum(axis=0)
    expected = 8000 * 2 / 5
    assert ((drawn - expected) ** 2 / expected).sum() < chi2.isf(1e-6, df=4)


def test_garnet_of_all_successors_and_its_seed():
    dense = make_garnet(4, 2, 4, random_state=1).transitions.toarray()
    assert (dense[:-2] > 0).all()
    again = make_garnet(4, 2, 4, random_state=1).transitions.toarray()
    other = make_garnet(4, 2, 4, random_state=2).transitions.toarray()
    assert_array_equal(dense, again)
    assert not np.array_equal(dense, other)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 0, 1), (3, 1, 0), (3, 1, 4)])
def test_garnet_sizes(sizes):
    with pytest.raises(ValueError, match="A garnet needs n_states >= 2"):
        make_garnet(*sizes)


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_frequencies_approach_probabilities(uniform, shared):
    mdp = random_process(0, n_states=5, end=0.2, uniform=uniform, shared=shared)
    log = sample_transitions(mdp, n_episodes=20_000, random_state=0)
    probability = dense(mdp)
    following = log["next_state"].fillna(5).astype(int)
    for i, (s, a) in enumerate(zip(mdp.pair_state, mdp.pair_action, strict=True)):
        rows = (log["state"] == s) & (log["action"] == a)
        seen = np.bincount(following[rows], minlength=6)
        expected = np.append(probability[i], 1 - probability[i].sum()) * rows.sum()
        possible = expected > 1e-9
        assert not seen[~possible].any()
        gap = (seen - expected)[possible] ** 2 / expected[possible]
        assert gap.sum() < chi2.isf(1e-6, df=possible.sum() - 1)
        assert_allclose(log["reward"][rows], mdp.rewards[i])


def test_log_is_a_chain_of_steps():
    mdp = random_process(1, end=0.1)
    log = sample_transitions(mdp, n_episodes=50, max_steps=7, random_state=0)
    same = log["episode"].to_numpy()[1:] == log["episode"].to_numpy()[:-1]
    following = log["next_state"].to_numpy()[:-1]
    assert_array_equal(following[same], log["state"].to_numpy()[1:][same])
    assert (log.groupby("episode").cumcount() == log["step"]).all()
    last = log.groupby("episode").tail(1)
    cut = ~last["terminated"]
    assert cut.any()
    assert (last["step"][cut] == 6).all()
    assert last["next_state"][cut].notna().all()
    pd.testing.assert_frame_equal(
        log, sample_transitions(mdp, n_episodes=50, max_steps=7, random_state=0)
    )


def test_policies_are_followed():
    mdp = make_garnet(10, 3, 2, random_state=0)
    fixed = np.arange(10) % 3
    log = sample_transitions(mdp, fixed, 50, random_state=0)
    assert (log["action"] == log["state"] % 3).all()
    mixed = np.tile([0.0, 0.25, 0.75], (10, 1))
    shares = sample_transitions(mdp, mixed, 2000, random_state=0)["action"].value_counts(True)
    assert set(shares.index) == {1, 2}
    assert_allclose(shares[2], 0.75, atol=0.01)


def test_reaching_a_state_without_pairs_terminates():
    mdp = process({(0, 0): (2.0, {1: 1.0})})
    log = sample_transitions(mdp, n_episodes=2, random_state=0)
    assert_array_equal(log["next_state"], [1, 1])
    assert log["terminated"].all()


def test_a_log_without_decisions_is_empty():
    at_the_end = np.array([0.0, 1.0])
    mdp = replace(process({(0, 0): (2.0, {1: 1.0})}), initial_distribution=at_the_end)
    log = sample_transitions(mdp, n_episodes=2, random_state=0)
    assert log.empty
    assert list(log) == list(sample_transitions(process({(0, 0): (2.0, {1: 1.0})}), n_episodes=2))


@pytest.mark.parametrize("sizes", [{"n_episodes": 0}, {"max_steps": 0}])
def test_nothing_to_simulate(sizes):
    with pytest.raises(ValueError, match="At least one episode of at least one step"):
        sample_transitions(process({(0, 0): (2.0, {1: 1.0})}), **sizes)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([0], r"policy has shape \(1,\) .* expected \(2,\) action codes.* \(2, 1\)"),
        ([1, 0], "policy takes action 1 in state 0, which has no such action. It has 0"),
        ([[0.5], [1.0]], "actions of state 0 with probabilities that sum to 0.5, not 1"),
    ],
)
def test_bad_policies(policy, message):
    mdp = process({(0, 0): (2.0, {1: 1.0})})
    with pytest.raises(ValueError, match=message):
        sample_transitions(mdp, policy)


def test_learning_from_a_large_log_finds_the_optimum():
    mdp = make_garnet(15, 3, 3, random_state=3)
    log = sample_transitions(mdp, n_episodes=20_000, random_state=0)
    policy = MarkovPolicyEstimator(gamma=0.9).fit(log)
    assert_allclose(policy.state_values_, exact_values(mdp, 0.9), rtol=0.05)
    best = modified_policy_iteration(mdp, 0.9).policy
    assert (policy.policy_ == best).mean() > 0.8

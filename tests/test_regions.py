"""Regions of measurements in which actions came and went in the same way."""

import numpy as np
import pytest

from skmdp._evaluation.regions import find_regions

N_ROWS = 3000


def drawn(seed, share_of_new):
    """Measurements (n_rows, 3), and actions of one each in as many episodes; 1 is so likely."""
    rng = np.random.default_rng(seed)
    states = rng.uniform(size=(N_ROWS, 3))
    t = np.arange(N_ROWS) / N_ROWS
    is_new = rng.random(N_ROWS) < share_of_new(states, t)
    return states, is_new.astype(np.int32), np.arange(N_ROWS)


def opposite(states, t):
    return np.where(states[:, 1] > 0.6, 0.1 + 0.8 * t, 0.9 - 0.8 * t)


def in_cycles(states, t):
    return 0.5 + 0.4 * np.where(states[:, 1] > 0.6, 1, -1) * np.sin(10 * np.pi * t)


def in_stripes(states, t):
    return 0.5 + 0.8 * np.where((4 * states[:, 1]).astype(int) % 2, 1, -1) * (t - 0.5)


@pytest.mark.parametrize(
    ("share_of_new", "ends"),
    [(opposite, [0.6]), (in_cycles, [0.6]), (in_stripes, [0.25, 0.5, 0.75])],
)
def test_sides_on_which_actions_come_and_go_otherwise_are_told_apart(share_of_new, ends):
    for seed in range(5):
        states, actions, episode = drawn(seed, share_of_new)
        region = find_regions(states, actions, episode, None)
        side = np.digitize(states[:, 1], ends)
        # Whoever guesses the side by the region is right.
        is_most = np.zeros(N_ROWS, dtype=bool)
        for one in np.unique(region):
            here = region == one
            is_most[here] = side[here] == np.argmax(np.bincount(side[here]))
        assert is_most.mean() > 0.9


def test_what_is_usual_in_a_state_makes_no_region():
    """Only how often actions were taken over time parts rows, however they hang on the state."""
    states, actions, episode = drawn(0, lambda states, _: 0.02 + 0.96 * (states[:, 0] > 0.5))
    side = states[:, 0] > 0.5
    region = find_regions(states, actions, episode, None)
    share = np.bincount(region, side) / np.bincount(region)
    assert np.mean((share > 0.05) & (share < 0.95)) > 0.3
    assert find_regions(states, side.astype(np.int32), episode, None).max() == 0


@pytest.mark.parametrize("n_rows", [1, 2, 150])
def test_few_rows_are_one_region(n_rows):
    states, actions, episode = (x[:n_rows] for x in drawn(0, opposite))
    assert not find_regions(states, actions, episode, None).any()

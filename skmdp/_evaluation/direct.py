"""The direct method: what a policy would have earned in the process re-estimated from a log.

The policy takes action a in state s with probability pi(a|s). With n, N weighted counts of the
log, kappa the strength of the prior and lam = n(s, a) / (n(s, a) + kappa), 0 where the log lacks
the pair,

    P(s'|s) = sum_a pi lam N(s, a, s') / n(s, a) + (1 - sum_a pi lam) N(s, s') / n(s)

and R(s) likewise: what is not believed of the pairs does as is logged in the state. States that
the log never acts in are worth 0. With mu0 where the log's episodes start,

    V_0 = 0,  V_{h+1} = R + gamma P V_h,  value = mu0 . V_H;    d_0 = mu0,  d_{t+1} = gamma d_t P

The standard error is that of the value as a function of the log (its influence function). With
D = sum_t d_t, M(s, s') = gamma sum_t d_t(s) V_{H-1-t}(s') and y = D(s) r + M(s, s') of a row, means
of y over the rows of the pair and of the state, one more row of (s, a) moves the value by

    u = pi lam / n(s, a) (y - mean(s, a)) + (1 - sum_b pi lam) / n(s) (y - mean(s))
        + pi kappa / (n(s, a) + kappa)^2 (mean(s, a) - mean(s))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._typing import Bools, Floats, Integers

# A log whose episodes all end is followed to the end: this many times its longest episode.
TO_THE_END = 10


# Steps to follow where the log does not tell episodes.
HORIZON_WITHOUT_EPISODES = 1000


# Relative change of the values below which following stops: enough to compare policies.
SCORE_TOLERANCE = 1e-6


# After so many steps, values are looked at only every so many: looking costs as much as a step.
LOOK_EVERY = 8


# Share of the episodes still running, relative to the tolerance, below which they do not matter.
NEGLIGIBLE_SHARE = 0.1


# Fewer rows than this do not show how much chance there is in what a pair does.
FEW_ROWS = 5


@dataclass(frozen=True, eq=False)
class Path:
    """A sequence of vectors x_0, x_1, ..., known until it settles at x_length.

    From there on every step adds ``drift``. ``steps`` holds x_0 to x_length, or x_length alone.
    """

    steps: list[Floats]
    length: int
    drift: Floats

    def at(self, step: int) -> Floats:
        """Return the vector of a step."""
        if step < self.length:
            return self.steps[step]
        return np.asarray(self.steps[-1] + (step - self.length) * self.drift)


@dataclass(frozen=True, eq=False)
class DirectEstimate:
    """A policy's estimated value and what qualifies it.

    ``state_values`` (n_states,) are those with the whole horizon to go. ``uncovered`` is the share
    of the policy's decisions that the log lacks, ``thin`` the share of those that fewer than five
    rows speak for (what is lacking included), ``outlasting`` the share of its episodes that are
    longer than any logged one (None where that is unknown). ``values`` and ``visits`` hold V_h and
    d_t (None unless asked for).
    """

    value: float
    state_values: Floats
    horizon: int
    prior_strength: float
    uncovered: float
    thin: float
    outlasting: float | None
    values: Path | None
    visits: Path | None


def follow_horizon(longest: int | None, is_cut: bool) -> int:
    """Return for how many steps to follow a policy in a log."""
    if longest is None:
        return HORIZON_WITHOUT_EPISODES
    return longest if is_cut else TO_THE_END * longest


def choice_of_actions(counts: TransitionCounts, actions: Integers) -> Floats:
    """Return pi(a|s) of every logged pair, (n_pairs,), for one action code a state, -1 = none."""
    return np.equal(counts.pair_action, actions[counts.pair_state]).astype(np.float64)


def evaluate_directly(
    counts: TransitionCounts,
    choice: Floats | None,
    initial_distribution: Floats,
    *,
    prior_strength: float,
    longest: int | None,
    is_cut: bool,
    horizon: int | None = None,
    gamma: float = 1.0,
    tolerance: float = SCORE_TOLERANCE,
    keep_paths: bool = False,
) -> DirectEstimate:
    """Estimate the value of a policy, by the module's formulas.

    ``choice`` (n_pairs,) is pi(a|s) of every logged pair; what it lacks to one is taken for
    actions that the log does not have. None stands for doing as is logged.
    """
    if horizon is None:
        horizon = follow_horizon(longest, is_cut)
    transitions, rewards = policy_process(counts, choice, prior_strength)
    values = follow_values(transitions, rewards, horizon, gamma, tolerance, keep=keep_paths)
    acts = counts.state_weights > 0
    backwards = transitions.T.tocsr()
    start = np.where(acts, initial_distribution, 0.0)
    visits, decisions, outlasting = _follow_visits(
        backwards, start, acts, horizon, 1.0, tolerance, mark=longest, keep=keep_paths
    )
    if keep_paths and gamma < 1:
        visits, _, _ = _follow_visits(backwards, start, acts, horizon, gamma, tolerance, keep=True)
    taken = float(decisions.sum())
    state_values = values.at(horizon)
    return DirectEstimate(
        value=float(initial_distribution @ state_values),
        state_values=state_values,
        horizon=horizon,
        prior_strength=prior_strength,
        uncovered=float(decisions @ _lacking(counts, choice, 0)) / taken if taken else 0.0,
        thin=float(decisions @ _lacking(counts, choice, FEW_ROWS - 1)) / taken if taken else 0.0,
        outlasting=outlasting,
        values=values if keep_paths else None,
        visits=visits if keep_paths else None,
    )


def _lacking(counts: TransitionCounts, choice: Floats | None, at_most: float) -> Floats:
    """Return the probability of an action with at most so many rows, by state, (n_states,)."""
    if choice is None:
        return np.zeros(counts.n_states)
    logged = np.where(counts.pair_weights > at_most, choice, 0.0)
    return np.asarray(1.0 - sum_by_code(counts.pair_state, logged, counts.n_states))


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, 0 where the denominator is 0: a resampled log may lack what the log has."""
    out = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def beliefs(
    counts: TransitionCounts, choice: Floats | None, prior_strength: float
) -> tuple[Floats, Floats]:
    """Return pi lam of every pair, (n_pairs,), and what it leaves of each state, (n_states,)."""
    n = counts.pair_weights
    if choice is None:
        return np.zeros(len(n)), np.ones(counts.n_states)
    believed = choice * divide(n, n + prior_strength)
    return believed, 1 - sum_by_code(counts.pair_state, believed, counts.n_states)


def policy_process(
    counts: TransitionCounts, choice: Floats | None, prior_strength: float
) -> tuple[Any, Floats]:
    """Return P (n_states, n_states) and R (n_states,) of following a policy."""
    believed, left = beliefs(counts, choice, prior_strength)
    # What one row weighs as the pair's, and as the state's.
    per_pair = divide(believed, counts.pair_weights)
    per_state = divide(left, counts.state_weights)
    followed = np.flatnonzero(per_pair)
    place = csr_array(
        (per_pair[followed], (counts.pair_state[followed], followed)),
        shape=(counts.n_states, len(per_pair)),
    )
    of_pairs = place @ counts.matrix(counts.weights)
    mixed = of_pairs + diags_array(per_state) @ counts.state_matrix()
    rewards = place @ counts.pair_rewards + per_state * counts.state_rewards
    return mixed.tocsr()[:, : counts.n_states], rewards


def pair_process_values(
    counts: TransitionCounts, prior_strength: float, gamma: float, values: Floats
) -> Floats:
    """Return Q of every logged pair, shrunk as the policy's process is, (n_pairs,)."""
    n, n_s = counts.pair_weights, counts.state_weights
    trust = divide(n, n + prior_strength)
    following = np.append(values, 0.0)
    paid = counts.pair_rewards + gamma * (counts.matrix(counts.weights) @ following)
    usual = sum_by_code(counts.pair_state, paid, counts.n_states)
    return np.asarray(trust * divide(paid, n) + (1 - trust) * divide(usual, n_s)[counts.pair_state])


def follow_values(
    transitions: Any, rewards: Floats, horizon: int, gamma: float, tolerance: float, *, keep: bool
) -> Path:
    """Return V_0, V_1, ... until they settle; only V_horizon unless they are to be kept."""
    steps = [np.zeros(len(rewards))]
    settled = np.zeros(len(rewards))
    gain = rewards  # the step h adds gain_h = (gamma P)^h R
    rounding = 8 * np.finfo(np.float64).eps * np.abs(rewards).max()
    step = 0
    while True:
        step += 1
        values = steps[-1] + gain
        steps = _pushed(steps, values, keep=keep)
        if step == horizon:
            return Path(steps, step, settled)
        following = gamma * (transitions @ gain)
        if step % LOOK_EVERY and step > LOOK_EVERY:
            gain = following
            continue
        if np.abs(gain).max() <= tolerance * max(1.0, np.abs(values).max()):
            return Path(steps, step, settled)
        # Steps change what they add less and less, so once they hardly do, those left add that
        # much each: a process that goes on for ever need not be followed. The error of the sum is
        # at most change * left^2 / 2.
        left = horizon - step
        end = values + left * following
        negligible = 2 * tolerance * max(1.0, np.abs(end).max())
        change = np.abs(following - gain).max()
        if change * left**2 <= negligible or change <= rounding:
            return Path(steps, step, following)
        gain = following


def _follow_visits(
    backwards: Any,
    start: Floats,
    acts: Bools,
    horizon: int,
    gamma: float,
    tolerance: float,
    *,
    mark: int | None = None,
    keep: bool = False,
) -> tuple[Path, Floats, float | None]:
    """Return d_0, d_1, ... until they settle, their sum, and the mass of d_mark.

    ``backwards`` is P transposed; only states that act keep mass.
    """
    negligible = NEGLIGIBLE_SHARE * tolerance
    nothing = np.zeros(len(start))
    running, total, steps = start, nothing, [start]
    marked = None if mark is None else 0.0
    for step in range(horizon):
        mass = float(running.sum())
        if step == mark:
            marked = mass
        if mass <= negligible:
            steps[-1] = nothing
            return Path(steps, step, nothing), total, marked
        following = gamma * np.where(acts, backwards @ running, 0.0)
        left = horizon - step
        if np.abs(following - running).sum() * left <= negligible * mass:  # as in follow_values
            marked = mass if mark is not None and step < mark else marked
            return Path(steps, step, nothing), total + left * running, marked
        total = total + running
        running = following
        steps = _pushed(steps, running, keep=keep)
    if mark == horizon:
        marked = float(running.sum())
    return Path(steps, horizon, nothing), total, marked


def _pushed(steps: list[Floats], vector: Floats, *, keep: bool) -> list[Floats]:
    """Return the steps with one more, or that one alone."""
    if not keep:
        return [vector]
    steps.append(vector)
    return steps

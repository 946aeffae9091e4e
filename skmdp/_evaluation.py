"""The direct method: what a policy would have earned in the process re-estimated from a log.

In the state s the policy takes a(s). With n, N weighted counts of the log, kappa the strength of
the prior and lam = n(s, a(s)) / (n(s, a(s)) + kappa), 0 where the log lacks the pair:

    P(s'|s) = lam N(s, a, s') / n(s, a) + (1 - lam) N(s, s') / n(s),    R(s) likewise

States that the log never acts in are worth 0. The value is that of following P for ``horizon``
steps from where the log's episodes start, undiscounted.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import diags_array

from skmdp._counts import TransitionCounts

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]

# A log whose episodes all end is followed to the end: this many times its longest episode.
TO_THE_END = 10
# Steps to follow where the log does not tell episodes.
HORIZON_WITHOUT_EPISODES = 1000
VALUE_TOLERANCE = 1e-6
# Share of the episodes still running below which what they do no longer matters.
NEGLIGIBLE_MASS = 1e-7
UNCOVERED_WARNING = 0.01
OUTLASTING_WARNING = 0.10


@dataclass(frozen=True)
class DirectEstimate:
    """A policy's estimated value and what qualifies it.

    ``uncovered`` is the share of the policy's decisions that the log lacks, ``outlasting`` the
    share of its episodes that are longer than any logged one (None where that is unknown).
    """

    value: float
    horizon: int
    prior_strength: float
    uncovered: float
    outlasting: float | None


def follow_horizon(longest: int | None, is_cut: bool) -> int:
    """Return for how many steps to follow a policy in a log."""
    if longest is None:
        return HORIZON_WITHOUT_EPISODES
    return longest if is_cut else TO_THE_END * longest


def evaluate_directly(
    counts: TransitionCounts,
    actions: Integers,
    initial_distribution: Floats,
    *,
    prior_strength: float,
    longest: int | None,
    is_cut: bool,
    horizon: int | None = None,
) -> DirectEstimate:
    """Estimate the undiscounted value of a deterministic policy, by the module's formulas.

    ``actions`` (n_states,) holds the policy's action codes, -1 for an action the log never has.
    """
    if horizon is None:
        horizon = follow_horizon(longest, is_cut)
    states = np.arange(counts.n_states)
    chosen = counts.find_pairs(states, actions)
    transitions, rewards = policy_process(counts, chosen, prior_strength)
    acts = counts.state_weights > 0
    lacking = chosen < 0
    uncovered, running = _occupancy(
        transitions, initial_distribution, acts, lacking, horizon, longest
    )
    return DirectEstimate(
        value=float(initial_distribution @ _values(transitions, rewards, horizon)),
        horizon=horizon,
        prior_strength=prior_strength,
        uncovered=uncovered,
        outlasting=running,
    )


def policy_process(
    counts: TransitionCounts, chosen: Integers, prior_strength: float
) -> tuple[Any, Floats]:
    """Return P (n_states, n_states) and R (n_states,) of following the chosen pairs, -1 = none."""
    known = np.flatnonzero(chosen >= 0)
    n = np.zeros(counts.n_states)
    n[known] = counts.pair_weights[chosen[known]]
    n_s = counts.state_weights
    trust = np.divide(n, n + prior_strength, out=np.zeros_like(n), where=n > 0)
    # trust / n and (1 - trust) / n(s): what one row weighs as the pair's and as the state's.
    per_pair = np.divide(trust, n, out=np.zeros_like(n), where=n > 0)
    per_state = np.divide(1 - trust, n_s, out=np.zeros_like(n), where=n_s > 0)
    of_pairs = counts.matrix(counts.weights)[np.where(chosen >= 0, chosen, 0)]
    mixed = diags_array(per_pair) @ of_pairs + diags_array(per_state) @ counts.state_matrix()
    pair_rewards = np.zeros(counts.n_states)
    pair_rewards[known] = counts.pair_rewards[chosen[known]]
    rewards = per_pair * pair_rewards + per_state * counts.state_rewards
    return mixed.tocsr()[:, : counts.n_states], rewards


def _values(transitions: Any, rewards: Floats, horizon: int) -> Floats:
    """Return the value of every state with ``horizon`` steps to go, or of all steps to come."""
    values, gain = np.zeros(len(rewards)), rewards  # the step t adds gain_t = P^t R
    rounding = 8 * np.finfo(np.float64).eps * np.abs(rewards).max()
    left = horizon
    while True:
        values, left = values + gain, left - 1
        if not left or np.abs(gain).max() <= VALUE_TOLERANCE * max(1.0, np.abs(values).max()):
            return values
        following = transitions @ gain
        # Steps change what they add less and less, so once they hardly do, those left add that
        # much each: a process that goes on for ever need not be followed. The error of the sum is
        # at most change * left^2 / 2.
        end = values + left * following
        negligible = 2 * VALUE_TOLERANCE * max(1.0, np.abs(end).max())
        change = np.abs(following - gain).max()
        if change * left**2 <= negligible or change <= rounding:
            return np.asarray(end)
        gain = following


def _occupancy(
    transitions: Any,
    initial_distribution: Floats,
    acts: npt.NDArray[np.bool_],
    lacking: npt.NDArray[np.bool_],
    horizon: int,
    longest: int | None,
) -> tuple[float, float | None]:
    """Return the share of decisions that are lacking, and of episodes that run on after longest."""
    backwards = transitions.T.tocsr()
    running = np.where(acts, initial_distribution, 0.0)
    decisions = lacked = 0.0
    outlasting = 0.0 if longest is not None else None
    step = 0
    while True:
        mass = float(running.sum())
        if step == longest:
            outlasting = mass
        if mass <= NEGLIGIBLE_MASS or step == horizon:
            break
        following = np.where(acts, backwards @ running, 0.0)
        left = horizon - step
        if np.abs(following - running).sum() * left <= NEGLIGIBLE_MASS * mass:  # as in _values
            decisions, lacked = decisions + left * mass, lacked + left * float(running @ lacking)
            if longest is not None and step < longest:
                outlasting = mass
            break
        decisions += mass
        lacked += float(running @ lacking)
        running = following
        step += 1
    return (lacked / decisions if decisions else 0.0), outlasting


def warn_if_unsupported(estimate: DirectEstimate, is_cut: bool) -> None:
    """Warn if the log has too little to say about the policy."""
    if estimate.uncovered > UNCOVERED_WARNING:
        warnings.warn(
            f"X lacks {estimate.uncovered:.1%} of the decisions that the policy would take; there "
            "the score assumes that what X logs in the state goes on happening. Score on more "
            "rows, or raise min_count so that the policy keeps to what is often logged.",
            UserWarning,
            stacklevel=3,
        )
    outlasting = estimate.outlasting
    if outlasting is not None and outlasting > OUTLASTING_WARNING and not is_cut:
        warnings.warn(
            f"{outlasting:.1%} of the policy's episodes would last longer than any in X (it may "
            "loop); their value is extrapolated. Check the policy for loops, or charge a cost per "
            "step.",
            UserWarning,
            stacklevel=3,
        )

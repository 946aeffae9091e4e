"""The direct method: the value of a policy in the process re-estimated from a log.

The policy takes action a in state s with probability pi(a|s). With n, N weighted counts of the
log, kappa the strength of the prior and lam = n(s, a) / (n(s, a) + kappa), 0 where the log lacks
the pair,

    P(s'|s) = sum_a pi lam N(s, a, s') / n(s, a) + (1 - sum_a pi lam) N(s, s') / n(s)

and R(s) likewise: the untrusted share of a pair follows the state's logged mix. States that the log
never acts in are worth 0. With mu0 where the log's episodes start, L its longest episode and c the
share of its episodes that are cut off,

    V_0 = 0,  V_{h+1} = R + gamma P V_h,  value = mu0 . ((1 - c) V_{10 L} + c V_L);
    d_0 = mu0,  d_{t+1} = gamma d_t P

Episodes that all end speak of what a policy earns to its end, cut ones of what it earns in L steps;
the value lies between, and no single episode decides. Following to the end passes L on its way.

The standard error is that of the value as a function of the log (its influence function), c taken
for known. With D = sum_{t<H} d_t, M(s, s') = gamma sum_{t<H} d_t(s) V_{H-1-t}(s'), both averaged
over H = 10 L and H = L as the value is, y = D(s) r + M(s, s') of a row, means of y over the rows of
the pair and of the state, one more row of (s, a) moves the value by

    u = pi lam / n(s, a) (y - mean(s, a)) + (1 - sum_b pi lam) / n(s) (y - mean(s))
        + pi kappa / (n(s, a) + kappa)^2 (mean(s, a) - mean(s))
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._evaluation.horizon import Horizon, Path
from skmdp._evaluation.tails import Tail, close_tails
from skmdp._typing import Array, Bools, Floats, Integers

# Relative change of the values below which following stops: enough to compare policies.
SCORE_TOLERANCE = 1e-6
# Values are looked at only every so many steps: looking costs as much as a step.
LOOK_EVERY = 8
# A closed form is sought whenever twice as many steps have been taken, with one mode for so many.
STEPS_PER_MODE = 8
MOST_MODES = 64
# Numbers that the modes of a closed form may hold: a bound on memory where states are many.
MODES_AT_ONCE = 2**24
# A change of this size relative to the whole is rounding.
ROUNDING = 8 * np.finfo(np.float64).eps
# Share of the episodes still running, relative to the tolerance, below which they do not matter.
NEGLIGIBLE_SHARE = 0.1
# Fewer rows than this do not show how much chance there is in what a pair does.
FEW_ROWS = 5


@dataclass(frozen=True, eq=False)
class DirectEstimate:
    """A policy's estimated value, and how far the log supports it.

    ``ends`` are the smallest and the largest of the values that ``value`` averages, one for each
    number of steps of the horizon; ``state_values`` (n_states,) average them by state.
    ``n_decisions`` is the expected number of the policy's decisions within the horizon,
    ``uncovered`` the share of them that the log lacks,
    ``thin`` the share of those that fewer than five rows speak for (what is lacking included),
    ``outlasting`` the share of its episodes that are longer than any logged one (None where that is
    unknown, or beyond the horizon), ``extrapolated`` that of the cases in which they are followed
    further than any logged one. ``values``, ``visits`` and ``visited`` are V_h, d_t and the sum of
    d_t, averaged over the horizon (None unless asked for).
    """

    value: float
    ends: tuple[float, float]
    state_values: Floats
    horizon: Horizon
    prior_strength: float
    n_decisions: float
    uncovered: float
    thin: float
    outlasting: float | None
    extrapolated: float
    values: Path | None = None
    visits: Path | None = None
    visited: Floats | None = None


def choice_of_actions(counts: TransitionCounts, actions: Integers) -> Floats:
    """Return pi(a|s) of every logged pair, (n_pairs,), for one action code a state, -1 = none."""
    return np.equal(counts.pair_action, actions[counts.pair_state]).astype(np.float64)


def choice_of_rows(
    counts: TransitionCounts, states: Integers, answers: Array, weights: Floats | None = None
) -> Floats:
    """Return pi(a|s) of every logged pair, (n_pairs,), for an answer in each row of the log.

    A policy that sees more than the state may take one action in some of its rows and another in
    others. ``states`` (n_rows,), ``answers`` either actions (n_rows,), -1 for one that the log does
    not have, or probabilities (n_rows, n_actions).
    """
    n_pairs = len(counts.pair_state)
    weights = np.ones(len(states)) if weights is None else weights
    if answers.ndim == 2:
        place = csr_array(
            (weights, states, np.arange(len(states) + 1)), shape=(len(states), counts.n_states)
        )
        n = (place.T @ answers)[counts.pair_state, counts.pair_action]
    else:
        pair = counts.find_pairs(states, answers)
        there = pair >= 0
        n = np.bincount(pair[there], weights[there], minlength=n_pairs)
    return np.asarray(n / counts.state_weights[counts.pair_state])


def evaluate_directly(
    counts: TransitionCounts,
    choice: Floats | None,
    initial_distribution: Floats,
    *,
    prior_strength: float,
    horizon: Horizon,
    longest: int | None,
    gamma: float = 1.0,
    discounted: TransitionCounts | None = None,
    tolerance: float = SCORE_TOLERANCE,
    keep_paths: bool = False,
) -> DirectEstimate:
    """Estimate the value of a policy, by the module's formulas.

    ``choice`` (n_pairs,) is pi(a|s) of every logged pair; what it lacks to one is taken for
    actions that the log does not have. None stands for doing as is logged. ``discounted`` are the
    counts of rows that discount what follows each by its own time (None: all by ``gamma``).
    """
    transitions, rewards = policy_process(counts, choice, prior_strength)
    discounting = transitions
    if discounted is not None:
        discounting, _ = policy_process(discounted, choice, prior_strength)
    landmarks = horizon.landmarks(counts.n_states)
    values = follow_values(
        discounting,
        rewards,
        horizon.steps,
        gamma,
        tolerance,
        keep=landmarks if keep_paths else horizon.shares,
    )
    follow = partial(
        follow_visits,
        start=np.where(counts.state_weights > 0, initial_distribution, 0.0),
        acts=counts.state_weights > 0,
        horizon=horizon,
        tolerance=tolerance,
    )
    backwards = transitions.T.tocsr()
    visits, decisions = follow(backwards, gamma=1.0, keep=landmarks if keep_paths else (longest,))
    visited = decisions
    outlasting, extrapolated = None, 0.0
    if longest is not None and longest <= horizon.steps:
        outlasting = float(visits.at(longest).sum())
        extrapolated = horizon.share_at(longest) * outlasting
    if keep_paths and (gamma < 1 or discounted is not None):
        visits, visited = follow(discounting.T.tocsr(), gamma=gamma, keep=landmarks)
    state_values = horizon.mean(values)
    ends = [float(initial_distribution @ values.at(steps)) for steps in horizon.shares]
    found = DirectEstimate(
        value=float(initial_distribution @ state_values),
        ends=(min(ends), max(ends)),
        state_values=state_values,
        horizon=horizon,
        prior_strength=prior_strength,
        n_decisions=float(decisions.sum()),
        uncovered=_share_lacking(decisions, counts, choice, 0),
        thin=_share_lacking(decisions, counts, choice, FEW_ROWS - 1),
        outlasting=outlasting,
        extrapolated=extrapolated,
    )
    return replace(found, values=values, visits=visits, visited=visited) if keep_paths else found


def direct_value(
    counts: TransitionCounts,
    choice: Floats,
    initial_distribution: Floats,
    *,
    prior_strength: float,
    horizon: Horizon,
    tolerance: float = SCORE_TOLERANCE,
) -> float:
    """Return the value that ``evaluate_directly`` tells more of, undiscounted."""
    transitions, rewards = policy_process(counts, choice, prior_strength)
    values = follow_values(transitions, rewards, horizon.steps, 1.0, tolerance, keep=horizon.shares)
    return float(initial_distribution @ horizon.mean(values))


def average_estimates(parts: Sequence[tuple[float, DirectEstimate]]) -> DirectEstimate:
    """Return the estimate of a policy that is followed in several ways, each in a share of cases.

    What is told of its way is that of the first; paths are not kept.
    """
    if len(parts) == 1:
        return parts[0][1]
    shares = [share for share, _ in parts]
    estimates = [estimate for _, estimate in parts]

    decisions = [share * one.n_decisions for share, one in parts]
    ends = [end for one in estimates for end in one.ends]
    return replace(
        estimates[0],
        value=sum(share * one.value for share, one in parts),
        ends=(min(ends), max(ends)),
        state_values=np.sum([share * one.state_values for share, one in parts], axis=0),
        n_decisions=sum(decisions),
        uncovered=_mean_share([one.uncovered for one in estimates], decisions),
        thin=_mean_share([one.thin for one in estimates], decisions),
        extrapolated=shares[0] * estimates[0].extrapolated,
        values=None,
        visits=None,
        visited=None,
    )


def _mean_share(of_parts: Sequence[float], decisions: Sequence[float]) -> float:
    """Return the share of all decisions, given that of the decisions of each part."""
    return float(np.dot(of_parts, decisions) / max(sum(decisions), np.finfo(np.float64).tiny))


def _share_lacking(
    decisions: Floats, counts: TransitionCounts, choice: Floats | None, at_most: float
) -> float:
    """Return the share of decisions, (n_states,), for actions with at most so many rows."""
    if choice is None or not decisions.any():
        return 0.0
    logged = np.where(counts.pair_weights > at_most, choice, 0.0)
    lacking = 1.0 - sum_by_code(counts.pair_state, logged, counts.n_states)
    return float(decisions @ lacking) / float(decisions.sum())


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, 0 where the denominator is 0: a resampled log may lack what the log has."""
    out = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def beliefs(
    counts: TransitionCounts, choice: Floats | None, prior_strength: float
) -> tuple[Floats, Floats]:
    """Return pi lam of every pair, (n_pairs,), and 1 - its sum in each state, (n_states,)."""
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
    # The weight of one row among those of its pair, and among those of its state.
    per_pair = divide(believed, counts.pair_weights)
    per_state = divide(left, counts.state_weights)
    followed = np.flatnonzero(per_pair)
    bounds = np.searchsorted(counts.pair_state[followed], np.arange(counts.n_states + 1))
    place = csr_array(
        (per_pair[followed], followed, bounds), shape=(counts.n_states, len(per_pair))
    )
    usual = counts.states_following
    shares = usual.data * np.repeat(per_state, np.diff(usual.indptr))
    usual = csr_array((shares, usual.indices, usual.indptr), shape=usual.shape)
    mixed = place @ counts.pairs_following + usual
    rewards = place @ counts.pair_rewards + per_state * counts.state_rewards
    return mixed.tocsr(), rewards


def pair_process_values(
    counts: TransitionCounts, prior_strength: float, gamma: float, values: Floats
) -> Floats:
    """Return Q of every logged pair, shrunk as the policy's process is, (n_pairs,)."""
    n, n_s = counts.pair_weights, counts.state_weights
    trust = divide(n, n + prior_strength)
    paid = counts.pair_rewards + gamma * (counts.pairs_following @ values)
    usual = sum_by_code(counts.pair_state, paid, counts.n_states)
    return np.asarray(trust * divide(paid, n) + (1 - trust) * divide(usual, n_s)[counts.pair_state])


def follow_values(
    transitions: Any,
    rewards: Floats,
    steps: int,
    gamma: float,
    tolerance: float,
    keep: Container[int],
) -> Path:
    """Return V_0, V_1, ..., V_steps, of which those to be kept are held, until they settle."""
    backup = partial(_backed_up, transitions, rewards, gamma)
    discounted = partial(_backed_up, transitions, 0.0, gamma)
    values = np.zeros(len(rewards))
    kept = {0: values}
    gain, following = rewards, discounted(rewards)  # the step h adds gain_h = (gamma P)^h R
    largest_reward = float(np.abs(rewards).max())
    for step in range(1, steps):
        values = values + gain
        if step in keep:
            kept[step] = values
        gain, following = following, discounted(following)
        if step % LOOK_EVERY == 0:
            scale = max(largest_reward, float(np.abs(values).max()))
            left = steps - step
            if np.abs(gain).max() * left <= tolerance * scale:
                return Path(kept, step, Tail.constant(values), backup, step)
            found = close_tails(discounted, gain, following, _most_modes(step, left, len(gain)))
            gains = _tail_of_gains(found, values, gain, left, tolerance, scale)
            if gains is not None:
                constant = _constant_from(gains, left, tolerance * scale)
                return Path(kept, step, gains.sums(values), backup, step + constant)
    return Path(kept, steps, Tail.constant(values + gain), backup, steps)


def _backed_up(transitions: Any, rewards: Floats | float, gamma: float, values: Floats) -> Floats:
    """Return R + gamma P V."""
    return np.asarray(rewards + gamma * (transitions @ values))


def _most_modes(step: int, left: int, size: int) -> int:
    """Return how many modes a closed form may have that is sought at a step.

    More than one now and then only, so that seeking costs a small part of the steps.
    """
    most = step // STEPS_PER_MODE
    if step & (step - 1) or left < 4 * most:
        return 1
    return min(most, MOST_MODES, size, max(1, MODES_AT_ONCE // size))


def _tail_of_gains(
    found: Iterator[tuple[Tail, Floats]],
    values: Floats,
    gain: Floats,
    left: int,
    tolerance: float,
    scale: float,
) -> Tail | None:
    """Return the gains of all steps left, if their sums are known well enough."""
    largest = float(np.abs(gain).max())
    for gains, residual in found:
        size = float(np.abs(residual).max())
        # The first leak alone; the values to come are no larger than these.
        if size * gains.start[-1] * (left - 1) > tolerance * (scale + left * largest):
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            leaks = size * gains.leaks(left)
            end = np.abs(gains.sums(values).at(left)).max()
            error = np.arange(left - 1, -1, -1) @ leaks  # each leak adds to all that follows
        is_known = error <= tolerance * max(scale, end) or leaks.max() <= ROUNDING * largest
        if np.isfinite(end) and is_known:
            return gains
    return None


def _constant_from(gains: Tail, left: int, negligible: float) -> int:
    """Return the first power of two from which on all gains together hardly matter, or the end."""
    step = 1
    while step < left and np.abs(gains.at(step)).max() * (left - step) > negligible:
        step *= 2
    return min(step, left)


def follow_visits(
    backwards: Any,
    start: Floats,
    acts: Bools,
    horizon: Horizon,
    gamma: float,
    tolerance: float,
    keep: Container[int | None],
) -> tuple[Path, Floats]:
    """Return d_0, d_1, ... until they settle, and their sum over the horizon.

    ``backwards`` is P transposed; only states that act keep mass.
    """
    negligible = NEGLIGIBLE_SHARE * tolerance
    move = partial(_moved, backwards, acts, gamma)
    running, total, kept, taken = start, np.zeros(len(start)), {0: start}, 0.0
    following = move(start)
    for step in range(horizon.steps):
        mass, left = float(running.sum()), horizon.steps - step
        if mass * left <= negligible * taken:
            return Path(kept, step, Tail.constant(np.zeros(len(start))), move), total
        if step % LOOK_EVERY == 0:
            found = close_tails(move, running, following, _most_modes(step, left, len(start)))
            tail = _tail_of_visits(found, left, mass, negligible)
            if tail is not None:
                return Path(kept, step, tail, move), total + _sum_over(tail, step, horizon)
        total = total + horizon.share_at(step) * running
        taken += mass
        running, following = following, move(following)
        if step + 1 in keep:
            kept[step + 1] = running
    return Path(kept, horizon.steps, Tail.constant(running), move), total


def _moved(backwards: Any, acts: Bools, gamma: float, mass: Floats) -> Floats:
    """Return where mass has gone after a step."""
    return np.asarray(gamma * np.where(acts, backwards @ mass, 0.0))


def _tail_of_visits(
    found: Iterator[tuple[Tail, Floats]], left: int, mass: float, negligible: float
) -> Tail | None:
    """Return the visits of all steps left, if each is known well enough."""
    for visits, residual in found:
        size = float(np.abs(residual).sum())
        if size * visits.start[-1] > max(negligible, ROUNDING) * mass:  # the first leak alone
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            leaks = size * visits.leaks(left)
        if leaks.sum() <= negligible * mass or leaks.max() <= ROUNDING * mass:
            return visits
    return None


def _sum_over(visits: Tail, step: int, horizon: Horizon) -> Floats:
    """Return the sum of the visits from a step on, averaged over the horizon."""
    sums = visits.sums(np.zeros(visits.basis.shape[1]))
    ends = [share * sums.at(max(0, steps - step)) for steps, share in horizon.shares.items()]
    # But for rounding, none is negative.
    return np.asarray(np.maximum(np.sum(ends, axis=0), 0.0))

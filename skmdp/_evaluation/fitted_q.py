"""Fitted Q evaluation: the value of a policy in a log of raw measurements.

Rows of one action are averaged in the leaves of its T trees (see ``leaves``). With B (n_leaves,
n_rows) the mean of the rows of each leaf and G (n_rows, n_leaves) that of the leaves of a row's
next state under the policy's action there, none where the episode ended, P = G B leads from rows to
rows, and H steps of the policy are worth, with R the rewards and d_0 the rows that the starts lead
to under the policy,

    W_0 = 0,  W_{h+1} = R + gamma P W_h,  value = d_0 . W_H;  d_{t+1} = gamma d_t P

where gamma may differ between rows, each to the power of its duration.
That is the direct method with rows for states, and so are the horizon (a share of cut episodes c
makes it (1 - c) d_0 . W_{10 L} + c d_0 . W_L) and when following stops. It averages, so |W_h| is
never more than h times the largest reward.

The standard error is that of the value as a function of the episodes, the leaves fixed. With m_0
(n_leaves,) the leaves that the starts lead to, m_{t+1} = gamma G' d_t and d_t = B' m_t, one more
row i moves the value by the sum over its leaves l, c their sizes, of

    psi_i = sum_l sum_{t<H} m_t(l) / c_l (W_{H-t}(i) - mean of W_{H-t} in l)

times c / (c - 1), c now the mean of the sizes, since the row is part of the means. Added to
that is what few rows cannot show of the spread of rewards within leaves, judged by that of other
rows of the action and of the log (see ``credibility``). The error is one of chance only: it does
not tell what is smoothed away within a leaf.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from skmdp._evaluation.credibility import Outcomes, Residuals, limit_to_usual
from skmdp._evaluation.direct import follow_values, follow_visits
from skmdp._evaluation.drifts import Drifts, drifts_in_time
from skmdp._evaluation.fitted_estimate import FittedEstimate, average_estimates
from skmdp._evaluation.horizon import Horizon, Path
from skmdp._evaluation.in_time import InTime
from skmdp._evaluation.influence import meetings
from skmdp._evaluation.leaves import Averages, Leaves, grow_leaves, incidence, require_leaves
from skmdp._evaluation.raw import Features, RawLog
from skmdp._evaluation.regions import find_regions
from skmdp._evaluation.relevance import relevant_columns
from skmdp._evaluation.support import (
    Propensities,
    estimate_propensities,
    hardly_taken,
    within_reach,
)
from skmdp._typing import Array, Bools, Codes, Floats, Integers

# Error of values, relative to the largest of any row, at which following stops. What the starts are
# worth may be a small share of that.
TOLERANCE = 1e-5
# So many actions of a state are followed at most: time goes with their number.
ACTIONS_FOLLOWED = 8
GOLDEN_RATIO = (np.sqrt(5) - 1) / 2
# Sparse products are faster for a few vectors at once than for one after the other.
MEETINGS_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class FittedQ:
    """A log made ready to be asked about any number of policies.

    ``longest`` is the number of rows of its longest episode, None where that is unknown. To follow
    the logged policy is to follow ``propensities``. ``durations`` (n_rows,) tell how much time
    decisions take, each its own (None: all one unit), and ``in_time`` how policies are followed
    then where records were cut off (None: for a number of decisions).
    """

    log: RawLog
    leaves: Leaves
    propensities: Propensities
    horizon: Horizon
    longest: int | None = None
    gamma: float = 1.0
    tolerance: float = TOLERANCE
    durations: Floats | None = None
    in_time: InTime | None = None

    @classmethod
    def of_log(
        cls,
        log: RawLog,
        *,
        longest: int | None,
        cut_share: float,
        steps: int | None = None,
        gamma: float = 1.0,
        propensities: Propensities | Floats | None = None,
        regressor: Any = None,
        random_state: int = 0,
        tolerance: float = TOLERANCE,
    ) -> FittedQ:
        """Find the columns that matter, grow the leaves and estimate propensities unless given.

        Propensities may be those of the rows' own actions, (n_rows,): then the others are
        estimated, and the log must tell which row follows which.
        """
        require_leaves(regressor)
        columns = relevant_columns(log, random_state=random_state)
        if not isinstance(propensities, Propensities):
            of_rows = propensities
            propensities = estimate_propensities(log, columns, random_state=random_state)
            if of_rows is not None:
                propensities = propensities.knowing(of_rows, log)
        return cls(
            log,
            grow_leaves(log, columns, regressor=regressor, random_state=random_state),
            propensities.to_follow(log),
            Horizon.of_log(longest, cut_share, steps),
            longest,
            gamma,
            tolerance,
        )

    @property
    def columns(self) -> Bools:
        """Which columns of the log matter, (n_columns,)."""
        return self.leaves.features.columns

    @cached_property
    def _supported(self) -> Propensities:
        """Propensities, 0 where a state lies beyond all rows of the action."""
        log, columns, b = self.log, self.columns, self.propensities
        following = b.following * within_reach(log, columns, log.next_states)
        return Propensities(following, b.starting * within_reach(log, columns, log.start_states))

    @cached_property
    def logged(self) -> FittedEstimate:
        """The logged policy."""
        return self.follow(self.propensities.following, self.propensities.starting)

    @cached_property
    def _next_leaves(self) -> Codes:
        """Leaves of the next states of rows that go on, (n_actions, n_going_on, n_trees)."""
        return self._leaves_by_action(self.log.next_states[~self.log.ended])

    @cached_property
    def _start_leaves(self) -> Codes:
        """Leaves of the starts, (n_actions, n_episodes, n_trees)."""
        return self._leaves_by_action(self.log.start_states)

    def _leaves_by_action(self, states: Floats) -> Codes:
        actions = range(self.log.n_actions)
        return np.stack([self.leaves.leaves_of(states, action) for action in actions])

    def follow(self, following: Array, starting: Array) -> FittedEstimate:
        """Evaluate the policy that answers so in the next states and in the first states.

        Each either action codes (n_rows,) and (n_episodes,), or probabilities with one column per
        action; of more than eight actions in a state eight draws are followed. Answers to the next
        states of ended rows are not looked at.
        """
        if self.in_time is None:
            return self._follow(following, starting, self.horizon)
        assert self.longest is not None
        going_on = self.in_time.going_on
        return average_estimates(
            [
                (share, self._follow(following, starting, horizon, going_on if in_time else None))
                for share, in_time, horizon in self.in_time.parts(self.longest)
            ]
        )

    def _follow(
        self, following: Array, starting: Array, horizon: Horizon, going_on: Floats | None = None
    ) -> FittedEstimate:
        """Follow a policy where rows lead on with the given probabilities, (n_rows,); None: all."""
        log, n = self.log, len(self.log.ended)
        longest = self.longest if going_on is None else None
        going_on = np.ones(n) if going_on is None else going_on
        times = np.ones(n) if self.durations is None else self.durations
        goes_on = np.flatnonzero(~log.ended)
        next_choice = choice_matrix(following[goes_on], log.n_actions)
        start_choice = choice_matrix(starting, log.n_actions)
        process, reached, begun = self._process(next_choice, start_choice, goes_on)
        process = process.leading_on(going_on)
        discounting, rows = process.leading_on(self.gamma**times), process.averages.rows
        values = follow_values(
            discounting,
            log.rewards[rows],
            horizon.steps,
            1.0,
            self.tolerance,
            keep=range(horizon.steps),
        )
        visits, drawn_upon = self._visits(process, horizon)
        discounted, weights = visits, drawn_upon
        if self.gamma < 1:
            discounted, weights = self._visits(discounting, horizon)
        start_values = np.asarray(begun @ process.averages.means(horizon.mean(values)))
        influence = influence_of_rows(discounting, values, discounted, horizon)
        worth = worth_after_visits(values, discounted, horizon) / weights.sum()
        worth = process.averages.means(worth)
        led_to = limit_to_usual(reached @ worth, _spread(weights, rows, n))
        following = going_on * self.gamma**times * led_to
        # What the state of a row is worth depends on no action: there is less chance without it.
        following -= self._of_own_states(led_to, begun @ worth)
        # Nothing is decided after the last step.
        deciding = _spread(drawn_upon - horizon.mean(visits, before=1), rows, n) * going_on
        supported = self._supported
        of_next = deciding[goes_on] @ hardly_taken(next_choice, supported.following[goes_on])
        of_starts = hardly_taken(start_choice, supported.starting).mean()
        return FittedEstimate(
            value=float(start_values.mean()),
            start_values=start_values,
            of_rows=_spread(influence, rows, n) * self.leaves.correction,
            episode=log.episode,
            visits=_spread(drawn_upon, rows, n),
            outcomes=Outcomes(
                _spread(weights, rows, n), self._residuals, self._less_leaves(following)
            ),
            unsupported_share=float((of_next + of_starts) / drawn_upon.sum()),
            effective_rows=float(drawn_upon.sum() ** 2 / (drawn_upon @ drawn_upon)),
            outlasting=None
            if longest is None or longest > horizon.steps
            else float(visits.at(longest).sum()),
        )

    def part_of_drift(self, one: FittedEstimate, other: FittedEstimate) -> float:
        """Return how much of the difference between two policies a drift may account for.

        Policies that go elsewhere use other steps; that alone is no reason for doubt.
        """
        return self._drifts.part_of(one.outcomes, other.outcomes, must_tell_steps=False)

    @cached_property
    def _drifts(self) -> Drifts:
        """How times change, everywhere and in regions."""
        log = self.log
        # In all columns: one that matters now in one way and then in the other does not on average.
        every = np.ones(log.states.shape[1], dtype=bool)
        measured = Features.of(log.states, every).see(log.states)
        region = find_regions(measured, log.actions, log.episode, log.step)
        group = region * log.n_actions + log.actions
        parent = np.repeat(np.arange(int(region.max()) + 1), log.n_actions)
        whole = Residuals.of_outcomes(log.rewards, group, parent, None)
        # Less the means of leaves there is less chance in rewards; but leaves are grown to fit
        # them, so their means hold a part of a drift.
        hardly_fitted = (log.rewards + self._less_leaves(log.rewards)) / 2
        in_regions = Residuals.of_outcomes(hardly_fitted, group, parent, None)
        return drifts_in_time(whole, region, in_regions, log.episode, log.step, whole=whole.amounts)

    @cached_property
    def _residuals(self) -> Residuals:
        """Rewards less the mean of their leaves, in cells of rows that are alike."""
        rewards = self._less_leaves(self.log.rewards) / np.sqrt(self.leaves.correction)
        return Residuals(rewards, *self.leaves.cells(self.log.actions))

    def _of_own_states(self, of_next: Floats, of_starts: Floats) -> Floats:
        """Return what is known of the next state of rows and of starts for the state of each row.

        The mean where that is unknown.
        """
        log = self.log
        own = np.full(len(log.ended), of_next.mean())
        if log.following_row is not None:
            leads_on = np.flatnonzero(log.following_row >= 0)
            own[log.following_row[leads_on]] = of_next[leads_on]
            starts = np.flatnonzero(log.starting_row >= 0)
            own[log.starting_row[starts]] = of_starts[starts]
        return own

    def _less_leaves(self, amounts: Floats) -> Floats:
        """Return amounts of rows less the mean of the other rows in their leaves, (n_rows,)."""
        means = self._averages.means(amounts)[self.leaves.own].mean(axis=1)
        return np.asarray(self.leaves.correction * (amounts - means))

    @cached_property
    def _averages(self) -> Averages:
        """The means of all leaves."""
        return self.leaves.averages(np.ones(self.leaves.n_leaves, dtype=bool))

    def _process(
        self, next_choice: Any, start_choice: Any, goes_on: Integers
    ) -> tuple[_Process, Any, Any]:
        """Return a policy's way through the rows, its G of all rows, and that of the starts.

        (n_rows, n_leaves) and (n_episodes, n_leaves).
        """
        n, n_rows = self.log.n_episodes, len(self.log.ended)
        next_codes = _chosen(self._next_leaves, next_choice)
        start_codes = _chosen(self._start_leaves, start_choice)
        used = np.zeros(self.leaves.n_leaves, dtype=bool)
        used[next_codes] = True
        used[start_codes] = True
        averages = self.leaves.averages(used)
        code = (np.cumsum(used) - 1).astype(np.int32)
        per_row = np.zeros(n_rows, dtype=np.intp)
        per_row[goes_on] = np.diff(next_choice.indptr)
        bounds = np.append(0, np.cumsum(per_row))
        n_leaves, n_trees = len(averages.sizes), self.leaves.n_trees
        reached = incidence(code[next_codes], bounds, n_leaves, next_choice.data / n_trees)
        begun = incidence(
            code[start_codes], start_choice.indptr, n_leaves, start_choice.data / n_trees
        )
        process = _Process(averages, reached[averages.rows], begun.T @ np.full(n, 1 / n))
        return process, reached, begun

    def _visits(self, process: _Process, horizon: Horizon) -> tuple[Path, Floats]:
        """Return d_0, d_1, ... (n_rows,) and their sum over the horizon."""
        return follow_visits(
            process.T,
            process.averages.share_out(process.begun),
            np.ones(len(process.averages.rows), dtype=bool),
            horizon,
            1.0,
            self.tolerance,
            keep=range(horizon.steps + 1),
        )


@dataclass(frozen=True, eq=False)
class _Process:
    """A policy's way through the rows of a log: multiplies by P = G B."""

    averages: Averages
    reached: Any  # G, CSR (n_rows, n_leaves)
    begun: Floats  # m_0, (n_leaves,)

    def leading_on(self, factors: Floats) -> _Process:
        """Return the process in which each row leads on so much less, (n_rows,)."""
        if (factors == 1).all():
            return self
        of_rows = diags_array(factors[self.averages.rows])
        return replace(self, reached=of_rows @ self.reached)

    def __matmul__(self, amounts: Floats) -> Floats:
        return np.asarray(self.reached @ self.averages.means(amounts))

    @cached_property
    def reaching(self) -> Any:
        """G transposed, (n_leaves, n_rows)."""
        return self.reached.T

    @property
    def T(self) -> _Backwards:
        """What multiplies by P transposed."""
        return _Backwards(self)


@dataclass(frozen=True, eq=False)
class _Backwards:
    process: _Process

    def __matmul__(self, weights: Floats) -> Floats:
        return self.process.averages.share_out(self.process.reaching @ weights)


def choice_matrix(answers: Array, n_actions: int) -> Any:
    """Return pi(a|s), CSR (n_states, n_actions), of action codes or of probabilities."""
    if answers.ndim == 2:
        return csr_array(sample_actions(answers.astype(np.float64)))
    n = len(answers)
    return csr_array((np.ones(n), answers, np.arange(n + 1)), shape=(n, n_actions))


def sample_actions(probabilities: Floats) -> Floats:
    """Return probabilities (n_states, n_actions) of few actions a state, the same on average.

    A state of more has a systematic sample of its actions: every action is drawn the whole number
    of times just below or above its expectation. States start at places spread evenly (multiples
    of the golden ratio), so that errors cancel between them, and nothing is left to chance.
    """
    many = np.flatnonzero(np.count_nonzero(probabilities, axis=1) > ACTIONS_FOLLOWED)
    if not len(many):
        return probabilities
    upper = np.cumsum(probabilities[many], axis=1)
    total = upper[:, -1:].copy()
    upper /= total
    first = np.arange(len(many))[:, np.newaxis] * GOLDEN_RATIO % 1
    # How many of the marks (k + first) / ACTIONS_FOLLOWED lie below the end of each action.
    below = np.ceil(ACTIONS_FOLLOWED * upper - first)
    sampled = probabilities.copy()
    sampled[many] = np.diff(below, axis=1, prepend=0.0) * total / ACTIONS_FOLLOWED
    return sampled


def _chosen(by_action: Codes, choice: Any) -> Codes:
    """Return the leaves of every action that may be taken, state by state, (k, n_trees).

    ``by_action`` (n_actions, n_states, n_trees) are the leaves of states, ``choice`` is pi(a|s).
    """
    state = np.repeat(np.arange(choice.shape[0]), np.diff(choice.indptr))
    codes = by_action[choice.indices, state]
    if codes.min(initial=0) < 0:
        never = int(choice.indices[np.argmin(codes.min(axis=1))])
        raise ValueError(f"The log never takes action {never}, which the policy takes.")
    return np.asarray(codes)


def _spread(amounts: Floats, rows: Integers, n: int) -> Floats:
    """Return amounts of some rows among all n, 0 for the others."""
    spread = np.zeros(n)
    spread[rows] = amounts
    return spread


def worth_after_visits(values: Path, visits: Path, horizon: Horizon) -> Floats:
    """Return what rows are worth with as many steps left as after each visit, together, (n_rows,).

    ``values`` holds W_h, ``visits`` d_t.
    """
    worth: Floats = np.zeros(len(values.at(0)))
    for steps, share in horizon.shares.items():
        for drawn, left in meetings(values, visits, steps):
            worth += share * drawn.sum() * left
    return worth


def influence_of_rows(process: _Process, values: Path, visits: Path, horizon: Horizon) -> Floats:
    """Return psi of every row, (n_rows,), without c / (c - 1).

    ``values`` holds W_h, ``visits`` d_t.
    """
    averages = process.averages
    worth = values.later()  # W_{h+1}
    of_rows, of_leaves = np.zeros(len(averages.rows)), np.zeros(len(averages.sizes))
    for steps, share in horizon.shares.items():
        for drawn, paid in meetings(worth, visits, steps):
            of_rows += share * drawn * paid
        of_leaves += share * process.begun * averages.means(values.at(steps))
        met = meetings(worth, visits, steps - 1)
        while some := list(islice(met, MEETINGS_AT_ONCE)):
            drawn, paid = (np.stack(vectors, axis=1) for vectors in zip(*some, strict=True))
            arriving = share * (process.reaching @ drawn)
            of_leaves += np.einsum("lk,lk->l", arriving, averages.contents @ paid) / averages.sizes
    return of_rows - averages.share_out(of_leaves)

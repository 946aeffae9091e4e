"""Settings of the model compared on held-out episodes, and what the choice gains there.

Each setting is learned from all folds but one, whose counts are those of the whole minus the fold,
and judged on the fold by the direct method, with the prior and the horizon of the whole log. The
prior is that of estimates, not the stronger one of ``score``: settings share their states, so that
none has thinner pairs than another, and a strong prior would favour those that advise what is often
logged. What is measured behind the states counts, as it does for the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property

import numpy as np

from skmdp._choice import Setting, choose
from skmdp._estimation.folds import CountedRows
from skmdp._estimation.packing import RowSums
from skmdp._estimation.prior_strength import STRONGEST_OF_ESTIMATES, choose_prior_strength
from skmdp._estimation.process import admissible_pairs
from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.direct import choice_of_actions, direct_value
from skmdp._evaluation.replay import Replay
from skmdp._evaluation.standard_errors import direct_error
from skmdp._log.discounting import sums_in_time, weighted_discounts
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence
from skmdp._log.folds import Fold, Part, deal_episodes, joined, lots_of
from skmdp._log.raw import Measurements
from skmdp._policy import Policy
from skmdp._scoring import estimate_on_measurements, set_beside_measurements
from skmdp._trust import discount_of, fitted_q, in_time_of, steps_of
from skmdp._typing import Codes, Floats
from skmdp.solvers import EndlessLoopError
from skmdp.solvers._equations import one_blas_thread

# Parts that a log is dealt to, each judged by what those before it teach.
N_PARTS = 5

# Learns a policy from evidence by a setting, starting from values of the states (None: from none).
Learner = Callable[[Evidence, "Setting", "Floats | None"], Policy]


@dataclass(frozen=True)
class Gain:
    """What a policy earns on some episodes, and by how much that is more than was logged.

    ``unsupported`` is the share of its decisions that the episodes hardly ever take, ``cost`` what
    these may cost where states are measurements: one standard deviation of the rewards for each.
    ``mean_return`` is what the episodes earned, where ``logged`` should say the same (NaN: it
    answers another question, or is made of it), ``n_episodes`` how many episodes, or lots of a
    lazy table, were judged on. ``drift`` is how much of the gain may be due to rewards that changed
    over the episodes.
    """

    value: float
    logged: float
    error: float
    unsupported: float
    cost: float = 0.0
    logged_error: float = np.nan
    mean_return: float = np.nan
    n_episodes: int = 0
    drift: float = 0.0

    @property
    def difference(self) -> float:
        """The gain itself."""
        return self.value - self.logged


class CrossValidation:
    """A log dealt to folds, and a way to learn from parts of it.

    ``measured`` are the measurements behind the states (None: states are labels).
    """

    def __init__(
        self,
        log: Transitions,
        evidence: Evidence,
        folds: Sequence[Fold],
        measured: Measurements | None,
        learn: Learner,
        handle_unknown: str,
        random_state: int | np.random.RandomState | None,
    ) -> None:
        self._random_state = random_state
        self.log, self.folds, self.measured = log, folds, measured
        self.evidence, self._learn, self._handle_unknown = evidence, learn, handle_unknown
        self.cut_share = log.cut_share if measured is None else measured.cut_share
        counts, discounts, sums = evidence.counts, None, log.sums
        self.prior_strength = choose_prior_strength(counts)
        if counts.discount_sums is not None:
            assert evidence.discounting is not None
            discounts = weighted_discounts(log, evidence.discounting)
            sums = sums_in_time(log, evidence.discounting)
        triple = counts.find_triples(log.state_codes, log.action_codes, log.next_codes)
        self._rows = CountedRows(counts, triple, log.weights, log.rewards, discounts, sums)

    @property
    def times_held_out(self) -> float:
        """How often the folds hold out an episode that they hold out at all."""
        held_out = [fold.held_out.episodes for fold in self.folds]
        n_episodes = sum(len(episodes) for episodes in held_out)
        return n_episodes / len(np.unique(np.concatenate(held_out)))

    def rows_of(self, part: Part) -> CountedRows:
        """Return the rows of some episodes as they are judged on: no gamma discounts them."""
        counts = replace(
            self._rows.counts,
            discount_sums=None,
            reward_squares=None,
            discount_squares=None,
            reward_discounts=None,
        )
        return replace(self._rows, counts=counts, discounts=None).part(part.rows)

    @one_blas_thread()
    def score(self, settings: Sequence[Setting]) -> Floats:
        """Judge every setting on every fold, (n_settings, n_folds).

        A setting whose process has a loop without end when a fold is left out has no score there,
        NaN.
        """
        scores = np.full((len(settings), len(self.folds)), np.nan)
        last: dict[Setting, Floats] = {}
        failed = None
        for j, fold in enumerate(self.folds):
            evidence, held_out = self._without(fold.left_out), HeldOut(self, fold.held_out)
            learn = self._learner(evidence, last)
            found: dict[bytes, float] = {}  # settings mostly agree
            for i, setting in enumerate(settings):
                try:
                    policy = learn(setting)
                except EndlessLoopError as error:
                    failed = error
                    continue
                advised = self._advice(policy)
                key = advised.tobytes()
                if key not in found:
                    found[key] = held_out.score(advised)
                scores[i, j] = found[key]
        if failed is not None and np.isnan(scores).any(axis=1).all():
            raise failed
        return scores

    def _learner(
        self, evidence: Evidence, last: dict[Setting, Floats]
    ) -> Callable[[Setting], Policy]:
        """Return what learns by a setting, once by all of those under which the process is one.

        ``last`` are the values that were found last by each setting, and are kept up to date.
        """
        learned: dict[tuple[float, bytes], Policy] = {}

        def learn(setting: Setting) -> Policy:
            # Where these are the same, so they are without what is forbidden.
            may_be = admissible_pairs(evidence.counts, setting.min_count)
            key = setting.prior_strength, may_be.tobytes()
            if key not in learned:
                learned[key] = self._learn(evidence, setting, last.get(setting))
            last[setting] = learned[key].state_values
            return learned[key]

        return learn

    def _without(self, part: Part) -> Evidence:
        """Return the evidence of all other episodes."""
        evidence = self.evidence
        counts = self._rows.without(part.rows)
        return replace(
            evidence,
            counts=counts,
            start_weights=evidence.start_weights - part.starts(self.log),
            n_transitions=int(counts.n_rows.sum()),
        )

    def _advice(self, policy: Policy) -> Codes:
        """Return what a policy answers in every state of the whole log, (n_states,)."""
        if self._handle_unknown != "nearest":
            return policy.action_codes
        counts = policy.counts
        known = np.zeros(counts.n_states + 1, dtype=bool)
        known[counts.pair_state] = known[counts.next_states] = True
        unknown = np.flatnonzero(~known[:-1])
        if not len(unknown):
            return policy.action_codes
        advice = policy.action_codes.copy()
        advice[unknown] = policy.action_codes[
            policy.nearest_states(policy.evidence.states.as_columns(), unknown)
        ]
        return advice

    @one_blas_thread()
    def gain(self, settings: Sequence[Setting]) -> Gain:
        """Return what is gained by choosing and learning, on episodes that come after.

        The policy that is judged on a part of the log is learned from the parts before it, by the
        setting that is chosen on these. So what is judged is never held to what it was made of, and
        the errors of the parts add up as those of a martingale do. (To judge each fold by what the
        others teach would not do: one action that is lucky in the whole log wins in all folds, and
        their mean is its luck.) Measurements need many rows to be told apart, so where these judge,
        there is one part, of all episodes that were not learned from.
        """
        tried = np.zeros((len(settings), 0))
        last: dict[Setting, Floats] = {}
        gains = []
        steps = self._steps()
        for k, (learned_from, judged_on, counts) in enumerate(steps):
            evidence, held_out = self._only(learned_from), HeldOut(self, judged_on)
            is_last = k == len(steps) - 1
            advice = self._advice_of_best(evidence, settings, tried, last, only_one=is_last)
            if not advice:
                continue
            if counts:
                gain = held_out.gain(next(iter(advice.values())))
                gains.append(replace(gain, n_episodes=len(judged_on.episodes)))
            if len(settings) > 1 and not is_last:
                found = np.full(len(settings), np.nan)
                for i, advised in advice.items():
                    found[i] = held_out.score(advised)
                tried = np.column_stack([tried, np.nan_to_num(found, nan=np.nanmin(found))])
        return _mean_gain(gains)

    def _advice_of_best(
        self,
        evidence: Evidence,
        settings: Sequence[Setting],
        tried: Floats,
        last: dict[Setting, Floats],
        *,
        only_one: bool,
    ) -> dict[int, Codes]:
        """Return what settings advise in each state, (n_states,), those first that did best.

        Those that have a loop without end are left out, and all but the first if ``only_one``.
        """
        advice: dict[int, Codes] = {}
        learn = self._learner(evidence, last)
        to_ask = list(range(len(settings)))
        while to_ask and not (only_one and advice):
            i = to_ask.pop(choose(tried[to_ask], [settings[j] for j in to_ask]))
            try:
                advice[i] = self._advice(learn(settings[i]))
            except EndlessLoopError:
                continue
        return advice

    def _steps(self) -> list[tuple[Part, Part, bool]]:
        """Return what is learned from, what is judged on, and whether that counts, in order.

        The parts are dealt by lot, whatever the folds are: folds that somebody made alike would
        share their luck. The first part teaches too little, so what is learned from it alone only
        tells which setting to go on with.
        """
        n_parts = min(N_PARTS, int(np.count_nonzero(lots_of(self.log).lengths)))
        dealt = deal_episodes(self.log, n_parts, self._random_state)
        parts = [fold.held_out for fold in dealt]
        if len(parts) == 2:
            return [(parts[0], parts[1], True)]
        first = (parts[0], parts[1], False)
        if self.measured is not None:
            return [first, (joined(parts[:2]), joined(parts[2:]), True)]
        return [first, *((joined(parts[:k]), parts[k], True) for k in range(2, len(parts)))]

    def _only(self, part: Part) -> Evidence:
        """Return the evidence of some episodes."""
        counts = self._rows.part(part.rows).counts
        n_rows = int(counts.n_rows.sum())
        starts = part.starts(self.log)
        return replace(self.evidence, counts=counts, start_weights=starts, n_transitions=n_rows)

    @one_blas_thread()
    def gain_of(self, policy: Policy) -> Gain:
        """Return what a policy gains on all episodes, those included that it was learned from."""
        whole = Part.of(self.log, np.ones(len(lots_of(self.log).lengths), dtype=bool))
        gain = HeldOut(self, whole).gain(policy.action_codes, with_drift=True)
        return replace(gain, n_episodes=len(whole.episodes))


def _mean_gain(gains: Sequence[Gain]) -> Gain:
    """Return the mean of gains whose errors are those of a martingale, NaN of none."""
    if not gains:
        return Gain(np.nan, np.nan, np.nan, np.nan)
    mean = Gain(*np.mean([astuple(one) for one in gains], axis=0).tolist())
    error = np.sqrt(np.mean([one.error**2 for one in gains]) / len(gains))
    return replace(mean, error=float(error), n_episodes=sum(one.n_episodes for one in gains))


class HeldOut:
    """Some episodes of a log, which policies that were learned from the others are judged on."""

    def __init__(self, cv: CrossValidation, part: Part) -> None:
        self._cv, self._part = cv, part
        self._rows = cv.rows_of(part)

    def score(self, advice: Codes) -> float:
        """Return the score of a policy that answers so in each state, (n_states,).

        Without rewards, the share of rows where it agrees with the logged action.
        """
        cv, part = self._cv, self._part
        if cv.log.rewards is None:
            agrees = advice[cv.log.state_codes[part.rows]] == cv.log.action_codes[part.rows]
            return float(np.average(agrees, weights=self._rows.weights))
        starts, choice = part.starts(cv.log), choice_of_actions(self._rows.counts, advice)
        own = sum(
            share
            * direct_value(
                way.counts,
                choice,
                starts / starts.sum(),
                prior_strength=way.prior_strength,
                horizon=way.horizon,
            )
            for share, way in self._ways
        )
        if cv.measured is None:
            return own
        return set_beside_measurements(own, cv.measured, advice, cv.log, part).value

    def gain(self, advice: Codes, *, with_drift: bool = False) -> Gain:
        """Return what a policy earns beyond what was logged, as ``evaluate_policy`` tells it."""
        cv = self._cv
        if cv.log.rewards is None:
            return Gain(np.nan, np.nan, np.nan, np.nan)
        if cv.measured is not None:
            return self._gain_on(cv.measured, advice, with_drift=with_drift)
        choice = choice_of_actions(self._rows.counts, advice)
        one, other = Candidate(self._replay, choice), Candidate(self._replay, None)
        error, drift = np.nan, 0.0
        if cv.log.weights is None or self._amounts is not None:
            error = direct_error(one, other, len(self._part.episodes))
            drift = one.part_of_drift(other, "dm") if with_drift else 0.0
        values = one.estimate.value, other.estimate.value
        return Gain(*values, error, one.estimate.thin, drift=drift)

    def _gain_on(self, measured: Measurements, advice: Codes, *, with_drift: bool) -> Gain:
        """Return the gain on what was measured."""
        log, part = self._cv.log, self._part
        asked = fitted_q(measured, part=part)
        estimate = estimate_on_measurements(asked, measured, advice, log, part)
        assert log.rewards is not None
        mean_return = np.nan
        if measured.cut_share == 0:
            mean_return = float(log.rewards[part.rows].sum() / len(part.episodes))
        return Gain(
            value=estimate.value,
            logged=asked.logged.value,
            error=estimate.error(asked.logged),
            unsupported=estimate.unsupported_share,
            cost=estimate.unsupported_decisions * float(asked.log.rewards.std()),
            logged_error=asked.logged.standard_error,
            mean_return=mean_return,
            drift=asked.part_of_drift(estimate, asked.logged) if with_drift else 0.0,
        )

    @property
    def _amounts(self) -> RowSums | None:
        """What tells rewards and numbers of rows in place of those of each entry, if anything."""
        sums = self._rows.sums
        return None if sums is None or sums.amounts is None else sums

    @cached_property
    def _ways(self) -> list[tuple[float, Replay]]:
        """The ways in which policies are followed, each with the share of cases it is for."""
        return [(1.0, self._replay)] if self._replay.in_time is None else self._replay.ways()

    @cached_property
    def _replay(self) -> Replay:
        cv, part, log, rows = self._cv, self._part, self._cv.log, self._rows
        in_time = in_time_of(log, cv.cut_share)
        gamma, durations = discount_of(log, 1.0)  # the score is undiscounted
        lots = lots_of(log)
        assert rows.rewards is not None
        lengths, position = lots.lengths[part.episodes], part.rows
        triple, rewards, n_rows = rows.triple, rows.rewards, rows.weights
        if self._amounts is not None:
            entry, rewards, n_rows, lengths = self._amounts.spread(lengths)
            triple, position = triple[entry], position[entry]
        return Replay.of_rows(
            rows.counts,
            triple,
            rewards,
            None,
            longest=log.longest,
            cut_share=cv.cut_share,
            horizon=None,
            start_codes=log.start_codes[part.firsts],
            start_weights=None if log.start_weights is None else log.start_weights[part.firsts],
            start_lengths=lots.start_lengths[part.episodes],
            lengths=lengths,
            n_rows=n_rows,
            gamma=gamma,
            durations=None if durations is None else durations[position],
            prior_strength=min(cv.prior_strength, STRONGEST_OF_ESTIMATES),
            in_time=None if in_time is None else in_time.part(position),
            steps=steps_of(log, rows.counts) if len(lengths) == len(lots.lengths) else None,
            step=None if log.step is None else log.step[position],
        )

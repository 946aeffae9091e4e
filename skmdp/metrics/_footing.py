"""A log in the states that policies are judged in, and what they would choose among its pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from skmdp._estimation.counts import TransitionCounts
from skmdp._estimation.prior_strength import STRONGEST_OF_ESTIMATES, choose_prior_strength
from skmdp._evaluation.direct import choice_of_actions
from skmdp._evaluation.replay import Replay
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence, gather
from skmdp._log.labels import UNKNOWN
from skmdp._trust import discount_of, in_time_of, steps_of
from skmdp._typing import Array, Floats, Integers
from skmdp.metrics._stated import refuse_false_propensities

# Of a log in memory each row stands for itself.
_Spread = tuple[Integers | slice, Floats, Floats | None, Integers | None]


def _spread(log: Transitions) -> _Spread:
    """Return what stands for a log's entries: which, rewards, numbers of rows, and those of lots.

    In memory, where each stands for itself, and episodes for lots.
    """
    assert log.rewards is not None
    if log.sums is None:
        return slice(None), log.rewards, None, log.episode_lengths
    lengths = np.array([len(log.rewards)]) if log.lots is None else log.lots.lengths
    entry, rewards, n_rows, lengths = log.sums.spread(lengths)
    return entry, rewards, n_rows, None if log.lots is None else lengths


@dataclass(frozen=True, eq=False)
class Footing:
    """A log in some states, in which policies are judged.

    ``entry`` says which of the log's entries each of the replay's stands for.
    """

    log: Transitions
    evidence: Evidence
    replay: Replay
    entry: Integers | slice

    @classmethod
    def of_log(
        cls,
        log: Transitions,
        *,
        gamma: float,
        horizon: int | None,
        prior_strength: float | str,
        cut_share: float,
        behavior: Any,
    ) -> Footing:
        """Make a log ready to be asked about policies, as the parameters of ``judge`` say."""
        evidence = gather(log)
        counts, kappa = evidence.counts, prior_strength
        if isinstance(kappa, str):
            chosen = choose_prior_strength(counts)
            kappa = min(chosen, STRONGEST_OF_ESTIMATES) if kappa == "capped" else chosen
        in_time = None if horizon is not None else in_time_of(log, cut_share)
        gamma, durations = discount_of(log, gamma)
        triple = counts.find_triples(log.state_codes, log.action_codes, log.next_codes)
        refuse_false_propensities(log, counts, triple, behavior)
        entry, rewards, n_rows, lengths = _spread(log)
        replay = Replay.of_rows(
            counts,
            triple[entry],
            rewards,
            log.propensities,
            start_codes=log.start_codes,
            n_rows=n_rows,
            start_weights=log.start_weights,
            start_lengths=None if log.lots is None else log.lots.start_lengths,
            lengths=lengths,
            longest=log.longest,
            cut_share=cut_share,
            durations=None if durations is None else durations[entry],
            in_time=None if in_time is None else in_time.part(entry),
            horizon=horizon,
            gamma=gamma,
            prior_strength=float(kappa),
            steps=steps_of(log, counts),
            step=log.step,
        )
        return cls(log, evidence, replay, entry)

    @cached_property
    def acted(self) -> Integers:
        """States in which the log acts."""
        return np.flatnonzero(np.bincount(self.log.state_codes))

    @cached_property
    def table(self) -> pd.DataFrame:
        """These states as a table, whose columns are called as the log's."""
        parts = self.log.states.parts(self.acted)
        return pd.DataFrame(dict(zip(self.log.states.names, parts, strict=True)))


def choice_of_states(counts: TransitionCounts, states: Integers, answers: Array) -> Floats:
    """Return pi(a|s) of every logged pair, (n_pairs,), for the answers in some states."""
    if answers.ndim == 1:
        actions = np.full(counts.n_states, UNKNOWN, dtype=np.int32)
        actions[states] = answers
        return choice_of_actions(counts, actions)
    probabilities = np.zeros((counts.n_states, counts.n_actions))
    probabilities[states] = answers
    return np.asarray(probabilities[counts.pair_state, counts.pair_action])

"""A log in the states that policies are judged in, and what they would choose among its pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from skmdp._estimation.counts import TransitionCounts
from skmdp._evaluation.direct import choice_of_actions
from skmdp._evaluation.replay import Replay
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence
from skmdp._log.labels import UNKNOWN
from skmdp._typing import Array, Floats, Integers


@dataclass(frozen=True, eq=False)
class Footing:
    """A log in some states, in which policies are judged.

    ``entry`` says which of the log's entries each of the replay's stands for.
    """

    log: Transitions
    evidence: Evidence
    replay: Replay
    entry: Integers | slice

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

"""Records that were cut off, where decisions take time: a policy is followed for a time.

An episode that was cut off shows the reward of so much time as its record takes, not of so many
decisions: a policy that decides more often gets more of them done. So of the value in a log of
which a share c was cut off, the share c is the reward within a time that is drawn from the
exponential distribution with mean T, the time of the longest record. That is the total reward where
each row of duration d goes on with probability exp(-d / T), and stops otherwise:

    value = mu0 . ((1 - c) V_{10 L} + c V),  V = R + P_T V,  P_T(s'|s) the mean of exp(-d / T)

Where all rows take equally long, time and number of decisions say the same, and the plain horizon
is kept. T belongs to the question, as c does: standard errors take it for known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmdp._evaluation.horizon import Horizon
from skmdp._typing import Floats, Integers

# Share of a policy's time that may be left out, by following it for a number of decisions only.
LEFT_OUT = 1e-10
# Decisions that are followed at most, which bounds memory; a record of as many is unheard of.
MOST_DECISIONS = 2**20


@dataclass(frozen=True, eq=False)
class InTime:
    """How cut records are followed: for the mean time T, in the share c of the cases.

    ``going_on`` (n_rows,) is exp(-d / T) of each row.
    """

    going_on: Floats
    mean_time: float
    cut_share: float

    @classmethod
    def of_durations(cls, durations: Floats, longest_time: float, cut_share: float) -> InTime:
        """Follow a policy for the time of the longest record where records were cut off."""
        return cls(np.exp(-durations / longest_time), longest_time, cut_share)

    def part(self, rows: Integers | slice) -> InTime:
        """Return how a part of the log is followed, its rows given by position."""
        return replace(self, going_on=self.going_on[rows])

    def parts(self, longest: int) -> list[tuple[float, bool, Horizon]]:
        """Return share, whether time is counted, and horizon of the ways to follow a policy."""
        mass = float(self.going_on.max())
        steps = MOST_DECISIONS
        if mass**steps < LEFT_OUT:
            steps = int(np.ceil(np.log(LEFT_OUT) / np.log(mass)))
        ways = [
            (1 - self.cut_share, False, Horizon.of_log(longest, 0.0)),
            (self.cut_share, True, Horizon.of_log(longest, 0.0, steps)),
        ]
        return [way for way in ways if way[0] > 0]

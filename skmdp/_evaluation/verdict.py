"""What may be claimed of a policy, given an interval of its difference to the logged one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Share of a policy's decisions that the log tells too little of, from which on nothing is claimed.
MOST_UNKNOWN = 0.10
# From so many episodes on, the spread between them gives the standard error, below, that of rows:
# fewer do not show how much they differ by what no column tells, so nothing is claimed.
ENOUGH_EPISODES = 20
# Share of the decisions of which it may be unknown how long they took.
MOST_LEFT_OUT = 0.01
# A difference below this, relative to the values, is one of rounding.
ROUNDING = 1e-9
# Standard errors by which an estimate of the logged policy may miss what its episodes earned.
CONTRADICTION = 4.0
# What is added where weights are why there is no interval.
WEIGHED = (
    ", as sample_weight does not tell how much the episodes behind a weight differ. Fit without it "
    "to see one; where a weight counts episodes that are alike, write each out as an episode of "
    "its own"
)


@dataclass(frozen=True)
class Verdict:
    """An estimate of a policy beside that of the logged one, and the reasons to doubt it.

    ``lower`` and ``upper`` are the ends of the interval of the difference. ``unknown_share`` is the
    share of the policy's decisions of which the log does not tell enough, ``cost`` what these may
    cost (0: unknown). ``mean_return`` is what the logged episodes earned, where ``logged`` should
    say the same (NaN: it answers another question), ``logged_error`` the error of the latter.
    ``unknown_time_share`` is the share of the decisions that are left out since nobody knows how
    long they took. ``drift`` is how much of the difference may be due to rewards that changed over
    time (NaN: that is not known). ``n_episodes`` is how many there are (None: unknown, or the error
    allows for few). ``lacks_episodes`` tells whether rows lead on to others, but not known is which
    belong together: then errors are those of rows, too small where those of an episode are alike.
    ``leads_astray`` tells whether what is given as next states is none, or not that of the next
    rows, ``holds_copies`` whether episodes are there several times, ``is_weighted`` whether weights
    make of rows what shows no chance, so that there is no interval.
    """

    value: float
    logged: float
    lower: float
    upper: float
    unknown_share: float
    cost: float = 0.0
    logged_error: float = np.nan
    mean_return: float = np.nan
    unknown_time_share: float = 0.0
    drift: float = 0.0
    n_episodes: int | None = None
    lacks_episodes: bool = False
    leads_astray: bool = False
    holds_copies: bool = False
    is_weighted: bool = False

    @property
    def _rounding(self) -> float:
        return float(ROUNDING * max(abs(self.value), abs(self.logged)))

    @property
    def contradicts_the_log(self) -> bool:
        """Whether the estimate of the logged policy is not what its episodes show."""
        apart = abs(self.logged - self.mean_return)
        error = max(self.logged_error, self._rounding)
        return bool(apart > CONTRADICTION * error)

    @property
    def _doubted(self) -> float:
        """How much of the difference proves nothing."""
        return self.cost + float(np.nan_to_num(self.drift, posinf=np.inf))

    @property
    def _has_few_episodes(self) -> bool:
        return self.n_episodes is not None and self.n_episodes < ENOUGH_EPISODES

    @property
    def is_better(self) -> bool:
        """Whether the policy is shown to earn more than the logged one."""
        is_supported = self.unknown_share < MOST_UNKNOWN and not self.contradicts_the_log
        is_whole = self.unknown_time_share <= MOST_LEFT_OUT
        is_whole = is_whole and not (self._has_few_episodes or self.lacks_episodes)
        is_whole = is_whole and not (self.leads_astray or self.holds_copies)
        doubted = max(self._doubted, self._rounding)
        return bool(self.lower > doubted and is_supported and is_whole)

    def sentence(self, by: str) -> str:
        """Say what may be concluded; ``by`` tells how the interval came about."""
        reason = self._doubt()
        if reason is not None:
            return f"Whether it is better than the logged policy cannot be told: {reason}."
        if np.isnan(self.drift):
            by = f"{by}; drift over time not looked for"
        ends = (self.lower, self.upper)
        lower, upper = (0.0 if abs(end) <= self._rounding else end for end in ends)
        if lower > 0:
            return f"Better than the logged policy, by {lower:.4g} to {upper:.4g} ({by})."
        if upper < 0:
            return f"Worse than the logged policy, by {-upper:.4g} to {-lower:.4g} ({by})."
        return (
            "Not shown to be better than the logged policy: the difference is between "
            f"{lower:.4g} and {upper:.4g} ({by})."
        )

    def _doubt(self) -> str | None:
        """Return what stands in the way of a conclusion, None if nothing does."""
        if not np.isfinite([self.lower, self.upper]).all():
            return "no interval" + (WEIGHED if self.is_weighted else "")
        if self.leads_astray:
            return (
                "what is given as next states is not the state of the next row, as where columns "
                "are swapped, rows out of order, or next states missing"
            )
        if self._has_few_episodes:
            return (
                f"{self.n_episodes} episodes are too few to judge on, at least {ENOUGH_EPISODES} "
                "are needed"
            )
        if self.unknown_time_share > MOST_LEFT_OUT:
            return (
                f"it is not known how long {self.unknown_time_share:.0%} of the decisions took, "
                "mostly long ones"
            )
        if self.contradicts_the_log:
            return (
                f"of that, fqe says {self.logged:.4g}, but its episodes earned "
                f"{self.mean_return:.4g}"
            )
        if self.unknown_share >= MOST_UNKNOWN:
            return f"the log has too little on {self.unknown_share:.0%} of its decisions"
        reasons = self._reasons() if self.lower > self._rounding else []
        if reasons:
            return f"the difference is {self.lower:.4g} at least, but {'; '.join(reasons)}"
        return None

    def _reasons(self) -> list[str]:
        """Return why a difference that is above chance may be none."""
        reasons = []
        if self.lower <= self._doubted:
            if self.cost > 0:
                reasons.append(f"decisions that the log hardly ever takes may cost {self.cost:.4g}")
            if np.isinf(self.drift):
                reasons.append(
                    "its actions and the others were logged at different times (if the order of "
                    "rows is not that of time, sort them by time, or name dates with step=...)"
                )
            elif self.drift > 0:
                reasons.append(
                    "rewards or transitions may change over time, and its actions were logged more "
                    f"often when times were good, which may account for {self.drift:.4g}"
                )
        if self.holds_copies:
            reasons.append(
                "episodes seem to be there several times under different names, so that chance is "
                "larger than it looks"
            )
        if self.lacks_episodes:
            reasons.append(
                "it is not known which rows belong to one episode, in order, without which chance "
                "may be larger than it looks"
            )
        return reasons

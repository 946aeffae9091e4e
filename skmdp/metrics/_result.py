"""What is reported of a policy that was evaluated."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

import numpy as np
import pandas as pd

from skmdp._evaluation.verdict import Verdict
from skmdp._messages import quoted
from skmdp._typing import Names


@dataclass(frozen=True, eq=False, repr=False)
class PolicyEvaluation:
    """Estimates of the reward of a policy, one for each method.

    Parameters
    ----------
    table : pandas.DataFrame
        What ``to_frame`` returns.
    behavior_value : float
        Reward per episode of the logged policy: by ``"fqe"`` if that was asked for, else by the
        direct method, which gives the mean return of the log where no episode is cut off.
    behavior_standard_error : float
        Its standard error.
    mean_return : float
        Mean return of the logged episodes; NaN without episodes, and where only some of them were
        cut off, or not all at the horizon, so that returns answer another question.
    n_episodes : int or None
        Number of episodes; None for a log without them.
    lacks_episodes : bool
        Whether rows lead on to others, but the log does not tell which belong to one episode (a
        lazy table needs a column of steps for that, too), or each row is an episode of its own that
        goes on in the next row. Then errors are those of rows, which are too small where the rows
        of an episode are alike, and nothing is called better.
    leads_astray : bool
        Whether what the log gives as next states seems to be none, as where the columns of state
        and action are swapped, or hardly agrees with the states of the next rows, as where rows
        are out of order; a warning tells what shows it. Then nothing is called better.
    holds_copies : bool
        Whether episodes seem to be there several times under different names, as a warning tells.
        Then errors are too small, and nothing is called better.
    zero_weight_share : float
        Share of the episodes in which the policy would not have decided as was logged at some
        step, so that importance methods do not use them. NaN where none was asked for.
    untried_share : float
        Share of the policy's decisions for which the log has no row of the action in the state.
        NaN, as the next one, for ``"fqe"`` alone.
    thin_share : float
        Share of the policy's decisions for which the log has fewer than five rows, the untried
        ones included. Where it is not small, intervals are too narrow, because so few rows do not
        show how much outcomes vary.
    unsupported_share : float
        Share of the policy's decisions that the log takes less than 1 time in 20 where the policy
        takes them. Their outcome is not known, and the intervals do not show that. NaN, as the next
        one, without ``"fqe"``.
    unsupported_cost : float
        What these decisions may cost, in an episode: one standard deviation of the rewards for each
        of them. NaN without ``"fqe"``.
    effective_rows : float
        Number of rows that would tell as much of the policy, were they all drawn upon alike.
    relevant_columns : tuple or None
        Columns that were found to matter for rewards and ends, on which ``"fqe"`` rests; None
        without it.
    outlasting_share : float or None
        Share of the policy's episodes longer than any logged one; None without episodes, or for a
        horizon that is shorter than the longest of them.
    horizon : int
        Number of steps for which the policy is followed at most: those to the end, unless all
        episodes are cut off or a number was asked for.
    cut_share : float
        Share c of the episodes that were cut off, 0 without episodes. Unless a horizon was asked
        for, so much of the direct estimate is the reward over the steps of the longest episode,
        the rest that to the end.
    unknown_time_share : float
        Share of the decisions that are left out because their record breaks off before they were
        over, where decisions take different times; else 0. More of the long ones are among them.
    drift_gain : float
        How much of the difference to the logged policy may be due to changes over time of what rows
        were paid or led to, be it over the episodes, in the order in which ``X`` holds them or in
        that of their first steps (of dates, in the latter alone), or over their steps: an action
        that was logged more often in good times looks better than it is. Next to 0 where actions
        were taken as often early as late; infinite where its actions were logged at other times
        than the others; NaN where rows lead on and episodes are unknown, and for decisions of a
        lazy table without them. The episodes of one, which are only known with steps, are in the
        order of their first steps, then in that of their labels.
    horizon_time : float or None
        Where decisions take time and episodes were cut off: the time T of the longest of them, the
        mean of the times for which the policy is followed in the share c of the cases. None where
        decisions are counted instead.
    duration_unit : str or None
        Unit of durations, and so of that time and of ``gamma``; None for plain numbers, and without
        durations.
    gamma : float
        Discount.
    prior_strength : float
        Shrinkage used by the direct method.
    confidence_level : float
        Of all intervals.

    Examples
    --------
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.metrics import evaluate_policy
    >>> log = make_search_log(500, length=4, random_state=0)
    >>> result = evaluate_policy("behavior", log, methods="dm")
    >>> bool(abs(result.behavior_value - log["reward"].sum() / 500) < 1e-6)
    True
    """

    table: InitVar[pd.DataFrame]
    behavior_value: float
    behavior_standard_error: float
    mean_return: float
    n_episodes: int | None
    lacks_episodes: bool
    leads_astray: bool
    holds_copies: bool
    zero_weight_share: float
    untried_share: float
    thin_share: float
    unsupported_share: float
    unsupported_cost: float
    effective_rows: float
    relevant_columns: Names | None
    outlasting_share: float | None
    horizon: int
    cut_share: float
    unknown_time_share: float
    drift_gain: float
    horizon_time: float | None
    duration_unit: str | None
    gamma: float
    prior_strength: float
    confidence_level: float
    _table: pd.DataFrame = field(init=False)

    def __post_init__(self, table: pd.DataFrame) -> None:
        object.__setattr__(self, "_table", table)

    def __repr__(self) -> str:
        shown = ["method", "value", "lower", "upper", "difference_lower", "difference_upper"]
        support = [
            (self.untried_share, "untried"),
            (self.thin_share, "with fewer than 5 rows"),
            (self.unsupported_share, "hardly ever taken in the log"),
        ]
        told = ", ".join(f"{share:.1%} {what}" for share, what in support if share == share)
        looked_at = ""
        if self.relevant_columns is not None:
            looked_at = f"fqe looks at column(s) {quoted(self.relevant_columns)}.\n"
        return (
            f"{self.to_frame()[shown].to_string(index=False, float_format='{:.4g}'.format)}\n"
            f"Logged policy: {self.behavior_value:.4g} (+- {self.behavior_standard_error:.2g}); "
            f"{self.n_episodes} episodes; of the decisions {told}.\n"
            f"{looked_at}{self._told_time()}"
            f"{self.conclusion}"
        )

    def _told_time(self) -> str:
        """Say in which unit time counts, nothing where it does not."""
        told = ""
        if self.horizon_time is not None:
            unit = "units of duration" if self.duration_unit is None else f"{self.duration_unit}s"
            told = (
                f"Where records were cut off, followed for {self.horizon_time:.4g} {unit} on "
                "average.\n"
            )
        if self.gamma < 1 and self.duration_unit is not None:
            told += f"Discounted by {self.gamma:g} per {self.duration_unit}.\n"
        return told

    @property
    def _judge(self) -> pd.Series:
        """The method that decides: on measurements fqe, in states dm, else the first."""
        by_method = self._table.set_index("method")
        first = next(name for name in ("fqe", "dm", by_method.index[0]) if name in by_method.index)
        return by_method.loc[first]

    @property
    def _verdict(self) -> Verdict:
        """What the method that decides allows to claim."""
        row = self._judge
        on_measurements = row.name == "fqe"
        return Verdict(
            value=row["value"],
            logged=row["behavior_value"],
            lower=row["difference_lower"],
            upper=row["difference_upper"],
            unknown_share=self.unsupported_share if on_measurements else self.thin_share,
            cost=self.unsupported_cost if on_measurements else 0.0,
            logged_error=row["behavior_standard_error"],
            mean_return=self.mean_return if on_measurements else np.nan,
            unknown_time_share=self.unknown_time_share,
            drift=self.drift_gain,
            n_episodes=self.n_episodes,
            lacks_episodes=self.lacks_episodes,
            leads_astray=self.leads_astray,
            holds_copies=self.holds_copies,
        )

    @property
    def is_better(self) -> bool:
        """Whether the policy earns more than the logged one, as far as the log can tell.

        True if the interval of the difference lies above 0 by more than ``drift_gain`` (for
        ``"fqe"`` that and ``unsupported_cost``), and less than 10 % of the policy's decisions lack
        support: for ``"fqe"`` those that the log hardly ever takes, for the other methods those
        with fewer than five rows. False otherwise, also where nothing is known, below 20 episodes,
        if the log ``lacks_episodes``, ``leads_astray`` or ``holds_copies``, or where it is not
        known how long more than 1 % of the decisions took. The interval is that of ``"fqe"`` if it
        was asked for, else that of ``"dm"``, else that of the first method.
        """
        return self._verdict.is_better

    @property
    def contradicts_the_log(self) -> bool:
        """Whether the ``"fqe"`` value of the logged policy contradicts its episodes.

        True if its value lies further from ``mean_return`` than four standard errors: then the
        columns that it looks at do not tell what follows, as where one of them is known only after
        the decision. False where the mean return answers another question.
        """
        return self._verdict.contradicts_the_log

    @property
    def conclusion(self) -> str:
        """What may be concluded, in a sentence."""
        return self._verdict.sentence(
            f"by {self._judge.name}, {self.confidence_level:.0%}, chance alone"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the estimates as a table.

        Returns
        -------
        table : pandas.DataFrame
            One row per method: ``method``, ``value``, ``standard_error``, ``lower``, ``upper``,
            ``effective_sample_size`` (NaN for ``"dm"`` and ``"fqe"``); ``difference`` to the logged
            policy with ``difference_standard_error``, ``difference_lower`` and
            ``difference_upper``; ``n_episodes``, ``zero_weight_share``, ``untried_share``,
            ``thin_share``, ``unsupported_share``, ``effective_rows`` and ``drift_gain``, which all
            methods share; the logged policy by the same method (``behavior_value``,
            ``behavior_standard_error``).

        Examples
        --------
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.metrics import evaluate_policy
        >>> result = evaluate_policy("behavior", load_climb(), methods="dm")
        >>> result.to_frame()[["method", "value", "difference"]].round(3)
          method  value  difference
        0     dm  0.736         0.0
        """
        return self._table.copy()

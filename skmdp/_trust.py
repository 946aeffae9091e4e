"""How far a policy may be trusted: its value on the measurements, and what the log does not show.

A score in states that lump what matters is far too high. Fitted Q evaluation looks at the
measurements themselves and does not see the states; so what it grows for a log is kept and serves
all policies that are judged on that log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any

import joblib

from skmdp._evaluation.fitted_q import FittedEstimate, FittedQ
from skmdp._evaluation.horizon import Horizon
from skmdp._evaluation.raw import RawLog
from skmdp._log.raw import Measurements

# Logs are kept while they have no more rows than this together: those of the folds of a search.
MOST_ROWS_KEPT = 500_000


class _Kept:
    """What was made ready for the logs that were judged on last, by their content."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, FittedQ] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str, make: Callable[[], FittedQ]) -> FittedQ:
        """Return what is kept under a key, else make it and keep it."""
        with self._lock:
            found = self._made.pop(key, None)
        if found is None:
            found = make()
        with self._lock:
            self._made[key] = found
            while self._n_rows() > MOST_ROWS_KEPT and len(self._made) > 1:
                self._made.popitem(last=False)
        return found

    def _n_rows(self) -> int:
        return sum(len(one.log.rewards) for one in self._made.values())


_KEPT = _Kept()


def fitted_q(
    measured: Measurements,
    *,
    horizon: int | None = None,
    gamma: float = 1.0,
    regressor: Any = None,
) -> FittedQ:
    """Return a log made ready to be asked about policies, over its horizon."""
    log = measured.raw_log()
    grown = joblib.hash((log, regressor))
    asked = (horizon, gamma, measured.log.longest, measured.cut_share)

    def grow() -> FittedQ:
        return FittedQ.of_log(log, longest=None, cut_share=0.0, regressor=regressor)

    def over_the_horizon() -> FittedQ:
        horizon_of_log = Horizon.of_log(measured.log.longest, measured.cut_share, horizon)
        return replace(
            _KEPT.get(grown, grow),
            horizon=horizon_of_log,
            longest=measured.log.longest,
            gamma=gamma,
        )

    return _KEPT.get(f"{grown} {asked}", over_the_horizon)


def trusted_score(score: float, estimate: FittedEstimate, log: RawLog) -> float:
    """Return the score of a policy in its own states, so far as the measurements bear it out.

    That is the smaller of the two values, less one standard deviation of the rewards for each
    decision that the log hardly ever takes: nobody knows what these bring.
    """
    unknown = estimate.unsupported_decisions * log.rewards.std()
    return float(min(score, estimate.value) - unknown)

"""How far a policy may be trusted: its value on the measurements, and what the log does not show.

A score in states that lump what matters is far too high. Fitted Q evaluation looks at the
measurements themselves and does not see the states; so what it grows for a log is kept and serves
all policies that are judged on that log.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import joblib
import numpy as np

from skmdp._estimation.counts import TransitionCounts
from skmdp._evaluation.drift import Starts, Steps
from skmdp._evaluation.fitted_estimate import FittedEstimate
from skmdp._evaluation.fitted_q import FittedQ
from skmdp._evaluation.horizon import Horizon
from skmdp._evaluation.in_time import InTime
from skmdp._evaluation.support import Propensities
from skmdp._log.episodes import Transitions
from skmdp._log.folds import Part
from skmdp._log.frames import as_table
from skmdp._log.labels import UNKNOWN
from skmdp._log.lots import CellSums, StepSums
from skmdp._log.raw import CLUSTERS, MEASURED, Measurements, measured_names, read_measurements
from skmdp._log.roles import Roles
from skmdp._typing import Codes, Floats, Name

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
    part: Part | None = None,
) -> FittedQ:
    """Return a log, or a part of it, made ready to be asked about policies, over its horizon.

    The horizon of a part is that of the whole log.
    """
    log, known = measured.raw_log(), measured.log.propensities
    if part is not None:
        log, known = log.part(part.rows, part.episodes), None if known is None else known[part.rows]
    grown = joblib.hash((log, regressor, known))
    in_time = None if horizon is not None else in_time_of(measured.log, measured.cut_share)
    gamma, durations = discount_of(measured.log, gamma)
    if part is not None:
        in_time = None if in_time is None else in_time.part(part.rows)
        durations = None if durations is None else durations[part.rows]
    timed = joblib.hash((durations, in_time))
    asked = (horizon, gamma, measured.log.longest, measured.cut_share, timed)

    def grow() -> FittedQ:
        return FittedQ.of_log(
            log, longest=None, cut_share=0.0, regressor=regressor, propensities=known
        )

    def over_the_horizon() -> FittedQ:
        horizon_of_log = Horizon.of_log(measured.log.longest, measured.cut_share, horizon)
        return replace(
            _KEPT.get(grown, grow),
            horizon=horizon_of_log,
            longest=measured.log.longest,
            gamma=gamma,
            durations=durations,
            in_time=in_time,
        )

    return _KEPT.get(f"{grown} {asked}", over_the_horizon)


def in_time_of(log: Transitions, cut_share: float) -> InTime | None:
    """Return how policies are followed for a time, None where they are for a number of decisions.

    ``cut_share`` is the share of the log's episodes that were cut off. Where all rows take equally
    long, a number of decisions says the same as a time.
    """
    if log.durations is None or cut_share == 0 or log.durations.are_equal:
        return None
    if log.longest_time is None:
        return None
    return InTime.of_durations(log.durations.numbers, log.longest_time, cut_share)


def steps_of(
    log: Transitions, counts: TransitionCounts
) -> tuple[Steps, tuple[Steps, Starts] | None] | None:
    """Return where in their episodes the rows of a log lie, by its triples.

    And at which steps, and those at which their episodes start, where steps count on from one
    episode to the next. None where the log tells it of each row, or does not.
    """
    if log.lots is None or log.lots.steps is None:
        return None

    def cells(of: CellSums) -> tuple[Any, ...]:
        pairs = of.state_codes, of.action_codes
        triples = counts.find_triples(*pairs, of.next_codes)
        return triples, counts.find_pairs(*pairs), of.moment, of.n_rows, of.rewards

    def steps(of: StepSums) -> Steps:
        return Steps.of_rewards(*cells(of), block=of.block, of_lots=of.of_lots)

    places, dates = log.lots.steps, log.lots.dates
    if dates is None:
        return steps(places), None
    by_step, by_start = dates
    return steps(places), (steps(by_step), Starts.of_rewards(*cells(by_start), lot=by_start.lot))


def discount_of(log: Transitions, gamma: float) -> tuple[float, Floats | None]:
    """Return the discount of a unit of time, and how many units the rows take, (n_rows,).

    Where all take equally long, that is the unit, and there is no need to tell rows apart (None).
    """
    if log.durations is None or not len(log.durations.numbers):
        return gamma, None
    if log.durations.are_equal:
        return float(gamma ** log.durations.numbers[0]), None
    if log.durations.are_extremes:  # nobody asked for times
        assert gamma == 1
        return gamma, None
    return gamma, log.durations.numbers


def read_behind(
    X: Any,
    roles: Roles,
    read: Mapping[Name, Name | None] | None = None,
    *,
    to_judge: bool = False,
) -> Measurements | None:
    """Read what was measured of the states of a log, None if nothing tells what was.

    That is what an encoder handed on of a table, or the columns that are ``read`` of it, and all
    others that have one of next states beside them. ``to_judge`` as in ``read_table``.
    """
    columns = as_table(X).columns
    found = _columns_behind(columns, roles, read or {})
    if not found:
        return None
    names = tuple(sorted(found, key=str))
    states, nexts = zip(*(found[name] for name in names), strict=True)
    given = not set(columns).isdisjoint(nexts)
    with warnings.catch_warnings():  # of a table that was read before
        warnings.simplefilter("ignore", UserWarning)
        return read_measurements(
            X,
            replace(roles, state=states, next_state=nexts if given else None),
            names=names,
            # What an encoder makes no state of is no state for the policy behind it.
            decisive=tuple(name for name in names if str(found[name][0]).startswith(MEASURED)),
            to_judge=to_judge,
        )


def _columns_behind(
    columns: Sequence[Any], roles: Roles, read: Mapping[Name, Name | None]
) -> dict[Name, tuple[Name, Name]]:
    """Return where each measurement and the next one stand, by the name of the measurement."""
    handed_on = {
        name: name.removeprefix(MEASURED)
        for name in columns
        if isinstance(name, str) and name.startswith(MEASURED)
    }
    if not (handed_on or read):
        return {}
    beside = set(measured_names(columns, roles)) - set(handed_on) - set(roles.state)
    found: dict[Name, tuple[Name, Name]] = {name: (name, f"next_{name}") for name in beside}
    if handed_on:
        found |= _passed_on(columns, roles, set(handed_on.values()))
    # Of those that are read, some are made by encoders only.
    found |= {
        name: (name, after or f"next_{name}") for name, after in read.items() if name in columns
    }
    return found | {own: (name, f"next_{name}") for name, own in handed_on.items()}


def _passed_on(
    columns: Sequence[Any], roles: Roles, encoded: Set[Name]
) -> dict[Name, tuple[Name, Name]]:
    """Return the columns of the state that passed an encoder as they were.

    Those it made go by the names of what they were made of, or are clusters.
    """
    nexts = roles.next_state or tuple(f"next_{name}" for name in roles.state)
    made = {*encoded, CLUSTERS}
    return {
        name: (name, after)
        for name, after in zip(roles.state, nexts, strict=True)
        if name in columns and name not in made
    }


def follow_advice(asked: FittedQ, following: Codes, starting: Codes) -> FittedEstimate:
    """Evaluate a policy that may advise what the log never does, UNKNOWN.

    There the log's own decisions stand in, and none of them counts as supported.
    """
    choices, known = [], []
    for advice, logged in (
        (following, asked.propensities.following),
        (starting, asked.propensities.starting),
    ):
        is_known = advice != UNKNOWN
        choice = np.zeros(logged.shape)
        choice[np.flatnonzero(is_known), advice[is_known]] = 1.0
        choices.append(np.where(is_known[:, np.newaxis], choice, logged))
        known.append(np.where(is_known[:, np.newaxis], logged, 0.0))
    if all((advice != UNKNOWN).all() for advice in (following, starting)):
        return asked.follow(following, starting)
    return replace(asked, propensities=Propensities(*known)).follow(*choices)


@dataclass(frozen=True, eq=False)
class Scored:
    """What a score is made of.

    ``own`` is the value of a policy in its own states, ``fitted`` what the measurements tell of it
    (None where states are labels), ``spread`` the standard deviation of the rewards. ``lacking`` is
    the share of the decisions that the log does not support.
    """

    own: float
    lacking: float
    fitted: FittedEstimate | None = None
    spread: float = 0.0

    @property
    def on_measurements(self) -> float:
        """Value on the measurements; of labels, which are all that was measured, in these."""
        return self.own if self.fitted is None else self.fitted.value

    @property
    def value(self) -> float:
        """The score: what a policy is worth as far as states and measurements bear it out.

        That is the smaller of the two values, less one standard deviation of the rewards for each
        decision that the log hardly ever takes: nobody knows what these bring.
        """
        if self.fitted is None:
            return self.own
        unknown = self.fitted.unsupported_decisions * self.spread
        return float(min(self.own, self.fitted.value) - unknown)

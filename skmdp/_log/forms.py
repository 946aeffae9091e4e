"""In which form a log comes: a table of named columns, or features with the actions beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.sparse import issparse

from skmdp._log.engines import Tell
from skmdp._log.episodes import Transitions
from skmdp._log.frames import Table, as_frame, as_lazy, is_lazy_error
from skmdp._log.labels import LabelColumn
from skmdp._log.lazy import read_lazy
from skmdp._log.reading import read_features, read_table
from skmdp._log.roles import Roles
from skmdp._log.taken import Times
from skmdp._messages import shown


def read_log(
    X: Any,
    y: Any,
    roles: Roles,
    *,
    reward: Any = None,
    episode: Any = None,
    duration: Any = None,
    sample_weight: Any = None,
    beside: Sequence[LabelColumn] = (),
    reader: str = "MarkovPolicyEstimator",
    duration_unit: str | None = None,
    may_count_nothing: bool = False,
    to_judge: bool = False,
    gamma: float | None = None,
    times: Times = "never",
    lot: tuple[int, ...] | None = None,
    tell: Tell | None = None,
) -> Transitions:
    """Read a log in the form that ``y`` decides: without it a table, with it features.

    ``beside`` are columns read before, put in the order of the transitions; ``reader`` is the name
    of the estimator that an error speaks of; ``duration_unit`` is that of durations which are
    times, None chooses one; ``may_count_nothing`` is for one batch of many; ``to_judge`` as in
    ``read_table``. Rows of a lazy table
    are added up while they are read: by ``gamma`` where they have durations, by these as ``times``
    says, and lot by lot where coefficients deal episodes to these; ``tell`` is told of its stages.
    """
    if as_lazy(X) is not None:
        if beside or any(part is not None for part in (y, reward, episode, duration)):
            raise is_lazy_error(X, "Features with actions beside them are rows in memory")
        return read_lazy(
            X,
            roles,
            sample_weight,
            gamma=gamma,
            times=times,
            lot=lot,
            duration_unit=duration_unit,
            may_count_nothing=may_count_nothing,
            tell=tell,
        )
    frame = as_frame(X)
    if y is None:
        handed = {"reward": reward, "episode": episode, "duration": duration}
        _require_a_table(X, frame, handed, reader)
        return read_table(
            X if frame is None else frame,
            roles,
            sample_weight,
            beside=beside,
            duration_unit=duration_unit,
            may_count_nothing=may_count_nothing,
            to_judge=to_judge,
        )
    if frame is not None and {roles.action, *roles.state} <= set(frame.columns):
        raise ValueError(
            "y was given, so every column of X would be a feature of the state, but X has the "
            f"action column {shown(roles.action)} itself. Hand in the table without y."
        )
    return read_features(
        X,
        y,
        reward,
        episode,
        sample_weight,
        duration=duration,
        beside=beside,
        duration_unit=duration_unit,
        may_count_nothing=may_count_nothing,
        to_judge=to_judge,
    )


def _require_a_table(X: Any, frame: Table | None, handed: Mapping[str, Any], reader: str) -> None:
    """Raise unless a log without actions beside it is a table that holds all of them."""
    is_array = isinstance(X, list | tuple) or hasattr(X, "__array__") or issparse(X)
    if frame is None and is_array:
        raise ValueError(
            f"This {reader} estimator requires y to be passed, but the target y is None. "
            "Hand in a transitions table with named columns, or features X and logged "
            "actions y."
        )
    if any(part is not None for part in handed.values()):
        raise ValueError(
            "reward, episode and duration go with features X and actions y; a transitions table "
            f"holds them as columns. Put them in the table, or name its columns: {reader}"
            "(reward=..., episode=..., duration=...)."
        )

"""States that a user asks about: their codes, how they are written, and which are near them."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.labels import NUMERIC_KINDS, UNKNOWN, label_of_row
from skmdp._messages import shortened, shown
from skmdp._pipelines import unwrap
from skmdp._policy import read_states
from skmdp._typing import Integers
from skmdp.ensemble import PolicyBagging
from skmdp.inspection._pairs import Pairs

# States that are named in place of one that is not known.
MOST_NEAR = 3
# Letters of a label that are compared with those of others.
MOST_COMPARED = 100


def codes_of(estimator: Any, rows: Any, pairs: Pairs) -> Integers:
    """Return the codes of states, (n,), or say which ones are near one that is not known."""
    asked = estimator
    if isinstance(estimator, PolicyBagging):
        asked = unwrap(estimator.estimators_[0])[1]
    _, columns = read_states(asked, rows)
    codes = pairs.states.encode(columns)
    unknown = np.flatnonzero(codes == UNKNOWN)
    if len(unknown):
        label = label_of_row(columns, int(unknown[0]))
        near = shortened(" or ".join(_near(label, pairs)), 240)
        raise ValueError(f"The state {shown(label)} was not seen in fit. Near it are {near}.")
    return codes


def _near(label: Any, pairs: Pairs) -> list[str]:
    """Return the states with decisions that are nearest to a label, as text."""
    states, acting = pairs.states, pairs.state[pairs.first]
    if all(kind in NUMERIC_KINDS for kind in states.kinds):
        known = states.numbers()[acting]
        scale = np.maximum(known.std(axis=0), np.finfo(np.float64).tiny)
        point = np.array(label, dtype=np.float64, ndmin=1)
        distance = np.abs((known - point) / scale).sum(axis=1)
        near = acting[np.argsort(distance, kind="stable")[:MOST_NEAR]]
    else:
        begin = [str(one)[:MOST_COMPARED] for one in states.python_labels(acting)]
        texts = dict(zip(begin, acting, strict=True))
        found = difflib.get_close_matches(str(label)[:MOST_COMPARED], list(texts), MOST_NEAR, 0.0)
        near = np.array([texts[text] for text in found])
    return [written(pairs.measured(np.array([code]))) for code in near]


def written(columns: dict[Any, Any]) -> str:
    """Write one state: its label, or what each of its columns holds."""
    values = {name: pd.Series(values).iloc[0] for name, values in columns.items()}
    alone = next(iter(values.values()))
    if len(values) == 1 and not isinstance(alone, pd.Interval):
        return _bare(alone)
    return ", ".join(f"{name} = {_bare(value)}" for name, value in values.items())


def _bare(value: Any) -> str:
    """Write a value without the quotes of intervals and times."""
    return str(value) if isinstance(value, pd.Interval | pd.Timestamp) else shown(value)

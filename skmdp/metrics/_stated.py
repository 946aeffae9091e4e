"""Propensities that are stated of a log: refused where it cannot have come about with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skmdp._estimation.counts import TransitionCounts, count_transitions
from skmdp._evaluation.propensities import Contradiction, find_contradiction
from skmdp._log.episodes import Transitions
from skmdp._messages import shown
from skmdp._typing import Integers


def refuse_false_propensities(
    log: Transitions, counts: TransitionCounts, triple: Integers, behavior: Any
) -> None:
    """Raise if the log cannot have come about with the propensities stated of it."""
    if log.propensities is None:
        return
    found = find_contradiction(counts, counts.triple_pair[triple], log.propensities)
    if found is not None:
        in_state = f"in state {shown(log.states.label(found.state))}"
        raise _false_propensities(found, in_state, log, behavior)


def refuse_false_propensities_of_all(log: Transitions, behavior: Any) -> None:
    """Raise likewise for measurements that never come again: their rows are looked at together."""
    if log.propensities is None:
        return
    alike = np.zeros(len(log.action_codes), dtype=np.int32)
    counts = count_transitions(alike, log.action_codes, alike, 1, len(log.actions))
    pair = counts.find_pairs(alike, log.action_codes)
    found = find_contradiction(counts, pair, log.propensities)
    if found is not None and found.total is None:  # what they rest on differs from row to row
        raise _false_propensities(found, "over all rows", log, behavior)


def _false_propensities(
    found: Contradiction, in_state: str, log: Transitions, behavior: Any
) -> ValueError:
    where = f"Column {shown(behavior)}" if isinstance(behavior, str) else "behavior"
    action = shown(log.actions.label(found.action))
    logged = f"{found.n_rows} of {found.n_rows_of_state} rows"
    if found.total is None:
        what = (
            f"{in_state} action {action} was logged in {logged}, but its propensity there is "
            f"{found.stated:.3g} on average; by chance that does not happen once in a million logs."
        )
    else:
        what = (
            f"{in_state} the propensities of different actions sum to {found.total:.3g}, "
            f"that of {action} ({logged}) being {found.stated:.3g}, where 1 is the most possible."
        )
    return ValueError(
        f"{where}: {what} Hand in the probability with which the logged action was taken in its "
        "state, name all columns of the state that it depends on, or leave behavior out: it is "
        "then estimated from X."
    )

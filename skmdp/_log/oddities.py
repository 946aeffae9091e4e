"""What looks wrong in a log that can be read all the same: one warning for each, with a remedy."""

from __future__ import annotations

import numpy as np

from skmdp._estimation.counts import TransitionCounts
from skmdp._log.copies import warn_if_doubled, warn_if_repeated
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence
from skmdp._log.index import LabelIndex
from skmdp._log.links import warn_if_astray, warn_if_unordered
from skmdp._log.refusals import doubt
from skmdp._messages import shown
from skmdp._typing import Bools, Floats, Integers

# A log holds pieces of the episodes of another one if most of its episodes, and so many, are those
# of the other, and have no more than this part of their rows, by so many standard errors. (Two
# halves are not found.)
FEWEST_SHARED = 10
SHARE_OF_PIECES = 0.5
LENGTH_OF_PIECES = 0.6
SURE = 3.0

# States with rows below which a log is too small to speak of states that are too fine.
FEWEST_STATES = 200

# Relative distance within which two numbers are one and its rounding.
ROUNDING = 1e-9

# Ends below which nothing is said of them. They are explained by state and action if the chance of
# an end, known from the other rows of the pair, is higher at ends by this share of what is left to
# 1. Of records that a limit cuts many are equally long; then more must be explained, as some of
# them end truly, or the states drift. Of 1,080 simulated logs that end truly (12 processes with
# goals, failures or rounds, 30 to 300 episodes) 2 are warned of, of 900 that break off (after a
# number of rows or at any time) 869.
FEWEST_ENDS = 20
LEAST_EXPLAINED = 0.03
LEAST_EXPLAINED_AT_LIMIT = 0.4
SHARE_AT_LIMIT = 0.5
SHORTEST_LIMIT = 4


# Share of the decisions left out that may not change what the others say.
FEW_LEFT_OUT = 0.01


def warn_of_oddities(log: Transitions, evidence: Evidence, *, stacklevel: int) -> None:
    """Warn of what looks wrong in a log to learn from, taken as a whole."""
    warn_if_long_ones_are_missing(log.unknown_time_share, stacklevel=stacklevel + 1)
    warn_if_doubled(log, stacklevel=stacklevel + 1)
    warn_if_repeated(log, stacklevel=stacklevel + 1)
    warn_if_astray(log, stacklevel=stacklevel + 1)
    _warn_if_records_break_off(log, evidence.counts, stacklevel=stacklevel + 1)
    too_fine = _warn_if_states_are_too_fine(evidence, stacklevel=stacklevel + 1)
    if not too_fine:  # of so many fractions some lie close together by chance
        _warn_if_rounding_parts_states(evidence, stacklevel=stacklevel + 1)


def warn_of_oddities_to_score(
    log: Transitions, evidence: Evidence, learned_from: Evidence, *, stacklevel: int
) -> None:
    """Warn of what looks wrong in a log to score on, beside the one that was learned from."""
    warn_if_unordered(log, stacklevel=stacklevel + 1)
    warn_if_in_pieces(evidence, learned_from, stacklevel=stacklevel + 1)


def warn_if_long_ones_are_missing(share: float, *, stacklevel: int) -> None:
    """Warn if many decisions were left out as their record broke off before they were over."""
    if share > FEW_LEFT_OUT:
        doubt(
            f"{share:.0%} of the decisions are left out, because their record breaks off before "
            "what followed. The longer a decision takes, the more often it is among them, so "
            "actions that take long look shorter and better than they are. Add the next state and "
            "the duration of these rows, or leave out whole records that were begun too late to "
            "see how their decisions went on.",
            "long_missing",
            stacklevel=stacklevel,
        )


# ----------------------------------------------------------------------------- pieces of episodes


def warn_if_in_pieces(evidence: Evidence, learned_from: Evidence, *, stacklevel: int) -> None:
    """Warn if a log holds pieces of the episodes of which others were learned from.

    Logs that count their episodes anew share their names, so the pieces must look like ones.
    """
    if evidence.episode_marks is None or learned_from.episode_marks is None:
        return
    share, here, there = evidence.episode_marks.shared_with(learned_from.episode_marks)
    is_same_log = share >= SHARE_OF_PIECES and len(here) >= FEWEST_SHARED
    if not is_same_log or not _are_pieces(here, there):
        return
    doubt(
        f"{share:.0%} of the episodes of X stand in the training log too, where they have "
        f"{there.mean():.1f} rows on average, and here {here.mean():.1f}. X seems to hold "
        "pieces of episodes, as after cv=5, which start and stop in the middle, so that the score "
        "is not that of whole episodes. Split with EpisodeKFold; if only their names are the same, "
        "rename the episodes of X.",
        "pieces",
        stacklevel=stacklevel + 1,
    )


def _are_pieces(here: Integers, there: Integers) -> bool:
    """Tell whether episodes are shorter here than there, both (n,), by far and not by chance."""
    lacking = there - here
    error = lacking.std() / np.sqrt(len(lacking))
    return bool(here.sum() <= LENGTH_OF_PIECES * there.sum() and lacking.mean() > SURE * error)


# ------------------------------------------------------------------------- records that break off


def _warn_if_records_break_off(
    log: Transitions, counts: TransitionCounts, *, stacklevel: int
) -> None:
    """Warn if each episode ends at its last row, as nothing says otherwise, and that seems wrong.

    Where episodes truly end, the state and the action tell when; a record breaks off at any time,
    or after so many rows.
    """
    if log.next_states_given or log.ends_told:
        return
    assert log.longest is not None
    explained = share_explained(counts)
    if explained is None:
        return
    at_limit = 0.0  # of a lazy table, lengths are not known
    if log.episode_lengths is not None:
        at_limit = float(np.mean(log.episode_lengths == log.longest))
    if explained < LEAST_EXPLAINED:
        sign = "they end as often in one state and action as in any other"
    elif (
        log.longest >= SHORTEST_LIMIT
        and at_limit >= SHARE_AT_LIMIT
        and explained < LEAST_EXPLAINED_AT_LIMIT
    ):
        sign = f"{at_limit:.0%} of them have {log.longest} rows and none has more"
    else:
        return
    doubt(
        f"Nothing in X says how its {log.n_episodes} episodes ended, so each is taken to end at "
        f"its last row, with no reward after it. But {sign}, as where records only break off. If "
        "so, add a boolean column 'terminated' that is False there; if all of them truly end, say "
        "terminated=None.",
        "break_off",
        stacklevel=stacklevel + 1,
    )


def share_explained(counts: TransitionCounts) -> float | None:
    """Return how well state and action tell where episodes end: 0 not at all, 1 for sure.

    The chance of an end at the ends, from the other rows of the pair, is compared with that of any
    row. None if there are too few ends, or more of them than other rows.
    """
    n_rows = np.add.reduceat(counts.n_rows, counts.indptr[:-1])
    is_end = counts.next_states == counts.n_states
    ends = np.add.reduceat(counts.n_rows * is_end, counts.indptr[:-1])
    several = n_rows > 1
    n_rows, ends = n_rows[several], ends[several]
    total = float(ends.sum())
    if total < FEWEST_ENDS or 2 * total > n_rows.sum():
        return None
    usual = (total - 1) / (float(n_rows.sum()) - 1)
    at_ends = float((ends * (ends - 1) / (n_rows - 1)).sum()) / total
    return (at_ends - usual) / (1 - usual)


# ------------------------------------------------------------------------------- states of floats


def _warn_if_states_are_too_fine(evidence: Evidence, *, stacklevel: int) -> bool:
    """Warn if most states hold a single row and some column of the state is one of fractions."""
    states, counts = evidence.states, evidence.counts
    if "float" not in states.kinds or len(counts.first_pairs) < FEWEST_STATES:
        return False
    rows = np.add.reduceat(counts.n_rows, counts.indptr[counts.first_pairs])
    single = int(np.count_nonzero(rows == 1))
    if 2 * single <= len(rows):
        return False
    name = states.names[states.kinds.index("float")]
    doubt(
        f"{single} of {len(rows)} states hold a single row, and column {shown(name)} holds "
        "fractions: what a policy learns there is one outcome, and of other fractions it knows "
        "nothing. Make fewer states first: make_pipeline(StateEncoder(state=[...]), "
        "MarkovPolicyEstimator(...)).",
        "too_fine",
        name,
        stacklevel=stacklevel + 1,
    )
    return True


def _warn_if_rounding_parts_states(evidence: Evidence, *, stacklevel: int) -> None:
    """Warn if a state that is only reached differs by rounding from one that is acted in."""
    states, counts = evidence.states, evidence.counts
    close = {
        j: _are_close(states.columns[j]) for j, kind in enumerate(states.kinds) if kind == "float"
    }
    close = {j: places for j, places in close.items() if places.any()}
    if not close:
        return
    acted = np.zeros(len(states), dtype=bool)
    acted[counts.pair_state] = True
    group = _group_close_states(states, close)
    twins = np.flatnonzero(~acted & np.isin(group, group[acted]))
    if not len(twins):
        return
    known = np.flatnonzero(acted & (group == group[twins[0]]))[0]
    decimals = {
        states.names[j]: _decimals_that_join(states.columns[j], places)
        for j, places in close.items()
    }
    remedies = [f"{shown(name)} to {n} decimals" for name, n in decimals.items()]
    doubt(
        f"{len(twins)} state(s) are reached but never acted in, and differ by rounding only from "
        f"one that is: {shown(states.label(twins[0]))} from {shown(states.label(known))}. "
        "They count as different states, so that what follows is lost. Round "
        f"{' and '.join(remedies[:2])}, and the next-state column(s) alike.",
        "rounding",
        remedy=decimals,
        stacklevel=stacklevel + 1,
    )


def _are_close(values: Floats) -> Bools:
    """Tell which sorted numbers, all but the last, are the next one but for rounding."""
    size = np.abs(values)
    allowed = ROUNDING * np.maximum(size[:-1], size[1:])
    allowed = np.maximum(allowed, 4 * np.finfo(np.float64).eps * size.max(initial=0.0))
    are_whole = (values[:-1] % 1 == 0) & (values[1:] % 1 == 0)
    return np.asarray((np.diff(values) <= allowed) & ~are_whole)


def _group_close_states(states: LabelIndex, close: dict[int, Bools]) -> Integers:
    """Return the number of each state among those that rounding does not tell apart."""
    ranks = states.column_codes()
    group = np.zeros(len(states), dtype=np.int64)
    for j, values in enumerate(states.columns):
        joined = np.arange(len(values))
        if j in close:
            joined[1:] -= np.cumsum(close[j])
        keys = group * len(values) + joined[ranks[:, j]]
        group = np.unique(keys, return_inverse=True)[1]
    return group


def _decimals_that_join(values: Floats, close: Bools) -> int:
    """Return to how many decimals the close numbers of a column must be rounded to be equal."""
    low, high = values[:-1][close], values[1:][close]
    gap = float(max((high - low).max(), ROUNDING * np.abs(high).max()))
    decimals = int(np.floor(-np.log10(gap)))
    while (np.round(low, decimals) != np.round(high, decimals)).any():
        decimals -= 1
    return decimals

"""Whether rows lead to the rows after them, where next states are given.

What cannot be told: rows of an episode in a wrong order where next states are read off the
following row (what follows then does not depend on the state, as may be so in a true log).
"""

from __future__ import annotations

import numpy as np

from skmdp._log.copies import warn_if_doubled
from skmdp._log.episodes import Transitions
from skmdp._log.labels import MISSING, UNKNOWN
from skmdp._log.refusals import doubt
from skmdp._messages import shown
from skmdp._typing import Bools, Codes, Floats, Integers

# Share of rows that may lead elsewhere than to the next one: logs have gaps.
MOST_UNLINKED = 0.01

# Rows, not the last of their episode, below which nothing is said of where they lead all together.
# They lead astray if hardly any leads to the state of the row after it, and so many to states that
# are never acted in: where rows are only out of order, or drawn from episodes, others act in them.
FEWEST_ROWS = 20
NEVER_ACTED_IN = 0.8
# State and action are swapped if next states agree with the actions of the rows after them at least
# so far, and with the states at most so far. Agreement is 1 if they are always the same, and 0 if
# they are as often as chance has it: states and actions may both be the numbers 0 and 1.
AGREES = 0.8
DISAGREES = 0.5
# Next states that are missing where episodes go on are lost, and no ends, if what comes after hangs
# on state and action: Pearson's mean square contingency is so large, and so surely not by chance.
LEAST_CONTINGENCY = 0.05
SURE = 6.0


def warn_if_unordered(log: Transitions, *, stacklevel: int) -> None:
    """Warn if rows do not lead to the rows after them, as when they were shuffled or doubled."""
    warn_if_doubled(log, stacklevel=stacklevel + 1)
    if not warn_if_astray(log, stacklevel=stacklevel + 1):
        warn_if_unlinked(log, stacklevel=stacklevel + 1)


def warn_if_unlinked(log: Transitions, *, stacklevel: int) -> None:
    """Warn if rows do not lead to the rows after them, but where next states are none at all."""
    found = _count_broken(log)
    if found is None or _how_astray(log) is not None:
        return
    broken, n_inside = found
    if broken > MOST_UNLINKED * n_inside:
        doubt(
            f"In {broken} of {n_inside} places a row of X does not lead to the state of the "
            "next row of its episode, so the first states of the episodes and the row before each "
            "row are not known. If rows are out of order, sort them or name the column that "
            "orders them with step=...; if rows are missing, give those after a gap an episode of "
            "their own; if rows occur twice, drop the copies; if a splitter drew single rows, "
            "split by episode with EpisodeKFold.",
            "unlinked",
            stacklevel=stacklevel + 1,
        )


def _has_links(log: Transitions) -> bool:
    """Tell whether next states can be compared with the states of the rows after them."""
    return log.next_states_given and log.episode_lengths is not None and not log.has_gaps


def rows_that_lead_on(log: Transitions) -> tuple[Bools, Bools]:
    """Return which rows have a row after them in their episode, and which lead to its state.

    Both are (n - 1,), without the last row. The log has episodes.
    """
    leads_on: Bools = log.next_codes[:-1] == log.state_codes[1:]
    is_inside = np.ones(len(leads_on), dtype=bool)
    is_inside[_last_rows(log)] = False
    return is_inside, leads_on


def _last_rows(log: Transitions) -> Integers:
    """Return the last row of each episode, but of the last one."""
    assert log.episode_lengths is not None
    lengths = log.episode_lengths[log.episode_lengths > 0]  # none of truncated rows only
    return np.cumsum(lengths)[:-1] - 1


def _count_broken(log: Transitions) -> tuple[int, int] | None:
    """Count the rows that do not lead to the row after them in their episode, and all with one.

    None where next states cannot be compared.
    """
    if not _has_links(log):
        return log.broken_links
    last = _last_rows(log)
    differs = log.next_codes[:-1] != log.state_codes[1:]
    broken = np.count_nonzero(differs) - np.count_nonzero(differs[last])
    return int(broken), len(differs) - len(last)


# ------------------------------------------------------------------------- columns that are others


def warn_if_astray(log: Transitions, *, stacklevel: int) -> bool:
    """Warn if what is given as next states is none, and tell whether that is so."""
    found = _how_astray(log)
    if found is None:
        return False
    kind, what = found
    state, action = log.states.names, log.actions.names
    if kind == "swapped":
        doubt(
            f"Columns {shown(state[0])} and {shown(action[0])} seem to be swapped: {what}. If so, "
            f"say state={shown(action[0])}, action={shown(state[0])}, and next_state=... as well.",
            kind,
            (*state, *action),
            stacklevel=stacklevel + 1,
        )
    else:
        remedy = (
            "Name the columns that hold the state and what it was after the action, state=... and "
            "next_state=..., or leave out the latter to read it off the next row. If each row is a "
            "decision of its own, give each an episode of its own."
        )
        if kind == "lost":
            remedy = (
                "Fill them in, or leave out the column to read them off the next row. If the "
                "process ends there, say so in a boolean column 'terminated'."
            )
        doubt(
            f"What X gives as next states seems to be none: {what}. {remedy}",
            "astray",
            state,
            stacklevel=stacklevel + 1,
        )
    return True


def is_astray(log: Transitions) -> bool:
    """Tell whether what is given as next states is none."""
    return _how_astray(log) is not None


def leads_astray(log: Transitions) -> bool:
    """Tell whether nothing follows from where a log says that its rows lead.

    Its next states are none, or hardly agree with the states of the rows after them. Where single
    rows were drawn, or shuffled, the first states of the episodes are not known, either.
    """
    found = _count_broken(log)
    if is_astray(log):
        return True
    if found is None or found[0] <= MOST_UNLINKED * found[1]:  # as in most logs
        return False
    if log.sums is None:
        rows = _rows_to_compare(log)
        if len(rows) < FEWEST_ROWS:
            return False
        both = log.next_codes[rows], log.state_codes[rows + 1]
        return _agreement(*both, len(log.states)) <= DISAGREES
    broken, n = found
    leads_on = log.next_codes != MISSING
    shares = [
        np.bincount(codes[leads_on], log.sums.n_rows[leads_on], len(log.states))
        for codes in (log.next_codes, log.state_codes)
    ]
    by_chance = float(shares[0] @ shares[1]) / float(shares[0].sum()) ** 2
    return n >= FEWEST_ROWS and _beyond(1 - broken / n, by_chance) <= DISAGREES


def lacks_episodes(log: Transitions) -> bool:
    """Tell whether rows lead on to others, and not known is which belong together."""
    if log.n_episodes is None:
        return bool((log.next_codes != MISSING).any())
    return _are_rows_apart(log)


def _are_rows_apart(log: Transitions) -> bool:
    """Tell whether each row is an episode of its own that goes on in the next one.

    A number of the row was then taken for the name of its episode. Only rows that lead to another
    state tell it: where states hardly change, rows that are sorted by them seem to go on as well.
    """
    if log.longest != 1 or log.sums is not None or not log.next_states_given:
        return False
    moves = (log.next_codes != MISSING) & (log.next_codes != log.state_codes)
    rows = np.flatnonzero(moves[:-1])
    if len(rows) < FEWEST_ROWS:
        return False
    return _agreement(log.next_codes[rows], log.state_codes[rows + 1], len(log.states)) > DISAGREES


def _how_astray(log: Transitions) -> tuple[str, str] | None:
    """Return in which way next states are none, and what shows it; None if they may be some."""
    n_lost = _count_lost(log)
    if n_lost:
        return "lost", (
            f"they are missing in {n_lost} rows after which their episode goes on, in a state that "
            "hangs on state and action, and each of these counts as an end"
        )
    found = _count_broken(log) if _has_links(log) else None
    if found is None:
        return None
    broken, n_inside = found
    if n_inside < FEWEST_ROWS or broken <= MOST_UNLINKED * n_inside:  # as in most logs
        return None
    rows = _rows_to_compare(log)
    n, nexts = len(rows), log.next_codes[rows]
    n_on = int(np.count_nonzero(nexts == log.state_codes[rows + 1]))
    if n < FEWEST_ROWS:
        return None
    n_labels = len(log.states)
    if _agreement(nexts, log.state_codes[rows + 1], n_labels) <= DISAGREES:
        following = _as_states(log)[log.action_codes[rows + 1]]
        if _agreement(nexts, following, n_labels) >= AGREES:
            return "swapped", (
                f"the next state of a row is the action of the next row of its episode in "
                f"{np.count_nonzero(nexts == following)} of {n} places, and its state in {n_on}"
            )
        if (other := _other_row(log, rows)) is not None:
            return "astray", (
                f"it is the state of {other} in all places, and that of the next row of its "
                f"episode in {n_on} of {n}"
            )
    acted = np.zeros(n_labels, dtype=bool)
    acted[log.state_codes] = True
    n_lost = int(np.count_nonzero(~acted[nexts]))
    if n_on <= MOST_UNLINKED * n and n_lost >= NEVER_ACTED_IN * n:
        return "astray", (
            f"it is the state of the next row of its episode in {n_on} of {n} places, and in "
            f"{n_lost} a state that is never acted in, so that each row counts as an end"
        )
    return None


def _rows_to_compare(log: Transitions) -> Integers:
    """Return the rows that lead somewhere, and have a row after them in their episode."""
    is_inside, _ = rows_that_lead_on(log)
    return np.flatnonzero(is_inside & (log.next_codes[:-1] != MISSING))


def _count_lost(log: Transitions) -> int:
    """Count the next states that are missing where episodes go on, 0 if these may be ends."""
    if not _has_links(log) or log.ends_told:
        return log.n_lost
    is_inside, _ = rows_that_lead_on(log)
    rows = np.flatnonzero(is_inside & (log.next_codes[:-1] == MISSING))
    if not are_many(len(rows), int(np.count_nonzero(is_inside))):
        return 0
    pairs = log.state_codes[rows].astype(np.int64) * len(log.actions) + log.action_codes[rows]
    return len(rows) if hang_together(pairs, log.state_codes[rows + 1]) else 0


def are_many(n_lacking: int, n_inside: int) -> bool:
    """Tell whether so many of the rows that others come after lack the next state that it matters.

    A few are no matter.
    """
    return n_lacking >= FEWEST_ROWS and n_lacking > MOST_UNLINKED * n_inside


def hang_together(codes: Integers, others: Integers, n_rows: Floats | None = None) -> bool:
    """Tell whether one code hangs on the other, both (n,), each pair that of ``n_rows`` (n,)."""
    weights = np.ones(len(codes)) if n_rows is None else n_rows
    (one, other) = (np.unique(x, return_inverse=True)[1] for x in (codes, others))
    cell, which = np.unique(one * (int(other.max()) + 1) + other, return_inverse=True)
    first = np.unique(which, return_index=True)[1]
    n_of = [np.bincount(x, weights) for x in (one, other)]
    together = np.bincount(which, weights, len(cell))
    n = weights.sum()
    expected = n_of[0][one[first]] * n_of[1][other[first]] / n
    contingency = float((together**2 / expected).sum()) - n
    freedom = (len(n_of[0]) - 1) * (len(n_of[1]) - 1)
    beyond = contingency - freedom * n / max(n - 1, 1)
    return bool(beyond > max(SURE * np.sqrt(2 * freedom), LEAST_CONTINGENCY * n))


def _other_row(log: Transitions, rows: Integers) -> str | None:
    """Tell which row's state is the next state of all of some rows, if it is not that of the next.

    The row before in a log without steps may be the next one: the rows are then in reverse.
    """
    if (log.next_codes[rows] == log.state_codes[rows]).all():
        return "its own row"
    if log.step is None:
        return None
    behind = rows[np.isin(rows - 1, rows, assume_unique=True)]
    goes_before = log.next_codes[behind] == log.state_codes[behind - 1]
    return "the row before" if len(behind) >= FEWEST_ROWS and goes_before.all() else None


def _as_states(log: Transitions) -> Codes:
    """Return the number of each action among the states, UNKNOWN if it is none, (n_actions,)."""
    if log.states.kinds != log.actions.kinds:
        return np.full(len(log.actions), UNKNOWN, dtype=np.int32)
    return log.states.encode_values(log.actions.as_columns()[0])


def _agreement(codes: Codes, others: Codes, n_labels: int) -> float:
    """Return how far two columns of codes, (n,), agree beyond chance: 1 wholly, 0 not at all."""
    shares = [np.bincount(column + 1, minlength=n_labels + 1) for column in (codes, others)]
    by_chance = float(shares[0] @ shares[1]) / len(codes) ** 2
    return _beyond(float(np.mean(codes == others)), by_chance)


def _beyond(agrees: float, by_chance: float) -> float:
    return (agrees - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0

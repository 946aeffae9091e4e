"""How rows, episodes and states hang together: what follows what, where it starts and ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from skmdp._log.labels import MISSING
from skmdp._log.links import MOST_UNLINKED, is_astray, rows_that_lead_on
from skmdp._messages import shown
from skmdp._typing import Bools, Floats, Integers
from skmdp.inspection._audited import Reading
from skmdp.inspection._findings import Finding
from skmdp.inspection._mends import column

# Times between decisions are irregular if one in ten is this many times as long as one in ten
# others is at most.
IRREGULAR = 2.0
IRREGULAR_DURATIONS = 10.0
# Labels that a line of code may list.
MOST_LISTED = 20


def check_links(reading: Reading) -> Iterator[Finding]:
    """Go through what is found of rows, episodes and states."""
    yield from _check_ends(reading)
    if reading.log.episode_lengths is None:
        yield reading.finding("note", "one_episode", "The table has no column of episodes.")
    else:
        if reading.log.next_states_given and not is_astray(reading.log):
            yield from _check_rows_follow(reading)
        yield from _check_steps(reading)
        yield from _check_reachable(reading)
    yield from _check_never_left(reading)
    yield from _check_durations(reading)


def _check_ends(reading: Reading) -> Iterator[Finding]:
    """Say how episodes end, and which rows are left out since nobody knows what followed."""
    evidence = reading.evidence
    told = evidence.told_ends()
    if told:
        yield reading.finding("note", "ends", f"{told}.", n=evidence.n_episodes)
    if evidence.n_truncated:
        what = f"{evidence.n_truncated:,} row(s) have no next state and are no ends."
        yield reading.finding("note", "truncated", what, n=evidence.n_truncated)


def _check_rows_follow(reading: Reading) -> Iterator[Finding]:
    """Look for rows that do not lead to the row after them, or that stand after an end."""
    log, parts = reading.log, reading.parts
    is_inside, leads_on = rows_that_lead_on(log)
    broken = np.flatnonzero(is_inside & ~leads_on)
    ended = log.next_codes[broken] == MISSING
    if not len(broken):
        return
    mend = _drop_copies(reading) or _name_order(reading) or _split_where_broken(reading)
    if ended.any():
        what = f"{np.count_nonzero(ended):,} row(s) end their episode, but rows of it follow."
        names = parts.names("terminated") or parts.nexts
        rows = broken[ended]
        yield reading.finding("warning", "after_end", what, columns=names, rows=rows, mend=mend)
    unlinked = broken[~ended]
    if len(unlinked):
        n_inside = np.count_nonzero(is_inside)
        is_many = len(unlinked) > MOST_UNLINKED * n_inside
        what = (
            f"In {len(unlinked):,} of {n_inside:,} places a row does not lead to the state of the "
            "next row of its episode."
        )
        yield reading.finding(
            "warning" if is_many else "note",
            "unlinked",
            what,
            columns=parts.nexts,
            rows=unlinked,
            mend=mend,
        )


def _split_where_broken(reading: Reading) -> str:
    """Return code that gives rows to which the row before does not lead an episode of their own."""
    parts = reading.parts
    before = f"{parts.by_episode}[{{}}].shift()"
    differ = [
        f"{before.format([after])}.iloc[:, 0].ne({column(state)}).fillna(True)"
        for state, after in zip(parts.state, parts.nexts, strict=True)
    ]
    differ += [f"({before.format([name])}.iloc[:, 0] == 1)" for name in parts.names("terminated")]
    is_later = f"table.duplicated({list(parts.names('episode'))})"
    is_first = f"is_first = ({' | '.join(differ)}) & {is_later}"
    return f"{parts.ordered}{is_first}; {parts.split('is_first')}"


def _drop_copies(reading: Reading) -> str:
    """Return code that drops copies of rows, where that is all that is wrong, else nothing."""
    log = reading.log
    rows = pd.DataFrame({"episode": reading.episode, "state": log.state_codes})
    rows["next"], rows["action"] = log.next_codes, log.action_codes
    is_copy = (rows == rows.shift()).all(axis=1).to_numpy()
    if not is_copy.any():
        return ""
    kept = np.flatnonzero(~is_copy)
    follows = log.next_codes[kept[:-1]] == log.state_codes[kept[1:]]
    is_inside = reading.episode[kept[:-1]] == reading.episode[kept[1:]]
    return "" if (is_inside & ~follows).any() else "table = table.drop_duplicates().copy()"


def _name_order(reading: Reading) -> str:
    """Return code that names a column as the step, if by that rows follow one another."""
    log, parts, episode = reading.log, reading.parts, reading.episode
    if parts.roles.step is None or parts.names("step"):
        return ""
    for name in reading.spare_columns:
        series = reading.frame.column(name)
        if series.dtype.kind not in "iufM" or series.hasnans:
            continue
        order = np.lexsort((_times(series)[reading.rows], episode))
        is_inside = np.diff(episode[order]) == 0
        follows = log.next_codes[order[:-1]] == log.state_codes[order[1:]]
        if np.count_nonzero(is_inside & ~follows) <= MOST_UNLINKED * np.count_nonzero(is_inside):
            return parts.named("step", name)
    return ""


def _check_steps(reading: Reading) -> Iterator[Finding]:
    """Look at the order of rows, and at the steps that tell it."""
    parts = reading.parts
    if not parts.names("step"):
        return
    names = parts.names("step")
    backward = np.flatnonzero((np.diff(reading.rows) < 0) & (np.diff(reading.episode) == 0))
    if len(backward):
        what = f"{len(backward):,} row(s) stand after a row of their episode with a later step."
        mend = parts.ordered.removesuffix("; ")
        yield reading.finding("note", "unsorted", what, columns=names, rows=backward + 1, mend=mend)
    times = _times(reading.frame.column(names[0]))[reading.rows]
    gaps = np.diff(times)
    is_inside = np.diff(reading.episode) == 0
    repeated = np.flatnonzero(is_inside & (gaps == 0))
    usual = np.median(gaps[is_inside]) if is_inside.any() else 0.0
    if len(repeated):
        what = f"{len(repeated):,} row(s) have the same step as the row before in their episode."
        yield reading.finding(
            "warning",
            "steps_repeat",
            what,
            columns=names,
            rows=repeated + 1,
            mend=parts.ordered + parts.without("step"),
        )
    elif reading.log.durations is None and _is_irregular(gaps[is_inside], IRREGULAR):
        yield _irregular_steps(reading, gaps[is_inside])
    elif len(lacking := np.flatnonzero(is_inside & (gaps > usual))):
        what = f"In {len(lacking):,} places the next step of the episode is further than usual."
        yield reading.finding("note", "steps_missing", what, columns=names, rows=lacking + 1)


def _times(series: pd.Series) -> Floats:
    """Return steps as numbers in their order; times as their distance."""
    if series.dtype.kind in "mM":
        if series.dtype.kind == "M" and series.dt.tz is not None:
            series = series.dt.tz_convert(None)
        return np.asarray(series.to_numpy().astype(np.int64), dtype=np.float64)
    if pd.api.types.is_numeric_dtype(series.dtype):
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    codes, _ = pd.factorize(series, sort=True)
    return np.asarray(codes, dtype=np.float64)


def _is_irregular(amounts: Floats, ratio: float) -> bool:
    """Tell whether positive amounts differ by more than a ratio from the many to the few."""
    if not len(amounts):
        return False
    low, high = np.quantile(amounts, [0.1, 0.9])
    return bool(high > ratio * low > 0)


def _irregular_steps(reading: Reading, gaps: Floats) -> Finding:
    """Tell that the time between decisions is not always the same."""
    log = reading.log
    assert log.episode_lengths is not None
    last = np.cumsum(log.episode_lengths) - 1
    leads_nowhere = not log.next_states_given or (log.next_codes[last] == MISSING).all()
    may_count = leads_nowhere and bool((gaps > 0).all())
    low, high = np.quantile(gaps, [0.1, 0.9]) / np.median(gaps)
    what = (
        f"Time between decisions is not always the same: one in ten times is below {low:.2g} of "
        f"the median, one in ten above {high:.2g} of it."
    )
    return reading.finding(
        "warning",
        "irregular_steps",
        what,
        columns=reading.parts.names("step"),
        n=len(gaps),
        mend=reading.parts.named("duration", "step") if may_count else "",
    )


def _check_durations(reading: Reading) -> Iterator[Finding]:
    """Look for durations of very different size."""
    durations = reading.log.durations
    if durations is None or not _is_irregular(durations.numbers, IRREGULAR_DURATIONS):
        return
    low, high = np.quantile(durations.numbers, [0.1, 0.9])
    what = (
        f"Durations differ much: one in ten is below {low:.3g}, one in ten above {high:.3g} "
        f"({durations.unit or 'as numbers'})."
    )
    names = reading.parts.names("duration")
    yield reading.finding("note", "irregular_durations", what, columns=names, n=len(reading.rows))


def _acted(reading: Reading) -> Bools:
    """Mark the states that are acted in, (n_states + 1,); the last entry is for MISSING."""
    acted = np.zeros(len(reading.log.states) + 1, dtype=bool)
    acted[reading.evidence.counts.pair_state] = True
    return acted


def _check_never_left(reading: Reading) -> Iterator[Finding]:
    """Look for states that are reached and never acted in, though nothing says that they end."""
    log, parts = reading.log, reading.parts
    acted = _acted(reading)
    reached = np.zeros(len(acted), dtype=bool)
    reached[log.next_codes] = True
    ends = np.flatnonzero(reached[:-1] & ~acted[:-1])
    if not len(ends):
        return
    is_end = np.zeros(len(acted), dtype=bool)
    is_end[ends] = True
    rows = is_end[log.next_codes]
    labels = log.states.python_labels(ends[:3])
    what = (
        f"{len(ends):,} state(s) are reached but never acted in, such as "
        f"{', '.join(map(shown, labels))}."
    )
    # Where flags tell the ends, rows that lead to such a state are not among them.
    is_doubtful = bool(parts.names("terminated")) and log.next_states_given
    mend = ""
    if is_doubtful and len(parts.state) == 1 and len(ends) <= MOST_LISTED:
        listed = log.states.python_labels(ends)
        if all(isinstance(label, str | int | float) for label in listed):
            after = column(parts.nexts[0])
            mend = f"{after} = {after}.where(~{after}.isin({listed}))"
    yield reading.finding(
        "warning" if is_doubtful else "note",
        "never_left",
        what,
        columns=parts.nexts or parts.state,
        rows=rows,
        n=len(ends),
        mend=mend,
    )


def _check_reachable(reading: Reading) -> Iterator[Finding]:
    """Look for states that are acted in but cannot be reached from where episodes start."""
    lost = _acted(reading)[:-1] & ~_reachable(reading)
    if not lost.any():
        return
    rows = lost[reading.log.state_codes]
    what = (
        f"{np.count_nonzero(lost):,} state(s) cannot be reached from where episodes start, such as "
        f"{shown(reading.log.states.label(int(np.argmax(lost))))}."
    )
    mend = _split_where_broken(reading) if reading.log.next_states_given else ""
    names = reading.parts.state
    yield reading.finding("warning", "unreachable", what, columns=names, rows=rows, mend=mend)


def _reachable(reading: Reading) -> Bools:
    """Mark the states to which logged transitions lead from some start, (n_states,)."""
    counts, n = reading.evidence.counts, len(reading.log.states)
    before, after = counts.pair_state[counts.triple_pair], counts.next_states
    starts: Integers = np.flatnonzero(reading.evidence.start_weights)
    # One more state leads to all starts; ends are the last column.
    sources = np.append(before, np.full(len(starts), n + 1))
    targets = np.append(after, starts)
    graph = csr_array((np.ones(len(sources)), (sources, targets)), shape=(n + 2, n + 2))
    order = breadth_first_order(graph, n + 1, return_predecessors=False)
    found = np.zeros(n + 2, dtype=bool)
    found[order] = True
    return found[:n]

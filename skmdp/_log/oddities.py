"""What looks wrong in a log that can be read all the same: one warning for each, with a remedy."""

from __future__ import annotations

import warnings

import numpy as np

from skmdp._log.episodes import Transitions

# Share of rows that may lead elsewhere than to the next one: logs have gaps.
MOST_UNLINKED = 0.01


def warn_if_unordered(log: Transitions, *, stacklevel: int) -> None:
    """Warn if rows do not lead to the rows after them, as when they were shuffled or doubled."""
    if log.episode_lengths is None or log.has_gaps:
        return
    broken, n_inside = _count_unlinked(log)
    if broken > MOST_UNLINKED * n_inside:
        warnings.warn(
            f"In {broken} of {n_inside} places a row of X does not lead to the state of the "
            "next row of its episode, so the first states of the episodes and the row before each "
            "row are not known. If rows are out of order, sort them or name the column that "
            "orders them with step=...; if rows occur twice, drop the copies; if a splitter drew "
            "single rows, split by episode with EpisodeKFold.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def _count_unlinked(log: Transitions) -> tuple[int, int]:
    """Return how many rows do not lead to the state of the row after them, and of how many."""
    assert log.episode_lengths is not None
    leads_on = log.next_codes[:-1] == log.state_codes[1:]
    last_rows = np.cumsum(log.episode_lengths)[:-1] - 1
    last_rows = last_rows[last_rows >= 0]  # an episode of truncated rows only has none
    is_inside = np.ones(len(leads_on), dtype=bool)
    is_inside[last_rows[last_rows < len(leads_on)]] = False
    return int(np.count_nonzero(is_inside & ~leads_on)), int(np.count_nonzero(is_inside))

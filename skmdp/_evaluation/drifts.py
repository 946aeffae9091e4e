"""All that changes over time may account for in a difference between two policies.

Times may be good for all rows that are logged then, good for episodes that have come so far, or
good in some places of the episode and bad in others. The first two may both be so, and are added
up; the third is looked at by itself, in blocks of time within blocks of places, and counts if these
tell more than blocks of time and of places together, beyond chance, or rows of one place that
follow each other in time do; and it may account for more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._evaluation.drift import Drift, Starts, Steps
from skmdp._evaluation.drift_in_states import DriftInStates
from skmdp._evaluation.time_blocks import TimeBlocks, both_at_once, time_blocks
from skmdp._typing import Array, Floats, Integers

Looks = tuple[Drift | DriftInStates, ...]


@dataclass(frozen=True, eq=False)
class Drifts:
    """Looks at what rows are worth by ``when`` they were, by ``how_far`` their episodes had come.

    And by both ``at_once``, which are to tell more than each set of ``alone``.
    """

    when: Looks
    how_far: Looks
    at_once: tuple[DriftInStates, ...] = ()
    alone: tuple[tuple[DriftInStates, ...], ...] = ()

    def part_of(self, one: Outcomes, other: Outcomes, *, must_tell_steps: bool = True) -> float:
        """Return how much of the difference of two estimates drifts may account for, 0 or more.

        Infinite where an action and the others were not taken at the same times; or, if
        ``must_tell_steps``, not at the same steps of episodes.
        """
        by_one = [look.part_of(one, other) for look in self.when]
        by_step = [look.part_of(one, other, must_tell=must_tell_steps) for look in self.how_far]
        by_both = [
            look.part_of(one, other, must_tell=False, beyond=self.alone) for look in self.at_once
        ]
        return max(max(by_one, default=0.0) + max(by_step, default=0.0), *by_both, 0.0)


def drifts_in_time(
    residuals: Residuals,
    state: Integers,
    in_states: Residuals,
    episode: Integers,
    step: Array | None = None,
    *,
    whole: Floats | None = None,
) -> Drifts:
    """Look for drifts in all rows, and in each parent of ``in_states``.

    ``state`` (n_rows,) says whose actions are compared. ``in_states`` may be what a fit leaves of
    the ``whole`` (n_rows,) residuals. ``episode`` (n_rows,) ascends, and so does ``step`` (n_rows,)
    in each.
    """

    def look(one: TimeBlocks, exact: Integers | None = None) -> DriftInStates:
        shared = one.exact if one.is_shared else None
        return DriftInStates.of(
            in_states, one.of_each, episode, whole=whole, exact=exact, shared=shared
        )

    def of_all(one: TimeBlocks) -> Drift:
        return Drift.of(residuals, state, one.of_all, episode)

    by_time, by_step = time_blocks(episode, step)
    when = [(of_all(one), look(one, one.exact)) for one in by_time]
    # Rows of one step are in the order of time, and so neighbors here would be neighbors there.
    how_far = [(of_all(one), look(one)) for one in by_step]
    both = [both_at_once(one, by_step[0]) for one in by_time if by_step[0].exact.any()]
    return Drifts(
        tuple(chain.from_iterable(when)),
        tuple(chain.from_iterable(how_far)),
        tuple(look(one, one.exact) for one in both),
        tuple((in_time, how_far[0][1]) for _, in_time in when),
    )


def drifts_of_lots(
    residuals: Residuals,
    triple: Integers,
    lot: Integers,
    sizes: Floats,
    places: Steps,
    dates: tuple[Steps, Starts] | None = None,
) -> Drifts:
    """Look for drifts, given the ``lot`` of each entry, which ascends, of so many episodes each.

    ``triple`` (n_entries,) is that of each entry. Rows are counted by their ``places`` in episodes,
    and where steps are ``dates`` by these, and by those at which their episodes start.
    """
    state, parent = residuals.parent_of_row, residuals.parent
    blocks = TimeBlocks.of_episodes(lot)
    in_states = DriftInStates.of(residuals, blocks.of_each, lot, sizes)

    def look(steps: Steps, time: Integers, exact: Integers | None = None) -> Looks:
        entry = steps.entries(triple)
        over_all = Drift.of_counted_steps(residuals, state, lot, sizes, steps, entry)
        if not len(entry):
            return (over_all,)
        none = np.zeros(len(entry), dtype=np.intp)
        counted = DriftInStates.of(
            steps.residuals(parent), time, none, exact=exact, shared=steps.moment, entry=entry
        )
        return over_all, replace(counted, by_episode=in_states.log)

    when: Looks = Drift.of(residuals, state, blocks.of_all, lot, sizes), in_states
    if dates is not None:
        steps, starts = dates
        by_start = DriftInStates.of(
            starts.residuals(parent),
            starts.moment,
            starts.lot,
            sizes,
            shared=starts.moment,
            entry=starts.entries(triple),
        )
        when = (*when, by_start, *look(steps, steps.moment, steps.moment))
    return Drifts(when, look(places, places.block))

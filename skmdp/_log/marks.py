"""What is remembered of the episodes of a log, so that they are known again: hashes, no names.

Of many hashes the smallest are kept. They are a fair sample of the episodes, the same ones are
drawn from every log that holds them, and those of several logs together are the smallest of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skmdp._log.labels import LabelColumn, hash_labels
from skmdp._typing import Integers

# Hashing more names than these would be felt in fit.
MOST_EPISODES = 50_000
MOST_MARKS = 1024


@dataclass(frozen=True, eq=False)
class EpisodeMarks:
    """The sorted hashes of episodes' labels, and the number of rows of each, both (n,)."""

    hashes: npt.NDArray[np.uint64]
    n_rows: Integers

    @classmethod
    def of(cls, column: LabelColumn, lengths: Integers) -> EpisodeMarks | None:
        """Mark the episodes that the values of a column name, with the rows of each.

        None where there are too many of them.
        """
        if len(lengths) > MOST_EPISODES:
            return None
        return _smallest(hash_labels(column), lengths)

    def merge(self, later: EpisodeMarks) -> EpisodeMarks:
        """Return the marks of two logs together."""
        hashes = np.concatenate([self.hashes, later.hashes])
        return _smallest(hashes, np.concatenate([self.n_rows, later.n_rows]))

    def shared_with(self, others: EpisodeMarks) -> tuple[float, Integers, Integers]:
        """Compare with the episodes of another log.

        Returns the share of those episodes here that are there too, and the rows of each of these
        here and there, (n_shared,). A log of which only the smallest hashes were kept says nothing
        of larger ones.
        """
        hashes = self.hashes
        for kept in (hashes, others.hashes):
            if len(kept) == MOST_MARKS:
                hashes = hashes[hashes <= kept[-1]]
        shared, here, there = np.intersect1d(
            hashes, others.hashes, assume_unique=True, return_indices=True
        )
        return len(shared) / max(len(hashes), 1), self.n_rows[here], others.n_rows[there]


def _smallest(hashes: npt.NDArray[np.uint64], n_rows: Integers) -> EpisodeMarks:
    """Keep the smallest different hashes, with the rows of each."""
    # Hashes are even, so of many a fixed share holds the smallest, and the others need no sort.
    if len(hashes) > 4 * MOST_MARKS:
        small = hashes < np.uint64(2**64 * (4 * MOST_MARKS / len(hashes)) - 1)
        hashes, n_rows = hashes[small], n_rows[small]
    different, place = np.unique(hashes, return_inverse=True)
    rows = np.bincount(place, n_rows, minlength=len(different)).astype(np.int64)
    return EpisodeMarks(different[:MOST_MARKS], rows[:MOST_MARKS])

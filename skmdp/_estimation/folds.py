"""Counts of a part of the rows of a log, and of all but that part, in the codes of the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._estimation.packing import RowSums
from skmdp._typing import Bools, Floats, Integers


@dataclass(frozen=True, eq=False)
class CountedRows:
    """Counts, and the rows (n,) that were counted.

    ``triple`` is the position of each row in the counts. ``discounts`` (n,), weighted, are how far
    rows discount what follows them (None: the counts do not tell). Of a lazy table each is an entry
    of which ``sums`` tell what its rows add up to.
    """

    counts: TransitionCounts
    triple: Integers
    weights: Floats | None
    rewards: Floats | None
    discounts: Floats | None = None
    sums: RowSums | None = None

    def part(self, rows: Integers) -> CountedRows:
        """Return some rows, given by position, and the counts of these alone."""
        counts, kept = self._with(self._sums(rows))
        return CountedRows(
            counts,
            (np.cumsum(kept) - 1)[self.triple[rows]],
            _some(self.weights, rows),
            _some(self.rewards, rows),
            _some(self.discounts, rows),
            None if self.sums is None else self.sums[rows],
        )

    def without(self, rows: Integers) -> TransitionCounts:
        """Return the counts of all other rows: the whole minus those, in O(rows + n_triples).

        Numbers of rows are exact; sums of rewards are as exact as those of the whole.
        """
        left = {name: getattr(self.counts, name) - part for name, part in self._sums(rows).items()}
        return self._with(left)[0]

    def _sums(self, rows: Integers) -> dict[str, Floats]:
        """Return what the rows add to each sum that is kept of a triple, (n_triples,) each."""
        per_row = (
            self._of_rows(rows) if self.sums is None else self._of_entries(rows, self.sums[rows])
        )
        triple, n = self.triple[rows], len(self.counts.weights)
        return {name: sum_by_code(triple, each, n) for name, each in per_row.items()}

    def _of_entries(self, rows: Integers, sums: RowSums) -> dict[str, Floats]:
        """Return what entries add to each sum that is kept, (n_entries,) each."""
        assert self.weights is not None
        counts, weights = self.counts, self.weights[rows]
        squares, products = sums.squared_discounts(weights)
        known: dict[str, Floats | None] = {
            "weights": weights,
            "n_rows": None if counts.n_rows is counts.weights else sums.n_rows,
            "reward_sums": sums.rewards,
            "reward_squares": sums.squares,
            "discount_sums": sums.discounts,
            "discount_squares": squares,
            "reward_discounts": products,
        }
        return {
            name: each
            for name, each in known.items()
            if each is not None and getattr(counts, name) is not None
        }

    def _of_rows(self, rows: Integers) -> dict[str, Floats]:
        """Return what rows add to each sum that is kept, (n,) each."""
        counts = self.counts
        weights = np.ones(len(rows)) if self.weights is None else self.weights[rows]
        per_row: dict[str, Floats] = {"weights": weights}
        if counts.n_rows is not counts.weights:
            per_row["n_rows"] = np.ones(len(rows))
        if self.rewards is not None:
            per_row["reward_sums"] = weights * self.rewards[rows]
            if counts.reward_squares is not None:
                per_row["reward_squares"] = per_row["reward_sums"] * self.rewards[rows]
        if counts.discount_sums is not None:
            assert self.discounts is not None
            per_row["discount_sums"] = self.discounts[rows]
        if counts.discount_squares is not None:
            relative = 1.0 if self.discounts is None else self.discounts[rows] / weights
            per_row["discount_squares"] = weights * relative**2
            paid = 0.0 if self.rewards is None else self.rewards[rows]
            per_row["reward_discounts"] = weights * relative * paid
        return per_row

    def _with(self, sums: dict[str, Floats]) -> tuple[TransitionCounts, Bools]:
        """Return the counts with other sums, and of which triples rows are left: these alone."""
        n_rows = sums.get("n_rows", sums["weights"])
        changed: dict[str, Any] = {**sums, "n_rows": n_rows}
        changed |= {"duration_sums": None, "duration_squares": None}  # of no use to a policy
        kept = n_rows > 0.5
        return replace(self.counts, **changed).only(kept), kept


def _some(amounts: Floats | None, rows: Integers) -> Floats | None:
    return None if amounts is None else amounts[rows]

"""Rows of a log that are known one by one or counted, and what chance adds to sums over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skmdp._estimation.counts import sum_by_code
from skmdp._evaluation.credibility import Outcomes, Residuals
from skmdp._evaluation.direct import divide
from skmdp._evaluation.lots import products_of_episodes
from skmdp._typing import Floats, Integers


@dataclass(frozen=True, eq=False)
class RowsOfEpisodes:
    """Rows of a log, and the episode that holds each.

    ``residuals`` are those of rewards in their pairs. ``episode`` (n_rows,) ascends; it may be a
    lot of them, ``sizes`` (n_lots,) in each. ``entry`` (n_rows,) is one of the log that moves
    estimates as each does (None: they are the log's).
    """

    residuals: Residuals
    episode: Integers
    sizes: Floats | None = None
    entry: Integers | None = None

    def weights(self, outcomes: Outcomes) -> Floats:
        """Return by how much rows move an estimate, (n_rows,)."""
        return outcomes.weights if self.entry is None else outcomes.weights[self.entry]

    def amounts(self, outcomes: Outcomes) -> Floats:
        """Return what rows were paid and led to, less the mean in the pair, (n_rows,)."""
        following = outcomes.following
        if following is None:
            return self.residuals.amounts
        if self.entry is not None:
            following = following[self.entry]
        return self.residuals.amounts + self.residuals.less_mean(following)

    def error(self, amounts: Floats) -> float:
        """Return the standard error of a sum over rows, (n_rows,)."""
        log, n_episodes = self.residuals, int(self.episode[-1]) + 1
        moved = sum_by_code(self.episode, log.of_all_rows(amounts), n_episodes)
        if self.sizes is None:
            return float(np.linalg.norm(moved))
        return float(np.sqrt(products_of_episodes(moved[:, np.newaxis], self.sizes).item()))

    def errors_of_counted(
        self, cells: Residuals, moved: Floats, one: Outcomes, other: Outcomes
    ) -> Callable[[Floats], float]:
        """Return what tells the standard error by episode of rows that are counted in ``cells``.

        Given by how much these move a sum. That of what they ``moved`` (n_cells,) is known; others
        are taken to be to it as the errors by rows are.
        """
        log = self.residuals
        amounts, others = map(self.amounts, (one, other))
        squares = log.sums(amounts**2, log.group, len(log.parent))
        variance = cells.of_all_rows(divide(squares, log.rows_of_groups)[cells.group])
        by_rows = float(np.sqrt(moved**2 @ variance))
        known = self.error(one.weights * amounts - other.weights * others)
        scale = known / by_rows if by_rows else 1.0
        return lambda weights: scale * float(np.sqrt(weights**2 @ variance))

"""How much episodes differ, as lots of them show it that were dealt within blocks of time.

Let x_i be what is told of episode i, a number or a vector, and let lots hold several episodes each,
of which only the sum X is known. Lots of one block of time, which were dealt by chance, differ as
their episodes do. So with m_l the episodes of lot l, L_b the lots of block b, n_b its episodes and
x_b their mean,

    sum over episodes of x x' = sum over blocks of n_b x_b x_b'
        + (1 - 1 / n_b) L_b / (L_b - 1) sum over its lots of (X_l - m_l x_b) (X_l - m_l x_b)'

up to chance, and exactly where lots hold one episode each. What changes from block to block counts
once, as it does among episodes; sums over lots would count it as often as a lot has episodes.
"""

from __future__ import annotations

import numpy as np

from skmdp._typing import Floats

# Blocks of time, of two lots each at least: as many as lots are dealt within.
N_BLOCKS = 40


def products_of_episodes(sums: Floats, sizes: Floats) -> Floats:
    """Return the sum of x x' over episodes, (n_columns, n_columns).

    ``sums`` (n_lots, n_columns) are those of x over the episodes of each lot, which are in the
    order of time, ``sizes`` (n_lots,) how many these are, at least 1.
    """
    n_lots = len(sizes)
    n_blocks = max(1, min(N_BLOCKS, n_lots // 2))
    block = np.arange(n_lots) * n_blocks // n_lots
    bounds = np.searchsorted(block, np.arange(n_blocks))
    of_blocks, n = np.add.reduceat(sums, bounds), np.add.reduceat(sizes, bounds)
    means = of_blocks / n[:, np.newaxis]
    apart = sums - sizes[:, np.newaxis] * means[block]
    lots = np.diff(np.append(bounds, n_lots))
    freedom = (1 - 1 / n) * lots / np.maximum(lots - 1, 1)
    within = apart.T @ (freedom[block][:, np.newaxis] * apart)
    return np.asarray(within + of_blocks.T @ means)

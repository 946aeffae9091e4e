"""Standard errors: of what the episodes of a log, or its rows, show of their spread, and do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.credibility import lacking_variance
from skmdp._evaluation.lots import products_of_episodes
from skmdp._evaluation.replay import Replay
from skmdp._evaluation.verdict import ENOUGH_EPISODES
from skmdp._typing import Floats, Integers
from skmdp.solvers._equations import one_blas_thread


def standard_error(
    of_rows: Floats, start_values: Floats, episode: Integers, n_episodes: int | None
) -> float:
    """Return the standard error of a value from its influence function.

    By episode from 20 episodes on, by row below and where episodes are unknown (None). NaN for one
    episode, and for fewer than two rows.
    """
    if n_episodes == 1 or len(of_rows) < 2:
        return np.nan
    n = len(start_values)
    if n_episodes is None or n_episodes < ENOUGH_EPISODES:
        return float(np.sqrt(of_rows @ of_rows + start_values.var(ddof=1) / n))
    moved = n * np.bincount(episode, of_rows, minlength=n) + start_values
    moved -= moved.mean()
    return float(np.sqrt(moved @ moved / (n * (n - 1))))


def standard_error_of_lots(
    of_rows: Floats,
    start_values: Floats,
    n_starts: Floats,
    lot: Integers,
    lot_of_starts: Integers,
) -> float:
    """Return the standard error by episode, as lots of episodes show it.

    ``of_rows`` is what all rows of an entry move together, ``n_starts`` how many episodes start in
    each way. Lots of one episode each give that by episode itself.
    """
    sizes = np.bincount(lot_of_starts, n_starts).astype(np.float64, copy=False)
    n = float(sizes.sum())
    moved = n * np.bincount(lot, of_rows, minlength=len(sizes)).astype(np.float64, copy=False)
    moved += np.bincount(lot_of_starts, n_starts * start_values)
    moved -= sizes * (moved.sum() / n)
    there = sizes > 0
    squares = products_of_episodes(moved[there][:, np.newaxis], sizes[there])
    return float(np.sqrt(squares.item() / (n * (n - 1))))


def standard_error_of_rows(
    of_rows: Floats, start_values: Floats, n_rows: Floats, n_starts: Floats
) -> float:
    """Return the standard error by row, of entries that each stand for so many rows or starts."""
    n = float(n_starts.sum())
    if n_rows.sum() < 2 or n < 2:
        return np.nan
    mean = np.average(start_values, weights=n_starts)
    variance = n_starts @ (start_values - mean) ** 2 / (n - 1)
    return float(np.sqrt(n_rows @ of_rows**2 + variance / n))


def direct_error(one: Candidate, other: Candidate | None, n_episodes: int | None) -> float:
    """Return the standard error of a value of the direct method, or of a difference of two.

    That of its influence function, and what few rows cannot show of the spread of rewards.
    """
    of_rows, starts = one.influence
    if other is not None:
        other_rows, other_starts = other.influence
        of_rows, starts = of_rows - other_rows, starts - other_starts
    shown = shown_error(one.replay, of_rows, starts, n_episodes)
    return float(np.hypot(shown, lacking_error("dm", one, other)))


def shown_error(
    log: Replay, of_rows: Floats, start_values: Floats, n_episodes: int | None
) -> float:
    """Return the standard error that the rows of a log show, by episode where these are known.

    Of a lazy table ``n_episodes`` is the number of lots. Of several episodes each, they tell the
    error up to chance, which must not make it too small: it is no smaller than that of rows.
    """
    if log.n_rows is None or log.start_weights is None:
        return standard_error(of_rows, start_values, log.episode, n_episodes)
    n_rows, n_starts = log.n_rows, log.start_weights
    by_rows = standard_error_of_rows(of_rows, start_values, n_rows, n_starts)
    if log.lengths is None or n_episodes is None or n_episodes < ENOUGH_EPISODES:
        return by_rows
    by_lots = standard_error_of_lots(
        n_rows * of_rows, start_values, n_starts, log.episode, log.episode_of_starts
    )
    return by_lots if n_starts.sum() <= n_episodes else max(by_lots, by_rows)


def lacking_error(method: str, one: Candidate, other: Candidate | None) -> float:
    """Return the standard error that the spread of rows, or of resamples, does not show."""
    others = None if other is None else other.outcomes(method)
    return float(np.sqrt(lacking_variance(one.outcomes(method), others)))


def resample_values(
    candidates: Sequence[Candidate], methods: Sequence[str], seeds: Sequence[int]
) -> Floats:
    """Return the estimates on resampled logs, (n_seeds, n_candidates, n_methods).

    All candidates meet the same draws of episodes.
    """
    lengths = candidates[0].replay.lengths
    assert lengths is not None
    n = len(lengths)
    draws = np.empty((n, len(seeds))).T  # by episode, as sparse products read them
    random = np.random.RandomState(0)  # seeded anew for each: to make one takes longer than to draw
    for i, seed in enumerate(seeds):
        random.seed(int(seed))
        draws[i] = np.bincount(random.randint(n, size=n), minlength=n)
    with one_blas_thread():
        found = [candidate.values(methods, draws).T for candidate in candidates]
    return np.array(found).swapaxes(0, 1)

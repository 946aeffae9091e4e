"""Estimates of several policies by several methods, and how sure they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import ndtr
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.credibility import Outcomes, lacking_variance
from skmdp._evaluation.standard_errors import direct_error, resample_values
from skmdp._typing import Floats, Integers

# Fewer resamples than this do not tell a spread.
FEWEST_RESAMPLES = 20
# Below, importance methods speak of a handful of episodes, whose resamples do not tell a spread.
ENOUGH_EFFECTIVE_EPISODES = 30
# Numbers held at a time of the draws of resamples: a bound on memory.
DRAWS_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class Estimates:
    """Values of candidates by methods, and what their errors are made of."""

    candidates: Sequence[Candidate]
    names: Sequence[str]
    values: Floats  # (n_candidates, n_methods)
    resampled: dict[str, Floats] | None  # by method, each (n_bootstrap, n_candidates)
    n_episodes: int | None

    def interval(self, j: int, z: float, against: int | None = None) -> dict[str, Floats]:
        """Return value, standard_error, lower and upper of each method, each (n_methods,).

        Of candidate j, or of its difference to another one. Methods that weigh episodes have no
        interval where only a handful of these follow a candidate.
        """
        value = self.values[j] - (0.0 if against is None else self.values[against])
        error, lower, upper = (np.full(len(self.names), np.nan) for _ in range(3))
        for i, name in enumerate(self.names):
            other = None if against is None else self.candidates[against]
            if name == "dm":
                error[i] = direct_error(self.candidates[j], other, self.n_episodes)
                lower[i], upper[i] = value[i] - z * error[i], value[i] + z * error[i]
            elif self.resampled is not None and self._tells_a_spread(j, against):
                draws = self.resampled[name][:, j]
                if against is not None:
                    draws = draws - self.resampled[name][:, against]
                if np.isfinite(draws).all():
                    tail = ndtr(-z)
                    shown = draws.std(ddof=1)
                    others = None if against is None else self._outcomes(name, against)
                    lacking = lacking_variance(self._outcomes(name, j), others)
                    error[i] = np.hypot(shown, np.sqrt(lacking))
                    more = z * (error[i] - shown)
                    lower[i], upper[i] = np.quantile(draws, [tail, 1 - tail]) + [-more, more]
        return {"value": value, "standard_error": error, "lower": lower, "upper": upper}

    @cached_property
    def _outcomes(self) -> Callable[[str, int], Outcomes]:
        """Outcomes of a method and a candidate: those of two are kept, it and the one beside it."""

        def outcomes(name: str, j: int) -> Outcomes:
            return self.candidates[j].outcomes(name)

        return lru_cache(maxsize=2 * len(self.names))(outcomes)

    def _tells_a_spread(self, *asked: int | None) -> bool:
        """Whether enough episodes follow each of some candidates."""
        return all(
            self.candidates[j].weights.effective_sample_size() >= ENOUGH_EFFECTIVE_EPISODES
            for j in asked
            if j is not None
        )


def require_enough_resamples(
    names: Sequence[str], n_bootstrap: int, confidence_level: float
) -> None:
    """Raise if an interval would end at the most extreme resamples for want of others.

    Of n resamples, n (1 - level) lie outside the interval; that must be one at least.
    """
    if n_bootstrap == 0 or all(name == "dm" for name in names):
        return
    least = max(FEWEST_RESAMPLES, int(np.ceil((1 - 1e-9) / (1 - confidence_level))))
    if n_bootstrap < least:
        raise ValueError(
            f"n_bootstrap={n_bootstrap} resamples are too few for an interval of "
            f"confidence_level={confidence_level:g}; at least {least} are needed. Raise "
            "n_bootstrap, or set it to 0 for estimates without intervals."
        )


def estimate_with_errors(
    candidates: Sequence[Candidate],
    names: Sequence[str],
    n_bootstrap: int,
    random_state: int | np.random.RandomState | None,
    n_jobs: int | None,
) -> Estimates:
    lengths = candidates[0].replay.lengths
    needs_episodes = [name for name in names if name != "dm"]
    if lengths is None and needs_episodes:
        raise ValueError(
            f"The method(s) {needs_episodes} weigh whole episodes, but X has no episode column. "
            "Add one, name it with columns={'episode': ...}, or use methods='dm'."
        )
    n_episodes = None if lengths is None else len(lengths)
    # First, so that what they need is not computed again by every job.
    values = np.array([candidate.values(names) for candidate in candidates])
    resampled = None
    if n_episodes == 1:
        warnings.warn(
            "X holds one episode only, so nothing tells how much chance there is in the estimate: "
            "no interval. Hand in more episodes.",
            UserWarning,
            stacklevel=2,
        )
    elif lengths is not None and needs_episodes and n_bootstrap:
        seeds = check_random_state(random_state).randint(2**31 - 1, size=n_bootstrap)
        blocks = _blocks(seeds, max(len(lengths), lengths.max()))
        parts = Parallel(n_jobs=n_jobs)(
            delayed(resample_values)(candidates, needs_episodes, block) for block in blocks
        )
        by_method = np.moveaxis(np.concatenate(parts), 2, 0)
        resampled = dict(zip(needs_episodes, by_method, strict=True))
    return Estimates(candidates, names, values, resampled, n_episodes)


def _blocks(seeds: Integers, size: int) -> list[Integers]:
    """Split the seeds of resamples that take memory for so many numbers each.

    Always alike, whatever the number of jobs, so that sums are rounded alike.
    """
    return np.array_split(seeds, min(len(seeds), -(-len(seeds) * size // DRAWS_AT_ONCE)))

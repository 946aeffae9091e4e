"""Splits that keep episodes whole, and a choice among encodings that may be trusted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, GroupShuffleSplit
from sklearn.utils import check_consistent_length

from skmdp._log.frames import as_frame
from skmdp._log.reading import episode_codes, label_codes
from skmdp._messages import quoted
from skmdp._typing import Codes, Floats, Name

__all__ = [
    "EpisodeKFold",
    "EpisodeShuffleSplit",
    "most_trusted",
    "train_test_split_episodes",
]


class _WholeEpisodes:
    """Splits the rows of a log by whole episodes, ahead of a splitter by groups."""

    episode: Any

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Generate the rows of the training and the test set of every split.

        Parameters
        ----------
        X : table or array of shape (n_samples, n_features)
            The log. Its episode column is read unless ``groups`` are given.
        y : array-like of shape (n_samples,), default=None
            Ignored.
        groups : array-like of shape (n_samples,), default=None
            Episode of every row.

        Yields
        ------
        train, test : ndarray of int
            Positions of rows.

        Raises
        ------
        ValueError
            If there are no episodes to split by, or too few.

        Examples
        --------
        Without a table, the episodes are handed in as groups:

        >>> from skmdp.model_selection import EpisodeKFold
        >>> X = [[0], [1], [2], [3]]
        >>> for train, test in EpisodeKFold(n_splits=2).split(X, groups=["a", "b", "a", "b"]):
        ...     print(train, test)
        [0 2] [1 3]
        [1 3] [0 2]
        """
        codes, n_episodes = _episodes(X, groups, self.episode)
        self._require_episodes(n_episodes)
        # mypy takes object for the parent, but every subclass has a splitter by groups beside this.
        yield from super().split(np.empty((len(codes), 0)), y, codes)  # type: ignore[misc]

    def _require_episodes(self, n_episodes: int) -> None:
        """Raise unless there are enough episodes to split."""
        if n_episodes < 2:
            raise ValueError(
                "A split needs at least 2 episodes, but there is only one. One long episode cannot "
                "be split by episodes."
            )


class EpisodeKFold(_WholeEpisodes, GroupKFold):
    """K-fold cross-validation that never cuts an episode.

    Every episode is in the test set of exactly one fold. A plain ``KFold`` cuts episodes in two,
    which starts episodes in their middle and, where next states are read off the next row, ends
    them there as well.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    episode : str or sequence of str, default="episode"
        Column(s) of the table that tell which rows belong together. Not used where ``groups`` are
        handed in.
    shuffle : bool, default=False
        Whether to deal episodes to folds at random. By default the longest go first, each to the
        fold with the fewest rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp.model_selection import EpisodeKFold
    >>> log = pd.DataFrame({"episode": ["a", "a", "b", "b", "b", "c"], "state": range(6)})
    >>> for train, test in EpisodeKFold(n_splits=3).split(log):
    ...     print(test)
    [2 3 4]
    [0 1]
    [5]

    More folds than episodes cannot be:

    >>> next(EpisodeKFold(n_splits=4).split(log))
    Traceback (most recent call last):
    ...
    ValueError: n_splits=4 folds need at least 4 episodes, but there are 3...
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        episode: Name | Sequence[Name] = "episode",
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(n_splits, shuffle=shuffle, random_state=random_state)
        self.episode = episode

    def _require_episodes(self, n_episodes: int) -> None:
        if n_episodes < self.n_splits:
            raise ValueError(
                f"n_splits={self.n_splits} folds need at least {self.n_splits} episodes, but there "
                f"are {n_episodes}. Lower n_splits; one long episode cannot be split by episodes."
            )


class EpisodeShuffleSplit(_WholeEpisodes, GroupShuffleSplit):
    """Random splits into training and test episodes that never cut an episode.

    Parameters
    ----------
    n_splits : int, default=5
        Number of splits.
    episode : str or sequence of str, default="episode"
        Column(s) of the table that tell which rows belong together. Not used where ``groups`` are
        handed in.
    test_size : float or int, default=None
        Share, or number, of the episodes in the test set. None: all but ``train_size``, or
        0.2 of them.
    train_size : float or int, default=None
        Share, or number, of the episodes in the training set. None: all but ``test_size``.
    random_state : int, RandomState instance or None, default=None
        Seed.

    See Also
    --------
    EpisodeKFold : Every episode is in the test set once.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp.model_selection import EpisodeShuffleSplit
    >>> log = pd.DataFrame({"episode": ["a", "a", "b", "b", "b", "c"], "state": range(6)})
    >>> for train, test in EpisodeShuffleSplit(n_splits=1, random_state=0).split(log):
    ...     print(train, test)
    [0 1 2 3 4] [5]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        episode: Name | Sequence[Name] = "episode",
        test_size: float | None = None,
        train_size: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            n_splits, test_size=test_size, train_size=train_size, random_state=random_state
        )
        self.episode = episode


def train_test_split_episodes(
    table: Any,
    *,
    episode: Name | Sequence[Name] = "episode",
    test_size: float | None = None,
    train_size: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, Any]:
    """Split a log into one to learn from and one to evaluate on, by whole episodes.

    Parameters
    ----------
    table : table of shape (n_transitions, n_columns)
        The log (pandas, polars or pyarrow).
    episode : str or sequence of str, default="episode"
        Column(s) that tell which rows belong together.
    test_size : float or int, default=None
        Share, or number, of the test episodes. None: all but ``train_size``, or 0.2 of them.
    train_size : float or int, default=None
        Share, or number, of the training episodes. None: all but ``test_size``.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    train, test : tables
        Of the same library, rows in the order of ``table``; of pandas, with its index.

    Raises
    ------
    ValueError
        If the table has no episode column, or one episode only.

    Examples
    --------
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.model_selection import train_test_split_episodes
    >>> train, test = train_test_split_episodes(load_climb(), test_size=1, random_state=0)
    >>> train["episode"].nunique(), test["episode"].nunique()
    (3, 1)
    """
    splits = EpisodeShuffleSplit(
        1, episode=episode, test_size=test_size, train_size=train_size, random_state=random_state
    )
    train, test = next(splits.split(table))
    frame = as_frame(table)
    assert frame is not None  # else it could not have been split
    return frame.take(train), frame.take(test)


def most_trusted(
    max_unsupported: float = 0.1, tolerance: float = 0.05
) -> Callable[[dict[str, Any]], int]:
    """Choose the policy that is best on all accounts: the ``refit`` of a search over encodings.

    A policy is worth no more than the smaller of two values, in its own states (``score``) and on
    the measurements that these are made of (``fqe``), both on held-out episodes. Policies with more
    unsupported decisions come last. Scores of good encodings differ by less than their errors, so
    the best of many is partly luck; of the candidates within the tolerance of the best, this takes
    the one with the fewest states, which has the most rows for each and is the easiest to read; of
    several with as many states, the best.

    Parameters
    ----------
    max_unsupported : float, default=0.1
        Share of a policy's decisions, in [0, 1], that a log may hardly ever take. Candidates with
        more are taken only if all have more, with a warning.
    tolerance : float, default=0.05
        Largest distance to the best value, as a share of its absolute value: within 5 % of -10 is
        -10.5.

    Returns
    -------
    choose : callable
        To be handed to a search as ``refit``, whose ``scoring`` is
        ``skmdp.metrics.judge_encodings``.

    Raises
    ------
    ValueError
        If a parameter is out of range. In the search: if ``scoring`` does not tell what this
        chooses by, or no candidate could be scored.

    Warns
    -----
    UserWarning
        In the search: if no candidate is supported.

    See Also
    --------
    skmdp.metrics.judge_encodings : The scoring that goes with it.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.metrics import judge_encodings
    >>> from skmdp.model_selection import EpisodeKFold, most_trusted
    >>> search = GridSearchCV(
    ...     MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.99),
    ...     {"min_count": [10, 20]}, cv=EpisodeKFold(n_splits=3),
    ...     scoring=judge_encodings, refit=most_trusted(tolerance=0.1))
    >>> search = search.fit(make_search_log(6000, length=4, random_state=0))
    >>> sorted(search.best_params_)
    ['min_count']

    Without these figures there is nothing to choose by:

    >>> most_trusted()({"mean_test_score": [1.0]})
    Traceback (most recent call last):
    ...
    ValueError: most_trusted chooses by what scoring=judge_encodings tells; the search lacks...
    """
    if not 0 <= max_unsupported <= 1:
        raise ValueError(f"max_unsupported must be in [0, 1], got {max_unsupported}.")
    if tolerance < 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}.")

    def choose(cv_results: dict[str, Any]) -> int:
        score, fqe, unsupported, n_states = _figures(cv_results)
        values = np.minimum(score, fqe)
        scored = ~np.isnan(values)
        if not scored.any():
            raise ValueError(
                "No candidate could be scored: every mean score is NaN. Say error_score='raise' to "
                "see why."
            )
        eligible = scored & (unsupported < max_unsupported)
        if not eligible.any():
            warnings.warn(
                f"Of every policy more than {max_unsupported:.0%} of the decisions are hardly ever "
                "taken in the log, so that nobody knows what they bring. Let candidates keep "
                "closer to the log: raise min_count or prior_strength.",
                UserWarning,
                stacklevel=2,
            )
            eligible = scored
        best = values[eligible].max()
        near = np.flatnonzero(eligible & (values >= best - tolerance * abs(best)))
        smallest = near[n_states[near] == n_states[near].min()]
        return int(smallest[np.argmax(values[smallest])])

    return choose


def _figures(cv_results: dict[str, Any]) -> list[Floats]:
    """Return the mean of each figure of ``judge_encodings``, (n_candidates,) each."""
    names = [f"mean_test_{name}" for name in ("score", "fqe", "unsupported", "n_states")]
    absent = [name for name in names if name not in cv_results]
    if absent:
        raise ValueError(
            "most_trusted chooses by what scoring=judge_encodings tells; the search lacks "
            f"{quoted(absent)}. Say scoring=judge_encodings beside refit=most_trusted()."
        )
    return [np.asarray(cv_results[name], dtype=np.float64) for name in names]


def _episodes(X: Any, groups: Any, episode: Name | Sequence[Name]) -> tuple[Codes, int]:
    """Return the episode of every row as a code, and the number of episodes."""
    if groups is None:
        codes = episode_codes(X, episode)
    else:
        codes = label_codes(groups, "groups")
        check_consistent_length(X, codes)
    return codes, int(codes.max(initial=-1)) + 1

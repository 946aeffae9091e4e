"""Splits that keep episodes whole, and a choice that prefers small models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, GroupShuffleSplit
from sklearn.utils import check_consistent_length

from skmdp._log.frames import as_frame
from skmdp._log.reading import episode_codes, label_codes
from skmdp._pipelines import unwrap
from skmdp._typing import Codes, Name

__all__ = [
    "EpisodeKFold",
    "EpisodeShuffleSplit",
    "fewest_states",
    "score_with_size",
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


def score_with_size(estimator: Any, X: Any, y: Any = None) -> dict[str, float]:
    """Score a policy, and count its states: the ``scoring`` of a search that prefers small models.

    Parameters
    ----------
    estimator : fitted MarkovPolicyEstimator, PolicyBagging, or pipeline that ends in one
        The policy to score; also a search over such.
    X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
        The log to score on.
    y : array-like of shape (n_transitions,), default=None
        The logged actions, after a fit with ``y``.

    Returns
    -------
    scores : dict
        ``"score"``: that of the estimator; ``"n_states"``: its number of states, of an ensemble
        the mean.

    Raises
    ------
    TypeError
        If the estimator has no states.

    Notes
    -----
    For logs in tables: scikit-learn routes no rewards and episodes to a function, so policies that
    were fitted on features with rewards cannot be scored by it.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.model_selection import score_with_size
    >>> sizes = score_with_size(MarkovPolicyEstimator().fit(load_climb()), load_climb())
    >>> sizes["n_states"]
    5.0
    """
    n_states = _count_states(estimator)
    score = estimator.score(X) if y is None else estimator.score(X, y)
    return {"score": score, "n_states": n_states}


def fewest_states(tolerance: float = 0.05) -> Callable[[dict[str, Any]], int]:
    """Choose the smallest model that is almost as good as the best: the ``refit`` of a search.

    Held-out scores of good state encodings differ by less than their errors, so the best score of
    many candidates is partly luck. Of the candidates whose mean score is within the tolerance of
    the best, this takes the one with the fewest states, which has the most rows for each and is the
    easiest to read; of several with as many states, the one with the best score.

    Parameters
    ----------
    tolerance : float, default=0.05
        Largest distance to the best score, as a share of its absolute value: within 5 % of -10 is
        -10.5.

    Returns
    -------
    choose : callable
        To be handed to a search as ``refit``, whose ``scoring`` is ``score_with_size``.

    Raises
    ------
    ValueError
        If the tolerance is negative. In the search: if ``scoring`` does not tell the number of
        states, or no candidate could be scored.

    Notes
    -----
    A score is computed in the candidate's own states, so it is right only for encodings that tell
    apart all measurements with different consequences. Others can score far too high, on held-out
    episodes as well: in ``examples/plot_06_pipeline_from_raw_measurements.py`` the best policy on
    four states of wear scores 116 and is worth -5, where the logged policy is worth 60. Leave
    encodings out of the search that :func:`skmdp.inspection.markov_test` finds too coarse, distrust
    a search in which scores only fall with the number of states, and evaluate the chosen policy on
    new data.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import make_search_log
    >>> from skmdp.model_selection import EpisodeKFold, fewest_states, score_with_size
    >>> search = GridSearchCV(
    ...     MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.99),
    ...     {"min_count": [10, 20]}, cv=EpisodeKFold(n_splits=3),
    ...     scoring=score_with_size, refit=fewest_states(tolerance=0.1))
    >>> search = search.fit(make_search_log(6000, length=4, random_state=0))
    >>> sorted(search.best_params_)
    ['min_count']

    Without the number of states, there is nothing to choose by:

    >>> fewest_states()({"mean_test_score": [1.0]})
    Traceback (most recent call last):
    ...
    ValueError: fewest_states needs to know the number of states: say scoring=score_with_size...
    """
    if tolerance < 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}.")

    def choose(cv_results: dict[str, Any]) -> int:
        if not {"mean_test_score", "mean_test_n_states"} <= set(cv_results):
            raise ValueError(
                "fewest_states needs to know the number of states: say scoring=score_with_size in "
                "the search, beside refit=fewest_states()."
            )
        scores = np.asarray(cv_results["mean_test_score"], dtype=np.float64)
        sizes = np.asarray(cv_results["mean_test_n_states"], dtype=np.float64)
        if np.isnan(scores).all():
            raise ValueError(
                "No candidate could be scored: every mean score is NaN. Say error_score='raise' to "
                "see why."
            )
        best = np.nanmax(scores)
        near = np.flatnonzero(scores >= best - tolerance * abs(best))
        smallest = near[sizes[near] == sizes[near].min()]
        return int(smallest[np.argmax(scores[smallest])])

    return choose


def _count_states(estimator: Any) -> float:
    """Return the number of states of a fitted policy, of an ensemble's members the mean."""
    _, policy = unwrap(estimator)
    if hasattr(policy, "estimators_"):
        return float(np.mean([_count_states(member) for member in policy.estimators_]))
    if not hasattr(policy, "states_"):
        raise TypeError(
            f"{type(policy).__name__} has no states to count; score_with_size is for policies, "
            "such as MarkovPolicyEstimator and PolicyBagging, and pipelines that end in one."
        )
    return float(len(policy.states_))


def _episodes(X: Any, groups: Any, episode: Name | Sequence[Name]) -> tuple[Codes, int]:
    """Return the episode of every row as a code, and the number of episodes."""
    if groups is None:
        codes = episode_codes(X, episode)
    else:
        codes = label_codes(groups, "groups")
        check_consistent_length(X, codes)
    return codes, int(codes.max(initial=-1)) + 1

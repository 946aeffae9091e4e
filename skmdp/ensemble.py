"""Several policies as one: the action with the highest average value is advised."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import config_context
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skmdp._averaging import Opinion, average
from skmdp._evaluation.direct import choice_of_rows
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import gather, require_one_unit
from skmdp._log.frames import as_table, take_rows
from skmdp._log.index import index_labels
from skmdp._log.labels import UNKNOWN
from skmdp._log.numbers import read_weights
from skmdp._log.oddities import warn_of_oddities_to_score
from skmdp._log.raw import Measurements
from skmdp._log.reading import (
    episode_codes,
    label_codes,
    read_state_labels,
    require_rows,
)
from skmdp._log.roles import Roles
from skmdp._pipelines import last_step, transform, unwrap
from skmdp._policy import fitted_policy, has_policy, read_states, roles_of
from skmdp._policy_columns import columns_read, is_behind_transformers
from skmdp._scoring import (
    agreement,
    evaluate_for_score,
    read_log_to_score,
    score_asks_as_fit,
    set_beside_measurements,
    warn_if_unsupported,
)
from skmdp._trust import Scored, read_behind
from skmdp._typing import Floats, Integers, Name

__all__ = ["PolicyBagging"]

MAX_SEED = np.iinfo(np.int32).max
# Numbers, one for each row and action, that are averaged at a time.
BLOCK_CELLS = 2**21


class PolicyBagging(BaseEstimator):
    """Average the policies of several clones of an estimator.

    Each clone is fitted with seeds of its own and, with ``bootstrap``, on episodes of its own. The
    ensemble advises the action with the highest mean Q. An encoder that makes states of
    measurements draws borders between them at arbitrary places, and a single policy errs near its
    borders. Clones with other borders err elsewhere, so their average errs less.

    Parameters
    ----------
    estimator : MarkovPolicyEstimator or Pipeline
        What to clone; a pipeline ends in a ``MarkovPolicyEstimator``. Every parameter named
        ``random_state`` in it gets a seed of its own in each clone.
    n_estimators : int, default=10
        Number of clones.
    bootstrap : bool, default=False
        Whether each clone learns from episodes drawn with replacement, as many as there are, or
        from the whole log.
    random_state : int, RandomState instance or None, default=None
        Seed of the seeds and draws.
    n_jobs : int, default=None
        Number of clones to fit at a time. None means 1, -1 all processors.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted clones.
    actions_ : ndarray of shape (n_actions,)
        Every action that a clone has seen, sorted.
    classes_ : ndarray of shape (n_actions,)
        The same as ``actions_``.
    n_features_in_ : int
        Number of features that the clones see, where they tell it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of these features, where they have names.

    See Also
    --------
    skmdp.preprocessing.StateEncoder : Makes states of measurements; ``shift_bins`` gives bins with
        seeds.

    Notes
    -----
    Where a clone's model does not admit an action, the clone counts it as the smallest Q of the
    state minus the clone's mean spread of Q within a state. A clone takes no part in the average
    of a state that it does not know. Of actions that tie, the one that more clones advise is taken,
    then the lowest label: with one clone, ``predict`` is that of the clone. What is ``forbidden``
    to the clones is never advised.

    Fitting and predicting cost ``n_estimators`` times what one clone costs.

    References
    ----------
    L. Breiman, "Bagging predictors", Machine Learning 24 (1996). R. S. Sutton and A. G. Barto,
    "Reinforcement Learning: An Introduction", 2nd edition, MIT Press (2018), section 9.5.4, on
    tilings, whose shifted grids these resemble.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.ensemble import PolicyBagging
    >>> from skmdp.preprocessing import StateEncoder
    >>> rng = np.random.default_rng(0)
    >>> log = pd.DataFrame({"heat": rng.uniform(size=500), "action": rng.integers(2, size=500)})
    >>> log["reward"] = np.where(log["action"] == (log["heat"] > 0.6), 1.0, -1.0)
    >>> log["next_heat"] = np.nan  # every episode is one decision
    >>> pipe = make_pipeline(
    ...     StateEncoder(state="heat", n_states=4, shift_bins=True),
    ...     MarkovPolicyEstimator(state="heat"))
    >>> policies = PolicyBagging(pipe, random_state=0).fit(log)
    >>> policies.predict([[0.2], [0.9]])
    array([0, 1])
    >>> policies.predict_proba([[0.58]])  # where the clones differ
    array([[0.6, 0.4]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "bootstrap": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        n_estimators: int = 10,
        *,
        bootstrap: bool = False,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.bootstrap = bootstrap
        self.random_state = random_state
        self.n_jobs = n_jobs

    def get_metadata_routing(self) -> Any:
        """Return which metadata the methods request: ``score`` requests the same as ``fit``.

        Requests are set on the ensemble, which hands the metadata to the last step of each clone.

        Returns
        -------
        routing : MetadataRequest
            The requests of this estimator.

        Examples
        --------
        >>> import sklearn
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.ensemble import PolicyBagging
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     policies = PolicyBagging(MarkovPolicyEstimator()).set_fit_request(reward=True)
        ...     policies.get_metadata_routing().score.requests["reward"]
        True
        """
        return score_asks_as_fit(super().get_metadata_routing())

    def __skmdp_roles__(self) -> Roles:
        member = self.estimators_[0] if hasattr(self, "estimators_") else self.estimator
        return roles_of(unwrap(member)[1])

    def __skmdp_measured__(self) -> dict[Name, Name | None]:
        return columns_read(self.estimators_[0])

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        reward: Any = None,
        episode: Any = None,
        duration: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit the clones.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
            As in ``MarkovPolicyEstimator.fit``.
        y : array-like of shape (n_transitions,), default=None
            The logged actions, where ``X`` holds features.
        reward : array-like of shape (n_transitions,), default=None
            With ``y`` only: reward of every row.
        episode : array-like of shape (n_transitions,), default=None
            With ``y`` only: episode of every row.
        duration : array-like of shape (n_transitions,), default=None
            With ``y`` only: time from every row to the next decision, as in a column ``duration``.
        sample_weight : array-like of shape (n_transitions,), default=None
            How often each row counts, for the last step of a pipeline.

        Returns
        -------
        self : PolicyBagging
            The fitted ensemble.

        Raises
        ------
        TypeError
            If ``estimator`` is neither a ``MarkovPolicyEstimator`` nor a pipeline that ends in one.
        ValueError
            If the log cannot be read, as in ``MarkovPolicyEstimator.fit``; with ``bootstrap``, if
            it has no episodes.

        Warns
        -----
        UserWarning
            If all clones are the same, because nothing in them has a seed.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import make_search_log
        >>> from skmdp.ensemble import PolicyBagging
        >>> log = make_search_log(300, length=6, random_state=0)
        >>> single = MarkovPolicyEstimator(gamma=0.99, handle_unknown="most_frequent")
        >>> policies = PolicyBagging(single, bootstrap=True, random_state=0).fit(log)
        >>> len({policy.n_transitions_ for policy in policies.estimators_}) > 1
        True
        """
        _require_policy(self.estimator)
        rng = check_random_state(self.random_state)
        members = [_with_seeds(clone(self.estimator), rng) for _ in range(self.n_estimators)]
        if not self.bootstrap and not _seeded(self.estimator) and self.n_estimators > 1:
            warnings.warn(
                "All members are the same: nothing in estimator has a random_state. Say "
                "bootstrap=True, or let an encoder vary, as StateEncoder(shift_bins=True) or "
                "KMeans do.",
                UserWarning,
                stacklevel=3,
            )
        log = {"reward": reward, "episode": episode, "duration": duration}
        log["sample_weight"] = sample_weight
        draws = self._draw_episodes(X, y, log, rng)
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_member)(member, X, y, log, drawn)
            for member, drawn in zip(members, draws, strict=True)
        )
        learned_from = [fitted_policy(unwrap(member)[1]).evidence for member in fitted]
        require_one_unit(learned_from)
        self._actions, self._action_codes = index_labels(
            *(evidence.actions.as_columns() for evidence in learned_from)
        )
        for name in ("n_features_in_", "feature_names_in_"):  # where the first step has them
            if hasattr(fitted[0], name):
                setattr(self, name, getattr(fitted[0], name))
            elif hasattr(self, name):
                delattr(self, name)
        self.estimators_ = fitted
        return self

    def _draw_episodes(
        self, X: Any, y: Any, log: dict[str, Any], rng: np.random.RandomState
    ) -> list[tuple[Integers, Integers] | None]:
        """Return for each member the episode of every row and how often each episode is drawn."""
        if not self.bootstrap:
            return [None] * self.n_estimators
        if y is None:
            require_rows(as_table(X))
            codes = episode_codes(X, unwrap(self.estimator)[1].episode)
        elif log["episode"] is not None:
            codes = label_codes(log["episode"], "episode")
        else:  # every row is a decision of its own
            codes = np.arange(len(y), dtype=np.int32)
        check_consistent_length(X, codes, y, log["reward"])
        read_weights(log["sample_weight"], len(codes))
        n_episodes = int(codes.max()) + 1
        return [
            (codes, np.bincount(rng.randint(n_episodes, size=n_episodes), minlength=n_episodes))
            for _ in range(self.n_estimators)
        ]

    @property
    def actions_(self) -> npt.NDArray[Any]:
        """Every action that some clone knows, sorted, (n_actions,)."""
        return self._actions.labels

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """Labels of the actions, (n_actions,); the columns of ``predict_proba``."""
        return self.actions_

    # --------------------------------------------------------------------------------- prediction

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the action with the highest mean Q in each state.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``MarkovPolicyEstimator.predict``.

        Returns
        -------
        actions : ndarray of shape (n_samples,)
            Labels from ``actions_``. In a state that no clone knows, the most frequent of the
            answers that the clones give by their ``handle_unknown``.

        Raises
        ------
        TypeError, ValueError
            As in ``MarkovPolicyEstimator.predict``.

        Warns
        -----
        UserWarning
            If no clone knows some state, and ``handle_unknown="warn"``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.ensemble import PolicyBagging
        >>> single = MarkovPolicyEstimator()
        >>> policies = PolicyBagging(single, bootstrap=True, random_state=0).fit(load_climb())
        >>> policies.predict(["low", "high"])
        array(['climb', 'climb'], dtype=object)
        """
        actions: Integers = self._average(X, "actions")
        return np.asarray(self.actions_[actions])

    def predict_proba(self, X: Any) -> Floats:
        """Return the share of clones that advise each action.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``predict``.

        Returns
        -------
        shares : ndarray of shape (n_samples, n_actions)
            In the order of ``actions_``. ``predict`` goes by mean Q, so its answer is not always
            the action with the largest share.

        Raises
        ------
        TypeError, ValueError
            As in ``predict``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.ensemble import PolicyBagging
        >>> policies = PolicyBagging(MarkovPolicyEstimator(), 1, random_state=0).fit(load_climb())
        >>> policies.predict_proba(["low"])
        array([[1., 0.]])
        """
        votes = self._average(X, "votes")
        return np.asarray(votes / len(self.estimators_))

    def decision_function(self, X: Any) -> Floats:
        """Return the mean Q of each action in each state.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``predict``.

        Returns
        -------
        q_values : ndarray of shape (n_samples, n_actions)
            In the order of ``actions_``. -inf where no clone admits the action, NaN in states that
            no clone knows.

        Raises
        ------
        TypeError, ValueError
            As in ``predict``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.ensemble import PolicyBagging
        >>> single = MarkovPolicyEstimator(gamma=0.5)
        >>> policies = PolicyBagging(single, 1, random_state=0).fit(load_climb())
        >>> policies.decision_function(["high"]).round(3)
        array([[0.5  , 0.125]])
        """
        return self._average(X, "q_values")

    def score_samples(self, X: Any) -> Floats:
        """Return the mean Q of the advised action, the value of each state.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``predict``.

        Returns
        -------
        values : ndarray of shape (n_samples,)
            NaN in states that no clone knows.

        Raises
        ------
        TypeError, ValueError
            As in ``predict``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> from skmdp.ensemble import PolicyBagging
        >>> single = MarkovPolicyEstimator(gamma=0.5)
        >>> policies = PolicyBagging(single, 1, random_state=0).fit(load_climb())
        >>> policies.score_samples(["top", "bottom"]).round(6)
        array([1., 0.])
        """
        return self._average(X, "values")

    def q_spread(self, X: Any) -> Floats:
        """Return the standard deviation of Q over the clones.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``predict``.

        Returns
        -------
        spread : ndarray of shape (n_samples, n_actions)
            Over the clones that admit the action in the state; NaN where fewer than two do. It
            shows how much depends on where borders lie and, with ``bootstrap``, on the episodes
            drawn. It is not a confidence interval.

        Raises
        ------
        TypeError, ValueError
            As in ``predict``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import make_search_log
        >>> from skmdp.ensemble import PolicyBagging
        >>> single = MarkovPolicyEstimator(gamma=0.99, handle_unknown="most_frequent")
        >>> policies = PolicyBagging(single, bootstrap=True, random_state=0)
        >>> policies = policies.fit(make_search_log(300, length=6, random_state=0))
        >>> policies.q_spread(["000000"]).shape == (1, len(policies.actions_))
        True
        """
        opinions = self._ask(X)
        rows = np.arange(len(opinions[0].codes))
        stacked = np.stack([opinion.q_values(rows, len(self.actions_)) for opinion in opinions])
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.filterwarnings("ignore", "Degrees of freedom", RuntimeWarning)
            spread = np.std(stacked, axis=0, ddof=1, where=np.isfinite(stacked))
        return np.asarray(spread)

    def _ask(self, X: Any) -> list[Opinion]:
        """Return what each member answers in the states of X."""
        check_is_fitted(self)
        opinions = []
        for member, place in zip(self.estimators_, self._action_codes, strict=True):
            transformers, estimator = unwrap(member)
            policy = fitted_policy(estimator)
            codes, columns = read_states(estimator, transform(transformers, X))
            votes = policy.decide_silently(codes, columns, estimator.handle_unknown)
            opinions.append(Opinion(policy, codes, place[votes], place))
        return opinions

    def _average(self, X: Any, wanted: str) -> npt.NDArray[Any]:
        """Return one of the averages over all members, with a row for each of X.

        In blocks, which bound the memory of numbers that there is one of for each row and action.
        """
        opinions = self._ask(X)
        n_rows, n_actions = len(opinions[0].codes), len(self.actions_)
        known = np.any([opinion.codes != UNKNOWN for opinion in opinions], axis=0)
        self._warn_of_unknown(np.flatnonzero(~known))
        size = max(1, BLOCK_CELLS // n_actions)
        blocks = [np.arange(i, min(i + size, n_rows)) for i in range(0, n_rows, size)]
        return np.concatenate(
            [getattr(average(opinions, rows, n_actions), wanted) for rows in blocks]
        )

    def _warn_of_unknown(self, rows: Integers) -> None:
        if len(rows) and unwrap(self.estimators_[0])[1].handle_unknown == "warn":
            warnings.warn(
                f"{len(rows)} row(s) hold a state that no member has seen in fit, first row "
                f"{rows[0]} (counting from 0). They get the action that most members logged most. "
                "Choose handle_unknown='most_frequent' if that is right, 'error' or 'nearest' if "
                "not.",
                UserWarning,
                stacklevel=4,
            )

    # ------------------------------------------------------------------------------------- scores

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        reward: Any = None,
        episode: Any = None,
        duration: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return the estimated reward per episode of following the policy.

        The mean over the clones of the score that ``MarkovPolicyEstimator.score`` would give the
        ensemble in the states of the clone. The ensemble may advise several actions in rows that
        the clone counts as one state. It is then scored as a policy that takes each of these
        actions with the share of rows in which it advises it. Where states are made of
        measurements, by the clones or by an encoder before the ensemble, the mean is bounded by
        what the measurements tell, as ``MarkovPolicyEstimator.score`` is.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
            A log in the same form as in ``fit``, but other rows.
        y : array-like of shape (n_transitions,), default=None
            The logged actions, after a fit with ``y``.
        reward : array-like of shape (n_transitions,), default=None
            With ``y`` only: reward of every row.
        episode : array-like of shape (n_transitions,), default=None
            With ``y`` only: episode of every row.
        duration : array-like of shape (n_transitions,), default=None
            With ``y`` only: time from every row to the next decision, as in a column ``duration``.
        sample_weight : array-like of shape (n_transitions,), default=None
            How often each row counts.

        Returns
        -------
        score : float
            Reward per episode, higher is better. For a log without rewards: the weighted share of
            rows where the policy agrees with the logged action.

        Raises
        ------
        ValueError
            As in ``MarkovPolicyEstimator.score``.

        Warns
        -----
        UserWarning
            As in ``MarkovPolicyEstimator.score``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import make_search_log
        >>> from skmdp.ensemble import PolicyBagging
        >>> single = MarkovPolicyEstimator(gamma=0.99, min_count=5, handle_unknown="most_frequent")
        >>> policies = PolicyBagging(single, bootstrap=True, random_state=0)
        >>> policies = policies.fit(make_search_log(3000, length=4, random_state=0))
        >>> test = make_search_log(1000, length=4, random_state=1)
        >>> bool(policies.score(test) > test["reward"].sum() / 1000)
        True
        """
        handed = {"reward": reward, "episode": episode, "duration": duration}
        return self.__skmdp_score__(X, y, **handed, sample_weight=sample_weight).value

    def __skmdp_score__(self, X: Any, y: Any = None, **handed: Any) -> Scored:
        check_is_fitted(self)
        answers = read_state_labels(self._predict_silently(X), "action")
        measured = None
        values, uncovered, extrapolated = [], [], []
        for member in self.estimators_:
            transformers, estimator = unwrap(member)
            log = read_log_to_score(
                estimator,
                transform(transformers, X),
                y,
                beside=[answers],
                **handed,
            )
            taken = log.actions.encode([log.beside[0]])
            if log.rewards is None:
                return Scored(agreement(taken, log), 0.0)
            evidence = gather(log)
            if member is self.estimators_[0]:  # all of them see the same rows
                learned_from = fitted_policy(estimator).evidence
                warn_of_oddities_to_score(log, evidence, learned_from, stacklevel=3)
                if y is None and handed.get("sample_weight") is None:
                    read = self.__skmdp_measured__() if is_behind_transformers(self) else None
                    measured = read_behind(X, self.__skmdp_roles__(), read)
            shares = choice_of_rows(evidence.counts, log.state_codes, taken, log.weights)
            estimate = evaluate_for_score(evidence, log, shares, measured)
            values.append(estimate.value)
            uncovered.append(estimate.uncovered)
            extrapolated.append(estimate.extrapolated)
        warn_if_unsupported(float(np.mean(uncovered)), float(np.mean(extrapolated)), stacklevel=4)
        own = float(np.mean(values))
        if measured is None:
            return Scored(own, float(np.mean(uncovered)))
        return self._set_beside(own, measured, log)

    def _set_beside(self, own: float, measured: Measurements, log: Transitions) -> Scored:
        """Set a value in states beside what was measured; ``log`` is that of a member."""
        states = pd.DataFrame(
            dict(zip(log.states.names, log.states.parts(np.arange(len(log.states))), strict=True))
        )
        if is_behind_transformers(self):  # the ensemble is asked about what was measured
            log, asked = measured.log, measured.decided_in
            states = measured.table(asked)
        else:
            asked = np.arange(len(log.states))
            parts = log.states.parts(asked)
            states = pd.DataFrame(dict(zip(log.states.names, parts, strict=True)))
        said = read_state_labels(self._predict_silently(states), "action")
        answers = np.full(len(log.states), UNKNOWN, dtype=np.int32)
        answers[asked] = log.actions.encode([said])
        return set_beside_measurements(own, measured, answers, log)

    def _predict_silently(self, X: Any) -> npt.NDArray[Any]:
        """Predict without a word about states that no member knows."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*no member has seen in fit", UserWarning)
            return self.predict(X)


def _require_policy(estimator: Any) -> None:
    policy, _ = last_step(estimator)
    if not has_policy(policy):
        raise TypeError(
            f"estimator must be a MarkovPolicyEstimator or a pipeline that ends in one, got "
            f"{type(policy).__name__}. A search goes around the ensemble: "
            "GridSearchCV(PolicyBagging(...), ...)."
        )


def _seeded(estimator: Any) -> list[str]:
    """Return the names of the parameters that hold a seed."""
    return sorted(
        name
        for name in estimator.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    )


def _with_seeds(estimator: Any, rng: np.random.RandomState) -> Any:
    seeds = {name: rng.randint(MAX_SEED) for name in _seeded(estimator)}
    return estimator.set_params(**seeds) if seeds else estimator


def _fit_member(
    member: Any, X: Any, y: Any, beside: dict[str, Any], drawn: tuple[Integers, Integers] | None
) -> Any:
    """Fit one member, on the drawn episodes: the episode of every row, and how often each counts.

    An episode drawn twice weighs twice; its rows are not copied.
    """
    if drawn is not None:
        episode, times = drawn
        rows = np.flatnonzero(times[episode])
        weights = times[episode[rows]].astype(np.float64)
        X, y = take_rows(X, rows), None if y is None else take_rows(y, rows)
        beside = {k: None if v is None else take_rows(v, rows) for k, v in beside.items()}
        given = beside["sample_weight"]
        beside["sample_weight"] = weights if given is None else weights * np.asarray(given)
    _, prefix = last_step(member)
    options = {prefix + name: value for name, value in beside.items() if value is not None}
    # Where they go is known: the last step, whatever its requests.
    with config_context(enable_metadata_routing=False):
        return member.fit(*((X,) if y is None else (X, y)), **options)

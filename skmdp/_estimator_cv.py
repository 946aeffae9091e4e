"""The estimator that chooses how far to trust thin data, and tells what that gains."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from numbers import Integral
from typing import Any, ClassVar, Literal, NoReturn, Self

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from skmdp._choice import Setting, choose, require_candidates
from skmdp._cross_validation import CrossValidation, Gain
from skmdp._estimator import MarkovPolicyEstimator
from skmdp._evaluation.verdict import ROUNDING, Verdict
from skmdp._learning import require_counts_of_rows
from skmdp._log.copies import holds_copies
from skmdp._log.engines import Tell
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence
from skmdp._log.folds import deal_episodes, number_rows, read_splits
from skmdp._log.forbidden import Forbidden, read_forbidden
from skmdp._log.frames import as_lazy, is_lazy_error
from skmdp._log.links import lacks_episodes, leads_astray, warn_if_unlinked
from skmdp._log.lots import N_LOTS, draw_coefficients
from skmdp._messages import shown
from skmdp._policy import Policy
from skmdp._telling import stage_teller
from skmdp._trust import read_behind
from skmdp._typing import Floats, Name

# A log of fewer rows than these is dealt to folds several times: much of what its folds tell is the
# luck of the deal, and there is little to be computed, but where measurements judge.
FEW_ROWS = 100_000
DEALS_OF_FEW_ROWS = 4
# Of the two-sided interval of the gain.
CONFIDENCE = 0.95


class MarkovPolicyCV(MarkovPolicyEstimator):
    """Learn a policy, choose how far to trust thin data, and tell whether it beats the log.

    A ``MarkovPolicyEstimator`` whose ``min_count`` and ``prior_strength`` are chosen by
    cross-validation over episodes: every candidate is learned from all folds but one and judged on
    that one. Then the chosen candidate is learned from the whole log, and its gain over the log is
    measured on episodes that come after those that teach it. The log is read once, and the counts
    of all folds but one are those of the whole minus the fold.

    Parameters
    ----------
    min_counts : sequence of float, default=(0, 3, 10, 30)
        Candidates for ``min_count``: an action may be advised in a state when its rows there weigh
        at least this much.
    prior_strengths : sequence of float or "auto", default=("auto",)
        Candidates for ``prior_strength``. ``"auto"`` is the one that the whole log chooses.
    cv : int, splitter, iterable or None, default=5
        Number of folds, at least 2, to which whole episodes are dealt (None: 5); for a lazy table
        at most 200, and nothing but a number. Logs of less than 100,000 rows are dealt four times,
        but behind a ``StateEncoder``, so that the choice hangs less on the lot. Or a splitter,
        such as ``skmdp.model_selection.EpisodeShuffleSplit``: it is shown one sample for each
        episode that has rows which count, so that any of scikit-learn's keeps them whole. Or an
        iterable of positions of rows to learn from and to judge on, which must keep them whole.
    require_gain : bool, default=False
        If True, the policy is only trusted where it is shown to be better than what was logged
        (``is_better_``). Otherwise it answers with the most logged action of every state, and a
        warning says so.
    random_state : int, RandomState instance or None, default=None
        Seed of the lots by which episodes are dealt to the folds, and to the parts that the gain
        is measured on. None takes the same lots in every fit, whatever the order of the rows.
        Splitters have seeds of their own. The episodes of a lazy table are dealt in the order of
        their first steps and labels, so other lots fall than in memory, but the same on every
        engine.
    state : str, int or sequence of them, default="state"
        As in ``MarkovPolicyEstimator``, like all that follow.
    action : str or int, default="action"
        Column of the logged action.
    next_state : str, int or sequence of them, default=None
        Column(s) of the next state; None takes those that begin with ``"next_"``, or the state of
        the next row of the episode.
    reward : str, int or None, default="reward"
        Column of the reward. Without rewards there is no gain, and candidates are judged by the
        share of rows where they agree with the log.
    episode : str, int, sequence of them or None, default="episode"
        Column(s) that tell which rows belong together. A table needs them here.
    step : str, int or None, default="step"
        Column that orders the rows of an episode.
    terminated : str, int or None, default="terminated"
        Column that tells whether the process ended with a row.
    truncated : str, int or None, default="truncated"
        Column that tells whether the record broke off at a row.
    duration : str, int or None, default="duration"
        Column of the time until the next decision.
    duration_unit : {"second", "minute", "hour", "day", "week"}, default=None
        Unit of durations that are times.
    gamma : float, default=0.9
        Discount in [0, 1] that the policy plans with. Candidates are judged undiscounted.
    reward_on : {"state_action", "state"}, default="state_action"
        Average rewards per state and action, or per state whatever was done.
    untried : {"exclude", "uniform"}, default="exclude"
        How to treat an action in a state where it was never logged.
    forbidden : table, default=None
        Actions that must not be advised, and where.
    pessimism : float, default=0.0
        Number of standard errors, in [0, 1], subtracted from the value of every action.
    solver : str, default="auto"
        Algorithm that finds the values.
    tol : float, default=1e-6
        Guaranteed relative precision of ``state_values_``.
    max_iter : int, default=10_000
        Maximum number of iterations of the solver.
    handle_unknown : {"warn", "most_frequent", "error", "nearest"}, default="warn"
        How to answer in a state not seen in fit.
    verbose : int, default=0
        If positive, print a line per iteration of the solver in the last fit, and one per stage of
        what the engine of a lazy table does.

    Attributes
    ----------
    min_count_ : float
        The chosen one.
    prior_strength_ : float
        The chosen one; the number where ``"auto"`` was chosen.
    cv_results_ : dict of ndarray
        One entry per candidate, as in scikit-learn's searches: ``params``, ``param_min_count``,
        ``param_prior_strength``, ``split0_test_score``, ..., ``mean_test_score``,
        ``std_test_score``, ``rank_test_score``. The splits are the folds of all deals. The chosen
        candidate may rank behind others that are no better beyond chance; see Notes.
    value_ : float
        Reward per episode of policies on episodes that they were not learned from; see Notes.
    logged_value_ : float
        The same of the logged decisions, estimated in the same way.
    gain_ : float
        ``value_ - logged_value_``: what the policy earns more per episode than was logged. NaN
        without rewards.
    gain_interval_ : tuple of float
        Interval of the gain, at 95 %; see Notes.
    unsupported_share_ : float
        Share of the policy's decisions for which the log has fewer than five rows; behind a
        ``StateEncoder``, of those that the log hardly ever takes where the policy takes them.
    is_better_ : bool
        Whether the policy is shown to earn more than was logged: the interval lies above 0, above
        what a drift of rewards may account for, and behind an encoder above what unsupported
        decisions may cost; less than 10 % of the decisions lack support; and at least 20 episodes
        were judged on, three in five of all: of fewer, parts may hardly show how episodes end.
    imitates_log_ : bool
        Whether ``require_gain`` has put the most logged actions in place of the policy.

    See Also
    --------
    MarkovPolicyEstimator : The same with fixed parameters, and all other attributes.
    skmdp.metrics.evaluate_policy : Other methods, and the comparison with policies at hand.

    Notes
    -----
    A candidate's score is the mean over folds of its value by the direct method, with a prior of at
    most one row (behind a ``StateEncoder``, the smaller of this and of what the measurements tell,
    as in ``score``). Of the candidates within one standard error of the best (that of their
    difference, over the folds), the one in the middle by ``min_count`` is taken; of two near the
    best that is the larger one, of equal means the smallest ``min_count``, of several with the same
    ``min_count`` the best. On thin logs a large ``min_count`` means to imitate the log, which is
    best where the log knows what it does, and forgoes most where it does not, and a small one to
    follow what may be chance. Where the folds do not tell which, the middle risks least.

    The gain is measured on episodes that come after: the log is dealt to five parts by lot,
    whatever ``cv`` is, and the policy that is judged on a part is learned from the parts before it,
    by the candidate that is chosen on these in the same way. The first two parts only teach.
    Estimates are those of ``evaluate_policy``. They speak of policies that are learned from less
    than the log, and for decisions that a part lacks they take what was logged for granted. Both
    make the gain too small rather than too large. So the interval ends below where it does around
    this gain, its standard error no smaller than that on as many of all episodes. Above, it ends
    where it would around the gain of the policy itself on all episodes, if that is larger: too
    large rather than too small, since the policy was chosen on them. It tells of chance alone, not
    of causes of both decisions and rewards that the log hides, nor of outcomes too rare for it to
    hold.

    Where rewards, or where rows lead, change over the episodes, in the order in which the log holds
    them or in that of their first steps (of dates, in the latter alone), or over their steps,
    ``is_better_`` asks for more than that may account for (``drift_gain`` of ``evaluate_policy``):
    an action that was taken more often in good times is no better for it. The episodes of a lazy
    table are in the order of their first steps, those that start at one step in that of their
    labels: where neither is an order of time, a drift over episodes goes unnoticed.

    Behind a ``StateEncoder`` there are two parts, the second of about 60 % of the episodes:
    measurements need many rows to be told apart.

    With ``sample_weight`` the gain has no interval, NaN, and ``is_better_`` is False: a weight does
    not tell how much the episodes behind it differ. Where it counts episodes that are alike, write
    each out, with rows and a label of its own.

    The episodes of a lazy table are dealt on its engine to 200 lots, or one each where there are
    fewer, and folds and parts are made of lots. So up to 200 groups of rows come to memory for each
    distinct transition, never more than there are rows, and no single reward: sums of its first
    four powers are all that estimates and errors need. The standard error is that by episode, as
    the spread between lots of one time shows it, up to chance (of three parts of 40 lots, some
    9 %), and no smaller than that of rows where lots hold several episodes. The table needs a
    column ``step``. Further ones, by steps and by those of first rows, look for a drift over these.
    Where records break off and durations differ, rows of different durations are groups of their
    own, by a second query; round durations that hardly ever agree.

    Reading is as in ``MarkovPolicyEstimator``. Then each candidate costs one solution and one
    evaluation over the distinct transitions for each fold, and about as much for the gain as for
    the folds of one deal. Eight candidates and five folds cost 10 to 20 fits of a log with a
    million rows; four deals of a small log cost some 2.3 times as much as one.

    Examples
    --------
    >>> from skmdp import MarkovPolicyCV
    >>> from skmdp.datasets import make_search_log
    >>> policy = MarkovPolicyCV(gamma=0.99).fit(make_search_log(2000, length=4, random_state=0))
    >>> policy.is_better_
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{
            name: allowed
            for name, allowed in MarkovPolicyEstimator._parameter_constraints.items()
            if name not in ("min_count", "prior_strength")
        },
        "min_counts": "no_validation",  # by _grid
        "prior_strengths": "no_validation",
        "cv": ["cv_object"],
        "require_gain": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        min_counts: Sequence[float] = (0, 3, 10, 30),
        prior_strengths: Sequence[float | Literal["auto"]] = ("auto",),
        cv: Any = 5,
        require_gain: bool = False,
        random_state: int | np.random.RandomState | None = None,
        state: Name | Sequence[Name] = "state",
        action: Name = "action",
        next_state: Name | Sequence[Name] | None = None,
        reward: Name | None = "reward",
        episode: Name | Sequence[Name] | None = "episode",
        step: Name | None = "step",
        terminated: Name | None = "terminated",
        truncated: Name | None = "truncated",
        duration: Name | None = "duration",
        duration_unit: str | None = None,
        gamma: float = 0.9,
        reward_on: Literal["state_action", "state"] = "state_action",
        untried: Literal["exclude", "uniform"] = "exclude",
        forbidden: Any = None,
        pessimism: float = 0.0,
        solver: str = "auto",
        tol: float = 1e-6,
        max_iter: int = 10_000,
        handle_unknown: Literal["warn", "most_frequent", "error", "nearest"] = "warn",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            state=state,
            action=action,
            next_state=next_state,
            reward=reward,
            episode=episode,
            step=step,
            terminated=terminated,
            truncated=truncated,
            duration=duration,
            duration_unit=duration_unit,
            gamma=gamma,
            reward_on=reward_on,
            untried=untried,
            forbidden=forbidden,
            pessimism=pessimism,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            handle_unknown=handle_unknown,
            verbose=verbose,
        )
        # What is chosen is no parameter.
        del self.min_count, self.prior_strength
        self.min_counts = min_counts
        self.prior_strengths = prior_strengths
        self.cv = cv
        self.require_gain = require_gain
        self.random_state = random_state

    # ----------------------------------------------------------------------------------- learning

    @_fit_context(prefer_skip_nested_validation=True)
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
        """Choose a candidate by cross-validation over episodes, and learn it from all of them.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
            As in ``MarkovPolicyEstimator.fit``; a table must tell episodes, and a lazy one their
            steps.
        y : array-like of shape (n_transitions,), default=None
            The logged actions, where ``X`` holds features.
        reward : array-like of shape (n_transitions,), default=None
            With ``y`` only: reward of every row.
        episode : array-like of shape (n_transitions,), default=None
            With ``y`` only: episode of every row. None: every row is a decision of its own.
        duration : array-like of shape (n_transitions,), default=None
            With ``y`` only: time from every row to the next decision, as in a column ``duration``.
        sample_weight : array-like of shape (n_transitions,), default=None
            How often each row counts.

        Returns
        -------
        self : MarkovPolicyCV
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            As in ``MarkovPolicyEstimator.fit``; if a grid is empty or holds invalid values, or if
            there are fewer episodes than folds or no episodes at all; if ``cv`` of a lazy table is
            no number, or its rows have no steps; if rewards are too large or too small to be
            squared, as in ``evaluate_policy``. The estimator is then left as it was.
        RuntimeError
            If the engine of a lazy table fails, as in ``MarkovPolicyEstimator.fit``.
        EndlessLoopError
            As in ``MarkovPolicyEstimator.fit``.

        Warns
        -----
        ConvergenceWarning, UserWarning
            As in ``MarkovPolicyEstimator.fit``. If ``require_gain`` and no gain is shown, so that
            the policy imitates the log. If next states are given, and are not those of the next
            rows: where they hardly agree, ``is_better_`` is False.

        Examples
        --------
        >>> from skmdp import MarkovPolicyCV
        >>> from skmdp.datasets import make_search_log
        >>> log = make_search_log(2000, length=4, random_state=0)
        >>> policy = MarkovPolicyCV(gamma=0.99, min_counts=[0, 20], cv=3).fit(log)
        >>> policy.cv_results_["param_min_count"].tolist()
        [0.0, 20.0]

        One long episode cannot be dealt to folds:

        >>> policy.fit(log[log["episode"] == 0])
        Traceback (most recent call last):
        ...
        ValueError: cv=3 folds need at least 3 episodes, but 1 hold rows...
        """
        grid = self._grid()
        task = self._begin(X, y)
        handed = {"reward": reward, "episode": episode, "duration": duration}
        handed["sample_weight"] = sample_weight
        judge, forbidden = self._deal(X, y, handed, stage_teller(self, task))
        evidence = judge.evidence
        if any(prior_strength == "auto" for _, prior_strength in grid):
            require_counts_of_rows(evidence)
        settings = [
            Setting(
                float(min_count),
                float(judge.prior_strength if strength == "auto" else strength),
            )
            for min_count, strength in grid
        ]
        scores = judge.score(settings)
        chosen = settings[choose(scores, settings, judge.times_held_out)]
        held_out = judge.gain(settings)
        policy, solution = self._advise(task, evidence, y, forbidden, None, asdict(chosen))
        is_weighted = sample_weight is not None
        verdict = _verdict(held_out, judge.gain_of(policy), judge.log, is_weighted=is_weighted)
        imitates = self.require_gain and not verdict.is_better
        if imitates:
            _warn_of_imitation(verdict)
            rarest = {**asdict(chosen), "min_count": np.inf}
            policy, solution = self._advise(task, evidence, y, forbidden, None, rarest)
        self._finish(task, policy, solution, X, y)
        self.min_count_ = chosen.min_count
        self.imitates_log_ = imitates
        self.cv_results_ = _as_results(grid, scores)
        self.value_, self.logged_value_ = held_out.value, held_out.logged
        self.gain_ = held_out.difference
        self.gain_interval_ = (verdict.lower, verdict.upper)
        self.unsupported_share_ = verdict.unknown_share
        self.is_better_ = verdict.is_better
        self._conclusion = verdict.sentence(f"{CONFIDENCE:.0%}, held-out episodes")
        return self

    def _deal(
        self, X: Any, y: Any, handed: Mapping[str, Any], tell: Tell
    ) -> tuple[CrossValidation, Forbidden | None]:
        """Read a log and deal it to folds; tell what is forbidden, too."""
        cv = 5 if self.cv is None else self.cv
        is_lazy, lot = as_lazy(X) is not None, None
        if is_lazy:
            _require_lots(X, cv)
            lot = draw_coefficients(self.random_state)
        are_rows = not (isinstance(cv, Integral) or hasattr(cv, "split"))
        beside = []
        if are_rows:
            beside = [number_rows(X)]
            cv = read_splits(cv, len(beside[0].codes))
        log, evidence = self._count(
            X, y, handed, is_whole=True, beside=beside, to_judge=True, lot=lot, tell=tell
        )
        self._require_episodes(evidence, is_table_form=y is None)
        warn_if_unlinked(log, stacklevel=4)
        forbidden = read_forbidden(self.forbidden, evidence, X, self.action)
        self._require_a_policy(evidence, forbidden)
        is_measured = y is None and handed["sample_weight"] is None and not is_lazy
        measured = read_behind(X, self._roles(), to_judge=True) if is_measured else None

        def learn(some: Evidence, setting: Setting, last_values: Floats | None) -> Policy:
            with warnings.catch_warnings():  # the last fit warns
                warnings.simplefilter("ignore")
                return self._solve(
                    some,
                    asdict(setting),
                    is_table_form=y is None,
                    forbidden=forbidden,
                    initial_values=last_values,
                )[0]

        n_deals = DEALS_OF_FEW_ROWS if log.n_rows < FEW_ROWS and measured is None else 1
        folds = deal_episodes(log, cv, self.random_state, n_deals=n_deals)
        judge = CrossValidation(
            log, evidence, folds, measured, learn, self.handle_unknown, self.random_state
        )
        return judge, forbidden

    def _grid(self) -> list[tuple[float, float | str]]:
        """Return the candidates, each min_count with each prior strength; raise for wrong ones."""
        for name in ("min_counts", "prior_strengths"):
            require_candidates(
                getattr(self, name),
                name,
                type(self).__name__,
                may_be_auto=name == "prior_strengths",
            )
        return list(product(self.min_counts, self.prior_strengths))

    def _require_episodes(self, evidence: Evidence, *, is_table_form: bool) -> None:
        """Raise for a table that tells no episodes."""
        if is_table_form and evidence.n_episodes is None:
            raise ValueError(
                "MarkovPolicyCV judges on held-out episodes, but nothing in the table tells which "
                f"rows belong together: there is no column {shown(self.episode)}. Name it with "
                "episode=..., or use MarkovPolicyEstimator, which needs no episodes where next "
                "states are given."
            )

    def _setting(self) -> dict[str, Any]:
        min_count = np.inf if self.imitates_log_ else self.min_count_
        return {"min_count": min_count, "prior_strength": self.prior_strength_}

    @property
    def partial_fit(self) -> NoReturn:
        """Not available: what is chosen rests on the episodes of one whole log."""
        raise AttributeError(
            "MarkovPolicyCV has no partial_fit, since it chooses by the episodes of one whole log. "
            "Use MarkovPolicyEstimator with the chosen min_count_ and prior_strength_."
        )

    # ---------------------------------------------------------------------------------- summaries

    def summary(self) -> str:
        """Say what was chosen, what it is worth, against what, and on how much data.

        Returns
        -------
        text : str
            Four lines.

        Examples
        --------
        >>> from skmdp import MarkovPolicyCV
        >>> from skmdp.datasets import make_search_log
        >>> policy = MarkovPolicyCV(gamma=0.99).fit(make_search_log(2000, length=4, random_state=0))
        >>> print(policy.summary())
        Chosen: min_count=3, prior_strength=0.01 (of 4 candidates).
        Worth: -1.427 per episode on held-out episodes; the log: -2.491.
        Better than the logged policy, by 0.9385 to 1.206 (95%, held-out episodes).
        Data: 2,000 episodes, 4,998 rows, 31 states, 4 actions; of 0.5% of its decisions the log
        tells too little.
        """
        check_is_fitted(self)
        evidence = self._policy.evidence
        n_candidates = len(self.cv_results_["params"])
        chosen = f"min_count={self.min_count_:g}, prior_strength={self.prior_strength_:g}"
        if self.imitates_log_:
            chosen = f"the most logged action of every state, since no gain of {chosen} is shown"
        worth = (
            f"Worth: {self.value_:.4g} per episode on held-out episodes; the log: "
            f"{self.logged_value_:.4g}.\n{self._conclusion}"
        )
        if not evidence.has_rewards:
            worth = "Worth: not known, since the log has no rewards.\nIt advises what is usual."
        lacking = ""
        if evidence.has_rewards:
            lacking = (
                f"; of {self.unsupported_share_:.1%} of its decisions the log tells too little"
            )
        return (
            f"Chosen: {chosen} (of {n_candidates} candidates).\n{worth}\n"
            f"Data: {evidence.n_episodes:,} episodes, {evidence.n_transitions:,} rows, "
            f"{len(self.states_):,} states, {len(self.actions_):,} actions{lacking}."
        )

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        written = super().__repr__(N_CHAR_MAX)
        return f"{written}\n{self.summary()}" if hasattr(self, "_conclusion") else written


def _require_lots(X: Any, cv: Any) -> None:
    """Raise unless a lazy table, whose episodes are dealt to lots, is to be dealt to folds."""
    if not isinstance(cv, Integral):
        why = f"cv={shown(cv)} makes splits of single episodes or rows, as a number would not"
        raise is_lazy_error(X, why)
    if int(cv) > N_LOTS:
        raise ValueError(
            f"cv={cv} is more than the {N_LOTS} lots that the episodes of a lazy table are dealt "
            "to. Lower cv, or collect the table."
        )


def _verdict(held_out: Gain, on_all: Gain, log: Transitions, *, is_weighted: bool) -> Verdict:
    """Return what may be claimed, given the gain on held-out episodes and that on all of them."""
    z = float(ndtri((1 + CONFIDENCE) / 2))
    # Few rows of each action tell a spread that is too small; all episodes tell it better.
    of_all = on_all.error * float(np.sqrt(on_all.n_episodes / max(held_out.n_episodes, 1)))
    error = max(held_out.error, of_all)
    size = max(abs(held_out.value), abs(held_out.logged))
    if max(error, abs(held_out.difference), abs(on_all.difference)) <= ROUNDING * size:
        error = np.nan  # where nothing ever differs, nothing tells of chance
    return Verdict(
        value=held_out.value,
        logged=held_out.logged,
        lower=held_out.difference - z * error,
        upper=max(held_out.difference, on_all.difference) + z * error,
        unknown_share=on_all.unsupported,
        cost=held_out.cost,
        logged_error=on_all.logged_error,
        mean_return=on_all.mean_return,
        unknown_time_share=log.unknown_time_share,
        drift=on_all.drift,
        n_episodes=held_out.n_episodes,
        lacks_episodes=lacks_episodes(log),
        leads_astray=leads_astray(log),
        holds_copies=holds_copies(log),
        is_weighted=is_weighted,
    )


def _warn_of_imitation(verdict: Verdict) -> None:
    warnings.warn(
        "No gain over the logged policy is shown, so the policy is the most logged action of every "
        f"state (require_gain=True). {verdict.sentence('95 %, held-out episodes')} Collect more "
        "episodes, or say require_gain=False to take the learned policy without proof.",
        UserWarning,
        stacklevel=4,
    )


def _as_results(grid: Sequence[tuple[float, float | str]], scores: Floats) -> dict[str, Any]:
    """Return scores (n_candidates, n_folds) as scikit-learn's searches keep theirs."""
    min_counts, strengths = zip(*grid, strict=True)
    means = scores.mean(axis=1)
    ranked = np.where(np.isnan(means), -np.inf, means)
    return {
        "param_min_count": np.array(min_counts, dtype=np.float64),
        "param_prior_strength": np.array(strengths, dtype=object),
        "params": [
            {"min_count": min_count, "prior_strength": strength} for min_count, strength in grid
        ],
        **{f"split{j}_test_score": scores[:, j] for j in range(scores.shape[1])},
        "mean_test_score": means,
        "std_test_score": scores.std(axis=1),
        "rank_test_score": rankdata(-ranked, method="min").astype(np.int32),
    }

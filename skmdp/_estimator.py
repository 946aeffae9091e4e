"""The estimator: parameters, fit, predict. Algorithms live in their own modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import _fit_context
from sklearn.callback import CallbackContext, CallbackSupportMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from skmdp._fitted import FittedAttributes
from skmdp._learning import learn_policy, require_actions, warn_if_none_is_frequent
from skmdp._log.durations import UNITS
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence, add, check_forget, gather
from skmdp._log.forbidden import Forbidden, read_forbidden
from skmdp._log.forms import read_log
from skmdp._log.frames import require_eager
from skmdp._log.links import warn_if_astray
from skmdp._log.oddities import warn_of_oddities
from skmdp._log.roles import ROLES, Roles
from skmdp._policy import Policy, read_asked, read_states, require_numbers
from skmdp._scoring import check_form, score_asks_as_fit, score_policy
from skmdp._telling import iteration_teller, stage_teller
from skmdp._trust import Scored
from skmdp._typing import Codes, Floats, Name
from skmdp._views import PolicyViews
from skmdp.solvers import Solution
from skmdp.solvers._solve import EVALUATIONS


class MarkovPolicyEstimator(PolicyViews, CallbackSupportMixin, FittedAttributes):
    """Learn a decision policy from a table of logged transitions.

    The log is read as a Markov decision process: what follows a decision depends on the state and
    the action alone. The estimator counts transitions to estimate P(s'|s,a), averages rewards to
    estimate R(s,a), and solves the Bellman optimality equation of the estimated process, which
    says what each action is worth if the best one is taken ever after. The policy takes the action
    that is worth most.

    Parameters come in four groups. ``state`` to ``duration_unit`` say what the columns of the table
    are, ``gamma`` to ``pessimism`` shape the model, ``solver`` to ``max_iter`` say how it is
    solved, and ``handle_unknown`` the prediction.

    Read more in ``examples/GUIDE.md``: what a row means, what is assumed, and when not to use it.

    Parameters
    ----------
    state : str, int or sequence of them, default="state"
        Column(s) of the table that make up the state: one name, or a list, tuple, array or Index of
        names. Here and below, integers name columns that pandas numbers.
    action : str or int, default="action"
        Column of the logged action. The last row of an episode may lack it, and the reward: it
        then holds the last observation, to which the row before leads, and no decision. The
        episode counts as cut off there unless one of these two rows is ``terminated``.
    next_state : str, int or sequence of them, default=None
        Column(s) of the next state, one for each state column. None takes the columns
        ``"next_" + c`` if the table has them, else the state of the next row of the same episode.
    reward : str, int or None, default="reward"
        Column of the reward of the row: what was earned from its decision up to the next
        one. None for a log without rewards.
    episode : str, int, sequence of them or None, default="episode"
        Column that tells which rows belong together, or columns that tell it together, such as
        ``["customer", "day"]``. A table with next states may lack it, if the name is the default
        one.
    step : str, int or None, default="step"
        Column that orders the rows of an episode, used when the table has it; else rows are used
        in the order given. Where next states are read off the following row, whole step numbers
        must count up by one; times may have gaps.
    terminated : str, int or None, default="terminated"
        Column of booleans or 0 and 1, used when the table has it: True means no value after this
        row, even if a next state is given. False with no next state means that it is unknown what
        followed (*truncated*); such a row is left out of the counts. None also says that every
        episode ends with its last row, where nothing else is known of it.
    truncated : str, int or None, default="truncated"
        Column of booleans or 0 and 1, used when the table has it: True means that the record was
        cut off at this row, and the process went on. If a next state is given, the row counts and
        leads there; if not, it is left out of the counts. Where ``terminated`` is True as well,
        the row is an end.
    duration : str, int or None, default="duration"
        Column of the time until the next decision, used when a table has it: positive numbers or
        timedeltas. The reward of a row is paid at its decision, and what follows is discounted by
        ``gamma ** duration``. ``"step"`` takes the differences of the column ``step`` within the
        episode, of numbers or datetimes; a row that is missing between two others is then taken for
        a decision that took as long. A row that leads nowhere may lack its duration. Beside
        features and actions, durations are handed to ``fit``.
    duration_unit : {"second", "minute", "hour", "day", "week"}, default=None
        Unit of durations that are timedeltas, or differences of datetimes. None takes the largest
        of day, hour and second of which the median duration has at least one (else second), in a
        stream of batches that of the first.
    gamma : float, default=0.9
        Discount in [0, 1]: a reward that comes t decisions later counts ``gamma ** t`` as much;
        where there are durations, one that comes after a time of t units. 1 is accepted when every
        state has a way to an end and no loop earns; loops may lose.
    reward_on : {"state_action", "state"}, default="state_action"
        Average rewards per state and action, or per state whatever was done.
    untried : {"exclude", "uniform"}, default="exclude"
        How to treat an action in a state where it was never logged. ``"exclude"``: it cannot be
        chosen. ``"uniform"``: it leads to every label of ``states_`` with equal probability and
        pays the state's mean reward. This is dangerous: on small logs such a policy often advises
        actions that nobody has tried (with 500 logged searches, in every fifth state of the search
        example).
    forbidden : table, default=None
        Forbidden actions: a table (pandas, polars or pyarrow) of the action column and some or
        all of the state columns. A state column that it lacks means any label. A row matches a
        state by equal labels; without rows nothing is forbidden. Such actions are never advised,
        neither as the most logged one nor in unknown states, and values are those of the process
        without them. Rows of the log that took one are counted all the same: they say what is
        usual in their state. See ``skmdp.inspection.forbidden_cost`` for what it costs.
    min_count : float, default=0
        An action may be chosen in a state when its rows there weigh at least this much. A state
        where no action does keeps its most logged one; where that is so in every state, the policy
        imitates the log.
    prior_strength : float or "auto", default=0.0
        Strength of the prior, in rows. Estimates of a state and action with n rows get the weight
        ``n / (n + prior_strength)``; the rest of the weight goes to the estimates from all rows of
        the state, whatever the action. With 0 there is no prior. ``"auto"`` takes the strength
        that best predicts each row's next state from the other rows, and is the advice for logs
        with few rows per action. It looks at transitions, not at rewards, and sample weights must
        then be whole numbers.
    pessimism : float, default=0.0
        Number of standard errors, in [0, 1], subtracted from the value of every action. Of two
        actions with equal estimates, the better known one is then advised. ``state_values_`` are
        lowered by these errors; do not read them as expected rewards. Needs ``gamma`` below 1 and
        at least one row, by weight, behind each transition; where durations differ, also whole
        sample weights.
    solver : str, default="auto"
        Algorithm that finds the values: ``"modified_policy_iteration"``, ``"policy_iteration"``,
        ``"value_iteration"``, or ``"auto"``, which is the first of them and mostly the fastest.
        All prove the same bound; see ``skmdp.solvers.solve``.
    tol : float, default=1e-6
        A guarantee: ``state_values_`` are within ``tol * max(max|R|, max|V|)`` of the optimal
        values of the estimated process, in every state.
    max_iter : int, default=10_000
        Maximum number of iterations of the solver.
    handle_unknown : {"warn", "most_frequent", "error", "nearest"}, default="warn"
        How to answer in a state not seen in fit. ``"warn"`` gives the most logged action, with a
        warning, ``"most_frequent"`` the same silently; ``"error"`` raises. ``"nearest"`` gives the
        answer of the nearest state with logged actions; it needs numeric state columns, each of
        which is scaled by its standard deviation over ``states_``. In place of an action that is
        ``forbidden`` in the unknown state, the most logged one that is not is answered.
    verbose : int, default=0
        If positive, print a line per iteration of the solver, and one for each stage of what the
        engine of a lazy table does. Progress bars and other callbacks of scikit-learn are attached
        with ``set_callbacks``; each iteration, and each stage, is a task.

    Attributes
    ----------
    states_ : ndarray of shape (n_states,) or (n_states, n_columns)
        Every label seen as state or next state, sorted; dtype object for several columns.
    actions_ : ndarray of shape (n_actions,)
        Every action logged, sorted.
    classes_ : ndarray of shape (n_actions,)
        The same as ``actions_``, under the name that scikit-learn's tools look for.
    policy_ : ndarray of shape (n_states,)
        Action advised in each state.
    state_values_ : ndarray of shape (n_states,)
        Expected discounted reward from each state on, following the policy.
    q_values_ : ndarray of shape (n_states, n_actions)
        Value of each action in each state; see ``decision_function``.
    expected_rewards_ : ndarray of shape (n_states, n_actions)
        Estimated R(s, a), NaN where the model knows none.
    visit_counts_ : ndarray of shape (n_states, n_actions)
        Weighted number of rows of each state and action.
    mdp_ : MDP
        The estimated process over the admissible pairs. With durations, its transitions are not
        probabilities: each is multiplied by its expected discount relative to ``discount_``, so
        mass is missing that has not ended. ``transition_matrix`` gives the probabilities.
    discount_ : float
        Discount that ``mdp_`` is solved with: ``gamma``, or gamma to the power of the shortest
        duration.
    duration_unit_ : str or None
        Unit of time that ``gamma`` is for; None where durations are plain numbers, or absent.
    default_action_ : scalar
        The most logged action, of those that are not forbidden in every state.
    initial_distribution_ : ndarray of shape (n_states,)
        Share of the episodes that start in each state; of all rows where episodes are unknown.
    prior_strength_ : float
        The strength used, where ``prior_strength="auto"`` chose it.
    behavior_policy_ : CSR array of shape (n_states, n_actions)
        Share of each action among the logged rows of each state.
    n_transitions_ : int
        Number of rows counted; where all sample weights are whole numbers, of those that they
        stand for.
    n_episodes_ : int or None
        Number of episodes; None for a table without them.
    n_truncated_ : int
        Number of rows left out because what followed is unknown.
    n_ended_ : int or None
        Number of episodes that are known to end: by ``terminated``, ``truncated`` or next states.
        None for a table without episodes.
    n_broken_off_ : int or None
        Number of episodes that were still going on at their last row. Of those that neither ended
        nor broke off the log does not tell, and they count as ended. None for a table without
        episodes.
    n_iter_ : int
        Number of iterations of the solver.
    converged_ : bool
        Whether ``tol`` was met.
    value_error_bound_ : float
        Proven bound on the error of ``state_values_``.
    n_features_in_ : int
        Number of state columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the state columns, where they have names.

    See Also
    --------
    skmdp.inspection.policy_table : The policy as a table, with what supports it.
    skmdp.model_selection.EpisodeKFold : Cross-validation that keeps episodes whole.

    Notes
    -----
    With n the weighted count of (s, a) and N of (s, a, s'),

        P(s'|s,a) = N(s,a,s') / n(s,a)        R(s,a) = sum of rewards of (s,a) / n(s,a)
        V(s) = max_a Q(s,a)                    Q(s,a) = R(s,a) + gamma sum_s' P(s'|s,a) V(s')

    With ``prior_strength`` kappa and lambda = n / (n + kappa), P and R are lambda times these plus
    (1 - lambda) times the same shares and mean over all rows of s: the posterior mean under a
    Dirichlet prior worth kappa rows. Its values are those of following the advice with
    probability lambda and the logged mix otherwise. With ``pessimism`` beta,

        Q(s,a) = ... - beta lambda sqrt((n Var(s,a) + Var(s)) / (n + 1) / n)

    where Var is the variance of r + gamma V(s') over the rows of the pair, or of the state (held at
    the solution without pessimism); no Q falls below the lowest mean reward (or 0) for ever.

    The strength of the prior has another default where policies are judged:

    ========================================= ============ ===================================
    ``MarkovPolicyEstimator``                 ``0.0``      no prior
    ``score``, ``policy_scorer``              ``"auto"``   compares models of any size fairly
    ``evaluate_policy``, ``compare_policies`` ``"capped"`` ``"auto"``, but at most 1: an
                                                           estimate that is hardly pulled
                                                           towards the log
    ========================================= ============ ===================================

    A state only ever reached, never acted in, is worth 0, so the end of an episode needs no rows
    of its own. Actions tie whose Q differ by no more than 1e-9 of the range of Q, or rounding: the
    most logged one is then advised, then the lowest label. The solver goes on until it has proven
    which actions are best to that precision, as far as ``max_iter`` and float64 allow; beyond that
    the best known action is advised.

    With durations, gamma P(s'|s,a) becomes the mean of gamma ** duration over the rows of (s, a),
    rows that lead elsewhere counting as 0: a semi-Markov process. Of equal durations d that is
    ``gamma ** d``, so durations of 1 change nothing. An untried action takes as long as the
    state's rows do. ``prior_strength="auto"`` looks at the transitions alone. With ``pessimism``,
    r + gamma ** duration V(s') of a row is what varies; that needs whole sample weights.

    Fitting hashes every label column once and sorts the codes, O(n_transitions log), and solves
    in O(distinct transitions) per sweep. Memory is O(n_transitions + distinct transitions); the
    dense (n_states, n_actions) views are built when asked for.

    References
    ----------
    M. L. Puterman, "Markov Decision Processes: Discrete Stochastic Dynamic Programming", Wiley
    (2005), chapter 6. R. S. Sutton and A. G. Barto, "Reinforcement Learning: An Introduction",
    2nd edition, MIT Press (2018), chapters 3 and 4. P. Rashidinejad et al., "Bridging offline
    reinforcement learning and imitation learning: a tale of pessimism", NeurIPS (2021), for the
    idea of a penalty by standard error.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> policy = MarkovPolicyEstimator(gamma=0.9).fit(load_climb())
    >>> policy.predict(["low", "mid", "high"])
    array(['climb', 'climb', 'climb'], dtype=object)
    >>> policy.policy_map()["high"]
    'climb'
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "state": [str, Integral, "array-like"],
        "action": [str, Integral],
        "next_state": [str, Integral, "array-like", None],
        "reward": [str, Integral, None],
        "episode": [str, Integral, "array-like", None],
        "step": [str, Integral, None],
        "terminated": [str, Integral, None],
        "truncated": [str, Integral, None],
        "duration": [str, Integral, None],
        "duration_unit": [StrOptions(set(UNITS)), None],
        "gamma": [Interval(Real, 0, 1, closed="both")],
        "reward_on": [StrOptions({"state_action", "state"})],
        "untried": [StrOptions({"exclude", "uniform"})],
        "forbidden": "no_validation",
        "min_count": [Interval(Real, 0, None, closed="left")],
        "prior_strength": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "pessimism": [Interval(Real, 0, 1, closed="both")],
        "solver": [StrOptions(set(EVALUATIONS))],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "handle_unknown": [StrOptions({"warn", "most_frequent", "error", "nearest"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
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
        min_count: float = 0,
        prior_strength: float | Literal["auto"] = 0.0,
        pessimism: float = 0.0,
        solver: str = "auto",
        tol: float = 1e-6,
        max_iter: int = 10_000,
        handle_unknown: Literal["warn", "most_frequent", "error", "nearest"] = "warn",
        verbose: int = 0,
    ) -> None:
        self.state = state
        self.action = action
        self.next_state = next_state
        self.reward = reward
        self.episode = episode
        self.step = step
        self.terminated = terminated
        self.truncated = truncated
        self.duration = duration
        self.duration_unit = duration_unit
        self.gamma = gamma
        self.reward_on = reward_on
        self.untried = untried
        self.forbidden = forbidden
        self.min_count = min_count
        self.prior_strength = prior_strength
        self.pessimism = pessimism
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.handle_unknown = handle_unknown
        self.verbose = verbose

    def get_metadata_routing(self) -> Any:
        """Return what is asked of metadata: ``score`` asks for what ``fit`` asks for.

        A policy fitted on rewards cannot be scored without them, and in a search a forgotten
        ``set_score_request`` would end in NaN scores. An explicit ``set_score_request`` has
        precedence.

        Returns
        -------
        routing : MetadataRequest
            The requests of this estimator.

        Examples
        --------
        >>> import sklearn
        >>> from skmdp import MarkovPolicyEstimator
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     policy = MarkovPolicyEstimator().set_fit_request(reward=True, episode="groups")
        ...     policy.get_metadata_routing().score.requests["episode"]
        'groups'
        """
        return score_asks_as_fit(super().get_metadata_routing())

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
        """Learn a policy from logged transitions.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
            Without ``y``: a table (pandas, polars or pyarrow) with the columns that the
            estimator's parameters name, or a lazy one (see the Notes). With ``y``: an array or
            table whose columns are all features of the state; the next state of a row is then that
            of the next row of the same episode.
        y : array-like of shape (n_transitions,), default=None
            The logged actions. The last row of an ``episode`` may lack it, as in a table.
        reward : array-like of shape (n_transitions,), default=None
            With ``y`` only: reward of every row. None: the log has no rewards, and the policy is
            the most logged action of each state.
        episode : array-like of shape (n_transitions,), default=None
            With ``y`` only: episode of every row. None: every row is a decision of its own.
        duration : array-like of shape (n_transitions,), default=None
            With ``y`` only: time from every row to the next decision, as in a column ``duration``.
        sample_weight : array-like of shape (n_transitions,), default=None
            How often each row counts. A row of weight 0 counts as if it were not there, except
            that the row before it still leads to its state. Of a table, it may be the name of a
            column.

        Returns
        -------
        self : MarkovPolicyEstimator
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the log cannot be read; the message names column, row and remedy. If ``forbidden``
            leaves a state without an action. The estimator is then left as it was.
        EndlessLoopError
            If ``gamma`` is 1 and a loop earns, or a state has no way to an end. It is a ValueError
            and names the labels of one state and action in such a loop.
        RuntimeError
            If the engine of a lazy table fails; the message names the stage, and the engine's own
            error is its cause.

        Warns
        -----
        ConvergenceWarning
            If the solver stopped before ``tol`` was met, or before it had proven the advice of
            every state.
        UserWarning
            If the log looks wrong though it can be read, in logs large enough to tell: most states
            hold a single row and are fractions; a state that is only reached differs from one that
            is acted in by rounding; next states are read off the following row, and all rows occur
            twice, or nothing tells how episodes end and they end anywhere (see "Records that break
            off" in ``examples/GUIDE.md``); those that are given are not what followed, as where the
            columns of state and action are swapped; episodes are there twice under two names. If
            ``min_count`` excludes every action in every state, so that the policy imitates the log.

        Notes
        -----
        Hand in whole episodes. Where next states are read off the following row, a row that was
        drawn away, as by a splitter that cuts episodes, makes the row before it lead elsewhere or
        end: split with ``EpisodeKFold``. A column of whole ``step`` numbers makes that an error.

        A lazy table (polars LazyFrame, DuckDB relation, Ibis table, PySpark or SQLFrame DataFrame)
        is grouped on its own engine, and only its distinct transitions come to memory: the policy
        is that of the same table in memory, with counts the same and sums of rewards up to
        rounding. Its rows have no order but that of a column ``step``. Where next states are read
        off the following row, the table must have one; else, without one, nobody knows where
        episodes start, and ``initial_distribution_`` is the share of rows. Where a table has both
        and only next states are wanted, ``step=None`` spares its engine the sorting. Durations
        are numbers, or with ``duration="step"`` differences of dates or of times in UTC;
        timedeltas where the engine measures them, as polars and DuckDB do. Labels with a time zone
        may come back in UTC.

        Rows that were aggregated elsewhere give the same policy if they hold the mean reward of
        each transition, and ``sample_weight`` the number of its rows.

        Examples
        --------
        Features and actions, here one-step decisions with a reward each:

        >>> from skmdp import MarkovPolicyEstimator
        >>> X, doses = [["young"], ["young"], ["old"], ["old"]], [1, 2, 1, 2]
        >>> policy = MarkovPolicyEstimator().fit(X, doses, reward=[0.2, 0.9, 0.4, -0.5])
        >>> policy.predict([["old"], ["young"]])
        array([1, 2])

        What cannot be right is refused:

        >>> policy.fit(X, doses, reward=[0.2, 0.9, 0.4, None])
        Traceback (most recent call last):
        ...
        ValueError: Column 'reward' contains NaN, None or infinity (inf) in 1 row(s)...

        A log that was aggregated elsewhere, with numbers of rows as weights:

        >>> from skmdp.datasets import load_climb
        >>> groups = load_climb().groupby(["state", "action", "next_state"], dropna=False)
        >>> table = groups["reward"].agg(["size", "mean"]).reset_index()
        >>> policy = MarkovPolicyEstimator(reward="mean").fit(table, sample_weight="size")
        >>> policy.n_transitions_
        12
        """
        task = self._begin(X, y)
        tell = stage_teller(self, task)
        handed = {"reward": reward, "episode": episode, "duration": duration}
        handed["sample_weight"] = sample_weight
        evidence = self._count(X, y, handed, is_whole=True, tell=tell)[1]
        forbidden = read_forbidden(self.forbidden, evidence, X, self.action)
        warn_if_none_is_frequent(evidence.counts, self.min_count, forbidden)
        return self._learn(task, evidence, X, y, forbidden)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        reward: Any = None,
        episode: Any = None,
        duration: Any = None,
        sample_weight: Any = None,
        forget: float = 1.0,
    ) -> Self:
        """Learn from one more batch of a log.

        Counts and rewards add up; with ``forget`` below 1, earlier batches count less and less, so
        that the policy follows a world that changes. Where next states are given, any split of the
        rows gives the result of one ``fit`` on all of them, up to rounding; only
        ``initial_distribution_`` and ``n_episodes_`` then ask for whole episodes. Where next states
        are read off the following row, a batch must hold whole episodes, because its last row of
        each counts as the end. A batch may count nothing: it may be empty, or hold truncated rows
        or rows of weight zero only. Until some row counts the estimator is not fitted.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
            A batch, in the same form as those before.
        y : array-like of shape (n_transitions,), default=None
            The logged actions, as in ``fit``.
        reward : array-like of shape (n_transitions,), default=None
            Reward of every row, as in ``fit``.
        episode : array-like of shape (n_transitions,), default=None
            Episode of every row, as in ``fit``.
        duration : array-like of shape (n_transitions,), default=None
            Duration of every row, as in ``fit``.
        sample_weight : array-like of shape (n_transitions,), default=None
            How often each row counts, or the name of a column, as in ``fit``.
        forget : float, default=1.0
            Factor in (0, 1] by which all earlier rows weigh less from now on. With the same factor
            f in n batches, the i-th one weighs ``f ** (n - i)`` times its ``sample_weight``, as in
            one ``fit`` with these weights. With rows that come evenly, the policy then looks at
            about the last ``1 / (1 - f)`` batches.

        Returns
        -------
        self : MarkovPolicyEstimator
            The fitted estimator. Labels that appear later are new states and actions; labels stay
            sorted, so their positions shift. Whole numbers become floats when a batch holds
            fractions in their column.

        Raises
        ------
        ValueError, TypeError
            If the batch cannot be read, or comes in another form than those before: with other
            columns, with rewards or episodes where those had none, with labels of another kind. If
            so far all rows of a state took actions that are ``forbidden`` there. The estimator is
            then left as it was.
        EndlessLoopError
            As in ``fit``.

        Warns
        -----
        ConvergenceWarning
            As in ``fit``.
        UserWarning
            If what a batch gives as next states seems to be none, as in ``fit``.

        Notes
        -----
        Labels, and the numbers of rows and episodes, stay however little these weigh. Old actions
        stay admissible; ``min_count`` looks at faded weights, and so excludes those that have not
        been logged for long. Faded weights are fractions: ``prior_strength="auto"`` refuses them,
        and ``pessimism`` those below 1. :func:`skmdp.inspection.drift` tells whether the world has
        changed at all.

        O(rows of the batch + distinct transitions so far), and some milliseconds per call. The
        solver starts from the last values. While ``min_count`` excludes every action, as it may in
        the first batches, each state keeps its most logged one; only ``fit`` warns of that.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> log = load_climb()
        >>> policy = MarkovPolicyEstimator()
        >>> for _, batch in log.groupby("episode"):
        ...     policy = policy.partial_fit(batch)
        >>> policy.n_episodes_
        4
        """
        check_forget(forget)
        fitted: Policy | None = getattr(self, "_policy", None)
        if fitted is not None:
            check_form(self, X, y)
        earlier = getattr(self, "_uncounted", None) if fitted is None else fitted.evidence
        task = self._begin(X, y)
        tell = stage_teller(self, task)
        handed = {"reward": reward, "episode": episode, "duration": duration}
        handed["sample_weight"] = sample_weight
        evidence = self._count(X, y, handed, earlier, tell=tell)[1]
        if earlier is not None:
            evidence, states_before = add(earlier.faded(forget), evidence)
        if not evidence.n_transitions:
            self._uncounted = evidence
            task.call_on_fit_task_end(estimator=self, X=X, y=y)
            return self
        last_values = np.zeros(len(evidence.states))
        if fitted is not None:
            last_values[states_before] = fitted.state_values
        forbidden = read_forbidden(self.forbidden, evidence, X, self.action)
        return self._learn(task, evidence, X, y, forbidden, last_values)

    def _count(
        self,
        X: Any,
        y: Any,
        handed: Mapping[str, Any],
        earlier: Evidence | None = None,
        *,
        is_whole: bool = False,
        to_judge: bool = False,
        lot: tuple[int, ...] | None = None,
        **options: Any,
    ) -> tuple[Transitions, Evidence]:
        """Read and count a log; squares of rewards are kept where variances are needed.

        ``handed`` is what came beside ``X`` and ``y``, by the parameters of ``fit``.
        A log that is whole, no batch of a stream, is looked at for what seems wrong with it, and
        must count something. One that is not counts time in the unit of ``earlier`` batches.
        ``lot`` deals the episodes of a lazy table to lots, on which policies are judged; with it,
        ``to_judge`` and other ``options`` go to ``read_log``.
        """
        unit = self.duration_unit
        if unit is None and earlier is not None and earlier.n_transitions:
            unit = None if earlier.discounting is None else earlier.discounting.unit
        if self.handle_unknown == "nearest":
            require_eager(X, "handle_unknown='nearest' measures distances between rows")
        log = read_log(
            X,
            y,
            self._roles(),
            **handed,
            reader=type(self).__name__,
            duration_unit=unit,
            may_count_nothing=not is_whole,
            to_judge=to_judge or self.pessimism > 0,  # which takes off errors
            gamma=self.gamma,
            times="never" if lot is None else "if cut",
            lot=lot,
            **options,
        )
        evidence = gather(log, keep_squares=self.pessimism > 0, gamma=self.gamma)
        if is_whole:
            warn_of_oddities(log, evidence, stacklevel=4)
        else:
            warn_if_astray(log, stacklevel=4)
        return log, evidence

    def _learn(
        self,
        task: CallbackContext,
        evidence: Evidence,
        X: Any,
        y: Any,
        forbidden: Forbidden | None,
        last_values: Floats | None = None,
    ) -> Self:
        """Estimate, solve from the last values of a stream, and choose; then keep it all."""
        self._require_a_policy(evidence, forbidden)
        learned = self._advise(task, evidence, y, forbidden, last_values)
        return self._finish(task, *learned, X, y)

    def _begin(self, X: Any, y: Any) -> CallbackContext:
        """Tell callbacks that a fit begins."""
        task = self._init_callback_context(max_subtasks=None)
        task.call_on_fit_task_begin(estimator=self, X=X, y=y)
        return task

    def _require_a_policy(self, evidence: Evidence, forbidden: Forbidden | None) -> None:
        """Raise if the parameters leave some state without an answer."""
        if self.handle_unknown == "nearest":
            require_numbers(evidence)
        require_actions(evidence, forbidden, self.untried)

    def _advise(
        self,
        task: CallbackContext,
        evidence: Evidence,
        y: Any,
        forbidden: Forbidden | None,
        last_values: Floats | None,
        setting: Mapping[str, Any] | None = None,
    ) -> tuple[Policy, Solution]:
        """Estimate and solve, telling of it."""
        return self._solve(
            evidence,
            setting,
            is_table_form=y is None,
            forbidden=forbidden,
            initial_values=last_values,
            verbose=self.verbose,
            callback=iteration_teller(self, task) if hasattr(self, "_skl_callbacks") else None,
        )

    def _finish(
        self, task: CallbackContext, policy: Policy, solution: Solution, X: Any, y: Any
    ) -> Self:
        """Keep what was learned. All is read and computed: nothing here can fail halfway."""
        names = policy.evidence.states.names
        if y is None:
            self.feature_names_in_ = np.array(names, dtype=object)
            self.n_features_in_ = len(names)
        else:
            validate_data(self, X, reset=True, skip_check_array=True)
        if hasattr(self, "_uncounted"):
            del self._uncounted
        self._keep(policy, solution)
        task.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _solve(
        self, evidence: Evidence, setting: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[Policy, Solution]:
        """Learn from evidence by the parameters of the model and of the solver.

        A ``setting`` takes the place of those that ``MarkovPolicyCV`` chooses.
        """
        named = ("gamma", "reward_on", "untried", "pessimism", "solver", "tol", "max_iter")
        of_both = {name: getattr(self, name) for name in named}
        chosen = self._setting() if setting is None else setting
        return learn_policy(evidence, roles=self._roles(), **of_both, **chosen, **options)

    def _setting(self) -> dict[str, Any]:
        """Return the parameters that ``MarkovPolicyCV`` chooses."""
        return {"min_count": self.min_count, "prior_strength": self.prior_strength}

    def _roles(self) -> Roles:
        return Roles.of({role: getattr(self, role) for role in ROLES})

    def __skmdp_policy__(self) -> Policy:
        return self._policy

    def __skmdp_unrestricted__(self) -> Policy:
        """Return the policy that the same log supports if nothing is forbidden."""
        policy = self._policy
        if policy.forbidden is None:
            return policy
        options: dict[str, Any] = {
            "is_table_form": policy.is_table_form,
            "initial_values": policy.state_values,
        }
        return self._solve(policy.evidence, forbidden=None, **options)[0]

    def __skmdp_roles__(self) -> Roles:
        return self._roles()

    # --------------------------------------------------------------------------------- prediction

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the action that the policy advises in each state.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States. Of a table only the state columns are read, whatever else it holds (after a
            fit with ``y``: exactly the columns seen in fit). 1-D where the state is one column.

        Returns
        -------
        actions : ndarray of shape (n_samples,)
            Labels from ``actions_``; the most logged one in states only ever reached.

        Raises
        ------
        TypeError
            If a label is of another kind than in fit, such as a string for an integer.
        ValueError
            If a column or a label is missing, or a state unknown and ``handle_unknown="error"``, or
            if every action is forbidden in it.

        Warns
        -----
        UserWarning
            If states are unknown and ``handle_unknown="warn"``.

        Notes
        -----
        O(n_samples), with some tenths of a millisecond for checks per call: predict many states at
        once, or use ``policy_map`` to look up one at a time. The first call also hashes the known
        states, O(n_states).

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(load_climb())
        >>> policy.predict(["mid", "nowhere"])
        array(['climb', 'climb'], dtype=object)
        """
        columns = read_asked(self, X)
        return self._policy.advise(columns, self.handle_unknown, self.actions_)

    def predict_proba(self, X: Any) -> Floats:
        """Return the policy's probability of each action.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``predict``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_actions)
            In the order of ``actions_``; the policy is deterministic, so each row is one-hot.

        Raises
        ------
        TypeError, ValueError
            As in ``predict``.

        Warns
        -----
        UserWarning
            As in ``predict``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> policy = MarkovPolicyEstimator().fit(load_climb())
        >>> policy.predict_proba(["low"])
        array([[1., 0.]])
        """
        actions = self._decide(X)
        probabilities = np.zeros((len(actions), len(self.actions_)))
        probabilities[np.arange(len(actions)), actions] = 1.0
        return probabilities

    def decision_function(self, X: Any) -> Floats:
        """Return the value Q of each action in each state.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``predict``.

        Returns
        -------
        q_values : ndarray of shape (n_samples, n_actions)
            In the order of ``actions_``. -inf where an action may not be chosen, else 0 in states
            only ever reached, NaN in unknown states. The argmax of a row is not always what
            ``predict`` answers: ties go to the most logged action, and NaN has no maximum.

        Raises
        ------
        TypeError, ValueError
            As in ``predict``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(load_climb())
        >>> policy.decision_function(["high"]).round(3)
        array([[0.5  , 0.125]])
        """
        codes, _ = read_states(self, X)
        return self._policy.q_rows(codes)

    def score_samples(self, X: Any) -> Floats:
        """Return the value V of each state.

        Parameters
        ----------
        X : table, array of shape (n_samples, n_features_in_), or 1-D array-like of labels
            States, as in ``predict``.

        Returns
        -------
        values : ndarray of shape (n_samples,)
            Expected discounted reward from the state on; 0 in states only ever reached, NaN in
            unknown states.

        Raises
        ------
        TypeError, ValueError
            As in ``predict``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(load_climb())
        >>> policy.score_samples(["top", "bottom"]).round(6)
        array([1., 0.])
        """
        codes, _ = read_states(self, X)
        return np.append(self.state_values_, np.nan)[codes]

    def _decide(self, X: Any) -> Codes:
        """Return the code of the advised action of each state, (n,)."""
        codes, columns = read_states(self, X)
        return self._policy.decide(codes, columns, self.handle_unknown)

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

        The undiscounted reward per episode that the policy would have earned in the process
        re-estimated from ``X``, starting where the episodes of ``X`` start and followed to their
        end. Where a share c of the episodes of ``X`` is cut off (their last row leads on to a state
        that ``X`` acts in, or is truncated), it is (1 - c) times that plus c times the reward over
        as many steps as the longest episode of ``X`` has. Where ``X`` has durations that differ,
        the latter is the reward within the time T of the longest episode instead: each row of
        duration d goes on with probability exp(-d / T), so that the time is exponentially
        distributed with mean T, whatever its unit. Where an episode starts is told by the
        order of its rows, or by ``step``. Without episodes every row of a table counts as a start,
        followed for 1000 steps; so it is in a lazy table without ``step``, and a warning says so.

        Behind a ``StateEncoder`` in a pipeline, states may put measurements together that have
        different consequences, and their values are then far too high. There the score is the
        smaller of the value above and that of ``"fqe"`` (see ``skmdp.metrics.evaluate_policy``),
        which looks at the measurements themselves, less one standard deviation of the rewards for
        each decision of an episode that ``X`` hardly ever takes where the policy takes it.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_transitions, n_features)
            A log in the same form as in ``fit``, but other rows: on the training log the score is
            optimistic, since the policy was chosen on these rows.
        y : array-like of shape (n_transitions,), default=None
            The logged actions, after a fit with ``y``.
        reward : array-like of shape (n_transitions,), default=None
            With ``y`` only: reward of every row.
        episode : array-like of shape (n_transitions,), default=None
            With ``y`` only: episode of every row.
        duration : array-like of shape (n_transitions,), default=None
            With ``y`` only: time from every row to the next decision, as in a column ``duration``.
        sample_weight : array-like of shape (n_transitions,), default=None
            How often each row counts. Of a table, it may be the name of a column.

        Returns
        -------
        score : float
            Reward per episode, higher is better. For a log without rewards: the weighted share of
            rows where the policy agrees with the logged action.

        Raises
        ------
        ValueError
            If the log is in another form than in ``fit``, or has rewards where that had none, or
            the reverse; if it holds an unknown state and ``handle_unknown="error"``.

        Warns
        -----
        UserWarning
            If ``X`` lacks more than 1 % of the decisions that the policy would take, if the share
            of its episodes that would outlast every logged one, times 1 - c, is more than 10 %, if
            the rows of its episodes do not follow one another, or if it holds pieces of the
            episodes that the policy was fitted on.

        Notes
        -----
        Thin pairs are shrunk towards what is logged in their state whatever is done, with the
        strength that best predicts the rows of ``X`` from each other. That makes the score
        conservative and fair between models of different size: use it to compare models, do not
        report it as the expected reward (``skmdp.metrics.evaluate_policy`` estimates that, with an
        interval). Neither ``gamma`` nor the horizon of a model enters, so a search over ``gamma``
        is fair.
        It assumes Markov states and no hidden confounder, and cannot tell fast from slow where
        reward comes once, at an end that every episode reaches. Behind an encoder the forest that
        ``"fqe"`` needs is grown once for each content of a fold and kept; with ``sample_weight``
        the score is that in states alone. On most logs it costs about one
        fit; at worst (a process that neither ends nor settles) one pass over the distinct
        transitions for each step of the horizon. Unknown states are scored by what ``predict``
        answers, silently.

        Splitters that cut episodes (a plain ``cv=5``, or any that draws rows) change what is
        scored: every piece counts as an episode, so it starts in the middle, earns less, and ends
        where the next row was taken away. Use ``EpisodeKFold`` or ``EpisodeShuffleSplit``.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import make_search_log
        >>> policy = MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.99)
        >>> policy = policy.fit(make_search_log(5000, length=4, random_state=0))
        >>> test = make_search_log(1000, length=4, random_state=1)
        >>> mean_of_the_log = test["reward"].sum() / 1000
        >>> bool(policy.score(test) > mean_of_the_log)
        True
        """
        handed = {"reward": reward, "episode": episode, "duration": duration}
        return score_policy(self, X, y, **handed, sample_weight=sample_weight).value

    def __skmdp_score__(self, X: Any, y: Any = None, **beside: Any) -> Scored:
        return score_policy(self, X, y, **beside)

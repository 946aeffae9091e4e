"""Whether a new log comes from the world that a policy was fitted in."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, validate_params

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._log.episodes import Transitions
from skmdp._log.evidence import Evidence, add, gather
from skmdp._log.reading import read_table
from skmdp._messages import shown
from skmdp._pipelines import transform, unwrap
from skmdp._policy import Policy, fitted_policy, has_policy, roles_of
from skmdp._typing import Floats, Integers
from skmdp.inspection._differences import Sums, mean_differs, share_differs
from skmdp.inspection._gains import adjust_for_several
from skmdp.inspection._ranges import in_measured_units
from skmdp.preprocessing._described import set_apart

# Relative to the squares of the rewards: below, their spread is that of roundings.
ROUNDING = 1e-10


@validate_params(
    {"alpha": [Interval(Real, 0, 1, closed="neither")]}, prefer_skip_nested_validation=True
)
def drift(policy: Any, X: Any, *, alpha: float = 0.05) -> pd.DataFrame:
    """Test where the transitions or rewards of a new log differ from those a policy was fitted on.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, or pipeline or search that ends in one
        A policy fitted on a table.
    X : table of shape (n_transitions, n_columns)
        A log with the columns of that table, whose rows were not among those of fit.
    alpha : float, default=0.05
        Largest probability that anything is found in a log of an unchanged world.

    Returns
    -------
    table : pandas.DataFrame
        One row per state and action that both logs hold, the surest changes first. The state
        column(s) as in ``policy_table``; ``action``; ``rows_before`` and ``rows_now`` (weighted);
        the ``next_state`` whose share differs most surely (None for an end), and its
        ``share_before`` and ``share_now``; ``reward_before`` and ``reward_now``, the mean rewards
        (NaN for a log without rewards); ``duration_before`` and ``duration_now``, the mean
        durations (NaN where these are not known in both logs, or are all the same);
        ``p_next_state``, ``p_reward`` and ``p_duration``, the probabilities by chance of such a
        difference in the pair; ``p_value``, the smallest one, adjusted for all tests made;
        ``has_changed``, whether that is below ``alpha``.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is an ensemble, no policy at all, or one fitted on features and actions.
    ValueError
        If the log cannot be read, or its durations are in another unit than those of fit.

    Warns
    -----
    UserWarning
        If the logs have no state and action in common, so that there is nothing to compare.

    See Also
    --------
    skmdp.MarkovPolicyEstimator.partial_fit : Follows a changing world, with ``forget``.

    Notes
    -----
    Shares of next states are compared by Fisher's exact test, each against all others, times the
    number of next states of the pair. Mean rewards are compared by two tests, Student's t and
    Welch's, of which the less sure counts: so a rare large reward that one log happens to hold or
    lack is no change. Of the earlier log the spread of the rewards is known by state, not by pair
    (with ``pessimism`` by pair), and all of it is laid to the pair. Mean durations are compared as
    mean rewards are, with the spread of each pair; those of a policy that was fitted on a lazy
    table are not known. P-values are adjusted by Holm's method for all tests of a pair. Weights
    count as rows; fractions, as those of earlier batches with ``forget``, are rounded.

    The tests assume what the policy assumes: next state, reward and duration depend on state and
    action alone. Elsewhere rows of one episode are not independent, and more is found than has
    changed (:func:`markov_test` looks for that). A state or action that only one of the logs holds
    cannot be compared. The absence of a finding proves nothing: in a log with few rows per pair
    only large changes are found.

    O((n_transitions + rows of fit) log n_transitions).

    Examples
    --------
    Since the winter the lift that used to climb two times in three mostly stays where it is:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.inspection import drift
    >>> def log(share, seed):
    ...     rises = np.random.default_rng(seed).uniform(size=200) < share
    ...     return pd.DataFrame({"state": "low", "action": np.resize(["climb", "wait"], 200),
    ...         "next_state": np.where(rises, "high", "low"), "reward": 1.0})
    >>> policy = MarkovPolicyEstimator(gamma=0.5).fit(log(0.7, 0))
    >>> new = log(0.7, 1)
    >>> bool(drift(policy, new)["has_changed"].any())
    False
    >>> new.loc[new["action"] == "climb", "next_state"] = log(0.2, 2)["next_state"]
    >>> found = drift(policy, new)
    >>> found[["state", "action", "next_state", "share_before", "share_now", "has_changed"]]
      state action next_state  share_before  share_now  has_changed
    0   low  climb       high          0.64       0.21         True
    1   low   wait        low          0.37       0.34        False
    """
    transformers, estimator = unwrap(policy)
    fitted = _fitted_on_a_table(estimator)
    log = read_table(transform(transformers, X), roles_of(estimator))
    log = _in_unit_of(fitted.evidence, log)
    # How long rows took is kept, and nothing discounted.
    before, now = _side_by_side(fitted.evidence, gather(log, keep_squares=True, gamma=1.0))
    counts = (before.counts, now.counts)
    # Pairs that both logs hold.
    pairs = np.flatnonzero((counts[0].pair_weights > 0) & (counts[1].pair_weights > 0))
    p_next, triple = _compare_next_states(*counts)
    p_next, triple = p_next[pairs], triple[pairs]
    if not len(pairs):
        _warn_of_nothing_in_common(before, now)
    rewards = _compare([_reward_sums(log, pairs) for log in (before, now)], len(pairs))
    durations = _compare(_durations_that_vary(before, now, pairs), len(pairs))
    tests = [p_next, *(one.p_value for one in (rewards, durations) if one.is_made)]
    p_values = np.array(tests)
    adjusted = adjust_for_several(p_values.ravel()).reshape(p_values.shape).min(axis=0)
    rows = [one.pair_weights[pairs] for one in counts]
    figures = {
        "action": before.actions.labels[counts[0].pair_action[pairs]],
        "rows_before": rows[0],
        "rows_now": rows[1],
        "next_state": _labels_of_next(before, triple),
        "share_before": counts[0].weights[triple] / rows[0],
        "share_now": counts[1].weights[triple] / rows[1],
        "reward_before": rewards.before,
        "reward_now": rewards.now,
        "duration_before": durations.before,
        "duration_now": durations.now,
        "p_next_state": p_next,
        "p_reward": rewards.p_value,
        "p_duration": durations.p_value,
        "p_value": adjusted,
        "has_changed": adjusted < alpha,
    }
    states = dict(
        zip(before.states.names, before.states.parts(counts[0].pair_state[pairs]), strict=True)
    )
    states = in_measured_units(states, transformers, by_position=False)
    names = set_apart(list(states), tuple(figures))
    table = pd.DataFrame(dict(zip(names, states.values(), strict=True)) | figures)
    return table.sort_values("p_value", kind="stable", ignore_index=True)


def _in_unit_of(before: Evidence, log: Transitions) -> Transitions:
    """Return a log whose durations are in the unit of an earlier one, where both have some."""
    if before.discounting is None or log.durations is None:
        return log
    units = [one or "plain numbers" for one in (before.discounting.unit, log.durations.unit)]
    if len(set(units)) > 1 and None in (before.discounting.unit, log.durations.unit):
        raise ValueError(
            f"The durations of fit were in {units[0]}, those of X are in {units[1]}, so they "
            "cannot be compared. Hand in durations of one kind, or leave them out of X."
        )
    return replace(log, durations=log.durations.in_unit(before.discounting.unit))


def _warn_of_nothing_in_common(before: Evidence, now: Evidence) -> None:
    """Warn that no pair is in both logs; these have the same labels."""
    found = []
    for log in (before, now):
        pair = int(np.argmax(log.counts.pair_weights > 0))
        state = log.states.label(log.counts.pair_state[pair])
        action = log.actions.label(log.counts.pair_action[pair])
        found.append(f"{shown(action)} in state {shown(state)}")
    warnings.warn(
        "None of the actions of X was taken in the same state in the log of fit, so nothing can be "
        f"compared. In fit there is {found[0]}, in X {found[1]}. Hand in a log of the same states "
        "and actions, written as in fit.",
        UserWarning,
        stacklevel=4,
    )


def _fitted_on_a_table(estimator: Any) -> Policy:
    """Return the policy of an estimator, or raise if it holds none that a log can be put beside."""
    if not has_policy(estimator):
        raise TypeError(
            "policy must be a MarkovPolicyEstimator, or a pipeline or search that ends in one, got "
            f"{type(estimator).__name__}. Of an ensemble hand in one member: "
            "drift(ensemble.estimators_[0], X)."
        )
    fitted = fitted_policy(estimator)
    if not fitted.is_table_form:
        raise TypeError(
            "The policy was fitted on features X and actions y, but X here is a table of "
            "transitions. Fit it on a table whose columns are named: fit(table)."
        )
    if fitted.evidence.has_rewards and fitted.evidence.state_squares is None:
        raise ValueError(
            "The policy was fitted by a version of skmdp that kept too little of the rewards to "
            "compare them. Fit it anew."
        )
    return fitted


def _side_by_side(before: Evidence, now: Evidence) -> tuple[Evidence, Evidence]:
    """Return two logs under the same labels, with the same pairs and transitions in their counts.

    What one of them lacks weighs nothing there.
    """
    # Of these one may know none; and how they discount is not compared.
    logs = [replace(log, n_episodes=None, discounting=None) for log in (before, now)]
    one, other = logs
    return add(one, _weighing_nothing(other))[0], add(_weighing_nothing(one), other)[0]


def _weighing_nothing(log: Evidence) -> Evidence:
    """Return the labels of a log, with counts that add nothing."""
    squares = None if log.state_squares is None else 0 * log.state_squares
    counts = log.counts.weighed(0.0)
    nothing = counts.weights  # so that the sums of the other are kept
    counts = replace(
        counts, reward_squares=nothing, duration_sums=nothing, duration_squares=nothing
    )
    return replace(log, counts=counts, state_squares=squares)


def _compare_next_states(
    before: TransitionCounts, now: TransitionCounts
) -> tuple[Floats, Integers]:
    """Return the p-value of every pair, and the position of the triple that differs most surely."""
    pair = before.triple_pair
    sums = [
        np.rint(part) for log in (now, before) for part in (log.weights, log.pair_weights[pair])
    ]
    p_values = share_differs(*sums)
    n_triples = np.diff(before.indptr)
    smallest = np.minimum.reduceat(p_values, before.indptr[:-1])
    at_smallest = np.flatnonzero(p_values == smallest[pair])
    first = at_smallest[np.unique(pair[at_smallest], return_index=True)[1]]
    # Of two next states one has what the other lacks, so that their tests are one.
    n_tests = np.where(n_triples == 2, 1, n_triples)
    return np.minimum(n_tests * smallest, 1.0), first


@dataclass(frozen=True, eq=False)
class _Means:
    """Means of pairs in both logs, and the p-values of their differences, NaN if not compared."""

    before: Floats
    now: Floats
    p_value: Floats
    is_made: bool


def _compare(sums: Sequence[Sums | None], n_pairs: int) -> _Means:
    """Compare two logs by the sums of each pair, where both have any."""
    before, now = sums
    if before is None or now is None:
        nothing = np.full(n_pairs, np.nan)
        return _Means(nothing, nothing, nothing, is_made=False)
    return _Means(before.mean, now.mean, mean_differs(before, now), is_made=True)


def _durations_that_vary(before: Evidence, now: Evidence, pairs: Integers) -> list[Sums | None]:
    """Return the durations of both logs; if all are the same, there is nothing to test."""
    sums = [_duration_sums(log, pairs) for log in (before, now)]
    known = [one for one in sums if one is not None]
    means = np.concatenate([one.mean for one in known]) if known else np.zeros(0)
    vary = np.ptp(means) > ROUNDING * means.max() if len(means) else False
    return sums if vary or any(one.deviations.any() for one in known) else [None, None]


def _duration_sums(log: Evidence, pairs: Integers) -> Sums | None:
    """Return the durations of some pairs, None where they are not known."""
    counts = log.counts
    if counts.duration_sums is None or counts.duration_squares is None:
        return None
    sums, squares = (
        np.add.reduceat(part, counts.indptr[:-1])[pairs]
        for part in (counts.duration_sums, counts.duration_squares)
    )
    return Sums(counts.pair_weights[pairs], sums, squares)


def _reward_sums(log: Evidence, pairs: Integers) -> Sums | None:
    """Return the rewards of some pairs; of squares that are kept by state, the largest possible."""
    if not log.has_rewards:
        return None
    counts = log.counts
    # Weights of 0 are those of triples that the other log has.
    means = counts.reward_sums / np.where(counts.weights > 0, counts.weights, 1.0)
    at_means = counts.reward_sums * means
    squares = counts.reward_squares
    if squares is None:
        assert log.state_squares is not None
        state = counts.pair_state[counts.triple_pair]
        spread = log.state_squares - sum_by_code(state, at_means, counts.n_states)
        spread[spread <= ROUNDING * log.state_squares] = 0.0
        of_pairs = np.add.reduceat(at_means, counts.indptr[:-1]) + spread[counts.pair_state]
    else:
        of_pairs = np.add.reduceat(squares, counts.indptr[:-1])
    return Sums(counts.pair_weights[pairs], counts.pair_rewards[pairs], of_pairs[pairs])


def _labels_of_next(log: Evidence, triple: Integers) -> list[Any]:
    """Return the labels of the next states of some triples, None for an end."""
    following = log.counts.next_states[triple]
    is_end = following == len(log.states)
    labels = log.states.python_labels(np.where(is_end, 0, following))
    return [None if ends else label for ends, label in zip(is_end, labels, strict=True)]

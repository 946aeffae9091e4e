"""Whether a new log comes from the world that a policy was fitted in."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, validate_params

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._log.evidence import Evidence, add, gather
from skmdp._log.reading import read_table
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
        (NaN for a log without rewards); ``p_next_state`` and ``p_reward``, the probabilities by
        chance of such a difference in the pair; ``p_value``, the smaller one, adjusted for all
        tests made; ``has_changed``, whether that is below ``alpha``.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is an ensemble, no policy at all, or one fitted on features and actions.
    ValueError
        If the log cannot be read.

    See Also
    --------
    skmdp.MarkovPolicyEstimator.partial_fit : Follows a changing world, with ``forget``.

    Notes
    -----
    Shares of next states are compared by Fisher's exact test, each against all others, times the
    number of next states of the pair. Mean rewards are compared by two tests, Student's t and
    Welch's, of which the less sure counts: so a rare large reward that one log happens to hold or
    lack is no change. Of the earlier log the spread of the rewards is known by state, not by pair
    (with ``pessimism`` by pair), and all of it is laid to the pair. P-values are adjusted by Holm's
    method for two tests per pair. Weights count as rows; fractions, as those of earlier batches
    with ``forget``, are rounded.

    The tests assume what the policy assumes: next state and reward depend on state and action
    alone. Elsewhere rows of one episode are not independent, and more is found than has changed
    (:func:`markov_test` looks for that). A state or action that only one of the logs holds cannot
    be compared, and durations are not. The absence of a finding proves nothing: in a log with few
    rows per pair only large changes are found.

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
    before, now = _side_by_side(fitted.evidence, gather(log, keep_squares=True))
    counts = (before.counts, now.counts)
    # Pairs that both logs hold.
    pairs = np.flatnonzero((counts[0].pair_weights > 0) & (counts[1].pair_weights > 0))
    p_next, triple = _compare_next_states(*counts)
    p_next, triple = p_next[pairs], triple[pairs]
    means, p_reward = np.full((2, len(pairs)), np.nan), np.full(len(pairs), np.nan)
    if now.has_rewards:
        sums = [_reward_sums(evidence, pairs) for evidence in (before, now)]
        means, p_reward = np.array([one.mean for one in sums]), mean_differs(*sums)
    p_values = np.array([p_next, p_reward] if now.has_rewards else [p_next])
    adjusted = adjust_for_several(p_values.ravel()).reshape(p_values.shape).min(axis=0)
    rows = [one.pair_weights[pairs] for one in counts]
    figures = {
        "action": before.actions.labels[counts[0].pair_action[pairs]],
        "rows_before": rows[0],
        "rows_now": rows[1],
        "next_state": _labels_of_next(before, triple),
        "share_before": counts[0].weights[triple] / rows[0],
        "share_now": counts[1].weights[triple] / rows[1],
        "reward_before": means[0],
        "reward_now": means[1],
        "p_next_state": p_next,
        "p_reward": p_reward,
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
    # Of these one may know none; and how long rows took is not compared.
    logs = [replace(log, n_episodes=None, discounting=None) for log in (before, now)]
    one, other = logs
    return add(one, _weighing_nothing(other))[0], add(_weighing_nothing(one), other)[0]


def _weighing_nothing(log: Evidence) -> Evidence:
    """Return the labels of a log, with counts that add nothing."""
    squares = None if log.state_squares is None else 0 * log.state_squares
    counts = log.counts.weighed(0.0)
    counts = replace(counts, reward_squares=counts.weights)  # so that those of the other are kept
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


def _reward_sums(log: Evidence, pairs: Integers) -> Sums:
    """Return the rewards of some pairs; of squares that are kept by state, the largest possible."""
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

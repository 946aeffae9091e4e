"""The actions of every state of a policy, or of an ensemble in common states, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skmdp._estimation.counts import sum_by_code
from skmdp._estimation.process import expected_rewards
from skmdp._evaluation.pair_errors import PairErrors, following_of_pairs, pair_errors
from skmdp._log.evidence import Evidence
from skmdp._log.index import LabelIndex, index_labels
from skmdp._pipelines import unwrap
from skmdp._policy import Policy, fitted_policy, has_policy
from skmdp._typing import Array, Bools, Floats, Integers
from skmdp.ensemble import PolicyBagging
from skmdp.inspection._ranges import in_measured_units
from skmdp.preprocessing._described import set_apart

# Relative to the squares of the rewards: below, their spread is that of roundings.
ROUNDING = 1e-10
# Why an action may not be chosen.
FORBIDDEN = "forbidden"
RARE = "fewer rows than min_count"
UNPROVEN = "not what is logged most, and no gain over the log is shown"
ADMISSIBLE = ""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of a policy, sorted by state, then action, each array (n_pairs,).

    Those that were logged, and in each state the one that stands for untried actions where these
    may be chosen. ``state`` is a code of ``states``, ``action`` one of ``actions``. ``n`` is the
    weight of the rows, ``reward`` their mean; ``q`` what the action is worth if the advice is
    followed after it; ``error`` its standard error and ``gap_error`` that of its distance from the
    advised one, NaN where they were not asked for. ``why_not`` says why it may not be chosen,
    nothing if it may. ``tolerance`` (n_states,) is the difference of Q up to which actions tie.
    """

    states: LabelIndex
    actions: LabelIndex
    transformers: tuple[Any, ...]
    is_table_form: bool
    state: Integers
    action: Integers
    n: Floats
    reward: Floats
    q: Floats
    error: Floats
    gap_error: Floats
    is_advised: Bools
    why_not: Array
    tolerance: Floats

    def of(self, state: int) -> Pairs:
        """Return the pairs of one state."""
        return self.take(self.state == state)

    def take(self, kept: Bools) -> Pairs:
        """Return some of the pairs."""
        names = ("state", "action", "n", "reward", "q", "error", "gap_error", "is_advised")
        return replace(self, **{name: getattr(self, name)[kept] for name in (*names, "why_not")})

    @property
    def first(self) -> Integers:
        """Position of the first pair of every state that has any."""
        return np.flatnonzero(np.diff(self.state, prepend=-1))

    def per_state(self, amounts: Floats) -> Floats:
        """Return the sum of amounts over the pairs of each pair's state, (n_pairs,)."""
        return sum_by_code(self.state, amounts, len(self.states))[self.state]

    @property
    def share(self) -> Floats:
        """Share of each action among the rows of its state."""
        return np.asarray(self.n / self.per_state(self.n))

    @property
    def gap(self) -> Floats:
        """Q of the advised action minus that of the pair's."""
        return np.asarray(self.per_state(np.where(self.is_advised, self.q, 0.0)) - self.q)

    @property
    def ties(self) -> Bools:
        """Whether the pair may be chosen and is as good as the best that may, rounding aside."""
        q = np.where(self.why_not == ADMISSIBLE, self.q, -np.inf)
        best = np.maximum.reduceat(q, self.first)
        lengths = np.diff(np.append(self.first, len(q)))
        return np.asarray(q >= np.repeat(best, lengths) - self.tolerance[self.state])

    def measured(self, states: Integers) -> dict[Any, Any]:
        """Return some states column by column, in the units of what was measured."""
        columns = dict(zip(self.states.names, self.states.parts(states), strict=True))
        return in_measured_units(columns, self.transformers, by_position=not self.is_table_form)

    def frame(self, states: Integers, figures: dict[str, Any]) -> pd.DataFrame:
        """Return a table of states and figures of them."""
        shown = self.measured(states)
        names = set_apart(list(shown), tuple(figures))
        return pd.DataFrame(dict(zip(names, shown.values(), strict=True)) | figures)

    def labels(self, actions: Integers) -> Array:
        """Return the labels of some actions."""
        return self.actions.labels[actions]


def pairs_of(policy: Any, *, errors: bool = False) -> Pairs:
    """Return the pairs of a fitted policy, whatever it is wrapped in."""
    transformers, estimator = unwrap(policy)
    if isinstance(estimator, PolicyBagging):
        return _pairs_of_ensemble(estimator, transformers, errors=errors)
    if has_policy(estimator):
        own = fitted_policy(estimator)
        pairs = pairs_of_policy(own, estimator.discount_, transformers, errors=errors)
        if getattr(estimator, "imitates_log_", False):
            pairs = replace(pairs, why_not=np.where(pairs.why_not == RARE, UNPROVEN, pairs.why_not))
        return pairs
    raise not_a_policy(estimator)


def not_a_policy(estimator: Any) -> TypeError:
    """Return the error for what is no policy."""
    return TypeError(
        "policy must be a MarkovPolicyEstimator, a PolicyBagging, or a pipeline or search that "
        f"ends in one, got {type(estimator).__name__}. Hand in the fitted estimator itself."
    )


def members_of(ensemble: PolicyBagging, function: str) -> list[tuple[Policy, float]]:
    """Return the policies of an ensemble, each with its discount, if they share their states."""
    check_is_fitted(ensemble)
    members = [unwrap(member) for member in ensemble.estimators_]
    if any(transformers for transformers, _ in members):
        raise TypeError(
            "The members of this ensemble make states of their own, so that it has no table of "
            "states. Ask for some states with supported(ensemble, X), or for one member: "
            f"{function}(ensemble.estimators_[0])."
        )
    return [(fitted_policy(one), one.discount_) for _, one in members]


def pairs_of_policy(
    policy: Policy, discount: float, transformers: Sequence[Any] = (), *, errors: bool = False
) -> Pairs:
    """Return the pairs of one policy."""
    counts, mdp = policy.counts, policy.mdp
    values = policy.state_values
    following = following_of_pairs(counts, policy.prior_strength)
    q = expected_rewards(counts, policy.reward_on, policy.prior_strength)
    q = q + discount * (following @ values)
    at = counts.find_pairs(mdp.pair_state, mdp.pair_action)
    logged, untried = at >= 0, np.flatnonzero(at < 0)
    q[at[logged]] = policy.pair_q_values[logged]
    why_not = _why_not(policy, at[logged])
    found = PairErrors(*np.full((2, len(q)), np.nan))
    if errors:
        found = pair_errors(
            counts,
            policy.action_codes,
            values,
            prior_strength=policy.prior_strength,
            gamma=discount,
            reward_variance=reward_variance(policy.evidence),
            wanted=np.arange(len(q)),
        )
    n_new = len(untried)
    nothing = np.full(n_new, np.nan)
    state = np.append(counts.pair_state, mdp.pair_state[untried])
    action = np.append(counts.pair_action, mdp.pair_action[untried])
    order = np.lexsort((action, state))
    return Pairs(
        states=policy.evidence.states,
        actions=policy.evidence.actions,
        transformers=tuple(transformers),
        is_table_form=policy.is_table_form,
        state=state[order],
        action=action[order],
        n=np.append(counts.pair_weights, np.zeros(n_new))[order],
        reward=np.append(counts.pair_rewards / counts.pair_weights, nothing)[order],
        q=np.append(q, policy.pair_q_values[untried])[order],
        error=np.append(found.of_values, nothing)[order],
        gap_error=np.append(found.of_gaps, nothing)[order],
        is_advised=(action == policy.action_codes[state])[order],
        why_not=np.append(why_not, np.full(n_new, ADMISSIBLE, dtype=object))[order],
        tolerance=policy.tie_tolerances,
    )


def _why_not(policy: Policy, admissible: Integers) -> Array:
    """Return why each logged pair may not be chosen, nothing where it may, (n_pairs,)."""
    counts = policy.counts
    reasons = np.full(len(counts.pair_state), RARE, dtype=object)
    if policy.forbidden is not None:
        group = policy.forbidden.group[counts.pair_state]
        reasons[policy.forbidden.is_forbidden[group, counts.pair_action]] = FORBIDDEN
    reasons[admissible] = ADMISSIBLE
    return reasons


def reward_variance(evidence: Evidence) -> Floats:
    """Return the variance of the rewards of rows of each pair that lead to one state, (n_pairs,).

    Where squares of rewards are known by state only, all rows of a state have the same.
    """
    counts = evidence.counts
    at_means = counts.reward_sums**2 / counts.weights
    if counts.reward_squares is not None:
        within = np.add.reduceat(counts.reward_squares - at_means, counts.indptr[:-1])
        return np.maximum(within, 0.0) / counts.pair_weights
    if evidence.state_squares is None:
        return np.zeros(len(counts.pair_state))
    state = counts.pair_state[counts.triple_pair]
    spread = evidence.state_squares - sum_by_code(state, at_means, counts.n_states)
    spread[spread <= ROUNDING * evidence.state_squares] = 0.0
    return np.asarray((spread / np.maximum(counts.state_weights, 1e-300))[counts.pair_state])


def _pairs_of_ensemble(
    ensemble: PolicyBagging, transformers: Sequence[Any], *, errors: bool
) -> Pairs:
    """Return the pairs of an ensemble: means over its members, and what they answer together."""
    members = members_of(ensemble, "action_table")
    parts = [pairs_of_policy(policy, discount, errors=errors) for policy, discount in members]
    states, places = index_labels(*(part.states.as_columns() for part in parts))
    actions, codes = index_labels(*(part.actions.as_columns() for part in parts))
    n_actions = len(actions)
    keys = [
        place[part.state].astype(np.int64) * n_actions + code[part.action]
        for part, place, code in zip(parts, places, codes, strict=True)
    ]
    pairs, at = np.unique(np.concatenate(keys), return_inverse=True)
    state, action = np.divmod(pairs, n_actions)

    def stacked(amount: Callable[[Pairs], Any]) -> Array:
        return np.concatenate([amount(part) for part in parts])

    def mean(amounts: Floats, weights: Floats) -> Floats:
        known = np.isfinite(amounts) & (weights > 0)
        sums = sum_by_code(at, np.where(known, amounts * weights, 0.0), len(pairs))
        total = sum_by_code(at, np.where(known, weights, 0.0), len(pairs))
        unknown = np.full(len(pairs), np.nan)
        return np.asarray(np.divide(sums, total, out=unknown, where=total > 0))

    n, ones = stacked(lambda part: part.n), np.ones(len(at))
    acting = pd.DataFrame(
        dict(zip(states.names, states.parts(np.arange(len(states))), strict=True))
    )
    rows = np.unique(state)
    asked = acting.iloc[rows].reset_index(drop=True)
    place_of = np.zeros(len(states), dtype=np.int64)
    place_of[rows] = np.arange(len(rows))
    together = ensemble.decision_function(asked)[place_of[state], action]
    is_admissible = np.isfinite(together)
    reasons = np.full(len(pairs), ADMISSIBLE, dtype=object)
    reasons[at[::-1]] = stacked(lambda part: part.why_not)[::-1]
    reasons[is_admissible] = ADMISSIBLE
    advised = np.searchsorted(actions.labels, ensemble.predict(asked))[place_of[state]]
    return Pairs(
        states=states,
        actions=actions,
        transformers=tuple(transformers),
        is_table_form=parts[0].is_table_form,
        state=state,
        action=action,
        n=sum_by_code(at, n, len(pairs)) / len(parts),
        reward=mean(stacked(lambda part: part.reward), n),
        q=np.where(is_admissible, together, mean(stacked(lambda part: part.q), ones)),
        error=np.sqrt(mean(stacked(lambda part: part.error**2), ones)),
        gap_error=np.sqrt(mean(stacked(lambda part: part.gap_error**2), ones)),
        is_advised=advised == action,
        why_not=reasons,
        tolerance=_mean_tolerance(parts, places, len(states)),
    )


def _mean_tolerance(parts: Sequence[Pairs], places: Sequence[Integers], n_states: int) -> Floats:
    """Return the mean of the members' tolerances of each state that they know, (n_states,)."""
    total, known = np.zeros((2, n_states))
    for part, place in zip(parts, places, strict=True):
        total[place] += part.tolerance
        known[place] += 1
    return np.asarray(total / known)

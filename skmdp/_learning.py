"""From what was counted to a policy: estimate the process, solve it, choose between equals."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from skmdp._estimation.counts import MOST_ADDED, TransitionCounts
from skmdp._estimation.pessimism import knows_spread_of_discounts, subtract_errors
from skmdp._estimation.prior_strength import choose_prior_strength
from skmdp._estimation.process import allowed_pairs, estimate_mdp, is_frequent
from skmdp._log.evidence import Evidence
from skmdp._log.forbidden import Forbidden
from skmdp._log.labels import UNKNOWN
from skmdp._log.roles import Roles
from skmdp._messages import quoted, shown
from skmdp._policy import Policy, position_of_largest
from skmdp._typing import Codes, Floats
from skmdp.mdp import MDP
from skmdp.mdp._bellman import greedy_pairs, per_state
from skmdp.solvers import EndlessLoopError, Solution, solve
from skmdp.solvers._compiled import by_size_alone
from skmdp.solvers._ties import tie_tolerances


def learn_policy(
    evidence: Evidence,
    *,
    roles: Roles,
    is_table_form: bool,
    gamma: float,
    reward_on: str,
    untried: str,
    forbidden: Forbidden | None,
    min_count: float,
    prior_strength: float | str,
    pessimism: float,
    initial_values: Floats | None,
    **of_solver: Any,
) -> tuple[Policy, Solution]:
    """Return the policy that the evidence supports, and how well its process was solved.

    The parameters are those of the estimator; ``of_solver`` goes to the solver as it is.
    """
    kappa = _settle_prior_strength(evidence, prior_strength)
    if evidence.discounting is not None:
        gamma = evidence.discounting.discount
    if pessimism > 0 and not knows_spread_of_discounts(evidence.counts):
        raise ValueError(
            "pessimism needs the squares of discounts, which are not kept by earlier versions, nor "
            "where sample weights are fractions. Call fit with whole weights, or use "
            "prior_strength or min_count instead."
        )
    mdp, pair_weights = estimate_mdp(
        evidence.counts,
        reward_on=reward_on,
        untried=untried,
        min_count=min_count,
        prior_strength=kappa,
        initial_distribution=evidence.initial_distribution,
        forbidden=None if forbidden is None else forbidden.pairs(),
    )
    solution = _solve(mdp, evidence, gamma, initial_values=initial_values, **of_solver)
    if pessimism > 0:
        mdp = subtract_errors(
            mdp,
            evidence.counts,
            pessimism,
            prior_strength=kappa,
            gamma=gamma,
            state_values=solution.state_values,
        )
        last = solution.state_values
        solution = _solve(mdp, evidence, gamma, initial_values=last, **of_solver)
    policy = Policy(
        roles=roles,
        is_table_form=is_table_form,
        evidence=evidence,
        mdp=mdp,
        reward_on=reward_on,
        prior_strength=kappa,
        forbidden=forbidden,
        **_choose(mdp, evidence, gamma, solution, pair_weights, forbidden),
    )
    return policy, solution


def with_discount(policy: Policy, discount: float) -> Policy:
    """Return the policy that the same process supports with another discount."""
    counts, mdp = policy.counts, policy.mdp
    weights = np.append(counts.pair_weights, 0.0)[
        counts.find_pairs(mdp.pair_state, mdp.pair_action)
    ]
    solution = _solve(mdp, policy.evidence, discount, initial_values=policy.state_values)
    chosen = _choose(mdp, policy.evidence, discount, solution, weights, policy.forbidden)
    return replace(policy, **chosen)


def _choose(
    mdp: MDP,
    evidence: Evidence,
    gamma: float,
    solution: Solution,
    pair_weights: Floats,
    forbidden: Forbidden | None,
) -> dict[str, Any]:
    """Return the values of a policy and what it advises, under their names there."""
    tolerances = tie_tolerances(
        mdp,
        gamma,
        solution.relative_values,
        solution.relative_q_values,
        n_averaged=min(evidence.n_transitions, MOST_ADDED),
    )
    chosen = greedy_pairs(
        mdp.first_pairs, solution.relative_q_values, tolerance=tolerances, preference=pair_weights
    )
    default, actions = _most_logged_actions(evidence, forbidden)
    actions[mdp.pair_state[chosen]] = mdp.pair_action[chosen]
    if solution.in_loops is not None:  # actions that are worth the same may lead round and round
        actions[solution.in_loops] = solution.policy[solution.in_loops]
    return {
        "pair_q_values": solution.q_values,
        "state_values": solution.state_values,
        "tie_tolerances": per_state(mdp, tolerances),
        "action_codes": actions,
        "default_code": default,
    }


def _solve(mdp: MDP, evidence: Evidence, gamma: float, **options: Any) -> Solution:
    """Solve a process; of a loop without end, name the labels."""
    try:
        # The same log gives the same policy to the last bit, in every process.
        with by_size_alone():
            return solve(mdp, gamma, **options)
    except EndlessLoopError as error:
        raise EndlessLoopError(
            evidence.states.label(error.state),
            evidence.actions.label(error.action),
            evidence.states.python_labels(np.array(error.states, dtype=np.intp)),
        ) from None


def _most_logged_actions(evidence: Evidence, forbidden: Forbidden | None) -> tuple[int, Codes]:
    """Return the most logged action, of all states and of each, (n_states,); none forbidden."""
    if forbidden is not None:
        return int(forbidden.substitutes[-1]), forbidden.substitutes[forbidden.group]
    default = position_of_largest(evidence.counts.action_weights)
    return default, np.full(len(evidence.states), default, dtype=np.int32)


def require_actions(evidence: Evidence, forbidden: Forbidden | None, untried: str) -> None:
    """Raise for a state in which nothing is left that may be done; the estimators call this."""
    if forbidden is None:
        return
    counts = evidence.counts
    lost = forbidden.substitutes[forbidden.group] == UNKNOWN
    if untried == "exclude":
        n_logged, n_allowed = (
            np.bincount(counts.pair_state[pairs], minlength=counts.n_states)
            for pairs in (slice(None), allowed_pairs(counts, forbidden.pairs()))
        )
        lost |= (n_logged > 0) & (n_allowed == 0)
    if not lost.any():
        return
    first = int(np.argmax(lost))
    logged = counts.pair_action[counts.pair_state == first]
    found = "every action"
    if len(logged):
        found = f"all that was logged there ({quoted(evidence.actions.python_labels(logged))})"
    raise ValueError(
        f"forbidden leaves {int(lost.sum())} state(s) without an action, first "
        f"{shown(evidence.states.label(first))}: {found} is forbidden. Leave out of forbidden what "
        "may be done there, or add rows of an action that is allowed there to the log."
    )


def _settle_prior_strength(evidence: Evidence, prior_strength: float | str) -> float:
    """Return the strength as a number, chosen by the log for "auto"."""
    if prior_strength != "auto":
        return float(prior_strength)
    require_counts_of_rows(evidence)
    return choose_prior_strength(evidence.counts)


def require_counts_of_rows(evidence: Evidence) -> None:
    """Raise unless weights are numbers of rows, by which "auto" predicts one from the others."""
    if not evidence.counts.weights_count_rows:
        raise ValueError(
            'prior_strength="auto" needs sample weights that are counts of rows, whole '
            "numbers, got fractions (which forget below 1 makes of them, too). Give a number "
            "instead, in units of weight."
        )


def warn_if_none_is_frequent(
    counts: TransitionCounts, min_count: float, forbidden: Forbidden | None = None
) -> None:
    """Say that every action was logged too seldom for ``min_count``; fit calls this directly."""
    allowed = allowed_pairs(counts, None if forbidden is None else forbidden.pairs())
    if allowed.any() and not (is_frequent(counts, min_count) & allowed).any():
        largest = f"{counts.pair_weights[allowed].max():.12g}"
        warnings.warn(
            f"min_count={min_count:.12g} excludes every action in every state; the largest weight "
            f"of one is {largest}. The policy imitates the log: in each state the most logged "
            f"action is advised. Lower min_count to {largest} or less.",
            UserWarning,
            stacklevel=4,
        )

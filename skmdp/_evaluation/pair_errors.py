"""Standard errors of Q: by how much the rows of a log move what is estimated of a pair.

Let the policy pi be followed after a pair p = (s, a), and let y = r + gamma V(s') of a row. With n,
kappa and lam = n / (n + kappa) as in the model, the estimate of a pair is

    q(p) = lam mean(y of p) + (1 - lam) mean(y of s)

and Q(p) moves with the estimates of the states that follow by the visits that are expected of them,

    m_p = gamma P(p) (I - gamma P_pi)^-1,    dQ(p) = dq(p) + sum_s m_p(s) dq(s, pi(s))

(that pi is a best policy for these rows does not matter: to first order, a better one gains
nothing). Given state and action, rows are drawn independently, so that with v the variance of y

    Var q(p) = lam^2 v(p) / n(p) + 2 lam (1 - lam) v(p) / n(s) + (1 - lam)^2 v(s) / n(s)

and the variance of Q is the sum of these with the squares of the visits, where p itself is met
twice if it is the advised pair of its state. The variance of a pair is shrunk towards that of its
state, (n v + v(s)) / (n + 1), so that a pair seen once is not taken for certain.

Sums over all states are taken by projections Z (n_states, K) with Z Z' = 1: with D the standard
deviations of q of the advised pairs, W = (I - gamma P_pi)^-1 D Z and Y = gamma P W, the rows of Y
have the squared lengths sum_s (m_p(s) D(s))^2. Where states are few, Z is the identity; where they
are many, it holds random signs, and lengths are known to one part in sqrt(2 K).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._evaluation.direct import choice_of_actions, divide, policy_process
from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers import evaluate_policy
from skmdp.solvers._equations import solve_dense

# Numbers that the visits of some pairs may hold at a time.
BLOCK_CELLS = 2**22
# States up to which sums over them are exact, and random projections where there are more.
MOST_EXACT = 500
N_DRAWS = 200
# States up to which equations are solved in a full matrix.
MOST_DENSE = 3000


@dataclass(frozen=True, eq=False)
class PairErrors:
    """Standard errors of Q of pairs, and of how far it is from Q of the advised one, (n_pairs,)."""

    of_values: Floats
    of_gaps: Floats


def following_of_pairs(counts: TransitionCounts, prior_strength: float) -> Any:
    """Return the discounts that follow each logged pair, CSR (n_pairs, n_states).

    They are probabilities where rows discount nothing. Pairs are shrunk towards their states.
    """
    n, n_s = counts.pair_weights, counts.state_weights
    trust = n / (n + prior_strength)
    own = diags_array(trust / n) @ counts.matrix(counts.following)
    doubt = (1 - trust) / n_s[counts.pair_state]
    shape = (len(n), counts.n_states)
    place = csr_array((doubt, counts.pair_state, np.arange(len(n) + 1)), shape=shape)
    return (own + place @ counts.state_matrix(counts.following)).tocsr()[:, : counts.n_states]


def pair_errors(
    counts: TransitionCounts,
    actions: Integers,
    values: Floats,
    *,
    prior_strength: float,
    gamma: float,
    reward_variance: Floats,
    wanted: Integers,
) -> PairErrors:
    """Return the standard errors of the ``wanted`` pairs, by the module's formulas.

    ``actions`` (n_states,) are advised and ``values`` (n_states,) those of following them;
    ``reward_variance`` (n_pairs,) is that of the rewards of rows that lead to one state.
    """
    parts = _Parts.of(counts, actions, values, prior_strength, gamma, reward_variance)
    acting = np.flatnonzero(counts.state_weights > 0)
    place = np.zeros(counts.n_states, dtype=np.int64)
    place[acting] = np.arange(len(acting))
    transitions, _ = policy_process(counts, choice_of_actions(counts, actions), prior_strength)
    projections = _projections(len(acting))
    spread = np.sqrt(parts.of_states[acting])
    moved = _propagate(transitions[acting][:, acting], spread, projections, gamma)
    following = gamma * following_of_pairs(counts, prior_strength)[:, acting]
    of_values, of_gaps = np.empty((2, len(wanted)))
    size = max(1, BLOCK_CELLS // projections.shape[1])
    for start in range(0, len(wanted), size):
        pairs = wanted[start : start + size]
        state = counts.pair_state[pairs]
        own = Visits(
            following[pairs] @ moved,
            following[np.maximum(parts.advised[state], 0)] @ moved,
            projections[place[state]],
            spread[place[state]],
        )
        found = parts.variances(pairs, own)
        of_values[start : start + size], of_gaps[start : start + size] = np.sqrt(found)
    is_advised = wanted == parts.advised[counts.pair_state[wanted]]
    of_gaps[is_advised] = 0.0
    return PairErrors(of_values, of_gaps)


def _projections(n_states: int) -> Floats:
    """Return Z, (n_states, K): the identity, or random signs where states are many."""
    if n_states <= MOST_EXACT:
        return np.eye(n_states)
    signs = np.random.default_rng(0).integers(0, 2, (n_states, N_DRAWS))
    return np.asarray((2.0 * signs - 1.0) / np.sqrt(N_DRAWS))


def _propagate(transitions: Any, spread: Floats, projections: Floats, gamma: float) -> Floats:
    """Return (I - gamma P)^-1 D Z, (n_states, K), the policy being discounted or ending."""
    n = len(spread)
    scaled = spread[:, np.newaxis] * projections
    if n <= MOST_DENSE:
        return solve_dense(gamma * transitions.toarray(), scaled)
    every = np.arange(n)
    process = MDP(transitions, np.zeros(n), every, np.zeros(n, dtype=np.int64), n, 1)
    chosen = np.zeros(n, dtype=np.int64)
    return np.column_stack(
        [
            evaluate_policy(process.unchecked(rewards=column), chosen, gamma, tol=1e-3).state_values
            for column in scaled.T
        ]
    )


@dataclass(frozen=True, eq=False)
class Visits:
    """What follows some pairs: Y of them and of the advised ones of their states, (n, K).

    ``projections`` (n, K) and ``spread`` (n,) are Z and D of their states.
    """

    after: Floats
    after_advised: Floats
    projections: Floats
    spread: Floats

    def back(self, moved: Floats) -> Floats:
        """Return how often the own state is met again, given rows of Y, (n,)."""
        met = (moved * self.projections).sum(axis=1)
        return np.asarray(
            np.divide(met, self.spread, out=np.zeros_like(met), where=self.spread > 0)
        )


@dataclass(frozen=True, eq=False)
class _Parts:
    """Variances of q of pairs, and covariances with that of the advised pair of their state."""

    pair_state: Integers
    advised: Integers  # (n_states,) position of the advised pair, -1 where it was never logged
    own: Floats  # (n_pairs,)
    with_advised: Floats  # (n_pairs,)
    of_states: Floats  # (n_states,) variance of q of what is advised there

    @classmethod
    def of(
        cls,
        counts: TransitionCounts,
        actions: Integers,
        values: Floats,
        prior_strength: float,
        gamma: float,
        reward_variance: Floats,
    ) -> _Parts:
        """Compute them from counts."""
        n, state = counts.pair_weights, counts.pair_state
        of_pair, of_state = _variances(counts, values, gamma, reward_variance)
        n_s = counts.state_weights
        trust = n / (n + prior_strength)
        doubt = 1 - trust
        mixed, shared = of_pair / n_s[state], divide(of_state, n_s)
        own = trust**2 * of_pair / n + 2 * trust * doubt * mixed + doubt**2 * shared[state]
        advised = counts.find_pairs(np.arange(counts.n_states), actions)
        is_logged = advised >= 0
        trusted = np.where(is_logged, trust[advised], 0.0)[state]
        of_advised = mixed[advised[state]]
        with_advised = (
            trust * (1 - trusted) * mixed
            + trusted * doubt * of_advised
            + doubt * (1 - trusted) * shared[state]
        )
        is_advised = advised[state] == np.arange(len(n))
        with_advised[is_advised] = own[is_advised]
        of_states = np.where(is_logged, own[advised], shared)
        return cls(state, advised, own, with_advised, of_states)

    def variances(self, pairs: Integers, visits: Visits) -> tuple[Floats, Floats]:
        """Return the variances of Q of some pairs, and of their distance from the advised one."""
        state = self.pair_state[pairs]
        own, shared, advised = self.own[pairs], self.with_advised[pairs], self.of_states[state]
        of_values = own + 2 * visits.back(visits.after) * shared + (visits.after**2).sum(axis=1)
        moved = visits.after_advised - visits.after
        of_gaps = advised + own - 2 * shared + (moved**2).sum(axis=1)
        of_gaps += 2 * visits.back(moved) * (advised - shared)
        of_gaps[self.advised[state] < 0] = np.nan
        return np.maximum(of_values, 0.0), np.maximum(of_gaps, 0.0)


def _variances(
    counts: TransitionCounts, values: Floats, gamma: float, reward_variance: Floats
) -> tuple[Floats, Floats]:
    """Return the variance of y over the rows of each pair, shrunk, and of each state."""
    pair, state, weights = counts.triple_pair, counts.pair_state, counts.weights
    n, n_s = counts.pair_weights, counts.state_weights
    y = counts.reward_sums / weights
    y += gamma * (counts.following / weights) * np.append(values, 0.0)[counts.next_states]
    mean = sum_by_code(pair, weights * y, len(n)) / n
    of_state = divide(sum_by_code(state, n * mean, counts.n_states), n_s)[state]
    within = sum_by_code(pair, weights * (y - mean[pair]) ** 2, len(n)) + n * reward_variance
    around = within + n * (mean - of_state) ** 2
    states = divide(sum_by_code(state, around, counts.n_states), n_s)
    return (within + states[state]) / (n + 1), states

"""Values and a policy on their way to the best ones."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from skmdp._typing import Floats, Integers
from skmdp.mdp import MDP
from skmdp.solvers._bounds import (
    UNBOUNDED,
    Discounting,
    Proof,
    prove,
    shared_part,
)
from skmdp.solvers._compiled_pairs import CompiledPairs, pairs_of
from skmdp.solvers._equations import solve_full
from skmdp.solvers._kernels import ArrayPairs
from skmdp.solvers._sweeps import IN_PLACE, STILL, Evaluator, until_slow
from skmdp.solvers._ties import count_undecided

# Improvements within which the width must fall to a share of its largest for work to go on as it
# is.
FEW_IMPROVEMENTS, LEAST_PROGRESS = 24, 0.5
# Discounted sum of ones up to which rounding leaves enough digits in place, where values are whole.
MOST_IN_PLACE = 1e6
# States, and entries of P, up to which a full matrix is faster than a sparse one.
TINY_STATES = 64
TINY_ENTRIES = 100_000
# Share of the pairs that must be left for pairs that are not best to be worth keeping.
MOST_LEFT = 0.7
# Sweeps over a policy that are done in any case.
FEW_SWEEPS = 3
# Shares of new actions up to which the next policy is hardly any better, and likely to be no other.
# It is then cheaper to follow a policy to the end than to improve it once more. So many sweeps are
# still fewer than those after which a policy is held to be slow.
FEW_NEW, VERY_FEW_NEW, MANY_TIMES = 0.005, 5e-4, 5


# Small processes, as they are worked on, that are solved again and again; they go with those given.
_ACTING_FIRST: WeakKeyDictionary[MDP, MDP] = WeakKeyDictionary()


def acting_first(mdp: MDP) -> MDP:
    """Return the process with its acting states first, and a full P if there are few."""
    known = _ACTING_FIRST.get(mdp)
    if known is None:
        known = _acting_first(mdp)
        # A process that is its own value would never go.
        if known is not mdp and known.transitions.size <= TINY_ENTRIES:
            _ACTING_FIRST[mdp] = known
    return known


def _acting_first(mdp: MDP) -> MDP:
    acting, n = mdp.acting_states, mdp.n_states
    if len(acting) < n:
        code = np.empty(n, dtype=np.intp)
        code[acting] = np.arange(len(acting))
        acts = np.zeros(n, dtype=bool)
        acts[acting] = True
        code[~acts] = np.arange(len(acting), n)
        mdp = mdp.renumbered(code)
    is_tiny = n <= TINY_STATES and n * len(mdp.rewards) <= TINY_ENTRIES
    return mdp.with_dense_rows() if is_tiny and mdp.is_linear else mdp


# Equations of processes with a full P, and the discount that they are for.
_FULL: WeakKeyDictionary[MDP, tuple[float, Floats]] = WeakKeyDictionary()


def full_equations(process: MDP, n_acting: int, gamma: float) -> Floats:
    """Return the equations of all pairs, I - gamma P, (n_pairs, n_acting), where P is full."""
    known = _FULL.get(process)
    if known is None or known[0] != gamma:
        equations = -gamma * process.transitions[:, :n_acting]
        equations[np.arange(len(equations)), process.pair_state] += 1.0
        known = _FULL[process] = gamma, equations
    return known[1]


class Search:
    """Policy iteration step by step: ``improve`` proves a bound, ``evaluate`` follows the policy.

    Where loops are compiled and following takes long, states are put in another order, and work
    goes on in place. ``may_change`` says whether that may be, and whether pairs may be dropped;
    ``evaluation`` is the way in which policies are followed. ``order`` is that of the states where
    work goes on in place, else None.
    """

    def __init__(
        self,
        mdp: MDP,
        gamma: float,
        discounting: Discounting,
        initial_values: Floats | None = None,
        *,
        evaluation: type[Evaluator] = Evaluator,
        may_change: bool = True,
    ) -> None:
        self._mdp, self._gamma, self._discounting = mdp, gamma, discounting
        process = acting_first(mdp)
        self.pairs = self._given = pairs_of(process, gamma)
        n = self.pairs.n_acting
        # Of a policy that is nearly still, as many as cost as much as an improvement.
        self._n_cheap = len(mdp.rewards) // n + FEW_SWEEPS
        is_solvable = evaluation.solves and mdp.is_linear and discounting.most < UNBOUNDED
        is_full = is_solvable and isinstance(process.transitions, np.ndarray)
        self._full = full_equations(process, n, gamma) if is_full else None
        self._may_solve = is_solvable and self._full is None
        self._may_change, self._evaluation = may_change, evaluation
        may_leave = may_change and evaluation.leaves
        self._may_seek = may_leave and self._may_solve
        self._work_as_given(None)
        is_compiled = isinstance(self.pairs, CompiledPairs)
        if is_compiled and may_leave and discounting.most < MOST_IN_PLACE:
            pace = until_slow(len(mdp.rewards) / n)
            self._evaluator = evaluation(discounting, pace, may_solve=False)
        V = np.zeros(n) if initial_values is None else initial_values[mdp.acting_states]
        self.V = self.pairs.vector(V)
        self._slack = 0.0
        self._widths: list[float] = []

    def _work_as_given(self, before: Evaluator | None) -> None:
        self.pairs, self._factor, self._marches = self._given, 1.0, False
        self.order: Integers | None = None
        self._evaluator = self._evaluation(
            self._discounting, self._evaluation.as_given, may_solve=self._may_solve
        )
        if before is not None:
            self._evaluator.recall(before)

    def _work_in_place(self, given: CompiledPairs) -> None:
        """Put states in an order in which values spread fast, and go on there."""
        self.pairs, order, self._factor = given.in_place()
        self.order = order
        in_place = Discounting(0.0, self._discounting.most)
        # What the policy that was followed is worth at least: a level may have been left out.
        V = self.V[: len(order)] + self._evaluator.least_to_come
        self.V = self.pairs.vector(V[order])
        self._evaluator = self._evaluation(in_place, IN_PLACE, may_solve=self._may_solve)
        # States that look better than they are would lead a march astray.
        low = self._discounting.interval(self._step.lo, self._step.hi)[0]
        is_done = self.pairs.march(
            self.V, self._slack, self._target / max(1.0, self._discounting.most), min(low, 0.0)
        )
        self._marches = is_done and self.pairs.marks[-1] == len(V)

    @property
    def n_changed(self) -> int:
        """Number of states that the last improvement gave another action."""
        return self.pairs.n_changed

    def improve(self, tol: float = 0.0) -> Proof:
        """Look at all pairs once; return what that proves.

        In place that is less than could be proven: what meets ``tol`` is proven as given.
        """
        change = self.pairs.improve(self.V, self._slack)
        discounting = self._evaluator.discounting
        self._step = self._proof = prove(self._mdp, discounting, change, self._factor)
        self._proven_by = self.pairs
        # An action stays as long as no other is better by more than the last bits.
        self._slack = self._step.noise
        target = self._target = tol * max(self._mdp.largest_reward, self._step.largest)
        if self.order is not None and (self._step.is_rounding or self._step.bound <= target):
            V = np.empty(self.pairs.n_acting)
            V[self.order] = self.pairs.TV[: len(V)]
            self._proof = prove(
                self._mdp,
                self._discounting,
                self._given.improve(self._given.vector(V), self._slack),
            )
            self._proven_by = self._given
            if self._step.is_rounding:
                self._step = self._proof
                self._work_as_given(self._evaluator)
        return self._proof

    def values(self) -> Floats:
        """Return the values proven by the last improvement, less their level, (n_states,)."""
        states = self._mdp.acting_states
        if not self._proven_by.is_in_place and len(states) == self._mdp.n_states:
            return np.asarray(self._proven_by.TV[: len(states)] + self._proof.moved)
        values = np.zeros(self._mdp.n_states)
        if self._proven_by.is_in_place:
            states = states[self.order]
        values[states] = self._proven_by.TV[: len(states)] + self._proof.moved
        return values

    @property
    def forgets_level(self) -> bool:
        """Whether a constant added to V changes nothing but the level."""
        return self._discounting.forgets_level

    def q_values(self) -> Floats | None:
        """Return Q of all pairs, less the same level, if the last improvement computed them."""
        Q = self._proven_by.q_values()
        return None if Q is None else Q + self._proof.moved

    def all_q_values(self, values: Floats) -> Floats:
        """Return Q of all pairs from values of all states."""
        return self._given.all_q_values(values[self._mdp.acting_states])

    def undecided(
        self, values: Floats, Q: Floats, bound: float, spread: float
    ) -> tuple[Integers, int, float]:
        """Return the best pair of every acting state, and what ``count_undecided`` returns."""
        mdp, given = self._mdp, self._given
        if isinstance(given, CompiledPairs):
            return given.undecided(mdp, values[mdp.acting_states], Q, bound, spread)
        best, top = given.greedy(Q)
        found = count_undecided(mdp, self._gamma, values, Q, bound=bound, spread=spread, top=top)
        return best, *found

    def evaluate(self, wanted: float = 0.0) -> None:
        """Move V towards the values of the improved policy.

        ``wanted`` is the width below which there is nothing to gain.
        """
        step, n = self._step, self.pairs.n_acting
        if isinstance(self.pairs, ArrayPairs) and self._solve(self.pairs):
            return
        policy = self.pairs.policy()
        if self._may_change and self._full is None:
            self.pairs.eliminate(step.spread_bound + 2 * step.noise, MOST_LEFT)
        V = self.pairs.TV
        V[:n] += step.moved
        if self._marches and isinstance(self.pairs, CompiledPairs):
            self.V = V
            # Where values are still wrong, they are in few parts; others take no longer for it.
            enough = max(wanted / max(1.0, self._discounting.most), 2 * step.noise)
            self._marches = self.pairs.march(V, self._slack, enough)
            return
        is_new = self.n_changed / n
        self.V = self._evaluator.evaluate(
            policy, V, step, cheap=self._cheap(is_new), is_new=is_new, wanted=wanted
        )
        self._widths.append(self._evaluator.discounting.width(step.lo, step.hi))
        self._work_otherwise()

    def _work_otherwise(self) -> None:
        """Go over to what gets on where values are slow to, or improvements are stuck."""
        if isinstance(self._given, CompiledPairs):
            if self._evaluator.is_slow or (self._evaluator.stops and self._is_stuck()):
                self._work_in_place(self._given)
        elif self._may_seek and self._is_stuck():
            self._seek()

    def _is_stuck(self) -> bool:
        """Return whether improvements have hardly helped for some time."""
        widths = self._widths[-1 - FEW_IMPROVEMENTS :]
        return len(widths) > FEW_IMPROVEMENTS and widths[-1] > LEAST_PROGRESS * max(widths)

    def _seek(self) -> None:
        """Go on from the policy that takes the shortest way to the largest rewards, if that pays.

        Improvements alone find a way one step after the other. What proves more is better.
        """
        self._may_seek = False
        policy = self.pairs.shortcut() if isinstance(self.pairs, ArrayPairs) else None
        if policy is None:
            return
        V = self._evaluator.solve(policy, self.V, 0.0, np.inf, 0.0)
        if V is None:
            return
        if self.forgets_level:  # rounding is relative to what is left
            V[: self.pairs.n_acting] -= shared_part(V[: self.pairs.n_acting])
        change = self.pairs.improve(V, self._slack)
        if self._discounting.width(change.lo, change.hi) < self._widths[-1]:
            self.V = V

    def _cheap(self, is_new: float) -> int:
        """Return how many sweeps are done in any case, from the share of new actions."""
        if self.order is not None:  # detours take long, however few actions are new
            return self._n_cheap if is_new <= STILL else FEW_SWEEPS
        if is_new > FEW_NEW:
            return FEW_SWEEPS
        half = self._n_cheap // 2 + 1
        return half if is_new > VERY_FEW_NEW else MANY_TIMES * half

    def _solve(self, pairs: ArrayPairs) -> bool:
        """Move V to the values of the policy, by equations with a full matrix, if that works.

        Rounding is relative to the distance from these values.
        """
        if self._full is None:
            return False
        forgets, V = self._discounting.forgets_level, self.V[: pairs.n_acting]
        d = pairs.change_of_chosen(self.V)
        if forgets:
            d -= shared_part(d)
        try:
            V += solve_full(self._full.take(pairs.chosen, 0), d)
        except np.linalg.LinAlgError:  # nothing but rounding is left of a pivot
            return False
        if forgets:  # rounding is relative to what is left
            V -= shared_part(V)
        return True

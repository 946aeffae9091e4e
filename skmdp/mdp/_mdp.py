"""The model: a Markov decision process in state-action-pair form, usable without a log."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from skmdp._typing import Bools, Floats, Integers
from skmdp.mdp._arrays import FirstAxis, arrays_of_rows, check_first_axis, parts_of_arrays
from skmdp.mdp._checks import (
    as_codes,
    as_distribution,
    as_rows,
    check_codes,
    check_probabilities,
    check_rewards,
    check_shapes,
    check_successors,
)
from skmdp.mdp._gymnasium import parts_of_environment

# What is known of a process by the states of its pairs alone.
OF_PAIR_STATES = ("first_pairs", "n_pairs_each", "acting_states")
# Entries of some rows of a CSR array, on average, up to which these are copied entry by entry.
FEW_ENTRIES = 20_000


@dataclass(frozen=True, eq=False)
class MDP:
    """A finite Markov decision process as arrays, one row per admissible (state, action) pair.

    States without a pair end the process: they are worth 0.

    Parameters
    ----------
    transitions : scipy sparse CSR array of shape (n_pairs, n_states)
        Probability of each next state. A row may sum to less than one: the missing mass ends
        the process.
    rewards : ndarray of shape (n_pairs,)
        Expected reward of taking the pair's action in the pair's state.
    pair_state, pair_action : ndarray of shape (n_pairs,)
        Codes of the pair's state and action, sorted by state, then action.
    n_states, n_actions : int
        Number of states and of actions.
    initial_distribution : ndarray of shape (n_states,), default=None
        Probability of starting in each state.

    Notes
    -----
    Memory is O(number of non-zero transitions + n_states); nothing of size
    n_states x n_actions x n_states is ever built.

    Examples
    --------
    One state where ``work`` (action 0) pays 1 and goes on, and ``quit`` (action 1) pays 5 and
    ends:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from skmdp.mdp import MDP
    >>> mdp = MDP(
    ...     transitions=csr_array(np.array([[1.0], [0.0]])),
    ...     rewards=np.array([1.0, 5.0]),
    ...     pair_state=np.array([0, 0]),
    ...     pair_action=np.array([0, 1]),
    ...     n_states=1,
    ...     n_actions=2,
    ... )
    >>> mdp.expected_next_values(np.array([10.0]))
    array([10.,  0.])
    """

    transitions: Any
    rewards: Floats
    pair_state: Integers
    pair_action: Integers
    n_states: int
    n_actions: int
    initial_distribution: Floats | None = None

    # Names of the fields that hold one row for each pair.
    per_pair: ClassVar[tuple[str, ...]] = ("transitions", "rewards", "pair_state", "pair_action")

    def __post_init__(self) -> None:
        settled = {
            "transitions": as_rows(self.transitions),
            "rewards": np.asarray(self.rewards, dtype=np.float64),
            "pair_state": as_codes(self.pair_state, "pair_state"),
            "pair_action": as_codes(self.pair_action, "pair_action"),
            "initial_distribution": as_distribution(self.initial_distribution, self.n_states),
        }
        for name, part in settled.items():
            object.__setattr__(self, name, part)
        rows, pairs = self.transitions, (self.pair_state, self.pair_action)
        check_shapes(rows, self.rewards, *pairs, self.n_states)
        check_codes(*pairs, self.n_states, self.n_actions)
        check_successors(rows, *pairs)
        check_rewards(self.rewards, *pairs)
        check_probabilities(rows, self.mass, *pairs)

    # ------------------------------------------------------------------------------- other forms

    @classmethod
    def from_arrays(
        cls,
        transitions: Any,
        rewards: Any,
        *,
        pair_state: npt.ArrayLike | None = None,
        pair_action: npt.ArrayLike | None = None,
        first_axis: FirstAxis | None = None,
        initial_distribution: Floats | None = None,
    ) -> MDP:
        """Build a process from arrays as other libraries have them.

        Parameters
        ----------
        transitions : array or list of matrices
            Probabilities of next states, dense or sparse: an array (n_states, n_actions,
            n_states), as in quantecon; a list with a matrix (n_states, n_states) for each action,
            as in pymdptoolbox; or a matrix (n_pairs, n_states) with ``pair_state`` and
            ``pair_action``. A row may sum to less than one: the missing mass ends the process.
        rewards : array or list of matrices
            Rewards of states (n_states,), of pairs (n_states, n_actions), or of pairs and next
            states in any form that ``transitions`` may have; these are averaged. With
            ``pair_state``: (n_pairs,) or (n_pairs, n_states). A pair whose reward is -inf is not
            admissible.
        pair_state, pair_action : array-like of shape (n_pairs,), default=None
            Codes of the state and action of each row of ``transitions``, in any order.
        first_axis : {"state", "action"}, default=None
            Axis that comes first where there are three. None: the state in an array, the action in
            a list. With as many states as actions, a shape does not tell: an array of pymdptoolbox
            needs ``first_axis="action"``.
        initial_distribution : ndarray of shape (n_states,), default=None
            Probability of starting in each state.

        Returns
        -------
        mdp : MDP
            The process. States without admissible actions end it.

        Raises
        ------
        TypeError
            If ``transitions`` has none of these forms.
        ValueError
            If shapes do not fit together, a pair stands twice, or probabilities or rewards are
            none. The pair is named.

        Notes
        -----
        O(n_nonzero) beyond the arrays given, and what is sparse stays so. A dense array is read
        once.

        Examples
        --------
        Two states, two actions; in state 1 only action 0 is admissible:

        >>> import numpy as np
        >>> from skmdp.mdp import MDP
        >>> P = np.array([[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]])
        >>> mdp = MDP.from_arrays(P, [[5.0, 10.0], [-1.0, -np.inf]])
        >>> mdp.pair_state, mdp.pair_action
        (array([0, 0, 1]), array([0, 1, 0]))

        The same with a matrix for each action:

        >>> from scipy.sparse import csr_array
        >>> of_actions = [csr_array([[0.5, 0.5], [0.0, 1.0]]), csr_array([[0.0, 1.0], [0.0, 0.0]])]
        >>> same = MDP.from_arrays(of_actions, [[5.0, 10.0], [-1.0, -np.inf]])
        >>> bool((same.transitions != mdp.transitions).nnz)
        False
        """
        parts = parts_of_arrays(transitions, rewards, pair_state, pair_action, first_axis)
        return MDP(**parts, initial_distribution=initial_distribution)

    @classmethod
    def from_gymnasium(cls, env: Any) -> MDP:
        """Build the process of a Gymnasium environment that holds its probabilities.

        Parameters
        ----------
        env : gymnasium.Env
            An environment whose innermost part has a table ``P`` with ``P[state][action]`` a list
            of outcomes (probability, next state, reward, terminated), as toy text environments
            have. Changes made by wrappers are not seen. Starts are read off
            ``initial_state_distrib`` where it is there.

        Returns
        -------
        mdp : MDP
            Codes count from the first state and action of the environment's spaces. What ends an
            episode leads nowhere, or to a state without actions.

        Raises
        ------
        TypeError
            If there is no table.
        ValueError
            If the table does not number states and actions, numbers are outside the spaces, or
            probabilities do not sum to one. The pair is named.

        Examples
        --------
        >>> import gymnasium
        >>> from skmdp.mdp import MDP
        >>> from skmdp.solvers import modified_policy_iteration
        >>> mdp = MDP.from_gymnasium(gymnasium.make("FrozenLake-v1", is_slippery=False))
        >>> solution = modified_policy_iteration(mdp, gamma=0.99)  # five steps, then the goal
        >>> round(float(solution.state_values[0]), 4), 0.99**5
        (0.951, 0.9509900498999999)
        """
        return MDP(**parts_of_environment(env))

    def to_arrays(self, *, first_axis: FirstAxis = "state") -> tuple[Floats, Floats]:
        """Return dense arrays, as quantecon and pymdptoolbox take them.

        Every row sums to one: where a pair may end, a further state comes last, which stands for
        the end. There, and in states without pairs, all actions stay and pay nothing.

        Parameters
        ----------
        first_axis : {"state", "action"}, default="state"
            Axis of the transitions that comes first: the state for quantecon, whose
            ``DiscreteDP`` takes the rewards first; the action for pymdptoolbox.

        Returns
        -------
        transitions : ndarray of shape (n, n_actions, n) or (n_actions, n, n)
            Probabilities of next states; n is ``n_states``, or one more where a pair may end. Pairs
            that are not admissible stay.
        rewards : ndarray of shape (n, n_actions)
            Expected rewards, -inf for pairs that are not admissible.

        Notes
        -----
        Takes 8 n**2 n_actions bytes: 80 MB for 1,000 states and 10 actions.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> from skmdp.mdp import MDP
        >>> transitions, rewards = make_garnet(3, 2, 2, random_state=0).to_arrays()
        >>> transitions.shape, rewards.shape  # the goal of a garnet ends
        ((4, 2, 4), (4, 2))
        >>> MDP.from_arrays(transitions, rewards).n_states
        4
        """
        check_first_axis(first_axis)
        transitions, rewards = arrays_of_rows(
            self.all_transitions(np.inf),
            self.rewards,
            self.ends,
            self.pair_state,
            self.pair_action,
            self.n_actions,
        )
        if first_axis == "action":
            transitions = np.ascontiguousarray(transitions.transpose(1, 0, 2))
        return transitions, rewards

    # ------------------------------------------------------------------------- states and pairs

    @cached_property
    def acting_states(self) -> Integers:
        """Codes of the states that have a pair, ascending."""
        return self.pair_state[self.first_pairs]

    @cached_property
    def first_pairs(self) -> Integers:
        """Position of the first pair of every acting state."""
        state = self.pair_state
        return np.append(0, (state[1:] != state[:-1]).nonzero()[0] + 1)

    @cached_property
    def n_pairs_each(self) -> Integers:
        """Number of pairs of every acting state."""
        first = self.first_pairs
        return np.append(first[1:], len(self.rewards)) - first

    def restrict(self, pairs: Integers) -> Self:
        """Return the process in which only the given pairs exist.

        With one pair per state this is the Markov reward process of a policy.

        Parameters
        ----------
        pairs : ndarray of shape (n_kept,)
            Positions of pairs, ascending, at least one.

        Returns
        -------
        mdp : MDP
            Same states, same actions.

        Raises
        ------
        ValueError
            If the positions do not ascend, or there are none.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(5, 2, 2, random_state=0)
        >>> always_action_0 = mdp.restrict(np.flatnonzero(mdp.pair_action == 0))
        >>> always_action_0.transitions.shape
        (5, 5)
        """
        if not len(pairs) or pairs[0] < 0 or (pairs[1:] <= pairs[:-1]).any():
            raise ValueError("pairs must be ascending positions, at least one.")
        parts = {name: getattr(self, name) for name in self.per_pair}
        return self.unchecked(
            **{name: None if part is None else rows_at(part, pairs) for name, part in parts.items()}
        )

    def unchecked(self, **changes: Any) -> Self:
        """Return the process with other parts, known to be valid: nothing is looked at.

        Parameters
        ----------
        **changes : array or number
            New parts, by the names of the fields.

        Returns
        -------
        mdp : MDP
            A process of the same class.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(3, 1, 2, random_state=0)
        >>> float(mdp.unchecked(rewards=mdp.rewards - 1).rewards.max())
        0.0
        """
        changed = object.__new__(type(self))
        parts, own = vars(changed), vars(self)
        for field in fields(self):
            name = field.name
            parts[name] = changes[name] if name in changes else own[name]
        if "pair_state" not in changes:
            parts |= {name: own[name] for name in OF_PAIR_STATES if name in own}
        return changed

    # ----------------------------------------------------------------------------------- values

    def expected_next_values(self, values: Floats) -> Floats:
        """Return the expected value of the next state of every pair, (n_pairs,).

        Parameters
        ----------
        values : ndarray of shape (n_states,)
            Value of every state.

        Returns
        -------
        expected : ndarray of shape (n_pairs,)
            ``transitions @ values``; an end is worth 0.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(3, 1, 3, random_state=0)
        >>> mdp.expected_next_values(np.array([1.0, 1.0, 1.0]))  # the last pair ends
        array([1., 1., 0.])
        """
        expected: Floats = self.transitions @ values
        return expected

    def pair_values(self, values: Floats, gamma: float) -> Floats:
        """Return Q = R + gamma P V of every pair, (n_pairs,).

        Parameters
        ----------
        values : ndarray of shape (n_states,)
            Value V of every state.
        gamma : float
            Discount in [0, 1].

        Returns
        -------
        q_values : ndarray of shape (n_pairs,)
            Reward of the pair plus the discounted value of what follows.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(3, 1, 3, random_state=0)
        >>> bool(np.all(mdp.pair_values(np.zeros(3), 0.9) == mdp.rewards))
        True
        """
        q_values = self.expected_next_values(gamma * values)  # there are fewer states than pairs
        q_values += self.rewards
        return q_values

    # ------------------------------------------------------------------------- proofs about values

    @property
    def is_linear(self) -> bool:
        """Whether Q is linear in V."""
        return True

    @cached_property
    def mass(self) -> Floats:
        """Probability that the process goes on after each pair, (n_pairs,)."""
        return self.expected_next_values(np.ones(self.n_states))

    @cached_property
    def acting_mass(self) -> Floats:
        """Probability that another decision follows each pair, (n_pairs,)."""
        if len(self.acting_states) == self.n_states:
            return self.mass
        acts = np.zeros(self.n_states)
        acts[self.acting_states] = 1.0
        return self.expected_next_values(acts)

    @cached_property
    def heaviest(self) -> float:
        """Largest probability that the process goes on after a pair."""
        return float(self.mass.max())

    @cached_property
    def is_closed(self) -> bool:
        """Whether another decision follows every pair for certain, up to rounding."""
        mass, eps = self.acting_mass, float(np.finfo(np.float64).eps)
        off = max(1 - float(mass.min()), float(mass.max()) - 1)
        return off <= float(self.n_roundings.min()) * eps

    @cached_property
    def n_roundings(self) -> Integers:
        """Number of roundings, at most, in the value of each pair, (n_pairs,)."""
        return np.asarray(np.diff(self.transitions.indptr) + 3)

    @cached_property
    def mass_rounding(self) -> Floats:
        """Largest rounding error of the mass of each pair, (n_pairs,)."""
        return np.asarray(self.n_roundings * np.finfo(np.float64).eps)

    @cached_property
    def ends(self) -> Bools:
        """Whether a pair may end the process: its mass misses one by more than rounding."""
        return np.asarray(1 - self.mass > self.mass_rounding)

    def term_sizes(self, values: Floats, gamma: float) -> Floats:
        """Return the sum of the absolute terms of each pair's value, (n_pairs,).

        Parameters
        ----------
        values : ndarray of shape (n_states,)
            Value of every state.
        gamma : float
            Discount in [0, 1].

        Returns
        -------
        sizes : ndarray of shape (n_pairs,)
            |R| + gamma P |V|: rounding of Q is relative to it.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(3, 1, 3, random_state=0)
        >>> bool(np.all(mdp.term_sizes(-np.ones(3), 0.0) == np.abs(mdp.rewards)))
        True
        """
        sizes = self.expected_next_values(np.abs(values))
        sizes *= gamma
        sizes += np.abs(self.rewards)
        return sizes

    @cached_property
    def largest_reward(self) -> float:
        """Largest reward in absolute terms: rounding of values is relative to it."""
        return float(np.abs(self.rewards).max())

    @cached_property
    def rounding(self) -> float:
        """Largest relative rounding error of the value of any pair."""
        return float(self.n_roundings.max()) * float(np.finfo(np.float64).eps)

    @property
    def hubs(self) -> tuple[Any, Any]:
        """Distributions that pairs share, and how far each pair leads on by them; here none.

        Both are CSR arrays, (n_pairs, n_hubs) and (n_hubs, n_states), the masses first.
        """
        return csr_array((len(self.rewards), 0)), csr_array((0, self.n_states))

    @property
    def without_hubs(self) -> MDP:
        """The same process, where every pair leads to its successors directly: this one."""
        return self

    def all_transitions(self, most_added: float) -> Any:
        """Return P with what is added by distributions that pairs share; here there are none.

        Parameters
        ----------
        most_added : float
            Number of entries that may be added.

        Returns
        -------
        transitions : scipy sparse CSR array of shape (n_pairs, n_states) or None
            None if more would have to be added.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(3, 1, 2, random_state=0)
        >>> mdp.all_transitions(0) is mdp.transitions
        True
        """
        return self.transitions if most_added >= 0 else None

    def with_dense_rows(self) -> Self:
        """Return the process with an ndarray for P: faster for few states.

        Returns
        -------
        mdp : MDP
            The same process; solvers take it, others expect a sparse array.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> make_garnet(3, 1, 3, random_state=0).with_dense_rows().transitions.shape
        (3, 3)
        """
        return self.unchecked(transitions=self.transitions.toarray())

    def renumbered(self, code: Integers) -> Self:
        """Return the process under other codes of its states; pairs keep their order.

        Parameters
        ----------
        code : ndarray of shape (n_states,)
            New code of every state; those of states that have pairs must ascend.

        Returns
        -------
        mdp : MDP
            The same process, without an initial distribution.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(3, 1, 2, random_state=0)
        >>> mdp.renumbered(np.array([0, 1, 2])).pair_state
        array([0, 1, 2])
        """
        return self.unchecked(
            transitions=renumber_columns(self.transitions, code),
            pair_state=code[self.pair_state],
            initial_distribution=None,
        )


def rows_at(part: Any, pairs: Integers) -> Any:
    """Return what is at some positions of an array, or some rows of a CSR array.

    Where these are short and few, what scipy checks takes longer than to copy them.
    """
    if not isinstance(part, csr_array) or part.nnz * len(pairs) > FEW_ENTRIES * part.shape[0]:
        return part[pairs]
    begin = part.indptr[pairs]
    lengths = part.indptr[pairs + 1] - begin
    indptr = np.zeros(len(pairs) + 1, part.indptr.dtype)
    lengths.cumsum(out=indptr[1:])
    at = (begin - indptr[:-1]).astype(np.intp).repeat(lengths)
    at += np.arange(len(at))
    rows = part.data[at], part.indices[at], indptr
    return csr_like(part, rows, (len(pairs), part.shape[1]))


def csr_like(matrix: Any, rows: tuple[Floats, Integers, Integers], shape: tuple[int, int]) -> Any:
    """Return a CSR array of data, columns and row pointers that are known to fit together.

    They are as those of the matrix, of which they are a part: nothing is looked at again.
    """
    part = copy(matrix)
    part.data, part.indices, part.indptr = rows
    part.resize(*shape)
    return part


def renumber_columns(matrix: Any, code: Integers) -> Any:
    """Return a CSR array whose column j is called ``code[j]``."""
    indices = code.astype(matrix.indices.dtype)[matrix.indices]
    return csr_array((matrix.data, indices, matrix.indptr), shape=matrix.shape)

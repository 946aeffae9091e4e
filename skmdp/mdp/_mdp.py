"""The model: a Markov decision process in state-action-pair form, usable without a log."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_array, issparse

from skmdp._typing import Bools, Floats, Integers

# Rows may sum to this much more than one, since probabilities come rounded. The bounds of solvers
# use the largest sum as it is.
MASS_TOLERANCE = 1e-9


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
        self._check_shapes()
        self._check_codes()
        self._check_numbers()

    def _check_shapes(self) -> None:
        n_pairs = len(self.rewards)
        if not (issparse(self.transitions) and self.transitions.format == "csr"):
            raise TypeError(
                "transitions must be a scipy sparse array in CSR format, got "
                f"{type(self.transitions).__name__}. Wrap it in scipy.sparse.csr_array."
            )
        if self.transitions.shape != (n_pairs, self.n_states) or not n_pairs:
            raise ValueError(
                f"transitions has shape {self.transitions.shape}, expected "
                f"({n_pairs}, {self.n_states}): one row per pair, one column per state, and at "
                "least one pair."
            )
        for name in ("pair_state", "pair_action"):
            shape = np.shape(getattr(self, name))
            if shape != (n_pairs,):
                raise ValueError(f"{name} has shape {shape}, expected ({n_pairs},).")

    def _check_codes(self) -> None:
        for name, codes, n in (
            ("pair_state", self.pair_state, self.n_states),
            ("pair_action", self.pair_action, self.n_actions),
        ):
            if codes.min() < 0 or codes.max() >= n:
                raise ValueError(f"{name} must be codes from 0 to {n - 1}.")
        s, a = self.pair_state, self.pair_action
        rises = (s[1:] > s[:-1]) | ((s[1:] == s[:-1]) & (a[1:] > a[:-1]))
        if not rises.all():
            raise ValueError("pairs must be unique and sorted by state, then action.")

    def _check_numbers(self) -> None:
        if not np.isfinite(self.rewards).all():
            raise ValueError("rewards must be finite.")
        # NaN fails every comparison, so the question is whether all is well.
        is_positive = self.transitions.data.min(initial=0.0) >= 0
        if not (is_positive and self.mass.max() <= 1 + MASS_TOLERANCE):
            raise ValueError(
                "transitions must hold probabilities: none negative or NaN, and no row summing "
                "to more than one."
            )

    # ------------------------------------------------------------------------- states and pairs

    @cached_property
    def acting_states(self) -> Integers:
        """Codes of the states that have a pair, ascending."""
        return self.pair_state[self.first_pairs]

    @cached_property
    def first_pairs(self) -> Integers:
        """Position of the first pair of every acting state."""
        state = self.pair_state
        return np.flatnonzero(np.append(True, state[1:] != state[:-1]))

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
        if not len(pairs) or pairs[0] < 0 or (np.diff(pairs) <= 0).any():
            raise ValueError("pairs must be ascending positions, at least one.")
        parts = {name: getattr(self, name) for name in self.per_pair}
        return self.unchecked(
            **{name: None if part is None else part[pairs] for name, part in parts.items()}
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
        for field in fields(self):
            part = changes[field.name] if field.name in changes else getattr(self, field.name)
            object.__setattr__(changed, field.name, part)
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
        q_values = self.expected_next_values(values)
        q_values *= gamma
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


def renumber_columns(matrix: Any, code: Integers) -> Any:
    """Return a CSR array whose column j is called ``code[j]``."""
    indices = code.astype(matrix.indices.dtype)[matrix.indices]
    return csr_array((matrix.data, indices, matrix.indptr), shape=matrix.shape)

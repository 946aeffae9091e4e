"""The model: a Markov decision process in state-action-pair form, usable without a log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from skmdp._typing import Floats, Integers
from skmdp.mdp._penalty import Penalty


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
    uniform_mass : ndarray of shape (n_pairs,), default=None
        Probability that a pair leads to any of the ``n_states`` states, all equally likely, on top
        of ``transitions``. Kept apart because its matrix would be dense.
    shared_mass : ndarray of shape (n_pairs,), default=None
        Probability that a pair leads where its state leads whatever is done there, on top of
        ``transitions``. Kept apart because it would repeat a row of ``shared_transitions`` for
        every action.
    shared_transitions : scipy sparse CSR array of shape (n_states, n_states), default=None
        Probability of each next state of a state, whatever is done there. Rows may sum to less
        than one. Needed with ``shared_mass``.
    penalty : Penalty, default=None
        Standard errors to take off the values, as ``pessimism`` of the estimator does. The
        Bellman operator is then no longer linear for a fixed policy.

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
    uniform_mass: Floats | None = None
    shared_mass: Floats | None = None
    shared_transitions: Any = None
    penalty: Penalty | None = None

    def __post_init__(self) -> None:
        n_pairs = len(self.rewards)
        if (self.shared_mass is None) != (self.shared_transitions is None):
            raise ValueError("shared_mass and shared_transitions go together: give both or none.")
        for name in ("transitions", "shared_transitions"):
            matrix = getattr(self, name)
            if matrix is not None and not (issparse(matrix) and matrix.format == "csr"):
                raise TypeError(
                    f"{name} must be a scipy sparse array in CSR format, got "
                    f"{type(matrix).__name__}. Wrap it in scipy.sparse.csr_array."
                )
        if self.transitions.shape != (n_pairs, self.n_states) or not n_pairs:
            raise ValueError(
                f"transitions has shape {self.transitions.shape}, expected "
                f"({n_pairs}, {self.n_states}): one row per pair, one column per state, and at "
                "least one pair."
            )
        square = (self.n_states, self.n_states)
        if self.shared_transitions is not None and self.shared_transitions.shape != square:
            raise ValueError(
                f"shared_transitions has shape {self.shared_transitions.shape}, expected {square}."
            )
        for name in ("pair_state", "pair_action", "uniform_mass", "shared_mass"):
            array = getattr(self, name)
            if array is not None and np.shape(array) != (n_pairs,):
                raise ValueError(f"{name} has shape {np.shape(array)}, expected ({n_pairs},).")
        for name, codes, n in (
            ("pair_state", self.pair_state, self.n_states),
            ("pair_action", self.pair_action, self.n_actions),
        ):
            if codes.min() < 0 or codes.max() >= n:
                raise ValueError(f"{name} must be codes from 0 to {n - 1}.")
        order = self.pair_state.astype(np.int64) * self.n_actions + self.pair_action
        if (np.diff(order) <= 0).any():
            raise ValueError("pairs must be unique and sorted by state, then action.")
        if not np.isfinite(self.rewards).all():
            raise ValueError("rewards must be finite.")
        parts = [self.transitions.data, self.uniform_mass, self.shared_mass]
        if self.shared_transitions is not None:
            parts.append(self.shared_transitions.data)
        # NaN fails every comparison, so what is asked is whether all is well.
        are_positive = all(part.min(initial=0.0) >= 0 for part in parts if part is not None)
        if not (are_positive and self._mass.max() <= 1 + 1e-9):
            raise ValueError(
                "transitions must hold probabilities: none negative or NaN, and no row (with its "
                "uniform_mass and shared_mass) summing to more than one."
            )

    @cached_property
    def _mass(self) -> Floats:
        """Probability that the process goes on, (n_pairs,)."""
        mass = np.asarray(self.transitions.sum(axis=1))
        if self.uniform_mass is not None:
            mass = mass + self.uniform_mass
        if self.shared_mass is not None:
            going_on = np.asarray(self.shared_transitions.sum(axis=1))
            mass = mass + self.shared_mass * going_on[self.pair_state]
        return mass

    @cached_property
    def acting_states(self) -> Integers:
        """Codes of the states that have a pair, ascending."""
        return self.pair_state[self.first_pairs]

    @cached_property
    def first_pairs(self) -> Integers:
        """Position of the first pair of every acting state."""
        return np.flatnonzero(np.diff(self.pair_state, prepend=-1))

    @cached_property
    def ends(self) -> npt.NDArray[np.bool_]:
        """Whether a pair may end the process: its mass misses one by more than rounding."""
        n_terms = np.diff(self.transitions.indptr) + 3
        if self.shared_mass is not None:
            n_terms += np.diff(self.shared_transitions.indptr)[self.pair_state] + 3
        return np.asarray(1 - self._mass > n_terms * np.finfo(np.float64).eps)

    def expected_next_values(self, values: Floats) -> Floats:
        """Return the expected value of the next state of every pair, (n_pairs,).

        Parameters
        ----------
        values : ndarray of shape (n_states,)
            Value of every state.

        Returns
        -------
        expected : ndarray of shape (n_pairs,)
            ``transitions @ values``, plus the mean value where a pair may lead anywhere, plus
            what the pair's state leads to where it may do that.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(3, 1, 3, random_state=0)
        >>> mdp.expected_next_values(np.array([1.0, 1.0, 1.0]))  # the last pair ends
        array([1., 1., 0.])
        """
        expected: Floats = self.transitions @ values
        if self.uniform_mass is not None:
            expected += self.uniform_mass * values.mean()
        if self.shared_mass is not None:
            expected += self.shared_mass * (self.shared_transitions @ values)[self.pair_state]
        return expected

    def restrict(self, pairs: Integers) -> MDP:
        """Return the process in which only the given pairs exist.

        With one pair per state this is the Markov reward process of a policy.

        Parameters
        ----------
        pairs : ndarray of shape (n_kept,)
            Ascending positions of pairs.

        Returns
        -------
        mdp : MDP
            Same states, same actions.

        Examples
        --------
        >>> from skmdp.datasets import make_garnet
        >>> mdp = make_garnet(5, 2, 2, random_state=0)
        >>> always_action_0 = mdp.restrict(np.flatnonzero(mdp.pair_action == 0))
        >>> always_action_0.transitions.shape
        (5, 5)
        """
        return replace(
            self,
            transitions=self.transitions[pairs],
            rewards=self.rewards[pairs],
            pair_state=self.pair_state[pairs],
            pair_action=self.pair_action[pairs],
            uniform_mass=None if self.uniform_mass is None else self.uniform_mass[pairs],
            shared_mass=None if self.shared_mass is None else self.shared_mass[pairs],
            penalty=None if self.penalty is None else self.penalty.restrict(pairs),
        )

"""Late steps of a linear process in closed form.

Let x_k = T^k x_0 for an operator T that makes no vector larger, such as the transitions of a
process. Once fast changes have died away, few directions are left, and T hardly leads out of them:
for a basis B (n_modes, n) of the space of x_0, T x_0, T^2 x_0, ... by Arnoldi's iteration,

    T B' = B' A + residual e_m',  x_0 = B' c,  |x_k - B' A^k c| <= |residual| sum_{i<k} |leak_i|

where leak_i is the last entry of A^i c. So the error is known before any of the steps is taken. A
decay at one rate is a space of one direction, a period of p steps one of p.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from skmdp._typing import Floats

# A residual of this size, relative to what it is left of, is rounding.
EXACT = 64 * np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Tail:
    """A sequence x_0, x_1, ... of vectors (n,): x_k = ``basis``' ``matrix``^k ``start``.

    ``basis`` (n_modes, n), ``matrix`` (n_modes, n_modes), ``start`` (n_modes,).
    """

    basis: Floats
    matrix: Floats
    start: Floats

    @classmethod
    def constant(cls, vector: Floats) -> Tail:
        """Return the sequence that stays where it is."""
        return cls(vector[np.newaxis], np.ones((1, 1)), np.ones(1))

    def at(self, step: int) -> Floats:
        """Return x_step."""
        return np.asarray(np.linalg.matrix_power(self.matrix, step) @ self.start @ self.basis)

    def coefficients(self, first: int, n: int) -> Floats:
        """Return what x_first and the next ones are made of, (n, n_modes)."""
        return _powers(self.matrix, np.linalg.matrix_power(self.matrix, first) @ self.start, n)

    def sums(self, first: Floats) -> Tail:
        """Return the sequence of ``first``, first + x_0, first + x_0 + x_1, ..."""
        n = len(self.start)
        matrix = np.zeros((n + 1, n + 1))
        matrix[:n, :n], matrix[:n, n], matrix[n, n] = self.matrix, self.start, 1.0
        start = np.zeros(n + 1)
        start[n] = 1.0
        return Tail(np.vstack([self.basis, first]), matrix, start)

    def leaks(self, n: int) -> Floats:
        """Return the size of the last coefficient of the first n steps, (n,)."""
        block = int(np.sqrt(n)) + 1  # so that two short sequences of powers make a long one
        early = _powers(self.matrix, self.start, block)
        last = np.zeros(len(self.start))
        last[-1] = 1.0
        later = _powers(np.linalg.matrix_power(self.matrix, block).T, last, block)
        return np.asarray(np.abs(later @ early.T).ravel()[:n])


def join(first: Tail, second: Tail, n: int) -> Floats:
    """Return C = sum over k < n of x_k y_{n-1-k}' by their modes, (n_modes, n_modes of second)."""
    size = len(first.start)
    both = np.block(
        [
            [first.matrix, np.outer(first.start, second.start)],
            [np.zeros((len(second.start), size)), second.matrix.T],
        ]
    )
    return np.asarray(np.linalg.matrix_power(both, n)[:size, size:])


def _powers(matrix: Floats, start: Floats, n: int) -> Floats:
    """Return start, matrix start, matrix^2 start, ... , (n, n_modes)."""
    powers = start[np.newaxis]
    while len(powers) < n:
        powers = np.concatenate([powers, powers @ matrix.T])
        matrix = matrix @ matrix
    return powers[:n]


def close_tails(
    apply: Callable[[Floats], Floats], start: Floats, image: Floats, most: int
) -> Iterator[tuple[Tail, Floats]]:
    """Yield sequences close to start, T start, ... and their residuals, with ever more modes.

    ``start`` is not zero, ``image`` is T start, so that one mode costs no product. They have 1, 2,
    4, ... and ``most`` modes; the last has fewer if it is exact.
    """
    size = np.linalg.norm(start)
    basis, matrix = np.zeros((most + 1, len(start))), np.zeros((most + 1, most))
    basis[0] = start / size
    for n in range(1, most + 1):
        residual = image / size if n == 1 else apply(basis[n - 1])
        length = np.linalg.norm(residual)
        for _ in range(2):  # a second time for what rounding has left
            along = basis[:n] @ residual
            residual = residual - along @ basis[:n]
            matrix[:n, n - 1] += along
        left = np.linalg.norm(residual)
        is_last = n == most or left <= EXACT * length
        if is_last or n & (n - 1) == 0:
            coefficients = np.zeros(n)
            coefficients[0] = size
            yield Tail(basis[:n].copy(), matrix[:n, :n].copy(), coefficients), residual
        if is_last:
            return
        matrix[n, n - 1] = left
        basis[n] = residual / left

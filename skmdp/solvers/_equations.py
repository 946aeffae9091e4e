"""The values of one policy by its linear equations, (I - gamma P) x = d."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np
from scipy.linalg import solve_banded
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import LinearOperator, bicgstab
from threadpoolctl import ThreadpoolController

from skmdp._typing import Floats
from skmdp.solvers._kernels import Multiply

# Multiplications that a band may cost: in all, and for each entry of the equations.
CHEAP_BAND = 1e7
BAND_PER_ENTRY = 200
# Entries of a row, on average, from which no band is looked for.
MOST_PER_ROW = 20
# Steps that are looked ahead to see whether a band can be narrow.
MOST_STEPS = 40
# Iterations of the Krylov method.
MOST_KRYLOV = 40


class Policy(Protocol):
    """One row of gamma P, and one reward, of every acting state."""

    rewards: Floats

    def apply(self, V: Floats) -> tuple[Floats, float, float]:
        """Return R + gamma P V, and the least and the largest change."""

    def sweep(self, V: Floats) -> tuple[Floats, float, float]:
        """Do the same, or the like that converges faster, perhaps in V itself."""

    def transitions(self, *, with_hubs: bool = True) -> Any:
        """Return gamma P over the acting states, CSR; None if hubs would fill it."""

    def system(self, d: Floats) -> tuple[Multiply, Floats, Multiply | None]:
        """Return a matrix A and a vector b such that A x = b where x = d + gamma P x.

        Last comes a matrix that is close to the inverse of A, or None if A is easy by itself.
        """


def solve_dense(P: Floats, d: Floats) -> Floats:
    """Solve x = d + P x by elimination in a full matrix, P being (n, n)."""
    equations = -P
    equations.ravel()[:: len(d) + 1] += 1.0
    return np.asarray(np.linalg.solve(equations, d))


def solve_band(equations: Any, d: Floats) -> Floats | None:
    """Solve by elimination in the narrowest band at hand; None if that is too wide."""
    n = len(d)
    most = max(CHEAP_BAND, BAND_PER_ENTRY * equations.nnz)
    if equations.nnz > MOST_PER_ROW * n or spreads(equations, math.sqrt(most / n / 2)):
        return None
    order = reverse_cuthill_mckee(equations)
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    entries = equations.tocoo()
    row, column = place[entries.row], place[entries.col]
    offset = column - row
    below, above = int(-offset.min(initial=0)), int(offset.max(initial=0))
    if n * (below * (below + above) + below + above) > most:
        return None
    band = np.zeros((below + above + 1, n))
    band[above - offset, column] = entries.data
    x = np.empty(n)
    x[order] = solve_banded(
        (below, above), band, d[order], overwrite_ab=True, overwrite_b=True, check_finite=False
    )
    return x


def spreads(equations: Any, widest: float) -> bool:
    """Return whether a band of entries so far from the diagonal at most is seen not to be enough.

    In a band, no more than ``2 * widest * r`` other states are within r steps, forth or back.
    """
    steps = (equations + equations.T).tocsr()
    seen = np.zeros(steps.shape[0], dtype=bool)
    reached = np.array([len(seen) // 2])
    seen[reached] = True
    n_seen = 1
    for n_steps in range(1, MOST_STEPS + 1):
        following = np.unique(steps[reached].indices)
        reached = following[~seen[following]]
        seen[reached] = True
        n_seen += len(reached)
        if n_seen - 1 > 2 * widest * n_steps:
            return True
        if len(reached) <= n_steps / 2:  # a path, or nearly so
            return False
    return False


def solve_krylov(policy: Policy, d: Floats, residual: float) -> tuple[Floats, bool]:
    """Solve by BiCGSTAB up to a residual; return x, and whether that was reached."""
    n = len(d)
    multiply, right, precondition = policy.system(d)

    def operator(product: Multiply | None) -> LinearOperator | None:
        return product and LinearOperator((n, n), product, dtype=np.float64)

    with one_blas_thread():
        x, info = bicgstab(
            operator(multiply),
            right,
            rtol=0.0,
            atol=0.2 * residual * np.sqrt(n),
            maxiter=MOST_KRYLOV,
            M=operator(precondition),
        )
    return np.asarray(x), info == 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread inside.

    Sums of some thousand numbers are no work for more, and where another process keeps a core busy,
    threads that wait for each other take a hundred times as long.
    """
    with thread_pools().limit(limits=1, user_api="blas"):
        yield


@cache
def thread_pools() -> ThreadpoolController:
    """Return the thread pools of the libraries that are loaded, looked for once."""
    return ThreadpoolController()

"""The values of one policy by its linear equations, (I - gamma P) x = d."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve_banded
from scipy.sparse import csr_array, eye_array, tril
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import LinearOperator, bicgstab, splu

from skmdp._typing import Floats
from skmdp.mdp import MDP
from skmdp.solvers._kernels import backward_order, padded

# Multiplications that a band may cost: in all, and for each entry of the equations.
CHEAP_BAND = 1e7
BAND_PER_ENTRY = 200
# Entries of a row, on average, from which no band is looked for.
MOST_PER_ROW = 20
# Iterations of the Krylov method, and the number of entries that hubs may add to each of P.
MOST_KRYLOV = 40
MOST_ADDED = 8


def solve_dense(P: Floats, gamma: float, d: Floats) -> Floats:
    """Solve by elimination in a full matrix, P being (n_acting, n_states)."""
    n = len(d)
    equations = -gamma * P[:, :n]
    equations.ravel()[:: n + 1] += 1.0
    return np.asarray(np.linalg.solve(equations, d))


def equations_of(policy: MDP, gamma: float) -> Any:
    """Return I - gamma P over the acting states, CSR, or None if hubs would fill it."""
    n = len(policy.rewards)
    P = policy.all_transitions(MOST_ADDED * (policy.transitions.nnz + n))
    if P is None:
        return None
    return csr_array(eye_array(n, format="csr") - gamma * P[:, :n])


def solve_band(equations: Any, d: Floats) -> Floats | None:
    """Solve by elimination in the narrowest band at hand; None if that is too wide."""
    n = len(d)
    if equations.nnz > MOST_PER_ROW * n:
        return None
    order = reverse_cuthill_mckee(equations)
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    entries = equations.tocoo()
    row, column = place[entries.row], place[entries.col]
    offset = column - row
    below, above = int(-offset.min(initial=0)), int(offset.max(initial=0))
    cost = n * (below * (below + above) + below + above)
    if cost > max(CHEAP_BAND, BAND_PER_ENTRY * equations.nnz):
        return None
    band = np.zeros((below + above + 1, n))
    band[above - offset, column] = entries.data
    x = np.empty(n)
    x[order] = solve_banded(
        (below, above), band, d[order], overwrite_ab=True, overwrite_b=True, check_finite=False
    )
    return x


def solve_krylov(
    policy: MDP, gamma: float, equations: Any, d: Floats, residual: float
) -> tuple[Floats, bool]:
    """Solve by BiCGSTAB up to a residual; return x, and whether that was reached.

    Sweeps in place, backwards from the largest rewards, precondition.
    """
    n = len(d)
    if equations is None:  # hubs lead anywhere, which is in no order
        equations = csr_array(eye_array(n, format="csr") - gamma * policy.transitions[:, :n])
    rewards = policy.rewards
    order = backward_order(equations, rewards >= rewards.max() - 1e-3 * np.abs(rewards).max())
    in_place = tril(equations[order][:, order], format="csc")
    factors = splu(in_place, permc_spec="NATURAL", diag_pivot_thresh=0.0)

    def multiply(x: Floats) -> Floats:
        return np.asarray(x - gamma * policy.expected_next_values(padded(x, policy.n_states)))

    def sweep(x: Floats) -> Floats:
        swept = np.empty(n)
        swept[order] = factors.solve(x[order])
        return swept

    x, info = bicgstab(
        LinearOperator((n, n), multiply, dtype=np.float64),
        d,
        rtol=0.0,
        atol=0.2 * residual * np.sqrt(n),
        maxiter=MOST_KRYLOV,
        M=LinearOperator((n, n), sweep, dtype=np.float64),
    )
    return np.asarray(x), info == 0

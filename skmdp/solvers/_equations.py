"""The values of one policy by its linear equations, (I - gamma P) x = d."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np
from scipy.linalg import get_lapack_funcs
from scipy.sparse import coo_array, csr_array, eye_array
from scipy.sparse.csgraph import breadth_first_order, reverse_cuthill_mckee
from scipy.sparse.linalg import LinearOperator, bicgstab, splu
from threadpoolctl import ThreadpoolController

from skmdp._typing import Floats, Integers

Multiply = Callable[[Floats], Floats]
Steps = tuple[Integers, Integers, Integers]
# Multiplications that a band may cost: in any case, at most, and for each entry of the equations.
CHEAP_BAND, MOST_BAND = 1e7, 1e8
BAND_PER_ENTRY = 200
# Entries of a row, on average, from which no band is looked for.
MOST_PER_ROW = 20
# Steps that are looked ahead to see whether a band can be narrow, and the states from which: how
# many there are before them.
MOST_STEPS = 40
LOOKS = (1 / 2, 1 / 4)
# Width from which elimination fills less of a band in another order, unless entries fill as much of
# it as the share ``FULL_BAND``. It is taken to be that of a plane up to so many times the root of
# the number of states.
WIDE_BAND, FULL_BAND, MOST_OF_PLANE = 32, 0.25, 4
# Probability of an end that may be nothing but rounding.
SURELY_ON = 1e-15
# Rows of a band that are looked at first.
N_LOOKS = 1000
# Root mean square of what the Krylov method leaves, over the largest that is wanted: where few
# states hold most of it, the largest is much more.
RESIDUAL_SHARE = 0.02
# Iterations of the Krylov method.
MOST_KRYLOV = 40


class Policy(Protocol):
    """One row of gamma P, and one reward, of every acting state."""

    rewards: Floats

    def apply(self, V: Floats) -> tuple[Floats, float, float]:
        """Return R + gamma P V, and the least and the largest change."""

    def sweep(self, V: Floats) -> tuple[Floats, float, float]:
        """Do the same, or the like that converges faster, perhaps in V itself."""

    @property
    def along_paths(self) -> Multiply | None:
        """What solves x = d + gamma P x if every state leads to one other at most, else None."""

    def core(self, V: Floats, /) -> Any:
        """Return the states that sweeps have to settle, where they are few, else None."""

    def wave(self, V: Floats, /) -> Floats | None:
        """Sweep over some states again and again, then over the next; None where that is no use."""

    def transitions(self, *, with_hubs: bool = True) -> Any:
        """Return gamma P over the acting states, CSR; None if hubs would fill it."""

    @property
    def n_entries(self) -> int:
        """Number of entries of P."""

    def spreads(self, most: float) -> bool:
        """Return whether it is seen, without much work, that no band of P costs so little."""

    def system(self, d: Floats) -> tuple[Multiply, Floats, Multiply | None]:
        """Return a matrix A and a vector b such that A x = b where x = d + gamma P x.

        Last comes a matrix that is close to the inverse of A, or None if A is easy by itself.
        """


def solve_dense(P: Floats, d: Floats) -> Floats:
    """Solve x = d + P x by elimination in a full matrix, P being (n, n)."""
    equations = -P
    equations.ravel()[:: len(d) + 1] += 1.0
    return solve_full(equations, d)


def solve_full(equations: Floats, d: Floats) -> Floats:
    """Solve equations whose matrix is full; by LAPACK, since few take no longer than to check."""
    (solve,) = get_lapack_funcs(("gesv",), dtype=np.float64)
    _, _, x, info = solve(equations, d)
    if info:
        raise np.linalg.LinAlgError("nothing but rounding is left of a pivot")
    return np.asarray(x)


def equations_of(P: Any) -> Any:
    """Return I - P, CSR."""
    return csr_array(eye_array(P.shape[0], format="csr") - P)


def solve_band(
    P: Any, d: Floats, most: float | None = None, is_narrow: bool = False
) -> Floats | None:
    """Solve x = d + P x by elimination in the narrowest band at hand; None if that is too wide.

    It may cost so many multiplications at ``most``; None: what is cheap. If it ``is_narrow``, as
    far as is known, an order is looked for at once.
    """
    n = len(d)
    most = cheap_band(P.nnz + n) if most is None else most
    below, above = widths_of(P)
    if cost_of_band(n, below, above) <= most:
        return eliminate(P, d, below, above)
    if not is_narrow and spreads([starts_of(P), starts_of(P.tocsc())], most):
        return None
    order = reverse_cuthill_mckee(P)
    P = P[order][:, order]
    below, above = widths_of(P)
    if cost_of_band(n, below, above) > most:
        return None
    x = np.empty(n)
    x[order] = eliminate(P, d[order], below, above)
    return x


def all_end(P: Any) -> bool:
    """Return whether every state leads to one from which P may end, so that I - P has an inverse.

    P is CSR, and square. One search, O(n_nonzero), and none where P may end from every state.
    """
    n = P.shape[0]
    ends = np.flatnonzero(P.sum(axis=1) < 1 - SURELY_ON)
    if len(ends) == n:
        return True
    return bool(len(found_backward(P, ends)) == n)


def found_backward(P: Any, seeds: Integers) -> Integers:
    """Return the states that lead to a seed, in the order of their steps to the nearest one."""
    n, steps = P.shape[0], P.tocoo()
    # From one state behind all seeds.
    origin = np.append(steps.col, np.full(len(seeds), n))
    reached = np.append(steps.row, seeds)
    back = coo_array((np.ones(len(origin), np.int8), (origin, reached)), shape=(n + 1, n + 1))
    order = breadth_first_order(back.tocsr(), n, return_predecessors=False)
    return np.asarray(order[1:])


def eliminate(P: Any, d: Floats, below: int, above: int) -> Floats:
    """Solve by elimination, in the band, or where it is wide, in an order that fills less of it."""
    n, width = len(d), below + above
    if width > WIDE_BAND and P.nnz < FULL_BAND * n * width:
        if not all_end(P):  # SuperLU takes pivots to be on the diagonal, and crashes without one
            raise np.linalg.LinAlgError("nothing but rounding is left of a pivot")
        factors = splu(
            equations_of(P).tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            panel_size=1,  # columns of few entries have little in common
            options={"SymmetricMode": True},
        )
        return np.asarray(factors.solve(d))
    # By columns, with room above for what pivots fill.
    at = P.indices.astype(np.intp) * (below + width) + rows_of(P) + width
    band = (
        np.bincount(at, -P.data, n * (below + width + 1))
        .reshape(n, -1)
        .astype(np.float64, copy=False)
    )
    band[:, width] += 1.0
    (solve,) = get_lapack_funcs(("gbsv",), dtype=np.float64)
    # A narrow band is no work for more than one thread.
    with one_blas_thread():
        _, _, x, info = solve(below, above, band.T, d, overwrite_ab=True)
    if info:
        raise np.linalg.LinAlgError("nothing but rounding is left of a pivot")
    return np.asarray(x)


def rows_of(P: Any) -> Integers:
    """Return the row of every entry of a CSR array."""
    return np.repeat(np.arange(P.shape[0], dtype=P.indices.dtype), np.diff(P.indptr))


def widths_of(P: Any) -> tuple[int, int]:
    """Return how far entries of a CSR array are below its diagonal, and above, at most."""
    offset = P.indices - rows_of(P)
    return int(-offset.min(initial=0)), int(offset.max(initial=0))


def cost_of_band(n: int, below: int, above: int) -> int:
    """Return how many multiplications elimination in a band takes, about.

    As wide as it is in the plane, another order takes fewer.
    """
    width = below + above
    is_plane = width <= MOST_OF_PLANE * math.sqrt(n)
    return n * (below * (min(width, WIDE_BAND) if is_plane else width) + width)


def cheap_band(n_entries: int, n_sweeps: float = 0.0) -> float:
    """Return how many multiplications a band may cost that is worth so many sweeps."""
    most = max(CHEAP_BAND, BAND_PER_ENTRY * n_entries)
    return max(most, min(n_entries * n_sweeps, MOST_BAND))


def starts_of(P: Any) -> Steps:
    """Return where rows of a CSR array begin and stop, and its columns; of CSC the other way."""
    return P.indptr[:-1], P.indptr[1:], P.indices


def spreads(graphs: Sequence[Steps], most: float) -> bool:
    """Return whether it is seen that no band costs so few multiplications.

    In a band of entries so far from the diagonal at most, no more than twice as many states times r
    are within r steps. From state s steps lead to the columns from ``begin[s]`` to ``stop[s]`` of
    each graph; columns behind the states do not count.
    """
    begin, stop, _ = graphs[0]
    n = len(begin)
    looks = np.arange(0, n, max(1, n // N_LOOKS))
    columns = successors(looks, *graphs[0])
    offset = columns - np.repeat(looks, stop[looks].astype(np.int64) - begin[looks])
    offset = offset[columns < n]
    if cost_of_band(n, int(-offset.min(initial=0)), int(offset.max(initial=0))) <= most:
        return False
    if int(stop.sum(dtype=np.int64) - begin.sum(dtype=np.int64)) > MOST_PER_ROW * n:
        return True
    widest = math.sqrt(most / n / 2)
    return any(reaches_more(graphs, int(share * n), 2 * widest) for share in LOOKS)


def reaches_more(graphs: Sequence[Steps], start: int, per_step: float) -> bool:
    """Return whether some number of steps is seen to lead to more states than so many for each."""
    seen = np.zeros(len(graphs[0][0]), dtype=bool)
    reached = np.array([start])
    seen[start] = True
    n_seen = 1
    for n_steps in range(1, MOST_STEPS + 1):
        following = np.concatenate([successors(reached, *graph) for graph in graphs])
        following = following[following < len(seen)]
        reached = np.unique(following[~seen[following]])
        seen[reached] = True
        n_seen += len(reached)
        if n_seen - 1 > per_step * n_steps:
            return True
        if len(reached) <= n_steps / 2:  # a path, or nearly so
            return False
    return False


def successors(states: Integers, begin: Integers, stop: Integers, columns: Integers) -> Integers:
    """Return the columns of the rows of some states, one row after the other."""
    return np.asarray(columns[places_of(states, begin, stop)[0]])


def places_of(states: Integers, begin: Integers, stop: Integers) -> tuple[Integers, Integers]:
    """Return where the entries of some rows are, one row after the other, and where each begins.

    The last number is that of all these entries.
    """
    lengths = stop[states].astype(np.int64) - begin[states]
    before = np.zeros(len(states) + 1, np.int64)
    np.cumsum(lengths, out=before[1:])
    return np.arange(before[-1]) + np.repeat(begin[states] - before[:-1], lengths), before


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
            atol=RESIDUAL_SHARE * residual * np.sqrt(n),
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

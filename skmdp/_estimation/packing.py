"""Rows of codes packed into sparse matrices of complex numbers, which sum two amounts in one pass.

One block of rows is sorted and summed at a time; sums of blocks, which are sorted, are added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, get_index_dtype

from skmdp._typing import Floats, Integers

# Rows packed at a time: small enough for the sort to stay in cache, and a bound on extra memory.
BLOCK_ROWS = 2**20

Packed = npt.NDArray[np.complex128]
# State, action * (n_states + 1) + next state, and sums of two or more amounts; each (n_triples,).
Triples = tuple[Integers, Integers, list[Floats]]


@dataclass(frozen=True, eq=False)
class RowSums:
    """What the rows add up to that each entry of an aggregated log stands for, all (n,).

    ``rewards`` and ``squares`` are weighted sums, ``discounts`` those by how far each row discounts
    what follows it, ``discount_squares`` those of their squares and ``reward_discounts`` those of
    their products with the reward (None: nothing is discounted). ``weights_count_rows`` says
    whether the weight of each single row is a whole number. ``amounts`` and ``amount_rows`` (n, 3)
    are rewards, and numbers of rows, in place of those of each entry (None: nobody asked).
    """

    n_rows: Floats
    rewards: Floats
    squares: Floats
    weights_count_rows: bool = True
    discounts: Floats | None = None
    discount_squares: Floats | None = None
    reward_discounts: Floats | None = None
    amounts: Floats | None = None
    amount_rows: Floats | None = None

    def __getitem__(self, entries: Any) -> RowSums:
        """Return the sums of some entries."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: x[entries] for name, x in arrays.items() if isinstance(x, np.ndarray)}
        )

    def squared_discounts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the sums of squared discounts, and of their products with rewards, both (n,)."""
        if self.discount_squares is None:  # all rows discount alike
            return weights, self.rewards
        none = np.zeros(len(weights))
        return self.discount_squares, (
            none if self.reward_discounts is None else self.reward_discounts
        )

    def spread(self, lengths: Integers) -> tuple[Integers, Floats, Floats, Integers]:
        """Return the entry, the reward and the number of rows of all that stands for the entries.

        And how much of that there is in each lot, given how many entries there are in each, which
        lie one after the other.
        """
        assert self.amounts is not None
        assert self.amount_rows is not None
        is_met = self.amount_rows > 0
        n_met = is_met.sum(axis=1)
        before = np.append(0, np.cumsum(n_met))[np.append(0, np.cumsum(lengths))]
        entry = np.repeat(np.arange(len(n_met)), n_met)
        return entry, self.amounts[is_met], self.amount_rows[is_met], np.diff(before)


def packing_rows(weights: Floats | None, rewards: Floats | None) -> Callable[..., Packed]:
    """Return what packs weight + i weight reward of a block of rows.

    Or 1 + i weight reward^2, where ``second`` is said.
    """

    def pack(block: slice, size: int, *, second: bool = False) -> Packed:
        packed = np.ones(size, dtype=np.complex128)
        if weights is not None:
            packed.real = weights[block]
        if rewards is not None:
            packed.imag = rewards[block] * packed.real
        if second:
            packed.real = 1.0
            if rewards is not None:
                packed.imag *= rewards[block]
        return packed

    return pack


def sum_rows(
    states: Integers,
    actions: Integers,
    next_states: Integers,
    n_states: int,
    n_actions: int,
    pack: Callable[..., Packed],
) -> Triples:
    """Return the triples of rows in order, and the real and the imaginary sum of what is packed."""
    matrix = _Matrix.of(len(states), n_states, n_actions)
    parts: list[Any] = []
    for start in range(0, max(len(states), 1), BLOCK_ROWS):  # also of a log without rows
        block = slice(start, start + BLOCK_ROWS)
        cells = matrix.cells(states[block], actions[block], next_states[block])
        part = coo_array((pack(block, len(cells[0])), cells), shape=matrix.shape).tocsr()
        part.sum_duplicates()
        parts.append(part)
        # Merging equal sizes, as in merge sort, touches every triple O(log n_blocks) times. What is
        # sorted is added without a sort; no weight is 0, so no triple is lost.
        while len(parts) > 1 and parts[-1].nnz >= parts[-2].nnz:
            parts.append(parts.pop() + parts.pop())
    while len(parts) > 1:
        parts.append(parts.pop() + parts.pop())
    total = parts[0].data
    return *matrix.triples(parts[0]), [*map(np.ascontiguousarray, (total.real, total.imag))]


def sum_entries(
    states: Integers,
    actions: Integers,
    next_states: Integers,
    n_states: int,
    n_actions: int,
    amounts: Sequence[Floats],
) -> Triples:
    """Return the triples of entries in order, and the sum of each of the amounts, each (n,).

    Hardly any entries agree, so their places are sorted, once for all amounts: to merge blocks
    would take memory, and save none.
    """
    matrix = _Matrix.of(len(states), n_states, n_actions)
    places = np.arange(len(states), dtype=get_index_dtype(maxval=len(states)))
    cells = coo_array((places, matrix.cells(states, actions, next_states)), shape=matrix.shape)
    cells.has_canonical_format = True  # else places of equal cells would be added up
    ordered = cells.tocsr()
    del cells, places  # memory for what follows
    ordered.sort_indices()
    state, key = matrix.triples(ordered)
    sums = [amount.take(ordered.data, mode="wrap") for amount in amounts]
    is_new = np.ones(len(key), dtype=bool)
    is_new[1:] = (key[1:] != key[:-1]) | (state[1:] != state[:-1])
    if is_new.all():
        return state, key, sums
    first = np.flatnonzero(is_new)
    return state[first], key[first], [np.add.reduceat(amount, first) for amount in sums]


@dataclass(frozen=True)
class _Matrix:
    """The matrix that rows of codes are entries of.

    A row of it is a state, or a pair where these are few: short rows are sorted faster.
    """

    n_actions: int
    width: int
    of_pairs: bool
    shape: tuple[int, int]

    @classmethod
    def of(cls, n: int, n_states: int, n_actions: int) -> _Matrix:
        """Return the matrix of n rows."""
        width = n_states + 1
        if n_states * n_actions <= min(n, BLOCK_ROWS):
            return cls(n_actions, width, True, (n_states * n_actions, width))
        return cls(n_actions, width, False, (n_states, n_actions * width))

    def cells(
        self, states: Integers, actions: Integers, next_states: Integers
    ) -> tuple[Integers, Integers]:
        """Return the row and the column of each entry, both (n,)."""
        code = get_index_dtype(maxval=max(self.shape))
        if self.of_pairs:
            rows, columns = states.astype(code), next_states.astype(code)
            rows *= code(self.n_actions)
            rows += actions
        else:
            rows, columns = states, actions * code(self.width)
            columns += next_states
        columns[next_states < 0] += code(self.width)  # -1 becomes the last column, that of ends
        return rows, columns

    def triples(self, matrix: Any) -> tuple[Integers, Integers]:
        """Return (state, action * (n_states + 1) + next state) of the entries of a CSR array."""
        row = np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        if not self.of_pairs:
            return row, matrix.indices
        state, action = np.divmod(row, np.int32(self.n_actions))
        return state, action.astype(np.int64) * self.width + matrix.indices

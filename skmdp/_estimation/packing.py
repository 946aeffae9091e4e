"""Rows of codes packed into sparse matrices of complex numbers, which sum two amounts in one pass.

One block of rows is sorted and summed at a time; sums of blocks, which are sorted, are added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, get_index_dtype

from skmdp._typing import Floats, Integers

# Rows packed at a time: small enough for the sort to stay in cache, and a bound on extra memory.
BLOCK_ROWS = 2**20

Packed = npt.NDArray[np.complex128]
Triples = tuple[Integers, Integers, Packed]


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


def packing_sums(weights: Floats | None, sums: RowSums) -> Callable[..., Packed]:
    """Return what packs the same of a block of entries, of which the sums are known."""
    assert weights is not None

    def pack(block: slice, size: int, *, second: bool = False) -> Packed:
        packed = np.empty(size, dtype=np.complex128)
        packed.real = (sums.n_rows if second else weights)[block]
        packed.imag = (sums.squares if second else sums.rewards)[block]
        return packed

    return pack


def sum_rows(
    states: Integers,
    actions: Integers,
    next_states: Integers,
    n_states: int,
    n_actions: int,
    pack: Callable[..., Packed],
    *,
    at_once: int = BLOCK_ROWS,
) -> Triples:
    """Return (state, action * (n_states + 1) + next state, what is packed), sorted, summed.

    ``at_once`` is how many rows are packed at a time.

    A row of the matrix is a state, or a pair where these are few: short rows are sorted faster.
    """
    width = n_states + 1
    of_pairs = n_states * n_actions <= min(len(states), BLOCK_ROWS)
    n_rows = n_states * n_actions if of_pairs else n_states
    shape = (n_rows, width if of_pairs else n_actions * width)
    code = get_index_dtype(maxval=max(shape))
    parts: list[Any] = []
    for start in range(0, max(len(states), 1), at_once):  # also of a log without rows
        block = slice(start, start + at_once)
        row, action = states[block], actions[block].astype(code, copy=False)
        column = np.where(next_states[block] < 0, n_states, next_states[block]).astype(code)
        if of_pairs:
            row = row.astype(code) * code(n_actions) + action
        else:
            column += action * code(width)
        part = coo_array((pack(block, len(row)), (row, column)), shape=shape).tocsr()
        part.sum_duplicates()
        parts.append(part)
        # Merging equal sizes, as in merge sort, touches every triple O(log n_blocks) times. What is
        # sorted is added without a sort; no weight is 0, so no triple is lost.
        while len(parts) > 1 and parts[-1].nnz >= parts[-2].nnz:
            parts.append(parts.pop() + parts.pop())
    while len(parts) > 1:
        parts.append(parts.pop() + parts.pop())
    row = np.repeat(np.arange(n_rows, dtype=np.int32), np.diff(parts[0].indptr))
    if not of_pairs:
        return row, parts[0].indices, parts[0].data
    state, action = np.divmod(row, np.int32(n_actions))
    return state, action.astype(np.int64) * width + parts[0].indices, parts[0].data

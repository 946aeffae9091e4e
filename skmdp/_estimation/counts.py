"""The sufficient statistic of a log: weighted counts and reward sums of (s, a, s').

Any aggregate of rows (an earlier count, an engine's group-by) may stand in for the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, get_index_dtype

from skmdp._estimation.bisection import bisect
from skmdp._estimation.packing import (
    BLOCK_ROWS,
    Packed,
    RowSums,
    Triples,
    packing_rows,
    packing_sums,
    sum_rows,
)
from skmdp._typing import Bools, Floats, Integers

# Weights that faded below are dropped, long before they lose digits.
SMALLEST_WEIGHT = 1e-250
# As many numbers a sum may round one after the other. A weight that is larger is that of few rows.
MOST_ADDED = 2**31


def sum_by_code(codes: Integers, amounts: Floats | Bools, n: int) -> Floats:
    """Add up the amounts of each code, (n,)."""
    return np.asarray(np.bincount(codes, amounts, minlength=n), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class TransitionCounts:
    """The sums that are kept of a log, in state-action-pair form.

    Pairs are the logged (state, action), sorted by state, then action. Triple arrays are aligned
    with the CSR pattern ``(indptr, next_states)`` of shape (n_pairs, n_states + 1), whose last
    column stands for the end of the episode.
    """

    n_states: int
    n_actions: int
    pair_state: Integers  # (n_pairs,)
    pair_action: Integers  # (n_pairs,)
    indptr: Integers  # (n_pairs + 1,)
    next_states: Integers  # (n_triples,)
    weights: Floats  # (n_triples,)
    n_rows: Floats  # (n_triples,) rows behind each triple; the weights if those count rows
    reward_sums: Floats  # (n_triples,) weighted
    reward_squares: Floats | None = None  # (n_triples,) weighted sums of squares, where kept
    discount_sums: Floats | None = None  # (n_triples,) weighted; None: nothing is discounted
    duration_sums: Floats | None = None  # (n_triples,) weighted, where kept
    duration_squares: Floats | None = None  # (n_triples,) weighted sums of squares, where kept
    discount_squares: Floats | None = None  # (n_triples,) weighted sums of squares, where kept
    reward_discounts: Floats | None = None  # (n_triples,) weighted sums of products, where kept

    def __getstate__(self) -> dict[str, Any]:
        # What follows from the sums is found again where it is needed, rather than stored.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def following(self) -> Floats:
        """Weights, each row times how far it discounts what follows it, (n_triples,)."""
        return self.weights if self.discount_sums is None else self.discount_sums

    def discounted(self, triple: Integers, discounts: Floats) -> TransitionCounts:
        """Return the counts where rows, each of a triple, discount what follows by so much.

        ``discounts`` (n_rows,) are weighted.
        """
        return replace(self, discount_sums=sum_by_code(triple, discounts, len(self.weights)))

    @property
    def weights_count_rows(self) -> bool:
        """Whether a weight says how many rows there were, as whole numbers do."""
        return self.n_rows is self.weights or np.array_equal(self.n_rows, self.weights)

    @cached_property
    def pair_weights(self) -> Floats:
        """n(s, a), (n_pairs,)."""
        return np.add.reduceat(self.weights, self.indptr[:-1])

    @cached_property
    def pair_rewards(self) -> Floats:
        """Weighted sum of the rewards of (s, a), (n_pairs,)."""
        return np.add.reduceat(self.reward_sums, self.indptr[:-1])

    @cached_property
    def first_pairs(self) -> Integers:
        """Position of the first pair of every state with logged actions."""
        return np.flatnonzero(np.diff(self.pair_state, prepend=-1))

    @cached_property
    def state_weights(self) -> Floats:
        """n(s), (n_states,)."""
        return sum_by_code(self.pair_state, self.pair_weights, self.n_states)

    @cached_property
    def state_rewards(self) -> Floats:
        """Weighted sum of the rewards of s, (n_states,)."""
        return sum_by_code(self.pair_state, self.pair_rewards, self.n_states)

    @cached_property
    def action_weights(self) -> Floats:
        """n(a), (n_actions,)."""
        return sum_by_code(self.pair_action, self.pair_weights, self.n_actions)

    @cached_property
    def triple_pair(self) -> Integers:
        """Position of each triple's pair, (n_triples,)."""
        return np.repeat(np.arange(len(self.pair_state)), np.diff(self.indptr))

    @cached_property
    def pairs_following(self) -> Any:
        """Weight with which each pair is followed by each state, CSR (n_pairs, n_states)."""
        return self.matrix(self.following)[:, : self.n_states]

    @cached_property
    def states_counted(self) -> Any:
        """N(s, s'), whatever was done, ends in the last column, CSR (n_states, n_states + 1)."""
        return self.state_matrix(self.weights)

    @cached_property
    def states_following(self) -> Any:
        """The same of each state, whatever was done, CSR (n_states, n_states)."""
        return self.state_matrix(self.following)[:, : self.n_states]

    @cached_property
    def states_expecting(self) -> Any:
        """The same per row of a state, CSR (n_states, n_states)."""
        return self.state_shares(self.following)

    def matrix(self, per_triple: Floats) -> Any:
        """Return numbers given per triple as a CSR array (n_pairs, n_states + 1)."""
        shape = (len(self.pair_state), self.n_states + 1)
        return csr_array((per_triple, self.next_states, self.indptr), shape=shape)

    def state_matrix(self, per_triple: Floats) -> Any:
        """Return sums over what was done, such as N(s, s'), as CSR (n_states, n_states + 1)."""
        order, begins, pattern, _ = self._by_successor
        shape = (self.n_states, self.n_states + 1)
        return csr_array((np.add.reduceat(per_triple[order], begins), *pattern), shape=shape)

    @cached_property
    def successor_place(self) -> Integers:
        """Position of each triple's entry in ``state_matrix``, (n_triples,)."""
        order, _, _, is_new = self._by_successor
        place = np.empty_like(order)
        place[order] = np.cumsum(is_new, dtype=order.dtype) - 1
        return place

    @cached_property
    def _by_successor(self) -> tuple[Integers, Integers, tuple[Integers, Integers], Bools]:
        """Triples by state and next state; where these begin; their pattern; what is such a place.

        The pattern is that of ``state_matrix``: its columns, and where its rows begin.
        """
        n = len(self.next_states)
        row_at = self.indptr[self._pairs_before]
        # Triples are sorted by state, so they are rows already, with successors repeated.
        numbered = csr_array(
            (np.arange(n, dtype=row_at.dtype), self.next_states.copy(), row_at),
            shape=(self.n_states, self.n_states + 1),
        )
        numbered.sort_indices()
        is_new = np.ones(n, dtype=bool)
        is_new[1:] = numbered.indices[1:] != numbered.indices[:-1]
        is_new[row_at[row_at < n]] = True
        begins = np.flatnonzero(is_new)
        indptr = np.append(0, np.cumsum(is_new))[row_at].astype(row_at.dtype)
        return numbered.data, begins, (numbered.indices[begins], indptr), is_new

    def state_shares(self, per_triple: Floats) -> Any:
        """Return each next state's sum per row of a state, whatever was done, CSR (n_states,) * 2.

        Of weights these are shares, of discounts what the state expects to follow.
        """
        is_count = per_triple is self.weights
        sums = self.states_counted if is_count else self.state_matrix(per_triple)
        per_row = sums.data / np.repeat(self.state_weights, np.diff(sums.indptr))
        shares = csr_array((per_row, sums.indices, sums.indptr), shape=sums.shape)
        return shares[:, : self.n_states]

    def find_pairs(self, states: Integers, actions: Integers) -> Integers:
        """Return the position of each (state, action), -1 where it was never logged."""
        n_cells = self.n_states * self.n_actions
        if n_cells <= len(states):  # then it is cheaper to look all of them up at once
            cell = states * np.int64(self.n_actions) + actions
            cell[(states < 0) | (actions < 0) | (actions >= self.n_actions)] = n_cells
            place = np.full(n_cells + 1, -1)
            place[self.pair_state * np.int64(self.n_actions) + self.pair_action] = np.arange(
                len(self.pair_state)
            )
            return np.asarray(place[cell])
        at = bisect(self.pair_action, self._pairs_before, states, actions)
        is_there = (np.append(self.pair_action, -1)[at] == actions) & (states >= 0) & (actions >= 0)
        is_there &= at < self._pairs_before[states + 1]
        return np.where(is_there, at, -1)

    def find_triples(self, states: Integers, actions: Integers, next_states: Integers) -> Integers:
        """Return the position of the triple of every logged row; next state -1 is an end."""
        pair = self.find_pairs(states, actions)
        led_to = np.where(next_states < 0, self.n_states, next_states)
        return bisect(self.next_states, self.indptr, pair, led_to)

    @cached_property
    def _pairs_before(self) -> Integers:
        """How many pairs lie before those of each state, and of the end, (n_states + 1,)."""
        return np.searchsorted(self.pair_state, np.arange(self.n_states + 1))

    def faded(self, factor: float) -> TransitionCounts:
        """Return the counts of the same rows, each weighing ``factor`` as much; they stay rows.

        Transitions that hardly weigh anything any more are left out.
        """
        weaker = self.weighed(factor)
        return weaker.only(weaker.weights >= SMALLEST_WEIGHT)

    def only(self, kept: Bools) -> TransitionCounts:
        """Return the counts of some triples alone, (n_triples,); pairs without any are left out."""
        n_kept = np.add.reduceat(kept, self.indptr[:-1], dtype=np.int64)
        remaining = np.flatnonzero(n_kept)
        sums = {name: getattr(self, name)[kept] for name in self.sums_kept()}
        if self.n_rows is self.weights:
            sums["n_rows"] = sums["weights"]
        return replace(
            self,
            pair_state=self.pair_state[remaining],
            pair_action=self.pair_action[remaining],
            indptr=np.append(0, np.cumsum(n_kept[remaining])).astype(self.indptr.dtype),
            next_states=self.next_states[kept],
            **sums,
        )

    def weighed(self, factor: float) -> TransitionCounts:
        """Return the counts of the same rows, each weighing ``factor`` as much."""
        sums = {name: factor * getattr(self, name) for name in self.sums_kept()}
        return replace(self, **{**sums, "n_rows": self.n_rows})

    def sums_kept(self) -> list[str]:
        """Names of the sums that are kept of each triple."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return [name for name, sums in kept.items() if getattr(sums, "dtype", None) == np.float64]


def count_transitions(
    states: Integers,
    actions: Integers,
    next_states: Integers,
    n_states: int,
    n_actions: int,
    *,
    weights: Floats | None = None,
    rewards: Floats | None = None,
    sums: RowSums | None = None,
    keep_squares: bool = False,
) -> TransitionCounts:
    """Sum rows of codes, each (n,), by (state, action, next state); next state -1 is an end.

    A weight that is a whole number stands for so many rows. Squares of rewards cost a second pass.
    Where entries are no single rows, ``sums`` tells what their rows add up to, beside the weights.
    """
    codes = (states, actions, next_states, n_states, n_actions)
    at_once = BLOCK_ROWS
    if sums is not None:
        are_whole = sums.weights_count_rows
        pack = packing_sums(weights, sums)
        # Hardly any agree any more, so that to merge blocks would take memory, and save none.
        at_once = max(len(states), 1)
    else:
        are_whole = weights is None or bool((weights == np.floor(weights)).all())
        pack = packing_rows(weights, rewards)
    summed = sum_rows(*codes, pack, at_once=at_once)
    second = None
    if not are_whole or keep_squares:
        second = sum_rows(*codes, partial(pack, second=True), at_once=at_once)[2]
    return _from_triples(
        summed, second, n_states, n_actions, count_rows=are_whole, keep_squares=keep_squares
    )


def merge_counts(
    earlier: tuple[TransitionCounts, Integers, Integers],
    later: tuple[TransitionCounts, Integers, Integers],
    n_states: int,
    n_actions: int,
) -> TransitionCounts:
    """Sum two counts over a common set of codes.

    Each comes with the new code of each of its states, and of each of its actions; both rising,
    so that what is sorted stays so and merging needs no sort.
    """
    parts = (earlier, later)
    pairs, pairs_at = merge_sorted(
        *(
            new_state[counts.pair_state].astype(np.int64) * n_actions
            + new_action[counts.pair_action]
            for counts, new_state, new_action in parts
        )
    )
    width = n_states + 1
    triples, triples_at = merge_sorted(
        *(
            at[counts.triple_pair] * width + np.append(new_state, n_states)[counts.next_states]
            for (counts, new_state, _), at in zip(parts, pairs_at, strict=True)
        )
    )
    pair_state, triple_pair = pairs // n_actions, triples // width
    indptr = np.zeros(len(pairs) + 1, dtype=get_index_dtype(maxval=len(triples)))
    np.cumsum(np.bincount(triple_pair), out=indptr[1:])  # no pair is without triples

    def total(earlier_sums: Floats, later_sums: Floats) -> Floats:
        sums = np.zeros(len(triples))
        sums[triples_at[0]] = earlier_sums
        sums[triples_at[1]] += later_sums
        return sums

    first, second = earlier[0], later[0]
    in_both = set(first.sums_kept()) & set(second.sums_kept())
    sums: dict[str, Any] = {n: total(getattr(first, n), getattr(second, n)) for n in in_both}
    if first.discount_sums is not None or second.discount_sums is not None:
        sums["discount_sums"] = total(first.following, second.following)
    if first.n_rows is first.weights and second.n_rows is second.weights:
        sums["n_rows"] = sums["weights"]
    return TransitionCounts(
        n_states=n_states,
        n_actions=n_actions,
        pair_state=pair_state.astype(np.int32),
        pair_action=(pairs - pair_state * n_actions).astype(np.int32),
        indptr=indptr,
        next_states=(triples - triple_pair * width).astype(np.int32),
        **sums,
    )


def merge_sorted(
    earlier: npt.NDArray[Any], later: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], tuple[Integers, Integers]]:
    """Return the sorted union of two sorted arrays of distinct values, and where each one's lie.

    Only the later ones are searched for, so it pays that these are the few.
    """
    if not len(earlier):
        return later, (np.arange(0), np.arange(len(later)))
    at = np.searchsorted(earlier, later)
    is_new = earlier[np.minimum(at, len(earlier) - 1)] != later
    if not is_new.any():
        return earlier, (np.arange(len(earlier)), at)
    later_at = at + np.cumsum(is_new) - is_new
    is_earlier = np.ones(len(earlier) + np.count_nonzero(is_new), dtype=bool)
    is_earlier[later_at[is_new]] = False
    earlier_at = np.flatnonzero(is_earlier)
    union = np.empty(len(is_earlier), dtype=np.result_type(earlier, later))
    union[earlier_at] = earlier
    union[later_at] = later
    return union, (earlier_at, later_at)


def _from_triples(
    summed: Triples,
    second: Packed | None,
    n_states: int,
    n_actions: int,
    *,
    count_rows: bool,
    keep_squares: bool,
) -> TransitionCounts:
    """Tell pairs from triples; ``second`` holds n_rows + i squares where they are asked for."""
    state, key, total = summed
    action = key // (n_states + 1)
    next_state = key - action * (n_states + 1)
    is_new = np.ones(len(key), dtype=bool)
    is_new[1:] = (state[1:] != state[:-1]) | (action[1:] != action[:-1])
    first = np.flatnonzero(is_new)
    indptr = np.append(first, len(state))
    weights = np.ascontiguousarray(total.real)
    return TransitionCounts(
        n_states=n_states,
        n_actions=n_actions,
        pair_state=state[first].astype(np.int32),
        pair_action=action[first].astype(np.int32),
        indptr=indptr.astype(get_index_dtype(maxval=len(state))),
        next_states=next_state.astype(np.int32),
        weights=weights,
        n_rows=weights if second is None or count_rows else np.ascontiguousarray(second.real),
        reward_sums=np.ascontiguousarray(total.imag),
        reward_squares=None if second is None or not keep_squares else second.imag.copy(),
    )

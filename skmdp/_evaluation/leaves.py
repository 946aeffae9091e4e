"""Rows of a log that are taken to be alike: those in one leaf of a forest.

Each action has a forest of its own, grown once for the log: its T trees part the rows of the action
so that reward, end and next state are alike in a leaf. Afterwards the leaves are fixed. Whoever
takes an action in a state that was never measured meets, in each tree, the rows of one leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array, get_index_dtype
from sklearn.base import clone, is_regressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.utils import get_tags

from skmdp._evaluation.raw import Features, RawLog, Scale
from skmdp._messages import shortened
from skmdp._typing import Bools, Codes, Floats, Integers

N_TREES = 20
# One row is no mean: with leaves of single rows no error could be told.
ROWS_IN_LEAF = 2
# Rows of which the spread of rewards is taken to be one.
ROWS_IN_CELL = 50
CELLS_TOGETHER = 10
# An action with fewer rows than this is one leaf.
FEWEST_ROWS = 10


@dataclass(frozen=True, eq=False)
class ActionLeaves:
    """The leaves of one action.

    ``forest`` is None where all rows of the action are one leaf in each of ``n_trees`` trees.
    ``codes`` (sum of the trees' nodes,) are the numbers of the leaves among all leaves of the log,
    ``first_nodes`` (n_trees,) where the nodes of each tree begin.
    """

    forest: Any
    codes: Codes
    first_nodes: Integers

    def find(self, states: Floats) -> Codes:
        """Return the leaf in each tree of states given by features, (n_states, n_trees)."""
        if self.forest is None:
            return np.tile(self.codes, (len(states), 1))
        return np.asarray(self.codes[_nodes(self.forest, states) + self.first_nodes])


@dataclass(frozen=True, eq=False)
class Leaves:
    """The leaves of a log, numbered over all actions and trees.

    ``own`` (n_rows, n_trees) are those of each row under the action that was taken, ``features``
    what they rest on.
    """

    own: Codes
    n_leaves: int
    features: Features
    of_action: Sequence[ActionLeaves | None]  # None for actions that were never taken

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return int(self.own.shape[1])

    def leaves_of(self, states: Floats, action: int) -> Codes:
        """Return the leaves of states (n_states, n_columns) under an action, (n_states, n_trees).

        They are -1 if the action was never taken.
        """
        found = self.of_action[action]
        if found is None:
            return np.full((len(states), self.n_trees), -1, dtype=np.int32)
        if not len(states):
            return np.empty((0, self.n_trees), dtype=np.int32)
        return found.find(self.features.see(states))

    @cached_property
    def sizes(self) -> Floats:
        """Number of rows in each leaf, (n_leaves,)."""
        return np.bincount(self.own.ravel(), minlength=self.n_leaves).astype(np.float64)

    @cached_property
    def correction(self) -> Floats:
        """Factor c / (c - 1) of a row's influence, c the mean size of its leaves, (n_rows,).

        A row is among those whose mean it is compared with. A row alone has no influence at all.
        """
        size = self.sizes[self.own].mean(axis=1)
        return np.asarray(size / np.where(size > 1, size - 1, 1.0))

    def cells(self, actions: Integers) -> tuple[Integers, Integers]:
        """Put rows together with some like them, and those with more, taken by the same action.

        Return the cell of each row, (n_rows,), and the larger cell of each cell, (n_cells,). Leaves
        of a tree are numbered from one side to the other, so neighbouring numbers are alike.
        """
        first = self.own[:, 0]
        n = np.bincount(first, minlength=self.n_leaves)
        n_of_action = np.bincount(actions)
        of_action = np.cumsum(n_of_action) - n_of_action  # rows of other actions before
        place = ((np.cumsum(n) - n)[first] - of_action[actions]) // ROWS_IN_CELL
        width = CELLS_TOGETHER * (len(actions) // (CELLS_TOGETHER * ROWS_IN_CELL) + 1)
        keys, cells = np.unique(actions * width + place, return_inverse=True)
        _, larger = np.unique(keys // CELLS_TOGETHER, return_inverse=True)
        return cells, larger

    def averages(self, used: Bools) -> Averages:
        """Return the averages of some of the leaves, (n_leaves,)."""
        is_used = used[self.own]
        per_row = np.count_nonzero(is_used, axis=1)
        rows = np.flatnonzero(per_row)
        codes = (np.cumsum(used) - 1).astype(np.int32)[self.own[is_used]]
        bounds = np.append(0, np.cumsum(per_row[rows]))
        sizes = self.sizes[used]
        members = incidence(codes[:, np.newaxis], bounds, len(sizes), np.ones(len(codes)))
        return Averages(rows, members, sizes)


@dataclass(frozen=True, eq=False)
class Averages:
    """Leaves in use, in their order among all, and the rows in them.

    ``rows`` (n_rows,) are positions in the log, ``members`` says which leaves each is in, CSR
    (n_rows, n_leaves).
    """

    rows: Integers
    members: Any
    sizes: Floats  # (n_leaves,)

    @cached_property
    def contents(self) -> Any:
        """Which rows are in each leaf, (n_leaves, n_rows).

        It stays a view by columns: by rows its many short ones take twice as long to multiply.
        """
        return self.members.T

    def means(self, amounts: Floats) -> Floats:
        """Return the mean of each leaf, (n_leaves,), of amounts by row, (n_rows,)."""
        return np.asarray((self.contents @ amounts) / self.sizes)

    def share_out(self, weights: Floats) -> Floats:
        """Share out the weight of each leaf (n_leaves,) among its rows, (n_rows,)."""
        return np.asarray(self.members @ (weights / self.sizes))


def incidence(codes: Integers, indptr: Integers, n: int, weights: Floats) -> Any:
    """Return a CSR array (len(indptr) - 1, n) of groups of codes, (n_groups, n_codes_in_group).

    Row i holds the groups indptr[i] to indptr[i + 1], each with its weight in all its codes.
    """
    size = codes.shape[1]
    bounds = (indptr * size).astype(get_index_dtype(maxval=codes.size))
    data = np.repeat(weights, size)
    return csr_array((data, codes.ravel(), bounds), shape=(len(indptr) - 1, n))


def grow_leaves(
    log: RawLog, columns: Bools, *, regressor: Any = None, random_state: int = 0
) -> Leaves:
    """Grow one forest per action, (reward, end, next state, what is new in it) its targets.

    ``regressor`` is a scikit-learn regressor of several targets whose ``apply`` tells the leaves;
    None stands for extremely randomised trees.
    """
    if regressor is None:
        regressor = ExtraTreesRegressor(
            N_TREES, min_samples_leaf=ROWS_IN_LEAF, max_features=1.0, random_state=random_state
        )
    features = Features.of(log.states, columns)
    states, targets = features.see(log.states), _targets(log, features)
    nodes: dict[int, tuple[Any, Integers]] = {}
    for action in range(log.n_actions):
        rows = log.rows_of(action)
        if len(rows) >= FEWEST_ROWS:
            of_action = targets[rows]
            of_action = np.nan_to_num(Scale.of(of_action, size=1.0).apply(of_action))
            forest = clone(regressor).fit(states[rows], of_action)
            nodes[action] = forest, _nodes(forest, states[rows])
    n_trees = max((found.shape[1] for _, found in nodes.values()), default=1)
    own = np.empty((len(states), n_trees), dtype=np.int32)
    of_actions: list[ActionLeaves | None] = []
    n_leaves = 0
    for action in range(log.n_actions):
        rows = log.rows_of(action)
        if not len(rows):
            of_actions.append(None)
            continue
        forest, found = nodes.get(action, (None, np.zeros((len(rows), n_trees), dtype=np.intp)))
        leaves = _number_leaves(forest, found, n_leaves)
        own[rows] = leaves.codes[found + leaves.first_nodes]
        n_leaves = 1 + int(leaves.codes.max())
        of_actions.append(leaves)
    return Leaves(own, n_leaves, features, of_actions)


def require_leaves(regressor: Any) -> None:
    """Raise unless a regressor of several targets tells in which leaf a row is, or it is None."""
    if regressor is None:
        return
    name = getattr(regressor, "__name__", type(regressor).__name__)
    lacks = ""
    if isinstance(regressor, type):
        lacks = "is a class, not an object of it"
    elif not hasattr(regressor, "get_params") or not is_regressor(regressor):
        lacks = "is no regressor"
    elif not hasattr(regressor, "apply"):
        lacks = "has no method apply, which tells in which leaf a row is"
    elif not get_tags(regressor).target_tags.multi_output:
        lacks = "takes one target only; rewards, ends and next states are fitted together"
    if lacks:
        raise _no_leaves(name, lacks)


def _no_leaves(name: str, lacks: str) -> TypeError:
    return TypeError(
        f"The regressor of fitted Q evaluation must part rows into leaves, but {shortened(name)} "
        f"{lacks}. Use a tree or forest of scikit-learn (DecisionTreeRegressor, "
        "RandomForestRegressor, ExtraTreesRegressor), or leave regressor out."
    )


def _targets(log: RawLog, features: Features) -> Floats:
    """Return what rows of one leaf should have in common, (n_rows, 2 + 2 n_kept).

    The next state alone would part rows by where they are. So what is new in it counts as well:
    its difference to what is kept of the state, a share of each column that is 1 for a random walk
    and 0 for what is drawn anew at each step.
    """
    scale, columns = Scale.of(log.states), features.columns
    now, following = (scale.apply(x)[:, columns] for x in (log.states, log.next_states))
    # What is not known is nan here, and stands out in no direction in the end.
    following[log.ended] = np.nan
    rewards = Scale.of(log.rewards).apply(log.rewards)
    new = following - _share_kept(now, following) * now
    return np.column_stack([rewards, log.ended, following, new])


def _share_kept(now: Floats, following: Floats) -> Floats:
    """Return the slope of each column's next values on its values, within [0, 1], (n_columns,)."""
    known = ~np.isnan(now + following)
    n = np.maximum(known.sum(axis=0), 1)
    before, after = (np.where(known, x, 0.0) for x in (now, following))
    before, after = (np.where(known, x - x.sum(axis=0) / n, 0.0) for x in (before, after))
    spread, together = (before**2).sum(axis=0), (before * after).sum(axis=0)
    slope = np.divide(together, spread, out=np.ones(len(n)), where=spread > 0)
    return np.asarray(np.clip(slope, 0.0, 1.0))


def _nodes(forest: Any, states: Floats) -> Integers:
    """Return the node of each row in each tree, (n_rows, n_trees)."""
    nodes = np.asarray(forest.apply(states))
    numbers = nodes.dtype.kind in "iuf" and nodes.ndim > 0 and len(nodes) == len(states)
    if not numbers or not ((nodes >= 0) & (nodes == np.floor(nodes))).all():
        raise _no_leaves(
            type(forest).__name__, "answers to apply otherwise than by the number of each leaf"
        )
    return nodes.reshape(len(states), -1).astype(np.intp)


def _number_leaves(forest: Any, nodes: Integers, first_code: int) -> ActionLeaves:
    """Give numbers to the nodes of rows, (n_rows, n_trees), by tree, from a first code on."""
    n_nodes = nodes.max(axis=0) + 1
    first_nodes = np.cumsum(n_nodes) - n_nodes
    holds_rows = np.zeros(n_nodes.sum(), dtype=bool)
    holds_rows[nodes + first_nodes] = True
    codes = first_code - 1 + np.cumsum(holds_rows)
    return ActionLeaves(forest, codes.astype(np.int32), first_nodes)

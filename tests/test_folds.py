"""Counts of a part of a log, and of all but a part; episodes dealt to folds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, ShuffleSplit, StratifiedKFold

from skmdp._estimation.counts import count_transitions
from skmdp._estimation.folds import CountedRows
from skmdp._log.folds import deal_episodes, number_rows, read_splits
from skmdp._log.reading import read_table
from skmdp._log.roles import Roles
from skmdp.datasets import load_climb, make_search_log
from skmdp.model_selection import EpisodeKFold, EpisodeShuffleSplit

ROW = st.tuples(
    st.integers(0, 3),  # state
    st.integers(0, 2),  # action
    st.integers(-1, 3),  # next state
    st.integers(-8, 8),  # reward
    st.integers(1, 4),  # weight, in quarters
    st.booleans(),  # whether it is in the part
)


def counted(rows, *, is_weighted, are_quarters):
    """Count rows, with what they discount; n_rows is kept where weights are fractions."""
    states, actions, following, rewards, weights, _ = np.array(rows, dtype=np.int64).T
    weights = weights / 4 if are_quarters else weights.astype(float)
    weights = weights if is_weighted else None
    codes = (states, actions, following)
    counts = count_transitions(
        *codes, 4, 3, weights=weights, rewards=rewards.astype(float), keep_squares=True
    )
    triple = counts.find_triples(*codes)
    discounts = 0.5 ** (rewards % 3)
    discounts = discounts if weights is None else discounts * weights
    return CountedRows(
        counts.discounted(triple, discounts), triple, weights, rewards.astype(float), discounts
    )


def assert_same_counts(one, other):
    for name in ("pair_state", "pair_action", "indptr", "next_states", "weights", "n_rows"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("reward_sums", "reward_squares", "discount_sums"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-12)


@given(
    st.lists(ROW, min_size=2, max_size=30).filter(
        lambda rows: 0 < sum(r[-1] for r in rows) < len(rows)
    ),
    st.booleans(),
    st.booleans(),
)
def test_counts_of_a_part_and_of_the_rest_are_those_of_these_rows(rows, is_weighted, are_quarters):
    options = {"is_weighted": is_weighted, "are_quarters": are_quarters}
    whole = counted(rows, **options)
    chosen = np.flatnonzero([row[-1] for row in rows])
    part = whole.part(chosen)
    of_part = counted([row for row in rows if row[-1]], **options)
    if part.counts.weights_count_rows == of_part.counts.weights_count_rows:
        assert_same_counts(part.counts, of_part.counts)
    np.testing.assert_array_equal(part.triple, of_part.triple)
    np.testing.assert_array_equal(part.rewards, of_part.rewards)
    np.testing.assert_array_equal(part.discounts, of_part.discounts)
    rest = counted([row for row in rows if not row[-1]], **options)
    if whole.counts.weights_count_rows == rest.counts.weights_count_rows:
        assert_same_counts(whole.without(chosen), rest.counts)


def test_rows_behind_fractions_are_counted_exactly():
    """A tenth taken from three tenths leaves rounding in the weight, but two rows."""
    rows = [(0, 0, 1, 2, 0, False)] * 3 + [(0, 0, 2, 2, 0, False)]
    states, actions, following, *_ = np.array(rows).T
    weights = np.full(4, 0.1)
    counts = count_transitions(states, actions, following, 3, 1, weights=weights)
    whole = CountedRows(counts, counts.find_triples(states, actions, following), weights, None)
    assert whole.without(np.array([0])).n_rows.tolist() == [2, 1]
    assert whole.without(np.array([3])).n_rows.tolist() == [3]  # no row of weight 0.1 - 0.1


# ------------------------------------------------------------------------------------ episodes


def read(table, cv=None, **others):
    return read_table(table, Roles(), beside=[number_rows(table)], **others)


def folds_of(table, cv, random_state=None):
    log = read(table)
    cv = read_splits(cv, len(table)) if isinstance(cv, list) else cv
    return log, deal_episodes(log, cv, random_state)


LOG = make_search_log(30, length=4, random_state=0)


@pytest.mark.parametrize(
    "cv",
    [
        4,
        EpisodeKFold(4),
        KFold(4, shuffle=True, random_state=0),
        list(EpisodeKFold(4).split(LOG)),
        iter(list(GroupKFold(4).split(LOG, groups=LOG["episode"]))),
    ],
    ids=["number", "episodes", "samples", "rows", "iterator"],
)
def test_every_episode_is_held_out_once_and_whole(cv):
    log, folds = folds_of(LOG, cv)
    episode = np.repeat(np.arange(len(log.episode_lengths)), log.episode_lengths)
    assert len(folds) == 4
    held_out = np.concatenate([fold.held_out.episodes for fold in folds])
    assert sorted(held_out) == list(range(log.n_episodes))
    for fold in folds:
        np.testing.assert_array_equal(fold.held_out.episodes, fold.left_out.episodes)
        np.testing.assert_array_equal(
            np.unique(episode[fold.held_out.rows]), fold.held_out.episodes
        )
        assert len(fold.held_out.rows) == log.episode_lengths[fold.held_out.episodes].sum()


def test_every_deal_holds_every_episode_out_once_by_a_lot_of_its_own():
    log = read(LOG)
    deals = np.reshape(deal_episodes(log, 3, 0, n_deals=4), (4, 3))
    once = deal_episodes(log, 3, 0)
    for fold, same in zip(deals[0], once, strict=True):
        np.testing.assert_array_equal(fold.held_out.episodes, same.held_out.episodes)
    seen = set()
    for folds in deals:
        held_out = [fold.held_out.episodes for fold in folds]
        assert sorted(np.concatenate(held_out)) == list(range(log.n_episodes))
        seen.add(tuple(np.concatenate(held_out)))
    assert len(seen) == 4


def test_folds_are_as_large_but_share_no_luck():
    """Dealt in the order of their returns, folds would all be as lucky as the whole log."""
    table = pd.DataFrame({"episode": range(400), "state": "s", "action": "a", "next_state": None})
    table["reward"] = np.random.default_rng(0).normal(size=400)
    log, folds = folds_of(table, 4)
    means = [log.rewards[fold.held_out.rows].mean() for fold in folds]
    assert [len(fold.held_out.episodes) for fold in folds] == [100] * 4
    assert np.std(means, ddof=1) > 0.3 / np.sqrt(100)


def test_the_lot_hangs_on_the_episodes_not_on_how_they_lie():
    """The same rows in another order of episodes are dealt to the same folds."""
    shuffled = LOG.set_index("episode").loc[np.random.default_rng(0).permutation(30)].reset_index()
    kept = []
    for table in (LOG, shuffled):
        log, folds = folds_of(table, 3)
        (numbers,) = log.beside
        rows = [numbers.values[numbers.codes][fold.held_out.rows] for fold in folds]
        kept.append([set(table["episode"].to_numpy()[of_fold]) for of_fold in rows])
    content = LOG.groupby("episode").agg(list).astype(str).agg("".join, axis=1)
    for one, other in zip(*kept, strict=True):
        assert sorted(content[list(one)]) == sorted(content[list(other)])


def test_a_seed_deals_at_random():
    dealt = [
        [fold.held_out.episodes.tolist() for fold in folds_of(LOG, 3, seed)[1]]
        for seed in (None, None, 0, 0, 1)
    ]
    assert dealt[0] == dealt[1]
    assert dealt[2] == dealt[3]
    assert dealt[2] != dealt[4] != dealt[0]


def test_a_splitter_may_leave_episodes_out_of_both_sides():
    log, folds = folds_of(LOG, EpisodeShuffleSplit(2, test_size=5, train_size=10, random_state=0))
    for fold in folds:
        assert len(fold.held_out.episodes) == 5
        assert len(fold.left_out.episodes) == log.n_episodes - 10
        assert np.isin(fold.held_out.episodes, fold.left_out.episodes).all()


def test_starts_are_weighed():
    weights = np.where(LOG["episode"] == 3, 2.0, 1.0)
    log = read_table(LOG, Roles(), weights, beside=[number_rows(LOG)])
    (fold,) = deal_episodes(
        log,
        [(np.flatnonzero(LOG["episode"] > 4), np.flatnonzero(LOG["episode"] <= 4))],
        None,
    )
    assert fold.held_out.starts(log).sum() == 6


def test_rows_are_numbered_before_they_are_put_in_order():
    """The positions of splits are those of the table, however the log orders its rows."""
    shuffled = LOG.sample(frac=1, random_state=0)
    shuffled["next_state"] = shuffled["state"]
    split = next(EpisodeKFold(3).split(shuffled))
    log, (fold,) = folds_of(shuffled, [split])
    (numbers,) = log.beside
    rows = numbers.values[numbers.codes][fold.held_out.rows]
    np.testing.assert_array_equal(np.sort(rows), split[1])


def test_rows_may_be_marked():
    """Marks are no positions: True is not the row 1."""
    first = (LOG["episode"] < 4).to_numpy()
    _, by_marks = folds_of(LOG, [(~first, first)])
    _, by_positions = folds_of(LOG, [(np.flatnonzero(~first), np.flatnonzero(first))])
    np.testing.assert_array_equal(by_marks[0].held_out.rows, by_positions[0].held_out.rows)
    np.testing.assert_array_equal(by_marks[0].left_out.rows, by_positions[0].left_out.rows)


@pytest.mark.parametrize("keep", [lambda marks: marks.astype(object), pd.array])
def test_marks_of_objects_are_marks(keep):
    """As columns of pandas are that once held something missing."""
    first = (LOG["episode"] < 4).to_numpy()
    _, of_objects = folds_of(LOG, [(keep(~first), keep(first))])
    _, by_marks = folds_of(LOG, [(~first, first)])
    np.testing.assert_array_equal(of_objects[0].held_out.rows, by_marks[0].held_out.rows)
    np.testing.assert_array_equal(of_objects[0].left_out.rows, by_marks[0].left_out.rows)


EVERY = np.arange(len(load_climb()))


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (5, r"cv=5 folds need at least 5 episodes, but 4 hold rows that count \(n_samples=\d+"),
        (EpisodeKFold(5), "n_splits=5 folds need at least 5 episodes, but there are 4"),
        ([(np.arange(3), np.arange(3))], "cv cuts episodes"),
        ([(np.arange(0), EVERY)], r"makes a split with 0 episode\(s\) to learn from and 4"),
        ([(EVERY, EVERY)], "none may be in both"),
        ([], "cv must hold pairs of rows to learn from and rows to judge on"),
        ([(1, 2, 3)], "cv must hold pairs of rows to learn from and rows to judge on"),
        ([(EVERY - 1, EVERY)], "cv must hold positions of rows, whole numbers from 0 on"),
        ([(EVERY, EVERY.astype(float))], "cv must hold positions of rows"),
        ([(EVERY, np.ones(3, dtype=bool))], "True or False for each row of the table"),
        ([(EVERY, np.ones(99, dtype=bool))], "True or False for each row of the table"),
        ([(EVERY, np.array([True, None] * 4))], "True or False for each row of the table"),
        ([(EVERY, EVERY.astype(object))], "whole numbers from 0 on, or marks"),
        (
            [(EVERY[:3], EVERY + 3)],
            rf"the position {len(EVERY) + 2}, but the table has {len(EVERY)} row\(s\), counting",
        ),
        (StratifiedKFold(2), "does not split these 4 episodes: .* without a target"),
    ],
)
def test_folds_that_cannot_be(cv, message):
    with pytest.raises(ValueError, match=message):
        folds_of(load_climb(), cv)


def test_one_episode_of_many_rows_cannot_be_split():
    with pytest.raises(ValueError, match="one long episode cannot be split"):
        folds_of(LOG[LOG["episode"] == 0], 2)


def test_episodes_without_rows_that_count_are_not_dealt():
    """A record of one truncated row tells of no decision; it belongs to no fold."""
    table = load_climb().assign(truncated=False)
    table.loc[len(table)] = {
        "episode": 99,
        "state": "low",
        "action": "climb",
        "reward": 0,
        "truncated": True,
    }
    log, folds = folds_of(table.drop(columns="next_state", errors="ignore"), LeaveOneOut())
    assert log.n_episodes == 5
    assert len(folds) == 4


def test_shuffles_of_samples_are_shuffles_of_episodes():
    _, folds = folds_of(LOG, ShuffleSplit(3, test_size=0.2, random_state=0))
    assert [len(fold.held_out.episodes) for fold in folds] == [6, 6, 6]

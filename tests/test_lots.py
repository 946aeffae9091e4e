"""MarkovPolicyCV on lazy tables: episodes dealt on the engine, judged as in memory."""

import pickle
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from engines import ENGINES, HERE, NOISE, QUICK, polars_lazy
from numpy.testing import assert_allclose, assert_array_equal

import skmdp._cross_validation
import skmdp._estimator_cv
from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp._evaluation.lots import N_BLOCKS
from skmdp._log.folds import Fold, Part
from skmdp._log.frames import as_lazy
from skmdp._log.grouping import Asked, canonical
from skmdp._log.lots import N_COHORTS, N_LOTS, PRIME, deal, draw_coefficients, polynomial
from skmdp._log.roles import Roles
from skmdp.metrics import evaluate_policy
from skmdp.model_selection import EpisodeKFold

pytestmark = [pytest.mark.filterwarnings(noise) for noise in NOISE]


@pytest.fixture(params=HERE)
def engine(request):
    """A function from an Arrow table to a lazy one."""
    return ENGINES[request.param]


def draw(n, *, seed=0, pays=0.5, trait=0.0, longest=5, ends=True):
    """Draw episodes with steps, rows out of order; action 1 pays more.

    A hidden ``trait`` of each episode makes one action pay more in all of its rows, the other less.
    """
    rng = np.random.default_rng(seed)
    length = rng.integers(1, longest + 1, n)
    episode = np.repeat(np.arange(n), length)
    step = np.arange(len(episode)) - np.repeat(np.cumsum(length) - length, length)
    state, action = rng.integers(3, size=len(episode)), rng.integers(2, size=len(episode))
    hidden = trait * rng.normal(size=n)[episode] * np.where(action == 1, 1, -1)
    reward = np.round(pays * action + hidden + rng.normal(size=len(episode)), 2)
    is_last = np.append(episode[1:] != episode[:-1], True)
    nexts = pd.Series(np.append(state[1:], 0), dtype="Int64")
    table = pd.DataFrame({"episode": [f"e{i:05d}" for i in episode], "step": step, "state": state})
    table = table.assign(action=action, next_state=nexts.mask(is_last & ends), reward=reward)
    return table.sample(frac=1, random_state=seed)


def arrow(table):
    return pa.Table.from_pandas(table, preserve_index=False)


def lots_of_labels(labels, random_state=None):
    """Return the lot of each of some sorted labels, as numpy deals them."""
    number = np.arange(len(labels))
    if len(number) <= N_LOTS:
        return number
    drawn = polynomial(number, draw_coefficients(random_state))
    block, n_in_block = number * N_BLOCKS // len(number), N_LOTS // N_BLOCKS
    place = np.empty_like(number)
    place[np.lexsort([number, drawn, block])] = number - np.searchsorted(block, block)
    return block * n_in_block + place % n_in_block


@pytest.fixture
def fit_alike(monkeypatch):
    """A function that fits in memory, where episodes are dealt as they are on an engine."""

    def fit(policy, table, **handed):
        table = table.sort_values(["episode", "step"], kind="stable")
        lot = lots_of_labels(table["episode"].unique())

        def deal_alike(log, cv, random_state, *, n_deals=1):
            assert len(lot) == len(log.episode_lengths)
            playing = np.unique(lot[log.episode_lengths > 0])
            drawn = np.random.RandomState(0)
            parts = []
            for _ in range(n_deals):
                fold_of = np.full(N_LOTS, -1)
                dealt = drawn.permutation(playing)
                block = np.searchsorted(playing, dealt) * N_BLOCKS // len(playing)
                dealt = dealt[np.argsort(block, kind="stable")]
                fold_of[dealt] = np.arange(len(dealt)) % cv
                parts.extend(Part.of(log, fold_of[lot] == i) for i in range(cv))
            return [Fold(part, part) for part in parts]

        with monkeypatch.context() as patch:
            for module in (skmdp._cross_validation, skmdp._estimator_cv):
                patch.setattr(module, "deal_episodes", deal_alike)
            return policy.fit(table, **handed)

    return fit


def same(lazy, eager, rtol=1e-7):
    """Both chose alike, and tell the same of the gain."""
    assert lazy.min_count_ == eager.min_count_
    assert lazy.prior_strength_ == eager.prior_strength_
    assert_array_equal(lazy.policy_, eager.policy_)
    for name in ("value_", "logged_value_", "gain_", "gain_interval_", "unsupported_share_"):
        found, expected = np.array(getattr(lazy, name)), getattr(eager, name)
        assert_allclose(found, expected, rtol=rtol, atol=1e-9, err_msg=name)
    for name, scores in lazy.cv_results_.items():
        if name.endswith("test_score") and name != "rank_test_score":
            assert_allclose(scores, eager.cv_results_[name], rtol=rtol, atol=1e-9)
    # Only in memory are time and place in the episode looked at at once, which may find more.
    if "rewards or transitions may change over time" not in eager.summary():
        assert lazy.is_better_ == eager.is_better_
        assert lazy.summary() == eager.summary()


# ------------------------------------------------------------------------------------- the deal


def dealt(lazy, random_state=None):
    """Return the lot of each episode of a lazy table."""
    frame = as_lazy(lazy)
    roles = Roles()
    asked = Asked(roles, ("next_state",), True, None, dict(frame.collect_schema()))
    rows = deal(canonical(frame, asked), asked.episodes, draw_coefficients(random_state))
    found = rows.select("episode0", "lot", "cohort").collect().to_pandas()
    of_episodes = found.groupby("episode0")
    assert (of_episodes[["lot", "cohort"]].nunique(dropna=False) == 1).all(axis=None)  # whole ones
    return of_episodes[["lot", "cohort"]].first().sort_index()


@pytest.mark.parametrize("engine", QUICK, indirect=True)
def test_every_engine_deals_alike_however_rows_lie(engine):
    table = draw(450)
    lots = dealt(engine(arrow(table)))["lot"]
    assert_array_equal(lots, lots_of_labels(np.unique(table["episode"])))
    assert_array_equal(lots, dealt(engine(arrow(table[::-1])))["lot"])
    sizes = np.bincount(lots, minlength=N_LOTS)
    assert sizes.min() >= 450 // N_LOTS
    assert sizes.max() <= 450 // N_LOTS + 1


def test_few_episodes_are_lots_of_their_own():
    lots = dealt(polars_lazy(arrow(draw(N_LOTS))))["lot"]
    assert_array_equal(np.sort(lots), np.arange(N_LOTS))


@pytest.mark.parametrize("n_starts", [30, 2000])
def test_episodes_of_one_start_are_of_one_cohort(engine, n_starts):
    """Cohorts are in the order of starts, and as many, or as many as there may be."""
    start = np.random.default_rng(0).integers(n_starts, size=1500)
    table = draw(1500, longest=1)
    table["step"] = start[table["episode"].str[1:].astype(int)]
    cohort = dealt(engine(arrow(table)))["cohort"].to_numpy().astype(int)
    later = np.argsort(start, kind="stable")
    assert (np.diff(cohort[later]) >= 0).all()
    assert (np.diff(cohort[later])[np.diff(start[later]) == 0] == 0).all()
    assert cohort.max() < N_COHORTS
    assert len(np.unique(cohort)) >= min(n_starts, 600)


@pytest.mark.parametrize("seed", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("every", [2, 5, N_LOTS, 128])
def test_no_pattern_in_the_order_of_episodes_comes_through(seed, every):
    """Dealt in turn, every 200th episode would go to one lot. By lot, their folds are binomial."""
    lots = lots_of_labels(range(100 * every), seed)
    folds = lots[::every] % 5
    expected = len(folds) / 5
    excess = ((np.bincount(folds, minlength=5) - expected) ** 2 / expected).sum()
    assert excess < 23.5  # chi-square of 4 degrees of freedom, one in ten thousand
    assert len(np.unique(lots[::every])) > 50  # of 200; 79 are expected


def test_numbers_that_lie_together_are_drawn_as_if_they_did_not():
    drawn = polynomial(np.arange(10_000), draw_coefficients(None)) / PRIME
    assert abs(drawn.mean() - 0.5) < 4 / np.sqrt(12 * 10_000)
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4 / np.sqrt(10_000)


def test_a_seed_deals_anew():
    labels = range(300)
    one, again, other = (lots_of_labels(labels, seed) for seed in (1, 1, 2))
    assert_array_equal(one, again)
    by_chance = N_BLOCKS / N_LOTS  # is dealt to the same lot of its block
    assert (one == other).mean() < 2 * by_chance


def test_no_step_of_the_polynomial_leaves_64_bits():
    """Python's integers do not wrap, numpy's would."""
    numbers = [0, 1, PRIME - 1, PRIME, 2**40, 2**62]
    highest = (PRIME - 1,) * 6
    exact = [polynomial(number, highest) for number in numbers]
    assert_array_equal(polynomial(np.array(numbers), highest), exact)


# ----------------------------------------------------------------------------- as in memory


def test_every_engine_chooses_and_judges_as_in_memory(engine, fit_alike):
    table = draw(150)
    lazy = MarkovPolicyCV().fit(engine(arrow(table)))
    same(lazy, fit_alike(MarkovPolicyCV(), table))
    assert lazy.is_better_


def with_last_observations(table):
    """Put what was seen last in place of the action of every last row."""
    last = table.groupby("episode")["step"].transform("max") == table["step"]
    is_seen = last & (table["step"] > 0)
    seen = {"action": table["action"].astype("Int64").mask(is_seen)}
    seen["reward"] = table["reward"].mask(is_seen)
    return table.drop(columns="next_state").assign(**seen)


def timed(table, *, alike=False):
    duration = 1.0 + np.arange(len(table)) % 3 * (not alike)
    return table.assign(duration=duration)


def cut_at_random(table):
    last = table.groupby("episode")["step"].transform("max") == table["step"]
    return last & (table["reward"] > 0)


CASES = {
    "few": (draw(12), {"cv": 3}),
    "under twenty to a part": (draw(60), {}),
    "inferred": (draw(100).drop(columns="next_state"), {}),
    "last observations": (with_last_observations(draw(100)), {}),
    "cut": (draw(100, ends=False), {}),
    "cut and flagged": (
        draw(100).assign(truncated=lambda t: t["next_state"].isna() & (t["reward"] > 0.3)),
        {},
    ),
    "ten rows to a transition": (draw(60, longest=40), {}),
    "alike in time": (timed(draw(100), alike=True), {}),
    "durations": (timed(draw(100)), {"gamma": 0.8}),
    "pessimism": (draw(100), {"pessimism": 0.5}),
    "pessimism in time": (timed(draw(100)), {"pessimism": 0.5}),
    "cut in time": (timed(draw(100, ends=False)), {}),
    "cut in time, inferred": (
        timed(draw(100, longest=12).drop(columns="next_state").assign(truncated=cut_at_random)),
        {},
    ),
    "cut in time, pessimism": (timed(draw(100, ends=False)), {"pessimism": 0.5}),
    "no rewards": (draw(100).drop(columns="reward"), {"reward": None}),
    "nothing differs": (draw(100).assign(reward=0.3), {}),
    "large rewards": (draw(100).assign(reward=lambda t: 1e6 + t["reward"]), {}),
    "huge rewards": (draw(100).assign(reward=lambda t: 1e60 * t["reward"]), {}),
    "forbidden": (draw(100), {"forbidden": pd.DataFrame({"state": [0], "action": [1]})}),
    "a grid": (draw(150, pays=0.1), {"min_counts": [0, 20], "prior_strengths": [0.0, 5.0]}),
}


@pytest.mark.filterwarnings("ignore:Nothing in X says how:UserWarning")
@pytest.mark.filterwarnings("ignore:.* of the decisions are left out:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_any_log_is_judged_as_in_memory(case, fit_alike):
    table, options = CASES[case]
    lazy = MarkovPolicyCV(**options).fit(polars_lazy(arrow(table)))
    same(lazy, fit_alike(MarkovPolicyCV(**options), table))


def test_weights_are_a_column(fit_alike):
    table = draw(100)
    table = table.assign(n=np.random.default_rng(0).integers(1, 4, len(table)).astype(float))
    lazy = MarkovPolicyCV().fit(polars_lazy(arrow(table)), sample_weight="n")
    same(lazy, fit_alike(MarkovPolicyCV(), table, sample_weight="n"))
    assert lazy.gain_ != 0
    assert np.isnan(lazy.gain_interval_).all()
    assert not lazy.is_better_


def test_weights_count_in_time(fit_alike):
    table = timed(draw(100, ends=False))
    table = table.assign(n=np.random.default_rng(0).integers(1, 4, len(table)).astype(float))
    lazy = MarkovPolicyCV().fit(polars_lazy(arrow(table)), sample_weight="n")
    same(lazy, fit_alike(MarkovPolicyCV(), table, sample_weight="n"))


def test_episodes_of_weight_zero_are_judged_by_nobody():
    table = draw(100)
    weight = np.where(table["episode"] < "e00050", 0.0, 1.0)
    lazy = MarkovPolicyCV().fit(polars_lazy(arrow(table.assign(n=weight))), sample_weight="n")
    assert lazy.n_episodes_ == 50
    assert np.isfinite([lazy.value_, lazy.gain_]).all()


@pytest.mark.parametrize("random_state", [None, 7])
def test_a_rerun_gives_the_same(random_state):
    """Rewards with two binary digits add up alike in any order."""
    table = draw(1000).assign(reward=lambda t: (4 * t["reward"]).round() / 4)
    one, other = (
        MarkovPolicyCV(random_state=random_state).fit(polars_lazy(arrow(rows)))
        for rows in (table, table[::-1])
    )
    assert_array_equal(one.policy_, other.policy_)
    assert_allclose(one.gain_interval_, other.gain_interval_, rtol=1e-9)
    assert_allclose(one.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])


def test_a_random_state_deals_anew_in_each_fit():
    lazy, state = polars_lazy(arrow(draw(300))), np.random.RandomState(0)
    one, other = (MarkovPolicyCV(random_state=state).fit(lazy).gain_ for _ in range(2))
    assert one != other
    assert one == pytest.approx(other, abs=0.5)


# ------------------------------------------------------------------------------------ the error


def error_of(policy):
    return (policy.gain_ - policy.gain_interval_[0]) / 1.959964


@pytest.mark.parametrize("trait", [0.0, 1.0])
def test_lots_of_many_episodes_differ_as_episodes_do(trait):
    """The standard error is that by episode, up to chance in 120 lots, whatever states hide."""
    table = draw(3000, trait=trait)
    options = {"min_counts": [0], "prior_strengths": [0.0]}
    eager = MarkovPolicyCV(**options).fit(table.sort_values(["episode", "step"]))
    lazy = MarkovPolicyCV(**options).fit(polars_lazy(arrow(table)))
    assert error_of(lazy) == pytest.approx(error_of(eager), rel=0.2)  # three standard deviations


def test_an_error_by_rows_would_be_too_small():
    """A hidden trait makes the rows of an episode alike, which rows on their own do not show."""
    table = draw(3000, trait=1.0, longest=12, ends=False)

    def error(X):
        found = evaluate_policy(1, X, methods="dm", horizon=5)
        return found.to_frame()["difference_standard_error"][0]

    lazy = error(polars_lazy(arrow(table)))
    in_memory = table.sort_values(["episode", "step"])
    assert lazy == pytest.approx(error(in_memory), rel=0.16)  # three standard deviations
    assert lazy > 1.3 * error(in_memory.drop(columns=["episode", "step"]))


def test_errors_of_lots_are_no_smaller_than_those_of_rows():
    """Where what one row of an episode gains the next one loses, episodes differ less than rows."""
    table = draw(3000, longest=2)
    table["reward"] += np.where(table["action"] == 1, 3.0, -3.0) * np.where(table["step"], 1, -1)
    options = {"min_counts": [0], "prior_strengths": [0.0]}
    eager = MarkovPolicyCV(**options).fit(table.sort_values(["episode", "step"]))
    lazy = MarkovPolicyCV(**options).fit(polars_lazy(arrow(table)))
    assert error_of(lazy) > 1.5 * error_of(eager)


@pytest.mark.long
def test_without_any_gain_nothing_is_claimed():
    claims = 0
    for seed in range(20):
        lazy = polars_lazy(arrow(draw(300, seed=seed, pays=0.0)))
        claims += MarkovPolicyCV().fit(lazy).is_better_
    assert claims <= 2  # of 20, at 2.5 % each


@pytest.mark.long
def test_traits_that_states_hide_prove_nothing():
    """Few episodes make an action lucky in many rows; each episode is drawn but once."""
    claims = 0
    for seed, n_episodes in enumerate([150] * 20 + [1500] * 10):
        table = draw(n_episodes, seed=seed, pays=0.0, trait=3.0, longest=12)
        claims += MarkovPolicyCV().fit(polars_lazy(arrow(table))).is_better_
    assert claims <= 1  # of 30, at 2.5 % each


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "drop", "error", "message"),
    [
        ({"cv": EpisodeKFold(3)}, [], TypeError, r"cv=EpisodeKFold.*as a number would not.*lazy"),
        ({"cv": [([0], [1])]}, [], TypeError, "single episodes or rows.*this is a lazy table"),
        ({"cv": 300}, [], ValueError, "cv=300 is more than the 200 lots.*Lower cv"),
        ({"cv": 50}, [], ValueError, "cv=50 folds need at least 50 episodes, but 40 hold rows"),
        ({}, ["step"], ValueError, r"no order without a column of steps.*or collect the table"),
        ({}, ["step", "episode"], ValueError, "nothing in the table tells which rows belong"),
        ({"handle_unknown": "nearest"}, [], TypeError, "measures distances.*lazy table"),
        ({"min_counts": []}, [], ValueError, "min_counts is empty"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_the_fit_as_it_was(options, drop, error, message):
    policy = MarkovPolicyCV(cv=2).fit(polars_lazy(arrow(draw(40))))
    before = pickle.dumps(policy.policy_), policy.summary()
    with pytest.raises(error, match=message) as raised:
        policy.set_params(**options).fit(polars_lazy(arrow(draw(40).drop(columns=drop))))
    assert len(str(raised.value)) <= 500
    assert (pickle.dumps(policy.policy_), policy.summary()) == before


def test_what_is_shown_single_episodes_says_how_to_get_some():
    lazy = polars_lazy(arrow(draw(40)))
    with pytest.raises(TypeError, match=r"Collect a sample") as raised:
        MarkovPolicyCV(cv=EpisodeKFold(2)).fit(lazy)
    line = re.search("table = (table[^ ]+[)])[.] ", str(raised.value))[1]
    sample = eval(line, {"table": lazy})
    assert MarkovPolicyCV(cv=EpisodeKFold(2)).fit(sample).n_transitions_ == len(draw(40))


WRONG = [
    ("reward", None, "'reward' contains NaN, None"),
    ("reward", np.inf, "'reward' contains NaN, None or infinity"),
    ("episode", None, "'episode' contains NaN or None in 1 row"),
    ("step", None, "'step' contains NaN or None in 1 row"),
    ("state", None, "'state' contains NaN or None in 1 row"),
]


@pytest.mark.parametrize("engine", QUICK, indirect=True)
@pytest.mark.parametrize(("column", "value", "message"), WRONG)
def test_what_is_wrong_with_a_table_is_refused(engine, column, value, message):
    table = draw(40).astype({column: object})
    table.iloc[3, table.columns.get_loc(column)] = value
    with pytest.raises(ValueError, match=message):
        MarkovPolicyCV().fit(engine(arrow(table)))


def test_stages_are_told(capsys):
    policy = MarkovPolicyCV(verbose=1).fit(polars_lazy(arrow(timed(draw(60, ends=False)))))
    printed = capsys.readouterr().out.splitlines()
    stages = [
        "looking for the shortest duration",
        *["looking for the mean reward", "counting the rows", "grouping the rows"],
        "listing the episodes",
    ]
    again = [*stages[1:], "looking for the usual duration", "looking for the longest record"]
    steps = ["looking for the lengths of episodes", "adding up rewards by step"]
    told = [f"MarkovPolicyCV: {stage}" for stage in (*stages, *again, *steps)]
    assert printed[: len(told)] == told
    assert len(printed) == len(told) + policy.n_iter_


def test_an_empty_table_is_refused(engine):
    with pytest.raises(ValueError, match="empty: it has 0 rows"):
        MarkovPolicyCV().fit(engine(arrow(draw(40)).slice(0, 0)))


@pytest.mark.parametrize("engine", QUICK, indirect=True)
def test_the_policy_is_that_of_the_chosen_candidate(engine):
    lazy = engine(arrow(draw(150)))
    policy = MarkovPolicyCV(gamma=0.8).fit(lazy)
    alone = MarkovPolicyEstimator(
        gamma=0.8, min_count=policy.min_count_, prior_strength=policy.prior_strength_
    ).fit(lazy)
    assert_array_equal(policy.policy_, alone.policy_)
    assert_allclose(policy.state_values_, alone.state_values_, rtol=1e-6)
    assert policy.n_episodes_ == alone.n_episodes_ == 150

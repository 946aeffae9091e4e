"""The same log gives the same policy on every engine, and what is wrong with it is refused there.

Engines are real ones. Counts are the same to the last bit, sums of rewards to 1e-12 of what was
added up.
"""

import datetime
import re
from contextlib import nullcontext

import hypothesis
import narwhals
import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from engines import EAGER, ENGINES, HERE, NOISE, QUICK, asked_of, polars_lazy
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from test_estimator import Recorder, logs

from skmdp import MarkovPolicyEstimator
from skmdp._log import engines, words
from skmdp._log import lazy as lazy_tables
from skmdp._log.lazy import read_lazy
from skmdp._log.reading import read_table
from skmdp._log.roles import ROLES, Roles
from skmdp._log.ticks import ticks
from skmdp.datasets import load_climb
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import compare_policies, evaluate_policy
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder

pytestmark = [pytest.mark.filterwarnings(noise) for noise in NOISE]

N_EPISODES = 40
NOON = datetime.datetime(2026, 3, 1, 12)


@pytest.fixture(params=HERE)
def engine(request):
    """A function from an Arrow table to a lazy one."""
    return ENGINES[request.param]


def draw(*, infer=False, flags=False, seen=False, seed=0):
    """Draw episodes with steps, out of order; some are cut off, some end with an observation."""
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(N_EPISODES):
        length = int(rng.integers(1, 7))
        states = rng.integers(5, size=length + 1)
        for step in range(length):
            is_last = step == length - 1
            rows.append(
                {
                    "episode": f"e{episode}",
                    "step": step,
                    "state": int(states[step]),
                    "action": int(rng.integers(3)),
                    "next_state": None if is_last and rng.random() < 0.7 else int(states[step + 1]),
                    "reward": float(rng.normal()),
                    "terminated": bool(is_last and rng.random() < 0.5),
                    "truncated": bool(is_last and rng.random() < 0.3),
                    "weight": float(rng.integers(0, 3)),
                    "duration": float(rng.integers(1, 9)) / 2,
                }
            )
        if seen and rng.random() < 0.5:
            last = {**rows[-1], "step": length, "state": int(states[-1]), "next_state": None}
            is_end = bool(rng.random() < 0.4)
            last |= {"action": None, "reward": None, "terminated": is_end, "truncated": False}
            rows[-1] |= {"terminated": False, "truncated": False}
            rows.append(last)
    rows = [rows[i] for i in rng.permutation(len(rows))]
    table = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    absent = ["weight", "duration"] + ["next_state"] * infer
    return table.drop_columns(absent + ["terminated", "truncated"] * (not flags))


def with_column(table, name, values, type=None):
    column = values if isinstance(values, pa.ChunkedArray) else pa.array(values, type=type)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


def with_nan(table, name):
    """Put NaN in the place of what is missing of a column."""
    values = [float("nan") if value is None else value for value in table[name].to_pylist()]
    return with_column(table, name, pa.chunked_array([pa.array(values, pa.float64())]))


def mapped(table, labels, type, names=("state", "next_state")):
    """Put labels in the place of the numbers of states."""
    for name in names:
        values = [None if code is None else labels[code] for code in table[name].to_pylist()]
        table = with_column(table, name, values, type)
    return table


def encoded(table, name, order):
    """Encode a column by categories in an order of its own."""
    codes = pc.index_in(table[name], pa.array(order)).combine_chunks()
    return with_column(
        table, name, pa.chunked_array([pa.DictionaryArray.from_arrays(codes, pa.array(order))])
    )


def given(**options):
    """A log with next states, without steps or episodes."""
    return draw(**options).drop_columns(["episode", "step"])


def weighted(*, fractions=False, **options):
    table = draw(**options)
    weights = np.random.default_rng(1).integers(0, 3, size=len(table)).astype(float)
    return with_column(table, "weight", weights / 4 + (weights > 0) if fractions else weights)


def huge_without_weight():
    """Rewards whose squares overflow, in rows that do not count."""
    table = weighted()
    rewards = np.where(table["weight"].to_numpy() > 0, table["reward"].to_numpy(), 1e200)
    return with_column(table, "reward", rewards)


def timed(table):
    return with_column(
        table, "duration", np.random.default_rng(2).integers(1, 9, size=len(table)) / 2
    )


def text():
    table = mapped(given(), ["b", "", "ü", "a b", "B"], pa.string())
    return encoded(
        encoded(table, "state", ["ü", "b", "", "a b", "B", "z"]),
        "next_state",
        ["", "B", "a b", "b", "ü"],
    )


def nan_and_null():
    table = mapped(given(), [0.5, -1.25, 3.0, 1e6, 2.0**60], pa.float64())
    values = table["next_state"].to_pylist()
    ends = [i for i, value in enumerate(values) if value is None]
    for i in ends[::2]:
        values[i] = float("nan")
    return with_column(table, "next_state", pa.chunked_array([pa.array(values, pa.float64())]))


def steps_of(convert, type=None):
    table = draw(infer=True)
    return with_column(table, "step", [convert(step) for step in table["step"].to_pylist()], type)


BERLIN = [
    (NOON + datetime.timedelta(hours=h)).replace(tzinfo=datetime.UTC) for h in (3, -5, 0, 40, 1)
]
DAYS = [datetime.date(2026, 3, 1) + datetime.timedelta(days=d) for d in (3, -5, 0, 40, 1)]
# {case: (table, parameters of the estimator, name of the column of weights)}
CASES = {
    "next states given": (given(), {}, None),
    "null and NaN next states": (nan_and_null(), {}, None),
    "int states, float next states": (
        with_column(given(), "next_state", given()["next_state"].cast(pa.float64())),
        {},
        None,
    ),
    "minus zero": (mapped(given(), [0.0, -0.0, 1.0, 2.0, 3.0], pa.float64()), {}, None),
    "strings": (mapped(given(), ["b", "", "ü", "a b", "B"], pa.string()), {}, None),
    "categories": (text(), {}, None),
    "bytes": (mapped(given(), [b"a", b"a\x00", b"", b"b", b"\xff"], pa.binary()), {}, None),
    "dates": (mapped(given(), DAYS, pa.date32()), {}, None),
    "instants": (mapped(given(), BERLIN, pa.timestamp("us", "Europe/Berlin")), {}, None),
    "booleans": (mapped(given(), [True, False] * 3, pa.bool_()), {}, None),
    "int8 rewards": (
        with_column(
            given(), "reward", np.random.default_rng(0).integers(100, 128, len(given())), pa.int8()
        ),
        {"pessimism": 0.1},
        None,
    ),
    "int32 rewards": (
        with_column(given(), "reward", [2**31 - 1 - i for i in range(len(given()))], pa.int32()),
        {"pessimism": 0.1},
        None,
    ),
    "boolean rewards": (
        with_column(given(), "reward", [x > 0 for x in given()["reward"].to_pylist()], pa.bool_()),
        {},
        None,
    ),
    "no rewards": (given(), {"reward": None}, None),
    "two columns": (
        with_column(
            with_column(given(), "x", [i % 2 for i in range(len(given()))]),
            "next_x",
            given()["next_state"],
        ),
        {"state": ["state", "x"]},
        None,
    ),
    "weights": (weighted(), {}, "weight"),
    "weights that are fractions": (
        weighted(fractions=True, flags=True),
        {"pessimism": 0.0},
        "weight",
    ),
    "weights, none where rewards are huge": (huge_without_weight(), {}, "weight"),
    "weights, inferred": (weighted(infer=True, flags=True), {}, "weight"),
    "episodes": (draw(), {}, None),
    "episodes with flags": (draw(flags=True), {}, None),
    "inferred": (draw(infer=True), {}, None),
    "inferred with flags": (draw(infer=True, flags=True), {}, None),
    "last observations": (draw(infer=True, flags=True, seen=True), {}, None),
    "last observations, no flags": (draw(infer=True, seen=True), {}, None),
    "last observations, given": (draw(flags=True, seen=True), {}, None),
    "last observations, given, no flags": (draw(seen=True), {}, None),
    "last observations, NaN": (
        with_nan(mapped(draw(seen=True), [0.5, 1.5, 2.5], pa.float64(), ["action"]), "action"),
        {},
        None,
    ),
    "small steps": (steps_of(lambda step: step + 250, pa.uint8()), {}, None),
    "float steps": (steps_of(float), {}, None),
    "fractional steps": (steps_of(lambda step: step * 1.5), {}, None),
    "times": (steps_of(lambda step: NOON + step * datetime.timedelta(hours=7)), {}, None),
    "durations": (timed(draw(flags=True)), {}, None),
    "durations, gamma 0": (timed(given()), {"gamma": 0.0}, None),
    "durations from steps": (
        steps_of(lambda step: step**2 * 0.5),
        {"duration": "step", "terminated": None},
        None,
    ),
    "durations from times": (
        steps_of(lambda step: NOON - step**2 * datetime.timedelta(days=300, hours=7, seconds=1)),
        {"duration": "step", "terminated": None},
        None,
    ),
    "durations from dates": (
        steps_of(lambda step: datetime.date(1999, 1, 1) + step**3 * datetime.timedelta(days=70)),
        {"duration": "step", "terminated": None, "duration_unit": "week"},
        None,
    ),
    "two columns of episodes": (
        with_column(draw(infer=True), "day", draw(infer=True)["episode"]),
        {"episode": ["day", "episode"]},
        None,
    ),
}


def counts_of(policy):
    return policy.__skmdp_policy__().evidence.counts


def same(lazy, eager):
    for one, other in ((lazy.states_, eager.states_), (lazy.actions_, eager.actions_)):
        assert one.tolist() == other.tolist()
    found, expected = counts_of(lazy), counts_of(eager)
    for name in ("pair_state", "pair_action", "indptr", "next_states", "weights", "n_rows"):
        assert_array_equal(getattr(found, name), getattr(expected, name))
    size = np.abs(expected.reward_sums).sum() + 1e-300
    assert_allclose(found.reward_sums, expected.reward_sums, rtol=0, atol=1e-12 * size)
    for name in ("reward_squares", "discount_sums"):
        assert (getattr(found, name) is None) == (getattr(expected, name) is None)
        if getattr(found, name) is not None:
            led_to = expected.next_states < expected.n_states
            rows = led_to if name == "discount_sums" else slice(None)
            assert_allclose(getattr(found, name)[rows], getattr(expected, name)[rows], rtol=1e-12)
    assert_array_equal(lazy.policy_, eager.policy_)
    assert_allclose(lazy.initial_distribution_, eager.initial_distribution_, rtol=1e-14)
    for name in ("n_transitions_", "n_episodes_", "n_truncated_", "n_ended_", "discount_"):
        assert getattr(lazy, name) == getattr(eager, name)


drawn_at_random = pytest.mark.filterwarnings(
    "ignore:Nothing in X says how:UserWarning",
    "ignore:.* of the decisions are left out:UserWarning",
)


# What engines may read in ways of their own: types of steps, times, flags, what is missing.
LONG_ONES = [
    "inferred with flags",
    "last observations, given",
    "weights, inferred",
    "small steps",
    "fractional steps",
    "durations from times",
    "durations from dates",
]


@drawn_at_random
@pytest.mark.parametrize(("engine", "case"), asked_of(CASES, LONG_ONES), indirect=["engine"])
def test_the_same_log_gives_the_same_policy(engine, case):
    table, parameters, weight = CASES[case]
    eager = MarkovPolicyEstimator(**parameters).fit(EAGER["pyarrow"](table), sample_weight=weight)
    lazy = MarkovPolicyEstimator(**parameters).fit(engine(table), sample_weight=weight)
    same(lazy, eager)


@pytest.mark.parametrize("case", ["strings", "categories", "bytes"])
def test_short_strings_that_become_words_give_the_same_policy(engine, case, monkeypatch):
    table, _, _ = CASES[case]
    fits = [MarkovPolicyEstimator().fit(table)]
    monkeypatch.setattr(words, "FEWEST", 0)
    fits += [MarkovPolicyEstimator().fit(X) for X in (EAGER["polars"](table), engine(table))]
    for fit in fits[1:]:
        same(fit, fits[0])


@drawn_at_random
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_in_memory_give_the_same_policy(library, case):
    table, parameters, weight = CASES[case]
    one = MarkovPolicyEstimator(**parameters).fit(EAGER[library](table), sample_weight=weight)
    other = MarkovPolicyEstimator(**parameters).fit(table, sample_weight=weight)
    same(one, other)


@drawn_at_random
@pytest.mark.parametrize(
    "case", [case for case in CASES if "episode" in CASES[case][0].column_names]
)
def test_what_is_known_of_episodes_is_the_same(case):
    table, parameters, weight = CASES[case]
    roles = Roles.of({role: name for role, name in parameters.items() if role in ROLES})
    lazy = read_lazy(polars_lazy(table), roles, weight)
    eager = read_table(table, roles, weight)
    for name in ("n_episodes", "longest", "n_cut", "n_ended", "n_truncated", "n_rows"):
        expected = getattr(eager, name)
        if name == "n_rows" and weight is not None:
            expected = len(eager.state_codes)
        assert getattr(lazy, name) == expected
    for name in ("cut_share", "open_share"):
        assert getattr(lazy, name) == pytest.approx(getattr(eager, name), rel=1e-12)
    assert (lazy.ends_told, lazy.next_states_given) == (eager.ends_told, eager.next_states_given)
    assert_array_equal(lazy.episode_marks.hashes, eager.episode_marks.hashes)
    assert_array_equal(lazy.episode_marks.n_rows, eager.episode_marks.n_rows)


# --------------------------------------------------------------------------------------- evaluation


@drawn_at_random
@pytest.mark.filterwarnings("ignore:X lacks:UserWarning", "ignore:.*last longer:UserWarning")
@pytest.mark.parametrize(
    ("engine", "case"),
    [
        *((name, case) for name in HERE for case in ("inferred with flags", "next states given")),
        *((name, "episodes with flags") for name in QUICK),
    ],
    indirect=["engine"],
)
def test_scores_are_those_of_tables_in_memory(engine, case):
    table, _, _ = CASES[case]
    other = draw(infer=case.startswith("inferred"), flags=True, seed=3)
    if "episode" not in table.column_names:
        other = given(flags=True, seed=3)
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(table)
    assert_allclose(policy.score(engine(other)), policy.score(other), rtol=1e-9)
    silent = MarkovPolicyEstimator(handle_unknown="most_frequent", reward=None).fit(table)
    assert silent.score(engine(other)) == pytest.approx(silent.score(other), rel=1e-12)


@pytest.mark.filterwarnings("ignore:X lacks:UserWarning", "ignore:.*last longer:UserWarning")
def test_without_steps_a_score_knows_no_episodes_and_says_so(engine):
    table = draw()
    policy = MarkovPolicyEstimator().fit(table)
    without = policy.score(table.drop_columns(["episode", "step"]))
    with pytest.warns(
        UserWarning, match=r"no column of steps.*every row counts as a start"
    ) as told:
        score = policy.score(engine(table.drop_columns(["step"])))
    assert [str(one.message)[:8] for one in told].count("The lazy") == 1
    assert score == pytest.approx(without, rel=1e-9)
    lazy = MarkovPolicyEstimator().fit(engine(table.drop_columns(["step"])))
    shares = MarkovPolicyEstimator().fit(table.drop_columns(["episode"])).initial_distribution_
    assert_allclose(lazy.initial_distribution_, shares, rtol=1e-14)
    assert lazy.n_episodes_ is None


@pytest.mark.filterwarnings("ignore::UserWarning")  # of a small log there is much to say
@pytest.mark.parametrize("policy", ["fitted", "behavior", "mapping", "ensemble", "function"])
def test_the_direct_method_judges_by_rows(engine, policy):
    """Where episodes are unknown the error in memory is that of rows as well: both are the same."""
    table = given()
    fitted = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(table)
    ensemble = PolicyBagging(fitted, 2, bootstrap=True, random_state=0).fit(draw())
    policies = {
        "fitted": fitted,
        "behavior": "behavior",
        "mapping": dict.fromkeys(range(5), 1),
        "ensemble": ensemble,
        "function": lambda states: np.where(states["state"] > 2, 0, 2),
    }
    eager = evaluate_policy(policies[policy], table, methods="dm").to_frame()
    lazy = evaluate_policy(policies[policy], engine(table)).to_frame()
    assert lazy["method"].tolist() == ["dm"]
    numbers = eager.columns.drop("method")
    assert_allclose(lazy[numbers].astype(float), eager[numbers].astype(float), rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("engine", QUICK, indirect=True)
def test_with_steps_the_direct_method_starts_where_episodes_start(engine):
    table = draw(flags=True)
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(table)
    eager, lazy = (evaluate_policy(policy, X, methods="dm") for X in (table, engine(table)))
    for name in ("behavior_value", "n_episodes", "horizon", "cut_share", "untried_share"):
        assert getattr(lazy, name) == pytest.approx(getattr(eager, name), rel=1e-9)
    one, other = (found.to_frame()["value"] for found in (lazy, eager))
    assert_allclose(one, other, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["polars", "duckdb"])  # what is read is all that an engine does
def test_a_comparison_of_a_lazy_table_is_its_evaluation(name):
    table = draw(flags=True)
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(table)
    alone = evaluate_policy(policy, ENGINES[name](table), methods="dm").to_frame()["value"]
    policies = {"own": policy, "logged": "behavior"}
    compared = compare_policies(policies, ENGINES[name](table), methods="dm")
    assert_allclose(compared["value"][0], alone[0], rtol=1e-12)


@pytest.mark.parametrize("engine", QUICK, indirect=True)
def test_batches_from_engines_add_up(engine):
    table = draw(flags=True)
    early = pc.is_in(table["episode"], pa.array([f"e{i}" for i in range(15)]))
    parts = [table.filter(early), table.filter(pc.invert(early))]
    whole = MarkovPolicyEstimator().fit(table)
    streamed = MarkovPolicyEstimator()
    for part in parts:
        streamed.partial_fit(engine(part))
    streamed.partial_fit(engine(table.slice(0, 0)))
    same(streamed, whole)
    mixed = MarkovPolicyEstimator().partial_fit(parts[0]).partial_fit(engine(parts[1]))
    same(mixed, whole)


# ------------------------------------------------------------------------------------ what is wrong


def replaced(table, name, value, type=None, row=3):
    values = table[name].to_pylist()
    values[row] = value
    return with_column(table, name, values, type)


GIVEN, INFERRED, FLAGGED = given(), draw(infer=True), draw(infer=True, flags=True)
IS_LAST = [
    step == max(s for e, s in zip(*both, strict=True) if e == episode)
    for both in [(INFERRED["episode"].to_pylist(), INFERRED["step"].to_pylist())]
    for episode, step in zip(*both, strict=True)
]
INSIDE = IS_LAST.index(False)
NO_ACTION = "Column 'action' contains NaN or None in 1 row"
# {case: (table, parameters, sample_weight, error, words)}
WRONG = {
    "empty": (GIVEN.slice(0, 0), {}, None, ValueError, "empty: it has 0 rows"),
    "NaN reward": (
        replaced(GIVEN, "reward", float("nan")),
        {},
        None,
        ValueError,
        "'reward' contains NaN",
    ),
    "null reward": (
        replaced(GIVEN, "reward", None),
        {},
        None,
        ValueError,
        "'reward' contains NaN, None.*Fill it in",
    ),
    "null reward in an episode": (
        replaced(INFERRED, "reward", None),
        {},
        None,
        ValueError,
        "'reward' contains NaN, None.*sample_weight 0",
    ),
    "infinite reward": (
        replaced(GIVEN, "reward", float("inf")),
        {},
        None,
        ValueError,
        "'reward' contains",
    ),
    "rewards overflow": (
        with_column(GIVEN, "reward", [1e308] * len(GIVEN)),
        {},
        None,
        ValueError,
        "more than float64 holds",
    ),
    "text reward": (
        with_column(GIVEN, "reward", ["1"] * len(GIVEN)),
        {},
        None,
        ValueError,
        "'reward' must hold numbers.*CAST",
    ),
    "null state": (
        replaced(GIVEN, "state", None),
        {},
        None,
        ValueError,
        "'state' contains NaN or None in 1 row.*label of its own",
    ),
    "null action": (replaced(GIVEN, "action", None), {}, None, ValueError, NO_ACTION),
    "null action inside": (
        replaced(INFERRED, "action", None, row=INSIDE),
        {},
        None,
        ValueError,
        NO_ACTION,
    ),
    "null action that leads nowhere": (
        replaced(replaced(draw(), "action", None, row=INSIDE), "next_state", None, row=INSIDE),
        {},
        None,
        ValueError,
        NO_ACTION,
    ),
    "str against int": (
        mapped(GIVEN, list("abcde"), pa.string(), ["next_state"]),
        {},
        None,
        TypeError,
        "'next_state'.*kind 'str'.*Convert one",
    ),
    "fraction against int": (
        mapped(GIVEN, [0, 1, 2.5, 3, 4], pa.float64(), ["next_state"]),
        {},
        None,
        ValueError,
        "holds 2.5.*integers only",
    ),
    "rounded integers": (
        mapped(
            mapped(GIVEN, [0, 1, 2, 3, 2**53], pa.int64(), ["state"]),
            [0, 1, 2, 3, 2.0**53],
            pa.float64(),
            ["next_state"],
        ),
        {},
        None,
        ValueError,
        r"from 2\*\*53 on",
    ),
    "infinite state": (
        mapped(GIVEN, [0.5, 1, 2, 3, float("inf")], pa.float64()),
        {},
        None,
        ValueError,
        "infinity is no label.*lazy table",
    ),
    "lists": (
        mapped(GIVEN, [[0], [1], [2], [3], [4]], pa.list_(pa.int64())),
        {},
        None,
        TypeError,
        "'state' holds values of type List.*one column for each",
    ),
    "no order": (
        INFERRED.drop_columns(["step"]),
        {},
        None,
        ValueError,
        "rows of a lazy table have no order.*step=.*table = table",
    ),
    "step None": (INFERRED, {"step": None}, None, ValueError, "without a column of steps"),
    "nothing follows": (
        GIVEN.drop_columns(["next_state"]),
        {},
        None,
        ValueError,
        "neither next states",
    ),
    "half of the next states": (
        with_column(
            with_column(with_column(GIVEN, "x", GIVEN["state"]), "next_x", GIVEN["state"]),
            "step",
            GIVEN["state"],
        ),
        {"state": ["state", "x"], "step": None},
        None,
        ValueError,
        "must be missing together",
    ),
    "no such column": (GIVEN, {"action": "act"}, None, ValueError, "no column 'act'"),
    "null episode": (
        replaced(INFERRED, "episode", None),
        {},
        None,
        ValueError,
        "'episode' contains NaN or None in 1 row",
    ),
    "null step": (
        replaced(INFERRED, "step", None),
        {},
        None,
        ValueError,
        "'step' contains NaN or None in 1 row",
    ),
    "a step twice": (
        pa.concat_tables([INFERRED, INFERRED.slice(0, 1)]),
        {},
        None,
        ValueError,
        "in 1 place.*occurs twice.*drop the copy",
    ),
    "a gap": (
        INFERRED.filter(pc.not_equal(INFERRED["step"], 1)),
        {},
        None,
        ValueError,
        "not the next whole number",
    ),
    "text step": (
        with_column(INFERRED, "step", INFERRED["episode"]),
        {},
        None,
        TypeError,
        "'step' must hold numbers or times",
    ),
    "flag of 2": (
        with_column(GIVEN, "terminated", [2] * len(GIVEN)),
        {},
        None,
        TypeError,
        "'terminated' must hold booleans",
    ),
    "flag of text": (
        with_column(GIVEN, "terminated", ["no"] * len(GIVEN)),
        {},
        None,
        TypeError,
        "'terminated' must hold booleans",
    ),
    "null flag": (
        with_column(GIVEN, "truncated", [None, *[True] * (len(GIVEN) - 1)]),
        {},
        None,
        ValueError,
        "'truncated' contains NaN",
    ),
    "terminated inside": (
        replaced(FLAGGED, "terminated", True, row=INSIDE),
        {},
        None,
        ValueError,
        "'terminated' is True in 1 row.*goes on",
    ),
    "all truncated": (
        with_column(
            with_column(GIVEN, "next_state", [None] * len(GIVEN), pa.int64()),
            "truncated",
            [True] * len(GIVEN),
        ),
        {},
        None,
        ValueError,
        "Every row is truncated",
    ),
    "reward beside an observation": (
        replaced(
            replaced(INFERRED, "action", None, row=IS_LAST.index(True)),
            "reward",
            1.5,
            row=IS_LAST.index(True),
        ),
        {},
        None,
        ValueError,
        "is not 0 in 1 row",
    ),
    "negative weight": (
        with_column(GIVEN, "w", [-1.0, *[1.0] * (len(GIVEN) - 1)]),
        {},
        "w",
        ValueError,
        "'w' of weights holds -1",
    ),
    "null weight": (
        with_column(GIVEN, "w", [None, *[1.0] * (len(GIVEN) - 1)]),
        {},
        "w",
        ValueError,
        "'w' of weights contains NaN",
    ),
    "no weight": (
        with_column(GIVEN, "w", [0.0] * len(GIVEN)),
        {},
        "w",
        ValueError,
        "at least one non-zero",
    ),
    "weights elsewhere": (GIVEN, {}, "w", ValueError, "no column 'w' of weights"),
    "weights as an array": (GIVEN, {}, [1.0] * len(GIVEN), TypeError, "names a column of it"),
    "duration 0": (
        with_column(GIVEN, "duration", [0.0] * len(GIVEN)),
        {},
        None,
        ValueError,
        "'duration' holds 0.*above 0",
    ),
    "duration missing": (
        with_column(GIVEN, "duration", [None, *[1.0] * (len(GIVEN) - 2), 2.0])
        if GIVEN["next_state"][0].as_py() is not None
        else None,
        {},
        None,
        ValueError,
        r"'duration': 1 row\(s\) lead",
    ),
    "duration of text": (
        with_column(GIVEN, "duration", ["1"] * len(GIVEN)),
        {},
        None,
        TypeError,
        "'duration' must hold numbers",
    ),
    "duration unit": (
        with_column(GIVEN, "duration", [1.0] * len(GIVEN)),
        {"duration_unit": "day"},
        None,
        ValueError,
        "duration_unit=None",
    ),
    "nearest": (
        GIVEN,
        {"handle_unknown": "nearest"},
        None,
        TypeError,
        "lazy table.*Collect a sample",
    ),
}


LONG_WRONG = ["terminated inside", "null step", "a gap"]


@pytest.mark.parametrize(("engine", "case"), asked_of(WRONG, LONG_WRONG), indirect=["engine"])
def test_what_is_wrong_is_refused(engine, case):
    table, parameters, weight, error, words = WRONG[case]
    policy = MarkovPolicyEstimator().fit(load_climb())
    before = dict(vars(policy))
    policy.set_params(**parameters)
    with pytest.raises(error, match=words) as raised:
        policy.fit(engine(table), sample_weight=weight)
    assert len(str(raised.value)) <= 500
    after = vars(policy)
    assert all(after[name] is value for name, value in before.items() if name.endswith("_"))


@pytest.mark.parametrize("name", HERE)
def test_an_error_of_an_engine_names_the_stage_and_leaves_nothing_half_fitted(name):
    table = with_column(given(), "state", ["a"] * len(given()))
    call_function = pytest.importorskip("sqlframe.duckdb.functions").call_function
    broken = {
        "polars": lambda lazy: lazy.with_columns(state=pl.col("state").cast(pl.Int64)),
        "duckdb": lambda lazy: lazy.project("* replace (state::int as state)"),
        "ibis": lambda lazy: lazy.mutate(state=lazy["state"].cast("int64")),
        "sqlframe": lambda lazy: lazy.withColumn("state", call_function("error", lazy["state"])),
        "pyspark": lambda lazy: lazy.withColumn("state", lazy["state"].cast("int")),
    }[name](ENGINES[name](table))
    policy = MarkovPolicyEstimator()
    with pytest.raises(
        RuntimeError, match=f"{name} failed while (counting|grouping|reading)"
    ) as raised:
        policy.fit(broken)
    assert raised.value.__cause__ is not None
    assert not hasattr(policy, "policy_")
    assert policy.fit(load_climb()).predict(["low"]) == ["climb"]  # as good as new


def test_too_many_distinct_transitions_are_refused_before_they_take_memory(engine, monkeypatch):
    monkeypatch.setattr(engines, "MOST_GROUPS", 10)
    n_groups = len(GIVEN.group_by(["state", "action", "next_state"]).aggregate([]))
    stages = []
    with pytest.raises(ValueError, match=f"holds {n_groups} distinct .*, of {len(GIVEN)}"):
        read_lazy(engine(GIVEN), Roles(), tell=lambda stage: stages.append(stage) or nullcontext())
    assert "grouping the rows" not in stages
    monkeypatch.setattr(engines, "MOST_GROUPS", n_groups)
    assert len(read_lazy(engine(GIVEN), Roles()).state_codes) == n_groups


def in_features(X):
    return MarkovPolicyEstimator().fit(X, [1])


def by_a_pipeline(X):
    return make_pipeline(StateEncoder(state=["state"]), MarkovPolicyEstimator()).fit(X)


POLICY = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(GIVEN)
# What needs rows.
WITH_ROWS = {
    "features": in_features,
    "encoder": by_a_pipeline,
    "ensemble": lambda X: PolicyBagging(MarkovPolicyEstimator(), 2, bootstrap=True).fit(X),
    "score of an ensemble": lambda X: (
        PolicyBagging(MarkovPolicyEstimator(handle_unknown="most_frequent"), 2).fit(draw()).score(X)
    ),
    "prediction": POLICY.predict,
    "fqe": lambda X: evaluate_policy(POLICY, X, methods="fqe"),
    "importance weights": lambda X: evaluate_policy(POLICY, X, methods=["dm", "wis"]),
    "propensities": lambda X: evaluate_policy(POLICY, X, behavior="reward"),
    "a policy behind an encoder": lambda X: evaluate_policy(
        make_pipeline(StateEncoder(state=["state"]), MarkovPolicyEstimator()).fit(draw()), X
    ),
    "folds": lambda X: next(EpisodeKFold(2).split(X)),
    "nearest": lambda X: MarkovPolicyEstimator(handle_unknown="nearest").fit(X),
    "a policy of features": lambda X: (
        MarkovPolicyEstimator().fit([["a"]], ["x"], reward=[1.0]).score(X)
    ),
    "what is forbidden": lambda X: MarkovPolicyEstimator(forbidden=X).fit(GIVEN),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", WITH_ROWS)
def test_what_needs_rows_says_how_to_get_some(case):
    for name in HERE if case == "prediction" else ["polars", "duckdb"]:
        lazy = ENGINES[name](draw())
        with pytest.raises(TypeError, match=r"this is a lazy table.*Collect a sample") as raised:
            WITH_ROWS[case](lazy)
        line = re.search("table = (table[^ ]+[)])[.] ", str(raised.value))[1]
        sample = eval(line, {"table": lazy})
        assert MarkovPolicyEstimator().fit(sample).n_transitions_ == len(draw())


@pytest.mark.parametrize("name", HERE)
def test_a_table_without_order_is_collected_by_the_line_that_is_named(name):
    lazy = ENGINES[name](INFERRED.drop_columns(["step"]))
    with pytest.raises(ValueError, match="or collect the table: table = ") as raised:
        MarkovPolicyEstimator().fit(lazy)
    line = re.search(": table = (table[^ ]+[)])[.] ", str(raised.value))[1]
    collected = eval(line, {"table": lazy})
    assert len(collected) == len(INFERRED)


# Engines differ in what they make of durations that are missing.
OF_TIMES = [(name, True) for name in QUICK] + [("polars", False), ("duckdb", False)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "lacking"), OF_TIMES)
def test_where_records_break_off_policies_are_followed_for_a_time(name, lacking):
    """The same time as in memory, where rows that lead nowhere may lack their duration."""
    engine, table = ENGINES[name], timed(draw(flags=True))
    if lacking:
        values = zip(table["duration"].to_pylist(), table["next_state"].to_pylist(), strict=True)
        table = with_column(table, "duration", [d if s is not None else None for d, s in values])
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(table)
    assert policy.score(engine(table)) == pytest.approx(policy.score(table), rel=1e-9)
    eager, lazy = (evaluate_policy(policy, X, methods="dm") for X in (table, engine(table)))
    assert lazy.horizon_time == pytest.approx(eager.horizon_time, rel=1e-12)
    assert_allclose(lazy.to_frame()["value"], eager.to_frame()["value"], rtol=1e-9)
    without = policy.score(table.drop_columns(["duration"]))
    assert policy.score(table) != pytest.approx(without, rel=1e-3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_errors_know_of_times(engine):
    """Of rows without episodes the error in memory is that of rows as well."""
    table = timed(GIVEN)
    eager, lazy = (
        evaluate_policy(POLICY, X, methods="dm", gamma=0.9).to_frame()
        for X in (table, engine(table))
    )
    numbers = eager.columns.drop("method")
    assert_allclose(lazy[numbers].astype(float), eager[numbers].astype(float), rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_durations_do_not_matter_to_the_total_reward():
    timed_table = timed(GIVEN)
    lazy, eager = (
        evaluate_policy(POLICY, X, methods="dm").to_frame()
        for X in (polars_lazy(timed_table), timed_table)
    )
    assert_allclose(lazy["standard_error"], eager["standard_error"], rtol=1e-9)
    alike = with_column(GIVEN, "duration", [2.0] * len(GIVEN))
    found = [
        evaluate_policy(POLICY, X, methods="dm", gamma=0.9).to_frame()["value"]
        for X in (polars_lazy(alike), alike)
    ]
    assert_allclose(*found, rtol=1e-9)


def test_weights_may_be_a_column_of_any_table():
    table = CASES["weights"][0]
    for X in (table, table.to_pandas(), pl.from_arrow(table)):
        one = MarkovPolicyEstimator().fit(X, sample_weight="weight")
        other = MarkovPolicyEstimator().fit(X, sample_weight=table["weight"].to_numpy())
        same(one, other)
    with pytest.raises(ValueError, match=r"no column 'weigth' of weights\. Did you mean 'weight'"):
        MarkovPolicyEstimator().fit(table, sample_weight="weigth")


def test_rows_that_were_aggregated_give_the_same_policy(engine):
    """What a user's own query groups is read with numbers of rows as weights."""
    table = given(flags=True)
    whole = MarkovPolicyEstimator().fit(table)
    keys = ["state", "action", "next_state", "terminated", "truncated"]
    grouped = table.group_by(keys).aggregate([("reward", "count"), ("reward", "mean")])
    grouped = with_column(grouped, "reward", grouped["reward_mean"])
    grouped = with_column(grouped, "n", grouped["reward_count"])
    policy = MarkovPolicyEstimator().fit(engine(grouped), sample_weight="n")
    for action in whole.actions_:
        one, other = (p.transition_matrix(action).toarray() for p in (policy, whole))
        assert_allclose(one, other, rtol=1e-15)
    assert_allclose(policy.expected_rewards_, whole.expected_rewards_, rtol=1e-12)
    assert policy.n_transitions_ == whole.n_transitions_


def test_episodes_that_are_many_leave_no_marks(monkeypatch):
    monkeypatch.setattr(lazy_tables, "MOST_EPISODES", 3)
    log = read_lazy(polars_lazy(draw()), Roles())
    assert log.episode_marks is None
    assert log.n_episodes == N_EPISODES


@drawn_at_random
@pytest.mark.parametrize("engine", QUICK, indirect=True)
def test_pieces_of_episodes_are_noticed_on_engines(engine):
    """As after a split of rows: most episodes are known, and have fewer rows."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "episode": np.repeat(np.arange(60), 20),
            "step": np.tile(np.arange(20), 60),
            "state": rng.integers(3, size=1200),
            "next_state": rng.integers(3, size=1200),
            "action": rng.integers(2, size=1200),
            "reward": rng.normal(size=1200),
        }
    )
    policy = MarkovPolicyEstimator().fit(engine(table))
    with pytest.warns(UserWarning, match="stand in the training log too"):
        policy.score(engine(table.filter(pc.less(table["step"], 5))))


@pytest.mark.parametrize("name", HERE)
def test_the_stages_of_an_engine_are_told(name, capsys):
    recorder = Recorder()
    policy = MarkovPolicyEstimator(verbose=1).set_callbacks(recorder)
    policy.fit(ENGINES[name](draw(flags=True)))
    stages = ["counting the rows", "grouping the rows", "listing the episodes"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == [f"MarkovPolicyEstimator: {stage}" for stage in stages]
    assert len(printed) == 3 + policy.n_iter_
    told = [what for what in recorder.told if what[1] not in ("fit", "iteration")]
    assert told == [(when, stage) for stage in stages for when in ("begin", "end")]
    assert recorder.told[:2] == [("setup", "fit"), ("begin", "fit")]
    assert recorder.told[-2:] == [("end", "fit"), ("teardown", "fit")]


def test_a_batch_that_counts_nothing_is_over_as_well():
    recorder = Recorder()
    empty = polars_lazy(draw(flags=True).slice(0, 0))
    MarkovPolicyEstimator().set_callbacks(recorder).partial_fit(empty)
    assert recorder.told[-2:] == [("end", "fit"), ("teardown", "fit")]


@drawn_at_random
@pytest.mark.filterwarnings("ignore:min_count=:UserWarning")
@hypothesis.given(logs())
def test_any_table_is_read_as_in_memory(drawn):
    """Ragged episodes, weights of zero, flags, odd labels: the same policy, or the same refusal."""
    rows, infer, has = drawn
    absent = ["next_state"] * infer + [flag for flag, there in has.items() if not there]
    kept = [name for name in rows[0] if name not in absent]
    table = pl.DataFrame({name: [row[name] for row in rows] for name in kept})
    if not infer and table["next_state"].dtype == pl.Null:
        table = table.with_columns(pl.col("next_state").cast(table["state"].dtype))
    fits = []
    for X in (table, table.lazy()):
        try:
            fits.append(MarkovPolicyEstimator(pessimism=0.1).fit(X, sample_weight="weight"))
        except ValueError as error:
            fits.append(str(error)[:40])
    eager, lazy = fits
    if isinstance(eager, str):
        assert lazy == eager
    else:
        same(lazy, eager)


def test_what_is_forbidden_is_not_advised(engine):
    eager = MarkovPolicyEstimator(forbidden=pa.table({"action": [1]})).fit(GIVEN)
    lazy = MarkovPolicyEstimator(forbidden=pa.table({"action": [1]})).fit(engine(GIVEN))
    same(lazy, eager)
    assert 1 not in lazy.policy_map().values()


def test_warnings_name_the_line_of_the_user():
    odd = given().rename_columns(["state", "action", "next_state", "reward"])
    odd = with_column(odd, "Terminated", [False] * len(odd))
    steps = draw().drop_columns(["step"])
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(steps)
    for call in (
        lambda: MarkovPolicyEstimator().fit(polars_lazy(odd)),
        lambda: MarkovPolicyEstimator().partial_fit(polars_lazy(odd)),
        lambda: policy.score(polars_lazy(steps)),
        lambda: evaluate_policy(policy, polars_lazy(steps)),
    ):
        with pytest.warns(UserWarning, match=r"\w") as told:
            call()
        assert {one.filename for one in told} == {__file__}


def test_narwhals_may_be_too_old_for_an_engine(monkeypatch):
    def refuse(*_, **__):
        raise ModuleNotFoundError("No module named 'duckdb.typing'")

    table = polars_lazy(GIVEN)
    monkeypatch.setattr(nw, "from_native", refuse)
    for call in (MarkovPolicyEstimator().fit, POLICY.predict):
        with pytest.raises(ImportError, match=r"duckdb.typing.*pip install --upgrade narwhals"):
            call(table)


def test_what_an_engine_cannot_do_is_told_as_its_failure():
    """Tables of Arrow that narwhals makes lazy have no window functions."""
    lazy = nw.from_native(INFERRED).lazy()
    with pytest.raises(RuntimeError, match="pyarrow failed while writing the query: NotImpl"):
        MarkovPolicyEstimator().fit(lazy)
    same(MarkovPolicyEstimator().fit(nw.from_native(GIVEN).lazy()), POLICY)


# Old versions of narwhals tell but minutes and parts of one of DuckDB's spans.
MEASURES = {"polars": True, "duckdb": int(narwhals.__version__.split(".")[1]) >= 28, "ibis": False}


@drawn_at_random
@pytest.mark.parametrize("name", [name for name, measures in MEASURES.items() if measures])
@pytest.mark.parametrize("unit", [None, "hour"])
def test_spans_of_time_are_numbers_of_a_unit(name, unit):
    table = timed(draw(flags=True))
    spans = [datetime.timedelta(days=days) for days in table["duration"].to_pylist()]
    table = with_column(table, "duration", spans, pa.duration("us"))
    eager, lazy = (
        MarkovPolicyEstimator(duration_unit=unit, pessimism=0.1, gamma=0.99).fit(X)
        for X in (table, ENGINES[name](table))
    )
    same(lazy, eager)
    assert lazy.__skmdp_policy__().evidence.discounting.unit == (unit or "day")


@pytest.mark.parametrize("name", [name for name, measures in MEASURES.items() if not measures])
def test_spans_that_an_engine_does_not_measure_are_refused(name):
    table = with_column(
        GIVEN, "duration", [datetime.timedelta(days=1)] * len(GIVEN), pa.duration("us")
    )
    with pytest.raises(TypeError, match=r"'duration' must hold numbers.*number of seconds or days"):
        MarkovPolicyEstimator().fit(ENGINES[name](table))


def test_local_times_tell_no_durations():
    """An hour comes twice when clocks are put back."""
    table = steps_of(
        lambda step: NOON + step * datetime.timedelta(hours=7), pa.timestamp("us", "Europe/Berlin")
    )
    with pytest.raises(TypeError, match=r"takes differences of steps.*Make it a time in UTC"):
        MarkovPolicyEstimator(duration="step").fit(polars_lazy(table))


def test_small_steps_may_lie_far_apart(engine):
    """Their difference is larger than their type holds."""
    n = 60
    table = pa.table(
        {
            "episode": np.arange(n) // 2,
            "step": pa.array(np.tile([-100, 100], n // 2), pa.int8()),
            "state": np.arange(n) % 6,
            "action": np.arange(n) % 3,
            "reward": np.linspace(0, 1, n),
        }
    )
    roles = {"duration": "step", "terminated": None, "gamma": 0.99}
    lazy = MarkovPolicyEstimator(**roles).fit(engine(table))
    assert lazy.discount_ == pytest.approx(0.99**200)
    same(lazy, MarkovPolicyEstimator(**roles).fit(table))


def test_instants_are_counted_as_the_calendar_does(engine):
    """Leap years and centuries included: durations are those of numpy."""
    days = np.array(["0004-02-28", "1900-02-28", "1970-01-01", "1999-12-31", "2000-02-29"], "M8[D]")
    times = days.repeat(2) + np.tile([np.timedelta64(0, "D"), np.timedelta64(400, "D")], 5)
    frame = nw.from_native(engine(pa.table({"day": pa.array(times.astype("M8[us]"))})))
    counted = frame.select(t=ticks("day", frame.collect_schema()["day"])).collect()
    found = np.sort(np.array(counted["t"].to_list()))
    expected = np.sort(times.astype("M8[us]")).astype(np.int64)
    assert_array_equal(found - found[0], expected - expected[0])

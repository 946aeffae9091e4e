"""A policy that is handed on answers as it did, in a database and without its log."""

import datetime
import json
import re
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from engines import duckdb_connection
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OrdinalEncoder

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import load_climb
from skmdp.ensemble import PolicyBagging
from skmdp.export import PolicyCard, from_json, to_json, to_rules, to_sql
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder

# Labels that may go into a table of a database as they are.
COLUMNS = {
    "int": st.integers(-(2**62), 2**62),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=64).map(lambda x: x + 0.0),
    "str": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
    "bool": st.booleans(),
    "date": st.dates(datetime.date(1700, 1, 1), datetime.date(2200, 1, 1)),
    "datetime": st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
}
NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=5
)


@st.composite
def logs(draw):
    """A log of one-step decisions, its state columns, and states to ask about."""
    names = draw(
        st.lists(NAMES, min_size=1, max_size=3, unique_by=lambda name: name.casefold()).filter(
            lambda names: not {"action", "reward"} & {name.casefold() for name in names}
        )
    )
    n = draw(st.integers(1, 8))
    columns = {}
    for name in names:
        values = COLUMNS[draw(st.sampled_from(sorted(COLUMNS)))]
        pool = draw(st.lists(values, min_size=1, max_size=3))
        columns[name] = draw(st.lists(st.sampled_from(pool), min_size=n + 4, max_size=n + 4))
    kind = draw(st.sampled_from(["int", "str", "bool"]))
    actions = draw(st.lists(COLUMNS[kind], min_size=1, max_size=3))
    states = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    log = states.iloc[:n].assign(
        action=draw(st.lists(st.sampled_from(actions), min_size=n, max_size=n))
    )
    log["reward"] = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=n, max_size=n))
    nexts = [f"next of {name}" for name in names]
    return log.assign(**dict.fromkeys(nexts)), names, nexts, states


def in_duckdb(expression, states):
    """Return what an expression answers for a table of states."""
    database = duckdb_connection()
    database.register("states", states.assign(**{"the row": range(len(states))}))
    found = database.sql(f'SELECT {expression} AS advice FROM states ORDER BY "the row"')
    return [row[0] for row in found.fetchall()]


@given(logs(), st.sampled_from(["most_frequent", "error"]))
@settings(deadline=None)
def test_cards_and_databases_answer_as_the_policy_did(drawn, handle_unknown):
    log, names, nexts, states = drawn
    policy = MarkovPolicyEstimator(
        state=names,
        next_state=nexts,
        episode=None,
        step=None,
        terminated=None,
        truncated=None,
        duration=None,
        handle_unknown=handle_unknown,
    ).fit(log)
    if handle_unknown == "error":
        states = states.iloc[: len(log)]
    card = from_json(to_json(policy))
    answers = policy.predict(states)
    assert_array_equal(card.predict(states), answers)
    assert card.predict(states).dtype == answers.dtype
    assert in_duckdb(to_sql(policy), states) == answers.tolist()
    assert to_json(card) == to_json(policy)
    assert to_sql(card) == to_sql(policy)
    assert to_rules(card) == to_rules(policy)


# -------------------------------------------------------------------------------------- pipelines


def raw_log(n=500, seed=0):
    rng = np.random.default_rng(seed)
    log = pd.DataFrame({"heat": rng.uniform(0, 90, n), "load": rng.normal(size=n)})
    log["stage"] = rng.choice(["I", "II", "it's"], n)
    log["action"] = rng.choice(["run", "stop", "slow"], n)
    log["reward"] = rng.normal(size=n) + 4 * (log["heat"] > 40) * (log["action"] == "stop")
    log["reward"] += 3 * (log["stage"] == "I") * (log["action"] == "run")
    return log.assign(next_heat=np.nan, next_load=np.nan, next_stage=None, episode=np.arange(n))


RAW = raw_log()
ASKED = pd.concat([raw_log(200, seed=1), RAW.head(50)], ignore_index=True)[
    ["heat", "load", "stage"]
]
BINS = StateEncoder(state=["heat", "load"], n_states=9)
ENCODED = {
    "bins": (make_pipeline(BINS, MarkovPolicyEstimator(state=["heat", "load"])), RAW),
    "one bin column beside labels": (
        make_pipeline(
            StateEncoder(
                KBinsDiscretizer(5, encode="ordinal", quantile_method="linear"), state="heat"
            ),
            MarkovPolicyEstimator(state=["stage", "heat"]),
        ),
        RAW,
    ),
    "labels": (
        make_pipeline(
            StateEncoder(OrdinalEncoder(), state="stage", n_states=None),
            MarkovPolicyEstimator(state="stage"),
        ),
        RAW,
    ),
    "two encoders": (
        make_pipeline(
            StateEncoder(state="heat", n_states=3),
            StateEncoder(OrdinalEncoder(), state="stage", n_states=None),
            MarkovPolicyEstimator(state=["heat", "stage"]),
        ),
        RAW,
    ),
    "shifted bins": (
        make_pipeline(
            StateEncoder(state=["heat", "load"], n_states=9, shift_bins=True, random_state=0),
            MarkovPolicyEstimator(state=["heat", "load"], min_count=5),
        ),
        RAW,
    ),
    "search": (
        GridSearchCV(
            make_pipeline(BINS, MarkovPolicyEstimator(state=["heat", "load"])),
            {"stateencoder__n_states": [4, 9]},
            cv=EpisodeKFold(2),
        ),
        RAW,
    ),
    "ensemble behind an encoder": (
        make_pipeline(
            BINS,
            PolicyBagging(
                MarkovPolicyEstimator(state=["heat", "load"]), 3, bootstrap=True, random_state=0
            ),
        ),
        RAW,
    ),
}


@pytest.mark.filterwarnings("ignore:X lacks:UserWarning")
@pytest.mark.parametrize("case", ENCODED)
def test_bins_and_codes_are_conditions_on_what_was_measured(case):
    policy, log = ENCODED[case]
    policy = policy.fit(log)
    answers = policy.predict(ASKED)
    assert len(set(answers)) > 1
    assert_array_equal(from_json(to_json(policy)).predict(ASKED), answers)
    assert in_duckdb(to_sql(policy), ASKED) == answers.tolist()


def test_a_policy_chosen_by_cross_validation_is_written_like_any_other():
    log = pd.concat(
        [load_climb().assign(episode=4 * i + load_climb()["episode"]) for i in range(9)]
    )
    policy = MarkovPolicyCV(cv=3).fit(log)
    states = policy.states_
    assert_array_equal(from_json(to_json(policy)).predict(states), policy.predict(states))
    assert in_duckdb(to_sql(policy), pd.DataFrame({"state": states})) == policy.policy_.tolist()


def test_a_number_on_a_border_belongs_to_the_range_above_it():
    policy = ENCODED["bins"][0].fit(RAW)
    edges = policy[0].transformer_.bin_edges_
    asked = pd.DataFrame({"heat": edges[0], "load": edges[1]})
    below = pd.DataFrame(np.nextafter(asked.to_numpy(), -np.inf), columns=list(asked))
    for states in (asked, below):
        answers = policy.predict(states)
        assert_array_equal(from_json(to_json(policy)).predict(states), answers)
        assert in_duckdb(to_sql(policy), states) == answers.tolist()


@pytest.mark.parametrize(
    "imputer",
    [SimpleImputer(strategy="median"), SimpleImputer(strategy="constant", fill_value=1.0)],
)
def test_missing_numbers_are_filled_in_as_the_imputer_does(imputer):
    log = RAW.assign(heat=RAW["heat"].where(RAW.index % 7 > 0))
    encoder = StateEncoder(
        make_pipeline(
            imputer,
            KBinsDiscretizer(4, encode="ordinal", quantile_method="linear"),
        ),
        state=["heat", "load"],
    )
    policy = make_pipeline(encoder, MarkovPolicyEstimator(state=["heat", "load"])).fit(log)
    asked = ASKED.assign(heat=ASKED["heat"].where(ASKED.index % 5 > 0))
    answers = policy.predict(asked)
    assert_array_equal(from_json(to_json(policy)).predict(asked), answers)
    as_null = asked.astype({"heat": "Float64"})
    assert in_duckdb(to_sql(policy), as_null) == answers.tolist()
    bare = from_json(to_json(ENCODED["bins"][0].fit(RAW)))
    with pytest.raises(ValueError, match="Column 'heat' contains NaN"):
        bare.predict(asked)


@pytest.mark.parametrize(
    "encoder",
    [
        OrdinalEncoder(encoded_missing_value=3),
        OrdinalEncoder(encoded_missing_value=-5),
    ],
)
def test_a_missing_label_cannot_be_written(encoder):
    log = RAW.assign(stage=RAW["stage"].where(RAW.index % 9 > 0))
    policy = make_pipeline(
        StateEncoder(encoder, state="stage", n_states=None), MarkovPolicyEstimator(state="stage")
    ).fit(log)
    with pytest.raises(TypeError, match="codes of no label"):
        to_json(policy)


CLUSTERS = make_pipeline(
    StateEncoder(KMeans(3, random_state=0), state=["heat", "load"]), MarkovPolicyEstimator()
)
REFUSED = {
    "clusters": (CLUSTERS, "KMeans makes states in another way"),
    "another transformer": (
        make_pipeline(FunctionTransformer(), MarkovPolicyEstimator(state="stage")),
        "no StateEncoder that was fitted on a table",
    ),
    "one encoder after another": (
        make_pipeline(
            StateEncoder(state="heat", n_states=9),
            StateEncoder(state="heat", n_states=3),
            MarkovPolicyEstimator(state="heat"),
        ),
        "takes what another encoder made",
    ),
    "a scaler before bins": (
        make_pipeline(
            StateEncoder(
                make_pipeline(
                    FunctionTransformer(),
                    KBinsDiscretizer(3, encode="ordinal", quantile_method="linear"),
                ),
                state="heat",
            ),
            MarkovPolicyEstimator(state="heat"),
        ),
        "makes states in another way",
    ),
}


@pytest.mark.parametrize("write", [to_json, to_sql, to_rules])
@pytest.mark.parametrize("case", REFUSED)
def test_states_made_of_several_measurements_are_refused(case, write):
    policy, words = REFUSED[case]
    with pytest.raises(TypeError, match=words) as error:
        write(policy.fit(RAW))
    assert len(str(error.value)) <= 500


# ---------------------------------------------------------------------------------------- unknown


def test_unknown_states_are_answered_as_the_policy_does():
    log = load_climb()
    for handle_unknown in ("warn", "most_frequent", "error"):
        policy = MarkovPolicyEstimator(handle_unknown=handle_unknown).fit(log)
        card = from_json(to_json(policy))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if handle_unknown == "error":
                with pytest.raises(ValueError, match=r"1 state\(s\) were not seen in fit"):
                    card.predict(["low", "nowhere"])
            else:
                assert card.predict(["low", "nowhere"]).tolist() == ["climb", "climb"]
        assert len(caught) == (handle_unknown == "warn")
    assert in_duckdb(to_sql(policy), pd.DataFrame({"state": ["low", "nowhere", None]})) == [
        "climb",
        None,
        None,
    ]
    with pytest.raises(ValueError, match="set_params"):
        to_sql(MarkovPolicyEstimator(handle_unknown="nearest").fit([[1], [2]], ["x", "y"]))


@pytest.mark.parametrize("n_columns", [1, 2])
def test_what_is_forbidden_is_not_answered_in_unknown_states(n_columns):
    """The most logged action is forbidden in a house that the log does not know."""
    log = pd.DataFrame(
        {
            "house": ["a", "a", "b", "b", "b"],
            "room": [1, 2, 1, 2, 2],
            "action": ["x", "y", "x", "x", "y"],
            "next_house": None,
            "next_room": None,
            "reward": [1.0, 2.0, 0.0, 1.0, 3.0],
        }
    )
    rule = pd.DataFrame({"house": ["a", "new", "b"], "room": [2, 7, 9], "action": ["x", "x", "y"]})
    rule = rule[["house", "room", "action"][2 - n_columns :]] if n_columns == 1 else rule
    policy = MarkovPolicyEstimator(
        state=["house", "room"], forbidden=rule, handle_unknown="most_frequent"
    ).fit(log)
    asked = pd.DataFrame({"house": ["new", "new", "a", "b", "a", "b"], "room": [7, 1, 2, 9, 9, 1]})
    answers = policy.predict(asked)
    assert "y" in answers[:4]
    assert_array_equal(from_json(to_json(policy)).predict(asked), answers)
    assert in_duckdb(to_sql(policy), asked) == answers.tolist()


def test_where_all_is_forbidden_nothing_is_answered():
    log = pd.DataFrame(
        {"state": ["a", "a"], "action": ["x", "y"], "next_state": None, "reward": 0.0}
    )
    rule = pd.DataFrame({"state": ["new", "new"], "action": ["x", "y"]})
    policy = MarkovPolicyEstimator(forbidden=rule, handle_unknown="most_frequent").fit(log)
    card = from_json(to_json(policy))
    with pytest.raises(ValueError, match=r"every action is forbidden"):
        card.predict(["a", "new"])
    assert in_duckdb(to_sql(policy), pd.DataFrame({"state": ["a", "new"]})) == ["x", None]
    assert "if state is 'new': no action" in to_rules(policy)


@pytest.mark.parametrize(
    "rule",
    [
        pd.DataFrame({"action": ["sink"]}),
        pd.DataFrame({"state": ["low"], "action": ["sink"]}),
    ],
)
def test_rules_that_leave_the_default_add_none(rule):
    policy = MarkovPolicyEstimator(forbidden=rule).fit(load_climb())
    card = from_json(to_json(policy))
    assert len(card.rules) == 1
    assert_array_equal(card.predict(policy.states_), policy.policy_)


# -------------------------------------------------------------------------------- forms and kinds


def test_ensembles_are_asked_together():
    states = ["low", "mid", "high", "top", "bottom"]
    for handle_unknown, asked in (("most_frequent", [*states, "new"]), ("error", states)):
        single = MarkovPolicyEstimator(handle_unknown=handle_unknown)
        log = load_climb()
        if handle_unknown == "error":  # each member then knows all states
            log = pd.concat([log.assign(episode=4 * i + log["episode"]) for i in range(40)])
        policies = PolicyBagging(single, 5, bootstrap=True, random_state=0).fit(log)
        card = from_json(to_json(policies))
        assert_array_equal(card.predict(asked), policies.predict(asked))
        assert card.provenance["n_members"] == 5


def test_ensembles_that_cannot_be_written_are_refused():
    pipes = PolicyBagging(ENCODED["bins"][0], 2, random_state=0).fit(RAW)
    with pytest.raises(TypeError, match="make states of their own"):
        to_sql(pipes)
    rule = pd.DataFrame({"state": ["low"], "action": ["sink"]})
    ruled = PolicyBagging(MarkovPolicyEstimator(forbidden=rule), 2, bootstrap=True, random_state=0)
    ruled.fit(load_climb())
    with pytest.raises(ValueError, match="an ensemble answers in unknown states"):
        to_sql(ruled)


@pytest.mark.parametrize(
    "labels",
    [
        pd.to_datetime(["2024-01-01 10:00", "2024-06-01 10:00"]).tz_localize("Europe/Berlin"),
        pd.to_timedelta(["1 days", "1 days 00:00:00.5"]),
        pd.DatetimeIndex([pd.Timestamp("2024-01-01"), pd.Timestamp("2024-06-01 00:00:00.123456")]),
    ],
)
def test_times_are_written_in_full(labels):
    log = pd.DataFrame({"state": labels, "action": labels[::-1], "episode": [0, 1], "reward": 1.0})
    policy = MarkovPolicyEstimator().fit(log)
    card = from_json(to_json(policy, indent=2))
    assert_array_equal(card.predict(labels), policy.predict(labels))
    if labels.dtype.kind == "m":
        with pytest.raises(TypeError, match="SQL has no words for labels of kind 'timedelta'"):
            to_sql(policy)
    elif getattr(labels, "tz", None) is None:
        assert in_duckdb(to_sql(policy), log[["state"]]) == policy.predict(labels).tolist()
    else:
        assert "TIMESTAMP WITH TIME ZONE '2024-01-01 09:00:00+00:00'" in to_sql(policy)


def test_labels_of_other_kinds_are_refused():
    log = pd.DataFrame(
        {"state": [Decimal("1.5")], "action": ["x"], "next_state": None, "reward": 0.0}
    )
    policy = MarkovPolicyEstimator().fit(log)
    with pytest.raises(TypeError, match="JSON cannot hold labels of kind 'decimal'"):
        to_json(policy)
    with pytest.raises(TypeError, match="SQL has no words for labels of kind 'decimal'"):
        to_sql(policy)
    nul = MarkovPolicyEstimator().fit(log.assign(state="a\0b"))
    with pytest.raises(ValueError, match="the character NUL"):
        to_sql(nul)
    assert from_json(to_json(nul)).predict(["a\0b"]).tolist() == ["x"]


@pytest.mark.parametrize("evil", ["'; DROP TABLE states; --", '"', "''", "\\'", "a\nb"])
def test_no_text_breaks_out_of_its_place(evil):
    log = pd.DataFrame({evil: [evil, "b"], "action": [evil, "x"], "next": None, "reward": 0.0})
    policy = MarkovPolicyEstimator(state=evil, next_state="next").fit(log)
    states = log[[evil]]
    assert in_duckdb(to_sql(policy), states) == policy.predict(states).tolist()


def test_states_are_read_in_every_form():
    log = pd.DataFrame({"a": [1, 1, 2], "b": ["u", "v", "u"], "action": [0, 1, 1], "next_a": None})
    log = log.assign(next_b=None, reward=0.0)
    policy = MarkovPolicyEstimator(state=["a", "b"]).fit(log)
    card = from_json(to_json(policy))
    expected = policy.predict(log)
    for states in (
        log,
        log[["b", "a"]],
        log[["a", "b"]].to_numpy(),
        log[["a", "b"]].to_numpy().tolist(),
    ):
        assert_array_equal(card.predict(states), expected)
    features = MarkovPolicyEstimator().fit([[0, 5], [1, 6]], ["x", "y"])
    assert from_json(to_json(features)).predict(np.array([[1, 6], [0, 5]])).tolist() == ["y", "x"]
    with pytest.raises(ValueError, match=r"X has 1 column\(s\), but a state has 2"):
        card.predict([1, 2])
    with pytest.raises(ValueError, match="no column 'b'"):
        card.predict(log[["a"]])
    with pytest.raises(TypeError, match="one row"):
        card.predict({"a": 1, "b": "u"})
    with pytest.raises(TypeError, match="cannot be matched"):
        card.predict(log.assign(a="1"))


def test_a_pipeline_on_features_has_no_names():
    bins = KBinsDiscretizer(2, encode="ordinal", quantile_method="linear")
    pipe = make_pipeline(bins, MarkovPolicyEstimator()).fit([[0.0], [9.0]], [0, 1])
    with pytest.raises(TypeError, match="fitted on features and actions"):
        to_json(pipe)


# ------------------------------------------------------------------------------------- JSON, rules


def test_a_card_tells_where_it_comes_from():
    policy = MarkovPolicyEstimator(gamma=0.8).fit(load_climb())
    written = json.loads(to_json(policy))
    assert written["provenance"] == {
        "skmdp": policy.__getstate__()["_skmdp_version"],
        "discount": 0.8,
        "n_transitions": policy.n_transitions_,
        "n_episodes": 4,
    }
    card = from_json(to_json(policy))
    assert isinstance(card, PolicyCard)
    assert repr(card) == "PolicyCard of 5 rules on state, 2 actions"


def test_what_is_no_card_is_refused():
    with pytest.raises(TypeError, match="reads the text"):
        from_json({"format": "skmdp policy card"})
    with pytest.raises(ValueError, match="This is no JSON"):
        from_json("{")
    for text in ("[]", "{}", '{"format": "other"}'):
        with pytest.raises(ValueError, match="holds no policy"):
            from_json(text)
    later = to_json(MarkovPolicyEstimator().fit(load_climb())).replace(
        '"version": 1', '"version": 2'
    )
    with pytest.raises(ValueError, match="Install a newer skmdp"):
        from_json(later)


@pytest.mark.parametrize("write", [to_json, to_sql, to_rules])
def test_what_is_no_fitted_policy_is_refused(write):
    with pytest.raises(NotFittedError):
        write(MarkovPolicyEstimator())
    with pytest.raises(NotFittedError):
        write(PolicyBagging(MarkovPolicyEstimator()))
    with pytest.raises(TypeError, match="policy must be"):
        write("policy")


def test_ranges_that_lie_together_are_one_rule():
    heat = np.linspace(0, 100, 400)
    log = pd.DataFrame({"heat": heat, "next_heat": np.nan, "action": np.resize([0, 1], 400)})
    log["reward"] = np.where((log["action"] == 1) == ((heat > 25) & (heat < 75)), 1.0, 0.0)
    encoder = StateEncoder(KBinsDiscretizer(8, encode="ordinal", strategy="uniform"), state="heat")
    policy = make_pipeline(
        encoder, MarkovPolicyEstimator(state="heat", handle_unknown="error")
    ).fit(log)
    assert to_rules(policy).split("\n") == [
        "if heat < 25: 0",
        "if heat >= 75: 0",
        "if 25 <= heat < 75: 1",
        "otherwise: no action",
    ]
    always = make_pipeline(encoder, MarkovPolicyEstimator(state="heat")).fit(log.assign(action=1))
    assert to_rules(always) == "always: 1\notherwise: 1"
    assert re.sub(r"\s+", " ", to_sql(always)) == "CASE WHEN TRUE THEN 1 ELSE 1 END"


def test_ranges_apart_by_one_are_two_rules():
    log = pd.DataFrame({"heat": np.linspace(0, 90, 400), "next_heat": np.nan})
    log["action"] = np.resize([0, 1], 400)
    inside = (log["heat"] > 30) & (log["heat"] < 60)
    log["reward"] = np.where((log["action"] == 1) == inside, 1.0, 0.0)
    encoder = StateEncoder(KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), state="heat")
    policy = make_pipeline(encoder, MarkovPolicyEstimator(state="heat")).fit(log)
    assert to_rules(policy).split("\n")[:2] == ["if heat < 30: 0", "if heat >= 60: 0"]
    assert '"heat" >= 30.0e0' in to_sql(policy)  # a double, not a decimal


def test_states_that_are_only_reached_take_no_rule():
    log = pd.DataFrame({"state": ["a"], "action": ["x"], "next_state": ["end"], "reward": 1.0})
    card = from_json(to_json(MarkovPolicyEstimator(handle_unknown="most_frequent").fit(log)))
    assert len(card.rules[0].actions) == 1
    strict = from_json(to_json(MarkovPolicyEstimator(handle_unknown="error").fit(log)))
    assert strict.predict(["a", "end"]).tolist() == ["x", "x"]


def test_rules_of_states_come_before_those_of_unknown_ones():
    log = pd.DataFrame(
        {
            "house": ["a", "a", "b", "b", "b", "b", "b"],
            "room": [1, 1, 1, 1, 1, 1, 1],
            "action": ["y", "z", "x", "x", "x", "y", "y"],
            "next_house": None,
            "next_room": None,
            "reward": [1.0, 2.0, 0.0, 1.0, 3.0, 0.0, 0.0],
        }
    )
    rule = pd.DataFrame({"house": ["a"], "action": ["x"]})
    policy = MarkovPolicyEstimator(
        state=["house", "room"], forbidden=rule, handle_unknown="most_frequent"
    ).fit(log)
    asked = pd.DataFrame({"house": ["a", "a", "b"], "room": [1, 9, 9]})
    assert policy.predict(asked).tolist() == ["z", "y", "x"]
    assert from_json(to_json(policy)).predict(asked).tolist() == ["z", "y", "x"]
    assert in_duckdb(to_sql(policy), asked) == ["z", "y", "x"]


def test_members_that_disagree_on_unknown_states_answer_the_lowest_label():
    log = pd.DataFrame(
        {
            "state": 0,
            "action": ["x", "y"] * 3,
            "next_state": None,
            "episode": range(6),
            "reward": 0.0,
        }
    )
    single, found = MarkovPolicyEstimator(handle_unknown="most_frequent"), set()
    for seed in range(8):
        policies = PolicyBagging(single, 2, bootstrap=True, random_state=seed).fit(log)
        found.add(tuple(sorted({member.default_action_ for member in policies.estimators_})))
        answer = policies.predict([7]).tolist()
        assert from_json(to_json(policies)).predict([7]).tolist() == answer
    assert ("x", "y") in found


@pytest.mark.parametrize("write", [to_json, to_sql])
def test_nanoseconds_are_not_cut_off(write):
    """Two labels that differ by one would become the same."""
    times = pd.to_datetime(["2020-01-01 00:00:00.123456789", "2020-01-01 00:00:00.123456788"])
    table = pd.DataFrame(
        {"state": times, "action": ["x", "y"], "reward": 1.0, "next_state": pd.NaT}
    )
    policy = MarkovPolicyEstimator().fit(table)
    with pytest.raises(TypeError, match="holds nanoseconds, which would be cut off"):
        write(policy)

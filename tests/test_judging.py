"""Policies of every kind on raw measurements: one footing, what is concluded, what is refused."""

import itertools
import pickle
import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import (
    compare_policies,
    evaluate_policy,
    judge_encodings,
    policy_scorer,
)
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder

DISAGREE = pytest.mark.filterwarnings("ignore:Methods disagree:UserWarning")

OUTLASTING = pytest.mark.filterwarnings("ignore:.*would last longer than any:UserWarning")


def pumps(seed, *, n=60, months=12, decide=None):
    """A log of pumps: running worn is dear when it is hot, a service sets wear to 0."""
    rng = np.random.default_rng(seed)
    wear, heat = rng.uniform(size=n), rng.uniform(size=n)
    rows = []
    for month in range(months):
        now = pd.DataFrame({"wear": wear, "heat": heat})
        action = np.where(rng.random(n) < 0.4, "service", "run") if decide is None else decide(now)
        paid = np.where(action == "service", -1.0, np.where(wear + heat > 1.2, -6.0, 1.0))
        wear = np.where(action == "service", 0.0, np.minimum(wear + 0.3 * rng.random(n), 1.0))
        heat = np.clip(heat + rng.normal(0, 0.1, n), 0, 1)
        rows.append(
            now.assign(episode=range(n), step=month, action=action, reward=paid).assign(
                next_wear=wear, next_heat=heat
            )
        )
    return pd.concat(rows, ignore_index=True)


TRAIN, TEST = pumps(0), pumps(1)


def pipeline(*columns, n_states=9, **options):
    columns = list(columns)
    return make_pipeline(
        StateEncoder(state=columns, n_states=n_states, **options),
        MarkovPolicyEstimator(state=columns, min_count=5, handle_unknown="most_frequent"),
    )


CLUSTERS = make_pipeline(
    StateEncoder(KMeans(8, n_init=1, random_state=0), state=["wear", "heat"]),
    MarkovPolicyEstimator(min_count=5, handle_unknown="most_frequent"),
).fit(TRAIN)
BINS = pipeline("wear", "heat").fit(TRAIN)
COARSE = pipeline("heat", n_states=2).fit(TRAIN)
QUARTERS = pipeline("heat", n_states=4).fit(TRAIN)
BAGGED = PolicyBagging(pipeline("wear", "heat", shift_bins=True), 3, random_state=0).fit(TRAIN)
SEARCH = GridSearchCV(
    pipeline("wear", "heat"), {"stateencoder__n_states": [4, 9]}, cv=EpisodeKFold(2)
)


def rule(states):
    return np.where(states["wear"] + states["heat"] > 1, "service", "run")


def fqe(policy, X=TEST, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Of the policy's decisions", UserWarning)
        return evaluate_policy(policy, X, methods="fqe", **options)


def value(policy, X=TEST, **options):
    return fqe(policy, X, **options).to_frame()["value"][0]


# -------------------------------------------------------------------------------------- every kind


def test_every_form_of_a_rule_is_worth_the_same():
    states = TRAIN[["wear", "heat"]]
    tree = DecisionTreeClassifier().fit(states, rule(states))

    class WithPredict:
        def predict(self, X):
            return tree.predict(X[["wear", "heat"]])

    class WithProbabilities:
        classes_ = tree.classes_

        def predict_proba(self, X):
            return tree.predict_proba(X[["wear", "heat"]])

    forms = [tree, WithPredict(), WithProbabilities(), lambda X: tree.predict(X[["wear", "heat"]])]
    assert_allclose([value(form) for form in forms], value(tree), rtol=1e-12)


@DISAGREE
def test_every_wrapping_of_a_pipeline_is_worth_the_same():
    search = SEARCH.fit(TRAIN)
    best = search.best_estimator_
    for wrapped in (search, FrozenEstimator(best), make_pipeline(best[:-1], best[-1])):
        found, expected = (evaluate_policy(one, TEST).to_frame() for one in (wrapped, best))
        pd.testing.assert_frame_equal(found, expected)


def test_policies_by_probability():
    def either(states):
        return pd.DataFrame({"run": 0.25, "service": 0.75}, index=states.index)

    run, service = value("run", horizon=1), value("service", horizon=1)
    assert value(either, horizon=1) == pytest.approx(0.25 * run + 0.75 * service)
    surely = value(lambda X: pd.DataFrame({"service": 0.0, "run": 1.0}, index=X.index))
    assert surely == pytest.approx(value("run"), rel=1e-12)


def test_labels_by_probability():
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {"state": rng.choice(["a", "b"], 400), "action": rng.choice(["x", "y"], 400)}
    )
    log = log.assign(reward=(log["action"] == "x") * 1.0, episode=range(400), terminated=True)
    table = pd.DataFrame({"x": [0.25, 1.0], "y": [0.75, 0.0]}, index=["a", "b"])
    nested = {state: row.to_dict() for state, row in table.iterrows()}
    expected = np.where(log["state"] == "a", 0.25, 1.0).mean()
    for policy in (table, nested, pd.Series(nested)):
        found = evaluate_policy(policy, log, methods=("dm", "fqe"), prior_strength=0.0).to_frame()
        assert_allclose(found["value"], expected, atol=1e-9)
    with pytest.raises(TypeError, match="probabilities in every state"):
        evaluate_policy({"a": {"x": 1.0}, "b": "x"}, log)
    with pytest.raises(ValueError, match=r"sum to 1 in every state; in row 1 .*\[0\.5, 0\.4\]"):
        evaluate_policy({"a": {"x": 1.0}, "b": {"x": 0.5, "y": 0.4}}, log)
    with pytest.raises(ValueError, match="answers 'z', an action that X never logs"):
        evaluate_policy({"a": {"z": 1.0}, "b": {"x": 1.0}}, log)


def test_tables_of_every_library_are_judged_alike():
    for policy in (BINS, BAGGED, rule):
        table = compare_policies({"one": policy}, pl.from_pandas(TEST), methods="fqe")
        assert_allclose(table["value"][0], value(policy), rtol=1e-12)


def test_names_beside_a_policy():
    renamed = TEST.rename(columns={"action": "what", "reward": "euro", "episode": "pump"})
    columns = {"action": "what", "reward": "euro", "episode": "pump"}
    for policy in (BINS, rule, "behavior"):
        assert value(policy, renamed, columns=columns) == value(policy)


# ------------------------------------------------------------------------------------- one footing


def test_a_policy_that_is_the_log_does_not_differ_from_it():
    log = TEST.assign(action="run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        policy = pipeline("wear", n_states=4).fit(TRAIN.assign(action="run"))
        for methods in ("fqe", "dm"):
            table = evaluate_policy(policy, log, methods=methods).to_frame()
            differences = table.filter(like="difference").to_numpy()
            assert_allclose(differences, 0.0, atol=1e-9)


def rotations(names):
    return [names[i:] + names[:i] for i in range(len(names))]


@pytest.mark.long
@DISAGREE
@pytest.mark.parametrize("methods", ["fqe", "dm", ("fqe", "dm")])
def test_a_comparison_is_every_policy_alone_in_every_order(methods):
    policies = {"bins": BINS, "clusters": CLUSTERS, "coarse": COARSE, "today": "behavior"}
    alone = {}
    for name, policy in policies.items():
        if policy != "behavior" or methods == "fqe":
            alone[name] = evaluate_policy(policy, TEST, methods=methods).to_frame()
    forth = list(policies)
    for order in itertools.chain(*(rotations(names) for names in (forth, forth[::-1]))):
        table = compare_policies({name: policies[name] for name in order}, TEST, methods=methods)
        for name, expected in alone.items():
            found = table[table["policy"] == name].reset_index(drop=True)
            shared = ["value", "standard_error", "lower", "upper", "thin_share"]
            pd.testing.assert_frame_equal(found[shared], expected[shared])
            if order[0] == "today":
                shared = ["difference", "difference_lower", "difference_upper"]
                pd.testing.assert_frame_equal(found[shared], expected[shared])
        first = table[table["policy"] == order[0]].filter(like="difference")
        assert_allclose(first, 0.0, atol=1e-12)


@DISAGREE
def test_differences_of_two_policies_are_opposite():
    for one, other in itertools.permutations([BINS, CLUSTERS, COARSE], 2):
        there, back = (
            compare_policies({"a": a, "b": b}, TEST, methods="fqe").iloc[1]
            for a, b in ((one, other), (other, one))
        )
        assert there["difference"] == pytest.approx(-back["difference"])
        assert there["difference_lower"] == pytest.approx(-back["difference_upper"])


def test_two_encoders_that_agree_do_not_differ():
    """Though each is judged in states of its own."""
    log = TRAIN.assign(kind=np.where(TRAIN["wear"] > 0.5, "worn", "new"))
    log["next_kind"] = np.where(log["next_wear"] > 0.5, "worn", "new")
    one, other = (
        make_pipeline(
            StateEncoder(OrdinalEncoder(categories=[order]), state="kind"),
            MarkovPolicyEstimator(state="kind"),
        ).fit(log)
        for order in (["worn", "new"], ["new", "worn"])
    )
    table = compare_policies({"one": one, "other": other}, log, methods=("fqe", "dm"))
    assert_allclose(table["difference"], 0.0, atol=1e-9)


@OUTLASTING
@DISAGREE
def test_the_horizon_is_the_same_for_all():
    horizons = {evaluate_policy(policy, TEST, methods="fqe").horizon for policy in (BINS, rule)}
    assert horizons == {12}
    cut = evaluate_policy(BINS, TEST, methods="dm")
    assert (cut.horizon, cut.cut_share) == (12, 1.0)
    ended = TEST.assign(terminated=TEST["step"] == 11)
    found = evaluate_policy(BINS, ended, methods=("fqe", "dm"))
    assert (found.horizon, found.cut_share) == (120, 0.0)


def test_rewards_shift_and_scale():
    one, two = (fqe(BINS, TEST.assign(reward=r)) for r in (TEST["reward"], 3 + 2 * TEST["reward"]))
    assert two.to_frame()["value"][0] == pytest.approx(36 + 2 * one.to_frame()["value"][0])
    ratio = two.to_frame()["standard_error"][0] / one.to_frame()["standard_error"][0]
    assert ratio == pytest.approx(2)
    sure = fqe(BINS, TEST.assign(reward=2.0)).to_frame()
    assert_allclose(sure[["value", "standard_error"]], [[24, 0]], atol=1e-9)


# --------------------------------------------------------------------------------------- the truth


def test_the_judge_sees_what_an_encoder_lumps():
    """Whether running is dear depends on wear and heat; the encoder knows one of them."""
    truth = {name: pumps(2, n=4000, decide=p.predict)["reward"].sum() / 4000
             for name, p in {"bins": BINS, "coarse": COARSE}.items()}  # fmt: skip
    test = pumps(3, n=400)
    for name, policy in {"bins": BINS, "coarse": COARSE}.items():
        row = fqe(policy, test).to_frame().iloc[0]
        assert abs(row["value"] - truth[name]) < 3 * row["standard_error"] + 0.5
    with pytest.warns(UserWarning, match="fqe says .* dm .* put together what has different"):
        result = evaluate_policy(COARSE, test)
    assert result.relevant_columns == ("heat", "wear")
    logged = test["reward"].sum() / 400
    assert result.behavior_value == pytest.approx(logged, abs=3 * result.behavior_standard_error)


def test_measurements_of_every_kind():
    """NaN, text, booleans, categories and dates tell as much as the numbers they stand for."""
    kinds = {
        "text": lambda worn: np.where(worn, "worn", "new"),
        "flag": lambda worn: worn,
        "category": lambda worn: pd.Categorical(np.where(worn, "worn", "new")),
        "date": lambda worn: pd.to_datetime(np.where(worn, "2020-02-01", "2020-01-01")),
        "gap": lambda worn: np.where(worn, np.nan, 1.0),
    }
    log_of_numbers = pumps(1, n=300)
    worn, later = (log_of_numbers[name].to_numpy() > 0.5 for name in ("wear", "next_wear"))
    asked = {}
    expected = None
    for kind, made in {"number": lambda worn: worn * 1.0, **kinds}.items():
        log = log_of_numbers.drop(columns=["wear", "next_wear"]).assign(
            what=made(worn), next_what=made(later)
        )

        def decide(states, kind=kind):
            asked[kind] = states["what"].dtype
            return np.where(states["heat"] > 0.5, "service", "run")

        found = value(decide, log)
        expected = found if expected is None else expected
        tolerance = 1e-9 if kind in ("number", "flag", "text", "category") else 0.2
        assert found == pytest.approx(expected, rel=tolerance)
    assert asked["flag"].kind == "b"
    assert asked["category"] == "category"


def test_next_states_may_follow_in_the_next_row():
    inferred = TEST.drop(columns=["next_wear", "next_heat"]).assign(terminated=False)
    columns = {"state": ["wear", "heat"]}
    given = TEST[TEST["step"] < 11]
    assert value(rule, inferred, columns=columns, horizon=5) == pytest.approx(
        value(rule, given, columns=columns, horizon=5)
    )


def test_support_is_told():
    """Nobody services where wear is high, so nobody knows what that brings."""
    rng = np.random.default_rng(0)
    is_kept = (TEST["action"] == "run") | (TEST["wear"] < 0.2) | (rng.random(len(TEST)) < 0.01)
    kept = TEST[is_kept]
    kept = kept[["episode", "wear", "heat", "action", "reward", "next_wear", "next_heat"]]
    with pytest.warns(UserWarning, match=r"decisions \d+% are taken less than 1 time in 20"):
        result = evaluate_policy(
            lambda X: np.where(X["wear"] > 0.2, "service", "run"), kept, methods="fqe"
        )
    assert result.unsupported_share > 0.1
    assert not result.is_better
    policies = {"early": lambda X: np.where(X["wear"] > 0.2, "service", "run"), "never": "run"}
    with pytest.warns(UserWarning, match="Of the decisions of 'early' more than 10% are taken"):
        compare_policies(policies, kept, methods="fqe")
    assert "cannot be told: the log has too little on" in repr(result)


# -------------------------------------------------------------------------------- what is concluded


@DISAGREE
def test_conclusions():
    better = evaluate_policy(BINS, pumps(1, n=300))
    assert better.is_better
    assert repr(better).endswith("(by fqe, 95%, chance alone).")
    assert "Better than the logged policy, by " in better.conclusion
    worse = fqe("run", pumps(1, n=300))
    assert not worse.is_better
    assert "Worse than the logged policy, by " in worse.conclusion
    same = fqe("behavior")
    assert not same.is_better
    assert "Not shown to be better" in same.conclusion
    assert pickle.loads(pickle.dumps(better)).conclusion == better.conclusion


def test_what_unsupported_decisions_may_cost_is_taken_off():
    """Some decisions are hardly ever logged: a small gain then proves nothing."""
    rng = np.random.default_rng(0)
    wear = rng.uniform(size=4000)
    action = np.where(rng.random(4000) < np.where(wear < 0.04, 0.01, 0.5), "a", "b")
    log = pd.DataFrame(
        {"wear": wear, "next_wear": np.nan, "action": action, "episode": range(4000)}
    )
    log["reward"] = np.where(action == "a", 0.1, 0.0) + rng.normal(size=4000)
    result = evaluate_policy("a", log, methods="fqe")
    assert 0.01 < result.unsupported_share < 0.1
    spread = log["reward"].std(ddof=0)
    assert result.unsupported_cost == pytest.approx(result.unsupported_share * spread)
    doubtful = replace(result, table=result.to_frame(), unsupported_cost=1.0)
    assert result.to_frame()["difference_lower"][0] < 1
    assert not doubtful.is_better
    if result.to_frame()["difference_lower"][0] > 0:
        assert re.search(r"may cost 1[.;]", doubtful.conclusion)  # a drift may cost more


def test_few_episodes_have_no_interval():
    few = TEST[TEST["episode"] < 19]
    with pytest.warns(UserWarning, match=r"19 episode\(s\), too few for an interval of 'fqe'"):
        result = evaluate_policy(rule, few, methods="fqe")
    assert result.to_frame().filter(regex="lower|upper|error").isna().all(axis=None)
    assert not result.is_better
    assert "no interval" in result.conclusion
    assert np.isfinite(fqe(rule, TEST[TEST["episode"] < 20]).to_frame()["lower"][0])


def test_thin_decisions_prove_nothing():
    rows = [(e, "a", "x" if e < 4 else "y", None, 5.0 * (e < 4)) for e in range(40)]
    log = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])
    result = evaluate_policy("x", log, methods="dm", prior_strength=0.0)
    assert result.to_frame()["difference_lower"][0] > 0
    assert result.thin_share == 1
    assert not result.is_better


# --------------------------------------------------------------------------------------- by default


@DISAGREE
def test_methods_by_default():
    def methods(policy, X=TEST):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return evaluate_policy(policy, X).to_frame()["method"].tolist()

    labels = TEST.assign(state=(TEST["wear"] > 0.5) * 1, next_state=(TEST["next_wear"] > 0.5) * 1)
    labels = labels[["episode", "state", "action", "next_state", "reward"]]
    assert methods(BINS) == methods(CLUSTERS) == ["fqe", "dm"]
    assert methods(BAGGED) == methods(rule) == methods("behavior") == methods("run") == ["fqe"]
    for policy in ({0: "run", 1: "service"}, "behavior", lambda X: np.full(len(X), "run")):
        assert methods(policy, labels) == ["dm", "wis", "wdr"]
    assert methods(MarkovPolicyEstimator().fit(labels), labels) == ["dm", "wis", "wdr"]
    assert methods(PolicyBagging(MarkovPolicyEstimator(), 1).fit(labels), labels)[0] == "dm"


def test_the_forest_may_be_another():
    own = ExtraTreesRegressor(20, min_samples_leaf=2, max_features=1.0, random_state=0)
    assert value(rule, regressor=own) == value(rule)
    assert value(rule, regressor=ExtraTreesRegressor(5, random_state=0)) != value(rule)


def test_what_is_grown_for_a_log_is_kept():
    log = pumps(5)
    assert value(BINS, log) == value(BINS, log.copy())
    search = GridSearchCV(
        pipeline("wear", "heat"),
        {"stateencoder__n_states": [4, 9]},
        cv=EpisodeKFold(2),
        scoring=policy_scorer("fqe"),
    ).fit(log)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --------------------------------------------------------------------------------- what is refused


def classifier(*columns):
    X = TRAIN.rename(columns={"wear": columns[0]})[list(columns)]
    return DecisionTreeClassifier(max_depth=2).fit(X, TRAIN["action"])


@pytest.mark.parametrize(
    ("policy", "options", "error", "message"),
    [
        ("replace", {}, ValueError, "answers 'replace', an action that X never logs"),
        (lambda X: np.full(len(X), "mend"), {}, ValueError, "answers 'mend', an action that X"),
        (lambda X: 1 * (X["wear"] > 0), {}, TypeError, "labels of kind 'int' .* kind 'str'"),
        (lambda _: ["run"] * 3, {}, ValueError, r"answered 3 action\(s\) for \d+ states"),
        (classifier("rust", "heat"), {}, ValueError, "X has no measurement 'rust'"),
        (rule, {"methods": "dm"}, ValueError, "rows of X are the only ones of their state"),
        (BAGGED, {"methods": "dm"}, ValueError, "makes no states of what is measured"),
        (rule, {"regressor": KMeans()}, TypeError, "but KMeans is no regressor"),
        (rule, {"methods": "fqee"}, ValueError, "methods"),
        (rule, {"behavior": np.zeros(len(TEST))}, ValueError, "behavior"),
    ],
)
def test_refusals(policy, options, error, message):
    with pytest.raises(error, match=message):
        evaluate_policy(policy, TEST, **{"methods": "fqe"} | options)


def test_policies_written_by_state_need_states_without_gaps():
    log = TEST.assign(state=np.where(TEST["wear"] > 0.5, "worn", None))
    log = log.drop(columns=["next_wear", "next_heat"])
    with pytest.raises(ValueError, match=r"'state' is missing.*function of a table"):
        evaluate_policy({"worn": "run"}, log, methods="fqe")


def test_infinite_measurements_are_refused():
    wrong = TEST.assign(wear=TEST["wear"].where(TEST["wear"] < 0.9, np.inf))
    with pytest.raises(ValueError, match=r"'wear'.* inf.*row \d+"):
        evaluate_policy(rule, wrong, methods="fqe")


def test_a_log_without_measurements_is_refused():
    log = TEST.drop(columns=["next_wear", "next_heat"])
    with pytest.raises(ValueError, match=r"Name them: columns=\{'state'"):
        evaluate_policy(rule, log)


def test_propensities_that_cannot_be_true_are_refused():
    """Of measurements no state comes again; but two actions in five cannot all be rare ones."""
    stated = np.where(TEST["action"] == "service", 0.01, 0.6)
    with pytest.raises(ValueError, match="behavior: over all rows action 'service' was logged in"):
        evaluate_policy(rule, TEST, methods="fqe", behavior=stated)


def test_known_propensities_tell_the_logged_policy():
    """They are .4 and .6 everywhere, which a forest learns but roughly."""
    log = pumps(4, n=300)
    stated = log.assign(b=np.where(log["action"] == "service", 0.4, 0.6))
    known = fqe("behavior", stated, behavior="b")
    guessed = fqe("behavior", log)
    mean = log["reward"].sum() / 300
    assert known.behavior_value == pytest.approx(mean, abs=2 * known.behavior_standard_error)
    assert known.behavior_value != guessed.behavior_value
    assert known.behavior_value == pytest.approx(
        guessed.behavior_value, abs=known.behavior_standard_error
    )


def test_policies_fitted_on_features_are_judged_on_tables():
    """The columns of the features are measurements; what is beside them has its usual name."""
    with sklearn.config_context(enable_metadata_routing=True):
        last = MarkovPolicyEstimator(handle_unknown="nearest")
        features = make_pipeline(
            KBinsDiscretizer(3, encode="ordinal", strategy="uniform"),
            last.set_fit_request(reward=True, episode=True),
        ).fit(
            TRAIN[["wear", "heat"]],
            TRAIN["action"],
            reward=TRAIN["reward"],
            episode=TRAIN["episode"],
        )
    table = evaluate_policy(features, TEST).to_frame()
    assert table["method"].tolist() == ["fqe"]
    assert table["value"][0] == value(lambda X: features.predict(X[["wear", "heat"]]))
    with pytest.raises(ValueError, match="makes no states of what is measured"):
        evaluate_policy(features, TEST, methods="dm")


def test_an_array_does_not_tell_which_columns_it_held():
    tree = DecisionTreeClassifier().fit(TRAIN[["wear", "heat"]].to_numpy(), TRAIN["action"])
    with pytest.raises(ValueError, match=r"array of 2 column\(s\) without names.*lambda states"):
        value(tree)
    named = value(lambda states: tree.predict(states[["wear", "heat"]].to_numpy()))
    assert np.isfinite(named)
    log = TEST[["episode", "step", "action", "reward", "wear", "next_wear"]]
    one = DecisionTreeClassifier(max_depth=2).fit(TRAIN[["wear"]].to_numpy(), TRAIN["action"])
    assert value(one, log) == value(lambda X: one.predict(X[["wear"]].to_numpy()), log)


@pytest.mark.parametrize("order", [["wear", "heat"], ["heat", "wear"]])
def test_columns_of_other_names_are_told_by_their_place(order):
    labels = TRAIN.round(1)
    learned = MarkovPolicyEstimator(state=order, handle_unknown="most_frequent").fit(labels)
    other = {name: f"z{i}_{name}" for i, name in enumerate(["wear", "heat"])}
    other |= {f"next_{name}": f"next_{new}" for name, new in other.items()}
    renamed = TEST.round(1).rename(columns=other)
    named = {"state": [other[name] for name in order]}
    expected = value(learned, TEST.round(1), columns={"state": order})
    assert value(learned, renamed, columns=named) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"a state of 2 column\(s\), .* has 1, 'z0_wear'"):
        value(learned, renamed, columns={"state": ["z0_wear"]})


def test_differences_to_a_rule_of_chance_in_the_states_of_a_pipeline():
    """In each of its states the pipeline's own rows say how often the rule takes an action."""
    log = TRAIN.assign(kind=np.where(TRAIN["wear"] > 0.5, "worn", "new"))
    log["next_kind"] = np.where(log["next_wear"] > 0.5, "worn", "new")
    log = log.drop(columns=["wear", "heat", "next_wear", "next_heat"])
    pipe = make_pipeline(
        StateEncoder(OrdinalEncoder(), state="kind"), MarkovPolicyEstimator(state="kind")
    ).fit(log)

    def coin(states):
        return pd.DataFrame({"run": 0.5, "service": 0.5}, index=states.index)

    named = {"columns": {"state": "kind"}, "methods": "dm"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table = compare_policies({"pipe": pipe, "coin": coin}, log, **named)
        alone = evaluate_policy(coin, log, **named).to_frame()
    assert table["value"][1] == pytest.approx(alone["value"][0])
    assert table["difference"][1] == pytest.approx(table["value"][1] - table["value"][0])


def test_a_log_without_episodes_starts_anywhere():
    log = TEST.drop(columns=["episode", "step"]).assign(terminated=True, reward=TEST["wear"])
    found = fqe(rule, log)
    assert found.to_frame()["value"][0] == pytest.approx(TEST["wear"].mean(), abs=0.02)
    assert found.n_episodes is None
    assert found.to_frame()["standard_error"][0] > 0


def test_whole_numbers_before_and_fractions_after():
    whole = TEST.assign(wear=(TEST["wear"] > 0.5) * 1, next_wear=(TEST["next_wear"] > 0.5) * 1.0)
    mixed = whole.assign(next_wear=whole["next_wear"].where(whole.index > 0, 0.5))

    def decide(states):
        return np.where(states["wear"] > 0.5, "service", "run")

    assert value(decide, mixed) == pytest.approx(value(decide, whole), rel=0.1)


@OUTLASTING
def test_flags_stay_flags_where_episodes_end():
    log = TEST.assign(worn=TEST["wear"] > 0.5, next_worn=(TEST["next_wear"] > 0.5).astype(object))
    log = log.drop(columns=["wear", "next_wear"])
    ends = log["step"] == 11
    log.loc[ends, ["next_worn", "next_heat"]] = None
    asked = []

    def decide(states):
        asked.append(states["worn"].dtype.kind)
        return np.where(states["worn"], "service", "run")

    assert np.isfinite(value(decide, log.assign(next_heat=log["next_heat"].astype(float))))
    assert asked == ["b"]


def test_what_is_missing_is_asked_about_as_such():
    """Whole numbers cannot be missing, so the policy meets floats."""
    whole = TEST.assign(wear=(TEST["wear"] > 0.5) * 1, next_wear=(TEST["next_wear"] > 0.5) * 1.0)
    gaps = whole.assign(next_wear=whole["next_wear"].where(whole["step"] != 5))
    kinds = []

    def decide(states):
        kinds.append(states["wear"].dtype.kind)
        return np.where(states["wear"] > 0, "service", "run")

    assert np.isfinite([value(decide, log) for log in (whole, gaps)]).all()
    assert kinds == ["i", "f"]


def test_a_pipeline_of_a_classifier_reads_what_it_was_fitted_on():
    from_all = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=2))
    from_all.fit(TRAIN[["heat", "wear"]], TRAIN["action"])
    inferred = TEST.drop(columns=["next_wear", "next_heat"]).assign(terminated=False)
    assert np.isfinite(value(from_all, inferred))


def test_logs_are_forgotten_when_others_come(monkeypatch):
    monkeypatch.setattr("skmdp._trust.MOST_ROWS_KEPT", len(TEST))
    first = value(rule)
    assert value(rule, pumps(7)) != first
    assert value(rule) == first


def test_differences_in_states_need_the_same_rows():
    gaps = TEST.assign(next_wear=TEST["next_wear"].where(TEST["step"] != 5), terminated=False)
    imputed = make_pipeline(
        StateEncoder(make_pipeline(SimpleImputer(), KBinsDiscretizer(3, encode="ordinal")),
                     state="wear"),
        MarkovPolicyEstimator(state="wear", handle_unknown="most_frequent"),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputed.fit(TRAIN)
        with pytest.raises(ValueError, match=r"rows of X count with all .*methods='fqe'"):
            compare_policies({"bins": QUARTERS, "imputed": imputed}, gaps, methods="dm")
        assert len(compare_policies({"a": rule, "imputed": imputed}, gaps, methods="fqe")) == 2


def test_an_ensemble_on_labels_is_asked_by_the_names_it_knows():
    labels = TRAIN.round(1)
    bag = PolicyBagging(MarkovPolicyEstimator(state=["wear", "heat"]), 1).fit(labels)
    other = {"wear": "a", "heat": "b", "next_wear": "next_a", "next_heat": "next_b"}
    renamed = TEST.round(1).rename(columns=other)
    named = {"state": ["a", "b"]}
    expected = value(bag, TEST.round(1), columns={"state": ["wear", "heat"]})
    assert value(bag, renamed, columns=named) == pytest.approx(expected)


def test_an_encoder_of_arrays_knows_no_columns():
    X = TRAIN[["wear", "heat"]].to_numpy()
    blind = make_pipeline(StateEncoder(), MarkovPolicyEstimator()).fit(X, TRAIN["action"])
    with pytest.raises(ValueError, match=r"of 2 column.* without names"):
        value(blind)


# -------------------------------------------------------------------- never better of what is worse


def staircase(seed, n=100, months=6):
    """A step up earns 1, a step down nothing; high up, where hardly anybody was, all is lost."""
    rng = np.random.default_rng(seed)
    height, rows = rng.normal(0, 0.3, n), []
    for month in range(months):
        action = np.where(rng.random(n) < 0.25, "up", "down")
        paid = (action == "up") - 20.0 * (height >= 4.5)
        now = pd.DataFrame({"episode": range(n), "step": month, "height": height})
        height = height + np.where(action == "up", 1, -1) + rng.normal(0, 0.1, n)
        rows.append(now.assign(action=action, reward=paid, next_height=height))
    return pd.concat(rows)


@pytest.mark.parametrize("seed", range(3))
def test_who_goes_where_nobody_was_is_not_called_better(seed):
    result = fqe("up", staircase(seed))
    assert result.unsupported_share > 0.1
    assert not result.is_better


@pytest.mark.long
@pytest.mark.parametrize("n", [100, 400])
def test_what_makes_no_difference_is_not_called_better(n):
    """More rows make the estimate better, not only its error smaller."""
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, rows = rng.normal(size=n), []
        for step in range(5):
            now = pd.DataFrame({"episode": range(n), "step": step, "x": x})
            paid, x = x + rng.normal(size=n), 0.7 * x + 0.7 * rng.normal(size=n)
            rows.append(now.assign(action=rng.integers(2, size=n), reward=paid, next_x=x))
        found.append(fqe(lambda X: (X["x"] > 0) * 1, pd.concat(rows)).to_frame().iloc[0])
    table = pd.DataFrame(found)
    assert (table["difference_lower"] > 0).sum() <= 1
    assert table["difference"].abs().mean() < 8 / np.sqrt(n)


def test_a_column_that_is_known_after_the_decision_is_found_out():
    """It tells the reward of its own row, and nothing of the next."""
    late = TEST.assign(failed=TEST["reward"] == -6.0, next_failed=False)
    with pytest.warns(UserWarning, match=r"logged policy, whose episodes earned .* do not tell"):
        result = evaluate_policy("run", late, methods="fqe")
    assert result.contradicts_the_log
    assert not result.is_better
    assert "of that, fqe says" in result.conclusion
    honest = fqe("run")
    assert not honest.contradicts_the_log
    assert honest.mean_return == pytest.approx(TEST["reward"].sum() / 60)


def test_rounding_is_no_difference():
    for reward in (0.1, 1e9):
        result = fqe(rule, TEST.assign(reward=reward))
        assert not result.is_better
        assert "Not shown to be better" in result.conclusion


def test_mean_returns_that_answer_another_question_are_not_told():
    some_end = TEST.assign(terminated=(TEST["step"] == 11) & (TEST["episode"] < 30))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert np.isnan(fqe(rule, some_end).mean_return)
        assert np.isnan(fqe(rule, horizon=5).mean_return)
        assert np.isnan(evaluate_policy(BINS, TEST, methods="dm").mean_return)


def test_a_log_whose_episodes_have_another_name_is_warned_of():
    with pytest.warns(UserWarning, match=r"no column of episodes.*followed for 1000 steps"):
        evaluate_policy(rule, TEST.drop(columns=["episode", "step"]), methods="fqe")
    assert fqe(rule, TEST.drop(columns=["episode", "step"]), horizon=5).horizon == 5


def test_a_search_over_classifiers_is_scored():
    columns = {"state": ["wear", "heat"]}
    pipe = make_pipeline(
        ColumnTransformer([("kept", "passthrough", ["wear", "heat"])]), DecisionTreeClassifier()
    )
    search = GridSearchCV(
        pipe,
        {"decisiontreeclassifier__max_depth": [1, 3]},
        cv=EpisodeKFold(2),
        scoring=policy_scorer("fqe", columns=columns),
        error_score="raise",
    ).fit(TRAIN, TRAIN["action"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(value(search, columns=columns))
    with pytest.raises(TypeError, match="DecisionTreeClassifier has no states to count"):
        judge_encodings(search, TEST)


def test_an_action_may_be_a_tuple():
    doses = TEST.assign(
        action=[("run", 1) if a == "run" else ("service", 0) for a in TEST["action"]]
    )
    assert value(("run", 1), doses) == pytest.approx(value("run"))


@pytest.mark.parametrize("given", [True, False])
def test_labels_beside_an_encoder_are_looked_at_by_every_judge(given):
    """Whether it is hot passes the encoder as it is, and decides what running costs."""
    log, other = (
        pumps(seed, n=200).assign(
            hot=lambda X: np.where(X["heat"] > 0.5, "hot", "cool"),
            next_hot=lambda X: np.where(X["next_heat"] > 0.5, "hot", "cool"),
        )
        for seed in (0, 1)
    )
    dropped = ["heat", "next_heat"] if given else ["heat", "next_heat", "next_hot", "next_wear"]
    log, other = (X.drop(columns=dropped).assign(terminated=False) for X in (log, other))
    pipe = make_pipeline(
        StateEncoder(state="wear", n_states=3),
        MarkovPolicyEstimator(state=["wear", "hot"], min_count=5, handle_unknown="most_frequent"),
    ).fit(log)
    result = fqe(pipe, other)
    assert result.relevant_columns == ("hot", "wear")
    assert judge_encodings(pipe, other)["fqe"] == pytest.approx(result.to_frame()["value"][0])


def test_an_empty_table_of_measurements_is_refused():
    with pytest.raises(ValueError, match="The table is empty"):
        evaluate_policy(rule, TEST[:0], methods="fqe")

"""Off-policy evaluation: what is reported, what is warned of, what is refused."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm
from sklearn.model_selection import GridSearchCV, cross_val_score
from test_evaluation import random_log
from test_policies import LEARNED, TEST, TRAIN, N, labelled
from test_replay import candidate, hand_table

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_garnet, sample_transitions
from skmdp.metrics import compare_policies, evaluate_policy, policy_scorer
from skmdp.metrics._intervals import estimate_with_errors
from skmdp.model_selection import EpisodeKFold

ALL = ["dm", "is", "wis", "pdis", "pdwis", "dr", "wdr"]
UNEVEN = pytest.mark.filterwarnings("ignore:Only .* follow the policy:UserWarning")
DISAGREE = pytest.mark.filterwarnings("ignore:Methods disagree:UserWarning")


@pytest.mark.smoke
@UNEVEN
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({0: 0, 1: 0}, [3, 1.5, 3, 2, 2, 3, 3]),
        ({0: 0, 1: 1}, [2.5, 3.5, 7 / 3, 3, 8 / 3, None, None]),
    ],
)
def test_example_by_hand(policy, expected):
    options = {"gamma": 0.5, "prior_strength": 0.0, "n_bootstrap": 0}
    result = evaluate_policy(policy, hand_table(), methods=ALL, **options)
    for found, truth in zip(result.to_frame()["value"], expected, strict=True):
        assert truth is None or found == pytest.approx(truth, abs=1e-12)
    assert result.behavior_value == pytest.approx(2.25, abs=1e-12)
    assert result.n_episodes == 4
    assert result.zero_weight_share == [0.75, 0.5][policy[1]]


def test_table_of_the_result():
    result = evaluate_policy(LEARNED, TEST, methods=("dm", "wis"), random_state=0)
    table = result.to_frame()
    assert table["method"].tolist() == ["dm", "wis"]
    dm, wis = (row for _, row in table.iterrows())
    half = norm.isf(0.025) * dm["standard_error"]
    assert_allclose([dm["lower"], dm["upper"]], [dm["value"] - half, dm["value"] + half])
    assert wis["lower"] < wis["value"] < wis["upper"]
    assert np.isnan(dm["effective_sample_size"])
    assert 30 < wis["effective_sample_size"] < N
    assert_allclose(table["difference"], table["value"] - table["behavior_value"])
    assert_allclose(dm["behavior_value"], result.behavior_value)
    assert_allclose(wis["behavior_value"], TEST["reward"].sum() / N)
    assert_allclose(dm["behavior_standard_error"], result.behavior_standard_error)
    # Differences are paired: the spread between episodes that hits both policies cancels.
    apart = np.hypot(dm["standard_error"], dm["behavior_standard_error"])
    assert dm["difference_upper"] - dm["difference_lower"] < 2 * norm.isf(0.025) * apart
    assert (table["n_episodes"] == N).all()
    assert (table["untried_share"] == 0).all()


@pytest.mark.parametrize(
    ("n_bootstrap", "level", "least"),
    [(1, 0.5, 20), (19, 0.95, 20), (49, 0.98, 50), (99, 0.99, 100)],
)
def test_an_interval_takes_enough_resamples(n_bootstrap, level, least):
    """One resample, or a quantile beyond the most extreme one, says nothing of chance."""
    options = {"confidence_level": level, "random_state": 0}
    message = f"n_bootstrap={n_bootstrap} resamples are too few .* at least {least} are needed"
    with pytest.raises(ValueError, match=message):
        evaluate_policy(LEARNED, TEST, methods=["dm", "wis"], n_bootstrap=n_bootstrap, **options)
    with pytest.raises(ValueError, match=message):
        compare_policies({"": "rest"}, TEST, methods="wis", n_bootstrap=n_bootstrap, **options)
    enough = evaluate_policy(LEARNED, TEST, methods="wis", n_bootstrap=least, **options).to_frame()
    assert enough["lower"][0] < enough["value"][0] < enough["upper"][0]
    # The direct method draws none, and none may be asked for.
    direct = evaluate_policy(LEARNED, TEST, methods="dm", n_bootstrap=n_bootstrap, **options)
    assert direct.to_frame()["lower"].notna().all()
    without = evaluate_policy(LEARNED, TEST, methods="wis", n_bootstrap=0, **options).to_frame()
    assert without[["standard_error", "lower", "upper"]].isna().all(axis=None)


def test_a_result_shows_what_matters():
    shown = repr(evaluate_policy(LEARNED, TEST, methods="dm")).splitlines()
    assert shown[0].split()[:4] == ["method", "value", "lower", "upper"]
    assert shown[1].split()[0] == "dm"
    assert "2000 episodes; of the decisions 0.0% untried, 0.0% with fewer" in shown[2]


def test_confidence_level_widens():
    wide, narrow = (
        evaluate_policy(LEARNED, TEST, confidence_level=level, random_state=0).to_frame()
        for level in (0.99, 0.5)
    )
    assert (wide["lower"] < narrow["lower"]).all()
    assert (wide["upper"] > narrow["upper"]).all()


def test_capped_prior_is_at_most_one():
    one_step = labelled(3).assign(next_state=None)  # nothing to learn of what follows
    irrelevant = one_step.assign(episode=np.arange(len(one_step)))
    assert evaluate_policy("rest", irrelevant, methods="dm").prior_strength == 1.0
    strengths = [
        evaluate_policy(LEARNED, TEST, methods="dm", prior_strength=kappa).prior_strength
        for kappa in ("auto", "capped", 7)
    ]
    assert strengths[1] == min(strengths[0], 1.0)
    assert strengths[2] == 7.0


def test_horizon_of_one_is_the_first_reward():
    result = evaluate_policy("rest", TEST, methods=ALL, horizon=1, prior_strength=0, n_bootstrap=0)
    first = TEST.groupby("episode").first()
    by_state = TEST[TEST["action"] == "rest"].groupby("state")["reward"].mean()
    assert_allclose(result.to_frame()["value"][0], by_state[first["state"]].mean())
    # One decision an episode: importance per decision is importance per episode.
    table = result.to_frame().set_index("method")["value"]
    assert_allclose(table[["is", "wis"]], table[["pdis", "pdwis"]], rtol=1e-12)
    assert result.horizon == 1


@pytest.mark.smoke
def test_the_logged_policy_is_no_better_than_itself():
    log = labelled(2, n_episodes=300)  # not cut, so that the model earns what was earned
    result = evaluate_policy("behavior", log, methods=ALL, random_state=0)
    table = result.to_frame()
    assert_allclose(table["value"], log["reward"].sum() / 300, rtol=1e-6)
    assert_allclose(table[["difference", "difference_lower", "difference_upper"]], 0, atol=1e-12)
    assert result.zero_weight_share == 0
    assert_allclose(table["effective_sample_size"][1:], 300)
    # The bootstrap of a mean has the error of the mean.
    assert_allclose(table["standard_error"], result.behavior_standard_error, rtol=0.15)


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_resamples_do_not_depend_on_the_number_of_jobs(n_jobs):
    one, several = (
        evaluate_policy(LEARNED, TEST, random_state=3, n_bootstrap=20, n_jobs=jobs).to_frame()
        for jobs in (None, n_jobs)
    )
    pd.testing.assert_frame_equal(one, several)


@pytest.mark.parametrize("at_once", [1, 10**4, 10**6])
def test_resamples_do_not_depend_on_how_many_are_held_at_a_time(at_once, monkeypatch):
    expected = evaluate_policy(LEARNED, TEST, random_state=3, n_bootstrap=20).to_frame()
    monkeypatch.setattr("skmdp.metrics._intervals.DRAWS_AT_ONCE", at_once)
    found = evaluate_policy(LEARNED, TEST, random_state=3, n_bootstrap=20).to_frame()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


def one_step_log(n_agreeing, n=200):
    """Decisions between 0 and 1; so many of them are 0, the others 1."""
    rng = np.random.default_rng(0)
    action = np.arange(n) >= n_agreeing
    columns = {"episode": np.arange(n), "state": 0, "action": action.astype(int)}
    return pd.DataFrame(columns).assign(next_state=None, reward=rng.normal(size=n))


INTERVAL = ["standard_error", "lower", "upper"]


@UNEVEN
@DISAGREE
@pytest.mark.parametrize("n_agreeing", [29, 31])
def test_a_handful_of_effective_episodes_have_no_interval(n_agreeing):
    """Where the episodes that agree weigh the same, as many as there are of them are effective."""
    log = one_step_log(n_agreeing)
    columns = [*INTERVAL, *(f"difference_{name}" for name in INTERVAL)]
    result = evaluate_policy(0, log, methods=ALL, n_bootstrap=20, random_state=0).to_frame()
    assert_allclose(result["effective_sample_size"][1:], n_agreeing)
    assert result[["value", "difference"]].notna().all(axis=None)
    assert result.loc[0, columns].notna().all()
    assert (result.loc[1:, columns].notna() == (n_agreeing >= 30)).all(axis=None)
    options = {"methods": ("dm", "wis"), "n_bootstrap": 20, "random_state": 0}
    table = compare_policies({"few": 0, "many": 1, "log": "behavior"}, log, **options)
    dm, wis = (table[table["method"] == name].set_index("policy") for name in ("dm", "wis"))
    assert dm[columns].notna().all(axis=None)
    # A difference to a policy without an interval has none either, whatever the other one has.
    shows = wis[columns].notna()
    assert (shows.loc["few"] == (n_agreeing >= 30)).all()
    assert (shows.loc[["many", "log"], columns[3:]] == (n_agreeing >= 30)).all(axis=None)
    assert shows.loc[["many", "log"], INTERVAL].all(axis=None)


def test_weights_beyond_floating_point_have_no_interval():
    """40 episodes of 170 decisions, each a hundred times likelier under the policy: 1e340."""
    step = np.tile(np.arange(170), 40)
    log = pd.DataFrame({"episode": np.repeat(np.arange(40), 170), "state": 0, "action": 0})
    following = pd.Series(np.where(step == 169, None, 0), dtype="Int64")
    log = log.assign(next_state=following, reward=1.0, chance=0.01)
    asked = candidate(log, propensities="chance")
    found = estimate_with_errors([asked], ["is"], 20, 0, None)
    shown = found.interval(0, 2.0)
    assert shown["value"] == np.inf
    assert asked.weights.effective_sample_size() == pytest.approx(40)
    assert np.isnan([shown[name] for name in INTERVAL]).all()


def test_comparison_is_paired():
    other = MarkovPolicyEstimator(gamma=0.1).fit(TRAIN)
    policies = {"learned": LEARNED, "myopic": other, "log": "behavior", "again": LEARNED}
    table = compare_policies(policies, TEST, random_state=0)
    assert table["method"].tolist() == ["dm"] * 4 + ["wis"] * 4 + ["wdr"] * 4
    assert table["policy"].tolist() == list(policies) * 3
    zero = table[table["policy"].isin(["learned", "again"])]
    columns = [f"difference{end}" for end in ("", "_standard_error", "_lower", "_upper")]
    assert_allclose(zero[columns], 0, atol=1e-12)
    alone = evaluate_policy(LEARNED, TEST, random_state=0).to_frame()
    together = table[table["policy"] == "learned"].reset_index(drop=True)
    shared = ["method", "value", "standard_error", "lower", "upper"]
    pd.testing.assert_frame_equal(together[shared], alone[shared])
    against_log = table[table["policy"] == "log"].reset_index(drop=True)
    assert_allclose(against_log["difference"], -alone["difference"])
    assert_allclose(against_log["difference_lower"], -alone["difference_upper"], rtol=1e-6)


def test_comparing_nothing_is_an_error():
    with pytest.raises(ValueError, match="policies is empty"):
        compare_policies({}, TEST)


# --------------------------------------------------------------------------------------- scorer


def test_default_scorer_is_score():
    assert_allclose(policy_scorer()(LEARNED, TEST), LEARNED.score(TEST), rtol=1e-5)


def test_lower_bound_is_below():
    for method in ("dm", "wdr"):
        plain = policy_scorer(method)(LEARNED, TEST)
        assert policy_scorer(method, lower_bound=True)(LEARNED, TEST) < plain


def test_scorer_in_a_search():
    scorer = pickle.loads(pickle.dumps(policy_scorer(gamma=0.9, horizon=20)))
    search = GridSearchCV(
        MarkovPolicyEstimator(), {"gamma": [0.1, 0.9]}, cv=EpisodeKFold(3), scoring=scorer, n_jobs=2
    ).fit(TRAIN)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scores = cross_val_score(LEARNED, TRAIN, cv=EpisodeKFold(3), scoring=policy_scorer())
    assert_allclose(scores, cross_val_score(LEARNED, TRAIN, cv=EpisodeKFold(3)), rtol=1e-5)


# ------------------------------------------------------------------------------------- warnings


def only_warning(policy, X, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate_policy(policy, X, **options)
    assert [w.filename for w in caught] == [__file__] * len(caught)
    return [str(w.message) for w in caught]


def test_a_sound_evaluation_says_nothing():
    assert only_warning(LEARNED, TEST, methods=("dm", "wis", "wdr"), random_state=0) == []


def test_few_effective_episodes_are_warned_of_once():
    few = TEST[TEST["episode"] < 70]
    (message,) = only_warning(LEARNED, few, methods=["dm", "wis", "wdr"], random_state=0)
    assert "of 70 episodes (effective) follow the policy" in message
    assert "the estimates of 'wis', 'wdr' have no interval. Rely on 'dm'" in message


def test_the_training_log_is_recognised():
    (message,) = only_warning(LEARNED, TRAIN, methods="dm")
    assert "the very transitions that the policy was learned from" in message
    # The sums of rewards differ in their last bits.
    other = TRAIN.assign(order=-TRAIN["episode"]).sort_values("order", kind="stable")
    assert len(only_warning(LEARNED, other, methods="dm")) == 1


def test_rows_out_of_order_are_warned_of():
    shuffled = TEST.sample(frac=1, random_state=0)
    (message,) = only_warning(LEARNED, shuffled, methods="dm")
    assert "places a row of X does not lead to the state of the next row" in message
    stepped = TEST.assign(step=TEST.groupby("episode").cumcount()).sample(frac=1, random_state=0)
    assert only_warning(LEARNED, stepped, methods="dm") == []
    assert only_warning(LEARNED, shuffled.drop(columns="episode"), methods="dm") == []


def test_untried_decisions_are_warned_of():
    instead = TEST["action"].replace("rest", "run")
    thin = TEST.assign(action=TEST["action"].where(TEST["state"] != "c", instead))
    (message,) = only_warning("rest", thin, methods="dm")
    assert "of the decisions that the policy would take" in message


def test_decisions_with_few_rows_are_counted():
    rows = [(e, "a", "x" if e < 4 else "y", None, 1.0) for e in range(40)]
    rows += [(40 + e, "b", "x", None, 1.0) for e in range(5)]
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])
    result = evaluate_policy("x", table, methods="dm")
    assert result.thin_share == pytest.approx(40 / 45)  # a has four rows of x, b five
    assert result.untried_share == 0
    assert evaluate_policy("behavior", table, methods="dm").thin_share == 0


def test_outlasting_episodes_are_warned_of():
    rows = [(e, s, "go", s + 1 if s < 2 else None, -1) for e in range(30) for s in range(3)]
    slow = [(0, "stay", 0), (0, "go", 1), (1, "stay", 1), (1, "go", 2), (2, "go", None)]
    rows += [(30 + e, *row, -1) for e in range(30) for row in slow]
    table = pd.DataFrame(rows, columns=["episode", "state", "action", "next_state", "reward"])
    table = table.astype({"next_state": "Int64"})
    looping = {0: "stay", 1: "stay", 2: "go"}
    (message,) = only_warning(looping, table, methods="dm")
    assert "would last longer than any in X" in message
    # A horizon that the log shows needs no extrapolation, one step more does.
    assert only_warning(looping, table, methods="dm", horizon=5) == []
    assert only_warning(looping, table, methods="dm", horizon=6) == [message]
    assert evaluate_policy(looping, table, methods="dm", horizon=4).outlasting_share is None


@pytest.mark.parametrize("cut_share", [0.0, 0.1])
def test_methods_that_disagree_are_named(cut_share):
    """The hidden memory of an episode: the first action decides what the second one pays."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(2, size=(2, 2000))
    rows = pd.DataFrame({"episode": np.arange(2000), "state": 0, "next_state": 1, "action": first})
    ends = rows.assign(state=1, next_state=pd.NA, action=second)
    ends["reward"] = np.where((first == 1) & (second == 1), 10.0, 0.0)
    ends["next_state"] = ends["next_state"].where(ends["episode"] >= cut_share * 2000, 0)
    table = pd.concat([rows.assign(reward=0.0), ends])
    (message,) = only_warning(1, table, random_state=0)
    assert "Methods disagree by more than their errors: dm says 5" in message
    assert "wis 10" in message


def test_methods_are_not_said_to_disagree_where_nothing_tells_their_errors():
    """Each row is as likely as .9 by what is stated, so that ``is`` weighs it a ninth too much."""
    log = pd.DataFrame(
        {"episode": range(40), "state": 0, "action": 0, "next_state": None, "reward": 1.0}
    ).assign(chance=0.9)
    log["next_state"] = log["next_state"].astype("Int64")
    table = evaluate_policy({0: 0}, log, methods=("dm", "is"), behavior="chance").to_frame()
    assert_allclose(table["value"], [1, 1 / 0.9])
    assert_allclose(table["standard_error"], 0, atol=1e-15)


def test_methods_disagree_beyond_two_standard_errors():
    """Second actions pay more, the better the first one is remembered."""
    rng = np.random.default_rng(2)
    first, second = rng.integers(2, size=(2, 400))
    rows = pd.DataFrame({"episode": np.arange(400), "state": 0, "next_state": 1, "action": first})
    ends = rows.assign(state=1, next_state=pd.NA, action=second)
    errors = []
    for memory in np.linspace(0, 1, 9):
        pays = rng.normal(size=400) + memory * (first == 1) * (second == 1)
        table = pd.concat([rows.assign(reward=0.0), ends.assign(reward=pays)])
        options = {"methods": ["dm", "wis"], "n_bootstrap": 50, "random_state": 0}
        messages = only_warning(1, table, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dm, wis = evaluate_policy(1, table, **options).to_frame().itertuples()
        apart = abs(dm.value - wis.value) / np.hypot(dm.standard_error, wis.standard_error)
        assert any("Methods disagree" in message for message in messages) == (apart > 2)
        errors.append(apart)
    assert {1, 2, 3} <= set(np.floor(errors))  # on either side of two


@pytest.mark.filterwarnings("ignore:.*would last longer than any in X:UserWarning")
def test_methods_that_see_unequally_far_do_not_contradict_each_other():
    """Half of the episodes are cut off: dm looks beyond, importance methods cannot."""
    log = labelled(1, n_episodes=N, cut=2)
    methods = ["dm", "wis", "pdis", "wdr"]
    result = evaluate_policy(LEARNED, log, methods=methods, random_state=0)
    table = result.to_frame().set_index("method")
    dm, wis = table.loc["dm"], table.loc["wis"]
    assert dm["value"] > wis["value"] + 2 * np.hypot(dm["standard_error"], wis["standard_error"])
    short = evaluate_policy(LEARNED, log, methods=methods, horizon=2, random_state=0)
    assert_allclose(short.to_frame()["value"], table["value"]["wis"], rtol=0.1)


@UNEVEN
@pytest.mark.filterwarnings("ignore:.*would last longer than any in X:UserWarning")
def test_one_episode_has_no_interval():
    one = TEST[TEST["episode"] == TEST["episode"].iloc[-1]]
    with pytest.warns(UserWarning, match="holds one episode only"):
        table = evaluate_policy("behavior", one).to_frame()
    assert table[["standard_error", "lower", "upper", "difference_lower"]].isna().all(axis=None)
    assert table["value"].notna().all()


def test_no_episode_that_agrees_has_no_wis():
    rows = [(e, s, "rest" if e == s else "run", 1 - s) for e in (0, 1) for s in (0, 1)]
    never = pd.DataFrame(rows, columns=["episode", "state", "action", "reward"])
    with pytest.warns(UserWarning, match="follow the policy"):
        result = evaluate_policy("rest", never, methods=["is", "wis"], random_state=0)
    table = result.to_frame().set_index("method")
    assert table.loc["is", "value"] == 0
    assert np.isnan(table.loc["wis", "value"])
    assert table.loc["wis", ["standard_error", "lower"]].isna().all()
    assert result.zero_weight_share == 1


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": "dice"}, "'methods' parameter"),
        ({"methods": ["dm", "dice"]}, "different ones of"),
        ({"methods": []}, "different ones of"),
        ({"methods": ["dm", "dm"]}, "different ones of"),
        ({"gamma": 1.5}, "'gamma' parameter"),
        ({"horizon": 0}, "'horizon' parameter"),
        ({"prior_strength": -1}, "'prior_strength' parameter"),
        ({"behavior": "chance"}, "no column 'chance' of propensities"),
        ({"behavior": np.zeros(len(TEST))}, r"Propensity 0 at row 0 .* not in \(0, 1\]"),
        ({"behavior": np.full(len(TEST), 1.5)}, r"Propensity 1.5 at row 0"),
        ({"behavior": np.full(len(TEST), np.nan)}, "contains NaN"),
        ({"behavior": np.ones(3)}, "inconsistent numbers of samples"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_policy(LEARNED, TEST, **options)


def test_importance_methods_need_episodes():
    table = TEST.drop(columns="episode")
    with pytest.raises(
        ValueError, match=r"\['wis', 'wdr'\] weigh whole episodes.*use methods='dm'"
    ):
        evaluate_policy(LEARNED, table)
    result = evaluate_policy(LEARNED, table, methods="dm")
    assert result.n_episodes is None
    assert result.outlasting_share is None
    assert result.to_frame()["standard_error"].notna().all()


def test_known_propensities_may_come_as_column_or_array():
    uniform = random_log(9, n_episodes=2000, ending=0.7)
    by_column, by_array = (
        evaluate_policy(0, uniform.assign(p=1 / 3), behavior=b, random_state=0).to_frame()
        for b in ("p", np.full(len(uniform), 1 / 3))
    )
    pd.testing.assert_frame_equal(by_column, by_array)
    shuffled = uniform.assign(p=np.linspace(0.2, 0.9, len(uniform)))
    one = evaluate_policy(0, shuffled, behavior="p", methods="is", n_bootstrap=0).to_frame()
    mixed = shuffled.sample(frac=1, random_state=1).sort_values("episode", kind="stable")
    order = shuffled.index.get_indexer(mixed.index)
    assert sorted(order) == list(range(len(order)))
    interleaved = shuffled.assign(step=shuffled.groupby("episode").cumcount())
    interleaved = interleaved.sample(frac=1, random_state=1)
    two = evaluate_policy(0, interleaved, behavior="p", methods="is", n_bootstrap=0).to_frame()
    assert_allclose(one["value"], two["value"])


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_any_dataframe(library):
    expected = evaluate_policy(LEARNED, TEST, random_state=0).to_frame()
    if library == "polars":
        import polars as pl

        table = pl.from_pandas(TEST)
    else:
        import pyarrow as pa

        table = pa.Table.from_pandas(TEST)
    found = evaluate_policy(LEARNED, table, random_state=0).to_frame()
    pd.testing.assert_frame_equal(found, expected)


def test_truncated_rows_count_nowhere():
    table = TEST.assign(terminated=True)
    table["terminated"] = table["next_state"].isna()
    cut = pd.concat(
        [table, table.iloc[[0]].assign(episode=9999, next_state=None, terminated=False)]
    )
    result = evaluate_policy("rest", cut, methods=["dm", "is"], n_bootstrap=0)
    assert result.n_episodes == N + 1
    expected = evaluate_policy("rest", TEST, methods=["is"], n_bootstrap=0).to_frame()
    assert_allclose(result.to_frame()["value"][1], expected["value"][0])


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*would last longer than any in X:UserWarning")
def test_intervals_cover_the_truth():
    """A hundred logs of a process with a known truth; nominal 95 %."""
    mdp = make_garnet(8, 2, 3, random_state=1)
    pairs = mdp.restrict(np.flatnonzero(mdp.pair_action == 0))
    P, R = pairs.transitions.toarray(), pairs.rewards
    truth = np.linalg.solve(np.eye(8) - 0.9 * P, R)[0]
    covered = 0
    for seed in range(60):
        log = sample_transitions(mdp, n_episodes=100, random_state=seed)
        policy = dict.fromkeys(log["state"].unique().tolist(), 0)
        table = evaluate_policy(policy, log, methods="dm", gamma=0.9, horizon=200).to_frame()
        covered += table["lower"][0] <= truth <= table["upper"][0]
    assert covered >= 53

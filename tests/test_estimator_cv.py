"""MarkovPolicyCV: what is chosen, what it gains, and what is refused."""

import itertools
import pickle
import warnings
from itertools import permutations
from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp._choice import Setting, choose
from skmdp._learning import learn_policy
from skmdp._log.folds import deal_episodes, number_rows
from skmdp._log.reading import read_table
from skmdp._log.roles import Roles
from skmdp.datasets import load_climb, make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import action_table, explain, forbidden_cost, policy_table
from skmdp.metrics import evaluate_policy
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder
from skmdp.solvers import EndlessLoopError

# ------------------------------------------------------------------------- scikit-learn's checks

UNKNOWN = pytest.mark.filterwarnings("ignore:.*not seen in fit:UserWarning")
NO_GAIN = pytest.mark.filterwarnings("ignore:No gain over the logged policy:UserWarning")
VARIANTS = [  # the one by default is asked below
    MarkovPolicyCV(gamma=1, min_counts=[0, 2], prior_strengths=[0, 1], random_state=0),
    MarkovPolicyCV(require_gain=True, handle_unknown="nearest"),
]


@UNKNOWN
@NO_GAIN
@parametrize_with_checks(VARIANTS)
def test_scikit_learn_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


@UNKNOWN
@pytest.mark.smoke
@pytest.mark.parametrize("routing", [False, True])
def test_no_check_is_lost(routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        results = estimator_checks.check_estimator(MarkovPolicyCV(), on_skip=None)
    assert [one["check_name"] for one in results if one["status"] != "passed"] == []
    assert len(results) >= 48


def test_it_is_a_policy_estimator_but_takes_no_batches():
    policy = MarkovPolicyCV()
    assert isinstance(policy, MarkovPolicyEstimator)
    assert not hasattr(policy, "partial_fit")
    with pytest.raises(AttributeError, match="MarkovPolicyEstimator with the chosen min_count_"):
        policy.partial_fit(load_climb())
    chosen = {"min_count", "prior_strength"}
    own = {"min_counts", "prior_strengths", "cv", "require_gain", "random_state"}
    assert set(policy.get_params()) == set(MarkovPolicyEstimator().get_params()) - chosen | own
    assert not chosen & set(vars(policy))


# ------------------------------------------------------------------------------------- the choice

LOG = make_search_log(400, length=4, random_state=0)
GRID = {"min_counts": [0, 5, 40], "prior_strengths": [0, 2.0, "auto"]}


@pytest.fixture(scope="module")
def fitted():
    return MarkovPolicyCV(gamma=0.99, **GRID).fit(LOG)


def test_the_policy_is_that_of_the_chosen_candidate(fitted):
    alone = MarkovPolicyEstimator(
        gamma=0.99, min_count=fitted.min_count_, prior_strength=fitted.prior_strength_
    ).fit(LOG)
    np.testing.assert_array_equal(fitted.policy_, alone.policy_)
    np.testing.assert_allclose(fitted.state_values_, alone.state_values_, rtol=1e-6)
    assert fitted.n_episodes_ == alone.n_episodes_ == 400
    assert fitted.score(LOG) == pytest.approx(alone.score(LOG))


def test_results_are_laid_out_as_those_of_a_search(fitted):
    results = fitted.cv_results_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        searched = GridSearchCV(
            MarkovPolicyEstimator(handle_unknown="most_frequent"),
            {"min_count": [0, 5]},
            cv=[*EpisodeKFold(5).split(LOG)] * 4,
        ).fit(LOG)
    assert set(results) - set(searched.cv_results_) == {"param_prior_strength"}
    splits = np.stack([results[f"split{j}_test_score"] for j in range(20)])
    np.testing.assert_allclose(results["mean_test_score"], splits.mean(axis=0))
    np.testing.assert_allclose(results["std_test_score"], splits.std(axis=0))
    np.testing.assert_array_equal(
        results["rank_test_score"], rankdata(-results["mean_test_score"], method="min")
    )
    assert results["params"][1] == {"min_count": 0, "prior_strength": 2.0}
    assert results["param_min_count"].tolist() == [0] * 3 + [5] * 3 + [40] * 3
    assert results["param_prior_strength"].tolist() == [0, 2.0, "auto"] * 3


def without_end(n_episodes, seed=0, length=6, n_states=5):
    """Return records of as many rows of a process without end."""
    rng = np.random.default_rng(seed)
    ways = rng.dirichlet(np.ones(n_states), size=(n_states, 3))
    pays = rng.normal(size=(n_states, 3))
    state, rows = rng.integers(0, n_states, n_episodes), []
    for _ in range(length):
        action = rng.choice(3, size=n_episodes, p=[0.75, 0.2, 0.05])
        drawn = rng.uniform(size=(n_episodes, 1)) > ways[state, action].cumsum(axis=1)
        following = drawn.sum(axis=1).clip(max=n_states - 1)
        rows.append(
            pd.DataFrame(
                {
                    "episode": np.arange(n_episodes),
                    "state": state,
                    "action": action,
                    "next_state": following,
                    "reward": rng.normal(pays[state, action], 0.5),
                }
            )
        )
        state = following
    return pd.concat(rows).sort_values("episode", kind="stable", ignore_index=True)


@pytest.mark.parametrize("min_count", [0, 4])
@pytest.mark.parametrize("prior_strength", [0.0, 3.0])
def test_a_score_is_the_direct_estimate_of_the_policy_learned_without_the_fold(
    min_count, prior_strength
):
    """Here every fold has the horizon of the whole log."""
    table = without_end(120)
    split = next(EpisodeKFold(3).split(table))
    policy = MarkovPolicyCV(
        gamma=0.9, min_counts=[min_count], prior_strengths=[prior_strength], cv=[split]
    ).fit(table)
    whole = MarkovPolicyEstimator(prior_strength="auto").fit(table)
    train, test = (table.iloc[rows] for rows in split)
    judged = evaluate_quietly(whole_policy(train, min_count, prior_strength), test, whole)
    assert policy.cv_results_["split0_test_score"][0] == pytest.approx(judged["value"], rel=1e-5)


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("prior_strength", [0.0, 3.0])
def test_the_gain_is_that_on_parts_by_lot_of_what_those_before_teach(prior_strength, alike):
    """Whatever the folds are: those that were made alike would share their luck."""
    table = without_end(120)
    cv = list(EpisodeKFold(3).split(table)) if alike else 4
    policy = MarkovPolicyCV(gamma=0.9, min_counts=[4], prior_strengths=[prior_strength], cv=cv).fit(
        table
    )
    whole = MarkovPolicyEstimator(prior_strength="auto").fit(table)
    log = read_table(table, Roles(), beside=[number_rows(table)])
    rows = log.beside[0].values[log.beside[0].codes]
    parts = [rows[fold.held_out.rows] for fold in deal_episodes(log, 5, None)]
    judged = pd.DataFrame(
        [
            evaluate_quietly(
                whole_policy(table.iloc[np.sort(np.concatenate(parts[:k]))], 4, prior_strength),
                table.iloc[np.sort(parts[k])],
                whole,
            )
            for k in (2, 3, 4)
        ]
    )
    assert policy.value_ == pytest.approx(judged["value"].mean(), rel=1e-5)
    assert policy.gain_ == pytest.approx(judged["difference"].mean(), rel=1e-4, abs=1e-6)
    lower, upper = policy.gain_interval_
    on_all = evaluate_quietly(whole_policy(table, 4, prior_strength), table, whole)
    of_parts = np.sqrt(np.mean(judged["difference_standard_error"] ** 2) / 3)
    of_all = on_all["difference_standard_error"] * np.sqrt(120 / 72)
    error = max(of_parts, of_all)
    assert lower == pytest.approx(policy.gain_ - 1.959964 * error, rel=1e-4, abs=1e-6)
    assert upper == pytest.approx(
        max(policy.gain_, on_all["difference"]) + 1.959964 * error, rel=1e-4
    )


def whole_policy(table, min_count, prior_strength):
    return MarkovPolicyEstimator(
        gamma=0.9,
        min_count=min_count,
        prior_strength=prior_strength,
        handle_unknown="most_frequent",
    ).fit(table)


def evaluate_quietly(policy, table, whole):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judged = evaluate_policy(
            policy, table, methods="dm", prior_strength=min(whole.prior_strength_, 1.0)
        )
    return judged.to_frame().iloc[0]


def settings_of(*min_counts):
    return [Setting(min_count, 0.0) for min_count in min_counts]


def test_what_is_clearly_best_is_taken():
    scores = np.array([[1.0, 2.0, 3.0], [1.9, 3.1, 3.9], [0.0, 0.9, 2.1]])
    for rows in permutations(range(3)):
        settings = [settings_of(0, 5, 10)[i] for i in rows]
        assert settings[choose(scores[list(rows)], settings)].min_count == 5


def test_where_the_folds_hardly_tell_settings_apart_the_one_in_the_middle_is_taken():
    # The best is ahead of each by 1 or a little more, with a standard error of 2.
    noise = np.array([[0.0, 0.0, 0.0], [1.0, -5.0, 1.0], [1.0, 1.0, -5.0], [-5.0, 1.0, 1.0]])
    scores = np.array([3.0, 7.0, 4.0]) + noise - np.array([[0.0], [0.0], [0.1], [0.2]])
    assert choose(scores, settings_of(0, 3, 10, 30)) == 2
    assert choose(scores, settings_of(30, 10, 3, 0)) == 1  # of two the larger
    assert choose(scores[:3], settings_of(0, 3, 10)) == choose(scores[:3], settings_of(10, 3, 0))
    assert choose(scores[:2], settings_of(0, 3)) == 1
    # Those that are clearly behind are no ends.
    behind = scores[0] - np.array([[50.0, 50.1, 50.2]] * 3)
    assert choose(np.vstack([scores[:3], behind]), settings_of(0, 3, 10, 30, 100, 300)) == 1
    # What is the same in several priors has its best one.
    settings = [Setting(3.0, 1.0), Setting(3.0, 0.0), Setting(0.0, 1.0)]
    assert choose(scores[[1, 0, 2]], settings) == 1


@pytest.mark.parametrize("shift", [-1e3, 0.0, 7.0])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_choice_is_the_same_in_every_unit_and_for_any_luck_of_a_fold(scale, shift):
    rng = np.random.default_rng(0)
    settings = settings_of(0, 3, 10, 30)
    for _ in range(50):
        scores = rng.normal(size=(4, 5))
        assert choose(scale * (scores + shift * np.arange(5)), settings) == choose(scores, settings)


def test_folds_that_hold_an_episode_out_again_tell_no_more_of_the_error():
    rng = np.random.default_rng(0)
    settings = settings_of(0, 3, 10, 30)
    told = []
    for _ in range(50):
        scores = rng.normal(size=(4, 5))
        again = np.hstack([scores] * 4)
        assert choose(again, settings, 4.0) == choose(scores, settings)
        told.append(choose(again, settings) == choose(scores, settings))
    assert not all(told)


def test_nothing_is_restricted_for_nothing():
    assert choose(np.ones((3, 4)), settings_of(10, 0, 5)) == 1
    assert choose(np.ones((3, 4)), settings_of(1, 1, 1)) == 0
    assert choose(np.ones((3, 0)), settings_of(10, 0, 5)) == 1
    # What differs by rounding is equal.
    assert choose(np.array([[1.0], [1.0 - 1e-12]]), settings_of(3, 0)) == 1
    assert choose(np.array([[-5.0], [-5.0 - 1e-11]]), settings_of(3, 0)) == 1
    # One fold tells no error.
    assert choose(np.array([[1.0], [1.1], [0.9]]), settings_of(0, 3, 10)) == 1
    # A candidate without a score in some fold is none, nor is one that takes everything.
    assert choose(np.array([[np.nan, 9.0], [1.0, 1.0]]), settings_of(0, np.inf)) == 1


@pytest.mark.parametrize(("few", "n_splits"), [(len(LOG) + 1, 12), (len(LOG), 3)])
def test_a_small_log_is_dealt_several_times(monkeypatch, few, n_splits):
    """Where there are many rows, deals cost more than the luck of one matters."""
    monkeypatch.setattr("skmdp._estimator_cv.FEW_ROWS", few)
    results = MarkovPolicyCV(gamma=0.99, cv=3, random_state=0).fit(LOG).cv_results_
    splits = [name for name in results if name.startswith("split")]
    assert splits == [f"split{j}_test_score" for j in range(n_splits)]
    first = np.stack([results[name] for name in splits[:3]])
    for later in range(3, n_splits, 3):
        assert not np.array_equal(first, np.stack([results[n] for n in splits[later : later + 3]]))


def test_the_choice_is_the_same_in_every_fit_and_for_every_order_of_the_rows(fitted):
    shuffled = (
        LOG.sample(frac=1, random_state=1).sort_values(["episode", "step"], kind="stable")
        if "step" in LOG
        else LOG
    )
    again = MarkovPolicyCV(gamma=0.99, **GRID).fit(shuffled)
    np.testing.assert_array_equal(
        again.cv_results_["mean_test_score"], fitted.cv_results_["mean_test_score"]
    )
    assert again.gain_interval_ == fitted.gain_interval_
    other = MarkovPolicyCV(gamma=0.99, random_state=3, **GRID).fit(LOG)
    assert other.gain_ != fitted.gain_
    assert other.gain_ == pytest.approx(fitted.gain_, abs=0.5)


def test_candidates_that_may_choose_the_same_are_learned_once(monkeypatch):
    """An action that was logged has weighed 1 at least, so that this excludes none."""
    n_learned = []

    def learn(*evidence, **options):
        n_learned[-1] += 1
        return learn_policy(*evidence, **options)

    monkeypatch.setattr("skmdp._estimator.learn_policy", learn)
    found = []
    for min_counts in ([0], [0, 1], [0, 1, 40]):
        n_learned.append(0)
        found.append(MarkovPolicyCV(min_counts=min_counts, prior_strengths=[0], cv=3).fit(LOG))
    assert n_learned[0] == n_learned[1] < n_learned[2]
    assert found[0].gain_interval_ == found[1].gain_interval_
    scores = [found[1].cv_results_[f"split{j}_test_score"] for j in range(3)]
    np.testing.assert_array_equal(*np.transpose(scores))


# --------------------------------------------------------------------------------------- the gain


def bandit(n, pays, share=0.5, seed=0):
    """Return one-step decisions between two actions; the first pays 0, the second ``pays``."""
    rng = np.random.default_rng(seed)
    action = np.where(rng.uniform(size=n) < share, "new", "old")
    return pd.DataFrame(
        {"episode": np.arange(n), "state": "s", "action": action, "next_state": None}
    ).assign(reward=np.where(action == "new", pays(rng, n), 0.0))


def test_the_gain_of_one_step_decisions_is_known():
    """Half of the decisions pay 1 already, so paying 1 always gains a half."""
    table = bandit(400, lambda _, n: np.ones(n), seed=1)
    policy = MarkovPolicyCV().fit(table)
    assert policy.predict(["s"]) == ["new"]
    assert policy.value_ == pytest.approx(1, abs=0.05)  # a prior of at most one row
    assert policy.gain_ == pytest.approx(0.5, abs=0.08)
    lower, upper = policy.gain_interval_
    assert lower < 0.5 < upper
    assert upper - lower == pytest.approx(4 * 0.5 / np.sqrt(240), rel=0.2)
    assert policy.is_better_
    assert policy.unsupported_share_ == 0


@pytest.mark.long
def test_the_interval_holds_the_true_gain():
    """Of Gaussian rewards with mean .2, half of them taken already: the truth is .1."""
    held, better = 0, 0
    for seed in range(60):
        table = bandit(150, lambda rng, n: rng.normal(0.2, 1, n), seed=seed)
        policy = MarkovPolicyCV(min_counts=[0], prior_strengths=[0]).fit(table)
        truth = 0.2 * ((policy.predict(["s"]) == ["new"])[0] - 0.5)
        lower, upper = policy.gain_interval_
        held += lower <= truth <= upper
        better += policy.is_better_
    assert held >= 54
    assert better <= 35


@pytest.mark.long
def test_without_any_gain_nothing_is_claimed():
    claims = 0
    for seed in range(40):
        table = bandit(100, lambda rng, n: rng.normal(0, 1, n), seed=seed)
        claims += MarkovPolicyCV().fit(table).is_better_
    assert claims <= 3  # of 40, at 2.5 % each


@pytest.mark.long
def test_the_luckiest_of_many_actions_is_no_gain():
    """One action is the best in the whole log, by luck alone; it must not prove itself."""
    claims = 0
    sizes = [(200, 10), (500, 5), (300, 30)]
    for (n_rows, n_actions), seed in itertools.product(sizes, range(20)):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame({"episode": range(n_rows), "state": "s", "next_state": None})
        table["action"] = rng.integers(n_actions, size=n_rows)
        table["reward"] = rng.normal(size=n_rows)
        claims += MarkovPolicyCV().fit(table).is_better_
    assert claims <= 4  # of 60, at 2.5 % each


def long_episodes(seed, n_episodes):
    """Few long records of two equal actions, which all come to an end."""
    rng = np.random.default_rng(seed)
    n = 60 * n_episodes
    return pd.DataFrame(
        {
            "episode": np.repeat(np.arange(n_episodes), 60),
            "state": rng.integers(4, size=n),
            "action": rng.choice(["a", "b"], n),
            "reward": rng.normal(1, 1, n),
        }
    )


@pytest.mark.long
@pytest.mark.parametrize("n_episodes", [12, 25])
def test_few_long_episodes_prove_nothing(n_episodes):
    """A part of them may hold no end after one of the actions, which then looks endless."""
    policy = MarkovPolicyCV(terminated=None)
    found = [clone(policy).fit(long_episodes(seed, n_episodes)) for seed in range(10)]
    assert any(one.gain_interval_[0] > 0 for one in found)
    assert not any(one.is_better_ for one in found)
    assert any("too few to judge on" in one.summary() for one in found)


@pytest.mark.long
def test_confounders_that_states_hide_prove_nothing():
    """Both causes are measured, but four clusters do not hold them; the action costs .3."""
    claims = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(500, 2))
        action = (x.sum(axis=1) + 1.5 * rng.normal(size=500) > 0).astype(int)
        reward = 2 * x.sum(axis=1) - 0.3 * action + 0.5 * rng.normal(size=500)
        table = pd.DataFrame({"episode": range(500), "x": x[:, 0], "z": x[:, 1], "action": action})
        pipeline = make_pipeline(
            StateEncoder(state=["x", "z"], n_states=4),
            MarkovPolicyCV(state=["x", "z"], terminated=None, handle_unknown="most_frequent"),
        )
        claims += pipeline.fit(table.assign(reward=reward))[-1].is_better_
    assert claims == 0


def test_thin_support_is_no_proof():
    """An action of one row in a hundred states each: no interval makes up for that."""
    n = 300
    table = pd.DataFrame(
        {
            "episode": np.arange(n),
            "state": np.repeat(np.arange(100), 3),
            "action": np.tile(["old", "old", "new"], 100),
            "next_state": None,
            "reward": np.tile([0.0, 0.0, 5.0], 100),
        }
    )
    policy = MarkovPolicyCV(min_counts=[0], prior_strengths=[0]).fit(table)
    assert policy.unsupported_share_ == pytest.approx(1)
    assert not policy.is_better_
    assert "cannot be told" in policy.summary()


def test_where_nothing_ever_differs_there_is_no_interval():
    policy = MarkovPolicyCV().fit(bandit(50, lambda _, n: np.zeros(n)))
    assert policy.gain_ == 0
    assert np.isnan(policy.gain_interval_).all()
    assert not policy.is_better_


def test_a_log_without_rewards_has_no_gain():
    table = LOG.drop(columns="reward")
    policy = MarkovPolicyCV(reward=None, handle_unknown="most_frequent").fit(table)
    most = table.groupby("state")["action"].agg(lambda actions: actions.mode()[0])
    np.testing.assert_array_equal(policy.predict(most.index.to_numpy()), most.to_numpy())
    assert np.isnan([policy.gain_, policy.value_, *policy.gain_interval_]).all()
    assert not policy.is_better_
    assert 0 < policy.cv_results_["mean_test_score"][0] < 1  # share of agreement
    assert policy.min_count_ == 0


def test_require_gain_keeps_what_is_usual_where_nothing_is_proven():
    table = bandit(60, lambda rng, n: rng.normal(0.05, 1, n), share=0.3, seed=2)
    bold = MarkovPolicyCV(min_counts=[0], prior_strengths=[0]).fit(table)
    with pytest.warns(UserWarning, match="No gain over the logged policy is shown") as caught:
        safe = clone(bold).set_params(require_gain=True).fit(table)
    assert len(caught) == 1
    assert len(str(caught[0].message)) <= 500
    assert caught[0].filename == __file__
    assert bold.predict(["s"]) == ["new"]
    assert safe.predict(["s"]) == ["old"]
    assert safe.imitates_log_
    assert not bold.imitates_log_
    assert safe.gain_interval_ == bold.gain_interval_
    assert "the most logged action of every state" in safe.summary()
    assert "may not be chosen: not what is logged most, and no gain" in str(explain(safe, "s"))
    assert action_table(safe)["why_not"].tolist().count("") == 1
    assert (action_table(bold)["why_not"] == "").all()


def test_require_gain_takes_a_proven_policy(fitted):
    safe = MarkovPolicyCV(gamma=0.99, require_gain=True, **GRID).fit(LOG)
    assert safe.is_better_
    np.testing.assert_array_equal(safe.policy_, fitted.policy_)


def test_imitation_minds_what_is_forbidden():
    table = bandit(60, lambda rng, n: rng.normal(0, 1, n), share=0.3, seed=2)
    forbidden = pd.DataFrame({"state": ["s"], "action": ["old"]})
    with pytest.warns(UserWarning, match="No gain"):
        safe = MarkovPolicyCV(require_gain=True, forbidden=forbidden).fit(table)
    assert safe.predict(["s"]) == ["new"]


def test_gain_has_no_interval_with_sample_weight():
    weights = np.where(LOG["episode"] % 2 == 0, 2.0, 1.0)
    policy = MarkovPolicyCV(gamma=0.99).fit(LOG, sample_weight=weights)
    assert policy.gain_ > 0
    assert np.isnan(policy.gain_interval_).all()
    assert not policy.is_better_
    assert "no interval, as sample_weight does not tell" in policy.summary()
    assert MarkovPolicyCV(gamma=0.99).fit(LOG).is_better_  # as it says


def test_summary_tells_all_in_four_lines(fitted):
    lines = fitted.summary().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"Chosen: min_count={fitted.min_count_:g}, prior_strength=")
    assert "9 candidates" in lines[0]
    assert f"{fitted.value_:.4g}" in lines[1]
    assert f"{fitted.logged_value_:.4g}" in lines[1]
    assert lines[2].startswith("Better than the logged policy, by ")
    assert "400 episodes" in lines[3]
    assert f"{len(LOG):,} rows" in lines[3]
    assert repr(fitted).endswith(fitted.summary())
    assert repr(fitted).startswith("MarkovPolicyCV(")
    assert "\n" not in repr(MarkovPolicyCV())


# -------------------------------------------------------------------------------- raw measurements


def two_sided(n_episodes, seed):
    """Return a log of one-step decisions on a number, whose sign decides which action pays."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.3, 1, n_episodes) * rng.choice([-1, 1], n_episodes)
    action = np.where(rng.uniform(size=n_episodes) < 0.5, "left", "right")
    reward = np.where((x > 0) == (action == "right"), 1.0, 0.0) + rng.normal(0, 0.3, n_episodes)
    return pd.DataFrame(
        {"episode": np.arange(n_episodes), "x": x, "action": action, "reward": reward}
    )


def piped(before="passthrough", **options):
    bins = KBinsDiscretizer(2, encode="ordinal", strategy="uniform")
    return make_pipeline(
        StateEncoder(make_pipeline(before, bins), state=["x"]),
        MarkovPolicyCV(state=["x"], handle_unknown="most_frequent", **options),
    )


def test_behind_an_encoder_the_measurements_judge():
    """The sign is known, and half of the decisions can be mended: the gain is .5.

    Trees smooth over the gap at 0, which makes it smaller.
    """
    pipeline = piped().fit(two_sided(400, 0))
    policy = pipeline[-1]
    assert 0.35 < policy.gain_ < 0.55
    assert policy.gain_interval_[0] < 0.5
    assert policy.is_better_
    fqe = evaluate_policy(pipeline, two_sided(400, 1), methods="fqe").to_frame()
    assert policy.value_ == pytest.approx(fqe["value"][0], abs=0.15)


def test_states_that_hide_what_matters_gain_nothing():
    """Without its sign a number does not tell which action is better."""
    policy = piped(FunctionTransformer(np.abs)).fit(two_sided(400, 0))[-1]
    assert abs(policy.gain_) < 0.15
    assert not policy.is_better_


def test_scores_behind_an_encoder_are_those_of_the_policy_learned_without_the_fold():
    """Where the measurements are the smaller of both values, they are the score."""
    table = two_sided(300, 0)
    encoder = StateEncoder(KBinsDiscretizer(8, encode="ordinal", strategy="uniform"), state=["x"])
    encoded = encoder.fit_transform(table)
    splits = list(EpisodeKFold(2).split(encoded))
    options = {"state": ["x"], "handle_unknown": "most_frequent"}
    chosen = MarkovPolicyCV(min_counts=[0], prior_strengths=[0], cv=splits, **options).fit(encoded)
    for j, (train, test) in enumerate(splits):
        apart = MarkovPolicyEstimator(**options).fit(encoded.iloc[train])
        scored = apart.__skmdp_score__(encoded.iloc[test])
        assert scored.fitted is not None
        unknown = scored.fitted.unsupported_decisions * scored.spread
        ours = chosen.cv_results_[f"split{j}_test_score"][0]
        assert ours <= scored.fitted.value - unknown + 1e-9
        if scored.fitted.value < scored.own:
            assert ours == pytest.approx(scored.value)


# ----------------------------------------------------------------------------------- other company


def test_it_goes_where_the_estimator_goes(fitted):
    assert list(policy_table(fitted).columns)
    stored = pickle.loads(pickle.dumps(fitted))
    assert stored.summary() == fitted.summary()
    np.testing.assert_array_equal(stored.predict(LOG), fitted.predict(LOG))
    bag = PolicyBagging(
        MarkovPolicyCV(gamma=0.99, handle_unknown="most_frequent"), 2, random_state=0
    ).fit(LOG)
    assert set(bag.predict(LOG)) <= set(fitted.actions_)
    search = GridSearchCV(
        MarkovPolicyCV(handle_unknown="most_frequent"), {"gamma": [0.5, 0.99]}, cv=EpisodeKFold(2)
    ).fit(make_search_log(1_000, length=4, random_state=0))
    assert search.best_params_["gamma"] in (0.5, 0.99)
    assert clone(fitted).get_params() == fitted.get_params()


def test_what_a_ban_costs_can_be_told():
    forbidden = pd.DataFrame({"action": LOG["action"].unique()[:1]})
    policy = MarkovPolicyCV(gamma=0.99, forbidden=forbidden).fit(LOG)
    assert not np.isin(policy.policy_, forbidden["action"]).any()
    assert len(forbidden_cost(policy)) > 0


def test_a_ban_that_a_fold_leaves_nothing_of_is_no_error():
    """Without the one row that is allowed in a state, only what is forbidden was done there."""
    table = bandit(50, lambda rng, n: rng.normal(0, 1, n), share=0.0)
    elsewhere = table.assign(state="t", episode=table["episode"] + 50, action="new")
    table.loc[7, "action"] = "new"
    policy = MarkovPolicyCV(forbidden=pd.DataFrame({"action": ["old"]}))
    policy = policy.fit(pd.concat([table, elsewhere], ignore_index=True))
    assert policy.predict(["s"]) == ["new"]


def test_features_and_actions_are_judged_by_rows():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 2, (200, 1)), rng.integers(0, 2, 200)
    policy = MarkovPolicyCV().fit(X, y, reward=(X[:, 0] == y).astype(float))
    assert policy.predict([[0], [1]]).tolist() == [0, 1]
    assert policy.gain_ == pytest.approx(0.5, abs=0.1)
    assert policy.is_better_
    assert "episodes" not in policy.summary().splitlines()[-1] or policy.n_episodes_


def test_unknown_states_of_a_fold_get_the_answer_of_the_nearest():
    """The outermost states are met in one fold alone; their neighbours tell what pays there."""
    rng = np.random.default_rng(0)
    state, action = np.repeat(np.arange(8), 20), rng.integers(0, 2, 160)
    reward = np.where((state < 4) == (action == 0), 1.0, 0.0)
    table = pd.DataFrame({"episode": np.arange(160), "state": state, "action": action})
    table = table.assign(next_state=None, reward=reward)
    splits = [(np.flatnonzero(state != i), np.flatnonzero(state == i)) for i in (0, 7)]
    near, most = (
        MarkovPolicyCV(handle_unknown=how, min_counts=[0], prior_strengths=[0], cv=splits)
        .fit(table)
        .cv_results_["mean_test_score"][0]
        for how in ("nearest", "most_frequent")
    )
    assert near > 0.9
    assert most == pytest.approx(0.5, abs=0.2)


def test_durations_count_in_time():
    """Records are cut after a time: of two actions that pay alike, the faster one gains."""
    rng = np.random.default_rng(0)
    rows = []
    for episode in range(120):
        t = 0.0
        while t < 20:
            fast = rng.uniform() < 0.5
            d = 1.0 if fast else 3.0
            rows.append((episode, "s", "fast" if fast else "slow", "s", 1.0, d))
            t += d
    table = pd.DataFrame(
        rows, columns=["episode", "state", "action", "next_state", "reward", "duration"]
    )
    policy = MarkovPolicyCV(gamma=0.95).fit(table)
    assert policy.predict(["s"]) == ["fast"]
    # In about 21 units of time: 21 decisions rather than the logged 10.5, at first order.
    assert policy.gain_ == pytest.approx(10, abs=2.5)
    assert policy.is_better_


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_counts": []}, ValueError, "min_counts is empty; hand in at least one candidate"),
        ({"prior_strengths": ()}, ValueError, "prior_strengths is empty"),
        (
            {"min_counts": [0, -1]},
            ValueError,
            "min_counts must hold numbers that are at least 0, got -1",
        ),
        ({"min_counts": [True]}, ValueError, "got True"),
        (
            {"min_counts": ["auto"]},
            ValueError,
            "min_counts must hold numbers that are at least 0, got 'auto'",
        ),
        ({"min_counts": [np.nan]}, ValueError, "got nan"),
        ({"prior_strengths": ["much"]}, ValueError, "at least 0 or \"auto\", got 'much'"),
        (
            {"min_counts": 3},
            ValueError,
            r"The 'min_counts' parameter of MarkovPolicyCV must be .* got 3\. .* write \(3,\)\.",
        ),
        ({"min_counts": np.array(3)}, ValueError, "'min_counts' parameter .* must be a sequence"),
        ({"min_counts": None}, ValueError, r"must be a sequence of candidates, got None\.$"),
        (
            {"prior_strengths": "auto"},
            ValueError,
            r"The 'prior_strengths' parameter of MarkovPolicyCV .* write \('auto',\)\.",
        ),
        ({"cv": 1}, ValueError, "The 'cv' parameter of MarkovPolicyCV must be"),
        ({"cv": 5}, ValueError, "cv=5 folds need at least 5 episodes, but 4 hold rows"),
        ({"episode": None}, ValueError, "nothing in the table tells which rows belong together"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_the_fit_as_it_was(options, error, message):
    policy = MarkovPolicyCV(cv=2).fit(load_climb())
    before = pickle.dumps(policy.predict(["low"])), policy.summary()
    table = load_climb()
    if options.get("episode", "") is None:
        table = table.assign(next_state=table.groupby("episode")["state"].shift(-1))
    with pytest.raises(error, match=message):
        policy.set_params(**options).fit(table)
    assert (pickle.dumps(policy.predict(["low"])), policy.summary()) == before


def test_fractions_of_rows_need_a_number():
    weights = np.full(len(LOG), 0.5)
    with pytest.raises(ValueError, match='prior_strength="auto" needs sample weights that are'):
        MarkovPolicyCV().fit(LOG, sample_weight=weights)
    policy = MarkovPolicyCV(prior_strengths=[1.0]).fit(LOG, sample_weight=weights)
    assert policy.prior_strength_ == 1


def loops(n_episodes):
    """Return episodes in which waiting pays and never ends, but for one row."""
    stay = pd.DataFrame(
        {
            "episode": range(n_episodes),
            "state": "a",
            "action": "go",
            "next_state": None,
            "reward": 1.0,
        }
    )
    wait = pd.DataFrame(
        {
            "episode": [0, 0],
            "state": "a",
            "action": "wait",
            "next_state": ["a", None],
            "reward": [1.0, 0.0],
        }
    )
    return pd.concat([stay, wait], ignore_index=True)


@pytest.mark.filterwarnings("ignore:In 1 of 3 places a row of X does not lead:UserWarning")
def test_candidates_that_loop_without_a_fold_are_not_taken():
    """Without the row that ends, waiting earns for ever; a candidate that excludes it is left."""
    table = loops(10).sort_values("episode", kind="stable")
    table.loc[(table["episode"] == 1), ["action", "next_state"]] = ["wait", "a"]
    table = pd.concat([table, table[table["episode"] == 1].assign(next_state=None)]).sort_values(
        "episode", kind="stable"
    )
    policy = MarkovPolicyCV(gamma=1, min_counts=[0, 5], prior_strengths=[0], cv=5).fit(table)
    assert policy.min_count_ in (0, 5)


def test_a_process_that_loops_for_ever_is_refused():
    table = pd.DataFrame(
        {"episode": range(10), "state": "a", "action": "wait", "next_state": "a", "reward": 1.0}
    )
    with pytest.raises(EndlessLoopError, match="endless loop"):
        MarkovPolicyCV(gamma=1).fit(table)

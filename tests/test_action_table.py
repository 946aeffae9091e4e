"""Every action of every state: numbers that other parts of the library know as well."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_garnet, sample_transitions
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import action_table, optimal_actions, policy_table, q_intervals
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder


def a_log(seed=0, n_episodes=300, noise=0.5):
    log = sample_transitions(
        make_garnet(6, 2, 3, random_state=seed), None, n_episodes, random_state=seed
    )
    log["reward"] += noise * np.random.default_rng(seed).normal(size=len(log))
    return log


def measured_log(seed=0, n=600):
    """A log of two measurements, whose episodes have one decision."""
    rng = np.random.default_rng(seed)
    log = pd.DataFrame({"heat": rng.uniform(0, 90, n), "load": rng.uniform(0, 1, n)})
    log["action"] = rng.choice(["run", "stop"], n)
    log["reward"] = np.where((log["heat"] > 45) == (log["action"] == "stop"), 1.0, 0.0)
    return log.assign(next_heat=np.nan, next_load=np.nan, episode=np.arange(n))


LOG = a_log()
RAW = measured_log()
SINGLE = MarkovPolicyEstimator(handle_unknown="most_frequent")
ENCODED = make_pipeline(
    StateEncoder(state=["heat", "load"], n_states=4), MarkovPolicyEstimator(state=["heat", "load"])
)
WRAPPED = {
    "alone": (SINGLE, LOG),
    "frozen": (FrozenEstimator(MarkovPolicyEstimator().fit(LOG)), None),
    "search": (GridSearchCV(SINGLE, {"gamma": [0.5, 0.9]}, cv=EpisodeKFold(3)), LOG),
    "chosen by cross-validation": (MarkovPolicyCV(handle_unknown="most_frequent"), LOG),
    "imitation": (MarkovPolicyCV(min_counts=[np.inf], handle_unknown="most_frequent"), LOG),
    "ensemble": (PolicyBagging(SINGLE, 3, bootstrap=True, random_state=0), LOG),
    "pipeline": (ENCODED, RAW),
    "ensemble behind an encoder": (
        make_pipeline(
            StateEncoder(state=["heat", "load"], n_states=4),
            PolicyBagging(
                MarkovPolicyEstimator(state=["heat", "load"]), 3, bootstrap=True, random_state=0
            ),
        ),
        RAW,
    ),
}


@pytest.mark.filterwarnings("ignore:min_count=inf excludes every action:UserWarning")
@pytest.mark.parametrize("case", WRAPPED)
def test_the_advised_actions_are_those_of_the_policy_table(case):
    policy, log = WRAPPED[case]
    policy = policy if log is None else policy.fit(log)
    table, states = action_table(policy), policy_table(policy)
    names = [name for name in states if name not in ("action", "value", "margin")][:-3]
    advised = table[table["is_advised"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(advised[[*names, "action"]], states[[*names, "action"]])
    assert_allclose(advised["q"], states["value"], rtol=1e-6, atol=1e-9)
    assert_allclose(advised["n"], states["action_visits"])
    assert_allclose(table.groupby(names, observed=True)["share"].sum(), 1)
    assert_allclose(table.groupby(names, observed=True)["n"].sum(), states["state_visits"])
    others = table[table["is_admissible"] & ~table["is_advised"]]
    margin = others.groupby(names, observed=True)["gap"].min()
    assert_allclose(margin, states["margin"].dropna(), rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:min_count=inf excludes every action:UserWarning")
@pytest.mark.parametrize("case", WRAPPED)
def test_tied_actions_and_intervals_have_the_same_states(case):
    policy, log = WRAPPED[case]
    policy = policy if log is None else policy.fit(log)
    states, optimal, intervals = policy_table(policy), optimal_actions(policy), q_intervals(policy)
    assert_array_equal(optimal["action"], states["action"])
    assert all(
        one in several
        for one, several in zip(optimal["action"], optimal["optimal_actions"], strict=True)
    )
    assert_array_equal(intervals[intervals["is_advised"]]["action"], states["action"])
    assert intervals["probability_best"].between(0, 1).all()
    assert (intervals["lower"] <= intervals["q"]).all()


def test_numbers_are_those_of_the_log():
    policy = MarkovPolicyEstimator(gamma=0.7, prior_strength=3.0, min_count=40).fit(LOG)
    table = action_table(policy)
    grouped = LOG.groupby(["state", "action"])["reward"]
    assert_allclose(table["n"], grouped.size())
    assert_allclose(table["mean_reward"], grouped.mean())
    rows = np.searchsorted(policy.states_, table["state"])
    columns = np.searchsorted(policy.actions_, table["action"])
    q = policy.q_values_[rows, columns]
    assert_allclose(table["q"][table["is_admissible"]], q[np.isfinite(q)])
    assert_array_equal(table["is_admissible"], np.isfinite(q))
    assert set(table["why_not"][~table["is_admissible"]]) <= {"fewer rows than min_count"}


def test_q_of_what_may_not_be_chosen_is_that_of_trying_it_once():
    free = MarkovPolicyEstimator(gamma=0.7).fit(LOG)
    table = action_table(free)
    worst = table[~table["is_advised"]].iloc[[0]]
    rule = pd.DataFrame({"state": worst["state"], "action": worst["action"]})
    bound = action_table(MarkovPolicyEstimator(gamma=0.7, forbidden=rule).fit(LOG))
    row = bound[
        (bound["state"] == rule["state"].iloc[0]) & (bound["action"] == rule["action"].iloc[0])
    ]
    assert row["why_not"].item() == "forbidden"
    assert_allclose(row["q"], worst["q"])  # the advice is the same without it


def test_durations_discount_what_follows():
    log = LOG.assign(duration=np.where(LOG["action"] == 0, 1.0, 2.0))
    policy = MarkovPolicyEstimator(gamma=0.8).fit(log)
    table = action_table(policy)
    rows = np.searchsorted(policy.states_, table["state"])
    assert_allclose(table["q"], policy.q_values_[rows, table["action"]])
    own = MarkovPolicyEstimator(gamma=0.8, min_count=60).fit(log)
    rare = action_table(own)
    assert not rare["is_admissible"].all()
    # Under the values of that policy, by hand: r + gamma ** duration * V.
    value = dict(zip(own.states_, own.state_values_, strict=True))
    following = log["next_state"].map(value).fillna(0.0).astype(float)
    worth = log["reward"] + 0.8 ** log["duration"] * following
    assert_allclose(rare["q"], worth.groupby([log["state"], log["action"]]).mean(), rtol=1e-5)


def test_untried_actions_stand_in_the_table_where_they_may_be_chosen():
    log = load_climb()
    log = log[~((log["state"] == "mid") & (log["action"] == "sink"))]
    table = action_table(MarkovPolicyEstimator(untried="uniform").fit(log))
    row = table[(table["state"] == "mid") & (table["action"] == "sink")].iloc[0]
    assert (row["n"], row["share"], row["is_admissible"]) == (0, 0, True)
    assert np.isnan(row["mean_reward"])
    assert np.isnan(row["standard_error"])


def test_an_advised_action_that_was_never_logged_has_no_errors_of_gaps():
    log = pd.DataFrame(
        {
            "state": ["bad", "bad", "good"],
            "action": ["x", "x", "y"],
            "next_state": [None, None, None],
            "reward": [0.0, 0.1, 9.0],
        }
    )
    policy = MarkovPolicyEstimator(untried="uniform", gamma=0.9).fit(log)
    table = q_intervals(policy)
    rows = table[table["state"] == "bad"]
    assert rows["action"][rows["is_advised"]].tolist() == ["y"]
    assert rows["probability_best"].isna().all()


def test_ties_are_all_told():
    log = pd.DataFrame(
        {"state": "s", "action": ["a", "b", "b", "c"], "next_state": None, "reward": [1.0, 1, 1, 0]}
    )
    found = optimal_actions(MarkovPolicyEstimator().fit(log)).iloc[0]
    assert (found["action"], found["n_optimal"], found["optimal_actions"]) == ("b", 2, ("a", "b"))


# ------------------------------------------------------------------------------ standard errors


def test_errors_of_single_decisions_are_those_of_means():
    """Without what follows Q is a mean, and its variance is shrunk towards that of the state."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"state": 0, "action": np.repeat([0, 1], [300, 500]), "next_state": None})
    log["reward"] = rng.normal(size=800) + log["action"]
    table = q_intervals(MarkovPolicyEstimator(pessimism=1e-12).fit(log))
    by_action = log.groupby("action")["reward"]
    n, spread = by_action.size(), log["reward"].var(ddof=0)
    error = np.sqrt((n * by_action.var(ddof=0) + spread) / (n + 1) / n)
    assert_allclose(table["standard_error"], error, rtol=1e-6)
    gap = by_action.mean().diff().iloc[-1] / np.hypot(*error)
    assert_allclose(table["probability_best"], norm.cdf(gap), rtol=1e-6)
    width = norm.ppf(0.95) * error
    narrow = q_intervals(MarkovPolicyEstimator(pessimism=1e-12).fit(log), level=0.9)
    assert_allclose(narrow["upper"] - narrow["q"], width, rtol=1e-6)


def test_errors_with_a_prior_are_those_of_both_means():
    """Q is lam m(a) + (1 - lam) m(s), and of equal rows Q(a) - Q(b) is lam (m(a) - m(b))."""
    rng = np.random.default_rng(0)
    n, kappa = 400, 300.0
    log = pd.DataFrame({"state": 0, "action": np.repeat([0, 1], n), "next_state": None})
    log["reward"] = rng.normal(size=2 * n) + 0.1 * log["action"]
    table = q_intervals(MarkovPolicyEstimator(prior_strength=kappa, pessimism=1e-12).fit(log))
    lam, of_state = n / (n + kappa), log["reward"].var(ddof=0)
    of_pair = (n * log.groupby("action")["reward"].var(ddof=0) + of_state) / (n + 1)
    variance = (
        lam**2 * of_pair / n
        + 2 * lam * (1 - lam) * of_pair / (2 * n)
        + (1 - lam) ** 2 * of_state / (2 * n)
    )
    assert_allclose(table["standard_error"], np.sqrt(variance), rtol=1e-6)
    z = table["q"].diff().iloc[1] / (lam * np.sqrt(of_pair.sum() / n))
    assert_allclose(table["probability_best"], norm.cdf(z), rtol=1e-6)


def test_what_follows_both_actions_is_no_error_of_their_difference():
    """Both lead to one state, about which little is known."""
    rng = np.random.default_rng(0)
    first = pd.DataFrame({"state": 0, "action": np.repeat([0, 1], 100), "next_state": 1.0})
    last = pd.DataFrame({"state": 1, "action": 0, "next_state": np.nan}, index=range(5))
    log = pd.concat(
        [first.assign(reward=rng.normal(size=200)), last.assign(reward=9 * rng.normal(size=5))]
    )
    estimator = MarkovPolicyEstimator(gamma=0.9, pessimism=1e-12)
    table = q_intervals(estimator.fit(log))
    alone = q_intervals(estimator.fit(log[log["state"] == 0].assign(next_state=None)))
    rows = (table["state"] == 0).to_numpy()
    assert (table["standard_error"][rows] > 5 * alone["standard_error"]).all()
    assert_allclose(table["probability_best"][rows], alone["probability_best"], rtol=1e-6)


def test_a_way_back_multiplies_the_error_of_what_is_advised():
    """The advised action leads back half of the time, the other one ends."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"state": 0, "action": np.repeat([0, 1], 100)})
    log["next_state"] = np.where((log["action"] == 0) & (log.index % 2 == 0), 0.0, np.nan)
    log["reward"] = rng.normal(size=200) + 0.2 * (log["action"] == 0)
    table = q_intervals(MarkovPolicyEstimator(gamma=0.8).fit(log))
    assert table["is_advised"].tolist() == [True, False]
    gap = table["q"].iloc[0] - table["q"].iloc[1]
    z = gap / np.hypot(*table["standard_error"])
    assert_allclose(norm.ppf(table["probability_best"]), z, rtol=1e-6)


def test_with_pessimism_values_are_lowered_as_those_of_the_policy():
    policy = MarkovPolicyEstimator(gamma=0.7, pessimism=0.5).fit(LOG)
    table = action_table(policy)
    assert_allclose(table["q"], policy.q_values_[table["state"], table["action"]])
    plain = action_table(MarkovPolicyEstimator(gamma=0.7).fit(LOG))
    assert (table["q"] < plain["q"]).mean() > 0.9


def test_a_log_without_chance_has_no_errors():
    table = q_intervals(
        MarkovPolicyEstimator(gamma=0.5).fit(
            pd.DataFrame(
                {
                    "state": [0, 0, 1],
                    "action": [0, 0, 0],
                    "next_state": [1, 1, None],
                    "reward": [0.0, 0, 1],
                }
            )
        )
    )
    assert_allclose(table["standard_error"], 0, atol=1e-12)
    assert_allclose(table["probability_best"], 1)


def test_a_log_without_rewards_has_no_errors():
    table = q_intervals(MarkovPolicyEstimator(reward=None).fit(LOG.drop(columns="reward")))
    assert_allclose(table["standard_error"], 0, atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize(("seed", "prior_strength"), [(0, 0.0), (1, 5.0)])
def test_errors_agree_with_the_bootstrap(seed, prior_strength):
    """Over 150 draws of episodes; of pairs with 30 rows or more, within a third."""
    log = a_log(seed, 400)
    estimator = MarkovPolicyEstimator(gamma=0.9, prior_strength=prior_strength)
    table = q_intervals(estimator.fit(log))
    rng = np.random.default_rng(seed)
    episode = log["episode"].to_numpy()
    rows, columns = table["state"].to_numpy(), table["action"].to_numpy()
    draws = []
    for _ in range(150):
        times = np.bincount(rng.integers(400, size=400), minlength=400)
        drawn = MarkovPolicyEstimator(gamma=0.9, prior_strength=prior_strength)
        drawn.fit(log, sample_weight=times[episode])
        draws.append(drawn.q_values_[np.searchsorted(drawn.states_, rows), columns])
    many = (table["n"] >= 30).to_numpy()
    ratio = (table["standard_error"] / np.std(draws, axis=0, ddof=1))[many]
    assert many.sum() >= 8
    assert ratio.between(0.67, 1.5).all()
    assert abs(np.log(ratio).mean()) < 0.2
    # How often the advised action was best is what its probability says.
    q = pd.DataFrame(np.array(draws).T, index=pd.MultiIndex.from_arrays([rows, columns]))
    best = q.groupby(level=0).transform("max")
    advised = table["is_advised"].to_numpy()
    share = (q >= best - 1e-9)[advised].mean(axis=1).to_numpy()
    assert_allclose(table["probability_best"][advised], share, atol=0.2)


def test_errors_fall_with_the_root_of_the_rows():
    once = q_intervals(MarkovPolicyEstimator().fit(LOG))
    four = q_intervals(MarkovPolicyEstimator().fit(LOG, sample_weight=np.full(len(LOG), 4.0)))
    many = (once["n"] > 20).to_numpy()
    assert_allclose((once["standard_error"] / four["standard_error"])[many], 2, rtol=0.05)


def test_errors_are_computed_in_blocks(monkeypatch):
    policy = MarkovPolicyEstimator().fit(LOG)
    whole = q_intervals(policy)
    monkeypatch.setattr("skmdp._evaluation.pair_errors.BLOCK_CELLS", 20)
    pd.testing.assert_frame_equal(q_intervals(policy), whole)


@pytest.mark.parametrize("most_dense", [0, 3000])
def test_random_projections_come_near_the_exact_sums(monkeypatch, most_dense):
    log = sample_transitions(make_garnet(40, 3, 3, random_state=0), None, 300, random_state=0)
    log["reward"] += np.random.default_rng(0).normal(size=len(log))
    policy = MarkovPolicyEstimator(gamma=0.95, prior_strength=1.0).fit(log)
    exact = q_intervals(policy)
    monkeypatch.setattr("skmdp._evaluation.pair_errors.MOST_EXACT", 0)
    monkeypatch.setattr("skmdp._evaluation.pair_errors.MOST_DENSE", most_dense)
    near = q_intervals(policy)
    assert_allclose(near["standard_error"], exact["standard_error"], rtol=0.25)
    assert abs(np.log(near["standard_error"] / exact["standard_error"]).mean()) < 0.12
    assert_allclose(near["probability_best"], exact["probability_best"], atol=0.05)
    pd.testing.assert_frame_equal(q_intervals(policy), near)


def test_without_discount_errors_are_those_of_the_way_to_the_end():
    """A walk that stops with probability 1/2 takes 1 / p steps, so Q moves by 1 / p^2 dp."""
    log = pd.DataFrame({"state": 0, "action": 0, "next_state": [0.0, np.nan] * 200, "reward": -1.0})
    table = action_table(MarkovPolicyEstimator(gamma=1.0).fit(log))
    assert_allclose(table["q"], -2)
    assert_allclose(table["standard_error"], 4 * np.sqrt(0.25 / 400), rtol=1e-6)


def test_rewards_known_by_state_alone_have_one_variance():
    log = LOG.assign(
        reward=LOG["reward"] + LOG["action"] * np.random.default_rng(1).normal(size=len(LOG))
    )
    by_pair = action_table(MarkovPolicyEstimator(pessimism=1e-12).fit(log))
    by_state = action_table(MarkovPolicyEstimator().fit(log))
    many = (by_pair["n"] > 20) & (by_pair["action"] == 1)
    assert (by_pair["standard_error"] > by_state["standard_error"])[many].mean() > 0.7


def test_old_policies_that_kept_no_squares_have_errors_of_what_follows_alone():
    policy = MarkovPolicyEstimator(gamma=0.9).fit(LOG)
    whole = action_table(policy)["standard_error"]
    evidence = policy.__skmdp_policy__().evidence
    object.__setattr__(evidence, "state_squares", None)
    assert (action_table(policy)["standard_error"] < whole).all()


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("function", [action_table, optimal_actions, q_intervals])
def test_what_is_no_fitted_policy_is_refused(function):
    with pytest.raises(NotFittedError):
        function(MarkovPolicyEstimator())
    with pytest.raises(NotFittedError):
        function(PolicyBagging(MarkovPolicyEstimator()))
    with pytest.raises(TypeError, match="policy must be a MarkovPolicyEstimator"):
        function("policy")
    pipes = PolicyBagging(ENCODED, 2, random_state=0).fit(RAW)
    with pytest.raises(TypeError, match="make states of their own"):
        function(pipes)


def test_a_level_is_a_probability():
    with pytest.raises(ValueError, match="'level' parameter"):
        q_intervals(MarkovPolicyEstimator().fit(LOG), level=95)

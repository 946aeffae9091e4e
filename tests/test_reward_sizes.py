"""Rewards of any size: all that is told of them scales, or what has no powers is refused."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import make_search_log
from skmdp.metrics import compare_policies, evaluate_policy

LOG = make_search_log(400, length=4, random_state=0)
LOG["reward"] += np.random.default_rng(0).normal(size=len(LOG))
LOG["step"] = LOG.groupby("episode").cumcount()
ROW = int(LOG["reward"].abs().argmax())
SIZES = [2.0**-220, 2.0**220]  # some 1e-66 and 1e66
BEYOND = [1e-300, 1e-200, 1e-72, 1e71, 1e77, 1e154, 1e200, 1e300]
WITH_REWARDS = {"reward": LOG["reward"]}


def times(factor, log=LOG):
    return log.assign(reward=log["reward"] * factor)


def lazily(log):
    return pl.from_pandas(log).lazy()


def of_features(log):
    options = {name: log[name] for name in ("reward", "episode")}
    return MarkovPolicyCV().fit(log[["state"]], log["action"], **options)


def by(method, log):
    return evaluate_policy(
        "behavior", log, methods=method, columns={"state": ["state"]}, random_state=0
    )


JUDGES = {
    "dm": lambda log: by("dm", log),
    "fqe": lambda log: by("fqe", log),
    "wis": lambda log: by("wis", log),
    "compare": lambda log: compare_policies({"log": "behavior"}, log, methods="dm"),
    "cv": lambda log: MarkovPolicyCV().fit(log),
    "cv of features": of_features,
    "pessimism": lambda log: MarkovPolicyEstimator(pessimism=0.5).fit(log),
    "lazy cv": lambda log: MarkovPolicyCV().fit(lazily(log)),
    "lazy dm": lambda log: evaluate_policy("behavior", lazily(log)),
}


@pytest.mark.parametrize("factor", SIZES)
def test_all_that_is_told_scales_with_rewards(factor):
    one, other = (MarkovPolicyCV().fit(log) for log in (LOG, times(factor)))
    assert_allclose(other.gain_interval_, np.array(one.gain_interval_) * factor, rtol=1e-9)
    assert one.is_better_ == other.is_better_
    for method in ("dm", "fqe", "wis"):
        one, other = (by(method, log) for log in (LOG, times(factor)))
        told = ["value", "standard_error", "lower", "upper"]
        assert_allclose(other.to_frame()[told], one.to_frame()[told] * factor, rtol=1e-9)
        assert other.drift_gain == pytest.approx(one.drift_gain * factor, rel=1e-9)


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("factor", BEYOND)
def test_rewards_without_powers_are_refused_where_these_are_needed(judge, factor):
    size = f"too {'large' if factor > 1 else 'small'} to square.*Divide the column by "
    where = "" if judge.startswith("lazy") else rf"is -?[\d.e+-]* at row {ROW} \(counting from 0\)"
    if factor > 1e290 and judge.startswith(("lazy", "cv")):
        size = f"{size}|add up to more"  # of engines
    with pytest.raises(ValueError, match=f"'reward' {where}.*({size})"):
        JUDGES[judge](times(factor))


@pytest.mark.parametrize("judge", ["dm", "cv", "lazy cv"])
@pytest.mark.parametrize("factor", [1e-200, 1e200, 1.7e300])
def test_rewards_divided_as_the_message_says_are_judged(judge, factor):
    log = times(factor)
    with pytest.raises(ValueError, match="too") as error:
        JUDGES[judge](log)
    divisor = float(str(error.value).split("Divide the column by ")[1].split(";")[0])
    JUDGES[judge](times(1 / divisor, log))


def test_rewards_of_all_sizes_beside_each_other_are_no_matter():
    log = LOG.copy()
    log.loc[::3, "reward"] = 1e-300
    log.loc[1::3, "reward"] = 0.0
    JUDGES["cv"](log)
    JUDGES["cv"](LOG.assign(reward=0.0))


def test_what_has_no_weight_may_be_of_any_size():
    log = LOG.copy()
    log.loc[5, "reward"] = 1e200
    weights = np.ones(len(log))
    with pytest.raises(ValueError, match=r"1e\+200 at row 5"):
        MarkovPolicyCV().fit(log, sample_weight=weights)
    weights[5] = 0
    MarkovPolicyCV().fit(log, sample_weight=weights)


@pytest.mark.parametrize("factor", [1e-200, 1e154, 1e200])
def test_a_policy_is_learned_from_rewards_without_powers(factor):
    policy = MarkovPolicyEstimator().fit(times(factor))
    assert policy.policy_map() == MarkovPolicyEstimator().fit(LOG).policy_map()

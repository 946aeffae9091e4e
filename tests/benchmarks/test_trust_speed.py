"""What evaluation costs beside fit: python -m pytest tests/benchmarks/test_trust_speed.py -s.

Times are the medians of runs taken in turn; read the ratios, not the seconds.
"""

import warnings

import pytest
from test_speed import in_turn

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_search_log
from skmdp.metrics import evaluate_policy

N_ROWS = 1_000_000


@pytest.fixture(scope="module")
def log():
    """Return the whole episodes of a million rows."""
    table = make_search_log(130_000, random_state=0)
    return table[table["episode"] < table["episode"].iloc[N_ROWS]]


@pytest.fixture(scope="module")
def policy():
    """Return a policy from a log of its own that keeps to what is often logged."""
    learner = MarkovPolicyEstimator(gamma=0.99, min_count=100, handle_unknown="most_frequent")
    return learner.fit(make_search_log(130_000, random_state=1))


def quietly(policy, log, **options):
    """Evaluate where few episodes agree with the policy, which is said each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return evaluate_policy(policy, log, **options)


def test_direct_method_and_its_interval_against_fit(log, policy):
    assert N_ROWS - 200 < len(log) <= N_ROWS
    learner = MarkovPolicyEstimator(gamma=0.99)
    dm, score, fit = in_turn(
        lambda: evaluate_policy(policy, log, methods="dm"),
        lambda: policy.score(log),
        lambda: learner.fit(log),
    )
    row = evaluate_policy(policy, log, methods="dm").to_frame().iloc[0]
    assert row["lower"] < row["value"] < row["upper"]
    print(f"\nuntried share {row['untried_share']:.4f}; dm with interval {dm:.3f} s, ", end="")
    print(f"score {score:.3f} s, fit {fit:.3f} s: {dm / fit:.2f} and {score / fit:.2f} times")
    assert dm / fit <= 5


def test_three_methods_and_200_resamples_against_fit(log, policy):
    learner = MarkovPolicyEstimator(gamma=0.99)
    methods = ("dm", "wis", "wdr")
    three, fit = in_turn(
        lambda: quietly(policy, log, methods=methods, n_bootstrap=200, random_state=0),
        lambda: learner.fit(log),
        rounds=3,
    )
    table = quietly(policy, log, methods=methods, n_bootstrap=200, random_state=0).to_frame()
    print("\n", table.round(4).T.to_string(), sep="")
    print(f"three methods with 200 resamples {three:.2f} s, fit {fit:.3f} s: ", end="")
    print(f"{three / fit:.1f} times its time")
    assert three / fit <= 30

"""Every remedy that a message names does what the message promises.

Messages about a table itself are tried where tables are read; here are those about policies, their
evaluation, ensembles and inspection. Each case is what goes wrong, the message, and the remedy
applied: a function that must return True.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler

from skmdp import MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import markov_test, policy_table, supported
from skmdp.metrics import compare_policies, evaluate_policy
from skmdp.model_selection import EpisodeKFold
from skmdp.preprocessing import StateEncoder

CLIMB = load_climb()
SEARCHES = make_search_log(400, length=4, random_state=0)
OTHERS = make_search_log(300, length=4, random_state=1)
QUIET = MarkovPolicyEstimator(handle_unknown="most_frequent", gamma=0.99)
FEATURES = pd.DataFrame({"age": [0, 0, 1, 1] * 30})
DOSES, PAID, PATIENTS = [0, 1] * 60, [1.0, 0.0, 0.0, 1.0] * 30, np.arange(120) // 2


def quietly(function):
    """Return what a function answers, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


def without_warning(function):
    """Call a function; a warning would be an error."""
    function()
    return True


def fitted(**parameters):
    return MarkovPolicyEstimator(**parameters).fit(CLIMB)


def on_features(**metadata):
    return MarkovPolicyEstimator().fit(FEATURES, DOSES, **metadata)


def direct(policy, table=OTHERS, **options):
    return quietly(lambda: evaluate_policy(policy, table, methods="dm", **options)).to_frame()


USUAL = OTHERS.groupby("state")["action"].agg(lambda actions: actions.mode()[0])
PIPE = make_pipeline(
    StateEncoder(KMeans(3, random_state=0), state="heat"), MarkovPolicyEstimator(min_count=2)
)
HEAT = pd.DataFrame(
    {
        "episode": np.arange(200) // 4,
        "heat": np.random.default_rng(0).uniform(size=200),
        "action": np.random.default_rng(1).integers(2, size=200),
        "reward": np.random.default_rng(2).normal(size=200),
        "terminated": False,
    }
)
MANY = pd.DataFrame({"x": np.random.default_rng(0).uniform(size=1500), "action": [0, 1] * 750})

ERRORS = {
    "unknown states are dropped": (
        lambda: fitted(handle_unknown="error").predict(["low", "nowhere"]),
        r"Drop these rows, or choose another handle_unknown",
        lambda: fitted(handle_unknown="error").predict(["low"])[0] == "climb",
    ),
    "unknown states are answered otherwise": (
        lambda: fitted(handle_unknown="error").predict(["low", "nowhere"]),
        r"choose another handle_unknown: 'most_frequent'",
        lambda: fitted(handle_unknown="most_frequent").predict(["nowhere"])[0] == "climb",
    ),
    "an action is one of those named": (
        lambda: fitted().transition_counts("jump"),
        r"'jump' was never logged; the actions are 'climb'",
        lambda: fitted().transition_counts("climb").sum() == 7,
    ),
    "nearest states need numbers": (
        lambda: fitted(handle_unknown="nearest"),
        r"Encode it as numbers or choose another handle_unknown",
        lambda: (
            make_pipeline(
                StateEncoder(OrdinalEncoder(), state="state"),
                MarkovPolicyEstimator(handle_unknown="nearest"),
            )
            .fit(CLIMB)
            .predict(CLIMB)[0]
            == "climb"
        ),
    ),
    "a table comes without y": (
        lambda: MarkovPolicyEstimator().fit(CLIMB, CLIMB["action"]),
        r"Hand in the table without y",
        lambda: MarkovPolicyEstimator().fit(CLIMB).predict(["low"])[0] == "climb",
    ),
    "features come with actions": (
        lambda: MarkovPolicyEstimator().fit([[0], [1]]),
        r"or features X and logged actions y",
        lambda: MarkovPolicyEstimator().fit([[0], [1]], [5, 6]).predict([[1]])[0] == 6,
    ),
    "a table holds its rewards": (
        lambda: MarkovPolicyEstimator().fit(CLIMB, reward=CLIMB["reward"]),
        r"Put them in the table, or name its columns",
        lambda: (
            MarkovPolicyEstimator(reward="pay")
            .fit(CLIMB.rename(columns={"reward": "pay"}))
            .predict(["low"])[0]
            == "climb"
        ),
    ),
    "rewards are handed in to score": (
        lambda: on_features(reward=PAID).score(FEATURES, DOSES),
        r"Hand in reward=\.\.\.; in a pipeline",
        lambda: on_features(reward=PAID).score(FEATURES, DOSES, reward=PAID) > 0.5,
    ),
    "rewards are handed in to fit": (
        lambda: on_features().score(FEATURES, DOSES, reward=PAID),
        r"Fit it with reward=\.\.\.",
        lambda: on_features(reward=PAID).score(FEATURES, DOSES, reward=PAID) > 0.5,
    ),
    "a table is scored as a table": (
        lambda: fitted().score(CLIMB[["state"]], CLIMB["action"]),
        r"hand in one again, without y",
        lambda: quietly(lambda: fitted().score(CLIMB)) > 0,
    ),
    "features are scored as features": (
        lambda: on_features(reward=PAID, episode=PATIENTS).score(FEATURES.assign(action=DOSES)),
        r"hand in both again, with reward=\.\.\. and episode=\.\.\.",
        lambda: (
            quietly(
                lambda: on_features(reward=PAID, episode=PATIENTS).score(
                    FEATURES, DOSES, reward=PAID, episode=PATIENTS
                )
            )
            > 0
        ),
    ),
    "a search goes around an ensemble": (
        lambda: PolicyBagging(GridSearchCV(QUIET, {})).fit(SEARCHES),
        r"GridSearchCV\(PolicyBagging\(\.\.\.\), \.\.\.\)",
        lambda: (
            len(
                quietly(
                    lambda: GridSearchCV(
                        PolicyBagging(QUIET, 2, bootstrap=True, random_state=0),
                        {"estimator__min_count": [0, 5]},
                        cv=EpisodeKFold(2),
                    ).fit(SEARCHES)
                ).best_params_
            )
            == 1
        ),
    ),
    "tables of probabilities are no policies": (
        lambda: evaluate_policy(np.ones((2, 2)), OTHERS),
        r"a mapping from state to action, a table of probabilities, or one action",
        lambda: np.isfinite(direct(USUAL.to_dict())["value"][0]),
    ),
    "a function answers every row": (
        lambda: evaluate_policy(lambda states: states["state"].head(1), OTHERS),
        r"one for each row of the table",
        lambda: np.array_equal(
            direct(lambda states: states["state"].map(USUAL))["value"], direct(USUAL)["value"]
        ),
    ),
    "no empty policy": (
        lambda: evaluate_policy({}, OTHERS),
        r"Name an action for every state that X acts in",
        lambda: np.isfinite(direct(USUAL)["value"][0]),
    ),
    "each state once": (
        lambda: evaluate_policy(pd.concat([USUAL, USUAL]), OTHERS),
        r"Keep one action for each state",
        lambda: np.isfinite(direct(USUAL)["value"][0]),
    ),
    "states that are lacking are added": (
        lambda: evaluate_policy(USUAL.iloc[1:], OTHERS),
        r"Add them, or fit the policy with MarkovPolicyEstimator",
        lambda: (
            np.isfinite(direct(pd.concat([USUAL.iloc[1:], USUAL.iloc[:1]]))["value"][0])
            and np.isfinite(direct(QUIET.fit(SEARCHES))["value"][0])
        ),
    ),
    "an action that X logs": (
        lambda: evaluate_policy(99, OTHERS),
        r"99, an action that X never logs.*The actions of X are 0, 1, 2",
        lambda: np.isfinite(direct(2)["value"][0]),
    ),
    "rewards are named": (
        lambda: evaluate_policy(MarkovPolicyEstimator(reward=None).fit(CLIMB), CLIMB),
        r"Name their column: columns=\{'reward': \.\.\.\}",
        lambda: np.isfinite(
            direct(
                MarkovPolicyEstimator(reward=None).fit(CLIMB), CLIMB, columns={"reward": "reward"}
            )["value"][0]
        ),
    ),
    "weights need episodes": (
        lambda: evaluate_policy(QUIET.fit(SEARCHES), OTHERS.drop(columns="episode")),
        r"name it with columns=\{'episode': \.\.\.\}, or use methods='dm'",
        lambda: (
            np.isfinite(
                direct(
                    QUIET.fit(SEARCHES),
                    OTHERS.rename(columns={"episode": "day"}),
                    columns={"episode": "day"},
                )["value"][0]
            )
            and np.isfinite(direct(QUIET.fit(SEARCHES), OTHERS.drop(columns="episode"))["value"][0])
        ),
    ),
    "some policy is compared": (
        lambda: compare_policies({}, OTHERS),
        r"hand in at least one policy by name",
        lambda: len(compare_policies({"today": "behavior"}, OTHERS, methods="dm")) == 1,
    ),
    "the estimator itself has a table": (
        lambda: policy_table(QUIET.fit(SEARCHES).policy_map()),
        r"Hand in the fitted estimator itself",
        lambda: len(policy_table(QUIET.fit(SEARCHES))) > 0,
    ),
    "states that are too many to describe are made fewer": (
        lambda: quietly(
            lambda: StateEncoder(StandardScaler(), state="x").fit(MANY).describe_states()
        ),
        r'Make fewer states \(bins, KMeans, n_states="auto"\)',
        lambda: (
            sum(StateEncoder(state="x").fit(MANY).describe_states()["n_rows"]) == len(MANY)
            and len(
                StateEncoder(KMeans(n_init=1, random_state=0), state="x", n_states="auto")
                .fit(MANY)
                .describe_states()
            )
            == 75
        ),
    ),
    "an ensemble is asked about some states": (
        lambda: policy_table(quietly(lambda: PolicyBagging(PIPE, 2, random_state=0).fit(HEAT))),
        r"supported\(ensemble, X\), or for one member: policy_table\(ensemble\.estimators_\[0\]\)",
        lambda: (
            len(supported(quietly(lambda: PolicyBagging(PIPE, 2, random_state=0).fit(HEAT)), HEAT))
            == len(HEAT)
            and len(
                policy_table(
                    quietly(lambda: PolicyBagging(PIPE, 2, random_state=0).fit(HEAT)).estimators_[0]
                )
            )
            > 1
        ),
    ),
    "one member of an ensemble is tested": (
        lambda: markov_test(HEAT, policy=PolicyBagging(PIPE, 2)),
        r"fitted ensemble: markov_test\(X, policy=ensemble\.estimators_\[0\]\)",
        lambda: (
            len(
                markov_test(
                    HEAT,
                    policy=quietly(
                        lambda: PolicyBagging(PIPE, 2, random_state=0).fit(HEAT)
                    ).estimators_[0],
                )
            )
            == 2
        ),
    ),
    "columns of the test are said": (
        lambda: markov_test(OTHERS.rename(columns={"episode": "day"})),
        r"Name the column: columns=\{'episode': \.\.\.\}",
        lambda: (
            len(markov_test(OTHERS.rename(columns={"episode": "day"}), columns={"episode": "day"}))
            == 2
        ),
    ),
    "what names no columns is no policy of the test": (
        lambda: markov_test(OTHERS, policy="behavior"),
        r"said with columns=\{\.\.\.\}",
        lambda: len(markov_test(OTHERS, columns={"state": "state"})) == 2,
    ),
    "the test keeps every row": (
        lambda: markov_test(
            CLIMB.assign(x=1),
            "x",
            policy=make_pipeline(FunctionTransformer(lambda X: X.head(4)), MarkovPolicyEstimator()),
        ),
        r"Test them with transformers that keep every row",
        lambda: (
            len(
                quietly(
                    lambda: markov_test(
                        CLIMB.assign(x=1),
                        "x",
                        policy=make_pipeline(FunctionTransformer(), MarkovPolicyEstimator()),
                    )
                )
            )
            == 3
        ),
    ),
    "pessimism needs a discount": (
        lambda: fitted(pessimism=0.5, gamma=1),
        r"gamma below 1, such as 0\.999",
        lambda: fitted(pessimism=0.5, gamma=0.999).converged_,
    ),
    "fractions of rows need a number": (
        lambda: MarkovPolicyEstimator(prior_strength="auto").fit(
            CLIMB, sample_weight=np.full(len(CLIMB), 0.5)
        ),
        r"Give a number instead",
        lambda: (
            MarkovPolicyEstimator(prior_strength=1.0)
            .fit(CLIMB, sample_weight=np.full(len(CLIMB), 0.5))
            .converged_
        ),
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_the_remedy_of_an_error(case):
    wrong, message, remedy = ERRORS[case]
    with pytest.raises((TypeError, ValueError), match=message) as error:
        quietly(wrong)
    assert len(str(error.value)) <= 500
    assert remedy()


def test_requests_of_rewards_are_made_as_the_message_says():
    with sklearn.config_context(enable_metadata_routing=True):
        asking = (
            MarkovPolicyEstimator().set_fit_request(reward=True).set_score_request(reward=False)
        )
        pipe = make_pipeline(FunctionTransformer(), asking)
        pipe.fit(FEATURES, DOSES, reward=PAID)
        with pytest.raises(ValueError, match=r"call set_score_request\(reward=True\)"):
            pipe.score(FEATURES, DOSES)
        asking.set_score_request(reward=True)
        assert pipe.fit(FEATURES, DOSES, reward=PAID).score(FEATURES, DOSES, reward=PAID) > 0.5


WARNINGS = {
    "unknown states may be answered silently": (
        lambda: fitted().predict(["nowhere"]),
        r"Choose handle_unknown='most_frequent' if that is right",
        lambda: without_warning(
            lambda: fitted(handle_unknown="most_frequent").predict(["nowhere"])
        ),
    ),
    "unknown to all members": (
        lambda: (
            PolicyBagging(fitted(), 2, bootstrap=True, random_state=0)
            .fit(CLIMB)
            .predict(["nowhere"])
        ),
        r"Choose handle_unknown='most_frequent'",
        lambda: without_warning(
            lambda: (
                PolicyBagging(
                    fitted(handle_unknown="most_frequent"), 2, bootstrap=True, random_state=0
                )
                .fit(CLIMB)
                .predict(["nowhere"])
            )
        ),
    ),
    "members differ with bootstrap": (
        lambda: PolicyBagging(QUIET, 2).fit(SEARCHES),
        r"Say bootstrap=True, or let an encoder vary, as .*KMeans do",
        lambda: (
            without_warning(
                lambda: PolicyBagging(QUIET, 2, bootstrap=True, random_state=0).fit(SEARCHES)
            )
            and without_warning(lambda: PolicyBagging(PIPE, 2, random_state=0).fit(HEAT))
        ),
    ),
    "decisions that X lacks are logged": (
        lambda: QUIET.fit(make_search_log(200, length=6, random_state=0)).score(
            make_search_log(200, length=6, random_state=1)
        ),
        r"actions that are often logged \(raise min_count and fit again\)",
        lambda: without_warning(
            lambda: (
                MarkovPolicyEstimator(gamma=0.99, min_count=15, handle_unknown="most_frequent")
                .fit(make_search_log(4000, length=4, random_state=0))
                .score(make_search_log(2000, length=4, random_state=1))
            )
        ),
    ),
    "names of states are spelt as in X": (
        lambda: evaluate_policy(pd.concat([USUAL, pd.Series({"9999": 1})]), OTHERS, methods="dm"),
        r"Check their spelling, or leave them out",
        lambda: without_warning(lambda: evaluate_policy(USUAL, OTHERS, methods="dm")),
    ),
    "other episodes tell": (
        lambda: evaluate_policy(QUIET.fit(SEARCHES), SEARCHES, methods="dm"),
        r"optimistic: the policy was chosen on these rows\. Evaluate it on other episodes",
        lambda: without_warning(
            lambda: evaluate_policy(
                MarkovPolicyEstimator(gamma=0.99, min_count=15, handle_unknown="most_frequent").fit(
                    make_search_log(4000, length=4, random_state=0)
                ),
                make_search_log(2000, length=4, random_state=1),
                methods="dm",
            )
        ),
    ),
    "one episode has no interval": (
        lambda: evaluate_policy("behavior", CLIMB[CLIMB["episode"] == 1], methods="dm"),
        r"Hand in more episodes",
        lambda: without_warning(lambda: evaluate_policy("behavior", CLIMB, methods="dm")),
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_the_remedy_of_a_warning(case):
    wrong, message, remedy = WARNINGS[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrong()
    texts = [str(warning.message) for warning in caught]
    assert any(pd.Series(texts).str.contains(message))
    assert max(map(len, texts)) <= 500
    assert remedy()

"""No message exceeds 500 characters, whatever names, labels and numbers of them it speaks of."""

import ast
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import skmdp
from skmdp import MarkovPolicyEstimator
from skmdp.datasets import transitions_from_arrays
from skmdp.ensemble import PolicyBagging
from skmdp.export import from_json, to_json, to_sql
from skmdp.inspection import explain, lift, markov_test, policy_table, sensitivity, supported
from skmdp.metrics import compare_policies, evaluate_policy, policy_scorer
from skmdp.model_selection import EpisodeKFold, train_test_split_episodes
from skmdp.preprocessing import StateEncoder

LONGEST = 500
HUGE = "x" * 10**5
MANY = 3000
NAMES = [f"{i} {'n' * 300}" for i in range(MANY)]
STATE, NEXT, ACTION, REWARD, EPISODE, STEP, FLAG = (name + HUGE for name in "sxaretf")
ROLES = {
    "state": STATE,
    "next_state": NEXT,
    "action": ACTION,
    "reward": REWARD,
    "episode": EPISODE,
    "step": STEP,
    "terminated": FLAG,
}
WIDE = pd.DataFrame(np.zeros((2, MANY)), columns=NAMES)
LOG = pd.DataFrame(
    {
        STATE: ["a" + HUGE, "b" + HUGE, "a" + HUGE, "b" + HUGE],
        NEXT: ["b" + HUGE, None, "b" + HUGE, None],
        ACTION: ["u" + HUGE, "v" + HUGE, "v" + HUGE, "u" + HUGE],
        REWARD: [0.0, 1.0, 2.0, 3.0],
        EPISODE: ["one" + HUGE] * 2 + ["two" + HUGE] * 2,
        STEP: [0, 1, 0, 1],
        FLAG: [False, True, False, True],
    }
)
INFERRED = LOG.drop(columns=NEXT)
POLICY = MarkovPolicyEstimator(**ROLES).fit(LOG)
MANY_ACTIONS = MarkovPolicyEstimator().fit(
    pd.DataFrame(
        {"state": 0, "action": NAMES, "reward": 1.0, "next_state": None, "episode": range(MANY)}
    )
)


def fit(table=LOG, **parameters):
    return MarkovPolicyEstimator(**{**ROLES, **parameters}).fit(table)


def infer(**columns):
    return fit(INFERRED.assign(**columns), next_state=None)


def infer_lazily(**columns):
    return fit(pl.from_pandas(INFERRED.assign(**columns)).lazy(), next_state=None)


def odd(*labels):
    """Fit on two labels of a kind, as states, in two rows."""
    return fit(LOG.assign(**{STATE: pd.Series([*labels, *labels], dtype=object), NEXT: None}))


CASES = {
    "wide table": lambda: MarkovPolicyEstimator().fit(WIDE),
    "many states lacking": lambda: MarkovPolicyEstimator(state=NAMES, action=ACTION).fit(LOG),
    "many states of a wide table": lambda: MarkovPolicyEstimator(
        state=[*NAMES[1:], *LOG], action=NAMES[0]
    ).fit(WIDE),
    "many next states lacking": lambda: MarkovPolicyEstimator(
        state=NAMES[:9], next_state=[*NAMES[9:17], HUGE], action=NAMES[20], reward=None
    ).fit(WIDE),
    "state lacking": lambda: fit(state="z" + HUGE),
    "action lacking": lambda: fit(action="z" + HUGE),
    "episode lacking": lambda: infer().fit(INFERRED.drop(columns=EPISODE)),
    "one role twice": lambda: fit(reward=STATE),
    "duplicates": lambda: fit(pd.concat([LOG, LOG], axis=1)),
    "lazy": lambda: POLICY.predict(pl.from_pandas(LOG).lazy()),
    "lazy without order": lambda: fit(pl.from_pandas(INFERRED).lazy(), step=None),
    "lazy wide": lambda: fit(pl.from_pandas(WIDE).lazy()),
    "lazy missing state": lambda: fit(pl.from_pandas(LOG.assign(**{STATE: None})).lazy()),
    "lazy missing reward": lambda: fit(
        pl.from_pandas(LOG.assign(**{REWARD: [None, 1.0, 2.0, 3.0]})).lazy()
    ),
    "lazy reward is text": lambda: fit(pl.from_pandas(LOG.assign(**{REWARD: HUGE})).lazy()),
    "lazy struct": lambda: fit(
        pl.DataFrame(
            {**LOG.ffill().to_dict("list"), STATE: [dict.fromkeys(NAMES[:50], 1)] * 4}
        ).lazy()
    ),
    "lazy flag is text": lambda: fit(pl.from_pandas(LOG.assign(**{FLAG: HUGE})).lazy()),
    "lazy step is text": lambda: fit(pl.from_pandas(LOG.assign(**{STEP: HUGE})).lazy()),
    "lazy steps repeat": lambda: infer_lazily(**{STEP: 0}),
    "lazy steps jump": lambda: infer_lazily(**{STEP: [0, 10**17, 0, 2 * 10**17]}),
    "lazy goes on after the end": lambda: infer_lazily(**{FLAG: True}),
    "lazy missing episode": lambda: infer_lazily(**{EPISODE: [None, "a", "b", "c"]}),
    "lazy infinite state": lambda: MarkovPolicyEstimator().fit(
        pl.DataFrame(
            {"state": [np.inf, 1.0], "next_state": [1.0, None], "action": 0, "reward": 0.0}
        ).lazy()
    ),
    "lazy weights": lambda: MarkovPolicyEstimator(**ROLES).fit(
        pl.from_pandas(LOG.assign(w=[-1.0, 0.0, 1.0, 1.0])).lazy(), sample_weight="w"
    ),
    "weights elsewhere": lambda: MarkovPolicyEstimator(**ROLES).fit(LOG, sample_weight=HUGE),
    "lazy engine": lambda: MarkovPolicyEstimator(**ROLES).fit(
        pl.from_pandas(LOG).lazy().with_columns(pl.col(STATE).cast(pl.Int64))
    ),
    "a text": lambda: fit(HUGE),
    "missing state": lambda: fit(LOG.assign(**{STATE: None})),
    "missing state between": lambda: infer(**{STATE: ["a", None, "b", "c"]}),
    "missing action": lambda: infer(**{ACTION: [None, "a", "b", "c"]}),
    "missing reward": lambda: infer(**{REWARD: [None, 1.0, 2.0, 3.0]}),
    "reward is text": lambda: fit(LOG.assign(**{REWARD: HUGE})),
    "reward is huge": lambda: fit(LOG.assign(**{REWARD: [10**400] * 4})),
    "reward is a struct": lambda: fit(
        pl.DataFrame({**LOG.ffill().to_dict("list"), REWARD: [dict.fromkeys(NAMES[:50], 1)] * 4})
    ),
    "missing episode": lambda: infer(**{EPISODE: [None, "a", "b", "c"]}),
    "steps repeat": lambda: infer(**{STEP: 0}),
    "steps jump": lambda: infer(**{STEP: [0, 10**17, 0, 2 * 10**17]}),
    "step is text": lambda: infer(**{STEP: HUGE}),
    "flag is text": lambda: fit(LOG.assign(**{FLAG: HUGE})),
    "goes on after the end": lambda: infer(**{FLAG: True}),
    "every row truncated": lambda: fit(LOG.assign(**{FLAG: False, NEXT: None})),
    "mixed": lambda: odd(HUGE, 1),
    "many types": lambda: fit(LOG.assign(**{STATE: [HUGE, HUGE.encode(), (HUGE,), 0.5]})),
    "unhashable": lambda: odd([HUGE] * 9, [HUGE]),
    "surrogate": lambda: odd("\ud800" * 10**5, "a"),
    "beyond 64 bits": lambda: odd(10**5000, 1),
    "beside fractions": lambda: odd(10**5000, 0.5),
    "infinite": lambda: odd(Decimal("inf"), Decimal(1)),
    "signaling": lambda: odd(Decimal("sNaN" + "1" * 9999), Decimal(1)),
    "missing part": lambda: odd((HUGE, None), (HUGE, HUGE)),
    "no order": lambda: odd(frozenset([HUGE]), frozenset([HUGE + "a"])),
    "no order in tuples": lambda: odd((HUGE, 1), (HUGE, HUGE)),
    "kinds of next states": lambda: fit(LOG.assign(**{NEXT: [tuple([HUGE] * 99)] * 4})),
    "inexact next states": lambda: fit(LOG.assign(**{STATE: 1, NEXT: 1e308})),
    "fractional next states": lambda: fit(LOG.assign(**{STATE: 1, NEXT: 0.123456789012345678})),
    "columns of batches": lambda: (
        fit().set_params(state=NEXT, next_state=STATE).partial_fit(LOG.dropna())
    ),
    "kinds of batches": lambda: fit().partial_fit(LOG.assign(**{STATE: 1, NEXT: 2})),
    "unknown state": lambda: POLICY.predict(["z" + HUGE]),
    "unknown state, error": lambda: fit(handle_unknown="error").predict(["z" + HUGE]),
    "unknown state, nearest": lambda: fit(handle_unknown="nearest").predict(["z" + HUGE]),
    "states of another kind": lambda: POLICY.score_samples([tuple([HUGE] * 99)]),
    "columns of another table": lambda: POLICY.predict(WIDE),
    "unknown action": lambda: MANY_ACTIONS.transition_matrix(HUGE),
    "endless loop": lambda: fit(LOG.assign(**{NEXT: LOG[STATE], FLAG: False}), gamma=1.0),
    "propensities": lambda: evaluate_policy(POLICY, LOG, behavior="z" + HUGE),
    "impossible propensities": lambda: evaluate_policy(
        POLICY, LOG.assign(**{"p" + HUGE: 2.0}), behavior="p" + HUGE
    ),
    "rule of other states": lambda: evaluate_policy({HUGE: HUGE}, LOG, columns=ROLES),
    "rule of too many states": lambda: evaluate_policy(
        {**POLICY.policy_map(), **dict.fromkeys(NAMES, "u" + HUGE)}, LOG, columns=ROLES
    ),
    "rule of other actions": lambda: evaluate_policy(
        dict.fromkeys(POLICY.policy_map(), HUGE), LOG, columns=ROLES
    ),
    "rule among many actions": lambda: evaluate_policy(
        {0: HUGE},
        pd.DataFrame({"state": 0, "action": NAMES, "reward": 1.0, "next_state": None}),
    ),
    "methods": lambda: evaluate_policy(POLICY, LOG, methods=NAMES),
    "columns": lambda: evaluate_policy("behavior", LOG, columns={"state": HUGE}),
    "roles": lambda: evaluate_policy("behavior", LOG, columns={HUGE: HUGE}),
    "policies of several tables": lambda: compare_policies({"a": POLICY, "b": MANY_ACTIONS}, LOG),
    "scorer": lambda: policy_scorer("dm")(POLICY, WIDE),
    "test without episodes": lambda: markov_test(WIDE, NAMES[:2], policy=POLICY),
    "test of one episode": lambda: markov_test(LOG.iloc[:2], policy=POLICY),
    "test of a role": lambda: markov_test(LOG, ACTION, policy=POLICY),
    "support of other columns": lambda: supported(POLICY, WIDE),
    "table of no policy": lambda: policy_table(HUGE),
    "ensemble of a wide table": lambda: PolicyBagging(
        MarkovPolicyEstimator(), 2, bootstrap=True
    ).fit(WIDE),
    "ensemble asked of other states": lambda: (
        PolicyBagging(MarkovPolicyEstimator(**ROLES), 2, bootstrap=True, random_state=0)
        .fit(LOG)
        .predict(["z" + HUGE])
    ),
    "explained of an unknown state": lambda: explain(POLICY, "z" + HUGE),
    "explained of too many parts": lambda: explain(POLICY, [HUGE] * MANY),
    "sensitivity of an unknown state": lambda: sensitivity(POLICY, ["z" + HUGE]),
    "lift on other columns": lambda: lift(POLICY, WIDE),
    "no JSON": lambda: from_json(HUGE),
    "SQL of NUL": lambda: to_sql(fit(LOG.assign(**{ACTION: HUGE + "\0"}))),
    "JSON of decimals": lambda: to_json(fit(LOG.assign(**{ACTION: Decimal("1.5")}))),
    "card of other columns": lambda: from_json(to_json(POLICY)).predict(WIDE),
    "folds": lambda: next(EpisodeKFold(episode="z" + HUGE).split(WIDE)),
    "halves": lambda: train_test_split_episodes(WIDE, episode=HUGE),
    "encoder of a wide table": lambda: StateEncoder(state=HUGE).fit(WIDE),
    "encoder of many columns": lambda: StateEncoder(state=NAMES).fit(LOG),
    "encoder of text": lambda: StateEncoder(state=STATE).fit(LOG),
    "encoder of infinity": lambda: StateEncoder(state=REWARD, n_states=None).fit(
        LOG.assign(**{REWARD: np.inf})
    ),
    "encoder of two roles": lambda: StateEncoder(state=REWARD, next_state=REWARD).fit(LOG),
    "encoder's output": lambda: StateEncoder().set_output(transform=HUGE),
    "flags of arrays": lambda: transitions_from_arrays(
        np.zeros((3, 1)), [0, 1, 0], [1.0] * 3, terminals=[HUGE] * 3
    ),
}


def messages_of(call):
    """Return what a call says: its error and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said = []
        try:
            call()
        except Exception as error:
            said = [str(error)]
    return said + [str(warning.message) for warning in caught]


@pytest.mark.parametrize("case", CASES)
def test_messages_stay_short(case):
    said = messages_of(CASES[case])
    assert said
    for message in said:
        assert len(message) <= LONGEST


OUR_WORDS = {"role", "method", "kind", "taken[name]"}


def test_values_are_written_by_one_module():
    """What ``!r`` writes is a word of our own; the rest goes through ``shown`` and its kin."""
    written = set()
    package = Path(skmdp.__file__).parent
    for path in set(package.rglob("*.py")) - {package / "_evidence.py"}:  # attributes of modules
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FormattedValue) and node.conversion == ord("r"):
                written.add(ast.unparse(node.value))
    assert written <= OUR_WORDS

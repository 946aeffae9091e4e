"""Lazy tables: episodes that came in twice under two names are seen there as well."""

import datetime as dt
import re
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from engines import ENGINES, NOISE, QUICK, polars_lazy
from test_copies import (
    COPIED,
    HONEST,
    customers,
    drawn,
    joined,
    many,
    resampled,
    told,
    visits,
    weather,
)

from skmdp import MarkovPolicyCV
from skmdp._log.copies import _copies_of
from skmdp._log.lazy import read_lazy
from skmdp._log.lots import draw_coefficients
from skmdp._log.roles import Roles
from skmdp.metrics import evaluate_policy

pytestmark = [pytest.mark.filterwarnings(noise) for noise in NOISE]


def lazily(table, make=polars_lazy):
    return make(pa.Table.from_pandas(table, preserve_index=False))


def copies_of(table, make=polars_lazy, **roles):
    """Return how often episodes are there, and what shows it, of a table that is to be judged."""
    if "step" not in table:
        table = table.assign(step=table.groupby("episode").cumcount())
    roles = Roles(terminated=None, **roles)
    return _copies_of(read_lazy(lazily(table, make), roles, gamma=0.9, lot=draw_coefficients(0)))


# Of few labels and whole numbers less is known than in memory, where all rows are looked at.
SEEN = [name for name in COPIED if name != "one in three"]


@pytest.mark.parametrize("copied", SEEN)
def test_copies_are_seen(copied):
    times, why = copies_of(COPIED[copied])
    assert times == 2
    assert "there twice under different names, alike in length, first and last row, and ext" in why


@pytest.mark.parametrize("name", QUICK)
def test_every_engine_sees_them(name):
    log = joined(visits(60, fractions=True), 0.2)
    log = log.assign(visit=log["state"].astype(int), name=log["state"], state=log["step"] % 2 == 0)
    log["day"] = dt.date(2020, 1, 1)
    states = {"state": ("visit", "name", "state", "day")}
    expected = copies_of(log, **states)
    assert expected is not None
    assert expected[1].startswith("Of 72 episodes of X that were looked at, ")
    if name in ("polars", "duckdb"):  # others take long to write or to run the query
        assert copies_of(log, ENGINES[name], **states) == expected
    log["step"] = pd.Timestamp("2020") + pd.to_timedelta(log["step"], "D")
    assert copies_of(log, ENGINES[name], **states) == expected


@pytest.mark.parametrize("k", [2, 3, 5, 9])
def test_they_are_seen_in_a_part_of_a_log(k):
    """Where first and last rewards are the least and the largest, a third is not looked for."""
    log = drawn(many(visits(60, fractions=True), k), 0.5)
    (in_memory,) = told(partial(evaluate_policy, "behavior"), log)
    times, why = copies_of(log)
    assert 2 <= times <= k
    (n, seen), (n_in_memory, all_seen) = (
        re.findall("[0-9]+", said)[:2] for said in (why, in_memory)
    )
    assert n == n_in_memory
    assert 0.9 * int(all_seen) <= int(seen) <= int(all_seen)


@pytest.mark.parametrize("name", ["polars", "duckdb"])
@pytest.mark.filterwarnings("ignore:No gain over the logged:UserWarning")
def test_nothing_is_better_by_copies(name):
    log = visits(600, fractions=True)
    log["reward"] += 0.3 * (log["action"] == log["action"].iloc[0])
    table = lazily(joined(log), ENGINES[name])
    with pytest.warns(UserWarning, match="X seems to hold copies") as warned:
        policy = MarkovPolicyCV(terminated=None).fit(table)
    assert len([one for one in warned if "X seems to hold copies" in str(one.message)]) == 1
    with pytest.warns(UserWarning, match="X seems to hold copies"):
        found = evaluate_policy(log["action"].iloc[0], table, horizon=6)
    assert found.holds_copies
    assert not found.is_better
    assert not policy.is_better_
    for text in (policy.summary(), found.conclusion):
        assert "several times under different names" in text
    assert MarkovPolicyCV(terminated=None).fit(lazily(log, ENGINES[name])).is_better_


CHANCE = {f"{name}, honest": log for name, log in HONEST.items()} | {
    "weather": weather(),
    "customers": customers(),
    "drawn again": resampled(visits(200, length=4, n_states=3)),
    "two prices": customers().assign(reward=lambda log: log["reward"] + (log["action"] == "a")),
    "each sequence twice": visits(200, length=2).assign(
        state=lambda log: (log["episode"] // 2 % 50).astype(str),
        action=lambda log: np.where((log["episode"] // 100 + log["step"]) % 2 == 0, "a", "b"),
    ),
}
# Here some rewards are to be seen twice, and no more, in a log of fractions.
del CHANCE["few copies, honest"], CHANCE["too few, honest"]


@pytest.mark.parametrize("honest", CHANCE)
def test_what_is_alike_by_chance_is_no_copy(honest):
    log = CHANCE[honest].rename(columns={"condition": "state", "profit": "reward"})
    assert copies_of(log) is None


@pytest.mark.parametrize("length", [1, 2, 4])
def test_false_alarms_are_rare(length):
    drawn_at = [visits(200, length=length, n_states=3, seed=seed) for seed in range(20)]
    assert [copies_of(log) for log in drawn_at] == [None] * 20

"""What an audit costs beside reading and counting: pytest tests/benchmarks/test_audit_speed.py -s.

Times are the medians of runs taken in turn; read the ratios, not the seconds.
"""

import numpy as np
import pandas as pd
import pytest
from test_speed import in_turn

from skmdp._log.evidence import gather
from skmdp._log.forms import read_log
from skmdp._log.roles import Roles
from skmdp.inspection import audit

N_ROWS = 1_000_000
MOST = 3.0


def numbered():
    """A log of whole numbers, whose next states are read off the following row."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "episode": np.repeat(np.arange(N_ROWS // 20), 20),
            "step": np.tile(np.arange(20), N_ROWS // 20),
            "state": rng.integers(0, 200, N_ROWS),
            "action": rng.integers(0, 5, N_ROWS),
            "reward": rng.normal(size=N_ROWS),
        }
    )


def named():
    """The same log with labels of text, and next states of their own."""
    log = numbered()
    log["state"] = "s" + log["state"].astype(str)
    log["action"] = "a" + log["action"].astype(str)
    return log.assign(next_state=log.groupby("episode")["state"].shift(-1))


def wide():
    """The same log with twenty columns that play no part."""
    log, rng = named(), np.random.default_rng(1)
    numbers = {f"number {i}": rng.normal(size=N_ROWS) for i in range(10)}
    groups = {f"group {i}": rng.integers(0, 9, N_ROWS) for i in range(10)}
    return log.assign(**numbers, **groups)


@pytest.mark.parametrize("make", [numbered, named, wide])
def test_an_audit_costs_at_most_three_times_the_counting(make):
    log = make()
    assert len(log) == N_ROWS
    assert audit(log).errors == ()
    looked, counted = in_turn(
        lambda: audit(log), lambda: gather(read_log(log, None, Roles()), gamma=0.9)
    )
    print(f"{make.__name__}: audit {looked:.2f} s, {looked / counted:.2f} times the counting")
    assert looked <= MOST * counted

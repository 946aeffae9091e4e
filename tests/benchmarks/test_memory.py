"""Memory beyond the table: python -m pytest tests/benchmarks/test_memory.py -s (Linux).

Each measurement runs in a process of its own; the kernel tells the peak since the table was made.
"""

import subprocess
import sys

import pytest

MEASURE = """
import re, sys
from pathlib import Path
import numpy as np
import pandas as pd
from skmdp import MarkovPolicyEstimator

kind, task = sys.argv[1:]
n, n_states, n_actions = 10_000_000, 10_000, 10
rng = np.random.default_rng(0)

def labels(codes, prefix):
    if kind == "int":
        return codes
    names = pd.array([f"{prefix}{i:06d}" for i in range(n_states)], dtype="str")
    return names.take(codes)

state = rng.integers(n_states, size=n)
table = pd.DataFrame({"state": labels(state, "s")})
table["action"] = labels(rng.integers(n_actions, size=n), "a")
table["next_state"] = labels((state * 7 + rng.integers(5, size=n)) % n_states, "s")
table["reward"] = rng.normal(size=n)
table["episode"] = np.arange(n) // 20
del state
policy = MarkovPolicyEstimator().fit(table.iloc[:1_000_000])

def status(field):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(field + r":\\s+(\\d+) kB", text)[1])

Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
if task == "fit":
    policy.fit(table)
    assert policy.visit_counts_.sum() == n
else:
    for start in range(0, n, 1_000_000):
        assert len(policy.predict(table.iloc[start:start + 1_000_000])) == 1_000_000
print((status("VmHWM") - before) / n)
"""


def bytes_per_row(kind, task):
    command = [sys.executable, "-c", MEASURE, kind, task]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("kind", ["int", "str"])
@pytest.mark.parametrize("task", ["fit", "predict"])
def test_memory_beyond_the_table(kind, task):
    used = bytes_per_row(kind, task)
    print(f"\n{task} of 1e7 rows of {kind} labels: {used:.1f} bytes a row beyond the table")
    assert used <= 32


MEASURE_ENSEMBLE = """
import re
from pathlib import Path
import numpy as np
import pandas as pd
from skmdp import MarkovPolicyEstimator
from skmdp.ensemble import PolicyBagging

rng = np.random.default_rng(0)
n_rows, n_actions = 3_000, 14_500
log = pd.DataFrame({"state": rng.integers(500, size=n_actions), "action": np.arange(n_actions)})
log = log.assign(next_state=-1, reward=rng.normal(size=n_actions), episode=np.arange(n_actions))
single = MarkovPolicyEstimator(handle_unknown="most_frequent")
policies = PolicyBagging(single, 5, bootstrap=True, random_state=0).fit(log)

def status(field):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(field + r":\\s+(\\d+) kB", text)[1])

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
policies.score(log.iloc[:n_rows])
print((status("VmHWM") - before) / 2**30)
"""


def test_memory_of_an_ensemble_with_many_actions():
    """A number for each row and action would be 0.35 GB, for each of several arrays."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURE_ENSEMBLE]
    used = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"\nscore of 5 members on 3,000 rows with 14,500 actions: {used:.2f} GiB")
    assert used <= 0.5

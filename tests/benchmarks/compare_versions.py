"""Speed and memory of this version against another checkout, in one run.

    python tests/benchmarks/compare_versions.py ../other_checkout [rounds]

Each round starts one process per version, in turn; a process repeats every task and keeps its
fastest time, in which the noise of the machine shows least. Printed are the medians over rounds,
and the median of the ratios of each round. Memory is the peak beyond the table (Linux).
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]

MEASURE = """
import json, re, time, warnings
from pathlib import Path
import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.metrics import evaluate_policy
from skmdp.preprocessing import StateEncoder
warnings.simplefilter("ignore")

def status(field):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(field + r":\\s+(\\d+) kB", text)[1])

def peak(function):
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    function()
    return (status("VmHWM") - before) / 2**20

def fastest(function, repeats):
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)

log = make_search_log(50_000, random_state=0)
test = make_search_log(2_000, length=6, random_state=1)
policy = MarkovPolicyEstimator(gamma=0.99, handle_unknown="most_frequent").fit(log)
thin = MarkovPolicyEstimator(gamma=0.99, prior_strength="auto", pessimism=0.25)
small = MarkovPolicyEstimator(gamma=0.99, min_count=5, handle_unknown="most_frequent").fit(
    make_search_log(4_000, length=6, random_state=2))
many = pd.Series(policy.policy_map()).index.to_series().sample(
    500_000, replace=True, random_state=0).reset_index(drop=True)
rng = np.random.default_rng(0)
n = 2_000_000
state = rng.integers(10_000, size=n)
numbers = pd.DataFrame({"state": state, "action": rng.integers(10, size=n),
    "next_state": (state * 7 + rng.integers(5, size=n)) % 10_000, "reward": rng.normal(size=n),
    "episode": np.arange(n) // 20})
on_numbers = MarkovPolicyEstimator(gamma=0.9)
walk = rng.integers(50, size=100_001)
endless = pd.DataFrame({"episode": 0, "state": walk[:-1], "next_state": walk[1:]}).assign(
    action=rng.integers(3, size=100_000), reward=rng.normal(size=100_000))
on_endless = MarkovPolicyEstimator().fit(endless)
wear = pd.DataFrame({"episode": np.arange(40_000) // 20, "wear": rng.uniform(size=40_000),
    "action": rng.integers(2, size=40_000), "reward": rng.normal(size=40_000)})
pipe = make_pipeline(StateEncoder(state="wear", n_states=50),
    MarkovPolicyEstimator(state="wear", handle_unknown="most_frequent"))
batches = [log.iloc[i:i + 1000] for i in range(0, 100_000, 1000)]
bag = PolicyBagging(policy, 5, bootstrap=True, random_state=0).fit(log.iloc[:50_000])

def stream():
    streamed = MarkovPolicyEstimator()
    for batch in batches:
        streamed.partial_fit(batch)

tasks = {
    "fit labels": (lambda: policy.fit(log), 5),
    "fit numbers": (lambda: on_numbers.fit(numbers), 3),
    "fit thin data": (lambda: thin.fit(log), 3),
    "fit small table": (lambda: small.fit(test.iloc[:50]), 20),
    "fit pipeline": (lambda: pipe.fit(wear), 5),
    "predict many": (lambda: policy.predict(many), 5),
    "predict one": (lambda: policy.predict(many[:1].tolist()), 50),
    "score": (lambda: policy.score(log), 5),
    "score endless": (lambda: on_endless.score(endless), 5),
    "evaluate dm": (lambda: evaluate_policy(small, test, methods="dm"), 5),
    "evaluate dm wis wdr": (lambda: evaluate_policy(small, test, random_state=0), 3),
    "stream of 100 batches": (stream, 2),
    "ensemble predict": (lambda: bag.predict(log.iloc[:5000]), 3),
}
policy.fit(log); small.fit(make_search_log(4_000, length=6, random_state=2))
found = {name: fastest(*task) for name, task in tasks.items()}
policy.fit(log); small.fit(make_search_log(4_000, length=6, random_state=2))
found |= {f"MiB {name}": peak(tasks[name][0]) for name in (
    "fit labels", "fit numbers", "predict many", "score", "evaluate dm wis wdr")}
print(json.dumps(found))
"""


def measure(checkout):
    """Run all tasks in a process of its own, with the skmdp of a checkout."""
    command = [sys.executable, "-c", MEASURE]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main():
    """Print a line for each task."""
    other, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    pairs = [(measure(HERE), measure(other)) for _ in range(rounds)]
    print(f"{'task':30} {'here':>9} {'there':>9} {'ratio':>6}")
    for task in pairs[0][0]:
        here, there = (statistics.median(pair[i][task] for pair in pairs) for i in (0, 1))
        ratio = statistics.median(a[task] / max(b[task], 1e-9) for a, b in pairs)
        print(f"{task:30} {here:9.4f} {there:9.4f} {ratio:6.2f}")


if __name__ == "__main__":
    main()

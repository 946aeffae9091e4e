"""Timed runs of the solvers of skmdp, with numba or, in a process of its own, without.

This imports no numba, so that ``without_numba`` can hide it before anything looks for it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
from scipy.sparse import csr_array
from solver_processes import Process

from skmdp.solvers import Solution, _compiled, solve


@dataclass(frozen=True)
class Run:
    """CPU and wall seconds of one solve."""

    cpu: float
    wall: float
    solution: Solution


def timed(function):
    """Return what a function returns, CPU seconds of all threads, and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = function()
    return found, time.process_time() - cpu, time.perf_counter() - wall


def solve_once(process, tol, **options):
    """Solve a process that skmdp has not seen before, and return the run."""
    mdp = process.mdp()
    with warnings.catch_warnings():
        # Ties that float64 cannot tell apart are said to be undecided; only values count here.
        warnings.simplefilter("ignore", UserWarning)
        solution, cpu, wall = timed(lambda: solve(mdp, process.gamma, tol=tol, **options))
    return Run(cpu, wall, solution)


def share_to_proof(process, tol):
    """Return the share of the CPU time until the values are proven.

    It is that of a run that is looked at, which is not that of the loop for small processes.
    """
    at = [time.process_time()]
    run = solve_once(process, tol, callback=lambda _: at.append(time.process_time()))
    at.append(time.process_time())
    solution = run.solution
    target = tol * max(np.abs(process.rewards).max(), np.abs(solution.state_values).max())
    proven = np.flatnonzero(solution.history <= 1.0001 * target)
    after = at[1 + proven[0]] if len(proven) else at[-1]
    return (after - at[0]) / (at[-1] - at[0])


class CountedLoops:
    """The compiled loops, which count the entries of P that they read."""

    def __init__(self, loops):
        self._loops, self.n_read = loops, 0

    def __getattr__(self, name):
        return getattr(self._loops, name)

    def improve(self, begin, end, first, indptr, *others):
        self.n_read += int(indptr[first[end]]) - int(indptr[first[begin]])
        return self._loops.improve(begin, end, first, indptr, *others)

    def follow(self, begin, end, room, stop, *others):
        n_entries = int((stop[begin:end].astype(np.int64) - room[begin:end]).sum())
        self.n_read += others[-1] * n_entries
        return self._loops.follow(begin, end, room, stop, *others)


def entries_read(process, tol):
    """Return how many entries of P the compiled loops read, 0 if they are not used."""
    counted = CountedLoops(_compiled.load())
    with mock.patch.object(_compiled, "load", return_value=counted):
        solve_once(process, tol)
    return counted.n_read


def median(runs, what):
    return statistics.median(getattr(run, what) for run in runs)


def microseconds(function, seconds=0.2):
    """Return the CPU time of a call, in the least disturbed of five series."""
    function()
    n = max(1, int(seconds / 5 / max(1e-6, timed(function)[1])))
    return 1e6 * min(timed(lambda: [function() for _ in range(n)])[1] / n for _ in range(5))


def times_of_small(process):
    """Return microseconds of a solve, and of making the model first."""
    mdp = process.mdp()
    tol = 1e-6 * (1 - process.gamma)
    return (
        microseconds(lambda: solve(mdp, process.gamma, tol=tol)),
        microseconds(lambda: solve(process.mdp(), process.gamma, tol=tol)),
    )


# ------------------------------------------------------------------ without numba


def without_numba():
    """Return a process of its own in which numba cannot be imported."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_hide_numba)


def _hide_numba():
    sys.modules["numba"] = None


_kept = []


def keep(process):
    """Keep a process for ``solve_kept``, so that it need not be sent again."""
    _kept[:] = [process]


def solve_kept(tol):
    assert sys.modules["numba"] is None
    return solve_once(_kept[0], tol)


# ------------------------------------------------------------------ in a fresh interpreter

MEASURE = """
import json, re, sys, time
from pathlib import Path
import numpy as np
import solver_runs as runs
from solver_processes import random

begin = time.process_time()
runs.solve_once(random(np.random.default_rng(0), 20_000, 5, 5, 0.99), 1e-6)
small = time.process_time() - begin
process, tol = runs.load(sys.argv[1]), float(sys.argv[2])
runs.solve_once(process, tol)

def status(field):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(field + r":\\s+(\\d+) kB", text)[1])

Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before, begin = status("VmRSS"), time.thread_time()
run = runs.solve_once(process, tol)
main = time.thread_time() - begin
print(json.dumps({"cpu": run.cpu, "wall": run.wall, "main": main, "first": small,
                  "bytes": status("VmHWM") - before,
                  "values": run.solution.state_values.tolist()[:1000],
                  "numba": "numba" in sys.modules}))
"""


def save(process, path):
    """Write a process to a file for ``load``."""
    P = process.transitions
    parts = {"data": P.data, "indices": P.indices, "indptr": P.indptr, "n_states": P.shape[1]}
    parts |= {name: getattr(process, name) for name in ("rewards", "state", "action", "gamma")}
    np.savez(path, **parts)


def load(path):
    """Return a process that ``save`` has written."""
    parts = np.load(path)
    rewards = parts["rewards"]
    rows = (parts["data"], parts["indices"], parts["indptr"])
    P = csr_array(rows, shape=(len(rewards), int(parts["n_states"])))
    return Process(P, rewards, parts["state"], parts["action"], float(parts["gamma"]))


def in_fresh_interpreter(process, tol, **environment):
    """Solve a process in an interpreter of its own, with changes to the environment.

    Returns CPU and wall seconds of the third solve, CPU seconds of its main thread, the bytes it
    needs beyond the model, and some values; CPU seconds of the first solve; and whether numba was
    imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "process.npz"
        save(process, path)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path), str(tol)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

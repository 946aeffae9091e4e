"""A fitted policy on its way to other processes, threads and versions."""

import copy
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning

import skmdp
from skmdp import MarkovPolicyEstimator
from skmdp.datasets import make_search_log

LOG = make_search_log(500, length=8, random_state=0)
POLICY = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(LOG)


def test_another_process_predicts_the_same(tmp_path):
    path = tmp_path / "policy.pickle"
    path.write_bytes(pickle.dumps(POLICY))
    LOG[["state"]].to_csv(tmp_path / "states.csv", index=False)
    code = (
        "import pickle, sys, pandas as pd; from pathlib import Path; folder = Path(sys.argv[1]);"
        "policy = pickle.loads((folder / 'policy.pickle').read_bytes());"
        "print(*policy.predict(pd.read_csv(folder / 'states.csv')))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(action) for action in POLICY.predict(LOG)]


def test_the_arrays_may_stay_on_disk(tmp_path):
    joblib.dump(POLICY, tmp_path / "policy.joblib")
    mapped = joblib.load(tmp_path / "policy.joblib", mmap_mode="r")
    assert isinstance(mapped.state_values_, np.memmap)
    assert_array_equal(mapped.predict(LOG), POLICY.predict(LOG))
    assert_array_equal(mapped.decision_function(LOG), POLICY.decision_function(LOG))
    assert mapped.score(LOG) == POLICY.score(LOG)
    mapped.partial_fit(LOG)
    assert mapped.n_transitions_ == 2 * len(LOG)


def test_threads_share_one_policy():
    states = LOG["state"].to_numpy()
    expected = POLICY.predict(states), POLICY.decision_function(states), POLICY.score(LOG)
    with ThreadPoolExecutor(8) as pool:
        futures = [
            (
                pool.submit(POLICY.predict, states),
                pool.submit(POLICY.decision_function, states),
                pool.submit(POLICY.score, LOG),
            )
            for _ in range(25)
        ]
    for results in futures:
        for result, wanted in zip(results, expected, strict=True):
            assert_array_equal(result.result(), wanted)


def test_pickles_of_another_version_warn(monkeypatch):
    monkeypatch.setattr("skmdp._fitted.__version__", "0.0.1")
    pickled = pickle.dumps(POLICY)
    monkeypatch.undo()
    message = (
        rf"MarkovPolicyEstimator from version 0\.0\.1 of skmdp .* {skmdp.__version__} of skmdp"
    )
    with pytest.warns(InconsistentVersionWarning, match=message):
        loaded = pickle.loads(pickled)
    assert_array_equal(loaded.predict(LOG), POLICY.predict(LOG))


def test_copies_of_this_version_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in (copy.copy(POLICY), copy.deepcopy(POLICY), pickle.loads(pickle.dumps(POLICY))):
            assert vars(other).keys() == vars(POLICY).keys()
        clone(POLICY)

"""Settings that must hold before anything is imported."""

import gc
import os

# scikit-learn skips its array API check unless this is set before scipy is imported.
os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("MPLBACKEND", "agg")
# Where each core has a process that runs tests, further threads would take it from others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # obeyed by BLAS, too

import numpy as np
import pytest
from hypothesis import settings

# What passes on one machine passes on the next: examples are the same in every run. The nightly
# profile draws new ones.
settings.register_profile("gate", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What is drawn without a ``random_state`` is the same in every run, too."""
    np.random.seed(0)  # noqa: NPY002  The generator that scikit-learn draws from by default.


def pytest_collection_finish():
    """Of so many objects, what is there by now stays: garbage is looked for more seldom."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        gc.set_threshold(20_000, 10, 10)

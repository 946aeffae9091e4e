"""The examples run as the README says."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from skmdp.datasets import make_search_log

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, *arguments):
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_first_policy_from_the_climb():
    printed = run("plot_01_first_policy.py")
    for expected in ("rows      12", "episodes  4", "states    5", "actions   2: climb, sink"):
        assert expected in printed
    assert "held-out" in printed


def test_first_policy_from_the_search_log():
    printed = run("plot_01_first_policy.py", EXAMPLES / "data" / "search_log.csv")
    assert "episodes  2000" in printed
    logged, learned = (
        float(line.split()[-1]) for line in printed.splitlines() if " -" in line[-12:]
    )
    assert learned > logged


def test_search_log_is_the_simulated_one():
    stored = pd.read_csv(EXAMPLES / "data" / "search_log.csv")
    fresh = make_search_log(2000, random_state=0)
    pd.testing.assert_frame_equal(stored, fresh, check_dtype=False)


def test_first_policy_of_a_table_that_is_not_there():
    with pytest.raises(AssertionError, match="FileNotFoundError"):
        run("plot_01_first_policy.py", "no_such_table.csv")


def test_frozen_lake_is_crossed_as_well_as_can_be(tmp_path):
    printed = run("plot_03_frozen_lake_from_a_log.py", tmp_path / "figure.png").splitlines()
    walker, optimum = float(printed[0].split()[-1]), float(printed[-1].split()[-1])
    learned = [float(line.split()[3]) for line in printed[1:-1]]
    assert optimum == pytest.approx(0.744, abs=5e-4)
    assert walker < 0.05 < learned[0] < learned[-1] <= optimum
    assert learned[-1] > 0.95 * optimum
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_learning_to_search_draws_its_figure(tmp_path):
    printed = run("plot_02_learning_to_search.py", tmp_path / "figure.png")
    means = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()[1:5]}
    assert means["learned"] < means["binary"] < means["linear"] < means["random"]
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")

"""The examples run as they say, and the pages about them hold together."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skmdp.datasets import make_maintenance_log, mdp_from_table

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_alone(script, *arguments):
    """Run a script as a process of its own, and return what it prints."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script as Python does, warnings being errors here too, without a start of Python."""

    def run_here(script, *arguments):
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES / script), *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    yield run_here
    plt.close("all")


BOOKS = EXAMPLES / "data" / "maintenance_log.csv"
NAMES = ("--state", "condition", "--reward", "profit", "--episode", "machine")


def test_first_policy_from_the_books_of_a_workshop(run):
    printed = run("plot_01_first_policy.py")
    assert printed == run_alone("plot_01_first_policy.py", BOOKS, *NAMES)
    assert "Better than the logged policy, by " in printed
    assert "150 episodes, 3,600 rows, 5 states, 4 actions" in printed
    for advice in ("new +run", "worn +service", "broken +replace"):
        assert re.search(advice, printed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), r"no column state; it has machine, month.* Say --state"),
        ((*NAMES, "--action", "drug"), r"no column drug; it has .* Say --action"),
    ],
)
def test_first_policy_says_which_columns_it_lacks(run, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run("plot_01_first_policy.py", BOOKS, *arguments)
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


def test_first_policy_of_a_state_of_two_columns(run, tmp_path):
    log = pd.read_csv(BOOKS)
    log["site"] = log["next_site"] = log["machine"] % 3
    log.to_csv(tmp_path / "log.csv")
    printed = run(
        "plot_01_first_policy.py", tmp_path / "log.csv", *NAMES, "--state", "condition", "site"
    )
    assert "15 states" in printed
    assert "... and 3 more states" in printed


def test_the_books_are_those_of_the_simulated_workshop():
    fresh = make_maintenance_log(150, random_state=0)
    pd.testing.assert_frame_equal(pd.read_csv(BOOKS), fresh, check_dtype=False)


def test_first_policy_of_a_table_that_is_not_there(run):
    with pytest.raises(FileNotFoundError, match=r"no_such_table\.csv"):
        run("plot_01_first_policy.py", "no_such_table.csv")


@pytest.mark.long
def test_frozen_lake_is_crossed_as_well_as_can_be(run, tmp_path):
    printed = run("plot_03_frozen_lake_from_a_log.py", tmp_path / "figure.png").splitlines()
    walker, optimum = float(printed[0].split()[-1]), float(printed[-1].split()[-1])
    learned = [float(line.split()[3]) for line in printed[1:-1]]
    assert optimum == pytest.approx(0.744, abs=5e-4)
    assert walker < 0.05 < learned[0] < learned[-1] <= optimum
    assert learned[-1] > 0.95 * optimum
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_learning_to_search_draws_its_figure(run, tmp_path):
    printed = run("plot_02_learning_to_search.py", tmp_path / "figure.png")
    means = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()[1:5]}
    assert means["learned"] < means["binary"] < means["linear"] < means["random"]
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_promise_is_too_high_and_other_pumps_tell(run, tmp_path):
    printed = run("plot_04_is_it_better_than_the_log.py", tmp_path / "figure.png")
    one, twenty = printed.split("20 other logs")
    assert "X holds the very transitions that the policy was learned from" in one
    today = int(re.search("([0-9]+) in truth", one)[1])
    promised, _, _, upper, truth, *_ = _numbers_after("textbook", one)
    assert promised > upper  # the promise is beyond what the other pumps allow
    assert promised > truth
    assert truth < today
    _, _, lower, upper, truth, _, gain_lower, _ = _numbers_after("min_count=20", one)
    assert lower <= truth <= upper
    assert gain_lower > 0  # shown to be better, and it is
    assert truth > today
    promised, estimate, truth, above, _, rightly, wrongly = _numbers_after("textbook", twenty)
    assert promised - truth > 20 > 5 > abs(estimate - truth)
    assert above > 10
    assert rightly < 10
    assert wrongly == 0
    promised, estimate, truth, above, holds, rightly, wrongly = _numbers_after(
        "min_count=20", twenty
    )
    assert max(promised, estimate, truth) - min(promised, estimate, truth) < 5
    assert (rightly, wrongly) == (20, 0)
    assert above < 5
    assert holds >= 17
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_workshop_of_the_pumps_is_a_process():
    outcomes = pd.read_csv(EXAMPLES / "data" / "pump_workshop.csv")
    assert (outcomes.groupby(["state", "action"])["habit"].nunique() == 1).all()
    habits = outcomes.drop_duplicates(["state", "action"]).groupby("state")["habit"].sum()
    np.testing.assert_allclose(habits, 1)
    labelled = mdp_from_table(outcomes)
    np.testing.assert_allclose(labelled.mdp.transitions.sum(axis=1), 1)


@pytest.mark.long
def test_thin_data_and_what_helps(run, tmp_path):
    printed = run("plot_05_thin_data.py", tmp_path / "figure.png", 8)
    random, good = (
        {
            knob: _numbers_after(knob, log)[::2]  # the means; the quantiles are in between
            for knob in ("textbook", 'prior_strength="auto"', "min_count=5", "pessimism=0.25")
        }
        for log in printed.split("Logs of ")[1:]
    )
    for log in (random, good):
        assert all(value[-1] > 90 for value in log.values())  # much data: all near the optimum
        assert all(value[0] < value[-1] <= 100 for value in log.values())
        for textbook, auto in list(zip(log["textbook"], log['prior_strength="auto"'], strict=True))[
            :2
        ]:
            assert auto > textbook
    assert random["min_count=5"][0] < random["textbook"][0] - 30
    assert all(np.array(good["min_count=5"]) > good["textbook"])
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_pipeline_from_raw_measurements(run, tmp_path):
    printed = run("plot_06_pipeline_from_raw_measurements.py", tmp_path / "figure.png")
    today = int(re.search("([0-9]+) in truth", printed)[1])
    found = re.findall(r"^ *(wear.*?) +(\d+)" + 4 * r" +(-?\d+)" + "( +chosen)? *$", printed, re.M)
    rows = [(name, *map(int, numbers), mark) for name, *numbers, mark in found]
    assert len(rows) == 8
    ((chosen, n_states, *_, truth, _),) = [row for row in rows if row[-1]]
    worth = {row: min(row[2], row[3]) for row in rows}
    assert chosen == "wear, temperature"  # what matters, and no more
    assert truth > 2 * today
    assert truth > max(row[5] for row in rows) - 15
    for row in rows:
        name, others, score, fqe, _, other_truth, _ = row
        assert abs(fqe - other_truth) < 20  # the measurements tell, whatever the states
        if name == "wear":  # too little to tell what follows: far too high
            assert score > other_truth + 25
        elif others == 64:  # few rows each: too low
            assert score < other_truth - 20
        assert others >= n_states or worth[row] < 0.96 * max(worth.values())
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_beside_a_rule_of_thumb(run, tmp_path):
    printed = run("plot_10_beside_a_rule_of_thumb.py", tmp_path / "figure.png")
    judged = {
        name: [float(number) for number in re.findall(r"-?[0-9.]+", line)]
        for name, line in re.findall(
            r"^ *(today|rule|one policy|ten averaged) +(.*)$", printed, re.M
        )
    }
    assert len(judged) == 4
    today = judged["today"][-1]
    for name, (value, lower, upper, unsupported, true) in judged.items():
        assert abs(value - true) < 20
        assert unsupported < 0.1
        if name != "today":
            assert 0 < lower < true - today < upper
    assert min(judged[name][-1] for name in ("one policy", "ten averaged")) > judged["rule"][-1]
    assert judged["ten averaged"][-1] > judged["one policy"][-1] - 5
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_messy_log_is_mended_and_judged_like_the_clean_one(run, tmp_path):
    figure, report = tmp_path / "figure.png", tmp_path / "report.html"
    printed = run("plot_09_from_messy_log_to_decision.py", figure, report)
    assert "rule: Better than the logged policy" in report.read_text(encoding="utf-8")
    messy, mended = printed.split("mended:")
    assert re.search(r"look_alike +\d+", messy)
    assert re.search("steps_repeat +40", messy)
    assert "7,200 rows, 300 episodes, 5 states, 4 actions\n0 error(s), 0 warning(s)" in mended
    assert "if condition is 'bad' or 'worn': 'service'" in mended
    lines = re.findall(r"^ *(today|rule|learned) +(.*)$", mended, re.M)
    judged = {name: [float(number) for number in line.split()] for name, line in lines}
    for name in ("rule", "learned"):
        assert judged[name][3] > 0  # the interval of the difference to today
        assert judged[name][1] > judged["today"][2]
    assert abs(judged["rule"][0] - judged["learned"][0]) < 1
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


SCRIPTS = sorted(EXAMPLES.glob("plot_*.py"))


PAGES = [EXAMPLES.parent / "README.md", EXAMPLES / "GUIDE.md"]


def anchor(heading):
    """Return the name that GitHub gives to a heading."""
    return re.sub("[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub("```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, place = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if place:
            headings = re.findall("^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert place in [anchor(heading) for heading in headings], link


def test_the_guide_lists_every_example():
    listed = set(
        re.findall(r"plot_\w+\.py", PAGES[1].read_text().split("in the order of a course")[1])
    )
    assert listed == {script.name for script in SCRIPTS}


def test_a_log_bigger_than_memory_gives_the_same_policy():
    printed = run_alone("plot_07_a_log_bigger_than_memory.py", 200_000)
    assert "written   200,000 rows" in printed
    assert "the same  in memory: True" in printed
    most, before = map(int, re.search("memory +([0-9]+) MB.* ([0-9]+) MB", printed).groups())
    assert most - before < 500
    orders = re.findall("in stock: (.*)", printed)
    assert all(int(of_much) <= int(of_none) for of_none, *_, of_much in map(str.split, orders))


def test_solvers_prove_what_they_say(run, tmp_path):
    printed = run("plot_08_solvers.py", tmp_path / "figure.png")
    lines = re.findall(r"^  (\w+) +(\d+) iter.* bound (\S+), (\S+) from", printed, re.M)
    assert len(lines) == 9
    bounds = [float(bound) for _, _, bound, _ in lines]
    for process in range(0, 9, 3):
        n_iter = [int(found) for _, found, _, _ in lines[process : process + 3]]
        assert max(n_iter[1:]) < n_iter[0] / 5  # policies are followed, or solved, in between
        best = min(bounds[process : process + 3])
        for _, _, bound, apart in lines[process : process + 3]:
            assert float(apart) <= 1.1 * (float(bound) + best)
            assert float(bound) <= 1.01e-4  # 1e-6 of values of 100
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def _numbers_after(name, printed):
    """Return the whole numbers of the line that starts with a name."""
    line = next(line for line in printed.splitlines() if line.startswith(name))
    return [int(found) for found in re.findall(r"-?[0-9]+", line.removeprefix(name))]

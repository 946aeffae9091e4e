"""python -m skmdp: from a file to a policy, in words, as JSON, as a report."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from skmdp.__main__ import main
from skmdp.datasets import make_maintenance_log
from skmdp.export import from_json

NAMES = ("--state", "condition", "--reward", "profit", "--episode", "machine", "--step", "month")


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    folder = tmp_path_factory.mktemp("books")
    log = make_maintenance_log(80, 12, random_state=0)
    log.to_csv(folder / "log.csv", index=False)
    log.to_parquet(folder / "log.parquet")
    return folder


def test_a_table_becomes_a_policy_in_words(books, capsys):
    assert main([str(books / "log.csv"), *NAMES]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Audit: no errors")
    assert "Better than the logged policy, by " in printed
    assert "worn service" in printed


def test_parquet_and_csv_say_the_same(books, capsys):
    found = []
    for name in ("log.csv", "log.parquet"):
        assert main([str(books / name), *NAMES, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    result = found[0]
    assert result["is_better"] is True
    assert result["gain_interval"][0] < result["gain"] < result["gain_interval"][1]
    assert {row["condition"]: row["action"] for row in result["policy"]}["worn"] == "service"
    assert all(one["severity"] != "error" for one in result["audit"])


def test_files_are_written(books, tmp_path, capsys):
    report, card = tmp_path / "out.html", tmp_path / "policy.json"
    asked = [str(books / "log.csv"), *NAMES, "--report", str(report), "--policy", str(card)]
    assert main(asked) == 0
    assert f"Written: {report}" in capsys.readouterr().out
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    policy = from_json(card.read_text(encoding="utf-8"))
    assert policy.predict(["worn"]) == ["service"]
    with pytest.raises(SystemExit) as stopped:
        main(asked)
    assert stopped.value.code == 2
    assert "say --overwrite to replace it" in capsys.readouterr().err
    assert main([*asked, "--overwrite"]) == 0


def test_a_table_that_fit_refuses_is_audited(tmp_path, capsys):
    log = make_maintenance_log(20, 6, random_state=0)
    log.loc[3, "profit"] = np.nan
    log.loc[5, "condition"] = None
    log.to_csv(tmp_path / "log.csv", index=False)
    assert main([str(tmp_path / "log.csv"), *NAMES]) == 1
    printed = capsys.readouterr().out
    assert "fit refuses this table" in printed
    assert printed.count("error: missing") == 2
    assert main([str(tmp_path / "log.csv"), *NAMES, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["audit"]
    assert [one["severity"] for one in found[:2]] == ["error", "error"]


def test_too_few_episodes_are_told(tmp_path, capsys):
    make_maintenance_log(3, 6, random_state=0).to_csv(tmp_path / "log.csv", index=False)
    assert main([str(tmp_path / "log.csv"), *NAMES]) == 1
    assert "error: cv=5 folds need at least 5 episodes" in capsys.readouterr().out


def test_what_is_not_a_number_is_null(tmp_path, capsys):
    log = pd.DataFrame({"episode": range(20), "state": "s", "action": ["a", "b"] * 10})
    log.assign(reward=0.0, next_state=None).to_csv(tmp_path / "log.csv", index=False)
    assert main([str(tmp_path / "log.csv"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["gain_interval"] == [None, None]
    assert result["is_better"] is False


def test_states_of_several_columns_and_a_gain_that_is_required(tmp_path, capsys):
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {"episode": range(90), "age": rng.integers(0, 3, 90), "sex": rng.choice(["f", "m"], 90)}
    )
    log = log.assign(action=rng.choice(["a", "b"], 90, p=[0.8, 0.2]), reward=rng.normal(size=90))
    log.to_csv(tmp_path / "log.csv", index=False)
    assert (
        main([str(tmp_path / "log.csv"), "--state", "age", "sex", "--require-gain", "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["imitates_log"] is True
    assert {row["action"] for row in result["policy"]} == {"a"}
    assert any("No gain over the logged policy" in text for text in result["warnings"])


def test_many_states_are_cut_in_words_only(tmp_path, capsys):
    log = pd.DataFrame({"episode": range(300), "state": np.arange(300) % 20, "action": "a"})
    log.assign(reward=1.0).to_csv(tmp_path / "log.csv", index=False)
    assert main([str(tmp_path / "log.csv")]) == 0
    assert "... and 8 more states" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "there is no file nowhere.csv"),
        (["{log}"], "no column 'state'; it has 'machine', 'month', 'condition'"),
        (["{log}", *NAMES, "--action", "drug"], r"no column 'drug'; .* Name it: --action NAME"),
        (["{log}", *NAMES, "--next-state", "then"], "no column 'then'"),
        (["{text}", *NAMES], "cannot be read"),
        (["{log}", *NAMES, "--gamma", "much"], "invalid float value"),
    ],
)
def test_wrong_commands(arguments, message, books, tmp_path, capsys):
    text = tmp_path / "text.parquet"
    text.write_text("no parquet", encoding="utf-8")
    asked = [one.format(log=books / "log.csv", text=text) for one in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(asked)
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_parquet_names_what_it_needs(books, monkeypatch, capsys):
    def without_a_reader(_):
        raise ImportError("no engine")

    monkeypatch.setattr(pd, "read_parquet", without_a_reader)
    with pytest.raises(SystemExit):
        main([str(books / "log.parquet"), *NAMES])
    assert "Parquet needs pyarrow" in capsys.readouterr().err


def test_labels_stay_as_they_are_written(tmp_path, capsys):
    rows = ["episode,state,action,reward"]
    rows += [f"{i},{'001' if i % 2 else '1'},{i % 3 % 2},{i % 2}" for i in range(40)]
    (tmp_path / "log.csv").write_text("\n".join(rows), encoding="utf-8")
    assert main([str(tmp_path / "log.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["policy"]
    assert {row["state"] for row in found} == {"001", "1"}
    assert {row["action"] for row in found} <= {0, 1}


def test_another_separator_and_encoding(tmp_path, capsys):
    log = make_maintenance_log(20, 6, random_state=0).replace({"condition": {"new": "né"}})
    log = log.replace({"next_condition": {"new": "né"}})
    log.to_csv(tmp_path / "log.csv", index=False, sep=";", encoding="latin-1")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "log.csv"), *NAMES])
    assert "--encoding latin-1" in capsys.readouterr().err
    asked = [str(tmp_path / "log.csv"), *NAMES, "--separator", ";", "--encoding", "latin-1"]
    assert main([*asked, "--cv", "3", "--json"]) == 0
    assert "né" in {row["condition"] for row in json.loads(capsys.readouterr().out)["policy"]}


@pytest.mark.parametrize(("between", "named"), [(";", "';'"), ("\t", r"'\t'"), ("|", "'|'")])
def test_a_separator_is_named_that_was_not_said(between, named, tmp_path, capsys):
    """As it is to be said."""
    make_maintenance_log(20, 6, random_state=0).to_csv(tmp_path / "x", index=False, sep=between)
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "x"), *NAMES])
    assert stopped.value.code == 2
    assert f"are set apart by {named}: say --separator {named}." in capsys.readouterr().err
    assert main([str(tmp_path / "x"), *NAMES, "--cv", "3", "--separator", named[1:-1]]) == 0


def test_a_table_of_one_column_lacks_the_others(tmp_path, capsys):
    (tmp_path / "x").write_text("condition\nnew\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "x"), *NAMES])
    assert "the table has no column" in capsys.readouterr().err


def test_nothing_is_overwritten_or_lost(books, tmp_path, capsys):
    card = tmp_path / "card.json"
    card.write_text("mine", encoding="utf-8")
    for option, name, message in [
        ("--policy", card, "say --overwrite"),
        ("--policy", books / "log.csv", "is the table itself"),
        ("--report", books / "log.csv", "is the table itself"),
        ("--report", tmp_path / "no" / "r.html", "does not exist; make it first"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main([str(books / "log.csv"), *NAMES, option, str(name)])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert card.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S+01:00"])
def test_dates_of_a_csv_are_steps(books, tmp_path, capsys, written):
    log = pd.read_csv(books / "log.csv")
    months = pd.Timestamp("2026-01-01") + pd.to_timedelta(31 * log["month"], unit="D")
    shuffled = log.assign(month=months.dt.strftime(written)).sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "log.csv", index=False)
    found = []
    for path in (books / "log.csv", tmp_path / "log.csv"):
        assert main([str(path), *NAMES, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["policy"])
    assert found[0] == found[1]


def test_durations_may_be_those_of_steps(tmp_path):
    log = make_maintenance_log(20, 6, random_state=0)
    log.to_csv(tmp_path / "log.csv", index=False)
    assert main([str(tmp_path / "log.csv"), *NAMES, "--duration", "step"]) in (0, 1)


def test_a_reader_may_stop_before_the_end(books):
    command = [sys.executable, "-W", "error", "-m", "skmdp", str(books / "log.csv"), *NAMES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        said = run.stderr.read()
    assert said == b""
    assert run.returncode == 0


def test_it_runs_as_a_module(books):
    command = [sys.executable, "-W", "error", "-m", "skmdp", str(books / "log.csv"), *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Better than the logged policy" in done.stdout

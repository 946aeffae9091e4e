"""The report: one file that needs nothing else, in which every text is text."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import load_climb, make_maintenance_log
from skmdp.ensemble import PolicyBagging
from skmdp.preprocessing import StateEncoder
from skmdp.report import write_report

LOG, OTHERS = (make_maintenance_log(80, 12, random_state=seed) for seed in (0, 1))
ROLES = {"episode": "machine", "step": "month", "state": "condition", "reward": "profit"}
RULE = {"new": "run", "good": "run", "worn": "service", "bad": "replace", "broken": "repair"}


class Page(HTMLParser):
    """The tags, texts and sources of a page; tags that are not closed in order are an error."""

    EMPTY = ("meta", "link", "input", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.sources, self.tags = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def policy():
    return MarkovPolicyCV(gamma=0.9, **ROLES).fit(LOG)


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave pictures out, which take longest: what is looked at is said in words."""
    monkeypatch.setattr("skmdp.report._report._pictures", lambda _: [])


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def test_a_report_holds_all_and_needs_nothing(policy, tmp_path):
    path = write_report(policy, tmp_path / "report.html", LOG, policies={"house rule": RULE})
    page = read(path)
    for line in policy.summary().splitlines():
        assert line in page.text
    for heading in ("In short", "The policy", "Pictures", "Beside what was logged", "The log"):
        assert heading in page.text
    for heading in ("What is assumed", "Where it comes from"):
        assert heading in page.text
    for state, action in policy.policy_map().items():
        assert state in page.text
        assert action in page.text
    assert "house rule: Better than the logged policy" in page.text
    assert "Audit of 960 rows" in page.text
    assert re.search(r"hash of the counts [0-9a-f]{16}", page.text)
    assert "min_counts=(0, 3, 10, 30)" in page.text
    # Nothing is fetched from anywhere.
    assert all(source.startswith("data:") for source in page.sources)
    images = [source for source in page.sources if source.startswith("data:image")]
    assert len(images) == 5
    for image in images:
        assert base64.b64decode(image.split(",")[1]).startswith(b"\x89PNG")
    text = path.read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.usefixtures("no_pictures")
def test_the_log_it_was_learned_from_proves_nothing(tmp_path):
    policy = MarkovPolicyEstimator(**ROLES).fit(LOG)
    same = read(write_report(policy, tmp_path / "same.html", LOG))
    assert "Whether the policy is better than what was logged is not known" in same.text
    assert "this policy: " not in same.text
    other = read(write_report(policy, tmp_path / "other.html", OTHERS))
    assert "On the log at hand: Better than the logged policy" in other.text
    assert "this policy: Better" in other.text
    alone = read(write_report(policy, tmp_path / "alone.html"))
    assert "was not compared with what was logged" in alone.text
    assert "Audit of" not in alone.text


@pytest.mark.usefixtures("no_pictures")
def test_the_hash_is_that_of_what_was_counted(policy, tmp_path):
    def digest(fitted, name):
        page = read(write_report(fitted, tmp_path / name))
        return re.search(r"hash of the counts ([0-9a-f]{16})", page.text)[1]

    again = MarkovPolicyCV(gamma=0.5, **ROLES).fit(LOG)
    fewer = MarkovPolicyCV(gamma=0.9, **ROLES).fit(LOG[:-12])
    renamed = MarkovPolicyCV(gamma=0.9, **ROLES).fit(
        LOG.replace({"condition": {"new": "fresh"}, "next_condition": {"new": "fresh"}})
    )
    found = [digest(one, f"{i}.html") for i, one in enumerate((policy, again, fewer, renamed))]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_every_text_is_escaped(tmp_path):
    evil = "<script>alert('x')</script>&\"'"
    table = pd.DataFrame(
        {
            "episode": np.repeat(range(10), 2),
            "state": [evil, "b"] * 10,
            "action": [evil, "stay"] * 10,
        }
    ).assign(reward=[1.0, 2.0] * 10, next_state=["b", None] * 10)
    path = write_report(
        MarkovPolicyCV().fit(table),
        tmp_path / "evil.html",
        table,
        policies={evil: "behavior"},
        title=evil,
    )
    page = read(path)
    assert page.tags.count("script") == 1
    assert "alert('x')" in page.text
    assert "<script>alert" not in path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_pictures")
def test_warnings_are_told_once_in_the_page(tmp_path):
    table = load_climb()
    policy = MarkovPolicyEstimator(handle_unknown="most_frequent").fit(table)
    page = read(write_report(policy, tmp_path / "report.html", table[table["episode"] < 2]))
    assert "Warnings" in page.text
    told = [
        text
        for text in page.texts
        if "fewer than 5" in text or "X lacks" in text or "episode" in text
    ]
    assert len(told) == len(set(told))


@pytest.mark.usefixtures("no_pictures")
def test_states_are_shown_in_measured_units(tmp_path):
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"episode": range(200), "age": rng.uniform(20, 90, 200).round()})
    log = log.assign(action=rng.choice(["a", "b"], 200), reward=rng.normal(size=200))
    bins = KBinsDiscretizer(3, encode="ordinal", strategy="uniform")
    pipeline = make_pipeline(
        StateEncoder(bins, state=["age"]),
        MarkovPolicyCV(state=["age"], handle_unknown="most_frequent"),
    ).fit(log)
    page = read(write_report(pipeline, tmp_path / "report.html", log))
    assert re.search(r"\[\d+\.\d, \d+\.\d\)", page.text)


def test_a_log_without_rewards_is_reported_without_a_worth(tmp_path):
    log = LOG.drop(columns="profit")
    names = {**ROLES, "reward": None}
    for learner in (MarkovPolicyCV(**names), MarkovPolicyEstimator(**names)):
        path = tmp_path / f"{type(learner).__name__}.html"
        page = read(write_report(learner.fit(log), path, log))
        assert "no rewards" in page.text
        assert "nan" not in page.text.split("The policy")[0]


@pytest.mark.usefixtures("no_pictures")
def test_files_are_not_replaced_unasked(policy, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="overwrite=True to replace it"):
        write_report(policy, path)
    assert path.read_text(encoding="utf-8") == "mine"
    write_report(policy, path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        write_report(policy, tmp_path / "nowhere" / "report.html")


def test_what_cannot_be_reported(policy, tmp_path):
    with pytest.raises(NotFittedError):
        write_report(MarkovPolicyCV(), tmp_path / "report.html")
    with pytest.raises(ValueError, match="policies are compared on a log: hand in X"):
        write_report(policy, tmp_path / "report.html", policies={"rule": RULE})
    bag = PolicyBagging(MarkovPolicyEstimator(**ROLES), 2, bootstrap=True, random_state=0).fit(LOG)
    with pytest.raises(TypeError, match="got PolicyBagging"):
        write_report(bag, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()

"""Displays: what they hold, that they draw it at any size, and what they refuse."""

import builtins
import sys
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

from skmdp import MarkovPolicyCV, MarkovPolicyEstimator
from skmdp.datasets import make_maintenance_log, make_search_log
from skmdp.ensemble import PolicyBagging
from skmdp.inspection import action_table, policy_table
from skmdp.metrics import compare_policies, evaluate_policy
from skmdp.model_selection import EpisodeKFold
from skmdp.plotting import (
    ConvergenceDisplay,
    PolicyDisplay,
    PolicyEvaluationDisplay,
    PolicyMapDisplay,
    PolicyTreeDisplay,
    SupportDisplay,
    TransitionGraphDisplay,
    ValueDisplay,
)
from skmdp.plotting._trees import LEGIBLE_SIZE
from skmdp.preprocessing import StateEncoder
from skmdp.solvers import solve

OF_POLICIES = [
    PolicyDisplay,
    ValueDisplay,
    SupportDisplay,
    TransitionGraphDisplay,
    ConvergenceDisplay,
]
LOG = make_maintenance_log(60, 12, random_state=0)
ROLES = {"episode": "machine", "step": "month", "state": "condition", "reward": "profit"}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def policy():
    return MarkovPolicyCV(gamma=0.9, **ROLES).fit(LOG)


def measured(n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"age": rng.uniform(20, 90, n), "pressure": rng.normal(120, 20, n)})
    action = rng.choice(["drug", "none"], n)
    reward = ((X["age"] > 55) == (action == "drug")).astype(float)
    return X.assign(sex=rng.choice(["f", "m"], n), action=action, reward=reward, episode=range(n))


def piped(learner=None):
    bins = KBinsDiscretizer(2, encode="ordinal", strategy="uniform")
    learner = MarkovPolicyEstimator(handle_unknown="most_frequent") if learner is None else learner
    return make_pipeline(
        StateEncoder(bins, state=["age", "pressure"]), learner.set_params(state=["age", "pressure"])
    )


def drawn(display):
    """Draw for good, as a file is: that is where fonts and layouts fail."""
    display.figure_.canvas.draw()
    return display


# ------------------------------------------------------------------------------ what they hold


def test_a_heat_map_holds_q_and_the_advice(policy):
    display = drawn(PolicyDisplay.from_estimator(policy))
    table = action_table(policy)
    for line, state in enumerate(display.states):
        rows = table[table["condition"] == state].set_index("action")
        known = ~np.isnan(display.q_values[line])
        assert [display.actions[i] for i in np.flatnonzero(known)] == list(rows.index)
        np.testing.assert_allclose(display.q_values[line][known], rows["q"])
        assert display.actions[display.advised[line]] == rows["is_advised"].idxmax()
    assert display.is_admissible.all()


def test_what_may_not_be_chosen_is_crossed_out():
    ban = pd.DataFrame({"condition": ["worn"], "action": ["service"]})
    display = PolicyDisplay.from_estimator(MarkovPolicyEstimator(forbidden=ban, **ROLES).fit(LOG))
    line, column = display.states.index("worn"), display.actions.index("service")
    assert not display.is_admissible[line, column]
    assert display.is_admissible.sum() == display.is_admissible.size - 1
    assert display.actions[display.advised[line]] != "service"


def test_values_are_those_of_the_states(policy):
    display = drawn(ValueDisplay.from_estimator(policy))
    assert (np.diff(display.values) >= 0).all()
    found = dict(zip(display.states, display.values, strict=True))
    table = policy_table(policy)
    assert found == pytest.approx(dict(zip(table["condition"], table["value"], strict=True)))
    assert (display.standard_errors > 0).all()


def test_support_counts_rows(policy):
    display = drawn(SupportDisplay.from_estimator(policy))
    table = policy_table(policy)
    np.testing.assert_array_equal(display.action_visits, table["action_visits"])
    np.testing.assert_array_equal(display.state_visits, table["state_visits"])
    thin = SupportDisplay(
        action_visits=np.array([4.0, 5.0, 0.0]), state_visits=np.array([10.0, 80, 10])
    )
    assert drawn(thin.plot()).thin_share == pytest.approx(0.2)


def test_arrows_are_the_probabilities_under_the_policy(policy):
    display = drawn(TransitionGraphDisplay.from_estimator(policy))
    for i, state in enumerate(policy.states_):
        action = policy.policy_map()[state]
        row = policy.transition_matrix(action).toarray()[i]
        np.testing.assert_allclose(display.probabilities[i], row)
        assert display.actions[display.advised[i]] == action
    np.testing.assert_allclose(display.probabilities.sum(axis=1), 1)


def test_ends_are_nodes_without_advice():
    table = pd.DataFrame(
        {"episode": [0, 0], "state": ["a", "b"], "action": "go", "next_state": ["b", "end"]}
    ).assign(reward=1.0)
    display = drawn(TransitionGraphDisplay.from_estimator(MarkovPolicyEstimator().fit(table)))
    assert display.states == ["a", "b", "end"]
    assert display.advised.tolist() == [0, 0, -1]
    assert display.n_states == 2


def test_bounds_fall(policy):
    display = drawn(ConvergenceDisplay.from_estimator(policy))
    assert len(display.histories) == 3
    for history in display.histories.values():
        assert history[-1] <= 1e-6 * max(1, np.abs(policy.mdp_.rewards).max()) * 10
    alone = ConvergenceDisplay.from_solutions(solve(policy.mdp_, 0.9))
    assert list(alone.histories) == ["solution"]


RULE = {"new": "run", "good": "run", "worn": "service", "bad": "replace", "broken": "repair"}


def test_evaluations_are_drawn_beside_the_log(policy):
    one = evaluate_policy(RULE, LOG, methods="dm", columns=ROLES)
    alone = drawn(PolicyEvaluationDisplay.from_evaluations(one))
    assert alone.estimates["policy"].tolist() == ["policy"]
    assert alone.logged_value == one.behavior_value
    two = drawn(PolicyEvaluationDisplay.from_evaluations({"rule": one, "again": one}))
    assert two.estimates["policy"].tolist() == ["rule", "again"]
    policies = {"today": "behavior", "rule": RULE, "learned": policy}
    table = compare_policies(policies, LOG, methods="dm")
    display = drawn(PolicyEvaluationDisplay.from_comparison(table))
    np.testing.assert_array_equal(display.estimates["value"], table["value"])
    assert display.logged_value is None
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == ["today", "rule", "learned"]


def test_methods_without_an_interval_are_points():
    table = pd.DataFrame(
        {
            "policy": ["a", "b"] * 2,
            "method": ["dm", "dm", "wis", "wis"],
            "value": [1.0, 2.0, np.nan, 2.5],
            "lower": [0.5, 1.5, np.nan, np.nan],
            "upper": [1.5, 2.5, np.nan, np.nan],
        }
    )
    display = drawn(PolicyEvaluationDisplay(estimates=table, logged_value=np.nan).plot())
    assert len(display.ax_.get_legend().get_texts()) == 2
    none = PolicyEvaluationDisplay(estimates=table.assign(value=[1.0, 2.0, np.nan, np.nan])).plot()
    assert [text.get_text() for text in none.ax_.get_legend().get_texts()] == ["dm"]


def test_a_map_shows_what_is_predicted():
    log = measured()
    policy = piped().fit(log)
    display = drawn(PolicyMapDisplay.from_estimator(policy, log, ["age", "pressure"]))
    assert display.actions == ["drug", "none"]
    asked = pd.DataFrame({"age": display.x, "pressure": display.y[0]})
    predicted = policy.predict(asked)
    np.testing.assert_array_equal(np.array(display.actions)[display.advised[0]], predicted)
    assert display.x.min() == log["age"].min()
    assert display.points.shape == (len(log), 2)
    drawn(
        PolicyMapDisplay(
            x=display.x,
            y=display.y,
            advised=display.advised,
            actions=display.actions,
            names=("a", "b"),
        ).plot()
    )


def test_other_columns_of_a_map_are_held_in_their_middle():
    held = []

    class Policy:
        def predict(self, X):
            held.append(X)
            return np.where(X["pressure"] > 100, "high", "low")

    log = measured().assign(height=np.nan)
    PolicyMapDisplay.from_estimator(Policy(), polars.from_pandas(log), ["age", "pressure"])
    (asked,) = held
    assert asked["sex"].nunique() == 1
    assert asked["reward"].iloc[0] in (0.0, 1.0)
    assert asked["height"].isna().all()


def test_a_tree_answers_as_the_policy_where_it_can(policy):
    display = drawn(PolicyTreeDisplay.from_estimator(policy, LOG[["condition"]]))
    assert display.fidelity == 1.0
    assert "condition is worn" in display.features
    log = measured()
    pipeline = piped().fit(log)
    small = drawn(
        PolicyTreeDisplay.from_estimator(
            pipeline, log[["age", "pressure", "sex"]], max_leaf_nodes=2
        )
    )
    assert small.tree.get_n_leaves() == 2
    predicted = pipeline.predict(log)
    own = small.tree.predict(
        np.column_stack([log["age"], log["pressure"], log["sex"] == "f", log["sex"] == "m"]).astype(
            float
        )
    )
    assert small.fidelity == pytest.approx(np.mean(own == predicted))


# ------------------------------------------------------------------------- any company, any size


@pytest.fixture(scope="module")
def on_measurements():
    log = measured()
    search = GridSearchCV(piped(), {"markovpolicyestimator__gamma": [0.5]}, cv=EpisodeKFold(2))
    chosen = piped(MarkovPolicyCV(handle_unknown="most_frequent"))
    return [policy.fit(log) for policy in (piped(), search, chosen)]


@pytest.mark.parametrize("display", OF_POLICIES)
def test_pipelines_and_searches_are_drawn_in_measured_units(display, on_measurements):
    for fitted in on_measurements:
        found = drawn(display.from_estimator(fitted))
        if hasattr(found, "states"):
            assert len(found.states) == 4
            assert all("inf" in name for name in found.states)


@pytest.mark.parametrize("display", [PolicyDisplay, ValueDisplay, SupportDisplay])
def test_ensembles_are_drawn(display):
    bag = PolicyBagging(MarkovPolicyEstimator(**ROLES), 3, bootstrap=True, random_state=0).fit(LOG)
    drawn(display.from_estimator(bag))


@pytest.fixture(scope="module")
def of_many_states():
    return MarkovPolicyEstimator(gamma=0.9).fit(make_search_log(600, random_state=0))


@pytest.mark.parametrize("display", OF_POLICIES)
def test_many_states_are_cut_to_the_most_visited(display, of_many_states):
    policy = of_many_states
    assert len(policy.states_) > 200
    found = drawn(display.from_estimator(policy))
    if hasattr(found, "states"):
        assert len(found.states) == 40
        assert f"the 40 most visited of {found.n_states:,}" in found.ax_.get_title()
        visits = policy_table(policy).set_index("state")["state_visits"]
        assert visits[found.states].min() >= visits.nlargest(40).min()
        few = display.from_estimator(policy, max_states=3)
        assert len(few.states) == 3


@pytest.mark.parametrize("display", OF_POLICIES)
@pytest.mark.parametrize("label", ["$a_b^c$", "x" * 300, "<b>&", "état"])
def test_two_states_and_odd_labels(display, label):
    table = pd.DataFrame(
        {
            "episode": 0,
            "state": [label, "b"],
            "action": ["go\nthere", "stay"],
            "next_state": ["b", None],
        }
    ).assign(reward=[1.0, 2.0])
    drawn(display.from_estimator(MarkovPolicyEstimator().fit(table)))


@pytest.mark.parametrize("display", OF_POLICIES)
def test_axes_may_be_handed_in(display, policy):
    figure, ax = plt.subplots()
    found = display.from_estimator(policy, ax=ax)
    assert found.ax_ is ax
    assert found.figure_ is figure
    assert found.plot().ax_ is not ax


def test_many_actions_share_colours():
    log = make_search_log(300, length=25, random_state=0)
    display = drawn(TransitionGraphDisplay.from_estimator(MarkovPolicyEstimator().fit(log)))
    assert len(display.actions) > 20
    n = 24
    many = PolicyMapDisplay(
        x=np.arange(n),
        y=np.arange(2.0),
        advised=np.tile(np.arange(n), (2, 1)),
        actions=[str(i) for i in range(n)],
        names=("x", "y"),
    )
    drawn(many.plot())


# ------------------------------------------------------------------------------------- odd labels

MIDDLE = "the state of a patient who has had the same complaint for years"
LABELS = {
    "short": "s{:03d}",
    "forty": "a state with a name of some length: {:04d}",
    "alike at both ends": MIDDLE + " {:04d} " + MIDDLE,
    "mathematics": r"$\frac{{a_{:03d}$ _b^",
    "lines": "first line\nsecond line\t{:03d}",
    "underscores": "__{:03d}",
    "right to left": "ערך גבוה מאוד {:03d}",
    "other script": "κατάσταση του ασθενούς {:03d}",
}


def labelled(kind, n_states, n_actions):
    """A log of states and actions with odd names, all of which were seen, and two numbers."""
    rng = np.random.default_rng(0)
    n = 20 * n_states
    states, actions = (
        np.array([LABELS[kind].format(i) for i in range(many)]) for many in (n_states, n_actions)
    )
    state = np.arange(n) % n_states
    action = np.where(rng.random(n) < 0.5, state % n_actions, np.arange(n) % n_actions)
    return pd.DataFrame(
        {
            "state": states[state],
            "action": actions[action],
            "next_state": states[rng.integers(n_states, size=n)],
            "reward": (action == state % n_actions) + rng.normal(size=n),
            f"{LABELS[kind].format(0)} x": rng.integers(5, size=n),
            f"{LABELS[kind].format(0)} y": action,
        }
    )


class Answers:
    """A policy that answers by a whole number in the last column."""

    def __init__(self, actions):
        self.actions = np.asarray(actions)

    def predict(self, X):
        return self.actions[X.iloc[:, -1].to_numpy(dtype=int) % len(self.actions)]


def draw_each(log, policy):
    """Yield the name of every display, and a function that draws it on axes."""
    actions = log["action"].unique()
    for display in OF_POLICIES[:-1]:
        yield display.__name__, lambda ax, display=display: display.from_estimator(policy, ax=ax)
    numbers = log.iloc[:, -2:]
    answers = Answers(sorted(actions))
    names = list(numbers.columns)
    yield "map", lambda ax: PolicyMapDisplay.from_estimator(answers, numbers, names, ax=ax)
    yield "tree", lambda ax: PolicyTreeDisplay.from_estimator(policy, log[["state"]], ax=ax)
    solution = solve(policy.mdp_, 0.9)
    named = dict.fromkeys(actions[:12], solution)
    yield "convergence", lambda ax: ConvergenceDisplay.from_solutions(named, ax=ax)
    table = pd.DataFrame({"policy": actions, "method": "dm", "value": 1.0})
    table = table.assign(lower=0.0, upper=2.0)
    display = PolicyEvaluationDisplay(estimates=table, logged_value=1.0)
    yield "evaluation", lambda ax: display.plot(ax=ax)


def all_inside(figure):
    """Whether nothing that is drawn leaves the figure, in pixels."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    return all(
        box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2 for box in boxes
    )


def names_of(ax):
    """Return the names that a picture shows, list by list."""
    yield [text.get_text() for text in ax.get_yticklabels()]
    yield [text.get_text() for text in ax.get_xticklabels()]
    if ax.get_legend() is not None:
        yield [text.get_text() for text in ax.get_legend().get_texts()]


WITH_AXES = {
    "own": lambda: None,
    "given": lambda: plt.subplots()[1],
    "constrained": lambda: plt.subplots(1, 2, figsize=(10, 4), layout="constrained")[1][1],
}


@pytest.mark.parametrize(
    ("kind", "n", "where"),
    [
        *((kind, 2, "given") for kind in LABELS),
        ("alike at both ends", 2, "constrained"),
        ("mathematics", 12, "own"),
        ("alike at both ends", 60, "given"),
    ],
)
def test_no_label_leaves_the_figure_and_no_two_are_alike(kind, n, where):
    log = labelled(kind, n, n)
    policy = MarkovPolicyEstimator(gamma=0.9).fit(log)
    for name, draw in draw_each(log, policy):
        display = draw(WITH_AXES[where]())
        assert all_inside(display.figure_), name
        own = display.ax_.bbox
        assert own.width > 0.25 * 640 * (where == "given"), name
        for shown in names_of(display.ax_):
            told = [text for text in shown if text]
            assert len(set(told)) == len(told), name
        plt.close("all")


def grid(n_x, n_y, *, n_actions=4, n=4000, seed=0):
    """Return whole numbers of two columns, and actions, all of long names."""
    rng = np.random.default_rng(seed)
    names = ["a column of a long name no 1", "a column of a long name no 2"]
    X = pd.DataFrame(
        np.column_stack([rng.integers(n_x, size=n), rng.integers(n_y, size=n)]), columns=names
    )
    best = (X[names[0]] * 4 // n_x + X[names[1]] * 3 // n_y) % n_actions
    action = np.where(rng.random(n) < 0.7, best, rng.integers(n_actions, size=n))
    labels = np.array([f"treatment option number {i:02d}" for i in range(n_actions)])
    policy = MarkovPolicyEstimator().fit(X, labels[action], reward=(action == best).astype(float))
    return policy, X


@pytest.mark.parametrize("n_actions", [2, 4, 12])
@pytest.mark.parametrize("max_leaf_nodes", [2, 8, 16])
def test_long_names_in_a_tree_are_legible_and_no_boxes_overlap(n_actions, max_leaf_nodes):
    policy, X = grid(20, 12, n_actions=n_actions)
    display = drawn(PolicyTreeDisplay.from_estimator(policy, X, max_leaf_nodes=max_leaf_nodes))
    boxes = [text for text in display.ax_.texts if text.get_bbox_patch() is not None]
    boxes = [box for box in boxes if "%" in box.get_text()]
    assert len(boxes) == display.tree.tree_.node_count
    assert min(box.get_fontsize() for box in boxes) >= LEGIBLE_SIZE
    places = [box.get_bbox_patch().get_window_extent() for box in boxes]
    assert not any(one.overlaps(other) for one, other in combinations(places, 2))
    assert all("..." not in box.get_text() for box in boxes)


@pytest.mark.parametrize(("n_x", "n_y"), [(230, 2), (2, 230), (200, 180), (10, 10)])
def test_cells_of_a_map_are_wide_enough_to_be_seen_behind_their_dots(n_x, n_y):
    policy, X = grid(n_x, n_y)
    display = drawn(PolicyMapDisplay.from_estimator(policy, X, list(X)))
    width, height = display.ax_.bbox.width / n_x, display.ax_.bbox.height / n_y
    assert min(width, height) >= 3
    (dots,) = display.ax_.lines
    assert dots.get_markersize() / 2 * display.figure_.dpi / 72 < 0.5 * min(width, height)


def test_labels_are_kept_as_they_are_and_drawn_as_text():
    log = labelled("mathematics", 2, 2)
    display = PolicyDisplay.from_estimator(MarkovPolicyEstimator().fit(log))
    assert display.states == ["$\\frac{a_000$ _b^", "$\\frac{a_001$ _b^"]
    drawn_as = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert drawn_as == [name.replace("$", r"\$") for name in display.states]


def test_what_no_font_can_draw_is_told_with_a_remedy():
    table = pd.DataFrame({"policy": ["\U0001f600\ue123", "\U0001f600\ue124"], "method": "dm"})
    display = PolicyEvaluationDisplay(estimates=table.assign(value=1.0, lower=0.0, upper=2.0))
    with pytest.warns(UserWarning, match=r"cannot draw 2 char.*matplotlib.rcParams\['font.family"):
        drawn(display.plot())
    names = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert len(set(names)) == 2
    assert all("\N{WHITE SQUARE}" in name for name in names)


def test_actions_beyond_the_colours_share_one_and_are_counted():
    log = labelled("short", 30, 30)
    policy = MarkovPolicyEstimator().fit(log)
    display = drawn(TransitionGraphDisplay.from_estimator(policy))
    n = len(np.unique(display.advised))
    assert n > 20
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[-1] == f"{n - 19} others"
    nodes = display.ax_.collections[0].get_facecolors()
    own = {
        action: nodes[display.advised == i][0]
        for i, action in enumerate(display.actions)
        if action in texts
    }
    assert len(np.unique(list(own.values()), axis=0)) == len(texts) - 1 == 19


# -------------------------------------------------------------------------------- unseen cells


def whole_numbers(**options):
    """A policy of two whole numbers: all pairs of 0, 1, 2 and 0, 2 were seen but (1, 2)."""
    log = pd.DataFrame({"x": [0, 1, 2, 0, 2], "y": [0, 0, 0, 2, 2]})
    actions = ["up", "up", "down", "up", "down"]
    return log, MarkovPolicyEstimator(**options).fit(log, actions, reward=[1.0] * 5)


@pytest.mark.parametrize("handle_unknown", ["warn", "error", "most_frequent", "nearest"])
def test_cells_that_no_state_falls_into_are_told_apart(handle_unknown):
    log, policy = whole_numbers(handle_unknown=handle_unknown)
    display = drawn(PolicyMapDisplay.from_estimator(policy, log, ["x", "y"]))
    assert display.x.tolist() == [0, 1, 2]
    assert display.y.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(display.is_logged, [[1, 1, 1], [0, 0, 0], [1, 0, 1]])
    if handle_unknown == "nearest":
        assert (display.advised >= 0).all()
    else:
        np.testing.assert_array_equal(display.advised >= 0, display.is_logged)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["down", "up", "not in the log"]
    (hatched,) = [patch for patch in display.ax_.patches if patch.get_hatch()]
    assert len(hatched.get_path().vertices) == 5 * (~display.is_logged).sum()
    again = PolicyMapDisplay(
        x=display.x,
        y=display.y,
        advised=display.advised,
        actions=display.actions,
        names=display.names,
        is_logged=np.ones((3, 3), dtype=bool),
    ).plot()
    assert not again.ax_.patches


def test_states_that_were_only_reached_hold_no_decision():
    log = pd.DataFrame({"x": [0, 1], "y": [0, 1], "next_x": [1, 1], "next_y": [1, 0]})
    log = log.assign(action="go", reward=1.0)
    policy = MarkovPolicyEstimator(state=["x", "y"]).fit(log)
    display = PolicyMapDisplay.from_estimator(policy, log, ["x", "y"])
    np.testing.assert_array_equal(display.is_logged, [[True, False], [False, True]])


def test_cells_of_an_encoder_and_of_an_ensemble_are_those_of_their_states():
    log = measured().round({"age": 0})
    log = log[(log["age"] < 50) | (log["pressure"] < 100)]
    display = PolicyMapDisplay.from_estimator(piped().fit(log), log, ["age", "pressure"])
    assert (np.diff(display.x) == 1).all()
    assert not display.is_logged.all()
    np.testing.assert_array_equal(display.advised >= 0, display.is_logged)
    numbers, policy = whole_numbers(handle_unknown="most_frequent")
    table = numbers.assign(action=["up", "up", "down", "up", "down"], reward=1.0, episode=range(5))
    bag = PolicyBagging(policy.set_params(state=["x", "y"]), 1)
    bag.fit(table.assign(next_x=table["x"], next_y=table["y"]))
    found = PolicyMapDisplay.from_estimator(bag, numbers, ["x", "y"])
    np.testing.assert_array_equal(found.is_logged, [[1, 1, 1], [0, 0, 0], [1, 0, 1]])


def test_values_on_a_grid_are_asked_for_as_they_are():
    asked = []

    class Policy:
        def predict(self, X):
            asked.append(X)
            return np.full(len(X), "go")

    table = pd.DataFrame({"dose": [0.1, 0.3, 0.1 + 0.2, 0.5], "n": [7, 7, 7, 7]})
    PolicyMapDisplay.from_estimator(Policy(), table.iloc[[0, 1, 3]], ["dose", "n"])
    np.testing.assert_allclose(np.unique(asked[0]["dose"]), [0.1, 0.3, 0.5], rtol=1e-12)
    assert set(table["dose"].iloc[[0, 1, 3]]) <= set(asked[0]["dose"])
    assert asked[0]["n"].dtype == table["n"].dtype
    wide = pd.DataFrame({"a": [0, 10**6], "b": [0.0, 0.1]})
    display = drawn(PolicyMapDisplay.from_estimator(Policy(), wide, ["a", "b"]))
    assert (display.x == np.rint(display.x)).all()
    assert display.is_logged is None


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("display", OF_POLICIES)
def test_what_is_not_fitted_is_not_drawn(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(MarkovPolicyEstimator())


def test_an_ensemble_has_no_process_of_its_own():
    bag = PolicyBagging(MarkovPolicyEstimator(**ROLES), 2, bootstrap=True, random_state=0).fit(LOG)
    with pytest.raises(TypeError, match="got PolicyBagging"):
        TransitionGraphDisplay.from_estimator(bag)


@pytest.mark.parametrize("display", [PolicyDisplay, ValueDisplay, TransitionGraphDisplay])
def test_a_picture_has_a_state_at_least(display, policy):
    with pytest.raises(ValueError, match="max_states must be at least 1, got 0"):
        display.from_estimator(policy, max_states=0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["age", "weight"], "no column 'weight'; it has 'age', 'pressure', 'sex'"),
        (["age", "sex"], "Column 'sex' is not numeric, so it has no place on a map"),
        (["age", "age"], "two different names of columns"),
        (["age"], "two different names of columns"),
        ("ab", "two different names of columns"),
        (["age", "height"], "Column 'height' holds no number"),
    ],
)
def test_maps_that_cannot_be(columns, message):
    log = measured().assign(height=np.nan)
    with pytest.raises(ValueError, match=message):
        PolicyMapDisplay.from_estimator(piped().fit(measured()), log, columns)


def test_trees_that_cannot_be(policy):
    with pytest.raises(ValueError, match="no rows to grow a tree on"):
        PolicyTreeDisplay.from_estimator(policy, LOG[["condition"]][:0])
    with pytest.raises(ValueError, match="max_leaf_nodes must be at least 2, got 1"):
        PolicyTreeDisplay.from_estimator(policy, LOG[["condition"]], max_leaf_nodes=1)


def test_comparisons_that_cannot_be():
    with pytest.raises(ValueError, match="evaluations is empty"):
        PolicyEvaluationDisplay.from_evaluations({})
    for table in (
        None,
        pd.DataFrame({"policy": []}),
        pd.DataFrame(columns=["policy", "method", "value", "lower", "upper"]),
    ):
        with pytest.raises(
            ValueError, match=r"the table that skmdp.metrics.compare_policies returns"
        ):
            PolicyEvaluationDisplay.from_comparison(table)


def test_a_missing_library_is_named_with_the_extra(policy, monkeypatch):
    find = builtins.__import__

    def without_matplotlib(name, *others, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return find(name, *others, **options)

    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(
        ImportError, match=r"PolicyDisplay draws with matplotlib.*pip install 'skmdp\[plot\]'"
    ):
        PolicyDisplay.from_estimator(policy)

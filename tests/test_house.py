"""Laws of the layout: what may be imported, what is private, how large a room may become."""

import ast
import importlib
import io
import re
import tokenize
from pathlib import Path

import pytest

import skmdp

HOUSE = Path(skmdp.__file__).parent
ROOT = Path(__file__).parents[1]  # of the tests, wherever the package is
EXAMPLES = {path.name: path for path in (ROOT / "examples").glob("plot_*.py")}
SOURCES = {path.relative_to(HOUSE.parent).as_posix(): path for path in HOUSE.rglob("*.py")}


# ----------------------------------------------------------------------------------- import paths

# Names may be added; those that somebody imports stay where they are.
PUBLIC = {
    "skmdp": ["MarkovPolicyCV", "MarkovPolicyEstimator", "__version__"],
    "skmdp.datasets": [
        "LabelledMDP",
        "collect_transitions",
        "load_climb",
        "make_garnet",
        "make_maintenance_log",
        "make_search_log",
        "mdp_from_table",
        "run_search",
        "sample_transitions",
        "to_gymnasium",
        "transitions_from_arrays",
        "transitions_from_observations",
    ],
    "skmdp.ensemble": ["PolicyBagging"],
    "skmdp.export": ["PolicyCard", "from_json", "to_json", "to_rules", "to_sql"],
    "skmdp.inspection": [
        "Audit",
        "Explanation",
        "Finding",
        "action_table",
        "audit",
        "drift",
        "explain",
        "forbidden_cost",
        "lift",
        "markov_test",
        "optimal_actions",
        "policy_table",
        "q_intervals",
        "sensitivity",
        "supported",
    ],
    "skmdp.mdp": ["MDP"],
    "skmdp.metrics": [
        "PolicyEvaluation",
        "ValuePerTime",
        "compare_policies",
        "evaluate_policy",
        "judge_encodings",
        "policy_scorer",
    ],
    "skmdp.model_selection": [
        "EpisodeKFold",
        "EpisodeShuffleSplit",
        "most_trusted",
        "train_test_split_episodes",
    ],
    "skmdp.plotting": [
        "ConvergenceDisplay",
        "PolicyDisplay",
        "PolicyEvaluationDisplay",
        "PolicyMapDisplay",
        "PolicyTreeDisplay",
        "SupportDisplay",
        "TransitionGraphDisplay",
        "ValueDisplay",
    ],
    "skmdp.preprocessing": ["StateEncoder", "add_lags"],
    "skmdp.report": ["write_report"],
    "skmdp.solvers": [
        "AverageRewardSolution",
        "EndlessLoopError",
        "FiniteSolution",
        "ManySolutions",
        "PolicyValue",
        "Solution",
        "backward_induction",
        "evaluate_policy",
        "modified_policy_iteration",
        "policy_iteration",
        "relative_value_iteration",
        "solve",
        "solve_many",
        "value_iteration",
    ],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_stay_where_they_are(module):
    room = importlib.import_module(module)
    for name in PUBLIC[module]:
        assert hasattr(room, name)
        assert name in room.__all__


def test_every_public_module_is_listed():
    modules = {path.stem for path in HOUSE.glob("[!_]*.py")}
    folders = {path.parent.name for path in HOUSE.glob("[!_]*/__init__.py")}
    assert {f"skmdp.{name}" for name in modules | folders} | {"skmdp"} == set(PUBLIC)


def test_pickles_find_the_class():
    """A pickle names the module of a class, so the estimator's may not move."""
    assert skmdp.MarkovPolicyEstimator.__module__ == "skmdp._estimator"


# ---------------------------------------------------------------------------------- private names

# What scikit-learn's own template for estimators takes from it.
OF_SCIKIT_LEARN = {"_fit_context", "_param_validation"}
# Of itself, of its class, of what it inherits from.
OWN = {"self", "cls"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def defined_names(tree):
    """Names that a module gives to functions, classes, variables and attributes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def is_module(dotted):
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        return False
    return True


def foreign_private_names(source):
    """Private names that a module takes from another: by import, as attribute, by getattr."""
    tree = ast.parse(source)
    own = defined_names(tree) | OF_SCIKIT_LEARN
    taken = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if is_private(alias.name) and alias.name not in OF_SCIKIT_LEARN:
                    taken += [] if is_module(f"{node.module}.{alias.name}") else [alias.name]
        elif isinstance(node, ast.Attribute):
            of_itself = isinstance(node.value, ast.Name) and node.value.id in OWN
            if is_private(node.attr) and not of_itself and node.attr not in own:
                taken.append(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id not in ("getattr", "hasattr", "setattr") or len(node.args) < 2:
                continue
            thing, name = node.args[:2]
            of_itself = isinstance(thing, ast.Name) and thing.id in OWN
            if isinstance(name, ast.Constant) and is_private(str(name.value)) and not of_itself:
                taken.append(name.value)
    return taken


def test_the_walk_sees_what_is_taken():
    source = (
        "from skmdp._log.frames import _spread\n"
        "from skmdp import _policy\n"
        "from sklearn.base import _fit_context\n"
        "def advice(self, policy):\n"
        "    self._own = policy.__dict__\n"
        "    return policy._codes, policy._own, self._codes, getattr(policy, '_evidence')\n"
    )
    assert foreign_private_names(source) == ["_spread", "_codes", "_evidence"]


@pytest.mark.parametrize("module", SOURCES)
def test_no_module_takes_a_private_name_of_another(module):
    """What another module needs has a public name; only modules may be private and shared."""
    assert foreign_private_names(SOURCES[module].read_text()) == []


# ------------------------------------------------------------------------------------------- sizes

MOST_LINES = 300
MOST_BRANCHES = 12
MOST_LINES_OF_AN_EXAMPLE = 80
FORKS = (ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.Assert, ast.match_case)


def code_lines(source):
    """Number of lines that hold code: neither blank, nor comment, nor docstring."""
    beside = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in beside:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def complexity(function):
    """Cyclomatic complexity: one, and one more for each way that a function may branch."""
    ways = 1
    for node in ast.walk(function):
        if isinstance(node, FORKS):
            ways += 1
        elif isinstance(node, ast.comprehension):
            ways += 1 + len(node.ifs)
        elif isinstance(node, ast.BoolOp):
            ways += len(node.values) - 1
    return ways


def test_lines_and_branches_are_counted():
    source = '''
"""Said of the module."""

# Why.
def f(x, y):
    """Said of the function."""
    text = """not
    a docstring"""
    if x and y or not x:
        return [a if a else text for a in x if a > 1]
'''
    assert code_lines(source) == 5
    # One, if, and, or, comprehension, its if, the expression's if.
    assert complexity(ast.parse(source).body[1]) == 7


@pytest.mark.parametrize("module", SOURCES)
def test_modules_and_functions_stay_small(module):
    source = SOURCES[module].read_text()
    assert code_lines(source) <= MOST_LINES
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    assert {f.name: complexity(f) for f in functions if complexity(f) > MOST_BRANCHES} == {}


@pytest.mark.parametrize("script", EXAMPLES)
def test_an_example_asks_one_question_in_few_lines(script):
    source = EXAMPLES[script].read_text()
    assert code_lines(source) < MOST_LINES_OF_AN_EXAMPLE
    assert "?" in ast.get_docstring(ast.parse(source))


# ---------------------------------------------------------------------------------------- version


def test_the_pages_beside_the_package_say_its_version():
    version = re.escape(skmdp.__version__)
    citation, changes = (
        (ROOT / ".github" / name).read_text() for name in ("CITATION.cff", "CHANGELOG.md")
    )
    assert re.search(f"^version: {version}$", citation, re.M)
    assert re.search(f"^## {version}\\b", changes, re.M)

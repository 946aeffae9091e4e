"""A convention that no test holds drifts: what is documented is what is there."""

import ast
import importlib
import inspect
import re

import pytest
from numpydoc.validate import validate

import skmdp

MODULES = [
    "skmdp",
    "skmdp.datasets",
    "skmdp.ensemble",
    "skmdp.export",
    "skmdp.inspection",
    "skmdp.metrics",
    "skmdp.mdp",
    "skmdp.model_selection",
    "skmdp.preprocessing",
    "skmdp.solvers",
]


def public_callables():
    for name in MODULES:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", None) or vars(module):
            thing = getattr(module, public)
            if public.startswith("_") or not callable(thing):
                continue
            if not getattr(thing, "__module__", "").startswith("skmdp"):
                continue
            yield f"{name}.{public}", thing
            if inspect.isclass(thing):
                for method, function in inspect.getmembers(thing, inspect.isfunction):
                    if not method.startswith("_") and function.__module__.startswith("skmdp"):
                        yield f"{name}.{public}.{method}", function


THINGS = dict(public_callables())


def documented_defaults(thing):
    """{parameter: default} as its docstring tells."""
    pattern = re.compile(r"^\s*([\w, ]+) : .*\bdefault=(.+)$", re.MULTILINE)
    return {
        name.strip(): ast.literal_eval(value)
        for names, value in pattern.findall(inspect.getdoc(thing) or "")
        for name in names.split(",")
    }


@pytest.mark.parametrize("name", THINGS)
def test_documented_defaults_are_the_real_ones(name):
    thing = THINGS[name]
    real = {
        parameter.name: parameter.default
        for parameter in inspect.signature(thing).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    assert documented_defaults(thing) == real


def test_the_check_sees_defaults():
    assert documented_defaults(THINGS["skmdp.MarkovPolicyEstimator"])["gamma"] == 0.9
    assert len(THINGS) > 20


# The numpydoc rules that the docstrings do not follow, on purpose.
OTHER_STYLE = {
    "GL01",  # a summary starts on the first line
    "ES01",  # a summary may say it all
    "SA01",  # not everything has something to see also
    "SA04",
    "RT02",  # what is returned has a name
}


@pytest.mark.parametrize("name", THINGS)
def test_docstrings_are_complete(name):
    """Every public name has its parameters, what it returns, and an example (which runs)."""
    errors = [error for error in validate(name)["errors"] if error[0] not in OTHER_STYLE]
    assert errors == []


def test_help_leads_a_newcomer():
    text = inspect.getdoc(skmdp)
    for step in ("audit", "fit", "score", "evaluate_policy", "plotting", "export", "GridSearchCV"):
        assert step in text
    for name in re.findall(r"``(skmdp\.[\w.]+)``", text):
        module, _, member = name.rpartition(".")
        assert hasattr(importlib.import_module(module), member) or importlib.import_module(name)

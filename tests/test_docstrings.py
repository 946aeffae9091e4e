"""A convention that no test holds drifts: what is documented is what is there."""

import ast
import importlib
import inspect
import re

import pytest

MODULES = [
    "skmdp",
    "skmdp.datasets",
    "skmdp.inspection",
    "skmdp.mdp",
    "skmdp.model_selection",
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
                for method, function in vars(thing).items():
                    if not method.startswith("_") and inspect.isfunction(function):
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


@pytest.mark.parametrize("name", THINGS)
def test_every_public_name_is_documented(name):
    assert inspect.getdoc(THINGS[name])

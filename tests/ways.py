"""Ways to solve a process, one at a time: by those that its size would not suggest, too."""

import math
from dataclasses import replace

import numpy as np

from skmdp.solvers._sweeps import AS_GIVEN, until_slow

WAYS = ["full", "sweeps", "band", "dense", "krylov"]


def leave_small(patch):
    """Keep small processes out of the loop that is made for them."""
    patch.setattr("skmdp.solvers._small.MOST_STATES", 0)


def follow_only(patch, way):
    """Let policies be followed in one way only, as whole arrays."""
    patch.setattr("skmdp.solvers._compiled.load", lambda: None)
    leave_small(patch)
    patch.setattr("skmdp.solvers._search.TINY_STATES", 10**9 if way == "full" else 0)
    patch.setattr("skmdp.solvers._search.TINY_ENTRIES", 10**9)
    many = math.inf if way == "sweeps" else 0
    still = AS_GIVEN.still if way == "sweeps" else 1.0
    pace = replace(AS_GIVEN, many_sweeps=many, very_many_sweeps=0, still=still)
    patch.setattr("skmdp.solvers._sweeps.Evaluator.as_given", pace)
    if way == "sweeps":
        return
    patch.setattr("skmdp.solvers._sweeps.MOST_REFUSALS", 10**9 if way == "band" else 0)
    patch.setattr("skmdp.solvers._equations.CHEAP_BAND", np.inf)
    patch.setattr("skmdp.solvers._equations.MOST_PER_ROW", np.inf)
    patch.setattr("skmdp.solvers._sweeps.FEW_STATES", 10**9 if way == "dense" else 0)


def compile_all(patch, *, at_once=False):
    """Let the compiled loops be used for everything; ``at_once``: in place from the first sweep."""
    leave_small(patch)
    patch.setattr("skmdp.solvers._compiled.ENOUGH_TO_LOAD", 0)
    patch.setattr("skmdp.solvers._compiled.ENOUGH_TO_USE", 0)
    patch.setattr("skmdp.solvers._search.TINY_STATES", 0)
    if at_once:
        pace = replace(until_slow(1), most_sweeps=1, most_still=1)
        patch.setattr("skmdp.solvers._search.until_slow", lambda _: pace)

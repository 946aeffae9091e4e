"""Logs to learn from: with known truth, from environments, from arrays."""

from skmdp.datasets._environments import collect_transitions, transitions_from_arrays
from skmdp.datasets._simulation import make_garnet, sample_transitions
from skmdp.datasets._talk import (
    load_climb,
    make_search_log,
    run_search,
    transitions_from_observations,
)

__all__ = [
    "collect_transitions",
    "load_climb",
    "make_garnet",
    "make_search_log",
    "run_search",
    "sample_transitions",
    "transitions_from_arrays",
    "transitions_from_observations",
]

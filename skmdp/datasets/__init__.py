"""Logs to learn from, and processes: with known truth, from tables, environments, arrays."""

from skmdp.datasets._environments import collect_transitions, transitions_from_arrays
from skmdp.datasets._gymnasium import to_gymnasium
from skmdp.datasets._maintenance import make_maintenance_log
from skmdp.datasets._model_tables import LabelledMDP, mdp_from_table
from skmdp.datasets._simulation import make_garnet, sample_transitions
from skmdp.datasets._talk import (
    load_climb,
    make_search_log,
    run_search,
    transitions_from_observations,
)

__all__ = [
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
]

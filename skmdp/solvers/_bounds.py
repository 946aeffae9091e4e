"""What one application of the Bellman operator proves about the optimal values."""

from __future__ import annotations

import numpy as np

from skmdp._typing import Floats
from skmdp.mdp import MDP


def center_residual(d: Floats, is_closed: bool) -> tuple[float, float]:
    """Return the level of T V - V that is no error, and how far it is from that level."""
    lo, hi = float(d.min()), float(d.max())
    return ((lo + hi) / 2, (hi - lo) / 2) if is_closed else (0.0, max(-lo, hi))


def rounding_error(mdp: MDP) -> float:
    """Return the relative rounding error of one application of T: k terms, k + 3 roundings."""
    terms = int(np.diff(mdp.transitions.indptr).max(initial=0)) + 3
    if mdp.uniform_mass is not None:
        terms += mdp.n_states
    if mdp.shared_mass is not None:
        terms += int(np.diff(mdp.shared_transitions.indptr).max()) + 3
    if mdp.penalty is not None:  # a root of squares is off by no more than what it squares
        terms += 2 * int(np.diff(mdp.penalty.outcomes.indptr).max()) + 12
    return terms * float(np.finfo(np.float64).eps)

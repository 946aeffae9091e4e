"""What users hand in besides the process: values of states."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skmdp._messages import shown
from skmdp._typing import Floats
from skmdp.mdp import MDP


def read_state_values(mdp: MDP, name: str, values: npt.ArrayLike) -> Floats:
    """Return one finite number for each state, (n_states,), or refuse them by their name."""
    read = np.asarray(values, dtype=np.float64)
    if read.shape != (mdp.n_states,):
        raise ValueError(
            f"{name} has shape {read.shape}, expected ({mdp.n_states},): one value per state."
        )
    wrong = np.flatnonzero(~np.isfinite(read))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite, got {shown(read[wrong[0]])} for state {wrong[0]}."
        )
    return read

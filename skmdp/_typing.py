"""Types of arrays, named once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]
# Numbers of labels; -1 is a missing or an unknown one.
Codes = npt.NDArray[np.int32]
# Names of columns: tables name them, and pandas may number them.
Name = str | int
Names = tuple[Name, ...]

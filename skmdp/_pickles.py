"""Pickles of estimators: they tell the version, and keep the labels of a policy once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from skmdp._version import __version__

# Fitted attributes that ``_policy`` holds in a form that every store can keep.
OF_POLICY = ("states_", "actions_", "default_action_", "policy_")


def state_to_store(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator as they are stored."""
    left_out = OF_POLICY if "_policy" in state else ()
    kept = {name: value for name, value in state.items() if name not in left_out}
    return {**kept, "_skmdp_version": __version__}


def stored_state(estimator_class: type, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as they were stored, with a warning if another version stored them.

    Parameters that the other version did not have keep their defaults.
    """
    found = {**estimator_class().get_params(deep=False), **state}
    stored_by = found.pop("_skmdp_version", "an unknown version")
    if stored_by != __version__:
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name=estimator_class.__name__,
                current_sklearn_version=f"{__version__} of skmdp",
                original_sklearn_version=f"{stored_by} of skmdp",
            ),
            stacklevel=3,
        )
    return found

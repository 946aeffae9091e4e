"""Which columns of a log a policy of any kind reads, where it says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from skmdp._pipelines import unwrap
from skmdp._policy import fitted_policy, has_policy, names_columns, roles_of
from skmdp._typing import Name


def columns_read(policy: Any) -> dict[Name, Name | None]:
    """Return the columns that a policy reads of a state, and what it calls the next ones.

    None stands for the usual name.
    """
    transformers, last = unwrap(policy)
    found: dict[Name, Name | None] = {}
    for step in (*transformers, last):
        if hasattr(type(step), "__skmdp_measured__"):
            found |= step.__skmdp_measured__()
    if names_columns(last):
        roles = roles_of(last)
        nexts = roles.next_state or (None,) * len(roles.state)
        found = {**dict(zip(roles.state, nexts, strict=True)), **found}
    return found


def columns_seen(policy: Any) -> list[Name]:
    """Return the columns that a policy of any other kind was fitted on, used or not."""
    transformers, last = unwrap(policy)
    first = transformers[0] if transformers else last
    return [_plain(name) for name in getattr(first, "feature_names_in_", ())]


def _plain(name: Any) -> Any:
    return str(name) if isinstance(name, str) else name


def is_behind_transformers(policy: Any) -> bool:
    """Whether a policy, or the members of an ensemble, act on what transformers make of a log."""
    transformers, last = unwrap(policy)
    members = getattr(last, "estimators_", None) if names_columns(last) else None
    return bool(transformers) or (members is not None and bool(unwrap(members[0])[0]))


def has_own_states(policy: Any) -> bool:
    """Whether a policy acts on states that it makes of a table, the same for all of its members."""
    transformers, last = unwrap(policy)
    if not names_columns(last):
        return False
    if transformers:
        return not was_fitted_on_features(last)
    return not is_behind_transformers(last)


def was_fitted_on_features(policy: Any) -> bool:
    """Whether what a policy knows came as features and actions, not as a table of transitions."""
    _, last = unwrap(policy)
    members = getattr(last, "estimators_", None)
    if members is not None and names_columns(last):
        return was_fitted_on_features(members[0])
    return has_policy(last) and not fitted_policy(last).is_table_form


def acts_on_labels(policy: Any) -> bool:
    """Whether a policy names the states that it acts in, or was fitted on states as they are."""
    is_written = isinstance(policy, Mapping | pd.Series | pd.DataFrame)
    return is_written or (has_own_states(policy) and not is_behind_transformers(policy))

"""Which columns of one log several policies read, and by which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from skmdp._log.frames import column_names
from skmdp._log.raw import measured_names
from skmdp._log.roles import ROLES, Roles
from skmdp._messages import shortened
from skmdp._pipelines import unwrap
from skmdp._policy import names_columns, roles_of
from skmdp._policy_columns import columns_read, columns_seen
from skmdp._typing import Name


class ColumnsRead:
    """The columns of a log: as ``named`` beside the policies, else as these call them."""

    def __init__(self, X: Any, policies: Sequence[Any], named: Mapping[str, Any]) -> None:
        self._X, self._policies, self._named = X, policies, named
        self.common = self._common_roles()
        self.name_states = "state" in named

    @cached_property
    def _there(self) -> list[Any]:
        return column_names(self._X)

    def _common_roles(self) -> Roles:
        """Return which columns are read where a policy names none.

        Those that ``columns`` names, else those of the policies, else the standard ones.
        """
        naming = [policy for policy in self._policies if _names_columns(policy)]
        named = [self.roles_of(policy) for policy in naming]
        # Each policy may have states of its own, but all are asked about the same rows.
        beside = {replace(roles, state=named[0].state, next_state=None) for roles in named}
        if len(beside) > 1:
            raise ValueError(
                "The policies name the columns of X differently: "
                f"{shortened(sorted(map(str, beside)))}. Say what they are called in X with "
                "columns={...}, such as columns={'reward': 'benefit'}."
            )
        # States behind transformers are no columns of X, so those of other policies come first.
        naming.sort(key=lambda policy: len(unwrap(policy)[0]) > 0)
        return Roles.of(self._named, roles_of(unwrap(naming[0])[1]) if naming else None)

    def roles_of(self, policy: Any) -> Roles:
        """Return which columns are read for a policy: as ``columns`` says, else as it says.

        Behind transformers the states are what these make of X.
        """
        transformers, last = unwrap(policy)
        if not _names_columns(policy):
            return self._roles_of_any
        columns = dict(self._named)
        if transformers:
            columns.pop("state", None)
            columns.pop("next_state", None)
        own = roles_of(last)
        roles = Roles.of(columns, own)
        return _in_order_of(own, roles) if set(roles.state) == set(own.state) else roles

    @cached_property
    def _roles_of_any(self) -> Roles:
        """Return which columns are read for a policy that names none.

        If no column has the name of the state, the state is what was measured.
        """
        measured = self.measured()
        if set(self.common.state) <= set(self._there) or not measured:
            return self.common
        return replace(self.common, state=tuple(measured), next_state=None)

    def measured(self) -> dict[Name, Name | None]:
        """Return the columns of X that are measured, and what the next ones are called.

        Those that ``columns`` names and those that policies read; if none are named, those as well
        that have a column of next states beside them. In an order that is the same for all.
        """
        wanted = self._wanted() or dict.fromkeys(self.common.state)
        taken = {name for role in ROLES for name in self.common.names(role)}
        taken -= set(self.common.state)
        taken |= {after or f"next_{name}" for name, after in wanted.items()}
        return {
            name: after
            for name, after in sorted(wanted.items(), key=self._place)
            if name in self._there and name not in taken
        }

    def _place(self, item: tuple[Name, Any]) -> tuple[int, str]:
        """Return what columns are sorted by: their place among those named, then their name."""
        name, named = item[0], self.common.state if self.name_states else ()
        return (named.index(name) if name in named else len(named)), str(name)

    def _wanted(self) -> dict[Name, Name | None]:
        """Return the columns of states, wherever they are, with their next ones."""
        measured = measured_names(self._there, self.common)
        wanted: dict[Name, Name | None] = dict.fromkeys(measured)
        if self.name_states:
            nexts = self.common.next_state or (None,) * len(self.common.state)
            wanted = dict(zip(self.common.state, nexts, strict=True))
        for policy in self._policies:
            read = columns_read(policy)
            # What a policy was learned from may have another name in X.
            if not self.name_states or set(read) <= set(self._there):
                wanted |= read
            if not (read or measured or self.name_states):
                wanted |= dict.fromkeys(columns_seen(policy))
        return wanted


def _names_columns(policy: Any) -> bool:
    """Whether a policy says which columns of a log it reads."""
    return names_columns(unwrap(policy)[1])


def _in_order_of(own: Roles, roles: Roles) -> Roles:
    """Return roles whose state columns, named in another order, lie as those of a policy."""
    nexts = roles.next_state
    if nexts is not None and nexts != own.next_state and len(nexts) == len(roles.state):
        following = dict(zip(roles.state, nexts, strict=True))
        nexts = tuple(following[name] for name in own.state)
    return replace(roles, state=own.state, next_state=nexts)

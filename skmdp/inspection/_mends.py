"""Lines of code that mend a log: what a finding shows, and what an audit runs to see further.

Each line works on ``table``, a pandas table, and on ``columns``, which names its columns by role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.refusals import Subject
from skmdp._log.roles import ROLES, Roles, default_next_names
from skmdp._typing import Name, Names

# Words that say yes or no, folded.
YES = ["1", "t", "true", "y", "yes"]
NO = ["0", "f", "false", "n", "no", "none", "nan", "<na>", ""]
# Ranges that fractions are cut into.
SHARES = [0.2, 0.4, 0.6, 0.8]
# Columns that the log can be read without.
DISPENSABLE = ("reward", "step", "terminated", "truncated", "duration")
# If steps count up by one less often than this where they rise, they are times.
SHARE_OF_COUNTS = 0.5


class Parts:
    """Which columns of a pandas table play which part, by the names that they have there."""

    def __init__(self, table: pd.DataFrame, columns: Mapping[str, Any]) -> None:
        self.table = table
        self.roles = Roles.of(columns)
        nexts = self.roles.next_state or default_next_names(self.roles.state)
        self.nexts = nexts if set(nexts) <= set(table.columns) else ()
        self.state, self.action = self.roles.state, self.roles.action

    def names(self, role: str) -> Names:
        """Return the columns of a role that the table has."""
        names = self.nexts if role == "next_state" else self.roles.names(role)
        return tuple(name for name in names if name in self.table.columns)

    def role_of(self, name: Name) -> str:
        """Return the role that a column plays, nothing if it plays none."""
        return next((role for role in ROLES if name in self.names(role)), "")

    @property
    def by_episode(self) -> str:
        """Code that groups the rows by episode."""
        return f"table.groupby({list(self.names('episode'))}, observed=True)"

    @property
    def ordered(self) -> str:
        """Code that brings rows into the order of their steps, nothing where there are none."""
        if not (self.names("step") and self.names("episode")):
            return ""
        by = list(self.names("episode") + self.names("step"))
        return f"table = table.sort_values({by}, kind='stable'); "

    def without(self, role: str) -> str:
        """Return code that says that no column plays a part."""
        return f"columns = {{**columns, {_code(role)}: None}}"

    def named(self, role: str, names: Any) -> str:
        """Return code that names the columns of a role."""
        return f"columns = {{**columns, {_code(role)}: {_code(names)}}}"

    def split(self, is_first: str) -> str:
        """Return code that gives rows an episode of their own from each on that is marked."""
        name = column(self.names("episode")[0])
        keys = [column(key) for key in self.names("episode")]
        number = f"({is_first}).fillna(False).astype(int).groupby([{', '.join(keys)}]).cumsum()"
        return f"{name} = {name}.astype(str) + '/' + {number}.astype(str)"


def _code(value: Any) -> str:
    """Return a name, or a list of them, as Python writes it."""
    return repr(value)


def column(name: Name) -> str:
    """Return code for one column of the table."""
    return f"table[{_code(name)}]"


def run(
    line: str, table: pd.DataFrame, columns: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the table and the names of its columns once a line has mended them."""
    scope: dict[str, Any] = {"table": table, "columns": dict(columns), "np": np, "pd": pd}
    # The very line that is shown is run, so that nobody is told one that was never tried.
    exec(line, scope)
    return scope["table"], scope["columns"]


def own_label(parts: Parts, name: Name, word: str, rows: str | None = None) -> str:
    """Return code that gives the missing labels of a column a label of their own."""
    series, code = parts.table[name], column(name)
    kind = pd.api.types.infer_dtype(series, skipna=True)
    is_known = rows or f"{code}.notna()"
    if kind in ("integer", "floating", "mixed-integer-float") and series.notna().any():
        return f"{code} = {code}.where({is_known}, {code}.min() - 1)"
    if kind in ("string", "empty"):
        return f"{code} = {code}.astype(object).where({is_known}, {_code(word)})"
    texts = [f"{code} = {code}.astype('string').astype(object).where({is_known}, {_code(word)})"]
    if name in parts.state and parts.nexts:
        after = column(parts.nexts[parts.state.index(name)])
        texts.append(f"{after} = {after}.astype('string').astype(object)")
    return "; ".join(texts)


@dataclass(frozen=True)
class Mend:
    """The line that mends what fit refuses: a method for each kind of it that can be mended."""

    subject: Subject
    parts: Parts

    def line(self) -> str:
        """Return the line, empty where only the owner of the log knows."""
        make = getattr(self, f"_{self.subject.kind}", None)
        return "" if make is None else str(make())

    @property
    def name(self) -> Name:
        """The column that it is about."""
        return self.subject.columns[0]

    @property
    def code(self) -> str:
        """The same as code."""
        return column(self.name)

    def _missing(self) -> str:
        name, code, parts = self.name, self.code, self.parts
        role = parts.role_of(name)
        if role == "state":
            return own_label(self.parts, name, "missing")
        if role == "action":
            return self._missing_action(name)
        if role == "reward":
            numbers = f"{code}.astype(float).replace([np.inf, -np.inf], np.nan)"
            return f"{code} = {numbers}.fillna(0.0)"
        if role == "episode":
            alone = "np.array([f'alone {i}' for i in range(len(table))], dtype=object)"
            return f"{code} = {code}.astype('string').astype(object).where({code}.notna(), {alone})"
        if role in ("terminated", "truncated"):
            return f"{code} = {code}.astype('boolean').fillna(False).astype(bool)"
        return self.parts.without(role) if role in DISPENSABLE else ""

    def _missing_action(self, name: Name) -> str:
        """Fill in actions, but not where the last row of an episode holds the last observation."""
        known = f"{column(name)}.notna()"
        if self.parts.names("episode"):
            last = f"~table.duplicated({_code(list(self.parts.names('episode')))}, keep='last')"
            if self.parts.nexts:
                last = f"({last} & {column(self.parts.nexts[0])}.isna())"
            known = f"{known} | {last}"
        return self.parts.ordered + own_label(self.parts, name, "none", known)

    def _unhashable(self) -> str:
        code = self.code
        return f"{code} = {code}.map(str, na_action='ignore')"

    def _label(self) -> str:
        name = self.name
        if pd.api.types.infer_dtype(self.parts.table[name], skipna=True) != "string":
            return self._unhashable()
        code = column(name)
        return f"{code} = {code}.str.encode('utf-8', 'backslashreplace').str.decode('utf-8')"

    def _mixed(self) -> str:
        code = self.code
        return f"{code} = {code}.astype('string').astype(object)"

    def _infinity(self) -> str:
        code = self.code
        return f"{code} = {code}.replace([np.inf, -np.inf], [1e300, -1e300])"

    def _kinds(self) -> str:
        after = self.name
        names = (self.parts.state[self.parts.nexts.index(after)], after)
        return "; ".join(
            f"{column(name)} = {column(name)}.map(str, na_action='ignore')" for name in names
        )

    def _fraction(self) -> str:
        after = self.name
        before = column(self.parts.state[self.parts.nexts.index(after)])
        return f"{before} = {before}.astype(float)"

    def _flags(self) -> str:
        name = self.name
        said = set(self.parts.table[name].dropna().astype(str).str.strip().str.casefold())
        if not said <= {*YES, *NO}:
            return self.parts.without(self.parts.role_of(name))
        code = column(name)
        return (
            f"{code} = {code}.astype('string').str.strip().str.casefold().isin({YES}).astype(bool)"
        )

    def _not_numbers(self) -> str:
        code = self.code
        return f"{code} = pd.to_numeric({code}, errors='coerce')"

    def _no_order(self) -> str:
        name = self.name
        code, series = column(name), self.parts.table[name]
        if pd.to_numeric(series, errors="coerce").notna().all():
            return f"{code} = pd.to_numeric({code})"
        if pd.to_datetime(series, format="ISO8601", errors="coerce").notna().all():
            return f"{code} = pd.to_datetime({code}, format='ISO8601')"
        return self.parts.without("step")

    def _step_twice(self) -> str:
        keys = [*self.parts.names("episode"), *self.parts.names("step")]
        table = self.parts.table
        if not table.drop_duplicates().duplicated(keys).any():
            return "table = table.drop_duplicates().copy()"
        return self.parts.ordered + self.parts.without("step")

    def _step_gap(self) -> str:
        name = self.name
        code, keys = column(name), list(self.parts.names("episode"))
        gaps = self.parts.table.sort_values([*keys, name]).groupby(keys, observed=True)[name].diff()
        if (gaps == 1).sum() < SHARE_OF_COUNTS * gaps.notna().sum():
            return f"{code} = pd.to_datetime({code}, unit='s')"
        is_gap = f"({self.parts.by_episode}[{_code(name)}].diff() > 1).fillna(False)"
        marked, flag = "is_gap.shift(-1, fill_value=False)", "truncated"
        if self.parts.names("truncated"):
            flag = str(self.parts.names("truncated")[0])
            marked = f"({column(flag)} == 1) | {marked}"
        lines = [f"{self.parts.ordered}is_gap = {is_gap}", f"{column(flag)} = {marked}"]
        if self.parts.roles.truncated is None:
            lines.append(self.parts.named("truncated", flag))
        return "; ".join([*lines, self.parts.split("is_gap")])

    def _goes_on(self) -> str:
        name = self.name
        after = f"{self.parts.by_episode}[{_code(name)}].shift() == 1"
        return self.parts.ordered + self.parts.split(after)

    def _partly_missing(self) -> str:
        names = list(self.parts.nexts)
        return f"table = table[table[{names}].isna().sum(axis=1).isin([0, {len(names)}])].copy()"

    def _no_episodes(self) -> str:
        near = self.subject.remedy.get("episode")
        if near is not None:
            return self.parts.named("episode", near)
        names = self.parts.roles.names("episode") or ("episode",)
        line = "; ".join(f"{column(name)} = {self._start_anew()}" for name in names)
        return (
            line
            if self.parts.roles.episode
            else f"{line}; {self.parts.named('episode', 'episode')}"
        )

    def _start_anew(self) -> str:
        """Return code that numbers episodes where steps start anew, or after ends."""
        for name in self.parts.names("step"):
            if pd.api.types.is_numeric_dtype(self.parts.table[name].dtype):
                return f"({column(name)}.diff() <= 0).cumsum()"
        for name in self.parts.names("terminated"):
            return f"({column(name)}.shift() == 1).cumsum()"
        return "0"

    def _paid_at_last(self) -> str:
        lacks_action = self.parts.table[self.parts.action].isna()
        if 2 * (self.subject.n_rows or 0) <= lacks_action.sum():
            known = f"{column(self.parts.action)}.notna() | ({self.code} == 0)"
            return own_label(self.parts, self.parts.action, "none", known)
        moved = f"{self.parts.by_episode}[{[self.name]}].shift(-1, fill_value=0)"
        return f"{self.parts.ordered}table[{[self.name]}] = {moved}"

    def _absent(self) -> str:
        meant = {role: name for role, name in self.subject.remedy.items() if name is not None}
        return "; ".join(self.parts.named(role, name) for role, name in meant.items())

    def _huge_rewards(self) -> str:
        code = column(self.parts.names("reward")[0])
        return f"{code} = {code} * 1e-12"

    def _duration(self) -> str:
        return self.parts.without("duration")

    # ------------------------------------------------------------- what reading only warns of

    def _near_name(self) -> str:
        meant = self.subject.remedy.items()
        lines = [self.parts.named(role, name) for role, name in meant if name is not None]
        is_in_index = len(lines) < len(meant)
        return "; ".join([*lines, *["table = table.reset_index()"] * is_in_index])

    def _near_next(self) -> str:
        return self.parts.named("next_state", list(self.subject.columns))

    def _doubled(self) -> str:
        by = self.parts.by_episode
        if self.subject.remedy["copies"] == "row":
            return f"table = table[{by}.cumcount() % 2 == 0].copy()"
        size = f"{by}[{_code(self.parts.action)}].transform('size')"
        return f"table = table[{by}.cumcount() < ({size} + 1) // 2].copy()"

    def _break_off(self) -> str:
        return "table['terminated'] = False"

    def _astray(self) -> str:
        nexts = list(self.parts.nexts)
        return f"table = table.drop(columns={nexts}); {self.parts.without('next_state')}"

    def _repeated(self) -> str:
        """Keep one of two episodes that are alike, say: of the others each is a copy of one."""
        parts, k = self.parts, self.subject.remedy["copies"]
        keys = list(parts.names("episode"))
        told = [*parts.state, parts.action, *parts.nexts, *parts.names("reward")]
        told += [*parts.names("step"), *parts.names("duration")]
        content = f"pd.util.hash_pandas_object(table[{told}], index=False)"
        place = f"({parts.by_episode}.cumcount() * 2 + 1).astype('uint64')"
        episodes = f"pd.Index({column(keys[0])})"
        if len(keys) > 1:
            episodes = f"pd.MultiIndex.from_frame(table[{keys}])"
        return (
            f"{parts.ordered}content = pd.Series(({content} * {place}).to_numpy()); "
            f"content = content.groupby([table[key].to_numpy() for key in {keys}]).sum(); "
            "alike = content.groupby(content); "
            f"is_copy = alike.cumcount() >= (alike.transform('size') + {k - 1}) // {k}; "
            f"table = table[~is_copy.reindex({episodes}).to_numpy()].copy()"
        )

    def _swapped(self) -> str:
        state, action = self.subject.columns
        named = {"state": action, "action": state, "next_state": self.parts.nexts[0]}
        return f"columns = {{**columns, **{_code(named)}}}"

    def _too_fine(self) -> str:
        name, code, lines = self.name, self.code, []
        cut = f"np.searchsorted({code}.quantile({SHARES}), {{}}, side='right')"
        if self.parts.nexts:
            after = column(self.parts.nexts[self.parts.state.index(name)])
            ranges = f"pd.Series({cut.format(after)}, table.index)"
            lines.append(f"{after} = {ranges}.where({after}.notna())")
        return "; ".join([*lines, f"{code} = {cut.format(code)}"])

    def _rounding(self) -> str:
        lines = []
        for name, decimals in self.subject.remedy.items():
            both = [name, *self.parts.nexts[self.parts.state.index(name) :][:1]]
            lines += [f"{column(one)} = {column(one)}.round({decimals})" for one in both]
        return "; ".join(lines)

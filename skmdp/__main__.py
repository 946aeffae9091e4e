"""The command line: from a table of decisions to a policy and a report on it.

``python -m skmdp log.csv --state condition --reward profit --episode machine --report out.html``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skmdp._estimator_cv import MarkovPolicyCV
from skmdp._log.durations import UNITS
from skmdp._log.roles import FROM_STEPS
from skmdp._messages import quoted, shortened, shown
from skmdp._version import __version__
from skmdp.export import to_json
from skmdp.inspection import Audit, audit, policy_table
from skmdp.report import write_report

# Exit codes beside 0 and argparse's own 2 for what was asked wrongly.
REFUSED = 1
REQUIRED = ("state", "action", "reward", "episode")
ROLES = ("action", "reward", "episode", "step", "terminated", "truncated", "duration")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code.

    0: a policy was learned. 1: the table cannot be learned from, and the audit says why. 2: the
    command itself is wrong, such as a file that is not there or a column that the table lacks.
    """
    parser = _parser()
    asked = parser.parse_args(arguments)
    table = _read(parser, asked)
    columns = _columns(parser, asked, table)
    _check_outputs(parser, asked)
    found = audit(table, columns=columns)
    if found.errors:
        _tell(asked, {"audit": _as_records(found)}, repr(found))
        return REFUSED
    policy = MarkovPolicyCV(
        **columns,
        gamma=asked.gamma,
        duration_unit=asked.duration_unit,
        cv=asked.cv,
        require_gain=asked.require_gain,
        handle_unknown="most_frequent",
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            policy.fit(table)
        except (ValueError, TypeError) as error:
            _tell(asked, {"audit": _as_records(found), "error": str(error)}, f"error: {error}")
            return REFUSED
        if asked.report is not None:
            write_report(policy, asked.report, table, title=asked.title, overwrite=True)
    told = list(dict.fromkeys(str(one.message) for one in caught))
    if asked.policy is not None:
        Path(asked.policy).write_text(to_json(policy), encoding="utf-8")
    result = {
        "audit": _as_records(found),
        "min_count": policy.min_count_,
        "prior_strength": policy.prior_strength_,
        "value": policy.value_,
        "logged_value": policy.logged_value_,
        "gain": policy.gain_,
        "gain_interval": list(policy.gain_interval_),
        "unsupported_share": policy.unsupported_share_,
        "is_better": policy.is_better_,
        "imitates_log": policy.imitates_log_,
        "policy": json.loads(_shown(policy).to_json(orient="records", default_handler=str)),
        "warnings": told,
    }
    _tell(asked, result, _in_words(found, policy, told, asked))
    return 0


def _check_outputs(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> None:
    """Stop for a file that cannot be written, or must not be."""
    for name in (asked.report, asked.policy):
        if name is None:
            continue
        if Path(name).resolve() == Path(asked.table).resolve():
            parser.error(f"{shortened(name)} is the table itself; choose another file.")
        if Path(name).exists() and not asked.overwrite:
            parser.error(f"{shortened(name)} exists; say --overwrite to replace it.")
        if not Path(name).parent.is_dir():
            parser.error(
                f"the folder {shortened(Path(name).parent)} does not exist; make it first."
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skmdp",
        description="Learn a policy from a table of decisions, and tell whether it beats the log.",
        epilog="Exit codes: 0 learned; 1 the table cannot be learned from; 2 wrong command.",
    )
    parser.add_argument("table", help="a CSV or Parquet file, one row per decision")
    parser.add_argument("--state", nargs="+", help="column(s) of the state (default: state)")
    parser.add_argument("--next-state", nargs="+", help="column(s) of the next state")
    for role in ROLES:
        parser.add_argument(f"--{role}", help=f"column of it (default: {role})")
    parser.add_argument("--duration-unit", choices=list(UNITS), help="unit of durations")
    parser.add_argument("--gamma", type=float, default=0.9, help="discount (default: 0.9)")
    parser.add_argument(
        "--require-gain",
        action="store_true",
        help="keep to the most logged actions unless a gain is shown",
    )
    parser.add_argument("--report", metavar="FILE", help="write an HTML report")
    parser.add_argument("--policy", metavar="FILE", help="write the policy as JSON")
    parser.add_argument("--title", default="Policy report", help="heading of the report")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--cv", type=int, default=5, help="number of folds (default: 5)")
    parser.add_argument(
        "--separator",
        default=",",
        type=lambda sign: "\t" if sign == r"\t" else sign,
        help=r"between the columns of a CSV; \t is a tab (default: a comma)",
    )
    parser.add_argument("--encoding", default="utf-8", help="of the characters of a CSV")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--version", action="version", version=f"skmdp {__version__}")
    return parser


def _read(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> pd.DataFrame:
    """Read a table, or stop and say why that cannot be."""
    path = Path(asked.table)
    if not path.is_file():
        parser.error(f"there is no file {shortened(path)}.")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return _read_csv(path, asked)
    except ImportError as error:
        parser.error(f"Parquet needs pyarrow: pip install pyarrow ({shortened(error)}).")
    except (ValueError, UnicodeDecodeError, OSError) as error:
        parser.error(
            f"{shortened(path)} cannot be read: {shortened(error)}. If columns are set apart by "
            "something else than commas, say --separator ';'; if letters are not in UTF-8, "
            "--encoding latin-1."
        )


def _read_csv(path: Path, asked: argparse.Namespace) -> pd.DataFrame:
    """Read a CSV; labels that are no plain numbers stay as they are written: '001' is not '1'.

    Steps that are dates as ISO 8601 has them are read as times.
    """
    options = {"sep": asked.separator, "encoding": asked.encoding}
    states, nexts = asked.state or ["state"], asked.next_state or []
    labels = {asked.action or "action", asked.episode or "episode", *states, *nexts}
    labels |= {f"next_{name}" for name in states}
    table = pd.read_csv(path, dtype=dict.fromkeys(labels, "object"), **options)
    for name in labels & set(table.columns):
        numbers = pd.to_numeric(table[name], errors="coerce")
        known = table[name].notna()
        if known.any() and (numbers[known].map(_written) == table.loc[known, name]).all():
            table[name] = numbers
    step = asked.step or "step"
    return table.assign(**{step: _as_dates(table[step])}) if step in table else table


def _as_dates(steps: pd.Series) -> pd.Series:
    """Return dates that are written as such, and other steps as they are."""
    if pd.api.types.infer_dtype(steps) != "string":
        return steps
    dates = pd.to_datetime(steps, format="ISO8601", errors="coerce", utc=True)
    return dates if dates.notna().all() else steps


def _written(number: float) -> str:
    """Return a number as it is written in short."""
    return str(int(number)) if number == number and float(number).is_integer() else str(number)


def _require_separated(
    parser: argparse.ArgumentParser, asked: argparse.Namespace, table: pd.DataFrame
) -> None:
    """Stop for a table of one column whose name is a list of names."""
    names = str(table.columns[0])
    others = [sign for sign in ",;\t|" if sign != asked.separator and sign in names]
    if table.shape[1] == 1 and others:
        parser.error(
            f"between {shown(asked.separator)} {shortened(asked.table)} has one column only, "
            f"{shown(names)}. Its columns are set apart by {shown(others[0])}: say --separator "
            f"{shown(others[0])}."
        )


def _columns(
    parser: argparse.ArgumentParser, asked: argparse.Namespace, table: pd.DataFrame
) -> dict[str, Any]:
    """Return what columns are called, by role; stop for those that the table lacks."""
    _require_separated(parser, asked, table)
    named = {role: getattr(asked, role) for role in ("state", "next_state", *ROLES)}
    columns = {role: names for role, names in named.items() if names is not None}
    for role in ("state", "next_state"):
        if len(columns.get(role, ())) == 1:
            columns[role] = columns[role][0]
    _require(parser, {**{role: role for role in REQUIRED}, **columns}, table)
    return columns


def _require(parser: argparse.ArgumentParser, columns: dict[str, Any], table: pd.DataFrame) -> None:
    """Stop for a column that was named, or is needed, but is not there."""
    for role, names in columns.items():
        wanted = [names] if isinstance(names, str) else names
        absent = [name for name in wanted if name not in table.columns]
        if absent and (role, names) != ("duration", FROM_STEPS):
            parser.error(
                f"the table has no column {quoted(absent)}; it has {quoted(list(table.columns))}. "
                f"Name it: --{role.replace('_', '-')} NAME."
            )


def _as_records(found: Audit) -> list[dict[str, Any]]:
    """Return the findings of an audit as JSON holds them."""
    table = found.to_frame().astype({"columns": str, "first_row": str})
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return records


def _shown(policy: MarkovPolicyCV) -> pd.DataFrame:
    """Return the policy as a table, the most visited states first."""
    return policy_table(policy).sort_values("state_visits", ascending=False, kind="stable")


def _in_words(
    found: Audit, policy: MarkovPolicyCV, told: Sequence[str], asked: argparse.Namespace
) -> str:
    """Return what is printed of a policy."""
    looked = [f"{len(found.of(level))} {level}(s)" for level in ("warning", "note")]
    lines = [f"Audit: no errors, {', '.join(looked)}."]
    lines += [f"  {one.kind} {one.where}: {one.what}" for one in found.of("warning")]
    table = _shown(policy)
    lines += ["", policy.summary(), "", table.head(12).round(3).to_string(index=False)]
    if len(table) > 12:
        lines.append(f"... and {len(table) - 12:,} more states")
    lines += [f"\nWarning: {text}" for text in told]
    for name in (asked.report, asked.policy):
        if name is not None:
            lines.append(f"\nWritten: {name}")
    return "\n".join(lines)


def _tell(asked: argparse.Namespace, result: dict[str, Any], words: str) -> None:
    """Print what was found, as JSON or in words; whoever reads it may stop before the end."""
    try:
        print(json.dumps(_finite(result), indent=2) if asked.json else words, flush=True)
    except BrokenPipeError:
        # The rest is written to nowhere, or Python would try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _finite(value: Any) -> Any:
    """Return what JSON can hold: null for what is not a number."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    sys.exit(main())

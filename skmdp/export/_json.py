"""Policies as JSON: written with all that a prediction needs, and read again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from skmdp._log.kinds import read_labels
from skmdp._log.labels import IN_ZONE, as_scalars, natural
from skmdp._messages import shortened, shown
from skmdp._typing import Array
from skmdp.export._card import PolicyCard, Rules, card_of
from skmdp.export._columns import RANGES, Column, Labels, Ranges, require_microseconds

FORMAT, VERSION = "skmdp policy card", 1
# Labels that JSON knows, and those that are written as text.
PLAIN = ("bool", "float", "int", "str")
TIMES = ("date", "datetime", "timedelta")


def to_json(policy: Any, *, indent: int | None = None) -> str:
    """Write a policy as JSON, so that it predicts without skmdp's counts or the log.

    Parameters
    ----------
    policy : MarkovPolicyEstimator, PolicyBagging, or pipeline or search that ends in one
        A fitted policy; of pipelines those whose ``StateEncoder`` makes bins or ordinal codes of
        single columns. A ``PolicyCard`` is written again.
    indent : int, default=None
        Spaces by which nested parts are indented; None writes one line.

    Returns
    -------
    text : str
        JSON of one object. ``columns`` name what is measured: ``labels`` that a column may have, or
        ``borders`` between which numbers fall, where a number on a border belongs to the range
        above it. ``rules`` say, by the positions of labels or ranges in these, the position of the
        action in ``actions``; the first that holds is the answer, else ``default``. ``provenance``
        says where the policy comes from.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is none of these, if its states cannot be told from single columns, or if labels are
        of a kind that JSON cannot hold.
    ValueError
        If ``handle_unknown`` is ``"nearest"``.

    See Also
    --------
    from_json : Reads it again.
    to_sql : The same for a database.

    Notes
    -----
    O(n_states). Dates, datetimes and timedeltas are written as text in the form of ISO 8601.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.export import to_json
    >>> policy = MarkovPolicyEstimator().fit(load_climb())
    >>> text = to_json(policy)
    >>> text[:60]
    '{"format": "skmdp policy card", "version": 1, "columns": [{"'
    """
    card = card_of(policy)
    written = {
        "format": FORMAT,
        "version": VERSION,
        "columns": [_written_column(column) for column in card.columns],
        "actions": {
            "kind": card.action_kind,
            "labels": _written_labels(card.actions, card.action_kind, "the action"),
        },
        "rules": [
            {
                "columns": list(rules.places),
                "codes": rules.codes.tolist(),
                "actions": rules.actions.tolist(),
            }
            for rules in card.rules
        ],
        "default": card.default,
        "handle_unknown": card.handle_unknown,
        "provenance": card.provenance,
    }
    return json.dumps(written, indent=indent, allow_nan=False)


def from_json(text: str) -> PolicyCard:
    """Read a policy that was written as JSON.

    Parameters
    ----------
    text : str
        What ``to_json`` wrote.

    Returns
    -------
    card : PolicyCard
        The policy: ``card.predict(X)`` answers as it did.

    Raises
    ------
    TypeError
        If ``text`` is no text.
    ValueError
        If it is no JSON, no policy, or was written by a later version.

    See Also
    --------
    to_json : Writes a policy.

    Examples
    --------
    >>> from skmdp import MarkovPolicyEstimator
    >>> from skmdp.datasets import load_climb
    >>> from skmdp.export import from_json, to_json
    >>> policy = MarkovPolicyEstimator().fit(load_climb())
    >>> from_json(to_json(policy)).predict(["high"])
    array(['climb'], dtype=object)
    """
    if not isinstance(text, str):
        raise TypeError(
            f"from_json reads the text that to_json wrote, got {type(text).__name__}. Read a file "
            "first, for example with Path(...).read_text()."
        )
    try:
        written = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"This is no JSON: {shortened(error)}.") from error
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        raise ValueError("This JSON holds no policy: it was not written by skmdp.export.to_json.")
    if written["version"] > VERSION:
        raise ValueError(
            f"This policy was written in version {shown(written['version'])} of the format, of "
            f"which this skmdp knows those up to {VERSION}. Install a newer skmdp."
        )
    actions = written["actions"]
    return PolicyCard(
        tuple(map(_read_column, written["columns"])),
        _read_labels(actions["labels"], actions["kind"]),
        actions["kind"],
        tuple(
            Rules(
                tuple(rules["columns"]),
                np.array(rules["codes"], dtype=np.int64).reshape(-1, len(rules["columns"])),
                np.array(rules["actions"], dtype=np.int64),
            )
            for rules in written["rules"]
        ),
        written["default"],
        written["handle_unknown"],
        written["provenance"],
    )


def _written_column(column: Column) -> dict[str, Any]:
    """Return a column as JSON holds it."""
    if isinstance(column, Ranges):
        borders = column.borders.tolist()
        return {"name": column.name, "kind": RANGES, "borders": borders, "fill": column.fill}
    labels = natural(column.kind, column.labels)
    written = _written_labels(labels, column.kind, f"column {shown(column.name)}")
    return {"name": column.name, "kind": column.kind, "labels": written}


def _read_column(written: dict[str, Any]) -> Column:
    """Return a column as it was."""
    if written["kind"] == RANGES:
        return Ranges(written["name"], np.array(written["borders"], dtype=float), written["fill"])
    labels = pd.Series(_read_labels(written["labels"], written["kind"]))
    return Labels(written["name"], written["kind"], read_labels(labels, written["name"]).values)


def _written_labels(labels: Array, kind: str, where: str) -> list[Any]:
    """Return labels as JSON holds them."""
    require_microseconds(labels, where)
    if kind in PLAIN:
        return list(labels.tolist())
    if kind in TIMES or kind.startswith(IN_ZONE):
        return [str(label.isoformat()) for label in as_scalars(labels)]
    raise TypeError(
        f"JSON cannot hold labels of kind {shown(kind)}, which are those of {where}. Convert the "
        'column to strings before the fit, for example with .astype("string").'
    )


def _read_labels(written: list[Any], kind: str) -> Array:
    """Return labels as they were."""
    if kind == "date":
        return np.array([pd.Timestamp(one).date() for one in written], dtype=object)
    if kind == "datetime":
        return np.array(written, dtype="M8[us]")
    if kind == "timedelta":
        return np.array([pd.Timedelta(one).to_numpy() for one in written]).astype("m8[us]")
    if kind.startswith(IN_ZONE):
        return np.array([pd.Timestamp(one) for one in written], dtype=object)
    dtypes: dict[str, Any] = {"int": np.int64, "float": np.float64, "bool": bool}
    return np.array(written, dtype=dtypes.get(kind, object))

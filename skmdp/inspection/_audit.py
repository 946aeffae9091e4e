"""What to know of a log before any fit: all that is refused, and all that looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skmdp._log.frames import as_table
from skmdp.inspection._audit_labels import check_labels
from skmdp.inspection._audit_links import check_links
from skmdp.inspection._audit_outcomes import check_outcomes
from skmdp.inspection._audited import read_to_the_end, warnings_of
from skmdp.inspection._findings import SEVERITIES, Audit, Finding


def audit(X: Any, *, columns: Mapping[str, Any] | None = None) -> Audit:
    """Look for all that is wrong with a log before a policy is learned from it.

    ``fit`` stops at the first fault. An audit lists all faults at once. It adds warnings of things
    that ``fit`` accepts although they are likely to make a policy wrong, and notes on the log.

    Parameters
    ----------
    X : table of shape (n_transitions, n_columns)
        A table of transitions (pandas, polars or pyarrow). It is not changed.
    columns : mapping of str to str or list of str, default=None
        What columns are called, by role, as the parameters of ``MarkovPolicyEstimator`` say it:
        ``{"state": ["age", "stage"], "reward": "benefit"}``. Roles that are not named have their
        standard names.

    Returns
    -------
    audit : Audit
        The findings, errors first; it prints as text, and as a table in notebooks.

    Raises
    ------
    TypeError
        If ``X`` is no table, or a lazy one, which is to be collected first; or if a role is not
        named by names.
    ValueError
        If ``columns`` names a role that does not exist.

    See Also
    --------
    skmdp.MarkovPolicyEstimator : Learns a policy from the log.
    markov_test : Tests whether the state is all that matters.

    Notes
    -----
    The log is read as ``fit`` reads it, by the same code: there are errors if and only if
    ``MarkovPolicyEstimator(**columns).fit(X)`` refuses the table. After each error the line that
    mends it is run on a copy, and reading goes on; so later findings, and numbers of rows, are
    those of the mended table. Not every mend is right for every log: each assumes something that
    its line shows, such as a reward of 0 where none was written down.

    Columns that tell the outcome are looked for in the first 20,000 rows. The audit of a table
    without errors costs at most three times as much as reading and counting it.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmdp.inspection import audit
    >>> log = pd.DataFrame({
    ...     "episode": [1, 1, 2, 2],
    ...     "state": ["low", "high", "low ", "high"],
    ...     "action": [None, "rest", "climb", "rest"],
    ...     "reward": [0.0, 1.0, 0.0, None],
    ... })
    >>> found = audit(log)
    >>> found.to_frame()[["severity", "kind", "columns", "n_rows", "first_row"]].head(3)
      severity        kind    columns  n_rows first_row
    0    error     missing  (action,)       1         0
    1    error     missing  (reward,)       1         3
    2  warning  look_alike   (state,)       1         2

    Each finding says how to mend it, if the owner of the log agrees:

    >>> print(found.findings[2].mend)
    table['state'] = table['state'].replace({'low ': 'low'})
    """
    table = as_table(X)
    errors, reading = read_to_the_end(X, columns or {})
    if reading is None:
        return Audit(tuple(errors), len(table), None, None, None)
    checks = (warnings_of, check_labels, check_links, check_outcomes)
    found: list[Finding] = [*errors, *(one for check in checks for one in check(reading))]
    found.sort(key=lambda one: SEVERITIES.index(one.severity))
    return Audit(
        tuple(found),
        len(table),
        reading.evidence.n_episodes,
        len(reading.log.states),
        len(reading.log.actions),
    )

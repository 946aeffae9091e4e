"""A small world that everybody knows: machines that wear out, and what to do about it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from skmdp._messages import shown

CONDITIONS = ("new", "good", "worn", "bad", "broken")
ACTIONS = ("run", "service", "replace", "repair")
# Probability of each condition next month, by what is done in which condition.
NEXT_SHARES = {
    ("new", "run"): (0.70, 0.30, 0.00, 0.00, 0.00),
    ("good", "run"): (0.00, 0.65, 0.33, 0.00, 0.02),
    ("worn", "run"): (0.00, 0.00, 0.52, 0.40, 0.08),
    ("bad", "run"): (0.00, 0.00, 0.00, 0.62, 0.38),
    ("new", "service"): (0.95, 0.05, 0.00, 0.00, 0.00),
    ("good", "service"): (0.10, 0.88, 0.02, 0.00, 0.00),
    ("worn", "service"): (0.00, 0.80, 0.20, 0.00, 0.00),
    ("bad", "service"): (0.00, 0.15, 0.60, 0.20, 0.05),
    ("worn", "replace"): (1.00, 0.00, 0.00, 0.00, 0.00),
    ("bad", "replace"): (1.00, 0.00, 0.00, 0.00, 0.00),
    ("broken", "replace"): (1.00, 0.00, 0.00, 0.00, 0.00),
    ("broken", "repair"): (0.00, 0.50, 0.50, 0.00, 0.00),
}
# How often each action is taken: crews run machines until they are bad.
HABITS = {
    "new": (0.95, 0.05, 0.00, 0.00),
    "good": (0.92, 0.08, 0.00, 0.00),
    "worn": (0.80, 0.17, 0.03, 0.00),
    "bad": (0.60, 0.20, 0.20, 0.00),
    "broken": (0.00, 0.00, 0.25, 0.75),
}
# Thousands: what a month of work brings, and what the action costs.
INCOME = {"new": 10, "good": 9, "worn": 7, "bad": 4, "broken": 0}
COSTS = {"run": 0, "service": 4, "replace": 25, "repair": 30}
SPREAD = 1.0


def make_maintenance_log(
    n_machines: int = 300,
    n_months: int = 24,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Simulate the books of a workshop: the condition of machines, what was done, what it earned.

    Every month a crew looks at a machine and runs it, services it, has it replaced, or, once it
    has broken down, repaired. Crews mostly run machines until they are bad.

    Parameters
    ----------
    n_machines : int, default=300
        Number of machines, each an episode of its own.
    n_months : int, default=24
        Number of months in the books; machines go on after that.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    table : pandas.DataFrame
        One row per machine and month: ``machine``, ``month``, ``condition`` (``"new"``, ``"good"``,
        ``"worn"``, ``"bad"`` or ``"broken"``), ``action`` (``"run"``, ``"service"``, ``"replace"``
        or ``"repair"``), ``profit`` of the month in thousands, and ``next_condition``.

    Raises
    ------
    ValueError
        If there is no machine, or no month.

    Notes
    -----
    O(rows). With ``gamma=0.95``, it is best to service what is worn or bad, and to replace what is
    broken.

    Examples
    --------
    >>> from skmdp.datasets import make_maintenance_log
    >>> make_maintenance_log(2, 2, random_state=0)
       machine  month condition   action  profit next_condition
    0        0      1      good      run    10.0           good
    1        0      2      good  service     5.8           good
    2        1      1      good      run     8.8           good
    3        1      2      good      run     9.1           good
    """
    for name, number in (("n_machines", n_machines), ("n_months", n_months)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {shown(number)}.")
    rng = check_random_state(random_state)
    habits = np.array([HABITS[condition] for condition in CONDITIONS]).cumsum(axis=1)
    shares = np.zeros((len(CONDITIONS), len(ACTIONS), len(CONDITIONS)))
    for (condition, action), share in NEXT_SHARES.items():
        shares[CONDITIONS.index(condition), ACTIONS.index(action)] = np.cumsum(share)
    income, costs = (np.array(list(amounts.values())) for amounts in (INCOME, COSTS))
    condition = rng.choice(3, size=n_machines, p=[0.4, 0.4, 0.2])
    months = []
    for month in range(1, n_months + 1):
        action = (rng.uniform(size=(n_machines, 1)) > habits[condition]).sum(axis=1)
        drawn = rng.uniform(size=(n_machines, 1)) > shares[condition, action]
        following = drawn.sum(axis=1)
        works = (action < 2) & (income[condition] > 0)
        earned = np.where(works, income[condition] + SPREAD * rng.normal(size=n_machines), 0.0)
        months.append(
            pd.DataFrame(
                {
                    "machine": np.arange(n_machines),
                    "month": month,
                    "condition": np.take(CONDITIONS, condition),
                    "action": np.take(ACTIONS, action),
                    "profit": (earned - costs[action]).round(1),
                    "next_condition": np.take(CONDITIONS, following),
                }
            )
        )
        condition = following
    table = pd.concat(months).sort_values(["machine", "month"], ignore_index=True)
    names = ["condition", "action", "next_condition"]
    return table.astype(dict.fromkeys(names, object))

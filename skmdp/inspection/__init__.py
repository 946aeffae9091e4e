"""What a fitted policy says, what supports it, and whether its states and its log still hold."""

from skmdp.inspection._audit import audit
from skmdp.inspection._drift import drift
from skmdp.inspection._findings import Audit, Finding
from skmdp.inspection._forbidden_cost import forbidden_cost
from skmdp.inspection._markov_test import markov_test
from skmdp.inspection._policy_table import policy_table, supported

__all__ = [
    "Audit",
    "Finding",
    "audit",
    "drift",
    "forbidden_cost",
    "markov_test",
    "policy_table",
    "supported",
]

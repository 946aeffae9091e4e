"""What is wrong with a log; what a policy says, why, how surely, and whether it still holds."""

from skmdp.inspection._action_table import action_table, optimal_actions, q_intervals
from skmdp.inspection._audit import audit
from skmdp.inspection._drift import drift
from skmdp.inspection._explain import Explanation, explain
from skmdp.inspection._findings import Audit, Finding
from skmdp.inspection._forbidden_cost import forbidden_cost
from skmdp.inspection._lift import lift
from skmdp.inspection._markov_test import markov_test
from skmdp.inspection._policy_table import policy_table, supported
from skmdp.inspection._sensitivity import sensitivity

__all__ = [
    "Audit",
    "Explanation",
    "Finding",
    "action_table",
    "audit",
    "drift",
    "explain",
    "forbidden_cost",
    "lift",
    "markov_test",
    "optimal_actions",
    "policy_table",
    "q_intervals",
    "sensitivity",
    "supported",
]

"""Off-policy evaluation: what a policy would have earned, from a log that others made."""

from skmdp.metrics._evaluate import compare_policies, evaluate_policy
from skmdp.metrics._per_time import ValuePerTime, value_per_time
from skmdp.metrics._result import PolicyEvaluation
from skmdp.metrics._scorer import judge_encodings, policy_scorer

__all__ = [
    "PolicyEvaluation",
    "ValuePerTime",
    "compare_policies",
    "evaluate_policy",
    "judge_encodings",
    "policy_scorer",
    "value_per_time",
]

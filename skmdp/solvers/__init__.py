"""Solvers of Markov decision processes, each with a proven bound on its error."""

from skmdp.solvers._average_reward import AverageRewardSolution, relative_value_iteration
from skmdp.solvers._backward_induction import FiniteSolution, backward_induction
from skmdp.solvers._evaluate_policy import PolicyValue, evaluate_policy
from skmdp.solvers._modified_policy_iteration import modified_policy_iteration
from skmdp.solvers._policy_iteration import policy_iteration
from skmdp.solvers._solution import EndlessLoopError, Solution
from skmdp.solvers._solve import solve
from skmdp.solvers._solve_many import ManySolutions, solve_many
from skmdp.solvers._value_iteration import value_iteration

__all__ = [
    "AverageRewardSolution",
    "EndlessLoopError",
    "FiniteSolution",
    "ManySolutions",
    "PolicyValue",
    "Solution",
    "backward_induction",
    "evaluate_policy",
    "modified_policy_iteration",
    "policy_iteration",
    "relative_value_iteration",
    "solve",
    "solve_many",
    "value_iteration",
]

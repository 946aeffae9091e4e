"""Solvers of Markov decision processes, each with a proven bound on its error."""

from skmdp.solvers._modified_policy_iteration import modified_policy_iteration
from skmdp.solvers._solution import EndlessLoopError, Solution

__all__ = ["EndlessLoopError", "Solution", "modified_policy_iteration"]

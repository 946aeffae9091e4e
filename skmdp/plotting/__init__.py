"""Pictures of a policy, of what it rests on, and of how it compares, drawn with matplotlib.

Displays hold their data, and draw it with ``plot(ax=None)``, as scikit-learn's do.
"""

from skmdp.plotting._convergence import ConvergenceDisplay
from skmdp.plotting._evaluation import PolicyEvaluationDisplay
from skmdp.plotting._maps import PolicyMapDisplay
from skmdp.plotting._policy import PolicyDisplay
from skmdp.plotting._support import SupportDisplay
from skmdp.plotting._transitions import TransitionGraphDisplay
from skmdp.plotting._trees import PolicyTreeDisplay
from skmdp.plotting._values import ValueDisplay

__all__ = [
    "ConvergenceDisplay",
    "PolicyDisplay",
    "PolicyEvaluationDisplay",
    "PolicyMapDisplay",
    "PolicyTreeDisplay",
    "SupportDisplay",
    "TransitionGraphDisplay",
    "ValueDisplay",
]

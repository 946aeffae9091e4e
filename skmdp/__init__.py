"""skmdp: learn a decision policy from a table of logged transitions, the scikit-learn way.

Where to start:

- fit and predict: ``MarkovPolicyEstimator``
- look at what was learned: ``skmdp.inspection.policy_table``
- search over parameters without cutting episodes: ``skmdp.model_selection.EpisodeKFold``
- logs to try it on: ``skmdp.datasets``
- the model and its solver, without a log: ``skmdp.mdp``, ``skmdp.solvers``
"""

from skmdp._estimator import MarkovPolicyEstimator

__all__ = ["MarkovPolicyEstimator", "__version__"]
__version__ = "0.1.0"

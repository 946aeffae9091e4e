"""Learn a decision policy from a table of logged transitions, the scikit-learn way.

A table has one row per decision: episode, state, action, next state, reward. Where to start:

1. fit and predict: ``MarkovPolicyCV().fit(log)``, then ``predict(states)``; ``summary()`` tells
   what was chosen and whether it beats the log; ``MarkovPolicyEstimator`` is it without a choice
2. look at what was learned, and what supports it: ``skmdp.inspection.policy_table``
3. evaluate on other episodes: ``score(log)``, the estimated reward per episode, and
   ``skmdp.metrics.evaluate_policy``, with intervals and the difference to what was logged
4. search over parameters: ``GridSearchCV`` with ``skmdp.model_selection.EpisodeKFold``, which
   keeps episodes whole
5. raw measurements: ``skmdp.preprocessing.StateEncoder`` in a pipeline, averages by
   ``skmdp.ensemble.PolicyBagging``, and ``skmdp.inspection.markov_test`` to see what is missing

Logs to try it on, and logs from environments and arrays, are in ``skmdp.datasets``; the model and
its solver, usable without a log, in ``skmdp.mdp`` and ``skmdp.solvers``.

Examples
--------
>>> from skmdp import MarkovPolicyEstimator
>>> from skmdp.datasets import load_climb
>>> MarkovPolicyEstimator().fit(load_climb()).predict(["low", "mid", "high"])
array(['climb', 'climb', 'climb'], dtype=object)
"""

from skmdp._estimator import MarkovPolicyEstimator
from skmdp._estimator_cv import MarkovPolicyCV
from skmdp._version import __version__

__all__ = ["MarkovPolicyCV", "MarkovPolicyEstimator", "__version__"]

"""Learn a decision policy from a table of logged transitions, the scikit-learn way.

A table has one row per decision: episode, state, action, next state, reward. Where to start:

1. look for faults, all at once: ``skmdp.inspection.audit(log)``
2. learn: ``MarkovPolicyCV().fit(log)``, then ``predict(states)``; ``summary()`` tells what was
   chosen and whether it beats the log; ``MarkovPolicyEstimator`` is the same without a choice
3. judge on other episodes: ``policy.score``, ``skmdp.metrics.evaluate_policy`` and
   ``compare_policies``, with intervals and the difference to what was logged
4. look: ``skmdp.inspection.policy_table``, ``action_table`` and ``explain``; ``skmdp.plotting``
5. hand on: ``skmdp.export`` as SQL, JSON or rules, ``skmdp.report.write_report`` as one page

From a file to a policy and a report in one command: ``python -m skmdp log.csv --report out.html``.

Raw measurements are made into states by ``skmdp.preprocessing.StateEncoder`` in a pipeline,
averaged by ``skmdp.ensemble.PolicyBagging``, and ``skmdp.inspection.markov_test`` says what is
missing. ``GridSearchCV`` keeps episodes whole with ``skmdp.model_selection.EpisodeKFold``.

Logs to try it on, and logs from environments and arrays, are in ``skmdp.datasets``; the model and
its solver, usable without a log, in ``skmdp.mdp`` and ``skmdp.solvers``.

Examples
--------
>>> from skmdp import MarkovPolicyCV
>>> from skmdp.datasets import make_maintenance_log
>>> policy = MarkovPolicyCV(episode="machine", state="condition", reward="profit", gamma=0.95)
>>> policy.fit(make_maintenance_log(random_state=0)).predict(["good", "worn", "broken"])
array(['run', 'service', 'replace'], dtype=object)
"""

from skmdp._estimator import MarkovPolicyEstimator
from skmdp._estimator_cv import MarkovPolicyCV
from skmdp._version import __version__

__all__ = ["MarkovPolicyCV", "MarkovPolicyEstimator", "__version__"]

"""What an estimator keeps of a fit: its attributes, how they are printed and how they are stored.

Pickles tell the version, and keep the labels of a policy once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from skmdp._policy import Policy
from skmdp._version import __version__
from skmdp.solvers import Solution

# Fitted attributes that ``_policy`` holds in a form that every store can keep.
OF_POLICY = ("states_", "actions_", "default_action_", "policy_")


def state_to_store(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator as they are stored."""
    left_out = OF_POLICY if "_policy" in state else ()
    kept = {name: value for name, value in state.items() if name not in left_out}
    return {**kept, "_skmdp_version": __version__}


def stored_state(estimator_class: type, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as they were stored, with a warning if another version stored them.

    Parameters that the other version did not have keep their defaults.
    """
    found = {**estimator_class().get_params(deep=False), **state}
    stored_by = found.pop("_skmdp_version", "an unknown version")
    if stored_by != __version__:
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name=estimator_class.__name__,
                current_sklearn_version=f"{__version__} of skmdp",
                original_sklearn_version=f"{stored_by} of skmdp",
            ),
            stacklevel=3,
        )
    return found


class FittedAttributes(BaseEstimator):
    """An estimator with the attributes that a fit sets."""

    gamma: float

    def __getstate__(self) -> dict[str, Any]:
        return state_to_store(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(stored_state(type(self), state))
        if "_policy" in state:
            self._keep_labels()

    def _keep(self, policy: Policy, solution: Solution) -> None:
        """Keep a policy, and what is told of it as plain numbers and arrays."""
        evidence = policy.evidence
        self._policy = policy
        self._keep_labels()
        self.state_values_ = policy.state_values
        self.prior_strength_ = policy.prior_strength
        self.mdp_ = policy.mdp
        timed = evidence.discounting
        self.discount_ = self.gamma if timed is None else timed.discount
        self.duration_unit_ = None if timed is None else timed.unit
        self.initial_distribution_ = policy.mdp.initial_distribution
        self.n_transitions_ = evidence.n_transitions
        self.n_episodes_ = evidence.n_episodes
        self.n_truncated_ = evidence.n_truncated
        self.n_ended_ = evidence.n_ended
        self.n_broken_off_ = evidence.n_cut
        self.n_iter_ = solution.n_iter
        self.converged_ = solution.converged
        self.value_error_bound_ = solution.value_error_bound

    def _keep_labels(self) -> None:
        """Set the fitted attributes that are labels."""
        policy, evidence = self._policy, self._policy.evidence
        self.states_, self.actions_ = evidence.states.labels, evidence.actions.labels
        self.default_action_ = self.actions_[policy.default_code]
        self.policy_ = self.actions_[policy.action_codes]

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        written: str = super().__repr__(N_CHAR_MAX=N_CHAR_MAX)
        if not hasattr(self, "_policy"):
            return written
        evidence = self._policy.evidence
        told = "; ".join(filter(None, (evidence.told_ends(), evidence.told_unit())))
        return f"{written}  # {told}" if told else written

"""What a fitted estimator shows of its policy: dense tables, matrices of one action, a dict."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skmdp._policy import fitted_policy
from skmdp._typing import Floats


class PolicyViews:
    """Views of the policy of an estimator that is fitted, built when they are asked for."""

    actions_: npt.NDArray[Any]

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """Labels of the actions, (n_actions,); the columns of ``predict_proba``."""
        return self.actions_

    @property
    def q_values_(self) -> Floats:
        """Value of each action in each state, (n_states, n_actions)."""
        policy = fitted_policy(self)
        return policy.q_rows(np.arange(len(policy.evidence.states)))

    @property
    def expected_rewards_(self) -> Floats:
        """Estimated R(s, a), (n_states, n_actions); NaN where the model knows none."""
        return fitted_policy(self).expected_rewards()

    @property
    def visit_counts_(self) -> Floats:
        """Weighted number of rows of each state and action, (n_states, n_actions)."""
        return fitted_policy(self).visit_counts()

    @property
    def behavior_policy_(self) -> Any:
        """Share of each action among the rows of each state, CSR array (n_states, n_actions)."""
        return fitted_policy(self).behavior()

    def transition_counts(self, action: Any) -> Any:
        """Return the weighted counts of the transitions of one action.

        Parameters
        ----------
        action : scalar
            A label of ``actions_``.

        Returns
        -------
        counts : scipy sparse CSR array of shape (n_states, n_states)
            N(s, a, s'). Ends without a next state have no column.

        Raises
        ------
        ValueError, TypeError
            If the action was never logged, or is a label of another kind.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> policy = MarkovPolicyEstimator().fit(load_climb())
        >>> float(policy.transition_counts("climb").sum())
        7.0
        """
        policy = fitted_policy(self)
        return policy.action_matrix(action, policy.counts.weights)

    def transition_matrix(self, action: Any) -> Any:
        """Return the estimated transition probabilities of one action.

        Parameters
        ----------
        action : scalar
            A label of ``actions_``.

        Returns
        -------
        probabilities : scipy sparse CSR array of shape (n_states, n_states)
            P(s'|s, a), shrunk by ``prior_strength_``. A row is empty where the action was never
            logged, and sums to less than one where an episode may end without a next state.

        Raises
        ------
        ValueError, TypeError
            If the action was never logged, or is a label of another kind.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> policy = MarkovPolicyEstimator().fit(load_climb())
        >>> policy.states_
        array(['bottom', 'high', 'low', 'mid', 'top'], dtype=object)
        >>> policy.transition_matrix("climb").toarray()[2]
        array([0., 0., 0., 1., 0.])
        """
        return fitted_policy(self).transition_matrix(action)

    def policy_map(self) -> dict[Any, Any]:
        """Return the policy as a dict, for serving one decision at a time.

        Returns
        -------
        policy : dict
            Action by state, for the states with logged actions. A state of several columns is a
            tuple.

        Notes
        -----
        A look-up takes about 0.1 microseconds; ``predict`` checks its input first, which takes
        up to half a millisecond for one row.

        Examples
        --------
        >>> from skmdp import MarkovPolicyEstimator
        >>> from skmdp.datasets import load_climb
        >>> log = load_climb()
        >>> MarkovPolicyEstimator().fit(log[log["state"] == "low"]).policy_map()
        {'low': 'climb'}
        """
        return fitted_policy(self).as_dict()

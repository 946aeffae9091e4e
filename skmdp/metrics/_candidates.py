"""One log for all policies: what each would choose among its rows, in states or in measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.direct import choice_of_rows
from skmdp._evaluation.fitted_estimate import FittedEstimate
from skmdp._evaluation.fitted_q import FittedQ
from skmdp._evaluation.importance import discounted_returns, time_before
from skmdp._log.copies import holds_copies, warn_if_repeated
from skmdp._log.episodes import Transitions
from skmdp._log.frames import as_lazy, as_table
from skmdp._log.lazy import read_lazy
from skmdp._log.links import lacks_episodes, leads_astray, warn_if_unordered
from skmdp._log.lots import draw_coefficients
from skmdp._log.oddities import warn_if_in_pieces
from skmdp._log.raw import Measurements, read_measurements
from skmdp._log.reading import read_table
from skmdp._log.taken import Times
from skmdp._messages import quoted
from skmdp._pipelines import transform, unwrap
from skmdp._policy import fitted_policy, has_policy, names_columns
from skmdp._policy_columns import acts_on_labels, has_own_states, is_behind_transformers
from skmdp._scoring import warn_of_unknown_starts
from skmdp._trust import discount_of, fitted_q, in_time_of
from skmdp._typing import Array, Names
from skmdp.metrics._columns import ColumnsRead
from skmdp.metrics._footing import Footing, choice_of_states
from skmdp.metrics._policies import ask, is_behavior
from skmdp.metrics._refusals import (
    has_durations,
    no_states,
    refuse_lazy,
    require_recurring_states,
    require_rewards,
    require_same_rows,
)
from skmdp.metrics._stated import (
    refuse_false_propensities_of_all,
)


class PolicyLogs:
    """One log for several policies, which all are judged on it.

    Its states are labels; or measurements, of which policies behind transformers make states.
    """

    def __init__(
        self,
        X: Any,
        policies: Sequence[Any],
        *,
        columns: Mapping[str, Any] | None,
        behavior: Any,
        gamma: float,
        horizon: int | None,
        prior_strength: float | str,
        regressor: Any,
        methods: Sequence[str] | None,
        duration_unit: str | None = None,
        compares_times: bool = False,
    ) -> None:
        for policy in policies:
            for step in unwrap(policy)[0]:
                check_is_fitted(step)
        self._X = X
        # Held, so that the identities of their steps stay theirs.
        self._policies = policies
        self._behavior = behavior
        self._gamma, self._horizon, self._prior_strength = gamma, horizon, prior_strength
        self._unit, self._compares_times = duration_unit, compares_times
        self._regressor = regressor
        self._columns = ColumnsRead(X, policies, columns or {})
        self._some_behind = any(map(is_behind_transformers, policies))
        self._footings: dict[tuple[Any, ...], Footing] = {}
        self._answers: dict[int, Array] = {}
        self._is_lazy = as_lazy(X) is not None
        if self._is_lazy:
            refuse_lazy(X, policies, methods, behavior)
            methods = ["dm"]
        self.methods = list(self._default_methods() if methods is None else methods)

    @property
    def _one_footing(self) -> Footing:
        """The log in the states that it was read in first."""
        return next(iter(self._footings.values()))

    @property
    def n_episodes(self) -> int | None:
        """Number of episodes, None where they are unknown."""
        return self._one_log.n_episodes

    @property
    def lacks_episodes(self) -> bool:
        """Whether rows lead on to others, and not known is which belong together."""
        return lacks_episodes(self._one_log)

    @property
    def leads_astray(self) -> bool:
        """Whether what is given as next states is none, or not that of the next rows."""
        on_labels = "fqe" not in self.methods or self.measurements.are_labels
        return on_labels and leads_astray(self._one_log)

    @property
    def holds_copies(self) -> bool:
        """Whether episodes are there several times, under different names."""
        return holds_copies(self._one_log)

    @property
    def mean_return(self) -> float:
        """Mean return of the episodes where it answers what is asked of the policies, else NaN.

        That is where all ended, or all were cut off after as many steps as policies are followed.
        """
        if "fqe" not in self.methods or self.n_episodes is None:
            return np.nan
        log, lengths = self.measurements.log, self.measurements.log.episode_lengths
        assert log.rewards is not None
        assert lengths is not None
        all_cut = self.cut_share == 1 and (lengths == self.horizon).all() and not self.counts_time
        if not (all_cut or (self.cut_share == 0 and self._horizon is None)):
            return np.nan
        gamma, durations = discount_of(log, self._gamma)
        discounts = gamma ** time_before(lengths, durations)
        return float(discounted_returns(lengths, log.rewards, discounts, self.horizon).mean())

    @property
    def horizon(self) -> int:
        """The largest number of steps that policies are followed for."""
        on_measurements = "fqe" in self.methods
        horizon = self.fitted_q.horizon if on_measurements else self._one_footing.replay.horizon
        return horizon.steps

    @property
    def cut_share(self) -> float:
        """Share of the episodes that were cut off."""
        if "fqe" in self.methods:
            return self.measurements.cut_share
        return self._one_footing.replay.cut_share

    @property
    def _one_log(self) -> Transitions:
        """The log in the states, or measurements, that come first."""
        return self.measurements.log if "fqe" in self.methods else self._one_footing.log

    @property
    def unknown_time_share(self) -> float:
        """Share of the decisions that are left out, more of the long ones than of the short."""
        return self._one_log.unknown_time_share

    @property
    def horizon_time(self) -> float | None:
        """The mean time that policies are followed for in cut records, None if for decisions."""
        return self._one_log.longest_time if self.counts_time else None

    @property
    def duration_unit(self) -> str | None:
        """Unit of the log's durations, None of plain numbers."""
        durations = self._one_log.durations
        return None if durations is None else durations.unit

    @property
    def counts_time(self) -> bool:
        """Whether policies are followed for a time, where records were cut off."""
        if self._horizon is not None:
            return False
        if "fqe" in self.methods:
            return in_time_of(self.measurements.log, self.measurements.cut_share) is not None
        return self._one_footing.replay.in_time is not None

    @property
    def prior_strength_used(self) -> float:
        """Shrinkage of the methods that compare rows of one state, NaN if there are none."""
        return self._one_footing.replay.prior_strength if self._footings else np.nan

    # ------------------------------------------------------------------------------------ readings

    @cached_property
    def measurements(self) -> Measurements:
        """The log as it was measured."""
        wanted = self._columns.measured()
        if not wanted:
            raise ValueError(
                "None of the columns that the policies read is in X, so nothing tells what was "
                f"measured. Name them: columns={{'state': [...]}}. X has the column(s) "
                f"{quoted(as_table(self._X).columns)}."
            )
        nexts = tuple(after or f"next_{name}" for name, after in wanted.items())
        there = set(as_table(self._X).columns)
        roles = replace(
            self._columns.common,
            state=tuple(wanted),
            next_state=None if there.isdisjoint(nexts) else nexts,
        )
        measured = read_measurements(
            self._X, roles, propensities=self._behavior, duration_unit=self._unit, to_judge=True
        )
        require_rewards(measured.log)
        return measured

    def _judged_on(self) -> Measurements:
        """Return the measurements to judge on, and warn if their rows are out of order."""
        if self.measurements.are_labels:  # else rows may be measured anew
            warn_if_unordered(self.measurements.log, stacklevel=3)
        warn_if_repeated(self.measurements.log, stacklevel=3)
        return self.measurements

    def _default_methods(self) -> tuple[str, ...]:
        """Return the methods that tell most of these policies on this log."""
        if not self._some_behind and any(map(acts_on_labels, self._policies)):
            return self._methods_of_labels()
        if not self._some_behind and self._columns.measured() and self.measurements.are_labels:
            return self._methods_of_labels()
        others = [policy for policy in self._policies if not is_behavior(policy)]
        return ("fqe", "dm") if others and all(map(has_own_states, others)) else ("fqe",)

    def _methods_of_labels(self) -> tuple[str, ...]:
        """Return the methods of choice in states that are labels."""
        self.methods = ["dm"]  # which takes any log
        policy = self._policies[0]
        is_timed = self._horizon is None and has_durations(self._X, self._columns.roles_of(policy))
        if is_timed and self.footing(policy).replay.in_time is not None:
            return ("dm",)
        return ("dm", "wis", "wdr")

    # ---------------------------------------------------------------------------------- in states

    def footing(self, policy: Any) -> Footing:
        """Return the log in the states of a policy.

        Beside policies behind transformers one without states meets all that was measured, unless
        the columns of states are named.
        """
        transformers, _ = unwrap(policy)
        in_measurements = self._has_no_states(policy)
        key: tuple[Any, ...] = ("measured",)
        if not in_measurements:
            key = (
                *(id(transformer) for transformer in transformers),
                self._columns.roles_of(policy),
            )
        if key not in self._footings:
            log = self._judged_on().log if in_measurements else self._read(policy)
            self._footings[key] = self._judging(log)
        return self._footings[key]

    def _has_no_states(self, policy: Any) -> bool:
        return self._some_behind and not (has_own_states(policy) or self._columns.name_states)

    def _read(self, policy: Any) -> Transitions:
        """Read the log in the states of a policy."""
        roles = self._columns.roles_of(policy)
        if self._is_lazy:
            times: Times = "always" if self._gamma < 1 or self._compares_times else "if cut"
            log = read_lazy(
                self._X,
                roles,
                duration_unit=self._unit,
                times=times,
                lot=draw_coefficients(None),
                needs_starts=False,
            )
            warn_of_unknown_starts(self._X, roles, log, stacklevel=2)
        else:
            X = transform(unwrap(policy)[0], self._X)
            log = read_table(
                X, roles, propensities=self._behavior, duration_unit=self._unit, to_judge=True
            )
        warn_if_unordered(log, stacklevel=2)
        warn_if_repeated(log, stacklevel=2)
        require_rewards(log)
        return log

    def _judging(self, log: Transitions) -> Footing:
        return Footing.of_log(
            log,
            gamma=self._gamma,
            horizon=self._horizon,
            prior_strength=self._prior_strength,
            cut_share=self._cut_share(log),
            behavior=self._behavior,
        )

    def _cut_share(self, log: Transitions) -> float:
        """Return the share of the episodes that were cut off, whatever the states.

        Measurements tell it for all policies; codes that are made of them may not lead on.
        """
        on_measurements = self._some_behind or "fqe" in self.methods
        if on_measurements and self._columns.measured():
            return self.measurements.cut_share
        return log.cut_share

    def candidate(self, policy: Any, footing: Footing | None = None) -> Candidate:
        """Return a policy as what it would choose among the log's pairs.

        In its own states; or in given ones, where it may take one action in some of the rows of a
        state and another in others.
        """
        own = self.footing(policy)
        footing = own if footing is None else footing
        counts = footing.evidence.counts
        if is_behavior(policy):
            return Candidate(footing.replay, None)
        if footing is not own:
            answers = self._answers_when_measured(policy)[self.measurements.log.state_codes]
            states = footing.log.state_codes
            require_same_rows(len(answers), len(states))
            return Candidate(footing.replay, choice_of_rows(counts, states, answers))
        _, last = unwrap(policy)
        if self._has_no_states(policy):
            raise no_states(policy)
        if not (names_columns(last) or acts_on_labels(policy)):
            require_recurring_states(footing.evidence.counts, footing.log.n_rows)
        if has_policy(last):
            warn_if_in_pieces(footing.evidence, fitted_policy(last).evidence, stacklevel=4)
        roles = self._columns.roles_of(policy)
        said = ask(last, footing.table, footing.log.actions, roles, must_be_logged=False)
        return Candidate(footing.replay, choice_of_states(counts, footing.acted, said))

    def is_training_log(self, policy: Any) -> bool:
        """Whether a fitted policy was learned from just these transitions."""
        _, last = unwrap(policy)
        if not (has_policy(last) and has_own_states(policy)):
            return False
        here, then = self.footing(policy).evidence.counts, fitted_policy(last).counts
        same_triples = all(
            np.array_equal(getattr(here, name), getattr(then, name))
            for name in ("pair_state", "pair_action", "next_states")
        )
        return same_triples and all(  # sums in another order differ in their last bits
            np.allclose(getattr(here, name), getattr(then, name), rtol=1e-9)
            for name in ("weights", "reward_sums")
        )

    # ---------------------------------------------------------------------------- in measurements

    @cached_property
    def fitted_q(self) -> FittedQ:
        """The measurements made ready to be asked about policies."""
        measured = self._judged_on()
        refuse_false_propensities_of_all(measured.log, self._behavior)
        return fitted_q(
            measured,
            horizon=self._horizon,
            gamma=self._gamma,
            regressor=self._regressor,
        )

    def unsupported_cost(self, estimate: FittedEstimate) -> float:
        """Return one standard deviation of the rewards for each unsupported decision."""
        return estimate.unsupported_decisions * float(self.fitted_q.log.rewards.std())

    @property
    def relevant_columns(self) -> Names:
        """Names of the measurements that matter for rewards and ends."""
        named = zip(self.measurements.names, self.fitted_q.columns, strict=True)
        return tuple(name for name, matters in named if matters)

    def estimate(self, policy: Any) -> FittedEstimate:
        """Evaluate a policy by fitted Q evaluation."""
        log, asked = self.measurements.log, self.fitted_q
        if is_behavior(policy):
            return asked.logged
        answers = self._answers_when_measured(policy)
        following = np.where(self.measurements.ended, log.state_codes, log.next_codes)
        return asked.follow(answers[following], answers[log.start_codes])

    def _answers_when_measured(self, policy: Any) -> Array:
        """Return what a policy does in every measured state that it may be asked about."""
        if id(policy) not in self._answers:
            log, met = self.measurements.log, self.measurements.decided_in
            roles = replace(self._columns.common, state=self.measurements.names)
            said = ask(
                policy, self.measurements.table(met), log.actions, roles, must_be_logged=True
            )
            answers = np.zeros((len(log.states), *said.shape[1:]), dtype=said.dtype)
            answers[met] = said
            self._answers[id(policy)] = answers
        return self._answers[id(policy)]

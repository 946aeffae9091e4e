"""Estimates of policies on one log, and of their differences to one of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skmdp._evaluation.candidate import Candidate
from skmdp._evaluation.direct import DirectEstimate
from skmdp._evaluation.fitted_estimate import FittedEstimate
from skmdp._evaluation.standard_errors import direct_error
from skmdp._evaluation.verdict import ENOUGH_EPISODES
from skmdp._policy_columns import has_own_states
from skmdp._typing import Floats
from skmdp.metrics._candidates import PolicyLogs
from skmdp.metrics._footing import Footing
from skmdp.metrics._intervals import Estimates, estimate_with_errors
from skmdp.solvers._equations import one_blas_thread

# What all methods tell of a policy's value, and of its difference to another one.
FIGURES = ("value", "standard_error", "lower", "upper")


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was found out of one policy.

    ``rows`` holds a dict of figures for each method, those of the reference the last two.
    ``direct`` and ``fitted`` are the estimates
    that they rest on, each None where no method needs it. ``behavior_value`` and its error are
    those of the reference by the first of fqe and dm that was computed.
    """

    rows: list[dict[str, Any]]
    behavior_value: float
    behavior_standard_error: float
    direct: DirectEstimate | None
    fitted: FittedEstimate | None


@one_blas_thread()
def judge(
    logs: PolicyLogs,
    policies: Sequence[Any],
    reference: Any,
    *,
    z: float,
    n_bootstrap: int,
    random_state: int | np.random.RandomState | None,
    n_jobs: int | None,
) -> list[Judgement]:
    """Judge policies by all methods, each beside the reference on the same footing."""
    in_states = [name for name in logs.methods if name != "fqe"]
    stated = InStates(logs, reference)
    if in_states:
        stated.judge(policies, in_states, n_bootstrap, random_state, n_jobs)
    fitted = OnMeasurements(logs, reference) if "fqe" in logs.methods else None
    found = []
    for policy in policies:
        direct = stated.direct(policy) if in_states else None
        estimate = None if fitted is None else fitted.estimate(policy)
        value, error, drift = (stated if fitted is None else fitted).what_decides(policy)
        shared = {**_shared(stated, policy, direct, estimate), "drift_gain": drift}
        rows = []
        for name in logs.methods:
            if fitted is not None and name == "fqe":
                figures, logged = fitted.figures(policy, z), fitted.of_reference()
            else:
                i = in_states.index(name)
                figures, logged = stated.figures(policy, i, z), stated.of_reference(policy, i)
            rows.append({"method": name, **figures, **shared, **_as_reference(*logged)})
        found.append(Judgement(rows, value, error, direct, estimate))
    return found


def _shared(
    stated: InStates, policy: Any, direct: DirectEstimate | None, fitted: FittedEstimate | None
) -> dict[str, Any]:
    """Return what the methods share: how far the log supports a policy."""
    return {
        "n_episodes": stated.logs.n_episodes,
        "zero_weight_share": np.nan if direct is None else stated.zero_weight_share(policy),
        "untried_share": np.nan if direct is None else direct.uncovered,
        "thin_share": np.nan if direct is None else direct.thin,
        "unsupported_share": np.nan if fitted is None else fitted.unsupported_share,
        "effective_rows": np.nan if fitted is None else fitted.effective_rows,
    }


def _as_reference(value: float, error: float) -> dict[str, float]:
    return {"reference_value": value, "reference_standard_error": error}


def _named(figures: Sequence[float], of_difference: Sequence[float], size: float) -> dict[str, Any]:
    """Name the figures of a value and of a difference as the columns of the table."""
    names = ("difference", *(f"difference_{name}" for name in FIGURES[1:]))
    return {
        **dict(zip(FIGURES, figures, strict=True)),
        "effective_sample_size": size,
        **dict(zip(names, of_difference, strict=True)),
    }


class OnMeasurements:
    """Policies by fitted Q evaluation: all on the same rows, over the same steps."""

    def __init__(self, logs: PolicyLogs, reference: Any) -> None:
        self.logs = logs
        self._reference = reference
        self._estimates: dict[int, FittedEstimate] = {}
        n = logs.n_episodes
        self._has_errors = n is None or n >= ENOUGH_EPISODES
        if not self._has_errors:
            warnings.warn(
                f"X holds {n} episode(s), too few for an interval of 'fqe'. Hand in at least "
                f"{ENOUGH_EPISODES}.",
                UserWarning,
                stacklevel=2,
            )

    def estimate(self, policy: Any) -> FittedEstimate:
        """Return the estimate of a policy."""
        key = id(policy)
        if key not in self._estimates:
            self._estimates[key] = self.logs.estimate(policy)
        return self._estimates[key]

    def figures(self, policy: Any, z: float) -> dict[str, Any]:
        """Return the figures of a policy, and of its difference to the reference."""
        own, other = self.estimate(policy), self.estimate(self._reference)
        return _named(
            self._interval(own.value, own, None, z),
            self._interval(own.value - other.value, own, other, z),
            np.nan,
        )

    def what_decides(self, policy: Any) -> tuple[float, float, float]:
        """Return value and error of the reference, and what a drift may account for."""
        own, other = self.estimate(policy), self.estimate(self._reference)
        drift = self.logs.fitted_q.part_of_drift(own, other) if self._has_errors else 0.0
        return *self.of_reference(), drift

    def of_reference(self) -> tuple[float, float]:
        """Return value and standard error of the reference."""
        value, error, *_ = self.figures(self._reference, 0.0).values()
        return value, error

    def _interval(
        self, value: float, own: FittedEstimate, other: FittedEstimate | None, z: float
    ) -> tuple[float, ...]:
        error = own.error(other) if self._has_errors else np.nan
        return value, error, value - z * error, value + z * error


class InStates:
    """Policies by the methods that compare rows of one state, each in its own states.

    Its difference to the reference is that in the same states, where the reference may take
    several actions.
    """

    def __init__(self, logs: PolicyLogs, reference: Any) -> None:
        self.logs = logs
        self._reference = reference
        self._candidates: list[Candidate] = []
        self._places: dict[tuple[int, int], int] = {}
        self._pairs: dict[int, tuple[int, int, int]] = {}
        self._found: Estimates | None = None
        self._intervals: dict[tuple[float, int, int | None], dict[str, Floats]] = {}
        self._direct_errors: dict[int, float] = {}

    def judge(
        self,
        policies: Sequence[Any],
        methods: Sequence[str],
        n_bootstrap: int,
        random_state: int | np.random.RandomState | None,
        n_jobs: int | None,
    ) -> None:
        """Estimate all policies, and beside each the reference in the same states."""
        for policy in policies:
            own, shared = self.logs.footing(policy), self._shared_footing(policy)
            self._pairs[id(policy)] = (
                self._place(policy, own),
                self._place(policy, shared),
                self._place(self._reference, shared),
            )
        self._found = estimate_with_errors(
            self._candidates, methods, n_bootstrap, random_state, n_jobs
        )

    def _shared_footing(self, policy: Any) -> Footing:
        """Return the states in which a policy is set beside the reference."""
        has_states = has_own_states(policy) or not has_own_states(self._reference)
        return self.logs.footing(policy if has_states else self._reference)

    def _place(self, policy: Any, footing: Footing) -> int:
        """Return the place of a policy in some states among the candidates."""
        key = id(policy), id(footing)
        if key not in self._places:
            self._places[key] = len(self._candidates)
            self._candidates.append(self.logs.candidate(policy, footing))
        return self._places[key]

    def _candidate(self, policy: Any) -> Candidate:
        return self._candidates[self._pairs[id(policy)][0]]

    def direct(self, policy: Any) -> DirectEstimate:
        """Return the estimate of the direct method."""
        return self._candidate(policy).estimate

    def zero_weight_share(self, policy: Any) -> float:
        """Return the share of episodes without weight, NaN if no method weighs episodes."""
        assert self._found is not None
        weighs = any(name != "dm" for name in self._found.names)
        return self._candidate(policy).weights.share_without_weight() if weighs else np.nan

    def figures(self, policy: Any, i: int, z: float) -> dict[str, Any]:
        """Return the figures of a policy by method i, and of its difference to the reference."""
        own, beside, reference = self._pairs[id(policy)]
        alone, apart = self._interval(z, own), self._interval(z, beside, reference)
        return _named(
            [alone[name][i] for name in FIGURES],
            [apart[name][i] for name in FIGURES],
            self._effective_sample_size(own, i),
        )

    def of_reference(self, policy: Any, i: int) -> tuple[float, float]:
        """Return value and standard error of the reference by method i, in a policy's states."""
        found = self._interval(0.0, self._pairs[id(policy)][2])
        return float(found["value"][i]), float(found["standard_error"][i])

    def what_decides(self, policy: Any) -> tuple[float, float, float]:
        """Return value and error of the reference by the direct method, and a drift's part.

        That is how much of the difference to it a drift of rewards may account for.
        """
        _, beside, reference = (self._candidates[j] for j in self._pairs[id(policy)])
        assert self._found is not None
        method = "dm" if "dm" in self._found.names else self._found.names[0]
        place = self._pairs[id(policy)][2]
        if place not in self._direct_errors:
            self._direct_errors[place] = direct_error(reference, None, self._found.n_episodes)
        drift = beside.part_of_drift(reference, method)
        return reference.estimate.value, self._direct_errors[place], drift

    def _interval(self, z: float, j: int, against: int | None = None) -> dict[str, Floats]:
        key = (z, j, against)
        if key not in self._intervals:
            assert self._found is not None
            self._intervals[key] = self._found.interval(j, z, against=against)
        return self._intervals[key]

    def _effective_sample_size(self, j: int, i: int) -> float:
        assert self._found is not None
        if self._found.names[i] == "dm":
            return np.nan
        return self._candidates[j].weights.effective_sample_size()

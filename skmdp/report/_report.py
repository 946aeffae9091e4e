"""A report on a policy as one HTML file."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn

from skmdp._estimator_cv import MarkovPolicyCV
from skmdp._messages import shortened, shown
from skmdp._pipelines import transform, unwrap
from skmdp._policy import fitted_policy, has_policy, roles_of
from skmdp._version import __version__
from skmdp.inspection import audit, policy_table
from skmdp.inspection._pairs import not_a_policy
from skmdp.metrics import evaluate_policy
from skmdp.plotting import (
    PolicyDisplay,
    PolicyEvaluationDisplay,
    SupportDisplay,
    TransitionGraphDisplay,
    ValueDisplay,
)
from skmdp.plotting._drawing import pyplot
from skmdp.report._page import facts, figure, listed, page, paragraph, section, table

ASSUMPTIONS = (
    "What follows a decision depends on the state and the action alone. If something outside the "
    "state columns matters, the figures are wrong without any sign of it.",
    "No unlogged cause lies behind both the action and its outcome. If sicker patients got the "
    "stronger drug and the log does not hold how sick they were, the drug gets the blame.",
    "The world that the policy will meet is the one that was logged.",
    "Intervals tell of chance alone, not of these assumptions.",
)
# What the evaluation says when it is given the very log that the policy was learned from.
ON_TRAINING_LOG = "X holds the very transitions"


def write_report(
    policy: Any,
    path: str | os.PathLike[str],
    X: Any = None,
    *,
    policies: Mapping[str, Any] | None = None,
    title: str = "Policy report",
    overwrite: bool = False,
) -> Path:
    """Write a report on a fitted policy: one HTML file that needs nothing else.

    It holds what was chosen and whether that beats what was logged, the policy as a table to search
    and sort in the units of the log, pictures of it, the rows behind it, an audit of the log and
    an evaluation of the policy and of others, all warnings, what is assumed, and where the policy
    comes from.

    Parameters
    ----------
    policy : MarkovPolicyCV, MarkovPolicyEstimator, or pipeline or search that ends in one
        A fitted policy.
    path : str or path-like
        File to write.
    X : table of shape (n_transitions, n_columns), default=None
        A log to audit and to evaluate policies on. The policy itself is evaluated on it unless it
        is the very log that it was learned from, where every policy looks good; a
        ``MarkovPolicyCV`` then tells what it gained on held-out episodes. None: neither.
    policies : mapping of str to policy, default=None
        Other policies to compare on ``X``, such as a rule of the house, in any form that
        ``skmdp.metrics.evaluate_policy`` takes.
    title : str, default="Policy report"
        Heading of the page.
    overwrite : bool, default=False
        Whether a file at ``path`` may be replaced.

    Returns
    -------
    path : pathlib.Path
        The file written.

    Raises
    ------
    NotFittedError
        If the policy is not fitted.
    TypeError
        If it is another policy, such as an ensemble.
    FileExistsError
        If there is a file at ``path`` and ``overwrite`` is False.
    FileNotFoundError
        If the folder of ``path`` does not exist.
    ValueError
        If there are other policies but no log to compare them on.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skmdp import MarkovPolicyCV
    >>> from skmdp.datasets import make_maintenance_log
    >>> from skmdp.report import write_report
    >>> log = make_maintenance_log(100, random_state=0)
    >>> policy = MarkovPolicyCV(episode="machine", state="condition", reward="profit").fit(log)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_report(policy, Path(folder) / "machines.html", log)
    ...     written.name
    'machines.html'
    """
    path = Path(path)
    estimator = unwrap(policy)[1]
    if not has_policy(estimator):
        raise not_a_policy(estimator)
    fitted_policy(estimator)
    if policies and X is None:
        raise ValueError("policies are compared on a log: hand in X, a table of transitions.")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{shortened(path)} exists. Choose another path, or say overwrite=True to replace it."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {shortened(path.parent)} does not exist; make it first."
        )
    parts, told = _parts(policy, estimator, X, policies or {})
    if told:
        parts.insert(1, section("Warnings", *(paragraph(text, "warning") for text in told)))
    path.write_text(page(title, parts), encoding="utf-8")
    return path


def _parts(
    policy: Any, estimator: Any, X: Any, policies: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Return the sections of the page, and the warnings that came up on the way."""
    with _caught() as told:
        judged, evaluations = _evaluated(policy, estimator, X, policies)
        parts = [
            section("In short", paragraph(judged, "verdict")),
            section("The policy", table(_shown_table(policy), "policy")),
            section("Pictures", *_pictures(policy)),
        ]
        if evaluations:
            parts.append(_comparison(evaluations))
        if X is not None:
            encoded = transform(unwrap(policy)[0], X)
            found = audit(encoded, columns=_columns(estimator))
            parts.append(section("The log", f'<div class="wide audit">{found.to_html()}</div>'))
        parts += [
            section("What is assumed", listed(ASSUMPTIONS)),
            section("Where it comes from", facts(_provenance(policy, estimator))),
        ]
    return parts, told


@contextmanager
def _caught() -> Iterator[list[str]]:
    """Collect the texts of all warnings, each once."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
    told += dict.fromkeys(str(warning.message) for warning in caught)


def _columns(estimator: Any) -> dict[str, Any]:
    """Return what the estimator calls the columns of a log, as ``audit`` takes it."""
    roles = roles_of(estimator)
    named = {role: roles.names(role) for role in ("state", "action", "reward", "episode", "step")}
    return {
        role: list(names) if len(names) > 1 else names[0] for role, names in named.items() if names
    }


def _evaluated(
    policy: Any, estimator: Any, X: Any, policies: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return what is said in short, and the evaluations on the log by name."""
    evaluations: dict[str, Any] = {}
    in_short = estimator.summary() if isinstance(estimator, MarkovPolicyCV) else ""
    if not fitted_policy(estimator).evidence.has_rewards:
        return in_short or "The log has no rewards, so nothing tells what the policy is worth.", {}
    if X is not None:
        own, is_training_log = _judged(policy, X)
        if is_training_log and not in_short:
            in_short = (
                "Whether the policy is better than what was logged is not known: the log at hand "
                "is the one that it was learned from. Evaluate it on other episodes."
            )
        if not is_training_log:
            evaluations["this policy"] = own
            in_short = f"{in_short}\nOn the log at hand: {own.conclusion}".strip()
    for name, other in policies.items():
        evaluations[name] = evaluate_policy(other, X, columns=_columns(estimator))
    return in_short or "The policy was not compared with what was logged.", evaluations


def _judged(policy: Any, X: Any) -> tuple[Any, bool]:
    """Evaluate a policy on a log, and tell whether it was learned from this very log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        own = evaluate_policy(policy, X)
    is_training_log = any(str(one.message).startswith(ON_TRAINING_LOG) for one in caught)
    for one in caught:
        if not is_training_log:
            warnings.warn(one.message, stacklevel=2)
    return own, is_training_log


def _shown_table(policy: Any) -> pd.DataFrame:
    """Return the policy as a table, the most visited states first."""
    found = policy_table(policy)
    return found.sort_values("state_visits", ascending=False, kind="stable")


def _pictures(policy: Any) -> Iterator[str]:
    """Yield the pictures of a policy, each with what it shows."""
    plt = pyplot("write_report")
    shown: dict[Any, str] = {
        PolicyDisplay: "Q of each action in each state: what it is worth if the advice is followed "
        "afterwards. White: never logged there. Dots: what is advised.",
        ValueDisplay: "What each state is worth under the policy.",
        TransitionGraphDisplay: "Where the advice leads: the wider the arrow, the more likely. "
        "Large nodes are states that the log was often in.",
        SupportDisplay: "What the log holds of the advice: each mark is a state, larger where it "
        "was visited more often.",
    }
    for display, caption in shown.items():
        drawn = display.from_estimator(policy).figure_
        yield figure(drawn, caption)
        plt.close(drawn)


def _comparison(evaluations: Mapping[str, Any]) -> str:
    """Return the section of the evaluation on a log."""
    drawn = PolicyEvaluationDisplay.from_evaluations(evaluations).figure_
    picture = figure(drawn, "Estimates of the reward per episode; the line is what was logged.")
    pyplot("write_report").close(drawn)
    tables = [
        one.to_frame().assign(policy=name)[
            ["policy", "method", "value", "lower", "upper", "difference_lower", "difference_upper"]
        ]
        for name, one in evaluations.items()
    ]
    said = (paragraph(f"{name}: {one.conclusion}") for name, one in evaluations.items())
    return section(
        "Beside what was logged", *said, picture, table(pd.concat(tables, ignore_index=True))
    )


def _provenance(policy: Any, estimator: Any) -> dict[str, object]:
    """Return where a policy comes from: its log, its parameters, the versions."""
    own = fitted_policy(estimator)
    evidence, counts = own.evidence, own.counts
    arrays = (counts.pair_state, counts.pair_action, counts.next_states, counts.weights)
    digest = hashlib.sha256()
    for array in (*arrays, counts.reward_sums):
        digest.update(np.ascontiguousarray(array).tobytes())
    for labels in (evidence.states.labels, evidence.actions.labels):
        digest.update("\0".join(map(str, labels)).encode())
    episodes = "not told" if evidence.n_episodes is None else f"{evidence.n_episodes:,}"
    return {
        "learned from": f"{evidence.n_transitions:,} rows; episodes: {episodes}",
        "states and actions": f"{len(evidence.states):,} and {len(evidence.actions):,}",
        "estimator": " ".join(repr(policy).split("\n")[0].split()),
        "parameters": ", ".join(
            f"{name}={shown(value)}" for name, value in estimator.get_params(deep=False).items()
        ),
        "hash of the counts": digest.hexdigest()[:16],
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": f"skmdp {__version__}, scikit-learn {sklearn.__version__}, "
        f"pandas {pd.__version__}, numpy {np.__version__}",
    }

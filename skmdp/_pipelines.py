"""What estimators are wrapped in: pipelines, searches, frozen estimators, however nested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline


def unwrap(estimator: Any) -> tuple[tuple[Any, ...], Any]:
    """Return the transformers that a table passes before it reaches the last step, and that step.

    Of a fitted search, those of its best estimator; of transformers that are pipelines, each step.
    """
    transformers: list[Any] = []
    while True:
        if isinstance(estimator, Pipeline):
            for _, step in estimator.steps[:-1]:
                before, last = unwrap(step)
                transformers += [*before, last]
            estimator = estimator.steps[-1][1]
        elif isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            passed = tuple(step for step in transformers if step not in (None, "passthrough"))
            return passed, estimator


def last_step(estimator: Any) -> tuple[Any, str]:
    """Return the last step of a pipeline, and the prefix of its parameters' names."""
    prefix = ""
    while isinstance(estimator, Pipeline):
        name, estimator = estimator.steps[-1]
        prefix += f"{name}__"
    return estimator, prefix


def transform(transformers: Sequence[Any], X: Any) -> Any:
    """Return the table after all transformers, one after the other."""
    for transformer in transformers:
        X = transformer.transform(X)
    return X

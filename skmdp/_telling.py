"""What is told of a long fit: by lines where it is verbose, and to callbacks of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.callback import CallbackContext

from skmdp._log.engines import Tell


def iteration_teller(estimator: Any, task: CallbackContext) -> Callable[[int], None]:
    """Return what tells callbacks of an iteration of the solver."""

    def tell(_: int) -> None:
        iteration = task.subcontext(task_name="iteration")
        iteration.call_on_fit_task_begin(estimator=estimator)
        iteration.call_on_fit_task_end(estimator=estimator)

    return tell


def stage_teller(estimator: Any, task: CallbackContext) -> Tell:
    """Return what tells of a stage of an engine's work while it lasts."""

    @contextmanager
    def tell(doing: str) -> Iterator[None]:
        if estimator.verbose > 0:
            print(f"{type(estimator).__name__}: {doing}")
        stage = task.subcontext(task_name=doing)
        stage.call_on_fit_task_begin(estimator=estimator)
        yield
        stage.call_on_fit_task_end(estimator=estimator)

    return tell

"""Work in parallel processes that end with the one that started them."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, Protocol

import joblib

from crlso.errors import RunError, UserError

WATCH_SECONDS: Final = 0.5


class Task(Protocol):
    """A piece of work, pickled for the worker: called with what all tasks share."""

    def __call__(self, shared: Any) -> Any:
        """Does the work."""


def run_tasks(tasks: Sequence[Task], shared: Any, *, jobs: int) -> Iterator[tuple[int, Any]]:
    """Runs tasks in ``jobs`` processes, one thread each; with ``jobs=1`` in this one.

    Workers ignore Ctrl-C (their parent ends them) and watch their parent: if it is killed they end within a
    second, in the middle of whatever they do.

    Args:
        tasks: What to do; picklable.
        shared: Given to every task; pickled once, unpickled once per process.
        jobs: Number of processes.

    Yields:
        Index of a task and its result, in the order of completion.

    Raises:
        UserError: A task raised one (the message is kept), or a worker process died.
    """
    if jobs == 1 or len(tasks) == 1:
        for index, task in enumerate(tasks):
            yield index, task(shared)
        return
    # The wrapper lets evaluators that are defined in a user's own script reach the workers too.
    payload = pickle.dumps(joblib.wrap_non_picklable_objects(shared, keep_wrapper=False))
    parent = os.getpid()
    calls = (joblib.delayed(_work)(index, task, payload, parent) for index, task in enumerate(tasks))
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        pool = joblib.Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered", batch_size=1)
        answers = pool(calls)
        try:
            for index, result, mistake in answers:
                if mistake is not None:
                    raise UserError(mistake)
                yield index, result
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process died (out of memory?); run the same command again, with fewer jobs"
            ) from error
        finally:
            with warnings.catch_warnings():
                # joblib finds it worth a warning that work is given up; here that is meant.
                warnings.simplefilter("ignore")
                answers.close()


def _work(index: int, task: Task, payload: bytes, parent: int) -> tuple[int, Any, str | None]:
    """Runs in a worker. Users' mistakes travel as text: exceptions need not survive pickling."""
    _end_with(parent)
    try:
        return index, task(_unpickled(payload)), None
    except UserError as error:
        return index, None, str(error)


@functools.cache
def _end_with(parent: int) -> None:
    """Once per worker: end when the parent has gone, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        # A run directory may be left at any moment: nothing has to be tidied up.
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


@functools.lru_cache(maxsize=1)
def _unpickled(payload: bytes) -> Any:
    return pickle.loads(payload)  # noqa: S301 (our own process made it)

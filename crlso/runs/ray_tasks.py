"""Work on a Ray cluster; Ray is an extra (``pip install "crlso[ray]"``) and imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from crlso.errors import RunError, UserError
from crlso.runs.workers import Task

_AHEAD: Final = 2
"""Tasks handed out per processor: one at work, one waiting, so that none idles and little is queued."""


def run_ray_tasks(
    tasks: Sequence[Task], shared: Any, *, address: str | None = None, jobs: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Runs tasks as Ray tasks of one processor each; one that is lost with its machine is done again by Ray.

    All machines need this package in the same version.

    Args:
        tasks: What to do; picklable.
        shared: Given to every task; put into Ray's object store once.
        address: Of a running cluster, as ``ray.init`` takes it (``auto``, ``10.0.0.5:6379``,
            ``ray://10.0.0.5:10001``); ``None``: a Ray of our own on this machine, ended with the work.
        jobs: Number of processors of that own Ray; ``None``: all.

    Yields:
        Index of a task and its result, in the order of completion.

    Raises:
        UserError: Ray is not installed, no cluster answers, or a task raised one (the message is kept).
        RunError: Ray gave up on a task.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise UserError('the engine ray needs Ray: pip install "crlso[ray]"') from error
    options = {"num_cpus": jobs} if address is None else {"address": address}
    try:
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = "on this machine" if address is None else f"at {address!r}"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"no Ray {where} (--address): {reason}") from error
    try:
        yield from _spread(ray, tasks, ray.put(shared))
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"Ray gave a task up; run the same command again ({reason})") from error
    finally:
        ray.shutdown()


def _spread(ray: Any, tasks: Sequence[Task], shared: Any) -> Iterator[tuple[int, Any]]:
    remote = ray.remote(num_cpus=1)(_work)
    room = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: list[Any] = []
    todo = enumerate(tasks)
    while True:
        while len(waiting) < room and (following := next(todo, None)) is not None:
            waiting.append(remote.remote(*following, shared))
        if not waiting:
            return
        ended, waiting = ray.wait(waiting)
        for index, result, mistake in ray.get(ended):
            if mistake is not None:
                raise UserError(mistake)
            yield index, result


def _work(index: int, task: Task, shared: Any) -> tuple[int, Any, str | None]:
    """Runs in a Ray worker. Users' mistakes travel as text: exceptions need not survive pickling."""
    try:
        return index, task(shared), None
    except UserError as error:
        return index, None, str(error)

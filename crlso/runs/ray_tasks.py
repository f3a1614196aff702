"""Work on a Ray cluster; Ray is an extra (``pip install "crlso[ray]"``) and imported when it is used."""

from __future__ import annotations

import importlib
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from crlso.errors import RunError, UserError
from crlso.runs.workers import Task

_ANSWER_SECONDS: Final = 10.0
_AHEAD: Final = 2
"""Tasks handed out per processor: one at work, one waiting, so that none idles and little is queued."""


def ray_engine(
    *, address: str | None = None, jobs: int | None = None
) -> Callable[[Sequence[Task], Any], Iterator[tuple[int, Any]]]:
    """What runs tasks as Ray tasks of one processor each; a task lost with its machine is done again by Ray.

    It takes tasks and what they share (put into Ray's object store once), and yields index and result of each
    task in the order of completion. All machines need this package in the same version.

    Args:
        address: Of a running cluster, as ``ray.init`` takes it (``auto``, ``10.0.0.5:6379``,
            ``ray://10.0.0.5:10001``); ``None``: a Ray of our own on this machine, ended with the work.
        jobs: Number of processors of that own Ray; ``None``: all.

    Raises:
        UserError: Ray is not installed, or nobody answers at the address. From the work itself: no cluster
            there, or a task raised one (the message is kept).
        RunError: From the work itself: Ray gave a task up.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise UserError('the engine ray needs Ray: pip install "crlso[ray]"') from error
    if address is not None:
        _check_answers(address)

    def run(tasks: Sequence[Task], shared: Any) -> Iterator[tuple[int, Any]]:
        options = {"num_cpus": jobs} if address is None else {"address": address}
        try:
            ray.init(log_to_driver=False, logging_level="error", **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = "on this machine" if address is None else f"at {address!r} (--address)"
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"no Ray {where}: {reason}") from error
        try:
            yield from _spread(ray, tasks, ray.put(shared))
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())
            raise RunError(f"Ray gave a task up; run the same command again ({reason})") from error
        finally:
            ray.shutdown()

    return run


def _check_answers(address: str) -> None:
    """Somebody listens at ``HOST:PORT``; Ray itself would find out after minutes only.

    Raises:
        UserError: Nobody does.
    """
    found = re.fullmatch(r"(?:ray://)?(?P<host>.+):(?P<port>\d{1,5})", address)
    if found is None:  # auto, local, ...: Ray's own words
        return
    try:
        socket.create_connection((found["host"], int(found["port"])), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address!r} (--address): {error}") from error


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

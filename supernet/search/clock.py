"""Time of an epoch, over all processes one after the other that worked on it."""

from __future__ import annotations

import time
from typing import final


@final
class Clock:
    """Seconds and CPU seconds since the last lap, those before a resumption included.

    Args:
        seconds: Of this lap, before now.
        cpu_seconds: Likewise.
    """

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        self._before = (seconds, cpu_seconds)
        self._start = (time.perf_counter(), time.process_time())

    def state(self) -> tuple[float, float]:
        """Seconds and CPU seconds of this lap so far: what it takes to make another clock that goes on."""
        return (
            self._before[0] + time.perf_counter() - self._start[0],
            self._before[1] + time.process_time() - self._start[1],
        )

    def lap(self) -> tuple[float, float]:
        """The same, and begins the next lap."""
        found = self.state()
        self._before = (0.0, 0.0)
        self._start = (time.perf_counter(), time.process_time())
        return found

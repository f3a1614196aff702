"""How many threads torch works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(count: int = 1) -> Iterator[None]:
    """Runs torch on so many threads inside the block, and as before after it.

    Sums differ in their last digits from one number of threads to another, so that a result that is to be the
    same on every machine names it. Cell graphs and small images are too small to share out: two threads took
    as long as one, and on a busy machine, where they wait for each other, ten times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""One thread for small tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_thread() -> Iterator[None]:
    """Runs torch on one thread inside the block, and as before after it.

    The graphs of a few hundred cells are too small to share out: on a busy machine two threads that wait for
    each other were ten times slower than one. It also makes results independent of the number of processors.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

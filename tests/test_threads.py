"""One thread inside, as before outside, also after an error."""

from __future__ import annotations

import pytest
import torch

from crlso.threads import threads


def test_threads_come_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threads():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads(3):
            assert torch.get_num_threads() == 3
        with pytest.raises(KeyError), threads():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

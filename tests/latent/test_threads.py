"""One thread inside, as before outside, also after an error."""

from __future__ import annotations

import pytest
import torch

from crlso.latent.threads import single_thread


def test_threads_come_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), single_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

"""Tells where a computation would make an accelerator wait, or leave it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class WouldWaitError(Exception):
    """On an accelerator this operation would wait for the device, or copy from it."""


class NoWaiting(TorchDispatchMode):
    """Refuses operations that read a tensor's values on the host, or move tensors between devices.

    Args:
        device: Where every tensor has to lie (``meta``: there nothing can be read); ``None``: anywhere.
    """

    def __init__(self, device: str | None = None) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        aten = torch.ops.aten
        reads = (
            aten._local_scalar_dense,
            aten.item,
            aten.is_nonzero,
            aten.equal,
            aten.nonzero,
            aten.masked_select,
        )
        if func.overloadpacket in reads:
            raise WouldWaitError(str(func))
        moved = func.overloadpacket is aten._to_copy and kwargs.get("device") not in (None, args[0].device)
        crossed = func.overloadpacket is aten.copy_ and args[0].device != args[1].device
        # A mask as an index gives a result whose size only the device knows.
        masked = func.overloadpacket is aten.index and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if moved or crossed or masked:
            raise WouldWaitError(str(func))
        result = func(*args, **kwargs)
        if self.device is not None:
            # Torch's second derivative of batch_norm makes a zero on the host for a scale that is not there.
            mine = func.overloadpacket is not aten.zeros or result.dim() > 0
            for tensor in pytree.tree_leaves((args, kwargs, result)) if mine else ():
                if isinstance(tensor, Tensor) and tensor.device.type != self.device:
                    raise WouldWaitError(f"{func} on {tensor.device}")
        return result

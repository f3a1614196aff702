"""Device, precision and the processes of a search: a thin skin over Lightning Fabric."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Final, Literal, final

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import Tensor

from crlso.errors import UserError

Precision = Literal["32-true", "64-true", "bf16-mixed"]
"""Of weights and computation, by Fabric's names; ``bf16-mixed`` keeps weights in float32."""

_BACKENDS: Final = {"cpu": "gloo", "cuda": "nccl"}


@final
class Processes:
    """The processes that share a search's batches: one, or as many as ``torchrun`` started.

    Gradients are averaged by :meth:`mean`, in one message for all of them, so that no module has to be
    wrapped and every update rule works on several devices.

    Args:
        device: ``cpu``, ``cuda`` (with several processes: each its own) or ``cuda:1``.
        precision: Of weights and computation.

    Raises:
        UserError: No such device, or a device number for several processes.
    """

    def __init__(self, device: str = "cpu", precision: Precision = "32-true") -> None:
        kind, _, number = device.partition(":")
        if kind not in _BACKENDS or (number and not number.isdecimal()):
            raise UserError(f"device {device!r}; choose cpu, cuda or cuda:NUMBER")
        if kind == "cuda" and not torch.cuda.is_available():
            raise UserError(f"can not compute on {device!r}: this torch finds no CUDA device; cpu works")
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if number and self.count > 1:
            raise UserError(f"device {device!r}: {self.count} processes take a device each; write {kind}")
        if number and int(number) >= torch.cuda.device_count():
            raise UserError(f"device {device!r}: there are {torch.cuda.device_count()} CUDA devices")
        strategy: Strategy | str = "auto"
        if self.count > 1:
            strategy = DDPStrategy(process_group_backend=_BACKENDS[kind])
        self._fabric = Fabric(
            accelerator=kind,
            devices=[int(number)] if number else local,
            num_nodes=max(1, self.count // local),
            strategy=strategy,
            precision=precision,
        )
        self._fabric.launch()
        self.precision = precision

    @property
    def device(self) -> torch.device:
        """Of this process."""
        found: torch.device = self._fabric.device
        return found

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        rank: int = self._fabric.global_rank
        return rank

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return torch.float64 if self.precision == "64-true" else torch.float32

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context that networks compute in."""
        return self._fabric.autocast()

    def mean(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Means over the processes: one message for all tensors of a type."""
        if self.count == 1:
            return tensors
        found: list[Tensor] = list(tensors)
        for dtype in {tensor.dtype for tensor in tensors}:
            places = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
            bucket = torch.cat([tensors[i].detach().reshape(-1) for i in places])
            torch.distributed.all_reduce(bucket)
            parts = torch.split(bucket / self.count, [tensors[i].numel() for i in places])
            for i, part in zip(places, parts, strict=True):
                found[i] = part.view_as(tensors[i])
        return found

    def wait(self) -> None:
        """Returns when all processes have come here."""
        self._fabric.barrier()

    def rows(self, batch: int) -> slice:
        """Which images of a batch this process works on.

        Raises:
            UserError: The batch can not be shared out evenly.
        """
        if batch % self.count:
            raise UserError(f"a batch of {batch} images can not be shared out to {self.count} processes")
        share = batch // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

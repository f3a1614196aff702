"""A step as one CUDA graph: the host starts it once instead of thousands of kernels one by one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import final

import torch
from torch import Tensor

Step = Callable[..., tuple[Tensor, ...]]


@final
class Replayed:
    """A function of tensors that is recorded on a CUDA device and played again from then on.

    The function may change tensors that live on (weights, optimiser states); it must not wait for the device
    nor look at a value. Its inputs and outputs have their places: what a call returns is overwritten by the
    next one.

    Args:
        function: What to play.
    """

    def __init__(self, function: Step) -> None:
        self._function = function
        self._key: Hashable = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor, key: Hashable) -> tuple[Tensor, ...]:
        """The function's outputs.

        Args:
            inputs: Of the same shapes in all calls with one key.
            key: All else that the function depends on (numbers such as a learning rate), not ``None``. With
                another one it is run as it is, so that kernels are chosen and states made that would be made
                anew with every replay; then it is recorded again.
        """
        if key != self._key:
            self._key = key
            self._graph, self._outputs = None, ()  # their memory can be used again
            return self._warm_up(inputs)
        if self._graph is None:
            self._record(inputs)
        torch._foreach_copy_(list(self._inputs), list(inputs))
        assert self._graph is not None
        self._graph.replay()
        return self._outputs

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """On another stream than the default one, as recording asks for."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = self._function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return outputs

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        """Nothing is computed here."""
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = self._function(*self._inputs)
        self._graph = graph

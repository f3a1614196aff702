"""What the operations with convolutions are made of, and how all that leave one state can be computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from supernet.networks.normalisation import Statistics


@dataclass(frozen=True)
class Stage:
    """ReLU, depthwise convolution, 1x1 convolution, normalisation; or a whole convolution for the first two.

    Attributes:
        prefix: Of its modules in the reference path's operation.
        kernel: Side of the (depthwise) kernel.
        dilation: Of the kernel.
        depthwise: Whether it is separable.
    """

    prefix: str
    kernel: int
    dilation: int = 1
    depthwise: bool = True


STAGES: Final[Mapping[str, tuple[Stage, ...]]] = {
    "sep_conv_3x3": (Stage("0.", 3), Stage("1.", 3)),
    "sep_conv_5x5": (Stage("0.", 5), Stage("1.", 5)),
    "dil_conv_3x3": (Stage("", 3, 2),),
    "dil_conv_5x5": (Stage("", 5, 2),),
    "nor_conv_1x1": (Stage("", 1, depthwise=False),),
    "nor_conv_3x3": (Stage("", 3, depthwise=False),),
}
"""By the operation's name; the ReLU of the first stage is common to all."""

Kernels = Mapping[str, Tensor]
"""What a state's operations need, made of a cell's weights and shares."""


@dataclass(frozen=True)
class Group:
    """States that are worked on together: their channels lie one after the other.

    Attributes:
        states: How many.
        targets: Of each of them; the same ones.
    """

    states: int
    targets: int


class Convolutions(ABC):
    """All operations of a cell, from groups of states to their targets. Holds no weights.

    Args:
        names: Of all operations, as the shares have them.
        statistics: Where the normalisations take mean and variance from.
    """

    def __init__(self, names: Sequence[str], statistics: Statistics) -> None:
        self._names = tuple(name for name in names if name in STAGES)
        self._statistics = statistics

    @property
    @abstractmethod
    def groups_inputs(self) -> bool:
        """Whether the inputs of a cell are a group; all other states are one each."""

    @abstractmethod
    def prepare(
        self,
        weights: Kernels,
        shares: Mapping[str, Tensor],
        groups: Sequence[Group],
        channels: int,
        like: Tensor,
    ) -> Sequence[Kernels]:
        """What each group needs.

        Args:
            weights: Of the cell: by operation, stage and part, ``[edges, ...]``, edges by source.
            shares: By operation ``[edges]``, likewise.
            groups: Of all states that edges leave, in their order.
            channels: Of a state.
            like: A tensor in the precision and on the device of the states.
        """

    @abstractmethod
    def outputs(self, x: Tensor, kernels: Kernels, stride: int) -> list[Tensor]:
        """Terms ``[n, h', w', k, targets, c]`` of what the operations with convolutions give to the targets.

        What a target gets is the sum over terms and over ``k``.

        Args:
            x: The rectified states ``[n, states * c, h, w]``.
            kernels: The group's, of :meth:`prepare`.
            stride: Of the edges.
        """

    @abstractmethod
    def mixed(
        self, values: Sequence[Tensor], shares: Tensor, kernels: Kernels, *, normalised: bool
    ) -> Tensor:
        """A term ``[n, h, w, 1, targets, c]`` of what operations without weights give to the targets.

        Args:
            values: Their outputs ``[n, states * c, h, w]``.
            shares: ``[states, targets, operations]``, of these operations.
            kernels: The group's, of :meth:`prepare`.
            normalised: Whether the outputs are normalised first.
        """


def by_target(x: Tensor, targets: int, kinds: int = 1) -> Tensor:
    """``[n, kinds * targets * c, h, w]`` with its channels last to ``[n, h, w, kinds, targets, c]``."""
    whole = x.permute(0, 2, 3, 1)
    return whole.reshape(*whole.shape[:3], kinds, targets, -1)

"""The shrinker: which operators of a supernet are left, and since when the others are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import RunError, UserError
from crlso.protocols import BoolArray
from supernet.relaxation import Edges, node_sizes, node_strongest
from supernet.shrinking.controllers import Controller

MOST_PLATEAUS: Final = 1024
"""Plateaus whose steps are noted; further ones are not."""

MOST_ROWS: Final = 8192
"""Steps that a trace holds between two calls of :meth:`Shrinker.flush`; of more, the last ones."""


@final
class Shrinker:
    """Removes operators whose share has fallen below a threshold, for good.

    The strongest operator of a node always stays (the first of equally strong ones), so that a node never
    becomes empty. All state is on the device, in places that never change: what reads ``alive`` (such as
    :class:`supernet.relaxation.Masked`) sees every removal, and a step can be part of a CUDA graph.

    Args:
        edges: ``(source, target)`` of each edge, by target.
        shape: Of the shares: kinds, edges, operations.
        threshold: Shares below it are removed.
        controller: Told of every step's removals.
        device: Where the shares are.

    Attributes:
        alive: ``shape`` bool: what is left.
        removed_at: ``shape`` int64: number of the step (from 1) that removed an entry; -1 while it is left.
        steps: How many there were, without dimensions.

    Raises:
        UserError: A threshold that is not positive, or that the equal shares at the start do not exceed in
            every node; edges that are not in order or not as many as the shape has.
    """

    def __init__(
        self,
        edges: Edges,
        shape: tuple[int, int, int],
        threshold: float,
        controller: Controller,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(edges) != shape[1]:
            raise UserError(f"the shares have {shape[1]} edges, but {len(edges)} are given")
        most = max(node_sizes(edges)) * shape[2]
        if not 0 < threshold < 1 / most:
            raise UserError(
                f"shrinking.threshold must be above 0 and below {1 / most:.6g}, the first share of an"
                f" operator in a node of {most} (another one would empty the node), got {threshold}"
            )
        self._edges: Edges = tuple(edges)
        self._threshold = threshold
        self._controller = controller
        self.alive = torch.ones(shape, dtype=torch.bool, device=device)
        self.removed_at = torch.full(shape, -1, dtype=torch.int64, device=device)
        self.steps = torch.zeros((), dtype=torch.int64, device=device)
        self._plateaus = torch.zeros(MOST_PLATEAUS, dtype=torch.int64, device=device)
        self._plateau_places = torch.arange(MOST_PLATEAUS, device=device)
        self._plateau_count = torch.zeros((), dtype=torch.int64, device=device)
        self.columns: tuple[str, ...] = ("step", "removed", "alive", *controller.values())
        self._trace = torch.zeros(MOST_ROWS, len(self.columns), dtype=torch.float64, device=device)
        self._rows = torch.zeros((), dtype=torch.int64, device=device)

    def step(self, shares: Tensor) -> None:
        """Removes, and tells the controller; never waits for the device.

        Args:
            shares: ``shape``, those of the removed entries being 0. Shares that are no numbers remove
                nothing.
        """
        with torch.no_grad():
            shares = shares.detach()
            kept = node_strongest(shares.masked_fill(~self.alive, -1.0), self._edges)
            gone = self.alive & (shares < self._threshold) & ~kept
            self.steps.add_(1)
            self.alive.logical_and_(~gone)
            self.removed_at.copy_(torch.where(gone, self.steps, self.removed_at))
            removed = gone.sum()
            plateau = self._controller.step(removed)
            self._note_plateau(plateau)
            self._note_row(removed)

    def _note_plateau(self, plateau: Tensor) -> None:
        here = plateau & (self._plateau_places == self._plateau_count)
        self._plateaus.copy_(torch.where(here, self.steps, self._plateaus))
        self._plateau_count.add_(plateau)

    def _note_row(self, removed: Tensor) -> None:
        numbers = (self.steps, removed, self.alive.sum(), *self._controller.values().values())
        row = torch.stack([number.to(torch.float64) for number in numbers])
        self._trace.index_copy_(0, (self._rows % MOST_ROWS).view(1), row.view(1, -1))
        self._rows.add_(1)

    def flush(self) -> dict[str, NDArray[np.float64]]:
        """The trace since the last call, one array ``[steps]`` per column; waits for the device.

        Columns: ``step``, ``removed`` in it, ``alive`` after it, then the controller's values after it.
        """
        rows = self._unread().cpu().numpy()
        self._rows.zero_()
        return {name: rows[:, column].copy() for column, name in enumerate(self.columns)}

    def _unread(self) -> Tensor:
        """Rows ``[steps, columns]`` in order, a copy."""
        count = int(self._rows)
        order = torch.arange(max(0, count - MOST_ROWS), count, device=self._trace.device) % MOST_ROWS
        return self._trace[order]

    def plateaus(self) -> tuple[int, ...]:
        """Numbers of the steps that found a plateau, in order; waits for the device."""
        steps: list[int] = self._plateaus[: int(self._plateau_count)].tolist()
        return tuple(steps)

    def alive_after(self, step: int) -> BoolArray:
        """``shape``: what was left after a step (0: before the first one); waits for the device.

        Raises:
            ValueError: A step that has not been done.
        """
        if not 0 <= step <= int(self.steps):
            raise ValueError(f"step {step} of {int(self.steps)} that were done")
        removed_at = self.removed_at.cpu().numpy()
        alive: BoolArray = (removed_at < 0) | (removed_at > step)
        return alive

    def state_dict(self) -> dict[str, Any]:
        """Tensors, those of the controller and of its objective included; waits for the device."""
        return {
            "alive": self.alive.clone(),
            "removed_at": self.removed_at.clone(),
            "steps": self.steps.clone(),
            "plateaus": self._plateaus[: int(self._plateau_count)].clone(),
            "trace": self._unread(),
            "controller": {name: tensor.clone() for name, tensor in self._controller.tensors().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken. Every tensor keeps its place.

        Raises:
            RunError: The state is that of another shrinker.
        """
        own = self._controller.tensors()
        there = state["controller"]
        if (
            state["alive"].shape != self.alive.shape
            or state["trace"].shape[1] != len(self.columns)
            or set(there) != set(own)
        ):
            raise RunError(
                "the checkpoint holds the state of another shrinker; choose another directory, or the"
                " settings with which it was made"
            )
        self.alive.copy_(state["alive"])
        self.removed_at.copy_(state["removed_at"])
        self.steps.copy_(state["steps"])
        for name, tensor in own.items():
            tensor.copy_(there[name])
        _fill(self._plateaus, self._plateau_count, state["plateaus"])
        _fill(self._trace, self._rows, state["trace"])


def _fill(places: Tensor, count: Tensor, values: Tensor) -> None:
    """Writes values into the first places, and how many they are."""
    places[: len(values)].copy_(values)
    count.fill_(len(values))

"""The supernet of a search with its loss and its optimiser, and how it becomes one with fewer operators."""

from __future__ import annotations

from typing import Final, final

import torch
from torch import Tensor
from torch.nn import Parameter

from crlso.protocols import Code
from supernet.distillation import Distilled
from supernet.networks import NetworkFamily
from supernet.networks.free_family import FreeTopologyFamily
from supernet.networks.normalisation import OwnBatch
from supernet.networks.reduced_statistics import ReducedStatistics
from supernet.networks.relaxed import initialise_supernet
from supernet.networks.relaxed.layout import FastSupernet, Layout, divide, merge, prefixed
from supernet.networks.supernet import Supernet
from supernet.objectives import Objective
from supernet.parts import DistillationSettings, SearchSettings
from supernet.processes import Processes
from supernet.relaxation import Relaxation
from supernet.search import optimizers, streams
from supernet.teachers import Teacher
from supernet.update_rules import Problem

_SUPERNET: Final = "supernet."
"""Prefix of its weights where it is part of a :class:`~supernet.distillation.Distilled`."""


@final
class Model:
    """What learns in a search beside the architecture weights.

    Args:
        family: The networks.
        settings: Of the search.
        distillation: What the supernet imitates, if there is a teacher.
        seed: Of the first weights.
        processes: Device, precision, processes.
        alpha: Architecture weights.
        relaxation: From these to shares.
        objective: What is descended.
        teacher: See ``distillation``.
        operators: Code of the operators that the supernet has; ``None``: all.

    Attributes:
        network: The supernet.
        problem: Its losses.
        optimizer: Of all weights that are no architecture weights.
    """

    def __init__(
        self,
        family: NetworkFamily,
        settings: SearchSettings,
        distillation: DistillationSettings,
        *,
        seed: int,
        processes: Processes,
        alpha: Tensor,
        relaxation: Relaxation,
        objective: Objective,
        teacher: Teacher | None,
        operators: Code | None = None,
    ) -> None:
        self._family, self._settings, self._distillation = family, settings, distillation
        self._seed, self._processes, self._alpha = seed, processes, alpha
        self._relaxation, self._objective, self._teacher = relaxation, objective, teacher
        reduced = settings.statistics == "reduced" and processes.count > 1
        statistics = ReducedStatistics() if reduced else OwnBatch()
        if operators is not None and isinstance(family, FreeTopologyFamily):
            self.network: Supernet = family.shrunk(operators, path=settings.path, statistics=statistics)
        else:
            self.network = family.supernet(path=settings.path, statistics=statistics)
        generator = streams.cpu_generator(seed, streams.INITIAL_WEIGHTS)
        initialise_supernet(self.network, generator)
        learns: torch.nn.Module = self.network
        if teacher is not None:
            learns = Distilled(
                self.network,
                teacher,
                family.task,
                stages=distillation.stages,
                ratio=distillation.ratio,
                generator=generator,
            )
        learns.to(device=processes.device, dtype=processes.dtype)
        if settings.channels_last:
            _channels_last(learns)
        self.problem = Problem(
            learns,
            alpha,
            relaxation,
            objective=objective,
            distilled=teacher is not None,
            mean=processes.mean,
            precision=processes.autocast,
            compiler=torch.compile if settings.compile else None,
            reference=settings.path == "reference",
        )
        self.optimizer = optimizers.weights(tuple(self.named().values()), settings)

    def named(self) -> dict[str, Parameter]:
        """Weights by name."""
        return dict(self.problem.network.named_parameters())

    def descend(self, gradients: tuple[Tensor, ...]) -> None:
        """A step of the optimiser."""
        for parameter, gradient in zip(self.problem.parameters, gradients, strict=True):
            # Kernels for all weights at once want gradients to lie in memory as weights do.
            same = gradient.stride() == parameter.stride()
            parameter.grad = gradient if same else torch.empty_like(parameter).copy_(gradient)
        if self._settings.clip:
            torch.nn.utils.clip_grad_norm_(self.problem.parameters, self._settings.clip, foreach=True)
        self.optimizer.step()

    def of(self, operators: Code) -> Model:
        """One with other operators, and first weights."""
        return Model(
            self._family,
            self._settings,
            self._distillation,
            seed=self._seed,
            processes=self._processes,
            alpha=self._alpha,
            relaxation=self._relaxation,
            objective=self._objective,
            teacher=self._teacher,
            operators=operators,
        )

    def shrunk(self, operators: Code) -> Model:
        """One with some of the operators, with their weights and what the optimiser remembers of them."""
        smaller = self.of(operators)
        for old, new in zip(self.optimizer.param_groups, smaller.optimizer.param_groups, strict=True):
            new["lr"] = old["lr"]
        with torch.no_grad():
            named = smaller.named()
            for name, value in self._moved(self.named(), smaller).items():
                named[name].copy_(value)
        states: dict[str, dict[str, Tensor]] = {}
        for name, weight in self.named().items():
            for key, value in self.optimizer.state.get(weight, {}).items():
                if value is not None:
                    states.setdefault(key, {})[name] = value
        for key, values in states.items():
            counts = next(iter(values.values())).dim() == 0  # of steps, the same for all weights
            moved = {name: values[name] for name in named} if counts else self._moved(values, smaller)
            for name, value in moved.items():
                kept = value.clone() if counts else torch.empty_like(named[name]).copy_(value)
                smaller.optimizer.state[named[name]][key] = kept
        return smaller

    def _moved(self, tensors: dict[str, Parameter] | dict[str, Tensor], to: Model) -> dict[str, Tensor]:
        """Tensors of the shapes of the own weights, as another one with fewer operators has them."""
        return merge(to._layout(), divide(self._layout(), tensors))

    def _layout(self) -> Layout:
        """What the weights are stacks of."""
        own = tuple(self.named())
        if not isinstance(self.network, FastSupernet):
            return {name: name for name in own}
        if self._teacher is None:
            return self.network.layout()
        inside = prefixed(self.network.layout(), _SUPERNET)
        return {name: inside.get(name, name) for name in own}


def _channels_last(network: torch.nn.Module) -> None:
    """Weights of convolutions with their channels next to each other in memory."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

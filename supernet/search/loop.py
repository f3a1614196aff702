"""The loop of a supernet search: steps, epochs, a state to go on from at any step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import RunError, UserError
from crlso.protocols import BoolArray, Code
from supernet.data.augmentation import rows_of
from supernet.data.augmentations import named
from supernet.data.resident import Resident
from supernet.data.splits import Splits
from supernet.measuring import SHARED_BATCH, measure
from supernet.networks import NetworkFamily
from supernet.networks.free_family import FreeTopologyFamily
from supernet.networks.supernet import Supernet
from supernet.objectives import sparsity
from supernet.processes import Processes
from supernet.recipe import Recipe
from supernet.relaxation import Gumbel, Masked, Softmax, entropy, node_entropy
from supernet.search import optimizers, streams
from supernet.search.clock import Clock
from supernet.search.collapse import Guard, judge
from supernet.search.model import Model
from supernet.search.record import EpochRecord
from supernet.search.replay import Replayed
from supernet.search.shrinking import Shrinking
from supernet.search.state import STATE_FORMAT, check_same, check_shapes
from supernet.teachers import Teacher, load_teacher
from supernet.update_rules import Batch, virtual_step


@final
class Search:
    """One search with a supernet.

    In every step the architecture weights follow a batch of the validation part, the shared weights one of
    the training part, in the way of the recipe's update rule. Everything that is drawn depends on the seed
    and the place (epoch, step) alone; with :meth:`state_dict` a search goes on bit for bit from any step.
    Nothing in a step waits for the device.

    Departures from the released code: an epoch is made of whole batches only, what is left over differs from
    epoch to epoch; with several processes all draw the same numbers and take their share of each batch.

    Args:
        family: The space's networks.
        splits: The data; ``train`` teaches the weights, ``valid`` the architecture, ``test`` is not used.
        recipe: The method.
        seed: Of everything that is drawn.
        processes: Device, precision, processes.

    Raises:
        UserError: Data that is too small for a batch, or a batch that can not be shared out.
    """

    def __init__(
        self, family: NetworkFamily, splits: Splits, recipe: Recipe, *, seed: int, processes: Processes
    ) -> None:
        settings = recipe.search
        if seed < 0:
            raise UserError(f"a seed must be 0 or more, got {seed}")
        self.family = family
        self.recipe = recipe
        self.settings = settings
        self.seed = seed
        self.processes = processes
        self._rows = processes.rows(settings.batch)
        self.steps = len(splits.train) // settings.batch
        if self.steps < 1 or len(splits.valid) < settings.batch:
            raise UserError(
                f"a batch of {settings.batch} images is more than the data has: {splits.describe()}"
            )
        device = processes.device
        self._train, self._valid = (
            Resident(part, splits, device, dtype=processes.dtype) for part in (splits.train, splits.valid)
        )
        self._augmentation = named(settings.augmentation)
        self._rule = recipe.update.build()
        self._build_architecture()
        taught = recipe.distillation.teacher
        self._taught_by = ""
        if recipe.distillation.needed and not taught:
            raise UserError(
                f"recipe {recipe.name} needs a teacher: set distillation.teacher to a directory of `crlso"
                " supernet train`, or to a YAML file"
            )
        self._model = Model(
            family,
            settings,
            recipe.distillation,
            seed=seed,
            processes=processes,
            alpha=self.alpha,
            relaxation=self.relaxation,
            objective=self._objective,
            teacher=self._teacher(splits) if taught else None,
            operators=None if self.shrinking is None else self.shrinking.operators,
        )
        self._forget_graphs()
        self._generator = torch.Generator(device)
        stops = ("skips", "eigenvalue") if settings.guard == "stop" else ()
        self._guard = Guard(skips=settings.skip_limit, stop=(*stops, "size") if settings.size_stop else stops)
        self.epoch = 0
        self.step = 0
        self.stopped = False
        self.records: list[EpochRecord] = []
        self.history: list[NDArray[np.float32]] = [self._strengths_now()]
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        """Of the epoch so far: training loss, training accuracy, and 1 + the first step that went wrong."""
        self._clock = Clock()

    def _teacher(self, splits: Splits) -> Teacher:
        """What the supernet imitates, prepared for these images."""
        teacher = load_teacher(self.recipe.distillation.teacher)
        self._taught_by = teacher.digest()
        prepared = teacher.seeing(self.family.task, splits.mean, splits.deviation)
        return prepared.to(device=self.processes.device, dtype=self.processes.dtype)

    def _build_architecture(self) -> None:
        """Architecture weights and what is done with them."""
        recipe, family = self.recipe, self.family
        settings, device, dtype = self.settings, self.processes.device, self.processes.dtype
        shape = (len(family.kinds), len(family.edges), len(family.operations))
        drawn = torch.randn(shape, generator=streams.cpu_generator(self.seed, streams.ARCHITECTURE))
        start = settings.architecture_start + settings.architecture_scale * drawn
        self.alpha = torch.nn.Parameter(start.to(device=device, dtype=dtype))
        self._architecture = optimizers.architecture(self.alpha, settings)
        self.relaxation = recipe.relaxation.build(family.edges, device)
        self._objective = recipe.objective.build(family.edges, device)
        self.shrinking: Shrinking | None = None
        if recipe.relaxation.per_node != isinstance(family, FreeTopologyFamily):
            raise UserError(
                f"relaxation.kind={recipe.relaxation.kind} does not fit the space {family.space.name!r}: free"
                " topologies have node_softmax or node_relu, all others softmax, gumbel or gdas"
            )
        if isinstance(family, FreeTopologyFamily) and recipe.shrinking.kind != "none":
            self.shrinking = Shrinking(family, recipe.shrinking, self._objective, device)
            self.relaxation = Masked(self.relaxation, self.shrinking.shrinker.alive)

    def _forget_graphs(self) -> None:
        """What was recorded reads and writes the tensors that there were then."""
        replays = self.settings.cuda_graph and self.alpha.is_cuda and self.processes.count == 1
        self._replayed = Replayed(self._update) if replays else None
        self._replayed_logits = Replayed(lambda *given: (self.network(*given),)) if replays else None

    @property
    def network(self) -> Supernet:
        """The supernet, with the operators that it still computes."""
        return self._model.network

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the guard ended the search."""
        return self.stopped or self.epoch >= self.settings.epochs

    @property
    def valid_images(self) -> int:
        """Size of the validation part."""
        return len(self._valid)

    @property
    def strengths(self) -> Tensor:
        """Softmax of the architecture weights ``[kinds, edges, operations]``, by which one derives.

        These are the shares of a softmax relaxation. Those of GDAS are 0 and 1: by them all edges of a node
        would be as strong as one another. Of a relaxation per node, its own shares.
        """
        if self.recipe.relaxation.per_node:
            return self.shares
        with torch.no_grad():
            return Softmax().shares(self.alpha, None)

    @property
    def shares(self) -> Tensor:
        """Present shares ``[kinds, edges, operations]`` without noise, on the device."""
        with torch.no_grad():
            return self.relaxation.shares(self.alpha, None)

    def run_epoch(self) -> EpochRecord:
        """The rest of the present epoch, and its record.

        Raises:
            RunError: A loss was not a finite number.
        """
        while self.step < self.steps:
            self.run_step()
        return self.end_epoch()

    def run_step(self) -> None:
        """One step; the device may still be at work when this returns."""
        if self.step == 0:
            self._begin_epoch()
        self._generator.manual_seed(streams.seed_of(self.seed, streams.STEP, self.epoch, self.step))
        here = slice(self.step * self.settings.batch, (self.step + 1) * self.settings.batch)
        train = self._batch(self._train, self._train_order[here])
        valid = self._batch(self._valid, self._valid_order[here])
        self._model.problem.draw(self._generator, self._rule)
        inputs = (train.images, train.labels, valid.images, valid.labels, *self._model.problem.drawn())
        if self._replayed is None:
            loss, accuracy = self._update(*inputs)
        else:
            # All that is a number and no tensor (learning rate, temperature) changes with the epoch only.
            loss, accuracy = self._replayed(*inputs, key=self.epoch)
        wrong = (self.sums[2] == 0) & ~torch.isfinite(loss)
        self.sums[0] += loss
        self.sums[1] += accuracy
        self.sums[2] += wrong * (self.step + 1)
        self.step += 1
        searching = self.epoch >= self.settings.warmup_epochs
        if self.shrinking is not None and searching and self.shrinking.counted():
            self._look()

    def _update(
        self, images: Tensor, labels: Tensor, valid_images: Tensor, valid_labels: Tensor, *drawn: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Changes architecture weights and weights; loss and accuracy of the training batch."""
        train, valid = Batch(images, labels), Batch(valid_images, valid_labels)
        self._model.problem.take(drawn)
        weights, loss, accuracy = None, None, None
        if self.epoch >= self.settings.warmup_epochs:
            virtual = None
            if self._rule.needs_virtual:
                assert isinstance(self._model.optimizer, torch.optim.SGD)  # the recipe sees to it
                virtual = virtual_step(self._model.optimizer, self._model.problem.parameters)
            found = self._rule.gradients(self._model.problem, train, valid, virtual)
            self.alpha.grad = found.alpha
            if self.settings.architecture_clip:
                torch.nn.utils.clip_grad_norm_([self.alpha], self.settings.architecture_clip)
            self._architecture.step()
            if self.shrinking is not None:
                self.shrinking.step(self.shares)
            weights, loss, accuracy = found.weights, found.train_loss, found.train_accuracy
        if weights is None:
            seen = self._model.problem.backward(train, "weights")
            weights, loss, accuracy = seen.weights, seen.loss, seen.accuracy
        assert weights is not None
        assert loss is not None
        assert accuracy is not None
        self._model.descend(weights)
        return loss, accuracy

    def _look(self) -> None:
        """Waits for the device: architectures that were passed are noted, removed operators left out."""
        assert self.shrinking is not None
        left = self.shrinking.look(self._measure_some)
        if left is not None:
            self.shrinking.operators = left
            self._model = self._model.shrunk(left)
            self._forget_graphs()

    def _measure_some(self, alive: BoolArray) -> tuple[float, float]:
        """Loss and accuracy of the supernet with some of the operators that it has."""
        some = Masked(self.recipe.relaxation.build(self.family.edges), torch.from_numpy(alive))
        with torch.no_grad():
            mixing = some.shares(self.alpha.cpu(), None)
        return self.measure(mixing.to(self.processes.device))

    def _begin_epoch(self) -> None:
        rate = self.settings.learning_rate_at(self.epoch)
        for group in self._model.optimizer.param_groups:
            group["lr"] = rate
        if self.shrinking is not None and self.epoch == self.settings.warmup_epochs:
            self.shrinking.start()
        self._prepare_epoch()

    def _prepare_epoch(self) -> None:
        """What an epoch needs and no state holds."""
        wanted = self.steps * self.settings.batch
        device = self.processes.device
        self._train_order = streams.order(
            len(self._train), wanted, self.seed, streams.TRAIN_ORDER, self.epoch
        ).to(device)
        self._valid_order = streams.order(
            len(self._valid), wanted, self.seed, streams.VALID_ORDER, self.epoch
        ).to(device)
        self._anneal(self.epoch)

    def _anneal(self, epoch: int) -> None:
        if isinstance(self.relaxation, Gumbel):
            self.relaxation.anneal(self.recipe.relaxation.temperature_at(epoch, self.settings.epochs))

    def _batch(self, part: Resident, rows: Tensor) -> Batch:
        """This process' share of a batch; random numbers are drawn for all of it."""
        noise = self._augmentation.draw(len(rows), part.size, self._generator)
        own = self._rows
        return Batch(*part.batch(rows[own], self._augmentation, rows_of(noise, own.start, own.stop)))

    def end_epoch(self) -> EpochRecord:
        """Measures the supernet and goes to the next epoch.

        Raises:
            RunError: A loss was not a finite number.
        """
        self.check_finite()
        if self.shrinking is not None and self.epoch >= self.settings.warmup_epochs:
            self._look()
        loss, accuracy = (float(value) / self.steps for value in self.sums[:2])
        valid_loss, valid_accuracy = self.measure(self.shares)
        code = self.derived()
        seconds, cpu_seconds = self._clock.lap()
        strengths = self.strengths
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=loss,
            train_accuracy=100.0 * accuracy,
            valid_loss=valid_loss,
            valid_accuracy=valid_accuracy,
            entropy=tuple(self._entropy(strengths).mean(dim=1).tolist()),
            skips=self.family.skips(code),
            convolutions=self.family.convolutions(code),
            architecture=self.family.space.format(code),
            eigenvalue=self._eigenvalue(),
            learning_rate=self.settings.learning_rate_at(self.epoch),
            cpu_seconds=cpu_seconds,
            seconds=seconds,
            operators=None if self.shrinking is None else self.shrinking.left,
        )
        verdict = judge([*self.records, record], self._guard)
        if self.settings.guard != "off":
            record = replace(record, warnings=verdict.warnings)
        self.stopped = verdict.stop
        if self.shrinking is not None:
            self.stopped |= self.shrinking.sparse_enough(float(sparsity(strengths)))
        self.records.append(record)
        self.history.append(self._strengths_now())
        self.epoch += 1
        self.step = 0
        self.sums.zero_()
        if self.finished and self.shrinking is not None:
            self.shrinking.end(self._measure_some)
        return record

    def _entropy(self, shares: Tensor) -> Tensor:
        """``[kinds, edges]``, or of shares per node ``[kinds, nodes]``."""
        if self.recipe.relaxation.per_node:
            return node_entropy(shares, self.family.edges)
        return entropy(shares)

    def check_finite(self) -> None:
        """Waits for the device and looks whether a loss went wrong.

        Raises:
            RunError: It did; the message says where.
        """
        wrong = int(self.sums[2])
        if wrong:
            raise RunError(
                f"the training loss is no finite number in epoch {self.epoch + 1}, step {wrong} of"
                f" {self.steps}"
                f" (seed {self.seed}); lower learning_rate (now {self.settings.learning_rate}) or"
                f" architecture_learning_rate (now {self.settings.architecture_learning_rate})"
            )

    def derived(self) -> Code:
        """The code that the present shares stand for, by the space's published rule."""
        return self.family.strongest(self.strengths)

    def finetune(self, mixing: Tensor, *, steps: int, place: int) -> None:
        """Steps in which the weights alone learn, with given shares; for derivations that take decisions.

        Args:
            mixing: Shares ``[kinds, edges, operations]``.
            steps: How many.
            place: Number of the decision, from 0: what is drawn depends on it.
        """
        rate = self.settings.final_learning_rate or self.settings.learning_rate
        for group in self._model.optimizer.param_groups:
            group["lr"] = rate
        wanted = steps * self.settings.batch
        order = streams.order(len(self._train), wanted, self.seed, streams.DERIVATION, place)
        order = order.to(self.processes.device)
        self._generator.manual_seed(streams.seed_of(self.seed, streams.DERIVATION, place))
        for rows in torch.split(order, self.settings.batch):
            batch = self._batch(self._train, rows)
            with self.processes.autocast():
                logits = self.network(batch.images, mixing)
            loss = torch.nn.functional.cross_entropy(logits.to(mixing.dtype), batch.labels)
            gradients = torch.autograd.grad(
                loss, self._model.problem.parameters, allow_unused=True, materialize_grads=True
            )
            self._model.descend(tuple(self.processes.mean(gradients)))

    def measure(self, mixing: Tensor) -> tuple[float, float]:
        """Loss in nats and accuracy in % of the whole validation part with given shares.

        In a search on several processes every one does all of it, and they agree.
        """
        return measure(
            lambda images: self._logits(images, mixing),
            self._valid,
            batch=SHARED_BATCH,
            shuffled=True,
            precision=self.processes.autocast,
        )

    def _logits(self, images: Tensor, mixing: Tensor) -> Tensor:
        if self._replayed_logits is None:
            logits: Tensor = self.network(images, mixing)
            return logits
        return self._replayed_logits(images, mixing, key=len(images))[0]

    def _eigenvalue(self) -> float | None:
        every = self.settings.curvature_every
        if not every or (self.epoch + 1) % every:
            return None
        from supernet.curvature import dominant_eigenvalue

        rows = self._valid_order[: self.settings.batch]
        batch = Batch(*self._valid.batch(rows))
        generator = streams.cpu_generator(self.seed, streams.CURVATURE, self.epoch)
        value = float(dominant_eigenvalue(self._model.problem, batch, generator=generator))
        return value if math.isfinite(value) else None

    def _strengths_now(self) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.strengths.float().cpu().numpy()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors; waits for the device."""
        return {
            "format": STATE_FORMAT,
            "search": self._described(),
            "weights": {name: value.detach() for name, value in self._model.named().items()},
            "alpha": self.alpha.detach(),
            "objective": dict(self._objective.tensors()),
            "shrinking": None if self.shrinking is None else self.shrinking.state_dict(),
            "weights_optimizer": self._model.optimizer.state_dict(),
            "architecture_optimizer": self._architecture.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "stopped": self.stopped,
            "sums": self.sums,
            "records": [record.to_dict() for record in self.records],
            "history": np.stack(self.history),
            "clock": self._clock.state(),
        }

    def _described(self) -> dict[str, str]:
        """What makes a search the one that it is, in words."""
        parts = {
            f"{part}.{key}": str(value)
            for part, values in self.recipe.to_dict().items()
            if isinstance(values, dict)
            for key, value in values.items()
        }
        own = {"space": self.family.space.name, "network": self.family.describe(), "seed": str(self.seed)}
        return {"recipe": self.recipe.name, **own, **parts, "teacher": self._taught_by}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken.

        Raises:
            RunError: The state is of another search (recipe, network, seed), or of another format.
        """
        check_same(state, self._described())
        if self.shrinking is not None:
            self.shrinking.load_state_dict(state["shrinking"])
            self._model = self._model.of(self.shrinking.operators)
        own = self._model.named()
        check_shapes(state, own, self.alpha)
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state["weights"][name])
            self.alpha.copy_(state["alpha"])
            for name, number in self._objective.tensors().items():
                number.copy_(state["objective"][name])
        for optimizer, key in (
            (self._model.optimizer, "weights_optimizer"),
            (self._architecture, "architecture_optimizer"),
        ):
            optimizer.load_state_dict(state[key])
            optimizers.on_device(optimizer, cuda=self.alpha.is_cuda)
        self._forget_graphs()
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        self.stopped = bool(state["stopped"])
        self.sums.copy_(state["sums"])
        self.records = [EpochRecord.from_dict(record) for record in state["records"]]
        self.history = list(state["history"])
        self._clock = Clock(*state["clock"])
        if self.step:
            self._prepare_epoch()
        elif self.epoch:
            self._anneal(self.epoch - 1)  # as the epoch that ended left it

"""The parts of a method as settings: which one, and its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from crlso.errors import UserError

if TYPE_CHECKING:
    import torch

    from crlso.protocols import SearchSpace
    from supernet.objectives import Objective
    from supernet.relaxation import Relaxation
    from supernet.shrinking import Controller
    from supernet.update_rules import UpdateRule

MOST_EPOCHS: Final = 100_000
MOST_BATCH: Final = 1_000_000


@dataclass(frozen=True)
class SpaceSettings:
    """Where a method searches unless it is told otherwise.

    Attributes:
        name: Of a space; ``fxdarts``: free topologies, with as many cells as the networks have.
        operations: Of free topologies; by default those of the space ``fxdarts``.
    """

    name: str = "darts"
    operations: tuple[str, ...] = ()

    def build(self, cells: int) -> SearchSpace:
        """The space; ``cells`` counts for free topologies.

        Raises:
            UserError: An unknown space or operation, or operations of another space than free topologies.
        """
        from crlso.spaces import FreeTopologySpace, get_space

        built_in = get_space(self.name)
        if not isinstance(built_in, FreeTopologySpace):
            if self.operations:
                raise UserError(
                    f"space.operations can be chosen for free topologies (space.name fxdarts), not for"
                    f" {self.name}"
                )
            return built_in
        operations = self.operations or built_in.operations
        name = f"{self.name}_{cells}x{len(operations)}"
        own = FreeTopologySpace(name, cells=cells, nodes=4, operations=operations)
        same = own.cardinalities == built_in.cardinalities and own.operations == built_in.operations
        return built_in if same else own


@dataclass(frozen=True)
class RelaxationSettings:
    """From architecture weights to shares.

    Attributes:
        kind: Of each edge: ``softmax``, ``gumbel`` (softmax of noisy weights) or ``gdas`` (one operation at a
            time). Of each node, over all that enters it: ``node_softmax``, ``node_relu`` (SNPS).
        temperature: Of the noisy ones in the first epoch.
        final_temperature: In the last epoch; in between it changes linearly.
    """

    kind: Literal["softmax", "gumbel", "gdas", "node_softmax", "node_relu"] = "softmax"
    temperature: float = 10.0
    final_temperature: float = 0.1

    def __post_init__(self) -> None:
        _positive("relaxation", temperature=self.temperature, final_temperature=self.final_temperature)

    @property
    def per_node(self) -> bool:
        """Whether the shares of a node's operators add up to 1, not those of an edge's."""
        return self.kind in ("node_softmax", "node_relu")

    def build(self, edges: Sequence[tuple[int, int]] = (), device: torch.device | str = "cpu") -> Relaxation:
        """The part, for architecture weights of a cell with these edges, on this device."""
        from supernet.relaxation import Gumbel, NodeReLU, NodeSoftmax, Softmax

        match self.kind:
            case "softmax":
                return Softmax()
            case "node_softmax":
                return NodeSoftmax(edges)
            case "node_relu":
                return NodeReLU(edges)
            case _:
                return Gumbel(self.temperature, hard=self.kind == "gdas", device=device)

    def temperature_at(self, epoch: int, epochs: int) -> float:
        """Of an epoch, counted from 0."""
        share = epoch / max(1, epochs - 1)
        return self.temperature + share * (self.final_temperature - self.temperature)


@dataclass(frozen=True)
class UpdateSettings:
    """The update rule.

    Attributes:
        kind: Which one, see :mod:`supernet.update_rules`.
        radius: Of the second-order finite difference: the step is ``radius / |v|``.
        mixing: Weight of the validation loss in a mixed-level rule (lambda).
        copies: Perturbed architectures per step of the neighbourhood's rule.
        strength: Part of an edge's shares that such a perturbation moves onto one operation.
        aggregate: Over the copies: their ``mean`` loss, or that of the ``worst``.
    """

    kind: Literal[
        "single_level",
        "first_order",
        "second_order",
        "second_order_exact",
        "mixed_level",
        "neighbourhood",
    ] = "first_order"
    radius: float = 0.01
    mixing: float = 1.0
    copies: int = 4
    strength: float = 0.5
    aggregate: Literal["mean", "worst"] = "mean"

    def __post_init__(self) -> None:
        _positive("update", radius=self.radius)
        if not 1 <= self.copies <= 100:
            raise UserError(f"update.copies must lie between 1 and 100, got {self.copies}")
        if not 0 <= self.strength <= 1:
            raise UserError(f"update.strength must lie in [0, 1], got {self.strength}")
        if not (math.isfinite(self.mixing) and self.mixing >= 0):
            raise UserError(f"update.mixing must be 0 or more, got {self.mixing}")

    def build(self) -> UpdateRule:
        """The part."""
        from supernet import update_rules as rules

        match self.kind:
            case "single_level":
                return rules.SingleLevel()
            case "first_order":
                return rules.FirstOrder()
            case "second_order":
                return rules.SecondOrder(self.radius)
            case "second_order_exact":
                return rules.SecondOrderExact()
            case "mixed_level":
                return rules.MixedLevel(self.mixing)
            case "neighbourhood":
                return rules.NeighbourhoodAveraged(self.copies, self.strength, self.aggregate)


@dataclass(frozen=True)
class ObjectiveSettings:
    """What the architecture is asked for beside a small loss.

    Attributes:
        kind: ``plain``: nothing; ``log_sum``: few operators by the sum of log(1 + 50 share) (SNPS);
            ``node_entropy``: few by the entropy of each node's shares (ESS).
        weight: Of that term at the start (gamma of SNPS, lambda of ESS).
        margin: What SNPS adds to the loss that its term is weighted with (mu), at the start.
    """

    kind: Literal["plain", "log_sum", "node_entropy"] = "plain"
    weight: float = 1e-4
    margin: float = 0.1

    def __post_init__(self) -> None:
        _positive("objective", weight=self.weight)
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise UserError(f"objective.margin must be 0 or more, got {self.margin}")

    def build(self, edges: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> Objective:
        """The part, for shares of a cell with these edges, its weights on this device."""
        from supernet.objectives import LogSum, NodeEntropy, Plain

        match self.kind:
            case "plain":
                return Plain()
            case "log_sum":
                return LogSum(self.weight, self.margin, device=device)
            case "node_entropy":
                return NodeEntropy(edges, self.weight, device=device)


@dataclass(frozen=True)
class ShrinkingSettings:
    """How a supernet loses its operators; the defaults are those of SNPS on CIFAR-10.

    Attributes:
        kind: ``none``, or what steers the weight of the objective: ``snps`` (SNPS), ``ess`` (ESS,
            reconstruction).
        threshold: An operator whose share of its node falls below goes for good.
        target: Operators that are to go per step.
        smoothing: Of the rate at which they go: weight of the past in its moving average.
        up: Factor of the objective's weight while they go too slowly.
        down: Factor while they go fast enough.
        most: Weight of the objective at which slow steps begin to count.
        patience: Slow steps in a row that make a plateau: an architecture is noted.
        growth: Factor at a plateau: of SNPS' margin (rho), of the bound ``most`` of ESS.
        target_growth: Factor of the target at a plateau (SNPS, xi).
        every: Steps between two physical removals; in between shares of 0 do the work.
        stop_operators: The search ends with the epoch in which the operators per node fall to this mean; 0:
            not because of that.
        stop_sparsity: Likewise for the sparsity term, per node (published: 250 for 8 cells of 4 nodes, 7.8).
        ladder: Numbers of operators, in even ratios, at which an architecture is noted too.
        verify_epochs: Of trainings from scratch that tell which of the noted architectures are
            non-dominated; 0: none, the shrunk supernet's accuracy when they were noted tells it.
    """

    kind: Literal["none", "snps", "ess"] = "none"
    threshold: float = 0.01
    target: float = 0.005
    smoothing: float = 0.9
    up: float = 1.01
    down: float = 0.99
    most: float = 0.1
    patience: int = 50
    growth: float = 1.5
    target_growth: float = 1.0
    every: int = 100
    stop_operators: float = 0.0
    stop_sparsity: float = 0.0
    ladder: int = 16
    verify_epochs: int = 0

    def __post_init__(self) -> None:
        _positive(
            "shrinking",
            threshold=self.threshold,
            target=self.target,
            up=self.up,
            down=self.down,
            most=self.most,
            growth=self.growth,
            target_growth=self.target_growth,
        )
        if not 0 <= self.smoothing < 1:
            raise UserError(f"shrinking.smoothing must lie in [0, 1), got {self.smoothing}")
        for name, least in (("patience", 1), ("every", 1), ("ladder", 0), ("verify_epochs", 0)):
            if getattr(self, name) < least:
                raise UserError(f"shrinking.{name} must be {least} or more, got {getattr(self, name)}")
        if self.up < 1:
            raise UserError(f"shrinking.up must be 1 or more, got {self.up}")
        if self.down > 1:
            raise UserError(f"shrinking.down must be 1 or less, got {self.down}")
        _not_negative("shrinking.", stop_operators=self.stop_operators, stop_sparsity=self.stop_sparsity)

    def build(self, objective: Objective) -> Controller:
        """What steers the objective's weights."""
        from supernet.objectives import LogSum, NodeEntropy
        from supernet.shrinking import ESSController, Pace, SNPSController

        pace = Pace(self.most, self.target, self.smoothing, self.up, self.down, self.patience)
        if isinstance(objective, LogSum):
            return SNPSController(objective, pace, mu_factor=self.growth, target_factor=self.target_growth)
        assert isinstance(objective, NodeEntropy)  # the recipe sees to it
        return ESSController(objective, pace, growth=self.growth)


@dataclass(frozen=True)
class DistillationSettings:
    """A teacher whose feature maps the supernet imitates while it learns.

    Attributes:
        teacher: A directory of ``crlso supernet train`` or a YAML file; empty: none.
        needed: Whether the method is none without a teacher.
        ratio: Weight of the imitation beside the cross-entropy.
        stages: Weights of the stages, from the first to the last.
    """

    teacher: str = ""
    needed: bool = False
    ratio: float = 1.0
    stages: tuple[float, ...] = (0.2, 0.3, 0.5)

    def __post_init__(self) -> None:
        _positive("distillation", ratio=self.ratio)
        fine = all(math.isfinite(weight) and weight >= 0 for weight in self.stages)
        if not fine or not sum(self.stages) > 0:
            raise UserError(f"distillation.stages must be weights of 0 or more, not all 0, got {self.stages}")


@dataclass(frozen=True)
class DerivationSettings:
    """From the trained supernet to one architecture.

    Attributes:
        kind: ``strongest``: by the size of the shares, the space's published rule; ``perturbation``: by what
            the supernet's validation accuracy loses without an operation (DARTS-PT).
        finetune_steps: Steps in which the weights settle after each decision of the latter.
    """

    kind: Literal["strongest", "perturbation"] = "strongest"
    finetune_steps: int = 20

    def __post_init__(self) -> None:
        if self.finetune_steps < 0:
            raise UserError(f"derivation.finetune_steps must be 0 or more, got {self.finetune_steps}")


@dataclass(frozen=True)
class SearchSettings:
    """Numbers of a search; the defaults are those that DARTS publishes for CIFAR-10 (appendix A.1.1).

    Attributes:
        epochs: Passes over the training part.
        batch: Images of each part in a step, over all processes.
        optimizer: Of the weights: ``sgd``, or ``adam`` (SNPS).
        learning_rate: Of the weights in the first epoch.
        final_learning_rate: In the last, along a cosine (paper: 0; released code: 0.001).
        momentum: Of SGD.
        betas: Decay rates of Adam, two numbers.
        weight_decay: L2 penalty on the weights.
        clip: Largest norm of the weights' gradient; 0: any.
        architecture_optimizer: Of the architecture weights: ``adam``, or ``sgd`` (SNPS).
        architecture_learning_rate: Of the architecture weights.
        architecture_betas: Decay rates of Adam, two numbers; of SGD the first is the momentum.
        architecture_clip: Largest norm of the architecture weights' gradient; 0: any.
        architecture_weight_decay: L2 penalty on the architecture weights.
        architecture_start: Mean of the first architecture weights (SNPS: 2).
        architecture_scale: Their standard deviation (released code of DARTS: 0.001; paper: zeros).
        warmup_epochs: First epochs in which only the weights learn.
        augmentation: Of both parts, as in the released code; names as of :mod:`supernet.data.augmentation`.
        curvature_every: Epochs between two measurements of the Hessian's dominant eigenvalue; 0: never.
        guard: What happens when the search collapses: nothing, a warning, or the end of the search.
        skip_limit: Skip connections in the normal cell that count as a collapse when exceeded.
        size_stop: Stop when the normal cell has 6 convolutions and the reduction cell none (MiLeNAS).
        path: How the supernet computes: merged (``fast``), or one operation at a time (``reference``) with
            all the work that the published implementation does.
        channels_last: Memory layout of images and weights.
        cuda_graph: Start every step as one CUDA graph instead of kernel by kernel; on other devices, and with
            several processes, it changes nothing.
        compile: Translate the supernet with ``torch.compile``.
        precision: Of weights and computation.
        statistics: Normalisation over the images of a process (``own``) or of all (``reduced``).
        threads: Of a CPU; figures depend on their number in the last digits.
    """

    epochs: int = 50
    batch: int = 64
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.025
    final_learning_rate: float = 0.001
    momentum: float = 0.9
    betas: tuple[float, ...] = (0.5, 0.999)
    weight_decay: float = 3e-4
    clip: float = 5.0
    architecture_optimizer: Literal["adam", "sgd"] = "adam"
    architecture_learning_rate: float = 3e-4
    architecture_betas: tuple[float, ...] = (0.5, 0.999)
    architecture_weight_decay: float = 1e-3
    architecture_clip: float = 0.0
    architecture_start: float = 0.0
    architecture_scale: float = 1e-3
    warmup_epochs: int = 0
    augmentation: str = "crop_flip"
    curvature_every: int = 0
    guard: Literal["off", "warn", "stop"] = "warn"
    skip_limit: int = 2
    size_stop: bool = False
    path: Literal["fast", "reference"] = "fast"
    channels_last: bool = True
    cuda_graph: bool = True
    compile: bool = False
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"
    statistics: Literal["own", "reduced"] = "own"
    threads: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.epochs <= MOST_EPOCHS:
            raise UserError(f"epochs must lie between 1 and {MOST_EPOCHS:,}, got {self.epochs}")
        if self.threads < 1:
            raise UserError(f"threads must be 1 or more, got {self.threads}")
        if not 2 <= self.batch <= MOST_BATCH:
            raise UserError(f"batch must lie between 2 and {MOST_BATCH:,}, got {self.batch}")
        _positive(
            "search",
            learning_rate=self.learning_rate,
            architecture_learning_rate=self.architecture_learning_rate,
        )
        _not_negative(
            "",
            final_learning_rate=self.final_learning_rate,
            weight_decay=self.weight_decay,
            clip=self.clip,
            architecture_weight_decay=self.architecture_weight_decay,
            architecture_clip=self.architecture_clip,
            architecture_scale=self.architecture_scale,
            warmup_epochs=self.warmup_epochs,
            curvature_every=self.curvature_every,
            skip_limit=self.skip_limit,
        )
        if not math.isfinite(self.architecture_start):
            raise UserError(f"architecture_start must be a number, got {self.architecture_start}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must lie in [0, 1), got {self.momentum}")
        for name, betas in (("betas", self.betas), ("architecture_betas", self.architecture_betas)):
            if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
                raise UserError(f"{name} must be two numbers in [0, 1), got {betas}")
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"warmup_epochs ({self.warmup_epochs}) must be fewer than epochs ({self.epochs}):"
                " nothing would be searched"
            )

    def learning_rate_at(self, epoch: int) -> float:
        """Of an epoch, counted from 0: along a cosine."""
        share = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        return self.final_learning_rate + share * (self.learning_rate - self.final_learning_rate)


def _positive(part: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{part}.{name} must be a positive number, got {value}")


def _not_negative(prefix: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"{prefix}{name} must be 0 or more, got {value}")

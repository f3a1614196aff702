"""A method is a recipe: relaxation, update rule, derivation and their numbers, from a YAML file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml

from crlso.errors import UnknownNameError, UserError
from crlso.runs.files import disk_errors
from crlso.settings import fill_settings

if TYPE_CHECKING:
    import torch

    from supernet.relaxation import Relaxation
    from supernet.update_rules import UpdateRule

MOST_EPOCHS: Final = 100_000
MOST_BATCH: Final = 1_000_000


@dataclass(frozen=True)
class RelaxationSettings:
    """From architecture weights to shares.

    Attributes:
        kind: ``softmax``, ``gumbel`` (softmax of noisy weights) or ``gdas`` (one operation at a time).
        temperature: Of the noisy ones in the first epoch.
        final_temperature: In the last epoch; in between it changes linearly.
    """

    kind: Literal["softmax", "gumbel", "gdas"] = "softmax"
    temperature: float = 10.0
    final_temperature: float = 0.1

    def __post_init__(self) -> None:
        _positive("relaxation", temperature=self.temperature, final_temperature=self.final_temperature)

    def build(self, device: torch.device | str = "cpu") -> Relaxation:
        """The part, for architecture weights on this device."""
        from supernet.relaxation import Gumbel, Softmax

        if self.kind == "softmax":
            return Softmax()
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
    """

    kind: Literal["single_level", "first_order", "second_order", "second_order_exact", "mixed_level"] = (
        "first_order"
    )
    radius: float = 0.01
    mixing: float = 1.0

    def __post_init__(self) -> None:
        _positive("update", radius=self.radius)
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
        learning_rate: Of the weights' SGD in the first epoch.
        final_learning_rate: In the last, along a cosine (paper: 0; released code: 0.001).
        momentum: Of that SGD.
        weight_decay: L2 penalty on the weights.
        clip: Largest norm of the weights' gradient; 0: any.
        architecture_learning_rate: Of the architecture weights' Adam.
        architecture_betas: Its decay rates, two numbers.
        architecture_weight_decay: L2 penalty on the architecture weights.
        architecture_scale: Standard deviation of the first architecture weights (released code: 0.001; paper:
            zeros).
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
    """

    epochs: int = 50
    batch: int = 64
    learning_rate: float = 0.025
    final_learning_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    architecture_learning_rate: float = 3e-4
    architecture_betas: tuple[float, ...] = (0.5, 0.999)
    architecture_weight_decay: float = 1e-3
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

    def __post_init__(self) -> None:
        if not 1 <= self.epochs <= MOST_EPOCHS:
            raise UserError(f"epochs must lie between 1 and {MOST_EPOCHS:,}, got {self.epochs}")
        if not 2 <= self.batch <= MOST_BATCH:
            raise UserError(f"batch must lie between 2 and {MOST_BATCH:,}, got {self.batch}")
        _positive(
            "search",
            learning_rate=self.learning_rate,
            architecture_learning_rate=self.architecture_learning_rate,
        )
        for name in (
            "final_learning_rate",
            "weight_decay",
            "clip",
            "architecture_weight_decay",
            "architecture_scale",
            "warmup_epochs",
            "curvature_every",
            "skip_limit",
        ):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must lie in [0, 1), got {self.momentum}")
        if len(self.architecture_betas) != 2 or not all(0 <= beta < 1 for beta in self.architecture_betas):
            raise UserError(
                f"architecture_betas must be two numbers in [0, 1), got {self.architecture_betas}"
            )
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"warmup_epochs ({self.warmup_epochs}) must be fewer than epochs ({self.epochs}):"
                " nothing would be searched"
            )

    def learning_rate_at(self, epoch: int) -> float:
        """Of an epoch, counted from 0: along a cosine."""
        share = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        return self.final_learning_rate + share * (self.learning_rate - self.final_learning_rate)


@dataclass(frozen=True)
class Recipe:
    """A named method with all its numbers.

    Attributes:
        name: Of the recipe.
        summary: One line.
        source: Where the method comes from.
        relaxation: See there.
        update: See there.
        derivation: See there.
        search: See there.
    """

    name: str
    summary: str
    source: str
    relaxation: RelaxationSettings = field(default_factory=RelaxationSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)
    derivation: DerivationSettings = field(default_factory=DerivationSettings)
    search: SearchSettings = field(default_factory=SearchSettings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``config.yaml``."""
        return asdict(self)


PARTS: Final[Mapping[str, type[Any]]] = {
    "relaxation": RelaxationSettings,
    "update": UpdateSettings,
    "derivation": DerivationSettings,
    "search": SearchSettings,
}
_TEXTS: Final = ("summary", "source")

SMALL: Final[Mapping[str, Any]] = {
    "epochs": 15,
    "batch": 64,
    # Times the 165 steps on the digits, it is about the published 3e-4 times 19,500.
    "architecture_learning_rate": 3e-2,
    "augmentation": "shift",
}
"""What the preset ``small`` changes: a search of a minute or two on small images, on one thread of a CPU."""

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {"small": SMALL, "published": {}}


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    folder = resources.files("supernet") / "recipes"
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.is_file()))


def load_recipe(text: str, *, preset: str = "published", changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name or from a YAML file.

    Args:
        text: One of :func:`recipe_names`, or the path of a file (it has a dot or a slash).
        preset: One of :data:`PRESETS`; what it changes counts more than a recipe that has a name (there the
            numbers are the published ones), and less than a file of one's own and ``changes``.
        changes: Values by ``part.key``; a key alone is one of ``search``.

    Raises:
        UnknownNameError: Unknown recipe, preset, part or key.
        UserError: A damaged file, or a value that is not allowed.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    name, data = _read(text)
    for key in data:
        if key not in (*PARTS, *_TEXTS):
            raise UnknownNameError(f"key of recipe {name}", str(key), (*PARTS, *_TEXTS))
    sections: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        section = data.get(part, {})
        if not isinstance(section, dict):
            raise UserError(f"recipe {name}: {part} must be a mapping of settings, got {section!r}")
        sections[part] = {str(key): value for key, value in section.items()}
    small, said = PRESETS[preset], sections["search"]
    sections["search"] = {**small, **said} if _is_file(text) else {**said, **small}
    for key, value in (changes or {}).items():
        part, dot, own = key.rpartition(".")
        if dot and part not in PARTS:
            raise UnknownNameError("part of a recipe", part, PARTS)
        sections[part or "search"][own] = value
    built = {part: fill_settings(kind, f"{part} of {name}", sections[part]) for part, kind in PARTS.items()}
    summary, source = (str(data.get(key, "")) for key in _TEXTS)
    return Recipe(name, summary, source, **built)


def _is_file(text: str) -> bool:
    return "/" in text or "." in text


def _read(text: str) -> tuple[str, Mapping[Any, Any]]:
    if _is_file(text):
        path = Path(text)
        if not path.is_file():
            raise UserError(f"there is no recipe file {text}; known names: {', '.join(recipe_names())}")
        with disk_errors(path):
            raw, name = path.read_bytes(), path.stem
    else:
        if text not in recipe_names():
            raise UnknownNameError("recipe", text, recipe_names())
        raw, name = (resources.files("supernet") / "recipes" / f"{text}.yaml").read_bytes(), text
    try:
        data = yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"recipe {name} must be a mapping of parts: {', '.join(PARTS)}")
    return name, data


def _positive(part: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{part}.{name} must be a positive number, got {value}")

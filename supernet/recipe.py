"""A method is a recipe: parts and their numbers, from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from crlso.errors import UnknownNameError, UserError
from crlso.runs.files import disk_errors
from crlso.settings import fill_settings
from supernet.parts import (
    DerivationSettings,
    DistillationSettings,
    ObjectiveSettings,
    RelaxationSettings,
    SearchSettings,
    ShrinkingSettings,
    SpaceSettings,
    UpdateSettings,
)


@dataclass(frozen=True)
class Recipe:
    """A named method with all its numbers.

    Attributes:
        name: Of the recipe.
        summary: One line.
        source: Where the method comes from.
        space: See there, as all others.
        relaxation: From architecture weights to shares.
        objective: What the architecture is asked for beside a small loss.
        update: In which direction weights and architecture weights change.
        shrinking: How the supernet loses operators.
        distillation: What it imitates.
        derivation: From shares to an architecture.
        search: Numbers of the loop.

    Raises:
        UserError: Parts that do not fit together; the message names the keys and what they may be.
    """

    name: str
    summary: str
    source: str
    space: SpaceSettings = field(default_factory=SpaceSettings)
    relaxation: RelaxationSettings = field(default_factory=RelaxationSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)
    shrinking: ShrinkingSettings = field(default_factory=ShrinkingSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    derivation: DerivationSettings = field(default_factory=DerivationSettings)
    search: SearchSettings = field(default_factory=SearchSettings)

    def __post_init__(self) -> None:
        relaxation, objective, shrinking = self.relaxation.kind, self.objective.kind, self.shrinking.kind
        if shrinking != "none" and not self.relaxation.per_node:
            raise UserError(
                f"recipe {self.name}: shrinking.kind={shrinking} needs shares per node; choose"
                f" relaxation.kind node_relu or node_softmax, not {relaxation}"
            )
        if objective != "plain" and not self.relaxation.per_node:
            raise UserError(
                f"recipe {self.name}: objective.kind={objective} needs shares per node; choose"
                f" relaxation.kind node_relu or node_softmax, not {relaxation}"
            )
        wanted = {"snps": "log_sum", "ess": "node_entropy"}.get(shrinking, objective)
        if objective != wanted:
            raise UserError(
                f"recipe {self.name}: shrinking.kind={shrinking} steers the weight of"
                f" objective.kind={wanted}, not of {objective}"
            )
        if self.relaxation.per_node and self.derivation.kind != "strongest":
            raise UserError(
                f"recipe {self.name}: with relaxation.kind={relaxation} an architecture is what is left;"
                f" derivation.kind must be strongest, not {self.derivation.kind}"
            )
        if self.update.kind.startswith("second_order") and self.search.optimizer != "sgd":
            raise UserError(
                f"recipe {self.name}: update.kind={self.update.kind} makes a virtual step of SGD;"
                f" search.optimizer must be sgd, not {self.search.optimizer}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``config.yaml``."""
        return asdict(self)


PARTS: Final[Mapping[str, type[Any]]] = {
    "space": SpaceSettings,
    "relaxation": RelaxationSettings,
    "objective": ObjectiveSettings,
    "update": UpdateSettings,
    "shrinking": ShrinkingSettings,
    "distillation": DistillationSettings,
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
            numbers are the published ones), and less than a file of one's own and ``changes``. A recipe can
            have a section of the preset's name, with parts of its own: these count more than all but
            ``changes``.
        changes: Values by ``part.key``; a key alone is one of ``search``.

    Raises:
        UnknownNameError: Unknown recipe, preset, part or key.
        UserError: A damaged file, or a value that is not allowed.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    name, data = _read(text)
    sections = _sections(f"recipe {name}", data, (*PARTS, *_TEXTS, *PRESETS))
    # All of them are looked at: a mistake should not wait for its preset.
    by_preset = {
        each: _sections(f"recipe {name}, {each}", data.get(each, {}), tuple(PARTS)) for each in PRESETS
    }
    general, said = PRESETS[preset], sections["search"]
    sections["search"] = {**general, **said} if _is_file(text) else {**said, **general}
    for part, section in by_preset[preset].items():
        sections[part] |= section
    for key, value in (changes or {}).items():
        part, dot, own = key.rpartition(".")
        if dot and part not in PARTS:
            raise UnknownNameError("part of a recipe", part, PARTS)
        sections[part or "search"][own] = value
    built = {part: fill_settings(kind, f"{part} of {name}", sections[part]) for part, kind in PARTS.items()}
    summary, source = (str(data.get(key, "")) for key in _TEXTS)
    return Recipe(name, summary, source, **built)


def _sections(name: str, data: object, known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of every part that is named.

    Raises:
        UnknownNameError: A key that is none of the known ones.
        UserError: No mapping of mappings.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{name} must be a mapping of parts: {', '.join(PARTS)}")
    for key in data:
        if key not in known:
            raise UnknownNameError(f"key of {name}", str(key), known)
    found: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        section = data.get(part, {})
        if not isinstance(section, Mapping):
            raise UserError(f"{name}: {part} must be a mapping of settings, got {section!r}")
        found[part] = {str(key): value for key, value in section.items()}
    return found


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

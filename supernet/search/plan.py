"""What a supernet search works on, as plain data: enough to build it again from its directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from crlso.errors import RunError, UserError
from crlso.protocols import SearchSpace
from crlso.settings import fill_settings
from crlso.spaces import EdgeCellSpace, FreeTopologySpace, space_from_dict, space_to_dict
from supernet.data import Splits, SplitSettings, load, split
from supernet.data.sources import find
from supernet.networks import DARTSSizes, ImageTask, NetworkFamily, Skeleton, family_of
from supernet.recipe import PARTS, Recipe
from supernet.training import TrainSettings

SEARCH_FRACTIONS: Final = (0.4, 0.4, 0.2)
"""Weights, architecture, test: equal parts for the first two, as in DARTS."""

Sizes: TypeAlias = tuple[DARTSSizes, Skeleton, DARTSSizes]
"""Of networks of DARTS cells, of cells with an operation on every edge, of free topologies."""

SIZES: Final[Mapping[str, Sizes]] = {
    "small": (
        DARTSSizes(channels=8, cells=5),
        Skeleton(channels=8, cells=1, stages=2),
        # With 8 channels every free topology solves the digits.
        DARTSSizes(channels=4, cells=5),
    ),
    "published": (
        DARTSSizes(channels=16, cells=8),
        Skeleton(channels=16, cells=5, stages=3),
        DARTSSizes(channels=16, cells=8),
    ),
}
"""By preset."""


def preset_cells(preset: str) -> int:
    """Of networks whose space leaves their number open."""
    return SIZES[preset][2].cells


@dataclass(frozen=True)
class DataPlan:
    """Images and their division.

    Attributes:
        name: Name of a data set, or what a path turned out to hold.
        path: Its files; ``None``: where they are by default.
        split: How it is divided.
    """

    name: str
    path: str | None
    split: SplitSettings

    def load(self) -> Splits:
        """The parts.

        Raises:
            UserError: Missing or unusable files.
        """
        images = load(self.name, self.path) if self.path is None else find(self.path)
        return split(images, self.split)


@dataclass(frozen=True)
class SearchPlan:
    """A search without its seed.

    Attributes:
        space: Where to search.
        data: What to classify.
        sizes: Of the supernet, and of the discrete networks that are trained afterwards.
        recipe: The method.
        training: How discrete networks are trained afterwards, all alike.
    """

    space: SearchSpace
    data: DataPlan
    sizes: DARTSSizes | Skeleton
    recipe: Recipe
    training: TrainSettings

    def family(self, splits: Splits) -> NetworkFamily:
        """The networks for these images.

        Raises:
            UserError: A space that no networks are known for, or images too small for the sizes.
        """
        task = ImageTask(splits.channels, splits.size, splits.classes)
        return family_of(self.space, task, self.sizes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``config.yaml``."""
        return {
            "space": space_to_dict(self.space),
            "data": {"name": self.data.name, "path": self.data.path, "split": asdict(self.data.split)},
            "network": asdict(self.sizes),
            "recipe": self.recipe.to_dict(),
            "training": asdict(self.training),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            UserError: Something is missing or has another form.
        """
        try:
            space = space_from_dict(data["space"])
            images, recipe = data["data"], data["recipe"]
            raw = images["split"]
            division = SplitSettings(
                fractions=tuple(raw["fractions"]),
                limits=tuple(raw["limits"]),
                shrink=raw["shrink"],
                seed=raw["seed"],
            )
            return cls(
                space,
                DataPlan(images["name"], images["path"], division),
                sizes_kind(space)(**data["network"]),
                Recipe(
                    recipe["name"],
                    recipe["summary"],
                    recipe["source"],
                    **{
                        part: fill_settings(kind, part, recipe.get(part) or {})
                        for part, kind in PARTS.items()
                    },
                ),
                fill_settings(TrainSettings, "training", data["training"]),
            )
        except (KeyError, TypeError) as error:
            raise RunError(f"config.yaml is not that of a supernet search ({error!r})") from error


def sizes_of(
    space: SearchSpace, preset: str, changes: Mapping[str, int | str | None]
) -> DARTSSizes | Skeleton:
    """Sizes of a preset with some changed; changes of ``None`` are none.

    Raises:
        UserError: A size that networks of this space do not have, or one out of bounds.
    """
    return changed_sizes(space, by_space(space, SIZES[preset]), changes)


def changed_sizes(
    space: SearchSpace, sizes: DARTSSizes | Skeleton, changes: Mapping[str, int | str | None]
) -> DARTSSizes | Skeleton:
    """Sizes with some changed; changes of ``None`` are none.

    Raises:
        UserError: A size that networks of this space do not have, or one out of bounds.
    """
    wanted = {name: value for name, value in changes.items() if value is not None}
    known = [field.name for field in fields(sizes)]
    for name in wanted:
        if name not in known:
            raise UserError(f"networks of {space.name!r} have no {name}; they have {', '.join(known)}")
    return replace(sizes, **wanted)  # type: ignore[arg-type]  # checked by the classes themselves


TRAININGS: Final[Mapping[str, tuple[TrainSettings, TrainSettings]]] = {
    "small": (
        TrainSettings(epochs=10, batch=32, learning_rate=0.05, nesterov=False, weight_decay=3e-4, clip=5.0),
        TrainSettings(epochs=10, batch=32),
    ),
    "published": (
        TrainSettings(
            epochs=600,
            batch=96,
            learning_rate=0.025,
            nesterov=False,
            weight_decay=3e-4,
            clip=5.0,
            drop_path=0.2,
            auxiliary_weight=0.4,
            augmentation="crop_flip+cutout",
        ),
        TrainSettings(epochs=200, batch=256, augmentation="crop_flip"),
    ),
}
"""By preset: DARTS (paper, appendix A.1.2), and NAS-Bench-201 (Dong and Yang 2020, table 1)."""


def training_of(space: SearchSpace, preset: str, changes: Mapping[str, Any]) -> TrainSettings:
    """Training of discrete networks by a preset, with some settings changed.

    Raises:
        UnknownNameError: No such setting.
        UserError: A value that is not allowed.
    """
    darts, skeleton = TRAININGS[preset]
    settings = asdict(skeleton if isinstance(space, EdgeCellSpace) else darts)
    return fill_settings(TrainSettings, "training", settings | dict(changes))


def data_plan(text: str, settings: SplitSettings) -> DataPlan:
    """Of a data set's name, or of a path.

    Raises:
        UserError: Neither.
    """
    from supernet.data import SOURCES

    if text in SOURCES:
        return DataPlan(text, None, settings)
    return DataPlan(find(text).name, str(Path(text).resolve()), settings)


def sizes_kind(space: SearchSpace) -> type[DARTSSizes] | type[Skeleton]:
    """What describes the sizes of a space's networks."""
    return Skeleton if isinstance(space, EdgeCellSpace) else DARTSSizes


def by_space(space: SearchSpace, sizes: Sizes) -> DARTSSizes | Skeleton:
    """Which of the sizes a space's networks have; free topologies have as many cells as their space."""
    darts, skeleton, free = sizes
    if isinstance(space, EdgeCellSpace):
        return skeleton
    return replace(free, cells=space.cells) if isinstance(space, FreeTopologySpace) else darts

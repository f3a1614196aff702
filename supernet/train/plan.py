"""What is trained, on what, how: as plain data, before any seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from crlso.errors import RunError, UnknownNameError
from crlso.protocols import SearchSpace
from crlso.settings import fill_settings
from crlso.spaces import space_to_dict
from supernet.data import Splits, SplitSettings, without_validation
from supernet.networks import DARTSSizes, ImageTask, NetworkFamily, Skeleton, family_of
from supernet.search import plan as searching
from supernet.search.plan import TRAININGS, DataPlan, Sizes, by_space, changed_sizes, data_plan, training_of
from supernet.search.run import derived_architecture, read_plan, seeds_of
from supernet.train.architectures import read_architectures
from supernet.training import TrainSettings

SIZES: Final[Mapping[str, Sizes]] = {
    "small": searching.SIZES["small"],
    "published": (
        DARTSSizes(channels=36, cells=20, auxiliary=True),
        Skeleton(channels=16, cells=5, stages=3),
        DARTSSizes(channels=36, cells=8, auxiliary=True),
    ),
}
"""By preset. Published: DARTS paper, section 3.1.2, on CIFAR-10; NAS-Bench-201; released code of SNPS."""

Limits = tuple[int | None, int | None, int | None]


@dataclass(frozen=True)
class TrainPlan:
    """Trainings without their seeds.

    Attributes:
        space: Of the architectures.
        architectures: Their texts, as the space writes them.
        data: What to classify.
        sizes: Of the networks.
        training: How they are trained, all alike.
        all_data: Train on the images of the validation part too, as the literature does at last; then nothing
            is measured before the end.
    """

    space: SearchSpace
    architectures: tuple[str, ...]
    data: DataPlan
    sizes: DARTSSizes | Skeleton
    training: TrainSettings
    all_data: bool = False

    def load(self) -> Splits:
        """The images.

        Raises:
            UserError: Missing or unusable files.
        """
        splits = self.data.load()
        return without_validation(splits) if self.all_data else splits

    def family(self, splits: Splits) -> NetworkFamily:
        """The networks for these images.

        Raises:
            UserError: A space that no networks are known for, or images too small for the sizes.
        """
        return family_of(self.space, ImageTask.of(splits), self.sizes)

    def changed(
        self,
        *,
        preset: str | None = None,
        data: str | None = None,
        limits: Limits | None = None,
        shrink: int | None = None,
        sizes: Mapping[str, int | str | None],
        training: Mapping[str, Any],
        all_data: bool = False,
    ) -> TrainPlan:
        """The same but for what is said here.

        Args:
            preset: Replaces sizes and training.
            data: Name or path of other images; they are all taken, and as they are, unless the next two say
                otherwise.
            limits: At most so many images in each part.
            shrink: Side of the blocks of pixels that are averaged into one.
            sizes: By name; ``None``: as it is.
            training: Settings by name, as values or texts.
            all_data: See there.

        Raises:
            UnknownNameError: No such preset or setting.
            UserError: A size that networks of this space do not have, a value that is not allowed, no data.
        """
        own_sizes, own_training = self.sizes, self.training
        if preset is not None:
            own_sizes, own_training = _preset(self.space, preset)
        division = self.data.split
        if data is not None:
            division = replace(division, limits=(None, None, None), shrink=1)
        division = replace(
            division,
            limits=division.limits if limits is None else limits,
            shrink=division.shrink if shrink is None else shrink,
        )
        return TrainPlan(
            self.space,
            self.architectures,
            replace(self.data, split=division) if data is None else data_plan(data, division),
            changed_sizes(self.space, own_sizes, sizes),
            fill_settings(TrainSettings, "training", asdict(own_training) | dict(training)),
            all_data,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``config.yaml``."""
        return {
            "space": space_to_dict(self.space),
            "data": {"name": self.data.name, "path": self.data.path, "split": asdict(self.data.split)},
            "all_data": self.all_data,
            "network": asdict(self.sizes),
            "training": asdict(self.training),
            "architectures": list(self.architectures),
        }


def small_plan(space: SearchSpace, architectures: tuple[str, ...]) -> TrainPlan:
    """Small networks on the digits, which :meth:`TrainPlan.changed` makes into others."""
    sizes, training = _preset(space, "small")
    return TrainPlan(space, architectures, data_plan("digits", SplitSettings()), sizes, training)


def searched_plan(directory: Path) -> TrainPlan:
    """What a supernet search derived, on its data, in its sizes, trained as it trains.

    Raises:
        RunError: No directory of a supernet search, a damaged one, or one with an unfinished search.
    """
    plan, config = read_plan(directory)
    texts = []
    for seed in seeds_of(config):
        text = derived_architecture(directory, seed)
        if text is None:
            raise RunError(
                f"the search with seed {seed} in {directory} is not finished; the same"
                " `crlso supernet search` command again goes on with it"
            )
        texts.append(text)
    return TrainPlan(plan.space, read_architectures(plan.space, texts), plan.data, plan.sizes, plan.training)


def _preset(space: SearchSpace, preset: str) -> tuple[DARTSSizes | Skeleton, TrainSettings]:
    if preset not in SIZES:
        raise UnknownNameError("preset", preset, TRAININGS)
    return by_space(space, SIZES[preset]), training_of(space, preset, {})

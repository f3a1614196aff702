"""Trained networks as files: weights as tensors, and what it takes to build the network around them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from crlso.errors import RunError, UserError
from crlso.protocols import SearchSpace
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.runs.directory import write_json
from crlso.runs.files import disk_errors, write_aside
from crlso.spaces import space_from_dict, space_to_dict
from supernet.data import Splits
from supernet.networks import Classifier, DARTSSizes, ImageTask, Skeleton, family_of
from supernet.search.plan import sizes_kind

WEIGHTS: Final = "weights.pt"
NETWORK: Final = "network.json"
FORMAT: Final = 1
_UNREADABLE: Final = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)


@dataclass(frozen=True)
class Blueprint:
    """All that a trained network is but its weights.

    Attributes:
        space: Says what the architecture means.
        architecture: Its text.
        sizes: Of the network.
        task: What it classifies.
        mean: Per channel of the images, in units of the pixels (0 to 255).
        deviation: Likewise.
        data: The images in words.
    """

    space: SearchSpace
    architecture: str
    sizes: DARTSSizes | Skeleton
    task: ImageTask
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    data: str

    @classmethod
    def of(cls, space: SearchSpace, architecture: str, sizes: DARTSSizes | Skeleton, splits: Splits) -> Self:
        """Of a network that is trained on these images."""
        return cls(
            space,
            architecture,
            sizes,
            ImageTask.of(splits),
            tuple(splits.mean.tolist()),
            tuple(splits.deviation.tolist()),
            f"{splits.name}: {splits.describe()}",
        )

    def build(self) -> Classifier:
        """The network, with weights that mean nothing."""
        return family_of(self.space, self.task, self.sizes).network(self.space.parse(self.architecture))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "format": FORMAT,
            "space": space_to_dict(self.space),
            "architecture": self.architecture,
            "network": asdict(self.sizes),
            "images": asdict(self.task),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "data": self.data,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            UserError, KeyError, TypeError, ValueError: Something is missing or has another form.
        """
        space, images = space_from_dict(data["space"]), data["images"]
        return cls(
            space,
            data["architecture"],
            sizes_kind(space)(**data["network"]),
            ImageTask(images["channels"], tuple(images["size"]), images["classes"]),
            tuple(map(float, data["mean"])),
            tuple(map(float, data["deviation"])),
            data["data"],
        )


@final
class TrainedNetwork(nn.Module):
    """A trained network with what is done to its images: pixels to logits.

    Args:
        network: Takes normalised images.
        blueprint: What it is.

    Attributes:
        network: The bare classifier.
        blueprint: What it is.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: Classifier, blueprint: Blueprint) -> None:
        super().__init__()
        self.network = network
        self.blueprint = blueprint
        dtype = next(network.parameters()).dtype
        columns = (np.array(blueprint.mean), 1 / np.array(blueprint.deviation))
        for name, values in zip(("mean", "scale"), columns, strict=True):
            self.register_buffer(name, torch.from_numpy(values).to(dtype).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """``[n, c, h, w]`` pixels, 0 to 255, bytes or not, to logits ``[n, classes]``."""
        logits: Tensor = self.network((pixels.to(self.mean.dtype) - self.mean) * self.scale)
        return logits


def write_blueprint(folder: Path, blueprint: Blueprint) -> None:
    """Keeps what a network is beside its weights.

    Raises:
        RunError: Disk trouble.
    """
    write_json(folder / NETWORK, blueprint.to_dict())


def write_network(folder: Path, network: nn.Module) -> None:
    """Keeps the weights: a file of tensors by name, which ``torch.load(weights_only=True)`` takes too.

    Raises:
        RunError: Disk trouble.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with write_aside(folder / WEIGHTS) as file:
        file.write(dump_state(tensors))


def load_network(directory: Path | str) -> TrainedNetwork:
    """The network of a training, ready to classify: on the CPU, with its running averages.

    Args:
        directory: Of one training (``runs/train/trainings/0/0``): it holds ``weights.pt`` and
            ``network.json``, and needs nothing else.

    Raises:
        UserError: No such directory, a training that is not finished, or damaged files.

    Example:
        >>> network = load_network("runs/train/trainings/0/0")  # doctest: +SKIP
        >>> logits = network(pixels)  # [n, c, h, w] bytes, or numbers from 0 to 255  # doctest: +SKIP
        >>> classes = logits.argmax(1)  # doctest: +SKIP
    """
    folder = Path(directory)
    description, weights = folder / NETWORK, folder / WEIGHTS
    for file in (description, weights):
        if not file.is_file():
            within = sorted(folder.glob(f"**/{WEIGHTS}"))
            hint = f"; choose {within[0].parent}" if within else ""
            raise UserError(f"{folder} holds no trained network (there is no {file.name}){hint}")
    try:
        with disk_errors(description):
            blueprint = Blueprint.from_dict(json.loads(description.read_bytes()))
        network = blueprint.build()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{description} is damaged; restore it") from error
    try:
        with disk_errors(weights), weights.open("rb") as stream:
            tensors = parse_state(stream)
        (dtype,) = {value.dtype for value in tensors.values() if value.is_floating_point()}
        network.to(dtype).load_state_dict(tensors)
    except _UNREADABLE as error:
        raise RunError(
            f"{weights} is damaged, or of another network than {NETWORK} says; restore it"
        ) from error
    return TrainedNetwork(network.eval(), blueprint)

"""Teachers: trained networks whose feature maps a supernet imitates."""

from __future__ import annotations

import hashlib
import importlib
import pickle
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
import yaml
from numpy.typing import ArrayLike
from torch import Tensor, nn

from crlso.errors import UnknownNameError, UserError
from crlso.runs.files import disk_errors
from supernet.networks import ImageTask
from supernet.networks.darts import DARTSNetwork, DARTSSizes
from supernet.networks.free import FreeNetwork
from supernet.networks.skeleton import CellNetwork, Skeleton

WHITE: Final = 255.0
"""Pixels are counted from 0 to this here, from 0 to 1 in a teacher's file."""
_KEYS: Final = ("factory", "arguments", "weights", "features", "mean", "std")
_SUFFIXES: Final = (".yaml", ".yml")
_UNREADABLE: Final = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


@final
class Teacher:
    """A trained network that tells its feature maps, and never learns.

    It is no ``torch.nn.Module``, so that a module that has one does not count its weights among its own.
    It computes with the weights it came with: in evaluation mode, without gradients.

    Args:
        network: Images to anything; becomes the teacher's own (evaluation mode, no gradients).
        features: Names of the sub-modules whose outputs are the feature maps, from the first stage to the
            last. Of a sub-module that is called several times the last output counts.
        name: What messages call it.
        task: The images that it was trained for; ``None``: whatever it can take.
        mean: Per channel of its images, in units of the pixels (0 to 255); with ``deviation``. ``None``: it
            takes images as they are normalised for the supernet.
        deviation: Likewise.

    Raises:
        UserError: An unknown sub-module, or a mean without a deviation.
    """

    def __init__(
        self,
        network: nn.Module,
        features: Sequence[str],
        *,
        name: str = "the teacher",
        task: ImageTask | None = None,
        mean: ArrayLike | None = None,
        deviation: ArrayLike | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.features = tuple(features)
        self.name = name
        self.task = task
        self._normalisation: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None
        if (mean is None) != (deviation is None):
            raise UserError(f"{name}: mean and deviation (std) go together; give both or none")
        if mean is not None and deviation is not None:
            self._normalisation = (np.array(mean, np.float64), np.array(deviation, np.float64))
        self._scale: Tensor | None = None
        self._shift: Tensor | None = None
        self._seen: dict[str, Tensor] = {}
        if not self.features:
            raise UserError(f"{name} has no features; name the sub-modules whose outputs are to be imitated")
        known = dict(network.named_modules())
        for feature in self.features:
            if feature not in known or not feature:
                raise UserError(_unknown(name, feature, known))
            known[feature].register_forward_hook(self._keeper(feature))

    def _keeper(self, feature: str) -> Any:
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            # What follows may change it in place, as ReLUs of many published networks do.
            self._seen[feature] = output.clone() if isinstance(output, Tensor) else output

        return keep

    def seeing(self, task: ImageTask, mean: ArrayLike, deviation: ArrayLike) -> Teacher:
        """Itself, prepared for images of a data set: those that come are normalised by these numbers.

        Args:
            task: The images.
            mean: Per channel, in units of the pixels (0 to 255).
            deviation: Likewise.

        Raises:
            UserError: It was trained for images of another size, or with other channels or classes.
        """
        if self.task is not None and self.task != task:
            raise UserError(f"{self.name} is for {_words(self.task)}, but the data has {_words(task)}")
        if self._normalisation is not None:
            own_mean, own_deviation = self._normalisation
            if len(own_mean) != task.channels or len(own_deviation) != task.channels:
                raise UserError(
                    f"{self.name} has mean and std of {len(own_mean)} and {len(own_deviation)} channels, but"
                    f" the data has {_words(task)}"
                )
            dtype, device = self._like()
            scale = np.asarray(deviation, np.float64) / own_deviation
            shift = (np.asarray(mean, np.float64) - own_mean) / own_deviation
            self._scale, self._shift = (
                torch.from_numpy(values).to(device, dtype).view(1, -1, 1, 1) for values in (scale, shift)
            )
        self.task = task
        return self

    def digest(self) -> str:
        """The first 16 digits of the SHA-256 of its weights, in float64: what tells it from another one."""
        found = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            found.update(name.encode())
            found.update(value.detach().to("cpu", torch.float64).numpy().tobytes())
        return found.hexdigest()[:16]

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> Teacher:
        """Itself, on a device, in a precision. A supernet does not take it along when it is moved."""
        self.network.to(device=device, dtype=dtype)
        if self._scale is not None and self._shift is not None:
            self._scale = self._scale.to(device=device, dtype=dtype)
            self._shift = self._shift.to(device=device, dtype=dtype)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps, ``[n, c, h, w]`` each, of images ``[n, c, h, w]``, normalised as for the supernet."""
        if self._scale is not None and self._shift is not None:
            images = images * self._scale + self._shift
        self.network(images)
        found = tuple(self._seen[feature] for feature in self.features)
        self._seen.clear()
        return found

    def channels(self, task: ImageTask) -> tuple[int, ...]:
        """Of its feature maps for such images; it looks at one of them.

        Raises:
            UserError: It does not take such images, or what comes out of a sub-module is no feature map.
        """
        dtype, device = self._like()
        try:
            found = self(torch.zeros(1, task.channels, *task.size, dtype=dtype, device=device))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise UserError(f"{self.name} does not take {_words(task)}: {_first_line(error)}") from error
        except KeyError as error:
            raise UserError(
                f"{self.name}: its sub-module {error.args[0]!r} is not called when it classifies; name"
                " another"
            ) from error
        for feature, output in zip(self.features, found, strict=True):
            if not isinstance(output, Tensor) or output.dim() != 4:
                what = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
                raise UserError(
                    f"{self.name}: the sub-module {feature!r} gives {what}, and no feature map"
                    " [images, channels, height, width]; name another"
                )
        return tuple(output.shape[1] for output in found)

    def _like(self) -> tuple[torch.dtype, torch.device]:
        for parameter in self.network.parameters():
            return parameter.dtype, parameter.device
        return torch.float32, torch.device("cpu")


def load_teacher(path: str) -> Teacher:
    """A teacher from the disk, on the CPU.

    Args:
        path: The directory of one training of ``crlso supernet train`` (``runs/train/trainings/0/0``), whose
            feature maps are the last of each image size, or a YAML file for any ``torch.nn.Module``::

                factory: torchvision.models:resnet18   # importable MODULE:FUNCTION, called once
                arguments: {num_classes: 10}           # optional
                weights: resnet18.pt                   # optional: tensors by name, next to this file
                features: [layer1, layer2, layer4]     # names of sub-modules, first stage to last
                mean: [0.485, 0.456, 0.406]            # optional, of pixels from 0 to 1; without them it
                std: [0.229, 0.224, 0.225]             # takes images as the search normalises them

            The function is imported and run: it is the user's own code, or of a package that the user
            trusts, named in the user's own file. Weights are read as tensors alone (``weights_only``): a
            file can not bring code along.

    Raises:
        UserError: No such path, no finished training, a damaged file, an unknown key, function or sub-module,
            or weights of another network.
    """
    found = Path(path)
    if found.suffix in _SUFFIXES:
        return _declared(found)
    if found.is_dir() or not found.exists():
        return _trained(found)
    raise UserError(
        f"teacher {path}: choose the directory of a training of `crlso supernet train`, or a YAML file"
    )


def _trained(folder: Path) -> Teacher:
    """Of a training's directory."""
    if not folder.exists():
        raise UserError(
            f"teacher {folder}: there is no such directory; choose that of a training of `crlso supernet"
            " train`, or a YAML file"
        )
    from supernet.train.loading import load_network  # which needs searches, and these need teachers

    loaded = load_network(folder)
    blueprint = loaded.blueprint
    return Teacher(
        loaded.network,
        _points(loaded.network, blueprint.sizes, folder),
        name=f"teacher {folder}",
        task=blueprint.task,
        mean=blueprint.mean,
        deviation=blueprint.deviation,
    )


def _points(network: nn.Module, sizes: DARTSSizes | Skeleton, folder: Path) -> tuple[str, ...]:
    """Names of the last cells of each image size, by the class of the network."""
    ends = sizes.stage_ends
    if isinstance(network, FreeNetwork):
        # A cell that nothing uses is not there; the last one before it has the same channels and image size.
        found = []
        for first, end in zip((0, *(end + 1 for end in ends)), ends, strict=False):
            built = [
                cell for cell in range(first, end + 1) if str(cell) in dict(network.cells.named_children())
            ]
            if not built:
                raise UserError(
                    f"teacher {folder}: its cells {first} to {end} are used by nothing, so that a"
                    " stage has no feature map; choose another"
                )
            found.append(f"cells.{built[-1]}")
        return tuple(found)
    if isinstance(network, DARTSNetwork):
        return tuple(f"cells.{end}" for end in ends)
    assert isinstance(network, CellNetwork)  # there are no other families
    return tuple(f"body.{end}" for end in ends)


def _declared(file: Path) -> Teacher:
    """Of a YAML file."""
    if not file.is_file():
        raise UserError(f"teacher {file}: there is no such file")
    with disk_errors(file):
        raw = file.read_bytes()
    try:
        data = yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"teacher {file} is no YAML: {_first_line(error)}") from error
    if not isinstance(data, dict):
        raise UserError(f"teacher {file} must be a mapping with the keys {', '.join(_KEYS)}")
    for key in data:
        if key not in _KEYS:
            raise UnknownNameError(f"key of teacher {file}", str(key), _KEYS)
    features = data.get("features")
    if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
        raise UserError(f"teacher {file}: features must be a list of names of sub-modules, got {features!r}")
    network = _made(file, data.get("factory"), data.get("arguments") or {})
    if data.get("weights") is not None:
        _load_weights(file, network, str(data["weights"]))
    mean, deviation = (_column(file, data, key) for key in ("mean", "std"))
    if deviation is not None and not (deviation > 0).all():
        raise UserError(f"teacher {file}: std must be more than 0, got {data['std']}")
    return Teacher(network, features, name=f"teacher {file}", mean=mean, deviation=deviation)


def _made(file: Path, factory: object, arguments: object) -> nn.Module:
    """What the function of a YAML file returns."""
    module_name, colon, function_name = str(factory).partition(":")
    if not isinstance(factory, str) or not (module_name and colon and function_name):
        raise UserError(f"teacher {file}: factory must be PACKAGE.MODULE:FUNCTION, got {factory!r}")
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise UserError(f"teacher {file}: arguments must be a mapping by name, got {arguments!r}")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise UserError(
            f"teacher {file}: can not import {module_name!r} ({_first_line(error)}); install it, or add its"
            " folder to PYTHONPATH"
        ) from error
    known = vars(module)
    if function_name not in known:
        public = [name for name in known if not name.startswith("_")]
        near = get_close_matches(function_name, public, n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise UserError(f"teacher {file}: {module_name} has no {function_name!r}{hint}")
    if not callable(known[function_name]):
        raise UserError(f"teacher {file}: {factory} is no function")
    try:
        # The same first weights in every process and after a resumption, where there is no file of them.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = known[function_name](**arguments)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError, OSError) as error:
        raise UserError(
            f"teacher {file}: {factory} fails with these arguments: {_first_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(
            f"teacher {file}: {factory} must return a torch.nn.Module, got a {type(network).__name__}"
        )
    return network


def _load_weights(file: Path, network: nn.Module, weights: str) -> None:
    path = file.parent / weights
    if not path.is_file():
        raise UserError(f"teacher {file}: there is no file of weights {path}")
    try:
        with disk_errors(path):
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise UserError(
            f"teacher {file}: {path} is no file of tensors that torch.load(weights_only=True) takes; write it"
            " with torch.save(network.state_dict(), FILE)"
        ) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(
            f"teacher {file}: {path} holds no tensors by name; write it with"
            " torch.save(network.state_dict(), FILE)"
        )
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise UserError(f"teacher {file}: {path} has the weights of another network: {reason}") from error


def _column(file: Path, data: Mapping[str, Any], key: str) -> np.ndarray[Any, Any] | None:
    """Numbers per channel, in units of the pixels from 0 to 255."""
    values = data.get(key)
    if values is None:
        return None
    numbers = isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1 for value in values
    )
    if not values or not numbers:
        raise UserError(
            f"teacher {file}: {key} must be a list of numbers, one for each channel, for pixels from 0 to 1,"
            f" got {values!r}"
        )
    return WHITE * np.array(values, np.float64)


def _unknown(name: str, feature: str, known: Mapping[str, nn.Module]) -> str:
    near = get_close_matches(feature, [key for key in known if key], n=3)
    if near:
        return f"{name} has no sub-module {feature!r}; near: {', '.join(near)}"
    top = [key for key in known if key and "." not in key]
    return f"{name} has no sub-module {feature!r}; it has {', '.join(top) or 'none'} and what is in them"


def _words(task: ImageTask) -> str:
    height, width = task.size
    return f"images of {task.channels} channels, {height}x{width} pixels, {task.classes} classes"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

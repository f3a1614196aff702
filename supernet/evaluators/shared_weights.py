"""Architectures measured with the weights of a trained supernet: an evaluator of search methods."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self, final

import numpy as np
import torch

from crlso.errors import RunError, UnknownNameError, UserError
from crlso.protocols import Code, Codes, FloatArray, Metric, SearchSpace
from crlso.runs.files import disk_errors
from crlso.spaces.codes import as_codes
from crlso.threads import threads
from supernet.data.resident import Resident
from supernet.data.splits import Splits
from supernet.measuring import SHARED_BATCH, measure
from supernet.networks import NetworkFamily
from supernet.networks.supernet import Supernet
from supernet.processes import Processes
from supernet.search.directory import load_state
from supernet.search.loop import Search
from supernet.search.run import read_plan, read_state, seeds_of

if TYPE_CHECKING:
    import pandas as pd

VERSION: Final = "crlso.shared/2"


@final
class SharedWeights:
    """What an architecture's part of a trained supernet gets right; an :class:`~crlso.protocols.Evaluator`.

    Every normalisation takes the statistics of the batch at hand (250 images at most, as even as possible,
    in a fixed order), so an answer depends on the architecture alone. It is a proxy: how well its order
    agrees with that of trained networks differs from supernet to supernet.

    Args:
        name: What it is called.
        family: The networks.
        supernet: Its weights are shared.
        splits: The data.
        fingerprint: What pins the answers down.

    Raises:
        UserError: Fewer than two validation or test images.
    """

    def __init__(
        self,
        name: str,
        family: NetworkFamily,
        supernet: Supernet,
        splits: Splits,
        *,
        fingerprint: Mapping[str, str],
    ) -> None:
        for part, held in (("validation", splits.valid), ("test", splits.test)):
            if len(held) < 2:
                raise UserError(
                    f"shared weights are measured with the statistics of two images or more; the {part} part"
                    f" of {splits.name!r} has {len(held)}"
                )
        self._name = name
        self._family = family
        self._supernet = supernet
        self._splits = splits
        self._fingerprint = MappingProxyType(dict(fingerprint))
        weight = next(supernet.parameters())
        self._parts = {
            part: Resident(held, splits, weight.device, dtype=weight.dtype)
            for part, held in (("valid", splits.valid), ("test", splits.test))
        }

    @classmethod
    def load(cls, path: Path | str, *, device: str = "cpu") -> Self:
        """The supernet of a directory that ``crlso supernet search`` made.

        Args:
            path: The directory (its first search is taken), or that of one search in it, ``DIR/seeds/3``.
            device: Where to compute.

        Raises:
            RunError: No such directory, or one without a finished epoch.
            UserError: The images are missing or others than those of the search.
        """
        folder = Path(path)
        root, seed = (folder.parent.parent, folder.name) if folder.parent.name == "seeds" else (folder, None)
        plan, config = read_plan(root)
        seeds = seeds_of(config)
        chosen = seeds[0] if seed is None else next((s for s in seeds if str(s) == seed), None)
        if chosen is None:
            raise RunError(f"{root} holds no search with seed {seed}; it has {', '.join(map(str, seeds))}")
        file, state = read_state(root, chosen)
        splits = plan.data.load()
        if splits.checksum != config.get("data sha256"):
            raise UserError(f"the images of {plan.data.name!r} are not those that {root} was made with")
        family = plan.family(splits)
        processes = Processes(device, plan.recipe.search.precision)
        search = Search(family, splits, plan.recipe, seed=chosen, processes=processes)
        load_state(search, state, file)
        with disk_errors(file):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return cls(
            f"shared:{path}",
            family,
            search.network,
            splits,
            fingerprint={
                "evaluator": VERSION,
                "checkpoint sha256": digest,
                "data": f"{splits.name}: {splits.describe()}",
                "data sha256": splits.checksum,
                "network": family.describe(),
                "torch": str(torch.__version__),
            },
        )

    @property
    def name(self) -> str:
        """``shared:DIR``."""
        return self._name

    @property
    def space(self) -> SearchSpace:
        """The space of the supernet."""
        return self._family.space

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Accuracy and loss with shared weights on the validation and the test part, weights and work."""
        data = self._splits.name
        said = f"with the weights of a supernet, statistics of batches of up to {SHARED_BATCH} images"
        found = []
        for part, words in (("valid", "validation"), ("test", "test")):
            found += [
                Metric(f"{data}/shared_{part}_accuracy", "max", "%", f"{words} images; {said}"),
                Metric(f"{data}/shared_{part}_loss", "min", "nats", f"cross-entropy, {words} images; {said}"),
            ]
        network = f"network of {self._family.describe()}, by formula"
        found += [
            Metric(f"{data}/params", "min", "M", f"weights; {network}"),
            Metric(f"{data}/flops", "min", "M", f"multiply-accumulate operations for one image; {network}"),
        ]
        return MappingProxyType({metric.name: metric for metric in found})

    @property
    def support(self) -> Codes | None:
        """All architectures."""
        return None

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Checkpoint, data and versions."""
        return self._fingerprint

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        """One row per code; nothing is random.

        Raises:
            UnknownNameError: A metric that it does not have.
            UserError: A code that is none of the space.
        """
        import pandas as pd

        del rng
        for metric in metrics:
            if metric not in self.metrics:
                raise UnknownNameError("metric", metric, self.metrics)
        width = len(self.space.cardinalities)
        if np.ndim(codes) != 2 or np.shape(codes)[1] != width:
            raise UserError(f"codes must have shape [n, {width}], got {list(np.shape(codes))}")
        rows = as_codes(codes, self.space.cardinalities)
        wanted = {metric: metric.rsplit("/", maxsplit=1)[1] for metric in metrics}
        # Loss and accuracy of a part come from one pass.
        measured = {
            part: np.array([self._measure(code, part) for code in rows]).reshape(-1, 2)
            for part in self._parts
            if any(quantity.startswith(f"shared_{part}_") for quantity in wanted.values())
        }
        return pd.DataFrame(
            {metric: self._column(quantity, rows, measured) for metric, quantity in wanted.items()},
            index=range(len(rows)),
            dtype=np.float64,
        )

    def optimum(self, metric: str) -> float | None:
        """Not known.

        Raises:
            UnknownNameError: A metric that it does not have.
        """
        if metric not in self.metrics:
            raise UnknownNameError("metric", metric, self.metrics)
        return None

    def _column(self, quantity: str, codes: Codes, measured: Mapping[str, FloatArray]) -> FloatArray:
        if quantity == "params":
            return self._family.parameters(codes) / 1e6
        if quantity == "flops":
            return self._family.multiplications(codes) / 1e6
        _, part, kind = quantity.split("_")
        return measured[part][:, {"loss": 0, "accuracy": 1}[kind]]

    def _measure(self, code: Code, part: str) -> tuple[float, float]:
        network = self._family.inherit(self._supernet, code)
        with threads():
            return measure(network, self._parts[part], batch=SHARED_BATCH, shuffled=True)

"""How long a step of a search takes with each of its settings, and what a whole search would take."""

from __future__ import annotations

import gc
import math
import resource
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from crlso.errors import UserError
from crlso.protocols import SearchSpace
from supernet.data import Images, Splits, SplitSettings, split
from supernet.measuring import SHARED_BATCH
from supernet.networks import DARTSSizes, ImageTask, Skeleton, family_of
from supernet.processes import Processes
from supernet.recipe import Recipe
from supernet.search.loop import Search

Settings = Mapping[str, Any]

REFERENCE: Final[Settings] = {
    "path": "reference",
    "channels_last": False,
    "cuda_graph": False,
    "compile": False,
    "precision": "32-true",
}
"""The published implementation's way."""

_LADDER: Final[Sequence[tuple[str, Settings]]] = (
    ("channels last", {"channels_last": True}),
    ("merged operations", {"path": "fast"}),
    ("CUDA graph", {"cuda_graph": True}),
    ("bf16", {"precision": "bf16-mixed"}),
)
_COMPILE: Final[tuple[str, Settings]] = ("compiled", {"compile": True})


@dataclass(frozen=True)
class Variant:
    """A way to compute the same search.

    Attributes:
        label: For the table.
        settings: Of :class:`~supernet.recipe.SearchSettings`, those that matter.
    """

    label: str
    settings: Settings


@dataclass(frozen=True)
class StepTime:
    """What was measured of a variant.

    Attributes:
        label: Its own.
        seconds: Of a step, median, until the device is done.
        cpu_seconds: Of a step, of this process, median.
        measuring: Seconds that the supernet takes for the validation images of an epoch.
        memory: Largest memory, in GB: on a CUDA device that of torch's tensors there; on a CPU the whole
            process' so far, so that only what the first variant took is its own.
        kernels: Share of the time of a step in which the device is at work; ``None`` for a CPU.
        projected: Seconds of a whole search, without what happens once.
    """

    label: str
    seconds: float
    cpu_seconds: float
    measuring: float
    memory: float
    kernels: float | None
    projected: float


def variants(*, cuda: bool, compiled: bool) -> tuple[Variant, ...]:
    """The reference, each setting added to those before, and each one taken out of all.

    Args:
        cuda: Whether those that only a CUDA device knows belong to it; bf16 is one of them.
        compiled: Whether the last one is ``torch.compile``, which takes minutes to start.
    """
    ladder = [step for step in _LADDER if cuda or step[0] not in ("CUDA graph", "bf16")]
    found = [Variant("reference", REFERENCE)]
    settings = dict(REFERENCE)
    for label, change in ladder:
        settings |= change
        found.append(Variant(f"+ {label}", dict(settings)))
    for label, change in ladder[:-1]:
        found.append(Variant(f"all but {label}", {**settings, **{key: REFERENCE[key] for key in change}}))
    if compiled:
        found.append(Variant(f"+ {_COMPILE[0]}", {**settings, **_COMPILE[1]}))
    return tuple(found)


def noise(size: tuple[int, int, int], classes: int, *, batch: int) -> Splits:
    """Images without content, for four batches or more of the training and of the validation part.

    The validation part is measured in batches of one size, as that of a large data set is: a CUDA graph is
    recorded anew for each size.
    """
    rng = np.random.default_rng(0)
    each = 4 * max(batch, classes)
    if each > SHARED_BATCH:
        each = SHARED_BATCH * math.ceil(each / SHARED_BATCH)
    count = each * 5 // 2
    pixels = rng.integers(0, 256, (count, *size), dtype=np.uint8)
    images = Images.of("noise", pixels, np.arange(count) % classes, classes=classes)
    return split(images, SplitSettings(fractions=(0.4, 0.4, 0.2)))


def measure_variants(
    space: SearchSpace,
    sizes: DARTSSizes | Skeleton,
    recipe: Recipe,
    chosen: Sequence[Variant],
    *,
    device: str,
    size: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    images: int = 25_000,
    steps: int = 5,
) -> Iterator[StepTime]:
    """Times a search with each variant's settings.

    Args:
        space: To search in.
        sizes: Of the supernet.
        recipe: The method, its batch and epochs.
        chosen: What to compare.
        device: Where, as of :class:`~supernet.processes.Processes`.
        size: Channels, height, width of the images.
        classes: To tell apart.
        images: For the weights, and as many for the architecture: for the projection.
        steps: To take the median of, after two that are not counted.

    Raises:
        UserError: A number that is too small, or no such device.
    """
    if steps < 1 or images < recipe.search.batch:
        raise UserError(f"steps must be 1 or more and images a batch or more, got {steps} and {images}")
    splits = noise(size, classes, batch=recipe.search.batch)
    family = family_of(space, ImageTask.of(splits), sizes)
    for variant in chosen:
        settings = replace(recipe.search, **variant.settings)
        search = Search(
            family,
            splits,
            replace(recipe, search=settings),
            seed=0,
            processes=Processes(device, settings.precision),
        )
        yield _measure(variant.label, search, images=images, steps=steps)


def _measure(label: str, search: Search, *, images: int, steps: int) -> StepTime:
    search.epoch = search.settings.warmup_epochs  # before, only the weights learn: cheaper steps
    cuda = search.alpha.is_cuda
    if cuda:
        gc.collect()  # the search before lies in a cycle of references, and its graph with it
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    # Kernels are chosen in the first step, a CUDA graph is recorded in the second.
    for _ in range(2):
        _step(search)
    seconds, cpu_seconds = zip(*(_timed(search) for _ in range(steps)), strict=True)
    search.measure(search.shares)
    start = time.perf_counter()
    search.measure(search.shares)
    measuring = (time.perf_counter() - start) * images / search.valid_images
    settings = search.settings
    step = statistics.median(seconds)
    return StepTime(
        label,
        step,
        statistics.median(cpu_seconds),
        measuring,
        _memory(cuda=cuda),
        _kernel_share(search) if cuda else None,
        settings.epochs * (images // settings.batch * step + measuring),
    )


def _step(search: Search) -> None:
    """A step, and the device done with it; the data has few of them."""
    if search.step == search.steps:
        search.step = 0
    search.run_step()
    if search.alpha.is_cuda:
        torch.cuda.synchronize()


def _timed(search: Search) -> tuple[float, float]:
    start, cpu_start = time.perf_counter(), time.process_time()
    _step(search)
    return time.perf_counter() - start, time.process_time() - cpu_start


def _kernel_share(search: Search, steps: int = 3) -> float:
    """Time in which kernels run, of all time; one after the other, as a search starts them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            _step(search)
        seconds = time.perf_counter() - start
    return float(sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / seconds)


def _memory(*, cuda: bool) -> float:
    if cuda:
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9

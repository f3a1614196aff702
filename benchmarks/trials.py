"""Names of the trainings of NAS-Bench-201 and NATS-Bench in a table of ours.

The two benchmarks train every architecture on four training sets, each measured on up to three splits. What
is what is the most repeated mistake of the field, so every column says which it is:

* ``cifar10/valid``: trained on half of the training images of CIFAR-10, measured on the other half
  (officially training set ``cifar10-valid``, split ``x-valid``);
* ``cifar10-valid/test``: the same network on the test images (``cifar10-valid``, ``ori-test``);
* ``cifar10/test``: trained on all training images, measured on the test images (``cifar10``, ``ori-test``);
* ``cifar100/valid``, ``cifar100/test``, ``cifar100/valtest``: trained on all training images, measured on one
  half of the test images, on the other half, on both (``x-valid``, ``x-test``, ``ori-test``);
  ``imagenet16/...`` alike;
* ``.../train``: measured on the images that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from crlso.protocols import Metric

TRAIN = "train"
DATASETS: Mapping[str, str] = MappingProxyType(
    {
        "cifar10-valid": "cifar10-valid",
        "cifar10": "cifar10",
        "cifar100": "cifar100",
        "ImageNet16-120": "imagenet16",
    }
)
"""The official names of the training sets, and ours."""

_HALF = "CIFAR-10, trained on half of the training images"
_ALL = {
    "cifar10": "CIFAR-10, trained on all 50,000 training images",
    "cifar100": "CIFAR-100, trained on all 50,000 training images",
    "ImageNet16-120": "ImageNet16-120, trained on all training images",
}

SPLITS: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {
        ("cifar10-valid", TRAIN): ("cifar10-valid/train", f"{_HALF}, measured on that half"),
        ("cifar10-valid", "x-valid"): ("cifar10/valid", f"{_HALF}, measured on the other 25,000"),
        ("cifar10-valid", "ori-test"): ("cifar10-valid/test", f"{_HALF}, measured on the 10,000 test images"),
        ("cifar10", TRAIN): ("cifar10/train", f"{_ALL['cifar10']}, measured on them"),
        ("cifar10", "ori-test"): ("cifar10/test", f"{_ALL['cifar10']}, measured on the 10,000 test images"),
    }
    | {
        (key, split): (f"{DATASETS[key]}/{name}", f"{_ALL[key]}, measured on {where}")
        for key, half in (("cifar100", "5,000"), ("ImageNet16-120", "3,000"))
        for split, name, where in (
            (TRAIN, "train", "them"),
            ("x-valid", "valid", f"{half} of the test images"),
            ("x-test", "test", f"the other {half} of the test images"),
            ("ori-test", "valtest", "all test images: validation and test together"),
        )
    }
)
"""For each official training set and split: our name, and what it is."""


@dataclass(frozen=True)
class Trial:
    """One training: the schedule that it followed, the training set and the seed.

    Attributes:
        hp: The official name of the schedule, its number of epochs as a text (``"200"``, ``"01"``).
        dataset: The official name of the training set.
        seed: The official seed.
    """

    hp: str
    dataset: str
    seed: int

    def column(self, split: str, quantity: str) -> str:
        """Name of a curve, or of the metric of its last epoch: ``cifar10/valid_accuracy@200/seed777``."""
        return f"{mean_column(self.hp, self.dataset, split, quantity)}/seed{self.seed}"

    def field(self, quantity: str) -> str:
        """Name of a number of the whole training: ``cifar10/params@200/seed777``."""
        return f"{DATASETS[self.dataset]}/{quantity}@{int(self.hp)}/seed{self.seed}"


def mean_column(hp: str, dataset: str, split: str, quantity: str) -> str:
    """Name of the mean over all seeds after the last epoch: ``cifar10/valid_accuracy@200``."""
    return f"{SPLITS[dataset, split][0]}_{quantity}@{int(hp)}"


def describe(hp: str, dataset: str, split: str, quantity: str, seed: int | None) -> Metric:
    """What a column is, in words."""
    name = mean_column(hp, dataset, split, quantity)
    text = f"{SPLITS[dataset, split][1]}; after {int(hp)} epochs of a schedule of that length"
    which = "mean over the seeds that were trained" if seed is None else f"the training with seed {seed}"
    up = quantity.endswith("accuracy")
    what = {"accuracy": "", "top5_accuracy": "top-5 accuracy: ", "loss": "cross-entropy: "}[quantity]
    return Metric(
        name if seed is None else f"{name}/seed{seed}",
        "max" if up else "min",
        "%" if up else "nats",
        f"{what}{text}, {which}",
    )

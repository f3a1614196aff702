"""Reader of SVHN's cropped digits (Netzer et al. 2011), the official MATLAB files.

Each file holds ``X``, uint8 ``[32, 32, 3, n]``, and ``y``, ``[n, 1]``, in which label 10 means the digit 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from crlso.errors import UserError
from supernet.data.images import Batch, Images
from supernet.data.matlab import read_matlab

OFFICIAL: Final = {"train": 73_257, "test": 26_032, "extra": 531_131}
"""Numbers of images, as published."""
_MOST_BYTES: Final = 2 << 30  # of a file: the official extra images take 1.63 GB


def how_to_get(extra: bool = False) -> str:
    """What to download, beginning with a verb."""
    more = ", extra_32x32.mat" if extra else ""
    return f"download train_32x32.mat{more} and test_32x32.mat from http://ufldl.stanford.edu/housenumbers/"


def load_svhn(path: Path, *, extra: bool = False) -> Images:
    """The official data set: training images (then the extra ones, if asked for), then test images.

    Args:
        path: Folder with ``train_32x32.mat`` and ``test_32x32.mat``, or one of the files.
        extra: Train on the 531,131 easier extra images too.

    Raises:
        UserError: Missing, damaged, or not the official numbers of images. (No checksum is known here.)
    """
    folder = path.parent if path.is_file() else path
    parts = ("train", "extra", "test") if extra else ("train", "test")
    batches = []
    for part in parts:
        file = folder / f"{part}_32x32.mat"
        if not file.is_file():
            raise UserError(f"there is no {file.name} in {folder}; {how_to_get(extra)}")
        batch = read_svhn(file)
        if len(batch[1]) != OFFICIAL[part]:
            raise UserError(
                f"{file} holds {len(batch[1]):,} images, the official one {OFFICIAL[part]:,};"
                f" {how_to_get(extra)}"
            )
        batches.append(batch)
    return Images.of(
        "svhn_extra" if extra else "svhn",
        np.concatenate([images for images, _ in batches]),
        np.concatenate([labels for _, labels in batches]),
        classes=10,
        test_from=sum(OFFICIAL[part] for part in parts[:-1]),
    )


def read_svhn(file: Path) -> Batch:
    """Images ``[n, 3, 32, 32]`` and digits of one file, of any number.

    Raises:
        UserError: Missing or damaged.
    """
    arrays = read_matlab(file, ("X", "y"), most=_MOST_BYTES)
    pixels, labels = arrays["X"], arrays["y"]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
        raise UserError(f"{file}: X must be uint8 [32, 32, 3, n], got {pixels.dtype} {list(pixels.shape)}")
    if labels.shape != (pixels.shape[3], 1) or not labels.size:
        raise UserError(
            f"{file}: y must be [{pixels.shape[3]}, 1], a label for each image, got {list(labels.shape)}"
        )
    if not np.isin(labels, np.arange(1, 11)).all():
        raise UserError(f"{file}: labels must be the numbers 1 to 10 (10: the digit 0); get it again")
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels[:, 0].astype(np.int64) % 10

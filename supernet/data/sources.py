"""Data sets by name: where their files are found, how one gets them, whether they are the right ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from crlso.errors import UnknownNameError, UserError
from supernet.data.idx import read_idx
from supernet.data.images import Images

FASHION_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts the files."""
FASHION_CHECKSUM: Final = "cabd436676b6dc1b16466a8e282a0f318c048dc2002ac6425052715d573a5d4e"
"""Of the official 70,000 images, in the official order."""

_HOW_TO_GET_FASHION: Final = (
    "get it with `apt-get install dataset-fashion-mnist`, or name a folder with the four official files"
    " (train-images-idx3-ubyte.gz, ... from github.com/zalandoresearch/fashion-mnist)"
)


def digits(path: Path | None = None) -> Images:
    """scikit-learn's digits: 1,797 images of 1x8x8, pixels 0 to 16, 10 classes; comes with the package.

    Raises:
        UserError: A path was given; there is nothing to read from it.
    """
    if path is not None:
        raise UserError(f"data 'digits' comes with scikit-learn and takes no path, got {path}")
    from sklearn.datasets import load_digits  # a second to import

    bunch = load_digits()
    return Images.of("digits", bunch.images.astype(np.uint8)[:, None], bunch.target, classes=10)


def fashion_mnist(path: Path | None = None) -> Images:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images of 1x28x28, 10 classes.

    Args:
        path: Folder with the four official files; by default that of Debian's package.

    Raises:
        UserError: Not there (the message says how to get it), damaged, or other images.
    """
    folder = FASHION_FOLDER if path is None else path
    if path is None and not folder.is_dir():
        raise UserError(f"data 'fashion_mnist' is not on this machine: {_HOW_TO_GET_FASHION}")
    images = _four_files("fashion_mnist", folder, _HOW_TO_GET_FASHION)
    if images.checksum != FASHION_CHECKSUM:
        raise UserError(
            f"{folder} does not hold the official Fashion-MNIST (SHA-256 of its images and labels"
            f" {images.checksum[:12]}..., expected {FASHION_CHECKSUM[:12]}...): {_HOW_TO_GET_FASHION};"
            " for images of your own use the data name 'idx'"
        )
    return images


def idx_folder(path: Path | None = None) -> Images:
    """One's own images: a folder with the four files of MNIST's layout; it is called like the folder.

    Raises:
        UserError: No folder given, a file missing or damaged, or a folder name that metrics can not carry.
    """
    if path is None:
        raise UserError("data 'idx' needs the path of a folder with train-images-idx3-ubyte[.gz] and so on")
    name = path.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9_.\-]+", name):
        raise UserError(
            f"folder name {name!r} becomes the data set's name: use letters, digits, '_', '-', '.'"
        )
    if name in SOURCES:
        raise UserError(f"folder name {name!r} is the name of another data set; rename the folder")
    return _four_files(name, path, "these are the names of MNIST's files")


SOURCES: Mapping[str, Callable[[Path | None], Images]] = MappingProxyType(
    {"digits": digits, "fashion_mnist": fashion_mnist, "idx": idx_folder}
)
"""Data sets by name; each function takes an optional path."""


def load(name: str, path: Path | str | None = None) -> Images:
    """A data set by its name.

    Args:
        name: One of :data:`SOURCES`.
        path: Where its files are, for those that have files.

    Raises:
        UnknownNameError: No such name.
        UserError: Missing or unusable files.
    """
    if name not in SOURCES:
        raise UnknownNameError("data set", name, SOURCES)
    return SOURCES[name](None if path is None else Path(path))


def _four_files(name: str, folder: Path, remedy: str) -> Images:
    """Training and test images and labels, in this order."""
    pictures, labels = [], []
    for part in ("train", "t10k"):
        found = read_idx(_one_of(folder, f"{part}-images", "idx3-ubyte", remedy), dimensions=3)
        named = read_idx(_one_of(folder, f"{part}-labels", "idx1-ubyte", remedy), dimensions=1)
        if len(found) != len(named):
            raise UserError(f"{folder}: {len(found)} images but {len(named)} labels in the {part} files")
        pictures.append(found)
        labels.append(named)
    if pictures[0].shape[1:] != pictures[1].shape[1:]:
        sizes = " and ".join(f"{p.shape[1]}x{p.shape[2]}" for p in pictures)
        raise UserError(f"{folder}: training and test images differ in size: {sizes}")
    targets = np.concatenate(labels)
    return Images.of(
        name,
        np.concatenate(pictures)[:, None],
        targets,
        classes=int(targets.max()) + 1,
        test_from=len(pictures[0]),
    )


def _one_of(folder: Path, stem: str, kind: str, remedy: str) -> Path:
    """The file under one of the names that are in use."""
    for file in (f"{stem}-{kind}.gz", f"{stem}-{kind}", f"{stem}.{kind}.gz", f"{stem}.{kind}"):
        if (folder / file).is_file():
            return folder / file
    raise UserError(f"there is no {stem}-{kind}[.gz] in {folder}: {remedy}")

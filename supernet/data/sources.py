"""Data sets by name or path: where files are found, how one gets them, whether they are the right ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from crlso.errors import UnknownNameError, UserError
from crlso.runs.files import disk_errors
from supernet.data.cifar import CIFAR10, CIFAR100, Kind, how_to_get, load_cifar, locate
from supernet.data.idx import read_idx
from supernet.data.image_folder import SIZE, is_divided, load_image_folder, looks_like_classes
from supernet.data.images import Images
from supernet.data.places import images_folder, missing
from supernet.data.svhn import how_to_get as how_to_get_svhn
from supernet.data.svhn import load_svhn

FASHION_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts the files."""
FASHION_CHECKSUM: Final = "cabd436676b6dc1b16466a8e282a0f318c048dc2002ac6425052715d573a5d4e"
"""Of the official 70,000 images, in the official order."""

LAYOUTS: Final = (
    "a folder with CIFAR's data_batch_1 or train, also .bin; CIFAR's .tar.gz; SVHN's train_32x32.mat;"
    " MNIST's train-images-idx3-ubyte[.gz]; train/CLASS/*.jpeg and val/CLASS/*.jpeg, or CLASS/*.jpeg"
)
"""What :func:`find` recognises."""

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
        path: Folder with the four official files; by default the one for images, or that of Debian's package.

    Raises:
        UserError: Not there (the message says how to get it), damaged, or other images.
    """
    own = images_folder() / "fashion_mnist"
    folder = path or (own if own.is_dir() else FASHION_FOLDER)
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


def cifar10(path: Path | None = None) -> Images:
    """CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 3x32x32, 10 classes.

    Args:
        path: See :func:`supernet.data.cifar.load_cifar`; by default the folder for images.
    """
    return _cifar(path, CIFAR10)


def cifar100(path: Path | None = None) -> Images:
    """CIFAR-100 (Krizhevsky 2009): 50,000 training and 10,000 test images of 3x32x32, 100 (fine) classes.

    Args:
        path: See :func:`supernet.data.cifar.load_cifar`; by default the folder for images.
    """
    return _cifar(path, CIFAR100)


def svhn(path: Path | None = None) -> Images:
    """SVHN's cropped digits (Netzer et al. 2011): 73,257 training, 26,032 test images of 3x32x32, 10 classes.

    Args:
        path: See :func:`supernet.data.svhn.load_svhn`; by default the folder for images.
    """
    return _svhn(path, extra=False)


def svhn_extra(path: Path | None = None) -> Images:
    """SVHN with its 531,131 extra images among the training images."""
    return _svhn(path, extra=True)


def idx_folder(path: Path | None = None) -> Images:
    """One's own images: a folder with the four files of MNIST's layout; it is called like the folder.

    Raises:
        UserError: No folder given, a file missing or damaged, or a folder name that metrics can not carry.
    """
    if path is None:
        raise UserError("data 'idx' needs the path of a folder with train-images-idx3-ubyte[.gz] and so on")
    return _four_files(_folder_name(path), path, "these are the names of MNIST's files")


def image_folder(path: Path | None = None, *, size: int = SIZE) -> Images:
    """Pictures in class folders, see :mod:`supernet.data.image_folder`; it is called like the folder.

    Raises:
        UserError: No folder given, or one that can not be read so.
    """
    if path is None:
        raise UserError(
            "data 'image_folder' needs the path of a folder with train/CLASS/*.jpeg and val/CLASS/*.jpeg"
        )
    if not path.is_dir():
        raise UserError(f"there is no folder {path}")
    return load_image_folder(path, _folder_name(path), size=size)


SOURCES: Mapping[str, Callable[[Path | None], Images]] = MappingProxyType(
    {
        "digits": digits,
        "fashion_mnist": fashion_mnist,
        "cifar10": cifar10,
        "cifar100": cifar100,
        "svhn": svhn,
        "svhn_extra": svhn_extra,
        "idx": idx_folder,
        "image_folder": image_folder,
    }
)
"""Data sets by name; each function takes an optional path."""


def load(name: str, path: Path | str | None = None, *, size: int | None = None) -> Images:
    """A data set by its name.

    Args:
        name: One of :data:`SOURCES`.
        path: Where its files are, for those that have files.
        size: Side of the images, for ``image_folder``.

    Raises:
        UnknownNameError: No such name.
        UserError: Missing or unusable files; a size for images that have their own.
    """
    if name not in SOURCES:
        raise UnknownNameError("data set", name, SOURCES)
    place = None if path is None else Path(path)
    if size is None:
        return SOURCES[name](place)
    if name != "image_folder":
        raise UserError(f"images of data {name!r} have their own size; a size is for folders of pictures")
    return image_folder(place, size=size)


def find(text: str, *, size: int | None = None) -> Images:
    """A data set by its name, or by the path of its files, whose contents tell what it is.

    A name of :data:`SOURCES` goes before a path (write ``./digits`` for a folder of that name).

    Args:
        text: Name or path.
        size: Side of the images, for folders of pictures.

    Raises:
        UserError: Neither a name nor a path, a path to something that is not recognised, or unusable files.
    """
    if text in SOURCES:
        return load(text, size=size)
    path = Path(text).expanduser()
    with disk_errors(path):
        if not text.strip() or "\0" in text or not path.exists():
            raise UserError(
                f"no data set {text!r}: give a name ({', '.join(SOURCES)}) or the path of files (CIFAR's,"
                " SVHN's, MNIST's, or a folder of pictures for each class)"
            )
        name = recognise(path)
        if name is None:
            raise UserError(f"what lies at {text} is not recognised; a path may lead to {LAYOUTS}")
        if name != "idx":
            return load(name, path, size=size)
        folder = path if path.is_dir() else path.parent
        official = _four_files("fashion_mnist", folder, "these are the names of MNIST's files")
        if official.checksum == FASHION_CHECKSUM:
            return official
        return replace(official, name=_folder_name(folder))


def recognise(path: Path) -> str | None:
    """The name in :data:`SOURCES` whose files lie at a path, or ``None``."""
    for kind in (CIFAR10, CIFAR100):
        if locate(path, kind) is not None:
            return kind.name
    folder = path if path.is_dir() else path.parent
    names = [path.name] if path.is_file() else [entry.name for entry in path.iterdir()]
    if any(re.fullmatch(r"(train|test|extra)_32x32\.mat", name) for name in names):
        return "svhn"
    if any(re.fullmatch(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?", name) for name in names):
        return "idx"
    if path.is_dir() and (is_divided(folder) or looks_like_classes(folder)):
        return "image_folder"
    return None


def _cifar(path: Path | None, kind: Kind) -> Images:
    place = images_folder() / kind.name if path is None else path
    if path is None and locate(place, kind) is None:
        raise UserError(missing(kind.name, how_to_get(kind), place))
    other = CIFAR100 if kind is CIFAR10 else CIFAR10
    if locate(place, kind) is None and locate(place, other) is not None:
        raise UserError(f"{place} holds {other.name}, not {kind.name}; use that name, or another path")
    return load_cifar(place, kind)


def _svhn(path: Path | None, *, extra: bool) -> Images:
    place = images_folder() / "svhn" if path is None else path
    if path is None and not place.is_dir():
        raise UserError(missing("svhn_extra" if extra else "svhn", how_to_get_svhn(extra), place))
    return load_svhn(place, extra=extra)


def _folder_name(path: Path) -> str:
    """What metrics call one's own data set."""
    name = path.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9_.\-]+", name):
        raise UserError(
            f"folder name {name!r} becomes the data set's name: use letters, digits, '_', '-', '.'"
        )
    if name in SOURCES:
        raise UserError(f"folder name {name!r} is the name of another data set; rename the folder")
    return name


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

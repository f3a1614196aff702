"""Reader of folders with a folder of pictures for each class, as ImageNet (ILSVRC2012) is laid out.

``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``; a lone folder of class folders works too. Pictures are scaled
so that the shorter side fits (bilinear, averaging when made smaller), cut to the square in the centre, and
held as RGB bytes in one array. Decoding is Pillow's, an optional package.
"""

from __future__ import annotations

import importlib
import os
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.runs.files import disk_errors
from supernet.data.images import Images

SIZE: Final = 64
"""Side of the squares, where none is asked for."""
MOST_BYTES: Final = 16 << 30
"""Of all images together."""
ENDINGS: Final = (".jpeg", ".jpg", ".png", ".bmp", ".ppm", ".webp")

_FORMATS: Final = ("JPEG", "PNG", "BMP", "PPM", "WEBP")
_MOST_PIXELS: Final = 80_000_000  # of one picture, before it is made smaller
_DECODING_ERRORS: Final = (
    OSError,
    ValueError,
    SyntaxError,  # Pillow: a broken PNG
    EOFError,
    OverflowError,
    IndexError,
    TypeError,
    KeyError,
    struct.error,
    zlib.error,
)


def load_image_folder(path: Path, name: str, *, size: int = SIZE) -> Images:
    """Pictures in folders; classes are the folders' names, sorted.

    Args:
        path: A folder with ``train`` and ``val`` (which becomes the test part), each with a folder for each
            class; or a folder with a folder for each class.
        name: What metrics call the data set.
        size: Side of the images.

    Raises:
        UserError: No such layout, classes that differ, a class without pictures, a damaged picture, more
            images than fit into memory, or Pillow is not installed.
    """
    if not 1 <= size <= 4096:
        raise UserError(f"image size must be 1 to 4096 pixels, got {size}")
    with disk_errors(path):
        parts = [path / "train", path / "val"] if is_divided(path) else [path]
        listed = [_classes(part) for part in parts]
        classes = sorted(listed[0])
        for part, found in zip(parts, listed, strict=True):
            if odd := sorted(found.keys() ^ set(classes)):
                raise UserError(
                    f"{parts[0]} and {part} have other classes: {odd[0]!r} is in one of them only"
                )
        files = [[file for label in classes for file in found[label]] for found in listed]
        total = sum(map(len, files))
        needed = total * 3 * size * size
        if needed > MOST_BYTES:
            fitting = int((MOST_BYTES / (3 * total)) ** 0.5)
            raise UserError(
                f"{path}: {total:,} images of 3x{size}x{size} take {needed / 2**30:.1f} GiB, more than"
                f" {MOST_BYTES >> 30} GiB; take a smaller size (up to {fitting}) or fewer images"
            )
        images = _decoded([file for part in files for file in part], size)
    labels = [[number for number, label in enumerate(classes) for _ in found[label]] for found in listed]
    return Images.of(
        name,
        images,
        np.array([label for part in labels for label in part]),
        classes=len(classes),
        test_from=len(files[0]) if len(files) > 1 else None,
    )


def is_divided(path: Path) -> bool:
    """Whether a folder has the two parts."""
    return (path / "train").is_dir() and (path / "val").is_dir()


def looks_like_classes(path: Path) -> bool:
    """Whether a folder has class folders, the first of them with a picture in it."""
    return any(_pictures(folder) for folder in _subfolders(path)[:1])


def _subfolders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in ENDINGS and not entry.name.startswith(".") and entry.is_file()
    )


def _classes(part: Path) -> dict[str, list[Path]]:
    """Pictures of each class."""
    if not part.is_dir():
        raise UserError(f"there is no folder {part}")
    found = {folder.name: _pictures(folder) for folder in _subfolders(part)}
    if len(found) < 2:
        raise UserError(f"{part} needs a folder for each class, two or more; it has {len(found)}")
    for label, files in found.items():
        if not files:
            raise UserError(f"class folder {part / label} holds no picture ({', '.join(ENDINGS)})")
    return found


def _decoded(files: list[Path], size: int) -> NDArray[np.uint8]:
    """``[n, 3, size, size]``; several pictures at a time, as decoding leaves Python's lock alone."""
    read = _decoder(size)
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)
    row = 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), 1000):  # not all at once: each waits in memory
            for image in pool.map(read, files[start : start + 1000]):
                images[row] = image
                row += 1
    return images


def _decoder(size: int) -> Callable[[Path], NDArray[np.uint8]]:
    """A function from a file to ``[3, size, size]``."""
    try:
        Image = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise UserError("pictures are decoded with Pillow: pip install 'crlso[images]'") from error

    def read(file: Path) -> NDArray[np.uint8]:
        try:
            with file.open("rb") as stream, Image.open(stream, formats=_FORMATS) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    raise UserError(
                        f"{file}: {picture.width}x{picture.height} pixels, {_MOST_PIXELS:,} are allowed"
                    )
                scale = size / min(picture.size)
                sides = (max(size, round(picture.width * scale)), max(size, round(picture.height * scale)))
                if max(sides) > 64 * size:
                    raise UserError(
                        f"{file}: {picture.width}x{picture.height} pixels are no picture to cut a square from"
                    )
                picture.draft("RGB", (2 * sides[0], 2 * sides[1]))  # JPEG: skip detail that goes away
                resized = picture.convert("RGB").resize(sides, Image.Resampling.BILINEAR)
        except (*_DECODING_ERRORS, Image.DecompressionBombError, Warning) as error:
            detail = " ".join(str(error).split())[:100]
            raise UserError(
                f"{file} is not a picture, or damaged ({detail or type(error).__name__})"
            ) from error
        left, top = (sides[0] - size) // 2, (sides[1] - size) // 2
        square = np.asarray(resized)[top : top + size, left : left + size]
        return square.transpose(2, 0, 1)

    return read

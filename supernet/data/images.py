"""A set of labelled images, in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images ``[n, c, h, w]`` and labels ``[n]``, as a reader of one file gives them."""


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images as their files hold them: nothing scaled, nothing normalised.

    Attributes:
        name: What metrics call the data set (``digits``).
        images: ``[n, c, h, w]`` uint8.
        labels: ``[n]`` int64 in ``range(classes)``.
        classes: Number of classes.
        test_from: Images from this index on are the data set's own test part; ``None`` where it has none.
        checksum: SHA-256 of all of the above but the name: the same images give the same text, however
            their files are packed.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int
    test_from: int | None
    checksum: str

    @classmethod
    def of(
        cls,
        name: str,
        images: NDArray[np.uint8],
        labels: NDArray[Any],
        *,
        classes: int,
        test_from: int | None = None,
    ) -> Self:
        """Checked and read-only, with the checksum worked out.

        Raises:
            UserError: Shapes or types do not fit, no image at all, or a label out of range.
        """
        if images.ndim != 4 or images.dtype != np.uint8 or images.size == 0:
            raise UserError(
                f"data {name!r}: images must be uint8 [n, c, h, w], got {images.dtype} {list(images.shape)}"
            )
        if labels.shape != (len(images),):
            raise UserError(f"data {name!r}: {len(images)} images, but labels of shape {list(labels.shape)}")
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
            raise UserError(
                f"data {name!r}: labels must be whole numbers from 0 to {classes - 1},"
                f" got {labels.min()} to {labels.max()}"
            )
        if test_from is not None and not 0 < test_from < len(images):
            raise UserError(f"data {name!r}: test part from {test_from} of {len(images)} images")
        pixels = np.ascontiguousarray(images).view()
        targets = labels.astype(np.int64)
        digest = hashlib.sha256(f"{images.shape} {classes} {test_from}".encode())
        digest.update(pixels.tobytes())
        digest.update(targets.astype("<i8").tobytes())
        pixels.setflags(write=False)
        targets.setflags(write=False)
        return cls(name, pixels, targets, classes, test_from, digest.hexdigest())

    def __len__(self) -> int:
        return len(self.images)

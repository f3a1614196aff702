"""Reader of the official files of CIFAR-10 and CIFAR-100 (Krizhevsky 2009), python and binary version.

Formats (https://www.cs.toronto.edu/~kriz/cifar.html). Python: each file is a dict, pickled by Python 2, with
``data`` (uint8 ``[n, 3072]``: the red, green and blue plane, row by row) and ``labels`` (``fine_labels`` and
``coarse_labels`` in CIFAR-100). Binary: for each image a label byte (CIFAR-100: the coarse one, then the fine
one) and the same 3072 bytes. Both come as a ``.tar.gz``. Pickles are read as data; nothing in them is run.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.formats.errors import FormatError
from crlso.formats.pickles import read_pickle
from crlso.runs.files import disk_errors
from supernet.data.images import Batch, Images

_PIXELS: Final = 3 * 32 * 32
_MOST_BYTES: Final = 1 << 30  # unpacked; the official archives hold less than 200 MB


@dataclass(frozen=True)
class Kind:
    """One of the two data sets.

    Attributes:
        name: Of the data set.
        stem: What the official archives' names begin with.
        classes: Number of classes.
        training: Names of the files with training images (python version; the binary one adds ``.bin``).
        test: The same for the test images.
        label: Key of the labels in the python version.
        label_bytes: Label bytes of an image in the binary version; the last one counts.
        digests: :func:`unordered_digest` of the official training and test images; ``None``: not known.
    """

    name: str
    stem: str
    classes: int
    training: tuple[str, ...]
    test: str
    label: str
    label_bytes: int
    digests: tuple[str, str] | None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files with images, of the python version."""
        return (*self.training, self.test)


CIFAR10: Final = Kind(
    name="cifar10",
    stem="cifar-10",
    classes=10,
    training=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    label="labels",
    label_bytes=1,
    digests=(
        "55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
        "325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
    ),
)
"""The digests are those of a lossless copy of the official images in another order. Its training images have
the published channel means (.49139968 .48215841 .44653091) and deviations (.24703223 .24348513 .26158784) in
all eight digits. As the digests do not depend on the order, they hold for the official files too."""

CIFAR100: Final = Kind(
    name="cifar100",
    stem="cifar-100",
    classes=100,
    training=("train",),
    test="test",
    label="fine_labels",
    label_bytes=2,
    digests=None,
)
KINDS: Final = (CIFAR10, CIFAR100)

_TRAINING: Final = 50_000
_TEST: Final = 10_000


def how_to_get(kind: Kind) -> str:
    """What to download, beginning with a verb."""
    return (
        f"download https://www.cs.toronto.edu/~kriz/{kind.stem}-python.tar.gz (or {kind.stem}-binary.tar.gz)"
    )


def load_cifar(path: Path, kind: Kind) -> Images:
    """The official data set: training images in the order of the files, then test images.

    Args:
        path: An official archive; a folder with the files, or one in which either lies.
        kind: Which of the two.

    Raises:
        UserError: Missing, damaged, or not the official images (CIFAR-10: by checksum; CIFAR-100: by counts).
    """
    training, test = read_cifar(path, kind)
    for part, (_, labels), official in (("training", training, _TRAINING), ("test", test, _TEST)):
        if len(labels) != official:
            raise UserError(
                f"{path} holds {len(labels):,} {part} images, the official {kind.name} {official:,};"
                f" {how_to_get(kind)}"
            )
        counts = np.bincount(labels, minlength=kind.classes)
        if (counts != official // kind.classes).any():
            odd = int(np.argmax(counts != official // kind.classes))
            raise UserError(
                f"{path} holds {counts[odd]:,} {part} images of class {odd}, the official {kind.name}"
                f" {official // kind.classes:,} of each; {how_to_get(kind)}"
            )
    if kind.digests is not None:
        for part, batch, digest in zip(("training", "test"), (training, test), kind.digests, strict=True):
            if (found := unordered_digest(*batch)) != digest:
                raise UserError(
                    f"the {part} images in {path} are not those of the official {kind.name} (checksum"
                    f" {found[:12]}..., expected {digest[:12]}...); {how_to_get(kind)};"
                    " for images of your own use the layouts idx or image_folder"
                )
    return Images.of(
        kind.name,
        np.concatenate([training[0], test[0]]),
        np.concatenate([training[1], test[1]]),
        classes=kind.classes,
        test_from=len(training[1]),
    )


def unordered_digest(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """A checksum of labelled images that does not depend on their order.

    It is the SHA-256 of the sorted SHA-256 of all images, each as its label (one byte) and its pixels.
    """
    rows = np.hstack([labels.astype(np.uint8)[:, None], images.reshape(len(images), -1)])
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(row).digest() for row in rows))).hexdigest()


def read_cifar(path: Path, kind: Kind) -> tuple[Batch, Batch]:
    """Training and test images ``[n, 3, 32, 32]`` with labels, of any number.

    Raises:
        UserError: Missing or damaged files.
    """
    with disk_errors(path):
        place = locate(path, kind)
        if place is None:
            raise UserError(
                f"there is no {kind.training[0]}, {kind.training[0]}.bin or {kind.stem}-*.tar.gz in {path};"
                f" {how_to_get(kind)}"
            )
        files = _unpacked(place, kind) if place.is_file() else _lying(place, kind)
        batches = [
            _binary(name, data, kind) if binary else _python(name, data, kind) for name, data, binary in files
        ]
    images = [batch[0] for batch in batches]
    labels = [batch[1] for batch in batches]
    return (np.concatenate(images[:-1]), np.concatenate(labels[:-1])), (images[-1], labels[-1])


def locate(path: Path, kind: Kind) -> Path | None:
    """The archive, or the folder with the files, that a path leads to."""
    if path.is_file():
        return path if _is_archive(path) and _archived(path) is kind else None
    folders = (
        path,
        *(path / f"{kind.stem}{ending}" for ending in ("-batches-py", "-batches-bin", "-python", "-binary")),
    )
    for folder in folders:
        if any((folder / f"{kind.training[0]}{ending}").is_file() for ending in ("", ".bin")):
            return folder
    archives = (path / f"{kind.stem}-{version}.tar.gz" for version in ("python", "binary"))
    return next((archive for archive in archives if archive.is_file()), None)


def _is_archive(path: Path) -> bool:
    return path.name.endswith((".tar.gz", ".tgz"))


def _archived(path: Path) -> Kind | None:
    """Which of the two an archive holds, by the names in it; a damaged one by its own name."""
    try:
        for name, _ in _members(path, lambda name: False):
            for kind in KINDS:
                if name.removesuffix(".bin") in kind.files:
                    return kind
    except UserError:
        return next((kind for kind in reversed(KINDS) if path.name.startswith(kind.stem)), None)
    return None


def _lying(folder: Path, kind: Kind) -> Iterator[tuple[Path, IO[bytes], bool]]:
    """The files of a folder, in the order of :attr:`Kind.files`; whether they are of the binary version."""
    binary = not (folder / kind.training[0]).is_file()
    for name in kind.files:
        path = folder / (f"{name}.bin" if binary else name)
        if not path.is_file():
            raise UserError(
                f"there is no {path.name} in {folder}, only other files of {kind.name}; get it again"
            )
        with path.open("rb") as file:
            yield path, file, binary


def _unpacked(archive: Path, kind: Kind) -> Iterator[tuple[Path, IO[bytes], bool]]:
    """The same of an archive."""
    found: dict[str, bytes] = {}
    for name, data in _members(archive, lambda name: name.removesuffix(".bin") in kind.files):
        if name in found:
            raise UserError(f"{archive} holds {name} twice; get it again")
        if data:
            found[name] = data
    binary = f"{kind.training[0]}.bin" in found
    for file in kind.files:
        name = f"{file}.bin" if binary else file
        if name not in found:
            raise UserError(f"there is no {name} in {archive}; get it again")
        yield archive / name, io.BytesIO(found.pop(name)), binary


def _members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Base names of the files in a ``.tar.gz``, each with its content if it is wanted.

    Raises:
        UserError: Damaged (gzip's checksum is looked at in the end), or larger than any official archive.
    """
    try:
        with gzip.open(archive) as packed:
            stream = _Limited(packed, archive)
            with tarfile.open(fileobj=stream, mode="r|") as files:
                for member in files:
                    if not member.isfile():
                        continue
                    name = member.name.rsplit("/", 1)[-1]
                    content = files.extractfile(member) if wanted(name) else None
                    yield name, b"" if content is None else content.read()
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        detail = " ".join(str(error).split())
        raise UserError(f"{archive} is damaged ({detail or type(error).__name__}); get it again") from error


@final
class _Limited(io.RawIOBase):
    """What is unpacked, up to a limit: a small file can unpack to any size."""

    def __init__(self, stream: gzip.GzipFile, archive: Path) -> None:
        self._stream = stream
        self._archive = archive
        self._left = _MOST_BYTES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes."""
        if size < 0 or size > self._left:
            raise UserError(f"{self._archive} unpacks to more than {_MOST_BYTES:,} bytes; it is not CIFAR")
        data = self._stream.read(size)
        self._left -= len(data)
        return data


def _binary(path: Path, file: IO[bytes], kind: Kind) -> Batch:
    data = _whole(path, file)
    record = kind.label_bytes + _PIXELS
    if not data or len(data) % record:
        raise UserError(
            f"{path} holds {len(data):,} bytes, which are not whole images of {record:,} bytes each;"
            f" is it of the binary version of {kind.name}, and complete?"
        )
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    return _batch(path, rows[:, kind.label_bytes :], rows[:, kind.label_bytes - 1], kind)


def _python(path: Path, file: IO[bytes], kind: Kind) -> Batch:
    try:
        found = read_pickle(file)
    except FormatError as error:
        raise UserError(f"{path} is not a file of the python version of {kind.name}: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}, expected a dict with data and {kind.label}")
    # Python 2's texts are texts here; bytes as keys are what Python 3 writes after reading them so.
    entries = {
        key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in found.items()
    }
    data, labels = entries.get("data"), entries.get(kind.label)
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != _PIXELS
    ):
        shape = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{path}: data must be uint8 [n, {_PIXELS}], got {shape}")
    if isinstance(labels, list) and all(type(label) is int and 0 <= label < 256 for label in labels):
        labels = np.array(labels, dtype=np.uint8)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (len(data),):
        raise UserError(f"{path}: {kind.label} must be {len(data)} whole numbers, one for each image")
    return _batch(path, data, labels, kind)


def _batch(path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.integer], kind: Kind) -> Batch:
    if not len(labels):
        raise UserError(f"{path} holds no image; get it again")
    if labels.min() < 0 or labels.max() >= kind.classes:
        raise UserError(
            f"{path}: labels of {kind.name} are 0 to {kind.classes - 1}, got {labels.min()} to"
            f" {labels.max()}; are the files mixed up?"
        )
    return pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _whole(path: Path, file: IO[bytes]) -> bytes:
    data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise UserError(f"{path} is larger than any file of CIFAR")
    return data

"""Image data sets, their files and their division."""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from crlso.errors import UnknownNameError, UserError
from supernet.data import SplitSettings, load, split
from supernet.data.idx import read_idx
from supernet.data.sources import FASHION_FOLDER

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 6), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 3


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def folder(path: Path, *, ending: str = "-ubyte.gz") -> Path:
    """A folder in MNIST's layout: 20 images for training, 10 for the test."""
    path.mkdir()
    for part, rows in (("train", slice(20)), ("t10k", slice(20, 30))):
        for kind, array in (("images-idx3", IMAGES[rows]), ("labels-idx1", LABELS[rows])):
            data = idx(array)
            data = gzip.compress(data, mtime=0) if ending.endswith(".gz") else data
            (path / f"{part}-{kind}{ending}").write_bytes(data)
    return path


def test_digits_are_those_of_scikit_learn() -> None:
    data, bunch = load("digits"), load_digits()
    np.testing.assert_array_equal(data.images[:, 0], bunch.images)
    np.testing.assert_array_equal(data.labels, bunch.target)
    assert (len(data), data.classes, data.test_from) == (1797, 10, None)


@pytest.mark.skipif(not FASHION_FOLDER.is_dir(), reason="needs the package dataset-fashion-mnist")
def test_fashion_mnist_is_balanced_as_published() -> None:
    data = load("fashion_mnist")  # refuses images other than the official ones
    assert (data.images.shape, data.test_from) == ((70_000, 1, 28, 28), 60_000)
    assert Counter(data.labels[:60_000].tolist()) == dict.fromkeys(range(10), 6_000)
    assert Counter(data.labels[60_000:].tolist()) == dict.fromkeys(range(10), 1_000)


@pytest.mark.parametrize("ending", ["-ubyte.gz", "-ubyte"])
def test_own_images(tmp_path: Path, ending: str) -> None:
    data = load("idx", folder(tmp_path / "shapes", ending=ending))
    np.testing.assert_array_equal(data.images[:, 0], IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert (data.name, data.classes, data.test_from) == ("shapes", 3, 20)


def test_packing_does_not_change_the_checksum(tmp_path: Path) -> None:
    packed = load("idx", folder(tmp_path / "a"))
    assert load("idx", folder(tmp_path / "b", ending="-ubyte")).checksum == packed.checksum


WHOLE = gzip.compress(idx(LABELS), mtime=0)
FLIPPED = WHOLE[:15] + bytes([WHOLE[15] ^ 16]) + WHOLE[16:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an idx file"),
        (b"PK\3\4 zip", "not an idx file"),
        (WHOLE[:-12], "damaged"),
        (FLIPPED, r"damaged|should hold|not an idx|dimensions"),
        (gzip.compress(idx(LABELS)[:-1], mtime=0), "should hold 30 entries, it holds only 29"),
        (gzip.compress(idx(LABELS) + b"x", mtime=0), "it holds more"),
        (idx(LABELS)[:6], "ends inside its header"),
        (idx(IMAGES), "3 dimensions, expected 1"),
        (b"\0\0\x0d\1" + idx(LABELS)[4:], "idx type 0x0d"),
        (bytes([0, 0, 8, 1, 255, 255, 255, 255, 1]), "should hold 4294967295 entries"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 0]), "impossible header"),
    ],
)
def test_damaged_idx_files_are_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_idx(tmp_path / "f", dimensions=1)
    assert "\n" not in str(caught.value)


def test_no_bit_of_a_packed_file_can_flip_unnoticed(tmp_path: Path) -> None:
    for bit in range(8 * 10, 8 * len(WHOLE)):  # the first ten bytes hold gzip's time and flags
        data = bytearray(WHOLE)
        data[bit // 8] ^= 1 << bit % 8
        (tmp_path / "f").write_bytes(data)
        try:
            found = read_idx(tmp_path / "f", dimensions=1)
        except UserError:
            continue
        np.testing.assert_array_equal(found, LABELS)


def test_missing_and_wrong_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data set 'mnist'; known: cifar10, .*digits, .*idx"):
        load("mnist")
    with pytest.raises(UserError, match=r"there is no train-images-idx3-ubyte\[.gz\] in .*apt-get install"):
        load("fashion_mnist", tmp_path)
    with pytest.raises(UserError, match=r"not hold the official Fashion-MNIST"):
        load("fashion_mnist", folder(tmp_path / "f"))
    with pytest.raises(UserError, match="needs the path"):
        load("idx")
    with pytest.raises(UserError, match="takes no path"):
        load("digits", tmp_path)
    with pytest.raises(UserError, match="name of another data set"):
        load("idx", folder(tmp_path / "digits"))
    (tmp_path / "f" / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS), mtime=0))
    with pytest.raises(UserError, match="10 images but 30 labels"):
        load("idx", tmp_path / "f")


def test_parts_are_stratified_and_hold_every_image_once() -> None:
    data = load("digits")
    parts = split(data)
    shares = {"train": 0.6, "valid": 0.2, "test": 0.2}
    for name, part in (("train", parts.train), ("valid", parts.valid), ("test", parts.test)):
        counts = np.bincount(part.labels, minlength=10)
        np.testing.assert_allclose(counts, shares[name] * np.bincount(data.labels), atol=1.01)
    pixels = [image.tobytes() for part in (parts.train, parts.valid, parts.test) for image in part.images]
    assert sorted(pixels) == sorted(image.tobytes() for image in data.images)
    np.testing.assert_allclose(parts.mean, parts.train.images.mean())
    np.testing.assert_allclose(parts.deviation, parts.train.images.std())


def test_the_division_depends_on_its_seed_alone() -> None:
    data = load("digits")
    first, again, other = split(data), split(data), split(data, SplitSettings(seed=1))
    assert first.checksum == again.checksum != other.checksum
    np.testing.assert_array_equal(first.train.images, again.train.images)


def test_limits_and_a_test_part_of_its_own(tmp_path: Path) -> None:
    data = load("idx", folder(tmp_path / "shapes"))
    parts = split(data, SplitSettings(limits=(9, None, 6)))
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [9, 5, 6]
    assert Counter(parts.train.labels.tolist()) == {0: 3, 1: 3, 2: 3}
    own = {image.tobytes() for image in data.images[20:]}
    assert {image.tobytes() for image in parts.test.images} <= own
    assert not {image.tobytes() for image in parts.train.images} & own


def test_blocks_are_averaged(tmp_path: Path) -> None:
    parts = split(load("idx", folder(tmp_path / "shapes")), SplitSettings(shrink=2))
    means = np.rint(
        [
            [[i[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for c in range(3)] for r in range(2)]
            for i in IMAGES
        ]
    )
    assert parts.size == (2, 3)
    assert {image.tobytes() for image in parts.test.images} == {
        image.astype(np.uint8).tobytes() for image in means[20:]
    }
    with pytest.raises(UserError, match="do not divide into blocks of 3x3"):
        split(load("idx", tmp_path / "shapes"), SplitSettings(shrink=3))


@pytest.mark.parametrize(
    "wrong",
    [{"limits": (0, None, None)}, {"shrink": 0}, {"seed": -1}, {"fractions": (0.5, 0.5, 0.0)}],
)
def test_impossible_divisions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        SplitSettings(**wrong)  # type: ignore[arg-type]

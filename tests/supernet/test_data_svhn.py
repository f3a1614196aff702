"""SVHN's MATLAB files: the reader against scipy's, on what scipy writes; damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from crlso.errors import UserError
from supernet.data import find, load
from supernet.data.matlab import read_matlab
from supernet.data.svhn import OFFICIAL, read_svhn
from tests.benchmarks.mutations import mutated

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (32, 32, 3, 7), dtype=np.uint8)
LABELS = np.array([[10], [1], [2], [9], [10], [5], [3]], dtype=np.uint8)
MOST = 1 << 24


def file(path: Path, *, packed: bool = True, **arrays: object) -> Path:
    savemat(path, {"X": PIXELS, "y": LABELS, **arrays}, do_compression=packed)
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_images_as_scipy_reads_them(tmp_path: Path, packed: bool) -> None:
    path = file(tmp_path / "train_32x32.mat", packed=packed)
    images, digits = read_svhn(path)
    reference = loadmat(path)
    for number in range(7):
        np.testing.assert_array_equal(images[number].transpose(1, 2, 0), reference["X"][..., number])
    assert digits.tolist() == [0, 1, 2, 9, 0, 5, 3]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_numbers_of_every_type(tmp_path: Path, dtype: str, packed: bool) -> None:
    values = RNG.integers(0, 100, (3, 1, 5)).astype(dtype)
    names = {"a": values, "a_longer_name": values[0], "text": "skipped", "cell": np.array([1, "x"], object)}
    savemat(tmp_path / "f.mat", names, do_compression=packed)
    found = read_matlab(tmp_path / "f.mat", ("a", "a_longer_name"), most=MOST)
    reference = loadmat(tmp_path / "f.mat")
    assert found.keys() == {"a", "a_longer_name"}
    for name, array in found.items():
        np.testing.assert_array_equal(array, reference[name])
        assert array.dtype == reference[name].dtype == np.dtype(dtype)


def test_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (OFFICIAL["train"], OFFICIAL["test"]) == (73_257, 26_032)
    monkeypatch.setattr("supernet.data.svhn.OFFICIAL", {"train": 57, "test": 32, "extra": 31})
    for part, count in (("train", 57), ("test", 32)):
        labels = 1 + np.arange(count) % 10
        file(tmp_path / f"{part}_32x32.mat", X=np.zeros((32, 32, 3, count), np.uint8), y=labels[:, None])
    data = find(str(tmp_path))
    assert (data.name, data.images.shape) == ("svhn", (89, 3, 32, 32))
    assert (data.classes, data.test_from) == (10, 57)
    assert find(str(tmp_path / "test_32x32.mat")).checksum == data.checksum
    assert data.labels[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    with pytest.raises(
        UserError, match=r"there is no extra_32x32\.mat in .* download train_32x32\.mat, extra"
    ):
        load("svhn_extra", tmp_path)
    file(tmp_path / "extra_32x32.mat", X=np.ones((32, 32, 3, 31), np.uint8), y=np.full((31, 1), 4))
    more = load("svhn_extra", tmp_path)
    assert (more.name, len(more), more.test_from) == ("svhn_extra", 120, 88)
    assert (more.images[57:88] == 1).all() and (more.labels[57:88] == 4).all()
    file(tmp_path / "test_32x32.mat")
    with pytest.raises(UserError, match="holds 7 images, the official one 32; download"):
        load("svhn", tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": PIXELS[:28]}, r"X must be uint8 \[32, 32, 3, n\], got uint8 \[28, 32, 3, 7\]"),
        ({"X": PIXELS.astype(float)}, "got float64"),
        ({"X": PIXELS + 1j}, "X holds complex numbers"),
        ({"X": "text"}, "X is not an array of numbers"),
        ({"y": LABELS[1:]}, r"y must be \[7, 1\], a label for each image, got \[6, 1\]"),
        ({"y": LABELS - 1}, "labels must be the numbers 1 to 10"),
        ({"y": np.full((7, 1), np.nan)}, "labels must be the numbers 1 to 10"),
        ({"y": LABELS + 0.5}, "labels must be the numbers 1 to 10"),
        ({"X": PIXELS[..., :0], "y": LABELS[:0]}, r"y must be \[0, 1\]"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_svhn(file(tmp_path / "f.mat", **arrays))
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_svhn(tmp_path / "none.mat")
    for data in (b"", b"<html>" * 100, b"MATLAB 7.3 MAT-file" + bytes(105) + b"\0\2IM" + bytes(100)):
        (tmp_path / "f.mat").write_bytes(data)
        with pytest.raises(UserError, match="not a MATLAB file of version 5"):
            read_svhn(tmp_path / "f.mat")
    savemat(tmp_path / "f.mat", {"X": PIXELS})
    with pytest.raises(UserError, match="holds no array 'y'"):
        read_svhn(tmp_path / "f.mat")
    bomb = {"X": np.zeros(1 << 20, np.uint8)}
    savemat(tmp_path / "f.mat", bomb, do_compression=True)
    with pytest.raises(UserError, match="unpacks to more than 100,000 bytes"):
        read_matlab(tmp_path / "f.mat", ("X",), most=100_000)


@pytest.mark.parametrize("packed", [True, False])
def test_damaged_files_are_one_line_or_read(tmp_path: Path, packed: bool) -> None:
    whole, rng, refused = file(tmp_path / "f.mat", packed=packed).read_bytes(), np.random.default_rng(1), 0
    for _ in range(200):
        (tmp_path / "f.mat").write_bytes(mutated(whole, rng))
        try:
            images, digits = read_svhn(tmp_path / "f.mat")
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert images.shape == (len(digits), 3, 32, 32)
            # zlib has a checksum: what was read is what was written.
            assert not packed or np.array_equal(images.transpose(2, 3, 1, 0), PIXELS)
    assert refused > 80

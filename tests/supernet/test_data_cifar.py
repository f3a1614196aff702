"""CIFAR's official files: both versions, packed and not, of both Pythons; hostile and damaged ones."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from crlso.errors import UserError
from supernet.data import SplitSettings, find, load, split
from supernet.data.cifar import CIFAR10, CIFAR100, Kind, read_cifar, unordered_digest
from tests.benchmarks.mutations import mutated
from tests.source import ROOT
from tests.spaces.data import data_file

EACH = 6  # images in a file
KINDS = pytest.mark.parametrize("kind", [CIFAR10, CIFAR100], ids=lambda kind: kind.name)


def images(kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    count = EACH * len(kind.files)
    pixels = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return pixels, rng.integers(0, kind.classes, count)


def contents(kind: Kind, version: str) -> dict[str, bytes]:
    """Files of a version by name, as the official page describes them."""
    pixels, labels = images(kind)
    made = {}
    for number, name in enumerate(kind.files):
        rows = slice(EACH * number, EACH * (number + 1))
        flat, own = pixels[rows].reshape(EACH, -1), labels[rows]
        if version == "binary":
            coarse = [b"\7"] * EACH if kind is CIFAR100 else [b""] * EACH
            records = [
                c + bytes([label]) + row.tobytes() for c, label, row in zip(coarse, own, flat, strict=True)
            ]
            made[f"{name}.bin"] = b"".join(records)
        else:
            value = {kind.label: own.tolist(), "data": flat, "batch_label": name, "coarse_labels": [7] * EACH}
            if version == "bytes":
                value = {key.encode(): entry for key, entry in value.items()}  # type: ignore[misc]
            made[name] = pickle.dumps(value, protocol=2 if version == "bytes" else 5)
    made["readme.html"] = b"<html>"
    return made


def folder(path: Path, kind: Kind, version: str) -> Path:
    path.mkdir(parents=True)
    for name, data in contents(kind, version).items():
        (path / name).write_bytes(data)
    return path


def archive(path: Path, files: dict[str, bytes], within: str = "cifar-10-batches-py/") -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, data in files.items():
            info = tarfile.TarInfo(within + name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


def check(path: Path, kind: Kind) -> None:
    (training, training_labels), (test, test_labels) = read_cifar(path, kind)
    pixels, labels = images(kind)
    np.testing.assert_array_equal(np.concatenate([training, test]), pixels)
    np.testing.assert_array_equal(np.concatenate([training_labels, test_labels]), labels)
    assert len(test) == EACH


@KINDS
@pytest.mark.parametrize("version", ["python", "bytes", "binary"])
def test_versions_are_equal(tmp_path: Path, kind: Kind, version: str) -> None:
    check(folder(tmp_path / "a", kind, version), kind)
    official = "-batches-bin" if version == "binary" else "-batches-py"
    folder(tmp_path / "b" / f"{kind.stem}{official}", kind, version)
    check(tmp_path / "b", kind)
    (tmp_path / "c").mkdir()
    packed = archive(tmp_path / "c" / f"{kind.stem}-python.tar.gz", contents(kind, version))
    check(packed, kind)
    check(packed.parent, kind)


def test_a_file_of_python_2(tmp_path: Path) -> None:
    with zipfile.ZipFile(ROOT / "tests/formats/python2.zip") as packed:
        data = packed.read("rows.pkl")
    for name in CIFAR10.files:
        (tmp_path / name).write_bytes(data)
    (training, labels), (test, _) = read_cifar(tmp_path, CIFAR10)
    assert labels.tolist() == [6, 9, 9, 4] * 5
    expected = (np.arange(4 * 3072) * 7 % 251).astype(np.uint8).reshape(4, 3, 32, 32)
    np.testing.assert_array_equal(test, expected)
    np.testing.assert_array_equal(training[4:8], expected)


def test_the_digest_does_not_depend_on_the_order() -> None:
    pixels, labels = images(CIFAR10)
    order = np.random.default_rng(1).permutation(len(labels))
    assert unordered_digest(pixels, labels) == unordered_digest(pixels[order], labels[order])
    assert unordered_digest(pixels, labels) != unordered_digest(pixels, labels[order])
    pixels[3, 2, 1, 0] ^= 1
    assert unordered_digest(pixels, labels) != unordered_digest(*images(CIFAR10))


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real images in the official layout."""
    pytest.importorskip("PIL")
    script = data_file("cifar10/unpack.py")
    path = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, script, path], check=True, capture_output=True)
    return path


@pytest.mark.slow
def test_real_cifar10(cifar10: Path) -> None:
    data = find(str(cifar10))  # refuses other images
    assert (data.name, data.images.shape, data.classes, data.test_from) == (
        "cifar10",
        (60_000, 3, 32, 32),
        10,
        50_000,
    )
    # The figures that are in use everywhere, in units of the pixels' range.
    mean, deviation = data.images[:50_000].mean((0, 2, 3)) / 255, data.images[:50_000].std((0, 2, 3)) / 255
    np.testing.assert_allclose(mean, [0.49139968, 0.48215841, 0.44653091], atol=5e-9, rtol=0)
    np.testing.assert_allclose(deviation, [0.24703223, 0.24348513, 0.26158784], atol=5e-9, rtol=0)
    parts = split(data, SplitSettings(fractions=(0.4, 0.4, 0.2)))
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [25_000, 25_000, 10_000]
    file = cifar10 / "cifar-10-batches-bin" / "data_batch_2.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    with pytest.raises(UserError, match=r"training images in .* are not those of the official cifar10"):
        load("cifar10", cifar10)
    file.write_bytes(whole[3073:])
    with pytest.raises(UserError, match="holds 49,999 training images, the official cifar10 50,000"):
        load("cifar10", cifar10)


def test_cifar100_of_the_official_size(tmp_path: Path) -> None:
    for name, count in (("train", 50_000), ("test", 10_000)):
        records = np.zeros((count, 3074), np.uint8)
        records[:, 1] = np.arange(count) % 100
        records.tofile(tmp_path / f"{name}.bin")
    data = find(str(tmp_path))
    assert (data.name, len(data), data.classes, data.test_from) == ("cifar100", 60_000, 100, 50_000)
    records[7, 1] = 8
    records.tofile(tmp_path / "test.bin")
    with pytest.raises(
        UserError, match=r"holds 99 test images of class 7, the official cifar100 100 of each"
    ):
        find(str(tmp_path))


class Hostile:
    """What a hostile file would have Python run."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self._mark}",)


def shaped(shape: tuple[int, ...], data: bytes) -> bytes:
    """A pickled dict whose array says that it has another shape."""
    whole = pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [0]}, protocol=2)
    sizes = b"".join(b"J" + size.to_bytes(4, "little") for size in shape)
    old = b"K\x01M\x00\x0c\x86"
    assert old in whole
    return whole.replace(old, sizes + b"\x86") + data


ROWS = np.zeros((EACH, 3072), np.uint8)


def hostile(mark: Path) -> dict[str, tuple[object, str]]:
    good = list(range(EACH))
    return {
        "runs as a value": ({"data": ROWS, "labels": Hostile(mark)}, "names posix.system, which is not data"),
        "runs as a key": ({"data": ROWS, "labels": good, Hostile(mark): 1}, "names posix.system"),
        "a class": ({"data": ROWS, "labels": good, "kind": Path}, "names pathlib"),
        "an object": ({"data": ROWS, "labels": good, "path": Path("/tmp")}, "names pathlib"),
        "objects in an array": ({"data": np.array([[None] * 3072]), "labels": [0]}, "numpy type 'O8'"),
        "a list": ([1, 2], "holds a list, expected a dict"),
        "no data": ({"labels": good}, r"data must be uint8 \[n, 3072\], got NoneType"),
        "floats": ({"data": ROWS.astype(float), "labels": good}, r"got float64 \[6, 3072\]"),
        "other size": ({"data": ROWS[:, :768], "labels": good}, r"got uint8 \[6, 768\]"),
        "few labels": ({"data": ROWS, "labels": good[1:]}, "labels must be 6 whole numbers"),
        "label of another set": (
            {"data": ROWS, "labels": [0, 0, 0, 0, 0, 10]},
            "labels of cifar10 are 0 to 9",
        ),
        "negative labels": ({"data": ROWS, "labels": np.full(EACH, -1)}, "labels of cifar10 are 0 to 9"),
        "texts as labels": ({"data": ROWS, "labels": list("abcdef")}, "labels must be 6 whole numbers"),
        "no image": ({"data": ROWS[:0], "labels": []}, "holds no image"),
        "fine labels only": ({"data": ROWS, "fine_labels": good}, "labels must be 6 whole numbers"),
        "huge shape": (shaped((1 << 30, 3072), b""), "numpy array"),
        "more after the end": (shaped((1, 3072), b"x"), "more bytes after the end"),
        "empty": (b"", "data end here"),
        "web page": (b"<html>not found</html>", "not a pickle"),
    }


@pytest.mark.parametrize("case", hostile(Path()))
def test_hostile_pickles_are_one_line_and_run_nothing(tmp_path: Path, case: str) -> None:
    mark = tmp_path / "it ran"
    value, message = hostile(mark)[case]
    folder(tmp_path / "a", CIFAR10, "python")
    data = value if isinstance(value, bytes) else pickle.dumps(value, protocol=2)
    (tmp_path / "a" / "data_batch_3").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_cifar(tmp_path / "a", CIFAR10)
    assert "data_batch_3" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_missing_and_mixed_up_files(tmp_path: Path) -> None:
    folder(tmp_path / "a", CIFAR100, "python")
    with pytest.raises(UserError, match=r"holds cifar100, not cifar10; use that name"):
        load("cifar10", tmp_path / "a")
    with pytest.raises(
        UserError, match=r"there is no data_batch_1, .* download https://www\.cs\.toronto\.edu"
    ):
        load("cifar10", tmp_path)
    ten = folder(tmp_path / "b", CIFAR10, "binary")
    (ten / "data_batch_4.bin").unlink()
    with pytest.raises(UserError, match=r"there is no data_batch_4\.bin in .*b, only other files of cifar10"):
        load("cifar10", ten)
    (ten / "data_batch_4.bin").write_bytes(contents(CIFAR100, "binary")["train.bin"])
    with pytest.raises(UserError, match="not whole images of 3,073 bytes each; is it of the binary version"):
        load("cifar10", ten)
    files = contents(CIFAR10, "python")
    del files["test_batch"]
    with pytest.raises(UserError, match="there is no test_batch in"):
        load("cifar10", archive(tmp_path / "c.tar.gz", files))
    with pytest.raises(UserError, match="holds 30 training images, the official cifar10 50,000"):
        load("cifar10", folder(tmp_path / "d", CIFAR10, "python"))


def test_archives_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supernet.data.cifar._MOST_BYTES", 50_000)
    packed = archive(tmp_path / "a.tar.gz", {"data_batch_1": bytes(100_000)})
    with pytest.raises(UserError, match="unpacks to more than 50,000 bytes"):
        read_cifar(packed, CIFAR10)


@pytest.mark.parametrize("form", ["python", "binary", "archive"])
def test_damaged_files_are_one_line_or_read(tmp_path: Path, form: str) -> None:
    kind, rng = CIFAR100, np.random.default_rng(2)
    place = folder(tmp_path / "a", kind, "python" if form == "archive" else form)
    victim = place / ("train.bin" if form == "binary" else "train")
    if form == "archive":
        place = victim = archive(tmp_path / "a.tar.gz", contents(kind, "python"))
    whole, refused = victim.read_bytes(), 0
    for _ in range(200):
        victim.write_bytes(mutated(whole, rng))
        try:
            (found, labels), _ = read_cifar(place, kind)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert found.shape[1:] == (3, 32, 32) and len(found) == len(labels) and labels.max() < 100
    assert refused > (60 if form == "binary" else 100)  # most changes hit pixels, which have no checksum

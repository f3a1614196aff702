"""What a user can get wrong with supernets: images, recipes, checkpoints; each one clear line, status 2."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from crlso.cli.main import app
from supernet.search.state import STATE_FORMAT

SMALL = ("--space", "nasbench201", "--channels", "4", "--no-train")
SHORT = ("--limit", "32,32,32", "--set", "epochs=1", "--set", "batch=16")
METRIC = ("--metric", "digits/shared_valid_accuracy", "--method", "random", "--budget", "2")


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    return result.exit_code, result.output


def fails(*words: object) -> str:
    status, text = run(*words)
    assert status == 2, text
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def search(out: Path, *words: object) -> str:
    return fails("supernet", "search", "--out", out, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shrink", 4), "halves the image 2 times, which needs 3 pixels or more"),
        (("--shrink", 4), "got 2x2"),
        (("--shrink", 8, *SMALL), "images of 1x1 can have up to 1 stages"),
        (("--shrink", 3), "images of 8x8 do not divide into blocks of 3x3"),
        (("--stages", 5, *SMALL), "images of 8x8 can have up to 4 stages"),
        (("--channels", 3), "channels must be even"),
        (("--limit", "1,1,1"), "more than the data has: 1 training, 1 validation, 1 test images"),
        (("--set", "augmentation=twirl"), "unknown augmentation 'twirl'"),
        (("--set", "learning_rate=nan"), "it must be a finite number"),
        (("--data", "cifar10"), "is not on this machine: download https://"),
        (("--table", "nasbench201"), "the search is in 'darts'"),
        (("--set", "training.augmentation=twirl"), "unknown augmentation 'twirl'"),
        (("--set", "batch=5000"), "a batch of 5000 images is more than the data has"),
    ],
)
def test_settings_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], said: str
) -> None:
    monkeypatch.setenv("CRLSO_IMAGES", str(tmp_path / "images"))
    assert said in search(tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()  # it is free for the command without the mistake


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("searching: {epochs: 3}", "did you mean 'search'?"),
        ("search: {epoch: 3}", "did you mean 'epochs'?"),
        ("update: {kind: third_order}", "choose one of single_level, first_order, second_order"),
        ("relaxation: [softmax]", "relaxation must be a mapping of settings"),
        ("search: {momentum: much}", "momentum"),
        ("search: {epochs: many}", "epochs"),
        ("search: {batch: 1.5}", "batch"),
        ("search: {augmentation: twirl}", "unknown augmentation 'twirl'"),
        ("search: {architecture_betas: [0.5]}", "architecture_betas must be two numbers"),
        ("[first_order]", "must be a mapping of parts"),
        ("update: {", "is no YAML"),
        ("", "must be a mapping of parts"),
    ],
)
def test_recipes_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text(text, encoding="utf-8")
    assert said in search(tmp_path / "run", "--recipe", recipe)
    assert not (tmp_path / "run").exists()


def idx(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def four_files(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", 40), ("t10k", 12)):
        pixels = rng.integers(0, 255, (count, 8, 8), dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pixels))
        labels = (np.arange(count) % 3).astype(np.uint8)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))


def pictures(folder: Path, *sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (folder / label).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def truncated(folder: Path) -> None:
    four_files(folder)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:800])


def altered(folder: Path) -> None:
    four_files(folder)
    file = folder / "train-images-idx3-ubyte.gz"
    raw = bytearray(file.read_bytes())
    raw[-6] ^= 255  # of the checksum
    file.write_bytes(raw)


def emptied(folder: Path) -> None:
    four_files(folder)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")


def cifar(folder: Path, *, end: int | None = None) -> None:
    """An archive whose first file is noise."""
    folder.mkdir()
    raw = np.random.default_rng(0).integers(0, 255, 300_000, dtype=np.uint8).tobytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        entry.size = len(raw)
        archive.addfile(entry, io.BytesIO(raw))
    (folder / "cifar-10-python.tar.gz").write_bytes(buffer.getvalue()[:end])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (truncated, "train-images-idx3-ubyte.gz is damaged (gzip: Compressed file ended"),
        (altered, "train-images-idx3-ubyte.gz is damaged (gzip: CRC check failed"),
        (emptied, "t10k-labels-idx1-ubyte.gz is not an idx file"),
        (cifar, "data_batch_1 is not a file of the python version of cifar10"),
        (lambda folder: cifar(folder, end=5000), "cifar-10-python.tar.gz is damaged"),
        (lambda folder: pictures(folder, (8, 8)), "leave none for the"),
        (lambda folder: pictures(folder, (3, 900)), "are no picture to cut a square from"),
        (lambda folder: folder.mkdir(), "is not recognised; a path may lead to"),
        (lambda folder: None, "no data set"),
    ],
)
def test_images_that_can_not_be_used(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    """By a search, and by a table that is to be built."""
    images = tmp_path / "own"
    make(images)
    text = search(tmp_path / "run", *SMALL, "--data", images)
    assert said in text
    assert str(images) in text or f"{images.name!r}" in text
    assert text == fails("bench", "build", "nasbench201", "--sample", 1, "--name", "own", "--data", images)


def test_pictures_of_different_sizes_are_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is enough, for a table too; the images are the same."""
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path / "home"))
    images = tmp_path / "own"
    pictures(images, (9, 30), (64, 64), (70, 20), (5, 5), (33, 32), (8, 9))
    words = ("bench", "build", "nasbench201", "--sample", 1, "--epochs", 1, "--channels", 2, "--stages", 1)
    for name, data in (("path", (images,)), ("named", ("image_folder", "--data-path", images))):
        status, text = run(*words, "--shrink", 8, "--name", name, "--data", *data, "--json")
        assert status == 0, text
        assert "own/valid_accuracy@1" in json.loads(text[text.index("{") :])["metrics"]
    headers = [json.loads(run("bench", "info", name, "--json")[1]) for name in ("path", "named")]
    assert headers[0]["fingerprint"]["data sha256"] == headers[1]["fingerprint"]["data sha256"]
    text = fails(*words, "--name", "x", "--data", images, "--data-path", images)
    assert "is no name; --data-path goes with one of digits" in text


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the same space: ``one``, ``recipe`` and ``network`` differ in what they are called."""
    folder = tmp_path_factory.mktemp("searched")
    own = {"one": (), "recipe": ("--recipe", "milenas"), "network": ("--cells", 2)}
    for name, words in own.items():
        status, text = run("supernet", "search", *SMALL, *SHORT, *words, "--out", folder / name)
        assert status == 0, text
    torch.save({"format": STATE_FORMAT}, folder / "parts.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save(torch.ones(2), folder / "tensor.pt")
    raw = (folder / "one/seeds/0/checkpoint.pt").read_bytes()
    (folder / "cut.pt").write_bytes(raw[: len(raw) // 2])
    (folder / "bit.pt").write_bytes(raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:])
    return folder


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("recipe/seeds/0/checkpoint.pt", "another search (recipe is milenas there, darts_1st here)"),
        ("network/seeds/0/checkpoint.pt", "another search (network is channels 4, cells 2, stages 2 there"),
        ("parts.pt", "holds no state of a search"),
        ("list.pt", "holds no state of a search"),
        ("tensor.pt", "holds no state of a search"),
        ("cut.pt", "is damaged"),
        ("bit.pt", "is damaged"),
    ],
)
def test_a_checkpoint_of_something_else(searched: Path, tmp_path: Path, other: str, said: str) -> None:
    here = tmp_path / "run"
    shutil.copytree(searched / "one", here)
    file = here / "seeds/0/checkpoint.pt"
    shutil.copy(searched / other, file)
    for text in (search(here, *SMALL, *SHORT), fails("search", "--bench", f"shared:{here}", *METRIC)):
        assert said in text
        assert str(file) in text
    shutil.copy(searched / "one/seeds/0/checkpoint.pt", file)
    assert run("search", "--bench", f"shared:{here}", *METRIC)[0] == 0


@pytest.mark.parametrize(
    ("bench", "said"),
    [
        ("one", "unknown metric of shared:"),
        ("one/seeds/7", "holds no search with seed 7; it has 0"),
        ("one/config.yaml", "is no directory of `crlso supernet search`"),
        ("nothing", "is no directory of `crlso supernet search`"),
    ],
)
def test_supernets_that_are_not_there(searched: Path, bench: str, said: str) -> None:
    assert said in fails("search", "--bench", f"shared:{searched / bench}", "--metric", "own/accuracy")


def test_a_supernet_is_no_table(searched: Path) -> None:
    assert "there is no table file shared:" in fails("bench", "info", f"shared:{searched / 'one'}")


def test_one_image_has_no_statistics(tmp_path: Path) -> None:
    few = ("--limit", "32,32,1", "--set", "epochs=1", "--set", "batch=16", "--shrink", 4)
    assert run("supernet", "search", *SMALL, *few, "--out", tmp_path / "run")[0] == 0
    text = fails("search", "--bench", f"shared:{tmp_path / 'run'}", *METRIC)
    assert "two images or more; the test part of 'digits' has 1" in text


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    """Says where; that the last good state is kept is tested in `tests/supernet/search/test_loop.py`."""
    words = (*SMALL, "--limit", "32,32,32", "--set", "batch=16", "--set", "epochs=2")
    for wrong in ("learning_rate=1e30", "architecture_learning_rate=1e38"):
        text = search(tmp_path / wrong, *words, "--set", wrong, "--set", "clip=0")
        assert "the training loss is no finite number in epoch 1, step 2 of 2 (seed 0); lower" in text
        assert "no state was kept before it" in text

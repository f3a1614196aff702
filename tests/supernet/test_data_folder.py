"""Folders of pictures, against Pillow used plainly; broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crlso.errors import UserError
from supernet.data import find, load
from tests.benchmarks.mutations import mutated

SIZES = {"a_0.JPEG": (40, 60), "a_1.png": (64, 64), "b_0.jpg": (90, 33), "b_1.png": (16, 16)}


def picture(name: str) -> object:
    rng = np.random.default_rng(len(name) + ord(name[0]) + ord(name[2]))
    width, height = SIZES[name]
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def tree(path: Path) -> Path:
    """ImageNet's layout: two classes with two pictures each in each part."""
    for part in ("train", "val"):
        for name in SIZES:
            file = path / part / name[0] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(name).save(file)
    (path / "train" / "a" / "notes.txt").write_text("not a picture")
    (path / "train" / ".cache").mkdir()
    return path


def test_squares_from_the_centre(tmp_path: Path) -> None:
    data = find(str(tree(tmp_path / "shapes")), size=32)
    assert (data.name, data.images.shape, data.classes, data.test_from) == ("shapes", (8, 3, 32, 32), 2, 4)
    assert data.labels.tolist() == [0, 0, 1, 1] * 2
    for row, (name, (width, height)) in enumerate(SIZES.items()):
        side = min(width, height)
        with Image.open(tmp_path / "shapes" / "val" / name[0] / name) as opened:
            left, top = (width - side) // 2, (height - side) // 2
            cut = opened.convert("RGB").crop((left, top, left + side, top + side))
            expected = np.asarray(cut.resize((32, 32), Image.Resampling.BILINEAR), dtype=int)
        difference = np.abs(data.images[4 + row].transpose(1, 2, 0).astype(int) - expected)
        assert difference.mean() < 4, name  # cut first and scaled then: not the same at the borders


def test_grey_palette_and_transparent_pictures(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "P", "RGBA", "CMYK", "1", "I;16")):
        (tmp_path / "x" / f"c{number}").mkdir(parents=True)
        made = Image.fromarray(np.zeros((8, 8), np.uint16)) if mode == "I;16" else Image.new(mode, (8, 8))
        made.save(tmp_path / "x" / f"c{number}" / ("p.jpg" if mode == "CMYK" else "p.png"))
    data = load("image_folder", tmp_path / "x", size=4)
    assert (data.images.shape, data.test_from) == ((6, 3, 4, 4), None)


def test_one_size_by_default(tmp_path: Path) -> None:
    assert find(str(tree(tmp_path / "shapes") / "train")).images.shape == (4, 3, 64, 64)
    with pytest.raises(UserError, match="have their own size"):
        find("digits", size=32)
    with pytest.raises(UserError, match="image size must be 1 to 4096 pixels, got 0"):
        find(str(tmp_path / "shapes"), size=0)


def test_layouts_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree(tmp_path / "shapes")
    monkeypatch.setattr("supernet.data.image_folder.MOST_BYTES", 8 * 3 * 50 * 50)
    with pytest.raises(UserError, match=r"8 images of 3x64x64 take .* take a smaller size \(up to 50\)"):
        find(str(path))
    monkeypatch.undo()
    (path / "val" / "b").rename(path / "val" / "c")
    with pytest.raises(UserError, match=r"train and .*val have other classes: 'b' is in one of them only"):
        find(str(path))
    (path / "val" / "c").rename(path / "val" / "b")
    for file in (path / "train" / "b").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"train.b holds no picture"):
        find(str(path))
    with pytest.raises(UserError, match="needs a folder for each class, two or more; it has 0"):
        load("image_folder", path / "val" / "a")
    with pytest.raises(UserError, match="there is no folder"):
        load("image_folder", path / "none")
    with pytest.raises(UserError, match="needs the path"):
        load("image_folder")


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree(tmp_path / "shapes")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UserError, match=r"decoded with Pillow: pip install 'crlso\[images\]'"):
        find(str(path))


@pytest.mark.parametrize("victim", ["a_0.JPEG", "a_1.png"])
def test_damaged_pictures_are_one_line_or_read(tmp_path: Path, victim: str) -> None:
    path = tree(tmp_path / "shapes") / "train"
    file = path / "a" / victim
    whole, rng, refused = file.read_bytes(), np.random.default_rng(3), 0
    for _ in range(200):
        file.write_bytes(mutated(whole, rng))
        try:
            data = find(str(path), size=8)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and victim in str(error)
        else:
            assert data.images.shape == (4, 3, 8, 8)
    assert refused > 30


def test_huge_and_thin_pictures(tmp_path: Path) -> None:
    path = tree(tmp_path / "shapes") / "train"
    Image.new("1", (10_000, 9_000)).save(path / "a" / "a_0.png")
    with pytest.raises(UserError, match=r"90000000|10000x9000|damaged"):
        find(str(path))
    Image.new("L", (9_000, 1)).save(path / "a" / "a_0.png")
    with pytest.raises(UserError, match="9000x1 pixels are no picture to cut a square from"):
        find(str(path))

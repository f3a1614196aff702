"""Data sets by name and by path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crlso.errors import UserError
from supernet.data import SOURCES, find, load
from supernet.data.places import images_folder
from supernet.data.sources import FASHION_CHECKSUM, FASHION_FOLDER, recognise
from tests.supernet.test_data import IMAGES, folder


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRLSO_IMAGES", str(tmp_path / "images"))
    return tmp_path / "images"


def test_names_go_before_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert find("digits").checksum == load("digits").checksum
    with pytest.raises(UserError, match="is the name of another data set; rename the folder"):
        find("./digits")


def test_idx_by_folder_and_by_file(tmp_path: Path) -> None:
    data = find(str(folder(tmp_path / "shapes")))
    assert data.name == "shapes"
    np.testing.assert_array_equal(data.images[:, 0], IMAGES)
    file = next((tmp_path / "shapes").iterdir())
    assert find(str(file)).checksum == data.checksum


@pytest.mark.skipif(not FASHION_FOLDER.is_dir(), reason="needs the package dataset-fashion-mnist")
def test_fashion_mnist_is_known_by_its_content(tmp_path: Path, own_folder: Path) -> None:
    (tmp_path / "anything").symlink_to(FASHION_FOLDER)
    data = find(str(tmp_path / "anything"))
    assert (data.name, data.checksum) == ("fashion_mnist", FASHION_CHECKSUM)
    own_folder.mkdir()
    folder(own_folder / "fashion_mnist")  # one's own folder goes before the package's
    with pytest.raises(UserError, match="does not hold the official Fashion-MNIST"):
        find("fashion_mnist")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "svhn_extra"])
def test_missing_ones_say_how_to_get_them(name: str, own_folder: Path) -> None:
    with pytest.raises(UserError, match=f"data '{name}' is not on this machine: download .*http") as caught:
        find(name)
    assert str(own_folder / name.removesuffix("_extra")) in str(caught.value)
    assert "CRLSO_IMAGES" in str(caught.value) and "\n" not in str(caught.value)


def test_the_users_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRLSO_IMAGES")
    assert images_folder().parts[-2:] == ("crlso", "images")


@pytest.mark.parametrize("text", ["", "cifar11", "a\0b", "no/such/path", "~/nowhere-at-all", "x" * 5000])
def test_neither_name_nor_path(text: str) -> None:
    with pytest.raises(UserError, match=r"no data set|name is too long") as caught:
        find(text)
    assert "\n" not in str(caught.value)


def test_what_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "some.csv").write_text("a,b")
    (tmp_path / "some.tar.gz").write_bytes(b"no archive")
    for name in ("empty", "some.csv", "some.tar.gz"):
        assert recognise(tmp_path / name) is None
        with pytest.raises(UserError, match="is not recognised; a path may lead to a folder with CIFAR's"):
            find(str(tmp_path / name))


def test_every_source_refuses_a_path_that_is_not_there(tmp_path: Path) -> None:
    for name in SOURCES:
        with pytest.raises(UserError) as caught:
            load(name, tmp_path / "none")
        assert "\n" not in str(caught.value)

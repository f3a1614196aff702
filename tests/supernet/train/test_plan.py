"""What is to be trained: published sizes, options over a base, files of architectures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crlso.errors import ArchitectureError, UnknownNameError, UserError
from crlso.spaces import get_space, nasbench201
from supernet.data import SplitSettings, load, split, without_validation
from supernet.networks import ImageTask, family_of
from supernet.train.architectures import MOST_ARCHITECTURES, read_architectures
from supernet.train.plan import small_plan
from tests.spaces.test_darts import DARTS_V2
from tests.supernet.train.small import CONVOLUTIONS, SKIPS, plan

NASBENCH = get_space("nasbench201")
CIFAR = ImageTask(3, (32, 32), 10)


def test_published_sizes_are_the_literatures() -> None:
    """DARTS_V2's log reads "param size = 3.349342MB"; NAS-Bench-201's own formula."""
    darts = get_space("darts")
    made = small_plan(darts, (DARTS_V2,)).changed(preset="published", sizes={}, training={})
    assert family_of(darts, CIFAR, made.sizes).parameters(darts.parse(DARTS_V2)[None])[0] == 3_349_342
    assert (made.training.epochs, made.training.batch, made.training.auxiliary_weight) == (600, 96, 0.4)
    codes = NASBENCH.sample(5, np.random.default_rng(0))
    made = small_plan(NASBENCH, (CONVOLUTIONS,)).changed(preset="published", sizes={}, training={})
    ours = family_of(NASBENCH, CIFAR, made.sizes).parameters(codes)
    np.testing.assert_allclose(ours / 1e6, nasbench201.parameters(codes))


def test_what_is_not_said_stays() -> None:
    base = plan(learning_rate=0.05)
    same = base.changed(sizes={"channels": None}, training={})
    assert same == base
    other = base.changed(sizes={"stages": 1}, training={"epochs": "7"}, shrink=2)
    assert other.training.epochs == 7
    assert other.training.learning_rate == 0.05
    assert (other.sizes.channels, other.data.split.shrink, other.data.split.limits) == (4, 2, (96, 48, 48))
    # Other images are taken as they are.
    assert base.changed(data="fashion_mnist", sizes={}, training={}).data.split == SplitSettings()


def test_mistakes() -> None:
    with pytest.raises(UnknownNameError, match="unknown preset 'huge'"):
        plan().changed(preset="huge", sizes={}, training={})
    with pytest.raises(UnknownNameError, match="unknown setting of training 'epoch'"):
        plan(epoch=3)
    with pytest.raises(UserError, match="choose one of 32-true, 64-true, bf16-mixed"):
        plan(precision="16")


def test_all_images_but_those_of_the_test() -> None:
    parts = split(load("digits"), SplitSettings(limits=(50, 30, 20)))
    joined = without_validation(parts)
    assert [len(part) for part in (joined.train, joined.valid, joined.test)] == [80, 0, 20]
    assert np.array_equal(joined.train.images, np.concatenate([parts.train.images, parts.valid.images]))
    assert np.array_equal(joined.train.labels, np.concatenate([parts.train.labels, parts.valid.labels]))
    pixels = joined.train.images.astype(np.float64)
    assert joined.mean == pytest.approx(pixels.mean())
    assert joined.deviation == pytest.approx(pixels.std())
    assert joined.checksum != parts.checksum


@pytest.mark.parametrize(
    "content",
    [
        f"# two\n\n{CONVOLUTIONS}\n  {SKIPS}\n{CONVOLUTIONS}\n",
        f"{json.dumps(CONVOLUTIONS)}\n{json.dumps({'architecture': SKIPS, 'rule': 'strongest'})}\n",
        json.dumps([CONVOLUTIONS, {"architecture": SKIPS}], indent=1),
    ],
)
def test_files_of_architectures(tmp_path: Path, content: str) -> None:
    file = tmp_path / "found.txt"
    file.write_text(content, encoding="utf-8")
    assert read_architectures(NASBENCH, [str(file)]) == (CONVOLUTIONS, SKIPS)
    assert read_architectures(NASBENCH, [SKIPS, str(file)]) == (SKIPS, CONVOLUTIONS)


def test_a_derived_architecture_of_a_search(tmp_path: Path) -> None:
    file = tmp_path / "derived.json"
    file.write_text(json.dumps({"architecture": DARTS_V2, "rule": "strongest"}, indent=1), encoding="utf-8")
    (text,) = read_architectures(get_space("darts"), [str(file)])
    assert text == get_space("darts").format(get_space("darts").parse(DARTS_V2))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no architecture"),
        (b"# nothing\n\n", "holds no architecture"),
        (b"[]", "holds no architecture"),
        (b"{}", "the file: no architecture"),
        (b'{"architecture": 3}', "the file: no architecture"),
        (b"7\n", "the file: no architecture"),
        (b"\xff\xfe\x00", "is no text"),
        (f"{SKIPS}\n|none~0|\n".encode(), "line 2: "),
        (json.dumps([SKIPS, "x"]).encode(), "entry 2: "),
    ],
)
def test_files_without_architectures(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_architectures(NASBENCH, [str(file)])


@pytest.mark.parametrize("word", ["no/such/file.txt", DARTS_V2, "", "\0", "x" * 5000])
def test_neither_an_architecture_nor_a_file(word: str) -> None:
    with pytest.raises(ArchitectureError, match="nor is there a file of this name"):
        read_architectures(NASBENCH, [word])


def test_too_many(tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    codes = np.concatenate(list(NASBENCH.enumerate()))[: MOST_ARCHITECTURES + 1]
    file.write_text("\n".join(NASBENCH.format(code) for code in codes), encoding="utf-8")
    with pytest.raises(UserError, match="1,001 architectures; at most 1,000"):
        read_architectures(NASBENCH, [str(file)])

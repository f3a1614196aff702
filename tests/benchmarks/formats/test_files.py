"""Containers of pickles: torch files, bzip2, digests; each against the library that writes it."""

from __future__ import annotations

import bz2
import hashlib
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.formats.files import Bzip, Watched, file_digests, open_watched
from benchmarks.formats.torch_file import open_torch
from crlso.formats.emulated import Opaque
from crlso.formats.errors import FormatError, naming
from crlso.formats.pickles import read_pickle
from tests.benchmarks.mutations import mutated
from tests.benchmarks.samples_nats import pickled_table, write_pth
from tests.formats.test_pickles import plain, same
from tests.source import ROOT
from tests.spaces.data import data_file

FORMS = ("zip", "legacy")


def save(value: object, path: Path, form: str) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_torch_files(form: str, tmp_path: Path) -> None:
    value = {
        "archs": ["a", "b"],
        "params": np.float64(1.5),
        "state": OrderedDict(weight=torch.zeros(2, 3), bias=torch.ones(4, dtype=torch.int64)),
        "parameter": torch.nn.Parameter(torch.zeros(5, dtype=torch.float16)),
        "curve": {epoch: epoch / 3 for epoch in range(200)},
        "seeds": {1, 2, 3},
    }
    with open_torch(save(value, tmp_path / "a.pth", form)) as file:
        assert file.form == form
        found = file.read()
    assert found == {
        **value,
        "state": {"weight": Opaque("tensor", (2, 3)), "bias": Opaque("tensor", (4,))},
        "parameter": Opaque("tensor", (5,)),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("with_tensors", [False, True])
def test_torch_files_are_streamed(form: str, with_tensors: bool, tmp_path: Path) -> None:
    infos = {index: {"less": {"x": index / 2}, "full": {"y": [index]}} for index in range(1500)}
    value = {"meta_archs": ["a", "b"], "arch2infos": infos}
    value |= {"w": torch.zeros(1000)} if with_tensors else {}
    path = save(value, tmp_path / "a.pth", form)
    heard: list[int] = []
    with open_torch(path, heard.append) as file:
        entries = file.entries(("arch2infos",))
        assert same(dict(entries), infos)
        assert isinstance(entries.rest, dict)
        assert entries.rest["meta_archs"] == ["a", "b"]
    assert 0.5 * path.stat().st_size < sum(heard) < 1.5 * path.stat().st_size + 2_000_000


@pytest.mark.parametrize("form", FORMS)
def test_synthetic_table_opens_with_the_official_package(form: str, tmp_path: Path) -> None:
    from nas_201_api import NASBench201API

    path = write_pth(tmp_path / "NAS-Bench-201-v1_1-test.pth", pickled_table(8), form)  # type: ignore[arg-type]
    loaded = torch.load(path, map_location="cpu", weights_only=False)
    with open_torch(path) as file:
        entries = file.entries(("arch2infos",))
        assert same(dict(entries), plain(loaded["arch2infos"]))
        assert same(entries.rest, plain({**loaded, "arch2infos": {}}))
    api = NASBench201API(loaded, verbose=False)
    assert len(api) == 8
    more = api.get_more_info(5, "cifar10-valid", hp="200", is_random=777)
    expected = loaded["arch2infos"][5]["full"]["all_results"]["cifar10-valid", 777]["eval_acc1es"][
        "x-valid@199"
    ]
    assert more["valid-accuracy"] == expected


@pytest.mark.parametrize("form", FORMS)
def test_damaged_torch_files(form: str, tmp_path: Path) -> None:
    """Every flipped bit of the zip form's pickle is noticed; nothing but :class:`FormatError` ever comes."""
    rng = np.random.default_rng(7)
    whole = write_pth(tmp_path / "whole.pth", pickled_table(2, epochs=(2, 3)), form).read_bytes()  # type: ignore[arg-type]
    path = tmp_path / "damaged.pth"
    read = 0
    for case in range(250):
        if case < 50:
            data = bytearray(whole)
            data[100 + int(rng.integers(len(whole) - 600))] ^= 1 << int(rng.integers(8))
        else:
            data = bytearray(mutated(whole, rng))
        path.write_bytes(data)
        try:
            with open_torch(path) as file:
                for _ in file.entries(("arch2infos",)):
                    pass
        except FormatError as error:
            assert str(error).startswith(str(path))
            assert "\n" not in str(error)
        else:
            read += 1
            assert form == "legacy" or case >= 50 or bytes(data) == whole
    assert read < 220


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello", "not a file of torch.save"),
        (pickle.dumps({"arch2infos": {}}), "not a file of torch.save"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1000, 2), "protocol 1000; known is 1001"),
        (b"PK\x03\x04" + b"x" * 100, "damaged zip archive"),
        (bz2.compress(b"abc"), "not a file of torch.save"),
    ],
)
def test_what_is_no_torch_file(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as caught, open_torch(path):
        raise AssertionError
    assert str(path) in str(caught.value)


def test_other_archives_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/readme", "x")
    with pytest.raises(FormatError, match=r"0 members \*/data.pkl"), open_torch(path):
        raise AssertionError
    with pytest.raises(FormatError, match=r"there is no file .*b\.pth$"), open_torch(tmp_path / "b.pth"):
        raise AssertionError


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", FORMS)
def test_torch_files_run_nothing(form: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = save({"arch2infos": {0: {"less": Runs(marker), "full": 1}}}, tmp_path / "a.pth", form)
    refused = pytest.raises(FormatError, match=r"names posix\.system, which is not data; refused")
    with refused as caught, open_torch(path) as file:
        list(file.entries(("arch2infos",)))
    assert str(caught.value).startswith(f"{path}: at byte ")
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the file is a working attack


def test_bzip_equals_bz2() -> None:
    rng = np.random.default_rng(0)
    data = rng.bytes(300_000) + bytes(3_000_000)
    packed = bz2.compress(data)
    assert Bzip(io.BytesIO(packed)).read() == data
    assert Bzip(io.BytesIO(packed + bz2.compress(b"more"))).read() == data + b"more"
    assert Bzip(io.BytesIO(bz2.compress(b""))).read() == b""
    with pytest.raises(FormatError, match="damaged bzip2"):
        Bzip(io.BytesIO(packed + b"rest")).read()
    with pytest.raises(FormatError, match="end too early"):
        Bzip(io.BytesIO(packed[:-5])).read()
    with pytest.raises(FormatError, match="empty"):
        Bzip(io.BytesIO(b"")).read()
    with pytest.raises(FormatError, match="not bzip2"):
        Bzip(io.BytesIO(b"hello")).read()


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_mutated_bzip_files_are_all_noticed(count: int) -> None:
    """The checksums of bzip2 leave no change of the content unseen."""
    packed = data_file("nasbench201/nats_records/000011.pbz2").read_bytes()
    expected = read_pickle(Bzip(io.BytesIO(packed)))
    rng = np.random.default_rng(11)
    for _ in range(count):
        data = mutated(packed, rng)
        if data == packed:
            continue
        try:
            found = read_pickle(Bzip(io.BytesIO(data)))
        except FormatError:
            continue
        assert found == expected  # a bit that means nothing, as in the last byte


def test_digests_and_progress(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(3_500_000)
    path = tmp_path / "a"
    path.write_bytes(data)
    expected = hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
    heard: list[int] = []
    assert file_digests(path, heard.append) == expected
    assert sum(heard) == len(data)
    assert len(heard) > 1
    packed = tmp_path / "b"
    packed.write_bytes(bz2.compress(pickle.dumps([1, 2])))
    with naming(packed), open_watched(packed, digests=True) as file:
        assert read_pickle(Bzip(file)) == [1, 2]
        found = file.digests()
    assert found == file_digests(packed)
    with pytest.raises(FormatError, match="there is no file"):
        file_digests(tmp_path / "c")
    with Watched(io.BytesIO(data), digests=True) as stream, pytest.raises(ValueError, match="sought"):
        stream.seek(0)


def test_nothing_heavy_is_imported() -> None:
    script = "import sys, benchmarks.formats.torch_file; print({'torch', 'pandas'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert answer.stdout.strip() == "set()"

"""Saved models: bit for bit, without pickles, and one clear line where something is wrong."""

from __future__ import annotations

import json
import math
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from crlso.errors import RunError, UserError
from crlso.latent import LatentModel, ModelSettings, load, save
from crlso.spaces import get_space
from tests.latent.small import SMALL, small_model, thin_spaces

SPACES = thin_spaces()
SAVED = [name for name in SPACES if name != "subset"]


def saved(directory: Path, name: str = "toy64") -> LatentModel:
    model = small_model(SPACES[name], seed=3)
    save(model, directory, facts={"steps": 7})
    return model


@pytest.mark.parametrize("name", SAVED)
def test_round_trip_is_bitwise(name: str, tmp_path: Path) -> None:
    model = small_model(SPACES[name], seed=3)
    facts = {"steps": 7, "beta": 0.1 + 0.2, "none": None, "curve": [1.5, math.pi], "nested": {"a": "é"}}
    save(model, tmp_path / "deep" / "model", facts=facts)
    again, known = load(tmp_path / "deep" / "model")
    assert known == facts
    assert again.settings == model.settings
    assert again.space.name == model.space.name
    state, other = model.state_dict(), again.state_dict()
    assert list(state) == list(other)
    assert all(torch.equal(state[key], other[key]) for key in state)
    codes = model.space.sample(20, np.random.default_rng(0))
    assert torch.equal(model.encode(codes), again.encode(codes))
    assert torch.equal(model.predict(codes), again.predict(codes))
    np.testing.assert_array_equal(model.decode(model.encode(codes)), again.decode(again.encode(codes)))


def test_a_space_from_a_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump({"space": "edge_cell", "name": "mine", "nodes": 3, "operations": ["none", "conv"]})
    )
    model = small_model(get_space(path))
    save(model, tmp_path / "model", facts={})
    path.unlink()
    again, _ = load(tmp_path / "model")
    codes = again.space.sample(5, np.random.default_rng(0))
    assert [again.space.format(code) for code in codes] == [model.space.format(code) for code in codes]
    assert torch.equal(again.encode(codes), model.encode(codes))


def test_the_weights_are_safetensors(tmp_path: Path) -> None:
    model = saved(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "weights.safetensors"]
    data = (tmp_path / "weights.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    state = model.state_dict()
    assert set(header) == set(state)
    used = 0
    for name, entry in header.items():
        assert entry["dtype"] == "F32"
        assert entry["shape"] == list(state[name].shape)
        begin, end = entry["data_offsets"]
        values = np.frombuffer(body[begin:end], dtype="<f4").reshape(entry["shape"])
        np.testing.assert_array_equal(values, state[name].numpy())
        used += end - begin
    # Every byte belongs to a tensor: nothing else is in the file.
    assert used == len(body)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    saved(tmp_path)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        assert not data.startswith(b"PK")  # the zip of torch.save
        with pytest.raises(ValueError):
            list(pickletools.genops(data))


def test_the_description_is_plain_json(tmp_path: Path) -> None:
    saved(tmp_path, "declared")
    description = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert description["format"] == 2
    assert description["space"]["nodes"] == 3
    assert description["model"]["latent_dim"] == SMALL.latent_dim
    assert description["facts"] == {"steps": 7}


def test_saving_again_replaces(tmp_path: Path) -> None:
    saved(tmp_path)
    other = LatentModel(SPACES["nasbench201"], ModelSettings(latent_dim=4, width=8, heads=1), seed=5)
    save(other, tmp_path, facts={"second": True})
    again, facts = load(tmp_path)
    assert facts == {"second": True}
    assert again.settings == other.settings
    assert torch.equal(again.heads.linear, other.heads.linear)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_model_of_a_subset_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="subset"):
        save(small_model(SPACES["subset"]), tmp_path / "model", facts={})
    assert not (tmp_path / "model").exists()


def edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / "model.json"
        description = json.loads(path.read_text(encoding="utf-8"))
        change(description)
        path.write_text(json.dumps(description), encoding="utf-8")

    return damage


def text(content: str | bytes) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (directory / "model.json").write_bytes(data)

    return damage


def cut(directory: Path, keep: float) -> None:
    path = directory / "weights.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


def directory_in_place_of(name: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no description": (lambda d: (d / "model.json").unlink(), "no latent model in"),
    "no weights": (lambda d: (d / "weights.safetensors").unlink(), "can not be read"),
    "description is a folder": (directory_in_place_of("model.json"), "can not be read"),
    "weights are a folder": (directory_in_place_of("weights.safetensors"), "can not be read"),
    "empty description": (text(""), "damaged"),
    "half a description": (text('{"format": 1, "sp'), "damaged"),
    "not UTF-8": (text(b"\xff\xfe\x00"), "damaged"),
    "a list": (text("[1, 2]"), "damaged"),
    "other format": (edit(lambda d: d.update(format=1)), "has format 1; this version reads 2"),
    "no format": (edit(lambda d: d.pop("format")), "has format None"),
    "no space": (edit(lambda d: d.pop("space")), "no entry 'space'"),
    "no sizes": (edit(lambda d: d.pop("model")), "no entry 'model'"),
    "no facts": (edit(lambda d: d.pop("facts")), "no entry 'facts'"),
    "facts are a number": (edit(lambda d: d.update(facts=3)), "describes no model"),
    "unknown space": (edit(lambda d: d.update(space={"space": "nowhere"})), "describes no model"),
    "space is a list": (edit(lambda d: d.update(space=[])), "describes no model"),
    "unknown size": (edit(lambda d: d["model"].update(depth=3)), "describes no model"),
    "size is a text": (edit(lambda d: d["model"].update(width="wide")), "describes no model"),
    "size is nothing": (edit(lambda d: d["model"].update(width=0)), "width must be 1 or more"),
    "empty weights": (lambda d: cut(d, 0), "can not be read"),
    "half of the weights": (lambda d: cut(d, 0.5), "can not be read"),
    "almost all weights": (lambda d: cut(d, 0.999), "can not be read"),
    "other width": (edit(lambda d: d["model"].update(width=13)), "do not fit the sizes"),
    "other layers": (edit(lambda d: d["model"].update(layers=3)), "do not fit the sizes"),
    "other latent space": (edit(lambda d: d["model"].update(latent_dim=7)), "do not fit the sizes"),
    "no quadratic term": (edit(lambda d: d["model"].update(head_rank=0)), "do not fit the sizes"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_is_said_in_one_line(damage: str, tmp_path: Path) -> None:
    saved(tmp_path)
    action, message = DAMAGES[damage]
    action(tmp_path)
    with pytest.raises(RunError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 400


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    saved(tmp_path / "b", "nasbench201")
    (tmp_path / "a" / "weights.safetensors").write_bytes(
        (tmp_path / "b" / "weights.safetensors").read_bytes()
    )
    with pytest.raises(RunError, match="do not fit the sizes"):
        load(tmp_path / "a")


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no latent model in"):
        load(tmp_path / "nothing")

"""States of methods through files that run no code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crlso.runs.checkpoint import dump_state, load_checkpoint, parse_state, save_checkpoint
from crlso.search.testing import through_file


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint64, np.float32, np.float64, np.bool_])
def test_arrays_come_back_exactly(kind: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "matrix": rng.integers(0, 2, size=(3, 4)).astype(kind),
        "columns": np.asfortranarray(rng.integers(0, 2, size=(3, 4)).astype(kind)),
        "empty": np.empty((0, 6), dtype=kind),
        "scalar": np.ones((), dtype=kind),
    }
    for name, array in through_file(arrays).items():
        assert array.dtype == arrays[name].dtype
        np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_plain_data_comes_back_exactly() -> None:
    rng = np.random.default_rng(3)
    rng.random(7)
    state = {
        "rng": rng.bit_generator.state,
        "huge": 2**130,
        "nested": [{"a": (1, None, True, "text", -np.inf)}],
        "numpy scalar": np.float64(0.1),
        "tensor": torch.arange(3.0),
        "torch rng": torch.get_rng_state(),
    }
    loaded = through_file(state)
    assert loaded["rng"] == rng.bit_generator.state
    assert loaded["huge"] == 2**130
    assert loaded["nested"] == state["nested"]
    assert loaded["numpy scalar"] == 0.1
    assert torch.equal(loaded["tensor"], torch.arange(3.0))
    assert torch.equal(loaded["torch rng"], torch.get_rng_state())


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/must-not-appear"),))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(dump_state({"format": 1, "trials": 3, "method": Malicious()}))
    assert load_checkpoint(path) is None
    assert not Path("/tmp/must-not-appear").exists()
    with pytest.raises(pickle.UnpicklingError):
        through_file({"object": Malicious()})


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, {"a": [1, 2]}, 5)
    assert load_checkpoint(path) == ({"a": [1, 2]}, 5)


@pytest.mark.parametrize("value", [np.arange(100), torch.zeros(1000)])
def test_damaged_checkpoints_are_left_out(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"a": value}, 5)
    data = path.read_bytes()
    for kept in (0, 1, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:kept])
        assert load_checkpoint(path) is None
    path.write_bytes(dump_state({"format": 99, "trials": 1, "method": {}}))
    assert load_checkpoint(path) is None


def test_no_flipped_bit_is_a_slightly_different_number() -> None:
    state = {"a": np.arange(100), "b": torch.ones(50), "c": [0.5, 1]}
    data = dump_state(state)
    rng = np.random.default_rng(0)
    noticed = 0
    for place, bit in zip(rng.integers(0, len(data), 400), rng.integers(0, 8, 400), strict=True):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        try:
            found = parse_state(io.BytesIO(damaged))
        except pickle.UnpicklingError:
            noticed += 1
            continue
        np.testing.assert_array_equal(found["a"], state["a"])
        assert torch.equal(found["b"], torch.ones(50))
        assert found["c"] == state["c"]
    assert noticed > 200  # the others lie in the padding

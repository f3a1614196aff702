"""The state of a search method on disk, read back without running any code from the file."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from crlso.runs.files import disk_errors, write_aside

FORMAT = 1


def save_checkpoint(path: Path, state: Mapping[str, Any], trials: int) -> None:
    """Writes a method's state aside and renames it into place.

    Args:
        path: ``checkpoint.pt``.
        state: ``state_dict()`` of the method: plain data, numpy arrays, tensors.
        trials: Number of evaluations that the method was told.

    Raises:
        RunError: The disk is full or read-only; an older checkpoint stays.
    """
    data = dump_state({"format": FORMAT, "trials": trials, "method": dict(state)})
    with write_aside(path) as file:
        file.write(data)


def load_checkpoint(path: Path) -> tuple[dict[str, Any], int] | None:
    """State and number of evaluations of a checkpoint.

    ``None`` where there is none, or where it is damaged: then the run is played again from its log, which
    takes longer and ends the same.

    Raises:
        RunError: The file may not be read.
    """
    # Imported here in any case: the seconds this takes are not to be counted as work of the method later.
    import torch  # noqa: F401

    if not path.exists():
        return None
    try:
        with disk_errors(path), path.open("rb") as file:
            data = parse_state(file)
        if data["format"] != FORMAT:
            return None
        return data["method"], data["trials"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError):
        return None


def dump_state(state: Mapping[str, Any]) -> bytes:
    """Plain data, numpy arrays and tensors as the bytes of a checkpoint."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def parse_state(file: IO[bytes]) -> dict[str, Any]:
    """The inverse of :func:`dump_state`.

    Raises:
        pickle.UnpicklingError: The file holds more than plain data, numpy arrays and tensors.
        RuntimeError, EOFError, ValueError, KeyError, TypeError: It is damaged.
    """
    import torch

    # From memory: torch seeks before the beginning of some files that are cut off, which is an OSError.
    content = io.BytesIO(file.read())
    with torch.serialization.safe_globals(_numpy_globals()):
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    return state


def _numpy_globals() -> list[Any]:
    """What a pickled numpy array or scalar refers to: constructors of plain arrays, no code."""
    from numpy._core import multiarray

    kinds = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"}
    # bytes: what an empty array holds.
    return [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype, bytes, *kinds]

"""What a method left for the report: ``diagnostics.npz`` of a run directory."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crlso.errors import RunError
from crlso.protocols import FloatArray
from crlso.report.fields import first_line

FILE = "diagnostics.npz"


@dataclass(frozen=True)
class Diagnostics:
    """Arrays of ``diagnostics.npz``; empty where a method has nothing to show.

    Attributes:
        space_codes: ``[p, d]`` background architectures.
        space_latent: ``[p, 2]`` their places in the plane.
        space_predicted: ``[p]`` predicted score, higher is better.
        trial_latent: ``[n, 2]`` places of the evaluated architectures, in order.
        curves: Training curves by name: ``(x, y)``, each ``[T]``.
    """

    space_codes: NDArray[np.int64]
    space_latent: FloatArray
    space_predicted: FloatArray
    trial_latent: FloatArray
    curves: Mapping[str, tuple[FloatArray, FloatArray]]

    @property
    def has_latent(self) -> bool:
        """Whether there is a latent space to draw."""
        return bool(len(self.space_latent) or len(self.trial_latent))


def read_diagnostics(directory: Path) -> Diagnostics | None:
    """The latent space and the training curves of a run, None where it left none.

    Raises:
        RunError: The file is damaged, or its arrays do not fit together.
    """
    file = directory / FILE
    if not file.is_file():
        return None
    try:
        # Opened here: numpy leaves a file open that turns out to be no archive.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return _diagnostics({name: np.asarray(archive[name]) for name in archive.files})
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{file}: damaged ({first_line(error)}); run the search again, or remove the file"
        ) from error


def _diagnostics(arrays: Mapping[str, NDArray[Any]]) -> Diagnostics:
    curves = {}
    for key, values in arrays.items():
        if key.startswith("curve/"):
            name = key.removeprefix("curve/")
            steps = arrays.get(f"curve_x/{name}", np.arange(1, values.size + 1))
            curves[name] = (_floats(steps, (values.size,)), _floats(values, (values.size,)))
    nowhere = np.empty((0, 2))
    places, trials = arrays.get("space_latent", nowhere), arrays.get("trial_latent", nowhere)
    size = len(places)
    codes = arrays.get("space_codes", np.empty((size, 0)))
    if len(codes) != size:
        raise ValueError(f"{len(codes)} codes for {size} points")
    return Diagnostics(
        space_codes=codes.astype(np.int64),
        space_latent=_floats(places, (size, 2)),
        space_predicted=_floats(arrays.get("space_predicted", np.full(size, np.nan)), (size,)),
        trial_latent=_floats(trials, (len(trials), 2)),
        curves=curves,
    )


def _floats(values: NDArray[Any], shape: tuple[int, ...]) -> FloatArray:
    values = values.astype(np.float64)
    if values.shape != shape:
        raise ValueError(f"an array has shape {values.shape}, expected {shape}")
    return values

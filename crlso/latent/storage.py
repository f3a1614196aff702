"""Saved latent models: weights as safetensors, everything else as JSON; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from crlso.errors import RunError, UserError
from crlso.latent.model import LatentModel, ModelSettings
from crlso.runs.files import write_aside
from crlso.spaces import space_from_dict, space_to_dict

FORMAT = 2


def save(model: LatentModel, directory: Path, *, facts: Mapping[str, Any]) -> None:
    """Writes ``weights.safetensors`` and ``model.json`` (sizes, space, facts) into a directory.

    Args:
        model: The model.
        directory: Made if it does not exist; files in it are replaced, each written aside and renamed.
        facts: Plain data kept with the model: how it was trained, how good it is.
    """
    # Before anything is written: a subset of a space can not be described.
    description = {
        "format": FORMAT,
        "space": space_to_dict(model.space),
        "model": asdict(model.settings),
        "facts": dict(facts),
    }
    directory.mkdir(parents=True, exist_ok=True)
    with write_aside(directory / "weights.safetensors") as file:
        file.write(to_bytes(model.state_dict()))
    with write_aside(directory / "model.json", "w") as file:
        file.write(json.dumps(description, indent=2) + "\n")


def load(directory: Path) -> tuple[LatentModel, dict[str, Any]]:
    """Reads a saved model back; returns it with the facts kept beside it.

    Raises:
        RunError: The directory holds no model, or one of another format or other shapes.
    """
    file = directory / "model.json"
    description = _read_description(file)
    try:
        space = space_from_dict(description["space"])
        model = LatentModel(space, ModelSettings(**description["model"]), seed=0)
        facts = dict(description["facts"])
    except KeyError as error:
        raise RunError(f"{file} is damaged (no entry {error}); train the model again") from error
    except (UserError, TypeError, ValueError) as error:
        raise RunError(f"{file} describes no model ({error}); train the model again") from error
    try:
        weights = load_file(directory / "weights.safetensors")
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"the weights in {directory} can not be read ({error}); train the model again"
        ) from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {directory} do not fit the sizes in model.json; train the model again"
        ) from error
    return model, facts


def _read_description(file: Path) -> dict[str, Any]:
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"no latent model in {file.parent} (model.json is missing); `crlso embed train` makes one"
        ) from error
    except OSError as error:
        raise RunError(f"{file} can not be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{file} is damaged ({error}); train the model again") from error
    if not isinstance(description, dict):
        raise RunError(f"{file} is damaged (not a JSON object); train the model again")
    if description.get("format") != FORMAT:
        raise RunError(f"{file} has format {description.get('format')!r}; this version reads {FORMAT}")
    return description

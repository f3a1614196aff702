"""``config.yaml``: what was asked for, so that the same is not mixed with something else."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

import crlso
from crlso.errors import RunError
from crlso.runs.files import disk_errors, write_aside

FILE_NAME: Final = "config.yaml"
_PACKAGES: Final = ("numpy", "scipy", "pandas", "torch", "torch-geometric")


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Writes the settings and, for the reader, the versions at work.

    Raises:
        RunError: The disk is full or read-only.
    """
    with write_aside(folder / FILE_NAME, "w") as file:
        yaml.safe_dump({**_plain(config), "versions": dict(_versions())}, file, sort_keys=False, width=120)


def holds_same(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether the folder was started with these settings; ``False`` where it holds no run yet.

    Versions may differ: results of a run that would go on otherwise under new versions are noticed when its
    log is played again.

    Raises:
        RunError: It holds a run of other settings (the message names them), or something else altogether.
    """
    file = folder / FILE_NAME
    with disk_errors(file):
        if not folder.exists():
            return False
        if not file.exists():
            strangers = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
            if strangers:
                raise RunError(
                    f"{folder} is no run directory (it holds {strangers[0]!r}); choose a new folder"
                )
            return False
    stored = read_config(folder) or {}
    stored.pop("versions", None)
    differences = list(_differences(stored, _plain(config)))
    if differences:
        shown = "; ".join(differences[:3]) + ("; ..." if len(differences) > 3 else "")
        raise RunError(
            f"{folder} holds a run of other settings: {shown}; choose another directory or the same settings"
        )
    return True


def read_config(folder: Path) -> dict[str, Any] | None:
    """What ``config.yaml`` of a folder says; ``None`` where there is none.

    Raises:
        RunError: It is damaged, or may not be read.
    """
    file = folder / FILE_NAME
    with disk_errors(file):
        if not file.exists():
            return None
        text = file.read_bytes()
    try:
        stored = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RunError(f"{file} is damaged; restore it or start in another directory") from error
    if not isinstance(stored, dict):
        raise RunError(f"{file} is damaged; restore it or start in another directory")
    return stored


def _differences(stored: Any, asked: Any, name: str = "") -> Iterator[str]:
    """One text per setting that differs, with its full name (``settings.population``)."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        for key in dict.fromkeys((*stored, *asked)):
            yield from _differences(stored.get(key), asked.get(key), f"{name}.{key}" if name else str(key))
    elif stored != asked:
        yield f"{name} is {_short(stored)} there, {_short(asked)} was asked for"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(value: Any) -> Any:
    """The same with plain containers, as YAML gives them back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Versions of Python, this package and the libraries that results may depend on."""
    packages = tuple((name, importlib.metadata.version(name)) for name in _PACKAGES)
    return (("crlso", crlso.__version__), ("python", platform.python_version()), *packages)

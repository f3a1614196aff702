"""Where tables lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from crlso.errors import RunError
from crlso.runs.files import disk_errors

CACHE_VARIABLE = "CRLSO_CACHE"
DATA_VARIABLE = "CRLSO_DATA_HOME"


def cache_folder() -> Path:
    """What can be rebuilt at any time: ``$CRLSO_CACHE``, else the user's cache folder."""
    if stated := os.environ.get(CACHE_VARIABLE):
        return Path(stated).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("crlso", appauthor=False)


def data_folder() -> Path:
    """What users imported: ``$CRLSO_DATA_HOME``, else the user's data folder."""
    if stated := os.environ.get(DATA_VARIABLE):
        return Path(stated).expanduser()
    import platformdirs

    return platformdirs.user_data_path("crlso", appauthor=False)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        RunError: Not possible there.
    """
    with disk_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        # A place where nothing can be made, such as /proc; or a file.
        except (FileNotFoundError, FileExistsError) as error:
            raise RunError(f"can not make the folder {folder}; choose another") from error

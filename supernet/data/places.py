"""Where image data sets lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

IMAGES_VARIABLE: Final = "CRLSO_IMAGES"


def images_folder() -> Path:
    """Has a folder for each data set: ``$CRLSO_IMAGES``, else ``images`` in the user's data folder."""
    if stated := os.environ.get(IMAGES_VARIABLE):
        return Path(stated).expanduser()
    import platformdirs

    return platformdirs.user_data_path("crlso", appauthor=False) / "images"


def missing(name: str, remedy: str, place: Path) -> str:
    """One line that says that a data set is not here, and how to get it.

    Args:
        name: Of the data set.
        remedy: Begins with a verb, as "download X".
        place: Where it was looked for.
    """
    return (
        f"data {name!r} is not on this machine: {remedy} into {place}"
        f" (${IMAGES_VARIABLE} names another folder than {images_folder()}), or give the files' path as data"
    )

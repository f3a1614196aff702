"""Where tables lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "CRLSO_CACHE"
DATA_VARIABLE = "CRLSO_DATA_HOME"


def cache_folder() -> Path:
    """What can be rebuilt at any time: ``$CRLSO_CACHE``, else the user's cache folder."""
    if stated := os.environ.get(CACHE_VARIABLE):
        return Path(stated)
    import platformdirs

    return platformdirs.user_cache_path("crlso", appauthor=False)


def data_folder() -> Path:
    """What users imported: ``$CRLSO_DATA_HOME``, else the user's data folder."""
    if stated := os.environ.get(DATA_VARIABLE):
        return Path(stated)
    import platformdirs

    return platformdirs.user_data_path("crlso", appauthor=False)

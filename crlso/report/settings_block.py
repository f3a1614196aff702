"""Settings in the page, as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Settings:
    """Settings of one run or comparison, as YAML."""

    title: str
    path: str
    text: str


def settings_block(title: str, file: Path, config: Mapping[str, Any]) -> Settings:
    """What a ``config.yaml`` holds."""
    return Settings(title, str(file), yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

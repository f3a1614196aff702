"""The project's own source files, as syntax trees."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("crlso", "benchmarks", "supernet")


def files(*folders: str) -> list[Path]:
    """All Python files under folders of the repository, in order."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Modules that a file imports anywhere in it, with the line: ``from a.b import c`` gives ``a.b.c``.

    So a name that is imported from a package counts like a module of it, which is what rules on layers need.
    Imports for type checkers only (under ``if TYPE_CHECKING:``) count too.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"line {node.lineno}: relative imports are not used in this project")
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


@functools.cache
def parse(path: Path) -> ast.Module:
    """The tree of a file, which nobody may change."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))

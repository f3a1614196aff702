"""Rules for all source files: what may import what, what stays unloaded, what is not written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest

import crlso
from tests.source import PACKAGES, ROOT, files, imported, parse

# What the tables and the supernets may use of `crlso`: the agreed interfaces, files of runs and from outside,
# threads.
SHARED = (
    "crlso.protocols",
    "crlso.errors",
    "crlso.settings",
    "crlso.spaces",
    "crlso.runs",
    "crlso.formats",
    "crlso.threads",
)


def inside(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def breaches(path: str, tree: ast.AST) -> Iterator[str]:
    """Imports in a file of the repository (by its path) that cross a border."""
    package = path.split("/", maxsplit=1)[0]
    for module, line in imported(tree):
        if package == "crlso":
            wrong = inside(module, ("benchmarks", "supernet")) and not path.startswith("crlso/cli/")
            wrong |= inside(module, ("crlso.cli",)) and not path.startswith("crlso/cli/")
        else:
            other = tuple(name for name in ("benchmarks", "supernet") if name != package)
            wrong = inside(module, other) or (inside(module, ("crlso",)) and not inside(module, SHARED))
        if wrong or inside(module, ("tests",)):
            yield f"{path}:{line} imports {module}"


def unwanted(path: str, tree: ast.AST) -> Iterator[str]:
    """Constructs that the project does without."""
    for node in ast.walk(tree):
        what = None
        match node:
            case ast.Call(func=ast.Name(id="eval" | "exec" | "hasattr" as name)):
                what = f"{name}()"
            case ast.Call(func=ast.Attribute(attr="cuda")):
                what = ".cuda()"
            case ast.ExceptHandler(type=None):
                what = "a bare except"
            case ast.Global():
                what = "global"
        if what is not None:
            yield f"{path}:{node.lineno} has {what}"


def everything(check: str) -> list[str]:
    found = []
    for path in files(*PACKAGES):
        name = path.relative_to(ROOT).as_posix()
        found += list({"breaches": breaches, "unwanted": unwanted}[check](name, parse(path)))
    return found


def test_all_three_packages_are_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in files(*PACKAGES)} == set(PACKAGES)
    assert len(files(*PACKAGES)) > 50


def test_layers() -> None:
    assert everything("breaches") == []


@pytest.mark.parametrize(
    ("path", "line", "breach"),
    [
        ("crlso/runs/loop.py", "import benchmarks", True),
        ("crlso/runs/loop.py", "def f():\n    from benchmarks.table import TableEvaluator", True),
        ("crlso/report/a.py", "import supernet.train", True),
        ("crlso/runs/loop.py", "from crlso.cli.common import print_json", True),
        ("crlso/cli/search.py", "import benchmarks", False),
        ("benchmarks/a.py", "from crlso import search", True),
        ("benchmarks/a.py", "import crlso.latent.model", True),
        ("benchmarks/a.py", "import supernet", True),
        ("benchmarks/a.py", "from tests.samples import x", True),
        ("benchmarks/a.py", "from crlso.spaces import get_space", False),
        ("benchmarks/a.py", "from crlso import spaces", False),
        ("supernet/a.py", "import benchmarks", True),
        ("supernet/a.py", "from crlso.errors import UserError", False),
    ],
)
def test_layers_are_seen(path: str, line: str, breach: bool) -> None:
    assert bool(list(breaches(path, ast.parse(line)))) is breach


def test_nothing_unwanted() -> None:
    assert everything("unwanted") == []


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("model.cuda()", True),
        ("x = eval(text)", True),
        ("exec(text)", True),
        ("if hasattr(a, 'b'): pass", True),
        ("try:\n    f()\nexcept:\n    pass", True),
        ("def f():\n    global x", True),
        ("model.eval()", False),
        ("try:\n    f()\nexcept ValueError:\n    pass", False),
        ("torch.cuda.is_available()", False),
    ],
)
def test_unwanted_is_seen(line: str, seen: bool) -> None:
    assert bool(list(unwanted("a.py", ast.parse(line)))) is seen


def loaded(module: str, *suspects: str) -> str:
    """Which of the suspects a fresh process has loaded after importing a module."""
    script = f"import sys, {module}; print(*[name for name in {suspects!r} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return answer.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "crlso.spaces",
        "crlso.protocols",
        "crlso.formats.pickles",
        "crlso.runs.files",
        "crlso.search",
        "benchmarks",
        "supernet",
        "supernet.data",
        "crlso.cli.main",
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    assert loaded(module, "torch", "torch_geometric", "plotly", "pandas") == ""


def test_a_loaded_module_is_seen() -> None:
    assert loaded("crlso.errors, json", "json", "torch") == "json"


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert crlso.__version__ == project["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", crlso.__version__)


def test_packages_say_that_they_are_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)

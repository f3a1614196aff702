"""Installed as users install it: the wheel in an empty environment, and the pip section of environment.yml.

Slow: packages are fetched and a whole demo is run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import crlso
from tests.source import PACKAGES, ROOT, files
from tests.test_dependencies import CORE, pins, pip_lines

pytestmark = pytest.mark.slow

NOT_COPIED = (
    ".git",
    ".venv",
    "runs",
    "dist",
    "build",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".coverage*",
)


def run(*words: object, cwd: Path, timeout: int = 900) -> str:
    """Stdout of a command that has to succeed, without what the tests put into the environment."""
    own = {"PYTHONPATH", "CRLSO_CACHE", "CRLSO_DATA_HOME", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    # Nothing of the user's: the cache is made anew.
    environment |= {"XDG_CACHE_HOME": str(cwd / "cache"), "XDG_DATA_HOME": str(cwd / "data")}
    answer = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert answer.returncode == 0, f"{words}: {answer.stdout[-3000:]}\n{answer.stderr[-3000:]}"
    return answer.stdout


def empty_environment(folder: Path) -> Path:
    """A new virtual environment; returns the folder of its commands."""
    venv.create(folder, with_pip=True)
    return folder / "bin"


def torch_pin() -> str:
    return str(pins()["torch"])


def check_versions(commands: Path, cwd: Path) -> None:
    """All core dependencies have the versions of constraints.txt, and pip finds no contradiction."""
    run(commands / "python", "-m", "pip", "check", cwd=cwd)
    listed = json.loads(run(commands / "python", "-m", "pip", "list", "--format", "json", cwd=cwd))
    got = {package["name"].lower().replace("_", "-"): package["version"] for package in listed}
    for name in CORE:
        (pin,) = pins()[name].specifier
        assert pin.contains(got[name]), f"{name}: {got[name]} is installed, {pin} was tested"
    assert got["crlso"] == crlso.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {
        name.split("/", maxsplit=1)[0].removesuffix(f"-{crlso.__version__}.dist-info") for name in names
    } == set(PACKAGES)
    assert {path.relative_to(ROOT).as_posix() for path in files(*PACKAGES)} <= names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    templates = {path.name for path in (ROOT / "crlso/report/templates").iterdir()}
    assert {f"crlso/report/templates/{name}" for name in templates} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_wheel_runs_the_demo_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    commands = empty_environment(tmp_path / "venv")
    pip = (commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, torch_pin(), cwd=tmp_path)
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    check_versions(commands, tmp_path)
    where = run(commands / "python", "-c", "import crlso; print(crlso.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path / "venv"))
    text = run(commands / "crlso", "demo", "--out", "runs/demo", cwd=tmp_path)
    report = tmp_path / "runs" / "demo" / "report.html"
    assert text.splitlines()[-1].split() == ["report", "runs/demo/report.html"]
    assert "best cell  |" in text
    summary = json.loads((report.parent / "summary.json").read_text())
    best = max(found["value"] for found in summary["methods"]["crlso"]["best"])
    # The best cell of the table is found by one of the seeds, or one that is nearly as good.
    assert summary["optimum"] - best < 0.3
    assert "<svg" in report.read_text(encoding="utf-8")


def not_copied(folder: str, names: list[str]) -> set[str]:
    """What is left out, at the top alone: `crlso/runs` is a package."""
    return set(shutil.ignore_patterns(*NOT_COPIED)(folder, names)) if Path(folder) == ROOT else set()


def test_the_pip_section_of_the_conda_environment_installs(tmp_path: Path) -> None:
    """As conda does it: the lines in a file beside environment.yml, read by ``pip install -r`` there."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=not_copied)
    (tree / "condaenv.requirements.txt").write_text("\n".join(pip_lines()) + "\n")
    commands = empty_environment(tmp_path / "venv")
    pip = (commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "-U", "-r", "condaenv.requirements.txt", cwd=tree)
    check_versions(commands, tmp_path)
    assert "15,625" in run(commands / "crlso", "bench", "info", "nasbench201", cwd=tmp_path)

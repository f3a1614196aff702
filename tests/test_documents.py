"""What the documents name exists: files, make targets, names, commands and options; examples run."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from crlso.cli.main import app
from tests.source import PACKAGES, ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "docs").rglob("*.md"),
]
FENCE = re.compile(
    r"^(?P<ticks>```+|~~~+) *(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=ticks) *$", re.M | re.S
)
USAGE_ERROR: Any = typer.BadParameter.__base__
SHELLS = ("console", "bash", "sh", "shell")


@dataclass(frozen=True)
class Found:
    """Something that a document says, with the place where it says it."""

    document: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line} {self.text}"


def blocks(document: Path, *languages: str) -> list[Found]:
    """Fenced blocks of some languages."""
    text = document.read_text(encoding="utf-8")
    return [
        Found(document, text.count("\n", 0, match.start()) + 2, match["body"])
        for match in FENCE.finditer(text)
        if match["language"] in languages
    ]


def commands(block: Found, *, console: bool) -> list[Found]:
    """Command lines of a block: all lines of a script, those after a prompt of a ``console`` block.

    Lines that a backslash continues are put together; comments stay out.
    """
    found = []
    continued = ""
    for offset, line in enumerate(block.text.splitlines()):
        text = line.strip()
        if not continued and console:
            if not text.startswith("$ "):
                continue  # output
            text = text.removeprefix("$ ")
        elif continued and console:
            text = text.removeprefix("> ")
        text = continued + text
        if text.endswith("\\"):
            continued = text.removesuffix("\\")
            continue
        continued = ""
        words = shlex.split(text, comments=True)
        if words:
            found.append(Found(block.document, block.line + offset, shlex.join(words)))
    assert not continued, f"{block}: the last line is not complete"
    return found


def all_commands(*documents: Path) -> list[Found]:
    return [
        command
        for document in documents
        for language in SHELLS
        for block in blocks(document, language)
        for command in commands(block, console=language == "console")
    ]


def inline(document: Path) -> list[Found]:
    """Texts between single backticks, outside fenced blocks."""
    text = document.read_text(encoding="utf-8")
    prose = FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    return [
        Found(document, prose.count("\n", 0, match.start()) + 1, " ".join(match[1].split()))
        for match in re.finditer(r"`([^`]+)`", prose)
    ]


def program(words: list[str]) -> str:
    """The first word of a command, without its folder."""
    return words[0].rsplit("/", maxsplit=1)[-1]


def verb(words: list[str]) -> tuple[Any, list[str]]:
    """The command object that words after ``crlso`` name, and the words left for it."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while isinstance(command, typer.core.TyperGroup) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"crlso has no {name!r}; there are {', '.join(command.commands)}"
        command = command.commands[name]
    return command, rest


def parses(words: list[str]) -> None:
    """Parses the words of a ``crlso`` command, all its options and arguments, without running it."""
    command, rest = verb(words)
    try:
        command.make_context("crlso", rest)
    except USAGE_ERROR as error:
        raise AssertionError(error.format_message()) from error


def options(command: Any) -> set[str]:
    return {"--help", *(text for parameter in command.params for text in parameter.opts)}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


COMMANDS = all_commands(*DOCUMENTS)
CRLSO = [command for command in COMMANDS if program(shlex.split(command.text)) == "crlso"]
MAKE = [command for command in COMMANDS if program(shlex.split(command.text)) == "make"]
INLINE = [found for document in DOCUMENTS for found in inline(document)]
PYTHON = [block for document in DOCUMENTS for block in blocks(document, "python")]


def test_the_readme_shows_what_it_should() -> None:
    readme = ROOT / "README.md"
    here = [command.text for command in COMMANDS if command.document == readme]
    assert {"make demo", "make test"} <= set(here)
    # A user's own space and table: import, search, report.
    assert [command for command in here if "crlso bench import examples/" in command]
    assert [command for command in here if "crlso search" in command]
    assert [command for command in here if "crlso report" in command]
    (example,) = [block for block in PYTHON if block.document == readme]
    assert 5 <= len(example.text.strip().splitlines()) <= 15


@pytest.mark.parametrize("command", CRLSO, ids=str)
def test_commands_parse(command: Found) -> None:
    parses(shlex.split(command.text)[1:])


@pytest.mark.parametrize("command", MAKE, ids=str)
def test_make_targets_exist(command: Found) -> None:
    words = [word for word in shlex.split(command.text)[1:] if "=" not in word and not word.startswith("-")]
    assert set(words) <= make_targets()


def test_commands_in_sentences_exist() -> None:
    seen = 0
    for found in INLINE:
        words = found.text.split()
        if program(words) == "make" and len(words) > 1:
            assert set(words[1:]) <= make_targets(), str(found)
            seen += 1
        elif program(words) == "crlso" and len(words) > 1:
            command, rest = verb(words[1:])
            wrong = {word for word in rest if word.startswith("--")} - options(command)
            assert not wrong, f"{found}: no such option: {wrong}"
            seen += 1
    assert seen > 3


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in typer.main.get_command(app).commands if f"crlso {name}" not in text]
    assert missing == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench", "fetch", "x"], "crlso has no 'fetch'"),
        (["search", "--bench", "x", "--metric", "y", "--buget", "3"], "No such option: --buget"),
        (["search", "--bench", "x", "--metric", "y", "--budget", "many"], "integer"),
        (["search", "--metric", "y"], "--bench"),
        (["report"], "DIR"),
        (["embed", "check", "a", "b"], "unexpected extra argument"),
    ],
)
def test_wrong_commands_are_seen(words: list[str], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        parses(words)


def test_commands_are_found(tmp_path: Path) -> None:
    document = ROOT / "README.md"
    console = Found(document, 10, "$ crlso bench list  # all\nname  rows\n$ crlso \\\n>   report a\n")
    assert [(c.line, c.text) for c in commands(console, console=True)] == [
        (10, "crlso bench list"),
        (13, "crlso report a"),
    ]
    script = Found(document, 1, "# comment\nmake demo\n.venv/bin/crlso report 'a b'\n")
    assert [c.text for c in commands(script, console=False)] == ["make demo", ".venv/bin/crlso report 'a b'"]
    (tmp_path / "a.md").write_text("x\n```bash\none\n```\n~~~python\ntwo\n~~~\n`three\nfour` and `five`\n")
    assert [block.text for block in blocks(tmp_path / "a.md", "bash", "python")] == ["one\n", "two\n"]
    assert [(found.line, found.text) for found in inline(tmp_path / "a.md")] == [
        (8, "three four"),
        (9, "five"),
    ]


def test_links_lead_somewhere() -> None:
    missing = []
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+://|mailto:|#", target):
                path = document.parent / target.split("#", maxsplit=1)[0]
                missing += [] if path.exists() else [f"{document.name}: {target}"]
    assert missing == []


def test_files_that_are_named_exist() -> None:
    """Files in folders of the repository; others (``runs/...``) come into being when commands run."""
    folders = (*PACKAGES, "docs", "examples", "tests", ".ci")
    texts = [*INLINE, *COMMANDS]
    words = [(found, word.strip(",;:.")) for found in texts for word in found.text.split()]
    named = [
        (found, word) for found, word in words if word.split("/", maxsplit=1)[0] in folders and "/" in word
    ]
    missing = [str(found) for found, word in named if not list(ROOT.glob(word.rstrip("/")))]
    assert missing == []
    assert named


def test_names_that_are_named_exist() -> None:
    """Dotted Python names in sentences: ``crlso.spaces.testing.SpaceContract``."""
    pattern = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
    named = {match[0]: found for found in INLINE if (match := pattern.match(found.text))}
    for name, found in named.items():
        path, _, last = name.rpartition(".")
        module = importlib.util.find_spec(path)
        assert module is not None, f"{found}: there is no module {path}"
        there = importlib.util.find_spec(name) if module.submodule_search_locations else None
        assert there or last in dir(importlib.import_module(path)), f"{found}: there is no {name}"


def name_of(block: Found) -> str:
    return f"{block.document.name}:{block.line}"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All examples, running at once: each as it stands there, in an empty folder, with warnings as errors but
    for those of torch-geometric."""
    running = {}
    with contextlib.ExitStack() as stack:
        for block in PYTHON:
            folder = tmp_path_factory.mktemp("example")
            script = folder / "example.py"
            script.write_text(block.text)
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(script)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            stack.enter_context(process)
            stack.callback(process.kill)  # does nothing to one that has ended
            running[name_of(block)] = process
        yield running


@pytest.mark.parametrize("block", PYTHON, ids=name_of)
def test_python_examples_run(block: Found, examples: dict[str, subprocess.Popen[str]]) -> None:
    process = examples[name_of(block)]
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert out.strip()


def test_a_users_own_space_and_table_as_in_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the README's block are run in their order, where only the examples lie."""
    (block,) = [b for b in blocks(ROOT / "README.md", *SHELLS) if "crlso bench import examples/" in b.text]
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    steps = [shlex.split(command.text) for command in commands(block, console=True)]
    assert {tuple(words[:2]) for words in steps} >= {
        ("crlso", "bench"),
        ("crlso", "search"),
        ("crlso", "report"),
    }
    for words in steps:
        result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert (result.exit_code, result.stderr) == (0, ""), words
    (page,) = (tmp_path / "runs").rglob("*.html")
    assert "three_node" in page.read_text(encoding="utf-8")

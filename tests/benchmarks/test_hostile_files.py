"""Official files that are hostile, damaged or of something else: one clear line, nothing run, no table."""

from __future__ import annotations

import bz2
import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.catalog import table_header, user_path
from benchmarks.importers import import_official
from benchmarks.store import verify_table
from crlso.cli.main import app
from crlso.errors import TableError, UserError
from tests.benchmarks.mutations import mutated
from tests.benchmarks.samples_nats import pickled_table, write_pth
from tests.benchmarks.samples_official import FORMS, Form, packed, saved, unchanged
from tests.source import ROOT

NAME = "made"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for form in FORMS.values():
        form.write(folder / form.path, unchanged)
    return folder


def refused(path: Path, home: Path) -> str:
    """The line with which a file is refused; no table is left."""
    with pytest.raises(UserError) as caught:
        import_official(path, name=NAME)
    assert list(home.glob("*")) == []
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_whole_files_are_imported(form: Form, originals: Path) -> None:
    import_official(originals / form.path, name=NAME)
    verified = table_header(NAME).verified
    assert form.checked in verified
    assert bool(form.checked) == bool(verified)
    answer = CliRunner().invoke(app, ["bench", "info", NAME])
    assert ("unverified" in answer.stdout) == (not form.checked)


class Calls:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.pair = (function, arguments)

    def __reduce__(self) -> Any:
        return self.pair


def payload(kind: str, marker: Path) -> object:
    return {
        "os.system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "getattr": Calls(getattr, "os", "system"),
        "Popen": Calls(subprocess.Popen, ["touch", str(marker)]),
        "class": Calls(Path, str(marker)),
    }[kind]


def as_number(content: dict[str, Any], bad: object) -> dict[str, Any]:
    """The number of weights in the first training."""
    state = next(iter(content["arch2infos"][0].values()))
    next(iter(state["all_results"].values()))["params"] = bad
    return content


PLACES = {
    "instead of all": lambda content, bad: bad,
    "as a record": lambda content, bad: content | {"arch2infos": content["arch2infos"] | {0: bad}},
    "as a number": as_number,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["os.system", "eval", "getattr", "Popen", "class"])
@pytest.mark.parametrize("name", [name for name in FORMS if name != "nats meta"])
def test_code_is_refused_and_not_run(name: str, kind: str, place: str, tmp_path: Path, home: Path) -> None:
    form = FORMS[name]
    marker = tmp_path / "marker"
    bad = payload(kind, marker)
    form.write(tmp_path / form.path, lambda content: PLACES[place](content, bad))
    with pytest.raises(TableError) as caught:
        import_official(tmp_path / form.path, name=NAME)
    assert "not data; refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    assert list(home.glob("*")) == []


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_command_line_refuses_with_one_line(form: Form, originals: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    copied = tmp_path / form.path
    form.write(copied, unchanged)
    bad = {"meta_archs": Calls(os.system, f"touch {marker}")}
    data = packed(bad) if form.changed.endswith("pbz2") else saved(bad, zipped=form.checked == "zip")
    (tmp_path / form.changed).write_bytes(data)
    answer = CliRunner().invoke(app, ["bench", "import", str(copied)])
    assert answer.exit_code == 2
    assert answer.stderr.count("\n") == 1
    assert "posix.system, which is not data" in answer.stderr
    assert not marker.exists()


def damaged(data: bytes) -> dict[str, bytes]:
    """Ways in which a download goes wrong."""
    middle = len(data) // 2
    return {
        "empty": b"",
        "cut to a byte": data[:1],
        "cut to a half": data[:middle],
        "cut by a byte": data[:-1],
        "a page of HTML": b"<!DOCTYPE html><html><body>Quota exceeded</body></html>",
        "text": b"arch,accuracy\na,1\n",
        "picture": b"\x89PNG\r\n\x1a\n" + data[:100],
        "Parquet": b"PAR1" + data[:100] + b"PAR1",
        "bit in the middle": data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :],
        "zeros in the middle": data[:middle] + bytes(1000) + data[middle + 1000 :],
        "twice": data + data,
        "rubbish behind": data + b"more",
    }


MIDDLE = ("bit in the middle", "zeros in the middle")


@pytest.mark.parametrize("kind", damaged(b"abc"))
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_damaged_files(form: Form, kind: str, originals: Path, tmp_path: Path, home: Path) -> None:
    data = (originals / form.changed).read_bytes()
    form.write(tmp_path / form.path, unchanged)
    (tmp_path / form.changed).write_bytes(damaged(data)[kind])
    # Nothing in a file without checksum could tell; an archive's directory is at its end, whatever follows.
    telling = kind not in {"zip": ("twice", "rubbish behind"), "": MIDDLE}.get(form.checked, ())
    if telling:
        refused(tmp_path / form.path, home)
    else:
        same_or_refused(tmp_path / form.path, originals / form.path, form)


def numbers(path: Path) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()


def same_or_refused(path: Path, original: Path, form: Form) -> bool:
    """Import a changed file; whether it was taken. What a checksum guards is then as in the original."""
    start = time.process_time()
    try:
        import_official(path, name="changed", force=True)
    except UserError as error:
        assert "\n" not in str(error)
        assert not user_path("changed").exists()
        return False
    finally:
        assert time.process_time() - start < 10
    verify_table(user_path("changed"))
    if form.checked:
        if not user_path(NAME).exists():
            import_official(original, name=NAME)
        pd.testing.assert_frame_equal(numbers(user_path("changed")), numbers(user_path(NAME)))
    else:
        assert table_header("changed").verified == ""
    user_path("changed").unlink()
    return True


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_mutated_files(form: Form, count: int, originals: Path, tmp_path: Path) -> None:
    """No crash, no hang; where there is a checksum, no wrong number."""
    rng = np.random.default_rng(len(form.path) + count)
    data = (originals / form.changed).read_bytes()
    form.write(tmp_path / form.path, unchanged)
    taken = 0
    for _ in range(count):
        (tmp_path / form.changed).write_bytes(mutated(data, rng))
        taken += same_or_refused(tmp_path / form.path, originals / form.path, form)
    assert taken <= count * (0.1 if form.checked else 0.9)


def test_files_that_are_mixed_up(originals: Path, tmp_path: Path, home: Path) -> None:
    """Names and contents that do not belong together."""

    def put(name: str, form: str) -> Path:
        path = tmp_path / name
        path.write_bytes((originals / FORMS[form].changed).read_bytes())
        return path

    assert "by its name it holds nats_size" in refused(put("NATS-sss-mine.pickle.pbz2", "nats file"), home)
    assert "by its name it holds nasbench201" in refused(put("NATS-tss-a.pickle.pbz2", "sizes file"), home)
    for name in ("NAS-Bench-201-v1_0-e61699.pth", "NAS-Bench-201-v1_1-096897.pth"):
        message = refused(put(name, "pth zip"), home)
        assert "is not the published file of this name" in message
        assert "--unverified" in message
    assert "not the published file" in refused(put("NATS-tss-v1_0-3ffb9.pickle.pbz2", "nats file"), home)
    refused(put("record.pth", "nats file"), home)
    refused(put("record.pickle.pbz2", "pth zip"), home)
    assert "import the folder" in refused(put("000007.pickle.pbz2", "nats folder"), home)
    (tmp_path / "renamed.pth").write_bytes(saved({"arch2infos": {0: {"12": {}}}}, zipped=True))
    assert "not 'less' and 'full'" in refused(tmp_path / "renamed.pth", home)


def test_records_in_the_wrong_place(originals: Path, tmp_path: Path, home: Path) -> None:
    for name, member, other in (
        ("t-simple", "000007.pickle.pbz2", "000008.pickle.pbz2"),
        ("la", "000000-FULL.pth", "000001-FULL.pth"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for path in (originals / name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / member).rename(folder / other)
        assert "the record says" in refused(folder, home)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "meta.pickle.pbz2").write_bytes((originals / "s-simple/meta.pickle.pbz2").read_bytes())
    (mixed / "000007.pickle.pbz2").write_bytes((originals / "t-simple/000007.pickle.pbz2").read_bytes())
    refused(mixed, home)


@pytest.mark.parametrize("unit", [b"\x00", b"]", b")"], ids=["zeros", "lists", "tuples"])
def test_bombs_are_bounded(unit: bytes, tmp_path: Path, home: Path) -> None:
    """A small file that becomes a thousand times as large."""
    bomb = b"\x80\x04" + unit * (60_000_000 // len(unit))
    (tmp_path / "bomb.pickle.pbz2").write_bytes(bz2.compress(bomb))
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bomb)
    del bomb
    for name in ("bomb.pickle.pbz2", "bomb.pth"):
        start = time.process_time()
        refused(tmp_path / name, home)
        assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("name", "form", "checked"),
    [
        ("NAS-Bench-201-v1_0-e61699.pth", "pth legacy", ""),
        ("NAS-Bench-201-v1_0-e61699.pth", "pth zip", "CRC32 of the zip archive; NOT the published file"),
        ("NATS-tss-v1_0-3ffb9.pickle.pbz2", "nats file", "CRC of every bzip2 block; NOT the published file"),
    ],
)
def test_another_file_that_the_user_accepts(
    name: str, form: str, checked: str, originals: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes((originals / FORMS[form].path).read_bytes())
    import_official(tmp_path / name, name=NAME, unverified=True)
    verified = table_header(NAME).verified
    assert verified.startswith(checked)
    assert bool(verified) == bool(checked)


def test_published_digits_and_damage_of_one_bit(originals: Path, tmp_path: Path, home: Path) -> None:
    """A file without any checksum whose name has the publisher's digits: no bit may differ."""
    data = (originals / "l.pth").read_bytes()
    digits = hashlib.md5(data, usedforsecurity=False).hexdigest()[-6:]
    path = tmp_path / f"NAS-Bench-201-v1_0-{digits}.pth"
    path.write_bytes(data)
    import_official(path, name=NAME)
    assert digits in table_header(NAME).verified
    user_path(NAME).unlink()
    rng = np.random.default_rng(0)
    for _ in range(50):
        place = int(rng.integers(len(data)))
        path.write_bytes(
            data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :]
        )
        assert "is not the published file" in refused(path, home)


IMPORTING = """
import sys
from pathlib import Path
from benchmarks.importers import import_official
print("started", flush=True)
import_official(Path(sys.argv[1]), name="killed", force=True)
"""


def importing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to import."""
    with subprocess.Popen(
        [sys.executable, "-c", IMPORTING, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["pth", "folder"])
def test_a_killed_import_leaves_no_table_or_a_whole_one(
    kind: str, kills: int, tmp_path: Path, home: Path
) -> None:
    if kind == "pth":
        path = write_pth(tmp_path / "k.pth", pickled_table(20), "legacy")
    else:
        FORMS["sizes folder"].write(path := tmp_path / "k-simple", unchanged)
    target = user_path("killed")
    rng = np.random.default_rng(kills)
    for process in importing(path):
        start = time.perf_counter()
        assert process.wait(60) == 0
        whole = time.perf_counter() - start
    expected = numbers(target)
    target.unlink()
    for _ in range(kills):
        for process in importing(path):
            time.sleep(float(rng.uniform(0, whole)))
            process.send_signal(signal.SIGKILL)
        if target.exists():
            verify_table(target)
            pd.testing.assert_frame_equal(numbers(target), expected)
            target.unlink()
    import_official(path, name="killed")
    pd.testing.assert_frame_equal(numbers(target), expected)
    assert list(home.iterdir()) == [target]

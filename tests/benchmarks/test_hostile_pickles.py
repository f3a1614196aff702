"""Official files with pickles that do what data never do; bombs; imports killed at every step."""

from __future__ import annotations

import bz2
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.importers import import_official
from crlso.errors import TableError
from tests.benchmarks.samples_official import FORMS, Form, packed, topology, unchanged, whole
from tests.source import ROOT

NAME = "made"
FILES = {name: form for name, form in FORMS.items() if name != "nats meta"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


# Each would run ``touch MARKER``, or get hold of something that can; {} stands for the text of that command.
OPCODES = {
    "GLOBAL, REDUCE": (b"cposix\nsystem\n{}\x85R", "names posix.system"),
    "STACK_GLOBAL": (text("posix") + text("system") + b"\x93{}\x85R", "names posix.system"),
    "INST": (b"({}iposix\nsystem\n", "names posix.system"),
    "OBJ": (b"(cposix\nsystem\n{}o", "names posix.system"),
    "OBJ of an allowed name": (b"(ccollections\nOrderedDict\n{}o", "opcode OBJ"),
    "NEWOBJ": (b"csubprocess\nPopen\n{}\x85\x81", "names subprocess.Popen"),
    "NEWOBJ of an allowed name": (b"ccollections\nOrderedDict\n{}\x85\x81", "makes an object"),
    "NEWOBJ_EX": (b"ccollections\nOrderedDict\n){}\x92", "named arguments"),
    "BUILD": (b"ccollections\nOrderedDict\n)R}" + text("__setstate__") + b"{}sb", "sets the state"),
    "BUILD of a name": (b"ccollections\nOrderedDict\n{}b", "sets the state"),
    "attribute of a name": (text("collections") + text("OrderedDict.fromkeys") + b"\x93{}\x85R", "fromkeys"),
    "getattr": (b"c__builtin__\ngetattr\ncposix\nsystem\n{}\x86R", "names __builtin__.getattr"),
    "import": (b"cimportlib\nimport_module\n{}\x85R", "names importlib.import_module"),
    "torch.load": (b"ctorch\nload\n{}\x85R", "names torch.load"),
    "a name of torch": (b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n{}\x85R", "names torch._utils"),
    "a name of numpy": (b"cnumpy\nload\n{}\x85R", "names numpy.load"),
    "the official class": (b"cnas_201_api.api_utils\nArchResults\n{}\x85R", "names nas_201_api"),
    "PERSID": (b"Psomething\n", "opcode PERSID"),
    "BINPERSID": (b"{}Q", "outside of"),
    "EXT1": (b"\x82\x01{}\x85R", "opcode EXT1"),
    "EXT2": (b"\x83\x01\x01{}\x85R", "opcode EXT2"),
    "EXT4": (b"\x84\x01\x01\x01\x01{}\x85R", "opcode EXT4"),
    "NEXT_BUFFER": (b"\x97", "opcode NEXT_BUFFER"),
    "READONLY_BUFFER": (b"{}\x98", "opcode READONLY_BUFFER"),
}


def as_file(form: Form, pickled: bytes, path: Path) -> None:
    """Puts a raw pickle into a file of the form's kind."""
    if path.name.endswith(".pbz2"):
        path.write_bytes(bz2.compress(pickled))
    elif form.checked == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
    else:
        head = b"".join(
            pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        )
        path.write_bytes(head + pickled + pickle.dumps([], 2))


@pytest.mark.parametrize("name", FILES)
def test_opcodes_that_data_do_not_need(name: str, tmp_path: Path, home: Path) -> None:
    form, marker = FILES[name], tmp_path / "marker"
    form.write(tmp_path / form.path, unchanged)
    for what, (raw, message) in OPCODES.items():
        payload = raw.replace(b"{}", text(f"touch {marker}"))
        record = b"\x80\x02}(" + text("12") + payload + text("200") + b"Nu."
        table = b"\x80\x02}(" + text("arch2infos") + b"}(K\x00" + payload + b"K\x01Nuu."
        for pickled in (b"\x80\x02" + payload + b".", table if form.path == form.changed else record):
            as_file(form, pickled, tmp_path / form.changed)
            with pytest.raises(TableError, match=message) as caught:
                import_official(tmp_path / form.path, name=NAME)
            assert "\n" not in str(caught.value), what
            assert str(tmp_path / form.changed) in str(caught.value), what
            assert not marker.exists(), what
            assert list(home.glob("*")) == [], what


def test_a_list_of_architectures_of_another_version(tmp_path: Path) -> None:
    archs, states = topology()
    form = FORMS["nats folder"]
    form.write(tmp_path / form.path, unchanged)
    other = whole(archs[::-1], {}) | {"arch2infos": None}
    (tmp_path / form.path / "meta.pickle.pbz2").write_bytes(packed(other))
    with pytest.raises(TableError, match="files of two benchmarks"):
        import_official(tmp_path / form.path, name=NAME)
    (tmp_path / "o.pickle.pbz2").write_bytes(packed(whole(archs[::-1], states)))
    with pytest.raises(TableError, match="files of two benchmarks"):
        import_official(tmp_path / "o.pickle.pbz2", name=NAME)


IMPORT = """
import resource, sys
from pathlib import Path
import numpy, pyarrow.parquet
from benchmarks.importers import import_official
from crlso.errors import TableError
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
for path in map(Path, sys.argv[1:]):
    try:
        import_official(path, name="bomb")
    except TableError as error:
        print("refused:", error)
print(int(resource.getrusage(resource.RUSAGE_SELF).ru_utime), "s")
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def bombs(folder: Path) -> Iterator[Path]:
    """Small files that unpack to 256 megabytes and more."""
    for name, piece in {"zeros": bytes(1 << 20), "lists": b"]" * (1 << 20), "text": b"a" * (1 << 20)}.items():
        start = b"\x80\x04" + (b"\x8d" + (1 << 31).to_bytes(8, "little") if name == "text" else b"")
        path = folder / f"{name}.pickle.pbz2"
        path.write_bytes(bz2.compress(start + piece) + 2047 * bz2.compress(piece))
        yield path
        yield zip_bomb(folder / f"{name}.pth", zipfile.ZIP_DEFLATED, start, piece)
    # Refused for their compression, before anything is unpacked.
    yield zip_bomb(folder / "bzip2.pth", zipfile.ZIP_BZIP2, b"\x80\x04", bytes(1 << 20), pieces=8)
    yield zip_bomb(folder / "lzma.pth", zipfile.ZIP_LZMA, b"\x80\x04", bytes(1 << 20), pieces=8)


def zip_bomb(path: Path, method: int, start: bytes, piece: bytes, *, pieces: int = 256) -> Path:
    with (
        zipfile.ZipFile(path, "w", method, compresslevel=1) as archive,
        archive.open("bomb/data.pkl", "w", force_zip64=True) as member,
    ):
        member.write(start)
        for _ in range(pieces):
            member.write(piece)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_bombs_take_little_memory_and_time(tmp_path: Path, home: Path) -> None:
    paths = list(bombs(tmp_path))
    command = [sys.executable, "-c", IMPORT, *map(str, paths)]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    *refusals, seconds, kilobytes = answer.stdout.splitlines()
    assert all(line.endswith("torch.save does not use; refused") for line in refusals[-2:])
    assert [line.split(": ")[1] for line in refusals] == list(map(str, paths))
    assert int(seconds.split()[0]) < 20
    assert int(kilobytes) < 350_000
    assert list(home.glob("*")) == []


# A process that has done its imports makes a child for each moment; a child kills itself just before the n-th
# time that it opens, makes, renames or removes something in the folder of the tables.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from benchmarks.catalog import load, user_path
from benchmarks.importers import import_official
from benchmarks.store import read_header, verify_table

path, home = Path(sys.argv[1]), os.environ["CRLSO_DATA_HOME"]
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}

def child(work):
    number = os.fork()
    if number == 0:
        work()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(number, 0)[1])

def killed_at(moment):
    seen = 0
    def hear(event, arguments):
        nonlocal seen
        if event in EVENTS and any(str(each).startswith(home) for each in arguments):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hear)
    import_official(path, name="killed", force=True)

def digest():
    verify_table(target)
    return load(target).fingerprint["sha256"]

target = user_path("killed")
child(lambda: import_official(path, name="killed"))
expected = digest()
found, moment = [], 1
while True:
    before = moment % 2 == 0  # every second time there is a table already
    if not before:
        target.unlink(missing_ok=True)
    died = child(lambda: killed_at(moment)) == signal.SIGKILL
    state = digest() if target.exists() else None
    left = len(os.listdir(home)) - (state is not None)
    # The next import works, and clears away.
    again = child(lambda: import_official(path, name="killed", force=True))
    right = state == expected or (state is None and died and not before)
    found.append([died, right, left, again, digest() == expected, os.listdir(home) == [target.name]])
    if not died:
        break
    moment += 1
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "nats folder" else pytest.mark.slow) for n in FILES]
)
def test_an_import_killed_at_every_step(name: str, tmp_path: Path) -> None:
    form = FILES[name]
    form.write(tmp_path / form.path, unchanged)
    command = [sys.executable, "-c", KILLED, str(tmp_path / form.path)]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(answer.stdout)
    assert len(found) > 5
    assert [died for died, *_ in found] == [True] * (len(found) - 1) + [False]
    assert any(left for _, _, left, *_ in found)  # some of the killed did leave something
    for _, right, _, again, same, clean in found:
        assert (right, again, same, clean) == (True, 0, True, True)
